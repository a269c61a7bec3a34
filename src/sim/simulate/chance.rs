use crate::{ids::Mint, model::time::Span};

/// Draws from a seed: the same draws in the same order for the same seed.
#[derive(Debug)]
pub(super) struct Chance(Mint);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(Mint::seeded(seed))
    }

    /// A number below `n`; 0 where `n` is 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0.next_u64() % n.max(1)
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in so many cases of a hundred.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Whole seconds from `low` to `high`, both included.
    pub(super) fn seconds(&mut self, low: u64, high: u64) -> Span {
        Span::seconds(self.between(low, high))
    }

    /// One of them; nothing of nothing.
    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.index(from.len()))
    }

    /// One of an array that the type says is not empty.
    pub(super) fn one<T: Copy, const N: usize>(&mut self, from: [T; N]) -> T {
        const { assert!(N > 0) };
        from[self.index(N)]
    }

    /// In another order.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.index(i + 1));
        }
    }

    fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }
}
