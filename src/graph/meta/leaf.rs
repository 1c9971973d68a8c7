//! The nodes at leaves: where gradients are sent, and one node that accumulates for all graphs that are alive.

use super::{GradDType, Meta, Origin, State};
use crate::graph::accumulator::AccumulateGrad;
use crate::graph::arena::NodeRef;
use crate::graph::node::{Edge, Edges, Outputs};
use crate::memory::spin::SpinGuard;
use crate::tensor::Tensor;

impl Meta {
    /// Where the gradient of the tensor that has this state, no view, is sent.
    #[inline]
    fn edge_of(&self, tensor: &Tensor) -> Edge {
        let state = self.state.lock();
        match state.origin.edge() {
            Some(edge) => edge.clone(),
            None => Edge { node: self.accumulator_of(tensor, state), output: 0 },
        }
    }

    /// The node that accumulates into the leaf that has this state. What lives is looked at, and what does not is made, under the
    /// lock; a node is taken up outside of it, as it may be gone meanwhile with all that it holds.
    fn accumulator_of<'a>(&'a self, leaf: &Tensor, mut state: SpinGuard<'a, State>) -> NodeRef {
        while let Origin::Accumulated(id) = state.origin
            && id.is_alive()
        {
            drop(state);
            if let Some(node) = id.upgrade() {
                return node;
            }
            state = self.state.lock();
        }
        let dtype = match state.rare.as_ref().and_then(|rare| rare.grad_dtype) {
            Some(GradDType::Only(dtype)) => dtype,
            _ => leaf.dtype(),
        };
        let outputs = Outputs::new(&[(leaf.shape(), dtype)]);
        let fresh = NodeRef::unnoted(AccumulateGrad { leaf: leaf.clone() }, Edges::new(), outputs);
        if state.origin.edge().is_none() {
            state.origin = Origin::Accumulated(fresh.id());
        }
        drop(state);
        fresh.note_origin();
        fresh
    }
}

impl Tensor {
    /// Where the gradient of this tensor is sent: its node, or for a leaf the node that accumulates.
    #[inline]
    pub(crate) fn gradient_edge(&self) -> Option<Edge> {
        if let Some(batch) = self.batch() {
            return batch.value.gradient_edge();
        }
        if self.view_of().is_none() {
            return self.meta().filter(|meta| meta.requires_grad()).map(|meta| meta.edge_of(self));
        }
        if !self.requires_grad() {
            return None;
        }
        if let Some(edge) = self.grad_fn() {
            return Some(edge);
        }
        if !self.meta().is_some_and(Meta::requires_grad) {
            return None;
        }
        Some(Edge { node: self.accumulator(), output: 0 })
    }

    /// True where gradients go on from this tensor. They do not from a view that requires a gradient only because its base does.
    pub(crate) fn is_connected(&self) -> bool {
        self.requires_grad() && self.gradient_edge().is_some()
    }

    /// The node that accumulates into this leaf: one for all graphs that are alive.
    pub(crate) fn accumulator(&self) -> NodeRef {
        let meta = self.meta_or_new();
        meta.accumulator_of(self, meta.state.lock())
    }

    /// Takes the place of the leaf that had this state before: its node accumulates into this tensor. What is recorded from now on
    /// has a node of its own where the dtype is another.
    pub(crate) fn succeed(&self) {
        let Some(meta) = self.meta() else { return };
        let Origin::Accumulated(id) = meta.state.lock().origin else { return };
        let Some(node) = id.upgrade() else { return };
        node.replace_leaf(self.clone());
        if node.output(0).1 != self.dtype() {
            meta.replace_origin(Origin::Leaf);
        }
    }
}
