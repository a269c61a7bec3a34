//! What can be asked for on a page: its form, its words, and what it takes of whoever asks.

use std::collections::BTreeMap;

use super::html::{Text, release_path, ring_path};
use crate::{
    decide::event::Scope,
    ids::{FreezeId, Jurisdiction, PlanName, PolicyName, ReleaseId, RingName, WaiverId},
    show::{auth::Verb, words},
};

/// Something that somebody may want done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Nothing goes forward in the scope.
    Pause(Scope),
    /// A pause of exactly that scope ends.
    Resume(Scope),
    /// A new release of a plan; which, the form says.
    Create(PlanName),
    /// A release may enter a ring.
    Approve(ReleaseId, RingName),
    /// It may not.
    Reject(ReleaseId, RingName),
    /// A newer release takes a ring, where the plan leaves that to an operator.
    Advance(ReleaseId, RingName),
    /// A new attempt, on a ring or on all that failed.
    Retry(ReleaseId, Option<RingName>),
    /// It goes back, from a ring or from all that the policy says.
    Rollback(ReleaseId, Option<RingName>),
    /// It ends everywhere, for good.
    Abort(ReleaseId),
    /// Somebody answers for what a hotfix did without on a ring, instead of making up for it.
    WriteOff(ReleaseId, RingName),
    /// The line stops: everything, a jurisdiction or a plan.
    Freeze(Scope),
    /// A freeze ends.
    Lift(FreezeId),
    /// Somebody wants that a residency rule of a plan's, by its id and the document that declares it, does not
    /// bind for a time.
    AskWaiver(PlanName, String, Option<PolicyName>),
    /// A residency rule need not bind for a time.
    ApproveWaiver(PlanName, WaiverId),
    /// It binds again.
    RevokeWaiver(PlanName, WaiverId),
}

/// The longest id of a residency rule that a form is read with, in characters.
const LONGEST_RULE: usize = 200;

/// A form as it was sent: each field with its value.
pub type Form = BTreeMap<String, String>;

