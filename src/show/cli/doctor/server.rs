//! The server itself, if it runs: whether it answers, by which clock, and which commit is in force there.

use super::{Health, Report, SET_CLOCKS, skew};
use crate::{
    clock::Clock as _,
    ids::Commit,
    show::{
        cli::{client::Client, context::Context, failure::Cause},
        view::{ChannelState, ChannelView, Page, SourceView},
    },
};

/// `head` is what the source has now, where that could be looked at.
pub(super) async fn look(context: &Context, head: Option<&Commit>, report: &mut Report) {
    let which = context.shared.server.clone();
    let client = match context.client() {
        Ok(client) => client,
        Err(failure) => {
            return report.add(Health::Warn, "server", which, failure.message, failure.help);
        }
    };
    let answer = match client.get(&["source"], &[]).await {
        Ok(answer) => answer,
        Err(failure) => {
            // With settings at hand, a server that is not started yet is what this is for.
            let absent = failure.cause == Cause::Unreachable && head.is_some();
            let health = if absent { Health::Warn } else { Health::Fail };
            let cure = if absent { "start it: ringward serve".into() } else { failure.help };
            return report.add(health, "server", which, failure.message, cure);
        }
    };
    let (health, clock) = skew(context.clock.now().wall, answer.date);
    let cure = if health == Health::Ok { "" } else { SET_CLOCKS };
    report.add(health, "server", &which, format!("answers, {clock}"), cure);
    channels(&client, report).await;
    let view: SourceView = match answer.read() {
        Ok(view) => view,
        Err(failure) => {
            return report.add(Health::Fail, "server", which, failure.message, failure.help);
        }
    };
    if let (Some(refused), Some(why)) = (&view.refused, &view.refused_because) {
        let found = format!("{refused} is not accepted: {why}");
        report.add(
            Health::Fail,
            "commit",
            refused,
            found,
            "the commit before it stays in force until it is",
        );
    }
    match (&view.commit, head) {
        (None, _) => {
            let cure = "see its log: the source cannot be had, or nothing is in it";
            report.add(Health::Fail, "commit", "-", "no commit is in force", cure);
        }
        (Some(commit), Some(head)) if commit != head => {
            let found = format!("in force, and the source is at {head}");
            report.add(
                Health::Warn,
                "commit",
                commit,
                found,
                "wait for the next look at the source, or see its log",
            );
        }
        (Some(commit), _) => report.ok("commit", commit, "in force"),
    }
    if !view.in_error.is_empty() {
        let plans: Vec<_> = view.in_error.iter().map(ToString::to_string).collect();
        let cure = "ringward check shows what is wrong with each";
        report.add(
            Health::Fail,
            "plans",
            plans.join(", "),
            "out of service by their declarations",
            cure,
        );
    }
}

/// What the server could not tell somebody.
async fn channels(client: &Client, report: &mut Report) {
    // A server of before has no such list.
    let Ok(answer) = client.get(&["channels"], &[]).await else { return };
    let Ok(page) = answer.read::<Page<ChannelView>>() else { return };
    for channel in page.items {
        let ChannelView { name, state, behind, failures, why, skipped, .. } = channel;
        let why = why.unwrap_or_default();
        if let Some(left) = skipped {
            let (from, to) = (left.from, left.to);
            let found = format!("was not told of entries {from} to {to}: it was away for too long");
            let cure = "it is told so when it is back; `ringward audit show` has them";
            report.add(Health::Fail, "told", &name, found, cure);
        }
        match state {
            ChannelState::Retrying if failures == 0 => {
                let found = format!("not told anything for now, {behind} entries behind: {why}");
                let cure = "see the server's log and its data directory; it tries again by itself";
                report.add(Health::Fail, "told", &name, found, cure);
            }
            ChannelState::Retrying => {
                let found =
                    format!("not taken at attempt {failures}, {behind} entries behind: {why}");
                let cure = "see to whoever listens; what waits is sent again by itself";
                report.add(Health::Warn, "told", &name, found, cure);
            }
            ChannelState::Gone => {
                let cure = "give the channel another URL or secret, and restart the server";
                report.add(Health::Fail, "told", &name, "it wants nothing more (410)", cure);
            }
            ChannelState::Unknown => {
                let cure = "put the channel in the settings and restart the server";
                report.add(Health::Fail, "told", &name, "the server has no such channel", cure);
            }
            ChannelState::Ready => {
                report.ok("told", &name, format!("{behind} entries behind"));
            }
            ChannelState::Unused => {}
        }
    }
}
