//! What happened, in words; and the journal itself, entry by entry.

use jiff::Timestamp;

use super::html::{InUrl, Text, scroll, time};
use crate::{
    ids::PlanName,
    model::time::Now,
    show::view::{AuditView, VerificationView},
};

/// What happened in one decision, in sentences.
pub struct Event {
    /// The journal's entry.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What, a sentence each.
    pub said: Vec<String>,
}

/// What happened, newest first.
pub struct Timeline {
    /// The events.
    pub events: Vec<Event>,
    /// Before which entry the next page goes on.
    pub next: Option<u64>,
    /// Of this plan only.
    pub plan: Option<PlanName>,
    /// Of this version of it only.
    pub version: Option<String>,
    /// Measurements and states of targets too.
    pub all: bool,
    /// The plans that the viewer may see.
    pub plans: Vec<PlanName>,
    /// Whether it is the first page.
    pub first: bool,
    /// The instant.
    pub now: Now,
}

/// The two pages of what is on record.
fn tabs(audit: bool) -> String {
    let current = |here: bool| if here { " aria-current=\"page\"" } else { "" };
    format!(
        "<nav aria-label=\"On record\" class=\"tabs\"><a href=\"/timeline\"{}>In words</a>\
         <a href=\"/audit\"{}>The journal</a></nav>",
        current(!audit),
        current(audit)
    )
}

/// The page.
pub fn page(timeline: &Timeline) -> String {
    let Timeline { events, next, plan, version, all, plans, first, now } = timeline;
    let items: String = events
        .iter()
        .map(|event| {
            let said: String =
                event.said.iter().map(|line| format!("<li>{}</li>", Text(line))).collect();
            format!(
                "<li id=\"e-{seq}\"><span>{} <a class=\"dim\" href=\"/audit?to={seq}\">#{seq}</a></span>\
                 <ul>{said}</ul></li>",
                time(event.at, *now),
                seq = event.seq
            )
        })
        .collect();
    let items = match items.is_empty() {
        true => "<p class=\"empty\">Nothing of this happened as far as was looked.</p>".to_owned(),
        false => format!("<ol class=\"events\" reversed>{items}</ol>"),
    };
    let options: String = plans
        .iter()
        .map(|name| {
            let chosen = if plan.as_ref() == Some(name) { " selected" } else { "" };
            format!("<option value=\"{0}\"{chosen}>{0}</option>", Text(name))
        })
        .collect();
    let mut query = String::new();
    for (name, value) in [
        ("plan", plan.as_ref().map(ToString::to_string)),
        ("version", version.clone()),
        ("all", all.then(|| "yes".to_owned())),
    ] {
        if let Some(value) = value {
            query.push_str(&format!("&{name}={}", InUrl(value)));
        }
    }
    let older = next.map_or_else(String::new, |before| {
        format!("<a href=\"/timeline?before={before}{}\">Older</a>", Text(&query))
    });
    let newest = match first {
        true => String::new(),
        false => {
            format!("<a href=\"/timeline?{}\">Newest</a>", Text(query.trim_start_matches('&')))
        }
    };
    format!(
        "<div class=\"head\"><h1>Timeline</h1>{}</div><form class=\"filter\" method=\"get\" action=\"/timeline\" \
         role=\"search\" aria-label=\"Filter\"><label>Plan <select name=\"plan\">\
         <option value=\"\">All plans</option>{options}</select></label><label>Version \
         <input name=\"version\" value=\"{}\" size=\"12\"></label><label class=\"tick\">\
         <input type=\"checkbox\" name=\"all\" value=\"yes\"{}> Measurements and targets too</label>\
         <button>Filter</button></form><section aria-label=\"Events, newest first\">{items}</section>\
         <nav aria-label=\"Pages of the timeline\" class=\"links\">{newest}{older}</nav>",
        tabs(false),
        Text(version.as_deref().unwrap_or_default()),
        if *all { " checked" } else { "" },
    )
}

/// A page of the journal, newest first.
pub struct Audit {
    /// The entries that the viewer may see.
    pub entries: Vec<AuditView>,
    /// The first and the last entry that were looked at.
    pub range: (u64, u64),
    /// The last of all.
    pub head: u64,
    /// What a verification found, if one was asked for.
    pub verified: Option<VerificationView>,
    /// The instant.
    pub now: Now,
}

