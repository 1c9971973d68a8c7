//! Sums and differences with a scaled second operand, and quotients that are rounded: what `alpha` and `rounding_mode` ask
//! for.

use smallvec::smallvec;

use super::arithmetic::Div;
use super::formula::{Form, Formula, OPERANDS, Pointwise, Rule};
use super::operands::promoted;
use super::pointwise::Chosen;
use super::registry::Arguments;
use crate::error::{Error, Result};
use crate::graph::node::Setting;
use crate::kernels::lane::Real;
use crate::tensor::dtype::Category;
use crate::tensor::scalar::Scalar;

macro_rules! formulas {
    ($($(#[doc = $doc:literal])* $T:ident $arity:literal $name:literal $rule:ident $exact:literal [$($form:expr),*] [$($mode:literal)?]:
        |$a:ident, $b:ident, $alpha:ident| $forward:expr, |$g:ident| $derivative:expr;)*) => {$(
        $(#[doc = $doc])*
        pub(super) struct $T;
        impl $T {
            pub fn spec() -> &'static Pointwise {
                static SPEC: Pointwise = Pointwise::new::<$T>($name, "", Rule::$rule)
                    .telling(&[$(("rounding_mode", Setting::Text($mode)))?]);
                &SPEC
            }
        }
        impl Formula for $T {
            const ARITY: usize = $arity;
            const FORMS: &'static [Form] = &[$($form),*];
            const EXACT: u8 = $exact;
            #[inline(always)]
            #[allow(unused_variables, reason = "formulas of two operands")]
            fn forward<L: Real>([$a, $b, $alpha, _]: [L; OPERANDS]) -> L {
                $forward
            }
            #[inline(always)]
            #[allow(unused_variables, reason = "derivatives that read the gradient alone")]
            fn derivative<L: Real>(n: usize, $g: L, [$a, $b, $alpha, _]: [L; OPERANDS], _y: L) -> L {
                let of: [L; 2] = $derivative;
                of[n.min(1)]
            }
        }
    )*};
}

formulas! {
    /// `a + alpha b`
    ScaledAdd 3 "add" Promote 0 [Form::new(0b100, "AddBackward0", 0b011), Form::new(0b110, "AddBackward0", 0b011)] []:
        |a, b, alpha| alpha.mul_add(b, a), |g| [g, g * alpha];
    /// `a - alpha b`
    ScaledSub 3 "sub" Subtract 0 [Form::new(0b100, "SubBackward0", 0b011), Form::new(0b110, "SubBackward0", 0b011)] []:
        |a, b, alpha| (-alpha).mul_add(b, a), |g| [g, -g * alpha];
    /// `b - alpha a`
    ScaledRsub 3 "rsub" Subtract 0 [Form::new(0b100, "RsubBackward0", 0b011), Form::new(0b110, "RsubBackward1", 0b001)] []:
        |a, b, alpha| (-alpha).mul_add(a, b), |g| [-g * alpha, g];
    /// `a / b` rounded towards negative infinity, with a zero gradient.
    FloorQuotient 2 "div" Quotient 0b10 [Form::new(0b00, "DivBackward2", 0b11), Form::new(0b10, "DivBackward2", 0b11), Form::new(0b01, "DivBackward2", 0b11)] ["floor"]:
        |a, b, alpha| a.floor_divide(b), |g| [L::constant(0.0), L::constant(0.0)];
    /// `a / b` rounded towards zero, with a zero gradient.
    CutQuotient 2 "div" Quotient 0b10 [Form::new(0b00, "DivBackward2", 0b11), Form::new(0b10, "DivBackward2", 0b11), Form::new(0b01, "DivBackward2", 0b11)] ["trunc"]:
        |a, b, alpha| (a / b).trunc(), |g| [L::constant(0.0), L::constant(0.0)];
}

/// The operation of a call `op(self, other, alpha)`: `plain` where alpha is 1, else `scaled`.
pub(super) fn with_alpha<'a>(
    plain: &'static Pointwise,
    scaled: &'static Pointwise,
    a: &'a Arguments,
) -> Result<Chosen<'a>> {
    let (x, y, alpha) = (a.operand(0)?, a.operand(1)?, a.number(2)?);
    if alpha == Scalar::Int(1) {
        return Ok((plain, smallvec![x, y]));
    }
    let promoted = promoted(&[x, y]);
    let greatest = promoted.category();
    let wrong = |rule| Err(Error::Alpha { op: a.op, rule });
    // Of no higher kind than the operands, alpha does not change the dtype that they promote to.
    let alpha = match alpha {
        Scalar::Float(_) if greatest <= Category::Integer => {
            return wrong("For integral input tensors, argument alpha must not be a floating point number.");
        }
        Scalar::Bool(_) if greatest != Category::Bool => {
            return wrong("Boolean alpha only supported for Boolean results.");
        }
        number if greatest == Category::Bool => Scalar::Bool(number.as_bool()),
        number => number,
    };
    // As in torch, what must fit is the factor of the sum that a difference is.
    let factor = if a.op.starts_with("add") { alpha } else { alpha.negated() };
    factor.check_fits(a.op, promoted)?;
    Ok((scaled, smallvec![x, y, alpha.into()]))
}

/// The operation of a call `div(self, other, rounding_mode)`; that `rounding_mode` was given as None tells the node.
pub(super) fn rounded<'a>(a: &'a Arguments) -> Result<Chosen<'a>> {
    static UNROUNDED: Pointwise =
        Pointwise::new::<Div>("div", "DivBackward2", Rule::Float).telling(&[("rounding_mode", Setting::Nothing)]);
    let spec = match a.text(2)? {
        None => &UNROUNDED,
        Some("floor") => FloorQuotient::spec(),
        Some("trunc") => CutQuotient::spec(),
        Some(other) => return Err(Error::RoundingMode { op: a.op, given: other.into() }),
    };
    Ok((spec, smallvec![a.operand(0)?, a.operand(1)?]))
}

/// The quotient rounded towards zero, whose gradient is zero.
pub(super) fn cut_quotient(a: super::formula::Operand, b: super::formula::Operand) -> Result<crate::tensor::Tensor> {
    super::pointwise::apply(CutQuotient::spec(), &[a, b])
}
