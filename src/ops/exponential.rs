//! Exponentials and logarithms to other bases, and functions made of them.

use smallvec::smallvec;

use super::formula::{Binary, Domain, Form, Formula, OPERANDS, Pointwise, Rule, Unary};
use super::registry::operation;
use crate::graph::node::Setting;
use crate::kernels::lane::Real;

operation! {
    /// Power of two, element by element: `y = 2^x`, `dy/dx = y log 2`.
    ///
    /// >>> ferrograd.exp2(ferrograd.tensor([0.0, 3.0]))
    /// tensor([1., 8.])
    unary Exp2, exp2, "Exp2Backward0", Rule::Float, ["exp2(Tensor self)"; also "special.exp2"]
}
impl Unary for Exp2 {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.exp2()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _x: L, y: L) -> L {
        g * y * L::constant(std::f64::consts::LN_2)
    }
}

operation! {
    /// Logarithm to base 2, element by element: `y = log2 x`, `dy/dx = 1 / (x log 2)`.
    ///
    /// >>> ferrograd.log2(ferrograd.tensor([1.0, 8.0]))
    /// tensor([0., 3.])
    unary Log2, log2, "Log2Backward0", Rule::Float, ["log2(Tensor self)"]
}
impl Unary for Log2 {
    const DOMAIN: Domain = Domain::POSITIVE;
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.log2()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        g / (x * L::constant(std::f64::consts::LN_2))
    }
}

operation! {
    /// Logarithm to base 10, element by element: `y = log10 x`, `dy/dx = 1 / (x log 10)`.
    ///
    /// >>> ferrograd.log10(ferrograd.tensor([1.0, 1000.0]))
    /// tensor([0., 3.])
    unary Log10, log10, "Log10Backward0", Rule::Float, ["log10(Tensor self)"]
}
impl Unary for Log10 {
    const DOMAIN: Domain = Domain::POSITIVE;
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.log10()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        g / (x * L::constant(std::f64::consts::LN_10))
    }
}

operation! {
    /// Reciprocal of the square root, element by element: `y = 1 / sqrt(x)`, `dy/dx = -y^3 / 2`.
    ///
    /// >>> ferrograd.rsqrt(ferrograd.tensor([4.0, 0.25]))
    /// tensor([0.5000, 2.0000])
    unary Rsqrt, rsqrt, "RsqrtBackward0", Rule::Float, ["rsqrt(Tensor self)"]
}
impl Unary for Rsqrt {
    const DOMAIN: Domain = Domain::POSITIVE;
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        L::constant(1.0) / x.sqrt()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _x: L, y: L) -> L {
        L::constant(-0.5) * g * (y * y * y)
    }
}

/// The larger of two where they are equal, which keeps infinities, else `larger + more`.
#[inline(always)]
fn above_larger<L: Real>(a: L, b: L, more: L) -> L {
    let infinite = a.abs().eq(L::constant(f64::INFINITY));
    L::select(a.eq(b) & infinite, a, a.maximum(b) + more)
}

operation! {
    /// `log(e^a + e^b)` without overflow, element by element: `dy/da = 1 / (1 + e^(b - a))`, `dy/db = 1 / (1 + e^(a - b))`.
    /// Floating-point numbers only.
    ///
    /// >>> ferrograd.logaddexp(ferrograd.tensor([0.0, 1000.0]), ferrograd.tensor([0.0, 1000.0]))
    /// tensor([6.9315e-01, 1.0007e+03])
    binary LogAddExp, logaddexp, "LogaddexpBackward0", Rule::Real, ["logaddexp(Tensor self, Tensor other)"]
}
impl Binary for LogAddExp {
    const IN_PLACE: bool = false;
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        above_larger(a, b, (-(a - b).abs()).exp().log1p())
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, a: L, b: L, _y: L) -> [L; 2] {
        let one = L::constant(1.0);
        [g / (one + (b - a).exp()), g / (one + (a - b).exp())]
    }
}

