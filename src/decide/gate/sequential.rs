//! Errors out of requests, canary against stable, judged at every peek without inflating false alarms.
//!
//! A grid mixture of e-processes on the rate ratio r = canary rate / stable rate. Given how many errors
//! an interval has in all, those of the canary are binomial with p(r) = r nc / (r nc + nb) where requests
//! are nc (canary) and nb (stable); with errors xc and xb,
//!
//! ```text
//! E = sum_j w_j prod_t [p_t(r_j) / p_t(r0)]^(xc/phi) [(1 - p_t(r_j)) / (1 - p_t(r0))]^(xb/phi)
//! r_j = r0 * 1.1 * (32 / 1.1)^(j/23),  j = 0..23,  w_j = 1/24
//! ```
//!
//! Under r <= r0, E is a supermartingale that starts at 1, so by Ville's inequality the chance that it
//! ever reaches K / alpha is at most alpha / K, however often one looks. The mirror image tests
//! r >= margin with r_j = margin / (1.1 * (32 / 1.1)^(j/23)); it is what lets a gate pass.
//!
//! `phi` >= 1 is overdispersion, the variance over the mean of errors per interval in the stable side's
//! history: errors that come in clumps of c need phi = c. The power 1/phi keeps E a supermartingale
//! (Jensen), and gives up speed.
//!
//! Latency works the same way: "errors" are requests slower than the objective.
//! Lineage: Lindon and Malek 2022 (arXiv 2011.03567), Turner and Grunwald 2023 (arXiv 2302.11401).

use serde::{Deserialize, Serialize};

use super::{
    About, Given, Rule, Ruling, Unusable,
    figures::{Figures, figure},
};
use crate::{
    decide::{
        event,
        fact::{Kept, Taken, Verdict},
        part::{Part, Role},
    },
    model::{judge, ring::Ring},
};

/// Points of the grid.
const POINTS: usize = 24;
/// The grid begins this factor away from the ratio that is tested...
const NEAREST: f64 = 1.1;
/// ...and ends this factor away from it.
const FURTHEST: f64 = 32.0;
/// The mirror test passes at this.
const ENOUGH_TO_PASS: f64 = 20.0;

/// What is tested, and how surely.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// The chance of ever failing a healthy release, shared over the ring's gates; between 0 and 1.
    #[serde(with = "event::figure")]
    pub alpha: f64,
    /// The ratio of rates that is tolerated; above 0.
    #[serde(with = "event::figure")]
    pub r0: f64,
    /// Overdispersion; at least 1.
    #[serde(with = "event::figure")]
    pub phi: f64,
    /// The ratio that a release must be shown to stay below before it passes; above `r0`.
    #[serde(with = "event::figure")]
    pub margin: f64,
    /// The ring's sequential gates.
    pub gates: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self { alpha: 0.01, r0: 1.0, phi: 1.0, margin: 2.0, gates: 1 }
    }
}

impl Rules {
    /// ln(K / alpha): where E fails.
    fn log_limit(&self) -> f64 {
        (f64::from(self.gates) / self.alpha).ln()
    }
}

/// What was counted between two peeks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Interval {
    /// Requests to the canary.
    pub canary_requests: f64,
    /// Those that failed.
    pub canary_errors: f64,
    /// Requests to the stable population in the same time.
    pub stable_requests: f64,
    /// Those that failed.
    pub stable_errors: f64,
}

impl Interval {
    /// Whether it says anything: a side without requests has no rate.
    fn counts(&self) -> bool {
        self.canary_requests > 0.0 && self.stable_requests > 0.0
    }
}

/// What is known after an interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// ln E against r <= r0.
    pub log_e: f64,
    /// ln E of the mirror test against r >= margin.
    pub log_e_mirror: f64,
    /// What follows from both, and from all that was before.
    pub verdict: Verdict,
}

/// An e-process against one ratio: ln of the product so far, for each point of its grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Evidence {
    #[serde(with = "event::figure")]
    tested: f64,
    #[serde(with = "event::figure::array")]
    grid: [f64; POINTS],
    #[serde(with = "event::figure::array")]
    logs: [f64; POINTS],
}

impl Evidence {
    /// Against ratios up to `tested`.
    fn against_at_most(tested: f64) -> Self {
        Self::new(tested, |factor| tested * factor)
    }

    /// Against ratios from `tested` on.
    fn against_at_least(tested: f64) -> Self {
        Self::new(tested, |factor| tested / factor)
    }

    fn new(tested: f64, ratio: impl Fn(f64) -> f64) -> Self {
        let factor = |j: usize| NEAREST * (FURTHEST / NEAREST).powf(j as f64 / (POINTS - 1) as f64);
        let grid = std::array::from_fn(|j| ratio(factor(j)));
        Self { tested, grid, logs: [0.0; POINTS] }
    }

