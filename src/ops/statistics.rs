//! Variance, standard deviation, and the sums of exponentials.

use smallvec::smallvec;

use super::arithmetic::{div, mul, sub};
use super::recorded::{Keep, Settings, record, restored};
use super::registry::operation;
use super::{batch, cast, compare, extremum, sum, unary, view};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::tensor::Tensor;
use crate::tensor::dtype::{Category, DType};
use crate::tensor::layout::{dim_mask, wrap_dim};
use crate::tensor::scalar::Scalar;

fn float(op: &'static str, x: &Tensor) -> Result<()> {
    match x.dtype() {
        d if d.is_floating_point() => Ok(()),
        dtype if matches!(op, "var" | "std") => {
            Err(Error::DTypeInvalid { op, dtype, rule: "std and var only support floating point dtypes" })
        }
        dtype => Err(Error::DTypeUnsupported { op, dtype, hint: "only floating point dtypes have one" }),
    }
}

/// What the derivatives below need of a reduction over `dims`.
fn settings(op: &'static str, x: &Tensor, dims: &[isize], keepdim: bool, number: f64) -> Result<Settings> {
    let mask = dim_mask(op, dims, x.rank())?;
    let dims = (0..x.rank()).filter(|&d| mask[d]).map(|d| d as isize).collect();
    Ok(Settings { shape: x.layout().shape.clone(), dims, keepdim, number })
}

/// The elements that go into one result.
fn count(s: &Settings) -> f64 {
    s.dims.iter().map(|&d| s.shape[d as usize]).product::<usize>() as f64
}

/// Removes reduced dimensions unless they are kept.
fn finished(y: &Tensor, s: &Settings) -> Result<Tensor> {
    if s.keepdim || s.dims.is_empty() { Ok(y.clone()) } else { Ok(view::squeeze(y, Some(&s.dims))?.detach()) }
}

/// `sum (x - mean)^2 / (n - correction)`, unrecorded, with the reduced dimensions kept.
fn variance(x: &Tensor, s: &Settings) -> Result<Tensor> {
    unrecorded(|| {
        let centred = sub(x, &sum::mean(x, &s.dims, true, None)?)?;
        div(&sum::sum(&mul(&centred, &centred)?, &s.dims, true, None)?, (count(s) - s.number).max(0.0))
    })
}

operation! {
    /// Variance over dimensions, or of all elements: `y = sum (x - m)^2 / (n - correction)` with the mean `m`,
    /// `dy/dx = 2 (x - m) / (n - correction)`.
    ///
    /// >>> ferrograd.tensor([1.0, 2.0, 3.0, 4.0]).var()
    /// tensor(1.6667)
    function ["var(Tensor self, bool unbiased)", "var(Tensor self, int[]? dim=None, *, Number? correction=1, bool keepdim=False)", "var(Tensor self, int[]? dim, bool unbiased=True, bool keepdim=False)"],
    |n, a| Ok(match n {
        0 => var(a.tensor(0)?, &[], a.number(1)?.as_f64(), false)?,
        1 => var(a.tensor(0)?, a.ints(1)?, a.maybe_number(2)?.map_or(1.0, Scalar::as_f64), a.bool(3)?)?,
        _ => var(a.tensor(0)?, a.ints(1)?, a.number(2)?.as_f64(), a.bool(3)?)?,
    }.into())
}

/// Variance over dimensions; none given means all.
///
/// # Errors
/// For integers, and dimensions out of range or named twice.
pub fn var(x: &Tensor, dims: &[isize], correction: f64, keepdim: bool) -> Result<Tensor> {
    if let Some(y) = batch::reduced("var", x, dims, keepdim, |x, dims, keepdim| var(x, dims, correction, keepdim)) {
        return y;
    }
    float("var", x)?;
    let s = settings("var", x, dims, keepdim, correction)?;
    let y = finished(&variance(x, &s)?, &s)?;
    record(
        "VarBackward0",
        &y,
        &[x],
        &[Keep::Input(x)],
        || s,
        |call| {
            // dx = g 2 (x - m) / (n - correction)
            let (g, x, s) = (restored(&call.g, call.settings)?, &call.saved[0], call.settings);
            let centred = sub(x, &sum::mean(x, &s.dims, true, None)?)?;
            Ok(smallvec![Some(mul(&mul(&g, 2.0 / (count(s) - s.number))?, &centred)?)])
        },
    )?;
    Ok(y)
}

