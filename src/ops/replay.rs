//! A recorded formula run with tensor operations, so that each is recorded in turn: derivatives of derivatives.

use smallvec::{SmallVec, smallvec};

use super::arithmetic::{self, add, add_within, div, div_within, mul, mul_within, neg, pow, sub, sub_within};
use super::compare::{eq, le, logical_and, logical_not, logical_or, lt, where_};
use super::formula::Operand;
use super::recorded::{Settings, record};
use super::{bessel, bitwise, classify, incomplete, mask};
use super::{exponential, rounding, scaled, special, trigonometric, unary};
use crate::error::Result;
use crate::graph::mode::is_grad_enabled;
use crate::kernels::expr::{OpCode, Program};
use crate::kernels::function::Function;
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::scalar::Scalar;

/// A value of the replay: a tensor made by a step, or a source.
enum Step<'a> {
    Made(Tensor),
    Source(Operand<'a>),
}

impl Step<'_> {
    fn operand(&self) -> Operand<'_> {
        match self {
            Step::Made(t) => Operand::Tensor(t),
            Step::Source(o) => *o,
        }
    }
}

/// Runs the program on `sources`; numbers alone become tensors like `g`. As in torch, numbers of the formula are no operands of
/// nodes, and those of the caller only where the operation has a node of its own for them: where they are `settings`.
pub(super) fn replay(program: &Program, sources: &[Operand], g: &Tensor, settings: bool) -> Result<Tensor> {
    let mut steps: Vec<Step> = Vec::with_capacity(program.steps.len());
    for step in &program.steps {
        let made = match step.op {
            OpCode::Input(n) => Step::Source(sources[n as usize]),
            OpCode::Constant(value) => Step::Source(Operand::Number(Scalar::Float(value))),
            OpCode::Param(_) => Step::Source(Operand::Number(Scalar::Float(0.0))),
            // A quotient cut to a whole number moves by steps, also where the divisor is zero.
            OpCode::Trunc if matches!(program.steps[step.args[0] as usize].op, OpCode::Div) => {
                let [a, b, ..] = program.steps[step.args[0] as usize].args;
                let operand = |n: u16| steps[n as usize].operand();
                Step::Made(scaled::cut_quotient(operand(a as _), operand(b as _))?)
            }
            op => {
                let arg = |n: usize| steps[step.args[n] as usize].operand();
                // An operation on numbers alone is done once, on a tensor.
                let first;
                let a = match arg(0) {
                    Operand::Number(s) if (0..op.arity()).all(|n| arg(n).tensor().is_none()) => {
                        first = Tensor::scalar(s, g.dtype())?;
                        Operand::Tensor(&first)
                    }
                    other => other,
                };
                let is_constant = |n: usize| matches!(program.steps[step.args[n] as usize].op, OpCode::Constant(_));
                let within = settings || (0..op.arity()).any(is_constant);
                Step::Made(run(op, within, a, || arg(1), || arg(2))?)
            }
        };
        steps.push(made);
    }
    let out = program.outputs.first().map(|&o| &steps[o as usize]);
    match out {
        Some(Step::Made(t)) => Ok(t.clone()),
        Some(Step::Source(Operand::Tensor(t))) => Ok((*t).clone()),
        Some(Step::Source(Operand::Number(s))) => Tensor::full(g.shape(), *s, g.dtype()),
        None => Tensor::zeros(g.shape(), g.dtype()),
    }
}

/// Gives a derivative that depends on operands by steps only a node that says so.
pub(super) fn by_steps(node: &'static str, found: Tensor, operands: &[Operand]) -> Result<Tensor> {
    let recorded = |t: &&Tensor| t.requires_grad();
    let steps: SmallVec<[&Tensor; 3]> = operands.iter().filter_map(|o| o.tensor()).filter(recorded).collect();
    if steps.is_empty() || !is_grad_enabled() {
        return Ok(found);
    }
    if found.batch().is_some() || steps.iter().any(|t| t.batch().is_some()) {
        let never = Tensor::scalar(Scalar::Bool(false), DType::Bool)?;
        return steps.into_iter().try_fold(found, |found, operand| where_(&never, operand, &found));
    }
    let mut inputs: SmallVec<[&Tensor; 4]> = smallvec![&found];
    inputs.extend(steps);
    let y = found.detach();
    let settings = || Settings { number: inputs.len() as f64, ..Settings::default() };
    record(node, &y, &inputs, &[], settings, |call| {
        // dfound = g, and zero for the operands
        let zero = Tensor::zeros(call.g.shape(), call.g.dtype())?;
        let zeros = (1..call.settings.number as usize).map(|_| Some(zero.clone()));
        Ok(std::iter::once(Some(call.g.clone())).chain(zeros).collect())
    })?;
    Ok(y)
}

