//! `sin`, `cos` and `tan`: the argument less the nearest multiple of pi/2, and polynomials.

use super::wide::wide;
use super::{V, all};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::angle::QUARTER;
use crate::kernels::math::{f64 as double, fast_two_sum, patched, polynomial, two_product};
use crate::kernels::vector::Vector;

/// pi/2 in three parts (Cody and Waite), each the rounding of what the ones before left.
const HALF_PI: [f32; 3] = [std::f32::consts::FRAC_PI_2, -4.371_139e-8, -1.715_124_5e-15];

/// Arguments beyond this go through float64, each for itself.
const FAR: f32 = 1e5;

/// 1.5 * 2^23: adding it rounds a float32 below 2^22 to a whole number, which then stands in the low bits.
const ROUNDER: f32 = 12_582_912.0;

/// `(sin(r)/r - 1) / z` with `z = r^2`, for `|r| <= 0.79`; the error of the sine is below `2^-27` of it (minimax).
const SINE: [f64; 3] = [-0.16666654, 0.008332105, -0.00019507707];

/// `(cos(r) - 1 + z/2) / z^2` with `z = r^2`, for `|r| <= 0.79`; the error of the cosine is below `2^-33` (minimax).
const COSINE: [f64; 3] = [0.041666646, -0.00138873, 2.4430457e-05];

/// The sine of `x` turned by `turn` quarter turns, for `|x| <= FAR`: the two polynomials are chosen by the quadrant.
#[inline(always)]
fn near(x: V<1>, turn: u32) -> V<1> {
    let shifted = x.mul_add(all(std::f32::consts::FRAC_2_PI), all(ROUNDER));
    let n = shifted - all(ROUNDER);
    // Exact: both terms are multiples of 2^-25, and their difference is below 1.
    let first = (-n).mul_add(all(HALF_PI[0]), x);
    // The second part of the multiple has bits only below those of the first: r + lost is exact even if little is left.
    let (second, second_low) = two_product(-n, all(HALF_PI[1]));
    let (r, lost) = fast_two_sum(first, second);
    let low = (-n).mul_add(all(HALF_PI[2]), lost + second_low);
    let z = r * r;
    // sin(r + low) = sin r + low
    let sin = r + (z * r).mul_add(polynomial(z, &SINE), low);
    // cos(r + low) = cos r - r low, with the rounding of 1 - z/2 carried along
    let half = all::<1>(0.5) * r;
    let w = (-half).mul_add(r, all(1.0));
    let lost = (-half).mul_add(r, all(1.0) - w);
    let cos = w + (z * z).mul_add(polynomial(z, &COSINE), (-r).mul_add(low, lost));
    let n = shifted.0[0].to_bits().wrapping_add(turn);
    // Chosen by bits: of a condition the compiler may make a branch, and no vectors then.
    let odd = (n & 1).wrapping_neg();
    let value = sin.0[0].to_bits() & !odd | cos.0[0].to_bits() & odd;
    Vector([f32::from_bits(value ^ ((n & 2) << 30))])
}

/// [`near`] on every lane, and the lanes beyond [`FAR`] in float64. A loop over lanes: the compiler makes better vectors
/// of it than of loops over vectors one step at a time.
#[inline(always)]
fn sine<const N: usize>(x: V<N>, turn: u32) -> V<N> {
    let mut y = x;
    let mut largest = 0;
    for i in 0..N {
        y.0[i] = near(Vector([x.0[i]]), turn).0[0];
        largest = largest.max(x.0[i].abs().to_bits());
    }
    let far = |x: f32| {
        let wide = Vector([f64::from(x)]);
        if turn == 0 { double::sin(wide) } else { double::cos(wide) }.0[0] as f32
    };
    if largest > FAR.to_bits() { patched(x, y, |x| x.abs() > FAR, far) } else { y }
}

/// `(tan(r)/r - 1) / z` with `z = r^2`, for `|r| <= pi/4`; the error of the tangent is below `2^-29` of it (minimax).
const TANGENT: [f64; 7] = [
    0.33333349723666317,
    0.1333266445627128,
    0.05405980501283804,
    0.02128267291838419,
    0.010834758595581497,
    9.065551909465666e-05,
    0.004375812976002598,
];

/// The tangent of an argument that is not far, in float64: for odd multiples of pi/2, `-1 / tan r`.
#[inline(always)]
pub fn near_tangent(x: f32) -> f32 {
    let x = wide::<1>(x.into());
    let shifted = x.mul_add(wide(std::f64::consts::FRAC_2_PI), wide(double::ROUNDER));
    let n = shifted - wide(double::ROUNDER);
    let r = (-n).mul_add(wide(QUARTER.1), (-n).mul_add(wide(QUARTER.0), x));
    let z = r * r;
    let t = (r * z).mul_add(polynomial(z, &TANGENT), r).0[0];
    let odd = (shifted.0[0].to_bits() & 1).wrapping_neg();
    let select = |yes: f64, no: f64| f64::from_bits(yes.to_bits() & odd | no.to_bits() & !odd);
    (select(-1.0, t) / select(t, 1.0)) as f32
}

/// True beyond [`FAR`], and for what is not a number.
#[inline(always)]
pub fn is_far(x: f32) -> bool {
    x.abs().to_bits() > FAR.to_bits()
}

/// The sine of `x` turned by `turn` quarter turns, of an argument that is not far.
#[inline(always)]
pub fn near_sine(x: f32, turn: u32) -> f32 {
    let value = near(Vector([x]), turn).0[0];
    // Keeps the sign of zero, which the reduction loses.
    if turn == 0 && x == 0.0 { x } else { value }
}

/// Sine of an angle in radians.
#[inline(always)]
pub fn sin<const N: usize>(x: V<N>) -> V<N> {
    // Keeps the sign of zero, which the reduction loses.
    Vector::blend(x.eq(all(0.0)), x, sine(x, 0))
}

/// Cosine of an angle in radians: the sine a quarter turn on.
#[inline(always)]
pub fn cos<const N: usize>(x: V<N>) -> V<N> {
    sine(x, 1)
}

/// Tangent of an angle in radians.
#[inline(always)]
pub fn tan<const N: usize>(x: V<N>) -> V<N> {
    let y = x.map(near_tangent);
    let has_far = x.0.iter().any(|&x| is_far(x));
    if has_far { patched(x, y, is_far, |x| double::tan(Vector([f64::from(x)])).0[0] as f32) } else { y }
}
