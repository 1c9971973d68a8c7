//! The modes of a thread, and the hooks on saved values.

use std::sync::Arc;

use pyo3::exceptions::{PyAssertionError, PyTypeError};
use pyo3::prelude::*;

use super::convert::ok;
use super::hooks::attached;
use super::node::node_of;
use super::tensor::{PyTensor, wrap};
use crate::engine;
use crate::error::{Error, Result};
use crate::graph::cycles::{Holder, Object};
use crate::graph::saved::{Pack, SavedHooks};
use crate::graph::{anomaly, mode};
use crate::tensor::Tensor;

/// True while operations are recorded.
///
/// >>> with ferrograd.no_grad():
/// ...     ferrograd.is_grad_enabled()
/// False
#[pyfunction]
pub fn is_grad_enabled() -> bool {
    mode::is_grad_enabled()
}

/// Turns recording on or off for this thread; gives what it was.
#[pyfunction]
pub fn _set_grad_enabled(enabled: bool) -> bool {
    mode::set_grad_enabled(enabled)
}

/// True while new tensors never take part in recording.
///
/// >>> with ferrograd.inference_mode():
/// ...     ferrograd.is_inference_mode_enabled()
/// True
#[pyfunction]
pub fn is_inference_mode_enabled() -> bool {
    mode::is_inference_mode_enabled()
}

/// Turns inference mode on or off for this thread; gives what [`_restore_inference_mode`] takes.
#[pyfunction]
pub fn _set_inference_mode(enabled: bool) -> (bool, bool) {
    mode::set_inference_mode(enabled)
}

/// Ends what [`_set_inference_mode`] began.
#[pyfunction]
pub fn _restore_inference_mode(before: (bool, bool)) {
    mode::restore_inference_mode(before);
}

/// Has leaves keep the first gradient in their own layout, or in whichever it comes; gives what it was.
#[pyfunction]
pub fn _set_layout_enforced(enforced: bool) -> bool {
    mode::set_layout_enforced(enforced)
}

/// True in anomaly mode.
///
/// >>> with ferrograd.autograd.set_detect_anomaly(True):
/// ...     ferrograd.is_anomaly_enabled()
/// True
#[pyfunction]
pub fn is_anomaly_enabled() -> bool {
    anomaly::is_enabled()
}

/// True where anomaly mode looks for gradients that are not numbers.
///
/// >>> with ferrograd.autograd.set_detect_anomaly(True, check_nan=False):
/// ...     ferrograd.is_anomaly_check_nan_enabled()
/// False
#[pyfunction]
pub fn is_anomaly_check_nan_enabled() -> bool {
    anomaly::checks_nan()
}

/// Turns anomaly mode on or off for all threads.
#[pyfunction]
pub fn _set_anomaly_enabled(enabled: bool, check_nan: bool) {
    anomaly::set(enabled, check_nan);
}

/// A pair of Python functions that see what nodes keep.
pub struct PythonHooks {
    pack: Py<PyAny>,
    /// Gives the value again.
    pub unpack: Py<PyAny>,
}

impl PythonHooks {
    /// A pair of functions.
    ///
    /// # Errors
    /// For what cannot be called.
    pub fn new(py: Python<'_>, op: &str, pack: Py<PyAny>, unpack: Py<PyAny>) -> PyResult<PythonHooks> {
        for (name, hook) in [("pack_hook", &pack), ("unpack_hook", &unpack)] {
            if !hook.bind(py).is_callable() {
                let given = hook.bind(py).get_type().name()?;
                return Err(PyTypeError::new_err(format!("{op}: {name} must be callable, got {given}")));
            }
        }
        Ok(PythonHooks { pack, unpack })
    }
}

impl Holder for PythonHooks {
    fn links(&self, to: &mut Vec<Object>) {
        to.extend([&self.pack, &self.unpack].map(|hook| Object::Host(hook.as_ptr() as usize)));
    }
}

impl SavedHooks for PythonHooks {
    fn pack(&self, value: &Tensor) -> Result<Pack> {
        attached(|py| {
            let pack: Pack = Arc::new(self.pack.bind(py).call1((wrap(py, value.clone())?,))?.unbind());
            Ok(pack)
        })
    }

    fn links_of(&self, pack: &Pack, to: &mut Vec<Object>) {
        to.extend(pack.downcast_ref::<Py<PyAny>>().map(|p| Object::Host(p.as_ptr() as usize)));
    }

