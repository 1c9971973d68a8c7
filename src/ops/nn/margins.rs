//! Losses that ask for margins between the scores of right and wrong classes.

use smallvec::smallvec;

use super::loss::{invalid, refused};
use super::reduction::Reduction;
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::graph::node::Gradients;
use crate::kernels::margins::{self as kernel, Margin};
use crate::kernels::reduce::kinds::Accumulator;
use crate::ops::arithmetic::{add, div, mul, sub};
use crate::ops::compare::{gt, logical_and, ne, where_};
use crate::ops::recorded::{Call, Keep, Settings, is_plain, record};
use crate::ops::reduce::wide_float;
use crate::ops::registry::operation;
use crate::ops::{batch, cast, copy, creation, gather, index, rows, sum, view};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::storage::Access;

const SINGLE: &str = "multi_margin_loss";
const SEVERAL: &str = "multilabel_margin_loss";

operation! {
    /// `sum(max(0, margin - x[t] + x[j])^p w[t]) / C` over the classes `j` other than the right one `t`, for scores `(C)` or
    /// `(N, C)` and classes `()` or `(N)`; and the mean or sum of it. `p` is 1 or 2, `weight` has a number for each class.
    ///
    /// Raises: ValueError for other `p`; RuntimeError for shapes that do not fit.
    ///
    /// Shapes: `(N, C), (N,) -> ()` or `(C,), () -> ()`; that of the target where `reduction='none'`.
    ///
    /// >>> F = ferrograd.nn.functional
    /// >>> F.multi_margin_loss(ferrograd.tensor([[0.1, 0.2, 0.8]]), ferrograd.tensor([2]))
    /// tensor(0.2333)
    function Noted(Wide -> Promoted), ["nn.multi_margin_loss(Tensor input, Tensor target, int p=1, Number margin=1.0, Tensor? weight=None, bool? size_average=None, bool? reduce=None, str reduction='mean')"],
    |_, a| {
        let (x, target, weight) = (a.tensor(0)?, a.tensor(1)?, a.maybe_tensor(4)?);
        let (reduction, p) = (Reduction::of(a, 5)?, a.int(2)?);
        if !matches!(p, 1 | 2) {
            return refused(a.op, format!("only p == 1 and p == 2 supported, got {p}"));
        }
        if let Some(w) = weight.filter(|w| w.rank() != 1) {
            return refused(a.op, format!("weight must be one-dimensional, got shape {:?}", w.shape()));
        }
        check_margins(a.op, x, target)?;
        let count = x.shape().last().copied().unwrap_or(1);
        if let Some(w) = weight.filter(|w| w.shape() != [count]) {
            return invalid(a.op, format!("inconsistent weight size, expected {count} but got {:?}", w.shape()));
        }
        let manner = Manner { margin: a.float(3)?, is_squared: p == 2 };
        let classes = view::reshape(target, &[-1])?;
        let mut losses = single(&view::reshape(x, &[-1, count as isize])?, &classes, manner)?;
        if let Some(weight) = weight {
            losses = mul(&losses, &rows::index_select(weight, 0, &classes)?)?;
        }
        let losses = if target.rank() == 0 { view::squeeze(&losses, Some(&[0]))? } else { losses };
        Ok(reduction.apply(&losses)?.into())
    }
}

/// Scores `(C)` or `(N, C)` and one class for each example.
fn check_margins(op: &'static str, x: &Tensor, target: &Tensor) -> Result<()> {
    let examples = if x.rank() == 2 { x.shape()[0] } else { 1 };
    let fits =
        x.rank() <= 2 && target.rank() <= 1 && target.numel() == examples && (x.rank() < 2 || target.rank() == 1);
    if !fits || x.numel() == 0 && examples > 0 {
        return invalid(
            op,
            format!(
                "inconsistent target size, expected {examples} but got {:?} for an input of shape {:?}",
                target.shape(),
                x.shape()
            ),
        );
    }
    if target.dtype() != DType::I64 {
        return invalid(op, format!("expected scalar type int64 for the target but found {}", target.dtype()));
    }
    check_wide(op, x)
}

