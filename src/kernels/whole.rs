//! A whole formula as one loop: what is between its steps stays in the machine's registers.

use std::fmt;
use std::marker::PhantomData;

use super::dispatch::Tier;
use super::expr::{OpCode, Program};
use super::function::Function;
use super::instructions::{Loop, Step, step_loop};
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

/// The loops of a formula.
#[derive(Clone, Copy)]
pub struct Whole {
    pub(super) arity: usize,
    pub(super) f32: fn(Tier) -> Loop<f32>,
    pub(super) f64: fn(Tier) -> Loop<f64>,
}

impl Whole {
    /// Those of formula `B`.
    pub const fn of<B: Body>() -> Whole {
        Whole { arity: B::ARITY, f32: step_loop::<f32, All<B>>, f64: step_loop::<f64, All<B>> }
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

/// True where one loop does better than a loop for each step: there is something between the steps, and none of them has a
/// loop that looks at all of a block first, or goes number by number.
pub(super) fn pays(program: &Program) -> bool {
    let mut computed = program.steps.iter().filter(|s| s.op.arity() > 0);
    computed.clone().count() > 1 && computed.all(|s| goes_by_vectors(s.op))
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
