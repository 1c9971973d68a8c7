//! The record of what runs, for Python.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::convert::ok;
use super::dtype;
use super::error::guarded;
use super::watch;
use crate::ops::formula::Operand;
use crate::ops::{Output, Value, batch};
use crate::profiler::{self, Event, Kind};
use crate::tensor::Tensor;

/// Begins a record, with the lines of the program where it asks for them; gives when it begins.
#[pyfunction]
pub fn _profiler_start(with_lines: bool) -> u64 {
    profiler::start(with_lines)
}

/// Ends the record that began at a time: for every event its name, kind, thread, start, end, inputs' shapes and dtypes,
/// bytes, sequence, and lines.
#[pyfunction]
pub fn _profiler_stop(py: Python<'_>, since: u64, with_lines: bool) -> PyResult<Vec<Bound<'_, PyTuple>>> {
    let shown = |event: Event| {
        let kind = match event.kind {
            Kind::Operation => "operation",
            Kind::Derivative => "derivative",
            Kind::Range => "range",
        };
        let look = |(shape, dtype)| Ok((shape, dtype::object(py, dtype)?));
        let inputs = event.inputs.into_iter().map(look).collect::<PyResult<Vec<(Vec<usize>, _)>>>()?;
        let lines = event.lines.map(|origin| origin.lines().to_string());
        let Event { name, thread, start, end, bytes, sequence, .. } = event;
        (name, kind, thread, start, end, inputs, bytes, sequence, lines).into_pyobject(py)
    };
    profiler::stop(since, with_lines).into_iter().map(shown).collect()
}

/// True while there is a record.
#[pyfunction]
pub fn _profiler_enabled() -> bool {
    profiler::is_on()
}

/// The time of the record, in nanoseconds.
#[pyfunction]
pub fn _profiler_now() -> u64 {
    profiler::now()
}

/// Notes a range that began at a time, where there is a record.
#[pyfunction]
pub fn _profiler_mark(name: &str, start: u64) {
    if profiler::is_on() {
        profiler::mark(name, start);
    }
}

/// Runs an operation of the table.
pub fn called(name: &str, values: &[Value], run: impl FnOnce() -> crate::Result<Output>) -> PyResult<Output> {
    if !profiler::is_on() {
        return ok(run());
    }
    let mut inputs = Vec::new();
    for value in values {
        match value {
            Value::Tensor(t) => inputs.push(t.clone()),
            Value::Tensors(all) => inputs.extend(all.iter().cloned()),
            _ => {}
        }
    }
    ok(profiler::operation(name, &inputs, run, |output| match output {
        Output::Tensor(t) | Output::Instead(t) => vec![t.clone()],
        Output::Tensors(all) => all.to_vec(),
    }))
}

/// Runs an operation of one result.
#[inline]
pub fn seen(
    name: &'static str,
    operands: &[Operand],
    run: impl FnOnce() -> crate::Result<Tensor>,
) -> crate::Result<Tensor> {
    for operand in operands {
        operand.tensor().map_or(Ok(()), |t| batch::refuse_escaped(name, t))?;
    }
    let run = || guarded(name, run);
    if watch::is_on() {
        return watch::operator(name, operands, || noted(name, operands, run));
    }
    noted(name, operands, run)
}

/// Runs an operation of one result; the record of what runs gets it.
#[inline]
fn noted(
    name: &'static str,
    operands: &[Operand],
    run: impl FnOnce() -> crate::Result<Tensor>,
) -> crate::Result<Tensor> {
    if !profiler::is_on() {
        return run();
    }
    let tensor = |operand: &Operand| match operand {
        Operand::Tensor(t) => Some((*t).clone()),
        Operand::Number(_) => None,
    };
    let inputs: Vec<Tensor> = operands.iter().filter_map(tensor).collect();
    profiler::operation(name, &inputs, run, |y| vec![y.clone()])
}
