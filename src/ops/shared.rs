//! Tensors that all examples of a batch share, where they meet those that each example has its own of.
//!
//! Such a tensor is repeated, without a copy, for every example. What it carries has to know of the batch then: its
//! tangents, which may differ from example to example, and its gradient. While the map runs, a transform within it wants
//! one gradient for each example; once the map has ended, the tensor is one among others and gets the sum of them.

use smallvec::{SmallVec, smallvec};

use super::recorded::link;
use super::{batch, sum, view};
use crate::error::Result;
use crate::graph::forward;
use crate::graph::mode::{self, is_grad_enabled};
use crate::graph::node::{Backward, Derivative, Gradients};
use crate::tensor::Tensor;

/// True where a plain repetition would confuse what the tensor carries: a gradient for each example, or tangents that
/// are batched themselves.
#[inline]
pub(super) fn is_marked(t: &Tensor, level: u32) -> bool {
    (is_grad_enabled() && mode::is_differentiated(level) && t.requires_grad())
        || (forward::is_active() && !batched_tangents(forward::bottom(t), level).is_empty())
}

/// The levels of forward mode at which the tensor's tangent is batched at a level of maps.
fn batched_tangents(t: &Tensor, level: u32) -> SmallVec<[usize; 2]> {
    let is_batched = |fw: &usize| match t.tangent(*fw) {
        Ok(Some(tangent)) => batch::levels(&tangent).iter().any(|l| l.0 == level),
        _ => false,
    };
    (0..forward::depth()).filter(is_batched).collect()
}

/// A tensor without a batch of this level, repeated for its examples in a new first dimension.
pub(super) fn repeated(t: &Tensor, level: u32, size: usize) -> Result<Tensor> {
    let levels = batch::levels(t);
    let bottom = forward::bottom(t);
    let apart = forward::is_active() && !batched_tangents(bottom, level).is_empty();
    let y = if apart {
        forward::outside(0, || behind(bottom, level, size, levels.len()))?
    } else {
        behind(bottom, level, size, levels.len())?
    };
    if apart {
        for fw in forward::levels([bottom]) {
            let tangent = bottom.tangent(fw)?.map(|t| forward::outside(fw, || moved(&t, level, size, levels.len())));
            y.set_tangent(fw, tangent.transpose()?);
        }
    }
    // The batches that it is in already hide the dimensions in front.
    Ok(batch::batched(y, &levels))
}

/// A tangent with the batch of a level as its dimension `dim`.
fn moved(tangent: &Tensor, level: u32, size: usize, dim: usize) -> Result<Tensor> {
    view::movedim(&batch::unwrapped(tangent, level, size)?, 0, dim as isize)
}

/// The value at the bottom of all batches with a new dimension for the examples of a level.
fn behind(x: &Tensor, level: u32, size: usize, dim: usize) -> Result<Tensor> {
    let mut layout = x.layout().unsqueeze(dim);
    (layout.shape[dim], layout.strides[dim]) = (size, 0);
    let y = x.alias(layout, is_grad_enabled());
    let map = mode::mapping_number(level).filter(|_| mode::is_differentiated(level));
    link(Repeated { map: map.unwrap_or(0), dim }, &[x], &y)?;
    Ok(y)
}

#[derive(Clone)]
struct Repeated {
    /// The number of the map whose examples get a gradient each; 0 for none.
    map: u64,
    dim: usize,
}

impl Derivative for Repeated {
    fn name(&self) -> &'static str {
        "ExpandBackward0"
    }

    fn backward(&mut self, call: &Backward) -> Result<Gradients> {
        let g = call.gradient()?;
        let found = match mode::mapping_level(self.map) {
            Some(level) => batch::wrapped(&view::movedim(&g, self.dim as isize, 0)?, level)?,
            None => sum::sum(&g, &[self.dim as isize], false, None)?,
        };
        Ok(smallvec![Some(found)])
    }

    fn take(&mut self, _keep: bool) -> Self {
        self.clone()
    }
}
