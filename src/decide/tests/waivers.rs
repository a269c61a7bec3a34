//! Waivers of residency rules, fact by fact.

use super::*;
use crate::{
    decide::event::{End, News},
    model::residency::{Demand, Enforcement, Rule, Territory, Witness},
};

fn rule(enforcement: Enforcement) -> Rule {
    let jurisdiction = Territory { name: "CH".into(), members: ["CH".into()].into() };
    Rule {
        id: "R-1".into(),
        policy: Some("swiss".into()),
        enforcement,
        demand: Demand::TargetsWithin { rings: Vec::new(), jurisdiction },
        allow_empty: false,
        declared_at: "policies/swiss.yaml:6".into(),
    }
}

fn ruled(enforcement: Enforcement) -> Plan {
    Plan { residency: vec![rule(enforcement)], ..plan() }
}

fn waive(id: &str, minutes: i64) -> Action {
    let until = "2026-03-09T07:00:00Z".parse::<Timestamp>().expect("an instant");
    Action::Waive {
        id: id.into(),
        plan: "search".into(),
        rule: "R-1".into(),
        policy: None,
        release: Some("2".into()),
        ring: Some("a".into()),
        until: End::At(until + jiff::SignedDuration::from_mins(minutes)),
        reason: "the labels are wrong".into(),
    }
}

fn approve(id: &str) -> Action {
    Action::ApproveWaiver { plan: "search".into(), id: id.into() }
}

fn approver(name: &str) -> Actor {
    actor(name, &["approver"])
}

fn ola() -> Actor {
    actor("ola", &["operator"])
}

impl Bench {
    /// Version 2 is out to ring `a`; its cluster contradicts its declaration.
    fn contradicted(plan: Plan) -> Self {
        let mut bench = Self::new(plan);
        bench.witness("elsewhere");
        bench
    }

    fn witness(&mut self, region: &str) -> Vec<String> {
        let witness = Witness { regions: [region.into()].into(), ..Witness::default() };
        let mut short = self.tell(Event::Learned(News::Witness("one".into(), witness)));
        short.extend(self.wake());
        short
    }

    /// From now, as the core would be woken by it.
    fn next_wake(&self) -> Option<Mono> {
        wake::next(&self.world, &"search".into(), self.now).at
    }
}

#[test]
fn two_approvers_let_it_go_and_its_end_calls_it_back() {
    let mut bench = Bench::new(ruled(Enforcement::Waivable));
    bench.release("2");
    assert_eq!(
        bench.witness("elsewhere"),
        ["clusterWitnessed", "effectSuperseded", "deployRecalled"]
    );
    assert_eq!(bench.holds("2", "a"), [HoldKind::Residency]);
    assert_eq!(bench.ask(ola(), waive("w-1", 4)), ["waiverAsked"]);
    assert_eq!(bench.ask(approver("kim"), approve("w-1")), ["waiverApproved"]);
    assert_eq!(bench.holds("2", "a"), [HoldKind::Residency]);
    let lets = bench.ask(approver("lee"), approve("w-1"));
    assert_eq!(lets, ["waiverApproved", "> search@2/a/one/1/deploy.2"]);
    bench.wait(Span::minutes(3));
    assert!(bench.wake().is_empty());
    assert_eq!(bench.next_wake(), Some(Mono(4 * 60_000)), "it is looked at when the waiver ends");
    bench.wait(Span::minutes(1));
    assert_eq!(bench.wake(), ["effectSuperseded", "deployRecalled"]);
    assert_eq!(bench.holds("2", "a"), [HoldKind::Residency]);
    assert_eq!(bench.next_wake(), None, "only a person or the cluster ends that");
}

#[test]
fn a_revoked_waiver_calls_back_in_the_same_decision() {
    let mut bench = Bench::contradicted(ruled(Enforcement::Waivable));
    bench.ask(ola(), waive("w-1", 30));
    bench.ask(approver("kim"), approve("w-1"));
    assert_eq!(bench.release("2"), ["refused"]);
    assert_eq!(bench.refusal(), Some(Refusal::ResidencyViolation));
    bench.ask(approver("lee"), approve("w-1"));
    assert_eq!(bench.release("2"), ["submitted", "ringStarted", "> search@2/a/one/1/deploy"]);
    let revoke = |reason: &str| Action::RevokeWaiver {
        plan: "search".into(),
        id: "w-1".into(),
        reason: Some(reason.into()),
    };
    let revoked = bench.ask(ola(), revoke("wrong cluster"));
    assert_eq!(revoked, ["waiverRevoked", "effectSuperseded", "deployRecalled"]);
    assert_eq!(bench.ask(ola(), revoke("again")), ["refused"]);
    assert_eq!(bench.refusal(), Some(Refusal::AlreadyTerminal));
    assert_eq!(bench.ask(approver("pat"), approve("w-1")), ["refused"]);
    assert_eq!(bench.refusal(), Some(Refusal::AlreadyTerminal));
}

