//! Elements, or slices along a dimension, without repetitions.

use super::recorded::record_refusal;
use super::registry::{Output, operation};
use super::{batch, copy, view};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::kernels::element::{Element, dispatch};
use crate::kernels::parallel::{self, Apart};
use crate::kernels::runs::Runs;
use crate::kernels::sort::{self as kernel, Order, rank};
use crate::kernels::tally;
use crate::memory::{filled, listed};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
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
        unique("unique", a.tensor(0)?, a.maybe_int(4)?, true, [a.bool(2)?, a.bool(3)?])
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
        unique("unique_consecutive", a.tensor(0)?, a.maybe_int(3)?, false, [a.bool(1)?, a.bool(2)?])
    }
}

/// The different elements or slices, and where asked for the place of each item among them, and their counts.
///
/// # Errors
/// For a dimension out of range, a batched tensor, and slices of nothing.
fn unique(
    op: &'static str,
    x: &Tensor,
    dim: Option<isize>,
    sorted: bool,
    [with_inverse, with_counts]: [bool; 2],
) -> Result<Output> {
    batch::check_sized(op, x)?;
    if let Some(dim) = dim.filter(|_| x.rank() == 0) {
        return Err(Error::NoDimensions { op, dim });
    }
    let dim = dim.map(|d| wrap_dim(op, d, x.rank())).transpose()?;
    let (rows, shape) = unrecorded(|| rows(op, &x.detach(), dim))?;
    let (count, width) = (shape[0], rows.numel() / shape[0].max(1));
    let access = Access::lock([(&**rows.storage(), false)]);
    let mut all = dispatch!(op, x.dtype(), T => {
        // SAFETY: the rows are a contiguous tensor of this type.
        let data = unsafe { rows.elements::<T>() };
        let counted = if shape.len() == 1 && sorted { counted(op, data, with_inverse, with_counts)? } else { None };
        let order = if sorted && counted.is_none() { Some(in_order(data, count, width)) } else { None };
        let found = Found { op, data, shape: &shape, width, order: order.as_deref() };
        if let Some(all) = counted {
            all
        } else if width == 1 && !sorted && !with_inverse && !with_counts {
            let runs = Runs::of(data);
            let mut full = shape.clone();
            full[0] = runs.count();
            let values = Tensor::uninitialized(op, &full, T::DTYPE)?;
            // SAFETY: the tensor is new.
            runs.firsts(data, unsafe { values.elements_mut() });
            vec![values]
        } else if width == 1 {
            // Elements side by side are compared by fewer instructions than slices.
            found.collected(|a, b| data[a] != data[b], with_inverse, with_counts)?
        } else {
            let row = |i: usize| &data[i * width..(i + 1) * width];
            found.collected(|a, b| row(a) != row(b), with_inverse, with_counts)?
        }
    });
    drop(access);
    if let Some(d) = dim.filter(|_| x.rank() > 1) {
        all[0] = unrecorded(|| copy::contiguous_copy(&view::movedim(&all[0], 0, d as isize)?))?;
    }
    let node = match (sorted, dim) {
        (true, None) => "Unique2Backward0",
        (true, Some(_)) => "UniqueDimBackward0",
        (false, _) => "UniqueConsecutiveBackward0",
    };
    record_refusal(op, node, &[x], &all[0])?;
    if with_inverse && dim.is_none() {
        all[1] = view::reshape(&all[1], &view::signed(x.shape()))?;
    }
    Ok(if all.len() == 1 { Output::Tensor(all.remove(0)) } else { Output::Tensors(all) })
}

/// Items, one a row, and an order of them.
struct Found<'a, T> {
    op: &'static str,
    data: &'a [T],
    /// The sizes of all items together, their number first.
    shape: &'a [usize],
    width: usize,
    order: Option<&'a [i64]>,
}

