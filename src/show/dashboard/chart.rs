//! A gate's measurements as a drawing: values against their limit, over time since the deploy.

use std::fmt::Write as _;

use jiff::{Timestamp, tz::TimeZone};

use super::{html::Text, signs::Sign};
use crate::{decide::fact::Verdict, model::time::Span};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 232.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 22.0;
/// Where values end and the row of marks without a value begins.
const FLOOR: f64 = 158.0;
/// Where bars of samples stand.
const SAMPLES: f64 = 206.0;
/// How high they may be.
const BAR: f64 = 22.0;

/// One measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// When it was judged.
    pub at: Timestamp,
    /// What it says.
    pub verdict: Verdict,
    /// What was measured; nothing where there was no number, or where it stays in its jurisdiction.
    pub value: Option<f64>,
    /// The samples behind it.
    pub samples: Option<f64>,
    /// What it was compared with, where that is no fixed bound.
    pub against: Option<f64>,
    /// What it must not exceed, or not fall below.
    pub limits: Vec<f64>,
}

/// What is drawn.
pub struct Chart<'a> {
    /// Tells it from others of the page.
    pub id: &'a str,
    /// What it is of, such as `latency-p99 on us-east-1`.
    pub name: &'a str,
    /// The measurements, oldest first.
    pub points: &'a [Point],
    /// When the release was deployed there.
    pub deployed: Option<Timestamp>,
    /// The time between two measurements.
    pub interval: Span,
    /// The unit of values.
    pub unit: Option<&'a str>,
    /// How it is judged, in words.
    pub judge: &'a str,
}

/// A number as people read it: four digits that count.
pub fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".into() } else { value.to_string() };
    }
    let whole = value.abs().log10().floor() as i32;
    let digits = usize::try_from((3 - whole).clamp(0, 9)).unwrap_or(0);
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// The pattern that spans without data are filled with; once a page.
pub const HATCH: &str = "<svg class=\"unseen\" aria-hidden=\"true\" width=\"0\" height=\"0\"><defs>\
                         <pattern id=\"hatch\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" \
                         patternTransform=\"rotate(45)\"><path class=\"hatch-line\" d=\"M0 0V7\"/></pattern>\
                         </defs></svg>";

/// What the marks mean, each as it is drawn.
pub fn legend() -> String {
    let all: String =
        [Verdict::Pass, Verdict::Fail, Verdict::Insufficient, Verdict::Absent, Verdict::Error]
            .into_iter()
            .map(|verdict| {
                format!(
                    "<li><svg aria-hidden=\"true\" viewBox=\"-7 -7 14 14\">{}</svg>{verdict}</li>",
                    mark(verdict, 0.0, 0.0)
                )
            })
            .collect();
    format!(
        "<ul class=\"legend\" aria-label=\"Marks\">{all}<li><svg aria-hidden=\"true\" viewBox=\"0 0 14 14\">\
         <rect class=\"gap\" width=\"14\" height=\"14\"/></svg>no data</li>\
         <li><svg aria-hidden=\"true\" class=\"chart-key\" viewBox=\"0 0 14 14\"><path class=\"limit\" \
         d=\"M0 7H14\"/></svg>limit</li><li><svg aria-hidden=\"true\" class=\"chart-key\" \
         viewBox=\"0 0 14 14\"><path class=\"beside\" d=\"M0 7H14\"/></svg>compared with</li></ul>"
    )
}

/// The drawing; nothing where nothing was measured.
pub fn drawing(chart: &Chart<'_>) -> String {
    let Some(scale) = Scale::of(chart) else { return String::new() };
    let mut body = String::new();
    scale.grid(chart, &mut body);
    scale.gaps(chart, &mut body);
    scale.lines(chart, &mut body);
    if let Some(at) = chart.deployed.filter(|at| scale.shows(*at)) {
        let x = scale.x(at);
        // Beside the unit, which stands in the corner.
        let taken = chart.unit.map_or(0.0, |unit| 10.0 + 6.2 * unit.chars().count() as f64);
        let (anchor, from) = match x > WIDTH - 90.0 {
            true => ("end", x - 4.0),
            false => ("start", (x + 4.0).max(taken)),
        };
        let _ = write!(
            body,
            "<path class=\"deploy\" d=\"M{x:.1} {}V{SAMPLES}\"/><text class=\"deploy-name\" x=\"{from:.1}\" \
             y=\"{}\" text-anchor=\"{anchor}\">deploy</text>",
            TOP - 8.0,
            TOP - 10.0
        );
    }
    for point in chart.points {
        let y = point.value.filter(|v| v.is_finite()).map_or(FLOOR + 13.0, |v| scale.y(v));
        body.push_str(&mark(point.verdict, scale.x(point.at), y));
    }
    format!(
        "<svg class=\"chart\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\" viewBox=\"0 0 {WIDTH} {HEIGHT}\">\
         <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>{body}</svg>",
        Text(chart.name),
        Text(said(chart)),
        id = Text(chart.id),
    )
}

