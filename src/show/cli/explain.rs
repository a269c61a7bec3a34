//! `explain`: why a release is not further, and what would end each reason.

use clap::Args;

use super::{
    context::Context,
    failure::Failure,
    follow::{Which, path},
    get::instant,
    style::{Style, Tone},
};
use crate::{
    ids::RingName,
    show::{exit::Exit, view::ExplainView},
};

/// Say why a release is not further: every reason, and what would end each
///
/// Every ring that the release has not passed, with all that holds it at once (not just the first), what it
/// waits for, and for each the person, the window or the event that would end it.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES
  ringward explain checkout                 every ring of its newest release
  ringward explain checkout@2.14.0 eu-west  one ring")]
pub struct Explain {
    /// PLAN@VERSION; PLAN is its newest release that is not over, or else its newest.
    #[arg(value_name = "PLAN[@VERSION]")]
    which: Which,
    /// One ring only.
    #[arg(value_name = "RING")]
    ring: Option<RingName>,
}

/// Runs `explain`.
pub async fn run(context: &Context, args: &Explain) -> Result<Exit, Failure> {
    let client = context.client()?;
    let release = args.which.release(&client).await?;
    let path = [&path(&release)[..], &["explain"]].concat();
    let ring: Vec<_> = args.ring.iter().map(|ring| ("ring", ring.as_str())).collect();
    let answer = client.get(&path, &ring).await?;
    let view: ExplainView = answer.read()?;
    let names = || view.rings.iter().map(|ring| ring.name.to_string()).collect();
    context.answer(&answer, names, || text(&view, context.style))?;
    Ok(Exit::Done)
}

fn text(view: &ExplainView, style: Style) -> String {
    let (phase, tone) = style.release(view.phase);
    let mut text = format!("{}   {}\n", view.release, style.paint(tone, &phase));
    if let Some(earliest) = &view.earliest {
        text.push_str(&format!("through at the earliest: {}\n", earliest.in_words(instant)));
    }
    if view.rings.is_empty() {
        text.push_str("\nNothing holds it: it has passed where you look.\n");
    }
    for ring in &view.rings {
        let (phase, tone) = style.ring(ring.phase);
        let name = style.paint(Tone::Strong, ring.name.as_str());
        text.push_str(&format!("\n{name}   {}\n", style.paint(tone, &phase)));
        if !ring.doing.is_empty() {
            text.push_str(&format!("  {}\n", ring.doing));
        }
        for hold in &ring.holds {
            let kind = style.paint(Tone::Held, &format!("{:<13}", hold.kind.name()));
            text.push_str(&format!("  {kind}{}\n", hold.message));
            let when = hold.ends.map_or_else(String::new, |at| format!(" (at {})", instant(at)));
            text.push_str(&format!("  {:<13}ended by: {}{when}\n", "", hold.ended_by));
        }
        for wait in &ring.waits {
            text.push_str(&format!("  {:<13}{}\n", "waits", wait.message));
            text.push_str(&format!("  {:<13}ended by: {}\n", "", wait.ended_by));
        }
        if let Some(earliest) = &ring.earliest {
            let starts = earliest.starts.map(|at| format!("starts {}, ", instant(at)));
            let passes = earliest.in_words(instant);
            let starts = starts.unwrap_or_default();
            text.push_str(&format!("  {:<13}{starts}passes {passes}\n", "earliest"));
        }
        for debt in &ring.owes {
            text.push_str(&format!("  {:<13}{}\n", "owes", debt.message));
            text.push_str(&format!("  {:<13}ended by: {}\n", "", debt.ended_by));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{super::samples::hold, *};
    use crate::{
        decide::{
            phase::{ReleasePhase, RingPhase},
            waiting::HoldKind,
        },
        show::{
            view::{EarliestView, HoldView, RingReasons, WaitView},
            words::Ender,
        },
    };

    #[test]
    fn every_reason_is_said_with_its_end() {
        let window = HoldView {
            ends: Some("2026-11-09T09:00:00Z".parse().unwrap()),
            ..hold(HoldKind::Calendar, "window opens Mon 09:00", Ender::Clock)
        };
        let view = ExplainView {
            release: "checkout@2.14.0".parse().unwrap(),
            phase: ReleasePhase::InProgress,
            settled: false,
            earliest: None,
            rings: vec![
                RingReasons {
                    name: "eu-west".into(),
                    phase: RingPhase::Held,
                    doing: String::new(),
                    holds: vec![hold(HoldKind::Approval, "approval 1 of 2", Ender::Person), window],
                    waits: Vec::new(),
                    earliest: Some(EarliestView {
                        starts: Some("2026-11-09T09:00:00Z".parse().unwrap()),
                        passes: Some("2026-11-10T09:00:00Z".parse().unwrap()),
                        not_before: vec!["1 more approval on eu-west".into()],
                    }),
                    owes: Vec::new(),
                },
                RingReasons {
                    name: "eu-central".into(),
                    phase: RingPhase::Waiting,
                    doing: String::new(),
                    holds: Vec::new(),
                    waits: vec![WaitView {
                        message: "after eu-west".into(),
                        ended_by: "it passes".into(),
                        ender: Ender::Progress,
                    }],
                    earliest: None,
                    owes: Vec::new(),
                },
            ],
        };
        let expected = "\
checkout@2.14.0   ▲ InProgress

eu-west   ॥ Held
  approval     approval 1 of 2
               ended by: end it
  calendar     window opens Mon 09:00
               ended by: end it (at 2026-11-09 09:00Z)
  earliest     starts 2026-11-09 09:00Z, passes 2026-11-10 09:00Z, not before 1 more approval on eu-west

eu-central   • Waiting
  waits        after eu-west
               ended by: it passes
";
        assert_eq!(text(&view, Style { colour: false, unicode: true }), expected);
    }
}
