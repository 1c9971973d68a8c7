//! Where nodes live: chunks that never move and are never given back, so that a stale id can be looked at and told.

use std::cell::{Cell, UnsafeCell};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

use parking_lot::Mutex;

use super::node::Node;

/// A place for a node. The header outlives the nodes that use it one after another.
#[repr(align(16))]
pub struct Slot {
    /// How many [`NodeRef`]s there are; 0 for a free slot.
    refs: AtomicU32,
    /// Moves each time the slot is freed.
    generation: AtomicU32,
    /// For the backward pass that visits the node: its number and the node's place in its plan.
    pub(crate) mark: AtomicU64,
    /// The next free slot, where this one is free.
    next: Cell<*mut Slot>,
    node: UnsafeCell<Option<Node>>,
}

// SAFETY: `next` is only touched by whoever holds the free slot; `node` is written before the first reference to it is
// given out and cleared after the last is gone.
unsafe impl Sync for Slot {}
// SAFETY: as above.
unsafe impl Send for Slot {}

/// Shared ownership of a node.
pub struct NodeRef(NonNull<Slot>);

/// The name of a node that keeps nothing alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeId {
    slot: NonNull<Slot>,
    generation: u32,
}

// SAFETY: slots are `Sync` and never freed.
unsafe impl Send for NodeRef {}
// SAFETY: as above.
unsafe impl Sync for NodeRef {}
// SAFETY: as above.
unsafe impl Send for NodeId {}
// SAFETY: as above.
unsafe impl Sync for NodeId {}

const CHUNK: usize = 1024;
/// Free slots that a thread keeps before it hands half of them to the others.
const THREAD_SLOTS: u32 = 1 << 20;

/// Free slots as a list threaded through them.
struct FreeList {
    head: Cell<*mut Slot>,
    count: Cell<u32>,
}

// SAFETY: a list owns its slots, which belong to no thread.
unsafe impl Send for FreeList {}

impl FreeList {
    const fn new() -> Self {
        FreeList { head: Cell::new(null_mut()), count: Cell::new(0) }
    }

    #[inline]
    fn push(&self, slot: NonNull<Slot>) {
        // SAFETY: the slot is free and ours.
        unsafe { slot.as_ref() }.next.set(self.head.get());
        self.head.set(slot.as_ptr());
        self.count.set(self.count.get() + 1);
    }

    #[inline]
    fn pop(&self) -> Option<NonNull<Slot>> {
        let slot = NonNull::new(self.head.get())?;
        // SAFETY: slots in the list are free and hold their successor.
        self.head.set(unsafe { slot.as_ref() }.next.get());
        self.count.set(self.count.get() - 1);
        Some(slot)
    }
}

impl Drop for FreeList {
    fn drop(&mut self) {
        let shared = SHARED.lock();
        while let Some(slot) = self.pop() {
            shared.push(slot);
        }
    }
}

thread_local! {
    static FREE: FreeList = const { FreeList::new() };
    /// Nodes whose last reference went while another node was being dropped: freed one after another, not one inside
    /// the other.
    static DROPPING: Cell<bool> = const { Cell::new(false) };
    static DOOMED: FreeList = const { FreeList::new() };
}

static SHARED: Mutex<std::mem::ManuallyDrop<FreeList>> = Mutex::new(std::mem::ManuallyDrop::new(FreeList::new()));
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// How many nodes there are room for.
pub fn capacity() -> usize {
    LIVE.load(Ordering::Relaxed)
}

fn take_slot() -> NonNull<Slot> {
    if let Ok(Some(slot)) = FREE.try_with(FreeList::pop) {
        return slot;
    }
    refill()
}

