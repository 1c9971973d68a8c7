//! The same elements in another order or several times, as copies.

use smallvec::SmallVec;

use super::recorded::{link_arranged, link_linear};
use super::registry::operation;
use super::{batch, copy, rows, sum, view};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::graph::node::Setting;
use crate::memory::reserved;
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::{Shape, checked_numel, dim_mask, wrap_dim};

operation! {
    /// The elements in reverse order along dimensions, as a copy. The gradient is reversed back.
    ///
    /// Raises: IndexError for dimensions that there are not; RuntimeError for one that comes twice.
    ///
    /// >>> ferrograd.tensor([1, 2, 3]).flip(0)
    /// tensor([3, 2, 1])
    function Same(Any -> Kept), ["flip(Tensor self, int[] dims)"], |_, a| Ok(flip(a.tensor(0)?, a.ints(1)?)?.into())
}

/// The elements in reverse order along dimensions.
///
/// # Errors
/// For dimensions out of range or named twice.
pub fn flip(x: &Tensor, dims: &[isize]) -> Result<Tensor> {
    let mask = dim_mask("flip", dims, x.rank())?;
    let flipped: SmallVec<[isize; 4]> =
        (0..x.rank()).filter(|&d| mask[d] && !dims.is_empty()).map(|d| d as isize).collect();
    if let Some(y) = batch::unary(x, |value| flip(value, &behind(&flipped))) {
        return y;
    }
    let mut layout = x.layout().clone();
    for d in flipped.iter().map(|&d| d as usize).filter(|&d| x.shape()[d] > 0) {
        let last = layout.strides[d] * (layout.shape[d] as isize - 1);
        layout.offset = layout.offset.wrapping_add_signed(last);
        layout.strides[d] = -layout.strides[d];
    }
    let y = copy::clone_as(&x.alias(layout, false), x)?;
    let told = || vec![("dims", Setting::ints(&flipped))];
    let back = flipped.clone();
    link_arranged("FlipBackward0", x, &y, told, move |g| flip(g, &back))?;
    Ok(y)
}

/// Dimensions of an example as those of the value behind it.
fn behind(dims: &[isize]) -> SmallVec<[isize; 4]> {
    dims.iter().map(|&d| d + 1).collect()
}

operation! {
    /// The columns in reverse order, as a copy.
    ///
    /// Shapes: `(n, m, ...) -> (n, m, ...)`.
    ///
    /// >>> ferrograd.tensor([[1, 2], [3, 4]]).fliplr()
    /// tensor([[2, 1],
    ///         [4, 3]])
    function Noted(Any -> Kept), ["fliplr(Tensor self)"], |_, a| Ok(flip_of(a.op, a.tensor(0)?, 1)?.into())
}

operation! {
    /// The rows in reverse order, as a copy.
    ///
    /// Shapes: `(n, ...) -> (n, ...)`.
    ///
    /// >>> ferrograd.tensor([[1, 2], [3, 4]]).flipud()
    /// tensor([[3, 4],
    ///         [1, 2]])
    function Noted(Any -> Kept), ["flipud(Tensor self)"], |_, a| Ok(flip_of(a.op, a.tensor(0)?, 0)?.into())
}

fn flip_of(op: &'static str, x: &Tensor, dim: isize) -> Result<Tensor> {
    if x.rank() as isize <= dim {
        let what = format!("input must be at least {}-dimensional, got shape {:?}", dim + 1, x.shape());
        return Err(Error::Invalid { op, what });
    }
    flip(x, &[dim])
}

operation! {
    /// The elements moved on by `shifts` along `dims`, those that leave at one end coming in at the other; without `dims`
    /// along the elements in row-major order.
    ///
    /// Shapes: any, kept; `shifts` as many as `dims`.
    /// Raises: IndexError for dimensions that there are not; RuntimeError for another number of them.
    ///
    /// >>> ferrograd.arange(4).roll(1)
    /// tensor([3, 0, 1, 2])
    function Same(Any -> Kept), ["roll(Tensor self, int[] shifts, int[] dims=())"], |_, a| {
        Ok(roll(a.tensor(0)?, a.ints(1)?, a.ints(2)?)?.into())
    }
}

