//! What normalisations share: elements less their mean, over their deviation.

use smallvec::{SmallVec, smallvec};

use crate::error::Result;
use crate::graph::forward::unrecorded;
use crate::graph::node::Gradients;
use crate::kernels::reduce::kinds::Accumulator;
use crate::kernels::standardize as kernel;
use crate::ops::arithmetic::{add, mul, sub};
use crate::ops::recorded::{Call, Keep, Settings, record_all};
use crate::ops::reduce::{Plan, wide_float};
use crate::ops::statistics::moments;
use crate::ops::{batch, cast, copy, exponential, sum, view};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::storage::Access;

/// What [`standardized`] gives: the elements less their mean over their deviation, and what they were normalised by.
pub(super) struct Standardized {
    pub value: Tensor,
    /// The inverse deviation, with its history.
    pub inverse: Tensor,
    pub mean: Tensor,
    pub variance: Tensor,
}

/// `(x - m) r` with the mean `m` over dimensions and `r = 1 / sqrt(variance + eps)`. The dimensions count from the front.
///
/// Half-precision numbers are to be cast before.
pub(super) fn standardized(node: &'static str, x: &Tensor, dims: &[isize], eps: f64) -> Result<Standardized> {
    if let Some(moved) = batch::reduction(node, x, dims, true, |x, dims, _| standardized(node, x, dims, eps)) {
        let (found, level) = moved?;
        let out = |t: Tensor| Tensor::batched(&t, level);
        let [value, inverse] = [found.value, found.inverse].map(out);
        return Ok(Standardized { value, inverse, mean: out(found.mean), variance: out(found.variance) });
    }
    let plan = Plan::new("normalisation", x, dims, true)?;
    let found = unrecorded(|| {
        if let Some(found) = by_rows(&plan, x, eps, Affine::default())? {
            return Ok(found);
        }
        let [variance, mean] = moments(&plan, x, 0.0)?;
        let inverse = exponential::rsqrt(&cast::to(&add(&variance, eps)?, x.dtype())?)?;
        let value = mul(&sub(&ordered(x, dims)?, &cast::to(&mean, x.dtype())?)?, &inverse)?;
        Ok(Standardized { value, inverse, mean, variance })
    })?;
    note(node, x, dims, [&found.value, &found.inverse])?;
    Ok(found)
}

/// Records values and inverse deviations behind the elements that they are made of.
fn note(node: &'static str, x: &Tensor, dims: &[isize], found: [&Tensor; 2]) -> Result<()> {
    let keep = [Keep::Result(0, found[0]), Keep::Result(1, found[1])];
    let number = dims.iter().map(|&d| x.shape()[d as usize]).product::<usize>() as f64;
    let settings = || Settings { dims: dims.into(), number, ..Settings::default() };
    record_all(node, &found, &[x], &keep, settings, of_standardized)
}

/// The values and the inverse deviations of elements whose mean and inverse deviation are known, with their history.
pub(super) fn again(x: &Tensor, mean: &Tensor, inverse: &Tensor, dims: &[isize]) -> Result<[Tensor; 2]> {
    let value = unrecorded(|| mul(&sub(x, mean)?, inverse))?;
    let inverse = unrecorded(|| copy::clone(inverse))?;
    note("StandardizeBackward0", x, dims, [&value, &inverse])?;
    Ok([value, inverse])
}

/// The elements in the order in which they are normalised: row-major, but for channels that lie nearest in a batch of images.
pub(super) fn ordered(x: &Tensor, dims: &[isize]) -> Result<Tensor> {
    let last = x.rank() as isize - 1;
    let order: SmallVec<[isize; 8]> = std::iter::once(0).chain(2..=last).chain(std::iter::once(1)).collect();
    let stays = x.rank() > 3 && dims.contains(&0) && !dims.contains(&1) && view::permute(x, &order)?.is_contiguous();
    if stays { Ok(x.clone()) } else { copy::to_contiguous(x) }
}

