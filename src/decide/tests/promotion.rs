//! A target that its own controller has paused goes on at an operator's word, fact by fact.

use super::*;
use crate::{
    decide::event::{News, Pause},
    model::residency::{Demand, Enforcement, Registry, Rule, Territory, Witness},
};

const DEPLOY: &str = "search@2/a/one/1/deploy";

impl Bench {
    /// Cluster `one` stands at a pause of its controller's own, under that write.
    fn stands(&mut self, step: &str, intent: &str) -> Vec<String> {
        let pause = Some(Pause { id: format!("5d9/{step}"), at: format!("step {step} of 5") });
        self.paused(pause, intent)
    }

    fn paused(&mut self, pause: Option<Pause>, intent: &str) -> Vec<String> {
        let version = if intent.ends_with("restore") { "1" } else { "2" };
        let state = TargetState {
            status: Status::Paused,
            image: Some(artifact(version)),
            intent: Some(intent.into()),
            revision: None,
            ready_since: None,
            pause,
        };
        self.tell(Event::Observed { plan: "search".into(), cluster: "one".into(), state })
    }

    fn advance(&mut self) -> Vec<String> {
        let advance = Action::Advance { release: id("2"), ring: "a".into(), reason: None };
        self.ask(actor("ola", &["operator"]), advance)
    }

    /// Version 2 is out to ring `a`, and stands at its second step.
    fn at_a_step(plan: Plan) -> Self {
        let mut bench = Self::new(plan);
        bench.release("2");
        bench.done(DEPLOY);
        assert_eq!(bench.stands("2", DEPLOY), ["targetSeen"]);
        bench
    }
}

#[test]
fn each_word_ends_one_pause() {
    let mut bench = Bench::at_a_step(plan());
    assert_eq!(bench.holds("2", "a"), [HoldKind::Target]);
    assert_eq!(bench.advance(), ["promoted", "> search@2/a/one/1/promote/1"]);
    // Said twice, it is on its way already.
    assert_eq!(bench.advance(), ["refused"]);
    assert_eq!(bench.refusal(), Some(Refusal::NothingToDo));
    assert_eq!(bench.done("search@2/a/one/1/promote/1"), ["effectSettled"]);
    assert_eq!(bench.stands("4", DEPLOY), ["targetSeen"]);
    assert_eq!(bench.advance(), ["promoted", "> search@2/a/one/1/promote/2"]);
    bench.done("search@2/a/one/1/promote/2");
    let ready = bench.see("one", Status::Succeeded, Some("2"), Some(DEPLOY));
    assert_eq!(ready[..3], ["targetSeen", "clusterReady", "soakStarted"]);
}

#[test]
fn somebodys_pause_in_the_cluster_is_not_ended_and_nor_is_another_writes() {
    let mut bench = Bench::at_a_step(plan());
    bench.paused(None, DEPLOY);
    assert_eq!(bench.advance(), ["refused"]);
    bench.stands("2", "search@2/a/one/9/deploy");
    assert_eq!(bench.advance(), ["refused"]);
    assert_eq!(bench.phase("2", "a"), RingPhase::Deploying);
}

#[test]
fn nothing_is_promoted_under_a_pause_or_a_freeze() {
    let mut bench = Bench::at_a_step(plan());
    let scope = Scope::Plan("search".into());
    bench.ask(actor("ola", &["operator"]), pause(scope.clone()));
    assert_eq!(bench.advance(), ["refused"]);
    let resume = Action::Resume { scope: scope.clone(), reason: None };
    bench.ask(actor("ola", &["operator"]), resume);
    let freeze =
        Action::Freeze { id: "f-1".into(), scope, until: None, reason: "an incident".into() };
    bench.ask(actor("ola", &["operator"]), freeze);
    assert_eq!(bench.holds("2", "a"), [HoldKind::Freeze, HoldKind::Target]);
    assert_eq!(bench.advance(), ["refused"]);
    bench.ask(actor("ola", &["operator"]), Action::Lift { id: "f-1".into() });
    assert_eq!(bench.advance(), ["promoted", "> search@2/a/one/1/promote/1"]);
}

#[test]
fn a_promotion_that_is_on_its_way_is_overtaken_by_the_way_back() {
    let mut bench = Bench::at_a_step(plan());
    bench.advance();
    let abort = Action::Abort { release: id("2"), hold: false, reason: None };
    assert_eq!(
        bench.ask(actor("ola", &["operator"]), abort),
        [
            "aborted",
            "ringAborted",
            "effectSuperseded",
            "rollbackStarted",
            "> search@2/a/one/1/restore"
        ]
    );
    // The way back may stand at a step, too; whoever aborted it lets it go on.
    bench.done("search@2/a/one/1/restore");
    bench.stands("2", "search@2/a/one/1/restore");
    assert_eq!(bench.advance(), ["promoted", "> search@2/a/one/1/promote/2"]);
    bench.done("search@2/a/one/1/promote/2");
    let restored = "search@2/a/one/1/restore";
    let back = bench.see("one", Status::Succeeded, Some("1"), Some(restored));
    assert_eq!(back, ["targetSeen", "clusterRestored", "ringAborted"]);
}

