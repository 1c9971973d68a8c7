//! Operations on the bits of integers and on truth values.

use smallvec::smallvec;

use super::compare;
use super::formula::{Binary, Formula, OPERANDS, Pointwise, Rule};
use super::registry::operation;
use crate::error::Result;
use crate::kernels::lane::Real;
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;

macro_rules! bitwise {
    ($($T:ident $method:ident)*) => {$(
        impl Binary for $T {
            fn forward<L: Real>(a: L, b: L) -> L {
                a.$method(b)
            }
            fn derivative<L: Real>(g: L, _a: L, _b: L, _y: L) -> [L; 2] {
                [g, g]
            }
        }
    )*};
}
bitwise! { BitwiseAnd bit_and BitwiseOr bit_or BitwiseXor bit_xor }

operation! {
    /// The bits that both have, element by element: `a & b`. Of truth values, whether both hold.
    ///
    /// >>> ferrograd.bitwise_and(ferrograd.tensor([12, 3]), 10)
    /// tensor([8, 2])
    binary BitwiseAnd, bitwise_and, "NotDifferentiable", Rule::Bits,
        ["bitwise_and(Tensor self, Operand other)", "bitwise_and(Number self, Tensor other)"]
}

operation! {
    /// The bits that either has, element by element: `a | b`. Of truth values, whether either holds.
    ///
    /// >>> ferrograd.bitwise_or(ferrograd.tensor([12, 3]), 10)
    /// tensor([14, 11])
    binary BitwiseOr, bitwise_or, "NotDifferentiable", Rule::Bits,
        ["bitwise_or(Tensor self, Operand other)", "bitwise_or(Number self, Tensor other)"]
}

operation! {
    /// The bits that one of the two has, element by element: `a ^ b`. Of truth values, whether they differ.
    ///
    /// >>> ferrograd.bitwise_xor(ferrograd.tensor([12, 3]), 10)
    /// tensor([6, 9])
    binary BitwiseXor, bitwise_xor, "NotDifferentiable", Rule::Bits,
        ["bitwise_xor(Tensor self, Operand other)", "bitwise_xor(Number self, Tensor other)"]
}

operation! {
    /// All bits turned over, element by element: `~x`, which is `-x - 1` for signed integers and not for truth values.
    ///
    /// >>> ferrograd.bitwise_not(ferrograd.tensor([0, 5]))
    /// tensor([-1, -6])
    chooses ["bitwise_not(Tensor self)"], |_, a| Ok((inverse_of(a.tensor(0)?.dtype()), smallvec![a.operand(0)?]))
}

/// The operation that turns over all bits of a dtype.
fn inverse_of(dtype: DType) -> &'static Pointwise {
    if dtype == DType::Bool { compare::LogicalNot::spec() } else { InvertedBits::spec() }
}

/// All bits turned over.
///
/// # Errors
/// For floating-point numbers.
pub fn bitwise_not(x: &Tensor) -> Result<Tensor> {
    super::pointwise::apply(inverse_of(x.dtype()), &[x.into()])
}

/// `-x - 1`: the bits of an integer turned over.
pub struct InvertedBits;

impl InvertedBits {
    /// What the engine knows of the operation.
    pub fn spec() -> &'static Pointwise {
        static SPEC: Pointwise = Pointwise::new::<InvertedBits>("bitwise_not", "NotDifferentiable", Rule::Bits);
        &SPEC
    }
}

impl Formula for InvertedBits {
    const ARITY: usize = 1;
    #[inline(always)]
    fn forward<L: Real>([x, ..]: [L; OPERANDS]) -> L {
        L::constant(0.0) - x - L::constant(1.0)
    }
    #[inline(always)]
    fn derivative<L: Real>(_n: usize, g: L, _x: [L; OPERANDS], _y: L) -> L {
        g
    }
}
