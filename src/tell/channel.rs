//! One channel: it is told on from its place in the journal, for as long as the server runs.

use std::{collections::BTreeMap, convert::Infallible, io, sync::Arc};

use sha2::{Digest as _, Sha256};
use tokio::{sync::watch, task::block_in_place};

use super::{
    Notifiers, Tell,
    entry::{self, about},
    holds::Held,
};
use crate::{
    act::notify::{Sent, Told},
    ids::hex,
    model::{
        notify::Topic,
        time::{Mono, Span},
    },
    record::{Record, StoreError, outbox::Place},
    show::channels::Standing,
};

/// How often the journal is looked at where nobody says that there is something new.
const LOOK: Span = Span::seconds(1);
/// The pause after a first failure; each further one doubles it,
const FIRST: Span = Span::seconds(1);
/// up to this.
const LONGEST: Span = Span::minutes(5);
/// The longest that a listener may ask for; the shortest is `FIRST`.
const PATIENCE: Span = Span::seconds(3_600);
/// Where nothing was taken for so long, all up to the present is left out.
const DEAD: Span = Span::minutes(24 * 60);
/// So many entries behind, too.
const TOO_FAR: u64 = 1_000_000;
/// A place that only moved past entries of no use is kept so often.
const KEEP: Span = Span::minutes(1);
/// Records in memory at a time.
const AT_ONCE: usize = 128;

/// A channel, and where it stands.
pub(super) struct Channel {
    tell: Arc<Tell>,
    name: String,
    place: Place,
    /// The entry that stands on disk, and when it was written there.
    kept: (u64, Mono),
    /// Its place could not be kept. It is told nothing before it can: each start would tell it again.
    unkept: bool,
    /// Since when nothing was taken.
    failing: Option<Mono>,
    notifiers: watch::Receiver<Option<Notifiers>>,
    held: watch::Receiver<Option<Held>>,
}

