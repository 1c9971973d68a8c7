//! Functions of float32 vectors, within 1 ULP.

mod exponential;
mod logarithm;
mod power;
pub mod trigonometric;

pub use super::division::{floor_divide_f32 as floor_divide, remainder_f32 as remainder};
pub use super::neighbours::{copysign_f32 as copysign, nextafter_f32 as nextafter};
pub use exponential::{exp, expm1, sigmoid, tanh};
pub use logarithm::{log, log1p};
pub use power::pow;
pub use trigonometric::{cos, sin};

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
widened! {
    tan() asin() acos() atan() sinh() cosh() asinh() acosh() atanh() log2() log10() exp2() erf() erfc() erfinv() lgamma()
    digamma() erfcx() i0e() i1e() atan2(other) hypot(other) zeta(other) igamma(other) igammac(other)
}
