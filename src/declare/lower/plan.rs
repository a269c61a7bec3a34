//! `RingPlan` documents -> plans: the DAG, its clusters, and everything it rests on in one value.

use std::{collections::BTreeMap, sync::Arc};

use super::{At, Diagnostic, Doc, Kind, Rule, Unit, Units, World, dag, lane, ring, typed, units};
use crate::{
    declare::schema::{self, TargetKind, word},
    ids::{ClusterName, Commit},
    model::{
        bundle::Bundle,
        check::{self, Subject},
        plan::Plan,
        ring::{ArgoImage, HelmValues, Target, TargetKind as Driven},
    },
};

impl Unit<Arc<Plan>> {
    /// The plan, or the errors that keep it out of service.
    pub(super) fn verdict(self) -> Result<Arc<Plan>, Vec<Diagnostic>> {
        let mut errors: Vec<_> = self.errors().cloned().collect();
        errors.sort_by(|a, b| a.key().cmp(&b.key()));
        errors.dedup();
        match self.value {
            Some(plan) if errors.is_empty() => Ok(plan),
            Some(_) | None => Err(errors),
        }
    }
}

pub(super) fn lower(world: &World<'_>, commit: &Commit) -> Units<Arc<Plan>> {
    let mut plans = units(world, Kind::RingPlan, |name, doc, problems| {
        let plan = one(world, name, doc, commit, problems)?;
        if !problems.iter().any(Diagnostic::is_error) {
            let places = Places { world, doc, plan: &plan };
            problems.extend(check::notes(&plan).into_iter().map(|note| places.locate(note)));
        }
        Some(Arc::new(plan))
    });
    contested(world, &mut plans);
    plans
}

/// Objects that more than one plan drives: each would take the other's release for somebody's meddling.
/// There is no telling which is meant, so none of them is in service.
fn contested(world: &World<'_>, plans: &mut Units<Arc<Plan>>) {
    let mut driven: BTreeMap<_, Vec<&Plan>> = BTreeMap::new();
    for plan in plans.values().filter_map(|unit| unit.value.as_deref()) {
        driven.entry(plan.target.object()).or_default().push(plan);
    }
    let mut found: Vec<(String, Diagnostic)> = Vec::new();
    for rivals in driven.values().filter(|plans| plans.len() > 1) {
        for (plan, other) in rivals.iter().flat_map(|a| rivals.iter().map(move |b| (*a, *b))) {
            // A connection is what is driven; two documents of it are one cluster.
            let theirs: BTreeMap<&str, &ClusterName> =
                other.clusters().map(|c| (c.connection.as_str(), &c.name)).collect();
            let mut shared = plan.clusters().filter_map(|cluster| {
                let same = theirs.get(cluster.connection.as_str())?;
                Some((cluster, *same))
            });
            let Some((cluster, same)) = shared.next().filter(|_| plan.name != other.name) else {
                continue;
            };
            let place = |plan: &Plan| {
                let i = world.names.get(&(Kind::RingPlan, plan.name.as_str()))?;
                Some(world.documents[*i].spec().field("target").key())
            };
            let (Some(at), Some(there)) = (place(plan), place(other)) else { continue };
            let (kind, namespace, name) = plan.target.object();
            let message = format!(
                "plans `{}` and `{}` drive the same object: {kind} {namespace}/{name}",
                plan.name, other.name
            );
            let more = match shared.count() {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            let alias = match *same == cluster.name {
                true => String::new(),
                false => {
                    format!(", which is `{same}` too by its connection `{}`", cluster.connection)
                }
            };
            let problem = at
                .problem(Rule::Dag006, message)
                .label(format!("in cluster {}{alias}{more}", cluster.name))
                .note(format!("plan `{}`, {}", other.name, there.location()))
                .help("let one plan drive it, or take the cluster out of one of them");
            found.push((plan.name.as_str().to_owned(), problem));
        }
    }
    for (name, problem) in found {
        plans.entry(name).and_modify(|unit| unit.problems.push(problem));
    }
}

/// Where a plan's parts stand in the text.
struct Places<'w, 'a> {
    world: &'w World<'a>,
    doc: &'a Doc<'a>,
    plan: &'w Plan,
}

impl<'a> Places<'_, 'a> {
    fn locate(&self, note: check::Note) -> Diagnostic {
        let at = self.of(&note.subject).unwrap_or_else(|| self.doc.name());
        let mut diagnostic =
            Diagnostic::of(note.rule.id(), note.rule.severity().into(), note.message)
                .at(at.file, at.start..at.end)
                .label(note.label)
                .help(note.help);
        diagnostic.notes = note.facts;
        diagnostic
    }

    fn of(&self, subject: &Subject) -> Option<At<'a>> {
        let policy = |name: &str| self.world.policies.get(name)?.value.as_ref();
        match subject {
            Subject::Plan => None,
            Subject::Hotfix => Some(self.doc.spec().field("lanes").field("hotfix").key()),
            Subject::Ring(name) => {
                let spec: &schema::RingPlan = self.doc.spec_as()?;
                let mut rings = spec.rings.iter().flatten();
                let i = rings.position(|r| r.name.as_deref() == Some(name.as_str()))?;
                Some(self.doc.spec().field("rings").item(i).field("name"))
            }
            Subject::Cluster(name) => {
                Some(self.world.clusters.get(name.as_str())?.value.as_ref()?.name)
            }
            Subject::Soak(name) => Some(policy(name.as_str())?.soak),
            Subject::Gates(name) => Some(policy(name.as_str())?.gates),
            Subject::Gate(name, gate) => policy(name.as_str())?.gate.get(gate).copied(),
            Subject::Approvals(name) => Some(policy(name.as_str())?.approvals),
            Subject::Calendar(name) => {
                Some(self.world.calendars.get(name.as_str())?.value.as_ref()?.name)
            }
            Subject::Residency(declared_at) => {
                let spec: &schema::RingPlan = self.doc.spec_as()?;
                let rules = spec.residency.iter().filter_map(|n| self.world.residency.get(n));
                let mut placed = rules.filter_map(|unit| unit.value.as_ref()).flatten();
                let known = self.plan.residency.iter().any(|r| r.declared_at == *declared_at);
                placed.find(|p| known && p.rule.declared_at == *declared_at).map(|p| p.id)
            }
        }
    }
}

