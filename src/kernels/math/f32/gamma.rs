//! The logarithm of the gamma function, in float64 to the digits that float32 asks for.

use super::V;
use super::wide::{Wide, log2, wide};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::polynomial;
use crate::kernels::vector::Vector;

/// `lgamma(2 + z) / z` for `|z| <= 1/2`; the error is below `2^-43` of it (minimax).
const AT_TWO: [f64; 14] = [
    0.42278433509844865,
    0.3224670334241219,
    -0.06735230104594789,
    0.020580808424383427,
    -0.007385551491347285,
    0.0028905105477798577,
    -0.0011927428713188603,
    0.000509664345964222,
    -0.00022327966351536556,
    9.951609827275654e-05,
    -4.420674109062643e-05,
    2.0169787019584055e-05,
    -1.1453943505060186e-05,
    5.3193215132047825e-06,
];

/// Stirling's series: `B_2n / (2n (2n - 1))`.
const STIRLING: [f64; 5] = [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0];

/// From where Stirling's series is exact, and the steps of the recurrence from there to 2.5.
const LARGE: usize = 8;
const STEPS: usize = LARGE - 2;

/// `log(2 pi) / 2`
const HALF_LOG_TURN: f64 = 0.918_938_533_204_672_8;

/// True for all but positive finite numbers. Below zero are roots without number, about which only differences of long
/// numbers are exact.
#[inline(always)]
pub fn is_far(x: f32) -> bool {
    !(x > 0.0 && x < f32::INFINITY)
}

/// Logarithm of the gamma function of positive finite numbers: the recurrence to 1.5 .. 2.5, where the root at 2 is a factor,
/// its terms as one product; from [`LARGE`] on Stirling's series.
#[inline(always)]
pub(super) fn of_positive<const N: usize>(x: Wide<N>) -> Wide<N> {
    let one = wide(1.0);
    let (mut y, mut product) = (x, one);
    for _ in 0..STEPS {
        let (is_high, below) = (wide(2.5).lt(y), y - one);
        product = Vector::blend(is_high, product * below, product);
        y = Vector::blend(is_high, below, y);
    }
    for _ in 0..2 {
        let is_low = y.lt(wide(1.5));
        product = Vector::blend(is_low, product * y, product);
        y = Vector::blend(is_low, y + one, y);
    }
    let is_large = wide(LARGE as f64).le(x);
    let log = log2(Vector::blend(is_large, x, product)) * wide(std::f64::consts::LN_2);
    let (z, inverse) = (y - wide(2.0), one / x);
    let moved = Vector::blend(x.lt(wide(1.5)), -log, log);
    let series = inverse * polynomial(inverse * inverse, &STIRLING);
    let large = (x - wide(0.5)).mul_add(log, wide(HALF_LOG_TURN) - x) + series;
    Vector::blend(is_large, large, z.mul_add(polynomial(z, &AT_TWO), moved))
}

/// Logarithm of the gamma function of a number that is not far.
#[inline(always)]
pub fn near(x: f32) -> f32 {
    of_positive::<1>(wide(x.into())).0[0] as f32
}

/// Logarithm of the absolute value of the gamma function.
#[inline(always)]
pub fn lgamma<const N: usize>(x: V<N>) -> V<N> {
    x.map(|x| if is_far(x) { libm::lgamma(x.into()) as f32 } else { near(x) })
}
