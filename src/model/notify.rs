//! Who is told what. It changes nothing about a release, so it is no part of a plan and of no policy's hash.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::PlanName;

/// A `Notifier`, as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notifier {
    /// The channel of the server's settings that it goes over.
    pub channel: String,
    /// The plans that it is about; none named is all of them.
    pub plans: Vec<PlanName>,
    /// What is told.
    pub on: Vec<Topic>,
}

impl Notifier {
    /// Whether it wants to be told that of a plan; what is about no plan concerns all of them.
    pub fn wants(&self, topic: Topic, plan: Option<&PlanName>) -> bool {
        let about = plan.is_none_or(|plan| self.plans.is_empty() || self.plans.contains(plan));
        about && self.on.contains(&topic)
    }
}

macro_rules! topics {
    ($($(#[$doc:meta])* $topic:ident $name:literal,)*) => {
        /// What somebody can be told of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub enum Topic { $($(#[$doc])* $topic,)* }

        impl Topic {
            /// Every topic.
            pub const ALL: &[Topic] = &[$(Topic::$topic),*];

            /// As it is written.
            pub fn name(self) -> &'static str {
                match self { $(Topic::$topic => $name),* }
            }
        }
    };
}

topics! {
    /// A release was admitted.
    Submitted "submitted",
    /// It entered a ring.
    Started "started",
    /// It is ready on a cluster.
    Deployed "deployed",
    /// It passed a ring.
    Passed "passed",
    /// It passed every ring.
    Succeeded "succeeded",
    /// It failed on a ring.
    Failed "failed",
    /// It goes back on a ring.
    RollingBack "rollingBack",
    /// A cluster is back at its known good.
    Restored "restored",
    /// A ring is back.
    RolledBack "rolledBack",
    /// A cluster cannot be taken back by ringward.
    Stuck "stuck",
    /// Something holds it that only somebody can end, or that lasts.
    Held "held",
    /// It waits for approvals, or for an operator's decision.
    ApprovalNeeded "approvalNeeded",
    /// Somebody approved.
    Approved "approved",
    /// Somebody rejected.
    Rejected "rejected",
    /// Somebody asked for a new attempt.
    Retried "retried",
    /// Somebody ended it.
    Aborted "aborted",
    /// A newer release took its ring.
    Superseded "superseded",
    /// Something was paused.
    Paused "paused",
    /// It was resumed.
    Resumed "resumed",
    /// The line was stopped.
    Frozen "frozen",
    /// It goes on.
    Lifted "lifted",
    /// A plan's declarations are in error.
    PlanInError "planInError",
    /// The source's head was not accepted.
    SourceRefused "sourceRefused",
    /// A release that a document or a source of releases asked for was not admitted.
    Refused "refused",
    /// A channel could not be reached for so long that messages were left out. It is told whoever listens.
    Skipped "skipped",
}

impl Topic {
    /// What is told where a notifier does not say: what somebody may have to do something about, and how it
    /// ended.
    pub const DEFAULT: [Topic; 10] = [
        Topic::Succeeded,
        Topic::Failed,
        Topic::RolledBack,
        Topic::Stuck,
        Topic::Held,
        Topic::ApprovalNeeded,
        Topic::Aborted,
        Topic::PlanInError,
        Topic::SourceRefused,
        Topic::Refused,
    ];
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
