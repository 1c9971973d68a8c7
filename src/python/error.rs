//! Errors as Python's exceptions, of the classes that torch raises.

use pyo3::exceptions::{PyIndexError, PyMemoryError, PyNotImplementedError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::{PyErr, Python};

use crate::error::{Error, HostError, Kind};

impl From<Error> for PyErr {
    fn from(error: Error) -> PyErr {
        if let Error::Host(host) = &error
            && let Some(exception) = host.exception::<PyErr>()
        {
            return Python::attach(|py| exception.clone_ref(py));
        }
        let message = error.to_string();
        match error.kind() {
            Kind::Runtime => PyRuntimeError::new_err(message),
            Kind::Type => PyTypeError::new_err(message),
            Kind::Value => PyValueError::new_err(message),
            Kind::Index => PyIndexError::new_err(message),
            Kind::NotImplemented => PyNotImplementedError::new_err(message),
            Kind::Memory => PyMemoryError::new_err(message),
        }
    }
}

/// An exception of Python on its way through the core: it comes out as it went in.
pub fn host_error(py: Python<'_>, exception: PyErr) -> Error {
    let text = exception.value(py).to_string();
    Error::Host(HostError::new(exception, text))
}

/// A panic of the core as an exception: a defect, but not the end of the process.
pub fn from_panic(op: &'static str, payload: Box<dyn std::any::Any + Send>) -> PyErr {
    let payload = match payload.downcast::<Error>() {
        Ok(error) => return (*error).into(),
        Err(other) => other,
    };
    let what = payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|s| s.to_string()))
        .unwrap_or_else(|| "unknown".into());
    Error::Internal { op, what }.into()
}
