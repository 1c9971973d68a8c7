//! Diagonals and triangles of matrices.

use super::copy;
use super::inplace;
use super::recorded::link_linear;
use super::registry::{Arguments, Output, operation};
use super::window::{self, Window};
use super::{batch, sum, view};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::kernels::element::dispatch;
use crate::kernels::parallel::{self, Apart};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::Shape;
use crate::tensor::storage::Access;
use view::diagonal_dims;

operation! {
    /// Of a vector the matrix with it on a diagonal, of a matrix the diagonal as a vector: `diagonal` above the main one.
    /// A copy.
    ///
    /// Shapes: `(n,) -> (k, k)` or `(n, m) -> (k,)`.
    ///
    /// >>> ferrograd.diag(ferrograd.tensor([1, 2]))
    /// tensor([[1, 0],
    ///         [0, 2]])
    /// >>> ferrograd.diag(ferrograd.tensor([[1, 2], [3, 4]]))
    /// tensor([1, 4])
    function Noted(Any -> Kept), ["diag(Tensor self, int diagonal=0)"], |_, a| Ok(diag(a.tensor(0)?, a.int(1)?)?.into())
}

/// A vector as the diagonal of a matrix, or the diagonal of a matrix as a vector.
///
/// # Errors
/// For tensors of other ranks.
pub fn diag(x: &Tensor, offset: isize) -> Result<Tensor> {
    match x.rank() {
        1 => diag_embed(x, offset, 0, 1),
        2 => diagonal_copy(x, offset),
        _ => Err(Error::Rank { op: "diag", expected: "a tensor of 1 or 2 dimensions", shape: x.shape().to_vec() }),
    }
}

/// The diagonal of a matrix, copied.
fn diagonal_copy(x: &Tensor, offset: isize) -> Result<Tensor> {
    if x.batch().is_some() {
        return copy::clone_contiguous(&view::diagonal(x, offset, 0, 1)?);
    }
    let y = copy::contiguous_copy(&x.alias(x.layout().diagonal(offset, 0, 1), false))?;
    let window = Window::of(x.shape(), |l| l.diagonal(offset, 0, 1));
    link_linear("DiagonalBackward0_copy", x, &y, move |g| window::embed_as("DiagonalBackwardBackward0", g, &window))?;
    Ok(y)
}

operation! {
    /// The last dimension as the diagonal of two new ones, `offset` above the main one, zeros elsewhere.
    ///
    /// Shapes: any of at least one dimension; the last becomes two, at `dim1` and `dim2`.
    ///
    /// >>> ferrograd.diag_embed(ferrograd.tensor([1, 2]), 1)
    /// tensor([[0, 1, 0],
    ///         [0, 0, 2],
    ///         [0, 0, 0]])
    function Noted(Any -> Kept), ["diag_embed(Tensor self, int offset=0, int dim1=-2, int dim2=-1)"], |_, a| {
        Ok(diag_embed(a.tensor(0)?, a.int(1)?, a.int(2)?, a.int(3)?)?.into())
    }
}

/// The last dimension as the diagonal of two new ones.
///
/// # Errors
/// For a tensor without dimensions, and dimensions out of range or the same.
pub fn diag_embed(x: &Tensor, offset: isize, dim1: isize, dim2: isize) -> Result<Tensor> {
    const OP: &str = "diag_embed";
    if x.rank() == 0 {
        return Err(Error::DimRange { op: OP, dim: dim1, rank: 0 });
    }
    let (a, b) = diagonal_dims(OP, x.rank() + 1, dim1, dim2)?;
    if let Some(y) = batch::unary(x, |x| diag_embed(x, offset, a as isize + 1, b as isize + 1)) {
        return y;
    }
    let size = x.shape()[x.rank() - 1] + offset.unsigned_abs();
    let mut shape = Shape::from_slice(&x.shape()[..x.rank() - 1]);
    shape.insert(a.min(b), size);
    shape.insert(a.max(b), size);
    let y = Tensor::zeros(&shape, x.dtype())?;
    copy::write(&y.alias(y.layout().diagonal(offset, a, b), false), x)?;
    link_linear("DiagEmbedBackward0", x, &y, move |g| view::diagonal(g, offset, a as isize, b as isize))?;
    Ok(y)
}

