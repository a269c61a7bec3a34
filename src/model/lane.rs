//! The hotfix lane: other rules for a release that cannot wait.
//!
//! What it makes of a plan is a plan again, so that nothing that decides knows of lanes; only what the
//! lane leaves out is kept account of, as debt.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    graph::{After, Join, RingGraph},
    plan::Plan,
    policy::{Approvals, Policy},
    residency::Territory,
    time::Span,
};
use crate::ids::{GateName, RingName};

/// The lanes that a plan declares beside its own way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lanes {
    /// For a fix that cannot wait.
    pub hotfix: Option<Hotfix>,
}

impl Lanes {
    /// Whether there is none. A plan without lanes keeps the hash that it had before there were any.
    pub fn is_empty(&self) -> bool {
        self.hotfix.is_none()
    }
}

/// The rules of the hotfix lane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hotfix {
    /// What is left of each ring's soak.
    pub soak: Shortened,
    /// Rings that must have passed before the rings after them start; all others are run ahead of.
    pub may_not_skip: Vec<RingName>,
    /// Gates that are measured and hold nothing.
    pub defer_gates: Vec<GateName>,
    /// Who must agree beside those whom a ring asks for anyway.
    pub approvals: Option<Approvals>,
    /// How long after its admission a release has the lane; rings not started by then go the plan's way.
    pub time_to_live: Span,
}

/// A share of a soak, and the least that is left of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Shortened {
    /// The share (0.25 is 25%).
    pub share: f64,
    /// Never less than this, where the whole is not less itself.
    pub floor: Span,
}

impl Shortened {
    /// What is left of a whole soak.
    pub fn of(self, whole: Span) -> Span {
        Span((whole.0 as f64 * self.share).ceil() as u64).max(self.floor).min(whole)
    }
}

/// The plan that a hotfix of `plan` goes by; nothing where it declares no such lane.
pub fn hotfix(plan: &Plan) -> Option<Plan> {
    let lane = plan.lanes.hotfix.as_ref()?;
    let mut fast = plan.clone();
    fast.hash = format!("{}+hotfix", plan.hash).into();
    fast.graph = contracted(&plan.graph, &lane.may_not_skip);
    for ring in &mut fast.rings {
        hasten(&mut ring.policy, lane);
    }
    Some(fast)
}

/// What a hotfix goes by once the lane is over for it: `normal`, and for the rings that `keep` it what
/// they started under. Who had to agree to the hotfix has to agree still, so that nothing can start
/// because time is over.
pub fn lapsed(fast: &Plan, normal: &Plan, keep: &BTreeSet<RingName>) -> Plan {
    let mut plan = normal.clone();
    plan.hash = format!("{}+hotfix-{}", normal.hash, keep.len()).into();
    for ring in &mut plan.rings {
        let Some(had) = fast.ring(&ring.name) else { continue };
        if keep.contains(&ring.name) {
            *ring = had.clone();
        } else {
            ring.policy.approvals = had.policy.approvals.clone();
        }
    }
    let edges = normal.graph.order().iter().map(|ring| {
        let graph = if keep.contains(ring) { &fast.graph } else { &normal.graph };
        (ring.clone(), graph.after(ring).clone())
    });
    // Each edge leads back in the one order that both have: there is no circle to be found.
    plan.graph = RingGraph::new(edges.collect()).unwrap_or_else(|_| normal.graph.clone());
    plan
}

fn hasten(policy: &mut Policy, lane: &Hotfix) {
    let whole = policy.soak.duration;
    policy.soak.duration = lane.soak.of(whole);
    let share = match whole {
        Span::ZERO => 1.0,
        whole => policy.soak.duration.0 as f64 / whole.0 as f64,
    };
    for gate in &mut policy.gates {
        gate.required &= !lane.defer_gates.contains(&gate.name);
        // So many samples over the soak: in a part of it, the same part of them.
        gate.min_total_samples = gate.min_total_samples.map(|samples| samples * share);
    }
    policy.approvals = match (policy.approvals.take(), &lane.approvals) {
        (Some(ring), Some(lane)) => Some(tightest(&ring, lane)),
        (Some(one), None) => Some(one),
        (None, lane) => lane.clone(),
    };
}

