//! Ctrl-C in the midst of a kernel or a pass: Python notes the signal and would raise the exception only afterwards, so the
//! signal is counted on its way there. Where a program has a handler of its own, it is Python's alone: the handler may do
//! anything, and is called when the operation has ended.

#[cfg(unix)]
pub use unix::{is_main_thread, listen, watched};

#[cfg(not(unix))]
mod elsewhere {
    /// Interrupts are not counted.
    pub fn listen() {}

    /// False: no operation is ended.
    pub fn is_main_thread() -> bool {
        false
    }

    /// Runs a closure.
    pub fn watched<R>(_py: pyo3::Python<'_>, work: impl FnOnce() -> R) -> pyo3::PyResult<R> {
        Ok(work())
    }
}
#[cfg(not(unix))]
pub use elsewhere::{is_main_thread, listen, watched};

#[cfg(unix)]
mod unix {
    use std::mem::zeroed;
    use std::ptr::{null, null_mut};
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use libc::{SA_SIGINFO, SIG_DFL, SIG_IGN, SIGINT, c_int, sigaction, sighandler_t};
    use pyo3::prelude::*;
    use pyo3::sync::PyOnceLock;

    use crate::kernels::parallel::{INTERRUPTS, Watch};

    /// Python's own function for the signal.
    static BEFORE: AtomicUsize = AtomicUsize::new(0);

    /// Counts the signal and hands it on.
    extern "C" fn note(signal: c_int) {
        INTERRUPTS.fetch_add(1, Relaxed);
        // SAFETY: `listen` put the address of such a function there before it installed this one.
        let before: extern "C" fn(c_int) = unsafe { std::mem::transmute(BEFORE.load(Relaxed)) };
        before(signal);
    }

    /// True for the thread on which Python raises.
    pub fn is_main_thread() -> bool {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        // SAFETY: both always succeed.
        let is_main = unsafe { libc::gettid() == libc::getpid() };
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        // SAFETY: it always succeeds.
        let is_main = unsafe { libc::pthread_main_np() == 1 };
        is_main
    }

    /// Sees to it that the signal is counted, as long as it raises `KeyboardInterrupt`.
    pub fn listen() {
        let own = note as *const () as sighandler_t;
        // SAFETY: the structures are valid, and `note` does only what a handler may.
        unsafe {
            let mut now: sigaction = zeroed();
            let is_plain = sigaction(SIGINT, null(), &mut now) == 0
                && now.sa_flags & SA_SIGINFO == 0
                && ![SIG_DFL, SIG_IGN, own].contains(&now.sa_sigaction);
            if is_plain && is_main_thread() && Python::attach(raises).unwrap_or(false) {
                BEFORE.store(now.sa_sigaction, Relaxed);
                sigaction(SIGINT, &sigaction { sa_sigaction: own, ..now }, null_mut());
            }
        }
    }

    /// True where the signal raises `KeyboardInterrupt`, and calls nothing else.
    fn raises(py: Python<'_>) -> PyResult<bool> {
        static KNOWN: PyOnceLock<[Py<PyAny>; 2]> = PyOnceLock::new();
        let known = || -> PyResult<_> {
            let signal = py.import("_signal")?;
            Ok([signal.getattr("getsignal")?.unbind(), signal.getattr("default_int_handler")?.unbind()])
        };
        let [handler, raising] = KNOWN.get_or_try_init(py, known)?;
        Ok(handler.bind(py).call1((SIGINT,))?.is(raising))
    }

    /// Runs a closure that Ctrl-C may end, and raises what that raises.
    pub fn watched<R>(py: Python<'_>, work: impl FnOnce() -> R) -> PyResult<R> {
        if !Watch::take().is_idle() || !is_main_thread() {
            return Ok(work());
        }
        listen();
        let watch = Watch::of_interrupts();
        let done = watch.run(work);
        if watch.is_set() {
            py.check_signals()?;
        }
        Ok(done)
    }
}
