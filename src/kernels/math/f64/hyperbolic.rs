//! `sinh`, `cosh`, the inverses of all hyperbolic functions, and exponentials and logarithms to other bases: sums of two
//! parts put through [`exp_sum`] and [`log_in_two`].

use super::exponential::{exp_sum, half_expm1, quotient};
use super::logarithm::{edges, log_in_two};
use super::{V, all};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::{at_least, at_most, fast_two_sum, two_product};
use crate::kernels::vector::Vector;

/// `ln 2` to 53 bits, and the rest.
const LN2: (f64, f64) = (std::f64::consts::LN_2, 2.3190468138462996e-17);
/// `1 / ln 2` in two parts.
const LOG2_E: (f64, f64) = (std::f64::consts::LOG2_E, 2.0355273740931033e-17);
/// `1 / ln 10` in two parts.
const LOG10_E: (f64, f64) = (std::f64::consts::LOG10_E, 1.098319650216765e-17);

/// Below this size an odd function with slope 1 at zero is its argument.
const SMALL: f64 = 1e-9;
/// Above this, `e^-x` is nothing beside `e^x`.
const LARGE: f64 = 30.0;
/// Above this, 1 is nothing beside `x^2`.
const SQUARE_ALONE: f64 = 268_435_456.0;

/// `(e^a - 1) / 2` for `0 <= a <= LARGE`, and `e^a`, each in two parts.
#[inline(always)]
fn parts<const N: usize>(a: V<N>) -> (V<N>, V<N>, V<N>, V<N>) {
    let (t, t_low) = half_expm1(at_most(a, LARGE));
    let (t, t_low) = fast_two_sum(t, t_low);
    // Exact also where `2 t` is the larger: `d - 1` is then a number of no more bits than `d`.
    let (d, d_low) = fast_two_sum(all(1.0), t + t);
    (t, t_low, d, d_low + (t_low + t_low))
}

/// `e^a / 2` for `a > LARGE`.
#[inline(always)]
fn half_exp<const N: usize>(a: V<N>) -> V<N> {
    let (high, lost) = fast_two_sum(at_most(a, 720.0), all(-LN2.0));
    exp_sum(high, lost - all(LN2.1))
}

/// Hyperbolic sine: with `t = (e^|x| - 1) / 2`, `t + t / (1 + 2 t)`, and the sign of `x`.
#[inline(always)]
pub fn sinh<const N: usize>(x: V<N>) -> V<N> {
    let a = x.abs();
    let (t, t_low, d, d_low) = parts(a);
    let y = t + (quotient(t, t_low, d, d_low) + t_low);
    let y = Vector::blend(all(LARGE).lt(a), half_exp(a), y);
    Vector::blend(a.lt(all(SMALL)), a, y).zip(x, f64::copysign)
}

/// Hyperbolic cosine: half of `e^|x| + e^-|x|`.
#[inline(always)]
pub fn cosh<const N: usize>(x: V<N>) -> V<N> {
    let a = x.abs();
    let (_, _, d, d_low) = parts(a);
    let half = all::<N>(0.5);
    let y = half * d + (half / d + half * d_low);
    Vector::blend(all(LARGE).lt(a), half_exp(a), y)
}

/// `log(u + low)`, for `low` far below a finite `u`.
#[inline(always)]
fn log_of_sum<const N: usize>(u: V<N>, low: V<N>) -> V<N> {
    let (high, rest) = log_in_two(u);
    high + (rest + low / u)
}

/// `log(2 a)` for large `a`.
#[inline(always)]
fn log_of_twice<const N: usize>(a: V<N>) -> V<N> {
    let (high, rest) = log_in_two(a);
    let (sum, lost) = fast_two_sum(high, all(LN2.0));
    Vector::blend(a.lt(all(f64::INFINITY)), sum + (lost + (rest + all(LN2.1))), a)
}

