//! Dimensions of size 1 and new leading ones that are repeated without a copy.

use super::{Back, recorded, signed, unsqueeze};
use crate::error::{Error, Result};
use crate::ops::batch;
use crate::ops::registry::{Output, operation};
use crate::tensor::Tensor;
use crate::tensor::layout::{Shape, broadcast, checked_numel};

operation! {
    /// Dimensions of size 1 and new leading ones repeated to the given sizes, as a view; -1 keeps a size.
    ///
    /// Shapes: any that broadcasts to `size`, which the result has.
    ///
    /// >>> ferrograd.tensor([[1], [2]]).expand((2, 3))
    /// tensor([[1, 1, 1],
    ///         [2, 2, 2]])
    function View(Any -> Kept), ["Tensor.expand(Tensor self, int[] size, *, bool implicit=False)"], |_, a| {
        Ok(expanded(a.tensor(0)?, a.ints(1)?)?.into())
    }
}

operation! {
    /// As `expand`, to the sizes of another tensor.
    ///
    /// Shapes: any that broadcasts to that of `other`, which the result has.
    ///
    /// >>> ferrograd.tensor([[1], [2]]).expand_as(ferrograd.zeros(2, 3)).shape
    /// torch.Size([2, 3])
    function View(Any -> Kept), ["Tensor.expand_as(Tensor self, Tensor other)"], |_, a| {
        Ok(expanded(a.tensor(0)?, &signed(a.tensor(1)?.shape()))?.into())
    }
}

operation! {
    /// Dimensions of size 1 and new leading ones repeated to the given sizes, as a view.
    ///
    /// Shapes: any that broadcasts to `size`, which the result has.
    ///
    /// >>> ferrograd.broadcast_to(ferrograd.tensor([1, 2]), (2, 2))
    /// tensor([[1, 2],
    ///         [1, 2]])
    function View(Any -> Kept), ["broadcast_to(Tensor self, int[] size)"], |_, a| Ok(expanded(a.tensor(0)?, a.ints(1)?)?.into())
}

operation! {
    /// Several tensors as views of the shape that they broadcast to together; those that have it already as they are.
    ///
    /// >>> [t.shape for t in ferrograd.broadcast_tensors(ferrograd.zeros(2, 1), ferrograd.zeros(3))]
    /// [torch.Size([2, 3]), torch.Size([2, 3])]
    function Broadcast(Any -> Kept), ["broadcast_tensors(Tensor... tensors)"], |_, a| Ok(Output::Tensors(broadcast_tensors(a.tensors(0)?)?))
}

/// Several tensors as views of the shape that they broadcast to; those that have it as they are.
///
/// # Errors
/// For shapes that do not broadcast together.
pub fn broadcast_tensors(tensors: &[Tensor]) -> Result<Vec<Tensor>> {
    let shape = tensors.iter().try_fold(Shape::new(), |shape, t| broadcast("broadcast_tensors", &shape, t.shape()))?;
    tensors.iter().map(|t| expand(t, &signed(&shape))).collect()
}

/// As [`expand`], a view of its own even where nothing is repeated.
fn expanded(x: &Tensor, sizes: &[isize]) -> Result<Tensor> {
    let y = expand(x, sizes)?;
    if !y.is_same(x) {
        return Ok(y);
    }
    viewed(x)
}

/// A view of the same shape.
fn viewed(x: &Tensor) -> Result<Tensor> {
    match batch::unary(x, viewed) {
        Some(y) => y,
        None => recorded(x, x.layout().clone(), "ExpandBackward0", |_| Back::Expand),
    }
}

/// Repeated to the given sizes without a copy.
///
/// # Errors
/// For sizes that are neither those of the tensor nor stand where it has 1.
pub fn expand(x: &Tensor, sizes: &[isize]) -> Result<Tensor> {
    let rank = x.rank();
    if sizes.len() < rank {
        return Err(Error::ExpandRank { op: "expand", given: sizes.len(), rank });
    }
    let lead = sizes.len() - rank;
    let mut shape = Shape::new();
    for (i, &size) in sizes.iter().enumerate() {
        let old = i.checked_sub(lead).map(|j| x.shape()[j]);
        shape.push(match (old, size) {
            (Some(old), -1) => old,
            (Some(old), s) if s == old as isize || (old == 1 && s >= 0) => s as usize,
            (None, s) if s >= 0 => s as usize,
            (None, new) => {
                let what = format!(
                    "The expanded size of the tensor ({new}) isn't allowed in a leading, non-existing dimension {i} of {sizes:?}"
                );
                return Err(Error::Invalid { op: "expand", what });
            }
            (Some(size), expanded) => {
                return Err(Error::Expand {
                    op: "expand",
                    expanded,
                    size,
                    dim: i,
                    target: sizes.to_vec(),
                    shape: x.shape().to_vec(),
                });
            }
        });
    }
    if shape[..] == *x.shape() {
        return Ok(x.clone());
    }
    checked_numel("expand", &shape, x.dtype().size())?;
    let rule = |value: &Tensor| {
        let value = (0..lead).try_fold(value.clone(), |value, _| unsqueeze(&value, 1))?;
        expand(&value, &batch::sized(&value, &shape))
    };
    if let Some(y) = batch::unary(x, rule) {
        return y;
    }
    recorded(x, x.layout().broadcast_to(&shape), "ExpandBackward0", |_| Back::Expand)
}
