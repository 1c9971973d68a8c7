//! What few nodes have: retained gradients, hooks, and what the host language keeps.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::anomaly::Origin;
use super::cycles::{self, Holder, Object};
use super::hooks::{HeldHooks, HookHandle, Hooks, PostHook, PreHook, TensorHook};
use crate::tensor::Tensor;

/// What the host language keeps with a node.
pub trait Kept: Holder + Any {}

/// What belongs to one output or another.
type ByOutput<T> = SmallVec<[(u32, T); 1]>;

/// What few nodes have.
#[derive(Default)]
pub struct Extras {
    /// Outputs whose gradients are kept, and the gradients.
    retained: Mutex<ByOutput<Option<Tensor>>>,
    /// Hooks on the tensors that are outputs.
    tensor_hooks: Mutex<ByOutput<Hooks<TensorHook>>>,
    /// Hooks before the derivative runs.
    pub pre_hooks: Hooks<PreHook>,
    /// Hooks after the derivative ran.
    pub post_hooks: Hooks<PostHook>,
    /// Where the host language recorded the node, for those who look for a mistake.
    pub origin: OnceLock<Origin>,
    /// What the host language keeps with the node.
    pub host: OnceLock<Arc<dyn Kept>>,
}

impl Extras {
    /// Adds what the extras refer to.
    pub(super) fn links(&self, to: &mut Vec<Object>) {
        to.extend(self.retained.lock().iter().filter_map(|(_, grad)| grad.clone()).map(Object::Tensor));
        self.tensor_hooks.lock().iter().for_each(|(_, hooks)| hooks.links(to));
        self.pre_hooks.links(to);
        self.post_hooks.links(to);
        to.extend(self.host.get().map(|host| Object::Holder(host.clone())));
    }

    /// Cuts the references to gradients and hooks.
    pub(super) fn clear(&self) {
        let retained = std::mem::take(&mut *self.retained.lock());
        let hooks = std::mem::take(&mut *self.tensor_hooks.lock());
        drop((retained, hooks));
        self.pre_hooks.clear();
        self.post_hooks.clear();
    }

    /// Keeps the gradient of an output from the next pass on, added to the one given.
    pub(crate) fn retain(&self, output: u32, grad: Option<Tensor>) {
        let mut retained = self.retained.lock();
        if !retained.iter().any(|(o, _)| *o == output) {
            retained.push((output, None));
        }
        drop(retained);
        if grad.is_some() {
            self.store_retained(output, grad);
        }
    }

    /// The gradient kept for an output.
    pub(crate) fn retained(&self, output: u32) -> Option<Tensor> {
        self.retained.lock().iter().find(|(o, _)| *o == output)?.1.clone()
    }

    /// True where the gradient of an output is kept.
    pub(crate) fn is_retained(&self, output: u32) -> bool {
        self.retained.lock().iter().any(|(o, _)| *o == output)
    }

    /// Stores a gradient where one is kept.
    pub(crate) fn store_retained(&self, output: u32, grad: Option<Tensor>) {
        let mut retained = self.retained.lock();
        let slot = retained.iter_mut().find(|(o, _)| *o == output);
        let recorded = grad.clone().filter(|g| slot.is_some() && g.requires_grad());
        let before = slot.and_then(|(_, kept)| std::mem::replace(kept, grad));
        drop(retained);
        recorded.iter().for_each(cycles::note_gradient);
        drop(before);
    }

    /// Stores a gradient in the place of `before`; false where another is kept by now. Where none is kept there is nothing to do.
    pub(crate) fn exchange_retained(&self, output: u32, before: Option<&Tensor>, grad: Tensor) -> bool {
        let mut retained = self.retained.lock();
        let Some((_, kept)) = retained.iter_mut().find(|(o, _)| *o == output) else { return true };
        let same = match (&*kept, before) {
            (Some(kept), Some(before)) => kept.is_same(before),
            (kept, before) => kept.is_none() && before.is_none(),
        };
        if !same {
            return false;
        }
        let recorded = grad.requires_grad().then(|| grad.clone());
        let old = kept.replace(grad);
        drop(retained);
        recorded.iter().for_each(cycles::note_gradient);
        drop(old);
        true
    }

    /// Keeps the gradient of an output no longer; gives what was kept.
    pub(crate) fn release(&self, output: u32) -> Option<Tensor> {
        let mut retained = self.retained.lock();
        let at = retained.iter().position(|(o, _)| *o == output)?;
        retained.remove(at).1
    }

    /// Adds a hook on the tensor that is an output.
    pub(crate) fn hook_tensor(&self, output: u32, hook: Arc<TensorHook>, held: usize) -> HookHandle {
        let mut all = self.tensor_hooks.lock();
        if let Some((_, hooks)) = all.iter().find(|(o, _)| *o == output) {
            return hooks.add(hook, held);
        }
        let hooks = Hooks::default();
        let handle = hooks.add(hook, held);
        all.push((output, hooks));
        handle
    }

    /// Those of the hooks on the tensor that is an output which hold an object of the host language.
    pub(crate) fn held_tensor_hooks(&self, output: u32) -> HeldHooks {
        let all = self.tensor_hooks.lock();
        all.iter().find(|(o, _)| *o == output).map_or_else(Vec::new, |(_, hooks)| hooks.held())
    }

    /// The outputs whose tensors have or had hooks, in the order of the first hook of each.
    pub(crate) fn hooked_outputs(&self) -> SmallVec<[u32; 2]> {
        self.tensor_hooks.lock().iter().map(|(output, _)| *output).collect()
    }

    /// The hooks on the tensor that is an output.
    pub(crate) fn tensor_hooks(&self, output: u32) -> Vec<Arc<TensorHook>> {
        let all = self.tensor_hooks.lock();
        all.iter().find(|(o, _)| *o == output).map_or_else(Vec::new, |(_, hooks)| hooks.all())
    }
}
