//! `log` and `log1p`: one polynomial in `f`, where `1 + f` is the argument with its power of two taken away; other bases
//! have polynomials of their own.

use super::{V, all};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::{fast_two_sum, polynomial, two_product};
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

/// Positive `x` as `2^k (1 + f)` with `1 + f` in 3/4 .. 3/2, or `above` that as in [`exponent`]; gives `(k, f)`.
#[inline(always)]
fn split<const N: usize>(x: V<N>, above: i32) -> (V<N>, V<N>) {
    let tiny = x.lt(all(f32::MIN_POSITIVE));
    let normal = Vector::blend(tiny, x * all(8_388_608.0), x);
    let k = exponent(normal, Vector::splat(above));
    let m = normal.zip(k, |u, k| f32::from_bits(u.to_bits().wrapping_sub((k << 23) as u32)));
    (k.map(|k| k as f32) - Vector::blend(tiny, all(23.0), all(0.0)), m - all(1.0))
}

/// Natural logarithm: `-inf` at zero, NaN below.
#[inline(always)]
pub fn log<const N: usize>(x: V<N>) -> V<N> {
    let (k, f) = split(x, 0);
    edges(x, x, sum(k, f))
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

/// What a logarithm to another base is made of.
struct Base {
    /// The logarithm of 2, to so many bits that its product with an exponent is exact, and the rest.
    of_two: (f32, f32),
    /// The logarithm of `e`, in two parts.
    slope: (f32, f32),
    /// `(log(1 + f) - slope f) / f^2` for `-1/3 <= f <= 1/3`; the error of the logarithm is below `2^-27` of it (minimax).
    series: [f64; 9],
}

const TWO: Base = Base {
    of_two: (1.0, 0.0),
    slope: (std::f32::consts::LOG2_E, 1.925963e-08),
    series: [
        -0.7213475,
        0.4808967,
        -0.36067152,
        0.2886865,
        -0.24063185,
        0.2020985,
        -0.17595153,
        0.20159334,
        -0.18538103,
    ],
};

const TEN: Base = Base {
    of_two: (0.3010254, 4.605039e-06),
    slope: (std::f32::consts::LOG10_E, -1.010305e-08),
    series: [
        -0.21714725,
        0.14476429,
        -0.10857242,
        0.08690535,
        -0.07244927,
        0.060809504,
        -0.052854463,
        0.060807165,
        -0.056183677,
    ],
};

/// From where `1 + f` is in 2/3 .. 4/3: below 1 the result is then no small difference.
const FROM_TWO_THIRDS: i32 = 0x3f2a_aaab - 0x3f40_0000;

/// Logarithm to another base: as [`sum`], with what the first two terms lose.
#[inline(always)]
fn to_base<const N: usize>(x: V<N>, base: &Base) -> V<N> {
    let (k, f) = split(x, FROM_TWO_THIRDS);
    let curve = all(base.series[0] as f32);
    let (square, square_lost) = two_product(f, f);
    let (first, first_lost) = two_product(f, all(base.slope.0));
    let (second, second_lost) = two_product(square, curve);
    let (high, lost) = fast_two_sum(k * all(base.of_two.0), first);
    let (high, lost_too) = fast_two_sum(high, second);
    let low = (lost + first_lost) + (lost_too + square_lost.mul_add(curve, second_lost));
    let low = k.mul_add(all(base.of_two.1), f.mul_add(all(base.slope.1), low));
    edges(x, x, high + (square * f).mul_add(polynomial(f, &base.series[1..]), low))
}

/// Logarithm to base 2: `-inf` at zero, NaN below.
#[inline(always)]
pub fn log2<const N: usize>(x: V<N>) -> V<N> {
    to_base(x, &TWO)
}

/// Logarithm to base 10: `-inf` at zero, NaN below.
#[inline(always)]
pub fn log10<const N: usize>(x: V<N>) -> V<N> {
    to_base(x, &TEN)
}
