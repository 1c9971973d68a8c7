//! A tensor's place in the graph: what requires gradients, the gradients, and the pass that computes them.
#![allow(unsafe_op_in_unsafe_fn, reason = "what PyO3 makes of methods in a macro")]

use std::ffi::CStr;

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyUserWarning};
use pyo3::prelude::*;
use pyo3::types::PyBool;

use super::arguments::{take_bool, type_name};
use super::autograd::Flag;
use super::convert::ok;
use super::dtype::{self, PyDType};
use super::error::guarded;
use super::node;
use super::tensor::{PyTensor, wrap};
use crate::engine::Options;

/// An argument for which None is not the default.
enum Asked<'py> {
    Default,
    Given(Bound<'py, PyAny>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Asked<'py> {
    type Error = PyErr;
    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        Ok(Asked::Given(object.to_owned()))
    }
}

/// The warning for asking a result of an operation for its gradient.
const NOT_A_LEAF: &CStr = c"The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't be populated during autograd.backward(). If you indeed want the .grad field to be populated for a non-leaf Tensor, use .retain_grad() on the non-leaf Tensor.";

fn undeletable(attribute: &str) -> PyErr {
    PyRuntimeError::new_err(format!("the attribute '{attribute}' of a Tensor cannot be deleted"))
}

#[pymethods]
impl PyTensor {
    /// Whether gradients flow to this tensor.
    /// Only leaves of floating-point numbers can be told to; others are a RuntimeError.
    ///
    /// >>> x = ferrograd.ones(1, requires_grad=True)
    /// >>> (x * 2).requires_grad
    /// True
    #[getter]
    fn requires_grad(&self) -> bool {
        self.get().requires_grad()
    }

    #[setter]
    fn set_requires_grad(&self, requires: &Bound<'_, PyAny>) -> PyResult<()> {
        let Ok(requires) = requires.cast::<PyBool>() else {
            let given = type_name(requires);
            return Err(PyRuntimeError::new_err(format!("requires_grad must be a bool, not {given}")));
        };
        if !self.get().is_leaf() {
            return ok(Err(crate::Error::NotLeaf));
        }
        ok(self.get().set_requires_grad(requires.is_true()))
    }

    #[deleter]
    fn delete_requires_grad(&self) -> PyResult<()> {
        Err(undeletable("requires_grad"))
    }

    /// Asks for gradients, or no longer.
    /// RuntimeError for tensors that are no floating-point numbers, and for results that are no leaves.
    ///
    /// >>> ferrograd.ones(1).requires_grad_()
    /// tensor([1.], requires_grad=True)
    #[pyo3(signature = (requires_grad=Asked::Default), text_signature = "($self, requires_grad=True)")]
    fn requires_grad_<'py>(slf: Bound<'py, Self>, requires_grad: Asked<'py>) -> PyResult<Bound<'py, Self>> {
        let requires_grad = match requires_grad {
            Asked::Default => true,
            Asked::Given(truth) => take_bool("requires_grad_", "requires_grad", &truth)?,
        };
        super::transform::check_requires_grad(requires_grad)?;
        ok(slf.get().get().set_requires_grad(requires_grad))?;
        Ok(slf)
    }

    /// True where no recorded operation made this tensor: gradients of leaves are gathered in `grad`. All tensors that require
    /// no gradient are leaves. Raises nothing.
    ///
    /// >>> x = ferrograd.ones(1, requires_grad=True)
    /// >>> x.is_leaf, (x * 2).is_leaf
    /// (True, False)
    #[getter]
    fn is_leaf(&self) -> bool {
        self.get().is_leaf()
    }

