//! Where nodes live: slots of a slab whose addresses stay readable, so that a stale id can be looked at and told.

use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use smallvec::SmallVec;

use super::cycles;
use super::node::{Backward, Derivative, Edges, Gradients, Node, Outputs};
use super::saved::{self, SavedHooks};
use crate::engine::accumulate;
use crate::error::{Error, Result};
use crate::fork;
use crate::memory;
use crate::memory::slab::{FreeList, Slab};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;

/// A place for a node.
#[repr(C)]
pub struct Slot {
    /// For the backward pass that visits the node: its number and the node's place in its plan. In a free slot, the
    /// link to the next.
    pub(crate) mark: AtomicU64,
    /// The node's place in the order of recording, which no other node ever has; 0 in a free slot.
    sequence: AtomicU64,
    /// How many [`NodeRef`]s there are.
    refs: AtomicU32,
    node: UnsafeCell<MaybeUninit<Node>>,
}

/// With room for what its operation keeps, a node stays within two and a half cache lines.
const _: () = assert!(size_of::<Slot>() <= 160);

/// Shared ownership of a node.
pub struct NodeRef(NonNull<Slot>);

/// The name of a node that keeps nothing alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeId {
    slot: NonNull<Slot>,
    sequence: u64,
}

// SAFETY: the node is written before the first reference to it is given out and cleared after the last is gone; nodes
// are `Send` and `Sync`.
unsafe impl Send for NodeRef {}
// SAFETY: as above.
unsafe impl Sync for NodeRef {}
// SAFETY: an id only looks at the atomics of a slot, whose address stays readable.
unsafe impl Send for NodeId {}
// SAFETY: as above.
unsafe impl Sync for NodeId {}

static SLOTS: Slab = Slab::new(size_of::<Slot>());
/// Free slots that a thread takes at once, and keeps before it hands half of them to the others.
const BATCH: usize = 64;
const THREAD_SLOTS: usize = 1 << 14;

static SEQUENCE: AtomicU64 = AtomicU64::new(1 << 32);
/// Numbers of the nodes at leaves that steps with numbers set aside make: below all others, since steps side by side may
/// lead there.
static LEAVES: AtomicU64 = AtomicU64::new(1);

/// The numbers of nodes that one step of a recorded pass may take, more than there is room for.
const STEP: u64 = 1 << 20;

/// Sets numbers aside for `count` steps, so that the order of what they record does not depend on when they run. What
/// is recorded from here on elsewhere has higher ones.
pub(crate) fn set_aside(count: usize) -> u64 {
    SEQUENCE.fetch_add(count as u64 * STEP, Ordering::Relaxed)
}

/// Sets the next number of those that were set aside; gives what it was.
fn replace_aside(next: u64) -> u64 {
    LOCAL.with(|local| local.aside.replace(next))
}

/// Runs a closure whose nodes take the numbers from `next` on.
pub(crate) fn numbered<R>(next: &mut u64, f: impl FnOnce() -> R) -> R {
    struct Restore<'a>(u64, &'a mut u64);
    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            *self.1 = replace_aside(self.0);
        }
    }
    let _restore = Restore(replace_aside(*next), next);
    f()
}

/// The number of the `n`th of the steps that were set aside from `first` on.
pub(crate) fn number_of(first: u64, n: usize) -> u64 {
    first + n as u64 * STEP
}

/// True while this thread takes numbers that were set aside.
pub(crate) fn has_numbers() -> bool {
    LOCAL.with(|local| local.aside.get()) != 0
}

/// What a thread has for itself. Nothing of it is dropped when the thread ends, so it can be reached until the very end;
/// [`Guard`] hands the slots on.
struct Local {
    free: UnsafeCell<FreeList>,
    /// True while the thread may keep slots.
    open: Cell<bool>,
    /// True while a node is being dropped. Nodes whose last reference goes meanwhile are freed one after another, not
    /// one inside the other.
    dropping: Cell<bool>,
    doomed: UnsafeCell<FreeList>,
    /// The next of the numbers that were set aside for what this thread records, or 0 where there are none.
    aside: Cell<u64>,
}