fn one(
    world: &World<'_>,
    name: &str,
    doc: &Doc<'_>,
    commit: &Commit,
    problems: &mut Vec<Diagnostic>,
) -> Option<Plan> {
    let spec: &schema::RingPlan = doc.spec_as()?;
    let at = doc.spec();
    let target = at
        .require(spec.target.as_ref(), "target", problems)
        .and_then(|target| one_target(target, at.field("target"), problems));
    let list = at.field("residency");
    let mut residency = Vec::new();
    for (i, policy) in spec.residency.iter().enumerate() {
        let place = list.item(i);
        let rules = world.find(&world.residency, Kind::ResidencyPolicy, policy, place, problems);
        residency.extend(rules.into_iter().flatten());
    }
    let written = at.require(spec.rings.as_deref(), "rings", problems)?;
    if written.is_empty() {
        let problem = at.field("rings").key().problem(Rule::Dag004, "a plan without a ring");
        problems.push(problem.help("declare one at the least, as in rings: [{name: all, ...}]"));
        return None;
    }
    let names: Vec<&str> = written.iter().filter_map(|r| r.name.as_deref()).collect();
    if names.len() == written.len() {
        residency.iter().for_each(|placed| placed.check_rings(name, &names, problems));
    }
    let graph = dag::graph(written, at.field("rings"), problems);
    let mut rings = Vec::new();
    for (i, ring) in written.iter().enumerate() {
        rings.extend(ring::one(world, ring, spec, at, i, problems));
    }
    ring::overlaps(&rings, written, at.field("rings"), problems);
    let all = (rings.len() == written.len()).then_some(rings.as_slice());
    let lanes = lane::lower(world, spec, at, all, problems);
    let graph = graph?;
    // What is sound goes on: the rest of the plan is in error anyway.
    let order: BTreeMap<_, _> = graph.order().iter().enumerate().map(|(i, r)| (r, i)).collect();
    rings.sort_by_key(|ring| order.get(&ring.name).copied());
    let mut plan = Plan {
        name: name.into(),
        hash: "".into(),
        commit: commit.clone(),
        target: target?,
        data_classes: typed(&spec.data_classes),
        on_newer: spec.on_newer.map(Into::into).unwrap_or_default(),
        on_policy_change: spec.on_policy_change.map(Into::into).unwrap_or_default(),
        max_skew: spec.max_skew.map(|n| n.0),
        lanes,
        graph: graph.clone(),
        rings,
        residency: residency.into_iter().map(|placed| placed.rule.clone()).collect(),
    };
    plan.hash = plan.fingerprint();
    Some(plan)
}

