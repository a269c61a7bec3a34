//! How the core's own types stand in the OpenAPI document and on the wire, so that views can carry
//! them as they are.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, Schema, Type},
    },
};

use crate::{
    decide::{
        command::Lane,
        fact::Verdict,
        phase::{ReleasePhase, RingPhase},
        waiting::HoldKind,
    },
    ids::{
        CalendarName, ClusterName, Commit, DataClass, FreezeId, GateName, Hash, IdempotencyKey,
        Jurisdiction, PlanName, PolicyName, Principal, Region, ReleaseId, RingName, Version,
        WaiverId,
    },
    model::{
        graph::Join,
        plan::OnNewer,
        policy::{OnBreach, OnNoData, RollbackScope, Signal},
        residency::Enforcement,
        ring::Artifact,
        time::Span,
    },
};

fn text(about: &str, values: &[&str]) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String).description(Some(about));
    let values = (!values.is_empty()).then(|| values.iter().copied());
    text.enum_values(values).build().into()
}

macro_rules! schema {
    (@values) => { [] };
    (@values $values:expr) => { $values };
    ($($type:ident: $about:literal $(, $values:expr)?;)*) => { $(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                text($about, &schema!(@values $($values)?))
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                stringify!($type).into()
            }
        }
    )* };
}

schema! {
    PlanName: "A plan's name.";
    RingName: "A ring's name inside its plan.";
    ClusterName: "A cluster's name.";
    GateName: "A gate's name inside its policy.";
    PolicyName: "A ring policy's or a residency policy's name.";
    CalendarName: "A calendar's name.";
    Version: "A release's version inside its plan.";
    Region: "A cloud region.";
    Jurisdiction: "An ISO 3166-1 alpha-2 code or a bloc's name.";
    DataClass: "A class of data.";
    Principal: "Who asked: a person, a token, or ringward itself.";
    Hash: "A content hash in hexadecimal.";
    Commit: "A Git commit, or `dir:` and a content hash.";
    FreezeId: "Names one freeze.";
    WaiverId: "Names one waiver of a residency rule.";
    IdempotencyKey: "Makes a repeat of an effect recognisable.";
    ReleaseId: "`plan@version`.";
    Artifact: "An image reference, pinned by digest where it carries one; of a feature flag, what it serves.";
    Span: "A length of time, such as `90s` or `1h30m`.";
    Lane: "By which lane a release goes.", ["normal", "hotfix"];
    Verdict: "What a gate says; only Pass advances.",
        ["Pass", "Fail", "Insufficient", "Absent", "Error"];
    RingPhase: "The phase of a release on a ring.", RingPhase::ALL.map(RingPhase::name);
    ReleasePhase: "The phase of a release.", ReleasePhase::ALL.map(ReleasePhase::name);
    HoldKind: "The kind of a hold.", HOLDS.map(HoldKind::name);
    Join: "Whether all the rings before must have passed, or any.", ["all", "any"];
    OnNewer: "What a newer release does to one in motion.",
        ["queueLatest", "finishThen", "replaceIfUnhealthy", "manual"];
    OnBreach: "What a failing measurement does to the soak.", ["reset", "freeze", "fail"];
    OnNoData: "What happens without usable measurements.", ["hold", "fail"];
    Signal: "What kind of signal a gate reads.", ["errors", "latency", "business", "saturation"];
    RollbackScope: "Which rings go back when one does, of those where the release is out.",
        RollbackScope::ALL.map(RollbackScope::name);
    Enforcement: "Whether a residency rule can be waived.", ["hard", "waivable"];
}

/// Every kind of hold.
pub const HOLDS: [HoldKind; 12] = [
    HoldKind::Pause,
    HoldKind::Calendar,
    HoldKind::Freeze,
    HoldKind::Approval,
    HoldKind::Cap,
    HoldKind::Pair,
    HoldKind::Residency,
    HoldKind::Skew,
    HoldKind::Prerequisite,
    HoldKind::Policy,
    HoldKind::Data,
    HoldKind::Target,
];

/// A phase is derived and never stored; here it is written by its name.
macro_rules! by_name {
    ($phase:ident) => {
        impl Serialize for $phase {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.name())
            }
        }

        impl<'de> Deserialize<'de> for $phase {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

by_name!(RingPhase);
by_name!(ReleasePhase);
