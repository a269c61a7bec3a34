//! A sign for everything that a colour would say: glyph, word and tone together.

use crate::decide::{
    fact::Verdict,
    phase::{ReleasePhase, RingPhase},
};

/// What a colour means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// It is well.
    Ok,
    /// It moves.
    Go,
    /// Somebody should look.
    Hold,
    /// It went wrong.
    Bad,
    /// Not worth the eye.
    Idle,
}

impl Tone {
    /// Its class in the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Tone::Ok => "ok",
            Tone::Go => "go",
            Tone::Hold => "hold",
            Tone::Bad => "bad",
            Tone::Idle => "idle",
        }
    }
}

/// How something is shown. Fonts without scripts of their own have all of the glyphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sign {
    /// For the eye.
    pub glyph: &'static str,
    /// For everybody.
    pub word: &'static str,
    /// Its colour.
    pub tone: Tone,
}

impl Sign {
    const fn new(glyph: &'static str, word: &'static str, tone: Tone) -> Self {
        Self { glyph, word, tone }
    }

    /// How far a release is on a ring.
    pub fn ring(phase: RingPhase) -> Self {
        match phase {
            RingPhase::Waiting => Self::new("•", "Waiting", Tone::Idle),
            RingPhase::Held => Self::new("‖", "Held", Tone::Hold),
            RingPhase::Deploying => Self::new("↥", "Deploying", Tone::Go),
            RingPhase::Soaking => Self::new("◌", "Soaking", Tone::Go),
            RingPhase::Passed => Self::new("✔", "Passed", Tone::Ok),
            RingPhase::Failed => Self::new("✘", "Failed", Tone::Bad),
            RingPhase::RollingBack => Self::new("↧", "Rolling back", Tone::Bad),
            RingPhase::RolledBack => Self::new("↩", "Rolled back", Tone::Bad),
            RingPhase::Aborted => Self::new("■", "Aborted", Tone::Idle),
            RingPhase::Superseded => Self::new("»", "Superseded", Tone::Idle),
        }
    }

    /// How far a release is.
    pub fn release(phase: ReleasePhase) -> Self {
        match phase {
            ReleasePhase::Pending => Self::new("•", "Pending", Tone::Idle),
            ReleasePhase::InProgress => Self::new("↥", "In progress", Tone::Go),
            ReleasePhase::Paused => Self::new("‖", "Paused", Tone::Hold),
            ReleasePhase::Succeeded => Self::new("✔", "Succeeded", Tone::Ok),
            ReleasePhase::Failed => Self::new("✘", "Failed", Tone::Bad),
            ReleasePhase::RolledBack => Self::new("↩", "Rolled back", Tone::Bad),
            ReleasePhase::Aborted => Self::new("■", "Aborted", Tone::Idle),
            ReleasePhase::Superseded => Self::new("»", "Superseded", Tone::Idle),
        }
    }

    /// What a gate says.
    pub fn verdict(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::new("✔", "Pass", Tone::Ok),
            Verdict::Fail => Self::new("✘", "Fail", Tone::Bad),
            Verdict::Insufficient => Self::new("◇", "Insufficient", Tone::Hold),
            Verdict::Absent => Self::new("□", "Absent", Tone::Hold),
            Verdict::Error => Self::new("△", "Error", Tone::Hold),
        }
    }
}
