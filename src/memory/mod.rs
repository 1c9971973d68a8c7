//! Memory that is given back to be used again: a steady training loop takes nothing from the system.

pub mod pool;
pub mod shared;
pub(crate) mod slab;
pub mod spin;

use crate::error::{Error, Result};

/// An empty vector with room for `count` values: for counts that come from a caller.
///
/// # Errors
/// [`Error::OutOfMemory`], where the standard library would end the process.
pub(crate) fn reserved<T>(op: &'static str, count: usize) -> Result<Vec<T>> {
    let mut all = Vec::new();
    let bytes = count.saturating_mul(size_of::<T>());
    all.try_reserve_exact(count).map_err(|_| Error::OutOfMemory { op, bytes })?;
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
