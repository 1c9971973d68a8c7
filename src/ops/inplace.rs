//! Changes in place: what is allowed, and how history is rewritten.

use smallvec::smallvec;

use super::registry::operation;
use super::{copy, pointwise, window};
use crate::error::{Error, Result};
use crate::graph::arena::NodeRef;
use crate::graph::forward;
use crate::graph::meta::Meta;
use crate::graph::mode::{is_grad_enabled, is_inference_mode_enabled};
use crate::graph::node::{Edge, Node};
use crate::tensor::Tensor;
use crate::tensor::layout;
use crate::tensor::scalar::Scalar;

operation! {
    /// Writes the elements of another tensor, broadcast and converted, into this one. The gradient goes to the source.
    ///
    /// >>> ferrograd.zeros(2, 2).copy_(ferrograd.tensor([1.0, 2.0]))
    /// tensor([[1., 2.],
    ///         [1., 2.]])
    function ["copy_(Tensor self, Tensor src)"], |_, a| Ok(copy_(a.tensor(0)?, a.tensor(1)?)?.into())
}

operation! {
    /// Writes one number into every element.
    ///
    /// >>> ferrograd.zeros(2).fill_(7)
    /// tensor([7., 7.])
    function ["fill_(Tensor self, Operand value)"], |_, a| {
        let x = a.tensor(0)?;
        Ok(match a.operand(1)? {
            super::formula::Operand::Number(value) => fill_(x, value)?,
            super::formula::Operand::Tensor(t) if t.rank() == 0 => copy_(x, t)?,
            super::formula::Operand::Tensor(t) => return Err(Error::Rank {
                op: "fill_", expected: "a number or a tensor without dimensions", shape: t.shape().to_vec(),
            }),
        }.into())
    }
}

operation! {
    /// Writes zero into every element.
    ///
    /// >>> ferrograd.ones(2).zero_()
    /// tensor([0., 0.])
    function ["zero_(Tensor self)"], |_, a| Ok(fill_(a.tensor(0)?, Scalar::Int(0))?.into())
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
    let shape: Vec<isize> = shape.iter().map(|&s| s as isize).collect();
    assign(target, &super::view::expand(source, &shape)?, Some("CopyBackwards"))?;
    Ok(target.clone())
}

/// Writes one number into every element.
///
/// # Errors
/// As [`check`].
pub fn fill_(target: &Tensor, value: Scalar) -> Result<Tensor> {
    if let Some(batch) = target.batch() {
        fill_(&batch.value, value)?;
        return Ok(target.clone());
    }
    check("fill_", target)?;
    let name = if value == Scalar::Int(0) { "ZeroBackward0" } else { "FillBackward0" };
    assign(target, &Tensor::scalar(value, target.dtype())?, Some(name))?;
    Ok(target.clone())
}

/// Whether `target` may be changed in place.
///
/// # Errors
/// For leaves that require a gradient while gradients are recorded, views of them, views that cannot be rebased,
/// read-only memory, and tensors whose elements share memory.
pub fn check(op: &'static str, target: &Tensor) -> Result<()> {
    if target.storage().is_read_only() {
        return Err(Error::ReadOnly { op });
    }
    if !target.layout().is_non_overlapping() {
        return Err(Error::Overlap { op });
    }
    if target.is_inference() && !is_inference_mode_enabled() {
        return Err(Error::InPlaceInference { op });
    }
    if !is_grad_enabled() || !target.requires_grad() {
        return Ok(());
    }
    match target.view_of() {
        None if target.is_leaf() => Err(Error::InPlaceLeaf { op }),
        Some(view) if view.base.requires_grad() && view.base.is_leaf() => Err(Error::InPlaceLeafView { op }),
        Some(view) if !view.writable => {
            let edge = target.grad_fn();
            let (output, node) = edge.map_or((0, "a view"), |e| (e.output as usize, e.node.name()));
            Err(Error::InPlaceMultiView { op, output, node })
        }
        _ => Ok(()),
    }
}

