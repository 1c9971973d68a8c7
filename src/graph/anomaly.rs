//! The mode for those who look for a mistake: nodes remember the line that recorded them, changes in place the line that
//! made them, and backward stops at the first gradient that is not a number.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{self, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;

use crate::host::host;

/// Lines of a program.
type Lines = Arc<dyn Display + Send + Sync>;

/// The lines that recorded a node or changed memory, and what they computed where they were of a backward pass.
#[derive(Clone)]
pub struct Origin {
    lines: Lines,
    cause: Option<Arc<Cause>>,
}

impl Origin {
    /// The lines.
    pub fn lines(&self) -> &dyn Display {
        &*self.lines
    }

    /// The node whose derivative the lines computed, with the lines that recorded it.
    pub fn cause(&self) -> Option<(&'static str, &Origin)> {
        self.cause.as_ref().map(|cause| (cause.node, &cause.origin))
    }
}

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.lines)?;
        let mut next = self.cause();
        while let Some((node, origin)) = next {
            write!(f, "\n{}", induced(node, origin))?;
            next = origin.cause();
        }
        Ok(())
    }
}

/// How the lines are shown that recorded a node whose derivative was computed.
pub fn induced(node: &str, origin: &Origin) -> String {
    format!(
        "Previous calculation was induced by {node}. Traceback of forward call that induced the previous calculation:\n{}",
        origin.lines
    )
}

const ENABLED: u8 = 1;
const CHECKS_NAN: u8 = 2;
static MODE: AtomicU8 = AtomicU8::new(CHECKS_NAN);
/// By the address of memory, the line that last changed it in place.
static CHANGES: Mutex<Option<HashMap<usize, Origin>>> = Mutex::new(None);

/// True while the mode is on.
#[inline]
pub fn is_enabled() -> bool {
    MODE.load(Ordering::Relaxed) & ENABLED != 0
}

/// True where the mode looks for gradients that are not numbers, whether it is on or not.
#[inline]
pub fn checks_nan() -> bool {
    MODE.load(Ordering::Relaxed) & CHECKS_NAN != 0
}

/// Turns the mode on or off for all threads.
pub fn set(enabled: bool, check_nan: bool) {
    let mode = u8::from(enabled) * ENABLED + u8::from(check_nan) * CHECKS_NAN;
    MODE.store(mode, Ordering::Relaxed);
    if !enabled {
        drop(CHANGES.lock().take());
    }
}

thread_local! {
    /// The node whose derivative is being computed, with the lines that recorded it.
    static CAUSE: RefCell<Option<Cause>> = const { RefCell::new(None) };
}

#[derive(Clone)]
struct Cause {
    node: &'static str,
    origin: Origin,
}

/// The lines that are being run, and those that recorded the node whose derivative they compute.
pub fn origin() -> Option<Origin> {
    let lines = host().and_then(|h| (h.origin)())?;
    let cause = CAUSE.with_borrow(Option::clone).map(Arc::new);
    Some(Origin { lines, cause })
}

/// Computes the derivative of a node that these lines recorded.
pub(crate) fn caused_by<R>(node: &'static str, origin: Option<Origin>, compute: impl FnOnce() -> R) -> R {
    struct Restore(Option<Cause>);
    impl Drop for Restore {
        fn drop(&mut self) {
            drop(CAUSE.replace(self.0.take()));
        }
    }
    let _restore = Restore(CAUSE.replace(origin.map(|origin| Cause { node, origin })));
    compute()
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
