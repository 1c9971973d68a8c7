//! A lock of one byte for a few instructions at a time.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};

/// A value that one thread at a time reaches. Whoever waits spins, so nothing long and nothing that could wait for
/// the same lock is done while it is held; above all, nothing is dropped that may hold other tensors.
#[derive(Default)]
pub struct Spin<T> {
    held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by one thread at a time.
unsafe impl<T: Send> Sync for Spin<T> {}

/// Access to the value, until it drops.
pub struct SpinGuard<'a, T>(&'a Spin<T>);

impl<T> Spin<T> {
    /// A value that nobody holds.
    pub const fn new(value: T) -> Self {
        Spin { held: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Waits until nobody else holds the value.
    #[inline]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        if self.held.swap(true, Ordering::Acquire) {
            self.wait();
        }
        SpinGuard(self)
    }

    #[cold]
    fn wait(&self) {
        let mut turns = 0;
        while self.held.swap(true, Ordering::Acquire) {
            turns += 1;
            // The holder may be a thread that does not run at the moment.
            if turns < 64 { std::hint::spin_loop() } else { std::thread::yield_now() }
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
        self.held.store(false, Ordering::Release);
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
        self.0.held.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
