//! A lock of one byte, which a forked child finds free.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::fork;

/// A value that one thread at a time reaches. Whoever waits spins, and after a while sleeps, so little is done while it
/// is held, and nothing that could wait for the same lock; above all, nothing is dropped that may hold other tensors.
#[derive(Default)]
pub struct Spin<T> {
    /// The stamp of the process whose thread has the value, or 0.
    held: AtomicU8,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by one thread at a time.
unsafe impl<T: Send> Sync for Spin<T> {}

/// Waits a little, and longer from turn to turn: the holder of a lock may be a thread that does not run at the moment.
pub(crate) fn pause(turns: &mut u32) {
    *turns += 1;
    match *turns {
        ..64 => std::hint::spin_loop(),
        64..1024 => std::thread::yield_now(),
        _ => std::thread::sleep(Duration::from_micros(100)),
    }
}

/// Access to the value, until it drops.
pub struct SpinGuard<'a, T>(&'a Spin<T>);

impl<T> Spin<T> {
    /// A value that nobody holds.
    pub const fn new(value: T) -> Self {
        Spin { held: AtomicU8::new(0), value: UnsafeCell::new(value) }
    }

    /// Waits until nobody else holds the value.
    #[inline]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        let stamp = fork::stamp();
        if self.held.swap(stamp, Ordering::Acquire) == stamp {
            self.wait(stamp);
        }
        SpinGuard(self)
    }

    #[cold]
    fn wait(&self, stamp: u8) {
        let mut turns = 0;
        while self.held.swap(stamp, Ordering::Acquire) == stamp {
            pause(&mut turns);
        }
    }

    /// Takes the lock until [`Self::release`].
    pub(crate) fn hold(&self) {
        std::mem::forget(self.lock());
    }

    /// Gives back what [`Self::hold`] took.
    ///
    /// # Safety
    /// The lock is held by `hold`, once.
    pub(crate) unsafe fn release(&self) {
        self.held.store(0, Ordering::Release);
    }

    /// The value of a lock that nobody else can reach.
    #[inline]
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard holds the lock.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for SpinGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.0.held.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_process_left_is_free() {
        let lock = Spin::new(1);
        lock.held.store(fork::stamp().wrapping_add(1), Ordering::Relaxed);
        assert_eq!(*lock.lock(), 1);
    }

    #[test]
    fn one_thread_at_a_time() {
        let counter = Spin::new(0u64);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| *counter.lock() += 1));
            }
        });
        assert_eq!(*counter.lock(), 40_000);
    }
}
