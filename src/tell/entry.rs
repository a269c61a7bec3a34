//! What an entry of the journal is worth telling of.

use std::sync::LazyLock;

use jiff::Timestamp;

use crate::{
    act::notify::Told,
    decide::{
        event::Action,
        fact::Fact,
        world::{Phase, Release, World},
    },
    ids::{ClusterName, ReleaseId},
    model::{notify::Topic, time::Now},
    record::{Entry, Record},
    show::{change::About, story},
};

/// Facts that somebody can be told of, each under its topic.
macro_rules! told {
    ($($fact:ident => $topic:ident,)*) => {
        /// The topic that a fact is told under, where somebody can be told of it.
        fn topic(fact: &Fact) -> Option<Topic> {
            $(if matches!(fact, Fact::$fact { .. }) {
                return Some(Topic::$topic);
            })*
            None
        }

        /// What such facts are called.
        const NAMES: &[&str] = &[$(stringify!($fact)),*];
    };
}

told! {
    Submitted => Submitted,
    RingStarted => Started,
    ClusterReady => Deployed,
    RingPassed => Passed,
    RingFailed => Failed,
    RollbackStarted => RollingBack,
    ClusterRestored => Restored,
    RingRolledBack => RolledBack,
    ClusterStuck => Stuck,
    Approved => Approved,
    Rejected => Rejected,
    Retried => Retried,
    Aborted => Aborted,
    RingSuperseded => Superseded,
    Paused => Paused,
    Resumed => Resumed,
    Frozen => Frozen,
    Lifted => Lifted,
    PlanInError => PlanInError,
    SourceRefused => SourceRefused,
    Refused => Refused,
}

/// What the JSON of each such fact begins with.
static BEGINNINGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let beginning = |name: &&str| {
        let mut letters = name.chars();
        let first = letters.next().map(|first| first.to_ascii_lowercase());
        format!("{{\"{}\"", first.into_iter().chain(letters).collect::<String>())
    };
    NAMES.iter().map(beginning).collect()
});

/// Whether a record may be worth telling of, by its bytes alone: most are not, and are not opened.
pub(super) fn may_tell(record: &Record) -> bool {
    let Ok(text) = std::str::from_utf8(&record.payload) else { return true };
    BEGINNINGS.iter().any(|beginning| text.contains(beginning))
}

/// A message about nothing yet.
pub(super) fn nothing(id: String, topic: Topic, at: Timestamp) -> Told {
    Told {
        id,
        topic,
        at,
        seq: 0,
        plan: None,
        release: None,
        artifact: None,
        ring: None,
        attempt: 0,
        cluster: None,
        replaced: false,
        by: None,
        said: String::new(),
        link: None,
    }
}

/// Everything that an entry is worth telling of, in order. Each id is made of the entry and of the fact's place in
/// it, so that it is the same however often this is asked, whatever has become of the world by then.
pub fn about(entry: &Entry, world: &World, external_url: Option<&str>) -> Vec<Told> {
    let hash = entry.hash.as_str().get(..8).unwrap_or_default();
    let mut all: Vec<Told> = Vec::new();
    for (fact, n) in entry.facts.iter().zip(1_u32..) {
        let Some(topic) = topic(fact) else { continue };
        let about = About::of(fact);
        let asked = if let Fact::Refused { by, asked, .. } = fact {
            // Whoever waited for the answer has read it.
            let Some(asked) = by.is_unheard().then(|| submitted(asked)) else { continue };
            asked
        } else {
            None
        };
        let release = about.release.and_then(|id| world.release(id));
        let cluster = cluster(fact);
        let told = Told {
            seq: entry.seq,
            plan: about.plan.cloned().or_else(|| Some(asked.as_ref()?.plan.clone())),
            release: about.release.cloned().or(asked),
            artifact: release.map(|release| release.artifact.clone()),
            ring: about.ring.cloned(),
            attempt: attempt(fact, release.map(AsRef::as_ref)),
            cluster: cluster.cloned(),
            replaced: release.zip(cluster).is_some_and(|(r, c)| replaced(world, r, c)),
            by: about.by.map(|by| by.name.clone()),
            said: story::of(fact),
            link: link(external_url, about.release),
            ..nothing(format!("msg_{}_{n}_{hash}", entry.seq), topic, entry.at.wall)
        };
        let whole = release.filter(|release| {
            topic == Topic::Passed
                && is_whole(release, entry.at)
                && !all.iter().any(|told| {
                    told.topic == Topic::Succeeded && told.release.as_ref() == Some(&release.id)
                })
        });
        let succeeded = whole.map(|release| Told {
            id: format!("msg_{}_{n}w_{hash}", entry.seq),
            topic: Topic::Succeeded,
            ring: None,
            attempt: 0,
            said: format!("{} passed every ring", release.id),
            ..told.clone()
        });
        all.push(told);
        all.extend(succeeded);
    }
    all
}

