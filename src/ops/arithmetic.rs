//! Arithmetic of two operands.

use smallvec::smallvec;

use super::formula::{
    Binary, Domain, Form, Formula, NOT_IMPLEMENTED, OPERANDS, Operand, Pointwise, RESULT, Replay, Rule, Special, Unary,
};
use super::registry::operation;
use super::{pointwise, scaled, unary};
use crate::error::Result;
use crate::graph::node::Setting;
use crate::kernels::lane::Real;
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::scalar::Scalar;

operation! {
    /// Sum, element by element: `y = a + b`, `dy/da = 1`, `dy/db = 1`.
    ///
    /// Operands broadcast; dtypes promote as in torch, and two bool tensors give their disjunction. `alpha` multiplies
    /// the second operand first.
    ///
    /// >>> ferrograd.add(ferrograd.tensor([1.0, 2.0]), 10)
    /// tensor([11., 12.])
    binary Add, add, "AddBackward0", Rule::Promote,
        ["add(Tensor self, Operand other, *, Number alpha=1)", "add(Number self, Operand other, *, Number alpha=1)"],
        |_, a| scaled::with_alpha(Add::spec(), scaled::ScaledAdd::spec(), a)
}
impl Binary for Add {
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        a + b
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _a: L, _b: L, _y: L) -> [L; 2] {
        [g, g]
    }
}

operation! {
    /// Difference, element by element: `y = a - b`, `dy/da = 1`, `dy/db = -1`. `alpha` multiplies the second operand first.
    ///
    /// >>> ferrograd.sub(ferrograd.tensor([1.0, 2.0]), 10)
    /// tensor([-9., -8.])
    binary Sub, sub, "SubBackward0", Rule::Subtract,
        ["sub(Tensor self, Operand other, *, Number alpha=1)", "sub(Number self, Operand other, *, Number alpha=1)"],
        |_, a| scaled::with_alpha(Sub::spec(), scaled::ScaledSub::spec(), a)
}
impl Binary for Sub {
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        a - b
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _a: L, _b: L, _y: L) -> [L; 2] {
        [g, -g]
    }
}

operation! {
    /// Difference, element by element: `y = a - b`, `dy/da = 1`, `dy/db = -1`: `sub` under NumPy's name.
    ///
    /// >>> ferrograd.subtract(ferrograd.tensor([1.0, 2.0]), 10)
    /// tensor([-9., -8.])
    binary Subtract, subtract, "SubBackward0", Rule::Subtract,
        ["subtract(Tensor self, Operand other, *, Number alpha=1)", "subtract(Number self, Operand other, *, Number alpha=1)"],
        |_, a| scaled::with_alpha(Sub::spec(), scaled::ScaledSub::spec(), a)
}
impl Binary for Subtract {
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        <Sub as Binary>::forward(a, b)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, a: L, b: L, y: L) -> [L; 2] {
        <Sub as Binary>::derivative(g, a, b, y)
    }
}

operation! {
    /// Difference the other way round, element by element: `y = b - a`, `dy/da = -1`, `dy/db = 1`. `alpha`
    /// multiplies the first operand first.
    ///
    /// >>> ferrograd.rsub(ferrograd.tensor([1.0, 2.0]), 10)
    /// tensor([9., 8.])
    binary Rsub, rsub, "RsubBackward0", Rule::Subtract,
        ["rsub(Tensor self, Tensor other, *, Number alpha=1)", "rsub(Tensor self, Number other, Number alpha=1)"],
        |_, a| scaled::with_alpha(Rsub::spec(), scaled::ScaledRsub::spec(), a)
}
impl Binary for Rsub {
    const IN_PLACE: bool = false;
    const FORMS: &'static [Form] = &[Form::new(0b10, "RsubBackward1", 0b01)];
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        b - a
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _a: L, _b: L, _y: L) -> [L; 2] {
        [-g, g]
    }
}

