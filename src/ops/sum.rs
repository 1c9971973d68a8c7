//! Sums, means and products over dimensions.

use smallvec::{SmallVec, smallvec};

use super::recorded::{Call, Keep, Settings, record, restored};
use super::registry::operation;
use super::{arithmetic, batch, cast, compare, copy, view};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::graph::mode::is_grad_enabled;
use crate::graph::node::Gradients;
use crate::kernels::reduce::{Product, Reduction, Sum, reduce};
use crate::tensor::Tensor;
use crate::tensor::dtype::{Category, DType};
use crate::tensor::layout::{Shape, dim_mask};
use crate::tensor::storage::Access;

/// A tensor arranged as `[outer, length, inner]`, the middle being what is reduced.
pub(super) struct Lines {
    /// The elements in that order, row-major.
    pub data: Tensor,
    pub outer: usize,
    pub length: usize,
    pub inner: usize,
    /// The result's shape with the reduced dimensions as 1.
    pub kept: Shape,
    /// The reduced dimensions.
    pub dims: SmallVec<[isize; 4]>,
}

/// Arranges `x` for a reduction over `dims` (none: all).
pub(super) fn lines(op: &'static str, x: &Tensor, dims: &[isize]) -> Result<Lines> {
    let mask = dim_mask(op, dims, x.rank())?;
    let kept: Shape = x.shape().iter().zip(&mask).map(|(&s, &m)| if m { 1 } else { s }).collect();
    let reduced: SmallVec<[isize; 4]> = (0..x.rank()).filter(|&d| mask[d]).map(|d| d as isize).collect();
    let product = |range: &[usize]| range.iter().product::<usize>();
    let (first, last) = match (mask.iter().position(|&m| m), mask.iter().rposition(|&m| m)) {
        (Some(first), Some(last)) => (first, last),
        _ => (x.rank(), x.rank().wrapping_sub(1)),
    };
    let together = first > last || last == usize::MAX || mask[first..=last].iter().all(|&m| m);
    if together {
        let end = if last == usize::MAX || first > last { first } else { last + 1 };
        let (outer, length, inner) =
            (product(&x.shape()[..first]), product(&x.shape()[first..end]), product(&x.shape()[end..]));
        return Ok(Lines { data: copy::to_contiguous(x)?, outer, length, inner, kept, dims: reduced });
    }
    // Scattered dimensions move to the end.
    let order: SmallVec<[usize; 8]> =
        (0..x.rank()).filter(|&d| !mask[d]).chain((0..x.rank()).filter(|&d| mask[d])).collect();
    let moved = x.alias(x.layout().permute(&order), false);
    let outer = product(&kept);
    let length = reduced.iter().map(|&d| x.shape()[d as usize]).product();
    Ok(Lines { data: copy::contiguous_copy(&moved)?, outer, length, inner: 1, kept, dims: reduced })
}

impl Lines {
    /// The result's shape.
    pub fn shape(&self, keepdim: bool) -> Shape {
        if keepdim {
            return self.kept.clone();
        }
        let is_reduced = |d: usize| self.dims.contains(&(d as isize));
        self.kept.iter().enumerate().filter(|(d, _)| !is_reduced(*d)).map(|(_, &s)| s).collect()
    }

    /// What derivatives need to know.
    pub fn settings(&self, x: &Tensor, keepdim: bool, number: f64) -> Settings {
        Settings { shape: x.layout().shape.clone(), dims: self.dims.clone(), keepdim, number }
    }
}

