//! The argument `out`: results written into tensors that the caller gives.

use pyo3::exceptions::{PyNotImplementedError, PyRuntimeError, PyTypeError, PyUserWarning};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use super::arguments::{type_name, unlike};
use super::convert::ok;
use super::functions::named;
use super::signature::{Kind, Signature};
use super::tensor::PyTensor;
use crate::graph::forward;
use crate::graph::mode::is_grad_enabled;
use crate::ops::terms::{Gives, Shapes};
use crate::ops::{Operation, Output, Value, copy, inplace};
use crate::tensor::Tensor;

/// The tensors that `out` names: one, or as many as there are results.
fn targets<'py>(op: &str, out: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyTensor>>> {
    if let Ok(one) = out.cast::<PyTensor>() {
        return Ok(vec![one.clone()]);
    }
    if !out.is_instance_of::<PyTuple>() && !out.is_instance_of::<PyList>() {
        return Err(unlike(op, "out", "Tensor", out));
    }
    let one = |(n, item): (usize, PyResult<Bound<'py, PyAny>>)| {
        let item = item?;
        item.cast::<PyTensor>().cloned().map_err(|_| {
            let given = type_name(&item);
            let what =
                format!("{op}(): argument 'out' must be Tensors, but found element of type {given} at pos {}", n + 1);
            PyTypeError::new_err(what)
        })
    };
    out.try_iter()?.enumerate().map(one).collect()
}

/// An error where a gradient would be lost: what is written into `out` leaves no history.
pub fn refuse_gradients(op: &str, values: &[Value], out: &Bound<'_, PyAny>) -> PyResult<()> {
    let requires = |value: &Value| match value {
        Value::Tensor(t) => t.requires_grad(),
        Value::Tensors(all) => all.iter().any(Tensor::requires_grad),
        _ => false,
    };
    let is_wanted = |t: &Bound<'_, PyTensor>| t.get().get().requires_grad();
    if is_grad_enabled() && (values.iter().any(requires) || targets(op, out)?.iter().any(is_wanted)) {
        return Err(PyRuntimeError::new_err(format!(
            "{op}(): functions with out=... arguments don't support automatic differentiation, but one of the arguments \
             requires grad."
        )));
    }
    Ok(())
}

/// An error where an element would be written before it is read: what goes element by element may be written onto an operand,
/// and not beside it.
pub fn refuse_overlap(operation: &Operation, values: &[Value], out: &Bound<'_, PyAny>) -> PyResult<()> {
    if !matches!(operation.terms().shapes, Shapes::Same | Shapes::Broadcast) {
        return Ok(());
    }
    for target in targets(operation.name, out)? {
        let target = target.get().get();
        for value in values {
            match value {
                Value::Tensor(t) => ok(inplace::apart_or_same(operation.name, target, t))?,
                Value::Tensors(all) => {
                    all.iter().try_for_each(|t| ok(inplace::apart_or_same(operation.name, target, t)))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// What is made of sizes and numbers is made in the dtype of `out`, where none is given.
pub fn take_dtype(operation: &Operation, signature: &Signature, values: &mut [Value], out: &Bound<'_, PyAny>) {
    let is_of_tensors = values.iter().any(|v| matches!(v, Value::Tensor(_) | Value::Tensors(_)));
    let makes_all = !is_of_tensors || operation.terms().gives == Gives::Asked;
    let Some(target) = out.cast::<PyTensor>().ok().filter(|_| makes_all) else { return };
    for (parameter, value) in signature.parameters.iter().zip(values) {
        if parameter.kind == Kind::DType && matches!(value, Value::None) {
            *value = Value::DType(target.get().get().dtype());
        }
    }
}

/// Writes the results into `out` and gives it back: for several results as they would have been returned.
pub fn fill(operation: &Operation, out: &Bound<'_, PyAny>, output: Output, class: Option<&str>) -> PyResult<Py<PyAny>> {
    let op = operation.name;
    let targets = targets(op, out)?;
    let values = match &output {
        Output::Tensor(t) | Output::Instead(t) => std::slice::from_ref(t),
        Output::Tensors(all) => all,
    };
    if targets.len() != values.len() {
        let (expected, given) = (values.len(), targets.len());
        return Err(PyTypeError::new_err(format!("{op}(): argument 'out' must be {expected} Tensors, got {given}")));
    }
    for (target, value) in targets.iter().zip(values) {
        if !forward::levels([target.get().get(), value]).is_empty() {
            return Err(PyNotImplementedError::new_err(format!(
                "Trying to use forward AD with {op} that does not support it because it is an out= function"
            )));
        }
        if [target.get().get(), value].iter().any(|t| t.batch().is_some()) {
            return Err(PyNotImplementedError::new_err(format!(
                "{op}: Batching rule not implemented for out= functions: use the result"
            )));
        }
        let (wanted, given) = (value.dtype(), target.get().get().dtype());
        if wanted != given && operation.fixes_dtype(values.len()) {
            let what = format!("{op}: Expected out tensor to have dtype {wanted}, but got {given} instead");
            return Err(PyRuntimeError::new_err(what));
        }
        check(op, target.get().get(), value)?;
    }
    // Nothing is written before all may be.
    targets.iter().zip(values).try_for_each(|(target, value)| write(op, target, value))?;
    match output {
        Output::Tensor(_) | Output::Instead(_) => Ok(targets[0].clone().into_any().unbind()),
        Output::Tensors(_) => named(out.py(), class, PyTuple::new(out.py(), targets)?.into_any()),
    }
}

/// An error where a result may not be written into a tensor.
fn check(op: &'static str, held: &Tensor, value: &Tensor) -> PyResult<()> {
    crate::ops::cast::check_result(op, value.dtype(), held.dtype())?;
    if held.numel() > 0 {
        ok(inplace::check_apart(op, held))?;
    }
    if held.shape() == value.shape() { ok(inplace::check(op, held)) } else { Ok(()) }
}

/// Writes one result into a tensor, which takes its shape.
fn write(op: &'static str, target: &Bound<'_, PyTensor>, value: &Tensor) -> PyResult<()> {
    let held = target.get().get();
    if held.shape() == value.shape() {
        return ok(inplace::assign(held, value, inplace::Origin::Tensor("CopyBackwards")));
    }
    if held.numel() > 0 {
        let message = std::ffi::CString::new(format!(
            "An output with one or more elements was resized since it had shape {:?}, which does not match the required \
             output shape {:?}. This behavior is deprecated: resize it to zero elements first with out.resize_(0).",
            held.shape(),
            value.shape()
        ))?;
        PyErr::warn(target.py(), &target.py().get_type::<PyUserWarning>(), &message, 1)?;
    }
    let fresh = copy::laid_out_as(value, ok(Tensor::uninitialized(op, value.shape(), held.dtype()))?);
    ok(copy::write(&fresh, value))?;
    PyTensor::replace(target, held.with_data(&fresh)?);
    Ok(())
}
