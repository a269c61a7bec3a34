//! What nobody observed of a soak, made up for from history: `backfill: true`.
//!
//! A gap begins at the last instant at which everything was healthy and ends at the next. It is made up
//! for only where nothing but missing knowledge caused it, where the record of each target says at its
//! end what it said at its beginning, and step by step only where every required gate passes at both
//! ends of the step. Whatever cannot be told is credited nothing.

use super::{
    Draft,
    command::{Command, Measure, Stretch},
    event::{Answer, Reading},
    fact::{Fact, Verdict},
    gate::{About, Given, judge, query::render, rule_of, sequential::tests_of},
    part::{Ask, Part, Role, Sample, Told},
    residency,
    soak::{TIMEOUT, redeployed, vars},
    waiting::{HoldKind, waiting_on},
    world::{Gap, Illegal, Phase, Release, RingRun, Step},
};
use crate::{
    ids::{ClusterName, ReleaseId, RingName},
    model::{
        calendar::{AppliesTo, InFlight, Opening},
        policy::Gate,
        query::Query,
        residency::Disclose,
        ring::{Cluster, Ring},
        time::Span,
    },
};

/// How often history is asked of a gap before it is given up.
const TRIES: u32 = 3;

impl Draft {
    /// Whether nothing but missing knowledge keeps the soak from running, and its policy makes up for
    /// that.
    pub(super) fn is_blind(&self, release: &Release, ring: &Ring) -> bool {
        let current = self.release(&release.id);
        let Some((current, state)) =
            current.filter(|_| ring.policy.soak.backfill).zip(self.state())
        else {
            return false;
        };
        let Some(run) = current.ring(&ring.name) else { return false };
        let artifact = &current.artifact;
        let sound = run.clusters.iter().filter(|(_, here)| here.step == Step::Ready).all(
            |(cluster, here)| {
                let seen = state.targets.get(cluster).and_then(|target| target.state.as_ref());
                let well = seen.is_none_or(|seen| {
                    !seen.is_visible()
                        || (seen.is_healthy(artifact, here.intent.as_ref())
                            && !redeployed(here, seen, artifact))
                });
                let failing = ring.policy.gates.iter().filter(|gate| gate.required).any(|gate| {
                    let run = run.gates.get(&(cluster.clone(), gate.name.clone()));
                    let latest = run.and_then(|run| run.latest.as_ref());
                    latest.is_some_and(|(judged, _)| judged.verdict == Verdict::Fail)
                });
                well && !failing
            },
        );
        let unknown = |kind| matches!(kind, Some(HoldKind::Data | HoldKind::Target));
        let waits = waiting_on(&self.world, &current, &ring.name, self.now);
        sound && waits.iter().all(|waits| !waits.stops_the_soak() || unknown(waits.hold()))
    }

    /// A gap that is over is made up for as far as history lets it; one that is open and has another
    /// cause by now is given up.
    pub(super) fn make_up(&mut self, id: &ReleaseId, name: &RingName) -> Result<(), Illegal> {
        let Some(release) = self.release(id) else { return Ok(()) };
        let (Some(ring), Some(run)) = (release.plan.ring(name), release.ring(name)) else {
            return Ok(());
        };
        let Some(gap) = run.soak.gap.as_ref().filter(|_| run.phase == Phase::Soaking) else {
            return Ok(());
        };
        if gap.to.is_none() {
            return match self.is_blind(&release, ring) {
                true => Ok(()),
                false => self.give_up(id, name, "more than knowledge was missing"),
            };
        }
        if run.soak.healthy_at.is_none() {
            return Ok(());
        }
        if !ring.policy.gates.iter().any(|gate| gate.required) {
            return self.give_up(id, name, "no gate of the ring is required");
        }
        if gap.tries >= TRIES {
            return self.give_up(id, name, "a metric source did not say what was");
        }
        let ready: Vec<&Cluster> = ring
            .clusters
            .iter()
            .filter(|c| run.clusters.get(&c.name).is_some_and(|here| here.step == Step::Ready))
            .collect();
        if let Some(cluster) = ready.iter().find(|c| !gap.ready_since.contains_key(&c.name)) {
            let why = format!("nothing shows that {} stayed as it was", cluster.name);
            return self.give_up(id, name, why);
        }
        let Some(stretch) = gap.stretch(step_of(ring)) else { return self.credit_gap(id, name) };
        let kept_out = residency::unmeasurable(&self.world, &release, ring, self.now);
        let mut asks = Vec::new();
        let mut open = false;
        for cluster in &ready {
            for gate in ring.policy.gates.iter().filter(|gate| gate.required) {
                let place = (cluster.name.clone(), gate.name.clone());
                if gap.told.contains_key(&place) {
                    continue;
                }
                open = true;
                if gap.asked.contains_key(&place) {
                    continue;
                }
                let asking = Asking { release: &release, run, ring, cluster, gate, gap };
                let ask = asking
                    .measure(self.world.epoch, &stretch)
                    .filter(|_| !kept_out.contains(&cluster.name));
                let Some(ask) = ask else {
                    let (gate, cluster) = (&gate.name, &cluster.name);
                    let why = format!("{gate} on {cluster} cannot be measured from history");
                    return self.give_up(id, name, why);
                };
                asks.push(ask);
            }
        }
        if open {
            return asks.into_iter().try_for_each(|ask| self.command(Command::Measure(ask)));
        }
        self.credit_gap(id, name)
    }

