//! Who is told what, and what becomes of a channel that does not take it, on a clock that is moved by hand.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Mutex, PoisonError},
};

use axum::{Router, extract::State, http::StatusCode, routing::post};
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::{
    config::{ChannelKind, ChannelSettings},
    record::{Store as _, outbox::Place},
    show::{
        fixture::Stage,
        view::{ChannelState, ChannelView},
    },
};

const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const OTHER: &str = "whsec_OTg3NjU0MzIxMDk4NzY1NDMyMTA5ODc2NTQzMjEwOTg=";

/// A listener, what it answers before it answers 200, and what it took.
#[derive(Clone, Default)]
struct Listener {
    answers: Arc<Mutex<VecDeque<u16>>>,
    took: Arc<Mutex<Vec<Value>>>,
    /// What happens while the next message is on its way.
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
}

type Meanwhile = Box<dyn FnOnce() + Send>;

impl Listener {
    async fn on(listener: tokio::net::TcpListener, answers: &[u16]) -> Self {
        let heard = Self {
            answers: Arc::new(Mutex::new(answers.iter().copied().collect())),
            ..Self::default()
        };
        let routes = Router::new().route("/hook", post(hear)).with_state(heard.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        heard
    }

    /// The types of what it took, and forgets it.
    fn took(&self) -> Vec<String> {
        let took = std::mem::take(&mut *self.took.lock().unwrap_or_else(PoisonError::into_inner));
        let kind = |body: &Value| body["type"].as_str().unwrap_or_default().to_owned();
        took.iter().map(|body| kind(body).trim_start_matches("ringward.").to_owned()).collect()
    }
}

async fn hear(State(listener): State<Listener>, body: String) -> StatusCode {
    let meanwhile = listener.meanwhile.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(happens) = meanwhile {
        happens();
    }
    let mut answers = listener.answers.lock().unwrap_or_else(PoisonError::into_inner);
    let status = answers.pop_front().unwrap_or(200);
    if status == 200 {
        let body = serde_json::from_str(&body).expect("JSON");
        listener.took.lock().unwrap_or_else(PoisonError::into_inner).push(body);
    }
    StatusCode::from_u16(status).expect("a status")
}

async fn port() -> (tokio::net::TcpListener, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    (listener, url)
}

/// A journal with a channel called `ops`.
struct Scene {
    stage: Stage,
    data: TempDir,
    known: watch::Sender<Option<Notifiers>>,
    held: watch::Sender<Option<Held>>,
}

impl Scene {
    fn new(on: &[Topic]) -> Self {
        let (stage, data) = (Stage::new(), tempfile::tempdir().unwrap());
        std::fs::write(data.path().join("secret"), SECRET).unwrap();
        let (known, held) = (watch::Sender::new(None), watch::Sender::new(Some(Held::default())));
        let scene = Self { stage, data, known, held };
        scene.subscribe(on);
        scene
    }

    fn subscribe(&self, on: &[Topic]) {
        let notifier = Notifier { channel: "ops".into(), plans: Vec::new(), on: on.to_vec() };
        self.known.send_replace(Some([("who".into(), notifier)].into()));
    }

    fn outbox(&self) -> Outbox {
        Outbox::open(self.data.path()).unwrap()
    }

    /// As after a start.
    fn channel(&self, url: &str) -> Channel {
        let ops = webhook(url, &self.data.path().join("secret"));
        let desk = self.stage.desk.clone();
        let tell = Tell {
            telemetry: Arc::new(Telemetry::new(&desk)),
            desk,
            courier: Arc::new(Courier::new([("ops".into(), ops)].into()).unwrap()),
            outbox: self.outbox(),
            clock: self.stage.clock.clone(),
            channels: Arc::default(),
            external_url: None,
            notifiers: self.known.subscribe(),
        };
        Channel::begin(Arc::new(tell), "ops".into(), self.held.subscribe())
    }

    fn head(&self) -> u64 {
        self.stage.store.head().seq
    }

    fn hold(&self, keys: &[&str]) {
        self.see(keys, true);
    }

    /// What is found to hold, and whether it lasts.
    fn see(&self, keys: &[&str], lasts: bool) {
        self.held.send_replace(Some(self.held(keys, lasts)));
    }

