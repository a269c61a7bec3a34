//! Listeners outside are told of what happens, at least once and in order, whatever they do about it; and
//! nothing waits for them. The whole service over a fleet on loopback, and listeners that answer as told.

mod common;

use std::{
    collections::VecDeque,
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_lc_rs::hmac;
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use common::{Client, Declarations};
use jiff::Timestamp;
use ringward::{
    app::{self, Running},
    clock::{Clock, SystemClock},
    config::{ChannelKind, ChannelSettings},
    model::time::{Mono, Span},
    sim::loopback::Fleet,
};
use serde_json::Value;
use tokio::sync::{mpsc, watch};

const SPEED: f64 = 20.0;

/// 32 bytes.
const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// A message as it came, and what it was answered with.
#[derive(Debug, Clone)]
struct Came {
    id: String,
    body: Value,
    answered: u16,
}

/// What a listener answers: these first, then 200.
#[derive(Debug, Default)]
struct Answers(Mutex<VecDeque<u16>>);

struct Listener {
    url: String,
    answers: Arc<Answers>,
    came: mpsc::UnboundedReceiver<Came>,
}

#[derive(Clone)]
struct Heard {
    answers: Arc<Answers>,
    came: mpsc::UnboundedSender<Came>,
    /// While it says so, nobody is answered.
    silent: watch::Receiver<bool>,
}

impl Listener {
    async fn start() -> Self {
        Self::answering(watch::channel(false).1).await
    }

    async fn answering(silent: watch::Receiver<bool>) -> Self {
        let answers = Arc::new(Answers::default());
        let (tell, came) = mpsc::unbounded_channel();
        let heard = Heard { answers: answers.clone(), came: tell, silent };
        let routes = Router::new().route("/hook", post(hear)).with_state(heard);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, answers, came }
    }

    fn answer(&self, statuses: &[u16]) {
        self.answers.0.lock().expect("nobody panicked").extend(statuses);
    }

    async fn next(&mut self) -> Came {
        let next = tokio::time::timeout(Duration::from_secs(60), self.came.recv()).await;
        next.expect("a message in time").expect("the listener lives")
    }

    /// The messages that were accepted, up to the first of that type.
    async fn until(&mut self, kind: &str) -> Vec<Came> {
        let mut all = Vec::new();
        loop {
            let came = self.next().await;
            if came.answered == 200 {
                let last = came.body["type"] == kind;
                all.push(came);
                if last {
                    return all;
                }
            }
        }
    }

    fn channel(&self, folder: &Path) -> ChannelSettings {
        let secret = folder.join("secret");
        fs::write(&secret, SECRET).expect("a secret");
        ChannelSettings {
            kind: ChannelKind::Webhook,
            url: Some(self.url.clone()),
            url_file: None,
            secret_file: Some(secret),
            bearer_token_file: None,
            routing_key_file: None,
            ca_file: None,
        }
    }
}

