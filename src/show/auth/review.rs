//! Tokens that a Kubernetes cluster vouches for: it is asked by a TokenReview, and what it says is
//! believed for half a minute.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use k8s_openapi::api::authentication::v1::{TokenReviewStatus, UserInfo};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    Caller, digest,
    known::{Unknown, bound},
};
use crate::{
    config::{Binding, KubernetesSettings},
    model::time::{Mono, Now, Span},
};

/// How long a cluster is believed that a token is somebody's.
const BELIEVED: Span = Span::seconds(30);

/// How long it is believed that a token is nobody's.
const DISBELIEVED: Span = Span::seconds(5);

/// Answers that are kept; those that end first make room.
const KEPT: usize = 10_000;

/// Questions to the cluster at once.
const QUESTIONS: usize = 8;

/// How long a question may wait, and how long its answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a ServiceAccount's name begins with in Kubernetes.
const ACCOUNT: &str = "system:serviceaccount:";

const UNKNOWN: Unknown =
    Unknown::Nobody("the cluster does not know the token, or not for this audience");

const SILENT: Unknown = Unknown::Unavailable("the cluster that knows such tokens does not answer");

/// The way to a cluster that knows tokens.
pub trait Reviewer: Send + Sync {
    /// What it says of a token for one of those audiences; in words, without a secret, why it cannot be asked.
    fn review<'a>(
        &'a self,
        token: &'a str,
        audiences: &'a [String],
    ) -> BoxFuture<'a, Result<TokenReviewStatus, String>>;
}

/// A cluster that knows tokens, and what it said of late.
pub(super) struct Reviews {
    settings: KubernetesSettings,
    cluster: Arc<dyn Reviewer>,
    /// By the token's digest.
    answers: Mutex<BTreeMap<String, Answer>>,
    turns: Semaphore,
}

#[derive(Debug, Clone)]
struct Answer {
    until: Mono,
    said: Result<Caller, Unknown>,
}

impl std::fmt::Debug for Reviews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reviews").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Reviews {
    pub(super) fn new(settings: KubernetesSettings, cluster: Arc<dyn Reviewer>) -> Self {
        Self { settings, cluster, answers: Mutex::default(), turns: Semaphore::new(QUESTIONS) }
    }

    pub(super) async fn caller(&self, token: &str, now: Now) -> Result<Caller, Unknown> {
        let key = digest(token);
        if let Some(said) = self.remembered(&key, now.mono) {
            return said;
        }
        let turn = timeout(PATIENCE, self.turns.acquire()).await;
        let _turn = turn.ok().and_then(Result::ok).ok_or(SILENT)?;
        // Somebody may have asked the same meanwhile.
        if let Some(said) = self.remembered(&key, now.mono) {
            return said;
        }
        let said = self.ask(token).await;
        if said != Err(SILENT) {
            let lasting = if said.is_ok() { BELIEVED } else { DISBELIEVED };
            let answer = Answer { until: now.mono + lasting, said: said.clone() };
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            if answers.len() >= KEPT {
                answers.retain(|_, answer| now.mono < answer.until);
                // Strangers' tokens, which are soon asked about again, before those of people who are known.
                let first = answers.iter().min_by_key(|(_, answer)| answer.until);
                if let Some(first) = first.map(|(key, _)| key.clone())
                    && answers.len() >= KEPT
                {
                    answers.remove(&first);
                }
            }
            answers.insert(key, answer);
        }
        said
    }

    fn remembered(&self, key: &str, now: Mono) -> Option<Result<Caller, Unknown>> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers.get(key).filter(|answer| now < answer.until)?;
        Some(answer.said.clone())
    }

    async fn ask(&self, token: &str) -> Result<Caller, Unknown> {
        let asked = self.cluster.review(token, &self.settings.audiences);
        let status = match timeout(PATIENCE, asked).await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => {
                tracing::warn!(
                    error,
                    "the cluster of auth.kubernetes does not review tokens; it takes the permission to create tokenreviews"
                );
                return Err(SILENT);
            }
            Err(_) => {
                tracing::warn!("the cluster of auth.kubernetes takes too long to review a token");
                return Err(SILENT);
            }
        };
        // A cluster that does not know of audiences names none, and then the token is for the cluster.
        let audiences = status.audiences.unwrap_or_default();
        let ours = audiences.iter().any(|audience| self.settings.audiences.contains(audience));
        match status.user {
            Some(user) if ours && status.authenticated == Some(true) => self.known(&user),
            Some(_) | None => Err(UNKNOWN),
        }
    }

    fn known(&self, user: &UserInfo) -> Result<Caller, Unknown> {
        let username = user.username.as_deref().unwrap_or_default();
        let groups: BTreeSet<&str> = user.groups.iter().flatten().map(String::as_str).collect();
        // A namespace has no dot, so no two accounts share a name.
        let account = username.strip_prefix(ACCOUNT).map(|account| account.replacen(':', "/", 1));
        let name = match &account {
            Some(account) => format!("serviceaccount.{}", account.replacen('/', ".", 1)),
            None => username.into(),
        };
        let theirs = |binding: &Binding| {
            binding.user.as_deref() == Some(username)
                || (account.is_some() && binding.service_account == account)
                || binding.group.as_deref().is_some_and(|group| groups.contains(group))
        };
        bound(&name, None, &self.settings.bindings, theirs).ok_or(Unknown::Nobody(
            "the cluster names somebody in a way that no name is given here",
        ))
    }
}
