//! The API over a loopback socket, with the real core behind the desk.

mod callers;
mod events;
mod hooks;
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
    Flagger, GitHook, Parts, ReleaseHooks, router,
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
mod waivers;

use waivers::rule;

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

    async fn with(plan: Plan, hook: Option<GitHook>) -> Self {
        Self::made(plan, hook, None, AuthSettings::default()).await
    }

    /// With identities that others vouch for.
    async fn vouched(plan: Plan, hook: Option<GitHook>, auth: AuthSettings) -> Self {
        Self::made(plan, hook, None, auth).await
    }

    async fn made(
        plan: Plan,
        hook: Option<GitHook>,
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
        hook: Option<GitHook>,
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
