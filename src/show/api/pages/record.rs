//! What is on record: in words, and entry by entry.

use axum::response::Response;
use serde::Deserialize;

use super::{
    super::{audit::blocking, caller::Visit, extract::Asked, problem::Problem},
    Guest,
};
use crate::{
    decide::fact::Fact,
    ids::PlanName,
    record::{self, Entry, StoreError},
    show::{
        change::About,
        dashboard::{
            Place,
            timeline::{self, Audit, Event, PAGE, Timeline},
        },
        story, view,
    },
};

/// Events on a page.
const EVENTS: usize = 60;

/// Entries that a page looks at; where nothing of what is wanted is among them, the next goes on.
const BUDGET: u64 = 16_384;

/// Entries that are read at a time.
const STRIDE: u64 = 512;

/// What is told only where everything is asked for: there is too much of it to see anything else.
const NOISE: [&str; 9] = [
    "measured",
    "historyMeasured",
    "baselineTaken",
    "historyTaken",
    "targetSeen",
    "effectSettled",
    "effectSuperseded",
    "clusterWitnessed",
    "startQueued",
];

/// Which events are told; a browser sends fields that nobody filled in.
#[derive(Debug, Default, Deserialize)]
pub struct TimelineQuery {
    plan: Option<String>,
    version: Option<String>,
    all: Option<String>,
    before: Option<u64>,
}

/// What happened, newest first.
pub async fn timeline(
    guest: Guest,
    query: Result<Asked<TimelineQuery>, Problem>,
) -> Result<Response, Response> {
    let found = async {
        let Asked(query) = query?;
        let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let wanted = Wanted {
            plan: given(query.plan).map(PlanName::from),
            version: given(query.version).map(|text| text.trim().to_owned()),
            all: given(query.all).is_some(),
        };
        let head = guest.visit.api.desk.store().head().seq;
        let end = query.before.map_or(head + 1, |before| before.min(head + 1));
        let (events, next) = read(&guest.visit, &wanted, end).await?;
        let (plans, now) = guest.visit.look(|world, now| {
            let plans = world.plans.keys().filter(|plan| guest.visit.sees(world, plan));
            (plans.cloned().collect(), now)
        });
        let Wanted { plan, version, all } = wanted;
        let first = query.before.is_none();
        Ok(Timeline { events, next, plan, version, all, plans, first, now })
    };
    let found = found.await.map_err(|problem: Problem| guest.trouble(&problem, "/"))?;
    let main = timeline::page(&found);
    Ok(guest.page(Place::Timeline, "Timeline", found.first, &main))
}

struct Wanted {
    plan: Option<PlanName>,
    version: Option<String>,
    all: bool,
}

impl Wanted {
    /// Whether a fact is told.
    fn is(&self, fact: &Fact) -> bool {
        let about = About::of(fact);
        let kind = match self.all {
            true => !matches!(about.name, "answered" | "soakCredited" | "measureDropped"),
            false => about.kind.is_some() && !NOISE.contains(&about.name),
        };
        let plan = self.plan.as_ref().is_none_or(|plan| about.plan == Some(plan));
        let version = self.version.as_ref().is_none_or(|version| {
            about.release.is_some_and(|release| release.version.as_str() == version)
        });
        kind && plan && version
    }
}

/// The events before an entry, newest first, and before which the next page goes on.
async fn read(
    visit: &Visit,
    wanted: &Wanted,
    end: u64,
) -> Result<(Vec<Event>, Option<u64>), Problem> {
    let floor = end.saturating_sub(BUDGET).max(1);
    let mut events = Vec::new();
    let mut end = end;
    while end > floor {
        let start = end.saturating_sub(STRIDE).max(floor);
        for entry in entries(visit, start, end).await?.iter().rev() {
            let visible = visit.look(|world, _| {
                view::is_visible(entry, |plan: &PlanName| visit.sees(world, plan))
            });
            let told = entry.facts.iter().filter(|fact| wanted.is(fact));
            let said: Vec<String> = told.map(story::of).collect();
            if visible && !said.is_empty() {
                events.push(Event { seq: entry.seq, at: entry.at.wall, said });
            }
            if events.len() == EVENTS {
                return Ok((events, Some(entry.seq).filter(|seq| *seq > 1)));
            }
        }
        end = start;
    }
    Ok((events, Some(end).filter(|end| *end > 1)))
}

/// Entries from `start` up to the one before `end`, oldest first.
async fn entries(visit: &Visit, start: u64, end: u64) -> Result<Vec<Entry>, Problem> {
    let store = visit.api.desk.store().clone();
    let read = blocking(move || -> Result<Vec<Entry>, StoreError> {
        let limit = usize::try_from(end - start).unwrap_or(usize::MAX);
        Ok(store.read(start, limit)?.into_iter().filter(|entry| entry.seq < end).collect())
    });
    read.await.map_err(|error| Problem::journal(&error))
}

/// Which page of the journal.
#[derive(Debug, Default, Deserialize)]
pub struct JournalQuery {
    to: Option<u64>,
    verify: Option<String>,
}

/// The journal, newest first.
pub async fn audit(
    guest: Guest,
    query: Result<Asked<JournalQuery>, Problem>,
) -> Result<Response, Response> {
    let found = async {
        let Asked(query) = query?;
        let visit = &guest.visit;
        let head = visit.api.desk.store().head().seq;
        let to = query.to.map_or(head, |to| to.clamp(1, head.max(1)));
        let from = (to + 1).saturating_sub(PAGE).max(1);
        let entries = entries(visit, from, to + 1).await?;
        let verified = match query.verify.is_some_and(|verify| !verify.is_empty()) {
            false => None,
            true => {
                let store = visit.api.desk.store().clone();
                let found = blocking(move || record::audit::verify(&*store)).await;
                Some(found.map_err(|error| Problem::journal(&error))?.into())
            }
        };
        let (page, now) = visit.look(|world, now| {
            let page = view::audit_page(world, &entries, None, |plan| visit.sees(world, plan));
            (page, now)
        });
        let mut entries = page.entries;
        entries.reverse();
        Ok(Audit { entries, range: (from, to), head, verified, now })
    };
    let found = found.await.map_err(|problem: Problem| guest.trouble(&problem, "/"))?;
    Ok(guest.page(Place::Timeline, "Journal", false, &timeline::audit(&found)))
}
