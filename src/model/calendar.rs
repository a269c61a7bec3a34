//! When it is open: windows by cron in an IANA time zone, and freezes between dates.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, OnceLock},
};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::time::Span;
use crate::ids::CalendarName;

/// Windows and freezes, in one time zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calendar {
    /// Its name.
    pub name: CalendarName,
    /// An IANA time zone, such as `Europe/Dublin`.
    pub time_zone: String,
    /// Where there are any, it is open only while one of them is.
    pub allow: Vec<Window>,
    /// While one of them holds, it is closed, whatever else is allowed.
    pub deny: Vec<Deny>,
    /// What is held while it is closed.
    pub applies_to: Vec<AppliesTo>,
    /// What happens to a ring that is under way when it closes.
    pub in_flight: InFlight,
}

/// A window that opens again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// When it opens, in local time.
    pub cron: Cron,
    /// How long it stays open.
    pub duration: Span,
}

/// A cron expression of six fields, seconds first. It is parsed once, when it is first asked.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Cron {
    text: Arc<str>,
    schedule: Arc<OnceLock<Option<cron::Schedule>>>,
}

impl Cron {
    /// Nothing where it is no cron expression.
    fn schedule(&self) -> Option<&cron::Schedule> {
        self.schedule.get_or_init(|| self.text.parse().ok()).as_ref()
    }
}

impl From<&str> for Cron {
    fn from(text: &str) -> Self {
        Self { text: text.into(), schedule: Arc::default() }
    }
}

impl From<String> for Cron {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<Cron> for String {
    fn from(cron: Cron) -> Self {
        cron.text.as_ref().into()
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Cron {}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// A stretch of time in which nothing goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deny {
    /// Its first instant.
    pub from: Timestamp,
    /// The first instant after it.
    pub to: Timestamp,
    /// Why, for people.
    pub reason: String,
}

/// What a closed calendar holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AppliesTo {
    /// The start of a ring.
    Start,
    /// The next cluster of a ring that has started.
    Advance,
    /// Going back.
    Rollback,
}

/// What happens to a ring that is under way when its calendar closes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum InFlight {
    /// Clusters that deploy go on; no further cluster begins.
    #[default]
    FinishCluster,
    /// All its clusters go on.
    FinishRing,
    /// Nothing more begins, and its soak stands still.
    Halt,
}

/// What a calendar says of an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// Open, and when it will close, if it ever does.
    Open {
        /// The first instant at which it is closed.
        until: Option<Timestamp>,
    },
    /// Closed, why, and when it will open, if it ever does.
    Closed {
        /// In words, for people.
        why: String,
        /// The first instant at which it is open.
        opens: Option<Timestamp>,
    },
}

/// How many windows and freezes are looked through for the next opening before giving up: a calendar
/// that denies more than this in a row never opens.
const PATIENCE: usize = 1_000;

/// Local times that a change of clocks may shift a window by.
const SHIFT: Span = Span::minutes(180);
const SHIFT_LOCAL: chrono::Duration = chrono::Duration::minutes(180);

impl Calendar {
    /// Whether it is open at an instant. Deny wins over allow.
    ///
    /// A window opens at a local time: across a gap it is shifted, in a fold it opens once, at the
    /// first of the two; its length is real time.
    pub fn at(&self, instant: Timestamp) -> Opening {
        let closed = |why| Opening::Closed { why, opens: self.opens_after(instant) };
        if let Some(deny) = self.denied(instant) {
            return closed(deny.reason.clone());
        }
        let deny = self.deny.iter().map(|deny| deny.from).filter(|from| *from > instant).min();
        if self.allow.is_empty() {
            return Opening::Open { until: deny };
        }
        match self.window_end(instant) {
            Some(end) => Opening::Open { until: Some(deny.map_or(end, |deny| deny.min(end))) },
            None => closed("outside its windows".into()),
        }
    }

    /// The first instant from `instant` on at which it is open; nothing where it never opens.
    pub fn opens_after(&self, instant: Timestamp) -> Option<Timestamp> {
        let mut at = instant;
        for _ in 0..PATIENCE {
            if let Some(deny) = self.denied(at) {
                at = deny.to;
            } else if self.allow.is_empty() || self.window_end(at).is_some() {
                return Some(at);
            } else {
                at = self.allow.iter().filter_map(|window| self.next_start(window, at)).min()?;
            }
        }
        None
    }