operation! {
    /// Standard deviation over dimensions, or of all elements: `y = sqrt(var(x))`,
    /// `dy/dx = (x - m) / ((n - correction) y)`, zero where `y = 0`.
    ///
    /// >>> ferrograd.tensor([1.0, 2.0, 3.0, 4.0]).std()
    /// tensor(1.2910)
    function ["std(Tensor self, bool unbiased)", "std(Tensor self, int[]? dim=None, *, Number? correction=1, bool keepdim=False)", "std(Tensor self, int[]? dim, bool unbiased=True, bool keepdim=False)"],
    |n, a| Ok(match n {
        0 => std(a.tensor(0)?, &[], a.number(1)?.as_f64(), false)?,
        1 => std(a.tensor(0)?, a.ints(1)?, a.maybe_number(2)?.map_or(1.0, Scalar::as_f64), a.bool(3)?)?,
        _ => std(a.tensor(0)?, a.ints(1)?, a.number(2)?.as_f64(), a.bool(3)?)?,
    }.into())
}

/// Standard deviation over dimensions; none given means all.
///
/// # Errors
/// For integers, and dimensions out of range or named twice.
pub fn std(x: &Tensor, dims: &[isize], correction: f64, keepdim: bool) -> Result<Tensor> {
    if let Some(y) = batch::reduced("std", x, dims, keepdim, |x, dims, keepdim| std(x, dims, correction, keepdim)) {
        return y;
    }
    float("std", x)?;
    let s = settings("std", x, dims, keepdim, correction)?;
    let y = finished(&unrecorded(|| unary::sqrt(&variance(x, &s)?))?, &s)?;
    record(
        "StdBackward0",
        &y,
        &[x],
        &[Keep::Input(x), Keep::Output],
        || s,
        |call| {
            // dx = g (x - m) / ((n - correction) y)
            let (g, x, s) = (restored(&call.g, call.settings)?, &call.saved[0], call.settings);
            let y = restored(&call.saved[1], s)?;
            let centred = sub(x, &sum::mean(x, &s.dims, true, None)?)?;
            let scale = div(&g, &mul(&y, count(s) - s.number)?)?;
            let scale = compare::where_(&compare::eq(&y, 0.0)?, 0.0, &scale)?;
            Ok(smallvec![Some(mul(&scale, &centred)?)])
        },
    )?;
    Ok(y)
}

operation! {
    /// `log(sum(exp(x)))` over dimensions, computed from the greatest element so that nothing overflows:
    /// `dy/dx = exp(x - y)`. Integers become floats.
    ///
    /// >>> ferrograd.tensor([1000.0, 1000.0]).logsumexp(0)
    /// tensor(1000.6932)
    function ["logsumexp(Tensor self, int[] dim, bool keepdim=False)"], |_, a| {
        Ok(logsumexp(a.tensor(0)?, a.ints(1)?, a.bool(2)?)?.into())
    }
}

/// `log(sum(exp(x)))` over dimensions.
///
/// # Errors
/// For dimensions out of range or named twice.
pub fn logsumexp(x: &Tensor, dims: &[isize], keepdim: bool) -> Result<Tensor> {
    if let Some(y) = batch::reduced("logsumexp", x, dims, keepdim, logsumexp) {
        return y;
    }
    let x = &as_float(x)?;
    let s = settings("logsumexp", x, dims, keepdim, 0.0)?;
    let y = finished(&unrecorded(|| log_of_sum(x, &s))?, &s)?;
    record(
        "LogsumexpBackward0",
        &y,
        &[x],
        &[Keep::Input(x), Keep::Output],
        || s,
        |call| {
            // dx = g exp(x - y)
            let (g, y) = (restored(&call.g, call.settings)?, restored(&call.saved[1], call.settings)?);
            Ok(smallvec![Some(mul(&g, &unary::exp(&sub(&call.saved[0], &y)?)?)?)])
        },
    )?;
    Ok(y)
}

fn as_float(x: &Tensor) -> Result<Tensor> {
    if x.dtype().category() <= Category::Integer { cast::to(x, crate::tensor::default_dtype()) } else { Ok(x.clone()) }
}

