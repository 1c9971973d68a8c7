//! Python's operators on tensors.
#![allow(unsafe_op_in_unsafe_fn, reason = "what PyO3 makes of methods in a macro")]

use pyo3::basic::CompareOp;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt};

use super::convert::{self, Other, ok};
use super::error::{guarded, of_argument};
use super::profiler::seen;
use super::tensor::{PyTensor, wrap_result};
use crate::ops::formula::{Operand, Pointwise};
use crate::ops::{arithmetic, bitwise, blend, cast, compare, contract, pointwise, unary};
use crate::tensor::Tensor;
use crate::tensor::scalar::Scalar;

fn not_implemented(py: Python<'_>) -> Py<PyAny> {
    py.NotImplemented()
}

/// What stands beside a tensor, if it can.
#[inline]
fn beside<'py>(op: &str, x: &Tensor, object: &Bound<'py, PyAny>) -> PyResult<Option<Other<'py>>> {
    let found = convert::other(object).map_err(|error| of_argument(op, error))?;
    found.map(|other| kept(other, x)).transpose()
}

/// An operand that stays as it is where the operation is recorded.
#[inline]
fn kept<'py>(other: Other<'py>, x: &Tensor) -> PyResult<Other<'py>> {
    match other {
        Other::Made(t) => Ok(Other::Made(convert::operand(t, || x.requires_grad())?)),
        other => Ok(other),
    }
}

/// What an augmented assignment has on its right, or why that cannot be read. Where it is nothing that can stand beside a tensor
/// it is not extracted, and Python goes on to ask the object itself.
struct Right<'py>(PyResult<Other<'py>>);

impl<'py> FromPyObject<'_, 'py> for Right<'py> {
    type Error = PyErr;

    #[inline]
    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let none = || PyTypeError::new_err("nothing that can stand beside a tensor");
        convert::other(&object).transpose().map(Right).ok_or_else(none)
    }
}

/// True for Python's numbers, of which there are no matrix products.
fn is_number(object: &Bound<'_, PyAny>) -> bool {
    object.is_instance_of::<PyInt>() || object.is_instance_of::<PyFloat>()
}

/// An element-wise operation of a tensor and what stands to the right of it.
#[inline]
fn binary(slf: &Bound<'_, PyTensor>, other: &Bound<'_, PyAny>, spec: &'static Pointwise) -> PyResult<Py<PyAny>> {
    let py = slf.py();
    let Some(other) = beside(spec.name, slf.get().get(), other)? else { return Ok(not_implemented(py)) };
    let operands = [Operand::Tensor(slf.get().get()), other.as_operand()];
    wrap_result(py, spec.name, ok(seen(spec.name, &operands, || pointwise::apply(spec, &operands)))?)
}

/// An element-wise operation of a tensor and what stands to the left of it: `of_number` where that is a number.
#[inline]
fn reflected(
    slf: &Bound<'_, PyTensor>,
    other: &Bound<'_, PyAny>,
    spec: &'static Pointwise,
    of_number: impl FnOnce(Scalar, &Tensor) -> crate::Result<Tensor>,
) -> PyResult<Py<PyAny>> {
    let x = slf.get().get();
    let of_tensor = |t: &Tensor| {
        let operands = [t.into(), x.into()];
        seen(spec.name, &operands, || pointwise::apply(spec, &operands))
    };
    let y = match beside(spec.name, x, other)? {
        Some(Other::Number(number)) => seen(spec.name, &[x.into()], || of_number(number, x)),
        Some(Other::Tensor(t)) => of_tensor(t.get().get()),
        Some(Other::Made(t)) => of_tensor(&t),
        None => return Ok(not_implemented(slf.py())),
    };
    wrap_result(slf.py(), spec.name, ok(y)?)
}

/// An element-wise operation into the tensor.
fn in_place(slf: &Bound<'_, PyTensor>, other: Right<'_>, spec: &'static Pointwise, name: &'static str) -> PyResult<()> {
    let target = slf.get().get().clone();
    let other = kept(other.0.map_err(|error| of_argument(name, error))?, &target)?;
    let operands = [Operand::Tensor(&target), other.as_operand()];
    ok(seen(name, &operands, || pointwise::apply_in_place(spec, name, &operands)))?;
    Ok(())
}

fn product(py: Python<'_>, a: &Tensor, b: &Tensor) -> PyResult<Py<PyAny>> {
    wrap_result(py, "matmul", ok(seen("matmul", &[a.into(), b.into()], || contract::matmul(a, b)))?)
}

/// The product of a tensor and an array, whose dtypes may differ: an array is seldom made for the tensor beside it.
fn mixed_product(py: Python<'_>, a: &Tensor, b: &Tensor) -> PyResult<Py<PyAny>> {
    let dtype = a.dtype().promote(b.dtype());
    let cast = |t: &Tensor| ok(guarded("matmul", || cast::to(t, dtype)));
    product(py, &cast(a)?, &cast(b)?)
}

