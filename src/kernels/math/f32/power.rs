//! `pow`, through float64: `x^y = 2^(y log2 x)`, and the special cases of IEEE 754.

use super::{V, all};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::{at_least, at_most, polynomial};
use crate::kernels::vector::Vector;

type Wide<const N: usize> = Vector<f64, N>;

/// 1.5 * 2^52: adding it rounds a float64 below 2^51 to a whole number, which then stands in the low bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// `log2(m) / s` in `s^2`, where `s = (m - 1) / (m + 1)`, for `m` between `sqrt(1/2)` and `sqrt(2)`; the error is below
/// `2^-45` of it (minimax). With that of [`EXP2`], a result is off by 0.5001 ULP at most.
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
fn wide<const N: usize>(value: f64) -> Wide<N> {
    Vector::splat(value)
}

/// `log2 a` for `a >= 0` that came from float32, so that it is never subnormal here.
#[inline(always)]
fn log2<const N: usize>(a: Wide<N>) -> Wide<N> {
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
fn exp2<const N: usize>(t: Wide<N>) -> Wide<N> {
    let shifted = t + wide(ROUNDER);
    let d = t - (shifted - wide(ROUNDER));
    let scale = shifted.map(|s| f64::from_bits(s.to_bits().wrapping_add(1023) << 52));
    polynomial(d, &EXP2) * scale
}

/// `x` to the power `y`, as IEEE 754-2019, 9.2.1 defines it: `pow(x, 0) = pow(1, y) = 1`, a negative base has whole
/// exponents only. A square is exactly `x * x`.
#[inline(always)]
pub fn pow<const N: usize>(x: V<N>, y: V<N>) -> V<N> {
    let (a, wide_y) = (x.abs().map(f64::from), y.map(f64::from));
    let t = at_most(at_least(wide_y * log2(a), -200.0), 200.0);
    // Where the exponent is zero whatever the other argument is, the product may be 0 times infinity.
    let one = a.eq(wide(1.0)) | wide_y.eq(wide(0.0));
    let power = exp2(Vector::blend(one, wide(0.0), t)).map(|p| p as f32);
    let half = all::<N>(0.5) * y;
    let is_whole = y.eq(y.trunc());
    let is_odd = is_whole & half.ne(half.trunc());
    let sign = Vector::blend(is_odd, x, all(1.0));
    let out_of_domain = x.lt(all(0.0)) & !is_whole & x.ne(all(f32::NEG_INFINITY));
    let power = Vector::blend(out_of_domain, all(f32::NAN), power.zip(sign, f32::copysign));
    Vector::blend(y.eq(all(2.0)), x * x, power)
}
