//! Element types and torch's rules for mixing them.

use std::fmt;

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum DType {
    /// Truth values, one byte each.
    Bool,
    /// Unsigned 8-bit integers.
    U8,
    /// Signed 8-bit integers.
    I8,
    /// Signed 16-bit integers.
    I16,
    /// Signed 32-bit integers.
    I32,
    /// Signed 64-bit integers: what Python integers become.
    I64,
    /// IEEE half precision.
    F16,
    /// The upper half of a float32.
    BF16,
    /// IEEE single precision: what Python floats become.
    F32,
    /// IEEE double precision.
    F64,
    /// A pair of float32.
    C64,
    /// A pair of float64.
    C128,
}

/// The kinds of number, in the order in which they win a promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// Truth values.
    Bool,
    /// Integers.
    Integer,
    /// Floating-point numbers.
    Float,
    /// Complex numbers.
    Complex,
}

/// What stands for an element type in a table: name, size, category.
struct Row(&'static str, usize, Category);

const ROWS: [Row; 12] = [
    Row("bool", 1, Category::Bool),
    Row("uint8", 1, Category::Integer),
    Row("int8", 1, Category::Integer),
    Row("int16", 2, Category::Integer),
    Row("int32", 4, Category::Integer),
    Row("int64", 8, Category::Integer),
    Row("float16", 2, Category::Float),
    Row("bfloat16", 2, Category::Float),
    Row("float32", 4, Category::Float),
    Row("float64", 8, Category::Float),
    Row("complex64", 8, Category::Complex),
    Row("complex128", 16, Category::Complex),
];

impl DType {
    /// The element types that kernels exist for.
    pub const SUPPORTED: [DType; 6] = [DType::Bool, DType::U8, DType::I32, DType::I64, DType::F32, DType::F64];

    /// torch's name without its module: `float32`.
    pub fn name(self) -> &'static str {
        ROWS[self as usize].0
    }

    /// Bytes an element takes.
    pub fn size(self) -> usize {
        ROWS[self as usize].1
    }

    /// The kind of number.
    pub fn category(self) -> Category {
        ROWS[self as usize].2
    }

    /// True for the types that can carry gradients.
    pub fn is_floating_point(self) -> bool {
        self.category() == Category::Float
    }

    /// True for the types that hold negative numbers.
    pub fn is_signed(self) -> bool {
        !matches!(self, DType::Bool | DType::U8)
    }

    /// True for the types of [`Self::SUPPORTED`].
    pub fn is_supported(self) -> bool {
        Self::SUPPORTED.contains(&self)
    }

    /// The smallest type that holds what both hold, as torch's `promote_types`.
    pub fn promote(self, other: DType) -> DType {
        use DType::*;
        if self == other {
            return self;
        }
        let (low, high) = if self < other { (self, other) } else { (other, self) };
        match (low, high) {
            // No 8-bit type holds both uint8 and int8.
            (U8, I8) => I16,
            // Neither 16-bit float holds the other.
            (F16, BF16) => F32,
            (F64, C64) => C128,
            _ => high,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One operand of a promotion: tensors with dimensions outrank those without, which outrank plain numbers; within a
/// rank types promote, across ranks only a higher [`Category`] of the weaker operand counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Promotion {
    dimensioned: Option<DType>,
    zero_dim: Option<DType>,
    number: Option<DType>,
}

impl Promotion {
    /// Adds a tensor of the given type and rank.
    pub fn tensor(&mut self, dtype: DType, rank: usize) {
        let slot = if rank == 0 { &mut self.zero_dim } else { &mut self.dimensioned };
        *slot = Some(slot.map_or(dtype, |d| d.promote(dtype)));
    }

    /// Adds a plain number, whose type is the default of its category.
    pub fn number(&mut self, dtype: DType) {
        self.number = Some(self.number.map_or(dtype, |d| d.promote(dtype)));
    }

    /// The type of the result.
    pub fn result(self) -> DType {
        let combine = |strong: Option<DType>, weak: Option<DType>| match (strong, weak) {
            (Some(s), Some(w)) if w.category() > s.category() => Some(s.promote(w)).map(|_| w),
            (Some(s), _) => Some(s),
            (None, w) => w,
        };
        combine(combine(self.dimensioned, self.zero_dim), self.number).unwrap_or(DType::F32)
    }
}

#[cfg(test)]
mod tests {
    use super::{DType, Promotion};

    #[test]
    fn promotion_is_symmetric_and_grows() {
        for a in DType::SUPPORTED {
            for b in DType::SUPPORTED {
                assert_eq!(a.promote(b), b.promote(a));
                assert!(a.promote(b) >= a.max(b));
            }
        }
    }

    #[test]
    fn numbers_and_zero_dim_tensors_are_weak() {
        let mut p = Promotion::default();
        p.tensor(DType::F32, 1);
        p.tensor(DType::F64, 0);
        assert_eq!(p.result(), DType::F32);
        let mut p = Promotion::default();
        p.tensor(DType::I32, 2);
        p.number(DType::F32);
        assert_eq!(p.result(), DType::F32);
        let mut p = Promotion::default();
        p.tensor(DType::U8, 1);
        p.tensor(DType::I64, 0);
        assert_eq!(p.result(), DType::U8);
    }
}
