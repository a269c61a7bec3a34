//! What a release makes a feature flag serve: `on`, or `on=25%,off`.

use std::{collections::BTreeMap, fmt, str::FromStr};

/// A flag's variants, each with its share of whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// Shares in whole percent, 1 to 99 each and no more than 99 in all, by variant.
    shares: BTreeMap<String, u8>,
    /// The variant that all others are served, and whoever has nothing to be told apart by.
    rest: String,
}

/// Why a text says nothing that a flag could serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a flag serves a variant, as in `on`, or shares of several, whole percents below 100 and the rest last, as in \
     `on=25%,off`"
)]
pub struct NoServe;

impl Serve {
    /// One variant for everybody.
    pub fn all(variant: impl Into<String>) -> Self {
        Self { shares: BTreeMap::new(), rest: variant.into() }
    }

    /// The variant of all that have no share named.
    pub fn rest(&self) -> &str {
        &self.rest
    }

    /// Whether everybody is served the same.
    pub fn is_one(&self) -> bool {
        self.shares.is_empty()
    }

    /// Every variant with its percentage, which add up to 100, in the order of their names: the same in every
    /// release, so that whoever was served a variant keeps it where its share grows.
    pub fn percentages(&self) -> Vec<(&str, u8)> {
        let taken: u8 = self.shares.values().sum();
        let mut all: Vec<_> = self.shares.iter().map(|(name, share)| (&**name, *share)).collect();
        all.push((&self.rest, 100_u8.saturating_sub(taken)));
        all.sort_unstable();
        all
    }

    /// What has those percentages, with `rest` for all others.
    pub fn of(percentages: &[(&str, u64)], rest: &str) -> Option<Self> {
        let mut text = String::new();
        for (variant, share) in percentages.iter().filter(|(variant, _)| *variant != rest) {
            text.push_str(&format!("{variant}={share}%,"));
        }
        let serve: Self = (text + rest).parse().ok()?;
        let all = serve.percentages();
        let same = all
            .iter()
            .map(|(name, share)| (*name, u64::from(*share)))
            .eq(percentages.iter().copied());
        same.then_some(serve)
    }
}

impl FromStr for Serve {
    type Err = NoServe;

    fn from_str(text: &str) -> Result<Self, NoServe> {
        let mut parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let rest = parts.pop().filter(|rest| is_variant(rest)).ok_or(NoServe)?;
        let mut shares = BTreeMap::new();
        for part in parts {
            let (variant, share) = part.split_once('=').ok_or(NoServe)?;
            let share =
                share.strip_suffix('%').and_then(|share| share.parse().ok()).ok_or(NoServe)?;
            let known = shares.insert(variant.to_owned(), share).is_some() || variant == rest;
            if known || !is_variant(variant) || !(1..=99).contains(&share) {
                return Err(NoServe);
            }
        }
        let taken: u64 = shares.values().map(|share| u64::from(*share)).sum();
        if taken > 99 {
            return Err(NoServe);
        }
        Ok(Self { shares, rest: rest.into() })
    }
}

/// Whether a release may call a variant that.
pub fn is_variant(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    !text.is_empty() && text.len() <= 100 && text.chars().all(fits)
}

impl fmt::Display for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shares.iter().try_for_each(|(variant, share)| write!(f, "{variant}={share}%,"))?;
        f.write_str(&self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_in_one_form() {
        for (text, form) in
            [("on", "on"), ("on=25%,off", "on=25%,off"), ("b=20%, a=10%, off", "a=10%,b=20%,off")]
        {
            assert_eq!(text.parse::<Serve>().unwrap().to_string(), form);
        }
        for text in [
            "",
            "on=25%",
            "on=0%,off",
            "on=100%,off",
            "a=60%,b=40%,c",
            "a=1%,a=2%,b",
            "on=5,off",
            "a b",
            "on=5%,on",
        ] {
            assert_eq!(text.parse::<Serve>(), Err(NoServe), "{text}");
        }
    }

    #[test]
    fn percentages_come_in_one_order_and_add_up() {
        let serve: Serve = "on=25%,beta=5%,off".parse().unwrap();
        let all = serve.percentages();
        assert_eq!(all, [("beta", 5), ("off", 70), ("on", 25)]);
        let wide: Vec<(&str, u64)> =
            all.iter().map(|(name, share)| (*name, u64::from(*share))).collect();
        assert_eq!(Serve::of(&wide, "off"), Some(serve));
        assert_eq!(Serve::of(&[("on", 25), ("off", 75)], "off"), None, "in another order");
        assert_eq!(Serve::of(&[("off", 75), ("on", 20)], "off"), None, "not all of it");
    }
}