impl Deed {
    /// Its name in a form.
    pub fn name(&self) -> &'static str {
        match self {
            Deed::Pause(_) => "pause",
            Deed::Resume(_) => "resume",
            Deed::Create(_) => "create",
            Deed::Approve(..) => "approve",
            Deed::Reject(..) => "reject",
            Deed::Advance(..) => "advance",
            Deed::Retry(..) => "retry",
            Deed::Rollback(..) => "rollback",
            Deed::Abort(_) => "abort",
            Deed::WriteOff(..) => "write-off",
            Deed::Freeze(_) => "freeze",
            Deed::Lift(_) => "lift",
            Deed::AskWaiver(..) => "ask-waiver",
            Deed::ApproveWaiver(..) => "approve-waiver",
            Deed::RevokeWaiver(..) => "revoke-waiver",
        }
    }

    /// What its button says.
    pub fn label(&self) -> &'static str {
        match self {
            Deed::Pause(_) => "Pause",
            Deed::Resume(_) => "Resume",
            Deed::Create(_) => "New release",
            Deed::AskWaiver(..) => "Ask for a waiver",
            Deed::Approve(..) | Deed::ApproveWaiver(..) => "Approve",
            Deed::Reject(..) => "Reject",
            Deed::Advance(..) => "Advance",
            Deed::Retry(..) => "Retry",
            Deed::Rollback(..) => "Roll back",
            Deed::Abort(_) => "Abort",
            Deed::WriteOff(..) => "Write off",
            Deed::Freeze(_) => "Freeze",
            Deed::Lift(_) => "Lift",
            Deed::RevokeWaiver(..) => "Revoke",
        }
    }

    /// What it is about, in words.
    pub fn about(&self) -> String {
        match self {
            Deed::Pause(scope) | Deed::Resume(scope) | Deed::Freeze(scope) => words::covered(scope),
            Deed::Create(plan) => format!("of {plan}"),
            Deed::AskWaiver(plan, rule, _) => format!("of rule {rule} for {plan}"),
            Deed::Approve(id, ring) | Deed::Reject(id, ring) | Deed::Advance(id, ring) => {
                format!("{id} on {ring}")
            }
            Deed::Retry(id, ring) | Deed::Rollback(id, ring) => match ring {
                Some(ring) => format!("{id} on {ring}"),
                None => id.to_string(),
            },
            Deed::Abort(id) => id.to_string(),
            Deed::WriteOff(id, ring) => format!("what {id} owes on {ring}"),
            Deed::Lift(id) => format!("freeze {id}"),
            Deed::ApproveWaiver(_, id) | Deed::RevokeWaiver(_, id) => format!("waiver {id}"),
        }
    }

    /// What it takes of whoever asks.
    pub fn verb(&self) -> Verb {
        match self {
            Deed::Pause(_) | Deed::Abort(_) | Deed::Freeze(_) => Verb::Stop,
            Deed::Resume(_)
            | Deed::Create(_)
            | Deed::Advance(..)
            | Deed::Retry(..)
            | Deed::Rollback(..)
            | Deed::WriteOff(..)
            | Deed::AskWaiver(..)
            | Deed::Lift(_) => Verb::Go,
            Deed::Approve(..) | Deed::Reject(..) | Deed::ApproveWaiver(..) => Verb::Agree,
            Deed::RevokeWaiver(..) => Verb::Withdraw,
        }
    }

    /// Whether a reason is asked for, or welcome, or not taken.
    pub fn reason(&self) -> Asked {
        match self {
            Deed::Abort(_)
            | Deed::Rollback(..)
            | Deed::WriteOff(..)
            | Deed::Freeze(_)
            | Deed::Reject(..)
            | Deed::AskWaiver(..)
            | Deed::RevokeWaiver(..) => Asked::Must,
            Deed::Pause(_)
            | Deed::Resume(_)
            | Deed::Create(_)
            | Deed::Approve(..)
            | Deed::Advance(..)
            | Deed::Retry(..) => Asked::May,
            Deed::ApproveWaiver(..) | Deed::Lift(_) => Asked::Not,
        }
    }

    /// What it looks like: whether it is the thing to do, or one to think twice about.
    pub fn weight(&self) -> &'static str {
        match self {
            Deed::Approve(..) | Deed::Resume(_) | Deed::ApproveWaiver(..) => "main",
            Deed::Abort(_) | Deed::Rollback(..) | Deed::Freeze(_) | Deed::Reject(..) => "grave",
            Deed::Pause(_)
            | Deed::Create(_)
            | Deed::AskWaiver(..)
            | Deed::Advance(..)
            | Deed::Retry(..)
            | Deed::WriteOff(..)
            | Deed::Lift(_)
            | Deed::RevokeWaiver(..) => "",
        }
    }

    /// The page where it is seen to have been done.
    pub fn page(&self) -> String {
        let of_scope = |scope: &Scope| match scope {
            Scope::Everything | Scope::Jurisdiction(_) => "/freezes".to_owned(),
            Scope::Plan(plan) | Scope::Ring(plan, _) => format!("/?plan={plan}"),
            Scope::Release(id) => release_path(id),
            Scope::ReleaseRing(id, _) => release_path(id),
        };
        match self {
            Deed::Pause(scope) | Deed::Resume(scope) => of_scope(scope),
            Deed::Approve(id, _) | Deed::Reject(id, _) | Deed::Advance(id, _) | Deed::Abort(id) => {
                release_path(id)
            }
            Deed::Retry(id, ring) | Deed::Rollback(id, ring) => match ring {
                Some(ring) => ring_path(id, ring),
                None => release_path(id),
            },
            Deed::WriteOff(id, _) => release_path(id),
            Deed::Create(plan) => format!("/?plan={plan}"),
            Deed::Freeze(_) | Deed::Lift(_) => "/freezes".into(),
            Deed::AskWaiver(..) | Deed::ApproveWaiver(..) | Deed::RevokeWaiver(..) => {
                "/approvals".into()
            }
        }
    }

    /// The same once it was done as the form says: a release that was created has a page of its own.
    pub fn page_after(&self, form: &Form) -> String {
        match (self, form.get("version")) {
            (Deed::Create(plan), Some(version)) => {
                release_path(&ReleaseId::new(plan.clone(), version.trim()))
            }
            (_, _) => self.page(),
        }
    }

    /// What names it, and what it is about, in a form.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let of_release = |id: &ReleaseId| {
            vec![("plan", id.plan.to_string()), ("version", id.version.to_string())]
        };
        let on_ring = |id: &ReleaseId, ring: &RingName| {
            [of_release(id), vec![("ring", ring.to_string())]].concat()
        };
        match self {
            Deed::Pause(scope) | Deed::Resume(scope) | Deed::Freeze(scope) => match scope {
                Scope::Everything => vec![("all", "yes".to_owned())],
                Scope::Jurisdiction(place) => vec![("place", place.to_string())],
                Scope::Plan(plan) => vec![("plan", plan.to_string())],
                Scope::Ring(plan, ring) => {
                    vec![("plan", plan.to_string()), ("ring", ring.to_string())]
                }
                Scope::Release(id) => of_release(id),
                Scope::ReleaseRing(id, ring) => on_ring(id, ring),
            },
            Deed::Approve(id, ring)
            | Deed::Reject(id, ring)
            | Deed::Advance(id, ring)
            | Deed::WriteOff(id, ring) => on_ring(id, ring),
            Deed::Retry(id, ring) | Deed::Rollback(id, ring) => match ring {
                Some(ring) => on_ring(id, ring),
                None => of_release(id),
            },
            Deed::Abort(id) => of_release(id),
            Deed::Lift(id) => vec![("id", id.to_string())],
            Deed::Create(plan) => vec![("plan", plan.to_string())],
            Deed::AskWaiver(plan, rule, policy) => {
                let policy = policy.as_ref().map(|policy| ("policy", policy.to_string()));
                let fields = [("plan", plan.to_string()), ("rule", rule.clone())];
                fields.into_iter().chain(policy).collect()
            }
            Deed::ApproveWaiver(plan, id) | Deed::RevokeWaiver(plan, id) => {
                vec![("plan", plan.to_string()), ("id", id.to_string())]
            }
        }
    }

    /// Reads what a form asks for; nothing where it names nothing that can be done.
    pub fn read(
        form: &Form,
        is_label: fn(&str) -> bool,
        is_version: fn(&str) -> bool,
    ) -> Option<Self> {
        let field = |name: &str| form.get(name).map(String::as_str).filter(|v| !v.is_empty());
        let label = |name: &str| field(name).filter(|text| is_label(text));
        let plan = label("plan").map(PlanName::from);
        let ring = label("ring").map(RingName::from);
        let version = field("version").filter(|text| is_version(text));
        let release = plan.clone().zip(version).map(|(plan, v)| ReleaseId::new(plan, v));
        let place = || field("place").filter(|text| is_code(text));
        let over = |text: &str| match text.split_once(':') {
            None if text == "everything" => Some(Scope::Everything),
            Some(("place", code)) if is_code(code) => Some(Scope::Jurisdiction(code.into())),
            Some(("plan", name)) if is_label(name) => Some(Scope::Plan(name.into())),
            None | Some(_) => None,
        };
        let named = || match (release.clone(), plan.clone(), ring.clone(), place()) {
            (Some(id), _, Some(ring), _) => Some(Scope::ReleaseRing(id, ring)),
            (Some(id), _, None, _) => Some(Scope::Release(id)),
            (None, Some(plan), Some(ring), _) => Some(Scope::Ring(plan, ring)),
            (None, Some(plan), None, _) => Some(Scope::Plan(plan)),
            (None, None, _, Some(place)) => Some(Scope::Jurisdiction(Jurisdiction::from(place))),
            (None, None, _, None) => field("all").map(|_| Scope::Everything),
        };
        let scope = || match field("over") {
            Some(text) => over(text),
            None => named(),
        };
        let on_ring = || release.clone().zip(ring.clone());
        let waiver = || plan.clone().zip(label("id").map(WaiverId::from));
        Some(match field("deed")? {
            "pause" => Deed::Pause(scope()?),
            "resume" => Deed::Resume(scope()?),
            "create" => Deed::Create(plan.clone()?),
            "ask-waiver" => {
                let rule = field("rule").filter(|rule| rule.chars().count() <= LONGEST_RULE)?;
                Deed::AskWaiver(plan.clone()?, rule.into(), label("policy").map(PolicyName::from))
            }
            "approve" => on_ring().map(|(id, ring)| Deed::Approve(id, ring))?,
            "reject" => on_ring().map(|(id, ring)| Deed::Reject(id, ring))?,
            "advance" => on_ring().map(|(id, ring)| Deed::Advance(id, ring))?,
            "retry" => Deed::Retry(release.clone()?, ring.clone()),
            "rollback" => Deed::Rollback(release.clone()?, ring.clone()),
            "abort" => Deed::Abort(release.clone()?),
            "write-off" => on_ring().map(|(id, ring)| Deed::WriteOff(id, ring))?,
            "freeze" => Deed::Freeze(scope()?),
            "lift" => Deed::Lift(label("id")?.into()),
            "approve-waiver" => waiver().map(|(plan, id)| Deed::ApproveWaiver(plan, id))?,
            "revoke-waiver" => waiver().map(|(plan, id)| Deed::RevokeWaiver(plan, id))?,
            _ => return None,
        })
    }
}

