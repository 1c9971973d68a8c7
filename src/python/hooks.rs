//! Hooks on tensors and nodes.

use std::any::Any;
use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::convert::ok;
use super::error::host_error;
use super::node::PyNode;
use super::tensor::{PyTensor, wrap};
use crate::engine::Rest;
use crate::error::Result;
use crate::graph::NodeRef;
use crate::graph::cycles::{self, Holder, Object};
use crate::graph::extras::Kept;
use crate::graph::hooks::{HookGradients, HookHandle};
use crate::kernels::parallel::{Ending, Ends};
use crate::tensor::Tensor;

/// What takes a hook away again: `remove()`, or the end of a `with` block.
///
/// >>> x = ferrograd.ones(1, requires_grad=True)
/// >>> with x.register_hook(lambda grad: grad * 10):
/// ...     (x * 2).backward()
/// >>> x.grad
/// tensor([20.])
#[pyclass(name = "RemovableHandle", module = "ferrograd.utils.hooks", frozen, weakref)]
pub struct PyHandle(HookHandle);

#[pymethods]
impl PyHandle {
    /// The hook's number.
    ///
    /// >>> x = ferrograd.ones(1, requires_grad=True)
    /// >>> x.register_hook(print).id < x.register_hook(print).id
    /// True
    #[getter]
    fn id(&self) -> u64 {
        self.0.id()
    }

    /// Removes the hook.
    ///
    /// >>> x = ferrograd.ones(1, requires_grad=True)
    /// >>> handle = x.register_hook(lambda grad: grad * 10)
    /// >>> handle.remove()
    /// >>> (x * 2).backward()
    /// >>> x.grad
    /// tensor([2.])
    fn remove(&self) {
        self.0.remove();
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyTuple>) {
        self.0.remove();
    }
}

/// A gradient as Python sees it.
fn shown(py: Python<'_>, gradient: &Option<Tensor>) -> PyResult<Py<PyAny>> {
    gradient.as_ref().map_or_else(|| Ok(py.None()), |g| wrap(py, g.clone()))
}

/// Gradients as the tuple that hooks of nodes are given.
fn tuple<'py>(py: Python<'py>, all: &HookGradients) -> PyResult<Bound<'py, PyTuple>> {
    PyTuple::new(py, all.iter().map(|g| shown(py, g)).collect::<PyResult<Vec<_>>>()?)
}

/// What a hook returned: a gradient or none.
fn gradient(object: &Bound<'_, PyAny>) -> PyResult<Option<Tensor>> {
    if object.is_none() {
        return Ok(None);
    }
    match object.cast::<PyTensor>() {
        Ok(t) => Ok(Some(t.get().get().clone())),
        Err(_) => Err(unexpected("Variable", object)?),
    }
}

/// The error for a hook that returned something else than it should.
fn unexpected(expected: &str, returned: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    let given = returned.get_type().name()?;
    Ok(PyTypeError::new_err(format!("expected {expected}, but hook returned '{given}'")))
}

/// What a hook of a node returned: nothing, or a tuple of gradients.
fn gradients(object: &Bound<'_, PyAny>) -> PyResult<Option<Vec<Option<Tensor>>>> {
    if object.is_none() {
        return Ok(None);
    }
    match object.cast::<PyTuple>() {
        Ok(all) => all.iter().map(|o| gradient(&o)).collect::<PyResult<_>>().map(Some),
        Err(_) => Err(unexpected("tuple", object)?),
    }
}

