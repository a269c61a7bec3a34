//! From journal to messages: who subscribed is told what was recorded, over the channels of the settings.
//!
//! The journal itself is the queue. Each channel has a place in it of its own that is kept on disk
//! ([`Outbox`]), and a task of its own that reads on from there: so a message survives any crash, is sent at
//! least once and under the same id, in the order of the journal, one at a time; and a channel that is slow or
//! dead holds up nobody, least of all the loop that decides, which knows nothing of all this.
//!
//! What holds a release is derived and recorded nowhere. It is looked for now and then in the live world, and
//! noted in the channel's place before it is told.

mod entry;
mod holds;

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
};

use jiff::SignedDuration;
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::watch,
    task::{JoinHandle, block_in_place},
};

use crate::{
    act::notify::{Courier, Sent, Told},
    clock::Clock,
    model::{
        notify::{Notifier, Topic},
        time::{Mono, Span},
    },
    record::{
        StoreError,
        outbox::{Outbox, Place},
    },
    show::{desk::Desk, telemetry::Telemetry},
};

pub use entry::about;

/// How often the journal is looked at where nobody says that there is something new.
const LOOK: Span = Span::seconds(1);
/// How often holds are looked for.
const HOLDS: Span = Span::seconds(15);
/// The pause after a first failure; each further one doubles it,
const FIRST: Span = Span::seconds(1);
/// up to this.
const LONGEST: Span = Span::minutes(5);
/// The longest that a listener may ask for.
const PATIENCE: Span = Span::seconds(3_600);
/// What is older than this when it cannot be sent is left out, with all that came before the present.
const TOO_OLD: SignedDuration = SignedDuration::from_hours(24);
/// So many entries behind, too.
const TOO_FAR: u64 = 1_000_000;
/// Records in memory at a time.
const AT_ONCE: usize = 128;

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
    /// Where people reach the server.
    pub external_url: Option<String>,
    /// Who is told what, as it is declared now.
    pub notifiers: watch::Receiver<Notifiers>,
}

/// Takes what is declared of who is told what.
#[derive(Debug)]
pub struct Subscriptions {
    known: watch::Sender<Notifiers>,
    outbox: Outbox,
}

impl Subscriptions {
    /// As they were when this was last known, so that a source that cannot be had at a start silences nobody.
    pub fn new(outbox: Outbox) -> Self {
        let kept = outbox.told().unwrap_or_else(|error| {
            tracing::error!(%error, "who is told what is not known before the source is read");
            None
        });
        Self { known: watch::Sender::new(kept.unwrap_or_default()), outbox }
    }

    /// Who is told what, as it is declared now.
    pub fn subscribe(&self) -> watch::Receiver<Notifiers> {
        self.known.subscribe()
    }

    /// What an accepted commit says.
    pub fn declared(&self, notifiers: BTreeMap<String, Option<Notifier>>) {
        let changed = self.known.send_if_modified(|known| declared(known, notifiers));
        let kept = if changed { self.outbox.keep_told(&*self.known.borrow()) } else { Ok(()) };
        if let Err(error) = kept {
            tracing::error!(%error, "who is told what is not kept for the next start");
        }
    }
}

/// Takes what is declared: notifiers that are in error stay as they were, and what is declared no more is
/// gone.
fn declared(known: &mut Notifiers, declared: BTreeMap<String, Option<Notifier>>) -> bool {
    let before = known.clone();
    known.retain(|name, _| declared.contains_key(name));
    known.extend(declared.into_iter().filter_map(|(name, notifier)| Some((name, notifier?))));
    *known != before
}

/// Starts a task for each channel. They never end by themselves: whatever is cut off is done again.
pub fn start(tell: Tell) -> Vec<JoinHandle<()>> {
    let tell = Arc::new(tell);
    let channels: Vec<_> = tell.courier.channels().cloned().collect();
    let unknown = tell.clone();
    let mut tasks = vec![tokio::spawn(async move { unknown.name_unknown().await })];
    tasks.extend(channels.into_iter().map(|channel| {
        let tell = tell.clone();
        tokio::spawn(async move { tell.serve(&channel).await })
    }));
    tasks
}

