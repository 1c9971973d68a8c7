//! Sums of a tensor and a product or quotient, the way between two tensors, and powers in float64.

use smallvec::smallvec;

use super::formula::{Binary, Domain, Form, Formula, OPERANDS, Operand, Pointwise, Replay, Rule, Ternary};
use super::operands::{promoted, real};
use super::pointwise::{Chosen, arguments};
use super::registry::{Arguments, operation};
use super::{arithmetic, cast};
use crate::error::{Error, Result};
use crate::kernels::lane::Real;
use crate::tensor::Tensor;
use crate::tensor::dtype::{Category, DType};
use crate::tensor::scalar::Scalar;

/// The operands of a call `op(self, tensor1, tensor2, value)`: `plain` where value is 1, else `scaled`.
fn with_value<'a>(plain: &'static Pointwise, scaled: &'static Pointwise, a: &'a Arguments) -> Result<Chosen<'a>> {
    let tensors = [a.tensor(0)?, a.tensor(1)?, a.tensor(2)?];
    let [x, first, second] = tensors.map(Operand::Tensor);
    let whole = tensors.iter().all(|t| t.dtype().category() <= Category::Integer);
    match a.number(3)? {
        Scalar::Int(1) => Ok((plain, smallvec![x, first, second])),
        // A number of truth values or integers is one of them.
        value if tensors.iter().all(|t| t.dtype() == DType::Bool) => {
            Ok((scaled, smallvec![x, first, second, Scalar::Bool(value.as_bool()).into()]))
        }
        value if whole => {
            let value = value.cut(a.op, promoted(&[x, first, second]))?;
            Ok((scaled, smallvec![x, first, second, value.into()]))
        }
        value => Ok((scaled, smallvec![x, first, second, value.into()])),
    }
}

macro_rules! scaled {
    ($($(#[doc = $doc:literal])* $T:ident $name:literal $node:literal:
        |$x:ident, $a:ident, $b:ident, $value:ident| $forward:expr, |$g:ident| $derivative:expr;)*) => {$(
        $(#[doc = $doc])*
        struct $T;
        impl $T {
            fn spec() -> &'static Pointwise {
                static SPEC: Pointwise = Pointwise::new::<$T>($name, $node, Rule::Number);
                &SPEC
            }
        }
        impl Formula for $T {
            const ARITY: usize = 4;
            const FORMS: &'static [Form] = &[Form::new(0b1000, $node, 0b0111)];
            #[inline(always)]
            fn forward<L: Real>([$x, $a, $b, $value]: [L; OPERANDS]) -> L {
                $forward
            }
            #[inline(always)]
            fn derivative<L: Real>(n: usize, $g: L, [_, $a, $b, $value]: [L; OPERANDS], _y: L) -> L {
                let of: [L; 3] = $derivative;
                of[n.min(2)]
            }
        }
    )*};
}

scaled! {
    /// `x + value a b`
    ScaledProduct "addcmul" "AddcmulBackward0": |x, a, b, value| (value * a).mul_add(b, x),
        |g| [g, g * (b * value), g * (a * value)];
    /// `x + value a / b`
    ScaledQuotient "addcdiv" "AddcdivBackward0": |x, a, b, value| x + (value * a) / b,
        |g| [g, g * (value / b), -g * (value * ((a / b) / b))];
}

operation! {
    /// `x + value a b`, element by element: `dy/dx = 1`, `dy/da = value b`, `dy/db = value a`.
    ///
    /// >>> ferrograd.addcmul(ferrograd.ones(2), ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([3.0, 4.0]), value=0.5)
    /// tensor([2.5000, 5.0000])
    ternary Addcmul, addcmul, "AddcmulBackward0", Rule::Number,
        ["addcmul(Tensor self, Tensor tensor1, Tensor tensor2, *, Number value=1)"],
        |_, a| with_value(Addcmul::spec(), ScaledProduct::spec(), a)
}
impl Ternary for Addcmul {
    #[inline(always)]
    fn forward<L: Real>(x: L, a: L, b: L) -> L {
        a.mul_add(b, x)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _x: L, a: L, b: L, _y: L) -> [L; 3] {
        [g, g * b, g * a]
    }
}

operation! {
    /// `x + value a / b`, element by element: `dy/dx = 1`, `dy/da = value / b`, `dy/db = -value a / b^2`.
    ///
    /// Dtypes: floating-point, promoted; the first operand may be any.
    ///
    /// >>> ferrograd.addcdiv(ferrograd.ones(2), ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([4.0, 4.0]), value=2)
    /// tensor([1.5000, 2.0000])
    ternary Addcdiv, addcdiv, "AddcdivBackward0", Rule::Number,
        ["addcdiv(Tensor self, Tensor tensor1, Tensor tensor2, *, Number value=1)"],
        |_, a| {
            if [a.tensor(1)?, a.tensor(2)?].iter().all(|t| t.dtype().category() <= Category::Integer) {
                let what = "Integer division with addcdiv is no longer supported; use x + value * trunc(a / b), or floats".into();
                return Err(Error::Invalid { op: a.op, what });
            }
            with_value(Addcdiv::spec(), ScaledQuotient::spec(), a)
        }
}
impl Ternary for Addcdiv {
    const DOMAIN: [Domain; 3] = [Domain::ALL, Domain::ALL, Domain::NONZERO];
    #[inline(always)]
    fn forward<L: Real>(x: L, a: L, b: L) -> L {
        x + a / b
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _x: L, a: L, b: L, _y: L) -> [L; 3] {
        [g, g / b, -g * ((a / b) / b)]
    }
}

operation! {
    /// `a + weight (b - a)`, element by element, exact at the weights 0 and 1: `dy/da = 1 - weight`, `dy/db = weight`,
    /// `dy/dweight = b - a`.
    ///
    /// Dtypes: floating-point, one for all, kept.
    ///
    /// >>> ferrograd.lerp(ferrograd.zeros(2), ferrograd.tensor([10.0, 20.0]), 0.25)
    /// tensor([2.5000, 5.0000])
    ternary Lerp, lerp, "LerpBackward1", Rule::Real, ["lerp(Tensor self, Tensor end, Operand weight)"], |_, a| {
        let x = a.tensor(0)?;
        real(a.op, x)?;
        let strong = |t: &&Tensor| t.rank() > 0;
        let weight = a.operand(2)?.tensor();
        for (name, t) in [("end", Some(a.tensor(1)?)), ("weight", weight.filter(strong))] {
            if let Some(t) = t.filter(|t| t.dtype() != x.dtype()) {
                let what = format!("expected dtype {} for `{name}` but got dtype {}", x.dtype(), t.dtype());
                return Err(Error::Invalid { op: a.op, what });
            }
        }
        arguments(Lerp::spec(), a)
    }
}
impl Ternary for Lerp {
    const FORMS: &'static [Form] = &[Form::new(0b100, "LerpBackward0", 0b011)];
    const REPLAY: Option<Replay> = Some(|n, sources| match (n, sources[3]) {
        (0, Operand::Number(weight)) => arithmetic::mul_within(sources[0], 1.0 - weight.as_f64()).map(Some),
        _ => Ok(None),
    });
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L, weight: L) -> L {
        let one = L::constant(1.0);
        let near_a = weight.abs().lt(L::constant(0.5));
        L::select(near_a, weight.mul_add(b - a, a), (a - b).mul_add(one - weight, b))
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, a: L, b: L, weight: L, _y: L) -> [L; 3] {
        [g * (L::constant(1.0) - weight), g * weight, g * (b - a)]
    }
}

