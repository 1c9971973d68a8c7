//! Elements along a dimension, chosen for each place by an index of its own, and the way back.

use smallvec::smallvec;

use super::registry::operation;
use super::select::{self, Family, Indices, Kind, Selection};
use super::{cast, view};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::{broadcast, wrap_dim};

const fn family(wraps: bool) -> Family {
    Family {
        nodes: ["GatherBackward0", "ScatterBackward0", "ScatterAddBackward0"],
        gradient: "ScatterAddBackward0",
        wraps,
        in_order: false,
        out_of_range: |op, index, dim, size| Error::GatherRange { op, index, dim, size },
    }
}

/// `gather` and `scatter`.
static ALONG: Family = family(false);
/// As [`ALONG`], for indices that count from either end.
static TAKEN_ALONG: Family = family(true);

/// Indices of a dtype that `gather` and its kin take, as int64.
pub(super) fn whole(op: &'static str, index: &Tensor) -> Result<Tensor> {
    match index.dtype() {
        DType::I64 | DType::I32 => cast::to(index, DType::I64),
        // What an empty list was before it had a dtype.
        _ if index.numel() == 0 => cast::to(index, DType::I64),
        given => Err(not_whole(op, given)),
    }
}

/// The error for indices of another dtype.
#[cold]
pub(super) fn not_whole(op: &'static str, given: DType) -> Error {
    Error::Invalid { op, what: format!("expected dtype int32 or int64 for index, got {given}") }
}

/// The selection of an index along a dimension of a table, checked to fit it and, if there is one, the list.
pub(super) fn along(
    op: &'static str,
    x: &Tensor,
    dim: isize,
    index: &Tensor,
    list: Option<&Tensor>,
) -> Result<(Selection, Indices)> {
    selection(op, &ALONG, x, dim, index, list)
}

fn selection(
    op: &'static str,
    family: &'static Family,
    x: &Tensor,
    dim: isize,
    index: &Tensor,
    list: Option<&Tensor>,
) -> Result<(Selection, Indices)> {
    let dim = wrap_dim(op, dim, x.rank())?;
    let index = whole(op, index)?;
    let found = Selection { op, family, kind: Kind::Along(dim), table: x.layout().shape.clone() };
    if index.numel() == 0 {
        return Ok((found, smallvec![index]));
    }
    // A tensor without dimensions counts as one of a single element.
    let rank = |t: &Tensor| t.rank().max(1);
    for other in std::iter::once(x).chain(list) {
        if rank(other) != rank(&index) {
            let what = "the index must have as many dimensions as the input and the source";
            let (expected, given) = (other.shape().to_vec(), index.shape().to_vec());
            return Err(Error::Shape { op, what, expected, given });
        }
        let fits = |d: usize| {
            let size = |t: &Tensor| t.shape().get(d).copied().unwrap_or(1);
            (d == dim && std::ptr::eq(other, x)) || size(&index) <= size(other)
        };
        if !(0..rank(&index)).all(fits) {
            let what = "the index must be no larger than the input apart from the dimension, and than the source";
            let (expected, given) = (other.shape().to_vec(), index.shape().to_vec());
            return Err(Error::Shape { op, what, expected, given });
        }
    }
    Ok((found, smallvec![index]))
}

operation! {
    /// For every index the element that it has along `dim`, at its own place in the other dimensions:
    /// `y[i][j] = x[index[i][j]][j]` for `dim = 0`. The gradient adds up where an element was taken several times.
    ///
    /// The index (int64 or int32) has as many dimensions as the input and is no larger but in `dim`.
    ///
    /// Shapes: `index` is nowhere larger than `self` but along `dim`; the result has that of `index`.
    ///
    /// >>> ferrograd.gather(ferrograd.tensor([[1, 2], [3, 4]]), 1, ferrograd.tensor([[0, 0], [1, 0]]))
    /// tensor([[1, 1],
    ///         [4, 3]])
    function Noted(Any -> Kept), ["gather(Tensor self, int dim, Tensor index, *, bool sparse_grad=False)"], |_, a| {
        if a.bool(3)? {
            return Err(Error::NotImplemented { op: a.op, what: "sparse_grad=True".into() });
        }
        Ok(gather(a.tensor(0)?, a.int(1)?, a.tensor(2)?)?.into())
    }
}

/// The elements along a dimension, chosen for each place by an index of its own.
///
/// # Errors
/// For a dimension or indices out of range, and an index that does not fit.
pub fn gather(x: &Tensor, dim: isize, index: &Tensor) -> Result<Tensor> {
    let (selection, indices) = along("gather", x, dim, index, None)?;
    select::take(&selection, x, indices)
}

operation! {
    /// As `gather`, where input and indices broadcast apart from `dim`; without a dimension, of the elements in row-major
    /// order. Negative indices count from the end.
    ///
    /// Shapes: both broadcast but along `dim`, where the result has the size of `indices`.
    ///
    /// >>> x = ferrograd.tensor([[3, 1, 2]])
    /// >>> ferrograd.take_along_dim(x, x.argmax(1, keepdim=True), 1)
    /// tensor([[3]])
    function Noted(Any -> Kept), ["take_along_dim(Tensor self, Tensor indices, int? dim=None)"], |_, a| {
        Ok(take_along_dim(a.tensor(0)?, a.tensor(1)?, a.maybe_int(2)?)?.into())
    }
}

/// The elements along a dimension, chosen by indices that broadcast.
///
/// # Errors
/// As [`gather`], and for other indices than int64.
pub fn take_along_dim(x: &Tensor, index: &Tensor, dim: Option<isize>) -> Result<Tensor> {
    const OP: &str = "take_along_dim";
    if index.dtype() != DType::I64 {
        let what = format!("dtype of indices should be int64 but got {}", index.dtype());
        return Err(Error::Invalid { op: OP, what });
    }
    let Some(dim) = dim else {
        let (x, index) = (view::reshape(x, &[-1])?, view::reshape(index, &[-1])?);
        let (selection, indices) = selection(OP, &TAKEN_ALONG, &x, 0, &index, None)?;
        return select::take(&selection, &x, indices);
    };
    if x.rank() != index.rank() {
        let what = "input and indices should have the same number of dimensions";
        let (expected, given) = (x.shape().to_vec(), index.shape().to_vec());
        return Err(Error::Shape { op: OP, what, expected, given });
    }
    let d = wrap_dim(OP, dim, x.rank())?;
    let spread = |t: &Tensor, other: &Tensor| {
        let mut own = t.layout().shape.clone();
        let mut wanted = other.layout().shape.clone();
        if !own.is_empty() {
            (own[d], wanted[d]) = (1, 1);
        }
        let mut sizes = view::signed(&broadcast(OP, &own, &wanted)?);
        if !sizes.is_empty() {
            sizes[d] = t.shape()[d] as isize;
        }
        view::expand(t, &sizes)
    };
    let (x, index) = (spread(x, index)?, spread(index, x)?);
    let (selection, indices) = selection(OP, &TAKEN_ALONG, &x, dim, &index, None)?;
    select::take(&selection, &x, indices)
}
