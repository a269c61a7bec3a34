//! Channels: whether each has what a message needs, and whether notifiers and settings name the same ones. Nothing
//! is sent: a message is for whoever listens.

use std::collections::{BTreeMap, BTreeSet};

use super::{Health, Report, machine};
use crate::{act::notify::Courier, config::Settings, declare::Compiled, show::cli::failure::chain};

pub(super) async fn look(settings: &Settings, compiled: &Compiled, report: &mut Report) {
    // The names of the notifiers of each channel.
    let mut named: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, notifier) in compiled.notifiers.iter().flatten() {
        if let Some(notifier) = notifier {
            named.entry(&notifier.channel).or_default().insert(name);
        }
    }
    // One that is in error may name any of them.
    let unsure = compiled.notifiers.as_ref().is_none_or(|all| all.values().any(Option::is_none));
    let joined = |names: &BTreeSet<&str>| names.iter().copied().collect::<Vec<_>>().join(", ");
    for (channel, notifiers) in &named {
        if !settings.channels.contains_key(*channel) {
            let found =
                format!("not in the settings, and {} names it: nobody is told", joined(notifiers));
            let cure =
                "put it under `channels` of the settings, or let the Notifier name one of those";
            report.add(Health::Fail, "channel", channel, found, cure);
        }
    }
    for (name, channel) in &settings.channels {
        let files = [
            &channel.url_file,
            &channel.secret_file,
            &channel.bearer_token_file,
            &channel.routing_key_file,
        ];
        for file in files.into_iter().flatten() {
            machine::secret(file, &format!("channel {name}"), report);
        }
        // Each by itself: one that cannot be used hides no other.
        let kind = channel.kind.name();
        let courier = match Courier::new([(name.clone(), channel.clone())].into()) {
            Ok(courier) => courier,
            Err(error) => {
                report.add(Health::Fail, "channel", name, chain(&error), "mend it in the settings");
                continue;
            }
        };
        match (courier.ready(name).await, named.get(name.as_str())) {
            (Err(why), _) => {
                let cure = "mend it in the settings; the server sends on what waits by itself";
                report.add(Health::Fail, "channel", name, why, cure);
            }
            (Ok(()), None) => {
                let found = format!("type {kind}, and no Notifier names it");
                let cure = if unsure {
                    "mend the declarations first: a Notifier that is in error may name it"
                } else {
                    "declare a Notifier under policies/ with it as its channel, or take it out"
                };
                report.add(Health::Warn, "channel", name, found, cure);
            }
            (Ok(()), Some(notifiers)) => {
                let found =
                    format!("type {kind}, for {}; not told anything by this", joined(notifiers));
                report.ok("channel", name, found);
            }
        }
    }
}
