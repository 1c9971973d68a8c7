//! Memory that is set aside for the moment when the system has no more.
//!
//! Rust's standard library ends the process where a list, a box or a string cannot grow. Lists that follow the sizes of
//! a caller's data ask before they grow ([`super::reserved`] and its kin); all others, in this crate and in those it
//! builds on (the packing buffers of the products of matrices among them), are small. Where the system refuses them they
//! are taken from what was set aside, and the next operation ends with [`Error::OutOfMemory`], unless something can be set
//! aside again by then. It is addresses more than memory: only its first page is ever touched.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use super::pool;
use crate::error::{Error, Result};

/// Bytes that are set aside, and at least.
const BYTES: usize = 64 << 20;
const LEAST: usize = 1 << 20;
/// Blocks above this size are not taken from it.
#[cfg(any(test, feature = "python"))]
const MOST: usize = 16 << 20;

/// What is set aside, or null. It begins with its size.
static HELD: AtomicPtr<usize> = AtomicPtr::new(null_mut());
/// Its bytes.
static SIZE: AtomicUsize = AtomicUsize::new(0);
/// True since it was given back to the system, until something is set aside again.
static LOW: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// True while this thread asks for memory that it can do without.
    static ASKS: Cell<bool> = const { Cell::new(false) };
}

/// Asks for memory that may be refused: nothing that was set aside is given for it.
#[inline]
pub(crate) fn asking<R>(ask: impl FnOnce() -> R) -> R {
    let before = ASKS.replace(true);
    let found = ask();
    ASKS.set(before);
    found
}

/// Sees to it that a crate which cannot say that there is no memory finds so many bytes: those set aside, or others.
///
/// # Errors
/// [`Error::OutOfMemory`].
#[inline]
pub(crate) fn require(op: &'static str, bytes: usize) -> Result<()> {
    let size = SIZE.load(Ordering::Relaxed);
    // Where nothing was ever set aside, a program of Rust's wants no other end than its allocator's.
    if size >= bytes || size == 0 && !LOW.load(Ordering::Relaxed) { Ok(()) } else { probe(op, bytes) }
}

#[cold]
fn probe(op: &'static str, bytes: usize) -> Result<()> {
    // SAFETY: the layout has a size above zero.
    let block = unsafe { System.alloc(layout(bytes)) };
    if block.is_null() {
        return Err(Error::OutOfMemory { op, bytes });
    }
    // SAFETY: the block was just allocated with this layout.
    unsafe { System.dealloc(block, layout(bytes)) };
    Ok(())
}

/// True where the system has so many bytes of addresses left: for what takes them otherwise than from this module, and ends
/// the process where there are none. The system itself is asked: a block that comes and goes changes where the C library
/// takes its memory.
#[cfg(unix)]
pub(crate) fn has_addresses(bytes: usize) -> bool {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
    // SAFETY: the mapping is new, and nobody else has its address.
    unsafe {
        let start = libc::mmap(null_mut(), bytes, access, kind, -1, 0);
        start != libc::MAP_FAILED && libc::munmap(start, bytes) == 0
    }
}

/// As above, where nothing ends the process.
#[cfg(not(unix))]
pub(crate) fn has_addresses(_bytes: usize) -> bool {
    true
}

fn layout(bytes: usize) -> Layout {
    // SAFETY: the alignment is a power of two, and the sizes are far from overflow.
    unsafe { Layout::from_size_align_unchecked(bytes, 64) }
}

/// Sets memory aside, or what there is of it; false where there is too little, or where that was done already.
pub(crate) fn set_aside() -> bool {
    let mut bytes = BYTES;
    while bytes >= LEAST {
        // SAFETY: the layout has a size above zero.
        let block = unsafe { System.alloc(layout(bytes)) }.cast::<usize>();
        if !block.is_null() {
            // SAFETY: the block is ours, large enough, and aligned.
            unsafe { block.write(bytes) };
            let set = HELD.compare_exchange(null_mut(), block, Ordering::AcqRel, Ordering::Acquire);
            if set.is_err() {
                // SAFETY: the block was just allocated with this layout.
                unsafe { System.dealloc(block.cast(), layout(bytes)) };
            }
            SIZE.store(bytes, Ordering::Relaxed);
            return set.is_ok();
        }
        bytes /= 2;
    }
    false
}

/// Gives what was set aside back to the system: for whoever has to speak of the want of memory.
#[cfg(any(test, feature = "python"))]
#[cold]
pub(crate) fn open() {
    let held = HELD.swap(null_mut(), Ordering::AcqRel);
    if !held.is_null() {
        LOW.store(true, Ordering::Release);
        SIZE.store(0, Ordering::Relaxed);
        // SAFETY: the block came from `set_aside`, which wrote its size, and the exchange made it ours.
        unsafe { System.dealloc(held.cast(), layout(held.read())) };
    }
}

/// Whether there is memory for another operation.
///
/// # Errors
/// [`Error::OutOfMemory`], where what was set aside is in use.
#[inline]
pub(crate) fn check(op: &'static str) -> Result<()> {
    if LOW.load(Ordering::Relaxed) { recover(op) } else { Ok(()) }
}

#[cold]
fn recover(op: &'static str) -> Result<()> {
    let done = set_aside() || {
        pool::trim();
        set_aside()
    };
    if done || !HELD.load(Ordering::Acquire).is_null() {
        LOW.store(false, Ordering::Release);
        return Ok(());
    }
    Err(Error::OutOfMemory { op, bytes: LEAST })
}

/// The system's allocator, which where it refuses has what was set aside: that of the Python module.
#[cfg(any(test, feature = "python"))]
pub struct WithReserve;

#[cfg(any(test, feature = "python"))]
impl WithReserve {
    /// Tries once more, with what was set aside given back.
    #[cold]
    fn again(bytes: usize, attempt: impl Fn() -> *mut u8) -> *mut u8 {
        if bytes > MOST || ASKS.get() {
            return null_mut();
        }
        open();
        attempt()
    }
}

// SAFETY: everything is passed on to the system's allocator, once or twice.
#[cfg(any(test, feature = "python"))]
unsafe impl GlobalAlloc for WithReserve {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for this function.
        let attempt = || unsafe { System.alloc(layout) };
        let block = attempt();
        if block.is_null() { WithReserve::again(layout.size(), attempt) } else { block }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for this function.
        let attempt = || unsafe { System.alloc_zeroed(layout) };
        let block = attempt();
        if block.is_null() { WithReserve::again(layout.size(), attempt) } else { block }
    }

    #[inline]
    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as for this function; a block that could not be moved stays as it was.
        let attempt = || unsafe { System.realloc(old, layout, size) };
        let block = attempt();
        if block.is_null() { WithReserve::again(size, attempt) } else { block }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as for this function.
        unsafe { System.dealloc(block, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_aside_serves_small_blocks_and_comes_back() {
        assert!(set_aside() && !set_aside());
        assert!(check("add").is_ok());
        let refused = std::cell::Cell::new(false);
        let attempt = || {
            refused.set(HELD.load(Ordering::Relaxed).is_null());
            null_mut()
        };
        WithReserve::again(MOST + 1, attempt);
        asking(|| WithReserve::again(MOST, attempt));
        assert!(!refused.get() && !LOW.load(Ordering::Relaxed));
        WithReserve::again(MOST, attempt);
        assert!(refused.get() && LOW.load(Ordering::Relaxed));
        assert!(check("add").is_ok());
        assert!(!HELD.load(Ordering::Relaxed).is_null() && !LOW.load(Ordering::Relaxed));
    }
}
