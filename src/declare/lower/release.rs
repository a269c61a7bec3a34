//! `Release` documents -> what is asked for when their commit is followed.

use std::{cmp::Ordering, collections::BTreeMap};

use super::{At, Diagnostic, Doc, Kind, Rule, Unit, Units, World, units};
use crate::{
    declare::{
        DeclaredRelease,
        schema::{self, Lane},
    },
    ids::ReleaseId,
    model::{
        plan::Plan,
        release::{VERSION, Wanted, is_version, newer, wrong_image, wrong_text},
        ring::Artifact,
        serve::Serve,
    },
};

use std::sync::Arc;

/// Every release without an error, the older versions of a plan first; with all problems.
pub(super) fn lower(
    world: &World<'_>,
    plans: &Units<Arc<Plan>>,
) -> (Vec<DeclaredRelease>, Vec<Diagnostic>) {
    let mut units = units(world, Kind::Release, |_, doc, problems| {
        one(world, plans, doc, doc.spec_as()?, problems)
    });
    twice(world, &mut units);
    let problems = units.values().flat_map(|unit| unit.problems.iter().cloned()).collect();
    let mut releases: Vec<_> = units.values().filter_map(Unit::sound).cloned().collect();
    releases.sort_by(|a, b| order(&a.wanted, &b.wanted));
    (releases, problems)
}

fn order(a: &Wanted, b: &Wanted) -> Ordering {
    a.plan.cmp(&b.plan).then_with(|| newer(a.version.as_str(), b.version.as_str()))
}

/// Releases that several documents declare: there is no telling which is meant.
fn twice(world: &World<'_>, units: &mut Units<DeclaredRelease>) {
    let mut named: BTreeMap<ReleaseId, Vec<String>> = BTreeMap::new();
    for (name, unit) in units.iter() {
        if let Some(DeclaredRelease { wanted, .. }) = &unit.value {
            let id = ReleaseId::new(wanted.plan.clone(), wanted.version.clone());
            named.entry(id).or_default().push(name.clone());
        }
    }
    for (id, names) in named.into_iter().filter(|(_, names)| names.len() > 1) {
        let place = |name: &String| {
            let i = world.names.get(&(Kind::Release, name.as_str()))?;
            Some(world.documents[*i].spec().field("version"))
        };
        for (name, other) in names.iter().zip(names.iter().cycle().skip(1)) {
            let (Some(at), Some(there)) = (place(name), place(other)) else { continue };
            let problem = at
                .problem(Rule::Rel002, format!("release {id} is declared twice"))
                .note(format!("`{other}` declares it too, in {}", there.location()))
                .help("keep one of them, or give this one a version of its own");
            units.entry(name.clone()).and_modify(|unit| unit.problems.push(problem));
        }
    }
}

fn one(
    world: &World<'_>,
    plans: &Units<Arc<Plan>>,
    doc: &Doc<'_>,
    spec: &schema::Release,
    problems: &mut Vec<Diagnostic>,
) -> Option<DeclaredRelease> {
    let at = doc.spec();
    let name = at.require(spec.plan.as_deref(), "plan", problems);
    if let Some(name) = name
        && !world.names.contains_key(&(Kind::RingPlan, name))
    {
        problems.push(world.undeclared(Kind::RingPlan, name, at.field("plan")));
    }
    // What keeps the plan out of service is told where it stands; its releases are refused for as long as it is so.
    let plan = name.and_then(|name| plans.get(name)?.value.as_deref());
    let version = at.require(spec.version.as_deref(), "version", problems);
    for (version, field) in [(version, "version"), (spec.requires.as_deref(), "requires")] {
        if let Some(version) = version.filter(|version| !is_version(version)) {
            let problem =
                at.field(field).problem(Rule::Sch004, format!("`{version}` is no version"));
            problems.push(problem.help(VERSION));
        }
    }
    if spec.requires.is_some() && spec.requires.as_deref() == version {
        let problem = at.field("requires").problem(Rule::Sch004, "a release cannot require itself");
        problems.push(problem.help("name an earlier version, or leave it out"));
    }
    let hotfix = matches!(spec.lane, Some(Lane::Hotfix));
    if hotfix && spec.reason.is_none() && !at.lost("reason") {
        let problem = at.field("lane").problem(Rule::Sch003, "the hotfix lane needs a reason");
        problems.push(problem.help("say under `reason` why it cannot wait"));
    }
    if let Some(plan) = plan.filter(|plan| hotfix && plan.lanes.hotfix.is_none()) {
        let message = format!("plan `{}` declares no rules for a hotfix lane", plan.name);
        let problem = at.field("lane").problem(Rule::Rel001, message);
        problems.push(problem.help("declare `lanes.hotfix` in the plan, or leave `lane` out"));
    }
    if let Some(wrong) = spec.reason.as_deref().and_then(wrong_text) {
        problems.push(at.field("reason").problem(Rule::Sch004, format!("the reason: {wrong}")));
    }
    let deployed = at.require(spec.artifact.as_ref(), "artifact", problems);
    let place = at.field("artifact");
    let artifact = deployed.and_then(|deployed| artifact(deployed, plan, place, problems));
    let says = match deployed {
        Some(schema::Deployed { image: Some(_), .. }) => place.field("image"),
        Some(schema::Deployed { serve: Some(_), .. }) => place.field("serve"),
        Some(schema::Deployed { image: None, serve: None }) | None => place,
    };
    Some(DeclaredRelease {
        wanted: Wanted {
            plan: name?.into(),
            version: version?.into(),
            artifact: artifact?,
            hotfix,
            reason: spec.reason.clone(),
            irreversible: spec.irreversible,
            requires: spec.requires.as_deref().map(Into::into),
        },
        file: doc.file.path.clone(),
        line: doc.file.line(says.start).0,
    })
}

/// What is deployed, where it can be told and the plan can take it.
fn artifact(
    deployed: &schema::Deployed,
    plan: Option<&Plan>,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Artifact> {
    let schema::Deployed { image, serve } = deployed;
    let flag = plan.map(|plan| plan.target.kind.is_flag());
    match (image, serve) {
        (Some(_), Some(_)) => {
            let problem = at.problem(Rule::Sch007, "`image` and `serve` exclude each other");
            problems.push(problem.help("`serve` is for plans whose target is a feature flag"));
            None
        }
        (None, None) => {
            if !at.damaged() {
                let problem = at.key().problem(Rule::Sch003, "it says nothing that is deployed");
                problems.push(problem.help("give `image`, or `serve` of a feature flag"));
            }
            None
        }
        (Some(image), None) => {
            let at = at.field("image");
            if flag == Some(true) {
                let problem = at.problem(Rule::Rel001, "the plan's target is a feature flag");
                problems.push(problem.help("say by `serve` what it serves"));
            }
            if let Some(wrong) = wrong_image(image) {
                problems.push(at.problem(Rule::Sch004, wrong));
            }
            Some(Artifact(image.clone()))
        }
        (None, Some(serve)) => {
            let at = at.field("serve");
            if flag == Some(false) {
                let problem = at.problem(Rule::Rel001, "the plan's target is no feature flag");
                problems.push(problem.help("give its `image`"));
            }
            match serve.parse::<Serve>() {
                Ok(serve) => Some(Artifact(serve.to_string())),
                Err(why) => {
                    problems.push(at.problem(Rule::Sch004, why.to_string()));
                    None
                }
            }
        }
    }
}
