//! Views of a part of a tensor's elements.

use super::{Back, Cut, embedding, instead, recorded, unsqueeze};
use crate::error::{Error, Result};
use crate::ops::recorded::link_linear;
use crate::ops::registry::{Arguments, operation};
use crate::ops::window::{self, Window};
use crate::ops::{batch, copy};
use crate::tensor::Tensor;
use crate::tensor::dtype::Category;
use crate::tensor::layout::{Layout, Shape, checked_numel, wrap_dim, wrap_existing_dim};

operation! {
    /// One index of one dimension, as a view without that dimension.
    ///
    /// Shapes: any of at least one dimension; without `dim`.
    ///
    /// >>> ferrograd.tensor([[1, 2], [3, 4]]).select(1, 0)
    /// tensor([1, 3])
    function View(Any -> Kept), ["select(Tensor self, int dim, int index)"], |_, a| {
        Ok(select(a.tensor(0)?, a.int(1)?, a.int(2)?)?.into())
    }
}

/// One index of one dimension.
///
/// # Errors
/// For a dimension or an index out of range.
pub fn select(x: &Tensor, dim: isize, index: isize) -> Result<Tensor> {
    let dim = wrap_existing_dim("select", dim, x.rank())?;
    let size = x.shape()[dim];
    let wrapped = if index < 0 { index + size as isize } else { index };
    if wrapped < 0 || wrapped >= size as isize {
        return Err(Error::IndexRange { op: "select", index: index as i64, dim, size });
    }
    let at = wrapped as usize;
    if let Some(y) = batch::unary(x, |x| select(x, dim as isize + 1, wrapped)) {
        return y;
    }
    recorded(x, x.layout().select(dim, at), "SelectBackward0", |_| {
        embedding(x, "SelectBackwardBackward0", [dim as isize, at as isize, 0, 0], |l| l.select(dim, at))
    })
}

/// `count` elements of a dimension from `start`, every `step`-th. The caller has bounded them.
pub(crate) fn slice(x: &Tensor, dim: usize, start: usize, count: usize, step: usize) -> Result<Tensor> {
    if let Some(batch) = x.batch() {
        return Ok(Tensor::batched(&slice(&batch.value, dim + 1, start, count, step)?, batch.level));
    }
    let layout = x.layout().slice(dim, start, count, step);
    recorded(x, layout, "SliceBackward0", |_| {
        let end = if count == 0 { start } else { start + (count - 1) * step + 1 };
        let numbers = [dim, start, end, step].map(|n| n as isize);
        embedding(x, "SliceBackwardBackward0", numbers, |l| l.slice(dim, start, count, step))
    })
}

/// The first index and the number of indices of a slice of a dimension of `size` elements: as in Python bounds count from
/// either end and are clamped.
///
/// # Errors
/// For steps below 1.
pub(crate) fn bounded(
    op: &'static str,
    size: usize,
    start: Option<isize>,
    stop: Option<isize>,
    step: isize,
) -> Result<(usize, usize)> {
    if step <= 0 {
        return Err(Error::Argument {
            op,
            argument: "step",
            rule: "must be greater than zero",
            given: step.to_string(),
        });
    }
    let size = size as isize;
    let clamp = |i: isize| if i < 0 { (i + size).max(0) } else { i.min(size) };
    let (start, stop) = (clamp(start.unwrap_or(0)), clamp(stop.unwrap_or(size)));
    Ok((start.unsigned_abs(), (stop - start).max(0).unsigned_abs().div_ceil(step.unsigned_abs())))
}

operation! {
    /// `length` elements of a dimension from `start`, as a view.
    ///
    /// Shapes: any of at least one dimension; `length` along `dim`.
    ///
    /// >>> ferrograd.arange(5).narrow(0, 1, 3)
    /// tensor([1, 2, 3])
    function View(Any -> Kept), ["narrow(Tensor self, int dim, Tensor start, int length)", "narrow(Tensor self, int dim, int start, int length)"],
    |n, a| {
        let start = if n == 0 { start_of(a)? } else { a.int(2)? };
        Ok(narrow(a.tensor(0)?, a.int(1)?, start, a.int(3)?)?.into())
    }
}

fn start_of(a: &Arguments) -> Result<isize> {
    let start = a.tensor(2)?;
    if start.rank() != 0 || start.dtype().category() != Category::Integer {
        return Err(Error::Invalid { op: a.op, what: "start must be a 0-dim integral Tensor".into() });
    }
    Ok(start.item()?.as_i64() as isize)
}

