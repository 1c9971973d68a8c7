//! Who watches the operations that a thread's program calls: it may give a result in the place of running one.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::convert::to_python;
use super::derivative::{Gone, interned};
use super::error::host_error;
use super::tensor::{PyTensor, wrap};
use crate::graph::NodeRef;
use crate::graph::node::{Edge, Edges};
use crate::ops::Operation;
use crate::ops::formula::Operand;
use crate::ops::registry::Home;
use crate::tensor::Tensor;

/// How many threads are watched.
static WATCHED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static WATCH: RefCell<Option<Py<PyAny>>> = const { RefCell::new(None) };
}

/// True where a thread is watched.
#[inline]
pub fn is_on() -> bool {
    WATCHED.load(Ordering::Relaxed) != 0
}

fn replace(watch: Option<Py<PyAny>>) -> Option<Py<PyAny>> {
    WATCH.with(|held| held.replace(watch))
}

/// Lets an object watch this thread; gives the one that did. `before(name, args, kwargs)` gives None or the result,
/// `after(name, args, kwargs, result)` sees what ran, `differentiated()` that a backward pass begins.
#[pyfunction]
pub fn _set_watch(watch: Option<Py<PyAny>>) -> Option<Py<PyAny>> {
    let begins = usize::from(watch.is_some());
    let before = replace(watch);
    WATCHED.fetch_add(begins, Ordering::Relaxed);
    WATCHED.fetch_sub(usize::from(before.is_some()), Ordering::Relaxed);
    before
}

/// Puts the watch back, which is not asked of what runs within an operation and within its own functions.
struct Paused(Option<Py<PyAny>>);

impl Drop for Paused {
    fn drop(&mut self) {
        replace(self.0.take());
    }
}

/// torch's name of an operation among those of all homes: `linalg_cross`.
fn full_name(operation: &Operation) -> String {
    match operation.home() {
        Home::Linalg => format!("linalg_{}", operation.name),
        Home::Special => format!("special_{}", operation.name),
        Home::Package | Home::Tensor | Home::Nn => operation.name.into(),
    }
}

/// Runs the call of an operation of the table.
pub fn call<'py>(
    py: Python<'py>,
    operation: &Operation,
    arguments: impl FnOnce() -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)>,
    run: impl FnOnce() -> PyResult<Py<PyAny>>,
) -> PyResult<Py<PyAny>> {
    let Some(watch) = replace(None) else { return run() };
    let paused = Paused(Some(watch));
    let (args, kwargs) = arguments()?;
    asked(py, &paused, &full_name(operation), &args, &kwargs, run)
}

fn asked(
    py: Python<'_>,
    paused: &Paused,
    name: &str,
    args: &Bound<'_, PyTuple>,
    kwargs: &Bound<'_, PyDict>,
    run: impl FnOnce() -> PyResult<Py<PyAny>>,
) -> PyResult<Py<PyAny>> {
    let Some(watch) = &paused.0 else { return run() };
    let found = watch.call_method1(py, "before", (name, args, kwargs))?;
    if !found.is_none(py) {
        return Ok(found);
    }
    let result = run()?;
    watch.call_method1(py, "after", (name, args, kwargs, &result))?;
    Ok(result)
}

/// Runs an operator.
pub fn operator(
    name: &str,
    operands: &[Operand],
    run: impl FnOnce() -> crate::Result<Tensor>,
) -> crate::Result<Tensor> {
    let Some(watch) = replace(None) else { return run() };
    let paused = Paused(Some(watch));
    Python::attach(|py| {
        let object = |operand: &Operand| match operand {
            Operand::Tensor(t) => wrap(py, (*t).clone()),
            Operand::Number(n) => to_python(py, *n),
        };
        let asked = || {
            let args = PyTuple::new(py, operands.iter().map(object).collect::<PyResult<Vec<_>>>()?)?;
            let result = asked(py, &paused, name, &args, &PyDict::new(py), || wrap(py, run()?))?;
            Ok(result.bind(py).cast::<PyTensor>()?.get().get().clone())
        };
        asked().map_err(|error: PyErr| host_error(py, error))
    })
}

/// The name of the node behind a tensor.
#[pyfunction]
pub fn _node_name(tensor: &Bound<'_, PyTensor>) -> Option<&'static str> {
    tensor.get().get().grad_fn().map(|edge| edge.node.name())
}

/// A kept result in the place of what is not computed again, with a node of a name: that of the node that it had.
#[pyfunction]
pub fn _given(py: Python<'_>, value: &Bound<'_, PyTensor>, node: String) -> PyResult<Py<PyAny>> {
    let given = value.get().get().detach();
    let node = NodeRef::new(Gone(interned(node)), Edges::new(), given.shape(), given.dtype());
    given.set_history(Edge { node, output: 0 });
    wrap(py, given)
}

/// Tells the watch that a backward pass begins.
pub fn differentiated(py: Python<'_>) -> PyResult<()> {
    let Some(watch) = replace(None) else { return Ok(()) };
    let paused = Paused(Some(watch));
    paused.0.as_ref().map_or(Ok(()), |watch| watch.call_method0(py, "differentiated").map(drop))
}
