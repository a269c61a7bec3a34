//! Follows where releases come from by themselves: what a source has found is asked for as anybody asks.
//!
//! Architecture invariant: nothing is remembered here. What was found before is known by the releases that were made of
//! it, and what was refused by the answer to the request's key; a start asks for nothing twice.

use std::{collections::BTreeMap, sync::Arc};

use sha2::{Digest as _, Sha256};
use tokio::{
    sync::{Semaphore, watch},
    task::{AbortHandle, JoinSet},
};

use crate::{
    act::releases::{Look, Newest},
    decide::{
        command::Lane,
        event::{Action, Actor, Request},
        fact::Reply,
        world::{PlanState, World},
    },
    ids::{Hash, IdempotencyKey, Principal, ReleaseId, Version, hex},
    model::{
        release::{VERSION, is_version},
        source::{From, ReleaseSource},
        time::Span,
    },
    show::{desk::Desk, telemetry::Telemetry},
};

/// Sources that are looked at at once.
const AT_ONCE: usize = 16;
/// The longest pause that failures come to, and that another side can ask for.
const LONGEST: Span = Span::minutes(60);
/// The pause while the source's plan takes no release.
const CLOSED: Span = Span::seconds(5);
/// What stands between a tag and the digest that it was moved to.
const MOVED: &str = "+sha256.";
/// Digits of a digest that tell one move of a tag from the next.
const DIGITS: usize = 12;

/// What sources are followed with.
pub struct Incoming {
    look: Arc<dyn Look>,
    desk: Arc<Desk>,
    telemetry: Arc<Telemetry>,
    turns: Semaphore,
}

impl Incoming {
    /// Looks by `look`, and asks at the desk.
    pub fn new(look: Arc<dyn Look>, desk: Arc<Desk>, telemetry: Arc<Telemetry>) -> Self {
        Self { look, desk, telemetry, turns: Semaphore::new(AT_ONCE) }
    }

    /// Follows exactly the sources that are declared, until it is `stopped`; then nothing of it is left.
    pub async fn follow(
        self,
        mut declared: watch::Receiver<Vec<ReleaseSource>>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let incoming = Arc::new(self);
        let mut tasks = JoinSet::new();
        let mut running: BTreeMap<String, (ReleaseSource, AbortHandle)> = BTreeMap::new();
        loop {
            let now = declared.borrow_and_update().clone();
            running.retain(|_, (source, task)| {
                let stays = now.contains(source);
                if !stays {
                    task.abort();
                }
                stays
            });
            while tasks.try_join_next().is_some() {}
            for source in now {
                running.entry(source.name.clone()).or_insert_with(|| {
                    incoming.telemetry.will_look(&source.name);
                    let task = tasks.spawn(incoming.clone().watch(source.clone()));
                    (source, task)
                });
            }
            let more = tokio::select! {
                changed = declared.changed() => changed.is_ok(),
                // It fails where nobody is left who could say so, which says so too.
                _ = stopped.wait_for(|stop| *stop) => false,
            };
            if !more {
                return tasks.shutdown().await;
            }
        }
    }

    async fn watch(self: Arc<Self>, source: ReleaseSource) {
        let name = source.name.as_str();
        let clock = self.desk.clock().clone();
        let mut failures = 0_u32;
        let mut said = String::new();
        loop {
            if let Err(why) = self.desk.read(|world, _| open(world, &source).map(|_| ())) {
                say(&mut said, &why, || tracing::info!(name, why, "a source of releases waits"));
                clock.sleep(CLOSED).await;
                continue;
            }
            let looked = {
                // It fails where the semaphore is closed, and nobody closes it.
                let _turn = self.turns.acquire().await;
                self.look.look(&source).await
            };
            let (outcome, pause) = match looked {
                Ok(found) => {
                    failures = 0;
                    let why = match found {
                        Some(newest) => self.offer(&source, &newest).await,
                        None => Err("nothing there counts".to_owned()),
                    };
                    match why {
                        Ok(()) => said.clear(),
                        Err(why) => say(&mut said, &why, || {
                            tracing::warn!(name, plan = %source.plan, why, "no release comes of a source");
                        }),
                    }
                    ("looked", source.interval)
                }
                Err(trouble) => {
                    failures = failures.saturating_add(1);
                    let why = trouble.why;
                    say(&mut said, &why, || {
                        tracing::error!(name, plan = %source.plan, why, "a source of releases cannot be looked at");
                    });
                    let longer = source.interval.0.saturating_mul(1 << failures.min(10));
                    let asked = trouble.wait.unwrap_or(Span::ZERO);
                    ("failed", Span(longer).max(asked).min(LONGEST.max(source.interval)))
                }
            };
            self.telemetry.looked(name, outcome);
            clock.sleep(pause).await;
        }
    }