    fn give_up(
        &mut self,
        id: &ReleaseId,
        ring: &RingName,
        why: impl Into<String>,
    ) -> Result<(), Illegal> {
        let (release, ring, span) = (id.clone(), ring.clone(), Span::ZERO);
        self.fact(Fact::SoakBackfilled { release, ring, span, why: why.into() })
    }

    /// Everything was answered: the steps that pass at both ends are credited.
    fn credit_gap(&mut self, id: &ReleaseId, name: &RingName) -> Result<(), Illegal> {
        let Some(release) = self.release(id) else { return Ok(()) };
        let (Some(ring), Some(run)) = (release.plan.ring(name), release.ring(name)) else {
            return Ok(());
        };
        let Some(gap) = &run.soak.gap else { return Ok(()) };
        let length = gap.length();
        let step = step_of(ring);
        let instants: Vec<_> =
            gap.stretch(step).map(|stretch| stretch.instants().collect()).unwrap_or_default();
        let halts = |calendar: &&crate::model::calendar::Calendar| {
            calendar.in_flight == InFlight::Halt
                && calendar.applies_to.contains(&AppliesTo::Advance)
        };
        let healthy = |n: usize| {
            let told = gap.told.values().all(|told| told.get(n) == Some(&Verdict::Pass));
            let mut halting = ring.policy.calendars.iter().filter(halts);
            told && halting.all(|c| matches!(c.at(instants[n]), Opening::Open { .. }))
        };
        let mut span = Span::ZERO;
        let (mut before, mut passing) = (true, 0);
        for n in 0..instants.len() {
            let now = healthy(n);
            passing += usize::from(now);
            if before && now {
                span = span + step;
            }
            before = now;
        }
        // The last step ends where everything was seen healthy again.
        let rest = length.saturating_sub(step * instants.len() as u64);
        if before && rest <= step {
            span = span + rest;
        }
        let why = format!("{passing} of {} instants pass, over {length}", instants.len());
        let (release, ring) = (id.clone(), name.clone());
        self.fact(Fact::SoakBackfilled { release, ring, span, why })
    }

    /// Takes in what history says of a gate.
    pub(super) fn recalled(
        &mut self,
        asked: &Measure,
        (release, ring, gate): (&Release, &Ring, &Gate),
        past: &Stretch,
        answer: &Answer,
    ) -> Result<(), Illegal> {
        let place = (asked.cluster.clone(), asked.gate.clone());
        let run = self.world.run(&asked.release, &asked.ring);
        let gap = run.and_then(|run| run.soak.gap.as_ref());
        let wanted = gap.is_some_and(|gap| gap.asked.get(&place) == Some(&asked.key));
        let deployed = run.and_then(|run| run.clusters.get(&asked.cluster)?.deployed);
        let (Some(run), Some(deployed), true) = (run, deployed, wanted) else {
            let (plan, key) = (self.plan.clone(), asked.key.clone());
            return self.fact(Fact::MeasureDropped { plan, key });
        };
        let state = run.gates.get(&place).cloned().unwrap_or_default();
        let (world, now) = (&self.world, self.now);
        let closed = residency::may_disclose(world, release, gate, &asked.cluster, now);
        let shares = match closed == Disclose::Verdict {
            true => residency::in_shares(gate, ring),
            false => gate.clone(),
        };
        let given = Given {
            baseline: state.baseline,
            tests: tests_of(ring),
            ..Given::new(&shares, &state.history, deployed.wall, now.wall)
        };
        let verdicts = verdicts(&given, &asked.parts, &answer.parts, past).unwrap_or_default();
        self.fact(Fact::HistoryMeasured {
            release: asked.release.clone(),
            ring: asked.ring.clone(),
            cluster: asked.cluster.clone(),
            gate: asked.gate.clone(),
            key: asked.key.clone(),
            past: *past,
            verdicts,
        })
    }
}

