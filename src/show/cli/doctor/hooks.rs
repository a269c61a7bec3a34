//! Webhooks: whether those who ask by them could be known, and for what.

use super::{Health, Report, machine};
use crate::{config::Settings, declare::Compiled, ids::PlanName, show::api};

pub(super) fn look(settings: &Settings, compiled: Option<&Compiled>, report: &mut Report) {
    let is_plan =
        |plan: &PlanName| compiled.is_some_and(|compiled| compiled.plans.contains_key(plan));
    let known: Option<&dyn Fn(&PlanName) -> bool> =
        if compiled.is_some() { Some(&is_plan) } else { None };
    for hook in api::look_at_hooks(settings, known) {
        if hook.flaws.is_empty() {
            machine::secret(&hook.secret, &hook.place, report);
        }
        for (cause, cure) in hook.flaws {
            report.add(Health::Fail, "hook", &hook.place, cause, cure);
        }
    }
}
