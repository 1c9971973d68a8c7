//! The digamma function, and what the loop of `lgamma` asks for.

use std::f64::consts::PI;

use super::logarithm::log;
use super::trigonometric::near_tangent;
use super::{V, all};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::polynomial;
use crate::kernels::vector::Vector;

/// Stirling's series: `B_2n / 2n`.
const STIRLING: [f64; 7] =
    [1.0 / 12.0, -1.0 / 120.0, 1.0 / 252.0, -1.0 / 240.0, 1.0 / 132.0, -691.0 / 32760.0, 1.0 / 12.0];

/// From where Stirling's series is exact.
const LARGE: usize = 10;

/// Derivative of the logarithm of the gamma function: the recurrence up to [`LARGE`], its terms as two fractions, then
/// Stirling's series; reflected for negative numbers. NaN at negative whole numbers.
#[inline(always)]
pub fn digamma<const N: usize>(x: V<N>) -> V<N> {
    let is_left = x.lt(all(0.0));
    let mut z = Vector::blend(is_left, all(1.0) - x, x);
    let mut terms = [all(0.0); 2];
    for sum in &mut terms {
        let (mut n, mut d) = (all(0.0), all(1.0));
        for _ in 0..LARGE / 2 {
            let is_low = z.lt(all(LARGE as f64));
            n = Vector::blend(is_low, n.mul_add(z, d), n);
            d = Vector::blend(is_low, d * z, d);
            z = Vector::blend(is_low, z + all(1.0), z);
        }
        *sum = n / d;
    }
    let inverse = all(1.0) / z;
    let square = inverse * inverse;
    let series = inverse.mul_add(all(0.5), square * polynomial(square, &STIRLING));
    let y = log(z) - series - terms[1] - terms[0];
    let off = x - x.round();
    let mirrored = y - all(PI) / (all(PI) * off).map(near_tangent);
    let mirrored = Vector::blend(off.eq(all(0.0)), all(f64::NAN), mirrored);
    let y = Vector::blend(is_left, mirrored, y);
    Vector::blend(x.eq(all(0.0)), all(f64::INFINITY).zip(-x, f64::copysign), y)
}

/// No number needs more care than others.
#[inline(always)]
pub fn is_far(_: f64) -> bool {
    false
}

/// Logarithm of the absolute value of the gamma function of one number.
#[inline(always)]
pub fn near(x: f64) -> f64 {
    libm::lgamma(x)
}
