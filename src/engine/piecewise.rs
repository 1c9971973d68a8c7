//! Gradients that depend on an input by choices alone, such as which element was the greatest: their own derivative by it is
//! zero, and there. Who differentiates twice finds zeros and not an input that nothing depends on, as in torch.

use smallvec::smallvec;

use crate::error::Result;
use crate::graph::arena::NodeRef;
use crate::graph::forward;
use crate::graph::node::{Backward, Derivative, Edge, Gradients};
use crate::ops::names;
use crate::tensor::Tensor;

/// The gradient that a recorded pass sends from a node along an edge, which goes on to depend on what the edge leads to.
pub(super) fn tied(gradient: Tensor, from: &NodeRef, edge: &Edge) -> Tensor {
    // What carries tangents stays as it is: they would be gone.
    if !names::is_piecewise(from) || forward::is_active() {
        return gradient;
    }
    linked(gradient, edge)
}

/// The gradient behind a node that leads to what it was made of and to the edge.
fn linked(gradient: Tensor, edge: &Edge) -> Tensor {
    if let Some(batch) = gradient.batch() {
        return Tensor::batched(&linked(batch.value.clone(), edge), batch.level);
    }
    let y = gradient.detach();
    let edges = smallvec![gradient.gradient_edge(), Some(edge.clone())];
    y.set_history(Edge { node: NodeRef::new(Piecewise, edges, y.shape(), y.dtype()), output: 0 });
    y
}

#[derive(Clone)]
struct Piecewise;

impl Derivative for Piecewise {
    fn name(&self) -> &'static str {
        "PiecewiseBackward0"
    }

    fn backward(&mut self, call: &Backward) -> Result<Gradients> {
        let (shape, dtype) = match &call.node.edges()[1] {
            Some(edge) => edge.node.output(edge.output as usize),
            None => call.node.output(0),
        };
        let of_input = if call.needs(1) { Some(Tensor::zeros(&shape, dtype)?) } else { None };
        Ok(smallvec![Some(call.gradient()?), of_input])
    }

    fn take(&mut self, _keep: bool) -> Self {
        self.clone()
    }
}
