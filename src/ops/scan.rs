//! Running sums, products and extremes, and differences.

use smallvec::{SmallVec, smallvec};

use super::extremum::to_positions;
use super::recorded::{Call, Keep, Settings, record, refuse_integers};
use super::reduce::{readable_as, total_dtype, wide_float};
use super::registry::operation;
use super::{arithmetic, batch, cast, compare, copy, inplace, join, unary, view};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::graph::node::Gradients;
use crate::kernels::element::dispatch;
use crate::kernels::logsums;
use crate::kernels::scan::{self as kernel, Add, Of, Scan, Times};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::wrap_dim;
use crate::tensor::storage::Access;

/// Lines along a dimension: their length, and how many lie side by side.
fn sizes(x: &Tensor, dim: usize) -> (usize, usize) {
    let length = x.shape().get(dim).copied().unwrap_or(1);
    (length, x.shape().iter().skip(dim + 1).product())
}

/// A scan of a contiguous tensor of this type, without history.
fn scanned<K: Scan>(op: &'static str, x: &Tensor, dim: usize, reverse: bool, splits: bool) -> Result<Tensor> {
    let y = Tensor::uninitialized(op, x.shape(), x.dtype())?;
    let (length, inner) = sizes(x, dim);
    let _access = Access::lock([(&**x.storage(), false)]);
    // SAFETY: both are contiguous tensors of this type; `y` is new.
    unsafe { kernel::scan::<K>(x.elements(), y.elements_mut(), length, inner, reverse, splits) };
    Ok(y)
}

/// A tensor to scan in `target`: contiguous, of the type that its numbers are computed in.
fn scannable(x: &Tensor, target: DType) -> Result<Tensor> {
    let wide = match target {
        DType::F64 => DType::F64,
        other if other.is_floating_point() => DType::F32,
        _ => DType::I64,
    };
    copy::to_contiguous(&cast::to(&readable_as(x, target)?, wide)?)
}

/// The dtype of running sums and products, which bool has none of.
fn summed_dtype(op: &'static str, x: &Tensor, asked: Option<DType>) -> Result<DType> {
    match total_dtype(x.dtype(), asked) {
        DType::Bool => Err(Error::NotImplemented { op, what: "a result of bool: this".into() }),
        dtype => Ok(dtype),
    }
}

operation! {
    /// Running sum along a dimension: `y_i = x_0 + ... + x_i`. Integers and bool are summed in int64. The gradient is
    /// the running sum from the other end.
    ///
    /// >>> ferrograd.tensor([1, 2, 3]).cumsum(0)
    /// tensor([1, 3, 6])
    function Same(Any -> Sum), ["cumsum(Tensor self, int dim, *, DType? dtype=None)"],
    in_place |_, a| {
        let (dim, dtype) = (a.int(1)?, a.dtype(2)?);
        let own = a.tensor(0)?.dtype();
        if let Some(right) = dtype.filter(|&d| d != own) {
            return Err(Error::DTypeMismatch { op: "cumsum_", left: own, right });
        }
        Ok(inplace::apply("cumsum_", a.tensor(0)?, &[], &|x| cumsum(x, dim, Some(own)))?.into())
    },
    |_, a| Ok(cumsum(a.tensor(0)?, a.int(1)?, a.dtype(2)?)?.into())
}

/// Running sum along a dimension.
///
/// # Errors
/// For a dimension out of range.
pub fn cumsum(x: &Tensor, dim: isize, dtype: Option<DType>) -> Result<Tensor> {
    running_sum(x, dim, dtype, false)
}

/// Running sum from the first element, or from the last.
fn running_sum(x: &Tensor, dim: isize, dtype: Option<DType>, reverse: bool) -> Result<Tensor> {
    if let Some(y) = batch::along("cumsum", x, dim, |x, dim| running_sum(x, dim, dtype, reverse)) {
        return y;
    }
    let dim = wrap_dim("cumsum", dim, x.rank())?;
    let target = summed_dtype("cumsum", x, dtype)?;
    refuse_integers("cumsum", x, target)?;
    let y = unrecorded(|| {
        let x = scannable(x, target)?;
        let y = match x.dtype() {
            DType::F64 => scanned::<Of<f64, f64, Add>>("cumsum", &x, dim, reverse, true),
            DType::F32 => scanned::<Of<f32, f64, Add>>("cumsum", &x, dim, reverse, true),
            _ => scanned::<Of<i64, i64, Add>>("cumsum", &x, dim, reverse, true),
        };
        cast::to(&y?, target)
    })?;
    let settings = || Settings { dims: smallvec![dim as isize], keepdim: reverse, ..Settings::default() };
    // From the last element it is what torch makes of two flips, and named as the second one.
    let node = if reverse { "FlipBackward0" } else { "CumsumBackward0" };
    record(node, &y, &[x], &[], settings, |call| {
        Ok(smallvec![Some(running_sum(&call.g, call.settings.dims[0], None, !call.settings.keepdim)?)])
    })?;
    Ok(y)
}