/// Writes `value` (broadcast) into `target`, and gives target the history of the value; a view hands it on to its base.
/// Where the value does not come from the target itself, `overwrites` names the node that says so. [`check`] was passed.
pub(crate) fn assign(target: &Tensor, value: &Tensor, overwrites: Option<&'static str>) -> Result<()> {
    let safe = if overlaps(value, target) || value.storage().same(target.storage()) {
        copy::contiguous_copy(value)?
    } else {
        value.clone()
    };
    let recorded =
        is_grad_enabled() && target.dtype().is_floating_point() && (value.requires_grad() || target.requires_grad());
    let value_edge = if recorded { history(value, target)? } else { None };
    let before = match target.view_of() {
        _ if !recorded => None,
        Some(view) if view.writable => view.base.gradient_edge(),
        _ => target.gradient_edge(),
    };
    let tangents = if forward::is_active() { tangents(target, value)? } else { Vec::new() };
    copy::write(target, &safe)?;
    target.storage().bump(target.versioning());
    for (level, holder, tangent) in tangents {
        holder.set_tangent(level, tangent);
    }
    if !recorded {
        return Ok(());
    }
    match target.view_of() {
        Some(view) if view.writable => {
            let base = &view.base;
            let node = window::splice_node(base.layout(), target.layout(), before, value_edge, base.dtype());
            base.set_history(Edge { node, output: 0 });
        }
        _ => {
            let edge = match (overwrites, value_edge) {
                (None, Some(edge)) => edge,
                (name, value_edge) => {
                    let derivative = window::Overwrite { name: name.unwrap_or("CopyBackwards") };
                    let edges = smallvec![before, value_edge];
                    let node = NodeRef::new(Node::new(derivative, edges, target.shape(), target.dtype()));
                    Edge { node, output: 0 }
                }
            };
            target.set_history(edge);
        }
    }
    Ok(())
}

/// What becomes of the tangents where `value` is written into `target`: the level, the tensor that holds the tangent (for
/// a view also its base), and the tangent.
fn tangents(target: &Tensor, value: &Tensor) -> Result<Vec<(usize, Tensor, Option<Tensor>)>> {
    let base = target.view_of().filter(|v| v.writable).map(|v| &v.base);
    let mut all = Vec::new();
    for level in forward::levels([target, value].into_iter().chain(base)) {
        let new = value.tangent(level)?.map(|t| forward::spread(&t, target)).transpose()?;
        if let Some(base) = base {
            let seen = window::Window::new(base.layout(), target.layout());
            let around = base.tangent(level)?.map(|t| window::cleared(&t, &seen)).transpose()?;
            let within = new.as_ref().map(|t| window::embed(t, &seen)).transpose()?;
            let whole = match (around, within) {
                (Some(a), Some(b)) => Some(super::arithmetic::add(&a, &b)?),
                (a, b) => a.or(b),
            };
            all.push((level, base.clone(), whole));
        }
        all.push((level, target.clone(), new));
    }
    Ok(all)
}

/// Gives a tensor that was changed in place a new history; a view hands it on to its base.
pub fn rebase(target: &Tensor, edge: Edge) {
    let Some(view) = target.view_of().filter(|v| v.writable) else { return target.set_history(edge) };
    let base = &view.base;
    let node = window::splice_node(base.layout(), target.layout(), base.gradient_edge(), Some(edge), base.dtype());
    base.set_history(Edge { node, output: 0 });
}