fn run<'a>(
    op: OpCode,
    within: bool,
    a: Operand<'a>,
    b: impl Fn() -> Operand<'a>,
    c: impl Fn() -> Operand<'a>,
) -> Result<Tensor> {
    match op {
        OpCode::Add if within => add_within(a, b()),
        OpCode::Sub if within => sub_within(a, b()),
        OpCode::Mul if within => mul_within(a, b()),
        OpCode::Div if within => div_within(a, b()),
        OpCode::Add => add(a, b()),
        OpCode::Sub => sub(a, b()),
        OpCode::Mul => mul(a, b()),
        OpCode::Div => div(a, b()),
        OpCode::Neg => neg(a),
        OpCode::Abs => unary::abs(a),
        OpCode::Maximum => arithmetic::maximum(a, b()),
        OpCode::Minimum => arithmetic::minimum(a, b()),
        OpCode::FloorDivide => arithmetic::floor_divide(a, b()),
        OpCode::Remainder => arithmetic::remainder(a, b()),
        OpCode::Pow => pow(a, b()),
        OpCode::BitAnd => bitwise::bitwise_and(a, b()),
        OpCode::BitOr => bitwise::bitwise_or(a, b()),
        OpCode::BitXor => bitwise::bitwise_xor(a, b()),
        OpCode::Eq => eq(a, b()),
        OpCode::Lt => lt(a, b()),
        OpCode::Le => le(a, b()),
        OpCode::Select => match (b(), c()) {
            (value @ Operand::Number(_), Operand::Tensor(x)) => mask::masked_fill(x, a, value),
            (yes, no) => where_(a, yes, no),
        },
        OpCode::And => logical_and(a, b()),
        OpCode::Or => logical_or(a, b()),
        OpCode::Not => logical_not(a),
        OpCode::MulAdd => add_within(&mul_within(a, b())?, c()),
        OpCode::Function(function) => call(function, a, b),
        OpCode::Floor => unary::floor(a),
        OpCode::Trunc => unary::trunc(a),
        OpCode::Round => rounding::round(a),
        OpCode::Fmod => rounding::fmod(a, b()),
        OpCode::Gcd => bitwise::gcd(a, b()),
        OpCode::ShiftLeft => bitwise::bitwise_left_shift(a, b()),
        OpCode::ShiftRight => bitwise::bitwise_right_shift(a, b()),
        OpCode::Input(_) | OpCode::Param(_) | OpCode::Constant(_) => match a {
            Operand::Tensor(t) => Ok(t.clone()),
            Operand::Number(s) => Tensor::scalar(s, s.dtype()),
        },
    }
}

/// The operation that a function is.
fn call<'a>(function: Function, a: Operand<'a>, b: impl Fn() -> Operand<'a>) -> Result<Tensor> {
    match function {
        Function::Sqrt => unary::sqrt(a),
        Function::Exp => unary::exp(a),
        Function::Log => unary::log(a),
        Function::Expm1 => unary::expm1(a),
        Function::Log1p => unary::log1p(a),
        Function::Sin => unary::sin(a),
        Function::Cos => unary::cos(a),
        Function::Tanh => unary::tanh(a),
        Function::Sigmoid => unary::sigmoid(a),
        Function::Tan => trigonometric::tan(a),
        Function::Asin => trigonometric::asin(a),
        Function::Acos => trigonometric::acos(a),
        Function::Atan => trigonometric::atan(a),
        Function::Sinh => trigonometric::sinh(a),
        Function::Cosh => trigonometric::cosh(a),
        Function::Asinh => trigonometric::asinh(a),
        Function::Acosh => trigonometric::acosh(a),
        Function::Atanh => trigonometric::atanh(a),
        Function::Log2 => exponential::log2(a),
        Function::Log10 => exponential::log10(a),
        Function::Exp2 => exponential::exp2(a),
        Function::Erf => special::erf(a),
        Function::Erfc => special::erfc(a),
        Function::Erfinv => special::erfinv(a),
        Function::Lgamma => special::lgamma(a),
        Function::Digamma => special::digamma(a),
        Function::Erfcx => special::erfcx(a),
        Function::I0e => bessel::i0e(a),
        Function::I1e => bessel::i1e(a),
        Function::Atan2 => trigonometric::atan2(a, b()),
        Function::Hypot => trigonometric::hypot(a, b()),
        Function::Zeta => special::zeta(a, b()),
        Function::Igamma => incomplete::igamma(a, b()),
        Function::Igammac => incomplete::igammac(a, b()),
        Function::Copysign => classify::copysign(a, b()),
        Function::Nextafter => classify::nextafter(a, b()),
    }
}
