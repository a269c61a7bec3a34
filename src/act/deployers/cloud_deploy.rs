//! Google Cloud Deploy, by its REST API (v1): a rollout of a release to a target of a delivery pipeline.
//!
//! The settings' URL ends with project and location. A release is made once for an image (its id is made of plan, image
//! and the configuration that it is rendered from), and rolled out to as many targets as there are: the way back is
//! a rollout of the release of before, rendered as it was. A rollout's id is made of the write that it is for, so that
//! a repeat is one (409); what is noted are its annotations.

use std::collections::BTreeMap;

use reqwest::Url;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    Api, Heard, Order, Outgoing, Place, RUNS, Run, Step, Trouble, Which, ask, failed, trouble,
    unheard,
};
use crate::{act::note::Note, decide::event::Status, ids::hex, model::ring::Artifact};

/// Cloud Deploy, for what goes by one image.
pub(super) struct CloudDeploy {
    /// What the image is called in the manifests.
    pub(super) image: String,
    /// The archive of what releases are rendered from, in Cloud Storage.
    pub(super) source: String,
}

/// The annotations' prefix.
const OURS: &str = "ringward.dev/";
/// The releases that are looked at to see what rollouts bring.
const RELEASES: usize = 3;

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    rollouts: Vec<Rollout>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rollout {
    name: String,
    state: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    failure_reason: Option<String>,
    deploy_failure_cause: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Release {
    #[serde(default)]
    build_artifacts: Vec<BuildArtifact>,
}

#[derive(Deserialize)]
struct BuildArtifact {
    image: String,
    tag: String,
}

impl Rollout {
    /// Its release's id and its own.
    fn ids(&self) -> Option<(&str, &str)> {
        let (_, rest) = self.name.split_once("/releases/")?;
        rest.split_once("/rollouts/")
    }

    fn run(&self, image: Option<Artifact>) -> Run {
        let status = match self.state.as_str() {
            "PENDING" | "PENDING_RELEASE" => Status::Pending,
            "IN_PROGRESS" | "CANCELLING" => Status::Progressing(self.state.clone()),
            "PENDING_APPROVAL" => Status::Paused,
            "SUCCEEDED" => Status::Succeeded,
            "FAILED" | "APPROVAL_REJECTED" | "CANCELLED" => {
                let why = self.failure_reason.as_deref().filter(|why| !why.is_empty());
                failed(&self.state, why.or(self.deploy_failure_cause.as_deref()))
            }
            other => unheard(other),
        };
        let said = |name: &str| self.annotations.get(&format!("{OURS}{name}")).cloned();
        let note = said("managed-by").map(|plan| Note {
            release: said("release"),
            intent: said("intent"),
            epoch: said("epoch").map(|epoch| epoch.parse().unwrap_or(u64::MAX)),
            ..Note::of(&plan.into())
        });
        let id = self.ids().map(|(release, rollout)| format!("{release}/{rollout}"));
        Run { id: id.unwrap_or_else(|| self.name.clone()), status, image, note }
    }
}

impl CloudDeploy {
    /// The releases of those rollouts whose image matters: the newest, and what succeeded last.
    fn releases<'r>(&self, rollouts: &'r [Rollout], which: Which<'_>) -> Vec<&'r str> {
        let newest = rollouts.iter().take(1);
        let succeeded = rollouts.iter().filter(|rollout| rollout.state == "SUCCEEDED");
        let succeeded = succeeded.take(match which {
            Which::Newest => RELEASES - 1,
            Which::Last | Which::One(_) => 0,
        });
        let mut releases = Vec::new();
        for (release, _) in newest.chain(succeeded).filter_map(Rollout::ids) {
            if !releases.contains(&release) {
                releases.push(release);
            }
        }
        releases
    }

    fn image(&self, answer: &Heard) -> Result<Option<Artifact>, Trouble> {
        if answer.0 == 404 {
            return Ok(None);
        }
        let Release { build_artifacts } = read(answer)?;
        let ours = build_artifacts.into_iter().find(|artifact| artifact.image == self.image);
        Ok(ours.map(|artifact| Artifact(artifact.tag)))
    }

    /// The id of the release of an image.
    fn release(&self, order: &Order<'_>) -> String {
        let Order { image, note, .. } = order;
        id(&[note.plan.as_str(), &self.image, &image.0, &self.source])
    }
}

impl Api for CloudDeploy {
    fn look(
        &self,
        place: Place<'_>,
        which: Which<'_>,
        heard: &[Heard],
    ) -> Result<Step<Vec<Run>>, Trouble> {
        let Some((first, more)) = heard.split_first() else {
            return ask(match which {
                Which::One(id) => {
                    let (release, rollout) = id.split_once('/').unwrap_or(("-", id));
                    Outgoing::get(beneath(place, &["releases", release, "rollouts", rollout]))
                }
                Which::Newest | Which::Last => {
                    let mut url = beneath(place, &["releases", "-", "rollouts"]);
                    url.query_pairs_mut()
                        .append_pair("filter", &format!("targetId=\"{}\"", place.target.name))
                        .append_pair("orderBy", "createTime desc")
                        .append_pair("pageSize", &RUNS.to_string());
                    Outgoing::get(url)
                }
            });
        };
        let rollouts = match which {
            Which::One(_) => vec![read(first)?],
            Which::Newest | Which::Last => read::<Listed>(first)?.rollouts,
        };
        if rollouts.is_empty() {
            // Of a pipeline that is not there, none are listed.
            return match more.first() {
                None => ask(Outgoing::get(beneath(place, &[]))),
                Some(pipeline) => read::<serde_json::Value>(pipeline).map(|_| Step::Done(vec![])),
            };
        }
        let releases = self.releases(&rollouts, which);
        if let Some(next) = releases.get(more.len()) {
            return ask(Outgoing::get(beneath(place, &["releases", next])));
        }
        let mut images = BTreeMap::new();
        for (release, answer) in releases.into_iter().zip(more) {
            images.insert(release, self.image(answer)?);
        }
        let image = |rollout: &Rollout| {
            let (release, _) = rollout.ids()?;
            images.get(release).cloned().flatten()
        };
        Ok(Step::Done(rollouts.iter().map(|rollout| rollout.run(image(rollout))).collect()))
    }

    fn start(
        &self,
        place: Place<'_>,
        order: &Order<'_>,
        heard: &[Heard],
    ) -> Result<Step<String>, Trouble> {
        let release = self.release(order);
        let rollout = id(&[order.intent]);
        match heard {
            [] => {
                let mut url = beneath(place, &["releases"]);
                url.query_pairs_mut().append_pair("releaseId", &release);
                let body = json!({
                    "buildArtifacts": [{"image": self.image, "tag": order.image}],
                    "skaffoldConfigUri": self.source,
                });
                ask(Outgoing::post(url, "application/json", body.to_string()))
            }
            [made] => {
                made_or_there(made)?;
                let mut url = beneath(place, &["releases", &release, "rollouts"]);
                url.query_pairs_mut().append_pair("rolloutId", &rollout);
                let said = [
                    ("managed-by", order.note.plan.to_string()),
                    ("release", order.note.release.clone().unwrap_or_default()),
                    ("intent", order.intent.to_owned()),
                    ("epoch", order.epoch.to_string()),
                    ("digest", order.image.digest().unwrap_or_default().to_owned()),
                ];
                let said = said.map(|(name, value)| (format!("{OURS}{name}"), value));
                let annotations = BTreeMap::from(said);
                let body = json!({"targetId": place.target.name, "annotations": annotations});
                ask(Outgoing::post(url, "application/json", body.to_string()))
            }
            [_, made, ..] => {
                made_or_there(made).map_err(|trouble| match trouble {
                    // The release is asked for and takes its time.
                    Trouble::Gone => Trouble::Unreachable("its release is not there yet".into()),
                    Trouble::Refused(_) | Trouble::Unreachable(_) => trouble,
                })?;
                Ok(Step::Done(format!("{release}/{rollout}")))
            }
        }
    }

    fn stop(&self, place: Place<'_>, run: &Run) -> Option<Outgoing> {
        let (release, rollout) = run.id.split_once('/')?;
        let cancel = format!("{rollout}:cancel");
        let url = beneath(place, &["releases", release, "rollouts", &cancel]);
        Some(Outgoing::post(url, "application/json", "{}".into()))
    }
}

/// A path beneath the target's pipeline.
fn beneath(place: Place<'_>, more: &[&str]) -> Url {
    let mut url = place.base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["deliveryPipelines", &place.target.namespace]).extend(more);
    }
    url
}

