//! Every judge over the wire.

use super::*;

#[track_caller]
fn ask(question: Value) -> Value {
    judge_json(question).unwrap_or_else(|e| panic!("{e}: {:?}", std::error::Error::source(&e)))
}

/// The error and what is behind it, as the command prints them.
#[track_caller]
fn refusal(question: Value) -> String {
    let error = judge_json(question).expect_err("refused");
    match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[test]
fn threshold() {
    let verdict = |samples: Value| {
        ask(json!({"judge": "threshold", "parameters": {"max": 0.4}, "samples": samples}))["verdict"]
            .clone()
    };
    assert_eq!(verdict(json!([0.4])), "Pass");
    assert_eq!(verdict(json!([0.3, 0.412])), "Fail");
    assert_eq!(verdict(json!(["NaN"])), "Absent");
    assert_eq!(verdict(json!([0.3, null])), "Absent", "one that is missing is no Pass");
    assert_eq!(verdict(json!(["NaN", 0.5])), "Fail");
    assert_eq!(verdict(json!(["+Inf"])), "Fail");
    assert_eq!(verdict(json!([])), "Absent");
    let answer = ask(json!({
        "judge": "threshold",
        "parameters": {"min": 99.5, "unit": "%"},
        "samples": [99.9, 99.1],
    }));
    assert_eq!(answer["detail"], "99.1% < 99.5%");
    assert_eq!(answer["measurements"][0]["verdict"], "Pass");
    assert_eq!(answer["measurements"][1]["against"], 99.5);
}

#[test]
fn relative() {
    let ask = |samples: Value, control: Value| {
        ask(json!({
            "judge": "relative",
            "parameters": {
                "baseline": "before", "maxDegradation": "50%", "direction": "increase", "floor": 0.02,
            },
            "samples": samples,
            "control": control,
        }))
    };
    assert_eq!(ask(json!([0.31]), json!([0.1, 0.3]))["verdict"], "Fail");
    assert_eq!(ask(json!([0.29]), json!([0.1, 0.3]))["verdict"], "Pass");
    assert_eq!(ask(json!([0.29]), json!([0.1, 0.3]))["baseline"], 0.2);
    assert_eq!(ask(json!([0.02]), json!([0]))["verdict"], "Pass", "within the floor");
    assert_eq!(ask(json!([0.03]), json!([0]))["verdict"], "Fail");
    assert_eq!(ask(json!([0.3]), json!([]))["verdict"], "Insufficient");
    assert_eq!(ask(json!([0.3]), json!(["NaN"]))["baseline"], Value::Null);
    let given = |control: Value| {
        json!({
            "judge": "relative",
            "parameters": {"baseline": 100, "maxDegradation": 0.2, "direction": "decrease"},
            "samples": [79],
            "control": control,
        })
    };
    assert_eq!(super::judge_json(given(json!([]))).unwrap()["verdict"], "Fail");
    assert!(refusal(given(json!([1]))).contains("give one of them"));
}

#[test]
fn mann_whitney() {
    let question = |parameters: Value| {
        json!({
            "judge": "mannWhitney",
            "parameters": parameters,
            "samples": [20, 22, 21, 25, 30, "NaN"],
            "control": [1.0, 2.25, 1.125, 2.5, 3.0],
        })
    };
    let answer = ask(question(json!({})));
    assert_eq!((&answer["verdict"], &answer["class"]), (&json!("Fail"), &json!("High")));
    assert_eq!(answer["critical"], false);
    assert_eq!(answer["experiment"], json!({"count": 5, "mean": 23.6}));
    assert_eq!(answer["u"], 25.0);
    assert!(answer["pValue"].as_f64().unwrap() < 0.02);
    assert!(answer["interval"][0].as_f64() > answer["tolerance"].as_f64());

    let decrease = ask(question(json!({"direction": "decrease"})));
    assert_eq!((&decrease["verdict"], &decrease["class"]), (&json!("Pass"), &json!("Pass")));
    let cles = ask(question(json!({
        "effectSize": {"measure": "cles", "allowedIncrease": 0.9, "criticalIncrease": 1.0},
        "outliers": {"strategy": "remove", "factor": 3},
        "nan": "replace",
        "tolerance": 0.1,
        "confidence": 0.9,
    })));
    assert_eq!(cles["experiment"]["count"], 5, "the nought is the outlier");
    assert_eq!((&cles["effect"], &cles["critical"]), (&json!(1.0), &json!(true)));

    let empty = ask(json!({"judge": "mannWhitney", "samples": [], "control": [1]}));
    assert_eq!((&empty["verdict"], &empty["class"]), (&json!("Insufficient"), &json!("Nodata")));
    assert_eq!(empty["interval"], Value::Null);
    assert_eq!(empty["experiment"], json!({"count": 0, "mean": null}));
    let same = ask(json!({"judge": "mannWhitney", "samples": [1, 1], "control": [1]}));
    assert_eq!((&same["class"], &same["interval"]), (&json!("Pass"), &json!([0.0, 0.0])));
    assert_eq!(same["z"], Value::Null);
}

#[test]
fn sequential() {
    let interval = |canary_errors: f64| {
        json!({
            "canaryRequests": 1000, "canaryErrors": canary_errors,
            "stableRequests": 1000, "stableErrors": 10,
        })
    };
    let question = |errors: &[f64]| {
        let intervals: Vec<Value> = errors.iter().map(|e| interval(*e)).collect();
        json!({"judge": "sequential", "parameters": {"alpha": 0.01}, "intervals": intervals})
    };
    let failed = ask(question(&[10.0, 60.0, 60.0]));
    assert_eq!(failed["verdict"], "Fail");
    assert_eq!(failed["path"].as_array().unwrap().len(), 3);
    assert_eq!(failed["path"][2]["logE"], failed["logE"]);
    assert_eq!(failed["failedAt"], 1);
    assert!(failed["lowerBound"].as_f64().unwrap() > 1.0);
    let passed = ask(question(&[10.0; 10]));
    assert_eq!(passed["verdict"], "Pass");
    assert!(passed["logEMirror"].as_f64().unwrap() >= 20.0_f64.ln());
    let nothing = ask(question(&[]));
    assert_eq!((&nothing["verdict"], &nothing["logE"]), (&json!("Insufficient"), &json!(0.0)));
    assert_eq!(nothing["lowerBound"], 0.0);
}

#[test]
fn burn_rate() {
    let question = |errors: f64| {
        let interval = json!({"seconds": 300, "requests": 1000, "errors": errors});
        json!({
            "judge": "burnRate",
            "parameters": {
                "objective": 0.999,
                "windows": [{"rate": 14.4, "long": 3600, "short": 300}],
                "minSamples": 100,
            },
            "intervals": vec![interval; 12],
        })
    };
    assert_eq!(ask(question(15.0))["verdict"], "Fail");
    let passed = ask(question(14.0));
    assert_eq!(passed["verdict"], "Pass");
    assert!((passed["windows"][0]["longBurn"].as_f64().unwrap() - 14.0).abs() < 1e-9);
    let usual =
        ask(json!({"judge": "burnRate", "parameters": {"objective": "99%"}, "intervals": []}));
    assert_eq!(usual["verdict"], "Insufficient");
    assert_eq!(usual["windows"].as_array().unwrap().len(), 2);
}

#[test]
fn prometheus_answer() {
    let ask = |status: u16, result: &str| {
        let body = format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[{result}]}}}}"#
        );
        ask(json!({
            "judge": "prometheusAnswer", "status": status, "body": body,
            "now": 1000, "deployedAt": 500.5, "maxAge": 120,
        }))
    };
    let one = |at: f64, value: &str| format!(r#"{{"metric":{{}},"value":[{at},"{value}"]}}"#);
    assert_eq!(ask(200, &one(990.0, "0.25"))["reading"], json!({"value": 0.25}));
    assert_eq!(ask(200, &one(990.0, "+Inf"))["reading"], json!({"value": "+Inf"}));
    assert_eq!(ask(200, &one(990.0, "NaN"))["reading"], "absent");
    assert_eq!(ask(200, "")["reading"], "absent");
    assert_eq!(ask(200, &one(870.0, "1"))["reading"], "absent");
    assert!(ask(200, &one(870.0, "1"))["detail"].as_str().unwrap().contains("2m10s old"));
    assert_eq!(ask(200, &one(500.5, "1"))["reading"], "absent", "the instant of the deploy");
    assert!(ask(200, &one(5_000.0, "1"))["reading"]["error"].is_string());
    assert_eq!(ask(503, "")["reading"], json!({"error": "HTTP 503"}));
    let several = format!("{},{}", one(1.0, "1"), one(1.0, "1"));
    assert!(ask(200, &several)["reading"]["error"].as_str().unwrap().starts_with("2 series"));
    let timeless = json!({
        "judge": "prometheusAnswer", "status": 200,
        "body": r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"#,
    });
    assert_eq!(super::judge_json(timeless).unwrap()["reading"], json!({"value": 1.0}));
}

