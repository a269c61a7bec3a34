//! Reads an answer of Prometheus' HTTP API, to an instant query or to one over a range. Pure: it
//! never asks.
//!
//! Deliberately absent: any text of the answer in an error, beyond the kind of error and, where
//! several series came, a few of their labels. A query is a user's, the provider may stand in a
//! network that the user cannot see, and an error must not become a window into it.

use jiff::Timestamp;
use serde::{
    Deserialize,
    de::{IgnoredAny, value::StrDeserializer},
};
use serde_json::{Map, Value};

use crate::decide::event::Reading;

/// Label sets that an error over several series names.
const NAMED: usize = 3;
/// Characters of a label set that it shows.
const SHOWN: usize = 160;

/// A number, and the instant that it is true of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The instant.
    pub at: Timestamp,
    /// The number; never NaN.
    pub value: f64,
}

/// What every answer of the API is wrapped in.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    status: Status,
    error_type: Option<String>,
    /// Prometheus', Thanos' and Mimir's way to say that data are missing.
    warnings: Option<Vec<IgnoredAny>>,
    /// VictoriaMetrics' way.
    #[serde(default)]
    is_partial: bool,
    data: Option<Data>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Status {
    Success,
    Error,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

/// The kinds of result that the API knows.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ResultType {
    Scalar,
    Vector,
    Matrix,
    String,
}

/// Reads the answer of that HTTP status: one number, none, or why it cannot be used.
///
/// A number needs a success all the way: status 200, `status: success`, no warning, a scalar or exactly
/// one series. NaN and an empty vector are Absent; infinities are kept.
pub fn read(status: u16, body: &[u8]) -> Reading {
    match number(status, body) {
        Ok(Some((value, at))) if !value.is_nan() => Reading::Value { value, at },
        Ok(_) => Reading::Absent,
        Err(why) => Reading::Error(why),
    }
}

/// Reads the answer to a query over a range: the samples of its one series, oldest first, without
/// those that are NaN. No series is no samples.
///
/// # Errors
/// As [`read`] has them.
pub fn read_range(status: u16, body: &[u8]) -> Result<Vec<Sample>, String> {
    let Data { result_type, result } = data(status, body)?;
    let (Ok(ResultType::Matrix), Value::Array(series)) = (kind(&result_type), result) else {
        return Err("the answer to a query over a range is no matrix".into());
    };
    let values = match series.as_slice() {
        [] => return Ok(Vec::new()),
        [one] => match (one.get("values").and_then(Value::as_array), one.get("histograms")) {
            (Some(values), None) => values,
            (_, Some(_)) => return Err(HISTOGRAM.into()),
            (None, None) => return Err("the matrix is malformed".into()),
        },
        many => return Err(several(many)),
    };
    let samples = values.iter().map(|pair| sample(pair).map(|(value, at)| Sample { at, value }));
    let samples: Vec<Sample> = samples.collect::<Result<_, _>>()?;
    if !samples.is_sorted_by(|a, b| a.at < b.at) {
        return Err("the samples are not in the order of their time".into());
    }
    Ok(samples.into_iter().filter(|s| !s.value.is_nan()).collect())
}

/// What Prometheus remarks of a query that it has answered, such as that a counter is none by its name.
pub fn infos(body: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Remarks {
        #[serde(default)]
        infos: Vec<String>,
    }
    serde_json::from_slice(body).map_or_else(|_| Vec::new(), |Remarks { infos }| infos)
}

const HISTOGRAM: &str = "the query gives a native histogram; a gate needs one number of it";

fn number(status: u16, body: &[u8]) -> Result<Option<(f64, Timestamp)>, String> {
    let Data { result_type, result } = data(status, body)?;
    match (kind(&result_type), result) {
        (Ok(ResultType::Scalar), result) => sample(&result).map(Some),
        (Ok(ResultType::Vector), Value::Array(series)) => match series.as_slice() {
            [] => Ok(None),
            [one] => single(one).map(Some),
            many => Err(several(many)),
        },
        (Ok(ResultType::Vector), _) => Err("the vector is malformed".into()),
        (Ok(ResultType::Matrix), _) => Err(
            "the query gives a range of samples; a gate needs one number: aggregate it, with rate() say"
                .into(),
        ),
        (Ok(ResultType::String), _) => Err("the query gives a string, not a number".into()),
        (Err(_), _) => Err("the answer's resultType is unknown".into()),
    }
}

