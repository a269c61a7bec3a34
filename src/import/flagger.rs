//! Flagger: Canary and MetricTemplate.
//!
//! A canary's analysis becomes a policy, and a metric template a `GateTemplate`. How traffic is shifted inside of a
//! cluster stays Flagger's, where the Canary is the plan's target.

mod builtin;

use super::{
    Document, Mesh,
    argo::declaration,
    draft::{Gate, Names, Policy, Template},
    go, of_group, proof,
    query::{self, Slot},
    remark::{Remarks, Rule},
    spot::Spot,
};
use crate::{declare::schema::Provider, model::time::Span};

const GROUP: &str = "flagger.app";
const KINDS: [&str; 2] = ["Canary", "MetricTemplate"];

/// The schedule of an analysis, where it does not say; Flagger's own default, as the window of a metric is.
const EVERY: Span = Span::minutes(1);
/// How long a deployment may make no progress, where a canary does not say.
const DEADLINE: Span = Span::minutes(10);

/// A MetricTemplate as one of ours.
struct Metric<'a> {
    at: Spot<'a>,
    namespace: Option<&'a str>,
    name: &'a str,
    template: Result<Template, String>,
}

/// The fields of an analysis that are about traffic, which stays Flagger's.
const STEPS: [&str; 8] = [
    "stepWeight",
    "stepWeights",
    "maxWeight",
    "stepWeightPromotion",
    "mirror",
    "mirrorWeight",
    "match",
    "sessionAffinity",
];

