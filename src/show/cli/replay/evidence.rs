//! Recorded measurements, put to another gate: what was told then, as far as its figures were recorded.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Was;
use crate::{
    decide::{
        event::{Answer, Reading},
        fact::{Taken, Verdict},
        gate::role_name,
        part::{Alert, Ask, Part, Role, Sample, Told, Workload},
    },
    ids::ClusterName,
    model::{
        policy::{Baseline, Gate, Judge},
        ring::{MetricSource, ProviderKind},
        time::Span,
    },
    show::{
        cli::failure::Failure,
        view::{FigureView, MeasurementView, TakenView},
    },
    sim::replay::{Case, Course, Replay},
};

/// The attempt that a measurement belongs to: its key ends in it, the gate and a number.
pub fn attempt(item: &MeasurementView) -> Option<u32> {
    item.key.as_str().rsplit('/').nth(2)?.parse().ok()
}

/// The usual time between two measurements of one cluster; none where there are fewer.
fn usual_interval(items: &[MeasurementView]) -> Option<Span> {
    let mut last: BTreeMap<&ClusterName, Timestamp> = BTreeMap::new();
    let mut gaps = Vec::new();
    for item in items {
        if let Some(before) = last.insert(&item.cluster, item.at) {
            gaps.push(item.at.duration_since(before).as_millis());
        }
    }
    gaps.sort_unstable();
    u64::try_from(*gaps.get(gaps.len() / 2)?).ok().map(Span)
}

/// Judges the measurements of one attempt, which come oldest first.
///
/// They stand at the instants at which they were taken: an `interval` that is shorter than the time between them
/// adds none, and takes no credit from those that are there. Where the ring `passed` then, it was measured no more, and
/// what each cluster's last measurement said is credited up to there, as it was then.
///
/// # Errors
/// Their figures were not recorded.
pub fn judge(
    case: Case<'_>,
    items: &[MeasurementView],
    passed: Option<Timestamp>,
) -> Result<(Course, Was), Failure> {
    if let Some(closed) = items.iter().find(|item| item.withheld) {
        let message = format!(
            "the figures of {} stay in their jurisdiction: there is nothing to judge by",
            closed.cluster
        );
        return Err(Failure::new(message).help(
            "replay it over the source itself, with --source, where its figures may be seen",
        ));
    }
    let taken_every = usual_interval(items).unwrap_or(Span::ZERO);
    let gate = Gate { interval: case.gate.interval.max(taken_every), ..case.gate.clone() };
    let case = Case { gate: &gate, ..case };
    let clusters = items.iter().map(|item| &item.cluster);
    let clusters = clusters.filter(|name| case.ring.cluster(name).is_some());
    let mut replay = Replay::new(case, clusters.cloned());
    let mut was = Was::new();
    let mut counted: BTreeMap<&ClusterName, Counted> = BTreeMap::new();
    let mut once: BTreeMap<&ClusterName, TakenView> = BTreeMap::new();
    let mut passed = passed;
    for item in items {
        let Some(cluster) = case.ring.cluster(&item.cluster) else { continue };
        // What follows was measured by a ring that watches on.
        if let Some(at) = passed.take_if(|at| *at < item.at) {
            replay.reach(at);
        }
        let known = counted.entry(&item.cluster).or_default();
        known.see(item);
        if let Some(taken) = &item.taken {
            once.insert(&item.cluster, taken.clone());
            if let Some(phi) = taken.phi {
                replay.remember(&item.cluster, &Taken::Phi(phi));
            }
        }
        let evidence = Evidence { item, counted: known, once: once.get(&item.cluster) };
        let any = any_source(case.gate);
        let (parts, _) = replay.asks(cluster, Some(&any), item.at);
        let answer = evidence.answer(case.gate, &parts);
        replay.take(&item.cluster, item.at, &parts, &answer);
        was.insert((item.cluster.clone(), item.at), item.verdict);
    }
    if let Some(at) = passed {
        replay.reach(at);
    }
    Ok((replay.finish(), was))
}

/// Whom nobody asks: the answers are there.
fn any_source(gate: &Gate) -> MetricSource {
    let kind = ProviderKind::Prometheus;
    MetricSource { name: gate.provider.clone(), kind, url: String::new(), jurisdiction: None }
}

/// What was counted on a cluster so far, interval by interval.
#[derive(Debug, Default)]
struct Counted(Vec<(Timestamp, f64, f64)>);

impl Counted {
    fn see(&mut self, item: &MeasurementView) {
        let figure = |name: &str| item.figures.get(name).map(|figure| figure.0);
        if let (Some(requests), Some(errors)) = (figure("canaryRequests"), figure("canaryErrors")) {
            self.0.push((item.at, requests, errors));
        }
    }

    /// The sum over a window that ends now.
    fn over(&self, now: Timestamp, window: Span) -> Option<(f64, f64)> {
        let since = now.saturating_sub(window.to_signed()).ok()?;
        let within = self.0.iter().filter(|(at, ..)| *at > since);
        within.map(|(_, n, e)| (*n, *e)).reduce(|a, b| (a.0 + b.0, a.1 + b.1))
    }
}

/// A measurement, and what those before it left.
struct Evidence<'a> {
    item: &'a MeasurementView,
    counted: &'a Counted,
    once: Option<&'a TakenView>,
}