/// `dx = r (g - mean(g) - y mean(g y)) - dr r^2 y / n` for the results `y` and `r` and their gradients `g` and `dr`.
fn of_standardized(call: &Call) -> Result<Gradients> {
    let (y, r, s) = (&call.saved[0], &call.saved[1], call.settings);
    let mut total = None;
    if let Some(g) = &call.gradients[0] {
        total = Some(of_value(g, y, r, &s.dims)?);
    }
    if let Some(g) = call.gradients.get(1).and_then(Option::as_ref) {
        let part = mul(&mul(g, -1.0 / s.number)?, &mul(&mul(r, r)?, y)?)?;
        total = Some(match total {
            Some(total) => add(&total, &part)?,
            None => part,
        });
    }
    Ok(smallvec![total])
}

/// `r (g - mean(g) - y mean(g y))`
pub(super) fn of_value(g: &Tensor, y: &Tensor, r: &Tensor, dims: &[isize]) -> Result<Tensor> {
    let mean = |t: &Tensor| sum::mean(t, dims, true, None);
    let along = mul(y, &mean(&mul(g, y)?)?)?;
    mul(r, &sub(&sub(g, &mean(g)?)?, &along)?)
}

/// The longest rows that go from one end to the other: longer ones in pieces, by many threads.
const LONGEST: usize = 1 << 17;

/// The length of the rows where the kernel takes them: the last dimensions of floats whose elements are there.
pub(super) fn row_length(x: &Tensor, dims: &[isize]) -> Option<usize> {
    let first = x.rank() - dims.len();
    let are_last = dims.iter().enumerate().all(|(n, &d)| d as usize == first + n);
    let n: usize = x.shape()[first..].iter().product();
    let fits = are_last && (1..=LONGEST).contains(&n) && x.numel() > 0;
    (fits && matches!(x.dtype(), DType::F32 | DType::F64)).then_some(n)
}

/// Factors and terms for the elements of rows.
#[derive(Clone, Copy, Default)]
pub(super) struct Affine<'a> {
    pub weight: Option<&'a Tensor>,
    pub bias: Option<&'a Tensor>,
    /// As the kernel has it.
    pub stretch: Option<usize>,
}

/// The elements less their mean over their deviation, scaled and shifted, and the inverse of that, where they lie in rows.
pub(super) fn by_rows(plan: &Plan, x: &Tensor, eps: f64, affine: Affine) -> Result<Option<Standardized>> {
    let Some(n) = row_length(x, &plan.dims) else { return Ok(None) };
    let x = copy::to_contiguous(x)?;
    // SAFETY: the rows are contiguous, and of these types.
    let found = unsafe { wide_float!(x.dtype(), A => rows_of::<A>(plan, &x, n, eps, affine)) };
    found.map(Some)
}

/// Runs the kernel on rows of `n` elements.
///
/// # Safety
/// `x` is contiguous and of type `T`, and so are factors and terms.
unsafe fn rows_of<T: Accumulator>(plan: &Plan, x: &Tensor, n: usize, eps: f64, affine: Affine) -> Result<Standardized> {
    let new = |shape: &[usize], dtype| Tensor::uninitialized("normalisation", shape, dtype);
    let (value, inverse) = (new(x.shape(), T::DTYPE)?, new(&plan.kept(), T::DTYPE)?);
    let (mean, variance) = (new(&plan.kept(), DType::F64)?, new(&plan.kept(), DType::F64)?);
    let read = std::iter::once(x).chain(affine.weight).chain(affine.bias);
    let _access = Access::lock(read.map(|t| (&**t.storage(), false)));
    // SAFETY: the caller's for what is read; the others are new, and have a number for each element or row.
    unsafe {
        let (mean, variance) = (mean.elements_mut(), variance.elements_mut());
        let found = kernel::Moments { inverse: inverse.elements_mut(), mean, variance };
        let [weight, bias] = [affine.weight, affine.bias].map(|t| t.map(|t| t.elements()));
        let affine = kernel::Affine { weight, bias, stretch: affine.stretch };
        kernel::forward::<T>(x.elements(), value.elements_mut(), n, eps, affine, found);
    }
    Ok(Standardized { value, inverse, mean, variance })
}
