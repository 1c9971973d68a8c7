//! Values kept for backward, with the version they had.

use std::any::Any;
use std::sync::Arc;

use super::anomaly;
use super::arena::NodeRef;
use super::forward;
use super::meta::Meta;
use super::mode;
use super::node::{Backward, Derivative, Edge, Gradients};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// A tensor kept for backward, or the place of one that is not needed or no longer there.
#[derive(Clone)]
pub struct Saved {
    tensor: Option<Tensor>,
    version: u32,
    /// Which output of the node the value is, plus one; 0 for other values.
    output: u16,
    /// For the owner of the value: which operand it is.
    pub source: u8,
}

impl Saved {
    /// Nothing.
    #[inline]
    pub fn nothing() -> Self {
        Saved { tensor: None, version: 0, output: 0, source: u8::MAX }
    }

    /// An input, with its history.
    #[inline]
    pub fn input(tensor: &Tensor) -> Self {
        Saved { tensor: Some(tensor.clone()), version: tensor.version(), output: 0, source: u8::MAX }
    }

    /// The node's own output: kept without its history, which would be a circle.
    #[inline]
    pub fn output(tensor: &Tensor) -> Self {
        Saved::nth_output(tensor, 0)
    }

    /// One of the outputs of the node.
    #[inline]
    pub fn nth_output(tensor: &Tensor, n: u16) -> Self {
        Saved { tensor: Some(tensor.detach()), version: tensor.version(), output: n + 1, source: u8::MAX }
    }

    /// True for this output of the node.
    pub(super) fn is_output(&self, n: usize) -> bool {
        usize::from(self.output) == n + 1
    }

    /// The value as it lies here, unchecked; `None` where it was freed.
    pub fn tensor(&self) -> Option<&Tensor> {
        self.tensor.as_ref()
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
        if tensor.version() != self.version {
            return Err(self.changed(node, tensor));
        }
        if self.output > 0 && mode::is_grad_enabled() { Ok(self.recorded(tensor, node)) } else { Ok(tensor.clone()) }
    }

    /// As [`Saved::unpack`], with its history also while nothing is recorded: for those who look at it.
    ///
    /// # Errors
    /// As [`Saved::unpack`].
    pub fn unpack_with_history(&self, node: &NodeRef) -> Result<Tensor> {
        let tensor = self.unpack(node)?;
        Ok(if self.output > 0 && tensor.grad_fn().is_none() { self.recorded(&tensor, node) } else { tensor })
    }

    /// The node's output with the node behind it again.
    fn recorded(&self, tensor: &Tensor, node: &NodeRef) -> Tensor {
        let output = tensor.detach();
        output.set_meta(Meta::recorded(node.clone(), u32::from(self.output) - 1));
        if forward::is_active() {
            // Nothing is computed for a tensor that is no view.
            let _ = output.copy_tangents(tensor);
        }
        output
    }

    #[cold]
    fn changed(&self, node: &NodeRef, tensor: &Tensor) -> Error {
        let hint = match anomaly::change(tensor.storage().as_ptr() as usize) {
            Some(line) => format!("it was last changed here:\n{line}"),
            None => "use x = x.op(...) in place of x.op_(...), or clone() the tensor first; under \
                     autograd.set_detect_anomaly(True) this message shows the line that changed it"
                .into(),
        };
        Error::SavedChanged {
            node: node.name(),
            dtype: tensor.dtype(),
            shape: tensor.shape().to_vec(),
            found: tensor.version(),
            expected: self.version,
            hint,
        }
    }
}

/// What becomes of a value while it is kept: to a disk and back, to a list, to nothing and computed again.
pub trait SavedHooks: Send + Sync {
    /// What is kept in place of the value.
    ///
    /// # Errors
    /// What the host language raises.
    fn pack(&self, value: &Tensor) -> Result<Pack>;
    /// The value again.
    ///
    /// # Errors
    /// What the host language raises.
    fn unpack(&self, pack: &Pack) -> Result<Tensor>;
}

/// What is kept in place of a value.
pub type Pack = Arc<dyn Any + Send + Sync>;

/// Lets a derivative keep what it keeps, and gives the hooks that are to see it.
///
/// # Errors
/// For tensors made in inference mode.
#[inline]
pub(super) fn admitted<D: Derivative>(mut derivative: D) -> Result<(D, Option<Arc<dyn SavedHooks>>)> {
    let mut inference = false;
    derivative.visit(&mut |saved| inference |= saved.tensor.as_ref().is_some_and(Tensor::is_inference));
    if inference { Err(Error::SavedInference) } else { Ok((derivative, mode::saved_hooks())) }
}

/// A derivative whose values went through hooks.
#[derive(Clone)]
pub(super) struct Packed<D> {
    inner: D,
    /// For each value that is kept; `None` for those that are not there, all gone after a pass that frees them.
    packs: Option<Arc<[Option<Kept>]>>,
    hooks: Arc<dyn SavedHooks>,
}

struct Kept {
    pack: Pack,
    /// The history of the value, given back with it.
    edge: Option<Edge>,
}

impl<D: Derivative> Packed<D> {
    /// Sends all that a derivative keeps through the hooks.
    pub fn new(mut inner: D, hooks: Arc<dyn SavedHooks>) -> Result<Packed<D>> {
        let mut packs = Vec::new();
        let mut failed = None;
        inner.visit(&mut |saved| {
            let kept = saved.tensor.take().filter(|_| failed.is_none()).map(|value| {
                let pack = hooks.pack(&value)?;
                Ok(Kept { pack, edge: value.gradient_edge() })
            });
            match kept.transpose() {
                Ok(kept) => packs.push(kept),
                Err(error) => failed = Some(error),
            }
        });
        match failed {
            Some(error) => Err(error),
            None => Ok(Packed { inner, packs: Some(packs.into()), hooks }),
        }
    }
}

impl<D: Derivative> Derivative for Packed<D> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn take(&mut self, keep: bool) -> Self {
        let packs = if keep { self.packs.clone() } else { self.packs.take() };
        Packed { inner: self.inner.take(keep), packs, hooks: self.hooks.clone() }
    }

    fn backward(&self, call: &Backward) -> Result<Gradients> {
        let Some(packs) = &self.packs else {
            return Err(Error::GraphFreed { node: self.name() });
        };
        let mut values = Vec::with_capacity(packs.len());
        for kept in packs.iter() {
            values.push(match kept {
                Some(kept) => {
                    let value = self.hooks.unpack(&kept.pack)?.detach();
                    if let Some(edge) = &kept.edge {
                        value.set_meta(Meta::recorded(edge.node.clone(), edge.output));
                    }
                    Some(value)
                }
                None => None,
            });
        }
        let mut values = values.into_iter();
        let mut inner = self.inner.clone();
        inner.visit(&mut |saved| {
            saved.tensor = values.next().flatten();
            saved.version = saved.tensor.as_ref().map_or(0, Tensor::version);
        });
        inner.backward(call)
    }

    fn leaf(&self) -> Option<Tensor> {
        self.inner.leaf()
    }

    const CALLS_HOST: bool = true;
    const TAKES_UNDEFINED: bool = D::TAKES_UNDEFINED;
}
