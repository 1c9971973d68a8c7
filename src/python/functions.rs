//! Functions and methods made from the table of operations: CPython calls a small function of its own for each entry,
//! which knows the entry's number.

use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyModule, PyString, PyTuple, PyType};
use smallvec::SmallVec;

use super::arguments::{Given, bind};
use super::error::from_panic;
use super::signature::{Entry, Kind, entries};
use super::tensor;
use crate::ops::{Arguments, Output};

type FastCall = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    ffi::Py_ssize_t,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// The function of entry `N`, called with a receiver where `METHOD`.
unsafe extern "C" fn enter<const N: usize, const METHOD: bool>(
    receiver: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let entry = &entries()[N];
    Python::attach(|py| {
        // SAFETY: CPython hands over a valid receiver, arguments and names.
        let call = || unsafe { run(py, entry, METHOD.then_some(receiver), arguments, count as usize, names) };
        let result = catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|p| Err(from_panic(entry.operation.name, p)));
        match result {
            Ok(object) => object.into_ptr(),
            Err(error) => {
                error.restore(py);
                std::ptr::null_mut()
            }
        }
    })
}

unsafe fn run(
    py: Python<'_>,
    entry: &'static Entry,
    receiver: Option<*mut ffi::PyObject>,
    arguments: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> PyResult<Py<PyAny>> {
    // SAFETY: the caller gives valid objects, which outlive the call.
    let (receiver, positional, named) = unsafe {
        let object = |i: usize| Borrowed::from_ptr(py, *arguments.add(i));
        let positional: SmallVec<[Borrowed<PyAny>; 4]> = (0..count).map(object).collect();
        let mut named: SmallVec<[(String, Borrowed<PyAny>); 2]> = SmallVec::new();
        if !names.is_null() {
            let tuple = Borrowed::from_ptr(py, names).cast_unchecked::<PyTuple>();
            for (i, name) in tuple.iter().enumerate() {
                named.push((name.cast::<PyString>()?.to_string(), object(count + i)));
            }
        }
        (receiver.map(|r| Borrowed::from_ptr(py, r)), positional, named)
    };
    let (signature, values) = bind(entry, &Given { receiver, positional: &positional, named: &named })?;
    let operation = entry.operation;
    let in_place = operation.name.ends_with('_');
    let output = (operation.call)(signature, &Arguments { op: operation.name, values: &values })?;
    if in_place && let Some(receiver) = receiver {
        return Ok(receiver.to_owned().unbind());
    }
    to_python(py, output)
}

/// A result as Python's object.
fn to_python(py: Python<'_>, output: Output) -> PyResult<Py<PyAny>> {
    match output {
        Output::Tensor(t) => tensor::wrap(py, t),
        Output::Pair(name, [values, indices]) => {
            let class = py.import("ferrograd.return_types")?.getattr(name)?;
            Ok(class.call1((tensor::wrap(py, values)?, tensor::wrap(py, indices)?))?.unbind())
        }
        Output::Tensors(all) => {
            let all = all.into_iter().map(|t| tensor::wrap(py, t)).collect::<PyResult<Vec<_>>>()?;
            Ok(PyTuple::new(py, all)?.into_any().unbind())
        }
    }
}

macro_rules! table {
    ($method:literal: $($high:literal)*) => {
        [$(
            enter::<{ $high * 8 }, $method>, enter::<{ $high * 8 + 1 }, $method>, enter::<{ $high * 8 + 2 }, $method>,
            enter::<{ $high * 8 + 3 }, $method>, enter::<{ $high * 8 + 4 }, $method>, enter::<{ $high * 8 + 5 }, $method>,
            enter::<{ $high * 8 + 6 }, $method>, enter::<{ $high * 8 + 7 }, $method>,
        )*]
    };
}

/// Room for 256 operations; `install` refuses more.
const FUNCTIONS: [FastCall; 256] =
    table!(false: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
const METHODS: [FastCall; 256] =
    table!(true: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);

/// Operations that torch has only as methods.
const METHOD_ONLY: [&str; 8] = ["to", "view", "expand", "contiguous", "copy_", "fill_", "zero_", "narrow_"];
/// Operations that torch has only as functions, beside those that make tensors from nothing.
const FUNCTION_ONLY: [&str; 7] =
    ["rsub", "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like"];

/// Whether the entry is a method: its first parameter is the tensor itself.
pub fn is_method(entry: &Entry) -> bool {
    let first = entry.signatures.first().and_then(|s| s.parameters.first());
    first.is_some_and(|p| p.kind == Kind::Tensor && p.name == "self") && !FUNCTION_ONLY.contains(&entry.operation.name)
}

/// Whether the entry is a function of the module.
pub fn is_function(entry: &Entry) -> bool {
    let name = entry.operation.name;
    !METHOD_ONLY.contains(&name) && (!name.ends_with('_') || name.ends_with("__"))
        || matches!(
            name,
            "relu_"
                | "exp_"
                | "sigmoid_"
                | "tanh_"
                | "clamp_"
                | "sin_"
                | "cos_"
                | "sqrt_"
                | "log_"
                | "neg_"
                | "abs_"
                | "square_"
        )
}

fn definition(entry: &Entry, function: FastCall) -> PyResult<*mut ffi::PyMethodDef> {
    let leak = |text: String| CString::new(text).map(|c| c.into_raw().cast_const());
    let doc = format!("{}\n\n{}", entry.operation.signatures.join("\n"), entry.operation.doc);
    Ok(Box::into_raw(Box::new(ffi::PyMethodDef {
        ml_name: leak(entry.operation.name.into())?,
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: function },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: leak(doc)?,
    })))
}

/// Adds the functions to the module and the methods to the tensor's class.
pub fn install(module: &Bound<'_, PyModule>, class: &Bound<'_, PyType>) -> PyResult<()> {
    let py = module.py();
    if entries().len() > FUNCTIONS.len() {
        return Err(pyo3::exceptions::PyImportError::new_err("more operations than entry points"));
    }
    for (n, entry) in entries().iter().enumerate() {
        // SAFETY: the definitions live as long as the process, as CPython wants them to.
        unsafe {
            if is_function(entry) {
                let name = PyString::new(py, "ferrograd");
                let raw = ffi::PyCFunction_NewEx(definition(entry, FUNCTIONS[n])?, std::ptr::null_mut(), name.as_ptr());
                module.add(entry.operation.name, Bound::from_owned_ptr_or_err(py, raw)?)?;
            }
            if is_method(entry) {
                let raw = ffi::PyDescr_NewMethod(class.as_type_ptr(), definition(entry, METHODS[n])?);
                class.setattr(entry.operation.name, Bound::from_owned_ptr_or_err(py, raw)?)?;
            }
        }
    }
    Ok(())
}
