//! Changes in place: what is allowed, and how history is rewritten.

use smallvec::smallvec;

use super::formula::Operand;
use super::registry::operation;
use super::{batch, copy, window};
use crate::error::{Error, Result};
use crate::graph::arena::NodeRef;
use crate::graph::cycles;
use crate::graph::forward;
use crate::graph::meta::{Meta, is_recorded};
use crate::graph::mode::{is_grad_enabled, is_inference_mode_enabled};
use crate::graph::node::Edge;
use crate::graph::transform;
use crate::tensor::dtype::DType;
use crate::tensor::layout;
use crate::tensor::scalar::Scalar;
use crate::tensor::{Bond, Tensor, ViewOf};

operation! {
    /// Writes the elements of another tensor, broadcast and converted, into this one. The gradient goes to the source.
    ///
    /// Shapes: `src` broadcasts to the tensor's.
    ///
    /// >>> ferrograd.zeros(2, 2).copy_(ferrograd.tensor([1.0, 2.0]))
    /// tensor([[1., 2.],
    ///         [1., 2.]])
    function Noted(Any -> First), ["Tensor.copy_(Tensor self, Operand src, bool non_blocking=False)"], |_, a| {
        let number = |n: Scalar| {
            let is_wide = matches!(n, Scalar::Float(_) | Scalar::Unsigned(_));
            Tensor::scalar(n, if is_wide { DType::F64 } else { n.dtype() })
        };
        Ok(match a.operand(1)? {
            Operand::Tensor(src) => copy_(a.tensor(0)?, src)?,
            Operand::Number(n) => copy_(a.tensor(0)?, &number(n)?)?,
        }.into())
    }
}

operation! {
    /// Writes zero into every element.
    ///
    /// >>> ferrograd.ones(2).zero_()
    /// tensor([0., 0.])
    function Same(Any -> Kept), ["zero_(Tensor self)"], |_, a| Ok(filled("zero_", "ZeroBackward0", a.tensor(0)?, Scalar::Int(0))?.into())
}

/// Writes another tensor's elements into `target`.
///
/// # Errors
/// For shapes that do not broadcast to the target's, and as [`check`].
pub fn copy_(target: &Tensor, source: &Tensor) -> Result<Tensor> {
    const OP: &str = "copy_";
    if let Some(moved) = super::batch::in_place(OP, target, &[source]) {
        let moved = moved?;
        copy_(&moved[0], &moved[1])?;
        return Ok(target.clone());
    }
    let shape = layout::broadcast(OP, target.shape(), source.shape())?;
    if shape[..] != *target.shape() {
        return Err(Error::InPlaceShape { op: OP, target: target.shape().to_vec(), result: shape.to_vec() });
    }
    check(OP, target)?;
    apart_or_same(OP, target, source)?;
    assign(target, source, Origin::Tensor("CopyBackwards"))?;
    Ok(target.clone())
}

/// Writes one number into every element.
///
/// # Errors
/// As [`check`].
pub fn fill_(target: &Tensor, value: Scalar) -> Result<Tensor> {
    filled("fill_", "FillBackward2", target, value)
}

fn filled(op: &'static str, node: &'static str, target: &Tensor, value: Scalar) -> Result<Tensor> {
    if let Some(batch) = target.batch() {
        filled(op, node, &batch.value, value)?;
        return Ok(target.clone());
    }
    check_filled(op, target)?;
    value.check_fits(op, target.dtype())?;
    assign(target, &Tensor::scalar(value, target.dtype())?, Origin::Number(node))?;
    Ok(target.clone())
}

/// Writes the element of a tensor without dimensions into every element.
///
/// # Errors
/// As [`check`].
pub(super) fn fill_with(target: &Tensor, value: &Tensor) -> Result<Tensor> {
    if target.batch().is_some() || value.batch().is_some() {
        return copy_(target, value);
    }
    check("fill_", target)?;
    assign(target, value, Origin::Tensor("FillBackward3"))?;
    Ok(target.clone())
}

