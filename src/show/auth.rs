//! Who you are, and what you may do.
//!
//! [`may`] is the one function that says what somebody may do, and every route asks it. [`Tokens`] says
//! who somebody is: bearer tokens of 256 bits, of which the data directory keeps the hashes only.
//!
//! To stop asks less than to go: a stop needs a foot in what is stopped, a go needs all of it. An
//! administrator is no approver: what they may grant themselves is seen when they do it.

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
use sha2::{Digest as _, Sha256};

use crate::{
    decide::event::Actor,
    ids::{Jurisdiction, Mint, PlanName, Principal},
    model::{blocs, time::Span},
};

/// The file with the tokens' hashes, inside the data directory.
pub const TOKENS: &str = "tokens.json";

/// The file with the first administrator's token, inside the data directory.
pub const ADMIN_TOKEN: &str = "admin.token";

const PREFIX: &str = "rw_";

/// The roles that open anything. A token may carry others, for plans whose approvals ask for them.
const ROLES: [&str; 4] = ["viewer", "operator", "approver", "admin"];

/// Somebody who is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Their name.
    pub name: Principal,
    /// Their roles.
    pub roles: Vec<String>,
    /// Where they belong to.
    pub jurisdiction: Option<Jurisdiction>,
    /// The plans that their roles reach; none named is all of them.
    pub plans: Vec<PlanName>,
    /// The countries and blocs that their roles reach; none named is all of them.
    pub within: Vec<Jurisdiction>,
}

impl Caller {
    /// What the core is told of them.
    pub fn actor(&self) -> Actor {
        Actor {
            name: self.name.clone(),
            roles: self.roles.clone(),
            jurisdiction: self.jurisdiction.clone(),
        }
    }

    fn is(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own == role)
    }
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Look.
    Read,
    /// Pause, abort, freeze.
    Stop,
    /// Create, resume, retry, roll back, advance, lift.
    Go,
    /// Approve or reject.
    Agree,
    /// End what was agreed to: for who operates and for who agrees.
    Withdraw,
    /// Name somebody else as a release's author.
    Attribute,
    /// Take away all that is recorded, whoever it is about.
    Backup,
}

impl Verb {
    /// The role that it needs, in words.
    fn needs(self) -> &'static str {
        match self {
            Verb::Read => "viewer",
            Verb::Stop | Verb::Go => "operator",
            Verb::Agree => "approver",
            Verb::Withdraw => "operator or approver",
            Verb::Attribute | Verb::Backup => "admin",
        }
    }

    fn open_to(self, caller: &Caller) -> bool {
        let operates = caller.is("operator") || caller.is("admin");
        match self {
            Verb::Read => operates || caller.is("viewer") || caller.is("approver"),
            Verb::Stop | Verb::Go => operates,
            Verb::Agree => caller.is("approver"),
            Verb::Withdraw => operates || caller.is("approver"),
            Verb::Attribute | Verb::Backup => caller.is("admin"),
        }
    }
}

/// What it would be done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// What belongs to no plan, or is filtered by plan afterwards.
    Common,
    /// Every plan everywhere.
    Everything,
    /// Every plan in one jurisdiction.
    Place(Jurisdiction),
    /// One plan, where these clusters lie.
    Plan(PlanName, Vec<Jurisdiction>),
}

/// It is not theirs to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The role is missing.
    #[error("{who} needs the role {role}")]
    Role {
        /// Who.
        who: Principal,
        /// The role.
        role: &'static str,
    },
    /// The role does not reach that plan.
    #[error("the roles of {who} do not reach plan {plan}")]
    Plan {
        /// Who.
        who: Principal,
        /// The plan.
        plan: PlanName,
    },
    /// The role does not reach that place.
    #[error("the roles of {who} do not reach {place}")]
    Place {
        /// Who.
        who: Principal,
        /// Where.
        place: String,
    },
}

/// Whether `caller` may do it: the one function that every route asks.
///
/// # Errors
/// Says what is missing.
pub fn may(caller: &Caller, verb: Verb, reach: &Reach) -> Result<(), Denied> {
    let who = || caller.name.clone();
    if !verb.open_to(caller) {
        return Err(Denied::Role { who: who(), role: verb.needs() });
    }
    let nowhere = |place: String| Err(Denied::Place { who: who(), place });
    let inside = |own: &Jurisdiction, place: &Jurisdiction| {
        own == place || blocs::contains(own.as_str(), place.as_str())
    };
    let reaches = |place: &Jurisdiction| {
        caller.within.is_empty() || caller.within.iter().any(|own| inside(own, place))
    };
    let of_some_plans = !caller.plans.is_empty();
    match reach {
        Reach::Common => Ok(()),
        Reach::Everything if of_some_plans || !caller.within.is_empty() => {
            nowhere("everything".into())
        }
        Reach::Everything => Ok(()),
        Reach::Place(place) if of_some_plans => nowhere(format!("every plan in {place}")),
        Reach::Place(place) if !reaches(place) => nowhere(place.to_string()),
        Reach::Place(_) => Ok(()),
        Reach::Plan(plan, _) if of_some_plans && !caller.plans.contains(plan) => {
            Err(Denied::Plan { who: who(), plan: plan.clone() })
        }
        Reach::Plan(_, places) => {
            let outside = places.iter().find(|place| !reaches(place));
            let enough = match verb {
                Verb::Read | Verb::Stop | Verb::Withdraw => {
                    places.is_empty() || places.iter().any(reaches)
                }
                Verb::Go | Verb::Agree | Verb::Attribute | Verb::Backup => outside.is_none(),
            };
            match outside {
                Some(place) if !enough => nowhere(place.to_string()),
                Some(_) | None => Ok(()),
            }
        }
    }
}

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
        "`{0}` is no name for a token: give 1 to 63 letters, digits and . _ @ + -, beginning and \
         ending with a letter or digit"
    )]
    Name(String),
    /// No role that opens anything.
    #[error("a token needs one of the roles {known}", known = ROLES.join(", "))]
    Roles,
    /// A role that is no word.
    #[error("`{0}` is no role: give letters, digits and -")]
    Role(String),
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
        Some(Caller {
            name: token.name.clone(),
            roles: token.roles.clone(),
            jurisdiction: token.jurisdiction.clone(),
            plans: token.plans.clone(),
            within: token.within.clone(),
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
    let NewToken { name, roles, jurisdiction, plans, within, ttl } = new;
    if !is_name(&name) {
        return Err(TokenError::Name(name));
    }
    if let Some(role) = roles.iter().find(|role| !is_word(role)) {
        return Err(TokenError::Role(role.clone()));
    }
    if !roles.iter().any(|role| ROLES.contains(&role.as_str())) {
        return Err(TokenError::Roles);
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

/// What is kept of a secret instead of it: SHA-256 in hexadecimal.
pub fn digest(secret: &str) -> String {
    Sha256::digest(secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares in a time that hangs on the lengths alone.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// Whether a principal can have that name: it stands in keys, which slashes divide.
pub fn is_name(name: &str) -> bool {
    let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inside = |c: char| c.is_ascii_alphanumeric() || "._@+-".contains(c);
    name.len() <= 63
        && end(name.chars().next())
        && end(name.chars().last())
        && name.chars().all(inside)
}

fn is_word(role: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '-';
    !role.is_empty() && role.len() <= 63 && role.chars().all(inside)
}

#[cfg(test)]
mod tests;