operation! {
    /// Product, element by element: `y = a b`, `dy/da = b`, `dy/db = a`.
    ///
    /// >>> ferrograd.mul(ferrograd.tensor([1.0, 2.0]), 10)
    /// tensor([10., 20.])
    binary Mul, mul, "MulBackward0", Rule::Promote,
        ["mul(Tensor self, Operand other)", "mul(Number self, Operand other)"; also "multiply"]
}
impl Binary for Mul {
    const EXACT: u8 = 0b10;
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        a * b
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, a: L, b: L, _y: L) -> [L; 2] {
        [g * b, g * a]
    }
}

operation! {
    /// True quotient, element by element: `y = a / b`, `dy/da = 1/b`, `dy/db = -a/b^2`. Integers become floats.
    ///
    /// With `rounding_mode` "floor" or "trunc" the quotient is rounded down or towards zero, integers stay integers, and the
    /// gradient is zero.
    ///
    /// >>> ferrograd.div(ferrograd.tensor([1, 2]), 2)
    /// tensor([0.5000, 1.0000])
    binary Div, div, "DivBackward0", Rule::Float,
        [
            "div(Tensor self, Operand other)", "div(Tensor self, Operand other, *, str? rounding_mode)",
            "div(Number self, Operand other)", "div(Number self, Operand other, *, str? rounding_mode)";
            also "divide"
        ],
        // The form in place has the first two.
        |form, a| if form % 2 == 0 { pointwise::arguments(Div::spec(), a) } else { scaled::rounded(a) }
}
impl Binary for Div {
    const EXACT: u8 = 0b10;
    const DOMAIN: [Domain; 2] = [Domain::ALL, Domain::NONZERO];
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        a / b
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, a: L, b: L, _y: L) -> [L; 2] {
        [g / b, -g * ((a / b) / b)]
    }
}

operation! {
    /// [`div`] without rounding: `y = a / b`.
    ///
    /// >>> ferrograd.true_divide(ferrograd.tensor([1, 2]), 2)
    /// tensor([0.5000, 1.0000])
    chooses Broadcast(Any -> Float), ["true_divide(Tensor self, Operand other)", "true_divide(Number self, Operand other)"], |_, a| super::pointwise::arguments(Div::spec(), a)
}

/// The quotient `number / x` as torch computes and records it: the reciprocal of `x` times the number.
///
/// # Errors
/// As [`div`].
pub fn quotient_of(number: Scalar, x: &Tensor) -> Result<Tensor> {
    mul(&unary::reciprocal(x)?, number)
}

operation! {
    /// Quotient rounded towards negative infinity, element by element, as Python's `//`. The gradient is zero
    /// wherever there is one.
    ///
    /// >>> ferrograd.floor_divide(ferrograd.tensor([7, -7]), 2)
    /// tensor([ 3, -4])
    binary FloorDivide, floor_divide, NOT_IMPLEMENTED, Rule::Quotient,
        ["floor_divide(Tensor self, Operand other)", "floor_divide(Number self, Operand other)"]
}
impl Binary for FloorDivide {
    const EXACT: u8 = 0b10;
    const FORMS: &'static [Form] = &[Form::new(0b10, NOT_IMPLEMENTED, 0b01), Form::new(0b01, NOT_IMPLEMENTED, 0b10)];
    const DOMAIN: [Domain; 2] = [Domain::ALL, Domain::NONZERO];
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        a.floor_divide(b)
    }
    #[inline(always)]
    fn derivative<L: Real>(_g: L, _a: L, _b: L, _y: L) -> [L; 2] {
        let zero = L::constant(0.0);
        [zero, zero]
    }
}

