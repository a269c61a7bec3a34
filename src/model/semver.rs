//! Semantic versions as people tag them, and ranges of them as Flux and Helm write them.

use std::cmp::Ordering;

/// A version by semver.org 2.0.0, read with patience: a `v` before it is left out, and what is missing of `1.2` is 0.
/// What stands behind `+` orders nothing and is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Semver {
    /// Major, minor, patch.
    numbers: [u64; 3],
    /// What stands behind `-`, part by part; nothing for a version that is released.
    pre: Vec<Identifier>,
}

/// Numbers come before words, as semver.org orders them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u64),
    Word(String),
}

impl Ord for Semver {
    fn cmp(&self, other: &Self) -> Ordering {
        // What is released comes after all that were tried before it.
        let released = self.pre.is_empty().cmp(&other.pre.is_empty());
        self.numbers.cmp(&other.numbers).then(released).then_with(|| self.pre.cmp(&other.pre))
    }
}

impl PartialOrd for Semver {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Semver {
    /// Reads a version; nothing where it is none.
    pub fn read(text: &str) -> Option<Self> {
        let partial = Partial::read(text)?;
        (partial.given > 0).then(|| partial.lowest())
    }

    /// Whether it was not released yet.
    fn is_before_release(&self) -> bool {
        !self.pre.is_empty()
    }

    /// The least of all that could come before the release of the version.
    fn least(numbers: [u64; 3]) -> Self {
        Self { numbers, pre: vec![Identifier::Number(0)] }
    }
}

/// A version of which the end may be missing: `1.2`, `1.x`, `*`.
struct Partial {
    numbers: [u64; 3],
    given: usize,
    pre: Vec<Identifier>,
}

impl Partial {
    fn read(text: &str) -> Option<Self> {
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let text = text.split_once('+').map_or(
            text,
            |(version, build)| {
                if is_dotted(build) { version } else { "" }
            },
        );
        let (numbers, pre) = text.split_once('-').map_or((text, None), |(n, p)| (n, Some(p)));
        let mut partial = Self { numbers: [0; 3], given: 0, pre: Vec::new() };
        let mut wild = false;
        for (i, part) in numbers.split('.').enumerate() {
            let place = partial.numbers.get_mut(i)?;
            match part {
                "x" | "X" | "*" => wild = true,
                _ if wild => return None,
                _ => {
                    *place = number(part)?;
                    partial.given = i + 1;
                }
            }
        }
        if let Some(pre) = pre {
            if wild || !is_dotted(pre) {
                return None;
            }
            let part = |part: &str| {
                number(part).map_or_else(|| Identifier::Word(part.into()), Identifier::Number)
            };
            partial.pre = pre.split('.').map(part).collect();
        }
        Some(partial)
    }

    fn lowest(&self) -> Semver {
        Semver { numbers: self.numbers, pre: self.pre.clone() }
    }

    /// The first version after all that have the same first `kept` numbers; nothing where none are kept.
    fn after(&self, kept: usize) -> Option<Semver> {
        let last = kept.checked_sub(1)?;
        let mut numbers = [0; 3];
        numbers[..kept].copy_from_slice(&self.numbers[..kept]);
        numbers[last] = numbers[last].checked_add(1)?;
        Some(Semver::least(numbers))
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

fn is_dotted(text: &str) -> bool {
    let inside = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    text.split('.').all(|part| !part.is_empty() && part.bytes().all(inside))
}

/// Which versions are meant: `>=1.4.0 <2`, `^1.4`, `~1.4.2`, `1.4.x`, `1.2 - 1.9`, several with `||` between them. Versions
/// before a release are meant only where a part of it names one, as `>=1.4.0-0` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range(Vec<Group>);

/// Bounds that hold together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Group {
    /// From here on, this one included.
    from: Vec<Semver>,
    /// Up to here, this one not included.
    below: Vec<Semver>,
    /// This one too is meant at the most.
    up_to: Vec<Semver>,
    /// Later than this one.
    above: Vec<Semver>,
    not: Vec<Semver>,
    before_release: bool,
}

impl Range {
    /// Reads a range; nothing where it is none.
    pub fn read(text: &str) -> Option<Self> {
        text.split("||").map(Group::read).collect::<Option<Vec<_>>>().map(Self)
    }

    /// Whether a version is meant.
    pub fn has(&self, version: &Semver) -> bool {
        self.0.iter().any(|group| group.has(version))
    }
}

impl Group {
    fn read(text: &str) -> Option<Self> {
        let mut group = Self::default();
        let words: Vec<&str> =
            text.split([' ', ',', '\t']).filter(|word| !word.is_empty()).collect();
        let mut words = words.as_slice();
        if words.is_empty() {
            return None;
        }
        while let [word, rest @ ..] = words {
            words = rest;
            if let ["-", end, rest @ ..] = words {
                words = rest;
                group.add(">=", word)?;
                group.add("<=", end)?;
                continue;
            }
            let at = word.find(|c: char| !"<>=!~^".contains(c)).unwrap_or(word.len());
            match word.split_at(at) {
                // An operator may stand apart: `>= 1.4`.
                (operator, "") => {
                    let [version, rest @ ..] = words else { return None };
                    words = rest;
                    group.add(operator, version)?;
                }
                (operator, version) => group.add(operator, version)?,
            }
        }
        Some(group)
    }

