//! One pool of threads for kernels and graph, made when first needed and made anew in a forked child.

mod crew;

use std::cell::Cell;
use std::panic::resume_unwind;
use std::ptr::null;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder};
use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::fork;
use crate::host::host;
use crate::memory::reserve;
use crate::memory::spin::Spin;

use crew::Workers;

/// How many threads work at once, the caller among them; 0 until it is first asked for.
static THREADS: AtomicUsize = AtomicUsize::new(0);
struct Pool {
    threads: usize,
    forks: u32,
    workers: Arc<Workers>,
}

static POOL: Spin<Option<Pool>> = Spin::new(None);

thread_local! {
    static SERIAL: Cell<bool> = const { Cell::new(false) };
    static WATCH: Cell<Watch> = const { Cell::new(Watch { stop: null(), seen: None }) };
    static ENDS: Cell<Ends> = const { Cell::new(Ends::Never) };
    /// When this thread last listened for interrupts.
    static LISTENED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// How many interrupts there were that the host language raises, once it can, on the thread that listens for them.
pub(crate) static INTERRUPTS: AtomicU32 = AtomicU32::new(0);
/// Time after which a thread with a long kernel listens again.
const PATIENCE: Duration = Duration::from_millis(50);

/// Whether kernels may end in their midst, by a panic with an [`Error`] that somebody catches.
#[derive(Clone, Copy, PartialEq)]
pub enum Ends {
    /// They run to their end.
    Never,
    /// When their work was stopped.
    Stopped,
    /// Also when an interrupt comes for this thread, which has the host language's lock. This many came before.
    Interrupted(u32),
}

impl Ends {
    /// When an interrupt comes from now on.
    #[inline]
    pub fn interrupted() -> Ends {
        Ends::Interrupted(INTERRUPTS.load(Relaxed))
    }
}

/// A way for kernels of this thread to end, until this drops.
#[must_use = "it ends when it drops"]
pub struct Ending(Ends);

impl Ending {
    /// Sets when kernels may end. Whoever lets them catches the panic.
    #[inline]
    pub fn set(ends: Ends) -> Ending {
        Ending(ENDS.replace(ends))
    }
}

impl Drop for Ending {
    #[inline]
    fn drop(&mut self) {
        ENDS.set(self.0);
    }
}

/// What tells a thread, and those that work for it, that the work is to end.
#[derive(Clone, Copy)]
pub struct Watch {
    /// Null, or where it is noted.
    stop: *const AtomicBool,
    /// Ends with the next interrupt: this many came before.
    seen: Option<u32>,
}

// SAFETY: it has an address of an atomic, which outlives the work.
unsafe impl Send for Watch {}
// SAFETY: as above.
unsafe impl Sync for Watch {}

impl Watch {
    /// This thread's.
    pub fn take() -> Watch {
        WATCH.get()
    }

    /// Work that ends with the next interrupt.
    pub fn of_interrupts() -> Watch {
        Watch { stop: null(), seen: Some(INTERRUPTS.load(Relaxed)) }
    }

    /// True where nothing would end the work.
    pub fn is_idle(self) -> bool {
        self.stop.is_null() && self.seen.is_none()
    }

    /// Runs a closure on this thread as such work; who calls it catches the panic that may end a kernel.
    pub fn run<R>(self, f: impl FnOnce() -> R) -> R {
        struct Restore(Watch);
        impl Drop for Restore {
            fn drop(&mut self) {
                WATCH.set(self.0);
            }
        }
        let _restore = Restore(WATCH.replace(self));
        let _mode = Ending::set(Ends::Stopped);
        f()
    }

    /// True where the work is to end.
    pub fn is_set(self) -> bool {
        // SAFETY: whoever gave the address waits for the work to end.
        let is_stopped = !self.stop.is_null() && unsafe { (*self.stop).load(Relaxed) };
        is_stopped || self.seen.is_some_and(|seen| INTERRUPTS.load(Relaxed) != seen)
    }
}

/// # Errors
/// [`Error::Interrupted`], where the work of this thread is to end.
pub fn check_stop() -> Result<()> {
    if Watch::take().is_set() { Err(Error::Interrupted) } else { Ok(()) }
}

/// Between two pieces of a long kernel: ends it where that was asked for.
#[inline]
pub fn glance() {
    if ENDS.get() != Ends::Never {
        look();
    }
}

#[cold]
fn look() {
    if Watch::take().is_set() {
        resume_unwind(Box::new(Error::Interrupted));
    }
    let (Ends::Interrupted(seen), Some(host)) = (ENDS.get(), host()) else { return };
    let now = Instant::now();
    if LISTENED.get().is_none_or(|then| now - then > PATIENCE) {
        LISTENED.set(Some(now));
        (host.listen)();
    }
    if INTERRUPTS.load(Relaxed) != seen && (host.is_interruptible)() {
        resume_unwind(Box::new(Error::Interrupted));
    }
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

/// Bytes that a thread may take when it starts: its stack, and what the C library keeps for it.
const START: usize = 8 << 20;

/// New threads, all of which have started; `None` where they cannot be had. The C library ends the process where a thread
/// finds no memory for its own variables, so that is seen to before, and nothing else is asked for until they have it.
fn start(threads: usize) -> Option<ThreadPool> {
    if !reserve::has_addresses(threads.saturating_mul(START)) {
        return None;
    }
    let started = Arc::new(AtomicUsize::new(0));
    let count = started.clone();
    let start = move |_| {
        WATCH.get();
        count.fetch_add(1, Release);
    };
    let builder = ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("ferrograd-{i}"));
    let workers = builder.start_handler(start).build().ok()?;
    while started.load(Acquire) < threads {
        std::thread::yield_now();
    }
    Some(workers)
}

/// The threads of the present size in the present process, or `None` where threads cannot be had.
fn workers() -> Option<Arc<Workers>> {
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
        *slot = Some(Pool { threads, forks, workers: Arc::new(Workers::new(start(threads)?)) });
    }
    slot.as_ref().map(|p| p.workers.clone())
}

