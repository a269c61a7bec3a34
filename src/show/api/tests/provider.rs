//! Signing in at an OpenID provider, against one on loopback that does as it is told.

use std::sync::Mutex;

use axum::{
    Json, Router,
    http::HeaderMap,
    response::IntoResponse as _,
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use reqwest::{Url, redirect::Policy};
use sha2::{Digest as _, Sha256};

use super::{super::pages::read_form, *};

/// What the provider gives for its one code, and what it was asked.
#[derive(Default)]
struct Said {
    claims: Value,
    /// How it answers instead.
    instead: Option<(u16, Value)>,
    spent: bool,
    challenge: String,
    asked: Vec<(Option<String>, BTreeMap<String, String>)>,
}

struct Provider {
    issuer: String,
    said: Arc<Mutex<Said>>,
}

fn key() -> EncodingKey {
    EncodingKey::from_ec_der(&std::fs::read("tests/jwt/ec.der").unwrap())
}

/// A code is good once, and for who knows what the challenge was made of.
fn exchange(said: &Mutex<Said>, headers: &HeaderMap, body: &str) -> Exchange {
    let mut said = said.lock().unwrap();
    let form = read_form(body);
    let shown = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    said.asked.push((shown, form.clone()));
    if let Some((status, body)) = &said.instead {
        return (StatusCode::from_u16(*status).unwrap(), Json(body.clone()));
    }
    let verifier = form.get("code_verifier").map(String::as_str).unwrap_or_default();
    let proved = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) == said.challenge;
    if std::mem::replace(&mut said.spent, true) || !proved || form["code"] != "good" {
        return (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"})));
    }
    let header = Header { kid: Some("k1".into()), ..Header::new(Algorithm::ES256) };
    let token = encode(&header, &said.claims, &key()).unwrap();
    (StatusCode::OK, Json(json!({"id_token": token, "access_token": "x", "token_type": "Bearer"})))
}

type Exchange = (StatusCode, Json<Value>);

impl Provider {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let found = json!({
            "issuer": issuer, "jwks_uri": format!("{issuer}/keys"),
            "authorization_endpoint": format!("{issuer}/authorize?tenant=a"),
            "token_endpoint": format!("{issuer}/token"),
            "authorization_response_iss_parameter_supported": true,
        });
        let mut published = Jwk::from_encoding_key(&key(), Algorithm::ES256).unwrap();
        published.common.key_id = Some("k1".into());
        let keys = json!({"keys": [published]});
        let said: Arc<Mutex<Said>> = Arc::default();
        let told = said.clone();
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(async move || Json(found)))
            .route("/keys", get(async move || Json(keys)))
            .route(
                "/token",
                post(async move |headers: HeaderMap, body: String| {
                    exchange(&told, &headers, &body).into_response()
                }),
            );
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { issuer, said }
    }

    fn settings(&self, browser: Value) -> AuthSettings {
        serde_json::from_value(json!({"oidc": {
            "issuer": self.issuer, "audience": "api", "algorithms": ["ES256"], "browser": browser,
            "bindings": [{"group": "platform", "roles": ["operator"]}],
        }}))
        .unwrap()
    }

    async fn server(&self) -> Server {
        let auth = self.settings(json!({"clientId": "web", "scopes": ["groups"]}));
        Server::vouched(plan(), None, auth).await
    }

    fn asked(&self) -> usize {
        self.said.lock().unwrap().asked.len()
    }
}

/// A browser without a script that keeps cookies.
struct Browser<'a> {
    server: &'a Server,
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

/// What a browser went away with.
struct Away {
    url: Url,
    query: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    fn new(server: &'a Server) -> Self {
        let http = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
        Self { server, http, cookies: BTreeMap::new() }
    }

