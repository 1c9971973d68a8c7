//! Between Python's objects and the core's values.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyList, PyTuple};

use super::tensor::PyTensor;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::tensor::dtype::{DType, Promotion};
use crate::tensor::scalar::Scalar;

/// A Python number, if the object is one: bool, int, float, a NumPy number, or what has `__index__`.
#[inline]
pub fn number(object: &Bound<'_, PyAny>) -> PyResult<Option<Scalar>> {
    if object.is_exact_instance_of::<PyFloat>() {
        // SAFETY: the object is a float.
        return Ok(Some(Scalar::Float(unsafe { ffi::PyFloat_AsDouble(object.as_ptr()) })));
    }
    if object.is_instance_of::<PyBool>() {
        return Ok(Some(Scalar::Bool(object.is_truthy()?)));
    }
    if object.is_instance_of::<PyInt>() {
        return object
            .extract::<i64>()
            .map(|i| Some(Scalar::Int(i)))
            .map_err(|_| pyo3::exceptions::PyOverflowError::new_err("Overflow when unpacking long"));
    }
    if object.is_instance_of::<PyFloat>() {
        return Ok(Some(Scalar::Float(object.extract()?)));
    }
    if is_numpy_number(object) {
        // NumPy's numbers know how to become Python's.
        return number(&object.call_method0("item")?);
    }
    Ok(None)
}

fn is_numpy_number(object: &Bound<'_, PyAny>) -> bool {
    let class = object.get_type();
    class.module().is_ok_and(|m| m == "numpy")
        && object.hasattr("item").unwrap_or(false)
        && object.getattr("ndim").and_then(|n| n.extract::<usize>()).is_ok_and(|n| n == 0)
        && !class.name().is_ok_and(|n| n == "ndarray")
}

/// An integer: an int, or what has `__index__`; not a bool where `strict`.
pub fn integer(object: &Bound<'_, PyAny>) -> Option<isize> {
    if object.is_instance_of::<PyFloat>() {
        return None;
    }
    if let Ok(t) = object.cast::<PyTensor>() {
        let t = t.get().get();
        let is_index = t.numel() == 1 && !t.dtype().is_floating_point();
        return if is_index { t.item().ok().map(|s| s.as_i64() as isize) } else { None };
    }
    object.extract::<isize>().ok()
}

/// The only element, for the conversions to Python's numbers.
pub fn single(t: &Tensor) -> PyResult<Scalar> {
    if t.numel() != 1 {
        return Err(PyValueError::new_err("only one element tensors can be converted to Python scalars"));
    }
    ok(t.item())
}

/// True for sizes as a tensor has them.
pub fn is_size(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    object.is_instance(&object.py().import("ferrograd._size")?.getattr("Size")?)
}

/// A number as Python has it.
pub fn to_python(py: Python<'_>, value: Scalar) -> PyResult<Py<PyAny>> {
    Ok(match value {
        Scalar::Bool(b) => PyBool::new(py, b).to_owned().into_any().unbind(),
        Scalar::Int(i) => i.into_pyobject(py)?.into_any().unbind(),
        Scalar::Float(x) => PyFloat::new(py, x).into_any().unbind(),
    })
}

/// The numbers of nested sequences and their shape.
struct Data {
    numbers: Vec<Scalar>,
    promotion: Promotion,
    shape: Vec<usize>,
    /// A float64 NumPy number or tensor among the numbers keeps its type.
    dtype: Option<DType>,
}

const OP: &str = "tensor";

/// A tensor of what Python calls data: a number, nested sequences of numbers and tensors, an array, or a tensor.
///
/// # Errors
/// For ragged sequences and for what is not a number.
pub fn tensor(object: &Bound<'_, PyAny>, dtype: Option<DType>) -> PyResult<Tensor> {
    if let Ok(t) = object.cast::<PyTensor>() {
        let t = t.get().get().detach();
        let copy = crate::ops::copy::clone(&t)?;
        return Ok(crate::ops::cast::to(&copy, dtype.unwrap_or(t.dtype()))?);
    }
    if super::numpy::is_array(object) {
        let shared = super::numpy::from_array(object, true)?;
        let copy = crate::ops::copy::contiguous_copy(&shared)?;
        return Ok(crate::ops::cast::to(&copy, dtype.unwrap_or(shared.dtype()))?);
    }
    let mut data = Data { numbers: Vec::new(), promotion: Promotion::default(), shape: Vec::new(), dtype: None };
    collect(object, 0, &mut data)?;
    let empty = data.numbers.is_empty();
    let inferred = if empty { crate::tensor::default_dtype() } else { data.promotion.result() };
    Ok(Tensor::from_scalars(&data.numbers, &data.shape, dtype.or(data.dtype).unwrap_or(inferred))?)
}

