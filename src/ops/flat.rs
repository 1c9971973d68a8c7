//! Elements counted in row-major order, chosen by indices, and the way back.

use smallvec::smallvec;

use super::gather::not_whole;
use super::registry::{Arguments, operation};
use super::select::{self, Deed, Family, Indices, Kind, Selection};
use super::view;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;

static FLAT: Family = Family {
    nodes: ["TakeBackward0", "PutBackward0", "PutBackward0"],
    gradient: "PutBackward0",
    wraps: true,
    in_order: true,
    out_of_range: |op, index, dim, size| Error::IndexRange { op, index, dim, size },
};

/// The selection of elements of `x` by their number.
pub(super) fn flat(op: &'static str, x: &Tensor, index: &Tensor) -> Result<(Selection, Indices)> {
    if index.dtype() != DType::I64 {
        return Err(Error::Invalid {
            op,
            what: format!("expected an int64 tensor for index, but got {}", index.dtype()),
        });
    }
    Ok((Selection { op, family: &FLAT, kind: Kind::Flat, table: x.layout().shape.clone() }, smallvec![index.clone()]))
}

operation! {
    /// The elements with the given numbers in row-major order, in the shape of the index. Negative numbers count from the end.
    ///
    /// Shapes: `(...), (n,) -> (n,)`: that of `index`.
    ///
    /// >>> ferrograd.take(ferrograd.tensor([[1, 2], [3, 4]]), ferrograd.tensor([0, -1]))
    /// tensor([1, 4])
    function Noted(Any -> Kept), ["take(Tensor self, Tensor index)"], |_, a| {
        let (selection, indices) = flat(a.op, a.tensor(0)?, a.tensor(1)?)?;
        Ok(select::take(&selection, a.tensor(0)?, indices)?.into())
    }
}

operation! {
    /// A copy with the elements of `source` written at the given numbers in row-major order; with `accumulate` added to those
    /// there. Where a number comes several times the last element stays, and the gradient is not that of differences.
    ///
    /// Shapes: `self` any, kept; `index` and `source` have as many elements.
    ///
    /// >>> ferrograd.tensor([[1, 2], [3, 4]]).put(ferrograd.tensor([0, -1]), ferrograd.tensor([8, 9]))
    /// tensor([[8, 2],
    ///         [3, 9]])
    function Noted(Any -> Shared), ["put(Tensor self, Tensor index, Tensor source, bool accumulate=False)"],
    in_place |_, a| {
        let (selection, indices, list, deed) = putting(a)?;
        Ok(select::join(&selection, a.tensor(0)?, &list, indices, deed, "PutBackward0", None)?.into())
    },
    |_, a| {
        let (selection, indices, list, deed) = putting(a)?;
        Ok(select::joined(&selection, a.tensor(0)?, &list, indices, deed)?.into())
    }
}

fn putting(a: &Arguments) -> Result<(Selection, Indices, Tensor, Deed)> {
    let (op, x, index, source) = (a.op, a.tensor(0)?, a.tensor(1)?, a.tensor(2)?);
    if source.dtype() != x.dtype() {
        return Err(Error::DTypeMismatch { op, left: x.dtype(), right: source.dtype() });
    }
    if index.dtype().is_floating_point() {
        return Err(not_whole(op, index.dtype()));
    }
    if source.numel() != index.numel() {
        let what = "source and index must have the same number of elements";
        let (expected, given) = (index.shape().to_vec(), source.shape().to_vec());
        return Err(Error::IndexShape { op, what, expected, given });
    }
    let (selection, indices) = flat(op, x, index)?;
    let list = view::reshape(source, &view::signed(index.shape()))?;
    Ok((selection, indices, list, if a.bool(3)? { Deed::Add } else { Deed::Put }))
}