    /// The first instant from `instant` on at which it is open and stays so for `wanted`; nothing where it
    /// never does.
    pub fn opens_for(&self, instant: Timestamp, wanted: Span) -> Option<Timestamp> {
        let mut at = self.opens_after(instant)?;
        for _ in 0..PATIENCE {
            match self.at(at) {
                Opening::Open { until: Some(until) }
                    if until.duration_since(at) < wanted.to_signed() =>
                {
                    at = self.opens_after(until)?;
                }
                Opening::Open { .. } => return Some(at),
                Opening::Closed { opens, .. } => at = opens?,
            }
        }
        None
    }

    fn denied(&self, at: Timestamp) -> Option<&Deny> {
        self.deny.iter().filter(|deny| deny.from <= at && at < deny.to).max_by_key(|deny| deny.to)
    }

    /// When the window that `at` lies in ends; windows that touch or overlap are one.
    fn window_end(&self, at: Timestamp) -> Option<Timestamp> {
        let ends = self.allow.iter().filter_map(|window| {
            let started = self.zoned(window)?.last(at)?;
            started.checked_add(window.duration.to_signed()).ok()
        });
        let mut end = ends.filter(|end| *end > at).max()?;
        let zoned: Vec<_> = self.allow.iter().map(|w| (self.zoned(w), w.duration)).collect();
        let mut later: Vec<_> = zoned
            .iter()
            .filter_map(|(zoned, length)| Some((zoned.as_ref()?.from(at)?.peekable(), *length)))
            .collect();
        for _ in 0..PATIENCE {
            let before = end;
            for (starts, length) in &mut later {
                if let Some(start) = starts.next_if(|start| *start <= before) {
                    end = end.max(start.checked_add(length.to_signed()).unwrap_or(end));
                }
            }
            let more = later.iter_mut().any(|(starts, _)| starts.peek().is_some_and(|s| *s <= end));
            if !more {
                break;
            }
        }
        Some(end)
    }

    fn next_start(&self, window: &Window, after: Timestamp) -> Option<Timestamp> {
        self.zoned(window)?.next(after)
    }

    /// Both were checked when the calendar was declared: one that cannot be read never opens.
    fn zoned<'w>(&self, window: &'w Window) -> Option<Zoned<'w>> {
        let zone = TimeZone::get(&self.time_zone).ok()?;
        Some(Zoned { zone, schedule: window.cron.schedule()? })
    }
}

/// The starts of a window. cron counts in local time without a zone, which never runs backwards; only
/// its answers are placed in the zone, and near a change of clocks their order may differ from cron's.
struct Zoned<'w> {
    zone: TimeZone,
    schedule: &'w cron::Schedule,
}

