use std::{collections::VecDeque, fmt::Write as _};

use serde_json::Value;

use crate::{
    decide::{
        Decision,
        event::{Event, TargetState},
        fact::{Fact, Reply},
    },
    model::time::Span,
};

/// What happened last, to be told when something goes wrong.
#[derive(Debug)]
pub(super) struct Tale {
    last: VecDeque<Line>,
    /// How much of it is kept.
    most: usize,
}

#[derive(Debug)]
enum Line {
    /// An event and what came of it.
    Step { step: u64, at: Span, what: Box<(Event, Decision)> },
    /// Something that ringward never heard of.
    Aside { at: Span, text: String },
}

impl Tale {
    /// Keeps the last so many events.
    pub(super) fn new(most: usize) -> Self {
        Self { last: VecDeque::new(), most }
    }

    pub(super) fn step(&mut self, step: u64, at: Span, event: Event, decision: Decision) {
        self.push(Line::Step { step, at, what: Box::new((event, decision)) });
    }

    pub(super) fn aside(&mut self, at: Span, text: impl Into<String>) {
        self.push(Line::Aside { at, text: text.into() });
    }

    fn push(&mut self, line: Line) {
        self.last.push_back(line);
        if self.last.len() > self.most {
            self.last.pop_front();
        }
    }

    /// The lines, the oldest first.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |line: &Line| match line {
            Line::Step { step, at, what } => {
                let (event, decision) = what.as_ref();
                let at = at.to_string();
                let mut text = format!("{step:>6} {at:>12}  {}", event_in_words(event));
                for fact in &decision.facts {
                    let _ = write!(text, "\n{:>21}{}", "", fact_in_words(fact));
                }
                for command in &decision.commands {
                    let _ = write!(text, "\n{:>21}> {}", "", command.key());
                }
                if let Some(Reply::Refused { kind, .. }) = &decision.reply {
                    let _ = write!(text, "\n{:>21}refused: {}", "", kind.name());
                }
                text
            }
            Line::Aside { at, text } => format!("{:>6} {:>12}  {text}", "", at.to_string()),
        };
        self.last.iter().map(line).collect()
    }
}

/// An event on one line.
pub(super) fn event_in_words(event: &Event) -> String {
    match event {
        Event::TookOver => "ringward starts".into(),
        Event::Limits(limits) => format!("the settings limit {limits:?}"),
        Event::Learned(news) => format!("{news:?} became known"),
        Event::Source { commit, .. } => format!("the source is at {commit}"),
        Event::Declared { plan, declared } => {
            let what = match declared {
                crate::decide::event::Declared::Valid(plan) => format!("as {}", plan.hash),
                crate::decide::event::Declared::Invalid(_) => "in error".into(),
                crate::decide::event::Declared::Withdrawn => "no more".into(),
            };
            format!("{plan} is declared {what}")
        }
        Event::Observed { plan, cluster, state } => {
            let TargetState { status, image, intent, revision: _, ready_since: _, pause: _ } =
                state;
            let image = image.as_ref().map(|image| tail(&image.0)).unwrap_or_default();
            let intent = intent.as_ref().map_or("nobody", |intent| intent.as_str());
            format!("{plan} on {cluster} is seen {status:?} at …{image} by {intent}")
        }
        Event::Found { plan, cluster, .. } => format!("{plan} on {cluster} was found as it was"),
        Event::Outcome { key, outcome, .. } => format!("{key} ended: {outcome:?}"),
        Event::Measured { key, answer, .. } => format!("{key} answered {:?}", answer.value),
        Event::Operator(request) => {
            let key = request.key.as_ref().map_or(String::new(), |key| format!(" ({key})"));
            format!("{}{key} asks: {:?}", request.by.name, request.action)
        }
        Event::Submitted { plan, requests } => {
            format!("{} releases of {plan} are declared", requests.len())
        }
        Event::Wake { plan } => format!("{plan} is woken"),
    }
}

/// The end of a digest tells versions apart.
fn tail(image: &str) -> &str {
    image.char_indices().rev().nth(7).map_or(image, |(at, _)| &image[at..])
}

/// A fact's name, where it is about, and what it says.
fn fact_in_words(fact: &Fact) -> String {
    let Ok(Value::Object(fact)) = serde_json::to_value(fact) else { return format!("{fact:?}") };
    let mut text = String::new();
    for (name, body) in &fact {
        text.push_str(name);
        let told = ["release", "plan", "ring", "cluster", "attempt", "span", "running", "key"];
        let told = told.iter().chain(&["why", "cause", "kind", "scope", "verdict"]);
        for field in told {
            let value = body.get(field).or_else(|| body.get("judged")?.get(field));
            match value {
                Some(Value::String(value)) => text.push_str(&format!(" {value}")),
                Some(value @ (Value::Bool(_) | Value::Number(_))) => {
                    text.push_str(&format!(" {field}={value}"));
                }
                Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => {}
            }
        }
    }
    text
}
