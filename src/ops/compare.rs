//! Comparisons, logic and choice.

use smallvec::smallvec;

use super::formula::{Binary, Form, Formula, OPERANDS, Operand, Pointwise, Rule, Ternary, Unary};
use super::registry::operation;
use crate::error::{Error, Result};
use crate::graph::node::Setting;
use crate::kernels::lane::Real;
use crate::tensor::Tensor;
use crate::tensor::scalar::Scalar;

/// A comparison as a number: one where it holds. Only the form in place has a node.
macro_rules! comparison {
    ($T:ident, $method:ident, $node:literal) => {
        impl Binary for $T {
            const FORMS: &'static [Form] = &[Form::new(0b10, $node, 0b01)];
            #[inline(always)]
            fn forward<L: Real>(a: L, b: L) -> L {
                L::from_mask(a.$method(b))
            }
            #[inline(always)]
            fn derivative<L: Real>(_g: L, _a: L, _b: L, _y: L) -> [L; 2] {
                [L::constant(0.0); 2]
            }
        }
    };
}

operation! {
    /// `a == b`, element by element, as bool.
    ///
    /// >>> ferrograd.eq(ferrograd.tensor([1, 2]), 2)
    /// tensor([False,  True])
    binary Eq, eq, "EqBackward1", Rule::Compare, ["eq(Tensor self, Operand other)"]
}
comparison!(Eq, eq, "EqBackward0");

operation! {
    /// `a != b`, element by element, as bool.
    ///
    /// >>> ferrograd.ne(ferrograd.tensor([1, 2]), 2)
    /// tensor([ True, False])
    binary Ne, ne, "NeBackward1", Rule::Compare, ["ne(Tensor self, Operand other)"; also "not_equal"]
}
comparison!(Ne, ne, "NeBackward0");

operation! {
    /// `a < b`, element by element, as bool.
    ///
    /// >>> ferrograd.lt(ferrograd.tensor([1, 2]), 2)
    /// tensor([ True, False])
    binary Lt, lt, "LtBackward1", Rule::Compare, ["lt(Tensor self, Operand other)"; also "less"]
}
comparison!(Lt, lt, "LtBackward0");

operation! {
    /// `a <= b`, element by element, as bool.
    ///
    /// >>> ferrograd.le(ferrograd.tensor([1, 3]), 2)
    /// tensor([ True, False])
    binary Le, le, "LeBackward1", Rule::Compare, ["le(Tensor self, Operand other)"; also "less_equal"]
}
comparison!(Le, le, "LeBackward0");

operation! {
    /// `a > b`, element by element, as bool.
    ///
    /// >>> ferrograd.gt(ferrograd.tensor([1, 3]), 2)
    /// tensor([False,  True])
    binary Gt, gt, "GtBackward1", Rule::Compare, ["gt(Tensor self, Operand other)"; also "greater"]
}
comparison!(Gt, gt, "GtBackward0");

operation! {
    /// `a >= b`, element by element, as bool.
    ///
    /// >>> ferrograd.ge(ferrograd.tensor([1, 2]), 2)
    /// tensor([False,  True])
    binary Ge, ge, "GeBackward1", Rule::Compare, ["ge(Tensor self, Operand other)"; also "greater_equal"]
}
comparison!(Ge, ge, "GeBackward0");

/// True where a number is not zero.
#[inline(always)]
fn truth<L: Real>(x: L) -> L::Mask {
    x.ne(L::constant(0.0))
}

operation! {
    /// True where both are not zero, element by element.
    ///
    /// >>> ferrograd.logical_and(ferrograd.tensor([0, 2]), ferrograd.tensor([1, 1]))
    /// tensor([False,  True])
    binary LogicalAnd, logical_and, "NotDifferentiable", Rule::Logical, ["logical_and(Tensor self, Tensor other)"]
}
impl Binary for LogicalAnd {
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        L::from_mask(truth(a) & truth(b))
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _a: L, _b: L, _y: L) -> [L; 2] {
        [g, g]
    }
}

operation! {
    /// True where either is not zero, element by element.
    ///
    /// >>> ferrograd.logical_or(ferrograd.tensor([0, 2]), ferrograd.tensor([0, 1]))
    /// tensor([False,  True])
    binary LogicalOr, logical_or, "NotDifferentiable", Rule::Logical, ["logical_or(Tensor self, Tensor other)"]
}
impl Binary for LogicalOr {
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        L::from_mask(truth(a) | truth(b))
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _a: L, _b: L, _y: L) -> [L; 2] {
        [g, g]
    }
}

