//! What a cluster's nodes say of where they are: labels alone, page by page.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::{Api, ResourceExt, api::ListParams};
use tokio::time::timeout;

use super::{connection::Link, failure};
use crate::model::residency::Witness;

/// The cloud region that a node runs in; a cloud's controller sets it.
const REGION: &str = "topology.kubernetes.io/region";
/// The country whose law a node is under, where somebody labels nodes with it.
const JURISDICTION: &str = "ringward.dev/jurisdiction";
/// Nodes that are asked for at once.
const PAGE: u32 = 500;
/// Pages that are asked for: of more nodes than these hold, the first ones speak.
const PAGES: usize = 20;
/// How long one page may take.
const ANSWER: Duration = Duration::from_secs(10);
/// Different values of a label that are kept. Two contradict each other already.
const VALUES: usize = 16;
/// The longest value that a label can have.
const LENGTH: usize = 63;

/// What the nodes say together; nothing where there is none.
pub(super) async fn witness(link: &Link) -> Result<Option<Witness>, String> {
    let api: Api<Node> = Api::all(link.client().await?);
    let mut witness = Witness::default();
    let mut page = ListParams::default().limit(PAGE);
    let mut any = false;
    for _ in 0..PAGES {
        let list = match timeout(ANSWER, api.list_metadata(&page)).await {
            Ok(Ok(list)) => list,
            Ok(Err(error)) => {
                if failure::is_stranger(&error) {
                    link.forget().await;
                }
                let words = failure::words(&error);
                return Err(format!("its nodes cannot be listed: {words}"));
            }
            Err(_) => return Err(format!("the API server did not answer within {ANSWER:?}")),
        };
        any |= !list.items.is_empty();
        for node in &list.items {
            let label = |name: &str| {
                let value = node.labels().get(name).filter(|value| !value.is_empty());
                value.map(|value| value.chars().take(LENGTH).collect::<String>())
            };
            let region = label(REGION).filter(|_| witness.regions.len() < VALUES);
            witness.regions.extend(region.map(Into::into));
            let place = label(JURISDICTION).filter(|_| witness.jurisdictions.len() < VALUES);
            witness.jurisdictions.extend(place.map(Into::into));
        }
        page.continue_token = list.metadata.continue_.filter(|token| !token.is_empty());
        if page.continue_token.is_none() {
            break;
        }
    }
    Ok(any.then_some(witness))
}
