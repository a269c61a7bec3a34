//! Makes a failure small: of what reached ringward, what is left when everything is gone without which
//! it fails in the same way.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;

use super::{meddle::Meddle, run::Run, trace::file_of, write::scenario_text, written::identity};
use crate::{
    model::{limits::Limits, residency::Home, time::Span},
    sim::scenario::{
        model::{Expect, Scenario, Step, What},
        run::{Symptom, run_with},
        source::Source,
    },
};

/// Scenarios that are tried before what is left counts as small.
const PATIENCE: usize = 4_000;

/// A scenario that fails as the seed did, and what it rests on.
#[derive(Debug)]
pub struct Shrunk {
    seed: u64,
    symptom: Symptom,
    base: Vec<Value>,
    scenario: Scenario,
}

/// Where a shrunk scenario was written.
#[derive(Debug)]
pub struct Written {
    /// The scenario's file.
    pub file: PathBuf,
    /// How many steps it has.
    pub steps: usize,
    /// Its bytes, and those of its declarations.
    pub bytes: usize,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, steps, bytes } = self;
        writeln!(f, "shrunk to {steps} steps ({bytes} bytes with its declarations)")?;
        write!(f, "as a scenario: ringward test {}", file.display())
    }
}

/// Runs a seed again and takes away what its failure does not need. Nothing where it does not fail, or
/// where it does not show in a scenario: a journal and a target that break their promises have none.
pub(super) fn shrink(
    (seed, steps): (u64, u64),
    meddle: &mut dyn FnMut() -> Box<dyn Meddle>,
) -> Option<Shrunk> {
    let mut meddler = meddle();
    let mut run = Run::new(seed, meddler.as_mut());
    run.record();
    let (start, trace) = run.told(steps)?;
    let (limits, home) = (trace.limits.clone(), trace.home.clone());
    let mut shrinker = Shrinker { meddle, start, limits, home, tries: 0 };
    let whole = Candidate::new(trace.base, trace.steps);
    let (symptom, at) = shrinker.look(&whole)?;
    let small = shrinker.smallest(until(whole, at), &symptom);
    let (_, at) = shrinker.look(&small)?;
    let small = until(small, at);
    let scenario = shrinker.scenario(&small, &format!("seed {seed}: {symptom}"));
    Some(Shrunk { seed, symptom, base: small.base, scenario })
}

impl Shrunk {
    /// What goes wrong.
    pub fn symptom(&self) -> &Symptom {
        &self.symptom
    }

    /// How many steps are left.
    pub fn steps(&self) -> usize {
        self.scenario.steps.len()
    }

    /// Writes the scenario and its declarations under `directory`, in a folder of the seed's name.
    ///
    /// # Errors
    /// Something cannot be written.
    pub fn write(&self, directory: &Path) -> io::Result<Written> {
        let folder = directory.join(format!("seed-{}", self.seed));
        let mut files = BTreeMap::new();
        for document in &self.base {
            let text = serde_yaml::to_string(document).map_err(io::Error::other)?;
            files.insert(format!("base/{}", file_of(&identity(document))), text);
        }
        files.insert("scenario.yaml".into(), scenario_text(&self.scenario));
        // What an earlier run left there is not what this one rests on; and a failure may need no plan.
        let base = folder.join("base");
        if base.exists() {
            fs::remove_dir_all(&base)?;
        }
        fs::create_dir_all(base.join("rings"))?;
        let mut bytes = 0;
        for (name, text) in &files {
            let path = folder.join(name);
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(path, text)?;
            bytes += text.len();
        }
        Ok(Written { file: folder.join("scenario.yaml"), steps: self.steps(), bytes })
    }
}

#[derive(Clone)]
struct Candidate {
    base: Vec<Value>,
    /// What the base declares; built once for all steps that are tried over it.
    source: Arc<Source>,
    steps: Vec<Step>,
}

