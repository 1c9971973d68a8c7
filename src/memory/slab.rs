//! Blocks of one small size, cut out of chunks. A chunk all of whose blocks are free gives its pages back to the system
//! and keeps its addresses: whoever looks at an old address finds memory, if only zeros.

use std::alloc::{Layout, alloc};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::discard;
use super::spin::Spin;

/// Bytes of a chunk, and its alignment.
const CHUNK: usize = 1 << 16;
/// Bytes of a region, and its alignment. Its first chunk has the headers of all.
const REGION: usize = 1 << 22;
/// Bytes that free chunks of all sizes may hold from the system.
const RESIDENT: usize = 1 << 27;

/// Bytes of regions whose pages the system may have given, and of those the ones it has back or never gave.
static REGIONS: AtomicUsize = AtomicUsize::new(0);
static DRY: AtomicUsize = AtomicUsize::new(0);
/// Bytes of free chunks whose pages are still there.
static EMPTY: AtomicUsize = AtomicUsize::new(0);

/// Blocks of one size.
pub struct Slab {
    bytes: usize,
    chunks: Spin<Chunks>,
}

struct Chunks {
    /// Chunks with free blocks and others.
    partial: *mut Header,
    /// Free chunks with pages, and without.
    empty: *mut Header,
    dry: *mut Header,
}

// SAFETY: headers and chunks belong to the slab, not to a thread, and are reached under its lock.
unsafe impl Send for Chunks {}

/// What is known of a chunk.
#[repr(C, align(64))]
struct Header {
    next: *mut Header,
    previous: *mut Header,
    /// Free blocks that were in use before.
    list: *mut Block,
    /// Blocks that were not in use since the chunk was last empty begin here.
    fresh: u32,
    /// Blocks that are in use or kept by threads.
    used: u32,
}

/// A free block.
pub struct Block {
    next: *mut Block,
}

/// Free blocks as a list threaded through the blocks themselves.
pub struct FreeList {
    head: *mut Block,
    count: usize,
}

// SAFETY: a list owns its blocks, which belong to no thread.
unsafe impl Send for FreeList {}

impl FreeList {
    /// A list without blocks.
    pub const fn new() -> Self {
        FreeList { head: null_mut(), count: 0 }
    }

    /// How many blocks there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Adds a free block.
    ///
    /// # Safety
    /// The block is at least 16 bytes, aligned, and nobody else uses it.
    #[inline]
    pub unsafe fn push(&mut self, block: NonNull<u8>) {
        let block = block.cast::<Block>().as_ptr();
        // SAFETY: the caller gives the block up.
        unsafe { (*block).next = self.head };
        self.head = block;
        self.count += 1;
    }

    /// Takes a block.
    #[inline]
    pub fn pop(&mut self) -> Option<NonNull<u8>> {
        let block = NonNull::new(self.head)?;
        // SAFETY: blocks in the list are free and hold their successor since `push`.
        self.head = unsafe { block.as_ref().next };
        self.count -= 1;
        Some(block.cast())
    }
}

/// The header of the chunk that an address lies in.
fn header_of(address: *mut u8) -> *mut Header {
    let chunk = address.addr() % REGION / CHUNK;
    address.map_addr(|a| a & !(REGION - 1)).cast::<Header>().wrapping_add(chunk)
}

/// The first byte of a header's chunk.
fn chunk_of(header: *mut Header) -> *mut u8 {
    let index = header.addr() % REGION / size_of::<Header>();
    header.map_addr(|a| a & !(REGION - 1)).cast::<u8>().wrapping_add(index * CHUNK)
}

/// # Safety
/// `header` is a chunk's, in no list, and the slab's lock is held.
unsafe fn link(list: &mut *mut Header, header: *mut Header) {
    // SAFETY: as the caller says; headers in lists are valid.
    unsafe {
        (*header).next = *list;
        (*header).previous = null_mut();
        if let Some(next) = (*list).as_mut() {
            next.previous = header;
        }
    }
    *list = header;
}

/// # Safety
/// `header` is in `list`, and the slab's lock is held.
unsafe fn unlink(list: &mut *mut Header, header: *mut Header) {
    // SAFETY: as the caller says; headers in lists are valid.
    unsafe {
        let (next, previous) = ((*header).next, (*header).previous);
        if let Some(next) = next.as_mut() {
            next.previous = previous;
        }
        match previous.as_mut() {
            Some(previous) => previous.next = next,
            None => *list = next,
        }
    }
}

impl Slab {
    /// Blocks of `bytes` bytes, a multiple of 16 and at most a few hundred; none yet.
    pub const fn new(bytes: usize) -> Self {
        Slab { bytes, chunks: Spin::new(Chunks { partial: null_mut(), empty: null_mut(), dry: null_mut() }) }
    }

    fn capacity(&self) -> u32 {
        (CHUNK / self.bytes) as u32
    }

    /// Moves up to `count` blocks into a list, at least one; false where there is no memory.
    pub fn take(&self, into: &mut FreeList, count: usize) -> bool {
        let mut chunks = self.chunks.lock();
        let before = into.len();
        while into.len() - before < count {
            let Some(header) = chunks.usable() else { break };
            // SAFETY: the header is the first of `partial`, and the lock is held.
            unsafe { self.draw(&mut chunks, header, into, before + count) };
        }
        into.len() > before
    }

