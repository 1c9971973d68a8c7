//! Random numbers: torch's own for the same seed, and streams that any thread can compute any part of.

mod cephes;
pub mod choice;
pub mod count;
pub mod distribution;
pub mod generator;
mod mersenne;
mod normal;
mod philox;
mod state;

use std::sync::OnceLock;

pub use generator::{Generator, Stream};

/// torch's seed before any is given.
pub const DEFAULT_SEED: u64 = 67280421310721;

static DEFAULT: OnceLock<Generator> = OnceLock::new();

/// The generator that functions draw from where none is given.
pub fn default() -> &'static Generator {
    DEFAULT.get_or_init(|| {
        crate::fork::watch();
        Stream::new(DEFAULT_SEED).into()
    })
}

/// Takes the default stream until [`let_go`].
pub(crate) fn hold() {
    default().hold();
}

/// Gives back what [`hold`] took.
///
/// # Safety
/// `hold` was called once before.
pub(crate) unsafe fn let_go() {
    // SAFETY: as the caller says.
    unsafe { default().let_go() }
}
