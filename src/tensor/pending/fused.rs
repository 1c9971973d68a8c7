//! All that a value waits for as one program, which reads each source once and does each step once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::{Formula, Member, PASSES, Source, add_waiting};
use crate::error::Result;
use crate::kernels::expr::{Instruction, OpCode, Program};
use crate::kernels::pointwise::{self, Input, Numbers, Output};
use crate::kernels::whole::{OPERANDS, Whole};
use crate::profiler;
use crate::tensor::storage::{Access, Storage};

/// The formula of a value and of all that it waits for, as one program.
#[derive(Default)]
pub(super) struct Fused {
    steps: Vec<Instruction>,
    /// What the program reads, each once, with the step that reads it.
    pub reads: Vec<(Source, u16)>,
    /// The values that waited: where they are and the step that makes them.
    values: Vec<(usize, u16)>,
    /// The operations, in order.
    ops: Vec<&'static str>,
    /// The loop of the only operation, and the steps that have its operands.
    whole: Option<(Whole, [u16; OPERANDS])>,
}

impl Fused {
    pub fn of(root: &Arc<Formula>) -> Result<Fused> {
        // All formulas that wait, each after those that it reads.
        let mut members: Vec<Member> = vec![(0, root.clone())];
        add_waiting(&mut members, &root.sources, |pending| {
            let is_part = pending.passes.fetch_add(1, Ordering::Relaxed) < PASSES;
            if !is_part {
                pending.settle()?;
            }
            Ok(is_part)
        })?;
        members.sort_by_key(|m| m.1.number);
        let mut fused = Fused::default();
        for (address, formula) in &members {
            let result = fused.append(formula);
            fused.values.push((*address, result));
            fused.ops.push(formula.op);
        }
        Ok(fused)
    }

    /// What a record calls the program.
    pub fn label(&self) -> String {
        if profiler::is_on() { format!("fused program ({})", self.ops.join(", ")) } else { String::new() }
    }

    /// Appends a formula; gives the step that makes its result.
    fn append(&mut self, formula: &Formula) -> u16 {
        let mut renamed: SmallVec<[u16; 32]> = SmallVec::new();
        for step in &formula.program.steps {
            let found = match step.op {
                OpCode::Input(n) => self.read(&formula.sources[n as usize]),
                op => {
                    let args = step.args.map(|a| renamed.get(a as usize).copied().unwrap_or(0));
                    self.push(op, if op.arity() == 0 { [0; 3] } else { args })
                }
            };
            renamed.push(found);
        }
        let named = |step: u16| renamed[step as usize];
        self.whole = formula.program.whole.map(|(whole, operands)| (whole, operands.map(named)));
        named(formula.program.outputs[0])
    }

    /// The step that does what is asked. Negations move to the end, where many end in a difference: all of these rewritings
    /// are exact.
    fn push(&mut self, op: OpCode, args: [u16; 3]) -> u16 {
        let negated = |n: usize| {
            let step = self.steps.get(args[n] as usize)?;
            (n < op.arity() && step.op == OpCode::Neg).then_some(step.args[0])
        };
        let [a, b, _] = args;
        match (op, negated(0), negated(1)) {
            // -(-a) = a
            (OpCode::Neg, Some(a), _) => a,
            // (-a) (-b) = a b, and (-a) b = a (-b) = -(a b)
            (OpCode::Mul, Some(a), Some(b)) => self.push(OpCode::Mul, [a, b, 0]),
            (OpCode::Mul, Some(a), None) => self.push_opposite(OpCode::Mul, [a, b, 0]),
            (OpCode::Mul, None, Some(b)) => self.push_opposite(OpCode::Mul, [a, b, 0]),
            // a + (-b) = a - b, and a - (-b) = a + b
            (OpCode::Add, _, Some(b)) => self.push(OpCode::Sub, [a, b, 0]),
            (OpCode::Add, Some(a), None) => self.push(OpCode::Sub, [b, a, 0]),
            (OpCode::Sub, _, Some(b)) => self.push(OpCode::Add, [a, b, 0]),
            _ => self.find(op, args),
        }
    }

    fn push_opposite(&mut self, op: OpCode, args: [u16; 3]) -> u16 {
        let opposite = self.push(op, args);
        self.push(OpCode::Neg, [opposite, 0, 0])
    }

    /// A step as it is, found where it was written before.
    fn find(&mut self, op: OpCode, args: [u16; 3]) -> u16 {
        let step = Instruction { op, args };
        let known = self.steps.iter().position(|s| s.is(&step));
        known.unwrap_or_else(|| {
            self.steps.push(step);
            self.steps.len() - 1
        }) as u16
    }

    /// The step that has what a source reads.
    fn read(&mut self, source: &Source) -> u16 {
        if let Source::Memory { storage, .. } = source
            && let Some(address) = storage.pending().map(|p| std::ptr::from_ref(p).addr())
            && let Some((_, step)) = self.values.iter().find(|v| v.0 == address)
        {
            return *step;
        }
        if let Some((_, step)) = self.reads.iter().find(|(read, _)| read.same(source)) {
            return *step;
        }
        let step = self.push(OpCode::Input(self.reads.len() as u8), [0; 3]);
        self.reads.push((source.clone(), step));
        step
    }

    /// Computes the elements of the root into new memory, or into that of a storage.
    pub fn run(self, root: &Formula, target: Output, written: Option<&Storage>) -> Result<()> {
        let numbers = Numbers { dtype: root.compute, exact: 0 };
        // SAFETY: the sources' layouts lie in their storages, which are locked; the target is new memory of the root's size
        // or is locked and read only element on element.
        self.with_inputs(written, |program, inputs| unsafe {
            pointwise::run(root.op, program, numbers, inputs, &[], &[target], &root.shape)
        })
    }

    /// Runs a closure with the program and what it reads, locked, as is a storage that will be written.
    pub fn with_inputs<R>(self, written: Option<&Storage>, run: impl FnOnce(&Program, &[Input]) -> R) -> R {
        let output = self.values.last().map_or(0, |v| v.1);
        let whole = self.whole.filter(|_| self.ops.len() == 1);
        let program = Program { steps: self.steps, outputs: vec![output], whole }.without_dead_steps();
        let storages = self.reads.iter().filter_map(|(source, _)| match source {
            Source::Memory { storage, .. } => Some((&**storage, false)),
            Source::Number(_) => None,
        });
        let _access = Access::lock(storages.chain(written.map(|s| (&**s, true))));
        let inputs: SmallVec<[Input; 8]> = self
            .reads
            .iter()
            .map(|(source, _)| match source {
                Source::Memory { storage, dtype, offset, strides } => {
                    let data = storage.as_ptr().wrapping_add(offset * dtype.size());
                    Input::Array { data, dtype: *dtype, strides }
                }
                Source::Number(n) => Input::Number(*n),
            })
            .collect();
        run(&program, &inputs)
    }
}
