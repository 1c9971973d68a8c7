//! Copies of a tensor with what a view of it would show replaced.

use smallvec::smallvec;

use super::recorded::link_simple;
use super::registry::operation;
use super::window::{self, Window};
use super::{arithmetic, batch, cast, copy, view};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::tensor::layout::{Layout, contiguous_strides, wrap_dim};

/// `x` with `source` in what `show` makes of its layout: `dx = g` with zeros there, `dsource` is what is there of `g`.
fn spliced(
    (name, op): (&'static str, &'static str),
    x: &Tensor,
    source: &Tensor,
    show: impl Fn(&Layout) -> Layout,
) -> Result<Tensor> {
    let window = Window::of(x.shape(), &show);
    if batch::level([x, source]).is_some() {
        return by_parts(op, x, source, &window);
    }
    let y = copy::clone_with_gaps(x, x.layout().offset)?;
    let inner = show(y.layout());
    replaced((name, op), [x, source], y, inner, window)
}

/// As [`spliced`], what is outside of the window and what is within added up: for batches.
fn by_parts(op: &'static str, x: &Tensor, source: &Tensor, window: &Window) -> Result<Tensor> {
    check(op, source, window)?;
    let source = cast::to(source, x.dtype())?;
    arithmetic::add(&window::cleared(x, window)?, &window::embed(&source, window)?)
}

/// As [`spliced`]: `y` is a copy of `x`, `inner` lies on it, and `window` is the same for gradients.
fn replaced(
    (name, op): (&'static str, &'static str),
    [x, source]: [&Tensor; 2],
    y: Tensor,
    inner: Layout,
    window: Window,
) -> Result<Tensor> {
    check(op, source, &window)?;
    copy::write(&y.alias(inner, false), source)?;
    link_simple(name, &[x, source], &y, move |call| {
        let g = call.gradient()?;
        let outside = if call.needs(0) { Some(window::cleared(&g, &window)?) } else { None };
        let within = if call.needs(1) { Some(window::extract(&g, &window)?) } else { None };
        Ok(smallvec![outside, within])
    })?;
    Ok(y)
}

fn check(op: &'static str, source: &Tensor, window: &Window) -> Result<()> {
    if source.shape() == &window.inner.shape[..] {
        return Ok(());
    }
    Err(Error::Shape {
        op,
        what: "src must have the size of the slice of self",
        expected: window.inner.shape.to_vec(),
        given: source.shape().to_vec(),
    })
}

operation! {
    /// A copy with one index of a dimension replaced: what `y.select(dim, index).copy_(src)` makes of a copy `y`.
    ///
    /// Shapes: `self` any, kept; `src` that without `dim`.
    ///
    /// >>> ferrograd.select_scatter(ferrograd.zeros(2, 2), ferrograd.tensor([1.0, 2.0]), 0, 1)
    /// tensor([[0., 0.],
    ///         [1., 2.]])
    function Noted(Any -> First), ["select_scatter(Tensor self, Tensor src, int dim, int index)"], |_, a| {
        let (x, source, index) = (a.tensor(0)?, a.tensor(1)?, a.int(3)?);
        let dim = wrap_dim(a.op, a.int(2)?, x.rank())?;
        let size = x.shape().get(dim).copied().unwrap_or(0);
        let at = if index < 0 { index + size as isize } else { index };
        if at < 0 || at >= size as isize {
            return Err(Error::IndexRange { op: a.op, index: index as i64, dim, size });
        }
        Ok(spliced(("SelectScatterBackward0", a.op), x, source, |l| l.select(dim, at as usize))?.into())
    }
}

