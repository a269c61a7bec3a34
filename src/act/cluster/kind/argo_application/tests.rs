use serde_json::{Value, json};

use super::*;
use crate::{
    act::cluster::kind::{
        self,
        sample::{ONE, merge},
    },
    model::ring::HelmValues,
};

const NAME: &str = "registry.test/checkout";

fn kind() -> ArgoApplication {
    ArgoApplication { image: ArgoImage::Kustomize(NAME.into()), source: None }
}

/// An Application that has synced `ONE` at our request and is healthy, with `change` merged in.
fn object(change: Value) -> Seen {
    let ours = json!({"info": [{"name": "ringward.dev/intent", "value": "i-1"}],
        "initiatedBy": {"username": "ringward"}});
    let source = json!({"repoURL": "https://git.test/fleet.git", "targetRevision": "main",
        "kustomize": {"images": ["registry.test/proxy:1", format!("{NAME}=mirror.test/checkout@{ONE}")]}});
    let mut base = json!({
        "metadata": {"name": "checkout", "annotations": {"ringward.dev/intent": "i-1"},
            "managedFields": [{"manager": "ringward", "time": "2026-11-02T08:00:00Z"}]},
        "spec": {"source": source},
        "status": {
            "reconciledAt": "2026-11-02T08:02:00Z",
            "health": {"status": "Healthy"},
            "sync": {"status": "Synced", "comparedTo": {"source": source}},
            "history": [{"id": 6}, {"id": 7}],
            "operationState": {"phase": "Succeeded", "message": "synced", "operation": ours,
                "startedAt": "2026-11-02T08:01:00Z", "finishedAt": "2026-11-02T08:02:00Z",
                "syncResult": {"revision": "5d9", "source": source}},
        },
    });
    merge(&mut base, change);
    Seen { subject: serde_json::from_value(base).unwrap(), other: None }
}

fn status(change: Value) -> Status {
    kind::read(&kind(), &object(change), &[]).status
}

fn artifact(digest: &str) -> Artifact {
    Artifact(format!("mirror.test/checkout@{digest}"))
}

#[test]
fn our_operation_and_the_health_after_it_are_success() {
    let state = kind::read(&kind(), &object(json!({})), &[]);
    assert_eq!(state.status, Status::Succeeded);
    assert_eq!((state.image, state.revision.as_deref()), (Some(artifact(ONE)), Some("7")));
    let early = json!({"status": {"reconciledAt": "2026-11-02T08:01:59Z"}});
    assert!(matches!(status(early), Status::Progressing(_)), "its health is of before the sync");
    let health = |word: &str| status(json!({"status": {"health": {"status": word}}}));
    assert_eq!(health("Suspended"), Status::Paused);
    for word in ["Progressing", "Missing", "Degraded"] {
        assert!(matches!(health(word), Status::Progressing(_)), "{word}");
    }
    for word in ["Unknown", "", "Marvellous"] {
        assert!(matches!(health(word), Status::Unknown(_)), "{word}");
    }
    let blind = json!({"status": {"conditions": [{"type": "ComparisonError", "message": "no repository"}]}});
    assert!(matches!(status(blind), Status::Unknown(why) if why.contains("no repository")));
}

#[test]
fn a_sync_that_fails_or_waits_is_told_in_its_words() {
    let phase = |phase: &str, message: &str| {
        status(json!({"status": {"operationState": {"phase": phase, "message": message}}}))
    };
    for word in ["Failed", "Error"] {
        assert_eq!(
            phase(word, "hook failed"),
            Status::Failed("its sync failed: hook failed".into())
        );
    }
    assert_eq!(phase("Running", "Sync operation blocked by sync window"), Status::Paused);
    assert!(matches!(phase("Running", "waiting for healthy state"), Status::Progressing(_)));
    assert!(matches!(phase("Marvellous", ""), Status::Unknown(_)));
}

