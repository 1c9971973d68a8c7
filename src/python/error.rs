//! Errors as Python's exceptions, of the classes that torch raises.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::{
    PyAssertionError, PyIndexError, PyKeyboardInterrupt, PyMemoryError, PyNotImplementedError, PyOverflowError,
    PyRuntimeError, PyTypeError, PyValueError,
};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

use crate::error::{Error, HostError, Kind};
use crate::kernels::parallel::{Ending, Ends};
use crate::memory::reserve;

impl From<Error> for PyErr {
    fn from(error: Error) -> PyErr {
        if let Error::Host(host) = &error
            && let Some(exception) = host.exception::<PyErr>()
        {
            return Python::attach(|py| exception.clone_ref(py));
        }
        if error == Error::Interrupted {
            // What Python noted of it is taken, so that it is raised once.
            let raised = Python::attach(|py| py.check_signals());
            return raised.err().unwrap_or_else(|| PyKeyboardInterrupt::new_err(()));
        }
        let message = error.to_string();
        match error.kind() {
            Kind::Runtime => PyRuntimeError::new_err(message),
            Kind::Type => PyTypeError::new_err(message),
            Kind::Value => PyValueError::new_err(message),
            Kind::Index => PyIndexError::new_err(message),
            Kind::NotImplemented => PyNotImplementedError::new_err(message),
            Kind::Memory => Python::attach(|py| {
                // The exception takes memory too.
                reserve::open();
                out_of_memory(py).map_or_else(|e| e, |class| PyErr::from_type(class.clone(), message))
            }),
        }
    }
}

/// What Python says of the class.
const OUT_OF_MEMORY: &str = "There is no memory for a tensor.

>>> try:
...     _ = ferrograd.empty(2**58)
... except ferrograd.OutOfMemoryError:
...     print('too large')
too large
";

/// The class of errors where there is no memory: torch raises a `RuntimeError`, Python and NumPy a `MemoryError`, and this
/// is both.
pub fn out_of_memory(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = CLASS.get_or_try_init(py, || {
        let bases = (py.get_type::<PyRuntimeError>(), py.get_type::<PyMemoryError>());
        let members = PyDict::new(py);
        members.set_item("__module__", "ferrograd")?;
        members.set_item("__doc__", OUT_OF_MEMORY)?;
        let class = py.get_type::<PyType>().call1(("OutOfMemoryError", bases, members))?;
        PyResult::Ok(class.cast_into::<PyType>()?.unbind())
    })?;
    Ok(class.bind(py))
}

/// An exception of Python on its way through the core: it comes out as it went in.
pub fn host_error(py: Python<'_>, exception: PyErr) -> Error {
    let text = exception.value(py).to_string();
    Error::Host(HostError::new(exception, text))
}

/// Runs an operation whose kernels may end in their midst; a panic of the core becomes an error: a defect, but not the end of
/// the process. The interpreter's lock is this thread's.
#[inline]
pub fn guarded<T>(op: &'static str, run: impl FnOnce() -> crate::Result<T>) -> crate::Result<T> {
    let _mode = Ending::set(Ends::interrupted());
    let run = || reserve::check(op).and_then(|()| run());
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| Err(from_panic(op, payload))).map_err(|e| e.of(op))
}

/// An exception about an argument, with the name of the operation that was given it.
#[cold]
pub fn of_argument(op: &str, error: PyErr) -> PyErr {
    Python::attach(|py| {
        let class = error.get_type(py);
        let named = [
            py.get_type::<PyOverflowError>(),
            py.get_type::<PyValueError>(),
            py.get_type::<PyRuntimeError>(),
            py.get_type::<PyAssertionError>(),
            py.get_type::<PyNotImplementedError>(),
        ];
        if named.iter().any(|n| class.is(n)) {
            PyErr::from_type(class, format!("{op}(): {}", error.value(py)))
        } else {
            error
        }
    })
}

/// Bytes that the report of a panic may take: with `RUST_BACKTRACE` it reads what the debugger knows, and waits for itself for
/// ever where it finds no memory for that.
const REPORT: usize = 256 << 20;

/// Leaves errors that travel as panics unreported: they become exceptions. All other panics are reported as before, where there
/// is memory for a report.
pub fn silence_errors() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.payload().is::<Error>() && Vec::<u8>::new().try_reserve_exact(REPORT).is_ok() {
            report(panic);
        }
    }));
}

/// A panic of the core as an error, or the error that it carries: values that wait are computed where there is no other
/// way to say that memory is missing.
pub fn from_panic(op: &'static str, payload: Box<dyn std::any::Any + Send>) -> Error {
    let payload = match payload.downcast::<Error>() {
        Ok(error) => {
            return error.of(op);
        }
        Err(other) => other,
    };
    let what = payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|s| s.to_string()))
        .unwrap_or_else(|| "unknown".into());
    Error::Internal { op, what }
}
