//! `ringward demo`: the whole product over a fleet that is not there.
//!
//! The service is the one that `ringward serve` starts, over a journal on disk; what it drives and asks
//! are the servers of [`super::loopback`], and the only thing about it that is not as in production is
//! its clock, which runs faster. The demo itself does what a person would: it creates a release over
//! the API, approves what asks for it, and watches.

mod api;
mod declarations;
mod notes;
mod progress;
mod scratch;
mod stage;
mod start;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

pub use self::scratch::Scratch;
use self::{progress::Screen, stage::Stage};
use super::loopback::FleetError;
use crate::{
    app::AppError,
    declare::{Snapshot, compile, report},
    ids::{PlanName, RingName},
    model::{plan::Plan, time::Span},
    show::{auth::TokenError, cli::style::Style, exit::Exit},
};

/// The plan that is released where nobody names one.
const PLAN: &str = "checkout";

/// How much faster than real time: the release is everywhere after half a minute or so.
pub const SPEED: f64 = 300.0;

/// Beyond this, minutes pass before a request is answered, and what was measured is too old.
const FASTEST: f64 = 1_500.0;

/// What a demo is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How much faster than real time, from 1 to 1500; [`SPEED`] for want of another.
    pub speed: f64,
    /// The declarations that it runs; this repository's own for want of others.
    pub source: Option<PathBuf>,
    /// The plan that is released; `checkout`, or the first, for want of another.
    pub plan: Option<PlanName>,
    /// Whether it creates a release, or leaves that to whoever looks at it.
    pub release: bool,
    /// Whether it ends with the release; otherwise it stays until it is interrupted.
    pub exit: bool,
    /// Whether approvals are left to whoever looks at it.
    pub by_hand: bool,
    /// The ring where the release shall turn out to be bad.
    pub fail: Option<RingName>,
    /// Where the service listens.
    pub listen: SocketAddr,
    /// What the fleet's traffic and names are drawn from.
    pub seed: u64,
    /// How it looks.
    pub style: Style,
}

