use super::{Invariant, Step};
use crate::{
    decide::{
        command::Stretch,
        event::{Event, Reading},
        fact::{Fact, Verdict},
        part::Told,
    },
    ids::{ClusterName, ReleaseId, RingName},
    model::time::Span,
};

/// Holds every Pass against the answer that it was given for.
#[derive(Debug, Default)]
pub(super) struct Passes;

impl Invariant for Passes {
    fn number(&self) -> u8 {
        5
    }

    fn says(&self) -> &'static str {
        "a gate passes only on samples taken after the deploy and within their maximum age"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        for fact in &step.decision.facts {
            if let Fact::HistoryMeasured { release, ring, cluster, past, verdicts, .. } = fact {
                then(step, (release, ring, cluster), past, verdicts)?;
            }
            let Fact::Measured { release, ring, cluster, gate, judged, .. } = fact else {
                continue;
            };
            if judged.verdict != Verdict::Pass {
                continue;
            }
            let what = format!("{gate} passed on {cluster} of {ring}");
            let Event::Measured { answer, .. } = step.event else {
                return Err(format!("{what} and nothing was measured"));
            };
            let on = step.on(release, ring)?;
            let gate = on.ring.policy.gates.iter().find(|g| g.name == *gate);
            let deployed = on.run.clusters.get(cluster).and_then(|here| here.deployed);
            // A judge that reads no number of its own passes on those of its parts.
            let own = gate.is_none_or(|gate| gate.judge.reads_value());
            let parts = answer.parts.iter().filter_map(|told| match told {
                Told::Number(reading) => Some(reading),
                Told::Range(_) | Told::Alerts(_) | Told::Ruled { .. } | Told::Workload(_) => None,
                Told::Error(_) => Some(&Reading::Absent),
            });
            for reading in own.then_some(&answer.value).into_iter().chain(parts) {
                let Reading::Value { at, .. } = reading else {
                    return Err(format!("{what} on {reading:?}"));
                };
                if deployed.is_none_or(|deployed| *at < deployed.wall) {
                    return Err(format!("{what} on a sample of {at}, deployed {deployed:?}"));
                }
                let age = step.now.wall.duration_since(*at).as_millis();
                let age = Span(u64::try_from(age).unwrap_or(0));
                if gate.is_none_or(|gate| age > gate.max_age) {
                    return Err(format!("{what} on a sample that is {age} old"));
                }
            }
            let samples = match &answer.samples {
                Some(Reading::Value { value, .. }) => Some(*value),
                Some(Reading::Absent | Reading::Error(_)) | None => None,
            };
            let needed = gate.and_then(|gate| gate.min_samples);
            if needed.is_some_and(|needed| samples.is_none_or(|have| have < needed)) {
                return Err(format!("{what} on {samples:?} samples of {needed:?}"));
            }
        }
        Ok(())
    }
}

/// Every instant of the past that passes rests on a sample from then, after the deploy.
fn then(
    step: &Step<'_>,
    (release, ring, cluster): (&ReleaseId, &RingName, &ClusterName),
    past: &Stretch,
    verdicts: &[Verdict],
) -> Result<(), String> {
    let Event::Measured { answer, .. } = step.event else {
        return Err(format!("{ring} is measured from history and nobody answered"));
    };
    let run = step.on(release, ring)?.run;
    let deployed = run.clusters.get(cluster).and_then(|here| here.deployed);
    let passing = past.instants().zip(verdicts).filter(|(_, v)| **v == Verdict::Pass);
    for (instant, _) in passing {
        let since = past.before(instant);
        let samples = answer.parts.first().into_iter().flat_map(|told| match told {
            Told::Range(samples) => samples.as_slice(),
            Told::Number(_)
            | Told::Alerts(_)
            | Told::Ruled { .. }
            | Told::Workload(_)
            | Told::Error(_) => &[],
        });
        let mut fresh = samples.filter(|s| s.at > since && s.at <= instant);
        if !fresh.any(|s| deployed.is_some_and(|deployed| s.at > deployed.wall)) {
            return Err(format!("{ring} passes at {instant} on no sample from then"));
        }
    }
    Ok(())
}
