//! The declarations that the demo runs: this repository's own, which the binary carries.

use std::{collections::BTreeMap, fs, io, path::Path};

use crate::declare::Snapshot;

macro_rules! carried {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path)))),*]
    };
}

/// Every file of `rings/` and `policies/`.
const FILES: &[(&str, &str)] = carried![
    "policies/calendars.yaml",
    "policies/gates.yaml",
    "policies/residency.yaml",
    "policies/rings.yaml",
    "rings/checkout.yaml",
    "rings/clusters.yaml",
    "rings/search.yaml",
];

/// The declarations as they are.
pub(super) fn snapshot() -> Snapshot {
    let files = FILES.iter().map(|(path, text)| (path.to_string(), text.as_bytes().to_vec()));
    Snapshot { commit: "built-in".into(), files: files.collect() }
}

/// Writes the declarations into `folder`, with the URLs of metric sources replaced and nothing else.
pub(super) fn write(folder: &Path, urls: &BTreeMap<String, String>) -> io::Result<()> {
    for (path, text) in FILES {
        let file = folder.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(file, redirected(text, urls))?;
    }
    Ok(())
}

/// A URL stands in quotes, so that none can be the beginning of another.
fn redirected(text: &str, urls: &BTreeMap<String, String>) -> String {
    urls.iter().fold(text.to_owned(), |text, (declared, real)| {
        text.replace(&format!("url: \"{declared}\""), &format!("url: \"{real}\""))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declare::compile;

    #[test]
    fn every_declaration_of_the_repository_is_carried() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = Vec::new();
        for folder in ["policies", "rings"] {
            for entry in fs::read_dir(root.join(folder)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(root.join(folder).join(&name).is_file(), "list what is in {folder}/{name}");
                found.push(format!("{folder}/{name}"));
            }
        }
        found.sort();
        let carried: Vec<_> = FILES.iter().map(|(path, _)| path.to_string()).collect();
        assert_eq!(carried, found);
    }

    #[test]
    fn urls_lead_elsewhere_and_the_rest_stays() {
        let compiled = compile(&snapshot());
        assert!(!compiled.has_errors(), "{:#?}", compiled.diagnostics);
        let declared = compiled.clusters.values().flat_map(|c| &c.metrics);
        let urls: BTreeMap<_, _> = declared
            .enumerate()
            .map(|(n, m)| (m.url.clone(), format!("http://127.0.0.1:{n}")))
            .collect();
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &urls).unwrap();
        let mut changed = 0;
        for (path, text) in FILES {
            let written = fs::read_to_string(folder.path().join(path)).unwrap();
            assert_eq!(written.lines().count(), text.lines().count());
            for (before, after) in text.lines().zip(written.lines()).filter(|(a, b)| a != b) {
                assert!(before.contains("url: ") && after.contains("http://127.0.0.1:"), "{after}");
                changed += 1;
            }
        }
        assert_eq!(changed, urls.len());
    }
}
