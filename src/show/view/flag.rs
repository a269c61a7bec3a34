//! Feature flags that plans take from ring to ring, and which of them have served everybody the same for too long.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    decide::world::{Phase, PlanState, World},
    ids::PlanName,
    model::{
        plan::Plan,
        ring::FlagTarget,
        serve::Serve,
        time::{Now, Span},
    },
};

/// A feature flag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlagView {
    /// The plan that it goes by.
    pub plan: PlanName,
    /// Where it is, in words.
    pub target: String,
    /// What it serves in every cluster; missing where that differs, or is not known of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serves: Option<String>,
    /// Since when a release has served that everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// How long it may serve everybody the same before it is to be removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub cleanup_after: Option<Span>,
    /// Whether it has for longer: it is no flag any more.
    pub overdue: bool,
}

/// The flags of the plans that `shown` lets through.
pub fn flags(world: &World, now: Now, shown: impl Fn(&PlanName) -> bool) -> Vec<FlagView> {
    let plans = world.plans.iter().filter(|(name, state)| !state.withdrawn && shown(name));
    plans.filter_map(|(name, state)| flag(name, state, now)).collect()
}

fn flag(name: &PlanName, state: &PlanState, now: Now) -> Option<FlagView> {
    let plan = state.declared.as_deref()?;
    let FlagTarget { cleanup_after, .. } = plan.target.kind.flag()?;
    let serves = everywhere(plan, state);
    let since = serves.as_deref().and_then(|serves| since(state, serves));
    let same = serves.as_deref().and_then(|text| text.parse::<Serve>().ok());
    let overdue = same.is_some_and(|serve| serve.is_one())
        && since
            .zip(cleanup_after)
            .is_some_and(|(since, after)| now.wall.duration_since(since) >= after.to_signed());
    let target = plan.target.to_string();
    Some(FlagView { plan: name.clone(), target, serves, since, cleanup_after, overdue })
}

/// What every cluster of the plan serves, if all serve the same.
fn everywhere(plan: &Plan, state: &PlanState) -> Option<String> {
    let mut clusters = plan.clusters().map(|cluster| {
        let seen = state.targets.get(&cluster.name)?.state.as_ref()?;
        seen.image.as_ref().filter(|_| seen.is_visible())
    });
    let first = clusters.next()??;
    clusters.all(|other| other == Some(first)).then(|| first.to_string())
}

/// When the release that serves this passed its last ring; nothing where none has passed all of them.
fn since(state: &PlanState, serves: &str) -> Option<Timestamp> {
    let release = state.in_order().next_back().filter(|release| release.artifact.0 == serves)?;
    let passed = release.plan.rings.iter().map(|ring| {
        let run = release.ring(&ring.name)?;
        (run.phase == Phase::Passed).then_some(run.entered.wall)
    });
    passed.collect::<Option<Vec<_>>>()?.into_iter().max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decide::{
            command::Lane,
            event::{Status, TargetState},
            fact::Fact,
        },
        ids::ReleaseId,
        model::ring::{Artifact, TargetKind},
        show::fixture::{self, Stage, actor},
    };

    #[test]
    fn what_serves_everybody_the_same_for_too_long_is_overdue() {
        let mut plan = fixture::plan();
        plan.target.kind = TargetKind::UnleashFlag {
            service: "unleash".into(),
            cleanup_after: Some(Span::minutes(60)),
        };
        let rings: Vec<_> = plan.rings.iter().map(|ring| ring.name.clone()).collect();
        let clusters: Vec<_> = plan.clusters().map(|cluster| cluster.name.clone()).collect();
        let stage = Stage::with(plan);
        let look = || flags(&stage.world.read().unwrap(), stage.now(), |_| true).remove(0);
        let see = |cluster: usize, status: Status| {
            let image = Some(Artifact("on".into()));
            let state = TargetState { status, image, ..TargetState::unknown("") };
            let (plan, cluster) = ("checkout".into(), clusters[cluster].clone());
            stage.put(&[Fact::TargetSeen { plan, cluster, state }]);
        };
        assert_eq!((look().serves, look().overdue), (None, false));

        let id = ReleaseId::new("checkout", "1");
        stage.put(&[Fact::Submitted {
            release: id.clone(),
            artifact: Artifact("on".into()),
            author: "dana".into(),
            by: actor("dana"),
            lane: Lane::Normal,
            reason: None,
            irreversible: false,
            requires: None,
            policy: "4e1b7a0cafe".into(),
        }]);
        rings.iter().for_each(|ring| stage.pass(&id, ring.as_str()));
        (0..clusters.len()).for_each(|cluster| see(cluster, Status::Succeeded));
        let seen = look();
        assert_eq!((seen.serves.as_deref(), seen.overdue), (Some("on"), false));
        assert!(seen.since.is_some());
        stage.clock.advance(Span::minutes(61));
        assert!(look().overdue);

        // Where nobody can see one, nobody knows that it is the same everywhere.
        see(0, Status::Unknown("gone".into()));
        assert_eq!((look().serves, look().overdue), (None, false));
    }
}