/// Approvals that satisfy both: nobody counts who would not count for each.
fn tightest(a: &Approvals, b: &Approvals) -> Approvals {
    let roles = match (a.roles.as_slice(), b.roles.as_slice()) {
        ([], roles) | (roles, []) => roles.to_vec(),
        (one, other) => one.iter().filter(|role| other.contains(role)).cloned().collect(),
    };
    let jurisdiction = match (&a.jurisdiction, &b.jurisdiction) {
        (one, None) | (None, one) => one.clone(),
        (Some(one), Some(other)) => Some(common(one, other)),
    };
    let expires = match (a.expires, b.expires) {
        (one, None) | (None, one) => one,
        (Some(one), Some(other)) => Some(one.min(other)),
    };
    let exclude_author = a.exclude_author || b.exclude_author;
    Approvals { count: a.count.max(b.count), roles, jurisdiction, exclude_author, expires }
}

/// Where both are; by the name of the one that lies within the other, where one does.
fn common(a: &Territory, b: &Territory) -> Territory {
    if a.members.is_subset(&b.members) {
        return a.clone();
    }
    if b.members.is_subset(&a.members) {
        return b.clone();
    }
    let name = format!("{} and {}", a.name, b.name).as_str().into();
    Territory { name, members: a.members.intersection(&b.members).cloned().collect() }
}

/// Whether nobody could ever give approvals that both ask for: the roles that count for one do not
/// count for the other, or no country is common to both.
pub fn incompatible(a: &Approvals, b: &Approvals) -> bool {
    let both = tightest(a, b);
    let asks_roles = !a.roles.is_empty() && !b.roles.is_empty();
    (asks_roles && both.roles.is_empty())
        || both.jurisdiction.is_some_and(|territory| territory.members.is_empty())
}

/// The graph in which a ring comes after what came before the rings that it need not wait for.
///
/// A ring waits for all of its rings or for any: where what would take a skipped ring's place cannot be
/// said that way, the ring is not skipped there. That is stricter than asked, and never looser.
fn contracted(graph: &RingGraph, stays: &[RingName]) -> RingGraph {
    let mut rings: Vec<(RingName, After)> = Vec::new();
    for ring in graph.order() {
        let whole = graph.after(ring);
        let of = |earlier: &RingName| {
            let skipped = !stays.contains(earlier);
            rings.iter().find(|(name, _)| skipped && name == earlier).map(|(_, after)| after)
        };
        let after = match whole.rings.as_slice() {
            [only] => of(only).unwrap_or(whole).clone(),
            _ => joined(whole, of),
        };
        rings.push((ring.clone(), after));
    }
    // Every edge leads back in the graph's order, so that there is no circle to be found.
    RingGraph::new(rings).unwrap_or_else(|_| graph.clone())
}

