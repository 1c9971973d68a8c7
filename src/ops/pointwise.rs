//! The one way of element-wise operations: promote, broadcast, run the program, record.

use smallvec::SmallVec;

use super::formula::{Float, KEPT, NOT_IMPLEMENTED, OPERANDS, Operand, Pointwise, RESULT, Rule};
use super::operands::{self, dtypes, refuse, shape};
use super::registry::{Arguments, Output};
use super::{batch, cast, copy, inplace, replay, small};
use crate::error::{Error, Result};
use crate::graph::arena::NodeRef;
use crate::graph::forward;
use crate::graph::meta::{Meta, is_recorded};
use crate::graph::mode::{is_grad_enabled, records_nothing};
use crate::graph::node::{Backward, Derivative, Edges, Gradients, Label, Node, Setting};
use crate::graph::saved::Saved;
use crate::kernels::expr::Program;
use crate::kernels::pointwise::{self, Input, Numbers};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::{Layout, Shape};
use crate::tensor::pending::{self, Source};
use crate::tensor::scalar::Scalar;
use crate::tensor::storage::{Access, Buffer, Versioning};

/// Runs an operation on its operands and records it.
#[inline]
pub fn apply(spec: &'static Pointwise, operands: &[Operand]) -> Result<Tensor> {
    if let Some(cheap) = special(spec, operands) {
        return apply(cheap, &operands[..1]);
    }
    if operands.iter().any(|o| o.tensor().is_some_and(|t| t.batch().is_some())) {
        return batched(spec, operands);
    }
    let y = match small::forward(spec, operands) {
        Some(y) => y?,
        None => compute(spec, operands)?,
    };
    with_history(spec, operands, y)
}

/// A result with its history and its tangents.
#[inline]
fn with_history(spec: &'static Pointwise, operands: &[Operand], y: Tensor) -> Result<Tensor> {
    if is_grad_enabled() && spec.is_differentiable() {
        record(spec, operands, &y)?;
    }
    if forward::is_active() && spec.is_differentiable() {
        carry_tangents(spec, operands, &y)?;
    }
    Ok(y)
}

/// What a derivative reads: the gradient, the operands, the result.
pub(super) const SOURCES: usize = OPERANDS + 2;

/// The tangents of a result: the derivatives of the operands with their tangents in the gradient's place, added.
#[cold]
fn carry_tangents(spec: &'static Pointwise, operands: &[Operand], y: &Tensor) -> Result<()> {
    if !y.dtype().is_floating_point() {
        return Ok(());
    }
    for level in forward::levels(operands.iter().filter_map(|o| o.tensor())) {
        let mut tangent = None;
        for (n, operand) in operands.iter().enumerate() {
            let Some(t) = operand.tensor().map(|x| x.tangent(level)).transpose()?.flatten() else { continue };
            if spec.unknown >> n & 1 == 1 {
                return Err(Error::NoTangent { op: spec.name, operand: n });
            }
            tangent = Some(forward::outside(level, || {
                let t = forward::spread(&t, y)?;
                let mut sources = [Operand::Tensor(&t); SOURCES];
                sources[1..=operands.len()].copy_from_slice(operands);
                sources[1 + RESULT] = Operand::Tensor(y);
                forward::added(tangent.take(), derive(spec, n, &sources)?)
            })?);
        }
        if let Some(tangent) = tangent {
            let tangent = forward::own(tangent, operands.iter().filter_map(|o| o.tensor()), y, level)?;
            match y.grad_fn() {
                Some(edge) => forward::carry(&edge.node, 0, y, level, tangent),
                None => y.set_tangent(level, Some(tangent)),
            }
        }
    }
    Ok(())
}

