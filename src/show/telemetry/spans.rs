//! Releases and their attempts on rings as traces: made of facts, whole, at the moment something ends.
//!
//! A release is a trace of one span, told when it is settled. Each attempt on a ring is a trace of its own,
//! told when it ends, with a child for each of its stretches: the deploy, the soak and the way back. Links
//! join them. Nothing is held open for the days that a release takes, and what was told once has the same ids
//! whenever it is told again: they are hashes of what it is of.
//!
//! The attributes are OpenTelemetry's semantic conventions for CI/CD, deployments, version control and
//! artifacts. No figure of a gate is among them, and no text that may hold one: residency rules bind here too.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{Link, SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use sha2::{Digest, Sha256};

use crate::{
    decide::{
        phase::ReleasePhase,
        world::{Phase, Release},
    },
    ids::RingName,
    model::time::Now,
};

/// An attempt of a release on a ring.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) release: &'a Release,
    pub(super) ring: &'a RingName,
    pub(super) number: u32,
}

impl Attempt<'_> {
    /// `checkout@2.14.0/beta/1`
    fn id(&self) -> String {
        format!("{}/{}/{}", self.release.id, self.ring, self.number)
    }

    fn context(&self) -> SpanContext {
        context(&trace_of(self.release, &self.id()), "attempt")
    }

    /// The attempt as a whole, which ended in that phase.
    pub(super) fn whole(&self, started: Now, ended: Now, phase: Phase) -> SpanData {
        let result = match result(phase) {
            // What an abort takes back did not fail.
            FAILURE if self.release.aborted.is_some() => CANCELLATION,
            result => result,
        };
        let mut attributes = self.attributes();
        attributes.push(KeyValue::new("cicd.pipeline.task.run.result", result));
        attributes.push(KeyValue::new("deployment.status", deployment(phase)));
        let linked = vec![context(&trace_of(self.release, ""), "release")];
        let name = format!("RUN {}", self.ring);
        span(self.context(), None, name, (started, ended), attributes, linked, result)
    }

    /// The stretch of it that was spent in that phase; nothing for a phase in which nothing goes on.
    pub(super) fn stretch(&self, phase: Phase, from: Now, to: Now) -> Option<SpanData> {
        let name = match phase {
            Phase::Deploying => "deploy",
            Phase::Soaking => "soak",
            Phase::RollingBack => "rollback",
            Phase::Waiting
            | Phase::Passed
            | Phase::Failed
            | Phase::RolledBack
            | Phase::Aborted
            | Phase::Superseded => return None,
        };
        let whole = self.context();
        let own = context(&trace_of(self.release, &self.id()), name);
        let parent = Some(whole.span_id());
        Some(span(own, parent, name.into(), (from, to), self.attributes(), Vec::new(), SUCCESS))
    }

    fn attributes(&self) -> Vec<KeyValue> {
        let mut attributes = attributes(self.release);
        attributes.extend([
            KeyValue::new("cicd.pipeline.task.name", self.ring.to_string()),
            KeyValue::new("cicd.pipeline.task.run.id", self.id()),
            KeyValue::new("cicd.pipeline.task.type", "deploy"),
            KeyValue::new("deployment.id", self.id()),
            KeyValue::new("deployment.name", self.release.id.plan.to_string()),
            KeyValue::new("deployment.environment.name", self.ring.to_string()),
        ]);
        attributes
    }
}