impl Evidence<'_> {
    fn answer(&self, gate: &Gate, parts: &[Part]) -> Answer {
        let item = self.item;
        let value = match (item.value, item.verdict) {
            (_, Verdict::Error) => Reading::Error(item.detail.clone()),
            (Some(value), _) => self.value(value),
            (None, _) => Reading::Absent,
        };
        let samples = item.samples.map_or(Reading::Absent, |samples| self.value(samples));
        let before = matches!(gate.judge, Judge::Relative { baseline: Baseline::Before, .. });
        let baseline = self.once.and_then(|once| once.baseline).filter(|_| before);
        // Windows are asked shortest first, requests and errors of each.
        let mut windows = windows(&gate.judge).into_iter();
        let mut window = None;
        let told = parts.iter().map(|part| {
            if part.role == Role::Requests {
                window = windows.next();
            }
            self.tell(part, window)
        });
        let parts = told.collect();
        let baseline = baseline.map(|baseline| self.value(baseline));
        Answer {
            value,
            samples: gate.samples.as_ref().map(|_| samples),
            baseline,
            parts,
            infos: Vec::new(),
        }
    }

    fn value(&self, value: f64) -> Reading {
        Reading::Value { value, at: self.item.at }
    }

    fn figure(&self, name: &str) -> Option<f64> {
        self.item.figures.get(name).map(|FigureView(value)| *value)
    }

    fn tell(&self, part: &Part, window: Option<Span>) -> Told {
        let not_recorded = || {
            let what = role_name(part.role);
            Told::Error(format!("no {what} were recorded with this measurement"))
        };
        if self.item.verdict == Verdict::Error {
            return Told::Error(self.item.detail.clone());
        }
        let number = |value: Option<f64>| match value {
            Some(value) => Told::Number(self.value(value)),
            None => not_recorded(),
        };
        let counts = window.map(|window| {
            let (requests, errors) = (format!("requests{window}"), format!("errors{window}"));
            let own = self.figure(&requests).zip(self.figure(&errors));
            own.or_else(|| self.counted.over(self.item.at, window))
        });
        match part.role {
            Role::Stable => number(self.item.control.or(self.figure("baseline"))),
            Role::Requests => number(match counts {
                Some(counts) => counts.map(|(requests, _)| requests),
                None => self.figure("canaryRequests"),
            }),
            Role::Errors => number(match counts {
                Some(counts) => counts.map(|(_, errors)| errors),
                None => self.figure("canaryErrors"),
            }),
            Role::StableRequests => number(self.figure("stableRequests")),
            Role::StableErrors => number(self.figure("stableErrors")),
            Role::Before => match self.once.map(|once| &once.control).filter(|c| !c.is_empty()) {
                Some(control) => Told::Range(control.iter().map(|v| self.sample(*v)).collect()),
                None => not_recorded(),
            },
            // Only what was made of it is recorded, and remembered where it was.
            Role::StableHistory | Role::Past | Role::PastSamples => not_recorded(),
            Role::Alerts => self.alerts(part).unwrap_or_else(not_recorded),
            Role::Webhook => match self.item.verdict {
                verdict @ (Verdict::Pass | Verdict::Fail | Verdict::Insufficient) => {
                    Told::Ruled { verdict, detail: self.item.detail.clone() }
                }
                Verdict::Absent | Verdict::Error => not_recorded(),
            },
            Role::Kubernetes => {
                let count = |name| self.figure(name).map(|n| n.max(0.0) as u32);
                let seen =
                    (count("wanted"), count("ready"), count("restarts"), count("crashLoops"));
                match seen {
                    (Some(wanted), Some(ready), Some(restarts), Some(crash_loops)) => {
                        Told::Workload(Workload { wanted, ready, restarts, crash_loops })
                    }
                    _ => not_recorded(),
                }
            }
        }
    }

    fn sample(&self, value: f64) -> Sample {
        Sample { at: self.item.at, value }
    }

    /// How many fired is recorded, of those that the gate asked for then, and not which: matchers that let
    /// fewer through can be judged by where none did, and others not at all.
    fn alerts(&self, part: &Part) -> Option<Told> {
        let Ask::Alerts { matchers, .. } = &part.ask else { return None };
        let asked = self.item.asked.iter().find(|asked| asked.role == "alerts")?;
        let then: BTreeMap<String, String> = serde_json::from_value(asked.query.clone()).ok()?;
        let firing = self.figure("firing")?.clamp(0.0, 1_000.0) as usize;
        let narrower = then.iter().all(|(label, value)| matchers.get(label) == Some(value));
        Some(match (then == *matchers, narrower, firing) {
            (true, ..) => Told::Alerts(vec![Alert { labels: matchers.clone() }; firing]),
            (false, true, 0) => Told::Alerts(Vec::new()),
            (false, ..) => Told::Error(
                "other matchers than these were asked for then, and which alerts fired was not \
                 recorded; replay it over the source itself, with --source"
                    .into(),
            ),
        })
    }
}

/// The windows of a burn rate in the order in which it asks them.
fn windows(judge: &Judge) -> Vec<Span> {
    let Judge::BurnRate(declared) = judge else { return Vec::new() };
    let mut windows: Vec<Span> = declared.windows.iter().flat_map(|p| [p.long, p.short]).collect();
    windows.sort_unstable();
    windows.dedup();
    windows
}

#[cfg(test)]
mod tests;