/// As [`apply`] where an operand is batched. Types and shapes are those of single examples.
#[cold]
fn batched(spec: &'static Pointwise, operands: &[Operand]) -> Result<Tensor> {
    let (compute, _) = dtypes(spec, operands)?;
    shape(spec.name, operands)?;
    // A single number is weak in promotion; with the batch it is none any more.
    let weak = |t: &Tensor| t.rank() == 0 && t.dtype() != compute && t.batch().is_some();
    let skip = usize::from(spec.rule == Rule::Where);
    let casts: SmallVec<[Option<Tensor>; OPERANDS]> = operands
        .iter()
        .enumerate()
        .map(|(n, o)| o.tensor().filter(|t| n >= skip && weak(t)).map(|t| cast::to(t, compute)).transpose())
        .collect::<Result<_>>()?;
    let operands: SmallVec<[Operand; OPERANDS]> =
        operands.iter().zip(&casts).map(|(o, cast)| cast.as_ref().map_or(*o, Operand::Tensor)).collect();
    batch::pointwise(&operands, |operands| apply(spec, operands)).unwrap_or_else(|| apply(spec, &operands))
}

/// The cheaper operation on the first operand alone, where the second is a number that has one. For floats only: an
/// integer's power by a number can be a float.
#[inline]
fn special(spec: &Pointwise, operands: &[Operand]) -> Option<&'static Pointwise> {
    match operands {
        [Operand::Tensor(x), Operand::Number(n)] if x.dtype().is_floating_point() => spec.special?(*n, x.dtype()),
        _ => None,
    }
}

/// An operation and its operands.
pub(super) type Chosen<'a> = (&'static Pointwise, SmallVec<[Operand<'a>; OPERANDS]>);

/// Finds the operation and the operands that the arguments of a call ask for; the first argument is the number of the
/// signature that matched.
pub(super) type Choose = for<'a> fn(usize, &'a Arguments) -> Result<Chosen<'a>>;

/// An operation whose operands are the arguments.
pub(super) fn arguments<'a>(spec: &'static Pointwise, arguments: &'a Arguments) -> Result<Chosen<'a>> {
    let operands: Result<_> = (0..spec.arity).map(|n| arguments.operand(n)).collect();
    Ok((spec, operands?))
}

/// Runs the operation that the arguments of a call have chosen.
pub(super) fn chosen((spec, operands): Chosen) -> Result<Output> {
    Ok(apply(spec, &operands)?.into())
}

/// As [`chosen`], into the first operand.
pub(super) fn chosen_in_place(op: &'static str, (spec, operands): Chosen) -> Result<Output> {
    Ok(apply_in_place(spec, op, &operands)?.into())
}

/// The value of an operation, without history.
fn compute(spec: &'static Pointwise, operands: &[Operand]) -> Result<Tensor> {
    let (compute, result) = dtypes(spec, operands)?;
    refuse(spec, compute, operands)?;
    let shape = shape(spec.name, operands)?;
    let layout = operands::layout(operands, &shape).filter(|_| !spec.is_row_major(operands));
    let numbers = || spec.numbers(compute, operands);
    evaluate(spec.name, &spec.traces().forward, (compute, result), numbers, operands, &shape, layout)
}

/// The value of a program in a layout, or in row-major order: it waits where it may.
fn evaluate(
    op: &'static str,
    program: &'static Program,
    (compute, result): (DType, DType),
    numbers: impl FnOnce() -> Numbers,
    operands: &[Operand],
    shape: &[usize],
    layout: Option<Layout>,
) -> Result<Tensor> {
    if may_wait(compute, result, operands, shape) {
        return wait(op, program, (compute, result), operands, shape, layout);
    }
    let output = Tensor::uninitialized(op, shape, result)?;
    let output = match layout {
        Some(layout) => Tensor::new(output.storage().clone(), layout, result, Versioning::fresh()),
        None => output,
    };
    run(op, program, numbers(), operands, &output)?;
    Ok(output)
}

