//! The node at a leaf: where gradients end up.

use super::cycles::Object;
use super::node::{Backward, Derivative, Gradients};
use crate::error::Result;
use crate::tensor::Tensor;

#[derive(Clone)]
/// Adds to the gradient of a leaf. The engine does the adding; this holds the leaf.
pub struct AccumulateGrad {
    pub(crate) leaf: Tensor,
}

impl Derivative for AccumulateGrad {
    const IS_ACCUMULATOR: bool = true;

    fn name(&self) -> &'static str {
        "AccumulateGrad"
    }

    fn backward(&mut self, _call: &Backward) -> Result<Gradients> {
        Ok(Gradients::new())
    }

    fn take(&mut self, _keep: bool) -> Self {
        AccumulateGrad { leaf: self.leaf.clone() }
    }

    fn leaf(&self) -> Option<Tensor> {
        Some(self.leaf.clone())
    }

    fn links(&mut self, to: &mut Vec<Object>) {
        to.push(Object::Tensor(self.leaf.clone()));
    }
}