async fn hear(
    State(mut heard): State<Heard>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, [(&'static str, &'static str); 1]) {
    let header = |name: &str| headers[name].to_str().expect("text").to_owned();
    let (id, at, signature) =
        (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
    let key = STANDARD.decode(SECRET.trim_start_matches("whsec_")).expect("base64");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let tag = STANDARD.decode(signature.strip_prefix("v1,").expect("a version")).expect("base64");
    let signed = hmac::verify(&key, format!("{id}.{at}.{body}").as_bytes(), &tag);
    assert!(signed.is_ok(), "the signature of {body}");
    let _ = heard.silent.wait_for(|silent| !silent).await;
    let status = heard.answers.0.lock().expect("nobody panicked").pop_front().unwrap_or(200);
    let body = serde_json::from_str(&body).expect("JSON");
    // It fails where the test is over.
    let _ = heard.came.send(Came { id, body, answered: status });
    (StatusCode::from_u16(status).expect("a status"), [("retry-after", "1")])
}

struct Service {
    fleet: Fleet,
    clock: Arc<dyn Clock>,
    folder: tempfile::TempDir,
    channels: Vec<(&'static str, ChannelSettings)>,
}

impl Service {
    async fn prepare(on: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let wall: Timestamp = "2026-11-02T08:00:00Z".parse().expect("an instant");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::compressed(wall, Mono(0), SPEED));
        let fleet = common::fleet(Span::seconds(3), clock.clone(), folder.path()).await;
        let source = folder.path().join("source");
        Declarations { approved: vec!["search"], ..Declarations::of(&fleet) }.write(&source);
        for (channel, topics) in on {
            let notifier = format!(
                "apiVersion: ringward.dev/v1alpha1\nkind: Notifier\nmetadata: {{name: {channel}}}\n\
                 spec: {{channel: {channel}, on: [{topics}]}}\n"
            );
            fs::write(source.join(format!("policies/{channel}.yaml")), notifier).expect("a file");
        }
        Self { fleet, clock, folder, channels: Vec::new() }
    }

    async fn run(&self) -> (Running, Client) {
        let mut settings = common::settings(&self.fleet, self.folder.path());
        settings.external_url = Some("https://ringward.example/".into());
        settings.channels =
            self.channels.iter().map(|(name, c)| ((*name).to_owned(), c.clone())).collect();
        let wall = self.clock.now().wall;
        let clock =
            move |base| Arc::new(SystemClock::compressed(wall, base, SPEED)) as Arc<dyn Clock>;
        let running = app::start(settings, clock).await.expect("it starts");
        let client = Client::new(running.address, common::admin_token(&running.data));
        let ready = |clusters: &Value| {
            let items = clusters["items"].as_array().expect("clusters");
            let ready = |target: &Value| target["status"] == "ready";
            items.len() == 2
                && items.iter().all(|cluster| {
                    cluster["targets"]
                        .as_array()
                        .is_some_and(|t| t.len() == 2 && t.iter().all(ready))
                })
        };
        client.until_at("/v1/clusters", "all targets to be seen", ready).await;
        (running, client)
    }
}

fn told(came: &[Came]) -> Vec<String> {
    let one = |came: &Came| {
        let data = &came.body["data"];
        let kind = came.body["type"].as_str().unwrap_or_default().trim_start_matches("ringward.");
        let ring = data["ring"].as_str().map(|ring| format!(" {ring}")).unwrap_or_default();
        format!("{kind}{ring}")
    };
    came.iter().map(one).collect()
}

const ALL: &str = "submitted, started, deployed, passed, succeeded";

/// What is told of a release that goes through.
const COURSE: [&str; 8] = [
    "submitted",
    "started eu",
    "deployed eu",
    "passed eu",
    "started us",
    "deployed us",
    "passed us",
    "succeeded",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_is_sent_again_under_the_same_id_and_in_order() {
    let mut service = Service::prepare(&[("ops", ALL)]).await;
    let mut listener = Listener::start().await;
    listener.answer(&[500, 429, 503, 200, 404]);
    service.channels.push(("ops", listener.channel(service.folder.path())));
    let (running, client) = service.run().await;
    client.release("checkout", "1.0", '1').await.good();
    let mut ids = Vec::new();
    for answered in [500, 429, 503, 200] {
        let came = listener.next().await;
        assert_eq!((came.answered, &came.body["type"]), (answered, &"ringward.submitted".into()));
        ids.push(came.id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let mut all = listener.until("ringward.succeeded").await;
    assert_eq!(told(&all), COURSE[1..]);
    let seq = |came: &Came| came.body["data"]["entry"].as_u64().expect("a number");
    assert!(all.is_sorted_by_key(seq));
    let link = "https://ringward.example/releases/checkout/1.0";
    assert!(all.iter().all(|came| came.body["data"]["link"] == link));
    all.dedup_by(|a, b| a.id == b.id);
    assert_eq!(all.len(), 7);
    // The last answer is on its way back.
    let rests = |seen: &Value| seen["items"][0]["since"].is_null();
    client.until_at("/v1/channels", "everything to be told", rests).await;
    let metrics = String::from_utf8(client.text("/metrics").await).expect("text");
    for line in [
        "ringward_notifications_total{channel=\"ops\",outcome=\"sent\"} 8",
        "ringward_notifications_total{channel=\"ops\",outcome=\"failed\"} 4",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_forgets_nothing_and_repeats_what_had_not_arrived() {
    let mut service = Service::prepare(&[("ops", ALL)]).await;
    let (hush, silent) = watch::channel(false);
    let mut listener = Listener::answering(silent).await;
    service.channels.push(("ops", listener.channel(service.folder.path())));
    let (running, client) = service.run().await;
    client.release("checkout", "1.0", '1').await.good();
    assert_eq!(told(&listener.until("ringward.deployed").await), COURSE[..3]);
    // From here on nobody is answered, and the release goes on all the same.
    hush.send_replace(true);
    client.until("checkout", "1.0", "a pass", |seen| seen["phase"] == "Succeeded").await;
    running.stop().await;
    hush.send_replace(false);
    let (running, _) = service.run().await;
    let after = listener.until("ringward.succeeded").await;
    let mut seen = told(&after);
    // What was under way when it stopped may come twice, and then under the same id.
    if after[0].id == after[1].id {
        seen.remove(0);
    }
    assert_eq!(seen, COURSE[3..]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_dead_holds_up_nobody() {
    let mut service = Service::prepare(&[("dead", ALL), ("ops", ALL)]).await;
    let mut listener = Listener::start().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let nobody = format!("http://{}/hook", port.expect("a port"));
    let dead = ChannelSettings { url: Some(nobody), ..listener.channel(service.folder.path()) };
    service.channels = vec![("dead", dead), ("ops", listener.channel(service.folder.path()))];
    let (running, client) = service.run().await;
    client.release("checkout", "1.0", '1').await.good();
    assert_eq!(told(&listener.until("ringward.succeeded").await), COURSE);
    let metrics = String::from_utf8(client.text("/metrics").await).expect("text");
    assert!(!metrics.contains("{channel=\"dead\",outcome=\"failed\"} 0"), "{metrics}");
    assert!(metrics.contains("{channel=\"dead\",outcome=\"sent\"} 0"), "{metrics}");
    let seen = client.get("/v1/channels").await;
    let [dead, ops] = [&seen["items"][0], &seen["items"][1]];
    assert_eq!((&dead["name"], &dead["state"]), (&"dead".into(), &"retrying".into()));
    assert!(dead["why"].as_str().is_some_and(|why| why.contains("cannot connect")), "{dead}");
    assert_eq!((&ops["name"], &ops["state"]), (&"ops".into(), &"ready".into()));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_nothing_more_is_told_nothing_more() {
    let mut service = Service::prepare(&[("ops", ALL), ("other", ALL)]).await;
    let (mut gone, mut other) = (Listener::start().await, Listener::start().await);
    gone.answer(&[410]);
    let folder = service.folder.path();
    let channels = vec![("ops", gone.channel(folder)), ("other", other.channel(folder))];
    service.channels = channels;
    let (running, client) = service.run().await;
    client.release("checkout", "1.0", '1').await.good();
    assert_eq!(gone.next().await.answered, 410);
    other.until("ringward.succeeded").await;
    running.stop().await;
    let (running, client) = service.run().await;
    client.release("checkout", "2.0", '2').await.good();
    other.until("ringward.succeeded").await;
    assert!(gone.came.try_recv().is_err());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_is_waited_for_is_told_once() {
    let mut service = Service::prepare(&[("ops", "approvalNeeded, succeeded, approved")]).await;
    let mut listener = Listener::start().await;
    service.channels.push(("ops", listener.channel(service.folder.path())));
    let (running, client) = service.run().await;
    client.release("search", "1.0", '1').await.good();
    let came = listener.next().await;
    assert_eq!(told(std::slice::from_ref(&came)), ["approvalNeeded us"]);
    let said = came.body["data"]["message"].as_str().expect("words");
    assert!(said.contains("approval 0 of 1") && said.contains("ringward approve"), "{said}");
    running.stop().await;
    let (running, client) = service.run().await;
    client.release("checkout", "1.0", '1').await.good();
    assert_eq!(told(&listener.until("ringward.succeeded").await), ["succeeded"]);
    running.stop().await;
}
