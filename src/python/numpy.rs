//! NumPy's arrays, by the array interface (version 3) that they publish: shared memory without a copy, and no NumPy until
//! somebody brings an array.

use std::ptr::NonNull;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PySlice, PyTuple};

use super::error::guarded;
use crate::tensor::Tensor;
use crate::tensor::dtype::{Category, DType};
use crate::tensor::layout::{Layout, Shape, Strides};
use crate::tensor::storage::{Buffer, Storage, Versioning};

/// True for NumPy's arrays and whatever else publishes its memory as they do.
pub fn is_array(object: &Bound<'_, PyAny>) -> bool {
    // An attribute that is not there costs an exception, which is made and thrown away.
    let is_number = object.is_exact_instance_of::<PyInt>() || object.is_exact_instance_of::<PyFloat>();
    !is_number && !object.is_exact_instance_of::<PySlice>() && object.hasattr("__array_interface__").unwrap_or(false)
}

/// NumPy's letter for what the elements of an array, or a number of its own, are.
pub fn kind(object: &Bound<'_, PyAny>) -> PyResult<char> {
    object.getattr("dtype")?.getattr("kind")?.extract()
}

/// True for the kinds of truth values, integers and numbers with a fraction, of any size.
pub fn is_numeric(kind: char) -> bool {
    matches!(kind, 'b' | 'i' | 'u' | 'f' | 'c')
}

/// What an array interface says of the elements.
fn type_text(interface: &Bound<'_, PyAny>) -> PyResult<String> {
    interface.get_item("typestr")?.extract()
}

/// True for NumPy's own arrays and arrays of their subclasses.
pub fn is_ndarray(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(is_array(object) && object.is_instance(&object.py().import("numpy")?.getattr("ndarray")?)?)
}

/// The dtype of a number of NumPy's; none for what is no such number.
pub fn scalar_dtype(object: &Bound<'_, PyAny>) -> Option<DType> {
    let is_python = object.is_exact_instance_of::<PyFloat>() || object.is_exact_instance_of::<PyInt>();
    if is_python || object.is_exact_instance_of::<PyBool>() {
        return None;
    }
    dtype(&type_text(&object.getattr("__array_interface__").ok()?).ok()?)
}

const NATIVE: char = if cfg!(target_endian = "little") { '<' } else { '>' };

/// The dtype of a type string such as `<f4`; those without a letter for the order of bytes have one byte.
fn dtype(text: &str) -> Option<DType> {
    DType::supported().find(|&d| type_string(d).is_some_and(|own| own == text))
}

/// NumPy's name of a dtype, if it has one.
fn type_string(dtype: DType) -> Option<String> {
    let order = if dtype.size() == 1 { '|' } else { NATIVE };
    let kind = match dtype.category() {
        _ if dtype == DType::BF16 => return None,
        Category::Bool => 'b',
        Category::Integer if dtype.is_signed() => 'i',
        Category::Integer => 'u',
        Category::Float => 'f',
        Category::Complex => 'c',
    };
    Some(format!("{order}{kind}{}", dtype.size()))
}

/// The error for elements that no tensor has.
fn unsupported(object: &Bound<'_, PyAny>, text: &str) -> PyErr {
    let given = object.getattr("dtype").and_then(|d| d.getattr("type")?.getattr("__name__")?.extract::<String>());
    let names: Vec<&str> = DType::supported().filter(|&d| type_string(d).is_some()).map(DType::name).collect();
    PyTypeError::new_err(format!(
        "can't convert np.ndarray of type {}. The only supported types are: {}.",
        given.map_or(text.into(), |name| format!("numpy.{name}")),
        names.join(", ")
    ))
}

/// Why no tensor has such steps, in bytes, if none has.
fn odd(strides: &[isize], size: usize) -> Option<&'static str> {
    if strides.iter().any(|&b| b < 0) {
        return Some(
            "At least one stride in the given numpy array is negative, and tensors with negative strides are not currently supported. (You can probably work around this by making a copy of your array with array.copy().)",
        );
    }
    let uneven = strides.iter().any(|b| b % size as isize != 0);
    uneven.then_some(
        "given numpy array strides not a multiple of the element byte size. Copy the numpy array to reallocate the memory.",
    )
}

/// A tensor on an array's memory; with `copy_odd`, arrays whose strides no tensor has are copied first.
pub fn from_array(object: &Bound<'_, PyAny>, copy_odd: bool) -> PyResult<Tensor> {
    described(object, &object.getattr("__array_interface__")?, copy_odd)
}

