//! Element types and torch's rules for mixing them.

use std::fmt;

use crate::error::{Error, Result};

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

/// What stands for an element type in a table.
struct Row {
    dtype: DType,
    name: &'static str,
    aliases: &'static [&'static str],
    scalar_type: &'static str,
    size: usize,
    category: Category,
}

const fn row(
    dtype: DType,
    name: &'static str,
    aliases: &'static [&'static str],
    scalar_type: &'static str,
    size: usize,
    category: Category,
) -> Row {
    Row { dtype, name, aliases, scalar_type, size, category }
}

const ROWS: [Row; 12] = [
    row(DType::Bool, "bool", &[], "Bool", 1, Category::Bool),
    row(DType::U8, "uint8", &[], "Byte", 1, Category::Integer),
    row(DType::I8, "int8", &[], "Char", 1, Category::Integer),
    row(DType::I16, "int16", &["short"], "Short", 2, Category::Integer),
    row(DType::I32, "int32", &["int"], "Int", 4, Category::Integer),
    row(DType::I64, "int64", &["long"], "Long", 8, Category::Integer),
    row(DType::F16, "float16", &["half"], "Half", 2, Category::Float),
    row(DType::BF16, "bfloat16", &[], "BFloat16", 2, Category::Float),
    row(DType::F32, "float32", &["float"], "float", 4, Category::Float),
    row(DType::F64, "float64", &["double"], "double", 8, Category::Float),
    row(DType::C64, "complex64", &["cfloat"], "ComplexFloat", 8, Category::Complex),
    row(DType::C128, "complex128", &["cdouble"], "ComplexDouble", 16, Category::Complex),
];

/// Why some types have no kernels.
pub const UNSUPPORTED: &str = "complex numbers are not implemented; keep the real and the imaginary part apart";

impl DType {
    /// All element types, each at its place in this order.
    pub fn all() -> impl ExactSizeIterator<Item = DType> {
        ROWS.iter().map(|row| row.dtype)
    }

    /// The element types that kernels exist for.
    pub fn supported() -> impl Iterator<Item = DType> {
        DType::all().filter(|d| d.is_supported())
    }

    /// torch's name without its module: `float32`.
    pub fn name(self) -> &'static str {
        ROWS[self as usize].name
    }

    /// The name that torch has for it in messages: `Long`.
    pub fn scalar_type(self) -> &'static str {
        ROWS[self as usize].scalar_type
    }

    /// torch's other names: `float`.
    pub fn aliases(self) -> &'static [&'static str] {
        ROWS[self as usize].aliases
    }

    /// Bytes an element takes.
    pub fn size(self) -> usize {
        ROWS[self as usize].size
    }

    /// The kind of number.
    pub const fn category(self) -> Category {
        ROWS[self as usize].category
    }

    /// True for the types that can carry gradients.
    pub const fn is_floating_point(self) -> bool {
        matches!(self.category(), Category::Float)
    }

    /// True for the types that hold negative numbers.
    pub fn is_signed(self) -> bool {
        !matches!(self, DType::Bool | DType::U8)
    }

    /// True for the types that kernels exist for.
    pub fn is_supported(self) -> bool {
        self.category() != Category::Complex
    }

    /// The type itself, where kernels exist for it.
    ///
    /// # Errors
    /// [`Error::DTypeUnsupported`].
    pub fn require(self, op: &'static str) -> Result<DType> {
        if self.is_supported() { Ok(self) } else { Err(Error::DTypeUnsupported { op, dtype: self, hint: UNSUPPORTED }) }
    }

    /// An error for the floats of 16 bits, which some operations do not take, as in torch.
    ///
    /// # Errors
    /// [`Error::DTypeUnsupported`].
    pub fn require_wide(self, op: &'static str) -> Result<()> {
        let hint = "use float32 or float64";
        if matches!(self, DType::F16 | DType::BF16) {
            return Err(Error::DTypeUnsupported { op, dtype: self, hint });
        }
        Ok(())
    }

    /// An error for bool, which some operations do not take, as in torch.
    ///
    /// # Errors
    /// [`Error::DTypeUnsupported`].
    pub fn require_numbers(self, op: &'static str) -> Result<()> {
        let hint = "truth values are no numbers here; use an integer dtype";
        if self == DType::Bool { Err(Error::DTypeUnsupported { op, dtype: self, hint }) } else { Ok(()) }
    }

    /// The type that kernels compute in: float32 for the floats of 16 bits, whose results are rounded once, and int32 for
    /// the narrow signed integers, whose results wrap to the same numbers.
    pub fn computed_in(self) -> DType {
        match self {
            DType::F16 | DType::BF16 => DType::F32,
            DType::I8 | DType::I16 => DType::I32,
            other => other,
        }
    }

    /// Whether values may be stored as another type: not floats as integers, nor integers as truth values.
    pub fn can_cast(self, to: DType) -> bool {
        self.category() <= to.category()
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
        for a in DType::all() {
            assert_eq!(DType::all().nth(a as usize), Some(a));
            for b in DType::all() {
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
