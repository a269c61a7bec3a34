//! What is common to all services: consent, epochs, repeats, what ran before, what goes on still, and that what was
//! started is read back.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use reqwest::Url;
use tokio::time::{sleep, timeout};

use super::{Api, Heard, Order, Outgoing, Place, Run, Step, Trouble, Which};
use crate::{
    act::{
        Found, WriteError,
        glance::{Glance, Unseen},
        metrics::client::Client,
        note::Note,
    },
    clock::Clock,
    decide::{
        command::Write,
        event::{Status, TargetState},
    },
    ids::PlanName,
    model::ring::{Artifact, Target},
};

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How often one attempt looks for what it has just asked for,
const LOOKS: usize = 5;
/// and the longest time between two of these looks.
const BETWEEN: Duration = Duration::from_secs(2);
/// The most requests that one look or one start may take.
const REQUESTS: usize = 30;

/// One service, reached.
#[derive(Clone)]
pub(super) struct Service {
    /// The connection that it is beside, in the settings.
    pub(super) connection: String,
    /// Its name there.
    pub(super) name: String,
    /// The plans that may use it.
    pub(super) plans: BTreeSet<PlanName>,
    pub(super) api: Arc<dyn Api>,
    pub(super) base: Url,
    pub(super) client: Arc<Client>,
    pub(super) clock: Arc<dyn Clock>,
    /// How often runs are looked at.
    pub(super) every: Duration,
}

impl Service {
    async fn exchange(&self, outgoing: Outgoing) -> Result<Heard, Trouble> {
        let asked =
            timeout(ANSWER, self.client.exchange(&self.base, outgoing, self.clock.now().wall));
        match asked.await {
            Ok(Ok(answer)) => Ok((answer.status, answer.body)),
            Ok(Err(why)) => Err(Trouble::Unreachable(why)),
            Err(_) => Err(Trouble::Unreachable(format!("no answer within {ANSWER:?}"))),
        }
    }

    /// Asks until there is nothing more to ask.
    async fn through<T>(
        &self,
        next: impl Fn(&[Heard]) -> Result<Step<T>, Trouble>,
    ) -> Result<T, Trouble> {
        let explain = |trouble| match trouble {
            Trouble::Unreachable(why) => {
                Trouble::Unreachable(format!("service `{}`: {why}", self.name))
            }
            Trouble::Gone | Trouble::Refused(_) => trouble,
        };
        let mut heard = Vec::new();
        while heard.len() <= REQUESTS {
            match next(&heard).map_err(explain)? {
                Step::Done(done) => return Ok(done),
                Step::Ask(outgoing) => heard.push(self.exchange(*outgoing).await.map_err(explain)?),
            }
        }
        Err(explain(Trouble::Unreachable("it always says that there is more".into())))
    }

    async fn runs(&self, target: &Target, which: Which<'_>) -> Result<Vec<Run>, Trouble> {
        let place = Place { base: &self.base, target };
        self.through(|heard| self.api.look(place, which, heard)).await
    }

    pub(super) async fn write(&self, write: &Write, epoch: u64) -> Result<Found, WriteError> {
        let target = &write.target;
        self.once(write, epoch).await.map_err(|trouble| match trouble {
            Trouble::Gone => WriteError::Refused(format!("{target} does not exist")),
            Trouble::Refused(why) => WriteError::Refused(format!("{target} {why}")),
            Trouble::Unreachable(why) => WriteError::Unreachable(why),
        })
    }

    async fn once(&self, write: &Write, epoch: u64) -> Result<Found, Trouble> {
        let Write { key, release, target, artifact, .. } = write;
        let (plan, intent) = (&release.plan, key.as_str());
        if !self.plans.contains(plan) {
            return Err(Trouble::Refused(format!(
                "may not be run for plan `{plan}`: name the plan under connections.{}.deployers.{}.plans of the \
                 server's settings",
                self.connection, self.name
            )));
        }
        let hex = artifact.digest().and_then(|digest| digest.split_once(':')).map(|(_, hex)| hex);
        let hex = hex.ok_or_else(|| {
            Trouble::Refused(format!("takes an image pinned by a digest, and {artifact} is not"))
        })?;
        let runs = self.runs(target, Which::Newest).await?;
        let found = found(&runs, intent);
        if runs.iter().any(|run| run.intent() == Some(intent)) {
            return Ok(found);
        }
        permitted(&runs, plan, epoch)?;
        let instead_of = self.make_way(target, &runs).await?;
        let note = Note {
            release: Some(release.to_string()),
            intent: Some(intent.to_owned()),
            epoch: Some(epoch),
            ..Note::of(plan)
        };
        let order =
            Order { image: artifact, hex, note: &note, intent, epoch, instead_of: &instead_of };
        tracing::info!(%key, to = %artifact, "starting a run");
        let place = Place { base: &self.base, target };
        let started = self.through(|heard| self.api.start(place, &order, heard)).await;
        let id = match started {
            Ok(id) => id,
            // It may have been started all the same: whoever comes next must not start another.
            Err(Trouble::Unreachable(why)) => {
                let arrived = |runs: &[Run]| runs.iter().any(|run| run.intent() == Some(intent));
                return match self.wait_for(target, arrived).await {
                    true => Ok(found),
                    false => Err(Trouble::Unreachable(why)),
                };
            }
            Err(trouble) => return Err(trouble),
        };
        match self.runs(target, Which::One(&id)).await {
            Ok(back) => back.first().map_or(Ok(()), |run| read_back(run, &note, artifact))?,
            // It is started; how it goes on is the watch's to tell.
            Err(trouble) => tracing::warn!(%key, id, ?trouble, "a run is not read back"),
        }
        Ok(found)
    }

