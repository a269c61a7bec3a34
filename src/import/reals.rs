//! Sets of numbers, exactly.
//!
//! What a floating-point number can be is discrete: "more than 0.95" is "at least the number after 0.95". So every
//! set is a union of closed intervals, a strict bound becomes an inclusive one without changing a single answer, and
//! nothing has to be said of open ends.

/// A set of numbers; NaN is in none of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reals(Vec<(f64, f64)>);

impl Reals {
    /// None of them.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    /// All of them, infinities included.
    pub(super) fn all() -> Self {
        Self(vec![(f64::NEG_INFINITY, f64::INFINITY)])
    }

    /// From one to another, both inclusive.
    pub(super) fn between(low: f64, high: f64) -> Self {
        if low <= high { Self(vec![(low, high)]) } else { Self::none() }
    }

    /// All or none.
    pub(super) fn whether(yes: bool) -> Self {
        if yes { Self::all() } else { Self::none() }
    }

    /// At least `low`.
    pub(super) fn from(low: f64) -> Self {
        Self::between(low, f64::INFINITY)
    }

    /// At most `high`.
    pub(super) fn to(high: f64) -> Self {
        Self::between(f64::NEG_INFINITY, high)
    }

    /// Those that are not in it.
    pub(super) fn complement(&self) -> Self {
        let mut rest = Vec::new();
        let mut low = f64::NEG_INFINITY;
        for (from, to) in &self.0 {
            if *from > low {
                rest.push((low, from.next_down()));
            }
            if *to == f64::INFINITY {
                return Self(rest);
            }
            low = to.next_up();
        }
        rest.push((low, f64::INFINITY));
        Self(rest)
    }

    /// Those that are in both.
    pub(super) fn and(&self, other: &Self) -> Self {
        let mut both = Vec::new();
        for (a, b) in &self.0 {
            for (c, d) in &other.0 {
                let (low, high) = (a.max(*c), b.min(*d));
                if low <= high {
                    both.push((low, high));
                }
            }
        }
        Self(both)
    }

    /// Those that are in either.
    pub(super) fn or(&self, other: &Self) -> Self {
        self.complement().and(&other.complement()).complement()
    }

    /// Its least and its greatest number, where it is one interval.
    pub(super) fn interval(&self) -> Option<(f64, f64)> {
        match self.0[..] {
            [one] => Some(one),
            _ => None,
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strict_bound_is_the_next_number() {
        let above = Reals::to(0.95).complement();
        assert_eq!(above.interval(), Some((0.950_000_000_000_000_1, f64::INFINITY)));
        assert_eq!(above.complement(), Reals::to(0.95));
        assert_eq!(Reals::all().complement(), Reals::none());
        assert_eq!(Reals::none().complement(), Reals::all());
    }

    #[test]
    fn sets_are_put_together() {
        let outside = Reals::to(0.0).or(&Reals::from(1.0));
        assert_eq!(outside.interval(), None);
        assert_eq!(outside.complement().interval(), Some((5e-324, 1.0_f64.next_down())));
        assert_eq!(Reals::from(0.0).and(&Reals::to(1.0)), Reals::between(0.0, 1.0));
        assert_eq!(Reals::to(0.5).or(&Reals::from(0.5)), Reals::all());
        assert!(Reals::to(0.0).and(&Reals::from(1.0)).is_empty());
    }
}
