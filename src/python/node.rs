//! `grad_fn`: nodes of the graph as Python objects.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::graph::NodeRef;

/// A recorded operation.
#[pyclass(name = "Node", module = "ferrograd.autograd.graph", frozen)]
pub struct PyNode(pub NodeRef);

#[pymethods]
impl PyNode {
    /// The operation's name, as torch calls the node.
    fn name(&self) -> &'static str {
        self.0.name()
    }

    /// The nodes of the inputs and which of their outputs each input is; None for inputs that need no gradient.
    #[getter]
    fn next_functions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let pairs = self
            .0
            .edges()
            .iter()
            .map(|edge| match edge {
                Some(e) => Ok((Some(Py::new(py, PyNode(e.node.clone()))?), e.output)),
                None => Ok((None, 0)),
            })
            .collect::<PyResult<Vec<_>>>()?;
        PyTuple::new(py, pairs)
    }

    /// The leaf that the node accumulates into, for the nodes at the leaves.
    #[getter]
    fn variable(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.0.leaf() {
            Some(leaf) => super::tensor::wrap(py, leaf),
            None => Err(pyo3::exceptions::PyAttributeError::new_err(format!(
                "'{}' object has no attribute 'variable'",
                self.0.name()
            ))),
        }
    }

    fn __repr__(&self) -> String {
        format!("<{} object at {:#x}>", self.0.name(), self.0.address())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<PyNode>().is_ok_and(|o| o.get().0.same(&self.0))
    }

    fn __hash__(&self) -> usize {
        self.0.address()
    }
}
