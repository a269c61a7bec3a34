//! From journal to messages: who subscribed is told what was recorded, over the channels of the settings.
//!
//! The journal itself is the queue. Each channel has a place in it of its own that is kept on disk
//! ([`Outbox`]), and a task of its own that reads on from there ([`channel`]): so a message survives any crash,
//! is sent at least once and under the same id, in the order of the journal, one at a time; and a channel that is
//! slow or dead holds up nobody, least of all the loop that decides, which knows nothing of all this.
//!
//! What holds a release is derived and recorded nowhere. It is looked for now and then in the live world, once
//! for all channels, and noted in a channel's place before it is told.

mod channel;
mod entry;
mod holds;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::{sync::watch, task::JoinHandle};

use self::{channel::Channel, holds::Held};
use crate::{
    act::notify::Courier,
    clock::Clock,
    model::{
        notify::{Notifier, Topic},
        time::Span,
    },
    record::outbox::Outbox,
    show::{channels::Channels, desk::Desk, telemetry::Telemetry},
};

pub use entry::about;

/// How often holds are looked for.
const HOLDS: Span = Span::seconds(15);

/// Who is told what, by the name of the document.
pub type Notifiers = BTreeMap<String, Notifier>;

/// What every channel's task works with.
pub struct Tell {
    /// The world and the journal.
    pub desk: Arc<Desk>,
    /// Takes messages out.
    pub courier: Arc<Courier>,
    /// Where each channel's place is kept.
    pub outbox: Outbox,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub telemetry: Arc<Telemetry>,
    /// Where it is written down how each channel stands.
    pub channels: Arc<Channels>,
    /// Where people reach the server.
    pub external_url: Option<String>,
    /// Who is told what, as it is declared now; nothing while nobody knows yet.
    pub notifiers: watch::Receiver<Option<Notifiers>>,
}

/// Takes what is declared of who is told what.
#[derive(Debug)]
pub struct Subscriptions {
    known: watch::Sender<Option<Notifiers>>,
    outbox: Outbox,
}

impl Subscriptions {
    /// As they were when this was last known, so that a source that cannot be had at a start silences nobody.
    pub fn new(outbox: Outbox) -> Self {
        let kept = outbox.told().unwrap_or_else(|error| {
            tracing::error!(%error, "who is told what is not known before the source is read");
            None
        });
        Self { known: watch::Sender::new(kept), outbox }
    }

    /// Who is told what, as it is declared now; nothing while nobody knows yet.
    pub fn subscribe(&self) -> watch::Receiver<Option<Notifiers>> {
        self.known.subscribe()
    }

    /// What an accepted commit says; nothing at all where a document could not be read that may be any of them.
    pub fn declared(&self, notifiers: Option<BTreeMap<String, Option<Notifier>>>) {
        let Some(notifiers) = notifiers else {
            tracing::warn!(
                "a document cannot be read that may be a Notifier: who was told what still is"
            );
            return;
        };
        let changed = self.known.send_if_modified(|known| declared(known, notifiers));
        let kept = if changed { self.outbox.keep_told(&*self.known.borrow()) } else { Ok(()) };
        if let Err(error) = kept {
            tracing::error!(%error, "who is told what is not kept for the next start");
        }
    }
}

/// Takes what is declared: notifiers that are in error stay as they were, and what is declared no more is
/// gone.
fn declared(known: &mut Option<Notifiers>, declared: BTreeMap<String, Option<Notifier>>) -> bool {
    let before = known.clone();
    let all = known.get_or_insert_default();
    all.retain(|name, _| declared.contains_key(name));
    all.extend(declared.into_iter().filter_map(|(name, notifier)| Some((name, notifier?))));
    *known != before
}

/// Starts a task for each channel, each from where it stood: what is recorded after this returns is told. They
/// never end by themselves: whatever is cut off is done again. No file of theirs is worth a server that does not
/// start.
pub fn start(tell: Tell) -> Vec<JoinHandle<()>> {
    let tell = Arc::new(tell);
    let names: Vec<String> = tell.courier.channels().cloned().collect();
    if let Err(error) = tell.outbox.forget_others(names.iter()) {
        tracing::error!(%error, "where channels stood that are no more is not forgotten");
    }
    let (look, held) = watch::channel(None);
    let begun = names.into_iter().map(|name| Channel::begin(tell.clone(), name, held.clone()));
    // Each stands in its place before anything is told.
    let begun: Vec<Channel> = begun.collect();
    let (declared, holds) = (tell.clone(), tell);
    let mut tasks = vec![
        tokio::spawn(async move { declared.note_declared().await }),
        tokio::spawn(async move { holds.look_for_holds(look).await }),
    ];
    tasks.extend(begun.into_iter().map(|channel| tokio::spawn(channel.run())));
    tasks
}

impl Tell {
    /// Notes which notifiers go over which channels, and says which of them name one that the settings do not
    /// have.
    async fn note_declared(&self) {
        let mut notifiers = self.notifiers.clone();
        let known: BTreeSet<&String> = self.courier.channels().collect();
        loop {
            let all = notifiers.borrow_and_update().clone().unwrap_or_default();
            for (name, notifier) in &all {
                if !known.contains(&notifier.channel) {
                    tracing::warn!(
                        notifier = name,
                        channel = notifier.channel,
                        "the settings have no such channel: nobody is told"
                    );
                }
            }
            self.channels.declared(all.iter().map(|(name, notifier)| (name, &notifier.channel)));
            if notifiers.changed().await.is_err() {
                return;
            }
        }
    }

    /// Looks for what holds releases, where anybody wants to be told.
    async fn look_for_holds(&self, look: watch::Sender<Option<Held>>) {
        let mut lasting = holds::Lasting::default();
        // That nobody asks is not known before, and would forget what was told.
        let mut known = self.notifiers.clone();
        if known.wait_for(Option::is_some).await.is_err() {
            return;
        }
        loop {
            let asked = {
                let notifiers = self.notifiers.borrow();
                let wants = |n: &Notifier| {
                    [Topic::Held, Topic::ApprovalNeeded].iter().any(|t| n.on.contains(t))
                };
                notifiers.iter().flatten().any(|(_, notifier)| wants(notifier))
            };
            let held = match asked {
                true => holds::held(&self.desk, self.external_url.as_deref(), &mut lasting),
                false => {
                    lasting = holds::Lasting::default();
                    Held::default()
                }
            };
            look.send_replace(Some(held));
            self.clock.sleep(HOLDS).await;
        }
    }
}
