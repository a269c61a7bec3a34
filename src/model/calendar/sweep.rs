//! Windows around changes of clocks, against an oracle that knows nothing of cron or of gaps: it looks at
//! the clock on the wall, minute by minute.
//!
//! A time of the day that the clock shows opens a window when it is shown first. One that it leaves out
//! opens it when the clock as it went before would have shown it.

use std::collections::BTreeMap;

use jiff::tz::Offset;

use super::*;

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const A_DAY: i64 = 1_440;
/// How far from the change windows are looked at, in minutes.
const AROUND: i64 = 26 * 60;

/// A change of clocks.
struct Change {
    at: Timestamp,
    before: Offset,
    after: Offset,
}

/// A zone's changes from 2020 to 2040.
fn changes(zone: &TimeZone) -> Vec<Change> {
    let first = Timestamp::constant(1_577_836_800, 0);
    let last = Timestamp::constant(2_240_524_800, 0);
    let changes = zone.following(first).take_while(|change| change.timestamp() < last);
    let changes = changes.map(|change| {
        let at = change.timestamp();
        let before = zone.to_offset(at - SignedDuration::from_nanos(1));
        Change { at, before, after: change.offset() }
    });
    changes.collect()
}

/// Times of the day at which a window opens, and the cron that says so.
struct Shape {
    cron: String,
    minutes: Box<dyn Fn(i64) -> bool>,
    day: Option<i64>,
    length: i64,
}

impl Shape {
    /// At one minute of some hours; in minutes since midnight, all with the same minute.
    fn at(times: &[i64], day: Option<i64>, length: i64) -> Self {
        let mut times: Vec<i64> = times.iter().map(|time| time.rem_euclid(A_DAY)).collect();
        times.sort_unstable();
        times.dedup();
        let hours: Vec<_> = times.iter().map(|time| (time / 60).to_string()).collect();
        let days = day.map_or("*", |day| DAYS[day as usize]);
        let cron = format!("0 {} {} * * {days}", times[0] % 60, hours.join(","));
        Self { cron, minutes: Box::new(move |minute| times.contains(&minute)), day, length }
    }

    fn every_quarter(length: i64) -> Self {
        let cron = "0 0/15 * * * *".into();
        Self { cron, minutes: Box::new(|minute| minute % 15 == 0), day: None, length }
    }

    fn opens(&self, local: i64) -> bool {
        // The first day of the clock was a Thursday.
        let day = (local.div_euclid(A_DAY) + 4).rem_euclid(7);
        (self.minutes)(local.rem_euclid(A_DAY)) && self.day.is_none_or(|wanted| wanted == day)
    }

    /// Windows of every kind around a change: in what it leaves out or repeats, at its edges, over it.
    fn all(change: &Change) -> Vec<Self> {
        let minute =
            |offset: Offset| (change.at.as_second() + i64::from(offset.seconds())).div_euclid(60);
        let (one, other) = (minute(change.before), minute(change.after));
        // What is left out or repeated lies from `low` to `high`.
        let (low, high) = (one.min(other), one.max(other));
        let middle = low + (high - low) / 2;
        let day = (middle.div_euclid(A_DAY) + 4).rem_euclid(7);
        vec![
            Self::at(&[middle], None, 10),
            Self::at(&[middle], Some(day), 90),
            Self::at(&[low], None, 60),
            Self::at(&[high], None, 7),
            Self::at(&[low - 1], None, 1),
            Self::at(&[low - 60], None, 180),
            Self::at(&[middle, middle + 60], None, 5),
            Self::at(&[middle - 60, middle, middle + 60, middle + 120], None, 61),
            Self::at(&[0], None, 30),
            Self::at(&[0], None, A_DAY - 60),
            Self::every_quarter(5),
        ]
    }
}

/// Every start of a window in the minutes around a change, as the clock on the wall shows them.
fn starts(zone: &TimeZone, around: i64, shape: &Shape) -> Vec<i64> {
    let local = |minute: i64| {
        let at = Timestamp::from_second(minute * 60).expect("a time of this century");
        minute + i64::from(zone.to_offset(at).seconds()) / 60
    };
    let (from, to) = (around - AROUND - A_DAY, around + AROUND + A_DAY);
    let (mut starts, mut shown) = (Vec::new(), local(from - 1));
    for minute in from..to {
        let now = local(minute);
        let left_out = (shown + 1..now).filter(|local| shape.opens(*local));
        starts.extend(left_out.map(|local| minute - 1 + (local - shown)));
        if now > shown {
            starts.extend(shape.opens(now).then_some(minute));
            shown = now;
        }
    }
    starts.sort_unstable();
    starts
}

