//! How far each channel has been told, for whoever asks: the API, `ringward get channels` and `/metrics`.
//!
//! What is told is nobody's here; [`crate::tell`] writes down how it goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;

use super::view::{ChannelState, ChannelView, LeftOut};

/// How a channel stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// What listens to it, as the settings name it; nothing for a channel that they do not have.
    pub kind: Option<&'static str>,
    /// The last entry that it was told of, or had no use for.
    pub seq: u64,
    /// When that happened which it could not be told yet, or since when it cannot be told anything; nothing while
    /// it takes what it is told.
    pub since: Option<Timestamp>,
    /// How often the message that is on its way was not taken.
    pub failures: u32,
    /// Why, the last time.
    pub why: Option<String>,
    /// When it is tried again.
    pub again: Option<Timestamp>,
    /// It asked to be left alone (410).
    pub gone: bool,
    /// Entries that were left out, and that it could not be told of yet.
    pub skipped: Option<(u64, u64)>,
    /// The notifiers that go over it.
    pub notifiers: BTreeSet<String>,
}

/// How all channels stand.
#[derive(Debug, Default)]
pub struct Channels(Mutex<BTreeMap<String, Standing>>);

impl Channels {
    /// Writes down how a channel stands now.
    pub fn note(&self, channel: &str, note: impl FnOnce(&mut Standing)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        note(all.entry(channel.to_owned()).or_default());
    }

    /// Takes which notifiers go over which channels, each as its name and its channel's.
    pub fn declared<'a>(&self, notifiers: impl Iterator<Item = (&'a String, &'a String)>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.values_mut().for_each(|standing| standing.notifiers.clear());
        for (notifier, channel) in notifiers {
            all.entry(channel.clone()).or_default().notifiers.insert(notifier.clone());
        }
        all.retain(|_, standing| standing.kind.is_some() || !standing.notifiers.is_empty());
    }

    /// How old what each channel could not be told yet is, in seconds: 0 where it was told everything.
    pub fn lags(&self, now: Timestamp) -> Vec<(String, f64)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter().filter(|(_, standing)| standing.kind.is_some());
        let lag = |since: Timestamp| now.duration_since(since).as_secs_f64().max(0.0);
        known.map(|(name, standing)| (name.clone(), standing.since.map_or(0.0, lag))).collect()
    }

    /// Every channel, by its name; `head` is the journal's last entry.
    pub fn views(&self, head: u64) -> Vec<ChannelView> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(name, standing)| view(name, standing, head)).collect()
    }
}

fn view(name: &str, standing: &Standing, head: u64) -> ChannelView {
    let Standing { kind, seq, since, failures, why, again, gone, skipped, notifiers } = standing;
    let state = match kind {
        None => ChannelState::Unknown,
        Some(_) if *gone => ChannelState::Gone,
        Some(_) if *failures > 0 || why.is_some() => ChannelState::Retrying,
        Some(_) if notifiers.is_empty() => ChannelState::Unused,
        Some(_) => ChannelState::Ready,
    };
    ChannelView {
        name: name.to_owned(),
        kind: kind.map(str::to_owned),
        state,
        notifiers: notifiers.iter().cloned().collect(),
        told_to: kind.map(|_| *seq),
        behind: kind.map_or(0, |_| head.saturating_sub(*seq)),
        since: *since,
        failures: *failures,
        why: why.clone(),
        again: *again,
        skipped: skipped.map(|(from, to)| LeftOut { from, to }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_what_becomes_of_its_messages() {
        let channels = Channels::default();
        let state = || channels.views(9).into_iter().map(|view| view.state).collect::<Vec<_>>();
        channels.note("ops", |standing| standing.kind = Some("slack"));
        assert_eq!(state(), [ChannelState::Unused]);
        let (who, ops, typo) = ("who".to_owned(), "ops".to_owned(), "opps".to_owned());
        channels.declared([(&who, &ops)].into_iter());
        assert_eq!(state(), [ChannelState::Ready]);
        let at = Timestamp::UNIX_EPOCH;
        let lag = || channels.lags("1970-01-01T00:01:30Z".parse().expect("an instant"));
        assert_eq!(lag(), [("ops".to_owned(), 0.0)]);
        channels.note("ops", |standing| {
            (standing.since, standing.failures, standing.seq) = (Some(at), 1, 4);
        });
        assert_eq!(state(), [ChannelState::Retrying]);
        assert_eq!(channels.views(9)[0].behind, 5);
        assert_eq!(lag(), [("ops".to_owned(), 90.0)]);
        channels.note("ops", |standing| standing.gone = true);
        channels.declared([(&who, &typo)].into_iter());
        assert_eq!(state(), [ChannelState::Unknown, ChannelState::Gone]);
        channels.declared([].into_iter());
        assert_eq!(state(), [ChannelState::Gone]);
    }
}
