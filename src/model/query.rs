//! A gate's query as it is declared: cut at its placeholders once, and not at every measurement.

use std::{fmt, ops::Deref, sync::OnceLock};

use serde::{Deserialize, Serialize};

use super::language::{Language, Piece, Place};

/// A query whose built-in placeholders are still open. It is compared and written as its text.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Query {
    text: Box<str>,
    /// As it was cut first. Nearly always all who are asked speak one language.
    cut: OnceLock<(Language, Box<[Cut]>)>,
}

/// A piece of a query that owns its text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cut {
    Text(Box<str>),
    Slot(Box<str>, Place),
}

impl Query {
    /// Calls `each` with the pieces of the query in that language, in their order.
    pub fn pieces(&self, language: Language, mut each: impl FnMut(Piece<'_>)) {
        let cut = || language.parse(&self.text).pieces.into_iter();
        let (known, pieces) = self.cut.get_or_init(|| (language, cut().map(Cut::from).collect()));
        if *known == language {
            pieces.iter().map(Cut::piece).for_each(each);
        } else {
            cut().for_each(&mut each);
        }
    }
}

impl Cut {
    fn piece(&self) -> Piece<'_> {
        match self {
            Cut::Text(text) => Piece::Text(text),
            Cut::Slot(written, place) => Piece::Slot(written, *place),
        }
    }
}

impl From<Piece<'_>> for Cut {
    fn from(piece: Piece<'_>) -> Self {
        match piece {
            Piece::Text(text) => Cut::Text(text.into()),
            Piece::Slot(written, place) => Cut::Slot(written.into(), place),
        }
    }
}

impl Deref for Query {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Query {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Query {}

impl From<String> for Query {
    fn from(text: String) -> Self {
        Self { text: text.into(), cut: OnceLock::new() }
    }
}

impl From<&str> for Query {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<Query> for String {
    fn from(query: Query) -> Self {
        query.text.into()
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_cuts_it_its_own_way() {
        let query = Query::from("a.{{plan}}.b # {{ring}}");
        let cut = |language: Language| {
            let mut found = Vec::new();
            query.pieces(language, |piece| found.push(Cut::from(piece)));
            let parsed: Vec<Cut> =
                language.parse(&query).pieces.into_iter().map(Cut::from).collect();
            assert_eq!(found, parsed, "{language:?}");
            found.len()
        };
        let lengths = [Language::Graphite, Language::PromQl, Language::Graphite].map(cut);
        assert_eq!(lengths, [4, 3, 4], "a comment hides nothing");
    }

    #[test]
    fn it_is_its_text() {
        let query = Query::from("up");
        query.pieces(Language::PromQl, |_| {});
        assert_eq!(query, Query::from("up"));
        let text = serde_json::to_string(&query).unwrap();
        assert_eq!(text, r#""up""#);
        assert_eq!(serde_json::from_str::<Query>(&text).unwrap(), query);
        assert_eq!((query.to_string(), format!("{query:?}")), ("up".into(), r#""up""#.into()));
    }
}