/// The elements moved on along dimensions, or, where none is named, in row-major order.
///
/// # Errors
/// For dimensions out of range, and lists of different lengths.
pub fn roll(x: &Tensor, shifts: &[isize], dims: &[isize]) -> Result<Tensor> {
    const OP: &str = "roll";
    let aligned = shifts.len() == dims.len() || (dims.is_empty() && shifts.len() == 1);
    if shifts.is_empty() || !aligned {
        let what = format!("shifts and dimensions must align, got shifts {shifts:?} and dims {dims:?}");
        return Err(Error::Invalid { op: OP, what });
    }
    if x.rank() == 0 && !dims.is_empty() {
        return Err(Error::DimRange { op: OP, dim: dims[0], rank: 0 });
    }
    let dims: SmallVec<[isize; 4]> =
        dims.iter().map(|&d| wrap_dim(OP, d, x.rank()).map(|d| d as isize)).collect::<Result<_>>()?;
    let shifts: SmallVec<[isize; 4]> = shifts.into();
    let rule = |value: &Tensor| {
        if !dims.is_empty() {
            return roll(value, &shifts, &behind(&dims));
        }
        let flat = view::reshape(value, &batch::sized(value, &[x.numel()]))?;
        view::reshape(&roll(&flat, &shifts, &[1])?, &view::signed(value.shape()))
    };
    if let Some(y) = batch::unary(x, rule) {
        return y;
    }
    let y = unrecorded(|| match &dims[..] {
        [] => {
            let flat = view::reshape(x, &[-1])?;
            view::reshape(&rolled(&flat, &shifts, &[0])?, &view::signed(x.shape()))
        }
        dims => rolled(x, &shifts, dims),
    })?
    .detach();
    let told = || vec![("shifts", Setting::ints(&shifts)), ("dims", Setting::ints(&dims))];
    let (shifted, along) = (shifts.clone(), dims.clone());
    link_arranged("RollBackward0", x, &y, told, move |g| {
        let back: SmallVec<[isize; 4]> = shifted.iter().map(|s| s.wrapping_neg()).collect();
        roll(g, &back, &along)
    })?;
    Ok(y)
}

/// As [`roll`], without history: every dimension is cut in two, and each block goes to its place.
fn rolled(x: &Tensor, shifts: &[isize], dims: &[isize]) -> Result<Tensor> {
    let y = Tensor::uninitialized("roll", x.shape(), x.dtype())?;
    if x.numel() == 0 {
        return Ok(y);
    }
    let mut steps: SmallVec<[usize; 4]> = SmallVec::from_elem(0, x.rank());
    for (&shift, &d) in shifts.iter().zip(dims) {
        let size = x.shape()[d as usize] as isize;
        steps[d as usize] = (steps[d as usize] + shift.rem_euclid(size) as usize) % size as usize;
    }
    let moved: SmallVec<[usize; 4]> = (0..x.rank()).filter(|&d| steps[d] > 0).collect();
    for block in 0..1usize << moved.len() {
        let (mut from, mut to) = (x.layout().clone(), y.layout().clone());
        for (n, &d) in moved.iter().enumerate() {
            let (size, step) = (x.shape()[d], steps[d]);
            let (start, target, count) =
                if block >> n & 1 == 0 { (0, step, size - step) } else { (size - step, 0, step) };
            (from, to) = (from.slice(d, start, count, 1), to.slice(d, target, count, 1));
        }
        copy::write(&y.alias(to, false), &x.alias(from, false))?;
    }
    Ok(y)
}

operation! {
    /// Quarter turns in the plane of two dimensions, from the first to the second, `k` times.
    ///
    /// Shapes: any of at least two dimensions; the two of `dims` change places where `k` is odd.
    /// Raises: IndexError for dimensions that there are not; RuntimeError for another number of them.
    ///
    /// >>> ferrograd.tensor([[1, 2], [3, 4]]).rot90()
    /// tensor([[2, 4],
    ///         [1, 3]])
    function Noted(Any -> Kept), ["rot90(Tensor self, int k=1, int[] dims=(0,1))"], |_, a| {
        Ok(rot90(a.tensor(0)?, a.int(1)?, a.maybe_ints(2)?.unwrap_or(&[0, 1]))?.into())
    }
}

/// Quarter turns in the plane of two dimensions.
///
/// # Errors
/// For dimensions out of range, the same, or not two.
pub fn rot90(x: &Tensor, k: isize, dims: &[isize]) -> Result<Tensor> {
    const OP: &str = "rot90";
    let &[first, second] = dims else {
        let what = format!("expected total rotation dims == 2, but got dims = {dims:?}");
        return Err(Error::Invalid { op: OP, what });
    };
    if x.rank() < 2 {
        let what = format!("expected total dims >= 2, but got shape {:?}", x.shape());
        return Err(Error::Invalid { op: OP, what });
    }
    let (a, b) = (wrap_dim(OP, first, x.rank())? as isize, wrap_dim(OP, second, x.rank())? as isize);
    if a == b {
        let what = format!("expected rotation dims to be different, but got dim0 = {first} and dim1 = {second}");
        return Err(Error::Invalid { op: OP, what });
    }
    if let Some(y) = batch::unary(x, |value| rot90(value, k, &[a + 1, b + 1])) {
        return y;
    }
    let y = unrecorded(|| match k.rem_euclid(4) {
        1 => view::transpose(&flip(x, &[b])?, a, b),
        2 => flip(x, &[a, b]),
        3 => view::transpose(&flip(x, &[a])?, a, b),
        _ => copy::contiguous_copy(x),
    })?
    .detach();
    link_linear("Rot90Backward0", x, &y, move |g| rot90(g, -k.rem_euclid(4), &[a, b]))?;
    Ok(y)
}

