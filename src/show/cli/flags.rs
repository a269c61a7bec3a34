//! `get flags`: what serves everybody the same for too long is to be removed.

use super::{
    context::Context,
    get::{Listed, instant, some_text},
    style::Tone,
    table::Cell,
};
use crate::{ids::PlanName, show::view::FlagView};

impl Listed for FlagView {
    const COLUMNS: &'static [&'static str] =
        &["PLAN", "SERVES", "SINCE", "CLEANUP AFTER", "STATUS"];
    const WIDE: &'static [&'static str] = &["TARGET"];

    fn names(&self) -> String {
        self.plan.to_string()
    }

    fn is_of(&self, plan: &PlanName) -> bool {
        self.plan == *plan
    }

    fn cells(&self, _: &Context) -> Vec<Cell> {
        let status = match (self.overdue, &self.serves) {
            (true, _) => ("remove it from the code, then its plan".to_owned(), Tone::Held),
            (false, Some(_)) => ("in use".to_owned(), Tone::Good),
            (false, None) => ("not the same everywhere, or not known".to_owned(), Tone::Good),
        };
        vec![
            self.plan.to_string().into(),
            some_text(self.serves.as_ref()).into(),
            some_text(self.since.map(instant)).into(),
            some_text(self.cleanup_after).into(),
            Cell::toned(status),
        ]
    }

    fn wide(&self) -> Vec<Cell> {
        vec![self.target.clone().into()]
    }
}