/// Writes into `target` what `f` makes of it and of `others`, with the history of that.
///
/// # Errors
/// What `f` raises, where its result does not fit the target, and as [`check`]. The target is unchanged then.
pub(super) fn apply(
    op: &'static str,
    target: &Tensor,
    others: &[&Tensor],
    f: &dyn Fn(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let Some(batch) = target.batch() else {
        check(op, target)?;
        // What is recorded may keep its inputs as they were.
        let linked = forward::is_active() || is_recorded(others.iter().copied().chain([target]));
        let value = if linked { f(&snapshot(target)?)? } else { f(target)? };
        if value.batch().is_some() {
            return Err(Error::BatchedInPlace { op });
        }
        super::cast::check_result(op, value.dtype(), target.dtype())?;
        if value.shape() != target.shape() {
            let (target, result) = (target.shape().to_vec(), value.shape().to_vec());
            return Err(Error::InPlaceShape { op, target, result });
        }
        assign(target, &value, Origin::Target)?;
        return Ok(target.clone());
    };
    let level = batch.level;
    let value = f(target)?;
    match value.batch() {
        Some(found) if found.level == level => {
            apply(op, &batch.value, &[], &|_| Ok(found.value.clone()))?;
            Ok(target.clone())
        }
        _ => Err(Error::BatchedInPlace { op }),
    }
}

/// Where the value that a tensor is overwritten with comes from; with the name of the node that says so, unless the
/// value's own node does.
#[derive(Clone, Copy)]
pub(crate) enum Origin {
    /// From the tensor itself, by an operation in place.
    Target,
    /// From another tensor.
    Tensor(&'static str),
    /// From a number.
    Number(&'static str),
}

/// Whether `target` may be changed in place.
///
/// # Errors
/// For leaves that require a gradient while gradients are recorded, views of them, views that cannot be rebased,
/// read-only memory, tensors whose elements share memory, and what the function of a transform has from outside.
pub fn check(op: &'static str, target: &Tensor) -> Result<()> {
    check_apart(op, target)?;
    check_writable(op, target)
}

/// Whether each element of `target` has memory of its own.
///
/// # Errors
/// Where some share it.
pub(crate) fn check_apart(op: &'static str, target: &Tensor) -> Result<()> {
    if target.layout().is_non_overlapping() { Ok(()) } else { Err(Error::Overlap { op }) }
}

/// As [`check`] for a write of one number everywhere, which elements may share that stand outside of the graph.
fn check_filled(op: &'static str, target: &Tensor) -> Result<()> {
    if is_grad_enabled() && target.requires_grad() { check(op, target) } else { check_writable(op, target) }
}

/// Whether statistics that an operation keeps beside its work may move to new ones, which have no history: also where the function
/// of a transform has them from outside, but not to those of examples.
///
/// # Errors
/// As [`check`] otherwise.
pub(super) fn check_statistics(op: &'static str, target: &Tensor, new: &Tensor) -> Result<()> {
    check_apart(op, target)?;
    let own = batch::levels(target);
    if batch::levels(new).iter().any(|(level, _)| own.iter().all(|(other, _)| level != other)) {
        return Err(Error::BatchedInPlace { op });
    }
    check_memory(op, target)?;
    check_history(op, target)
}

/// Whether the memory and the history of `target` may be changed.
///
/// # Errors
/// As [`check`], but for elements that share memory.
pub(super) fn check_writable(op: &'static str, target: &Tensor) -> Result<()> {
    check_memory(op, target)?;
    if transform::is_captured(target.storage()) {
        return Err(Error::InPlaceCaptured { op });
    }
    check_history(op, target)
}

/// Whether the memory of `target` may be changed in the present mode.
fn check_memory(op: &'static str, target: &Tensor) -> Result<()> {
    if target.storage().is_read_only() {
        return Err(Error::ReadOnly { op });
    }
    check_inference(op, target)
}

/// Whether `target` may be changed in the present mode.
///
/// # Errors
/// For tensors made in inference mode, outside of it.
pub(super) fn check_inference(op: &'static str, target: &Tensor) -> Result<()> {
    if target.is_inference() && !is_inference_mode_enabled() {
        return Err(Error::InPlaceInference { op });
    }
    Ok(())
}

/// Whether the history of `target` may be rewritten.
///
/// # Errors
/// For leaves that require a gradient while gradients are recorded, views of them, and views that cannot be rebased.
pub(super) fn check_history(op: &'static str, target: &Tensor) -> Result<()> {
    if !is_grad_enabled() {
        return Ok(());
    }
    if !target.requires_grad() {
        return Ok(());
    }
    match target.view_of() {
        None if target.is_leaf() => Err(Error::InPlaceLeaf { op }),
        Some(view) if !view.is_writable() => Err(unwritable(op, target, view)),
        Some(view) if view.base.is_leaf() => Err(Error::InPlaceLeafView { op }),
        _ => Ok(()),
    }
}

/// Why a view cannot be changed in place.
fn unwritable(op: &'static str, target: &Tensor, view: &ViewOf) -> Error {
    const SEVERAL: &str = "is the output of a function that returns multiple views";
    const WITHIN_NO_GRAD: &str = "is a view of a view which was created in no_grad mode and is being modified in grad mode: move both inside the no_grad block, or both outside";
    const WITHIN_INFERENCE: &str = "is a view of a view which was created in inference mode and is being modified in normal mode: move both inside the inference_mode block, or both outside";
    const FUNCTION: &str = "was created inside a custom Function (or because an input was returned as-is)";
    match target.grad_fn().filter(|_| target.strayed().is_none()) {
        Some(edge) => {
            let several = view.bond == Bond::Follows || edge.node.output_count() > 1;
            let origin = match view.bond {
                _ if several => SEVERAL,
                // The view behind it was made so, and asks for gradients itself.
                _ if is_made_by_function(&edge.node) => FUNCTION,
                Bond::Inference => WITHIN_INFERENCE,
                _ => WITHIN_NO_GRAD,
            };
            Error::InPlaceMultiView { op, output: edge.output as usize, node: edge.node.name(), origin }
        }
        None if view.bond == Bond::Follows => {
            Error::InPlaceMultiView { op, output: 0, node: "a view", origin: SEVERAL }
        }
        None => {
            let mode = if view.bond == Bond::Inference { "inference" } else { "no_grad" };
            Error::InPlaceUnrecordedView { op, mode }
        }
    }
}

/// True where a custom function made the view that has this node, or the view that it is a view of.
fn is_made_by_function(node: &NodeRef) -> bool {
    let mut node = node.clone();
    while !node.is_host_function() {
        let [Some(behind)] = node.edges() else { return false };
        let behind = behind.node.clone();
        node = behind;
    }
    true
}

/// As [`check_history`], where what will be written has a history: a base that shares the memory must be told.
///
/// # Errors
/// As [`check_history`], and for all views that cannot be rebased.
pub(crate) fn check_recorded(op: &'static str, target: &Tensor) -> Result<()> {
    match target.view_of() {
        Some(view) if !view.is_writable() && !target.requires_grad() => Err(unwritable(op, target, view)),
        _ => check_history(op, target),
    }
}

/// Lets `write` change all elements of `target` to what does not depend on them or on other tensors.
///
/// # Errors
/// As [`check`], and what `write` raises.
pub(super) fn overwrite(
    op: &'static str,
    node: &'static str,
    target: &Tensor,
    write: impl FnOnce() -> Result<()>,
) -> Result<()> {
    check(op, target)?;
    changed(target, &Tensor::scalar(0i64, target.dtype())?, Origin::Number(node), write)
}

/// Changes `target` by an operation that writes into its memory: `record` links the operation to the tensor that it is
/// given, which stands for the result. [`check`] was passed.
pub(super) fn update(
    target: &Tensor,
    record: impl FnOnce(&Tensor) -> Result<()>,
    write: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let result = target.detach();
    record(&result)?;
    changed(target, &result, Origin::Target, write)
}

/// Writes `value` (broadcast) into `target`, and gives target the history of the value; a view hands it on to its base.
/// [`check`] was passed.
pub(crate) fn assign(target: &Tensor, value: &Tensor, origin: Origin) -> Result<()> {
    let safe = if overlaps(value, target) || value.storage().same(target.storage()) {
        copy::contiguous_copy(value)?
    } else {
        value.clone()
    };
    changed(target, value, origin, || copy::move_into(target, &safe))
}

/// A value that is written where it already is, as at the end of `x[i] += 1`: counted and recorded as every other one.
///
/// # Errors
/// As [`check`].
pub(super) fn written_already(target: &Tensor, value: &Tensor) -> Result<()> {
    check("copy_", target)?;
    changed(target, value, Origin::Tensor("CopyBackwards"), || Ok(()))
}

/// Runs `write`, which changes the memory of `target`, and counts the change, also where it ends in its midst.
pub(super) fn counted(target: &Tensor, write: impl FnOnce() -> Result<()>) -> Result<()> {
    struct Half<'a>(&'a Tensor);
    impl Drop for Half<'_> {
        fn drop(&mut self) {
            self.0.storage().bump(self.0.versioning());
        }
    }
    let half = Half(target);
    match write() {
        Ok(()) => drop(half),
        Err(error) => {
            std::mem::forget(half);
            return Err(error);
        }
    }
    Ok(())
}

/// Runs `write`, which changes the memory of `target`, and gives target the history of `value`.
fn changed(target: &Tensor, value: &Tensor, origin: Origin, write: impl FnOnce() -> Result<()>) -> Result<()> {
    let recorded =
        is_grad_enabled() && target.dtype().is_floating_point() && (value.requires_grad() || target.requires_grad());
    let written = if recorded { Some(history(target, value, origin)?) } else { None };
    let tangents = if forward::is_active() { tangents(target, value, origin)? } else { Vec::new() };
    counted(target, write)?;
    for (level, holder, tangent) in tangents {
        holder.set_tangent(level, tangent);
    }
    if let Some((changed, edge)) = written {
        cycles::note(&edge.node);
        changed.set_history(edge);
    }
    Ok(())
}

/// What becomes of the tangents where `value` is written into `target`: the level, the tensor that holds the tangent (for
/// a view also that whose tangents it shows), and the tangent.
fn tangents(target: &Tensor, value: &Tensor, origin: Origin) -> Result<Vec<(usize, Tensor, Option<Tensor>)>> {
    let base = target.view_of().and_then(|view| view.of_tangents()).map(Tensor::as_laid_out);
    let base = base.as_ref();
    let mut all = Vec::new();
    for level in forward::levels([target, value].into_iter().chain(base)) {
        let new = value.tangent(level)?.map(|t| forward::spread(&t, target)).transpose()?;
        // The result of an operation is nobody's beside the target.
        let new = match origin {
            Origin::Tensor(_) => new.map(|t| forward::own(t, [value], target, level)).transpose()?,
            Origin::Target | Origin::Number(_) => new,
        };
        if let Some(base) = base {
            let seen = window::Window::new(base.layout(), target.layout());
            let around = base.tangent(level)?;
            if around.is_none() && target.tangent(level)?.is_some() && target.numel() < base.numel() {
                // The tangent around the window is another view's, which the base knows nothing of.
                let what = "changing a part of a dual tensor that has a history in place".to_string();
                return Err(Error::NotImplemented { op: "copy_", what });
            }
            let around = around.map(|t| window::cleared(&t, &seen)).transpose()?;
            let within = new.as_ref().map(|t| window::embed(t, &seen)).transpose()?;
            let whole = match (around, within) {
                (Some(a), Some(b)) => Some(super::arithmetic::add(&a, &b)?),
                (a, b) => a.or(b),
            };
            let part = match &whole {
                Some(whole) if whole.is_contiguous() && base.is_contiguous() => Some(window::extract(whole, &seen)?),
                _ => new,
            };
            all.push((level, base.clone(), whole));
            all.push((level, target.clone(), part));
        } else {
            all.push((level, target.clone(), new));
        }
    }
    Ok(all)
}

/// Gives a tensor that was changed in place a new history; a view hands it on to its base.
pub fn rebase(target: &Tensor, edge: Edge) {
    let Some(view) = target.view_of().filter(|v| v.is_writable()) else { return target.set_history(edge) };
    let base = &view.base.as_laid_out();
    let edges = smallvec![base.gradient_edge(), Some(edge)];
    let node = window::splice_node(base.layout(), target.layout(), edges, base.dtype());
    base.set_history(Edge { node, output: 0 });
}

/// The tensor whose history a write into `target` changes, itself or its base, and its new history.
fn history(target: &Tensor, value: &Tensor, origin: Origin) -> Result<(Tensor, Edge)> {
    // The engine sums the gradient over what was broadcast, and casts it.
    let value = match origin {
        Origin::Target => super::cast::to(value, target.dtype())?.gradient_edge(),
        _ => value.gradient_edge(),
    };
    let op = match (origin, &value) {
        (Origin::Tensor(name) | Origin::Number(name), _) => name,
        (Origin::Target, edge) => edge.as_ref().map_or("copy_", |e| e.node.name()),
    };
    check_recorded(op, target)?;
    if let Some(view) = target.view_of().filter(|v| v.is_writable()) {
        let base = view.base.as_laid_out();
        let operation = value.as_ref().filter(|_| matches!(origin, Origin::Target));
        let node = match operation.filter(|o| starts_from(o, target)) {
            Some(o) => window::applied_node(&base, target.layout(), o),
            None => {
                let edges = match origin {
                    Origin::Number(_) => smallvec![base.gradient_edge()],
                    _ => smallvec![base.gradient_edge(), value],
                };
                window::splice_node(base.layout(), target.layout(), edges, base.dtype())
            }
        };
        return Ok((base, Edge { node, output: 0 }));
    }
    let (name, edges) = match (origin, value) {
        (Origin::Target, Some(edge)) => return Ok((target.clone(), edge)),
        (Origin::Target, None) => ("CopyBackwards", smallvec![target.gradient_edge(), None]),
        (Origin::Tensor(name), value) => (name, smallvec![target.gradient_edge(), value]),
        (Origin::Number(name), _) => (name, smallvec![target.gradient_edge()]),
    };
    let node = NodeRef::new(window::Overwrite { name }, edges, target.shape(), target.dtype());
    Ok((target.clone(), Edge { node, output: 0 }))
}

/// True where an operation's first input is `target` as it was, and any thread may run its derivative.
fn starts_from(operation: &Edge, target: &Tensor) -> bool {
    if operation.node.calls_host() {
        return false;
    }
    match (operation.node.edges().first(), target.gradient_edge()) {
        (Some(Some(first)), Some(before)) => first.node.same(&before.node),
        (Some(None), None) => true,
        _ => false,
    }
}

/// The elements as they are before a change in place, with their history: what a derivative may keep.
pub(super) fn snapshot(target: &Tensor) -> Result<Tensor> {
    let copy = copy::clone_as(target, target)?;
    if let Some(edge) = target.gradient_edge() {
        copy.set_meta(Meta::recorded(edge.node, edge.output));
    }
    if forward::is_active() {
        copy.copy_tangents(target)?;
    }
    Ok(copy)
}

/// True where the memory of two tensors, from the first element to the last, meets.
fn meets(a: &Tensor, b: &Tensor) -> bool {
    // Blocks of our own are apart; those that are known outside can be the same memory.
    let may_meet = a.storage().same(b.storage()) || a.storage().is_exposed() && b.storage().is_exposed();
    if !may_meet {
        return false;
    }
    let extent = |t: &Tensor| {
        let size = t.dtype().size();
        let start = t.storage().as_ptr() as usize;
        (start + t.layout().offset * size, start + t.layout().end() * size)
    };
    let ((a_start, a_end), (b_start, b_end)) = (extent(a), extent(b));
    a_start < b_end && b_start < a_end
}

/// True where two tensors share memory otherwise than element on element.
pub(super) fn overlaps(a: &Tensor, b: &Tensor) -> bool {
    meets(a, b) && !a.has_elements_of(b)
}

/// What an operation reads while it writes into `target`: the tensor, or a copy where the two share memory and cannot be
/// told apart.
///
/// # Errors
/// Where both are without gaps and share memory.
pub(super) fn apart(op: &'static str, target: &Tensor, other: &Tensor) -> Result<Tensor> {
    if !meets(target, other) {
        return Ok(other.clone());
    }
    if target.layout().is_dense() && other.layout().is_dense() {
        return Err(Error::SharedMemory { op });
    }
    copy::contiguous_copy(other)
}

/// As [`apart`], for operations that read an element before they write the same one.
///
/// # Errors
/// Where both are without gaps and share a part of their memory.
pub(crate) fn apart_or_same(op: &'static str, target: &Tensor, other: &Tensor) -> Result<()> {
    let dense = || target.layout().is_dense() && other.layout().is_dense();
    let shifted = || {
        let start = |t: &Tensor| t.storage().as_ptr() as usize + t.layout().offset * t.dtype().size();
        start(target) != start(other) || target.numel() * target.dtype().size() != other.numel() * other.dtype().size()
    };
    if meets(target, other) && dense() && shifted() { Err(Error::SharedMemory { op }) } else { Ok(()) }
}
