//! Sorting, and elements chosen by their place in the order of a line.

use smallvec::smallvec;

use super::extremum::to_positions;
use super::recorded::{Call, Keep, Settings, record, restored};
use super::reduce::Plan;
use super::registry::operation;
use super::{arithmetic, batch, cast, compare, copy, mask, sum, view};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::graph::node::Gradients;
use crate::kernels::element::{dispatch, is_nan};
use crate::kernels::sort::{self as kernel, Order};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::wrap_dim;
use crate::tensor::storage::Access;

/// The lines of a tensor along one dimension, one after another, without history.
struct Lines {
    /// The tensor itself, and its lines.
    whole: Tensor,
    data: Tensor,
    dim: usize,
    length: usize,
}

fn lines(x: &Tensor, dim: usize) -> Result<Lines> {
    unrecorded(|| {
        let x = x.detach();
        let data = if x.rank() == 0 { x.clone() } else { copy::to_contiguous(&view::movedim(&x, dim as isize, -1)?)? };
        let length = data.shape().last().copied().unwrap_or(1);
        Ok(Lines { whole: x, data, dim, length })
    })
}

impl Lines {
    /// New places, `k` for each line.
    fn places(&self, op: &'static str, k: usize) -> Result<Tensor> {
        let mut shape = self.data.layout().shape.clone();
        if let Some(last) = shape.last_mut() {
            *last = k;
        }
        Tensor::uninitialized(op, &shape, DType::I64)
    }

    /// The elements at the places.
    fn at(&self, op: &'static str, places: &Tensor) -> Result<Tensor> {
        let y = Tensor::uninitialized(op, places.shape(), self.data.dtype())?;
        let k = places.shape().last().copied().unwrap_or(1);
        let _access = Access::lock([(&**self.data.storage(), false)]);
        dispatch!(op, y.dtype(), T => {
            // SAFETY: all are contiguous tensors of these types; the results are new.
            let (data, places, out) = unsafe { (self.data.elements::<T>(), places.elements::<i64>(), y.elements_mut::<T>()) };
            for (i, (slot, &place)) in out.iter_mut().zip(places).enumerate() {
                *slot = data[i / k * self.length + place as usize];
            }
        });
        Ok(y)
    }

    /// A result of lines with its dimension back in its place; where it has the tensor's shape, in the tensor's order.
    fn back(&self, y: &Tensor) -> Result<Tensor> {
        if y.shape() == self.data.shape() && !self.whole.layout().is_row_major() {
            return unrecorded(|| copy::clone_as(&view::movedim(y, -1, self.dim as isize)?, &self.whole));
        }
        if y.rank() < 2 || self.dim + 1 == y.rank() {
            return Ok(y.clone());
        }
        unrecorded(|| copy::contiguous_copy(&view::movedim(y, -1, self.dim as isize)?))
    }
}

/// Writes the places that a kernel finds in the lines.
macro_rules! find {
    ($op:expr, $lines:expr, $places:expr, |$data:ident, $out:ident| $run:expr) => {{
        let _access = Access::lock([(&**$lines.data.storage(), false)]);
        dispatch!($op, $lines.data.dtype(), T => {
            // SAFETY: both are contiguous tensors of these types; the places are new.
            let ($data, $out) = unsafe { ($lines.data.elements::<T>(), $places.elements_mut::<i64>()) };
            $run
        });
    }};
}

operation! {
    /// The elements along a dimension in order, and where they were. What is not a number is greater than all. Equal
    /// elements stay in their order, whether `stable` or not.
    ///
    /// >>> ferrograd.tensor([3, 1, 2]).sort().values
    /// tensor([1, 2, 3])
    function Same(Any -> Indexed), ["sort(Tensor self, int dim=-1, bool descending=False) -> (Tensor values, Tensor indices)", "sort(Tensor self, *, bool? stable, int dim=-1, bool descending=False) -> (Tensor values, Tensor indices)"],
    |n, a| Ok(match n {
        0 => sorted("SortBackward0", a.tensor(0)?, a.int(1)?, a.bool(2)?)?,
        _ => sorted("SortBackward1", a.tensor(0)?, a.int(2)?, a.bool(3)?)?,
    }.into())
}

