//! Parses, starts, and turns the outcome into an exit code.

fn main() {}