    async fn send(&mut self, method: Method, path: &str) -> (Response, Vec<String>) {
        let cookies: Vec<String> = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let request = self.http.request(method, format!("{}{path}", self.server.base));
        let answer = request.header(header::COOKIE, cookies.join("; ")).send().await.unwrap();
        let set = answer.headers().get_all(header::SET_COOKIE).iter();
        let set: Vec<String> = set.map(|cookie| cookie.to_str().unwrap().to_owned()).collect();
        for cookie in &set {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.into(), value.into());
        }
        (answer, set)
    }

    async fn get(&mut self, path: &str) -> (u16, String) {
        let (answer, _) = self.send(Method::GET, path).await;
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Leaves for the provider, which learns what it is to vouch for.
    async fn leave(&mut self, provider: &Provider, next: &str) -> Away {
        let (answer, _) = self.send(Method::GET, &format!("/login/oidc?next={next}")).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let url: Url = answer.headers()[header::LOCATION].to_str().unwrap().parse().unwrap();
        let query: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
        let mut said = provider.said.lock().unwrap();
        let now = self.server.stage.now().wall.as_second();
        said.claims = json!({
            "iss": provider.issuer, "aud": "web", "sub": "kim", "exp": now + 600, "iat": now,
            "groups": ["platform"], "nonce": query["nonce"],
        });
        said.challenge = query["code_challenge"].clone();
        said.spent = false;
        Away { url, query }
    }

    async fn back(&mut self, query: &str) -> (u16, String) {
        self.get(&format!("/login/callback?{query}")).await
    }
}

impl Away {
    /// What the provider sends the browser back with.
    fn answer(&self, provider: &Provider) -> String {
        format!("code=good&state={}&iss={}", self.query["state"], provider.issuer)
    }
}

