//! Feature flags on real API servers, and what flagd's own evaluation makes of what is written.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use ::kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use ringward::{
    act::WriteError,
    decide::command::Write,
    ids::ReleaseId,
    model::ring::{Artifact, Target, TargetKind},
};
use serde_json::{Value, json};

use crate::{
    crds,
    kube::deployer,
    support::{Cluster, clusters},
};

/// The folder in which `npm ci` was run over `tests/real/flagd`.
fn evaluator() -> Option<PathBuf> {
    let folder = std::env::var_os("FLAGD_CORE").map(PathBuf::from);
    if folder.is_none() {
        let required = std::env::var("RINGWARD_REAL").is_ok_and(|value| value == "required");
        assert!(!required, "RINGWARD_REAL=required, and FLAGD_CORE is not set");
        println!("skipped: FLAGD_CORE is not set");
    }
    folder
}

/// A file of flags as its owner writes it: `dark` has a rule of their own.
fn file() -> Value {
    let variants = json!({"on": true, "off": false});
    json!({
        "$schema": "https://flagd.dev/schema/v0/flags.json",
        "flags": {
            "dark": {"state": "ENABLED", "variants": variants, "defaultVariant": "off",
                "targeting": {"if": [{"$ref": "staff"}, "on"]}},
            "other": {"state": "ENABLED", "variants": variants, "defaultVariant": "on",
                "targeting": {"fractional": [["on", 40], ["off", 60]]}},
        },
        "$evaluators": {"staff": {"ends_with": [{"var": "email"}, "@shop.example"]}},
    })
}

/// One object with those flags.
struct Flags<'c> {
    cluster: &'c Cluster,
    folder: &'c PathBuf,
    namespace: String,
    name: &'static str,
    /// Whether it is a FeatureFlag.
    custom: bool,
    only: BTreeMap<String, String>,
}

impl Flags<'_> {
    async fn api(&self) -> Api<DynamicObject> {
        let client = self.cluster.client().await;
        if self.custom {
            return crds::objects(&client, &self.namespace, "FeatureFlag");
        }
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "ConfigMap"));
        Api::namespaced_with(client, &self.namespace, &resource)
    }

    async fn create(&self) {
        let owner = PostParams { field_manager: Some("owner".into()), ..PostParams::default() };
        let mut object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": self.name, "annotations": {"ringward.dev/managed-by": "dark"}},
        });
        if self.custom {
            object["apiVersion"] = json!(crds::api_version("FeatureFlag"));
            object["kind"] = json!("FeatureFlag");
            let mut spec = file();
            spec.as_object_mut().expect("an object").remove("$schema");
            object["spec"] = json!({"flagSpec": spec});
        } else {
            object["data"] = json!({"flags.json": format!("{:#}\n", file()), "more": "x"});
        }
        let object: DynamicObject = serde_json::from_value(object).expect("an object");
        self.api().await.create(&owner, &object).await.expect("a new object");
    }

    /// The flags as they stand.
    async fn read(&self) -> Value {
        let object = self.api().await.get(self.name).await.expect("the object");
        if self.custom {
            return object.data["spec"]["flagSpec"].clone();
        }
        let text = object.data["data"]["flags.json"].as_str().expect("a file");
        serde_json::from_str(text).expect("JSON")
    }

    async fn edit(&self, change: Value) {
        let owner = PatchParams { field_manager: Some("owner".into()), ..PatchParams::default() };
        let api = self.api().await;
        api.patch(self.name, &owner, &Patch::Merge(change)).await.expect("an edit");
    }

    fn write(&self, serves: &str) -> Write {
        let kind = TargetKind::FlagdFlag {
            flag: "dark".into(),
            file: (!self.custom).then(|| "flags.json".into()),
            only: self.only.clone(),
            probe: None,
            cleanup_after: None,
        };
        let name = self.name.to_owned();
        Write {
            key: format!("dark@{serves}/beta/{}/1/deploy", self.cluster.context()).into(),
            release: ReleaseId::new("dark", "2"),
            ring: "beta".into(),
            attempt: 1,
            cluster: self.cluster.context().into(),
            connection: self.cluster.context().into(),
            target: Target { kind, namespace: self.namespace.clone(), name },
            artifact: Artifact(serves.into()),
        }
    }

    async fn deploy(&self, serves: &str) -> Option<Artifact> {
        let found = deployer(self.cluster).write(&self.write(serves), 1).await.expect(serves);
        found.and_then(|found| found.image)
    }

    /// Who is served which variant of a flag: two thousand with a key, and one without.
    async fn served(&self, flag: &str, context: Value) -> Vec<String> {
        let scratch = tempfile::tempdir().expect("a folder");
        let flags = scratch.path().join("flags.json");
        fs::write(&flags, self.read().await.to_string()).expect("a file");
        let script = self.folder.join("evaluate.mjs");
        let mut node = Command::new("node");
        node.arg(script).arg(flag).arg(flags).arg(context.to_string());
        let output = node.output().expect("node is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).expect("text");
        let lines: Vec<String> = lines.lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 2001);
        lines
    }
}

