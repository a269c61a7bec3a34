//! `status`: a release as a tree, once or for as long as it moves.

use clap::Args;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

use super::{
    context::{Context, Format},
    failure::Failure,
    follow::{Follow, Which, path},
    tree,
};
use crate::show::{
    exit::Exit,
    view::{ReleaseView, RingView},
};

/// The tree stays on the screen when its following ends early.
const LEAVE: ProgressFinish = ProgressFinish::AndLeave;

/// Show a release as a tree of its rings
///
/// Every ring with its phase, the healthy time that it has soaked, its gates that pass, where its clusters
/// lie, and in one sentence what holds or worries it. A plan without a version means its newest release
/// that is not over, or else its newest.
///
/// With -w the tree is kept up to date until the release is settled; then the exit code is that of its end:
/// 0 succeeded, 3 failed, aborted or rolled back, 6 superseded. Into a pipe, -w writes the rings that changed.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES
  ringward status checkout                  the newest release of checkout
  ringward status checkout@2.14.0 -w        follow it until it is settled
  ringward status checkout -o json | jq '.rings[] | select(.phase == \"Held\").holds'")]
pub struct Status {
    /// PLAN or PLAN@VERSION.
    #[arg(value_name = "PLAN[@VERSION]")]
    which: Which,
    /// Follow it until it is settled.
    #[arg(short, long)]
    watch: bool,
}

/// Runs `status`.
pub async fn run(context: &Context, args: &Status) -> Result<Exit, Failure> {
    let client = context.client()?;
    let release = args.which.release(&client).await?;
    if !args.watch {
        let answer = client.get(&path(&release), &[]).await?;
        let view: ReleaseView = answer.read()?;
        context.answer(&answer, || vec![view.release.to_string()], || text(&view, context))?;
        return Ok(Exit::Done);
    }
    let mut screen = Screen::new(context);
    let watching = async {
        let mut follow = Follow::new(&client, context, &release);
        loop {
            let (answer, view) = follow.next().await?;
            if view.settled {
                screen.clear();
            }
            match context.shared.output {
                Format::Table | Format::Wide => screen.show(&view)?,
                Format::Json | Format::Yaml | Format::Name => {
                    context.answer(&answer, || vec![view.release.to_string()], String::new)?;
                }
            }
            if view.settled {
                return Ok(Exit::of_release(view.phase));
            }
        }
    };
    let patience = context.shared.timeout;
    match patience {
        None => watching.await,
        Some(patience) => {
            tokio::time::timeout(patience.to_std(), watching).await.unwrap_or_else(|_| {
                Err(Failure::new(format!("{release} is not settled after {patience}"))
                    .exit(Exit::TimedOut))
            })
        }
    }
}

fn text(view: &ReleaseView, context: &Context) -> String {
    let lines = tree::lines(view, context.is_wide(), context.style);
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Where a release that goes on is shown.
struct Screen<'a> {
    context: &'a Context,
    /// On a terminal: one bar a line, so that lines too long for it are cut and none is drawn twice.
    bars: Option<(MultiProgress, Vec<ProgressBar>)>,
    before: Option<ReleaseView>,
}

impl<'a> Screen<'a> {
    fn new(context: &'a Context) -> Self {
        let live = || MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let bars = context.is_live().then(|| (live(), Vec::new()));
        Self { context, bars, before: None }
    }

    fn show(&mut self, view: &ReleaseView) -> Result<(), Failure> {
        let before = self.before.replace(view.clone());
        if let Some((all, bars)) = &mut self.bars {
            let lines = tree::lines(view, self.context.is_wide(), self.context.style);
            while bars.len() < lines.len() {
                let bar = ProgressBar::no_length().with_style(line_style()?).with_finish(LEAVE);
                bars.push(all.add(bar));
            }
            for (n, bar) in bars.iter().enumerate() {
                bar.set_message(lines.get(n).cloned().unwrap_or_default());
            }
            return Ok(());
        }
        let text = match before {
            None => text(view, self.context),
            Some(before) => changed(&before, view, self.context),
        };
        self.context.print(&text)
    }

    /// Makes room for what is shown last, and stays.
    fn clear(&mut self) {
        if let Some((_, bars)) = self.bars.take() {
            bars.iter().for_each(ProgressBar::finish_and_clear);
            self.before = None;
        }
    }
}

fn line_style() -> Result<ProgressStyle, Failure> {
    ProgressStyle::with_template("{wide_msg}").map_err(|error| Failure::of(&error))
}

/// The lines of the rings about which there is something new to say, and of the release if it is.
fn changed(before: &ReleaseView, now: &ReleaseView, context: &Context) -> String {
    let news = |ring: &RingView| {
        let old = before.rings.iter().find(|old| old.name == ring.name);
        // That a soak grows is no news.
        old.is_none_or(|old| {
            (old.phase, &old.info, old.gates, old.attempt)
                != (ring.phase, &ring.info, ring.gates, ring.attempt)
        })
    };
    let mut lines = Vec::new();
    if before.phase != now.phase {
        let (phase, _) = context.style.release(now.phase);
        lines.push(format!("{}  {phase}", now.release));
    }
    let table = tree::table(now, context.is_wide(), context.style);
    let names = now.rings.iter().filter(|ring| news(ring)).map(|ring| ring.name.as_str());
    let names: Vec<&str> = names.collect();
    // The tree's lines are in the order of the drawing: each is found by the name that it ends its
    // first cell with.
    for (row, line) in table.rows().iter().zip(table.lines(context.style).iter().skip(1)) {
        let name = row.first().map(|cell| cell.text().rsplit(' ').next().unwrap_or_default());
        if name.is_some_and(|name| names.contains(&name)) {
            lines.push(line.clone());
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            context::Shared,
            samples::{release, ring},
            style::Style,
        },
        *,
    };
    use crate::{
        decide::phase::{ReleasePhase, RingPhase},
        show::view::SoakView,
    };

    fn context() -> Context {
        let shared = Shared {
            server: String::new(),
            token: None,
            ca: None,
            cert: None,
            output: Format::Table,
            no_color: true,
            timeout: None,
            yes: false,
        };
        Context { style: Style { colour: false, unicode: true }, ..Context::new(shared) }
    }

    #[test]
    fn a_pipe_gets_the_lines_that_changed() {
        let soak = SoakView { credited_seconds: 1.0, required_seconds: 600.0, running: true };
        let before = release(&[
            RingView { soak: Some(soak), ..ring("a", &[], RingPhase::Soaking) },
            ring("b", &["a"], RingPhase::Waiting),
            ring("c", &["a"], RingPhase::Waiting),
        ]);
        let mut now = before.clone();
        now.rings[0].soak = Some(SoakView { credited_seconds: 2.0, ..soak });
        assert_eq!(changed(&before, &now, &context()), "");
        now.rings[2].phase = RingPhase::Held;
        now.rings[2].info = "approval 0 of 1".into();
        now.phase = ReleasePhase::Paused;
        assert_eq!(
            changed(&before, &now, &context()),
            "checkout@2.14.0  ॥ Paused\n\
             └─ c            ॥ Held       -             -       DE      approval 0 of 1\n"
        );
    }
}
