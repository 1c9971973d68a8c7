//! Trigonometric and hyperbolic functions and their inverses.

use super::formula::{Binary, Domain, Rule, Unary};
use super::registry::operation;
use crate::kernels::lane::Real;

/// Numbers between -1 and 1, away from the ends.
pub(super) const INSIDE: Domain = Domain { low: -0.7, high: 0.7 };

/// `1 / sqrt(x)`
#[inline(always)]
fn inverse_root<L: Real>(x: L) -> L {
    L::constant(1.0) / x.sqrt()
}

operation! {
    /// Tangent of angles in radians, element by element: `y = tan x`, `dy/dx = 1 + y^2`.
    ///
    /// >>> ferrograd.tan(ferrograd.tensor([0.0, 1.0]))
    /// tensor([0.0000, 1.5574])
    unary Tan, tan, "TanBackward0", Rule::Float, ["tan(Tensor self)"]
}
impl Unary for Tan {
    const DOMAIN: Domain = INSIDE;
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.tan()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _x: L, y: L) -> L {
        g * (L::constant(1.0) + y * y)
    }
}

operation! {
    /// Inverse sine in radians, element by element: `y = asin x`, `dy/dx = 1 / sqrt(1 - x^2)`; NaN beyond -1 and 1.
    ///
    /// >>> ferrograd.asin(ferrograd.tensor([0.0, 1.0]))
    /// tensor([0.0000, 1.5708])
    unary Asin, asin, "AsinBackward0", Rule::Float, ["asin(Tensor self)"; also "arcsin"]
}
impl Unary for Asin {
    const DOMAIN: Domain = INSIDE;
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.asin()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        g * inverse_root(L::constant(1.0) - x * x)
    }
}

operation! {
    /// Inverse cosine in radians, element by element: `y = acos x`, `dy/dx = -1 / sqrt(1 - x^2)`; NaN beyond -1 and 1.
    ///
    /// >>> ferrograd.acos(ferrograd.tensor([0.0, 1.0]))
    /// tensor([1.5708, 0.0000])
    unary Acos, acos, "AcosBackward0", Rule::Float, ["acos(Tensor self)"; also "arccos"]
}
impl Unary for Acos {
    const DOMAIN: Domain = INSIDE;
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.acos()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        g * -inverse_root(L::constant(1.0) - x * x)
    }
}

operation! {
    /// Inverse tangent in radians, element by element: `y = atan x`, `dy/dx = 1 / (1 + x^2)`.
    ///
    /// >>> ferrograd.atan(ferrograd.tensor([0.0, 1.0]))
    /// tensor([0.0000, 0.7854])
    unary Atan, atan, "AtanBackward0", Rule::Float, ["atan(Tensor self)"; also "arctan"]
}
impl Unary for Atan {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.atan()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        g / (x * x + L::constant(1.0))
    }
}

operation! {
    /// Angle in radians of the point with the coordinates `b` and `a`, element by element: `y = atan(a / b)` in its
    /// quadrant, `dy/da = b / (a^2 + b^2)`, `dy/db = -a / (a^2 + b^2)`, zero at the origin.
    ///
    /// >>> ferrograd.atan2(ferrograd.tensor([1.0, -1.0]), ferrograd.tensor([0.0, -1.0]))
    /// tensor([ 1.5708, -2.3562])
    binary Atan2, atan2, "Atan2Backward0", Rule::Float, ["atan2(Tensor self, Tensor other)"; also "arctan2"]
}
impl Binary for Atan2 {
    const DOMAIN: [Domain; 2] = [Domain::ALL, Domain::NONZERO];
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        a.atan2(b)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, a: L, b: L, _y: L) -> [L; 2] {
        let (zero, square) = (L::constant(0.0), a * a + b * b);
        let inverse = L::select(square.eq(zero), zero, L::constant(1.0) / square);
        [g * b * inverse, g * -a * inverse]
    }
}

operation! {
    /// Hyperbolic sine, element by element: `y = sinh x`, `dy/dx = cosh x`.
    ///
    /// >>> ferrograd.sinh(ferrograd.tensor([0.0, 1.0]))
    /// tensor([0.0000, 1.1752])
    unary Sinh, sinh, "SinhBackward0", Rule::Float, ["sinh(Tensor self)"]
}
impl Unary for Sinh {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.sinh()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        g * x.cosh()
    }
}

operation! {
    /// Hyperbolic cosine, element by element: `y = cosh x`, `dy/dx = sinh x`.
    ///
    /// >>> ferrograd.cosh(ferrograd.tensor([0.0, 1.0]))
    /// tensor([1.0000, 1.5431])
    unary Cosh, cosh, "CoshBackward0", Rule::Float, ["cosh(Tensor self)"]
}
impl Unary for Cosh {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.cosh()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        g * x.sinh()
    }
}

