//! Values kept for backward, with the version they had.

use super::arena::NodeRef;
use super::meta::Meta;
use super::mode;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// A tensor kept for backward, or the place of one that is not needed or no longer there.
#[derive(Clone)]
pub struct Saved {
    tensor: Option<Tensor>,
    version: u32,
    is_output: bool,
    /// For the owner of the value: which operand it is.
    pub source: u8,
}

impl Saved {
    /// Nothing.
    #[inline]
    pub fn nothing() -> Self {
        Saved { tensor: None, version: 0, is_output: false, source: u8::MAX }
    }

    /// An input, with its history.
    #[inline]
    pub fn input(tensor: &Tensor) -> Self {
        Saved { tensor: Some(tensor.clone()), version: tensor.version(), is_output: false, source: u8::MAX }
    }

    /// The node's own output: kept without its history, which would be a circle.
    #[inline]
    pub fn output(tensor: &Tensor) -> Self {
        Saved { tensor: Some(tensor.detach()), version: tensor.version(), is_output: true, source: u8::MAX }
    }

    /// The value for a backward pass; it stays only where `keep`.
    #[inline]
    pub fn take(&mut self, keep: bool) -> Self {
        if keep { self.clone() } else { Saved { tensor: self.tensor.take(), ..*self } }
    }

    /// The value, checked to be the one that was saved.
    ///
    /// # Errors
    /// Where it was freed by an earlier backward pass, or changed in place.
    #[inline]
    pub fn unpack(&self, node: &NodeRef) -> Result<Tensor> {
        let Some(tensor) = &self.tensor else {
            return Err(Error::GraphFreed { node: node.name() });
        };
        let found = tensor.version();
        if found != self.version {
            return Err(Error::SavedChanged {
                node: node.name(),
                dtype: tensor.dtype(),
                shape: tensor.shape().to_vec(),
                found,
                expected: self.version,
            });
        }
        if self.is_output && mode::is_grad_enabled() {
            let output = tensor.detach();
            output.set_meta(Meta::recorded(node.clone(), 0));
            return Ok(output);
        }
        Ok(tensor.clone())
    }
}
