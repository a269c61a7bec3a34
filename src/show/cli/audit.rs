//! `audit`: what was decided, whether its record holds, and a copy of it.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    client::Answer,
    context::{Context, Format},
    failure::Failure,
    get::instant,
    table::Table,
};
use crate::{
    clock::Clock as _,
    ids::{PlanName, ReleaseId},
    record::{
        SledStore, Store as _, StoreError, audit,
        export::{ExportEnd, ExportError, Flaw, export, inspect},
        seal::PublicKey,
    },
    show::{
        exit::Exit,
        view::{AuditPage, AuditView, HappenedView, SignedHeadView, VerificationView},
    },
};

/// The journal: show it, verify it, export it, and what it says of a release
///
/// Everything that was decided, who asked for it, and what was done about it. Each entry carries the hash of
/// the one before, so that none can be changed or taken out unseen.
#[derive(Debug, Subcommand)]
#[command(after_help = "EXAMPLES
  ringward audit show --plan checkout
  ringward audit verify && ringward audit export > audit.jsonl")]
pub enum Audit {
    /// Show entries, the oldest first
    #[command(after_help = "EXAMPLES
  ringward audit show                       the first 100
  ringward audit show --since 4200 --limit 1000
  ringward audit show -o json | jq '.entries[].facts[].what'")]
    Show(Show),
    /// Check that every entry is as it was recorded and follows the one before
    #[command(after_help = "EXAMPLES
  ringward audit verify
  ringward audit verify --data /var/lib/ringward    of a server that is stopped
  ringward audit verify --file audit.jsonl --key ed25519:…    of an export or a backup, with nothing but it")]
    Verify(Verify),
    /// Write entries as lines of JSON, with a signed head behind them
    ///
    /// With --records or --data, the records as they are stored, each with its hash: anybody can check that
    /// hash = SHA-256(prev as bytes, seq as eight big-endian bytes, record), as `ringward audit verify --file` does.
    /// Otherwise the entries as the server shows them to you: without plans that you may not see and figures that
    /// residency keeps in place, and signed as they were shown, so that a line that was changed is seen as well.
    #[command(after_help = "EXAMPLES
  ringward audit export > audit.jsonl
  ringward audit export --records --since 4200 > part.jsonl    for an administrator
  ringward audit export --data /var/lib/ringward               of a server that is stopped")]
    Export(Export),
    /// Show the public key that the server signs its audit with
    ///
    /// Keep it where the server cannot change it: it is what `ringward audit verify --file` compares with.
    #[command(after_help = "EXAMPLES
  ringward audit key
  ringward audit key --data /var/lib/ringward    of a server that is stopped")]
    Key(Key),
    /// Write all that the journal says about a release, for somebody who was not there
    ///
    /// One document that stands alone: who released what under which policy, each ring with its soak and the
    /// measurements behind its gates, what people decided, what held it and what ended each hold, what was refused,
    /// where the clusters were known to lie, and that the journal's chain holds. As a page to be read, printed and
    /// filed, or with -o json for a program.
    #[command(after_help = "EXAMPLES
  ringward audit evidence checkout@2.14.0 --file checkout-2.14.0.html
  ringward audit evidence checkout@2.14.0 -o json | jq .decisions.items")]
    Evidence(Evidence),
}

