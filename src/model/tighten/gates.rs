//! Gates, by their names.

use super::{Way, Weigher, maybe, raw, said};
use crate::model::policy::{Gate, Judge, OnNoData};

pub(super) fn gates(weigher: &mut Weigher, was: &[Gate], is: &[Gate]) -> Vec<Gate> {
    let mut kept = Vec::new();
    for gate in was {
        kept.push(match is.iter().find(|now| now.name == gate.name) {
            Some(now) => one(weigher, gate, now),
            None => {
                let way = if gate.required { Way::Looser } else { Way::Other };
                weigher.removed("gates", way, &gate.name);
                gate.clone()
            }
        });
    }
    for gate in is.iter().filter(|now| !was.iter().any(|was| was.name == now.name)) {
        // A dry run holds nothing and fails nothing.
        let way = if gate.required { Way::Tighter } else { Way::Other };
        weigher.added("gates", way, &gate.name);
        kept.extend((way == Way::Tighter).then(|| gate.clone()));
    }
    kept
}

fn one(weigher: &mut Weigher, was: &Gate, is: &Gate) -> Gate {
    let Gate {
        name,
        signal,
        provider,
        query,
        samples,
        interval,
        initial_delay,
        judge,
        min_samples,
        min_total_samples,
        failure_limit,
        consecutive_failure_limit,
        consecutive_error_limit,
        on_no_data,
        no_data_deadline,
        max_age,
        required,
        unit,
        traffic,
    } = was;
    let at = |field: &str| format!("gates.{name}.{field}");
    let strict = |on_no_data: &OnNoData| match on_no_data {
        OnNoData::Hold => 0,
        OnNoData::Fail => 1,
    };
    // A minimum of what the former gate does not count would never be met: that is another question.
    let minimum = |weigher: &mut Weigher, field: &str, was, is| match samples {
        Some(_) => weigher.least(&at(field), was, is),
        None => weigher.other(&at(field), was, is, maybe),
    };
    let no_data =
        if strict(&is.on_no_data) > strict(on_no_data) { Way::Tighter } else { Way::Looser };
    Gate {
        name: name.clone(),
        // What is measured, and when: another measurement is neither tighter nor looser.
        signal: weigher.other(&at("signal"), signal, &is.signal, said),
        provider: weigher.other(&at("provider"), provider, &is.provider, said),
        query: weigher.other(&at("query"), query, &is.query, said),
        samples: weigher.other(&at("samples"), samples, &is.samples, maybe),
        interval: weigher.other(&at("interval"), interval, &is.interval, said),
        initial_delay: weigher.other(&at("initialDelay"), initial_delay, &is.initial_delay, said),
        unit: weigher.other(&at("unit"), unit, &is.unit, maybe),
        judge: bounds(weigher, &at, judge, &is.judge),
        min_samples: minimum(weigher, "minSamples", min_samples, &is.min_samples),
        min_total_samples: minimum(
            weigher,
            "minTotalSamples",
            min_total_samples,
            &is.min_total_samples,
        ),
        failure_limit: weigher.most(&at("failureLimit"), failure_limit, &is.failure_limit),
        consecutive_failure_limit: weigher.most(
            &at("consecutiveFailureLimit"),
            consecutive_failure_limit,
            &is.consecutive_failure_limit,
        ),
        consecutive_error_limit: weigher.less(
            &at("consecutiveErrorLimit"),
            consecutive_error_limit,
            &is.consecutive_error_limit,
        ),
        on_no_data: weigher.weigh(&at("onNoData"), (on_no_data, &is.on_no_data), raw, no_data),
        no_data_deadline: weigher.less(
            &at("noDataDeadline"),
            no_data_deadline,
            &is.no_data_deadline,
        ),
        max_age: weigher.less(&at("maxAge"), max_age, &is.max_age),
        // It only lets `check` find minimums that are never met: nothing is judged by it.
        traffic: *traffic,
        required: weigher.switch(&at("required"), *required, is.required, true),
    }
}

/// Two judges of one kind, bound by bound; another judge is another question.
fn bounds(weigher: &mut Weigher, at: &impl Fn(&str) -> String, was: &Judge, is: &Judge) -> Judge {
    match was {
        Judge::Threshold { min, max } => {
            if let Judge::Threshold { min: now_min, max: now_max } = is {
                return Judge::Threshold {
                    min: weigher.least(&at("threshold.min"), min, now_min),
                    max: weigher.most(&at("threshold.max"), max, now_max),
                };
            }
        }
        Judge::Relative { baseline, max_degradation, direction, floor } => {
            if let Judge::Relative {
                baseline: now_baseline,
                max_degradation: now_degradation,
                direction: now_direction,
                floor: now_floor,
            } = is
                && (baseline, direction) == (now_baseline, now_direction)
            {
                return Judge::Relative {
                    baseline: baseline.clone(),
                    max_degradation: weigher.less(
                        &at("relative.maxDegradation"),
                        max_degradation,
                        now_degradation,
                    ),
                    direction: *direction,
                    floor: weigher.less(&at("relative.floor"), floor, now_floor),
                };
            }
        }
        // Their parameters hang together: any change asks another question.
        Judge::MannWhitney(_)
        | Judge::Sequential(_)
        | Judge::BurnRate(_)
        | Judge::Alerts(_)
        | Judge::Webhook
        | Judge::Kubernetes(_) => {}
    }
    weigher.other(&at("judge"), was, is, raw)
}
