//! C's `%` and Python's `//` and `%` of floating-point numbers, as torch defines them.
//!
//! The remainder of the truncated quotient is an exact number. Where the quotient has no more bits than a float64, a fused
//! multiply-add gives it; the few quotients that may be larger are far, and go the slow way to the same number.

use crate::kernels::vector::Vector;

/// C's `%` by the truncated quotient, which rounding may have made one too large.
#[inline(always)]
fn near_rest(a: f64, b: f64) -> f64 {
    let q = (a / b).trunc();
    let r = (-q).mul_add(b, a);
    let r = if (r < 0.0) & (a > 0.0) | (r > 0.0) & (a < 0.0) { r + b.copysign(a) } else { r };
    let r = if b.abs() == f64::INFINITY && a.abs() < f64::INFINITY { a } else { r };
    r.copysign(a)
}

macro_rules! divisions {
    ($($t:ident $module:ident: $digits:literal, $largest:literal, $least:literal;)*) => {$(
        /// Remainders and rounded quotients of one precision.
        pub mod $module {
            use super::*;

            /// True where the quotient may have too many bits, by the exponents: that of a subnormal divisor says little.
            #[inline(always)]
            pub fn is_far(a: $t, b: $t) -> bool {
                let exponent = |x: $t| (x.abs().to_bits() >> $digits) as i32;
                (exponent(a) - exponent(b) > $largest) | (exponent(b) < $least)
            }

            /// C's `%`, of what is not far.
            #[inline(always)]
            pub fn near_fmod(a: $t, b: $t) -> $t {
                near_rest(a.into(), b.into()) as $t
            }

            /// C's `%`
            #[inline(always)]
            fn any_fmod(a: $t, b: $t) -> $t {
                if is_far(a, b) { a % b } else { near_fmod(a, b) }
            }

            /// Python's `%`, from C's.
            #[inline(always)]
            pub fn remainder_of(r: $t, b: $t) -> $t {
                if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
            }

            /// Python's `//`, from C's `%`.
            #[inline(always)]
            pub fn quotient_of(r: $t, a: $t, b: $t) -> $t {
                let q = (a - r) / b - if r != 0.0 && (r < 0.0) != (b < 0.0) { 1.0 } else { 0.0 };
                // The division may land just below the whole number it stands for.
                let whole = q.floor();
                let whole = if q - whole > 0.5 { whole + 1.0 } else { whole };
                let quotient = if q == 0.0 { (0.0 as $t).copysign(a / b) } else { whole };
                if b == 0.0 { a / b } else { quotient }
            }

            /// C's `%`
            #[inline(always)]
            pub fn fmod<const N: usize>(a: Vector<$t, N>, b: Vector<$t, N>) -> Vector<$t, N> {
                a.zip(b, any_fmod)
            }

            /// Python's `%`
            #[inline(always)]
            pub fn remainder<const N: usize>(a: Vector<$t, N>, b: Vector<$t, N>) -> Vector<$t, N> {
                a.zip(b, |a, b| remainder_of(any_fmod(a, b), b))
            }

            /// Python's `//`
            #[inline(always)]
            pub fn floor_divide<const N: usize>(a: Vector<$t, N>, b: Vector<$t, N>) -> Vector<$t, N> {
                a.zip(b, |a, b| quotient_of(any_fmod(a, b), a, b))
            }
        }
    )*};
}

divisions! {
    f32 of_f32: 23, 28, 0;
    f64 of_f64: 52, 50, 1;
}
