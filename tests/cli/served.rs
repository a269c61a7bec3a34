//! What a server is asked, and what is made of its answers.

use std::{fs, net::TcpListener};

use serde_json::{Value, json};

use super::{fake::*, *};

#[test]
fn a_server_that_is_not_there_is_told_with_a_way_out() {
    let fake = Fake::always(200, json!({}));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let free = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let failed = fake.run(&["get", "plans", "--server", &free], 1);
    assert_eq!(failed.out, "");
    has(&failed.err, &["error: ", &free, "ringward serve", "--server"]);
}

#[test]
fn a_missing_token_is_told_with_where_it_was_looked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = ringward(&["get", "plans"]);
    command.env("XDG_DATA_HOME", dir.path());
    let failed = ended(command.output().expect("it runs"));
    assert_eq!(failed.code, 1);
    let place = dir.path().join("ringward/admin.token");
    has(
        &failed.err,
        &["there is no token", &place.display().to_string(), "--token", "token create"],
    );
    has(
        &run(&["get", "plans", "--token", "/nowhere"], 1).err,
        &["/nowhere", "RINGWARD_TOKEN_FILE"],
    );
}

#[test]
fn the_token_that_a_server_left_on_this_machine_is_found() {
    let fake = Fake::always(200, json!({"items": []}));
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("ringward")).expect("made");
    fs::write(dir.path().join("ringward/admin.token"), "rw_left\n").expect("written");
    let mut command = ringward(&["get", "plans", "--server", &fake.url]);
    let found = ended(command.env("XDG_DATA_HOME", dir.path()).output().expect("it runs"));
    assert_eq!((found.code, found.out.as_str()), (0, ""), "{}", found.err);
    assert_eq!(fake.seen()[0].header("authorization"), Some("Bearer rw_left"));
}

#[test]
fn refusals_are_words_and_codes() {
    for (status, kind, code) in [
        (409, "duplicate-release", 6),
        (409, "tombstoned", 6),
        (409, "already-terminal", 6),
        (412, "stale-state", 6),
        (422, "idempotency-conflict", 6),
        (422, "residency-violation", 7),
        (422, "hard-rule", 7),
        (404, "unknown-waiver", 1),
        (403, "self-approval", 7),
        (403, "not-authorised", 1),
        (404, "unknown-release", 1),
        (409, "plan-in-error", 1),
        (409, "nothing-to-do", 1),
        (401, "unauthenticated", 1),
        (422, "invalid-body", 1),
    ] {
        let fake = Fake::always(status, problem(status, kind, "because it is so"));
        let failed = fake.run(&["resume", "checkout"], code);
        has(&failed.err, &["error: because it is so\n"]);
        assert_eq!(failed.out, "");
    }
    let fake = Fake::always(200, json!("hello"));
    has(&fake.run(&["get", "plans"], 1).err, &["cannot be understood", "help: "]);
    let fake = Fake::always(502, json!("hello"));
    has(&fake.run(&["get", "plans"], 1).err, &["502", "hello"]);
}

