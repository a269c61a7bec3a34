//! What is declared, valid by construction. Pure: std, ids, petgraph, regex, and the value types of jiff.

pub mod blocs;
pub mod bundle;
pub mod calendar;
mod canonical;
pub mod check;
pub mod graph;
pub mod influxql;
pub mod judge;
pub mod lane;
pub mod language;
pub mod limits;
pub mod notify;
pub mod nrql;
pub mod plan;
pub mod policy;
pub mod query;
pub mod release;
pub mod residency;
pub mod ring;
pub mod semver;
pub mod serve;
pub mod shared;
pub mod source;
pub mod tighten;
pub mod time;
