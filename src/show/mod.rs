//! Projections for people and programs.
