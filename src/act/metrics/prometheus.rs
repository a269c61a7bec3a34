//! Prometheus' HTTP API: instant queries and ranges. Thanos, Mimir and VictoriaMetrics speak it too.
//!
//! Where they differ:
//! - Thanos answers without stores that are down, unless `partial_response` forbids it: it is forbidden.
//!   Warnings, its other way to say that data are missing, are errors.
//! - Mimir's API lies beneath a prefix, which the source's URL holds; its tenant is a header of the
//!   server's settings.
//! - VictoriaMetrics says `isPartial`, an error too. What it caches of a range may have gaps, so that it
//!   is asked with `nocache`. Without that it would answer an instant query as of some 30 s ago
//!   (`-search.latencyOffset`) and say that this was true now: a sample from before a deploy would pass for
//!   one from after it. Of a range with steps below a minute it repeats what stood 30 s ago up to now, or
//!   says nothing; `latency_offset` takes that back from version 1.85.2 on, and none before it can be told to.
//!
//! Every one of them leaves out what it does not know of these.

use jiff::Timestamp;

use super::{
    client::base,
    question::{Outgoing, Provider, Question, Sample, When, beneath},
};
use crate::decide::event::Reading;
pub use crate::decide::gate::reading::{infos, read, read_range};

/// Beyond this many bytes a query goes in the body: servers cap the length of a URL.
const LONGEST_URL: usize = 4_096;

/// Prometheus and what speaks its API.
pub(super) struct Prometheus;

impl Provider for Prometheus {
    fn request(&self, question: &Question, _: Timestamp) -> Result<Outgoing, String> {
        let mut form = vec![
            ("query", question.query.clone()),
            ("timeout", question.timeout.as_seconds().to_string()),
        ];
        let path = match question.when {
            When::Now => "api/v1/query",
            When::At(at) => {
                form.push(("time", seconds(at)));
                "api/v1/query"
            }
            When::During { from, to, step } => {
                form.extend([
                    ("start", seconds(from)),
                    ("end", seconds(to)),
                    ("step", step.as_seconds().to_string()),
                ]);
                "api/v1/query_range"
            }
        };
        form.extend([
            ("partial_response", "false".into()),
            ("nocache", "1".into()),
            ("latency_offset", "1ms".into()),
        ]);
        let url = beneath(&base(&question.url)?, path);
        let mut full = url.clone();
        full.query_pairs_mut().extend_pairs(form);
        if full.as_str().len() <= LONGEST_URL {
            return Ok(Outgoing::get(full));
        }
        let form = full.query().unwrap_or_default().to_owned();
        Ok(Outgoing::post(url, "application/x-www-form-urlencoded", form))
    }

    fn samples(
        &self,
        question: &Question,
        _: Timestamp,
        (status, body): (u16, &[u8]),
    ) -> Result<Vec<Sample>, String> {
        match question.when {
            When::During { .. } => read_range(status, body),
            When::Now | When::At(_) => match read(status, body) {
                Reading::Value { value, at } => Ok(vec![Sample { at, value }]),
                Reading::Absent => Ok(Vec::new()),
                Reading::Error(why) => Err(why),
            },
        }
    }

    fn infos(&self, body: &[u8]) -> Vec<String> {
        infos(body)
    }
}

fn seconds(at: Timestamp) -> String {
    let millis = at.as_millisecond();
    format!("{}.{:03}", millis.div_euclid(1_000), millis.rem_euclid(1_000))
}
