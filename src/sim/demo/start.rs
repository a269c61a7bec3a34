//! When the demo's simulated time begins.

use jiff::Timestamp;

use crate::{
    ids::RingName,
    model::{calendar::Opening, plan::Plan, time::Span},
};

/// How far ahead a time is looked for at which the plan can go through.
const HORIZON: usize = 200;

/// The first instant from `now` on at which every calendar of the plan is open, and stays open for as
/// long as the whole release takes; `now` itself where there is none.
pub(super) fn when(plan: &Plan, now: Timestamp) -> Timestamp {
    let needed = longest(plan).to_signed();
    let mut at = now;
    for _ in 0..HORIZON {
        let mut later = None;
        for calendar in plan.rings.iter().flat_map(|ring| &ring.policy.calendars) {
            later = match calendar.at(at) {
                Opening::Closed { opens, .. } => opens,
                Opening::Open { until: Some(until) } if until.duration_since(at) < needed => {
                    calendar.opens_after(until)
                }
                Opening::Open { .. } => None,
            };
            if later.is_some() {
                break;
            }
        }
        match later {
            Some(later) if later > at => at = later,
            Some(_) | None => return at,
        }
    }
    now
}

/// What the way through the rings takes that takes longest, were every deploy to use its deadline.
pub(super) fn longest(plan: &Plan) -> Span {
    let mut ends: Vec<(&RingName, Span)> = Vec::new();
    for ring in &plan.rings {
        let after = plan.graph.after(&ring.name);
        let before = ends.iter().filter(|(name, _)| after.rings.contains(name));
        let begins = before.map(|(_, end)| *end).max().unwrap_or_default();
        ends.push((&ring.name, begins + ring.policy.deadline + ring.policy.soak.duration));
    }
    ends.into_iter().map(|(_, end)| end).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{super::declarations, *};
    use crate::declare::compile;

    fn checkout() -> std::sync::Arc<Plan> {
        compile(&declarations::snapshot(None).unwrap()).plans["checkout"].clone().unwrap()
    }

    #[test]
    fn it_begins_when_the_whole_release_fits_into_the_windows() {
        let plan = checkout();
        assert_eq!(longest(&plan), "3h20m".parse().unwrap());
        let begins = |now: &str| when(&plan, now.parse().unwrap()).to_string();
        // 07:00 to 19:00 in Dublin, on weekdays.
        assert_eq!(begins("2026-11-18T10:30:00Z"), "2026-11-18T10:30:00Z");
        assert_eq!(begins("2026-11-18T17:30:00Z"), "2026-11-19T07:00:00Z");
        assert_eq!(begins("2026-11-20T17:30:00Z"), "2026-11-23T07:00:00Z");
        assert_eq!(begins("2026-12-24T10:00:00Z"), "2027-01-04T07:00:00Z");
    }
}
