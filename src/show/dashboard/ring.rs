//! A release on a ring: how it is, and its gates, each drawn against its limit.

use super::{
    chart::{self, Chart, Point, short},
    deed::{Offer, acts},
    html::{InUrl, Text, chip, copied, release_path, ring_path, scroll, terms, time},
    release,
    signs::Sign,
};
use crate::{
    ids::{ClusterName, ReleaseId},
    model::time::Now,
    show::{
        view::{GateSpecView, PauseView, QuestionView, RingSpecView, RingView},
        words,
    },
};
use jiff::Timestamp;

/// Measurements of a gate that are drawn, and stand in its table.
pub const DRAWN: usize = 60;

/// What the page shows.
pub struct Sheet {
    /// The release.
    pub release: ReleaseId,
    /// How it is on the ring.
    pub ring: RingView,
    /// The ring as the release's own rules declare it.
    pub spec: RingSpecView,
    /// What can be done.
    pub offers: Vec<Offer>,
    /// The pauses that cover it.
    pub pauses: Vec<(PauseView, Offer)>,
    /// Its gates on each cluster.
    pub gates: Vec<Gate>,
    /// Whether only one gate is looked at.
    pub one: bool,
    /// The instant.
    pub now: Now,
}

/// A gate on a cluster.
pub struct Gate {
    /// The gate as declared.
    pub spec: GateSpecView,
    /// The cluster.
    pub cluster: ClusterName,
    /// When the release was last deployed there.
    pub deployed: Option<Timestamp>,
    /// What was measured, oldest first, each with its detail.
    pub points: Vec<(Point, String)>,
    /// What was asked for the latest, as it was sent.
    pub asked: Vec<QuestionView>,
    /// A residency rule keeps its figures where they were measured.
    pub withheld: bool,
}

/// The page.
pub fn page(sheet: &Sheet, csrf: &str) -> String {
    let Sheet { release: id, ring, spec, offers, pauses, gates, one, now } = sheet;
    let whole = match one {
        true => {
            format!("<p><a href=\"{}\">All gates of the ring</a></p>", ring_path(id, &ring.name))
        }
        false => String::new(),
    };
    let cards: String = gates.iter().enumerate().map(|(n, gate)| card(n, gate, sheet)).collect();
    let none = match gates.is_empty() {
        true => "<p class=\"empty\">This ring has no gates.</p>",
        false => "",
    };
    format!(
        "<nav aria-label=\"Path\" class=\"path\"><a href=\"/\">Fleet</a> / \
         <a href=\"/?plan={plan}\">{plan}</a> / <a href=\"{}\">{}</a></nav>\
         <div class=\"head\" id=\"ring\" data-say=\"{name}: {}\"><h1>{name} <span class=\"dim\">of {}</span></h1>\
         {}<span class=\"dim\">{}</span>{}</div>{}{}{}<section aria-labelledby=\"h-gates\">\
         <h2 id=\"h-gates\">Gates</h2>{whole}{none}{}{}<div class=\"gates\">{cards}</div></section>",
        release_path(id),
        Text(id),
        Sign::ring(ring.phase).word,
        Text(id),
        chip(Sign::ring(ring.phase)),
        release::after(ring),
        acts(csrf, offers, &[]),
        release::paused(pauses, csrf),
        release::state(ring, *now),
        rules(ring, spec, *now),
        chart::HATCH,
        if gates.is_empty() { String::new() } else { chart::legend() },
        plan = Text(&id.plan),
        name = Text(&ring.name),
    )
}

/// What the ring asks for.
fn rules(ring: &RingView, spec: &RingSpecView, now: Now) -> String {
    let approvals = spec.approvals.as_ref().map_or_else(String::new, |needed| {
        let place = needed.jurisdiction.iter().map(ToString::to_string);
        let who: Vec<String> = needed.roles.iter().cloned().chain(place).collect();
        let author = if needed.exclude_author { ", not the author" } else { "" };
        Text(format!("{} by {}{author}", needed.count, who.join(", "))).to_string()
    });
    let calendars: Vec<&str> = spec.calendars.iter().map(|c| c.as_str()).collect();
    let attempt = match ring.attempt {
        0 => String::new(),
        n => format!(
            "{n}{}",
            ring.started_at.map_or_else(String::new, |at| format!(", started {}", time(at, now)))
        ),
    };
    let back = match spec.automatic_rollback {
        true => "goes back by itself when it fails",
        false => "stays as it is when it fails",
    };
    terms(&[
        ("Attempt", attempt),
        ("Policy", Text(&spec.policy).to_string()),
        ("Soak", format!("{} of healthy time", spec.soak)),
        ("Deadline of a deploy", spec.deadline.to_string()),
        ("Clusters at once", format!("{}, {} may fail", spec.concurrency, spec.failure_budget)),
        ("Rollback", back.into()),
        ("Approvals", approvals),
        ("Calendars", Text(calendars.join(", ")).to_string()),
        (
            "Watched after it passed",
            if spec.after_watch.0 == 0 { String::new() } else { spec.after_watch.to_string() },
        ),
    ])
}

