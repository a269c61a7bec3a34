//! The declarations that the demo runs: this repository's own, which the binary carries, or somebody's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use crate::declare::{Snapshot, compile, source::read_dir};

macro_rules! carried {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path)))),*]
    };
}

/// Every file of `rings/` and `policies/`.
const FILES: &[(&str, &str)] = carried![
    "policies/calendars.yaml",
    "policies/gates.yaml",
    "policies/notifiers.yaml",
    "policies/residency.yaml",
    "policies/rings.yaml",
    "rings/checkout.yaml",
    "rings/clusters.yaml",
    "rings/search.yaml",
];

/// The declarations as they are, in `folder` or in the binary.
///
/// # Errors
/// The folder, or something in it, cannot be read; in words.
pub(super) fn snapshot(folder: Option<&Path>) -> Result<Snapshot, String> {
    match folder {
        Some(folder) => read_dir(folder),
        None => {
            let files = FILES.iter().map(|(path, text)| (path.to_string(), text.as_bytes().into()));
            Ok(Snapshot { commit: "built-in".into(), files: files.collect() })
        }
    }
}

/// The channels that notifiers go over.
pub(super) fn channels(snapshot: &Snapshot) -> BTreeSet<String> {
    let notifiers = compile(snapshot).notifiers.unwrap_or_default();
    notifiers.into_values().flatten().map(|notifier| notifier.channel).collect()
}

/// Writes the declarations into `folder`, with the URLs of metric sources replaced and nothing else.
pub(super) fn write(
    snapshot: &Snapshot,
    folder: &Path,
    urls: &BTreeMap<String, String>,
) -> io::Result<()> {
    for (path, text) in &snapshot.files {
        let file = folder.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        // What is no text is no declaration either, and stays as it is for the service to refuse.
        match std::str::from_utf8(text) {
            Ok(text) => fs::write(file, redirected(text, urls))?,
            Err(_) => fs::write(file, text)?,
        }
    }
    Ok(())
}

/// Every URL that stands whole, in quotes or between what ends a plain scalar, leads elsewhere; one that
/// only begins like it does not.
fn redirected(text: &str, urls: &BTreeMap<String, String>) -> String {
    const KEY: &str = "url:";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(KEY) {
        let value = rest[at + KEY.len()..].trim_start_matches([' ', '"', '\'']);
        let begin = rest.len() - value.len();
        let end = value.find(['"', '\'', ',', '}', ' ', '\n']).unwrap_or(value.len());
        let real = urls.get(&value[..end]).map_or(&value[..end], String::as_str);
        out.push_str(&rest[..begin]);
        out.push_str(real);
        rest = &value[end..];
    }
    out.push_str(rest);
    out
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
        let compiled = compile(&snapshot(None).unwrap());
        assert!(!compiled.has_errors(), "{:#?}", compiled.diagnostics);
        let declared = compiled.clusters.values().flat_map(|c| &c.metrics);
        let urls: BTreeMap<_, _> = declared
            .enumerate()
            .map(|(n, m)| (m.url.clone(), format!("http://127.0.0.1:{n}")))
            .collect();
        let folder = tempfile::tempdir().unwrap();
        write(&snapshot(None).unwrap(), folder.path(), &urls).unwrap();
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

    #[test]
    fn a_url_is_found_however_it_is_written() {
        let urls = BTreeMap::from([("http://a:9090".to_owned(), "http://127.0.0.1:1".to_owned())]);
        let text =
            "- {url: http://a:9090, name: x}\n- url: 'http://a:9090'\n- url: http://a:90901\nurl:";
        let led = "- {url: http://127.0.0.1:1, name: x}\n- url: 'http://127.0.0.1:1'\n- url: \
                   http://a:90901\nurl:";
        assert_eq!(redirected(text, &urls), led);
    }
}
