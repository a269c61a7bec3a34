//! A webhook's own word: its endpoint is asked by a signed message (Standard Webhooks 1.0.0), and rules Pass, Fail or
//! Insufficient. There is no formula: its word is taken, with a name before it.

use super::{About, Given, Rule, Ruling, Unusable, words::tamed};
use crate::decide::{
    fact::Verdict,
    part::{Ask, Case, Part, Role, Told},
};

/// The most characters of a webhook's words that are kept.
const LONGEST: usize = 300;

/// Whoever answers under the gate's provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Webhook;

impl Rule for Webhook {
    fn asks(&self, about: &About<'_>) -> Vec<Part> {
        let Some(source) = about.source.cloned() else { return Vec::new() };
        let vars = about.vars;
        let case = Case {
            plan: vars.plan.clone(),
            version: vars.version.clone(),
            digest: vars.digest.into(),
            ring: vars.ring.clone(),
            cluster: vars.cluster.clone(),
            region: vars.region.clone(),
            jurisdiction: vars.jurisdiction.clone(),
            namespace: vars.namespace.into(),
            target: vars.target.into(),
            gate: about.gate.name.clone(),
            deployed_at: about.deployed,
        };
        vec![Part { role: Role::Webhook, ask: Ask::Webhook { source, case } }]
    }

    fn rule(&self, given: &Given<'_>) -> Result<Ruling, Unusable> {
        let Some(Told::Ruled { verdict, detail }) = given.part(Role::Webhook) else {
            return Err(Unusable::error("the webhook did not rule"));
        };
        let (Verdict::Pass | Verdict::Fail | Verdict::Insufficient) = verdict else {
            return Err(Unusable::error("the webhook gave no verdict that it may give"));
        };
        let name = &given.gate.provider;
        let detail = match tamed(detail, LONGEST) {
            said if said.is_empty() => format!("{name} says so"),
            said => format!("{name} says: {said}"),
        };
        Ok(Ruling::new(*verdict, None, detail))
    }
}
