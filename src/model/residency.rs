//! What may go where. A fact that is missing, expired or contradicted is unknown, and unknown is denied.

mod breach;
mod facts;
mod pull;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    plan::digest,
    ring::{Cluster, Ring},
};
use crate::ids::{ClusterName, DataClass, Hash, Jurisdiction, PolicyName, RingName};

pub use self::{
    breach::{breaches, disclosed},
    facts::{Facts, Home, Known, Place, Sight, Witness},
    pull::pulled,
};

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

    /// Whether a cluster lies in it.
    pub fn holds(&self, cluster: &Cluster) -> bool {
        self.contains(&cluster.jurisdiction)
    }

    /// Whether any cluster of a ring lies in it.
    pub fn reaches(&self, ring: &Ring) -> bool {
        ring.clusters.iter().any(|cluster| self.holds(cluster))
    }
}

/// One rule of a `ResidencyPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The id that its owner gave it, such as `GDPR-1`.
    pub id: String,
    /// The document that declares it: ids are its own. Nothing in plans that were compiled before rules
    /// could be waived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyName>,
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
    /// Of those who approve a ring of the jurisdiction, so many belong to it.
    ApproverWithin {
        /// Whose rings, and where the approvers must belong to.
        jurisdiction: Territory,
        /// How many.
        count: u32,
    },
    /// The clusters of the jurisdiction pull from registries in it.
    PullWithin {
        /// Whose clusters, and where the registries must lie.
        jurisdiction: Territory,
        /// The registries; an image that comes from none of them is rewritten to the first that may
        /// serve it.
        registries: Vec<Registry>,
    },
    /// The state that the server keeps about the jurisdiction's rings lies in it.
    StateWithin {
        /// Whose rings, and where their state must lie.
        jurisdiction: Territory,
    },
}

/// A registry that a rule names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    /// Its host, and a path where it mirrors under one: `registry.eu.example/mirror`.
    pub host: String,
    /// The country that it lies in.
    pub jurisdiction: Option<Jurisdiction>,
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
    /// The document that declares it.
    pub policy: Option<PolicyName>,
    /// Whether it can be waived.
    pub enforcement: Enforcement,
    /// `file:line` of the rule.
    pub declared_at: String,
    /// The ring that breaks it, where it is one ring.
    pub ring: Option<RingName>,
    /// The cluster that breaks it, where it is one cluster.
    pub cluster: Option<ClusterName>,
    /// In words: `serves customer-personal from cluster us-east-1 (jurisdiction US)`.
    pub fact: String,
}

impl Rule {
    /// What the rule says, wherever it stands: another content is another rule, whatever its id.
    pub fn content(&self) -> Hash {
        let said = Rule { policy: None, declared_at: String::new(), ..self.clone() };
        digest(&said)
    }

    /// Whether it goes by the same name as another: of one document, as far as both say of which.
    pub fn is_named_as(&self, other: &Rule) -> bool {
        let apart = self.policy.as_ref().zip(other.policy.as_ref()).is_some_and(|(a, b)| a != b);
        self.id == other.id && !apart
    }
}

impl Enforcement {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Enforcement::Hard => "hard",
            Enforcement::Waivable => "waivable",
        }
    }
}

impl Demand {
    /// The names of all of them, as they are declared.
    pub const NAMES: [&str; 12] = [
        "classWithin",
        "targetsWithin",
        "targetsOutside",
        "homogeneous",
        "notFirstIn",
        "independent",
        "maxInFlight",
        "pairExclusive",
        "evidenceWithin",
        "approverWithin",
        "pullWithin",
        "stateWithin",
    ];

