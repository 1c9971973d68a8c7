//! Logarithm and power of two in float64, to the digits that results in float32 ask for.

use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::f64::ROUNDER;
use crate::kernels::math::polynomial;
use crate::kernels::vector::Vector;

/// Numbers of float32 in float64.
pub(super) type Wide<const N: usize> = Vector<f64, N>;

/// `log2(m) / s` in `s^2`, where `s = (m - 1) / (m + 1)`, for `m` between `sqrt(1/2)` and `sqrt(2)`; the error is below
/// `2^-45` of it (minimax).
const LOG2: [f64; 6] = [
    2.8853900817778495,
    0.9617966941140071,
    0.5770779421824151,
    0.41220926992339973,
    0.3199050077387126,
    0.28290963755521553,
];

/// `2^d` for `|d| <= 1/2`; the error is below `2^-40` of it (minimax).
const EXP2: [f64; 9] = [
    0.999999999999762,
    0.6931471805465158,
    0.24022650698884998,
    0.05550410939336238,
    0.009618128541923334,
    0.0013333452066643817,
    0.0001540385235550495,
    1.530973641479116e-05,
    1.3175735931353738e-06,
];

#[inline(always)]
pub(super) fn wide<const N: usize>(value: f64) -> Wide<N> {
    Vector::splat(value)
}

/// `log2 a` for `a >= 0` that is not subnormal.
#[inline(always)]
pub(super) fn log2<const N: usize>(a: Wide<N>) -> Wide<N> {
    const ONE: u64 = 1.0f64.to_bits();
    const OFFSET: u64 = ONE - std::f64::consts::FRAC_1_SQRT_2.to_bits();
    // k + 1023
    let biased = a.map(|a| a.to_bits().wrapping_add(OFFSET) >> 52);
    let m = a.zip(biased, |a, k| f64::from_bits(a.to_bits().wrapping_sub(k << 52).wrapping_add(ONE)));
    let k = biased.map(|k| f64::from_bits(k | ROUNDER.to_bits())) - wide(ROUNDER + 1023.0);
    let s = (m - wide(1.0)) / (m + wide(1.0));
    let l = s.mul_add(polynomial(s * s, &LOG2), k);
    let l = Vector::blend(a.eq(wide(0.0)), wide(f64::NEG_INFINITY), l);
    Vector::blend(a.lt(wide(f64::INFINITY)), l, a)
}

/// `2^t` for `|t| < 1000`.
#[inline(always)]
pub(super) fn exp2<const N: usize>(t: Wide<N>) -> Wide<N> {
    let shifted = t + wide(ROUNDER);
    let d = t - (shifted - wide(ROUNDER));
    let scale = shifted.map(|s| f64::from_bits(s.to_bits().wrapping_add(1023) << 52));
    polynomial(d, &EXP2) * scale
}
