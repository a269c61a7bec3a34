//! `check`: the declarations of a directory, checked as the server would.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{client::Answer, context::Context, failure::Failure};
use crate::{
    declare::{
        Compiled, Counts, Diagnostic, compile,
        diagnostic::Severity,
        report,
        source::{DirSource, Polled},
    },
    show::exit::Exit,
};

/// Check the declarations in a directory
///
/// Reads rings/, policies/ and releases/ beneath PATH and reports every problem of every file at once: YAML,
/// fields, names, the ring DAG, gates, residency with its counterexample, calendars, approvals, and advice.
/// Nothing is contacted; run it in every pull request.
#[derive(Debug, Args)]
#[command(after_help = "EXIT CODES
  0  no errors (there may be warnings and notes)
  1  errors
  2  PATH holds no declarations
  7  errors, and a residency rule is among what is broken

EXAMPLES
  ringward check
  ringward check deploy --format github         in a GitHub workflow
  ringward check --format sarif > check.sarif")]
pub struct Check {
    /// The directory that holds rings/ and policies/.
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,
    /// How problems are written: text, json, sarif (2.1.0) or github. -o json is --format json.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Report::Text, hide_possible_values = true)]
    format: Report,
}

/// How problems are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Report {
    /// For people, with the line itself.
    Text,
    /// An array of objects.
    Json,
    /// SARIF 2.1.0.
    Sarif,
    /// Workflow commands.
    Github,
}

/// Runs `check`.
pub async fn run(context: &Context, args: &Check) -> Result<Exit, Failure> {
    let Compiled { mut diagnostics, counts, .. } = read(&args.path).await?;
    place(&mut diagnostics, &args.path);
    match args.format {
        Report::Text => {
            let name = |d: &Diagnostic| format!("{}:{}", d.file, d.rule);
            context.answer(
                &Answer::of(&diagnostics)?,
                || diagnostics.iter().map(name).collect(),
                || report::text(&diagnostics, context.style.colour),
            )?;
        }
        Report::Json => context.print(&report::json(&diagnostics))?,
        Report::Sarif => context.print(&report::sarif(&diagnostics))?,
        Report::Github => context.print(&report::github(&diagnostics))?,
    }
    context.progress(&summary(&diagnostics, counts));
    Ok(verdict(&diagnostics))
}

/// What a directory declares.
///
/// # Errors
/// There are no declarations in it, or they cannot be read.
pub async fn read(path: &Path) -> Result<Compiled, Failure> {
    match DirSource::new(path).poll().await {
        Polled::New(snapshot) => Ok(compile(&snapshot)),
        // A directory is never refused, and its first look finds it changed.
        Polled::Unreachable(why) | Polled::Refused { why, .. } => {
            Err(Failure::usage(why).help("name the directory that holds rings/ and policies/"))
        }
        Polled::Unchanged => Err(Failure::new(format!("{} could not be read", path.display()))),
    }
}

/// Names files as whoever stands where we were called finds them.
pub fn place(diagnostics: &mut [Diagnostic], path: &Path) {
    if path == Path::new(".") {
        return;
    }
    for diagnostic in diagnostics {
        diagnostic.file = path.join(&diagnostic.file).display().to_string();
    }
}

/// How a command ends that met these.
pub fn verdict(diagnostics: &[Diagnostic]) -> Exit {
    let errors = || diagnostics.iter().filter(|found| found.is_error());
    if errors().any(|error| error.rule.starts_with("RES")) {
        Exit::Violation
    } else if errors().next().is_some() {
        Exit::Error
    } else {
        Exit::Done
    }
}

fn summary(diagnostics: &[Diagnostic], counts: Counts) -> String {
    let count = |severity| diagnostics.iter().filter(|d| d.severity == severity).count();
    let found: Vec<String> = [Severity::Error, Severity::Warning, Severity::Note]
        .into_iter()
        .map(|severity| (severity, count(severity)))
        .filter(|(_, n)| *n > 0)
        .map(|(severity, n)| many(n, severity.name()))
        .collect();
    let Counts { documents, clusters, plans, policies, .. } = counts;
    if !diagnostics.iter().any(Diagnostic::is_error) {
        let rest: String = found.iter().map(|found| format!(", {found}")).collect();
        let policies =
            if policies == 1 { "1 policy".into() } else { format!("{policies} policies") };
        return format!(
            "ok: {}, {}, {policies}{rest}",
            many(plans, "plan"),
            many(clusters, "cluster")
        );
    }
    format!("{} in {}", found.join(", "), many(documents, "document"))
}

/// `1 error`, `2 errors`
fn many(n: usize, of: &str) -> String {
    format!("{n} {of}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: &'static str, severity: Severity) -> Diagnostic {
        Diagnostic::of(rule, severity, "it is wrong")
    }

    #[test]
    fn errors_fail_and_residency_fails_in_its_own_way() {
        let warning = found("ADV003", Severity::Warning);
        let error = found("DAG001", Severity::Error);
        let residency = found("RES001", Severity::Error);
        assert_eq!(verdict(&[]), Exit::Done);
        assert_eq!(verdict(std::slice::from_ref(&warning)), Exit::Done);
        assert_eq!(verdict(&[found("RES009", Severity::Warning)]), Exit::Done);
        assert_eq!(verdict(&[warning.clone(), error.clone()]), Exit::Error);
        assert_eq!(verdict(&[error, residency, warning]), Exit::Violation);
    }

    #[test]
    fn the_last_line_counts() {
        let counts = Counts { files: 3, documents: 14, clusters: 6, plans: 2, policies: 1 };
        assert_eq!(summary(&[], counts), "ok: 2 plans, 6 clusters, 1 policy");
        let note = found("ADV001", Severity::Note);
        let error = found("DAG001", Severity::Error);
        assert_eq!(
            summary(std::slice::from_ref(&note), counts),
            "ok: 2 plans, 6 clusters, 1 policy, 1 note"
        );
        let all = [error.clone(), error, found("ADV003", Severity::Warning), note];
        assert_eq!(summary(&all, counts), "2 errors, 1 warning, 1 note in 14 documents");
    }

    #[test]
    fn files_are_named_from_where_we_were_called() {
        let mut all =
            [Diagnostic { file: "rings/a.yaml".into(), ..found("DAG001", Severity::Error) }];
        place(&mut all, Path::new("."));
        assert_eq!(all[0].file, "rings/a.yaml");
        place(&mut all, Path::new("deploy/"));
        assert_eq!(all[0].file, "deploy/rings/a.yaml");
    }
}
