//! One element outside of any loop: what the direct way of one-element tensors runs. Arithmetic is done in place; a
//! function goes through its instruction's loop, which is there for the machine's vectors already, so that formulas stay
//! small however many functions they have.

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::dispatch::tier;
use super::expr::OpCode;
use super::function::{Function, functions};
use super::instructions::Run;
use super::lane::{Lane, Real};
use super::vector::{Vector, VectorMask};

/// A number of type `T`.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Single<T>(pub T);

impl<T: Run> Single<T> {
    /// One instruction on these numbers.
    #[inline]
    fn run(self, op: OpCode, other: T) -> Self {
        let mut y = self.0;
        if let Some(run) = T::instruction(op, tier()) {
            // SAFETY: every argument is one element, and the tier is one that the machine has.
            unsafe { run(&mut y, &self.0, &other, &other, &other, 1) };
        }
        Single(y)
    }
}

macro_rules! arithmetic {
    ($($trait:ident $method:ident),*) => {$(
        impl<T: $trait<Output = T>> $trait for Single<T> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Single(self.0.$method(other.0))
            }
        }
    )*};
}
arithmetic!(Add add, Sub sub, Mul mul, Div div);

impl<T: Neg<Output = T>> Neg for Single<T> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Single(-self.0)
    }
}

/// Functions of lanes as the vector of one element has them.
macro_rules! as_vector {
    ($($name:ident($($other:ident)?);)*) => {$(
        #[inline(always)]
        fn $name(self $(, $other: Self)?) -> Self {
            Single(Vector([self.0]).$name($(Vector([$other.0]))?).0[0])
        }
    )*};
}

/// Functions of lanes that cost more than a call.
macro_rules! as_instruction {
    ($($name:ident $Op:ident;)*) => {$(
        #[inline]
        fn $name(self, other: Self) -> Self {
            self.run(OpCode::$Op, other.0)
        }
    )*};
}

macro_rules! comparisons {
    ($($name:ident $op:tt;)*) => {$(
        #[inline(always)]
        fn $name(self, other: Self) -> Self::Mask {
            VectorMask([self.0 $op other.0])
        }
    )*};
}

macro_rules! lanes {
    ($($t:ident)*) => {$(
        impl Lane for Single<$t> {
            type Mask = VectorMask<1>;
            #[inline(always)]
            fn constant(value: f64) -> Self {
                Single(value as $t)
            }
            as_vector! {
                abs(); floor(); trunc(); round(); shift_left(other); shift_right(other); gcd(other); fmod(other); maximum(other); minimum(other); bit_and(other); bit_or(other); bit_xor(other);
            }
            as_instruction! { floor_divide FloorDivide; remainder Remainder; pow Pow; }
            comparisons! { eq ==; lt <; le <=; }
            #[inline(always)]
            fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
                if mask.0[0] { yes } else { no }
            }
        }
    )*};
}
lanes! { f32 f64 }

macro_rules! real {
    ($($(#[doc = $doc:literal])* $Name:ident $name:ident($($other:ident)?);)*) => {
        real! { @of f32 $($Name $name($($other)?);)* }
        real! { @of f64 $($Name $name($($other)?);)* }
    };
    (@of $t:ident $($Name:ident $name:ident($($other:ident)?);)*) => {
        impl Real for Single<$t> {
            #[inline]
            fn mul_add(self, factor: Self, term: Self) -> Self {
                Single(self.0.mul_add(factor.0, term.0))
            }
            $(
                #[inline]
                fn $name(self $(, $other: Self)?) -> Self {
                    #[allow(unused_variables, reason = "functions of one argument")]
                    let more = self.0;
                    $(let more = $other.0;)?
                    self.run(OpCode::Function(Function::$Name), more)
                }
            )*
        }
    };
}
functions!(real);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_the_vectors() {
        for x in [0.0f64, 0.3, -1.7, 1e9] {
            assert_eq!(Single(x).sin().0.to_bits(), Vector([x]).sin().0[0].to_bits());
            assert_eq!(Single(x).exp().0.to_bits(), Vector([x]).exp().0[0].to_bits());
            assert_eq!(Single(x).pow(Single(2.5)).0.to_bits(), Vector([x]).pow(Vector([2.5])).0[0].to_bits());
        }
    }
}
