//! The journal as people and programs read it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    decide::{event::Action, fact::Fact, world::World},
    ids::{ClusterName, Hash, PlanName, ReleaseId, RingName},
    record::{Entry, audit::Verification, seal::SignedHead},
    show::{
        change::{About, Change, ChangeKind},
        words,
    },
};

/// Entries of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditPage {
    /// The entries, oldest first, without those about plans that the reader may not see.
    pub entries: Vec<AuditView>,
    /// What to say as `since` for the next page; missing at the end of the journal.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<u64>,
}

/// One decision as recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditView {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When it was decided.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The writer's epoch.
    pub epoch: u64,
    /// What became true, in this order.
    pub facts: Vec<HappenedView>,
    /// What was to be done about it, in this order.
    pub commands: Vec<HappenedView>,
    /// The hash of the entry before.
    pub prev: Hash,
    /// Its own hash, over the bytes as stored.
    pub hash: Hash,
}

/// One fact or command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HappenedView {
    /// Its name, such as `ringStarted`.
    pub what: String,
    /// Its fields, as the journal has them but for the addresses of metric sources.
    #[schema(value_type = Object)]
    pub with: Value,
}

/// What a verification of the whole journal found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerificationView {
    /// How many entries hold, from the first.
    pub entries: u64,
    /// The hash of the last that holds.
    pub head: Hash,
    /// Where the chain ceases to hold, if it does.
    pub broken: Option<BreakView>,
}

/// The first place where the chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BreakView {
    /// The entry's number.
    pub seq: u64,
    /// What is wrong with it.
    pub why: String,
}

/// How far the journal has come, signed by the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignedHeadView {
    /// The number of its last entry.
    pub seq: u64,
    /// That entry's hash, which all entries before it are in.
    pub head: Hash,
    /// When it was signed.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The server's public key: `ed25519:` and base64.
    pub key: String,
    /// The signature, in base64, over the text `ringward audit head v1`, `entry SEQ`, `hash HEAD` and
    /// `at AT`, each with a line feed behind it.
    pub signature: String,
}

impl From<SignedHead> for SignedHeadView {
    fn from(signed: SignedHead) -> Self {
        let SignedHead { seq, head, at, key, signature } = signed;
        Self { seq, head: head.into(), at, key: key.to_string(), signature }
    }
}

impl From<Verification> for VerificationView {
    fn from(found: Verification) -> Self {
        let broken = found.broken.map(|broken| BreakView { seq: broken.seq, why: broken.why });
        Self { entries: found.entries, head: found.head, broken }
    }
}

/// The `object` of an event: what changed. Who wants to know how it is now asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeView {
    /// When it was decided.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The plan, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plan: Option<PlanName>,
    /// The releases that it is about.
    pub releases: Vec<ReleaseId>,
    /// The rings that it is about.
    pub rings: Vec<RingName>,
    /// The names of what happened, as the audit has them.
    pub what: Vec<String>,
}

impl ChangeView {
    /// A change with the kind that its event is typed by.
    pub fn of(change: &Change) -> (ChangeKind, Self) {
        let view = Self {
            at: change.at.wall,
            plan: change.plan.clone(),
            releases: change.releases.clone(),
            rings: change.rings.clone(),
            what: change.what.iter().map(|name| (*name).to_owned()).collect(),
        };
        (change.kind, view)
    }
}

/// What `entries` say, as far as `shown` lets a plan through and residency lets figures out.
pub fn audit_page(
    world: &World,
    entries: &[Entry],
    next: Option<u64>,
    shown: impl Fn(&PlanName) -> bool,
) -> AuditPage {
    let visible = |entry: &&Entry| is_visible(entry, &shown);
    let view = |entry: &Entry| AuditView {
        seq: entry.seq,
        at: entry.at.wall,
        epoch: entry.epoch,
        facts: entry.facts.iter().map(|fact| happened(&disclosed(world, fact))).collect(),
        commands: entry.commands.iter().map(happened).collect(),
        prev: entry.prev.clone(),
        hash: entry.hash.clone(),
    };
    AuditPage { entries: entries.iter().filter(visible).map(view).collect(), next }
}

/// Whether all that an entry is about is of plans that `shown` lets through.
pub fn is_visible(entry: &Entry, shown: impl Fn(&PlanName) -> bool) -> bool {
    entry.facts.iter().filter_map(plan_of).all(|plan| shown(&plan))
        && entry.commands.iter().all(|command| shown(command.plan()))
}

/// The plan that a fact names; a refusal names it in what was asked.
fn plan_of(fact: &Fact) -> Option<PlanName> {
    if let Fact::Refused { asked, .. } = fact {
        return serde_json::from_str::<Action>(asked).ok()?.plan().cloned();
    }
    About::of(fact).plan.cloned()
}

/// The fact without the figures that stay in their jurisdiction.
fn disclosed(world: &World, fact: &Fact) -> Fact {
    let kept = |release: &ReleaseId, cluster: &ClusterName| {
        world.release(release).is_some_and(|release| words::withheld(&release.plan, cluster))
    };
    let mut shown = fact.clone();
    if let Fact::Measured { release, cluster, judged, .. } = &mut shown
        && kept(release, cluster)
    {
        *judged = judged.without_figures(words::WITHHELD);
    }
    if let Fact::HistoryTaken { release, cluster, taken, .. } = &mut shown
        && kept(release, cluster)
    {
        *taken = taken.without_figures();
    }
    if let Fact::BaselineTaken { release, cluster, value, .. } = &mut shown
        && kept(release, cluster)
    {
        *value = f64::NAN;
    }
    shown
}

/// What the journal holds, without the addresses of metric sources: they are nobody's but the platform's.
pub fn without_addresses<T: Serialize>(item: &T) -> Value {
    // What the journal could write can be written again.
    let mut value = serde_json::to_value(item).unwrap_or(Value::Null);
    take_addresses(&mut value);
    value
}

fn take_addresses(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("url");
            fields.values_mut().for_each(take_addresses);
        }
        Value::Array(items) => items.iter_mut().for_each(take_addresses),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Facts and commands are tagged by their names in the journal; the view takes name and fields apart.
fn happened<T: Serialize>(item: &T) -> HappenedView {
    let (what, with) = match without_addresses(item) {
        Value::Object(tagged) => tagged.into_iter().next().unwrap_or_default(),
        Value::String(name) => (name, Value::Null),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => Default::default(),
    };
    HappenedView { what, with }
}
