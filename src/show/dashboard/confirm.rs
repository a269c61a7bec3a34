//! Before something is done: what will happen, in words, and the reason that is asked for.

use super::{
    deed::{Asked, Deed, Form, hidden},
    html::{Text, prose},
};

/// What the page says.
pub struct Question {
    /// What is asked for.
    pub deed: Deed,
    /// What will happen, a sentence each.
    pub will: Vec<String>,
    /// What is on its way already.
    pub in_flight: Vec<String>,
    /// What it hangs on: it is done only while all of this is as it is shown.
    pub bound: Bound,
    /// What is asked besides, as fields.
    pub choices: Vec<Choice>,
    /// What was in the way of the last try.
    pub wrong: Vec<String>,
    /// What of that stands beside a field: the field's name, and what is wrong with it.
    pub beside: Vec<(String, String)>,
    /// What changed since it was looked at.
    pub changed: Vec<String>,
    /// Makes a repeat recognisable.
    pub key: String,
}

impl Question {
    /// Puts what is wrong beside the field that it is about, if it is about one.
    pub fn put_wrong(&mut self, field: &str, detail: String) {
        let asks = |choice: &Choice| choice.name() == field;
        match field == "reason" || self.choices.iter().any(asks) {
            true => self.beside.push((field.to_owned(), detail)),
            false => self.wrong.push(detail),
        }
    }
}

/// What somebody saw when they decided: each thing with what it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bound(pub Vec<(String, String)>);

impl Bound {
    /// For a field that nobody sees.
    pub fn write(&self) -> String {
        let lines: Vec<String> = self.0.iter().map(|(what, is)| format!("{what}\t{is}")).collect();
        lines.join("\n")
    }

    /// What [`Bound::write`] wrote. A browser sends line ends as CR LF.
    pub fn read(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.split_once('\t'));
        Self(lines.map(|(what, is)| (what.to_owned(), is.to_owned())).collect())
    }

    /// What is not as it was, in words.
    pub fn changed_since(&self, seen: &Bound) -> Vec<String> {
        let of = |all: &Bound, what: &str| {
            all.0.iter().find(|(name, _)| name == what).map(|(_, is)| is.clone())
        };
        let mut all = Vec::new();
        for (what, is) in &self.0 {
            match of(seen, what) {
                Some(was) if was == *is => {}
                Some(was) => all.push(format!("{what} was {was}, and is {is}")),
                None => all.push(format!("{what} is {is}, and was not shown")),
            }
        }
        for (what, was) in &seen.0 {
            if of(self, what).is_none() {
                all.push(format!("{what} was {was}, and is no more"));
            }
        }
        all
    }
}

/// Something to be chosen besides.
pub enum Choice {
    /// A box to tick.
    Box {
        /// Its name.
        name: &'static str,
        /// What it says.
        label: &'static str,
    },
    /// One of several.
    One {
        /// Its name.
        name: &'static str,
        /// What it says.
        label: &'static str,
        /// The values with their words.
        of: Vec<(String, String)>,
    },
    /// A line of text.
    Line {
        /// Its name.
        name: &'static str,
        /// What it says.
        label: &'static str,
        /// What is to be written there.
        hint: &'static str,
        /// Whether it may not be left empty.
        required: bool,
    },
    /// An instant to come, in UTC; none is for good.
    Until,
}

/// The page, with what was filled in before.
pub fn page(question: &Question, csrf: &str, form: &Form) -> String {
    let Question { deed, will, in_flight, bound, choices, wrong, beside, changed, key } = question;
    let title = format!("{} {}", deed.label(), deed.about());
    let fields: String =
        deed.fields().iter().map(|(name, value)| hidden(name, value)).collect::<String>()
            + &hidden("deed", deed.name())
            + &hidden("csrf", csrf)
            + &hidden("key", key)
            + &hidden("seen", &bound.write());
    let alarm = |title: &str, lines: &[String]| match lines.is_empty() {
        true => String::new(),
        false => {
            let lines: String = lines.iter().map(|l| format!("<li>{}</li>", prose(l))).collect();
            format!(
                "<div class=\"alarm bad\" role=\"alert\"><p>✘ {title}</p><ul>{lines}</ul></div>"
            )
        }
    };
    let will: String = will.iter().map(|line| format!("<li>{}</li>", prose(line))).collect();
    let flying: String =
        in_flight.iter().map(|key| format!("<li><code>{}</code></li>", Text(key))).collect();
    let flying = match flying.is_empty() {
        true => flying,
        false => format!(
            "<h2>On its way already</h2><p>This cannot be called back:</p><ul class=\"keys\">{flying}</ul>"
        ),
    };
    let seen: String = bound
        .0
        .iter()
        .map(|(what, is)| format!("<div><dt>{}</dt><dd>{}</dd></div>", Text(what), Text(is)))
        .collect();
    let seen = match seen.is_empty() {
        true => seen,
        false => format!(
            "<h2>It is bound to</h2><p class=\"dim\">If any of this changes before you confirm, nothing is \
             done and you are asked again.</p><dl class=\"terms\">{seen}</dl>"
        ),
    };
    let choices: String = choices.iter().map(|choice| choice.field(form, beside)).collect();
    let marked = match beside.is_empty() {
        true => "",
        false => {
            "<div class=\"alarm bad\" role=\"alert\"><p>✘ Nothing was done: see what is marked below.</p></div>"
        }
    };
    format!(
        "<section class=\"narrow\"><h1>{}</h1>{}{}{marked}<h2>What will happen</h2><ul class=\"will\">{will}</ul>\
         {flying}{seen}<form class=\"confirm\" method=\"post\" action=\"/act\">{fields}{choices}{}\
         <p class=\"acts\"><button class=\"{}\">{}</button><a class=\"button\" href=\"{}\">Cancel</a></p>\
         </form></section>",
        Text(&title),
        alarm(
            "It has changed since you looked, so nothing was done. Confirm again if you still want it.",
            changed
        ),
        alarm("Nothing was done.", wrong),
        reason(deed.reason(), form, beside),
        match deed.weight() {
            "" => "main",
            weight => weight,
        },
        Text(&title),
        Text(deed.page()),
    )
}

