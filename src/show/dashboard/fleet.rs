//! The first page: every release and ring in one matrix.

use std::fmt::Write as _;

use super::{
    deed::{Offer, acts},
    html::{
        InUrl, Text, ago, bar, chip, chip_to, prose, release_path, ring_path, scroll, span, time,
    },
    signs::Sign,
};
use crate::{
    decide::phase::{ReleasePhase, RingPhase},
    ids::{Jurisdiction, PlanName},
    model::time::Now,
    show::view::{FreezeView, PlanView, ReleaseView, RingView, SourceView},
};

/// What a page may weigh, in bytes, before the next plan goes on to the next page. With the style sheet
/// and the script the whole stays under 100 KiB.
pub const WEIGHT: usize = 56 * 1024;

/// What one plan may weigh before its older releases are left to a page of their own.
const PLAN_WEIGHT: usize = 24 * 1024;

/// Which part of the fleet is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this plan.
    pub plan: Option<PlanName>,
    /// In this phase.
    pub phase: Option<ReleasePhase>,
    /// With rings in this country or bloc.
    pub jurisdiction: Option<Jurisdiction>,
    /// From this plan on.
    pub from: Option<PlanName>,
}

impl Filter {
    fn any(&self) -> bool {
        self.plan.is_some() || self.phase.is_some() || self.jurisdiction.is_some()
    }

    /// The address of the page with this filter, from `from` on.
    fn path(&self, from: &PlanName) -> String {
        let mut path = format!("/?from={}", InUrl(from));
        let phase = self.phase.map(ReleasePhase::name);
        for (name, value) in [
            ("plan", self.plan.as_ref().map(PlanName::as_str)),
            ("phase", phase),
            ("jurisdiction", self.jurisdiction.as_ref().map(Jurisdiction::as_str)),
        ] {
            let _ = value.map(|value| write!(path, "&{name}={}", InUrl(value)));
        }
        path
    }
}

/// A plan's rows.
pub struct Part {
    /// The plan.
    pub plan: PlanView,
    /// Its releases that are shown, newest first.
    pub releases: Vec<ReleaseView>,
    /// How many of its releases the filter lets through.
    pub of: usize,
    /// What can be done to the plan.
    pub offers: Vec<Offer>,
}

/// What the page shows besides the plans.
pub struct Board {
    /// The filter.
    pub filter: Filter,
    /// Every plan that the viewer may see, for the filter's list.
    pub names: Vec<PlanName>,
    /// Where their clusters lie.
    pub places: Vec<Jurisdiction>,
    /// How many releases that are not settled are in each phase.
    pub counts: Vec<(ReleasePhase, usize)>,
    /// Freezes that were not lifted.
    pub freezes: Vec<FreezeView>,
    /// Where the declarations come from.
    pub source: SourceView,
    /// The instant.
    pub now: Now,
}

/// The plans of the page, one by one, until it is full.
pub struct Matrix<'a> {
    board: &'a Board,
    csrf: &'a str,
    html: String,
    shown: usize,
}

impl<'a> Matrix<'a> {
    /// Nothing yet.
    pub fn new(board: &'a Board, csrf: &'a str) -> Self {
        Self { board, csrf, html: String::new(), shown: 0 }
    }

    /// Whether no other plan should come.
    pub fn is_full(&self) -> bool {
        self.html.len() >= WEIGHT
    }

    /// Puts a plan into it, unless it is full then: the page begins with one at least.
    pub fn put(&mut self, part: &Part) -> bool {
        let html = plan(part, self.board, self.csrf);
        if self.shown > 0 && self.html.len() + html.len() > WEIGHT {
            return false;
        }
        self.html.push_str(&html);
        self.shown += 1;
        true
    }

    /// The page, and from which plan on the next one is.
    pub fn page(self, next: Option<&PlanName>) -> String {
        let board = self.board;
        let none = match (self.shown, board.filter.any()) {
            (0, true) => {
                "<p class=\"empty\">Nothing is as the filter asks. <a href=\"/\">Show everything</a></p>"
            }
            (0, false) => {
                "<p class=\"empty\">There is no plan that you may see. Plans are declared in Git, as \
                 <code>rings/*.yaml</code>; see <code>ringward check</code>.</p>"
            }
            (_, _) => "",
        };
        let next = next.map_or_else(String::new, |from| {
            format!(
                "<nav aria-label=\"More plans\"><p class=\"more\"><a href=\"{}\">More plans, from {} on</a>\
                 </p></nav>",
                Text(board.filter.path(from)),
                Text(from)
            )
        });
        format!(
            "<div class=\"head\"><h1>Fleet</h1>{}</div>{}{}{}{none}{next}",
            counts(&board.counts),
            filter(board),
            alarms(board),
            self.html
        )
    }
}

