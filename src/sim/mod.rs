//! A fleet that is not there.

pub mod loopback;
