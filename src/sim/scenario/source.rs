//! The declarations that a scenario runs over, as files; and the artifacts that stand for versions.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use serde::Deserialize;
use serde_yaml::Value;
use sha2::{Digest, Sha256};

use crate::{
    declare::{
        Compiled, Diagnostic, Snapshot, compile,
        source::{content_hash, read_dir},
    },
    ids::{PlanName, Version, hex},
    model::ring::Artifact,
};

/// A directory of declarations, read and compiled.
#[derive(Debug)]
pub struct Source {
    files: BTreeMap<String, Vec<u8>>,
    /// What they declare.
    pub compiled: Compiled,
}

impl Source {
    /// Reads a directory.
    ///
    /// # Errors
    /// It, or something in it, cannot be read; in words.
    pub fn read(directory: &Path) -> Result<Self, String> {
        read_dir(directory).map(|snapshot| Self::of(snapshot.files))
    }

    /// Files that declare something.
    pub(in crate::sim) fn of(files: BTreeMap<String, Vec<u8>>) -> Self {
        let snapshot = Snapshot { commit: content_hash(&files), files };
        let compiled = compile(&snapshot);
        Self { files: snapshot.files, compiled }
    }

    /// The same with another file, or with a file that says something else.
    pub fn with_file(&self, path: &str, content: &str) -> Self {
        let mut files = self.files.clone();
        files.insert(path.into(), content.as_bytes().to_vec());
        Self::of(files)
    }

    /// The same with a document in the place of the one of its kind and name; added where there is none.
    ///
    /// # Errors
    /// It is no document that could be declared.
    pub fn with_document(&self, document: &Value) -> Result<Self, String> {
        let (kind, name) = kind_and_name(document)
            .ok_or("the document has no `kind`, or no `metadata.name`, to be told by")?;
        let text = serde_yaml::to_string(document).map_err(|error| error.to_string())?;
        for (path, bytes) in &self.files {
            let Ok(content) = std::str::from_utf8(bytes) else { continue };
            let mut parts: Vec<String> = documents(content);
            let same = |part: &String| {
                let part: Result<Value, _> = serde_yaml::from_str(part);
                part.is_ok_and(|part| kind_and_name(&part) == Some((kind, name)))
            };
            if let Some(at) = parts.iter().position(same) {
                parts[at] = text;
                return Ok(self.with_file(path, &parts.join("---\n")));
            }
        }
        let rings = ["Cluster", "Jurisdiction", "RingPlan"].contains(&kind);
        let folder = if rings { "rings" } else { "policies" };
        let path = format!("{folder}/{}-{name}.yaml", kind.to_lowercase());
        Ok(self.with_file(&path, &text))
    }

    /// What is wrong with it.
    pub fn errors(&self) -> impl Iterator<Item = String> {
        let errors = self.compiled.diagnostics.iter().filter(|d| Diagnostic::is_error(d));
        errors.map(|error| error.to_string())
    }
}

fn kind_and_name(document: &Value) -> Option<(&str, &str)> {
    let kind = document.get("kind")?.as_str()?;
    Some((kind, document.get("metadata")?.get("name")?.as_str()?))
}

/// The documents of a file, as text.
fn documents(content: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for line in content.lines() {
        if line.starts_with("---") {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            let _ = writeln!(part, "{line}");
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// What stands for a version: an image pinned by a digest that is the version's alone.
pub fn artifact(plan: &PlanName, version: &Version) -> Artifact {
    let digest = Sha256::digest(format!("{plan}@{version}"));
    Artifact(format!("registry.example/{plan}@sha256:{}", hex(&digest)))
}

/// The version that an artifact stands for, among those that may be meant.
pub fn version_of<'a>(
    plan: &PlanName,
    found: &Artifact,
    among: impl IntoIterator<Item = &'a Version>,
) -> Option<&'a Version> {
    among.into_iter().find(|version| artifact(plan, version).same_as(found))
}

/// Whether a YAML document is a scenario, as far as can be told.
pub fn is_scenario(content: &str) -> bool {
    let kind = |document: serde_yaml::Deserializer<'_>| {
        let value = Value::deserialize(document).ok()?;
        Some(value.get("kind")?.as_str()? == "Scenario")
    };
    serde_yaml::Deserializer::from_str(content).any(|document| kind(document) == Some(true))
}
