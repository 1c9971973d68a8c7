//! Threads that help one with its work. A helper that comes when the work is done finds the door closed, so nobody waits
//! for a thread that has yet to wake up.

use std::any::Any;
use std::cell::RefCell;
use std::mem::transmute;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use rayon::ThreadPool;

use super::Watch;
use crate::error::Error;
use crate::memory::spin::{Spin, pause};

/// A pool of threads, and how many calls for help wait in its queue.
pub(super) struct Workers {
    pool: ThreadPool,
    waiting: AtomicUsize,
}

impl Workers {
    pub(super) fn new(pool: ThreadPool) -> Workers {
        Workers { pool, waiting: AtomicUsize::new(0) }
    }

    /// Whether nobody comes to a further call for help: as many wait as there are threads.
    fn are_busy(&self) -> bool {
        self.waiting.load(Relaxed) >= self.pool.current_num_threads()
    }
}

/// Nobody enters any more.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// What helpers share with the one they help. It outlives the work, for the helpers who come too late.
#[derive(Default)]
struct Crew {
    /// How many helpers are at work, and [`CLOSED`].
    inside: AtomicUsize,
    /// Ends their work.
    stop: AtomicBool,
    /// Why a helper ended in a panic.
    panic: Spin<Option<Box<dyn Any + Send>>>,
}

impl Crew {
    /// Helps with the work, unless it is over.
    ///
    /// # Safety
    /// The work lives until the crew is closed and nobody inside.
    unsafe fn help(&self, work: *const (dyn Fn() + Sync)) {
        let enter = |inside| (inside & CLOSED == 0).then_some(inside + 1);
        if self.inside.fetch_update(Acquire, Relaxed, enter).is_err() {
            return;
        }
        // SAFETY: this helper is inside, so the work lives.
        let work = unsafe { &*work };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| Watch { stop: &self.stop, seen: None }.run(work)))
            && !(self.stop.load(Relaxed) && panic.downcast_ref::<Error>() == Some(&Error::Interrupted))
        {
            *self.panic.lock() = Some(panic);
        }
        self.inside.fetch_sub(1, Release);
    }

    /// Lets nobody in, and waits until nobody is inside.
    fn close(&self) {
        let mut turns = 0;
        let mut inside = self.inside.fetch_or(CLOSED, Acquire);
        while inside & !CLOSED != 0 {
            pause(&mut turns);
            inside = self.inside.load(Acquire);
        }
    }
}

/// Ends the work of helpers, and waits for them, where the one they help ends in a panic.
struct Stopping<'a>(&'a Crew);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Relaxed);
        self.0.close();
    }
}

thread_local! {
    /// A crew for this thread's next work, if nobody has come late to the last.
    static SPARE: RefCell<Option<Arc<Crew>>> = const { RefCell::new(None) };
}

/// Runs the work on this thread and, while it lasts, on as many as `helpers` others; a panic of theirs goes on here.
pub(super) fn together(workers: &Arc<Workers>, helpers: usize, work: &(dyn Fn() + Sync)) {
    let spare = SPARE.try_with(|spare| spare.borrow_mut().take()).ok().flatten();
    let mut crew = spare.unwrap_or_default();
    match Arc::get_mut(&mut crew) {
        Some(crew) => *crew.inside.get_mut() = 0,
        None => crew = Arc::default(),
    }
    // SAFETY: only the lifetime changes; the crew is closed, and nobody inside, before the work ends.
    let work_of_helpers = Work(unsafe { transmute::<*const (dyn Fn() + Sync), *const (dyn Fn() + Sync)>(work) });
    for _ in 0..helpers {
        if workers.are_busy() {
            break;
        }
        let (crew, workers_of_helper) = (crew.clone(), workers.clone());
        workers.waiting.fetch_add(1, Relaxed);
        workers.pool.spawn(move || {
            workers_of_helper.waiting.fetch_sub(1, Relaxed);
            // SAFETY: as above.
            unsafe { crew.help(work_of_helpers.get()) }
        });
    }
    let stopping = Stopping(&crew);
    work();
    std::mem::forget(stopping);
    crew.close();
    let panic = crew.panic.lock().take();
    if let Some(panic) = panic {
        resume_unwind(panic);
    }
    SPARE.try_with(|spare| *spare.borrow_mut() = Some(crew)).unwrap_or_default();
}

/// The address of work that several threads do.
#[derive(Clone, Copy)]
struct Work(*const (dyn Fn() + Sync));

// SAFETY: the work may be done by any thread.
unsafe impl Send for Work {}

impl Work {
    fn get(self) -> *const (dyn Fn() + Sync) {
        self.0
    }
}
