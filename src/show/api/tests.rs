//! The API over a loopback socket, with the real core behind the desk.

mod pages;
mod provider;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{
    super::{
        auth::{Identities, NewToken, Tokens},
        fixture::{Stage, artifact, plan},
        telemetry::Telemetry,
    },
    Flagger, Hook, Parts, ReleaseHooks, router,
};
use crate::{
    config::{ApiSettings, AuthSettings, ReleaseHook},
    decide::event::Status,
    ids::{Mint, PlanName},
    model::{
        plan::Plan,
        residency::{Demand, Enforcement, Rule, Territory},
        ring::{Target, TargetKind},
        time::Span,
    },
    record::memory::Fault,
};

mod routes;

/// Where people reach it, as its settings say.
const EXTERNAL: &str = "https://ringward.example";

/// A server on loopback, and a token for each role.
struct Server {
    stage: Stage,
    base: String,
    client: reqwest::Client,
    tokens: Arc<Tokens>,
    secrets: BTreeMap<&'static str, String>,
    _data: tempfile::TempDir,
}

impl Server {
    async fn start() -> Self {
        Self::over(plan()).await
    }

    async fn over(plan: Plan) -> Self {
        Self::with(plan, None).await
    }

    async fn with(plan: Plan, hook: Option<Hook>) -> Self {
        Self::made(plan, hook, None, AuthSettings::default()).await
    }

    /// With identities that others vouch for.
    async fn vouched(plan: Plan, hook: Option<Hook>, auth: AuthSettings) -> Self {
        Self::made(plan, hook, None, auth).await
    }

    async fn made(
        plan: Plan,
        hook: Option<Hook>,
        flagger: Option<Flagger>,
        auth: AuthSettings,
    ) -> Self {
        Self::set_up(plan, hook, flagger, auth, BTreeMap::new()).await
    }

    /// With build systems that may ask for releases.
    async fn hooked(plan: Plan, hooks: BTreeMap<String, ReleaseHook>) -> Self {
        Self::set_up(plan, None, None, AuthSettings::default(), hooks).await
    }

