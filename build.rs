//! Names the fold that this program has: a hash over everything that says what follows from a recorded
//! fact and how a world is written down. A checkpoint that another fold wrote is passed over.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Dependencies take part in how a world is written down; their versions stand in the lock file.
const SOURCES: [&str; 4] = ["src/decide", "src/model", "src/ids.rs", "Cargo.lock"];

fn main() {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    // FNV-1a: it tells versions of a program apart, and guards against nobody.
    let mut take = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
        for file in files(Path::new(source)) {
            take(file.to_string_lossy().as_bytes());
            take(&fs::read(&file).unwrap_or_default());
        }
    }
    take(env::var("CARGO_PKG_VERSION").unwrap_or_default().as_bytes());
    println!("cargo::rustc-env=RINGWARD_FOLD={hash:016x}");
}

/// Every file below, in an order that is the same everywhere.
fn files(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return vec![path.into()] };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths.iter().flat_map(|path| files(path)).collect()
}
