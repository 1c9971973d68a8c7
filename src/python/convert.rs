//! Between Python's objects and the core's values.

use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyFloat, PyInt, PyList, PyTuple};

use super::error::guarded;
use super::tensor::PyTensor;
use crate::error::Result;
use crate::graph::mode::is_grad_enabled;
use crate::ops::copy;
use crate::ops::formula::Operand;
use crate::tensor::Tensor;
use crate::tensor::dtype::Category;
use crate::tensor::print::check_depth;
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
        let unsigned = || object.extract::<u64>().map(Scalar::Unsigned);
        return match object.extract::<i64>().map(Scalar::Int).or_else(|_| unsigned()) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(PyOverflowError::new_err(format!("int too big to convert: {object} does not fit 64 bits"))),
        };
    }
    if object.is_instance_of::<PyFloat>() {
        return Ok(Some(Scalar::Float(object.extract()?)));
    }
    if is_numpy_number(object) {
        // NumPy's numbers know how to become Python's, but for the longest, which stay what they are.
        let item = object.call_method0("item")?;
        return match is_numpy_number(&item) {
            false => number(&item),
            true if super::numpy::kind(&item)? == 'f' => Ok(Some(Scalar::Float(item.extract()?))),
            true => Ok(None),
        };
    }
    Ok(None)
}

/// True for NumPy's numbers: its texts, dates and spans of time are none.
fn is_numpy_number(object: &Bound<'_, PyAny>) -> bool {
    let class = object.get_type();
    class.module().is_ok_and(|m| m == "numpy")
        && object.hasattr("item").unwrap_or(false)
        && object.getattr("ndim").and_then(|n| n.extract::<usize>()).is_ok_and(|n| n == 0)
        && !class.name().is_ok_and(|n| n == "ndarray")
        && super::numpy::kind(object).is_ok_and(super::numpy::is_numeric)
}

/// A truth value of Python's or NumPy's, if the object is one.
pub fn truth(object: &Bound<'_, PyAny>) -> PyResult<Option<bool>> {
    if object.is_instance_of::<PyBool>() {
        return Ok(Some(object.is_truthy()?));
    }
    if !is_numpy_number(object) {
        return Ok(None);
    }
    let item = object.call_method0("item")?;
    Ok(if item.is_instance_of::<PyBool>() { Some(item.is_truthy()?) } else { None })
}

/// An integer: an int, what has `__index__`, or the only one of a tensor.
pub fn integer(object: &Bound<'_, PyAny>) -> Option<isize> {
    // An exception that nobody sees takes longer than most operations.
    if object.is_instance_of::<PyFloat>() || object.is_instance_of::<PyTuple>() || object.is_instance_of::<PyList>() {
        return None;
    }
    if let Ok(t) = object.cast::<PyTensor>() {
        let t = t.get().get();
        let is_index = t.numel() == 1 && t.dtype().category() == Category::Integer;
        return if is_index { t.item().ok().map(|s| s.as_i64() as isize) } else { None };
    }
    object.extract::<isize>().ok()
}

/// The only element, for the conversions to Python's numbers.
pub fn single(t: &Tensor) -> PyResult<Scalar> {
    if t.numel() != 1 {
        return Err(PyValueError::new_err("only one element tensors can be converted to Python scalars"));
    }
    ok(guarded("item", || t.item()))
}

/// True for sizes as a tensor has them.
pub fn is_size(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    object.is_instance(size_class(object.py())?)
}

/// `ferrograd.Size`
pub fn size_class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class =
        CLASS.get_or_try_init(py, || Ok::<_, PyErr>(py.import("ferrograd._size")?.getattr("Size")?.unbind()))?;
    Ok(class.bind(py))
}

