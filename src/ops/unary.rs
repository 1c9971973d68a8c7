//! Functions of one element.

use super::formula::{Domain, Formula, OPERANDS, Operand, Pointwise, RESULT, Replay, Rule, Unary};
use super::pointwise;
use super::registry::operation;
use crate::error::Result;
use crate::kernels::lane::Real;
use crate::tensor::Tensor;

operation! {
    /// Absolute value, element by element: `y = |x|`, `dy/dx = sign(x)`, zero at zero.
    ///
    /// >>> ferrograd.abs(ferrograd.tensor([-1.5, 2.0]))
    /// tensor([1.5000, 2.0000])
    unary Abs, abs, "AbsBackward0", Rule::Number, ["abs(Tensor self)"; also "absolute"]
}
impl Unary for Abs {
    const STEPS: Option<&'static str> = Some("MulBackward0");
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.abs()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        g * sign(x)
    }
}

operation! {
    /// Sign, element by element: -1, 0 or 1. The gradient is zero.
    ///
    /// >>> ferrograd.sign(ferrograd.tensor([-1.5, 0.0, 2.0]))
    /// tensor([-1.,  0.,  1.])
    unary Sign, sign_of, "SignBackward0", Rule::Promote, ["sign(Tensor self)"]
}
impl Unary for Sign {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        sign(x)
    }
    #[inline(always)]
    fn derivative<L: Real>(_g: L, _x: L, _y: L) -> L {
        L::constant(0.0)
    }
}

operation! {
    /// Sign, element by element: -1, 0 or 1. The same as `sign`.
    ///
    /// >>> ferrograd.sgn(ferrograd.tensor([-1.5, 0.0, 2.0]))
    /// tensor([-1.,  0.,  1.])
    unary Sgn, sgn, "SgnBackward0", Rule::Promote, ["sgn(Tensor self)"]
}
impl Unary for Sgn {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        sign(x)
    }
    #[inline(always)]
    fn derivative<L: Real>(_g: L, _x: L, _y: L) -> L {
        L::constant(0.0)
    }
}

/// -1, 0 or 1; NaN gives 0, as in torch.
#[inline(always)]
fn sign<L: Real>(x: L) -> L {
    let (zero, one) = (L::constant(0.0), L::constant(1.0));
    L::select(x.gt(zero), one, L::select(x.lt(zero), zero - one, zero))
}

operation! {
    /// Exponential, element by element: `y = e^x`, `dy/dx = y`.
    ///
    /// >>> ferrograd.exp(ferrograd.tensor([0.0, 1.0]))
    /// tensor([1.0000, 2.7183])
    unary Exp, exp, "ExpBackward0", Rule::Float, ["exp(Tensor self)"]
}
impl Unary for Exp {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.exp()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _x: L, y: L) -> L {
        g * y
    }
}

operation! {
    /// `e^x - 1` without cancellation near zero, element by element: `dy/dx = y + 1`.
    ///
    /// >>> ferrograd.expm1(ferrograd.tensor([0.0, 1.0]))
    /// tensor([0.0000, 1.7183])
    unary Expm1, expm1, "Expm1Backward0", Rule::Float, ["expm1(Tensor self)"; also "special.expm1"]
}
impl Unary for Expm1 {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.expm1()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _x: L, y: L) -> L {
        g * (y + L::constant(1.0))
    }
}

operation! {
    /// Natural logarithm, element by element: `y = log x`, `dy/dx = 1/x`.
    ///
    /// >>> ferrograd.log(ferrograd.tensor([1.0, 2.0]))
    /// tensor([0.0000, 0.6931])
    unary Log, log, "LogBackward0", Rule::Float, ["log(Tensor self)"]
}
impl Unary for Log {
    const DOMAIN: Domain = Domain::POSITIVE;
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.log()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        g / x
    }
}

operation! {
    /// `log(1 + x)` without cancellation near zero, element by element: `dy/dx = 1/(1 + x)`.
    ///
    /// >>> ferrograd.log1p(ferrograd.tensor([0.0, 1.0]))
    /// tensor([0.0000, 0.6931])
    unary Log1p, log1p, "Log1PBackward0", Rule::Float, ["log1p(Tensor self)"; also "special.log1p"]
}
impl Unary for Log1p {
    const DOMAIN: Domain = Domain::POSITIVE;
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.log1p()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        g / (x + L::constant(1.0))
    }
}

operation! {
    /// Square root, element by element: `y = sqrt(x)`, `dy/dx = 1/(2y)`.
    ///
    /// >>> ferrograd.sqrt(ferrograd.tensor([4.0, 2.0]))
    /// tensor([2.0000, 1.4142])
    unary Sqrt, sqrt, "SqrtBackward0", Rule::Float, ["sqrt(Tensor self)"]
}
impl Unary for Sqrt {
    const DOMAIN: Domain = Domain::POSITIVE;
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.sqrt()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _x: L, y: L) -> L {
        g / (L::constant(2.0) * y)
    }
}

operation! {
    /// Reciprocal, element by element: `y = 1/x`, `dy/dx = -y^2`.
    ///
    /// >>> ferrograd.reciprocal(ferrograd.tensor([2.0, -4.0]))
    /// tensor([ 0.5000, -0.2500])
    unary Reciprocal, reciprocal, "ReciprocalBackward0", Rule::Float, ["reciprocal(Tensor self)"]
}
impl Unary for Reciprocal {
    const DOMAIN: Domain = Domain::NONZERO;
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        L::constant(1.0) / x
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _x: L, y: L) -> L {
        -g * (y * y)
    }
}