/// Whether it can be the code of a country or the name of a bloc.
fn is_code(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(inside)
}

/// Whether a deed takes a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It is not done without.
    Must,
    /// It is kept where one is given.
    May,
    /// It takes none.
    Not,
}

/// A deed, and why it is not this viewer's, where it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What.
    pub deed: Deed,
    /// Why they may not.
    pub denied: Option<String>,
}

/// The buttons of deeds that are all about the same thing, and why those are missing that are, unless
/// that was said before.
pub fn acts(csrf: &str, offers: &[Offer], said: &[String]) -> String {
    let open: Vec<&Deed> = offers.iter().filter(|o| o.denied.is_none()).map(|o| &o.deed).collect();
    let mut out = String::new();
    if let Some(first) = open.first() {
        let fields: String =
            first.fields().iter().map(|(name, value)| hidden(name, value)).collect();
        let buttons: String = open
            .iter()
            .map(|deed| {
                format!(
                    "<button class=\"{}\" name=\"deed\" value=\"{}\">{}\
                     <span class=\"unseen\"> {}</span></button>",
                    deed.weight(),
                    deed.name(),
                    deed.label(),
                    Text(deed.about())
                )
            })
            .collect();
        out = format!(
            "<form class=\"acts\" method=\"post\" action=\"/confirm\">{}{fields}{buttons}</form>",
            hidden("csrf", csrf)
        );
    }
    out + &missing(offers, said)
}

