//! What `vmap` is made of: maps that begin and end, and batch dimensions hidden and shown.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::convert::ok;
use super::tensor::{PyTensor, wrap};
use crate::graph::mode::{self, Mapping, Randomness};
use crate::ops::{batch, view};
use crate::tensor::layout::wrap_dim;

/// Begins a map over `size` examples; gives its level.
#[pyfunction]
pub fn _vmap_enter(size: usize, randomness: &str) -> PyResult<u32> {
    let randomness = match randomness {
        "error" => Randomness::Error,
        "same" => Randomness::Same,
        "different" => Randomness::Different,
        other => {
            return Err(PyValueError::new_err(format!(
                "Only allowed values for randomness are 'error', 'different', or 'same'. Got {other}"
            )));
        }
    };
    Ok(mode::enter_mapping(Mapping { size, randomness }))
}

/// Ends the innermost map.
#[pyfunction]
pub fn _vmap_exit() {
    mode::exit_mapping();
}

/// The tensor as a single example of the map of a level: `dim` is hidden.
#[pyfunction]
pub fn _add_batch_dim(py: Python<'_>, tensor: &Bound<'_, PyTensor>, dim: isize, level: u32) -> PyResult<Py<PyAny>> {
    let t = tensor.get().get();
    let dim = ok(wrap_dim("vmap", dim, t.rank()))? as isize;
    wrap(py, ok(batch::wrapped(&ok(view::movedim(t, dim, 0))?, level))?)
}

/// All examples of a result, along `dim`; the same one `size` times where it does not depend on the map.
#[pyfunction]
pub fn _remove_batch_dim(
    py: Python<'_>,
    tensor: &Bound<'_, PyTensor>,
    level: u32,
    size: usize,
    dim: isize,
) -> PyResult<Py<PyAny>> {
    let all = ok(batch::unwrapped(tensor.get().get(), level, size))?;
    let dim = ok(wrap_dim("vmap", dim, all.rank()))? as isize;
    wrap(py, ok(view::movedim(&all, 0, dim))?)
}

/// Whether the tensor has a batch of this level.
#[pyfunction]
pub fn _is_batched(tensor: &Bound<'_, PyTensor>, level: u32) -> bool {
    batch::levels(tensor.get().get()).iter().any(|l| l.0 == level)
}

/// The tensor with a batch of every map that runs: gradients with respect to it are one for each example.
#[pyfunction]
pub fn _batch_like_active(py: Python<'_>, tensor: &Bound<'_, PyTensor>) -> PyResult<Py<PyAny>> {
    wrap(py, ok(batch::in_every_map(tensor.get().get()))?)
}