fn one_target(spec: &schema::Target, at: At<'_>, problems: &mut Vec<Diagnostic>) -> Option<Target> {
    let kind = at.require(spec.kind, "kind", problems)?;
    let [namespace, name] = match elsewhere(spec, kind) {
        None => [
            name_of(&spec.namespace, NAMESPACE, at, problems),
            name_of(&spec.name, NAME, at, problems),
        ],
        Some(names) => names.map(|(field, given)| at.require(given.clone(), field, problems)),
    };
    if let (TargetKind::FlagsmithFlag, Some(project)) = (kind, &namespace) {
        numbered(project, at, problems);
    }
    let mut container = || name_of(&spec.container, "container", at, problems);
    let (own, driven) = match kind {
        TargetKind::Deployment => {
            (CONTAINER, container().map(|container| Driven::Deployment { container }))
        }
        TargetKind::StatefulSet => {
            (CONTAINER, container().map(|container| Driven::StatefulSet { container }))
        }
        TargetKind::DaemonSet => {
            (CONTAINER, container().map(|container| Driven::DaemonSet { container }))
        }
        TargetKind::ArgoRollout => {
            (CONTAINER, container().map(|container| Driven::ArgoRollout { container }))
        }
        TargetKind::FlaggerCanary => {
            (CONTAINER, container().map(|container| Driven::FlaggerCanary { container }))
        }
        TargetKind::ArgoApplication => {
            let image = match (spec.revision == Some(true), spec.values.as_ref()) {
                (true, _) => Some((REVISION, Some(ArgoImage::Revision))),
                (false, None) => None,
                (false, Some(values)) => {
                    let values = helm_values(values, at.field(VALUES), problems);
                    Some((VALUES, values.map(ArgoImage::Values)))
                }
            };
            let (own, image) = image.unwrap_or_else(|| {
                (IMAGE, at.require(spec.image.clone(), IMAGE, problems).map(ArgoImage::Kustomize))
            });
            let source = spec.source.clone();
            (own, image.map(|image| Driven::ArgoApplication { image, source }))
        }
        TargetKind::FluxKustomization if spec.revision == Some(true) => {
            (REVISION, Some(Driven::FluxOciSource))
        }
        TargetKind::FluxKustomization => {
            let image = at.require(spec.image.clone(), IMAGE, problems);
            (IMAGE, image.map(|image| Driven::FluxKustomization { image }))
        }
        TargetKind::FluxHelmRelease if spec.revision == Some(true) => {
            (REVISION, Some(Driven::FluxOciChart))
        }
        TargetKind::FluxHelmRelease => {
            let values = at.require(spec.values.as_ref(), VALUES, problems);
            let values = values.and_then(|values| helm_values(values, at.field(VALUES), problems));
            (VALUES, values.map(|values| Driven::FluxHelmRelease { values }))
        }
        TargetKind::FlagdFlag => {
            let flag = at.require(spec.flag.clone(), FLAG, problems);
            let only = only(spec.only.as_ref(), at.field(ONLY), problems);
            let driven = flag.map(|flag| Driven::FlagdFlag {
                flag,
                file: spec.file.clone(),
                only,
                probe: spec.probe.clone(),
                cleanup_after: spec.cleanup_after.map(|span| span.0),
            });
            (FLAG, driven)
        }
        TargetKind::UnleashFlag => {
            let service = at.require(spec.service.clone(), SERVICE, problems);
            let cleanup_after = spec.cleanup_after.map(|span| span.0);
            (FLAG, service.map(|service| Driven::UnleashFlag { service, cleanup_after }))
        }
        TargetKind::LaunchDarklyFlag => {
            let service = at.require(spec.service.clone(), SERVICE, problems);
            let cleanup_after = spec.cleanup_after.map(|span| span.0);
            (FLAG, service.map(|service| Driven::LaunchDarklyFlag { service, cleanup_after }))
        }
        TargetKind::FlagsmithFlag => {
            let service = at.require(spec.service.clone(), SERVICE, problems);
            let cleanup_after = spec.cleanup_after.map(|span| span.0);
            (FLAG, service.map(|service| Driven::FlagsmithFlag { service, cleanup_after }))
        }
        TargetKind::CodeDeploy => {
            let service = at.require(spec.service.clone(), SERVICE, problems);
            let bundle = at.require(spec.bundle.as_ref(), BUNDLE, problems);
            let bundle = bundle.and_then(|text| bundle_of(text, at.field(BUNDLE), problems));
            let driven = service.zip(bundle);
            (BUNDLE, driven.map(|(service, bundle)| Driven::CodeDeploy { service, bundle }))
        }
        TargetKind::CloudDeploy => {
            let service = at.require(spec.service.clone(), SERVICE, problems);
            let image = at.require(spec.image.clone(), IMAGE, problems);
            let source = at.require(spec.source.clone(), SOURCE, problems);
            let driven = service.zip(image).zip(source.and_then(|source| {
                let stored = source.starts_with("gs://");
                if !stored {
                    let message = format!("`{source}` is no archive in Cloud Storage");
                    let help = "write gs://BUCKET/checkout.tar.gz: what releases are rendered from";
                    problems.push(at.field(SOURCE).problem(Rule::Sch006, message).help(help));
                }
                stored.then_some(source)
            }));
            let driven = driven.map(|((service, image), source)| Driven::CloudDeploy {
                service,
                image,
                source,
            });
            (IMAGE, driven)
        }
        TargetKind::Spinnaker => {
            let service = at.require(spec.service.clone(), SERVICE, problems);
            let parameter = at.require(spec.parameter.clone(), PARAMETER, problems);
            let driven = service.zip(parameter);
            (PARAMETER, driven.map(|(service, parameter)| Driven::Spinnaker { service, parameter }))
        }
        TargetKind::Harness => {
            let service = at.require(spec.service.clone(), SERVICE, problems);
            let org = at.require(spec.org.clone(), ORG, problems);
            let input = at.require(spec.input.clone(), INPUT, problems);
            let driven = service.zip(org).zip(input);
            let driven =
                driven.map(|((service, org), input)| Driven::Harness { service, org, input });
            (INPUT, driven)
        }
        TargetKind::Webhook => {
            let service = spec.service.clone();
            (NAME, service.map(|service| Driven::Webhook { service }))
        }
        TargetKind::HttpRoute | TargetKind::Service | TargetKind::Ingress => {
            let message = format!("this version cannot drive a target of kind {}", word(&kind));
            let help = "use Deployment, StatefulSet, DaemonSet, ArgoRollout, ArgoApplication, FlaggerCanary, \
                        FluxKustomization, FluxHelmRelease, FlagdFlag, UnleashFlag, LaunchDarklyFlag, FlagsmithFlag, \
                        CodeDeploy, CloudDeploy, Spinnaker, Harness or Webhook";
            problems.push(at.field("kind").problem(Rule::Sch008, message).help(help));
            return None;
        }
    };
    let given = [
        (NAMESPACE, spec.namespace.is_some()),
        (NAME, spec.name.is_some()),
        (CONTAINER, spec.container.is_some()),
        (IMAGE, spec.image.is_some()),
        (VALUES, spec.values.is_some()),
        (REVISION, spec.revision == Some(true)),
        (SOURCE, spec.source.is_some()),
        (FLAG, spec.flag.is_some()),
        (FILE, spec.file.is_some()),
        (ONLY, spec.only.is_some()),
        (PROBE, spec.probe.is_some()),
        (SERVICE, spec.service.is_some()),
        (PROJECT, spec.project.is_some()),
        (CLEANUP, spec.cleanup_after.is_some()),
        (APPLICATION, spec.application.is_some()),
        (GROUP, spec.group.is_some()),
        (BUNDLE, spec.bundle.is_some()),
        (PIPELINE, spec.pipeline.is_some()),
        (TARGET, spec.target.is_some()),
        (PARAMETER, spec.parameter.is_some()),
        (ORG, spec.org.is_some()),
        (INPUT, spec.input.is_some()),
    ];
    let (one_of, beside) = fields(kind);
    let odd = |field: &str| field != own && !beside.contains(&field);
    for (field, _) in given.into_iter().filter(|(field, given)| *given && odd(field)) {
        let (message, help) = match one_of.contains(&field) {
            true => (
                format!("`{field}` and `{own}` both say what of it a release changes"),
                format!("say by `{own}` what of it a release changes"),
            ),
            false => (
                format!("a target of kind {} has no `{field}`", word(&kind)),
                format!("it has `{own}` and `{}`", beside.join("`, `")),
            ),
        };
        problems.push(at.field(field).key().problem(Rule::Sch001, message).help(help));
    }
    Some(Target { kind: driven?, namespace: namespace?, name: name? })
}

