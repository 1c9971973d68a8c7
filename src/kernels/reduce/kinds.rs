//! What reductions combine: associative operations, their identities, and what they make of each element first.

use std::marker::PhantomData;

use crate::kernels::element::{Element, Truth, convert};
use crate::kernels::lane::Real;
use crate::kernels::vector::Vector;

/// A type that reductions are computed in: sums and products in the wide ones, extremes in all.
pub trait Accumulator: Element {
    /// What a sum starts from.
    const ZERO: Self;
    /// What a product starts from.
    const ONE: Self;
    /// The least value.
    const LEAST: Self;
    /// The greatest value.
    const GREATEST: Self;
    /// The sum.
    fn plus(self, other: Self) -> Self;
    /// The difference.
    fn minus(self, other: Self) -> Self;
    /// The product.
    fn times(self, other: Self) -> Self;
    /// Without its sign.
    fn magnitude(self) -> Self;
    /// True for what is not a number.
    fn is_nan(self) -> bool;
}

macro_rules! accumulators {
    ($($t:ident: $least:expr, $greatest:expr, $plus:expr, $minus:expr, $times:expr, $abs:expr, $nan:expr;)*) => {$(
        impl Accumulator for $t {
            const ZERO: $t = 0 as $t;
            const ONE: $t = 1 as $t;
            const LEAST: $t = $least;
            const GREATEST: $t = $greatest;
            #[inline(always)]
            fn plus(self, other: $t) -> $t { $plus(self, other) }
            #[inline(always)]
            fn minus(self, other: $t) -> $t { $minus(self, other) }
            #[inline(always)]
            fn times(self, other: $t) -> $t { $times(self, other) }
            #[inline(always)]
            fn magnitude(self) -> $t { $abs(self) }
            #[inline(always)]
            fn is_nan(self) -> bool { $nan(self) }
        }
    )*};
}

accumulators! {
    f32: f32::NEG_INFINITY, f32::INFINITY, |a, b| a + b, |a, b| a - b, |a, b| a * b, f32::abs, f32::is_nan;
    f64: f64::NEG_INFINITY, f64::INFINITY, |a, b| a + b, |a, b| a - b, |a, b| a * b, f64::abs, f64::is_nan;
    i64: i64::MIN, i64::MAX, i64::wrapping_add, i64::wrapping_sub, i64::wrapping_mul, i64::wrapping_abs, |_| false;
    i32: i32::MIN, i32::MAX, i32::wrapping_add, i32::wrapping_sub, i32::wrapping_mul, i32::wrapping_abs, |_| false;
    i16: i16::MIN, i16::MAX, i16::wrapping_add, i16::wrapping_sub, i16::wrapping_mul, i16::wrapping_abs, |_| false;
    i8: i8::MIN, i8::MAX, i8::wrapping_add, i8::wrapping_sub, i8::wrapping_mul, i8::wrapping_abs, |_| false;
    u8: u8::MIN, u8::MAX, u8::wrapping_add, u8::wrapping_sub, u8::wrapping_mul, |x| x, |_| false;
}

/// A reduction.
pub trait Reduction: 'static {
    /// What is read.
    type In: Element;
    /// What partial results are.
    type Out: Element;
    /// What changes nothing.
    const IDENTITY: Self::Out;
    /// True where an element may be taken more than once.
    const AGAIN: bool;
    /// True where floats are read.
    const IS_FLOAT: bool = Self::In::DTYPE.is_floating_point();
    /// What an element counts as, beside the centre of its result where there is one.
    fn map(x: Self::In, centre: Self::Out) -> Self::Out;
    /// Two partial results in one.
    fn combine(a: Self::Out, b: Self::Out) -> Self::Out;
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $name:ident: $identity:ident, |$x:ident, $centre:ident| $map:expr, $combine:expr, $again:literal;)*) => {$(
        $(#[doc = $doc])*
        pub struct $name<I, A>(PhantomData<(I, A)>);
        impl<I: Element, A: Accumulator> Reduction for $name<I, A> {
            type In = I;
            type Out = A;
            const IDENTITY: A = A::$identity;
            const AGAIN: bool = $again;
            #[inline(always)]
            #[allow(unused_variables, reason = "reductions without a centre")]
            fn map($x: I, $centre: A) -> A {
                let $x = convert::<I, A>($x);
                $map
            }
            #[inline(always)]
            fn combine(a: A, b: A) -> A { $combine(a, b) }
        }
    )*};
}