/// A value that waits. In memory it lies in the order of its layout: as far as what waits is concerned, that order is
/// row-major.
fn wait(
    op: &'static str,
    program: &'static Program,
    dtypes: (DType, DType),
    operands: &[Operand],
    shape: &[usize],
    layout: Option<Layout>,
) -> Result<Tensor> {
    let sources = sources_of(program, operands, shape);
    let Some(layout) = layout else { return pending::defer(op, program, dtypes, sources, shape) };
    let order = layout.memory_order();
    let outermost_first = || order.iter().rev().copied();
    let turned = |source| match source {
        Source::Memory { storage, dtype, offset, strides } => {
            let strides = outermost_first().map(|d| strides[d]).collect();
            Source::Memory { storage, dtype, offset, strides }
        }
        number => number,
    };
    let sizes: Shape = outermost_first().map(|d| shape[d]).collect();
    let value = pending::defer(op, program, dtypes, sources.into_iter().map(turned).collect(), &sizes)?;
    Ok(Tensor::new(value.storage().clone(), layout, dtypes.1, Versioning::fresh()))
}

/// Elements that no machine's memory holds.
const UNHELD: usize = 1 << 40;

/// Whether an operation may wait until somebody looks at its result: it is large, computed as floats, and nobody outside
/// can change what it reads.
#[inline]
fn may_wait(compute: DType, result: DType, operands: &[Operand], shape: &[usize]) -> bool {
    // What no memory holds is an error at the call.
    let is_large = || (pending::threshold()..UNHELD).contains(&shape.iter().product());
    let is_ours = |o: &Operand| o.tensor().is_none_or(|t| !t.storage().is_exposed());
    matches!(compute, DType::F32 | DType::F64)
        && (result == DType::Bool || result == compute)
        && is_large()
        && operands.iter().all(is_ours)
}

/// What a program reads of its operands.
fn sources_of(program: &Program, operands: &[Operand], shape: &[usize]) -> SmallVec<[Source; 3]> {
    let source = |(n, o): (usize, &Operand)| match o {
        Operand::Tensor(t) if program.uses_input(n) => Source::of(t, shape),
        Operand::Tensor(_) => Source::Number(Scalar::Int(0)),
        Operand::Number(s) => Source::Number(*s),
    };
    operands.iter().enumerate().map(source).collect()
}

/// Runs a program over tensors into `output`, whose shape the operands broadcast to.
pub(super) fn run(
    op: &'static str,
    program: &Program,
    numbers: Numbers,
    operands: &[Operand],
    output: &Tensor,
) -> Result<()> {
    // Few operands have another shape than the output.
    let mut spread = [const { None }; SOURCES];
    for (strides, t) in spread.iter_mut().zip(operands).filter_map(|(s, o)| Some((s, o.tensor()?))) {
        *strides = (t.shape() != output.shape()).then(|| t.layout().broadcast_to(output.shape()).strides);
    }
    let mut inputs = [Input::Number(Scalar::Int(0)); SOURCES];
    for (n, operand) in operands.iter().enumerate() {
        inputs[n] = match operand {
            Operand::Tensor(t) => {
                let strides = spread[n].as_deref().unwrap_or(t.strides());
                Input::Array { data: t.data_ptr(), dtype: t.dtype(), strides }
            }
            Operand::Number(s) => Input::Number(*s),
        };
    }
    let target = pointwise::Output { data: output.data_ptr(), dtype: output.dtype(), strides: output.strides() };
    let reads = operands.iter().filter_map(|o| o.tensor()).map(|t| (&**t.storage() as &Buffer, false));
    let _access = Access::lock(reads.chain([(&**output.storage(), true)]));
    // SAFETY: the layouts lie in their storages, which are locked; an output that shares a storage with an operand is
    // either that operand itself or does not overlap it, which `inplace` sees to.
    unsafe { pointwise::run(op, program, numbers, &inputs[..operands.len()], &[], &[target], output.shape()) }
}

