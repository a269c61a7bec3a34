//! `Release` documents.

use std::fs;

use reqwest::StatusCode;
use ringward::{config::SourceSettings, model::ring::Artifact};
use serde_json::json;

use crate::{Service, common::image, facts, git::Author, there};

/// A document that releases an image of a plan.
fn document(plan: &str, version: &str, image: &Artifact) -> String {
    let name = format!("{plan}-{}", version.replace('.', "-"));
    format!(
        "apiVersion: ringward.dev/v1alpha1
kind: Release
metadata: {{name: {name}}}
spec:
  plan: {plan}
  version: \"{version}\"
  artifact:
    image: {image}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_in_git_is_created_once_and_its_author_does_not_approve_it() {
    let mut service = Service::prepare().await;
    let author = Author::new();
    for (file, text) in service.declarations.files() {
        author.write(&file, &text);
    }
    author.commit("the rings");
    let mut settings = service.settings();
    settings.source = SourceSettings {
        url: Some(format!("file://{}", author.dir.path().display())),
        authors: [("dana@example.com".to_owned(), "dana".into())].into(),
        interval: ringward::model::time::Span::seconds(5),
        ..SourceSettings::default()
    };
    let client = service.start(settings.clone()).await;

    // Three at once: the newest by its version is deployed, those before it give way.
    let release = |version, digit| document("search", version, &image("search", digit));
    author.write("releases/search/1.9.yaml", &release("1.9", '1'));
    author.write("releases/search/1.10.yaml", &release("1.10", '2'));
    author.write("releases/checkout.yaml", &document("checkout", "7", &image("checkout", '3')));
    author.commit("releases");
    let shown = there(&client, "search", "1.10").await;
    assert_eq!((&shown["author"], &shown["by"]), (&json!("dana"), &json!("source:git")));
    client.until("search", "1.9", "it to give way", |r| r["phase"] == "Superseded").await;
    client.until("checkout", "7", "success", |r| r["phase"] == "Succeeded").await;

    // Whoever wrote it does not approve it; somebody else does.
    let path = "/v1/plans/search/releases/1.10/rings/us/approve";
    let refused = service.approver("dana").post(path, &[], json!({})).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::FORBIDDEN, "self-approval"));
    service.approver("kim").post(path, &[], json!({})).await.good();
    client.until("search", "1.10", "success", |r| r["phase"] == "Succeeded").await;

    // Moved and deleted, and then a start: nothing comes of it.
    author.git(&["mv", "releases/checkout.yaml", "releases/moved.yaml"]);
    author.git(&["rm", "--quiet", "releases/search/1.10.yaml"]);
    let moved = author.commit("moved and deleted");
    let commit = |source: &serde_json::Value| source["commit"] == json!(moved);
    client.until_at("/v1/source", "the commit", commit).await;
    service.stop().await;
    let client = service.start(settings).await;
    client.until_at("/v1/source", "the commit", commit).await;

    // What an existing version deploys cannot be changed: it is refused, by names, and a later one is created.
    author.write("releases/moved.yaml", &document("checkout", "7", &image("checkout", '4')));
    author.write("releases/next.yaml", &document("checkout", "8", &image("checkout", '5')));
    author.commit("changed");
    there(&client, "checkout", "8").await;
    let refused = facts(&client, "refused").await;
    let refused: Vec<_> =
        refused.iter().filter(|fact| fact["by"]["name"] == "source:git").collect();
    assert_eq!(refused.len(), 1, "{refused:#?}");
    assert_eq!(refused[0]["kind"], "duplicate-release");
    let detail = refused[0]["detail"].as_str().expect("words");
    for digit in ['3', '4'] {
        assert!(detail.contains(&image("checkout", digit).0), "{detail}");
    }
    assert_eq!(facts(&client, "submitted").await.len(), 4);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_is_refused_is_asked_for_again_when_its_plan_is_mended() {
    let mut service = Service::prepare().await;
    let at = |file: &str| service.path().join("source").join(file);
    let (rings, releases) = (at("rings/checkout.yaml"), at("releases"));
    let broken = service.declarations.plan("checkout").replace("after: [eu]", "after: [mars]");
    fs::create_dir_all(&releases).expect("a folder");
    fs::write(&rings, broken).expect("a file");
    let text = document("checkout", "7", &image("checkout", '3'));
    fs::write(releases.join("checkout.yaml"), text).expect("a file");
    let other = document("search", "1.0", &image("search", '1'));
    fs::write(releases.join("search.yaml"), other).expect("a file");
    let settings = service.settings();
    // A plan that is in error from the beginning has no targets to be seen.
    let running = {
        let clock = service.clock.now().wall;
        let made = move |base| -> std::sync::Arc<dyn ringward::clock::Clock> {
            std::sync::Arc::new(ringward::clock::SystemClock::compressed(clock, base, crate::SPEED))
        };
        ringward::app::start(settings.clone(), made).await.expect("it starts")
    };
    let token = crate::common::admin_token(&running.data);
    let client = crate::common::Client::new(running.address, token);
    service.running = Some(running);
    let shown = there(&client, "search", "1.0").await;
    assert_eq!(shown["author"], "source:directory", "a directory knows of nobody");
    let refused = facts(&client, "refused").await;
    assert_eq!(refused.len(), 1, "{refused:#?}");
    assert_eq!(refused[0]["kind"], "plan-in-error");
    assert!(refused[0]["detail"].as_str().is_some_and(|d| d.contains("mars")), "{refused:#?}");

    fs::write(&rings, service.declarations.plan("checkout")).expect("a file");
    there(&client, "checkout", "7").await;
    assert_eq!(facts(&client, "refused").await.len(), 1);
    service.stop().await;
}