/// An id as resources have them: 63 letters, digits and hyphens at the most, a letter first.
fn id(of: &[&str]) -> String {
    let digest = Sha256::digest(of.join("\n"));
    format!("rw-{}", hex(&digest[..20]))
}

#[derive(Deserialize)]
struct Answer {
    error: Error,
}

#[derive(Deserialize)]
struct Error {
    status: Option<String>,
}

/// The kind of an error, such as `ALREADY_EXISTS`.
fn kind(body: &[u8]) -> Option<String> {
    serde_json::from_slice(body).ok().and_then(|Answer { error }| error.status)
}

/// What was answered.
fn read<'b, T: Deserialize<'b>>((status, body): &'b Heard) -> Result<T, Trouble> {
    if *status == 200 {
        let none = |_| Trouble::Unreachable("the answer is none of Cloud Deploy's".into());
        return serde_json::from_slice(body).map_err(none);
    }
    match kind(body).as_deref() {
        // A pipeline that is suspended, or a release that is not rendered.
        Some(word @ ("FAILED_PRECONDITION" | "RESOURCE_EXHAUSTED" | "ABORTED")) => {
            Err(Trouble::Unreachable(format!("HTTP {status}, {word}")))
        }
        word => Err(trouble(*status, word)),
    }
}

/// Whether what was asked for is made, now or before.
fn made_or_there(answer: &Heard) -> Result<(), Trouble> {
    let (status, body) = answer;
    if *status == 409 && kind(body).as_deref() == Some("ALREADY_EXISTS") {
        return Ok(());
    }
    read::<serde_json::Value>(answer).map(|_| ())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{super::tests::*, *};
    use crate::model::ring::{Target, TargetKind};

    const AT: &str = "https://clouddeploy.googleapis.com/v1/projects/shop/locations/europe-west1";
    const NAME: &str = "projects/1234/locations/europe-west1/deliveryPipelines/checkout/releases";

    fn cloud_deploy() -> (CloudDeploy, Url, Target) {
        let (image, source) = ("app".to_owned(), "gs://shop/checkout.tar.gz".to_owned());
        let api = CloudDeploy { image: image.clone(), source: source.clone() };
        let kind = TargetKind::CloudDeploy { service: "google".into(), image, source };
        (api, Url::parse(AT).unwrap(), target(kind, "checkout", "production"))
    }

    fn rollout(name: &str, state: &str) -> Value {
        let (release, rollout) = name.split_once('/').unwrap();
        json!({"name": format!("{NAME}/{release}/rollouts/{rollout}"), "uid": "1f", "targetId": "production", "state": state,
            "createTime": "2026-11-02T08:00:00Z", "failureReason": "no\nroom", "annotations": {
                "ringward.dev/managed-by": "checkout", "ringward.dev/release": "checkout@2",
                "ringward.dev/intent": INTENT, "ringward.dev/epoch": "7"}})
    }

    fn release(tag: &str) -> Value {
        json!({"buildArtifacts": [{"image": "sidecar", "tag": "s:1"}, {"image": "app", "tag": tag}],
            "renderState": "SUCCEEDED"})
    }

    #[test]
    fn rollouts_of_a_target_are_read_with_the_images_of_their_releases() {
        let (api, base, target) = cloud_deploy();
        let place = Place { base: &base, target: &target };
        let look = |which, heard: &[Heard]| api.look(place, which, heard);
        let list = asked(look(Which::Newest, &[]));
        assert_eq!(
            list.url.as_str(),
            format!(
                "{AT}/deliveryPipelines/checkout/releases/-/rollouts?filter=targetId%3D%22production%22\
                 &orderBy=createTime+desc&pageSize=20"
            )
        );
        let mut by_hand = rollout("v1/v1-to-production-0001", "SUCCEEDED");
        by_hand["annotations"] = json!({});
        let listed = heard(200, &json!({"rollouts": [rollout("r2/a", "IN_PROGRESS"), by_hand]}));
        let next = asked(look(Which::Newest, std::slice::from_ref(&listed)));
        assert!(
            next.url.as_str().ends_with("/deliveryPipelines/checkout/releases/r2"),
            "{}",
            next.url
        );
        let two = heard(200, &release(IMAGE));
        let next = asked(look(Which::Newest, &[listed.clone(), two.clone()]));
        assert!(next.url.as_str().ends_with("/releases/v1"), "{}", next.url);
        let one = heard(200, &release("app:1"));
        let runs = done(look(Which::Newest, &[listed.clone(), two.clone(), one]));
        assert_eq!(runs[0].id, "r2/a");
        assert_eq!(
            (runs[0].note.as_ref(), runs[0].image.as_ref()),
            (Some(&note()), Some(&image()))
        );
        assert_eq!((&runs[1].note, &runs[1].image), (&None, &Some(Artifact("app:1".into()))));
        // A watch asks for no more than it tells, and a release may be gone.
        assert_eq!(done(look(Which::Last, &[listed.clone(), two])).len(), 2);
        assert_eq!(done(look(Which::Last, &[listed, heard(404, &json!({}))]))[0].image, None);
        let alone = heard(200, &rollout("r2/a", "SUCCEEDED"));
        assert!(
            asked(look(Which::One("r2/a"), &[])).url.as_str().ends_with("/releases/r2/rollouts/a")
        );
        let runs = done(look(Which::One("r2/a"), &[alone, heard(200, &release(IMAGE))]));
        assert_eq!((runs[0].image.as_ref(), &runs[0].status), (Some(&image()), &Status::Succeeded));
    }

    #[test]
    fn a_pipeline_without_rollouts_is_one_that_is_there() {
        let (api, base, target) = cloud_deploy();
        let look = |heard: &[Heard]| {
            api.look(Place { base: &base, target: &target }, Which::Newest, heard)
        };
        let none = heard(200, &json!({}));
        let ask = asked(look(std::slice::from_ref(&none)));
        assert!(ask.url.as_str().ends_with("/deliveryPipelines/checkout"));
        assert_eq!(done(look(&[none.clone(), heard(200, &json!({"name": "x"}))])), []);
        let gone = json!({"error": {"code": 404, "message": "canary-51", "status": "NOT_FOUND"}});
        assert_eq!(look(&[none, heard(404, &gone)]).unwrap_err(), Trouble::Gone);
    }

    #[test]
    fn every_state_is_what_it_says() {
        let read = |state: &str| {
            serde_json::from_value::<Rollout>(rollout("r/a", state)).unwrap().run(None).status
        };
        assert_eq!((read("PENDING"), read("PENDING_RELEASE")), (Status::Pending, Status::Pending));
        assert!(matches!(read("IN_PROGRESS"), Status::Progressing(_)));
        assert!(matches!(read("CANCELLING"), Status::Progressing(_)));
        assert_eq!(
            (read("PENDING_APPROVAL"), read("SUCCEEDED")),
            (Status::Paused, Status::Succeeded)
        );
        assert_eq!(read("FAILED"), Status::Failed("its run is FAILED: no room".into()));
        for over in ["APPROVAL_REJECTED", "CANCELLED"] {
            assert!(matches!(read(over), Status::Failed(_)), "{over}");
        }
        for odd in ["HALTED", "STATE_UNSPECIFIED", "NEW"] {
            assert!(matches!(read(odd), Status::Unknown(_)), "{odd}");
        }
    }

    #[test]
    fn a_release_is_made_once_and_a_rollout_once_for_each_write() {
        let (api, base, target) = cloud_deploy();
        let place = Place { base: &base, target: &target };
        let start = |heard: &[Heard]| api.start(place, &order(&[]), heard);
        let make = asked(start(&[]));
        let (_, id) = make.url.as_str().split_once("/releases?releaseId=").unwrap();
        assert!(id.starts_with("rw-") && id.len() <= 63, "{id}");
        let body: Value = serde_json::from_str(&make.body.unwrap()).unwrap();
        assert_eq!(
            body,
            json!({"buildArtifacts": [{"image": "app", "tag": IMAGE}],
                "skaffoldConfigUri": "gs://shop/checkout.tar.gz"})
        );
        let there = json!({"error": {"code": 409, "message": "x", "status": "ALREADY_EXISTS"}});
        for made in [heard(200, &json!({"name": "operations/1"})), heard(409, &there)] {
            let roll = asked(start(std::slice::from_ref(&made)));
            assert!(roll.url.as_str().contains(&format!("/releases/{id}/rollouts?rolloutId=rw-")));
            let body: Value = serde_json::from_str(&roll.body.unwrap()).unwrap();
            assert_eq!(body["targetId"], "production");
            assert_eq!(body["annotations"]["ringward.dev/intent"], INTENT);
            assert_eq!(body["annotations"]["ringward.dev/digest"], image().digest().unwrap());
            let started = done(start(&[made, heard(409, &there)]));
            assert!(started.starts_with(&format!("{id}/rw-")), "{started}");
        }
        let other = api.release(&Order { image: &Artifact("app@sha256:2".into()), ..order(&[]) });
        assert_ne!(other, id);
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_will_not_is_refused() {
        let (api, base, target) = cloud_deploy();
        let answered = |before: usize, code: u16, status: &str| {
            let mut all = vec![heard(200, &json!({})); before];
            all.push(heard(
                code,
                &json!({"error": {"code": code, "message": "canary-51", "status": status}}),
            ));
            let place = Place { base: &base, target: &target };
            api.start(place, &order(&[]), &all).map(|_| ()).unwrap_err()
        };
        assert_eq!(answered(0, 404, "NOT_FOUND"), Trouble::Gone);
        for (before, code, status) in [
            (0, 400, "FAILED_PRECONDITION"),
            (0, 429, "RESOURCE_EXHAUSTED"),
            (0, 503, "UNAVAILABLE"),
            (0, 401, "UNAUTHENTICATED"),
            (1, 404, "NOT_FOUND"),
        ] {
            assert!(matches!(answered(before, code, status), Trouble::Unreachable(_)), "{status}");
        }
        for (code, status) in [(403, "PERMISSION_DENIED"), (400, "INVALID_ARGUMENT")] {
            let Trouble::Refused(why) = answered(0, code, status) else { panic!("{status}") };
            assert!(why.contains(status) && !why.contains("canary"), "{why}");
        }
        let run =
            serde_json::from_value::<Rollout>(rollout("r/a", "IN_PROGRESS")).unwrap().run(None);
        let stop = api.stop(Place { base: &base, target: &target }, &run).unwrap();
        assert!(stop.url.as_str().ends_with("/releases/r/rollouts/a:cancel"), "{}", stop.url);
    }
}
