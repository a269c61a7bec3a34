//! Alerts that fire: Prometheus' `/api/v1/alerts`, and Alertmanager's `/api/v2/alerts`.
//!
//! The shapes of their answers: "Alerts" of Prometheus' HTTP API; Alertmanager's OpenAPI document, and what
//! version 0.25 answers.
//! Prometheus tells all of them; Alertmanager leaves out what the question's matchers leave out, and what
//! somebody silenced or another alert inhibits: those reach nobody, and hold nothing here either.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, de::IgnoredAny};

use super::{
    client::base,
    question::{Heard, Outgoing, Question, Speaks, beneath, refused},
};
use crate::decide::part::Alert;

/// Prometheus, asked for its alerts.
pub(super) struct Firing;

/// Alertmanager.
pub(super) struct Alertmanager;

impl Speaks for Firing {
    fn request(&self, question: &Question, _: Timestamp) -> Result<Outgoing, String> {
        Ok(Outgoing::get(beneath(&base(&question.url)?, "api/v1/alerts")))
    }

    fn heard(
        &self,
        _: &Question,
        _: Timestamp,
        (status, body): (u16, &[u8]),
    ) -> Result<Heard, String> {
        read(status, body).map(Heard::Alerts)
    }
}

impl Speaks for Alertmanager {
    fn request(&self, question: &Question, _: Timestamp) -> Result<Outgoing, String> {
        let mut url = beneath(&base(&question.url)?, "api/v2/alerts");
        let mut pairs = url.query_pairs_mut();
        pairs.append_pair("active", "true");
        for kept_back in ["silenced", "inhibited", "unprocessed"] {
            pairs.append_pair(kept_back, "false");
        }
        for filter in question.query.lines() {
            pairs.append_pair("filter", filter);
        }
        drop(pairs);
        Ok(Outgoing::get(url).header("accept", "application/json"))
    }

    fn heard(
        &self,
        _: &Question,
        _: Timestamp,
        (status, body): (u16, &[u8]),
    ) -> Result<Heard, String> {
        read_alertmanager(status, body).map(Heard::Alerts)
    }
}