/// Runs a reduction of floats or int64.
fn reduced<R>(op: &'static str, lines: &Lines, keepdim: bool) -> Result<Tensor>
where
    R: Reduction<f32> + Reduction<f64> + Reduction<i64>,
{
    let dtype = lines.data.dtype();
    let y = Tensor::uninitialized(op, &lines.shape(keepdim), dtype)?;
    let (data, count, target, results) = (lines.data.data_ptr(), lines.data.numel(), y.data_ptr(), y.numel());
    let _access = Access::lock([(&**lines.data.storage(), false)]);
    let (o, l, i) = (lines.outer, lines.length, lines.inner);
    macro_rules! run {
        ($t:ty) => {{
            // SAFETY: both are contiguous tensors of this type; `y` is new.
            let (from, to) = unsafe {
                (
                    std::slice::from_raw_parts(data.cast::<$t>(), count),
                    std::slice::from_raw_parts_mut(target.cast::<$t>(), results),
                )
            };
            reduce::<$t, R>(from, to, o, l, i)
        }};
    }
    match dtype {
        DType::F32 => run!(f32),
        DType::F64 => run!(f64),
        _ => run!(i64),
    }
    Ok(y)
}

/// The result of a reduction without history: computed in the requested type where the kernel has it, else in int64;
/// integers and bool count in int64 where nothing was requested.
fn computed<R>(
    op: &'static str,
    x: &Tensor,
    dims: &[isize],
    keepdim: bool,
    dtype: Option<DType>,
) -> Result<(Tensor, Lines)>
where
    R: Reduction<f32> + Reduction<f64> + Reduction<i64>,
{
    unrecorded(|| {
        let default = if x.dtype().category() <= Category::Integer { DType::I64 } else { x.dtype() };
        let target = dtype.unwrap_or(default);
        let narrow = cast::to(x, target)?;
        let wide = if target.category() <= Category::Integer { cast::to(&narrow, DType::I64)? } else { narrow };
        let lines = lines(op, &wide, dims)?;
        let y = cast::to(&reduced::<R>(op, &lines, keepdim)?, target)?;
        Ok((y, lines))
    })
}

operation! {
    /// Sum over dimensions, or of all elements: `y = sum x`, `dy/dx = 1`.
    ///
    /// Integers and bool are summed in int64. The sum is pairwise, and its bits do not depend on the number of threads.
    ///
    /// >>> ferrograd.tensor([[1.0, 2.0], [3.0, 4.0]]).sum(0)
    /// tensor([4., 6.])
    function ["sum(Tensor self, *, DType? dtype=None)", "sum(Tensor self, int[]? dim, bool keepdim=False, *, DType? dtype=None)"],
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
    let (y, lines) = computed::<Sum>("sum", x, dims, keepdim, dtype)?;
    record(name, &y, &[x], &[], || lines.settings(x, keepdim, 1.0), spread)?;
    Ok(y)
}

/// dx = g / number, the same for all elements that went into a result.
fn spread(call: &Call) -> Result<Gradients> {
    let g = restored(&call.g, call.settings)?;
    let g = if call.settings.number == 1.0 { g } else { arithmetic::div(&g, call.settings.number)? };
    Ok(smallvec![Some(view::expand(&g, &view::signed(&call.settings.shape))?)])
}

operation! {
    /// Mean over dimensions, or of all elements: `y = sum(x) / n`, `dy/dx = 1/n`. Floating-point dtypes only.
    ///
    /// >>> ferrograd.tensor([[1.0, 2.0], [3.0, 4.0]]).mean()
    /// tensor(2.5000)
    function ["mean(Tensor self, *, DType? dtype=None)", "mean(Tensor self, int[]? dim, bool keepdim=False, *, DType? dtype=None)"],
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
    let (y, lines) = computed::<Sum>("mean", x, dims, keepdim, dtype)?;
    let count = lines.length as f64;
    let spec = arithmetic::Div::spec();
    let y = unrecorded(|| super::pointwise::apply_in_place(spec, "mean", &[(&y).into(), count.into()]))?;
    record(name, &y, &[x], &[], || lines.settings(x, keepdim, count), spread)?;
    Ok(y)
}

operation! {
    /// Product over one dimension, or of all elements: `dy/dx_i` is the product of the others.
    ///
    /// >>> ferrograd.tensor([2.0, 3.0, 4.0]).prod()
    /// tensor(24.)
    function ["prod(Tensor self, *, DType? dtype=None)", "prod(Tensor self, int dim, bool keepdim=False, *, DType? dtype=None)"],
    |n, a| Ok(match n {
        0 => prod(a.tensor(0)?, None, false, a.dtype(1)?)?,
        _ => prod(a.tensor(0)?, Some(a.int(1)?), a.bool(2)?, a.dtype(3)?)?,
    }.into())
}

/// Product over a dimension, or of all elements.
///
/// # Errors
/// For a dimension out of range.
pub fn prod(x: &Tensor, dim: Option<isize>, keepdim: bool, dtype: Option<DType>) -> Result<Tensor> {
    if x.batch().is_some() {
        let (x, dim) = if dim.is_none() { (view::reshape(x, &[-1])?, 0) } else { (x.clone(), dim.unwrap_or(0)) };
        let along = batch::reduced("prod", &x, &[dim], keepdim, |x, d, k| prod(x, d.first().copied(), k, dtype));
        return along.unwrap_or_else(|| Ok(x));
    }
    let (y, lines) = computed::<Product>("prod", x, dim.as_slice(), keepdim, dtype)?;
    let name = if dim.is_none() { "ProdBackward0" } else { "ProdBackward1" };
    record(name, &y, &[x], &[Keep::Input(x), Keep::Output], || lines.settings(x, keepdim, 1.0), others)?;
    Ok(y)
}

/// dx_i = g prod_{j != i} x_j: by division where no factor is zero; where one is, it alone gets the product of the
/// others; where several are, all get zero.
fn others(call: &Call) -> Result<Gradients> {
    let (x, s) = (&cast::to(&call.saved[0], call.g.dtype())?, call.settings);
    let g = restored(&call.g, s)?;
    let y = restored(&call.saved[1], s)?;
    let zero = compare::eq(x, 0.0)?;
    let batched = batch::level([&g, x, &y]).is_some();
    if !batched && !sum(&zero, &[], false, None)?.truth()? {
        return Ok(smallvec![Some(arithmetic::mul(&g, &arithmetic::div(&y, x)?)?)]);
    }
    if batched || is_grad_enabled() {
        return Ok(smallvec![Some(arithmetic::mul(&g, &products_of_others(x, s)?)?)]);
    }
    let zeros = sum(&zero, &s.dims, true, None)?;
    let nonzero = compare::where_(&zero, 1.0, x)?;
    let rest = if s.dims.len() == x.rank() {
        prod(&nonzero, None, false, None)?
    } else {
        prod(&nonzero, s.dims.first().copied(), true, None)?
    };
    let alone = compare::logical_and(&zero, &compare::eq(&zeros, 1)?)?;
    let with_zeros = compare::where_(&alone, &rest, 0.0)?;
    let without = arithmetic::div(&y, x)?;
    let found = compare::where_(&compare::eq(&zeros, 0)?, &without, &with_zeros)?;
    Ok(smallvec![Some(arithmetic::mul(&g, &found)?)])
}

/// The product of all other elements, by products from the left and from the right: exact and differentiable at zeros.
fn products_of_others(x: &Tensor, s: &Settings) -> Result<Tensor> {
    let all = s.dims.len() == x.rank() && x.rank() != 1;
    let line = if all { view::reshape(x, &[-1])? } else { x.clone() };
    let dim = if all { 0 } else { s.dims.first().copied().unwrap_or(0) };
    if line.rank() == 0 {
        return Tensor::ones(x.shape(), x.dtype());
    }
    let parts = view::unbind(&line, dim)?;
    let one = Tensor::ones(&[], x.dtype())?;
    let running = |parts: &mut dyn Iterator<Item = &Tensor>| -> Result<Vec<Tensor>> {
        let mut all = vec![one.clone()];
        for p in parts {
            let last = all[all.len() - 1].clone();
            all.push(arithmetic::mul(&last, p)?);
        }
        Ok(all)
    };
    let left = running(&mut parts.iter())?;
    let right = running(&mut parts.iter().rev())?;
    let n = parts.len();
    let found: Vec<Tensor> = (0..n).map(|i| arithmetic::mul(&left[i], &right[n - 1 - i])).collect::<Result<_>>()?;
    view::reshape(&super::join::stack(&found, dim)?, &view::signed(x.shape()))
}
