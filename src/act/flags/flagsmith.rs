//! Flagsmith, by its admin API: how much of an environment is served each value of a multivariate feature.
//!
//! A feature's state in an environment has no text of its own. The note is a line of the feature's description, one for
//! each environment (`in=KEY`), and so another request than the shares. The note goes first and says what it means to
//! replace (`from`), then the shares, then the note without that: a crash after the first finds the shares as
//! `from` has them and goes on; a crash after the second has done what was noted. What somebody else sets the shares to
//! is told from both. Flagsmith cannot be told what is expected to be there: what is changed between our look and our request is
//! overwritten, and what is changed after it is seen when the feature is read back.
//!
//! The shares are PUT, which Flagsmith takes for a change of what is given alone: by PATCH it takes no shares at all.
//! Environments with feature versioning v2 or change requests are refused: a state is not changed in the one, but
//! published anew with everything in it, segments' overrides too, and in the other it is not ringward's to decide.

use reqwest::Url;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    Answer, Api, Change, Flag, Note, Step, Trouble, trouble,
    variants::{ALL, Variant, Variants, called},
};
use crate::{
    act::metrics::question::{Outgoing, beneath},
    model::{ring::Target, serve::Serve},
};

/// One environment of a Flagsmith, by its client-side key.
pub(super) struct Flagsmith {
    pub(super) environment: String,
}

#[derive(Deserialize)]
struct Environment {
    project: u64,
    /// A number, 0 too, where changes are requested.
    #[serde(default)]
    minimum_change_request_approvals: Option<u64>,
    #[serde(default)]
    use_v2_feature_versioning: bool,
}

#[derive(Deserialize)]
struct States {
    results: Vec<State>,
}

#[derive(Deserialize)]
struct State {
    id: u64,
    feature: u64,
    enabled: bool,
    feature_state_value: Value,
    #[serde(default)]
    multivariate_feature_state_values: Vec<Share>,
}

#[derive(Debug, Clone, Deserialize)]
struct Share {
    id: u64,
    multivariate_feature_option: u64,
    percentage_allocation: f64,
}

#[derive(Deserialize)]
struct Feature {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    multivariate_options: Vec<FeatureOption>,
}

#[derive(Deserialize)]
struct FeatureOption {
    id: u64,
    #[serde(default)]
    string_value: Option<String>,
    #[serde(default)]
    integer_value: Option<i64>,
    #[serde(default)]
    boolean_value: Option<bool>,
    #[serde(default, rename = "type")]
    kind: String,
}

/// The feature that was read.
#[derive(Debug)]
struct Seen {
    feature: Url,
    state: Url,
    environment: String,
    description: String,
    serves: Serve,
    /// The control value first, then the options in the order of `options`.
    variants: Variants,
    /// Each option's id, and that of its share here where it has one.
    options: Vec<(u64, Option<u64>)>,
    /// Why it may not be changed.
    shut: Option<String>,
}

impl Flagsmith {
    fn states(&self, base: &Url, id: Option<u64>) -> Url {
        let mut url = beneath(base, "api/v1/environments");
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend([&self.environment, "featurestates"]);
            path.extend(id.map(|id| id.to_string())).push("");
        }
        url
    }

    fn environment(&self, base: &Url) -> Url {
        let mut url = beneath(base, "api/v1/environments");
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend([&self.environment, ""]);
        }
        url
    }

    /// Why nothing may be changed in the environment.
    fn shut(&self, here: &Environment) -> Option<String> {
        if here.use_v2_feature_versioning {
            return Some(
                "is in an environment with feature versioning v2, which ringward cannot drive"
                    .into(),
            );
        }
        here.minimum_change_request_approvals.map(|_| {
            "is in an environment that asks for change requests: let it be changed without them"
                .into()
        })
    }

    fn seen(
        &self,
        base: &Url,
        (here, state, feature): (Environment, State, Feature),
    ) -> Result<Flag, Trouble> {
        let shares = &state.multivariate_feature_state_values;
        let share = |option: u64| shares.iter().find(|s| s.multivariate_feature_option == option);
        if feature.multivariate_options.is_empty() {
            return Err(Trouble::Refused(
                "has no multivariate options: releases move shares between its value and those"
                    .into(),
            ));
        }
        let mut variants = vec![Variant { names: called(&state.feature_state_value), share: ALL }];
        // Where nothing is called so, the value beside all options is.
        variants[0].names.push("control".into());
        let mut options = Vec::new();
        for option in &feature.multivariate_options {
            let thousandths =
                share(option.id).map_or(0.0, |share| share.percentage_allocation) * 1e3;
            if !(0.0..=ALL as f64).contains(&thousandths) {
                return Err(Trouble::Unreachable("the answer has a share that is none".into()));
            }
            let thousandths = thousandths.round() as u64;
            variants[0].share = variants[0].share.saturating_sub(thousandths);
            options.push((option.id, share(option.id).map(|share| share.id)));
            variants.push(Variant { names: called(&value(option)), share: thousandths });
        }
        let description = feature.description.unwrap_or_default();
        let note = description.lines().find_map(|line| self.note(line));
        let variants = Variants::new(variants);
        let told = note.iter().flat_map(Note::told);
        let serves = variants.serves(told, 0).map_err(Trouble::Refused)?;
        Ok(Flag {
            serves: serves.clone(),
            off: !state.enabled,
            note,
            change: Box::new(Seen {
                feature: feature_at(base, here.project, state.feature),
                state: self.states(base, Some(state.id)),
                environment: self.environment.clone(),
                description,
                serves,
                variants,
                options,
                shut: self.shut(&here),
            }),
        })
    }

    /// The note that a line is, where it is of this environment.
    fn note(&self, line: &str) -> Option<Note> {
        is_of(line, &self.environment).then(|| Note::read(line.trim())).flatten()
    }
}

