//! What each kind of listener is sent, word for word.

use serde_json::{Value, json};

use super::*;

fn url() -> Url {
    Url::parse("https://listener.example/hook?x=1").unwrap()
}

fn told(topic: Topic) -> Told {
    Told {
        id: "msg_42_1_9f2c4e00".into(),
        topic,
        at: "2026-10-30T08:00:00Z".parse().unwrap(),
        seq: 42,
        plan: Some("checkout".into()),
        release: Some(ReleaseId::new("checkout", "2.14.0")),
        artifact: Some(Artifact(format!(
            "registry.example/shop/checkout@sha256:{}",
            "9".repeat(64)
        ))),
        ring: Some("eu-west".into()),
        attempt: 1,
        cluster: None,
        replaced: false,
        by: None,
        said: "checkout@2.14.0 failed on eu-west: <!here> see [this](http://evil) & *that*".into(),
        link: Some("https://ringward.example/releases/checkout/2.14.0".into()),
    }
}

fn body(outgoing: &Outgoing) -> Value {
    serde_json::from_str(outgoing.body.as_deref().unwrap()).unwrap()
}

#[test]
fn a_webhook_gets_json_under_a_stable_id() {
    let sent = webhook::request(&told(Topic::Failed), url());
    assert_eq!(sent.message.as_deref(), Some("msg_42_1_9f2c4e00"));
    assert_eq!(sent.url, url());
    let wanted = json!({
        "type": "ringward.failed",
        "timestamp": "2026-10-30T08:00:00Z",
        "data": {
            "entry": 42,
            "plan": "checkout",
            "release": "checkout@2.14.0",
            "artifact": format!("registry.example/shop/checkout@sha256:{}", "9".repeat(64)),
            "ring": "eu-west",
            "attempt": 1,
            "cluster": null,
            "by": null,
            "message": "checkout@2.14.0 failed on eu-west: <!here> see [this](http://evil) & *that*",
            "link": "https://ringward.example/releases/checkout/2.14.0",
        },
    });
    assert_eq!(body(&sent), wanted);
    // A hold is no entry of the journal.
    let held = Told { seq: 0, ..told(Topic::Held) };
    assert_eq!(body(&webhook::request(&held, url()))["data"]["entry"], Value::Null);
}

#[test]
fn slack_gets_blocks_and_a_text_that_mentions_nobody() {
    let sent = body(&slack::request(&told(Topic::Failed), url()));
    let plain = |text: &str| json!({"type": "plain_text", "text": text, "emoji": false});
    let said = "checkout@2.14.0 failed on eu-west: <!here> see [this](http://evil) & *that*";
    let wanted = json!({
        "text": "checkout@2.14.0 eu-west: failed\ncheckout@2.14.0 failed on eu-west: &lt;!here&gt; see \
                 [this](http://evil) &amp; *that*",
        "blocks": [
            {"type": "header", "text": plain("checkout@2.14.0 eu-west: failed")},
            {"type": "section", "text": plain(said)},
            {"type": "context", "elements": [
                plain("Release: checkout@2.14.0  Ring: eu-west  Entry: 42")]},
            {"type": "actions", "elements": [{"type": "button", "text": plain("Look"),
                "url": "https://ringward.example/releases/checkout/2.14.0"}]},
        ],
    });
    assert_eq!(sent, wanted);
    let long = Told { said: "x".repeat(5_000), ..told(Topic::Failed) };
    let text = body(&slack::request(&long, url()))["blocks"][1]["text"]["text"].clone();
    assert_eq!(text.as_str().unwrap().chars().count(), LONGEST);
}

#[test]
fn teams_gets_a_card_whose_text_links_nowhere() {
    let sent = body(&teams::request(&told(Topic::Failed), url()));
    let card = &sent["attachments"][0];
    assert_eq!((&sent["type"], &card["contentUrl"]), (&json!("message"), &Value::Null));
    assert_eq!(card["contentType"], "application/vnd.microsoft.card.adaptive");
    let wanted = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {"type": "TextBlock", "size": "Medium", "weight": "Bolder", "wrap": true,
                "text": "checkout@2.14.0 eu-west: failed"},
            {"type": "TextBlock", "wrap": true,
                "text": "checkout@2.14.0 failed on eu-west: \\<!here\\> see \\[this\\](http://evil) & \\*that\\*"},
            {"type": "FactSet", "facts": [
                {"title": "Release", "value": "checkout@2.14.0"},
                {"title": "Ring", "value": "eu-west"},
                {"title": "Entry", "value": "42"},
            ]},
        ],
        "actions": [{"type": "Action.OpenUrl", "title": "Look",
            "url": "https://ringward.example/releases/checkout/2.14.0"}],
    });
    assert_eq!(card["content"], wanted);
}