    fn held(&self, keys: &[&str], lasts: bool) -> Held {
        let at = self.stage.now().wall;
        let hold = |key: &&str| {
            let told = entry::nothing(String::new(), Topic::Held, at);
            ((*key).to_owned(), holds::Hold { told, lasts })
        };
        Arc::new(keys.iter().map(hold).collect())
    }
}

fn webhook(url: &str, secret: &Path) -> ChannelSettings {
    ChannelSettings {
        kind: ChannelKind::Webhook,
        url: Some(url.into()),
        url_file: None,
        secret_file: Some(secret.into()),
        bearer_token_file: None,
        routing_key_file: None,
        ca_file: None,
    }
}

fn standing(channel: &Channel) -> ChannelView {
    let Tell { channels, desk, .. } = channel.tell();
    channels.views(desk.store().head().seq).remove(0)
}

fn state(channel: &Channel) -> ChannelState {
    standing(channel).state
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_dead_for_a_day_is_told_later_what_was_left_out_and_then_what_comes() {
    let scene = Scene::new(&[Topic::Submitted]);
    let (closed, url) = port().await;
    drop(closed);
    let mut channel = scene.channel(&url);
    let before = scene.head();
    scene.stage.submit("1.0");
    let began = scene.stage.now().mono;
    channel.look().await.unwrap();
    let away = scene.stage.now().mono.since(began);
    assert!(away >= Span::minutes(24 * 60) && away < Span::minutes(25 * 60), "{away}");
    let seen = standing(&channel);
    assert_eq!(seen.state, ChannelState::Retrying);
    let left = seen.skipped.map(|left| (left.from, left.to));
    assert_eq!(left, Some((before + 1, scene.head())));
    // What comes meanwhile is told after that; a restart forgets nothing of it.
    scene.stage.submit("2.0");
    let mut channel = scene.channel(&url);
    let again = tokio::net::TcpListener::bind(url[7..].trim_end_matches("/hook")).await.unwrap();
    let listener = Listener::on(again, &[]).await;
    channel.look().await.unwrap();
    assert_eq!(listener.took(), ["skipped", "submitted"]);
    assert_eq!(standing(&channel).skipped, None);
    assert_eq!(scene.outbox().place("ops").unwrap().unwrap().seq, scene.head());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_more_is_not_told_the_past() {
    let scene = Scene::new(&[Topic::Failed]);
    let (socket, url) = port().await;
    let listener = Listener::on(socket, &[]).await;
    let mut channel = scene.channel(&url);
    scene.stage.submit("1.0");
    channel.look().await.unwrap();
    scene.subscribe(&[Topic::Submitted]);
    channel.look().await.unwrap();
    // As after a kill.
    let mut channel = scene.channel(&url);
    channel.look().await.unwrap();
    assert_eq!(listener.took(), [""; 0]);
    scene.stage.submit("2.0");
    channel.look().await.unwrap();
    assert_eq!(listener.took(), ["submitted"]);
    // A channel that was taken out is a new one when it comes back.
    scene.outbox().forget_others([].iter()).unwrap();
    scene.stage.submit("3.0");
    scene.channel(&url).look().await.unwrap();
    assert_eq!(listener.took(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wanted_nothing_more_is_told_what_comes_under_another_secret() {
    let scene = Scene::new(&[Topic::Submitted, Topic::Held]);
    let (socket, url) = port().await;
    let listener = Listener::on(socket, &[410]).await;
    let mut channel = scene.channel(&url);
    scene.stage.submit("1.0");
    scene.hold(&["a"]);
    channel.look().await.unwrap();
    assert_eq!(state(&channel), ChannelState::Gone);
    assert_eq!(listener.took(), [""; 0], "nothing more is also no hold");
    scene.hold(&[]);
    // Nor does what it is not told grow old.
    assert_eq!(standing(&channel).since, None);
    scene.stage.submit("2.0");
    let mut channel = scene.channel(&url);
    channel.look().await.unwrap();
    assert_eq!((state(&channel), listener.took()), (ChannelState::Gone, Vec::new()));
    let place =
        std::fs::read_to_string(scene.data.path().join("notify/channel-6f7073.json")).unwrap();
    assert!(!place.contains("127.0.0.1") && !place.contains("MDEy"), "{place}");
    std::fs::remove_file(scene.data.path().join("secret")).unwrap();
    channel.look().await.unwrap();
    assert_eq!(state(&channel), ChannelState::Gone, "no secret is no other secret");
    std::fs::write(scene.data.path().join("secret"), OTHER).unwrap();
    channel.look().await.unwrap();
    assert_eq!(state(&channel), ChannelState::Unused, "no Notifier was noted");
    scene.stage.submit("3.0");
    channel.look().await.unwrap();
    assert_eq!(listener.took(), ["submitted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_was_lost_is_told_and_stops_no_start() {
    let scene = Scene::new(&[Topic::Submitted]);
    let (socket, url) = port().await;
    let listener = Listener::on(socket, &[]).await;
    scene.outbox().keep("ops", &Place::default()).unwrap();
    std::fs::write(scene.data.path().join("notify/channel-6f7073.json"), "{\"seq\":").unwrap();
    let mut channel = scene.channel(&url);
    channel.look().await.unwrap();
    let took = listener.took.lock().unwrap()[0]["data"]["message"].to_string();
    assert!(took.contains("was lost") && took.contains("up to 1 "), "{took}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_cannot_be_read_or_kept_stops_no_start_and_is_seen() {
    let scene = Scene::new(&[Topic::Submitted]);
    let (socket, url) = port().await;
    let listener = Listener::on(socket, &[]).await;
    let file = scene.data.path().join("notify/channel-6f7073.json");
    scene.outbox();
    std::fs::create_dir(&file).unwrap();
    let mut channel = scene.channel(&url);
    let error = channel.look().await.unwrap_err();
    let began = scene.stage.now().wall;
    channel.broke(&error);
    scene.stage.clock.advance(Span::minutes(5));
    let error = channel.look().await.unwrap_err();
    channel.broke(&error);
    let seen = standing(&channel);
    assert_eq!((seen.since, seen.failures), (Some(began), 0));
    assert!(seen.why.is_some_and(|why| why.contains("cannot be kept")));
    assert_eq!(listener.took(), [""; 0], "each start would tell it again");
    std::fs::remove_dir(&file).unwrap();
    channel.look().await.unwrap();
    assert_eq!(listener.took(), ["skipped"]);
    assert_eq!((standing(&channel).since, standing(&channel).why), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_does_not_last_yet_after_a_restart_is_not_told_again() {
    let scene = Scene::new(&[Topic::Held]);
    let (socket, url) = port().await;
    let listener = Listener::on(socket, &[]).await;
    scene.see(&["a"], false);
    let mut channel = scene.channel(&url);
    channel.look().await.unwrap();
    assert_eq!(listener.took(), [""; 0]);
    scene.hold(&["a"]);
    channel.look().await.unwrap();
    assert_eq!(listener.took(), ["held"]);
    let mut channel = scene.channel(&url);
    for lasts in [false, true] {
        scene.see(&["a"], lasts);
        channel.look().await.unwrap();
        assert_eq!(listener.took(), [""; 0]);
    }
    scene.hold(&[]);
    channel.look().await.unwrap();
    scene.hold(&["a"]);
    channel.look().await.unwrap();
    assert_eq!(listener.took(), ["held"], "it ended and came back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_ended_before_it_could_be_told_is_not_told() {
    let scene = Scene::new(&[Topic::Held]);
    let (socket, url) = port().await;
    let listener = Listener::on(socket, &[500, 500]).await;
    let mut channel = scene.channel(&url);
    scene.hold(&["a"]);
    channel.look().await.unwrap();
    assert_eq!(listener.took(), ["held"]);
    channel.look().await.unwrap();
    scene.channel(&url).look().await.unwrap();
    assert_eq!(listener.took(), [""; 0], "it is told once");
    // It ends while the first attempt is on its way.
    listener.answers.lock().unwrap().push_back(500);
    let mut channel = scene.channel(&url);
    scene.hold(&["a", "b"]);
    let (held, left) = (scene.held.clone(), scene.held(&["a"], true));
    let ended = move || _ = held.send_replace(Some(left));
    *listener.meanwhile.lock().unwrap() = Some(Box::new(ended));
    channel.look().await.unwrap();
    assert!(listener.meanwhile.lock().unwrap().is_none(), "it was on its way");
    assert_eq!(listener.took(), [""; 0]);
}

#[test]
fn an_id_stays_with_its_fact_whatever_becomes_of_the_release() {
    let stage = Stage::new();
    let release = stage.submit("1.0");
    let first = stage.store.records(1, 9).unwrap();
    let entry = first.last().unwrap().open().unwrap();
    let ids = || {
        let told = stage.desk.read(|world, _| about(&entry, world, None));
        told.into_iter().map(|told| told.id).collect::<Vec<_>>()
    };
    let before = ids();
    stage.start(&release, "internal");
    assert_eq!((before.len(), ids()), (1, before));
}

#[test]
fn a_notifier_in_error_stays_and_one_that_is_gone_goes() {
    let notifier = |channel: &str| Notifier {
        channel: channel.into(),
        plans: Vec::new(),
        on: Topic::DEFAULT.to_vec(),
    };
    let mut known = None;
    let first = [("a".into(), Some(notifier("ops"))), ("b".into(), Some(notifier("ops")))];
    assert!(declared(&mut known, first.into()));
    assert!(declared(&mut known, [("a".into(), None)].into()));
    assert_eq!(known.iter().flatten().map(|(name, _)| name).collect::<Vec<_>>(), ["a"]);
    assert!(!declared(&mut known, [("a".into(), None)].into()));
    let mut unknown = None;
    assert!(declared(&mut unknown, BTreeMap::new()), "that nobody is told anything is known now");
}

#[test]
fn a_document_that_cannot_be_read_silences_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let subscriptions = Subscriptions::new(Outbox::open(dir.path()).unwrap());
    let notifier = Notifier { channel: "ops".into(), plans: Vec::new(), on: vec![Topic::Failed] };
    subscriptions.declared(Some([("a".into(), Some(notifier))].into()));
    subscriptions.declared(None);
    assert_eq!(subscriptions.subscribe().borrow().as_ref().map(BTreeMap::len), Some(1));
    let next = Subscriptions::new(Outbox::open(dir.path()).unwrap());
    assert_eq!(*next.subscribe().borrow(), *subscriptions.subscribe().borrow());
}
