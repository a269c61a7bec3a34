//! The dashboard as a browser asks for it: pages, forms, and what is refused.

use std::{collections::BTreeMap, sync::Arc};

use reqwest::{Response, StatusCode, header, redirect::Policy};

use super::{super::pages::read_form, Server};
use crate::{
    decide::fact::{Debt, Fact, Verdict},
    ids::ReleaseId,
    model::{
        plan::Plan,
        residency::{Demand, Disclose, Enforcement, Rule, Territory},
    },
    show::{
        dashboard::{SCRIPT, STYLE},
        fixture::{judged, plan},
    },
};

/// A browser with a session and without a script.
struct Browser<'a> {
    server: &'a Server,
    http: reqwest::Client,
    cookie: String,
}

/// The fields of a page's form.
type Fields = BTreeMap<String, String>;

impl<'a> Browser<'a> {
    async fn of(server: &'a Server, who: &str) -> Self {
        let http = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
        let token = format!("token={}", server.secrets[who]);
        let signed = http.post(format!("{}/login", server.base)).body(token).send().await.unwrap();
        let cookie = signed.headers()[header::SET_COOKIE].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Self { server, http, cookie }
    }

    async fn get(&self, path: &str) -> String {
        let page = self.http.get(format!("{}{path}", self.server.base));
        let page = page.header(header::COOKIE, &self.cookie).send().await.unwrap();
        page.text().await.unwrap()
    }

    async fn post(&self, path: &str, fields: &Fields) -> Response {
        self.http
            .post(format!("{}{path}", self.server.base))
            .header(header::COOKIE, &self.cookie)
            .body(encoded(fields))
            .send()
            .await
            .unwrap()
    }

    /// What a page of the session lets its forms carry.
    async fn csrf(&self) -> String {
        fields(&self.get("/").await)["csrf"].clone()
    }

    /// Asks for a deed, and is told what it means.
    async fn confirm(&self, deed: &[(&str, &str)]) -> Response {
        let mut form = Fields::from([("csrf".into(), self.csrf().await)]);
        form.extend(deed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self.post("/confirm", &form).await
    }
}

fn encoded(fields: &Fields) -> String {
    let code = |text: &str| text.bytes().map(|b| format!("%{b:02x}")).collect::<String>();
    let pairs: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}={}", code(name), code(value))).collect();
    pairs.join("&")
}

/// The fields of a page that nobody sees.
fn fields(page: &str) -> Fields {
    let unescaped =
        |text: &str| text.replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&");
    let inputs = page.split("<input type=\"hidden\" name=\"").skip(1);
    inputs
        .filter_map(|input| {
            let (name, rest) = input.split_once("\" value=\"")?;
            Some((name.to_owned(), unescaped(rest.split_once('"')?.0)))
        })
        .collect()
}

const ON_INTERNAL: [(&str, &str); 3] =
    [("plan", "checkout"), ("version", "2.14.0"), ("ring", "internal")];

fn with<'a>(name: &'a str, deed: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("deed", name)], deed].concat()
}

#[tokio::test]
async fn a_deed_is_explained_then_done_by_the_apis_own_way() {
    let server = Server::start().await;
    server.stage.adopt("internal-1");
    server.submit("2.14.0").await;
    let browser = Browser::of(&server, "operator").await;
    let asked = browser.confirm(&with("pause", &ON_INTERNAL)).await;
    assert_eq!(asked.status(), StatusCode::OK);
    let asked = asked.text().await.unwrap();
    for part in [
        "Pause checkout@2.14.0 on internal",
        "Soak stands still",
        "1 ring is held by it: checkout@2.14.0 on internal (Deploying).",
        "<code>checkout@2.14.0/internal/internal-1/1/deploy</code>",
    ] {
        assert!(asked.contains(part), "{part} in {asked}");
    }
    let mut form = fields(&asked);
    form.insert("reason".into(), "lunch & <b>rest</b>".into());
    let done = browser.post("/act", &form).await;
    assert_eq!(done.status(), StatusCode::SEE_OTHER);
    assert_eq!(done.headers()[header::LOCATION], "/releases/checkout/2.14.0");
    let page = browser.get("/releases/checkout/2.14.0").await;
    assert!(page.contains("✔ checkout@2.14.0 on internal is paused; it is on record."), "{page}");
    assert!(page.contains("paused by operator: lunch &amp; &lt;b&gt;rest&lt;/b&gt;"), "{page}");
    let again = browser.get("/releases/checkout/2.14.0").await;
    assert!(!again.contains("it is on record"), "it is said once");
    // The same form a second time is the same request.
    assert_eq!(browser.post("/act", &form).await.status(), StatusCode::SEE_OTHER);
    let paused = |fact: &Fact| matches!(fact, Fact::Paused { .. });
    let entries = server.stage.desk.store().read(1, 100).unwrap();
    assert_eq!(entries.iter().flat_map(|e| &e.facts).filter(|fact| paused(fact)).count(), 1);
    // Without a reason nothing is aborted.
    let release = &ON_INTERNAL[..2];
    let asked = browser.confirm(&with("abort", release)).await.text().await.unwrap();
    let refused = browser.post("/act", &fields(&asked)).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text().await.unwrap().contains("a reason is asked for"));
}

