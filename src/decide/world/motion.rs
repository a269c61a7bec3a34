//! The rings in motion over all plans, what limits them, and those that wait for a place among them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::image;
use crate::{
    ids::{ClusterName, Jurisdiction, PlanName, Region, ReleaseId, RingName},
    model::{
        blocs::Blocs,
        limits::{MotionLimits, PerPlace},
        plan::Plan,
        residency::{Rule, Territory},
        ring::Ring,
    },
};

/// A ring of a plan, whatever release is on it.
pub type Place = (PlanName, RingName);

/// A ring in motion, as far as it concerns other plans.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moving {
    /// Its clusters, and where they lie.
    pub clusters: BTreeMap<ClusterName, (Region, Jurisdiction)>,
    /// The rules of its plan that are caps: while it moves, they bind whoever would move beside it.
    pub caps: Vec<Rule>,
}

impl Moving {
    /// What `ring` of `plan` is while it moves.
    pub fn of(plan: &Plan, ring: &Ring) -> Self {
        let place = |c: &crate::model::ring::Cluster| (c.region.clone(), c.jurisdiction.clone());
        let clusters = ring.clusters.iter().map(|c| (c.name.clone(), place(c))).collect();
        let caps = plan.residency.iter().filter(|rule| rule.demand.is_cap());
        Self { clusters, caps: caps.cloned().collect() }
    }

    /// Whether any of its clusters lies in a territory.
    pub fn reaches(&self, territory: &Territory) -> bool {
        self.clusters.values().any(|(_, place)| territory.contains(place))
    }
}

/// What rings in motion are counted over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cap {
    /// All there are, by the server's settings.
    Everywhere,
    /// Those in a region, by the server's settings.
    Region(Region),
    /// Those in a country or bloc, by the server's settings.
    Jurisdiction(Jurisdiction),
    /// Those in a country or bloc, by a residency rule of a plan.
    Rule(Jurisdiction),
}

impl Cap {
    /// Whether it is the server's, and not a plan's.
    pub fn is_settings(&self) -> bool {
        match self {
            Cap::Everywhere | Cap::Region(_) | Cap::Jurisdiction(_) => true,
            Cap::Rule(_) => false,
        }
    }

    /// Whether a ring in motion counts.
    pub fn counts(&self, moving: &Moving, blocs: &Blocs) -> bool {
        let mut clusters = moving.clusters.values();
        match self {
            Cap::Everywhere => true,
            Cap::Region(region) => clusters.any(|(here, _)| here == region),
            Cap::Jurisdiction(name) | Cap::Rule(name) => {
                clusters.any(|(_, here)| blocs.contains(name, here))
            }
        }
    }

    /// The caps of the settings that `moving` counts to, each with its limit.
    pub fn of(limits: &MotionLimits, moving: &Moving, blocs: &Blocs) -> Vec<(Cap, u32)> {
        let places = moving.clusters.values();
        let mut caps: Vec<(Cap, u32)> =
            limits.rings.map(|n| (Cap::Everywhere, n.get())).into_iter().collect();
        match &limits.per_region {
            PerPlace::Each(n) => {
                caps.extend(places.clone().map(|(here, _)| (Cap::Region(here.clone()), n.get())));
            }
            PerPlace::Named(named) => {
                caps.extend(named.iter().map(|(name, n)| (Cap::Region(name.clone()), n.get())));
            }
        }
        match &limits.per_jurisdiction {
            PerPlace::Each(n) => {
                caps.extend(places.map(|(_, here)| (Cap::Jurisdiction(here.clone()), n.get())));
            }
            PerPlace::Named(named) => {
                let named = named.iter();
                caps.extend(named.map(|(name, n)| (Cap::Jurisdiction(name.clone()), n.get())));
            }
        }
        caps.retain(|(cap, _)| cap.counts(moving, blocs));
        caps.sort();
        caps.dedup();
        caps
    }
}

/// Those that would start now but for the limits of the settings, in the order in which they began to
/// wait. A newer release of the same plan takes its predecessor's place in it: a stream of releases does
/// not send a plan back to the end again and again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    claims: BTreeMap<u64, Claim>,
    #[serde(with = "image::pairs")]
    turns: BTreeMap<Place, u64>,
    last: u64,
    /// Grows when one leaves without starting: others may take what was kept for it.
    pub left: u64,
}

