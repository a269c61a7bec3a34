use super::*;
use crate::{
    decide::{
        command::{Command, Write},
        event::{Scope, TargetState},
        fact::Fact,
    },
    ids::ReleaseId,
    model::plan::Plan,
    show::fixture::{Stage, actor, artifact, plan},
};

const CLUSTER: &str = "internal-1";

/// The documented plan over a Canary; what ran before is known good.
fn stage() -> Stage {
    let kind = TargetKind::FlaggerCanary { container: "app".into() };
    let stage = Stage::with(Plan { target: Target { kind, ..plan().target }, ..plan() });
    stage.adopt(CLUSTER);
    stage
}

/// Version 2.14.0 is on its way to the first ring, and seen there.
fn on_its_way() -> (Stage, ReleaseId) {
    let stage = stage();
    let id = stage.submit("2.14.0");
    stage.start(&id, "internal");
    stage.see(&id, "internal", CLUSTER, Status::Paused);
    (stage, id)
}

fn ask<R>(stage: &Stage, asks: impl FnOnce(&World, Canary<'_>, Now) -> R) -> R {
    ask_of(stage, ("checkout", CLUSTER, "checkout"), asks)
}

fn ask_of<R>(
    stage: &Stage,
    (plan, cluster, name): (&str, &str, &str),
    asks: impl FnOnce(&World, Canary<'_>, Now) -> R,
) -> R {
    let (plan, cluster) = (plan.into(), cluster.into());
    let canary = Canary { plan: &plan, cluster: &cluster, namespace: "shop", name };
    asks(&stage.world.read().unwrap(), canary, stage.now())
}

fn back(world: &World, canary: Canary<'_>, _: Now) -> Result<(), String> {
    goes_back(world, canary)
}

fn why(answer: Result<(), String>) -> String {
    answer.expect_err("it is not confirmed")
}

#[test]
fn what_a_release_has_put_there_goes_on_and_nothing_else() {
    let stage = stage();
    assert!(why(ask(&stage, confirm)).contains("not put there by a release"));
    let (stage, id) = on_its_way();
    assert_eq!(ask(&stage, confirm), Ok(()));
    assert!(why(ask(&stage, back)).contains("nobody has said"));
    for (other, words) in [
        (("search", CLUSTER, "checkout"), "no plan search"),
        (("checkout", "us-east-1", "checkout"), "nothing was seen"),
        (("checkout", CLUSTER, "cart"), "no target of plan checkout"),
    ] {
        assert!(why(ask_of(&stage, other, confirm)).contains(words), "{words}");
        assert!(why(ask_of(&stage, other, back)).contains(words), "{words}");
    }
    // A template that somebody changed by hand keeps the intent; one of another writer does not.
    let state = TargetState {
        status: Status::Paused,
        intent: Some("checkout@9/internal/internal-1/1/deploy".into()),
        ..TargetState::unknown("")
    };
    stage.put(&[Fact::TargetSeen { plan: "checkout".into(), cluster: CLUSTER.into(), state }]);
    assert!(why(ask(&stage, confirm)).contains("which nothing is known of"));
    stage.see(&id, "internal", CLUSTER, Status::Unknown("connection refused".into()));
    assert!(why(ask(&stage, confirm)).contains("connection refused"));
    assert!(why(ask(&stage, back)).contains("connection refused"));
}

#[test]
fn what_holds_the_ring_holds_its_canary() {
    let (stage, id) = on_its_way();
    let scope = Scope::Plan("checkout".into());
    let (by, reason) = (actor("ola"), None);
    let members = Default::default();
    stage.put(&[Fact::Paused { scope: scope.clone(), by: by.clone(), reason: None, members }]);
    assert!(why(ask(&stage, confirm)).ends_with("is held on internal: pause"));
    stage.put(&[Fact::Resumed { scope: scope.clone(), by: by.clone(), reason: reason.clone() }]);
    assert_eq!(ask(&stage, confirm), Ok(()));
    // A freeze holds it too, though ringward has nothing left to write.
    let frozen = Fact::Frozen {
        id: "f-1".into(),
        scope,
        until: None,
        by: by.clone(),
        reason: "an incident".into(),
        members: Default::default(),
    };
    stage.put(&[frozen]);
    assert!(why(ask(&stage, confirm)).ends_with("freeze"));
    stage.put(&[Fact::Lifted { id: "f-1".into(), by }]);
    stage.see(&id, "internal", CLUSTER, Status::Succeeded);
    let ready = Fact::ClusterReady {
        release: id.clone(),
        ring: "internal".into(),
        cluster: CLUSTER.into(),
    };
    stage.put(&[ready, Fact::SoakStarted { release: id, ring: "internal".into() }]);
    assert!(why(ask(&stage, confirm)).contains("not on its way there any more"));
}

#[test]
fn a_release_that_goes_back_fails_its_canary_until_the_way_back_is_written() {
    let (stage, id) = on_its_way();
    let (ring, by) = ("internal".into(), actor("ola"));
    stage.put(&[
        Fact::Aborted { release: id.clone(), by, reason: None, hold: false },
        Fact::RollbackStarted {
            release: id.clone(),
            ring,
            by: "ola".into(),
            cause: "aborted".into(),
            automatic: false,
            scope: None,
        },
    ]);
    assert!(why(ask(&stage, confirm)).contains("not on its way"));
    assert_eq!(ask(&stage, back), Ok(()));
    let key = "checkout@2.14.0/internal/internal-1/1/restore";
    let restore = Command::Restore(Write {
        key: key.into(),
        release: id.clone(),
        ring: "internal".into(),
        attempt: 1,
        cluster: CLUSTER.into(),
        connection: CLUSTER.into(),
        target: plan().target,
        artifact: artifact("2.13.0"),
    });
    stage.world.write().unwrap().fold(stage.now(), &[], &[restore.into()]).unwrap();
    assert!(ask(&stage, back).is_err(), "the old write is there still, and the new one on its way");
    let state = TargetState {
        status: Status::Paused,
        intent: Some(key.into()),
        ..TargetState::unknown("")
    };
    stage.put(&[Fact::TargetSeen { plan: "checkout".into(), cluster: CLUSTER.into(), state }]);
    assert_eq!(ask(&stage, confirm), Ok(()), "a way back is not held");
    assert!(why(ask(&stage, back)).contains("nobody has said"));
}
