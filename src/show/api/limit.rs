//! How much one caller may ask: a bucket of tokens each, filled at a steady rate.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
};

use crate::{ids::Principal, model::time::Mono};

/// What a caller may ask at once, in seconds of what they may ask in the long run.
const BURST: f64 = 4.0;

/// Buckets that are kept: there are as many as names among those who can be known, which may be many.
const KEPT: usize = 10_000;

/// The buckets of all callers.
#[derive(Debug)]
pub struct Limit {
    /// What a caller may ask in the long run, in a second.
    rate: f64,
    buckets: Mutex<BTreeMap<Principal, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Mono,
}

impl Limit {
    /// So much a second for each.
    pub fn of(rate: NonZeroU32) -> Self {
        Self { rate: rate.get().into(), buckets: Mutex::default() }
    }

    /// Takes one from the caller's bucket.
    ///
    /// # Errors
    /// It is empty; how many seconds until it no longer is, at least 1.
    pub fn take(&self, who: &Principal, now: Mono) -> Result<(), u16> {
        let (rate, burst) = (self.rate, self.rate * BURST);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= KEPT {
            // Who has asked nothing for so long has a full one anyhow.
            buckets.retain(|_, bucket| now.since(bucket.at).as_seconds() * rate < burst);
        }
        let full = Bucket { left: burst, at: now };
        let bucket = buckets.entry(who.clone()).or_insert(full);
        let filled = now.since(bucket.at).as_seconds() * rate;
        *bucket = Bucket { left: (bucket.left + filled).min(burst), at: now };
        if bucket.left < 1.0 {
            let wait = (1.0 - bucket.left) / rate;
            return Err((wait.ceil() as u16).max(1));
        }
        bucket.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate_for_each_caller_apart() {
        let (limit, ola, kim) =
            (Limit::of(NonZeroU32::new(50).unwrap()), "ola".into(), "kim".into());
        let asked = |who, at, n| (0..n).filter(|_| limit.take(who, Mono(at)).is_ok()).count();
        assert_eq!(asked(&ola, 0, 500), 200);
        assert_eq!(limit.take(&ola, Mono(0)), Err(1));
        assert_eq!(asked(&ola, 1_000, 500), 50);
        assert_eq!(asked(&kim, 1_000, 1), 1);
        assert_eq!(asked(&ola, 3_600_000, 500), 200);
    }
}