/// Takes from the slots that other threads gave up, else makes a chunk of new ones.
#[cold]
fn refill() -> NonNull<Slot> {
    let shared = SHARED.lock();
    let fresh = shared.pop();
    for _ in 0..CHUNK {
        let Some(slot) = shared.pop() else { break };
        if FREE.try_with(|free| free.push(slot)).is_err() {
            shared.push(slot);
            break;
        }
    }
    drop(shared);
    fresh.unwrap_or_else(|| {
        LIVE.fetch_add(CHUNK, Ordering::Relaxed);
        let chunk: Vec<Slot> = (0..CHUNK)
            .map(|_| Slot {
                refs: AtomicU32::new(0),
                generation: AtomicU32::new(0),
                mark: AtomicU64::new(0),
                next: Cell::new(null_mut()),
                node: UnsafeCell::new(None),
            })
            .collect();
        let mut slots = Vec::leak(chunk).iter_mut().map(NonNull::from);
        let first = slots.next().unwrap_or(NonNull::dangling());
        for slot in slots {
            give_slot(slot);
        }
        first
    })
}

#[inline]
fn give_slot(slot: NonNull<Slot>) {
    let kept = FREE.try_with(|free| {
        let room = free.count.get() < THREAD_SLOTS;
        if room {
            free.push(slot);
        }
        room
    });
    if kept != Ok(true) {
        SHARED.lock().push(slot);
    }
}

impl NodeRef {
    /// Moves a node into the arena.
    #[inline]
    pub fn new(node: Node) -> NodeRef {
        let slot = take_slot();
        // SAFETY: the slot is free and ours until the reference exists.
        unsafe {
            slot.as_ref().node.get().write(Some(node));
            slot.as_ref().refs.store(1, Ordering::Relaxed);
        }
        NodeRef(slot)
    }

    /// The slot's header.
    #[inline]
    pub(crate) fn slot(&self) -> &Slot {
        // SAFETY: slots are never freed.
        unsafe { self.0.as_ref() }
    }

    /// The node's name.
    #[inline]
    pub fn id(&self) -> NodeId {
        NodeId { slot: self.0, generation: self.slot().generation.load(Ordering::Relaxed) }
    }

    /// True where both refer to one node.
    #[inline]
    pub fn same(&self, other: &NodeRef) -> bool {
        self.0 == other.0
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
        // SAFETY: this reference keeps the node in its slot from `new` to the last drop.
        unsafe { (*self.slot().node.get()).as_ref().unwrap_unchecked() }
    }
}

impl Clone for NodeRef {
    #[inline]
    fn clone(&self) -> Self {
        self.slot().refs.fetch_add(1, Ordering::Relaxed);
        NodeRef(self.0)
    }
}

impl NodeId {
    /// The node, if it still lives.
    pub fn upgrade(self) -> Option<NodeRef> {
        // SAFETY: slots are never freed.
        let slot = unsafe { self.slot.as_ref() };
        let mut refs = slot.refs.load(Ordering::Relaxed);
        loop {
            if refs == 0 || slot.generation.load(Ordering::Acquire) != self.generation {
                return None;
            }
            match slot.refs.compare_exchange_weak(refs, refs + 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => refs = now,
            }
        }
        let node = NodeRef(self.slot);
        // The slot may have been freed and used again between the two looks at it.
        (slot.generation.load(Ordering::Acquire) == self.generation).then_some(node)
    }
}

impl Drop for NodeRef {
    #[inline]
    fn drop(&mut self) {
        if self.slot().refs.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            bury(self.0);
        }
    }
}

/// Frees a node, and then all that lost their last reference by it, in constant stack.
fn bury(slot: NonNull<Slot>) {
    let outermost = DROPPING.try_with(|d| !d.replace(true)).unwrap_or(true);
    if !outermost {
        DOOMED.with(|doomed| doomed.push(slot));
        return;
    }
    let mut next = Some(slot);
    while let Some(slot) = next {
        // SAFETY: the last reference is gone; only this thread reaches the slot.
        let header = unsafe { slot.as_ref() };
        header.generation.fetch_add(1, Ordering::Release);
        // SAFETY: as above.
        drop(unsafe { (*header.node.get()).take() });
        give_slot(slot);
        next = DOOMED.try_with(FreeList::pop).ok().flatten();
    }
    let _ = DROPPING.try_with(|d| d.set(false));
}