#[test]
fn what_is_told_of_another_operation_is_not_ours() {
    let run = |id: &str| json!({"info": [{"name": "ringward.dev/intent", "value": id}]});
    let older = json!({"operation": run("i-1"), "status": {"operationState": {"phase": "Failed",
        "operation": run("i-0")}}});
    assert_eq!(status(older), Status::Pending, "ours has yet to begin");
    let lost = json!({"status": {"operationState": {"operation": run("i-0"),
        "startedAt": "2026-11-02T07:00:00Z"}}});
    assert_eq!(status(lost), Status::Pending);
    let after = |change: Value| {
        let mut base = json!({"status": {"operationState": {"operation": {"info": []}}}});
        merge(&mut base, change);
        status(base)
    };
    assert_eq!(after(json!({})), Status::Succeeded, "it has synced the very same source");
    let failed = json!({"status": {"operationState": {"phase": "Failed"}}});
    assert!(matches!(after(failed), Status::Unknown(_)));
    let other =
        json!({"status": {"operationState": {"syncResult": {"source": {"targetRevision": "x"}}}}});
    assert!(matches!(after(other), Status::Unknown(_)));
}

#[test]
fn before_the_first_write_it_has_to_be_in_sync() {
    let never = |sync: &str| {
        let change =
            json!({"metadata": {"annotations": null}, "status": {"sync": {"status": sync}}});
        status(change)
    };
    assert_eq!(never("Synced"), Status::Succeeded);
    assert!(matches!(never("OutOfSync"), Status::Progressing(_)));
}

#[test]
fn a_sync_status_of_another_source_says_nothing_of_this_one() {
    let never = |kind: &ArgoApplication, change: Value| {
        let mut base = json!({"metadata": {"annotations": null}});
        merge(&mut base, change);
        kind::read(kind, &object(base), &[]).status
    };
    let newer = format!("{NAME}=mirror.test/checkout@sha256:{}", "2".repeat(64));
    let edited = json!({"spec": {"source": {"kustomize": {"images": [newer]}}}});
    assert_eq!(never(&kind(), edited), Status::Pending, "nobody has looked at that yet");
    let untold = json!({"status": {"sync": {"comparedTo": null}}});
    assert_eq!(never(&kind(), untold), Status::Pending);
    // Argo CD repeats a source without what is nothing, and with what its own types fill in.
    let nothing = json!({"spec": {"source": {"path": "", "directory": {"recurse": false}}},
        "status": {"sync": {"comparedTo": {"source": {"directory": {"jsonnet": {}}}}}}});
    assert_eq!(never(&kind(), nothing), Status::Succeeded);

    let sources = |revision: &str| {
        json!([{"repoURL": "https://git.test/a.git"},
            {"name": "app", "repoURL": "oci://registry.test/app", "targetRevision": revision}])
    };
    let app = ArgoApplication { image: ArgoImage::Revision, source: Some("app".into()) };
    let two = format!("sha256:{}", "2".repeat(64));
    let several = |compared: Value| {
        let change = json!({"spec": {"source": null, "sources": sources(ONE)},
            "status": {"sync": {"comparedTo": {"source": null, "sources": compared}}}});
        never(&app, change)
    };
    assert_eq!(several(sources(ONE)), Status::Succeeded);
    assert_eq!(several(sources(&two)), Status::Pending);
    assert_eq!(several(json!([])), Status::Pending);
}

#[test]
fn one_image_of_the_list_is_written_with_the_operation() {
    let policy = json!({"spec": {"syncPolicy": {"syncOptions": ["ServerSideApply=true"],
        "automated": {"prune": true}, "retry": {"limit": 2}}}});
    let Edit::Merge { fields, paths } = kind().edit(&object(policy), &artifact(ONE), "i-2") else {
        panic!("a list without keys is merged")
    };
    let ours = format!("{NAME}=mirror.test/checkout@{ONE}");
    let images = json!(["registry.test/proxy:1", ours]);
    assert_eq!(fields["spec"], json!({"source": {"kustomize": {"images": images}}}));
    assert_eq!(
        fields["operation"],
        json!({"initiatedBy": {"username": "ringward", "automated": false},
            "info": [{"name": "ringward.dev/intent", "value": "i-2"}],
            "sync": {"prune": true, "syncOptions": ["ServerSideApply=true"]}, "retry": {"limit": 2}})
    );
    assert_eq!(fields["metadata"]["annotations"]["argocd.argoproj.io/refresh"], "normal");
    let whole = ["spec", "source", "kustomize", "images"].map(String::from).to_vec();
    assert!(paths.contains(&whole), "{paths:?}");
}

