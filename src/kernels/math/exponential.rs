//! `exp`, `expm1`, `tanh` and `sigmoid`: one reduction, one series.

use super::{V, all, fast_two_sum, magnitude, nearest, polynomial, power_of_two, select, two_sum, with_sign_of};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::vector::Vector;

const LN2_HIGH: f64 = std::f64::consts::LN_2;
/// `ln 2 - LN2_HIGH`
const LN2_LOW: f64 = 2.3190468138462996e-17;

/// `1/n!` from `n = 2`: `(e^r - 1 - r) / r^2` as a series.
const SERIES: [f64; 12] = [
    1.0 / 2.0,
    1.0 / 6.0,
    1.0 / 24.0,
    1.0 / 120.0,
    1.0 / 720.0,
    1.0 / 5040.0,
    1.0 / 40320.0,
    1.0 / 362880.0,
    1.0 / 3628800.0,
    1.0 / 39916800.0,
    1.0 / 479001600.0,
    1.0 / 6227020800.0,
];

/// Terms for an error below `2^-31` on `|r| <= 0.35`: `0.35^9 / 9! < 2^-31`.
const SINGLE_TERMS: usize = 7;

/// `e^(x + low) = 2^k (1 + high + rest)` with `|high| < 0.42`; gives `(k, high, rest)`. `|x|` is below 1100.
#[inline(always)]
fn reduced<const N: usize, const SINGLE: bool>(x: V<N>, low: V<N>) -> (Vector<u64, N>, V<N>, V<N>) {
    let (k, bits) = nearest(x * all(std::f64::consts::LOG2_E));
    // Exact: both terms are multiples of the last bit of `x` or of 2^-53, and their difference is below 0.35.
    let r = (-k).mul_add(all(LN2_HIGH), x);
    if SINGLE {
        let tail = polynomial(r, &SERIES[..SINGLE_TERMS]);
        return (bits, (r * r).mul_add(tail, r), all(0.0));
    }
    let (r, r_low) = fast_two_sum(r, (-k).mul_add(all(LN2_LOW), low));
    let tail = r * r * polynomial(r, &SERIES);
    let (high, rest) = fast_two_sum(r, tail);
    // d(e^r) = e^r dr
    (bits, high, rest + r_low.mul_add(high, r_low))
}

/// `v 2^k` in two steps, so that gradual underflow and the largest numbers come out right.
#[inline(always)]
fn scale<const N: usize>(v: V<N>, k: Vector<u64, N>) -> V<N> {
    let half = k.map(|k| (k.wrapping_add(4096) >> 1).wrapping_sub(2048));
    let rest = k.zip(half, u64::wrapping_sub);
    v * power_of_two(half) * power_of_two(rest)
}

/// `e^(x + low)`, where `low` is the part of the exponent that `x` had no room for.
#[inline(always)]
pub(super) fn exp_sum<const N: usize, const SINGLE: bool>(x: V<N>, low: V<N>) -> V<N> {
    let bounded = x.maximum(all(-760.0)).minimum(all(720.0));
    let (k, high, rest) = reduced::<N, SINGLE>(bounded, low);
    scale(all(1.0) + (high + rest), k)
}

/// `e^x`: `e^r` from its series, scaled by `2^k`, where `x = k ln 2 + r` and `|r| <= ln(2)/2`.
#[inline(always)]
pub fn exp<const N: usize, const SINGLE: bool>(x: V<N>) -> V<N> {
    exp_sum::<N, SINGLE>(x, all(0.0))
}

/// `e^x - 1` as `high + rest`, halved: `2^(k-1) (e^r - 1) + (2^(k-1) - 1/2)`, for `-50 <= x <= 710`.
#[inline(always)]
fn half_expm1<const N: usize, const SINGLE: bool>(x: V<N>) -> (V<N>, V<N>) {
    let (k, high, rest) = reduced::<N, SINGLE>(x, all(0.0));
    let scale = power_of_two(k.map(|k| k.wrapping_sub(1)));
    let one = scale - all(0.5);
    if SINGLE {
        return (high.mul_add(scale, one), all(0.0));
    }
    let (sum, error) = two_sum(one, high * scale);
    (sum, rest.mul_add(scale, error))
}

/// `e^x - 1` without cancellation.
#[inline(always)]
pub fn expm1<const N: usize, const SINGLE: bool>(x: V<N>) -> V<N> {
    let (high, rest) = half_expm1::<N, SINGLE>(x.maximum(all(-50.0)).minimum(all(709.9)));
    let sum = high + rest;
    // For tiny `x` the series is `x`, and halving it would lose bits of a subnormal.
    select(magnitude(x).lt(all(1e-30)), x, sum + sum)
}

/// `tanh x = t / (t + 2)` with `t = e^(2|x|) - 1`, and the sign of `x`.
#[inline(always)]
pub fn tanh<const N: usize, const SINGLE: bool>(x: V<N>) -> V<N> {
    let a = magnitude(x);
    let bounded = a.minimum(all(22.0));
    let (t, t_low) = half_expm1::<N, SINGLE>(bounded + bounded);
    let y = if SINGLE {
        t / (t + all(1.0))
    } else {
        let (d, d_low) = two_sum(t, all(1.0));
        quotient(t, t_low, d, d_low + t_low)
    };
    with_sign_of(select(a.lt(all(1e-9)), a, y), x)
}

/// `1 / (1 + e^-x)`: from `z = e^-|x|`, as `1 / (1 + z)` on the right and `z / (1 + z)` on the left.
#[inline(always)]
pub fn sigmoid<const N: usize, const SINGLE: bool>(x: V<N>) -> V<N> {
    let minus = -magnitude(x);
    let left = x.lt(all(0.0));
    if SINGLE {
        let z = exp::<N, true>(minus);
        return select(left, z, all(1.0)) / (all(1.0) + z);
    }
    let (k, high, rest) = reduced::<N, false>(minus.maximum(all(-760.0)), all(0.0));
    let (one, lost) = fast_two_sum(all(1.0), high);
    let (z, z_low) = (scale(one, k), scale(lost + rest, k));
    let (d, d_low) = fast_two_sum(all(1.0), z);
    let d_low = d_low + z_low;
    quotient(select(left, z, all(1.0)), select(left, z_low, all(0.0)), d, d_low)
}

/// `(n + n_low) / (d + d_low)`: the quotient and one step of its correction.
#[inline(always)]
fn quotient<const N: usize>(n: V<N>, n_low: V<N>, d: V<N>, d_low: V<N>) -> V<N> {
    let inverse = all(1.0) / d;
    let q = n * inverse;
    let left_over = (-q).mul_add(d, n) + (-q).mul_add(d_low, n_low);
    left_over.mul_add(inverse, q)
}
