//! A hardware vector as a plain array. Inlined into a function compiled for AVX2, AVX-512 or NEON, its loops become
//! single instructions; elsewhere they stay scalar and give the same bits.

use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

use super::function::functions;
use super::lane::{Lane, Mask, Real};
use super::math;

/// An array of what `f` gives for each place. Unlike `std::array::from_fn`, always inlined: a call would leave the
/// caller's instruction set.
#[inline(always)]
fn from_fn<T: Copy + Default, const N: usize>(f: impl Fn(usize) -> T) -> [T; N] {
    let mut out = [T::default(); N];
    let mut i = 0;
    while i < N {
        out[i] = f(i);
        i += 1;
    }
    out
}

/// `N` elements of type `T`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(transparent)]
pub struct Vector<T, const N: usize>(pub [T; N]);

/// `N` truth values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VectorMask<const N: usize>(pub [bool; N]);

impl<const N: usize> Mask for VectorMask<N> {}

impl<const N: usize> BitAnd for VectorMask<N> {
    type Output = Self;
    #[inline(always)]
    fn bitand(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] & other.0[i]))
    }
}

impl<const N: usize> BitOr for VectorMask<N> {
    type Output = Self;
    #[inline(always)]
    fn bitor(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] | other.0[i]))
    }
}

impl<const N: usize> Not for VectorMask<N> {
    type Output = Self;
    #[inline(always)]
    fn not(self) -> Self {
        Self(from_fn(|i| !self.0[i]))
    }
}

impl<T: Copy + Default, const N: usize> Vector<T, N> {
    /// The same value in every element.
    #[inline(always)]
    pub fn splat(value: T) -> Self {
        Self([value; N])
    }

    /// One function on every element.
    #[inline(always)]
    pub fn map<U: Copy + Default>(self, f: impl Fn(T) -> U) -> Vector<U, N> {
        Vector(from_fn(|i| f(self.0[i])))
    }

    /// One function on every pair of elements.
    #[inline(always)]
    pub fn zip<U: Copy + Default, R: Copy + Default>(self, other: Vector<U, N>, f: impl Fn(T, U) -> R) -> Vector<R, N> {
        Vector(from_fn(|i| f(self.0[i], other.0[i])))
    }

    /// One predicate on every pair of elements.
    #[inline(always)]
    pub fn compare(self, other: Self, f: impl Fn(T, T) -> bool) -> VectorMask<N> {
        VectorMask(from_fn(|i| f(self.0[i], other.0[i])))
    }

    /// `yes` where the mask holds, else `no`.
    #[inline(always)]
    pub fn blend(mask: VectorMask<N>, yes: Self, no: Self) -> Self {
        Self(from_fn(|i| if mask.0[i] { yes.0[i] } else { no.0[i] }))
    }
}

macro_rules! operators {
    ($($t:ty: $add:expr, $sub:expr, $mul:expr, $div:expr, $neg:expr;)*) => {$(
        impl<const N: usize> Add for Vector<$t, N> {
            type Output = Self;
            #[inline(always)]
            fn add(self, other: Self) -> Self { self.zip(other, $add) }
        }
        impl<const N: usize> Sub for Vector<$t, N> {
            type Output = Self;
            #[inline(always)]
            fn sub(self, other: Self) -> Self { self.zip(other, $sub) }
        }
        impl<const N: usize> Mul for Vector<$t, N> {
            type Output = Self;
            #[inline(always)]
            fn mul(self, other: Self) -> Self { self.zip(other, $mul) }
        }
        impl<const N: usize> Div for Vector<$t, N> {
            type Output = Self;
            #[inline(always)]
            fn div(self, other: Self) -> Self { self.zip(other, $div) }
        }
        impl<const N: usize> Neg for Vector<$t, N> {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self { self.map($neg) }
        }
    )*};
}

