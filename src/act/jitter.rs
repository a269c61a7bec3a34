//! Pauses of different lengths, so that those who failed together do not come back together.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::ids::Mint;

/// Makes pauses differ.
#[derive(Debug)]
pub(super) struct Jitter(Mutex<Mint>);

impl Jitter {
    pub(super) fn new(mint: Mint) -> Self {
        Self(Mutex::new(mint))
    }

    /// Half to all of it.
    pub(super) fn spread(&self, pause: Duration) -> Duration {
        let drawn = self.0.lock().unwrap_or_else(PoisonError::into_inner).next_u64();
        let share = drawn as f64 / u64::MAX as f64;
        pause.mul_f64(0.5 + share / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_half_to_all_of_itself_and_seldom_the_same() {
        let jitter = Jitter::new(Mint::seeded(7));
        let pause = Duration::from_secs(10);
        let drawn: Vec<Duration> = (0..1_000).map(|_| jitter.spread(pause)).collect();
        assert!(drawn.iter().all(|drawn| (pause / 2..=pause).contains(drawn)));
        let early = drawn.iter().filter(|drawn| **drawn < pause * 3 / 4).count();
        assert!((400..600).contains(&early), "{early} of 1,000 in the first half");
    }
}
