//! What a feature flag serves, asked by the OpenFeature Remote Evaluation Protocol
//! (`POST /ofrep/v1/evaluate/flags/{key}`).
//!
//! Where to ask is the server's settings' to say, as for everything that is asked: a plan gives a name.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::join_all;
use reqwest::Url;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::kind::Probe;
use crate::{
    act::metrics::{
        client::{Client, base},
        question::{Outgoing, beneath, refused},
    },
    clock::Clock,
    config::ProbeSettings,
    model::time::{Mono, Span},
};

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// For how many that are told apart a flag is asked that serves some the one and some the other.
const MANY: usize = 16;

/// Where flags can be asked for, by name.
#[derive(Clone, Default)]
pub(super) struct Probes {
    pub(super) asker: Option<Asker>,
    pub(super) known: BTreeMap<String, ProbeSettings>,
}

/// What probes are asked through.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) client: Arc<Client>,
    pub(super) clock: Arc<dyn Clock>,
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answered {
    /// Everybody is served what they may be.
    AsIntended,
    /// Somebody is not, at that instant; in words.
    Otherwise(Mono, String),
}

/// The variant of an answer; nothing else of it is looked at.
#[derive(Deserialize)]
struct Evaluation {
    variant: Option<String>,
}

impl Probes {
    /// How long it may take until a probe answers by what is stored.
    pub(super) fn within(&self, probe: &Probe) -> Span {
        self.known.get(&probe.name).map_or(Span::ZERO, |probe| probe.within)
    }

    /// Asks what is served.
    ///
    /// # Errors
    /// In words, where nobody could be asked, or the answer is none.
    pub(super) async fn ask(&self, probe: &Probe, connection: &str) -> Result<Answered, String> {
        let name = &probe.name;
        let (Some(ProbeSettings { url, .. }), Some(asker)) = (self.known.get(name), &self.asker)
        else {
            return Err(format!(
                "nobody knows probe `{name}`: name its URL under connections.{connection}.probes.{name} of the server's settings"
            ));
        };
        let explain = |why: String| format!("probe `{name}`: {why}");
        let base = base(url).map_err(explain)?;
        let many =
            if probe.served.as_ref().is_some_and(|served| served.len() == 1) { 1 } else { MANY };
        let asked = (0..many).map(|who| one(asker, &base, probe, who));
        let mut otherwise = None;
        for answer in join_all(asked).await {
            let variant = answer.map_err(explain)?;
            let Some(served) = &probe.served else { continue };
            if variant.as_ref().is_none_or(|variant| !served.contains(variant)) {
                // What a foreign server says is repeated only where it is a plain name.
                let said = variant
                    .filter(|text| is_plain(text))
                    .unwrap_or_else(|| "something else".into());
                otherwise =
                    Some(format!("probe `{name}` is served {said}, not {}", served.join(" or ")));
            }
        }
        let now = asker.clock.now().mono;
        Ok(otherwise.map_or(Answered::AsIntended, |why| Answered::Otherwise(now, why)))
    }
}

fn is_plain(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    !text.is_empty() && text.len() <= 100 && text.chars().all(fits)
}

async fn one(
    asker: &Asker,
    base: &Url,
    probe: &Probe,
    who: usize,
) -> Result<Option<String>, String> {
    let mut url = beneath(base, "ofrep/v1/evaluate/flags");
    if let Ok(mut path) = url.path_segments_mut() {
        path.push(&probe.flag);
    }
    let mut context = json!(probe.context);
    context["targetingKey"] = json!(format!("ringward-probe-{who}"));
    let body = json!({"context": context}).to_string();
    let outgoing =
        Outgoing::post(url, "application/json", body).header("accept", "application/json");
    let answer = timeout(ANSWER, asker.client.exchange(base, outgoing, asker.clock.now().wall));
    let answer = answer.await.map_err(|_| format!("no answer within {ANSWER:?}"))??;
    match answer.status {
        200 => {}
        404 => {
            return Err(format!(
                "HTTP 404: it does not know flag `{}`, or is no OFREP service",
                probe.flag
            ));
        }
        status => return Err(refused(status, None)),
    }
    let read: Result<Evaluation, _> = serde_json::from_slice(&answer.body);
    read.map(|evaluation| evaluation.variant).map_err(|_| "the answer is no evaluation".into())
}
