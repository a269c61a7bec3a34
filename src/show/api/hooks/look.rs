//! What of the hooks' settings is of no use, before anybody asks.
//!
//! Nothing of it keeps a server from its start: secrets are read each time, plans may be declared later, and what is on its
//! way must be able to go back.

use std::path::{Path, PathBuf};

use super::{read, release};
use crate::{config::Settings, ids::PlanName};

/// A hook of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Where it stands in the settings.
    pub place: String,
    /// The file with its secret.
    pub secret: PathBuf,
    /// What is wrong with it and what to do, in words; nothing where it can be asked.
    pub flaws: Vec<(String, String)>,
}

/// Every hook that the settings name. Without `is_plan` nobody knows yet which plans there are.
pub fn look(settings: &Settings, is_plan: Option<&dyn Fn(&PlanName) -> bool>) -> Vec<Hook> {
    let mut all = Vec::new();
    let mut add = |place: String, secret: &Path, flaws: Vec<(String, String)>| {
        all.push(Hook { place, secret: secret.into(), flaws });
    };
    if let Some(path) = &settings.source.hook_secret_file {
        add("source.hookSecretFile".into(), path, flaw(path, read(path)));
    }
    if let Some(path) = &settings.hooks.flagger_secret_file {
        add("hooks.flaggerSecretFile".into(), path, flaw(path, read(path)));
    }
    for (name, hook) in &settings.hooks.releases {
        let mut flaws = flaw(&hook.secret_file, release::key(&hook.secret_file));
        if hook.plans.is_empty() {
            let cure = "name under plans those that it may release";
            flaws.push(("it may release no plan".into(), cure.into()));
        }
        let unknown = |plan: &&PlanName| is_plan.is_some_and(|is_plan| !is_plan(plan));
        for plan in hook.plans.iter().filter(unknown) {
            let cure = "declare it, or name another under plans";
            flaws.push((format!("no plan is called `{plan}`"), cure.into()));
        }
        add(format!("hooks.releases.{name}"), &hook.secret_file, flaws);
    }
    all
}

fn flaw(path: &Path, secret: Result<Vec<u8>, String>) -> Vec<(String, String)> {
    let why =
        secret.err().map(|why| format!("the secret in {} cannot be used: {why}", path.display()));
    let cure = "put it there, for the server's user to read; it is read each time, and no restart is needed";
    why.into_iter().map(|why| (why, cure.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::ReleaseHook;

    #[test]
    fn every_hook_is_looked_at_before_anybody_asks() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let mut settings = Settings::default();
        assert_eq!(look(&settings, None), []);
        settings.source.hook_secret_file = Some(file("git", "s3cret"));
        settings.hooks.flagger_secret_file = Some(folder.path().join("absent"));
        let hook = |secret_file, plans: &[&str]| ReleaseHook {
            secret_file,
            plans: plans.iter().map(|plan| (*plan).into()).collect(),
        };
        let good = file("ci", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz");
        settings.hooks.releases = [
            ("ci".to_owned(), hook(good.clone(), &["checkout", "chekout"])),
            ("idle".to_owned(), hook(good, &[])),
            ("short".to_owned(), hook(file("short", "whsec_c2hvcnQ="), &["checkout"])),
        ]
        .into();
        let is_plan = |plan: &PlanName| plan.as_str() == "checkout";
        let found = look(&settings, Some(&is_plan));
        let said = |place: &str| {
            let hook = found.iter().find(|hook| hook.place == place).unwrap();
            hook.flaws.iter().map(|(cause, _)| cause.as_str()).collect::<Vec<_>>().join("; ")
        };
        assert_eq!(said("source.hookSecretFile"), "");
        assert!(
            said("hooks.flaggerSecretFile").contains("absent cannot be used: it cannot be read")
        );
        assert_eq!(said("hooks.releases.ci"), "no plan is called `chekout`");
        assert_eq!(said("hooks.releases.idle"), "it may release no plan");
        assert!(said("hooks.releases.short").contains("24 bytes or more"));
        assert!(look(&settings, None).iter().all(|hook| hook.flaws.len() < 2));
    }
}
