//! The regularized incomplete gamma functions.

use super::formula::{Form, Formula, OPERANDS, Operand, Pointwise, Rule};
use super::pointwise::{Chosen, apply, arguments};
use super::registry::operation;
use crate::error::Result;
use crate::kernels::lane::Real;
use crate::tensor::Tensor;

/// `x^(a - 1) e^-x / gamma(a)`: the density that both functions integrate.
#[inline(always)]
fn density<L: Real>(a: L, x: L) -> L {
    ((a - L::constant(1.0)) * x.log() - x - a.lgamma()).exp()
}

macro_rules! incomplete {
    ($($(#[doc = $doc:literal])* $T:ident $name:ident $node:literal $calls:tt $sign:literal;)*) => {$(
        struct $T;
        impl $T {
            fn spec() -> &'static Pointwise {
                const NODE: &str = $node;
                static SPEC: Pointwise = Pointwise::new::<$T>(stringify!($name), NODE, Rule::Real);
                &SPEC
            }
        }
        impl Formula for $T {
            const ARITY: usize = 2;
            const FORMS: &'static [Form] = &[Form::new(0b01, $node, 0b10), Form::new(0b10, $node, 0b01)];
            const UNKNOWN: u8 = 0b01;
            #[inline(always)]
            fn forward<L: Real>([a, x, ..]: [L; OPERANDS]) -> L {
                a.$name(x)
            }
            #[inline(always)]
            fn derivative<L: Real>(n: usize, g: L, [a, x, ..]: [L; OPERANDS], _y: L) -> L {
                let of = [g * L::constant(f64::NAN), g * L::constant($sign) * density(a, x)];
                of[n.min(1)]
            }
        }

        $(#[doc = $doc])*
        ///
        /// # Errors
        /// For shapes that do not broadcast, and integers.
        pub fn $name<'a>(a: impl Into<Operand<'a>>, x: impl Into<Operand<'a>>) -> Result<Tensor> {
            apply($T::spec(), &[a.into(), x.into()])
        }

        operation! {
            $(#[doc = $doc])*
            chooses Broadcast(Floats -> Promoted), $calls, |_, a| -> Result<Chosen> { arguments($T::spec(), a) }
        }
    )*};
}

incomplete! {
    /// Lower regularized incomplete gamma function, element by element: `P(a, x)`, the integral of `t^(a - 1) e^-t` from 0 to
    /// `x` over `gamma(a)`, for `a` and `x` that are not negative. `dP/dx = x^(a - 1) e^-x / gamma(a)`; the gradient of `a` is
    /// not known and NaN.
    ///
    /// >>> ferrograd.igamma(ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([1.0, 2.0]))
    /// tensor([0.6321, 0.5940])
    Igamma igamma "IgammaBackward0" ["igamma(Tensor self, Tensor other)"; also "special.gammainc"] 1.0;

    /// Upper regularized incomplete gamma function, element by element: `Q(a, x) = 1 - P(a, x)` of [`igamma`].
    /// `dQ/dx = -x^(a - 1) e^-x / gamma(a)`; the gradient of `a` is not known and NaN.
    ///
    /// >>> ferrograd.igammac(ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([1.0, 2.0]))
    /// tensor([0.3679, 0.4060])
    Igammac igammac "IgammacBackward0" ["igammac(Tensor self, Tensor other)"; also "special.gammaincc"] -1.0;
}
