//! Figures side by side with their goals.

use std::{fmt::Display, fs, time::Duration};

/// What a figure must come to.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "each bench has goals of its own kind")]
pub enum Goal {
    /// This much or more.
    AtLeast(f64),
    /// This much or less.
    AtMost(f64),
    /// It is shown for comparison.
    None,
}

/// Prints the table's head with what the machine is doing besides.
pub fn begin() {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown").to_owned();
    println!("load average at the start: {load}");
    println!("{:<52} {:>14} {:>16}  reached", "", "goal", "measured");
}

/// Prints a line of the table.
pub fn line(what: impl Display, unit: &str, goal: Goal, measured: f64) {
    let (wanted, reached) = match goal {
        Goal::AtLeast(least) => (format!(">= {}", figure(least)), Some(measured >= least)),
        Goal::AtMost(most) => (format!("<= {}", figure(most)), Some(measured <= most)),
        Goal::None => (String::new(), None),
    };
    let reached = reached.map_or("", |reached| if reached { "yes" } else { "NO" });
    let what = format!("{what}, {unit}");
    println!("{what:<52} {wanted:>14} {:>16}  {reached}", figure(measured));
}

/// How often a second something was done.
#[allow(dead_code, reason = "not every bench counts")]
pub fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// Three digits that matter, and thousands apart.
fn figure(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}