/// The time between two instants that are asked about: the shortest of the required gates' intervals.
fn step_of(ring: &Ring) -> Span {
    let gates = ring.policy.gates.iter().filter(|gate| gate.required);
    gates.map(|gate| gate.interval).min().unwrap_or(Span::minutes(1)).max(Span::seconds(1))
}

/// What the gate says of each instant, by the judge that it is judged by live; nothing where an answer
/// cannot be used.
fn verdicts(
    given: &Given<'_>,
    asked: &[Part],
    told: &[Told],
    past: &Stretch,
) -> Option<Vec<Verdict>> {
    if asked.len() != told.len() {
        return None;
    }
    let mut ranges: Vec<(&Part, &[Sample])> = Vec::new();
    for (part, told) in asked.iter().zip(told) {
        let Told::Range(samples) = told else { return None };
        ranges.push((part, samples));
    }
    let others: Vec<Part> = asked
        .iter()
        .filter(|part| !matches!(part.role, Role::Past | Role::PastSamples))
        .cloned()
        .collect();
    let at = |instant, samples: &[Sample]| {
        let since = past.before(instant);
        let mut known = samples.iter().filter(|s| s.at > since && s.at <= instant);
        known.next_back().map_or(Reading::Absent, |s| Reading::Value { value: s.value, at: s.at })
    };
    let verdict = |instant| {
        let of = |role: Role| {
            let range = ranges.iter().find(|(part, _)| part.role == role);
            range.map(|(_, samples)| at(instant, samples))
        };
        let beside = ranges.iter().filter(|(part, _)| others.contains(part));
        let answer = Answer {
            value: of(Role::Past).unwrap_or(Reading::Absent),
            samples: of(Role::PastSamples),
            baseline: None,
            parts: beside.map(|(_, samples)| Told::Number(at(instant, samples))).collect(),
            infos: Vec::new(),
        };
        let given = Given { now: instant, parts: &others, ..*given };
        judge(&given, &answer).0.verdict
    };
    Some(past.instants().map(verdict).collect())
}

/// A gate that history is asked about.
struct Asking<'a> {
    release: &'a Release,
    run: &'a RingRun,
    ring: &'a Ring,
    cluster: &'a Cluster,
    gate: &'a Gate,
    gap: &'a Gap,
}

impl Asking<'_> {
    /// The question; nothing where its judge or its source knows nothing of the past.
    fn measure(&self, epoch: u64, past: &Stretch) -> Option<Measure> {
        let Self { release, run, ring, cluster, gate, gap } = *self;
        let place: (ClusterName, _) = (cluster.name.clone(), gate.name.clone());
        let state = run.gates.get(&place)?;
        let deployed = run.clusters.get(&cluster.name)?.deployed?;
        let source = cluster.metrics.iter().find(|source| source.name == gate.provider)?;
        if !gate.judge.knows_the_past() || !source.kind.knows_ranges() {
            return None;
        }
        let vars = vars(release, ring, cluster, gate.interval);
        let about = About {
            plan: &release.plan,
            ring,
            cluster,
            gate,
            source: Some(source),
            vars: &vars,
            over: gate.interval,
            history: &state.history,
            deployed: deployed.wall,
            now: past.to,
        };
        let Stretch { from, to, step } = *past;
        let range = |role, query: String| Part {
            role,
            ask: Ask::Range { source: source.clone(), query, from, to, step },
        };
        let text = |query: &Query| render(query, source.kind.language(), &vars);
        let mut parts = vec![range(Role::Past, text(&gate.query))];
        parts.extend(gate.samples.as_ref().map(|q| range(Role::PastSamples, text(q))));
        for Part { role, ask } in rule_of(&gate.judge).asks(&about) {
            match ask {
                Ask::Number { query, cluster: of, .. } if of == cluster.name => {
                    parts.push(range(role, query));
                }
                Ask::Number { .. }
                | Ask::Range { .. }
                | Ask::Alerts { .. }
                | Ask::Webhook { .. }
                | Ask::Workload { .. } => return None,
            }
        }
        let begins = gap.to?.mono.0;
        let (id, attempt, tries) = (&release.id, run.attempt, gap.tries);
        let place = format!("{id}/{}/{}/{attempt}", ring.name, cluster.name);
        Some(Measure {
            key: format!("{place}/{}/past-{epoch}-{begins}-{tries}", gate.name).into(),
            release: release.id.clone(),
            ring: ring.name.clone(),
            attempt,
            cluster: cluster.name.clone(),
            gate: gate.name.clone(),
            source: None,
            query: String::new(),
            samples: None,
            baseline_at: None,
            due: gap.to?.mono,
            timeout: TIMEOUT,
            parts,
            past: Some(*past),
        })
    }
}
