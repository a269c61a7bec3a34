//! Declarations: Git or a directory -> text -> checked declarations -> the model.
//!
//! Three passes over a file: [`text`] finds where everything stands and keeps the limits, a typed
//! decoder takes each document to its wire type in [`schema`], and [`lower`] takes the wire to the
//! model. Each collects every problem it meets; none throws one.

mod decode;
pub mod diagnostic;
pub mod lower;
pub mod report;
pub mod schema;
pub mod source;
pub mod text;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use self::{decode::document, diagnostic::Diagnostic, lower::compile};
use crate::{
    ids::{ClusterName, Commit, Jurisdiction, PlanName},
    model::{
        notify::Notifier, plan::Plan, release::Wanted, residency::Place, ring::Cluster,
        source::ReleaseSource,
    },
};

/// The declarations' text at one commit. Knows no YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The commit, or `dir:` and a content hash.
    pub commit: Commit,
    /// Paths such as `rings/checkout.yaml`, and their bytes.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// What a snapshot declares.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The snapshot's commit.
    pub commit: Commit,
    /// Every cluster without an error.
    pub clusters: BTreeMap<ClusterName, Cluster>,
    /// What is declared of every cluster; nothing for one that is in error.
    pub places: BTreeMap<ClusterName, Option<Place>>,
    /// The members of every bloc that is declared, and nothing of one that is in error; nothing at all
    /// where a document could not be read that may declare any of them.
    pub blocs: Option<BTreeMap<Jurisdiction, Option<BTreeSet<Jurisdiction>>>>,
    /// Who is told what, by the name of its document, and nothing for one that is in error; nothing at all where a
    /// document could not be read that may be any of them.
    pub notifiers: Option<BTreeMap<String, Option<Notifier>>>,
    /// Every release without an error, the older versions of a plan first.
    pub releases: Vec<DeclaredRelease>,
    /// Where releases come from by themselves: every such document without an error.
    pub sources: Vec<ReleaseSource>,
    /// Every plan whose name could be told: valid, or the errors that keep it out of service, its own
    /// and those of what it rests on.
    pub plans: BTreeMap<PlanName, Result<Arc<Plan>, Vec<Diagnostic>>>,
    /// Every problem of every file, each once, by file and line.
    pub diagnostics: Vec<Diagnostic>,
    /// How much was read.
    pub counts: Counts,
}

impl Compiled {
    /// Whether anything is out of service.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// A release that a document asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredRelease {
    /// What is asked for.
    pub wanted: Wanted,
    /// The file that the document is in.
    pub file: String,
    /// The line that says what is deployed, from 1: who wrote that is the release's author.
    pub line: usize,
}

/// How much was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files.
    pub files: usize,
    /// Documents.
    pub documents: usize,
    /// Clusters.
    pub clusters: usize,
    /// Plans.
    pub plans: usize,
    /// Ring policies.
    pub policies: usize,
}

/// The known name that `name` was probably meant to be.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (name.chars().count() / 3).max(1);
    known
        .filter(|k| k.len().abs_diff(name.len()) <= most)
        .map(|k| (strsim::osa_distance(&name.to_lowercase(), &k.to_lowercase()), k))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, k)| k)
}
