//! Where releases come from by themselves, as declared: tags of a registry, or a Flux `ImagePolicy` of a cluster.

use std::{cmp::Ordering, fmt};

use regex::{Regex, RegexBuilder};

use super::{
    semver::{Range, Semver},
    time::Span,
};
use crate::ids::{ClusterName, PlanName};

/// A `ReleaseSource`: what it finds becomes a release of its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseSource {
    /// The document's name.
    pub name: String,
    /// What is released.
    pub plan: PlanName,
    /// Where it looks.
    pub from: From,
    /// The time between two looks.
    pub interval: Span,
}

/// Where a source looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// The tags of a repository.
    Registry(Tags),
    /// An `ImagePolicy` of a cluster, whose controllers have chosen already.
    ImagePolicy(PolicyPlace),
}

/// Where an `ImagePolicy` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyPlace {
    /// The cluster.
    pub cluster: ClusterName,
    /// How it is reached.
    pub connection: String,
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

/// Which tag of a repository is the one to be released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags {
    /// The repository.
    pub image: Repository,
    /// Tags that count, where not all do.
    pub filter: Option<Filter>,
    /// Which of them is the newest.
    pub order: Order,
}

/// A repository of a registry: `registry.example.com/shop/checkout`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The registry, with its port where that is given.
    pub registry: String,
    /// The repository's name there.
    pub name: String,
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}

impl Repository {
    /// Reads `registry/name`, without a tag or a digest; nothing where it is none by the distribution specification.
    pub fn read(text: &str) -> Option<Self> {
        let (registry, name) = text.split_once('/')?;
        let host = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
        let is_host = !registry.is_empty() && registry.bytes().all(host);
        let named = is_host && (registry.contains(['.', ':']) || registry == "localhost");
        let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        let ends = |part: &str| part.bytes().next().zip(part.bytes().last());
        let end = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let sound = |part: &str| {
            part.bytes().all(inside) && ends(part).is_some_and(|(a, b)| end(a) && end(b))
        };
        let fits = name.len() <= 255 && name.split('/').all(sound);
        (named && fits).then(|| Self { registry: registry.into(), name: name.into() })
    }
}

/// Tags that count, and what of them is compared.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Those that it finds something in.
    pattern: Regex,
    /// What of them is compared, by the pattern's groups: `$version`; the tag itself where it is not given.
    extract: Option<String>,
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.pattern.as_str() == other.pattern.as_str() && self.extract == other.extract
    }
}

impl Eq for Filter {}

/// The most that a compiled pattern may take, in bytes.
const LARGEST: usize = 256 * 1024;

impl Filter {
    /// Reads a pattern.
    ///
    /// # Errors
    /// It is no regular expression, or too large a one; in words.
    pub fn read(pattern: &str, extract: Option<&str>) -> Result<Self, String> {
        let pattern = RegexBuilder::new(pattern).size_limit(LARGEST).build();
        let pattern = pattern.map_err(|error| {
            let words = error.to_string();
            let last = words.lines().last().unwrap_or_default();
            last.trim_start_matches("error:").trim().to_owned()
        })?;
        Ok(Self { pattern, extract: extract.map(str::to_owned) })
    }

    /// What of the tag is compared; nothing where it does not count.
    fn part(&self, tag: &str) -> Option<String> {
        let found = self.pattern.captures(tag)?;
        let Some(extract) = &self.extract else { return Some(tag.into()) };
        let mut part = String::new();
        found.expand(extract, &mut part);
        Some(part)
    }
}

/// Which of two tags is the newer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// By semantic versions, of a range.
    Semver(Range),
    /// By letters; the last one, or the first one.
    Alphabetical {
        /// The first one.
        descending: bool,
    },
    /// By numbers.
    Numerical {
        /// The smallest one.
        descending: bool,
    },
}

/// What tags are compared by.
#[derive(Debug, Clone, PartialEq)]
enum Rank {
    Version(Semver),
    Letters(String),
    Number(f64),
}

impl Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Rank::Version(a), Rank::Version(b)) => a.cmp(b),
            (Rank::Letters(a), Rank::Letters(b)) => a.cmp(b),
            (Rank::Number(a), Rank::Number(b)) => a.total_cmp(b),
            // All ranks of one order are of one kind.
            (Rank::Version(_) | Rank::Letters(_) | Rank::Number(_), _) => Ordering::Equal,
        }
    }
}

