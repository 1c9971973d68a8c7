//! Forward mode: levels, and tensors with tangents.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::arguments::take_tensor;
use super::convert::ok;
use super::tensor::wrap;
use crate::graph::{forward, mode};

/// The innermost level, or the one that was named; one that does not exist is far beyond all.
fn level(given: Option<isize>) -> usize {
    match given {
        Some(level) if level >= 0 => level.unsigned_abs(),
        _ => forward::current_level().unwrap_or(usize::MAX),
    }
}

/// Enters a level of forward mode; gives its number.
#[pyfunction]
pub fn _enter_dual_level() -> usize {
    forward::enter_level()
}

/// Leaves the innermost level.
#[pyfunction]
#[pyo3(signature = (level=None))]
pub fn _exit_dual_level(level: Option<isize>) -> PyResult<()> {
    let Some(innermost) = forward::current_level() else {
        return Err(PyRuntimeError::new_err(
            "Trying to exit a forward AD level that was not the last one that was created: there is none",
        ));
    };
    ok(forward::exit_level(level.map_or(innermost, |l| l.unsigned_abs())))
}

/// The innermost level, or -1.
#[pyfunction]
pub fn _current_dual_level() -> isize {
    forward::current_level().map_or(-1, |l| l as isize)
}

/// Has operations carry tangents, or not; gives what it was.
#[pyfunction]
pub fn _set_fwd_grad_enabled(enabled: bool) -> bool {
    forward::set_enabled(enabled)
}

/// Whether operations carry tangents.
#[pyfunction]
pub fn _is_fwd_grad_enabled() -> bool {
    mode::are_tangents_enabled()
}

/// A view of `tensor` that carries `tangent`.
#[pyfunction]
#[pyo3(signature = (tensor, tangent, level=None))]
pub fn _make_dual(
    py: Python<'_>,
    tensor: &Bound<'_, PyAny>,
    tangent: &Bound<'_, PyAny>,
    level: Option<isize>,
) -> PyResult<Py<PyAny>> {
    let primal = take_tensor("make_dual", "tensor", tensor)?.get().get();
    let tangent = take_tensor("make_dual", "tangent", tangent)?.get().get();
    wrap(py, ok(forward::make_dual(primal, tangent, self::level(level)))?)
}

/// The tensor without its tangent, and the tangent or None.
#[pyfunction]
#[pyo3(signature = (tensor, level=None))]
pub fn _unpack_dual(
    py: Python<'_>,
    tensor: &Bound<'_, PyAny>,
    level: Option<isize>,
) -> PyResult<(Py<PyAny>, Option<Py<PyAny>>)> {
    let t = take_tensor("unpack_dual", "tensor", tensor)?.get().get();
    match self::level(level) {
        usize::MAX => Ok((tensor.clone().into_any().unbind(), None)),
        level => {
            let (primal, tangent) = ok(forward::unpack_dual(t, level))?;
            Ok((wrap(py, primal)?, tangent.map(|t| wrap(py, t)).transpose()?))
        }
    }
}
