//! Functions of float64 vectors, within 1.5 ULP.

mod angles;
mod error;
mod exponential;
pub mod gamma;
mod hyperbolic;
mod logarithm;
mod power;
pub mod trigonometric;

pub use super::division::of_f64 as division;
pub use super::neighbours::{copysign_f64 as copysign, nextafter_f64 as nextafter};
pub use super::special::{igamma, igammac, lgamma, whole, zeta, zeta_of};
pub use angles::{acos, asin, atan, atan2};
pub use division::{floor_divide, fmod, remainder};
pub use error::{erf, erfc, erfcx, erfinv};
pub use exponential::{exp, expm1, sigmoid, tanh};
pub use gamma::digamma;
pub use hyperbolic::{acosh, asinh, atanh, cosh, exp2, log2, log10, sinh};
pub use logarithm::{log, log1p};
pub use power::{hypot, pow};
pub use trigonometric::{cos, sin, tan};

use super::bessel;
use crate::kernels::vector::Vector;

type V<const N: usize> = Vector<f64, N>;

#[inline(always)]
fn all<const N: usize>(value: f64) -> V<N> {
    Vector::splat(value)
}

/// 1.5 * 2^52: adding it rounds a float64 below 2^51 to a whole number, which then stands in the low bits.
pub(super) const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// Modified Bessel function of the first kind of order 0, times `e^-|x|`.
#[inline(always)]
pub fn i0e<const N: usize>(x: V<N>) -> V<N> {
    bessel::order_0(x, &bessel::WIDE_0)
}

/// Modified Bessel function of the first kind of order 1, times `e^-|x|`.
#[inline(always)]
pub fn i1e<const N: usize>(x: V<N>) -> V<N> {
    bessel::order_1(x, &bessel::WIDE_1)
}

/// Square root.
#[inline(always)]
pub fn sqrt<const N: usize>(x: V<N>) -> V<N> {
    x.map(f64::sqrt)
}
