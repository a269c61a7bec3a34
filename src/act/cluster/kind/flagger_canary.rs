//! `flagger.app/v1beta1` Canary over a Deployment.
//!
//! Its status names no generation. A write is fenced by `status.lastAppliedSpec` as it was before it, and in the
//! end the primary's pods say what runs: when the template goes back to what was promoted, Flagger takes that
//! for a rollback by hand and leaves its status as it was, failed.

use kube::core::{ApiResource, DynamicObject};
use serde_json::json;

use super::{
    Edit, Kind, Owner, Progress, Reference, Seen, Workers,
    fields::{self, Condition},
    resource, template,
};
use crate::{act::cluster::annotation, decide::event::Status, model::ring::Artifact};

/// The labels by one of which Flagger tells the primary's pods from the canary's.
const SELECTORS: [&str; 3] = ["app", "name", "app.kubernetes.io/name"];

/// What makes a template another one to Flagger, which does nothing about one that has failed before.
const ATTEMPT: &str = "ringward.dev/attempt";

/// The image of one container of the Deployment that a Canary is over.
pub(super) struct FlaggerCanary {
    pub(super) container: String,
}

impl Kind for FlaggerCanary {
    fn resource(&self) -> ApiResource {
        resource("flagger.app", "v1beta1", "Canary", "canaries")
    }

    fn carrier(&self, canary: &DynamicObject) -> Result<Option<Reference>, String> {
        let text = |field: &str| {
            fields::text(canary, &format!("/spec/targetRef/{field}")).unwrap_or_default()
        };
        if (text("apiVersion"), text("kind")) != ("apps/v1", "Deployment") {
            return Err(format!(
                "is over a {}, which ringward does not drive: let its `targetRef` name a Deployment",
                text("kind")
            ));
        }
        let name = text("name").to_owned();
        Ok(Some(Reference { resource: resource("apps", "v1", "Deployment", "deployments"), name }))
    }

    fn image(&self, carrier: &DynamicObject) -> Result<Artifact, String> {
        template::image(carrier, &self.container)
    }

    fn edit(&self, seen: &Seen, artifact: &Artifact, token: &str) -> Edit {
        let mut edit = template::apply(&self.container, artifact);
        if let Edit::Apply { fields, .. } = &mut edit
            && self.is_old_news(seen, artifact)
        {
            fields["spec"]["template"]["metadata"] = json!({"annotations": {ATTEMPT: token}});
        }
        edit
    }

    fn fence(&self, seen: &Seen, artifact: &Artifact) -> Option<String> {
        let same = self.image(seen.carrier()).is_ok_and(|image| &image == artifact);
        let applied = fields::text(&seen.subject, "/status/lastAppliedSpec").unwrap_or_default();
        // The same template again is no news to Flagger: there is nothing to wait for. Where that is the way
        // back, what failed before it has still not failed of it.
        let fenced = !same || is_back(seen) || self.is_old_news(seen, artifact);
        fenced.then(|| applied.to_owned())
    }

    fn progress(&self, seen: &Seen) -> Progress {
        let canary = &seen.subject;
        if let Some(why) = fields::deleted(canary, "Canary") {
            return Progress::unknown(why);
        }
        if fields::yes(canary, "/spec/suspend") {
            return Progress::Other(Status::Paused);
        }
        let said = |field: &str| fields::text(canary, field).unwrap_or_default();
        let applied = said("/status/lastAppliedSpec");
        let fence = fence(seen);
        let words = || {
            let promoted = Condition::of(canary, "Promoted");
            promoted.map(Condition::words).unwrap_or_default()
        };
        match said("/status/phase") {
            // Not looked at since the write: the primary runs what it did, and its pods say whether that is it.
            "Succeeded" | "Failed" if fence == Some(applied) => Progress::AllReady,
            "Succeeded" | "Initialized" if applied == said("/status/lastPromotedSpec") => {
                Progress::AllReady
            }
            "Initialized" => Progress::AllReady,
            "Succeeded" => Progress::progressing("what was applied is not what was promoted"),
            "Failed" => Progress::Failed(format!("the canary failed: {}", words())),
            "" => Progress::Other(Status::Pending),
            "Waiting" | "WaitingPromotion" => Progress::Other(Status::Paused),
            phase @ ("Initializing" | "Progressing" | "Promoting" | "Finalising") => {
                let weight = fields::number(canary, "/status/canaryWeight").unwrap_or(0);
                let words = words();
                Progress::progressing(format!("{phase}, {weight}% of the traffic: {words}"))
            }
            phase @ ("Terminating" | "Terminated") => {
                Progress::unknown(format!("the Canary is {}", phase.to_lowercase()))
            }
            other => Progress::unknown(format!("its phase `{other}` is none that ringward knows")),
        }
    }

    fn revision(&self, seen: &Seen) -> Option<String> {
        fields::text(&seen.subject, "/status/lastPromotedSpec").map(Into::into)
    }

    fn workers(&self, seen: &Seen) -> Option<Workers> {
        let deployment = seen.carrier();
        let mut selector = template::selector(deployment);
        let labels = selector.match_labels.take()?;
        let (label, value) =
            SELECTORS.iter().find_map(|label| Some((*label, labels.get(*label)?)))?;
        selector.match_labels = Some([(label.to_owned(), format!("{value}-primary"))].into());
        Some(Workers {
            selector,
            container: self.container.clone(),
            // Its own autoscaler may have another mind than the canary's replicas.
            wanted: 1,
            owner: Owner::ReplicaSet {
                of: format!("{}-primary", deployment.metadata.name.as_ref()?),
                label: "pod-template-hash",
                hash: None,
            },
        })
    }
}

impl FlaggerCanary {
    /// Whether the template with that image may be the one that Flagger has failed last: the one that is there,
    /// or any other where what was promoted is back. A way back has to be the promoted template to the letter,
    /// so that Flagger leaves it alone.
    fn is_old_news(&self, seen: &Seen, artifact: &Artifact) -> bool {
        let same = self.image(seen.carrier()).is_ok_and(|image| &image == artifact);
        let failed = fields::text(&seen.subject, "/status/phase") == Some("Failed");
        failed && same != is_back(seen)
    }
}

/// Whether what was promoted is back, as far as Flagger has told: it has taken up nothing since the write. A
/// template that is marked is another attempt, which it has yet to see.
fn is_back(seen: &Seen) -> bool {
    let annotations = seen.carrier().data.pointer("/spec/template/metadata/annotations");
    let marked = annotations.is_some_and(|annotations| annotations.get(ATTEMPT).is_some());
    let fence = fence(seen);
    !marked && fence.is_some() && fence == fields::text(&seen.subject, "/status/lastAppliedSpec")
}

/// What Flagger had applied before the write that is there.
fn fence(seen: &Seen) -> Option<&str> {
    fields::annotation(seen.carrier(), annotation::FENCE)
}

#[cfg(test)]
mod tests;
