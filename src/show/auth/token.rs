//! Tokens of our own: 256 bits each, of which the data directory keeps the hashes only.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Caller, Grant, LONGEST_NAME, digest, is_name};
use crate::{
    config::{is_place, is_role},
    ids::{Jurisdiction, Mint, PlanName, Principal},
    model::time::Span,
};

/// The file with the tokens' hashes, inside the data directory.
pub const TOKENS: &str = "tokens.json";

/// The file with the first administrator's token, inside the data directory.
pub const ADMIN_TOKEN: &str = "admin.token";

pub(super) const PREFIX: &str = "rw_";

/// The roles that open anything. A token may carry others, for plans whose approvals ask for them.
const ROLES: [&str; 4] = ["viewer", "operator", "approver", "admin"];

/// How long a token for emergencies is good for, unless told otherwise.
const EMERGENCY: Span = Span::seconds(60 * 60);

/// How long it may be good for.
const LONGEST_EMERGENCY: Span = Span::seconds(24 * 60 * 60);

/// A token as the data directory keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Token {
    /// Names it, for people.
    pub id: String,
    /// Whom it stands for.
    pub name: Principal,
    /// SHA-256 over the token's text, in hexadecimal.
    hash: String,
    /// Their roles.
    pub roles: Vec<String>,
    /// Where they belong to.
    pub jurisdiction: Option<Jurisdiction>,
    /// The plans that the roles reach; none named is all of them.
    pub plans: Vec<PlanName>,
    /// The jurisdictions that the roles reach; none named is all of them.
    pub within: Vec<Jurisdiction>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// Why it was made, where it is for an emergency: each use of it is logged, and in the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<String>,
}

/// A token for an emergency that somebody shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emergency {
    /// The token's id.
    pub token: String,
    /// Why it was made.
    pub reason: String,
}

/// A token to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewToken {
    /// Whom it stands for.
    pub name: String,
    /// Their roles; at least one of `viewer`, `operator`, `approver`, `admin`.
    pub roles: Vec<String>,
    /// Where they belong to.
    pub jurisdiction: Option<Jurisdiction>,
    /// The plans that the roles reach; none named is all of them.
    pub plans: Vec<PlanName>,
    /// The jurisdictions that the roles reach; none named is all of them.
    pub within: Vec<Jurisdiction>,
    /// How long it is good for.
    pub ttl: Option<Span>,
    /// Why it is made, where it is for an emergency: when nobody else can vouch for anybody.
    pub break_glass: Option<String>,
}

/// Why tokens cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The system refused.
    #[error("{path}: cannot {doing} it; see to the cause and try again", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// A verb.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what ringward wrote.
    #[error(
        "{path}: this is no list of tokens; restore it from a backup, or remove it to begin anew",
        path = .path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A name that cannot stand in a journal's key.
    #[error(
        "`{0}` is no name for a token: give 1 to {LONGEST_NAME} letters, digits and . _ @ + -, \
         beginning and ending with a letter or digit"
    )]
    Name(String),
    /// An emergency without its reason, or a long one.
    #[error("a token for an emergency needs a reason in words, and ends within 24h")]
    Emergency,
    /// No role that opens anything.
    #[error("a token needs one of the roles {known}", known = ROLES.join(", "))]
    Roles,
    /// A role that is no word.
    #[error("`{0}` is no role: give letters, digits and -")]
    Role(String),
    /// A place that the roles would never reach.
    #[error(
        "`{0}` is neither a country code nor a bloc that is built in; what declarations say of blocs gives nobody \
         more to reach: name the countries"
    )]
    Place(Jurisdiction),
    /// No such token.
    #[error("there is no token `{0}`; `ringward token list` shows them")]
    Unknown(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    v: u32,
    tokens: Vec<Token>,
}

/// The tokens of a data directory. A running server sees what another process adds or revokes.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    tokens: Vec<Token>,
    /// Of the file when it was read: its time and its length.
    mark: Option<(SystemTime, u64)>,
}

impl Tokens {
    /// Reads the tokens of a data directory; there need not be any yet.
    ///
    /// # Errors
    /// The file cannot be read, or is not what ringward wrote.
    pub fn open(data: &Path) -> Result<Self, TokenError> {
        let path = data.join(TOKENS);
        let known = read(&path)?;
        Ok(Self { path, known: Mutex::new(known) })
    }