operation! {
    /// The tensor so many times along each dimension, one after another; more repeats than dimensions make new leading
    /// ones.
    ///
    /// Shapes: any; the sizes times `repeats`, which may have more dimensions.
    ///
    /// >>> ferrograd.tensor([1, 2]).repeat(2, 2)
    /// tensor([[1, 2, 1, 2],
    ///         [1, 2, 1, 2]])
    function Noted(Any -> Kept), ["Tensor.repeat(Tensor self, int[] repeats)"], |_, a| Ok(repeat(a.tensor(0)?, a.ints(1)?)?.into())
}

operation! {
    /// As `repeat`, where fewer repeats than dimensions are those of the last ones.
    ///
    /// Shapes: any; the sizes times `dims`.
    ///
    /// >>> ferrograd.tile(ferrograd.tensor([[1], [2]]), (2,))
    /// tensor([[1, 1],
    ///         [2, 2]])
    function Noted(Any -> Kept), ["tile(Tensor self, int[] dims)"], |_, a| {
        let (x, dims) = (a.tensor(0)?, a.ints(1)?);
        let mut repeats: SmallVec<[isize; 4]> = SmallVec::from_elem(1, x.rank().saturating_sub(dims.len()));
        repeats.extend_from_slice(dims);
        Ok(repeat(x, &repeats)?.into())
    }
}

/// The tensor several times along each dimension.
///
/// # Errors
/// For fewer repeats than dimensions, and negative ones.
pub fn repeat(x: &Tensor, repeats: &[isize]) -> Result<Tensor> {
    const OP: &str = "repeat";
    if repeats.len() < x.rank() {
        let what = format!(
            "the number of repeats can not be smaller than the number of dimensions of the tensor, got {repeats:?} for shape {:?}",
            x.shape()
        );
        return Err(Error::Invalid { op: OP, what });
    }
    let lead = repeats.len() - x.rank();
    let own = |d: usize| if d < lead { 1 } else { x.shape()[d - lead] };
    if repeats.iter().any(|&r| r < 0) {
        return Err(Error::SizeOverflow { op: OP, shape: repeats.to_vec() });
    }
    let rule = |value: &Tensor| {
        let value = (0..lead).try_fold(value.clone(), |value, _| view::unsqueeze(&value, 1))?;
        repeat(&value, &std::iter::once(1).chain(repeats.iter().copied()).collect::<Vec<_>>())
    };
    if let Some(y) = batch::unary(x, rule) {
        return y;
    }
    // Each dimension as two: the repeats, and the elements.
    let cut: Shape = (0..repeats.len()).flat_map(|d| [repeats[d] as usize, own(d)]).collect();
    let shape: Shape = (0..repeats.len()).map(|d| (repeats[d] as usize).saturating_mul(own(d))).collect();
    checked_numel(OP, &cut, x.dtype().size())?;
    let y = Tensor::uninitialized(OP, &shape, x.dtype())?;
    let mut source = x.layout().clone();
    (0..lead).for_each(|_| source = source.unsqueeze(0));
    (0..repeats.len()).rev().for_each(|d| source = source.unsqueeze(d));
    let into = crate::tensor::layout::Layout::contiguous(&cut);
    copy::write(&y.alias(into, false), &x.alias(source.broadcast_to(&cut), false))?;
    // The sum over the dimensions of repeats, where there are several or the dimension is new.
    let (mut parts, mut sums) = (Shape::new(), SmallVec::<[isize; 4]>::new());
    for (d, &times) in repeats.iter().enumerate() {
        if d < lead || times != 1 {
            sums.push(parts.len() as isize);
            parts.push(times as usize);
        }
        parts.extend((d >= lead).then(|| own(d)));
    }
    let told = || vec![("repeats", Setting::ints(repeats)), ("self_sym_sizes", Setting::ints(x.shape()))];
    link_arranged("RepeatBackward0", x, &y, told, move |g| match &sums[..] {
        [] => Ok(g.clone()),
        repeated => sum::sum(&view::reshape(g, &view::signed(&parts))?, repeated, false, None),
    })?;
    Ok(y)
}

