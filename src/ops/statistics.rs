//! Variance and standard deviation.

use smallvec::smallvec;

use super::arithmetic::{add, div, mul, sub};
use super::recorded::{Call, Keep, Settings, record, record_all, restored};
use super::reduce::{Plan, wide};
use super::registry::{Arguments, operation};
use super::{batch, cast, compare, copy, sum, unary, view};
use crate::error::{Error, Result};
use crate::graph::forward::{added, unrecorded};
use crate::graph::node::Gradients;
use crate::kernels::reduce::kinds::{Deviations, Distances};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::scalar::Scalar;

/// An error for dtypes that have no quotients.
fn refuse_integers(op: &'static str, dtype: DType) -> Result<()> {
    if dtype.is_floating_point() {
        return Ok(());
    }
    Err(Error::DTypeInvalid { op, dtype, rule: "std and var only support floating point dtypes" })
}

/// The elements that go into one result.
fn count(s: &Settings) -> f64 {
    s.dims.iter().map(|&d| s.shape[d as usize]).product::<usize>() as f64
}

/// The variance and the mean, without history, in float64: the mean first, then the squared distances from it. The mean
/// is that of the distances from the first element, so that equal elements have the variance 0.
pub(super) fn moments(plan: &Plan, x: &Tensor, correction: f64) -> Result<[Tensor; 2]> {
    let n = plan.length() as f64;
    if n == 0.0 {
        let none = Tensor::full(&plan.shape(), f64::NAN, DType::F64)?;
        return Ok([none.clone(), none]);
    }
    let mut first = x.layout().clone();
    plan.dims.iter().for_each(|&d| first.shape[d as usize] = 1);
    let first = cast::to(&copy::contiguous_copy(&x.alias(first, false))?, DType::F64)?;
    let (mean, squares) = wide!(x.dtype(), A => {
        let distances = plan.run::<Distances<A, f64>>(x, Some(&first))?;
        let mean = add(&view::reshape(&first, &view::signed(distances.shape()))?, &div(&distances, n)?)?;
        let squares = plan.run::<Deviations<A, f64>>(x, Some(&mean))?;
        (mean, squares)
    });
    Ok([div(&squares, (n - correction).max(0.0))?, mean])
}

/// The derivative of a variance: `g 2 (x - m) / (n - correction)`.
fn of_variance(g: &Tensor, x: &Tensor, s: &Settings) -> Result<Tensor> {
    let centred = sub(x, &sum::mean(x, &s.dims, true, None)?)?;
    mul(&mul(g, 2.0 / (count(s) - s.number))?, &centred)
}

/// The derivative of a standard deviation: `g (x - m) / ((n - correction) y)`, zero where `y = 0`.
fn of_deviation(g: &Tensor, x: &Tensor, y: &Tensor, s: &Settings) -> Result<Tensor> {
    // Masked before the division, whose own derivative has no infinities then.
    let none = compare::eq(y, 0.0)?;
    let (g, y) = (compare::where_(&none, 0.0, g)?, compare::where_(&none, 1.0, y)?);
    of_variance(&div(&g, &mul(&y, 2.0)?)?, x, s)
}

/// The dimensions, the correction and `keepdim` of a call by the number of its signature.
fn arguments<'a>(n: usize, a: &'a Arguments) -> Result<(&'a [isize], f64, bool)> {
    Ok(match n {
        0 => (&[], a.number(1)?.as_f64(), false),
        1 => (a.ints(1)?, a.maybe_number(2)?.map_or(1.0, Scalar::as_f64), a.bool(3)?),
        _ => (a.ints(1)?, a.number(2)?.as_f64(), a.bool(3)?),
    })
}

operation! {
    /// Variance over dimensions, or of all elements: `y = sum (x - m)^2 / (n - correction)` with the mean `m`,
    /// `dy/dx = 2 (x - m) / (n - correction)`.
    ///
    /// >>> ferrograd.tensor([1.0, 2.0, 3.0, 4.0]).var()
    /// tensor(1.6667)
    function Reduced(Floats -> Like), ["var(Tensor self, bool unbiased)", "var(Tensor self, int[]? dim=None, *, Number? correction=1, bool keepdim=False)", "var(Tensor self, int[]? dim, bool unbiased=True, bool keepdim=False)"],
    |n, a| {
        let (dims, correction, keepdim) = arguments(n, a)?;
        Ok(var(a.tensor(0)?, dims, correction, keepdim)?.into())
    }
}

/// Variance over dimensions; none given means all.
///
/// # Errors
/// For integers, and dimensions out of range or named twice.
pub fn var(x: &Tensor, dims: &[isize], correction: f64, keepdim: bool) -> Result<Tensor> {
    if let Some(y) = batch::reduced("var", x, dims, keepdim, |x, dims, keepdim| var(x, dims, correction, keepdim)) {
        return y;
    }
    refuse_integers("var", x.dtype())?;
    let plan = Plan::new("var", x, dims, keepdim)?;
    let y = unrecorded(|| cast::to(&moments(&plan, x, correction)?[0], x.dtype()))?;
    record(
        "VarBackward0",
        &y,
        &[x],
        &[Keep::Input(x)],
        || plan.settings(correction),
        |call| Ok(smallvec![Some(of_variance(&restored(&call.g, call.settings)?, &call.saved[0], call.settings)?)]),
    )?;
    Ok(y)
}

