//! Where the values of a program are while it runs.

use smallvec::SmallVec;

use super::{Input, Numbers, Plan, Planned, ROW, Slot};
use crate::error::{Error, Result};
use crate::kernels::dispatch::{Tier, tier};
use crate::kernels::element::{convert, dispatch, number};
use crate::kernels::expr::{Instruction, OpCode, Program};
use crate::kernels::function::Function;
use crate::kernels::instructions::{Run, arrays, loop_by_number};
use crate::kernels::joins::{Join, Way, number_last, ways};
use crate::tensor::dtype::DType;
use crate::tensor::scalar::Scalar;

/// What is known while the steps of a program are given their places.
struct Placing {
    /// Where the value of each step is that came so far.
    places: SmallVec<[Slot; 16]>,
    /// The step that reads each value last.
    last_use: SmallVec<[usize; 16]>,
    /// Registers that nobody reads any more.
    free: SmallVec<[Slot; 8]>,
    /// Steps whose values an earlier one made along with its own.
    early: SmallVec<[(usize, Slot); 2]>,
}

/// What a step reads, where it has a loop that runs by itself.
fn reads<'a>(program: &'a Program, ways: &'a [Way], i: usize) -> &'a [u16] {
    match &ways[i] {
        Way::Alone => &program.steps[i].args[..program.steps[i].op.arity()],
        Way::Within => &[],
        Way::Joined(_, args, arity) => &args[..*arity],
    }
}

impl<'a, T: Run> Plan<'a, T> {
    /// Gives every step a place: numbers and constants a register of their own, inputs their memory where it can be
    /// read as it is, and computed values registers that are used again after their last reader.
    pub(super) fn place(
        &mut self,
        op: &'static str,
        program: &Program,
        numbers: Numbers,
        params: &[f64],
    ) -> Result<()> {
        let tier = tier();
        let ways = if T::JOINS { ways(program) } else { SmallVec::from_elem(Way::Alone, program.steps.len()) };
        let mut placing = Placing {
            places: SmallVec::new(),
            last_use: SmallVec::from_elem(0, program.steps.len()),
            free: SmallVec::new(),
            early: SmallVec::new(),
        };
        for i in 0..program.steps.len() {
            reads(program, &ways, i).iter().for_each(|&a| placing.last_use[a as usize] = i);
        }
        program.outputs.iter().for_each(|&o| placing.last_use[o as usize] = usize::MAX);
        for (i, step) in program.steps.iter().enumerate() {
            let place = if ways[i] == Way::Within {
                // Nobody asks for it: its reader's loop does it.
                0
            } else if let Some(value) = self.splat(op, step.op, numbers, params)? {
                let register = self.fresh();
                self.splats.push((register, value));
                register
            } else if let OpCode::Input(n) = step.op {
                let takes = |j| self.takes_number(program, &ways, (j, i), tier);
                if self.is_row_number(n.into()) && (i + 1..program.steps.len()).all(takes) {
                    self.numbers.push(n);
                    self.directs.push(n);
                    n.into()
                } else {
                    self.place_input(n, &mut placing)
                }
            } else if let Some(&(_, place)) = placing.early.iter().find(|e| e.0 == i) {
                place
            } else {
                self.place_computed(op, program, (&ways, i), tier, &mut placing)?
            };
            placing.places.push(place);
            self.release(reads(program, &ways, i), i, &mut placing);
        }
        self.outputs = program.outputs.iter().map(|&o| placing.places[o as usize]).collect();
        Ok(())
    }

    /// The number that a step is for all elements, if it is one.
    fn splat(&self, op: &'static str, code: OpCode, numbers: Numbers, params: &[f64]) -> Result<Option<T>> {
        Ok(match code {
            OpCode::Constant(value) => Some(T::from_f64(value)),
            OpCode::Param(n) => Some(T::from_f64(params[n as usize])),
            OpCode::Input(n) => match self.inputs[n as usize] {
                Input::Number(number) if numbers.narrow(n as usize) => Some(narrowed(op, number, numbers.dtype)?),
                Input::Number(value) => Some(number(value)),
                Input::Array { .. } => self.repeated(n as usize),
            },
            _ => None,
        })
    }

    /// True where an input is one number along the innermost dimension, which is long enough for a block to be a row of it.
    fn is_row_number(&self, input: usize) -> bool {
        let Input::Array { dtype, .. } = self.inputs[input] else { return false };
        let stays = || self.walk.inner_stride(self.operand[input]) == 0;
        let fits = self.across.is_none() && self.walk.inner() >= ROW && self.lies_in_rows(0);
        fits && dtype == T::DTYPE && self.loads[input].narrow.is_none() && stays()
    }

    /// True where the value of a step is not the same along the innermost dimension, or is in a register all the same.
    fn is_array(&self, program: &Program, step: u16) -> bool {
        match program.steps[usize::from(step)].op {
            OpCode::Constant(_) | OpCode::Param(_) => false,
            OpCode::Input(n) => {
                let (n, walk) = (usize::from(n), &self.walk);
                matches!(self.inputs[n], Input::Array { .. }) && walk.inner_stride(self.operand[n]) != 0
            }
            _ => true,
        }
    }

