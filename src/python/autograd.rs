//! `backward`, `grad`, and the modes.

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyMapping, PyTuple};

use super::convert::{self, ok};
use super::error::guarded;
use super::interrupt;
use super::node::node_of;
use super::tensor::{PyTensor, wrap};
use super::transform::check_backward;
use super::watch;
use crate::engine::{self, Options, Pass, Place};
use crate::error::Error;
use crate::graph::Edge;
use crate::kernels::parallel::{Ending, Ends};
use crate::memory::gathered;
use crate::tensor::Tensor;

/// A gradient to start from, or None.
///
/// # Errors
/// For what is neither.
pub fn gradient(object: &Bound<'_, PyAny>) -> PyResult<Option<Tensor>> {
    if object.is_none() {
        return Ok(None);
    }
    match object.cast::<PyTensor>() {
        Ok(t) => Ok(Some(t.get().get().clone())),
        Err(_) => {
            let given = object.get_type().name()?;
            Err(PyTypeError::new_err(format!("gradients can be either Tensors or None, but got {given}")))
        }
    }
}

/// The argument `gradient` of the method: a tensor, None, or a sequence of them, of which the one output takes one.
///
/// # Errors
/// As [`gradient`].
pub fn gradients_of_one(object: &Bound<'_, PyAny>) -> PyResult<Vec<Option<Tensor>>> {
    if object.is_none() || object.cast::<PyTensor>().is_ok() {
        return Ok(vec![gradient(object)?]);
    }
    let Ok(all) = object.try_iter() else { return Ok(vec![gradient(object)?]) };
    let all: Vec<_> = all.map(|g| gradient(&g?)).collect::<PyResult<_>>()?;
    if all.is_empty() { Err(Error::GradientCount { outputs: 1, grads: 0 }.into()) } else { Ok(all) }
}

fn gradients(all: &Bound<'_, PyAny>) -> PyResult<Vec<Option<Tensor>>> {
    each(all, gradient)
}

/// An argument that is true or false: also an integer, as torch takes one, and no other object, whatever its truth value.
pub struct Flag(pub bool);

impl<'a, 'py> FromPyObject<'a, 'py> for Flag {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Some(number) = convert::integer(&object) {
            return Ok(Flag(number != 0));
        }
        let given = object.get_type().name()?;
        Err(PyTypeError::new_err(format!("'{given}' object cannot be interpreted as an integer")))
    }
}

/// What is made of the items of a sequence, which may be long.
fn each<T>(all: &Bound<'_, PyAny>, make: impl Fn(&Bound<'_, PyAny>) -> PyResult<T>) -> PyResult<Vec<T>> {
    gathered("backward", all.len()?, all.try_iter()?.map(|item| make(&item?)))
}

/// A tensor, or a pair of a node and the number of one of its outputs.
fn place(object: &Bound<'_, PyAny>) -> PyResult<Place> {
    if let Ok(t) = object.cast::<PyTensor>() {
        return Ok(Place::Tensor(t.get().get().clone()));
    }
    match object.cast::<PyTuple>() {
        Ok(pair) if pair.len() == 2 || pair.len() == 3 => {
            let edge = Edge { node: node_of(&pair.get_item(0)?)?, output: pair.get_item(1)?.extract()? };
            if (edge.output as usize) < edge.node.output_count() {
                return Ok(Place::Edge(edge));
            }
            let count = edge.node.output_count();
            Err(PyValueError::new_err(format!("a node of {count} outputs has no output {}", edge.output)))
        }
        _ => {
            let given = object.get_type().name()?;
            Err(PyTypeError::new_err(format!("expected a Tensor or a GradientEdge, got {given}")))
        }
    }
}

/// The argument `inputs` of `backward`: one place, several, or a dict of them.
///
/// # Errors
/// For none, and for what is not a place.
pub fn inputs(object: &Bound<'_, PyAny>) -> PyResult<Vec<Place>> {
    if let Ok(one) = place(object) {
        return Ok(vec![one]);
    }
    let all = match object.cast_exact::<PyDict>() {
        Ok(named) => named.values(),
        Err(_) if object.cast::<PyMapping>().is_ok() => {
            let given = object.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "`inputs` argument to `backward()` must be a dict, not {given}. Other Mapping types are not supported."
            )));
        }
        Err(_) => {
            let all = PyList::empty(object.py());
            object.try_iter()?.try_for_each(|item| all.append(item?))?;
            all
        }
    };
    if all.is_empty() {
        return Err(PyRuntimeError::new_err("`inputs` argument to `backward()` cannot be empty."));
    }
    asked(all.as_any())
}

