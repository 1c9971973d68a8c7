//! `exp`, `expm1`, `tanh` and `sigmoid`: one reduction, one polynomial.

use super::{ROUNDER, V, all};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::{at_least, at_most, fast_two_sum, polynomial, two_product};
use crate::kernels::vector::Vector;

/// `ln 2` to 53 bits, and the rest.
const LN2_HIGH: f64 = std::f64::consts::LN_2;
const LN2_LOW: f64 = 2.3190468138462996e-17;

/// `(e^r - 1 - r) / r^2` for `|r| <= ln(2)/2`; the error of `e^r - 1` is below `2^-55` of `r` (minimax).
const SERIES: [f64; 10] = [
    0.5000000000000006,
    0.16666666666666677,
    0.041666666666572975,
    0.008333333333321372,
    0.001388888893260227,
    0.0001984126988675487,
    2.4801504163222277e-05,
    2.755724359109099e-06,
    2.7626444403559596e-07,
    2.5109249806352903e-08,
];

/// An argument `x + more` as `n ln 2 + high + low`, with `n + BIAS` in the low bits of the first part of the result.
#[inline(always)]
fn reduced<const N: usize, const BIAS: u64>(x: V<N>, more: V<N>) -> (Vector<u64, N>, V<N>, V<N>) {
    let rounder = all(ROUNDER + BIAS as f64);
    let shifted = x.mul_add(all(std::f64::consts::LOG2_E), rounder);
    let n = shifted - rounder;
    // Exact: both terms are multiples of 2^-54, and their difference is below 0.35.
    let high = (-n).mul_add(all(LN2_HIGH), x);
    (shifted.map(f64::to_bits), high, (-n).mul_add(all(LN2_LOW), more))
}

/// `2^n` from bits whose low part is `n + 1023`.
#[inline(always)]
fn power_of_two<const N: usize>(biased: Vector<u64, N>) -> V<N> {
    biased.map(|n| f64::from_bits(n << 52))
}

/// `2^n` as two factors, from bits whose low part is `n + 2046`: exact where `2^n` itself would leave the normal range.
#[inline(always)]
fn two_powers<const N: usize>(biased: Vector<u64, N>) -> (V<N>, V<N>) {
    let half = biased.map(|n| n >> 1);
    (power_of_two(half), power_of_two(biased.zip(half, u64::wrapping_sub)))
}

/// `e^(x + more)`, where `more` is the part of the exponent that `x` had no room for.
#[inline(always)]
pub(super) fn exp_sum<const N: usize>(x: V<N>, more: V<N>) -> V<N> {
    let (biased, high, low) = reduced::<N, 2046>(at_most(at_least(x, -760.0), 720.0), more);
    let r = high + low;
    let p = all(1.0) + (high + (r * r).mul_add(polynomial(r, &SERIES), low));
    let (a, b) = two_powers(biased);
    p * a * b
}

/// `e^(-a^2)` as `(1 + u + u_low) first second` with `|u| < 1/2`, where the last two are powers of two; for `|a| < 28`.
#[inline(always)]
pub(super) fn squared_power<const N: usize>(a: V<N>) -> (V<N>, V<N>, V<N>, V<N>) {
    let (square, lost) = two_product(a, a);
    let (biased, high, low) = reduced::<N, 2046>(-square, -lost);
    let r = high + low;
    let (u, u_low) = fast_two_sum(high, (r * r).mul_add(polynomial(r, &SERIES), low));
    let (first, second) = two_powers(biased);
    (u, u_low, first, second)
}

/// `e^x`: `e^r` from a polynomial, times `2^n`, where `x = n ln 2 + r`.
#[inline(always)]
pub fn exp<const N: usize>(x: V<N>) -> V<N> {
    exp_sum(x, all(0.0))
}

/// `2^-1 (e^x - 1)` in two parts, for `-50 <= x <= 710`: `2^n (r + s) + (2^n - 1)` with `e^r = 1 + r + s`, halved to stay
/// in range.
#[inline(always)]
pub(super) fn half_expm1<const N: usize>(x: V<N>) -> (V<N>, V<N>) {
    let (biased, high, low) = reduced::<N, 1022>(x, all(0.0));
    let r = high + low;
    let s = (r * r).mul_add(polynomial(r, &SERIES), low);
    let scale = power_of_two(biased);
    let (sum, lost) = fast_two_sum(scale - all(0.5), scale * high);
    (sum, scale.mul_add(s, lost))
}

/// `e^x - 1` without cancellation.
#[inline(always)]
pub fn expm1<const N: usize>(x: V<N>) -> V<N> {
    let (high, low) = half_expm1(at_most(at_least(x, -50.0), 710.0));
    let half = high + low;
    // Halves of the smallest numbers would lose bits, and the sum the sign of zero.
    Vector::blend(x.abs().lt(all(1e-100)), x, half + half)
}

/// `tanh |x| = t / (t + 2)` with `t = e^(2|x|) - 1`, and the sign of `x`.
#[inline(always)]
pub fn tanh<const N: usize>(x: V<N>) -> V<N> {
    let a = x.abs();
    let bounded = at_most(a, 22.0);
    let (t, t_low) = half_expm1(bounded + bounded);
    let (t, t_low) = fast_two_sum(t, t_low);
    // Exact also where `t` is the larger: `d - 1` is then a number of no more bits than `d`.
    let (d, d_low) = fast_two_sum(all(1.0), t);
    let y = quotient(t, t_low, d, d_low + t_low);
    Vector::blend(a.lt(all(1e-9)), a, y).zip(x, f64::copysign)
}

/// `1 / (1 + e^-x)`: with `z = e^-|x|`, `1 / (1 + z)` on the right and `z / (1 + z)` on the left.
#[inline(always)]
pub fn sigmoid<const N: usize>(x: V<N>) -> V<N> {
    let left = x.lt(all(0.0));
    let one = all(1.0);
    let (biased, high, low) = reduced::<N, 2046>(at_least(-x.abs(), -760.0), all(0.0));
    let r = high + low;
    let s = (r * r).mul_add(polynomial(r, &SERIES), low);
    // z = 2^n (p + p_low)
    let (p, lost) = fast_two_sum(one, high);
    let (p, p_low) = fast_two_sum(p, s + lost);
    let (a, b) = two_powers(biased);
    let scale = a * b;
    let (d, d_low) = fast_two_sum(one, p * scale);
    let top = Vector::blend(left, p, one);
    let y = quotient(top, Vector::blend(left, p_low, all(0.0)), d, p_low.mul_add(scale, d_low));
    y * Vector::blend(left, a, one) * Vector::blend(left, b, one)
}

/// `(n + n_low) / (d + d_low)`: the quotient and one step of its correction.
#[inline(always)]
pub(super) fn quotient<const N: usize>(n: V<N>, n_low: V<N>, d: V<N>, d_low: V<N>) -> V<N> {
    let inverse = all(1.0) / d;
    let q = n * inverse;
    let left_over = (-q).mul_add(d_low, (-q).mul_add(d, n)) + n_low;
    left_over.mul_add(inverse, q)
}
