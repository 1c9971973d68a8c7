//! Memory that is given back to be used again: a steady training loop takes nothing from the system.

pub mod account;
pub mod lock;
pub mod pool;
pub(crate) mod reserve;
mod segments;
pub mod shared;
pub(crate) mod slab;
pub mod spin;

use std::ptr::{NonNull, null_mut};
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

use crate::error::{Error, Result};

/// What a pointer leads to, made where it is null.
///
/// # Safety
/// The pointer is null or comes from a box, and once set it stays for as long as it is borrowed.
pub(crate) unsafe fn boxed_or_new<T: Default>(slot: &AtomicPtr<T>) -> &T {
    // SAFETY: as the caller says.
    if let Some(present) = unsafe { slot.load(Acquire).as_ref() } {
        return present;
    }
    let fresh = Box::into_raw(Box::<T>::default());
    let set = slot.compare_exchange(null_mut(), fresh, AcqRel, Acquire);
    // SAFETY: one that was set is the slot's now; one that was not is ours alone.
    unsafe {
        match set {
            Ok(_) => &*fresh,
            Err(theirs) => {
                drop(Box::from_raw(fresh));
                &*theirs
            }
        }
    }
}

/// Gives pages back to the system, and keeps their addresses; false where that cannot be done.
///
/// # Safety
/// The memory is whole pages of ours, and what they hold is of no use to anybody.
unsafe fn discard(start: NonNull<u8>, bytes: usize) -> bool {
    #[cfg(unix)]
    // SAFETY: as the caller says.
    return unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_DONTNEED) == 0 };
    #[cfg(not(unix))]
    {
        let _ = (start, bytes);
        false
    }
}

/// Ends an operation that cannot say otherwise that there is no memory: what it has done so far is undone by unwinding,
/// and the bindings make Python's exception of it.
///
/// # Panics
/// With the [`Error`] as the panic's payload.
#[cold]
pub(crate) fn give_up(error: Error) -> ! {
    std::panic::panic_any(error)
}

/// As [`give_up`], for want of so many bytes.
#[cold]
pub(crate) fn exhausted(bytes: usize) -> ! {
    give_up(Error::OutOfMemory { op: NAMELESS, bytes })
}

/// What was found, for those who cannot say that there is no memory.
///
/// # Panics
/// As [`give_up`].
pub(crate) fn known<T>(found: Result<T>) -> T {
    found.unwrap_or_else(|error| give_up(error))
}

/// Stands for the operation where it is not known.
pub(crate) const NAMELESS: &str = "tensor";

/// Lets a collection grow to so many bytes, which may be refused.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn ask<E>(op: &'static str, bytes: usize, grow: impl FnOnce() -> std::result::Result<(), E>) -> Result<()> {
    reserve::asking(grow).map_err(|_| Error::OutOfMemory { op, bytes })
}

/// An empty vector with room for `count` values: for counts that come from a caller.
///
/// # Errors
/// [`Error::OutOfMemory`], where the standard library would end the process.
pub(crate) fn reserved<T>(op: &'static str, count: usize) -> Result<Vec<T>> {
    let mut all = Vec::new();
    let bytes = count.saturating_mul(size_of::<T>());
    ask(op, bytes, || all.try_reserve_exact(count))?;
    Ok(all)
}

/// Makes room for `more` items in a list that grows with what a caller gives.
///
/// # Errors
/// [`Error::OutOfMemory`]; the list stays as it was.
#[inline]
pub(crate) fn grow<T>(op: &'static str, all: &mut Vec<T>, more: usize) -> Result<()> {
    if all.capacity() - all.len() >= more {
        return Ok(());
    }
    let bytes = all.len().saturating_add(more).saturating_mul(size_of::<T>());
    ask(op, bytes, || all.try_reserve(more))
}

/// Adds an item to such a list.
///
/// # Panics
/// As [`give_up`].
#[inline]
pub(crate) fn push<T>(all: &mut Vec<T>, item: T) {
    if all.len() == all.capacity() {
        known(grow(NAMELESS, all, 1));
    }
    all.push(item);
}

/// The `count` items of an iterator, or the first error among them.
///
/// # Errors
/// [`Error::OutOfMemory`], and what the items are.
pub(crate) fn gathered<T, E: From<Error>>(
    op: &'static str,
    count: usize,
    items: impl Iterator<Item = std::result::Result<T, E>>,
) -> std::result::Result<Vec<T>, E> {
    let mut all = reserved(op, count)?;
    for item in items {
        all.push(item?);
    }
    Ok(all)
}

/// As [`reserved`], filled with `count` times a value.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn filled<T: Clone>(op: &'static str, value: T, count: usize) -> Result<Vec<T>> {
    let mut all = reserved(op, count)?;
    all.resize(count, value);
    Ok(all)
}

/// As [`filled`], for kernels, which give no errors: what they need for themselves grows with what a caller gives.
///
/// # Panics
/// As [`give_up`].
pub(crate) fn scratch<T: Clone>(value: T, count: usize) -> Vec<T> {
    known(filled(NAMELESS, value, count))
}

/// The `count` items of an iterator, for which there may be no memory.
///
/// # Panics
/// As [`give_up`].
pub(crate) fn listed<T>(count: usize, items: impl Iterator<Item = T>) -> Vec<T> {
    let mut all = known(reserved(NAMELESS, count));
    all.extend(items);
    all
}