#[test]
fn an_action_carries_a_token_a_key_and_a_reason_to_its_own_route() {
    let fake = Fake::always(200, json!({"inFlight": ["checkout@1/beta/c/1/deploy"]}));
    let paused = fake.run(&["pause", "checkout", "--ring", "beta", "--reason", "look"], 0);
    assert_eq!(paused.out, "checkout on beta: paused\n");
    has(&paused.err, &["on their way already", "checkout@1/beta/c/1/deploy"]);
    for arguments in [
        &["resume", "checkout@1"][..],
        &["retry", "checkout@1", "--ring", "beta"],
        &["rollback", "checkout@1"],
        &["advance", "checkout@1", "--ring", "beta", "--reason", "x"],
        &["reject", "checkout@1", "--ring", "beta"],
        &["abort", "checkout@1", "--hold"],
        &["freeze", "lift", "f-1"],
        &["pause", "--everything", "--reason", "stop"],
        &["resume", "--jurisdiction", "EU"],
    ] {
        fake.run(arguments, 0);
    }
    let seen = fake.seen();
    let routes: Vec<String> = seen.iter().map(|s| format!("{} {}", s.method, s.path)).collect();
    assert_eq!(
        routes,
        [
            "POST /v1/plans/checkout/rings/beta/pause",
            "POST /v1/plans/checkout/releases/1/resume",
            "POST /v1/plans/checkout/releases/1/rings/beta/retry",
            "POST /v1/plans/checkout/releases/1/rollback",
            "POST /v1/plans/checkout/releases/1/rings/beta/advance",
            "POST /v1/plans/checkout/releases/1/rings/beta/reject",
            "POST /v1/plans/checkout/releases/1/abort",
            "DELETE /v1/freezes/f-1",
            "POST /v1/pause",
            "POST /v1/resume",
        ]
    );
    assert_eq!(seen[8].body, r#"{"everything":true,"reason":"stop"}"#);
    assert_eq!(seen[9].body, r#"{"jurisdiction":"EU"}"#);
    assert_eq!(seen[0].header("authorization"), Some("Bearer rw_secret"));
    assert_eq!(seen[0].body, r#"{"reason":"look"}"#);
    assert_eq!(seen[1].body, "{}");
    assert_eq!(seen[6].body, r#"{"hold":true}"#);
    let mut keys: Vec<&str> = seen.iter().filter_map(|s| s.header("idempotency-key")).collect();
    assert_eq!(keys.len(), seen.len());
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), seen.len(), "each action has a key of its own");
}

#[test]
fn an_answer_that_was_lost_is_asked_for_again_under_the_same_key() {
    let fake = Fake::new(|number, _| match number {
        0 => Say::Nothing,
        _ => Say::This(200, "\"1.a\"", json!({"inFlight": []})),
    });
    fake.run(&["pause", "checkout"], 0);
    let seen = fake.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].header("idempotency-key"), seen[1].header("idempotency-key"));
    assert!(seen[0].header("idempotency-key").is_some());
}

#[test]
fn a_release_is_created_as_it_was_asked_for() {
    let fake = Fake::always(201, json!({"release": "checkout@2.14.0", "inFlight": []}));
    let image = "registry/checkout@sha256:9f2c";
    let arguments = [
        "release",
        "create",
        "checkout",
        "2.14.0",
        "--image",
        image,
        "--irreversible",
        "--requires",
        "2.13.0",
    ];
    assert_eq!(fake.run(&arguments, 0).out, "checkout@2.14.0: created\n");
    let seen = &fake.seen()[0];
    assert_eq!(seen.path, "/v1/plans/checkout/releases");
    let body: Value = serde_json::from_str(&seen.body).expect("JSON");
    let expected = json!({"version": "2.14.0", "artifact": {"image": image}, "lane": "normal",
        "irreversible": true, "requires": "2.13.0"});
    assert_eq!(body, expected);
}

#[test]
fn documents_are_the_servers_own() {
    let mut view = going();
    view["somethingNewer"] = json!({"b": 1, "a": [1.5, null]});
    let fake = Fake::always(200, view.clone());
    let json = fake.run(&["status", "checkout@2.14.0", "-o", "json"], 0).out;
    assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON"), view);
    let yaml = fake.run(&["release", "show", "checkout@2.14.0", "-o", "yaml"], 0).out;
    assert_eq!(serde_yaml::from_str::<Value>(&yaml).expect("YAML"), view);
    let name = fake.run(&["status", "checkout@2.14.0", "-o", "name"], 0).out;
    assert_eq!(name, "checkout@2.14.0\n");
}

#[test]
fn a_tree_goes_into_a_pipe_without_colour() {
    let fake = Fake::always(200, going());
    let shown = fake.run(&["status", "checkout@2.14.0"], 0).out;
    let expected = "\
checkout@2.14.0   sha256:9f2c4e…   policy 4e1b7a0   by dana   12 min

RING            STATUS       SOAK          GATES   WHERE   INFO
beta            ◌ Soaking    -             -       DE
";
    assert_eq!(shown, expected);
    let mut command = ringward(&["status", "checkout@2.14.0"]);
    command.env("RINGWARD_SERVER", &fake.url).env("RINGWARD_TOKEN_FILE", &fake.token);
    let ascii = ended(command.env("LC_ALL", "C").output().expect("it runs")).out;
    assert!(ascii.is_ascii() && ascii.contains("~ Soaking"), "{ascii}");
}