    /// Asks for a release of what was found, where there is none yet.
    async fn offer(&self, source: &ReleaseSource, newest: &Newest) -> Result<(), String> {
        let asked = self.desk.read(|world, _| wanted(world, source, newest))?;
        let Some((version, policy)) = asked else { return Ok(()) };
        let release = ReleaseId::new(source.plan.clone(), version);
        let reason = match &source.from {
            From::Registry(tags) => format!("tag {} of {}", newest.tag, tags.image),
            From::ImagePolicy(place) => format!(
                "tag {} by ImagePolicy {}/{} in {}",
                newest.tag, place.namespace, place.name, place.cluster
            ),
        };
        let by = principal(source);
        let digest = Sha256::digest(format!("{}\n{policy}", newest.artifact).as_bytes());
        let key = IdempotencyKey::from(format!("{by}/{release}/{}", &hex(&digest)[..16]));
        let action = Action::Submit {
            release: release.clone(),
            artifact: newest.artifact.clone(),
            author: None,
            lane: Lane::Normal,
            reason: Some(reason),
            irreversible: false,
            requires: None,
        };
        let by = Actor { name: by, roles: Vec::new(), jurisdiction: None };
        let request = Request { by, key: Some(key), seen: None, action };
        match self.desk.ask(request).await.map_err(|error| error.to_string())? {
            Reply::Refused { kind, detail } => {
                Err(format!("{release} is refused ({}): {detail}", kind.name()))
            }
            Reply::Done { .. } => {
                tracing::info!(name = source.name, %release, artifact = %newest.artifact, "a release has come in");
                Ok(())
            }
        }
    }
}

/// Says what was not said last.
fn say(said: &mut String, why: &str, log: impl FnOnce()) {
    if said != why {
        why.clone_into(said);
        log();
    }
}

/// Who asks: no name of a caller holds a colon, so nobody else is called so.
fn principal(source: &ReleaseSource) -> Principal {
    format!("watch:{}", source.name).into()
}

/// The plan, where it takes releases.
fn open<'a>(world: &'a World, source: &ReleaseSource) -> Result<(&'a PlanState, &'a Hash), String> {
    let state = world.plans.get(&source.plan);
    let state = state.filter(|state| !state.withdrawn && state.problems.is_empty());
    let declared = state.and_then(|state| Some((&**state, &state.declared.as_ref()?.hash)));
    declared.ok_or_else(|| format!("plan {} is in error, or not declared yet", source.plan))
}

/// The version that is to be asked for and the policy that it would go by; nothing where what was found is a release.
///
/// A tag is its release's version. One that stands for something else than it did is a version of its own, named by
/// the digest that it was moved to.
fn wanted(
    world: &World,
    source: &ReleaseSource,
    newest: &Newest,
) -> Result<Option<(Version, Hash)>, String> {
    let Newest { tag, artifact } = newest;
    let (state, policy) = open(world, source)?;
    if state.releases.values().any(|release| release.artifact.same_as(artifact)) {
        return Ok(None);
    }
    // A registry that has lost its newest tags, or hides them, must not take a plan back to what was before.
    if let From::Registry(tags) = &source.from {
        let by = principal(source);
        let ours = state.releases.values().filter(|release| release.by.name == by);
        let mut found = ours.map(|release| base(release.id.version.as_str()));
        if let Some(later) = found.find(|earlier| tags.is_older(tag, earlier)) {
            return Err(format!(
                "tag {tag} is older than {later}, which was released: it is passed over"
            ));
        }
    }
    let digest = artifact.digest().unwrap_or_default();
    let digits = digest.trim_start_matches("sha256:").get(..DIGITS).unwrap_or_default();
    let moved = format!("{tag}{MOVED}{digits}");
    let mut versions = [tag.clone(), moved].into_iter();
    let free = versions.find(|version| !state.releases.contains_key(version.as_str()));
    let version =
        free.ok_or_else(|| format!("both names for what tag {tag} stands for are taken"))?;
    if !is_version(&version) {
        return Err(format!("tag {tag} makes no version: {VERSION}"));
    }
    Ok(Some((version.into(), policy.clone())))
}

/// The tag that a version was made of.
fn base(version: &str) -> &str {
    version.split_once(MOVED).map_or(version, |(tag, _)| tag)
}
