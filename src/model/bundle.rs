//! What a release is brought as where nobody takes an image: a file in S3 that was made for it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::ring::Artifact;

/// Where the bundle of an image lies: `s3://BUCKET/KEY`, with `{{hex}}` in the key for the 64 digits of its digest.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bundle {
    bucket: String,
    /// The key before the digits,
    before: String,
    /// and behind them.
    after: String,
}

const SCHEME: &str = "s3://";
const DIGITS: &str = "{{hex}}";

/// The forms by which such a file's name ends.
const FORMS: [(&str, &str); 6] = [
    (".zip", "zip"),
    (".tar", "tar"),
    (".tgz", "tgz"),
    (".yaml", "YAML"),
    (".yml", "YAML"),
    (".json", "JSON"),
];

impl Bundle {
    /// Its bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Its key, for an image whose digest has these digits.
    pub fn key(&self, hex: &str) -> String {
        format!("{}{hex}{}", self.before, self.after)
    }

    /// What kind of file it is, in CodeDeploy's words: `zip`, `tar`, `tgz`, `YAML` or `JSON`.
    pub fn form(&self) -> &'static str {
        let form = FORMS.iter().find(|(end, _)| self.after.ends_with(end));
        form.map_or("zip", |(_, form)| form)
    }

    /// The image that a file there was made for, as far as its name says: its digest is all there is.
    pub fn image(&self, bucket: &str, key: &str) -> Option<Artifact> {
        let hex = key.strip_prefix(&self.before)?.strip_suffix(&self.after)?;
        let name = self.before.trim_end_matches(['/', '-', '_', '.']);
        let name = if name.is_empty() { bucket } else { name };
        let image = Artifact(format!("{name}@sha256:{hex}"));
        (bucket == self.bucket && image.digest().is_some()).then_some(image)
    }
}

impl FromStr for Bundle {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let location = text.strip_prefix(SCHEME).and_then(|rest| rest.split_once('/'));
        let (bucket, key) = location.filter(|(bucket, _)| !bucket.is_empty()).ok_or_else(|| {
            format!("`{text}` is no file in S3; write s3://BUCKET/checkout/{DIGITS}.zip")
        })?;
        let parts = key.split_once(DIGITS).filter(|(_, after)| !after.contains(DIGITS));
        let (before, after) = parts.ok_or_else(|| {
            format!("`{text}` must have {DIGITS} once in its key: the digits of the image's digest")
        })?;
        if !FORMS.iter().any(|(end, _)| after.ends_with(end)) {
            let forms = FORMS.map(|(end, _)| end).join(", ");
            return Err(format!("`{text}` must end with what it is: {forms}"));
        }
        Ok(Self { bucket: bucket.into(), before: before.into(), after: after.into() })
    }
}

impl TryFrom<String> for Bundle {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Bundle> for String {
    fn from(bundle: Bundle) -> Self {
        bundle.to_string()
    }
}

impl fmt::Display for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bucket, before, after } = self;
        write!(f, "{SCHEME}{bucket}/{before}{DIGITS}{after}")
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_found_by_its_digits_and_knows_them_again() {
        let bundle: Bundle = "s3://bundles/checkout/{{hex}}.zip".parse().unwrap();
        assert_eq!(bundle.to_string(), "s3://bundles/checkout/{{hex}}.zip");
        let hex = "1".repeat(64);
        let key = bundle.key(&hex);
        assert_eq!((bundle.bucket(), bundle.form()), ("bundles", "zip"));
        assert_eq!(key, format!("checkout/{hex}.zip"));
        let image = bundle.image("bundles", &key).unwrap();
        assert_eq!(image.0, format!("checkout@sha256:{hex}"));
        for (bucket, key) in
            [("others", key.as_str()), ("bundles", "checkout/1.zip"), ("bundles", "other.zip")]
        {
            assert_eq!(bundle.image(bucket, key), None, "{bucket} {key}");
        }
    }

    #[test]
    fn what_is_no_bundle_says_what_one_is() {
        for (odd, says) in [
            ("bundles/{{hex}}.zip", "s3://BUCKET"),
            ("s3:///{{hex}}.zip", "s3://BUCKET"),
            ("s3://bundles/checkout.zip", "{{hex}} once"),
            ("s3://bundles/{{hex}}/{{hex}}.zip", "{{hex}} once"),
            ("s3://bundles/{{hex}}", ".yaml"),
        ] {
            let why = odd.parse::<Bundle>().unwrap_err();
            assert!(why.contains(says), "{why}");
        }
    }
}
