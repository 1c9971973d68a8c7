//! Functions and methods made from the table of operations: CPython calls a small function of its own for each entry,
//! which knows the entry's number.

use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule, PyString, PyTuple, PyType};
use smallvec::SmallVec;

use super::arguments::{Given, Values, bind};
use super::convert::{self, ok};
use super::error::from_panic;
use super::out;
use super::profiler;
use super::signature::{Entry, entries};
use super::tensor::{self, PyTensor};
use super::watch;
use crate::kernels::parallel::{Ending, Ends};
use crate::memory::reserve;
use crate::ops::registry::Home;
use crate::ops::{Arguments, Output, Value, batch};

type FastCall = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    ffi::Py_ssize_t,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// The function of entry `N`, called with a receiver where `METHOD`.
///
/// # Safety
/// CPython calls it, as a function or method with these flags: the receiver, `count` arguments and those behind them that
/// the tuple `names` names are alive.
unsafe extern "C" fn enter<const N: usize, const METHOD: bool>(
    receiver: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython hands over a valid receiver, arguments and names.
    unsafe { call(N, METHOD.then_some(receiver), arguments, count as usize, names) }
}

/// Runs entry `n`; an error or a panic becomes Python's exception.
///
/// # Safety
/// As [`enter`].
unsafe fn call(
    n: usize,
    receiver: Option<*mut ffi::PyObject>,
    arguments: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let entry = &entries()[n];
    Python::attach(|py| {
        // SAFETY: the objects are those of `enter`.
        let run = || unsafe { run(py, entry, receiver, arguments, count, names) };
        // SAFETY: the objects are those of `enter`.
        let given = || unsafe { given(py, receiver, arguments, count, names) };
        let call = || if watch::is_on() { watch::call(py, entry.operation, given, run) } else { run() };
        let _mode = Ending::set(Ends::interrupted());
        let result =
            catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|p| Err(from_panic(entry.operation.name, p).into()));
        match result {
            Ok(object) => object.into_ptr(),
            Err(error) => {
                error.restore(py);
                std::ptr::null_mut()
            }
        }
    })
}

/// The arguments of a call by position and by name, the receiver first.
///
/// # Safety
/// As [`enter`].
unsafe fn given<'py>(
    py: Python<'py>,
    receiver: Option<*mut ffi::PyObject>,
    arguments: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
    let kwargs = PyDict::new(py);
    // SAFETY: the caller gives valid objects, which outlive the call.
    unsafe {
        let object = |i: usize| Borrowed::from_ptr(py, *arguments.add(i)).to_owned();
        let receiver = receiver.map(|r| Borrowed::from_ptr(py, r).to_owned());
        if !names.is_null() {
            let tuple = Borrowed::from_ptr(py, names).cast_unchecked::<PyTuple>();
            for (i, name) in tuple.iter().enumerate() {
                kwargs.set_item(name, object(count + i))?;
            }
        }
        let args: Vec<_> = receiver.into_iter().chain((0..count).map(object)).collect();
        Ok((PyTuple::new(py, args)?, kwargs))
    }
}

/// # Safety
/// As [`enter`].
unsafe fn run(
    py: Python<'_>,
    entry: &'static Entry,
    receiver: Option<*mut ffi::PyObject>,
    arguments: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> PyResult<Py<PyAny>> {
    let operation = entry.operation;
    reserve::check(operation.name)?;
    let in_place = operation.name.ends_with('_');
    // SAFETY: the caller gives valid objects, which outlive the call.
    let (receiver, positional, named, out) = unsafe {
        let object = |i: usize| Borrowed::from_ptr(py, *arguments.add(i));
        let positional: SmallVec<[Borrowed<PyAny>; 4]> = (0..count).map(object).collect();
        let mut named: SmallVec<[(String, Borrowed<PyAny>); 2]> = SmallVec::new();
        let mut out = None;
        if !names.is_null() {
            let tuple = Borrowed::from_ptr(py, names).cast_unchecked::<PyTuple>();
            for (i, name) in tuple.iter().enumerate() {
                match name.cast::<PyString>()?.to_string() {
                    // Methods write into nothing but themselves.
                    name if name == "out" && !in_place && receiver.is_none() => {
                        out = Some(object(count + i)).filter(|o| !o.is_none())
                    }
                    name => named.push((name, object(count + i))),
                }
            }
        }
        (receiver.map(|r| Borrowed::from_ptr(py, r)), positional, named, out)
    };
    let mut values = Values::new();
    let signature = bind(entry, &Given { receiver, positional: &positional, named: &named }, &mut values)?;
    for value in &values {
        match value {
            Value::Tensor(t) => ok(batch::refuse_escaped(operation.name, t))?,
            Value::Tensors(all) => all.iter().try_for_each(|t| ok(batch::refuse_escaped(operation.name, t)))?,
            _ => {}
        }
    }
    if let Some(out) = &out {
        out::take_dtype(operation, &entry.signatures[signature], &mut values, out);
        out::refuse_gradients(operation.name, &values, out)?;
        out::refuse_overlap(operation, &values, out)?;
    }
    let call = || operation.run(signature, &Arguments { op: operation.name, values: &values });
    let run = || call().map_err(|e| e.of(operation.name));
    let output = profiler::called(operation.name, &values, run)?;
    let class = entry.signatures[signature].names_results.then_some(operation.name);
    if let Some(out) = out {
        return out::fill(operation, &out, output, class);
    }
    if let (Output::Instead(new), [Value::Tensor(old), ..]) = (&output, &values[..]) {
        let object = tensor::wrap(py, old.clone())?;
        PyTensor::replace(object.bind(py).cast()?, new.clone());
        return Ok(object);
    }
    if in_place && let Some(receiver) = receiver {
        return Ok(receiver.to_owned().unbind());
    }
    reserve::check(operation.name)?;
    to_python(py, output, class)
}

/// Several results as a tuple with names, where the operation gives them any: `class` is its name.
pub fn named(py: Python<'_>, class: Option<&str>, all: Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    match class {
        Some(name) => Ok(py.import("ferrograd.return_types")?.getattr(name)?.call1((all,))?.unbind()),
        None => Ok(all.unbind()),
    }
}

