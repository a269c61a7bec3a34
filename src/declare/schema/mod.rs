//! The versioned types of the wire: exactly what may be written, and nothing of what it means.
//!
//! Every field may be absent here, because what must be there and what stands in for it is for
//! [`super::lower`] to say, with a place and a reason. No `untagged` and no `flatten`: they would turn
//! a precise mistake into "matches no variant".

mod bounds;
mod judgement;
mod release;
pub mod scalar;
mod topology;
mod words;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_yaml::Value;

use self::scalar::Text;
pub use self::{bounds::*, judgement::*, release::*, topology::*, words::*};

/// The only version there is.
pub const API_VERSION: &str = "ringward.dev/v1alpha1";

macro_rules! kinds {
    ($($kind:ident in $folder:literal),* $(,)?) => {
        /// The kinds of document.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "each is the wire type of its name")]
        pub enum Kind { $($kind),* }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Kind] = &[$(Kind::$kind),*];

            /// As `kind:` has it.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$kind => stringify!($kind)),* }
            }

            /// The folder that documents of this kind belong in.
            pub fn folder(self) -> &'static str {
                match self { $(Kind::$kind => $folder),* }
            }
        }

        /// A decoded document's `spec`.
        #[derive(Debug)]
        #[expect(missing_docs, reason = "each is the wire type of its name")]
        pub enum Spec { $($kind(Box<$kind>)),* }

        $(impl OfKind for $kind {
            fn of(spec: &Spec) -> Option<&Self> {
                if let Spec::$kind(spec) = spec { Some(spec) } else { None }
            }
        })*

        /// Takes a document of any kind to the wire type that belongs to it.
        pub(super) fn decode_as(
            kind: Kind,
            decode: &mut impl Decode,
        ) -> Option<(Metadata, Spec)> {
            match kind {
                $(Kind::$kind => {
                    let document = decode.decode::<Document<$kind>>()?;
                    let spec = Spec::$kind(Box::new(document.spec?));
                    Some((document.metadata.unwrap_or_default(), spec))
                }),*
            }
        }

        /// The JSON Schema of every document that a file may hold.
        pub fn json_schema() -> serde_json::Value {
            let mut generator = schemars::generate::SchemaSettings::draft2020_12().into_generator();
            let metadata = generator.subschema_for::<Metadata>();
            let kinds = [$({
                let spec = generator.subschema_for::<$kind>();
                serde_json::json!({
                    "title": stringify!($kind),
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["apiVersion", "kind", "metadata", "spec"],
                    "properties": {
                        "apiVersion": {"const": API_VERSION},
                        "kind": {"const": stringify!($kind)},
                        "metadata": &metadata,
                        "spec": spec,
                    },
                })
            }),*];
            serde_json::json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "$id": "https://ringward.dev/schemas/v1alpha1.json",
                "title": "ringward declarations",
                "oneOf": kinds,
                "$defs": generator.take_definitions(true),
            })
        }
    };
}

kinds! {
    Cluster in "rings",
    Jurisdiction in "rings",
    RingPlan in "rings",
    RingPolicy in "policies",
    GateTemplate in "policies",
    ResidencyPolicy in "policies",
    Calendar in "policies",
    Notifier in "policies",
    Release in "releases",
    ReleaseSource in "releases",
}

/// A wire type among those that a document can be.
pub(super) trait OfKind: Sized {
    /// The spec, where it is of this type.
    fn of(spec: &Spec) -> Option<&Self>;
}

/// Takes a value to a wire type and keeps the problems to itself.
pub(super) trait Decode {
    /// The value, without the parts that could not be decoded; none where nothing is left.
    fn decode<T: DeserializeOwned>(&mut self) -> Option<T>;
}

/// What every document has.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document<S> {
    /// Checked before.
    #[serde(rename = "apiVersion")]
    _api_version: Option<Value>,
    /// Checked before.
    #[serde(rename = "kind")]
    _kind: Option<Value>,
    metadata: Option<Metadata>,
    spec: Option<S>,
}

/// What a document is called.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// A DNS label; for a Jurisdiction also the name of a bloc, such as EU.
    #[schemars(required)]
    pub name: Option<Text>,
    /// By which rings may select clusters.
    #[serde(default)]
    pub labels: BTreeMap<String, Text>,
    /// For people and other programs; ringward reads none.
    #[serde(default)]
    pub annotations: BTreeMap<String, Text>,
}

/// Who is told what.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Notifier {
    /// A channel of the server's settings.
    #[schemars(required)]
    pub channel: Option<Text>,
    /// The plans that it is about; all of them where none is named.
    #[serde(default)]
    pub plans: Vec<Text>,
    /// What is told; what somebody may have to do something about, where it is left out.
    pub on: Option<Vec<Topic>>,
}