const NAMESPACE: &str = "namespace";
const NAME: &str = "name";
const CONTAINER: &str = "container";
const IMAGE: &str = "image";
const VALUES: &str = "values";
const REVISION: &str = "revision";
const SOURCE: &str = "source";
const FLAG: &str = "flag";
const FILE: &str = "file";
const ONLY: &str = "only";
const PROBE: &str = "probe";
const SERVICE: &str = "service";
const PROJECT: &str = "project";
const CLEANUP: &str = "cleanupAfter";
const APPLICATION: &str = "application";
const GROUP: &str = "group";
const BUNDLE: &str = "bundle";
const PIPELINE: &str = "pipeline";
const TARGET: &str = "target";
const PARAMETER: &str = "parameter";
const ORG: &str = "org";
const INPUT: &str = "input";

/// The fields of a target of that kind: those that say what of it a release changes, of which it has one, and those
/// that it may have beside.
fn fields(kind: TargetKind) -> (&'static [&'static str], &'static [&'static str]) {
    const PLACE: &[&str] = &[NAMESPACE, NAME];
    match kind {
        TargetKind::Deployment
        | TargetKind::StatefulSet
        | TargetKind::DaemonSet
        | TargetKind::ArgoRollout
        | TargetKind::FlaggerCanary => (&[CONTAINER], PLACE),
        TargetKind::ArgoApplication => (&[IMAGE, VALUES, REVISION], &[NAMESPACE, NAME, SOURCE]),
        TargetKind::FluxKustomization => (&[IMAGE, REVISION], PLACE),
        TargetKind::FluxHelmRelease => (&[VALUES, REVISION], PLACE),
        TargetKind::FlagdFlag => (&[FLAG], &[NAMESPACE, NAME, FILE, ONLY, PROBE, CLEANUP]),
        TargetKind::UnleashFlag | TargetKind::LaunchDarklyFlag | TargetKind::FlagsmithFlag => {
            (&[FLAG], &[SERVICE, PROJECT, CLEANUP])
        }
        TargetKind::CodeDeploy => (&[BUNDLE], &[SERVICE, APPLICATION, GROUP]),
        TargetKind::CloudDeploy => (&[IMAGE], &[SERVICE, PIPELINE, TARGET, SOURCE]),
        TargetKind::Spinnaker => (&[PARAMETER], &[SERVICE, APPLICATION, PIPELINE]),
        TargetKind::Harness => (&[INPUT], &[SERVICE, ORG, PROJECT, PIPELINE]),
        TargetKind::Webhook => (&[NAME], &[SERVICE]),
        TargetKind::HttpRoute | TargetKind::Service | TargetKind::Ingress => (&[], &[]),
    }
}