/// Its place cannot be kept, or the journal not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("its place in the journal cannot be kept: {0}")]
    Place(#[from] io::Error),
    #[error("{0}")]
    Journal(#[from] StoreError),
    #[error("entry {0} cannot be read: {1}")]
    Entry(u64, String),
}

impl Channel {
    /// Where it stood; a channel that is new stands at the end of the journal, and is told of what comes.
    pub(super) fn begin(
        tell: Arc<Tell>,
        name: String,
        held: watch::Receiver<Option<Held>>,
    ) -> Self {
        let head = tell.desk.store().head().seq;
        let place = match tell.outbox.place(&name) {
            Ok(Some(place)) if place.seq <= head => place,
            // One that is ahead belongs to another journal.
            Ok(Some(_) | None) => Place { seq: head, ..Place::default() },
            Err(error) => {
                tracing::error!(
                    channel = name,
                    %error,
                    "where it stood in the journal was lost; it is told so, and of what comes"
                );
                Place { seq: head, skipped: Some((0, head)), ..Place::default() }
            }
        };
        let kept = tell.outbox.keep(&name, &place);
        if let Err(error) = &kept {
            tracing::error!(channel = name, %error, "its place in the journal cannot be kept");
        }
        let unkept = kept.is_err();
        tell.telemetry.will_notify(&name);
        let kind = tell.courier.kind(&name).map(|kind| kind.name());
        let (seq, skipped, gone) = (place.seq, place.skipped, place.gone.is_some());
        tell.channels.note(&name, |standing| {
            *standing = Standing { kind, seq, skipped, gone, ..Standing::default() };
        });
        let kept = (place.seq, tell.clock.now().mono);
        let notifiers = tell.notifiers.clone();
        Self { tell, name, place, kept, unkept, failing: None, notifiers, held }
    }

    /// Tells it whatever it wants to be told.
    pub(super) async fn run(mut self) {
        // Before that nobody knows what it wants, and nothing may be passed over.
        if self.notifiers.wait_for(Option::is_some).await.is_err() {
            return;
        }
        loop {
            let Err(error) = self.follow().await;
            self.broke(&error);
            self.tell.clock.sleep(LONGEST).await;
        }
    }

    /// It cannot be told anything for now, and what is to be told grows old from here on.
    pub(super) fn broke(&self, error: &Broken) {
        tracing::error!(channel = self.name, %error, "a channel is not told anything for now");
        let now = self.tell.clock.now().wall;
        self.note(|standing| {
            standing.since.get_or_insert(now);
            standing.why = Some(error.to_string());
        });
    }

    async fn follow(&mut self) -> Result<Infallible, Broken> {
        loop {
            self.look().await?;
            if self.place.gone.is_some() {
                self.tell.clock.sleep(LONGEST).await;
                continue;
            }
            if self.place.skipped.is_some() {
                continue;
            }
            let mut changes = self.tell.desk.changes();
            tokio::select! {
                () = self.tell.clock.sleep(LOOK) => {}
                changed = changes.recv() => if changed.is_err() { self.tell.clock.sleep(LOOK).await },
            }
        }
    }

    /// Tells it all that it was not told yet, as far as it takes it.
    pub(super) async fn look(&mut self) -> Result<(), Broken> {
        if self.unkept {
            self.keep()?;
        }
        if self.is_gone().await? {
            return Ok(());
        }
        self.left_out().await?;
        self.entries().await?;
        self.holds().await?;
        match (&self.place.gone, self.place.skipped) {
            (None, None) => self.rest(),
            (Some(_), _) | (_, Some(_)) => Ok(()),
        }
    }

    /// Whether it asked to be left alone, and is the same still. Another begins with what comes.
    async fn is_gone(&mut self) -> Result<bool, Broken> {
        let Some(gone) = self.place.gone.clone() else { return Ok(false) };
        self.place.seq = self.head();
        match self.tell.courier.fingerprint(&self.name).await {
            Some(now) if gone.is_empty() => {
                self.place.gone = Some(now);
                self.keep()?;
            }
            Some(now) if now != gone => {
                tracing::info!(
                    channel = self.name,
                    "its settings have changed: it is told what comes"
                );
                self.place = Place { seq: self.place.seq, ..Place::default() };
                self.keep()?;
                return Ok(false);
            }
            // A secret that cannot be read for a moment is no other one.
            Some(_) | None => {}
        }
        self.note(at_rest);
        Ok(true)
    }

    /// Tells of what was left out.
    async fn left_out(&mut self) -> Result<(), Broken> {
        let Some((from, to)) = self.place.skipped else { return Ok(()) };
        let said = match from {
            0 => format!(
                "where this channel stood in the journal was lost: of entries up to {to} some may not have \
                 been told; `ringward audit show` shows them"
            ),
            from => format!(
                "this channel could not be reached for too long: entries {from} to {to} of the journal \
                 were not told; `ringward audit show --since {}` shows them",
                from - 1
            ),
        };
        let now = self.tell.clock.now().wall;
        let id = format!("skip_{from}_{to}");
        let told = Told { said, ..entry::nothing(id, Topic::Skipped, now) };
        if self.deliver(&told, |_| true).await? {
            self.place.skipped = None;
            self.keep()?;
        }
        Ok(())
    }

    /// Tells of the entries behind its place, up to the end of the journal.
    async fn entries(&mut self) -> Result<(), Broken> {
        loop {
            let end = self.head();
            if self.place.seq >= end || self.place.gone.is_some() || self.place.skipped.is_some() {
                return Ok(());
            }
            if end - self.place.seq > TOO_FAR {
                return self.skip(end);
            }
            let from = self.place.seq + 1;
            let records = block_in_place(|| self.tell.desk.store().records(from, AT_ONCE))?;
            for record in records {
                if record.seq > end {
                    break;
                }
                let told = self.told(&record)?;
                if !told.is_empty() && self.place.seq != self.kept.0 {
                    // What was passed over stays so, whatever is subscribed to when this is read again.
                    self.keep()?;
                }
                for told in &told {
                    if !self.deliver(told, |channel| channel.wants(told)).await? {
                        return Ok(());
                    }
                }
                self.place.seq = record.seq;
                if !told.is_empty() {
                    self.keep()?;
                }
            }
        }
    }

    /// What it is to be told of a record.
    fn told(&self, record: &Record) -> Result<Vec<Told>, Broken> {
        if !entry::may_tell(record) {
            return Ok(Vec::new());
        }
        let entry = record.open().map_err(|error| Broken::Entry(record.seq, error.to_string()))?;
        let link = self.tell.external_url.as_deref();
        let all = self.tell.desk.read(|world, _| about(&entry, world, link));
        Ok(all.into_iter().filter(|told| self.wants(told)).collect())
    }

    fn wants(&self, told: &Told) -> bool {
        let notifiers = self.notifiers.borrow();
        let mut mine =
            notifiers.iter().flatten().filter(|(_, notifier)| notifier.channel == self.name);
        mine.any(|(_, notifier)| notifier.wants(told.topic, told.plan.as_ref()))
    }

    /// Tells of what holds releases now and was not told yet.
    async fn holds(&mut self) -> Result<(), Broken> {
        if self.place.gone.is_some() || self.place.skipped.is_some() {
            return Ok(());
        }
        // Before the first look nobody knows what holds what.
        let Some(held) = self.held.borrow_and_update().clone() else { return Ok(()) };
        let mine: BTreeMap<_, _> = held.iter().filter(|(_, hold)| self.wants(&hold.told)).collect();
        let before = self.place.held.clone();
        self.place.held.retain(|key, _| mine.contains_key(key));
        let head = self.tell.desk.store().head();
        for (key, _) in mine.iter().filter(|(_, hold)| hold.lasts) {
            let id = || format!("hold_{}", digest(&format!("{key} {} {}", head.seq, head.hash)));
            self.place.held.entry((*key).clone()).or_insert_with(|| (id(), false));
        }
        if self.place.held != before {
            self.keep()?;
        }
        for (key, hold) in mine.into_iter().filter(|(_, hold)| hold.lasts) {
            let Some((id, false)) = self.place.held.get(key).cloned() else { continue };
            let told = Told { id: id.clone(), ..hold.told.clone() };
            if !self.deliver(&told, |channel| channel.holds_still(key, &told)).await? {
                return Ok(());
            }
            if self.holds_still(key, &told) {
                self.place.held.insert(key.clone(), (id, true));
            } else {
                // It may not have been told; where it comes back it is another.
                self.place.held.remove(key);
            }
            self.keep()?;
        }
        Ok(())
    }

    /// Whether what is told of a hold is so, and still wanted.
    fn holds_still(&self, key: &str, told: &Told) -> bool {
        let now = self.held.borrow();
        self.wants(told) && now.as_ref().is_none_or(|held| held.contains_key(key))
    }

    /// It was told everything.
    fn rest(&mut self) -> Result<(), Broken> {
        // A message that ended before it was taken is no beginning of a day's silence.
        self.failing = None;
        self.note(at_rest);
        let changed = self.notifiers.has_changed().unwrap_or(false);
        if changed {
            self.notifiers.mark_unchanged();
        }
        let due = self.tell.clock.now().mono.since(self.kept.1) >= KEEP;
        if self.place.seq != self.kept.0 && (changed || due) {
            self.keep()?;
        }
        Ok(())
    }

    /// Sends it until it has arrived, never will, or is worth telling no more; false where its place is now
    /// elsewhere, or it is to be looked at anew.
    async fn deliver(
        &mut self,
        told: &Told,
        worth: impl Fn(&Self) -> bool,
    ) -> Result<bool, Broken> {
        self.note(|standing| standing.since = Some(told.at));
        let mut failures = 0;
        loop {
            let now = self.tell.clock.now().wall;
            match self.tell.courier.send(&self.name, told, now).await {
                Sent::Done => {
                    self.answered("sent");
                    return Ok(true);
                }
                // Nobody was asked, and nothing is counted.
                Sent::Nothing => return Ok(true),
                Sent::Refused(why) => {
                    self.answered("refused");
                    let (channel, id) = (&self.name, &told.id);
                    tracing::warn!(channel, id, why, "a message was refused, and is left out");
                    return Ok(true);
                }
                Sent::Gone => {
                    self.answered("gone");
                    tracing::error!(
                        channel = self.name,
                        "the listener wants nothing more (410): it is told nothing until its settings change"
                    );
                    // Empty where a secret cannot be read just now: it is asked for again.
                    let gone = self.tell.courier.fingerprint(&self.name).await.unwrap_or_default();
                    self.place.gone = Some(gone);
                    self.place.seq = self.head();
                    self.keep()?;
                    self.note(at_rest);
                    return Ok(false);
                }
                Sent::Later(after, why) => {
                    self.tell.telemetry.notified(&self.name, "failed");
                    let (channel, id) = (&self.name, &told.id);
                    tracing::warn!(channel, id, why, "a message was not taken; it is sent again");
                    let at = self.tell.clock.now();
                    if at.mono.since(*self.failing.get_or_insert(at.mono)) >= DEAD {
                        self.failing = None;
                        self.skip(self.head())?;
                        return Ok(false);
                    }
                    let pause = pause(after, failures, &told.id);
                    failures += 1;
                    self.note(|standing| {
                        standing.failures = failures;
                        standing.why = Some(why);
                        standing.again = at.wall.checked_add(pause.to_signed()).ok();
                    });
                    self.tell.clock.sleep(pause).await;
                    if !worth(self) {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Somebody answered.
    fn answered(&mut self, outcome: &'static str) {
        self.tell.telemetry.notified(&self.name, outcome);
        self.failing = None;
        self.note(|standing| (standing.failures, standing.why, standing.again) = (0, None, None));
    }

    /// Leaves out all up to `end`, and notes that this is to be told.
    fn skip(&mut self, end: u64) -> Result<(), Broken> {
        if end <= self.place.seq {
            return Ok(());
        }
        let from = self.place.skipped.map_or(self.place.seq + 1, |(from, _)| from);
        let channel = &self.name;
        tracing::error!(
            channel,
            from,
            to = end,
            "a channel is too far behind: entries are left out"
        );
        self.tell.telemetry.notified(&self.name, "skipped");
        self.place.skipped = Some((from, end));
        self.place.seq = end;
        self.keep()
    }

    fn keep(&mut self) -> Result<(), Broken> {
        self.unkept = true;
        block_in_place(|| self.tell.outbox.keep(&self.name, &self.place))?;
        self.unkept = false;
        self.kept = (self.place.seq, self.tell.clock.now().mono);
        self.note(|_| {});
        Ok(())
    }

    fn note(&self, note: impl FnOnce(&mut Standing)) {
        self.tell.channels.note(&self.name, |standing| {
            standing.seq = self.place.seq;
            standing.skipped = self.place.skipped;
            standing.gone = self.place.gone.is_some();
            note(standing);
        });
    }

    #[cfg(test)]
    pub(super) fn tell(&self) -> &Tell {
        &self.tell
    }

    fn head(&self) -> u64 {
        self.tell.desk.store().head().seq
    }
}

/// Nothing is left that it could not be told.
fn at_rest(standing: &mut Standing) {
    (standing.since, standing.failures, standing.why, standing.again) = (None, 0, None, None);
}

/// Until the next attempt: what the listener asks for within bounds, so that 0 is no invitation to hammer it.
fn pause(asked: Option<Span>, failures: u32, id: &str) -> Span {
    asked.map_or_else(|| backoff(failures, id), |asked| asked.clamp(FIRST, PATIENCE))
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
    hex(&Sha256::digest(text)[..8])
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
    fn what_a_listener_asks_for_is_granted_within_bounds() {
        assert_eq!(pause(Some(Span::ZERO), 0, "a"), FIRST);
        assert_eq!(pause(Some(Span::seconds(7)), 0, "a"), Span::seconds(7));
        assert_eq!(pause(Some(Span(u64::MAX)), 0, "a"), PATIENCE);
        assert_eq!(pause(None, 3, "a"), backoff(3, "a"));
    }
}
