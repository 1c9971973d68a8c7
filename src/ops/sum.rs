//! Sums, means and products over dimensions.

use smallvec::smallvec;

use smallvec::SmallVec;

use super::recorded::{Call, Keep, record, refuse_integers, restored};
use super::reduce::{Plan, readable_as, total_dtype, wide};
use super::registry::operation;
use super::{arithmetic, batch, cast, compare, mask, view};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::kernels::reduce::kinds::{Count, NanSum, Numbers, Sum};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;

/// The sum of `x` in the type that sums of `target` are computed in, without history.
fn total(plan: &Plan, x: &Tensor, target: DType) -> Result<Tensor> {
    let x = &readable_as(x, target)?;
    if x.dtype() == DType::Bool && !target.is_floating_point() {
        return plan.run::<Count>(x, None);
    }
    wide!(target, A => plan.run::<Sum<A, A>>(x, None))
}

operation! {
    /// Sum over dimensions, or of all elements: `y = sum x`, `dy/dx = 1`.
    ///
    /// Integers and bool are summed in int64. The sum is pairwise, and its bits do not depend on the number of threads.
    ///
    /// >>> ferrograd.tensor([[1.0, 2.0], [3.0, 4.0]]).sum(0)
    /// tensor([4., 6.])
    function Reduced(Any -> Sum), ["sum(Tensor self, *, DType? dtype=None)", "sum(Tensor self, int[]? dim, bool keepdim=False, *, DType? dtype=None)"],
    |n, a| Ok(match n {
        0 => sum(a.tensor(0)?, &[], false, a.dtype(1)?)?,
        _ => summed(a.tensor(0)?, a.ints(1)?, a.bool(2)?, a.dtype(3)?, "SumBackward1")?,
    }.into())
}

/// Sum over dimensions; none given means all.
///
/// # Errors
/// For dimensions out of range or named twice.
pub fn sum(x: &Tensor, dims: &[isize], keepdim: bool, dtype: Option<DType>) -> Result<Tensor> {
    summed(x, dims, keepdim, dtype, if dims.is_empty() { "SumBackward0" } else { "SumBackward1" })
}

fn summed(x: &Tensor, dims: &[isize], keepdim: bool, dtype: Option<DType>, name: &'static str) -> Result<Tensor> {
    let rule = |x: &Tensor, dims: &[isize], keepdim| summed(x, dims, keepdim, dtype, name);
    if let Some(y) = batch::reduced("sum", x, dims, keepdim, rule) {
        return y;
    }
    let plan = Plan::new("sum", x, dims, keepdim)?;
    let target = total_dtype(x.dtype(), dtype);
    refuse_integers("sum", x, target)?;
    let y = unrecorded(|| cast::to(&total(&plan, x, target)?, target))?;
    record(
        name,
        &y,
        &[x],
        &[],
        || plan.settings(1.0),
        |call| {
            // dx = g
            Ok(smallvec![Some(expanded(call)?)])
        },
    )?;
    Ok(y)
}

/// The gradient of a result, for all elements that went into it.
fn expanded(call: &Call) -> Result<Tensor> {
    let sizes = view::signed(&call.settings.shape);
    // The sum of all elements has no dimensions, and expands to any.
    let is_single = call.settings.whole && !call.settings.keepdim;
    if is_single { view::expand(&call.g, &sizes) } else { view::expand(&restored(&call.g, call.settings)?, &sizes) }
}

operation! {
    /// The sums over all that was repeated, where `size` broadcasts to the tensor's sizes: the inverse of `expand`, and the
    /// tensor itself where nothing was.
    ///
    /// Shapes: any that `size` broadcasts to; the result has `size`.
    ///
    /// >>> ferrograd.ones(2, 3).sum_to_size(1, 3)
    /// tensor([[2., 2., 2.]])
    function Noted(Any -> Sum), ["Tensor.sum_to_size(Tensor self, int[] size)"], |_, a| Ok(sum_to_size(a.tensor(0)?, a.ints(1)?)?.into())
}