fn kind(word: &str) -> Result<ResultType, serde::de::value::Error> {
    ResultType::deserialize(StrDeserializer::new(word))
}

/// What a success all the way carries.
fn data(status: u16, body: &[u8]) -> Result<Data, String> {
    let envelope: Envelope = match serde_json::from_slice(body) {
        Ok(envelope) => envelope,
        Err(_) if status != 200 => return Err(refused(status, None)),
        Err(error) if error.is_data() => {
            return Err("the answer is JSON, but not one of Prometheus' query API".into());
        }
        Err(_) => return Err("the answer is not JSON".into()),
    };
    if status != 200 || envelope.status == Status::Error {
        return Err(refused(status, envelope.error_type.as_deref()));
    }
    match envelope.warnings.map_or(0, |w| w.len()) {
        0 if envelope.is_partial => return Err("partial data".into()),
        0 => {}
        n => return Err(format!("partial data: the answer carries {n} warning{}", plural(n))),
    }
    envelope.data.ok_or_else(|| "the answer has no data".into())
}

/// Why there is no answer, from the HTTP status and the kind of error that the API names.
fn refused(status: u16, kind: Option<&str>) -> String {
    let hint = match status {
        300..=399 => ": redirects are not followed; give the source's own URL",
        401 | 403 => ": check the credentials of this source in the server's settings",
        404 => ": check the source's URL, which is given without /api/v1",
        _ => "",
    };
    // Anything but a plain word is not a kind of error, and is not repeated.
    let word = |k: &&str| k.len() <= 40 && k.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    match kind.filter(word) {
        Some(kind) => format!("HTTP {status}, {kind}{hint}"),
        None if status == 200 => "HTTP 200, and `status: error` in the answer".into(),
        None => format!("HTTP {status}{hint}"),
    }
}

/// The number of a vector's one series.
fn single(series: &Value) -> Result<(f64, Timestamp), String> {
    match (series.get("value"), series.get("histogram")) {
        (Some(value), _) => sample(value),
        (None, Some(_)) => Err(HISTOGRAM.into()),
        (None, None) => Err("the vector is malformed".into()),
    }
}

/// `[seconds, "number"]`.
fn sample(pair: &Value) -> Result<(f64, Timestamp), String> {
    let malformed = || String::from("the sample is malformed");
    let [at, value] = pair.as_array().map(Vec::as_slice).ok_or_else(malformed)? else {
        return Err(malformed());
    };
    let value = value.as_str().and_then(|v| v.parse().ok()).ok_or_else(malformed)?;
    let at = at.as_f64().map(|s| (s * 1_000.0).round()).ok_or_else(malformed)?;
    // `as` saturates, and the ends of i64 are outside of what a timestamp may be.
    let at = Timestamp::from_millisecond(at as i64).map_err(|_| malformed())?;
    Ok((value, at))
}

fn several(series: &[Value]) -> String {
    let mut named: Vec<_> = series.iter().take(NAMED).map(|s| labels(s.get("metric"))).collect();
    if series.len() > NAMED {
        named.push("…".into());
    }
    format!("{} series, where a gate needs one; aggregate them: {}", series.len(), named.join(", "))
}

