use super::*;
use crate::model::calendar::{Deny, Window};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Open on working days from 9 to 17, and closed in between the two instants.
fn calendar(from: &str, to: &str, applies_to: AppliesTo) -> Calendar {
    Calendar {
        name: "working-hours".into(),
        time_zone: "UTC".into(),
        allow: vec![Window { cron: "0 0 9 * * Mon-Fri".into(), duration: Span::minutes(480) }],
        deny: vec![Deny { from: at(from), to: at(to), reason: "peak".into() }],
        applies_to: vec![applies_to],
        in_flight: InFlight::FinishCluster,
    }
}

#[test]
fn a_start_waits_for_all_calendars_at_once() {
    let monday = calendar("2026-11-02T09:00:00Z", "2026-11-02T12:00:00Z", AppliesTo::Start);
    let later = calendar("2026-11-02T11:00:00Z", "2026-11-02T15:00:00Z", AppliesTo::Start);
    let friday_night = at("2026-10-30T20:00:00Z");
    let both = [monday.clone(), later];
    let opening = |calendars: &[Calendar], wanted| together(calendars.iter(), friday_night, wanted);
    assert_eq!(opening(&both, Span::ZERO), Some(at("2026-11-02T15:00:00Z")));
    assert_eq!(opening(&[monday], Span::ZERO), Some(at("2026-11-02T12:00:00Z")));
    assert_eq!(opening(&[], Span::minutes(60)), Some(friday_night));
    // Two hours are left of Monday, and a deploy may take three.
    assert_eq!(opening(&both, Span::minutes(180)), Some(at("2026-11-03T09:00:00Z")));
}

#[test]
fn what_never_opens_is_never_reached() {
    let mut never = calendar("2026-11-02T09:00:00Z", "2026-11-02T12:00:00Z", AppliesTo::Start);
    // There is no 30th of February.
    never.allow[0].cron = "0 0 9 30 2 *".into();
    assert_eq!(together([never].iter(), at("2026-11-02T10:00:00Z"), Span::ZERO), None);
    let short = calendar("2026-11-02T09:00:00Z", "2026-11-02T12:00:00Z", AppliesTo::Start);
    assert_eq!(together([short].iter(), at("2026-11-02T10:00:00Z"), Span::minutes(481)), None);
}
