//! The conditions of Argo Rollouts, where they compare the result with numbers.
//!
//! A condition is read for the three things that a measurement can be: a number, no number at all (NaN), and nothing.
//! Of the first it gives a set, of the others an answer. Whatever is more than that (fields of an answer, text,
//! arithmetic, functions over series) is refused by its name: what it means is not for an import to guess.

use super::reals::Reals;

/// The longest condition that is read, in bytes.
const LONGEST: usize = 1_000;
/// How deep its parentheses may go.
const DEEPEST: usize = 32;

/// What both conditions of a metric come to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Judged {
    /// The least value that passes.
    pub min: Option<f64>,
    /// The greatest value that passes.
    pub max: Option<f64>,
    /// What becomes of no answer.
    pub nothing: Phase,
    /// What becomes of NaN.
    pub nan: Phase,
    /// Whether a condition says by itself what becomes of NaN.
    pub names_nan: bool,
    /// Whether there are values that neither succeed nor fail.
    pub undecided: bool,
}

/// What a measurement is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It succeeded.
    Successful,
    /// It failed.
    Failed,
    /// Neither.
    Inconclusive,
    /// It could not be told.
    Error,
}

/// Reads both conditions of a metric. A measurement succeeds where the one holds and the other does not; with one
/// of them alone, that one decides.
///
/// # Errors
/// What is not understood, as in ``it does arithmetic (`*`)``, and which field says so.
pub(super) fn judge(
    success: Option<&str>,
    failure: Option<&str>,
) -> Result<Judged, (&'static str, String)> {
    let read = |text: Option<&str>, field| {
        text.map(|text| parse(text).map_err(|why| (field, why))).transpose()
    };
    let (success, failure) =
        (read(success, "successCondition")?, read(failure, "failureCondition")?);
    let field = if success.is_some() { "successCondition" } else { "failureCondition" };
    let names_nan = [&success, &failure].into_iter().flatten().any(|c| c.names_nan);
    let passing = match (&success, &failure) {
        (Some(success), Some(failure)) => success.numbers.and(&failure.numbers.complement()),
        (Some(success), None) => success.numbers.clone(),
        (None, Some(failure)) => failure.numbers.complement(),
        (None, None) => {
            return Err(("name", "it has no condition: whatever it measures succeeds".into()));
        }
    };
    let undecided = match (&success, &failure) {
        (Some(success), Some(failure)) => {
            !success.numbers.or(&failure.numbers).complement().is_empty()
        }
        _ => false,
    };
    if passing.is_empty() {
        return Err((field, "no value succeeds".into()));
    }
    let Some((low, high)) = passing.interval() else {
        return Err((field, "the values that succeed are not one range".into()));
    };
    if (low, high) == (f64::NEG_INFINITY, f64::INFINITY) {
        return Err((field, "every value succeeds".into()));
    }
    if low.is_infinite() && low > 0.0 || high.is_infinite() && high < 0.0 {
        return Err((field, "only an infinity succeeds".into()));
    }
    let answer =
        |of: fn(&Condition) -> Answer| phase(success.as_ref().map(of), failure.as_ref().map(of));
    Ok(Judged {
        min: low.is_finite().then_some(low),
        max: high.is_finite().then_some(high),
        nothing: answer(|condition| condition.nothing),
        nan: answer(|condition| Answer::of(condition.nan)),
        names_nan,
        undecided,
    })
}

fn phase(success: Option<Answer>, failure: Option<Answer>) -> Phase {
    match (success, failure) {
        (Some(Answer::Error), _) | (_, Some(Answer::Error)) => Phase::Error,
        (_, Some(Answer::True)) | (Some(Answer::False), None) => Phase::Failed,
        (Some(Answer::True), _) | (None, _) => Phase::Successful,
        (Some(Answer::False), Some(Answer::False)) => Phase::Inconclusive,
    }
}

/// What a condition says of what is not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    True,
    False,
    /// It cannot be evaluated: there is no `result[0]`.
    Error,
}

impl Answer {
    fn of(yes: bool) -> Self {
        if yes { Answer::True } else { Answer::False }
    }

