//! Waivers over the wire.

use super::*;

/// That the clusters of the EU lie outside it: no release could be admitted.
pub(super) fn rule(id: &str, enforcement: Enforcement) -> Rule {
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