/// Runs `body` for every number below `count`, on the calling thread and, where there is more than one piece, on the
/// pool. Which thread takes which piece is left to chance, so pieces must not depend on each other.
pub fn for_each(count: usize, body: impl Fn(usize) + Sync) {
    let helpers = num_threads().min(count).saturating_sub(1);
    let stretches = Stretches::new(count, helpers + 1);
    let work = |thread: usize| {
        let own = if thread == 0 { 0 } else { 1 + (thread - 1) % helpers };
        let mut is_first = true;
        stretches.each(own, |piece| {
            if !std::mem::take(&mut is_first) {
                glance();
            }
            body(piece);
        });
    };
    match if helpers == 0 { None } else { workers() } {
        Some(workers) => crew::together(&workers, helpers, &work),
        None => work(0),
    }
}

/// Pieces of work in a stretch for each thread, which so finds in its own cache what it left there when it last worked on the
/// same memory. Whoever is done with its own helps with the others'.
struct Stretches {
    count: usize,
    /// The next piece of each.
    next: SmallVec<[AtomicUsize; 64]>,
}

impl Stretches {
    fn new(count: usize, stretches: usize) -> Stretches {
        let start = |n: usize| AtomicUsize::new(count * n / stretches);
        Stretches { count, next: (0..stretches).map(start).collect() }
    }

    /// Runs `body` on pieces that nobody else has, until there are none.
    fn each(&self, own: usize, mut body: impl FnMut(usize)) {
        let stretches = self.next.len();
        for n in (own..stretches).chain(0..own) {
            let end = self.count * (n + 1) / stretches;
            loop {
                let piece = self.next[n].fetch_add(1, Relaxed);
                if piece >= end {
                    break;
                }
                body(piece);
            }
        }
    }
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

/// An address that threads share; they write to different elements.
#[derive(Clone, Copy)]
pub(crate) struct Apart<T>(pub *mut T);
// SAFETY: the users of the address see to it that threads write to different elements.
unsafe impl<T> Sync for Apart<T> {}
// SAFETY: as above.
unsafe impl<T> Send for Apart<T> {}
impl<T> Apart<T> {
    /// The address.
    #[inline]
    pub fn get(&self) -> *mut T {
        self.0
    }

    /// `len` elements from `start` on.
    ///
    /// # Safety
    /// The elements are there, and nobody else has them.
    #[inline]
    #[allow(clippy::mut_from_ref, reason = "users keep apart what they write")]
    pub unsafe fn part(&self, start: usize, len: usize) -> &mut [T] {
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }
}

/// Cuts a slice into pieces of `grain` and runs `body(start, piece)` on each.
pub fn for_each_slice<T: Send>(all: &mut [T], grain: usize, body: impl Fn(usize, &mut [T]) + Sync) {
    let whole = Apart(all.as_mut_ptr());
    // SAFETY: the ranges are apart, and within the slice.
    for_each_range(all.len(), grain, |start, end| body(start, unsafe { whole.part(start, end - start) }));
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

    #[test]
    fn calls_in_a_row_and_side_by_side_do_every_piece_once() {
        set_num_threads(4);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for round in 0..2000 {
                        let done = AtomicUsize::new(0);
                        for_each(5, |n| {
                            done.fetch_add(1 << (8 * n), Relaxed);
                        });
                        assert_eq!(done.into_inner(), 0x01_0101_0101, "round {round}");
                    }
                });
            }
        });
    }
}
