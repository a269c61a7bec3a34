//! `Cluster` documents -> clusters.

use jiff::{Timestamp, tz::TimeZone};

use super::{At, Diagnostic, Kind, Rule, Units, World, repeats, territory, typed, units};
use crate::{
    declare::schema::{self, Provider, scalar::Moment, word},
    model::{
        ring::{Cluster, MetricSource, ProviderKind},
        time::Span,
    },
};

/// A cluster, and where it is declared.
#[derive(Debug)]
pub(super) struct Placed<'a> {
    pub cluster: Cluster,
    pub name: At<'a>,
    pair: At<'a>,
}

pub(super) fn lower<'a>(world: &World<'a>) -> Units<Placed<'a>> {
    units(world, Kind::Cluster, |name, doc, problems| {
        let cluster = one(world, name, &doc.head.metadata, doc.spec_as()?, doc.spec(), problems)?;
        Some(Placed { cluster, name: doc.name(), pair: doc.spec().field("failoverPair") })
    })
}

/// Makes pairs of failover partners: one that names nobody is paired with the one that names it, since
/// whichever of them moves first must keep the other from it; one that names a third is contradicted.
pub(super) fn pair(clusters: &mut Units<Placed<'_>>) {
    let named: Vec<(String, String)> = clusters
        .iter()
        .filter_map(|(name, unit)| {
            let partner = unit.value.as_ref()?.cluster.failover_pair.as_ref()?;
            Some((name.clone(), partner.as_str().to_owned()))
        })
        .collect();
    for (name, partner) in named.iter().filter(|(name, partner)| name != partner) {
        let Some(other) = clusters.get_mut(partner).and_then(|unit| unit.value.as_mut()) else {
            continue;
        };
        let back = other.cluster.failover_pair.get_or_insert_with(|| name.as_str().into()).clone();
        let mutual = named.iter().any(|(n, p)| n == partner && p == name);
        let declared = other.name.location();
        let Some(unit) = clusters.get_mut(name) else { continue };
        let Some(place) = unit.value.as_ref().map(|placed| placed.pair) else { continue };
        if back.as_str() != name {
            let message =
                format!("`{partner}` is no failover partner of `{name}`: it is `{back}`'s");
            let problem = place.problem(Rule::Ref008, message).note(format!("see {declared}"));
            unit.problems.push(problem.help("let two clusters name each other, and no third"));
        } else if !mutual {
            let message = format!("failover partner `{partner}` does not name `{name}` back");
            let problem = place.problem(Rule::Ref007, message).label("taken as said by both");
            let help = format!("give {partner} `failoverPair: {name}`, see {declared}");
            unit.problems.push(problem.help(help));
        }
    }
}

