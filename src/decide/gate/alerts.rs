//! No alert that matches fires: what Prometheus' and Alertmanager's own rules make of the metrics
//! (Prometheus' HTTP API, `/api/v1/alerts`; Alertmanager's, `/api/v2/alerts`).

use super::{About, Given, Rule, Ruling, Unusable, figures::figure, query::plain, words::tamed};
use crate::{
    decide::{
        fact::Verdict,
        part::{Alert, Ask, Part, Role, Told},
    },
    model::judge::Alerts,
};

/// Alerts that a sentence names.
const NAMED: usize = 3;
/// The most characters of a name that it shows.
const SHOWN: usize = 80;

impl Rule for Alerts {
    fn asks(&self, about: &About<'_>) -> Vec<Part> {
        let matchers = self.matchers.iter();
        let matchers = matchers.map(|(label, value)| (label.clone(), plain(value, about.vars)));
        let source = about.source.cloned();
        let ask = source.map(|source| Ask::Alerts { source, matchers: matchers.collect() });
        ask.map(|ask| Part { role: Role::Alerts, ask }).into_iter().collect()
    }

    /// An alert matches where it has each of the labels with exactly that value.
    fn rule(&self, given: &Given<'_>) -> Result<Ruling, Unusable> {
        let Some(Told::Alerts(matching)) = given.part(Role::Alerts) else {
            return Err(Unusable::error("the alerts were not told"));
        };
        let (verdict, detail) = match matching.as_slice() {
            [] => (Verdict::Pass, "no alert that matches fires".to_owned()),
            many => {
                let name = |alert: &Alert| Some(tamed(alert.labels.get("alertname")?, SHOWN));
                let mut names: Vec<String> = many.iter().filter_map(name).collect();
                names.sort_unstable();
                names.dedup();
                if names.len() > NAMED {
                    names.truncate(NAMED);
                    names.push("…".into());
                }
                let verb = if many.len() == 1 { "alert fires" } else { "alerts fire" };
                let names = match names.as_slice() {
                    // Of the past only their number is known.
                    [] => String::new(),
                    names => format!(": {}", names.join(", ")),
                };
                (Verdict::Fail, format!("{} {verb}{names}", many.len()))
            }
        };
        let mut ruling = Ruling::new(verdict, Some(0.0), detail);
        ruling.figures = vec![figure("firing", matching.len() as f64)];
        Ok(ruling)
    }
}