/// Whether a line of a description is a note of that environment.
fn is_of(line: &str, environment: &str) -> bool {
    let mut words = line.split_whitespace();
    Note::read(line.trim()).is_some()
        && words.any(|word| word.strip_prefix("in=") == Some(environment))
}

fn feature_at(base: &Url, project: u64, feature: u64) -> Url {
    beneath(base, &format!("api/v1/projects/{project}/features/{feature}/"))
}

fn value(option: &FeatureOption) -> Value {
    match option.kind.as_str() {
        "int" => json!(option.integer_value),
        "bool" => json!(option.boolean_value),
        _ => json!(option.string_value),
    }
}

fn read<T: DeserializeOwned>((status, body): &Answer) -> Result<T, Trouble> {
    if *status != 200 {
        return Err(trouble(*status));
    }
    let none = |_| Trouble::Unreachable("the answer is none of Flagsmith's".into());
    serde_json::from_slice(body).map_err(none)
}

impl Change for Seen {
    fn to(&self, serve: &Serve, note: &Note) -> Result<Vec<Outgoing>, String> {
        if let Some(why) = &self.shut {
            return Err(why.clone());
        }
        let shares = self.variants.shares(serve)?;
        let shares = self.options.iter().zip(shares.iter().skip(1)).map(|((option, id), share)| {
            let percent = *share as f64 / 1e3;
            let mut value =
                json!({"multivariate_feature_option": option, "percentage_allocation": percent});
            if let Some(id) = id {
                value["id"] = json!(id);
            }
            value
        });
        let shares = json!({"multivariate_feature_state_values": shares.collect::<Vec<_>>()});
        let put = Outgoing::put(self.state.clone(), "application/json", shares.to_string());
        let from = Some(self.serves.to_string());
        Ok(vec![self.noted(&Note { from, ..note.clone() }), put, self.noted(note)])
    }
}

impl Seen {
    /// The request that keeps a note in the place of the last, and leaves the other lines as they are.
    fn noted(&self, note: &Note) -> Outgoing {
        let ours = |line: &str| is_of(line, &self.environment);
        let lines = self.description.split('\n').map(|line| match ours(line) {
            true => format!("{note} in={}", self.environment),
            false => line.to_owned(),
        });
        let description = lines.collect::<Vec<_>>().join("\n");
        let body = json!({ "description": description }).to_string();
        Outgoing::patch(self.feature.clone(), "application/json", body)
    }
}

impl Api for Flagsmith {
    fn look(&self, base: &Url, target: &Target, answers: &[Answer]) -> Result<Step, Trouble> {
        let ask = |url| Step::Ask(Outgoing::get(url).header("accept", "application/json"));
        let [environment, states, feature @ ..] = answers else {
            return match answers {
                [] => Ok(ask(self.environment(base))),
                _ => {
                    let mut url = self.states(base, None);
                    url.query_pairs_mut().append_pair("feature_name", &target.name);
                    Ok(ask(url))
                }
            };
        };
        if environment.0 == 404 {
            let why = "is in an environment that is not there: check its key in the settings";
            return Err(Trouble::Refused(why.into()));
        }
        let here: Environment = read(environment)?;
        if here.project.to_string() != target.namespace {
            return Err(Trouble::Refused(format!(
                "is looked for in an environment of project {}: check the plan's project, and the environment in the \
                 settings",
                here.project
            )));
        }
        let mut states: States = read(states)?;
        let state = states.results.pop().ok_or(Trouble::Gone)?;
        let [feature, ..] = feature else {
            return Ok(ask(feature_at(base, here.project, state.feature)));
        };
        let feature: Feature = read(feature)?;
        // Whoever does not know `feature_name` answers with all of them.
        if !states.results.is_empty() || !feature.name.eq_ignore_ascii_case(&target.name) {
            return Err(Trouble::Unreachable("the answer is of another feature".into()));
        }
        self.seen(base, (here, state, feature)).map(Step::Seen)
    }

