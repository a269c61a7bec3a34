//! What the targets of a ring hold it for: nobody can see them, they wait for a word, or they are not as they were left.

use std::sync::Arc;

use super::{Look, WaitingOn};
use crate::{
    decide::{
        command::{Command, Promote},
        event::{Pause, Status},
        residency,
        world::{ClusterRun, Step},
    },
    ids::ClusterName,
};

impl Look<'_> {
    /// Clusters that matter and whose state is unknown.
    pub(super) fn unseen(&self, matters: impl Fn(&ClusterName, &Step) -> bool) -> Vec<WaitingOn> {
        let involved = self.run.clusters.iter().filter(|(name, run)| matters(name, &run.step));
        involved
            .filter_map(|(name, here)| match self.plan.targets.get(name).map(|t| &t.state) {
                Some(Some(state)) => match &state.status {
                    Status::Paused if let Some(pause) = self.pause(name, here) => {
                        Some(self.promotion(name, here, pause))
                    }
                    Status::Unknown(why) => Some(WaitingOn::Target(name.clone(), why.clone())),
                    Status::Paused => {
                        Some(WaitingOn::Target(name.clone(), "paused in the cluster".into()))
                    }
                    Status::Pending
                    | Status::Progressing(_)
                    | Status::Succeeded
                    | Status::Failed(_) => None,
                },
                Some(None) | None => {
                    Some(WaitingOn::Target(name.clone(), "not seen since ringward started".into()))
                }
            })
            .collect()
    }

    /// The pause that a target stands at under our own write, and that somebody's word would end; none while
    /// anything is on its way to it.
    pub(super) fn pause(&self, name: &ClusterName, here: &ClusterRun) -> Option<&Pause> {
        let state = self.plan.targets.get(name)?.state.as_ref()?;
        let ours = here.intent.is_some() && state.intent == here.intent;
        let stands = state.status == Status::Paused && ours && self.run.is_on_its_way(here);
        let pause = state.pause.as_ref().filter(|_| stands)?;
        let on_its_way = |command: &Arc<Command>| match command.as_ref() {
            Command::Deploy(write)
            | Command::Restore(write)
            | Command::Promote(Promote { write, .. }) => write.cluster == *name,
            Command::Measure(_) => false,
        };
        (!self.plan.in_flight.values().any(on_its_way)).then_some(pause)
    }

    /// What a target waits for that stands at a pause of its controller's own: somebody's word, where what it would
    /// go on with is what it would be sent now. A rule may have come to stand against that since.
    fn promotion(&self, name: &ClusterName, here: &ClusterRun, pause: &Pause) -> WaitingOn {
        let Look { world, release, ring, now, .. } = *self;
        let target = self.plan.targets.get(name);
        let due = match (ring.cluster(name), &here.step) {
            (None, _) => None,
            (Some(cluster), Step::Restoring) => {
                let good = target.and_then(|target| target.back_from(&release.artifact));
                let way = good.map(|good| {
                    residency::way_back(world, release, ring, cluster, &good.artifact, now)
                });
                match way.transpose() {
                    Ok(due) => due,
                    Err(breach) => return WaitingOn::of(*breach),
                }
            }
            // What stands against it the ring is held by already.
            (
                Some(cluster),
                Step::Planned
                | Step::Deploying
                | Step::Ready
                | Step::Failed(_)
                | Step::Restored
                | Step::Stuck(_),
            ) => residency::image(world, release, ring, cluster, now),
        };
        let seen = target.and_then(|target| target.state.as_ref()?.image.as_ref());
        match due.as_ref() == seen {
            true => WaitingOn::Promotion(name.clone(), pause.clone()),
            false => {
                let why = "paused in the cluster, with another image than it would be sent now";
                WaitingOn::Target(name.clone(), why.into())
            }
        }
    }

    /// Clusters that were ready and are not.
    pub(super) fn unhealthy(&self) -> Vec<WaitingOn> {
        let ready = self.run.clusters.iter().filter(|(_, run)| run.step == Step::Ready);
        ready
            .filter_map(|(name, run)| {
                let state = self.plan.targets.get(name)?.state.as_ref()?;
                if state.is_healthy(&self.release.artifact, run.intent.as_ref()) {
                    return None;
                }
                let why = match &state.status {
                    Status::Succeeded => "its target was changed by somebody else".into(),
                    Status::Pending => "its target is being changed".into(),
                    Status::Progressing(how) | Status::Failed(how) => how.clone(),
                    // Said already, by `unseen`.
                    Status::Unknown(_) | Status::Paused => return None,
                };
                Some(WaitingOn::Target(name.clone(), why))
            })
            .collect()
    }
}