operation! {
    /// A copy with a slice of a dimension replaced: what `y[start:end:step].copy_(src)` makes of a copy `y`, for any
    /// dimension.
    ///
    /// Shapes: `self` any, kept; `src` that of the slice.
    ///
    /// >>> ferrograd.slice_scatter(ferrograd.zeros(4), ferrograd.ones(2), 0, 1, 3)
    /// tensor([0., 1., 1., 0.])
    function Noted(Any -> First), ["slice_scatter(Tensor self, Tensor src, int dim=0, int? start=None, int? end=None, int step=1)"], |_, a| {
        let (x, source, step) = (a.tensor(0)?, a.tensor(1)?, a.int(5)?);
        if step <= 0 {
            return Err(Error::Invalid { op: a.op, what: format!("slice step must be positive, got {step}") });
        }
        if x.rank() == 0 {
            return Err(Error::Rank { op: a.op, expected: "at least one dimension", shape: vec![] });
        }
        let dim = wrap_dim(a.op, a.int(2)?, x.rank())?;
        let (start, count) = view::bounded(a.op, x.shape()[dim], a.maybe_int(3)?, a.maybe_int(4)?, step)?;
        Ok(spliced(("SliceScatterBackward0", a.op), x, source, |l| l.slice(dim, start, count, step as usize))?.into())
    }
}

operation! {
    /// A copy with a diagonal replaced: what `y.diagonal(offset, dim1, dim2).copy_(src)` makes of a copy `y`.
    ///
    /// Shapes: `self` any of at least two dimensions, kept; `src` that of `diagonal`.
    ///
    /// >>> ferrograd.diagonal_scatter(ferrograd.zeros(2, 2), ferrograd.ones(2))
    /// tensor([[1., 0.],
    ///         [0., 1.]])
    function Noted(Any -> First), ["diagonal_scatter(Tensor self, Tensor src, int offset=0, int dim1=0, int dim2=1)"], |_, a| {
        let (x, source, offset) = (a.tensor(0)?, a.tensor(1)?, a.int(2)?);
        let (rows, columns) = view::diagonal_dims(a.op, x.rank(), a.int(3)?, a.int(4)?)?;
        Ok(spliced(("DiagonalScatterBackward0", a.op), x, source, |l| l.diagonal(offset, rows, columns))?.into())
    }
}

operation! {
    /// A copy with the elements replaced that a view by sizes and strides would show: what
    /// `y.as_strided(size, stride, storage_offset).copy_(src)` makes of a copy `y`.
    ///
    /// Shapes: `self` any, kept; `src` has `size`.
    ///
    /// >>> ferrograd.as_strided_scatter(ferrograd.zeros(4), ferrograd.ones(2), (2,), (2,))
    /// tensor([1., 0., 1., 0.])
    function Noted(Any -> First), ["as_strided_scatter(Tensor self, Tensor src, Size size, Size stride, int? storage_offset=None)"], |_, a| {
        let (x, source) = (a.tensor(0)?, a.tensor(1)?);
        if batch::level([x, source]).is_some() {
            // Each example counts as a tensor with memory of its own.
            let strides = if x.is_contiguous() { contiguous_strides(x.shape()) } else { x.layout().dense_strides() };
            let outer = Layout { shape: x.layout().shape.clone(), strides, offset: 0 };
            let example = Tensor::new(Tensor::zeros(x.shape(), x.dtype())?.storage().clone(), outer, x.dtype(), x.versioning());
            let inner = view::strided_layout(a.op, &example, a.ints(2)?, a.ints(3)?, a.maybe_int(4)?)?;
            return Ok(by_parts(a.op, x, source, &Window::new(example.layout(), &inner))?.into());
        }
        let own = x.layout().offset as isize;
        let asked = a.maybe_int(4)?.unwrap_or(own);
        // Elements before the first are written too, and not seen.
        let start = own.min(asked.max(0));
        let copy = copy::clone_with_gaps(x, start as usize)?;
        let offset = Some(asked - own + copy.layout().offset as isize);
        let inner = view::strided_layout(a.op, &copy, a.ints(2)?, a.ints(3)?, offset)?;
        if !inner.is_non_overlapping() {
            return Err(Error::Overlap { op: a.op });
        }
        let window = Window::new(copy.layout(), &inner);
        Ok(replaced(("AsStridedScatterBackward0", a.op), [x, source], copy, inner, window)?.into())
    }
}