/// The same in a sentence.
fn said(chart: &Chart<'_>) -> String {
    let count = |verdict: Verdict| chart.points.iter().filter(|p| p.verdict == verdict).count();
    let counts: Vec<String> =
        [Verdict::Pass, Verdict::Fail, Verdict::Insufficient, Verdict::Absent, Verdict::Error]
            .into_iter()
            .filter(|verdict| count(*verdict) > 0)
            .map(|verdict| format!("{} {verdict}", count(verdict)))
            .collect();
    let latest = chart.points.last().map_or_else(String::new, |last| {
        let unit = chart.unit.map(|unit| format!(" {unit}")).unwrap_or_default();
        let value = last.value.map(|v| format!("{}{unit}, ", short(v))).unwrap_or_default();
        format!(" The latest is {value}{}.", last.verdict)
    });
    format!(
        "{} measurements: {}.{latest} Judged by: {}. The table has every value.",
        chart.points.len(),
        counts.join(", "),
        chart.judge
    )
}

/// A mark's shape says what its colour says.
pub fn mark(verdict: Verdict, x: f64, y: f64) -> String {
    let class = Sign::verdict(verdict).tone.class();
    match verdict {
        Verdict::Pass => {
            format!("<circle class=\"mark {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.4\"/>")
        }
        Verdict::Fail => {
            let (l, r, t, b) = (x - 4.5, x + 4.5, y - 4.5, y + 4.5);
            format!(
                "<path class=\"mark {class}\" d=\"M{l:.1} {t:.1}L{r:.1} {b:.1}M{l:.1} {b:.1}L{r:.1} {t:.1}\"/>"
            )
        }
        Verdict::Insufficient => format!(
            "<path class=\"mark {class}\" d=\"M{:.1} {y:.1}L{x:.1} {:.1} {:.1} {y:.1} {x:.1} {:.1}Z\"/>",
            x - 5.0,
            y - 5.0,
            x + 5.0,
            y + 5.0
        ),
        Verdict::Absent => format!(
            "<rect class=\"mark {class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"7.5\" height=\"7.5\"/>",
            x - 3.75,
            y - 3.75
        ),
        Verdict::Error => format!(
            "<path class=\"mark {class}\" d=\"M{x:.1} {:.1}L{:.1} {:.1}H{:.1}Z\"/>",
            y - 5.0,
            x + 5.0,
            y + 4.0,
            x - 5.0
        ),
    }
}

/// From instants and values to places.
struct Scale {
    from: f64,
    to: f64,
    low: f64,
    high: f64,
    most: f64,
}