/// The sums over all that `size` would be repeated in.
///
/// # Errors
/// For sizes that do not broadcast to those of the tensor.
pub fn sum_to_size(x: &Tensor, size: &[isize]) -> Result<Tensor> {
    let fits = |(&small, &large): (&isize, &usize)| small == 1 || small == large as isize;
    if size.len() > x.rank() || !size.iter().rev().zip(x.shape().iter().rev()).all(fits) {
        let what = format!("size {size:?} is not expandable to size {:?}", x.shape());
        return Err(Error::Invalid { op: "sum_to_size", what });
    }
    if size.is_empty() {
        return sum(x, &[], false, None);
    }
    let leading = x.rank() - size.len();
    let repeated = |&d: &usize| d < leading || size[d - leading] == 1 && x.shape()[d] != 1;
    let dims: SmallVec<[isize; 4]> = (0..x.rank()).filter(repeated).map(|d| d as isize).collect();
    let y = if dims.is_empty() { x.clone() } else { sum(x, &dims, true, None)? };
    if leading == 0 { Ok(y) } else { view::view(&y, size) }
}

operation! {
    /// Mean over dimensions, or of all elements: `y = sum(x) / n`, `dy/dx = 1/n`. Floating-point dtypes only.
    ///
    /// >>> ferrograd.tensor([[1.0, 2.0], [3.0, 4.0]]).mean()
    /// tensor(2.5000)
    function Reduced(Floats -> Like), ["mean(Tensor self, *, DType? dtype=None)", "mean(Tensor self, int[]? dim, bool keepdim=False, *, DType? dtype=None)"],
    |n, a| Ok(match n {
        0 => mean(a.tensor(0)?, &[], false, a.dtype(1)?)?,
        _ => averaged(a.tensor(0)?, a.ints(1)?, a.bool(2)?, a.dtype(3)?, "MeanBackward1")?,
    }.into())
}

/// Mean over dimensions; none given means all.
///
/// # Errors
/// For integers, and dimensions out of range or named twice.
pub fn mean(x: &Tensor, dims: &[isize], keepdim: bool, dtype: Option<DType>) -> Result<Tensor> {
    averaged(x, dims, keepdim, dtype, if dims.is_empty() { "MeanBackward0" } else { "MeanBackward1" })
}

fn averaged(x: &Tensor, dims: &[isize], keepdim: bool, dtype: Option<DType>, name: &'static str) -> Result<Tensor> {
    let rule = |x: &Tensor, dims: &[isize], keepdim| averaged(x, dims, keepdim, dtype, name);
    if let Some(y) = batch::reduced("mean", x, dims, keepdim, rule) {
        return y;
    }
    let target = dtype.unwrap_or(x.dtype());
    if !target.is_floating_point() {
        let rule = "could not infer output dtype: it must be a floating point dtype; pass dtype=float32 or convert";
        return Err(Error::DTypeInvalid { op: "mean", dtype: target, rule });
    }
    let plan = Plan::new("mean", x, dims, keepdim)?;
    let count = plan.length() as f64;
    let spec = arithmetic::Div::spec();
    let y = unrecorded(|| {
        let y = total(&plan, x, target)?;
        super::pointwise::finish(spec, &[(&y).into(), count.into()], &y)?;
        cast::to(&y, target)
    })?;
    record(
        name,
        &y,
        &[x],
        &[],
        || plan.settings(count),
        |call| {
            // dx = g / n, divided last: so each element has memory of its own.
            Ok(smallvec![Some(arithmetic::div_within(&expanded(call)?, call.settings.number)?)])
        },
    )?;
    Ok(y)
}

operation! {
    /// Sum over dimensions, or of all elements, that leaves out what is not a number.
    ///
    /// >>> ferrograd.tensor([1.0, float("nan"), 2.0]).nansum()
    /// tensor(3.)
    function Reduced(Any -> Sum), ["nansum(Tensor self, int[]? dim=None, bool keepdim=False, *, DType? dtype=None)"], |_, a| {
        Ok(nansum(a.tensor(0)?, a.ints(1)?, a.bool(2)?, a.dtype(3)?)?.into())
    }
}

