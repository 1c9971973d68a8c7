//! Greatest and least elements and where they are.

use smallvec::{SmallVec, smallvec};

use super::recorded::{Call, Keep, Settings, record, record_all, restored};
use super::reduce::{Plan, compared};
use super::registry::{Output, operation};
use super::{arithmetic, batch, cast, compare, copy, index, mask, sum, view};
use crate::error::{Error, Result};
use crate::graph::forward::{added, unrecorded};
use crate::graph::node::Gradients;
use crate::kernels::reduce::kinds::{All, Any, Greatest, Least};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::wrap_dim;

/// Which end of the order is asked for.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Greatest,
    Least,
}

/// An error over nothing: it has no greatest element.
fn refuse_nothing(op: &'static str, x: &Tensor, plan: &Plan, all: bool) -> Result<()> {
    match plan.length() {
        0 if all => Err(Error::EmptyTotal { op, shape: x.shape().to_vec() }),
        0 => Err(Error::EmptyReduction { op, shape: x.shape().to_vec(), dims: plan.dims.to_vec() }),
        _ => Ok(()),
    }
}

/// The extreme elements, without history.
fn values(plan: &Plan, x: &Tensor, end: End) -> Result<Tensor> {
    let y = compared!(x.dtype(), A => match end {
        End::Greatest => plan.run::<Greatest<A, A>>(x, None),
        End::Least => plan.run::<Least<A, A>>(x, None),
    })?;
    unrecorded(|| cast::to(&y, x.dtype()))
}

/// The places of extreme elements, and the elements where these are asked for, without history.
fn places(plan: &Plan, x: &Tensor, end: End, values: bool) -> Result<(Option<Tensor>, Tensor)> {
    let (found, places) = compared!(x.dtype(), A => match end {
        End::Greatest => plan.extremes::<A, Greatest<A, A>>(x, values),
        End::Least => plan.extremes::<A, Least<A, A>>(x, values),
    })?;
    Ok((found.map(|v| unrecorded(|| cast::to(&v, x.dtype()))).transpose()?, places))
}

/// Greatest or least elements over dimensions, ties sharing the gradient.
fn shared(op: &'static str, node: &'static str, x: &Tensor, dims: &[isize], keepdim: bool, end: End) -> Result<Tensor> {
    let rule = |x: &Tensor, dims: &[isize], keepdim| shared(op, node, x, dims, keepdim, end);
    if let Some(y) = batch::reduced(op, x, dims, keepdim, rule) {
        return y;
    }
    // As in torch, that there is nothing along a dimension comes before that it is named twice.
    for &dim in dims.iter().filter(|_| x.numel() == 0) {
        let dim = wrap_dim(op, dim, x.rank())?;
        if x.shape()[dim] == 0 {
            return Err(Error::EmptyReduction { op, shape: x.shape().to_vec(), dims: vec![dim as isize] });
        }
    }
    let plan = Plan::new(op, x, dims, keepdim)?;
    refuse_nothing(op, x, &plan, dims.is_empty())?;
    let y = values(&plan, x, end)?;
    // As in torch, of all elements also those that are no number share the gradient.
    let nan = f64::from(matches!(op, "max" | "min"));
    record(node, &y, &[x], &[Keep::Input(x), Keep::Output], || plan.settings(nan), among_ties)?;
    Ok(y)
}

/// dx = g / (number of elements equal to y) at those. As in torch, only the extreme of all elements has zeros elsewhere whatever
/// g is; along dimensions zeros are g times 0.
fn among_ties(call: &Call) -> Result<Gradients> {
    Ok(smallvec![Some(to_ties(&call.g, &call.saved[0], &call.saved[1], call.settings)?)])
}

