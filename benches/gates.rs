//! What gates cost, and what the sequential test promises: `cargo bench --bench gates [-- NAME...]`.
//!
//! Benches: judges, due, alarms, delays. The figures of the last runs are in `benches/gates.md`.

mod board;

use std::{collections::BTreeMap, env, fmt::Write as _, fs, sync::Arc, time::Duration};

use board::{Goal, line};
use jiff::Timestamp;
use ringward::{
    decide::{
        command::{Command, Lane},
        decide,
        event::{
            Action, Actor, Answer, Declared, Event, Outcome, Reading, Request, Status, TargetState,
        },
        fact::Verdict,
        gate::{
            mann_whitney,
            sequential::{Interval, Rules, Sequential},
        },
        part::{Part, Role, Told},
        world::World,
    },
    declare::{Snapshot, compile},
    ids::{Mint, ReleaseId},
    model::{
        ring::Artifact,
        time::{Mono, Now, Span},
    },
};

type Bench = (&'static str, fn());

const BENCHES: [Bench; 4] =
    [("judges", judges), ("due", due), ("alarms", alarms), ("delays", delays)];

fn main() {
    let asked: Vec<String> = env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    board::begin();
    for (name, bench) in BENCHES {
        if asked.is_empty() || asked.iter().any(|a| a == name) {
            bench();
        }
    }
}

/// The time that this thread has been on a core: other work on the machine does not count.
fn on_core() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("a kernel that counts"))
}

/// How long `work` was on a core, and what it came to.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = on_core();
    let done = work();
    (done, on_core() - began)
}

/// The middle one of many runs, in seconds.
fn median(runs: usize, mut work: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..runs).map(|_| timed(&mut work).1.as_secs_f64()).collect();
    times.sort_by(f64::total_cmp);
    times[runs / 2]
}