#[test]
fn one_of_several_sources_is_written_and_the_others_stay() {
    let sources = json!([{"repoURL": "https://git.test/a.git"},
        {"name": "app", "repoURL": "oci://registry.test/charts/app", "targetRevision": ONE,
            "helm": {"parameters": [{"name": "image.digest", "value": ONE, "forceString": true},
                {"name": "image.repository", "value": "registry.test/app"}]}}]);
    let seen = object(json!({"spec": {"source": null, "sources": sources}}));
    let parts =
        HelmValues::Parts { repository: "image.repository".into(), digest: "image.digest".into() };
    let of = |image: ArgoImage, source: Option<&str>| ArgoApplication {
        image,
        source: source.map(Into::into),
    };
    let values = || ArgoImage::Values(parts.clone());
    for place in ["app", "2"] {
        let image = of(values(), Some(place)).image(&seen.subject);
        assert_eq!(image, Ok(Artifact(format!("registry.test/app@{ONE}"))), "{place}");
    }
    for place in [None, Some("3"), Some("0"), Some("other")] {
        assert!(
            of(values(), place).image(&seen.subject).unwrap_err().contains("source"),
            "{place:?}"
        );
    }
    let two = format!("sha256:{}", "2".repeat(64));
    let app = of(values(), Some("app"));
    let artifact = Artifact(format!("registry.test/app@{two}"));
    let Edit::Merge { fields, paths } = app.edit(&seen, &artifact, "i-2") else { panic!("merged") };
    assert_eq!(fields["spec"]["sources"][0], sources[0]);
    assert_eq!(
        fields["spec"]["sources"][1]["helm"]["parameters"][0],
        json!({"name": "image.digest", "value": two, "forceString": true})
    );
    assert_eq!(paths, [["spec", "sources"]]);

    let chart = of(ArgoImage::Revision, Some("app"));
    let own = Artifact(format!("registry.test/charts/app@{ONE}"));
    assert_eq!(chart.image(&seen.subject).as_ref(), Ok(&own));
    assert_eq!(chart.refuses(&seen, &own), None);
    let why = chart.refuses(&seen, &artifact).unwrap();
    assert!(why.contains("release registry.test/charts/app@sha256:..."), "{why}");
    let synced = |revision: &str| {
        let result = json!({"revisions": ["aa", revision]});
        let change = json!({"spec": {"source": null, "sources": sources},
            "status": {"operationState": {"syncResult": result}}});
        kind::read(&chart, &object(change), &[]).status
    };
    assert_eq!(synced(ONE), Status::Succeeded);
    assert!(matches!(synced(&two), Status::Unknown(_)));
}

#[test]
fn an_application_set_keeps_what_is_its_own() {
    let owned = json!({"metadata": {"ownerReferences": [
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "name": "all", "uid": "u"}]}});
    assert!(kind().refuses(&object(owned), &artifact(ONE)).unwrap().contains("`all`"));
    assert_eq!(kind().refuses(&object(json!({})), &artifact(ONE)), None);
}

#[test]
fn what_runs_is_waited_for_and_ended_only_if_it_is_ours() {
    assert_eq!(kind().busy(&object(json!({}))), None);
    let running = json!({"status": {"operationState": {"phase": "Running", "message": "hook"}}});
    let busy = kind().busy(&object(running.clone())).unwrap();
    let ends = json!({"status": {"operationState": {"phase": "Terminating"}}});
    assert_eq!(busy.clear, Some(ends));
    let mut theirs = running;
    merge(
        &mut theirs,
        json!({"status": {"operationState": {"operation": {"info": [],
            "initiatedBy": {"username": "ann"}}}}}),
    );
    let busy = kind().busy(&object(theirs)).unwrap();
    assert!(busy.clear.is_none() && busy.why.contains("ann"), "{busy:?}");
    let asked = json!({"operation": {"sync": {}}});
    assert_eq!(kind().busy(&object(asked)).unwrap().clear, None);
}
