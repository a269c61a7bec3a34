//! What the adapter of a flag service is asked, of whoever speaks its API.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use ringward::{
    act::{
        Connections, Deployer, Found, WriteError, cluster::Kubeconfigs, flags::FlagServices,
        metrics::auth::Credentials,
    },
    clock::SystemClock,
    config::{FlagServiceSettings, MetricsAuth},
    decide::{
        command::Write,
        event::{Status, TargetState},
    },
    ids::ReleaseId,
    model::{
        ring::{Artifact, Target, TargetKind},
        time::{Mono, Span},
    },
};
use serde_json::Value;
use tokio::time::timeout;

/// What a flag's owner writes where ringward's note is to be.
pub const CONSENT: &str = "ringward.dev/managed-by=dark";

/// A service as its administrator and the owners of its flags have it. Every flag can serve `on` and `off`.
pub trait Owner {
    /// Where it is: its URL, the cluster's environment, and what is shown as `Authorization`.
    fn place(&self) -> (&str, &str, &str);
    /// The kind of target that its flags are.
    fn kind(&self) -> TargetKind;
    /// Its project.
    fn project(&self) -> &str;
    /// What none of its flags can serve, and a word of why.
    fn odd(&self) -> (&str, &str);

    /// A flag that is on, with that text where the note is to be; beside it things of its owner's.
    async fn create(&self, flag: &str, note: &str, serves: &str);
    async fn delete(&self, flag: &str);
    async fn switch(&self, flag: &str, on: bool);
    async fn note(&self, flag: &str) -> String;
    async fn set_note(&self, flag: &str, note: &str);
    /// What the service keeps of what is served.
    async fn served(&self, flag: &str) -> Value;
    async fn serve(&self, flag: &str, serves: &str);
    /// Everything else that the service keeps of it.
    async fn rest(&self, flag: &str) -> Value;
}

/// The service's door, as the settings of a server make it.
pub fn door(owner: &impl Owner) -> Arc<dyn Deployer> {
    let (url, environment, token) = owner.place();
    let folder = tempfile::tempdir().expect("a folder");
    // It is read at each request, and goes with the machine's other scraps.
    let file = folder.keep().join("token");
    std::fs::write(&file, token).expect("a file");
    let service = FlagServiceSettings {
        url: url.to_owned(),
        environment: environment.to_owned(),
        interval: Span(20),
    };
    let auth = MetricsAuth {
        header_files: [("Authorization".to_owned(), file)].into(),
        ..MetricsAuth::default()
    };
    let credentials = Credentials::new([(url.to_owned(), auth)].into()).expect("credentials");
    let services = [("corp".to_owned(), [("flags".to_owned(), service)].into())].into();
    let clusters = Kubeconfigs::new([].into());
    let doors =
        FlagServices::new(clusters, services, credentials, Arc::new(SystemClock::new(Mono(0))))
            .expect("a client");
    doors.deployer("corp").expect("a deployer")
}

pub fn target(owner: &impl Owner, flag: &str) -> Target {
    Target { kind: owner.kind(), namespace: owner.project().into(), name: flag.into() }
}

pub fn write(owner: &impl Owner, flag: &str, key: &str, serves: &str) -> Write {
    Write {
        key: format!("dark@{key}/eu/corp/1/deploy").into(),
        release: ReleaseId::new("dark", key),
        ring: "eu".into(),
        attempt: 1,
        cluster: "corp".into(),
        connection: "corp".into(),
        target: target(owner, flag),
        artifact: Artifact(serves.into()),
    }
}