/// `{a="b"}`, cut and with nothing in it that could disturb a terminal.
fn labels(metric: Option<&Value>) -> String {
    let none = Map::new();
    let labels = metric.and_then(Value::as_object).unwrap_or(&none);
    let pairs: Vec<_> = labels
        .iter()
        .map(|(name, value)| format!("{name}={:?}", value.as_str().unwrap_or_default()))
        .collect();
    let text: String = format!("{{{}}}", pairs.join(","))
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    match text.char_indices().nth(SHOWN) {
        None => text,
        Some((cut, _)) => format!("{}…", &text[..cut]),
    }
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(data: &str) -> Reading {
        read(200, format!(r#"{{"status":"success","data":{data}}}"#).as_bytes())
    }

    fn vector(series: &str) -> Reading {
        data(&format!(r#"{{"resultType":"vector","result":[{series}]}}"#))
    }

    fn why(reading: Reading) -> String {
        match reading {
            Reading::Error(why) => why,
            other @ (Reading::Value { .. } | Reading::Absent) => panic!("{other:?}"),
        }
    }

    #[test]
    fn remarks_are_read_where_there_are_any() {
        let of = |body: &str| infos(body.as_bytes());
        assert_eq!(of(r#"{"status":"success","infos":["a","b"],"data":null}"#), ["a", "b"]);
        for none in [r#"{"status":"success"}"#, r#"{"infos":"a"}"#, r#"{"infos":[1]}"#, "hello"] {
            assert_eq!(of(none), [""; 0], "{none}");
        }
    }

    #[test]
    fn one_number_is_a_value() {
        let at = Timestamp::from_millisecond(1_700_000_000_250).unwrap();
        let value = |value| Reading::Value { value, at };
        let scalar = r#"{"resultType":"scalar","result":[1700000000.25,"1.5"]}"#;
        assert_eq!(data(scalar), value(1.5));
        for (text, number) in
            [("1.5", 1.5), ("+Inf", f64::INFINITY), ("-Inf", f64::NEG_INFINITY), ("1e-05", 1e-5)]
        {
            let series = format!(r#"{{"metric":{{}},"value":[1700000000.25,"{text}"]}}"#);
            assert_eq!(vector(&series), value(number));
        }
        // Notes of the newer versions say nothing about the data.
        let noted = br#"{"status":"success","infos":["x"],"warnings":[],"data":{"resultType":"scalar","result":[1700000000.25,"1.5"]}}"#;
        assert_eq!(read(200, noted), value(1.5));
    }

    #[test]
    fn nothing_and_nan_are_absent() {
        assert_eq!(vector(""), Reading::Absent);
        assert_eq!(vector(r#"{"metric":{},"value":[1,"NaN"]}"#), Reading::Absent);
        assert_eq!(data(r#"{"resultType":"scalar","result":[1,"NaN"]}"#), Reading::Absent);
    }

    #[test]
    fn several_series_are_counted_and_a_few_are_named() {
        let series: Vec<_> = (0..5)
            .map(|i| format!(r#"{{"metric":{{"code":"{i}","a":"\u001b[2J"}},"value":[1,"1"]}}"#))
            .collect();
        let why = why(vector(&series.join(",")));
        assert_eq!(
            why,
            r#"5 series, where a gate needs one; aggregate them: {a="\u{1b}[2J",code="0"}, {a="\u{1b}[2J",code="1"}, {a="\u{1b}[2J",code="2"}, …"#
        );
    }

    #[test]
    fn a_long_label_is_cut() {
        let long = format!(r#"{{"metric":{{"a":"{}"}},"value":[1,"1"]}}"#, "é".repeat(5_000));
        let why = why(vector(&format!("{long},{long}")));
        assert!(why.chars().count() < 500, "{}", why.len());
    }

    #[test]
    fn other_kinds_of_result_are_errors() {
        let cases = [
            (r#"{"resultType":"matrix","result":[]}"#, "range"),
            (r#"{"resultType":"string","result":[1,"1"]}"#, "string"),
            (r#"{"resultType":"streams","result":[]}"#, "resultType"),
            (r#"{"resultType":"vector","result":{}}"#, "malformed"),
            (r#"{"resultType":"vector","result":[{"metric":{},"histogram":[1,{}]}]}"#, "histogram"),
            (r#"{"resultType":"vector","result":[{"metric":{}}]}"#, "malformed"),
            (r#"{"resultType":"scalar","result":[1,1.5]}"#, "malformed"),
            (r#"{"resultType":"scalar","result":["1","1"]}"#, "malformed"),
            (r#"{"resultType":"scalar","result":[1,"one"]}"#, "malformed"),
            (r#"{"resultType":"scalar","result":[1e300,"1"]}"#, "malformed"),
            (r#"{"resultType":"scalar","result":[1,"1","1"]}"#, "malformed"),
            ("null", "no data"),
        ];
        for (body, part) in cases {
            let why = why(data(body));
            assert!(why.contains(part), "{body}: {why}");
        }
    }

    #[test]
    fn partial_data_are_errors() {
        let ok = r#""data":{"resultType":"scalar","result":[1,"1"]}"#;
        let partial = |field: &str| {
            why(read(200, format!(r#"{{"status":"success",{field},{ok}}}"#).as_bytes()))
        };
        assert_eq!(
            partial(r#""warnings":["a","b"]"#),
            "partial data: the answer carries 2 warnings"
        );
        assert_eq!(partial(r#""isPartial":true"#), "partial data");
        assert!(partial(r#""warnings":"a""#).contains("not one of Prometheus"));
    }

    #[test]
    fn errors_name_their_kind_and_echo_nothing() {
        let error = |status: u16, kind: &str| {
            let body = format!(
                r#"{{"status":"error","errorType":"{kind}","error":"canary-secret in query"}}"#
            );
            why(read(status, body.as_bytes()))
        };
        assert_eq!(error(400, "bad_data"), "HTTP 400, bad_data");
        assert_eq!(error(422, "execution"), "HTTP 422, execution");
        assert_eq!(error(503, "timeout"), "HTTP 503, timeout");
        assert_eq!(error(200, "internal"), "HTTP 200, internal");
        assert_eq!(error(200, "canary secret"), "HTTP 200, and `status: error` in the answer");
        let bodies: [(u16, &str); 8] = [
            (200, "canary-secret"),
            (200, r#"{"canary-secret":1}"#),
            (200, r#"{"status":"canary-secret"}"#),
            (200, r#"["canary-secret"]"#),
            (200, ""),
            (302, "canary-secret"),
            (401, r#"{"message":"canary-secret"}"#),
            (502, "<html>canary-secret</html>"),
        ];
        for (status, body) in bodies {
            let why = why(read(status, body.as_bytes()));
            assert!(!why.contains("canary"), "{why}");
        }
    }

    #[test]
    fn a_success_needs_both_the_code_and_the_word() {
        let body = br#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"#;
        assert_eq!(why(read(500, body)), "HTTP 500");
        assert!(matches!(read(200, body), Reading::Value { .. }));
    }

    #[test]
    fn a_range_is_one_series_in_order() {
        let range = |series: &str| {
            let data = format!(r#"{{"resultType":"matrix","result":[{series}]}}"#);
            read_range(200, format!(r#"{{"status":"success","data":{data}}}"#).as_bytes())
        };
        let at = |s| Timestamp::from_second(s).unwrap();
        let series = |values: &str| format!(r#"{{"metric":{{}},"values":[{values}]}}"#);
        assert_eq!(
            range(&series(r#"[60,"0.5"],[120,"NaN"],[180,"+Inf"]"#)),
            Ok(vec![
                Sample { at: at(60), value: 0.5 },
                Sample { at: at(180), value: f64::INFINITY }
            ])
        );
        assert_eq!(range(""), Ok(vec![]));
        let two = format!("{0},{0}", series(r#"[60,"1"]"#));
        for (text, part) in [
            (two.as_str(), "2 series"),
            (&series(r#"[120,"1"],[60,"1"]"#), "order"),
            (&series(r#"[60,1]"#), "malformed"),
            (r#"{"metric":{},"histograms":[]}"#, "histogram"),
            (r#"{"metric":{}}"#, "malformed"),
        ] {
            let why = range(text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
        let vector = br#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
        assert!(read_range(200, vector).unwrap_err().contains("no matrix"));
        assert_eq!(read_range(503, b"").unwrap_err(), "HTTP 503");
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(500_000);
        assert_eq!(why(read(200, deep.as_bytes())), "the answer is not JSON");
        let deep = format!(r#"{{"status":"success","data":{deep}"#);
        assert!(matches!(read(200, deep.as_bytes()), Reading::Error(_)));
    }
}