/// An error for other scores than those of float32 and float64.
fn check_wide(op: &'static str, x: &Tensor) -> Result<()> {
    if matches!(x.dtype(), DType::F32 | DType::F64) {
        return Ok(());
    }
    Err(Error::NotImplemented { op, what: format!("scores of {}: this", x.dtype()) })
}

operation! {
    /// `sum(max(0, 1 - (x[t_j] - x[i]))) / C` over the right classes `t_j` and the classes `i` that are not, for scores `(C)`
    /// or `(N, C)` and targets of the same shape: the right classes, up to the first -1; and the mean or sum of it.
    ///
    /// Raises: RuntimeError for shapes that differ.
    ///
    /// Shapes: `(N, C), (N, C) -> ()` or `(C,), (C,) -> ()`; without `C` where `reduction='none'`.
    ///
    /// >>> F = ferrograd.nn.functional
    /// >>> F.multilabel_margin_loss(ferrograd.tensor([[0.1, 0.2, 0.4, 0.8]]), ferrograd.tensor([[3, 0, -1, 1]]))
    /// tensor(0.8500)
    function Noted(Wide -> Kept), ["nn.multilabel_margin_loss(Tensor input, Tensor target, bool? size_average=None, bool? reduce=None, str reduction='mean')"],
    |_, a| {
        let (x, target, reduction) = (a.tensor(0)?, a.tensor(1)?, Reduction::of(a, 2)?);
        if x.shape() != target.shape() || x.rank() > 2 || x.shape().last() == Some(&0) {
            let (given, input) = (target.shape(), x.shape());
            return invalid(a.op, format!("inconsistent target size: {given:?} for input of size: {input:?}"));
        }
        if target.dtype() != DType::I64 {
            return invalid(a.op, format!("expected scalar type int64 for the target but found {}", target.dtype()));
        }
        check_wide(a.op, x)?;
        let count = x.shape().last().copied().unwrap_or(1);
        let (rows_of, target) = (view::reshape(x, &[-1, count as isize])?, view::reshape(target, &[-1, count as isize])?);
        let losses = several(&rows_of, &target)?;
        let losses = if x.rank() < 2 { view::squeeze(&losses, Some(&[0]))? } else { losses };
        Ok(reduction.apply(&losses)?.into())
    }
}

/// The loss of each example of scores `(N, C)` with right classes `(N, C)`.
fn several(x: &Tensor, target: &Tensor) -> Result<Tensor> {
    if let Some(y) = batch::folded(&[x, target], |both| several(&both[0], &both[1])) {
        return y;
    }
    let count = x.shape()[1];
    let y = unrecorded(|| {
        let (x, target) = (copy::to_contiguous(x)?, copy::to_contiguous(target)?);
        let y = Tensor::uninitialized(SEVERAL, &x.shape()[..1], x.dtype())?;
        let _access = Access::lock([(&**x.storage(), false), (&**target.storage(), false)]);
        // SAFETY: all are contiguous tensors of these types; `y` is new.
        unsafe {
            if kernel::first_bad(target.elements(), count).is_some() {
                return invalid(SEVERAL, "target out of range".into());
            }
            wide_float!(x.dtype(), A => kernel::several::<A>(x.elements(), target.elements(), y.elements_mut(), count));
        }
        Ok(y)
    })?;
    let keep = [Keep::Input(x), Keep::Input(target)];
    record("MultilabelMarginLossBackward0", &y, &[x], &keep, Settings::default, |call| {
        // The loss is made of straight pieces: its derivative does not depend on the scores.
        let (x, target) = (&call.saved[0].detach(), &call.saved[1]);
        let slopes = unrecorded(|| slopes_of_several(x, target))?;
        Ok(smallvec![Some(mul(&slopes, &view::unsqueeze(&call.g, 1)?)?)])
    })?;
    Ok(y)
}