/// Sum over dimensions of what is a number; none given means all.
///
/// # Errors
/// For dimensions out of range or named twice.
pub fn nansum(x: &Tensor, dims: &[isize], keepdim: bool, dtype: Option<DType>) -> Result<Tensor> {
    if !x.dtype().is_floating_point() {
        return sum(x, dims, keepdim, dtype);
    }
    if let Some(y) = batch::reduced("nansum", x, dims, keepdim, |x, dims, keepdim| nansum(x, dims, keepdim, dtype)) {
        return y;
    }
    let plan = Plan::new("nansum", x, dims, keepdim)?;
    let target = total_dtype(x.dtype(), dtype);
    refuse_integers("nansum", x, target)?;
    let y = unrecorded(|| {
        // Among integers there is none that is not a number.
        let known = match target.is_floating_point() {
            true => x.clone(),
            false => mask::masked_fill(&x.detach(), &compare::ne(x, x)?, 0.0)?,
        };
        let read = readable_as(&known, target)?;
        cast::to(&wide!(target, A => plan.run::<NanSum<A, A>>(&read, None))?, target)
    })?;
    record(
        "NansumBackward0",
        &y,
        &[x],
        &[Keep::Input(x)],
        || plan.settings(1.0),
        |call| {
            // dx = g where x is a number
            let number = compare::eq(&call.saved[0], &call.saved[0])?;
            let g = restored(&call.g, call.settings)?;
            Ok(smallvec![Some(arithmetic::mul(&g, &cast::to(&number, g.dtype())?)?)])
        },
    )?;
    Ok(y)
}

operation! {
    /// Mean over dimensions, or of all elements, that leaves out what is not a number.
    ///
    /// >>> ferrograd.tensor([1.0, float("nan"), 2.0]).nanmean()
    /// tensor(1.5000)
    function Reduced(Floats -> Like), ["nanmean(Tensor self, int[]? dim=None, bool keepdim=False, *, DType? dtype=None)"], |_, a| {
        Ok(nanmean(a.tensor(0)?, a.ints(1)?, a.bool(2)?, a.dtype(3)?)?.into())
    }
}

/// Mean over dimensions of what is a number; none given means all.
///
/// # Errors
/// For integers, and dimensions out of range or named twice.
pub fn nanmean(x: &Tensor, dims: &[isize], keepdim: bool, dtype: Option<DType>) -> Result<Tensor> {
    if !x.dtype().is_floating_point() {
        let rule = "expected input to have floating point dtype";
        return Err(Error::DTypeInvalid { op: "nanmean", dtype: x.dtype(), rule });
    }
    let total = nansum(x, dims, keepdim, dtype)?;
    arithmetic::div(&total, &cast::to(&numbers(&x.detach(), dims, keepdim)?, DType::I64)?)
}

/// How many elements are a number.
fn numbers(x: &Tensor, dims: &[isize], keepdim: bool) -> Result<Tensor> {
    if let Some(y) = batch::reduced("nanmean", x, dims, keepdim, numbers) {
        return y;
    }
    let plan = Plan::new("nanmean", x, dims, keepdim)?;
    unrecorded(|| wide!(x.dtype(), A => plan.run::<Numbers<A, A>>(x, None)))
}

operation! {
    /// How many elements are not zero, over dimensions or of all.
    ///
    /// >>> ferrograd.tensor([[1, 0], [2, 3]]).count_nonzero(0)
    /// tensor([2, 1])
    function Reduced(Any -> Index), ["count_nonzero(Tensor self, int[]? dim=None)"], |_, a| {
        Ok(count_nonzero(a.tensor(0)?, a.ints(1)?)?.into())
    }
}

/// How many elements are not zero; no dimensions mean all.
///
/// # Errors
/// For dimensions out of range or named twice.
pub fn count_nonzero(x: &Tensor, dims: &[isize]) -> Result<Tensor> {
    if let Some(y) = batch::reduced("count_nonzero", x, dims, false, |x, dims, _| count_nonzero(x, dims)) {
        return y;
    }
    Plan::new("count_nonzero", x, dims, false)?.run::<Count>(x, None)
}
