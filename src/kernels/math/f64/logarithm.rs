//! `log` and `log1p`: the series of `2 artanh`.

use super::{ROUNDER, V, all};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::{fast_two_sum, polynomial, two_product};
use crate::kernels::vector::Vector;

/// The upper 32 bits of `ln 2`: its product with an exponent is exact.
const LN2_HIGH: f64 = 0.6931471803691238;
/// `ln 2 - LN2_HIGH`
const LN2_LOW: f64 = 1.9082149292705877e-10;

/// `(2 artanh(s)/s - 2) / z` with `z = s^2`, for `-1/7 <= s <= 1/5`; the error of `artanh` is below `2^-58` of it
/// (minimax).
const SERIES: [f64; 8] = [
    0.666666666666666,
    0.4000000000005487,
    0.28571428556151207,
    0.22222224267914578,
    0.1818166726117775,
    0.15391074380810055,
    0.1317413322724161,
    0.13839941495676364,
];

/// What [`SERIES`] has after an exact first coefficient of 2/3; the error of `artanh` is below `2^-67` of it.
const IN_TWO: [f64; 8] = [
    0.39999999999999947,
    0.2857142857148836,
    0.22222222205007208,
    0.18181820433920706,
    0.15384455489448737,
    0.13339899500751534,
    0.11609252010136394,
    0.1247668193265985,
];

/// `2/3` less its rounding.
const TWO_THIRDS_LOW: f64 = 3.700743415417188e-17;

const ONE: u64 = 1.0f64.to_bits();

/// The whole `k` for which `u 2^-k` is in 3/4 .. 3/2, for positive normal `u`; `above` moves both bounds up by as many
/// units in the last place. Gives `(k + 1023 in the low bits, k)`.
#[inline(always)]
fn exponent<const N: usize>(u: V<N>, above: Vector<u64, N>) -> (Vector<u64, N>, V<N>) {
    let offset = ONE - 0.75f64.to_bits();
    let biased = u.zip(above, |u, above| u.to_bits().wrapping_add(offset - above) >> 52);
    (biased, biased.map(|k| f64::from_bits(k | ROUNDER.to_bits())) - all(ROUNDER + 1023.0))
}

/// Positive `x` as `2^k m` with `m` in 3/4 .. 3/2; gives `(k, m)`.
#[inline(always)]
fn split<const N: usize>(x: V<N>) -> (V<N>, V<N>) {
    let tiny = x.lt(all(f64::MIN_POSITIVE));
    let normal = Vector::blend(tiny, x * all(18_014_398_509_481_984.0), x);
    let (biased, k) = exponent(normal, Vector::splat(0));
    let m = normal.zip(biased, |u, b| f64::from_bits(u.to_bits().wrapping_sub(b << 52).wrapping_add(ONE)));
    (k - Vector::blend(tiny, all(54.0), all(0.0)), m)
}

/// `k ln 2 + log(1 + f)`.
///
/// With `s = f / (2 + f)` and `h = f^2 / 2`, `log(1 + f) = f - (h - s (h + R))`, where `R` is the series: the large
/// terms are exact or carry their rounding into small ones.
#[inline(always)]
fn sum<const N: usize>(k: V<N>, f: V<N>) -> V<N> {
    let s = f / (f + all(2.0));
    let z = s * s;
    let h = all::<N>(0.5) * f * f;
    let small = s.mul_add(z.mul_add(polynomial(z, &SERIES), h), k * all(LN2_LOW));
    k.mul_add(all(LN2_HIGH), f - (h - small))
}

/// `y` where `u` is positive and finite, and the limits of `log(u)` elsewhere; `x` is the argument as it was given.
#[inline(always)]
pub(super) fn edges<const N: usize>(u: V<N>, x: V<N>, y: V<N>) -> V<N> {
    let y = Vector::blend(u.eq(all(0.0)), all(f64::NEG_INFINITY), y);
    let y = Vector::blend(u.lt(all(0.0)), all(f64::NAN), y);
    Vector::blend(u.lt(all(f64::INFINITY)), y, x)
}

/// Natural logarithm: `-inf` at zero, NaN below.
#[inline(always)]
pub fn log<const N: usize>(x: V<N>) -> V<N> {
    let (k, m) = split(x);
    edges(x, x, sum(k, m - all(1.0)))
}

/// `log(1 + x)`, with `k` from the rounded sum `1 + x`, and `f = x 2^-k + (2^-k - 1)`, which is exact for this choice of
/// bounds: where `k` is not 0, `x` has no bits below `2^(k-54)`. For that, `k` must be 0 also where the sum was rounded to
/// a bound: up to 3/2 for positive `x`, down to 3/4 for negative.
#[inline(always)]
pub fn log1p<const N: usize>(x: V<N>) -> V<N> {
    let u = x + all(1.0);
    let (biased, k) = exponent(u, x.map(|x| 1 - (x.to_bits() >> 63)));
    // 4 times 2^-k, which is normal for every k.
    let scale = biased.map(|b| f64::from_bits(0x8000_0000_0000_0000u64.wrapping_sub(b << 52)));
    let f = (all::<N>(0.25) * x).mul_add(scale, scale.mul_add(all(0.25), all(-1.0)));
    let y = edges(u, x, sum(k, f));
    // A quarter of the smallest numbers would lose bits, and the sum the sign of zero.
    Vector::blend(x.abs().lt(all(1e-100)), x, y)
}

/// `log x` for `x >= 0`, as an unevaluated sum with some 64 right bits: as in [`sum`], with the rest of every rounding
/// that matters. `log(1 + f) = 2s + s z (2/3 + z (2/5 + ...))`.
#[inline(always)]
pub(super) fn log_in_two<const N: usize>(x: V<N>) -> (V<N>, V<N>) {
    let (k, m) = split(x);
    let f = m - all(1.0);
    let (d, d_low) = fast_two_sum(all(2.0), f);
    let inverse = all(1.0) / d;
    let s = f * inverse;
    let s_low = inverse * (-s).mul_add(d_low, (-s).mul_add(d, f));
    let (z, z_lost) = two_product(s, s);
    let z_low = (s + s).mul_add(s_low, z_lost);
    let (cube, cube_lost) = two_product(s, z);
    let cube_low = s.mul_add(z_low, s_low.mul_add(z, cube_lost));
    let (c, c_lost) = fast_two_sum(all(2.0 / 3.0), z * polynomial(z, &IN_TWO));
    let (p, p_lost) = two_product(cube, c);
    let p_low = cube.mul_add(c_lost + all(TWO_THIRDS_LOW), cube_low.mul_add(c, p_lost));
    let (y, y_lost) = fast_two_sum(s + s, p);
    let (high, lost) = fast_two_sum(k * all(LN2_HIGH), y);
    let low = k.mul_add(all(LN2_LOW), lost) + (y_lost + (p_low + (s_low + s_low)));
    let (high, low) = fast_two_sum(high, low);
    let high = Vector::blend(x.eq(all(0.0)), all(f64::NEG_INFINITY), high);
    (Vector::blend(x.lt(all(f64::INFINITY)), high, x), low)
}