operation! {
    /// Remainder with the sign of the divisor, element by element, as Python's `%`: `y = a - b floor(a / b)`,
    /// `dy/da = 1`, `dy/db = -floor(a / b)`.
    ///
    /// >>> ferrograd.remainder(ferrograd.tensor([7, -7]), 3)
    /// tensor([1, 2])
    binary Remainder, remainder, "RemainderBackward1", Rule::Quotient,
        ["remainder(Tensor self, Operand other)", "remainder(Number self, Tensor other)"]
}
impl Binary for Remainder {
    const FORMS: &'static [Form] =
        &[Form::new(0b10, "RemainderBackward0", 0b01), Form::new(0b01, NOT_IMPLEMENTED, 0b10)];
    const DOMAIN: [Domain; 2] = [Domain::ALL, Domain::NONZERO];
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        a.remainder(b)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, a: L, b: L, _y: L) -> [L; 2] {
        [g, -g * a.floor_divide(b)]
    }
}

operation! {
    /// Power, element by element: `y = a^b`, `dy/da = b a^(b-1)` (zero where `b = 0`), `dy/db = y log a` (zero where
    /// `a = 0` and `b >= 0`).
    ///
    /// Integers to negative integer powers are an error.
    ///
    /// >>> ferrograd.pow(ferrograd.tensor([2.0, 3.0]), 2)
    /// tensor([4., 9.])
    binary Pow, pow, "PowBackward1", Rule::Power,
        ["pow(Tensor self, Operand exponent)", "pow(Number self, Tensor exponent)"]
}
impl Binary for Pow {
    const FORMS: &'static [Form] =
        &[Form::new(0b10, "PowBackward0", 0b01), Form::new(0b01, "PowBackward2", 0b10).in_row_major_order()];
    const SPECIAL: Option<Special> = Some(cheap_power);
    const REPLAY: Option<Replay> = Some(|n, sources| match (n, sources[1], sources[2]) {
        (0, _, Operand::Number(exponent)) if exponent.as_f64() != 0.0 => by_power(sources, exponent.as_f64()),
        (1, Operand::Number(base), _) if base.as_f64() != 0.0 => {
            mul(sources[0], &mul_within(sources[1 + RESULT], base.as_f64().ln())?).map(Some)
        }
        _ => Ok(None),
    });
    const DOMAIN: [Domain; 2] = [Domain::POSITIVE, Domain::ALL];
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        a.pow(b)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, a: L, b: L, y: L) -> [L; 2] {
        let (zero, one) = (L::constant(0.0), L::constant(1.0));
        let base = L::select(b.ne(zero), g * (b * a.pow(b - one)), zero);
        let exponent = g * L::select(a.eq(zero) & b.ge(zero), zero, y * a.log());
        [base, exponent]
    }
}

/// The derivative of a power by a number as torch's graph has it, `g (n x^(n-1))`: of each order it is a power again.
fn by_power(sources: &[Operand], exponent: f64) -> Result<Option<Tensor>> {
    let factor = mul_within(&pow(sources[1], exponent - 1.0)?, exponent)?;
    mul(sources[0], &factor).map(Some)
}

/// A square of quotients: unlike the quotient of a square, its derivatives are numbers at zero and at infinity.
#[inline(always)]
fn squared<L: Real>(x: L) -> L {
    x * x
}

/// Powers that, or whose derivatives, cost less than a general one, with the formulas that torch has for the same
/// exponents.
macro_rules! cheap_powers {
    ($($name:ident $exponent:literal: |$x:ident| $forward:expr, |$g:ident| $derivative:expr;)*) => {
        $(
            struct $name;
            impl Formula for $name {
                const ARITY: usize = 1;
                const REPLAY: Option<Replay> =
                    if $exponent == 0.0 { None } else { Some(|_, sources| by_power(sources, $exponent)) };
                #[inline(always)]
                fn forward<L: Real>([$x, ..]: [L; OPERANDS]) -> L {
                    $forward
                }
                #[inline(always)]
                #[allow(unused_variables, reason = "powers whose derivative is a constant")]
                fn derivative<L: Real>(_n: usize, $g: L, [$x, ..]: [L; OPERANDS], _y: L) -> L {
                    $derivative
                }
            }
        )*

        /// The cheaper operation for an exponent that has one. Roots are none of powers in float16, as in torch: the power of
        /// minus infinity is infinite, and that of a negative zero has no sign.
        fn cheap_power(exponent: Scalar, dtype: DType) -> Option<&'static Pointwise> {
            let number = exponent.as_f64();
            if dtype == DType::F16 && number.abs() == 0.5 || matches!(exponent, Scalar::Bool(_)) {
                return None;
            }
            $(
                if number == $exponent {
                    const fn telling(tells: &'static [(&'static str, Setting)]) -> Pointwise {
                        Pointwise::new::<$name>("pow", "PowBackward0", Rule::Number).telling(tells)
                    }
                    // The node shows the exponent as it was given.
                    static OF_FLOAT: Pointwise = telling(&OF_FLOAT_TELLS);
                    static OF_FLOAT_TELLS: [(&str, Setting); 1] = [("exponent", Setting::Float($exponent))];
                    static OF_INTEGER: Pointwise = telling(&OF_INTEGER_TELLS);
                    static OF_INTEGER_TELLS: [(&str, Setting); 1] = [("exponent", Setting::Int($exponent as i64))];
                    return Some(if matches!(exponent, Scalar::Float(_)) { &OF_FLOAT } else { &OF_INTEGER });
                }
            )*
            None
        }
    };
}

