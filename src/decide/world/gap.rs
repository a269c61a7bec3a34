//! A stretch of a soak that nobody observed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::image;
use crate::{
    decide::{command::Stretch, fact::Verdict},
    ids::{ClusterName, GateName, IdempotencyKey},
    model::time::{Mono, Now, Span},
};

/// The most instants of a gap that history is asked about: what lies behind them is not made up for.
const MOST: u64 = 1_000;

/// A stretch of a soak that nobody observed, and that may be made up for from history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The last instant at which everything was healthy.
    pub from: Mono,
    /// How long ringward was away since, by the wall clock: its own stood still.
    pub away: Span,
    /// Since when the target of each ready cluster had been ready then, by its own record. One that was
    /// seen otherwise since is taken out: its record shows nothing any more.
    pub ready_since: BTreeMap<ClusterName, Timestamp>,
    /// When everything was healthy again.
    pub to: Option<Now>,
    /// Questions that are out.
    #[serde(with = "image::pairs")]
    pub asked: BTreeMap<(ClusterName, GateName), IdempotencyKey>,
    /// What history says of each gate, instant by instant.
    #[serde(with = "image::pairs")]
    pub told: BTreeMap<(ClusterName, GateName), Vec<Verdict>>,
    /// Questions that came to nothing.
    pub tries: u32,
}

impl Gap {
    /// How long it was, once it is over.
    pub fn length(&self) -> Span {
        self.to.map_or(Span::ZERO, |to| to.mono.since(self.from) + self.away)
    }

    /// The instants inside of it, one a `step`, that history can be asked about; nothing where it is too
    /// short for any.
    pub fn stretch(&self, step: Span) -> Option<Stretch> {
        let (to, length) = (self.to?.wall, self.length());
        let instants = (length.0.saturating_sub(1) / step.0.max(1)).min(MOST);
        let begins = to.saturating_sub(length.to_signed()).ok()?;
        let after = |n: u64| begins.saturating_add((step * n).to_signed()).ok();
        (instants > 0).then_some(Stretch { from: after(1)?, to: after(instants)?, step })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(from: u64, away: Span, to: Span) -> Gap {
        let wall = Timestamp::from_second(1_000_000).unwrap();
        let to = Some(Now { wall, mono: Mono(to.0) });
        Gap { from: Mono(from), away, to, ..Gap::default() }
    }

    #[test]
    fn the_instants_lie_strictly_inside() {
        let gap = gap(0, Span::minutes(30), Span::seconds(30));
        assert_eq!(gap.length(), Span::seconds(1_830));
        let stretch = gap.stretch(Span::minutes(1)).unwrap();
        let instants: Vec<_> = stretch.instants().map(Timestamp::as_second).collect();
        assert_eq!(instants.len(), 30);
        assert_eq!(instants[0], 1_000_000 - 1_830 + 60);
        assert_eq!(instants[29], 1_000_000 - 30);
    }

    #[test]
    fn what_is_too_short_or_too_long() {
        let short = gap(0, Span::ZERO, Span::seconds(60));
        assert_eq!(short.stretch(Span::minutes(1)), None);
        let long = gap(0, Span::minutes(5_000), Span::ZERO);
        assert_eq!(long.stretch(Span::minutes(1)).unwrap().instants().count(), 1_000);
    }
}