    /// The gradient gathered so far by all passes that led here, or None.
    /// Results of operations gather none unless `retain_grad` asks for it: a UserWarning says so.
    ///
    /// Shapes: that of the tensor.
    /// Dtypes: that of the tensor.
    /// Raises, where it is assigned: TypeError for what is neither a tensor nor None, and for another dtype; RuntimeError for
    /// another shape, and for the tensor itself.
    ///
    /// >>> x = ferrograd.tensor([3.0], requires_grad=True)
    /// >>> (x * x).backward()
    /// >>> x.grad
    /// tensor([6.])
    #[getter]
    fn grad(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let t = self.get();
        let Some(g) = t.grad() else {
            if !t.is_leaf() && !t.retains_grad() {
                let category = py.get_type::<PyUserWarning>();
                PyErr::warn(py, &category, NOT_A_LEAF, 1)?;
            }
            return Ok(None);
        };
        let object = wrap(py, g)?;
        PyTensor::kept_by(object.bind(py).cast()?, t.keeper());
        Ok(Some(object))
    }

    #[setter]
    fn set_grad(slf: &Bound<'_, Self>, grad: &Bound<'_, PyAny>) -> PyResult<()> {
        if grad.is_none() {
            return ok(slf.get().get().set_grad(None));
        }
        match grad.cast::<PyTensor>() {
            Ok(g) if g.is(slf) => Err(PyRuntimeError::new_err("can't assign Variable as its own grad")),
            Ok(g) => {
                ok(slf.get().get().set_grad(Some(g.get().get().clone())))?;
                PyTensor::kept_by(g, slf.get().get().keeper());
                Ok(())
            }
            Err(_) => {
                let given = grad.get_type().name()?;
                Err(PyTypeError::new_err(format!(
                    "assigned grad expected to be a Tensor or None but got grad of type {given}"
                )))
            }
        }
    }

    /// The dtype that gradients of this leaf are cast to as they are gathered: its own unless another was assigned, None for
    /// whichever they come in. RuntimeError for results of operations, for what is no dtype, and where a gradient of another
    /// dtype is there.
    ///
    /// >>> x = ferrograd.tensor([3.0], requires_grad=True)
    /// >>> x.grad_dtype = ferrograd.float64
    /// >>> (x * x).backward()
    /// >>> x.grad
    /// tensor([6.], dtype=torch.float64)
    #[getter]
    fn grad_dtype(&self, py: Python<'_>) -> PyResult<Option<Py<PyDType>>> {
        ok(self.get().grad_dtype())?.map(|d| dtype::object(py, d)).transpose()
    }

    #[setter]
    fn set_grad_dtype(&self, asked: &Bound<'_, PyAny>) -> PyResult<()> {
        let asked = match asked.cast::<PyDType>() {
            Ok(dtype) => Some(dtype.get().0),
            Err(_) if asked.is_none() => None,
            Err(_) => {
                let given = type_name(asked);
                return Err(PyRuntimeError::new_err(format!(
                    "grad_dtype must be a torch.dtype or None, but got {given}"
                )));
            }
        };
        ok(self.get().set_grad_dtype(asked))
    }

    #[deleter]
    fn delete_grad_dtype(&self) -> PyResult<()> {
        Err(undeletable("grad_dtype"))
    }

    #[deleter]
    fn delete_grad(&self) -> PyResult<()> {
        ok(self.get().set_grad(None))
    }

    /// The node of the graph that made this tensor: a `Node`, whose `next_functions` lead on to the leaves. None for leaves.
    /// Raises nothing.
    ///
    /// >>> x = ferrograd.ones(1, requires_grad=True)
    /// >>> (x * 2).grad_fn.name()
    /// 'MulBackward0'
    #[getter]
    fn grad_fn(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let t = self.get();
        if let Some(mode) = t.strayed() {
            return Err(crate::Error::StrayView { mode }.into());
        }
        let edge = if t.requires_grad() { t.grad_fn() } else { None };
        // A value that hooks kept for a node may lead to a leaf at once.
        edge.filter(|e| e.node.leaf().is_none()).map(|e| node::wrap(py, e.node)).transpose()
    }