pub fn refused(result: Result<Found, WriteError>) -> String {
    match result {
        Err(WriteError::Refused(why)) => why,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

pub async fn until(
    states: &mut BoxStream<'static, TargetState>,
    wanted: impl Fn(&TargetState) -> bool,
) -> TargetState {
    let found = async {
        loop {
            let state = states.next().await.expect("a watch never ends");
            if wanted(&state) {
                return state;
            }
        }
    };
    timeout(Duration::from_secs(20), found).await.expect("it is seen within 20 s")
}

/// Everything that every service's adapter does alike.
pub async fn suite(owner: &impl Owner) {
    a_release_is_seen_through_and_taken_back(owner).await;
    nothing_is_written_without_consent_nor_over_a_newer_writer(owner).await;
    what_others_change_is_a_conflict(owner).await;
    what_is_off_or_gone_is_no_success(owner).await;
}

async fn a_release_is_seen_through_and_taken_back(owner: &impl Owner) {
    owner.create("seen", CONSENT, "off").await;
    let (rest, served) = (owner.rest("seen").await, owner.served("seen").await);
    let door = door(owner);
    let mut states = door.watch(&"dark".into(), &target(owner, "seen"));
    let before = until(&mut states, |s| s.status == Status::Succeeded).await;
    assert_eq!((before.image, before.intent), (Some(Artifact("off".into())), None));

    let one = write(owner, "seen", "1", "on=25%,off");
    let found = door.write(&one, 7).await.expect("written").expect("what was there");
    assert_eq!(found.image, Some(Artifact("off".into())));
    let through = |s: &TargetState| s.status == Status::Succeeded;
    let state = until(&mut states, |s| through(s) && s.intent.as_ref() == Some(&one.key)).await;
    assert_eq!(state.image, Some(one.artifact.clone()));
    let note = owner.note("seen").await;
    assert_eq!(
        note,
        format!("{CONSENT} release=dark@1 intent={} epoch=7 serves=on=25%,off before=off", one.key)
    );
    // A repeat changes nothing, under a newer epoch neither, and still knows what was there.
    let again = door.write(&one, 8).await.expect("written").expect("what was there");
    assert_eq!(again.image, Some(Artifact("off".into())));
    assert_eq!(owner.note("seen").await, note);

    let two = write(owner, "seen", "2", "on");
    door.write(&two, 8).await.expect("written");
    until(&mut states, |s| through(s) && s.intent.as_ref() == Some(&two.key)).await;
    let mut back = write(owner, "seen", "2", "off");
    back.key = "dark@2/eu/corp/1/restore".into();
    door.write(&back, 8).await.expect("written");
    let state = until(&mut states, |s| through(s) && s.intent.as_ref() == Some(&back.key)).await;
    assert_eq!(state.image, Some(Artifact("off".into())));
    let note = owner.note("seen").await;
    assert!(!note.contains("before=") && !note.contains("from="), "{note}");
    assert_eq!(owner.served("seen").await, served, "it is to the letter as it was");
    assert_eq!(owner.rest("seen").await, rest, "what is its owner's is as it was");
    let why = door.workload(&target(owner, "seen")).await.expect_err("a flag has none");
    assert!(why.contains("no pods of its own"), "{why}");
}

async fn nothing_is_written_without_consent_nor_over_a_newer_writer(owner: &impl Owner) {
    owner.create("asked", "gradual", "off").await;
    let door = door(owner);
    let one = write(owner, "asked", "1", "on=5%,off");
    let why = refused(door.write(&one, 3).await);
    assert!(why.contains("has not consented to plan `dark`") && why.contains(CONSENT), "{why}");
    owner.set_note("asked", "ringward.dev/managed-by=other").await;
    let why = refused(door.write(&one, 3).await);
    assert!(why.contains("managed by plan `other`"), "{why}");
    owner.set_note("asked", CONSENT).await;
    door.write(&one, 3).await.expect("written");
    let five = owner.served("asked").await;
    let why = refused(door.write(&write(owner, "asked", "2", "on"), 2).await);
    assert!(why.contains("epoch 3, this writer's is 2"), "{why}");
    let (odd, word) = owner.odd();
    let why = refused(door.write(&write(owner, "asked", "2", odd), 3).await);
    assert!(why.contains(word), "{why}");
    assert_eq!(owner.served("asked").await, five);
}

async fn what_others_change_is_a_conflict(owner: &impl Owner) {
    owner.create("shared", CONSENT, "off").await;
    let door = door(owner);
    door.write(&write(owner, "shared", "1", "on=5%,off"), 1).await.expect("written");
    for theirs in ["on=60%,off", "off"] {
        owner.serve("shared", theirs).await;
        let served = owner.served("shared").await;
        let why = refused(door.write(&write(owner, "shared", "2", "on=10%,off"), 1).await);
        let words = format!("serves {theirs}, and ringward wrote on=5%,off");
        assert!(why.contains(&words), "{why}");
        assert_eq!(owner.served("shared").await, served);
    }
    // Handed over, it is what there is to go back to.
    owner.serve("shared", "on=60%,off").await;
    owner.set_note("shared", CONSENT).await;
    let found = door.write(&write(owner, "shared", "2", "on=10%,off"), 1).await.expect("written");
    assert_eq!(found.and_then(|found| found.image), Some(Artifact("on=60%,off".into())));
}

async fn what_is_off_or_gone_is_no_success(owner: &impl Owner) {
    owner.create("off", CONSENT, "off").await;
    let door = door(owner);
    owner.switch("off", false).await;
    let mut states = door.watch(&"dark".into(), &target(owner, "off"));
    until(&mut states, |s| s.status == Status::Paused).await;
    let one = write(owner, "off", "1", "on");
    assert_eq!(door.write(&one, 1).await, Ok(None), "what is off is nothing to go back to");
    let state = until(&mut states, |s| s.intent.as_ref() == Some(&one.key)).await;
    assert_eq!(state.status, Status::Paused);
    owner.switch("off", true).await;
    until(&mut states, |s| s.status == Status::Succeeded).await;

    owner.delete("off").await;
    let gone =
        |s: &TargetState| matches!(&s.status, Status::Unknown(why) if why.contains("was deleted"));
    until(&mut states, gone).await;
    let why = refused(door.write(&write(owner, "off", "2", "off"), 1).await);
    assert!(why.contains("does not exist"), "{why}");
}