operators! {
    f32: |a, b| a + b, |a, b| a - b, |a, b| a * b, |a, b| a / b, |a| -a;
    f64: |a, b| a + b, |a, b| a - b, |a, b| a * b, |a, b| a / b, |a| -a;
    i64: i64::wrapping_add, i64::wrapping_sub, i64::wrapping_mul, truncating_quotient, i64::wrapping_neg;
    i32: i32::wrapping_add, i32::wrapping_sub, i32::wrapping_mul, truncating_quotient, i32::wrapping_neg;
    u8: u8::wrapping_add, u8::wrapping_sub, u8::wrapping_mul, truncating_quotient, u8::wrapping_neg;
}

/// Integers with a division that cannot trap. Division by zero is refused before a kernel runs; the value given here
/// only keeps the kernel total.
pub trait Integer: Copy + PartialEq + PartialOrd {
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// Quotient rounded towards zero, wrapping.
    fn quotient(self, other: Self) -> Option<Self>;
    /// Remainder of the truncated quotient.
    fn rest(self, other: Self) -> Self;
    /// Wrapping difference.
    fn minus(self, other: Self) -> Self;
    /// Wrapping sum.
    fn plus(self, other: Self) -> Self;
    /// Wrapping product.
    fn times(self, other: Self) -> Self;
    /// The exponent's next halving.
    fn half(self) -> Self;
    /// True for odd numbers.
    fn odd(self) -> bool;
    /// Wrapping absolute value.
    fn magnitude(self) -> Self;
    /// The bits moved up; nothing is left of them beyond the number's size, nor for negative places.
    fn moved_up(self, places: Self) -> Self;
    /// The bits moved down; the sign is left of them beyond the number's size, and for negative places.
    fn moved_down(self, places: Self) -> Self;
    /// The integer nearest to zero of a float.
    fn from_f64(value: f64) -> Self;
}

macro_rules! integers {
    ($($t:ty, $abs:expr;)*) => {$(
        impl Integer for $t {
            const ZERO: Self = 0;
            const ONE: Self = 1;
            #[inline(always)]
            fn quotient(self, other: Self) -> Option<Self> {
                if other == 0 { None } else { Some(self.wrapping_div(other)) }
            }
            #[inline(always)]
            fn rest(self, other: Self) -> Self {
                if other == 0 { 0 } else { self.wrapping_rem(other) }
            }
            #[inline(always)]
            fn minus(self, other: Self) -> Self { self.wrapping_sub(other) }
            #[inline(always)]
            fn plus(self, other: Self) -> Self { self.wrapping_add(other) }
            #[inline(always)]
            fn times(self, other: Self) -> Self { self.wrapping_mul(other) }
            #[inline(always)]
            fn half(self) -> Self { self / 2 }
            #[inline(always)]
            fn odd(self) -> bool { self & 1 == 1 }
            #[inline(always)]
            fn magnitude(self) -> Self { $abs(self) }
            #[inline(always)]
            fn moved_up(self, places: Self) -> Self {
                let places = places as i64;
                if (0..<$t>::BITS as i64).contains(&places) { self << places } else { 0 }
            }
            #[inline(always)]
            fn moved_down(self, places: Self) -> Self {
                let places = places as i64;
                match (0..<$t>::BITS as i64).contains(&places) {
                    true => self >> places,
                    false if <$t>::MIN == 0 => 0,
                    false => self >> (<$t>::BITS - 1),
                }
            }
            #[inline(always)]
            fn from_f64(value: f64) -> Self { value as Self }
        }
    )*};
}

integers! {
    i64, i64::wrapping_abs;
    i32, i32::wrapping_abs;
    u8, |x| x;
}

#[inline(always)]
fn truncating_quotient<T: Integer>(a: T, b: T) -> T {
    a.quotient(b).unwrap_or(T::ZERO)
}

/// The truncated quotient, one less where signs differ and something is left over.
#[inline(always)]
fn floor_quotient<T: Integer>(a: T, b: T) -> T {
    let Some(q) = a.quotient(b) else { return T::ZERO };
    // A product costs a tenth of a second division.
    let r = a.minus(q.times(b));
    if r != T::ZERO && ((r < T::ZERO) != (b < T::ZERO)) { q.minus(T::ONE) } else { q }
}