operation! {
    /// All elements in row-major order as the diagonal of a matrix, `offset` above the main one.
    ///
    /// Shapes: `(...) -> (k, k)`.
    ///
    /// >>> ferrograd.diagflat(ferrograd.tensor([[1], [2]]))
    /// tensor([[1, 0],
    ///         [0, 2]])
    function Noted(Any -> Kept), ["diagflat(Tensor self, int offset=0)"], |_, a| {
        Ok(diag_embed(&view::reshape(a.tensor(0)?, &[-1])?, a.int(1)?, 0, 1)?.into())
    }
}

operation! {
    /// The sum of a matrix's diagonal. Integers are summed in int64.
    ///
    /// Shapes: `(n, m) -> ()`.
    ///
    /// >>> ferrograd.trace(ferrograd.tensor([[1, 2], [3, 4]]))
    /// tensor(5)
    function Noted(Numbers -> Sum), ["trace(Tensor self)"], |_, a| Ok(trace(a.tensor(0)?)?.into())
}

/// The sum of a matrix's diagonal.
///
/// # Errors
/// For other tensors than matrices of numbers.
pub fn trace(x: &Tensor) -> Result<Tensor> {
    const OP: &str = "trace";
    if x.rank() != 2 {
        return Err(Error::Rank { op: OP, expected: "a matrix", shape: x.shape().to_vec() });
    }
    if x.dtype() == DType::Bool {
        return Err(Error::NotImplemented { op: OP, what: "the sum of a diagonal of bool".into() });
    }
    if x.batch().is_some() {
        return sum::sum(&view::diagonal(x, 0, 0, 1)?, &[], false, None);
    }
    let y = unrecorded(|| sum::sum(&view::diagonal(x, 0, 0, 1)?, &[], false, None))?;
    let window = Window::of(x.shape(), |l| l.diagonal(0, 0, 1));
    link_linear("TraceBackward0", x, &y, move |g| {
        window::embed_as("ViewBackward0", &view::expand(g, &view::signed(&window.inner.shape))?, &window)
    })?;
    Ok(y)
}

/// Which part of a matrix stays.
#[derive(Clone, Copy, PartialEq)]
enum Triangle {
    Lower,
    Upper,
}

operation! {
    /// The lower triangle of matrices, zeros above: elements up to `diagonal` above the main diagonal stay.
    ///
    /// Shapes: `(..., n, m) -> (..., n, m)`.
    ///
    /// >>> ferrograd.tril(ferrograd.ones(2, 2))
    /// tensor([[1., 0.],
    ///         [1., 1.]])
    function Noted(Any -> Kept), ["tril(Tensor self, int diagonal=0)"],
    in_place |_, a| Ok(inplace::apply(a.op, a.tensor(0)?, &[], &|x| triangle(x, a.int(1)?, Triangle::Lower))?.into()),
    |_, a| Ok(tril(a.tensor(0)?, a.int(1)?)?.into())
}

operation! {
    /// The upper triangle of matrices, zeros below: elements from `diagonal` above the main diagonal on stay.
    ///
    /// Shapes: `(..., n, m) -> (..., n, m)`.
    ///
    /// >>> ferrograd.triu(ferrograd.ones(2, 2))
    /// tensor([[1., 1.],
    ///         [0., 1.]])
    function Noted(Any -> Kept), ["triu(Tensor self, int diagonal=0)"],
    in_place |_, a| Ok(inplace::apply(a.op, a.tensor(0)?, &[], &|x| triangle(x, a.int(1)?, Triangle::Upper))?.into()),
    |_, a| Ok(triu(a.tensor(0)?, a.int(1)?)?.into())
}

/// The lower triangle of matrices.
///
/// # Errors
/// For fewer than two dimensions.
pub fn tril(x: &Tensor, diagonal: isize) -> Result<Tensor> {
    triangle(x, diagonal, Triangle::Lower)
}

