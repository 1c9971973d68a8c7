//! `pow`: `e^(y log x)` with the logarithm in two parts, and the special cases of IEEE 754.

use super::exponential::exp_sum;
use super::logarithm::{is_degenerate, log, log_double};
use super::{V, all, magnitude, select, two_product, with_sign_of};
use crate::kernels::lane::{Lane, Real};

/// `x` to the power `y`, as IEEE 754-2019, 9.2.1 defines it: `pow(x, 0) = pow(1, y) = 1`, a negative base has whole
/// exponents only.
#[inline(always)]
pub fn pow<const N: usize, const SINGLE: bool>(x: V<N>, y: V<N>) -> V<N> {
    let a = magnitude(x);
    let plain = y * log::<N, true>(a);
    let power = if SINGLE {
        exp_sum::<N, true>(y * log::<N, false>(a), all(0.0))
    } else {
        let (l, l_low) = log_double(a);
        let (e, e_low) = two_product(y, l);
        let e_low = y.mul_add(l_low, e_low);
        // Beyond the range of results only the sign of the exponent matters, and the two parts may be infinite.
        let simple = is_degenerate(a) | !magnitude(plain).lt(all(760.0));
        exp_sum::<N, false>(select(simple, plain, e), select(simple, all(0.0), e_low))
    };
    let half = all(0.5) * y;
    let is_whole = y.eq(y.trunc());
    let is_odd = is_whole & half.ne(half.trunc()) & magnitude(y).lt(all(f64::INFINITY));
    let negative = with_sign_of(all(1.0), x).lt(all(0.0));
    let signed = select(negative & is_odd, -power, power);
    let out_of_domain = x.lt(all(0.0)) & !is_whole & a.lt(all(f64::INFINITY));
    let result = select(out_of_domain, all(f64::NAN), signed);
    let infinite_y = magnitude(y).eq(all(f64::INFINITY));
    let one = y.eq(all(0.0)) | x.eq(all(1.0)) | (a.eq(all(1.0)) & infinite_y);
    select(one, all(1.0), result)
}