operation! {
    /// Running product along a dimension: `y_i = x_0 ... x_i`. Integers and bool are multiplied in int64.
    ///
    /// >>> ferrograd.tensor([1, 2, 3]).cumprod(0)
    /// tensor([1, 2, 6])
    function Same(Any -> Sum), ["cumprod(Tensor self, int dim, *, DType? dtype=None)"],
    in_place |_, a| {
        let (dim, dtype) = (a.int(1)?, a.dtype(2)?);
        let own = a.tensor(0)?.dtype();
        if let Some(right) = dtype.filter(|&d| d != own) {
            return Err(Error::DTypeMismatch { op: "cumprod_", left: own, right });
        }
        Ok(inplace::apply("cumprod_", a.tensor(0)?, &[], &|x| cumprod(x, dim, Some(own)))?.into())
    },
    |_, a| Ok(cumprod(a.tensor(0)?, a.int(1)?, a.dtype(2)?)?.into())
}

/// Running product along a dimension.
///
/// # Errors
/// For a dimension out of range.
pub fn cumprod(x: &Tensor, dim: isize, dtype: Option<DType>) -> Result<Tensor> {
    if let Some(y) = batch::along("cumprod", x, dim, |x, dim| cumprod(x, dim, dtype)) {
        return y;
    }
    let dim = wrap_dim("cumprod", dim, x.rank())?;
    let target = summed_dtype("cumprod", x, dtype)?;
    refuse_integers("cumprod", x, target)?;
    let y = unrecorded(|| {
        let x = scannable(x, target)?;
        let y = match x.dtype() {
            DType::F64 => scanned::<Of<f64, f64, Times>>("cumprod", &x, dim, false, false),
            DType::F32 => scanned::<Of<f32, f64, Times>>("cumprod", &x, dim, false, false),
            _ => scanned::<Of<i64, i64, Times>>("cumprod", &x, dim, false, false),
        };
        cast::to(&y?, target)
    })?;
    let settings = || Settings { dims: smallvec![dim as isize], ..Settings::default() };
    record("CumprodBackward0", &y, &[x], &[Keep::Input(x), Keep::Output], settings, of_product)?;
    Ok(y)
}

/// dx_k = p_k s_k with the product `p_k` of the elements before and `s_k = g_k + x_{k+1} s_{k+1}`: no division, so that
/// zeros need no care.
fn of_product(call: &Call) -> Result<Gradients> {
    let (g, dim) = (&call.g, call.settings.dims[0]);
    let x = &cast::to(&call.saved[0], g.dtype())?;
    if x.rank() == 0 || x.numel() == 0 {
        return Ok(smallvec![Some(g.clone())]);
    }
    let before = shifted(&call.saved[1], dim, 1, 1.0)?;
    let sums = recurrence(&shifted(x, dim, -1, 0.0)?, g, dim, true)?;
    Ok(smallvec![Some(arithmetic::mul(&before, &sums)?)])
}

/// The elements moved one place along a dimension, up or down, with a number in the place that is left.
fn shifted(x: &Tensor, dim: isize, by: isize, number: f64) -> Result<Tensor> {
    let n = x.shape()[dim as usize] as isize;
    let mut shape = x.layout().shape.clone();
    shape[dim as usize] = 1;
    let end = Tensor::full(&shape, number, x.dtype())?;
    if by > 0 {
        join::cat(&[end, view::narrow(x, dim, 0, n - 1)?], dim)
    } else {
        join::cat(&[view::narrow(x, dim, 1, n - 1)?, end], dim)
    }
}

