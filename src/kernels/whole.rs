//! A whole formula as one loop: what is between its steps stays in the machine's registers.

use std::fmt;
use std::marker::PhantomData;

use super::dispatch::Tier;
use super::expr::{Instruction, OpCode, Program};
use super::function::Function;
use super::instructions::{Loop, Step, Takes, numbers_loop, step_loop};
use super::lane::Real;

/// The most operands of a formula.
pub const OPERANDS: usize = 4;

/// A formula that vectors run.
pub trait Body: 'static {
    /// How many operands it reads.
    const ARITY: usize;
    /// Its value; operands beyond the arity are anything.
    fn eval<L: Real>(x: [L; OPERANDS]) -> L;
}

struct All<B>(PhantomData<B>);
impl<L: Real, B: Body> Step<L> for All<B> {
    const ARITY: usize = B::ARITY;
    #[inline(always)]
    fn eval(a: L, b: L, c: L, d: L) -> L {
        B::eval([a, b, c, d])
    }
}

/// The loops of a formula for operands that are numbers but for the first, the first two, and so on.
type Loops<T> = [fn(Tier) -> Loop<T>; OPERANDS];

/// The loops of a formula.
#[derive(Clone, Copy)]
pub struct Whole {
    pub(super) arity: usize,
    pub(super) f32: Loops<f32>,
    pub(super) f64: Loops<f64>,
}

/// Those of formula `B` on numbers of one type, each once: where there are as many arrays as operands none is a number.
const fn loops<T: Takes<All<B>>, B: Body>() -> Loops<T> {
    [
        if B::ARITY > 1 { numbers_loop::<T, All<B>, 1> } else { step_loop::<T, All<B>> },
        if B::ARITY > 2 { numbers_loop::<T, All<B>, 2> } else { step_loop::<T, All<B>> },
        if B::ARITY > 3 { numbers_loop::<T, All<B>, 3> } else { step_loop::<T, All<B>> },
        step_loop::<T, All<B>>,
    ]
}

impl Whole {
    /// Those of formula `B`.
    pub const fn of<B: Body>() -> Whole {
        Whole { arity: B::ARITY, f32: loops::<f32, B>(), f64: loops::<f64, B>() }
    }
}

/// Programs that are equal have loops that do the same.
impl PartialEq for Whole {
    fn eq(&self, _: &Whole) -> bool {
        true
    }
}

impl fmt::Debug for Whole {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Whole")
    }
}

/// The most functions of a loop: the compiler makes no vectors of longer ones.
const FUNCTIONS: usize = 2;

/// True where one loop does better than a loop for each step: there is something between the steps, few of them are functions,
/// and none of them has a loop that looks at all of a block first, or goes number by number.
pub(super) fn pays(program: &Program) -> bool {
    let mut computed = program.steps.iter().filter(|s| s.op.arity() > 0);
    let is_function = |s: &&Instruction| matches!(s.op, OpCode::Function(_));
    let is_short = computed.clone().filter(is_function).count() <= FUNCTIONS;
    is_short && computed.clone().count() > 1 && computed.all(|s| goes_by_vectors(s.op))
}

fn goes_by_vectors(op: OpCode) -> bool {
    use Function::*;
    match op {
        OpCode::Function(function) => {
            matches!(function, Sqrt | Exp | Log | Expm1 | Log1p | Tanh | Sigmoid | Copysign | Erf | Erfc)
        }
        OpCode::Pow | OpCode::FloorDivide | OpCode::Remainder | OpCode::Fmod | OpCode::Gcd => false,
        OpCode::ShiftLeft | OpCode::ShiftRight => false,
        _ => true,
    }
}
