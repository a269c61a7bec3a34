//! Wire -> model: pure, with every problem collected and none thrown.
//!
//! Documents are lowered in the order in which they rest on each other: jurisdictions, clusters,
//! calendars, templates, residency, policies, plans, releases. What is lowered carries its errors along, so that
//! a plan knows of everything it rests on, and a mistake takes out of service exactly the plans that
//! depend on it.

mod at;
mod calendar;
mod cluster;
mod dag;
mod gate;
mod head;
mod judge;
mod lane;
mod notifier;
mod plan;
mod policy;
mod query;
mod release;
mod release_source;
mod residency;
mod ring;
mod territory;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZero,
    panic::resume_unwind,
    thread,
};

use self::{
    at::At,
    head::{Head, bad_name, read},
};
use super::{
    Compiled, Counts, Snapshot,
    diagnostic::{Diagnostic, Rule},
    nearest,
    schema::{self, Kind, OfKind},
    text::{self, File, Indexed, Node},
};
use crate::{ids::is_label, model};

/// Checks a snapshot and takes it to the model. The same snapshot gives the same answer.
pub fn compile(snapshot: &Snapshot) -> Compiled {
    let files = side_by_side(snapshot.files.iter().collect(), |(path, bytes)| {
        let mut file = text::index(path, bytes);
        let heads = read(&mut file);
        (file, heads)
    });
    let (files, heads): (Vec<Indexed>, Vec<Vec<Head>>) = files.into_iter().unzip();
    let documents: Vec<Doc<'_>> = files
        .iter()
        .zip(heads)
        .flat_map(|(file, heads)| {
            let roots = file.documents.iter().map(|d| d.root.as_ref());
            roots.zip(heads).map(|(root, head)| Doc { file: &file.file, root, head })
        })
        .collect();
    let mut world = World::new(&documents);
    world.territories = territory::lower(&world);
    world.clusters = cluster::lower(&world);
    cluster::pair(&mut world.clusters);
    world.languages = gate::Languages::of(&world.clusters);
    world.calendars = calendar::lower(&world);
    world.templates = gate::lower(&world);
    world.residency = residency::lower(&world);
    world.policies = policy::lower(&world);
    let plans = plan::lower(&world, &snapshot.commit);
    let (notifiers, ill_told) = notifier::lower(&world);
    let (releases, ill_asked) = release::lower(&world, &plans);
    let (sources, ill_found) = release_source::lower(&world);

    let mut diagnostics: Vec<Diagnostic> = Vec::new();
    diagnostics.extend(documents.iter().flat_map(|d| d.head.problems.iter().cloned()));
    diagnostics.extend(world.problems());
    diagnostics.extend(ill_told);
    diagnostics.extend(ill_asked);
    diagnostics.extend(ill_found);
    diagnostics.extend(plans.values().flat_map(|p| p.problems.iter().cloned()));
    diagnostics.sort_by(|a, b| a.key().cmp(&b.key()));
    diagnostics.dedup();

    let count = |kind| documents.iter().filter(|d| d.head.kind == Some(kind)).count();
    Compiled {
        commit: snapshot.commit.clone(),
        clusters: world
            .clusters
            .iter()
            .filter_map(|(name, unit)| Some((name.as_str().into(), unit.sound()?.cluster.clone())))
            .collect(),
        places: world
            .clusters
            .iter()
            .map(|(name, unit)| {
                let place =
                    unit.sound().map(|placed| model::residency::Place::from(&placed.cluster));
                (name.as_str().into(), place)
            })
            .collect(),
        blocs: territory::declared(&world),
        notifiers,
        releases,
        sources,
        counts: Counts {
            files: files.len(),
            documents: documents.len(),
            clusters: count(Kind::Cluster),
            plans: count(Kind::RingPlan),
            policies: count(Kind::RingPolicy),
        },
        plans: plans
            .into_iter()
            .map(|(name, unit)| (name.as_str().into(), unit.verdict()))
            .collect(),
        diagnostics,
    }
}