    fn and(self, other: Self) -> Self {
        if self == Answer::True { other } else { self }
    }

    fn or(self, other: Self) -> Self {
        if self == Answer::False { other } else { self }
    }

    fn not(self) -> Self {
        match self {
            Answer::True => Answer::False,
            Answer::False => Answer::True,
            Answer::Error => Answer::Error,
        }
    }
}

/// What a condition says of everything that a measurement can be.
#[derive(Debug, Clone, PartialEq)]
struct Condition {
    /// The numbers for which it holds.
    numbers: Reals,
    /// Whether it holds for NaN.
    nan: bool,
    /// Whether it holds where nothing was answered.
    nothing: Answer,
    names_nan: bool,
}

impl Condition {
    fn always(yes: bool) -> Self {
        Self { numbers: Reals::whether(yes), nan: yes, nothing: Answer::of(yes), names_nan: false }
    }

    fn and(self, other: Self) -> Self {
        Self {
            numbers: self.numbers.and(&other.numbers),
            nan: self.nan && other.nan,
            nothing: self.nothing.and(other.nothing),
            names_nan: self.names_nan || other.names_nan,
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            numbers: self.numbers.or(&other.numbers),
            nan: self.nan || other.nan,
            nothing: self.nothing.or(other.nothing),
            names_nan: self.names_nan || other.names_nan,
        }
    }

