//! The functions that a real number has beyond arithmetic. Each is one line here; traits, instructions and interpreters
//! make their own part of the list.

/// Hands the list to the macro `$make`, as lines `Instruction name(other arguments) branches;`. The last word says whether
/// the kernel branches on whether any of several elements needs special care: such functions go by vectors, of all others
/// the compiler makes better vectors from a loop over single elements.
macro_rules! functions {
    ($make:path) => {
        $make! {
            /// Square root.
            Sqrt sqrt() false;
            /// `e^x`
            Exp exp() false;
            /// Natural logarithm.
            Log log() false;
            /// `e^x - 1`, exact for small `x`.
            Expm1 expm1() false;
            /// `log(1 + x)`, exact for small `x`.
            Log1p log1p() false;
            /// Sine of an angle in radians.
            Sin sin() true;
            /// Cosine of an angle in radians.
            Cos cos() true;
            /// Hyperbolic tangent.
            Tanh tanh() false;
            /// `1 / (1 + e^-x)`
            Sigmoid sigmoid() false;
            /// Tangent of an angle in radians.
            Tan tan() false;
            /// Inverse sine.
            Asin asin() false;
            /// Inverse cosine.
            Acos acos() false;
            /// Inverse tangent.
            Atan atan() false;
            /// Hyperbolic sine.
            Sinh sinh() false;
            /// Hyperbolic cosine.
            Cosh cosh() false;
            /// Inverse hyperbolic sine.
            Asinh asinh() false;
            /// Inverse hyperbolic cosine.
            Acosh acosh() false;
            /// Inverse hyperbolic tangent.
            Atanh atanh() false;
            /// Logarithm to base 2.
            Log2 log2() false;
            /// Logarithm to base 10.
            Log10 log10() false;
            /// `2^x`
            Exp2 exp2() false;
            /// Error function.
            Erf erf() false;
            /// `1 - erf x`, exact for large `x`.
            Erfc erfc() false;
            /// Inverse of the error function.
            Erfinv erfinv() false;
            /// Logarithm of the absolute value of the gamma function.
            Lgamma lgamma() false;
            /// Derivative of the logarithm of the gamma function.
            Digamma digamma() false;
            /// Angle of the point `(other, x)`.
            Atan2 atan2(other) false;
            /// `sqrt(x^2 + other^2)` without overflow.
            Hypot hypot(other) false;
            /// Hurwitz's zeta function: the sum of `(other + k)^-x`.
            Zeta zeta(other) false;
            /// The size of `x` with the sign of `other`.
            Copysign copysign(other) false;
            /// The number next to `x` on the way to `other`.
            Nextafter nextafter(other) false;
        }
    };
}
pub(crate) use functions;

macro_rules! declare {
    ($($(#[doc = $doc:literal])* $Name:ident $name:ident($($other:ident),*) $branches:literal;)*) => {
        /// A function of real numbers, as an instruction.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Function {
            $($(#[doc = $doc])* $Name,)*
        }

        impl Function {
            /// All of them.
            pub const ALL: &'static [Function] = &[$(Function::$Name),*];

            /// How many arguments it has.
            pub fn arity(self) -> usize {
                match self {
                    $(Function::$Name => 1 $(+ { stringify!($other); 1 })*,)*
                }
            }
        }
    };
}
functions!(declare);