pub(super) fn import(
    objects: &[Spot<'_>],
    mesh: Option<Mesh>,
    remarks: &mut Remarks,
) -> Vec<Document> {
    let found = of_group(objects, GROUP, &KINDS, "what Flagger is known by", remarks);
    let mut names = Names::default();
    names.reserve("GateTemplate", &builtin::NAMES);
    let mut metrics: Vec<Metric<'_>> = Vec::new();
    let mut canaries = Vec::new();
    for (kind, name, object) in found {
        if kind == "Canary" {
            canaries.push((name, object));
            continue;
        }
        let namespace = object.get("metadata").and_then(|metadata| metadata.word("namespace"));
        let template = template(name, &object, &mut names, remarks);
        metrics.push(Metric { at: object, namespace, name, template });
    }
    let mut documents: Vec<Document> = Vec::new();
    for metric in &metrics {
        let fault = match &metric.template {
            Ok(template) => {
                let document = template.document();
                match proof::faults(std::slice::from_ref(&document)).into_iter().next() {
                    None => {
                        documents.push(document);
                        let address = metric.at.at(&["spec", "provider", "address"]);
                        let url = address.as_ref().and_then(Spot::text);
                        let help = declaration(template.provider, url);
                        let message = "gates ask a metric source of each cluster";
                        remarks.say_once(Rule::Imp007, &metric.at, message, help);
                        None
                    }
                    Some(fault) => Some((fault.message, fault.help)),
                }
            }
            Err(why) => {
                Some((why.clone(), "write a GateTemplate with a query of your own".to_owned()))
            }
        };
        if let Some((why, help)) = fault {
            let message = format!("MetricTemplate `{}` is not carried over: {why}", metric.name);
            remarks.say(Rule::Imp003, &metric.at, message, help);
        }
    }
    for (name, object) in canaries {
        let Some(policy) = policy(name, &object, &metrics, mesh, &mut names, remarks) else {
            continue;
        };
        for gate in &policy.gates {
            let template = gate.template.document();
            if !documents.contains(&template) {
                documents.push(template);
            }
        }
        documents.push(policy.document(remarks));
    }
    documents
}

/// The template of a MetricTemplate, or why there is none.
fn template(
    name: &str,
    object: &Spot<'_>,
    names: &mut Names,
    remarks: &mut Remarks,
) -> Result<Template, String> {
    let spec = object.get("spec").ok_or("it has no spec")?;
    let provider = spec.get("provider");
    let kind = provider.as_ref().and_then(|provider| provider.word("type")).unwrap_or_default();
    let provider = match kind {
        "prometheus" => Provider::Prometheus,
        "datadog" => Provider::Datadog,
        "newrelic" => Provider::NewRelic,
        "graphite" => Provider::Graphite,
        "influxdb" => Provider::InfluxDb,
        "cloudwatch" => {
            return Err("its query is a document of CloudWatch's API, not an expression".into());
        }
        other => return Err(format!("no gate is measured by `{other}`")),
    };
    let query = spec.get("query").ok_or("it has no query")?;
    let text = query.text().ok_or("its query is no text")?;
    // Graphite's parameters are a part of its templates there.
    let text = match text.trim_start().strip_prefix("target=") {
        Some(target) if provider == Provider::Graphite => target,
        Some(_) | None => text,
    };
    let rewritten = query::rewrite(text, slot)?;
    Ok(Template {
        name: names.take("GateTemplate", name, object, remarks),
        provider,
        args: rewritten.args.into_iter().map(|name| (name, None)).collect(),
        query: rewritten.query,
        origin: format!("MetricTemplate {name}, {}", object.location()),
    })
}

/// What stands here for a variable of a metric template.
fn slot(inner: &str) -> Result<Slot, String> {
    match inner {
        "namespace" => Ok(Slot::BuiltIn("namespace")),
        "target" => Ok(Slot::BuiltIn("target")),
        // The window of the metric, which need not be the schedule of the analysis.
        "interval" => Ok(Slot::Argument("window".into())),
        "name" | "service" | "ingress" => Ok(Slot::Argument(inner.to_owned())),
        _ => match inner.strip_prefix("variables.") {
            Some(name) => Ok(Slot::Argument(query::argument(name)?)),
            None => Err(format!("nothing here is `{{{{ {inner} }}}}`")),
        },
    }
}

/// What the gates of a canary have in common.
struct Analysis<'c, 'a> {
    canary: &'c str,
    namespace: Option<&'a str>,
    at: Spot<'a>,
    spec: Spot<'a>,
    mesh: Option<Mesh>,
    every: Span,
    /// As many failing checks take it back.
    threshold: u32,
}

fn policy<'a>(
    name: &str,
    object: &Spot<'a>,
    metrics: &[Metric<'a>],
    mesh: Option<Mesh>,
    names: &mut Names,
    remarks: &mut Remarks,
) -> Option<Policy<'a>> {
    let Some(spec) = object.get("spec") else {
        remarks.say(
            Rule::Imp009,
            object,
            format!("Canary `{name}` has no spec"),
            "give it an analysis",
        );
        return None;
    };
    let nothing = |at: &Spot<'_>, why: &str, remarks: &mut Remarks| {
        let help = "write a RingPolicy with the gates that a ring has to pass";
        remarks.say(Rule::Imp002, at, format!("Canary `{name}` gives no policy: {why}"), help);
    };
    if let Some(skips) = spec.get("skipAnalysis").filter(|skips| skips.text() == Some("true")) {
        nothing(&skips, "it skips its analysis", remarks);
        return None;
    }
    let Some(at) = spec.get("analysis").or_else(|| spec.get("canaryAnalysis")) else {
        nothing(&spec, "it has no analysis", remarks);
        return None;
    };
    let mesh = match spec.word("provider") {
        None => mesh,
        Some("istio") => Some(Mesh::Istio),
        Some("linkerd") => Some(Mesh::Linkerd),
        Some(_) => None,
    };
    let time = |field: &str, or: Span, remarks: &mut Remarks| match at.get(field) {
        None => or,
        Some(spot) => go::duration(spot.text().unwrap_or_default()).unwrap_or_else(|| {
            remarks.say(
                Rule::Imp004,
                &spot,
                format!("this is no length of time: {or} stands in"),
                "such as 1m",
            );
            or
        }),
    };
    // Flagger looks every ten seconds at the most.
    let every = time("interval", EVERY, remarks).max(Span::seconds(10));
    let threshold = at.word("threshold").and_then(|n| n.parse::<u32>().ok()).unwrap_or(0).max(1);
    let namespace = object.at(&["metadata", "namespace"]).and_then(|name| name.text());
    let analysis = Analysis {
        canary: name,
        namespace,
        at: at.clone(),
        spec: spec.clone(),
        mesh,
        every,
        threshold,
    };
    let mut gates = Vec::new();
    for metric in at.list("metrics") {
        gates.extend(analysis.gate(&metric, metrics, names, remarks));
    }
    let gates = proof::keep(gates, remarks);
    analysis.differences(gates.len(), remarks);
    if gates.is_empty() {
        nothing(&at, "none of its metrics became a gate", remarks);
        return None;
    }
    let deadline = match spec.get("progressDeadlineSeconds") {
        None => DEADLINE,
        Some(spot) => match spot.text().and_then(|n| n.parse::<u32>().ok()) {
            Some(seconds) if seconds > 0 => Span::seconds(seconds.into()),
            Some(_) | None => {
                remarks.say(
                    Rule::Imp004,
                    &spot,
                    format!("this is no number of seconds: {DEADLINE} stands in"),
                    "such as 600",
                );
                DEADLINE
            }
        },
    };
    let safe = |text: &str| text.chars().filter(|c| !c.is_control()).take(253).collect::<String>();
    let target = format!(
        "a plan's target: {{kind: FlaggerCanary, namespace: {}, name: {}, container: ...}}",
        safe(namespace.unwrap_or("...")),
        safe(name)
    );
    Some(Policy {
        name: names.take("RingPolicy", name, object, remarks),
        origin: format!("Canary {name}, {}", object.location()),
        notes: vec![target],
        lasts: analysis.lasts(),
        at,
        gates,
        deadline: Some(deadline),
    })
}

