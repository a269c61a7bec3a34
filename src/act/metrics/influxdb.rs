//! InfluxDB: Flux by `/api/v2/query` (annotated CSV), or InfluxQL by `/query` (JSON), which versions 1
//! and 3 speak, and version 2 for databases that are mapped.
//!
//! The shapes of its answers: "Annotated CSV" and "InfluxDB API: /query" of InfluxDB's documentation.
//! Who asks is told by the server's settings: a bearer token, or a user with a password. A query names its
//! own time; what was asked for the past is Flux's `now`. A row of an InfluxQL query that groups by time
//! counts once its time is over, from its beginning on.

use jiff::Timestamp;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use super::{
    client::base,
    question::{Outgoing, Provider, Question, Sample, When, beneath, instant, refused, several},
};
use crate::model::{
    influxql::{READING, Select},
    time::Span,
};

/// Beyond this many bytes a URL is refused by servers.
const LONGEST_URL: usize = 8_192;

/// InfluxDB, asked in Flux.
pub(super) struct Flux<'s> {
    pub(super) org: &'s str,
}

/// InfluxDB, asked in InfluxQL.
pub(super) struct InfluxQl<'s> {
    pub(super) database: &'s str,
}

impl Provider for Flux<'_> {
    fn request(&self, question: &Question, _: Timestamp) -> Result<Outgoing, String> {
        let now = match question.when {
            When::Now => None,
            When::At(at) => Some(at.to_string()),
            When::During { .. } => {
                return Err("it is asked instant by instant".into());
            }
        };
        let mut url = beneath(&base(&question.url)?, "api/v2/query");
        url.query_pairs_mut().append_pair("org", self.org);
        let dialect = json!({"header": true, "delimiter": ",", "annotations": ["datatype"]});
        let mut body = json!({"type": "flux", "query": question.query, "dialect": dialect});
        if let Some(now) = now {
            body["now"] = now.into();
        }
        let outgoing = Outgoing::post(url, "application/json", body.to_string());
        Ok(outgoing.header("accept", "application/csv"))
    }

    fn samples(
        &self,
        _: &Question,
        _: Timestamp,
        (status, body): (u16, &[u8]),
    ) -> Result<Vec<Sample>, String> {
        read_csv(status, body)
    }
}

impl Provider for InfluxQl<'_> {
    fn request(&self, question: &Question, _: Timestamp) -> Result<Outgoing, String> {
        let When::Now = question.when else {
            return Err("an InfluxQL query names its own time: only now can be asked".into());
        };
        Select::of(&question.query).map_err(|why| format!("{why}: {READING}"))?;
        let mut url = beneath(&base(&question.url)?, "query");
        url.query_pairs_mut()
            .append_pair("db", self.database)
            .append_pair("epoch", "ms")
            .append_pair("q", &question.query);
        if url.as_str().len() > LONGEST_URL {
            return Err("the query is too long".into());
        }
        Ok(Outgoing::get(url).header("accept", "application/json"))
    }

    fn samples(
        &self,
        question: &Question,
        now: Timestamp,
        (status, body): (u16, &[u8]),
    ) -> Result<Vec<Sample>, String> {
        read_json(status, body, Select::of(&question.query)?.bucket, now)
    }
}

#[derive(Deserialize)]
struct Refusal {
    code: Option<String>,
}

/// Reads annotated CSV of that status: one table, with `_value` and `_time`, or `_stop` where an
/// aggregate took the time away.
///
/// # Errors
/// As [`Provider::samples`] has them.
pub fn read_csv(status: u16, body: &[u8]) -> Result<Vec<Sample>, String> {
    if status != 200 {
        let code = serde_json::from_slice(body).ok().and_then(|Refusal { code }| code);
        return Err(refused(status, code.as_deref()));
    }
    let text = std::str::from_utf8(body).map_err(|_| "the answer is not UTF-8")?;
    let mut columns: Option<Columns> = None;
    let mut table: Option<(String, String)> = None;
    let mut tables = 0_usize;
    let mut samples = Vec::new();
    for record in records(text)? {
        match record.first().map(String::as_str) {
            None => columns = None,
            Some(first) if first.starts_with('#') => columns = None,
            Some(_) => match &columns {
                None => columns = Some(Columns::of(&record)?),
                Some(found) => {
                    let cell = |i: usize| record.get(i).map(String::as_str).unwrap_or_default();
                    let of = (cell(found.result).to_owned(), cell(found.table).to_owned());
                    if table.as_ref() != Some(&of) {
                        table = Some(of);
                        tables += 1;
                    }
                    let value = cell(found.value);
                    if value.is_empty() {
                        continue;
                    }
                    let value: f64 = value.parse().map_err(|_| "the _value is no number")?;
                    let at: Timestamp =
                        cell(found.time).parse().map_err(|_| "the time is no instant")?;
                    samples.extend((!value.is_nan()).then_some(Sample { at, value }));
                }
            },
        }
    }
    if tables > 1 {
        return Err(several(tables));
    }
    samples.sort_by_key(|sample: &Sample| sample.at);
    Ok(samples)
}

