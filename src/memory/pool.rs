//! Blocks of memory: small ones by size class, kept for the next of their size by each thread, and large ones out of segments
//! ([`super::segments`]).
//!
//! Four classes to a doubling waste at most a quarter of a small block. What is kept is bounded; [`trim`] gives it back.

use std::alloc::{Layout, alloc, dealloc};
use std::cell::UnsafeCell;
use std::ptr::NonNull;

use super::slab::{FreeList, Slab};
use super::spin::Spin;
use super::{account, reserve, segments};
use crate::fork;

/// Alignment of blocks for elements: a cache line, and the widest vector.
pub const ALIGN: usize = 64;
/// Alignment of every block.
pub const LEAST_ALIGN: usize = 16;

/// Sizes up to this many bytes are cut out of chunks.
const TINY: usize = 512;
/// Sizes up to this many bytes are kept by threads.
const SMALL: usize = 64 << 10;
/// Free bytes that a thread keeps of one class before it hands half of them to the others.
const THREAD_BYTES: usize = 256 << 10;
/// Bytes that a thread takes at once.
const BATCH: usize = 8 << 10;
/// Classes of blocks: four to a doubling, from `1 << FIRST`.
pub(super) const CLASSES: usize = 4 * (64 - FIRST as usize);
const SMALL_CLASSES: usize = class_of(SMALL) + 1;
const TINY_CLASSES: usize = class_of(TINY) + 1;
const FIRST: u32 = 6;

/// The class that holds `bytes`.
#[inline]
pub const fn class_of(bytes: usize) -> usize {
    if bytes <= 1 << FIRST {
        return 0;
    }
    // With `top` the highest bit of the last byte's address, two more bits choose the quarter of the doubling.
    let last = bytes - 1;
    let top = usize::BITS - 1 - last.leading_zeros();
    let quarter = (last >> (top - 2)) & 3;
    (top - FIRST) as usize * 4 + quarter + 1
}

/// The bytes that a block of the class has.
pub const fn class_bytes(class: usize) -> usize {
    if class == 0 {
        return 1 << FIRST;
    }
    let (doubling, quarter) = ((class - 1) / 4, (class - 1) % 4);
    (1usize << FIRST << doubling) / 4 * (5 + quarter)
}

/// The alignment that the small blocks of a class have.
const fn alignment(bytes: usize) -> usize {
    if bytes.is_multiple_of(ALIGN) { ALIGN } else { LEAST_ALIGN }
}

/// The lists of a thread. Nothing is dropped here when the thread ends, so the lists can be reached until the very end;
/// [`Guard`] hands the blocks on.
struct Local {
    lists: [UnsafeCell<FreeList>; SMALL_CLASSES],
    /// Blocks of a class that the thread keeps; none before its guard is there and after it is gone.
    open: UnsafeCell<bool>,
}

/// Gives the blocks of a thread to the others when it ends.
struct Guard;

thread_local! {
    static LOCAL: Local = const {
        Local { lists: [const { UnsafeCell::new(FreeList::new()) }; SMALL_CLASSES], open: UnsafeCell::new(false) }
    };
    static GUARD: Guard = const { Guard };
}

/// How many free blocks of each class a thread keeps.
static ROOM: [usize; SMALL_CLASSES] = {
    let mut room = [8; SMALL_CLASSES];
    let mut class = 0;
    while class < SMALL_CLASSES {
        let fits = THREAD_BYTES / class_bytes(class);
        room[class] = if fits > 8 { fits } else { 8 };
        class += 1;
    }
    room
};

impl Local {
    #[inline]
    fn pop(&self, class: usize) -> Option<NonNull<u8>> {
        // SAFETY: only this thread reaches the list, and neither `pop` nor `push` calls anything that reaches it again.
        unsafe { (*self.lists[class].get()).pop() }
    }

    /// Keeps the block unless this thread has enough of its class.
    #[inline]
    fn push(&self, class: usize, block: NonNull<u8>) -> bool {
        // SAFETY: as in `pop`.
        let (list, open) = unsafe { (&mut *self.lists[class].get(), *self.open.get()) };
        let room = open && list.len() < ROOM[class];
        if room {
            // SAFETY: the caller gives the block up; it has the bytes of its class.
            unsafe { list.push(block) };
        }
        room
    }

