//! Modified Bessel functions of the first kind. Those scaled by `exp(-|x|)`, which do not overflow, are what the others are
//! made of.

use super::formula::{Rule, Unary};
use super::registry::operation;
use crate::kernels::lane::Real;

/// `e^|x|` times a scaled function: in two halves, as the exponential overflows before the product does. Where they do too,
/// the function is infinite, though it may vanish when it is scaled.
#[inline(always)]
fn unscaled<L: Real>(x: L, scaled: L) -> L {
    let half = (x.abs() * L::constant(0.5)).exp();
    L::select(half.eq(L::constant(f64::INFINITY)), half.copysign(scaled), half * scaled * half)
}

/// `y` with the sign of `x`, zero where that is zero.
#[inline(always)]
fn signed<L: Real>(x: L, y: L) -> L {
    let zero = L::constant(0.0);
    L::select(x.eq(zero), zero, L::select(x.lt(zero), -y, y))
}

/// `I1(x) / x`, or `scaled` by `exp(-|x|)`, from `y = I1(x)`, scaled likewise. About zero, where quotients and their derivatives lose
/// their digits, it is the sum of `(x / 2)^(2k) / (k! (k + 1)!) / 2` over `k = 0, 1, ... 6`, exact to the last bit of float64.
#[inline(always)]
fn over_argument<L: Real>(x: L, y: L, scaled: bool) -> L {
    const REVERSED: [f64; 7] =
        [1.0 / 7257600.0, 1.0 / 172800.0, 1.0 / 5760.0, 1.0 / 288.0, 1.0 / 24.0, 1.0 / 4.0, 1.0 / 2.0];
    let square = x * x * L::constant(0.25);
    let start = L::constant(REVERSED[0]);
    let sum = REVERSED[1..].iter().fold(start, |sum, &term| sum.mul_add(square, L::constant(term)));
    let sum = if scaled { sum * (-x.abs()).exp() } else { sum };
    let is_small = x.abs().lt(L::constant(0.5));
    // Divided by something else where the sum is taken, so that its derivatives meet no quotient by zero.
    L::select(is_small, sum, y / L::select(is_small, L::constant(1.0), x))
}

operation! {
    /// Modified Bessel function of the first kind of order 0, element by element: `y = I0(x)`, the sum of
    /// `(x / 2)^(2k) / (k!)^2` over `k = 0, 1, ...`; `dy/dx = I1(x)`.
    ///
    /// >>> ferrograd.i0(ferrograd.tensor([0.0, 1.0]))
    /// tensor([1.0000, 1.2661])
    unary I0, i0, "I0Backward0", Rule::Float, ["i0(Tensor self)"; also "special.i0"]
}
impl Unary for I0 {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        unscaled(x, x.i0e())
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        g * unscaled(x, x.i1e())
    }
}

operation! {
    /// `e^-|x| I0(x)`, element by element: `dy/dx = e^-|x| I1(x) - sign(x) y`.
    ///
    /// >>> ferrograd.special.i0e(ferrograd.tensor([0.0, 1.0]))
    /// tensor([1.0000, 0.4658])
    unary I0e, i0e, "SpecialI0EBackward0", Rule::Float, ["special.i0e(Tensor input)"]
}
impl Unary for I0e {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.i0e()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, y: L) -> L {
        g * (x.i1e() - signed(x, y))
    }
}

operation! {
    /// Modified Bessel function of the first kind of order 1, element by element: `y = I1(x)`, the derivative of `I0`;
    /// `dy/dx = I0(x) - I1(x) / x`.
    ///
    /// >>> ferrograd.special.i1(ferrograd.tensor([0.0, 1.0]))
    /// tensor([0.0000, 0.5652])
    unary I1, i1, "SpecialI1Backward0", Rule::Float, ["special.i1(Tensor input)"]
}
impl Unary for I1 {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        unscaled(x, x.i1e())
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, y: L) -> L {
        g * (unscaled(x, x.i0e()) - over_argument(x, y, false))
    }
}

operation! {
    /// `e^-|x| I1(x)`, element by element: `dy/dx = e^-|x| I0(x) - y (sign(x) + 1 / x)`.
    ///
    /// >>> ferrograd.special.i1e(ferrograd.tensor([0.0, 1.0]))
    /// tensor([0.0000, 0.2079])
    unary I1e, i1e, "SpecialI1EBackward0", Rule::Float, ["special.i1e(Tensor input)"]
}
impl Unary for I1e {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.i1e()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, y: L) -> L {
        g * (x.i0e() - signed(x, y) - over_argument(x, y, true))
    }
}
