//! New Relic: an NRQL query by NerdGraph, its GraphQL API.
//!
//! The shape of its answers: New Relic's NerdGraph tutorial for NRQL. The query is a variable of the
//! GraphQL document, never a part of it. A query answers with one row of one number, which is true at
//! the end of the time that the query itself names; asked about the past, that time is moved.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    client::base,
    question::{Outgoing, Provider, Question, Sample, When, beneath, instant, refused},
};
use crate::model::nrql::as_of;

const DOCUMENT: &str = "query($account: Int!, $nrql: Nrql!, $timeout: Seconds!) { actor { account(id: $account) { \
     nrql(query: $nrql, timeout: $timeout) { results metadata { timeWindow { end } } } } } }";

/// New Relic.
pub(super) struct NewRelic {
    pub(super) account: u64,
}

impl Provider for NewRelic {
    fn request(&self, question: &Question, _: Timestamp) -> Result<Outgoing, String> {
        let nrql = match question.when {
            When::Now => question.query.clone(),
            When::At(at) => as_of(&question.query, at)?,
            When::During { .. } => return Err("it is asked instant by instant".into()),
        };
        let timeout = (question.timeout.0 / 1_000).max(1);
        let variables = json!({"account": self.account, "nrql": nrql, "timeout": timeout});
        let body = json!({"query": DOCUMENT, "variables": variables});
        let url = beneath(&base(&question.url)?, "graphql");
        Ok(Outgoing::post(url, "application/json", body.to_string()))
    }

    fn samples(
        &self,
        _: &Question,
        _: Timestamp,
        (status, body): (u16, &[u8]),
    ) -> Result<Vec<Sample>, String> {
        read(status, body)
    }
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Value>,
    #[serde(default)]
    errors: Vec<Value>,
}

#[derive(Deserialize)]
struct Nrql {
    results: Vec<Map<String, Value>>,
    metadata: Value,
}

/// Reads an answer of that status.
///
/// # Errors
/// As [`Provider::samples`] has them.
pub fn read(status: u16, body: &[u8]) -> Result<Vec<Sample>, String> {
    if status != 200 {
        return Err(refused(status, None));
    }
    let strange = || String::from("the answer is none of NerdGraph");
    let answer: Answer = serde_json::from_slice(body).map_err(|_| strange())?;
    if let Some(error) = answer.errors.first() {
        let word = error.pointer("/extensions/errorClass").and_then(Value::as_str);
        return Err(refused(status, word.or(Some("errors"))));
    }
    let nrql = answer.data.as_ref().and_then(|data| data.pointer("/actor/account/nrql"));
    let nrql = nrql.ok_or_else(strange)?;
    let Nrql { results, metadata } = Nrql::deserialize(nrql).map_err(|_| strange())?;
    let row = match results.as_slice() {
        [] => return Ok(Vec::new()),
        [row] => row,
        many => {
            let n = many.len();
            return Err(format!(
                "{n} rows, where a gate needs one; leave out FACET and TIMESERIES"
            ));
        }
    };
    let mut figures = row.values();
    let (Some(figure), None) = (figures.next(), figures.next()) else {
        return Err(format!("{} figures, where a gate needs one", row.len()));
    };
    let Some(value) = number(figure)? else { return Ok(Vec::new()) };
    let end = metadata.pointer("/timeWindow/end").and_then(Value::as_f64).ok_or_else(strange)?;
    Ok(vec![Sample { at: instant(end)?, value }])
}

/// A number, or the one number of a percentile's object; nothing for null.
fn number(figure: &Value) -> Result<Option<f64>, String> {
    let figure = match figure {
        Value::Object(parts) => match parts.values().next() {
            Some(one) if parts.len() == 1 => one,
            Some(_) | None => {
                let n = parts.len();
                return Err(format!("{n} percentiles, where a gate needs one"));
            }
        },
        Value::Null | Value::Number(_) | Value::Bool(_) | Value::String(_) | Value::Array(_) => {
            figure
        }
    };
    match figure {
        Value::Null => Ok(None),
        Value::Number(number) => Ok(number.as_f64()),
        Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            Err("the figure is no number".into())
        }
    }
}
