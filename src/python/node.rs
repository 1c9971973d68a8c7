//! `grad_fn`: nodes of the graph as Python objects.

use std::collections::HashMap;

use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

use super::convert::{ok, text, to_python};
use super::derivative;
use super::dtype::{self, PyDType};
use super::function::PyContext;
use super::saved;
use super::tensor::{self, PyTensor};
use crate::graph::{Edge, NodeRef};
use crate::memory::ask;
use crate::tensor::Tensor;
use crate::tensor::scalar::Scalar;

/// A recorded operation. Its class is named after the operation, as torch's are.
///
/// >>> x = ferrograd.ones(1, requires_grad=True)
/// >>> isinstance((x * 2).grad_fn, ferrograd.autograd.graph.Node)
/// True
#[pyclass(name = "Node", module = "ferrograd.autograd.graph", frozen, subclass)]
pub struct PyNode(NodeRef);

/// The objects that stand for nodes, by the node's address, so that a node read twice is one object. An object holds
/// its node, which therefore stays at its address, and takes itself out when it goes.
static OBJECTS: Mutex<Option<HashMap<usize, usize>>> = Mutex::new(None);

impl Drop for PyNode {
    fn drop(&mut self) {
        if let Some(objects) = OBJECTS.lock().as_mut() {
            objects.remove(&self.0.address());
        }
    }
}

/// The object that stands for a node: the one it has, or a new one.
pub fn wrap(py: Python<'_>, node: NodeRef) -> PyResult<Py<PyAny>> {
    if let Some(context) = derivative::context(py, &node) {
        return Ok(context);
    }
    let known = OBJECTS.lock().as_ref().and_then(|all| all.get(&node.address()).copied());
    if let Some(object) = known {
        // SAFETY: an object takes itself out of the table before it goes, under the interpreter's lock.
        return Ok(unsafe { Bound::from_borrowed_ptr(py, object as *mut _) }.unbind());
    }
    let address = node.address();
    let class = class(py, node.name())?;
    let object = Bound::new(py, PyNode(node))?.into_any();
    object.setattr("__class__", class)?;
    let noted = {
        let mut objects = OBJECTS.lock();
        let objects = objects.get_or_insert_default();
        let bytes = 2 * objects.len() * size_of::<(usize, usize)>();
        ask("grad_fn", bytes, || objects.try_reserve(1)).map(|()| objects.insert(address, object.as_ptr() as usize))
    };
    // The object goes with its lock free: it takes itself out.
    noted?;
    Ok(object.unbind())
}

/// The class of the nodes of one name: a subclass without anything of its own.
fn class<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    static CLASSES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let classes = CLASSES.get_or_init(py, || PyDict::new(py).unbind()).bind(py);
    if let Some(class) = classes.get_item(name)? {
        return Ok(class);
    }
    let members = PyDict::new(py);
    members.set_item("__slots__", PyTuple::empty(py))?;
    members.set_item("__module__", "builtins")?;
    let bases = PyTuple::new(py, [py.get_type::<PyNode>()])?;
    let class = py.get_type::<PyType>().call1((name, bases, members))?;
    classes.set_item(name, &class)?;
    Ok(class)
}

/// The nodes of the inputs and which of their outputs each input is.
pub fn next_functions<'py>(py: Python<'py>, node: &NodeRef) -> PyResult<Bound<'py, PyTuple>> {
    let pair = |edge: &Option<Edge>| match edge {
        Some(e) => Ok((Some(wrap(py, e.node.clone())?), e.output)),
        None => Ok((None, 0)),
    };
    PyTuple::new(py, node.edges().iter().map(pair).collect::<PyResult<Vec<_>>>()?)
}

/// The node that an object stands for.
///
/// # Errors
/// `TypeError` for other objects.
pub fn node_of(object: &Bound<'_, PyAny>) -> PyResult<NodeRef> {
    if let Ok(node) = object.cast::<PyNode>() {
        return Ok(node.get().0.clone());
    }
    match object.cast::<PyContext>() {
        Ok(context) => context.get().node(),
        Err(_) => {
            Err(pyo3::exceptions::PyTypeError::new_err(format!("expected a node, got {}", object.get_type().name()?)))
        }
    }
}

impl PyNode {
    /// The node.
    pub fn node(&self) -> &NodeRef {
        &self.0
    }
}

#[pymethods]
impl PyNode {
    /// The operation's name, as torch calls the node.
    ///
    /// >>> (ferrograd.ones(1, requires_grad=True) * 2).grad_fn.name()
    /// 'MulBackward0'
    fn name(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let name = self.0.name();
        // The nodes that torch writes by hand are named with their namespace.
        if name.contains("Backward") && name != "CopyBackwards" {
            text(py, name)
        } else {
            text(py, &format!("torch::autograd::{name}"))
        }
    }