operation! {
    /// Standard deviation over dimensions, or of all elements: `y = sqrt(var(x))`,
    /// `dy/dx = (x - m) / ((n - correction) y)`, zero where `y = 0`.
    ///
    /// >>> ferrograd.tensor([1.0, 2.0, 3.0, 4.0]).std()
    /// tensor(1.2910)
    function Reduced(Floats -> Like), ["std(Tensor self, bool unbiased)", "std(Tensor self, int[]? dim=None, *, Number? correction=1, bool keepdim=False)", "std(Tensor self, int[]? dim, bool unbiased=True, bool keepdim=False)"],
    |n, a| {
        let (dims, correction, keepdim) = arguments(n, a)?;
        Ok(std(a.tensor(0)?, dims, correction, keepdim)?.into())
    }
}

/// Standard deviation over dimensions; none given means all.
///
/// # Errors
/// For integers, and dimensions out of range or named twice.
pub fn std(x: &Tensor, dims: &[isize], correction: f64, keepdim: bool) -> Result<Tensor> {
    if let Some(y) = batch::reduced("std", x, dims, keepdim, |x, dims, keepdim| std(x, dims, correction, keepdim)) {
        return y;
    }
    refuse_integers("std", x.dtype())?;
    let plan = Plan::new("std", x, dims, keepdim)?;
    let y = unrecorded(|| cast::to(&unary::sqrt(&moments(&plan, x, correction)?[0])?, x.dtype()))?;
    let keep = [Keep::Input(x), Keep::Output];
    record(
        "StdBackward0",
        &y,
        &[x],
        &keep,
        || plan.settings(correction),
        |call| {
            let (g, y) = (restored(&call.g, call.settings)?, restored(&call.saved[1], call.settings)?);
            Ok(smallvec![Some(of_deviation(&g, &call.saved[0], &y, call.settings)?)])
        },
    )?;
    Ok(y)
}

operation! {
    /// Variance and mean over dimensions, or of all elements, in one call.
    ///
    /// >>> ferrograd.var_mean(ferrograd.tensor([1.0, 2.0, 3.0]))
    /// (tensor(1.), tensor(2.))
    function Reduced(Floats -> Like), ["var_mean(Tensor input, bool unbiased) -> (Tensor, Tensor)", "var_mean(Tensor input, int[]? dim=None, *, Number? correction=1, bool keepdim=False) -> (Tensor, Tensor)", "var_mean(Tensor input, int[]? dim, bool unbiased=True, bool keepdim=False) -> (Tensor, Tensor)"],
    |n, a| {
        let (dims, correction, keepdim) = arguments(n, a)?;
        Ok(spread_and_mean("var_mean", a.tensor(0)?, dims, correction, keepdim)?.into())
    }
}

operation! {
    /// Standard deviation and mean over dimensions, or of all elements, in one call.
    ///
    /// >>> ferrograd.std_mean(ferrograd.tensor([1.0, 2.0, 3.0]))
    /// (tensor(1.), tensor(2.))
    function Reduced(Floats -> Like), ["std_mean(Tensor input, bool unbiased) -> (Tensor, Tensor)", "std_mean(Tensor input, int[]? dim=None, *, Number? correction=1, bool keepdim=False) -> (Tensor, Tensor)", "std_mean(Tensor input, int[]? dim, bool unbiased=True, bool keepdim=False) -> (Tensor, Tensor)"],
    |n, a| {
        let (dims, correction, keepdim) = arguments(n, a)?;
        Ok(spread_and_mean("std_mean", a.tensor(0)?, dims, correction, keepdim)?.into())
    }
}

/// The variance, or by name the standard deviation, and the mean.
fn spread_and_mean(
    op: &'static str,
    x: &Tensor,
    dims: &[isize],
    correction: f64,
    keepdim: bool,
) -> Result<[Tensor; 2]> {
    let rule = |x: &Tensor, dims: &[isize], keepdim| spread_and_mean(op, x, dims, correction, keepdim);
    if let Some(found) = batch::reduction(op, x, dims, keepdim, rule) {
        return found.map(|(both, level)| both.map(|y| Tensor::batched(&y, level)));
    }
    refuse_integers(op, x.dtype())?;
    let is_deviation = op == "std_mean";
    let plan = Plan::new(op, x, dims, keepdim)?;
    let (y, mean) = unrecorded(|| {
        let [variance, mean] = moments(&plan, x, correction)?;
        let y = if is_deviation { unary::sqrt(&variance)? } else { variance };
        Ok((cast::to(&y, x.dtype())?, cast::to(&mean, x.dtype())?))
    })?;
    let settings = || plan.settings(correction);
    if is_deviation {
        let keep = [Keep::Input(x), Keep::Output];
        record_all("StdMeanBackward0", &[&y, &mean], &[x], &keep, settings, |call| {
            both(call, |g| of_deviation(g, &call.saved[0], &restored(&call.saved[1], call.settings)?, call.settings))
        })?;
    } else {
        record_all("VarMeanBackward0", &[&y, &mean], &[x], &[Keep::Input(x)], settings, |call| {
            both(call, |g| of_variance(g, &call.saved[0], call.settings))
        })?;
    }
    Ok([y, mean])
}

/// The gradient through a spread and a mean, where they have gradients.
fn both(call: &Call, spread: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Gradients> {
    let s = call.settings;
    let mut total = None;
    if let Some(Some(g)) = call.gradients.first() {
        total = Some(spread(&restored(g, s)?)?);
    }
    if let Some(Some(g)) = call.gradients.get(1) {
        let g = view::expand(&div(&restored(g, s)?, count(s))?, &view::signed(&s.shape))?;
        total = Some(added(total, g)?);
    }
    Ok(smallvec![total])
}
