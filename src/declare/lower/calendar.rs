//! `Calendar` documents -> calendars: cron in one notation, known zones, instants.

use jiff::{Timestamp, tz::TimeZone};

use super::{At, Diagnostic, Kind, Rule, Units, World, units};
use crate::{
    declare::schema::{self, scalar::Moment},
    model::{
        calendar::{AppliesTo, Calendar, Deny, Window},
        time::Span,
    },
};

/// What a closed calendar holds where it does not say.
const APPLIES_TO: [AppliesTo; 2] = [AppliesTo::Start, AppliesTo::Advance];

/// A calendar, and where it is declared.
#[derive(Debug)]
pub(super) struct Placed<'a> {
    pub calendar: Calendar,
    pub name: At<'a>,
}

pub(super) fn lower<'a>(world: &World<'a>) -> Units<Placed<'a>> {
    units(world, Kind::Calendar, |name, doc, problems| {
        let calendar = one(name, doc.spec_as()?, doc.spec(), problems)?;
        Some(Placed { calendar, name: doc.name() })
    })
}

fn one(
    name: &str,
    spec: &schema::Calendar,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Calendar> {
    let written = at.require(spec.time_zone.as_deref(), "timeZone", problems);
    let zone = written.and_then(|zone| {
        let known = TimeZone::get(zone).ok();
        if known.is_none() {
            let message = format!("`{zone}` is no IANA time zone");
            let problem = at.field("timeZone").problem(Rule::Sch005, message);
            problems.push(problem.help("such as Europe/Dublin, America/New_York or UTC"));
        }
        known
    });
    let list = at.field("allow");
    let allow = spec.allow.iter().enumerate();
    let allow = allow.filter_map(|(i, a)| window(a, list.item(i), problems)).collect();
    let list = at.field("deny");
    let deny = spec.deny.iter().enumerate();
    let deny: Vec<_> =
        deny.filter_map(|(i, d)| one_deny(d, zone.as_ref(), list.item(i), problems)).collect();
    let applies_to = match &spec.applies_to {
        None => APPLIES_TO.to_vec(),
        Some(list) if list.is_empty() => {
            let place = at.field("appliesTo").key();
            let problem = place.problem(Rule::Sch004, "a calendar that applies to nothing");
            problems.push(problem.help("leave `appliesTo` out for start and advance"));
            return None;
        }
        Some(list) => list.iter().map(|a| (*a).into()).collect(),
    };
    Some(Calendar {
        name: name.into(),
        time_zone: zone.as_ref().and_then(TimeZone::iana_name).or(written)?.to_owned(),
        allow,
        deny,
        applies_to,
        in_flight: spec.in_flight.map(Into::into).unwrap_or_default(),
    })
}

fn window(spec: &schema::Allow, at: At<'_>, problems: &mut Vec<Diagnostic>) -> Option<Window> {
    let cron = at.require(spec.cron.as_deref(), "cron", problems).and_then(|written| {
        let read = six_fields(written);
        if let Err(why) = &read {
            let problem =
                at.field("cron").problem(Rule::Sch004, format!("no cron expression: {why}"));
            problems
                .push(problem.help("such as `0 9 * * Mon-Fri`, with seconds before it or without"));
        }
        read.ok()
    });
    let duration = at.require(spec.duration, "duration", problems)?.0;
    if duration == Span::ZERO {
        let place = at.field("duration");
        problems
            .push(place.problem(Rule::Sch004, "a window that is never open").help("say how long"));
    }
    Some(Window { cron: cron?.into(), duration })
}

fn one_deny(
    spec: &schema::Deny,
    zone: Option<&TimeZone>,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Deny> {
    let from = at.require(spec.from, "from", problems);
    let to = at.require(spec.to, "to", problems);
    let zone = zone?;
    let mut resolve = |moment: Moment, name| match moment {
        Moment::Instant(instant) => Some(instant),
        // The first instant of the day: midnight, or what comes after it where a transition takes it.
        Moment::Date(date) => match date.to_zoned(zone.clone()) {
            Ok(zoned) => Some(zoned.timestamp()),
            Err(_) => {
                let problem = at.field(name).problem(Rule::Sch004, "a date beyond all calendars");
                problems.push(problem);
                None
            }
        },
    };
    let (from, to): (Timestamp, Timestamp) = (resolve(from?, "from")?, resolve(to?, "to")?);
    if to <= from {
        let problem = at.field("to").problem(Rule::Sch004, "`to` is not after `from`");
        let help = "`to` is the first instant, or the first day, that is free again";
        problems.push(problem.help(help));
        return None;
    }
    Some(Deny { from, to, reason: spec.reason.clone().unwrap_or_default() })
}

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// A cron expression of five or six fields as the six that the model has, with the days of the week by
/// name: the number that means Sunday differs between crons, and here it is 0 or 7, as in most.
pub(super) fn six_fields(written: &str) -> Result<String, String> {
    let mut fields: Vec<String> = written.split_whitespace().map(str::to_owned).collect();
    match fields.len() {
        5 => fields.insert(0, "0".into()),
        6 => {}
        n => return Err(format!("it has {n} fields, not five or six")),
    }
    fields[5] = days(&fields[5])?;
    let text = fields.join(" ");
    match text.parse::<cron::Schedule>() {
        Ok(_) => Ok(text),
        Err(_) => Err(format!("`{written}` cannot be read")),
    }
}

/// The field of week days as a list of names; ranges may wrap, as in `Fri-Mon`.
fn days(field: &str) -> Result<String, String> {
    let mut chosen = [false; 7];
    for item in field.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => {
                let step = step.parse().ok().filter(|s| (1..=7).contains(s));
                (range, step.ok_or_else(|| format!("`{item}` is no step through the week"))?)
            }
            None => (item, 1usize),
        };
        let (first, last) = match range {
            "*" | "?" if step == 1 => return Ok("*".into()),
            "*" | "?" => (0, 6),
            _ => match range.split_once('-') {
                Some((first, last)) => (day(first)?, day(last)?),
                None if step == 1 => (day(range)?, day(range)?),
                None => (day(range)?, 6),
            },
        };
        // `1-7` is Monday to Sunday, and `0-7` all of the week.
        let length = if range == "0-7" { 6 } else { (last + 7 - first) % 7 };
        for offset in (0..=length).step_by(step) {
            chosen[(first + offset) % 7] = true;
        }
    }
    let names: Vec<_> = DAYS.iter().zip(chosen).filter(|(_, c)| *c).map(|(d, _)| *d).collect();
    Ok(names.join(","))
}