#[tokio::test]
async fn what_a_hotfix_owes_is_written_off_by_somebody_who_says_why() {
    let server = Server::start().await;
    let release = server.stage.submit("2.14.0");
    server.stage.soak(&release, "internal");
    let browser = Browser::of(&server, "operator").await;
    let owed = with("write-off", &ON_INTERNAL);
    assert_eq!(browser.confirm(&owed).await.status(), StatusCode::CONFLICT);
    let page = browser.get("/releases/checkout/2.14.0").await;
    assert!(!page.contains("value=\"write-off\""), "{page}");
    let debt = Debt::Ahead("beta".into());
    server.stage.put(&[Fact::DebtRecorded {
        release: release.clone(),
        ring: "internal".into(),
        debt: debt.clone(),
    }]);
    let page = browser.get("/releases/checkout/2.14.0").await;
    assert!(page.contains("value=\"write-off\""), "{page}");
    let asked = browser.confirm(&owed).await.text().await.unwrap();
    for part in [
        "Write off what checkout@2.14.0 owes on internal",
        "Not made up for: ",
        "You answer for it",
    ] {
        assert!(asked.contains(part), "{part} in {asked}");
    }
    let mut form = fields(&asked);
    let refused = browser.post("/act", &form).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    form.insert("reason".into(), "beta ran it for a week".into());
    assert_eq!(browser.post("/act", &form).await.status(), StatusCode::SEE_OTHER);
    let page = browser.get("/releases/checkout/2.14.0").await;
    assert!(page.contains("is written off, and you answer for it"), "{page}");
    assert!(!page.contains("value=\"write-off\""), "{page}");
    let entries = server.stage.desk.store().read(1, 100).unwrap();
    let facts = entries.iter().flat_map(|entry| &entry.facts);
    let said = facts.filter_map(|fact| {
        let Fact::DebtWrittenOff { debt: of, reason, by, .. } = fact else { return None };
        (*of == debt).then_some((reason.as_str(), by.name.as_str()))
    });
    let said: Vec<_> = said.collect();
    assert_eq!(said, [("beta ran it for a week", "operator")]);
}