/// Leaves a node behind where an operand requires a gradient; asked for where gradients are recorded.
#[inline]
fn record(spec: &'static Pointwise, operands: &[Operand], y: &Tensor) -> Result<()> {
    if !y.dtype().is_floating_point() || !operands.iter().filter_map(|o| o.tensor()).any(Tensor::requires_grad) {
        return Ok(());
    }
    let number = spec.form_of(operands);
    let form = spec.form(number);
    let uses = spec.traces().uses;
    let (mut edges, mut inputs, mut kept) = (Edges::new(), 0, 0);
    for n in (0..spec.arity).filter(|n| form.edges & 1 << n != 0) {
        let edge = operands[n].tensor().and_then(Tensor::gradient_edge);
        if edge.is_none() && form.node == NOT_IMPLEMENTED {
            continue;
        }
        kept |= if edge.is_some() { uses[n] } else { 0 };
        inputs |= 1 << n;
        edges.push(edge);
    }
    let derivative = PointwiseDerivative { form: number, inputs, ..PointwiseDerivative::new(spec, operands, y, kept) };
    let node = NodeRef::keeping(derivative, edges, &[(y.shape(), y.dtype())])?;
    y.set_meta(Meta::recorded(node, 0));
    Ok(())
}

/// What an element-wise operation keeps for backward: of its operands and result those that the wanted derivatives
/// read, as the formulas' own programs tell.
#[derive(Clone)]
struct PointwiseDerivative {
    spec: &'static Pointwise,
    saved: [Saved; KEPT],
    /// Which of the operation's forms the node has, and which operands it has edges for, bit by bit.
    form: u8,
    inputs: u8,
}

impl PointwiseDerivative {
    #[inline]
    fn new(spec: &'static Pointwise, operands: &[Operand], y: &Tensor, kept: u8) -> Self {
        let saved = [const { Saved::nothing() }; KEPT];
        let mut this = PointwiseDerivative { spec, saved, form: 0, inputs: 0 };
        let mut next = this.saved.iter_mut();
        let mut keep = |value: Saved, source: usize| {
            // There is no formula that keeps more: see `formula::trace`.
            if let Some(slot) = next.next() {
                *slot = value;
                slot.source = source as u8;
            }
        };
        for (n, operand) in operands.iter().enumerate().filter(|(n, _)| kept & 1 << n != 0) {
            match operand {
                Operand::Tensor(t) => keep(Saved::input(t), n),
                Operand::Number(s) => keep(Saved::number(*s), n),
            }
        }
        if kept & 1 << RESULT != 0 {
            keep(Saved::output(y), RESULT);
        }
        this
    }

    /// What the programs read: gradient, operands, result.
    fn sources<'a>(
        &'a self,
        node: &NodeRef,
        g: &'a Tensor,
        unpacked: &'a mut [Option<Tensor>; KEPT],
    ) -> Result<[Operand<'a>; SOURCES]> {
        let mut sources = [Operand::Number(Scalar::Float(0.0)); SOURCES];
        for (saved, slot) in self.saved.iter().zip(unpacked.iter_mut()).filter(|(saved, _)| saved.source != u8::MAX) {
            sources[1 + saved.source as usize] = match saved.as_number() {
                Some(number) => Operand::Number(Scalar::Float(number)),
                None => Operand::Tensor(slot.insert(saved.unpack(node)?)),
            };
        }
        sources[0] = Operand::Tensor(g);
        Ok(sources)
    }
}

