//! The hotfix lane: when it is over, and what is owed for it.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Draft,
    command::Measure,
    fact::{Debt, Fact},
    waiting::open_before,
    world::{DebtRun, Illegal, LaneRun, Phase, Release, RingRun, Step},
};
use crate::{
    ids::{GateName, ReleaseId, RingName},
    model::{
        lane,
        policy::Gate,
        time::{Now, Span},
    },
};

/// When the lane of a release is over, for what it has not started by then: the first of both clocks
/// says so, because one stands still while ringward is away, and being over allows nothing.
pub fn ends(release: &Release) -> Option<Now> {
    let lane = release.hotfix.as_ref()?;
    let life = lane.normal.lanes.hotfix.as_ref()?.time_to_live;
    let Now { wall, mono } = release.submitted;
    Some(Now { wall: wall.saturating_add(life.to_signed()).unwrap_or(wall), mono: mono + life })
}

/// Whether a ring that has the lane's rules has still to be started.
pub fn is_open(release: &Release) -> bool {
    release.hotfix.as_ref().is_some_and(|lane| {
        let waits = |ring: &RingName| release.ring(ring).map(|run| run.phase);
        lane.rings.iter().any(|ring| waits(ring) == Some(Phase::Waiting))
    })
}

/// What a release starts to owe when it starts on a ring by the lane's rules.
pub(super) fn debts(release: &Release, ring: &RingName) -> Vec<Debt> {
    let Some(lane) = release.hotfix.as_ref().filter(|lane| lane.rings.contains(ring)) else {
        return Vec::new();
    };
    let gates = deferred(release, lane, ring).into_iter().map(Debt::Gate);
    gates.chain(ahead_of(release, lane, ring).into_iter().map(Debt::Ahead)).collect()
}

fn deferred(release: &Release, lane: &LaneRun, ring: &RingName) -> Vec<GateName> {
    let (Some(normal), Some(fast)) = (lane.normal.ring(ring), release.plan.ring(ring)) else {
        return Vec::new();
    };
    let required = normal.policy.gates.iter().filter(|gate| gate.required);
    let held =
        |name: &GateName| fast.policy.gates.iter().any(|gate| gate.name == *name && gate.required);
    required.filter(|gate| !held(&gate.name)).map(|gate| gate.name.clone()).collect()
}

/// The rings that the ring would have waited for, and those that they wait for in their turn.
fn ahead_of(release: &Release, lane: &LaneRun, ring: &RingName) -> BTreeSet<RingName> {
    let mut found = BTreeSet::new();
    let mut look = vec![ring.clone()];
    while let Some(ring) = look.pop() {
        for before in open_before(&lane.normal.graph, release, &ring) {
            if found.insert(before.clone()) {
                look.push(before);
            }
        }
    }
    found
}

impl Draft {
    /// The lane is over where its time is: rings that were not started go the plan's own way.
    pub(super) fn leave_lane(&mut self, id: &ReleaseId) -> Result<(), Illegal> {
        let Some(release) = self.release(id) else { return Ok(()) };
        let (Some(lane), Some(ends)) = (&release.hotfix, ends(&release)) else { return Ok(()) };
        let over = self.now.mono >= ends.mono || self.now.wall >= ends.wall;
        if !over || !is_open(&release) {
            return Ok(());
        }
        // What is under way there or has passed keeps what it started under.
        let keeps = |phase: Phase| match phase {
            Phase::Deploying | Phase::Soaking | Phase::RollingBack | Phase::Passed => true,
            Phase::Waiting
            | Phase::Failed
            | Phase::RolledBack
            | Phase::Aborted
            | Phase::Superseded => false,
        };
        let (keep, leave): (BTreeSet<_>, BTreeSet<_>) = lane
            .rings
            .iter()
            .cloned()
            .partition(|ring| release.ring(ring).is_some_and(|run| keeps(run.phase)));
        let plan = Arc::new(lane::lapsed(&release.plan, &lane.normal, &keep));
        let rings = leave.into_iter().collect();
        self.fact(Fact::LaneLapsed { release: id.clone(), rings, plan })
    }