    /// Takes blocks of a class from those of all threads, and hands out one.
    fn refill(&self, class: usize) -> Option<NonNull<u8>> {
        // SAFETY: as in `pop`.
        let (list, open) = unsafe { (&mut *self.lists[class].get(), *self.open.get()) };
        let count = if open { (BATCH / class_bytes(class)).max(1) } else { 1 };
        if class < TINY_CLASSES {
            TINY_SLABS[class].take(list, count);
        } else {
            let mut shared = SHARED[class].lock();
            while list.len() < count
                && let Some(block) = shared.pop()
            {
                account::reuse(class_bytes(class));
                // SAFETY: the block was free and is of this class.
                unsafe { list.push(block) };
            }
        }
        list.pop()
    }

    /// Hands blocks of a class to all threads until `left` are here.
    fn flush(&self, class: usize, left: usize) {
        // SAFETY: as in `pop`.
        let list = unsafe { &mut *self.lists[class].get() };
        if class < TINY_CLASSES {
            TINY_SLABS[class].give(list, left);
        }
        while list.len() > left
            && let Some(block) = list.pop()
        {
            give_back(class, block);
        }
    }

    fn set_open(&self, open: bool) {
        // SAFETY: as in `pop`.
        unsafe { *self.open.get() = open };
    }
}

impl Guard {
    /// Lets the thread keep blocks, as long as it can be told of its end.
    fn watch() {
        fork::watch();
        if GUARD.try_with(|_| ()).is_ok() {
            LOCAL.with(|local| local.set_open(true));
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        LOCAL.with(|local| {
            local.set_open(false);
            (0..SMALL_CLASSES).for_each(|class| local.flush(class, 0));
        });
    }
}

static TINY_SLABS: [Slab; TINY_CLASSES] = {
    let mut slabs = [const { Slab::new(0) }; TINY_CLASSES];
    let mut class = 0;
    while class < TINY_CLASSES {
        slabs[class] = Slab::new(class_bytes(class));
        class += 1;
    }
    slabs
};
/// Free small blocks of all threads, by class.
static SHARED: [Spin<FreeList>; SMALL_CLASSES] = [const { Spin::new(FreeList::new()) }; SMALL_CLASSES];

fn system_layout(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes, alignment(bytes)).ok()
}

/// The class of aligned blocks that hold `bytes`.
#[inline]
pub const fn aligned_class_of(bytes: usize) -> usize {
    class_of(bytes.next_multiple_of(ALIGN))
}

/// A block of at least `bytes` bytes, its contents anything; `None` when there is no memory.
#[inline]
pub fn allocate(bytes: usize) -> Option<NonNull<u8>> {
    if bytes > SMALL {
        return allocate_large(bytes);
    }
    allocate_class(class_of(bytes))
}

/// As [`allocate`] for elements, aligned to [`ALIGN`].
#[inline]
pub fn allocate_aligned(bytes: usize) -> Option<NonNull<u8>> {
    allocate(bytes.checked_next_multiple_of(ALIGN)?)
}

/// A block of a class, aligned to [`LEAST_ALIGN`], or where its size is a multiple of [`ALIGN`] to that.
#[inline]
pub fn allocate_class(class: usize) -> Option<NonNull<u8>> {
    if class < SMALL_CLASSES
        && let Some(block) = LOCAL.with(|local| local.pop(class))
    {
        return Some(block);
    }
    allocate_shared(class)
}

#[inline(never)]
fn allocate_large(bytes: usize) -> Option<NonNull<u8>> {
    fork::watch();
    if bytes > isize::MAX as usize / 2 { None } else { segments::allocate(bytes) }
}

#[cold]
#[inline(never)]
fn allocate_shared(class: usize) -> Option<NonNull<u8>> {
    if class >= SMALL_CLASSES {
        return allocate_large(class_bytes(class));
    }
    Guard::watch();
    if let Some(block) = LOCAL.with(|local| local.refill(class)) {
        return Some(block);
    }
    if class < TINY_CLASSES { None } else { from_system(class_bytes(class)) }
}

fn from_system(bytes: usize) -> Option<NonNull<u8>> {
    let layout = system_layout(bytes)?;
    // SAFETY: the layout has a size above zero.
    let fresh = || NonNull::new(reserve::asking(|| unsafe { alloc(layout) }));
    let block = fresh().or_else(|| {
        trim();
        fresh()
    })?;
    account::take(bytes);
    Some(block)
}

/// Takes a block back.
///
/// # Safety
/// `block` came from [`allocate`] with this size, and nobody uses it any more.
#[inline]
pub unsafe fn free(block: NonNull<u8>, bytes: usize) {
    // SAFETY: as for this function.
    unsafe { free_class(block, class_of(bytes)) }
}

