//! The angle of a point, in float64.

use std::f64::consts::{FRAC_PI_2, PI};

use super::fast_two_sum;
use crate::kernels::lane::{Lane, Real};
use crate::kernels::vector::Vector;

/// `pi/2 - FRAC_PI_2`
const FRAC_PI_2_LOW: f64 = 6.123233995736766e-17;

/// The angle of the point `(x, y)`, from what gives `atan(q)/q - 1` for `q <= 1`: that of the smaller coordinate over the
/// larger, from the nearest multiple of a quarter turn.
#[inline(always)]
pub(super) fn of_point<const N: usize>(
    y: Vector<f64, N>,
    x: Vector<f64, N>,
    ratio: impl Fn(Vector<f64, N>) -> Vector<f64, N>,
) -> Vector<f64, N> {
    let all = Vector::<f64, N>::splat;
    let (a, b) = (y.abs(), x.abs());
    let is_steep = b.lt(a);
    let (n, d) = (Vector::blend(is_steep, b, a), Vector::blend(is_steep, a, b));
    // Of two zeros the quotient is zero, of two infinities 1.
    let q = Vector::blend(n.eq(d), Vector::blend(n.eq(all(0.0)), all(0.0), all(1.0)), n / d);
    let is_left = x.map(|x| 1f64.copysign(x)).lt(all(0.0));
    let (half, half_low) = (all(PI), all(2.0 * FRAC_PI_2_LOW));
    let start = Vector::blend(is_steep, all(FRAC_PI_2), Vector::blend(is_left, half, all(0.0)));
    let low = Vector::blend(is_steep, all(FRAC_PI_2_LOW), Vector::blend(is_left, half_low, all(0.0)));
    // Back from the start, or on: steep on the left, and flat on the right.
    let sign = Vector::blend(is_left, all(-1.0), all(1.0)) * Vector::blend(is_steep, all(-1.0), all(1.0));
    let (high, lost) = fast_two_sum(start, sign * q);
    (high + (sign * q).mul_add(ratio(q), lost + low)).zip(y, f64::copysign)
}