operation! {
    /// True where one of the two is zero and the other is not, element by element.
    ///
    /// >>> ferrograd.logical_xor(ferrograd.tensor([0, 2]), ferrograd.tensor([1, 1]))
    /// tensor([ True, False])
    binary LogicalXor, logical_xor, "NotDifferentiable", Rule::Logical, ["logical_xor(Tensor self, Tensor other)"]
}
impl Binary for LogicalXor {
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        L::from_mask((truth(a) | truth(b)) & !(truth(a) & truth(b)))
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _a: L, _b: L, _y: L) -> [L; 2] {
        [g, g]
    }
}

operation! {
    /// True where zero, element by element.
    ///
    /// >>> ferrograd.logical_not(ferrograd.tensor([0, 2]))
    /// tensor([ True, False])
    unary LogicalNot, logical_not, "NotDifferentiable", Rule::Logical, ["logical_not(Tensor self)"]
}
impl Unary for LogicalNot {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        L::from_mask(!truth(x))
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _x: L, _y: L) -> L {
        g
    }
}

operation! {
    /// True where NaN, element by element.
    ///
    /// >>> ferrograd.isnan(ferrograd.tensor([1.0, float("nan")]))
    /// tensor([False,  True])
    unary IsNan, isnan, "NotDifferentiable", Rule::Compare, ["isnan(Tensor self)"]
}
impl Unary for IsNan {
    const IN_PLACE: bool = false;
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        L::from_mask(x.is_nan())
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _x: L, _y: L) -> L {
        g
    }
}

operation! {
    /// `input` where the condition holds, else `other`, element by element; the gradient goes to the side taken. With
    /// the condition alone, where it holds: `nonzero(condition, as_tuple=True)`.
    ///
    /// Dtypes: `condition` bool or uint8; the others any, promoted.
    ///
    /// >>> ferrograd.where(ferrograd.tensor([True, False]), ferrograd.tensor([1.0, 2.0]), 0.0)
    /// tensor([1., 0.])
    /// >>> ferrograd.where(ferrograd.tensor([True, False, True]))
    /// (tensor([0, 2]),)
    ternary Where, where_, "WhereBackward0", Rule::Where,
        ["where(Tensor condition)", "where(Tensor condition, Operand input, Operand other)"],
    run |n, a| {
        let condition = a.tensor(0)?;
        if n == 0 {
            return super::mask::nonzero_tuple(condition);
        }
        Ok(where_(condition, a.operand(1)?, a.operand(2)?)?.into())
    },
    None
}
impl Ternary for Where {
    const IN_PLACE: bool = false;
    // The condition has no edge.
    const FORMS: &'static [Form] = &[
        Form::new(0b000, "WhereBackward0", 0b110),
        Form::new(0b010, "WhereBackward0", 0b110),
        Form::new(0b100, "WhereBackward0", 0b110),
    ];
    #[inline(always)]
    fn forward<L: Real>(condition: L, a: L, b: L) -> L {
        L::select(truth(condition), a, b)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, condition: L, _a: L, _b: L, _y: L) -> [L; 3] {
        let zero = L::constant(0.0);
        [zero, L::select(truth(condition), g, zero), L::select(condition.eq(zero), g, zero)]
    }
}

operation! {
    /// The larger of `x` and a bound, element by element; the gradient passes where `x >= min`.
    ///
    /// Dtypes: any, promoted; no bool beside a bound that is a number.
    ///
    /// >>> ferrograd.clamp_min(ferrograd.tensor([-1.0, 2.0]), 0.5)
    /// tensor([0.5000, 2.0000])
    binary ClampMin, clamp_min, "ClampMinBackward1", Rule::Bounds, ["clamp_min(Tensor self, Operand min)"]
}
impl Binary for ClampMin {
    const FORMS: &'static [Form] = &[Form::new(0b10, "ClampMinBackward0", 0b01)];
    #[inline(always)]
    fn forward<L: Real>(x: L, low: L) -> L {
        x.maximum(low)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, low: L, _y: L) -> [L; 2] {
        let zero = L::constant(0.0);
        [L::select(x.ge(low), g, zero), L::select(x.lt(low), g, zero)]
    }
}

operation! {
    /// The smaller of `x` and a bound, element by element; the gradient passes where `x <= max`.
    ///
    /// Dtypes: any, promoted; no bool beside a bound that is a number.
    ///
    /// >>> ferrograd.clamp_max(ferrograd.tensor([-1.0, 2.0]), 0.5)
    /// tensor([-1.0000,  0.5000])
    binary ClampMax, clamp_max, "ClampMaxBackward1", Rule::Bounds, ["clamp_max(Tensor self, Operand max)"]
}
impl Binary for ClampMax {
    const FORMS: &'static [Form] = &[Form::new(0b10, "ClampMaxBackward0", 0b01)];
    #[inline(always)]
    fn forward<L: Real>(x: L, high: L) -> L {
        x.minimum(high)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, high: L, _y: L) -> [L; 2] {
        let zero = L::constant(0.0);
        [L::select(x.le(high), g, zero), L::select(x.gt(high), g, zero)]
    }
}

