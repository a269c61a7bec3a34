//! A file of flags as text, of which one flag's rule is changed and every other byte stays as it is: numbers,
//! order and spaces of flags that are none of ours included.

use std::ops::Range;

use serde_json::Value;

/// The flag of that key, where the file has it.
///
/// # Errors
/// It is no file of flags in JSON, or names the flag twice; in words that begin with a verb.
pub(super) fn flag(text: &str, file: &str, key: &str) -> Result<Option<Value>, String> {
    let read: Value = serde_json::from_str(text).map_err(|error| {
        format!("has no JSON in `{file}` (line {}, column {})", error.line(), error.column())
    })?;
    if !read["flags"].is_object() {
        return Err(format!("has no `flags` in `{file}`: it is to be as flagd.dev/schema/v0 says"));
    }
    // Whoever reads it may take the one or the other.
    let twice =
        |members: &[Member], name: &str| members.iter().filter(|m| m.name == name).count() > 1;
    let all = members(text, start(text));
    let flags = all.iter().find(|m| m.name == "flags").map(|m| members(text, m.value.start));
    let flags = flags.unwrap_or_default();
    let own = flags.iter().find(|m| m.name == key).map(|m| members(text, m.value.start));
    let own = own.unwrap_or_default();
    let within = |name: &&str| twice(&own, name);
    if twice(&all, "flags")
        || twice(&flags, key)
        || ["defaultVariant", "targeting"].iter().any(within)
    {
        return Err(format!("names something of flag `{key}` twice in `{file}`"));
    }
    Ok(read["flags"].get(key).cloned())
}

/// The text with another rule in a flag that it has.
pub(super) fn write(text: &str, key: &str, default: &str, targeting: Option<&Value>) -> String {
    let default = Value::String(default.into());
    let text = set(text, key, "defaultVariant", Some(&default));
    set(&text, key, "targeting", targeting)
}

fn set(text: &str, key: &str, field: &str, value: Option<&Value>) -> String {
    let inside = |at: Option<usize>, name: &str| {
        members(text, at?).into_iter().find(|m| m.name == name).map(|m| m.value.start)
    };
    let Some(begins) = inside(inside(Some(start(text)), "flags"), key) else { return text.into() };
    let own = members(text, begins);
    let place = own.iter().position(|m| m.name == field);
    let (range, new) = match (place.and_then(|i| Some((i, own.get(i)?))), value) {
        (Some((_, member)), Some(value)) => {
            let same = serde_json::from_str::<Value>(&text[member.value.clone()]).ok();
            if same.as_ref() == Some(value) {
                return text.into();
            }
            (member.value.clone(), value.to_string())
        }
        (Some((i, member)), None) => {
            // With the comma after it, or where it is the last, with the one before it.
            let next = own.get(i + 1).map(|next| next.begins);
            let before = i.checked_sub(1).and_then(|i| own.get(i)).map(|before| before.value.end);
            let range = match (next, before) {
                (Some(next), _) => member.begins..next,
                (None, Some(before)) => before..member.value.end,
                (None, None) => member.begins..member.value.end,
            };
            (range, String::new())
        }
        (None, Some(value)) => match own.first() {
            Some(first) => {
                let space = &text[begins + 1..first.begins];
                (first.begins..first.begins, format!("\"{field}\": {value},{space}"))
            }
            None => (begins + 1..begins + 1, format!("\"{field}\": {value}")),
        },
        (None, None) => return text.into(),
    };
    format!("{}{new}{}", &text[..range.start], &text[range.end..])
}

/// A member of an object in the text.
struct Member {
    name: String,
    /// Where its name begins.
    begins: usize,
    value: Range<usize>,
}

fn start(text: &str) -> usize {
    skip(text.as_bytes(), 0)
}

/// The members of the object that begins there; none where there is no object. The text is JSON.
fn members(text: &str, at: usize) -> Vec<Member> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    if bytes.get(at) != Some(&b'{') {
        return found;
    }
    let mut at = skip(bytes, at + 1);
    while bytes.get(at) == Some(&b'"') {
        let (begins, ends) = (at, end(bytes, at));
        let name = serde_json::from_str(&text[begins..ends]).unwrap_or_default();
        // The colon.
        let value = skip(bytes, skip(bytes, ends) + 1);
        let value = value..end(bytes, value);
        at = skip(bytes, value.end);
        found.push(Member { name, begins, value });
        if bytes.get(at) == Some(&b',') {
            at = skip(bytes, at + 1);
        }
    }
    found
}

/// Where what begins there ends.
fn end(bytes: &[u8], at: usize) -> usize {
    let (mut at, mut depth) = (at, 0_usize);
    let scalar = !matches!(bytes.get(at), Some(b'{' | b'[' | b'"'));
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = quoted(bytes, at),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' | b',' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                at += 1;
            }
            byte if scalar && byte.is_ascii_whitespace() => return at,
            _ => at += 1,
        }
        if depth == 0 && !scalar {
            return at;
        }
    }
    at
}

/// Where the string that begins there ends.
fn quoted(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at.min(bytes.len())
}

fn skip(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}
