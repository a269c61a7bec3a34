//! What Flux's controllers have in common: the token that asks for a reconciliation, and conditions.

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::{
    Progress,
    fields::{self, Condition},
};
use crate::decide::event::Status;

/// The annotation that asks for a reconciliation now; its controller repeats it in the status.
const REQUESTED: &str = "reconcile.fluxcd.io/requestedAt";

/// Asks for a reconciliation by a token.
pub(super) fn request(token: &str) -> Value {
    json!({"metadata": {"annotations": {REQUESTED: token}}})
}

/// How far its controller is, as far as all of them say it alike. `gave_up` is what else it says when it tries
/// no more, and `ready` what follows from Ready.
pub(super) fn progress(
    object: &DynamicObject,
    kind: &str,
    gave_up: Option<String>,
    ready: impl FnOnce() -> Progress,
) -> Progress {
    if let Some(why) = fields::deleted(object, kind) {
        return Progress::unknown(why);
    }
    if fields::yes(object, "/spec/suspend") {
        return Progress::Other(Status::Paused);
    }
    let handled = fields::text(object, "/status/lastHandledReconcileAt");
    let requested = fields::annotation(object, REQUESTED);
    let answered = requested.is_none() || requested == handled;
    let stalled = current(object, "Stalled").filter(|condition| condition.is("True"));
    let stalled = stalled.map(|condition| format!("stalled: {}", condition.words()));
    if let Some(why) = gave_up.or(stalled).filter(|_| answered) {
        return Progress::Failed(why);
    }
    let Some(condition) = current(object, "Ready") else { return Progress::Other(Status::Pending) };
    if condition.is("True") {
        let observed = fields::is_observed(object) && answered;
        return if observed { ready() } else { Progress::Other(Status::Pending) };
    }
    if !(condition.is("False") || condition.is("Unknown")) {
        return Progress::unknown(format!(
            "its condition Ready is `{}`, which ringward does not know",
            condition.status()
        ));
    }
    // What is not ready is tried again at its interval; the ring's deadline says for how long.
    Progress::NotReady(condition.words())
}

/// The condition of that type, if it is of the generation that the object has; one that does not say is of the
/// status'.
pub(super) fn current<'a>(object: &'a DynamicObject, kind: &str) -> Option<Condition<'a>> {
    Condition::of(object, kind).filter(|condition| {
        let own = condition.observed_generation().filter(|generation| *generation > 0);
        let observed = own.or(fields::number(object, "/status/observedGeneration")).unwrap_or(0);
        observed >= object.metadata.generation.unwrap_or(i64::MAX)
    })
}