#[test]
fn pagerduty_gets_an_alert_on_failure_and_a_change_on_advance() {
    let base = Url::parse(PAGERDUTY).unwrap();
    let ask = |topic| pagerduty::request(&told(topic), "key", &base);
    let failed = ask(Topic::Failed).unwrap();
    assert_eq!(failed.url.as_str(), "https://events.pagerduty.com/v2/enqueue");
    let said = "checkout@2.14.0 eu-west: failed: checkout@2.14.0 failed on eu-west: <!here> see \
                [this](http://evil) & *that*";
    let details = json!({"release": "checkout@2.14.0", "ring": "eu-west", "entry": "42"});
    let links =
        json!([{"href": "https://ringward.example/releases/checkout/2.14.0", "text": "Look"}]);
    let wanted = json!({
        "routing_key": "key",
        "event_action": "trigger",
        "dedup_key": "ringward/checkout@2.14.0/eu-west",
        "client": "ringward",
        "links": links,
        "payload": {
            "summary": said,
            "source": "ringward",
            "timestamp": "2026-10-30T08:00:00Z",
            "severity": "critical",
            "component": "checkout",
            "group": "eu-west",
            "class": "failed",
            "custom_details": details,
        },
    });
    assert_eq!(body(&failed), wanted);
    let resolved = json!({
        "routing_key": "key",
        "event_action": "resolve",
        "dedup_key": "ringward/checkout@2.14.0/eu-west",
    });
    assert_eq!(body(&ask(Topic::RolledBack).unwrap()), resolved);
    let change = ask(Topic::Passed).unwrap();
    assert_eq!(change.url.as_str(), "https://events.pagerduty.com/v2/change/enqueue");
    assert_eq!(body(&change)["payload"]["custom_details"], details);
    assert!(body(&change).get("event_action").is_none());
    let skipped = ask(Topic::Skipped).unwrap();
    assert_eq!(skipped.url.as_str(), "https://events.pagerduty.com/v2/change/enqueue");
    for quiet in [Topic::Held, Topic::ApprovalNeeded, Topic::Paused, Topic::Submitted] {
        assert!(ask(quiet).is_none(), "{quiet}");
    }
}

/// Holds an event against the types that CDEvents publishes, which are generated from the schemas of the
/// specification that the event names: nothing is missing, nothing is too much, and nothing is lost on the way.
fn as_published(event: &Value) {
    let read: cdevents_sdk::CDEvent =
        serde_json::from_value(event.clone()).unwrap_or_else(|error| panic!("{error}: {event:#}"));
    assert_eq!(read.version(), "0.5.1");
    assert_eq!(serde_json::to_value(&read).unwrap(), *event);
}

/// What a listener is sent, without the envelope's parts that are the same in all of them.
fn cdevent(told: &Told) -> Vec<(String, Value)> {
    let sent = cdevents::requests(told, &url());
    let one = |outgoing: &Outgoing| {
        assert!(
            outgoing.headers.contains(&("content-type", "application/cloudevents+json".into()))
        );
        let event = body(outgoing);
        let context = &event["data"]["context"];
        assert_eq!(
            (&event["specversion"], &context["specversion"]),
            (&json!("1.0"), &json!("0.5.1"))
        );
        for same in ["id", "source", "type"] {
            assert_eq!(event[same], context[same]);
        }
        assert_eq!(event["time"], context["timestamp"]);
        assert_eq!(event["subject"], event["data"]["subject"]["id"]);
        as_published(&event["data"]);
        (event["type"].as_str().unwrap().to_owned(), event["data"]["subject"].clone())
    };
    sent.iter().map(one).collect()
}

