//! What the tests of all services share.

use serde_json::Value;

use super::*;
use crate::model::ring::TargetKind;

pub(super) const INTENT: &str = "checkout@2/eu/corp/1/deploy";
pub(super) const HEX: &str = "1111111111111111111111111111111111111111111111111111111111111111";
pub(super) const IMAGE: &str = "registry.example/shop/checkout@sha256:1111111111111111111111111111111111111111111111111111111111111111";

pub(super) fn image() -> Artifact {
    Artifact(IMAGE.into())
}

pub(super) fn webhook() -> TargetKind {
    TargetKind::Webhook { service: "desk".into() }
}

pub(super) fn target(kind: TargetKind, namespace: &str, name: &str) -> Target {
    Target { kind, namespace: namespace.into(), name: name.into() }
}

pub(super) fn note() -> Note {
    let release = Some("checkout@2".to_owned());
    Note { release, intent: Some(INTENT.into()), epoch: Some(7), ..Note::of(&"checkout".into()) }
}

/// An order of that image under that intent.
pub(super) fn order(instead_of: &[String]) -> Order<'_> {
    let image: &'static Artifact = Box::leak(Box::new(image()));
    let note: &'static Note = Box::leak(Box::new(note()));
    Order { image, hex: HEX, note, intent: INTENT, epoch: 7, instead_of }
}

pub(super) fn heard(status: u16, body: &Value) -> Heard {
    (status, body.to_string().into_bytes())
}

#[track_caller]
pub(super) fn done<T>(step: Result<Step<T>, Trouble>) -> T {
    match step {
        Ok(Step::Done(done)) => done,
        Ok(Step::Ask(more)) => panic!("asks {}", more.url),
        Err(trouble) => panic!("{trouble:?}"),
    }
}

#[track_caller]
pub(super) fn asked<T>(step: Result<Step<T>, Trouble>) -> Outgoing {
    match step {
        Ok(Step::Ask(more)) => *more,
        Ok(Step::Done(_)) => panic!("asks nothing more"),
        Err(trouble) => panic!("{trouble:?}"),
    }
}
