//! Follows the source of declarations: what a new commit says of each plan becomes an event.
//!
//! Architecture invariant: nothing is decided here. A commit that is not accepted, or cannot be had,
//! leaves everything as it is; what is wrong with a document is told to the core plan by plan.

mod releases;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

use tokio::sync::{Notify, mpsc};

use self::releases::Releases;
use crate::{
    clock::Clock,
    decide::{
        event::{Declared, Event, News, Problem},
        world::World,
    },
    declare::{
        Compiled, Diagnostic, compile, report,
        source::{Polled, Source},
    },
    ids::{Jurisdiction, PlanName, Principal, Region},
    model::{
        blocs::{self, Blocs},
        limits::{MotionLimits, PerPlace},
        time::Span,
    },
};

/// The pause after the source could not be had.
const RETRY: Span = Span::seconds(5);

/// However often somebody says that there is news, there is this much time between two looks.
const BREATH: Span = Span::seconds(1);

/// What is followed.
#[derive(Debug)]
pub struct Followed {
    /// Where it is.
    pub source: Source,
    /// By the e-mail address of a commit's author: as whom ringward knows them, where that is another name.
    pub authors: BTreeMap<String, Principal>,
}

/// When the source is looked at.
#[derive(Debug)]
pub struct Pace {
    /// At least so often.
    pub interval: Span,
    /// And when this says so.
    pub news: Arc<Notify>,
}

/// Polls the source by its `pace` until nobody takes its events any more; what concerns others (who is told
/// what, where releases come from) is taken by `told`.
pub async fn follow(
    Followed { mut source, authors }: Followed,
    Pace { interval, news }: Pace,
    limits: MotionLimits,
    world: Arc<RwLock<World>>,
    clock: Arc<dyn Clock>,
    events: mpsc::Sender<Event>,
    told: impl Fn(&mut Compiled) + Send,
) {
    let mut releases = Releases::new(authors);
    loop {
        let (told, mut pause) = match source.poll().await {
            Polled::Unchanged => (Vec::new(), interval),
            Polled::New(snapshot) => {
                let commit = snapshot.commit.clone();
                match tokio::task::spawn_blocking(move || compile(&snapshot)).await {
                    Ok(mut compiled) => {
                        told(&mut compiled);
                        for name in limits_nothing(&limits, &compiled) {
                            tracing::error!(
                                name,
                                "the settings limit rings in motion in a place that is neither declared nor \
                                 known: it limits nothing"
                            );
                        }
                        releases.declared(&compiled);
                        (said(compiled, &world), interval)
                    }
                    Err(error) => {
                        tracing::error!(%commit, %error, "the declarations could not be compiled");
                        (Vec::new(), interval)
                    }
                }
            }
            Polled::Refused { commit, why } => {
                tracing::warn!(%commit, why, "the head of the source is not accepted");
                (vec![Event::Source { commit, refused: Some(why) }], interval)
            }
            Polled::Unreachable(why) => {
                tracing::warn!(
                    why,
                    "the source cannot be had; what was accepted last stays in force"
                );
                (Vec::new(), RETRY.min(interval))
            }
        };
        // What is declared of the plans goes before what is released of them.
        let asked = releases.asked(&source, &world).await;
        for event in told.into_iter().chain(asked) {
            if events.send(event).await.is_err() {
                return;
            }
        }
        if releases.is_left() {
            pause = RETRY.min(pause);
        }
        tokio::select! {
            () = clock.sleep(pause) => {}
            () = async { clock.sleep(BREATH).await; news.notified().await } => {}
            () = events.closed() => return,
        }
    }
}

/// Places that the settings limit and that are nowhere: regions without a cluster, and jurisdictions that are
/// neither countries nor blocs.
pub fn limits_nothing(limits: &MotionLimits, compiled: &Compiled) -> Vec<String> {
    let mut nowhere = Vec::new();
    if let PerPlace::Named(regions) = &limits.per_region {
        let there = |name: &Region| compiled.clusters.values().any(|c| c.region == *name);
        nowhere.extend(regions.keys().filter(|name| !there(name)).map(ToString::to_string));
    }
    if let PerPlace::Named(places) = &limits.per_jurisdiction {
        let mut blocs = Blocs::default();
        if let Some(declared) = &compiled.blocs {
            blocs.declare(declared);
        }
        let known = |name: &Jurisdiction| blocs::is_country(name.as_str()) || blocs.knows(name);
        nowhere.extend(places.keys().filter(|name| !known(name)).map(ToString::to_string));
    }
    nowhere
}

/// What an accepted commit says, the commit itself first.
fn said(compiled: Compiled, world: &RwLock<World>) -> Vec<Event> {
    if !compiled.diagnostics.is_empty() {
        let text = report::text(&compiled.diagnostics, false);
        tracing::warn!(commit = %compiled.commit, "problems in the declarations:\n{text}");
    }
    let known: BTreeSet<PlanName> = {
        let world = world.read().unwrap_or_else(PoisonError::into_inner);
        world.plans.keys().cloned().collect()
    };
    let gone = known.into_iter().filter(|plan| !compiled.plans.contains_key(plan));
    let gone: Vec<_> =
        gone.map(|plan| Event::Declared { plan, declared: Declared::Withdrawn }).collect();
    // The facts go before the plans: what each plan's declaration sets going is decided by them.
    let mut news = vec![
        Event::Source { commit: compiled.commit, refused: None },
        Event::Learned(News::Clusters(compiled.places)),
    ];
    news.extend(compiled.blocs.map(|blocs| Event::Learned(News::Blocs(blocs))));
    news.extend(compiled.plans.into_iter().map(|(plan, result)| {
        let declared = match result {
            Ok(plan) => Declared::Valid(plan),
            Err(diagnostics) => Declared::Invalid(diagnostics.iter().map(problem).collect()),
        };
        Event::Declared { plan, declared }
    }));
    news.extend(gone);
    news
}

fn problem(diagnostic: &Diagnostic) -> Problem {
    Problem {
        rule: diagnostic.rule.to_string(),
        place: diagnostic.location(),
        message: diagnostic.in_brief(),
    }
}
