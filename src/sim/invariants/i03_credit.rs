use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Invariant, Step};
use crate::{
    decide::{
        command::Stretch,
        fact::{Fact, Verdict},
        world::{Step as ClusterStep, World},
    },
    ids::{ClusterName, GateName, ReleaseId, RingName},
    model::time::{Mono, Now, Span},
};

/// Books every credit against the monotonic time in which it could have been earned. Time in which
/// nobody observed anything may be credited in one way only: by a policy that makes up for it, where each
/// target's own record is as it was, and step by step where every required gate passes by history.
#[derive(Debug, Default)]
pub(super) struct Credit {
    soaks: BTreeMap<(ReleaseId, RingName), Soak>,
    /// When the last entry was recorded.
    recorded: Option<Now>,
}

#[derive(Debug, Clone)]
struct Soak {
    since: Mono,
    /// How long ringward was away since, by the wall clock.
    away: Span,
    credited: Span,
    healthy_at: Option<Mono>,
    gap: Option<Gap>,
}

/// A stretch without an observation.
#[derive(Debug, Clone)]
struct Gap {
    from: Mono,
    away: Span,
    to: Option<Now>,
    records: BTreeMap<ClusterName, Option<Timestamp>>,
    told: BTreeMap<(ClusterName, GateName), (Stretch, Vec<Verdict>)>,
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
                let (away, credited) = (Span::ZERO, Span::ZERO);
                let soak = Soak { since: now, away, credited, healthy_at: None, gap: None };
                self.soaks.insert((release.clone(), ring.clone()), soak);
            } else if let Fact::SoakRunning { release, ring, running, .. } = fact {
                if let Some(soak) = self.soaks.get_mut(&(release.clone(), ring.clone())) {
                    soak.observed(*running, step.now, || records(step.before, release, ring));
                }
            } else if let Fact::SoakReset { release, ring, .. } = fact {
                if let Some(soak) = self.soaks.get_mut(&(release.clone(), ring.clone())) {
                    (soak.credited, soak.healthy_at, soak.gap) = (Span::ZERO, None, None);
                }
            } else if let Fact::TookOver { .. } = fact {
                let away = self.recorded.map_or(Span::ZERO, |last| {
                    let passed = step.now.wall.duration_since(last.wall).as_millis();
                    let passed = Span(u64::try_from(passed).unwrap_or(0));
                    passed.saturating_sub(now.since(last.mono))
                });
                for ((release, ring), soak) in &mut self.soaks {
                    soak.away = soak.away + away;
                    soak.observed(false, step.now, || records(step.before, release, ring));
                    if let Some(gap) = soak.gap.as_mut().filter(|gap| gap.to.is_none()) {
                        gap.away = gap.away + away;
                    }
                }
            } else if let Fact::HistoryMeasured {
                release,
                ring,
                cluster,
                gate,
                past,
                verdicts,
                ..
            } = fact
            {
                let soak = self.soaks.get_mut(&(release.clone(), ring.clone()));
                if let Some(gap) = soak.and_then(|soak| soak.gap.as_mut()) {
                    let place = (cluster.clone(), gate.clone());
                    gap.told.insert(place, (*past, verdicts.clone()));
                }
            } else if let Fact::SoakBackfilled { release, ring, span, .. } = fact {
                let soak = self.soaks.get_mut(&(release.clone(), ring.clone()));
                let soak = soak.ok_or_else(|| format!("{release} does not soak on {ring}"))?;
                if let Some(gap) = soak.gap.take().filter(|_| *span > Span::ZERO) {
                    gap.proves(step, release, ring, *span)?;
                } else if *span > Span::ZERO {
                    return Err(format!("{span} of nothing are made up for on {ring}"));
                }
                soak.credit(*span, now)?;
            } else if let Fact::SoakCredited { release, ring, span } = fact {
                let soak = self.soaks.get_mut(&(release.clone(), ring.clone()));
                let soak = soak.ok_or_else(|| format!("{release} does not soak on {ring}"))?;
                let what = || format!("{span} are credited to {release} on {ring}");
                let from = soak.healthy_at.ok_or_else(|| format!("{}, unobserved", what()))?;
                if *span > now.since(from) {
                    return Err(format!("{} after {}", what(), now.since(from)));
                }
                soak.healthy_at = Some(now);
                soak.credit(*span, now)?;
                // Both ends of what is credited were healthy; this is the later one.
                step.on(release, ring)?
                    .healthy(step.after)
                    .map_err(|e| format!("{}: {e}", what()))?;
            }
        }
        if !step.decision.is_empty() {
            self.recorded = Some(step.now);
        }
        Ok(())
    }
}