/// Gives the slots of a thread to the others when it ends.
struct Guard;

thread_local! {
    static LOCAL: Local = const {
        Local {
            free: UnsafeCell::new(FreeList::new()),
            open: Cell::new(false),
            dropping: Cell::new(false),
            doomed: UnsafeCell::new(FreeList::new()),
            aside: Cell::new(0),
        }
    };
    static GUARD: Guard = const { Guard };
}

impl Drop for Guard {
    fn drop(&mut self) {
        LOCAL.with(|local| {
            local.open.set(false);
            local.flush(0);
        });
    }
}

impl Local {
    /// The next number of a node.
    #[inline]
    fn number(&self, at_leaf: bool) -> u64 {
        match self.aside.get() {
            0 => SEQUENCE.fetch_add(1, Ordering::Relaxed),
            _ if at_leaf => LEAVES.fetch_add(1, Ordering::Relaxed),
            next => {
                self.aside.set(next + 1);
                next
            }
        }
    }

    #[inline]
    fn take(&self) -> NonNull<Slot> {
        // SAFETY: only this thread reaches the list, and nothing that reaches it again is called meanwhile.
        match unsafe { (*self.free.get()).pop() } {
            Some(slot) => slot.cast(),
            None => self.refill(),
        }
    }

    #[cold]
    #[inline(never)]
    fn refill(&self) -> NonNull<Slot> {
        fork::watch();
        if GUARD.try_with(|_| ()).is_ok() {
            self.open.set(true);
        }
        // SAFETY: as in `take`.
        let free = unsafe { &mut *self.free.get() };
        SLOTS.take(free, if self.open.get() { BATCH } else { 1 });
        match free.pop() {
            Some(slot) => slot.cast(),
            None => memory::exhausted(size_of::<Slot>()),
        }
    }

    #[inline]
    fn give(&self, slot: NonNull<Slot>) {
        // SAFETY: as in `take`; the slot is free and ours.
        let count = unsafe {
            let free = &mut *self.free.get();
            free.push(slot.cast());
            free.len()
        };
        if count > THREAD_SLOTS || !self.open.get() {
            self.flush(if self.open.get() { THREAD_SLOTS / 2 } else { 0 });
        }
    }

    #[cold]
    #[inline(never)]
    fn flush(&self, left: usize) {
        // SAFETY: as in `take`.
        SLOTS.give(unsafe { &mut *self.free.get() }, left);
    }

    /// Frees a node, and then all that lost their last reference by it, in constant stack.
    fn bury(&self, slot: NonNull<Slot>) {
        // SAFETY: as in `take`; the last reference to the slot is gone, so only this thread reaches its link.
        let push = |slot: NonNull<Slot>| unsafe { (*self.doomed.get()).push(slot.cast()) };
        if self.dropping.replace(true) {
            return push(slot);
        }
        let mut next = Some(slot);
        while let Some(slot) = next {
            // SAFETY: the last reference is gone; only this thread reaches the node.
            unsafe {
                slot.as_ref().sequence.store(0, Ordering::Release);
                (*slot.as_ref().node.get()).assume_init_drop();
            }
            self.give(slot);
            // SAFETY: as in `take`.
            next = unsafe { (*self.doomed.get()).pop() }.map(NonNull::cast);
        }
        self.dropping.set(false);
    }
}

/// Takes the lock of the slots until [`let_go`].
pub(crate) fn hold() {
    SLOTS.hold();
}

/// Gives back what [`hold`] took.
///
/// # Safety
/// `hold` was called once before.
pub(crate) unsafe fn let_go() {
    // SAFETY: as the caller says.
    unsafe { SLOTS.release() }
}

impl NodeRef {
    /// A node of one output whose derivative keeps no values.
    #[inline]
    pub fn new<D: Derivative>(derivative: D, edges: Edges, shape: &[usize], dtype: DType) -> NodeRef {
        NodeRef::with(derivative, edges, Outputs::new(&[(shape, dtype)]))
    }

