//! `log` and `log1p`: one polynomial in `f`, where `1 + f` is the argument with its power of two taken away.

use super::{V, all};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::{fast_two_sum, polynomial};
use crate::kernels::vector::Vector;

/// The upper 16 bits of `ln 2`: its product with an exponent is exact.
const LN2_HIGH: f32 = 0.693_145_75;
const LN2_LOW: f32 = 1.428_606_8e-6;

/// `(log(1 + f) - f) / f^2` for `-1/4 <= f <= 1/2`; the error of the logarithm is below `2^-27` of it (minimax).
const SERIES: [f64; 9] =
    [-0.5, 0.33333448, -0.25000194, 0.19991113, -0.1664378, 0.14467476, -0.13186318, 0.10582825, -0.046173915];

/// The whole `k` for which `u 2^-k` is in 3/4 .. 3/2, for positive normal `u`; `above` moves both bounds up by as many
/// units in the last place.
#[inline(always)]
fn exponent<const N: usize>(u: V<N>, above: Vector<i32, N>) -> Vector<i32, N> {
    u.zip(above, |u, above| (u.to_bits() as i32).wrapping_sub(0x3f40_0000 + above) >> 23)
}

/// `k ln 2 + log(1 + f)`. The sum of the two large terms is exact in two parts; the rest is small beside it.
#[inline(always)]
fn sum<const N: usize>(k: V<N>, f: V<N>) -> V<N> {
    let (high, lost) = fast_two_sum(k * all(LN2_HIGH), f);
    high + (f * f).mul_add(polynomial(f, &SERIES), k.mul_add(all(LN2_LOW), lost))
}

/// `y` where `u` is positive and finite, and the limits of `log(u)` elsewhere; `x` is the argument as it was given.
#[inline(always)]
fn edges<const N: usize>(u: V<N>, x: V<N>, y: V<N>) -> V<N> {
    let y = Vector::blend(u.eq(all(0.0)), all(f32::NEG_INFINITY), y);
    let y = Vector::blend(u.lt(all(0.0)), all(f32::NAN), y);
    Vector::blend(u.lt(all(f32::INFINITY)), y, x)
}

/// Natural logarithm: `-inf` at zero, NaN below.
#[inline(always)]
pub fn log<const N: usize>(x: V<N>) -> V<N> {
    let tiny = x.lt(all(f32::MIN_POSITIVE));
    let normal = Vector::blend(tiny, x * all(8_388_608.0), x);
    let k = exponent(normal, Vector::splat(0));
    let m = normal.zip(k, |u, k| f32::from_bits(u.to_bits().wrapping_sub((k << 23) as u32)));
    let k = k.map(|k| k as f32) - Vector::blend(tiny, all(23.0), all(0.0));
    edges(x, x, sum(k, m - all(1.0)))
}

/// `log(1 + x)`, with `k` from the rounded sum `1 + x`, and `f = x 2^-k + (2^-k - 1)`, which is exact for this choice of
/// bounds: where `k` is not 0, `x` has no bits below `2^(k-25)`. For that, `k` must be 0 also where the sum was rounded to
/// a bound: up to 3/2 for positive `x`, down to 3/4 for negative.
#[inline(always)]
pub fn log1p<const N: usize>(x: V<N>) -> V<N> {
    let u = x + all(1.0);
    let k = exponent(u, x.map(|x| 1 - (x.to_bits() >> 31) as i32));
    // 4 times 2^-k, which is normal for every k.
    let scale = k.map(|k| f32::from_bits(0x4080_0000u32.wrapping_sub((k << 23) as u32)));
    let f = (all::<N>(0.25) * x).mul_add(scale, scale.mul_add(all(0.25), all(-1.0)));
    let y = edges(u, x, sum(k.map(|k| k as f32), f));
    // A quarter of the smallest numbers would lose bits, and the sum the sign of zero.
    Vector::blend(x.abs().lt(all(1e-30)), x, y)
}
