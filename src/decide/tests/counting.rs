//! Samples are counted since the measurement that counted last: none twice, and none left out.

use super::*;

impl Bench {
    /// Over what length of time measurement `n` of gate `ok` counts.
    fn counts_over(&self, n: u32) -> &str {
        let key = format!("search@2/a/one/1/ok/{n}");
        let plan = &self.world.plans[&crate::ids::PlanName::from("search")];
        match plan.in_flight.get(&IdempotencyKey::from(key.as_str())).map(Arc::as_ref) {
            Some(Command::Measure(measure)) => measure.samples.as_deref().expect("it counts"),
            other => panic!("{key} is not asked for: {other:?}"),
        }
    }

    fn counted(&mut self, n: u32, samples: Option<f64>) {
        let number = |value| Reading::Value { value, at: self.now.wall };
        let answer = Answer {
            value: if samples.is_some() { number(1.0) } else { Reading::Absent },
            samples: samples.map(number),
            baseline: None,
            parts: Vec::new(),
            infos: Vec::new(),
        };
        let key = format!("search@2/a/one/1/ok/{n}").as_str().into();
        self.tell(Event::Measured { plan: "search".into(), key, answer });
    }

    fn total_samples(&self) -> f64 {
        let run = self.world.run(&id("2"), &"a".into()).expect("it is there");
        run.gates[&("one".into(), "ok".into())].total_samples
    }
}

#[test]
fn samples_are_counted_since_the_measurement_that_counted_last() {
    let mut plan = plan();
    plan.rings[0].policy.gates[0].samples = Some("count[{{interval}}]".into());
    let mut bench = Bench::new(plan);
    bench.soaking_on_a("2");
    assert_eq!(bench.counts_over(1), "count[60s]", "the first: an interval");

    // An answer that is late makes the next measurement no shorter: it counts from when it was asked.
    bench.wait(Span::seconds(20));
    bench.counted(1, Some(10.0));
    bench.wait(Span::seconds(40));
    bench.wake();
    assert_eq!(bench.counts_over(2), "count[60s]", "from question to question");

    bench.counted(2, None);
    assert_eq!(bench.total_samples(), 10.0);
    bench.wait(Span::minutes(1));
    bench.wake();
    assert_eq!(bench.counts_over(3), "count[120s]", "the one before counted nothing");

    bench.counted(3, Some(20.0));
    assert_eq!(bench.total_samples(), 30.0);
    bench.wait(Span::seconds(75));
    bench.wake();
    assert_eq!(bench.counts_over(4), "count[75s]", "it was asked late");

    bench.counted(4, None);
    for n in 5..=6 {
        bench.wait(Span::minutes(1));
        bench.wake();
        bench.counted(n, None);
    }
    bench.wait(Span::minutes(1));
    bench.wake();
    assert_eq!(bench.counts_over(7), "count[135s]", "further back nothing was observed");
}