#[tokio::test]
async fn somebody_signs_in_at_the_provider_and_out_again() {
    let provider = Provider::start().await;
    let server = provider.server().await;
    let mut kim = Browser::new(&server);
    let (_, form) = kim.get("/freezes?x=1").await;
    let link = "href=\"/login/oidc?next=%2Ffreezes%3Fx%3D1\">Sign in with 127.0.0.1<";
    assert!(form.contains(link), "{form}");
    let away = kim.leave(&provider, "%2Ffreezes%3Fx%3D1").await;
    assert_eq!(away.url.path(), "/authorize");
    for (name, value) in [
        ("tenant", "a"),
        ("response_type", "code"),
        ("client_id", "web"),
        ("redirect_uri", "https://ringward.example/login/callback"),
        ("scope", "openid groups"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(away.query[name], value, "{name}");
    }
    let path = format!("/login/callback?{}", away.answer(&provider));
    let (answer, set) = kim.send(Method::GET, &path).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
    let page = answer.text().await.unwrap();
    assert!(page.contains("http-equiv=\"refresh\" content=\"0;url=/freezes?x=1\""), "{page}");
    let [session, left] = &set[..] else { panic!("{set:?}") };
    let safe = "; Path=/; HttpOnly; SameSite=Strict; Max-Age=3600; Secure";
    assert!(session.starts_with("ringward_session=") && session.ends_with(safe), "{session}");
    assert!(left.starts_with("ringward_sign_in=; ") && left.contains("Max-Age=0"), "{left}");
    let (shown, form) = provider.said.lock().unwrap().asked[0].clone();
    assert_eq!((shown, form["client_id"].as_str()), (None, "web"));
    assert_eq!(form["redirect_uri"], away.query["redirect_uri"]);

    let (status, page) = kim.get("/freezes").await;
    assert!(status == 200 && page.contains("kim <span class=\"dim\">operator"), "{page}");
    assert_eq!(server.get("nobody", "/v1/plans").await.status(), 401, "a session opens pages only");
    kim.send(Method::POST, "/logout").await;
    assert!(kim.get("/freezes").await.1.contains("Sign in with"));

    // It ends by itself too.
    let away = kim.leave(&provider, "/").await;
    assert_eq!(kim.back(&away.answer(&provider)).await.0, 200);
    server.stage.clock.advance(Span::minutes(59));
    assert!(kim.get("/freezes").await.1.contains("Sign out"));
    server.stage.clock.advance(Span::minutes(1));
    assert!(kim.get("/freezes").await.1.contains("Sign in with"));
}

#[tokio::test]
async fn what_does_not_belong_to_this_sign_in_is_refused_before_the_provider_is_asked() {
    let provider = Provider::start().await;
    let server = provider.server().await;
    let mut kim = Browser::new(&server);
    let away = kim.leave(&provider, "/").await;
    let mut stranger = Browser::new(&server);
    let theirs = stranger.leave(&provider, "/").await;
    let (state, iss) = (away.query["state"].as_str(), provider.issuer.as_str());
    for (query, why) in [
        (format!("code=good&iss={iss}"), "belongs to no sign-in"),
        (theirs.answer(&provider), "belongs to no sign-in"),
        (format!("code=good&iss={iss}&state="), "belongs to no sign-in"),
        (
            format!("error=access_denied&error_description=Call+0900&iss={iss}"),
            "belongs to no sign-in",
        ),
        (format!("code=good&state={state}"), "not of the provider that was asked"),
        (format!("code=good&state={state}&iss=https://evil.example"), "not of the provider"),
    ] {
        let secret = kim.cookies["ringward_sign_in"].clone();
        let (status, page) = kim.back(&query).await;
        assert!(status == 400 && page.contains(why), "{query}: {status} {page}");
        assert!(!page.contains("0900"), "nobody puts words on this page");
        assert_eq!(kim.cookies["ringward_sign_in"], "", "it is over");
        kim.cookies.insert("ringward_sign_in".into(), secret);
    }
    // Without the browser that began it, an answer is nobody's.
    let (status, page) = Browser::new(&server).back(&away.answer(&provider)).await;
    assert!(status == 400 && page.contains("belongs to no sign-in"), "{page}");
    assert_eq!(provider.asked(), 0);
}

#[tokio::test]
async fn an_answer_is_good_once() {
    let provider = Provider::start().await;
    let server = provider.server().await;
    let mut kim = Browser::new(&server);
    let away = kim.leave(&provider, "/").await;
    let secret = kim.cookies["ringward_sign_in"].clone();
    assert_eq!(kim.back(&away.answer(&provider)).await.0, 200);
    kim.cookies.insert("ringward_sign_in".into(), secret.clone());
    assert_eq!(kim.back(&away.answer(&provider)).await.0, 400);
    assert_eq!(provider.asked(), 1, "it is known here");
    kim.send(Method::POST, "/logout").await;
    kim.cookies.insert("ringward_sign_in".into(), secret);
    let (status, page) = kim.back(&away.answer(&provider)).await;
    assert!(status == 401 && page.contains("it was used before"), "{status} {page}");
    // A code that another browser's challenge was for is good for nobody else.
    let away = kim.leave(&provider, "/").await;
    provider.said.lock().unwrap().challenge = "another".into();
    assert_eq!(kim.back(&away.answer(&provider)).await.0, 401);
}

#[tokio::test]
async fn what_the_provider_says_is_told_in_words() {
    let provider = Provider::start().await;
    let server = provider.server().await;
    let mut kim = Browser::new(&server);
    for (query, status, why) in [
        ("error=access_denied", 401, "did not let you in"),
        ("error=access_denied&error_description=%3Cb%3Eno%3C/b%3E", 401, "“&lt;b&gt;no&lt;/b&gt;”"),
        ("error=temporarily_unavailable", 401, "trouble of its own"),
        ("error=unheard_of", 401, "The provider refused."),
        ("", 401, "it holds no code"),
    ] {
        let away = kim.leave(&provider, "/").await;
        let own = format!("{query}&state={}&iss={}", away.query["state"], provider.issuer);
        let (told, page) = kim.back(&own).await;
        assert!(told == status && page.contains(why), "{query}: {told} {page}");
        assert!(page.contains("name=\"token\""), "a token still opens it: {page}");
    }
    let claims =
        |name: &'static str, value: Value| move |said: &mut Said| said.claims[name] = value.clone();
    let answer = |status: u16, body: Value| {
        move |said: &mut Said| said.instead = Some((status, body.clone()))
    };
    type Change = Box<dyn Fn(&mut Said)>;
    let wrongs: [(Change, u16, &str); 8] = [
        (Box::new(claims("nonce", json!("another"))), 401, "of another sign-in"),
        (Box::new(claims("nonce", Value::Null)), 401, "of another sign-in"),
        (Box::new(claims("aud", json!("api"))), 401, "for another audience"),
        (Box::new(claims("iss", json!("https://evil.example"))), 401, "of another issuer"),
        (Box::new(claims("exp", json!(0))), 401, "expired"),
        (Box::new(answer(200, json!({"access_token": "x"}))), 401, "no ID token"),
        (Box::new(answer(401, json!({"error": "invalid_client"}))), 503, "as a client"),
        (Box::new(answer(500, json!("canary-7f3a"))), 503, "takes the code for no ID token"),
    ];
    for (wrong, status, why) in wrongs {
        let away = kim.leave(&provider, "/").await;
        wrong(&mut provider.said.lock().unwrap());
        let (told, page) = kim.back(&away.answer(&provider)).await;
        provider.said.lock().unwrap().instead = None;
        assert!(told == status && page.contains(why), "{why}: {told} {page}");
        assert!(!page.contains("canary"), "{page}");
    }
    // Somebody whom nobody has given a role here is known, and may nothing.
    let away = kim.leave(&provider, "/").await;
    claims("groups", json!([]))(&mut provider.said.lock().unwrap());
    assert_eq!(kim.back(&away.answer(&provider)).await.0, 200);
    let (status, page) = kim.get("/").await;
    assert!(status == 403 && page.contains("kim needs the role viewer"), "{status} {page}");
}

#[tokio::test]
async fn nobody_is_led_elsewhere() {
    let provider = Provider::start().await;
    let server = provider.server().await;
    let mut kim = Browser::new(&server);
    let elsewhere =
        ["//evil.example", "https://evil.example", "/%5Cevil.example", "%2F%2Fevil.example"];
    for next in elsewhere {
        let away = kim.leave(&provider, next).await;
        let (status, page) = kim.back(&away.answer(&provider)).await;
        assert!(status == 200 && page.contains("content=\"0;url=/\""), "{next}: {page}");
    }
    // Nor by a cookie that somebody wrote.
    let away = kim.leave(&provider, "/").await;
    let own = kim.cookies["ringward_sign_in"].split_once('.').unwrap().0.to_owned();
    let written = format!("{own}.{}", URL_SAFE_NO_PAD.encode("//evil.example"));
    kim.cookies.insert("ringward_sign_in".into(), written);
    let (status, page) = kim.back(&away.answer(&provider)).await;
    assert!(status == 200 && page.contains("content=\"0;url=/\""), "{page}");
}

#[tokio::test]
async fn a_client_with_a_secret_shows_it_and_a_provider_that_is_away_is_said() {
    let provider = Provider::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let browser = json!({"clientId": "web app", "clientSecretFile": file});
    let server = Server::vouched(plan(), None, provider.settings(browser)).await;
    let mut kim = Browser::new(&server);
    let away = kim.leave(&provider, "/").await;
    let (status, page) = kim.back(&away.answer(&provider)).await;
    assert!(status == 503 && page.contains("its log says why"), "{page}");
    std::fs::write(&file, "s:/ cret\n").unwrap();
    let away = kim.leave(&provider, "/").await;
    provider.said.lock().unwrap().claims["aud"] = json!("web app");
    assert_eq!(kim.back(&away.answer(&provider)).await.0, 200);
    let (shown, form) = provider.said.lock().unwrap().asked[0].clone();
    // Both encoded before (RFC 6749, 2.3.1).
    use base64::engine::general_purpose::STANDARD;
    assert_eq!(shown.unwrap(), format!("Basic {}", STANDARD.encode("web+app:s%3A%2F+cret")));
    assert!(!form.contains_key("client_secret") && !form.contains_key("client_id"));

    let nowhere = Provider { issuer: "http://127.0.0.1:1".into(), ..provider };
    let server = nowhere.server().await;
    let (status, page) = Browser::new(&server).get("/login/oidc").await;
    assert!(status == 503 && page.contains("The OpenID provider does not answer."), "{page}");
    let own = Server::start().await;
    let (status, page) = Browser::new(&own).get("/login/oidc").await;
    assert!(status == 404 && page.contains("auth.oidc.browser"), "{page}");
}
