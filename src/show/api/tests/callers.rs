//! Who may do what, and how much of it.

use super::*;

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