    /// A node whose derivative keeps values, which the hooks of the present mode may see.
    ///
    /// # Errors
    /// What the hooks raise, and for tensors made in inference mode.
    #[inline]
    pub fn keeping<D: Derivative>(mut derivative: D, edges: Edges, outputs: &[(&[usize], DType)]) -> Result<NodeRef> {
        let packed = saved::admit(&mut derivative)?;
        let node = NodeRef::with(derivative, edges, Outputs::new(outputs));
        if packed {
            node.note_packed();
        }
        Ok(node)
    }

    /// Notes that hooks took values of the node: to give them back it calls the host language.
    #[cold]
    fn note_packed(&self) {
        self.extras_or_new();
        cycles::note(self);
    }

    /// Lets hooks take the `n`th value that the node keeps.
    ///
    /// # Errors
    /// Where it is not there or hooks took it already, and what the hooks raise.
    pub fn hook_saved(&self, n: usize, hooks: Arc<dyn SavedHooks>) -> Result<()> {
        let saved = self.saved().into_iter().nth(n).ok_or(Error::SavedHookOnNone)?;
        let mut packed = Some(saved.hook(self, hooks)?);
        self.note_packed();
        let mut next = 0;
        self.visit(&mut |slot| {
            if next == n && slot.is_same(&saved) {
                packed = packed.take().map(|packed| std::mem::replace(slot, packed));
            }
            next += 1;
        });
        Ok(())
    }

    #[inline]
    fn with<D: Derivative>(derivative: D, edges: Edges, outputs: Outputs) -> NodeRef {
        let node = NodeRef::unnoted(derivative, edges, outputs);
        node.note_origin();
        node
    }

    /// As [`NodeRef::with`], before the node is told which line of the program made it: this calls nothing of the host language.
    #[inline]
    pub(super) fn unnoted<D: Derivative>(derivative: D, edges: Edges, outputs: Outputs) -> NodeRef {
        // The number is taken after those of all nodes that this one points to, so numbers fall along edges whichever
        // threads made the nodes.
        let (slot, number) = LOCAL.with(|local| (local.take(), local.number(D::IS_ACCUMULATOR)));
        // SAFETY: the slot is free and ours until the reference exists.
        unsafe {
            Node::write((*slot.as_ref().node.get()).as_mut_ptr(), derivative, edges, outputs);
            let slot = slot.as_ref();
            slot.mark.store(0, Ordering::Relaxed);
            slot.refs.store(1, Ordering::Relaxed);
            slot.sequence.store(number, Ordering::Release);
        }
        NodeRef(slot)
    }

    /// The slot's header.
    #[inline]
    pub(crate) fn slot(&self) -> &Slot {
        // SAFETY: slots stay readable.
        unsafe { self.0.as_ref() }
    }

    /// The node's name.
    #[inline]
    pub fn id(&self) -> NodeId {
        NodeId { slot: self.0, sequence: self.sequence() }
    }

    /// The node's place in the order of recording.
    #[inline]
    pub fn sequence(&self) -> u64 {
        self.slot().sequence.load(Ordering::Relaxed)
    }

    /// True where both refer to one node.
    #[inline]
    pub fn same(&self, other: &NodeRef) -> bool {
        self.0 == other.0
    }

    /// True where this is the only reference to the node.
    pub fn is_unique(&self) -> bool {
        self.slot().refs.load(Ordering::Relaxed) == 1
    }

    /// How many references to the node there are.
    pub(super) fn owners(&self) -> usize {
        self.slot().refs.load(Ordering::Acquire) as usize
    }