/// The upper triangle of matrices.
///
/// # Errors
/// For fewer than two dimensions.
pub fn triu(x: &Tensor, diagonal: isize) -> Result<Tensor> {
    triangle(x, diagonal, Triangle::Upper)
}

fn triangle(x: &Tensor, diagonal: isize, which: Triangle) -> Result<Tensor> {
    let (op, name) = match which {
        Triangle::Lower => ("tril", "TrilBackward0"),
        Triangle::Upper => ("triu", "TriuBackward0"),
    };
    if x.rank() < 2 {
        return Err(Error::Rank { op, expected: "at least 2 dimensions", shape: x.shape().to_vec() });
    }
    if let Some(y) = batch::unary(x, |x| triangle(x, diagonal, which)) {
        return y;
    }
    let y = Tensor::uninitialized(op, x.shape(), x.dtype())?;
    let (m, n) = (x.shape()[x.rank() - 2], x.shape()[x.rank() - 1]);
    let source = copy::to_contiguous(x)?;
    let _access = Access::lock([(&**source.storage(), false)]);
    dispatch!(op, x.dtype(), T => {
        let (from, to) = (Apart(source.data_ptr()), Apart(y.data_ptr()));
        parallel::for_each_range(x.numel() / n.max(1), (1 << 16) / n.max(1) + 1, |start, end| {
            for row in start..end {
                // Columns from the first to the last one of this row that stay.
                let edge = diagonal.saturating_add((row % m) as isize);
                let kept = match which {
                    Triangle::Lower => 0..(edge.saturating_add(1)).clamp(0, n as isize) as usize,
                    Triangle::Upper => edge.clamp(0, n as isize) as usize..n,
                };
                // SAFETY: rows lie in both tensors, which are contiguous and of this type; ranges of rows are disjoint.
                unsafe {
                    let (f, t) = (from.get().cast::<T>().add(row * n), to.get().cast::<T>().add(row * n));
                    std::slice::from_raw_parts_mut(t, kept.start).fill(T::default());
                    std::ptr::copy_nonoverlapping(f.add(kept.start), t.add(kept.start), kept.len());
                    std::slice::from_raw_parts_mut(t.add(kept.end), n - kept.end).fill(T::default());
                }
            }
        });
    });
    link_linear(name, x, &y, move |g| triangle(g, diagonal, which))?;
    Ok(y)
}

operation! {
    /// Writes one number into the main diagonal; in more than two dimensions, where all indices are the same. Matrices with
    /// more rows than columns begin anew below with `wrap`.
    ///
    /// Shapes: at least two dimensions, of one size where more than two; kept.
    ///
    /// >>> ferrograd.zeros(2, 2).fill_diagonal_(3)
    /// tensor([[3., 0.],
    ///         [0., 3.]])
    function Noted(Any -> Kept), ["Tensor.fill_diagonal_(Tensor self, Number fill_value, bool wrap=False)"], |_, a| {
        let x = a.tensor(0)?;
        let (op, rank) = (a.op, x.rank());
        if rank < 2 {
            return Err(Error::Rank { op, expected: "more than 1 dimension", shape: x.shape().to_vec() });
        }
        if rank > 2 && x.shape().iter().any(|&s| s != x.shape()[0]) {
            return Err(Error::Rank { op, expected: "dimensions of equal length", shape: x.shape().to_vec() });
        }
        let value = a.number(1)?;
        // The diagonal of two dimensions after another, until one is left.
        let first = view::diagonal(x, 0, 0, 1)?;
        let main = (2..rank).try_fold(first, |d, _| view::diagonal(&d, 0, 0, -1))?;
        inplace::fill_(&main, value)?;
        if a.bool(2)? && rank == 2 {
            let (m, n) = (x.shape()[0] as isize, x.shape()[1] as isize);
            for start in (n + 1..m).step_by(n as usize + 1) {
                inplace::fill_(&view::diagonal(&view::narrow(x, 0, start, m - start)?, 0, 0, 1)?, value)?;
            }
        }
        Ok(x.clone().into())
    }
}