/// A channel's place cannot be kept, or the journal not be read.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("its place in the journal cannot be kept: {0}")]
    Place(#[from] std::io::Error),
    #[error("{0}")]
    Journal(#[from] StoreError),
    #[error("entry {0} cannot be read: {1}")]
    Entry(u64, String),
}

impl Tell {
    /// Says which notifiers name a channel that the settings do not have.
    async fn name_unknown(&self) {
        let mut notifiers = self.notifiers.clone();
        loop {
            let known: BTreeSet<&String> = self.courier.channels().collect();
            for (name, notifier) in notifiers.borrow_and_update().iter() {
                if !known.contains(&notifier.channel) {
                    tracing::warn!(
                        notifier = name,
                        channel = notifier.channel,
                        "the settings have no such channel: nobody is told"
                    );
                }
            }
            if notifiers.changed().await.is_err() {
                return;
            }
        }
    }

    async fn serve(&self, channel: &str) {
        loop {
            let Err(error) = self.follow(channel).await;
            tracing::error!(channel, %error, "a channel is not told anything for now");
            self.clock.sleep(LONGEST).await;
        }
    }

    async fn follow(&self, channel: &str) -> Result<Infallible, Broken> {
        let head = || self.desk.store().head();
        let mut place = match block_in_place(|| self.outbox.place(channel))? {
            Some(place) if place.seq <= head().seq => place,
            // A new channel is told of what comes; one that is ahead belongs to another journal.
            Some(_) | None => {
                let place = Place { seq: head().seq, ..Place::default() };
                self.keep(channel, &place)?;
                place
            }
        };
        let mut looked: Option<Mono> = None;
        let mut lasting = holds::Lasting::default();
        loop {
            if place.gone.is_some() && place.gone == self.courier.fingerprint(channel) {
                place.seq = head().seq;
                self.clock.sleep(LONGEST).await;
                continue;
            }
            self.left_out(channel, &mut place).await?;
            self.entries(channel, &mut place).await?;
            let now = self.clock.now().mono;
            if looked.is_none_or(|looked| now.since(looked) >= HOLDS) {
                looked = Some(now);
                self.holds(channel, &mut place, &mut lasting).await?;
            }
            self.telemetry.notification_lag(channel, 0.0);
            let mut changes = self.desk.changes();
            tokio::select! {
                () = self.clock.sleep(LOOK) => {}
                changed = changes.recv() => if changed.is_err() { self.clock.sleep(LOOK).await },
            }
        }
    }

    /// Tells of the entries behind its place, up to the end of the journal.
    async fn entries(&self, channel: &str, place: &mut Place) -> Result<(), Broken> {
        loop {
            let end = self.desk.store().head().seq;
            if place.seq >= end || place.gone.is_some() {
                return Ok(());
            }
            if end - place.seq > TOO_FAR {
                self.skip(channel, place, end)?;
                return Ok(());
            }
            let from = place.seq + 1;
            let records = block_in_place(|| self.desk.store().records(from, AT_ONCE))?;
            for record in records {
                if record.seq > end {
                    break;
                }
                let told = self.told(channel, &record)?;
                for told in &told {
                    if !self.deliver(channel, place, told, record.seq).await? {
                        // It was left out with all up to now, or nothing more is wanted.
                        return Ok(());
                    }
                }
                place.seq = record.seq;
                if !told.is_empty() {
                    self.keep(channel, place)?;
                }
            }
        }
    }

    /// What this channel is to be told of a record.
    fn told(&self, channel: &str, record: &crate::record::Record) -> Result<Vec<Told>, Broken> {
        if !entry::may_tell(record) {
            return Ok(Vec::new());
        }
        let entry = record.open().map_err(|error| Broken::Entry(record.seq, error.to_string()))?;
        let all = self.desk.read(|world, _| about(&entry, world, self.external_url.as_deref()));
        Ok(all.into_iter().filter(|told| self.wants(channel, told)).collect())
    }

    fn wants(&self, channel: &str, told: &Told) -> bool {
        let notifiers = self.notifiers.borrow();
        let mine = notifiers.values().filter(|notifier| notifier.channel == channel);
        mine.into_iter().any(|notifier| notifier.wants(told.topic, told.plan.as_ref()))
    }

    /// Sends it until it has arrived or never will; false where the channel's place is now elsewhere.
    async fn deliver(
        &self,
        channel: &str,
        place: &mut Place,
        told: &Told,
        seq: u64,
    ) -> Result<bool, Broken> {
        let mut failures = 0;
        loop {
            let now = self.clock.now().wall;
            let sent = self.courier.send(channel, told, now).await;
            let age = self.clock.now().wall.duration_since(told.at);
            match sent {
                Sent::Done => {
                    self.telemetry.notified(channel, "sent");
                    return Ok(true);
                }
                Sent::Refused(why) => {
                    self.telemetry.notified(channel, "refused");
                    tracing::warn!(
                        channel,
                        id = told.id,
                        why,
                        "a message was refused, and is left out"
                    );
                    return Ok(true);
                }
                Sent::Gone => {
                    self.telemetry.notified(channel, "gone");
                    tracing::error!(
                        channel,
                        "the listener wants nothing more (410): it is told nothing \
                                    until its settings change"
                    );
                    place.gone = self.courier.fingerprint(channel);
                    place.seq = self.desk.store().head().seq;
                    self.keep(channel, place)?;
                    return Ok(false);
                }
                Sent::Later(after, why) => {
                    self.telemetry.notified(channel, "failed");
                    self.telemetry.notification_lag(channel, age.as_secs_f64().max(0.0));
                    if age > TOO_OLD && seq > 0 {
                        let end = self.desk.store().head().seq;
                        self.skip(channel, place, end)?;
                        return Ok(false);
                    }
                    tracing::warn!(
                        channel,
                        id = told.id,
                        why,
                        "a message was not taken; it is sent again"
                    );
                    let pause =
                        after.map_or_else(|| backoff(failures, &told.id), |a| a.min(PATIENCE));
                    failures += 1;
                    self.clock.sleep(pause).await;
                }
            }
        }
    }

    /// Leaves out all up to `end`, and notes that this is to be told.
    fn skip(&self, channel: &str, place: &mut Place, end: u64) -> Result<(), Broken> {
        let from = place.skipped.map_or(place.seq + 1, |(from, _)| from);
        tracing::error!(
            channel,
            from,
            to = end,
            "a channel is too far behind: entries are left out"
        );
        self.telemetry.notified(channel, "skipped");
        place.skipped = Some((from, end));
        place.seq = end;
        self.keep(channel, place)?;
        Ok(())
    }

    /// Tells of what was left out.
    async fn left_out(&self, channel: &str, place: &mut Place) -> Result<(), Broken> {
        let Some((from, to)) = place.skipped else { return Ok(()) };
        let told = Told {
            said: format!(
                "this channel could not be reached for too long: entries {from} to {to} of the journal \
                 were not told; `ringward audit show --since {}` shows them",
                from.saturating_sub(1)
            ),
            ..entry::nothing(format!("skip_{from}_{to}"), Topic::Skipped, self.clock.now().wall)
        };
        if self.deliver(channel, place, &told, 0).await? {
            place.skipped = None;
            self.keep(channel, place)?;
        }
        Ok(())
    }

    /// Tells of what holds releases now and was not told yet.
    async fn holds(
        &self,
        channel: &str,
        place: &mut Place,
        lasting: &mut holds::Lasting,
    ) -> Result<(), Broken> {
        let asked = {
            let notifiers = self.notifiers.borrow();
            let mut mine = notifiers.values().filter(|notifier| notifier.channel == channel);
            mine.any(|n| n.on.contains(&Topic::Held) || n.on.contains(&Topic::ApprovalNeeded))
        };
        if !asked {
            return Ok(());
        }
        let held = holds::held(&self.desk, self.external_url.as_deref(), lasting);
        let held: BTreeMap<String, Told> =
            held.into_iter().filter(|(_, told)| self.wants(channel, told)).collect();
        let before = place.held.clone();
        place.held.retain(|key, _| held.contains_key(key));
        let head = self.desk.store().head();
        for key in held.keys() {
            let id = || format!("hold_{}", digest(&format!("{key} {} {}", head.seq, head.hash)));
            place.held.entry(key.clone()).or_insert_with(|| (id(), false));
        }
        if place.held != before {
            self.keep(channel, place)?;
        }
        for (key, mut told) in held {
            let Some((id, false)) = place.held.get(&key).cloned() else { continue };
            told.id = id.clone();
            if !self.deliver(channel, place, &told, 0).await? {
                return Ok(());
            }
            place.held.insert(key, (id, true));
            self.keep(channel, place)?;
        }
        Ok(())
    }

    fn keep(&self, channel: &str, place: &Place) -> Result<(), Broken> {
        Ok(block_in_place(|| self.outbox.keep(channel, place))?)
    }
}

/// Twice as long after each failure, spread by the message so that channels do not ask in step.
fn backoff(failures: u32, id: &str) -> Span {
    let pause = FIRST.0.saturating_mul(1 << failures.min(20)).min(LONGEST.0);
    let spread = u64::from_str_radix(&digest(&format!("{id} {failures}"))[..4], 16).unwrap_or(0);
    // Three quarters to five quarters of it.
    Span(pause * 3 / 4 + pause * spread / 0x1_0000 / 2)
}

/// Sixteen hexadecimal digits.
fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_are_spread() {
        let within = |failures: u32, low: f64, high: f64| {
            for id in 0..200 {
                let pause = backoff(failures, &format!("msg_{id}")).as_seconds();
                assert!((low..=high).contains(&pause), "{failures}: {pause}");
            }
        };
        within(0, 0.75, 1.25);
        within(3, 6.0, 10.0);
        within(9, 225.0, 375.0);
        within(u32::MAX, 225.0, 375.0);
        assert_ne!(backoff(3, "a"), backoff(3, "b"));
        assert_eq!(backoff(3, "a"), backoff(3, "a"));
    }

    #[test]
    fn a_notifier_in_error_stays_and_one_that_is_gone_goes() {
        let notifier = |channel: &str| Notifier {
            channel: channel.into(),
            plans: Vec::new(),
            on: Topic::DEFAULT.to_vec(),
        };
        let mut known = Notifiers::new();
        let first = [("a".into(), Some(notifier("ops"))), ("b".into(), Some(notifier("ops")))];
        assert!(declared(&mut known, first.into()));
        assert!(declared(&mut known, [("a".into(), None)].into()));
        assert_eq!(known.keys().collect::<Vec<_>>(), ["a"]);
        assert!(!declared(&mut known, [("a".into(), None)].into()));
    }
}