    /// The nodes of the inputs and which of their outputs each input is; None for inputs that need no gradient.
    ///
    /// >>> y = ferrograd.ones(1, requires_grad=True) * 2
    /// >>> y.exp().grad_fn.next_functions[0][0] is y.grad_fn
    /// True
    #[getter]
    fn next_functions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        next_functions(py, &self.0)
    }

    /// The leaf that the node accumulates into, for the nodes at the leaves.
    ///
    /// >>> x = ferrograd.ones(1, requires_grad=True)
    /// >>> (x * 2).grad_fn.next_functions[0][0].variable is x
    /// True
    #[getter]
    fn variable(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.0.leaf() {
            Some(leaf) => tensor::wrap(py, leaf),
            None => Err(pyo3::exceptions::PyAttributeError::new_err(format!(
                "'{}' object has no attribute 'variable'",
                self.0.name()
            ))),
        }
    }

    /// The gradients of the inputs from those of the outputs, None for zeros: the derivative alone, without hooks.
    #[pyo3(signature = (*gradients))]
    fn __call__(&self, py: Python<'_>, gradients: Vec<Option<Bound<'_, PyTensor>>>) -> PyResult<Py<PyAny>> {
        if gradients.len() != self.0.output_count() {
            let (expected, given) = (self.0.output_count(), gradients.len());
            let message = format!("{}: expected {expected} arguments, got {given} instead", self.0.name());
            return Err(pyo3::exceptions::PyTypeError::new_err(message));
        }
        let gradients = gradients.iter().map(|g| g.as_ref().map(|g| g.get().get().clone())).collect::<Vec<_>>();
        let found = ok(self.0.apply(&gradients))?;
        let shown = found.into_iter().map(|g| g.map_or_else(|| Ok(py.None()), |g| tensor::wrap(py, g)));
        let mut found = shown.collect::<PyResult<Vec<_>>>()?;
        match found.pop() {
            Some(only) if found.is_empty() => Ok(only),
            last => {
                found.extend(last);
                Ok(PyTuple::new(py, found)?.into_any().unbind())
            }
        }
    }

    /// True: what requires no gradient leaves no node.
    ///
    /// >>> (ferrograd.ones(1, requires_grad=True) * 2).grad_fn.requires_grad
    /// True
    #[getter]
    fn requires_grad(&self) -> bool {
        true
    }

    /// The node's place in the order of recording.
    fn _sequence_nr(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        to_python(py, Scalar::Unsigned(self.0.sequence()))
    }

    /// What the node keeps: `_saved_self` as a tensor, `_raw_saved_self` to let hooks take it.
    fn __getattr__(&self, py: Python<'_>, name: &str) -> PyResult<Py<PyAny>> {
        saved::attribute(py, &self.0, name)?.ok_or_else(|| {
            let node = self.0.name();
            pyo3::exceptions::PyAttributeError::new_err(format!("'{node}' object has no attribute '{name}'"))
        })
    }

    fn __dir__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let all = py.get_type::<pyo3::types::PyAny>().call_method1("__dir__", (slf,))?;
        all.call_method1("extend", (saved::attributes(&slf.get().0),))?;
        Ok(all)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        text(slf.py(), &format!("<{} object at {:#x}>", slf.get().0.name(), slf.as_ptr() as usize))
    }
}

/// Shape and dtype of every output of a node: what gradients it receives look like.
#[pyfunction]
pub fn _node_outputs(py: Python<'_>, node: &Bound<'_, PyAny>) -> PyResult<Vec<(Vec<usize>, Py<PyDType>)>> {
    let node = node_of(node)?;
    let look = |n| {
        let (shape, dtype) = node.output(n);
        Ok((shape.to_vec(), dtype::object(py, dtype)?))
    };
    (0..node.output_count()).map(look).collect()
}

/// Lets the count of a tensor's changes be this, whatever was changed: what was kept of it counts as unchanged where the
/// count was the same.
#[pyfunction]
pub fn _set_version(tensor: &Bound<'_, PyTensor>, version: u32) {
    let t = tensor.get().get();
    t.storage().add_changes(t.versioning(), version.wrapping_sub(t.changes()));
}

/// Of every value that a node keeps: its shape, its dtype, its bytes and the address of its memory; None where hooks took
/// the values.
#[pyfunction]
#[allow(clippy::type_complexity, reason = "a row for each value")]
pub fn _node_keeps(
    py: Python<'_>,
    node: &Bound<'_, PyAny>,
) -> PyResult<Option<Vec<(Vec<usize>, Py<PyDType>, usize, usize)>>> {
    let node = node_of(node)?;
    if node.saved().iter().any(|saved| saved.is_packed()) {
        return Ok(None);
    }
    let row = |t: &Tensor| {
        let bytes = t.numel() * t.dtype().size();
        Ok((t.shape().to_vec(), dtype::object(py, t.dtype())?, bytes, t.storage().as_ptr() as usize))
    };
    node.saved().iter().filter_map(|s| s.tensor(&node)).map(|t| row(&t)).collect::<PyResult<_>>().map(Some)
}
