//! Smooth functions between layers.

use smallvec::smallvec;

use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::graph::node::Gradients;
use crate::kernels::lane::Real;
use crate::ops::arithmetic::{add, div, mul, sub};
use crate::ops::formula::{Binary, Domain, Form, Rule, Ternary, Unary};
use crate::ops::operands::real;
use crate::ops::pointwise::{Chosen, arguments};
use crate::ops::recorded::{Call, Keep, Settings, record};
use crate::ops::registry::{Arguments, operation};
use crate::ops::{batch, join, unary, view};
use crate::tensor::Tensor;
use crate::tensor::layout::wrap_dim;

/// The operands of a call whose tensor must be of floating-point numbers, whatever the numbers beside it.
pub(super) fn of_reals<'a>(spec: &'static crate::ops::formula::Pointwise, a: &'a Arguments) -> Result<Chosen<'a>> {
    real(a.op, a.tensor(0)?)?;
    arguments(spec, a)
}

operation! {
    /// `y = x / (1 + exp(-x))`, element by element: `dy/dx = s (1 + x (1 - s))` with `s = sigmoid(x)`. Also called swish.
    ///
    /// >>> ferrograd.nn.functional.silu(ferrograd.tensor([-1.0, 0.0, 2.0]))
    /// tensor([-0.2689,  0.0000,  1.7616])
    unary Silu, silu, "SiluBackward0", Rule::Real, ["nn.silu(Tensor self, bool inplace=False)"]
}
impl Unary for Silu {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x * x.sigmoid()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        let (one, s) = (L::constant(1.0), x.sigmoid());
        g * (s * (one + x * (one - s)))
    }
}

/// `log(1 + e^x)`
#[inline(always)]
fn log_of_one_and_exp<L: Real>(x: L) -> L {
    x.exp().log1p()
}

operation! {
    /// `y = x tanh(log(1 + e^x))`, element by element.
    ///
    /// >>> ferrograd.nn.functional.mish(ferrograd.tensor([-1.0, 0.0, 2.0]))
    /// tensor([-0.3034,  0.0000,  1.9440])
    unary Mish, mish, "MishBackward0", Rule::Real, ["nn.mish(Tensor self, bool inplace=False)"]
}
impl Unary for Mish {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x * log_of_one_and_exp(x).tanh()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        let t = log_of_one_and_exp(x).tanh();
        g * (t + x * x.sigmoid() * (L::constant(1.0) - t * t))
    }
}

/// [`Gelu`] with the normal distribution approximated by a hyperbolic tangent.
struct GeluByTanh;
impl GeluByTanh {
    fn spec() -> &'static crate::ops::formula::Pointwise {
        static SPEC: crate::ops::formula::Pointwise =
            crate::ops::formula::Pointwise::new::<GeluByTanh>("gelu", "GeluBackward0", Rule::Real);
        &SPEC
    }

    /// `tanh(sqrt(2/pi) (x + 0.044715 x^3))` and the derivative of what it is of.
    #[inline(always)]
    fn parts<L: Real>(x: L) -> (L, L) {
        let scale = L::constant(std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2);
        let (cubic, square) = (L::constant(0.044715), x * x);
        let inner = scale * (x + cubic * (square * x));
        (inner.tanh(), scale * (L::constant(1.0) + L::constant(3.0) * cubic * square))
    }
}
impl crate::ops::formula::Formula for GeluByTanh {
    const ARITY: usize = 1;
    #[inline(always)]
    fn forward<L: Real>([x, ..]: [L; crate::ops::formula::OPERANDS]) -> L {
        L::constant(0.5) * x * (L::constant(1.0) + Self::parts(x).0)
    }
    #[inline(always)]
    fn derivative<L: Real>(_n: usize, g: L, [x, ..]: [L; crate::ops::formula::OPERANDS], _y: L) -> L {
        let (t, inner) = Self::parts(x);
        let (half, one) = (L::constant(0.5), L::constant(1.0));
        g * (half * (one + t) + half * x * ((one - t * t) * inner))
    }
}

operation! {
    /// `y = x P(X <= x)` for a normal `X`, element by element: `x/2 (1 + erf(x / sqrt 2))`; with `approximate='tanh'`
    /// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`.
    ///
    /// >>> ferrograd.nn.functional.gelu(ferrograd.tensor([-1.0, 0.0, 2.0]))
    /// tensor([-0.1587,  0.0000,  1.9545])
    unary Gelu, gelu, "GeluBackward0", Rule::Real, ["nn.gelu(Tensor self, *, str approximate='none')"], |_, a| {
        match a.text(1)? {
            Some("none") | None => of_reals(Gelu::spec(), a),
            Some("tanh") => of_reals(GeluByTanh::spec(), a),
            Some(other) => {
                let what = format!("approximate argument must be either none or tanh, got '{other}'");
                Err(Error::Invalid { op: a.op, what })
            }
        }
    }
}
impl Unary for Gelu {
    const IN_PLACE: bool = false;
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        let half = L::constant(0.5);
        x * half * (L::constant(1.0) + (x * L::constant(std::f64::consts::FRAC_1_SQRT_2)).erf())
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        let half = L::constant(0.5);
        let below = half * (L::constant(1.0) + (x * L::constant(std::f64::consts::FRAC_1_SQRT_2)).erf());
        let scale = 0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
        g * (below + x * (L::constant(scale) * (-half * x * x).exp()))
    }
}

