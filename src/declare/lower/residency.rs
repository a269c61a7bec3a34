//! `ResidencyPolicy` documents -> rules. What they say of a plan is for the model's checks.

use super::{At, Diagnostic, Kind, Rule, Units, World, nearest, repeats, territory, typed, units};
use crate::{
    declare::schema::{self, scalar::Mirror},
    model::residency::{self, Demand, Registry, Territory},
};

/// A rule, and where it is declared.
#[derive(Debug)]
pub(super) struct Placed<'a> {
    pub rule: residency::Rule,
    pub id: At<'a>,
    at: At<'a>,
}

impl Placed<'_> {
    /// Says which rings the rule names that a plan of `rings` does not have, unless its owner said that
    /// it may concern nothing: one rule may be written for the rings of several plans.
    pub(super) fn check_rings(&self, plan: &str, rings: &[&str], problems: &mut Vec<Diagnostic>) {
        let list = |name| self.at.field(name).field("rings");
        for (i, ring) in self.rule.demand.rings().into_iter().enumerate() {
            if self.rule.allow_empty || rings.contains(&ring.as_str()) {
                continue;
            }
            let place = match &self.rule.demand {
                Demand::TargetsWithin { .. } => list("targetsWithin").item(i),
                Demand::TargetsOutside { .. } => list("targetsOutside").item(i),
                Demand::Homogeneous { .. } => list("homogeneous").item(i),
                Demand::Independent { .. } => {
                    self.at.field("independent").field(if i == 0 { "a" } else { "b" })
                }
                Demand::ClassWithin { .. }
                | Demand::NotFirstIn { .. }
                | Demand::MaxInFlight { .. }
                | Demand::PairExclusive
                | Demand::EvidenceWithin { .. }
                | Demand::PullWithin { .. }
                | Demand::ApproverWithin { .. }
                | Demand::StateWithin { .. } => self.id,
            };
            let message = format!("plan `{plan}` has no ring `{ring}`");
            let help = match nearest(ring.as_str(), rings.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("its rings are {}", rings.join(", ")),
            };
            let label = format!("rule {} is in force on it", self.rule.id);
            problems.push(place.problem(Rule::Ref001, message).label(label).help(help));
        }
    }
}

pub(super) fn lower<'a>(world: &World<'a>) -> Units<Vec<Placed<'a>>> {
    units(world, Kind::ResidencyPolicy, |name, doc, problems| {
        let spec: &schema::ResidencyPolicy = doc.spec_as()?;
        let list = doc.spec().field("rules");
        let rules = doc.spec().require(spec.rules.as_deref(), "rules", problems)?;
        let ids = rules.iter().map(|r| r.id.as_deref().unwrap_or_default());
        for (i, id) in repeats(ids).into_iter().filter(|(_, id)| !id.is_empty()) {
            let message = format!("residency rule `{id}` is declared twice");
            let place = list.item(i).field("id");
            let help = "people read and waive rules by their ids: give each its own";
            problems.push(place.problem(Rule::Ref002, message).help(help));
        }
        let placed = rules.iter().enumerate().filter_map(|(i, rule)| {
            let at = list.item(i);
            let mut rule = one(world, rule, at, problems)?;
            rule.policy = Some(name.into());
            Some(Placed { rule, id: at.field("id"), at })
        });
        Some(placed.collect())
    })
}