/// The elements along a dimension in order, and where they were.
///
/// # Errors
/// For a dimension out of range.
pub fn sort(x: &Tensor, dim: isize, descending: bool) -> Result<[Tensor; 2]> {
    sorted("SortBackward0", x, dim, descending)
}

fn sorted(node: &'static str, x: &Tensor, dim: isize, descending: bool) -> Result<[Tensor; 2]> {
    if let Some(both) = batch::along_both("sort", x, dim, |x, dim| sorted(node, x, dim, descending)) {
        return both;
    }
    let dim = wrap_dim("sort", dim, x.rank())?;
    let lines = lines(x, dim)?;
    let places = lines.places("sort", lines.length)?;
    let order = if descending { Order::Descending } else { Order::Ascending };
    find!("sort", lines, places, |data, out| kernel::sort(data, lines.length, order, out));
    chosen(node, x, &lines, "sort", &places)
}

/// The chosen elements and their places as results of an operation on `x`.
fn chosen(node: &'static str, x: &Tensor, lines: &Lines, op: &'static str, places: &Tensor) -> Result<[Tensor; 2]> {
    let y = lines.back(&lines.at(op, places)?)?;
    let indices = lines.back(places)?;
    let settings = || Settings {
        shape: x.layout().shape.clone(),
        dims: smallvec![lines.dim as isize],
        keepdim: true,
        ..Settings::default()
    };
    record(node, &y, &[x], &[Keep::Input(&indices)], settings, to_positions)?;
    Ok([y, indices])
}

operation! {
    /// The indices that sort a tensor along a dimension.
    ///
    /// >>> ferrograd.tensor([3, 1, 2]).argsort()
    /// tensor([1, 2, 0])
    function Same(Any -> Index), ["argsort(Tensor self, int dim=-1, bool descending=False)", "argsort(Tensor self, *, bool stable, int dim=-1, bool descending=False)"],
    |n, a| Ok(sort(&a.tensor(0)?.detach(), a.int(n + 1)?, a.bool(n + 2)?)?[1].clone().into())
}

operation! {
    /// The elements along the first dimension in ascending order.
    ///
    /// Shapes: any, kept.
    ///
    /// >>> ferrograd.tensor([[3, 1], [2, 4]]).msort()
    /// tensor([[2, 1],
    ///         [3, 4]])
    function Noted(Any -> Kept), ["msort(Tensor self)"], |_, a| Ok(sort(a.tensor(0)?, 0, false)?[0].clone().into())
}

operation! {
    /// The `k` greatest elements along a dimension, or the least, in order, and where they are. What is not a number is
    /// greater than all; of equal elements the first is taken first.
    ///
    /// Shapes: any; `k` along `dim`.
    ///
    /// >>> ferrograd.tensor([3.0, 1.0, 2.0]).topk(2).values
    /// tensor([3., 2.])
    function Noted(Numbers -> Indexed), ["topk(Tensor self, int k, int dim=-1, bool largest=True, bool sorted=True) -> (Tensor values, Tensor indices)"], |_, a| {
        Ok(topk(a.tensor(0)?, a.int(1)?, a.int(2)?, a.bool(3)?)?.into())
    }
}

/// The `k` greatest or least elements along a dimension, in order, and where they are.
///
/// # Errors
/// For bool, a `k` beyond the size, and a dimension out of range.
pub fn topk(x: &Tensor, k: isize, dim: isize, largest: bool) -> Result<[Tensor; 2]> {
    if let Some(both) = batch::along_both("topk", x, dim, |x, dim| topk(x, k, dim, largest)) {
        return both;
    }
    let wrapped = wrap_dim("topk", dim, x.rank())?;
    let size = x.shape().get(wrapped).copied().unwrap_or(1);
    if k < 0 || k as usize > size {
        return Err(Error::Invalid {
            op: "topk",
            what: format!("selected index k out of range: {k} of {size} elements"),
        });
    }
    if x.dtype() == DType::Bool {
        return Err(Error::Invalid { op: "topk", what: "topk does not support bool dtypes on CPU".into() });
    }
    let lines = lines(x, wrapped)?;
    let k = if x.rank() == 0 { 1 } else { k as usize };
    let places = lines.places("topk", k)?;
    let order = if largest { Order::Descending } else { Order::Ascending };
    find!("topk", lines, places, |data, out| kernel::first(data, lines.length, k, order, out));
    chosen("TopkBackward0", x, &lines, "topk", &places)
}