operation! {
    /// `y = log(1 + e^(beta x)) / beta`, element by element, and `x` where `beta x` is above the threshold:
    /// `dy/dx = sigmoid(beta x)`.
    ///
    /// >>> ferrograd.nn.functional.softplus(ferrograd.tensor([-1.0, 0.0, 30.0]))
    /// tensor([ 0.3133,  0.6931, 30.0000])
    ternary Softplus, softplus, "SoftplusBackward0", Rule::Real,
        ["nn.softplus(Tensor self, Number beta=1, Number threshold=20)"], |_, a| of_reals(Softplus::spec(), a)
}
impl Ternary for Softplus {
    const IN_PLACE: bool = false;
    const DOMAIN: [Domain; 3] = [Domain::ALL, Domain::NONZERO, Domain::POSITIVE];
    const FORMS: &'static [Form] = &[Form::new(0b110, "SoftplusBackward0", 0b001)];
    const EXACT: u8 = 0b110;
    #[inline(always)]
    fn forward<L: Real>(x: L, beta: L, threshold: L) -> L {
        let scaled = x * beta;
        L::select(scaled.gt(threshold), x, log_of_one_and_exp(scaled) / beta)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, beta: L, threshold: L, _y: L) -> [L; 3] {
        let scaled = x * beta;
        let (above, s) = (scaled.gt(threshold), scaled.sigmoid());
        let of_beta = (x * s - log_of_one_and_exp(scaled) / beta) / beta;
        let zero = L::constant(0.0);
        [L::select(above, g, g * s), L::select(above, zero, g * of_beta), zero]
    }
}

operation! {
    /// `y = log sigmoid(x)`, element by element, without overflow: `min(x, 0) - log(1 + e^-|x|)`; `dy/dx = sigmoid(-x)`.
    ///
    /// >>> ferrograd.nn.functional.logsigmoid(ferrograd.tensor([-100.0, 0.0, 1.0]))
    /// tensor([-100.0000,   -0.6931,   -0.3133])
    unary LogSigmoid, logsigmoid, "LogSigmoidBackward0", Rule::Real, ["nn.logsigmoid(Tensor self)"]
}
impl Unary for LogSigmoid {
    const IN_PLACE: bool = false;
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.minimum(L::constant(0.0)) - log_of_one_and_exp(-x.abs())
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        g * (-x).sigmoid()
    }
}

operation! {
    /// `y = x / (1 + |x|)`, element by element.
    ///
    /// >>> ferrograd.nn.functional.softsign(ferrograd.tensor([-1.0, 3.0]))
    /// tensor([-0.5000,  0.7500])
    function Same(Numbers -> Float), ["nn.softsign(Tensor input)"], |_, a| Ok(softsign(a.tensor(0)?)?.into())
}

/// `x / (1 + |x|)`
///
/// # Errors
/// For truth values.
pub fn softsign(x: &Tensor) -> Result<Tensor> {
    div(x, &add(&unary::abs(x)?, 1)?)
}

operation! {
    /// `y = x - tanh(x)`, element by element.
    ///
    /// >>> ferrograd.nn.functional.tanhshrink(ferrograd.tensor([-1.0, 3.0]))
    /// tensor([-0.2384,  2.0049])
    function Same(Numbers -> Float), ["nn.tanhshrink(Tensor input)"], |_, a| {
        let x = a.tensor(0)?;
        Ok(sub(x, &unary::tanh(x)?)?.into())
    }
}

operation! {
    /// Exponential below zero: `y = x` where `x >= 0`, else `alpha (e^x - 1)`, element by element. The derivative at zero is
    /// `alpha`.
    ///
    /// >>> ferrograd.nn.functional.elu(ferrograd.tensor([-1.0, 2.0]))
    /// tensor([-0.6321,  2.0000])
    binary Elu, elu, "EluBackward0", Rule::Real,
        ["nn.elu(Tensor self, Number alpha=1.0, bool inplace=False)"], |_, a| of_reals(Elu::spec(), a)
}
impl Binary for Elu {
    const FORMS: &'static [Form] = &[Form::new(0b10, "EluBackward0", 0b01)];
    const EXACT: u8 = 0b10;
    #[inline(always)]
    fn forward<L: Real>(x: L, alpha: L) -> L {
        L::select(x.lt(L::constant(0.0)), x.expm1() * alpha, x)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, alpha: L, _y: L) -> [L; 2] {
        let zero = L::constant(0.0);
        let above = x.gt(zero);
        [L::select(above, g, g * (alpha * x.exp())), L::select(above, zero, g * x.expm1())]
    }
}

