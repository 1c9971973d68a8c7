//! What the core asks of Python: to raise what waits, to tell the lines that run, to show a warning.

use std::fmt::Display;
use std::sync::Arc;

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

fn report(text: &str) {
    Python::attach(|py| {
        // Where there is nowhere to write, the error that is reported says the rest.
        let _ = py.import("sys").and_then(|sys| sys.getattr("stderr")?.call_method1("write", (format!("{text}\n"),)));
    })
}
