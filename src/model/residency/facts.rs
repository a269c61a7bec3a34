//! What is known of places now: what the accepted commit says of each cluster, what the clusters say
//! of themselves, and where the server stands. A fact that is missing, expired or contradicted is
//! unknown, and unknown lies nowhere that a rule would let it lie.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Territory;
use crate::{
    ids::{ClusterName, DataClass, Jurisdiction, Region},
    model::ring::{Cluster, MetricSource, Ring},
};

/// What is declared of a cluster, as far as residency asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The cloud region that it runs in.
    pub region: Region,
    /// The country whose law it is under.
    pub jurisdiction: Jurisdiction,
    /// The classes of data that it may hold.
    pub data_classes: Vec<DataClass>,
    /// The cluster that takes over when it fails.
    pub failover_pair: Option<ClusterName>,
    /// From when on all this is unknown, unless somebody says it anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_until: Option<Timestamp>,
    /// Where the evidence of each metric source lies, as far as that is said.
    pub evidence: BTreeMap<String, Option<Jurisdiction>>,
}

impl From<&Cluster> for Place {
    fn from(cluster: &Cluster) -> Self {
        let evidence = |source: &MetricSource| (source.name.clone(), source.jurisdiction.clone());
        Self {
            region: cluster.region.clone(),
            jurisdiction: cluster.jurisdiction.clone(),
            data_classes: cluster.data_classes.clone(),
            failover_pair: cluster.failover_pair.clone(),
            verified_until: cluster.verified_until,
            evidence: cluster.metrics.iter().map(evidence).collect(),
        }
    }
}

/// What a cluster says of itself: the labels of its nodes. What it does not say contradicts nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// `topology.kubernetes.io/region`
    pub regions: BTreeSet<Region>,
    /// `ringward.dev/jurisdiction`, where somebody labels nodes with it.
    #[serde(default)]
    pub jurisdictions: BTreeSet<Jurisdiction>,
}

impl Witness {
    /// What it says against a declaration, if it does.
    fn against(&self, region: &Region, jurisdiction: &Jurisdiction) -> Option<String> {
        let region = self
            .regions
            .iter()
            .find(|seen| *seen != region)
            .map(|seen| format!("declared in region {region}, and a node of it says {seen}"));
        region.or_else(|| {
            let other = self.jurisdictions.iter().find(|seen| *seen != jurisdiction)?;
            Some(format!("declared in {jurisdiction}, and a node of it says {other}"))
        })
    }
}

/// Where the server stands, by its own settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Home {
    /// Where it runs and judges evidence.
    pub evaluator: Option<Jurisdiction>,
    /// Where its data directory lies: journal, audit and evidence.
    pub data: Option<Jurisdiction>,
    /// Where its backups lie.
    pub backups: Option<Jurisdiction>,
}

/// All of it, as recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// By cluster; nothing for one that was declared once and is no more.
    pub clusters: BTreeMap<ClusterName, Option<Place>>,
    /// By cluster.
    pub witnesses: BTreeMap<ClusterName, Witness>,
    /// The server's own.
    pub home: Home,
    /// Clusters that contradict what is declared of them.
    suspects: BTreeSet<ClusterName>,
    /// When the first of the declared facts expires, or did.
    first_expiry: Option<Timestamp>,
}

impl Facts {
    /// What is declared of these clusters from now on.
    pub fn declare(&mut self, clusters: &BTreeMap<ClusterName, Option<Place>>) {
        let clusters = clusters.iter().map(|(name, place)| (name.clone(), place.clone()));
        self.clusters.extend(clusters);
        let places = self.clusters.values().flatten();
        self.first_expiry = places.filter_map(|place| place.verified_until).min();
        self.suspect();
    }

    /// What a cluster says of itself from now on.
    pub fn witness(&mut self, cluster: ClusterName, witness: Witness) {
        self.witnesses.insert(cluster, witness);
        self.suspect();
    }

    /// Whether no cluster contradicts what is declared of it, and nothing that is declared has expired.
    pub fn is_calm(&self, now: Timestamp) -> bool {
        self.suspects.is_empty() && self.first_expiry.is_none_or(|first| now < first)
    }

    fn suspect(&mut self) {
        let suspects = self.witnesses.iter().filter(|(cluster, witness)| {
            let place = self.clusters.get(*cluster).and_then(Option::as_ref);
            place.is_none_or(|place| witness.against(&place.region, &place.jurisdiction).is_some())
        });
        self.suspects = suspects.map(|(cluster, _)| cluster.clone()).collect();
    }
}

/// The facts as one who asks knows them.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The facts; where there are none, a plan's own declarations are all that is known.
    facts: Option<(&'a Facts, Timestamp)>,
}

impl<'a> Known<'a> {
    /// No more than a plan's own declarations: what a check knows that contacts nothing.
    pub const DECLARED: Known<'static> = Known { facts: None };

