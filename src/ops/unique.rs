//! Elements, or slices along a dimension, without repetitions.

use super::recorded::record_refusal;
use super::registry::{Output, operation};
use super::{copy, view};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::kernels::element::{Element, dispatch};
use crate::kernels::sort::{self as kernel, Order, rank};
use crate::memory::{filled, listed};
use crate::tensor::Tensor;
use crate::tensor::layout::{Shape, wrap_dim};
use crate::tensor::storage::Access;

operation! {
    /// The different elements in ascending order; along `dim`, the different slices. Also, where asked for, of each element
    /// the place of its like among them, and how often each occurs. What is not a number is like nothing. The result is
    /// sorted whether `sorted` or not.
    ///
    /// Shapes: `(...) -> (k,)`, with `dim` other along `dim` alone.
    ///
    /// >>> ferrograd.unique(ferrograd.tensor([3, 1, 3]), return_counts=True)
    /// (tensor([1, 3]), tensor([1, 2]))
    function Noted(Any -> Kept), ["unique(Tensor self, bool sorted=True, bool return_inverse=False, bool return_counts=False, int? dim=None)"], |_, a| {
        let found = unique("unique", a.tensor(0)?, a.maybe_int(4)?, true)?;
        Ok(chosen(found, a.bool(2)?, a.bool(3)?))
    }
}

operation! {
    /// As `unique`, but only of neighbours those that are alike are taken together, and the order stays.
    ///
    /// Shapes: `(...) -> (k,)`, with `dim` other along `dim` alone.
    ///
    /// >>> ferrograd.unique_consecutive(ferrograd.tensor([1, 1, 2, 1]))
    /// tensor([1, 2, 1])
    function Noted(Any -> Kept), ["unique_consecutive(Tensor self, bool return_inverse=False, bool return_counts=False, int? dim=None)"], |_, a| {
        let found = unique("unique_consecutive", a.tensor(0)?, a.maybe_int(3)?, false)?;
        Ok(chosen(found, a.bool(1)?, a.bool(2)?))
    }
}

fn chosen([values, inverse, counts]: [Tensor; 3], with_inverse: bool, with_counts: bool) -> Output {
    let mut all = vec![values];
    if with_inverse {
        all.push(inverse);
    }
    if with_counts {
        all.push(counts);
    }
    match all.len() {
        1 => Output::Tensor(all.remove(0)),
        _ => Output::Tensors(all),
    }
}

/// Which item each place in order is the first of, the place of each item among the different ones, and how often these
/// occur.
struct Groups {
    firsts: Vec<i64>,
    inverse: Vec<i64>,
    counts: Vec<i64>,
}

fn groups(order: &[i64], is_new: impl Fn(usize, usize) -> bool) -> Result<Groups> {
    let mut found = Groups { firsts: Vec::new(), inverse: filled("unique", 0, order.len())?, counts: Vec::new() };
    for (n, &item) in order.iter().enumerate() {
        if n == 0 || is_new(order[n - 1] as usize, item as usize) {
            found.firsts.push(item);
            found.counts.push(0);
        }
        let last = found.counts.len() - 1;
        found.counts[last] += 1;
        found.inverse[item as usize] = last as i64;
    }
    Ok(found)
}

/// The different elements or slices, the place of each among them, and their counts.
///
/// # Errors
/// For a dimension out of range, a batched tensor, and slices of nothing.
fn unique(op: &'static str, x: &Tensor, dim: Option<isize>, sorted: bool) -> Result<[Tensor; 3]> {
    x.readable("finding the different elements of a Tensor: how many there are depends on their values")?;
    if let Some(dim) = dim.filter(|_| x.rank() == 0) {
        return Err(Error::NoDimensions { op, dim });
    }
    let dim = dim.map(|d| wrap_dim(op, d, x.rank())).transpose()?;
    let (rows, shape) = unrecorded(|| rows(op, &x.detach(), dim))?;
    let (count, width) = (shape[0], rows.numel() / shape[0].max(1));
    let _access = Access::lock([(&**rows.storage(), false)]);
    let (values, found) = dispatch!(op, x.dtype(), T => {
        // SAFETY: the rows are a contiguous tensor of this type.
        let data = unsafe { rows.elements::<T>() };
        let order = if sorted { in_order(data, count, width) } else { listed(count, 0..count as i64) };
        let row = |i: usize| &data[i * width..(i + 1) * width];
        let found = groups(&order, |a, b| row(a) != row(b))?;
        let values: Vec<T> = found.firsts.iter().flat_map(|&i| row(i as usize).iter().copied()).collect();
        let mut full = shape.clone();
        full[0] = found.firsts.len();
        (Tensor::from_shape(&values, &full)?, found)
    });
    let values = match dim {
        Some(d) if x.rank() > 1 => unrecorded(|| copy::contiguous_copy(&view::movedim(&values, 0, d as isize)?))?,
        _ => values,
    };
    let node = match (sorted, dim) {
        (true, None) => "Unique2Backward0",
        (true, Some(_)) => "UniqueDimBackward0",
        (false, _) => "UniqueConsecutiveBackward0",
    };
    record_refusal(op, node, &[x], &values)?;
    let inverse_shape: Shape = if dim.is_some() { Shape::from_slice(&[count]) } else { x.layout().shape.clone() };
    Ok([values, Tensor::from_shape(&found.inverse, &inverse_shape)?, Tensor::from_slice(&found.counts)])
}

/// What is compared, one item a row: the elements, or the slices along a dimension. With the shape of the rows.
fn rows(op: &'static str, x: &Tensor, dim: Option<usize>) -> Result<(Tensor, Shape)> {
    let Some(dim) = dim else {
        return Ok((copy::contiguous_copy(x)?, Shape::from_slice(&[x.numel()])));
    };
    if x.numel() == 0 && x.shape()[dim] != 0 {
        let what = "There are 0 sized dimensions, and they aren't selected, so unique cannot be applied";
        return Err(Error::Invalid { op, what: format!("{what}: {:?}", x.shape()) });
    }
    let moved = copy::contiguous_copy(&view::movedim(x, dim as isize, 0)?)?;
    let shape = moved.layout().shape.clone();
    Ok((moved, shape))
}

/// The rows in ascending order, compared element by element; equal ones in theirs.
fn in_order<T: Element>(data: &[T], count: usize, width: usize) -> Vec<i64> {
    let mut order: Vec<i64> = listed(count, 0..count as i64);
    if width == 1 {
        kernel::sort(data, count, Order::Ascending, &mut order);
    } else {
        let key = |i: i64| data[i as usize * width..(i as usize + 1) * width].iter().map(|&x| rank(x));
        order.sort_by(|&a, &b| key(a).cmp(key(b)));
    }
    order
}