/// Where in a record what stands.
struct Columns {
    result: usize,
    table: usize,
    value: usize,
    time: usize,
}

impl Columns {
    fn of(header: &[String]) -> Result<Self, String> {
        let find = |name: &str| header.iter().position(|column| column == name);
        // What goes wrong once rows are on their way is a table of its own.
        if find("error").is_some() && find("_value").is_none() {
            return Err("the query failed while it was answered".into());
        }
        let strange = || String::from("the answer is no annotated CSV");
        Ok(Self {
            result: find("result").ok_or_else(strange)?,
            table: find("table").ok_or_else(strange)?,
            value: find("_value").ok_or("the answer has no column _value")?,
            time: find("_time").or(find("_stop")).ok_or("the answer has no column _time")?,
        })
    }
}

/// The records of a CSV text (RFC 4180); an empty line is an empty record.
fn records(text: &str) -> Result<Vec<Vec<String>>, String> {
    let mut records = Vec::new();
    let mut record: Vec<String> = Vec::new();
    let mut cell = String::new();
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if cell.is_empty() => quoted = true,
            c if quoted => cell.push(c),
            ',' => record.push(std::mem::take(&mut cell)),
            '\r' => {}
            '\n' => {
                if !(record.is_empty() && cell.is_empty()) {
                    record.push(std::mem::take(&mut cell));
                }
                records.push(std::mem::take(&mut record));
            }
            c => cell.push(c),
        }
    }
    if quoted {
        return Err("the answer breaks off in a quote".into());
    }
    if !(record.is_empty() && cell.is_empty()) {
        record.push(cell);
        records.push(record);
    }
    Ok(records)
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    results: Vec<Statement>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Statement {
    #[serde(default)]
    series: Vec<Series>,
    error: Option<Value>,
    #[serde(default)]
    messages: Vec<IgnoredAny>,
    #[serde(default)]
    partial: bool,
}

#[derive(Deserialize)]
struct Series {
    columns: Vec<String>,
    #[serde(default)]
    values: Vec<Vec<Value>>,
    #[serde(default)]
    partial: bool,
}

/// Reads the JSON of that status: one statement, one series, the time and one column. Of rows that each stand
/// for a stretch of time of that length, those count that were over at `now`.
///
/// # Errors
/// As [`Provider::samples`] has them.
pub fn read_json(
    status: u16,
    body: &[u8],
    bucket: Option<Span>,
    now: Timestamp,
) -> Result<Vec<Sample>, String> {
    if status != 200 {
        return Err(refused(status, None));
    }
    let strange = || String::from("the answer is none of InfluxDB's /query");
    let answer: Answer = serde_json::from_slice(body).map_err(|_| strange())?;
    let [statement] = answer.results.as_slice() else {
        return Err(match answer.error {
            Some(_) => "HTTP 200, and an error in the answer".into(),
            None => strange(),
        });
    };
    if answer.error.is_some() || statement.error.is_some() {
        let known = statement.error.as_ref().and_then(Value::as_str);
        let no_database = known.is_some_and(|why| why.starts_with("database not found"));
        let cure = if no_database { ": it has no such database; check `database`" } else { "" };
        return Err(format!("HTTP 200, and an error in the answer{cure}"));
    }
    let series = match statement.series.as_slice() {
        [] => return Ok(Vec::new()),
        [one] => one,
        many => return Err(several(many.len())),
    };
    if statement.partial || series.partial || !statement.messages.is_empty() {
        return Err("partial data".into());
    }
    match series.columns.as_slice() {
        [time, _] if time == "time" => {}
        columns => {
            let n = columns.len().saturating_sub(1);
            return Err(format!("{n} columns beside the time, where a gate needs one"));
        }
    }
    let mut samples = Vec::new();
    for row in &series.values {
        let [Value::Number(at), value] = row.as_slice() else { return Err(strange()) };
        let at = instant(at.as_f64().ok_or_else(strange)?)?;
        let over = bucket
            .is_none_or(|bucket| at.checked_add(bucket.to_signed()).is_ok_and(|end| end <= now));
        match value {
            Value::Null => {}
            Value::Number(_) if !over => {}
            Value::Number(n) => {
                samples.push(Sample { at, value: n.as_f64().ok_or_else(strange)? });
            }
            Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                return Err("the column holds no numbers".into());
            }
        }
    }
    samples.sort_by_key(|sample: &Sample| sample.at);
    Ok(samples)
}
