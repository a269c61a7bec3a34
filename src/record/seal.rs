//! Heads of the journal, signed: who has one can prove later that the journal had come so far, and with
//! which hash, though the server that signed it be gone.
//!
//! Ed25519 (RFC 8032). The key is made in the data directory at its first use and leaves it with nothing: not
//! with a backup either, so that a restored server has a key of its own.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Mutex, PoisonError},
};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{data_dir::sync_dir, format::Digest};

/// What stands before a public key, so that it says what it is.
const ED25519_TEXT: &str = "ed25519:";

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// A key is made once, though many ask for it at the same time.
static MAKING: Mutex<()> = Mutex::new(());

/// The key that heads are signed with.
pub struct SigningKey(Ed25519KeyPair);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Its file.
    #[error("{}: the key that the audit is signed with cannot be read or made", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "{}: this is no Ed25519 key in PEM; put the key back from where you keep it, or move the file \
         away: then another is made, and what was signed before is verified by the old public key", .0.display()
    )]
    NoKey(PathBuf),
}

impl SigningKey {
    /// Reads the key at `path`; it is made where there is none, for its owner's eyes only.
    ///
    /// # Errors
    /// It cannot be read or made, or is none.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |source| KeyError::File { path: path.into(), source };
        match fs::read_to_string(path) {
            Ok(text) => Self::read(&text).ok_or_else(|| KeyError::NoKey(path.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (key, text) = Self::generate().map_err(failed)?;
                keep(path, &text).map_err(failed)?;
                Ok(key)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// A key that is kept nowhere, with the text that it would be kept as.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate() -> io::Result<(Self, String)> {
        let none = |_| io::Error::other("no key can be made");
        let pair = Ed25519KeyPair::generate().map_err(none)?;
        let der = pair.to_pkcs8v1().map_err(none)?;
        let text = format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(der.as_ref()));
        Ok((Self(pair), text))
    }

    /// Reads what a key is kept as.
    pub(super) fn read(text: &str) -> Option<Self> {
        let inside = text.trim().strip_prefix(BEGIN)?.strip_suffix(END)?;
        let inside: String = inside.split_ascii_whitespace().collect();
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(&STANDARD.decode(inside).ok()?).ok().map(Self)
    }

    /// What its signatures are verified with.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.public_key().as_ref().to_vec())
    }

    /// Signs that entry `seq` has that hash, at that instant.
    pub fn sign(&self, seq: u64, head: Digest, at: Timestamp) -> SignedHead {
        let signature = self.0.sign(statement(seq, head, at).as_bytes());
        let signature = STANDARD.encode(signature.as_ref());
        SignedHead { seq, head, at, key: self.public(), signature }
    }

    /// Signs that a text with that SHA-256 was shown, at that instant.
    pub fn sign_text(&self, sha256: Digest, at: Timestamp) -> SignedText {
        let signature = self.0.sign(text_statement(sha256, at).as_bytes());
        let signature = STANDARD.encode(signature.as_ref());
        SignedText { sha256, at, key: self.public(), signature }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

/// Written beside its place and then moved there: it is there whole or not at all.
fn keep(path: &Path, text: &str) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let mut file: File =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// What is signed: a text of its own kind, so that no other signature can be taken for it.
fn statement(seq: u64, head: Digest, at: Timestamp) -> String {
    format!("ringward audit head v1\nentry {seq}\nhash {head}\nat {at}\n")
}

/// The same for a text that was shown.
fn text_statement(sha256: Digest, at: Timestamp) -> String {
    format!("ringward audit lines v1\nsha256 {sha256}\nat {at}\n")
}

/// What signatures are verified with; its text is `ed25519:` and base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PublicKey(Vec<u8>);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ED25519_TEXT}{}", STANDARD.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        key.to_string()
    }
}

/// A text that is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a public key is {ED25519_TEXT} and 32 bytes in base64; `ringward audit key` shows one")]
pub struct NoPublicKey;

impl FromStr for PublicKey {
    type Err = NoPublicKey;

    fn from_str(text: &str) -> Result<Self, NoPublicKey> {
        let bytes = text.trim().strip_prefix(ED25519_TEXT).and_then(|b| STANDARD.decode(b).ok());
        bytes.filter(|bytes| bytes.len() == 32).map(Self).ok_or(NoPublicKey)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = NoPublicKey;

    fn try_from(text: String) -> Result<Self, NoPublicKey> {
        text.parse()
    }
}

/// How far the journal had come at an instant, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedHead {
    /// The number of its last entry.
    pub seq: u64,
    /// That entry's hash, which all entries before it are in.
    pub head: Digest,
    /// When it was signed.
    pub at: Timestamp,
    /// By which key.
    pub key: PublicKey,
    /// The signature, in base64.
    pub signature: String,
}

impl SignedHead {
    /// Whether it was signed by the key that it names. Whether that is the server's is for whoever knows that
    /// one to say.
    pub fn holds(&self) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.key.0);
        let signed = statement(self.seq, self.head, self.at);
        let signature = STANDARD.decode(&self.signature).unwrap_or_default();
        key.verify(signed.as_bytes(), &signature).is_ok()
    }
}

/// What was shown of the journal at an instant, signed: each byte of it counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedText {
    /// The SHA-256 of all lines, each with its line feed.
    pub sha256: Digest,
    /// When it was signed.
    pub at: Timestamp,
    /// By which key.
    pub key: PublicKey,
    /// The signature, in base64.
    pub signature: String,
}

impl SignedText {
    /// As [`SignedHead::holds`].
    pub fn holds(&self) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.key.0);
        let signature = STANDARD.decode(&self.signature).unwrap_or_default();
        key.verify(text_statement(self.sha256, self.at).as_bytes(), &signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.key");
        let first = SigningKey::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let second = SigningKey::open(&path).unwrap();
        assert_eq!(first.public(), second.public());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let text = fs::read_to_string(&path).unwrap();
        assert!(!format!("{first:?}").contains(text.lines().nth(1).unwrap()));
        fs::write(&path, "nothing").unwrap();
        assert!(matches!(SigningKey::open(&path), Err(KeyError::NoKey(_))));
    }

    #[test]
    fn a_signature_is_of_one_head_at_one_instant_by_one_key() {
        let (key, _) = SigningKey::generate().unwrap();
        let (other, _) = SigningKey::generate().unwrap();
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        let signed = key.sign(7, Digest([7; 32]), at);
        assert!(signed.holds());
        let text = serde_json::to_string(&signed).unwrap();
        assert_eq!(serde_json::from_str::<SignedHead>(&text).unwrap(), signed);
        let later = Timestamp::from_second(1_700_000_001).unwrap();
        for forged in [
            SignedHead { seq: 8, ..signed.clone() },
            SignedHead { head: Digest([8; 32]), ..signed.clone() },
            SignedHead { at: later, ..signed.clone() },
            SignedHead { key: other.public(), ..signed.clone() },
            SignedHead { signature: "AAAA".into(), ..signed.clone() },
        ] {
            assert!(!forged.holds(), "{forged:?}");
        }
    }

    #[test]
    fn a_public_key_is_read_back() {
        let (key, _) = SigningKey::generate().unwrap();
        assert_eq!(key.public().to_string().parse(), Ok(key.public()));
        for wrong in ["", "ed25519:", "ed25519:AAAA", "rsa:AAAA"] {
            assert_eq!(wrong.parse::<PublicKey>(), Err(NoPublicKey), "{wrong}");
        }
    }
}
