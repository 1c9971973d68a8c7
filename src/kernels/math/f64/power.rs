//! `hypot`, and `pow`: `e^(y log x)` with the logarithm in two parts, and the special cases of IEEE 754.

use super::exponential::exp_sum;
use super::logarithm::log_in_two;
use super::{V, all};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::{fast_two_sum, two_product};
use crate::kernels::vector::Vector;

/// `x` to the power `y`, as IEEE 754-2019, 9.2.1 defines it: `pow(x, 0) = pow(1, y) = 1`, a negative base has whole
/// exponents only. A square is exactly `x * x`.
#[inline(always)]
pub fn pow<const N: usize>(x: V<N>, y: V<N>) -> V<N> {
    let a = x.abs();
    let (l, l_low) = log_in_two(a);
    let (e, e_lost) = two_product(y, l);
    // Beyond the range of results only the sign of the exponent matters, and its second part may be no number.
    let in_range = e.abs().lt(all(1000.0));
    let e_low = Vector::blend(in_range, y.mul_add(l_low, e_lost), all(0.0));
    // Where the exponent is zero whatever the other argument is, the product may be 0 times infinity.
    let one = a.eq(all(1.0)) | y.eq(all(0.0));
    let power = exp_sum(Vector::blend(one, all(0.0), e), Vector::blend(one, all(0.0), e_low));
    let half = all::<N>(0.5) * y;
    let is_whole = y.eq(y.trunc());
    let is_odd = is_whole & half.ne(half.trunc());
    let sign = Vector::blend(is_odd, x, all(1.0));
    let out_of_domain = x.lt(all(0.0)) & !is_whole & x.ne(all(f64::NEG_INFINITY));
    let power = Vector::blend(out_of_domain, all(f64::NAN), power.zip(sign, f64::copysign));
    Vector::blend(y.eq(all(2.0)), x * x, power)
}

/// `sqrt(x^2 + other^2)` with the squares in two parts, scaled by a power of two to where they neither overflow nor vanish.
#[inline(always)]
pub fn hypot<const N: usize>(x: V<N>, other: V<N>) -> V<N> {
    let (a, b) = (x.abs(), other.abs());
    let is_less = a.lt(b);
    let (large, small) = (Vector::blend(is_less, b, a), Vector::blend(is_less, a, b));
    let (is_huge, is_tiny) = (all(1e150).lt(large), large.lt(all(1e-140)));
    let up = Vector::blend(is_tiny, all(2f64.powi(600)), all(1.0));
    let scale = Vector::blend(is_huge, all(2f64.powi(-600)), up);
    let down = Vector::blend(is_tiny, all(2f64.powi(-600)), all(1.0));
    let back = Vector::blend(is_huge, all(2f64.powi(600)), down);
    let (large, small) = (large * scale, small * scale);
    let (square, square_low) = two_product(large, large);
    let (other_square, other_low) = two_product(small, small);
    let (sum, lost) = fast_two_sum(square, other_square);
    let root = sum.sqrt();
    let rest = (-root).mul_add(root, sum) + (lost + (square_low + other_low));
    let y = Vector::blend(sum.eq(all(0.0)), sum, rest / (root + root) + root) * back;
    let infinite = a.eq(all(f64::INFINITY)) | b.eq(all(f64::INFINITY));
    Vector::blend(infinite, all(f64::INFINITY), y)
}