    fn not(self) -> Self {
        Self {
            numbers: self.numbers.complement(),
            nan: !self.nan,
            nothing: self.nothing.not(),
            names_nan: self.names_nan,
        }
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    Number(f64),
    /// `result`, `result[0]`, `asFloat(result)`
    Result,
    /// `default(result, 0)`
    Defaulted(f64),
    /// `len(result)`
    Length,
}

enum Term {
    Bool(Condition),
    Value(Value),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'a> {
    Number(f64),
    Word(&'a str),
    Mark(&'a str),
    Text(&'a str),
}

fn parse(text: &str) -> Result<Condition, String> {
    if text.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
    let term = parser.or()?;
    match parser.next() {
        Some(token) => Err(stranger(token)),
        None => condition(term),
    }
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, String> {
    const MARKS: [&str; 30] = [
        "&&", "||", "==", "!=", "<=", ">=", "??", "?.", "..", "**", "(", ")", "[", "]", ",", "<",
        ">", "!", "-", "+", "*", "/", "%", ".", "#", "?", ":", "{", "}", ";",
    ];
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        let (token, length) = if c.is_ascii_digit() {
            let mut end = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && !"._".contains(c))
                .unwrap_or(rest.len());
            // The sign of an exponent belongs to the number.
            if rest[..end].ends_with(['e', 'E']) && rest[end..].starts_with(['+', '-']) {
                let digits = &rest[end + 1..];
                end += 1 + digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            }
            let written = &rest[..end];
            let number = super::go::number(&written.replace('_', ""));
            (Token::Number(number.ok_or_else(|| format!("`{written}` is no number"))?), end)
        } else if c.is_alphabetic() || c == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            (Token::Word(&rest[..end]), end)
        } else if "\"'`".contains(c) {
            let end = rest[1..].find(c).ok_or("a quote in it is not closed")? + 2;
            (Token::Text(&rest[..end]), end)
        } else if let Some(mark) = MARKS.iter().find(|mark| rest.starts_with(**mark)) {
            (Token::Mark(mark), mark.len())
        } else {
            return Err(format!("`{c}` is not understood"));
        };
        found.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(found)
}

fn stranger(token: Token<'_>) -> String {
    match token {
        Token::Mark(mark @ ("+" | "-" | "*" | "/" | "%" | "**")) => {
            format!("it does arithmetic (`{mark}`)")
        }
        Token::Mark("." | "?.") => "it takes a field of the answer".into(),
        Token::Text(text) => format!("it compares with text ({text})"),
        Token::Number(number) => format!("`{number}` stands where nothing should"),
        Token::Word(word) | Token::Mark(word) => format!("`{word}` is not understood there"),
    }
}

fn condition(term: Term) -> Result<Condition, String> {
    match term {
        Term::Bool(condition) => Ok(condition),
        Term::Value(_) => Err("a value stands where something true or false should".into()),
    }
}

fn value(term: Term) -> Result<Value, String> {
    match term {
        Term::Value(value) => Ok(value),
        Term::Bool(_) => Err("something true or false stands where a value should".into()),
    }
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).copied()
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn takes(&mut self, mark: &str) -> bool {
        let there = self.peek() == Some(Token::Mark(mark));
        self.at += usize::from(there);
        there
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let there = self.peek() == Some(Token::Word(word));
        self.at += usize::from(there);
        there
    }

    fn needs(&mut self, mark: &str) -> Result<(), String> {
        if self.takes(mark) {
            return Ok(());
        }
        Err(match self.peek() {
            Some(token) => stranger(token),
            None => format!("`{mark}` is missing at its end"),
        })
    }

    fn or(&mut self) -> Result<Term, String> {
        let mut left = self.and()?;
        while self.takes("||") || self.takes_word("or") {
            let right = self.and()?;
            left = Term::Bool(condition(left)?.or(condition(right)?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Term, String> {
        let mut left = self.compare()?;
        while self.takes("&&") || self.takes_word("and") {
            let right = self.compare()?;
            left = Term::Bool(condition(left)?.and(condition(right)?));
        }
        Ok(left)
    }

    fn compare(&mut self) -> Result<Term, String> {
        let left = self.unary()?;
        let Some(Token::Mark(mark @ ("==" | "!=" | "<" | "<=" | ">" | ">="))) = self.peek() else {
            return Ok(left);
        };
        self.at += 1;
        let right = self.unary()?;
        compare(value(left)?, mark, value(right)?).map(Term::Bool)
    }

    fn unary(&mut self) -> Result<Term, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("it is nested deeper than {DEEPEST}"));
        }
        let term = if self.takes("!") || self.takes_word("not") {
            let inner = self.unary()?;
            Term::Bool(condition(inner)?.not())
        } else if self.takes("-") {
            match self.unary()? {
                Term::Value(Value::Number(number)) => Term::Value(Value::Number(-number)),
                Term::Value(_) | Term::Bool(_) => return Err("it does arithmetic (`-`)".into()),
            }
        } else {
            self.primary()?
        };
        self.depth -= 1;
        Ok(term)
    }

    fn primary(&mut self) -> Result<Term, String> {
        match self.next() {
            None => Err("it ends too early".into()),
            Some(Token::Number(number)) => Ok(Term::Value(Value::Number(number))),
            Some(Token::Mark("(")) => {
                let inner = self.or()?;
                self.needs(")")?;
                Ok(inner)
            }
            Some(Token::Word("true")) => Ok(Term::Bool(Condition::always(true))),
            Some(Token::Word("false")) => Ok(Term::Bool(Condition::always(false))),
            Some(Token::Word("result")) => self.result().map(Term::Value),
            Some(Token::Word(name)) if self.takes("(") => self.call(name),
            Some(Token::Word("nil")) => Err("it compares with nil: write isNil(result)".into()),
            Some(token) => Err(stranger(token)),
        }
    }

    /// What follows `result`.
    fn result(&mut self) -> Result<Value, String> {
        if self.takes("[") {
            match (self.next(), self.next()) {
                (Some(Token::Number(0.0)), Some(Token::Mark("]"))) => {}
                _ => {
                    return Err(
                        "it takes more of the answer than its first value, `result[0]`".into()
                    );
                }
            }
        }
        match self.peek() {
            Some(Token::Mark("." | "?.")) => {
                let field = self.tokens.get(self.at + 1);
                Err(match field {
                    Some(Token::Word(field)) => {
                        format!("it takes a field of the answer (`{field}`)")
                    }
                    _ => "it takes a field of the answer".into(),
                })
            }
            Some(Token::Mark("[")) => Err("it takes a part of the answer".into()),
            _ => Ok(Value::Result),
        }
    }

    /// A function's arguments and what it makes of them.
    fn call(&mut self, name: &str) -> Result<Term, String> {
        if !["len", "isNaN", "isInf", "isNil", "asFloat", "default"].contains(&name) {
            return Err(format!("it calls `{name}`"));
        }
        let of = value(self.or()?)?;
        let otherwise = match self.takes(",") {
            true => Some(value(self.or()?)?),
            false => None,
        };
        self.needs(")")?;
        let condition = |numbers, nan, nothing, names_nan| {
            Ok(Term::Bool(Condition { numbers, nan, nothing, names_nan }))
        };
        match (name, of, otherwise) {
            ("len", Value::Result, None) => Ok(Term::Value(Value::Length)),
            ("asFloat", Value::Result | Value::Defaulted(_), None) => Ok(Term::Value(of)),
            ("default", Value::Result, Some(Value::Number(number))) => {
                Ok(Term::Value(Value::Defaulted(number)))
            }
            ("isNaN", Value::Result, None) => condition(Reals::none(), true, Answer::Error, true),
            ("isInf", Value::Result, None) => {
                let infinities = Reals::between(f64::MIN, f64::MAX).complement();
                condition(infinities, false, Answer::Error, false)
            }
            ("isNil", Value::Result, None) => condition(Reals::none(), false, Answer::True, false),
            _ => Err(format!("it calls `{name}` with something else than the result")),
        }
    }
}

/// Both sides of a comparison; the result may stand on either.
fn compare(left: Value, mark: &str, right: Value) -> Result<Condition, String> {
    let (of, mark, with) = match (left, right) {
        (of, Value::Number(with)) => (of, mark, with),
        (Value::Number(with), of) => {
            let turned = match mark {
                "<" => ">",
                "<=" => ">=",
                ">" => "<",
                ">=" => "<=",
                same => same,
            };
            (of, turned, with)
        }
        _ => return Err("it compares two parts of the answer".into()),
    };
    let holding = match mark {
        "<" => Reals::from(with).complement(),
        "<=" => Reals::to(with),
        ">" => Reals::to(with).complement(),
        ">=" => Reals::from(with),
        "!=" => Reals::between(with, with).complement(),
        _ => Reals::between(with, with),
    };
    let holds = |number: f64| !holding.and(&Reals::between(number, number)).is_empty();
    let nan = mark == "!=";
    Ok(match of {
        Value::Number(number) => Condition::always(holds(number)),
        Value::Length => Condition {
            numbers: Reals::whether(holds(1.0)),
            nan: holds(1.0),
            nothing: Answer::of(holds(0.0)),
            names_nan: false,
        },
        Value::Result => {
            Condition { numbers: holding, nan, nothing: Answer::Error, names_nan: false }
        }
        Value::Defaulted(number) => {
            let nothing = Answer::of(holds(number));
            Condition { numbers: holding, nan, nothing, names_nan: false }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(success: &str) -> (Option<f64>, Option<f64>, Phase, Phase) {
        let judged = judge(Some(success), None).unwrap_or_else(|why| panic!("{success}: {why:?}"));
        (judged.min, judged.max, judged.nothing, judged.nan)
    }

    #[test]
    fn a_comparison_is_a_threshold() {
        use Phase::{Error, Failed, Successful};
        let above = Some(0.95_f64.next_up());
        for (text, expected) in [
            ("result[0] >= 0.95", (Some(0.95), None, Error, Failed)),
            ("result >= 0.95", (Some(0.95), None, Error, Failed)),
            ("0.95 <= result[0]", (Some(0.95), None, Error, Failed)),
            ("result[0] > 0.95", (above, None, Error, Failed)),
            ("!(result[0] <= 0.95)", (above, None, Error, Successful)),
            ("result[0] < 1", (None, Some(1.0_f64.next_down()), Error, Failed)),
            ("result[0] == 0", (Some(0.0), Some(0.0), Error, Failed)),
            (
                "result[0] >= -1.5e-3 && (result[0]) <= 1_000",
                (Some(-0.0015), Some(1000.0), Error, Failed),
            ),
            ("asFloat(result) >= 0.9", (Some(0.9), None, Error, Failed)),
            ("len(result) == 0 || result[0] >= 0.95", (Some(0.95), None, Successful, Failed)),
            ("len(result) > 0 && result[0] >= 0.95", (Some(0.95), None, Failed, Failed)),
            ("result[0] >= 0.95 || len(result) == 0", (Some(0.95), None, Error, Failed)),
            ("isNaN(result[0]) || result[0] >= 0.95", (Some(0.95), None, Error, Successful)),
            ("not isNaN(result[0]) and result[0] >= 0.95", (Some(0.95), None, Error, Failed)),
            ("default(result, 0) >= 0.95", (Some(0.95), None, Failed, Failed)),
            ("default(result[0], 1) >= 0.95", (Some(0.95), None, Successful, Failed)),
            ("isNil(result) || result < 5", (None, Some(5.0_f64.next_down()), Successful, Failed)),
            ("isInf(result[0]) == false || true", (None, None, Error, Error)),
        ] {
            if text.contains("isInf") {
                assert!(judge(Some(text), None).is_err());
                continue;
            }
            assert_eq!(bounds(text), expected, "{text}");
        }
    }

    #[test]
    fn both_conditions_are_put_together() {
        let both = judge(Some("result[0] >= 0.90"), Some("result[0] < 0.50")).unwrap();
        assert_eq!((both.min, both.max, both.undecided), (Some(0.9), None, true));
        let exact = judge(Some("result[0] >= 0.9"), Some("result[0] < 0.9")).unwrap();
        assert!(!exact.undecided && exact.nan == Phase::Inconclusive);
        let overlapping = judge(Some("result[0] >= 0.9"), Some("result[0] <= 0.95")).unwrap();
        assert_eq!(overlapping.min, Some(0.95_f64.next_up()));
        let failing = judge(None, Some("result[0] >= 10")).unwrap();
        assert_eq!((failing.max, failing.nan), (Some(10.0_f64.next_down()), Phase::Successful));
    }

    #[test]
    fn what_is_more_than_a_comparison_is_refused_by_its_name() {
        for (text, why) in [
            ("result == 'true'", "it compares with text ('true')"),
            ("result.successPercent >= 90", "it takes a field of the answer (`successPercent`)"),
            ("result[1] > 5", "it takes more of the answer than its first value, `result[0]`"),
            ("result[0] * 100 >= 95", "it does arithmetic (`*`)"),
            ("-result[0] >= 95", "it does arithmetic (`-`)"),
            ("all(result, # < 0.9)", "it calls `all`"),
            ("all(result, true)", "it calls `all`"),
            ("asInt(result) > 1", "it calls `asInt`"),
            ("result[0] >= 0.95 ? true : false", "`?` is not understood there"),
            ("result[0] >= 0.95 @", "`@` is not understood"),
            ("result[0] >= result[0]", "it compares two parts of the answer"),
            ("result[0] < 1 || result[0] > 2", "the values that succeed are not one range"),
            ("result[0] < 1 && result[0] > 2", "no value succeeds"),
            ("true", "every value succeeds"),
            ("result[0] > 0.9 > 0.8", "`>` is not understood there"),
            ("result[0]", "a value stands where something true or false should"),
            ("(result[0] > 1", "`)` is missing at its end"),
            ("result[0] >", "it ends too early"),
            ("result[0] > 1.2.3", "`1.2.3` is no number"),
            ("result == nil", "it compares with nil: write isNil(result)"),
            ("result[0] in [1]", "`in` is not understood there"),
            ("", "it ends too early"),
        ] {
            assert_eq!(
                judge(Some(text), None),
                Err(("successCondition", why.to_owned())),
                "{text}"
            );
        }
        assert!(judge(None, None).is_err());
        assert!(judge(Some(&"(".repeat(900)), None).is_err());
        assert!(judge(Some(&"!".repeat(900)), None).is_err());
        assert!(judge(Some(&" ".repeat(2_000)), None).is_err());
    }
}
