//! Channels, and how far each has been told.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A channel of the server's settings, or one that a notifier names and they do not have. Where it leads is not
/// shown: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelView {
    /// The name that notifiers give.
    pub name: String,
    /// What listens there; nothing where the settings have no such channel.
    pub kind: Option<String>,
    /// How it stands.
    pub state: ChannelState,
    /// The notifiers that go over it.
    pub notifiers: Vec<String>,
    /// The last entry of the journal that it was told of, or had no use for.
    pub told_to: Option<u64>,
    /// Entries of the journal after that one.
    pub behind: u64,
    /// When that happened which it could not be told yet.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// How often the message that is on its way was not taken.
    pub failures: u32,
    /// Why, the last time.
    pub why: Option<String>,
    /// When it is tried again.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub again: Option<Timestamp>,
    /// Entries that were left out, and that it could not be told of yet.
    pub skipped: Option<LeftOut>,
}

/// Entries of the journal that were left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
}

/// How a channel stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ChannelState {
    /// It takes what it is told.
    Ready,
    /// It does not, and is tried again.
    Retrying,
    /// It asked to be left alone (410), and is until its settings change.
    Gone,
    /// No notifier goes over it.
    Unused,
    /// A notifier names it, and the settings do not have it.
    Unknown,
}

impl ChannelState {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            ChannelState::Ready => "ready",
            ChannelState::Retrying => "retrying",
            ChannelState::Gone => "gone",
            ChannelState::Unused => "unused",
            ChannelState::Unknown => "unknown",
        }
    }
}