/// The release that a request asked for.
fn submitted(asked: &str) -> Option<ReleaseId> {
    let action: Action = serde_json::from_str(asked).ok()?;
    if let Action::Submit { release, .. } = action { Some(release) } else { None }
}

/// The attempt that a fact is about: the one that it names, or the one that the ring is at.
fn attempt(fact: &Fact, release: Option<&Release>) -> u32 {
    if let Fact::RingStarted { attempt, .. } = fact {
        return *attempt;
    }
    let ring = About::of(fact).ring;
    release.zip(ring).and_then(|(release, ring)| release.ring(ring)).map_or(0, |run| run.attempt)
}

/// Whether a release has passed every ring, the last of them at that instant; who is told of it later than a pass
/// was taken back is not told that it succeeded.
fn is_whole(release: &Release, at: Now) -> bool {
    let runs = || release.rings.values();
    runs().all(|run| run.phase == Phase::Passed)
        && runs().map(|run| run.entered.mono).max() == Some(at.mono)
}

/// Whether something else is known to have run there.
fn replaced(world: &World, release: &Release, cluster: &ClusterName) -> bool {
    let target = world.plans.get(&release.id.plan).and_then(|plan| plan.targets.get(cluster));
    target.is_some_and(|target| target.back_from(&release.artifact).is_some())
}

fn cluster(fact: &Fact) -> Option<&ClusterName> {
    if let Fact::ClusterReady { cluster, .. }
    | Fact::ClusterRestored { cluster, .. }
    | Fact::ClusterStuck { cluster, .. } = fact
    {
        Some(cluster)
    } else {
        None
    }
}

/// Where people look at a release.
pub(super) fn link(external_url: Option<&str>, release: Option<&ReleaseId>) -> Option<String> {
    let base = external_url?.trim_end_matches('/');
    Some(match release {
        Some(id) => format!("{base}/releases/{}/{}", id.plan, id.version),
        None => format!("{base}/"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decide::{event::Actor, fact::Refusal},
        model::time::Mono,
        record::{Digest, Draft},
    };

    #[test]
    fn a_record_that_tells_nothing_is_not_opened() {
        let at = Now { wall: Timestamp::UNIX_EPOCH, mono: Mono(0) };
        let record = |fact: Fact| {
            let draft = Draft { at, facts: vec![fact], commands: Vec::new() };
            Record::seal(Digest::GENESIS, 1, 1, &draft).unwrap()
        };
        let release = || ReleaseId::new("checkout", "1.0");
        let running = Fact::SoakStarted { release: release(), ring: "beta".into() };
        assert!(!may_tell(&record(running)));
        let passed = Fact::RingPassed { release: release(), ring: "beta".into() };
        assert!(may_tell(&record(passed.clone())));
        // Each begins with the name that the journal gives it.
        let refused = Fact::SourceRefused { commit: "c0ffee".into(), why: "no".into() };
        let superseded =
            Fact::RingSuperseded { release: release(), ring: "beta".into(), by: "2.0".into() };
        for fact in [passed, refused, superseded] {
            let name = format!("{{\"{}\"", About::of(&fact).name);
            assert!(BEGINNINGS.contains(&name), "{name}");
            assert!(topic(&fact).is_some() && may_tell(&record(fact)));
        }
    }

    #[test]
    fn a_refusal_is_told_where_nobody_waited_for_it() {
        let asked = Action::Submit {
            release: ReleaseId::new("checkout", "1.0"),
            artifact: crate::model::ring::Artifact("on".into()),
            author: None,
            lane: Default::default(),
            reason: None,
            irreversible: false,
            requires: None,
        };
        let refused = |by: &str| Fact::Refused {
            by: Actor { name: by.into(), roles: Vec::new(), jurisdiction: None },
            asked: serde_json::to_string(&asked).unwrap(),
            kind: Refusal::PlanInError,
            detail: "it is in error".into(),
        };
        let entry = Entry {
            seq: 7,
            at: Now { wall: Timestamp::UNIX_EPOCH, mono: Mono(0) },
            epoch: 1,
            facts: ["dana", "hook:ci", "source:git", "watch:images"].map(refused).into(),
            commands: Vec::new(),
            prev: "".into(),
            hash: "0123456789abcdef".into(),
        };
        let told = about(&entry, &World::default(), None);
        let told: Vec<_> = told.iter().map(|told| (told.id.as_str(), told.topic)).collect();
        let expected = ["msg_7_3_01234567", "msg_7_4_01234567"].map(|id| (id, Topic::Refused));
        assert_eq!(told, expected);
        let first = &about(&entry, &World::default(), None)[0];
        assert_eq!(first.release, Some(ReleaseId::new("checkout", "1.0")));
        assert_eq!(first.plan, Some("checkout".into()));
    }
}
