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
