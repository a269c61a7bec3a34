//! Residency rules, by their ids.

use super::{Way, Weigher, narrower, raw};
use crate::model::residency::{Demand, Enforcement, Rule};

/// The rules of both. Where a rule was edited into one that is neither tighter nor looser, both bind
/// from now on: a release in motion keeps to what it was admitted under and to what is asked now.
pub(super) fn rules(weigher: &mut Weigher, was: &[Rule], is: &[Rule]) -> Vec<Rule> {
    let mut kept = was.to_vec();
    for now in is {
        let mut known = kept.iter_mut().filter(|rule| rule.id == now.id).peekable();
        if known.peek().is_none() {
            weigher.added("residency", Way::Tighter, &now.id);
            kept.push(now.clone());
            continue;
        }
        let field = format!("residency.{}", now.id);
        let known: Vec<&mut Rule> = known.collect();
        let nearest = |rule: &Rule| match rule.demand == now.demand {
            true => None,
            false => Some(way(&rule.demand, &now.demand)),
        };
        // The same comes before what is tighter, and that before what is looser or other.
        let Some(rule) = known.into_iter().min_by_key(|rule| nearest(rule)) else { continue };
        match nearest(rule) {
            None => {}
            Some(Way::Other) => {
                weigher.note(&field, raw(&rule.demand), raw(&now.demand), Way::Other);
                kept.push(now.clone());
                continue;
            }
            Some(way @ (Way::Tighter | Way::Looser)) => {
                let demands = (&rule.demand, &now.demand);
                rule.demand = weigher.weigh(&field, demands, raw, way);
            }
        }
        let hard = match now.enforcement {
            Enforcement::Hard => Way::Tighter,
            Enforcement::Waivable => Way::Looser,
        };
        let enforcements = (&rule.enforcement, &now.enforcement);
        let field = format!("{field}.enforcement");
        rule.enforcement = weigher.weigh(&field, enforcements, raw, hard);
    }
    for rule in was.iter().filter(|rule| !is.iter().any(|now| now.id == rule.id)) {
        weigher.removed("residency", Way::Looser, &rule.id);
    }
    kept
}

/// Which way a demand was edited. One that is not compared here is another demand.
fn way(was: &Demand, is: &Demand) -> Way {
    use Demand::*;
    let than = |tighter: bool| if tighter { Way::Tighter } else { Way::Looser };
    if let (ClassWithin { class: a, jurisdiction: was }, ClassWithin { class: b, jurisdiction: is }) =
        (was, is)
        && a == b
    {
        narrower(was, is)
    } else if let (
        TargetsWithin { rings: a, jurisdiction: was },
        TargetsWithin { rings: b, jurisdiction: is },
    ) = (was, is)
        && a == b
    {
        narrower(was, is)
    } else if let (
        TargetsOutside { rings: a, jurisdiction: was },
        TargetsOutside { rings: b, jurisdiction: is },
    ) = (was, is)
        && a == b
    {
        // More land to keep out of.
        narrower(is, was)
    } else if let (
        MaxInFlight { jurisdiction: a, rings: was },
        MaxInFlight { jurisdiction: b, rings: is },
    ) = (was, is)
        && a == b
    {
        than(is < was)
    } else if let (
        EvidenceWithin { jurisdiction: a, disclose: was },
        EvidenceWithin { jurisdiction: b, disclose: is },
    ) = (was, is)
        && a == b
    {
        than(is > was)
    } else if let (
        ApproverWithin { jurisdiction: a, count: was },
        ApproverWithin { jurisdiction: b, count: is },
    ) = (was, is)
        && a == b
    {
        than(is > was)
    } else {
        Way::Other
    }
}