#[test]
fn a_release_is_a_pipeline_run_and_a_ring_a_task_run_of_it() {
    let uri = "https://ringward.example/releases/checkout/2.14.0";
    let run = json!({"id": "checkout@2.14.0", "source": "/ringward"});
    let subject =
        |id: &str, content: Value| json!({"id": id, "source": "/ringward", "content": content});
    let release = "checkout@2.14.0";
    let task = "checkout@2.14.0/eu-west/1";
    let said = told(Topic::Failed).said;
    let purl = format!(
        "pkg:oci/checkout@sha256%3A{}?repository_url=registry.example/shop/checkout",
        "9".repeat(64)
    );
    let place = json!({"id": "eu-west", "source": "/ringward"});
    let cases = [
        (
            Topic::Submitted,
            vec![(
                "dev.cdevents.pipelinerun.started.0.3.0",
                subject(release, json!({"pipelineName": "checkout", "uri": uri})),
            )],
        ),
        (
            Topic::Succeeded,
            vec![(
                "dev.cdevents.pipelinerun.finished.0.3.0",
                subject(
                    release,
                    json!({"pipelineName": "checkout", "uri": uri, "outcome": "success"}),
                ),
            )],
        ),
        (
            Topic::Started,
            vec![(
                "dev.cdevents.taskrun.started.0.3.0",
                subject(task, json!({"taskName": "eu-west", "uri": uri, "pipelineRun": run})),
            )],
        ),
        (
            Topic::Failed,
            vec![
                (
                    "dev.cdevents.taskrun.finished.0.3.0",
                    subject(
                        task,
                        json!({"taskName": "eu-west", "uri": uri, "pipelineRun": run,
                    "outcome": "failure", "errors": said}),
                    ),
                ),
                (
                    "dev.cdevents.incident.detected.0.3.0",
                    subject(
                        "checkout@2.14.0/eu-west/1/failed",
                        json!({"description": said,
                    "environment": place, "service": {"id": "checkout", "source": "/ringward"},
                    "artifactId": purl}),
                    ),
                ),
            ],
        ),
        (Topic::Held, vec![]),
    ];
    for (topic, wanted) in cases {
        let wanted: Vec<_> = wanted.into_iter().map(|(kind, s)| (kind.to_owned(), s)).collect();
        assert_eq!(cdevent(&told(topic)), wanted, "{topic}");
    }
    let ids: Vec<_> = cdevents::requests(&told(Topic::Failed), &url())
        .iter()
        .map(|o| body(o)["id"].clone())
        .collect();
    assert_eq!(ids, ["msg_42_1_9f2c4e00-1", "msg_42_1_9f2c4e00-2"]);

    let on = |topic, replaced| Told { cluster: Some("eu-1".into()), replaced, ..told(topic) };
    let service = subject(
        "checkout",
        json!({"environment": {"id": "eu-1", "source": "/ringward"}, "artifactId": purl}),
    );
    for (told, kind) in [
        (on(Topic::Deployed, false), "dev.cdevents.service.deployed.0.3.0"),
        (on(Topic::Deployed, true), "dev.cdevents.service.upgraded.0.3.0"),
        (on(Topic::Restored, true), "dev.cdevents.service.rolledback.0.3.0"),
    ] {
        assert_eq!(cdevent(&told), [(kind.to_owned(), service.clone())]);
    }
    // Two clusters of a ring that are stuck are two incidents.
    let stuck = |cluster: &str| {
        let told = Told { cluster: Some(cluster.into()), ..told(Topic::Stuck) };
        cdevent(&told)[0].1["id"].clone()
    };
    assert_eq!(stuck("eu-1"), "checkout@2.14.0/eu-west/1/eu-1/stuck");
    assert_eq!(stuck("eu-2"), "checkout@2.14.0/eu-west/1/eu-2/stuck");
    // Whatever is told, and whatever of it is known, it is one that CDEvents knows or none.
    for topic in Topic::ALL {
        for ring in [None, Some("eu-west".into())] {
            cdevent(&Told { ring, artifact: None, link: None, ..on(*topic, true) });
        }
    }
    // Without an address of the server there is a URI all the same.
    let nowhere = Told { link: None, ..told(Topic::Submitted) };
    assert_eq!(cdevent(&nowhere)[0].1["content"]["uri"], "urn:ringward:checkout@2.14.0");
}