operation! {
    /// Every element (slice, along `dim`) several times in place, one after another: all as often as one number says, or
    /// each as often as a tensor of counts says. Without a dimension of the elements in row-major order. Of a tensor of
    /// counts alone, the indices that repeat so.
    ///
    /// Shapes: any; `(n,)` where `dim` is not given, else other along `dim` alone.
    ///
    /// >>> ferrograd.tensor([1, 2]).repeat_interleave(2)
    /// tensor([1, 1, 2, 2])
    /// >>> ferrograd.repeat_interleave(ferrograd.tensor([1, 2]), ferrograd.tensor([3, 1]))
    /// tensor([1, 1, 1, 2])
    /// >>> ferrograd.repeat_interleave(ferrograd.tensor([0, 2, 1]))
    /// tensor([1, 1, 2])
    function Noted(Any -> Kept), [
        "repeat_interleave(Tensor self, Tensor repeats, int? dim=None, *, int? output_size=None)",
        "repeat_interleave(Tensor self, int repeats, int? dim=None, *, int? output_size=None)",
        "repeat_interleave(Tensor repeats, *, int? output_size=None)"
    ], |n, a| Ok(match n {
        0 => repeat_each(a.tensor(0)?, a.tensor(1)?, a.maybe_int(2)?, a.maybe_int(3)?)?,
        1 => repeat_all(a.tensor(0)?, a.int(1)?, a.maybe_int(2)?, a.maybe_int(3)?)?,
        _ => {
            let counts = a.tensor(0)?;
            let found = repeated_indices(counts, counts.numel(), a.maybe_int(1)?)?;
            super::cast::to(&found, counts.dtype())?
        }
    }.into())
}

const INTERLEAVE: &str = "repeat_interleave";

/// Indices, each as often as its count says.
fn repeated_indices(counts: &Tensor, size: usize, output_size: Option<isize>) -> Result<Tensor> {
    let op = INTERLEAVE;
    if let Some(y) = batch::each(counts, |counts| repeated_indices(counts, size, output_size)) {
        return y;
    }
    if !matches!(counts.dtype(), DType::I32 | DType::I64) {
        return Err(Error::NotImplemented {
            op,
            what: format!("counts of dtype {}; int64 and int32 are; this", counts.dtype()),
        });
    }
    if counts.rank() > 1 {
        return Err(Error::Rank { op, expected: "a vector of counts", shape: counts.shape().to_vec() });
    }
    let numbers = counts.to_vec::<i64>()?;
    if counts.numel() != 1 && numbers.len() != size {
        let what = format!("repeats must have the same size as input along dim, got {} and {size}", numbers.len());
        return Err(Error::Invalid { op, what });
    }
    if numbers.iter().any(|&n| n < 0) {
        return Err(Error::Invalid { op, what: "repeats can not be negative".into() });
    }
    let count = |i: usize| numbers[if numbers.len() == 1 { 0 } else { i }] as usize;
    let total = (0..size).try_fold(0usize, |sum, i| sum.checked_add(count(i))).unwrap_or(usize::MAX);
    check_output_size(total, output_size)?;
    let mut indices: Vec<i64> = reserved(op, total)?;
    (0..size).for_each(|i| indices.extend(std::iter::repeat_n(i as i64, count(i))));
    Tensor::from_shape(&indices, &[indices.len()])
}

fn check_output_size(size: usize, expected: Option<isize>) -> Result<()> {
    match expected {
        Some(expected) if expected != size as isize => {
            let what = format!("output_size {expected} does not match the required size {size}");
            Err(Error::Invalid { op: INTERLEAVE, what })
        }
        _ => Ok(()),
    }
}

/// Each slice of a dimension as often as a vector of counts says.
fn repeat_each(x: &Tensor, counts: &Tensor, dim: Option<isize>, output_size: Option<isize>) -> Result<Tensor> {
    let x = if dim.is_none() { view::reshape(x, &[-1])? } else { x.clone() };
    let dim = wrap_dim(INTERLEAVE, dim.unwrap_or(0), x.rank())?;
    let size = x.shape().get(dim).copied().unwrap_or(1);
    rows::index_select(&x, dim as isize, &repeated_indices(counts, size, output_size)?)
}

/// Every slice of a dimension so many times.
fn repeat_all(x: &Tensor, count: isize, dim: Option<isize>, output_size: Option<isize>) -> Result<Tensor> {
    let x = if dim.is_none() { view::reshape(x, &[-1])? } else { x.clone() };
    if count < 0 {
        return Err(Error::Invalid { op: INTERLEAVE, what: format!("repeats must be non-negative, got {count}") });
    }
    if x.rank() == 0 {
        return Err(Error::DimRange { op: INTERLEAVE, dim: dim.unwrap_or(0), rank: 0 });
    }
    let dim = wrap_dim(INTERLEAVE, dim.unwrap_or(0), x.rank())?;
    check_output_size(x.shape()[dim].saturating_mul(count as usize), output_size)?;
    let mut sizes = view::signed(x.shape());
    sizes.insert(dim + 1, count);
    let spread = view::expand(&view::unsqueeze(&x, dim as isize + 1)?, &sizes)?;
    view::flatten(&copy::clone_contiguous(&spread)?, dim as isize, dim as isize + 1)
}
