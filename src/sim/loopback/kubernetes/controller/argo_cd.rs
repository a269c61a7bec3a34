//! What Argo CD's controller does with the operations that are asked of it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Controller, pod, rfc3339};
use crate::{
    model::time::Now,
    sim::loopback::kubernetes::{controller::Conditions, store::Store},
};

/// The label that stands for a closed sync window, which in truth is a project's.
const WINDOW: &str = "sync-window";

/// The operation of an Application.
#[derive(Debug, Default)]
pub(super) struct Operation {
    /// What was asked for and is not over.
    asked: Option<Value>,
    /// What is told of the last one.
    state: Value,
    /// A window keeps it.
    blocked: bool,
}

impl Controller {
    /// Whether an Application asks for something that was not looked at, or nothing keeps it any more.
    pub(super) fn may_sync(&self, store: &Store) -> bool {
        let Some(stored) = store.get(&self.id) else { return false };
        let (object, operation) = (&stored.object, &self.operation);
        let asks = object["operation"].is_object() && operation.asked.is_none();
        let opened = operation.blocked && object["metadata"]["labels"][WINDOW] != "closed";
        let refresh = &object["metadata"]["annotations"]["argocd.argoproj.io/refresh"];
        asks || opened || refresh.is_string() || self.is_terminated(object)
    }

    fn is_terminated(&self, object: &Value) -> bool {
        let phase = object.pointer("/status/operationState/phase");
        self.operation.asked.is_some() && phase.is_some_and(|phase| phase == "Terminating")
    }

    /// Takes up what is asked for, and says whether that is to be rolled out.
    pub(super) fn sync(&mut self, store: &mut Store, world: &Conditions<'_>, now: Now) -> bool {
        let Some(stored) = store.get(&self.id) else { return false };
        let (object, at) = (stored.object.clone(), rfc3339(now.wall));
        store.take_annotation(&self.id, "argocd.argoproj.io/refresh");
        self.compared = object["spec"]["source"].clone();
        if self.operation.asked.is_none() && object["operation"].is_object() {
            self.operation.asked = Some(object["operation"].clone());
            self.operation.state = json!({"startedAt": at});
        }
        let Some(asked) = self.operation.asked.clone() else { return false };
        let source = object["spec"]["source"].clone();
        let end = |phase: &str, message: &str| {
            json!({
                "operation": asked, "phase": phase, "message": message,
                "startedAt": self.operation.state["startedAt"], "finishedAt": at,
                "syncResult": {"revision": "5d9", "source": source},
            })
        };
        self.operation.blocked = object["metadata"]["labels"][WINDOW] == "closed";
        let images = pod::images(&self.template(&object, None));
        let fault = images.iter().find_map(|(_, image)| (world.faults)(image));
        let (state, synced) = match fault {
            _ if self.is_terminated(&object) => (end("Failed", "Operation terminated"), false),
            _ if self.operation.blocked => {
                let mut state = end("Running", "Sync operation blocked by sync window");
                state.as_object_mut().map(|state| state.remove("finishedAt"));
                self.operation.state = state;
                return false;
            }
            Some(why) => (end("Failed", &why), false),
            None => (end("Succeeded", "successfully synced (all tasks run)"), true),
        };
        self.operation = Operation { asked: None, state, blocked: false };
        store.take_field(&self.id, "operation");
        synced
    }

    /// An Application's status, of which its generation says nothing.
    pub(super) fn application(&self, wall: Timestamp) -> Value {
        let name = &self.id.name;
        let (health, message) = if self.complete() {
            ("Healthy", String::new())
        } else if self.gave_up {
            ("Degraded", format!("Deployment \"{name}\" exceeded its progress deadline"))
        } else {
            ("Progressing", "Waiting for rollout to finish".to_owned())
        };
        let mut status = json!({
            "sync": {"status": "Synced", "revision": "5d9",
                "comparedTo": {"source": self.compared}},
            "health": {"status": health, "message": message},
            "reconciledAt": rfc3339(wall),
            "history": [{"id": self.releases, "revision": "5d9"}],
        });
        if self.operation.state.is_object() {
            status["operationState"] = self.operation.state.clone();
        }
        status
    }
}