/// One element of each line, chosen by a kernel, and its place.
fn one_of_each(
    op: &'static str,
    node: &'static str,
    x: &Tensor,
    dim: isize,
    keepdim: bool,
    find: &dyn Fn(&Lines, &Tensor) -> Result<()>,
) -> Result<[Tensor; 2]> {
    let rule = |x: &Tensor, dims: &[isize], keepdim| one_of_each(op, node, x, dims[0], keepdim, find);
    if let Some(found) = batch::reduction(op, x, &[dim], keepdim, rule) {
        return found.map(|(both, level)| both.map(|y| Tensor::batched(&y, level)));
    }
    let plan = Plan::new(op, x, &[dim], keepdim)?;
    if plan.length() == 0 {
        return Err(Error::EmptyReduction { op, shape: x.shape().to_vec(), dims: plan.dims.to_vec() });
    }
    let lines = lines(x, wrap_dim(op, dim, x.rank())?)?;
    let places = lines.places(op, 1)?;
    find(&lines, &places)?;
    let shaped =
        |t: &Tensor| -> Result<Tensor> { unrecorded(|| Ok(view::reshape(t, &view::signed(&plan.shape()))?.detach())) };
    let (y, indices) = (shaped(&lines.at(op, &places)?)?, shaped(&places)?);
    record(node, &y, &[x], &[Keep::Input(&indices)], || plan.settings(0.0), to_positions)?;
    Ok([y, indices])
}

operation! {
    /// The `k`-th least element along a dimension, and where it is. What is not a number is greater than all.
    ///
    /// >>> ferrograd.tensor([3.0, 1.0, 2.0]).kthvalue(2).values
    /// tensor(2.)
    function Reduced(Numbers -> Indexed), ["kthvalue(Tensor self, int k, int dim=-1, bool keepdim=False) -> (Tensor values, Tensor indices)"], |_, a| {
        Ok(kthvalue(a.tensor(0)?, a.int(1)?, a.int(2)?, a.bool(3)?)?.into())
    }
}

/// The `k`-th least element along a dimension, and where it is.
///
/// # Errors
/// For bool, a `k` that is none of the sizes, and a dimension out of range.
pub fn kthvalue(x: &Tensor, k: isize, dim: isize, keepdim: bool) -> Result<[Tensor; 2]> {
    const OP: &str = "kthvalue";
    refuse_bool(OP, x)?;
    one_of_each(OP, "KthvalueBackward0", x, dim, keepdim, &|lines, places| {
        if k < 1 || k as usize > lines.length {
            let what = format!("selected number k out of range for dimension {}: {k} of {}", lines.dim, lines.length);
            return Err(Error::Invalid { op: OP, what });
        }
        find!(OP, lines, places, |data, out| kernel::nth(data, lines.length, |_| k as usize - 1, out));
        Ok(())
    })
}

fn refuse_bool(op: &'static str, x: &Tensor) -> Result<()> {
    if x.dtype() == DType::Bool {
        return Err(Error::NotImplemented { op, what: "bool: convert to an integer first; this".into() });
    }
    Ok(())
}

/// The place of the middle element of a line in order, of two the lower: the first that is not a number where there is
/// one.
fn middles(lines: &Lines, places: &Tensor) -> Result<()> {
    find!("median", lines, places, |data, out| {
        kernel::nth(data, lines.length, |line| (line.len() - 1) / 2, out);
        for (line, place) in data.chunks_exact(lines.length).zip(out) {
            *place = line.iter().position(|&x| is_nan(x)).map_or(*place, |p| p as i64);
        }
    });
    Ok(())
}

/// As [`middles`], of the elements that are a number.
fn middle_numbers(lines: &Lines, places: &Tensor) -> Result<()> {
    find!("nanmedian", lines, places, |data, out| {
        let middle = |line: &[_]| (line.iter().filter(|&&x| !is_nan(x)).count().max(1) - 1) / 2;
        kernel::nth(data, lines.length, middle, out);
    });
    Ok(())
}