/// Rows and columns of the elements of a triangle, in row-major order.
fn indices(
    op: &'static str,
    sizes: [isize; 2],
    offset: isize,
    dtype: Option<DType>,
    which: Triangle,
) -> Result<Tensor> {
    if sizes.iter().any(|&s| s < 0) {
        let what = format!("row and col must be non-negative, got {} and {}", sizes[0], sizes[1]);
        return Err(Error::Invalid { op, what });
    }
    let dtype = dtype.unwrap_or(DType::I64);
    if !matches!(dtype, DType::I32 | DType::I64) {
        return Err(Error::NotImplemented { op, what: format!("indices of dtype {dtype}") });
    }
    let [height, width] = sizes;
    let columns = |row: isize| match which {
        Triangle::Lower => 0..row.saturating_add(offset).saturating_add(1).clamp(0, width),
        Triangle::Upper => row.saturating_add(offset).clamp(0, width)..width,
    };
    let [m, n, above] = [height, width, offset].map(|size| size as i128);
    let count = match which {
        Triangle::Lower => in_lower(m, n, above),
        Triangle::Upper => m * n - in_lower(m, n, above - 1),
    };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > isize::MAX as usize / 16 {
        return Err(Error::OutOfMemory { op, bytes: count.saturating_mul(16) });
    }
    let both = Tensor::uninitialized(op, &[2, count], DType::I64)?;
    // Rows that hold nothing may be very many.
    let filled = match which {
        _ if count == 0 => 0..0,
        Triangle::Lower => 0.max(offset.saturating_neg()).min(height)..height,
        Triangle::Upper => 0..width.saturating_sub(offset).clamp(0, height),
    };
    // SAFETY: the tensor is new.
    let (mut rows, mut places) = unsafe { both.elements_mut::<i64>() }.split_at_mut(count);
    for row in filled {
        let columns = columns(row);
        let (of_row, of_column);
        (of_row, rows) = rows.split_at_mut(columns.len());
        (of_column, places) = places.split_at_mut(columns.len());
        of_row.fill(row as i64);
        of_column.iter_mut().zip(columns).for_each(|(to, column)| *to = column as i64);
    }
    super::cast::to(&both, dtype)
}

/// How many elements of an `m` by `n` matrix lie in the lower triangle: from row `first` on each row holds one more, and
/// from row `full` on all.
fn in_lower(m: i128, n: i128, offset: i128) -> i128 {
    let first = (-offset).clamp(0, m);
    let full = (n - offset).clamp(first, m);
    (full - first) * (first + full + 1 + 2 * offset) / 2 + (m - full) * n
}

/// The indices that a call asks for.
fn listed(a: &Arguments, triangle: Triangle) -> Result<Output> {
    if !a.is_none(6) && a.bool(6)? {
        return Err(Error::PinMemory { op: a.op });
    }
    Ok(indices(a.op, [a.int(0)?, a.int(1)?], a.int(2)?, a.dtype(3)?, triangle)?.into())
}

operation! {
    /// Row and column indices of the lower triangle of a `row` by `col` matrix, up to `offset` above the main diagonal.
    ///
    /// Shapes: `(2, k)`.
    /// Dtypes: int32 and int64; `dtype`, else int64.
    ///
    /// >>> ferrograd.tril_indices(2, 2)
    /// tensor([[0, 1, 1],
    ///         [0, 0, 1]])
    function Noted(Noted -> Noted), ["tril_indices(int row, int col, int offset=0, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False)"],
    |_, a| listed(a, Triangle::Lower)
}

operation! {
    /// Row and column indices of the upper triangle of a `row` by `col` matrix, from `offset` above the main diagonal on.
    ///
    /// Shapes: `(2, k)`.
    /// Dtypes: int32 and int64; `dtype`, else int64.
    ///
    /// >>> ferrograd.triu_indices(2, 2)
    /// tensor([[0, 0, 1],
    ///         [0, 1, 1]])
    function Noted(Noted -> Noted), ["triu_indices(int row, int col, int offset=0, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False)"],
    |_, a| listed(a, Triangle::Upper)
}
