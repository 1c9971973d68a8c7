//! Element-wise operations: the traits their blocks implement, and what is made of a formula.

use std::marker::PhantomData;
use std::sync::OnceLock;

use crate::error::Result;
use crate::graph::node::Setting;
use crate::kernels::element::Element;
use crate::kernels::expr::{Expr, Program};
use crate::kernels::lane::Real;
use crate::kernels::pointwise::Numbers;
use crate::kernels::single::Single;
use crate::kernels::whole::{Body, Whole};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::scalar::Scalar;

/// From where tests draw an operand: what lies outside has no value or no derivative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Domain {
    /// The least value.
    pub low: f64,
    /// The greatest value.
    pub high: f64,
}

impl Domain {
    /// Any number.
    pub const ALL: Domain = Domain { low: -3.0, high: 3.0 };
    /// Numbers above zero.
    pub const POSITIVE: Domain = Domain { low: 0.1, high: 4.0 };
    /// Numbers away from zero.
    pub const NONZERO: Domain = Domain { low: 0.5, high: 3.0 };

    /// The domains of the operands; those beyond the arity are any number.
    pub const fn each<const N: usize>(of: [Domain; N]) -> [Domain; OPERANDS] {
        let mut all = [Domain::ALL; OPERANDS];
        let mut n = 0;
        while n < N {
            all[n] = of[n];
            n += 1;
        }
        all
    }
}

/// The graph node of an operation where some operands are numbers: torch has an overload for each kind of operand, and
/// a node for each overload.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Which operands are numbers: bit `n` for operand `n`.
    pub numbers: u8,
    /// torch's name of the node.
    pub node: &'static str,
    /// Which operands the node has an edge for, in the same way.
    pub edges: u8,
    /// Whether the result lies in row-major order, in whichever the operands do.
    row_major: bool,
}

impl Form {
    /// The node for operands of which `numbers` are numbers.
    pub const fn new(numbers: u8, node: &'static str, edges: u8) -> Form {
        Form { numbers, node, edges, row_major: false }
    }

    /// The form, with a result in row-major order.
    pub const fn in_row_major_order(self) -> Form {
        Form { row_major: true, ..self }
    }
}

/// torch's name of the node of an operation that it has no derivative of; it has edges to what requires a gradient only.
pub const NOT_IMPLEMENTED: &str = "NotImplemented";

/// Another operation that gives the same for a certain number as the second operand of a tensor of a dtype, at less cost.
pub type Special = fn(Scalar, DType) -> Option<&'static Pointwise>;

/// What takes the place of the program of a derivative under `create_graph`, where the graph that torch leaves behind is not
/// the formula's: the derivative of an operand, made by operations on tensors from gradient, operands and result.
pub(super) type Replay = fn(usize, &[Operand]) -> Result<Option<Tensor>>;

/// The formula of a function of one element.
pub trait Unary {
    /// Whether there is a form that writes into the first operand.
    const IN_PLACE: bool = true;
    /// From where tests draw.
    const DOMAIN: Domain = Domain::ALL;
    /// The nodes where operands are numbers; others have the operation's node and an edge for each operand.
    const FORMS: &'static [Form] = &[];
    /// The node behind a derivative that depends on the operands by steps only, under `create_graph`: its own derivative with
    /// respect to them is zero.
    const STEPS: Option<&'static str> = None;
    /// What takes the place of the derivative under `create_graph`.
    const REPLAY: Option<Replay> = None;
    /// `y` of `x`
    fn forward<L: Real>(x: L) -> L;
    /// The gradient of `x`, from that of `y`.
    fn derivative<L: Real>(g: L, x: L, y: L) -> L;
}

/// The formula of a function of two elements.
pub trait Binary {
    /// Whether there is a form that writes into the first operand.
    const IN_PLACE: bool = true;
    /// From where tests draw.
    const DOMAIN: [Domain; 2] = [Domain::ALL; 2];
    /// The nodes where operands are numbers; others have the operation's node and an edge for each operand.
    const FORMS: &'static [Form] = &[];
    /// The cheaper operations for certain numbers, if there are any.
    const SPECIAL: Option<Special> = None;
    /// Which operands, where they are single numbers, are taken as they are beside tensors of 16-bit floats, bit by bit: as
    /// in torch some operations do that, others round numbers to the tensors' type first.
    const EXACT: u8 = 0;
    /// The node behind a derivative that depends on the operands by steps only, under `create_graph`: its own derivative with
    /// respect to them is zero.
    const STEPS: Option<&'static str> = None;
    /// What takes the place of the derivative under `create_graph`.
    const REPLAY: Option<Replay> = None;
    /// `y` of `a` and `b`
    fn forward<L: Real>(a: L, b: L) -> L;
    /// The gradients of `a` and `b`, from that of `y`.
    fn derivative<L: Real>(g: L, a: L, b: L, y: L) -> [L; 2];
}