fn counts(counts: &[(ReleasePhase, usize)]) -> String {
    let all: String = counts
        .iter()
        .filter(|(_, n)| *n > 0)
        .map(|(phase, n)| {
            let sign = Sign::release(*phase);
            format!(
                "<li><a class=\"count {}\" href=\"/?phase={}\"><b>{n}</b> \
                 <span aria-hidden=\"true\">{}</span> {}</a></li>",
                sign.tone.class(),
                phase.name(),
                sign.glyph,
                sign.word
            )
        })
        .collect();
    match all.is_empty() {
        true => "<p class=\"dim\">Nothing is on its way.</p>".into(),
        false => {
            format!("<ul class=\"counts\" aria-label=\"Releases that are not settled\">{all}</ul>")
        }
    }
}

fn filter(board: &Board) -> String {
    let option = |value: &str, word: &str, chosen: bool| {
        let chosen = if chosen { " selected" } else { "" };
        format!("<option value=\"{}\"{chosen}>{}</option>", Text(value), Text(word))
    };
    let any = |word: &str, chosen: bool| option("", word, chosen);
    let Filter { plan, phase, jurisdiction, .. } = &board.filter;
    let plans: String = board
        .names
        .iter()
        .map(|name| option(name.as_str(), name.as_str(), plan.as_ref() == Some(name)))
        .collect();
    let phases: String = ReleasePhase::ALL
        .iter()
        .map(|p| option(p.name(), Sign::release(*p).word, phase.as_ref() == Some(p)))
        .collect();
    let places: String = board
        .places
        .iter()
        .map(|place| option(place.as_str(), place.as_str(), jurisdiction.as_ref() == Some(place)))
        .collect();
    let clear = match board.filter.any() {
        true => "<a href=\"/\">Clear</a>",
        false => "",
    };
    format!(
        "<form class=\"filter\" method=\"get\" action=\"/\" role=\"search\" aria-label=\"Filter\">\
         <label>Plan <select name=\"plan\">{}{plans}</select></label>\
         <label>Phase <select name=\"phase\">{}{phases}</select></label>\
         <label>Jurisdiction <select name=\"jurisdiction\">{}{places}</select></label>\
         <button>Filter</button>{clear}</form>",
        any("All plans", plan.is_none()),
        any("Any phase", phase.is_none()),
        any("Anywhere", jurisdiction.is_none()),
    )
}

/// What stops more than one plan, and a source that was not accepted.
fn alarms(board: &Board) -> String {
    let freezes = board.freezes.iter().filter(|freeze| freeze.active).map(|freeze| {
        let until = freeze.until.map(|until| format!(", until {}", time(until, board.now)));
        let reason = freeze.said.reason.as_deref().unwrap_or("no reason given");
        format!(
            "<div class=\"alarm\"><p>‖ <b>Frozen</b>: {} by {}: {}{}. <a href=\"/freezes\">Freezes</a></p>\
             </div>",
            Text(&freeze.covers),
            Text(&freeze.said.by),
            Text(reason),
            until.unwrap_or_default(),
        )
    });
    let refused = board.source.refused.iter().map(|commit| {
        let why = board.source.refused_because.as_deref().unwrap_or_default();
        format!(
            "<div class=\"alarm bad\"><p>✘ Commit <code>{}</code> is not in force: {}</p></div>",
            Text(commit),
            Text(why)
        )
    });
    freezes.chain(refused).collect()
}

