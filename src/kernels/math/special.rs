//! Functions of float64 numbers one by one, by the crate `libm`, which gives the same bits on every machine.

use super::incomplete;
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
    /// Logarithm of the absolute value of the gamma function.
    lgamma = libm::lgamma;
}

lanes_of_two! {
    /// Hurwitz's zeta function of `x` and `other`.
    zeta = hurwitz;
    /// Lower regularized incomplete gamma function of `x` and `other`.
    igamma = incomplete::lower;
    /// Upper regularized incomplete gamma function of `x` and `other`.
    igammac = incomplete::upper;
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

/// What the sum of Euler and Maclaurin has of the whole exponent `S`: [`SERIES`] times `S (S + 1) ... (S + 2n - 2)`.
const fn series_of<const S: usize>() -> [f64; 8] {
    let (mut series, mut factor, mut n) = (SERIES, S as f64, 0);
    while n < 8 {
        series[n] *= factor;
        let k = (S + 2 * n) as f64;
        factor *= (k + 1.0) * (k + 2.0);
        n += 1;
    }
    series
}

/// The exponent as a number, where it is one that [`of_whole`] is meant for.
#[inline(always)]
pub fn whole(s: f64) -> usize {
    if s == 2.0 || s == 3.0 || s == 4.0 || s == 5.0 { s as usize } else { 0 }
}

/// Evaluates the first expression with the constant `$S` for an exponent that [`whole`] gave, else the second.
macro_rules! for_exponent {
    ($s:expr, $S:ident => $of_whole:expr, $of_any:expr) => {
        $crate::kernels::math::for_exponent!(@arms $s, $S => $of_whole, $of_any, 2 3 4 5)
    };
    (@arms $s:expr, $S:ident => $of_whole:expr, $of_any:expr, $($exponent:literal)*) => {
        match $s {
            $($exponent => {
                const $S: usize = $exponent;
                $of_whole
            })*
            _ => $of_any,
        }
    };
}
pub(in crate::kernels) use for_exponent;

/// Hurwitz's zeta function of a small whole exponent and `q > 0`: so many terms as one fraction, and the sum of Euler and
/// Maclaurin for the rest. Terms that `q` has no need of are not taken.
#[inline(always)]
pub fn of_whole<const S: usize, const TERMS: usize>(q: f64) -> f64 {
    let power = |w: f64| (1..S).fold(w, |p, _| p * w);
    let (mut w, mut n, mut d) = (q, 0.0, 1.0);
    for _ in 0..TERMS {
        let is_low = w < TERMS as f64;
        let p = power(w);
        (n, d) = if is_low { (n * p + d, d * p) } else { (n, d) };
        w = if is_low { w + 1.0 } else { w };
    }
    let inverse = 1.0 / w;
    let z = inverse * inverse;
    let series = const { series_of::<S>() }.iter().rev().fold(0.0, |sum: f64, &c| sum.mul_add(z, c));
    let rest = inverse.mul_add(inverse.mul_add(series, 0.5), 1.0 / (S - 1) as f64);
    n / d + (1..S).fold(rest, |p, _| p * inverse)
}

/// [`of_whole`] with as many terms as float64 asks for.
#[inline(always)]
pub fn zeta_of<const S: usize>(q: f64) -> f64 {
    // Not an expression in S: such are no constants yet.
    match S {
        2 => of_whole::<S, 14>(q),
        3 => of_whole::<S, 16>(q),
        4 => of_whole::<S, 18>(q),
        _ => of_whole::<S, 20>(q),
    }
}

/// [`hurwitz`] for `s > 1` and `q > 0`: terms one by one until the sum of Euler and Maclaurin is exact for the rest.
fn hurwitz_of_positive(s: f64, q: f64) -> f64 {
    for_exponent!(whole(s), S => zeta_of::<S>(q), hurwitz_by_terms(s, q))
}

/// As above, for any exponent.
fn hurwitz_by_terms(s: f64, q: f64) -> f64 {
    if q == f64::INFINITY {
        return 0.0;
    }
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