impl Zoned<'_> {
    /// The latest start that is not after `at`.
    fn last(&self, at: Timestamp) -> Option<Timestamp> {
        let from = self.local(at.checked_add(self.slack(at)).ok()?)? + chrono::Duration::seconds(1);
        let mut found: Option<(Timestamp, chrono::DateTime<chrono::Utc>)> = None;
        for local in self.schedule.after(&from).rev() {
            let Some(start) = self.place(local) else { continue };
            match found {
                None if start > at => {}
                None if self.slack(start).is_zero() => return Some(start),
                None => found = Some((start, local)),
                Some((_, first)) if first - local > SHIFT_LOCAL => break,
                Some((latest, first)) if start <= at => found = Some((latest.max(start), first)),
                Some(_) => {}
            }
        }
        found.map(|(start, _)| start)
    }

    /// The first start after `at`.
    fn next(&self, at: Timestamp) -> Option<Timestamp> {
        let from = self.local(at.checked_sub(self.slack(at)).ok()?)?;
        let mut found: Option<(Timestamp, chrono::DateTime<chrono::Utc>)> = None;
        for local in self.schedule.after(&from) {
            let start = self.place(local)?;
            match found {
                None if start <= at => {}
                None if self.slack(start).is_zero() => return Some(start),
                None => found = Some((start, local)),
                Some((_, first)) if local - first > SHIFT_LOCAL => break,
                Some((soonest, first)) if start > at => found = Some((soonest.min(start), first)),
                Some(_) => {}
            }
        }
        found.map(|(start, _)| start)
    }

    /// The starts from about `at` on, in order: what a change of clocks shifts is held back until nothing
    /// can come before it any more.
    fn from(&self, at: Timestamp) -> Option<impl Iterator<Item = Timestamp>> {
        let from = self.local(at.checked_sub(self.slack(at)).ok()?)?;
        let mut placed = self.schedule.after(&from).map_while(|local| self.place(local));
        let mut held: BTreeSet<Timestamp> = BTreeSet::new();
        Some(std::iter::from_fn(move || {
            loop {
                let (first, last) = (held.first().copied(), held.last().copied());
                let spread = first.zip(last).map(|(first, last)| last.duration_since(first));
                let settled = spread.is_some_and(|spread| spread > SHIFT.to_signed())
                    || first.is_some_and(|first| self.slack(first).is_zero());
                match if settled { None } else { placed.next() } {
                    Some(start) => _ = held.insert(start),
                    None => return held.pop_first(),
                }
            }
        }))
    }

    /// What a local time may be shifted by around `at`: nothing, unless a change of clocks is near.
    fn slack(&self, at: Timestamp) -> SignedDuration {
        let shift = SHIFT.to_signed();
        let (Ok(before), Ok(after)) = (at.checked_sub(shift), at.checked_add(shift)) else {
            return shift;
        };
        let change = self.zone.following(before).next();
        if change.is_some_and(|c| c.timestamp() <= after) { shift } else { SignedDuration::ZERO }
    }

    /// Local time, as if it were UTC.
    fn local(&self, at: Timestamp) -> Option<chrono::DateTime<chrono::Utc>> {
        let local = self.zone.to_datetime(at).to_zoned(TimeZone::UTC).ok()?.timestamp();
        chrono::DateTime::from_timestamp(local.as_second(), 0)
    }

    fn place(&self, local: chrono::DateTime<chrono::Utc>) -> Option<Timestamp> {
        let local = TimeZone::UTC.to_datetime(Timestamp::from_second(local.timestamp()).ok()?);
        self.zone.to_ambiguous_timestamp(local).compatible().ok()
    }
}

