//! What `func` is made of: transforms that begin and end, tensors to differentiate by, gradients, and results.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyTuple};

use super::autograd::run;
use super::convert::ok;
use super::tensor::{PyTensor, wrap};
use crate::engine;
use crate::graph::mode;
use crate::graph::transform;
use crate::tensor::Tensor;

type Tensors<'py> = Vec<Bound<'py, PyTensor>>;

fn inner(all: &[Bound<'_, PyTensor>]) -> Vec<Tensor> {
    all.iter().map(|t| t.get().get().clone()).collect()
}

/// The children of a container whose class is registered as a node of trees.
fn children<'py>(x: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = x.py();
    static NODES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let nodes = || Ok::<_, PyErr>(py.import("ferrograd.utils._pytree")?.getattr("SUPPORTED_NODES")?.unbind());
    let node = NODES.get_or_try_init(py, nodes)?.bind(py).call_method1("get", (x.get_type(),))?;
    if node.is_none() { Ok(None) } else { node.getattr("flatten_fn")?.call1((x,))?.get_item(0).map(Some) }
}

/// The tensors in nested tuples, lists, dicts and containers of registered classes.
fn tensors_in(arguments: &Bound<'_, PyAny>) -> PyResult<Vec<Tensor>> {
    let (mut found, mut open) = (Vec::new(), vec![arguments.clone()]);
    while let Some(x) = open.pop() {
        if let Ok(t) = x.cast::<PyTensor>() {
            found.push(t.get().get().clone());
        } else if let Ok(all) = x.cast::<PyTuple>() {
            open.extend(all.iter());
        } else if let Ok(all) = x.cast::<PyList>() {
            open.extend(all.iter());
        } else if let Ok(all) = x.cast::<PyDict>() {
            open.extend(all.values().iter());
        } else if let Some(all) = children(&x)? {
            for child in all.try_iter()? {
                open.push(child?);
            }
        }
    }
    Ok(found)
}

/// Refuses from now on that what was there before is changed in place, other than these arguments.
#[pyfunction]
pub fn _guard(arguments: &Bound<'_, PyAny>) -> PyResult<()> {
    transform::guard(&tensors_in(arguments)?);
    Ok(())
}

/// Ends the innermost `_guard`.
#[pyfunction]
pub fn _unguard() {
    transform::unguard();
}

/// Begins a transform that differentiates a function of these arguments, which is recorded. Gives whether recording was
/// on.
#[pyfunction]
pub fn _enter_transform(arguments: &Bound<'_, PyAny>) -> PyResult<bool> {
    _guard(arguments)?;
    mode::enter_transform();
    Ok(mode::set_grad_enabled(true))
}

/// Ends the innermost transform, and sets recording to what it was.
#[pyfunction]
pub fn _exit_transform(recorded: bool) {
    mode::set_grad_enabled(recorded);
    mode::exit_transform();
    transform::unguard();
}

/// Refuses `requires_grad_()` while a transform runs a function: what it would ask for belongs to no transform. Backward
/// passes within the transform are code of their own.
pub fn check_requires_grad(requires: bool) -> PyResult<()> {
    if requires && mode::is_transforming() && engine::current_pass() == 0 {
        return Err(PyRuntimeError::new_err(
            "You are attempting to call Tensor.requires_grad_() (or perhaps using torch.autograd.functional.* APIs) inside of a function being transformed by a functorch transform. This is unsupported, please attempt to use the functorch transforms (e.g. grad, vjp, jacrev, jacfwd, hessian) or call requires_grad_() outside of a function being transformed instead.",
        ));
    }
    Ok(())
}

/// Refuses `backward()` while a transform runs: gradients would be accumulated that belong to no single example.
pub fn check_backward() -> PyResult<()> {
    if mode::is_transforming() {
        return Err(PyRuntimeError::new_err(
            "backward() called inside a functorch transform. This is not supported, please use functorch.grad or functorch.vjp instead or call backward() outside of functorch transforms.",
        ));
    }
    Ok(())
}

/// A tensor to differentiate by in place of each.
#[pyfunction]
pub fn _fresh(py: Python<'_>, tensors: Tensors<'_>) -> PyResult<Vec<Py<PyAny>>> {
    tensors.iter().map(|t| wrap(py, ok(transform::fresh(t.get().get()))?)).collect()
}

/// Says that the function of a transform has run on these tensors of `_fresh`.
#[pyfunction]
pub fn _close(tensors: Tensors<'_>) {
    tensors.iter().for_each(|t| transform::close(t.get().get()));
}

/// Results whose history is asked for after the transform.
#[pyfunction]
pub fn _kept(py: Python<'_>, tensors: Tensors<'_>) -> PyResult<Vec<Py<PyAny>>> {
    tensors.iter().map(|t| wrap(py, ok(transform::kept(t.get().get()))?)).collect()
}

/// Tensors that were made in inference mode as such that may be kept for backward.
#[pyfunction]
pub fn _counted(py: Python<'_>, tensors: Tensors<'_>) -> PyResult<Vec<Py<PyAny>>> {
    tensors.iter().map(|t| wrap(py, ok(transform::counted(t.get().get()))?)).collect()
}

/// A result as those outside of the transform see it.
#[pyfunction]
pub fn _released(py: Python<'_>, tensor: &Bound<'_, PyTensor>, recorded: bool) -> PyResult<Py<PyAny>> {
    wrap(py, ok(transform::released(tensor.get().get(), recorded))?)
}

/// The gradients of a transform; zeros for inputs that the outputs do not depend on.
#[pyfunction]
pub fn _transform_grad(
    py: Python<'_>,
    outputs: Tensors<'_>,
    inputs: Tensors<'_>,
    gradients: Vec<Option<Bound<'_, PyTensor>>>,
    recorded: bool,
    retain_graph: bool,
) -> PyResult<Vec<Py<PyAny>>> {
    let inputs = inner(&inputs);
    let gradients: Vec<Option<Tensor>> = gradients.iter().map(|g| g.as_ref().map(|g| g.get().get().clone())).collect();
    // Outputs that depend on nothing have nothing to add.
    let (outputs, gradients): (Vec<Tensor>, Vec<Option<Tensor>>) =
        inner(&outputs).into_iter().zip(gradients).filter(|(y, _)| y.requires_grad()).unzip();
    let found = if outputs.is_empty() {
        vec![None; inputs.len()]
    } else {
        run(py, ok(engine::transform(&outputs, &inputs, &gradients, recorded, retain_graph))?)?
    };
    let one = |(g, x): (Option<Tensor>, &Tensor)| match g {
        Some(g) => wrap(py, ok(transform::released(&g, recorded))?),
        None => wrap(py, ok(Tensor::zeros(x.shape(), x.dtype()))?),
    };
    found.into_iter().zip(&inputs).map(one).collect()
}

/// The number of elements of the largest output in a tensor's graph, and whether a pass may call functions of Python.
#[pyfunction]
pub fn _graph_info(tensor: &Bound<'_, PyTensor>) -> (usize, bool) {
    transform::graph_info(tensor.get().get())
}