impl Derivative for PointwiseDerivative {
    fn name(&self) -> &'static str {
        self.spec.form(self.form).node
    }

    fn take(&mut self, keep: bool) -> Self {
        // Numbers that the form has for settings stay, as those of all other nodes do.
        let settings = self.spec.form(self.form).numbers;
        let stays = |source: u8| source != u8::MAX && settings & 1 << source != 0;
        let mut taken = |n: usize| {
            let saved: &mut Saved = &mut self.saved[n];
            saved.take(keep || stays(saved.source))
        };
        PointwiseDerivative { saved: [taken(0), taken(1), taken(2)], ..*self }
    }

    fn visit(&mut self, f: &mut dyn FnMut(&mut Saved)) {
        self.saved.iter_mut().filter(|s| s.source != u8::MAX && s.as_number().is_none()).for_each(f);
    }

    fn labelled(&self) -> Vec<(Label, Saved)> {
        let label = |n| if n == RESULT { Label::Result(0) } else { Label::Operand(n) };
        let here = |n: usize| self.saved.iter().find(|s| usize::from(s.source) == n);
        let row = |n| (label(n), here(n).cloned().unwrap_or(Saved::nothing()));
        let edges = self.spec.form(self.form).edges;
        let uses = self.spec.traces().uses.iter().enumerate().filter(|(n, _)| edges & 1 << n != 0);
        let read = uses.fold(0, |bits, (_, uses)| bits | uses);
        let mut all: Vec<_> = (0..=RESULT).filter(|n| read & 1 << n != 0).map(row).collect();
        // Numbers are none of the values that hooks may take.
        all.sort_by_key(|(_, saved)| saved.as_number().is_some() || saved.is_nothing());
        all
    }

    fn settings(&self, _node: &Node) -> Vec<(&'static str, Setting)> {
        // A sum or a difference without a factor has the factor one.
        let factor = match (self.name(), self.spec.arity) {
            ("AddBackward0" | "SubBackward0" | "RsubBackward0" | "RsubBackward1", 2) => {
                Some(("alpha", Setting::Int(1)))
            }
            ("AddcmulBackward0" | "AddcdivBackward0", 3) => Some(("value", Setting::Int(1))),
            _ => None,
        };
        self.spec.tells.iter().cloned().chain(factor).collect()
    }

    fn backward(&mut self, call: &Backward) -> Result<Gradients> {
        if let Some(found) = self.on_one_element(call) {
            return found;
        }
        let g = call.gradient()?;
        let mut unpacked = [const { None }; KEPT];
        let mut sources = self.sources(call.node, &g, &mut unpacked)?;
        let wide = widened(&g, &sources)?;
        if let Some(wide) = &wide {
            sources[0] = Operand::Tensor(wide);
        }
        (0..self.spec.arity)
            .filter(|n| self.inputs & 1 << n != 0)
            .enumerate()
            .map(|(edge, n)| if call.needs(edge) { derive(self.spec, n, &sources).map(Some) } else { Ok(None) })
            .collect()
    }

    const IS_LIGHT: bool = true;
}

/// The gradient in the dtype that the operation was computed in, where its result was written into a tensor of less precision.
fn widened(g: &Tensor, sources: &[Operand; SOURCES]) -> Result<Option<Tensor>> {
    let is_wider = |o: &Operand| o.tensor().is_some_and(|t| t.dtype() != g.dtype() && t.dtype().is_floating_point());
    if !sources[1..].iter().any(is_wider) {
        return Ok(None);
    }
    let tensors: SmallVec<[Operand; SOURCES]> = sources.iter().filter(|o| o.tensor().is_some()).copied().collect();
    cast::to(g, operands::promoted(&tensors)).map(Some)
}

impl PointwiseDerivative {
    /// The direct way on one element, where nothing is recorded.
    #[inline]
    fn on_one_element(&self, call: &Backward) -> Option<Result<Gradients>> {
        let g = call.gradients.first()?.as_ref()?;
        if g.numel() != 1 || g.batch().is_some() || !records_nothing() {
            return None;
        }
        match g.dtype() {
            DType::F32 => self.one::<f32>(g, call),
            DType::F64 => self.one::<f64>(g, call),
            _ => None,
        }
    }

    #[inline]
    fn one<T: Float>(&self, g: &Tensor, call: &Backward) -> Option<Result<Gradients>> {
        let mut values = [T::from_i64(0); OPERANDS + 1];
        for saved in self.saved.iter().filter(|s| s.source != u8::MAX) {
            values[saved.source as usize] = saved.peek(call.node)?;
        }
        let programs = &self.spec.traces().derivatives;
        let last = call.needs.iter().rposition(|&needs| needs);
        let (mut found, mut inputs) = (Gradients::new(), self.inputs);
        while inputs != 0 {
            let n = inputs.trailing_zeros() as usize;
            inputs &= inputs - 1;
            found.push(if !call.needs(found.len()) {
                None
            } else if programs[n].is_input() == Some(0) {
                Some(g.clone())
            } else {
                // Nothing reads the gradient after the last operand's derivative, which then has its memory.
                match small::derivative_of(self.spec, n, g, values, last == Some(found.len())) {
                    Ok(t) => Some(t),
                    Err(error) => return Some(Err(error)),
                }
            });
        }
        Some(Ok(found))
    }
}

