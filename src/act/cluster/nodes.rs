//! What a cluster's nodes say of where they are: labels alone, page by page.

use k8s_openapi::api::core::v1::Node;
use kube::{Api, ResourceExt, api::ListParams};

use super::connection::Link;
use crate::model::residency::Witness;

/// The cloud region that a node runs in; a cloud's controller sets it.
const REGION: &str = "topology.kubernetes.io/region";
/// The country whose law a node is under, where somebody labels nodes with it.
const JURISDICTION: &str = "ringward.dev/jurisdiction";
/// Nodes that are asked for at once.
const PAGE: u32 = 500;
/// Pages that are asked for: of more nodes than these hold, the first ones speak.
const PAGES: usize = 20;
/// Different values of a label that are kept. Two contradict each other already.
const VALUES: usize = 16;
/// The longest value that a label can have.
const LENGTH: usize = 63;

/// What the nodes say together; nothing where there is none.
pub(super) async fn witness(link: &Link) -> Result<Option<Witness>, String> {
    let mut witness = Witness::default();
    let mut page = ListParams::default().limit(PAGE);
    let mut any = false;
    for _ in 0..PAGES {
        let asked = link.ask(|client| {
            let (api, page) = (Api::<Node>::all(client), &page);
            async move { api.list_metadata(page).await }
        });
        let list = asked.await.map_err(|why| {
            let why = why.words();
            format!("its nodes cannot be listed: {why}")
        })?;
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
