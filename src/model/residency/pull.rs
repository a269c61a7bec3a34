//! Where an image is pulled from: a reference is rewritten to a registry of the jurisdiction, by
//! digest, so that what runs is the same content.

use super::{Breach, Demand, Known, Registry, Rule, Territory};
use crate::{
    ids::Jurisdiction,
    model::{
        plan::Plan,
        ring::{Artifact, Cluster, Ring},
    },
};

impl Registry {
    /// Whether it is known to lie in a territory.
    pub fn lies_in(&self, territory: &Territory) -> bool {
        self.jurisdiction.as_ref().is_some_and(|place: &Jurisdiction| territory.contains(place))
    }

    /// Whether an image is pulled from it: its host, and the path that it may name, begin the reference.
    pub fn serves(&self, artifact: &Artifact) -> bool {
        let rest = artifact.0.strip_prefix(self.host.as_str());
        rest.is_some_and(|rest| rest.starts_with('/'))
    }

    /// The same image, pulled from here. Nothing where it is pinned by no digest: a tag may be another
    /// image elsewhere.
    fn mirror(&self, artifact: &Artifact) -> Option<Artifact> {
        artifact.digest()?;
        Some(Artifact(format!("{}/{}", self.host, path(&artifact.0))))
    }
}

/// The reference without the registry's host. A first part without a dot, a colon or `localhost` is no
/// host: such images come from the runtime's default registry.
fn path(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => path,
        Some(_) | None => reference,
    }
}

/// `artifact` as `cluster` is to pull it: itself, or from the first registry that every rule over the
/// cluster admits.
///
/// # Errors
/// The first rule that no registry satisfies, with the fact.
pub fn pulled(
    plan: &Plan,
    ring: &Ring,
    cluster: &Cluster,
    artifact: &Artifact,
    known: &Known<'_>,
    binds: impl Fn(&Rule) -> bool,
) -> Result<Artifact, Box<Breach>> {
    if plan.target.kind.is_flag() {
        // What a flag serves is pulled from nowhere.
        return Ok(artifact.clone());
    }
    let sight = known.of(cluster);
    let rules: Vec<(&Rule, &Territory, &[Registry])> = plan
        .residency
        .iter()
        .filter(|rule| binds(rule))
        .filter_map(|rule| {
            let (jurisdiction, registries) = rule.demand.pull()?;
            sight.may_lie_in(jurisdiction).then_some((rule, jurisdiction, registries))
        })
        .collect();
    let Some((first, jurisdiction, _)) = rules.first() else { return Ok(artifact.clone()) };
    let admitted = |image: &Artifact| {
        rules.iter().all(|(_, jurisdiction, registries)| {
            registries.iter().any(|r| r.lies_in(jurisdiction) && r.serves(image))
        })
    };
    let mirrors = rules.iter().flat_map(|(.., registries)| registries.iter());
    let mut candidates =
        std::iter::once(artifact.clone()).chain(mirrors.filter_map(|r| r.mirror(artifact)));
    candidates.find(|image| admitted(image)).ok_or_else(|| {
        let fact = if artifact.digest().is_none() {
            format!("{artifact} is pinned by no digest, so no registry of {} is known to have it for {}", jurisdiction.name, sight.place())
        } else {
            format!("no registry of {} is known to serve {} with {artifact}", jurisdiction.name, sight.place())
        };
        Box::new(first.breach(ring, Some(cluster), fact))
    })
}

impl Demand {
    /// Where images are pulled from, where it is about that.
    pub fn pull(&self) -> Option<(&Territory, &[Registry])> {
        match self {
            Demand::PullWithin { jurisdiction, registries } => Some((jurisdiction, registries)),
            Demand::ClassWithin { .. }
            | Demand::TargetsWithin { .. }
            | Demand::TargetsOutside { .. }
            | Demand::Homogeneous { .. }
            | Demand::NotFirstIn { .. }
            | Demand::Independent { .. }
            | Demand::MaxInFlight { .. }
            | Demand::PairExclusive
            | Demand::EvidenceWithin { .. }
            | Demand::ApproverWithin { .. }
            | Demand::StateWithin { .. } => None,
        }
    }
}