fn one(
    world: &World<'_>,
    spec: &schema::ResidencyRule,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<residency::Rule> {
    let id = at.require(spec.id.as_deref(), "id", problems);
    let enforcement = at.require(spec.enforcement, "enforcement", problems);
    let mut demands = demands(world, spec, at, problems);
    match demands.len() {
        1 => {}
        0 => {
            let message = "a residency rule without a demand";
            let help = "say what it demands, such as classWithin: {class: ..., jurisdiction: EU}";
            problems.push(at.field("id").problem(Rule::Sch003, message).help(help));
        }
        _ => {
            let names: Vec<_> = demands.iter().map(|(name, _)| *name).collect();
            let message = format!("a residency rule with {} demands", names.join(", "));
            let help = "make a rule of each, with an id of its own";
            problems.push(at.field("id").problem(Rule::Sch007, message).help(help));
            return None;
        }
    }
    let (_, demand) = demands.pop()?;
    Some(residency::Rule {
        id: id?.into(),
        policy: None,
        enforcement: enforcement?.into(),
        demand: demand?,
        allow_empty: spec.allow_empty.unwrap_or(false),
        declared_at: at.field("id").location(),
    })
}

/// The demands that are there, by name; empty where a problem keeps one from being read.
fn demands(
    world: &World<'_>,
    spec: &schema::ResidencyRule,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Vec<(&'static str, Option<Demand>)> {
    let mut found = Vec::new();
    let within = |name: &str, jurisdiction: &Option<String>, problems: &mut Vec<_>| {
        territory_of(world, at.field(name), jurisdiction.as_deref(), problems)
    };
    if let Some(d) = &spec.class_within {
        let place = at.field("classWithin");
        let class = place.require(d.class.as_deref(), "class", problems);
        let jurisdiction = within("classWithin", &d.jurisdiction, problems);
        let demand = class
            .zip(jurisdiction)
            .map(|(class, jurisdiction)| Demand::ClassWithin { class: class.into(), jurisdiction });
        found.push(("classWithin", demand));
    }
    if let Some(d) = &spec.targets_within {
        let jurisdiction = within("targetsWithin", &d.jurisdiction, problems);
        let rings = typed(&d.rings);
        let demand = jurisdiction.map(|jurisdiction| Demand::TargetsWithin { rings, jurisdiction });
        found.push(("targetsWithin", demand));
    }
    if let Some(d) = &spec.targets_outside {
        let jurisdiction = within("targetsOutside", &d.jurisdiction, problems);
        let rings = typed(&d.rings);
        let demand =
            jurisdiction.map(|jurisdiction| Demand::TargetsOutside { rings, jurisdiction });
        found.push(("targetsOutside", demand));
    }
    if let Some(d) = &spec.homogeneous {
        found.push(("homogeneous", Some(Demand::Homogeneous { rings: typed(&d.rings) })));
    }
    if let Some(d) = &spec.not_first_in {
        let jurisdiction = within("notFirstIn", &d.jurisdiction, problems);
        let demand = jurisdiction.map(|jurisdiction| Demand::NotFirstIn { jurisdiction });
        found.push(("notFirstIn", demand));
    }
    if let Some(d) = &spec.independent {
        let place = at.field("independent");
        let a = place.require(d.a.as_deref(), "a", problems);
        let b = place.require(d.b.as_deref(), "b", problems);
        if a.is_some() && a == b {
            let problem = place.field("b").problem(Rule::Sch007, "a ring depends on itself");
            problems.push(problem.help("name two rings"));
        }
        let demand = a.zip(b).map(|(a, b)| Demand::Independent { a: a.into(), b: b.into() });
        found.push(("independent", demand));
    }
    if let Some(d) = &spec.max_in_flight {
        let jurisdiction = within("maxInFlight", &d.jurisdiction, problems);
        let place = at.field("maxInFlight");
        let rings = place.require(d.rings, "rings", problems).map(|n| n.0);
        if rings == Some(0) {
            let problem = place.field("rings").problem(Rule::Sch004, "a cap of no rings");
            problems
                .push(problem.help("allow one at the least, or take the rings out of the plan"));
        }
        let demand = jurisdiction
            .zip(rings)
            .map(|(jurisdiction, rings)| Demand::MaxInFlight { jurisdiction, rings });
        found.push(("maxInFlight", demand));
    }
    if spec.pair_exclusive.is_some() {
        found.push(("pairExclusive", Some(Demand::PairExclusive)));
    }
    if let Some(d) = &spec.evidence_within {
        let place = at.field("evidenceWithin");
        let jurisdiction = within("evidenceWithin", &d.jurisdiction, problems);
        let disclose = place.require(d.disclose, "disclose", problems);
        let demand = jurisdiction.zip(disclose).map(|(jurisdiction, disclose)| {
            Demand::EvidenceWithin { jurisdiction, disclose: disclose.into() }
        });
        found.push(("evidenceWithin", demand));
    }
    if let Some(d) = &spec.approver_within {
        let jurisdiction = within("approverWithin", &d.jurisdiction, problems);
        let place = at.field("approverWithin");
        let count = place.require(d.count, "count", problems).map(|n| n.0);
        if count == Some(0) {
            let problem = place.field("count").problem(Rule::Sch004, "approval by nobody");
            problems.push(problem.help("ask for one at the least, or take the rule out"));
        }
        let demand = jurisdiction
            .zip(count)
            .map(|(jurisdiction, count)| Demand::ApproverWithin { jurisdiction, count });
        found.push(("approverWithin", demand));
    }
    if let Some(d) = &spec.pull_within {
        let jurisdiction = within("pullWithin", &d.jurisdiction, problems);
        let place = at.field("pullWithin");
        let registries = place.require(d.registries.as_deref(), "registries", problems);
        let demand = jurisdiction.zip(registries).map(|(jurisdiction, list)| {
            let list = registries_of(list, &jurisdiction, place.field("registries"), problems);
            Demand::PullWithin { jurisdiction, registries: list }
        });
        found.push(("pullWithin", demand));
    }
    if let Some(d) = &spec.state_within {
        let jurisdiction = within("stateWithin", &d.jurisdiction, problems);
        let demand = jurisdiction.map(|jurisdiction| Demand::StateWithin { jurisdiction });
        found.push(("stateWithin", demand));
    }
    found
}

fn registries_of(
    list: &[Mirror],
    vouched: &Territory,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Vec<Registry> {
    if list.is_empty() {
        let problem = at.key().problem(Rule::Sch004, "a rule over images without a registry");
        problems
            .push(problem.help("name one, as in {host: registry.eu.example, jurisdiction: IE}"));
    }
    let mut one = |(i, mirror): (usize, &Mirror)| {
        let item = at.item(i);
        let (host, jurisdiction, place) = match mirror {
            // Whoever writes the rule says that these are the registries of its jurisdiction.
            Mirror::Host(host) => (host.as_str(), Some(vouched.name.clone()), item),
            Mirror::Placed(spec) => {
                let host = item.require(spec.host.as_deref(), "host", problems)?;
                if let Some(code) = &spec.jurisdiction {
                    territory::country(code, item.field("jurisdiction"), problems);
                }
                (host, spec.jurisdiction.as_deref().map(Into::into), item.field("host"))
            }
        };
        let inside = |c: char| c.is_ascii_alphanumeric() || "-._:/".contains(c);
        let ends = host.ends_with('/') || host.starts_with('/') || host.contains("//");
        if host.is_empty() || ends || !host.chars().all(inside) {
            let message = format!("`{host}` is no registry's host");
            let help = "write the host, and the path that it mirrors under, without a scheme: \
                        registry.eu.example/mirror";
            problems.push(place.problem(Rule::Sch006, message).help(help));
        }
        Some(Registry { host: host.into(), jurisdiction })
    };
    list.iter().enumerate().filter_map(&mut one).collect()
}

fn territory_of(
    world: &World<'_>,
    demand: At<'_>,
    name: Option<&str>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Territory> {
    let name = demand.require(name, "jurisdiction", problems)?;
    territory::find(world, name, demand.field("jurisdiction"), problems)
}