    fn changed(&self, (status, _): (u16, &[u8])) -> Result<(), Trouble> {
        match status {
            200 => Ok(()),
            403 => Err(Trouble::Refused(
                "may not be changed by ringward's key (403): let it update feature states in the environment, and create \
                 features in the project, which descriptions are changed with"
                    .into(),
            )),
            status => Err(trouble(status)),
        }
    }

    fn consent(&self, text: &str) -> String {
        format!("give the feature's description a line of its own: {text} in={}", self.environment)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::asked, *};
    use crate::model::ring::TargetKind;

    const KEY: &str = "4vfqhypYjcPoGGu8ByrBaj";
    const CONSENT: &str = "ringward.dev/managed-by=dark";

    fn target() -> Target {
        Target {
            kind: TargetKind::FlagsmithFlag { service: "flagsmith".into(), cleanup_after: None },
            namespace: "42".into(),
            name: "dark_mode".into(),
        }
    }

    fn base() -> Url {
        Url::parse("https://flagsmith.test").unwrap()
    }

    fn flagsmith() -> Flagsmith {
        Flagsmith { environment: KEY.into() }
    }

    /// As documented, in the order of the requests.
    fn answers(description: &str, on: f64) -> [Value; 3] {
        [
            json!({"id": 7, "name": "Production", "api_key": KEY, "project": 42,
                "minimum_change_request_approvals": null, "use_v2_feature_versioning": false}),
            json!({"count": 1, "next": null, "previous": null, "results": [{
                "id": 900, "feature": 12, "environment": 7, "identity": null, "feature_segment": null,
                "enabled": true, "feature_state_value": "off", "version": 1,
                "multivariate_feature_state_values": [
                    {"id": 55, "multivariate_feature_option": 3, "percentage_allocation": on},
                    {"id": 56, "multivariate_feature_option": 4, "percentage_allocation": 0.0}],
            }]}),
            json!({"id": 12, "name": "dark_mode", "type": "MULTIVARIATE", "description": description, "tags": [],
                "multivariate_options": [
                    {"id": 3, "type": "unicode", "string_value": "on", "integer_value": null,
                        "boolean_value": null, "default_percentage_allocation": 0.0},
                    {"id": 4, "type": "int", "string_value": null, "integer_value": 7,
                        "boolean_value": null, "default_percentage_allocation": 0.0}]}),
        ]
    }

    fn look(answers: &[Value]) -> Result<Step, Trouble> {
        let answers: Vec<Answer> =
            answers.iter().map(|answer| (200, answer.to_string().into_bytes())).collect();
        flagsmith().look(&base(), &target(), &answers)
    }

    fn flag(answers: &[Value]) -> Flag {
        match look(answers).unwrap() {
            Step::Seen(flag) => flag,
            Step::Ask(outgoing) => panic!("asks on: {outgoing:?}"),
        }
    }