#[test]
fn a_refused_promotion_leaves_its_target_where_it_stands() {
    let mut bench = Bench::at_a_step(plan());
    bench.advance();
    let outcome = Outcome::Refused("it carries another intent".into());
    let key = "search@2/a/one/1/promote/1".into();
    let ended = bench.tell(Event::Outcome { plan: "search".into(), key, outcome });
    assert_eq!(ended, ["effectSettled"]);
    assert_eq!(bench.phase("2", "a"), RingPhase::Deploying);
    assert_eq!(bench.advance(), ["promoted", "> search@2/a/one/1/promote/2"]);
}

#[test]
fn a_pause_names_the_promotion_that_is_on_its_way() {
    let mut bench = Bench::at_a_step(plan());
    bench.advance();
    bench.ask(actor("ola", &["operator"]), pause(Scope::Plan("search".into())));
    let promote = IdempotencyKey::from("search@2/a/one/1/promote/1");
    assert_eq!(bench.reply, Some(Reply::Done { in_flight: vec![promote] }));
}

#[test]
fn on_a_ring_that_goes_back_nothing_goes_forward() {
    let mut plan = plan();
    plan.rings[0] = ring("a", &["one", "two"]);
    let mut policy = policy();
    policy.concurrency = Concurrency::Clusters(2);
    policy.rollback.concurrency = Some(Concurrency::Clusters(1));
    plan.rings[0].policy = policy.into();
    plan.rings.truncate(1);
    let first = After { rings: Vec::new(), join: Join::All };
    plan.graph = RingGraph::new(vec![("a".into(), first)]).expect("one ring");
    let mut bench = Bench::new(plan);
    bench.release("2");
    for key in [DEPLOY, "search@2/a/two/1/deploy"] {
        bench.done(key);
    }
    bench.stands("2", DEPLOY);
    assert_eq!(bench.holds("2", "a"), [HoldKind::Target]);
    let back = Action::Rollback {
        release: id("2"),
        ring: Some("a".into()),
        scope: None,
        reason: Some("orders are down".into()),
    };
    let asked = bench.ask(actor("ola", &["operator"]), back);
    assert_eq!(asked, ["rollbackStarted", "> search@2/a/two/1/restore"]);
    // Its own turn to go back has not come: until then it stays where it stands.
    assert_eq!(bench.advance(), ["refused"]);
}

fn ruled(demand: Demand) -> Plan {
    let rule = Rule {
        id: "R-1".into(),
        policy: Some("swiss".into()),
        enforcement: Enforcement::Hard,
        demand,
        allow_empty: false,
        declared_at: "policies/swiss.yaml:6".into(),
    };
    Plan { residency: vec![rule], ..plan() }
}

fn swiss() -> Territory {
    Territory { name: "CH".into(), members: ["CH".into()].into() }
}

#[test]
fn a_rule_that_has_come_to_stand_against_a_cluster_stands_against_its_promotion_both_ways() {
    let within = || ruled(Demand::TargetsWithin { rings: Vec::new(), jurisdiction: swiss() });
    let witness = |region: &str| {
        let witness = Witness { regions: [region.into()].into(), ..Witness::default() };
        Event::Learned(News::Witness("one".into(), witness))
    };
    let mut bench = Bench::at_a_step(within());
    bench.tell(witness("elsewhere"));
    assert_eq!(bench.holds("2", "a"), [HoldKind::Residency, HoldKind::Target]);
    assert_eq!(bench.advance(), ["refused"]);
    bench.tell(witness("r"));
    assert_eq!(bench.advance(), ["promoted", "> search@2/a/one/1/promote/1"]);

    let mut bench = Bench::at_a_step(within());
    let abort = Action::Abort { release: id("2"), hold: false, reason: None };
    bench.ask(actor("ola", &["operator"]), abort);
    bench.done("search@2/a/one/1/restore");
    bench.stands("2", "search@2/a/one/1/restore");
    bench.tell(witness("elsewhere"));
    assert_eq!(bench.holds("2", "a"), [HoldKind::Residency]);
    assert_eq!(bench.advance(), ["refused"]);
    bench.tell(witness("r"));
    assert_eq!(bench.advance(), ["promoted", "> search@2/a/one/1/promote/1"]);
}

#[test]
fn what_was_pulled_elsewhere_than_it_would_be_is_not_promoted() {
    let host = "registry";
    let registries = vec![Registry { host: host.into(), jurisdiction: Some("CH".into()) }];
    let mut bench =
        Bench::at_a_step(ruled(Demand::PullWithin { jurisdiction: swiss(), registries }));
    let elsewhere = Artifact(artifact("2").0.replace(host, "elsewhere"));
    let pause = Some(Pause { id: "5d9/2".into(), at: "step 2 of 5".into() });
    let mut see = |image: Artifact, pause: &Option<Pause>| {
        let state = TargetState {
            status: Status::Paused,
            image: Some(image),
            intent: Some(DEPLOY.into()),
            pause: pause.clone(),
            ..TargetState::unknown("")
        };
        bench.tell(Event::Observed { plan: "search".into(), cluster: "one".into(), state });
        bench.advance()
    };
    assert_eq!(see(elsewhere, &pause), ["refused"]);
    assert_eq!(see(artifact("2"), &pause), ["promoted", "> search@2/a/one/1/promote/1"]);
}