/// The places whose gradients are asked for.
fn asked(all: &Bound<'_, PyAny>) -> PyResult<Vec<Place>> {
    each(all, |object| match object.cast::<PyTensor>().is_ok() || object.cast::<PyTuple>().is_ok() {
        true => place(object),
        false => {
            let given = object.get_type().name()?;
            Err(PyRuntimeError::new_err(format!("all inputs have to be Tensors or GradientEdges, but got {given}")))
        }
    })
}

fn places(all: &Bound<'_, PyAny>) -> PyResult<Vec<Place>> {
    each(all, place)
}

/// Runs a pass; a long one without the interpreter's lock, so that other threads of Python run meanwhile.
pub fn run(py: Python<'_>, pass: Pass) -> PyResult<Vec<Option<Tensor>>> {
    if watch::is_on() {
        watch::differentiated(py)?;
    }
    let is_long = pass.is_long();
    let work = || {
        guarded("backward", || {
            let _mode = Ending::set(if is_long { Ends::Stopped } else { Ends::interrupted() });
            pass.run()
        })
    };
    ok(if is_long { interrupt::watched(py, || py.detach(work))? } else { work() })
}

#[pyfunction]
#[pyo3(signature = (outputs, gradients, retain_graph, create_graph, inputs))]
pub fn _backward(
    py: Python<'_>,
    outputs: Bound<'_, PyAny>,
    gradients: Bound<'_, PyAny>,
    retain_graph: Flag,
    create_graph: Flag,
    inputs: Option<Bound<'_, PyAny>>,
) -> PyResult<()> {
    let options = Options { retain_graph: retain_graph.0, create_graph: create_graph.0, allow_unused: true };
    let inputs = inputs.map(|i| self::inputs(&i)).transpose()?;
    backward(py, &places(&outputs)?, &self::gradients(&gradients)?, inputs.as_deref(), options)
}

/// Accumulates gradients into leaves, or into `inputs`.
pub fn backward(
    py: Python<'_>,
    outputs: &[Place],
    gradients: &[Option<Tensor>],
    inputs: Option<&[Place]>,
    options: Options,
) -> PyResult<()> {
    check_backward()?;
    let pass = ok(guarded("backward", || Pass::accumulating(outputs, gradients, inputs, options)))?;
    run(py, pass).map(drop)
}

#[pyfunction]
#[pyo3(signature = (outputs, inputs, gradients, retain_graph, create_graph, allow_unused, materialize))]
#[allow(clippy::too_many_arguments, reason = "the arguments of torch.autograd.grad")]
pub fn _grad(
    py: Python<'_>,
    outputs: Bound<'_, PyAny>,
    inputs: Bound<'_, PyAny>,
    gradients: Bound<'_, PyAny>,
    retain_graph: Flag,
    create_graph: Flag,
    allow_unused: Option<Flag>,
    materialize: Flag,
) -> PyResult<Py<PyList>> {
    let allow_unused = materialize.0 || allow_unused.is_some_and(|allow| allow.0);
    let options = Options { retain_graph: retain_graph.0, create_graph: create_graph.0, allow_unused };
    let (outputs, inputs) = (places(&outputs)?, asked(&inputs)?);
    let gradients = self::gradients(&gradients)?;
    ok(engine::check_shared(&outputs, &inputs))?;
    let pass = ok(guarded("grad", || Pass::new(&outputs, &gradients, Some(&inputs), options)))?;
    let found = ok(engine::check_used(run(py, pass)?, options))?;
    let all = PyList::empty(py);
    for (g, x) in found.into_iter().zip(&inputs) {
        all.append(found_or_zeros(py, g, x, materialize.0, options.create_graph)?)?;
    }
    Ok(all.unbind())
}

/// A gradient as Python has it; zeros in the place of none where `materialize`.
fn found_or_zeros(
    py: Python<'_>,
    found: Option<Tensor>,
    input: &Place,
    materialize: bool,
    recorded: bool,
) -> PyResult<Option<Py<PyAny>>> {
    match (found, input) {
        (Some(g), _) => wrap(py, g).map(Some),
        (None, _) if !materialize => Ok(None),
        (None, Place::Edge(_)) => {
            Err(PyRuntimeError::new_err("materialize_grads cannot be used when the given input is a GradientEdge"))
        }
        (None, Place::Tensor(x)) => {
            let zeros = ok(Tensor::zeros(x.shape(), x.dtype()))?;
            ok(zeros.set_requires_grad(recorded))?;
            wrap(py, zeros).map(Some)
        }
    }
}
