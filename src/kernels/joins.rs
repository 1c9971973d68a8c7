//! Steps of a program that one loop does: what is between them stays in the machine's registers.

use std::marker::PhantomData;

use smallvec::{SmallVec, smallvec};

use super::dispatch::Tier;
use super::element::Compute;
use super::expr::{OpCode, Program};
use super::instructions::{self as steps, Loop, Step, numbers_loop, step_loop};
use super::lane::Lane;
use super::whole::{self, Whole};

/// How steps are joined. `inner`, `outer` are sums, differences and products, `test` comparisons.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the steps are named in each line")]
pub enum Join {
    /// `outer(inner(a, b), c)`, where the outer may be an extreme too
    First { inner: OpCode, outer: OpCode },
    /// `outer(a, inner(b, c))`
    Second { inner: OpCode, outer: OpCode },
    /// `outer(a * b, c * d)`
    Products { outer: OpCode },
    /// `c` where `test(a, b)`, else `d`
    Choice { test: OpCode },
    /// All steps of the program
    Whole(Whole),
}

/// How a step of a program is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// By its own loop.
    Alone,
    /// By the loop of the step that reads it, or of all steps.
    Within,
    /// By a loop that does one or two steps before it too, and reads so many of the arguments.
    Joined(Join, [u16; 4], usize),
}

fn is_extreme(op: OpCode) -> bool {
    matches!(op, OpCode::Maximum | OpCode::Minimum)
}

fn is_arithmetic(op: OpCode) -> bool {
    matches!(op, OpCode::Add | OpCode::Sub | OpCode::Mul)
}

/// How each step of a program is done: a sum, difference or product is joined with one that only it reads, a choice with its
/// comparison, and a formula that has a loop of its own altogether.
pub fn ways(program: &Program) -> SmallVec<[Way; 16]> {
    let steps = &program.steps;
    let mut ways: SmallVec<[Way; 16]> = smallvec![Way::Alone; steps.len()];
    if steps.iter().filter(|s| s.op.arity() > 0).count() < 2 {
        return ways;
    }
    if let (Some((body, operands)), [output]) = (program.whole, &program.outputs[..])
        && whole::pays(program)
    {
        ways.fill(Way::Within);
        operands.iter().for_each(|&o| ways[o as usize] = Way::Alone);
        ways[*output as usize] = Way::Joined(Join::Whole(body), operands, body.arity);
        return ways;
    }
    let mut readers: SmallVec<[u16; 16]> = smallvec![0; steps.len()];
    let read = steps.iter().flat_map(|s| &s.args[..s.op.arity()]).chain(&program.outputs);
    read.for_each(|&a| readers[a as usize] += 1);
    for (i, step) in steps.iter().enumerate() {
        let within = |n: usize, fits: fn(OpCode) -> bool| {
            let at = step.args[n] as usize;
            let is_free = readers[at] == 1 && ways[at] == Way::Alone && fits(steps[at].op);
            is_free.then(|| (at, steps[at].op, steps[at].args))
        };
        let (join, inner) = if is_arithmetic(step.op) {
            let outer = step.op;
            match (within(0, is_arithmetic), within(1, is_arithmetic)) {
                (Some((p, OpCode::Mul, [a, b, _])), Some((q, OpCode::Mul, [c, d, _]))) if outer != OpCode::Mul => {
                    (Way::Joined(Join::Products { outer }, [a, b, c, d], 4), [Some(p), Some(q)])
                }
                (Some((p, inner, [a, b, _])), _) => {
                    (Way::Joined(Join::First { inner, outer }, [a, b, step.args[1], 0], 3), [Some(p), None])
                }
                (None, Some((q, inner, [b, c, _]))) => {
                    (Way::Joined(Join::Second { inner, outer }, [step.args[0], b, c, 0], 3), [Some(q), None])
                }
                (None, None) => continue,
            }
        } else if is_extreme(step.op) {
            let Some((p, inner, [a, b, _])) = within(0, is_arithmetic) else { continue };
            let join = Join::First { inner, outer: step.op };
            (Way::Joined(join, [a, b, step.args[1], 0], 3), [Some(p), None])
        } else if step.op == OpCode::Select {
            let is_test = |op| matches!(op, OpCode::Eq | OpCode::Lt | OpCode::Le);
            let Some((p, test, [a, b, _])) = within(0, is_test) else { continue };
            (Way::Joined(Join::Choice { test }, [a, b, step.args[1], step.args[2]], 4), [Some(p), None])
        } else {
            continue;
        };
        inner.into_iter().flatten().for_each(|p| ways[p] = Way::Within);
        ways[i] = join;
    }
    ways
}

struct First<F, G>(PhantomData<(F, G)>);
impl<L: Lane, F: Step<L>, G: Step<L>> Step<L> for First<F, G> {
    const ARITY: usize = 3;
    #[inline(always)]
    fn eval(a: L, b: L, c: L, _d: L) -> L {
        G::eval(F::eval(a, b, b, b), c, c, c)
    }
}

struct Second<F, G>(PhantomData<(F, G)>);
impl<L: Lane, F: Step<L>, G: Step<L>> Step<L> for Second<F, G> {
    const ARITY: usize = 3;
    #[inline(always)]
    fn eval(a: L, b: L, c: L, _d: L) -> L {
        let inner = F::eval(b, c, c, c);
        G::eval(a, inner, inner, inner)
    }
}

struct Products<G>(PhantomData<G>);
impl<L: Lane, G: Step<L>> Step<L> for Products<G> {
    const ARITY: usize = 4;
    #[inline(always)]
    fn eval(a: L, b: L, c: L, d: L) -> L {
        G::eval(a * b, c * d, d, d)
    }
}

