//! The server's own machine: its data directory, its tokens, and the files that its settings name.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use jiff::Timestamp;

use super::{Health, Report};
use crate::{
    config::{MetricsAuth, Settings},
    model::time::Span,
    show::{
        auth::Tokens,
        cli::failure::chain,
        cli::get::instant,
        tls::{self, Tls},
    },
};

/// Less room than this is soon too little for a journal, and hardly enough to write it anew.
const ROOM: u64 = 2 << 30;
/// Less than this is too little already.
const LEAST_ROOM: u64 = 256 << 20;
/// Tokens and certificates that end so soon are told of.
const SOON: Span = Span::minutes(14 * 24 * 60);

pub(super) fn look(settings: &Settings, now: Timestamp, report: &mut Report) {
    directory(&settings.data, report);
    room(&settings.data, report);
    tokens(&settings.data, now, report);
    if let Some(files) = &settings.tls {
        let which = files.certificate.display();
        match Tls::read(files.clone()).and_then(|_| tls::ends(files)) {
            Ok(ends) => certificate(which, ends, now, report),
            Err(error) => {
                let cure = "exchange the files; a running server goes on with those it has";
                report.add(Health::Fail, "tls", which, chain(&error), cure);
            }
        }
    }
    for (url, auth) in &settings.metrics {
        secrets(url, auth, report);
    }
}

/// A certificate that is of use, but perhaps not for long.
fn certificate(which: impl ToString, ends: Option<Timestamp>, now: Timestamp, report: &mut Report) {
    let cure = "put a new one and its key there; the server reads them by itself";
    match ends {
        Some(at) if at <= now => {
            report.add(Health::Fail, "tls", which, format!("expired {}", instant(at)), cure);
        }
        Some(at) if at.duration_since(now) <= SOON.to_signed() => {
            report.add(Health::Warn, "tls", which, format!("expires {}", instant(at)), cure);
        }
        Some(_) | None => report.ok("tls", which, "the certificate and its key belong together"),
    }
}

/// The journal is for nobody else, and for us to write.
fn directory(data: &Path, report: &mut Report) {
    let which = data.display();
    let meta = match fs::metadata(data) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let found = "not there yet; the first start makes it";
            return report.ok("data", which, found);
        }
        Err(error) => {
            let cure = "let the server's user reach it, or name another with --data";
            return report.add(
                Health::Fail,
                "data",
                which,
                format!("cannot be looked at: {error}"),
                cure,
            );
        }
    };
    let mode = meta.permissions().mode() & 0o777;
    if !meta.is_dir() {
        let cure = "name a directory with --data";
        return report.add(Health::Fail, "data", which, "is no directory", cure);
    }
    if rustix::fs::access(data, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_err()
    {
        let cure = "run this as the server's user, or give the directory to that user";
        return report.add(
            Health::Fail,
            "data",
            which,
            format!("mode {mode:04o}, and not ours to write"),
            cure,
        );
    }
    match mode & 0o077 {
        0 => report.ok("data", which, format!("mode {mode:04o}")),
        _ => {
            let found = format!("mode {mode:04o}: others on this machine may look into it");
            report.add(
                Health::Warn,
                "data",
                which,
                found,
                "chmod 0700: the journal and tokens are in it",
            );
        }
    }
}

/// Room on the disk that the data directory is on, or will be.
fn room(data: &Path, report: &mut Report) {
    let Some(there) = data.ancestors().find(|path| path.is_dir()) else { return };
    let Ok(stat) = rustix::fs::statvfs(there) else { return };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let found = format!("{:.1} GiB free", free as f64 / (1_u64 << 30) as f64);
    let cure = "make room: a journal grows, and is written anew beside itself at times";
    match free {
        free if free < LEAST_ROOM => report.add(Health::Fail, "disk", there.display(), found, cure),
        free if free < ROOM => report.add(Health::Warn, "disk", there.display(), found, cure),
        _ => report.ok("disk", there.display(), found),
    }
}

