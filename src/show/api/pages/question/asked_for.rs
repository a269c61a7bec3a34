//! What there is to say before something new is asked for: a release, or a waiver.

use std::collections::BTreeSet;

use axum::http::StatusCode;

use super::{super::super::problem::Problem, Look, joined, owned};
use crate::{
    decide::{phase, world::PlanState},
    ids::{PlanName, PolicyName},
    model::{
        plan::{OnNewer, Plan},
        residency::Enforcement,
        ring::Ring,
    },
    show::dashboard::confirm::{Choice, Question},
};

impl Look<'_> {
    fn declared(&self, plan: &PlanName) -> Result<(&PlanState, &Plan), Problem> {
        let state = self.world.plans.get(plan).filter(|state| !state.withdrawn);
        let declared = state.and_then(|state| Some((state.as_ref(), state.declared.as_deref()?)));
        declared.ok_or_else(|| {
            Problem::unknown("unknown-plan", format!("there is no plan {plan} any more"))
        })
    }

    pub(super) fn create(&self, name: &PlanName, question: &mut Question) -> Result<(), Problem> {
        let (state, plan) = self.declared(name)?;
        let asks = |ring: &Ring| {
            Some(format!("{} ({})", ring.name, ring.policy.approvals.as_ref()?.count))
        };
        let others = plan.rings.iter().filter(|ring| {
            ring.policy.approvals.as_ref().is_some_and(|approvals| approvals.exclude_author)
        });
        let others: Vec<&str> = others.map(|ring| ring.name.as_str()).collect();
        let approvals: Vec<String> = plan.rings.iter().filter_map(asks).collect();
        let places: BTreeSet<&str> = plan.clusters().map(|c| c.jurisdiction.as_str()).collect();
        let places: Vec<&str> = places.into_iter().collect();
        let open: Vec<String> = state
            .in_order()
            .filter(|release| !phase::is_settled(release))
            .map(|release| release.id.to_string())
            .collect();
        let meet = match plan.on_newer {
            OnNewer::QueueLatest => {
                "it waits on each ring until they are done there, and the newest goes on"
            }
            OnNewer::FinishThen => "it waits on each ring until they are done there, in order",
            OnNewer::ReplaceIfUnhealthy => {
                "it takes their place at once on a ring where they have failed or are not yet healthy, and else waits"
            }
            OnNewer::Manual => "it waits on each ring until an operator lets it advance",
        };
        question.will = vec![
            format!(
                "It goes by the plan as it is now, ring by ring: {}. That is {} in {}.",
                joined(plan.graph.order()),
                match plan.clusters().count() {
                    1 => "1 cluster".into(),
                    n => format!("{n} clusters"),
                },
                places.join(", ")
            ),
            "It starts at once wherever nothing holds it, and goes back by itself as its policy says.".into(),
            match approvals.as_slice() {
                [] => String::new(),
                rings => format!("People must agree before it starts on: {}.", rings.join(", ")),
            },
            match open.as_slice() {
                [] => "No other release of the plan is on its way.".into(),
                open => format!("On their way already: {}; {meet}.", open.join(", ")),
            },
            match others.as_slice() {
                [] => String::new(),
                rings => format!("You are its author: others must approve it on {}.", rings.join(", ")),
            },
        ];
        question.choices = vec![
            Choice::Line {
                name: "version",
                label: "Version",
                hint: "1 to 100 letters, digits and . _ + -",
                required: true,
            },
            match plan.target.kind.is_flag() {
                true => Choice::Line {
                    name: "serve",
                    label: "What the flag serves",
                    hint: "A variant, as in on, or shares with the rest last, as in on=25%,off",
                    required: true,
                },
                false => Choice::Line {
                    name: "image",
                    label: "Image, pinned by digest",
                    hint: "registry/app@sha256: and 64 hexadecimal digits",
                    required: true,
                },
            },
        ];
        if plan.lanes.hotfix.is_some() {
            question.choices.push(Choice::One {
                name: "lane",
                label: "Lane",
                of: owned(&[
                    ("", "Normal: the plan's rings as declared"),
                    ("hotfix", "Hotfix: sooner by the plan's rules; it needs a reason, and owes what it leaves out"),
                ]),
            });
        }
        question.choices.extend([
            Choice::Line {
                name: "requires",
                label: "Requires",
                hint: "Empty, or the version of this plan that must have passed everywhere first",
                required: false,
            },
            Choice::Box {
                name: "irreversible",
                label: "It cannot be undone: never roll it back automatically",
            },
        ]);
        question.bound.0 = vec![("policy".into(), plan.hash.to_string())];
        Ok(())
    }

    pub(super) fn ask_waiver(
        &self,
        name: &PlanName,
        (id, policy): (&str, Option<&PolicyName>),
        question: &mut Question,
    ) -> Result<(), Problem> {
        let (_, plan) = self.declared(name)?;
        let rule =
            plan.residency.iter().find(|rule| rule.id == id && rule.policy.as_ref() == policy);
        let rule = rule.ok_or_else(|| {
            Problem::unknown("unknown-rule", format!("plan {name} has no residency rule {id}"))
        })?;
        if rule.enforcement == Enforcement::Hard {
            let detail = format!("rule {id} is hard: nobody can waive it");
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "hard-rule", detail));
        }
        question.will = vec![
            format!(
                "Nothing changes yet: rule {id} binds until two approvers have agreed, neither of whom asked for \
                 it or made the release."
            ),
            "Then it does not bind where you say below, until the time is over or somebody revokes it.".into(),
        ];
        let every = ("".to_owned(), "Every ring of the plan".to_owned());
        let rings = plan.rings.iter().map(|ring| (ring.name.to_string(), ring.name.to_string()));
        question.choices = vec![
            Choice::One {
                name: "ring",
                label: "On",
                of: std::iter::once(every).chain(rings).collect(),
            },
            Choice::Line {
                name: "release",
                label: "For the version",
                hint: "Empty: for any release of the plan. It may be one to come",
                required: false,
            },
            Choice::One {
                name: "for",
                label: "For how long, from now",
                of: owned(&[
                    ("1h", "1 hour"),
                    ("4h", "4 hours"),
                    ("1d", "1 day"),
                    ("3d", "3 days"),
                    ("7d", "7 days, the longest there is"),
                ]),
            },
        ];
        question.bound.0 = vec![
            ("rule".into(), id.to_owned()),
            ("declared at".into(), rule.declared_at.clone()),
            ("policy".into(), plan.hash.to_string()),
        ];
        Ok(())
    }
}
