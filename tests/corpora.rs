//! The corpora of the fuzz targets, without a fuzzer: what was once found stays found. `fuzz/run` looks
//! for more.

#[path = "../fuzz/src/checks.rs"]
mod checks;

use std::{fs, path::Path};

fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut seen = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        println!("{}", path.display());
        check(&bytes);
        // Cut off anywhere and with a byte changed, as a fuzzer begins.
        for at in (0..bytes.len()).step_by(bytes.len() / 24 + 1) {
            check(&bytes[..at]);
            let mut changed = bytes.clone();
            changed[at] ^= 0x11;
            check(&changed);
        }
        seen += 1;
    }
    assert!(seen > 0, "{target} has no corpus");
}

#[test]
fn declarations() {
    replay("declarations", checks::declarations);
}

#[test]
fn scenarios() {
    replay("scenarios", checks::scenarios);
}

#[test]
fn answers_of_prometheus() {
    replay("prometheus", checks::prometheus);
}

#[test]
fn alerts_and_verdicts() {
    replay("told", checks::told);
}

#[test]
fn answers_of_other_sources() {
    replay("providers", checks::providers);
}

#[test]
fn questions_to_a_judge() {
    replay("judge", checks::judge);
}

#[test]
fn bodies_of_the_api() {
    replay("bodies", checks::bodies);
}

#[test]
fn records_of_the_journal() {
    replay("journal", checks::journal);
}
