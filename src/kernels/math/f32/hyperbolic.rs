//! `sinh`, `cosh` and the inverses of all hyperbolic functions, by their definitions in float64, which has digits to spare
//! for what these lose; near zero by their series.

use std::f64::consts::{LN_2, LOG2_E};

use super::V;
use super::wide::{Wide, exp2, log2, wide};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::{at_most, polynomial};
use crate::kernels::vector::Vector;

/// `y` as float32, with the sign of `x`; below `small` the series `a (1 + c0 a^2 + ...)` instead.
#[inline(always)]
fn odd<const N: usize>(x: V<N>, a: Wide<N>, small: f64, series: &[f64; 3], y: Wide<N>) -> V<N> {
    let z = a * a;
    let near = (a * z).mul_add(polynomial(z, series), a);
    Vector::blend(a.lt(wide(small)), near, y).map(|y| y as f32).zip(x, f32::copysign)
}

/// `e^a` and `e^-a` for `a >= 0`.
#[inline(always)]
fn powers<const N: usize>(a: Wide<N>) -> (Wide<N>, Wide<N>) {
    // Beyond 100 the results leave the range of float32.
    let power = exp2(at_most(a, 100.0) * wide(LOG2_E));
    (power, wide(1.0) / power)
}

/// Hyperbolic sine: half of `e^x - e^-x`.
#[inline(always)]
pub fn sinh<const N: usize>(x: V<N>) -> V<N> {
    let a = x.abs().map(f64::from);
    let (power, inverse) = powers(a);
    odd(x, a, 0.0625, &[1.0 / 6.0, 1.0 / 120.0, 1.0 / 5040.0], wide(0.5) * (power - inverse))
}

/// Hyperbolic cosine: half of `e^x + e^-x`.
#[inline(always)]
pub fn cosh<const N: usize>(x: V<N>) -> V<N> {
    let (power, inverse) = powers(x.abs().map(f64::from));
    (wide(0.5) * (power + inverse)).map(|y| y as f32)
}

/// Inverse hyperbolic sine: `log(|x| + sqrt(x^2 + 1))`, and the sign of `x`.
#[inline(always)]
pub fn asinh<const N: usize>(x: V<N>) -> V<N> {
    let a = x.abs().map(f64::from);
    let y = wide(LN_2) * log2(a + a.mul_add(a, wide(1.0)).sqrt());
    odd(x, a, 0.0078125, &[-1.0 / 6.0, 3.0 / 40.0, -15.0 / 336.0], y)
}

/// Inverse hyperbolic cosine: `log(x + sqrt(x^2 - 1))`; NaN below 1.
#[inline(always)]
pub fn acosh<const N: usize>(x: V<N>) -> V<N> {
    let a = x.map(f64::from);
    let y = wide(LN_2) * log2(a + a.mul_add(a, wide(-1.0)).sqrt());
    Vector::blend(a.lt(wide(1.0)), wide(f64::NAN), y).map(|y| y as f32)
}

/// Inverse hyperbolic tangent: half of `log((1 + |x|) / (1 - |x|))`, and the sign of `x`; NaN beyond 1.
#[inline(always)]
pub fn atanh<const N: usize>(x: V<N>) -> V<N> {
    let a = x.abs().map(f64::from);
    let y = wide(0.5 * LN_2) * log2((wide(1.0) + a) / (wide(1.0) - a));
    let y = Vector::blend(wide(1.0).lt(a), wide(f64::NAN), y);
    odd(x, a, 0.0078125, &[1.0 / 3.0, 1.0 / 5.0, 1.0 / 7.0], y)
}
