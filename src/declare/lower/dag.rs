//! Rings and what they come after -> the graph, or what keeps them from being one.

use std::collections::{BTreeMap, BTreeSet};

use super::{At, Diagnostic, Rule, bad_name, is_label, nearest, typed};
use crate::{
    declare::schema,
    ids::RingName,
    model::graph::{After, GraphError, Join, RingGraph},
};

/// The rings' graph; none where it is no DAG.
pub(super) fn graph(
    written: &[schema::Ring],
    list: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<RingGraph> {
    let before = problems.len();
    let mut rings: Vec<(RingName, After)> = Vec::new();
    let mut index: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, ring) in written.iter().enumerate() {
        let at = list.item(i);
        let Some(name) = at.require(ring.name.as_deref(), "name", problems) else { continue };
        if !is_label(name) {
            problems.push(bad_name(at.field("name"), name));
        }
        if let Some(first) = index.get(name) {
            let message = format!("two rings are called `{name}`");
            let other = list.item(*first).field("name").location();
            let problem = at.field("name").problem(Rule::Dag005, message);
            problems.push(problem.note(format!("first in {other}")).help("rename one of them"));
            continue;
        }
        index.insert(name, i);
        let (names, join) = match (&ring.after, &ring.after_any) {
            (Some(_), Some(_)) => {
                let message = "a ring waits either for all or for any";
                let problem = at.field("afterAny").key().problem(Rule::Sch007, message);
                problems.push(problem.help("keep `after` or `afterAny`"));
                continue;
            }
            (None, Some(any)) => (any.as_slice(), Join::Any),
            (Some(all), None) => (all.as_slice(), Join::All),
            (None, None) => (&[][..], Join::All),
        };
        rings.push((name.into(), After { rings: typed(names), join }));
    }
    for (name, after) in &rings {
        let at = list.item(index[name.as_str()]);
        let place = at.field(if after.join == Join::Any { "afterAny" } else { "after" });
        for (j, earlier) in after.rings.iter().enumerate() {
            if !index.contains_key(earlier.as_str()) {
                let message =
                    format!("ring `{name}` comes after `{earlier}`, which is no ring of the plan");
                let help = match nearest(earlier.as_str(), index.keys().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "declare it under `rings`".to_owned(),
                };
                problems.push(place.item(j).problem(Rule::Ref001, message).help(help));
            }
        }
    }
    if problems.len() > before {
        return None;
    }
    let edges = rings.clone();
    match RingGraph::new(rings) {
        Ok(graph) => Some(graph),
        Err(GraphError::Cycle(cycle)) => {
            knots(&cycle, edges, &index, list, problems);
            None
        }
        // Both were looked for above, with their places.
        Err(error @ (GraphError::Duplicate(_) | GraphError::Unknown { .. })) => {
            problems.push(list.key().problem(Rule::Dag001, error.to_string()));
            None
        }
    }
}

/// Every cycle, one after the other, and the rings that no release reaches because of them.
fn knots(
    first: &[RingName],
    mut edges: Vec<(RingName, After)>,
    index: &BTreeMap<&str, usize>,
    list: At<'_>,
    problems: &mut Vec<Diagnostic>,
) {
    let place = |ring: &RingName| list.item(index[ring.as_str()]).field("name");
    let mut tied: BTreeSet<RingName> = BTreeSet::new();
    let mut cycle = first.to_vec();
    loop {
        // It is told from the ring that is declared first, and stands there.
        cycle.pop();
        let start = (0..cycle.len()).min_by_key(|i| index[cycle[*i].as_str()]).unwrap_or(0);
        cycle.rotate_left(start);
        let Some(head) = cycle.first().cloned() else { return };
        cycle.push(head.clone());
        let path: Vec<_> = cycle.iter().map(RingName::as_str).collect();
        let message = format!("rings wait for each other: {}", path.join(" -> "));
        let problem = place(&head).problem(Rule::Dag001, message);
        let problem = problem.label("no release ever starts here");
        problems.push(problem.help("take one `after` out of the circle"));
        tied.extend(cycle);
        for (name, after) in &mut edges {
            if tied.contains(name) {
                after.rings.clear();
            }
        }
        match RingGraph::new(edges.clone()) {
            Err(GraphError::Cycle(next)) => cycle = next,
            Err(GraphError::Duplicate(_) | GraphError::Unknown { .. }) => return,
            Ok(graph) => {
                let mut cut = tied.clone();
                for ring in graph.order() {
                    let after = graph.after(ring);
                    let mut waits = after.rings.iter().map(|r| cut.contains(r));
                    let never = match after.join {
                        Join::All => waits.any(|w| w),
                        Join::Any => waits.len() > 0 && waits.all(|w| w),
                    };
                    if never && !tied.contains(ring) {
                        cut.insert(ring.clone());
                        let behind: Vec<_> =
                            after.rings.iter().filter(|r| cut.contains(*r)).collect();
                        let behind: Vec<_> = behind.iter().map(|r| format!("`{r}`")).collect();
                        let message = format!("no release reaches ring `{ring}`");
                        let problem = place(ring).problem(Rule::Dag002, message);
                        let label = format!("comes after {}", behind.join(", "));
                        problems.push(problem.label(label).help("break the circle before it"));
                    }
                }
                return;
            }
        }
    }
}