operation! {
    /// `a 2^b`, element by element, without overflow of the power where `b` is whole: `dy/da = 2^b`, `dy/db = y log 2`.
    ///
    /// >>> ferrograd.ldexp(ferrograd.tensor([1.0, 3.0]), ferrograd.tensor([2, -1]))
    /// tensor([4.0000, 1.5000])
    binary Ldexp, ldexp, "LdexpBackward0", Rule::Float, ["ldexp(Tensor self, Tensor other)"]
}
impl Binary for Ldexp {
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        // Beyond these bounds every power is zero or infinite.
        let b = b.maximum(L::constant(-4400.0)).minimum(L::constant(4400.0));
        let half = (b * L::constant(0.5)).trunc();
        a * half.exp2() * (b - half).exp2()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _a: L, b: L, y: L) -> [L; 2] {
        [g * b.exp2(), g * (y * L::constant(std::f64::consts::LN_2))]
    }
}

operation! {
    /// `pow` computed in float64, element by element, whatever the operands are.
    ///
    /// Dtypes: any; the result is float64.
    ///
    /// >>> ferrograd.float_power(ferrograd.tensor([2, 3]), 2)
    /// tensor([4., 9.], dtype=torch.float64)
    function Broadcast(Noted -> Noted), ["float_power(Tensor self, Operand exponent)", "float_power(Number self, Tensor exponent)"],
    in_place |_, a| {
        let x = a.tensor(0)?;
        if x.dtype() != DType::F64 {
            let what = format!("the base has dtype {} but the operation's result requires dtype {}", x.dtype(), DType::F64);
            return Err(Error::Invalid { op: a.op, what });
        }
        let exponent = a.operand(1)?;
        let other = exponent.tensor();
        Ok(super::inplace::apply(a.op, x, other.as_slice(), &|x| float_power(x.into(), exponent))?.into())
    },
    |_, a| Ok(float_power(a.operand(0)?, a.operand(1)?)?.into())
}

/// Power in float64.
///
/// # Errors
/// For shapes that do not broadcast.
pub fn float_power(base: Operand, exponent: Operand) -> Result<Tensor> {
    let wide = |o: Operand| match o {
        Operand::Tensor(t) => cast::to(t, DType::F64).map(Some),
        Operand::Number(_) => Ok(None),
    };
    match (wide(base)?, wide(exponent)?) {
        (Some(x), Some(y)) => arithmetic::pow(&x, &y),
        (Some(x), None) => arithmetic::pow(&x, exponent),
        (None, Some(y)) => arithmetic::pow(base, &y),
        (None, None) => arithmetic::pow(base, exponent),
    }
}

operation! {
    /// The tensor itself, which must not be bool: Python's `+x`.
    ///
    /// >>> ferrograd.positive(ferrograd.tensor([1.0, -2.0]))
    /// tensor([ 1., -2.])
    function Same(Numbers -> Kept), ["positive(Tensor self)"], |_, a| {
        Ok(positive(a.tensor(0)?)?.into())
    }
}

/// The tensor itself.
///
/// # Errors
/// For bool.
pub fn positive(x: &Tensor) -> Result<Tensor> {
    if x.dtype() == DType::Bool {
        let what = "The `+` operator, on a bool tensor is not supported.".into();
        return Err(Error::Invalid { op: "positive", what });
    }
    Ok(x.clone())
}