operation! {
    /// `y = x` where `x >= 0`, else `alpha (e^(x / alpha) - 1)`, element by element. The derivative at zero is 1.
    ///
    /// Raises: RuntimeError where alpha is zero.
    ///
    /// >>> ferrograd.celu(ferrograd.tensor([-1.0, 2.0]), 2.0)
    /// tensor([-0.7869,  2.0000])
    binary Celu, celu, "CeluBackward0", Rule::Real,
        ["nn.celu(Tensor self, Number alpha=1.0, bool inplace=False)"; also "package.celu"], |_, a| {
            if a.float(1)? == 0.0 {
                return Err(Error::Invalid { op: a.op, what: "ZeroDivisionError: alpha cannot be 0 for CELU".into() });
            }
            of_reals(Celu::spec(), a)
        }
}
impl Binary for Celu {
    const DOMAIN: [Domain; 2] = [Domain::ALL, Domain::NONZERO];
    const FORMS: &'static [Form] = &[Form::new(0b10, "CeluBackward0", 0b01)];
    const EXACT: u8 = 0b10;
    #[inline(always)]
    fn forward<L: Real>(x: L, alpha: L) -> L {
        L::select(x.lt(L::constant(0.0)), (x / alpha).expm1() * alpha, x)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, alpha: L, _y: L) -> [L; 2] {
        let (zero, ratio) = (L::constant(0.0), x / alpha);
        let (above, slope) = (x.gt(zero), ratio.exp());
        [L::select(above, g, g * slope), L::select(above, zero, g * (ratio.expm1() - ratio * slope))]
    }
}

/// The constants of the self-normalising exponential unit.
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

operation! {
    /// The exponential unit that keeps mean 0 and variance 1: `y = 1.0507 x` where `x >= 0`, else
    /// `1.0507 1.6733 (e^x - 1)`, element by element.
    ///
    /// >>> ferrograd.selu(ferrograd.tensor([-1.0, 2.0]))
    /// tensor([-1.1113,  2.1014])
    unary Selu, selu, "EluBackward0", Rule::Real, ["nn.selu(Tensor self, bool inplace=False)"; also "package.selu"]
}
impl Unary for Selu {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        let below = x.expm1() * L::constant(SELU_ALPHA * SELU_SCALE);
        L::select(x.lt(L::constant(0.0)), below, x * L::constant(SELU_SCALE))
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        let below = L::constant(SELU_ALPHA * SELU_SCALE) * x.exp();
        g * L::select(x.gt(L::constant(0.0)), L::constant(SELU_SCALE), below)
    }
}

operation! {
    /// The first half along `dim` times the logistic function of the second: `y = a sigmoid(b)`.
    ///
    /// Raises: RuntimeError where the size along `dim` is odd, and for tensors without dimensions.
    ///
    /// Shapes: any of at least one dimension; half as many along `dim`.
    ///
    /// >>> ferrograd.nn.functional.glu(ferrograd.tensor([1.0, 2.0, 0.0, 1.0]))
    /// tensor([0.5000, 1.4621])
    function Noted(Floats -> Kept), ["nn.glu(Tensor input, int dim=-1)"], |_, a| Ok(glu(a.tensor(0)?, a.int(1)?)?.into())
}

/// The first half along a dimension, gated by the second.
///
/// # Errors
/// For tensors without dimensions, odd sizes, dimensions out of range and integers.
pub fn glu(x: &Tensor, dim: isize) -> Result<Tensor> {
    const OP: &str = "glu";
    if x.rank() == 0 {
        let what = "glu does not support scalars because halving size must be even".into();
        return Err(Error::Invalid { op: OP, what });
    }
    if let Some(y) = batch::along(OP, x, dim, glu) {
        return y;
    }
    let dim = wrap_dim(OP, dim, x.rank())?;
    real(OP, x)?;
    let size = x.shape()[dim];
    if size % 2 == 1 {
        let what = format!("Halving dimension must be even, but dimension {dim} is size {size}");
        return Err(Error::Invalid { op: OP, what });
    }
    let y = unrecorded(|| {
        let [a, b] = halves(x, dim)?;
        mul(&a, &unary::sigmoid(&b)?)
    })?;
    let settings = || Settings { dims: smallvec![dim as isize], ..Settings::default() };
    record("GluBackward0", &y, &[x], &[Keep::Input(x)], settings, of_glu)?;
    Ok(y)
}

fn halves(x: &Tensor, dim: usize) -> Result<[Tensor; 2]> {
    let (half, dim) = ((x.shape()[dim] / 2) as isize, dim as isize);
    Ok([view::narrow(x, dim, 0, half)?, view::narrow(x, dim, half, half)?])
}

/// `da = g s`, `db = g a s (1 - s)` with `s = sigmoid(b)`.
fn of_glu(call: &Call) -> Result<Gradients> {
    let dim = call.settings.dims[0];
    let [a, b] = halves(&call.saved[0], dim as usize)?;
    let s = unary::sigmoid(&b)?;
    let da = mul(&call.g, &s)?;
    let db = mul(&mul(&da, &a)?, &sub(1, &s)?)?;
    Ok(smallvec![Some(join::cat(&[da, db], dim)?)])
}