    /// Everything that was recorded, at an instant.
    pub fn at(facts: &'a Facts, now: Timestamp) -> Self {
        Self { facts: Some((facts, now)) }
    }

    /// Where the server stands; nothing where that cannot be known here.
    pub fn home(&self) -> Option<&'a Home> {
        self.facts.map(|(facts, _)| &facts.home)
    }

    /// A cluster of a plan, as it is known.
    pub fn of(&self, cluster: &'a Cluster) -> Sight<'a> {
        let Some((facts, now)) = self.facts else {
            return Sight { cluster, place: None, unknown: None };
        };
        let declared = facts.clusters.get(&cluster.name);
        let place = declared.and_then(Option::as_ref);
        let region = place.map_or(&cluster.region, |place| &place.region);
        let jurisdiction = place.map_or(&cluster.jurisdiction, |place| &place.jurisdiction);
        let until = match declared {
            Some(Some(place)) => place.verified_until,
            Some(None) => None,
            None => cluster.verified_until,
        };
        let unknown = match (declared, until, facts.witnesses.get(&cluster.name)) {
            (Some(None), ..) => Some("it is declared no more".into()),
            (_, Some(until), _) if until <= now => Some(format!("verified only until {until}")),
            (_, _, Some(witness)) => witness.against(region, jurisdiction),
            (_, _, None) => None,
        };
        Sight { cluster, place, unknown }
    }

    /// When the facts of a cluster expire, if they are to come to that.
    pub fn expires(&self, cluster: &Cluster) -> Option<Timestamp> {
        let (facts, now) = self.facts?;
        let until = match facts.clusters.get(&cluster.name) {
            Some(place) => place.as_ref()?.verified_until,
            None => cluster.verified_until,
        };
        until.filter(|until| *until > now)
    }
}

/// A cluster as it is known: as the plan was compiled with it, and as it is declared now. What is worse
/// of the two counts: better facts do not loosen what a release started under.
#[derive(Debug, Clone)]
pub struct Sight<'a> {
    /// As the plan has it.
    pub cluster: &'a Cluster,
    place: Option<&'a Place>,
    unknown: Option<String>,
}

impl<'a> Sight<'a> {
    /// The countries that it may be under the law of.
    pub fn places(&self) -> impl Iterator<Item = &'a Jurisdiction> + use<'a> {
        let now = self.place.map(|place| &place.jurisdiction);
        std::iter::once(&self.cluster.jurisdiction).chain(now)
    }

    /// Whether nothing is known of where it lies.
    pub fn is_unknown(&self) -> bool {
        self.unknown.is_some()
    }

    /// Whether it is known to lie in a territory.
    pub fn lies_in(&self, territory: &Territory) -> bool {
        self.unknown.is_none() && self.places().all(|place| territory.contains(place))
    }

    /// Whether it lies in a territory, or may.
    pub fn may_lie_in(&self, territory: &Territory) -> bool {
        self.unknown.is_some() || self.places().any(|place| territory.contains(place))
    }

    /// Whether it holds a class of data.
    pub fn holds(&self, class: &DataClass) -> bool {
        self.cluster.data_classes.contains(class)
            || self.place.is_some_and(|place| place.data_classes.contains(class))
    }

    /// Its failover partners.
    pub fn partners(&self) -> impl Iterator<Item = &'a ClusterName> + use<'a> {
        let now = self.place.and_then(|place| place.failover_pair.as_ref());
        self.cluster.failover_pair.iter().chain(now)
    }

    /// Where the evidence of one of its metric sources is said to lie; an empty answer is not known.
    pub fn evidence(&self, source: &'a MetricSource) -> Option<Vec<&'a Jurisdiction>> {
        let now = self.place.map(|place| place.evidence.get(&source.name));
        let mut said = vec![source.jurisdiction.as_ref()?];
        match now {
            None => {}
            Some(Some(Some(place))) => said.push(place),
            // The source was renamed, or nobody says any more where it lies.
            Some(Some(None) | None) => return None,
        }
        Some(said)
    }

    /// It and where it lies, in words.
    pub fn place(&self) -> String {
        let name = &self.cluster.name;
        if let Some(why) = &self.unknown {
            return format!("cluster {name} (jurisdiction unknown: {why})");
        }
        let declared = &self.cluster.jurisdiction;
        match self.place.map(|place| &place.jurisdiction).filter(|now| *now != declared) {
            Some(now) => format!("cluster {name} (jurisdiction {now}, {declared} at the release)"),
            None => format!("cluster {name} (jurisdiction {declared})"),
        }
    }
}

impl Territory {
    /// Whether any cluster of a ring lies in it, or may.
    pub fn may_reach(&self, ring: &Ring, known: &Known<'_>) -> bool {
        ring.clusters.iter().any(|cluster| known.of(cluster).may_lie_in(self))
    }
}
