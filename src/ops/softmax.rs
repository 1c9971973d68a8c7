//! Sums of exponentials and what is normalised by them.

use smallvec::smallvec;

use super::arithmetic::{add, mul, sub};
use super::recorded::{Call, Keep, Settings, is_plain, record, restored};
use super::reduce::{Plan, wide_float};
use super::registry::{Arguments, operation};
use super::{batch, cast, compare, copy, extremum, sum, unary};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::graph::node::Gradients;
use crate::kernels::pointwise::Values;
use crate::kernels::reduce::kinds::Exponentials;
use crate::kernels::softmax::{self as kernel, Kind};
use crate::tensor::dtype::{Category, DType};
use crate::tensor::layout::wrap_dim;
use crate::tensor::storage::Access;
use crate::tensor::{Tensor, pending};

operation! {
    /// `log(sum(exp(x)))` over dimensions, computed from the greatest element so that nothing overflows:
    /// `dy/dx = exp(x - y)`. Integers become floats.
    ///
    /// >>> ferrograd.tensor([1000.0, 1000.0]).logsumexp(0)
    /// tensor(1000.6932)
    function Reduced(Any -> Float), ["logsumexp(Tensor self, int[] dim, bool keepdim=False)"; also "special.logsumexp"], |_, a| {
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
    let plan = Plan::new("logsumexp", x, dims, keepdim)?;
    let y = unrecorded(|| log_of_sum(x, &plan))?;
    let settings = || plan.settings(0.0);
    record("LogsumexpBackward0", &y, &[x], &[Keep::Input(x), Keep::Output], settings, |call| {
        // dx = g exp(x - y)
        let (g, y) = (restored(&call.g, call.settings)?, restored(&call.saved[1], call.settings)?);
        Ok(smallvec![Some(mul(&g, &unary::exp(&sub(&call.saved[0], &y)?)?)?)])
    })?;
    Ok(y)
}

fn as_float(x: &Tensor) -> Result<Tensor> {
    if x.dtype().category() <= Category::Integer { cast::to(x, crate::tensor::default_dtype()) } else { Ok(x.clone()) }
}

/// `m + log(sum(exp(x - m)))` with the greatest element `m`, where that is finite.
fn log_of_sum(x: &Tensor, plan: &Plan) -> Result<Tensor> {
    if plan.length() == 0 {
        let nothing = sum::sum(x, &plan.dims, false, None)?;
        return unary::log(&super::view::reshape(&nothing, &super::view::signed(&plan.shape()))?);
    }
    if let Some(y) = by_lines(x, plan)? {
        return Ok(y);
    }
    let greatest = extremum::amax(x, &plan.dims, true)?;
    let finite = compare::lt(&unary::abs(&greatest)?, f64::INFINITY)?;
    let shift = compare::where_(&finite, &greatest, 0.0)?;
    let total = if x.dtype() == DType::F64 {
        plan.run::<Exponentials<f64>>(x, Some(&shift))?
    } else {
        plan.run::<Exponentials<f32>>(x, Some(&cast::to(&shift, DType::F32)?))?
    };
    let shift = super::view::reshape(&shift, &super::view::signed(total.shape()))?;
    cast::to(&add(&unary::log(&total)?, &shift)?, x.dtype())
}

/// The longest lines whose exponentials are summed from one end to the other: longer ones in pieces, by many threads.
const LONGEST: usize = 8192;

/// As [`log_of_sum`], where the sums are over neighbouring dimensions of a tensor whose elements are there.
fn by_lines(x: &Tensor, plan: &Plan) -> Result<Option<Tensor>> {
    let (Some(&last), length) = (plan.dims.last(), plan.length()) else { return Ok(None) };
    let are_lines = plan.dims.windows(2).all(|pair| pair[0] + 1 == pair[1]) && length <= LONGEST;
    if !are_lines || x.is_pending() || !x.is_contiguous() || !matches!(x.dtype(), DType::F32 | DType::F64) {
        return Ok(None);
    }
    let y = Tensor::uninitialized("logsumexp", &plan.shape(), x.dtype())?;
    let inner = x.shape()[last as usize + 1..].iter().product();
    // SAFETY: `y` is new, and has a number for each line.
    unsafe { run_forward(Kind::LogSum, x, &y, length, inner) };
    Ok(Some(y))
}

/// Runs a kernel on `x`, float32 or float64.
///
/// # Safety
/// Both are contiguous and of one dtype; `y` has the size of the results, and nobody else has it.
unsafe fn run_forward(kind: Kind, x: &Tensor, y: &Tensor, length: usize, inner: usize) {
    let _access = Access::lock([(&**x.storage(), false)]);
    // SAFETY: the caller's.
    unsafe {
        wide_float!(x.dtype(), A => kernel::forward(kind, x.elements::<A>(), y.elements_mut(), length, inner));
    }
}

operation! {
    /// `exp(x) / sum(exp(x))` along a dimension: `dx = y (g - sum(g y))`.
    ///
    /// >>> ferrograd.tensor([0.0, 0.0]).softmax(0)
    /// tensor([0.5000, 0.5000])
    function Same(Floats -> Kept), ["softmax(Tensor self, int dim, DType? dtype=None)"; also "special.softmax"], |_, a| {
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
    let dim = wrap_dim("softmax", dim, x.rank())?;
    refuse("softmax", x)?;
    let y = normalised("softmax", Kind::Softmax, x, dim)?;
    let settings = || Settings { dims: smallvec![dim as isize], ..Settings::default() };
    record("SoftmaxBackward0", &y, &[x], &[Keep::Output], settings, |call| {
        if let Some(found) = direct(Kind::Softmax, call)? {
            return Ok(found);
        }
        Ok(smallvec![Some(of_softmax(&call.g, &call.saved[0], &call.settings.dims)?)])
    })?;
    Ok(y)
}

operation! {
    /// `x - log(sum(exp(x)))` along a dimension: `dx = g - exp(y) sum(g)`.
    ///
    /// >>> ferrograd.tensor([0.0, 0.0]).log_softmax(0)
    /// tensor([-0.6931, -0.6931])
    function Same(Floats -> Kept), ["log_softmax(Tensor self, int dim, DType? dtype=None)"; also "special.log_softmax"], |_, a| {
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
    let dim = wrap_dim("log_softmax", dim, x.rank())?;
    refuse("log_softmax", x)?;
    let y = normalised("log_softmax", Kind::LogSoftmax, x, dim)?;
    let settings = || Settings { dims: smallvec![dim as isize], ..Settings::default() };
    record("LogSoftmaxBackward0", &y, &[x], &[Keep::Output], settings, |call| {
        if let Some(found) = direct(Kind::LogSoftmax, call)? {
            return Ok(found);
        }
        Ok(smallvec![Some(of_log_softmax(&call.g, &call.saved[0], &call.settings.dims)?)])
    })?;
    Ok(y)
}

/// The gradient, the result, the dimension and the dtype of the input that a gradient of a normalisation is called with.
fn gradient_called<'a>(a: &'a Arguments) -> Result<(&'a Tensor, &'a Tensor, [isize; 1])> {
    let (g, y, input) = (a.tensor(0)?, a.tensor(1)?, a.dtype(3)?);
    let narrow = input.filter(|dtype| matches!(dtype, DType::F16 | DType::BF16));
    for dtype in [Some(y.dtype()), narrow].into_iter().flatten() {
        if dtype != g.dtype() {
            return Err(Error::DTypeMismatch { op: a.op, left: g.dtype(), right: dtype });
        }
    }
    refuse(a.op, g)?;
    Ok((g, y, [wrap_dim(a.op, a.int(2)?, y.rank())? as isize]))
}

operation! {
    /// The gradient of the input of `softmax` along a dimension, `y (g - sum(g y))` for the result `y` and its gradient `g`.
    ///
    /// >>> y = ferrograd.tensor([0.5, 0.5])
    /// >>> ferrograd._softmax_backward_data(ferrograd.tensor([1.0, 0.0]), y, 0, ferrograd.float32)
    /// tensor([ 0.2500, -0.2500])
    function Same(Floats -> Shared), ["_softmax_backward_data(Tensor grad_output, Tensor output, int dim, DType input_dtype)"], |_, a| {
        let (g, y, dim) = gradient_called(a)?;
        Ok(of_softmax(g, y, &dim)?.into())
    }
}

operation! {
    /// The gradient of the input of `log_softmax` along a dimension, `g - exp(y) sum(g)` for the result `y` and its gradient `g`.
    ///
    /// >>> y = ferrograd.tensor([0.0, 0.0]).log_softmax(0)
    /// >>> ferrograd._log_softmax_backward_data(ferrograd.tensor([1.0, 0.0]), y, 0, ferrograd.float32)
    /// tensor([ 0.5000, -0.5000])
    function Same(Floats -> Shared), ["_log_softmax_backward_data(Tensor grad_output, Tensor output, int dim, DType input_dtype)"], |_, a| {
        let (g, y, dim) = gradient_called(a)?;
        Ok(of_log_softmax(g, y, &dim)?.into())
    }
}

/// A gradient and a result in the type that is computed in: steps are not rounded to 16 bits.
fn widened(g: &Tensor, y: &Tensor) -> Result<[Tensor; 2]> {
    let wide = |t: &Tensor| cast::to(t, t.dtype().computed_in());
    Ok([wide(g)?, wide(y)?])
}

/// `y (g - sum(g y))`
fn of_softmax(g: &Tensor, y: &Tensor, dims: &[isize]) -> Result<Tensor> {
    let dtype = y.dtype();
    let [g, y] = &widened(g, y)?;
    let inner = sum::sum(&mul(g, y)?, dims, true, None)?;
    cast::to(&mul(y, &sub(g, &inner)?)?, dtype)
}

/// `g - exp(y) sum(g)`
fn of_log_softmax(g: &Tensor, y: &Tensor, dims: &[isize]) -> Result<Tensor> {
    let dtype = y.dtype();
    let [g, y] = &widened(g, y)?;
    let total = sum::sum(g, dims, true, None)?;
    cast::to(&sub(g, &mul(&unary::exp(y)?, &total)?)?, dtype)
}

/// An error for numbers that have no exponentials.
fn refuse(op: &'static str, x: &Tensor) -> Result<()> {
    let dtype = x.dtype();
    if dtype.is_floating_point() || x.numel() == 0 {
        return Ok(());
    }
    Err(Error::NotImplemented { op, what: format!("{dtype}: pass a floating point dtype; this") })
}

/// The sizes of the lines along a dimension: their length, and how many lie side by side.
fn sizes(x: &Tensor, dim: usize) -> (usize, usize) {
    let length = x.shape().get(dim).copied().unwrap_or(1);
    (length, x.shape().iter().skip(dim + 1).product())
}

/// The softmax or its logarithm, without history.
fn normalised(op: &'static str, kind: Kind, x: &Tensor, dim: usize) -> Result<Tensor> {
    if x.numel() == 0 {
        return Tensor::zeros(x.shape(), x.dtype());
    }
    unrecorded(|| {
        let (length, inner) = sizes(x, dim);
        let wide = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let x_wide = cast::to(x, wide)?;
        let y = Tensor::uninitialized(op, x.shape(), wide)?;
        if inner > 1 || pending::with_values(&x_wide, |values| of_values(kind, values, &y, length))?.is_none() {
            let source = copy::to_contiguous(&x_wide)?;
            // SAFETY: both are contiguous tensors of this type; `y` is new.
            unsafe { run_forward(kind, &source, &y, length, inner) };
        }
        cast::to(&y, x.dtype())
    })
}

/// Runs a kernel on the lines of values that are computed as they are read, float32 or float64, into `y`, which is new.
fn of_values(kind: Kind, values: &dyn Values, y: &Tensor, length: usize) {
    wide_float!(y.dtype(), A => {
        // SAFETY: `y` is a new contiguous tensor of this type, with a place for each value.
        unsafe { kernel::forward_computed::<A>(kind, values, y.elements_mut(), length) }
    });
}

/// The gradient by the kernel, where nobody asks for the gradient's own.
fn direct(kind: Kind, call: &Call) -> Result<Option<Gradients>> {
    let (g, y) = (&call.g, &call.saved[0]);
    if !is_plain([g, y]) || !matches!(y.dtype(), DType::F32 | DType::F64) || g.dtype() != y.dtype() {
        return Ok(None);
    }
    let (length, inner) = sizes(y, call.settings.dims[0] as usize);
    if call.has_spare_gradient() {
        let _access = Access::lock([(&**y.storage(), false), (&**g.storage(), true)]);
        // SAFETY: both are contiguous tensors of this type, and nobody else has the gradient.
        unsafe {
            wide_float!(y.dtype(), A => {
                kernel::backward_in_place(kind, y.elements::<A>(), g.elements_mut(), length, inner);
            });
        }
        return Ok(Some(smallvec![Some(g.clone())]));
    }
    let g = copy::to_contiguous(g)?;
    let dx = Tensor::uninitialized("softmax", y.shape(), y.dtype())?;
    let _access = Access::lock([(&**y.storage(), false), (&**g.storage(), false)]);
    // SAFETY: all are contiguous tensors of this type; `dx` is new.
    unsafe {
        wide_float!(y.dtype(), A => {
            kernel::backward(kind, y.elements::<A>(), g.elements(), dx.elements_mut(), length, inner);
        });
    }
    Ok(Some(smallvec![Some(dx)]))
}
