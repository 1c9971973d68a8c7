//! Ctrl-C while a pass runs without the interpreter's lock: noted at once, so that the pass can end in the midst of a
//! kernel or in a pass on another thread, and raised when it has ended.

#[cfg(unix)]
pub use unix::watched;

/// Runs a closure.
#[cfg(not(unix))]
pub fn watched<R>(_py: pyo3::Python<'_>, work: impl FnOnce() -> R) -> pyo3::PyResult<R> {
    Ok(work())
}

#[cfg(unix)]
mod unix {
    use std::mem::zeroed;
    use std::ptr::{null, null_mut};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

    use libc::{SA_SIGINFO, SIG_DFL, SIG_IGN, SIGINT, c_int, sigaction, sighandler_t};
    use pyo3::prelude::*;
    use pyo3::sync::PyOnceLock;

    use crate::kernels::parallel;

    static RAISED: AtomicBool = AtomicBool::new(false);
    /// Python's own function for the signal.
    static BEFORE: AtomicUsize = AtomicUsize::new(0);

    /// Notes the signal and hands it on.
    extern "C" fn note(signal: c_int) {
        RAISED.store(true, Relaxed);
        // SAFETY: `Watching::begin` put the address of such a function there before it installed this one.
        let before: extern "C" fn(c_int) = unsafe { std::mem::transmute(BEFORE.load(Relaxed)) };
        before(signal);
    }

    /// As long as it lives, signals are noted.
    struct Watching(sigaction);

    impl Watching {
        fn begin() -> Option<Watching> {
            // SAFETY: the structures are valid, and `note` does only what a handler may.
            unsafe {
                let mut before: sigaction = zeroed();
                let known = sigaction(SIGINT, null(), &mut before) == 0
                    && before.sa_flags & SA_SIGINFO == 0
                    && before.sa_sigaction != SIG_DFL
                    && before.sa_sigaction != SIG_IGN;
                if !known {
                    return None;
                }
                BEFORE.store(before.sa_sigaction, Relaxed);
                RAISED.store(false, Relaxed);
                let own = sigaction { sa_sigaction: note as *const () as sighandler_t, ..before };
                (sigaction(SIGINT, &own, null_mut()) == 0).then_some(Watching(before))
            }
        }
    }

    impl Drop for Watching {
        fn drop(&mut self) {
            // SAFETY: as in `begin`. A function that somebody installed meanwhile stays.
            unsafe {
                let mut now: sigaction = zeroed();
                if sigaction(SIGINT, null(), &mut now) == 0 && now.sa_sigaction == note as *const () as sighandler_t {
                    sigaction(SIGINT, &self.0, null_mut());
                }
            }
        }
    }

    /// True where the signal would be raised as an exception on this thread.
    fn is_raised_here(py: Python<'_>) -> PyResult<bool> {
        static KNOWN: PyOnceLock<[Py<PyAny>; 4]> = PyOnceLock::new();
        let known = || -> PyResult<_> {
            let (signal, threading) = (py.import("_signal")?, py.import("threading")?);
            Ok([
                signal.getattr("getsignal")?.unbind(),
                signal.getattr("default_int_handler")?.unbind(),
                threading.getattr("main_thread")?.unbind(),
                threading.getattr("get_ident")?.unbind(),
            ])
        };
        let [handler, raising, main, current] = KNOWN.get_or_try_init(py, known)?;
        let here = main.bind(py).call0()?.getattr("ident")?.eq(current.bind(py).call0()?)?;
        Ok(here && handler.bind(py).call1((SIGINT,))?.is(raising))
    }

    /// Runs a closure that may be ended by Ctrl-C, and raises what that raises.
    pub fn watched<R>(py: Python<'_>, work: impl FnOnce() -> R) -> PyResult<R> {
        if !parallel::Watch::take().is_idle() || !is_raised_here(py)? {
            return Ok(work());
        }
        let Some(watching) = Watching::begin() else { return Ok(work()) };
        let done = parallel::Watch::of(&RAISED).run(work);
        drop(watching);
        if RAISED.swap(false, Relaxed) {
            py.check_signals()?;
        }
        Ok(done)
    }
}
