//! A lock for many readers or one writer, which a forked child finds free: a thread of the parent that held it does not
//! exist there.

use std::sync::atomic::{AtomicU32, Ordering};

use super::spin::pause;
use crate::fork;

const WRITER: u32 = 1 << 31;
/// A writer waits: no reader comes before it.
const WAITING: u32 = 1 << 30;
/// How many readers there are.
const READERS: u32 = (1 << 22) - 1;
/// The stamp of the process that the rest of the state belongs to.
const STAMP: u32 = 255 << 22;

/// A lock without a value of its own.
#[derive(Default)]
pub struct Lock(AtomicU32);

fn stamp() -> u32 {
    u32::from(fork::stamp()) << 22
}

impl Lock {
    /// A lock that nobody holds.
    pub const fn new() -> Self {
        Lock(AtomicU32::new(0))
    }

    /// Replaces the state by what `next` makes of it, where it makes anything; says whether.
    fn update(&self, next: impl Fn(u32) -> Option<u32>) -> bool {
        let stamp = stamp();
        let mut raw = self.0.load(Ordering::Relaxed);
        loop {
            let state = if raw & STAMP == stamp { raw } else { stamp };
            let Some(next) = next(state) else { return false };
            match self.0.compare_exchange_weak(raw, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => raw = now,
            }
        }
    }

    /// Becomes a reader, if that is possible now.
    #[inline]
    pub fn try_lock_shared(&self) -> bool {
        self.update(|state| (state & (WRITER | WAITING) == 0 && state & READERS < READERS).then_some(state + 1))
    }

    /// Becomes the writer, if that is possible now.
    #[inline]
    pub fn try_lock_exclusive(&self) -> bool {
        self.update(|state| (state & (WRITER | READERS) == 0).then_some(state & STAMP | WRITER))
    }

    /// Waits until there is no writer, and becomes a reader.
    #[inline]
    pub fn lock_shared(&self) {
        let mut turns = 0;
        while !self.try_lock_shared() {
            pause(&mut turns);
        }
    }

    /// Waits until nobody else has the lock, and becomes the writer.
    #[inline]
    pub fn lock_exclusive(&self) {
        let mut turns = 0;
        while !self.try_lock_exclusive() {
            self.update(|state| (state & (WRITER | READERS) != 0).then_some(state | WAITING));
            pause(&mut turns);
        }
    }

    /// Ends being a reader.
    ///
    /// # Safety
    /// The caller is one.
    #[inline]
    pub unsafe fn unlock_shared(&self) {
        // In a child the state is the parent's until somebody takes the lock.
        if self.0.load(Ordering::Relaxed) & STAMP == stamp() {
            self.0.fetch_sub(1, Ordering::Release);
        }
    }

    /// Ends being the writer.
    ///
    /// # Safety
    /// The caller is it.
    #[inline]
    pub unsafe fn unlock_exclusive(&self) {
        if self.0.load(Ordering::Relaxed) & STAMP == stamp() {
            self.0.fetch_and(!WRITER, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_readers_or_one_writer() {
        let lock = Lock::new();
        assert!(lock.try_lock_shared() && lock.try_lock_shared() && !lock.try_lock_exclusive());
        // SAFETY: each was taken above.
        unsafe {
            lock.unlock_shared();
            lock.unlock_shared();
        }
        assert!(lock.try_lock_exclusive() && !lock.try_lock_shared() && !lock.try_lock_exclusive());
        // SAFETY: as above.
        unsafe { lock.unlock_exclusive() }
        assert!(lock.try_lock_shared());
    }

    #[test]
    fn what_another_process_left_is_free() {
        let other = u32::from(fork::stamp().wrapping_add(1)) << 22;
        let lock = Lock(AtomicU32::new(other | WRITER));
        assert!(lock.try_lock_shared());
        lock.0.store(other | 7, Ordering::Relaxed);
        assert!(lock.try_lock_exclusive());
    }

    #[test]
    fn writers_do_not_starve_and_sums_are_whole() {
        struct Count(std::cell::UnsafeCell<u64>);
        // SAFETY: reached under the lock alone.
        unsafe impl Sync for Count {}
        let (lock, count) = (Lock::new(), Count(0.into()));
        std::thread::scope(|scope| {
            for n in 0..4 {
                let (lock, count) = (&lock, &count);
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        // SAFETY: the lock is held.
                        unsafe {
                            if n % 2 == 0 {
                                lock.lock_exclusive();
                                *count.0.get() += 1;
                                lock.unlock_exclusive();
                            } else {
                                lock.lock_shared();
                                std::hint::black_box(*count.0.get());
                                lock.unlock_shared();
                            }
                        }
                    }
                });
            }
        });
        assert_eq!(count.0.into_inner(), 20_000);
    }
}
