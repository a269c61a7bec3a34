//! Slack's incoming webhooks: blocks, and the same as text for whoever cannot show them.

use reqwest::Url;
use serde_json::json;

use super::{Told, short};
use crate::act::metrics::question::Outgoing;

/// The longest text of a header block.
const HEADER: usize = 150;

/// The request.
pub(super) fn request(told: &Told, url: Url) -> Outgoing {
    let title = told.title();
    let plain = |text: String| json!({"type": "plain_text", "text": text, "emoji": false});
    let facts: Vec<_> =
        told.facts().into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let mut blocks = vec![
        json!({"type": "header", "text": plain(short(&title, HEADER))}),
        json!({"type": "section", "text": plain(told.sentence())}),
    ];
    if !facts.is_empty() {
        blocks.push(json!({"type": "context", "elements": [plain(facts.join("  "))]}));
    }
    if let Some(link) = &told.link {
        let look = json!({"type": "button", "text": plain("Look".into()), "url": link});
        blocks.push(json!({"type": "actions", "elements": [look]}));
    }
    let text = escaped(&format!("{title}\n{}", told.sentence()));
    Outgoing::post(url, "application/json", json!({"text": text, "blocks": blocks}).to_string())
}

/// What Slack reads as markup, as text: nobody is mentioned and nothing is linked by a reason.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