    /// On a first start, where there is no token at all, makes one for an administrator and leaves it in
    /// [`ADMIN_TOKEN`], readable by its owner only. Returns that file, if it was made.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn first_start(
        &self,
        mint: &mut Mint,
        now: Timestamp,
    ) -> Result<Option<PathBuf>, TokenError> {
        if !self.list().is_empty() {
            return Ok(None);
        }
        let roles = vec!["admin".into(), "operator".into()];
        let admin = NewToken { name: "admin".into(), roles, ..NewToken::default() };
        let (token, text) = draw(admin, mint, now)?;
        let path = self.path.with_file_name(ADMIN_TOKEN);
        // Before it is good for anything: killed in between, the next start is the first again, and
        // nobody is locked out.
        write(&path, format!("{text}\n").as_bytes())?;
        self.add(token)?;
        Ok(Some(path))
    }

    /// Makes a token, and returns it with its text, which is kept nowhere.
    ///
    /// # Errors
    /// The name or the roles cannot be, or the file cannot be written.
    pub fn create(
        &self,
        new: NewToken,
        mint: &mut Mint,
        now: Timestamp,
    ) -> Result<(Token, String), TokenError> {
        let (token, text) = draw(new, mint, now)?;
        self.add(token.clone())?;
        Ok((token, text))
    }

    fn add(&self, token: Token) -> Result<(), TokenError> {
        self.change(|tokens| {
            tokens.push(token);
            Ok(())
        })
    }

    /// Every token, those that have expired included.
    pub fn list(&self) -> Vec<Token> {
        self.fresh().tokens.clone()
    }

    /// Ends a token by its id, or all of a name. Returns those that ended.
    ///
    /// # Errors
    /// There is none, or the file cannot be written.
    pub fn revoke(&self, id_or_name: &str) -> Result<Vec<Token>, TokenError> {
        self.change(|tokens| {
            let meant = |token: &Token| token.id == id_or_name || token.name.as_str() == id_or_name;
            let ended: Vec<Token> = tokens.extract_if(.., |token| meant(token)).collect();
            if ended.is_empty() { Err(TokenError::Unknown(id_or_name.into())) } else { Ok(ended) }
        })
    }

    /// Whose token `text` is, if it is anybody's and still good.
    pub fn caller(&self, text: &str, now: Timestamp) -> Option<Caller> {
        self.caller_by_digest(&digest(text), now)
    }

    /// Whose token has that [`digest`], if it is still good.
    pub fn caller_by_digest(&self, offered: &str, now: Timestamp) -> Option<Caller> {
        let known = self.fresh();
        // All of them are compared, each in full: how long it takes says nothing about any of them.
        let found = known.tokens.iter().fold(None, |found, token| {
            if same(token.hash.as_bytes(), offered.as_bytes()) { Some(token) } else { found }
        });
        let token = found.filter(|token| token.expires.is_none_or(|expires| now < expires))?;
        let grant = Grant {
            roles: token.roles.clone(),
            plans: token.plans.clone(),
            within: token.within.clone(),
        };
        let emergency =
            |reason: &String| Emergency { token: token.id.clone(), reason: reason.clone() };
        Some(Caller {
            name: token.name.clone(),
            jurisdiction: token.jurisdiction.clone(),
            grants: vec![grant],
            emergency: token.break_glass.as_ref().map(emergency),
        })
    }

    /// What is known, read again if another process has changed it.
    fn fresh(&self) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if mark(&self.path) != known.mark {
            match read(&self.path) {
                Ok(newer) => *known = newer,
                Err(error) => {
                    // A passing fault of the disk locks nobody out.
                    tracing::error!(%error, "the tokens cannot be read again; the last ones stay");
                }
            }
        }
        known
    }

    /// Changes the file while no other process does.
    fn change<R>(
        &self,
        change: impl FnOnce(&mut Vec<Token>) -> Result<R, TokenError>,
    ) -> Result<R, TokenError> {
        let lock = self.path.with_extension("lock");
        let io = |doing| {
            let path = lock.clone();
            move |source| TokenError::Io { path, doing, source }
        };
        let held = private().truncate(false).open(&lock).map_err(io("open"))?;
        held.lock().map_err(io("lock"))?;
        let mut tokens = read(&self.path)?.tokens;
        let changed = change(&mut tokens)?;
        let text = serde_json::to_vec_pretty(&Kept { v: 1, tokens });
        let text =
            text.map_err(|e| TokenError::Malformed { path: self.path.clone(), source: e })?;
        write(&self.path, &text)?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = read(&self.path)?;
        Ok(changed)
    }
}

/// A token that is not kept yet, and its text.
fn draw(new: NewToken, mint: &mut Mint, now: Timestamp) -> Result<(Token, String), TokenError> {
    let NewToken { name, roles, jurisdiction, plans, within, ttl, break_glass } = new;
    if !is_name(&name) {
        return Err(TokenError::Name(name));
    }
    if let Some(role) = roles.iter().find(|role| !is_role(role)) {
        return Err(TokenError::Role(role.clone()));
    }
    if !roles.iter().any(|role| ROLES.contains(&role.as_str())) {
        return Err(TokenError::Roles);
    }
    if let Some(place) = within.iter().find(|place| !is_place(place.as_str())) {
        return Err(TokenError::Place(place.clone()));
    }
    let ttl = if break_glass.is_some() { ttl.or(Some(EMERGENCY)) } else { ttl };
    let is_said = break_glass.as_ref().is_none_or(|reason| !reason.trim().is_empty());
    if !is_said || (break_glass.is_some() && ttl.is_some_and(|ttl| ttl > LONGEST_EMERGENCY)) {
        return Err(TokenError::Emergency);
    }
    let text = format!("{PREFIX}{}", mint.secret());
    let token = Token {
        id: mint.short("t"),
        name: name.into(),
        hash: digest(&text),
        roles,
        jurisdiction,
        plans,
        within,
        created: now,
        expires: ttl.map(|ttl| now.saturating_add(ttl.to_signed()).unwrap_or(Timestamp::MAX)),
        break_glass,
    };
    Ok((token, text))
}

fn mark(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

fn read(path: &Path) -> Result<Known, TokenError> {
    // The mark is taken first: what changes in between is read again the next time.
    let mark = mark(path);
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Known::default()),
        Err(source) => return Err(TokenError::Io { path: path.into(), doing: "read", source }),
    };
    let malformed = |source| TokenError::Malformed { path: path.into(), source };
    let kept: Kept = serde_json::from_slice(&text).map_err(malformed)?;
    Ok(Known { tokens: kept.tokens, mark })
}

fn private() -> OpenOptions {
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
}

/// Replaces a file that only its owner may read: wholly or not at all.
fn write(path: &Path, text: &[u8]) -> Result<(), TokenError> {
    let new = path.with_extension("new");
    let replace = || {
        // A leftover of a crash may have another mode.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = private().open(&new)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    };
    replace().map_err(|source| TokenError::Io { path: path.into(), doing: "write", source })
}

/// Compares in a time that hangs on the lengths alone.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}
