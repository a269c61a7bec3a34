//! PagerDuty's Events API, version 2: an alert where something failed, resolved where it is back; a change
//! event where a release advances and where messages were left out; nothing else.

use crate::ids::hex;
use reqwest::Url;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Told, short};
use crate::{act::metrics::question::Outgoing, model::notify::Topic};

/// The longest summary.
const SUMMARY: usize = 1_024;
/// The longest key that alerts are told apart by.
const KEY: usize = 255;

/// The request; nothing where PagerDuty has no use for it. The routing key is the settings'.
pub(super) fn request(told: &Told, routing_key: &str, base: &Url) -> Option<Outgoing> {
    let event = |action: &str| {
        json!({
            "routing_key": routing_key,
            "event_action": action,
            "dedup_key": dedup_key(told),
        })
    };
    let (path, body) = match told.topic {
        Topic::Failed | Topic::Stuck => {
            let mut body = event("trigger");
            body["payload"] = payload(told);
            body["payload"]["severity"] = "critical".into();
            body["payload"]["component"] = json!(told.plan);
            body["payload"]["group"] = json!(told.ring);
            body["payload"]["class"] = told.topic.name().into();
            body["client"] = "ringward".into();
            body["links"] = links(told);
            ("v2/enqueue", body)
        }
        Topic::RolledBack | Topic::Retried => ("v2/enqueue", event("resolve")),
        Topic::Started | Topic::Passed | Topic::Succeeded | Topic::Skipped => {
            let body = json!({
                "routing_key": routing_key,
                "payload": payload(told),
                "links": links(told),
            });
            ("v2/change/enqueue", body)
        }
        Topic::Submitted
        | Topic::Deployed
        | Topic::RollingBack
        | Topic::Restored
        | Topic::Held
        | Topic::ApprovalNeeded
        | Topic::Approved
        | Topic::Rejected
        | Topic::Aborted
        | Topic::Superseded
        | Topic::Paused
        | Topic::Resumed
        | Topic::Frozen
        | Topic::Lifted
        | Topic::PlanInError
        | Topic::SourceRefused
        | Topic::Refused => return None,
    };
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    Some(Outgoing::post(url, "application/json", body.to_string()))
}

fn payload(told: &Told) -> Value {
    let details: serde_json::Map<_, _> =
        told.facts().into_iter().map(|(name, value)| (name.to_lowercase(), value.into())).collect();
    json!({
        "summary": short(&format!("{}: {}", told.title(), told.said), SUMMARY),
        "source": "ringward",
        "timestamp": told.at.to_string(),
        "custom_details": details,
    })
}

fn links(told: &Told) -> Value {
    told.link.iter().map(|link| json!({"href": link, "text": "Look"})).collect()
}

/// One alert for a release on a ring, whatever becomes of it.
fn dedup_key(told: &Told) -> String {
    let release = told.release.as_ref().map(ToString::to_string).unwrap_or_default();
    let ring = told.ring.as_ref().map(ToString::to_string).unwrap_or_default();
    let key = format!("ringward/{release}/{ring}");
    match key.len() > KEY {
        true => hex(&Sha256::digest(key)),
        false => key,
    }
}
