use std::collections::BTreeMap;

use super::{Invariant, Step};
use crate::{
    decide::fact::Fact,
    ids::{ReleaseId, RingName},
    model::time::{Mono, Span},
};

/// Books every credit against the monotonic time in which it could have been earned.
#[derive(Debug, Default)]
pub(super) struct Credit {
    soaks: BTreeMap<(ReleaseId, RingName), Soak>,
}

#[derive(Debug, Clone, Copy)]
struct Soak {
    since: Mono,
    credited: Span,
    healthy_at: Option<Mono>,
}

impl Invariant for Credit {
    fn number(&self) -> u8 {
        3
    }

    fn says(&self) -> &'static str {
        "soak never exceeds the monotonic time passed, nor grows while nothing was observed"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        let now = step.now.mono;
        for fact in &step.decision.facts {
            if let Fact::SoakStarted { release, ring } = fact {
                let soak = Soak { since: now, credited: Span::ZERO, healthy_at: None };
                self.soaks.insert((release.clone(), ring.clone()), soak);
            } else if let Fact::SoakRunning { release, ring, running } = fact {
                if let Some(soak) = self.soaks.get_mut(&(release.clone(), ring.clone())) {
                    soak.healthy_at = running.then_some(now);
                }
            } else if let Fact::SoakReset { release, ring, .. } = fact {
                if let Some(soak) = self.soaks.get_mut(&(release.clone(), ring.clone())) {
                    *soak = Soak { credited: Span::ZERO, healthy_at: None, ..*soak };
                }
            } else if let Fact::TookOver { .. } = fact {
                self.soaks.values_mut().for_each(|soak| soak.healthy_at = None);
            } else if let Fact::SoakCredited { release, ring, span } = fact {
                let soak = self.soaks.get_mut(&(release.clone(), ring.clone()));
                let soak = soak.ok_or_else(|| format!("{release} does not soak on {ring}"))?;
                let what = || format!("{span} are credited to {release} on {ring}");
                let from = soak.healthy_at.ok_or_else(|| format!("{}, unobserved", what()))?;
                if *span > now.since(from) {
                    return Err(format!("{} after {}", what(), now.since(from)));
                }
                soak.credited = soak.credited + *span;
                soak.healthy_at = Some(now);
                if soak.credited > now.since(soak.since) {
                    return Err(format!(
                        "{}, {} in {}",
                        what(),
                        soak.credited,
                        now.since(soak.since)
                    ));
                }
                // Both ends of what is credited were healthy; this is the later one.
                step.on(release, ring)?
                    .healthy(step.after)
                    .map_err(|e| format!("{}: {e}", what()))?;
            }
        }
        Ok(())
    }
}