/// What a field says of itself where it is wrong, and what stands below it.
fn mark(name: &str, hint: bool, beside: &[(String, String)]) -> (String, String) {
    let wrong = beside.iter().filter(|(field, _)| field == name);
    let wrong: String = wrong
        .map(|(_, detail)| format!("<p class=\"wrong\" id=\"e-{name}\">✘ {}</p>", Text(detail)))
        .collect();
    let described = match (hint, wrong.is_empty()) {
        (false, true) => return (String::new(), wrong),
        (true, true) => format!("{name}-hint"),
        (true, false) => format!("e-{name} {name}-hint"),
        (false, false) => format!("e-{name}"),
    };
    let invalid = if wrong.is_empty() { "" } else { " aria-invalid=\"true\"" };
    (format!(" aria-describedby=\"{described}\"{invalid}"), wrong)
}

fn reason(asked: Asked, form: &Form, beside: &[(String, String)]) -> String {
    let given = form.get("reason").map(String::as_str).unwrap_or_default();
    let (required, hint) = match asked {
        Asked::Must => (" required", "It stands in the audit, with your name."),
        Asked::May => ("", "Not needed, but it stands in the audit, with your name."),
        Asked::Not => return "<p class=\"dim\">It stands in the audit, with your name.</p>".into(),
    };
    let (marked, wrong) = mark("reason", true, beside);
    format!(
        "<label for=\"reason\">Reason</label><textarea id=\"reason\" name=\"reason\" rows=\"3\" \
         maxlength=\"1000\"{marked}{required}>{}</textarea>{wrong}\
         <p id=\"reason-hint\" class=\"dim\">{hint}</p>",
        Text(given)
    )
}

impl Choice {
    /// Its field's name.
    fn name(&self) -> &'static str {
        match self {
            Choice::Box { name, .. } | Choice::One { name, .. } | Choice::Line { name, .. } => name,
            Choice::Until => "until",
        }
    }

    fn field(&self, form: &Form, beside: &[(String, String)]) -> String {
        let given = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        match self {
            Choice::Box { name, label } => {
                let ticked = if given(name).is_empty() { "" } else { " checked" };
                format!(
                    "<label class=\"tick\"><input type=\"checkbox\" name=\"{name}\" value=\"yes\"{ticked}> \
                     {label}</label>"
                )
            }
            Choice::One { name, label, of } => {
                let options: String = of
                    .iter()
                    .map(|(value, word)| {
                        let chosen = if given(name) == *value { " selected" } else { "" };
                        let (value, word) = (Text(value), Text(word));
                        format!("<option value=\"{value}\"{chosen}>{word}</option>")
                    })
                    .collect();
                let (marked, wrong) = mark(name, false, beside);
                format!(
                    "<label for=\"f-{name}\">{label}</label>\
                     <select id=\"f-{name}\" name=\"{name}\"{marked}>{options}</select>{wrong}"
                )
            }
            Choice::Line { name, label, hint, required } => {
                let (marked, wrong) = mark(name, true, beside);
                let required = if *required { " required" } else { "" };
                format!(
                    "<label for=\"f-{name}\">{label}</label><input id=\"f-{name}\" name=\"{name}\" \
                     value=\"{}\" autocomplete=\"off\" spellcheck=\"false\"{marked}{required}>{wrong}\
                     <p id=\"{name}-hint\" class=\"dim\">{hint}</p>",
                    Text(given(name))
                )
            }
            Choice::Until => {
                let (marked, wrong) = mark("until", true, beside);
                format!(
                    "<label for=\"until\">Until, in UTC</label><input id=\"until\" \
                     type=\"datetime-local\" name=\"until\" value=\"{}\"{marked}>{wrong}\
                     <p id=\"until-hint\" class=\"dim\">Empty: until somebody lifts it.</p>",
                    Text(given("until"))
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_since_is_told_thing_by_thing() {
        let bound = |all: &[(&str, &str)]| {
            Bound(all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
        };
        let seen = bound(&[("digest", "sha256:1"), ("beta", "Soaking"), ("attempt", "1")]);
        let now = bound(&[("digest", "sha256:1"), ("beta", "Failed"), ("rest", "Held")]);
        assert_eq!(Bound::read(&seen.write()), seen);
        assert_eq!(Bound::read(&seen.write().replace('\n', "\r\n")), seen);
        assert_eq!(seen.changed_since(&seen), Vec::<String>::new());
        assert_eq!(
            now.changed_since(&seen),
            [
                "beta was Soaking, and is Failed",
                "rest is Held, and was not shown",
                "attempt was 1, and is no more"
            ]
        );
    }
}
