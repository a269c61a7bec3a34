//! Teams' workflows: a message with an Adaptive Card.

use reqwest::Url;
use serde_json::json;

use super::Told;
use crate::act::metrics::question::Outgoing;

/// The request.
pub(super) fn request(told: &Told, url: Url) -> Outgoing {
    let facts: Vec<_> = told
        .facts()
        .into_iter()
        .map(|(name, value)| json!({"title": name, "value": escaped(&value)}))
        .collect();
    let mut body = vec![
        json!({"type": "TextBlock", "size": "Medium", "weight": "Bolder", "wrap": true,
            "text": escaped(&told.title())}),
        json!({"type": "TextBlock", "wrap": true, "text": escaped(&told.sentence())}),
    ];
    if !facts.is_empty() {
        body.push(json!({"type": "FactSet", "facts": facts}));
    }
    let look = |link: &String| json!({"type": "Action.OpenUrl", "title": "Look", "url": link});
    let card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "actions": told.link.iter().map(look).collect::<Vec<_>>(),
    });
    let message = json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": card,
        }],
    });
    Outgoing::post(url, "application/json", message.to_string())
}

/// A card's text is Markdown: what would be a link or emphasis is text.
fn escaped(text: &str) -> String {
    let marked = |c: char| r"\`*_[]<>".contains(c);
    text.chars().flat_map(|c| marked(c).then_some('\\').into_iter().chain([c])).collect()
}
