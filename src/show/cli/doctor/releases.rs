//! Where releases come from by themselves: whether each can be looked at, and what it would find now.

use std::{collections::BTreeSet, sync::Arc};

use futures::{StreamExt as _, stream};

use super::{Health, Report, clusters, machine};
use crate::{
    act::releases::{Look as _, Places},
    clock::SystemClock,
    config::Settings,
    declare::Compiled,
    model::{
        source::{From, ReleaseSource},
        time::Mono,
    },
    show::cli::failure::chain,
};

/// Sources that are looked at at once.
const AT_ONCE: usize = 8;

pub(super) async fn look(settings: &Settings, compiled: &Compiled, report: &mut Report) {
    let named: BTreeSet<&str> = compiled
        .sources
        .iter()
        .filter_map(|source| match &source.from {
            From::Registry(tags) => Some(tags.image.registry.as_str()),
            From::ImagePolicy(_) => None,
        })
        .collect();
    for (registry, with) in &settings.registries {
        if let Some(basic) = &with.basic {
            machine::secret(&basic.password_file, &format!("registry {registry}"), report);
        }
        if !named.contains(registry.as_str()) {
            let cure =
                "declare a ReleaseSource under releases/ with an image of it, or take it out";
            report.add(Health::Warn, "registry", registry, "no ReleaseSource names it", cure);
        }
    }
    let clusters = Arc::new(clusters::kubeconfigs(settings));
    let clock = Arc::new(SystemClock::new(Mono(0)));
    let places = match Places::new(settings.registries.clone(), clusters, clock) {
        Ok(places) => places,
        Err(error) => {
            let cure = "mend registries in the settings";
            return report.add(Health::Fail, "releases", "all", chain(&error), cure);
        }
    };
    let looks = compiled.sources.iter().map(|source| {
        let places = &places;
        async move { (source, places.look(source).await) }
    });
    let found: Vec<_> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    for (source, found) in found {
        match found {
            Ok(Some(newest)) => {
                let found = format!("tag {} is the newest: {}", newest.tag, newest.artifact);
                report.ok("releases", &source.name, found);
            }
            Ok(None) => {
                let cure = "nothing, if none is expected yet; otherwise see its policy";
                report.add(Health::Warn, "releases", &source.name, "nothing there counts", cure);
            }
            Err(trouble) => {
                report.add(Health::Fail, "releases", &source.name, trouble.why, cure(source));
            }
        }
    }
}

fn cure(source: &ReleaseSource) -> String {
    match &source.from {
        From::Registry(tags) => format!(
            "see that this machine reaches {}, and that `registries` of the settings has what it asks for",
            tags.image.registry
        ),
        From::ImagePolicy(place) => format!(
            "see that connection `{}` may get imagepolicies.image.toolkit.fluxcd.io in {}",
            place.connection, place.namespace
        ),
    }
}