macro_rules! binary_methods {
    ($($name:ident $reflected:ident $in_place:ident: $spec:path, $number:expr, $in_place_name:literal;)*) => {
        #[pymethods]
        impl PyTensor {
            $(
                fn $name(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
                    binary(slf, other, <$spec>::spec())
                }
                fn $reflected(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
                    reflected(slf, other, <$spec>::spec(), $number)
                }
                fn $in_place(slf: &Bound<'_, Self>, other: Right<'_>) -> PyResult<()> {
                    in_place(slf, other, <$spec>::spec(), $in_place_name)
                }
            )*

            fn __pow__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>, modulo: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
                if !modulo.is_none() {
                    return Ok(not_implemented(slf.py()));
                }
                binary(slf, other, arithmetic::Pow::spec())
            }
            fn __rpow__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>, modulo: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
                if !modulo.is_none() {
                    return Ok(not_implemented(slf.py()));
                }
                reflected(slf, other, arithmetic::Pow::spec(), |number, x| arithmetic::pow(number, x))
            }
            fn __ipow__(slf: &Bound<'_, Self>, other: Right<'_>, _modulo: &Bound<'_, PyAny>) -> PyResult<()> {
                in_place(slf, other, arithmetic::Pow::spec(), "pow_")
            }
        }
    };
}

binary_methods! {
    __add__ __radd__ __iadd__: arithmetic::Add, |number, x| arithmetic::add(x, number), "add_";
    __sub__ __rsub__ __isub__: arithmetic::Sub, |number, x| arithmetic::rsub(x, number), "sub_";
    __mul__ __rmul__ __imul__: arithmetic::Mul, |number, x| arithmetic::mul(x, number), "mul_";
    __truediv__ __rtruediv__ __itruediv__: arithmetic::Div, arithmetic::quotient_of, "div_";
    __floordiv__ __rfloordiv__ __ifloordiv__: arithmetic::FloorDivide,
        |number, x| arithmetic::floor_divide(number, x), "floor_divide_";
    __and__ __rand__ __iand__: bitwise::BitwiseAnd, |number, x| bitwise::bitwise_and(x, number), "bitwise_and_";
    __or__ __ror__ __ior__: bitwise::BitwiseOr, |number, x| bitwise::bitwise_or(x, number), "bitwise_or_";
    __xor__ __rxor__ __ixor__: bitwise::BitwiseXor, |number, x| bitwise::bitwise_xor(x, number), "bitwise_xor_";
    __lshift__ __rlshift__ __ilshift__: bitwise::BitwiseLeftShift,
        |number, x| bitwise::bitwise_left_shift(number, x), "bitwise_left_shift_";
    __rshift__ __rrshift__ __irshift__: bitwise::BitwiseRightShift,
        |number, x| bitwise::bitwise_right_shift(number, x), "bitwise_right_shift_";
    __mod__ __rmod__ __imod__: arithmetic::Remainder, |number, x| arithmetic::remainder(number, x), "remainder_";
}

#[pymethods]
impl PyTensor {
    fn __matmul__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        if is_number(other) {
            return Ok(not_implemented(slf.py()));
        }
        match beside("matmul", slf.get().get(), other)? {
            Some(Other::Tensor(t)) => product(slf.py(), slf.get().get(), t.get().get()),
            Some(Other::Made(t)) => mixed_product(slf.py(), slf.get().get(), &t),
            _ => Ok(not_implemented(slf.py())),
        }
    }

    fn __rmatmul__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        if is_number(other) {
            return Ok(not_implemented(slf.py()));
        }
        match beside("matmul", slf.get().get(), other)? {
            Some(Other::Made(t)) => mixed_product(slf.py(), &t, slf.get().get()),
            _ => Ok(not_implemented(slf.py())),
        }
    }

    fn __neg__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let x = slf.get().get();
        wrap_result(slf.py(), "neg", ok(seen("neg", &[x.into()], || arithmetic::neg(x)))?)
    }

    fn __pos__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let x = slf.get().get();
        wrap_result(slf.py(), "positive", ok(seen("positive", &[x.into()], || blend::positive(x)))?)
    }

    fn __abs__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let x = slf.get().get();
        wrap_result(slf.py(), "abs", ok(seen("abs", &[x.into()], || unary::abs(x)))?)
    }

    fn __invert__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let t = slf.get().get();
        if t.dtype().is_floating_point() {
            return Err(PyTypeError::new_err(
                "~ (operator.invert) is only implemented on integer and Boolean-type tensors",
            ));
        }
        wrap_result(slf.py(), "bitwise_not", ok(seen("bitwise_not", &[t.into()], || bitwise::bitwise_not(t)))?)
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
        binary(slf, other, spec)
    }
}