    /// Stops the runs of ours that go on, or names those that the next takes the place of; of others, whose end is
    /// waited for.
    async fn make_way(&self, target: &Target, runs: &[Run]) -> Result<Vec<String>, Trouble> {
        if let Some(run) = runs.iter().find(|run| run.goes_on() && run.note.is_none()) {
            return Err(Trouble::Unreachable(format!(
                "{target}: run {} goes on, which somebody else has started; it is waited for",
                run.id
            )));
        }
        let place = Place { base: &self.base, target };
        let mut instead_of = Vec::new();
        // Of one whose status nobody knows, nobody knows whether it can be stopped: it is tried.
        for run in runs.iter().filter(|run| run.note.is_some() && !run.has_ended()) {
            match self.api.stop(place, run) {
                Some(stop) => {
                    tracing::info!(run = run.id, "stopping a run");
                    let (status, _) = self.exchange(stop).await?;
                    if !(200..300).contains(&status) {
                        tracing::warn!(run = run.id, status, "a run is not stopped");
                    }
                }
                None => instead_of.extend(run.intent().map(str::to_owned)),
            }
        }
        let stopped = |runs: &[Run]| !runs.iter().any(|run| run.goes_on());
        if !instead_of.is_empty() || stopped(runs) || self.wait_for(target, stopped).await {
            return Ok(instead_of);
        }
        Err(Trouble::Unreachable(format!("{target}: what goes on there is being stopped")))
    }

    /// Looks until the runs are as wanted; not for long.
    async fn wait_for(&self, target: &Target, wanted: impl Fn(&[Run]) -> bool) -> bool {
        for _ in 0..LOOKS {
            if self.runs(target, Which::Newest).await.is_ok_and(|runs| wanted(&runs)) {
                return true;
            }
            sleep(self.every.min(BETWEEN)).await;
        }
        false
    }
}

impl Glance for Service {
    fn every(&self) -> Duration {
        self.every
    }

    async fn glance(&self, target: &Target) -> Result<TargetState, Unseen> {
        let runs = self.runs(target, Which::Last).await.map_err(|trouble| match trouble {
            Trouble::Gone => Unseen::Gone,
            Trouble::Refused(why) => Unseen::Refused(why),
            Trouble::Unreachable(why) => Unseen::Unreachable(why),
        })?;
        // What has never run stands still, and lets anybody begin.
        let nothing = || TargetState { status: Status::Pending, ..TargetState::unknown("") };
        Ok(runs.first().map_or_else(nothing, state))
    }
}

/// What ran before the write of that intent, where it was none of ours: what succeeded last. One that failed since then
/// takes nothing away: to go back is to run what succeeded once more.
fn found(runs: &[Run], intent: &str) -> Found {
    let ours = runs.iter().position(|run| run.intent() == Some(intent));
    let before = runs.iter().skip(ours.map_or(0, |at| at + 1));
    let run = before.into_iter().find(|run| run.status == Status::Succeeded)?;
    let image = run.image.clone().filter(|_| run.note.is_none())?;
    Some(TargetState { image: Some(image), ..state(run) })
}

/// Whether a plan may go on from what ran last. A run that somebody else made, and that succeeded, hands over
/// whatever was before it.
fn permitted(runs: &[Run], plan: &PlanName, epoch: u64) -> Result<(), Trouble> {
    let handed_over = |run: &&Run| run.note.is_none() && run.status == Status::Succeeded;
    let cure = "run what is to be known good once by hand, without ringward";
    for note in runs.iter().take_while(|run| !handed_over(run)).filter_map(|run| run.note.as_ref())
    {
        if note.plan != *plan {
            return Err(Trouble::Refused(format!(
                "was last run for plan `{}`, not for `{plan}`; if that is over: {cure}",
                note.plan
            )));
        }
        if let Some(theirs) = note.epoch.filter(|theirs| *theirs > epoch) {
            return Err(Trouble::Refused(format!(
                "was run by a newer writer: a run carries epoch {theirs}, this writer's is {epoch}; stop this process, \
                 or the newer one. If that one's data directory is lost: {cure}"
            )));
        }
    }
    Ok(())
}

/// Whether a run is the one that was started.
fn read_back(run: &Run, note: &Note, artifact: &Artifact) -> Result<(), Trouble> {
    let brings = |image: &Artifact| image.same_as(artifact);
    if run.note.as_ref() == Some(note) && run.image.as_ref().is_none_or(brings) {
        return Ok(());
    }
    let image = run.image.as_ref().map_or("no image", |image| &image.0);
    Err(Trouble::Refused(format!(
        "was started with {artifact}, and its run {} says {image}: let what is run take what ringward passes, as \
         README.md has it",
        run.id
    )))
}

/// The state that a run is.
fn state(run: &Run) -> TargetState {
    TargetState {
        status: run.status.clone(),
        image: run.image.clone(),
        intent: run.intent().map(Into::into),
        revision: Some(run.id.clone()),
        ..TargetState::unknown("")
    }
}