    /// Runs the node's derivative alone: the gradients of its inputs from those of its outputs. The node of a leaf accumulates.
    ///
    /// # Errors
    /// For gradients that do not look like the outputs, and as the derivative.
    pub fn apply(&self, gradients: &[Option<Tensor>]) -> Result<Gradients> {
        if gradients.len() != self.output_count() {
            return Err(Error::HookCount { node: self.name(), expected: self.output_count(), given: gradients.len() });
        }
        for (n, g) in gradients.iter().enumerate().filter_map(|(n, g)| Some((n, g.as_ref()?))) {
            let (expected, dtype) = self.output(n);
            if !self.output_is(n, g.shape(), g.dtype()) {
                let (given, expected) = (g.shape().to_vec(), expected.to_vec());
                return Err(match g.dtype() == dtype {
                    true => {
                        Error::Shape { op: self.name(), what: "a gradient must look like its output", expected, given }
                    }
                    false => Error::DTypeMismatch { op: self.name(), left: dtype, right: g.dtype() },
                });
            }
        }
        if let (Some(leaf), [Some(gradient)]) = (self.leaf(), gradients) {
            return accumulate::into_leaf(&leaf, gradient.clone()).map(|()| Gradients::new());
        }
        let needs: SmallVec<[bool; 4]> = self.edges().iter().map(Option::is_some).collect();
        self.run(true, &Backward { gradients, needs: &needs, node: self })
    }

    /// The slot's address: the identity of the node while it lives.
    #[inline]
    pub fn address(&self) -> usize {
        self.0.as_ptr() as usize
    }
}

impl std::ops::Deref for NodeRef {
    type Target = Node;
    #[inline]
    fn deref(&self) -> &Node {
        // SAFETY: this reference keeps the node in its slot from `with` to the last drop.
        unsafe { (*self.slot().node.get()).assume_init_ref() }
    }
}

impl Clone for NodeRef {
    #[inline]
    fn clone(&self) -> Self {
        if self.slot().refs.fetch_add(1, Ordering::Relaxed) > i32::MAX as u32 {
            std::process::abort();
        }
        NodeRef(self.0)
    }
}

impl NodeId {
    /// True as long as the node lives.
    pub(super) fn is_alive(self) -> bool {
        // SAFETY: slots stay readable.
        let slot = unsafe { self.slot.as_ref() };
        slot.sequence.load(Ordering::Acquire) == self.sequence && slot.refs.load(Ordering::Relaxed) > 0
    }

    /// The node, if it still lives.
    pub fn upgrade(self) -> Option<NodeRef> {
        // SAFETY: slots stay readable.
        let slot = unsafe { self.slot.as_ref() };
        let is_same = || slot.sequence.load(Ordering::Acquire) == self.sequence;
        let mut refs = slot.refs.load(Ordering::Relaxed);
        loop {
            if refs == 0 || !is_same() {
                return None;
            }
            match slot.refs.compare_exchange_weak(refs, refs + 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => refs = now,
            }
        }
        let node = NodeRef(self.slot);
        // The slot may have been freed and used again between the two looks at it.
        is_same().then_some(node)
    }
}

impl Drop for NodeRef {
    #[inline]
    fn drop(&mut self) {
        if self.slot().refs.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            LOCAL.with(|local| local.bury(self.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::accumulator::AccumulateGrad;
    use crate::tensor::Tensor;

    fn node() -> NodeRef {
        let leaf = Tensor::from_slice(&[1.0f32]);
        NodeRef::new(AccumulateGrad { leaf }, Edges::new(), &[1], DType::F32)
    }

    #[test]
    fn a_stale_id_is_told() {
        let node = node();
        let id = node.id();
        assert!(id.upgrade().is_some_and(|n| n.same(&node)));
        let address = node.address();
        drop(node);
        assert!(id.upgrade().is_none());
        let next = self::node();
        assert_eq!(next.address(), address);
        assert!(id.upgrade().is_none());
    }

    #[test]
    fn a_chain_is_freed_in_constant_stack() {
        let build = || {
            let x = Tensor::from_slice(&[1.0f32]).requiring_grad().unwrap();
            let mut y = x.clone();
            for _ in 0..200_000 {
                y = (&y * 1.0).unwrap();
            }
        };
        std::thread::Builder::new().stack_size(64 << 10).spawn(build).unwrap().join().unwrap();
    }
}