/// A new object of Python's.
///
/// # Safety
/// `object` is one that belongs to the caller, or null where Python has raised an exception.
unsafe fn made(py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<Py<PyAny>> {
    // SAFETY: as the caller says.
    unsafe { Bound::from_owned_ptr_or_err(py, object) }.map(Bound::unbind)
}

/// An item of a list or tuple is put in its place.
type SetItem = unsafe extern "C" fn(*mut ffi::PyObject, ffi::Py_ssize_t, *mut ffi::PyObject) -> std::ffi::c_int;

/// A new list or tuple with its items in their places.
///
/// # Safety
/// `new` is one with places for the items that nobody else has, or null with an exception; `set` gives one of them away to it.
unsafe fn with_items(
    py: Python<'_>,
    new: *mut ffi::PyObject,
    set: SetItem,
    items: impl Iterator<Item = PyResult<Py<PyAny>>>,
) -> PyResult<Py<PyAny>> {
    // SAFETY: as the caller says.
    unsafe {
        let all = made(py, new)?;
        for (n, item) in items.enumerate() {
            set(all.as_ptr(), n as ffi::Py_ssize_t, item?.into_ptr());
        }
        Ok(all)
    }
}

/// A list of objects: where there is no memory for one, Python's exception.
pub fn list(py: Python<'_>, items: impl ExactSizeIterator<Item = PyResult<Py<PyAny>>>) -> PyResult<Py<PyAny>> {
    // SAFETY: the new list has a place for each item, and takes it over.
    unsafe { with_items(py, ffi::PyList_New(items.len() as ffi::Py_ssize_t), ffi::PyList_SetItem, items) }
}

/// As [`list`], a tuple.
pub fn tuple(py: Python<'_>, items: impl ExactSizeIterator<Item = PyResult<Py<PyAny>>>) -> PyResult<Py<PyAny>> {
    // SAFETY: as in `list`.
    unsafe { with_items(py, ffi::PyTuple_New(items.len() as ffi::Py_ssize_t), ffi::PyTuple_SetItem, items) }
}

/// A text, for which there may be no memory.
pub fn text(py: Python<'_>, text: &str) -> PyResult<Py<PyAny>> {
    // SAFETY: the bytes are those of the text.
    unsafe { made(py, ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), text.len() as ffi::Py_ssize_t)) }
}

/// Bytes, for which there may be no memory.
pub fn bytes(py: Python<'_>, bytes: &[u8]) -> PyResult<Py<PyAny>> {
    // SAFETY: the slice has so many bytes.
    unsafe { made(py, ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), bytes.len() as ffi::Py_ssize_t)) }
}

/// A number as Python has it.
pub fn to_python(py: Python<'_>, value: Scalar) -> PyResult<Py<PyAny>> {
    // Not as PyO3 makes them, which takes it that there is memory.
    // SAFETY: these give new objects, or null and an exception.
    unsafe {
        match value {
            Scalar::Bool(b) => Ok(PyBool::new(py, b).to_owned().into_any().unbind()),
            Scalar::Int(i) => made(py, ffi::PyLong_FromLongLong(i)),
            Scalar::Unsigned(u) => made(py, ffi::PyLong_FromUnsignedLongLong(u)),
            Scalar::Float(x) => made(py, ffi::PyFloat_FromDouble(x)),
        }
    }
}

/// Nested lists of a tensor's numbers.
pub fn to_list(py: Python<'_>, t: &Tensor) -> PyResult<Py<PyAny>> {
    let numbers = ok(guarded("tolist", || check_depth("tolist", t).and_then(|()| t.to_scalars())))?;
    nested(py, t.shape(), &mut numbers.into_iter())
}

fn nested(py: Python<'_>, shape: &[usize], numbers: &mut impl Iterator<Item = Scalar>) -> PyResult<Py<PyAny>> {
    let mut number = || to_python(py, numbers.next().unwrap_or(Scalar::Int(0)));
    match shape {
        [] => number(),
        [size] => list(py, (0..*size).map(|_| number())),
        [size, rest @ ..] => list(py, (0..*size).map(|_| nested(py, rest, numbers))),
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

impl Other<'_> {
    /// The operand as the core has it.
    #[inline]
    pub fn as_operand(&self) -> Operand<'_> {
        match self {
            Other::Tensor(t) => Operand::Tensor(t.get().get()),
            Other::Made(t) => Operand::Tensor(t),
            Other::Number(n) => Operand::Number(*n),
        }
    }
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
    Ok(super::numpy::operand(object)?.map(Other::Made))
}

/// A tensor made of an array as an operand: a copy where the operation is recorded, since backward may read it.
pub fn operand(array: Tensor, is_recorded: impl FnOnce() -> bool) -> PyResult<Tensor> {
    if is_grad_enabled() && is_recorded() { ok(guarded("clone", || copy::clone(&array))) } else { Ok(array) }
}

/// A result of the core as Python's.
pub fn ok<T>(result: Result<T>) -> PyResult<T> {
    result.map_err(PyErr::from)
}
