//! Countries, blocs and `Jurisdiction` documents -> territories.

use std::collections::{BTreeMap, BTreeSet};

use super::{At, Diagnostic, Doc, Kind, Rule, Unit, Units, World, nearest};
use crate::{
    declare::schema,
    ids::Jurisdiction,
    model::{blocs, residency::Territory},
};

/// Every bloc: the built-in ones, and what documents say of them or add.
pub(super) fn lower(world: &World<'_>) -> Units<Territory> {
    let mut units: Units<Territory> = blocs::blocs()
        .map(|(name, members)| {
            let territory =
                Territory { name: name.into(), members: members.map(Jurisdiction::from).collect() };
            (name.to_owned(), Unit { value: Some(territory), problems: Vec::new() })
        })
        .collect();
    let built_in: BTreeMap<String, BTreeSet<Jurisdiction>> = units
        .iter()
        .filter_map(|(name, unit)| Some((name.clone(), unit.value.as_ref()?.members.clone())))
        .collect();
    let declared = super::units(world, Kind::Jurisdiction, |name, doc, problems| {
        let members = members(name, doc, &built_in, problems);
        Some(Territory { name: name.into(), members })
    });
    units.extend(declared);
    // A document that may have narrowed any bloc, and cannot be read, leaves none to be relied on.
    let illegible: Vec<Diagnostic> =
        nameless(world).flat_map(|doc| doc.head.problems.iter().cloned()).collect();
    for unit in units.values_mut() {
        unit.problems.extend(illegible.iter().cloned());
    }
    units
}

/// The members of every bloc that documents declare, as far as they can be read.
pub(super) fn declared(
    world: &World<'_>,
) -> Option<BTreeMap<Jurisdiction, Option<BTreeSet<Jurisdiction>>>> {
    let names = world.names.keys().filter(|(kind, _)| *kind == Kind::Jurisdiction);
    let members = |name: &str| Some(world.territories.get(name)?.sound()?.members.clone());
    let declared = names.map(|(_, name)| ((*name).into(), members(name))).collect();
    nameless(world).next().is_none().then_some(declared)
}

/// Documents that may declare any bloc.
fn nameless<'a>(world: &World<'a>) -> impl Iterator<Item = &'a Doc<'a>> {
    let illegible = world.illegible(Kind::Jurisdiction);
    illegible.filter(|doc| doc.head.name.is_none() && doc.head.kind.is_some())
}

/// What a document makes of the bloc of its name.
fn members(
    name: &str,
    doc: &Doc<'_>,
    built_in: &BTreeMap<String, BTreeSet<Jurisdiction>>,
    problems: &mut Vec<Diagnostic>,
) -> BTreeSet<Jurisdiction> {
    let at = doc.spec();
    let mut members = built_in.get(name).cloned().unwrap_or_default();
    let Some(spec) = doc.spec_as::<schema::Jurisdiction>() else { return members };
    let same = built_in.keys().find(|b| b.eq_ignore_ascii_case(name));
    if let Some(bloc) = same.filter(|b| *b != name) {
        let message = format!("`{name}` differs from the built-in bloc `{bloc}` by case only");
        let help = format!("call it {bloc}, or something else altogether");
        problems.push(doc.name().problem(Rule::Sch006, message).help(help));
    }
    if blocs::is_country(name) {
        let message = format!("`{name}` is a country, and not for a document to redefine");
        problems.push(doc.name().problem(Rule::Sch006, message).help("name the bloc"));
    }
    let known = built_in.contains_key(name);
    match (&spec.members, known) {
        (Some(exact), _) => {
            if !spec.add.is_empty() || !spec.remove.is_empty() {
                let message = "`members` says all, and leaves nothing to add or to remove";
                let help = "keep `members`, or keep `add` and `remove`";
                let place = at.field("members").key();
                problems.push(place.problem(Rule::Sch007, message).help(help));
            }
            members = codes(exact, at.field("members"), problems);
        }
        (None, true) => {
            members.extend(codes(&spec.add, at.field("add"), problems));
            let removed = codes(&spec.remove, at.field("remove"), problems);
            members.retain(|m| !removed.contains(m));
        }
        (None, false) => {
            at.require(None::<()>, "members", problems);
        }
    }
    members
}

fn codes(written: &[String], at: At<'_>, problems: &mut Vec<Diagnostic>) -> BTreeSet<Jurisdiction> {
    let checked = written
        .iter()
        .enumerate()
        .filter(|(i, code)| country(code, at.item(*i), problems))
        .map(|(_, code)| code.as_str().into());
    checked.collect()
}

/// Whether `code` is a country's; says so where it is not.
pub(super) fn country(code: &str, at: At<'_>, problems: &mut Vec<Diagnostic>) -> bool {
    if blocs::is_country(code) {
        return true;
    }
    let message = format!("`{code}` is no ISO 3166-1 alpha-2 country code");
    let upper = code.to_uppercase();
    let help = match upper.as_str() {
        "UK" => "the United Kingdom is GB".to_owned(),
        "EL" => "Greece is GR".to_owned(),
        _ if blocs::is_country(&upper) => format!("did you mean `{upper}`?"),
        _ if blocs::blocs().any(|(bloc, _)| bloc == upper) => {
            "a bloc is no country; name the country whose law it is under".to_owned()
        }
        _ => "use two capital letters, such as DE, IE or US".to_owned(),
    };
    problems.push(at.problem(Rule::Ref001, message).help(help));
    false
}

/// The territory that is called so: a country, or a bloc.
pub(super) fn find(
    world: &World<'_>,
    name: &str,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Territory> {
    if let Some(unit) = world.territories.get(name) {
        problems.extend(unit.errors().cloned());
        return unit.value.clone();
    }
    if blocs::is_country(name) {
        return Some(Territory { name: name.into(), members: [name.into()].into() });
    }
    let message = format!("`{name}` is neither a country nor a bloc");
    let blocs = world.territories.keys().map(String::as_str);
    let help = match nearest(name, blocs).or_else(|| nearest(name, blocs::countries())) {
        _ if name == "UK" => "the United Kingdom is GB".to_owned(),
        Some(near) => format!("did you mean `{near}`?"),
        None => "declare it by a Jurisdiction under rings/".to_owned(),
    };
    problems.push(at.problem(Rule::Ref001, message).help(help));
    None
}