    /// Its name, as it is declared.
    pub fn name(&self) -> &'static str {
        match self {
            Demand::ClassWithin { .. } => "classWithin",
            Demand::TargetsWithin { .. } => "targetsWithin",
            Demand::TargetsOutside { .. } => "targetsOutside",
            Demand::Homogeneous { .. } => "homogeneous",
            Demand::NotFirstIn { .. } => "notFirstIn",
            Demand::Independent { .. } => "independent",
            Demand::MaxInFlight { .. } => "maxInFlight",
            Demand::PairExclusive => "pairExclusive",
            Demand::EvidenceWithin { .. } => "evidenceWithin",
            Demand::ApproverWithin { .. } => "approverWithin",
            Demand::PullWithin { .. } => "pullWithin",
            Demand::StateWithin { .. } => "stateWithin",
        }
    }

    /// Whether it limits what moves at once: whoever would start keeps it, and not a plan as such.
    pub fn is_cap(&self) -> bool {
        match self {
            Demand::MaxInFlight { .. } | Demand::PairExclusive => true,
            Demand::ClassWithin { .. }
            | Demand::TargetsWithin { .. }
            | Demand::TargetsOutside { .. }
            | Demand::Homogeneous { .. }
            | Demand::NotFirstIn { .. }
            | Demand::Independent { .. }
            | Demand::EvidenceWithin { .. }
            | Demand::PullWithin { .. }
            | Demand::ApproverWithin { .. }
            | Demand::StateWithin { .. } => false,
        }
    }

    /// Whether it speaks of where a payload is, and not of the order in which it comes there: a way back
    /// keeps it too.
    pub fn binds_the_way_back(&self) -> bool {
        match self {
            Demand::ClassWithin { .. }
            | Demand::TargetsWithin { .. }
            | Demand::TargetsOutside { .. }
            | Demand::Homogeneous { .. }
            | Demand::PullWithin { .. }
            | Demand::StateWithin { .. } => true,
            Demand::NotFirstIn { .. }
            | Demand::Independent { .. }
            | Demand::MaxInFlight { .. }
            | Demand::PairExclusive
            | Demand::EvidenceWithin { .. }
            | Demand::ApproverWithin { .. } => false,
        }
    }

    /// Where evidence stays and what of it may leave, where it is about that.
    pub fn evidence(&self) -> Option<(&Territory, Disclose)> {
        match self {
            Demand::EvidenceWithin { jurisdiction, disclose } => Some((jurisdiction, *disclose)),
            Demand::ClassWithin { .. }
            | Demand::TargetsWithin { .. }
            | Demand::TargetsOutside { .. }
            | Demand::Homogeneous { .. }
            | Demand::NotFirstIn { .. }
            | Demand::Independent { .. }
            | Demand::MaxInFlight { .. }
            | Demand::PairExclusive
            | Demand::PullWithin { .. }
            | Demand::ApproverWithin { .. }
            | Demand::StateWithin { .. } => None,
        }
    }

    /// Where the server's state lies, where it is about that.
    pub fn state(&self) -> Option<&Territory> {
        match self {
            Demand::StateWithin { jurisdiction } => Some(jurisdiction),
            Demand::ClassWithin { .. }
            | Demand::TargetsWithin { .. }
            | Demand::TargetsOutside { .. }
            | Demand::Homogeneous { .. }
            | Demand::NotFirstIn { .. }
            | Demand::Independent { .. }
            | Demand::MaxInFlight { .. }
            | Demand::PairExclusive
            | Demand::EvidenceWithin { .. }
            | Demand::PullWithin { .. }
            | Demand::ApproverWithin { .. } => None,
        }
    }

    /// The rings that it names, as far as it does.
    pub fn rings(&self) -> Vec<&RingName> {
        match self {
            Demand::TargetsWithin { rings, .. }
            | Demand::TargetsOutside { rings, .. }
            | Demand::Homogeneous { rings } => rings.iter().collect(),
            Demand::Independent { a, b } => vec![a, b],
            Demand::ClassWithin { .. }
            | Demand::NotFirstIn { .. }
            | Demand::MaxInFlight { .. }
            | Demand::PairExclusive
            | Demand::EvidenceWithin { .. }
            | Demand::PullWithin { .. }
            | Demand::ApproverWithin { .. }
            | Demand::StateWithin { .. } => Vec::new(),
        }
    }
}