/// Calls Python; what it raises goes through the core unchanged.
pub fn attached<R>(call: impl FnOnce(Python<'_>) -> PyResult<R>) -> Result<R> {
    let _mode = Ending::set(Ends::Never);
    let rest = Rest::begin();
    Python::attach(move |py| {
        let done = call(py).map_err(|e| host_error(py, e));
        drop(rest);
        done
    })
}

/// A hook, and its address.
fn callable(hook: Bound<'_, PyAny>) -> PyResult<(Py<PyAny>, usize)> {
    if hook.is_callable() {
        let address = hook.as_ptr() as usize;
        return Ok((hook.unbind(), address));
    }
    Err(PyTypeError::new_err(format!("a hook must be callable, got {}", hook.get_type().name()?)))
}

#[pymethods]
impl PyTensor {
    /// Calls `hook(grad)` with the gradient of this tensor in every backward pass that comes by, None where it is zero
    /// because nothing depends on the tensor; what the hook returns, if not None, takes the gradient's place. RuntimeError for tensors that require no gradient.
    ///
    /// >>> x = ferrograd.ones(1, requires_grad=True)
    /// >>> handle = x.register_hook(lambda grad: grad * 10)
    /// >>> (x * 2).backward()
    /// >>> x.grad
    /// tensor([20.])
    fn register_hook(&self, hook: Bound<'_, PyAny>) -> PyResult<PyHandle> {
        let (hook, held) = callable(hook)?;
        let call = move |g: Option<&Tensor>| {
            attached(|py| {
                let object = shown(py, &g.cloned())?;
                let returned = gradient(&hook.bind(py).call1((&object,))?)?;
                // The hook may have given the gradient other memory.
                let now = object.bind(py).cast::<PyTensor>().ok().map(|o| o.get().get().clone());
                Ok(returned.or_else(|| now.filter(|now| g.is_some_and(|g| !g.is_same(now)))))
            })
        };
        Ok(PyHandle(ok(self.get().register_hook_holding(Arc::new(call), held))?))
    }

    /// Calls `hook(tensor)` whenever the gradient of this leaf was added to; it returns None.
    /// RuntimeError for tensors that are no leaves.
    ///
    /// >>> x = ferrograd.ones(1, requires_grad=True)
    /// >>> handle = x.register_post_accumulate_grad_hook(lambda leaf: print(leaf.grad))
    /// >>> (x * 2).backward()
    /// tensor([2.])
    fn register_post_accumulate_grad_hook(&self, hook: Bound<'_, PyAny>) -> PyResult<PyHandle> {
        let (hook, held) = callable(hook)?;
        let call = move |leaf: &Tensor| {
            attached(|py| {
                let returned = hook.bind(py).call1((wrap(py, leaf.clone())?,))?;
                if returned.is_none() {
                    return Ok(());
                }
                if !returned.is_instance_of::<PyTensor>() {
                    return Err(unexpected("None", &returned)?);
                }
                let message = "Tensor post accumulate grad hooks should return None. One returned a Tensor";
                Err(PyRuntimeError::new_err(message))
            })
        };
        Ok(PyHandle(ok(self.get().register_post_accumulate_grad_hook_holding(Arc::new(call), held))?))
    }
}

/// The hooks on the gradient of a tensor, by their numbers.
#[pyfunction]
pub fn _tensor_hooks<'py>(py: Python<'py>, tensor: &Bound<'py, PyTensor>) -> PyResult<Bound<'py, PyDict>> {
    let all = PyDict::new(py);
    for (id, held, _hook) in tensor.get().get().held_hooks() {
        // SAFETY: the hook, which is here, holds the object.
        all.set_item(id, unsafe { Bound::from_borrowed_ptr(py, held as *mut _) })?;
    }
    Ok(all)
}

/// Calls `hook(grad_inputs, grad_outputs)` after the node's derivative ran.
pub fn register_hook(node: &NodeRef, hook: Bound<'_, PyAny>) -> PyResult<PyHandle> {
    let (hook, held) = callable(hook)?;
    let call = move |found: &HookGradients, incoming: &HookGradients| {
        attached(|py| gradients(&hook.bind(py).call1((tuple(py, found)?, tuple(py, incoming)?))?))
    };
    cycles::note(node);
    Ok(PyHandle(node.extras_or_new().post_hooks.add(Arc::new(call), held)))
}

/// Calls `hook(grad_outputs)` before the node's derivative runs.
pub fn register_prehook(node: &NodeRef, hook: Bound<'_, PyAny>) -> PyResult<PyHandle> {
    let (hook, held) = callable(hook)?;
    let call = move |incoming: &HookGradients| attached(|py| gradients(&hook.bind(py).call1((tuple(py, incoming)?,))?));
    cycles::note(node);
    Ok(PyHandle(node.extras_or_new().pre_hooks.add(Arc::new(call), held)))
}

/// The dictionary that stays with a node.
struct Metadata(Py<PyDict>);

impl Holder for Metadata {
    fn links(&self, to: &mut Vec<Object>) {
        to.push(Object::Host(self.0.as_ptr() as usize));
    }
}

impl Kept for Metadata {}

/// A dictionary that stays with the node. At first it has the lines that recorded the node, where they are known.
pub fn metadata(py: Python<'_>, node: &NodeRef) -> PyResult<Py<PyDict>> {
    cycles::note(node);
    let extras = node.extras_or_new();
    if extras.host.get().is_none() {
        let dict = PyDict::new(py);
        if let Some(origin) = extras.origin.get() {
            dict.set_item("traceback_", frames(&origin.lines().to_string()))?;
        }
        // Another thread may have been quicker.
        let _ = extras.host.set(Arc::new(Metadata(dict.unbind())));
    }
    let kept = extras.host.get().map(|kept| -> &dyn Any { &**kept });
    Ok(match kept.and_then(<dyn Any>::downcast_ref::<Metadata>) {
        Some(Metadata(dict)) => dict.clone_ref(py),
        None => PyDict::new(py).unbind(),
    })
}

/// The frames of a formatted stack, as `traceback.format_stack` has them.
fn frames(stack: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in stack.split_inclusive('\n') {
        match found.last_mut() {
            Some(frame) if !line.starts_with("  File ") => frame.push_str(line),
            _ => found.push(line.into()),
        }
    }
    found
}

#[pymethods]
impl PyNode {
    /// Calls `hook(grad_inputs, grad_outputs)` after the node's derivative ran; what it returns, if not None, takes the
    /// place of the gradients of the inputs.
    ///
    /// >>> x = ferrograd.ones(1, requires_grad=True)
    /// >>> y = x * 2
    /// >>> handle = y.grad_fn.register_hook(lambda grad_inputs, grad_outputs: print(grad_outputs))
    /// >>> y.backward()
    /// (tensor([1.]),)
    fn register_hook(&self, hook: Bound<'_, PyAny>) -> PyResult<PyHandle> {
        register_hook(self.node(), hook)
    }

    /// Calls `hook(grad_outputs)` before the node's derivative runs; what it returns, if not None, takes the place of
    /// the gradients of the outputs.
    ///
    /// >>> x = ferrograd.ones(1, requires_grad=True)
    /// >>> y = x * 2
    /// >>> handle = y.grad_fn.register_prehook(lambda grad_outputs: (grad_outputs[0] * 5,))
    /// >>> y.backward()
    /// >>> x.grad
    /// tensor([10.])
    fn register_prehook(&self, hook: Bound<'_, PyAny>) -> PyResult<PyHandle> {
        register_prehook(self.node(), hook)
    }

    /// A dictionary that stays with the node.
    ///
    /// >>> y = ferrograd.ones(1, requires_grad=True) * 2
    /// >>> y.grad_fn.metadata["note"] = "doubled"
    /// >>> y.grad_fn.metadata
    /// {'note': 'doubled'}
    #[getter]
    fn metadata(&self, py: Python<'_>) -> PyResult<Py<PyDict>> {
        metadata(py, self.node())
    }
}
