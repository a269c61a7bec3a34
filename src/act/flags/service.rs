//! What is common to all services: consent, epochs, repeats, who else has changed a flag, and that what was written is
//! read back.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reqwest::Url;
use tokio::{sync, time::timeout};

use super::{Answer, Api, Flag, Step, Trouble};
use crate::{
    act::{
        Found, WriteError,
        glance::{Glance, Unseen},
        metrics::{client::Client, question::Outgoing},
        note::Note,
    },
    clock::Clock,
    decide::{
        command::Write,
        event::{Status, TargetState},
    },
    model::{
        ring::{Artifact, Target},
        serve::Serve,
        time::{Mono, Span},
    },
};

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How often a flag that changes under us is read again within one attempt.
const RACES: usize = 5;
/// For how long a service that is asked too often is left alone where it does not say,
const QUIET: Span = Span::seconds(10);
/// and the most that it may say.
const LONGEST_QUIET: Span = Span::minutes(5);

/// Whose turn it is, over all clusters: a service knows neither of them nor of their connections.
#[derive(Clone, Default)]
pub(super) struct Turns {
    /// By the flag: one write to it at a time, since a text may be one for all of its environments.
    flags: Arc<Mutex<BTreeMap<String, Arc<sync::Mutex<()>>>>>,
    /// By the service's URL: until when it wants to be left alone.
    quiet: Arc<Mutex<BTreeMap<Url, Mono>>>,
}

impl Turns {
    fn of(&self, base: &Url, target: &Target) -> Arc<sync::Mutex<()>> {
        let mut flags = self.flags.lock().unwrap_or_else(PoisonError::into_inner);
        let (kind, project, flag) = target.object();
        flags.entry(format!("{kind} {base} {project}/{flag}")).or_default().clone()
    }

    /// For how much longer a service wants to be left alone.
    fn quiet(&self, base: &Url, now: Mono) -> Option<Span> {
        let quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        let until = quiet.get(base).filter(|until| **until > now)?;
        Some(until.since(now))
    }

    fn silence(&self, base: &Url, until: Mono) {
        let mut quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        quiet.insert(base.clone(), until);
    }
}

/// One service, reached.
#[derive(Clone)]
pub(super) struct Service {
    /// Its name in the settings.
    pub(super) name: String,
    pub(super) api: Arc<dyn Api>,
    pub(super) base: Url,
    pub(super) client: Arc<Client>,
    pub(super) clock: Arc<dyn Clock>,
    /// How often a flag is looked at.
    pub(super) every: Duration,
    pub(super) turns: Turns,
}

impl Service {
    async fn exchange(&self, outgoing: Outgoing) -> Result<Answer, Trouble> {
        let explain = |why| Trouble::Unreachable(format!("flag service `{}`: {why}", self.name));
        let now = self.clock.now();
        if let Some(quiet) = self.turns.quiet(&self.base, now.mono) {
            return Err(explain(format!("it is asked too often, and not again for {quiet}")));
        }
        let asked = timeout(ANSWER, self.client.exchange(&self.base, outgoing, now.wall));
        match asked.await {
            Ok(Ok(answer)) => {
                if answer.status == 429 {
                    let quiet = answer.retry_after.unwrap_or(QUIET).min(LONGEST_QUIET);
                    self.turns.silence(&self.base, Mono(now.mono.0.saturating_add(quiet.0)));
                }
                Ok((answer.status, answer.body))
            }
            Ok(Err(why)) => Err(explain(why)),
            Err(_) => Err(explain(format!("no answer within {ANSWER:?}"))),
        }
    }

    async fn read(&self, target: &Target) -> Result<Flag, Trouble> {
        let mut answers = Vec::new();
        loop {
            match self.api.look(&self.base, target, &answers)? {
                Step::Ask(outgoing) => answers.push(self.exchange(outgoing).await?),
                Step::Seen(flag) => return Ok(flag),
            }
        }
    }

    pub(super) async fn write(&self, write: &Write, epoch: u64) -> Result<Found, WriteError> {
        let turn = self.turns.of(&self.base, &write.target);
        let _turn = turn.lock().await;
        for _ in 0..RACES {
            match self.once(write, epoch).await {
                Ok(found) => return Ok(found),
                Err(Trouble::Race) => {}
                Err(Trouble::Gone) => {
                    return Err(WriteError::Refused(format!("{} does not exist", write.target)));
                }
                Err(Trouble::Refused(why)) => {
                    return Err(WriteError::Refused(format!("{} {why}", write.target)));
                }
                Err(Trouble::Unreachable(why)) => return Err(WriteError::Unreachable(why)),
            }
        }
        let target = &write.target;
        Err(WriteError::Unreachable(format!(
            "{target} was changed by others {RACES} times in a row"
        )))
    }

