//! Python's operators on tensors.
#![allow(unsafe_op_in_unsafe_fn, reason = "what PyO3 makes of methods in a macro")]

use pyo3::basic::CompareOp;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use super::convert::{self, Other, ok};
use super::tensor::{PyTensor, wrap};
use crate::ops::formula::{Operand, Pointwise};
use crate::ops::{arithmetic, compare, contract, pointwise, unary};
use crate::tensor::dtype::DType;
use crate::tensor::scalar::Scalar;

fn not_implemented(py: Python<'_>) -> Py<PyAny> {
    py.NotImplemented()
}

/// An element-wise operation of a tensor and what stands beside it; `swapped` where the tensor is on the right.
#[inline]
fn binary(
    slf: &Bound<'_, PyTensor>,
    other: &Bound<'_, PyAny>,
    spec: &'static Pointwise,
    swapped: bool,
) -> PyResult<Py<PyAny>> {
    let py = slf.py();
    let Some(other) = convert::other(other)? else { return Ok(not_implemented(py)) };
    let a = Operand::Tensor(slf.get().get());
    let b = match &other {
        Other::Tensor(t) => Operand::Tensor(t.get().get()),
        Other::Made(t) => Operand::Tensor(t),
        Other::Number(n) => Operand::Number(*n),
    };
    let operands = if swapped { [b, a] } else { [a, b] };
    wrap(py, ok(pointwise::apply(spec, &operands))?)
}

/// An element-wise operation into the tensor.
fn in_place<'py>(
    slf: &Bound<'py, PyTensor>,
    other: &Bound<'py, PyAny>,
    spec: &'static Pointwise,
    name: &'static str,
) -> PyResult<()> {
    let target = slf.get().get().clone();
    let operand = convert::other(other)?;
    let b = match &operand {
        Some(Other::Tensor(t)) => Operand::Tensor(t.get().get()),
        Some(Other::Made(t)) => Operand::Tensor(t),
        Some(Other::Number(n)) => Operand::Number(*n),
        None => {
            let given = other.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "{name}(): argument 'other' must be Tensor or Number, not {given}"
            )));
        }
    };
    ok(pointwise::apply_in_place(spec, name, &[Operand::Tensor(&target), b]))?;
    Ok(())
}

macro_rules! binary_methods {
    ($($name:ident $reflected:ident $in_place:ident: $spec:path, $in_place_name:literal;)*) => {
        #[pymethods]
        impl PyTensor {
            $(
                fn $name(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
                    binary(slf, other, <$spec>::spec(), false)
                }
                fn $reflected(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
                    binary(slf, other, <$spec>::spec(), true)
                }
                fn $in_place(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<()> {
                    in_place(slf, other, <$spec>::spec(), $in_place_name)
                }
            )*

            fn __pow__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>, _modulo: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
                if let Some(Scalar::Int(2)) = convert::number(other)? {
                    return wrap(slf.py(), ok(arithmetic::square(slf.get().get()))?);
                }
                binary(slf, other, arithmetic::Pow::spec(), false)
            }
            fn __rpow__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>, _modulo: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
                binary(slf, other, arithmetic::Pow::spec(), true)
            }
            fn __ipow__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>, _modulo: &Bound<'_, PyAny>) -> PyResult<()> {
                in_place(slf, other, arithmetic::Pow::spec(), "pow_")
            }
        }
    };
}

binary_methods! {
    __add__ __radd__ __iadd__: arithmetic::Add, "add_";
    __sub__ __rsub__ __isub__: arithmetic::Sub, "sub_";
    __mul__ __rmul__ __imul__: arithmetic::Mul, "mul_";
    __truediv__ __rtruediv__ __itruediv__: arithmetic::Div, "div_";
    __floordiv__ __rfloordiv__ __ifloordiv__: arithmetic::FloorDivide, "floor_divide_";
    __mod__ __rmod__ __imod__: arithmetic::Remainder, "remainder_";
}

#[pymethods]
impl PyTensor {
    fn __matmul__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        match convert::other(other)? {
            Some(Other::Tensor(t)) => wrap(slf.py(), ok(contract::matmul(slf.get().get(), t.get().get()))?),
            Some(Other::Made(t)) => wrap(slf.py(), ok(contract::matmul(slf.get().get(), &t))?),
            _ => Ok(not_implemented(slf.py())),
        }
    }

    fn __rmatmul__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        match convert::other(other)? {
            Some(Other::Made(t)) => wrap(slf.py(), ok(contract::matmul(&t, slf.get().get()))?),
            _ => Ok(not_implemented(slf.py())),
        }
    }

    fn __neg__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        wrap(slf.py(), ok(arithmetic::neg(slf.get().get()))?)
    }

    fn __pos__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __abs__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        wrap(slf.py(), ok(unary::abs(slf.get().get()))?)
    }

    fn __invert__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let t = slf.get().get();
        if t.dtype() != DType::Bool {
            let what = format!("bitwise not of {}; it", t.dtype());
            return Err(crate::Error::NotImplemented { op: "bitwise_not", what }.into());
        }
        wrap(slf.py(), ok(compare::logical_not(t))?)
    }

    fn __richcmp__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>, op: CompareOp) -> PyResult<Py<PyAny>> {
        let spec = match op {
            CompareOp::Eq => compare::Eq::spec(),
            CompareOp::Ne => compare::Ne::spec(),
            CompareOp::Lt => compare::Lt::spec(),
            CompareOp::Le => compare::Le::spec(),
            CompareOp::Gt => compare::Gt::spec(),
            CompareOp::Ge => compare::Ge::spec(),
        };
        binary(slf, other, spec, false)
    }
}