/// Why a demo came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A plan that is not declared.
    #[error("--plan: no plan `{plan}` is declared; the plans are {known}")]
    UnknownPlan {
        /// What was asked for.
        plan: PlanName,
        /// What there is.
        known: String,
    },
    /// Declarations without a plan.
    #[error("--source: {0} declares no plan; a RingPlan under rings/ is what is released")]
    NoPlan(String),
    /// The declarations could not be read.
    #[error("--source: {0}")]
    Source(String),
    /// A ring that the plan does not have.
    #[error("--fail: plan {plan} has no ring `{ring}`; its rings are {known}")]
    UnknownRing {
        /// The plan that is released.
        plan: PlanName,
        /// What was asked for.
        ring: RingName,
        /// What there is.
        known: String,
    },
    /// A speed that is none.
    #[error("--speed: {0} is not between 1 and {FASTEST}")]
    Speed(f64),
    /// The declarations have errors.
    #[error("the declarations are in error\n{0}")]
    Declarations(String),
    /// No folder for temporary files.
    #[error("cannot write among temporary files; TMPDIR names another folder for them")]
    Scratch(#[source] io::Error),
    /// The fleet did not start.
    #[error("the simulated fleet did not start")]
    Fleet(#[from] FleetError),
    /// The service did not start.
    #[error("the service did not start")]
    Service(#[from] AppError),
    /// The approver's token could not be made.
    #[error("the demo's approver could not be given a token")]
    Approver(#[from] TokenError),
    /// The admin's token could not be read.
    #[error("the service left no token for its administrator")]
    Admin(#[source] io::Error),
    /// The service was not ready in time.
    #[error("the service did not see the whole fleet within {0}; missing: {1}")]
    NotReady(Span, String),
    /// The service could not be asked.
    #[error("the service did not answer ({0})")]
    Http(String, #[source] reqwest::Error),
    /// The service refused.
    #[error("the service refused ({0}, {1}): {2}")]
    Refused(String, u16, String),
    /// The service's answer was not what it should be.
    #[error("the service's answer cannot be read ({0})")]
    Answer(String, #[source] serde_json::Error),
}

impl DemoError {
    /// Whether the options ask for what cannot be.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::UnknownPlan { .. }
                | Self::NoPlan(_)
                | Self::Source(_)
                | Self::UnknownRing { .. }
                | Self::Speed(_)
        )
    }

    /// The URL is left out: it was told at the beginning.
    fn http(path: &str) -> impl FnOnce(reqwest::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Http(path, error.without_url())
    }
}

/// Runs the demo to its end; how it ended is how the release ended.
///
/// # Errors
/// Says what is wrong with the options, or what did not start.
pub async fn run(options: Options) -> Result<Exit, DemoError> {
    let snapshot = declarations::snapshot(options.source.as_deref()).map_err(DemoError::Source)?;
    let plans = plans(&snapshot)?;
    let plan = pick(&options, &plans)?;
    check(&options, plan)?;
    let mut screen = Screen::new(options.style);
    let stage = Stage::build(&options, &snapshot, &plans, plan, &screen).await?;
    let played = tokio::select! {
        played = stage.play(&mut screen), if options.release => played.map(Some),
        ready = stage.wait_for_the_fleet(), if !options.release => ready.map(|()| Some(Exit::Done)),
        () = interrupted() => Ok(None),
    };
    screen.release();
    if let (Ok(Some(_)), false) = (&played, options.exit) {
        stage.outro(&options, &screen);
        interrupted().await;
    }
    stage.strike().await;
    // What was interrupted was still moving.
    played.map(|exit| exit.unwrap_or(Exit::TimedOut))
}

/// Returns when somebody ends the process; a signal that cannot be had is never waited for.
async fn interrupted() {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => futures::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

fn plans(snapshot: &Snapshot) -> Result<Vec<Arc<Plan>>, DemoError> {
    let compiled = compile(snapshot);
    if compiled.has_errors() {
        return Err(DemoError::Declarations(report::text(&compiled.diagnostics, false)));
    }
    Ok(compiled.plans.into_values().flatten().collect())
}

fn pick<'a>(options: &Options, plans: &'a [Arc<Plan>]) -> Result<&'a Arc<Plan>, DemoError> {
    let named = |name: &str| plans.iter().find(|plan| plan.name.as_str() == name);
    match &options.plan {
        Some(plan) => named(plan.as_str()).ok_or_else(|| {
            let known: Vec<_> = plans.iter().map(|plan| plan.name.as_str()).collect();
            DemoError::UnknownPlan { plan: plan.clone(), known: known.join(", ") }
        }),
        None => named(PLAN).or(plans.first()).ok_or_else(|| {
            let source = options.source.as_deref().unwrap_or(std::path::Path::new("the demo"));
            DemoError::NoPlan(source.display().to_string())
        }),
    }
}

fn check(options: &Options, plan: &Plan) -> Result<(), DemoError> {
    if !(1.0..=FASTEST).contains(&options.speed) {
        return Err(DemoError::Speed(options.speed));
    }
    match &options.fail {
        Some(ring) if plan.ring(ring).is_none() => {
            let known: Vec<_> = plan.rings.iter().map(|ring| ring.name.as_str()).collect();
            let (plan, ring) = (plan.name.clone(), ring.clone());
            Err(DemoError::UnknownRing { plan, ring, known: known.join(", ") })
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(speed: f64, fail: Option<&str>) -> String {
        let options = Options {
            source: None,
            plan: None,
            release: true,
            speed,
            exit: true,
            by_hand: false,
            fail: fail.map(RingName::from),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            seed: 1,
            style: Style { colour: false, unicode: true },
        };
        let plans = plans(&declarations::snapshot(None).unwrap()).unwrap();
        check(&options, pick(&options, &plans).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        assert_eq!(
            refused(300.0, Some("mars")),
            "--fail: plan checkout has no ring `mars`; its rings are internal, beta, us-east, \
             eu-west, rest"
        );
        for speed in [0.0, -1.0, 0.5, 1e9, f64::NAN, f64::INFINITY] {
            assert!(refused(speed, None).contains("between 1 and 1500"), "{speed}");
        }
    }
}
