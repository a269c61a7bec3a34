//! Targets that cannot be watched are looked at again and again.

use std::time::Duration;

use futures::{StreamExt, stream, stream::BoxStream};
use tokio::time::sleep;

use crate::{decide::event::TargetState, model::ring::Target};

/// Looks without an answer, one after another, before that is told: services are restarted.
const BLIND: u32 = 3;

/// Why a look told nothing of its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unseen {
    /// It is not there.
    Gone,
    /// Nothing but a person can help; in words that begin with a verb.
    Refused(String),
    /// It may pass; in words.
    Unreachable(String),
    /// It was being changed.
    Changing,
}

/// What can be looked at.
pub(super) trait Glance: Send + Sync + 'static {
    /// The time between two looks.
    fn every(&self) -> Duration;

    /// One look.
    fn glance(&self, target: &Target) -> impl Future<Output = Result<TargetState, Unseen>> + Send;
}

/// The target's states, each as it changes.
pub(super) fn watch(of: impl Glance, target: Target) -> BoxStream<'static, TargetState> {
    let looks = Looks { of, target, said: None, blind: 0, existed: false };
    stream::unfold(looks, |mut looks| async { Some((looks.next().await, looks)) }).boxed()
}

struct Looks<G> {
    of: G,
    target: Target,
    said: Option<TargetState>,
    /// Looks without an answer since the last one with one.
    blind: u32,
    existed: bool,
}

impl<G: Glance> Looks<G> {
    async fn next(&mut self) -> TargetState {
        let mut first = self.said.is_none();
        loop {
            if !std::mem::take(&mut first) {
                sleep(self.of.every()).await;
            }
            let Some(state) = self.look().await else { continue };
            if self.said.as_ref() != Some(&state) {
                self.said = Some(state.clone());
                return state;
            }
        }
    }

    async fn look(&mut self) -> Option<TargetState> {
        let target = &self.target;
        let why = match self.of.glance(target).await {
            Ok(state) => {
                (self.blind, self.existed) = (0, true);
                return Some(state);
            }
            Err(Unseen::Unreachable(why)) => {
                self.blind += 1;
                if self.blind < BLIND {
                    return None;
                }
                why
            }
            Err(Unseen::Gone) => {
                let what = if self.existed { "was deleted" } else { "does not exist" };
                format!("{target} {what}")
            }
            Err(Unseen::Refused(why)) => format!("{target} {why}"),
            Err(Unseen::Changing) => return None,
        };
        Some(TargetState::unknown(why))
    }
}
