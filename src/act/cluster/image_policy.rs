//! Reads a Flux `ImagePolicy`: what it has chosen is for whoever asked to make something of.

use std::time::Duration;

use kube::{
    Api, Error,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
};
use tokio::time::timeout;

use super::{connection::Link, failure};
use crate::model::source::PolicyPlace;

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// The versions that it is served in, the latest first.
const VERSIONS: [&str; 2] = ["v1", "v1beta2"];

/// The object; where the first version is not served, in the one before.
///
/// # Errors
/// In words: it is not there in any of them, or the API server does not answer.
pub(super) async fn get(link: &Link, place: &PolicyPlace) -> Result<DynamicObject, String> {
    let PolicyPlace { cluster, namespace, name, .. } = place;
    for version in VERSIONS {
        let kind = GroupVersionKind::gvk("image.toolkit.fluxcd.io", version, "ImagePolicy");
        let resource = ApiResource::from_gvk_with_plural(&kind, "imagepolicies");
        let api: Api<DynamicObject> =
            Api::namespaced_with(link.client().await?, namespace, &resource);
        let told = match timeout(ANSWER, api.get_opt(name)).await {
            Err(_) => {
                return Err(format!("{cluster}: the API server did not answer within {ANSWER:?}"));
            }
            Ok(told) => told,
        };
        match told {
            Ok(Some(object)) => return Ok(object),
            Ok(None) => {}
            // A version that is not served is no object that is not there: the answer is a page of text.
            Err(Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                if failure::is_stranger(&error) {
                    link.forget().await;
                }
                return Err(format!(
                    "ImagePolicy {namespace}/{name} in {cluster}: {}",
                    failure::words(&error)
                ));
            }
        }
    }
    Err(format!("ImagePolicy {namespace}/{name} does not exist in {cluster}"))
}