/// A document in its file.
struct Doc<'a> {
    file: &'a File,
    root: Option<&'a Node>,
    head: Head,
}

impl Doc<'_> {
    /// Its wire type, where it could be decoded.
    fn spec_as<T: OfKind>(&self) -> Option<&T> {
        self.head.spec.as_ref().and_then(T::of)
    }

    /// Where its `spec` stands.
    fn spec(&self) -> At<'_> {
        self.whole().field("spec")
    }

    /// Where its name stands.
    fn name(&self) -> At<'_> {
        self.whole().field("metadata").field("name")
    }

    fn whole(&self) -> At<'_> {
        match self.root {
            Some(root) => At::root(self.file, root),
            None => At::nowhere(self.file),
        }
    }
}

/// Something lowered, with every problem that it has or rests on.
#[derive(Debug)]
struct Unit<T> {
    value: Option<T>,
    problems: Vec<Diagnostic>,
}

impl<T> Unit<T> {
    fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.problems.iter().filter(|p| p.is_error())
    }

    /// The value, where nothing is wrong with it.
    fn sound(&self) -> Option<&T> {
        self.value.as_ref().filter(|_| self.errors().next().is_none())
    }
}

/// Lowered documents of one kind, by name.
type Units<T> = BTreeMap<String, Unit<T>>;

/// Lowers every document of a kind. Of a name that is declared twice there is no telling which is
/// meant, so it has no value.
fn units<'a, T: Send>(
    world: &World<'a>,
    kind: Kind,
    lower: impl Fn(&'a str, &'a Doc<'a>, &mut Vec<Diagnostic>) -> Option<T> + Sync,
) -> Units<T> {
    let range = (kind, "")..;
    let names = world.names.range(range).take_while(|((k, _), _)| *k == kind);
    let lowered = side_by_side(names.collect(), |((_, name), i)| {
        let doc = &world.documents[*i];
        let mut problems = doc.head.problems.clone();
        let mut value = lower(name, doc, &mut problems);
        if let Some(twice) = world.twice.get(&(kind, *name)) {
            problems.extend(twice.iter().cloned());
            value = None;
        }
        ((*name).to_owned(), Unit { value, problems })
    });
    lowered.into_iter().collect()
}

/// Fewer things than this are done before another thread has begun.
const MANY: usize = 64;