fn plan(part: &Part, board: &Board, csrf: &str) -> String {
    let Part { plan, releases, of, offers } = part;
    let heads: String = plan
        .rings
        .iter()
        .map(|ring| {
            let places: Vec<&str> = ring.jurisdictions.iter().map(|j| j.as_str()).collect();
            let (name, places) = (Text(&ring.name), Text(places.join(" ")));
            format!("<th scope=\"col\">{name} <span class=\"dim\">{places}</span></th>")
        })
        .collect();
    let mut rows = String::new();
    let mut shown = 0;
    for release in releases {
        if shown > 0 && rows.len() > PLAN_WEIGHT {
            break;
        }
        rows.push_str(&row(plan, release, board.now));
        shown += 1;
    }
    let name = Text(&plan.name);
    let table = match releases.is_empty() {
        true => {
            "<p class=\"empty\">No release yet: <code>ringward release create</code> makes one.</p>"
                .to_owned()
        }
        false => scroll(
            &format!("m-{}", plan.name),
            &format!("Releases and rings of {}", plan.name),
            &format!(
                "<table class=\"matrix\"><caption class=\"unseen\">Releases of {name} by ring, newest first\
                 </caption><thead><tr><th scope=\"col\">Release</th>{heads}</tr></thead>\
                 <tbody>{rows}</tbody></table>"
            ),
        ),
    };
    let more = match of.saturating_sub(shown) {
        0 => String::new(),
        n if board.filter.plan.is_some() => {
            format!("<p class=\"dim\">{n} older are not shown.</p>")
        }
        n => format!(
            "<p class=\"dim\"><a href=\"/?plan={}\">{n} more of {name}</a></p>",
            InUrl(&plan.name)
        ),
    };
    let target = plan.target.as_deref().unwrap_or("declared no more");
    format!(
        "<section id=\"p-{name}\"><div class=\"head\"><h2><a href=\"/?plan={}\">{name}</a></h2>\
         <p class=\"dim\">{}</p>{}</div>{}{}{table}{more}</section>",
        InUrl(&plan.name),
        Text(target),
        acts(csrf, offers, &[]),
        problems(plan),
        pauses(plan),
    )
}

fn problems(plan: &PlanView) -> String {
    if plan.problems.is_empty() {
        return String::new();
    }
    let all: String = plan
        .problems
        .iter()
        .take(5)
        .map(|p| format!("<p>✘ {} {}: {}</p>", Text(&p.rule), Text(&p.place), prose(&p.message)))
        .collect();
    let more = match plan.problems.len().saturating_sub(5) {
        0 => String::new(),
        n => format!("<p>and {n} more; <code>ringward check</code> names them all</p>"),
    };
    format!("<div class=\"alarm bad\">{all}{more}</div>")
}

fn pauses(plan: &PlanView) -> String {
    let all: String = plan
        .pauses
        .iter()
        .map(|pause| {
            let why = pause.said.reason.as_deref().map(|why| format!(": {why}"));
            format!(
                "<p>‖ {} paused by {}{}</p>",
                Text(&pause.covers),
                Text(&pause.said.by),
                Text(why.unwrap_or_default())
            )
        })
        .collect();
    if all.is_empty() { all } else { format!("<div class=\"alarm\">{all}</div>") }
}

fn row(plan: &PlanView, release: &ReleaseView, now: Now) -> String {
    let cells: String = plan
        .rings
        .iter()
        .map(|ring| match release.rings.iter().find(|r| r.name == ring.name) {
            Some(ring) => cell(release, ring),
            None => "<td class=\"dim\">-</td>".into(),
        })
        .collect();
    let id = &release.release;
    format!(
        "<tr id=\"r-{plan}-{version}\"><th scope=\"row\"><a class=\"version\" href=\"{}\">{version}</a> {}\
         <span class=\"dim\">{} · {}</span></th>{cells}</tr>",
        release_path(id),
        chip(Sign::release(release.phase)),
        Text(&release.author),
        ago(release.submitted, now),
        plan = Text(&release.plan),
        version = Text(&release.version),
    )
}

fn cell(release: &ReleaseView, ring: &RingView) -> String {
    let id = &release.release;
    let sign = Sign::ring(ring.phase);
    let soak = ring.soak.filter(|_| ring.phase == RingPhase::Soaking).map(|soak| {
        let (credited, required) = (soak.credited_seconds, soak.required_seconds);
        let still = if soak.running { "" } else { ", stands still" };
        format!(
            "{}<span class=\"dim\">{} of {}{still}</span>",
            bar(credited, required, &format!("Soak on {}", ring.name)),
            span(credited),
            span(required),
        )
    });
    let info = match (ring.holds.as_slice(), ring.info.as_str()) {
        ([], "") => String::new(),
        ([], info) => format!("<span class=\"info\">{}</span>", Text(info)),
        (holds, _) => {
            let all: Vec<&str> = holds.iter().map(|hold| hold.message.as_str()).collect();
            format!("<span class=\"info\">{}</span>", Text(all.join("; ")))
        }
    };
    format!(
        "<td id=\"c-{id}-{name}\" data-say=\"{id} on {name}: {}\">{}{}{info}</td>",
        sign.word,
        chip_to(&ring_path(id, &ring.name), ring.name.as_str(), sign),
        soak.unwrap_or_default(),
        id = Text(id),
        name = Text(&ring.name),
    )
}