/// Numbers from 0 to 1.
fn uniform(mint: &mut Mint) -> f64 {
    (mint.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// A Mann-Whitney test of the largest sides, and a step of the sequential test.
fn judges() {
    let mut mint = Mint::seeded(3);
    let mut side = |shift: f64| (0..500).map(|_| shift + uniform(&mut mint)).collect::<Vec<_>>();
    let (x, y) = (side(0.1), side(0.0));
    let rules = mann_whitney::Rules::default();
    let took = median(51, || {
        std::hint::black_box(mann_whitney::judge(&x, &y, &rules));
    });
    line("Mann-Whitney, 500 samples a side", "ms", Goal::AtMost(20.0), took * 1e3);
    let interval = Interval {
        canary_requests: 1_000.0,
        canary_errors: 3.0,
        stable_requests: 9_000.0,
        stable_errors: 30.0,
    };
    let steps = 100_000;
    let took = median(11, || {
        let mut test = Sequential::new(Rules::default());
        for _ in 0..steps {
            std::hint::black_box(test.observe(&interval));
        }
    });
    line("a step of the sequential test", "us", Goal::AtMost(2.0), took * 1e6 / f64::from(steps));
}

// --- Ten thousand gates due in one minute -----------------------------------------------------------

const PLANS: usize = 100;
const CLUSTERS: usize = 5;
const GATES: usize = 20;

/// A hundred plans of one ring on five clusters each, with twenty gates: a threshold, in its turn with a
/// relative one beside a stable population, and every tenth a sequential test.
fn estate() -> Snapshot {
    let mut policy = String::from(
        "apiVersion: ringward.dev/v1alpha1
kind: GateTemplate
metadata: {name: t}
spec:
  signal: errors
  provider: prometheus
  query: errors{service=\"{{plan}}\"}
  stable: errors{service=\"{{plan}}-stable\"}
  counts:
    requests: requests{service=\"{{plan}}\"}[{{interval}}]
    errors: failed{service=\"{{plan}}\"}[{{interval}}]
    stableRequests: requests{service=\"{{plan}}-stable\"}[{{interval}}]
    stableErrors: failed{service=\"{{plan}}-stable\"}[{{interval}}]
---
apiVersion: ringward.dev/v1alpha1
kind: RingPolicy
metadata: {name: p}
spec:
  soak: {duration: 4h}
  concurrency: 100%
  gates:
",
    );
    for n in 0..GATES {
        let judge = match n % 10 {
            0 => "sequential: {phi: 1}",
            5 => "relative: {baseline: stable, maxDegradation: 50%, direction: increase}",
            _ => "threshold: {max: 0.5}",
        };
        let _ = writeln!(policy, "    - {{name: g{n}, template: t, {judge}}}");
    }
    let mut files = BTreeMap::from([("policies/p.yaml".to_owned(), policy.into_bytes())]);
    for plan in 0..PLANS {
        let mut rings = String::new();
        let names: Vec<String> = (0..CLUSTERS).map(|n| format!("c{plan}-{n}")).collect();
        for name in &names {
            let _ = write!(
                rings,
                "---
apiVersion: ringward.dev/v1alpha1
kind: Cluster
metadata: {{name: {name}}}
spec: {{region: r, jurisdiction: IE, metrics: [{{name: prometheus, type: prometheus, url: \"http://{name}\"}}]}}
"
            );
        }
        let _ = write!(
            rings,
            "---
apiVersion: ringward.dev/v1alpha1
kind: RingPlan
metadata: {{name: plan-{plan}}}
spec:
  target: {{kind: Deployment, namespace: shop, name: app, container: app}}
  policy: p
  rings: [{{name: all, clusters: {{names: [{}]}}}}]
",
            names.join(", ")
        );
        files.insert(format!("rings/plan-{plan}.yaml"), rings.into_bytes());
    }
    Snapshot { commit: "c0ffee".into(), files }
}

/// The core, and what time it is.
struct Core {
    world: World,
    now: Now,
}

impl Core {
    fn feed(&mut self, event: &Event) -> Vec<Arc<Command>> {
        let decision = decide(&self.world, event, self.now).expect("the core is sound");
        self.world.fold(self.now, &decision.facts, &decision.commands).expect("it follows");
        decision.commands
    }

    fn pass(&mut self, span: Span) {
        let wall = self.now.wall.checked_add(span.to_signed()).expect("it is not that late");
        self.now = Now { wall, mono: self.now.mono + span };
    }
}

fn artifact(digit: char) -> Artifact {
    Artifact(format!("registry.example/app@sha256:{}", digit.to_string().repeat(64)))
}

fn due() {
    let compiled = compile(&estate());
    assert!(!compiled.has_errors(), "{:#?}", compiled.diagnostics.first());
    let wall = Timestamp::from_second(1_772_000_000).expect("a time of this century");
    let now = Now { wall, mono: Mono::default() };
    let mut core = Core { world: World::default(), now };
    core.feed(&Event::TookOver);
    core.feed(&Event::Source { commit: compiled.commit.clone(), refused: None });
    let seen = |artifact: Artifact, intent| TargetState {
        status: Status::Succeeded,
        image: Some(artifact),
        intent,
        revision: None,
        ready_since: None,
        pause: None,
    };
    let mut writes = Vec::new();
    for (name, plan) in &compiled.plans {
        let plan = plan.clone().expect("the estate has no errors");
        core.feed(&Event::Declared { plan: name.clone(), declared: Declared::Valid(plan.clone()) });
        for cluster in plan.clusters() {
            let (plan, cluster) = (name.clone(), cluster.name.clone());
            core.feed(&Event::Observed { plan, cluster, state: seen(artifact('0'), None) });
        }
        writes.extend(core.feed(&Event::Operator(Request {
            by: Actor { name: "ola".into(), roles: Vec::new(), jurisdiction: None },
            key: None,
            seen: None,
            action: Action::Submit {
                release: ReleaseId::new(name.clone(), "1"),
                artifact: artifact('1'),
                author: Some("dana".into()),
                lane: Lane::Normal,
                reason: None,
                irreversible: false,
                requires: None,
            },
        })));
    }
    core.pass(Span::seconds(20));
    let mut asked = Vec::new();
    for command in writes {
        let Command::Deploy(write) = command.as_ref() else { continue };
        let plan = write.release.plan.clone();
        let (key, outcome) = (write.key.clone(), Outcome::Done);
        core.feed(&Event::Outcome { plan: plan.clone(), key: key.clone(), outcome });
        let state = seen(write.artifact.clone(), Some(key));
        asked.extend(core.feed(&Event::Observed { plan, cluster: write.cluster.clone(), state }));
    }
    for minute in 0..4 {
        assert_eq!(asked.len(), PLANS * CLUSTERS * GATES, "all are due at once");
        core.pass(Span(200));
        let answers: Vec<Event> = std::mem::take(&mut asked)
            .into_iter()
            .filter_map(|command| answered(&command, core.now.wall))
            .collect();
        let ((), judged) = timed(|| {
            for event in &answers {
                core.feed(event);
            }
        });
        core.pass(Span::minutes(1));
        let wakes = compiled.plans.keys().map(|plan| Event::Wake { plan: plan.clone() });
        let wakes: Vec<Event> = wakes.collect();
        let (due, decided) = timed(|| wakes.iter().flat_map(|wake| core.feed(wake)).collect());
        asked = due;
        if minute > 0 {
            let ms = |took: Duration| took.as_secs_f64() * 1e3;
            let what = format!("10,000 gates of 500 clusters that are due, minute {minute}");
            line(what, "ms", Goal::AtMost(50.0), ms(decided));
            line("  and judging their answers", "ms", Goal::None, ms(judged));
        }
    }
}

/// What every gate is told.
fn answered(command: &Command, now: Timestamp) -> Option<Event> {
    let Command::Measure(measure) = command else { return None };
    let told = |value| Reading::Value { value, at: now };
    let part = |part: &Part| {
        Told::Number(told(match part.role {
            Role::Requests => 1_000.0,
            Role::StableRequests => 9_000.0,
            Role::StableErrors => 45.0,
            Role::Errors => 5.0,
            Role::Stable
            | Role::Before
            | Role::StableHistory
            | Role::Past
            | Role::PastSamples
            | Role::Alerts
            | Role::Webhook
            | Role::Kubernetes => 0.2,
        }))
    };
    let answer = Answer {
        value: if measure.query.is_empty() { Reading::Absent } else { told(0.2) },
        samples: measure.samples.as_ref().map(|_| told(1_000.0)),
        baseline: None,
        parts: measure.parts.iter().map(part).collect(),
        infos: Vec::new(),
    };
    let (plan, key) = (measure.release.plan.clone(), measure.key.clone());
    Some(Event::Measured { plan, key, answer })
}

// --- What the sequential test promises --------------------------------------------------------------

/// Errors of both sides, a thousand requests an interval each.
struct Traffic {
    mint: Mint,
    /// Errors that come together.
    clump: f64,
}

impl Traffic {
    /// Knuth's way: how many uniform draws it takes for their product to fall below e^-mean.
    fn poisson(&mut self, mean: f64) -> f64 {
        let (limit, mut product, mut count) = ((-mean).exp(), 1.0, -1.0);
        while product > limit {
            product *= uniform(&mut self.mint);
            count += 1.0;
        }
        count
    }

    fn next(&mut self, canary: f64, stable: f64) -> Interval {
        let mut errors = |mean: f64| self.clump * self.poisson(mean / self.clump);
        Interval {
            canary_requests: 1_000.0,
            canary_errors: errors(canary),
            stable_requests: 1_000.0,
            stable_errors: errors(stable),
        }
    }
}

/// When each of many runs of at most `peeks` failed, and when it first passed.
fn fates(
    runs: u64,
    peeks: usize,
    (canary, stable): (f64, f64),
    clump: f64,
    rules: Rules,
) -> (Vec<usize>, Vec<usize>) {
    let (mut fails, mut passes) = (Vec::new(), Vec::new());
    for run in 0..runs {
        let mut traffic = Traffic { mint: Mint::seeded(run), clump };
        let mut test = Sequential::new(rules);
        let mut passed = None;
        for peek in 1..=peeks {
            match test.observe(&traffic.next(canary, stable)).verdict {
                Verdict::Fail => {
                    fails.push(peek);
                    break;
                }
                Verdict::Pass => passed = passed.or(Some(peek)),
                Verdict::Insufficient | Verdict::Absent | Verdict::Error => {}
            }
        }
        passes.extend(passed);
    }
    fails.sort_unstable();
    passes.sort_unstable();
    (fails, passes)
}

fn at(sorted: &[usize], share: f64) -> String {
    let i = (sorted.len() as f64 * share) as usize;
    sorted.get(i.min(sorted.len().saturating_sub(1))).map_or("-".into(), ToString::to_string)
}

/// How many healthy releases ever fail in a thousand peeks: at most alpha, where phi fits.
fn alarms() {
    const RUNS: u64 = 4_000;
    println!("\nfalse alarms in 1,000 peeks, alpha 1%, {RUNS} runs each");
    println!(
        "{:>18} {:>6} {:>6} {:>10} {:>14}",
        "errors a side", "clump", "phi", "failed", "passed by"
    );
    for (mean, clump, phi) in [
        (1.0, 1.0, 1.0),
        (10.0, 1.0, 1.0),
        (50.0, 1.0, 1.0),
        (10.0, 5.0, 5.0),
        (50.0, 5.0, 5.0),
        (10.0, 1.0, 5.0),
        (10.0, 5.0, 1.0),
    ] {
        let rules = Rules { phi, ..Rules::default() };
        let (fails, passes) = fates(RUNS, 1_000, (mean, mean), clump, rules);
        let share = 100.0 * fails.len() as f64 / RUNS as f64;
        println!("{mean:>18} {clump:>6} {phi:>6} {share:>9.2}% {:>14}", at(&passes, 0.5));
        assert!(share <= 1.0 || clump > phi, "more false alarms than alpha");
    }
}

/// After how many intervals a release that is worse fails, half of the time and nine times of ten.
fn delays() {
    const RUNS: u64 = 500;
    println!(
        "\nintervals to a Fail, alpha 1%, at most 1,000, {RUNS} runs each: median / 90% / found"
    );
    print!("{:>18} {:>6} {:>6}", "errors a side", "clump", "phi");
    let ratios = [1.2, 1.5, 2.0, 3.0, 5.0, 10.0];
    for ratio in ratios {
        print!(" {:>18}", format!("{ratio} times"));
    }
    println!();
    for (mean, clump, phi) in
        [(1.0, 1.0, 1.0), (10.0, 1.0, 1.0), (50.0, 1.0, 1.0), (10.0, 5.0, 5.0)]
    {
        print!("{mean:>18} {clump:>6} {phi:>6}");
        let rules = Rules { phi, ..Rules::default() };
        for ratio in ratios {
            let (fails, _) = fates(RUNS, 1_000, (mean * ratio, mean), clump, rules);
            let found = 100 * fails.len() as u64 / RUNS;
            print!(" {:>18}", format!("{} / {} / {found}%", at(&fails, 0.5), at(&fails, 0.9)));
        }
        println!();
    }
}
