//! One number outside of a tensor.

use std::fmt;

use super::dtype::DType;
use crate::error::{Error, Result};

/// A number as Python or Rust code writes it: its category is known, its width is not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An integer beyond int64, below 2^64. Among integers it wraps where sums and products do, and fits no dtype.
    Unsigned(u64),
    /// A floating-point number.
    Float(f64),
}

impl Scalar {
    /// The type that a tensor made of this number alone would have.
    pub fn dtype(self) -> DType {
        match self {
            Scalar::Bool(_) => DType::Bool,
            Scalar::Int(_) | Scalar::Unsigned(_) => DType::I64,
            Scalar::Float(_) => crate::tensor::default_dtype(),
        }
    }

    /// The number as a float64.
    #[inline]
    pub fn as_f64(self) -> f64 {
        match self {
            Scalar::Bool(b) => b as u8 as f64,
            Scalar::Int(i) => i as f64,
            Scalar::Unsigned(u) => u as f64,
            Scalar::Float(x) => x,
        }
    }

    /// The number as an integer, floats cut towards zero; those beyond int64 wrap.
    #[inline]
    pub fn as_i64(self) -> i64 {
        match self {
            Scalar::Bool(b) => b as i64,
            Scalar::Int(i) => i,
            Scalar::Unsigned(u) => u as i64,
            Scalar::Float(x) => x as i64,
        }
    }

    /// Whether a dtype can hold the number: integers within the range, floats that do not become infinite.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn check_fits(self, op: &'static str, dtype: DType) -> Result<()> {
        let signed = |bits: i32| -2f64.powi(bits - 1)..=2f64.powi(bits - 1) - 1.0;
        let range = match dtype {
            // Negative integers wrap in unsigned ones, as in torch.
            DType::U8 if matches!(self, Scalar::Float(_)) => 0.0..=255.0,
            DType::U8 => -255.0..=255.0,
            DType::I8 | DType::I16 | DType::I32 => signed(8 * dtype.size() as i32),
            // The greatest int64 is no float64; the next one up is the first that does not fit.
            DType::I64 => i64::MIN as f64..=(i64::MAX as f64).next_down(),
            _ if !self.as_f64().is_finite() => return Ok(()),
            DType::F16 => -65504.0..=65504.0,
            // The greatest number has eight bits: 2^128 - 2^120.
            DType::BF16 => -f32::from_bits(0x7f7f_0000) as f64..=f32::from_bits(0x7f7f_0000) as f64,
            DType::F32 => f32::MIN as f64..=f32::MAX as f64,
            _ => return Ok(()),
        };
        match self {
            Scalar::Int(_) if dtype == DType::I64 => Ok(()),
            number if range.contains(&number.as_f64()) => Ok(()),
            _ => Err(Error::Overflow { op, dtype, given: self.to_string() }),
        }
    }

    /// The number as tensors of integers of a dtype hold it, where negative integers may wrap; itself for floats.
    ///
    /// # Errors
    /// As [`Scalar::check_fits`], for integers.
    pub(crate) fn wrapped(self, op: &'static str, dtype: DType) -> Result<Scalar> {
        if dtype.is_floating_point() {
            return Ok(self);
        }
        self.check_fits(op, dtype)?;
        Ok(match self {
            Scalar::Int(i) if dtype == DType::U8 => Scalar::Int(i64::from(i as u8)),
            number => number,
        })
    }

    /// The number with the other sign; int64 wraps, and integers beyond stay beyond.
    pub(crate) fn negated(self) -> Scalar {
        match self {
            Scalar::Int(i) => Scalar::Int(i.wrapping_neg()),
            Scalar::Float(x) => Scalar::Float(-x),
            other => other,
        }
    }

    /// The number as one of a dtype without fractions, floats cut towards zero.
    ///
    /// # Errors
    /// [`Error::Overflow`].
    pub fn cut(self, op: &'static str, dtype: DType) -> Result<Scalar> {
        let whole = if let Scalar::Float(x) = self { Scalar::Float(x.trunc()) } else { self };
        whole.check_fits(op, dtype)?;
        Ok(Scalar::Int(self.as_i64()))
    }

    /// False for zero.
    pub fn as_bool(self) -> bool {
        match self {
            Scalar::Bool(b) => b,
            Scalar::Int(i) => i != 0,
            Scalar::Unsigned(_) => true,
            Scalar::Float(x) => x != 0.0,
        }
    }
}

impl fmt::Display for Scalar {
    /// As Python writes the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Scalar::Bool(b) => f.write_str(if b { "True" } else { "False" }),
            Scalar::Int(i) => i.fmt(f),
            Scalar::Unsigned(u) => u.fmt(f),
            Scalar::Float(x) if x.is_nan() => f.write_str("nan"),
            Scalar::Float(x) => write!(f, "{x:?}"),
        }
    }
}

impl From<f64> for Scalar {
    fn from(value: f64) -> Self {
        Scalar::Float(value)
    }
}

impl From<f32> for Scalar {
    fn from(value: f32) -> Self {
        Scalar::Float(value as f64)
    }
}

impl From<i64> for Scalar {
    fn from(value: i64) -> Self {
        Scalar::Int(value)
    }
}

impl From<i32> for Scalar {
    fn from(value: i32) -> Self {
        Scalar::Int(value as i64)
    }
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Self {
        Scalar::Bool(value)
    }
}
