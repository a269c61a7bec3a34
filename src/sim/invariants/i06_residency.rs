use super::{Invariant, On, Step, waived::Waivers};
use crate::{
    decide::{
        command::{Command, Write},
        event::{Answer, Event, Reading},
        fact::Fact,
        part::{Ask, Part},
    },
    ids::{ClusterName, DataClass, Jurisdiction, ReleaseId},
    model::{
        residency::{Demand, Disclose, Enforcement, Rule, Territory},
        ring::{Artifact, Cluster, MetricSource},
        time::Now,
    },
};

/// Asks for every effect whether a rule forbids it, by what was known when it was decided, and nobody has
/// waived it; and looks in what was recorded for figures that must not be there. It reads the facts for itself.
#[derive(Debug, Default)]
pub(super) struct Residency {
    waivers: Waivers,
}

impl Invariant for Residency {
    fn number(&self) -> u8 {
        6
    }

    fn says(&self) -> &'static str {
        "no cluster outside the permitted jurisdictions is sent a release, and no figure leaves its own"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        self.waivers.hear(step);
        let waivers = &self.waivers;
        for command in &step.decision.commands {
            match command.as_ref() {
                Command::Deploy(write) => {
                    let on = step.on(&write.release, &write.ring)?;
                    for cluster in &on.ring.clusters {
                        let binds = |rule: &Rule| waivers.binds(rule, &on, step.now);
                        payload(step, &on, cluster, write, binds)?;
                    }
                }
                Command::Restore(write) => {
                    let on = step.on(&write.release, &write.ring)?;
                    let cluster = on.ring.cluster(&write.cluster);
                    let cluster =
                        cluster.ok_or_else(|| format!("{} leaves its ring", write.key))?;
                    let binds = |rule: &Rule| rule.enforcement == Enforcement::Hard;
                    payload(step, &on, cluster, write, binds)?;
                }
                // It sends nothing; but what stands there under a rule against it must not go on.
                Command::Promote(promote) => {
                    let write = &promote.write;
                    let on = step.on(&write.release, &write.ring)?;
                    let cluster = on.ring.cluster(&write.cluster);
                    let cluster =
                        cluster.ok_or_else(|| format!("{} leaves its ring", write.key))?;
                    let forward = step.goes_forward(promote);
                    let binds = |rule: &Rule| match forward {
                        true => waivers.binds(rule, &on, step.now),
                        false => rule.enforcement == Enforcement::Hard,
                    };
                    payload(step, &on, cluster, write, binds)?;
                }
                Command::Measure(measure) => {
                    let on = step.on(&measure.release, &measure.ring)?;
                    let Some(cluster) = on.ring.cluster(&measure.cluster) else { continue };
                    let place = Place::of(step, cluster);
                    let sources = measure.source.iter().chain(measure.parts.iter().filter_map(own));
                    for source in sources {
                        for (territory, _) in evidence(&on, &place, waivers, step.now) {
                            let said = source.jurisdiction.as_ref();
                            if !said.is_some_and(|said| territory.contains(said)) {
                                let (key, territory) = (&measure.key, &territory.name);
                                return Err(format!("{key} asks outside {territory}"));
                            }
                        }
                    }
                }
            }
        }
        match step.event {
            Event::Measured { plan, key, answer } => {
                let asked = step.before.plans.get(plan).and_then(|p| p.in_flight.get(key));
                match asked.map(AsRef::as_ref) {
                    Some(Command::Measure(asked)) => {
                        recorded(step, &asked.release, &asked.cluster, answer)
                    }
                    Some(Command::Deploy(_) | Command::Restore(_) | Command::Promote(_)) | None => {
                        Ok(())
                    }
                }
            }
            Event::TookOver
            | Event::Limits(_)
            | Event::Source { .. }
            | Event::Learned(_)
            | Event::Declared { .. }
            | Event::Observed { .. }
            | Event::Found { .. }
            | Event::Outcome { .. }
            | Event::Operator(_)
            | Event::Submitted { .. }
            | Event::Wake { .. } => Ok(()),
        }
    }
}

/// Where a cluster may lie, as was known before the step.
struct Place {
    may_be: Vec<Jurisdiction>,
    unknown: bool,
    classes: Vec<DataClass>,
}

impl Place {
    fn of(step: &Step<'_>, cluster: &Cluster) -> Self {
        let Now { wall, .. } = step.now;
        let facts = &step.before.shared.facts;
        let mut may_be = vec![cluster.jurisdiction.clone()];
        let mut classes = cluster.data_classes.clone();
        let mut unknown = false;
        let (mut region, mut until) = (cluster.region.clone(), cluster.verified_until);
        match facts.clusters.get(&cluster.name) {
            None => {}
            Some(None) => unknown = true,
            Some(Some(now)) => {
                may_be.push(now.jurisdiction.clone());
                classes.extend(now.data_classes.iter().cloned());
                region = now.region.clone();
                until = now.verified_until;
            }
        }
        unknown |= until.is_some_and(|until| until <= wall);
        if let Some(witness) = facts.witnesses.get(&cluster.name) {
            let latest = &may_be[may_be.len() - 1];
            unknown |= witness.regions.iter().any(|seen| *seen != region);
            unknown |= witness.jurisdictions.iter().any(|seen| seen != latest);
        }
        Self { may_be, unknown, classes }
    }

    fn is_in(&self, territory: &Territory) -> bool {
        !self.unknown && self.may_be.iter().all(|place| territory.contains(place))
    }

