//! What a host language, such as Python, installs for the core to call.

use std::fmt::Display;
use std::sync::{Arc, OnceLock};

use crate::error::Result;

/// Functions of the host language.
pub struct Host {
    /// Raises what waits to be raised, such as an interrupt from the keyboard.
    pub interrupted: fn() -> Result<()>,
    /// The lines of the program that are being run, for those who look for a mistake.
    pub origin: fn() -> Option<Arc<dyn Display + Send + Sync>>,
    /// Shows a warning.
    pub warn: fn(&str) -> Result<()>,
}

static HOST: OnceLock<Host> = OnceLock::new();

/// Installs the functions of a host language, once.
pub fn install(host: Host) {
    let _ = HOST.set(host);
}

/// The functions of the host language, where there is one.
pub(crate) fn host() -> Option<&'static Host> {
    HOST.get()
}
