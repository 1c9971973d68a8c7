//! Hooks of tensors, and gradients that are kept of results: a leaf has them itself, a result with its node.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::cycles;
use super::super::hooks::{All, HeldHooks, HookHandle, Hooks, LeafHook, TensorHook};
use super::{LeafHooks, Meta};
use crate::error::{Error, Result};
use crate::ops::batch;
use crate::tensor::Tensor;

impl Tensor {
    /// Keeps the gradient of a result, as leaves do.
    ///
    /// # Errors
    /// Where the tensor requires no gradient.
    pub fn retain_grad(&self) -> Result<()> {
        if !self.requires_grad() {
            return Err(Error::RetainGrad);
        }
        let Some(edge) = self.grad_fn() else { return Ok(()) };
        let meta = self.meta_or_new();
        if !meta.retains_grad.load(Ordering::Relaxed) {
            edge.node.extras_or_new().retain(edge.output, meta.replace_grad(None));
            meta.retains_grad.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Calls `hook` with the gradient of this tensor in every pass; what it gives takes the gradient's place.
    ///
    /// # Errors
    /// Where the tensor requires no gradient.
    pub fn register_hook(&self, hook: Arc<TensorHook>) -> Result<HookHandle> {
        self.register_hook_holding(hook, 0)
    }

    /// As [`Tensor::register_hook`], for a hook that holds an object of the host language.
    ///
    /// # Errors
    /// As [`Tensor::register_hook`].
    pub fn register_hook_holding(&self, hook: Arc<TensorHook>, held: usize) -> Result<HookHandle> {
        if !self.requires_grad() {
            return Err(Error::HookWithoutGrad);
        }
        let hook = if self.batch().is_some() { batch::hook(self, hook) } else { hook };
        if let Some(edge) = self.grad_fn() {
            cycles::note(&edge.node);
            return Ok(edge.node.extras_or_new().hook_tensor(edge.output, hook, held));
        }
        Ok(self.add_leaf_hook(|hooks| &hooks.tensor, hook, held))
    }

    /// Adds a hook to one of the lists of a leaf.
    fn add_leaf_hook<F: ?Sized + Send + Sync + 'static>(
        &self,
        list: impl Fn(&LeafHooks) -> &Hooks<F>,
        hook: Arc<F>,
        held: usize,
    ) -> HookHandle {
        let meta = self.meta_or_new();
        let mut state = meta.state.lock();
        let hooks = list(&state.rare.get_or_insert_default().hooks);
        let (handle, start) = (hooks.add(hook, held), hooks.start());
        drop(state);
        cycles::note_hooks(start);
        handle
    }

    /// Calls `hook` with this leaf whenever its gradient was added to.
    ///
    /// # Errors
    /// Where the tensor requires no gradient, or is not a leaf.
    pub fn register_post_accumulate_grad_hook(&self, hook: Arc<LeafHook>) -> Result<HookHandle> {
        self.register_post_accumulate_grad_hook_holding(hook, 0)
    }

    /// As [`Tensor::register_post_accumulate_grad_hook`], for a hook that holds an object of the host language.
    ///
    /// # Errors
    /// As [`Tensor::register_post_accumulate_grad_hook`].
    pub fn register_post_accumulate_grad_hook_holding(&self, hook: Arc<LeafHook>, held: usize) -> Result<HookHandle> {
        if !self.requires_grad() {
            return Err(Error::HookWithoutGrad);
        }
        if !self.is_leaf() {
            return Err(Error::HookNotLeaf);
        }
        Ok(self.add_leaf_hook(|hooks| &hooks.accumulated, hook, held))
    }

    /// The hooks on this leaf's gradient, and those after its accumulation.
    pub(crate) fn leaf_hooks(&self) -> Option<(All<TensorHook>, All<LeafHook>)> {
        let state = self.meta()?.state.lock();
        state.rare.as_ref().map(|r| (r.hooks.tensor.all(), r.hooks.accumulated.all()))
    }

    /// The hooks on the gradient of the tensor that hold an object of the host language.
    pub fn held_hooks(&self) -> HeldHooks {
        if let Some(edge) = self.grad_fn() {
            return edge.node.extras().map_or_else(Vec::new, |extras| extras.held_tensor_hooks(edge.output));
        }
        let held = |meta: &Meta| meta.state.lock().rare.as_ref().map(|rare| rare.hooks.tensor.held());
        self.meta().and_then(held).unwrap_or_default()
    }

    /// True after [`Tensor::retain_grad`] on a result.
    pub fn retains_grad(&self) -> bool {
        self.meta().is_some_and(|m| m.retains_grad.load(Ordering::Relaxed))
    }
}