/// Why deeds are not offered, each reason once.
fn missing(offers: &[Offer], said: &[String]) -> String {
    let mut why: Vec<(&str, Vec<String>)> = Vec::new();
    for Offer { deed, denied } in offers {
        let Some(denied) = denied.as_deref().filter(|d| !said.iter().any(|s| s == d)) else {
            continue;
        };
        let label = deed.label().to_lowercase();
        match why.iter_mut().find(|(reason, _)| *reason == denied) {
            Some((_, labels)) => labels.push(label),
            None => why.push((denied, vec![label])),
        }
    }
    why.iter()
        .map(|(why, labels)| {
            format!("<p class=\"why\">Not yours to {}: {}.</p>", labels.join(", "), Text(why))
        })
        .collect()
}

/// A field that nobody sees.
pub fn hidden(name: &str, value: &str) -> String {
    format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", Text(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::is_label, show::api::extract::is_version};

    #[test]
    fn a_form_says_again_what_its_deed_was() {
        let (id, ring) = (ReleaseId::new("checkout", "2.14.0+b1"), RingName::from("eu-west"));
        let scopes = [
            Scope::Everything,
            Scope::Jurisdiction("EU".into()),
            Scope::Plan("checkout".into()),
            Scope::Ring("checkout".into(), ring.clone()),
            Scope::Release(id.clone()),
            Scope::ReleaseRing(id.clone(), ring.clone()),
        ];
        let mut deeds: Vec<Deed> = scopes.iter().cloned().map(Deed::Pause).collect();
        deeds.extend(scopes.iter().cloned().map(Deed::Resume));
        deeds.extend(scopes.into_iter().take(3).map(Deed::Freeze));
        deeds.extend([
            Deed::Approve(id.clone(), ring.clone()),
            Deed::Reject(id.clone(), ring.clone()),
            Deed::Advance(id.clone(), ring.clone()),
            Deed::Retry(id.clone(), None),
            Deed::Retry(id.clone(), Some(ring.clone())),
            Deed::Rollback(id.clone(), None),
            Deed::Rollback(id.clone(), Some(ring.clone())),
            Deed::WriteOff(id.clone(), ring),
            Deed::Abort(id),
            Deed::Lift("f-1".into()),
            Deed::Create("checkout".into()),
            Deed::AskWaiver("checkout".into(), "GDPR 4/a".into(), None),
            Deed::AskWaiver("checkout".into(), "GDPR-4".into(), Some("gdpr".into())),
            Deed::ApproveWaiver("checkout".into(), "w-1".into()),
            Deed::RevokeWaiver("checkout".into(), "w-1".into()),
        ]);
        for deed in deeds {
            let mut form: Form =
                deed.fields().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            form.insert("deed".into(), deed.name().into());
            assert_eq!(Deed::read(&form, is_label, is_version), Some(deed));
        }
        for (over, scope) in [
            ("everything", Some(Scope::Everything)),
            ("place:EU", Some(Scope::Jurisdiction("EU".into()))),
            ("plan:checkout", Some(Scope::Plan("checkout".into()))),
            ("plan:../x", None),
            ("all", None),
        ] {
            let form = [("deed", "freeze"), ("over", over)];
            let form = form.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            assert_eq!(Deed::read(&form, is_label, is_version), scope.map(Deed::Freeze), "{over}");
        }
        for odd in [("deed", "explode"), ("deed", "abort")] {
            let form = Form::from([(odd.0.to_owned(), odd.1.to_owned())]);
            assert_eq!(Deed::read(&form, is_label, is_version), None);
        }
        let form = [("deed", "pause"), ("plan", "A/../b"), ("place", "a&b")];
        let form = form.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(Deed::read(&form, is_label, is_version), None, "names are checked");
    }

    #[test]
    fn what_is_not_theirs_is_said_and_not_offered() {
        let id = ReleaseId::new("checkout", "1.0");
        let why = "vic needs the role operator".to_owned();
        let denied = Some(why.clone());
        let offers = [
            Offer { deed: Deed::Pause(Scope::Release(id.clone())), denied: denied.clone() },
            Offer { deed: Deed::Abort(id), denied },
        ];
        let said = acts("t0ken", &offers, &[]);
        assert_eq!(
            said,
            "<p class=\"why\">Not yours to pause, abort: vic needs the role operator.</p>"
        );
        assert_eq!(acts("t0ken", &offers, &[why]), "");
    }
}
