//! The error function, its complement and its inverse.

use std::f64::consts::{FRAC_2_SQRT_PI, LOG2_E};

use super::exponential::{exp, squared_power};
use super::logarithm::log;
use super::{V, all};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::{ERFC_AT_INFINITY, at_most, fast_two_sum, polynomial, two_product, two_sum};
use crate::kernels::vector::Vector;

/// `erf(x)/x - 1` in `x^2`, for `|x| <= 1/2`; the error of `erf` is below `2^-55` of it (minimax).
const NEAR: [f64; 9] = [
    0.12837916709551256,
    -0.37612638903182877,
    0.11283791670872176,
    -0.026866170614991688,
    0.0052239770797982915,
    -0.0008548271844649982,
    0.00012052073746784283,
    -1.4814008419250908e-05,
    1.4400449748038047e-06,
];

/// `e^(x^2) erfc(x) (x + 4)` in `t = (x - 4) / (x + 4)`, for `0 <= x <= 27.3`, is `MIDDLE + t` times this polynomial; the
/// error is below `2^-57` of it (minimax).
const TAIL: [f64; 22] = [
    -0.9765487290808821,
    0.7732087022652371,
    -0.5408538313132253,
    0.3308515878780132,
    -0.17401093724027644,
    0.07638151490931297,
    -0.026370053334794558,
    0.006112055655323479,
    -0.0002809589148116143,
    -0.0004550526810392753,
    0.0001768130836260407,
    -3.6351764203805816e-06,
    -1.8861782335085116e-05,
    4.694390019415292e-06,
    1.4261030554540062e-06,
    -8.460871385305348e-07,
    -7.801002142416635e-08,
    1.239967738803349e-07,
    2.6468033962170262e-09,
    -1.540616168213505e-08,
    -3.9873970765112135e-10,
    1.013987408536505e-09,
];
/// In two parts.
const MIDDLE: (f64, f64) = (1.095995661000491, 5.757254511326975e-17);
/// The derivative of `MIDDLE + t TAIL(t)`, to one digit.
const SLOPE: [f64; 4] = [-0.957, 1.11, -1.91, 2.95];

/// Beyond this, `erfc` is zero.
const LARGE: f64 = 27.3;

/// A step of Horner's rule in two parts: `p t + c`.
#[inline(always)]
fn next_step<const N: usize>(t: V<N>, p: (V<N>, V<N>), c: (f64, f64)) -> (V<N>, V<N>) {
    let (product, low) = two_product(t, p.0);
    let (sum, lost) = two_sum(all(c.0), product);
    (sum, t.mul_add(p.1, lost + (low + all(c.1))))
}

/// `erfc a` and `e^(-a^2)`, for `a >= 0`.
///
/// The first is the second times a polynomial in the quotient `t`, over `a + 4`; both quotients and the last steps of the
/// polynomial have their second parts.
#[inline(always)]
fn tail<const N: usize>(a: V<N>) -> (V<N>, V<N>) {
    let a = at_most(a, LARGE);
    // Exact also where `a` is the larger: the difference to 4 is then a number of no more bits.
    let (d, d_low) = fast_two_sum(all(4.0), a);
    let (n, n_low) = fast_two_sum(all(-4.0), a);
    let inverse = all(1.0) / d;
    let t = n * inverse;
    let t_low = inverse * ((-t).mul_add(d_low, (-t).mul_add(d, n)) + n_low);
    // One after another: the sums of even and of odd powers would be larger than their difference.
    let rest = TAIL[1..4].iter().rev().fold(polynomial(t, &TAIL[4..]), |p, &c| p.mul_add(t, all(c)));
    let (p, p_low) = next_step(t, (rest, all(0.0)), (TAIL[0], 0.0));
    let (p, p_low) = next_step(t, (p, p_low), MIDDLE);
    let p_low = t_low.mul_add(polynomial(t, &SLOPE), p_low);
    let q = p * inverse;
    let q_low = inverse * ((-q).mul_add(d_low, (-q).mul_add(d, p)) + p_low);
    let (u, u_low, first, second) = squared_power(a);
    let low = q.mul_add(u_low, q_low.mul_add(u, q_low));
    ((q + q.mul_add(u, low)) * first * second, (all(1.0) + u) * first * second)
}