fn to_ties(g: &Tensor, x: &Tensor, y: &Tensor, settings: &Settings) -> Result<Tensor> {
    let (g, y) = (restored(g, settings)?, restored(y, settings)?);
    let mut same = compare::eq(x, &y)?;
    if settings.number != 0.0 {
        let both_nan = compare::logical_and(&compare::ne(x, x)?, &compare::ne(&y, &y)?)?;
        same = compare::logical_or(&same, &both_nan)?;
    }
    let ties = cast::to(&same, g.dtype())?;
    let count = if settings.dims.is_empty() { ties.clone() } else { sum::sum(&ties, &settings.dims, true, None)? };
    let share = arithmetic::div(&g, &count)?;
    if settings.number == 0.0 {
        return arithmetic::mul(&share, &ties);
    }
    mask::masked_fill(&Tensor::expanded_zero(same.shape(), g.dtype())?, &same, &share)
}

/// Greatest or least elements along one dimension, with their indices.
fn along(op: &'static str, node: &'static str, x: &Tensor, dim: isize, keepdim: bool, end: End) -> Result<[Tensor; 2]> {
    let rule = |x: &Tensor, dims: &[isize], keepdim| along(op, node, x, dims[0], keepdim, end);
    if let Some(found) = batch::reduction(op, x, &[dim], keepdim, rule) {
        return found.map(|([y, indices], level)| [Tensor::batched(&y, level), Tensor::batched(&indices, level)]);
    }
    let plan = Plan::new(op, x, &[dim], keepdim)?;
    refuse_nothing(op, x, &plan, false)?;
    let (values, indices) = places(&plan, x, end, true)?;
    let y = values.unwrap_or_else(|| indices.clone());
    record(node, &y, &[x], &[Keep::Input(&indices)], || plan.settings(1.0), to_positions)?;
    Ok([y, indices])
}

/// The greatest elements along a dimension; of several the first takes the gradient.
///
/// # Errors
/// For a dimension out of range, or of size zero.
pub fn max_along(x: &Tensor, dim: isize) -> Result<Tensor> {
    let [values, _] = along("max", "MaxBackward0", x, dim, false, End::Greatest)?;
    Ok(values)
}

/// dx = g at the index that was chosen, else zero.
pub(super) fn to_positions(call: &Call) -> Result<Gradients> {
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
    function Reduced(Any -> Indexed), ["max(Tensor self)", "max(Tensor self, Tensor other)", "max(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)"],
    |n, a| match n {
        0 => Ok(shared("max", "MaxBackward1", a.tensor(0)?, &[], false, End::Greatest)?.into()),
        1 => Ok(arithmetic::maximum(a.tensor(0)?, a.tensor(1)?)?.into()),
        _ => Ok(along("max", "MaxBackward0", a.tensor(0)?, a.int(1)?, a.bool(2)?, End::Greatest)?.into()),
    }
}

operation! {
    /// The least element; along a dimension, the least elements and their indices; of two tensors, as `minimum`. NaN is
    /// less than all. Over all elements, ties share the gradient; along a dimension, the index takes it.
    ///
    /// >>> ferrograd.tensor([[1.0, 5.0], [7.0, 2.0]]).min(1).indices
    /// tensor([0, 1])
    function Reduced(Any -> Indexed), ["min(Tensor self)", "min(Tensor self, Tensor other)", "min(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)"],
    |n, a| match n {
        0 => Ok(shared("min", "MinBackward1", a.tensor(0)?, &[], false, End::Least)?.into()),
        1 => Ok(arithmetic::minimum(a.tensor(0)?, a.tensor(1)?)?.into()),
        _ => Ok(along("min", "MinBackward0", a.tensor(0)?, a.int(1)?, a.bool(2)?, End::Least)?.into()),
    }
}