fn one(
    world: &World<'_>,
    name: &str,
    metadata: &schema::Metadata,
    spec: &schema::Cluster,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Cluster> {
    let region = at.require(spec.region.as_deref(), "region", problems);
    let jurisdiction = at.require(spec.jurisdiction.as_deref(), "jurisdiction", problems);
    if let Some(code) = jurisdiction {
        territory::country(code, at.field("jurisdiction"), problems);
    }
    if let Some(pair) = &spec.failover_pair {
        let place = at.field("failoverPair");
        if pair == name {
            let message = format!("cluster `{name}` cannot take over from itself");
            problems.push(place.problem(Rule::Sch007, message).help("name another cluster"));
        } else if !world.names.contains_key(&(Kind::Cluster, pair)) {
            problems.push(world.undeclared(Kind::Cluster, pair, place));
        }
    }
    let sources = at.field("metrics");
    let names = spec.metrics.iter().map(|m| m.name.as_deref().unwrap_or_default());
    for (i, source) in repeats(names).into_iter().filter(|(_, name)| !name.is_empty()) {
        let message = format!("metric source `{source}` is declared twice");
        let place = sources.item(i).field("name");
        problems.push(place.problem(Rule::Ref002, message).help("give each a name of its own"));
    }
    let metrics: Vec<_> = spec
        .metrics
        .iter()
        .enumerate()
        .filter_map(|(i, source)| metric_source(source, sources.item(i), problems))
        .collect();
    Some(Cluster {
        name: name.into(),
        labels: metadata.labels.clone(),
        region: region?.into(),
        jurisdiction: jurisdiction?.into(),
        data_classes: typed(&spec.data_classes),
        failover_pair: spec.failover_pair.as_deref().map(Into::into),
        connection: spec.connection.clone().unwrap_or_else(|| name.into()),
        metrics,
        verified_until: match spec.verified_until {
            Some(until) => Some(instant(until, at.field("verifiedUntil"), problems)?),
            None => None,
        },
    })
}

fn instant(moment: Moment, at: At<'_>, problems: &mut Vec<Diagnostic>) -> Option<Timestamp> {
    match moment {
        Moment::Instant(instant) => Some(instant),
        Moment::Date(date) => {
            let zoned = date.to_zoned(TimeZone::UTC);
            if zoned.is_err() {
                problems.push(at.problem(Rule::Sch004, "a date beyond all calendars"));
            }
            zoned.ok().map(|zoned| zoned.timestamp())
        }
    }
}

fn metric_source(
    spec: &schema::MetricSource,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<MetricSource> {
    let name = at.require(spec.name.as_deref(), "name", problems);
    let kind = at.require(spec.kind, "type", problems);
    let url = at.require(spec.url.as_deref(), "url", problems);
    if let Some(why) = url.and_then(wrong_with_url) {
        let problem = at.field("url").problem(Rule::Sch004, why);
        problems.push(problem.help("such as http://prometheus.monitoring.eu-west-1:9090"));
    }
    if let Some(code) = &spec.jurisdiction {
        territory::country(code, at.field("jurisdiction"), problems);
    }
    let kind = kind.and_then(|kind| provider(kind, spec, at, problems));
    let jurisdiction = spec.jurisdiction.as_deref().map(Into::into);
    Some(MetricSource { name: name?.into(), kind: kind?, url: url?.into(), jurisdiction })
}

/// How far back a source is asked for its newest number, where a declaration does not say.
const WINDOW: Span = Span::minutes(10);
/// The length of what is one number to CloudWatch, where a declaration does not say.
const PERIOD: Span = Span::minutes(1);

/// The kind of source, with what that kind needs; what another kind needs is a mistake.
fn provider(
    kind: Provider,
    spec: &schema::MetricSource,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<ProviderKind> {
    let given = [
        ("region", spec.region.is_some()),
        ("period", spec.period.is_some()),
        ("window", spec.window.is_some()),
        ("org", spec.org.is_some()),
        ("database", spec.database.is_some()),
        ("account", spec.account.is_some()),
        ("timestamp", spec.timestamp.is_some()),
    ];
    let taken: &[&str] = match kind {
        Provider::Prometheus | Provider::Alertmanager | Provider::Webhook => &[],
        Provider::Datadog | Provider::Graphite => &["window"],
        Provider::CloudWatch => &["region", "period", "window"],
        Provider::InfluxDb => &["org", "database"],
        Provider::NewRelic => &["account"],
        Provider::Json => &["timestamp"],
    };
    for (field, _) in given.iter().filter(|(field, given)| *given && !taken.contains(field)) {
        let message = format!("a metric source of type {} has no `{field}`", word(&kind));
        problems.push(at.field(field).key().problem(Rule::Sch007, message).help("take it out"));
    }
    let window = length("window", spec.window, WINDOW, at, problems);
    Some(match kind {
        Provider::Prometheus => ProviderKind::Prometheus,
        Provider::Alertmanager => ProviderKind::Alertmanager,
        Provider::Webhook => ProviderKind::Webhook,
        Provider::Datadog => ProviderKind::Datadog { window: window? },
        Provider::Graphite => ProviderKind::Graphite { window: window? },
        Provider::CloudWatch => {
            let region = at.require(spec.region.as_deref(), "region", problems);
            if let Some(region) = region.filter(|r| !super::is_label(r)) {
                let message = format!("`{region}` is no region of AWS'");
                let problem = at.field("region").problem(Rule::Sch004, message);
                problems.push(problem.help("such as eu-west-1"));
            }
            let period = length("period", spec.period, PERIOD, at, problems)?;
            // Anything else CloudWatch refuses.
            let seconds = period.0 / 1_000;
            if !period.0.is_multiple_of(1_000)
                || !([1, 5, 10, 20, 30].contains(&seconds) || seconds.is_multiple_of(60))
            {
                let message = format!("CloudWatch knows no period of {period}");
                let problem = at.field("period").problem(Rule::Sch004, message);
                problems.push(problem.help("use whole minutes, or 1s, 5s, 10s, 20s or 30s"));
            }
            ProviderKind::CloudWatch { region: region?.into(), period, window: window? }
        }
        Provider::InfluxDb => match (&spec.org, &spec.database) {
            (Some(_), Some(_)) => {
                let message = "`org` and `database` exclude each other";
                let problem = at.field("database").key().problem(Rule::Sch007, message);
                let help = "keep `org` to ask in Flux, or `database` to ask in InfluxQL";
                problems.push(problem.help(help));
                return None;
            }
            (Some(org), None) => ProviderKind::Flux { org: org.clone() },
            (None, Some(database)) => ProviderKind::InfluxQl { database: database.clone() },
            (None, None) => {
                if !at.lost("org") && !at.lost("database") {
                    let message = "a metric source of type influxdb without `org` or `database`";
                    let problem = at.field("type").problem(Rule::Sch003, message);
                    let help = "give `org` to ask in Flux, or `database` to ask in InfluxQL";
                    problems.push(problem.help(help));
                }
                return None;
            }
        },
        Provider::NewRelic => {
            ProviderKind::NewRelic { account: at.require(spec.account, "account", problems)? }
        }
        Provider::Json => {
            let pointer = at.require(spec.timestamp.as_deref(), "timestamp", problems)?;
            if !pointer.starts_with('/') {
                let message = format!("`{pointer}` is no JSON pointer");
                let problem = at.field("timestamp").problem(Rule::Sch004, message);
                problems.push(problem.help("such as /data/at"));
            }
            ProviderKind::Json { timestamp: pointer.into() }
        }
    })
}

/// A length of time of a source: not none, and not beyond what one answer can hold.
fn length(
    field: &str,
    given: Option<schema::scalar::Duration>,
    or: Span,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Span> {
    const LONGEST: Span = Span::minutes(24 * 60);
    let span = given.map_or(or, |duration| duration.0);
    if at.lost(field) {
        return None;
    }
    if span == Span::ZERO || span > LONGEST {
        let message = format!("a `{field}` of {span}");
        problems.push(at.field(field).problem(Rule::Sch004, message).help("from 1s to 1d"));
        return None;
    }
    Some(span)
}

/// Why a metric source's URL is refused. The adapter refuses link-local addresses again when it
/// connects, by what the name resolves to.
fn wrong_with_url(url: &str) -> Option<&'static str> {
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else {
        return Some("the URL of a metric source begins with http:// or https://");
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Some(
            "the URL of a metric source holds no user or password: secrets are no business of Git",
        );
    }
    if rest.contains(['?', '#']) || rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Some("the URL of a metric source has no query, fragment or space");
    }
    if authority.is_empty() || authority.starts_with(':') {
        return Some("the URL of a metric source names a host");
    }
    if authority.starts_with("169.254.") || authority.to_ascii_lowercase().starts_with("[fe80:") {
        return Some("the URL of a metric source is link-local: metadata services live there");
    }
    None
}
