//! What happens is counted, and what is true is shown.

use super::*;
use crate::{
    model::time::Span,
    show::fixture::{Stage, actor, judged},
};

fn tell(stage: &Stage, telemetry: &Telemetry, facts: &[Fact]) {
    stage.put(facts);
    telemetry.recorded(stage.desk.clock().now(), facts);
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
}

#[test]
fn what_happens_is_counted_from_facts() {
    let stage = Stage::new();
    let id = stage.submit("2.14.0");
    stage.start(&id, "internal");
    let telemetry = Telemetry::new(&stage.desk);
    let ring: RingName = "internal".into();
    let done = |key: &str| Fact::EffectSettled {
        plan: "checkout".into(),
        key: key.into(),
        outcome: Outcome::Done,
    };
    tell(&stage, &telemetry, &[done("checkout@2.14.0/internal/internal-1/1/deploy")]);
    stage.clock.advance(Span::seconds(30));
    tell(
        &stage,
        &telemetry,
        &[
            Fact::ClusterReady {
                release: id.clone(),
                ring: ring.clone(),
                cluster: "internal-1".into(),
            },
            Fact::SoakStarted { release: id.clone(), ring: ring.clone() },
            Fact::Measured {
                release: id.clone(),
                ring: ring.clone(),
                cluster: "internal-1".into(),
                gate: "latency-p99".into(),
                key: "checkout@2.14.0/internal/internal-1/1/latency-p99/1".into(),
                judged: judged(Verdict::Fail, 0.412, "0.412 > 0.4"),
            },
        ],
    );
    stage.clock.advance(Span::seconds(60));
    let (release, by) = (id.clone(), "ola".into());
    let cause = "asked for".to_owned();
    tell(
        &stage,
        &telemetry,
        &[Fact::RollbackStarted {
            release,
            ring: ring.clone(),
            by,
            cause,
            automatic: false,
            scope: None,
        }],
    );
    stage.clock.advance(Span::seconds(10));
    tell(&stage, &telemetry, &[Fact::RingRolledBack { release: id, ring }]);

    let text = telemetry.render().unwrap();
    let transition = "ringward_transitions_total{actor=";
    has(&text, &format!("{transition}\"ringward\",from=\"Deploying\",to=\"Soaking\"}} 1"));
    has(&text, &format!("{transition}\"operator\",from=\"Soaking\",to=\"RollingBack\"}} 1"));
    has(&text, "ringward_gate_evaluations_total{verdict=\"Fail\"} 1");
    let effect = "ringward_effects_total{adapter=";
    has(&text, &format!("{effect}\"Deployment\",cluster=\"internal-1\",outcome=\"done\"}} 1"));
    has(&text, &format!("{effect}\"Prometheus\",cluster=\"internal-1\",outcome=\"done\"}} 1"));
    // It was under way before this process counted: 30 s, 60 s and 10 s.
    has(&text, "ringward_ring_duration_seconds_sum{phase=\"RolledBack\"} 100");
    let value = "ringward_gate_value{cluster=\"internal-1\",gate=\"latency-p99\"";
    has(&text, &format!("{value},plan=\"checkout\",ring=\"internal\"}} 0.412"));
}

#[test]
fn a_ring_that_nobody_takes_back_is_told_of() {
    let stage = Stage::new();
    let id = stage.submit("2.14.0");
    stage.start(&id, "internal");
    let telemetry = Telemetry::new(&stage.desk);
    let told = || telemetry.render().unwrap().contains("ringward_ring_stranded{");
    assert!(!told());
    let (release, ring) = (id.clone(), RingName::from("internal"));
    tell(&stage, &telemetry, &[Fact::RingFailed { release, ring, cause: "bad".into() }]);
    let line = "ringward_ring_stranded{plan=\"checkout\",ring=\"internal\"} 1";
    has(&telemetry.render().unwrap(), line);
    let (release, ring, by) = (id, "internal".into(), actor("ola"));
    tell(&stage, &telemetry, &[Fact::Retried { release, ring, by, reason: None }]);
    assert!(!told());
}

#[test]
fn a_person_who_is_waited_for_is_timed() {
    let stage = Stage::new();
    let id = stage.submit("2.14.0");
    stage.pass(&id, "internal");
    stage.pass(&id, "beta");
    let telemetry = Telemetry::new(&stage.desk);
    let waited = |text: &str| text.contains("human_wait_seconds{");
    // At 08:00 of a Friday the window is closed in Dublin: the clock holds it too.
    assert_eq!(telemetry.time_decision(|| 7), 7);
    assert!(!waited(&telemetry.render().unwrap()));
    stage.clock.advance(Span::seconds(2 * 3600));
    let text = telemetry.render().unwrap();
    has(&text, "ringward_human_wait_seconds{plan=\"checkout\",ring=\"eu-west\"} 7200");
    has(&text, "ringward_decide_seconds_count 1");
    let scope = crate::decide::event::Scope::Plan("checkout".into());
    stage.put(&[Fact::Paused {
        scope,
        by: actor("ola"),
        reason: None,
        members: Default::default(),
    }]);
    assert!(waited(&telemetry.render().unwrap()));
}
