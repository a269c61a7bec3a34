//! A Flux `ImagePolicy` in a real API server, in its published shape; a hand of the test's writes what its controller
//! would.

use std::{collections::BTreeMap, sync::Arc};

use ::kube::api::{Patch, PatchParams, PostParams};
use ringward::{
    act::releases::{Look as _, Places},
    clock::SystemClock,
    model::{
        source::{From, PolicyPlace, ReleaseSource},
        time::{Mono, Span},
    },
};
use serde_json::{Value, json};

use crate::{
    crds,
    kube::connections,
    support::{clusters, pinned},
};

#[tokio::test]
async fn what_a_policy_has_chosen_is_read_where_one_may() {
    let Some([cluster, _]) = clusters().await else { return };
    let namespace = cluster.namespace("image-policy").await;
    let client = cluster.client().await;
    crds::install(&client).await;
    let policies = crds::objects(&client, namespace.name(), "ImagePolicy");
    let object = json!({
        "apiVersion": crds::api_version("ImagePolicy"), "kind": "ImagePolicy",
        "metadata": {"name": "checkout"},
        "spec": {"imageRepositoryRef": {"name": "checkout"}, "policy": {"semver": {"range": ">=1.0.0"}},
            "digestReflectionPolicy": "IfNotPresent"},
    });

    let kubeconfigs = Arc::new(connections(&[cluster]));
    let clock = Arc::new(SystemClock::new(Mono(0)));
    let places = Places::new(BTreeMap::new(), kubeconfigs, clock).expect("no registries");
    let source = |connection: String| ReleaseSource {
        name: "flux".into(),
        plan: "checkout".into(),
        from: From::ImagePolicy(PolicyPlace {
            cluster: cluster.context().into(),
            connection,
            namespace: namespace.name().into(),
            name: "checkout".into(),
        }),
        interval: Span::minutes(1),
    };
    let (admin, nobody) = (source(cluster.context().into()), source(cluster.nobody()));
    let trouble = places.look(&admin).await.expect_err("it is not there");
    assert!(trouble.why.contains("does not exist"), "{trouble:?}");

    let object = serde_json::from_value(object).expect("an object");
    policies.create(&PostParams::default(), &object).await.expect("created");
    assert_eq!(places.look(&admin).await, Ok(None), "nothing was chosen yet");
    let choose = async |status: Value| {
        let patch = Patch::Merge(json!({"status": status}));
        let patched = policies.patch_status("checkout", &PatchParams::default(), &patch).await;
        patched.expect("a status");
    };
    let name = "registry.example/shop/checkout";
    choose(json!({"latestRef": {"name": name, "tag": "2.14.0"}})).await;
    let trouble = places.look(&admin).await.expect_err("no digest");
    assert!(trouble.why.contains("digestReflectionPolicy"), "{trouble:?}");
    let image = pinned(name, "2.14.0");
    let digest = image.rsplit_once('@').expect("pinned").1;
    choose(json!({"latestRef": {"digest": digest}})).await;
    let newest = places.look(&admin).await.expect("an answer").expect("a choice");
    assert_eq!((newest.tag.as_str(), &newest.artifact.0), ("2.14.0", &image));

    let trouble = places.look(&nobody).await.expect_err("nobody may");
    assert!(trouble.why.contains("ImagePolicy") && !trouble.why.contains("canary"), "{trouble:?}");
}
