//! Greatest and least elements and where they are.

use smallvec::{SmallVec, smallvec};

use super::recorded::{Call, Keep, Settings, record, restored};
use super::registry::{Output, operation};
use super::sum::{Lines, lines};
use super::{arithmetic, batch, compare, index, sum, view};
use crate::error::{Error, Result};
use crate::graph::node::Gradients;
use crate::kernels::element::{Element, dispatch};
use crate::kernels::reduce::arg_best;
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::storage::Access;

/// Which end of the order is asked for.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Greatest,
    Least,
}

/// The index along each line of the greatest or least element; the first NaN counts as both.
fn positions(op: &'static str, lines: &Lines, end: End, keepdim: bool, shape: &[usize]) -> Result<Tensor> {
    if lines.length == 0 {
        return Err(Error::EmptyReduction { op, shape: shape.to_vec(), dims: lines.dims.to_vec() });
    }
    let indices = Tensor::uninitialized(op, &lines.shape(keepdim), DType::I64)?;
    let _access = Access::lock([(&**lines.data.storage(), false)]);
    dispatch!(op, lines.data.dtype(), T => {
        // SAFETY: the lines are contiguous elements of this type; the indices are new.
        let (data, out) = unsafe {(
            std::slice::from_raw_parts(lines.data.data_ptr().cast::<T>(), lines.data.numel()),
            std::slice::from_raw_parts_mut(indices.data_ptr().cast::<i64>(), indices.numel()),
        )};
        let is_nan = |x: T| x.partial_cmp(&x).is_none();
        arg_best(data, out, lines.length, lines.inner, |a: T, b: T| {
            !is_nan(b) && (is_nan(a) || if end == End::Greatest { a > b } else { a < b })
        });
    });
    Ok(indices)
}

/// An error for a tensor without elements, all of which are asked for.
fn not_empty(op: &'static str, x: &Tensor) -> Result<()> {
    if x.numel() == 0 { Err(Error::EmptyTotal { op, shape: x.shape().to_vec() }) } else { Ok(()) }
}

/// The elements of the lines at the given positions.
fn at(lines: &Lines, indices: &Tensor) -> Result<Tensor> {
    let y = Tensor::uninitialized("gather", indices.shape(), lines.data.dtype())?;
    let _access = Access::lock([(&**lines.data.storage(), false)]);
    dispatch!("gather", lines.data.dtype(), T => pick::<T>(lines, indices, &y));
    Ok(y)
}

fn pick<T: Element>(lines: &Lines, indices: &Tensor, y: &Tensor) {
    let n = indices.numel();
    // SAFETY: the lines and both tensors are contiguous, and positions lie within the lines.
    unsafe {
        let (data, at) = (lines.data.data_ptr().cast::<T>(), indices.data_ptr().cast::<i64>());
        for line in 0..n {
            let base = line / lines.inner * lines.length * lines.inner + line % lines.inner;
            *y.data_ptr().cast::<T>().add(line) = *data.add(base + *at.add(line) as usize * lines.inner);
        }
    }
}

/// Greatest or least elements over dimensions, ties sharing the gradient.
fn shared(op: &'static str, node: &'static str, x: &Tensor, dims: &[isize], keepdim: bool, end: End) -> Result<Tensor> {
    let rule = |x: &Tensor, dims: &[isize], keepdim| shared(op, node, x, dims, keepdim, end);
    if let Some(y) = batch::reduced(op, x, dims, keepdim, rule) {
        return y;
    }
    if dims.is_empty() {
        not_empty(op, x)?;
    }
    let lines = lines(op, x, dims)?;
    let y = at(&lines, &positions(op, &lines, end, keepdim, x.shape())?)?;
    record(node, &y, &[x], &[Keep::Input(x), Keep::Output], || lines.settings(x, keepdim, 1.0), among_ties)?;
    Ok(y)
}

/// dx = g [x = y] / (number of elements equal to y)
fn among_ties(call: &Call) -> Result<Gradients> {
    let (g, y) = (restored(&call.g, call.settings)?, restored(&call.saved[1], call.settings)?);
    let ties = super::cast::to(&compare::eq(&call.saved[0], &y)?, g.dtype())?;
    let count =
        if call.settings.dims.is_empty() { ties.clone() } else { sum::sum(&ties, &call.settings.dims, true, None)? };
    Ok(smallvec![Some(arithmetic::mul(&arithmetic::div(&g, &count)?, &ties)?)])
}