    async fn set_up(
        plan: Plan,
        hook: Option<Hook>,
        flagger: Option<Flagger>,
        auth: AuthSettings,
        hooks: BTreeMap<String, ReleaseHook>,
    ) -> Self {
        let mut stage = Stage::with(plan);
        stage.serve();
        let data = tempfile::tempdir().unwrap();
        let tokens = Arc::new(Tokens::open(data.path()).unwrap());
        let telemetry = Arc::new(Telemetry::new(&stage.desk));
        let routes = router(Parts {
            desk: stage.desk.clone(),
            identities: Identities::new(tokens.clone(), auth, None, Some(EXTERNAL)).unwrap(),
            telemetry,
            channels: Arc::default(),
            secure: false,
            settings: ApiSettings::default(),
            hook,
            flagger,
            release_hooks: ReleaseHooks::new(hooks),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let client = reqwest::Client::new();
        let secrets = BTreeMap::new();
        let mut server = Self { stage, base, client, tokens, secrets, _data: data };
        for role in ["viewer", "operator", "approver", "admin"] {
            server.token(role, NewToken { roles: vec![role.into()], ..NewToken::default() });
        }
        server
    }

    /// Makes a token for somebody of that name.
    fn token(&mut self, name: &'static str, new: NewToken) {
        let new = NewToken { name: name.into(), jurisdiction: Some("IE".into()), ..new };
        let now = self.stage.now().wall;
        let (_, text) = self.tokens.create(new, &mut Mint::system(), now).unwrap();
        self.secrets.insert(name, text);
    }

    fn call(&self, who: &str, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match self.secrets.get(who) {
            Some(secret) => request.bearer_auth(secret),
            None => request,
        }
    }

    async fn get(&self, who: &str, path: &str) -> Response {
        self.call(who, Method::GET, path).send().await.unwrap()
    }

    async fn post(&self, who: &str, path: &str, body: &Value) -> Response {
        self.call(who, Method::POST, path).json(body).send().await.unwrap()
    }

    async fn submit(&self, version: &str) -> Response {
        self.submit_by("operator", version).await
    }

    async fn submit_by(&self, who: &str, version: &str) -> Response {
        let body = json!({"version": version, "artifact": {"image": artifact(version)}});
        self.post(who, "/v1/plans/checkout/releases", &body).await
    }
}

/// The status and the end of the problem's type.
async fn problem(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status);
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
    assert!(problem["instance"].as_str().is_some_and(|path| path.starts_with('/')), "{problem}");
    let kind = problem["type"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    (status, kind)
}

fn refused(status: u16, kind: &str) -> (u16, String) {
    (status, kind.to_owned())
}

async fn json(response: Response) -> Value {
    assert!(response.status().is_success(), "{}", response.text().await.unwrap());
    response.json().await.unwrap()
}

#[tokio::test]
async fn a_release_is_created_shown_and_paused() {
    let server = Server::start().await;
    server.stage.adopt("internal-1");
    let created = server.submit("2.14.0").await;
    assert_eq!(created.status(), StatusCode::CREATED);
    let place = created.headers()[header::LOCATION].to_str().unwrap().to_owned();
    assert_eq!(place, "/v1/plans/checkout/releases/2.14.0");
    assert_eq!(json(created).await["release"], "checkout@2.14.0");

    let view = json(server.get("viewer", &place).await).await;
    assert_eq!(view["author"], "operator");
    assert_eq!(view["rings"][0]["phase"], "Deploying");
    assert_eq!(view["rings"][3]["info"], "after beta");
    let paused =
        server.post("operator", &format!("{place}/pause"), &json!({"reason": "lunch"})).await;
    let in_flight = json(paused).await["inFlight"].clone();
    assert_eq!(in_flight, json!(["checkout@2.14.0/internal/internal-1/1/deploy"]));
    let view = json(server.get("viewer", &place).await).await;
    assert_eq!(
        (&view["phase"], &view["rings"][0]["holds"][0]["kind"]),
        (&json!("Paused"), &json!("pause"))
    );
    let why = json(server.get("viewer", &format!("{place}/explain?ring=internal")).await).await;
    assert_eq!(why["rings"][0]["holds"][0]["message"], "checkout@2.14.0 paused by operator: lunch");

    let again = server.submit("2.14.0").await;
    assert_eq!(problem(again).await, refused(409, "duplicate-release"));
    let gone = server.get("viewer", "/v1/plans/checkout/releases/9.9.9").await;
    assert_eq!(problem(gone).await, refused(404, "unknown-release"));
    let gone = server.get("viewer", &format!("{place}/explain?ring=mars")).await;
    assert_eq!(problem(gone).await, refused(404, "unknown-ring"));
    let gone = server.get("viewer", "/v1/plans/nothing").await;
    assert_eq!(problem(gone).await, refused(404, "unknown-plan"));
    let audit = json(server.get("viewer", "/v1/audit?since=2").await).await;
    assert_eq!(audit["entries"][0]["facts"][0]["what"], "submitted");
    let verified = json(server.get("viewer", "/v1/audit/verify").await).await;
    assert_eq!(verified["broken"], Value::Null);
}

#[tokio::test]
async fn what_cannot_be_read_is_a_problem_that_says_where() {
    let server = Server::start().await;
    let post = async |body: &str| {
        let call = server.call("operator", Method::POST, "/v1/plans/checkout/releases");
        let call = call.header(header::CONTENT_TYPE, "application/json").body(body.to_owned());
        call.send().await.unwrap()
    };
    let pointers = async |body: Value| {
        let response = post(&body.to_string()).await;
        assert_eq!(response.status(), 422);
        let problem: Value = response.json().await.unwrap();
        let all = problem["violations"].as_array().unwrap().iter();
        all.map(|v| v["pointer"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let tag = json!({"image": "registry.example/checkout:latest"});
    let hotfix = json!({"version": "a/b", "artifact": tag, "lane": "hotfix", "requires": "a/b"});
    let all = ["/version", "/artifact/image", "/requires", "/requires", "/reason"];
    assert_eq!(pointers(hotfix).await, all);
    assert_eq!(
        pointers(json!({"version": "1", "artifact": {"image": 7}})).await,
        ["/artifact/image"]
    );
    assert_eq!(pointers(json!({"version": "1", "artifact": {}})).await, ["/artifact"]);
    let unpinned = [
        format!("@sha256:{}", "0".repeat(64)),
        format!("a b@sha256:{}", "0".repeat(64)),
        format!("a@sha256:{}", "0".repeat(63)),
        format!("a@b@sha256:{}", "0".repeat(64)),
    ];
    for image in unpinned {
        let body = json!({"version": "1", "artifact": {"image": image}});
        assert_eq!(pointers(body).await, ["/artifact/image"], "{image}");
    }
    assert_eq!(problem(post("{").await).await, refused(400, "bad-request"));
    assert_eq!(problem(post("{} {}").await).await.0, 422);
    assert_eq!(
        problem(post(&" ".repeat(65 * 1024)).await).await,
        refused(413, "payload-too-large")
    );
    let call = server.call("operator", Method::POST, "/v1/plans/checkout/pause").body("reason=x");
    let untyped = call.send().await.unwrap();
    assert_eq!(problem(untyped).await, refused(415, "unsupported-media-type"));
    let call = server.call("operator", Method::POST, "/v1/plans/checkout/pause");
    let list = call.json(&json!([null])).send().await.unwrap();
    assert_eq!(problem(list).await, refused(422, "invalid-body"), "no list of an object's fields");
    for path in [
        "/v1/plans/UP",
        "/v1/plans/a%2Fb",
        "/v1/plans/checkout/releases/..%2F..",
        "/v1/releases?phase=Odd",
        "/v1/releases?pageToken=zz",
        "/v1/releases?pageToken=%C3%A9%C3%A9",
        "/v1/releases?pageSize=0",
        "/v1/audit?since=x",
        "/v1/audit?since=9223372036854775808",
    ] {
        assert_eq!(
            problem(server.get("viewer", path).await).await,
            refused(400, "bad-request"),
            "{path}"
        );
    }
    let past = server.get("admin", "/v1/backup?since=9223372036854775808").await;
    assert_eq!(problem(past).await, refused(400, "bad-request"));
    assert_eq!(problem(server.get("viewer", "/v2").await).await, refused(404, "not-found"));
    let wrong = server.call("viewer", Method::PUT, "/v1/plans").send().await.unwrap();
    assert_eq!(wrong.headers()[header::ALLOW], "GET,HEAD");
    assert_eq!(problem(wrong).await, refused(405, "method-not-allowed"));
    let unknown = server.get("nobody", "/v1/plans").await;
    assert_eq!(unknown.headers()[header::WWW_AUTHENTICATE], "Bearer realm=\"ringward\"");
    assert_eq!(problem(unknown).await, refused(401, "unauthenticated"));
}

#[tokio::test]
async fn an_action_is_bound_to_what_was_seen() {
    let server = Server::start().await;
    server.submit("2.14.0").await;
    let place = "/v1/plans/checkout/releases/2.14.0";
    let seen = server.get("viewer", place).await.headers()[header::ETAG].clone();
    let known = server.call("viewer", Method::GET, place).header(header::IF_NONE_MATCH, &seen);
    // It grows older, which is no change.
    server.stage.clock.advance(Span::seconds(90));
    assert_eq!(known.send().await.unwrap().status(), StatusCode::NOT_MODIFIED);
    let pause = |tag: &header::HeaderValue| {
        let call = server.call("operator", Method::POST, &format!("{place}/pause"));
        call.header(header::IF_MATCH, tag).send()
    };
    assert_eq!(pause(&seen).await.unwrap().status(), StatusCode::OK);
    let stale = pause(&seen).await.unwrap();
    assert_eq!(problem(stale).await, refused(412, "stale-state"));
    let odd = pause(&header::HeaderValue::from_static("\"abc\"")).await.unwrap();
    assert_eq!(problem(odd).await, refused(412, "stale-state"));
}

#[tokio::test]
async fn what_was_measured_is_asked_for_by_ring() {
    let server = Server::start().await;
    assert_eq!(server.submit("2.14.0").await.status(), StatusCode::CREATED);
    let place = "/v1/plans/checkout/releases/2.14.0/rings";
    let page = json(server.get("viewer", &format!("{place}/internal/measurements")).await).await;
    assert_eq!(page, json!({"items": []}));
    for (path, expected) in [
        (format!("{place}/mars/measurements"), refused(404, "unknown-ring")),
        (
            "/v1/plans/checkout/releases/9/rings/internal/measurements".into(),
            refused(404, "unknown-release"),
        ),
        (format!("{place}/internal/measurements?pageSize=0"), refused(400, "bad-request")),
        (format!("{place}/internal/measurements?order=random"), refused(400, "bad-request")),
        (format!("{place}/internal/measurements?pageToken=x"), refused(400, "bad-request")),
    ] {
        assert_eq!(problem(server.get("viewer", &path).await).await, expected, "{path}");
    }
}

#[tokio::test]
async fn a_repeat_under_a_key_is_answered_as_the_first_was() {
    let server = Server::start().await;
    let freeze = |who: &'static str, reason: &'static str| {
        let call = server.call(who, Method::POST, "/v1/freezes").header("Idempotency-Key", "k1");
        call.json(&json!({"scope": {}, "reason": reason})).send()
    };
    let first = json(freeze("operator", "storm").await.unwrap()).await;
    let again = json(freeze("operator", "storm").await.unwrap()).await;
    assert_eq!(first, again);
    let other = freeze("operator", "flood").await.unwrap();
    assert_eq!(problem(other).await, refused(422, "idempotency-conflict"));
    // Somebody else's key is another key.
    assert_ne!(json(freeze("admin", "storm").await.unwrap()).await["id"], first["id"]);
    let listed = json(server.get("viewer", "/v1/freezes").await).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    let lift = format!("/v1/freezes/{}", first["id"].as_str().unwrap());
    let lift = async || server.call("operator", Method::DELETE, &lift).send().await.unwrap();
    assert_eq!(lift().await.status(), StatusCode::OK);
    assert_eq!(problem(lift().await).await, refused(409, "nothing-to-do"));

    let wrong = json!({"scope": {"ring": "beta"}, "reason": " ", "until": "2020-01-01T00:00:00Z"});
    let wrong: Value = server.post("operator", "/v1/freezes", &wrong).await.json().await.unwrap();
    let pointers: Vec<_> =
        wrong["violations"].as_array().unwrap().iter().map(|v| v["pointer"].clone()).collect();
    assert_eq!(pointers, ["/scope", "/reason", "/until"]);
}

#[tokio::test]
async fn only_an_administrator_names_another_author() {
    let server = Server::start().await;
    let post = async |who: &str, version: &str, author: &str| {
        let image = artifact(version);
        let body = json!({"version": version, "artifact": {"image": image}, "author": author});
        server.post(who, "/v1/plans/checkout/releases", &body).await
    };
    assert_eq!(
        problem(post("operator", "1.0.1", "dana").await).await,
        refused(403, "not-authorised")
    );
    assert_eq!(post("operator", "1.0.2", "operator").await.status(), StatusCode::CREATED);
    assert_eq!(post("admin", "1.0.3", "dana").await.status(), StatusCode::CREATED);
    let view = json(server.get("viewer", "/v1/plans/checkout/releases/1.0.3").await).await;
    assert_eq!((&view["author"], &view["by"]), (&json!("dana"), &json!("admin")));
}

#[tokio::test]
async fn roles_reach_so_far_and_no_further() {
    let mut server = Server::start().await;
    server.submit("2.14.0").await;
    let operator = || NewToken { roles: vec!["operator".into()], ..NewToken::default() };
    let plans: Vec<PlanName> = vec!["search".into()];
    server.token("elsewhere", NewToken { plans, ..operator() });
    server.token("european", NewToken { within: vec!["EU".into()], ..operator() });
    server.token("chinese", NewToken { within: vec!["CN".into()], ..operator() });
    let place = "/v1/plans/checkout/releases/2.14.0";
    assert_eq!(server.get("elsewhere", place).await.status(), 403);
    assert_eq!(server.get("chinese", place).await.status(), 403);
    for path in ["/v1/plans", "/v1/releases", "/v1/clusters", "/v1/gates", "/v1/approvals"] {
        for who in ["elsewhere", "chinese"] {
            let listed = json(server.get(who, path).await).await;
            assert_eq!(listed["items"], json!([]), "{path} by {who}");
        }
    }
    server.post("admin", "/v1/plans/checkout/resume", &json!({})).await;
    let audit = json(server.get("elsewhere", "/v1/audit").await).await;
    let audit = audit["entries"].as_array().unwrap().clone();
    assert!(audit.iter().all(|entry| !entry.to_string().contains("checkout")), "{audit:?}");
    // To stop asks less than to go: the release goes to the United States too.
    let post = async |who: &str, path: String| server.post(who, &path, &json!({})).await.status();
    assert_eq!(post("european", format!("{place}/pause")).await, 200);
    assert_eq!(post("european", format!("{place}/resume")).await, 403);
    assert_eq!(post("european", format!("{place}/rings/eu-west/pause")).await, 200);
    assert_eq!(post("european", format!("{place}/rings/eu-west/resume")).await, 200);
    assert_eq!(post("european", format!("{place}/rings/us-east/pause")).await, 403);
    let freeze = async |scope: Value| {
        let body = json!({"scope": scope, "reason": "a test"});
        server.post("european", "/v1/freezes", &body).await.status()
    };
    assert_eq!(freeze(json!({})).await, 403);
    assert_eq!(freeze(json!({"jurisdiction": "US"})).await, 403);
    assert_eq!(freeze(json!({"jurisdiction": "DE"})).await, 201);
}

#[tokio::test]
async fn a_pause_of_everything_and_of_a_jurisdiction() {
    let mut server = Server::start().await;
    let within = NewToken { within: vec!["DE".into()], ..NewToken::default() };
    server.token("german", NewToken { roles: vec!["operator".into()], ..within });
    server.submit("2.14.0").await;
    let etag = async || {
        let plan = server.get("operator", "/v1/plans/checkout").await;
        plan.headers()[header::ETAG].to_str().unwrap().to_owned()
    };
    let before = etag().await;
    for wrong in [json!({}), json!({"everything": true, "jurisdiction": "DE"})] {
        let answer = server.post("operator", "/v1/pause", &wrong).await;
        assert_eq!(problem(answer).await, refused(422, "invalid-body"));
    }
    let nowhere = server.post("operator", "/v1/pause", &json!({"jurisdiction": "UE"})).await;
    assert_eq!(problem(nowhere).await, refused(409, "nothing-to-do"));
    let everything = json!({"everything": true, "reason": "incident 4711"});
    let by_german = server.post("german", "/v1/pause", &everything).await;
    assert_eq!(problem(by_german).await.0, 403);
    assert_eq!(etag().await, before, "nothing has happened yet");
    json(server.post("operator", "/v1/pause", &everything).await).await;
    json(server.post("german", "/v1/pause", &json!({"jurisdiction": "DE"})).await).await;
    let listed = json(server.get("viewer", "/v1/pauses").await).await;
    let covers: Vec<_> = listed["items"].as_array().unwrap().iter().map(|p| &p["covers"]).collect();
    assert_eq!(covers, ["everything", "everything in DE"]);

    // Who looked before the pause does not resume what they have not seen.
    let stale = server
        .call("operator", Method::POST, "/v1/plans/checkout/releases/2.14.0/abort")
        .header("If-Match", &before)
        .json(&json!({}));
    assert_eq!(problem(stale.send().await.unwrap()).await, refused(412, "stale-state"));
    json(server.post("operator", "/v1/resume", &json!({"everything": true})).await).await;
    let again = server.post("operator", "/v1/resume", &json!({"everything": true})).await;
    assert_eq!(problem(again).await, refused(409, "nothing-to-do"));
    json(server.post("german", "/v1/resume", &json!({"jurisdiction": "DE"})).await).await;
    let listed = json(server.get("viewer", "/v1/pauses").await).await;
    assert_eq!(listed["items"], json!([]));
}

#[tokio::test]
async fn approvals_over_the_wire() {
    let mut server = Server::start().await;
    server.submit("2.14.0").await;
    let approver =
        || NewToken { roles: vec!["approver".into(), "operator".into()], ..NewToken::default() };
    server.token("kim", approver());
    let place = "/v1/plans/checkout/releases/2.14.0/rings/eu-west/approve";
    let why = json!({"reason": "the audit agreed"});
    let approve = async |who: &str| server.post(who, place, &why).await;
    assert_eq!(problem(approve("admin").await).await, refused(403, "not-authorised"));
    assert_eq!(approve("kim").await.status(), 200);
    let listed = json(server.get("viewer", "/v1/approvals").await).await;
    assert_eq!(listed["items"][0]["counting"], json!(["kim"]));
    let audit = json(server.get("viewer", "/v1/audit").await).await.to_string();
    assert!(audit.contains(r#""reason":"the audit agreed""#), "{audit}");
    let own = json!({"version": "2.15.0", "artifact": {"image": artifact("2.15.0")}});
    server.post("kim", "/v1/plans/checkout/releases", &own).await;
    let own = server.post("kim", &place.replace("2.14.0", "2.15.0"), &json!({})).await;
    assert_eq!(problem(own).await, refused(403, "self-approval"));
}

#[tokio::test]
async fn lists_are_paged_newest_first() {
    let server = Server::start().await;
    for version in ["1.0.0", "1.0.1", "1.0.2", "1.0.3", "1.0.4"] {
        server.submit(version).await;
        server.stage.clock.advance(Span::seconds(1));
    }
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/releases?plan=checkout&pageSize=2{token}");
        let page = json(server.get("viewer", &path).await).await;
        let items = page["items"].as_array().unwrap();
        found.extend(items.iter().map(|r| r["version"].as_str().unwrap().to_owned()));
        match page["nextPageToken"].as_str() {
            Some(next) => token = format!("&pageToken={next}"),
            None => break,
        }
    }
    assert_eq!(found, ["1.0.4", "1.0.3", "1.0.2", "1.0.1", "1.0.0"]);
    let moving = json(server.get("viewer", "/v1/releases?phase=inprogress").await).await;
    assert_eq!(moving["items"].as_array().unwrap().len(), 1);
}

/// Invariant 26: what cannot be recorded is not acknowledged, then or later.
#[tokio::test]
async fn nothing_is_acknowledged_that_is_not_recorded() {
    let server = Server::start().await;
    assert_eq!(server.get("nobody", "/readyz").await.status(), 200);
    server.stage.store.fail_next(Fault::Full);
    for _ in 0..2 {
        assert_eq!(problem(server.submit("2.14.0").await).await, refused(503, "not-recorded"));
    }
    assert_eq!(problem(server.get("nobody", "/readyz").await).await, refused(503, "not-ready"));
    let gone = server.get("viewer", "/v1/plans/checkout/releases/2.14.0").await;
    assert_eq!(gone.status(), StatusCode::NOT_FOUND, "reading goes on");
    assert_eq!(server.get("nobody", "/livez").await.status(), 200);
}

#[tokio::test]
async fn a_caller_who_asks_too_much_is_told_when_to_come_back() {
    let server = Server::start().await;
    let mut last = server.get("viewer", "/v1/source").await;
    for _ in 0..200 {
        last = server.get("viewer", "/v1/source").await;
    }
    assert_eq!(last.headers()[header::RETRY_AFTER], "1");
    assert_eq!(problem(last).await, refused(429, "too-many-requests"));
    assert_eq!(server.get("operator", "/v1/source").await.status(), 200);
}

#[tokio::test]
async fn events_are_taken_up_where_they_were_left_off() {
    let server = Server::start().await;
    let mut live = server.get("viewer", "/v1/events").await;
    assert_eq!(live.headers()[header::CONTENT_TYPE], "text/event-stream");
    server.submit("2.14.0").await;
    let (id, event) = next_event(&mut live).await;
    assert_eq!((id, &event["type"]), (2, &json!("release")));
    assert_eq!(event["object"]["releases"], json!(["checkout@2.14.0"]));
    server.post("operator", "/v1/plans/checkout/pause", &json!({})).await;
    server.post("operator", "/v1/plans/checkout/resume", &json!({})).await;
    let call = server.call("viewer", Method::GET, "/v1/events").header("Last-Event-ID", "2");
    let mut resumed = call.send().await.unwrap();
    assert_eq!(next_event(&mut resumed).await, next_event(&mut live).await);
    assert_eq!(next_event(&mut resumed).await.1["object"]["what"], json!(["resumed"]));
    server.post("operator", "/v1/plans/checkout/pause", &json!({})).await;
    assert_eq!(next_event(&mut resumed).await.0, 5, "it goes on live");
    let call = server.call("viewer", Method::GET, "/v1/events").header("Last-Event-ID", "999");
    let lost = call.send().await.unwrap().text().await.unwrap();
    assert!(lost.starts_with("event: error\n"), "{lost}");
}

#[tokio::test]
async fn who_is_not_known_any_more_is_told_nothing_more() {
    let mut server = Server::start().await;
    let roles = vec!["viewer".into()];
    server.token("guest", NewToken { roles, ttl: Some(Span::minutes(5)), ..NewToken::default() });
    let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let browser = browser.build().unwrap();
    let form = format!("token={}", server.secrets["viewer"]);
    let signed_in = browser.post(format!("{}/login", server.base)).body(form).send().await.unwrap();
    let cookie = signed_in.headers()[header::SET_COOKIE].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap();
    let page = browser.get(format!("{}/events", server.base)).header(header::COOKIE, cookie);
    let mut page = page.send().await.unwrap();
    let mut viewer = server.get("viewer", "/v1/events").await;
    let mut guest = server.get("guest", "/v1/events").await;
    let mut operator = server.get("operator", "/v1/events").await;
    server.submit("2.14.0").await;
    for stream in [&mut page, &mut viewer, &mut guest, &mut operator] {
        assert_eq!(next_event(stream).await.0, 2);
    }
    server.tokens.revoke("viewer").unwrap();
    server.stage.clock.advance(Span::minutes(5));
    server.post("operator", "/v1/plans/checkout/pause", &json!({})).await;
    assert_eq!(next_event(&mut operator).await.0, 3, "who is known is told");
    for (who, stream) in [("a session", page), ("its token", viewer), ("an expired one", guest)] {
        assert_eq!(stream.text().await.unwrap(), "", "{who}");
    }
}

async fn next_event(stream: &mut Response) -> (u64, Value) {
    let mut text = String::new();
    while !text.ends_with("\n\n") {
        let chunk = tokio::time::timeout(Duration::from_secs(5), stream.chunk()).await;
        let chunk = chunk.expect("an event comes").unwrap().expect("the stream goes on");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    (line("id: ").parse().unwrap(), serde_json::from_str(line("data: ")).unwrap())
}

#[tokio::test]
async fn figures_for_prometheus() {
    let server = Server::start().await;
    server.submit("2.14.0").await;
    let text = server.get("viewer", "/metrics").await.text().await.unwrap();
    for line in [
        r#"ringward_ring_phase{phase="Deploying",plan="checkout",ring="internal"} 1"#,
        r#"ringward_ring_phase{phase="Waiting",plan="checkout",ring="beta"} 1"#,
        r#"ringward_ring_soak_required_seconds{plan="checkout",ring="internal"} 600"#,
        r#"ringward_source_age_seconds 0"#,
        r#"ringward_writer{epoch="1"} 1"#,
        r#"ringward_build_info{version="0.1.0"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert!(!text.contains("otel_scope") && !text.contains("target_info"), "{text}");
}

#[tokio::test]
async fn a_token_that_ended_opens_nothing() {
    let mut server = Server::start().await;
    let roles = vec!["viewer".into()];
    server.token("guest", NewToken { roles, ttl: Some(Span::minutes(5)), ..NewToken::default() });
    assert_eq!(server.get("guest", "/v1/source").await.status(), 200);
    server.stage.clock.advance(Span::minutes(5));
    assert_eq!(server.get("guest", "/v1/source").await.status(), 401);
    // Another process revokes; the server sees it at the next request.
    let other = Tokens::open(server._data.path()).unwrap();
    other.revoke("viewer").unwrap();
    assert_eq!(server.get("viewer", "/v1/source").await.status(), 401);
    assert_eq!(server.get("operator", "/v1/source").await.status(), 200);
}

#[tokio::test]
async fn the_page_signs_in_with_a_token_and_loads_nothing() {
    let server = Server::start().await;
    server.submit("2.14.0").await;
    let reason = json!({"reason": "<script>alert(1)</script>"});
    server.post("operator", "/v1/plans/checkout/rings/internal/pause", &reason).await;
    let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let browser = browser.build().unwrap();
    let front = browser.get(&server.base).send().await.unwrap();
    assert!(front.text().await.unwrap().contains("name=\"token\""));

    let sign_in =
        |token: &str| browser.post(format!("{}/login", server.base)).body(format!("token={token}"));
    let refused = sign_in("rw_0").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(refused.text().await.unwrap().contains("revoked or has expired"));
    let token = &server.secrets["viewer"];
    let foreign = sign_in(token).header("Sec-Fetch-Site", "cross-site").send().await.unwrap();
    assert_eq!(problem(foreign).await, self::refused(403, "cross-site"));
    let accepted = sign_in(token).send().await.unwrap();
    assert_eq!(accepted.status(), StatusCode::SEE_OTHER);
    let cookie = accepted.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap();
    assert!(!cookie.contains(&token[3..]), "the cookie is not the token");

    let look = || browser.get(&server.base).header(header::COOKIE, cookie);
    let page = look().send().await.unwrap();
    let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self';"),
        "{policy}"
    );
    let page = page.text().await.unwrap();
    for part in
        ["2.14.0", "↥</span> Deploying", "•</span> Waiting", "paused by operator", "&lt;script&gt;"]
    {
        assert!(page.contains(part), "{part} in {page}");
    }
    for part in ["<script>", "http://", "https://", "style=", "//cdn"] {
        assert!(!page.contains(part), "{part} in {page}");
    }
    // The cookie opens the pages only: the API takes bearer tokens.
    let api = browser.get(format!("{}/v1/plans", server.base)).header(header::COOKIE, cookie);
    assert_eq!(api.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    // A session ends with its token.
    server.tokens.revoke("viewer").unwrap();
    assert!(look().send().await.unwrap().text().await.unwrap().contains("name=\"token\""));
}

#[tokio::test]
async fn evidence_is_a_page_or_a_document_for_those_who_may_read_the_plan() {
    let mut server = Server::start().await;
    server.submit("2.14.0").await;
    let elsewhere = vec![PlanName::from("payments")];
    let viewer = NewToken { roles: vec!["viewer".into()], plans: elsewhere, ..NewToken::default() };
    server.token("stranger", viewer);
    let path = "/v1/plans/checkout/releases/2.14.0/evidence";
    let refused_to = server.get("stranger", path).await;
    assert_eq!(problem(refused_to).await, refused(403, "not-authorised"));
    let unknown = server.get("viewer", "/v1/plans/checkout/releases/9.9/evidence").await;
    assert_eq!(problem(unknown).await, refused(404, "unknown-release"));
    let wrong = server.get("viewer", &format!("{path}?format=pdf")).await;
    assert_eq!(problem(wrong).await, refused(400, "bad-request"));

    let document = json(server.get("viewer", path).await).await;
    assert_eq!(document["release"]["release"], "checkout@2.14.0");
    assert_eq!(document["madeFor"], "viewer");
    assert_eq!(document["chain"]["verified"]["broken"], Value::Null);
    let browser = server.call("viewer", Method::GET, path).header(header::ACCEPT, "text/html,*/*");
    for page in
        [browser.send().await.unwrap(), server.get("viewer", &format!("{path}?format=html")).await]
    {
        assert_eq!(page.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(page.headers()[header::CACHE_CONTROL], "private, no-store");
        let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(page.text().await.unwrap().contains("Evidence of checkout@2.14.0"));
    }

    let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let browser = browser.build().unwrap();
    let page = format!("{}/evidence/checkout/2.14.0", server.base);
    let front = browser.get(&page).send().await.unwrap().text().await.unwrap();
    assert!(front.contains("name=\"next\" value=\"/evidence/checkout/2.14.0\""), "{front}");
    let token = format!("token={}", server.secrets["viewer"]);
    let login = browser.post(format!("{}/login", server.base)).body(token).send().await.unwrap();
    let cookie = login.headers()[header::SET_COOKIE].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap();
    let page = browser.get(&page).header(header::COOKIE, cookie).send().await.unwrap();
    assert!(page.text().await.unwrap().contains("Evidence of checkout@2.14.0"));
}

/// That the clusters of the EU lie outside it: no release could be admitted.
fn rule(id: &str, enforcement: Enforcement) -> Rule {
    let members = ["DE".into(), "IE".into()].into();
    let jurisdiction = Territory { name: "EU".into(), members };
    Rule {
        id: id.into(),
        policy: Some("law".into()),
        enforcement,
        demand: Demand::TargetsOutside { rings: vec!["eu-west".into()], jurisdiction },
        allow_empty: false,
        declared_at: "policies/law.yaml:6".into(),
    }
}

#[tokio::test]
async fn a_rule_is_waived_by_two_who_may_and_binds_again() {
    let residency = vec![rule("R-1", Enforcement::Waivable)];
    let mut server = Server::over(Plan { residency, ..plan() }).await;
    let within = |place: &str| NewToken {
        roles: vec!["approver".into()],
        within: vec![place.into()],
        ..NewToken::default()
    };
    server.token("kim", within("EU"));
    server.token("lee", within("IE"));
    server.token("sam", within("US"));
    let both = vec!["approver".into(), "operator".into()];
    server.token("pat", NewToken { roles: both, ..NewToken::default() });

    assert_eq!(problem(server.submit("2.14.0").await).await, refused(422, "residency-violation"));
    let waivers = "/v1/plans/checkout/waivers";
    let body = |rule: &str, until: &str| json!({"rule": rule, "ring": "eu-west", "until": until, "reason": "INC-4711"});
    let soon = "2026-10-30T12:00:00Z";
    let wrong = server.post("pat", waivers, &body("R-9", soon)).await;
    assert_eq!(problem(wrong).await, refused(404, "unknown-rule"));
    let long = server.post("pat", waivers, &body("R-1", "2026-11-06T08:00:01Z")).await;
    assert_eq!(problem(long).await, refused(422, "expiry-out-of-range"));
    let asked = server.call("pat", Method::POST, waivers).header("Idempotency-Key", "k1");
    let asked = asked.json(&body("R-1", soon)).send().await.unwrap();
    assert_eq!(asked.status(), StatusCode::CREATED);
    let id = json(asked).await["id"].as_str().unwrap().to_owned();
    let again = server.call("pat", Method::POST, waivers).header("Idempotency-Key", "k1");
    let again = again.json(&body("R-1", soon)).send().await.unwrap();
    assert_eq!(json(again).await["id"], id, "a repeat names the same");

    let approve = format!("{waivers}/{id}/approve");
    let agree = async |who: &str| server.post(who, &approve, &json!({})).await;
    assert_eq!(problem(agree("pat").await).await, refused(403, "self-approval"));
    assert_eq!(problem(agree("admin").await).await, refused(403, "not-authorised"));
    assert_eq!(problem(agree("sam").await).await, refused(403, "not-authorised"), "of the US");
    assert_eq!(agree("kim").await.status(), 200);
    assert_eq!(problem(agree("kim").await).await, refused(409, "nothing-to-do"));
    let listed = json(server.get("viewer", "/v1/waivers").await).await["items"][0].clone();
    assert_eq!((&listed["state"], &listed["agreed"]), (&json!("asked"), &json!(["kim"])));
    assert_eq!(listed["covers"], "plan checkout on eu-west");
    assert_eq!(agree("lee").await.status(), 200);
    assert_eq!(server.submit("2.14.0").await.status(), StatusCode::CREATED);
    let metrics = server.get("viewer", "/metrics").await.text().await.unwrap();
    assert!(metrics.contains("ringward_waivers{plan=\"checkout\"} 1\n"), "{metrics}");

    let revoke = format!("{waivers}/{id}/revoke");
    let revoked = server.post("lee", &revoke, &json!({"reason": "it is back"})).await;
    assert_eq!(revoked.status(), 200);
    let listed = json(server.get("viewer", "/v1/waivers").await).await["items"][0].clone();
    assert_eq!(listed["state"], "revoked");
    assert_eq!(listed["endedBecause"], "revoked by lee: it is back");
    let audit = json(server.get("viewer", "/v1/audit").await).await.to_string();
    for fact in ["waiverAsked", "waiverApproved", "waiverRevoked", "self-approval"] {
        assert!(audit.contains(fact), "{fact} in {audit}");
    }
}

#[tokio::test]
async fn a_hard_rule_is_waived_by_nobody() {
    let residency = vec![rule("R-1", Enforcement::Hard)];
    let server = Server::over(Plan { residency, ..plan() }).await;
    let body = json!({"rule": "R-1", "until": "2026-10-30T12:00:00Z", "reason": "please"});
    let asked = server.post("admin", "/v1/plans/checkout/waivers", &body).await;
    assert_eq!(problem(asked).await, refused(422, "hard-rule"));
}

#[tokio::test]
async fn each_use_of_a_token_for_emergencies_is_in_the_audit_before_anything_else() {
    let mut server = Server::start().await;
    let break_glass = Some("the OpenID provider is down".to_owned());
    let new = || NewToken {
        roles: vec!["operator".into()],
        break_glass: break_glass.clone(),
        ..NewToken::default()
    };
    server.token("ola", new());
    let made = server.tokens.list().into_iter().find(|token| token.name == "ola".into()).unwrap();
    let lasts = made.expires.unwrap().duration_since(made.created);
    assert_eq!(lasts.as_secs(), 3_600, "an hour, unless told otherwise");
    assert_eq!(server.get("ola", "/v1/plans").await.status(), 200);
    assert_eq!(server.submit_by("ola", "2.14.0").await.status(), StatusCode::CREATED);
    let refused_ = server.post("ola", "/v1/plans/nothing/pause", &json!({})).await;
    assert_eq!(refused_.status(), StatusCode::NOT_FOUND);
    let audit = json(server.get("viewer", "/v1/audit").await).await;
    let facts: Vec<_> = audit["entries"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|entry| entry["facts"].as_array().unwrap())
        .collect();
    let used: Vec<_> = facts
        .iter()
        .filter(|fact| fact["what"] == "glassBroken")
        .map(|fact| &fact["with"])
        .collect();
    let asked: Vec<_> = used.iter().map(|with| with["asked"].as_str().unwrap()).collect();
    assert_eq!(
        asked,
        ["GET /v1/plans", "POST /v1/plans/checkout/releases", "POST /v1/plans/nothing/pause"]
    );
    for with in used {
        assert_eq!((&with["by"]["name"], &with["token"]), (&json!("ola"), &json!(made.id)));
        assert_eq!(with["reason"], "the OpenID provider is down");
    }
    let at = |what: &str| facts.iter().position(|fact| fact["what"] == what).unwrap();
    assert!(at("glassBroken") < at("submitted"));
    // What cannot be recorded opens nothing, not even for a look.
    server.stage.store.fail_next(Fault::Full);
    assert_eq!(problem(server.get("ola", "/v1/plans").await).await, refused(503, "not-recorded"));
    assert_eq!(server.get("viewer", "/v1/plans").await.status(), 200);
}

#[tokio::test]
async fn a_webhook_that_is_signed_is_news_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (secret, news) = (folder.path().join("secret"), Arc::new(Notify::new()));
    std::fs::write(&secret, "It's a Secret to Everybody\n").unwrap();
    let server = Server::with(plan(), Some(Hook::new(secret.clone(), news.clone()))).await;
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let send = async |signature: &str, body: &str| {
        let call = server.call("nobody", Method::POST, "/v1/hooks/git");
        let call = call.header("X-Hub-Signature-256", signature).body(body.to_owned());
        call.send().await.unwrap()
    };
    assert_eq!(problem(send(signature, "Hello!").await).await, refused(401, "unauthenticated"));
    assert!(futures::FutureExt::now_or_never(news.notified()).is_none());
    for _ in 0..2 {
        assert_eq!(send(signature, "Hello, World!").await.status(), StatusCode::ACCEPTED);
        assert!(futures::FutureExt::now_or_never(news.notified()).is_some());
    }
    let long = "x".repeat(1024 * 1024 + 1);
    assert_eq!(problem(send(signature, &long).await).await, refused(413, "payload-too-large"));
    assert_eq!(send(signature, &long[1..]).await.status(), 401, "read to its end");
    std::fs::write(&secret, " \n").unwrap();
    let unusable = send(signature, "Hello, World!").await;
    assert_eq!(problem(unusable).await, refused(503, "hook-unavailable"));
    let none = Server::start().await.post("nobody", "/v1/hooks/git", &json!({})).await;
    assert_eq!(problem(none).await, refused(404, "no-hook"));
}

/// What Flagger sends; the token is of `checkout` in `internal-1`, by the secret `s3cret`.
fn canary(token: &str) -> Value {
    json!({"name": "checkout", "namespace": "shop", "phase": "Waiting", "checksum": "85d557f47b",
        "metadata": {"plan": "checkout", "cluster": "internal-1", "token": token}})
}

#[tokio::test]
async fn a_canary_is_confirmed_by_its_token_and_by_what_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let kind = TargetKind::FlaggerCanary { container: "app".into() };
    let over = Plan { target: Target { kind, ..plan().target }, ..plan() };
    let server =
        Server::made(over, None, Some(Flagger::new(secret.clone())), AuthSettings::default()).await;
    let token = "22cc3697488c3d899cb20c3348d8f1ff316eea3d93ebb5f9f0bbe5fc831b6715";
    let send = async |hook: &str, body: Value| {
        server.post("nobody", &format!("/v1/hooks/flagger/{hook}"), &body).await
    };
    let confirm = async || send("confirm-promotion", canary(token)).await;
    assert_eq!(problem(confirm().await).await, refused(403, "not-confirmed"));
    let id = server.stage.submit("2.14.0");
    server.stage.start(&id, "internal");
    server.stage.see(&id, "internal", "internal-1", Status::Paused);
    let body = json(confirm().await).await;
    assert_eq!(body, json!({"confirmed": true}));
    assert_eq!(send("confirm-rollout", canary(token)).await.status(), 200);
    assert_eq!(send("event", canary(token)).await.status(), 202);
    assert_eq!(problem(send("rollback", canary(token)).await).await, refused(403, "not-confirmed"));
    // The token is of this plan in this cluster.
    let mut elsewhere = canary(token);
    elsewhere["metadata"]["cluster"] = json!("us-east-1");
    for other in [elsewhere, canary(""), canary(&token[1..]), json!({"name": "", "namespace": ""})]
    {
        for hook in ["confirm-rollout", "confirm-promotion", "rollback", "event"] {
            let answer = send(hook, other.clone()).await;
            assert_eq!(problem(answer).await, refused(401, "unauthenticated"), "{hook} {other}");
        }
    }
    assert_eq!(problem(send("event", json!([])).await).await, refused(400, "bad-request"));
    // One Canary may ask so much, and nobody else is in its way.
    let mut last = 200;
    for _ in 0..250 {
        last = confirm().await.status().as_u16();
    }
    assert_eq!(last, 429);
    std::fs::remove_file(&secret).unwrap();
    assert_eq!(problem(confirm().await).await, refused(503, "hook-unavailable"));
}

#[tokio::test]
async fn a_build_system_asks_for_a_release_by_its_signature() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ci");
    let key = b"012345678901234567890123";
    std::fs::write(&file, "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz\n").unwrap();
    let hook = ReleaseHook { secret_file: file.clone(), plans: vec!["checkout".into()] };
    let hooks = BTreeMap::from([("ci".to_owned(), hook)]);
    let server = Server::hooked(plan(), hooks).await;
    let send = async |name: &str, id: &str, late: i64, body: &Value| {
        let text = body.to_string();
        let at = server.stage.now().wall.as_second() - late;
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
        let tag = aws_lc_rs::hmac::sign(&key, format!("{id}.{at}.{text}").as_bytes());
        use base64::Engine as _;
        let signature = base64::engine::general_purpose::STANDARD.encode(tag);
        let call = server.call("nobody", Method::POST, &format!("/v1/hooks/release/{name}"));
        let call = call.header("webhook-id", id).header("webhook-timestamp", at.to_string());
        let call = call.header("webhook-signature", format!("v1,{signature}"));
        call.header("content-type", "application/json").body(text).send().await.unwrap()
    };
    let of = |version: &str| json!({"plan": "checkout", "version": version, "artifact": {"image": artifact(version)}, "author": "dana"});
    let created = send("ci", "build-1", 0, &of("2.14.0")).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    assert_eq!(created.headers()["location"], "/v1/plans/checkout/releases/2.14.0");
    // The journal says who asked, and who made it.
    let facts = json(server.get("admin", "/v1/audit").await).await;
    let facts: Vec<_> = facts["entries"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|item| item["facts"].as_array().unwrap())
        .collect();
    let with = &facts.iter().find(|fact| fact["what"] == "submitted").unwrap()["with"];
    assert_eq!((&with["by"]["name"], &with["author"]), (&json!("hook:ci"), &json!("dana")));
    // The same message again is answered as before; its id with another body is not the same.
    assert_eq!(send("ci", "build-1", 0, &of("2.14.0")).await.status(), StatusCode::CREATED);
    let other = send("ci", "build-1", 0, &of("2.15.0")).await;
    assert_eq!(problem(other).await, refused(422, "idempotency-conflict"));
    let again = send("ci", "build-2", 0, &of("2.14.0")).await;
    assert_eq!(problem(again).await, refused(409, "duplicate-release"));
    // What was signed too long ago, for somebody else or for another plan.
    let late = send("ci", "build-3", 301, &of("2.15.0")).await;
    assert_eq!(problem(late).await, refused(401, "unauthenticated"));
    let unknown = send("cd", "build-3", 0, &of("2.15.0")).await;
    assert_eq!(problem(unknown).await, refused(404, "no-hook"));
    let mut elsewhere = of("2.15.0");
    elsewhere["plan"] = json!("search");
    let elsewhere = send("ci", "build-3", 0, &elsewhere).await;
    assert_eq!(problem(elsewhere).await, refused(403, "forbidden"));
    let mut hotfix = of("2.15.0");
    hotfix["lane"] = json!("hotfix");
    assert_eq!(
        problem(send("ci", "build-3", 0, &hotfix).await).await,
        refused(422, "invalid-body")
    );
    let mut loose = of("2.15.0");
    loose["artifact"]["image"] = json!("registry/app:latest");
    assert_eq!(problem(send("ci", "build-3", 0, &loose).await).await, refused(422, "invalid-body"));
    std::fs::write(&file, "whsec_c2hvcnQ=").unwrap();
    let unusable = send("ci", "build-3", 0, &of("2.15.0")).await;
    assert_eq!(problem(unusable).await, refused(503, "hook-unavailable"));
}

#[tokio::test]
async fn what_lasts_so_long_is_counted_by_the_servers_clock() {
    let residency = vec![rule("R-1", Enforcement::Waivable)];
    let server = Server::over(Plan { residency, ..plan() }).await;
    let now = server.stage.now().wall;
    let freeze = async |key: &str, body: Value| {
        let call =
            server.call("operator", Method::POST, "/v1/freezes").header("Idempotency-Key", key);
        call.json(&body).send().await.unwrap()
    };
    let body = json!({"scope": {"plan": "checkout"}, "for": "2h", "reason": "lunch"});
    let frozen = json(freeze("k1", body.clone()).await).await;
    let until = now + jiff::SignedDuration::from_hours(2);
    assert_eq!(frozen["until"], json!(until));
    // A repeat a moment later is the same request, not another.
    server.stage.clock.advance(Span::seconds(1));
    assert_eq!(json(freeze("k1", body.clone()).await).await, frozen);
    let mut both = body;
    both["until"] = json!(until);
    assert_eq!(problem(freeze("k2", both).await).await, refused(422, "invalid-body"));

    let waive =
        async |body: Value| server.post("operator", "/v1/plans/checkout/waivers", &body).await;
    let body = json!({"rule": "R-1", "for": "4h", "reason": "INC-4711"});
    let asked = json(waive(body).await).await;
    assert_eq!(
        asked["until"],
        json!(server.stage.now().wall + jiff::SignedDuration::from_hours(4))
    );
    let never = waive(json!({"rule": "R-1", "reason": "INC-4711"})).await;
    assert_eq!(problem(never).await, refused(422, "invalid-body"));
    let long = waive(json!({"rule": "R-1", "for": "8d", "reason": "INC-4711"})).await;
    assert_eq!(problem(long).await, refused(422, "expiry-out-of-range"));
}