/// As [`free`], for a block of [`allocate_aligned`].
///
/// # Safety
/// `block` came from [`allocate_aligned`] with this size, and nobody uses it any more.
#[inline]
pub unsafe fn free_aligned(block: NonNull<u8>, bytes: usize) {
    // SAFETY: as for this function.
    unsafe { free_class(block, aligned_class_of(bytes)) }
}

/// Takes a block of a class back.
///
/// # Safety
/// `block` came from [`allocate_class`] with this class, and nobody uses it any more.
#[inline]
pub unsafe fn free_class(block: NonNull<u8>, class: usize) {
    if class >= SMALL_CLASSES || !LOCAL.with(|local| local.push(class, block)) {
        free_shared(class, block);
    }
}

/// Takes back a block that its thread has no room for.
#[cold]
#[inline(never)]
fn free_shared(class: usize, block: NonNull<u8>) {
    if class >= SMALL_CLASSES {
        // SAFETY: blocks of these classes came from there, and the caller gives this one up.
        return unsafe { segments::free(block) };
    }
    Guard::watch();
    LOCAL.with(|local| local.flush(class, ROOM[class] / 2));
    if LOCAL.with(|local| local.push(class, block)) {
        return;
    }
    if class < TINY_CLASSES {
        let mut single = FreeList::new();
        // SAFETY: the block is free and of this class.
        unsafe { single.push(block) };
        return TINY_SLABS[class].give(&mut single, 0);
    }
    give_back(class, block);
}

/// Keeps a block for all threads, or where enough are kept gives it to the system.
fn give_back(class: usize, block: NonNull<u8>) {
    let bytes = class_bytes(class);
    if account::has_enough() {
        return release(class, block);
    }
    account::keep(bytes);
    // SAFETY: the block is free and of this class.
    unsafe { SHARED[class].lock().push(block) };
}

fn release(class: usize, block: NonNull<u8>) {
    let bytes = class_bytes(class);
    account::give(bytes);
    if let Some(layout) = system_layout(bytes) {
        // SAFETY: the block was made by `from_system` with this layout and is free.
        unsafe { dealloc(block.as_ptr(), layout) };
    }
}

/// Gives the system every free block that no thread holds for itself, but for the smallest, which see to it themselves.
pub fn trim() {
    for (class, list) in SHARED.iter().enumerate().skip(TINY_CLASSES) {
        let mut blocks = std::mem::replace(&mut *list.lock(), FreeList::new());
        while let Some(block) = blocks.pop() {
            account::reuse(class_bytes(class));
            release(class, block);
        }
    }
    segments::trim();
}

/// Takes all locks of this module until [`let_go`].
pub(crate) fn hold() {
    TINY_SLABS.iter().for_each(Slab::hold);
    SHARED.iter().for_each(Spin::hold);
    segments::hold();
}

/// Gives back what [`hold`] took.
///
/// # Safety
/// `hold` was called once before.
pub(crate) unsafe fn let_go() {
    // SAFETY: as the caller says.
    unsafe {
        segments::let_go();
        SHARED.iter().for_each(|list| list.release());
        TINY_SLABS.iter().for_each(|slab| slab.release());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_their_sizes_with_little_waste() {
        for bytes in (1..5000).chain([65535, 65536, 65537, 1 << 20, (1 << 20) + 1, 1 << 40]) {
            let class = class_of(bytes);
            assert!(class_bytes(class) >= bytes, "{bytes}");
            assert!(class_bytes(class) <= (bytes + bytes / 4).max(64), "{bytes}");
            assert!(class == 0 || class_bytes(class - 1) < bytes, "{bytes}");
        }
    }

    #[test]
    fn blocks_are_aligned() {
        for bytes in (1..3000).step_by(7) {
            let block = allocate_aligned(bytes).unwrap();
            assert!(block.addr().get().is_multiple_of(ALIGN), "{bytes}");
            // SAFETY: the block was just allocated with this size.
            unsafe { free_aligned(block, bytes) };
        }
    }

    #[test]
    fn blocks_come_back() {
        let block = allocate(1000).unwrap();
        // SAFETY: the block was just allocated with this size.
        unsafe { free(block, 1000) };
        assert_eq!(allocate(1000), Some(block));
        // SAFETY: as above.
        unsafe { free(block, 1000) };
    }

    #[test]
    fn impossible_sizes_are_refused() {
        assert!(allocate(usize::MAX).is_none());
        assert!(allocate(isize::MAX as usize / 2).is_none());
    }
}
