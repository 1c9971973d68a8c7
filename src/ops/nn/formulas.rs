//! The losses of single elements, as formulas that [`super::reduction::reduced`] takes: none reads its result in a
//! derivative.

use crate::kernels::lane::Real;
use crate::ops::formula::{Formula, OPERANDS, Pointwise, Rule};

macro_rules! formulas {
    ($($(#[doc = $doc:literal])* $T:ident $arity:literal $name:literal $node:literal:
        |$a:ident, $b:ident, $c:ident| $forward:expr, |$g:ident| $derivative:expr;)*) => {$(
        $(#[doc = $doc])*
        pub(super) struct $T;
        impl $T {
            pub fn spec() -> &'static Pointwise {
                static SPEC: Pointwise = Pointwise::new::<$T>($name, $node, Rule::Promote);
                &SPEC
            }
        }
        impl Formula for $T {
            const ARITY: usize = $arity;
            const EXACT: u8 = 0b100;
            #[inline(always)]
            #[allow(unused_variables, reason = "formulas of two operands")]
            fn forward<L: Real>([$a, $b, $c, _]: [L; OPERANDS]) -> L {
                $forward
            }
            #[inline(always)]
            #[allow(unused_variables, reason = "formulas of two operands")]
            fn derivative<L: Real>(n: usize, $g: L, [$a, $b, $c, _]: [L; OPERANDS], _y: L) -> L {
                let of: [L; $arity] = $derivative;
                of[n.min($arity - 1)]
            }
        }
    )*};
}

#[inline(always)]
fn number<L: Real>(n: f64) -> L {
    L::constant(n)
}

/// `log(1 + e^-x)` without overflow.
#[inline(always)]
fn softplus_of_minus<L: Real>(x: L) -> L {
    (-x).maximum(number(0.0)) + (-x.abs()).exp().log1p()
}

/// The slope that is straight beyond a bound: `d` within it, else the bound with the sign of `d`.
#[inline(always)]
fn bounded<L: Real>(d: L, bound: L) -> L {
    L::select(d.le(-bound), -bound, L::select(d.ge(bound), bound, d))
}

/// `-max(log x, -100)`
#[inline(always)]
fn cost<L: Real>(x: L) -> L {
    -x.log().maximum(number(-100.0))
}

/// As [`cost`] of `1 - x`.
#[inline(always)]
fn cost_of_rest<L: Real>(x: L) -> L {
    -(-x).log1p().maximum(number(-100.0))
}

formulas! {
    /// `(x - t)^2`
    Square 2 "mse_loss" "MseLossBackward0": |x, t, _c| (x - t) * (x - t),
        |g| { let d = g * (number::<L>(2.0) * (x - t)); [d, -d] };
    /// `d^2 / (2 beta)` where `|d| < beta`, else `|d| - beta / 2`, with `d = x - t`.
    Smooth 3 "smooth_l1_loss" "SmoothL1LossBackward0": |x, t, beta| {
            let d = (x - t).abs();
            L::select(d.lt(beta), number::<L>(0.5) * d * d / beta, d - number::<L>(0.5) * beta)
        }, |g| {
            let d = x - t;
            let slope = g * (bounded(d, beta) / beta);
            let inner = g * (number::<L>(-0.5) * (d / beta) * (d / beta));
            [slope, -slope, L::select(d.abs().lt(beta), inner, g * number::<L>(-0.5))]
        };
    /// `d^2 / 2` where `|d| <= delta`, else `delta (|d| - delta / 2)`, with `d = x - t`.
    Huber 3 "huber_loss" "HuberLossBackward0": |x, t, delta| {
            let d = (x - t).abs();
            L::select(d.le(delta), number::<L>(0.5) * d * d, delta * (d - number::<L>(0.5) * delta))
        }, |g| {
            let d = x - t;
            let slope = g * bounded(d, delta);
            [slope, -slope, L::select(d.abs().le(delta), number::<L>(0.0), g * (d.abs() - delta))]
        };
    /// `-t max(log x, -100) - (1 - t) max(log(1 - x), -100)`
    CrossEntropy 2 "binary_cross_entropy" "BinaryCrossEntropyBackward0":
        |x, t, _c| t * cost(x) + (number::<L>(1.0) - t) * cost_of_rest(x), |g| {
            let spread = ((number::<L>(1.0) - x) * x).maximum(number(1e-12));
            [g * (x - t) / spread, g * (cost(x) - cost_of_rest(x))]
        };
    /// As `CrossEntropy`, times a weight.
    WeightedCrossEntropy 3 "binary_cross_entropy" "BinaryCrossEntropyBackward0":
        |x, t, w| w * (t * cost(x) + (number::<L>(1.0) - t) * cost_of_rest(x)), |g| {
            let spread = ((number::<L>(1.0) - x) * x).maximum(number(1e-12));
            let plain = t * cost(x) + (number::<L>(1.0) - t) * cost_of_rest(x);
            [g * w * (x - t) / spread, g * w * (cost(x) - cost_of_rest(x)), g * plain]
        };
    /// `(1 - t) x + log(1 + e^-x)`: the cross entropy of `sigmoid(x)`.
    Logits 2 "binary_cross_entropy_with_logits" "BinaryCrossEntropyWithLogitsBackward0":
        |x, t, _c| (number::<L>(1.0) - t) * x + softplus_of_minus(x), |g| [g * (x.sigmoid() - t), -(g * x)];
    /// `(1 - t) x + (1 + (p - 1) t) log(1 + e^-x)`: positive examples count `p` times.
    PositiveLogits 3 "binary_cross_entropy_with_logits" "BinaryCrossEntropyWithLogitsBackward0":
        |x, t, p| {
            let one = number::<L>(1.0);
            (one - t) * x + ((p - one) * t + one) * softplus_of_minus(x)
        }, |g| {
            let one = number::<L>(1.0);
            let (scaled, cost) = (p * t, softplus_of_minus(x));
            [g * ((scaled + one - t) * x.sigmoid() - scaled), g * ((p - one) * cost - x), g * (t * cost)]
        };
    /// `log(1 + e^(-t x))`
    SoftMargin 2 "soft_margin_loss" "SoftMarginLossBackward0": |x, t, _c| (-t * x).exp().log1p(), |g| {
            let slope = g * (-t * x).sigmoid();
            [-t * slope, -x * slope]
        };
}
