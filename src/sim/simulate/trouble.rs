use std::collections::BTreeMap;

macro_rules! troubles {
    ($($variant:ident $says:literal,)*) => {
        /// What goes wrong in a simulated world.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Trouble {
            $(#[doc = $says] $variant,)*
        }

        impl Trouble {
            /// Every kind.
            pub const ALL: &[Trouble] = &[$(Trouble::$variant),*];

            /// In words.
            pub fn says(self) -> &'static str {
                match self { $(Trouble::$variant => $says),* }
            }
        }
    };
}

troubles! {
    Delay "something arrives late",
    Loss "something on its way is lost",
    Repetition "something arrives twice",
    Reordering "something arrives before what was sent first",
    Lie "a metric source says what is not so",
    NoAnswer "a metric source does not answer",
    StaleRead "a target is seen as it was before",
    Flapping "a target is seen paused or not taken up for a moment",
    Unreachable "a cluster cannot be reached",
    Refusal "a target refuses a write",
    NoRoom "a command finds no room",
    Drift "somebody changes a target by hand",
    Contradiction "the nodes of a cluster contradict what is declared of it",
    ClockJump "the wall clock jumps",
    KilledAtRest "ringward is killed between two events",
    KilledBeforeAppend "ringward is killed before the append",
    KilledAfterAppend "ringward is killed after the append, before anything was done",
    KilledAfterEffects "ringward is killed after the effects, before the answers",
    DiskFull "the disk is full",
    DiskUnanswered "the disk takes an append and does not answer",
}

/// How often each went wrong.
pub type Troubles = BTreeMap<Trouble, u64>;