    /// The same elements without history and without version checks: what is written is not seen by the graph.
    /// What is assigned becomes what the tensor shows, in its own shape.
    ///
    /// Shapes: any, kept.
    /// Dtypes: any, kept.
    /// Raises, where it is assigned: TypeError for what is no tensor; RuntimeError for integers where a gradient is asked for.
    ///
    /// >>> w = ferrograd.tensor([1.0], requires_grad=True)
    /// >>> w.data -= 0.5
    /// >>> w
    /// tensor([0.5000], requires_grad=True)
    #[getter]
    fn data(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        wrap(py, ok(guarded("data", || Ok(self.get().data())))?)
    }

    #[setter]
    fn set_data(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let Ok(data) = data.cast::<PyTensor>() else {
            let given = data.get_type().name()?;
            return Err(PyTypeError::new_err(format!("Variable data has to be a tensor, but got {given}")));
        };
        PyTensor::replace(slf, ok(slf.get().get().with_data(data.get().get()))?);
        Ok(())
    }

    #[deleter]
    fn delete_data(&self) -> PyResult<()> {
        Err(undeletable("data"))
    }

    /// The same elements without history: a leaf that requires no gradient, on the same memory. A change in place of one is seen
    /// in the other and by the graph, which checks the versions of what it keeps. Raises nothing.
    ///
    /// Shapes: any, kept.
    /// Dtypes: any, kept.
    ///
    /// >>> x = ferrograd.ones(1, requires_grad=True)
    /// >>> (x * 2).detach()
    /// tensor([2.])
    fn detach(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        wrap(py, ok(guarded("detach", || Ok(self.get().detach())))?)
    }

    /// Cuts this tensor off from its history.
    /// RuntimeError for views, whose history is that of what they show.
    ///
    /// >>> y = ferrograd.ones(1, requires_grad=True) * 2
    /// >>> y.detach_()
    /// tensor([2.])
    fn detach_(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        ok(slf.get().get().detach_())?;
        Ok(slf)
    }

    /// Keeps the gradient of a result, as leaves do. RuntimeError for tensors that require no gradient.
    ///
    /// >>> x = ferrograd.tensor([3.0], requires_grad=True)
    /// >>> y = x * 2
    /// >>> y.retain_grad()
    /// >>> (y * y).backward()
    /// >>> y.grad
    /// tensor([12.])
    fn retain_grad(&self) -> PyResult<()> {
        ok(self.get().retain_grad())
    }

    /// True after `retain_grad` on a result.
    ///
    /// >>> y = ferrograd.ones(1, requires_grad=True) * 2
    /// >>> y.retain_grad()
    /// >>> y.retains_grad
    /// True
    #[getter]
    fn retains_grad(&self) -> bool {
        self.get().retains_grad()
    }

    /// Accumulates the gradient of this tensor into the leaves of its graph, or into `inputs`.
    /// `gradient` is that of what the tensor leads to, and may be left out for one element. The graph is freed unless
    /// `retain_graph` keeps it; with `create_graph` the gradients have graphs of their own. RuntimeError where the tensor has
    /// no graph, where the graph was freed, and where a value that it keeps was changed in place.
    ///
    /// >>> x = ferrograd.tensor([2.0, 3.0], requires_grad=True)
    /// >>> (x ** 2).backward(ferrograd.tensor([1.0, 10.0]))
    /// >>> x.grad
    /// tensor([ 4., 60.])
    #[pyo3(signature = (gradient=None, retain_graph=None, create_graph=Flag(false), inputs=None), text_signature = "($self, gradient=None, retain_graph=None, create_graph=False, inputs=None)")]
    fn backward(
        &self,
        py: Python<'_>,
        gradient: Option<Bound<'_, PyAny>>,
        retain_graph: Option<Flag>,
        create_graph: Flag,
        inputs: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let (retain_graph, create_graph) = (retain_graph.map_or(create_graph.0, |retain| retain.0), create_graph.0);
        let options = Options { retain_graph, create_graph, allow_unused: true };
        let inputs = inputs.map(super::autograd::inputs).transpose()?;
        let gradients = gradient.as_ref().map(super::autograd::gradients_of_one).transpose()?.unwrap_or_default();
        super::autograd::backward(py, &[self.get().into()], &gradients, inputs.as_deref(), options)
    }
}
