//! What the core asks of Python: to raise what waits, to tell the lines that run, to show a warning.

use std::ffi::CString;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use pyo3::exceptions::PyUserWarning;
use pyo3::prelude::*;

use super::error::host_error;
use super::{gc, interrupt};
use crate::error::Result;
use crate::host::{Host, install};

/// Gives the core its way to Python.
pub fn install_host() {
    let attached = |search: &mut dyn FnMut()| Python::attach(|_| search());
    install(Host {
        interrupted,
        listen: interrupt::listen,
        is_interruptible: interrupt::is_main_thread,
        origin,
        warn,
        report,
        attached,
        owners: gc::owners,
        links: gc::links,
        keep: gc::keep,
        clear: gc::clear,
    });
}

fn interrupted() -> Result<()> {
    Python::attach(|py| py.check_signals().map_err(|e| host_error(py, e)))
}

fn origin() -> Option<Arc<dyn Display + Send + Sync>> {
    Python::attach(|py| {
        let lines: Vec<String> = py.import("traceback").ok()?.call_method0("format_stack").ok()?.extract().ok()?;
        let text: Arc<dyn Display + Send + Sync> = Arc::new(lines.concat());
        Some(text)
    })
}

fn warn(text: &str) -> Result<()> {
    Python::attach(|py| {
        let warn = || {
            let category = py.get_type::<PyUserWarning>();
            py.import("warnings")?.call_method1("warn", (text, category, 2)).map(drop)
        };
        warn().map_err(|e: PyErr| host_error(py, e))
    })
}

static WARNS_ALWAYS: AtomicBool = AtomicBool::new(false);

/// Shows a warning that is shown once, as its place says where it was, unless all are asked for.
pub fn warn_once(py: Python<'_>, was_shown: &AtomicBool, text: &str) -> PyResult<()> {
    if was_shown.swap(true, Relaxed) && !WARNS_ALWAYS.load(Relaxed) {
        return Ok(());
    }
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), &CString::new(text)?, 1)
}

/// Whether warnings that are shown once are shown each time.
#[pyfunction]
pub fn _set_warn_always(always: bool) {
    WARNS_ALWAYS.store(always, Relaxed);
}

/// What `_set_warn_always` was given last.
#[pyfunction]
pub fn _is_warn_always_enabled() -> bool {
    WARNS_ALWAYS.load(Relaxed)
}

fn report(text: &str) {
    Python::attach(|py| {
        // Where there is nowhere to write, the error that is reported says the rest.
        let _ = py.import("sys").and_then(|sys| sys.getattr("stderr")?.call_method1("write", (format!("{text}\n"),)));
    })
}