/// One that waits for a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The release.
    pub release: ReleaseId,
    /// The ring that it would start on.
    pub ring: RingName,
    /// What it will be once it moves.
    pub moving: Moving,
}

impl Line {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// Who waits for a start on that ring.
    pub fn claim(&self, place: &Place) -> Option<&Claim> {
        self.claims.get(self.turns.get(place)?)
    }

    /// Those that began to wait before it, who waits longest first; all, where it does not wait.
    pub fn ahead_of(&self, place: &Place) -> impl Iterator<Item = &Claim> {
        let turn = self.turns.get(place).copied().unwrap_or(u64::MAX);
        self.claims.range(..turn).map(|(_, claim)| claim)
    }

    /// Those of a plan.
    pub fn of_plan(&self, plan: &PlanName) -> impl Iterator<Item = &Claim> {
        let first: Place = (plan.clone(), "".into());
        let turns = self.turns.range(first..).take_while(move |((p, _), _)| p == plan);
        turns.filter_map(|(_, turn)| self.claims.get(turn))
    }

    /// It joins as the last, or takes its predecessor's place.
    pub(super) fn join(&mut self, claim: Claim) {
        let place = (claim.release.plan.clone(), claim.ring.clone());
        let next = self.last + 1;
        let turn = *self.turns.entry(place).or_insert(next);
        self.last = self.last.max(turn);
        let same = self.claims.get(&turn) == Some(&claim);
        if self.claims.insert(turn, claim).is_some() && !same {
            self.left += 1;
        }
    }

    /// It waits no more.
    pub(super) fn leave(&mut self, place: &Place) {
        if let Some(turn) = self.turns.remove(place) {
            self.claims.remove(&turn);
            self.left += 1;
        }
    }

    /// What it will be once it moves has changed.
    pub(super) fn amend(&mut self, place: &Place, moving: Moving) {
        let claim = self.turns.get(place).and_then(|turn| self.claims.get_mut(turn));
        if let Some(claim) = claim {
            claim.moving = moving;
            self.left += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_release_keeps_the_place_of_the_one_before() {
        let mut line = Line::default();
        let claim = |release: ReleaseId| {
            let (ring, moving) = ("eu".into(), Moving::default());
            Claim { release, ring, moving }
        };
        line.join(claim(ReleaseId::new("a", "1")));
        line.join(claim(ReleaseId::new("b", "1")));
        line.join(claim(ReleaseId::new("a", "2")));
        let place = |plan: &str| (PlanName::from(plan), RingName::from("eu"));
        let ahead = |line: &Line, plan: &str| -> Vec<String> {
            line.ahead_of(&place(plan)).map(|claim| claim.release.to_string()).collect()
        };
        assert_eq!(ahead(&line, "b"), ["a@2"]);
        assert_eq!(ahead(&line, "c"), ["a@2", "b@1"]);
        line.leave(&place("a"));
        assert_eq!(ahead(&line, "c"), ["b@1"]);
        line.join(claim(ReleaseId::new("a", "3")));
        assert_eq!(ahead(&line, "a"), ["b@1"], "who left begins again");
    }

    #[test]
    fn a_ring_counts_to_every_place_that_it_reaches() {
        let place =
            |region: &str, country: &str| (Region::from(region), Jurisdiction::from(country));
        let moving = Moving {
            clusters: [
                ("one".into(), place("eu-west-1", "IE")),
                ("two".into(), place("eu-central-1", "DE")),
            ]
            .into(),
            caps: Vec::new(),
        };
        let caps = |limits: &str| -> Vec<(Cap, u32)> {
            let limits: MotionLimits = serde_yaml::from_str(limits).unwrap();
            Cap::of(&limits, &moving, &Blocs::default())
        };
        let region = |name: &str| Cap::Region(name.into());
        let jurisdiction = |name: &str| Cap::Jurisdiction(name.into());
        assert_eq!(caps("{}"), []);
        assert_eq!(
            caps("{rings: 9, perRegion: 1, perJurisdiction: {EU: 2, DE: 3, US: 4}}"),
            [
                (Cap::Everywhere, 9),
                (region("eu-central-1"), 1),
                (region("eu-west-1"), 1),
                (jurisdiction("DE"), 3),
                (jurisdiction("EU"), 2),
            ]
        );
        assert_eq!(
            caps("{perRegion: {us-east-1: 1}, perJurisdiction: 5}"),
            [(jurisdiction("DE"), 5), (jurisdiction("IE"), 5)]
        );
    }
}