/// A tensor on the memory of an array that can stand beside a tensor, copied where its strides are those of none: one of numbers.
pub fn operand(object: &Bound<'_, PyAny>) -> PyResult<Option<Tensor>> {
    let Ok(Some(interface)) = object.getattr_opt("__array_interface__") else { return Ok(None) };
    match type_text(&interface) {
        Ok(text) if text.chars().nth(1).is_some_and(is_numeric) => described(object, &interface, true).map(Some),
        _ => Ok(None),
    }
}

/// As [`from_array`], of an array by its interface.
fn described(object: &Bound<'_, PyAny>, interface: &Bound<'_, PyAny>, copy_odd: bool) -> PyResult<Tensor> {
    let interface = interface.cast::<PyDict>()?;
    let field = |name: &str| {
        interface.get_item(name)?.ok_or_else(|| PyTypeError::new_err(format!("array interface without {name}")))
    };
    let text: String = field("typestr")?.extract()?;
    if text.starts_with(['<', '>']) && !text.starts_with(NATIVE) {
        return Err(PyValueError::new_err(
            "given numpy array has byte order different from the native byte order. Conversion between byte orders is currently not supported.",
        ));
    }
    let dtype = dtype(&text).ok_or_else(|| unsupported(object, &text))?;
    let shape: Vec<usize> = field("shape")?.extract()?;
    let (address, read_only): (usize, bool) = field("data")?.extract()?;
    let size = dtype.size();
    // The interface leaves out those of arrays without gaps; the array has them also where nothing is read by them.
    let strides = interface.get_item("strides")?.filter(|s| !s.is_none()).or_else(|| object.getattr("strides").ok());
    let strides: Strides = match strides.and_then(|s| s.extract::<Vec<isize>>().ok()) {
        None => crate::tensor::layout::contiguous_strides(&shape),
        Some(bytes) => {
            if let Some(why) = odd(&bytes, size) {
                return if copy_odd {
                    from_array(&object.call_method0("copy")?, false)
                } else {
                    Err(PyValueError::new_err(why))
                };
            }
            bytes.iter().map(|b| b / size as isize).collect()
        }
    };
    if !address.is_multiple_of(size) && shape.iter().all(|&n| n > 0) {
        return if copy_odd {
            from_array(&object.call_method0("copy")?, false)
        } else {
            Err(PyValueError::new_err("given numpy array is not aligned to its elements. Copy it with array.copy()."))
        };
    }
    let layout = Layout { shape: Shape::from_slice(&shape), strides, offset: 0 };
    let bytes = layout.end() * size;
    let data = NonNull::new(std::ptr::with_exposed_provenance_mut::<u8>(address)).unwrap_or(NonNull::dangling());
    // SAFETY: the interface promises memory of this layout as long as the object lives, and the storage keeps it alive.
    let storage = unsafe { Buffer::external(data, bytes, Box::new(object.clone().unbind()), read_only) };
    Ok(Tensor::new(storage, layout, dtype, Versioning::fresh()))
}

/// What NumPy makes an array of: it keeps the memory alive.
#[pyclass(frozen, module = "ferrograd")]
struct Memory {
    _storage: Storage,
    interface: Py<PyDict>,
}

#[pymethods]
impl Memory {
    #[getter]
    fn __array_interface__(&self, py: Python<'_>) -> Py<PyDict> {
        self.interface.clone_ref(py)
    }
}

/// A NumPy array on the tensor's memory.
pub fn to_array<'py>(py: Python<'py>, t: &Tensor) -> PyResult<Bound<'py, PyAny>> {
    let size = t.dtype().size();
    let text = type_string(t.dtype()).ok_or_else(|| {
        PyTypeError::new_err(format!("Got unsupported ScalarType {}: NumPy has no such type", t.dtype()))
    })?;
    // As in torch, an array without elements has no strides.
    let step = if t.numel() == 0 { 0 } else { size as isize };
    let strides: Vec<isize> = t.strides().iter().map(|s| s.wrapping_mul(step)).collect();
    let interface = PyDict::new(py);
    interface.set_item("version", 3)?;
    interface.set_item("shape", PyTuple::new(py, t.shape())?)?;
    interface.set_item("strides", PyTuple::new(py, strides)?)?;
    interface.set_item("typestr", text)?;
    interface.set_item("data", (guarded("numpy", || t.expose())?.expose_provenance(), t.storage().is_read_only()))?;
    let memory = Memory { _storage: t.storage().clone(), interface: interface.unbind() };
    py.import("numpy")?.call_method1("asarray", (Py::new(py, memory)?,))
}
