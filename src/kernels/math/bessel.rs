//! Modified Bessel functions of the first kind and the complementary error function, scaled so that they do not overflow:
//! power series near zero, and asymptotic series where these are exact.

use std::f64::consts::{FRAC_2_SQRT_PI, PI};

/// What further terms of a series are left out below.
const NOTHING: f64 = 1e-17;

/// `exp(-|x|) I0(x)`
pub fn bessel_0(x: f64) -> f64 {
    bessel(x.abs(), 0.0)
}

/// `exp(-|x|) I1(x)`
pub fn bessel_1(x: f64) -> f64 {
    bessel(x.abs(), 1.0).copysign(x)
}

/// The scaled function of an order, 0 or 1, for `x >= 0`.
fn bessel(x: f64, order: f64) -> f64 {
    if x < 25.0 {
        // (x / 2)^order times the sum of (x^2 / 4)^k / (k! (k + order)!)
        let z = x * x / 4.0;
        let (mut term, mut sum, mut k) = (1.0, 1.0, 1.0);
        while term > sum * NOTHING {
            term *= z / (k * (k + order));
            sum += term;
            k += 1.0;
        }
        let head = if order == 0.0 { 1.0 } else { x / 2.0 };
        return head * sum * libm::exp(-x);
    }
    let (mut term, mut sum, mut k) = (1.0f64, 1.0, 1.0);
    while term.abs() > NOTHING {
        let odd = 2.0 * k - 1.0;
        term *= (odd * odd - 4.0 * order) / (8.0 * k * x);
        sum += term;
        k += 1.0;
    }
    sum / (2.0 * PI).sqrt() / x.sqrt()
}

/// `exp(x^2) erfc(x)`
pub fn scaled_erfc(x: f64) -> f64 {
    if x < -27.0 {
        return f64::INFINITY;
    }
    if x < 10.0 {
        // The rounding of the square would count as often as the square is large.
        let square = x * x;
        let rest = x.mul_add(x, -square);
        return libm::exp(square) * (1.0 + rest) * libm::erfc(x);
    }
    let (mut term, mut sum, mut odd) = (1.0f64, 1.0, 1.0);
    while term.abs() > NOTHING {
        term *= -odd / (2.0 * x * x);
        sum += term;
        odd += 2.0;
    }
    sum / x * (FRAC_2_SQRT_PI / 2.0)
}