operation! {
    /// As `narrow`, as a copy.
    ///
    /// Shapes: any of at least one dimension; `length` along `dim`.
    ///
    /// >>> ferrograd.narrow_copy(ferrograd.arange(5), 0, 1, 3)
    /// tensor([1, 2, 3])
    function Noted(Any -> Kept), ["narrow_copy(Tensor self, int dim, int start, int length)"], |_, a| {
        Ok(narrow_copy(a.tensor(0)?, a.int(1)?, a.int(2)?, a.int(3)?)?.into())
    }
}

/// A copy of a stretch of a dimension.
///
/// # Errors
/// As [`narrow`].
pub fn narrow_copy(x: &Tensor, dim: isize, start: isize, length: isize) -> Result<Tensor> {
    let (dim, start, length) = stretch("narrow_copy", x, dim, start, length)?;
    if let Some(y) = batch::unary(x, |x| narrow_copy(x, dim as isize + 1, start as isize, length as isize)) {
        return y;
    }
    let window = Window::of(x.shape(), |l| l.slice(dim, start, length, 1));
    let y = copy::contiguous_copy(&x.alias(x.layout().slice(dim, start, length, 1), false))?;
    link_linear("NarrowCopyBackward0", x, &y, move |g| window::embed(g, &window))?;
    Ok(y)
}

/// A stretch of a dimension.
///
/// # Errors
/// For a dimension or a stretch out of range.
pub fn narrow(x: &Tensor, dim: isize, start: isize, length: isize) -> Result<Tensor> {
    let (dim, start, length) = stretch("narrow", x, dim, start, length)?;
    slice(x, dim, start, length, 1)
}

/// The dimension, the start and the length of a stretch, checked to lie in the tensor.
fn stretch(op: &'static str, x: &Tensor, dim: isize, start: isize, length: isize) -> Result<(usize, usize, usize)> {
    if x.rank() == 0 {
        return Err(Error::Rank { op, expected: "at least one dimension", shape: vec![] });
    }
    if length < 0 {
        return Err(Error::Invalid { op, what: format!("length must be non-negative, got {length}") });
    }
    let dim = wrap_dim(op, dim, x.rank())?;
    let size = x.shape()[dim] as isize;
    let wrapped = if start < 0 { start + size } else { start };
    if wrapped < 0 || wrapped > size {
        return Err(Error::IndexRange { op, index: start as i64, dim, size: size as usize });
    }
    if length > size - wrapped {
        return Err(Error::Stretch { op, start: wrapped, length, size: size as usize });
    }
    Ok((dim, wrapped as usize, length as usize))
}

operation! {
    /// The diagonal of two dimensions as the last dimension of a view, `offset` above the main one.
    ///
    /// Shapes: any of at least two dimensions; `dim1` and `dim2` give one that is the last.
    ///
    /// >>> ferrograd.tensor([[1, 2], [3, 4]]).diagonal()
    /// tensor([1, 4])
    function View(Any -> Kept), ["diagonal(Tensor self, int offset=0, int dim1=0, int dim2=1)"], |_, a| {
        Ok(diagonal(a.tensor(0)?, a.int(1)?, a.int(2)?, a.int(3)?)?.into())
    }
}

operation! {
    /// [`diagonal`] of the last two dimensions.
    ///
    /// Shapes: any of at least two dimensions; `dim1` and `dim2` give one that is the last.
    ///
    /// >>> ferrograd.linalg.diagonal(ferrograd.tensor([[1, 2], [3, 4]]))
    /// tensor([1, 4])
    function View(Any -> Kept), ["linalg.diagonal(Tensor A, *, int offset=0, int dim1=-2, int dim2=-1)"], |_, a| {
        Ok(diagonal(a.tensor(0)?, a.int(1)?, a.int(2)?, a.int(3)?)?.into())
    }
}

/// The diagonal of two dimensions.
///
/// # Errors
/// For dimensions out of range or the same.
pub fn diagonal(x: &Tensor, offset: isize, dim1: isize, dim2: isize) -> Result<Tensor> {
    diagonal_named(x, offset, dim1, dim2, "DiagonalBackward0")
}

