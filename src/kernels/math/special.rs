//! Functions of float64 numbers one by one: those that no vector kernel is written for, by the crate `libm`, which gives
//! the same bits on every machine, and special functions.

use std::f64::consts::{FRAC_2_SQRT_PI, PI};

use super::{bessel, incomplete};
use crate::kernels::vector::Vector;

macro_rules! lanes {
    ($($(#[doc = $doc:literal])* $name:ident = $f:expr;)*) => {$(
        $(#[doc = $doc])*
        #[inline(always)]
        pub fn $name<const N: usize>(x: Vector<f64, N>) -> Vector<f64, N> {
            x.map($f)
        }
    )*};
}

macro_rules! lanes_of_two {
    ($($(#[doc = $doc:literal])* $name:ident = $f:expr;)*) => {$(
        $(#[doc = $doc])*
        #[inline(always)]
        pub fn $name<const N: usize>(x: Vector<f64, N>, other: Vector<f64, N>) -> Vector<f64, N> {
            x.zip(other, $f)
        }
    )*};
}

lanes! {
    /// Tangent of an angle in radians.
    tan = libm::tan;
    /// Inverse sine.
    asin = libm::asin;
    /// Inverse cosine.
    acos = libm::acos;
    /// Inverse tangent.
    atan = libm::atan;
    /// Error function.
    erf = libm::erf;
    /// `1 - erf x`, exact for large `x`.
    erfc = libm::erfc;
    /// Inverse of the error function.
    erfinv = inverse_erf;
    /// Logarithm of the absolute value of the gamma function.
    lgamma = libm::lgamma;
    /// Derivative of the logarithm of the gamma function.
    digamma = psi;
    /// `e^(x^2) (1 - erf x)`.
    erfcx = bessel::scaled_erfc;
    /// Modified Bessel function of the first kind of order 0, times `e^-|x|`.
    i0e = bessel::bessel_0;
    /// Modified Bessel function of the first kind of order 1, times `e^-|x|`.
    i1e = bessel::bessel_1;
}

lanes_of_two! {
    /// Angle of the point `(other, x)`.
    atan2 = libm::atan2;
    /// `sqrt(x^2 + other^2)` without overflow.
    hypot = libm::hypot;
    /// Hurwitz's zeta function of `x` and `other`.
    zeta = hurwitz;
    /// Lower regularized incomplete gamma function of `x` and `other`.
    igamma = incomplete::lower;
    /// Upper regularized incomplete gamma function of `x` and `other`.
    igammac = incomplete::upper;
}

/// The inverse of `erf`: Winitzki's approximation (2008) and three steps of Halley's method, each of which triples the
/// right digits.
fn inverse_erf(x: f64) -> f64 {
    let a = x.abs();
    if a.is_nan() || a >= 1.0 {
        return if a == 1.0 { f64::INFINITY.copysign(x) } else { f64::NAN };
    }
    if a < 1e-9 {
        return x / FRAC_2_SQRT_PI;
    }
    const SHAPE: f64 = 0.147;
    let log = libm::log1p(-a * a);
    let half = 2.0 / (PI * SHAPE) + 0.5 * log;
    let mut y = ((half * half - log / SHAPE).sqrt() - half).sqrt();
    for _ in 0..3 {
        // The difference of two numbers that are known to all digits.
        let off = if a < 0.5 { libm::erf(y) - a } else { (1.0 - a) - libm::erfc(y) };
        let step = off / (FRAC_2_SQRT_PI * libm::exp(-y * y));
        y -= step / (1.0 + y * step);
    }
    y.copysign(x)
}

/// The digamma function: the recurrence up to 10, then Stirling's series; reflected for negative numbers.
fn psi(x: f64) -> f64 {
    if x == 0.0 {
        return f64::INFINITY.copysign(-x);
    }
    if x < 0.0 {
        let off = x - x.round();
        return if off == 0.0 || x.is_infinite() { f64::NAN } else { psi(1.0 - x) - PI / libm::tan(PI * off) };
    }
    if x == f64::INFINITY {
        return x;
    }
    /// `B_2n / 2n`
    const SERIES: [f64; 7] =
        [1.0 / 12.0, -1.0 / 120.0, 1.0 / 252.0, -1.0 / 240.0, 1.0 / 132.0, -691.0 / 32760.0, 1.0 / 12.0];
    let (mut x, mut sum) = (x, 0.0);
    while x < 10.0 {
        sum += 1.0 / x;
        x += 1.0;
    }
    let z = 1.0 / (x * x);
    let series = SERIES.iter().rev().fold(0.0, |s, c| (s + c) * z);
    libm::log(x) - 0.5 / x - series - sum
}

/// The sum of `(q + k)^-s` over `k >= 0`: infinite at its poles, NaN for `s < 1` and for a power of negative numbers that
/// is not real.
fn hurwitz(s: f64, q: f64) -> f64 {
    if s.is_nan() || q.is_nan() || s < 1.0 {
        return f64::NAN;
    }
    if s == 1.0 || (q <= 0.0 && q == q.floor()) {
        return f64::INFINITY;
    }
    if q > 0.0 {
        return hurwitz_of_positive(s, q);
    }
    if s != s.floor() {
        return f64::NAN;
    }
    // The sum over all whole numbers, less what lies to the left of `q`.
    let sign = if s % 2.0 == 0.0 { 1.0 } else { -1.0 };
    let left = hurwitz_of_positive(s, q.ceil() - q) - hurwitz_of_positive(s, 1.0 - q);
    hurwitz_of_positive(s, q - q.floor()) + sign * left
}

/// [`hurwitz`] for `s > 1` and `q > 0`: terms one by one until the sum of Euler and Maclaurin is exact for the rest.
fn hurwitz_of_positive(s: f64, q: f64) -> f64 {
    if q == f64::INFINITY {
        return 0.0;
    }
    /// `B_2n / (2n)!`
    const SERIES: [f64; 8] = [
        1.0 / 12.0,
        -1.0 / 720.0,
        1.0 / 30240.0,
        -1.0 / 1209600.0,
        1.0 / 47900160.0,
        -691.0 / 1307674368000.0,
        1.0 / 74724249600.0,
        -3617.0 / 10670622842880000.0,
    ];
    let (mut w, mut sum) = (q, 0.0);
    while w < 10.0 + 2.0 * s {
        let term = libm::pow(w, -s);
        sum += term;
        if term <= sum * 1e-18 {
            return sum;
        }
        w += 1.0;
    }
    let power = libm::pow(w, -s);
    let mut tail = w / (s - 1.0) + 0.5;
    let mut factor = s / w;
    for (n, c) in SERIES.iter().enumerate() {
        tail += c * factor;
        let k = s + 2.0 * n as f64;
        factor *= (k + 1.0) * (k + 2.0) / (w * w);
    }
    sum + power * tail
}