#[tokio::test]
async fn a_release_is_created_by_a_form_that_says_what_is_wrong_beside_the_field() {
    let server = Server::start().await;
    server.stage.submit("2.13.0");
    let browser = Browser::of(&server, "operator").await;
    assert!(browser.get("/").await.contains("value=\"create\""));
    let vic = Browser::of(&server, "viewer").await;
    assert!(!vic.get("/").await.contains("value=\"create\""));
    let of = with("create", &[("plan", "checkout")]);
    assert_eq!(vic.confirm(&of).await.status(), StatusCode::FORBIDDEN);
    let asked = browser.confirm(&of).await.text().await.unwrap();
    for part in [
        "New release of checkout",
        "ring by ring: internal, beta, us-east, eu-west, eu-central. That is 6 clusters in DE, IE, US.",
        "People must agree before it starts on: eu-west (2).",
        "On their way already: checkout@2.13.0; it waits on each ring",
    ] {
        assert!(asked.contains(part), "{part} in {asked}");
    }
    let mut form = fields(&asked);
    form.insert("version".into(), "2.14 0".into());
    form.insert("image".into(), "registry.example/checkout:latest".into());
    form.insert("requires".into(), "2.13.0".into());
    let wrong = browser.post("/act", &form).await;
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let wrong = wrong.text().await.unwrap();
    for part in [
        "value=\"2.14 0\" autocomplete=\"off\" spellcheck=\"false\" aria-describedby=\"e-version version-hint\" \
         aria-invalid=\"true\" required><p class=\"wrong\" id=\"e-version\">✘ a version has",
        "<p class=\"wrong\" id=\"e-image\">✘ the image must be pinned by digest",
        "Nothing was done: see what is marked below.",
    ] {
        assert!(wrong.contains(part), "{part} in {wrong}");
    }
    assert!(!wrong.contains("id=\"e-requires\""), "{wrong}");
    form.insert("version".into(), " 2.14.0 ".into());
    form.insert("image".into(), crate::show::fixture::artifact("2.14.0").to_string());
    let done = browser.post("/act", &form).await;
    assert_eq!(done.status(), StatusCode::SEE_OTHER, "{}", done.text().await.unwrap());
    assert_eq!(done.headers()[header::LOCATION], "/releases/checkout/2.14.0");
    let page = browser.get("/releases/checkout/2.14.0").await;
    assert!(page.contains("✔ checkout@2.14.0 is created; it is on record."), "{page}");
    // The same form again is the same request; another key is another release of that name.
    assert_eq!(browser.post("/act", &form).await.status(), StatusCode::SEE_OTHER);
    form.insert("key".into(), "another".into());
    let again = browser.post("/act", &form).await;
    assert_eq!(again.status(), StatusCode::CONFLICT);
    let again = again.text().await.unwrap();
    assert!(again.contains("Nothing was done.") && again.contains("value=\"2.13.0\""), "{again}");
}

#[tokio::test]
async fn a_waiver_is_asked_for_where_its_rule_stands() {
    let rule = |id: &str, enforcement| Rule {
        id: id.into(),
        policy: None,
        enforcement,
        demand: Demand::PairExclusive,
        allow_empty: false,
        declared_at: "policies/law.yaml:6".into(),
    };
    let residency = vec![rule("R-1", Enforcement::Waivable), rule("R-2", Enforcement::Hard)];
    let mut server = Server::over(Plan { residency, ..plan() }).await;
    let us = crate::show::auth::NewToken {
        roles: vec!["operator".into()],
        within: vec!["US".into()],
        ..Default::default()
    };
    server.token("sam", us);
    let browser = Browser::of(&server, "sam").await;
    let page = browser.get("/jurisdictions").await;
    assert_eq!(page.matches("value=\"ask-waiver\"").count(), 1, "{page}");
    let of = with("ask-waiver", &[("plan", "checkout"), ("rule", "R-1")]);
    let asked = browser.confirm(&of).await.text().await.unwrap();
    assert!(asked.contains("rule R-1 binds until two approvers have agreed"), "{asked}");
    let mut form = fields(&asked);
    form.insert("for".into(), "4h".into());
    let wrong = browser.post("/act", &form).await;
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text().await.unwrap().contains("id=\"e-reason\">✘ Say why"));
    form.insert("reason".into(), "INC-4711".into());
    // Of the whole plan it is not theirs to ask; of a ring that they reach it is.
    assert_eq!(browser.post("/act", &form).await.status(), StatusCode::FORBIDDEN);
    form.insert("ring".into(), "us-east".into());
    form.insert("key".into(), "k2".into());
    let done = browser.post("/act", &form).await;
    assert_eq!(done.status(), StatusCode::SEE_OTHER, "{}", done.text().await.unwrap());
    let page = browser.get("/approvals").await;
    for part in
        ["a waiver of rule R-1 for checkout is asked for", "plan checkout on us-east", "INC-4711"]
    {
        assert!(page.contains(part), "{part} in {page}");
    }
    for (rule, status) in
        [("R-2", StatusCode::UNPROCESSABLE_ENTITY), ("R-9", StatusCode::NOT_FOUND)]
    {
        let of = with("ask-waiver", &[("plan", "checkout"), ("rule", rule)]);
        assert_eq!(browser.confirm(&of).await.status(), status, "{rule}");
    }
}

