//! What `fork()` needs: a child has only the thread that forked, and no lock may stay with one that it does not have.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Moves in every forked child, whose threads of the parent do not exist.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// How many forks lie between this process and the one that began.
#[inline]
pub(crate) fn count() -> u32 {
    FORKS.load(Relaxed)
}

/// What a lock of a byte holds while a thread of this process has it; never 0. Any other value was left by a thread of
/// the parent, which does not exist here.
#[inline]
pub(crate) fn stamp() -> u8 {
    (count() % 255 + 1) as u8
}

/// Sees to it that the process can be forked. Called before the first lock of the allocator is taken.
pub(crate) fn watch() {
    static WATCHED: OnceLock<()> = OnceLock::new();
    WATCHED.get_or_init(|| {
        #[cfg(unix)]
        // SAFETY: the handlers take and give back locks of single bytes and move a counter, which is allowed there.
        unsafe {
            libc::pthread_atfork(Some(before), Some(after), Some(after_in_child));
        }
    });
}

/// Takes the locks of the random numbers, of the allocator and of the pool of threads, so that nobody else has one at the
/// moment of the fork.
#[cfg(unix)]
extern "C" fn before() {
    crate::random::hold();
    crate::kernels::parallel::hold();
    crate::graph::arena::hold();
    crate::memory::pool::hold();
}

#[cfg(unix)]
extern "C" fn after() {
    // SAFETY: `before` took the locks, on this thread or on the one that this is the image of.
    unsafe {
        crate::memory::pool::let_go();
        crate::graph::arena::let_go();
        crate::kernels::parallel::let_go();
        crate::random::let_go();
    }
}

#[cfg(unix)]
extern "C" fn after_in_child() {
    FORKS.fetch_add(1, Relaxed);
    crate::engine::plan::forget_others();
    after();
}
