//! The error function: polynomials near zero and further out, its complement by way of its exponent.

use super::wide::{Wide, exp2, log2, wide};
use super::{V, all};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::{ERFC_AT_INFINITY, at_most, polynomial};
use crate::kernels::vector::Vector;

/// `erf(x)/x - 1` in `x^2 - 1/2`, for `|x| <= 1`; the error of `erf` is below `2^-28` of it (minimax).
const NEAR: [f64; 7] = [-0.03453126, -0.2810722, 0.07941004, -0.018283349, 0.0034798132, -0.0005653506, 7.9585036e-05];

/// Where [`FAR`] has its centre: there the error function is nearly a float32.
const CENTRE: f32 = 2.508_854_4;

/// `erf x` in `x - CENTRE`, for `1 <= x <= 4`; the error is below `2^-30.5` (minimax).
const FAR: [f64; 16] = [
    0.999611914,
    0.00208378327,
    -0.00522790244,
    0.00804956723,
    -0.00835504197,
    0.0059688976,
    -0.00276336307,
    0.000562121044,
    0.000238960172,
    -0.000246199954,
    8.16856918e-05,
    6.11092446e-06,
    -1.52853336e-05,
    3.56650867e-06,
    8.39737595e-07,
    -3.50601738e-07,
];

/// Error function: a polynomial near zero, and another beyond 1.
#[inline(always)]
pub fn erf<const N: usize>(x: V<N>) -> V<N> {
    // Beyond 4 the result is 1.
    let a = at_most(x.abs(), 4.0);
    let near = a.mul_add(polynomial(a.mul_add(a, all(-0.5)), &NEAR), a);
    let far = polynomial(a - all(CENTRE), &FAR);
    Vector::blend(a.lt(all(1.0)), near, far).zip(x, f32::copysign)
}

/// `e^(x^2) erfc(x) (x + 3)` in `(x - 3) / (x + 3)`, for `0 <= x <= 10.4`; the error is below `2^-34` of it (minimax).
const TAIL: [f64; 12] = [
    1.0740069070849478,
    -0.8833944539167516,
    0.5902283579753679,
    -0.310467222248551,
    0.11952774498222656,
    -0.026827833739675365,
    -0.0012125040225564165,
    0.0030378580081786505,
    -0.0005459317102035227,
    -0.0002873325629833536,
    9.610341609511e-05,
    3.96621058444456e-05,
];

/// `1 - erf x`, in float64: `e^(-x^2)` times a polynomial in a quotient, left of zero 2 less that.
#[inline(always)]
pub fn erfc<const N: usize>(x: V<N>) -> V<N> {
    // Beyond 10.4 the result is zero.
    let a = at_most(x.abs().map(f64::from), 10.4);
    let inverse = wide(1.0) / (a + wide(3.0));
    let power = exp2(a * (a * wide(-std::f64::consts::LOG2_E)));
    let y = power * inverse * polynomial((a - wide(3.0)) * inverse, &TAIL);
    Vector::blend(x.map(f64::from).lt(wide(0.0)), wide(2.0) - y, y).map(|y| y as f32)
}

/// Where [`erfcx`] turns to its asymptotic series.
const FAR_TAIL: f64 = 10.0;
/// So many terms of it are enough.
const TERMS: usize = 7;

/// `e^(x^2) erfc(x)`, in float64: left of zero `2 e^(x^2)` less that of `-x`.
#[inline(always)]
pub fn erfcx<const N: usize>(x: V<N>) -> V<N> {
    let x = x.map(f64::from);
    let a = x.abs();
    let b = at_most(a, 10.4);
    let inverse = wide(1.0) / (b + wide(3.0));
    let near = inverse * polynomial((b - wide(3.0)) * inverse, &TAIL);
    let far =
        polynomial(wide(1.0) / (a * a), &ERFC_AT_INFINITY[..TERMS]) * wide(std::f64::consts::FRAC_2_SQRT_PI / 2.0) / a;
    let y = Vector::blend(a.lt(wide(FAR_TAIL)), near, far);
    let growth = exp2(b * (b * wide(std::f64::consts::LOG2_E)));
    Vector::blend(x.lt(wide(0.0)), growth + growth - y, y).map(|y| y as f32)
}

/// Where `erfinv` turns from one polynomial to the other.
const TURN: f64 = 8.45;

/// `erfinv(x)/x` in `v = -log2(1 - x^2)`, for `v <= 8.5`; the error is below `2^-32` of it (minimax).
const INVERSE_NEAR: [f64; 13] = [
    0.8862269256512278,
    0.1608196117318603,
    0.005548957374974132,
    -0.0007777355742398101,
    -2.9467501261237322e-05,
    7.418703129779332e-06,
    2.2212194999242346e-07,
    -6.705333156406648e-08,
    -7.6836508681042e-09,
    2.4124589660858644e-09,
    -2.3016441758152844e-10,
    1.0491544160379193e-11,
    -1.950667824140558e-13,
];

/// `erfinv(x)/x` in `v - MIDDLE`, for `8.4 <= v <= 23.1`; the error is below `2^-29` of it (minimax).
const INVERSE_FAR: [f64; 11] = [
    3.138283939438485,
    0.10550129651503275,
    -0.0016217757065288925,
    4.772711142397701e-05,
    -1.6129157512924802e-06,
    4.825358408738877e-08,
    -5.072510579605839e-10,
    -8.189471094954649e-11,
    1.127426044316927e-11,
    -1.1165687182365075e-12,
    5.1938201005840316e-14,
];
const MIDDLE: f64 = 15.75;

/// Inverse of the error function, in float64.
#[inline(always)]
pub fn erfinv<const N: usize>(x: V<N>) -> V<N> {
    let wide_x = x.map(f64::from);
    let v: Wide<N> = -log2((-wide_x).mul_add(wide_x, wide(1.0)));
    let (near, far) = (polynomial(v, &INVERSE_NEAR), polynomial(v - wide(MIDDLE), &INVERSE_FAR));
    let ratio = Vector::blend(v.lt(wide(TURN)), near, far);
    let y = (wide_x * ratio).map(|y| y as f32);
    let a = x.abs();
    let y = Vector::blend(a.lt(all(1.0)), y, all(f32::NAN));
    Vector::blend(a.eq(all(1.0)), all(f32::INFINITY).zip(x, f32::copysign), y)
}