/// The gradient of operand `n`, from the gradient of the result, the operands and the result.
pub(super) fn derive(spec: &'static Pointwise, n: usize, sources: &[Operand; SOURCES]) -> Result<Tensor> {
    let Operand::Tensor(g) = sources[0] else {
        return Err(Error::Internal { op: spec.node, what: "a derivative without a gradient".into() });
    };
    let program = &spec.traces().derivatives[n];
    if program.is_input() == Some(0) {
        return Ok(g.clone());
    }
    let has_tangents =
        || forward::is_active() && !forward::levels(sources.iter().filter_map(|o| o.tensor())).is_empty();
    if is_grad_enabled() || has_tangents() {
        if let Some(found) = spec.replay.map_or(Ok(None), |replay| replay(n, sources))? {
            return Ok(found);
        }
        let found = replay::replay(program, sources, g, !spec.forms.is_empty())?;
        return match spec.steps {
            Some(node) => replay::by_steps(node, found, &sources[1..]),
            None => Ok(found),
        };
    }
    let aligned = batch::pointwise(sources, |moved| match moved.try_into() {
        Ok(moved) => derive(spec, n, moved),
        Err(_) => Err(Error::Internal { op: spec.node, what: "sources were lost".into() }),
    });
    if let Some(found) = aligned {
        return found;
    }
    if let Some(found) = small::derivative(spec, n, g, sources) {
        return found;
    }
    // In memory it lies as what it is made of, the gradient first.
    let read = |(n, o): &(usize, &Operand)| o.tensor().is_some() && program.uses_input(*n);
    let read: SmallVec<[Operand; SOURCES]> = sources.iter().enumerate().filter(read).map(|(_, o)| *o).collect();
    let layout = operands::layout(&read, g.shape());
    let numbers = || spec.derivative_numbers(n, g.dtype(), sources);
    evaluate(spec.node, program, (g.dtype(), g.dtype()), numbers, sources, g.shape(), layout)
}

/// Runs an operation into its first operand: `x += y` and its kin.
///
/// # Errors
/// As the operation itself, and where the result does not fit the target, the target is a leaf that requires a
/// gradient, is read-only, or shares elements with itself. The target is unchanged then.
pub fn apply_in_place(spec: &'static Pointwise, op: &'static str, operands: &[Operand]) -> Result<Tensor> {
    if let Some(cheap) = special(spec, operands) {
        return apply_in_place(cheap, op, &operands[..1]);
    }
    let Some(target) = operands.first().and_then(|o| o.tensor()) else {
        return Err(Error::Internal { op, what: "an in-place operation without a target".into() });
    };
    let others: SmallVec<[&Tensor; 3]> = operands[1..].iter().filter_map(|o| o.tensor()).collect();
    if let Some(moved) = batch::in_place(op, target, &others) {
        let moved = moved?;
        let mut values = moved.iter();
        let moved: SmallVec<[Operand; OPERANDS]> =
            operands.iter().map(|o| o.tensor().and_then(|_| values.next()).map_or(*o, Operand::Tensor)).collect();
        apply_in_place(spec, op, &moved)?;
        return Ok(target.clone());
    }
    if matches!(spec.rule, Rule::Bits | Rule::Integer) {
        // That the target does not hold floats comes before that there are no such operations on them.
        cast::check_result(op, operands::promoted(operands), target.dtype())?;
    }
    let (compute, result) = dtypes(spec, operands)?;
    refuse(spec, compute, operands)?;
    cast::check_result(op, result, target.dtype())?;
    let shape = shape(op, operands)?;
    if shape[..] != *target.shape() {
        return Err(Error::InPlaceShape { op, target: target.shape().to_vec(), result: shape.to_vec() });
    }
    inplace::check(op, target)?;
    others.iter().try_for_each(|other| inplace::apart_or_same(op, target, other))?;
    let linked = forward::is_active() || is_recorded(operands.iter().filter_map(|o| o.tensor()));
    if linked && spec.rule == Rule::Compare && target.dtype().is_floating_point() {
        // What is written does not change with what was there: the node hands on zeros.
        let node = spec.form(spec.form_of(operands)).node;
        inplace::assign(target, &self::compute(spec, operands)?, inplace::Origin::Number(node))?;
        return Ok(target.clone());
    }
    if linked && spec.is_differentiable() && target.dtype().is_floating_point() {
        let snapshot = inplace::snapshot(target)?;
        let mut operands: SmallVec<[Operand; OPERANDS]> = operands.into();
        operands[0] = Operand::Tensor(&snapshot);
        // The result is what the target holds of it: it has the target's dtype, and so have its gradients.
        let value = cast::to(&self::compute(spec, &operands)?, target.dtype())?;
        inplace::assign(target, &with_history(spec, &operands, value)?, inplace::Origin::Target)?;
        return Ok(target.clone());
    }
    inplace::counted(target, || overwrite(spec, compute, result, operands, target))?;
    Ok(target.clone())
}