#[tokio::test]
async fn what_changed_since_it_was_seen_is_said_and_nothing_is_done() {
    let server = Server::start().await;
    let release = server.stage.submit("2.14.0");
    server.stage.soak(&release, "internal");
    let browser = Browser::of(&server, "operator").await;
    let asked = browser.confirm(&with("abort", &ON_INTERNAL[..2])).await.text().await.unwrap();
    let mut form = fields(&asked);
    form.insert("reason".into(), "it is bad".into());
    server.stage.put(&[Fact::RingPassed { release: release.clone(), ring: "internal".into() }]);
    let stale = browser.post("/act", &form).await;
    assert_eq!(stale.status(), StatusCode::PRECONDITION_FAILED);
    let stale = stale.text().await.unwrap();
    let changed = "internal was in motion, attempt 1, and is passed, attempt 1";
    assert!(stale.contains(changed) && stale.contains("it is bad"), "{stale}");
    let aborted = || {
        let world = server.stage.world.read().unwrap();
        world.release(&release).unwrap().aborted.is_some()
    };
    assert!(!aborted());
    let mut form = fields(&stale);
    form.insert("reason".into(), "it is bad".into());
    assert_eq!(browser.post("/act", &form).await.status(), StatusCode::SEE_OTHER);
    assert!(aborted());
}

#[tokio::test]
async fn an_approval_is_bound_to_what_was_shown() {
    let mut server = Server::start().await;
    let approver =
        crate::show::auth::NewToken { roles: vec!["approver".into()], ..Default::default() };
    server.token("kim", approver);
    let release = server.stage.submit("2.14.0");
    server.stage.pass(&release, "internal");
    server.stage.pass(&release, "beta");
    let browser = Browser::of(&server, "kim").await;
    let inbox = browser.get("/approvals").await;
    for part in [
        "checkout@2.14.0</a> on",
        "<b>0 of 2</b> by approver, EU, not its author",
        "value=\"approve\"",
    ] {
        assert!(inbox.contains(part), "{part} in {inbox}");
    }
    let on = [("plan", "checkout"), ("version", "2.14.0"), ("ring", "eu-west")];
    let asked = browser.confirm(&with("approve", &on)).await.text().await.unwrap();
    for part in
        ["It is approval 1 of 2: more are needed.", "sha256:888888", "4e1b7a0cafe", "eu-west-1"]
    {
        assert!(asked.contains(part), "{part} in {asked}");
    }
    // Another policy is another thing to agree to.
    let mut form = fields(&asked);
    let seen = form["seen"].replace("4e1b7a0cafe", "0therp0licy");
    let form_of_another =
        Fields::from_iter(form.clone().into_iter().chain([("seen".into(), seen)]));
    let stale = browser.post("/act", &form_of_another).await;
    assert_eq!(stale.status(), StatusCode::PRECONDITION_FAILED);
    form.insert("key".into(), "another".into());
    assert_eq!(browser.post("/act", &form).await.status(), StatusCode::SEE_OTHER);
    let inbox = browser.get("/approvals").await;
    assert!(inbox.contains("<b>1 of 2</b>") && !inbox.contains("value=\"approve\""), "{inbox}");
    // Who may not is told why, and how to.
    let admin = Browser::of(&server, "admin").await.get("/approvals").await;
    assert!(admin.contains("Your token has no role <code>approver</code>"), "{admin}");
    assert!(
        admin.contains("admin needs the role approver") && !admin.contains("value=\"approve\"")
    );
}

