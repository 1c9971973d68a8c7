//! The memory that the library keeps.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::tensor::PyTensor;
use crate::memory::{account, pool};

/// Bytes of memory that tensors and graphs take from the system: `reserved`, all that was taken and not given back; `free`, what
/// of it waits for the next; `used`, the rest: what tensors and graphs hold, and what a thread keeps for its own next
/// ones; `peak`, the most that was reserved at one time. Memory of NumPy's arrays is NumPy's.
///
/// >>> before = ferrograd.memory_stats()["used"]
/// >>> x = ferrograd.zeros(1000, 1000)
/// >>> ferrograd.memory_stats()["used"] - before >= 4_000_000
/// True
#[pyfunction]
pub fn memory_stats(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let stats = account::stats();
    let named = PyDict::new(py);
    named.set_item("reserved", stats.reserved)?;
    named.set_item("free", stats.free)?;
    named.set_item("used", stats.reserved.saturating_sub(stats.free))?;
    named.set_item("peak", stats.peak)?;
    Ok(named)
}

/// The bytes of the memory that a tensor lies in, whatever part of it the tensor shows.
///
/// >>> ferrograd._ferrograd._storage_bytes(ferrograd.zeros(3)[1:])
/// 12
#[pyfunction]
pub fn _storage_bytes(tensor: &Bound<'_, PyTensor>) -> usize {
    tensor.get().get().storage().bytes()
}

/// Gives the system the large blocks that are free. The next tensors of their sizes take as long as the first.
///
/// >>> x = ferrograd.zeros(1000, 1000)
/// >>> del x
/// >>> ferrograd.memory_trim()
#[pyfunction]
pub fn memory_trim() {
    pool::trim();
}
