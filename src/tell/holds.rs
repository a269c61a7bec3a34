//! What holds releases now and somebody should hear of.

use std::{collections::BTreeMap, sync::Arc};

use super::entry::{link, nothing};
use crate::{
    act::notify::Told,
    decide::{
        phase,
        waiting::{HoldKind, waiting_on},
        world::{PlanState, Release, World},
    },
    model::{
        notify::Topic,
        time::{Mono, Now, Span},
    },
    show::{
        desk::Desk,
        words::{self, Ender},
    },
};

/// What comes back by itself is told where it lasts for so long.
const LASTS: Span = Span::minutes(5);

/// Since when what comes back by itself has held.
#[derive(Debug, Default)]
pub(super) struct Lasting(BTreeMap<String, Mono>);

/// A hold that somebody should hear of.
#[derive(Debug, Clone)]
pub(super) struct Hold {
    /// What is told of it; it has no id yet.
    pub(super) told: Told,
    /// Whether it is told of by now. One that does not last yet is known all the same: after a restart none does,
    /// and who was told of it must not be told again.
    pub(super) lasts: bool,
}

/// Every hold, by what it is known again by.
pub(super) type Held = Arc<BTreeMap<String, Hold>>;

/// Looks for what holds releases now.
pub(super) fn held(desk: &Desk, external_url: Option<&str>, lasting: &mut Lasting) -> Held {
    let plans: Vec<_> = desk.read(|world, _| world.plans.keys().cloned().collect());
    let mut all = BTreeMap::new();
    let mut seen = BTreeMap::new();
    for name in plans {
        // One plan at a time: the loop that decides waits while somebody looks.
        desk.read(|world, now| {
            let Some(plan) = world.plans.get(&name) else { return };
            let open = open(plan);
            for release in open {
                look(world, release, now, external_url, lasting, &mut seen, &mut all);
            }
        });
    }
    lasting.0 = seen;
    Arc::new(all)
}

/// The releases that are not over.
fn open(plan: &PlanState) -> impl Iterator<Item = &Release> {
    plan.releases.values().map(AsRef::as_ref).filter(|release| !phase::is_settled(release))
}

fn look(
    world: &World,
    release: &Release,
    now: Now,
    external_url: Option<&str>,
    lasting: &Lasting,
    seen: &mut BTreeMap<String, Mono>,
    all: &mut BTreeMap<String, Hold>,
) {
    for (ring, run) in &release.rings {
        for waiting in waiting_on(world, release, ring, now) {
            let Some(kind) = waiting.hold() else { continue };
            let words = words::of(&waiting, world, release, ring, now);
            let key = format!("{}/{ring}/{}/{}", release.id, run.attempt, kind.name());
            let (topic, lasts) = match kind {
                HoldKind::Approval => (Topic::ApprovalNeeded, true),
                // Who paused it is told as such.
                HoldKind::Pause | HoldKind::Freeze => continue,
                HoldKind::Data | HoldKind::Target => {
                    let since = lasting.0.get(&key).copied().unwrap_or(now.mono);
                    seen.insert(key.clone(), since);
                    (Topic::Held, now.mono.since(since) >= LASTS)
                }
                HoldKind::Calendar
                | HoldKind::Cap
                | HoldKind::Pair
                | HoldKind::Residency
                | HoldKind::Skew
                | HoldKind::Prerequisite
                | HoldKind::Policy => {
                    if words.ender != Ender::Person {
                        continue;
                    }
                    (Topic::Held, true)
                }
            };
            let said = format!(
                "{} waits on {ring}: {}; it ends by {}",
                release.id, words.message, words.ended_by
            );
            let told = Told {
                plan: Some(release.id.plan.clone()),
                release: Some(release.id.clone()),
                artifact: Some(release.artifact.clone()),
                ring: Some(ring.clone()),
                attempt: run.attempt,
                said,
                link: link(external_url, Some(&release.id)),
                ..nothing(String::new(), topic, now.wall)
            };
            all.entry(key).or_insert(Hold { told, lasts });
        }
    }
}
