//! Every route of the generated document, by every role, over every scope, and by nobody at all.

use super::*;

/// What each route asks of its caller, and what it reaches. A route that is not here fails the test.
const ROUTES: &[(&str, &str, &str)] = &[
    ("GET /livez", "open", "-"),
    ("GET /readyz", "open", "-"),
    ("GET /openapi.json", "open", "-"),
    ("POST /v1/hooks/git", "signed", "-"),
    ("POST /v1/hooks/flagger/confirm-rollout", "signed", "-"),
    ("POST /v1/hooks/flagger/confirm-promotion", "signed", "-"),
    ("POST /v1/hooks/flagger/rollback", "signed", "-"),
    ("POST /v1/hooks/flagger/event", "signed", "-"),
    ("POST /v1/hooks/release/{hook}", "signed", "-"),
    ("GET /metrics", "read", "-"),
    ("GET /v1/plans", "read", "-"),
    ("GET /v1/plans/{plan}", "read", "plan"),
    ("POST /v1/plans/{plan}/pause", "stop", "plan"),
    ("POST /v1/plans/{plan}/resume", "go", "plan"),
    ("GET /v1/plans/{plan}/rings/{ring}", "read", "plan"),
    ("POST /v1/plans/{plan}/rings/{ring}/pause", "stop", "ring"),
    ("POST /v1/plans/{plan}/rings/{ring}/resume", "go", "ring"),
    ("POST /v1/plans/{plan}/releases", "go", "plan"),
    ("GET /v1/releases", "read", "-"),
    ("GET /v1/plans/{plan}/releases/{version}", "read", "plan"),
    ("GET /v1/plans/{plan}/releases/{version}/explain", "read", "plan"),
    ("GET /v1/plans/{plan}/releases/{version}/evidence", "read", "plan"),
    ("POST /v1/plans/{plan}/releases/{version}/pause", "stop", "plan"),
    ("POST /v1/plans/{plan}/releases/{version}/resume", "go", "plan"),
    ("POST /v1/plans/{plan}/releases/{version}/abort", "stop", "plan"),
    ("POST /v1/plans/{plan}/releases/{version}/rollback", "go", "plan"),
    ("POST /v1/plans/{plan}/releases/{version}/retry", "go", "plan"),
    ("POST /v1/plans/{plan}/releases/{version}/write-off", "go", "plan"),
    ("GET /v1/debts", "read", "-"),
    ("GET /v1/plans/{plan}/releases/{version}/rings/{ring}/measurements", "read", "plan"),
    ("POST /v1/plans/{plan}/releases/{version}/rings/{ring}/pause", "stop", "ring"),
    ("POST /v1/plans/{plan}/releases/{version}/rings/{ring}/resume", "go", "ring"),
    ("POST /v1/plans/{plan}/releases/{version}/rings/{ring}/approve", "agree", "ring"),
    ("POST /v1/plans/{plan}/releases/{version}/rings/{ring}/reject", "agree", "ring"),
    ("POST /v1/plans/{plan}/releases/{version}/rings/{ring}/advance", "go", "ring"),
    ("POST /v1/plans/{plan}/releases/{version}/rings/{ring}/retry", "go", "ring"),
    ("POST /v1/plans/{plan}/releases/{version}/rings/{ring}/rollback", "go", "ring"),
    ("GET /v1/clusters", "read", "-"),
    ("GET /v1/gates", "read", "-"),
    ("GET /v1/flags", "read", "-"),
    ("GET /v1/source", "read", "-"),
    ("GET /v1/channels", "read", "-"),
    ("GET /v1/approvals", "read", "-"),
    ("GET /v1/pauses", "read", "-"),
    ("POST /v1/pause", "stop", "place"),
    ("POST /v1/resume", "go", "place"),
    ("GET /v1/freezes", "read", "-"),
    ("POST /v1/freezes", "stop", "everything"),
    ("DELETE /v1/freezes/{id}", "go", "-"),
    ("GET /v1/waivers", "read", "-"),
    ("POST /v1/plans/{plan}/waivers", "go", "plan"),
    ("POST /v1/plans/{plan}/waivers/{id}/approve", "agree", "plan"),
    ("POST /v1/plans/{plan}/waivers/{id}/revoke", "withdraw", "plan"),
    ("GET /v1/audit", "read", "-"),
    ("GET /v1/audit/export", "read", "-"),
    ("GET /v1/audit/verify", "read", "-"),
    ("GET /v1/audit/head", "read", "-"),
    ("GET /v1/backup", "administer", "everything"),
    ("GET /v1/events", "read", "-"),
];

const ROLES: [&str; 4] = ["viewer", "operator", "approver", "admin"];

/// How far a token's roles reach. The plan is `checkout`, with clusters in DE, US and IE; the ring is
/// `us-east`, and the place is US.
const SCOPES: [&str; 7] = ["all", "plan", "other plan", "US", "EU", "JP", "plan in US"];

