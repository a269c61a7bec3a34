//! What a connection is worth before anything rests on it: who answers, what time it is there, and what
//! the API server would let ringward do.

use std::time::Duration;

use axum::http::{Request, header::DATE};
use jiff::{Timestamp, fmt::rfc2822};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams, client::Body};
use serde::Deserialize;
use tokio::time::timeout;

use super::{connection::Link, failure, kind};
use crate::model::ring::{Target, TargetKind};

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// A verb, the group, the resource with its subresource, and the namespace where it has one.
type Needed = (&'static str, String, String, Option<String>);

/// What ringward does where it deploys to those targets, each once. `deploy/target-rbac.yaml` grants it.
fn needed(targets: &[Target]) -> Vec<Needed> {
    let mut needed: Vec<Needed> = Vec::new();
    let mut need = |one: Needed| {
        if !needed.contains(&one) {
            needed.push(one);
        }
    };
    for target in targets {
        let place = || Some(target.namespace.clone());
        let Some(kind) = kind::of(&target.kind) else { continue };
        let of = kind.resource();
        let mut on = |verbs: &[&'static str], group: &str, resource: String| {
            verbs.iter().for_each(|verb| need((verb, group.into(), resource.clone(), place())));
        };
        let (look, pods) = (["get", "list", "watch"], "pods".to_owned());
        on(&look, &of.group, of.plural.clone());
        match target.kind {
            TargetKind::Deployment { .. }
            | TargetKind::StatefulSet { .. }
            | TargetKind::DaemonSet { .. } => {
                on(&["patch"], &of.group, of.plural);
                on(&["list"], "", pods);
            }
            TargetKind::ArgoRollout { .. } => {
                on(&["patch"], &of.group, of.plural.clone());
                on(&["patch"], &of.group, format!("{}/status", of.plural));
                on(&["list"], "", pods);
            }
            TargetKind::FlaggerCanary { .. } => {
                // What is written is the Deployment that it is over.
                on(&look, "apps", "deployments".into());
                on(&["patch"], "apps", "deployments".into());
                on(&["list"], "", pods);
            }
            TargetKind::FluxOciSource | TargetKind::FluxOciChart => {
                // What is written is its source.
                on(&look, "source.toolkit.fluxcd.io", "ocirepositories".into());
                on(&["patch"], "source.toolkit.fluxcd.io", "ocirepositories".into());
            }
            TargetKind::ArgoApplication { .. }
            | TargetKind::FluxKustomization { .. }
            | TargetKind::FluxHelmRelease { .. }
            | TargetKind::FlagdFlag { .. }
            | TargetKind::UnleashFlag { .. }
            | TargetKind::LaunchDarklyFlag { .. }
            | TargetKind::FlagsmithFlag { .. }
            | TargetKind::CodeDeploy { .. }
            | TargetKind::CloudDeploy { .. }
            | TargetKind::Spinnaker { .. }
            | TargetKind::Harness { .. }
            | TargetKind::Webhook { .. } => {
                on(&["patch"], &of.group, of.plural);
            }
        }
    }
    need(("list", String::new(), "nodes".into(), None));
    needed
}

/// What was found behind a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkup {
    /// Which version the API server says that it is.
    pub version: String,
    /// What time it is there, to the second, where the answer says so.
    pub date: Option<Timestamp>,
    /// What it would let us do.
    pub permissions: Vec<Permission>,
}

/// Something that ringward does in a cluster, and whether it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// The verb.
    pub verb: &'static str,
    /// The resource, with its group where it has one: `deployments.apps`.
    pub resource: String,
    /// Where; none for what is of no namespace.
    pub namespace: Option<String>,
    /// Whether the API server would allow it.
    pub allowed: bool,
}

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "gitVersion")]
    version: String,
}

/// Looks at the API server, and asks whether it allows all that those targets need.
///
/// # Errors
/// In words: no connection can be made, or the API server does not answer.
pub(super) async fn checkup(link: &Link, targets: &[Target]) -> Result<Checkup, String> {
    look(link, needed(targets)).await
}

/// The same of a cluster that is to say whose tokens are.
///
/// # Errors
/// As [`checkup`].
pub(super) async fn of_reviews(link: &Link) -> Result<Checkup, String> {
    let (group, resource) = ("authentication.k8s.io".to_owned(), "tokenreviews".to_owned());
    look(link, vec![("create", group, resource, None)]).await
}

async fn look(link: &Link, needed: Vec<Needed>) -> Result<Checkup, String> {
    let client = link.client().await?;
    let (version, date) = answered(about(&client)).await?;
    let mut permissions = Vec::new();
    for (verb, group, resource, namespace) in needed {
        let (name, part) = match resource.split_once('/') {
            Some((name, part)) => (name, Some(part.to_owned())),
            None => (resource.as_str(), None),
        };
        let attributes = ResourceAttributes {
            group: Some(group.clone()),
            resource: Some(name.to_owned()),
            subresource: part,
            verb: Some(verb.into()),
            namespace: namespace.clone(),
            ..ResourceAttributes::default()
        };
        let allowed = answered(review(&client, attributes)).await?;
        let resource = match group.as_str() {
            "" => resource,
            group => format!("{resource}.{group}"),
        };
        permissions.push(Permission { verb, resource, namespace, allowed });
    }
    Ok(Checkup { version, date, permissions })
}

async fn answered<T>(asked: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = || format!("the API server did not answer within {ANSWER:?}");
    timeout(ANSWER, asked).await.map_err(|_| late())?
}

/// Its version, and the time of its answer.
async fn about(client: &Client) -> Result<(String, Option<Timestamp>), String> {
    let request = Request::get("/version").body(Body::empty()).map_err(|e| e.to_string())?;
    let answer = client.send(request).await.map_err(|error| failure::words(&error))?;
    let date = answer.headers().get(DATE).and_then(|value| value.to_str().ok());
    let date = date.and_then(|text| rfc2822::parse(text).ok()).map(|at| at.timestamp());
    let status = answer.status();
    let body = answer.into_body().collect_bytes().await.map_err(|error| failure::words(&error))?;
    let strange = |_| format!("HTTP {}, and no answer of a Kubernetes API server", status.as_u16());
    let Version { version } = serde_json::from_slice(&body).map_err(strange)?;
    Ok((version, date))
}

async fn review(client: &Client, attributes: ResourceAttributes) -> Result<bool, String> {
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let made = api.create(&PostParams::default(), &review).await;
    let made = made.map_err(|error| failure::words(&error))?;
    Ok(made.status.is_some_and(|status| status.allowed))
}
