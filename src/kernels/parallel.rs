//! One pool of threads for kernels and graph, made when first needed and made anew in a forked child.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::fork;
use crate::memory::spin::Spin;

/// How many threads work at once, the caller among them; 0 until it is first asked for.
static THREADS: AtomicUsize = AtomicUsize::new(0);
struct Pool {
    threads: usize,
    forks: u32,
    workers: Arc<ThreadPool>,
}

static POOL: Spin<Option<Pool>> = Spin::new(None);

thread_local! {
    static SERIAL: Cell<bool> = const { Cell::new(false) };
}

/// Runs a closure whose kernels use this thread alone: for work that is one of several side by side.
pub fn serially<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            SERIAL.set(self.0);
        }
    }
    let _restore = Restore(SERIAL.replace(true));
    f()
}

/// The number of threads that kernels and backward use.
pub fn num_threads() -> usize {
    if SERIAL.get() {
        return 1;
    }
    match THREADS.load(Relaxed) {
        0 => {
            let default = default_threads();
            THREADS.store(default, Relaxed);
            default
        }
        n => n,
    }
}

/// `FERROGRAD_NUM_THREADS`, else what the process may use: its affinity and its cgroup's quota.
fn default_threads() -> usize {
    let named = std::env::var("FERROGRAD_NUM_THREADS").ok().and_then(|v| v.parse::<usize>().ok());
    named.filter(|&n| n > 0).unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Sets the number of threads; at least 1.
pub fn set_num_threads(threads: usize) {
    THREADS.store(threads.max(1), Relaxed);
}

/// Takes the lock of the pool until [`let_go`].
pub(crate) fn hold() {
    POOL.hold();
}

/// Gives back what [`hold`] took.
///
/// # Safety
/// `hold` was called once before.
pub(crate) unsafe fn let_go() {
    // SAFETY: as the caller says.
    unsafe { POOL.release() }
}

/// The pool of the present size in the present process, or `None` where threads cannot be had.
pub fn pool() -> Option<Arc<ThreadPool>> {
    fork::watch();
    let (threads, forks) = (num_threads(), fork::count());
    let mut slot = POOL.lock();
    if slot.as_ref().is_none_or(|p| p.threads != threads || p.forks != forks) {
        if let Some(stale) = slot.take()
            && stale.forks != forks
        {
            // Its threads stayed in the parent: waiting for them would never end.
            std::mem::forget(stale);
        }
        let workers =
            ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("ferrograd-{i}")).build().ok()?;
        *slot = Some(Pool { threads, forks, workers: Arc::new(workers) });
    }
    slot.as_ref().map(|p| p.workers.clone())
}

/// Runs `body` for every number below `count`, on the calling thread and, where there is more than one piece, on the
/// pool. Which thread takes which piece is left to chance, so pieces must not depend on each other.
pub fn for_each(count: usize, body: impl Fn(usize) + Sync) {
    let helpers = num_threads().min(count).saturating_sub(1);
    let workers = if helpers == 0 { None } else { pool() };
    let Some(workers) = workers else {
        return (0..count).for_each(body);
    };
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let piece = next.fetch_add(1, Relaxed);
            if piece >= count {
                break;
            }
            body(piece);
        }
    };
    workers.in_place_scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(|_| work());
        }
        work();
    });
}

/// Cuts `total` units into pieces of `grain` and runs `body(start, end)` on each.
pub fn for_each_range(total: usize, grain: usize, body: impl Fn(usize, usize) + Sync) {
    if total <= grain {
        if total > 0 {
            body(0, total);
        }
        return;
    }
    for_each(total.div_ceil(grain), |i| body(i * grain, ((i + 1) * grain).min(total)));
}

/// Cuts a slice into pieces of `grain` and runs `body(start, piece)` on each.
pub fn for_each_slice<T: Send>(all: &mut [T], grain: usize, body: impl Fn(usize, &mut [T]) + Sync) {
    struct Whole<T>(*mut T);
    // SAFETY: each piece of what lies behind the pointer goes to one thread.
    unsafe impl<T: Send> Sync for Whole<T> {}
    impl<T> Whole<T> {
        fn start(&self) -> *mut T {
            self.0
        }
    }
    let whole = Whole(all.as_mut_ptr());
    for_each_range(all.len(), grain, |start, end| {
        // SAFETY: the ranges are apart, and within the slice.
        body(start, unsafe { std::slice::from_raw_parts_mut(whole.start().add(start), end - start) });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_runs_once() {
        let hits: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
        for_each_range(1000, 7, |start, end| {
            for hit in &hits[start..end] {
                hit.fetch_add(1, Relaxed);
            }
        });
        assert!(hits.iter().all(|h| h.load(Relaxed) == 1));
    }
}
