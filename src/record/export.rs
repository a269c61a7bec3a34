//! The journal as lines of JSON with a signed head behind them, and the verification of such a text by
//! whoever has nothing but it.

use std::io::{self, BufRead};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    audit::Chain,
    format::{Digest, Record},
    seal::{KeyError, SignedHead, SignedText, SigningKey},
    store::{Head, PAGE, Store, StoreError},
};

/// The last line of an export, without which it was cut short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportEnd {
    /// How many lines stand before it.
    pub entries: u64,
    /// The hash of the last of them.
    pub head: Digest,
    /// The same, signed; nothing in what an earlier version wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<SignedHead>,
    /// All that stands before it, signed: where the lines are not records, whose hashes tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<SignedText>,
}

impl ExportEnd {
    /// Of no line yet.
    pub const NOTHING: ExportEnd =
        ExportEnd { entries: 0, head: Digest::GENESIS, signed: None, shown: None };
}

/// Writes entries as a server shows them, and an [`ExportEnd`] behind them whose signature is over their every
/// byte.
pub struct Showing<'a> {
    to: &'a mut dyn io::Write,
    bytes: Sha256,
    end: ExportEnd,
}

impl<'a> Showing<'a> {
    /// Nothing is written yet.
    pub fn to(to: &'a mut dyn io::Write) -> Self {
        Self { to, bytes: Sha256::new(), end: ExportEnd::NOTHING }
    }

    /// Writes an entry with that hash, as it is shown.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn line(&mut self, hash: Digest, shown: &str) -> io::Result<()> {
        let line = format!("{shown}\n");
        self.bytes.update(line.as_bytes());
        self.end = ExportEnd { entries: self.end.entries + 1, head: hash, ..ExportEnd::NOTHING };
        self.to.write_all(line.as_bytes())
    }

    /// Writes the last line: that this is all of what was shown up to `last` at that instant.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end(mut self, key: &SigningKey, last: &Head, at: Timestamp) -> io::Result<()> {
        self.end.signed = Some(key.sign(last.seq, last.hash, at));
        self.end.shown = Some(key.sign_text(Digest(self.bytes.finalize().into()), at));
        serde_json::to_writer(&mut *self.to, &self.end)?;
        writeln!(self.to)?;
        self.to.flush()
    }
}

