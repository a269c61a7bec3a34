//! What can only be asked of a flag service that can be made to misbehave.

use futures::StreamExt;
use ringward::{
    act::{Found, WriteError},
    decide::event::{Status, TargetState},
};

use crate::flags_suite::{CONSENT, Owner, door, refused, until, write};

/// How a service is made to misbehave.
pub trait Faults {
    /// At the moment of the next change somebody else makes it serve that.
    fn meddle(&self, serves: &str);
    /// Whether it wants somebody's approval of changes.
    fn guard(&self, yes: bool);
    /// Whether it answers nothing but errors.
    fn break_down(&self, yes: bool);
}

pub fn unreachable(result: Result<Found, WriteError>) -> String {
    match result {
        Err(WriteError::Unreachable(why)) => why,
        other => panic!("expected nobody to be reached, got {other:?}"),
    }
}

/// All of it.
pub async fn misbehaving(owner: &impl Owner, faults: &impl Faults) {
    what_others_change_at_the_same_moment_is_never_taken_for_ours(owner, faults).await;
    approvals_refuse_and_a_broken_service_is_unknown_until_it_is_back(owner, faults).await;
}

async fn what_others_change_at_the_same_moment_is_never_taken_for_ours(
    owner: &impl Owner,
    faults: &impl Faults,
) {
    owner.create("raced", CONSENT, "off").await;
    let door = door(owner);
    door.write(&write(owner, "raced", "1", "on=5%,off"), 1).await.expect("written");
    let two = write(owner, "raced", "2", "on=10%,off");
    faults.meddle("on=60%,off");
    let raced = door.write(&two, 1).await;
    assert!(raced.is_err(), "{raced:?}");
    let theirs = owner.served("raced").await;
    let why = refused(door.write(&two, 1).await);
    assert!(why.contains("serves on=60%,off") && why.contains("somebody else"), "{why}");
    assert_eq!(owner.served("raced").await, theirs);
}

async fn approvals_refuse_and_a_broken_service_is_unknown_until_it_is_back(
    owner: &impl Owner,
    faults: &impl Faults,
) {
    owner.create("dark", CONSENT, "off").await;
    let door = door(owner);
    let one = write(owner, "dark", "1", "on=5%,off");
    faults.guard(true);
    let served = owner.served("dark").await;
    let why = refused(door.write(&one, 1).await);
    let words = ["change request", "approval"];
    assert!(words.iter().any(|word| why.contains(word)) && !why.contains("canary"), "{why}");
    assert_eq!((owner.served("dark").await, owner.note("dark").await), (served, CONSENT.into()));
    faults.guard(false);

    let mut states = door.watch(&"dark".into(), &one.target);
    assert_eq!(states.next().await.expect("a state").status, Status::Succeeded);
    faults.break_down(true);
    let state = states.next().await.expect("a state");
    assert!(matches!(&state.status, Status::Unknown(why) if why.contains("503")), "{state:?}");
    unreachable(door.write(&one, 1).await);
    faults.break_down(false);
    assert_eq!(states.next().await.expect("a state").status, Status::Succeeded);
    door.write(&one, 1).await.expect("written");
    let through = |s: &TargetState| s.status == Status::Succeeded && s.intent.is_some();
    assert_eq!(until(&mut states, through).await.intent, Some(one.key));
}