    /// Multiplies an interval's likelihood ratios in. In p/p0 and (1-p)/(1-p0) most factors cancel: what
    /// is left is one logarithm a point.
    fn observe(&mut self, interval: &Interval, phi: f64) {
        let Interval { canary_requests: nc, stable_requests: nb, .. } = *interval;
        let errors = interval.canary_errors + interval.stable_errors;
        for (r, log) in self.grid.iter().zip(&mut self.logs) {
            let all = (r * nc + nb).ln() - (self.tested * nc + nb).ln();
            *log += (interval.canary_errors * (r / self.tested).ln() - errors * all) / phi;
        }
    }

    /// ln of the mean over the grid.
    fn log_e(&self) -> f64 {
        let most = self.logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.logs.iter().map(|log| (log - most).exp()).sum();
        most + (sum / POINTS as f64).ln()
    }
}

/// The test as it goes on, one interval after another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sequential {
    rules: Rules,
    worse: Evidence,
    mirror: Evidence,
    failed: bool,
}

impl Sequential {
    /// Nothing seen yet.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            worse: Evidence::against_at_most(rules.r0),
            mirror: Evidence::against_at_least(rules.margin),
            failed: false,
        }
    }

    /// Takes one more interval in; one without requests on either side changes nothing.
    ///
    /// A Fail is for good: the bound on false alarms is for ever having failed, and whoever peeks acts
    /// on it. A Pass is not: it is what the evidence says now.
    pub fn observe(&mut self, interval: &Interval) -> Step {
        if interval.counts() {
            self.worse.observe(interval, self.rules.phi);
            self.mirror.observe(interval, self.rules.phi);
        }
        let (log_e, log_e_mirror) = (self.worse.log_e(), self.mirror.log_e());
        self.failed |= log_e >= self.rules.log_limit();
        let verdict = if self.failed {
            Verdict::Fail
        } else if log_e_mirror >= ENOUGH_TO_PASS.ln() {
            Verdict::Pass
        } else {
            Verdict::Insufficient
        };
        Step { log_e, log_e_mirror, verdict }
    }
}

/// The verdict over a whole history, with every figure on the way to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The verdict, in words; `against` is the tolerated ratio.
    pub ruling: Ruling,
    /// After each interval.
    pub path: Vec<Step>,
    /// The interval, from 0, that failed it.
    pub failed_at: Option<usize>,
    /// With confidence 1 - alpha/K, whenever one looks, the ratio is above this; 0 where nothing is known.
    pub lower_bound: f64,
}

/// Judges a history from its start.
pub fn judge(intervals: &[Interval], rules: Rules) -> Outcome {
    let mut test = Sequential::new(rules);
    let path: Vec<Step> = intervals.iter().map(|interval| test.observe(interval)).collect();
    let failed_at = path.iter().position(|step| step.verdict == Verdict::Fail);
    let last = path.last().copied().unwrap_or(Step {
        log_e: 0.0,
        log_e_mirror: 0.0,
        verdict: Verdict::Insufficient,
    });
    let lower_bound = lower_bound(intervals, rules);
    let decisive = failed_at.map_or(last, |i| path[i]);
    let ruling = Ruling::new(last.verdict, Some(rules.r0), tell(&decisive, rules));
    Outcome { ruling, path, failed_at, lower_bound }
}

/// The step that decided, in words.
fn tell(step: &Step, rules: Rules) -> String {
    let (limit, enough) = (rules.log_limit(), ENOUGH_TO_PASS.ln());
    match step.verdict {
        Verdict::Fail => {
            let [e, limit, r0] = Figures::new(None).tell([step.log_e, limit, rules.r0]);
            format!("ln E {e} >= {limit}: the ratio of error rates is above {r0}")
        }
        Verdict::Pass => {
            let [e, enough, margin] =
                Figures::new(None).tell([step.log_e_mirror, enough, rules.margin]);
            format!("mirror ln E {e} >= {enough}: the ratio of error rates is below {margin}")
        }
        Verdict::Insufficient | Verdict::Absent | Verdict::Error => {
            let [e, limit] = Figures::new(None).tell([step.log_e, limit]);
            let [mirror, enough] = Figures::new(None).tell([step.log_e_mirror, enough]);
            format!("ln E {e} < {limit} and mirror ln E {mirror} < {enough}")
        }
    }
}

/// How many tests share the chance of a false alarm on a ring: each required sequential gate, on each
/// cluster.
pub fn tests_of(ring: &Ring) -> u32 {
    let sequential = |gate: &&crate::model::policy::Gate| {
        gate.required && matches!(gate.judge, crate::model::policy::Judge::Sequential(_))
    };
    let gates = ring.policy.gates.iter().filter(sequential).count() * ring.clusters.len();
    u32::try_from(gates).unwrap_or(u32::MAX).max(1)
}