#[test]
fn measurements_are_the_latest_and_in_their_order() {
    let fake = Fake::new(|_, seen| {
        let item = |n: u64, verdict: &str| {
            json!({"seq": n, "key": format!("checkout@1/beta/c/1/latency/{n}"), "gate": "latency",
                "cluster": "c", "at": "2026-11-02T08:00:00Z", "askedAt": null,
                "asked": [{"role": "value", "source": "prometheus", "type": "prometheus", "query": "up == 1"}],
                "verdict": verdict, "value": 0.25, "detail": format!("number {n}"),
                "figures": {"logE": "-inf"}, "withheld": false})
        };
        let page = match seen.path.contains("pageToken=9") {
            false => json!({"items": [item(9, "Fail")], "nextPageToken": "9"}),
            true => json!({"items": [item(7, "Pass")]}),
        };
        Say::This(200, "\"1\"", page)
    });
    let shown = fake
        .run(&["get", "measurements", "checkout@1", "--ring", "beta", "--gate", "latency"], 0)
        .out;
    let (first, second) = (shown.find("number 7"), shown.find("number 9"));
    assert!(first.is_some() && first < second, "{shown}");
    let path = fake.seen()[0].path.clone();
    has(
        &path,
        &["/v1/plans/checkout/releases/1/rings/beta/measurements?", "order=newest", "gate=latency"],
    );
    let wide =
        fake.run(&["get", "measurements", "checkout@1", "--ring", "beta", "-o", "wide"], 0).out;
    has(&wide, &["value: up == 1"]);
    has(&fake.run(&["get", "measurements", "checkout@1"], 2).err, &["of a release on a ring"]);
    has(&fake.run(&["get", "plans", "--ring", "beta"], 2).err, &["narrow measurements only"]);
}

#[test]
fn lists_are_read_to_their_last_page() {
    let fake = Fake::new(|_, seen| {
        let item = |version: &str| {
            json!({"release": format!("checkout@{version}"), "plan": "checkout", "version": version,
                "artifact": "r@x", "author": "dana", "lane": "normal", "phase": "Succeeded",
                "settled": true, "submitted": "2026-11-02T08:00:00Z", "rings": []})
        };
        let page = match seen.path.contains("pageToken=more") {
            false => json!({"items": [item("2")], "nextPageToken": "more"}),
            true => json!({"items": [item("1")]}),
        };
        Say::This(200, "\"1\"", page)
    });
    let names = fake.run(&["release", "list", "--plan", "checkout", "-o", "name"], 0).out;
    assert_eq!(names, "checkout@2\ncheckout@1\n");
    assert!(fake.seen().iter().all(|seen| seen.path.contains("plan=checkout")));
}

#[test]
fn a_plan_stands_for_its_newest_release_that_is_not_over() {
    let summary = |version: &str, settled: bool| {
        json!({"release": format!("checkout@{version}"), "plan": "checkout", "version": version,
            "artifact": "r@x", "author": "dana", "lane": "normal", "phase": "InProgress",
            "settled": settled, "submitted": "2026-11-02T08:00:00Z", "rings": []})
    };
    let plan = move |releases: Value| {
        json!({"name": "checkout", "policy": null, "commit": null, "target": null, "dataClasses": [],
            "onNewer": null, "maxSkew": null, "rings": [], "residency": [], "problems": [],
            "withdrawn": false, "pauses": [], "releases": releases, "revision": 1})
    };
    for (releases, meant) in [
        (json!([summary("3", true), summary("2", false), summary("1", false)]), "2"),
        (json!([summary("3", true), summary("2", true)]), "3"),
    ] {
        let fake = Fake::new(move |number, _| match number {
            0 => Say::This(200, "\"1\"", plan(releases.clone())),
            _ => Say::This(200, "\"1\"", going()),
        });
        fake.run(&["status", "checkout"], 0);
        assert_eq!(fake.seen()[1].path, format!("/v1/plans/checkout/releases/{meant}"));
    }
    let fake = Fake::always(200, plan(json!([])));
    has(
        &fake.run(&["status", "checkout"], 1).err,
        &["has no release yet", "release create checkout"],
    );
}