/// `erf a` for `0 <= a <= 1/2`.
#[inline(always)]
fn near<const N: usize>(a: V<N>) -> V<N> {
    a.mul_add(polynomial(a * a, &NEAR), a)
}

/// Error function.
#[inline(always)]
pub fn erf<const N: usize>(x: V<N>) -> V<N> {
    let a = x.abs();
    Vector::blend(a.lt(all(0.5)), near(a), all(1.0) - tail(a).0).zip(x, f64::copysign)
}

/// `1 - erf x`, exact for large `x`: left of zero 2 less that.
#[inline(always)]
pub fn erfc<const N: usize>(x: V<N>) -> V<N> {
    let y = tail(x.abs()).0;
    Vector::blend(x.lt(all(0.0)), all(2.0) - y, y)
}

/// Where [`erfcx`] turns to its asymptotic series.
const FAR: f64 = 27.0;

/// `e^(x^2) erfc(x)`, within 6 ULP: left of zero `2 e^(x^2)` less that of `-x`.
#[inline(always)]
pub fn erfcx<const N: usize>(x: V<N>) -> V<N> {
    let a = x.abs();
    let b = at_most(a, LARGE);
    let inverse = all(1.0) / (b + all(4.0));
    let t = (b - all(4.0)) * inverse;
    let rest = TAIL[1..4].iter().rev().fold(polynomial(t, &TAIL[4..]), |p, &c| p.mul_add(t, all(c)));
    let near = t.mul_add(rest.mul_add(t, all(TAIL[0])), all(MIDDLE.0)) * inverse;
    let far = polynomial(all(1.0) / (a * a), &ERFC_AT_INFINITY) * all(FRAC_2_SQRT_PI / 2.0) / a;
    let y = Vector::blend(a.lt(all(FAR)), near, far);
    // What the square loses counts as often as the square is large.
    let square = b * b;
    let growth = exp(square) * (all(1.0) + b.mul_add(b, -square));
    Vector::blend(x.lt(all(0.0)), growth + growth - y, y)
}

/// Where the start of `erfinv` turns from one polynomial to the other.
const TURN: f64 = 8.45;

/// `erfinv(x)/x` in `v = -log2(1 - x^2)`, for `v <= 8.5`; the error is below `2^-24` of it (minimax).
const START_NEAR: [f64; 10] = [
    0.8862268877506809,
    0.16082050037688117,
    0.005545560612924381,
    -0.0007729060255135183,
    -3.2696252324871e-05,
    8.45873431693207e-06,
    1.2742738478446144e-07,
    -1.0887018605429894e-07,
    8.612437816625689e-09,
    -2.281806030287264e-10,
];

/// `erfinv(x)/x` in the root of `v`, for `8.4 <= v <= 53.1`; the error is below `2^-22` of it (minimax).
const START_FAR: [f64; 10] = [
    3.7180776822539072,
    -5.3989526389325775,
    4.462911349267565,
    -1.8710037125341157,
    0.504740248814392,
    -0.09064364304631513,
    0.010820368637846285,
    -0.000827173889870728,
    3.672461442384061e-05,
    -7.212160765872078e-07,
];

/// Inverse of the error function: polynomials, and a step of Halley's method, which triples the right digits.
#[inline(always)]
pub fn erfinv<const N: usize>(x: V<N>) -> V<N> {
    let a = x.abs();
    let one = all(1.0);
    let v = all::<N>(-LOG2_E) * log((one - a) * (one + a));
    let start = Vector::blend(v.lt(all(TURN)), polynomial(v, &START_NEAR), polynomial(v.sqrt(), &START_FAR));
    let y = a * start;
    let (complement, power) = tail(y);
    // The difference of two numbers that are known to all digits.
    let off = Vector::blend(a.lt(all(0.5)), near(y) - a, (one - a) - complement);
    let step = off / (all::<N>(FRAC_2_SQRT_PI) * power);
    let y = y - step / y.mul_add(step, one);
    let y = Vector::blend(a.lt(one), y, all(f64::NAN));
    Vector::blend(a.eq(one), all(f64::INFINITY), y).zip(x, f64::copysign)
}