/// `y_i = x_i + a_i y_{i-1}` along a dimension, or with `y_{i+1}` where `reverse`; the first `a` counts for nothing.
fn recurrence(a: &Tensor, x: &Tensor, dim: isize, reverse: bool) -> Result<Tensor> {
    const OP: &str = "recurrence";
    if let Some(both) = batch::together(&[a.clone(), x.clone()]) {
        let (both, level) = both?;
        return recurrence(&both[0], &both[1], dim + 1, reverse).map(|y| Tensor::batched(&y, level));
    }
    let y = unrecorded(|| {
        let (a, x) = (scannable(a, x.dtype())?, scannable(x, x.dtype())?);
        let y = Tensor::uninitialized(OP, x.shape(), x.dtype())?;
        let lines = sizes(&x, dim as usize);
        let access = Access::lock([(&**a.storage(), false), (&**x.storage(), false)]);
        // SAFETY: all are contiguous tensors of this type; `y` is new.
        unsafe {
            wide_float!(x.dtype(), A => {
                kernel::recurrence::<A>(a.elements(), x.elements(), y.elements_mut(), lines, reverse);
            });
        }
        drop(access);
        Ok(y)
    })?;
    let y = unrecorded(|| cast::to(&y, x.dtype()))?;
    let settings = || Settings { dims: smallvec![dim], keepdim: reverse, ..Settings::default() };
    record("RecurrenceBackward0", &y, &[a, x], &[Keep::Input(a), Keep::Output], settings, |call| {
        // dx is the recurrence from the other end, da_i = dx_i y_{i-1}
        let (a, y, dim, reverse) = (&call.saved[0], &call.saved[1], call.settings.dims[0], call.settings.keepdim);
        let by = if reverse { -1 } else { 1 };
        let dx = recurrence(&shifted(a, dim, -by, 0.0)?, &call.g, dim, !reverse)?;
        let da = if call.needs[0] { Some(arithmetic::mul(&dx, &shifted(y, dim, by, 0.0)?)?) } else { None };
        Ok(smallvec![da, Some(dx)])
    })?;
    Ok(y)
}

operation! {
    /// Running `log(sum(exp(x)))` along a dimension. Floating-point dtypes only.
    ///
    /// >>> ferrograd.tensor([0.0, 0.0]).logcumsumexp(0)
    /// tensor([0.0000, 0.6931])
    function Same(Floats -> Kept), ["logcumsumexp(Tensor self, int dim)"], |_, a| Ok(logcumsumexp(a.tensor(0)?, a.int(1)?)?.into())
}

/// Running `log(sum(exp(x)))` along a dimension.
///
/// # Errors
/// For integers, and a dimension out of range.
pub fn logcumsumexp(x: &Tensor, dim: isize) -> Result<Tensor> {
    const OP: &str = "logcumsumexp";
    if let Some(y) = batch::along(OP, x, dim, logcumsumexp) {
        return y;
    }
    let dim = wrap_dim(OP, dim, x.rank())?;
    if !x.dtype().is_floating_point() {
        return Err(Error::NotImplemented { op: OP, what: format!("{}: it takes floats only; this", x.dtype()) });
    }
    let y = unrecorded(|| {
        let wide = scannable(x, x.dtype())?;
        let y = Tensor::uninitialized(OP, x.shape(), wide.dtype())?;
        let (length, inner) = sizes(x, dim);
        let access = Access::lock([(&**wide.storage(), false)]);
        // SAFETY: both are contiguous tensors of this type; `y` is new.
        unsafe {
            wide_float!(wide.dtype(), A => logsums::running::<A>(wide.elements(), y.elements_mut(), length, inner));
        }
        drop(access);
        cast::to(&y, x.dtype())
    })?;
    let settings = || Settings { dims: smallvec![dim as isize], ..Settings::default() };
    record("LogcumsumexpBackward0", &y, &[x], &[Keep::Input(x), Keep::Output], settings, |call| {
        // dx_k = exp(x_k - y_k) s_k with s_k = g_k + exp(y_k - y_{k+1}) s_{k+1}: no exponential is greater than 1.
        let (g, x, y) = (&call.g, &call.saved[0], &call.saved[1]);
        let dim = call.settings.dims[0];
        if x.rank() == 0 || x.numel() == 0 {
            return Ok(smallvec![Some(arithmetic::mul(g, &unary::exp(&arithmetic::sub(x, y)?)?)?)]);
        }
        let n = y.shape()[dim as usize] as isize;
        let next = join::cat(&[view::narrow(y, dim, 1, n - 1)?, view::narrow(y, dim, n - 1, 1)?], dim)?;
        // Equal infinities have no distance.
        let equal = compare::eq(y, &next)?;
        let apart = arithmetic::sub(&compare::where_(&equal, 0.0, y)?, &compare::where_(&equal, 0.0, &next)?)?;
        let sums = recurrence(&unary::exp(&apart)?, g, dim, true)?;
        Ok(smallvec![Some(arithmetic::mul(&unary::exp(&arithmetic::sub(x, y)?)?, &sums)?)])
    })?;
    Ok(y)
}

operation! {
    /// Running greatest element along a dimension, and where it was last found. NaN is greater than all.
    ///
    /// >>> ferrograd.tensor([1, 3, 2]).cummax(0).values
    /// tensor([1, 3, 3])
    function Same(Any -> Indexed), ["cummax(Tensor self, int dim) -> (Tensor values, Tensor indices)"], |_, a| {
        Ok(running_extreme("cummax", "CummaxBackward0", a.tensor(0)?, a.int(1)?)?.into())
    }
}