operation! {
    /// The greatest elements over dimensions; ties share the gradient.
    ///
    /// >>> ferrograd.tensor([[1.0, 5.0], [7.0, 2.0]]).amax(0)
    /// tensor([7., 5.])
    function Reduced(Any -> Kept), ["amax(Tensor self, int[] dim=(), bool keepdim=False)"], |_, a| {
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
    function Reduced(Any -> Kept), ["amin(Tensor self, int[] dim=(), bool keepdim=False)"], |_, a| {
        Ok(amin(a.tensor(0)?, a.ints(1)?, a.bool(2)?)?.into())
    }
}

/// The least elements over dimensions; none given means all.
///
/// # Errors
/// As [`amax`].
pub fn amin(x: &Tensor, dims: &[isize], keepdim: bool) -> Result<Tensor> {
    shared("amin", "AminBackward0", x, dims, keepdim, End::Least)
}

operation! {
    /// The least and the greatest elements, along a dimension or of all; ties share the gradient.
    ///
    /// >>> ferrograd.aminmax(ferrograd.tensor([3.0, 1.0, 2.0])).max
    /// tensor(3.)
    function Reduced(Any -> Kept), ["aminmax(Tensor self, *, int? dim=None, bool keepdim=False) -> (Tensor min, Tensor max)"], |_, a| {
        Ok(aminmax(a.tensor(0)?, a.maybe_int(1)?, a.bool(2)?)?.into())
    }
}

/// The least and the greatest elements, along a dimension or of all.
///
/// # Errors
/// Over nothing, and for a dimension out of range.
pub fn aminmax(x: &Tensor, dim: Option<isize>, keepdim: bool) -> Result<[Tensor; 2]> {
    let rule = |x: &Tensor, dims: &[isize], keepdim| match dims {
        [one] => aminmax(x, Some(*one), keepdim),
        _ => aminmax(&view::flatten(x, 1, -1)?, Some(1), false),
    };
    if let Some(found) = batch::reduction("aminmax", x, dim.as_slice(), keepdim, rule) {
        return found.map(|(both, level)| both.map(|y| Tensor::batched(&y, level)));
    }
    let plan = Plan::new("aminmax", x, dim.as_slice(), keepdim)?;
    refuse_nothing("aminmax", x, &plan, dim.is_none())?;
    let both = [values(&plan, x, End::Least)?, values(&plan, x, End::Greatest)?];
    let keep = [Keep::Input(x), Keep::Result(0, &both[0]), Keep::Result(1, &both[1])];
    record_all(
        "AminmaxBackward0",
        &[&both[0], &both[1]],
        &[x],
        &keep,
        || plan.settings(0.0),
        |call| {
            let mut sum = None;
            for (g, y) in call.gradients.iter().zip(&call.saved[1..]) {
                if let Some(g) = g {
                    sum = Some(added(sum, to_ties(g, &call.saved[0], y, call.settings)?)?);
                }
            }
            Ok(smallvec![sum])
        },
    )?;
    Ok(both)
}

fn position(op: &'static str, x: &Tensor, dim: Option<isize>, keepdim: bool, end: End) -> Result<Tensor> {
    let (flat, dims): (Tensor, SmallVec<[isize; 1]>) = match dim {
        Some(d) => (x.detach(), smallvec![d]),
        None => (view::reshape(&x.detach(), &[-1])?, smallvec![0]),
    };
    let kept = keepdim && dim.is_some();
    let rule = |x: &Tensor, dims: &[isize], keepdim| position(op, x, dims.first().copied(), keepdim, end);
    let found = match batch::reduced(op, &flat, &dims, kept, rule) {
        Some(found) => found?,
        None => {
            if x.dtype() == DType::Bool {
                let rule = "truth values have no greatest; convert to an integer first";
                return Err(Error::DTypeInvalid { op, dtype: DType::Bool, rule });
            }
            let plan = Plan::new(op, &flat, &dims, kept)?;
            if dim.is_none() && plan.length() == 0 {
                return Err(Error::EmptyPlaces { op, shape: x.shape().to_vec() });
            }
            refuse_nothing(op, x, &plan, false)?;
            places(&plan, &copy::to_contiguous(&flat)?, end, false)?.1
        }
    };
    // Over all elements every dimension was reduced.
    if keepdim && dim.is_none() { view::reshape(&found, &vec![1; x.rank()]).map(|t| t.detach()) } else { Ok(found) }
}

operation! {
    /// The index of the greatest element, in row-major order or along a dimension; the first of equals.
    ///
    /// >>> ferrograd.tensor([[1.0, 5.0], [7.0, 2.0]]).argmax(1)
    /// tensor([1, 0])
    function Reduced(Numbers -> Index), ["argmax(Tensor self, int? dim=None, bool keepdim=False)"], |_, a| {
        Ok(position("argmax", a.tensor(0)?, a.maybe_int(1)?, a.bool(2)?, End::Greatest)?.into())
    }
}

operation! {
    /// The index of the least element, in row-major order or along a dimension; the first of equals.
    ///
    /// >>> ferrograd.tensor([[1.0, 5.0], [7.0, 2.0]]).argmin(1)
    /// tensor([0, 1])
    function Reduced(Numbers -> Index), ["argmin(Tensor self, int? dim=None, bool keepdim=False)"], |_, a| {
        Ok(position("argmin", a.tensor(0)?, a.maybe_int(1)?, a.bool(2)?, End::Least)?.into())
    }
}

operation! {
    /// True where every element is, over dimensions or all; over no dimensions, of each element alone. Bool, but uint8
    /// for uint8.
    ///
    /// Dtypes: any; the result is bool, of uint8 it is uint8.
    ///
    /// >>> ferrograd.tensor([True, False]).all()
    /// tensor(False)
    function Reduced(Noted -> Noted), ["all(Tensor self)", "all(Tensor self, int[]? dim=None, bool keepdim=False)"], |n, a| {
        truths("all", a.tensor(0)?, if n == 0 { None } else { a.maybe_ints(1)? }, n == 1 && a.bool(2)?, End::Least).map(Output::from)
    }
}

operation! {
    /// True where any element is, over dimensions or all; over no dimensions, of each element alone. Bool, but uint8 for
    /// uint8.
    ///
    /// Dtypes: any; the result is bool, of uint8 it is uint8.
    ///
    /// >>> ferrograd.tensor([True, False]).any()
    /// tensor(True)
    function Reduced(Noted -> Noted), ["any(Tensor self)", "any(Tensor self, int[]? dim=None, bool keepdim=False)"], |n, a| {
        truths("any", a.tensor(0)?, if n == 0 { None } else { a.maybe_ints(1)? }, n == 1 && a.bool(2)?, End::Greatest).map(Output::from)
    }
}

/// Whether no element is zero.
///
/// # Errors
/// For a batched tensor.
pub(super) fn all_true(op: &'static str, x: &Tensor) -> Result<bool> {
    x.readable("reading the elements of a Tensor")?;
    Ok(Plan::new(op, x, &[], false)?.run::<All>(x, None)?.to_vec::<u8>()? == [1])
}

/// All elements true (the least is) or any (the greatest is); over nothing, true and false.
fn truths(op: &'static str, x: &Tensor, dims: Option<&[isize]>, keepdim: bool, end: End) -> Result<Tensor> {
    let result = if x.dtype() == DType::U8 { DType::U8 } else { DType::Bool };
    if dims.is_some_and(<[isize]>::is_empty) {
        return cast::to(&compare::ne(x, 0)?, result);
    }
    let dims = dims.unwrap_or_default();
    let rule = |x: &Tensor, dims: &[isize], keepdim| truths(op, x, Some(dims), keepdim, end);
    if let Some(y) = batch::reduced(op, x, dims, keepdim, rule) {
        return y;
    }
    let plan = Plan::new(op, x, dims, keepdim)?;
    let y = match end {
        End::Greatest => plan.run::<Any>(x, None),
        End::Least => plan.run::<All>(x, None),
    };
    cast::to(&y?, result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_is_found_in_any_piece() {
        let mut x = vec![3i32; 70_000];
        let all = |x: &[i32]| all_true("remainder", &Tensor::from_slice(x)).unwrap();
        assert!(all(&x) && all(&[]));
        x[69_999] = 0;
        assert!(!all(&x));
    }
}
