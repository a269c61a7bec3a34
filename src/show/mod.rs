//! Projections for people and programs.

pub mod cli;