/// The derivatives of the losses of [`several`] by the scores, without history.
fn slopes_of_several(x: &Tensor, target: &Tensor) -> Result<Tensor> {
    let (x, target) = (copy::to_contiguous(x)?, copy::to_contiguous(target)?);
    let slopes = Tensor::uninitialized(SEVERAL, x.shape(), x.dtype())?;
    let _access = Access::lock([(&**x.storage(), false), (&**target.storage(), false)]);
    // SAFETY: all are contiguous tensors of these types; the slopes are new.
    unsafe {
        let (target, count) = (target.elements(), x.shape()[1]);
        wide_float!(x.dtype(), A => kernel::slopes_of_several::<A>(x.elements(), target, slopes.elements_mut(), count));
    }
    Ok(slopes)
}

/// How scores are compared: the margin, and whether what is missing is squared.
#[derive(Clone, Copy)]
struct Manner {
    margin: f64,
    is_squared: bool,
}

impl Manner {
    fn of<T: Accumulator>(self) -> Margin<T> {
        Margin { margin: T::from_f64(self.margin), is_squared: self.is_squared }
    }
}

/// The loss of each example of scores `(N, C)` with one right class each, `(N,)`.
fn single(x: &Tensor, target: &Tensor, manner: Manner) -> Result<Tensor> {
    if let Some(y) = batch::folded(&[x, target], |both| single(&both[0], &both[1], manner)) {
        return y;
    }
    let count = x.shape()[1];
    let y = unrecorded(|| {
        let (x, target) = (copy::to_contiguous(x)?, copy::to_contiguous(target)?);
        let y = Tensor::uninitialized(SINGLE, target.shape(), x.dtype())?;
        let _access = Access::lock([(&**x.storage(), false), (&**target.storage(), false)]);
        // SAFETY: all are contiguous tensors of these types; `y` is new.
        unsafe {
            let classes = target.elements::<i64>();
            if !classes.iter().all(|class| (0..count as i64).contains(class)) {
                return invalid(SINGLE, "target out of range".into());
            }
            wide_float!(x.dtype(), A => kernel::single::<A>(x.elements(), classes, y.elements_mut(), count, manner.of()));
        }
        Ok(y)
    })?;
    let settings = || Settings { number: manner.margin, keepdim: manner.is_squared, ..Settings::default() };
    record("MultiMarginLossBackward0", &y, &[x], &[Keep::Input(x), Keep::Input(target)], settings, of_single)?;
    Ok(y)
}

/// With `h` the derivative of what a score adds, times `g / C`: `dx = h`, less the sum of `h` at the right class.
fn of_single(call: &Call) -> Result<Gradients> {
    let (g, x, target) = (&call.g, &call.saved[0], &call.saved[1]);
    let manner = Manner { margin: call.settings.number, is_squared: call.settings.keepdim };
    let count = x.shape()[1];
    if is_plain([g, x, target]) {
        let (x, target) = (copy::to_contiguous(x)?, copy::to_contiguous(target)?);
        let g = copy::to_contiguous(&cast::to(g, x.dtype())?)?;
        let dx = Tensor::uninitialized(SINGLE, x.shape(), x.dtype())?;
        let _access = Access::lock([&x, &target, &g].map(|t| (&**t.storage(), false)));
        // SAFETY: all are contiguous tensors of these types; `dx` is new.
        unsafe {
            let classes = target.elements();
            wide_float!(x.dtype(), A => {
                kernel::of_single::<A>(x.elements(), classes, g.elements(), dx.elements_mut(), count, manner.of());
            });
        }
        return Ok(smallvec![Some(dx)]);
    }
    let index = view::unsqueeze(target, 1)?;
    let gap = add(&sub(x, &gather::gather(x, 1, &index)?)?, manner.margin)?;
    let others = ne(&creation::arange(0.into(), (count as i64).into(), 1.into(), None)?, &index)?;
    let counts = logical_and(&gt(&gap, 0.0)?, &others)?;
    let slope = if manner.is_squared { where_(&counts, &mul(&gap, 2.0)?, 0.0)? } else { cast::to(&counts, x.dtype())? };
    let h = mul(&slope, &view::unsqueeze(&div(g, count as f64)?, 1)?)?;
    let total = index::scatter_zeros(x.shape(), 1, &index, &sum::sum(&h, &[1], true, None)?)?;
    Ok(smallvec![Some(sub(&h, &total)?)])
}
