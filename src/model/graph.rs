//! The validated DAG of a plan's rings. Construction is the validation; no `NodeIndex` leaves here.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::{
    algo::kosaraju_scc,
    graph::{DiGraph, NodeIndex},
    visit::{Dfs, EdgeRef, Reversed},
};
use serde::{Deserialize, Serialize};

use crate::ids::RingName;

/// Whether a ring waits for all the rings it comes after, or for any of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Join {
    /// `after`: all of them.
    #[default]
    All,
    /// `afterAny`: the first of them.
    Any,
}

/// What a ring comes after.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct After {
    /// The rings; none for a first ring.
    pub rings: Vec<RingName>,
    /// How many of them must have passed.
    pub join: Join,
}

/// The rings of a plan in an order in which each follows what it comes after.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Vec<(RingName, After)>", into = "Vec<(RingName, After)>")]
pub struct RingGraph {
    graph: DiGraph<RingName, ()>,
    order: Vec<RingName>,
    nodes: BTreeMap<RingName, (NodeIndex, After)>,
}

/// Why rings are no DAG.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Two rings of one name.
    #[error("ring `{0}` is declared twice")]
    Duplicate(RingName),
    /// An edge from a ring that is not there.
    #[error("ring `{ring}` comes after `{after}`, which the plan does not declare")]
    Unknown {
        /// The ring that names it.
        ring: RingName,
        /// The name that nothing declares.
        after: RingName,
    },
    /// A cycle, whole, its first ring repeated at its end.
    #[error("rings wait for each other: {}", .0.iter().map(RingName::as_str).collect::<Vec<_>>().join(" -> "))]
    Cycle(Vec<RingName>),
}

impl RingGraph {
    /// Validates `rings`, given in the order of their declaration.
    pub fn new(rings: Vec<(RingName, After)>) -> Result<Self, GraphError> {
        let mut graph = DiGraph::new();
        let mut nodes = BTreeMap::new();
        for (name, after) in &rings {
            let node = graph.add_node(name.clone());
            if nodes.insert(name.clone(), (node, after.clone())).is_some() {
                return Err(GraphError::Duplicate(name.clone()));
            }
        }
        for (ring, after) in &rings {
            for earlier in &after.rings {
                let Some((from, _)) = nodes.get(earlier) else {
                    return Err(GraphError::Unknown { ring: ring.clone(), after: earlier.clone() });
                };
                graph.update_edge(*from, nodes[ring].0, ());
            }
        }
        if let Some(cycle) = find_cycle(&graph) {
            return Err(GraphError::Cycle(cycle));
        }
        let order = stable_order(&rings);
        Ok(Self { graph, order, nodes })
    }

    /// Every ring, each behind what it comes after, otherwise as declared.
    pub fn order(&self) -> &[RingName] {
        &self.order
    }

    /// What `ring` comes after; nothing for a ring that is not in the plan.
    pub fn after(&self, ring: &RingName) -> &After {
        static NOTHING: After = After { rings: Vec::new(), join: Join::All };
        self.nodes.get(ring).map_or(&NOTHING, |(_, after)| after)
    }

    /// The rings that directly come after `ring`, in order.
    pub fn next(&self, ring: &RingName) -> Vec<&RingName> {
        let Some((node, _)) = self.nodes.get(ring) else { return Vec::new() };
        let next: BTreeSet<_> = self.graph.edges(*node).map(|e| &self.graph[e.target()]).collect();
        self.order.iter().filter(|r| next.contains(r)).collect()
    }

    /// Every ring that `ring` comes after, at any distance, in order; without `ring` itself.
    pub fn ancestors(&self, ring: &RingName) -> Vec<&RingName> {
        let Some((start, _)) = self.nodes.get(ring) else { return Vec::new() };
        let back = Reversed(&self.graph);
        let mut seen = BTreeSet::new();
        let mut walk = Dfs::new(back, *start);
        while let Some(node) = walk.next(back) {
            seen.insert(&self.graph[node]);
        }
        self.order.iter().filter(|r| *r != ring && seen.contains(r)).collect()
    }

