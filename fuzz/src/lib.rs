//! What must hold of any bytes that come from elsewhere. The fuzz targets and, over the corpora,
//! `tests/corpora.rs` call the same functions; each panics where something does not hold.

mod checks;

pub use checks::*;