    fn refused(answers: &[Value]) -> String {
        match look(answers) {
            Err(Trouble::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_look_asks_for_the_environment_the_state_and_the_feature() {
        let all = answers("", 25.0);
        let asks = |n: usize| asked(look(&all[..n]).unwrap()).url.to_string();
        let here = format!("https://flagsmith.test/api/v1/environments/{KEY}/");
        assert_eq!(asks(0), here);
        assert_eq!(asks(1), format!("{here}featurestates/?feature_name=dark_mode"));
        assert_eq!(asks(2), "https://flagsmith.test/api/v1/projects/42/features/12/");
        let mut others = all.clone();
        others[2]["name"] = json!("light_mode");
        assert!(matches!(look(&others), Err(Trouble::Unreachable(_))));
        let mut none = all.clone();
        none[1]["results"] = json!([]);
        assert!(matches!(look(&none[..2]), Err(Trouble::Gone)));
        none[0]["project"] = json!(43);
        assert!(refused(&none).contains("an environment of project 43"));
        let strange = [(404, Vec::new()), (404, Vec::new())];
        let why = flagsmith().look(&base(), &target(), &strange).unwrap_err();
        assert!(matches!(why, Trouble::Refused(why) if why.contains("check its key")));
    }

    #[test]
    fn shares_of_options_and_of_the_value_beside_them_are_what_is_served() {
        let serves = |on: f64| flag(&answers("", on)).serves.to_string();
        assert_eq!(
            (serves(0.0), serves(25.0), serves(100.0)),
            ("off".into(), "on=25%,off".into(), "on".into())
        );
        assert!(refused(&answers("", 12.5)).contains("whole percents"));
        let line = format!("For the night.\n{CONSENT} serves=control=75%,on in={KEY}\nMore.");
        let told = flag(&answers(&line, 25.0));
        assert_eq!(told.serves.to_string(), "control=75%,on");
        assert_eq!(told.note.unwrap().plan, "dark".into());
        let other = flag(&answers(&format!("{CONSENT} in=another"), 25.0));
        assert_eq!(other.note, None, "of another environment");
        let mut off = answers("", 25.0);
        off[1]["results"][0]["enabled"] = json!(false);
        assert!(flag(&off).off);
        off[2]["multivariate_options"] = json!([]);
        assert!(refused(&off).contains("no multivariate options"));
    }

    #[test]
    fn the_note_goes_first_then_the_shares_then_the_note_is_done() {
        let other = format!("{CONSENT} in=another");
        let text = format!("For the night.\r\n{other}\n{CONSENT} in={KEY}\n\n");
        let flag = flag(&answers(&text, 25.0));
        let note = Note::read(&format!("{CONSENT} epoch=7 serves=on=50%,off")).unwrap();
        let all = flag.change.to(&"on=50%,off".parse().unwrap(), &note).unwrap();
        let [first, shares, last] = all.as_slice() else { panic!("{all:?}") };
        let body = |outgoing: &Outgoing| -> Value {
            serde_json::from_str(outgoing.body.as_ref().unwrap()).unwrap()
        };
        let described = |note: String| json!({"description": format!("For the night.\r\n{other}\n{note} in={KEY}\n\n")});
        assert_eq!(body(first), described(format!("{note} from=on=25%,off")));
        assert_eq!(body(last), described(note.to_string()));
        assert_eq!((first.method.as_str(), shares.method.as_str()), ("PATCH", "PUT"));
        assert_eq!(
            shares.url.as_str(),
            format!("https://flagsmith.test/api/v1/environments/{KEY}/featurestates/900/")
        );
        assert_eq!(
            body(shares),
            json!({"multivariate_feature_state_values": [
                {"id": 55, "multivariate_feature_option": 3, "percentage_allocation": 50.0},
                {"id": 56, "multivariate_feature_option": 4, "percentage_allocation": 0.0}]})
        );
        let why = flag.change.to(&"blue".parse().unwrap(), &note).unwrap_err();
        assert_eq!(why, "has no variant `blue`: it has off, on, 7");
    }

    #[test]
    fn a_crash_between_both_is_told_from_somebodys_change() {
        let line = |more: &str| format!("{CONSENT} serves=on=50%,off{more} in={KEY}");
        let ahead = |more: &str, on: f64| {
            let flag = flag(&answers(&line(more), on));
            flag.note.unwrap().is_ahead_of(&flag.serves.to_string())
        };
        assert!(ahead(" from=on=25%,off", 25.0), "the shares are as before");
        assert!(!ahead(" from=on=25%,off", 50.0), "they are as noted");
        assert!(!ahead(" from=on=25%,off", 30.0), "they are somebody's");
        assert!(!ahead("", 25.0), "it was through, and somebody has put it back");
    }

    #[test]
    fn versions_and_change_requests_are_refused() {
        let shut = |more: Value| {
            let mut all = answers("", 25.0);
            all[0].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let note = Note::read(CONSENT).unwrap();
            flag(&all).change.to(&"on".parse().unwrap(), &note).unwrap_err()
        };
        assert!(shut(json!({"use_v2_feature_versioning": true})).contains("versioning v2"));
        assert!(shut(json!({"minimum_change_request_approvals": 0})).contains("change requests"));
        let changed = |status| flagsmith().changed((status, b"canary"));
        assert_eq!((changed(200), changed(404)), (Ok(()), Err(Trouble::Gone)));
        let Err(Trouble::Refused(why)) = changed(403) else { panic!() };
        assert!(why.contains("update feature states") && !why.contains("canary"), "{why}");
        assert!(matches!(changed(400), Err(Trouble::Refused(_))));
        assert!(matches!(changed(429), Err(Trouble::Unreachable(_))));
    }
}
