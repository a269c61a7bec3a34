//! A webhook that rules: a POST, signed by the rules of Standard Webhooks (version 1, HMAC-SHA256), and
//! answered with 200 and `{"verdict": "pass" | "fail" | "insufficient", "detail": "..."}`.
//!
//! The secret is the server's settings' (`webhookSecretFile`), and the URL the cluster's declaration:
//! neither is a policy's to say. Any other answer is an error; what it says beyond its status stays
//! where it is.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    client::base,
    question::{Heard, Outgoing, Question, Speaks, refused},
    sigv4::hmac,
};
use crate::{
    decide::{fact::Verdict, part::Case},
    ids::{IdempotencyKey, hex},
};

/// The shortest secret that is taken, in bytes; the specification asks for 24 to 64.
const SHORTEST: usize = 24;

/// A webhook, asked once.
pub(super) struct Webhook<'q> {
    /// The message's id.
    pub(super) id: &'q str,
}

/// The id of a measurement's message: the same whenever it is put again. A full stop may not be in it,
/// since the signature joins by it.
pub(super) fn id(key: &IdempotencyKey) -> String {
    let digest = Sha256::digest(key.as_str());
    format!("gate_{}", hex(&digest[..16]))
}

/// What is to be judged, as it is sent but for the instant.
pub(super) fn text(case: &Case) -> String {
    json!(case).to_string()
}

impl Speaks for Webhook<'_> {
    fn request(&self, question: &Question, now: Timestamp) -> Result<Outgoing, String> {
        let url = base(&question.url)?;
        let case: serde_json::Value =
            serde_json::from_str(&question.query).map_err(|_| "there is nothing to be judged")?;
        let body = json!({"type": "ringward.gate", "timestamp": now.to_string(), "data": case});
        let mut outgoing = Outgoing::post(url, "application/json", body.to_string());
        outgoing.message = Some(self.id.to_owned());
        Ok(outgoing.header("accept", "application/json"))
    }

    fn heard(
        &self,
        _: &Question,
        _: Timestamp,
        (status, body): (u16, &[u8]),
    ) -> Result<Heard, String> {
        read(status, body)
    }
}

#[derive(Deserialize)]
struct Word {
    verdict: Ruled,
    detail: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Ruled {
    Pass,
    Fail,
    Insufficient,
}

/// Reads an answer of that status.
///
/// # Errors
/// As [`Speaks::heard`] has them.
pub fn read(status: u16, body: &[u8]) -> Result<Heard, String> {
    if status != 200 {
        return Err(refused(status, None));
    }
    let strange = |_| "the answer is not {\"verdict\": \"pass\", \"fail\" or \"insufficient\"}";
    // A list of values would be read as an object's, in order.
    let object = Some(body).filter(|body| body.trim_ascii_start().starts_with(b"{"));
    let Word { verdict, detail } =
        serde_json::from_slice(object.unwrap_or_default()).map_err(strange)?;
    let verdict = match verdict {
        Ruled::Pass => Verdict::Pass,
        Ruled::Fail => Verdict::Fail,
        Ruled::Insufficient => Verdict::Insufficient,
    };
    Ok(Heard::Ruled { verdict, detail: detail.unwrap_or_default() })
}

/// The three headers of a message, or nothing where the secret is none: base64 of 24 bytes or more,
/// with `whsec_` before it or without.
pub(in crate::act) fn sign(
    secret: &str,
    id: &str,
    body: &str,
    now: Timestamp,
) -> Option<[(&'static str, String); 3]> {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap_or(secret)).ok()?;
    if key.len() < SHORTEST {
        return None;
    }
    let at = now.as_second().to_string();
    let mac = hmac(&key, format!("{id}.{at}.{body}").as_bytes());
    Some([
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", at),
        ("webhook-signature", format!("v1,{}", STANDARD.encode(mac))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's own libraries.
    #[test]
    fn a_message_is_signed_as_the_specification_shows() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let now = Timestamp::from_second(1_614_265_330).unwrap();
        let signed =
            sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", r#"{"test": 2432232314}"#, now).unwrap();
        assert_eq!(signed[1].1, "1614265330");
        assert_eq!(signed[2].1, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(sign("whsec_dG9vIHNob3J0", "id", "", now), None);
        assert_eq!(sign("not base64!", "id", "", now), None);
    }

    #[test]
    fn an_id_is_the_same_for_the_same_measurement_and_has_no_full_stop() {
        let key: IdempotencyKey = "checkout@2.14.0/beta/c/1/desk/1".into();
        assert_eq!(id(&key), id(&key.clone()));
        assert_ne!(id(&key), id(&"checkout@2.14.0/beta/c/1/desk/2".into()));
        assert!(!id(&key).contains('.'));
    }

    #[test]
    fn only_a_verdict_is_a_verdict() {
        let ruled = |body: &str| read(200, body.as_bytes());
        let is = |verdict, detail: &str| Ok(Heard::Ruled { verdict, detail: detail.into() });
        assert_eq!(
            ruled(r#"{"verdict":"pass","detail":"all good"}"#),
            is(Verdict::Pass, "all good")
        );
        assert_eq!(ruled(r#"{"verdict":"fail","by":"dana"}"#), is(Verdict::Fail, ""));
        assert_eq!(ruled(r#"{"verdict":"insufficient"}"#), is(Verdict::Insufficient, ""));
        for body in [
            "",
            "pass",
            "null",
            "{}",
            r#"{"verdict":"Pass"}"#,
            r#"{"verdict":"absent"}"#,
            r#"{"verdict":true}"#,
            r#"{"verdict":"pass","detail":7}"#,
            r#"{"verdict":"canary"}"#,
            r#"{"verdict":"fail","verdict":"pass"}"#,
            r#"[{"verdict":"pass"}]"#,
            r#"["pass","by position"]"#,
        ] {
            let why = ruled(body).unwrap_err();
            assert!(!why.contains("canary"), "{why}");
        }
        for status in [201, 202, 204, 302, 400, 401, 500] {
            let why = read(status, br#"{"verdict":"pass"}"#).unwrap_err();
            assert!(why.contains(&format!("HTTP {status}")), "{why}");
        }
    }
}
