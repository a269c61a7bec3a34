//! What a failed call to an API server means, and how it is said without repeating a secret.

use kube::{Error, client::AuthError, core::Status};

use crate::act::WriteError;

/// The reason that the API server gives where another field manager owns what is applied.
const OWNED: &str = "FieldManagerConflict";

/// Whether a call failed because its precondition no longer holds: the object is to be read again.
pub(super) fn is_race(status: &Status) -> bool {
    status.code == 409 && owners(status).is_empty()
}

/// The fields that others own, each with the manager that does.
pub(super) fn owners(status: &Status) -> Vec<Owner> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let of = |message: &'_ str| message.split('"').nth(1).map(str::to_owned);
    causes
        .filter(|cause| cause.reason == OWNED)
        .map(|cause| Owner {
            field: cause.field.clone(),
            manager: of(&cause.message).unwrap_or_else(|| cause.message.clone()),
        })
        .collect()
}

/// A field that another manager owns.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// The field's path, as the API server gives it.
    pub(super) field: String,
    /// The manager's name.
    pub(super) manager: String,
}

/// What a failed call of `verb` on `resource` (`deployments.apps in namespace shop`) means for a write.
pub(super) fn of_write(error: &Error, verb: &str, resource: &str) -> WriteError {
    let Error::Api(status) = error else {
        return WriteError::Unreachable(words(error));
    };
    let said = &status.message;
    match status.code {
        403 => WriteError::Refused(format!(
            "the API server forbids `{verb}` of {resource}: {said}; grant ringward's user that verb, \
             or change what forbids it"
        )),
        401 | 408 | 429 | 500.. => WriteError::Unreachable(words(error)),
        _ => WriteError::Refused(format!("the API server refuses `{verb}` of {resource}: {said}")),
    }
}

/// Whether the API server does not know who is asking.
pub(super) fn is_stranger(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 401)
}

/// The error in words.
///
/// An error of the credentials is not repeated: it may carry what a plugin printed, which is where
/// plugins print tokens.
pub(super) fn words(error: &Error) -> String {
    if is_stranger(error) {
        return "the API server does not accept the kubeconfig's credentials (401)".into();
    }
    if let Error::Api(status) = error {
        return format!("the API server answers {}: {}", status.code, status.message);
    }
    if let Error::Service(inner) = error { chain(inner.as_ref()) } else { chain(error) }
}

const CREDENTIALS: &str = "the kubeconfig's credentials could not be had; see what kubectl says with \
                           the same context";

/// The error and what it came from, each said once.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = String::new();
    let mut link = Some(error);
    while let Some(error) = link {
        if error.is::<AuthError>() {
            return CREDENTIALS.into();
        }
        let words = error.to_string();
        if !said.contains(&words) {
            if !said.is_empty() {
                said.push_str(": ");
            }
            said.push_str(&words);
        }
        link = error.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, json: serde_json::Value) -> Error {
        let mut status: Status = serde_json::from_value(json).unwrap();
        status.code = code;
        Error::Api(status.boxed())
    }

    fn refused(error: &Error) -> bool {
        match of_write(error, "patch", "deployments.apps in namespace shop") {
            WriteError::Refused(_) => true,
            WriteError::Unreachable(_) => false,
        }
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_will_not_is_refused() {
        let with = |code| status(code, serde_json::json!({"message": "m"}));
        for code in [400, 403, 404, 405, 413, 415, 422] {
            assert!(refused(&with(code)), "{code}");
        }
        for code in [401, 408, 429, 500, 502, 503, 504] {
            assert!(!refused(&with(code)), "{code}");
        }
        assert!(!refused(&Error::Service("connection refused".into())));
    }

    #[test]
    fn a_conflict_of_managers_is_told_from_a_race() {
        let owned = serde_json::json!({"reason": "Conflict", "message": "Apply failed", "details": {
            "causes": [{"reason": "FieldManagerConflict",
                "message": "conflict with \"helm\" using apps/v1",
                "field": ".spec.template.spec.containers[name=\"app\"].image"}]}});
        let Error::Api(owned) = status(409, owned) else { unreachable!() };
        assert!(!is_race(&owned));
        assert_eq!(owners(&owned)[0].manager, "helm");
        let race = serde_json::json!({"reason": "Conflict", "message": "the object has been modified",
            "details": {"name": "checkout"}});
        let Error::Api(race) = status(409, race) else { unreachable!() };
        assert!(is_race(&race));
    }

    #[test]
    fn what_a_credentials_plugin_printed_is_not_repeated() {
        let auth = || AuthError::AuthExec("token canary-7f3a".into());
        assert!(!words(&Error::Auth(auth())).contains("canary"));
        assert!(!words(&Error::Service(Box::new(auth()))).contains("canary"));
        assert!(!words(&Error::Service(Box::new(Error::Auth(auth())))).contains("canary"));
    }
}