#[tokio::test]
async fn forms_of_others_do_nothing() {
    let server = Server::start().await;
    server.submit("2.14.0").await;
    let browser = Browser::of(&server, "operator").await;
    let asked = browser.confirm(&with("pause", &ON_INTERNAL)).await.text().await.unwrap();
    let form = fields(&asked);
    let mut bare = form.clone();
    bare.remove("csrf");
    assert_eq!(browser.post("/act", &bare).await.status(), StatusCode::FORBIDDEN);
    let other = Browser::of(&server, "operator").await;
    assert_eq!(
        other.post("/act", &form).await.status(),
        StatusCode::FORBIDDEN,
        "another session's"
    );
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let act = browser.http.post(format!("{}/act", server.base)).header(name, value);
        let act = act.header(header::COOKIE, &browser.cookie).body(encoded(&form));
        assert_eq!(act.send().await.unwrap().status(), StatusCode::FORBIDDEN, "{name}: {value}");
    }
    let nobody = browser.http.post(format!("{}/act", server.base)).body(encoded(&form));
    assert!(nobody.send().await.unwrap().text().await.unwrap().contains("name=\"token\""));
    assert!(server.stage.world.read().unwrap().shared.pauses.is_empty());
    for odd in [&[("deed", "explode")][..], &[("deed", "pause"), ("plan", "../x")]] {
        assert_eq!(browser.confirm(odd).await.status(), StatusCode::BAD_REQUEST);
    }
}

/// Whatever is offered can be asked for, and whatever is not is refused.
#[tokio::test]
async fn what_is_offered_is_what_may_be_done() {
    let server = Server::start().await;
    let release = server.stage.submit("2.14.0");
    server.stage.pass(&release, "internal");
    let on = [("plan", "checkout"), ("version", "2.14.0"), ("ring", "eu-west")];
    for who in ["viewer", "operator", "approver", "admin"] {
        let browser = Browser::of(&server, who).await;
        let page = browser.get("/releases/checkout/2.14.0").await;
        let item = page.split("id=\"ring-eu-west\"").nth(1).unwrap();
        let item = item.split("</li>").next().unwrap();
        for deed in ["pause", "approve", "reject"] {
            let offered = item.contains(&format!("value=\"{deed}\""));
            let status = browser.confirm(&with(deed, &on)).await.status();
            assert_eq!(offered, status == StatusCode::OK, "{deed} by {who}: {status}");
        }
        let whole = page.split("<h2").next().unwrap();
        for deed in ["pause", "rollback", "abort"] {
            let offered = whole.contains(&format!("value=\"{deed}\""));
            let status = browser.confirm(&with(deed, &on[..2])).await.status();
            assert_eq!(offered, status == StatusCode::OK, "{deed} by {who}: {status}");
            let said = page.contains(&format!("{who} needs the role"));
            assert!(offered || said, "{who} is told why there is no {deed}");
        }
        for scope in [&[("all", "yes")][..], &[("place", "DE")], &[("over", "plan:checkout")]] {
            let status = browser.confirm(&with("freeze", scope)).await.status();
            let may = ["operator", "admin"].contains(&who);
            assert_eq!(status == StatusCode::OK, may, "freeze by {who}: {status}");
        }
    }
}

#[tokio::test]
async fn every_page_is_there_and_names_what_is_not() {
    let server = Server::start().await;
    let release = server.stage.submit("2.14.0");
    server.stage.soak(&release, "internal");
    let failing = judged(Verdict::Fail, 0.61, "0.61 s > 0.4 s");
    server.stage.measure(&release, "internal", ("internal-1", "latency-p99"), failing);
    let browser = Browser::of(&server, "viewer").await;
    for (path, parts) in [
        ("/", &["checkout", "2.14.0", "Soaking"][..]),
        ("/?plan=checkout&phase=InProgress&jurisdiction=EU", &["2.14.0"]),
        ("/?phase=Failed", &["Nothing is as the filter asks"]),
        ("/?phase=Odd", &["is no phase"]),
        (
            "/releases/checkout/2.14.0",
            &["<svg class=\"dag\"", "id=\"ring-eu-central\"", "/evidence/"],
        ),
        ("/releases/checkout/9.9", &["there is no release checkout@9.9"]),
        (
            "/releases/checkout/2.14.0/rings/internal",
            &["class=\"limit\"", "0.61 s &gt; 0.4 s", "1 Fail"],
        ),
        ("/releases/checkout/2.14.0/rings/mars", &["has no ring mars"]),
        ("/approvals", &["eu-west", "No residency rule is waived"]),
        ("/jurisdictions", &["beta-de-1", "in EU, EEA"]),
        ("/freezes", &["viewer needs the role operator"]),
        ("/timeline", &["is ready on all of internal and soaks"]),
        ("/timeline?plan=nothing", &["Nothing of this happened"]),
        ("/audit", &["submitted", "epoch 1"]),
        ("/audit?verify=yes", &["entries hold"]),
        ("/audit?to=1", &["Entries 1 to 1"]),
    ] {
        let page = browser.get(path).await;
        for part in parts {
            assert!(page.contains(part), "{part} at {path}: {page}");
        }
        assert!(
            page.contains("<main id=\"main\"") && page.contains("Skip to the content"),
            "{path}"
        );
        for part in ["<script>", "style=", "onclick", "javascript:"] {
            assert!(!page.contains(part), "{part} at {path}");
        }
    }
}