    /// # Safety
    /// `header` is in `partial`.
    unsafe fn draw(&self, chunks: &mut Chunks, header: *mut Header, into: &mut FreeList, until: usize) {
        // SAFETY: as the caller says; blocks in the list are free, and those from `fresh` on never were in use.
        unsafe {
            let chunk = &mut *header;
            while into.len() < until {
                let block = if let Some(block) = NonNull::new(chunk.list) {
                    chunk.list = block.as_ref().next;
                    block.cast()
                } else if chunk.fresh < self.capacity() {
                    chunk.fresh += 1;
                    NonNull::new_unchecked(chunk_of(header).add((chunk.fresh as usize - 1) * self.bytes))
                } else {
                    break;
                };
                chunk.used += 1;
                into.push(block);
            }
            if chunk.list.is_null() && chunk.fresh == self.capacity() {
                unlink(&mut chunks.partial, header);
            }
        }
    }

    /// Keeps everybody else from the chunks until [`Self::release`].
    pub fn hold(&self) {
        self.chunks.hold();
    }

    /// Ends what [`Self::hold`] began.
    ///
    /// # Safety
    /// `hold` was called once before.
    pub unsafe fn release(&self) {
        // SAFETY: as the caller says.
        unsafe { self.chunks.release() }
    }

    /// Takes back blocks of a list until `left` are in it.
    pub fn give(&self, from: &mut FreeList, left: usize) {
        let mut chunks = self.chunks.lock();
        while from.len() > left {
            let Some(block) = from.pop() else { break };
            let header = header_of(block.as_ptr());
            // SAFETY: blocks in the list came from this slab, so the header is that of their chunk.
            unsafe {
                let chunk = &mut *header;
                if chunk.list.is_null() && chunk.fresh == self.capacity() {
                    link(&mut chunks.partial, header);
                }
                let block = block.cast::<Block>().as_ptr();
                (*block).next = chunk.list;
                chunk.list = block;
                chunk.used -= 1;
                if chunk.used == 0 {
                    unlink(&mut chunks.partial, header);
                    chunks.retire(header);
                }
            }
        }
    }
}

impl Chunks {
    /// A chunk with free blocks, the first of `partial`.
    fn usable(&mut self) -> Option<*mut Header> {
        if self.partial.is_null() {
            let list = if self.empty.is_null() { &mut self.dry } else { &mut self.empty };
            if list.is_null() {
                self.dry = region()?;
                return self.usable();
            }
            let counter = if self.empty.is_null() { &DRY } else { &EMPTY };
            let list = if self.empty.is_null() { &mut self.dry } else { &mut self.empty };
            let header = *list;
            counter.fetch_sub(CHUNK, Relaxed);
            // SAFETY: the header is in the list, and the lock is held.
            unsafe {
                unlink(list, header);
                link(&mut self.partial, header);
            }
        }
        Some(self.partial)
    }

    /// Puts a chunk aside that is free as a whole.
    ///
    /// # Safety
    /// The chunk is in no list and none of its blocks is in use.
    unsafe fn retire(&mut self, header: *mut Header) {
        // SAFETY: as the caller says.
        unsafe {
            (*header).list = null_mut();
            (*header).fresh = 0;
            if EMPTY.load(Relaxed) < RESIDENT || !discard(NonNull::new_unchecked(chunk_of(header)), CHUNK) {
                EMPTY.fetch_add(CHUNK, Relaxed);
                link(&mut self.empty, header);
            } else {
                DRY.fetch_add(CHUNK, Relaxed);
                link(&mut self.dry, header);
            }
        }
    }
}

/// New chunks as a list; `None` where there is no memory.
fn region() -> Option<*mut Header> {
    let layout = Layout::from_size_align(REGION, REGION).ok()?;
    // SAFETY: the layout has a size above zero.
    let base = NonNull::new(unsafe { alloc(layout) })?.cast::<Header>();
    let count = REGION / CHUNK;
    let mut list = null_mut();
    for index in (1..count).rev() {
        // SAFETY: the first chunk has room for the headers of all.
        unsafe {
            let header = base.add(index).as_ptr();
            header.write(Header { next: null_mut(), previous: null_mut(), list: null_mut(), fresh: 0, used: 0 });
            link(&mut list, header);
        }
    }
    REGIONS.fetch_add((count - 1) * CHUNK, Relaxed);
    DRY.fetch_add((count - 1) * CHUNK, Relaxed);
    Some(list)
}

/// Bytes of all chunks that hold pages of the system, and of those the ones that are free.
pub fn stats() -> (usize, usize) {
    (REGIONS.load(Relaxed).saturating_sub(DRY.load(Relaxed)), EMPTY.load(Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_distinct_and_come_back() {
        static SLAB: Slab = Slab::new(80);
        let mut list = FreeList::new();
        assert!(SLAB.take(&mut list, 5000));
        let mut seen = std::collections::HashSet::new();
        let mut kept = FreeList::new();
        while let Some(block) = list.pop() {
            assert!(seen.insert(block) && block.addr().get() % 16 == 0);
            // SAFETY: the block is ours and of 80 bytes.
            unsafe {
                block.write_bytes(0xff, 80);
                kept.push(block);
            }
        }
        assert_eq!(kept.len(), 5000);
        SLAB.give(&mut kept, 0);
        assert!(SLAB.take(&mut list, 5000) && list.len() == 5000);
        while let Some(block) = list.pop() {
            assert!(seen.iter().any(|b| header_of(b.as_ptr()) == header_of(block.as_ptr())));
            // SAFETY: as above.
            unsafe { kept.push(block) };
        }
        SLAB.give(&mut kept, 0);
    }

    #[test]
    fn chunks_that_are_free_give_their_pages_back() {
        static SLAB: Slab = Slab::new(512);
        let mut list = FreeList::new();
        let bytes = RESIDENT + 8 * REGION;
        assert!(SLAB.take(&mut list, bytes / 512));
        let (held, _) = stats();
        SLAB.give(&mut list, 0);
        let (left, free) = stats();
        assert!(held - left >= bytes - RESIDENT - REGION && free <= RESIDENT + CHUNK, "{held} {left} {free}");
    }
}
