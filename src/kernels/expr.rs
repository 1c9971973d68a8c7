//! Formulas as programs: [`Expr`] stands for an element while a formula runs once and is written down.

use std::cell::RefCell;
use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

use super::function::{Function, functions};
use super::lane::{Lane, Mask, Real};
use super::whole::{OPERANDS, Whole};

/// What one instruction does. Masks are numbers: one where they hold, else zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OpCode {
    /// The element of an input.
    Input(u8),
    /// A number given with the call, the same for all elements.
    Param(u8),
    /// A number of the formula.
    Constant(f64),
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
    /// `-a`
    Neg,
    /// `|a|`
    Abs,
    /// The larger; NaN where either is.
    Maximum,
    /// The smaller; NaN where either is.
    Minimum,
    /// The quotient rounded down.
    FloorDivide,
    /// The remainder with the divisor's sign.
    Remainder,
    /// `a` to the power `b`
    Pow,
    /// Rounded down.
    Floor,
    /// Rounded towards zero.
    Trunc,
    /// Rounded to the nearest.
    Round,
    /// The remainder with the dividend's sign.
    Fmod,
    /// The greatest common divisor.
    Gcd,
    /// The bits moved up.
    ShiftLeft,
    /// The bits moved down.
    ShiftRight,
    /// The bits that both have.
    BitAnd,
    /// The bits that either has.
    BitOr,
    /// The bits that one of the two has.
    BitXor,
    /// `a == b`
    Eq,
    /// `a < b`
    Lt,
    /// `a <= b`
    Le,
    /// `b` where the mask `a` holds, else `c`
    Select,
    /// Both masks.
    And,
    /// Either mask.
    Or,
    /// Not the mask.
    Not,
    /// `a * b + c`, rounded once
    MulAdd,
    /// A function of real numbers.
    Function(Function),
}

/// One step of a program: an operation on earlier values. Arguments that the operation lacks are 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Instruction {
    /// What to do.
    pub op: OpCode,
    /// The values to do it with, by the number of the step that made them.
    pub args: [u16; 3],
}

impl Instruction {
    /// True where both do the same. The constants 0 and -0 are equal, and not the same.
    pub fn is(&self, other: &Instruction) -> bool {
        let same_op = match (self.op, other.op) {
            (OpCode::Constant(a), OpCode::Constant(b)) => a.to_bits() == b.to_bits(),
            (a, b) => a == b,
        };
        same_op && self.args == other.args
    }
}

impl OpCode {
    /// How many arguments the operation has.
    pub fn arity(self) -> usize {
        use OpCode::*;
        match self {
            Input(_) | Param(_) | Constant(_) => 0,
            Function(function) => function.arity(),
            Neg | Abs | Not | Floor | Trunc | Round => 1,
            Select | MulAdd => 3,
            _ => 2,
        }
    }
}

/// A recorded formula.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The steps, each after those it uses; the last value of each output is named in `outputs`.
    pub steps: Vec<Instruction>,
    /// The results, by the number of their step.
    pub outputs: Vec<u16>,
    /// The loop that does all steps at once, and the steps that have its operands.
    pub whole: Option<(Whole, [u16; OPERANDS])>,
}

impl Program {
    /// Records the formula that `f` evaluates.
    pub fn record(f: &dyn Fn() -> Vec<Expr>) -> Program {
        let outer = TAPE.with(|tape| std::mem::take(&mut *tape.borrow_mut()));
        let outputs = f().into_iter().map(|e| e.0).collect();
        let steps = TAPE.with(|tape| std::mem::replace(&mut *tape.borrow_mut(), outer));
        Program { steps, outputs, whole: None }.without_dead_steps()
    }

