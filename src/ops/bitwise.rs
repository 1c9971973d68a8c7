//! Operations on the bits of integers and on truth values.

use smallvec::smallvec;

use super::compare;
use super::formula::{Binary, Formula, OPERANDS, Pointwise, Rule};
use super::registry::operation;
use crate::error::Result;
use crate::kernels::lane::Real;
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;

macro_rules! integers {
    ($($T:ident $method:ident)*) => {$(
        impl Binary for $T {
            #[inline(always)]
            fn forward<L: Real>(a: L, b: L) -> L {
                a.$method(b)
            }
            #[inline(always)]
            fn derivative<L: Real>(g: L, _a: L, _b: L, _y: L) -> [L; 2] {
                [g, g]
            }
        }
    )*};
}
integers! {
    BitwiseAnd bit_and BitwiseOr bit_or BitwiseXor bit_xor BitwiseLeftShift shift_left BitwiseRightShift shift_right Gcd gcd
}

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
    /// The bits moved up by `b` places, element by element: `a << b`, which is `a 2^b`. Nothing is left where `b` is negative
    /// or the number's size and more. Integers only.
    ///
    /// >>> ferrograd.bitwise_left_shift(ferrograd.tensor([1, 3]), 2)
    /// tensor([ 4, 12])
    binary BitwiseLeftShift, bitwise_left_shift, "NotDifferentiable", Rule::Integer,
        ["bitwise_left_shift(Tensor self, Operand other)", "bitwise_left_shift(Number self, Tensor other)"]
}

operation! {
    /// The bits moved down by `b` places, element by element: `a >> b`, which is `a 2^-b` rounded down. The sign alone is left
    /// where `b` is negative or the number's size and more. Integers only.
    ///
    /// >>> ferrograd.bitwise_right_shift(ferrograd.tensor([9, -9]), 1)
    /// tensor([ 4, -5])
    binary BitwiseRightShift, bitwise_right_shift, "NotDifferentiable", Rule::Integer,
        ["bitwise_right_shift(Tensor self, Operand other)", "bitwise_right_shift(Number self, Tensor other)"]
}

operation! {
    /// The greatest common divisor, element by element, without a sign; of zeros, zero. Integers only.
    ///
    /// >>> ferrograd.gcd(ferrograd.tensor([12, -4]), ferrograd.tensor([18, 6]))
    /// tensor([6, 2])
    binary Gcd, gcd, "NotDifferentiable", Rule::Integer, ["gcd(Tensor self, Tensor other)"]
}

operation! {
    /// The least common multiple, element by element, without a sign; zero where either is. Integers only.
    ///
    /// >>> ferrograd.lcm(ferrograd.tensor([12, -4]), ferrograd.tensor([18, 6]))
    /// tensor([36, 12])
    binary Lcm, lcm, "NotDifferentiable", Rule::Integer, ["lcm(Tensor self, Tensor other)"]
}
impl Binary for Lcm {
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        let (zero, divisor) = (L::constant(0.0), a.gcd(b));
        L::select(divisor.eq(zero), zero, (a / divisor * b).abs())
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _a: L, _b: L, _y: L) -> [L; 2] {
        [g, g]
    }
}

operation! {
    /// All bits turned over, element by element: `~x`, which is `-x - 1` for signed integers and not for truth values.
    ///
    /// >>> ferrograd.bitwise_not(ferrograd.tensor([0, 5]))
    /// tensor([-1, -6])
    chooses Same(Whole -> Kept), ["bitwise_not(Tensor self)"], |_, a| Ok((inverse_of(a.tensor(0)?.dtype()), smallvec![a.operand(0)?]))
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
