//! The inverses of sine, cosine and tangent: a polynomial near zero, and for what is left the complement to a quarter or
//! half turn.

use super::{V, all};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::angle::{self, Arc, QUARTER};
use crate::kernels::math::{fast_two_sum, polynomial};
use crate::kernels::vector::Vector;

/// `atan(q)/q - 1` in `q^2 - 1/2`, for `q <= 1`; the error of the angle is below `2^-57` of it (minimax).
const ATAN: [f64; 21] = [
    -0.1295802486328968,
    -0.20375308470043646,
    0.08340740482843172,
    -0.04024690928198854,
    0.021049375194145202,
    -0.011551426786346792,
    0.006545699908302193,
    -0.0037952051968378215,
    0.002238704390440777,
    -0.0013384054429689252,
    0.000808819657825832,
    -0.0004931556147362645,
    0.00030289843075847263,
    -0.00018684004425324928,
    0.0001160044911512005,
    -7.428448537794976e-05,
    4.6852072548828556e-05,
    -2.3461827554618966e-05,
    1.4251531765895382e-05,
    -1.9797057021751087e-05,
    1.3006391466761665e-05,
];

/// `(asin(s)/s - 1) / z` with `z = s^2`, for `s <= 1/2`; the error of the angle is below `2^-59` of it (minimax).
const ASIN: [f64; 13] = [
    0.1666666666666676,
    0.07499999999970887,
    0.044642857174539335,
    0.030381942710872665,
    0.022372214908708145,
    0.017351613320978003,
    0.01398080593413241,
    0.011399024563355445,
    0.010779658076092474,
    0.0037085388921150038,
    0.021702516386511633,
    -0.020992405705190016,
    0.03262464230590038,
];

/// Inverse tangent: beyond 1 a quarter turn less the angle of the inverse.
#[inline(always)]
pub fn atan<const N: usize>(x: V<N>) -> V<N> {
    let a = x.abs();
    let one = all(1.0);
    let is_large = one.lt(a);
    let q = Vector::blend(is_large, one, a) / Vector::blend(is_large, a, one);
    let ratio = polynomial(q.mul_add(q, all(-0.5)), &ATAN);
    let (high, lost) = fast_two_sum(all(QUARTER.0), -q);
    let large = high + (-q).mul_add(ratio, lost + all(QUARTER.1));
    Vector::blend(is_large, large, q.mul_add(ratio, q)).zip(x, f64::copysign)
}

/// Angle of the point `(other, x)`.
#[inline(always)]
pub fn atan2<const N: usize>(x: V<N>, other: V<N>) -> V<N> {
    angle::of_point(x, other, |q| polynomial(q.mul_add(q, all(-0.5)), &ATAN))
}

const ARC: Arc = Arc { quarter: QUARTER, series: &ASIN, least: f64::MIN_POSITIVE };

/// Inverse sine; NaN beyond 1.
#[inline(always)]
pub fn asin<const N: usize>(x: V<N>) -> V<N> {
    ARC.asin(x)
}

/// Inverse cosine; NaN beyond 1.
#[inline(always)]
pub fn acos<const N: usize>(x: V<N>) -> V<N> {
    ARC.acos(x)
}