impl Scale {
    fn of(chart: &Chart<'_>) -> Option<Self> {
        let seconds = |at: Timestamp| at.as_millisecond() as f64 / 1_000.0;
        let (first, last) = (chart.points.first()?.at, chart.points.last()?.at);
        let begin = chart.deployed.filter(|at| *at < first).unwrap_or(first);
        // A deploy long before what is shown is no reason to show nothing else.
        let span = (seconds(last) - seconds(first)).max(60.0);
        let from = seconds(begin).max(seconds(first) - span);
        let to = seconds(last).max(from + 60.0);
        let values = chart.points.iter().flat_map(|p| {
            p.value.iter().chain(&p.against).chain(&p.limits).copied().collect::<Vec<_>>()
        });
        let (low, high) = values
            .filter(|v| v.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = match low.is_finite() {
            false => (0.0, 1.0),
            true if high - low < f64::EPSILON * high.abs().max(1.0) => {
                let room = (high.abs() * 0.1).max(0.5e-3);
                (low - room, high + room)
            }
            true => {
                let room = (high - low) * 0.08;
                (if low >= 0.0 { (low - room).max(0.0) } else { low - room }, high + room)
            }
        };
        let most = chart.points.iter().filter_map(|p| p.samples).fold(0.0, f64::max);
        Some(Self { from, to, low, high, most })
    }

    fn shows(&self, at: Timestamp) -> bool {
        (self.from..=self.to).contains(&(at.as_millisecond() as f64 / 1_000.0))
    }

    fn x(&self, at: Timestamp) -> f64 {
        self.place(at.as_millisecond() as f64 / 1_000.0)
    }

    fn place(&self, seconds: f64) -> f64 {
        let share = (seconds - self.from) / (self.to - self.from);
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        FLOOR - share.clamp(0.0, 1.0) * (FLOOR - TOP)
    }

    /// Lines at round values, and times below.
    fn grid(&self, chart: &Chart<'_>, body: &mut String) {
        let numbers = chart.points.iter().any(|p| p.value.is_some() || !p.limits.is_empty());
        for value in ticks(self.low, self.high).into_iter().filter(|_| numbers) {
            let y = self.y(value);
            let _ = write!(
                body,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{}\"/><text x=\"{}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 7.0,
                y + 4.0,
                short(value)
            );
        }
        let long = self.to - self.from > 86_400.0;
        for (n, anchor) in ["start", "middle", "middle", "end"].into_iter().enumerate() {
            let seconds = self.from + (self.to - self.from) * n as f64 / 3.0;
            let at = Timestamp::from_millisecond((seconds * 1_000.0) as i64).unwrap_or_default();
            let zoned = at.to_zoned(TimeZone::UTC);
            let said = zoned.strftime(if long { "%d %b %H:%MZ" } else { "%H:%MZ" });
            let _ = write!(
                body,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{said}</text>",
                self.place(seconds),
                HEIGHT - 8.0
            );
        }
        if let Some(unit) = chart.unit {
            let _ = write!(body, "<text x=\"4\" y=\"{}\">{}</text>", TOP - 10.0, Text(unit));
        }
        self.bars(chart, body);
    }

    /// The samples behind each measurement.
    fn bars(&self, chart: &Chart<'_>, body: &mut String) {
        let _ = write!(body, "<path class=\"grid\" d=\"M{LEFT} {SAMPLES}H{}\"/>", WIDTH - RIGHT);
        if self.most <= 0.0 {
            return;
        }
        let mut way = String::new();
        for point in chart.points {
            let tall = point.samples.unwrap_or_default() / self.most * BAR;
            let _ = write!(way, "M{:.1} {SAMPLES}v-{tall:.1}", self.x(point.at));
        }
        let _ = write!(
            body,
            "<path class=\"bars\" d=\"{way}\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">samples</text>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">≤ {}</text>",
            LEFT - 7.0,
            SAMPLES - 11.0,
            LEFT - 7.0,
            SAMPLES + 1.0,
            short(self.most)
        );
    }

    /// Where there was no number, and where nothing was measured though it was due.
    fn gaps(&self, chart: &Chart<'_>, body: &mut String) {
        let late = chart.interval.as_seconds() * 2.5;
        let points = chart.points;
        let mut spans: Vec<(f64, f64)> = Vec::new();
        for (n, point) in points.iter().enumerate() {
            let before = n.checked_sub(1).and_then(|n| points.get(n));
            let after = points.get(n + 1);
            let x = self.x(point.at);
            let usable = matches!(point.verdict, Verdict::Pass | Verdict::Fail);
            if !usable {
                let from = before.map_or(x - 4.0, |p| self.x(p.at));
                spans.push((from, after.map_or(x + 4.0, |p| self.x(p.at))));
            }
            if let Some(before) = before
                && point.at.duration_since(before.at).as_secs_f64() > late
            {
                spans.push((self.x(before.at), x));
            }
        }
        let mut merged: Vec<(f64, f64)> = Vec::new();
        for (from, to) in spans {
            match merged.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                Some(_) | None => merged.push((from, to)),
            }
        }
        for (from, to) in merged {
            let (from, to) = (from.max(LEFT), to.min(WIDTH - RIGHT));
            let _ = write!(
                body,
                "<rect class=\"gap\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\"/>",
                (to - from).max(1.0),
                FLOOR - TOP
            );
        }
    }

    /// The limits, what is compared with, and the values.
    fn lines(&self, chart: &Chart<'_>, body: &mut String) {
        let most = chart.points.iter().map(|p| p.limits.len()).max().unwrap_or(0);
        for n in 0..most {
            let series = chart.points.iter().map(|p| (p.at, p.limits.get(n).copied()));
            let _ = write!(body, "<path class=\"limit\" d=\"{}\"/>", self.way(series, chart, true));
            if let Some(limit) = chart.points.iter().rev().find_map(|p| p.limits.get(n)) {
                let y = self.y(*limit);
                let y = if y < TOP + 12.0 { y + 12.0 } else { y - 4.0 };
                let _ = write!(
                    body,
                    "<text class=\"limit-name\" x=\"{}\" y=\"{y:.1}\" text-anchor=\"end\">limit {}</text>",
                    WIDTH - RIGHT,
                    short(*limit)
                );
            }
        }
        let beside = chart.points.iter().map(|p| (p.at, p.against));
        let _ = write!(body, "<path class=\"beside\" d=\"{}\"/>", self.way(beside, chart, true));
        let values = chart.points.iter().map(|p| (p.at, p.value));
        let _ = write!(body, "<path class=\"line\" d=\"{}\"/>", self.way(values, chart, false));
    }