/// The truncated remainder, moved by one divisor where its sign is not the divisor's.
#[inline(always)]
fn floor_remainder<T: Integer>(a: T, b: T) -> T {
    let r = a.rest(b);
    if r != T::ZERO && ((r < T::ZERO) != (b < T::ZERO)) { r.plus(b) } else { r }
}

/// The greatest common divisor by Euclid's method.
#[inline(always)]
fn common_divisor<T: Integer>(a: T, b: T) -> T {
    let (mut a, mut b) = (a.magnitude(), b.magnitude());
    while b != T::ZERO {
        (a, b) = (b, a.rest(b));
    }
    a.magnitude()
}

/// Power by repeated squaring, wrapping. A negative exponent leaves what integers can hold of `1 / base^n`: the powers
/// of one and minus one, else zero.
#[inline(always)]
fn integer_power<T: Integer>(mut base: T, mut exponent: T) -> T {
    if exponent < T::ZERO {
        let minus_one = T::ZERO.minus(T::ONE);
        return match (base == T::ONE, base == minus_one, exponent.odd() || exponent.magnitude().odd()) {
            (true, _, _) | (_, true, false) => T::ONE,
            (_, true, true) => minus_one,
            _ => T::ZERO,
        };
    }
    let mut result = T::ONE;
    while exponent > T::ZERO {
        if exponent.odd() {
            result = result.times(base);
        }
        base = base.times(base);
        exponent = exponent.half();
    }
    result
}

macro_rules! integer_lanes {
    ($($t:ty)*) => {$(
        impl<const N: usize> Lane for Vector<$t, N> {
            type Mask = VectorMask<N>;
            #[inline(always)]
            fn constant(value: f64) -> Self { Self::splat(<$t>::from_f64(value)) }
            #[inline(always)]
            fn abs(self) -> Self { self.map(Integer::magnitude) }
            #[inline(always)]
            fn maximum(self, other: Self) -> Self { self.zip(other, |a, b| if a > b { a } else { b }) }
            #[inline(always)]
            fn minimum(self, other: Self) -> Self { self.zip(other, |a, b| if a < b { a } else { b }) }
            #[inline(always)]
            fn floor_divide(self, other: Self) -> Self { self.zip(other, floor_quotient) }
            #[inline(always)]
            fn remainder(self, other: Self) -> Self { self.zip(other, floor_remainder) }
            #[inline(always)]
            fn pow(self, other: Self) -> Self { self.zip(other, integer_power) }
            #[inline(always)]
            fn floor(self) -> Self { self }
            #[inline(always)]
            fn trunc(self) -> Self { self }
            #[inline(always)]
            fn round(self) -> Self { self }
            #[inline(always)]
            fn fmod(self, other: Self) -> Self { self.zip(other, Integer::rest) }
            #[inline(always)]
            fn gcd(self, other: Self) -> Self { self.zip(other, common_divisor) }
            #[inline(always)]
            fn shift_left(self, places: Self) -> Self { self.zip(places, Integer::moved_up) }
            #[inline(always)]
            fn shift_right(self, places: Self) -> Self { self.zip(places, Integer::moved_down) }
            #[inline(always)]
            fn bit_and(self, other: Self) -> Self { self.zip(other, |a, b| a & b) }
            #[inline(always)]
            fn bit_or(self, other: Self) -> Self { self.zip(other, |a, b| a | b) }
            #[inline(always)]
            fn bit_xor(self, other: Self) -> Self { self.zip(other, |a, b| a ^ b) }
            #[inline(always)]
            fn eq(self, other: Self) -> Self::Mask { self.compare(other, |a, b| a == b) }
            #[inline(always)]
            fn lt(self, other: Self) -> Self::Mask { self.compare(other, |a, b| a < b) }
            #[inline(always)]
            fn le(self, other: Self) -> Self::Mask { self.compare(other, |a, b| a <= b) }
            #[inline(always)]
            fn select(mask: Self::Mask, yes: Self, no: Self) -> Self { Self::blend(mask, yes, no) }
        }
    )*};
}