/// Nesting that no tensor has; a list that holds itself reaches it.
const DEEPEST: usize = 64;

fn collect(object: &Bound<'_, PyAny>, depth: usize, data: &mut Data) -> PyResult<()> {
    if let Some(n) = number(object)? {
        return leaf(n, n.dtype(), depth, data);
    }
    if let Ok(t) = object.cast::<PyTensor>() {
        let t = t.get().get();
        if t.numel() == 1 && t.rank() == 0 {
            return leaf(t.item()?, t.dtype(), depth, data);
        }
    }
    let length = match object.len() {
        Ok(n)
            if !object.is_instance_of::<pyo3::types::PyString>()
                && !object.is_instance_of::<pyo3::types::PyBytes>() =>
        {
            n
        }
        _ => {
            let name = object.get_type().name()?;
            return Err(PyTypeError::new_err(format!("tensor: new(): data must be a sequence of numbers, got {name}")));
        }
    };
    if depth >= DEEPEST {
        return Err(PyValueError::new_err("tensor: too many dimensions: the data is nested deeper than 64 levels"));
    }
    match data.shape.get(depth) {
        Some(&expected) if expected != length => {
            let what = format!("expected sequence of length {expected} at dim {depth} (got {length})");
            return Err(Error::Data { op: OP, what }.into());
        }
        Some(_) => {}
        None if data.numbers.is_empty() => data.shape.push(length),
        None => {
            let what = format!("expected a number at dim {depth}, got a sequence");
            return Err(PyTypeError::new_err(Error::Data { op: OP, what }.to_string()));
        }
    }
    if let Ok(list) = object.cast::<PyList>() {
        return list.iter().try_for_each(|item| collect(&item, depth + 1, data));
    }
    if let Ok(tuple) = object.cast::<PyTuple>() {
        return tuple.iter().try_for_each(|item| collect(&item, depth + 1, data));
    }
    (0..length).try_for_each(|i| collect(&object.get_item(i)?, depth + 1, data))
}

fn leaf(n: Scalar, dtype: DType, depth: usize, data: &mut Data) -> PyResult<()> {
    if depth != data.shape.len() {
        let what = format!("expected sequence of length {} at dim {depth} (got a number)", data.shape[depth]);
        return Err(PyTypeError::new_err(Error::Data { op: OP, what }.to_string()));
    }
    if n.dtype() != dtype {
        data.dtype = Some(data.dtype.map_or(dtype, |d| d.promote(dtype)));
    }
    data.promotion.number(n.dtype());
    data.numbers.push(n);
    Ok(())
}

/// Nested lists of a tensor's numbers.
pub fn to_list(py: Python<'_>, t: &Tensor) -> PyResult<Py<PyAny>> {
    let numbers = ok(t.to_scalars())?;
    nested(py, t.shape(), &mut numbers.into_iter())
}

fn nested(py: Python<'_>, shape: &[usize], numbers: &mut impl Iterator<Item = Scalar>) -> PyResult<Py<PyAny>> {
    match shape {
        [] => to_python(py, numbers.next().unwrap_or(Scalar::Int(0))),
        [size, rest @ ..] => {
            let items = (0..*size).map(|_| nested(py, rest, numbers)).collect::<PyResult<Vec<_>>>()?;
            Ok(PyList::new(py, items)?.into_any().unbind())
        }
    }
}

/// An operand of arithmetic: a tensor, a number, or an array.
pub enum Other<'py> {
    /// A tensor of Python's.
    Tensor(Bound<'py, PyTensor>),
    /// A tensor made of an array.
    Made(Tensor),
    /// A number.
    Number(Scalar),
}

/// What stands beside a tensor in arithmetic, if it can.
#[inline]
pub fn other<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<Other<'py>>> {
    if let Ok(t) = object.cast::<PyTensor>() {
        return Ok(Some(Other::Tensor(t.clone())));
    }
    if let Some(n) = number(object)? {
        return Ok(Some(Other::Number(n)));
    }
    if super::numpy::is_array(object) {
        return Ok(Some(Other::Made(super::numpy::from_array(object, true)?)));
    }
    Ok(None)
}

/// A result of the core as Python's.
pub fn ok<T>(result: Result<T>) -> PyResult<T> {
    result.map_err(PyErr::from)
}
