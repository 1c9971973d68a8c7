//! What `vmap` is made of: maps that begin and end, and batch dimensions hidden and shown.

use std::sync::atomic::Ordering;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::convert::ok;
use super::tensor::{PyTensor, wrap};
use crate::graph::mode::{self, Randomness};
use crate::ops::{batch, view};
use crate::random::{self, Stream};
use crate::tensor::layout::wrap_dim;

/// Begins a map over `size` examples; gives its level.
#[pyfunction]
pub fn _vmap_enter(size: usize, randomness: &str) -> PyResult<u32> {
    let randomness = match randomness {
        "error" => Randomness::Error,
        "unsupported" => Randomness::Unsupported,
        "same" => Randomness::Same,
        "different" => Randomness::Different,
        other => {
            return Err(PyRuntimeError::new_err(format!(
                "Only allowed values for randomness are 'error', 'different', or 'same'. Got {other}"
            )));
        }
    };
    Ok(mode::enter_mapping(size, randomness))
}

/// Ends the innermost map.
#[pyfunction]
pub fn _vmap_exit() {
    mode::exit_mapping();
}

/// The examples along the first dimension laid along another.
#[pyfunction]
pub fn _lay_examples(py: Python<'_>, examples: &Bound<'_, PyTensor>, dim: isize) -> PyResult<Py<PyAny>> {
    wrap(py, ok(batch::lay(examples.get().get(), 0, dim))?)
}

/// The tensor as a single example of the map of a level: `dim` is hidden.
#[pyfunction]
pub fn _add_batch_dim(py: Python<'_>, tensor: &Bound<'_, PyTensor>, dim: isize, level: u32) -> PyResult<Py<PyAny>> {
    let t = tensor.get().get();
    let dim = ok(wrap_dim("vmap", dim, t.rank()))?;
    wrap(py, ok(batch::argument(&ok(batch::lay(t, dim as isize, 0))?, level, dim))?)
}

/// The dimension that the examples of a tensor lay along at a level when they were hidden: the first one for those that
/// operations gave.
#[pyfunction]
pub fn _batch_place(tensor: &Bound<'_, PyTensor>, level: u32) -> usize {
    tensor.get().get().batch().filter(|b| b.level == level).map_or(0, |b| b.place.load(Ordering::Relaxed))
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
    // What lies so already is given back: an argument that was changed in place is the result.
    wrap(py, if dim == 0 { all } else { ok(view::movedim(&all, 0, dim))? })
}

/// Whether the tensor has a batch of this level.
#[pyfunction]
pub fn _is_batched(tensor: &Bound<'_, PyTensor>, level: u32) -> bool {
    batch::levels(tensor.get().get()).iter().any(|l| l.0 == level)
}

/// All examples of a batched tensor, or None.
#[pyfunction]
pub fn _batched_value(py: Python<'_>, tensor: &Bound<'_, PyTensor>) -> PyResult<Option<Py<PyAny>>> {
    tensor.get().get().batch().map(|b| wrap(py, b.value.clone())).transpose()
}

/// The default generator as it is, to be set again.
#[pyclass(module = "ferrograd._ferrograd", frozen)]
pub struct RandomState(Stream);

/// The default generator as it is.
#[pyfunction]
pub fn _random_state() -> RandomState {
    RandomState(random::default().lock().clone())
}

/// Sets the default generator to what it was.
#[pyfunction]
pub fn _set_random_state(state: &RandomState) {
    *random::default().lock() = state.0.clone();
}

/// The level of the innermost map that the tensor is batched at, or 0.
#[pyfunction]
pub fn _batch_level(tensor: &Bound<'_, PyTensor>) -> u32 {
    tensor.get().get().batch().map_or(0, |b| b.level)
}

/// The number of examples of the map of a level, and its randomness.
#[pyfunction]
pub fn _map_info(level: u32) -> Option<(usize, &'static str)> {
    let (_, map) = mode::mappings().into_iter().find(|m| m.0 == level)?;
    let randomness = match map.randomness {
        Randomness::Error | Randomness::Unsupported => "error",
        Randomness::Same => "same",
        Randomness::Different => "different",
    };
    Some((map.size, randomness))
}

/// All examples of a tensor at a level, in its first dimension; None where it may stay as it is.
#[pyfunction]
pub fn _examples(py: Python<'_>, tensor: &Bound<'_, PyTensor>, level: u32, size: usize) -> PyResult<Option<Py<PyAny>>> {
    ok(batch::examples(tensor.get().get(), level, size))?.map(|t| wrap(py, t)).transpose()
}

/// Whether something differentiates within the map of a level.
#[pyfunction]
pub fn _is_differentiated(level: u32) -> bool {
    mode::is_differentiated(level) || mode::is_carried(level)
}

/// Calls a function outside of the map of a level.
#[pyfunction]
pub fn _outside_map<'py>(level: u32, function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    mode::outside_mapping(level, || function.call0())
}
