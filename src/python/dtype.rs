//! `ferrograd.dtype`: the element types as Python objects, one each.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::arguments::{take_dtype, unlike};
use super::convert::{self, Other};
use crate::tensor::dtype::{DType, Promotion};

/// An element type.
///
/// >>> ferrograd.float32
/// torch.float32
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
    ///
    /// >>> ferrograd.int32.is_floating_point
    /// False
    #[getter]
    fn is_floating_point(&self) -> bool {
        self.0.is_floating_point()
    }

    /// True for complex64 and complex128.
    ///
    /// >>> ferrograd.float32.is_complex
    /// False
    #[getter]
    fn is_complex(&self) -> bool {
        self.0.category() == crate::tensor::dtype::Category::Complex
    }

    /// True for the types that hold negative numbers.
    ///
    /// >>> ferrograd.uint8.is_signed
    /// False
    #[getter]
    fn is_signed(&self) -> bool {
        self.0.is_signed()
    }

    /// Bytes an element takes.
    ///
    /// >>> ferrograd.float64.itemsize
    /// 8
    #[getter]
    fn itemsize(&self) -> usize {
        self.0.size()
    }
}

static OBJECTS: PyOnceLock<Vec<Py<PyDType>>> = PyOnceLock::new();

/// The one object of an element type.
pub fn object(py: Python<'_>, dtype: DType) -> PyResult<Py<PyDType>> {
    let make = || DType::all().map(|d| Py::new(py, PyDType(d))).collect::<PyResult<Vec<_>>>();
    Ok(OBJECTS.get_or_try_init(py, make)?[dtype as usize].clone_ref(py))
}

/// The type that operands of arithmetic have together: tensors with dimensions outrank those without, which outrank
/// numbers. TypeError for what is neither a tensor nor a number.
///
/// >>> ferrograd.result_type(ferrograd.tensor([1]), 2.5)
/// torch.float32
#[pyfunction]
pub fn result_type(tensor1: &Bound<'_, PyAny>, tensor2: &Bound<'_, PyAny>) -> PyResult<Py<PyDType>> {
    let mut promotion = Promotion::default();
    for (name, operand) in [("tensor1", tensor1), ("tensor2", tensor2)] {
        match convert::other(operand)? {
            Some(Other::Tensor(t)) => promotion.tensor(t.get().get().dtype(), t.get().get().rank()),
            Some(Other::Made(t)) => promotion.tensor(t.dtype(), t.rank()),
            Some(Other::Number(n)) => promotion.number(n.dtype()),
            None => {
                return Err(unlike("result_type", name, "Tensor or Number", operand));
            }
        }
    }
    object(tensor1.py(), promotion.result())
}

/// The smallest type that holds what both hold.
///
/// Raises TypeError for what is no dtype.
///
/// >>> ferrograd.promote_types(ferrograd.int32, ferrograd.float16)
/// torch.float16
#[pyfunction]
pub fn promote_types(type1: &Bound<'_, PyAny>, type2: &Bound<'_, PyAny>) -> PyResult<Py<PyDType>> {
    let one = take_dtype("promote_types", "type1", type1)?;
    object(type1.py(), one.promote(take_dtype("promote_types", "type2", type2)?))
}

/// Whether values of one type may be stored as another: not floats as integers, nor integers as truth values.
///
/// Raises TypeError for what is no dtype.
///
/// >>> ferrograd.can_cast(ferrograd.float32, ferrograd.int64)
/// False
#[pyfunction]
pub fn can_cast(from_: &Bound<'_, PyAny>, to: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(take_dtype("can_cast", "from_", from_)?.can_cast(take_dtype("can_cast", "to", to)?))
}