fn diagonal_named(x: &Tensor, offset: isize, dim1: isize, dim2: isize, name: &'static str) -> Result<Tensor> {
    let (a, b) = diagonal_dims("diagonal", x.rank(), dim1, dim2)?;
    if let Some(y) = batch::unary(x, |x| diagonal_named(x, offset, a as isize + 1, b as isize + 1, name)) {
        return y;
    }
    recorded(x, x.layout().diagonal(offset, a, b), name, |_| {
        let numbers = [offset, a as isize, b as isize, 0];
        embedding(x, "DiagonalBackwardBackward0", numbers, |l| l.diagonal(offset, a, b))
    })
}

/// Two different dimensions of a rank.
pub(in crate::ops) fn diagonal_dims(op: &'static str, rank: usize, dim1: isize, dim2: isize) -> Result<(usize, usize)> {
    let (a, b) = (wrap_dim(op, dim1, rank)?, wrap_dim(op, dim2, rank)?);
    if a == b {
        return Err(Error::Invalid { op, what: format!("diagonal dimensions cannot be identical {dim1}, {dim2}") });
    }
    Ok((a, b))
}

operation! {
    /// All stretches of `size` elements along a dimension, one every `step` elements, as a view: the dimension counts the
    /// stretches, and a new last one their elements.
    ///
    /// Shapes: any; windows along `dimension`, their elements as a new last dimension of `size`.
    ///
    /// >>> ferrograd.arange(5).unfold(0, 3, 1)
    /// tensor([[0, 1, 2],
    ///         [1, 2, 3],
    ///         [2, 3, 4]])
    function View(Any -> Kept), ["Tensor.unfold(Tensor self, int dimension, int size, int step)"], |_, a| {
        Ok(unfold(a.tensor(0)?, a.int(1)?, a.int(2)?, a.int(3)?)?.into())
    }
}

/// All stretches of a dimension.
///
/// # Errors
/// For a dimension out of range, stretches longer than the dimension, and steps below 1.
pub fn unfold(x: &Tensor, dim: isize, size: isize, step: isize) -> Result<Tensor> {
    const OP: &str = "unfold";
    let dim = wrap_dim(OP, dim, x.rank())?;
    let invalid = |what: String| Err(Error::Invalid { op: OP, what });
    let longest = x.shape().get(dim).copied().unwrap_or(1);
    if step <= 0 {
        return invalid(format!("step must be greater than zero, got {step}"));
    }
    if size < 0 {
        return invalid(format!("size must be non-negative, got {size}"));
    }
    if size as usize > longest {
        return invalid(format!("maximum size for tensor at dimension {dim} is {longest} but size is {size}"));
    }
    let rule = |value: &Tensor| match x.rank() {
        0 => select(&unfold(&unsqueeze(value, 1)?, 1, size, step)?, 1, 0),
        _ => unfold(value, dim as isize + 1, size, step),
    };
    if let Some(y) = batch::unary(x, rule) {
        return y;
    }
    let window = |l: &Layout| l.unfold(dim, size as usize, step as usize);
    recorded(x, window(x.layout()), "UnfoldBackward0", |_| {
        embedding(x, "UnfoldBackwardBackward0", [dim as isize, size, step, 0], window)
    })
}

operation! {
    /// A view of the tensor's memory under any sizes, strides and offset, counted in elements from the start of the memory;
    /// without an offset, from the tensor's first element.
    ///
    /// Shapes: `size`.
    ///
    /// >>> ferrograd.arange(6).as_strided((2, 2), (1, 2))
    /// tensor([[0, 2],
    ///         [1, 3]])
    function View(Any -> Kept), ["as_strided(Tensor self, Size size, Size stride, int? storage_offset=None)"],
    in_place |_, a| instead(a, |x| strided(x, a, "AsStridedBackward1")),
    |_, a| Ok(strided(a.tensor(0)?, a, "AsStridedBackward0")?.into())
}

fn strided(x: &Tensor, a: &Arguments, name: &'static str) -> Result<Tensor> {
    as_strided_named(x, a.ints(1)?, a.ints(2)?, a.maybe_int(3)?, name)
}

/// A view of the memory under any sizes and strides.
///
/// # Errors
/// For negative strides, sizes and offsets, and for elements outside of the memory.
pub fn as_strided(x: &Tensor, size: &[isize], stride: &[isize], offset: Option<isize>) -> Result<Tensor> {
    as_strided_named(x, size, stride, offset, "AsStridedBackward0")
}

