//! The error function, the gamma function, and their kin.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use smallvec::smallvec;

use super::formula::{Domain, Form, Formula, OPERANDS, Operand, Pointwise, Rule, Unary};
use super::pointwise::{Chosen, apply};
use super::registry::operation;
use super::trigonometric::INSIDE;
use super::{arithmetic, creation, inplace, sum, view};
use crate::error::{Error, Result};
use crate::kernels::lane::Real;
use crate::tensor::dtype::DType;
use crate::tensor::scalar::Scalar;
use crate::tensor::{Tensor, default_dtype};

/// `2 / sqrt(pi)`: the slope of the error function at zero.
const SLOPE: f64 = FRAC_2_SQRT_PI;

operation! {
    /// Error function, element by element: `y = 2/sqrt(pi)` times the integral of `e^(-t^2)` from 0 to `x`,
    /// `dy/dx = 2/sqrt(pi) e^(-x^2)`.
    ///
    /// >>> ferrograd.erf(ferrograd.tensor([0.0, 1.0]))
    /// tensor([0.0000, 0.8427])
    unary Erf, erf, "ErfBackward0", Rule::Float, ["erf(Tensor self)"; also "special.erf"]
}
impl Unary for Erf {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.erf()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        L::constant(SLOPE) * (-(x * x)).exp() * g
    }
}

operation! {
    /// `1 - erf(x)` without cancellation for large `x`, element by element: `dy/dx = -2/sqrt(pi) e^(-x^2)`.
    ///
    /// >>> ferrograd.erfc(ferrograd.tensor([0.0, 1.0]))
    /// tensor([1.0000, 0.1573])
    unary Erfc, erfc, "ErfcBackward0", Rule::Float, ["erfc(Tensor self)"; also "special.erfc"]
}
impl Unary for Erfc {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.erfc()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        L::constant(-SLOPE) * (-(x * x)).exp() * g
    }
}

operation! {
    /// `e^(x^2) erfc(x)`, element by element, which does not vanish for large `x`: `dy/dx = 2 x y - 2/sqrt(pi)`.
    ///
    /// >>> ferrograd.special.erfcx(ferrograd.tensor([0.0, 1.0]))
    /// tensor([1.0000, 0.4276])
    unary Erfcx, erfcx, "SpecialErfcxBackward0", Rule::Float, ["special.erfcx(Tensor input)"]
}
impl Unary for Erfcx {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.erfcx()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, y: L) -> L {
        g * (L::constant(2.0) * x * y - L::constant(SLOPE))
    }
}

operation! {
    /// Distribution function of the standard normal distribution, element by element: `y = erfc(-x / sqrt(2)) / 2`,
    /// `dy/dx = e^(-x^2 / 2) / sqrt(2 pi)`.
    ///
    /// >>> ferrograd.special.ndtr(ferrograd.tensor([0.0, 1.0]))
    /// tensor([0.5000, 0.8413])
    unary Ndtr, ndtr, "MulBackward1", Rule::Float, ["special.ndtr(Tensor input)"]
}
impl Unary for Ndtr {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        L::constant(0.5) * (x * L::constant(-FRAC_1_SQRT_2)).erfc()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        L::constant(SLOPE * FRAC_1_SQRT_2 / 2.0) * (x * x * L::constant(-0.5)).exp() * g
    }
}

operation! {
    /// Logarithm of [`ndtr`], element by element, exact far below zero too:
    /// `dy/dx = sqrt(2 / pi) / erfcx(-x / sqrt(2))`.
    ///
    /// >>> ferrograd.special.log_ndtr(ferrograd.tensor([-30.0, 0.0]))
    /// tensor([-454.3213,   -0.6931])
    unary LogNdtr, log_ndtr, "SpecialLogNdtrBackward0", Rule::Float, ["special.log_ndtr(Tensor input)"]
}
impl Unary for LogNdtr {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        let (half, z) = (L::constant(0.5), x * L::constant(FRAC_1_SQRT_2));
        let above = (z.erfc() * -half).log1p();
        L::select(x.lt(L::constant(-1.0)), ((-z).erfcx() * half).log() - z * z, above)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        g * (L::constant(SLOPE * FRAC_1_SQRT_2) / (x * L::constant(-FRAC_1_SQRT_2)).erfcx())
    }
}

