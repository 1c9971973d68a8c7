//! Functions of float32 vectors, within 1 ULP.

mod angles;
mod error;
mod exponential;
pub mod gamma;
mod hyperbolic;
mod incomplete;
mod logarithm;
mod power;
pub mod trigonometric;
mod wide;

pub use super::division::of_f32 as division;
pub use super::neighbours::{copysign_f32 as copysign, nextafter_f32 as nextafter};
pub use angles::{acos, asin, atan, atan2};
pub use division::{floor_divide, fmod, remainder};
pub use error::{erf, erfc, erfcx, erfinv};
pub use exponential::{exp, exp2, expm1, sigmoid, tanh};
pub use gamma::lgamma;
pub use hyperbolic::{acosh, asinh, atanh, cosh, sinh};
pub use incomplete::{igamma, igammac};
pub use logarithm::{log, log1p, log2, log10};
pub use power::{hypot, pow};
pub use trigonometric::{cos, sin, tan};

use super::bessel;
use super::special::for_exponent;
use crate::kernels::vector::Vector;

type V<const N: usize> = Vector<f32, N>;

#[inline(always)]
fn all<const N: usize>(value: f32) -> V<N> {
    Vector::splat(value)
}

/// Square root.
#[inline(always)]
pub fn sqrt<const N: usize>(x: V<N>) -> V<N> {
    x.map(f32::sqrt)
}

/// Functions that are computed in float64 and rounded.
macro_rules! widened {
    ($($name:ident($($other:ident)?))*) => {$(
        #[doc = concat!("`", stringify!($name), "`, as float64 has it, rounded.")]
        #[inline(always)]
        pub fn $name<const N: usize>(x: V<N> $(, $other: V<N>)?) -> V<N> {
            super::f64::$name(x.map(f64::from) $(, $other.map(f64::from))?).map(|y| y as f32)
        }
    )*};
}
widened! { digamma() }

/// Modified Bessel function of the first kind of order 0, times `e^-|x|`, in float64.
#[inline(always)]
pub fn i0e<const N: usize>(x: V<N>) -> V<N> {
    bessel::order_0(x.map(f64::from), &bessel::SHORT_0).map(|y| y as f32)
}

/// Modified Bessel function of the first kind of order 1, times `e^-|x|`, in float64.
#[inline(always)]
pub fn i1e<const N: usize>(x: V<N>) -> V<N> {
    bessel::order_1(x.map(f64::from), &bessel::SHORT_1).map(|y| y as f32)
}

/// Hurwitz's zeta function of a small whole exponent and `q > 0`, in float64 with as many terms as float32 asks for.
#[inline(always)]
pub fn zeta_of<const S: usize>(q: f32) -> f32 {
    super::special::of_whole::<S, 6>(q.into()) as f32
}

/// The exponent as a number, where it is one that [`zeta_of`] is meant for.
#[inline(always)]
pub fn whole(s: f32) -> usize {
    super::special::whole(s.into())
}

/// Hurwitz's zeta function of `x` and `other`.
#[inline(always)]
pub fn zeta<const N: usize>(x: V<N>, other: V<N>) -> V<N> {
    let of_any = |s: f32, q: f32| super::f64::zeta(Vector([f64::from(s)]), Vector([f64::from(q)])).0[0] as f32;
    x.zip(other, |s, q| for_exponent!(if q > 0.0 { whole(s) } else { 0 }, S => zeta_of::<S>(q), of_any(s, q)))
}