fn card(n: usize, gate: &Gate, sheet: &Sheet) -> String {
    let Gate { spec, cluster, deployed, points, asked, withheld } = gate;
    let id = format!("g{n}");
    let name = format!("{} on {cluster}", spec.name);
    let latest = points.last();
    let sign = latest.map(|(point, _)| chip(Sign::verdict(point.verdict)));
    let told = match (latest, withheld) {
        (None, _) => "<p class=\"dim\">Not measured yet.</p>".into(),
        (Some(_), true) => {
            format!("<p>⊘ Withheld: {}. Only verdicts are known here.</p>", Text(words::WITHHELD))
        }
        (Some((_, detail)), false) => format!("<p>{}</p>", Text(detail)),
    };
    let drawn: Vec<Point> = points.iter().map(|(point, _)| point.clone()).collect();
    let drawing = chart::drawing(&Chart {
        id: &id,
        name: &name,
        points: &drawn,
        deployed: *deployed,
        interval: spec.interval,
        unit: spec.unit.as_deref(),
        judge: &spec.judge,
    });
    let drawing = match drawing.is_empty() {
        true => drawing,
        false => scroll(&format!("{id}-chart"), &format!("Chart of {name}"), &drawing),
    };
    let role = if spec.required { "required" } else { "a dry run: it holds and fails nothing" };
    let failures = match (spec.failure_limit, spec.consecutive_failure_limit) {
        (Some(limit), None) => format!("more than {limit} failures fail the ring"),
        (Some(limit), Some(row)) => {
            format!("more than {limit} failures fail the ring, or more than {row} in a row")
        }
        (None, Some(row)) => format!("more than {row} failures in a row fail the ring"),
        (None, None) => "no number of failures fails the ring".to_owned(),
    };
    let dim = format!(
        "<p class=\"dim\">{}; every {}; {role}; {failures}</p>",
        Text(&spec.judge),
        spec.interval,
    );
    format!(
        "<section class=\"gate\" id=\"gate-{gate}-{cluster}\" aria-labelledby=\"{id}-h\" data-say=\"{said}: {verdict}\">\
         <div class=\"head\"><h3 id=\"{id}-h\"><a href=\"{}?gate={}&amp;cluster={}\">{gate}</a> \
         <span class=\"dim\">on {cluster}</span></h3>{}</div>{dim}{told}{drawing}{}{}</section>",
        ring_path(&sheet.release, &sheet.ring.name),
        InUrl(&spec.name),
        InUrl(cluster),
        sign.unwrap_or_default(),
        queries(&id, spec, asked),
        table(&id, gate, sheet),
        gate = Text(&spec.name),
        cluster = Text(cluster),
        said = Text(&name),
        verdict = latest.map_or("not measured", |(p, _)| Sign::verdict(p.verdict).word),
    )
}

/// What was asked, complete; or what will be.
fn queries(id: &str, spec: &GateSpecView, asked: &[QuestionView]) -> String {
    let mut all: Vec<(String, String)> = asked
        .iter()
        .map(|question| {
            let source = question.source.as_deref().unwrap_or("the cluster");
            let text = match question.query.as_str() {
                Some(text) => text.to_owned(),
                None => question.query.to_string(),
            };
            (format!("{} of {source}", question.role), text)
        })
        .collect();
    if all.is_empty() && !spec.query.is_empty() {
        all.push((format!("value of {}", spec.provider), spec.query.clone()));
    }
    let blocks: String = all
        .iter()
        .enumerate()
        .map(|(n, (what, text))| {
            format!(
                "<p class=\"dim\">{}</p>{}",
                Text(what),
                copied(&format!("{id}-q{n}"), text.trim(), "query")
            )
        })
        .collect();
    match blocks.is_empty() {
        true => blocks,
        false => format!("<details id=\"{id}-queries\"><summary>Query</summary>{blocks}</details>"),
    }
}

/// The same values as the drawing's.
fn table(id: &str, gate: &Gate, sheet: &Sheet) -> String {
    if gate.points.is_empty() {
        return String::new();
    }
    let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), short);
    let rows: String = gate
        .points
        .iter()
        .rev()
        .map(|(point, detail)| {
            let limits: Vec<String> = point.limits.iter().map(|l| short(*l)).collect();
            let limits = if limits.is_empty() { "-".to_owned() } else { limits.join(" to ") };
            format!(
                "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{limits}</td>\
                 <td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
                time(point.at, sheet.now),
                chip(Sign::verdict(point.verdict)),
                figure(point.value),
                figure(point.against),
                figure(point.samples),
                Text(detail),
            )
        })
        .collect();
    let unit = gate.spec.unit.as_deref().map(|unit| format!(", {unit}")).unwrap_or_default();
    let table = format!(
        "<table><caption class=\"unseen\">{} on {}, newest first</caption><thead><tr>\
         <th scope=\"col\">Judged</th><th scope=\"col\">Verdict</th><th scope=\"col\" class=\"n\">Value{}</th>\
         <th scope=\"col\" class=\"n\">Limit</th><th scope=\"col\" class=\"n\">Compared with</th>\
         <th scope=\"col\" class=\"n\">Samples</th><th scope=\"col\">In words</th></tr></thead>\
         <tbody>{rows}</tbody></table>",
        Text(&gate.spec.name),
        Text(&gate.cluster),
        Text(unit),
    );
    format!(
        "<details id=\"{id}-values\"><summary>Values as a table ({})</summary>{}</details>",
        gate.points.len(),
        scroll(
            &format!("{id}-table"),
            &format!("Values of {} on {}", gate.spec.name, gate.cluster),
            &table
        )
    )
}
