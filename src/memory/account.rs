//! Bytes that the library has from the system, and what of them is free.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::slab;

/// Free bytes that are kept at most.
const LIMIT: usize = 1 << 30;

static TAKEN: AtomicUsize = AtomicUsize::new(0);
/// What of it is free for every thread.
static KEPT: AtomicUsize = AtomicUsize::new(0);
/// The most bytes that were taken at one time.
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Bytes come from the system.
pub(super) fn take(bytes: usize) {
    PEAK.fetch_max(TAKEN.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

/// Bytes that were in use go back to the system.
pub(super) fn give(bytes: usize) {
    TAKEN.fetch_sub(bytes, Relaxed);
}

/// Bytes that were in use are free.
pub(super) fn keep(bytes: usize) {
    KEPT.fetch_add(bytes, Relaxed);
}

/// Free bytes are in use.
pub(super) fn reuse(bytes: usize) {
    KEPT.fetch_sub(bytes, Relaxed);
}

/// True while more is free than is kept.
pub(super) fn has_enough() -> bool {
    KEPT.load(Relaxed) > LIMIT
}

/// Bytes of the system's memory that the library has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// All that was taken and not given back.
    pub reserved: usize,
    /// What of them is free for every thread.
    pub free: usize,
    /// The most that was reserved at one time for blocks, beside the chunks that are there now.
    pub peak: usize,
}

/// What memory the library has now.
pub fn stats() -> Stats {
    let (chunks, empty) = slab::stats();
    let reserved = TAKEN.load(Relaxed) + chunks;
    Stats { reserved, free: KEPT.load(Relaxed) + empty, peak: (PEAK.load(Relaxed) + chunks).max(reserved) }
}