cheap_powers! {
    PowerZero 0.0: |x| L::select(x.eq(x), L::constant(1.0), L::constant(1.0)), |g| L::constant(0.0);
    PowerOne 1.0: |x| x * L::constant(1.0), |g| g * L::select(x.eq(x), L::constant(1.0), L::constant(1.0));
    PowerTwo 2.0: |x| x * x, |g| g * (x + x);
    PowerThree 3.0: |x| x * x * x, |g| g * (L::constant(3.0) * (x * x));
    PowerFour 4.0: |x| x.pow(L::constant(4.0)), |g| g * (L::constant(4.0) * (x * x * x));
    PowerThreeHalves 1.5: |x| x.pow(L::constant(1.5)), |g| g * (L::constant(1.5) * x.sqrt());
    PowerHalf 0.5: |x| x.sqrt(), |g| g * (L::constant(0.5) * (L::constant(1.0) / x.sqrt()));
    PowerMinusHalf -0.5: |x| L::constant(1.0) / x.sqrt(), |g| g * (L::constant(-0.5) * x.pow(L::constant(-1.5)));
    PowerMinusOne -1.0: |x| L::constant(1.0) / x, |g| g * -squared(L::constant(1.0) / x);
    PowerMinusTwo -2.0: |x| L::constant(1.0) / (x * x), |g| g * (L::constant(-2.0) * x.pow(L::constant(-3.0)));
}

