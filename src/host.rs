//! What a host language, such as Python, installs for the core to call.

use std::any::Any;
use std::fmt::Display;
use std::sync::{Arc, OnceLock};

use crate::error::Result;
use crate::graph::cycles::Object;

/// Functions of the host language. Objects of it are named by their addresses.
pub struct Host {
    /// Raises what waits to be raised, such as an interrupt from the keyboard.
    pub interrupted: fn() -> Result<()>,
    /// Sees to it that interrupts are counted; this thread has the host language's lock.
    pub listen: fn(),
    /// True where interrupts are raised on this thread.
    pub is_interruptible: fn() -> bool,
    /// The lines of the program that are being run, for those who look for a mistake.
    pub origin: fn() -> Option<Arc<dyn Display + Send + Sync>>,
    /// Shows a warning.
    pub warn: fn(&str) -> Result<()>,
    /// Writes to where errors are written.
    pub report: fn(&str),
    /// Runs a closure while no other thread changes objects of the host language.
    pub attached: fn(&mut dyn FnMut()),
    /// How many references there are to an object.
    pub owners: fn(usize) -> usize,
    /// Adds what an object refers to.
    pub links: fn(usize, &mut Vec<Object>),
    /// Keeps an object until what is given drops.
    pub keep: fn(usize) -> Box<dyn Any>,
    /// Cuts the references of an object to the graph, where nobody has the object.
    pub clear: fn(usize),
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