/// `sqrt(b^2 + c)` in two parts, for `c` of 1 or -1.
#[inline(always)]
fn root<const N: usize>(b: V<N>, c: f64) -> (V<N>, V<N>) {
    let (square, square_low) = two_product(b, b);
    let sum = square + all(c);
    let of_c = sum - square;
    let lost = (square - (sum - of_c)) + (all::<N>(c) - of_c);
    let s = sum.sqrt();
    let rest = ((-s).mul_add(s, sum) + (lost + square_low)) / (s + s);
    (s, Vector::blend(s.eq(all(0.0)), all(0.0), rest))
}

/// Inverse hyperbolic sine: `log(|x| + sqrt(x^2 + 1))`, and the sign of `x`.
#[inline(always)]
pub fn asinh<const N: usize>(x: V<N>) -> V<N> {
    let a = x.abs();
    let b = at_most(a, SQUARE_ALONE);
    let (s, s_low) = root(b, 1.0);
    let (u, lost) = fast_two_sum(s, b);
    let y = log_of_sum(u, lost + s_low);
    let y = Vector::blend(all(SQUARE_ALONE).lt(a), log_of_twice(a), y);
    Vector::blend(a.lt(all(SMALL)), a, y).zip(x, f64::copysign)
}

/// Inverse hyperbolic cosine: `log(x + sqrt(x^2 - 1))`; NaN below 1.
#[inline(always)]
pub fn acosh<const N: usize>(x: V<N>) -> V<N> {
    let b = at_most(x, SQUARE_ALONE);
    let (s, s_low) = root(b, -1.0);
    let (u, lost) = fast_two_sum(b, s);
    let y = log_of_sum(u, lost + s_low);
    let y = Vector::blend(all(SQUARE_ALONE).lt(x), log_of_twice(x), y);
    Vector::blend(x.lt(all(1.0)), all(f64::NAN), y)
}

/// Inverse hyperbolic tangent: half of `log((1 + |x|) / (1 - |x|))`, and the sign of `x`; NaN beyond 1.
#[inline(always)]
pub fn atanh<const N: usize>(x: V<N>) -> V<N> {
    let a = x.abs();
    let one = all(1.0);
    let (n, n_low) = fast_two_sum(one, a);
    let (d, d_low) = fast_two_sum(one, -a);
    let inverse = one / d;
    let q = n * inverse;
    let rest = inverse * ((-q).mul_add(d, n) + (-q).mul_add(d_low, n_low));
    let (u, u_low) = fast_two_sum(q, rest);
    let y = all::<N>(0.5) * log_of_sum(u, u_low);
    let y = Vector::blend(a.eq(one), all(f64::INFINITY), y);
    let y = Vector::blend(one.lt(a), all(f64::NAN), y);
    Vector::blend(a.lt(all(SMALL)), a, y).zip(x, f64::copysign)
}

/// `log x` times a number of two parts.
#[inline(always)]
fn scaled_log<const N: usize>(x: V<N>, scale: (f64, f64)) -> V<N> {
    let (high, low) = log_in_two(x);
    let (y, lost) = two_product(high, all(scale.0));
    edges(x, x, y + (lost + high.mul_add(all(scale.1), low * all(scale.0))))
}

/// Logarithm to base 2: `-inf` at zero, NaN below.
#[inline(always)]
pub fn log2<const N: usize>(x: V<N>) -> V<N> {
    scaled_log(x, LOG2_E)
}

/// Logarithm to base 10: `-inf` at zero, NaN below.
#[inline(always)]
pub fn log10<const N: usize>(x: V<N>) -> V<N> {
    scaled_log(x, LOG10_E)
}

/// `2^x`
#[inline(always)]
pub fn exp2<const N: usize>(x: V<N>) -> V<N> {
    let b = at_most(at_least(x, -1100.0), 1030.0);
    let (high, lost) = two_product(b, all(LN2.0));
    exp_sum(high, b.mul_add(all(LN2.1), lost))
}