fn on(served: &[String]) -> usize {
    served.iter().filter(|variant| *variant == "on").count()
}

#[tokio::test]
async fn what_is_written_is_what_flagd_serves_and_what_was_there_comes_back() {
    let Some(folder) = evaluator() else { return };
    let Some([cluster, _]) = clusters().await else { return };
    crds::install(&cluster.client().await).await;
    let space = cluster.namespace("flags").await;
    for (custom, name) in [(false, "file"), (true, "custom")] {
        let namespace = space.name().to_owned();
        let flags =
            Flags { cluster, folder: &folder, namespace, name, custom, only: BTreeMap::new() };
        flags.create().await;
        let before = flags.read().await;
        let (dark, staff) = (json!({}), json!({"email": "ann@shop.example"}));
        let was =
            (flags.served("dark", dark.clone()).await, flags.served("dark", staff.clone()).await);
        assert_eq!((on(&was.0), on(&was.1)), (0, 2001), "{name}");
        let other = flags.served("other", json!({})).await;

        let refused = deployer(cluster).write(&flags.write("on"), 1).await;
        let Err(WriteError::Refused(why)) = refused else { panic!("{name}: {refused:?}") };
        assert!(why.contains("owned by field manager `owner`"), "{name}: {why}");
        flags.edit(json!({"metadata": {"annotations": {"ringward.dev/take-over": "image"}}})).await;
        let rule = flags.deploy("on=25%,off").await.expect("what was there");
        let quarter = flags.served("dark", dark.clone()).await;
        assert!((440..=560).contains(&on(&quarter)), "{name}: {} of 2000", on(&quarter));
        assert_eq!(quarter[2000], "off", "{name}: who cannot be told apart");

        // Who has it keeps it where more get it.
        flags.deploy("on=50%,off").await;
        let half = flags.served("dark", dark.clone()).await;
        assert!((900..=1100).contains(&on(&half)), "{name}: {} of 2000", on(&half));
        let lost = quarter.iter().zip(&half).filter(|(a, b)| *a == "on" && *b != "on");
        assert_eq!(lost.count(), 0, "{name}");
        flags.deploy("on").await;
        assert_eq!(on(&flags.served("dark", dark.clone()).await), 2001, "{name}");
        assert_eq!(
            flags.served("other", json!({})).await,
            other,
            "{name}: of others' flags none changed"
        );

        // Somebody changes another flag: that takes nothing back of ours.
        if !custom {
            let object = flags.api().await.get(name).await.expect("the object");
            let text = object.data["data"]["flags.json"].as_str().expect("a file");
            let text = text.replacen("40", "41", 1);
            flags.edit(json!({"data": {"flags.json": text}})).await;
            flags.deploy("on=75%,off").await;
            let text = flags.read().await["flags"]["other"]["targeting"].to_string();
            assert!(text.contains("41"), "{text}");
            flags
                .edit(json!({"data": {"flags.json": flags.api().await.get(name).await.expect("it")
                .data["data"]["flags.json"].as_str().expect("a file").replacen("41", "40", 1)}}))
                .await;
        }
        assert!(rule.0.contains("staff"), "{name}: {rule}");
        flags.deploy(&rule.0).await;
        assert_eq!(flags.read().await, before, "{name}");
        let is = (flags.served("dark", dark).await, flags.served("dark", staff).await);
        assert_eq!(is, was, "{name}");
    }
}

#[tokio::test]
async fn a_region_is_served_and_all_others_keep_what_they_had() {
    let Some(folder) = evaluator() else { return };
    let Some([cluster, _]) = clusters().await else { return };
    crds::install(&cluster.client().await).await;
    let space = cluster.namespace("regions").await;
    for (custom, name) in [(false, "file"), (true, "custom")] {
        let namespace = space.name().to_owned();
        let only = [("region".to_owned(), "eu-west-1".to_owned())].into();
        let flags = Flags { cluster, folder: &folder, namespace, name, custom, only };
        flags.create().await;
        let before = flags.read().await;
        flags.edit(json!({"metadata": {"annotations": {"ringward.dev/take-over": "image"}}})).await;
        let found = flags.deploy("on=25%,off").await;
        assert_eq!(found, Some(Artifact("*".into())), "{name}");
        let region = |region: &str| json!({"region": region});
        let eu = flags.served("dark", region("eu-west-1")).await;
        assert!((440..=560).contains(&on(&eu)), "{name}: {} of 2000", on(&eu));
        assert_eq!(on(&flags.served("dark", region("us-east-1")).await), 0, "{name}");
        let staff = json!({"region": "us-east-1", "email": "ann@shop.example"});
        assert_eq!(on(&flags.served("dark", staff).await), 2001, "{name}: their rule holds");
        flags.deploy("on").await;
        assert_eq!(on(&flags.served("dark", region("eu-west-1")).await), 2001, "{name}");
        flags.deploy("*").await;
        assert_eq!(flags.read().await, before, "{name}");
    }
}