    /// True where step `j` does not read the value of step `i`, or takes it as a number beside an array.
    fn takes_number(&self, program: &Program, ways: &[Way], (j, i): (usize, usize), tier: Tier) -> bool {
        let read = reads(program, ways, j);
        let is_value = |a: u16| usize::from(a) == i;
        if !read.iter().any(|&a| is_value(a)) {
            return true;
        }
        let op = program.steps[j].op;
        let is_other = |a: u16| !is_value(a) && self.is_array(program, a);
        match (ways[j], read) {
            (Way::Alone, &[a, b]) => {
                let fits = is_other(a) && is_value(b) || commutes(op) && is_value(a) && is_other(b);
                fits && loop_by_number::<T>(op, tier).is_some()
            }
            (Way::Joined(Join::Whole(_), ..), [others @ .., last]) => {
                is_value(*last) && others.iter().all(|&a| is_other(a))
            }
            (Way::Joined(join, ..), &[a, ..]) if read.len() == 3 && is_other(a) => {
                let mut args = SmallVec::<[u16; 4]>::from_slice(read);
                number_last(join, &mut args, is_value);
                is_other(args[1]) && is_value(args[2]) && T::joined_by_number(join, tier).is_some()
            }
            _ => false,
        }
    }

    /// The place of an array, which is loaded where it cannot be read as it is.
    fn place_input(&mut self, n: u8, placing: &mut Placing) -> Slot {
        if self.tiled.contains(&n) {
            return n.into();
        }
        if self.reads_directly(n as usize) {
            self.directs.push(n);
            return n.into();
        }
        let to = self.register(placing);
        self.steps.push(Planned::Load { input: n, to });
        to
    }

    /// The place of a value that is computed.
    fn place_computed(
        &mut self,
        op: &'static str,
        program: &Program,
        (ways, i): (&[Way], usize),
        tier: Tier,
        placing: &mut Placing,
    ) -> Result<Slot> {
        let code = program.steps[i].op;
        if let Some((twin, is_sine)) = twin(program, i)
            && let Some(run) = T::sine_and_cosine(tier)
        {
            let arg = placing.places[program.steps[i].args[0] as usize];
            let to = [self.register(placing), self.register(placing)];
            self.steps.push(Planned::Twins { run, arg, to });
            let [own, other] = if is_sine { to } else { [to[1], to[0]] };
            placing.early.push((twin, other));
            return Ok(own);
        }
        let mut own = SmallVec::<[u16; 4]>::from_slice(reads(program, ways, i));
        let is_number = |a: u16| {
            let place = placing.places[a as usize];
            self.splats.iter().any(|s| s.0 == place) || self.numbers.iter().any(|&n| Slot::from(n) == place)
        };
        if commutes(code) && matches!(ways[i], Way::Alone) && is_number(own[0]) && !is_number(own[1]) {
            own.swap(0, 1);
        }
        if let Way::Joined(join, ..) = ways[i] {
            number_last(join, &mut own, is_number);
        }
        let read = &own[..];
        let arrays = arrays(read, is_number);
        let run = T::way(code, &ways[i], read.len(), arrays, tier);
        let (run, reads_once) = run.ok_or(Error::DTypeUnsupported {
            op,
            dtype: T::DTYPE,
            hint: "the operation needs floating-point numbers",
        })?;
        self.reads_blocks |= !reads_once || read[..arrays].iter().any(|&a| is_number(a));
        let to = self.register(placing);
        // Arguments that the loop does not read are those that it may.
        let mut args = [to; 4];
        for (arg, &a) in args.iter_mut().zip(read) {
            *arg = placing.places[a as usize];
        }
        self.steps.push(Planned::Apply { run, args, to });
        Ok(to)
    }

    /// Gives registers back that step `i` was the last to read.
    fn release(&self, read: &[u16], i: usize, placing: &mut Placing) {
        for &a in read {
            let slot = placing.places[a as usize];
            if slot as usize >= self.inputs.len()
                && placing.last_use[a as usize] == i
                && !self.splats.iter().any(|s| s.0 == slot)
                && !placing.free.contains(&slot)
            {
                placing.free.push(slot);
            }
        }
    }

    /// The one element of an input that is the same everywhere.
    fn repeated(&self, input: usize) -> Option<T> {
        let Input::Array { data, .. } = self.inputs[input] else { return None };
        let is_repeated = self.walk.strides[self.operand[input]].iter().all(|&stride| stride == 0);
        is_repeated.then(|| {
            let mut value = T::from_f64(0.0);
            // SAFETY: the caller of `run` vouches for the input, which has an element as the shape has.
            unsafe {
                (self.loads[input].convert)(data, 0, (&raw mut value).cast(), 1, 1);
                self.narrow(input, &raw mut value, 1);
            }
            value
        })
    }

    /// A register that is free.
    fn register(&mut self, placing: &mut Placing) -> Slot {
        placing.free.pop().unwrap_or_else(|| self.fresh())
    }

    fn fresh(&mut self) -> Slot {
        self.registers += 1;
        (self.inputs.len() + self.registers - 1) as Slot
    }
}

/// True where the order of the arguments makes no difference to the result.
fn commutes(op: OpCode) -> bool {
    matches!(op, OpCode::Add | OpCode::Mul | OpCode::Eq)
}

/// The later step that gives the cosine of what step `i` gives the sine of, or the sine; and whether `i` is the sine.
fn twin(program: &Program, i: usize) -> Option<(usize, bool)> {
    let wanted = match program.steps[i].op {
        OpCode::Function(Function::Sin) => Function::Cos,
        OpCode::Function(Function::Cos) => Function::Sin,
        _ => return None,
    };
    let is_twin = |s: &Instruction| s.op == OpCode::Function(wanted) && s.args[0] == program.steps[i].args[0];
    let later = program.steps.iter().skip(i + 1).position(is_twin)?;
    Some((i + 1 + later, wanted == Function::Cos))
}

/// A number as the dtype holds it.
fn narrowed<T: Run>(op: &'static str, value: Scalar, dtype: DType) -> Result<T> {
    Ok(dispatch!(op, dtype, N => convert::<N, T>(number::<N>(value))))
}