/// The formula of a function of three elements.
pub trait Ternary {
    /// Whether there is a form that writes into the first operand.
    const IN_PLACE: bool = true;
    /// From where tests draw.
    const DOMAIN: [Domain; 3] = [Domain::ALL; 3];
    /// The nodes where operands are numbers; others have the operation's node and an edge for each operand.
    const FORMS: &'static [Form] = &[];
    /// Which operands, where they are single numbers, are taken as they are beside tensors of 16-bit floats.
    const EXACT: u8 = 0;
    /// Whether the result lies in row-major order, in whichever the operands do.
    const ROW_MAJOR: bool = false;
    /// The node behind a derivative that depends on the operands by steps only, under `create_graph`: its own derivative with
    /// respect to them is zero.
    const STEPS: Option<&'static str> = None;
    /// What takes the place of the derivative under `create_graph`.
    const REPLAY: Option<Replay> = None;
    /// `y` of `a`, `b` and `c`
    fn forward<L: Real>(a: L, b: L, c: L) -> L;
    /// The gradients of `a`, `b` and `c`, from that of `y`.
    fn derivative<L: Real>(g: L, a: L, b: L, c: L, y: L) -> [L; 3];
}

/// The formula of a function of four elements.
pub trait Quaternary {
    /// Whether there is a form that writes into the first operand.
    const IN_PLACE: bool = true;
    /// From where tests draw.
    const DOMAIN: [Domain; 4] = [Domain::ALL; 4];
    /// The nodes where operands are numbers; others have the operation's node and an edge for each operand.
    const FORMS: &'static [Form] = &[];
    /// The node behind a derivative that depends on the operands by steps only, under `create_graph`: its own derivative with
    /// respect to them is zero.
    const STEPS: Option<&'static str> = None;
    /// What takes the place of the derivative under `create_graph`.
    const REPLAY: Option<Replay> = None;
    /// `y` of `a`, `b`, `c` and `d`
    fn forward<L: Real>(a: L, b: L, c: L, d: L) -> L;
    /// The gradients of `a`, `b`, `c` and `d`, from that of `y`.
    fn derivative<L: Real>(g: L, a: L, b: L, c: L, d: L, y: L) -> [L; 4];
}

pub use crate::kernels::whole::OPERANDS;

/// A formula of up to four elements; `operation!` makes it of the traits above.
pub trait Formula: 'static {
    /// Whether there is a form that writes into the first operand.
    const IN_PLACE: bool = true;
    /// How many operands there are.
    const ARITY: usize;
    /// From where tests draw.
    const DOMAIN: [Domain; OPERANDS] = [Domain::ALL; OPERANDS];
    /// The nodes where operands are numbers.
    const FORMS: &'static [Form] = &[];
    /// The cheaper operations for certain numbers.
    const SPECIAL: Option<Special> = None;
    /// Which operands, where they are single numbers, are taken as they are beside tensors of 16-bit floats.
    const EXACT: u8 = 0;
    /// Whether the result lies in row-major order, in whichever the operands do.
    const ROW_MAJOR: bool = false;
    /// The node behind a derivative that depends on the operands by steps only, under `create_graph`: its own derivative with
    /// respect to them is zero.
    const STEPS: Option<&'static str> = None;
    /// What takes the place of the derivative under `create_graph`.
    const REPLAY: Option<Replay> = None;
    /// Which operands the derivative is not known by: their gradients are NaN, their tangents an error.
    const UNKNOWN: u8 = 0;
    /// `y`; operands beyond the arity are anything.
    fn forward<L: Real>(x: [L; OPERANDS]) -> L;
    /// The gradient of operand `n`.
    fn derivative<L: Real>(n: usize, g: L, x: [L; OPERANDS], y: L) -> L;
}

/// What an operation does with dtypes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// The promoted type.
    Promote,
    /// The promoted type, which may not be bool.
    Number,
    /// As `Number`; numbers among the operands must fit the type.
    Bounds,
    /// As `Number`, of numbers with a sign.
    Signed,
    /// As `Number`; integers must not be divided by zero.
    Quotient,
    /// As `Number`; integers have no negative powers.
    Power,
    /// The promoted type; neither operand may be bool.
    Subtract,
    /// The promoted type; integers become the default float.
    Float,
    /// The promoted type, which must be a floating-point type.
    Real,
    /// The promoted type, which must be bool or an integer.
    Bits,
    /// The promoted type, which must be an integer.
    Integer,
    /// Compared in the promoted type, giving bool.
    Compare,
    /// Truth values in, truth values out.
    Logical,
    /// The first operand is a truth value, the others promote; numbers among them must fit the type.
    Where,
}