    fn add(&mut self, operator: &str, version: &str) -> Option<()> {
        let partial = Partial::read(version)?;
        self.before_release |= !partial.pre.is_empty();
        let (lowest, given) = (partial.lowest(), partial.given);
        let whole = given == 3;
        match operator {
            "" | "=" | "==" if whole => {
                self.from.push(lowest.clone());
                self.up_to.push(lowest);
            }
            "" | "=" | "==" | "~" | "~>" | "^" => {
                let kept = match operator {
                    "^" => {
                        let first = partial.numbers.iter().position(|n| *n > 0);
                        first.map_or(given, |first| (first + 1).min(given))
                    }
                    "~" | "~>" => given.min(2),
                    _ => given,
                };
                self.from.push(lowest);
                self.below.extend(partial.after(kept));
            }
            ">=" | "=>" => self.from.push(lowest),
            ">" if whole => self.above.push(lowest),
            ">" => self.from.push(partial.after(given).map(|v| Semver { pre: Vec::new(), ..v })?),
            "<" if partial.pre.is_empty() => self.below.push(Semver::least(partial.numbers)),
            "<" => self.below.push(lowest),
            "<=" | "=<" if whole => self.up_to.push(lowest),
            "<=" | "=<" => self.below.extend(partial.after(given)),
            "!=" if whole => self.not.push(lowest),
            _ => return None,
        }
        Some(())
    }

    fn has(&self, version: &Semver) -> bool {
        (self.before_release || !version.is_before_release())
            && self.from.iter().all(|bound| version >= bound)
            && self.above.iter().all(|bound| version > bound)
            && self.below.iter().all(|bound| version < bound)
            && self.up_to.iter().all(|bound| version <= bound)
            && !self.not.contains(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_of_the_specification() {
        let order = [
            "0.9",
            "v1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.1",
            "v1.2",
            "1.10.0",
            "2",
        ];
        let read: Vec<_> = order.iter().map(|text| Semver::read(text).expect(text)).collect();
        for pair in read.windows(2) {
            assert!(pair[0] < pair[1], "{pair:?}");
        }
        assert_eq!(Semver::read("1.2.3+build.5"), Semver::read("v1.2.3"));
        for none in
            ["", "v", "latest", "1.2.3.4", "1.2.3-", "1.2.3+", "1..2", "*", "-1", "1.2.3-a..b"]
        {
            assert_eq!(Semver::read(none), None, "{none}");
        }
        assert!(Semver::read("99999999999999999999").is_none());
    }

    #[test]
    fn ranges_mean_what_flux_and_helm_mean_by_them() {
        let all = [
            ("1.2.3", "1.2.3", "1.2.4 1.2.2 1.2.3-rc.1"),
            ("1.2", "1.2.0 1.2.9", "1.3.0 1.1.9"),
            ("1.x", "1.0.0 1.9.9", "2.0.0 0.9.0 2.0.0-rc.1"),
            ("*", "0.0.1 9.9.9", "1.0.0-rc.1"),
            (">=1.4.0 <2", "1.4.0 1.99.0", "2.0.0 1.3.9 2.0.0-rc.1"),
            (">= 1.4.0, < 2.0.0", "1.4.0 1.99.0", "2.0.0 1.3.9"),
            (">1.4", "1.5.0 2.0.0", "1.4.0 1.4.9"),
            (">1.4.0", "1.4.1", "1.4.0"),
            ("<=1.4", "1.4.9 0.1.0", "1.5.0"),
            ("<=1.4.2", "1.4.2", "1.4.3"),
            ("^1.2.3", "1.2.3 1.9.0", "2.0.0 1.2.2"),
            ("^0.2.3", "0.2.3 0.2.9", "0.3.0"),
            ("^0.0.3", "0.0.3", "0.0.4"),
            ("^0", "0.9.9", "1.0.0"),
            ("~1.2.3", "1.2.9", "1.3.0 1.2.2"),
            ("~1", "1.9.9", "2.0.0"),
            ("1.2 - 1.4", "1.2.0 1.4.9", "1.5.0 1.1.0"),
            ("1.2 - 1.4.2", "1.4.2", "1.4.3"),
            ("^1.2 || ^3", "1.9.0 3.1.0", "2.1.0"),
            (">=1.0.0 !=1.1.0", "1.0.0 1.1.1", "1.1.0"),
            (">=1.0.0-0 <2.0.0", "1.0.0-rc.1 1.5.0-beta 1.9.0", "2.0.0-rc.1 2.0.0"),
        ];
        for (range, has, lacks) in all {
            let read = Range::read(range).expect(range);
            for version in has.split(' ') {
                assert!(read.has(&Semver::read(version).expect(version)), "{range} has {version}");
            }
            for version in lacks.split(' ') {
                assert!(
                    !read.has(&Semver::read(version).expect(version)),
                    "{range} lacks {version}"
                );
            }
        }
        for none in ["", "||", "latest", ">=", "^^1", "1 -", "=>", "!=1", ">1.2.3.4", "^1 ||"] {
            assert!(Range::read(none).is_none(), "{none}");
        }
    }
}