fn joined<'a>(whole: &After, of: impl Fn(&RingName) -> Option<&'a After>) -> After {
    let mut rings: Vec<RingName> = Vec::new();
    for earlier in &whole.rings {
        let place = match of(earlier) {
            // Nothing stands before what is skipped: that is one of any already, and none of all.
            Some(after) if after.rings.is_empty() => match whole.join {
                Join::Any => return After::default(),
                Join::All => continue,
            },
            Some(after) if after.rings.len() == 1 || after.join == whole.join => {
                after.rings.as_slice()
            }
            Some(_) | None => std::slice::from_ref(earlier),
        };
        for ring in place {
            if !rings.contains(ring) {
                rings.push(ring.clone());
            }
        }
    }
    After { rings, join: whole.join }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(names: &[&str], join: Join) -> After {
        After { rings: names.iter().map(|n| RingName::from(*n)).collect(), join }
    }

    fn graph(rings: &[(&str, &[&str], Join)]) -> RingGraph {
        let rings = rings.iter().map(|(n, a, join)| (RingName::from(*n), after(a, *join)));
        RingGraph::new(rings.collect()).unwrap()
    }

    fn shown(graph: &RingGraph) -> Vec<String> {
        let rings = graph.order().iter().map(|ring| {
            let after = graph.after(ring);
            let names: Vec<_> = after.rings.iter().map(RingName::as_str).collect();
            let join = if after.join == Join::Any && names.len() > 1 { "|" } else { "&" };
            format!("{ring}<{}", names.join(join))
        });
        rings.collect()
    }

    use Join::{All, Any};

    #[test]
    fn rings_come_after_what_may_not_be_skipped() {
        let chain =
            graph(&[("a", &[], All), ("b", &["a"], All), ("c", &["b"], All), ("d", &["c"], All)]);
        assert_eq!(shown(&contracted(&chain, &["a".into()])), ["a<", "b<a", "c<a", "d<a"]);
        assert_eq!(shown(&contracted(&chain, &["c".into()])), ["a<", "b<", "c<", "d<c"]);
        let all = ["a".into(), "b".into(), "c".into()];
        assert_eq!(contracted(&chain, &all), chain);
    }

    #[test]
    fn joins_keep_their_meaning_or_their_rings() {
        let join = graph(&[
            ("a", &[], All),
            ("b", &["a"], All),
            ("c", &["a"], All),
            ("d", &["b", "c"], All),
            ("e", &["b", "c"], Any),
        ]);
        assert_eq!(
            shown(&contracted(&join, &["a".into(), "c".into()])),
            ["a<", "b<a", "c<a", "d<a&c", "e<a|c"]
        );
        // `all of a and b` cannot stand inside `any of`, nor the other way round.
        let mixed = graph(&[
            ("a", &[], All),
            ("b", &[], All),
            ("all", &["a", "b"], All),
            ("any", &["a", "b"], Any),
            ("x", &["all", "a"], Any),
            ("y", &["any", "a"], All),
            ("z", &["any"], All),
        ]);
        let stays = ["a".into(), "b".into()];
        let found = contracted(&mixed, &stays);
        assert_eq!(&shown(&found)[4..], ["x<all|a", "y<any&a", "z<a|b"]);
        // Where nothing is before what is skipped, any of them is there already.
        assert_eq!(&shown(&contracted(&mixed, &["b".into()]))[2..4], ["all<b", "any<"]);
    }

    #[test]
    fn a_soak_is_shortened_to_the_share_and_not_below_the_floor() {
        let shortened = Shortened { share: 0.25, floor: Span::minutes(10) };
        let minutes = |n| shortened.of(Span::minutes(n));
        assert_eq!(minutes(80), Span::minutes(20));
        assert_eq!(minutes(30), Span::minutes(10));
        assert_eq!(minutes(10), Span::minutes(10));
        assert_eq!(minutes(4), Span::minutes(4));
        assert_eq!(minutes(0), Span::ZERO);
    }

    #[test]
    fn the_tightest_approvals_ask_for_what_both_do() {
        let territory = |name: &str, members: &[&str]| Territory {
            name: name.into(),
            members: members.iter().map(|m| (*m).into()).collect(),
        };
        let ring = Approvals {
            count: 1,
            roles: vec!["approver".into(), "sre".into()],
            jurisdiction: Some(territory("EU", &["DE", "IE"])),
            exclude_author: false,
            expires: Some(Span::minutes(60)),
        };
        let lane = Approvals {
            count: 2,
            roles: vec!["sre".into(), "lead".into()],
            jurisdiction: Some(territory("DE", &["DE"])),
            exclude_author: true,
            expires: None,
        };
        let both = tightest(&ring, &lane);
        assert_eq!((both.count, both.exclude_author), (2, true));
        assert_eq!(both.roles, ["sre"]);
        assert_eq!(both.jurisdiction, Some(territory("DE", &["DE"])));
        assert_eq!(both.expires, Some(Span::minutes(60)));
        assert!(!incompatible(&ring, &lane));
        let elsewhere = Approvals { jurisdiction: Some(territory("US", &["US"])), ..lane.clone() };
        assert!(incompatible(&ring, &elsewhere));
        let others = Approvals { roles: vec!["lead".into()], ..lane };
        assert!(incompatible(&ring, &others));
    }
}
