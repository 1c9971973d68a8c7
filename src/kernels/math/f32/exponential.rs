//! `exp`, `expm1`, `tanh` and `sigmoid`: one reduction, one polynomial; and powers of two.

use super::{V, all};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::{at_least, at_most, fast_two_sum, polynomial};
use crate::kernels::vector::Vector;

/// `ln 2` to 24 bits, and the rest.
const LN2_HIGH: f32 = std::f32::consts::LN_2;
const LN2_LOW: f32 = -1.904_654_3e-9;

/// `(e^r - 1 - r) / r^2` for `|r| <= ln(2)/2`; the error of `e^r - 1` is below `2^-31` of `r` (minimax).
const SERIES: [f64; 6] = [0.5, 0.16666667, 0.04166649, 0.008333208, 0.0013932685, 0.00019944306];

/// 1.5 * 2^23: adding it rounds a float32 below 2^22 to a whole number, which then stands in the low bits.
const ROUNDER: f32 = 12_582_912.0;

/// `x = n ln 2 + high + low`, with `n + BIAS` in the low bits of the first part of the result.
#[inline(always)]
fn reduced<const N: usize, const BIAS: u32>(x: V<N>) -> (Vector<u32, N>, V<N>, V<N>, V<N>) {
    let rounder = all(ROUNDER + BIAS as f32);
    let shifted = x.mul_add(all(std::f32::consts::LOG2_E), rounder);
    let n = shifted - rounder;
    // Exact: both terms are multiples of 2^-25, and their difference is below 0.35.
    let high = (-n).mul_add(all(LN2_HIGH), x);
    (shifted.map(f32::to_bits), n, high, all::<N>(-LN2_LOW) * n)
}

/// `2^n` from bits whose low part is `n + 127`.
#[inline(always)]
fn power_of_two<const N: usize>(biased: Vector<u32, N>) -> V<N> {
    biased.map(|n| f32::from_bits(n << 23))
}

/// `2^n` as two factors, from bits whose low part is `n + 254`: exact where `2^n` itself would leave the normal range.
#[inline(always)]
fn two_powers<const N: usize>(biased: Vector<u32, N>) -> (V<N>, V<N>) {
    let half = biased.map(|n| n >> 1);
    (power_of_two(half), power_of_two(biased.zip(half, u32::wrapping_sub)))
}

/// `e^x`: `e^r` from a polynomial, times `2^n`, where `x = n ln 2 + r`.
#[inline(always)]
pub fn exp<const N: usize>(x: V<N>) -> V<N> {
    let x = at_most(at_least(x, -104.0), 89.0);
    let (biased, n, high, _) = reduced::<N, 254>(x);
    let r = (-n).mul_add(all(LN2_LOW), high);
    let p = polynomial(r, &SERIES).mul_add(r, all(1.0)).mul_add(r, all(1.0));
    let (a, b) = two_powers(biased);
    p * a * b
}

/// `e^x - 1` without cancellation: `2^n (r + s) + (2^n - 1)` with `e^r = 1 + r + s`, all halved to stay in range.
#[inline(always)]
pub fn expm1<const N: usize>(x: V<N>) -> V<N> {
    let bounded = at_most(at_least(x, -18.0), 89.0);
    let (biased, _, high, low) = reduced::<N, 126>(bounded);
    let r = high + low;
    let s = (r * r).mul_add(polynomial(r, &SERIES), low);
    let scale = power_of_two(biased);
    let one_less = scale - all(0.5);
    let one_less_lost = (scale - one_less) - all(0.5);
    let (sum, lost) = fast_two_sum(one_less, scale * high);
    let half = sum + scale.mul_add(s, lost + one_less_lost);
    // Halves of the smallest numbers would lose bits, and the sum the sign of zero.
    Vector::blend(x.abs().lt(all(1e-30)), x, half + half)
}

/// Where `tanh` turns from the polynomial to the exponential.
const TANH_TURN: f32 = 0.95;

/// `(tanh(x)/x - 1) / z` with `z = x^2`, for `x <= TANH_TURN`; the error of `tanh` is below `2^-28` of it (minimax).
const TANH: [f64; 7] = [-0.33333308, 0.13332607, -0.053898703, 0.02154895, -0.008049391, 0.002385241, -0.000384983];

/// `tanh |x| = 1 - 2 / (e^(2|x|) + 1)`, near zero a polynomial, with the sign of `x`.
#[inline(always)]
pub fn tanh<const N: usize>(x: V<N>) -> V<N> {
    let a = x.abs();
    let z = a * a;
    let near = (a * z).mul_add(polynomial(z, &TANH), a);
    let bounded = at_most(a, 10.0);
    let (biased, _, high, low) = reduced::<N, 127>(bounded + bounded);
    let r = high + low;
    let e = (r * r).mul_add(polynomial(r, &SERIES), r);
    let scale = power_of_two(biased);
    let far = all(1.0) - all(2.0) / scale.mul_add(e, scale + all(1.0));
    Vector::blend(a.lt(all(TANH_TURN)), near, far).zip(x, f32::copysign)
}

/// `1 / (1 + e^-x)`, with one step of correction: with `e^-x = 2^n (1 + e)`, where `n = h + k` of halves that stay in range,
/// it is `2^-h / (2^-h + 2^k + 2^k e)`.
#[inline(always)]
pub fn sigmoid<const N: usize>(x: V<N>) -> V<N> {
    let (biased, n, high, _) = reduced::<N, 254>(at_most(at_least(-x, -104.0), 104.0));
    let r = (-n).mul_add(all(LN2_LOW), high);
    let e = (r * r).mul_add(polynomial(r, &SERIES), r);
    let half = biased.map(|n| n >> 1);
    let (a, b) =
        (power_of_two(half.map(|h| 254u32.wrapping_sub(h))), power_of_two(biased.zip(half, u32::wrapping_sub)));
    // Exact where both matter but for a bit, which the second line finds.
    let sum = a + b;
    let sum_low = a - (sum - b);
    let d = b.mul_add(e, sum);
    let d_low = b.mul_add(e, sum - d) + sum_low;
    let inverse = all(1.0) / d;
    let left_over = (-inverse).mul_add(d_low, (-inverse).mul_add(d, all(1.0)));
    left_over.mul_add(inverse, inverse) * a
}

/// `(2^r - 1) / r` for `|r| <= 1/2`; the error of `2^r` is below `2^-28` of it (minimax).
const OF_TWO: [f64; 6] = [std::f64::consts::LN_2, 0.24022648, 0.05550359, 0.009618492, 0.0013391299, 0.00015332625];

/// `2^x`: `2^r` from a polynomial, times `2^n`, where `x = n + r`.
#[inline(always)]
pub fn exp2<const N: usize>(x: V<N>) -> V<N> {
    let x = at_most(at_least(x, -151.0), 129.0);
    let rounder = all(ROUNDER + 254.0);
    let shifted = x + rounder;
    let r = x - (shifted - rounder);
    let p = r.mul_add(polynomial(r, &OF_TWO), all(1.0));
    let (a, b) = two_powers(shifted.map(f32::to_bits));
    p * a * b
}