    async fn once(&self, write: &Write, epoch: u64) -> Result<Found, Trouble> {
        let Write { key, release, target, artifact, .. } = write;
        let flag = self.read(target).await?;
        let plan = &release.plan;
        let note = flag.note.as_ref().ok_or_else(|| {
            let consent = self.api.consent(&Note::of(plan).to_string());
            Trouble::Refused(format!("has not consented to plan `{plan}`; {consent}"))
        })?;
        if note.plan != *plan {
            let consent = self.api.consent(&Note::of(plan).to_string());
            return Err(Trouble::Refused(format!(
                "is managed by plan `{}`, not by `{plan}`; if that is over: {consent}",
                note.plan
            )));
        }
        if let Some(theirs) = note.epoch.filter(|theirs| *theirs > epoch) {
            return Err(Trouble::Refused(format!(
                "was written by a newer writer: it carries epoch {theirs}, this writer's is {epoch}; stop this \
                 process, or the newer one. If that one's data directory is lost, hand what is served over as known \
                 good: {}",
                self.api.consent(&Note::of(plan).to_string())
            )));
        }
        let serves = Artifact(flag.serves.to_string());
        let found = match (&note.intent, &note.before) {
            (None, _) if flag.off => None,
            (None, _) => Some(serves.clone()),
            (Some(_), before) => before.clone().map(Artifact),
        };
        let found_state = found.clone().map(|image| TargetState {
            status: Status::Succeeded,
            image: Some(image),
            ..TargetState::unknown("")
        });
        let through = note.from.is_none() && serves == *artifact;
        if note.intent.as_deref() == Some(key.as_str()) && through {
            return Ok(found_state);
        }
        let theirs = |ours: &&String| {
            **ours != serves.0 && serves != *artifact && !note.is_ahead_of(&serves.0)
        };
        if let Some(ours) = note.serves.as_ref().filter(theirs) {
            return Err(Trouble::Refused(format!(
                "serves {serves}, and ringward wrote {ours}: somebody else has changed it. Put that back, or hand what \
                 is served over as known good: {}",
                self.api.consent(&Note::of(plan).to_string())
            )));
        }
        let serve = artifact
            .0
            .parse::<Serve>()
            .map_err(|why| Trouble::Refused(format!("holds a flag, and {why}")))?;
        let earlier = note.intent.as_deref();
        let next = Note {
            release: Some(release.to_string()),
            intent: Some(key.to_string()),
            epoch: Some(epoch),
            serves: Some(artifact.to_string()),
            before: found
                .filter(|_| earlier.is_none_or(|earlier| earlier == key.as_str()))
                .map(|a| a.0),
            ..Note::of(plan)
        };
        let change = flag.change.to(&serve, &next).map_err(Trouble::Refused)?;
        tracing::info!(%key, from = %serves, to = %artifact, "writing");
        for outgoing in change {
            let (status, body) = self.exchange(outgoing).await?;
            self.api.changed((status, &body))?;
        }
        let back = self.read(target).await?;
        if back.serves != serve || back.note.as_ref() != Some(&next) {
            let why = "what was written is not what is read back".to_owned();
            return Err(Trouble::Unreachable(format!("flag service `{}`: {why}", self.name)));
        }
        Ok(found_state)
    }
}

impl Glance for Service {
    fn every(&self) -> Duration {
        self.every
    }

    async fn glance(&self, target: &Target) -> Result<TargetState, Unseen> {
        let flag = self.read(target).await.map_err(|trouble| match trouble {
            Trouble::Gone => Unseen::Gone,
            Trouble::Refused(why) => Unseen::Refused(why),
            Trouble::Unreachable(why) => Unseen::Unreachable(why),
            Trouble::Race => Unseen::Changing,
        })?;
        let serves = flag.serves.to_string();
        let ahead = flag.note.as_ref().is_some_and(|note| note.is_ahead_of(&serves));
        let status = match (flag.off, ahead) {
            (true, _) => Status::Paused,
            (false, true) => Status::Progressing("noted, and not written yet".into()),
            (false, false) => Status::Succeeded,
        };
        let intent = flag.note.and_then(|note| note.intent).map(Into::into);
        let image = Some(Artifact(serves));
        Ok(TargetState { status, image, intent, ..TargetState::unknown("") })
    }
}