    /// What came of everything that a release owes.
    pub(super) fn reckon(&mut self, id: &ReleaseId) -> Result<(), Illegal> {
        let Some(release) = self.release(id) else { return Ok(()) };
        for (ring, run) in &release.rings {
            for (debt, owed) in &run.debts {
                let gone = self.gone(&release, ring, run);
                let paid = is_paid(&release, ring, run, debt, owed);
                let (release, ring, debt) = (id.clone(), ring.clone(), debt.clone());
                if let Some(why) = gone {
                    self.fact(Fact::DebtDropped { release, ring, debt, why })?;
                } else if paid {
                    self.fact(Fact::DebtPaid { release, ring, debt })?;
                }
            }
        }
        let Some(release) = self.release(id) else { return Ok(()) };
        for ring in &release.plan.rings {
            let passed = release.ring(&ring.name).filter(|run| run.phase == Phase::Passed);
            let Some(run) = passed.filter(|run| !run.debts.is_empty()) else { continue };
            let owed = |gate: &Gate| run.debts.contains_key(&Debt::Gate(gate.name.clone()));
            self.measure_what_is_due(&release, ring, owed)?;
        }
        Ok(())
    }

    /// Why the release is not what runs on the ring any more, if it is not.
    fn gone(&self, release: &Release, ring: &RingName, run: &RingRun) -> Option<String> {
        match run.phase {
            Phase::Deploying | Phase::Soaking | Phase::Passed | Phase::Failed => {}
            Phase::RollingBack | Phase::RolledBack => return Some("it is taken back".into()),
            Phase::Aborted => return Some("it was aborted".into()),
            Phase::Superseded => return Some("it was superseded".into()),
            Phase::Waiting => return Some("it begins anew".into()),
        }
        let started = |run: &RingRun| run.started.map(|at| at.mono);
        let order = |other: &Release| self.state()?.admitted(&other.id.version);
        let place = |release: &Release, run: &RingRun| (started(run), order(release));
        let others = self.state()?.in_order().filter(|other| other.id != release.id);
        let mut later = others.filter(|other| {
            let there = other.ring(ring).filter(|there| there.started.is_some());
            there.is_some_and(|there| place(other, there) > place(release, run))
        });
        later.next_back().map(|other| format!("{} has taken its place", other.id.version))
    }

    /// Whether a measurement on a ring that has passed is of a gate that is owed, of what runs there.
    pub(super) fn is_owed(&self, release: &Release, run: &RingRun, asked: &Measure) -> bool {
        let seen = self.state().and_then(|state| state.targets.get(&asked.cluster)?.state.as_ref());
        let intent = run.clusters.get(&asked.cluster).and_then(|here| here.intent.as_ref());
        run.debts.contains_key(&Debt::Gate(asked.gate.clone()))
            && seen.is_some_and(|seen| seen.is_healthy(&release.artifact, intent))
    }
}

fn is_paid(release: &Release, ring: &RingName, run: &RingRun, debt: &Debt, owed: &DebtRun) -> bool {
    match debt {
        Debt::Ahead(of) => release.ring(of).is_some_and(|run| run.phase == Phase::Passed),
        Debt::Gate(_) => {
            let normal = release.hotfix.as_ref().and_then(|lane| lane.normal.ring(ring));
            let asked = normal.map_or(Span::ZERO, |ring| ring.policy.soak.duration);
            let mut ready = run.clusters.iter().filter(|(_, here)| here.step == Step::Ready);
            let seen = |cluster| owed.seen.get(cluster);
            run.phase == Phase::Passed
                && ready.all(|(cluster, _)| {
                    seen(cluster)
                        .is_some_and(|seen| seen.passing.is_some() && seen.credited >= asked)
                })
        }
    }
}
