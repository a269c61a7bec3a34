//! `plan --against`: what the declarations here would change of those of another commit, and for whom.

use std::path::Path;

use serde_json::{Value, json};

use super::{in_error, unknown};
use crate::{
    declare::{Compiled, Diagnostic, compile, source::read_commit},
    model::{
        plan::{OnPolicyChange, Plan},
        tighten::{Difference, differences, tightest},
    },
    show::{
        cli::{check, client::Answer, context::Context, failure::Failure, table::Table},
        exit::Exit,
    },
};

/// Values that are longer are cut in a table: a query, a judge.
const WIDEST: usize = 60;

/// Compares the plan of that name in `path` with the one of the commit that `reference` names.
pub(super) async fn run(
    context: &Context,
    path: &Path,
    name: &str,
    reference: &str,
) -> Result<Exit, Failure> {
    let mut now = check::read(path).await?;
    let then = read_commit(path, reference).await.map_err(|why| {
        Failure::new(why)
            .help("name a branch, a tag or a commit of the repository that PATH lies in")
    })?;
    let mut then = compile(&then);
    check::place(&mut now.diagnostics, path);
    check::place(&mut then.diagnostics, path);
    let (was, is) = match (then.plans.get(name), now.plans.get(name)) {
        (Some(Ok(was)), Some(Ok(is))) => (was, is),
        (None, None) => return Err(unknown(name, now.plans.keys().chain(then.plans.keys()))),
        (Some(_), None) => {
            return Err(Failure::new(format!(
                "plan {name} is declared at {reference}, and not here"
            ))
            .help("what takes a plan out changes nothing for releases in motion"));
        }
        (None, Some(_)) => {
            return Err(Failure::new(format!(
                "plan {name} is declared here, and not at {reference}"
            ))
            .help("leave --against out to see what a release of it would go through"));
        }
        (_, Some(Err(problems))) => return Err(in_error(context, name, problems, path)),
        (Some(Err(problems)), Some(Ok(_))) => {
            return Err(in_error(context, &format!("{name} at {reference}"), problems, path));
        }
    };
    let change = Change::of(reference, (&then, was), (&now, is));
    let names = || change.found.iter().map(|(found, _)| found.field.clone()).collect();
    context.answer(&Answer::of(&change.document())?, names, || change.text(context))?;
    Ok(Exit::Done)
}

/// What one commit says otherwise than another.
struct Change<'a> {
    reference: &'a str,
    was: &'a Plan,
    is: &'a Plan,
    /// What differs of the plan, and whether releases in motion take it.
    found: Vec<(Difference, bool)>,
    appear: Vec<&'a Diagnostic>,
    vanish: Vec<&'a Diagnostic>,
}

impl<'a> Change<'a> {
    fn of(
        reference: &'a str,
        (then, was): (&'a Compiled, &'a Plan),
        (now, is): (&'a Compiled, &'a Plan),
    ) -> Self {
        let tightens = is.on_policy_change == OnPolicyChange::Tighten;
        let taken = tightens.then(|| tightest(was, is, |_| true)).flatten();
        // What a release differs in still, once it has taken what it takes, it does not take.
        let left = taken.map(|taken| differences(&taken, is));
        let takes = |found: &Difference| {
            let same =
                |other: &Difference| (&other.ring, &other.field) == (&found.ring, &found.field);
            left.as_ref().is_some_and(|left| !left.iter().any(same))
        };
        let found = differences(was, is).into_iter().map(|found| {
            let takes = takes(&found);
            (found, takes)
        });
        Self {
            reference,
            was,
            is,
            found: found.collect(),
            appear: beyond(&now.diagnostics, &then.diagnostics),
            vanish: beyond(&then.diagnostics, &now.diagnostics),
        }
    }

    fn text(&self, context: &Context) -> String {
        let short = |plan: &Plan| plan.hash.as_str().chars().take(7).collect::<String>();
        let Self { was, is, reference, .. } = self;
        let commit: String = was.commit.as_str().chars().take(7).collect();
        let mut text = format!(
            "{}   {reference} ({commit}) -> here   policy {} -> {}\n\n",
            is.name,
            short(was),
            short(is)
        );
        if self.found.is_empty() {
            text.push_str("The plan means the same.\n");
        } else {
            let mut table = Table::new(&["RING", "FIELD", "WAS", "IS", "WAY", "IN MOTION"]);
            for (found, takes) in &self.found {
                let value = |value: &Option<String>| value.as_deref().map_or("-".into(), cut);
                table.row(
                    [
                        found.ring.as_ref().map_or_else(String::new, ToString::to_string),
                        found.field.clone(),
                        value(&found.was),
                        value(&found.is),
                        found.way.name().to_owned(),
                        if *takes { "taken" } else { "new releases" }.to_owned(),
                    ]
                    .map(Into::into),
                );
            }
            text.push_str(&table.render(context.style));
            text.push_str(match is.on_policy_change {
                OnPolicyChange::Tighten => {
                    "\nReleases in motion take what is tighter, on rings that they have still to start \
                     (onPolicyChange: tighten); those of the hotfix lane keep what they have.\n"
                }
                OnPolicyChange::Keep => {
                    "\nReleases in motion keep what they started under (onPolicyChange: keep).\n"
                }
            });
        }
        for (title, all) in [("appear", &self.appear), ("vanish", &self.vanish)] {
            if !all.is_empty() {
                text.push_str(&format!("\ndiagnostics that {title}\n"));
                text.extend(all.iter().map(|diagnostic| format!("  {diagnostic}\n")));
            }
        }
        text
    }

    fn document(&self) -> Value {
        let side = |plan: &Plan| json!({"commit": plan.commit, "policy": plan.hash});
        let difference = |(found, takes): &(Difference, bool)| {
            json!({
                "ring": found.ring,
                "field": found.field,
                "was": found.was,
                "is": found.is,
                "way": found.way.name(),
                "inMotion": takes,
            })
        };
        let mut was = side(self.was);
        was["ref"] = self.reference.into();
        json!({
            "plan": self.is.name,
            "was": was,
            "is": side(self.is),
            "onPolicyChange": self.is.on_policy_change,
            "differences": self.found.iter().map(difference).collect::<Vec<_>>(),
            "diagnostics": {"appear": self.appear, "vanish": self.vanish},
        })
    }
}

/// What is among `all` and not among `others`, wherever in its file it stands.
fn beyond<'a>(all: &'a [Diagnostic], others: &[Diagnostic]) -> Vec<&'a Diagnostic> {
    fn what(d: &Diagnostic) -> (&str, &str, &str, &str) {
        (d.rule, &d.file, &d.message, &d.label)
    }
    let mut known: Vec<_> = others.iter().map(what).collect();
    known.sort_unstable();
    all.iter().filter(|diagnostic| known.binary_search(&what(diagnostic)).is_err()).collect()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(WIDEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
