//! The Rust types behind dtypes, and conversions between them.

use super::half::{BF16, F16};
use super::lane::Lane;
use super::vector::Vector;
use crate::tensor::dtype::DType;
use crate::tensor::scalar::Scalar;

/// A type that tensors store and kernels move.
///
/// # Safety
/// Any bytes that a kernel stored through another `Element` of [`Self::DTYPE`] are a valid value.
pub unsafe trait Element: Copy + Send + Sync + PartialEq + PartialOrd + Default + 'static {
    /// The dtype whose elements these are.
    const DTYPE: DType;
    /// The nearest value to a float64; integers are cut towards zero.
    fn from_f64(value: f64) -> Self;
    /// The value of an integer.
    fn from_i64(value: i64) -> Self;
    /// The value as a float64.
    fn to_f64(self) -> f64;
    /// The value as an integer; floats are cut towards zero, and what is out of range is the least integer.
    fn to_i64(self) -> i64;
    /// As [`Self::to_i64`] of 32 bits; integers wrap.
    fn to_i32(self) -> i32;
    /// False for zero.
    fn to_bool(self) -> bool;
}

/// True for floats that are not a number.
#[inline(always)]
#[allow(clippy::eq_op, reason = "only NaN differs from itself")]
pub fn is_nan<T: Element>(x: T) -> bool {
    x != x
}

macro_rules! integers {
    ($($t:ty: $dtype:ident),*) => {$(
        // SAFETY: every bit pattern of these types is a value.
        unsafe impl Element for $t {
            const DTYPE: DType = DType::$dtype;
            #[inline(always)]
            fn from_f64(value: f64) -> Self { value as $t }
            #[inline(always)]
            fn from_i64(value: i64) -> Self { value as $t }
            #[inline(always)]
            fn to_f64(self) -> f64 { self as f64 }
            #[inline(always)]
            fn to_i64(self) -> i64 { self as i64 }
            #[inline(always)]
            fn to_i32(self) -> i32 { self as i32 }
            #[inline(always)]
            fn to_bool(self) -> bool { self != 0 }
        }
    )*};
}
integers!(u8: U8, i8: I8, i16: I16, i32: I32, i64: I64);

/// A float as an integer. What the integer does not hold is its least number, as x86-64 has it and torch with it.
macro_rules! cut {
    ($value:expr, $int:ty) => {{
        let value = $value;
        let (low, high) = (<$int>::MIN as f64, -(<$int>::MIN as f64));
        let fits = value as f64 >= low && (value as f64) < high;
        // SAFETY: a number between the bounds, or zero.
        let whole: $int = unsafe { (if fits { value } else { 0.0 }).to_int_unchecked() };
        if fits { whole } else { <$int>::MIN }
    }};
}

macro_rules! floats {
    ($($t:ty: $dtype:ident, $native:ty, |$x:ident| $from:expr, |$y:ident| $to:expr;)*) => {$(
        // SAFETY: every bit pattern of these types is a value.
        unsafe impl Element for $t {
            const DTYPE: DType = DType::$dtype;
            #[inline(always)]
            fn from_f64(value: f64) -> Self { let $x = value as $native; $from }
            #[inline(always)]
            fn from_i64(value: i64) -> Self { let $x = value as $native; $from }
            #[inline(always)]
            fn to_f64(self) -> f64 { let $y = self; ($to) as f64 }
            #[inline(always)]
            fn to_i64(self) -> i64 { let $y = self; cut!($to, i64) }
            #[inline(always)]
            fn to_i32(self) -> i32 { let $y = self; cut!($to, i32) }
            #[inline(always)]
            fn to_bool(self) -> bool { let $y = self; $to != 0.0 }
        }
    )*};
}
floats! {
    F16: F16, f32, |x| F16::from_f32(x), |y| y.to_f32();
    BF16: BF16, f32, |x| BF16::from_f32(x), |y| y.to_f32();
    f32: F32, f32, |x| x, |y| y;
    f64: F64, f64, |x| x, |y| y;
}

/// A truth value as tensors store it: one byte, 0 or 1. Memory shared with others may hold other bytes; all but 0 are
/// true.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub struct Truth(pub u8);

impl PartialEq for Truth {
    fn eq(&self, other: &Self) -> bool {
        self.to_bool() == other.to_bool()
    }
}

impl PartialOrd for Truth {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.to_bool().partial_cmp(&other.to_bool())
    }
}

// SAFETY: every byte is a value.
unsafe impl Element for Truth {
    const DTYPE: DType = DType::Bool;
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        Truth((value != 0.0) as u8)
    }
    #[inline(always)]
    fn from_i64(value: i64) -> Self {
        Truth((value != 0) as u8)
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self.to_bool() as u8 as f64
    }
    #[inline(always)]
    fn to_i64(self) -> i64 {
        self.to_bool() as i64
    }
    #[inline(always)]
    fn to_i32(self) -> i32 {
        self.to_bool() as i32
    }
    #[inline(always)]
    fn to_bool(self) -> bool {
        self.0 != 0
    }
}

/// Conversion of one element, as C casts it.
#[inline(always)]
pub fn convert<S: Element, D: Element>(value: S) -> D {
    if D::DTYPE == DType::Bool {
        D::from_i64(value.to_bool() as i64)
    } else if S::DTYPE.is_floating_point() && D::DTYPE.is_floating_point() {
        D::from_f64(value.to_f64())
    } else if S::DTYPE.is_floating_point() && D::DTYPE.size() < 8 {
        D::from_i64(value.to_i32() as i64)
    } else {
        D::from_i64(value.to_i64())
    }
}

/// A number as an element.
pub fn number<T: Element>(value: Scalar) -> T {
    match value {
        Scalar::Float(x) if T::DTYPE.is_floating_point() || T::DTYPE == DType::Bool => T::from_f64(x),
        Scalar::Unsigned(_) if T::DTYPE.is_floating_point() => T::from_f64(value.as_f64()),
        other => T::from_i64(other.as_i64()),
    }
}

/// An element type that programs compute in, with the vector that holds it.
pub trait Compute: Element {
    /// One element as formulas take it.
    type One: Lane;
    /// A vector for loops with branches.
    type V: Lane;
    /// Its number of elements.
    const WIDTH: usize;
}

macro_rules! computes {
    ($($t:ty: $n:literal),*) => {$(
        impl Compute for $t {
            type One = Vector<$t, 1>;
            type V = Vector<$t, $n>;
            const WIDTH: usize = $n;
        }
    )*};
}
computes!(f32: 16, f64: 8, i64: 8, i32: 16, u8: 64);

/// Runs a block of code with a type name bound to the Rust type of a dtype; dtypes without kernels give an error.
macro_rules! dispatch {
    (@arms $op:expr, $dtype:expr, $T:ident => $body:expr; $($variant:ident: $t:ty),*) => {
        match $dtype {
            $($crate::tensor::dtype::DType::$variant => {
                type $T = $t;
                $body
            })*
            other => return Err($crate::error::Error::DTypeUnsupported {
                op: $op,
                dtype: other,
                hint: $crate::tensor::dtype::UNSUPPORTED,
            }),
        }
    };
    ($op:expr, $dtype:expr, $T:ident => $body:expr) => {
        $crate::kernels::element::dispatch!(@arms $op, $dtype, $T => $body;
            Bool: $crate::kernels::element::Truth, U8: u8, I8: i8, I16: i16, I32: i32, I64: i64,
            F16: $crate::kernels::half::F16, BF16: $crate::kernels::half::BF16, F32: f32, F64: f64)
    };
}
pub(crate) use dispatch;