/// Matchers as Alertmanager reads them, one a line.
pub(super) fn filters(matchers: &BTreeMap<String, String>) -> String {
    let lines = matchers.iter().map(|(label, value)| {
        let mut quoted = String::with_capacity(value.len());
        for c in value.chars() {
            match c {
                '"' | '\\' => quoted.extend(['\\', c]),
                '\n' => quoted.push_str("\\n"),
                c => quoted.push(c),
            }
        }
        format!("{label}=\"{quoted}\"")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    status: String,
    error_type: Option<String>,
    warnings: Option<Vec<IgnoredAny>>,
    data: Option<All>,
}

#[derive(Deserialize)]
struct All {
    alerts: Vec<OfPrometheus>,
}

#[derive(Deserialize)]
struct OfPrometheus {
    labels: BTreeMap<String, String>,
    state: String,
}

/// Reads Prometheus' alerts, and keeps those that fire: one that is pending has not lasted as long as its
/// rule asks.
///
/// # Errors
/// As [`Speaks::heard`] has them.
pub fn read(status: u16, body: &[u8]) -> Result<Vec<Alert>, String> {
    let answer: Envelope = match serde_json::from_slice(body) {
        Ok(answer) => answer,
        Err(_) if status != 200 => return Err(refused(status, None)),
        Err(_) => return Err("the answer is none of Prometheus' /api/v1/alerts".into()),
    };
    if status != 200 || answer.status != "success" {
        return Err(refused(status, answer.error_type.as_deref()));
    }
    if answer.warnings.is_some_and(|warnings| !warnings.is_empty()) {
        return Err("partial data".into());
    }
    let alerts = answer.data.ok_or("the answer has no data")?.alerts;
    let mut firing = Vec::new();
    for OfPrometheus { labels, state } in alerts {
        match state.as_str() {
            "firing" => firing.push(Alert { labels }),
            "pending" | "inactive" => {}
            _ => return Err("an alert is in a state that is not known".into()),
        }
    }
    Ok(firing)
}

#[derive(Deserialize)]
struct OfAlertmanager {
    labels: BTreeMap<String, String>,
    status: State,
}

#[derive(Deserialize)]
struct State {
    state: String,
}

/// Reads Alertmanager's alerts, and keeps those that are active.
///
/// # Errors
/// As [`Speaks::heard`] has them.
pub fn read_alertmanager(status: u16, body: &[u8]) -> Result<Vec<Alert>, String> {
    if status != 200 {
        return Err(refused(status, None));
    }
    let strange = |_| "the answer is none of Alertmanager's /api/v2/alerts";
    let alerts: Vec<OfAlertmanager> = serde_json::from_slice(body).map_err(strange)?;
    let mut active = Vec::new();
    for OfAlertmanager { labels, status } in alerts {
        match status.state.as_str() {
            "active" => active.push(Alert { labels }),
            "suppressed" | "unprocessed" => {}
            _ => return Err("an alert is in a state that is not known".into()),
        }
    }
    Ok(active)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(alerts: &[Alert]) -> Vec<&str> {
        alerts.iter().map(|alert| alert.labels["alertname"].as_str()).collect()
    }

    #[test]
    fn of_prometheus_only_what_fires_counts() {
        let body = br#"{"status":"success","data":{"alerts":[
            {"labels":{"alertname":"Slow","severity":"page"},"annotations":{"summary":"canary"},"state":"firing","activeAt":"2026-01-01T00:00:00Z","value":"1e+00"},
            {"labels":{"alertname":"Soon"},"annotations":{},"state":"pending","activeAt":"2026-01-01T00:00:00Z","value":"1"}]}}"#;
        assert_eq!(names(&read(200, body).unwrap()), ["Slow"]);
        assert_eq!(read(200, br#"{"status":"success","data":{"alerts":[]}}"#), Ok(vec![]));
        for (status, body, part) in [
            (503, "canary", "HTTP 503"),
            (200, "canary", "none of Prometheus'"),
            (200, r#"{"status":"error","errorType":"internal","error":"canary"}"#, "internal"),
            (200, r#"{"status":"success"}"#, "no data"),
            (200, r#"{"status":"success","warnings":["canary"],"data":{"alerts":[]}}"#, "partial"),
            (
                200,
                r#"{"status":"success","data":{"alerts":[{"labels":{},"state":"canary"}]}}"#,
                "not known",
            ),
            (200, r#"{"status":"success","data":{"alerts":[{"state":"firing"}]}}"#, "none of"),
            (404, r#"{"status":"success","data":{"alerts":[]}}"#, "HTTP 404"),
        ] {
            let why = read(status, body.as_bytes()).unwrap_err();
            assert!(why.contains(part) && !why.contains("canary"), "{body}: {why}");
        }
    }

    #[test]
    fn of_alertmanager_only_what_is_active_counts() {
        let body = br#"[
            {"labels":{"alertname":"Slow"},"annotations":{},"status":{"state":"active","silencedBy":[],"inhibitedBy":[]},"fingerprint":"1","receivers":[{"name":"r"}],"startsAt":"2026-01-01T00:00:00.000Z","endsAt":"2026-01-01T00:05:00.000Z","updatedAt":"2026-01-01T00:00:00.000Z"},
            {"annotations":{},"endsAt":"2026-01-01T00:05:00.183Z","fingerprint":"2","receivers":[{"name":"r"}],"startsAt":"2026-01-01T00:00:00.183Z","status":{"inhibitedBy":["1"],"silencedBy":[],"state":"suppressed"},"updatedAt":"2026-01-01T00:00:00.183Z","labels":{"alertname":"Hushed"}}]"#;
        assert_eq!(names(&read_alertmanager(200, body).unwrap()), ["Slow"]);
        for (status, body, part) in [
            (500, "canary", "HTTP 500"),
            (200, r#"{"canary":1}"#, "none of Alertmanager's"),
            (200, r#"[{"labels":{},"status":{"state":"canary"}}]"#, "not known"),
        ] {
            let why = read_alertmanager(status, body.as_bytes()).unwrap_err();
            assert!(why.contains(part) && !why.contains("canary"), "{body}: {why}");
        }
    }

    #[test]
    fn a_matcher_stays_one_whatever_its_value() {
        let matchers = [("a", "x\"y\\z"), ("b", "line\nbreak")];
        let matchers = matchers.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        assert_eq!(filters(&matchers), "a=\"x\\\"y\\\\z\"\nb=\"line\\nbreak\"");
    }
}
