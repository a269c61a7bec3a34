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

use super::{connection::Link, failure};

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// What is asked of an API server: verbs, the group and the resource. `deploy/target-rbac.yaml` grants them.
const NEEDED: [(&[&str], &str, &str); 3] = [
    (&["get", "list", "watch", "patch"], "apps", "deployments"),
    (&["list"], "", "pods"),
    (&["list"], "", "nodes"),
];

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

/// Looks at the API server, and asks what it allows in those namespaces.
///
/// # Errors
/// In words: no connection can be made, or the API server does not answer.
pub(super) async fn checkup(link: &Link, namespaces: &[String]) -> Result<Checkup, String> {
    let client = link.client().await?;
    let (version, date) = answered(about(&client)).await?;
    let mut permissions = Vec::new();
    for (verbs, group, resource) in NEEDED {
        let places: Vec<Option<&String>> = match resource {
            "nodes" => vec![None],
            _ => namespaces.iter().map(Some).collect(),
        };
        for (namespace, verb) in
            places.iter().flat_map(|p| verbs.iter().map(move |verb| (*p, *verb)))
        {
            let attributes = ResourceAttributes {
                group: Some(group.into()),
                resource: Some(resource.into()),
                verb: Some(verb.into()),
                namespace: namespace.cloned(),
                ..ResourceAttributes::default()
            };
            let allowed = answered(review(&client, attributes)).await?;
            let resource = match group {
                "" => resource.to_owned(),
                group => format!("{resource}.{group}"),
            };
            permissions.push(Permission { verb, resource, namespace: namespace.cloned(), allowed });
        }
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
