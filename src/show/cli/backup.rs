//! `backup` and `restore`: the journal as a file, and a data directory out of it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{audit::journal, context::Context, failure::Failure};
use crate::{
    clock::Clock as _,
    record::{export::export, restore},
    show::exit::Exit,
};

/// Copy the journal of a running server into a file
///
/// The copy is whole and verified, or it is not there: it is written beside its place first. It holds
/// everything that was decided, and no token and no key; what residency keeps in a jurisdiction was never in it. Its
/// last line is signed: `ringward audit verify --file` says by which key.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES
  ringward backup /backups/ringward-$(date +%F).jsonl
  ringward backup --data /var/lib/ringward journal.jsonl    of a server that is stopped")]
pub struct Backup {
    /// The file; it is replaced where there is one.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The data directory of a server that is stopped.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Make a data directory out of a backup
///
/// Every entry is verified on the way. The directory is there whole or not at all, and a server that starts over it
/// goes on where the backup ends: with a token for its administrator in it, and a key of its own that it signs its audit
/// with, for neither is in backups.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES
  ringward restore /backups/ringward-2026-11-20.jsonl --data /var/lib/ringward
  ringward serve --data /var/lib/ringward")]
pub struct Restore {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The data directory to make: empty, or not there yet.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// Runs `backup`.
pub async fn backup(context: &Context, args: &Backup) -> Result<Exit, Failure> {
    let file = &args.file;
    let failed = |error: io::Error| Failure::new(format!("{}: {error}", file.display()));
    let mut draft = file.as_os_str().to_owned();
    draft.push(".partial");
    let draft = PathBuf::from(draft);
    let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft);
    let mut out = BufWriter::new(open.map_err(failed)?);
    let copied = match &args.data {
        Some(data) => journal(data).and_then(|journal| {
            let at = context.clock.now().wall;
            let copied = export(&journal, 1, at, &mut out);
            copied.map(drop).map_err(|error| Failure::of(&error))
        }),
        None => context.client()?.download(&["backup"], &[], &mut out, failed).await,
    };
    let kept = copied
        .and_then(|()| out.into_inner().map_err(|error| failed(error.into_error())))
        .and_then(|written: File| written.sync_all().map_err(failed))
        .and_then(|()| verified(&draft))
        .and_then(|entries| fs::rename(&draft, file).map(|()| entries).map_err(failed));
    match kept {
        Ok(entries) => {
            context.progress(&format!("{}: {entries} entries, verified", file.display()));
            Ok(Exit::Done)
        }
        Err(failure) => {
            // A part of a backup is none; what cannot be removed is written over by the next.
            let _ = fs::remove_file(&draft);
            Err(failure)
        }
    }
}

fn verified(draft: &Path) -> Result<u64, Failure> {
    let text = File::open(draft).map_err(|error| Failure::of(&error))?;
    let end = restore::verify(&mut BufReader::new(text)).map_err(|error| Failure::of(&error))?;
    Ok(end.entries)
}

/// Runs `restore`.
pub fn restore(context: &Context, args: &Restore) -> Result<Exit, Failure> {
    let shown = args.file.display();
    let text = File::open(&args.file).map_err(|error| Failure::new(format!("{shown}: {error}")))?;
    let mut text: Box<dyn BufRead> = Box::new(BufReader::new(text));
    let end = restore::restore(&args.data, &mut *text).map_err(|error| Failure::of(&error))?;
    context.progress(&format!("{}: {} entries, verified", args.data.display(), end.entries));
    Ok(Exit::Done)
}
