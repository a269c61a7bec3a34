//! Placeholders of queries, from their notation to ours.

use crate::model::policy::BUILT_IN;

/// A query whose placeholders are ours, and the arguments that it names, each once.
#[derive(Debug, PartialEq)]
pub(super) struct Rewritten {
    pub query: String,
    pub args: Vec<String>,
}

/// Whatever a placeholder becomes.
pub(super) enum Slot {
    /// One of ours that ringward fills in itself.
    BuiltIn(&'static str),
    /// An argument of the template.
    Argument(String),
}

/// Puts in the place of every `{{...}}` what `of` makes of its content.
///
/// # Errors
/// What is not understood, as `of` says; or that a placeholder is not closed.
pub(super) fn rewrite(
    text: &str,
    mut of: impl FnMut(&str) -> Result<Slot, String>,
) -> Result<Rewritten, String> {
    let mut query = String::with_capacity(text.len());
    let mut args: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some((before, inner)) = rest.split_once("{{") {
        let (inner, after) = inner.split_once("}}").ok_or("a placeholder in it is not closed")?;
        query.push_str(before);
        let name = match of(inner.trim())? {
            Slot::BuiltIn(name) => name.to_owned(),
            Slot::Argument(name) => {
                if !args.contains(&name) {
                    args.push(name.clone());
                }
                name
            }
        };
        query.push_str(&format!("{{{{{name}}}}}"));
        rest = after;
    }
    query.push_str(rest);
    Ok(Rewritten { query, args })
}

/// What an argument is called here: names that ringward fills in itself are taken.
///
/// # Errors
/// It cannot be a name here.
pub(super) fn argument(name: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 100 || !name.chars().all(fits) {
        return Err(format!("`{name}` cannot name an argument here"));
    }
    Ok(if BUILT_IN.contains(&name) { format!("arg-{name}") } else { name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_put_into_our_notation() {
        let of = |inner: &str| match inner.strip_prefix("args.") {
            Some(name) => Ok(Slot::Argument(argument(name)?)),
            None if inner == "namespace" => Ok(Slot::BuiltIn("namespace")),
            None => Err(format!("`{inner}`?")),
        };
        let done =
            rewrite("m{a=\"{{ args.x }}\",n=\"{{namespace}}\"}[{{args.x}}] {{args.plan}}", of)
                .unwrap();
        assert_eq!(done.query, "m{a=\"{{x}}\",n=\"{{namespace}}\"}[{{x}}] {{arg-plan}}");
        assert_eq!(done.args, ["x", "arg-plan"]);
        assert_eq!(rewrite("{{ b }}", of), Err("`b`?".into()));
        assert!(rewrite("{{ args.x", of).is_err() && rewrite("{{args.a b}}", of).is_err());
    }
}
