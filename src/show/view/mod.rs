//! Read models: what people and programs are shown, made from the live world when they ask.
//!
//! Architecture invariant: a view holds no secret and cannot be made to: its fields are names, figures
//! and words of declarations and facts, and neither of those carries a credential (invariant 27).
//! Figures that a residency rule keeps in their jurisdiction are left out here (invariant 6).

mod audit;
mod channel;
mod cluster;
mod debt;
mod earliest;
mod evidence;
mod explain;
mod flag;
mod line;
mod measurement;
mod plan;
mod release;
mod ring;
mod waiver;

#[cfg(test)]
mod tests;

pub use audit::{
    AuditPage, AuditView, BreakView, ChangeView, HappenedView, SignedHeadView, VerificationView,
    audit_page, is_visible, without_addresses,
};
pub use channel::{ChannelState, ChannelView, LeftOut};
pub use cluster::{ClusterRow, ClusterTarget, MetricSourceView, Running, WitnessView, clusters};
pub use debt::{DebtKind, DebtView, debts};
pub use earliest::EarliestView;
pub use evidence::{
    AttemptEvidence, BindingEvidence, Bounded, ChainEvidence, ClusterEvidence, DecisionEvidence,
    EventEvidence, EvidenceView, GateEvidence, HoldEvidence, Mark, MeasuredEvidence,
    PolicyEvidence, RefusalEvidence, ResidencyEvidence, RingEvidence, RuleEvidence,
};
pub use explain::{ExplainView, RingReasons, WaitView, explain};
pub use flag::{FlagView, flags};
pub use line::{
    ApprovalView, FreezeView, GivenApproval, PauseView, SaidView, ScopeView, SourceView, approvals,
    freezes, pauses, source,
};
pub use measurement::{
    FigureView, MeasurementView, QuestionView, TakenView, WindowView, measurement, questions,
};
pub use plan::{
    ApprovalsView, GateSpecView, PlanRingView, PlanView, ProblemView, ResidencyRuleView,
    RingSpecView, gate_specs, gates, plan, plan_alone, plan_ring, plans, ring_specs,
};
pub use release::{ReleaseSummary, ReleaseView, RingSummary, release, summary};
pub use ring::{ClusterView, GateCount, GateView, HoldView, RingView, SoakView, ring};
pub use waiver::{WaiverState, WaiverView, waivers};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page<T: ToSchema> {
    /// What is on it.
    pub items: Vec<T>,
    /// What the next page is asked for with; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_page_token: Option<String>,
}

impl<T: ToSchema> Page<T> {
    /// A list that fits one page.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next_page_token: None }
    }
}
