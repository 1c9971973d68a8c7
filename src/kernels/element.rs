//! The Rust types behind dtypes, and conversions between them.

use super::lane::Lane;
use super::vector::Vector;
use crate::tensor::dtype::DType;

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
    /// False for zero.
    fn to_bool(self) -> bool;
}

macro_rules! elements {
    ($value:ident => $whole:expr; $($t:ty: $dtype:ident),*) => {$(
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
            fn to_i64(self) -> i64 {
                let $value = self;
                $whole
            }
            #[inline(always)]
            fn to_bool(self) -> bool { self != 0 as $t }
        }
    )*};
}
elements!(x => x as i64; u8: U8, i32: I32, i64: I64);
// Rust's cast saturates; 2^63 is a number of every float type, and the least integer is its negative.
elements!(x => if x.abs() < 9223372036854775808.0 { x as i64 } else { i64::MIN }; f32: F32, f64: F64);

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
    fn to_bool(self) -> bool {
        self.0 != 0
    }
}

/// Conversion of one element, as C casts it.
#[inline(always)]
pub fn convert<S: Element, D: Element>(value: S) -> D {
    if D::DTYPE == DType::Bool {
        D::from_i64(value.to_bool() as i64)
    } else if S::DTYPE.is_floating_point() {
        if D::DTYPE.is_floating_point() { D::from_f64(value.to_f64()) } else { D::from_i64(cut(value, D::DTYPE)) }
    } else if D::DTYPE == DType::F32 || D::DTYPE == DType::F64 {
        int_to_float(value.to_i64())
    } else {
        D::from_i64(value.to_i64())
    }
}

/// A float as torch and NumPy cast it on x86-64: out of range is the least int64 for int64 and the least int32 for all
/// smaller integers, which then take its low bits.
#[inline(always)]
fn cut<S: Element>(value: S, to: DType) -> i64 {
    let whole = value.to_i64();
    if to == DType::I64 || whole == i64::from(whole as i32) { whole } else { i64::from(i32::MIN) }
}

#[inline(always)]
fn int_to_float<D: Element>(value: i64) -> D {
    D::from_i64(value)
}

/// An element type that programs compute in, with the vector that holds it.
pub trait Compute: Element {
    /// One element as formulas take it.
    type One: Lane;
    /// A vector for instructions with branches.
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
    ($op:expr, $dtype:expr, $T:ident => $body:expr) => {{
        use $crate::tensor::dtype::DType;
        match $dtype {
            DType::Bool => {
                type $T = $crate::kernels::element::Truth;
                $body
            }
            DType::U8 => {
                type $T = u8;
                $body
            }
            DType::I32 => {
                type $T = i32;
                $body
            }
            DType::I64 => {
                type $T = i64;
                $body
            }
            DType::F32 => {
                type $T = f32;
                $body
            }
            DType::F64 => {
                type $T = f64;
                $body
            }
            other => {
                return Err($crate::error::Error::DTypeUnsupported {
                    op: $op,
                    dtype: other,
                    hint: "use bool, uint8, int32, int64, float32 or float64",
                });
            }
        }
    }};
}
pub(crate) use dispatch;
