//! Unleash, by its admin API: the rollout of one `flexibleRollout` strategy of a flag in an environment.
//!
//! The note is the strategy's title, so that one JSON Patch changes both, and only where both are as they were read
//! (its `test` operations). Whatever other strategies the flag has, constraints and segments are its owner's.

use reqwest::Url;
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Api, Change, Flag, Step, Trouble, trouble};
use crate::{
    act::{
        metrics::question::{Outgoing, beneath},
        note::Note,
    },
    model::{ring::Target, serve::Serve},
};

/// The strategy that has a rollout.
const ROLLOUT: &str = "flexibleRollout";

/// One environment of an Unleash.
pub(super) struct Unleash {
    pub(super) environment: String,
}

#[derive(Deserialize)]
struct Feature {
    #[serde(default)]
    archived: bool,
    environments: Vec<Environment>,
}

#[derive(Deserialize)]
struct Environment {
    name: String,
    enabled: bool,
    strategies: Vec<Strategy>,
}

#[derive(Deserialize)]
struct Strategy {
    id: String,
    name: String,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
struct Parameters {
    #[serde(default)]
    rollout: String,
}

/// The strategy that was read.
#[derive(Debug)]
struct Seen {
    url: Url,
    title: String,
    rollout: String,
}

impl Unleash {
    fn place(target: &Target, base: &Url, more: &[&str]) -> Url {
        let mut url = beneath(base, "api/admin/projects");
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend([target.namespace.as_str(), "features", &target.name]).extend(more);
        }
        url
    }

    fn read(
        &self,
        base: &Url,
        target: &Target,
        (status, body): (u16, &[u8]),
    ) -> Result<Flag, Trouble> {
        if status != 200 {
            return Err(trouble(status));
        }
        let none = |_| Trouble::Unreachable("the answer is no flag of Unleash's".into());
        let Feature { archived, environments } = serde_json::from_slice(body).map_err(none)?;
        if archived {
            return Err(Trouble::Gone);
        }
        let here = environments.into_iter().find(|here| here.name == self.environment);
        let Some(Environment { enabled, strategies, .. }) = here else {
            return Err(Trouble::Refused(format!("has no environment `{}`", self.environment)));
        };
        let mut ours: Vec<&Strategy> = strategies.iter().filter(|s| note_of(s).is_some()).collect();
        if ours.is_empty() {
            ours = strategies.iter().filter(|s| s.name == ROLLOUT).collect();
        }
        let [strategy] = ours.as_slice() else {
            return Err(Trouble::Refused(format!(
                "has {} strategies in environment `{}` that releases could drive: let one {ROLLOUT} strategy have the \
                 title ringward.dev/managed-by=PLAN",
                ours.len(),
                self.environment
            )));
        };
        let rollout = &strategy.parameters.rollout;
        let serves =
            rollout.parse::<u8>().ok().filter(|_| strategy.name == ROLLOUT).and_then(serving);
        let odd = || {
            Trouble::Refused(format!(
                "has no {ROLLOUT} strategy whose rollout is a whole percentage"
            ))
        };
        Ok(Flag {
            serves: serves.ok_or_else(odd)?,
            off: !enabled || strategy.disabled,
            note: note_of(strategy),
            change: Box::new(Seen {
                url: {
                    let way = ["environments", &self.environment, "strategies", &strategy.id];
                    Self::place(target, base, &way)
                },
                title: strategy.title.clone().unwrap_or_default(),
                rollout: rollout.clone(),
            }),
        })
    }
}

impl Change for Seen {
    fn to(&self, serve: &Serve, note: &Note) -> Result<Vec<Outgoing>, String> {
        let percent = (0..=100).find(|percent| serving(*percent).as_ref() == Some(serve));
        let percent = percent.ok_or_else(|| {
            format!(
                "is on or off, and {serve} is neither: release on, off or shares, as in on=25%,off"
            )
        })?;
        let Self { url, title, rollout } = self;
        let patch = json!([
            {"op": "test", "path": "/title", "value": title},
            {"op": "test", "path": "/parameters/rollout", "value": rollout},
            {"op": "replace", "path": "/title", "value": note.to_string()},
            {"op": "replace", "path": "/parameters/rollout", "value": percent.to_string()},
        ]);
        Ok(vec![Outgoing::patch(url.clone(), "application/json", patch.to_string())])
    }
}

impl Api for Unleash {
    fn look(&self, base: &Url, target: &Target, answers: &[Answer]) -> Result<Step, Trouble> {
        match answers {
            // Of an environment alone it says the same once the flag is archived.
            [] => {
                let look = Outgoing::get(Self::place(target, base, &[]));
                Ok(Step::Ask(look.header("accept", "application/json")))
            }
            [(status, body), ..] => self.read(base, target, (*status, body)).map(Step::Seen),
        }
    }

    fn changed(&self, (status, body): (u16, &[u8])) -> Result<(), Trouble> {
        match status {
            200 => Ok(()),
            // A `test` that does not hold is an error like any other to it.
            400 | 409 | 500 if String::from_utf8_lossy(body).contains("TEST_OPERATION_FAILED") => {
                Err(Trouble::Race)
            }
            403 => Err(Trouble::Refused(format!(
                "may not be changed by ringward's token in environment `{}` (403): it asks for a change request, or the \
                 token lacks the permission; let the token skip change requests there",
                self.environment
            ))),
            status => Err(trouble(status)),
        }
    }

    fn consent(&self, text: &str) -> String {
        format!(
            "give the {ROLLOUT} strategy that releases are to drive in environment `{}` the title {text}",
            self.environment
        )
    }
}

fn note_of(strategy: &Strategy) -> Option<Note> {
    strategy.title.as_deref().and_then(Note::read)
}

/// What that rollout serves.
fn serving(percent: u8) -> Option<Serve> {
    match percent {
        0 => Some(Serve::all("off")),
        100 => Some(Serve::all("on")),
        1..100 => format!("on={percent}%,off").parse().ok(),
        _ => None,
    }
}