operation! {
    /// Inverse of the error function, element by element: `erf(y) = x`, `dy/dx = sqrt(pi)/2 e^(y^2)`; infinite at -1 and 1,
    /// NaN beyond.
    ///
    /// >>> ferrograd.erfinv(ferrograd.tensor([0.0, 0.5]))
    /// tensor([0.0000, 0.4769])
    unary Erfinv, erfinv, "ErfinvBackward0", Rule::Float, ["erfinv(Tensor self)"; also "special.erfinv"]
}
impl Unary for Erfinv {
    const DOMAIN: Domain = INSIDE;
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.erfinv()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        let y = x.erfinv();
        L::constant(1.0 / SLOPE) * (y * y).exp() * g
    }
}

operation! {
    /// Logarithm of the absolute value of the gamma function, element by element: `dy/dx` is [`digamma`].
    ///
    /// >>> ferrograd.lgamma(ferrograd.tensor([1.0, 4.0]))
    /// tensor([0.0000, 1.7918])
    unary Lgamma, lgamma, "LgammaBackward0", Rule::Float, ["lgamma(Tensor self)"; also "special.gammaln"]
}
impl Unary for Lgamma {
    const DOMAIN: Domain = Domain::POSITIVE;
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.lgamma()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        g * x.digamma()
    }
}

operation! {
    /// Derivative of the logarithm of the gamma function, element by element; `dy/dx` is the [`polygamma`] function of order
    /// 1. NaN at negative whole numbers.
    ///
    /// >>> ferrograd.digamma(ferrograd.tensor([1.0, 2.0]))
    /// tensor([-0.5772,  0.4228])
    unary Digamma, digamma, "DigammaBackward0", Rule::Float, ["digamma(Tensor self)"; also "special.digamma", "special.psi"]
}
impl Unary for Digamma {
    const DOMAIN: Domain = Domain::POSITIVE;
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.digamma()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        g * L::constant(2.0).zeta(x)
    }
}

operation! {
    /// Hurwitz's zeta function, element by element: the sum of `(q + k)^-x` over `k = 0, 1, ...`, for `x > 1`.
    /// `dy/dq = -x zeta(x + 1, q)`; the gradient of `x` is not known and NaN.
    ///
    /// >>> ferrograd.special.zeta(ferrograd.tensor([2.0, 3.0]), 1)
    /// tensor([1.6449, 1.2021])
    function Broadcast(Any -> Float), ["special.zeta(Tensor input, Operand other)", "special.zeta(Number input, Tensor other)"],
    |_, a| Ok(zeta(a.operand(0)?, a.operand(1)?)?.into())
}

/// Hurwitz's zeta function.
///
/// # Errors
/// For shapes that do not broadcast.
pub fn zeta(x: Operand, q: Operand) -> Result<Tensor> {
    apply(Zeta::spec(), &[x, q])
}

struct Zeta;
impl Zeta {
    fn spec() -> &'static Pointwise {
        static SPEC: Pointwise = Pointwise::new::<Zeta>("zeta", "SpecialZetaBackward0", Rule::Float);
        &SPEC
    }
}
impl Formula for Zeta {
    const ARITY: usize = 2;
    const FORMS: &'static [Form] =
        &[Form::new(0b01, "SpecialZetaBackward1", 0b10), Form::new(0b10, "SpecialZetaBackward2", 0b01)];
    const UNKNOWN: u8 = 0b01;
    #[inline(always)]
    fn forward<L: Real>([x, q, ..]: [L; OPERANDS]) -> L {
        x.zeta(q)
    }
    #[inline(always)]
    fn derivative<L: Real>(n: usize, g: L, [x, q, ..]: [L; OPERANDS], _y: L) -> L {
        let of = [g * L::constant(f64::NAN), g * -(x * (x + L::constant(1.0)).zeta(q))];
        of[n.min(1)]
    }
}

/// `factor zeta(order, x)`: the polygamma function of order 1 and higher.
struct Polygamma;
impl Polygamma {
    fn spec() -> &'static Pointwise {
        static SPEC: Pointwise = Pointwise::new::<Polygamma>("polygamma", "PolygammaBackward0", Rule::Float);
        &SPEC
    }
}
impl Formula for Polygamma {
    const ARITY: usize = 3;
    const FORMS: &'static [Form] = &[Form::new(0b110, "PolygammaBackward0", 0b001)];
    #[inline(always)]
    fn forward<L: Real>([x, order, factor, _]: [L; OPERANDS]) -> L {
        factor * order.zeta(x)
    }
    #[inline(always)]
    fn derivative<L: Real>(_n: usize, g: L, [x, order, factor, _]: [L; OPERANDS], _y: L) -> L {
        g * -(factor * (order * (order + L::constant(1.0)).zeta(x)))
    }
}

