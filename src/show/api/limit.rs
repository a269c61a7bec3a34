//! How much one caller may ask: a bucket of tokens each, filled at a steady rate.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::{ids::Principal, model::time::Mono};

/// What a caller may ask at once.
const BURST: f64 = 200.0;

/// What a caller may ask in the long run, in a second.
const RATE: f64 = 50.0;

/// The buckets of all callers. There are as many as there are names among the tokens.
#[derive(Debug, Default)]
pub struct Limit(Mutex<BTreeMap<Principal, Bucket>>);

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Mono,
}

impl Limit {
    /// Takes one from the caller's bucket.
    ///
    /// # Errors
    /// It is empty; how many seconds until it no longer is, at least 1.
    pub fn take(&self, who: &Principal, now: Mono) -> Result<(), u16> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = Bucket { left: BURST, at: now };
        let bucket = buckets.entry(who.clone()).or_insert(full);
        let filled = now.since(bucket.at).as_seconds() * RATE;
        *bucket = Bucket { left: (bucket.left + filled).min(BURST), at: now };
        if bucket.left < 1.0 {
            let wait = (1.0 - bucket.left) / RATE;
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
        let (limit, ola, kim) = (Limit::default(), "ola".into(), "kim".into());
        let asked = |who, at, n| (0..n).filter(|_| limit.take(who, Mono(at)).is_ok()).count();
        assert_eq!(asked(&ola, 0, 500), 200);
        assert_eq!(limit.take(&ola, Mono(0)), Err(1));
        assert_eq!(asked(&ola, 1_000, 500), 50);
        assert_eq!(asked(&kim, 1_000, 1), 1);
        assert_eq!(asked(&ola, 3_600_000, 500), 200);
    }
}
