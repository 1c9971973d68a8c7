//! Threads that help one with its work. A helper that comes when the work is done finds the door closed, so nobody waits
//! for a thread that has yet to wake up.

use std::any::Any;
use std::cell::RefCell;
use std::mem::transmute;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{null_mut, without_provenance_mut};
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::{Duration, Instant};

use rayon::ThreadPool;

use super::Watch;
use crate::error::Error;
use crate::memory::spin::{Spin, pause};

/// A pool of threads, how many calls for help wait in its queue, and where its threads wait when they have helped.
pub(super) struct Workers {
    pool: ThreadPool,
    waiting: AtomicUsize,
    desks: Box<[Desk]>,
}

impl Workers {
    pub(super) fn new(pool: ThreadPool) -> Workers {
        let desks = (0..pool.current_num_threads()).map(|_| Desk::default()).collect();
        Workers { pool, waiting: AtomicUsize::new(0), desks }
    }

    /// Whether nobody comes to a further call for help: as many wait as there are threads.
    fn are_busy(&self) -> bool {
        self.waiting.load(Relaxed) >= self.pool.current_num_threads()
    }

    /// Asks a thread for help: one that waits for it, or else one that has to be woken up; false where all are busy.
    fn call(self: &Arc<Self>, crew: &Arc<Crew>) -> bool {
        if self.desks.iter().any(|desk| desk.hand(crew)) {
            return true;
        }
        if self.are_busy() {
            return false;
        }
        let (crew, workers) = (crew.clone(), self.clone());
        self.waiting.fetch_add(1, Relaxed);
        self.pool.spawn(move || {
            workers.waiting.fetch_sub(1, Relaxed);
            crew.help();
            // The crew is to be used again by whoever called.
            drop(crew);
            let desk = rayon::current_thread_index().and_then(|n| workers.desks.get(n));
            while let Some(crew) = desk.and_then(Desk::wait) {
                crew.help();
            }
        });
        true
    }
}

/// How long a thread that has helped looks out for the next call: a program that uses several threads calls again soon, and
/// waking a thread up takes as long as the help for a middle-sized piece of work.
const LOOKOUT: Duration = Duration::from_micros(300);

/// Where a thread waits for a call: null while nobody waits, [`Desk::WAITING`], or a crew that the thread that waits takes up.
#[derive(Default)]
#[repr(align(64))]
struct Desk(AtomicPtr<Crew>);

impl Desk {
    /// The address of no crew.
    const WAITING: *mut Crew = without_provenance_mut(1);

    /// Calls the thread that waits here; false where none does.
    fn hand(&self, crew: &Arc<Crew>) -> bool {
        if self.0.load(Relaxed) != Desk::WAITING {
            return false;
        }
        let handed = Arc::into_raw(crew.clone()).cast_mut();
        let is_handed = self.0.compare_exchange(Desk::WAITING, handed, Release, Relaxed).is_ok();
        if !is_handed {
            // SAFETY: given up above, and seen by nobody.
            drop(unsafe { Arc::from_raw(handed) });
        }
        is_handed
    }

    /// Waits a little for a call.
    fn wait(&self) -> Option<Arc<Crew>> {
        self.0.store(Desk::WAITING, Release);
        let start = Instant::now();
        let mut turns = 0u32;
        // To look at the clock takes longer than to look at the desk.
        while self.0.load(Relaxed) == Desk::WAITING && (turns % 32 != 31 || start.elapsed() < LOOKOUT) {
            std::hint::spin_loop();
            turns = turns.wrapping_add(1);
        }
        let crew = self.0.swap(null_mut(), Acquire);
        // SAFETY: what is no mark was given up by `hand`, and nobody else takes it up.
        (crew != Desk::WAITING).then(|| unsafe { Arc::from_raw(crew) })
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
    /// What there is to do, as long as the crew is not closed.
    work: Option<Work>,
}

impl Crew {
    /// Helps with the work, unless it is over.
    fn help(&self) {
        let Some(work) = self.work else { return };
        let enter = |inside| (inside & CLOSED == 0).then_some(inside + 1);
        if self.inside.fetch_update(Acquire, Relaxed, enter).is_err() {
            return;
        }
        // SAFETY: this helper is inside, so the work lives: `together` waits for it.
        let work = unsafe { &*work.0 };
        let thread = 1 + rayon::current_thread_index().unwrap_or(0);
        let watch = Watch { stop: &self.stop, seen: None };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| watch.run(|| work(thread))))
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

/// Runs the work on this thread, as number 0, and, while it lasts, on as many as `helpers` others, with the numbers of the
/// pool's threads from 1 on; a panic of theirs goes on here.
pub(super) fn together(workers: &Arc<Workers>, helpers: usize, work: &(dyn Fn(usize) + Sync)) {
    let spare = SPARE.try_with(|spare| spare.borrow_mut().take()).ok().flatten();
    let mut crew = spare.unwrap_or_default();
    if Arc::get_mut(&mut crew).is_none() {
        crew = Arc::default();
    }
    if let Some(crew) = Arc::get_mut(&mut crew) {
        *crew.inside.get_mut() = 0;
        // SAFETY: only the lifetime changes; the crew is closed, and nobody inside, before the work ends.
        crew.work =
            Some(Work(unsafe { transmute::<*const (dyn Fn(usize) + Sync), *const (dyn Fn(usize) + Sync)>(work) }));
    }
    for _ in 0..helpers {
        if !workers.call(&crew) {
            break;
        }
    }
    let stopping = Stopping(&crew);
    work(0);
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
struct Work(*const (dyn Fn(usize) + Sync));

// SAFETY: the work may be done by any thread.
unsafe impl Send for Work {}
// SAFETY: and by several.
unsafe impl Sync for Work {}