operation! {
    /// `log2(2^a + 2^b)` without overflow, element by element: `dy/da = 1 / (1 + 2^(b - a))`, `dy/db = 1 / (1 + 2^(a - b))`.
    /// Floating-point numbers only.
    ///
    /// >>> ferrograd.logaddexp2(ferrograd.tensor([0.0, 1000.0]), ferrograd.tensor([0.0, 1000.0]))
    /// tensor([1.0000e+00, 1.0010e+03])
    binary LogAddExp2, logaddexp2, "Logaddexp2Backward0", Rule::Real, ["logaddexp2(Tensor self, Tensor other)"]
}
impl Binary for LogAddExp2 {
    const IN_PLACE: bool = false;
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        let more = (-(a - b).abs()).exp2().log1p() * L::constant(std::f64::consts::LOG2_E);
        above_larger(a, b, more)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, a: L, b: L, _y: L) -> [L; 2] {
        let one = L::constant(1.0);
        [g / (one + (b - a).exp2()), g / (one + (a - b).exp2())]
    }
}

/// True where the gradient by the factor of a logarithm is zero though the logarithm is not finite: that of `pole` and below where
/// the factor or the gradient is zero, and that of infinity where the gradient is.
#[inline(always)]
fn is_nothing<L: Real>(g: L, a: L, b: L, pole: L) -> L::Mask {
    let (zero, infinity) = (L::constant(0.0), L::constant(f64::INFINITY));
    (a.eq(zero) | g.eq(zero)) & b.le(pole) | g.eq(zero) & b.eq(infinity)
}

operation! {
    /// `a log b`, element by element, and 0 where `a` is: `dy/da = log b`, `dy/db = a / b`. The first derivative is 0 where
    /// `a = 0` and `b <= 0`, and where the gradient is.
    ///
    /// >>> ferrograd.xlogy(ferrograd.tensor([0.0, 2.0]), ferrograd.tensor([0.0, 2.0]))
    /// tensor([0.0000, 1.3863])
    binary Xlogy, xlogy, "XlogyBackward0", Rule::Float,
        ["xlogy(Tensor self, Operand other)", "xlogy(Number self, Tensor other)"; also "special.xlogy"]
}
impl Binary for Xlogy {
    const FORMS: &'static [Form] = &[Form::new(0b01, "XlogyBackward1", 0b10), Form::new(0b10, "XlogyBackward2", 0b01)];
    const DOMAIN: [Domain; 2] = [Domain::NONZERO, Domain::POSITIVE];
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        let zero = L::constant(0.0);
        L::select(b.is_nan(), b, L::select(a.eq(zero), zero, a * b.log()))
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, a: L, b: L, _y: L) -> [L; 2] {
        let zero = L::constant(0.0);
        [L::select(is_nothing(g, a, b, zero), zero, g * b.log()), g * (a / b)]
    }
}

operation! {
    /// `a log(1 + b)`, element by element, and 0 where `a` is: `dy/da = log(1 + b)`, `dy/db = a / (1 + b)`. The first
    /// derivative is 0 where `a = 0` and `b <= -1`.
    ///
    /// >>> ferrograd.special.xlog1py(ferrograd.tensor([0.0, 2.0]), ferrograd.tensor([-1.0, 1.0]))
    /// tensor([0.0000, 1.3863])
    binary Xlog1py, xlog1py, "SpecialXlog1PyBackward0", Rule::Float,
        ["special.xlog1py(Tensor input, Operand other)", "special.xlog1py(Number input, Tensor other)"]
}
impl Binary for Xlog1py {
    const FORMS: &'static [Form] =
        &[Form::new(0b01, "SpecialXlog1PyBackward1", 0b10), Form::new(0b10, "SpecialXlog1PyBackward2", 0b01)];
    const DOMAIN: [Domain; 2] = [Domain::NONZERO, Domain::POSITIVE];
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        let zero = L::constant(0.0);
        L::select(b.is_nan(), b, L::select(a.eq(zero), zero, a * b.log1p()))
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, a: L, b: L, _y: L) -> [L; 2] {
        let (zero, one) = (L::constant(0.0), L::constant(1.0));
        [L::select(is_nothing(g, a, b, -one), zero, g * b.log1p()), g * (a / (b + one))]
    }
}

