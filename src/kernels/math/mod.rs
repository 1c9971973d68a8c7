//! Transcendental functions on vectors, with stated and tested error bounds.
//!
//! Every function is written once, for float64 vectors, in two precisions: in full (`SINGLE = false`), where the last
//! bits are carried in a second number, and for a float32 result (`SINGLE = true`), where fewer terms do. Polynomials
//! are the functions' own power series on intervals where they converge fast, so that their coefficients need no table.
//! The methods are those of Cody and Waite, "Software Manual for the Elementary Functions" (1980), and of Muller,
//! "Elementary Functions" (3rd edition, 2016).

pub mod exponential;
pub mod f32;
pub mod f64;
pub mod logarithm;
pub mod power;
pub mod trigonometric;

#[cfg(test)]
mod tests;

use crate::kernels::lane::Real;
use crate::kernels::vector::{Vector, VectorMask};

type V<const N: usize> = Vector<f64, N>;

/// 1.5 * 2^52: adding it rounds a float64 below 2^51 to a whole number, which then stands in the low bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

#[inline(always)]
fn all<const N: usize>(value: f64) -> V<N> {
    Vector::splat(value)
}

#[inline(always)]
fn select<const N: usize>(mask: VectorMask<N>, yes: V<N>, no: V<N>) -> V<N> {
    Vector::blend(mask, yes, no)
}

#[inline(always)]
fn magnitude<const N: usize>(x: V<N>) -> V<N> {
    x.map(core::primitive::f64::abs)
}

#[inline(always)]
fn with_sign_of<const N: usize>(x: V<N>, sign: V<N>) -> V<N> {
    x.zip(sign, core::primitive::f64::copysign)
}

/// `coefficients[0] + coefficients[1] x + ...` by Horner's rule.
#[inline(always)]
fn polynomial<const N: usize>(x: V<N>, coefficients: &[f64]) -> V<N> {
    let mut sum = all(coefficients[coefficients.len() - 1]);
    for &c in coefficients[..coefficients.len() - 1].iter().rev() {
        sum = sum.mul_add(x, all(c));
    }
    sum
}

/// `a + b` and what its rounding lost, for `|a| >= |b|` or `a = 0` (Dekker 1971).
#[inline(always)]
fn fast_two_sum<const N: usize>(a: V<N>, b: V<N>) -> (V<N>, V<N>) {
    let sum = a + b;
    (sum, b - (sum - a))
}

/// `a + b` and what its rounding lost (Knuth, "The Art of Computer Programming" 4.2.2).
#[inline(always)]
fn two_sum<const N: usize>(a: V<N>, b: V<N>) -> (V<N>, V<N>) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

/// `a * b` and what its rounding lost.
#[inline(always)]
fn two_product<const N: usize>(a: V<N>, b: V<N>) -> (V<N>, V<N>) {
    let product = a * b;
    (product, a.mul_add(b, -product))
}

/// The nearest whole number, as a float64 and as the low bits of an integer.
#[inline(always)]
fn nearest<const N: usize>(x: V<N>) -> (V<N>, Vector<u64, N>) {
    let shifted = x + all(ROUNDER);
    (shifted - all(ROUNDER), shifted.map(|s| s.to_bits().wrapping_sub(ROUNDER.to_bits())))
}

/// `2^k` for whole `k` in -1022 ..= 1023.
#[inline(always)]
fn power_of_two<const N: usize>(k: Vector<u64, N>) -> V<N> {
    k.map(|k| core::primitive::f64::from_bits(k.wrapping_add(1023) << 52))
}

/// A small whole number given as bits, as a float64.
#[inline(always)]
fn whole<const N: usize>(k: Vector<u64, N>) -> V<N> {
    k.map(|k| core::primitive::f64::from_bits(k.wrapping_add(ROUNDER.to_bits()))) - all(ROUNDER)
}
