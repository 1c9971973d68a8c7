//! `ferrograd.dtype`: the element types as Python objects, one each.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::tensor::dtype::DType;

/// An element type.
#[pyclass(name = "dtype", module = "ferrograd", frozen, eq, hash, from_py_object)]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PyDType(pub DType);

#[pymethods]
impl PyDType {
    fn __repr__(&self) -> String {
        format!("torch.{}", self.0.name())
    }

    fn __reduce__(&self) -> &'static str {
        self.0.name()
    }

    /// True for float16, bfloat16, float32 and float64.
    #[getter]
    fn is_floating_point(&self) -> bool {
        self.0.is_floating_point()
    }

    /// True for complex64 and complex128.
    #[getter]
    fn is_complex(&self) -> bool {
        self.0.category() == crate::tensor::dtype::Category::Complex
    }

    /// True for the types that hold negative numbers.
    #[getter]
    fn is_signed(&self) -> bool {
        self.0.is_signed()
    }

    /// Bytes an element takes.
    #[getter]
    fn itemsize(&self) -> usize {
        self.0.size()
    }
}

/// All element types with their other names.
pub const ALL: [(DType, &[&str]); 12] = [
    (DType::Bool, &[]),
    (DType::U8, &[]),
    (DType::I8, &[]),
    (DType::I16, &["short"]),
    (DType::I32, &["int"]),
    (DType::I64, &["long"]),
    (DType::F16, &["half"]),
    (DType::BF16, &[]),
    (DType::F32, &["float"]),
    (DType::F64, &["double"]),
    (DType::C64, &["cfloat"]),
    (DType::C128, &["cdouble"]),
];

static OBJECTS: PyOnceLock<Vec<Py<PyDType>>> = PyOnceLock::new();

/// The one object of an element type.
pub fn object(py: Python<'_>, dtype: DType) -> PyResult<Py<PyDType>> {
    let make = || ALL.iter().map(|(d, _)| Py::new(py, PyDType(*d))).collect::<PyResult<Vec<_>>>();
    Ok(OBJECTS.get_or_try_init(py, make)?[dtype as usize].clone_ref(py))
}
