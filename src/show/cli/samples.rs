//! Hand-made views for the tests of what is made of them.

use crate::{
    decide::{
        command::Lane,
        phase::{ReleasePhase, RingPhase},
        waiting::HoldKind,
    },
    model::{graph::Join, ring::Artifact},
    show::{
        view::{HoldView, ReleaseView, RingView},
        words::Ender,
    },
};

pub fn release(rings: &[RingView]) -> ReleaseView {
    ReleaseView {
        release: "checkout@2.14.0".parse().unwrap(),
        plan: "checkout".into(),
        version: "2.14.0".into(),
        artifact: Artifact(format!("registry/checkout@sha256:{}", "9f2c4e00".repeat(8))),
        digest: "sha256:9f2c4e…".into(),
        policy: "4e1b7a0c55d1".into(),
        commit: "0123456789abcdef".into(),
        author: "dana".into(),
        by: "dana".into(),
        lane: Lane::Normal,
        lane_ends: None,
        reason: None,
        irreversible: false,
        requires: None,
        phase: ReleasePhase::InProgress,
        settled: false,
        submitted: "2026-11-02T08:00:00Z".parse().unwrap(),
        age_seconds: 720,
        aborted: None,
        revision: 1,
        earliest: None,
        rings: rings.to_vec(),
    }
}

pub fn ring(name: &str, after: &[&str], phase: RingPhase) -> RingView {
    RingView {
        name: name.into(),
        after: after.iter().map(|name| (*name).into()).collect(),
        join: Join::All,
        phase,
        since: "2026-11-02T08:00:00Z".parse().unwrap(),
        attempt: 1,
        started_at: None,
        soak: None,
        gates: None,
        jurisdictions: vec!["DE".into()],
        clusters: Vec::new(),
        measurements: Vec::new(),
        holds: Vec::new(),
        debts: Vec::new(),
        waits: Vec::new(),
        earliest: None,
        info: String::new(),
    }
}

pub fn hold(kind: HoldKind, message: &str, ender: Ender) -> HoldView {
    HoldView { kind, message: message.into(), ended_by: "end it".into(), ender, ends: None }
}