operation! {
    /// Running least element along a dimension, and where it was last found. NaN is less than all.
    ///
    /// >>> ferrograd.tensor([2, 3, 1]).cummin(0).values
    /// tensor([2, 2, 1])
    function Same(Any -> Indexed), ["cummin(Tensor self, int dim) -> (Tensor values, Tensor indices)"], |_, a| {
        Ok(running_extreme("cummin", "CumminBackward0", a.tensor(0)?, a.int(1)?)?.into())
    }
}

/// The running extreme along a dimension and its indices: the greatest for `cummax`, else the least.
fn running_extreme(op: &'static str, node: &'static str, x: &Tensor, dim: isize) -> Result<[Tensor; 2]> {
    if let Some(both) = batch::along_both(op, x, dim, |x, dim| running_extreme(op, node, x, dim)) {
        return both;
    }
    let dim = wrap_dim(op, dim, x.rank())?;
    let source = copy::to_contiguous(&x.detach())?;
    let y = Tensor::uninitialized(op, x.shape(), x.dtype())?;
    let indices = Tensor::uninitialized(op, x.shape(), DType::I64)?;
    let lines = sizes(x, dim);
    let access = Access::lock([(&**source.storage(), false)]);
    dispatch!(op, x.dtype(), T => {
        // SAFETY: all are contiguous tensors of these types; the results are new.
        let (from, values, places) = unsafe { (source.elements::<T>(), y.elements_mut::<T>(), indices.elements_mut()) };
        if op == "cummax" {
            kernel::extremes(from, values, places, lines, |a, b| a >= b);
        } else {
            kernel::extremes(from, values, places, lines, |a, b| a <= b);
        }
    });
    drop(access);
    let settings = || Settings {
        shape: x.layout().shape.clone(),
        dims: smallvec![dim as isize],
        keepdim: true,
        ..Settings::default()
    };
    record(node, &y, &[x], &[Keep::Input(&indices)], settings, to_positions)?;
    Ok([y, indices])
}

operation! {
    /// Differences of neighbours along a dimension, `n` times; of bool, whether they differ. `prepend` and `append` are
    /// joined to the ends first. With `n = 0` the tensor as it is.
    ///
    /// Shapes: any of at least one dimension; `n` elements less along `dim`.
    ///
    /// >>> ferrograd.tensor([1, 4, 9]).diff()
    /// tensor([3, 5])
    function Noted(Any -> Promoted), ["diff(Tensor self, int n=1, int dim=-1, Tensor? prepend=None, Tensor? append=None)"], |_, a| {
        let (n, dim) = (a.int(1)?, a.int(2)?);
        let parts = [a.maybe_tensor(3)?, Some(a.tensor(0)?), a.maybe_tensor(4)?];
        let parts: SmallVec<[Tensor; 3]> = parts.into_iter().flatten().cloned().collect();
        Ok(diff(a.tensor(0)?, &parts, n, dim)?.into())
    }
}

/// Differences of neighbours of joined tensors along a dimension, `n` times.
fn diff(x: &Tensor, parts: &[Tensor], n: isize, dim: isize) -> Result<Tensor> {
    const OP: &str = "diff";
    if x.rank() == 0 {
        return Err(Error::Rank { op: OP, expected: "input to be at least one-dimensional", shape: vec![] });
    }
    let dim = wrap_dim(OP, dim, x.rank())?;
    if let Some(part) = parts.iter().find(|p| p.rank() != x.rank()) {
        let expected = "prepend and append to have the same number of dimensions as input";
        return Err(Error::Rank { op: OP, expected, shape: part.shape().to_vec() });
    }
    if n < 0 {
        return Err(Error::Invalid { op: OP, what: format!("order must be non-negative but got {n}") });
    }
    if n == 0 {
        // As in NumPy: then nothing is joined either.
        return copy::clone(x);
    }
    let mut y = if parts.len() > 1 { join::cat(parts, dim as isize)? } else { x.clone() };
    for _ in 0..(n as usize).min(y.shape()[dim]) {
        let rest = y.shape()[dim] as isize - 1;
        let (later, earlier) = (view::narrow(&y, dim as isize, 1, rest)?, view::narrow(&y, dim as isize, 0, rest)?);
        y = if y.dtype() == DType::Bool {
            compare::logical_xor(&later, &earlier)?
        } else {
            arithmetic::sub(&later, &earlier)?
        };
    }
    Ok(y)
}
