//! What is particular to each kind of target.

mod argo_application;
mod argo_rollout;
mod daemon_set;
mod deployment;
mod flagd_flag;
mod flagger_canary;
mod flux;
mod flux_helm_release;
mod flux_kustomization;
mod flux_oci_chart;
mod flux_oci_source;
mod kustomize;
#[cfg(test)]
mod sample;
mod stateful_set;
mod template;
mod values;

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::LabelSelector};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;

use self::{
    argo_application::ArgoApplication, argo_rollout::ArgoRollout, daemon_set::DaemonSet,
    deployment::Deployment, flagd_flag::FlagdFlag, flagger_canary::FlaggerCanary,
    flux_helm_release::FluxHelmRelease, flux_kustomization::FluxKustomization,
    flux_oci_chart::FluxOciChart, flux_oci_source::FluxOciSource, stateful_set::StatefulSet,
};
use super::{annotation, fields, pods};
use crate::{
    decide::event::{Pause, Status, TargetState},
    model::ring::{Artifact, Target, TargetKind},
};

/// How a kind of target is driven: a pure function of its objects, throughout.
pub(super) trait Kind: Send + Sync {
    /// The resource of the object that a plan names.
    fn resource(&self) -> ApiResource;

    /// The object that names the image, where that is another one.
    ///
    /// # Errors
    /// It names one that ringward cannot drive; in words that begin with a verb.
    fn carrier(&self, subject: &DynamicObject) -> Result<Option<Reference>, String> {
        let _ = subject;
        Ok(None)
    }

    /// Why nothing may be written, in words that begin with a verb and say what to do.
    fn refuses(&self, seen: &Seen, artifact: &Artifact) -> Option<String> {
        let _ = (seen, artifact);
        None
    }

    /// What has to end before anything is written.
    fn busy(&self, seen: &Seen) -> Option<Busy> {
        let _ = seen;
        None
    }

    /// The image that the carrier names.
    ///
    /// # Errors
    /// It names none in the place that was declared; in words that begin with a verb.
    fn image(&self, carrier: &DynamicObject) -> Result<Artifact, String>;

    /// What makes the carrier name another image; `token` is of this write alone.
    fn edit(&self, seen: &Seen, artifact: &Artifact, token: &str) -> Edit;

    /// What of a status without a generation tells what was there before the write from what comes of it; it
    /// is noted with the write.
    fn fence(&self, seen: &Seen, artifact: &Artifact) -> Option<String> {
        let _ = (seen, artifact);
        None
    }

    /// What its status subresource needs beside, as a merge patch, for the write to be taken up.
    fn nudge(&self, seen: &Seen, artifact: &Artifact) -> Option<Value> {
        let _ = (seen, artifact);
        None
    }

    /// How far its controller is, by its own figures.
    fn progress(&self, seen: &Seen) -> Progress;

    /// The pause of its controller's own that it stands at, where somebody's word ends it and nothing else.
    fn pause(&self, seen: &Seen) -> Option<Standing> {
        let _ = seen;
        None
    }

    /// What tells one deploy of the same image from the next.
    fn revision(&self, seen: &Seen) -> Option<String>;

    /// Its pods, where it has any of its own.
    fn workers(&self, seen: &Seen) -> Option<Workers>;

    /// Whom to ask whether it serves what it says, once it is stored.
    fn probe(&self, seen: &Seen) -> Option<Probe> {
        let _ = seen;
        None
    }

    /// What a person could do about pods that are not ready.
    fn advice(&self, seen: &Seen, pods: &[&Pod]) -> Option<String> {
        let _ = (seen, pods);
        None
    }
}