/// Overwrites the first operand, a result that nobody has seen yet: this is no change of it.
pub(super) fn finish(spec: &'static Pointwise, operands: &[Operand], target: &Tensor) -> Result<()> {
    let (compute, result) = dtypes(spec, operands)?;
    overwrite(spec, compute, result, operands, target)
}

/// The unrecorded in-place operation: straight into the target, after copies of what overlaps it otherwise than
/// element on element.
fn overwrite(
    spec: &'static Pointwise,
    compute: DType,
    result: DType,
    operands: &[Operand],
    target: &Tensor,
) -> Result<()> {
    if result != target.dtype() {
        let value = self::compute(spec, operands)?;
        return copy::write(target, &value);
    }
    if small::overwrite(spec, operands, target) {
        return Ok(());
    }
    let program = &spec.traces().forward;
    let waits = |o: &Operand| o.tensor().is_some_and(Tensor::is_pending);
    if operands[1..].iter().any(waits)
        && may_wait(compute, result, operands, target.shape())
        && pending::run_into(spec.name, program, sources_of(program, operands, target.shape()), target)?
    {
        return Ok(());
    }
    let copies: SmallVec<[Option<Tensor>; OPERANDS]> = operands
        .iter()
        .map(|o| match o.tensor() {
            Some(t) if inplace::overlaps(t, target) => copy::contiguous_copy(t).map(Some),
            _ => Ok(None),
        })
        .collect::<Result<_>>()?;
    let safe: SmallVec<[Operand; OPERANDS]> =
        operands.iter().zip(&copies).map(|(o, c)| c.as_ref().map_or(*o, Operand::Tensor)).collect();
    run(spec.name, program, spec.numbers(compute, &safe), &safe, target)
}

/// Adds a gradient into a sum, unrecorded.
///
/// # Errors
/// Where the gradient does not fit the sum: the leaf was given data of another shape since.
#[inline]
pub(crate) fn add_into(sum: &Tensor, gradient: &Tensor) -> Result<()> {
    if sum.shape() != gradient.shape() || sum.dtype() != gradient.dtype() {
        let operands = [Operand::Tensor(sum), Operand::Tensor(gradient)];
        return apply_in_place(super::arithmetic::Add::spec(), "add_", &operands).map(drop);
    }
    let one = |t: &Tensor| t.numel() == 1 && t.dtype() == sum.dtype() && t.batch().is_none();
    let one = one(sum) && one(gradient);
    match sum.dtype() {
        DType::F32 if one => small::poke(sum, small::peek::<f32>(sum) + small::peek::<f32>(gradient)),
        DType::F64 if one => small::poke(sum, small::peek::<f64>(sum) + small::peek::<f64>(gradient)),
        dtype => {
            let operands = [Operand::Tensor(sum), Operand::Tensor(gradient)];
            overwrite(super::arithmetic::Add::spec(), dtype, dtype, &operands, sum)?;
        }
    }
    sum.storage().bump(sum.versioning());
    Ok(())
}
