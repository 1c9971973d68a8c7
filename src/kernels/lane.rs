//! What a formula may do with one element: the traits that every interpreter of a formula implements.
//!
//! A formula is written once, generic over [`Lane`] or [`Real`]. Hardware vectors ([`super::vector::Vector`]) run it;
//! [`super::expr::Expr`] records it as a program, from which come the fused kernel, the list of values to keep for
//! backward, and the graph of derivatives under `create_graph`.

use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

use super::function::functions;

/// The outcome of a comparison, one truth value an element.
pub trait Mask: Copy + BitAnd<Output = Self> + BitOr<Output = Self> + Not<Output = Self> {}

/// Arithmetic that integers and floating-point numbers share.
pub trait Lane:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    /// What a comparison gives.
    type Mask: Mask;

    /// The same number in every element.
    fn constant(value: f64) -> Self;
    /// `|x|`
    fn abs(self) -> Self;
    /// The larger of the two, the first of equal ones; NaN where either is NaN.
    fn maximum(self, other: Self) -> Self;
    /// The smaller of the two, the first of equal ones; NaN where either is NaN.
    fn minimum(self, other: Self) -> Self;
    /// The quotient rounded towards negative infinity, as Python's `//`.
    fn floor_divide(self, other: Self) -> Self;
    /// The remainder with the sign of the divisor, as Python's `%`.
    fn remainder(self, other: Self) -> Self;
    /// `self` raised to `other`.
    fn pow(self, other: Self) -> Self;
    /// Rounded towards negative infinity.
    fn floor(self) -> Self;
    /// Rounded towards zero.
    fn trunc(self) -> Self;
    /// Rounded to the nearest whole number, from halfway to the even one.
    fn round(self) -> Self;
    /// The remainder with the sign of the dividend, as C's `%`.
    fn fmod(self, other: Self) -> Self;
    /// The greatest common divisor of two whole numbers.
    fn gcd(self, other: Self) -> Self;
    /// The bits moved up by so many places: times a power of two.
    fn shift_left(self, places: Self) -> Self;
    /// The bits moved down by so many places: the quotient by a power of two, rounded down.
    fn shift_right(self, places: Self) -> Self;
    /// The bits that both have.
    fn bit_and(self, other: Self) -> Self;
    /// The bits that either has.
    fn bit_or(self, other: Self) -> Self;
    /// The bits that one of the two has.
    fn bit_xor(self, other: Self) -> Self;
    /// `self == other`
    fn eq(self, other: Self) -> Self::Mask;
    /// `self < other`
    fn lt(self, other: Self) -> Self::Mask;
    /// `self <= other`
    fn le(self, other: Self) -> Self::Mask;
    /// `yes` where the mask holds, else `no`; the side not taken cannot spoil the result.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;

    /// `self != other`
    #[inline(always)]
    fn ne(self, other: Self) -> Self::Mask {
        !self.eq(other)
    }
    /// `self > other`
    #[inline(always)]
    fn gt(self, other: Self) -> Self::Mask {
        other.lt(self)
    }
    /// `self >= other`
    #[inline(always)]
    fn ge(self, other: Self) -> Self::Mask {
        other.le(self)
    }
    /// True where the element is NaN.
    #[inline(always)]
    fn is_nan(self) -> Self::Mask {
        self.ne(self)
    }
    /// One where the mask holds, else zero.
    #[inline(always)]
    fn from_mask(mask: Self::Mask) -> Self {
        Self::select(mask, Self::constant(1.0), Self::constant(0.0))
    }
}

macro_rules! declare {
    ($($(#[doc = $doc:literal])* $Name:ident $name:ident($($other:ident),*);)*) => {
        /// What only floating-point numbers have. Error bounds are stated in `kernels/math`.
        pub trait Real: Lane {
            /// `self * factor + term`, rounded once.
            fn mul_add(self, factor: Self, term: Self) -> Self;
            $($(#[doc = $doc])* fn $name(self $(, $other: Self)*) -> Self;)*
        }
    };
}
functions!(declare);