#[test]
fn waiting_ends_with_what_became_of_it() {
    let hold = json!([{"kind": "approval", "message": "approval 0 of 1", "endedBy": "somebody",
        "ender": "person", "ends": null}]);
    for (view, goal, code, words) in [
        (release("Succeeded", true, &[("beta", "Passed", json!([]))]), "succeeded", 0, ""),
        (going(), "ring=beta:soaking", 0, ""),
        (release("Failed", true, &[("beta", "Failed", json!([]))]), "succeeded", 3, "beta Failed"),
        (
            release("RolledBack", true, &[("beta", "RolledBack", json!([]))]),
            "ring=beta",
            3,
            "RolledBack",
        ),
        (release("Aborted", true, &[("beta", "Aborted", json!([]))]), "succeeded", 3, "is Aborted"),
        (
            release("InProgress", false, &[("beta", "Held", hold)]),
            "succeeded",
            4,
            "approval 0 of 1",
        ),
        (going(), "succeeded", 5, "still moves"),
        (
            release("Superseded", true, &[("beta", "Superseded", json!([]))]),
            "succeeded",
            6,
            "Superseded",
        ),
    ] {
        let fake = Fake::always(200, view);
        let waited = fake.run(&["wait", "checkout@2.14.0", "--for", goal, "--timeout", "2s"], code);
        has(&waited.err, &[words]);
        assert_eq!(waited.out.is_empty(), code != 0, "{}", waited.out);
    }
}

#[test]
fn waiting_outlives_a_server_that_starts_again() {
    let fake = Fake::new(|number, seen| match number {
        0 => Say::This(200, "\"1.a\"", going()),
        1..=3 => Say::Nothing,
        4 => {
            assert_eq!(seen.header("if-none-match"), Some("\"1.a\""));
            Say::This(304, "\"1.a\"", Value::Null)
        }
        _ => {
            Say::This(200, "\"2.b\"", release("Succeeded", true, &[("beta", "Passed", json!([]))]))
        }
    });
    let waited =
        fake.run(&["wait", "checkout@2.14.0", "--for", "succeeded", "--timeout", "30s"], 0);
    has(&waited.err, &["cannot be reached; waiting for it"]);
    assert_eq!(waited.out, "checkout@2.14.0: Succeeded\n");
}

#[test]
fn a_watched_tree_in_a_pipe_tells_what_changed_and_ends_with_the_release() {
    let fake = Fake::new(|number, _| match number {
        0 => Say::This(200, "\"1.a\"", going()),
        1 => Say::This(
            200,
            "\"2.b\"",
            release("InProgress", false, &[("beta", "RollingBack", json!([]))]),
        ),
        _ => Say::This(
            200,
            "\"3.c\"",
            release("RolledBack", true, &[("beta", "RolledBack", json!([]))]),
        ),
    });
    let watched = fake.run(&["status", "checkout@2.14.0", "-w"], 3);
    has(
        &watched.out,
        &["◌ Soaking", "\nbeta            ↶ RollingBack", "checkout@2.14.0  ↶ RolledBack\n"],
    );
    assert_eq!(watched.out.matches("RING ").count(), 1, "the tree is drawn once:\n{}", watched.out);
}

#[test]
fn an_approval_binds_to_what_was_seen() {
    // The plan moves on, what is approved does not: asked again with the newer ETag.
    let fake = Fake::new(|number, seen| match (seen.method.as_str(), number) {
        ("GET", 0) => Say::This(200, "\"1.a\"", going()),
        ("GET", _) => Say::This(200, "\"2.b\"", going()),
        (_, 1) => Say::This(412, "\"2.b\"", problem(412, "stale-state", "it has changed")),
        _ => Say::This(200, "\"3.c\"", json!({"inFlight": []})),
    });
    let approved = fake.run(&["approve", "checkout@2.14.0", "--ring", "beta"], 0);
    assert_eq!(approved.out, "checkout@2.14.0 on beta: approved\n");
    has(&approved.err, &["sha256:9f2c4e00", "policy 4e1b7a0c"]);
    let seen = fake.seen();
    assert_eq!(seen[1].header("if-match"), Some("\"1.a\""));
    assert_eq!(seen[3].header("if-match"), Some("\"2.b\""));

    // What is approved has changed: nothing is.
    let fake = Fake::new(|number, seen| {
        let mut view = going();
        if number > 0 {
            view["policy"] = json!("another");
        }
        match seen.method.as_str() {
            "GET" => Say::This(200, "\"1.a\"", view),
            _ => Say::This(412, "\"2.b\"", problem(412, "stale-state", "it has changed")),
        }
    });
    let refused = fake.run(&["approve", "checkout@2.14.0", "--ring", "beta"], 6);
    has(&refused.err, &["it has changed", "not what was shown any more"]);
    assert_eq!(fake.seen().iter().filter(|seen| seen.method == "POST").count(), 1);
    has(
        &fake.run(&["approve", "checkout@2.14.0", "--ring", "gamma"], 1).err,
        &["its rings are beta"],
    );
}