/// `min(max(x, low), high)` with both bounds, or with one: the other operand is then a number that the formula does not
/// read, and the node says that there is no such bound. torch has one node for bounds that are numbers and one for tensors,
/// whichever bounds there are.
macro_rules! clamps {
    ($($(#[doc = $doc:literal])* $T:ident [$($none:literal)?]: |$x:ident, $low:ident, $high:ident| $forward:expr, $passes:expr;)*) => {$(
        $(#[doc = $doc])*
        pub struct $T;

        impl $T {
            /// What the engine knows of the operation.
            pub fn spec() -> &'static Pointwise {
                static SPEC: Pointwise = Pointwise::new::<$T>("clamp", "ClampBackward0", Rule::Bounds)
                    .telling(&[$(($none, Setting::Nothing))?]);
                &SPEC
            }
        }

        impl Formula for $T {
            const ARITY: usize = 3;
            const FORMS: &'static [Form] = &[Form::new(0b110, "ClampBackward1", 0b001)];
            #[inline(always)]
            #[allow(unused_variables, reason = "a missing bound")]
            fn forward<L: Real>([$x, $low, $high, _]: [L; OPERANDS]) -> L {
                $forward
            }
            #[inline(always)]
            #[allow(unused_variables, reason = "a missing bound")]
            fn derivative<L: Real>(n: usize, g: L, [$x, $low, $high, _]: [L; OPERANDS], _y: L) -> L {
                let zero = L::constant(0.0);
                let passes: [L::Mask; 3] = $passes;
                L::select(passes[n], g, zero)
            }
        }
    )*};
}

clamps! {
    /// Bounds on both sides: `y = min(max(x, low), high)`.
    Clamp []: |x, low, high| x.maximum(low).minimum(high),
        [x.ge(low) & x.le(high), x.lt(low) & low.lt(high), x.gt(high) | high.lt(low)];
    /// A lower bound: `y = max(x, low)`.
    ClampLow ["max"]: |x, low, high| x.maximum(low), [x.ge(low), x.lt(low), x.lt(x)];
    /// An upper bound: `y = min(x, high)`.
    ClampHigh ["min"]: |x, low, high| x.minimum(high), [x.le(high), x.lt(x), x.gt(high)];
}

operation! {
    /// `min(max(x, min), max)`, element by element, with either bound or both, numbers or tensors. The gradient passes
    /// where `min <= x <= max`.
    ///
    /// >>> ferrograd.clamp(ferrograd.tensor([-1.0, 0.5, 2.0]), 0, 1)
    /// tensor([0.0000, 0.5000, 1.0000])
    chooses Broadcast(Numbers -> Promoted), [
        "clamp(Tensor self, Tensor? min=None, Tensor? max=None)",
        "clamp(Tensor self, Number? min=None, Number? max=None)";
        also "clip"
    ],
    |_, a| {
        let x = a.tensor(0)?;
        let (spec, [low, high]) = bounds(a.op, a.maybe_operand(1)?, a.maybe_operand(2)?)?;
        Ok((spec, smallvec![x.into(), low, high]))
    }
}

/// `min(max(x, low), high)` with either bound or both.
///
/// # Errors
/// Without bounds, for shapes that do not broadcast, and for bool.
pub fn clamp(x: &Tensor, low: Option<Operand>, high: Option<Operand>) -> Result<Tensor> {
    let (spec, [low, high]) = bounds("clamp", low, high)?;
    super::pointwise::apply(spec, &[x.into(), low, high])
}

/// The operation for the bounds that there are, and both operands.
pub(super) fn bounds<'a>(
    op: &'static str,
    low: Option<Operand<'a>>,
    high: Option<Operand<'a>>,
) -> Result<(&'static Pointwise, [Operand<'a>; 2])> {
    // A truth value does not change the dtype that the others promote to.
    let missing = Operand::Number(Scalar::Bool(false));
    match (low, high) {
        (Some(low), Some(high)) => Ok((Clamp::spec(), [low, high])),
        (Some(low), None) => Ok((ClampLow::spec(), [low, missing])),
        (None, Some(high)) => Ok((ClampHigh::spec(), [missing, high])),
        (None, None) => Err(Error::NoBounds { op }),
    }
}