impl<T: Element> Found<'_, T> {
    /// The first of each run of items that are alike, the run of each item, and how many it has.
    fn collected(
        &self,
        differ: impl Fn(usize, usize) -> bool + Sync,
        with_inverse: bool,
        with_counts: bool,
    ) -> Result<Vec<Tensor>> {
        let (count, width, order) = (self.shape[0], self.width, self.order);
        let item = |n: usize| order.map_or(n, |order| order[n] as usize);
        let is_new = |n: usize| differ(item(n - 1), item(n));
        let runs = Runs::new(count, is_new);
        let mut full = Shape::from_slice(self.shape);
        full[0] = runs.count();
        let values = Tensor::uninitialized(self.op, &full, T::DTYPE)?;
        let new = |count: usize| Tensor::uninitialized(self.op, &[count], DType::I64);
        let inverse = if with_inverse { Some(new(count)?) } else { None };
        let mut firsts: Vec<usize> = filled(self.op, 0, if with_counts { runs.count() + 1 } else { 0 })?;
        // SAFETY: all are contiguous and new.
        let (values_to, inverse_to) = unsafe {
            let inverse = inverse.as_ref().map(|inverse| Apart(inverse.elements_mut::<i64>().as_mut_ptr()));
            (Apart(values.elements_mut::<T>().as_mut_ptr()), inverse)
        };
        let firsts_to = Apart(firsts.as_mut_ptr());
        runs.each(is_new, |n, run, begins| {
            let item = item(n);
            // SAFETY: items and runs have places of their own. What another program's thread has changed since they were
            // counted may make more of them.
            unsafe {
                if begins && run < full[0] {
                    values_to.part(run * width, width).copy_from_slice(&self.data[item * width..(item + 1) * width]);
                    if with_counts {
                        *firsts_to.get().add(run) = n;
                    }
                }
                if let Some(inverse) = &inverse_to {
                    *inverse.get().add(item) = run as i64;
                }
            }
        });
        let mut all = vec![values];
        all.extend(inverse);
        if with_counts {
            firsts[runs.count()] = count;
            let counts: Vec<i64> = listed(runs.count(), firsts.windows(2).map(|pair| (pair[1] - pair[0]) as i64));
            all.push(Tensor::from_slice(&counts));
        }
        Ok(all)
    }
}

/// The different integers in ascending order, and where asked for the place of each item among them, and their counts, where
/// they lie so near each other that each possible one can be counted.
fn counted<T: Element>(
    op: &'static str,
    data: &[T],
    with_inverse: bool,
    with_counts: bool,
) -> Result<Option<Vec<Tensor>>> {
    if T::DTYPE.is_floating_point() || data.is_empty() {
        return Ok(None);
    }
    let ends = |(low, high): (i64, i64), x: &T| (low.min(x.to_i64()), high.max(x.to_i64()));
    let (low, high) = data.iter().fold((i64::MAX, i64::MIN), ends);
    let Some(span) = high.checked_sub(low).filter(|&span| (span as usize) < data.len()) else { return Ok(None) };
    let place = |i: usize| (data[i].to_i64() - low) as usize;
    // What another program's thread has changed since may lie elsewhere.
    let term = |i: usize| (place(i) <= span as usize).then(|| (place(i), 1i64));
    let mut counts = tally::sums(op, data.len(), span as usize + 1, term)?;
    let found = || counts.iter().enumerate().filter(|(_, count)| **count > 0);
    let values: Vec<T> = found().map(|(at, _)| T::from_i64(low + at as i64)).collect();
    let mut all = vec![Tensor::from_shape(&values, &[values.len()])?];
    let numbers = with_counts.then(|| found().map(|(_, &count)| count).collect::<Vec<i64>>());
    if with_inverse {
        let mut run = -1;
        counts.iter_mut().for_each(|count| {
            run += i64::from(*count > 0);
            *count = run;
        });
        let inverse = Tensor::uninitialized(op, &[data.len()], DType::I64)?;
        // SAFETY: the tensor is new and contiguous.
        parallel::for_each_slice(unsafe { inverse.elements_mut::<i64>() }, GRAIN, |start, part| {
            part.iter_mut().enumerate().for_each(|(n, to)| *to = counts.get(place(start + n)).map_or(0, |&run| run));
        });
        all.push(inverse);
    }
    all.extend(numbers.map(|numbers| Tensor::from_slice(&numbers)));
    Ok(Some(all))
}

/// Items from which threads share the work.
const GRAIN: usize = 1 << 15;

/// What is compared, one item a row: the elements, or the slices along a dimension. With the shape of the rows.
fn rows(op: &'static str, x: &Tensor, dim: Option<usize>) -> Result<(Tensor, Shape)> {
    let Some(dim) = dim else {
        return Ok((copy::to_contiguous(x)?, Shape::from_slice(&[x.numel()])));
    };
    if x.numel() == 0 && x.shape()[dim] != 0 {
        let what = "There are 0 sized dimensions, and they aren't selected, so unique cannot be applied";
        return Err(Error::Invalid { op, what: format!("{what}: {:?}", x.shape()) });
    }
    let moved = copy::to_contiguous(&view::movedim(x, dim as isize, 0)?)?;
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