/// Greatest or least elements along one dimension, with their indices.
fn along(op: &'static str, node: &'static str, x: &Tensor, dim: isize, keepdim: bool, end: End) -> Result<[Tensor; 2]> {
    let rule = |x: &Tensor, dims: &[isize], keepdim| along(op, node, x, dims[0], keepdim, end);
    if let Some(found) = batch::reduction(op, x, &[dim], keepdim, rule) {
        return found.map(|([y, indices], level)| [Tensor::batched(&y, level), Tensor::batched(&indices, level)]);
    }
    let lines = lines(op, x, &[dim])?;
    let indices = positions(op, &lines, end, keepdim, x.shape())?;
    let y = at(&lines, &indices)?;
    record(node, &y, &[x], &[Keep::Input(&indices)], || lines.settings(x, keepdim, 1.0), to_positions)?;
    Ok([y, indices])
}

/// dx = g at the index that was chosen, else zero.
fn to_positions(call: &Call) -> Result<Gradients> {
    let s: &Settings = call.settings;
    let (g, indices) = (restored(&call.g, s)?, restored(&call.saved[0], s)?);
    let dim = s.dims.first().copied().unwrap_or(0);
    Ok(smallvec![Some(index::scatter_zeros(&s.shape, dim, &indices, &g)?)])
}

operation! {
    /// The greatest element; along a dimension, the greatest elements and their indices; of two tensors, as `maximum`.
    /// NaN is greater than all. Over all elements, ties share the gradient; along a dimension, the index takes it.
    ///
    /// >>> ferrograd.tensor([[1.0, 5.0], [7.0, 2.0]]).max(1).values
    /// tensor([5., 7.])
    function ["max(Tensor self)", "max(Tensor self, int dim, bool keepdim=False)", "max(Tensor self, Tensor other)"],
    |n, a| match n {
        0 => Ok(shared("max", "MaxBackward1", a.tensor(0)?, &[], false, End::Greatest)?.into()),
        1 => Ok(Output::Pair("max", along("max", "MaxBackward0", a.tensor(0)?, a.int(1)?, a.bool(2)?, End::Greatest)?)),
        _ => Ok(arithmetic::maximum(a.tensor(0)?, a.tensor(1)?)?.into()),
    }
}

operation! {
    /// The least element; along a dimension, the least elements and their indices; of two tensors, as `minimum`. NaN is
    /// less than all. Over all elements, ties share the gradient; along a dimension, the index takes it.
    ///
    /// >>> ferrograd.tensor([[1.0, 5.0], [7.0, 2.0]]).min(1).indices
    /// tensor([0, 1])
    function ["min(Tensor self)", "min(Tensor self, int dim, bool keepdim=False)", "min(Tensor self, Tensor other)"],
    |n, a| match n {
        0 => Ok(shared("min", "MinBackward1", a.tensor(0)?, &[], false, End::Least)?.into()),
        1 => Ok(Output::Pair("min", along("min", "MinBackward0", a.tensor(0)?, a.int(1)?, a.bool(2)?, End::Least)?)),
        _ => Ok(arithmetic::minimum(a.tensor(0)?, a.tensor(1)?)?.into()),
    }
}

operation! {
    /// The greatest elements over dimensions; ties share the gradient.
    ///
    /// >>> ferrograd.tensor([[1.0, 5.0], [7.0, 2.0]]).amax(0)
    /// tensor([7., 5.])
    function ["amax(Tensor self, int[] dim=(), bool keepdim=False)"], |_, a| {
        Ok(amax(a.tensor(0)?, a.ints(1)?, a.bool(2)?)?.into())
    }
}

/// The greatest elements over dimensions; none given means all.
///
/// # Errors
/// Over nothing, and for dimensions out of range or named twice.
pub fn amax(x: &Tensor, dims: &[isize], keepdim: bool) -> Result<Tensor> {
    shared("amax", "AmaxBackward0", x, dims, keepdim, End::Greatest)
}

operation! {
    /// The least elements over dimensions; ties share the gradient.
    ///
    /// >>> ferrograd.tensor([[1.0, 5.0], [7.0, 2.0]]).amin(0)
    /// tensor([1., 2.])
    function ["amin(Tensor self, int[] dim=(), bool keepdim=False)"], |_, a| {
        Ok(shared("amin", "AminBackward0", a.tensor(0)?, a.ints(1)?, a.bool(2)?, End::Least)?.into())
    }
}