#[cfg(test)]
mod sweep;

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(zone: &str, cron: &str, duration: Span) -> Calendar {
        Calendar {
            name: "c".into(),
            time_zone: zone.into(),
            allow: vec![Window { cron: cron.into(), duration }],
            deny: Vec::new(),
            applies_to: vec![AppliesTo::Start],
            in_flight: InFlight::FinishRing,
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    fn open(calendar: &Calendar, text: &str) -> bool {
        matches!(calendar.at(at(text)), Opening::Open { .. })
    }

    #[test]
    fn a_window_opens_and_closes_in_local_time() {
        let c = calendar("Europe/Dublin", "0 0 9 * * Mon-Thu", Span::minutes(7 * 60));
        assert!(!open(&c, "2026-03-09T08:59:59Z"));
        assert!(open(&c, "2026-03-09T09:00:00Z"), "winter: local time is UTC");
        let until = Some(at("2026-03-09T16:00:00Z"));
        assert_eq!(c.at(at("2026-03-09T12:00:00Z")), Opening::Open { until });
        assert!(!open(&c, "2026-03-09T16:00:00Z"));
        assert!(open(&c, "2026-07-06T08:00:00Z"), "summer: one hour earlier in UTC");
        assert_eq!(c.opens_after(at("2026-03-13T12:00:00Z")), Some(at("2026-03-16T09:00:00Z")));
    }

    #[test]
    fn deny_wins_and_an_opening_lies_behind_it() {
        let mut c = calendar("UTC", "0 0 9 * * *", Span::minutes(60));
        c.deny.push(Deny {
            from: at("2026-12-20T00:00:00Z"),
            to: at("2027-01-04T00:00:00Z"),
            reason: "year end".into(),
        });
        let opens = Some(at("2027-01-04T09:00:00Z"));
        let closed = Opening::Closed { why: "year end".into(), opens };
        assert_eq!(c.at(at("2026-12-24T09:30:00Z")), closed);
        c.allow.clear();
        let until = Some(at("2026-12-20T00:00:00Z"));
        assert_eq!(c.at(at("2026-12-01T00:00:00Z")), Opening::Open { until });
    }

    #[test]
    fn a_calendar_that_never_opens_says_so() {
        let c = calendar("UTC", "0 0 0 30 2 *", Span::minutes(60));
        assert_eq!(c.opens_after(at("2026-01-01T00:00:00Z")), None);
    }

    #[test]
    fn windows_that_touch_are_one() {
        let c = calendar("UTC", "0 0 8,9 * * *", Span::minutes(60));
        let until = Some(at("2026-03-09T10:00:00Z"));
        assert_eq!(c.at(at("2026-03-09T08:30:00Z")), Opening::Open { until });
    }

    #[test]
    fn hours_that_clocks_repeat_or_leave_out_open_once_and_in_order() {
        // 2026-03-29 01:00Z: Dublin goes from 01:00 to 02:00. Both of these open at 02:30 local time.
        let mut c = calendar("Europe/Dublin", "0 30 1 * * *", Span::minutes(10));
        c.allow.push(Window { cron: "0 0 2 * * *".into(), duration: Span::minutes(5) });
        let until = Some(at("2026-03-29T01:05:00Z"));
        assert_eq!(c.at(at("2026-03-29T01:00:00Z")), Opening::Open { until });
        assert_eq!(c.opens_after(at("2026-03-29T01:05:00Z")), Some(at("2026-03-29T01:30:00Z")));
        // One cron that names both: what is shifted comes after what is not.
        let c = calendar("Europe/Dublin", "0 30,59 1,2 * * *", Span::minutes(1));
        assert_eq!(c.opens_after(at("2026-03-29T01:00:00Z")), Some(at("2026-03-29T01:30:00Z")));
        assert!(open(&c, "2026-03-29T01:30:59Z") && open(&c, "2026-03-29T01:59:00Z"));
        // 2026-10-25 01:00Z: from 02:00 back to 01:00. The first of the two 01:30 is meant.
        let c = calendar("Europe/Dublin", "0 30 1 * * *", Span::minutes(10));
        assert_eq!(c.opens_after(at("2026-10-24T12:00:00Z")), Some(at("2026-10-25T00:30:00Z")));
        assert!(!open(&c, "2026-10-25T01:30:00Z"));
    }

    #[test]
    fn a_window_over_a_change_of_clocks_is_as_long_as_it_says() {
        let c = calendar("Europe/Dublin", "0 0 22 * * Sat", Span::minutes(8 * 60));
        let until = Some(at("2026-03-29T06:00:00Z"));
        assert_eq!(c.at(at("2026-03-29T05:59:00Z")), Opening::Open { until });
        assert!(!open(&c, "2026-03-29T06:00:00Z"), "07:00 local, eight hours after 22:00");
    }

    /// Many short windows in a row, and long ones that overlap: neither is walked second by second.
    #[test]
    fn a_fine_cron_is_judged_at_once() {
        for (cron, length) in [
            ("* * * * * *", Span::seconds(1)),
            ("0 * * * * *", Span::minutes(2)),
            ("*/5 * * * * *", Span::minutes(7 * 60)),
            ("* * * * * *", Span::minutes(400 * 24 * 60)),
        ] {
            let c = calendar("Europe/Dublin", cron, length);
            for instant in ["2026-03-09T12:00:00Z", "2026-03-29T01:00:00Z"] {
                assert!(open(&c, instant), "{cron} for {length} at {instant}");
            }
        }
        let c = calendar("Europe/Dublin", "* * 9 * * *", Span::seconds(1));
        let until = Some(at("2026-03-09T10:00:00Z"));
        assert_eq!(c.at(at("2026-03-09T09:59:00Z")), Opening::Open { until });
        assert_eq!(c.opens_after(at("2026-03-09T10:00:00Z")), Some(at("2026-03-10T09:00:00Z")));
    }
}