/// The kind that drives a target; nothing where it is in no cluster.
pub(super) fn of(kind: &TargetKind) -> Option<Arc<dyn Kind>> {
    Some(match kind {
        TargetKind::Deployment { container } => {
            Arc::new(Deployment { container: container.clone() })
        }
        TargetKind::StatefulSet { container } => {
            Arc::new(StatefulSet { container: container.clone() })
        }
        TargetKind::DaemonSet { container } => Arc::new(DaemonSet { container: container.clone() }),
        TargetKind::ArgoRollout { container } => {
            Arc::new(ArgoRollout { container: container.clone() })
        }
        TargetKind::FlaggerCanary { container } => {
            Arc::new(FlaggerCanary { container: container.clone() })
        }
        TargetKind::ArgoApplication { image, source } => {
            Arc::new(ArgoApplication { image: image.clone(), source: source.clone() })
        }
        TargetKind::FluxKustomization { image } => {
            Arc::new(FluxKustomization { image: image.clone() })
        }
        TargetKind::FluxOciSource => Arc::new(FluxOciSource),
        TargetKind::FluxOciChart => Arc::new(FluxOciChart),
        TargetKind::FluxHelmRelease { values } => {
            Arc::new(FluxHelmRelease { values: values.clone() })
        }
        TargetKind::FlagdFlag { flag, file, only, probe, cleanup_after: _ } => {
            Arc::new(FlagdFlag {
                flag: flag.clone(),
                file: file.clone(),
                only: only.clone(),
                probe: probe.clone(),
            })
        }
        TargetKind::UnleashFlag { .. }
        | TargetKind::LaunchDarklyFlag { .. }
        | TargetKind::FlagsmithFlag { .. }
        | TargetKind::CodeDeploy { .. }
        | TargetKind::CloudDeploy { .. }
        | TargetKind::Spinnaker { .. }
        | TargetKind::Harness { .. }
        | TargetKind::Webhook { .. } => return None,
    })
}

/// What is said of a target that is in no cluster.
pub(super) fn stranger(target: &Target) -> String {
    format!("{target} is in no cluster")
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// An object in the target's namespace.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reference {
    pub(super) resource: ApiResource,
    pub(super) name: String,
}

impl Reference {
    /// As kubectl takes it: `deployment/checkout`, `rollouts.argoproj.io/checkout`.
    pub(super) fn kubectl(&self) -> String {
        let ApiResource { group, kind, plural, .. } = &self.resource;
        match group.as_str() {
            "" | "apps" => format!("{}/{}", kind.to_lowercase(), self.name),
            _ => format!("{plural}.{group}/{}", self.name),
        }
    }
}

/// What there is of a target.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// The object that the plan names.
    pub(super) subject: DynamicObject,
    /// The object that names the image, where it is another.
    pub(super) other: Option<DynamicObject>,
}

impl Seen {
    /// The object that names the image, and is written to.
    pub(super) fn carrier(&self) -> &DynamicObject {
        self.other.as_ref().unwrap_or(&self.subject)
    }
}

/// Something under way that a write would be lost beside.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Busy {
    /// What it is, in words.
    pub(super) why: String,
    /// What ends it, as a merge patch, where it is ours to end.
    pub(super) clear: Option<Value>,
}

/// A question to whoever serves a feature flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Probe {
    /// The probe of the connection that is asked.
    pub(super) name: String,
    /// The flag's key.
    pub(super) flag: String,
    /// What is said of whoever asks.
    pub(super) context: BTreeMap<String, String>,
    /// The variants that may be answered; nothing where any may.
    pub(super) served: Option<Vec<String>>,
}

/// What makes an object name another image.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Edit {
    /// Fields that the API server tells apart, to be applied; it says who else owns them. `image` is how
    /// the paths of those begin and end that may be taken over.
    Apply {
        /// The fields, without the metadata.
        fields: Value,
        /// The beginning and the end of the image's path.
        image: (&'static str, &'static str),
    },
    /// Fields inside a list that the API server may own as a whole, so that to apply one item would be to
    /// drop all others: a merge patch with the list as it is but for the image. Whose it is, is read from
    /// `managedFields`.
    Merge {
        /// The fields, without the metadata.
        fields: Value,
        /// The paths by which somebody may own what changes.
        paths: Vec<Vec<String>>,
    },
}

/// A controller that waits for somebody's word.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Standing {
    /// Where.
    pub(super) pause: Pause,
    /// What gives it, as a merge patch of the status of the object that the plan names.
    pub(super) word: Value,
}