/// An operand: a tensor, or a number that takes the tensors' type.
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a> {
    /// A tensor.
    Tensor(&'a Tensor),
    /// A number.
    Number(Scalar),
}

impl<'a> Operand<'a> {
    /// The tensor, if it is one.
    #[inline]
    pub fn tensor(self) -> Option<&'a Tensor> {
        match self {
            Operand::Tensor(t) => Some(t),
            Operand::Number(_) => None,
        }
    }
}

impl<'a> From<&'a Tensor> for Operand<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        Operand::Tensor(tensor)
    }
}

macro_rules! numbers {
    ($($t:ty),*) => {$(
        impl From<$t> for Operand<'_> {
            fn from(value: $t) -> Self {
                Operand::Number(value.into())
            }
        }
    )*};
}
numbers!(f64, f32, i64, i32, bool);

impl From<Scalar> for Operand<'_> {
    fn from(value: Scalar) -> Self {
        Operand::Number(value)
    }
}

/// Which operands are single numbers, bit by bit.
pub(super) fn singles(operands: &[Operand]) -> u8 {
    let is_single = |o: &Operand| o.tensor().is_none_or(|t| t.rank() == 0);
    operands.iter().enumerate().map(|(n, o)| u8::from(is_single(o)) << n).sum()
}

/// The formula on one element: operands in, result out.
pub(super) type One<T> = fn([T; OPERANDS]) -> T;
/// The derivative on one element: gradient, operands and result in, gradient out.
pub(super) type OneDerivative<T> = fn(T, [T; OPERANDS], T) -> T;

/// What is known of an element-wise operation.
pub struct Pointwise {
    /// torch's name.
    pub name: &'static str,
    /// torch's name of the graph node, where no other form fits.
    pub node: &'static str,
    /// The graph nodes where operands are numbers.
    pub forms: &'static [Form],
    /// The cheaper operations for certain numbers.
    pub special: Option<Special>,
    /// The settings of a call that are the operation's own, which its node shows.
    pub tells: &'static [(&'static str, Setting)],
    /// What it does with dtypes.
    pub rule: Rule,
    /// How many operands it has.
    pub arity: usize,
    /// Which operands, where they are single numbers, are taken as they are beside tensors of 16-bit floats.
    exact: u8,
    /// Whether the result lies in row-major order, in whichever the operands do.
    row_major: bool,
    /// The node behind a derivative that depends on the operands by steps only.
    pub(super) steps: Option<&'static str>,
    /// What takes the place of the derivatives under `create_graph`.
    pub(super) replay: Option<Replay>,
    /// Which operands the derivative is not known by.
    pub(super) unknown: u8,
    /// From where tests draw.
    pub domain: [Domain; OPERANDS],
    record: fn() -> Traces,
    traces: OnceLock<Traces>,
    one_f32: One<f32>,
    one_f64: One<f64>,
    derivatives_f32: [OneDerivative<f32>; OPERANDS],
    derivatives_f64: [OneDerivative<f64>; OPERANDS],
}

/// A formula's programs.
pub struct Traces {
    /// Operands in, result out.
    pub forward: Program,
    /// By operand: gradient, operands, result in, gradient out.
    pub derivatives: Vec<Program>,
    /// By operand, what its derivative reads: bit `n` for operand `n`, bit [`RESULT`] for the result.
    pub uses: [u8; OPERANDS],
    /// By operand, which inputs its derivative compares with others, in the same way as [`singles`] of them.
    compares: [u8; OPERANDS],
}

/// The number that the result has among what a derivative reads.
pub const RESULT: usize = OPERANDS;

/// The most values that the node of an operation keeps: derivatives of one formula may read no more operands and result
/// between them.
pub const KEPT: usize = 3;

/// The value of a formula, as the kernels run it.
struct Value<F>(PhantomData<F>);
impl<F: Formula> Body for Value<F> {
    const ARITY: usize = F::ARITY;
    #[inline(always)]
    fn eval<L: Real>(x: [L; OPERANDS]) -> L {
        F::forward(x)
    }
}

