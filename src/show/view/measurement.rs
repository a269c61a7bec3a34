//! A measurement as people and programs read it: what was asked, what was told, what was made of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    decide::{
        command::Measure,
        event::figure,
        fact::{Kept, Taken, Verdict},
        gate::role_name,
        part::{Ask, Part},
    },
    ids::{ClusterName, GateName, IdempotencyKey},
    model::{plan::Plan, ring::MetricSource, time::Span},
    show::{measured::Measurement, words},
};

/// One measurement of a gate on a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeasurementView {
    /// The journal's entry in which it was judged.
    pub seq: u64,
    /// `plan@version/ring/cluster/attempt/gate/n`.
    pub key: IdempotencyKey,
    /// The gate.
    pub gate: GateName,
    /// The cluster.
    pub cluster: ClusterName,
    /// When it was asked for.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub asked_at: Option<Timestamp>,
    /// When it was answered and judged.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What was asked, as it was sent; empty where that lies too far back in the journal.
    pub asked: Vec<QuestionView>,
    /// The verdict.
    pub verdict: Verdict,
    /// What was measured; `inf` and `-inf` are text. Missing where there was no number, or where a residency
    /// rule keeps it where it was measured.
    #[serde(with = "figure::option", default)]
    #[schema(value_type = Option<f64>)]
    pub value: Option<f64>,
    /// The samples behind it.
    #[serde(with = "figure::option", default)]
    #[schema(value_type = Option<f64>)]
    pub samples: Option<f64>,
    /// The bound or baseline that it was compared with.
    #[serde(with = "figure::option", default)]
    #[schema(value_type = Option<f64>)]
    pub against: Option<f64>,
    /// One sentence with the figures.
    pub detail: String,
    /// What the metric source remarked of its answer, in its own words; no verdict rests on it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub infos: Vec<String>,
    /// The figures that the judge came by, each under its name.
    #[schema(value_type = BTreeMap<String, f64>)]
    pub figures: BTreeMap<String, FigureView>,
    /// The control's sample of the same instant, where one is measured beside it.
    #[serde(with = "figure::option", skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<f64>)]
    pub control: Option<f64>,
    /// What was measured once with it, and is judged with from then on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub taken: Option<TakenView>,
    /// A residency rule keeps everything but the verdict where it was measured.
    pub withheld: bool,
}

/// A number, `inf` or `-inf`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FigureView(#[serde(with = "figure")] pub f64);

/// One question of a measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuestionView {
    /// What the answer is to the judge: `value`, `samples`, `baseline`, `requests`, `alerts` and so on.
    pub role: String,
    /// The metric source that was asked; missing where the cluster itself was.
    pub source: Option<String>,
    /// Which API it speaks.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The query, complete; or the matchers, the case or the object that was asked about.
    #[schema(value_type = Object)]
    pub query: Value,
    /// The instant that it was asked of, where that was not the moment itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub of: Option<Timestamp>,
    /// The length of time that it looks back over, where the core chose it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub over: Option<Span>,
    /// The stretch of time that was asked for, where it was one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub window: Option<WindowView>,
}

/// A stretch of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WindowView {
    /// The first instant.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// The last instant.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// The time between two.
    pub step: Span,
}

/// What is measured once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TakenView {
    /// The baseline of a relative gate.
    #[serde(with = "figure::option", skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<f64>)]
    pub baseline: Option<f64>,
    /// The control's samples.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub control: Vec<f64>,
    /// The overdispersion of the stable population's errors.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub phi: Option<f64>,
}

/// A measurement under that plan, without what stays in its jurisdiction.
pub fn measurement(plan: &Plan, found: &Measurement) -> MeasurementView {
    let Measurement { seq, at, gate, cluster, key, asked, judged, baseline, taken } = found;
    let withheld = words::withheld(plan, cluster);
    let shown = |figure: Option<f64>| figure.filter(|_| !withheld);
    let figures = judged.figures.iter().filter(|_| !withheld);
    MeasurementView {
        seq: *seq,
        key: key.clone(),
        gate: gate.clone(),
        cluster: cluster.clone(),
        asked_at: asked.as_ref().map(|(at, _)| at.wall),
        at: at.wall,
        asked: asked.iter().flat_map(|(_, measure)| questions(measure)).collect(),
        verdict: judged.verdict,
        value: shown(judged.value),
        samples: shown(judged.samples),
        against: shown(judged.against),
        detail: if withheld { words::WITHHELD.into() } else { judged.detail.clone() },
        infos: if withheld { Vec::new() } else { judged.infos.clone() },
        figures: figures.map(|f| (f.name.clone(), FigureView(f.value))).collect(),
        control: match &judged.kept {
            Some(Kept::Sample { control, .. }) => shown(*control),
            Some(Kept::Counted(_)) | None => None,
        },
        taken: TakenView::of(*baseline, taken.as_ref()).filter(|_| !withheld),
        withheld,
    }
}

impl MeasurementView {
    /// Why the verdict is what it is, for people, and what the source remarked.
    pub fn why(&self) -> String {
        match self.infos.as_slice() {
            [] => self.detail.clone(),
            infos => format!("{}; its source remarks: {}", self.detail, infos.join("; ")),
        }
    }
}

impl TakenView {
    fn of(baseline: Option<f64>, taken: Option<&Taken>) -> Option<Self> {
        let nothing = Self { baseline, control: Vec::new(), phi: None };
        match taken {
            Some(Taken::Control(control)) => Some(Self { control: control.clone(), ..nothing }),
            Some(Taken::Phi(phi)) => Some(Self { phi: Some(*phi), ..nothing }),
            None => baseline.map(|_| nothing),
        }
    }
}

/// What a measurement asks, each question as it is sent.
pub fn questions(measure: &Measure) -> Vec<QuestionView> {
    let Measure { source, query, samples, baseline_at, parts, .. } = measure;
    let own = |role: &str, query: &str, of| QuestionView {
        of,
        ..question(role, source.as_ref(), query.into())
    };
    let value = (!query.is_empty()).then(|| own("value", query, None));
    let samples = samples.as_deref().map(|samples| own("samples", samples, None));
    let baseline = baseline_at.map(|at| own("baseline", query, Some(at)));
    let parts = parts.iter().map(part);
    value.into_iter().chain(samples).chain(baseline).chain(parts).collect()
}

fn question(role: &str, source: Option<&MetricSource>, query: Value) -> QuestionView {
    QuestionView {
        role: role.into(),
        source: source.map(|source| source.name.clone()),
        kind: source.map(|source| source.kind.name().into()),
        query,
        of: None,
        over: None,
        window: None,
    }
}

fn part(part: &Part) -> QuestionView {
    let role = role_name(part.role);
    match &part.ask {
        Ask::Number { source, query, over, .. } => {
            QuestionView { over: *over, ..question(role, Some(source), query.as_str().into()) }
        }
        Ask::Range { source, query, from, to, step } => QuestionView {
            window: Some(WindowView { from: *from, to: *to, step: *step }),
            ..question(role, Some(source), query.as_str().into())
        },
        Ask::Alerts { source, matchers } => {
            question(role, Some(source), serde_json::json!(matchers))
        }
        Ask::Webhook { source, case } => question(role, Some(source), serde_json::json!(case)),
        Ask::Workload { target, .. } => question(role, None, serde_json::json!(target)),
    }
}