/// A result as Python's object; `class` is the operation's name where its results have names.
fn to_python(py: Python<'_>, output: Output, class: Option<&str>) -> PyResult<Py<PyAny>> {
    match output {
        Output::Tensor(t) | Output::Instead(t) => tensor::wrap(py, t),
        Output::Tensors(all) => {
            let all = convert::tuple(py, all.into_iter().map(|t| tensor::wrap(py, t)))?;
            named(py, class, all.into_bound(py))
        }
    }
}

/// The functions of entries 32 `high` to 32 `high` + 31, for each `high`.
macro_rules! table {
    ($method:literal: $($high:literal)*) => {
        [$(table!(@row $method, $high:
            0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31)),*]
    };
    (@row $method:literal, $high:literal: $($low:literal)*) => {
        [$(enter::<{ $high * 32 + $low }, $method>),*]
    };
}

/// Room for 1024 operations; `install` refuses more.
type Table = [[FastCall; 32]; 32];
const FUNCTIONS: Table =
    table!(false: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
const METHODS: Table =
    table!(true: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);

/// What CPython knows of a function under one of its names. It lives as long as the process.
fn definition(entry: &Entry, name: &str, function: FastCall) -> PyResult<*mut ffi::PyMethodDef> {
    let leak = |text: String| CString::new(text).map(|c| c.into_raw().cast_const());
    let doc = format!("{}\n\n{}", entry.operation.signatures.join("\n"), entry.operation.doc);
    Ok(Box::into_raw(Box::new(ffi::PyMethodDef {
        ml_name: leak(name.into())?,
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: function },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: leak(doc)?,
    })))
}

/// Adds the functions to the module (those of other homes to its modules `_nn`, `_special` and `_linalg`) and the methods to the
/// tensor's class, each under all of its names.
pub fn install(module: &Bound<'_, PyModule>, class: &Bound<'_, PyType>) -> PyResult<()> {
    let py = module.py();
    if entries().len() > FUNCTIONS.as_flattened().len() {
        return Err(pyo3::exceptions::PyImportError::new_err("more operations than entry points"));
    }
    let (nn, special) = (PyModule::new(py, "_nn")?, PyModule::new(py, "_special")?);
    let linalg = PyModule::new(py, "_linalg")?;
    let package = PyString::new(py, "ferrograd");
    for (n, entry) in entries().iter().enumerate() {
        let operation = entry.operation;
        let home = match operation.home() {
            Home::Nn => &nn,
            Home::Special => &special,
            Home::Linalg => &linalg,
            Home::Package | Home::Tensor => module,
        };
        for &name in std::iter::once(&operation.name).chain(operation.aliases) {
            let guest = |prefix, place| name.strip_prefix(prefix).map(|name| (place, name));
            let elsewhere =
                guest("package.", module).or_else(|| guest("nn.", &nn)).or_else(|| guest("special.", &special));
            let (home, name) = elsewhere.unwrap_or((home, name));
            // SAFETY: the definitions live as long as the process, as CPython wants them to.
            unsafe {
                if operation.is_function() || elsewhere.is_some() {
                    let definition = definition(entry, name, FUNCTIONS.as_flattened()[n])?;
                    let raw = ffi::PyCFunction_NewEx(definition, std::ptr::null_mut(), package.as_ptr());
                    home.add(name, Bound::from_owned_ptr_or_err(py, raw)?)?;
                }
                if operation.is_method() && elsewhere.is_none() {
                    let definition = definition(entry, name, METHODS.as_flattened()[n])?;
                    let raw = ffi::PyDescr_NewMethod(class.as_type_ptr(), definition);
                    class.setattr(name, Bound::from_owned_ptr_or_err(py, raw)?)?;
                }
            }
        }
    }
    module.add_submodule(&nn)?;
    module.add_submodule(&special)?;
    module.add_submodule(&linalg)
}
