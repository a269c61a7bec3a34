//! What the statistical judges keep of a gate on a cluster: bounded, and folded from facts, so that
//! recovery goes on with the same evidence.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::sequential::{Rules, Sequential};
use crate::decide::{
    event::figure,
    fact::{Kept, Taken},
};

/// The most samples of a side that are kept; of more, the newest.
pub const MOST: usize = 500;

/// What was measured since the deploy, as far as later judgements need it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The release's samples.
    #[serde(with = "figure::list")]
    pub experiment: VecDeque<f64>,
    /// The control's.
    #[serde(with = "figure::list")]
    pub control: VecDeque<f64>,
    /// The overdispersion of the stable population's errors, once it was estimated.
    #[serde(with = "figure::option")]
    pub phi: Option<f64>,
    /// The sequential test as it stands.
    pub test: Option<Box<Sequential>>,
}

impl History {
    /// Takes in what a measurement leaves; `rules` are those that a test begins by.
    pub fn keep(&mut self, kept: &Kept, rules: impl FnOnce(&Self) -> Option<Rules>) {
        match kept {
            Kept::Sample { experiment, control } => self.keep_sample(*experiment, *control),
            Kept::Counted(interval) => {
                if self.test.is_none() {
                    self.test = rules(self).map(|rules| Box::new(Sequential::new(rules)));
                }
                if let Some(test) = &mut self.test {
                    test.observe(interval);
                }
            }
        }
    }

    /// Takes in a sample of each side, or of the release alone.
    pub fn keep_sample(&mut self, experiment: f64, control: Option<f64>) {
        let push = |side: &mut VecDeque<f64>, sample| {
            if side.len() == MOST {
                side.pop_front();
            }
            side.push_back(sample);
        };
        push(&mut self.experiment, experiment);
        if let Some(control) = control {
            push(&mut self.control, control);
        }
    }

    /// Takes in what is asked once.
    pub fn take(&mut self, taken: &Taken) {
        match taken {
            Taken::Control(samples) => {
                let skip = samples.len().saturating_sub(MOST);
                self.control = samples[skip..].iter().copied().collect();
            }
            Taken::Phi(phi) => self.phi = Some(*phi),
        }
    }
}