/// [`Digamma`] under the name that its node has as the polygamma function of order 0.
struct PolygammaZero;
impl PolygammaZero {
    fn spec() -> &'static Pointwise {
        static SPEC: Pointwise = Pointwise::new::<PolygammaZero>("polygamma", "PolygammaBackward0", Rule::Float);
        &SPEC
    }
}
impl Formula for PolygammaZero {
    const ARITY: usize = 1;
    #[inline(always)]
    fn forward<L: Real>(x: [L; OPERANDS]) -> L {
        <Digamma as Formula>::forward(x)
    }
    #[inline(always)]
    fn derivative<L: Real>(n: usize, g: L, x: [L; OPERANDS], y: L) -> L {
        <Digamma as Formula>::derivative(n, g, x, y)
    }
}

operation! {
    /// Derivative of order `n` of [`digamma`], element by element: `(-1)^(n+1) n! zeta(n + 1, x)` for `n` above 0.
    ///
    /// Raises: RuntimeError for a negative `n`.
    ///
    /// >>> ferrograd.polygamma(1, ferrograd.tensor([1.0, 2.0]))
    /// tensor([1.6449, 0.6449])
    chooses Same(Any -> Float), ["polygamma(Tensor self, int n)", "polygamma(int n, Tensor input)"; also "special.polygamma"], |signature, a| {
        let (x, n) = if signature == 0 { (0, 1) } else { (1, 0) };
        of_order(a.int(n)?, a.operand(x)?)
    }
}

/// The operation of an order and its operands.
fn of_order(n: isize, x: Operand) -> Result<Chosen> {
    if n < 0 {
        let what = "polygamma(n, x) does not support negative n.".into();
        return Err(Error::Invalid { op: "polygamma", what });
    }
    if n == 0 {
        return Ok((PolygammaZero::spec(), smallvec![x]));
    }
    // Beyond 170 the factorial is infinite.
    let factorial: f64 = (1..=n.min(171)).map(|k| k as f64).product();
    let factor = if n % 2 == 0 { -factorial } else { factorial };
    Ok((Polygamma::spec(), smallvec![x, (n as f64 + 1.0).into(), factor.into()]))
}

/// The derivative of order `n` of the digamma function.
///
/// # Errors
/// For a negative `n`.
pub fn polygamma(n: isize, x: &Tensor) -> Result<Tensor> {
    let (spec, operands) = of_order(n, x.into())?;
    apply(spec, &operands)
}

operation! {
    /// Logarithm of the multivariate gamma function of `p` dimensions, element by element:
    /// `p (p - 1) / 4 log(pi)` and the sum of `lgamma(x - j / 2)` over `j = 0, 1, ... p - 1`.
    ///
    /// Raises: RuntimeError for `p` below 1.
    ///
    /// >>> ferrograd.mvlgamma(ferrograd.tensor([2.0, 3.0]), 2)
    /// tensor([0.4516, 1.5502])
    function Same(Numbers -> Float), ["mvlgamma(Tensor self, int p)"; also "special.multigammaln"],
    in_place |_, a| {
        let (x, p) = (a.tensor(0)?, a.int(1)?);
        Ok(inplace::apply(a.op, x, &[], &|x| mvlgamma(x, p))?.into())
    },
    |_, a| Ok(mvlgamma(a.tensor(0)?, a.int(1)?)?.into())
}

/// Logarithm of the multivariate gamma function.
///
/// # Errors
/// For less than one dimension, and for bool.
pub fn mvlgamma(x: &Tensor, p: isize) -> Result<Tensor> {
    if p < 1 {
        return Err(Error::Invalid {
            op: "mvlgamma",
            what: format!("p has to be greater than or equal to 1, got {p}"),
        });
    }
    if x.dtype() == DType::Bool {
        let rule = "truth values are no numbers here";
        return Err(Error::DTypeInvalid { op: "mvlgamma", dtype: DType::Bool, rule });
    }
    let dtype = if x.dtype().is_floating_point() { x.dtype() } else { default_dtype() };
    let half = |n: isize| Scalar::Float(n as f64 / 2.0);
    let steps = creation::arange(half(1 - p), half(1), half(1), Some(dtype))?;
    // One shift after another, each of all elements side by side.
    let sizes: Vec<isize> = std::iter::once(p).chain(std::iter::repeat_n(1, x.rank())).collect();
    let terms = lgamma(&arithmetic::add(&view::unsqueeze(x, 0)?, &view::reshape(&steps, &sizes)?)?)?;
    let p = p as f64;
    arithmetic::add(&sum::sum(&terms, &[0], false, None)?, p * (p - 1.0) / 4.0 * std::f64::consts::PI.ln())
}
