//! A fleet that is not there.
