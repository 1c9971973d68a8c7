//! Functions of float32 vectors, computed in float64 with as many terms as float32 needs: the error is that of the last
//! rounding, at most 0.51 ULP, without tables and without double-float arithmetic.

use super::{exponential, logarithm, power, trigonometric};
use crate::kernels::vector::Vector;

type V<const N: usize> = Vector<f32, N>;

macro_rules! through_f64 {
    ($($name:ident: $f:path;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`, rounded from a float64 of about 33 right bits.")]
        #[inline(always)]
        pub fn $name<const N: usize>(x: V<N>) -> V<N> {
            $f(x.map(f64::from)).map(|y| y as f32)
        }
    )*};
}

through_f64! {
    exp: exponential::exp::<N, true>;
    expm1: exponential::expm1::<N, true>;
    tanh: exponential::tanh::<N, true>;
    sigmoid: exponential::sigmoid::<N, true>;
    log: logarithm::log::<N, true>;
    log1p: logarithm::log1p::<N, true>;
    sin: trigonometric::sin::<N, true>;
    cos: trigonometric::cos::<N, true>;
}

/// `x` to the power `y`.
#[inline(always)]
pub fn pow<const N: usize>(x: V<N>, y: V<N>) -> V<N> {
    power::pow::<N, true>(x.map(f64::from), y.map(f64::from)).map(|y| y as f32)
}

/// Python's `%`.
#[inline(always)]
pub fn remainder<const N: usize>(a: V<N>, b: V<N>) -> V<N> {
    a.zip(b, |a, b| {
        let r = a % b;
        if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
    })
}

/// Python's `//`.
#[inline(always)]
pub fn floor_divide<const N: usize>(a: V<N>, b: V<N>) -> V<N> {
    a.zip(b, |a, b| {
        if b == 0.0 {
            return a / b;
        }
        let r = a % b;
        let q = (a - r) / b - if r != 0.0 && (r < 0.0) != (b < 0.0) { 1.0 } else { 0.0 };
        if q == 0.0 {
            return (0.0f32).copysign(a / b);
        }
        // The division may land just below the whole number it stands for.
        let whole = q.floor();
        if q - whole > 0.5 { whole + 1.0 } else { whole }
    })
}
