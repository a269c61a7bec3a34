//! A question to a metric source, and what a kind of source makes of it.

use jiff::Timestamp;
use reqwest::{Method, Url};

pub use crate::decide::gate::reading::Sample;
use crate::{
    decide::{fact::Verdict, part::Alert},
    model::{ring::ProviderKind, time::Span},
};

/// What is asked; two that are equal have one answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// Which API is asked.
    pub kind: ProviderKind,
    /// Where it is, as declared.
    pub url: String,
    /// What is wanted of it.
    pub topic: Topic,
    /// The query, complete; of alerts, the matchers that the source may leave others out by; of a
    /// verdict, what is to be judged.
    pub query: String,
    /// Of which time.
    pub when: When,
    /// The longest an answer may take, once it is this question's turn.
    pub timeout: Span,
}

/// What is wanted of a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Numbers.
    Numbers,
    /// The alerts that fire.
    Alerts,
    /// A verdict of its own.
    Verdict {
        /// The message's id: the same for a question that is put again.
        id: String,
    },
}

/// What was answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Numbers.
    Samples {
        /// The samples of one series, oldest first.
        samples: Vec<Sample>,
        /// What the source remarked of them, as it came.
        infos: Vec<String>,
    },
    /// The alerts that fire.
    Alerts(Vec<Alert>),
    /// A verdict: Pass, Fail or Insufficient.
    Ruled {
        /// The verdict.
        verdict: Verdict,
        /// In the source's words, as they came.
        detail: String,
    },
}

/// The time that a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// Now, by the source's own clock where it has one.
    Now,
    /// That instant.
    At(Timestamp),
    /// Every `step` from the one to the other.
    During {
        /// The first instant.
        from: Timestamp,
        /// The last one.
        to: Timestamp,
        /// The time between two.
        step: Span,
    },
}

impl When {
    /// The stretch of time to look at: of an instant, the last `window` before it.
    pub(super) fn window(self, now: Timestamp, window: Span) -> (Timestamp, Timestamp) {
        let before = |at: Timestamp| at.saturating_sub(window.to_signed()).unwrap_or(at);
        match self {
            When::Now => (before(now), now),
            When::At(at) => (before(at), at),
            When::During { from, to, .. } => (from, to),
        }
    }
}

/// One kind of metric source: a question to a request, an answer to samples. Pure: it asks nobody, and
/// knows neither secrets nor thresholds.
///
/// No text of an answer ever becomes part of an error, beyond its HTTP status and a plain word that
/// names the kind of error: the source may stand in a network that the reader cannot see.
pub trait Provider: Send + Sync {
    /// The request that asks it.
    ///
    /// # Errors
    /// In words, where a source of this kind cannot be asked that.
    fn request(&self, question: &Question, now: Timestamp) -> Result<Outgoing, String>;

    /// The samples of the one series that was answered, by its status and body, to the question as it
    /// was asked at `now`: oldest first, and none where there is no series, or no number in it.
    ///
    /// # Errors
    /// In words, where the answer is none that can be used: an error, several series, data that are
    /// partial.
    fn samples(
        &self,
        question: &Question,
        now: Timestamp,
        answer: (u16, &[u8]),
    ) -> Result<Vec<Sample>, String>;

    /// What the source remarks of an answer that can be used, where its API has a place for that.
    fn infos(&self, _body: &[u8]) -> Vec<String> {
        Vec::new()
    }
}

/// What speaks an API, whatever it tells.
pub trait Speaks: Send + Sync {
    /// As [`Provider::request`].
    ///
    /// # Errors
    /// As there.
    fn request(&self, question: &Question, now: Timestamp) -> Result<Outgoing, String>;

    /// What was answered, by its status and body.
    ///
    /// # Errors
    /// In words, where the answer is none that can be used.
    fn heard(
        &self,
        question: &Question,
        now: Timestamp,
        answer: (u16, &[u8]),
    ) -> Result<Heard, String>;
}

impl<P: Provider> Speaks for P {
    fn request(&self, question: &Question, now: Timestamp) -> Result<Outgoing, String> {
        Provider::request(self, question, now)
    }

    fn heard(
        &self,
        question: &Question,
        now: Timestamp,
        answer: (u16, &[u8]),
    ) -> Result<Heard, String> {
        let mut samples = self.samples(question, now, answer)?;
        samples.sort_by_key(|sample| sample.at);
        Ok(Heard::Samples { samples, infos: self.infos(answer.1) })
    }
}

/// An HTTP request that is not signed yet.
#[derive(Debug)]
pub struct Outgoing {
    /// Where to.
    pub url: Url,
    /// Further headers; none of them secret.
    pub headers: Vec<(&'static str, String)>,
    /// How it is asked.
    pub method: Method,
    /// What is sent along.
    pub body: Option<String>,
    /// What a signature by AWS' rules is made for, where the source wants one.
    pub scope: Option<Scope>,
    /// The id of the message, where the source wants a signature by the rules of Standard Webhooks.
    pub message: Option<String>,
}

impl Outgoing {
    /// A GET.
    pub fn get(url: Url) -> Self {
        let method = Method::GET;
        Self { url, headers: Vec::new(), method, body: None, scope: None, message: None }
    }

    /// A POST.
    pub fn post(url: Url, content_type: &str, body: String) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        let method = Method::POST;
        Self { url, headers, method, body: Some(body), scope: None, message: None }
    }

    /// A PATCH.
    pub fn patch(url: Url, content_type: &str, body: String) -> Self {
        Self { method: Method::PATCH, ..Self::post(url, content_type, body) }
    }

    /// A PUT.
    pub fn put(url: Url, content_type: &str, body: String) -> Self {
        Self { method: Method::PUT, ..Self::post(url, content_type, body) }
    }

    /// With a further header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What an AWS signature is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The region.
    pub region: String,
    /// The service.
    pub service: &'static str,
}

/// `path` beneath the source's own, with nothing else of its URL changed.
pub(in crate::act) fn beneath(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

/// Why there is no answer, from the HTTP status and a word that names the kind of error.
pub(in crate::act) fn refused(status: u16, word: Option<&str>) -> String {
    let hint = match status {
        300..=399 => ": redirects are not followed; give the source's own URL",
        401 | 403 => ": check the credentials of this source in the server's settings",
        404 => ": check the source's URL",
        429 => ": the source is asked too often",
        _ => "",
    };
    // Anything but a plain word is not a kind of error, and is not repeated.
    let plain = |w: &&str| {
        !w.is_empty() && w.len() <= 40 && w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    match word.filter(plain) {
        Some(word) => format!("HTTP {status}, {word}{hint}"),
        None => format!("HTTP {status}{hint}"),
    }
}

/// What is said of more series than one; their names stay where they are.
pub(super) fn several(n: usize) -> String {
    format!("{n} series, where a gate needs one; aggregate them")
}

/// An instant given in milliseconds.
pub(super) fn instant(millis: f64) -> Result<Timestamp, String> {
    // `as` saturates, and the ends of i64 are outside of what a timestamp may be.
    let at = Timestamp::from_millisecond(millis.round() as i64).ok().filter(|_| !millis.is_nan());
    at.ok_or_else(|| "an instant is out of range".into())
}