    /// Leaves only the steps that the outputs need.
    pub fn without_dead_steps(self) -> Program {
        let mut live = vec![false; self.steps.len()];
        for &out in &self.outputs {
            live[out as usize] = true;
        }
        for i in (0..self.steps.len()).rev() {
            if live[i] {
                let step = self.steps[i];
                step.args[..step.op.arity()].iter().for_each(|&a| live[a as usize] = true);
            }
        }
        let mut renamed = vec![0u16; self.steps.len()];
        let mut steps = Vec::new();
        for (i, step) in self.steps.iter().enumerate().filter(|(i, _)| live[*i]) {
            let mut step = *step;
            step.args[..step.op.arity()].iter_mut().for_each(|a| *a = renamed[*a as usize]);
            renamed[i] = steps.len() as u16;
            steps.push(step);
        }
        let whole = self.whole.map(|(whole, operands)| (whole, operands.map(|o| renamed[o as usize])));
        Program { steps, outputs: self.outputs.iter().map(|&o| renamed[o as usize]).collect(), whole }
    }

    /// Whether the program reads input `n`.
    pub fn uses_input(&self, n: usize) -> bool {
        self.steps.iter().any(|s| s.op == OpCode::Input(n as u8))
    }

    /// True where an input is compared as it is with another one.
    pub fn compares_input(&self, n: usize) -> bool {
        let input = |arg: u16| match self.steps[arg as usize].op {
            OpCode::Input(n) => Some(usize::from(n)),
            _ => None,
        };
        let compares = |s: &Instruction| match (s.op, input(s.args[0]), input(s.args[1])) {
            (OpCode::Eq | OpCode::Lt | OpCode::Le, Some(a), Some(b)) => a == n || b == n,
            _ => false,
        };
        self.steps.iter().any(compares)
    }

    /// The program with a loop that does all of it.
    pub fn with_whole(mut self, whole: Whole) -> Program {
        let step = |n: usize| self.steps.iter().position(|s| s.op == OpCode::Input(n as u8));
        // What the formula does not read may be anything.
        if let Some(any) = (0..OPERANDS).find_map(step) {
            self.whole = Some((whole, std::array::from_fn(|n| step(n).unwrap_or(any) as u16)));
        }
        self
    }

    /// The input that the only output simply repeats, if it does.
    pub fn is_input(&self) -> Option<usize> {
        match (&self.steps[..], &self.outputs[..]) {
            ([Instruction { op: OpCode::Input(n), .. }], [0]) => Some(*n as usize),
            _ => None,
        }
    }
}

thread_local! {
    static TAPE: RefCell<Vec<Instruction>> = const { RefCell::new(Vec::new()) };
}

/// An element of a formula being recorded.
#[derive(Clone, Copy, Debug)]
pub struct Expr(u16);

/// A truth value of a formula being recorded.
#[derive(Clone, Copy, Debug)]
pub struct ExprMask(Expr);

impl Mask for ExprMask {}

/// Writes a step down, or finds it where the same step was written before.
fn emit(op: OpCode, args: &[Expr]) -> Expr {
    let mut numbers = [0; 3];
    for (slot, arg) in numbers.iter_mut().zip(args) {
        *slot = arg.0;
    }
    let step = Instruction { op, args: numbers };
    TAPE.with(|tape| {
        let mut tape = tape.borrow_mut();
        let known = tape.iter().position(|s| s.is(&step));
        Expr(known.unwrap_or_else(|| {
            tape.push(step);
            tape.len() - 1
        }) as u16)
    })
}

impl Expr {
    /// The element of input `n`.
    pub fn input(n: usize) -> Expr {
        emit(OpCode::Input(n as u8), &[])
    }

    /// The call's number `n`.
    pub fn param(n: usize) -> Expr {
        emit(OpCode::Param(n as u8), &[])
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $op:ident),*) => {$(
        impl $trait for Expr {
            type Output = Expr;
            fn $method(self, other: Expr) -> Expr { emit(OpCode::$op, &[self, other]) }
        }
    )*};
}
operators!(Add add Add, Sub sub Sub, Mul mul Mul, Div div Div);

