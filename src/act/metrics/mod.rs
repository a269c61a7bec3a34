//! One file per provider: a query -> readings. No thresholds.