#[tokio::test]
async fn figures_that_stay_in_their_jurisdiction_are_on_no_page() {
    let members = ["DE".into(), "IE".into()].into();
    let jurisdiction = Territory { name: "EU".into(), members };
    let rule = Rule {
        id: "R-1".into(),
        policy: None,
        enforcement: Enforcement::Hard,
        demand: Demand::EvidenceWithin { jurisdiction, disclose: Disclose::Verdict },
        allow_empty: false,
        declared_at: "policies/law.yaml:6".into(),
    };
    let server = Server::over(Plan { residency: vec![rule], ..plan() }).await;
    let release = server.stage.submit("2.14.0");
    server.stage.soak(&release, "internal");
    let canary = judged(Verdict::Fail, 0.736_251, "0.736251 s");
    server.stage.measure(&release, "internal", ("internal-1", "latency-p99"), canary);
    let browser = Browser::of(&server, "viewer").await;
    for path in [
        "/",
        "/releases/checkout/2.14.0",
        "/releases/checkout/2.14.0/rings/internal",
        "/approvals",
        "/timeline?all=yes",
        "/audit",
    ] {
        let page = browser.get(path).await;
        assert!(!page.contains("0.736") && !page.contains("0.7363"), "{path}: {page}");
    }
    let page = browser.get("/releases/checkout/2.14.0/rings/internal").await;
    assert!(page.contains("Withheld: its figures stay in their jurisdiction"), "{page}");
}

/// The first page of an estate of many plans stays light, and leads to the rest.
#[tokio::test]
async fn the_first_page_is_light_however_many_plans_there_are() {
    let server = Server::start().await;
    for n in 0..120 {
        let name = format!("service-with-a-rather-long-name-{n:03}");
        let own = Plan { name: name.as_str().into(), ..plan() };
        server.stage.put(&[Fact::PlanDeclared { plan: Arc::new(own) }]);
        for version in ["1.0.0", "1.1.0-rc.1+build.20261102"] {
            server.stage.submit_of(ReleaseId::new(name.as_str(), version));
        }
    }
    let browser = Browser::of(&server, "viewer").await;
    let (mut path, mut seen, mut pages) = ("/".to_owned(), 0, 0);
    loop {
        let page = browser.get(&path).await;
        let weight = page.len() + STYLE.len() + SCRIPT.len();
        assert!(weight < 100 * 1024, "{weight} bytes at {path}");
        seen += page.matches("<section id=\"p-").count();
        pages += 1;
        let Some(next) = page.split("<p class=\"more\"><a href=\"").nth(1) else { break };
        path = next.split('"').next().unwrap().replace("&amp;", "&");
    }
    assert_eq!(seen, 121);
    assert!(pages > 1);
    let one = browser.get("/?plan=service-with-a-rather-long-name-007").await;
    assert_eq!(one.matches("<section id=\"p-").count(), 1);
}

#[tokio::test]
async fn assets_are_kept_until_there_are_others() {
    let server = Server::start().await;
    let page = server.client.get(&server.base).send().await.unwrap().text().await.unwrap();
    for name in ["style.css", "live.js", "icon.svg"] {
        assert!(page.contains(&format!("/assets/{name}?")), "{page}");
        let url = format!("{}/assets/{name}", server.base);
        let asset = server.client.get(&url).send().await.unwrap();
        let tag = asset.headers()[header::ETAG].clone();
        assert!(asset.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
        let known =
            server.client.get(&url).header(header::IF_NONE_MATCH, tag).send().await.unwrap();
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    }
    let gone = server.client.get(format!("{}/assets/x", server.base)).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    assert_eq!(read_form(&encoded(&Fields::from([("a b".into(), "ü&=".into())])))["a b"], "ü&=");
}