fn scoped(role: &str, scope: &str) -> NewToken {
    let new = NewToken { roles: vec![role.into()], ..NewToken::default() };
    match scope {
        "all" => new,
        "plan" => NewToken { plans: vec!["checkout".into()], ..new },
        "other plan" => NewToken { plans: vec!["search".into()], ..new },
        "plan in US" => {
            NewToken { plans: vec!["checkout".into()], within: vec!["US".into()], ..new }
        }
        place => NewToken { within: vec![place.into()], ..new },
    }
}

/// Who may, said without the code that says it.
fn allowed(asks: &str, reach: &str, role: &str, scope: &str) -> bool {
    let has = match asks {
        "read" => true,
        "stop" | "go" => matches!(role, "operator" | "admin"),
        "agree" => role == "approver",
        "withdraw" => role != "viewer",
        "administer" => role == "admin",
        other => panic!("{other}"),
    };
    // A foot in it is enough to look, to stop, and to take back what was agreed to.
    let foot = matches!(asks, "read" | "stop" | "withdraw");
    let reached = match (reach, scope) {
        ("-", _) | (_, "all") => true,
        ("everything", _) => false,
        ("place", scope) => scope == "US",
        ("plan" | "ring", "plan") => true,
        ("plan" | "ring", "other plan" | "JP") => false,
        ("ring", scope) => matches!(scope, "US" | "plan in US"),
        ("plan", _) => foot,
        other => panic!("{other:?}"),
    };
    has && reached
}

#[tokio::test]
async fn every_route_asks_for_its_role_and_for_its_scope() {
    let mut server = Server::start().await;
    let document = json(server.get("nobody", "/openapi.json").await).await;
    assert_eq!(document["openapi"], "3.1.0");
    let table: BTreeMap<_, _> =
        ROUTES.iter().map(|(route, asks, reach)| (*route, (*asks, *reach))).collect();
    server.submit_by("admin", "2.14.0").await;
    let mut callers = Vec::new();
    for (n, (role, scope)) in
        ROLES.iter().flat_map(|role| SCOPES.map(|scope| (*role, scope))).enumerate()
    {
        // Names live as long as the test.
        let name: &'static str = format!("caller-{n}").leak();
        server.token(name, scoped(role, scope));
        callers.push((name, role, scope));
    }
    let mut seen = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|key| key.len() <= 6) {
            let route = format!("{} {path}", method.to_uppercase());
            let (asks, reach) =
                *table.get(route.as_str()).unwrap_or_else(|| panic!("{route} is new"));
            seen += 1;
            let nobody = knock(&server, "nobody", method, path).await;
            match asks {
                "open" => assert_eq!(nobody, 200, "{route} by nobody"),
                "signed" => assert_eq!(nobody, 404, "{route}: no webhooks are taken here"),
                _ => assert_eq!(nobody, 401, "{route} by nobody"),
            }
            if matches!(asks, "open" | "signed") {
                continue;
            }
            for (name, role, scope) in &callers {
                let status = knock(&server, name, method, path).await;
                let told = format!("{route} by {role} of {scope}: {status}");
                assert!(status < 500 && ![400, 401, 415, 422, 429].contains(&status), "{told}");
                assert_eq!(status != 403, allowed(asks, reach, role, scope), "{told}");
            }
        }
    }
    assert_eq!(seen, table.len(), "a route of the table is gone");
}

/// Asks so that nobody is turned away for another reason than who they are.
async fn knock(server: &Server, who: &str, method: &str, path: &str) -> u16 {
    let path = path
        .replace("{plan}", "checkout")
        .replace("{ring}", "us-east")
        .replace("{version}", "2.14.0")
        .replace("{id}", "none-0");
    let body = match path.as_str() {
        "/v1/pause" | "/v1/resume" => json!({"jurisdiction": "US"}),
        "/v1/freezes" => json!({"scope": {}, "reason": "a test"}),
        "/v1/plans/checkout/releases" => {
            json!({"version": "2.14.0", "artifact": {"image": artifact("2.14.0")}})
        }
        path if path.ends_with("/waivers") => {
            json!({"rule": "R-1", "for": "1h", "reason": "a test"})
        }
        path if path.ends_with("/write-off") || path.ends_with("/rollback") => {
            json!({"reason": "a test"})
        }
        path if path.ends_with("/advance") => json!({"reason": "a test"}),
        _ => json!({}),
    };
    let method: Method = method.to_uppercase().parse().unwrap();
    let reads = method == Method::GET;
    let call = server.call(who, method, &path);
    let call = if reads { call } else { call.json(&body) };
    call.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn what_the_document_refers_to_is_in_it() {
    let server = Server::start().await;
    let document = json(server.get("nobody", "/openapi.json").await).await;
    let (mut values, mut seen) = (vec![&document], 0);
    while let Some(value) = values.pop() {
        values.extend(value.as_object().into_iter().flat_map(|object| object.values()));
        values.extend(value.as_array().into_iter().flatten());
        if let Some(name) = value.get("$ref").and_then(Value::as_str) {
            seen += 1;
            assert!(document.pointer(name.trim_start_matches('#')).is_some(), "{name}");
        }
    }
    assert!(seen > 100, "{seen}");
}