    /// Every ring that has `ring` somewhere before it, in order; without `ring` itself.
    pub fn descendants(&self, ring: &RingName) -> Vec<&RingName> {
        let Some((start, _)) = self.nodes.get(ring) else { return Vec::new() };
        let mut seen = BTreeSet::new();
        let mut walk = Dfs::new(&self.graph, *start);
        while let Some(node) = walk.next(&self.graph) {
            seen.insert(&self.graph[node]);
        }
        self.order.iter().filter(|r| *r != ring && seen.contains(r)).collect()
    }
}

/// Two graphs are the same where they were declared the same.
impl PartialEq for RingGraph {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order && self.order.iter().all(|r| self.after(r) == other.after(r))
    }
}

impl TryFrom<Vec<(RingName, After)>> for RingGraph {
    type Error = GraphError;

    fn try_from(rings: Vec<(RingName, After)>) -> Result<Self, GraphError> {
        Self::new(rings)
    }
}

impl From<RingGraph> for Vec<(RingName, After)> {
    fn from(graph: RingGraph) -> Self {
        graph.order.iter().map(|r| (r.clone(), graph.after(r).clone())).collect()
    }
}

fn find_cycle(graph: &DiGraph<RingName, ()>) -> Option<Vec<RingName>> {
    let knot = kosaraju_scc(graph)
        .into_iter()
        .find(|c| c.len() > 1 || c.iter().any(|n| graph.contains_edge(*n, *n)))?;
    let inside: BTreeSet<_> = knot.iter().copied().collect();
    // Inside a strongly connected component every walk closes; the first repeat is the cycle.
    let mut path = vec![*inside.first()?];
    loop {
        let last = *path.last()?;
        let next = graph.neighbors(last).filter(|n| inside.contains(n)).min()?;
        if let Some(start) = path.iter().position(|n| *n == next) {
            path.push(next);
            return Some(path[start..].iter().map(|n| graph[*n].clone()).collect());
        }
        path.push(next);
    }
}

fn stable_order(rings: &[(RingName, After)]) -> Vec<RingName> {
    let mut done = BTreeSet::new();
    let mut order = Vec::with_capacity(rings.len());
    while order.len() < rings.len() {
        for (name, after) in rings {
            if !done.contains(name) && after.rings.iter().all(|r| done.contains(r)) {
                done.insert(name);
                order.push(name.clone());
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(rings: &[(&str, &[&str])]) -> Result<RingGraph, GraphError> {
        let after = |names: &[&str]| After {
            rings: names.iter().map(|n| RingName::from(*n)).collect(),
            join: Join::All,
        };
        RingGraph::new(rings.iter().map(|(n, a)| (RingName::from(*n), after(a))).collect())
    }

    #[test]
    fn order_follows_the_edges_and_otherwise_the_declaration() {
        let g = graph(&[("d", &["b", "c"]), ("a", &[]), ("c", &["a"]), ("b", &["a"])]).unwrap();
        let order: Vec<_> = g.order().iter().map(RingName::as_str).collect();
        assert_eq!(order, ["a", "c", "b", "d"]);
        assert_eq!(g.next(&"a".into()), [&RingName::from("c"), &"b".into()]);
        assert_eq!(g.descendants(&"c".into()), [&RingName::from("d")]);
    }

    #[test]
    fn a_cycle_is_named_whole() {
        let error = graph(&[("a", &["c"]), ("b", &["a"]), ("c", &["b"]), ("x", &[])]).unwrap_err();
        let GraphError::Cycle(cycle) = error else { panic!("{error}") };
        assert_eq!(cycle.len(), 4);
        assert_eq!(cycle.first(), cycle.last());
    }

    #[test]
    fn unknown_and_repeated_rings_are_refused() {
        assert_eq!(
            graph(&[("a", &["z"])]).unwrap_err(),
            GraphError::Unknown { ring: "a".into(), after: "z".into() }
        );
        assert_eq!(
            graph(&[("a", &[]), ("a", &[])]).unwrap_err(),
            GraphError::Duplicate("a".into())
        );
        assert_eq!(
            graph(&[("a", &["a"])]).unwrap_err(),
            GraphError::Cycle(vec!["a".into(), "a".into()])
        );
    }

    #[test]
    fn it_survives_serialisation() {
        let g = graph(&[("a", &[]), ("b", &["a"])]).unwrap();
        let text = serde_json::to_string(&g).unwrap();
        assert_eq!(serde_json::from_str::<RingGraph>(&text).unwrap(), g);
    }
}