    fn unpack(&self, pack: &Pack) -> Result<Tensor> {
        attached(|py| {
            let packed = pack.downcast_ref::<Py<PyAny>>().map_or_else(|| py.None(), |p| p.clone_ref(py));
            let value = self.unpack.bind(py).call1((packed,))?;
            match value.cast::<PyTensor>() {
                Ok(t) => Ok(t.get().get().clone()),
                Err(_) => Err(PyTypeError::new_err(format!(
                    "Output of saved tensor unpack_hook expected to be a Tensor but got result of type {}",
                    value.get_type().name()?
                ))),
            }
        })
    }
}

/// Begins to call hooks on saved values.
#[pyfunction]
pub fn _push_saved_tensors_hooks(py: Python<'_>, pack: Py<PyAny>, unpack: Py<PyAny>) -> PyResult<()> {
    ok(mode::push_saved_hooks(Arc::new(PythonHooks::new(py, "saved_tensors_hooks", pack, unpack)?)))
}

/// Ends what [`_push_saved_tensors_hooks`] began.
#[pyfunction]
pub fn _pop_saved_tensors_hooks() {
    mode::pop_saved_hooks();
}

/// Refuses hooks on saved values with this message, or allows them again; gives the message before.
#[pyfunction]
#[pyo3(signature = (message))]
pub fn _disable_saved_tensors_hooks(message: Option<String>) -> PyResult<Option<String>> {
    ok(mode::disable_saved_hooks(message))
}

/// Lets backward passes of this thread use others, or not; gives what it was.
#[pyfunction]
pub fn _set_multithreading_enabled(enabled: bool) -> bool {
    mode::set_multithreading_enabled(enabled)
}

/// Whether backward passes of this thread may use others.
#[pyfunction]
pub fn _is_multithreading_enabled() -> bool {
    mode::is_multithreading_enabled()
}

/// The number of the backward pass that calls this.
#[pyfunction]
pub fn _current_pass() -> u32 {
    engine::current_pass()
}

/// Calls a function at the end of the backward pass that calls this. RuntimeError outside of any.
#[pyfunction]
pub fn _queue_callback(callback: Py<PyAny>) -> PyResult<()> {
    ok(engine::queue_callback(Box::new(move || attached(|py| callback.bind(py).call0().map(drop)))))
}

/// Whether the backward pass that calls this runs the node.
#[pyfunction]
pub fn _pass_reaches(node: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(engine::current_pass_reaches(&node_of(node)?))
}

/// Whether the backward pass that calls this was limited to some inputs.
#[pyfunction]
pub fn _pass_is_limited() -> bool {
    engine::current_pass_is_limited()
}

/// Where the gradient of a tensor goes: the node, and which of its outputs. RuntimeError where the history of a view is
/// lost, AssertionError where there is none.
#[pyfunction]
pub fn _gradient_edge(py: Python<'_>, tensor: &Bound<'_, PyTensor>) -> PyResult<(Py<PyAny>, u32)> {
    let t = tensor.get().get();
    if let Some(mode) = t.strayed() {
        return ok(Err(Error::StrayView { mode }));
    }
    let Some(edge) = t.gradient_edge() else {
        return Err(PyAssertionError::new_err(
            "Expected gradient function to be set: the tensor is a view that was made where nothing is recorded, or requires no gradient",
        ));
    };
    Ok((super::node::wrap(py, edge.node)?, edge.output))
}

/// Counts a change in place.
#[pyfunction]
pub fn _increment_version(tensor: &Bound<'_, PyTensor>) {
    let t = tensor.get().get();
    t.storage().bump(t.versioning());
}

/// Elements from which element-wise operations wait to be fused; None where they never do.
#[pyfunction]
pub fn _fusion_elements() -> Option<usize> {
    crate::tensor::pending::fusion_elements()
}

/// Lets element-wise operations on so many elements wait to be fused, or none.
#[pyfunction]
#[pyo3(signature = (enabled, elements=None))]
pub fn _set_fusion(enabled: bool, elements: Option<usize>) {
    crate::tensor::pending::set_fusion(enabled, elements);
}

/// True as long as the elements of a tensor wait to be computed.
#[pyfunction]
pub fn _is_pending(tensor: &Bound<'_, super::tensor::PyTensor>) -> bool {
    tensor.get().get().is_pending()
}
