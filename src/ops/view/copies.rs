//! What views show, as copies in row-major order with nodes of their own.

use super::split::Parts;
use super::{Back, ViewDerivative, alias, bounded, inferred, reshape, slice, view_dtype};
use crate::error::{Error, Result};
use crate::ops::copy::{clone_contiguous, contiguous_copy};
use crate::ops::recorded::{is_linked, link, link_all};
use crate::ops::registry::{Output, operation};
use crate::tensor::Tensor;
use crate::tensor::layout::{Layout, wrap_existing_dim};

/// The names of the nodes of copies, which torch makes of those of views.
macro_rules! copies {
    ($($name:literal)*) => {
        fn copy_of(name: &'static str) -> &'static str {
            match name {
                $($name => concat!($name, "_copy"),)*
                other => other,
            }
        }
    };
}

copies! {
    "AliasBackward0" "AsStridedBackward0" "DiagonalBackward0" "ExpandBackward0" "PermuteBackward0" "SelectBackward0"
    "SliceBackward0" "SplitBackward0" "SplitWithSizesBackward0" "SqueezeBackward0" "SqueezeBackward1" "SqueezeBackward2"
    "TBackward0" "TransposeBackward0" "UnbindBackward0" "UnfoldBackward0" "UnsqueezeBackward0"
}

/// Copies in row-major order of views of `x`.
pub(in crate::ops) fn copied(x: &Tensor, views: Output) -> Result<Output> {
    Ok(match views {
        Output::Tensor(view) | Output::Instead(view) => one(x, &view)?.into(),
        Output::Tensors(all) => Output::Tensors(several(x, &all)?),
    })
}

/// True for a view with a node that this call has made.
fn is_new(x: &Tensor, view: &Tensor) -> bool {
    let made_by = |t: &Tensor| t.grad_fn().map(|edge| edge.node.id());
    view.batch().is_none() && is_linked(&[x], view) && made_by(view) != made_by(x)
}

fn one(x: &Tensor, view: &Tensor) -> Result<Tensor> {
    let derivative = match view.grad_fn().filter(|_| is_new(x, view)) {
        Some(edge) => edge.node.with_derivative(ViewDerivative::clone),
        None => None,
    };
    let Some(derivative) = derivative else { return clone_contiguous(view) };
    let copy = contiguous_copy(view)?;
    link(ViewDerivative { name: copy_of(derivative.name), ..derivative }, &[x], &copy)?;
    Ok(copy)
}

fn several(x: &Tensor, views: &[Tensor]) -> Result<Vec<Tensor>> {
    let first = views.first().filter(|view| is_new(x, view)).and_then(Tensor::grad_fn);
    let Some(mut parts) = first.and_then(|edge| edge.node.with_derivative(Parts::clone)) else {
        return views.iter().map(clone_contiguous).collect();
    };
    let copies: Vec<Tensor> = views.iter().map(contiguous_copy).collect::<Result<_>>()?;
    parts.name = copy_of(parts.name);
    link_all(parts, &[x], &copies.iter().collect::<Vec<_>>())?;
    Ok(copies)
}

operation! {
    /// All elements as a copy, in row-major order.
    ///
    /// >>> ferrograd.alias_copy(ferrograd.tensor([1.0, 2.0]))
    /// tensor([1., 2.])
    function Same(Any -> Kept), ["alias_copy(Tensor input)"], |_, a| copied(a.tensor(0)?, alias(a.tensor(0)?)?.into())
}

operation! {
    /// The elements from `start` to before `end` in steps along a dimension, as a copy in row-major order.
    ///
    /// Shapes: any of at least one dimension, of which `dim` gets shorter.
    ///
    /// >>> ferrograd.slice_copy(ferrograd.arange(6.0), 0, 1, 6, 2)
    /// tensor([1., 3., 5.])
    function Noted(Any -> Kept), ["slice_copy(Tensor input, int dim=0, int? start=None, int? end=None, int step=1)"], |_, a| {
        let (x, step) = (a.tensor(0)?, a.int(4)?);
        if step <= 0 {
            return Err(Error::Invalid { op: a.op, what: format!("slice step must be positive, got {step}") });
        }
        let dim = wrap_existing_dim(a.op, a.int(1)?, x.rank())?;
        let (start, count) = bounded(a.op, x.shape()[dim], a.maybe_int(2)?, a.maybe_int(3)?, step)?;
        copied(x, slice(x, dim, start, count, step as usize)?.into())
    }
}

operation! {
    /// The elements, in row-major order, under another shape as a copy; one size may be -1. With a dtype, the same bytes read
    /// as other numbers, as `view` has it.
    ///
    /// Shapes: any of as many elements as `size`, which the result has.
    ///
    /// >>> ferrograd.view_copy(ferrograd.arange(4.0), (2, 2))
    /// tensor([[0., 1.],
    ///         [2., 3.]])
    function Noted(Any -> Kept), ["view_copy(Tensor input, DType dtype)", "view_copy(Tensor input, Size size)"], |n, a| {
        let x = a.tensor(0)?;
        if n == 0 {
            return copied(x, view_dtype(x, a.dtype(1)?.unwrap_or(x.dtype()))?.into());
        }
        let sizes = inferred(a.op, a.ints(1)?, x.numel())?;
        if x.batch().is_some() {
            return Ok(clone_contiguous(&reshape(x, a.ints(1)?)?)?.into());
        }
        let copy = contiguous_copy(x)?;
        let y = Tensor::new(copy.storage().clone(), Layout::contiguous(&sizes), copy.dtype(), copy.versioning());
        let back = Back::Reshape(x.layout().shape.clone());
        link(ViewDerivative { name: "ViewBackward0_copy", back }, &[x], &y)?;
        Ok(y.into())
    }
}