integer_lanes! { i64 i32 u8 }

macro_rules! float_lanes {
    ($($t:ident)*) => {$(
        impl<const N: usize> Lane for Vector<$t, N> {
            type Mask = VectorMask<N>;
            #[inline(always)]
            fn constant(value: f64) -> Self { Self::splat(value as $t) }
            #[inline(always)]
            fn abs(self) -> Self { self.map(<$t>::abs) }
            #[inline(always)]
            fn maximum(self, other: Self) -> Self {
                self.zip(other, |a, b| if a >= b || a != a { a } else { b })
            }
            #[inline(always)]
            fn minimum(self, other: Self) -> Self {
                self.zip(other, |a, b| if a <= b || a != a { a } else { b })
            }
            #[inline(always)]
            fn floor_divide(self, other: Self) -> Self { math::$t::floor_divide(self, other) }
            #[inline(always)]
            fn remainder(self, other: Self) -> Self { math::$t::remainder(self, other) }
            #[inline(always)]
            fn pow(self, other: Self) -> Self { math::$t::pow(self, other) }
            #[inline(always)]
            fn floor(self) -> Self { self.map(<$t>::floor) }
            #[inline(always)]
            fn trunc(self) -> Self { self.map(<$t>::trunc) }
            #[inline(always)]
            fn round(self) -> Self { self.map(<$t>::round_ties_even) }
            #[inline(always)]
            fn fmod(self, other: Self) -> Self { math::$t::fmod(self, other) }
            #[inline(always)]
            fn gcd(self, other: Self) -> Self {
                self.zip(other, |a, b| {
                    let (mut a, mut b) = (a.abs(), b.abs());
                    while b > 0.0 {
                        (a, b) = (b, a % b);
                    }
                    a
                })
            }
            #[inline(always)]
            fn shift_left(self, places: Self) -> Self {
                self.zip(places, |a, n| a * libm::exp2(f64::from(n)) as $t)
            }
            #[inline(always)]
            fn shift_right(self, places: Self) -> Self {
                self.zip(places, |a, n| (a * libm::exp2(-f64::from(n)) as $t).floor())
            }
            #[inline(always)]
            fn bit_and(self, other: Self) -> Self {
                self.zip(other, |a, b| <$t>::from_bits(a.to_bits() & b.to_bits()))
            }
            #[inline(always)]
            fn bit_or(self, other: Self) -> Self {
                self.zip(other, |a, b| <$t>::from_bits(a.to_bits() | b.to_bits()))
            }
            #[inline(always)]
            fn bit_xor(self, other: Self) -> Self {
                self.zip(other, |a, b| <$t>::from_bits(a.to_bits() ^ b.to_bits()))
            }
            #[inline(always)]
            fn eq(self, other: Self) -> Self::Mask { self.compare(other, |a, b| a == b) }
            #[inline(always)]
            fn lt(self, other: Self) -> Self::Mask { self.compare(other, |a, b| a < b) }
            #[inline(always)]
            fn le(self, other: Self) -> Self::Mask { self.compare(other, |a, b| a <= b) }
            #[inline(always)]
            fn select(mask: Self::Mask, yes: Self, no: Self) -> Self { Self::blend(mask, yes, no) }
        }
    )*};
}

float_lanes! { f32 f64 }

macro_rules! real {
    ($($(#[doc = $doc:literal])* $Name:ident $name:ident($($other:ident),*);)*) => {
        real! { @of f32 $($name($($other),*);)* }
        real! { @of f64 $($name($($other),*);)* }
    };
    (@of $t:ident $($name:ident($($other:ident),*);)*) => {
        impl<const N: usize> Real for Vector<$t, N> {
            #[inline(always)]
            fn mul_add(self, factor: Self, term: Self) -> Self {
                Self(from_fn(|i| self.0[i].mul_add(factor.0[i], term.0[i])))
            }
            $(
                #[inline(always)]
                fn $name(self $(, $other: Self)*) -> Self {
                    math::$t::$name(self $(, $other)*)
                }
            )*
        }
    };
}
functions!(real);
