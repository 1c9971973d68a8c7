//! Programs over a few thousand elements that lie side by side in every operand: the steps one after the other, straight
//! over the memory. Making a [`Plan`](super::Plan) would cost more than what they do.

use smallvec::SmallVec;

use super::{BLOCK, GAP, Input, Numbers, Output, REGISTERS, grain};
use crate::kernels::dispatch::tier;
use crate::kernels::element::number;
use crate::kernels::expr::{OpCode, Program};
use crate::kernels::instructions::{Loop, Run, arrays};
use crate::kernels::joins::{Way, ways};

/// Steps that a program has at most: longer ones gain from registers that are used again.
const STEPS: usize = 12;

/// Where the value of a step comes from.
#[derive(Clone, Copy)]
enum Value<T> {
    /// The elements of an operand.
    Memory(*mut T),
    /// The same number for all elements.
    Number(T),
    /// What a loop makes of earlier values, as many as given.
    Computed(Loop<T>, [u16; 4], usize),
    /// Nobody asks for it: its reader's loop does it.
    Nothing,
}

/// Runs the program; false where it is none of this kind, and nothing was written.
///
/// # Safety
/// As [`super::run`].
pub(super) unsafe fn run<T: Run>(
    program: &Program,
    numbers: Numbers,
    inputs: &[Input],
    params: &[f64],
    outputs: &[Output],
    shape: &[usize],
) -> bool {
    let total = shape.iter().product();
    let ([target], [result]) = (outputs, &program.outputs[..]) else { return false };
    let last = usize::from(*result);
    let fits = total <= grain(program) && last + 1 == program.steps.len() && last < STEPS;
    if !fits || numbers.dtype != T::DTYPE || target.dtype != T::DTYPE || !is_row_major(shape, target.strides) {
        return false;
    }
    let ways = if T::JOINS { ways(program) } else { SmallVec::from_elem(Way::Alone, last + 1) };
    let mut values = [Value::Nothing; STEPS];
    for (i, (step, way)) in program.steps.iter().zip(&ways).enumerate() {
        values[i] = match step.op {
            _ if *way == Way::Within => continue,
            OpCode::Constant(value) => Value::Number(T::from_f64(value)),
            OpCode::Param(n) => Value::Number(T::from_f64(params[usize::from(n)])),
            // SAFETY: the caller vouches for the input, which has an element as the shape has.
            OpCode::Input(n) => match unsafe { read(&inputs[usize::from(n)], shape) } {
                Some(value) => value,
                None => return false,
            },
            op => {
                let [a, b, c] = step.args;
                let (args, arity) = match way {
                    Way::Joined(_, args, arity) => (*args, *arity),
                    _ => ([a, b, c, 0], op.arity()),
                };
                let arrays = arrays(&args[..arity], |a| matches!(values[usize::from(a)], Value::Number(_)));
                let Some((run, _)) = T::way(op, way, arity, arrays, tier()) else { return false };
                Value::Computed(run, args, arity)
            }
        };
    }
    let steps = &values[..=last];
    let Value::Computed(_, args, arity) = steps[last] else { return false };
    let is_target = |&a: &u16| matches!(steps[usize::from(a)], Value::Memory(at) if at.cast() == target.data);
    // Loops may write where their first argument is, or their third, and nowhere else that they read.
    if args[..arity].iter().skip(1).step_by(2).any(is_target) {
        return false;
    }
    // SAFETY: the values are those of the program's steps, and the caller vouches for the memory.
    unsafe { run_steps(steps, target.data.cast(), total) };
    true
}

/// The elements of an input, or the one that it repeats; `None` where they are of another type or lie otherwise.
///
/// # Safety
/// The input is valid for the shape, which is not empty.
unsafe fn read<T: Run>(input: &Input, shape: &[usize]) -> Option<Value<T>> {
    match *input {
        Input::Number(value) => Some(Value::Number(number(value))),
        Input::Array { dtype, .. } if dtype != T::DTYPE => None,
        Input::Array { data, strides, .. } if is_row_major(shape, strides) => {
            Some(Value::Memory(data.cast_mut().cast()))
        }
        Input::Array { data, strides, .. } if strides.iter().all(|&s| s == 0) => {
            // SAFETY: the caller's; elements are aligned for their type.
            Some(Value::Number(unsafe { data.cast::<T>().read() }))
        }
        Input::Array { .. } => None,
    }
}

/// True where the elements lie side by side in the order of the shape.
fn is_row_major(shape: &[usize], strides: &[isize]) -> bool {
    let mut next = 1;
    shape.iter().zip(strides).rev().all(|(&size, &stride)| {
        let fits = size == 1 || stride == next;
        next *= size as isize;
        fits
    })
}

/// # Safety
/// Memory holds `total` elements, and steps read those before them.
unsafe fn run_steps<T: Run>(steps: &[Value<T>], target: *mut T, total: usize) {
    let is_alone = steps[..steps.len() - 1].iter().all(|value| matches!(value, Value::Memory(_) | Value::Nothing));
    let block = if is_alone { total } else { total.min(BLOCK) };
    let pitch = block + GAP / size_of::<T>();
    REGISTERS.with_borrow_mut(|registers| {
        let rooms = if is_alone { 0 } else { steps.len() * pitch };
        let (file, _) = registers.of::<T>(0, rooms);
        let place = |i: usize| file.wrapping_add(i * pitch);
        for (i, value) in steps.iter().enumerate() {
            if let Value::Number(value) = *value {
                // SAFETY: the register holds a block.
                unsafe { std::slice::from_raw_parts_mut(place(i), block) }.fill(value);
            }
        }
        for start in (0..total).step_by(block) {
            let at = |i: u16| match steps[usize::from(i)] {
                Value::Memory(first) => first.wrapping_add(start),
                _ => place(i.into()),
            };
            for (i, value) in steps.iter().enumerate() {
                let Value::Computed(run, args, arity) = *value else { continue };
                let to = if i + 1 == steps.len() { target.wrapping_add(start) } else { place(i) };
                // Arguments that the loop does not read are those that it may.
                let [a, b, c, d] = std::array::from_fn(|n| if n < arity { at(args[n]) } else { to });
                // SAFETY: registers hold a block, and memory `total` elements.
                unsafe { run(to, a, b, c, d, block.min(total - start)) };
            }
        }
    });
}