/// How far a controller is, by its own figures.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Progress {
    /// The pods can add nothing.
    Other(Status),
    /// It works on it; what ails a pod says why it takes long.
    NotReady(String),
    /// It gave up; what ails a pod says why.
    Failed(String),
    /// All replicas are there and ready: the pods say what they run.
    AllReady,
}

impl Progress {
    fn progressing(words: impl Into<String>) -> Self {
        Progress::Other(Status::Progressing(words.into()))
    }

    fn unknown(words: impl Into<String>) -> Self {
        Progress::Other(Status::Unknown(words.into()))
    }

    fn asks_pods(&self) -> bool {
        !matches!(self, Progress::Other(_))
    }
}

/// The pods of a target.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Workers {
    /// What finds them, and may find those of others too.
    pub(super) selector: LabelSelector,
    /// The container whose image counts.
    pub(super) container: String,
    /// How many there are to be.
    pub(super) wanted: i64,
    /// Whose they are.
    pub(super) owner: Owner,
}

/// The controller of a pod: the selector alone would also find pods that somebody else made with the same
/// labels.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Owner {
    /// This object itself.
    Itself {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A ReplicaSet of the object of this name, which is called by the hash in the pod's own label.
    ReplicaSet {
        /// The object's name.
        of: String,
        /// The label with the hash.
        label: &'static str,
        /// The only hash that counts, where others may stay for a while.
        hash: Option<String>,
    },
}

/// Whether the state depends on the pods.
pub(super) fn asks_pods(kind: &dyn Kind, seen: &Seen) -> bool {
    kind.progress(seen).asks_pods() && kind.workers(seen).is_some()
}

/// When the pods are looked at again while the object stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// They say nothing that the object does not.
    Never,
    /// They alone keep it from Succeeded, or one of them may come to say why it is not ready.
    Soon,
    /// All is well, and they may be exchanged for others without their owner's saying so.
    Later,
}

/// When the pods are looked at again, given the state that they make.
pub(super) fn again(kind: &dyn Kind, seen: &Seen, state: &TargetState) -> Again {
    match kind.progress(seen) {
        Progress::AllReady if state.status == Status::Succeeded => match kind.workers(seen) {
            Some(_) => Again::Later,
            None => Again::Never,
        },
        Progress::AllReady | Progress::NotReady(_) => Again::Soon,
        Progress::Failed(_) | Progress::Other(_) => Again::Never,
    }
}

/// The target's state. `pods` are those that the selector finds; they are looked at where [`asks_pods`]
/// says so.
pub(super) fn read(kind: &dyn Kind, seen: &Seen, pods: &[Pod]) -> TargetState {
    let intent = fields::annotation(seen.carrier(), annotation::INTENT).map(Into::into);
    let image = match kind.image(seen.carrier()) {
        Ok(image) => image,
        Err(why) => {
            let why = format!("the {} {why}", kind.resource().kind);
            return TargetState { intent, ..TargetState::unknown(why) };
        }
    };
    let workers = kind.workers(seen);
    let own = |pod: &&Pod| workers.as_ref().is_some_and(|workers| pods::is_of(pod, &workers.owner));
    let pods: Vec<&Pod> = pods.iter().filter(own).collect();
    let explain = |words: String| {
        let words = pods::with_trouble(words, &pods);
        match kind.advice(seen, &pods) {
            Some(advice) => format!("{words}; {advice}"),
            None => words,
        }
    };
    let (status, image) = match (kind.progress(seen), &workers) {
        (Progress::Other(status), _) => (status, image),
        (Progress::NotReady(words), _) => (Status::Progressing(explain(words)), image),
        (Progress::Failed(words), _) => (Status::Failed(explain(words)), image),
        (Progress::AllReady, Some(Workers { container, wanted, .. })) => {
            pods::confirm(image, container, *wanted, &pods)
        }
        (Progress::AllReady, None) => (Status::Succeeded, image),
    };
    let ready_since = (status == Status::Succeeded).then(|| pods::ready_since(&pods)).flatten();
    let revision = kind.revision(seen);
    let standing = kind.pause(seen).filter(|_| status == Status::Paused);
    let pause = standing.map(|standing| standing.pause);
    TargetState { status, image: Some(image), intent, revision, ready_since, pause }
}