impl Tags {
    /// The newest of these tags; nothing where none counts. Of tags that count the same, the last by its letters.
    pub fn newest<'a>(&self, tags: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        let ranked = tags.into_iter().filter_map(|tag| Some((self.rank(tag)?, tag)));
        let newest = ranked
            .max_by(|(a, tag), (b, other)| self.turned(a.cmp(b)).then_with(|| tag.cmp(other)));
        newest.map(|(_, tag)| tag)
    }

    /// Whether a tag comes before another one; what does not count comes before nobody.
    pub fn is_older(&self, tag: &str, than: &str) -> bool {
        let both = self.rank(tag).zip(self.rank(than));
        both.is_some_and(|(a, b)| self.turned(a.cmp(&b)) == Ordering::Less)
    }

    fn turned(&self, order: Ordering) -> Ordering {
        match self.order {
            Order::Alphabetical { descending: true } | Order::Numerical { descending: true } => {
                order.reverse()
            }
            Order::Semver(_)
            | Order::Alphabetical { descending: false }
            | Order::Numerical { descending: false } => order,
        }
    }

    fn rank(&self, tag: &str) -> Option<Rank> {
        let part = match &self.filter {
            Some(filter) => filter.part(tag)?,
            None => tag.to_owned(),
        };
        match &self.order {
            Order::Semver(range) => {
                let version = Semver::read(&part)?;
                range.has(&version).then_some(Rank::Version(version))
            }
            Order::Alphabetical { .. } => Some(Rank::Letters(part)),
            Order::Numerical { .. } => {
                let number: f64 = part.parse().ok()?;
                number.is_finite().then_some(Rank::Number(number))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(order: Order, filter: Option<(&str, Option<&str>)>) -> Tags {
        let image = Repository::read("registry.example.com/shop/checkout").expect("an image");
        let filter = filter.map(|(pattern, extract)| Filter::read(pattern, extract).expect("one"));
        Tags { image, filter, order }
    }

    #[test]
    fn the_newest_tag_is_told_as_flux_tells_it() {
        let semver = |range: &str| Order::Semver(Range::read(range).expect("a range"));
        let up = Order::Alphabetical { descending: false };
        let down = Order::Alphabetical { descending: true };
        let number = Order::Numerical { descending: false };
        let all = [
            "latest",
            "1.9.0",
            "v1.10.0",
            "2.0.0-rc.1",
            "main-9f-1000",
            "main-0a-999",
            "1.9.0-arm",
        ];
        for (order, filter, newest) in [
            (semver(">=1.0.0"), None, Some("v1.10.0")),
            (semver(">=1.0.0-0"), None, Some("2.0.0-rc.1")),
            (semver("<1.10.0"), None, Some("1.9.0")),
            (semver("^3"), None, None),
            (semver("*"), Some((r"^(?P<v>\d+\.\d+\.\d+)-arm$", Some("$v"))), Some("1.9.0-arm")),
            (number, Some((r"^main-[0-9a-f]+-(?P<ts>\d+)$", Some("$ts"))), Some("main-9f-1000")),
            (up.clone(), Some(("^main-", None)), Some("main-9f-1000")),
            (down, Some(("^main-", None)), Some("main-0a-999")),
            (up, Some(("^latest$", None)), Some("latest")),
        ] {
            let tags = tags(order, filter);
            assert_eq!(tags.newest(all), newest, "{tags:?}");
        }
        let tags = tags(semver("*"), None);
        assert!(tags.is_older("1.9.0", "1.10.0") && !tags.is_older("1.10.0", "1.9.0"));
        assert!(!tags.is_older("latest", "1.0.0") && !tags.is_older("1.0.0", "latest"));
    }

    #[test]
    fn repositories_are_those_of_the_specification() {
        for good in
            ["ghcr.io/a/b", "localhost/app", "127.0.0.1:5000/a-b/c__d", "docker.io/library/nginx"]
        {
            let read = Repository::read(good).expect(good);
            assert_eq!(read.to_string(), good);
        }
        for bad in [
            "nginx",
            "library/nginx",
            "ghcr.io/",
            "ghcr.io/A",
            "ghcr.io/a/../b",
            "ghcr.io/a:1",
            "ghcr.io//a",
            "ghcr.io/a@sha256:1",
            "https://ghcr.io/a",
            "ghcr.io/-a",
            "u:p@ghcr.io/a",
            "ghcr.io/a?b",
        ] {
            assert!(Repository::read(bad).is_none(), "{bad}");
        }
        assert!(Filter::read("(", None).is_err());
        assert!(Filter::read(r"\w{1000}{1000}", None).is_err());
    }
}
