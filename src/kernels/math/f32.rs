//! Functions of float32 vectors, within 1 ULP.

mod exponential;
mod logarithm;
mod power;
mod trigonometric;

pub use super::division::{floor_divide_f32 as floor_divide, remainder_f32 as remainder};
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
