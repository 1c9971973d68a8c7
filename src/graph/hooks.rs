//! Functions that a backward pass calls on its way: at tensors, and before and after nodes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::cycles::{Object, Start};
use crate::error::Result;
use crate::tensor::Tensor;

/// Sees the gradient of a tensor; may give another in its place. `None`: zero everywhere.
pub type TensorHook = dyn Fn(Option<&Tensor>) -> Result<Option<Tensor>> + Send + Sync;
/// Sees a leaf after its gradient was added to.
pub type LeafHook = dyn Fn(&Tensor) -> Result<()> + Send + Sync;
/// Gradients as hooks of nodes see them; `None`: zero everywhere.
pub type HookGradients = [Option<Tensor>];
/// Sees the gradients of a node's outputs before its derivative runs; may give others in their place.
pub type PreHook = dyn Fn(&HookGradients) -> Result<Option<Vec<Option<Tensor>>>> + Send + Sync;
/// Sees the gradients of a node's inputs and outputs after its derivative ran; may give others for the inputs.
pub type PostHook = dyn Fn(&HookGradients, &HookGradients) -> Result<Option<Vec<Option<Tensor>>>> + Send + Sync;

/// The hooks of one kind at one moment.
pub type All<F> = Vec<Arc<F>>;

/// Hooks on a tensor with their numbers and the objects of the host language that they hold.
pub type HeldHooks = Vec<(u64, usize, Arc<TensorHook>)>;

/// Hooks of one kind, in the order of registration.
pub struct Hooks<F: ?Sized>(Arc<List<F>>);

struct List<F: ?Sized>(Mutex<Vec<Hook<F>>>);

struct Hook<F: ?Sized> {
    id: u64,
    call: Arc<F>,
    /// The object of the host language that the hook holds, or 0.
    held: usize,
}

static NEXT: AtomicU64 = AtomicU64::new(0);

impl<F: ?Sized> Default for Hooks<F> {
    fn default() -> Self {
        Hooks(Arc::new(List(Mutex::new(Vec::new()))))
    }
}

impl<F: ?Sized + Send + Sync + 'static> Hooks<F> {
    /// Adds a hook that holds an object of the host language, or nothing where `held` is 0.
    pub fn add(&self, call: Arc<F>, held: usize) -> HookHandle {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        self.0.0.lock().push(Hook { id, call, held });
        let list: Weak<List<F>> = Arc::downgrade(&self.0);
        HookHandle { id, list }
    }

    /// Where a search for circles may start.
    pub(super) fn start(&self) -> Weak<dyn Start> {
        let list: Weak<List<F>> = Arc::downgrade(&self.0);
        list
    }

    /// Adds the objects of the host language that the hooks hold.
    pub(super) fn links(&self, to: &mut Vec<Object>) {
        self.0.starts(to);
    }

    /// Removes all hooks.
    pub(super) fn clear(&self) {
        let removed = std::mem::take(&mut *self.0.0.lock());
        drop(removed);
    }

    /// The hooks as they are now: one that is called may add and remove others.
    pub fn all(&self) -> All<F> {
        self.0.0.lock().iter().map(|hook| hook.call.clone()).collect()
    }

    /// The hooks as they are now that hold an object of the host language: their numbers, and these objects, which are there
    /// as long as the hook is.
    pub fn held(&self) -> Vec<(u64, usize, Arc<F>)> {
        let held = |hook: &Hook<F>| (hook.held != 0).then(|| (hook.id, hook.held, hook.call.clone()));
        self.0.0.lock().iter().filter_map(held).collect()
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.0.0.lock().is_empty()
    }
}

impl<F: ?Sized + Send + Sync> Start for List<F> {
    fn starts(&self, to: &mut Vec<Object>) {
        // A hook that is being called is held by whoever calls it.
        let idle = |hook: &&Hook<F>| hook.held != 0 && Arc::strong_count(&hook.call) == 1;
        to.extend(self.0.lock().iter().filter(idle).map(|hook| Object::Host(hook.held)));
    }
}

trait Removes: Send + Sync {
    fn remove(&self, id: u64);
}

impl<F: ?Sized + Send + Sync> Removes for List<F> {
    fn remove(&self, id: u64) {
        let mut hooks = self.0.lock();
        let removed = hooks.iter().position(|hook| hook.id == id).map(|at| hooks.remove(at));
        // What the hook holds is dropped outside of the lock: it may hold this list.
        drop(hooks);
        drop(removed);
    }
}

/// Takes a hook away again. Keeps nothing alive.
#[derive(Clone)]
pub struct HookHandle {
    id: u64,
    list: Weak<dyn Removes>,
}

impl HookHandle {
    /// The hook's number.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Removes the hook; nothing where it or its tensor is gone.
    pub fn remove(&self) {
        if let Some(list) = self.list.upgrade() {
            list.remove(self.id);
        }
    }
}
