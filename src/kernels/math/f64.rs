//! Functions of float64 vectors, with errors of at most 1.5 ULP.

use super::{exponential, logarithm, power, trigonometric};
use crate::kernels::vector::Vector;

type V<const N: usize> = Vector<f64, N>;

macro_rules! in_full {
    ($($name:ident: $f:path;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`, within 1.5 ULP.")]
        #[inline(always)]
        pub fn $name<const N: usize>(x: V<N>) -> V<N> {
            $f(x)
        }
    )*};
}

in_full! {
    exp: exponential::exp::<N, false>;
    expm1: exponential::expm1::<N, false>;
    tanh: exponential::tanh::<N, false>;
    sigmoid: exponential::sigmoid::<N, false>;
    log: logarithm::log::<N, false>;
    log1p: logarithm::log1p::<N, false>;
    sin: trigonometric::sin::<N, false>;
    cos: trigonometric::cos::<N, false>;
}

/// `x` to the power `y`.
#[inline(always)]
pub fn pow<const N: usize>(x: V<N>, y: V<N>) -> V<N> {
    power::pow::<N, false>(x, y)
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
            return (0.0f64).copysign(a / b);
        }
        // The division may land just below the whole number it stands for.
        let whole = q.floor();
        if q - whole > 0.5 { whole + 1.0 } else { whole }
    })
}
