//! Neighbouring dimensions as one, and one as several.

use super::{inferred, reshape, signed, view};
use crate::error::{Error, Result};
use crate::ops::copy;
use crate::ops::registry::operation;
use crate::tensor::Tensor;
use crate::tensor::layout::wrap_dim;

operation! {
    /// One dimension as several, of the given sizes; one size may be -1. A view.
    ///
    /// Shapes: any; `dim` becomes `sizes`.
    ///
    /// >>> ferrograd.zeros(3, 4).unflatten(1, (2, -1)).shape
    /// torch.Size([3, 2, 2])
    function Noted(Any -> Kept), ["unflatten(Tensor self, int dim, Size sizes)"], |_, a| {
        Ok(unflatten(a.tensor(0)?, a.int(1)?, a.ints(2)?)?.into())
    }
}

/// One dimension as several.
///
/// # Errors
/// For a dimension out of range, and for sizes whose product is not the dimension's.
pub fn unflatten(x: &Tensor, dim: isize, sizes: &[isize]) -> Result<Tensor> {
    const OP: &str = "unflatten";
    if sizes.is_empty() {
        return Err(Error::Invalid { op: OP, what: "sizes must be non-empty".into() });
    }
    if x.rank() == 0 {
        wrap_dim(OP, dim, 0)?;
        return Err(Error::Rank { op: OP, expected: "at least one dimension", shape: vec![] });
    }
    let dim = wrap_dim(OP, dim, x.rank())?;
    let Ok(parts) = inferred(OP, sizes, x.shape()[dim]) else {
        let size = x.shape()[dim];
        return Err(Error::Invalid {
            op: OP,
            what: format!(
                "provided sizes {sizes:?} don't multiply up to the size of dim {dim} ({size}) in the input tensor"
            ),
        });
    };
    let mut shape = signed(x.shape());
    shape.remove(dim);
    shape.insert_many(dim, parts.iter().map(|&s| s as isize));
    view(x, &shape)
}

operation! {
    /// All elements in row-major order as one dimension: a view where the tensor is contiguous, else a copy.
    ///
    /// Shapes: `(...) -> (n,)`.
    ///
    /// >>> ferrograd.tensor([[1, 2], [3, 4]]).ravel()
    /// tensor([1, 2, 3, 4])
    function Noted(Any -> Kept), ["ravel(Tensor self)"], |_, a| Ok(view(&copy::contiguous(a.tensor(0)?)?, &[-1])?.into())
}

operation! {
    /// Dimensions `start_dim` to `end_dim` as one, in row-major order.
    ///
    /// Shapes: any; `start_dim` to `end_dim` become one.
    ///
    /// >>> ferrograd.zeros(2, 3, 4).flatten(1).shape
    /// torch.Size([2, 12])
    function Noted(Any -> Kept), ["flatten(Tensor self, int start_dim=0, int end_dim=-1)"], |_, a| {
        Ok(flatten(a.tensor(0)?, a.int(1)?, a.int(2)?)?.into())
    }
}

/// Dimensions `start` to `end` as one.
///
/// # Errors
/// For dimensions out of range or in the wrong order.
pub fn flatten(x: &Tensor, start: isize, end: isize) -> Result<Tensor> {
    let (start, end) = (wrap_dim("flatten", start, x.rank())?, wrap_dim("flatten", end, x.rank())?);
    if start > end {
        return Err(Error::Rank {
            op: "flatten",
            expected: "start_dim not to come after end_dim",
            shape: x.shape().to_vec(),
        });
    }
    if x.rank() == 0 {
        return reshape(x, &[1]);
    }
    if start == end {
        return Ok(x.clone());
    }
    let merged: usize = x.shape()[start..=end].iter().product();
    let sizes = x.shape()[..start].iter().copied().chain([merged]).chain(x.shape()[end + 1..].iter().copied());
    reshape(x, &sizes.map(|s| s as isize).collect::<Vec<_>>())
}