/// The fields that a target outside of its cluster has in the place of a namespace and a name, with what is given.
fn elsewhere(
    spec: &schema::Target,
    kind: TargetKind,
) -> Option<[(&'static str, &Option<String>); 2]> {
    match kind {
        TargetKind::UnleashFlag | TargetKind::LaunchDarklyFlag | TargetKind::FlagsmithFlag => {
            Some([(PROJECT, &spec.project), (FLAG, &spec.flag)])
        }
        TargetKind::CodeDeploy => Some([(APPLICATION, &spec.application), (GROUP, &spec.group)]),
        TargetKind::CloudDeploy => Some([(PIPELINE, &spec.pipeline), (TARGET, &spec.target)]),
        TargetKind::Spinnaker => {
            Some([(APPLICATION, &spec.application), (PIPELINE, &spec.pipeline)])
        }
        TargetKind::Harness => Some([(PROJECT, &spec.project), (PIPELINE, &spec.pipeline)]),
        TargetKind::Webhook => Some([(SERVICE, &spec.service), (NAME, &spec.name)]),
        TargetKind::Deployment
        | TargetKind::StatefulSet
        | TargetKind::DaemonSet
        | TargetKind::ArgoRollout
        | TargetKind::FlaggerCanary
        | TargetKind::ArgoApplication
        | TargetKind::FluxKustomization
        | TargetKind::FluxHelmRelease
        | TargetKind::FlagdFlag
        | TargetKind::HttpRoute
        | TargetKind::Service
        | TargetKind::Ingress => None,
    }
}

/// Flagsmith knows its projects by numbers.
fn numbered(project: &str, at: At<'_>, problems: &mut Vec<Diagnostic>) {
    if project.parse::<u64>().is_err() {
        let message = format!("`{project}` is no project of Flagsmith's");
        let help = "give its number, as in the address of its pages: /project/42";
        problems.push(at.field(PROJECT).problem(Rule::Sch006, message).help(help));
    }
}

/// What a context must hold, as far as it is said.
fn only(
    given: Option<&BTreeMap<String, String>>,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> BTreeMap<String, String> {
    if given.is_some_and(BTreeMap::is_empty) {
        let help =
            "name what a context must hold, as in only: {region: eu-west-1}, or leave it out";
        problems
            .push(at.problem(Rule::Sch006, "nobody is told from anybody by nothing").help(help));
    }
    given.cloned().unwrap_or_default()
}

fn name_of(
    value: &Option<String>,
    field: &str,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<String> {
    let text = at.require(value.clone(), field, problems)?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if text.is_empty() || text.len() > 253 || !text.chars().all(fits) {
        let message = format!("`{text}` is no name that Kubernetes takes");
        let help = "use lower-case letters, digits, hyphens and dots";
        problems.push(at.field(field).problem(Rule::Sch006, message).help(help));
    }
    Some(text)
}

/// Where the bundles of images lie.
fn bundle_of(text: &str, at: At<'_>, problems: &mut Vec<Diagnostic>) -> Option<Bundle> {
    let read = text.parse();
    let odd = |why: String| {
        let help = "the file that a build puts there for each image, found by the image's digest";
        problems.push(at.problem(Rule::Sch006, why).help(help));
    };
    read.map_err(odd).ok()
}

fn helm_values(
    values: &schema::HelmValues,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<HelmValues> {
    let schema::HelmValues { image, repository, digest } = values;
    for (field, path) in [("image", image), ("repository", repository), ("digest", digest)] {
        let bad = |path: &String| path.split('.').any(str::is_empty);
        if path.as_ref().is_some_and(bad) {
            let message = "no path of a value";
            let help = "give the names on the way to it, with dots between them: `image.digest`";
            problems.push(at.field(field).problem(Rule::Sch006, message).help(help));
        }
    }
    if let Some(image) = image {
        if repository.is_some() || digest.is_some() {
            let message = "an image in one value, and in two";
            let help = "keep `image`, or `repository` and `digest`";
            problems.push(at.field("image").key().problem(Rule::Sch007, message).help(help));
        }
        return Some(HelmValues::Image { image: image.clone() });
    }
    let repository = at.require(repository.clone(), "repository", problems);
    let digest = at.require(digest.clone(), "digest", problems);
    Some(HelmValues::Parts { repository: repository?, digest: digest? })
}