fn day(text: &str) -> Result<usize, String> {
    if let Ok(number) = text.parse::<usize>()
        && number <= 7
    {
        return Ok(number % 7);
    }
    let short = text.get(..3).unwrap_or(text);
    let long = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
    DAYS.iter()
        .position(|d| d.eq_ignore_ascii_case(short))
        .filter(|i| text.len() == 3 || long[*i].eq_ignore_ascii_case(text))
        .ok_or_else(|| format!("`{text}` is no day of the week"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_fields_and_usual_numbers_become_six_with_names() {
        for (written, read) in [
            ("0 9 * * 1-5", "0 0 9 * * Mon,Tue,Wed,Thu,Fri"),
            ("0 0 9 * * Mon-Thu", "0 0 9 * * Mon,Tue,Wed,Thu"),
            ("0 9 * * 0", "0 0 9 * * Sun"),
            ("0 9 * * 7", "0 0 9 * * Sun"),
            ("0 9 * * 1-7", "0 0 9 * * Sun,Mon,Tue,Wed,Thu,Fri,Sat"),
            ("0 9 * * 0-7", "0 0 9 * * Sun,Mon,Tue,Wed,Thu,Fri,Sat"),
            ("0 9 * * Fri-Mon", "0 0 9 * * Sun,Mon,Fri,Sat"),
            ("0 9 * * */2", "0 0 9 * * Sun,Tue,Thu,Sat"),
            ("*/15 8-18 1 * *", "0 */15 8-18 1 * *"),
        ] {
            assert_eq!(six_fields(written).as_deref(), Ok(read), "{written}");
        }
    }

    #[test]
    fn what_is_no_cron_is_refused() {
        for written in [
            "",
            "* * * *",
            "0 0 9 * * Mon 2026",
            "0 9 * * 8",
            "0 9 * * Mo",
            "@daily",
            "0 25 * * *",
            "x 9 * * *",
        ] {
            assert!(six_fields(written).is_err(), "{written}");
        }
    }
}