    /// A line through what is there; it ends where something is missing. A limit goes on to both sides.
    fn way(
        &self,
        series: impl Iterator<Item = (Timestamp, Option<f64>)>,
        chart: &Chart<'_>,
        whole: bool,
    ) -> String {
        let late = chart.interval.as_seconds() * 2.5;
        let mut way = String::new();
        let mut last: Option<Timestamp> = None;
        for (at, value) in series {
            let Some(value) = value.filter(|v| v.is_finite()) else {
                last = if whole { last } else { None };
                continue;
            };
            let (x, y) = (self.x(at), self.y(value));
            let near = last.is_some_and(|l| whole || at.duration_since(l).as_secs_f64() <= late);
            let _ = match (near, whole && last.is_none()) {
                (true, _) => write!(way, "L{x:.1} {y:.1}"),
                (false, true) => write!(way, "M{LEFT} {y:.1}L{x:.1} {y:.1}"),
                (false, false) => write!(way, "M{x:.1} {y:.1}"),
            };
            last = Some(at);
        }
        if whole && last.is_some() {
            let _ = write!(way, "H{}", WIDTH - RIGHT);
        }
        way
    }
}

/// Round values between two, about four of them.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 4.0;
    if !rough.is_finite() || rough <= 0.0 {
        return Vec::new();
    }
    let size = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|n| n * size).find(|s| *s >= rough);
    let step = step.unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    (first..=last).map(|n| n as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(all: &[(Verdict, Option<f64>)]) -> Vec<Point> {
        let begin: Timestamp = "2026-11-02T08:00:00Z".parse().unwrap();
        let at = |n: usize| begin + jiff::SignedDuration::from_mins(n as i64);
        let point = |(n, (verdict, value)): (usize, &(Verdict, Option<f64>))| Point {
            at: at(n),
            verdict: *verdict,
            value: *value,
            samples: value.map(|_| 500.0),
            against: None,
            limits: vec![0.4],
        };
        all.iter().enumerate().map(point).collect()
    }

    fn drawn(points: &[Point]) -> String {
        drawing(&Chart {
            id: "g1",
            name: "latency on <us>",
            points,
            deployed: points.first().map(|p| p.at),
            interval: Span::minutes(1),
            unit: Some("s"),
            judge: "at most 0.4 s",
        })
    }

    #[test]
    fn values_stand_against_their_limit_and_what_is_missing_is_hatched() {
        let verdicts =
            [(Verdict::Pass, Some(0.3)), (Verdict::Absent, None), (Verdict::Fail, Some(0.6))];
        let svg = drawn(&points(&verdicts));
        for part in [
            "latency on &lt;us&gt;",
            "class=\"limit\"",
            "limit 0.4",
            "class=\"gap\"",
            "class=\"deploy\"",
            "class=\"mark ok\"",
            "class=\"mark bad\"",
            "class=\"mark hold\"",
            "3 measurements: 1 Pass, 1 Fail, 1 Absent. The latest is 0.6 s, Fail.",
        ] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        assert!(!drawn(&points(&[(Verdict::Pass, Some(0.3)); 3])).contains("class=\"gap\""));
        assert_eq!(drawn(&[]), "");
    }

    #[test]
    fn odd_figures_break_no_drawing() {
        for value in [f64::INFINITY, f64::NAN, 0.0, -1.0, 1e-12, 1e12] {
            let svg = drawn(&points(&[(Verdict::Pass, Some(value)), (Verdict::Fail, Some(value))]));
            let drawing = svg.split("</desc>").nth(1).unwrap();
            let places = drawing.replace("text-anchor", "");
            assert!(!places.contains("NaN") && !places.contains("inf"), "{value}: {places}");
        }
    }

    #[test]
    fn figures_have_the_digits_that_count() {
        let said = [0.0, 0.41234, 0.9995, 12.0, 1234.5, 0.000_012_345].map(short);
        assert_eq!(said, ["0", "0.4123", "0.9995", "12", "1234", "0.00001234"]);
        assert_eq!(ticks(0.0, 1.0), [0.0, 0.25, 0.5, 0.75, 1.0]);
    }
}
