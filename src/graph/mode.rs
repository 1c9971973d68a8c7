//! Whether operations of this thread are recorded.

use std::cell::Cell;

thread_local! {
    static GRAD: Cell<bool> = const { Cell::new(true) };
}

/// True where operations are recorded.
#[inline]
pub fn is_grad_enabled() -> bool {
    GRAD.get()
}

/// Turns recording on or off for this thread; gives what it was.
#[inline]
pub fn set_grad_enabled(enabled: bool) -> bool {
    GRAD.replace(enabled)
}

/// Recording turned on or off until this drops.
#[must_use = "the mode ends when the guard drops"]
pub struct GradMode {
    before: bool,
}

impl GradMode {
    /// Turns recording on or off.
    #[inline]
    pub fn set(enabled: bool) -> Self {
        GradMode { before: set_grad_enabled(enabled) }
    }
}

impl Drop for GradMode {
    #[inline]
    fn drop(&mut self) {
        set_grad_enabled(self.before);
    }
}

/// Runs a closure without recording.
///
/// ```
/// use ferrograd::{Tensor, no_grad};
/// let x = Tensor::from_slice(&[2.0f32]).requiring_grad()?;
/// assert!(!no_grad(|| &x * &x)?.requires_grad());
/// # Ok::<(), ferrograd::Error>(())
/// ```
pub fn no_grad<R>(f: impl FnOnce() -> R) -> R {
    let _mode = GradMode::set(false);
    f()
}

/// Runs a closure with recording.
pub fn enable_grad<R>(f: impl FnOnce() -> R) -> R {
    let _mode = GradMode::set(true);
    f()
}