fn tokens(data: &Path, now: Timestamp, report: &mut Report) {
    if !data.is_dir() {
        return;
    }
    let list = match Tokens::open(data) {
        Ok(tokens) => tokens.list(),
        Err(error) => {
            let cure = "restore the file from a backup, or make new tokens";
            return report.add(Health::Fail, "tokens", data.display(), chain(&error), cure);
        }
    };
    let good = list.iter().filter(|token| token.expires.is_none_or(|at| at > now)).count();
    match good {
        0 if list.is_empty() => report.ok("tokens", "all", "none yet; the first start makes one"),
        0 => {
            let cure = "ringward token create NAME --role admin";
            report.add(Health::Fail, "tokens", "all", "every token has expired", cure);
        }
        n => report.ok("tokens", "all", format!("{n} good")),
    }
    for token in list {
        let Some(at) = token.expires else { continue };
        let which = format!("{} of {}", token.id, token.name);
        let left = at.duration_since(now);
        if at <= now {
            let found = format!("expired {}", instant(at));
            report.add(
                Health::Warn,
                "token",
                which,
                found,
                format!("ringward token revoke {}", token.id),
            );
        } else if left <= SOON.to_signed() {
            let found = format!("expires {}", instant(at));
            let cure = format!("ringward token create {}, and hand it over", token.name);
            report.add(Health::Warn, "token", which, found, cure);
        }
    }
}

/// The files of secrets that a metric source is shown: there, and for nobody else.
fn secrets(url: &str, auth: &MetricsAuth, report: &mut Report) {
    let MetricsAuth {
        bearer_token_file,
        basic,
        aws,
        webhook_secret_file,
        headers: _,
        header_files,
        ca_file: _,
    } = auth;
    let mut files: Vec<&Path> = Vec::new();
    files.extend(bearer_token_file.as_deref());
    files.extend(basic.as_ref().map(|basic| basic.password_file.as_path()));
    files.extend(webhook_secret_file.as_deref());
    files.extend(header_files.values().map(|path| path.as_path()));
    if let Some(aws) = aws {
        files.extend([aws.access_key_id_file.as_path(), aws.secret_access_key_file.as_path()]);
        files.extend(aws.session_token_file.as_deref());
    }
    for file in files {
        secret(file, url, report);
    }
}

/// A file of a secret: there, and for nobody else. `of` says whose it is.
pub(super) fn secret(file: &Path, of: &str, report: &mut Report) {
    let which = file.display();
    match fs::File::open(file).and_then(|file| file.metadata()) {
        Err(error) => {
            let cure = format!("put the secret of {of} there, for the server's user to read");
            report.add(Health::Fail, "secret", which, format!("cannot be read: {error}"), cure);
        }
        // A mounted Secret is often readable by all of its container.
        Ok(meta) if meta.permissions().mode() & 0o007 != 0 => {
            let found =
                format!("mode {:04o}: everybody may read it", meta.permissions().mode() & 0o777);
            report.add(Health::Warn, "secret", which, found, "chmod 0600");
        }
        Ok(_) => report.ok("secret", which, format!("of {of}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_told_of_before_it_ends() {
        let now: Timestamp = "2026-11-27T12:00:00Z".parse().unwrap();
        let found = |ends: Option<&str>| {
            let mut report = Report::default();
            certificate("tls.crt", ends.map(|at| at.parse().unwrap()), now, &mut report);
            let finding = &report.0[0];
            (finding.health, finding.found.clone())
        };
        let good = (Health::Ok, "the certificate and its key belong together".to_owned());
        assert_eq!(found(Some("2026-12-11T12:00:01Z")), good);
        assert_eq!(found(None), good);
        assert_eq!(
            found(Some("2026-12-11T12:00:00Z")),
            (Health::Warn, "expires 2026-12-11 12:00Z".into())
        );
        assert_eq!(
            found(Some("2026-11-27T12:00:00Z")),
            (Health::Fail, "expired 2026-11-27 12:00Z".into())
        );
    }
}
