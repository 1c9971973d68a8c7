//! The functions that a real number has beyond arithmetic. Each is one line here; traits, instructions and interpreters
//! make their own part of the list.

/// Hands the list to the macro `$make`, as lines `Instruction name(other arguments);`.
macro_rules! functions {
    ($make:path) => {
        $make! {
            /// Square root.
            Sqrt sqrt();
            /// `e^x`
            Exp exp();
            /// Natural logarithm.
            Log log();
            /// `e^x - 1`, exact for small `x`.
            Expm1 expm1();
            /// `log(1 + x)`, exact for small `x`.
            Log1p log1p();
            /// Sine of an angle in radians.
            Sin sin();
            /// Cosine of an angle in radians.
            Cos cos();
            /// Hyperbolic tangent.
            Tanh tanh();
            /// `1 / (1 + e^-x)`
            Sigmoid sigmoid();
            /// Tangent of an angle in radians.
            Tan tan();
            /// Inverse sine.
            Asin asin();
            /// Inverse cosine.
            Acos acos();
            /// Inverse tangent.
            Atan atan();
            /// Hyperbolic sine.
            Sinh sinh();
            /// Hyperbolic cosine.
            Cosh cosh();
            /// Inverse hyperbolic sine.
            Asinh asinh();
            /// Inverse hyperbolic cosine.
            Acosh acosh();
            /// Inverse hyperbolic tangent.
            Atanh atanh();
            /// Logarithm to base 2.
            Log2 log2();
            /// Logarithm to base 10.
            Log10 log10();
            /// `2^x`
            Exp2 exp2();
            /// Error function.
            Erf erf();
            /// `1 - erf x`, exact for large `x`.
            Erfc erfc();
            /// Inverse of the error function.
            Erfinv erfinv();
            /// Logarithm of the absolute value of the gamma function.
            Lgamma lgamma();
            /// Derivative of the logarithm of the gamma function.
            Digamma digamma();
            /// `e^(x^2) (1 - erf x)`
            Erfcx erfcx();
            /// Modified Bessel function of the first kind of order 0, times `e^-|x|`.
            I0e i0e();
            /// Modified Bessel function of the first kind of order 1, times `e^-|x|`.
            I1e i1e();
            /// Angle of the point `(other, x)`.
            Atan2 atan2(other);
            /// `sqrt(x^2 + other^2)` without overflow.
            Hypot hypot(other);
            /// Hurwitz's zeta function: the sum of `(other + k)^-x`.
            Zeta zeta(other);
            /// Lower regularized incomplete gamma function: the part of the gamma function of `x` below `other`.
            Igamma igamma(other);
            /// Upper regularized incomplete gamma function.
            Igammac igammac(other);
            /// The size of `x` with the sign of `other`.
            Copysign copysign(other);
            /// The number next to `x` on the way to `other`.
            Nextafter nextafter(other);
        }
    };
}
pub(crate) use functions;

macro_rules! declare {
    ($($(#[doc = $doc:literal])* $Name:ident $name:ident($($other:ident),*);)*) => {
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
