//! The normal distribution's tail, to the precision of a double.

use std::f64::consts::{PI, SQRT_2};

/// P(Z > z) for a standard normal Z.
///
/// Near the middle by the series erf(x) = 2/sqrt(pi) exp(-x^2) sum 2^n x^(2n+1) / (2n+1)!!, whose terms
/// all have one sign; further out by the continued fraction of the complementary error function
/// (Abramowitz and Stegun, 7.1.6 and 7.1.14).
pub fn upper_tail(z: f64) -> f64 {
    if z.is_nan() {
        return z;
    }
    let x = z.abs() / SQRT_2;
    let tail = if x < 2.0 { (1.0 - erf_series(x)) / 2.0 } else { erfc_fraction(x) / 2.0 };
    if z >= 0.0 { tail } else { 1.0 - tail }
}

/// The z with P(Z > z) = `tail`, for a tail between 0 and 1/2.
pub fn quantile_of_upper_tail(tail: f64) -> f64 {
    // The tail falls from 1/2 to nothing a double can hold over this range; halving it 100 times is
    // exact to the last bit, and asks for no derivative.
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if upper_tail(middle) > tail { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

fn erf_series(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    let mut odd = 1.0;
    while term > sum * f64::EPSILON / 4.0 {
        odd += 2.0;
        term *= 2.0 * x * x / odd;
        sum += term;
    }
    2.0 / PI.sqrt() * (-x * x).exp() * sum
}

fn erfc_fraction(x: f64) -> f64 {
    // 1/(x + (1/2)/(x + (2/2)/(x + (3/2)/(x + ...)))), from so deep that x = 2 is exact.
    let fraction = (1..=120).rev().fold(x, |below, n| x + f64::from(n) / 2.0 / below);
    (-x * x).exp() / PI.sqrt() / fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference values of SciPy's `norm.sf`.
    const TAILS: [(f64, f64); 8] = [
        (0.0, 0.5),
        (0.5, 0.308_537_538_725_986_9),
        (1.0, 0.158_655_253_931_457_07),
        (1.959_963_984_540_054, 0.025),
        (2.8, 0.002_555_130_330_427_932_6),
        (3.0, 0.001_349_898_031_630_094_6),
        (6.0, 9.865_876_450_376_946e-10),
        (20.0, 2.753_624_118_606_233_7e-89),
    ];

    #[test]
    fn tails_and_quantiles_are_each_others_inverse() {
        for (z, tail) in TAILS {
            assert!((upper_tail(z) / tail - 1.0).abs() < 1e-12, "{z}: {}", upper_tail(z));
            assert!((upper_tail(-z) - (1.0 - tail)).abs() < 1e-15, "{z}");
            assert!((quantile_of_upper_tail(tail) - z).abs() < 1e-12, "{tail}");
        }
    }
}