kinds! {
    /// Sum.
    Sum: ZERO, |x, centre| x, A::plus, false;
    /// Sum of what is a number.
    NanSum: ZERO, |x, centre| if x.is_nan() { A::ZERO } else { x }, A::plus, false;
    /// How many are a number.
    Numbers: ZERO, |x, centre| if x.is_nan() { A::ZERO } else { A::ONE }, A::plus, false;
    /// Sum of the absolute values.
    Magnitudes: ZERO, |x, centre| x.magnitude(), A::plus, false;
    /// Sum of the squares.
    Squares: ZERO, |x, centre| x.times(x), A::plus, false;
    /// Sum of the distances from the centre.
    Distances: ZERO, |x, centre| x.minus(centre), A::plus, false;
    /// Sum of the squared distances from the centre.
    Deviations: ZERO, |x, centre| { let d = x.minus(centre); d.times(d) }, A::plus, false;
    /// Product.
    Product: ONE, |x, centre| x, A::times, false;
    /// The greatest; not a number where any is.
    Greatest: LEAST, |x, centre| x, greater, true;
    /// The least; not a number where any is.
    Least: GREATEST, |x, centre| x, lesser, true;
    /// The greatest absolute value.
    GreatestMagnitude: ZERO, |x, centre| x.magnitude(), greater, true;
    /// The least absolute value.
    LeastMagnitude: GREATEST, |x, centre| x.magnitude(), lesser, true;
}

#[inline(always)]
fn greater<A: Accumulator>(a: A, b: A) -> A {
    // Of equals, as zeros of both signs, the first; the comparison holds too where either is not a number.
    if is_not(b <= a) & is_not(a.is_nan()) { b } else { a }
}

#[inline(always)]
fn lesser<A: Accumulator>(a: A, b: A) -> A {
    if is_not(b >= a) & is_not(a.is_nan()) { b } else { a }
}

/// The opposite. Comparisons of what is not a number have no opposite among themselves.
#[inline(always)]
fn is_not(holds: bool) -> bool {
    !holds
}

macro_rules! truths {
    ($($(#[doc = $doc:literal])* $name:ident -> $out:ty: $identity:expr, $map:expr, $combine:expr, $again:literal;)*) => {$(
        $(#[doc = $doc])*
        pub struct $name;
        impl Reduction for $name {
            type In = Truth;
            type Out = $out;
            const IDENTITY: $out = $identity;
            const AGAIN: bool = $again;
            #[inline(always)]
            fn map(x: Truth, _centre: $out) -> $out { $map(x.to_bool()) }
            #[inline(always)]
            fn combine(a: $out, b: $out) -> $out { $combine(a, b) }
        }
    )*};
}

truths! {
    /// Whether any is true.
    Any -> Truth: Truth(0), |x| Truth(x as u8), |a: Truth, b: Truth| Truth(a.0 | b.0), true;
    /// Whether all are true.
    All -> Truth: Truth(1), |x| Truth(x as u8), |a: Truth, b: Truth| Truth(a.0 & b.0), true;
    /// How many are true.
    Count -> i64: 0, |x| x as i64, |a: i64, b: i64| a + b, false;
}

/// A float with exponentials.
pub trait Exponential: Accumulator {
    /// `e^x`
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn log(self) -> Self;
    /// `log(1 + x)`
    fn log1p(self) -> Self;
    /// `1 / x`
    fn inverse(self) -> Self;
}

macro_rules! exponentials {
    ($($t:ty),*) => {$(
        impl Exponential for $t {
            #[inline(always)]
            fn exp(self) -> $t { Real::exp(Vector([self])).0[0] }
            #[inline(always)]
            fn log(self) -> $t { Real::log(Vector([self])).0[0] }
            #[inline(always)]
            fn log1p(self) -> $t { Real::log1p(Vector([self])).0[0] }
            #[inline(always)]
            fn inverse(self) -> $t { 1.0 / self }
        }
    )*};
}
exponentials!(f32, f64);

/// Sum of the exponentials of the distances from the centre.
pub struct Exponentials<A>(PhantomData<A>);
impl<A: Exponential> Reduction for Exponentials<A> {
    type In = A;
    type Out = A;
    const IDENTITY: A = A::ZERO;
    const AGAIN: bool = false;
    #[inline(always)]
    fn map(x: A, centre: A) -> A {
        x.minus(centre).exp()
    }
    #[inline(always)]
    fn combine(a: A, b: A) -> A {
        a.plus(b)
    }
}