/// The history of a value as `target` holds it: broadcast and cast.
fn history(value: &Tensor, target: &Tensor) -> Result<Option<Edge>> {
    let shape: Vec<isize> = target.shape().iter().map(|&s| s as isize).collect();
    let value = super::cast::to(&super::view::expand(value, &shape)?, target.dtype())?;
    Ok(value.gradient_edge())
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

/// True where two tensors share memory otherwise than element on element.
pub(super) fn overlaps(a: &Tensor, b: &Tensor) -> bool {
    let same = a.layout() == b.layout() && a.dtype() == b.dtype();
    let extent = |t: &Tensor| {
        let size = t.dtype().size();
        (t.layout().offset * size, t.layout().end() * size)
    };
    let ((a_start, a_end), (b_start, b_end)) = (extent(a), extent(b));
    let base = |t: &Tensor| t.storage().as_ptr() as usize;
    let shares = base(a) + a_start < base(b) + b_end && base(b) + b_start < base(a) + a_end;
    shares && !(same && a.storage().same(b.storage()))
}

/// The in-place form of an element-wise operation.
macro_rules! in_place {
    ($($(#[doc = $doc:literal])* $name:ident: $T:path, [$($signature:literal),+];)*) => {$(
        operation! {
            $(#[doc = $doc])*
            function [$($signature),+], |_, a| {
                let operands: Result<smallvec::SmallVec<[super::formula::Operand; 3]>> =
                    (0..<$T>::spec().arity).map(|n| a.operand(n)).collect();
                Ok(pointwise::apply_in_place(<$T>::spec(), stringify!($name), &operands?)?.into())
            }
        }
    )*};
}

in_place! {
    /// `self += other`, in place.
    add_: super::arithmetic::Add, ["add_(Tensor self, Operand other)"];
    /// `self -= other`, in place.
    sub_: super::arithmetic::Sub, ["sub_(Tensor self, Operand other)"];
    /// `self *= other`, in place.
    mul_: super::arithmetic::Mul, ["mul_(Tensor self, Operand other)"];
    /// `self /= other`, in place.
    div_: super::arithmetic::Div, ["div_(Tensor self, Operand other)"];
    /// `self //= other`, in place.
    floor_divide_: super::arithmetic::FloorDivide, ["floor_divide_(Tensor self, Operand other)"];
    /// `self %= other`, in place.
    remainder_: super::arithmetic::Remainder, ["remainder_(Tensor self, Operand other)"];
    /// `self **= exponent`, in place.
    pow_: super::arithmetic::Pow, ["pow_(Tensor self, Operand exponent)"];
    /// Negative, in place.
    neg_: super::arithmetic::Neg, ["neg_(Tensor self)"];
    /// Square, in place.
    square_: super::arithmetic::Square, ["square_(Tensor self)"];
    /// Absolute value, in place.
    abs_: super::unary::Abs, ["abs_(Tensor self)"];
    /// Exponential, in place.
    exp_: super::unary::Exp, ["exp_(Tensor self)"];
    /// Natural logarithm, in place.
    log_: super::unary::Log, ["log_(Tensor self)"];
    /// Square root, in place.
    sqrt_: super::unary::Sqrt, ["sqrt_(Tensor self)"];
    /// Sine, in place.
    sin_: super::unary::Sin, ["sin_(Tensor self)"];
    /// Cosine, in place.
    cos_: super::unary::Cos, ["cos_(Tensor self)"];
    /// Hyperbolic tangent, in place.
    tanh_: super::unary::Tanh, ["tanh_(Tensor self)"];
    /// Logistic function, in place.
    sigmoid_: super::unary::Sigmoid, ["sigmoid_(Tensor self)"];
    /// Rectifier, in place.
    relu_: super::unary::Relu, ["relu_(Tensor self)"];
    /// Lower bound, in place.
    clamp_min_: super::compare::ClampMin, ["clamp_min_(Tensor self, Operand min)"];
    /// Upper bound, in place.
    clamp_max_: super::compare::ClampMax, ["clamp_max_(Tensor self, Operand max)"];
}

operation! {
    /// `min(max(self, min), max)`, in place, with either bound or both.
    function ["clamp_(Tensor self, Operand? min=None, Operand? max=None)"], |_, a| {
        let x: super::formula::Operand = a.tensor(0)?.into();
        let (spec, operands): (_, smallvec::SmallVec<[_; 3]>) = match (a.maybe_operand(1)?, a.maybe_operand(2)?) {
            (Some(low), Some(high)) => (super::compare::Clamp::spec(), smallvec![x, low, high]),
            (Some(low), None) => (super::compare::ClampMin::spec(), smallvec![x, low]),
            (None, Some(high)) => (super::compare::ClampMax::spec(), smallvec![x, high]),
            (None, None) => return Err(Error::Signature {
                op: "clamp_", given: "no bounds".into(), expected: "at least one of min and max".into(),
            }),
        };
        Ok(pointwise::apply_in_place(spec, "clamp_", &operands)?.into())
    }
}