/// `m + log(sum(exp(x - m)))` with the greatest element `m`, where that is finite.
fn log_of_sum(x: &Tensor, s: &Settings) -> Result<Tensor> {
    if x.numel() == 0 {
        let total = sum::sum(&unary::exp(x)?, &s.dims, true, None)?;
        return unary::log(&total);
    }
    let greatest = extremum::amax(x, &s.dims, true)?;
    let finite = compare::lt(&unary::abs(&greatest)?, f64::INFINITY)?;
    let shift = compare::where_(&finite, &greatest, 0.0)?;
    let total = sum::sum(&unary::exp(&sub(x, &shift)?)?, &s.dims, true, None)?;
    super::arithmetic::add(&unary::log(&total)?, &shift)
}

operation! {
    /// `exp(x) / sum(exp(x))` along a dimension: `dx = y (g - sum(g y))`.
    ///
    /// >>> ferrograd.tensor([0.0, 0.0]).softmax(0)
    /// tensor([0.5000, 0.5000])
    function ["softmax(Tensor self, int dim, DType? dtype=None)"], |_, a| {
        Ok(softmax(a.tensor(0)?, a.int(1)?, a.dtype(2)?)?.into())
    }
}

/// The normalised exponentials along a dimension.
///
/// # Errors
/// For integers, and a dimension out of range.
pub fn softmax(x: &Tensor, dim: isize, dtype: Option<DType>) -> Result<Tensor> {
    if let Some(y) = batch::along("softmax", x, dim, |x, dim| softmax(x, dim, dtype)) {
        return y;
    }
    let x = &cast::to(x, dtype.unwrap_or(x.dtype()))?;
    float("softmax", x)?;
    let dim = wrap_dim("softmax", dim, x.rank())? as isize;
    let y = unrecorded(|| {
        if x.numel() == 0 {
            return Tensor::zeros(x.shape(), x.dtype());
        }
        let e = unary::exp(&sub(x, &extremum::amax(x, &[dim], true)?)?)?;
        div(&e, &sum::sum(&e, &[dim], true, None)?)
    })?;
    let s = || Settings { dims: smallvec![dim], ..Settings::default() };
    record("SoftmaxBackward0", &y, &[x], &[Keep::Output], s, |call| {
        // dx = y (g - sum(g y))
        let (g, y) = (&call.g, &call.saved[0]);
        let inner = sum::sum(&mul(g, y)?, &call.settings.dims, true, None)?;
        Ok(smallvec![Some(mul(y, &sub(g, &inner)?)?)])
    })?;
    Ok(y)
}

operation! {
    /// `x - log(sum(exp(x)))` along a dimension: `dx = g - exp(y) sum(g)`.
    ///
    /// >>> ferrograd.tensor([0.0, 0.0]).log_softmax(0)
    /// tensor([-0.6931, -0.6931])
    function ["log_softmax(Tensor self, int dim, DType? dtype=None)"], |_, a| {
        Ok(log_softmax(a.tensor(0)?, a.int(1)?, a.dtype(2)?)?.into())
    }
}

/// The logarithm of [`softmax`].
///
/// # Errors
/// For integers, and a dimension out of range.
pub fn log_softmax(x: &Tensor, dim: isize, dtype: Option<DType>) -> Result<Tensor> {
    if let Some(y) = batch::along("log_softmax", x, dim, |x, dim| log_softmax(x, dim, dtype)) {
        return y;
    }
    let x = &cast::to(x, dtype.unwrap_or(x.dtype()))?;
    float("log_softmax", x)?;
    let dim = wrap_dim("log_softmax", dim, x.rank())? as isize;
    let y = unrecorded(|| {
        if x.numel() == 0 {
            return Tensor::zeros(x.shape(), x.dtype());
        }
        let shifted = sub(x, &extremum::amax(x, &[dim], true)?)?;
        sub(&shifted, &unary::log(&sum::sum(&unary::exp(&shifted)?, &[dim], true, None)?)?)
    })?;
    let s = || Settings { dims: smallvec![dim], ..Settings::default() };
    record("LogSoftmaxBackward0", &y, &[x], &[Keep::Output], s, |call| {
        // dx = g - exp(y) sum(g)
        let (g, y) = (&call.g, &call.saved[0]);
        let total = sum::sum(g, &call.settings.dims, true, None)?;
        Ok(smallvec![Some(sub(g, &mul(&unary::exp(y)?, &total)?)?)])
    })?;
    Ok(y)
}