#[test]
fn a_journal_that_does_not_hold_is_an_error() {
    let fake = Fake::always(
        200,
        json!({"entries": 3, "head": "ab", "broken": {"seq": 4, "why": "it is missing"}}),
    );
    let verified = fake.run(&["audit", "verify"], 1);
    has(&verified.err, &["entry 4 does not hold: it is missing"]);
    let fake = Fake::always(200, json!({"entries": 3, "head": "ab", "broken": null}));
    assert_eq!(fake.run(&["audit", "verify"], 0).out, "3 entries hold; the last is ab\n");
}

#[test]
fn a_waiver_is_asked_for_approved_and_revoked_by_its_id() {
    let waiver = json!({
        "id": "w-1", "plan": "checkout", "rule": "GDPR-4", "policy": "gdpr", "release": "2.14.0",
        "ring": "eu-west", "covers": "checkout@2.14.0 on eu-west", "state": "asked", "count": 2,
        "agreed": ["kim"], "until": "2026-11-03T08:00:00Z",
        "said": {"by": "ola", "at": "2026-11-02T08:00:00Z", "reason": "the mirror is down"},
        "endedBecause": null,
    });
    let fake = Fake::new(move |_, seen| match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", _) => Say::This(200, "\"a\"", json!({"items": [waiver.clone()]})),
        (_, "/v1/plans/checkout/waivers") => Say::This(201, "\"a\"", json!({"id": "w-1"})),
        _ => Say::This(200, "\"a\"", json!({"inFlight": []})),
    });
    let asked = [
        "waive",
        "checkout@2.14.0",
        "--ring",
        "eu-west",
        "--rule",
        "GDPR-4",
        "--until",
        "2026-11-03T08:00:00Z",
        "--reason",
        "the mirror is down",
    ];
    let asked = fake.run(&asked, 0);
    has(&asked.out, &["w-1: asked for, until 2026-11-03 08:00Z", "`ringward waive approve w-1`"]);
    let approved = fake.run(&["waive", "approve", "w-1"], 0);
    assert_eq!(approved.out, "w-1: approved\n");
    has(&approved.err, &["GDPR-4", "checkout@2.14.0 on eu-west", "by ola", "the mirror is down"]);
    fake.run(&["waive", "revoke", "w-1", "--reason", "it is back"], 0);
    let listed = fake.run(&["get", "waivers", "-o", "wide"], 0);
    has(&listed.out, &["WAIVER", "GDPR-4", "asked", "1/2", "2026-11-03 08:00Z", "kim", "gdpr"]);
    assert_eq!(fake.run(&["waive", "list"], 0).out.lines().count(), 2);
    has(&fake.run(&["waive", "approve", "w-2"], 1).err, &["there is no waiver w-2", "waive list"]);
    let actions = fake.seen().into_iter().filter(|seen| seen.method == "POST");
    let actions: Vec<_> = actions.map(|seen| format!("{} {}", seen.path, seen.body)).collect();
    assert_eq!(
        actions,
        [
            r#"/v1/plans/checkout/waivers {"reason":"the mirror is down","release":"2.14.0","ring":"eu-west","rule":"GDPR-4","until":"2026-11-03T08:00:00Z"}"#,
            "/v1/plans/checkout/waivers/w-1/approve {}",
            r#"/v1/plans/checkout/waivers/w-1/revoke {"reason":"it is back"}"#,
        ]
    );
}