struct Choice<F>(PhantomData<F>);
impl<L: Lane, F: Step<L>> Step<L> for Choice<F> {
    const ARITY: usize = 4;
    #[inline(always)]
    fn eval(a: L, b: L, c: L, d: L) -> L {
        steps::Select::eval(F::eval(a, b, b, b), c, d, d)
    }
}

/// The arguments of steps that are joined, in an order in which one that is a number comes last where that makes no difference.
pub(super) fn number_last(join: Join, args: &mut [u16], is_number: impl Fn(u16) -> bool) {
    if let (Join::Second { inner: OpCode::Add | OpCode::Mul, .. }, [_, b, c]) = (join, args)
        && is_number(*b)
        && !is_number(*c)
    {
        std::mem::swap(b, c);
    }
}

/// The loop of two steps of arithmetic of which the third argument is a number, where they have one of their own.
pub(super) fn join_by_number<T: Compute>(join: Join, tier: Tier) -> Option<Loop<T>> {
    let (is_first, inner, outer) = match join {
        Join::First { inner, outer } => (true, inner, outer),
        Join::Second { inner, outer } => (false, inner, outer),
        _ => return None,
    };
    macro_rules! loops {
        ($($inner:ident $outer:ident),*) => {
            match (inner, outer, is_first) {
                $((OpCode::$inner, OpCode::$outer, true) => numbers_loop::<T, First<steps::$inner, steps::$outer>, 2>(tier),
                (OpCode::$inner, OpCode::$outer, false) => numbers_loop::<T, Second<steps::$inner, steps::$outer>, 2>(tier),)*
                _ => return None,
            }
        };
    }
    Some(loops!(Add Add, Add Sub, Add Mul, Sub Add, Sub Sub, Sub Mul, Mul Add, Mul Sub, Mul Mul))
}

/// The loop of steps that are joined.
pub(super) fn join_loop<T: Compute>(join: Join, tier: Tier) -> Option<Loop<T>> {
    macro_rules! arithmetic {
        ($Join:ident, $inner:ident, $outer:ident) => {
            match ($inner, $outer) {
                (OpCode::Add, OpCode::Add) => step_loop::<T, $Join<steps::Add, steps::Add>>(tier),
                (OpCode::Add, OpCode::Sub) => step_loop::<T, $Join<steps::Add, steps::Sub>>(tier),
                (OpCode::Add, OpCode::Mul) => step_loop::<T, $Join<steps::Add, steps::Mul>>(tier),
                (OpCode::Sub, OpCode::Add) => step_loop::<T, $Join<steps::Sub, steps::Add>>(tier),
                (OpCode::Sub, OpCode::Sub) => step_loop::<T, $Join<steps::Sub, steps::Sub>>(tier),
                (OpCode::Sub, OpCode::Mul) => step_loop::<T, $Join<steps::Sub, steps::Mul>>(tier),
                (OpCode::Mul, OpCode::Add) => step_loop::<T, $Join<steps::Mul, steps::Add>>(tier),
                (OpCode::Mul, OpCode::Sub) => step_loop::<T, $Join<steps::Mul, steps::Sub>>(tier),
                (OpCode::Mul, OpCode::Mul) => step_loop::<T, $Join<steps::Mul, steps::Mul>>(tier),
                _ => return None,
            }
        };
    }
    macro_rules! extreme {
        ($inner:ident, $outer:ident) => {
            match $inner {
                OpCode::Add => step_loop::<T, First<steps::Add, steps::$outer>>(tier),
                OpCode::Sub => step_loop::<T, First<steps::Sub, steps::$outer>>(tier),
                OpCode::Mul => step_loop::<T, First<steps::Mul, steps::$outer>>(tier),
                _ => return None,
            }
        };
    }
    Some(match join {
        Join::First { inner, outer: OpCode::Maximum } => extreme!(inner, Maximum),
        Join::First { inner, outer: OpCode::Minimum } => extreme!(inner, Minimum),
        Join::First { inner, outer } => arithmetic!(First, inner, outer),
        Join::Second { inner, outer } => arithmetic!(Second, inner, outer),
        Join::Products { outer: OpCode::Add } => step_loop::<T, Products<steps::Add>>(tier),
        Join::Products { outer: OpCode::Sub } => step_loop::<T, Products<steps::Sub>>(tier),
        Join::Choice { test: OpCode::Eq } => step_loop::<T, Choice<steps::Eq>>(tier),
        Join::Choice { test: OpCode::Lt } => step_loop::<T, Choice<steps::Lt>>(tier),
        Join::Choice { test: OpCode::Le } => step_loop::<T, Choice<steps::Le>>(tier),
        Join::Products { .. } | Join::Choice { .. } | Join::Whole(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::expr::Expr;
    use super::*;

    #[test]
    fn steps_are_joined_with_those_that_only_they_read() {
        let program = Program::record(&|| {
            let [a, b, c] = [0, 1, 2].map(Expr::input);
            let shared = a * b;
            vec![(shared - b * c) + Expr::select(shared.lt(c), a, b)]
        });
        let names: Vec<String> = ways(&program).iter().map(|w| format!("{w:?}")).collect();
        let product = "Joined(Second { inner: Mul, outer: Sub }, [3, 1, 2, 0], 3)";
        assert_eq!(names.iter().filter(|n| *n == product).count(), 1, "{names:?}");
        assert_eq!(names.iter().filter(|n| *n == "Within").count(), 2, "{names:?}");
        assert!(names.iter().any(|n| n.starts_with("Joined(Choice { test: Lt }")), "{names:?}");
        assert_eq!(names[3], "Alone", "{names:?}");
    }
}
