//! Rounding, and what it leaves.

use smallvec::smallvec;

use super::formula::{Binary, Domain, Form, Formula, OPERANDS, Pointwise, Rule, Unary};
use super::operands::real;
use super::pointwise::Chosen;
use super::registry::{Arguments, operation};
use crate::error::Result;
use crate::kernels::lane::Real;

operation! {
    /// Rounded towards positive infinity, element by element; integers stay. The gradient is zero.
    ///
    /// >>> ferrograd.ceil(ferrograd.tensor([1.5, -1.5]))
    /// tensor([ 2., -1.])
    unary Ceil, ceil, "CeilBackward0", Rule::Number, ["ceil(Tensor self)"]
}
impl Unary for Ceil {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        -(-x).floor()
    }
    #[inline(always)]
    fn derivative<L: Real>(_g: L, _x: L, _y: L) -> L {
        L::constant(0.0)
    }
}

operation! {
    /// Rounded to the nearest whole number, and from halfway to the even one, element by element; integers stay. With
    /// `decimals` to as many digits after the point, or before it where negative; floating-point numbers only. The gradient
    /// is zero.
    ///
    /// >>> ferrograd.round(ferrograd.tensor([0.5, 1.5, -1.7]))
    /// tensor([ 0.,  2., -2.])
    /// >>> ferrograd.round(ferrograd.tensor([1.234]), decimals=1)
    /// tensor([1.2000])
    unary Round, round, "RoundBackward0", Rule::Number, ["round(Tensor self)", "round(Tensor self, *, int decimals)"; also "special.round"],
        |signature, a| if signature == 0 { Ok((Round::spec(), smallvec![a.operand(0)?])) } else { to_decimals(a) }
}
impl Unary for Round {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.round()
    }
    #[inline(always)]
    fn derivative<L: Real>(_g: L, _x: L, _y: L) -> L {
        L::constant(0.0)
    }
}

macro_rules! scaled_roundings {
    ($($(#[doc = $doc:literal])* $T:ident: |$x:ident, $power:ident| $forward:expr;)*) => {$(
        $(#[doc = $doc])*
        struct $T;
        impl $T {
            fn spec() -> &'static Pointwise {
                static SPEC: Pointwise = Pointwise::new::<$T>("round", "RoundBackward1", Rule::Real);
                &SPEC
            }
        }
        impl Formula for $T {
            const ARITY: usize = 2;
            const FORMS: &'static [Form] = &[Form::new(0b10, "RoundBackward1", 0b01)];
            #[inline(always)]
            fn forward<L: Real>([$x, $power, ..]: [L; OPERANDS]) -> L {
                $forward
            }
            #[inline(always)]
            fn derivative<L: Real>(_n: usize, _g: L, _x: [L; OPERANDS], _y: L) -> L {
                L::constant(0.0)
            }
        }
    )*};
}

scaled_roundings! {
    /// Rounded to digits after the point.
    RoundAfter: |x, power| (x * power).round() / power;
    /// Rounded to digits before the point.
    RoundBefore: |x, power| (x / power).round() * power;
}

/// The operation of a call `round(self, decimals)`.
fn to_decimals<'a>(a: &'a Arguments) -> Result<Chosen<'a>> {
    real(a.op, a.tensor(0)?)?;
    let decimals = a.int(1)?;
    let spec = if decimals < 0 { RoundBefore::spec() } else { RoundAfter::spec() };
    let power = libm::pow(10.0, decimals.unsigned_abs() as f64);
    Ok((spec, smallvec![a.operand(0)?, power.into()]))
}

operation! {
    /// What is behind the point, element by element: `x - trunc(x)`, `dy/dx = 1`. Floating-point numbers only.
    ///
    /// >>> ferrograd.frac(ferrograd.tensor([1.5, -1.25]))
    /// tensor([ 0.5000, -0.2500])
    unary Frac, frac, "FracBackward0", Rule::Real, ["frac(Tensor self)"]
}
impl Unary for Frac {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x - x.trunc()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _x: L, _y: L) -> L {
        g
    }
}

operation! {
    /// Remainder with the sign of the dividend, element by element, as C's `%`: `y = a - b trunc(a / b)`, `dy/da = 1`,
    /// `dy/db = -trunc(a / b)`.
    ///
    /// >>> ferrograd.fmod(ferrograd.tensor([7, -7]), 3)
    /// tensor([ 1, -1])
    binary Fmod, fmod, "FmodBackward1", Rule::Quotient, ["fmod(Tensor self, Operand other)"]
}
impl Binary for Fmod {
    const FORMS: &'static [Form] = &[Form::new(0b10, "FmodBackward0", 0b01)];
    const DOMAIN: [Domain; 2] = [Domain::ALL, Domain::NONZERO];
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        a.fmod(b)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, a: L, b: L, _y: L) -> [L; 2] {
        [g, -g * (a / b).trunc()]
    }
}