/// Does the same with each of `items`, on as many threads as there are cores where they are many; what
/// comes of them is in their order.
fn side_by_side<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    if items.len() < MANY || cores == 1 {
        return items.into_iter().map(work).collect();
    }
    let share = items.len().div_ceil(cores);
    let mut items = items.into_iter();
    thread::scope(|scope| {
        let parts = (0..cores).map(|_| {
            let (part, work) = (items.by_ref().take(share).collect::<Vec<_>>(), &work);
            scope.spawn(move || part.into_iter().map(work).collect::<Vec<R>>())
        });
        let threads: Vec<_> = parts.collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

/// The documents by name, and what was lowered of them so far.
struct World<'a> {
    documents: &'a [Doc<'a>],
    names: BTreeMap<(Kind, &'a str), usize>,
    /// Of names that are declared twice: it belongs to every one of those documents.
    twice: BTreeMap<(Kind, &'a str), Vec<Diagnostic>>,
    territories: Units<model::residency::Territory>,
    clusters: Units<cluster::Placed<'a>>,
    languages: gate::Languages,
    calendars: Units<calendar::Placed<'a>>,
    templates: Units<gate::Template<'a>>,
    residency: Units<Vec<residency::Placed<'a>>>,
    policies: Units<policy::Placed<'a>>,
}

impl<'a> World<'a> {
    fn new(documents: &'a [Doc<'a>]) -> Self {
        let mut names = BTreeMap::new();
        let mut twice: BTreeMap<_, Vec<Diagnostic>> = BTreeMap::new();
        for (i, doc) in documents.iter().enumerate() {
            let (Some(kind), Some(name)) = (doc.head.kind, &doc.head.name) else { continue };
            let first = *names.entry((kind, name.as_str())).or_insert(i);
            if first != i {
                let message = format!("{} `{name}` is declared twice", kind.name());
                let other = documents[first].name().location();
                let problem = doc.name().problem(Rule::Ref002, message);
                let problem = problem.label("the second time").note(format!("first in {other}"));
                let problem = problem.help("rename one of them, or take it out");
                twice.entry((kind, name.as_str())).or_default().push(problem);
            }
        }
        World {
            documents,
            names,
            twice,
            territories: Units::new(),
            clusters: Units::new(),
            languages: gate::Languages::default(),
            calendars: Units::new(),
            templates: Units::new(),
            residency: Units::new(),
            policies: Units::new(),
        }
    }

    /// What `name` stands for among `units`; takes its errors along, and says so where there is none.
    fn find<'u, T>(
        &self,
        units: &'u Units<T>,
        kind: Kind,
        name: &str,
        at: At<'_>,
        problems: &mut Vec<Diagnostic>,
    ) -> Option<&'u T> {
        let Some(unit) = units.get(name) else {
            problems.push(self.undeclared(kind, name, at));
            return None;
        };
        problems.extend(unit.errors().cloned());
        unit.value.as_ref()
    }

    fn undeclared(&self, kind: Kind, name: &str, at: At<'_>) -> Diagnostic {
        let message = format!("no {} is called `{name}`", kind.name());
        let known = self.names.range((kind, "")..).take_while(|((k, _), _)| *k == kind);
        let names: Vec<&str> = known.map(|((_, name), _)| *name).collect();
        let help = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => format!("declare one under {}/", kind.folder()),
            None if names.len() <= 8 => format!("declared are {}", names.join(", ")),
            None => String::new(),
        };
        at.problem(Rule::Ref001, message).help(help)
    }

    /// Documents that are or may be of that kind, and of whose name, labels or spec too little can be
    /// told to know what they declare.
    fn illegible(&self, kind: Kind) -> impl Iterator<Item = &'a Doc<'a>> {
        self.documents.iter().filter(move |doc| {
            let folder = doc.file.path.split('/').next().unwrap_or_default();
            let Head { name, spec, problems, .. } = &doc.head;
            let metadata = doc.whole().field("metadata");
            let torn = || {
                doc.whole().lost("metadata")
                    || metadata.damaged()
                    || metadata.field("labels").damaged()
                    || name.as_deref().is_some_and(|n| self.twice.contains_key(&(kind, n)))
            };
            match doc.head.kind {
                Some(k) => k == kind && (name.is_none() || spec.is_none() || torn()),
                None => !problems.is_empty() && folder == kind.folder(),
            }
        })
    }

    fn problems(&self) -> Vec<Diagnostic> {
        fn of<T>(units: &Units<T>) -> impl Iterator<Item = Diagnostic> {
            units.values().flat_map(|u| u.problems.iter().cloned())
        }
        let mut all: Vec<Diagnostic> = self.twice.values().flatten().cloned().collect();
        all.extend(of(&self.territories));
        all.extend(of(&self.clusters));
        all.extend(of(&self.calendars));
        all.extend(of(&self.templates));
        all.extend(of(&self.residency));
        all.extend(of(&self.policies));
        all
    }
}

/// Names that occur more than once in a list, each with the place of its repeat.
fn repeats<'n>(names: impl Iterator<Item = &'n str>) -> Vec<(usize, &'n str)> {
    let mut seen = BTreeSet::new();
    names.enumerate().filter(|(_, name)| !seen.insert(*name)).collect()
}

/// Turns wire names into typed ones.
fn typed<T: From<String>>(names: &[schema::scalar::Text]) -> Vec<T> {
    names.iter().cloned().map(T::from).collect()
}