/// A release that is settled, with links to its last attempt on each ring.
pub(super) fn whole(release: &Release, phase: ReleasePhase, ended: Now) -> SpanData {
    let result = match phase {
        ReleasePhase::Succeeded => SUCCESS,
        ReleasePhase::Failed | ReleasePhase::RolledBack => FAILURE,
        ReleasePhase::Aborted => CANCELLATION,
        ReleasePhase::Superseded
        | ReleasePhase::Pending
        | ReleasePhase::InProgress
        | ReleasePhase::Paused => SKIP,
    };
    let mut attributes = attributes(release);
    attributes.push(KeyValue::new("cicd.pipeline.result", result));
    let tried = release.rings.iter().filter(|(_, run)| run.attempt > 0);
    let linked = tried.map(|(ring, run)| Attempt { release, ring, number: run.attempt }.context());
    let (own, name) =
        (context(&trace_of(release, ""), "release"), format!("RUN {}", release.id.plan));
    let told = (release.submitted, ended);
    let whole = span(own, None, name, told, attributes, linked.collect(), result);
    SpanData { span_kind: SpanKind::Server, ..whole }
}

const SUCCESS: &str = "success";
const FAILURE: &str = "failure";
const CANCELLATION: &str = "cancellation";
const SKIP: &str = "skip";

fn result(phase: Phase) -> &'static str {
    match phase {
        Phase::Passed => SUCCESS,
        Phase::Failed | Phase::RollingBack | Phase::RolledBack => FAILURE,
        Phase::Aborted => CANCELLATION,
        Phase::Superseded | Phase::Waiting | Phase::Deploying | Phase::Soaking => SKIP,
    }
}

fn deployment(phase: Phase) -> &'static str {
    if result(phase) == SUCCESS { "succeeded" } else { "failed" }
}

fn attributes(release: &Release) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("cicd.pipeline.name", release.id.plan.to_string()),
        KeyValue::new("cicd.pipeline.run.id", release.id.to_string()),
        KeyValue::new("cicd.pipeline.action.name", "RUN"),
        KeyValue::new("vcs.ref.head.revision", release.plan.commit.to_string()),
        KeyValue::new("artifact.version", release.id.version.to_string()),
    ];
    let digest = release.artifact.digest().map(str::to_owned);
    attributes.extend(digest.map(|digest| KeyValue::new("artifact.hash", digest)));
    attributes
}

/// What a trace is of: the release by when it was admitted too, so that another server's is another.
fn trace_of(release: &Release, attempt: &str) -> String {
    format!("{} {} {attempt}", release.id, release.submitted.wall.as_millisecond())
}

/// The context of a span of that name in the trace of that name.
fn context(trace: &str, name: &str) -> SpanContext {
    let trace_id = hashed::<16>(&["trace", trace]);
    let span_id = hashed::<8>(&["span", trace, name]);
    SpanContext::new(
        TraceId::from_bytes(trace_id),
        SpanId::from_bytes(span_id),
        TraceFlags::SAMPLED,
        false,
        TraceState::default(),
    )
}

fn hashed<const N: usize>(parts: &[&str]) -> [u8; N] {
    let digest = Sha256::digest(parts.join("\n").as_bytes());
    let mut id = [0; N];
    id.copy_from_slice(&digest[..N]);
    id
}

fn span(
    span_context: SpanContext,
    parent: Option<SpanId>,
    name: String,
    (from, to): (Now, Now),
    mut attributes: Vec<KeyValue>,
    linked: Vec<SpanContext>,
    result: &'static str,
) -> SpanData {
    let status = match result {
        FAILURE => {
            attributes.push(KeyValue::new("error.type", result));
            Status::error("")
        }
        _ => Status::Unset,
    };
    let mut links = SpanLinks::default();
    links.links = linked.into_iter().map(|context| Link::new(context, Vec::new(), 0)).collect();
    SpanData {
        span_context,
        parent_span_id: parent.unwrap_or(SpanId::INVALID),
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: name.into(),
        start_time: system_time(from.wall),
        // The wall clock may have been set back meanwhile; no span ends before it began.
        end_time: system_time(to.wall.max(from.wall)),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links,
        status,
        instrumentation_scope: InstrumentationScope::builder("ringward")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}

fn system_time(at: Timestamp) -> SystemTime {
    let since = at.duration_since(Timestamp::UNIX_EPOCH);
    SystemTime::UNIX_EPOCH + Duration::try_from(since).unwrap_or_default()
}