#[test]
fn a_question_that_makes_no_sense_is_told_where() {
    let cases = [
        (json!({}), "`judge` must be one of"),
        (json!([]), "`judge` must be one of"),
        (json!({"judge": "vibes"}), "prometheusAnswer, and is `vibes`"),
        (json!({"judge": "treshold"}), "did you mean `threshold`?"),
        (
            json!({"judge": "alerts"}),
            "`alerts` judges what it is told at the moment, and no samples",
        ),
        (json!({"judge": "threshold", "samples": [1]}), "the question: missing field `parameters`"),
        (
            json!({"judge": "threshold", "parameters": {"max": "0.4"}, "samples": []}),
            "`parameters.max`: invalid type: string \"0.4\", expected a number",
        ),
        (
            json!({"judge": "threshold", "parameters": {"min": 2, "max": 1}, "samples": [1.5]}),
            "`parameters.min` is above max: nothing would pass",
        ),
        (
            json!({"judge": "burnRate", "parameters": {"objective": 0.9}, "intervals": [
                {"seconds": 0, "requests": 1, "errors": 1}
            ]}),
            "`intervals[0].seconds` must be above 0",
        ),
        (json!({"judge": "threshold", "parameters": {}, "samples": []}), "needs min, max or both"),
        (json!({"judge": "threshold", "parameters": {"max": 1}}), "missing field `samples`"),
        (
            json!({"judge": "threshold", "parameters": {"maks": 1}, "samples": []}),
            "parameters.maks`: unknown field `maks`",
        ),
        (
            json!({"judge": "threshold", "parameters": {"max": 1}, "samples": [1, "one"]}),
            "samples[1]`: invalid value: string \"one\"",
        ),
        (
            json!({"judge": "mannWhitney", "parameters": {"confidence": 1}, "samples": [], "control": []}),
            "`parameters.confidence` must be between 0 and 1",
        ),
        (
            json!({"judge": "mannWhitney", "samples": [1, "-Inf"], "control": []}),
            "`samples[1]` is infinite",
        ),
        (
            json!({"judge": "sequential", "parameters": {"phi": 0.5}, "intervals": []}),
            "`parameters.phi` must be 1 or more",
        ),
        (
            json!({"judge": "sequential", "parameters": {"r0": 2}, "intervals": []}),
            "`parameters.margin` must be above r0",
        ),
        (
            json!({"judge": "sequential", "intervals": [
                {"canaryRequests": 1, "canaryErrors": -1, "stableRequests": 1, "stableErrors": 0}
            ]}),
            "`intervals[0].canaryErrors` must be a count",
        ),
        (
            json!({"judge": "burnRate", "parameters": {"objective": 99.9}, "intervals": []}),
            "`parameters.objective` must be between 0 and 1",
        ),
        (
            json!({"judge": "burnRate", "intervals": [], "parameters": {
                "objective": 0.9, "windows": [{"rate": 1, "long": 60, "short": 300}],
            }}),
            "`parameters.windows[0].short` must be above 0 and no longer than long",
        ),
        (
            json!({"judge": "prometheusAnswer", "status": 200, "body": "", "now": 1e300}),
            "`now` must be an instant",
        ),
    ];
    for (question, part) in cases {
        let said = refusal(question.clone());
        assert!(said.contains(part), "{question}: {said}");
    }
}

/// What the help shows can be asked as it stands.
#[test]
fn the_questions_of_the_help_are_questions() {
    let shown = crate::show::cli::about::QUESTIONS;
    let mut asked = Vec::new();
    for (at, _) in shown.match_indices("  {\"judge\"") {
        let mut questions = serde_json::Deserializer::from_str(&shown[at..]).into_iter::<Value>();
        let question = questions.next().expect("a question").expect("JSON");
        asked.push(question["judge"].as_str().expect("a name").to_owned());
        let answer = ask(question);
        assert!(!answer["detail"].as_str().expect("a sentence").is_empty());
    }
    assert_eq!(asked, super::JUDGES);
}

#[test]
fn too_many_pairs_are_refused() {
    let question = json!({
        "judge": "mannWhitney", "samples": vec![1; 4_000], "control": vec![1; 4_000],
    });
    assert!(refusal(question).contains("more than 10000000 pairs"));
}
