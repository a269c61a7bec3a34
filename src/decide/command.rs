//! The effects that the core wants. Each is a value that stands alone: it can be stored, repeated and
//! carried out by another process.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::part::Part;
use crate::{
    ids::{ClusterName, GateName, IdempotencyKey, PlanName, ReleaseId, RingName},
    model::{
        ring::{Artifact, MetricSource, Target},
        time::{Mono, Span},
    },
};

/// By which lane a release goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Lane {
    /// The plan's rings as declared.
    #[default]
    Normal,
    /// The plan's lane rules for a fix that cannot wait.
    Hotfix,
}

/// An effect that is wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Command {
    /// Take a target forward to the release's artifact.
    Deploy(Write),
    /// Take a target back to its own last known good.
    Restore(Write),
    /// Measure a gate once.
    Measure(Measure),
    /// End a pause of a target's own controller.
    Promote(Promote),
}

impl Command {
    /// What makes a repeat of it recognisable.
    pub fn key(&self) -> &IdempotencyKey {
        match self {
            Command::Deploy(write) | Command::Restore(write) => &write.key,
            Command::Measure(measure) => &measure.key,
            Command::Promote(promote) => &promote.write.key,
        }
    }

    /// The plan that it is for.
    pub fn plan(&self) -> &PlanName {
        match self {
            Command::Deploy(write) | Command::Restore(write) => &write.release.plan,
            Command::Measure(measure) => &measure.release.plan,
            Command::Promote(promote) => &promote.write.release.plan,
        }
    }

    /// The cluster that it is about.
    pub fn cluster(&self) -> &ClusterName {
        match self {
            Command::Deploy(write) | Command::Restore(write) => &write.cluster,
            Command::Measure(measure) => &measure.cluster,
            Command::Promote(promote) => &promote.write.cluster,
        }
    }
}

/// Writes an artifact to a target. Repeating it changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// `plan@version/ring/cluster/attempt/deploy|restore`; the target is annotated with it.
    pub key: IdempotencyKey,
    /// The release on whose behalf it is written.
    pub release: ReleaseId,
    /// The ring.
    pub ring: RingName,
    /// The release's n-th try on the ring, from 1.
    pub attempt: u32,
    /// Where.
    pub cluster: ClusterName,
    /// The connection that reaches it.
    pub connection: String,
    /// The object.
    pub target: Target,
    /// What it shall run.
    pub artifact: Artifact,
}

/// Lets a target go on that stands at a pause of its controller's own. Where it has gone on already, nothing is
/// done; it never ends another pause than the one that somebody's word was about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promote {
    /// Where; its key ends with `/promote/n`, and its artifact is what goes on.
    pub write: Write,
    /// The write that the target carries: the fence.
    pub intent: IdempotencyKey,
    /// The pause's [`super::event::Pause::id`].
    pub pause: String,
}

/// Asks a metric source for one measurement of one gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    /// `plan@version/ring/cluster/attempt/gate/n`.
    pub key: IdempotencyKey,
    /// The release that is judged.
    pub release: ReleaseId,
    /// The ring.
    pub ring: RingName,
    /// The release's n-th try on the ring.
    pub attempt: u32,
    /// The cluster that is judged.
    pub cluster: ClusterName,
    /// The gate.
    pub gate: GateName,
    /// Whom to ask for the gate's own number; nobody, where its judge reads none.
    pub source: Option<MetricSource>,
    /// The query, complete; empty where its judge reads no number of its own.
    pub query: String,
    /// The samples query, complete.
    pub samples: Option<String>,
    /// Asks the same query as of this instant too.
    pub baseline_at: Option<Timestamp>,
    /// When it was due.
    pub due: Mono,
    /// The longest an answer may take.
    pub timeout: Span,
    /// What its judge needs to know beyond that, each answered in its place of [`Answer::parts`].
    ///
    /// [`Answer::parts`]: super::event::Answer::parts
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// The instants of the past that it asks about, where it does not ask about now: each part is then a
    /// range of one number an instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub past: Option<Stretch>,
}

/// Instants of the past, evenly apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// The first.
    pub from: Timestamp,
    /// The last.
    pub to: Timestamp,
    /// The time between two.
    pub step: Span,
}

impl Stretch {
    /// Each of them, the first first.
    pub fn instants(&self) -> impl Iterator<Item = Timestamp> + use<> {
        let (to, step) = (self.to, self.step.max(Span(1)).to_signed());
        let next = move |at: &Timestamp| at.checked_add(step).ok();
        std::iter::successors(Some(self.from), next).take_while(move |at| *at <= to)
    }

    /// One step before an instant.
    pub fn before(&self, instant: Timestamp) -> Timestamp {
        instant.saturating_sub(self.step.to_signed()).unwrap_or(instant)
    }
}
