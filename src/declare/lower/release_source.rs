//! `ReleaseSource` documents -> where releases come from by themselves.

use super::{At, Diagnostic, Doc, Kind, Rule, Unit, World, bad_name, is_label, units};
use crate::{
    declare::schema::{self, Ascent},
    model::{
        semver::Range,
        source::{Filter, From, Order, PolicyPlace, ReleaseSource, Repository, Tags},
        time::Span,
    },
};

/// The shortest time between two looks.
const SHORTEST: Span = Span::seconds(10);

/// Every source without an error, with all problems.
pub(super) fn lower(world: &World<'_>) -> (Vec<ReleaseSource>, Vec<Diagnostic>) {
    let units = units(world, Kind::ReleaseSource, |name, doc, problems| {
        one(world, name, doc, doc.spec_as()?, problems)
    });
    let problems = units.values().flat_map(|unit| unit.problems.iter().cloned()).collect();
    (units.values().filter_map(Unit::sound).cloned().collect(), problems)
}

fn one(
    world: &World<'_>,
    name: &str,
    doc: &Doc<'_>,
    spec: &schema::ReleaseSource,
    problems: &mut Vec<Diagnostic>,
) -> Option<ReleaseSource> {
    let at = doc.spec();
    let plan = at.require(spec.plan.as_deref(), "plan", problems);
    if let Some(plan) = plan
        && !world.names.contains_key(&(Kind::RingPlan, plan))
    {
        problems.push(world.undeclared(Kind::RingPlan, plan, at.field("plan")));
    }
    let interval = spec.interval.map(|interval| interval.0);
    if interval.is_some_and(|interval| interval < SHORTEST) {
        let problem =
            at.field("interval").problem(Rule::Sch004, "looks that are less than 10s apart");
        problems.push(problem.help("a registry counts what it is asked: minutes are usual"));
    }
    let (from, usual) = match (&spec.registry, &spec.image_policy) {
        (Some(registry), None) => {
            let tags = tags(registry, at.field("registry"), problems);
            (tags.map(From::Registry), Span::minutes(5))
        }
        (None, Some(policy)) => {
            let place = policy_place(world, policy, at.field("imagePolicy"), problems);
            (place.map(From::ImagePolicy), Span::minutes(1))
        }
        (Some(_), Some(_)) => {
            let message = "`registry` and `imagePolicy` exclude each other";
            let problem = at.field("imagePolicy").key().problem(Rule::Sch007, message);
            problems.push(problem.help("declare a ReleaseSource for each of them"));
            return None;
        }
        (None, None) => {
            if !at.lost("registry") && !at.lost("imagePolicy") {
                let message = "a source that looks nowhere";
                let problem = at.key().problem(Rule::Sch003, message);
                problems.push(problem.help("say where under `registry`, or under `imagePolicy`"));
            }
            return None;
        }
    };
    Some(ReleaseSource {
        name: name.to_owned(),
        plan: plan?.into(),
        from: from?,
        interval: interval.unwrap_or(usual),
    })
}

fn tags(
    registry: &schema::RegistryTags,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Tags> {
    let image = at.require(registry.image.as_deref(), "image", problems).and_then(|image| {
        let read = Repository::read(image);
        if read.is_none() {
            let problem =
                at.field("image").problem(Rule::Sch004, format!("`{image}` is no repository"));
            problems.push(problem.help(
                "give its registry and its name, without a tag: registry.example.com/shop/checkout",
            ));
        }
        read
    });
    let filter = match &registry.filter_tags {
        None => Some(None),
        Some(filter) => {
            let at = at.field("filterTags");
            let pattern = at.require(filter.pattern.as_deref(), "pattern", problems);
            pattern.and_then(|pattern| match Filter::read(pattern, filter.extract.as_deref()) {
                Ok(filter) => Some(Some(filter)),
                Err(why) => {
                    let problem = at.field("pattern").problem(
                        Rule::Sch004,
                        format!("the pattern is no regular expression: {why}"),
                    );
                    problems.push(problem.help(r"such as ^main-[0-9a-f]+-(?P<ts>\d+)$"));
                    None
                }
            })
        }
    };
    let policy = at.require(registry.policy.as_ref(), "policy", problems);
    let order = policy.and_then(|policy| order(policy, at.field("policy"), problems));
    Some(Tags { image: image?, filter: filter?, order: order? })
}

fn order(policy: &schema::TagPolicy, at: At<'_>, problems: &mut Vec<Diagnostic>) -> Option<Order> {
    let descending = |policy: &schema::OrderPolicy| matches!(policy.order, Some(Ascent::Desc));
    match (&policy.semver, &policy.alphabetical, &policy.numerical) {
        (Some(semver), None, None) => {
            let at = at.field("semver");
            let range = at.require(semver.range.as_deref(), "range", problems)?;
            let read = Range::read(range);
            if read.is_none() {
                let message = format!("`{range}` is no range of semantic versions");
                let problem = at.field("range").problem(Rule::Sch004, message);
                problems.push(problem.help("such as >=1.4.0 <2, ^1.4, ~1.4.2 or 1.4.x"));
            }
            read.map(Order::Semver)
        }
        (None, Some(policy), None) => Some(Order::Alphabetical { descending: descending(policy) }),
        (None, None, Some(policy)) => Some(Order::Numerical { descending: descending(policy) }),
        (None, None, None) => {
            if !at.damaged() {
                let problem = at.key().problem(Rule::Sch003, "a policy that orders nothing");
                problems.push(problem.help("give `semver`, `alphabetical` or `numerical`"));
            }
            None
        }
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
            let message = "`semver`, `alphabetical` and `numerical` exclude each other";
            problems.push(at.problem(Rule::Sch007, message).help("keep one of them"));
            None
        }
    }
}

fn policy_place(
    world: &World<'_>,
    policy: &schema::ImagePolicy,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<PolicyPlace> {
    let cluster = at.require(policy.cluster.as_deref(), "cluster", problems);
    let found = cluster.and_then(|cluster| {
        world.find(&world.clusters, Kind::Cluster, cluster, at.field("cluster"), problems)
    });
    let namespace = at.require(policy.namespace.as_deref(), "namespace", problems);
    let name = at.require(policy.name.as_deref(), "name", problems);
    if let Some(namespace) = namespace.filter(|namespace| !is_label(namespace)) {
        problems.push(bad_name(at.field("namespace"), namespace));
    }
    // A subdomain: labels with dots between them.
    if let Some(name) = name.filter(|name| !name.split('.').all(is_label)) {
        problems.push(bad_name(at.field("name"), name));
    }
    let cluster = &found?.cluster;
    Some(PolicyPlace {
        cluster: cluster.name.clone(),
        connection: cluster.connection.clone(),
        namespace: namespace?.to_owned(),
        name: name?.to_owned(),
    })
}
