//! Scenario files: users test their ring policies as they test code.
//!
//! A scenario runs the real core over its declarations in simulated time, with a fleet that is not
//! there, and checks every invariant after every event. Nothing here waits: days pass as fast as the
//! core decides.

mod expect;
mod history;
pub(super) mod model;
pub(super) mod read;
pub(super) mod run;
pub(super) mod source;
mod wire;

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

pub(super) use self::source::artifact;
use self::{model::Scenario, source::Source};
use crate::{
    declare::{self, Diagnostic},
    ids::GateName,
};

/// What a scenario came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What it shows; the file's path where it could not be read.
    pub name: String,
    /// The file that it stands in.
    pub file: String,
    /// Whether all was as expected and no invariant was broken.
    pub passed: bool,
    /// What was not, with the timeline around it; empty where it passed.
    pub failure: String,
    /// How many events the core answered.
    pub events: u64,
}

/// Why no scenario was run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A path that cannot be read.
    #[error("{} cannot be read", .path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A path without a scenario.
    #[error("there is no scenario in {}; a scenario is a YAML document of `kind: Scenario`", .path.display())]
    Nothing {
        /// The path.
        path: PathBuf,
    },
}

/// Runs every scenario in a file, or in the `*.yaml` files of a directory and all beneath it, in the
/// order of their files. A scenario that cannot be read has failed, and the others are run.
///
/// # Errors
/// There is nothing to run.
pub fn run(path: impl AsRef<Path>) -> Result<Vec<Outcome>, Error> {
    let path = path.as_ref();
    let mut jobs = Vec::new();
    for file in files(path)? {
        let unreadable = |source| Error::Unreadable { path: file.clone(), source };
        let bytes = fs::read(&file).map_err(unreadable)?;
        // Declarations lie beside scenarios; what says nowhere that it is a scenario is none.
        if file != path && !source::is_scenario(&String::from_utf8_lossy(&bytes)) {
            continue;
        }
        match read::read(&file, &bytes) {
            Ok(scenarios) => jobs.extend(scenarios.into_iter().map(Ok)),
            Err(problems) => jobs.push(Err(unread(&file, &problems))),
        }
    }
    if jobs.is_empty() {
        return Err(Error::Nothing { path: path.into() });
    }
    Ok(run_all(&jobs))
}

/// Reads the scenarios of a file's bytes and runs none; how many there are.
///
/// # Errors
/// Every mistake in them, with its place.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<usize, Vec<Diagnostic>> {
    read::read(path, bytes).map(|scenarios| scenarios.len())
}

/// A line a scenario, what failed beneath it, and how many did.
#[derive(Debug)]
pub struct Rendered<'a>(pub &'a [Outcome]);

impl fmt::Display for Rendered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Outcome { name, file, passed, failure, .. } in self.0 {
            if *passed {
                writeln!(f, "ok    {name}")?;
            } else {
                writeln!(f, "FAIL  {name} ({file})")?;
                failure.lines().try_for_each(|line| writeln!(f, "      {line}"))?;
            }
        }
        let passed = self.0.iter().filter(|outcome| outcome.passed).count();
        write!(f, "{passed} passed, {} failed", self.0.len() - passed)
    }
}

/// Runs the jobs on as many threads as there are processors; each job stands alone.
fn run_all(jobs: &[Result<Scenario, Outcome>]) -> Vec<Outcome> {
    let sources = Sources::default();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    let work = || {
        while let index = next.fetch_add(1, Ordering::Relaxed)
            && let Some(job) = jobs.get(index)
        {
            let outcome = match job {
                Ok(scenario) => run_one(scenario, &sources),
                Err(outcome) => outcome.clone(),
            };
            done.lock().unwrap_or_else(|e| e.into_inner()).insert(index, outcome);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| {
            scope.spawn(work);
        });
        work();
    });
    done.into_inner().unwrap_or_else(|e| e.into_inner()).into_values().collect()
}

fn run_one(scenario: &Scenario, sources: &Sources) -> Outcome {
    let outcome = |failures: Vec<String>, events| Outcome {
        name: scenario.name.clone(),
        file: scenario.file.clone(),
        passed: failures.is_empty(),
        failure: failures.join("\n"),
        events,
    };
    let source = match sources.get(&scenario.source) {
        Ok(source) => source,
        Err(why) => return outcome(vec![format!("its source cannot be read: {why}")], 0),
    };
    let unknown = unknown_names(scenario, &source);
    if !unknown.is_empty() {
        return outcome(unknown, 0);
    }
    let report = run::run(scenario, &source);
    outcome(report.failures, report.events)
}

/// Gates and clusters that a scenario speaks of and that its declarations do not know.
fn unknown_names(scenario: &Scenario, source: &Source) -> Vec<String> {
    let edited = scenario.steps.iter().any(|step| {
        matches!(step.what, model::What::EditFile { .. } | model::What::EditDocument(_))
    });
    // What a step declares later is not known yet, and what is in error cannot be told.
    if edited || source.compiled.has_errors() {
        return Vec::new();
    }
    let plans = || source.compiled.plans.values().flatten();
    let gates: Vec<&GateName> =
        plans().flat_map(|p| &p.rings).flat_map(|r| &r.policy.gates).map(|g| &g.name).collect();
    let gates = || gates.iter().map(|gate| gate.as_str());
    let clusters = || source.compiled.clusters.keys().map(|cluster| cluster.as_str());
    let mut unknown = Vec::new();
    let mut ask = |line: usize, what: &str, name: &str, known: Vec<&str>| {
        if known.contains(&name) {
            return;
        }
        let help = match declare::nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there is {}", known.join(", ")),
        };
        unknown.push(format!("{}:{line}: no {what} `{name}` is declared; {help}", scenario.file));
    };
    for (series, line) in &scenario.series {
        ask(*line, "gate", series.gate.as_str(), gates().collect());
        if let Some(cluster) = &series.cluster {
            ask(*line, "cluster", cluster.as_str(), clusters().collect());
        }
    }
    for site in &scenario.sites {
        ask(site.line, "cluster", site.name.as_str(), clusters().collect());
    }
    unknown
}

/// Declarations, each directory read and compiled once.
#[derive(Default)]
struct Sources {
    known: Mutex<BTreeMap<PathBuf, Result<Arc<Source>, String>>>,
}

impl Sources {
    fn get(&self, directory: &Path) -> Result<Arc<Source>, String> {
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        let read = || Source::read(directory).map(Arc::new);
        known.entry(directory.into()).or_insert_with(read).clone()
    }
}

fn unread(file: &Path, problems: &[Diagnostic]) -> Outcome {
    let failure = declare::report::text(problems, false);
    let file = file.display().to_string();
    Outcome { name: file.clone(), file, passed: false, failure, events: 0 }
}

/// The YAML files at a path, in order; hidden ones are left out.
fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        |source| Error::Unreadable { path, source }
    };
    if !fs::metadata(path).map_err(unreadable(path))?.is_dir() {
        return Ok(vec![path.into()]);
    }
    let (mut found, mut queue) = (Vec::new(), vec![path.to_owned()]);
    while let Some(folder) = queue.pop() {
        for entry in fs::read_dir(&folder).map_err(unreadable(&folder))? {
            let entry = entry.map_err(unreadable(&folder))?;
            let (path, name) = (entry.path(), entry.file_name());
            if name.to_string_lossy().starts_with('.') {
                continue;
            }
            // A link is not followed: it could lead round in circles.
            let kind = entry.file_type().map_err(unreadable(&path))?;
            if kind.is_dir() {
                queue.push(path);
            } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