impl Soak {
    fn observed(
        &mut self,
        running: bool,
        now: Now,
        records: impl FnOnce() -> BTreeMap<ClusterName, Option<Timestamp>>,
    ) {
        if let (false, Some(from)) = (running, self.healthy_at) {
            let (records, told) = (records(), BTreeMap::new());
            self.gap = Some(Gap { from, away: Span::ZERO, to: None, records, told });
        }
        if let Some(gap) = self.gap.as_mut().filter(|_| running) {
            gap.to.get_or_insert(now);
        }
        self.healthy_at = running.then_some(now.mono);
    }

    fn credit(&mut self, span: Span, now: Mono) -> Result<(), String> {
        self.credited = self.credited + span;
        let passed = now.since(self.since) + self.away;
        match self.credited > passed {
            true => Err(format!("{span} more make {} in {passed}", self.credited)),
            false => Ok(()),
        }
    }
}

impl Gap {
    /// Whether so much of it may be credited.
    fn proves(
        &self,
        step: &Step<'_>,
        release: &ReleaseId,
        ring: &RingName,
        span: Span,
    ) -> Result<(), String> {
        let on = step.on(release, ring)?;
        let what = format!("{span} are made up for on {ring}");
        if !on.ring.policy.soak.backfill {
            return Err(format!("{what}, which its policy does not say"));
        }
        let to = self.to.ok_or_else(|| format!("{what} before it was healthy again"))?;
        let length = to.mono.since(self.from) + self.away;
        let ready: Vec<&ClusterName> = on
            .run
            .clusters
            .iter()
            .filter(|(_, here)| here.step == ClusterStep::Ready)
            .map(|(name, _)| name)
            .collect();
        let records = records(step.after, release, ring);
        for cluster in &ready {
            let (then, now) = (self.records.get(*cluster), records.get(*cluster));
            if then != now || !matches!(then, Some(Some(_))) {
                return Err(format!(
                    "{what}, and the record of {cluster} is {now:?}, was {then:?}"
                ));
            }
        }
        let required: Vec<_> = on.ring.policy.gates.iter().filter(|gate| gate.required).collect();
        let step = required.iter().map(|gate| gate.interval).min().unwrap_or_default();
        // Where it lies, from the beginning, and whether all passes there; both ends were seen.
        let mut ends = vec![(Span::ZERO, true)];
        if length > step {
            let mut each: Vec<&(Stretch, Vec<Verdict>)> = Vec::new();
            for place in ready.iter().flat_map(|c| required.iter().map(move |g| (c, g))) {
                let (cluster, gate) = place;
                let key = ((*cluster).clone(), gate.name.clone());
                let told = self.told.get(&key);
                each.push(told.ok_or_else(|| format!("{what} without {} there", gate.name))?);
            }
            let begins = to.wall.saturating_sub(length.to_signed()).unwrap_or(to.wall);
            let instants: Vec<_> =
                each.first().map(|(past, _)| past.instants().collect()).unwrap_or_default();
            for (n, at) in instants.into_iter().enumerate() {
                let offset =
                    Span(u64::try_from(at.duration_since(begins).as_millis()).unwrap_or(0));
                let passes =
                    |(_, told): &&(Stretch, Vec<Verdict>)| told.get(n) == Some(&Verdict::Pass);
                ends.push((offset, each.iter().all(passes)));
            }
        }
        ends.push((length, true));
        let mut earned = Span::ZERO;
        for pair in ends.windows(2) {
            let ((from, before), (to, after)) = (pair[0], pair[1]);
            let took = to.saturating_sub(from);
            if before && after && took <= step {
                earned = earned + took;
            }
        }
        match span > earned {
            true => Err(format!("{what}, and {earned} of {length} pass")),
            false => Ok(()),
        }
    }
}

/// What the targets of a ring say of since when they have been ready.
fn records(
    world: &World,
    release: &ReleaseId,
    ring: &RingName,
) -> BTreeMap<ClusterName, Option<Timestamp>> {
    let run = world.run(release, ring);
    let clusters = run.into_iter().flat_map(|run| run.clusters.keys());
    let plan = world.plans.get(&release.plan);
    let record = |cluster: &ClusterName| {
        plan.and_then(|plan| plan.targets.get(cluster)?.state.as_ref()?.ready_since)
    };
    clusters.map(|cluster| (cluster.clone(), record(cluster))).collect()
}
