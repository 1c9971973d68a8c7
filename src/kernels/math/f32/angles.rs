//! The inverses of sine, cosine and tangent: a polynomial near zero, and for what is left the complement to a quarter or
//! half turn.

use super::wide::wide;
use super::{V, all};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::{angle, fast_two_sum, polynomial};
use crate::kernels::vector::{Vector, VectorMask};

/// pi/2 in two parts.
const QUARTER: (f32, f32) = (std::f32::consts::FRAC_PI_2, -4.371_139e-8);
/// pi in two parts.
const HALF: (f32, f32) = (std::f32::consts::PI, -8.742_278e-8);

/// `(atan(q)/q - 1) / z` with `z = q^2`, for `q <= 1`; the error of the angle is below `2^-31` of it (minimax).
const ATAN: [f64; 10] = [
    -0.3333332689106517,
    0.19999670727239638,
    -0.14279827680394178,
    0.11058190041265159,
    -0.08810973761998063,
    0.06741347851079725,
    -0.044686658564057846,
    0.022537238780975466,
    -0.00731678533852112,
    0.0011135659770251266,
];

/// `(asin(s)/s - 1) / z` with `z = s^2`, for `s <= 1/2`; the error of the angle is below `2^-27` of it (minimax).
const ASIN: [f64; 5] = [0.16666752, 0.07495312, 0.045468777, 0.02418678, 0.042154815];

/// Inverse tangent, in float64: beyond 1 a quarter turn less the angle of the inverse.
#[inline(always)]
pub fn atan<const N: usize>(x: V<N>) -> V<N> {
    let a = x.abs().map(f64::from);
    let is_large = wide(1.0).lt(a);
    let q = Vector::blend(is_large, wide(1.0), a) / Vector::blend(is_large, a, wide(1.0));
    let z = q * q;
    let y = (q * z).mul_add(polynomial(z, &ATAN), q);
    let y = Vector::blend(is_large, wide(std::f64::consts::FRAC_PI_2) - y, y);
    y.map(|y| y as f32).zip(x, f32::copysign)
}

/// Angle of the point `(other, x)`, in float64.
#[inline(always)]
pub fn atan2<const N: usize>(x: V<N>, other: V<N>) -> V<N> {
    let ratio = |q| {
        let z = q * q;
        z * polynomial(z, &ATAN)
    };
    angle::of_point(x.map(f64::from), other.map(f64::from), ratio).map(|y| y as f32)
}

/// For `a = |x|` up to 1/2 what `asin a` is the sum of; beyond, the same for the root of `(1 - a) / 2`, whose inverse sine
/// is half of `acos a`.
#[inline(always)]
fn arc<const N: usize>(a: V<N>) -> (VectorMask<N>, V<N>, V<N>) {
    let is_large = all(0.5).lt(a);
    let z = Vector::blend(is_large, (all(1.0) - a) * all(0.5), a * a);
    let root = z.sqrt();
    // What the rounding of the root lost; where it is zero, nothing.
    let root_low = (-root).mul_add(root, z) / (root + root + all(f32::MIN_POSITIVE));
    let s = Vector::blend(is_large, root, a);
    let low = Vector::blend(is_large, root_low, all(0.0));
    (is_large, s, (s * z).mul_add(polynomial(z, &ASIN), low))
}

/// Inverse sine; NaN beyond 1.
#[inline(always)]
pub fn asin<const N: usize>(x: V<N>) -> V<N> {
    let (is_large, s, rest) = arc(x.abs());
    let (high, lost) = fast_two_sum(all(QUARTER.0), -(s + s));
    let large = high + ((lost + all(QUARTER.1)) - (rest + rest));
    Vector::blend(is_large, large, s + rest).zip(x, f32::copysign)
}

/// Inverse cosine; NaN beyond 1.
#[inline(always)]
pub fn acos<const N: usize>(x: V<N>) -> V<N> {
    let (is_large, s, rest) = arc(x.abs());
    let is_left = x.lt(all(0.0));
    // Twice the arc of a large argument, on the left from half a turn; else a quarter turn less the arc with its sign.
    let start = Vector::blend(is_left, all(HALF.0), all(0.0));
    let start = Vector::blend(is_large, start, all(QUARTER.0));
    let start_low = Vector::blend(is_left, all(HALF.1), all(0.0));
    let start_low = Vector::blend(is_large, start_low, all(QUARTER.1));
    let factor = Vector::blend(is_large, all(2.0), all(-1.0)) * Vector::blend(is_left, all(-1.0), all(1.0));
    let (high, lost) = fast_two_sum(start, factor * s);
    high + factor.mul_add(rest, lost + start_low)
}
