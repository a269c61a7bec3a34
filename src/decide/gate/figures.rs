//! Numbers in the sentences of a verdict, and those behind it.

use crate::decide::fact::Figure;

/// A figure under its name.
pub fn figure(name: &str, value: f64) -> Figure {
    Figure { name: name.into(), value }
}

/// Writes numbers in a gate's unit.
#[derive(Debug, Clone, Copy)]
pub struct Figures<'a> {
    unit: Option<&'a str>,
}

impl<'a> Figures<'a> {
    /// Numbers in `unit`, which is only shown: nothing is converted.
    pub fn new(unit: Option<&'a str>) -> Self {
        Self { unit: unit.filter(|u| !u.is_empty()) }
    }

    /// The numbers with as few digits (from four significant ones) as still tell them apart, so that
    /// no sentence says `0.4 > 0.4`.
    pub fn tell<const N: usize>(self, numbers: [f64; N]) -> [String; N] {
        let apart = |texts: &[String; N]| {
            (0..N).all(|i| (0..i).all(|j| numbers[i] == numbers[j] || texts[i] != texts[j]))
        };
        let mut texts = numbers.map(|n| significant(n, 4));
        for digits in 5..=17 {
            if apart(&texts) {
                break;
            }
            texts = numbers.map(|n| significant(n, digits));
        }
        texts.map(|text| self.with_unit(text))
    }

    fn with_unit(self, number: String) -> String {
        match self.unit {
            None => number,
            Some("%") => number + "%",
            Some(unit) => format!("{number} {unit}"),
        }
    }
}

/// `value` rounded to so many significant digits, without trailing zeros.
fn significant(value: f64, digits: usize) -> String {
    if !value.is_finite() || value == 0.0 {
        // Zero of either sign is nought to people.
        return if value == 0.0 { "0".into() } else { value.to_string() };
    }
    // Most numbers have no more digits than that: to find so is much cheaper than to round.
    if (1e-4..1e15).contains(&value.abs()) {
        let text = value.to_string();
        let mut figures = text.trim_start_matches(['-', '0', '.']).trim_end_matches('0').bytes();
        if figures.by_ref().filter(u8::is_ascii_digit).count() <= digits {
            return text;
        }
    }
    // Rounded in decimal and parsed again: a power of ten times a float would round twice.
    let rounded: f64 = format!("{value:.*e}", digits - 1).parse().unwrap_or(value);
    if (1e-4..1e15).contains(&rounded.abs()) { rounded.to_string() } else { format!("{rounded:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_digits_but_enough_to_tell_apart() {
        let plain = Figures::new(None);
        assert_eq!(plain.tell([0.41237, 0.4]), ["0.4124", "0.4"]);
        assert_eq!(plain.tell([0.400_000_1, 0.4]), ["0.4000001", "0.4"]);
        assert_eq!(plain.tell([0.4, 0.4]), ["0.4", "0.4"]);
        assert_eq!(plain.tell([12_345_678.0, 1e-7]), ["12350000", "1e-7"]);
        assert_eq!(plain.tell([f64::INFINITY, -0.0]), ["inf", "0"]);
    }

    #[test]
    fn what_is_short_as_it_is_is_rounded_to_itself() {
        let rounded = |value: f64, digits: usize| -> String {
            let rounded: f64 = format!("{value:.*e}", digits - 1).parse().unwrap();
            rounded.to_string()
        };
        for value in [0.18, 0.999, 120.0, -2.5, 1_500.0, 10_000.0, 0.000_1, 99_999.0, 0.1 + 0.2] {
            for digits in 1..=17 {
                assert_eq!(significant(value, digits), rounded(value, digits), "{value} {digits}");
            }
        }
    }

    #[test]
    fn the_unit_is_shown_and_converts_nothing() {
        assert_eq!(Figures::new(Some("ms")).tell([412.0]), ["412 ms"]);
        assert_eq!(Figures::new(Some("%")).tell([99.1]), ["99.1%"]);
        assert_eq!(Figures::new(Some("")).tell([1.0]), ["1"]);
    }
}