/// Sums, differences, products and quotients of tensors and of numbers that no caller gave: derivatives are made of these.
/// torch has nodes of their own for such numbers, without an edge for them.
macro_rules! in_derivatives {
    ($($(#[doc = $doc:literal])* $name:ident $function:ident $of:ident $op:literal $node:literal $rule:ident [$($form:expr),*];)*) => {$(
        struct $name;
        impl Formula for $name {
            const ARITY: usize = 2;
            const FORMS: &'static [Form] = &[$($form),*];
            const EXACT: u8 = <$of as Formula>::EXACT;
            #[inline(always)]
            fn forward<L: Real>(x: [L; OPERANDS]) -> L {
                <$of as Formula>::forward(x)
            }
            #[inline(always)]
            fn derivative<L: Real>(n: usize, g: L, x: [L; OPERANDS], y: L) -> L {
                <$of as Formula>::derivative(n, g, x, y)
            }
        }
        $(#[doc = $doc])*
        pub(super) fn $function<'a>(a: impl Into<Operand<'a>>, b: impl Into<Operand<'a>>) -> Result<Tensor> {
            static SPEC: Pointwise = Pointwise::new::<$name>($op, $node, Rule::$rule);
            pointwise::apply(&SPEC, &[a.into(), b.into()])
        }
    )*};
}

in_derivatives! {
    /// [`add`] within a derivative.
    AddWithin add_within Add "add" "AddBackward0" Promote
        [Form::new(0b10, "AddBackward1", 0b01), Form::new(0b01, "AddBackward1", 0b10)];
    /// [`sub`] within a derivative.
    SubWithin sub_within Sub "sub" "SubBackward0" Subtract
        [Form::new(0b10, "SubBackward1", 0b01), Form::new(0b01, "RsubBackward1", 0b10)];
    /// [`mul`] within a derivative.
    MulWithin mul_within Mul "mul" "MulBackward0" Promote
        [Form::new(0b10, "MulBackward1", 0b01), Form::new(0b01, "MulBackward1", 0b10)];
    /// [`div`] within a derivative.
    DivWithin div_within Div "div" "DivBackward0" Float [Form::new(0b10, "DivBackward1", 0b01)];
}

operation! {
    /// Square, element by element: `y = x^2`, `dy/dx = 2x`.
    ///
    /// Dtypes: any, kept; bool gives int64.
    ///
    /// >>> ferrograd.square(ferrograd.tensor([2.0, -3.0]))
    /// tensor([4., 9.])
    unary Square, square, "PowBackward0", Rule::Number, ["square(Tensor self)"], |_, a| {
        let x = a.tensor(0)?;
        // The square of a truth value is an integer, as other powers are.
        if x.dtype() == DType::Bool {
            return Ok((Pow::spec(), smallvec![x.into(), Scalar::Int(2).into()]));
        }
        Ok((Square::spec(), smallvec![x.into()]))
    }
}
impl Unary for Square {
    const REPLAY: Option<Replay> = Some(|_, sources| by_power(sources, 2.0));
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x * x
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        g * (x + x)
    }
}

operation! {
    /// Negative, element by element: `y = -x`, `dy/dx = -1`.
    ///
    /// >>> ferrograd.neg(ferrograd.tensor([1.0, -2.0]))
    /// tensor([-1.,  2.])
    unary Neg, neg, "NegBackward0", Rule::Signed, ["neg(Tensor self)"; also "negative"]
}
impl Unary for Neg {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        -x
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _x: L, _y: L) -> L {
        -g
    }
}

operation! {
    /// The larger of two, element by element; NaN where either is. `dy/da = 1` where `a > b`, and half at a tie.
    ///
    /// >>> ferrograd.maximum(ferrograd.tensor([1.0, 5.0]), ferrograd.tensor([3.0, 2.0]))
    /// tensor([3., 5.])
    binary Maximum, maximum, "MaximumBackward0", Rule::Promote,
        ["maximum(Tensor self, Tensor other)"]
}
impl Binary for Maximum {
    const IN_PLACE: bool = false;
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        a.maximum(b)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, a: L, b: L, _y: L) -> [L; 2] {
        share(g, a, b)
    }
}

operation! {
    /// The smaller of two, element by element; NaN where either is. `dy/da = 1` where `a < b`, and half at a tie.
    ///
    /// >>> ferrograd.minimum(ferrograd.tensor([1.0, 5.0]), ferrograd.tensor([3.0, 2.0]))
    /// tensor([1., 2.])
    binary Minimum, minimum, "MinimumBackward0", Rule::Promote,
        ["minimum(Tensor self, Tensor other)"]
}
impl Binary for Minimum {
    const IN_PLACE: bool = false;
    #[inline(always)]
    fn forward<L: Real>(a: L, b: L) -> L {
        a.minimum(b)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, a: L, b: L, _y: L) -> [L; 2] {
        share(g, b, a)
    }
}

/// The gradient to the winner: to `a` where it is greater, to `b` where it is less, half to each otherwise. A NaN wins
/// as a greater and a less, so it takes the gradient on both sides, as in torch.
#[inline(always)]
fn share<L: Real>(g: L, a: L, b: L) -> [L; 2] {
    let half = g * L::constant(0.5);
    let zero = L::constant(0.0);
    let winner = |loses: L::Mask| L::select(loses, zero, L::select(a.eq(b), half, g));
    [winner(a.lt(b)), winner(b.lt(a))]
}