#[test]
fn what_rests_on_a_waiver_stands_still_when_it_is_over() {
    let mut bench = Bench::contradicted(ruled(Enforcement::Waivable));
    bench.ask(ola(), waive("w-1", 2));
    bench.ask(approver("kim"), approve("w-1"));
    bench.ask(approver("lee"), approve("w-1"));
    bench.soaking_on_a("2");
    assert_eq!(bench.minutes("2", 1, &[1.0, 1.0]), ["measured", "soakCredited"]);
    bench.wait(Span::seconds(30));
    assert_eq!(bench.wake(), ["soakRunning"], "by the clock alone, and nothing is measured");
    assert_eq!(bench.holds("2", "a"), [HoldKind::Residency]);
}

#[test]
fn a_declaration_voids_the_waivers_of_what_it_changes_and_no_others() {
    let mut bench = Bench::contradicted(ruled(Enforcement::Waivable));
    bench.ask(ola(), waive("w-1", 30));
    bench.ask(approver("kim"), approve("w-1"));
    bench.ask(approver("lee"), approve("w-1"));
    bench.release("2");
    let declare = |bench: &mut Bench, plan: Plan| {
        let declared = Declared::Valid(Arc::new(plan));
        bench.tell(Event::Declared { plan: "search".into(), declared })
    };
    let mut moved = ruled(Enforcement::Waivable);
    moved.hash = "h2".into();
    moved.max_skew = Some(3);
    moved.residency[0].declared_at = "policies/swiss.yaml:60".into();
    assert_eq!(declare(&mut bench, moved), ["planDeclared"], "the same rule in another line");
    let hardened = Plan { hash: "h3".into(), ..ruled(Enforcement::Hard) };
    assert_eq!(
        declare(&mut bench, hardened),
        ["planDeclared", "waiverVoided", "effectSuperseded", "deployRecalled"]
    );
    assert_eq!(bench.ask(ola(), waive("w-2", 30)), ["refused"]);
    assert_eq!(bench.refusal(), Some(Refusal::HardRule));
    let back = Plan { hash: "h4".into(), ..ruled(Enforcement::Waivable) };
    assert_eq!(declare(&mut bench, back), ["planDeclared"], "what is void stays so");
}

#[test]
fn a_rule_of_the_same_name_and_another_content_is_not_waived() {
    let mut both = ruled(Enforcement::Waivable);
    both.residency.push(Rule { policy: Some("other".into()), ..rule(Enforcement::Hard) });
    let mut bench = Bench::new(both);
    bench.release("2");
    bench.witness("elsewhere");
    assert_eq!(bench.ask(ola(), waive("w-1", 30)), ["refused"], "which of both is not said");
    assert_eq!(bench.refusal(), Some(Refusal::UnknownRule));
    let mut named = waive("w-1", 30);
    if let Action::Waive { policy, .. } = &mut named {
        *policy = Some("swiss".into());
    }
    assert_eq!(bench.ask(ola(), named), ["waiverAsked"]);
    bench.ask(approver("kim"), approve("w-1"));
    assert_eq!(bench.ask(approver("lee"), approve("w-1")), ["waiverApproved"]);
    assert_eq!(bench.holds("2", "a"), [HoldKind::Residency], "the hard one binds");
}

#[test]
fn who_made_a_release_that_came_later_does_not_count_for_it() {
    let mut bench = Bench::contradicted(ruled(Enforcement::Waivable));
    bench.ask(ola(), waive("w-1", 30));
    bench.ask(approver("dana"), approve("w-1"));
    bench.ask(approver("kim"), approve("w-1"));
    assert_eq!(bench.release("2"), ["refused"], "dana makes it");
    bench.ask(approver("lee"), approve("w-1"));
    assert_eq!(bench.release("2").first().map(String::as_str), Some("submitted"));
}

#[test]
fn a_jump_of_the_wall_clock_ends_a_waiver_and_never_prolongs_it() {
    for jump in [31, -600] {
        let mut bench = Bench::contradicted(ruled(Enforcement::Waivable));
        bench.ask(ola(), waive("w-1", 4));
        bench.ask(approver("kim"), approve("w-1"));
        bench.ask(approver("lee"), approve("w-1"));
        bench.release("2");
        bench.now.wall += jiff::SignedDuration::from_mins(jump);
        if jump < 0 {
            assert!(bench.wake().is_empty());
            bench.wait(Span::minutes(4));
        }
        assert_eq!(bench.wake(), ["effectSuperseded", "deployRecalled"], "{jump}");
    }
}