operation! {
    /// Sine of angles in radians, element by element: `y = sin x`, `dy/dx = cos x`.
    ///
    /// >>> ferrograd.sin(ferrograd.tensor([0.0, 1.0]))
    /// tensor([0.0000, 0.8415])
    unary Sin, sin, "SinBackward0", Rule::Float, ["sin(Tensor self)"]
}
impl Unary for Sin {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.sin()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        g * x.cos()
    }
}

operation! {
    /// Cosine of angles in radians, element by element: `y = cos x`, `dy/dx = -sin x`.
    ///
    /// >>> ferrograd.cos(ferrograd.tensor([0.0, 1.0]))
    /// tensor([1.0000, 0.5403])
    unary Cos, cos, "CosBackward0", Rule::Float, ["cos(Tensor self)"]
}
impl Unary for Cos {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.cos()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        g * -x.sin()
    }
}

operation! {
    /// Hyperbolic tangent, element by element: `y = tanh x`, `dy/dx = 1 - y^2`.
    ///
    /// >>> ferrograd.tanh(ferrograd.tensor([0.0, 1.0]))
    /// tensor([0.0000, 0.7616])
    unary Tanh, tanh, "TanhBackward0", Rule::Float, ["tanh(Tensor self)"; also "nn.tanh"]
}
impl Unary for Tanh {
    const REPLAY: Option<Replay> = Some(|_, sources| TanhGradient::of(sources));
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.tanh()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _x: L, y: L) -> L {
        g * (L::constant(1.0) - y * y)
    }
}

operation! {
    /// Logistic function, element by element: `y = 1 / (1 + e^-x)`, `dy/dx = y (1 - y)`.
    ///
    /// >>> ferrograd.sigmoid(ferrograd.tensor([0.0, 1.0]))
    /// tensor([0.5000, 0.7311])
    unary Sigmoid, sigmoid, "SigmoidBackward0", Rule::Float, ["sigmoid(Tensor self)"; also "nn.sigmoid", "special.expit"]
}
impl Unary for Sigmoid {
    const REPLAY: Option<Replay> = Some(|_, sources| SigmoidGradient::of(sources));
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.sigmoid()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _x: L, y: L) -> L {
        g * (y * (L::constant(1.0) - y))
    }
}

/// Derivatives that are operations of their own under `create_graph`, as in torch: one node of the gradient and the result,
/// with the derivative by the result.
macro_rules! gradients {
    ($($name:ident $of:ident $node:literal: |$g:ident, $gradient:ident, $y:ident| $by_result:expr;)*) => {$(
        struct $name;
        impl $name {
            fn of(sources: &[Operand]) -> Result<Option<Tensor>> {
                static SPEC: Pointwise = Pointwise::new::<$name>($node, $node, Rule::Real);
                pointwise::apply(&SPEC, &[sources[0], sources[1 + RESULT]]).map(Some)
            }
        }
        impl Formula for $name {
            const ARITY: usize = 2;
            #[inline(always)]
            fn forward<L: Real>([$gradient, $y, ..]: [L; OPERANDS]) -> L {
                <$of as Unary>::derivative($gradient, $y, $y)
            }
            #[inline(always)]
            fn derivative<L: Real>(n: usize, $g: L, [$gradient, $y, ..]: [L; OPERANDS], _y: L) -> L {
                if n == 0 { <$of as Unary>::derivative($g, $y, $y) } else { $by_result }
            }
        }
    )*};
}

gradients! {
    TanhGradient Tanh "TanhBackwardBackward0": |g, gradient, y| g * (gradient * (L::constant(-2.0) * y));
    SigmoidGradient Sigmoid "SigmoidBackwardBackward0":
        |g, gradient, y| g * (gradient * (L::constant(1.0) - (y + y)));
}

operation! {
    /// Rectifier, element by element: `y = max(x, 0)`, `dy/dx = 1` where `y > 0`, else 0 (at zero too).
    ///
    /// >>> ferrograd.relu(ferrograd.tensor([-1.0, 2.0]))
    /// tensor([0., 2.])
    unary Relu, relu, "ReluBackward0", Rule::Signed, ["relu(Tensor self)"]
}
impl Unary for Relu {
    const STEPS: Option<&'static str> = Some("ThresholdBackwardBackward0");
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.maximum(L::constant(0.0))
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _x: L, y: L) -> L {
        L::select(y.le(L::constant(0.0)), L::constant(0.0), g)
    }
}

operation! {
    /// Rounded towards negative infinity, element by element; integers stay. The gradient is zero.
    ///
    /// >>> ferrograd.floor(ferrograd.tensor([1.5, -1.5]))
    /// tensor([ 1., -2.])
    unary Floor, floor, "FloorBackward0", Rule::Number, ["floor(Tensor self)"]
}
impl Unary for Floor {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.floor()
    }
    #[inline(always)]
    fn derivative<L: Real>(_g: L, _x: L, _y: L) -> L {
        L::constant(0.0)
    }
}

operation! {
    /// Rounded towards zero, element by element; integers stay. The gradient is zero.
    ///
    /// >>> ferrograd.trunc(ferrograd.tensor([1.5, -1.5]))
    /// tensor([ 1., -1.])
    unary Trunc, trunc, "TruncBackward0", Rule::Number, ["trunc(Tensor self)"; also "fix"]
}
impl Unary for Trunc {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.trunc()
    }
    #[inline(always)]
    fn derivative<L: Real>(_g: L, _x: L, _y: L) -> L {
        L::constant(0.0)
    }
}
