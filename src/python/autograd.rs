//! `backward`, `grad`, and the modes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::convert::ok;
use super::error::from_panic;
use super::node::node_of;
use super::tensor::{PyTensor, wrap};
use crate::engine::{self, Options, Pass, Place};
use crate::graph::Edge;
use crate::tensor::Tensor;

/// Tensors as the core has them.
fn tensors(all: &[Bound<'_, PyTensor>]) -> Vec<Tensor> {
    all.iter().map(|t| t.get().get().clone()).collect()
}

fn gradients(all: &[Option<Bound<'_, PyTensor>>]) -> Vec<Option<Tensor>> {
    all.iter().map(|t| t.as_ref().map(|t| t.get().get().clone())).collect()
}

/// A tensor, or a pair of a node and the number of one of its outputs.
fn place(object: &Bound<'_, PyAny>) -> PyResult<Place> {
    if let Ok(t) = object.cast::<PyTensor>() {
        return Ok(Place::Tensor(t.get().get().clone()));
    }
    match object.cast::<PyTuple>() {
        Ok(pair) if pair.len() == 2 => {
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

/// The argument `inputs` of `backward`: one place, or several.
///
/// # Errors
/// For none, and for what is not a place.
pub fn inputs(object: &Bound<'_, PyAny>) -> PyResult<Vec<Place>> {
    if let Ok(one) = place(object) {
        return Ok(vec![one]);
    }
    let all = places(&object.try_iter()?.collect::<PyResult<Vec<_>>>()?)?;
    if all.is_empty() {
        return Err(PyRuntimeError::new_err("'inputs' argument to backward() cannot be empty."));
    }
    Ok(all)
}

fn places(all: &[Bound<'_, PyAny>]) -> PyResult<Vec<Place>> {
    all.iter().map(place).collect()
}

/// Runs a pass; a long one without the interpreter's lock, so that other threads of Python run meanwhile.
fn run(py: Python<'_>, pass: Pass) -> PyResult<Vec<Option<Tensor>>> {
    let is_long = pass.is_long();
    let work = || catch_unwind(AssertUnwindSafe(|| pass.run()));
    let done = if is_long { py.detach(work) } else { work() };
    match done {
        Ok(found) => ok(found),
        Err(panic) => Err(from_panic("backward", panic)),
    }
}

#[pyfunction]
#[pyo3(signature = (outputs, gradients, retain_graph, create_graph, inputs))]
pub fn _backward(
    py: Python<'_>,
    outputs: Vec<Bound<'_, PyAny>>,
    gradients: Vec<Option<Bound<'_, PyTensor>>>,
    retain_graph: bool,
    create_graph: bool,
    inputs: Option<Bound<'_, PyAny>>,
) -> PyResult<()> {
    let options = Options { retain_graph, create_graph, allow_unused: true };
    let inputs = inputs.map(|i| self::inputs(&i)).transpose()?;
    backward(py, &places(&outputs)?, &self::gradients(&gradients), inputs.as_deref(), options)
}

/// Accumulates gradients into leaves, or into `inputs`.
pub fn backward(
    py: Python<'_>,
    outputs: &[Place],
    gradients: &[Option<Tensor>],
    inputs: Option<&[Place]>,
    options: Options,
) -> PyResult<()> {
    let pass = ok(Pass::new(outputs, gradients, inputs, options))?;
    let found = run(py, pass)?;
    ok(engine::finish_backward(inputs, found, options))
}

#[pyfunction]
#[pyo3(signature = (outputs, inputs, gradients, retain_graph, create_graph, allow_unused, materialize))]
#[allow(clippy::too_many_arguments, reason = "the arguments of torch.autograd.grad")]
pub fn _grad(
    py: Python<'_>,
    outputs: Vec<Bound<'_, PyAny>>,
    inputs: Vec<Bound<'_, PyAny>>,
    gradients: Vec<Option<Bound<'_, PyTensor>>>,
    retain_graph: bool,
    create_graph: bool,
    allow_unused: bool,
    materialize: bool,
) -> PyResult<Vec<Option<Py<PyAny>>>> {
    let options = Options { retain_graph, create_graph, allow_unused: allow_unused || materialize };
    let inputs = places(&inputs)?;
    let pass = ok(Pass::new(&places(&outputs)?, &self::gradients(&gradients), Some(&inputs), options))?;
    let found = ok(engine::check_used(run(py, pass)?, options))?;
    found
        .into_iter()
        .zip(&inputs)
        .map(|(g, x)| match g {
            Some(g) => wrap(py, g).map(Some),
            None if materialize => {
                let (shape, dtype) = x.look();
                wrap(py, ok(Tensor::zeros(&shape, dtype))?).map(Some)
            }
            None => Ok(None),
        })
        .collect()
}

/// Runs the core's check of derivatives on a Python function.
#[pyfunction]
#[pyo3(signature = (function, inputs, eps, atol, rtol, second))]
pub fn _gradcheck(
    py: Python<'_>,
    function: Bound<'_, PyAny>,
    inputs: Vec<Bound<'_, PyTensor>>,
    eps: f64,
    atol: f64,
    rtol: f64,
    second: bool,
) -> PyResult<()> {
    let mut raised = None;
    let f = |all: &[Tensor]| -> crate::Result<Vec<Tensor>> {
        let call = || -> PyResult<Vec<Tensor>> {
            let all = all.iter().map(|t| wrap(py, t.clone())).collect::<PyResult<Vec<_>>>()?;
            let found = function.call1(PyTuple::new(py, all)?)?;
            match found.cast::<PyTensor>() {
                Ok(t) => Ok(vec![t.get().get().clone()]),
                Err(_) => Ok(tensors(&found.extract::<Vec<Bound<'_, PyTensor>>>()?)),
            }
        };
        call().map_err(|e| {
            raised = Some(e);
            crate::Error::GradCheck("the function raised".into())
        })
    };
    let tolerance = crate::testing::Tolerance { eps, atol, rtol };
    let inputs = tensors(&inputs);
    let checked = if second {
        crate::testing::gradgradcheck(f, &inputs, tolerance)
    } else {
        crate::testing::gradcheck(f, &inputs, tolerance)
    };
    match raised {
        Some(error) => Err(error),
        None => ok(checked),
    }
}
