//! What the API server says when it refuses: `Status` objects.

use std::collections::BTreeSet;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::store::Kind;

/// A refusal, in the words and the shape that Kubernetes has for it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    code: StatusCode,
    reason: &'static str,
    message: String,
    details: Value,
}

impl Failure {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Value::Null }
    }

    fn with(self, details: Value) -> Self {
        Self { details, ..self }
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// Whoever asks has not been granted that verb on cluster-wide objects.
    pub(super) fn no_permission(verb: &str, resource: &str) -> Self {
        let message = format!(
            "{resource} is forbidden: User \"ringward\" cannot {verb} resource \"{resource}\" in \
             API group \"\" at the cluster scope"
        );
        let details = json!({"kind": resource});
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).with(details)
    }

    pub(super) fn not_found(kind: Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", kind.qualified());
        let details = json!({"name": name, "group": kind.group(), "kind": kind.plural()});
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).with(details)
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    pub(super) fn unsupported_media_type() -> Self {
        let message = "415: Unsupported Media Type";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// The object is not the one that the writer saw.
    pub(super) fn modified(kind: Kind, name: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": the object has been modified; \
             please apply your changes to the latest version and try again",
            kind.qualified()
        );
        let details = json!({"name": name, "group": kind.group(), "kind": kind.plural()});
        Self::new(StatusCode::CONFLICT, "Conflict", message).with(details)
    }

    /// Fields belong to other managers; each with the manager and the field's path.
    pub(super) fn owned_by_others(conflicts: &[(String, String)]) -> Self {
        let message = match conflicts {
            [(manager, field)] => {
                format!("Apply failed with 1 conflict: conflict with {manager}: {field}")
            }
            many => {
                let mut lines: Vec<String> = Vec::new();
                let managers: BTreeSet<_> = many.iter().map(|(manager, _)| manager).collect();
                for manager in managers {
                    lines.push(format!("conflicts with {manager}:"));
                    let fields = many.iter().filter(|(m, _)| m == manager);
                    lines.extend(fields.map(|(_, field)| format!("- {field}")));
                }
                format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
            }
        };
        let cause = |(manager, field): &(String, String)| {
            let message = format!("conflict with {manager}");
            json!({"reason": "FieldManagerConflict", "message": message, "field": field})
        };
        let causes: Vec<_> = conflicts.iter().map(cause).collect();
        Self::new(StatusCode::CONFLICT, "Conflict", message).with(json!({"causes": causes}))
    }

    /// One field of an object will not do.
    pub(super) fn invalid(object: (&str, &str, &str), field: &str, why: &str) -> Self {
        let (group, kind, name) = object;
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let required = why.starts_with("Required");
        let reason = if required { "FieldValueRequired" } else { "FieldValueInvalid" };
        let message = format!("{qualified} \"{name}\" is invalid: {field}: {why}");
        let causes = json!([{"reason": reason, "message": why, "field": field}]);
        let details = json!({"name": name, "group": group, "kind": kind, "causes": causes});
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).with(details)
    }

    /// Nothing can be created here: the fleet is what it is.
    pub(super) fn no_creation(kind: Kind, name: &str) -> Self {
        let message = format!(
            "{} \"{name}\" is forbidden: this simulated cluster has the objects it began with, \
             and creates no others",
            kind.qualified()
        );
        let details = json!({"name": name, "group": kind.group(), "kind": kind.plural()});
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).with(details)
    }

    /// A watch asks for what is no longer remembered.
    pub(super) fn expired(asked: u64, oldest: u64) -> Self {
        let message = format!("too old resource version: {asked} ({oldest})");
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// The `Status` object, as it also stands in a watch's `ERROR` event.
    pub(super) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code.as_u16(),
        });
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.code, Json(self.status())).into_response()
    }
}