    fn may_be_in(&self, territory: &Territory) -> bool {
        self.unknown || self.may_be.iter().any(|place| territory.contains(place))
    }
}

/// Rules over where a payload goes. A way back has to keep the hard ones.
fn payload(
    step: &Step<'_>,
    on: &On<'_>,
    cluster: &Cluster,
    write: &Write,
    binds: impl Fn(&Rule) -> bool,
) -> Result<(), String> {
    let place = Place::of(step, cluster);
    let plan = &on.release.plan;
    let named = |rings: &[crate::ids::RingName]| rings.is_empty() || rings.contains(&on.ring.name);
    for rule in plan.residency.iter().filter(|rule| binds(rule)) {
        let kept = match &rule.demand {
            Demand::ClassWithin { class, jurisdiction } => {
                let serves = plan.data_classes.contains(class) && place.classes.contains(class);
                !serves || place.is_in(jurisdiction)
            }
            Demand::TargetsWithin { rings, jurisdiction } => {
                !named(rings) || place.is_in(jurisdiction)
            }
            Demand::TargetsOutside { rings, jurisdiction } => {
                !named(rings) || !place.may_be_in(jurisdiction)
            }
            Demand::PullWithin { jurisdiction, registries } => {
                let inside = |artifact: &Artifact| {
                    registries.iter().any(|registry| {
                        let host = format!("{}/", registry.host);
                        let place = registry.jurisdiction.as_ref();
                        artifact.0.starts_with(&host)
                            && place.is_some_and(|place| jurisdiction.contains(place))
                    })
                };
                write.cluster != cluster.name
                    || !place.may_be_in(jurisdiction)
                    || inside(&write.artifact)
            }
            Demand::StateWithin { jurisdiction } => {
                let home = &step.before.shared.facts.home;
                let kept = [&home.data, &home.backups]
                    .into_iter()
                    .all(|place| place.as_ref().is_some_and(|place| jurisdiction.contains(place)));
                !place.may_be_in(jurisdiction) || kept
            }
            // Of the plan's shape, which `check` proves, or of what moves and who approves, which other
            // invariants look at.
            Demand::Homogeneous { .. }
            | Demand::NotFirstIn { .. }
            | Demand::Independent { .. }
            | Demand::MaxInFlight { .. }
            | Demand::PairExclusive
            | Demand::EvidenceWithin { .. }
            | Demand::ApproverWithin { .. } => true,
        };
        if !kept {
            let (key, rule, cluster) = (&write.key, &rule.id, &cluster.name);
            return Err(format!("{key} is sent though {rule} forbids it for {cluster}"));
        }
    }
    Ok(())
}

/// The metric source that a part asks, where it is one.
fn own(part: &Part) -> Option<&MetricSource> {
    match &part.ask {
        Ask::Number { source, .. }
        | Ask::Range { source, .. }
        | Ask::Alerts { source, .. }
        | Ask::Webhook { source, .. } => Some(source),
        Ask::Workload { .. } => None,
    }
}

fn evidence<'a>(
    on: &On<'a>,
    place: &Place,
    waivers: &Waivers,
    now: Now,
) -> Vec<(&'a Territory, Disclose)> {
    let rules = on.release.plan.residency.iter();
    rules
        .filter(|rule| waivers.binds(rule, on, now))
        .filter_map(|rule| rule.demand.evidence())
        .filter(|(territory, _)| place.may_be_in(territory))
        .collect()
}

/// Figures of an answer that stays where it was measured, in what was recorded of it.
fn recorded(
    step: &Step<'_>,
    id: &ReleaseId,
    cluster: &ClusterName,
    answer: &Answer,
) -> Result<(), String> {
    let Some(release) = step.before.release(id) else { return Ok(()) };
    let Some(declared) = release.plan.cluster(cluster) else { return Ok(()) };
    let place = Place::of(step, declared);
    let rules = release.plan.residency.iter().filter_map(|rule| rule.demand.evidence());
    let mut over = rules.filter(|(territory, _)| place.may_be_in(territory));
    if !over.any(|(_, disclose)| disclose == Disclose::Verdict) {
        return Ok(());
    }
    for fact in &step.decision.facts {
        if let Fact::Measured { judged, .. } = fact
            && judged.value.or(judged.samples).or(judged.against).is_some()
        {
            return Err(format!("a figure of {cluster} is recorded: {judged:?}"));
        }
        if let Fact::Measured { judged, .. } = fact
            && (judged.kept.is_some() || !judged.figures.is_empty())
        {
            return Err(format!("figures of {cluster} are kept: {judged:?}"));
        }
        if let Fact::BaselineTaken { .. } | Fact::HistoryTaken { .. } = fact {
            return Err(format!("a baseline of {cluster} is recorded"));
        }
    }
    let parts = [Some(&answer.value), answer.samples.as_ref(), answer.baseline.as_ref()];
    let text = serde_json::to_string(&step.decision.facts).unwrap_or_default();
    for part in parts.into_iter().flatten() {
        let word = match part {
            // A short figure may stand there for many reasons.
            Reading::Value { value, .. } => value.to_string(),
            Reading::Error(why) => why.clone(),
            Reading::Absent => continue,
        };
        if word.len() >= 8 && text.contains(&word) {
            return Err(format!("`{word}` of {cluster} is recorded"));
        }
    }
    Ok(())
}
