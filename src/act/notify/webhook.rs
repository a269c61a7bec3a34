//! JSON for whoever listens, signed by the rules of Standard Webhooks.

use reqwest::Url;
use serde_json::json;

use super::Told;
use crate::act::metrics::question::Outgoing;

/// The request; it is signed on its way out.
pub(super) fn request(told: &Told, url: Url) -> Outgoing {
    let body = json!({
        "type": format!("ringward.{}", told.topic),
        "timestamp": told.at.to_string(),
        "data": {
            "entry": (told.seq > 0).then_some(told.seq),
            "plan": told.plan,
            "release": told.release,
            "artifact": told.artifact,
            "ring": told.ring,
            "attempt": (told.attempt > 0).then_some(told.attempt),
            "cluster": told.cluster,
            "by": told.by,
            "message": told.sentence(),
            "link": told.link,
        },
    });
    let mut outgoing = Outgoing::post(url, "application/json", body.to_string());
    outgoing.message = Some(told.id.clone());
    outgoing
}