fn trace<F: Formula>() -> Traces {
    let operands = |from: usize| std::array::from_fn(|n| Expr::input(from + n));
    let forward = Program::record(&|| vec![F::forward(operands(0))]).with_whole(Whole::of::<Value<F>>());
    let derivative = |n: usize| F::derivative(n, Expr::input(0), operands(1), Expr::input(1 + RESULT));
    Traces::new(std::any::type_name::<F>(), forward, F::ARITY, &derivative)
}

impl Traces {
    /// The programs of a formula and of the derivative for each of its operands. Not generic, as formulas are many.
    fn new(name: &str, forward: Program, arity: usize, derivative: &dyn Fn(usize) -> Expr) -> Traces {
        let derivatives: Vec<Program> = (0..arity).map(|n| Program::record(&|| vec![derivative(n)])).collect();
        let uses = |p: &Program| (0..=RESULT).filter(|&i| p.uses_input(1 + i)).fold(0u8, |bits, i| bits | 1 << i);
        let compares =
            |p: &Program| (0..=1 + RESULT).filter(|&i| p.compares_input(i)).fold(0u8, |bits, i| bits | 1 << i);
        let (mut all, mut compared) = ([0; OPERANDS], [0; OPERANDS]);
        all.iter_mut().zip(&derivatives).for_each(|(slot, p)| *slot = uses(p));
        compared.iter_mut().zip(&derivatives).for_each(|(slot, p)| *slot = compares(p));
        let kept = all.iter().fold(0, |bits, uses| bits | uses).count_ones() as usize;
        debug_assert!(kept <= KEPT, "{name} keeps {kept} values for its derivatives");
        Traces { forward, derivatives, uses: all, compares: compared }
    }
}

macro_rules! singles {
    ($($t:ty: $one:ident $derivative:ident $derivatives:ident;)*) => {$(
        fn $one<F: Formula>(x: [$t; OPERANDS]) -> $t {
            F::forward(x.map(Single)).0
        }

        fn $derivative<F: Formula, const N: usize>(g: $t, x: [$t; OPERANDS], y: $t) -> $t {
            F::derivative(N, Single(g), x.map(Single), Single(y)).0
        }

        const fn $derivatives<F: Formula>() -> [OneDerivative<$t>; OPERANDS] {
            match F::ARITY {
                1 => [$derivative::<F, 0>; OPERANDS],
                2 => [$derivative::<F, 0>, $derivative::<F, 1>, $derivative::<F, 1>, $derivative::<F, 1>],
                3 => [$derivative::<F, 0>, $derivative::<F, 1>, $derivative::<F, 2>, $derivative::<F, 2>],
                _ => [$derivative::<F, 0>, $derivative::<F, 1>, $derivative::<F, 2>, $derivative::<F, 3>],
            }
        }
    )*};
}

singles! {
    f32: one_f32 derivative_f32 derivatives_f32;
    f64: one_f64 derivative_f64 derivatives_f64;
}

impl Pointwise {
    /// What is known of the operation with formula `F`.
    pub const fn new<F: Formula>(name: &'static str, node: &'static str, rule: Rule) -> Pointwise {
        Pointwise {
            name,
            node,
            forms: F::FORMS,
            special: F::SPECIAL,
            tells: &[],
            rule,
            arity: F::ARITY,
            exact: F::EXACT,
            row_major: F::ROW_MAJOR,
            steps: F::STEPS,
            replay: F::REPLAY,
            unknown: F::UNKNOWN,
            domain: F::DOMAIN,
            record: trace::<F>,
            traces: OnceLock::new(),
            one_f32: one_f32::<F>,
            one_f64: one_f64::<F>,
            derivatives_f32: derivatives_f32::<F>(),
            derivatives_f64: derivatives_f64::<F>(),
        }
    }