operation! {
    /// Inverse hyperbolic sine, element by element: `y = asinh x`, `dy/dx = 1 / sqrt(x^2 + 1)`.
    ///
    /// >>> ferrograd.asinh(ferrograd.tensor([0.0, 1.0]))
    /// tensor([0.0000, 0.8814])
    unary Asinh, asinh, "AsinhBackward0", Rule::Float, ["asinh(Tensor self)"; also "arcsinh"]
}
impl Unary for Asinh {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.asinh()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        g * inverse_root(x * x + L::constant(1.0))
    }
}

operation! {
    /// Inverse hyperbolic cosine, element by element: `y = acosh x`, `dy/dx = 1 / sqrt(x^2 - 1)`; NaN below 1.
    ///
    /// >>> ferrograd.acosh(ferrograd.tensor([1.0, 2.0]))
    /// tensor([0.0000, 1.3170])
    unary Acosh, acosh, "AcoshBackward0", Rule::Float, ["acosh(Tensor self)"; also "arccosh"]
}
impl Unary for Acosh {
    const DOMAIN: Domain = Domain { low: 1.5, high: 4.0 };
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.acosh()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        g * inverse_root(x * x - L::constant(1.0))
    }
}

operation! {
    /// Inverse hyperbolic tangent, element by element: `y = atanh x`, `dy/dx = 1 / (1 - x^2)`; NaN beyond -1 and 1.
    ///
    /// >>> ferrograd.atanh(ferrograd.tensor([0.0, 0.5]))
    /// tensor([0.0000, 0.5493])
    unary Atanh, atanh, "AtanhBackward0", Rule::Float, ["atanh(Tensor self)"; also "arctanh"]
}
impl Unary for Atanh {
    const DOMAIN: Domain = INSIDE;
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x.atanh()
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        g / (L::constant(1.0) - x * x)
    }
}

operation! {
    /// `sin(pi x) / (pi x)`, element by element, and 1 at zero; `dy/dx = (pi x cos(pi x) - sin(pi x)) / (pi x^2)`, and 0 at
    /// zero.
    ///
    /// >>> ferrograd.sinc(ferrograd.tensor([0.0, 0.5]))
    /// tensor([1.0000, 0.6366])
    unary Sinc, sinc, "SincBackward0", Rule::Float, ["sinc(Tensor self)"; also "special.sinc"]
}
impl Unary for Sinc {
    const DOMAIN: Domain = Domain::NONZERO;
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        let angle = x * L::constant(std::f64::consts::PI);
        L::select(x.eq(L::constant(0.0)), L::constant(1.0), angle.sin() / angle)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        let zero = L::constant(0.0);
        let angle = x * L::constant(std::f64::consts::PI);
        let below = angle * x;
        L::select(below.ne(zero), g * ((angle * angle.cos() - angle.sin()) / below), zero)
    }
}

operation! {
    /// Angles in degrees as radians, element by element: `y = x pi / 180`, `dy/dx = pi / 180`.
    ///
    /// >>> ferrograd.deg2rad(ferrograd.tensor([90.0, 180.0]))
    /// tensor([1.5708, 3.1416])
    unary Deg2Rad, deg2rad, "Deg2RadBackward0", Rule::Float, ["deg2rad(Tensor self)"]
}
impl Unary for Deg2Rad {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x * L::constant(std::f64::consts::PI / 180.0)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _x: L, _y: L) -> L {
        g * L::constant(std::f64::consts::PI / 180.0)
    }
}

operation! {
    /// Angles in radians as degrees, element by element: `y = 180 x / pi`, `dy/dx = 180 / pi`.
    ///
    /// >>> ferrograd.rad2deg(ferrograd.tensor([0.0, 3.1415927]))
    /// tensor([  0., 180.])
    unary Rad2Deg, rad2deg, "Rad2DegBackward0", Rule::Float, ["rad2deg(Tensor self)"]
}
impl Unary for Rad2Deg {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x * L::constant(180.0 / std::f64::consts::PI)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _x: L, _y: L) -> L {
        g * L::constant(180.0 / std::f64::consts::PI)
    }
}

operation! {
    /// Length of the hypotenuse, element by element: `y = sqrt(a^2 + b^2)` without overflow, `dy/da = a / y`,
    /// `dy/db = b / y`. Floating-point numbers only.
    ///
    /// >>> ferrograd.hypot(ferrograd.tensor([3.0]), ferrograd.tensor([4.0]))
    /// tensor([5.])
    binary Hypot, hypot, "HypotBackward0", Rule::Real, ["hypot(Tensor self, Tensor other)"]
}
impl Binary for Hypot {
    const DOMAIN: [Domain; 2] = [Domain::NONZERO; 2];
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        a.hypot(b)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, a: L, b: L, y: L) -> [L; 2] {
        [g * a / y, g * b / y]
    }
}
