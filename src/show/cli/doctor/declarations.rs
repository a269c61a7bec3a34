//! The source of declarations: whether it can be had, and what is in it.

use std::{path::Path, time::Duration};

use super::{Health, Report};
use crate::{
    config::{Settings, SourceSettings},
    declare::{
        Compiled, Snapshot, compile,
        source::{GitSettings, GitSource, Polled, read_dir},
    },
    follow::limits_nothing,
    sim::demo::Scratch,
};

/// How long a fetch may take.
const FETCH: Duration = Duration::from_secs(60);

/// Reads the declarations as the server would at its first start; nothing where they cannot be had.
pub(super) async fn look(settings: &Settings, report: &mut Report) -> Option<Compiled> {
    let (which, snapshot) = match (&settings.source.path, &settings.source.url) {
        (Some(path), None) => (path.display().to_string(), directory(path)),
        (None, Some(url)) => fetched(&settings.source, url).await,
        (given, _) => {
            let found =
                if given.is_some() { "both a directory and a repository" } else { "none is given" };
            let cure = "give source.path or source.url in the settings, or --source";
            report.add(Health::Fail, "source", "-", found, cure);
            return None;
        }
    };
    let snapshot = match snapshot {
        Ok(snapshot) => snapshot,
        Err((found, cure)) => {
            report.add(Health::Fail, "source", which, found, cure);
            return None;
        }
    };
    report.ok("source", &which, format!("at {}", snapshot.commit));
    let compiled = match tokio::task::spawn_blocking(move || compile(&snapshot)).await {
        Ok(compiled) => compiled,
        Err(error) => {
            report.add(
                Health::Fail,
                "declarations",
                which,
                error.to_string(),
                "ringward check says more",
            );
            return None;
        }
    };
    let errors = compiled.diagnostics.iter().filter(|problem| problem.is_error()).count();
    let (plans, clusters) = (compiled.plans.len(), compiled.clusters.len());
    let found = format!("{plans} plans over {clusters} clusters, {errors} errors");
    match errors {
        0 => report.ok("declarations", which, found),
        _ => {
            let cure = "ringward check shows each, with its place and what to do";
            report.add(Health::Fail, "declarations", which, found, cure);
        }
    }
    for name in limits_nothing(&settings.limits.in_motion, &compiled) {
        let cure = "name a country, a bloc, or a region that a cluster is declared in";
        report.add(
            Health::Fail,
            "limits",
            name,
            "limits.inMotion names it, and it limits nothing",
            cure,
        );
    }
    Some(compiled)
}

type Had = Result<Snapshot, (String, &'static str)>;

fn directory(path: &Path) -> Had {
    read_dir(path).map_err(|why| (why, "name the directory that holds rings/ and policies/"))
}

/// The head of the branch, fetched aside from the server's own repository.
async fn fetched(source: &SourceSettings, url: &str) -> (String, Had) {
    let scratch = match Scratch::new("ringward-doctor") {
        Ok(scratch) => scratch,
        Err(error) => {
            return ("git".into(), Err((error.to_string(), "let this user write to $TMPDIR")));
        }
    };
    let settings = GitSettings {
        url: url.to_owned(),
        branch: source.branch.clone(),
        path: source.subpath.clone(),
        store: scratch.path().join("source.git"),
        timeout: FETCH,
    };
    let mut source = match GitSource::new(settings, None) {
        Ok(source) => source,
        Err(error) => {
            return ("git".into(), Err((error.to_string(), "mend source in the settings")));
        }
    };
    let which = source.describe();
    let had = match source.poll().await {
        Polled::New(snapshot) => Ok(snapshot),
        Polled::Refused { commit, why } => {
            Err((format!("{commit} is not accepted: {why}"), "see above"))
        }
        Polled::Unreachable(why) => Err((
            why,
            "try `git ls-remote` with that URL as the server's user: network, host key, credentials",
        )),
        Polled::Unchanged => Err(("nothing was fetched".into(), "try again")),
    };
    (which, had)
}
