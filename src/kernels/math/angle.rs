//! The inverses of sine and cosine in either precision, and the angle of a point in float64.

use std::f64::consts::{FRAC_PI_2, PI};

use super::{fast_two_sum, polynomial};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::vector::Vector;

/// pi/2 in two parts.
pub(super) const QUARTER: (f64, f64) = (FRAC_PI_2, 6.123233995736766e-17);

/// What the inverses of sine and cosine are made of in one precision.
pub(super) struct Arc {
    /// pi/2 in two parts.
    pub quarter: (f64, f64),
    /// `(asin(s)/s - 1) / z` with `z = s^2`, for `s <= 1/2`.
    pub series: &'static [f64],
    /// The least number that is not subnormal.
    pub least: f64,
}

impl Arc {
    /// For `a = |x|` up to 1/2 what `asin a` is the sum of; beyond, the same for the root of `(1 - a) / 2`, whose inverse
    /// sine is half of `acos a`.
    #[inline(always)]
    fn parts<L: Real>(&self, a: L) -> (L::Mask, L, L) {
        let is_large = L::constant(0.5).lt(a);
        let z = L::select(is_large, (L::constant(1.0) - a) * L::constant(0.5), a * a);
        let root = z.sqrt();
        // What the rounding of the root lost; where it is zero, nothing.
        let root_low = (-root).mul_add(root, z) / (root + root + L::constant(self.least));
        let s = L::select(is_large, root, a);
        let low = L::select(is_large, root_low, L::constant(0.0));
        (is_large, s, (s * z).mul_add(polynomial(z, self.series), low))
    }

    /// Inverse sine; NaN beyond 1.
    #[inline(always)]
    pub fn asin<L: Real>(&self, x: L) -> L {
        let (is_large, s, rest) = self.parts(x.abs());
        let (high, lost) = fast_two_sum(L::constant(self.quarter.0), -(s + s));
        let large = high + ((lost + L::constant(self.quarter.1)) - (rest + rest));
        L::select(is_large, large, s + rest).copysign(x)
    }

    /// Inverse cosine; NaN beyond 1.
    #[inline(always)]
    pub fn acos<L: Real>(&self, x: L) -> L {
        let (is_large, s, rest) = self.parts(x.abs());
        let is_left = x.lt(L::constant(0.0));
        // Twice the arc of a large argument, on the left from half a turn; else a quarter turn less the arc with its sign.
        let start = |quarter: f64| {
            let of_large = L::select(is_left, L::constant(2.0 * quarter), L::constant(0.0));
            L::select(is_large, of_large, L::constant(quarter))
        };
        let direction = L::select(is_left, L::constant(-1.0), L::constant(1.0));
        let factor = L::select(is_large, L::constant(2.0), L::constant(-1.0)) * direction;
        let (high, lost) = fast_two_sum(start(self.quarter.0), factor * s);
        high + factor.mul_add(rest, lost + start(self.quarter.1))
    }
}

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
    let (half, half_low) = (all(PI), all(2.0 * QUARTER.1));
    let start = Vector::blend(is_steep, all(QUARTER.0), Vector::blend(is_left, half, all(0.0)));
    let low = Vector::blend(is_steep, all(QUARTER.1), Vector::blend(is_left, half_low, all(0.0)));
    // Back from the start, or on: steep on the left, and flat on the right.
    let sign = Vector::blend(is_left, all(-1.0), all(1.0)) * Vector::blend(is_steep, all(-1.0), all(1.0));
    let (high, lost) = fast_two_sum(start, sign * q);
    (high + (sign * q).mul_add(ratio(q), lost + low)).zip(y, f64::copysign)
}
