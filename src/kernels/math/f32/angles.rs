//! The inverses of sine, cosine and tangent: a polynomial near zero, and for what is left the complement to a quarter or
//! half turn.

use super::V;
use super::wide::wide;
use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::angle::{self, Arc};
use crate::kernels::math::polynomial;
use crate::kernels::vector::Vector;

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

const ARC: Arc = Arc {
    quarter: (std::f32::consts::FRAC_PI_2 as f64, -4.371_139e-8_f32 as f64),
    series: &ASIN,
    least: f32::MIN_POSITIVE as f64,
};

/// Inverse sine; NaN beyond 1.
#[inline(always)]
pub fn asin<const N: usize>(x: V<N>) -> V<N> {
    ARC.asin(x)
}

/// Inverse cosine; NaN beyond 1.
#[inline(always)]
pub fn acos<const N: usize>(x: V<N>) -> V<N> {
    ARC.acos(x)
}