    /// The operation, whose node shows these settings.
    pub(super) const fn telling(mut self, tells: &'static [(&'static str, Setting)]) -> Pointwise {
        self.tells = tells;
        self
    }

    /// The formula's programs, recorded when first needed.
    #[inline]
    pub fn traces(&self) -> &Traces {
        self.traces.get_or_init(self.record)
    }

    /// The number of the form that the node has for these operands.
    #[inline]
    pub(super) fn form_of(&self, operands: &[Operand]) -> u8 {
        if self.forms.is_empty() {
            return 0;
        }
        let is_number = |(n, o): (usize, &Operand)| u8::from(o.tensor().is_none()) << n;
        let numbers: u8 = operands.iter().enumerate().map(is_number).sum();
        self.forms.iter().position(|f| f.numbers == numbers).map_or(0, |n| n as u8 + 1)
    }

    /// A form by its number; 0 is the operation's node with an edge for each operand.
    #[inline]
    pub(super) fn form(&self, number: u8) -> Form {
        match number {
            0 => Form::new(0, self.node, (1 << self.arity) - 1),
            n => self.forms[n as usize - 1],
        }
    }

    /// True where the result lies in row-major order, in whichever the operands do.
    pub(super) fn is_row_major(&self, operands: &[Operand]) -> bool {
        self.row_major || self.form(self.form_of(operands)).row_major
    }

    /// The numbers to compute with in a dtype.
    pub(super) fn numbers(&self, dtype: DType, operands: &[Operand]) -> Numbers {
        Numbers { dtype, exact: self.exact & singles(operands) }
    }

    /// The numbers to compute the derivative of operand `n` with. What it compares are the operands as the result was computed
    /// from them: an element that a rounded number was equal to is a tie.
    pub(super) fn derivative_numbers(&self, n: usize, dtype: DType, sources: &[Operand]) -> Numbers {
        let rounded = self.traces().compares[n] & !(self.exact << 1);
        Numbers { dtype, exact: singles(sources) & !rounded }
    }

    /// True where gradients pass through: the result is a number that depends on its operands smoothly enough.
    #[inline]
    pub fn is_differentiable(&self) -> bool {
        !matches!(self.rule, Rule::Compare | Rule::Logical | Rule::Bits | Rule::Integer)
    }
}

/// A floating-point type that has the one-element path.
pub(super) trait Float: Element {
    fn one(spec: &Pointwise) -> One<Self>;
    fn derivative(spec: &Pointwise, n: usize) -> OneDerivative<Self>;
}

impl Float for f32 {
    #[inline]
    fn one(spec: &Pointwise) -> One<f32> {
        spec.one_f32
    }
    #[inline]
    fn derivative(spec: &Pointwise, n: usize) -> OneDerivative<f32> {
        spec.derivatives_f32[n]
    }
}

impl Float for f64 {
    #[inline]
    fn one(spec: &Pointwise) -> One<f64> {
        spec.one_f64
    }
    #[inline]
    fn derivative(spec: &Pointwise, n: usize) -> OneDerivative<f64> {
        spec.derivatives_f64[n]
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT, OPERANDS};
    use crate::kernels::expr::Program;
    use crate::kernels::pointwise::{self, Input, Numbers, Output};
    use crate::ops::registry::{BLOCKS, Kind};
    use crate::tensor::dtype::DType;

    /// Elements in a fixed disorder, with those that formulas choose by among them.
    fn elements(operand: usize) -> Vec<f64> {
        let special = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
        let at = |i: usize| {
            let n = (i + 1) * (7 + 4 * operand);
            if n.is_multiple_of(3) {
                special[n / 3 % special.len()]
            } else {
                (n as f64 * 0.618_033_988).fract() * 6.0 - 3.0
            }
        };
        (0..300).map(at).collect()
    }

    #[test]
    fn a_whole_formula_gives_the_bits_of_its_steps() {
        let values: Vec<Vec<f64>> = (0..OPERANDS).map(elements).collect();
        let strides = [1];
        let mut compared = 0;
        for block in BLOCKS {
            let Kind::Pointwise(spec) = block.kind else { continue };
            let spec = spec();
            let steps = Program { whole: None, ..spec.traces().forward.clone() };
            let run = |program: &Program| {
                let mut y = vec![0.0f64; 300];
                let input =
                    |x: &Vec<f64>| Input::Array { data: x.as_ptr().cast(), dtype: DType::F64, strides: &strides };
                let inputs: Vec<Input> = values[..spec.arity].iter().map(input).collect();
                let output = Output { data: y.as_mut_ptr().cast(), dtype: DType::F64, strides: &strides };
                let numbers = Numbers { dtype: DType::F64, exact: 0 };
                // SAFETY: all operands hold 300 elements side by side.
                unsafe { pointwise::run(block.name, program, numbers, &inputs, &[], &[output], &[300]) }.unwrap();
                y
            };
            for (n, (found, wanted)) in run(&spec.traces().forward).iter().zip(run(&steps)).enumerate() {
                let is_same = found.to_bits() == wanted.to_bits() || found.is_nan() && wanted.is_nan();
                assert!(is_same, "{} of element {n}: {found} and {wanted}", block.name);
            }
            compared += 1;
        }
        assert!(compared > 100);
    }

    #[test]
    fn no_formula_keeps_more_values_than_a_node_has_room_for() {
        for block in BLOCKS {
            if let Kind::Pointwise(spec) = block.kind {
                let kept = spec().traces().uses.iter().fold(0, |bits, uses| bits | uses);
                assert!(kept.count_ones() as usize <= KEPT, "{}", block.name);
            }
        }
    }
}