fn as_strided_named(
    x: &Tensor,
    size: &[isize],
    stride: &[isize],
    offset: Option<isize>,
    name: &'static str,
) -> Result<Tensor> {
    let rule = |value: &Tensor| {
        check_example(x, &asked_layout("as_strided", x, size, stride, offset)?)?;
        let (mut size, mut stride) = (size.to_vec(), stride.to_vec());
        size.insert(0, value.shape()[0] as isize);
        stride.insert(0, value.strides()[0]);
        as_strided_named(value, &size, &stride, offset, name)
    };
    if let Some(y) = batch::unary(x, rule) {
        return y;
    }
    let layout = strided_layout("as_strided", x, size, stride, offset)?;
    recorded(x, layout, name, |inner| {
        let cut = Box::new(Cut { window: Window::new(x.layout(), inner), numbers: [offset.unwrap_or(-1), 0, 0, 0] });
        if x.layout().is_non_overlapping() {
            // torch views the zeros that it adds to.
            Back::Embed(cut, "AsStridedBackward0")
        } else {
            Back::Share(cut)
        }
    })
}

/// An error where a layout reaches what a single example does not: it would be the memory of others.
fn check_example(x: &Tensor, asked: &Layout) -> Result<()> {
    let (first, last, own) = (asked.offset, reach(asked), x.layout());
    let beyond = match last {
        _ if asked.numel() == 0 => return Ok(()),
        Some(last) if own.numel() > 0 && own.offset <= first && last < own.end() => return Ok(()),
        _ if own.numel() == 0 => {
            "`tensor` has no storage but the passed-in (size, stride, storage_offset) imply a result with some storage"
                .into()
        }
        _ => {
            let end = last.map_or(usize::MAX, |last| last + 1);
            format!(
                "`result` can access some memory in range [{first}, {end}], but `tensor` can only access some memory in range [{}, {}]",
                own.offset,
                own.end()
            )
        }
    };
    let (size, strides) = (asked.shape.to_vec(), asked.strides.to_vec());
    Err(Error::ExampleBounds { size, strides, offset: first, reach: beyond })
}

/// The last element that a layout without negative strides reaches; `None` where that is beyond all memory.
fn reach(layout: &Layout) -> Option<usize> {
    let mut dims = layout.shape.iter().zip(&layout.strides);
    dims.try_fold(layout.offset, |end, (&n, &s)| end.checked_add((n.max(1) - 1).checked_mul(s as usize)?))
}

/// A layout on a tensor's memory, checked to lie in it.
pub(in crate::ops) fn strided_layout(
    op: &'static str,
    x: &Tensor,
    size: &[isize],
    stride: &[isize],
    offset: Option<isize>,
) -> Result<Layout> {
    let layout = asked_layout(op, x, size, stride, offset)?;
    let len = x.storage().bytes() / x.dtype().size();
    if layout.numel() > 0 && reach(&layout).is_none_or(|last| last >= len) {
        let (size, strides, offset) = (layout.shape.to_vec(), stride.to_vec(), layout.offset);
        return Err(Error::StorageBounds { op, size, strides, offset, len });
    }
    Ok(layout)
}

/// A layout as sizes, strides and an offset ask for it, wherever it lies.
fn asked_layout(
    op: &'static str,
    x: &Tensor,
    size: &[isize],
    stride: &[isize],
    offset: Option<isize>,
) -> Result<Layout> {
    if size.len() != stride.len() {
        let what = format!("size and stride must have the same length, got {size:?} and {stride:?}");
        return Err(Error::Invalid { op, what });
    }
    if stride.iter().any(|&s| s < 0) {
        return Err(Error::Invalid { op, what: format!("negative strides are not supported, got {stride:?}") });
    }
    let shape: Shape = match size.iter().map(|&s| usize::try_from(s)).collect() {
        Ok(shape) => shape,
        Err(_) => return Err(Error::SizeOverflow { op, shape: size.to_vec() }),
    };
    let Ok(offset) = offset.map_or(Ok(x.layout().offset), usize::try_from) else {
        return Err(Error::Invalid { op, what: format!("invalid storage offset {}", offset.unwrap_or(0)) });
    };
    checked_numel(op, &shape, x.dtype().size())?;
    Ok(Layout { shape, strides: stride.into(), offset })
}
