//! What the gates of a ring hold it for: no data, too few samples, or a watch that does not pass.

use super::{Look, WaitingOn};
use crate::{
    decide::{
        fact::Verdict,
        residency,
        world::{RingRun, Step},
    },
    ids::ClusterName,
    model::{policy::Gate, ring::Ring},
};

impl Look<'_> {
    pub(super) fn data(&self) -> Vec<WaitingOn> {
        let mut found = Vec::new();
        let soaked = self.run.soak.credited >= self.ring.policy.soak.duration;
        for gate in self.ring.policy.gates.iter().filter(|gate| gate.required) {
            let runs = || self.run.gates.iter().filter(|((_, name), _)| *name == gate.name);
            // A cluster that was lost within the budget is measured no more: it holds nothing.
            let ready = |cluster: &ClusterName| {
                self.run.clusters.get(cluster).is_some_and(|run| run.step == Step::Ready)
            };
            for ((cluster, _), run) in runs().filter(|((cluster, _), _)| ready(cluster)) {
                let Some((judged, _)) = &run.latest else { continue };
                if has_no_data(gate, judged.verdict, run.errors_in_a_row) {
                    found.push(WaitingOn::Data {
                        cluster: cluster.clone(),
                        gate: gate.name.clone(),
                        verdict: judged.verdict,
                        detail: judged.detail.clone(),
                    });
                }
            }
            let counted = (self.run, gate);
            let few = || {
                residency::too_few_samples(self.world, self.release, self.ring, counted, self.now)
            };
            if let Some((have, need)) = soaked.then(few).flatten() {
                found.push(WaitingOn::Samples { gate: gate.name.clone(), have, need });
            }
        }
        found
    }
}

/// The gates of a watched ring that do not pass now.
pub(super) fn unwell(ring: &Ring, run: &RingRun) -> Vec<WaitingOn> {
    let required = ring.policy.gates.iter().filter(|gate| gate.required && run.watched);
    let ready = || run.clusters.iter().filter(|(_, here)| here.step == Step::Ready);
    let places = required.flat_map(|gate| ready().map(move |(cluster, _)| (cluster, gate)));
    places
        .filter_map(|(cluster, gate)| {
            let latest = run.gates.get(&(cluster.clone(), gate.name.clone()));
            let latest = latest.filter(|gate| gate.fresh).and_then(|gate| gate.latest.as_ref());
            let verdict = latest.map(|(judged, _)| judged.verdict);
            (verdict != Some(Verdict::Pass)).then(|| WaitingOn::Watch {
                ring: ring.name.clone(),
                cluster: cluster.clone(),
                gate: gate.name.clone(),
                verdict,
            })
        })
        .collect()
}

/// Whether the latest verdict of a required gate is a hold: an error only after its limit in a row.
fn has_no_data(gate: &Gate, verdict: Verdict, errors_in_a_row: u32) -> bool {
    match verdict {
        Verdict::Pass | Verdict::Fail => false,
        Verdict::Insufficient | Verdict::Absent => true,
        Verdict::Error => errors_in_a_row > gate.consecutive_error_limit,
    }
}