impl Neg for Expr {
    type Output = Expr;
    fn neg(self) -> Expr {
        emit(OpCode::Neg, &[self])
    }
}

impl BitAnd for ExprMask {
    type Output = ExprMask;
    fn bitand(self, other: ExprMask) -> ExprMask {
        ExprMask(emit(OpCode::And, &[self.0, other.0]))
    }
}

impl BitOr for ExprMask {
    type Output = ExprMask;
    fn bitor(self, other: ExprMask) -> ExprMask {
        ExprMask(emit(OpCode::Or, &[self.0, other.0]))
    }
}

impl Not for ExprMask {
    type Output = ExprMask;
    fn not(self) -> ExprMask {
        ExprMask(emit(OpCode::Not, &[self.0]))
    }
}

macro_rules! unary {
    ($($method:ident $op:ident),*) => {$(
        fn $method(self) -> Expr { emit(OpCode::$op, &[self]) }
    )*};
}

macro_rules! binary {
    ($($method:ident $op:ident),*) => {$(
        fn $method(self, other: Expr) -> Expr { emit(OpCode::$op, &[self, other]) }
    )*};
}

macro_rules! comparison {
    ($($method:ident $op:ident),*) => {$(
        fn $method(self, other: Expr) -> ExprMask { ExprMask(emit(OpCode::$op, &[self, other])) }
    )*};
}

impl Lane for Expr {
    type Mask = ExprMask;
    fn constant(value: f64) -> Expr {
        emit(OpCode::Constant(value), &[])
    }
    unary!(abs Abs, floor Floor, trunc Trunc, round Round);
    binary!(bit_and BitAnd, bit_or BitOr, bit_xor BitXor);
    binary!(fmod Fmod, gcd Gcd, shift_left ShiftLeft, shift_right ShiftRight);
    binary!(maximum Maximum, minimum Minimum, floor_divide FloorDivide, remainder Remainder, pow Pow);
    comparison!(eq Eq, lt Lt, le Le);
    fn select(mask: ExprMask, yes: Expr, no: Expr) -> Expr {
        emit(OpCode::Select, &[mask.0, yes, no])
    }
    fn from_mask(mask: ExprMask) -> Expr {
        mask.0
    }
}

macro_rules! real {
    ($($(#[doc = $doc:literal])* $Name:ident $name:ident($($other:ident),*);)*) => {
        impl Real for Expr {
            fn mul_add(self, factor: Expr, term: Expr) -> Expr {
                emit(OpCode::MulAdd, &[self, factor, term])
            }
            $(fn $name(self $(, $other: Expr)*) -> Expr {
                emit(OpCode::Function(Function::$Name), &[self $(, $other)*])
            })*
        }
    };
}
functions!(real);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formula_is_recorded_once_and_without_dead_steps() {
        let program = Program::record(&|| {
            let (g, x) = (Expr::input(0), Expr::input(1));
            let _unused = x.exp();
            let y = x.tanh();
            vec![g * (Expr::constant(1.0) - y * y), x.tanh()]
        });
        assert_eq!(program.steps.len(), 7);
        assert!(program.uses_input(0) && program.uses_input(1) && !program.uses_input(2));
        assert_eq!(program.is_input(), None);
    }

    #[test]
    fn zeros_of_both_signs_stay_apart() {
        let program = Program::record(&|| {
            let x = Expr::input(0);
            vec![Expr::select(x.lt(Expr::constant(0.0)), Expr::constant(-0.0), Expr::constant(0.0))]
        });
        let zeros = program.steps.iter().filter(|s| matches!(s.op, OpCode::Constant(_))).count();
        assert_eq!(zeros, 2);
    }

    #[test]
    fn the_identity_is_seen() {
        assert_eq!(Program::record(&|| vec![Expr::input(3)]).is_input(), Some(3));
    }
}