#[test]
fn what_an_answer_says_about_a_message() {
    let later = |status| matches!(judged(status, None), Sent::Later(..));
    assert!([200, 202, 204].iter().all(|status| judged(*status, None) == Sent::Done));
    assert!([301, 401, 403, 404, 408, 429, 500, 503].iter().all(|status| later(*status)));
    assert!([400, 413, 415, 422].iter().all(|s| matches!(judged(*s, None), Sent::Refused(_))));
    assert_eq!(judged(410, None), Sent::Gone);
    let after = Some(Span::seconds(7));
    let Sent::Later(waits, why) = judged(429, after) else { panic!("it may take it later") };
    assert_eq!((waits, why.as_str()), (after, "HTTP 429: it is told too often"));
    let Sent::Later(None, why) = judged(307, None) else { panic!("it may be put right") };
    assert!(why.contains("redirects are not followed"), "{why}");
}

#[test]
fn a_channel_without_what_it_takes_is_refused_at_the_start() {
    let settings = |kind| ChannelSettings {
        kind,
        url: None,
        url_file: None,
        secret_file: None,
        bearer_token_file: None,
        routing_key_file: None,
        ca_file: None,
    };
    for (kind, lacks) in [
        (ChannelKind::Webhook, "url and secretFile"),
        (ChannelKind::Slack, "urlFile"),
        (ChannelKind::Teams, "urlFile"),
        (ChannelKind::Pagerduty, "routingKeyFile"),
        (ChannelKind::Cdevents, "url"),
    ] {
        let error = Courier::new([("ops".into(), settings(kind))].into()).unwrap_err().to_string();
        assert!(error.contains("`ops`") && error.contains(lacks), "{error}");
    }
    let with =
        ChannelSettings { url: Some("http://u:p@x".into()), ..settings(ChannelKind::Cdevents) };
    let error = Courier::new([("ops".into(), with)].into()).unwrap_err().to_string();
    assert!(error.contains("without credentials"), "{error}");
    // What nothing would read is not taken in silence.
    let with = ChannelSettings {
        url_file: Some("url".into()),
        secret_file: Some("secret".into()),
        ..settings(ChannelKind::Slack)
    };
    let error = Courier::new([("ops".into(), with)].into()).unwrap_err().to_string();
    assert!(error.contains("slack has no use for secretFile"), "{error}");
}

#[tokio::test]
async fn a_channel_says_what_it_lacks_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    let settings = |kind, url: Option<&str>| ChannelSettings {
        kind,
        url: url.map(str::to_owned),
        url_file: None,
        secret_file: None,
        bearer_token_file: None,
        routing_key_file: None,
        ca_file: None,
    };
    let short = file("short", "whsec_c2hvcnQ=");
    let short =
        ChannelSettings { secret_file: short, ..settings(ChannelKind::Webhook, Some("http://x/")) };
    let linked = file("url", "http://169.254.169.254/latest");
    let linked = ChannelSettings { url_file: linked, ..settings(ChannelKind::Slack, None) };
    let absent = Some(dir.path().join("absent"));
    let absent =
        ChannelSettings { routing_key_file: absent, ..settings(ChannelKind::Pagerduty, None) };
    for (settings, why) in [
        (short, "holds no secret of a webhook"),
        (linked, "link-local"),
        (absent, "absent cannot be read"),
    ] {
        let courier = Courier::new([("ops".into(), settings)].into()).unwrap();
        let lacks = courier.ready("ops").await.unwrap_err();
        assert!(lacks.contains(why), "{lacks}");
    }
    let good = settings(ChannelKind::Cdevents, Some("http://x/"));
    assert_eq!(Courier::new([("ops".into(), good)].into()).unwrap().ready("ops").await, Ok(()));
}

#[tokio::test]
async fn another_secret_is_another_channel_and_one_that_cannot_be_read_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    let bus = ChannelSettings {
        kind: ChannelKind::Cdevents,
        url: Some("http://127.0.0.1:9/".into()),
        url_file: None,
        secret_file: None,
        bearer_token_file: Some(token.clone()),
        routing_key_file: None,
        ca_file: None,
    };
    let courier = Courier::new([("bus".into(), bus)].into()).unwrap();
    assert_eq!(courier.fingerprint("bus").await, None);
    std::fs::write(&token, "one").unwrap();
    let one = courier.fingerprint("bus").await.unwrap();
    assert_eq!(courier.fingerprint("bus").await, Some(one.clone()));
    std::fs::write(&token, "two").unwrap();
    assert_ne!(courier.fingerprint("bus").await, Some(one));
    // Nobody is asked where there is no event for what is told.
    let now = Timestamp::UNIX_EPOCH;
    assert_eq!(courier.send("bus", &told(Topic::Held), now).await, Sent::Nothing);
}