operation! {
    /// The middle element in ascending order, of two the lower; along a dimension also where it is. Not a number where
    /// any element is none. Over all elements, equal ones share the gradient; along a dimension, the index takes it.
    ///
    /// >>> ferrograd.tensor([3.0, 1.0, 2.0, 4.0]).median()
    /// tensor(2.)
    function Reduced(Numbers -> Indexed), ["median(Tensor self)", "median(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)"],
    |n, a| {
        refuse_bool("median", a.tensor(0)?)?;
        match n {
            0 => Ok(middle_of_all("median", "MedianBackward0", a.tensor(0)?, &middles)?.into()),
            _ => Ok(one_of_each("median", "MedianBackward1", a.tensor(0)?, a.int(1)?, a.bool(2)?, &middles)?.into()),
        }
    }
}

operation! {
    /// As `median`, of the elements that are a number.
    ///
    /// >>> ferrograd.tensor([3.0, float("nan"), 2.0]).nanmedian()
    /// tensor(2.)
    function Reduced(Numbers -> Kept), ["nanmedian(Tensor self)", "nanmedian(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)"],
    |n, a| {
        refuse_bool("nanmedian", a.tensor(0)?)?;
        match n {
            0 => Ok(middle_of_all("nanmedian", "NanmedianBackward0", a.tensor(0)?, &middle_numbers)?.into()),
            _ => Ok(one_of_each("nanmedian", "NanmedianBackward1", a.tensor(0)?, a.int(1)?, a.bool(2)?, &middle_numbers)?.into()),
        }
    }
}

/// The middle of all elements: of none not a number, or the least integer.
fn middle_of_all(
    op: &'static str,
    node: &'static str,
    x: &Tensor,
    find: &dyn Fn(&Lines, &Tensor) -> Result<()>,
) -> Result<Tensor> {
    if let Some(batch) = x.batch() {
        let flat = view::reshape(&batch.value, &[batch.value.shape()[0] as isize, -1])?;
        return Ok(Tensor::batched(&one_of_each(op, node, &flat, 1, false, find)?[0], batch.level));
    }
    let y = if x.numel() == 0 {
        // What torch makes of NaN; in narrower integers nothing is left of it.
        let lowest = if x.dtype() == DType::I32 { i64::from(i32::MIN) } else { i64::MIN };
        Tensor::scalar(
            if x.dtype().is_floating_point() { f64::NAN.into() } else { crate::tensor::scalar::Scalar::Int(lowest) },
            x.dtype(),
        )?
    } else {
        let flat = unrecorded(|| view::reshape(&x.detach(), &[-1]))?;
        one_of_each(op, node, &flat, 0, false, find)?[0].clone()
    };
    let settings = || Settings { shape: x.layout().shape.clone(), ..Settings::default() };
    record(node, &y, &[x], &[Keep::Input(x), Keep::Output], settings, among_equals)?;
    Ok(y)
}

/// dx = g / (number of elements equal to y) at those; as in torch, what is not a number equals itself.
fn among_equals(call: &Call) -> Result<Gradients> {
    let (x, y) = (&call.saved[0], &call.saved[1]);
    let both_nan = compare::logical_and(&compare::ne(x, x)?, &compare::ne(y, y)?)?;
    let equal = compare::logical_or(&compare::eq(x, y)?, &both_nan)?;
    let count = sum::sum(&cast::to(&equal, call.g.dtype())?, &[], false, None)?;
    let share = arithmetic::div(&restored(&call.g, call.settings)?, &count)?;
    let zeros = Tensor::expanded_zero(equal.shape(), share.dtype())?;
    Ok(smallvec![Some(mask::masked_fill(&zeros, &equal, &share)?)])
}

operation! {
    /// The most frequent element along a dimension, of several the least, and where it is for the last time.
    ///
    /// >>> ferrograd.tensor([3, 1, 2, 2, 1]).mode().values
    /// tensor(1)
    function Reduced(Any -> Indexed), ["mode(Tensor self, int dim=-1, bool keepdim=False) -> (Tensor values, Tensor indices)"], |_, a| {
        Ok(mode(a.tensor(0)?, a.int(1)?, a.bool(2)?)?.into())
    }
}

/// The most frequent element along a dimension, and where it is for the last time.
///
/// # Errors
/// Over nothing, and for a dimension out of range.
pub fn mode(x: &Tensor, dim: isize, keepdim: bool) -> Result<[Tensor; 2]> {
    one_of_each("mode", "ModeBackward0", x, dim, keepdim, &|lines, places| {
        find!("mode", lines, places, |data, out| kernel::mode(data, lines.length, out));
        Ok(())
    })
}
