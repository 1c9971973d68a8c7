//! Who keeps a gradient, so that it learns when another tensor takes the gradient's place.

use super::Meta;
use crate::graph::arena::NodeId;
use crate::memory::shared::Shared;
use crate::tensor::Tensor;

/// Where a gradient is kept: the state of a leaf, or the node of a result.
pub enum Keeper {
    /// A leaf's state, which outlives the leaf as long as somebody has it.
    Leaf(Shared<Meta>),
    /// An output of a node, which is kept alive by nobody here.
    Result(NodeId, u32),
}

impl Tensor {
    /// Who keeps the gradient of this tensor.
    pub fn keeper(&self) -> Option<Keeper> {
        let meta = self.meta().filter(|_| self.batch().is_none())?;
        Some(match meta.retained_edge() {
            Some(edge) => Keeper::Result(edge.node.id(), edge.output),
            None => Keeper::Leaf(self.meta_or_new()),
        })
    }
}

impl Keeper {
    /// Keeps another tensor in the place of one; nothing where that is not kept any more.
    pub fn exchange(&self, before: &Tensor, grad: &Tensor) {
        match self {
            Keeper::Leaf(meta) => {
                let mut state = meta.state.lock();
                let is_kept = state.grad.as_ref().is_some_and(|kept| kept.is_same(before));
                let old = if is_kept { state.grad.replace(grad.clone()) } else { None };
                drop(state);
                drop(old);
            }
            Keeper::Result(id, output) => {
                if let Some(node) = id.upgrade()
                    && let Some(extras) = node.extras()
                {
                    extras.exchange_retained(*output, Some(before), grad.clone());
                }
            }
        }
    }
}