/// Intervals of the stable side's history that overdispersion is estimated from.
const HISTORY: u64 = 60;
/// Fewer than this say nothing about it.
const LEAST_HISTORY: usize = 10;

/// The variance over the mean of counts, and at least 1; none where there are too few.
pub fn overdispersion(counts: &[f64]) -> Option<f64> {
    if counts.len() < LEAST_HISTORY {
        return None;
    }
    let n = counts.len() as f64;
    let mean = counts.iter().sum::<f64>() / n;
    if mean <= 0.0 {
        return Some(1.0);
    }
    let variance = counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Some((variance / mean).max(1.0))
}

/// The rules by which a gate's test begins, once `phi` is known.
pub fn rules(declared: &judge::Sequential, phi: f64, tests: u32) -> Rules {
    let judge::Sequential { alpha, r0, margin, .. } = *declared;
    Rules { alpha, r0, phi, margin, gates: tests }
}

impl Rule for judge::Sequential {
    fn asks(&self, about: &About<'_>) -> Vec<Part> {
        let counts = [
            (Role::Requests, &self.canary.requests),
            (Role::Errors, &self.canary.errors),
            (Role::StableRequests, &self.stable.requests),
            (Role::StableErrors, &self.stable.errors),
        ];
        let counts = counts.into_iter();
        let mut parts: Vec<Part> = counts
            .filter_map(|(role, query)| about.number(role, query, Some(about.over)))
            .collect();
        if self.phi.or(about.history.phi).is_none() {
            let length = about.gate.interval * HISTORY;
            parts.extend(about.range(Role::StableHistory, &self.stable.errors, about.now, length));
        }
        parts
    }

    /// Takes the interval since the last measurement into the test as it stands. Errors that have no
    /// series are Absent and not none: a name that matches nothing must not pass.
    fn rule(&self, given: &Given<'_>) -> Result<Ruling, Unusable> {
        let interval = Interval {
            canary_requests: given.count(Role::Requests)?,
            canary_errors: given.count(Role::Errors)?,
            stable_requests: given.count(Role::StableRequests)?,
            stable_errors: given.count(Role::StableErrors)?,
        };
        let history = given.history;
        let mut taken = None;
        let phi = match self.phi.or(history.phi) {
            Some(phi) => phi,
            None => {
                let errors = given.range(Role::StableHistory);
                let phi = overdispersion(&errors).filter(|phi| phi.is_finite());
                let phi = phi.ok_or_else(|| {
                    let have = errors.len();
                    Unusable::insufficient(format!(
                        "{have} intervals of the stable side's history, and phi is estimated from \
                         {LEAST_HISTORY} or more"
                    ))
                })?;
                taken = Some(Taken::Phi(phi));
                phi
            }
        };
        let rules = rules(self, phi, given.tests);
        let mut test = history.test.as_deref().cloned().unwrap_or_else(|| Sequential::new(rules));
        let step = test.observe(&interval);
        let mut ruling = if interval.counts() || step.verdict == Verdict::Fail {
            Ruling::new(step.verdict, Some(self.r0), tell(&step, rules))
        } else {
            let detail = "no requests to compare: a side had none since the last measurement";
            Ruling::new(Verdict::Insufficient, Some(self.r0), detail)
        };
        ruling.figures = vec![
            figure("logE", step.log_e),
            figure("logEMirror", step.log_e_mirror),
            figure("logLimit", rules.log_limit()),
            figure("phi", phi),
            figure("canaryRequests", interval.canary_requests),
            figure("canaryErrors", interval.canary_errors),
            figure("stableRequests", interval.stable_requests),
            figure("stableErrors", interval.stable_errors),
        ];
        ruling.kept = Some(Kept::Counted(interval));
        ruling.taken = taken;
        Ok(ruling)
    }
}

/// The greatest ratio that the whole history speaks against with E >= K / alpha.
///
/// E falls as the tested ratio rises: the log-likelihood is concave in ln r, and E compares it at fixed
/// distances above the tested point. So the ratios spoken against are all those below one point.
fn lower_bound(intervals: &[Interval], rules: Rules) -> f64 {
    let spoken_against = |r: f64| {
        let mut evidence = Evidence::against_at_most(r);
        for interval in intervals.iter().filter(|i| i.counts()) {
            evidence.observe(interval, rules.phi);
        }
        evidence.log_e() >= rules.log_limit()
    };
    // Ratios of error rates beyond these ends say the same as they do.
    let (mut low, mut high) = (1e-9_f64, 1e9_f64);
    if !spoken_against(low) {
        return 0.0;
    }
    for _ in 0..60 {
        let middle = (low * high).sqrt();
        if spoken_against(middle) { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests;