operation! {
    /// Entropy, element by element: `-x log(x)`, 0 at 0 and minus infinity below; `dy/dx = -1 - log(x)`.
    ///
    /// >>> ferrograd.special.entr(ferrograd.tensor([0.0, 0.5, 2.0]))
    /// tensor([ 0.0000,  0.3466, -1.3863])
    unary Entr, entr, "SpecialEntrBackward0", Rule::Float, ["special.entr(Tensor input)"]
}
impl Unary for Entr {
    const DOMAIN: Domain = Domain::POSITIVE;
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        let zero = L::constant(0.0);
        let below = L::select(x.lt(zero), L::constant(f64::NEG_INFINITY), x);
        L::select(x.gt(zero), -x * x.log(), L::select(x.eq(zero), zero, below))
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        g * (L::constant(-1.0) - x.log())
    }
}

operation! {
    /// Logarithm of the odds, element by element: `y = log(x / (1 - x))`, `dy/dx = 1 / (x (1 - x))`; NaN beyond 0 and 1. With
    /// `eps`, `x` is first bounded by `eps` and `1 - eps`, and the gradient is zero beyond.
    ///
    /// >>> ferrograd.logit(ferrograd.tensor([0.5, 0.75]))
    /// tensor([0.0000, 1.0986])
    unary Logit, logit, "LogitBackward0", Rule::Float, ["logit(Tensor self, Number? eps=None)"; also "special.logit"], |_, a| {
        match a.maybe_number(1)? {
            Some(eps) if eps.as_f64() >= 0.0 => Ok((BoundedLogit::spec(), smallvec![a.operand(0)?, eps.as_f64().into()])),
            _ => {
                static UNBOUNDED: Pointwise =
                    Pointwise::new::<Logit>("logit", "LogitBackward0", Rule::Float).telling(&[("eps", Setting::Nothing)]);
                Ok((&UNBOUNDED, smallvec![a.operand(0)?]))
            }
        }
    }
}
impl Unary for Logit {
    const DOMAIN: Domain = Domain { low: 0.1, high: 0.7 };
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        (x / (L::constant(1.0) - x)).log()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        let (zero, one) = (L::constant(0.0), L::constant(1.0));
        L::select(x.lt(zero) | x.gt(one), L::constant(f64::NAN), g / (x * (one - x)).abs())
    }
}

/// [`Logit`] of `x` bounded by `eps` and `1 - eps`.
struct BoundedLogit;
impl BoundedLogit {
    fn spec() -> &'static Pointwise {
        static SPEC: Pointwise = Pointwise::new::<BoundedLogit>("logit", "LogitBackward0", Rule::Float);
        &SPEC
    }
}
impl Formula for BoundedLogit {
    const ARITY: usize = 2;
    const FORMS: &'static [Form] = &[Form::new(0b10, "LogitBackward0", 0b01)];
    #[inline(always)]
    fn forward<L: Real>([x, eps, ..]: [L; OPERANDS]) -> L {
        let high = L::constant(1.0) - eps;
        let bounded = L::select(x.lt(eps), eps, L::select(x.gt(high), high, x));
        <Logit as Formula>::forward([bounded; OPERANDS])
    }
    #[inline(always)]
    fn derivative<L: Real>(_n: usize, g: L, [x, eps, ..]: [L; OPERANDS], y: L) -> L {
        let outside = x.lt(eps) | x.gt(L::constant(1.0) - eps);
        L::select(!outside, <Logit as Formula>::derivative(0, g, [x; OPERANDS], y), L::constant(0.0))
    }
}
