//! Words of which one is chosen.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model;

/// A wire enum; with `=>`, one whose variants are those of a model's enum.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident $case:literal { $($(#[$rename:meta])* $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = $case)]
        #[expect(missing_docs, reason = "the name says it, or the model does")]
        pub enum $name { $($(#[$rename])* $variant,)* }
    };
    ($(#[$doc:meta])* $name:ident $case:literal => $model:path { $($variant:ident,)* }) => {
        words! { $(#[$doc])* $name $case { $($variant,)* } }

        impl From<$name> for $model {
            fn from(word: $name) -> Self {
                match word { $($name::$variant => Self::$variant,)* }
            }
        }
    };
}

words! {
    /// Which API a metric source speaks.
    Provider "camelCase" {
        Prometheus, Datadog, #[serde(rename = "cloudwatch")] CloudWatch, #[serde(rename = "influxdb")] InfluxDb, Graphite, NewRelic, Json,
        Alertmanager, Webhook,
    }
}
words! {
    /// The kinds of object that a release can change.
    TargetKind "PascalCase" {
        Deployment, StatefulSet, DaemonSet, ArgoRollout, FlaggerCanary, ArgoApplication, FluxKustomization, FluxHelmRelease,
        #[serde(rename = "HTTPRoute")] HttpRoute, Service, Ingress, FlagdFlag, UnleashFlag, LaunchDarklyFlag, FlagsmithFlag,
        CodeDeploy, CloudDeploy, Spinnaker, Harness, Webhook,
    }
}
words! {
    /// Which end of an order is taken.
    Ascent "camelCase" { Asc, Desc, }
}
words! {
    /// By which lane a release goes.
    Lane "camelCase" { Normal, Hotfix, }
}
words! {
    /// What goes back when a ring fails.
    RollbackScope "camelCase" => model::policy::RollbackScope { Ring, Descendants, Jurisdiction, Exposed, }
}
words! {
    /// What a newer release does to one in motion.
    OnNewer "camelCase" => model::plan::OnNewer { QueueLatest, FinishThen, ReplaceIfUnhealthy, Manual, }
}
words! {
    /// What a change of policy does to releases in motion.
    OnPolicyChange "camelCase" => model::plan::OnPolicyChange { Keep, Tighten, }
}
words! {
    /// What a failing measurement within its limit does to the soak.
    OnBreach "camelCase" => model::policy::OnBreach { Reset, Freeze, Fail, }
}
words! {
    /// What happens to a ring that had no usable measurement for too long.
    OnNoData "camelCase" => model::policy::OnNoData { Hold, Fail, }
}
words! {
    /// Which way is worse.
    Direction "camelCase" => model::policy::Direction { Increase, Decrease, }
}
words! {
    /// Which way of differing from a control is worse.
    Worse "camelCase" => model::judge::Worse { Increase, Decrease, Either, }
}
words! {
    /// A measure of how large a difference is.
    EffectMeasure "camelCase" => model::judge::EffectSize { MeanRatio, Cles, }
}
words! {
    /// What becomes of samples that are not a number.
    Nan "camelCase" => model::judge::Nan { Remove, Replace, }
}
words! {
    /// What becomes of samples far from the others.
    OutlierStrategy "camelCase" { Keep, Remove, }
}
words! {
    /// What kind of signal a gate reads.
    Signal "camelCase" => model::policy::Signal { Errors, Latency, Business, Saturation, }
}
words! {
    /// Whether a rule can be waived.
    Enforcement "camelCase" => model::residency::Enforcement { Hard, Waivable, }
}
words! {
    /// What of a measurement may leave its jurisdiction.
    Disclose "camelCase" => model::residency::Disclose { Raw, Aggregate, Verdict, }
}
words! {
    /// What a closed calendar holds.
    AppliesTo "camelCase" => model::calendar::AppliesTo { Start, Advance, Rollback, }
}
words! {
    /// What happens to a ring that is under way when its calendar closes.
    InFlight "camelCase" => model::calendar::InFlight { FinishCluster, FinishRing, Halt, }
}

words! {
    /// What somebody is told of.
    Topic "camelCase" => model::notify::Topic {
        Submitted, Started, Deployed, Passed, Succeeded, Failed, RollingBack, Restored, RolledBack, Stuck, Held,
        ApprovalNeeded, Approved, Rejected, Retried, Aborted, Superseded, Paused, Resumed, Frozen, Lifted,
        PlanInError, SourceRefused, Refused,
    }
}

/// A wire enum's value as it is written.
pub fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(_) | Err(_) => String::new(),
    }
}