/// Writes every record from number `from` on as a line of JSON ([`Record::to_line`]) and an
/// [`ExportEnd`] behind them, which is signed at that instant.
pub fn export(
    store: &dyn Store,
    from: u64,
    at: Timestamp,
    to: &mut dyn io::Write,
) -> Result<ExportEnd, ExportError> {
    let key = store.key()?;
    let (mut next, last) = (from.max(1), store.head());
    let mut end = ExportEnd::NOTHING;
    let mut chain = Chain::before(next);
    while next <= last.seq {
        for record in store.records(next, PAGE)? {
            chain.follow(&record).map_err(|broken| broken.into_error(store.dir()))?;
            // What was recorded since it began is not part of it.
            if record.seq > last.seq {
                break;
            }
            to.write_all(&record.to_line())?;
            end = ExportEnd { entries: end.entries + 1, head: record.hash, ..ExportEnd::NOTHING };
            next = record.seq + 1;
        }
    }
    end.signed = Some(key.sign(last.seq, last.hash, at));
    serde_json::to_writer(&mut *to, &end).map_err(io::Error::from)?;
    writeln!(to)?;
    to.flush()?;
    Ok(end)
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The journal.
    #[error("the journal cannot be read")]
    Store(#[from] StoreError),
    /// The key that its end is signed with.
    #[error("the export cannot be signed")]
    Key(#[from] KeyError),
    /// Where it is exported to.
    #[error("the export cannot be written")]
    Write(#[from] io::Error),
}

/// What an export says of itself, all of which holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// The number of its first entry; nothing where it has none.
    pub from: Option<u64>,
    /// The number of its last entry.
    pub to: Option<u64>,
    /// How many entries it has.
    pub entries: u64,
    /// How many between the first and the last are not in it: a server shows nobody the plans that they may
    /// not see.
    pub missing: u64,
    /// Whether the entries are in the bytes that their hashes cover, so that each was verified. Otherwise they are
    /// as a server shows them, and only that each names the one before it.
    pub verified: bool,
    /// Whether it is line by line what a server showed, by a signature over all of it.
    pub shown: bool,
    /// Its signed head; nothing in what an earlier version wrote.
    pub signed: Option<SignedHead>,
}

/// Where an export does not hold.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "a variant's fields are its sentence's words")]
pub enum Flaw {
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    #[error("line {line}: {why}")]
    Line { line: u64, why: String },
    #[error("it was cut short: it ends behind line {0}, without the line that says how long it is")]
    Cut(u64),
}

/// An entry as a server shows it; the rest of it is not looked at.
#[derive(Deserialize)]
struct Shown {
    seq: u64,
    prev: Digest,
    hash: Digest,
}

/// Reads an export to its end, and verifies all that can be verified of it.
///
/// # Errors
/// Names the first line that does not hold, and why.
pub fn inspect(text: &mut dyn BufRead) -> Result<Inspected, Flaw> {
    let mut found = Inspected {
        from: None,
        to: None,
        entries: 0,
        missing: 0,
        verified: true,
        shown: false,
        signed: None,
    };
    let mut bytes = Sha256::new();
    let mut last: Option<(u64, Digest)> = None;
    let mut lines = 0;
    for (text, line) in text.lines().zip(1..) {
        let text = text.map_err(Flaw::Unreadable)?;
        let flaw = |why: String| Flaw::Line { line, why };
        if let Ok(end) = serde_json::from_str::<ExportEnd>(&text) {
            let bytes = Digest(bytes.finalize().into());
            ended(&mut found, end, last, bytes).map_err(flaw)?;
            return Ok(found);
        }
        bytes.update(text.as_bytes());
        bytes.update(b"\n");
        let (seq, prev, hash) = match Record::from_line(&text) {
            Some(record) if record.intact() => (record.seq, record.prev, record.hash),
            Some(record) => {
                let seq = record.seq;
                return Err(flaw(format!("entry {seq} is not as it was recorded")));
            }
            None => {
                let shown = serde_json::from_str::<Shown>(&text);
                let Shown { seq, prev, hash } = shown
                    .map_err(|_| flaw("this is no entry of an export of ringward's".into()))?;
                found.verified = false;
                (seq, prev, hash)
            }
        };
        match last {
            Some((before, _)) if seq <= before => {
                return Err(flaw(format!("entry {seq} stands behind entry {before}")));
            }
            Some((before, head)) if seq == before + 1 && head != prev => {
                return Err(flaw(format!("entry {seq} does not follow entry {before}")));
            }
            Some((before, _)) if seq > before + 1 && found.verified => {
                return Err(flaw(format!("entry {} is missing before it", before + 1)));
            }
            None if seq == 1 && prev != Digest::GENESIS => {
                return Err(flaw("the first entry follows another".into()));
            }
            Some((before, _)) => found.missing += seq - before - 1,
            None => found.from = Some(seq),
        }
        found.entries += 1;
        found.to = Some(seq);
        last = Some((seq, hash));
        lines = line;
    }
    Err(Flaw::Cut(lines))
}

/// Takes the last line, where it says what stands before it.
fn ended(
    found: &mut Inspected,
    end: ExportEnd,
    last: Option<(u64, Digest)>,
    bytes: Digest,
) -> Result<(), String> {
    let head = last.map_or(Digest::GENESIS, |(_, head)| head);
    if end.entries != found.entries {
        return Err(format!(
            "it says that there are {} entries, and there are {}",
            end.entries, found.entries
        ));
    }
    if end.head != head {
        return Err("it names another last entry than there is".into());
    }
    let Some(signed) = end.signed else { return Ok(()) };
    if !signed.holds() {
        return Err(format!("the signature is not by the key that it names, {}", signed.key));
    }
    match last {
        Some((seq, head)) if seq == signed.seq && head != signed.head => {
            return Err("what was signed is another entry than the last".into());
        }
        Some((seq, _)) if seq > signed.seq => {
            return Err(format!("what was signed is entry {}, before the last", signed.seq));
        }
        Some((seq, _)) if seq < signed.seq && found.verified => {
            return Err(format!("entries {} to {} are missing before it", seq + 1, signed.seq));
        }
        Some(_) | None => {}
    }
    if let Some(shown) = end.shown {
        if !shown.holds() || shown.key != signed.key {
            let key = signed.key;
            return Err(format!(
                "the signature of the lines is not by the key that it names, {key}"
            ));
        }
        // Each is true by itself; only together are they one export's.
        if shown.at != signed.at {
            return Err("the lines and the head were signed at different times".into());
        }
        if shown.sha256 != bytes {
            return Err("a line before it is not as the server showed it".into());
        }
        found.shown = true;
    }
    found.signed = Some(signed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Memory, conformance::drafts};

    fn at() -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap()
    }

    fn exported(from: u64) -> (Memory, String) {
        let store = Memory::new();
        store.append(3, &drafts(1..=300)).unwrap();
        let mut text = Vec::new();
        export(&store, from, at(), &mut text).unwrap();
        (store, String::from_utf8(text).unwrap())
    }

    fn flaw(text: &str) -> String {
        inspect(&mut text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn an_export_is_verified_with_nothing_but_itself() {
        let (store, text) = exported(1);
        let found = inspect(&mut text.as_bytes()).unwrap();
        assert_eq!((found.from, found.to, found.entries), (Some(1), Some(300), 300));
        assert!(found.verified && found.missing == 0);
        let signed = found.signed.unwrap();
        assert_eq!((signed.seq, signed.head, signed.at), (300, store.head().hash, at()));
        assert_eq!(signed.key, store.key().unwrap().public());
        let (_, part) = exported(200);
        let found = inspect(&mut part.as_bytes()).unwrap();
        assert_eq!((found.from, found.entries), (Some(200), 101));
        let (_, nothing) = exported(301);
        assert_eq!(inspect(&mut nothing.as_bytes()).unwrap().entries, 0);
    }

    #[test]
    fn what_was_edited_or_cut_is_named_by_its_line() {
        let (_, text) = exported(1);
        let lines: Vec<_> = text.split_inclusive('\n').collect();
        let join = |parts: &[&[&str]]| parts.concat().concat();
        let cases = [
            ("behind line 300", join(&[&lines[..300]])),
            ("behind line 0", String::new()),
            ("line 7: entry 7 is not as it was recorded", text.replacen("eu-7", "eu-8", 1)),
            ("line 7: entry 7 is missing before it", join(&[&lines[..6], &lines[7..]])),
            ("line 8: entry 7 stands behind entry 7", join(&[&lines[..7], &lines[6..]])),
            ("line 300: it says that there are 300", join(&[&lines[..299], &lines[300..]])),
            ("line 1: this is no entry", format!("hello\n{text}")),
            ("line 301: the signature is not by the key", text.replace("2023-11-14", "2023-11-15")),
        ];
        for (what, text) in cases {
            let found = flaw(&text);
            assert!(found.contains(what), "{found} is not {what}");
        }
        // Another journal, sealed by somebody else's key: only who knows the right one can tell.
        let (other, _) = exported(1);
        assert_ne!(other.key().unwrap().public(), exported(1).0.key().unwrap().public());
    }

    #[test]
    fn the_end_of_another_export_does_not_fit() {
        let (store, text) = exported(1);
        let lines: Vec<_> = text.split_inclusive('\n').collect();
        let short = ExportEnd {
            entries: 299,
            head: store.records(299, 1).unwrap()[0].hash,
            signed: serde_json::from_str::<ExportEnd>(lines[300]).unwrap().signed,
            shown: None,
        };
        let forged = lines[..299].concat() + &serde_json::to_string(&short).unwrap();
        assert!(flaw(&forged).contains("entries 300 to 300 are missing"), "{}", flaw(&forged));
    }

    #[test]
    fn what_a_server_shows_is_followed_from_hash_to_hash() {
        let (store, _) = exported(1);
        let shown = |seq: u64| {
            let record = &store.records(seq, 1).unwrap()[0];
            let (prev, hash) = (record.prev, record.hash);
            format!(
                "{{\"seq\":{seq},\"at\":\"then\",\"facts\":[],\"prev\":\"{prev}\",\"hash\":\"{hash}\"}}\n"
            )
        };
        let head = store.head();
        let signed = Some(store.key().unwrap().sign(head.seq, head.hash, at()));
        let end = |entries, seq: u64| {
            let head = store.records(seq, 1).unwrap()[0].hash;
            let end = ExportEnd { entries, head, signed: signed.clone(), shown: None };
            serde_json::to_string(&end).unwrap()
        };
        let text = shown(1) + &shown(2) + &shown(5) + &end(3, 5);
        let found = inspect(&mut text.as_bytes()).unwrap();
        assert_eq!((found.verified, found.missing, found.entries), (false, 2, 3));
        let other = shown(1) + &shown(2).replace("\"prev\":\"", "\"prev\":\"00") + &end(2, 2);
        assert!(flaw(&other).starts_with("line 2"), "{}", flaw(&other));

        // With a signature over the lines, each byte of them counts.
        let showing = |at| {
            let mut out = Vec::new();
            let mut showing = Showing::to(&mut out);
            for seq in [1, 2, 5] {
                let hash = store.records(seq, 1).unwrap()[0].hash;
                showing.line(hash, shown(seq).trim_end()).unwrap();
            }
            showing.end(&store.key().unwrap(), &store.head(), at).unwrap();
            String::from_utf8(out).unwrap()
        };
        let text = showing(at());
        let found = inspect(&mut text.as_bytes()).unwrap();
        assert_eq!((found.verified, found.shown, found.missing), (false, true, 2));
        let edited = flaw(&text.replacen("then", "when", 1));
        assert_eq!(edited, "line 4: a line before it is not as the server showed it");
        let later = text.replace("2023-11-14", "2023-11-15");
        assert!(flaw(&later).starts_with("line 4: the signature"), "{}", flaw(&later));

        // Two ends, both signed by the server, make no third.
        let last = |text: &str| {
            serde_json::from_str::<ExportEnd>(text.lines().next_back().unwrap()).unwrap()
        };
        let other = last(&showing(Timestamp::from_second(1_700_000_001).unwrap()));
        let crossed = ExportEnd { signed: other.signed, ..last(&text) };
        let lines = text.split_inclusive('\n').take(3).collect::<String>();
        let found = flaw(&(lines + &serde_json::to_string(&crossed).unwrap()));
        assert_eq!(found, "line 4: the lines and the head were signed at different times");
    }
}