fn position(op: &'static str, x: &Tensor, dim: Option<isize>, keepdim: bool, end: End) -> Result<Tensor> {
    let (flat, dims): (Tensor, SmallVec<[isize; 1]>) = match dim {
        Some(d) => (x.clone(), smallvec![d]),
        None => {
            not_empty(op, x)?;
            (view::reshape(&x.detach(), &[-1])?, smallvec![0])
        }
    };
    let kept = keepdim && dim.is_some();
    let rule = |x: &Tensor, dims: &[isize], keepdim| position(op, x, dims.first().copied(), keepdim, end);
    let found = match batch::reduced(op, &flat, &dims, kept, rule) {
        Some(found) => found?,
        None => positions(op, &lines(op, &flat, &dims)?, end, kept, x.shape())?,
    };
    // Over all elements every dimension was reduced.
    if keepdim && dim.is_none() { view::reshape(&found, &vec![1; x.rank()]).map(|t| t.detach()) } else { Ok(found) }
}

operation! {
    /// The index of the greatest element, in row-major order or along a dimension; the first of equals.
    ///
    /// >>> ferrograd.tensor([[1.0, 5.0], [7.0, 2.0]]).argmax(1)
    /// tensor([1, 0])
    function ["argmax(Tensor self, int? dim=None, bool keepdim=False)"], |_, a| {
        let dim = if a.is_none(1) { None } else { Some(a.int(1)?) };
        Ok(position("argmax", a.tensor(0)?, dim, a.bool(2)?, End::Greatest)?.into())
    }
}

operation! {
    /// The index of the least element, in row-major order or along a dimension; the first of equals.
    ///
    /// >>> ferrograd.tensor([[1.0, 5.0], [7.0, 2.0]]).argmin(1)
    /// tensor([0, 1])
    function ["argmin(Tensor self, int? dim=None, bool keepdim=False)"], |_, a| {
        let dim = if a.is_none(1) { None } else { Some(a.int(1)?) };
        Ok(position("argmin", a.tensor(0)?, dim, a.bool(2)?, End::Least)?.into())
    }
}

operation! {
    /// True where every element is, over a dimension or all.
    ///
    /// >>> ferrograd.tensor([True, False]).all()
    /// tensor(False)
    function ["all(Tensor self)", "all(Tensor self, int dim, bool keepdim=False)"], |n, a| {
        truths(a.tensor(0)?, if n == 0 { None } else { Some((a.int(1)?, a.bool(2)?)) }, End::Least).map(Output::from)
    }
}

operation! {
    /// True where any element is, over a dimension or all.
    ///
    /// >>> ferrograd.tensor([True, False]).any()
    /// tensor(True)
    function ["any(Tensor self)", "any(Tensor self, int dim, bool keepdim=False)"], |n, a| {
        truths(a.tensor(0)?, if n == 0 { None } else { Some((a.int(1)?, a.bool(2)?)) }, End::Greatest).map(Output::from)
    }
}

/// All elements true (the least is) or any (the greatest is); over nothing, true and false.
fn truths(x: &Tensor, dim: Option<(isize, bool)>, end: End) -> Result<Tensor> {
    let (all, keeps) = dim.map_or((SmallVec::<[isize; 1]>::new(), false), |(d, keepdim)| (smallvec![d], keepdim));
    let rule = |x: &Tensor, dims: &[isize], keepdim| match dims {
        [one] => truths(x, Some((*one, keepdim)), end),
        _ => truths(&view::flatten(x, 1, -1)?, Some((1, false)), end),
    };
    if let Some(y) = batch::reduced("all", x, &all, keeps, rule) {
        return y;
    }
    let truth = compare::ne(x, 0)?;
    let (dims, keepdim): (SmallVec<[isize; 1]>, bool) = match dim {
        Some((d, keepdim)) => (smallvec![d], keepdim),
        None => (smallvec![], false),
    };
    let lines = lines("all", &truth, &dims)?;
    if lines.length == 0 {
        return Tensor::full(&lines.shape(keepdim), end == End::Least, DType::Bool);
    }
    at(&lines, &positions("all", &lines, end, keepdim, x.shape())?)
}
