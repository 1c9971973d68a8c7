//! Blocks of memory by size class, kept for the next of their size: small ones by each thread, large ones by all.
//!
//! Four classes to a doubling waste at most a quarter of a block. What is kept is bounded; [`trim`] gives it back.

use std::alloc::{Layout, alloc, dealloc};
use std::cell::UnsafeCell;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

/// Alignment of every block: a cache line, and the widest vector.
pub const ALIGN: usize = 64;

/// Sizes up to this many bytes are kept by threads.
const SMALL: usize = 64 << 10;
/// Free bytes that a thread keeps of one class before it hands blocks to the others.
const THREAD_BYTES: usize = 256 << 10;
/// Free bytes that all threads together keep.
const LIMIT: usize = 1 << 30;
/// Classes of blocks: four to a doubling, from `1 << FIRST`.
const CLASSES: usize = 4 * (64 - FIRST as usize);
const SMALL_CLASSES: usize = class_of(SMALL) + 1;
const FIRST: u32 = 6;

/// The class that holds `bytes`.
const fn class_of(bytes: usize) -> usize {
    if bytes <= 1 << FIRST {
        return 0;
    }
    // With `top` the highest bit of the last byte's address, two more bits choose the quarter of the doubling.
    let last = bytes - 1;
    let top = usize::BITS - 1 - last.leading_zeros();
    let quarter = (last >> (top - 2)) & 3;
    (top - FIRST) as usize * 4 + quarter + 1
}

/// The bytes that a block of the class has, a multiple of [`ALIGN`].
const fn class_bytes(class: usize) -> usize {
    if class == 0 {
        return 1 << FIRST;
    }
    let (doubling, quarter) = ((class - 1) / 4, (class - 1) % 4);
    let bytes = (1usize << FIRST << doubling) / 4 * (5 + quarter);
    bytes.div_ceil(ALIGN) * ALIGN
}

/// Free blocks as a list threaded through the blocks themselves.
struct FreeList {
    head: *mut Free,
    count: usize,
}

struct Free {
    next: *mut Free,
}

impl FreeList {
    const fn new() -> Self {
        FreeList { head: null_mut(), count: 0 }
    }

    #[inline]
    fn push(&mut self, block: NonNull<u8>) {
        let block = block.cast::<Free>().as_ptr();
        // SAFETY: the block is free, at least 64 bytes and aligned; nobody else refers to it.
        unsafe { (*block).next = self.head };
        self.head = block;
        self.count += 1;
    }

    #[inline]
    fn pop(&mut self) -> Option<NonNull<u8>> {
        let block = NonNull::new(self.head)?;
        // SAFETY: blocks in the list are free and hold their successor since `push`.
        self.head = unsafe { (*block.as_ptr()).next };
        self.count -= 1;
        Some(block.cast())
    }
}

// SAFETY: a list owns its blocks, which belong to no thread.
unsafe impl Send for FreeList {}

struct Local([UnsafeCell<FreeList>; SMALL_CLASSES]);

thread_local! {
    static LOCAL: Local = const { Local([const { UnsafeCell::new(FreeList::new()) }; SMALL_CLASSES]) };
}

impl Local {
    #[inline]
    fn pop(&self, class: usize) -> Option<NonNull<u8>> {
        // SAFETY: only this thread reaches the list, and neither `pop` nor `push` calls anything that reaches it again.
        unsafe { (*self.0[class].get()).pop() }
    }

    /// Keeps the block unless this thread has enough of its class.
    #[inline]
    fn push(&self, class: usize, block: NonNull<u8>) -> bool {
        // SAFETY: as in `pop`.
        let list = unsafe { &mut *self.0[class].get() };
        let room = list.count < (THREAD_BYTES / class_bytes(class)).max(8);
        if room {
            list.push(block);
        }
        room
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        for class in 0..SMALL_CLASSES {
            while let Some(block) = self.pop(class) {
                give_back(class, block);
            }
        }
    }
}

static GLOBAL: [Mutex<FreeList>; CLASSES] = [const { Mutex::new(FreeList::new()) }; CLASSES];
static KEPT: AtomicUsize = AtomicUsize::new(0);
static TAKEN: AtomicUsize = AtomicUsize::new(0);

fn system_layout(class: usize) -> Option<Layout> {
    Layout::from_size_align(class_bytes(class), ALIGN).ok()
}

/// A block of at least `bytes` bytes, aligned to [`ALIGN`], its contents anything; `None` when there is no memory.
#[inline]
pub fn allocate(bytes: usize) -> Option<NonNull<u8>> {
    if bytes > isize::MAX as usize / 2 {
        return None;
    }
    let class = class_of(bytes);
    if class < SMALL_CLASSES
        && let Ok(Some(block)) = LOCAL.try_with(|local| local.pop(class))
    {
        return Some(block);
    }
    allocate_shared(class)
}

#[cold]
fn allocate_shared(class: usize) -> Option<NonNull<u8>> {
    if let Some(block) = GLOBAL[class].lock().pop() {
        KEPT.fetch_sub(class_bytes(class), Relaxed);
        return Some(block);
    }
    let layout = system_layout(class)?;
    // SAFETY: the layout has a size above zero.
    let fresh = || NonNull::new(unsafe { alloc(layout) });
    let block = fresh().or_else(|| {
        trim();
        fresh()
    })?;
    TAKEN.fetch_add(class_bytes(class), Relaxed);
    Some(block)
}

/// Takes a block back.
///
/// # Safety
/// `block` came from [`allocate`] with a size of the same class, and nobody uses it any more.
#[inline]
pub unsafe fn free(block: NonNull<u8>, bytes: usize) {
    let class = class_of(bytes);
    if class < SMALL_CLASSES && LOCAL.try_with(|local| local.push(class, block)) == Ok(true) {
        return;
    }
    give_back(class, block);
}

#[cold]
fn give_back(class: usize, block: NonNull<u8>) {
    let bytes = class_bytes(class);
    if KEPT.fetch_add(bytes, Relaxed) + bytes <= LIMIT {
        GLOBAL[class].lock().push(block);
    } else {
        KEPT.fetch_sub(bytes, Relaxed);
        release(class, block);
    }
}

fn release(class: usize, block: NonNull<u8>) {
    TAKEN.fetch_sub(class_bytes(class), Relaxed);
    if let Some(layout) = system_layout(class) {
        // SAFETY: the block was made by `allocate_shared` with this layout and is free.
        unsafe { dealloc(block.as_ptr(), layout) };
    }
}

/// Gives the system every free block that no thread holds for itself.
pub fn trim() {
    for (class, list) in GLOBAL.iter().enumerate() {
        let mut blocks = std::mem::replace(&mut *list.lock(), FreeList::new());
        while let Some(block) = blocks.pop() {
            KEPT.fetch_sub(class_bytes(class), Relaxed);
            release(class, block);
        }
    }
}

/// Bytes taken from the system, and those of them that are free and shared by all threads.
pub fn stats() -> (usize, usize) {
    (TAKEN.load(Relaxed), KEPT.load(Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_their_sizes_with_little_waste() {
        for bytes in (1..5000).chain([65535, 65536, 65537, 1 << 20, (1 << 20) + 1, 1 << 40]) {
            let class = class_of(bytes);
            assert!(class_bytes(class) >= bytes, "{bytes}");
            assert!(class_bytes(class) <= (bytes + bytes / 4).max(64) + ALIGN, "{bytes}");
            assert!(
                class == 0 || class_bytes(class - 1) < bytes || class_bytes(class - 1) == class_bytes(class),
                "{bytes}"
            );
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
