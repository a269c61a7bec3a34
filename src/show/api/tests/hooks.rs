//! Webhooks: of a Git host, of Flagger and of build systems.

use super::*;

#[tokio::test]
async fn a_webhook_that_is_signed_is_news_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (secret, news) = (folder.path().join("secret"), Arc::new(Notify::new()));
    std::fs::write(&secret, "It's a Secret to Everybody\n").unwrap();
    let server = Server::with(plan(), Some(GitHook::new(secret.clone(), news.clone()))).await;
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