/// The page.
pub fn audit(audit: &Audit) -> String {
    let Audit { entries, range: (from, to), head, verified, now } = audit;
    let rows: String = entries.iter().map(|entry| row(entry, *now)).collect();
    let hidden = (to + 1).saturating_sub(*from).saturating_sub(entries.len() as u64);
    let hidden = match hidden {
        0 => String::new(),
        n => format!("<p class=\"dim\">{n} entries here are about plans that you may not see.</p>"),
    };
    let found = verified.as_ref().map(|found| match &found.broken {
        None => format!(
            "<div class=\"alarm fine\" role=\"status\"><p>✔ All {} entries hold, each follows the one before it; \
             the last is <code class=\"long\">{}</code></p></div>",
            found.entries,
            Text(&found.head)
        ),
        Some(broken) => format!(
            "<div class=\"alarm bad\" role=\"alert\"><p>✘ Entry {} does not hold: {}</p></div>",
            broken.seq,
            Text(&broken.why)
        ),
    });
    let older = match from.checked_sub(1).filter(|last| *last > 0) {
        Some(last) => format!("<a href=\"/audit?to={last}\">Older</a>"),
        None => String::new(),
    };
    let newer = match to < head {
        true => format!(
            "<a href=\"/audit\">Newest</a><a href=\"/audit?to={}\">Newer</a>",
            (to + PAGE).min(*head)
        ),
        false => String::new(),
    };
    let table = format!(
        "<table class=\"journal\"><caption class=\"unseen\">Entries {from} to {to} of the journal, newest first\
         </caption><thead><tr><th scope=\"col\">Entry</th><th scope=\"col\">Decided</th>\
         <th scope=\"col\">What became true, and what was to be done</th><th scope=\"col\">Hash</th></tr></thead>\
         <tbody>{rows}</tbody></table>"
    );
    format!(
        "<div class=\"head\"><h1>Journal</h1>{}</div><p class=\"dim\">{head} entries, each linked to the one before \
         by its hash. <code>ringward audit export</code> writes all of it.</p>\
         <form class=\"acts\" method=\"get\" action=\"/audit\"><input type=\"hidden\" name=\"verify\" value=\"yes\">\
         <button>Verify the whole chain</button></form>{}<section aria-label=\"Entries\">{}</section>{hidden}\
         <nav aria-label=\"Pages of the journal\" class=\"links\">{newer}{older}</nav>",
        tabs(true),
        found.unwrap_or_default(),
        scroll("journal", "Entries of the journal", &table),
    )
}

/// Entries of a page of the journal.
pub const PAGE: u64 = 40;

/// What a fact or command may weigh, in characters; the API has it whole.
const LONGEST: usize = 1_200;

fn row(entry: &AuditView, now: Now) -> String {
    let item = |what: &str, with: &serde_json::Value| {
        let text = with.to_string();
        let cut: String = text.chars().take(LONGEST).collect();
        let more = if cut.len() < text.len() { "… (the API has the rest)" } else { "" };
        let fields = match with {
            serde_json::Value::Null => String::new(),
            serde_json::Value::Bool(_)
            | serde_json::Value::Number(_)
            | serde_json::Value::String(_)
            | serde_json::Value::Array(_)
            | serde_json::Value::Object(_) => format!(" <code>{}{more}</code>", Text(cut)),
        };
        format!("<li><b>{}</b>{fields}</li>", Text(what))
    };
    let facts: String = entry.facts.iter().map(|fact| item(&fact.what, &fact.with)).collect();
    let commands: String =
        entry.commands.iter().map(|command| item(&command.what, &command.with)).collect();
    let commands = match entry.commands.len() {
        0 => commands,
        n => format!(
            "<li><details id=\"d-{}\"><summary>{n} to do</summary><ul class=\"plain\">{commands}</ul>\
             </details></li>",
            entry.seq
        ),
    };
    let short: String = entry.hash.as_str().chars().take(12).collect();
    format!(
        "<tr id=\"s-{seq}\"><th scope=\"row\">{seq}</th><td>{}<br><span class=\"dim\">epoch {}</span></td>\
         <td><ul class=\"plain facts\">{facts}{commands}</ul></td><td><code title=\"{}\">{short}</code></td></tr>",
        time(entry.at, now),
        entry.epoch,
        Text(&entry.hash),
        seq = entry.seq,
        short = Text(short),
    )
}