/// Of which release, and where to.
#[derive(Debug, Args)]
pub struct Evidence {
    /// The release.
    #[arg(value_name = "PLAN@VERSION")]
    release: ReleaseId,
    /// Write it there instead of to standard output.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Which entries.
#[derive(Debug, Args)]
pub struct Show {
    /// Those behind this number.
    #[arg(long, value_name = "N", default_value_t = 0)]
    since: u64,
    /// At most so many.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Those about this plan only.
    #[arg(long, value_name = "PLAN")]
    plan: Option<PlanName>,
}

/// Which journal.
#[derive(Debug, Args)]
pub struct Verify {
    /// The data directory of a server that is stopped.
    #[arg(long, value_name = "DIR", conflicts_with = "file")]
    data: Option<PathBuf>,
    /// An export or a backup; no server is asked.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// With --file: the public key that must have signed it, as `ringward audit key` shows it.
    #[arg(long, value_name = "KEY", requires = "file")]
    key: Option<PublicKey>,
}

/// Which journal, and from where on.
#[derive(Debug, Args)]
pub struct Export {
    /// Those behind this number.
    #[arg(long, value_name = "N", default_value_t = 0)]
    since: u64,
    /// The records as they are stored; it takes an administrator.
    #[arg(long)]
    records: bool,
    /// The data directory of a server that is stopped.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Whose.
#[derive(Debug, Args)]
pub struct Key {
    /// The data directory of a server that is stopped.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Runs `audit`.
pub async fn run(context: &Context, command: &Audit) -> Result<Exit, Failure> {
    match command {
        Audit::Show(args) => show(context, args).await,
        Audit::Verify(Verify { file: Some(file), key, .. }) => {
            file_verified(context, file, key.as_ref())
        }
        Audit::Verify(Verify { data: Some(data), .. }) => {
            let found = audit::verify(&journal(data)?).map_err(|error| Failure::of(&error))?;
            verified(context, &Answer::of(&VerificationView::from(found))?)
        }
        Audit::Verify(Verify { data: None, .. }) => {
            verified(context, &context.client()?.get(&["audit", "verify"], &[]).await?)
        }
        Audit::Export(Export { since, data: Some(data), .. }) => {
            let (journal, at) = (journal(data)?, context.clock.now().wall);
            let mut out = io::BufWriter::new(io::stdout().lock());
            let exported = export(&journal, since.saturating_add(1), at, &mut out);
            let ExportEnd { entries, .. } = exported.map_err(|error| match error {
                ExportError::Write(error) => Failure::unwritten(error),
                error @ (ExportError::Store(_) | ExportError::Key(_)) => Failure::of(&error),
            })?;
            out.flush().map_err(Failure::unwritten)?;
            context.progress(&format!("{entries} entries"));
            Ok(Exit::Done)
        }
        Audit::Export(Export { since, records, data: None }) => {
            let since = since.to_string();
            let path: &[&str] = if *records { &["backup"] } else { &["audit", "export"] };
            let mut out = io::BufWriter::new(io::stdout().lock());
            context
                .client()?
                .download(path, &[("since", &since)], &mut out, Failure::unwritten)
                .await?;
            out.flush().map_err(Failure::unwritten)?;
            Ok(Exit::Done)
        }
        Audit::Key(Key { data }) => key(context, data.as_deref()).await,
        Audit::Evidence(args) => evidence(context, args).await,
    }
}

/// Opens the journal of a server that is stopped; none is begun.
pub(super) fn journal(data: &Path) -> Result<SledStore, Failure> {
    if !data.join("format").exists() {
        return Err(Failure::new(format!("{} holds no journal", data.display())).help(
            "--data names the data directory of a server; leave it out to ask a running one",
        ));
    }
    SledStore::open(data).map_err(|error| {
        let in_use = matches!(error, StoreError::InUse { .. });
        let failure = Failure::of(&error);
        if in_use { failure.help("or leave --data out, to ask the server") } else { failure }
    })
}

async fn show(context: &Context, args: &Show) -> Result<Exit, Failure> {
    let (since, limit) = (args.since.to_string(), args.limit.to_string());
    let query = [("since", since.as_str()), ("limit", limit.as_str())];
    let answer = context.client()?.get(&["audit"], &query).await?;
    let page: AuditPage = answer.read()?;
    let is_wanted = |fact: &HappenedView| {
        args.plan.as_ref().is_none_or(|plan| about(&fact.with).is_some_and(|a| is_about(&a, plan)))
    };
    let names = || page.entries.iter().map(|entry| entry.seq.to_string()).collect();
    let people = || {
        let mut table = Table::new(&["SEQ", "AT", "WHAT", "ABOUT", "BY"]);
        for entry in &page.entries {
            for fact in entry.facts.iter().filter(|fact| is_wanted(fact)) {
                table.row(cells(entry, fact).map(Into::into));
            }
        }
        table.render(context.style)
    };
    context.answer(&answer, names, people)?;
    if let Some(next) = page.next.filter(|_| !context.is_document()) {
        context.progress(&format!("more with --since {next}"));
    }
    Ok(Exit::Done)
}

fn cells(entry: &AuditView, fact: &HappenedView) -> [String; 5] {
    let by = fact.with.get("by").map_or_else(String::new, |by| {
        by.get("name").or(Some(by)).and_then(Value::as_str).unwrap_or_default().to_owned()
    });
    let at = entry.at.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
    [entry.seq.to_string(), at, fact.what.clone(), about(&fact.with).unwrap_or_default(), by]
}

/// `checkout@2.14.0 beta us-east-1`, as far as a fact names them.
fn about(with: &Value) -> Option<String> {
    let named = |key: &str| {
        let value = with.get(key)?;
        // A plan that was declared stands there whole.
        value.as_str().or_else(|| value.get("name")?.as_str())
    };
    let parts = ["release", "plan", "ring", "cluster", "gate", "commit", "id", "cause", "why"];
    let parts: Vec<&str> = parts.into_iter().filter_map(named).collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

fn is_about(about: &str, plan: &PlanName) -> bool {
    about.split(['@', ' ']).next() == Some(plan.as_str())
}

fn verified(context: &Context, answer: &Answer) -> Result<Exit, Failure> {
    let found: VerificationView = answer.read()?;
    let people = || match &found.broken {
        None => format!("{} entries hold; the last is {}\n", found.entries, found.head),
        Some(_) => format!("{} entries hold\n", found.entries),
    };
    context.answer(answer, || vec![found.head.to_string()], people)?;
    match &found.broken {
        None => Ok(Exit::Done),
        Some(broken) => {
            Err(Failure::new(format!("entry {} does not hold: {}", broken.seq, broken.why)).help(
                "compare with an export or a backup; what stands behind it cannot be trusted",
            ))
        }
    }
}

/// Says what holds of an export or a backup, and by whose key.
fn file_verified(context: &Context, file: &Path, key: Option<&PublicKey>) -> Result<Exit, Failure> {
    let shown = file.display();
    let broken = |why: String| {
        Failure::new(format!("{shown}: {why}"))
            .help("compare with another copy; what stands behind it cannot be trusted")
    };
    let text = File::open(file).map_err(|error| Failure::new(format!("{shown}: {error}")))?;
    let found = inspect(&mut io::BufReader::new(text)).map_err(|flaw| match flaw {
        Flaw::Unreadable(error) => Failure::new(format!("{shown}: {error}")),
        flaw @ (Flaw::Line { .. } | Flaw::Cut(_)) => broken(flaw.to_string()),
    })?;
    let by = found.signed.as_ref().map(|signed| &signed.key);
    if let Some(wanted) = key.filter(|wanted| by != Some(wanted)) {
        let by = by.map_or_else(|| "by nobody".into(), |by| format!("by {by}"));
        return Err(broken(format!("it is signed {by}, and not by {wanted}")));
    }
    let document = serde_json::json!({
        "entries": found.entries,
        "from": found.from,
        "to": found.to,
        "missing": found.missing,
        "verified": found.verified,
        "shown": found.shown,
        "signed": found.signed.clone().map(SignedHeadView::from),
    });
    let people = || {
        let part = match (found.from, found.to) {
            (Some(from), Some(to)) => format!(", numbers {from} to {to}"),
            (None, _) | (_, None) => String::new(),
        };
        let what = match (found.verified, found.shown, found.missing) {
            (true, ..) => "they hold, every record is as it was stored".to_owned(),
            (false, true, missing) => format!(
                "{missing} left out, and every line is as the server showed it: what is stored, without what a \
                 server shows nobody, is exported with --records"
            ),
            (false, false, missing) => format!(
                "{missing} left out, and only that each names the one before it: these are entries as a server \
                 shows them, and one that was changed would not be seen here; what can be proved is \
                 exported with --records"
            ),
        };
        let signed = match (&found.signed, key) {
            (None, _) => "it is not signed".to_owned(),
            (Some(signed), Some(_)) => {
                format!("signed at {} by that key", instant(signed.at))
            }
            (Some(signed), None) => format!(
                "signed at {} by {}; whether that is the server's key, compare with `ringward audit key`",
                instant(signed.at),
                signed.key
            ),
        };
        format!("{} entries{part}: {what}\n{signed}\n", found.entries)
    };
    let names = || by.map(ToString::to_string).into_iter().collect();
    context.answer(&Answer::of(&document)?, names, people)?;
    Ok(Exit::Done)
}

async fn key(context: &Context, data: Option<&Path>) -> Result<Exit, Failure> {
    let key = match data {
        Some(data) => {
            let key = journal(data)?.key().map_err(|error| Failure::of(&error))?;
            key.public().to_string()
        }
        None => {
            let head = context.client()?.get(&["audit", "head"], &[]).await?;
            head.read::<SignedHeadView>()?.key
        }
    };
    let answer = Answer::of(&serde_json::json!({ "key": key }))?;
    context.answer(&answer, || vec![key.clone()], || format!("{key}\n"))?;
    Ok(Exit::Done)
}

async fn evidence(context: &Context, args: &Evidence) -> Result<Exit, Failure> {
    let ReleaseId { plan, version } = &args.release;
    let client = context.client()?;
    let path = ["plans", plan.as_str(), "releases", version.as_str(), "evidence"];
    let json = || client.get(&path, &[("format", "json")]);
    let text = match context.shared.output {
        Format::Json => json().await?.json()?,
        Format::Yaml => json().await?.yaml()?,
        Format::Name => format!("{}\n", args.release),
        Format::Table | Format::Wide => {
            let mut page = Vec::new();
            client.download(&path, &[("format", "html")], &mut page, Failure::unwritten).await?;
            String::from_utf8(page).map_err(|error| Failure::of(&error))?
        }
    };
    let Some(file) = &args.file else {
        context.print(&text)?;
        return Ok(Exit::Done);
    };
    std::fs::write(file, &text)
        .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
    context.progress(&format!("{}: {} KiB", file.display(), text.len().div_ceil(1024)));
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn facts_are_told_by_what_they_are_about() {
        let fact = json!({"release": "checkout@2.14.0", "ring": "beta", "attempt": 1});
        assert_eq!(about(&fact).as_deref(), Some("checkout@2.14.0 beta"));
        assert_eq!(about(&json!({"plan": {"name": "checkout"}})).as_deref(), Some("checkout"));
        assert_eq!(about(&json!({"epoch": 3})), None);
        assert!(is_about("checkout@2.14.0 beta", &"checkout".into()));
        assert!(is_about("checkout", &"checkout".into()));
        assert!(!is_about("checkout-v2@1", &"checkout".into()));
    }

    #[test]
    fn no_journal_is_begun_to_be_verified() {
        let dir = tempfile::tempdir().unwrap();
        let failure = journal(dir.path()).unwrap_err();
        assert!(failure.message.contains("holds no journal"), "{failure}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
