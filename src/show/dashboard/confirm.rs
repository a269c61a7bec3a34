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
    /// What changed since it was looked at.
    pub changed: Vec<String>,
    /// Makes a repeat recognisable.
    pub key: String,
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
        of: Vec<(&'static str, &'static str)>,
    },
    /// An instant to come, in UTC; none is for good.
    Until,
}

/// The page, with what was filled in before.
pub fn page(question: &Question, csrf: &str, form: &Form) -> String {
    let Question { deed, will, in_flight, bound, choices, wrong, changed, key } = question;
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
    let choices: String = choices.iter().map(|choice| choice.field(form)).collect();
    format!(
        "<section class=\"narrow\"><h1>{}</h1>{}{}<h2>What will happen</h2><ul class=\"will\">{will}</ul>\
         {flying}{seen}<form class=\"confirm\" method=\"post\" action=\"/act\">{fields}{choices}{}\
         <p class=\"acts\"><button class=\"{}\">{}</button><a class=\"button\" href=\"{}\">Cancel</a></p>\
         </form></section>",
        Text(&title),
        alarm(
            "It has changed since you looked, so nothing was done. Confirm again if you still want it.",
            changed
        ),
        alarm("Nothing was done.", wrong),
        reason(deed.reason(), form),
        match deed.weight() {
            "" => "main",
            weight => weight,
        },
        Text(&title),
        Text(deed.page()),
    )
}

fn reason(asked: Asked, form: &Form) -> String {
    let given = form.get("reason").map(String::as_str).unwrap_or_default();
    let (required, hint) = match asked {
        Asked::Must => (" required", "It stands in the audit, with your name."),
        Asked::May => ("", "Not needed, but it stands in the audit, with your name."),
        Asked::Not => return "<p class=\"dim\">It stands in the audit, with your name.</p>".into(),
    };
    format!(
        "<label for=\"reason\">Reason</label><textarea id=\"reason\" name=\"reason\" rows=\"3\" \
         maxlength=\"1000\" aria-describedby=\"reason-hint\"{required}>{}</textarea>\
         <p id=\"reason-hint\" class=\"dim\">{hint}</p>",
        Text(given)
    )
}

impl Choice {
    fn field(&self, form: &Form) -> String {
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
                        format!("<option value=\"{value}\"{chosen}>{word}</option>")
                    })
                    .collect();
                format!(
                    "<label for=\"f-{name}\">{label}</label>\
                     <select id=\"f-{name}\" name=\"{name}\">{options}</select>"
                )
            }
            Choice::Until => format!(
                "<label for=\"until\">Until, in UTC</label><input id=\"until\" type=\"datetime-local\" \
                 name=\"until\" value=\"{}\" aria-describedby=\"until-hint\">\
                 <p id=\"until-hint\" class=\"dim\">Empty: until somebody lifts it.</p>",
                Text(given("until"))
            ),
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
