//! Countries and their blocs: a dated table. What it does not know, `Jurisdiction` documents add.
//!
//! Country codes are those officially assigned in ISO 3166-1 alpha-2, as of January 2026. Members of the
//! blocs are as of the same month: the EU's 27 after the withdrawal of the United Kingdom (Treaty on
//! European Union, article 52), the EEA by its Agreement (the EU with Iceland, Liechtenstein and
//! Norway), EFTA by the Vaduz Convention.
//!
//! Deliberately absent: judgements. Whether a country's law is "adequate" under another's changes by
//! decision and by court, and is for a document under version control to say.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::Jurisdiction;

/// The day whose state of the world the table describes.
pub const AS_OF: &str = "2026-01-01";

const COUNTRIES: &str = "\
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV \
BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES \
ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE \
IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY \
MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU \
NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM \
SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE \
VG VI VN VU WF WS YE YT ZA ZM ZW";

const BLOCS: [(&str, &str); 3] = [
    ("EU", "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"),
    (
        "EEA",
        "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK",
    ),
    ("EFTA", "CH IS LI NO"),
];

/// Every country code.
pub fn countries() -> impl Iterator<Item = &'static str> {
    COUNTRIES.split(' ')
}

/// Whether it is the code of a country.
pub fn is_country(code: &str) -> bool {
    code.len() == 2 && countries().any(|c| c == code)
}

/// The blocs and the codes of their members.
pub fn blocs() -> impl Iterator<Item = (&'static str, impl Iterator<Item = &'static str>)> {
    BLOCS.iter().map(|(name, members)| (*name, members.split(' ')))
}

/// Whether a country belongs to a bloc of the table.
pub fn contains(bloc: &str, country: &str) -> bool {
    blocs().any(|(name, mut members)| name == bloc && members.any(|member| member == country))
}

/// The blocs as `Jurisdiction` documents declare them, and the table where they say nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocs(BTreeMap<Jurisdiction, BTreeSet<Jurisdiction>>);

impl Blocs {
    /// What is declared of these from now on; nothing of one that is declared no more.
    pub fn declare(&mut self, blocs: &BTreeMap<Jurisdiction, Option<BTreeSet<Jurisdiction>>>) {
        for (name, members) in blocs {
            match members {
                Some(members) => self.0.insert(name.clone(), members.clone()),
                None => self.0.remove(name),
            };
        }
    }

    /// The members of those that are declared.
    pub fn declared(&self) -> &BTreeMap<Jurisdiction, BTreeSet<Jurisdiction>> {
        &self.0
    }

    /// Whether `place`, a country, is the jurisdiction of that name or belongs to it.
    pub fn contains(&self, name: &Jurisdiction, place: &Jurisdiction) -> bool {
        name == place
            || match self.0.get(name) {
                Some(members) => members.contains(place),
                None => contains(name.as_str(), place.as_str()),
            }
    }

    /// Whether there is a country or a bloc of that name.
    pub fn knows(&self, name: &Jurisdiction) -> bool {
        self.0.contains_key(name)
            || is_country(name.as_str())
            || blocs().any(|(bloc, _)| bloc == name.as_str())
    }

    /// The countries that belong to the jurisdiction of that name.
    pub fn members(&self, name: &Jurisdiction) -> BTreeSet<Jurisdiction> {
        let in_table = || blocs().find(|(bloc, _)| *bloc == name.as_str());
        match (self.0.get(name), in_table()) {
            (Some(members), _) => members.clone(),
            (None, Some((_, members))) => members.map(Jurisdiction::from).collect(),
            (None, None) => [name.clone()].into(),
        }
    }

    /// Every name: those of the table, and those that are declared.
    pub fn names(&self) -> BTreeSet<&str> {
        let declared = self.0.keys().map(Jurisdiction::as_str);
        blocs().map(|(name, _)| name).chain(declared).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_have_the_sizes_of_their_sources() {
        let sizes: Vec<_> = blocs().map(|(name, members)| (name, members.count())).collect();
        assert_eq!(sizes, [("EU", 27), ("EEA", 30), ("EFTA", 4)]);
        assert_eq!(countries().count(), 249);
    }

    #[test]
    fn members_are_countries_in_order() {
        assert!(countries().is_sorted());
        for (name, members) in blocs() {
            let members: Vec<_> = members.collect();
            assert!(members.iter().all(|m| is_country(m)), "{name}");
            assert!(members.is_sorted(), "{name}");
        }
        assert!(!is_country("UK") && !is_country("EU") && is_country("NO"));
    }
}
