//! Against the real components, where they are installed.

mod prometheus;
