//! Transcendental functions on vectors, with stated and tested error bounds: at most 1 ULP in float32, 1.5 in float64.
//!
//! `lgamma` of float64 and the zeta function of exponents that are no small whole numbers go number by number ([`special`]). What is
//! rare, or would lose digits in float32, goes through float64 there, to as many digits as the result asks for.
//!
//! Only `+ - * /`, fused multiply-add, operations on bits and selects on every lane: a function gives the same bits for
//! every width of vector and every instruction set. Each reduces its argument to a short interval, evaluates a
//! polynomial there, and carries what roundings lose where it matters. The methods are those of Cody and Waite, "Software
//! Manual for the Elementary Functions" (1980), and of Muller, "Elementary Functions" (3rd edition, 2016).
//!
//! Polynomials are minimax fits made for this module: Lawson's reweighted least squares on Chebyshev points, in 60
//! digits, for the relative error of the whole function, with the coefficients rounded from the lowest order up and the
//! rest fitted again after each.

mod angle;
mod bessel;
mod division;
pub mod f32;
pub mod f64;
mod incomplete;
mod neighbours;
mod special;

#[cfg(test)]
mod tests;

pub(super) use special::for_exponent;

use crate::kernels::lane::{Lane, Real};
use crate::kernels::vector::Vector;

/// `1 - 1 / (2 a^2) + 3 / (4 a^4) - ...`: that of `sqrt(pi) a e^(a^2) erfc(a)`, in `1 / a^2`.
const ERFC_AT_INFINITY: [f64; 8] =
    [1.0, -1.0 / 2.0, 3.0 / 4.0, -15.0 / 8.0, 105.0 / 16.0, -945.0 / 32.0, 10395.0 / 64.0, -135135.0 / 128.0];

/// `coefficients[0] + coefficients[1] x + ...`: Horner's rule in `x^2` for the even and the odd powers at once, a chain of
/// half the length. The first coefficient comes last, so that it meets one rounding only.
#[inline(always)]
fn polynomial<L: Real>(x: L, coefficients: &[core::primitive::f64]) -> L {
    let last = coefficients.len() - 1;
    let square = x * x;
    let (mut sum, mut other) = (L::constant(coefficients[last]), L::constant(coefficients[last - 1]));
    for &c in coefficients[1..last - 1].iter().rev() {
        (sum, other) = (other, sum.mul_add(square, L::constant(c)));
    }
    sum.mul_add(x, other).mul_add(x, L::constant(coefficients[0]))
}

/// `a + b` and what its rounding lost, for `|a| >= |b|` or `a = 0` (Dekker 1971).
#[inline(always)]
fn fast_two_sum<L: Lane>(a: L, b: L) -> (L, L) {
    let sum = a + b;
    (sum, b - (sum - a))
}

/// `a + b` and what its rounding lost (Knuth 1969).
#[inline(always)]
fn two_sum<L: Lane>(a: L, b: L) -> (L, L) {
    let sum = a + b;
    let of_b = sum - a;
    (sum, (a - (sum - of_b)) + (b - of_b))
}

/// `a * b` and what its rounding lost.
#[inline(always)]
fn two_product<L: Real>(a: L, b: L) -> (L, L) {
    let product = a * b;
    (product, a.mul_add(b, -product))
}

/// The smaller of `x` and a bound. Unlike [`Lane::minimum`] one instruction, as the bound is no NaN; keeps a NaN `x`.
#[inline(always)]
fn at_most<L: Lane>(x: L, bound: core::primitive::f64) -> L {
    let bound = L::constant(bound);
    L::select(bound.lt(x), bound, x)
}

/// The larger of `x` and a bound; keeps a NaN `x`.
#[inline(always)]
fn at_least<L: Lane>(x: L, bound: core::primitive::f64) -> L {
    let bound = L::constant(bound);
    L::select(x.lt(bound), bound, x)
}

/// `y` with the values of other functions of `x` in the few lanes that are far.
#[cold]
#[inline(never)]
fn patched<T: Copy, const N: usize>(
    x: Vector<T, N>,
    mut y: Vector<T, N>,
    is_far: impl Fn(T) -> bool,
    of_far: impl Fn(T) -> T,
) -> Vector<T, N> {
    for i in (0..N).filter(|&i| is_far(x.0[i])) {
        y.0[i] = of_far(x.0[i]);
    }
    y
}