impl<'a> Analysis<'_, 'a> {
    /// How long an analysis takes at the least, as Flagger's documentation has it: an interval for each iteration, or
    /// for each step of the weight.
    fn lasts(&self) -> Option<Span> {
        let number = |field: &str| {
            self.at.word(field).and_then(|n| n.parse::<u64>().ok()).filter(|n| *n > 0)
        };
        let steps = match (number("iterations"), number("maxWeight"), number("stepWeight")) {
            (Some(iterations), ..) => Some(iterations),
            // Without a greatest weight it is all of the traffic.
            (None, most, Some(step)) => Some(most.unwrap_or(100) / step),
            (None, _, None) => Some(self.at.list("stepWeights").len() as u64),
        };
        steps.filter(|steps| *steps > 0).map(|steps| self.every * steps)
    }

    fn gate(
        &self,
        metric: &Spot<'a>,
        metrics: &[Metric<'a>],
        names: &mut Names,
        remarks: &mut Remarks,
    ) -> Option<Gate<'a>> {
        let Some(name) = metric.word("name") else {
            remarks.say(Rule::Imp009, metric, "a metric without a name", "give it one");
            return None;
        };
        remarks.others(
            metric,
            &[
                "name",
                "interval",
                "thresholdRange",
                "threshold",
                "query",
                "templateRef",
                "templateVariables",
            ],
        );
        let template = match self.template(name, metric, metrics, names, remarks) {
            Ok(template) => template,
            Err(Refused { rule, why, help }) => {
                remarks.say(rule, metric, format!("`{name}` is not carried over: {why}"), help);
                return None;
            }
        };
        let refuse = |field: &str, why: String, help: &str, remarks: &mut Remarks| {
            let at = metric.get(field).unwrap_or_else(|| metric.clone());
            remarks.say(Rule::Imp003, &at, format!("`{name}` is not carried over: {why}"), help);
        };
        let (min, max) = match self.bounds(name, metric) {
            Ok(bounds) => bounds,
            Err(why) => {
                refuse(
                    "thresholdRange",
                    why,
                    "give the range that passes, as min and max",
                    remarks,
                );
                return None;
            }
        };
        let window = metric.word("interval").unwrap_or("1m");
        let mut args = Vec::new();
        for (arg, _) in &template.args {
            let value = match arg.as_str() {
                "window" => go::duration(window).map(|span| span.to_string()),
                "name" => Some(self.canary.to_owned()),
                "service" => {
                    let service = self
                        .spec
                        .at(&["service", "name"])
                        .or_else(|| self.spec.at(&["targetRef", "name"]));
                    service.and_then(|name| name.text()).map(str::to_owned)
                }
                "ingress" => {
                    let ingress = self.spec.at(&["ingressRef", "name"]);
                    ingress.and_then(|name| name.text()).map(str::to_owned)
                }
                _ => None,
            };
            let variables = metric.get("templateVariables");
            let variable = || {
                let mut fields = variables.as_ref()?.fields();
                let (_, value) = fields
                    .find(|(name, _)| query::argument(name).as_deref() == Ok(arg.as_str()))?;
                value.text().map(str::to_owned)
            };
            let Some(value) = value.or_else(variable) else {
                let why = format!("nothing says the value of `{arg}`");
                refuse("templateVariables", why, "give it under templateVariables", remarks);
                return None;
            };
            args.push((arg.clone(), value));
        }
        if metric.get("templateRef").is_none() {
            let message = "gates ask a metric source of each cluster";
            remarks.say_once(Rule::Imp007, metric, message, declaration(template.provider, None));
        }
        Some(Gate {
            at: metric.clone(),
            name: match go::label(name) {
                label if label.is_empty() => template.name.clone(),
                label => label,
            },
            template,
            args,
            interval: Some(self.every),
            initial_delay: None,
            min,
            max,
            condition: None,
            // So many failing checks are too many there; here, more than so many are.
            failure_limit: self.threshold - 1,
            consecutive_error_limit: None,
            // A check without a value is a failing one there.
            fails_without_data: Some(self.every * u64::from(self.threshold)),
            required: true,
            lasts: self.lasts(),
            in_a_row: false,
        })
    }

    fn template(
        &self,
        name: &str,
        metric: &Spot<'a>,
        metrics: &[Metric<'a>],
        names: &mut Names,
        remarks: &mut Remarks,
    ) -> Result<Template, Refused> {
        if let Some(reference) = metric.get("templateRef") {
            let wanted = reference.word("name").unwrap_or_default();
            let namespace = reference.word("namespace").or(self.namespace);
            let near = |m: &&Metric<'_>| {
                m.name == wanted
                    && (m.namespace == namespace || m.namespace.is_none() || namespace.is_none())
            };
            let found = metrics.iter().find(near).ok_or_else(|| Refused {
                rule: Rule::Imp008,
                why: format!("MetricTemplate `{wanted}` is not among the files"),
                help: "give its file too",
            })?;
            return found.template.clone().map_err(|_| Refused {
                rule: Rule::Imp003,
                why: format!("its MetricTemplate `{wanted}` is not"),
                help: "write a GateTemplate with a query of your own",
            });
        }
        if let Some(query) = metric.get("query") {
            let rewritten = query::rewrite(query.text().unwrap_or_default(), slot);
            let rewritten = rewritten.map_err(|why| Refused {
                rule: Rule::Imp003,
                why,
                help: "write a GateTemplate with a query of your own",
            })?;
            return Ok(Template {
                name: names.take(
                    "GateTemplate",
                    &format!("{}-{name}", self.canary),
                    metric,
                    remarks,
                ),
                provider: Provider::Prometheus,
                args: rewritten.args.into_iter().map(|name| (name, None)).collect(),
                query: rewritten.query,
                origin: format!("Canary {}, {}", self.canary, metric.location()),
            });
        }
        builtin::template(name, self.mesh).map_err(|(why, help)| Refused {
            rule: Rule::Imp003,
            why,
            help,
        })
    }

    /// The range that passes.
    fn bounds(&self, name: &str, metric: &Spot<'_>) -> Result<(Option<f64>, Option<f64>), String> {
        let number = |spot: Option<Spot<'_>>| match spot {
            None => Ok(None),
            Some(spot) => match go::number(spot.text().unwrap_or_default()) {
                Some(number) => Ok(Some(number)),
                None => Err(format!("`{}` is no number", spot.text().unwrap_or_default())),
            },
        };
        let (min, max) = match metric.get("thresholdRange") {
            Some(range) => (number(range.get("min"))?, number(range.get("max"))?),
            // What it was before there were ranges.
            None if name == builtin::SUCCESS_RATE && metric.get("query").is_none() => {
                (number(metric.get("threshold"))?, None)
            }
            None => (None, number(metric.get("threshold"))?),
        };
        match (min, max) {
            (None, None) => Err("it has no range: whatever it measures passes".into()),
            (Some(min), Some(max)) if min > max => Err("no value is in its range".into()),
            bounds => Ok(bounds),
        }
    }

    /// What stays Flagger's, and what is counted otherwise here.
    fn differences(&self, gates: usize, remarks: &mut Remarks) {
        let stays = "it stays Flagger's, where the Canary is the plan's target; there are no steps inside of a ring here";
        for field in STEPS {
            if let Some(at) = self.at.get(field) {
                remarks.say(
                    Rule::Imp002,
                    &at.as_key(),
                    format!("`{field}` is not carried over"),
                    stays,
                );
            }
        }
        for hook in self.at.list("webhooks") {
            let kind = hook.word("type").unwrap_or("rollout");
            let served = |person: &str| {
                format!(
                    "where the Canary is the plan's target ringward serves this hook, at /v1/hooks/flagger/{kind} of \
                     the server, with the plan, the cluster and their token as metadata (hooks.flaggerSecretFile of \
                     the settings); {person}"
                )
            };
            let help = match kind {
                "confirm-rollout" | "confirm-promotion" => {
                    served("a person agrees before a ring: give its policy `approvals`")
                }
                "confirm-traffic-increase" => {
                    "here a person agrees before a ring: give its policy `approvals`".to_owned()
                }
                "event" => "declare a Notifier over a channel of the server's settings".to_owned(),
                "rollback" => served("a person takes a release back by `ringward rollback`"),
                _ => "serve its verdict by a metric source of type webhook, and judge by `webhook`"
                    .to_owned(),
            };
            remarks.say(
                Rule::Imp002,
                &hook,
                format!("a webhook of type `{kind}` is not carried over"),
                help,
            );
        }
        if let Some(alerts) = self.at.get("alerts") {
            let help = "declare a Notifier over a channel of the server's settings";
            remarks.say(Rule::Imp002, &alerts.as_key(), "`alerts` are not carried over", help);
        }
        let judged = ["interval", "threshold", "iterations", "metrics", "webhooks", "alerts"];
        remarks.others(&self.at, &[&judged[..], &STEPS].concat());
        let target = self.spec.at(&["targetRef", "name"]);
        if let Some(target) = target.filter(|target| target.text() != Some(self.canary)) {
            let message =
                "{{target}} is the name of the plan's target here, and another than the Canary's";
            let help = "let the plan's target have this name, or write it into the queries";
            remarks.say(Rule::Imp005, &target, message, help);
        }
        if gates > 0 {
            let at = self.at.get("threshold").unwrap_or_else(|| self.at.clone());
            if gates > 1 {
                let message = "failing checks of all metrics are counted together there, and of each gate by itself here";
                remarks.say(
                    Rule::Imp005,
                    &at,
                    message,
                    "lower failureLimit where that is too many",
                );
            }
            let message = "a metric source that fails counts as a failing check there, and holds the ring here";
            remarks.say(
                Rule::Imp005,
                &at,
                message,
                "nothing has to be done: what is unknown never passes",
            );
        }
    }
}

/// Why a metric has no template.
struct Refused {
    rule: Rule,
    why: String,
    help: &'static str,
}