impl Candidate {
    fn new(base: Vec<Value>, steps: Vec<Step>) -> Self {
        let files = base.iter().map(|document| {
            let text = serde_yaml::to_string(document).unwrap_or_default();
            (file_of(&identity(document)), text.into_bytes())
        });
        let source = Arc::new(Source::of(files.collect()));
        Self { base, source, steps }
    }
}

/// The same without what comes later, and with a last look at that time.
fn until(mut candidate: Candidate, at: Span) -> Candidate {
    let look = |step: &Step| matches!(step.what, What::Expect(_));
    candidate.steps.retain(|step| step.at <= at && !look(step));
    let what = What::Expect(Box::new(Expect { invariants: true, ..Expect::default() }));
    candidate.steps.push(Step { at, line: 0, what });
    candidate
}

struct Shrinker<'m> {
    meddle: &'m mut dyn FnMut() -> Box<dyn Meddle>,
    start: jiff::Timestamp,
    limits: Limits,
    home: Home,
    tries: usize,
}

impl Shrinker<'_> {
    fn scenario(&self, candidate: &Candidate, name: &str) -> Scenario {
        Scenario {
            name: name.into(),
            file: String::new(),
            source: "base".into(),
            start: self.start,
            known: BTreeMap::new(),
            limits: self.limits.clone(),
            home: self.home.clone(),
            scripted: true,
            series: Vec::new(),
            sites: Vec::new(),
            steps: candidate.steps.clone(),
        }
    }

    /// How a candidate fails, and when.
    fn look(&mut self, candidate: &Candidate) -> Option<(Symptom, Span)> {
        self.tries += 1;
        let scenario = self.scenario(candidate, "");
        run_with(&scenario, &candidate.source, (self.meddle)().as_mut()).broken
    }

    fn fails(&mut self, candidate: &Candidate, symptom: &Symptom) -> bool {
        self.tries < PATIENCE && self.look(candidate).is_some_and(|(found, _)| found == *symptom)
    }

    fn smallest(&mut self, mut candidate: Candidate, symptom: &Symptom) -> Candidate {
        loop {
            let before = candidate.steps.len() + candidate.base.len();
            let steps = self.fewer(candidate.steps.clone(), &mut |me, steps| {
                me.fails(&Candidate { steps: steps.to_vec(), ..candidate.clone() }, symptom)
            });
            let base = self.fewer(candidate.base.clone(), &mut |me, base| {
                me.fails(&Candidate::new(base.to_vec(), steps.clone()), symptom)
            });
            candidate = Candidate::new(base, steps);
            if candidate.steps.len() + candidate.base.len() == before || self.tries >= PATIENCE {
                break;
            }
        }
        self.plainer(candidate, symptom)
    }

    /// Delta debugging: takes away ever smaller parts, as long as what is left still fails.
    fn fewer<T: Clone>(
        &mut self,
        mut items: Vec<T>,
        fails: &mut dyn FnMut(&mut Self, &[T]) -> bool,
    ) -> Vec<T> {
        let mut part = items.len().div_ceil(2);
        while part > 0 {
            let mut from = 0;
            while from < items.len() {
                let to = (from + part).min(items.len());
                let less: Vec<T> = items[..from].iter().chain(&items[to..]).cloned().collect();
                if fails(self, &less) {
                    items = less;
                } else {
                    from = to;
                }
            }
            part = if part == 1 { 0 } else { part.div_ceil(2) };
        }
        items
    }

    /// Requests without a key, and by nobody in particular, where that makes no difference.
    fn plainer(&mut self, mut candidate: Candidate, symptom: &Symptom) -> Candidate {
        for at in 0..candidate.steps.len() {
            let What::Ask(asking) = &candidate.steps[at].what else { continue };
            let mut plain = asking.clone();
            (plain.key, plain.seen) = (None, None);
            let mut tried = candidate.clone();
            tried.steps[at].what = What::Ask(plain);
            if self.fails(&tried, symptom) {
                candidate = tried;
            }
        }
        candidate
    }
}
