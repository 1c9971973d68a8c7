//! The mode for those who look for a mistake: nodes remember the line that recorded them, changes in place the line that
//! made them, and backward stops at the first gradient that is not a number.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;

use crate::host::host;

/// Lines of a program.
pub type Origin = Arc<dyn Display + Send + Sync>;

const ENABLED: u8 = 1;
const CHECKS_NAN: u8 = 2;
static MODE: AtomicU8 = AtomicU8::new(0);
/// By the address of memory, the line that last changed it in place.
static CHANGES: Mutex<Option<HashMap<usize, Origin>>> = Mutex::new(None);

/// True while the mode is on.
#[inline]
pub fn is_enabled() -> bool {
    MODE.load(Ordering::Relaxed) & ENABLED != 0
}

/// True while backward looks for gradients that are not numbers.
#[inline]
pub fn checks_nan() -> bool {
    MODE.load(Ordering::Relaxed) & CHECKS_NAN != 0
}

/// Turns the mode on or off for all threads.
pub fn set(enabled: bool, check_nan: bool) {
    let mode = u8::from(enabled) * ENABLED + u8::from(enabled && check_nan) * CHECKS_NAN;
    MODE.store(mode, Ordering::Relaxed);
    if !enabled {
        drop(CHANGES.lock().take());
    }
}

/// The lines that are being run.
pub fn origin() -> Option<Origin> {
    host().and_then(|h| (h.origin)())
}

/// Notes the line that changes the memory at `address`.
#[cold]
pub(crate) fn note_change(address: usize) {
    if let Some(origin) = origin() {
        CHANGES.lock().get_or_insert_default().insert(address, origin);
    }
}

/// The line that last changed the memory at `address`.
pub(crate) fn change(address: usize) -> Option<Origin> {
    CHANGES.lock().as_ref()?.get(&address).cloned()
}
