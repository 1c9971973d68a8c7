//! NumPy's arrays, by the array interface (version 3) that they publish: shared memory without a copy, and no NumPy until
//! somebody brings an array.

use std::ptr::NonNull;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::{Layout, Shape, Strides};
use crate::tensor::storage::{Buffer, Storage, Versioning};

/// True for NumPy's arrays and whatever else publishes its memory as they do.
pub fn is_array(object: &Bound<'_, PyAny>) -> bool {
    object.hasattr("__array_interface__").unwrap_or(false)
}

/// The dtype of a type string such as `<f4`.
fn dtype(text: &str) -> Option<DType> {
    let native = if cfg!(target_endian = "little") { '<' } else { '>' };
    let (order, kind) = text.split_at_checked(1)?;
    let known = match kind {
        "b1" => DType::Bool,
        "u1" => DType::U8,
        "i1" => DType::I8,
        "i2" => DType::I16,
        "i4" => DType::I32,
        "i8" => DType::I64,
        "f2" => DType::F16,
        "f4" => DType::F32,
        "f8" => DType::F64,
        _ => return None,
    };
    (order == "|" || order.starts_with(native)).then_some(known)
}

fn type_string(dtype: DType) -> String {
    let order = if dtype.size() == 1 {
        "|"
    } else if cfg!(target_endian = "little") {
        "<"
    } else {
        ">"
    };
    let kind = match dtype {
        DType::Bool => 'b',
        DType::U8 => 'u',
        d if d.is_floating_point() => 'f',
        _ => 'i',
    };
    format!("{order}{kind}{}", dtype.size())
}

/// A tensor on an array's memory; with `copy_odd`, arrays whose strides no tensor has are copied first.
pub fn from_array(object: &Bound<'_, PyAny>, copy_odd: bool) -> PyResult<Tensor> {
    let interface = object.getattr("__array_interface__")?;
    let interface = interface.cast::<PyDict>()?;
    let field = |name: &str| {
        interface.get_item(name)?.ok_or_else(|| PyTypeError::new_err(format!("array interface without {name}")))
    };
    let text: String = field("typestr")?.extract()?;
    let dtype = dtype(&text).filter(|d| d.is_supported()).ok_or_else(|| {
        PyTypeError::new_err(format!(
            "can't convert np.ndarray of type {}. The only supported types are: float64, float32, int64, int32, uint8, and bool.",
            object.getattr("dtype").and_then(|d| d.str()).map_or(text.clone(), |s| format!("numpy.{s}"))
        ))
    })?;
    let shape: Vec<usize> = field("shape")?.extract()?;
    let (address, read_only): (usize, bool) = field("data")?.extract()?;
    let size = dtype.size();
    let strides: Strides = match interface.get_item("strides")?.filter(|s| !s.is_none()) {
        None => crate::tensor::layout::contiguous_strides(&shape),
        Some(s) => {
            let bytes: Vec<isize> = s.extract()?;
            let odd = bytes.iter().any(|b| *b < 0 || b % size as isize != 0);
            if odd && copy_odd {
                return from_array(&object.call_method0("copy")?, false);
            }
            if odd {
                return Err(PyValueError::new_err(
                    "At least one stride in the given numpy array is negative, or is no multiple of the element's size, and tensors with such strides are not supported. (You can probably work around this by making a copy of your array with array.copy().)",
                ));
            }
            bytes.iter().map(|b| b / size as isize).collect()
        }
    };
    if !address.is_multiple_of(size) {
        return from_array(&object.call_method0("copy")?, copy_odd);
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
    let strides: Vec<isize> = t.strides().iter().map(|s| s * size as isize).collect();
    let interface = PyDict::new(py);
    interface.set_item("version", 3)?;
    interface.set_item("shape", PyTuple::new(py, t.shape())?)?;
    interface.set_item("strides", PyTuple::new(py, strides)?)?;
    interface.set_item("typestr", type_string(t.dtype()))?;
    interface.set_item("data", (t.expose()?.expose_provenance(), t.storage().is_read_only()))?;
    let memory = Memory { _storage: t.storage().clone(), interface: interface.unbind() };
    py.import("numpy")?.call_method1("asarray", (Py::new(py, memory)?,))
}