/// What is wrong with a calendar of that shape around a change, if anything is.
fn wrong(name: &str, zone: &TimeZone, change: &Change, shape: &Shape) -> Option<String> {
    let around = change.at.as_second().div_euclid(60);
    let starts = starts(zone, around, shape);
    let calendar = Calendar {
        name: "c".into(),
        time_zone: name.into(),
        allow: vec![Window {
            cron: shape.cron.as_str().into(),
            duration: Span::minutes(u64::try_from(shape.length).expect("some time")),
        }],
        deny: Vec::new(),
        applies_to: vec![AppliesTo::Start],
        in_flight: InFlight::FinishRing,
    };
    // Looked at are both edges of each window near the change, and the change itself; in seconds.
    let near =
        |minute: &i64| (minute - around).abs() < AROUND / if shape.length < 6 { 8 } else { 1 };
    let edges = starts.iter().flat_map(|start| [*start, start + shape.length]);
    let mut looks: Vec<i64> =
        edges.filter(near).chain([around]).flat_map(|m| [m * 60 - 1, m * 60]).collect();
    looks.sort_unstable();
    looks.dedup();
    let last = around + AROUND + A_DAY;
    for second in looks {
        let open = |start: &&i64| **start * 60 <= second && second < (**start + shape.length) * 60;
        let expected = match starts.iter().filter(open).max() {
            None => {
                let next = starts.iter().find(|start| **start * 60 > second);
                (false, next.map(|start| start * 60))
            }
            Some(start) => {
                // Windows that touch are one.
                let end = starts.iter().fold(start + shape.length, |end, next| {
                    if *next > *start && *next <= end { next + shape.length } else { end }
                });
                (true, (end < last).then_some(end * 60))
            }
        };
        let at = Timestamp::from_second(second).expect("a time of this century");
        let (is_open, until) = match calendar.at(at) {
            Opening::Open { until } => (true, until),
            Opening::Closed { opens, .. } => (false, opens),
        };
        let found = (is_open, until.map(Timestamp::as_second));
        let same = expected.0 == found.0 && (expected.1.is_none() || expected.1 == found.1);
        if !same {
            let when = Timestamp::from_second(found.1.unwrap_or(0)).unwrap_or_default();
            return Some(format!(
                "{name}, `{}` for {} min, at {at}: {is_open} until {when}, expected {expected:?}",
                shape.cron, shape.length
            ));
        }
    }
    None
}

/// When the clocks change, and from which offset to which, in seconds.
type Jumps = Vec<(Timestamp, i32, i32)>;

/// Every zone that is known, each by its first name among those with the same changes.
fn zones() -> Vec<(String, TimeZone, Vec<Change>)> {
    let mut known: BTreeMap<Jumps, (String, TimeZone)> = BTreeMap::new();
    for name in jiff::tz::db().available() {
        let name = name.to_string();
        let Ok(zone) = TimeZone::get(&name) else { continue };
        let seconds = |c: Change| (c.at, c.before.seconds(), c.after.seconds());
        let key = changes(&zone).into_iter().map(seconds).collect();
        known.entry(key).or_insert((name, zone));
    }
    let with_changes = |(name, zone): (String, TimeZone)| {
        let changes = changes(&zone);
        (name, zone, changes)
    };
    known.into_values().map(with_changes).collect()
}

fn all_right(zones: &[(String, TimeZone, Vec<Change>)], kinds_only: bool) -> usize {
    let mut seen = std::collections::BTreeSet::new();
    let (mut looked_at, mut found) = (0, Vec::new());
    for (name, zone, changes) in zones {
        for change in changes {
            // The same jump at the same time of the day is the same kind of change.
            let time =
                (change.at.as_second() + i64::from(change.before.seconds())).rem_euclid(86_400);
            let kind = (change.after.seconds() - change.before.seconds(), time);
            if kinds_only && !seen.insert(kind) {
                continue;
            }
            looked_at += 1;
            found.extend(Shape::all(change).iter().filter_map(|s| wrong(name, zone, change, s)));
        }
    }
    assert!(
        found.is_empty(),
        "{} wrong:\n{}",
        found.len(),
        found[..found.len().min(20)].join("\n")
    );
    looked_at
}

/// One change of each kind that any zone has from 2020 to 2040.
#[test]
fn every_kind_of_change_of_clocks_opens_and_closes_as_the_wall_shows() {
    let zones = zones();
    assert!(zones.len() > 60, "{} zones", zones.len());
    let kinds = all_right(&zones, true);
    assert!(kinds >= 15, "{kinds} kinds");
}

/// Every change of every zone.
#[test]
#[ignore = "it takes minutes: cargo test --release --lib -- --ignored every_change_of_every_zone"]
fn every_change_of_every_zone_opens_and_closes_as_the_wall_shows() {
    let looked_at = all_right(&zones(), false);
    assert!(looked_at > 1_500, "{looked_at} changes");
}
