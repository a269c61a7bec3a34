//! Signs a request by AWS' Signature Version 4, as its General Reference has it.
//!
//! Written here because it is forty lines: the crates that sign bring an SDK's runtime along.

use crate::ids::hex;
use jiff::{Timestamp, tz::TimeZone};
use reqwest::Url;
use sha2::{Digest, Sha256};

use super::question::Scope;

/// Who signs.
pub(super) struct Keys<'k> {
    pub(super) id: &'k str,
    pub(super) secret: &'k str,
    pub(super) session: Option<&'k str>,
}

/// The headers that carry the signature: `x-amz-date`, `authorization` and, of a session, its token.
///
/// The host is signed, the body, and each of `headers`, which are given in lower case.
pub(super) fn sign(
    keys: &Keys<'_>,
    scope: &Scope,
    url: &Url,
    headers: &[(&'static str, String)],
    body: Option<&str>,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let stamp = now.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
    let day = &stamp[..8];
    let mut added = vec![("x-amz-date", stamp.clone())];
    added.extend(keys.session.map(|token| ("x-amz-security-token", token.to_owned())));

    let host = match (url.host_str().unwrap_or_default(), url.port()) {
        (host, None) => host.to_owned(),
        (host, Some(port)) => format!("{host}:{port}"),
    };
    let mut signed: Vec<(&str, &str)> = vec![("host", &host)];
    signed.extend(headers.iter().chain(&added).map(|(name, value)| (*name, value.trim())));
    signed.sort_unstable();
    let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let method = if body.is_some() { "POST" } else { "GET" };
    let mut pairs: Vec<String> =
        url.query_pairs().map(|(k, v)| format!("{}={}", escaped(&k), escaped(&v))).collect();
    pairs.sort_unstable();
    let request = format!(
        "{method}\n{}\n{}\n{lines}\n{names}\n{}",
        url.path(),
        pairs.join("&"),
        hex(&Sha256::digest(body.unwrap_or_default()))
    );

    let scope_line = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let to_sign =
        format!("AWS4-HMAC-SHA256\n{stamp}\n{scope_line}\n{}", hex(&Sha256::digest(&request)));
    let first = hmac(format!("AWS4{}", keys.secret).as_bytes(), day.as_bytes());
    let key = [scope.region.as_str(), scope.service, "aws4_request"]
        .iter()
        .fold(first, |key, part| hmac(&key, part.as_bytes()));
    let signature = hex(&hmac(&key, to_sign.as_bytes()));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope_line}, SignedHeaders={names}, Signature={signature}",
        keys.id
    );
    added.push(("authorization", authorization));
    added
}

/// HMAC-SHA256, RFC 2104.
pub(super) fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let with = |pad: u8, message: &[u8]| -> [u8; 32] {
        let hash = Sha256::new().chain_update(block.map(|b| b ^ pad)).chain_update(message);
        hash.finalize().into()
    };
    with(0x5c, &with(0x36, message))
}

/// Everything but what RFC 3986 calls unreserved.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        let key = [0x0b; 20];
        let expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        assert_eq!(hex(&hmac(&key, b"Hi There")), expected);
        let long = [0xaa; 131];
        let message = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let expected = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        assert_eq!(hex(&hmac(&long, message)), expected);
    }

    /// The example that AWS' General Reference works out step by step.
    #[test]
    fn the_published_example_is_signed_as_published() {
        let url = "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08";
        let keys = Keys {
            id: "AKIDEXAMPLE",
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            session: None,
        };
        let scope = Scope { region: "us-east-1".into(), service: "iam" };
        let kind = "application/x-www-form-urlencoded; charset=utf-8".to_owned();
        let now = "2015-08-30T12:36:00Z".parse().unwrap();
        let url = Url::parse(url).unwrap();
        let headers = sign(&keys, &scope, &url, &[("content-type", kind)], None, now);
        assert_eq!(headers[0], ("x-amz-date", "20150830T123600Z".into()));
        assert_eq!(
            headers[1].1,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }

    #[test]
    fn a_session_and_a_port_are_signed_too() {
        let keys = Keys { id: "a", secret: "b", session: Some("c") };
        let scope = Scope { region: "r".into(), service: "monitoring" };
        let url = Url::parse("http://127.0.0.1:8080/").unwrap();
        let now = "2015-08-30T12:36:00Z".parse().unwrap();
        let headers = sign(&keys, &scope, &url, &[], Some("{}"), now);
        assert_eq!(headers[1], ("x-amz-security-token", "c".into()));
        assert!(headers[2].1.contains("SignedHeaders=host;x-amz-date;x-amz-security-token"));
    }
}
