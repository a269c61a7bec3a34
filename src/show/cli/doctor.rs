//! `doctor`: looks at everything that a server rests on, and says what is in the way and what to do.
//!
//! Nothing is changed anywhere: it reads, asks who may do what, and puts to metric sources the plainest
//! question that they understand.

mod channels;
mod clusters;
mod declarations;
mod deployers;
mod hooks;
mod identities;
mod machine;
mod releases;
mod server;
mod sources;

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::{
    client::Answer,
    context::Context,
    failure::Failure,
    run::ServerFlags,
    style::Tone,
    table::{Cell, Table},
};
use crate::{clock::Clock as _, show::exit::Exit};

/// Look at everything that a server rests on, and say what is in the way
///
/// On the server's own machine, with the settings that it is started with: the data directory, tokens, TLS and
/// secrets; who vouches for people, by auth.oidc and auth.kubernetes; the declarations; each cluster's API server, its clock, and whether ringward may there what it has to;
/// each metric source; the registries and ImagePolicies that releases come from; the channels that notifiers go over, without a message; the webhooks that are taken; and the server, if it runs. Each line is ok, warn or fail, with what to do; a fail ends
/// with 1. Without settings only the server is looked at. It changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES
  ringward doctor --config /etc/ringward/ringward.yaml
  ringward doctor --source . --data ./data
  ringward doctor --config ringward.yaml -o json | jq -r '.findings[] | select(.health == \"fail\")'")]
pub struct Doctor {
    #[command(flatten)]
    settings: ServerFlags,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
enum Health {
    Ok,
    Warn,
    Fail,
}

impl Health {
    fn word(self) -> (&'static str, Tone) {
        match self {
            Health::Ok => ("ok", Tone::Good),
            Health::Warn => ("warn", Tone::Held),
            Health::Fail => ("fail", Tone::Bad),
        }
    }
}

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    health: Health,
    /// What kind of thing it is.
    what: &'static str,
    /// Which one.
    which: String,
    /// What was found; where it is not well, the cause.
    found: String,
    /// What to do; empty where nothing is.
    #[serde(skip_serializing_if = "String::is_empty")]
    cure: String,
}

/// Everything that was looked at, in the order in which it was.
#[derive(Debug, Default)]
struct Report(Vec<Finding>);

impl Report {
    fn ok(&mut self, what: &'static str, which: impl ToString, found: impl Into<String>) {
        self.add(Health::Ok, what, which, found, "");
    }

    fn add(
        &mut self,
        health: Health,
        what: &'static str,
        which: impl ToString,
        found: impl Into<String>,
        cure: impl Into<String>,
    ) {
        let (which, found, cure) = (which.to_string(), found.into(), cure.into());
        self.0.push(Finding { health, what, which, found, cure });
    }

    fn count(&self, health: Health) -> usize {
        self.0.iter().filter(|finding| finding.health == health).count()
    }
}

/// Runs `doctor`.
///
/// # Errors
/// The report cannot be shown.
pub async fn run(context: &Context, args: &Doctor) -> Result<Exit, Failure> {
    let mut report = Report::default();
    if args.settings.is_given() {
        everything(context, &args.settings, &mut report).await;
    } else {
        let found = "none are given: only the server is looked at";
        let cure = "give what it is started with, such as --config FILE, on its own machine";
        report.add(Health::Warn, "settings", "-", found, cure);
        server::look(context, None, &mut report).await;
    }
    show(context, &report)?;
    Ok(if report.count(Health::Fail) > 0 { Exit::Error } else { Exit::Done })
}

async fn everything(context: &Context, flags: &ServerFlags, report: &mut Report) {
    let which = flags.config().map_or("the flags".into(), |path| path.display().to_string());
    let settings = match flags.settings() {
        Ok(settings) => settings,
        Err(failure) => {
            let cure = if failure.help.is_empty() { "mend the file" } else { &failure.help };
            report.add(Health::Fail, "settings", which, failure.message, cure);
            return server::look(context, None, report).await;
        }
    };
    report.ok("settings", which, "can be read");
    let now = context.clock.now().wall;
    machine::look(&settings, now, report);
    identities::look(context, &settings, report).await;
    let compiled = declarations::look(&settings, report).await;
    hooks::look(&settings, compiled.as_ref(), report);
    if let Some(compiled) = &compiled {
        clusters::look(context, &settings, compiled, report).await;
        deployers::look(&settings, compiled, report);
        channels::look(&settings, compiled, report).await;
        releases::look(&settings, compiled, report).await;
        sources::look(settings, compiled, report).await;
    }
    server::look(context, compiled.as_ref().map(|compiled| &compiled.commit), report).await;
}

fn show(context: &Context, report: &Report) -> Result<(), Failure> {
    let findings = &report.0;
    let of = |health| report.count(health);
    let document = json!({
        "findings": findings,
        "fail": of(Health::Fail),
        "warn": of(Health::Warn),
        "ok": of(Health::Ok),
    });
    // What is not well, by its name.
    let names = || {
        let ill = findings.iter().filter(|finding| finding.health != Health::Ok);
        ill.map(|Finding { what, which, .. }| format!("{what}/{which}")).collect()
    };
    let people = || {
        let mut table = Table::new(&["", "WHAT", "WHICH", "FOUND"]);
        for Finding { health, what, which, found, cure } in findings {
            let (word, tone) = health.word();
            let cells =
                [Cell::toned((word.into(), tone)), (*what).into(), which.into(), found.into()];
            table.row(cells);
            if !cure.is_empty() {
                table.row(
                    ["", "", ""].map(Cell::from).into_iter().chain([format!("  {cure}").into()]),
                );
            }
        }
        table.render(context.style)
    };
    context.answer(&Answer::of(&document)?, names, people)?;
    let [fail, warn, ok] = [Health::Fail, Health::Warn, Health::Ok].map(of);
    context.progress(&format!("{fail} fail, {warn} warn, {ok} ok"));
    Ok(())
}

/// Clocks that are further apart than this are told of; twelve times as far, and approvals, calendars and the
/// age of measurements mean different things on both.
const APART: Duration = Duration::from_secs(5);

/// What is to be said of a clock that showed `there` when ours showed `here`, by the second of an HTTP date.
fn skew(here: Timestamp, there: Option<Timestamp>) -> (Health, String) {
    let Some(there) = there else { return (Health::Ok, "tells no time".into()) };
    let apart = here.duration_since(there).unsigned_abs();
    let seconds = apart.as_secs();
    match apart {
        apart if apart > APART * 12 => (Health::Fail, format!("its clock is {seconds} s off ours")),
        apart if apart > APART => (Health::Warn, format!("its clock is {seconds} s off ours")),
        _ => (Health::Ok, "its clock agrees".into()),
    }
}

/// What to do about clocks that do not agree.
const SET_CLOCKS: &str =
    "set both clocks by NTP: calendars, approvals and the age of samples rest on them";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_far_apart_are_no_clocks() {
        let at = |second: i64| Timestamp::from_second(1_767_225_600 + second).expect("an instant");
        for (there, health) in
            [(0, Health::Ok), (-5, Health::Ok), (9, Health::Warn), (-99, Health::Fail)]
        {
            assert_eq!(skew(at(0), Some(at(there))).0, health, "{there}");
        }
        assert_eq!(skew(at(0), None).0, Health::Ok);
    }
}
