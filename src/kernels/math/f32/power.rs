//! `pow` and `hypot`, through float64: `x^y = 2^(y log2 x)`, and the special cases of IEEE 754.

use super::wide::{exp2, log2, wide};
use super::{V, all};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::{at_least, at_most};
use crate::kernels::vector::Vector;

/// `x` to the power `y`, as IEEE 754-2019, 9.2.1 defines it: `pow(x, 0) = pow(1, y) = 1`, a negative base has whole
/// exponents only. A square is exactly `x * x`.
#[inline(always)]
pub fn pow<const N: usize>(x: V<N>, y: V<N>) -> V<N> {
    let (a, wide_y) = (x.abs().map(f64::from), y.map(f64::from));
    let t = at_most(at_least(wide_y * log2(a), -200.0), 200.0);
    // Where the exponent is zero whatever the other argument is, the product may be 0 times infinity.
    let one = a.eq(wide(1.0)) | wide_y.eq(wide(0.0));
    let power = exp2(Vector::blend(one, wide(0.0), t)).map(|p| p as f32);
    let half = all::<N>(0.5) * y;
    let is_whole = y.eq(y.trunc());
    let is_odd = is_whole & half.ne(half.trunc());
    let sign = Vector::blend(is_odd, x, all(1.0));
    let out_of_domain = x.lt(all(0.0)) & !is_whole & x.ne(all(f32::NEG_INFINITY));
    let power = Vector::blend(out_of_domain, all(f32::NAN), power.zip(sign, f32::copysign));
    Vector::blend(y.eq(all(2.0)), x * x, power)
}

/// `sqrt(x^2 + other^2)`: in float64 squares neither overflow nor vanish.
#[inline(always)]
pub fn hypot<const N: usize>(x: V<N>, other: V<N>) -> V<N> {
    let (a, b) = (x.map(f64::from), other.map(f64::from));
    let y = a.mul_add(a, b * b).sqrt().map(|y| y as f32);
    let infinite = x.abs().eq(all(f32::INFINITY)) | other.abs().eq(all(f32::INFINITY));
    Vector::blend(infinite, all(f32::INFINITY), y)
}
