//! A reference-counted pointer whose memory comes from the pool.

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use super::pool;

/// Shared ownership of a `T`, as `std::sync::Arc` without weak references, in pooled memory.
pub struct Shared<T>(NonNull<Counted<T>>);

struct Counted<T> {
    count: AtomicUsize,
    value: T,
}

// SAFETY: as for `Arc`: the value is reached through shared references from any thread and dropped by one.
unsafe impl<T: Send + Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Moves a value into pooled memory.
    ///
    /// # Panics
    /// Aborts the process as `Arc::new` does where not even these few bytes can be had.
    #[inline]
    pub fn new(value: T) -> Self {
        const { assert!(align_of::<Counted<T>>() <= pool::ALIGN) };
        let bytes = size_of::<Counted<T>>();
        let Some(block) = pool::allocate(bytes) else {
            std::alloc::handle_alloc_error(std::alloc::Layout::new::<Counted<T>>())
        };
        let block = block.cast::<Counted<T>>();
        // SAFETY: the block is large and aligned enough, and ours.
        unsafe { block.write(Counted { count: AtomicUsize::new(1), value }) };
        Shared(block)
    }

    #[inline]
    fn counted(&self) -> &Counted<T> {
        // SAFETY: the count that this pointer holds keeps the value alive.
        unsafe { self.0.as_ref() }
    }

    /// True where this is the only pointer to the value.
    #[inline]
    pub fn is_unique(&self) -> bool {
        self.counted().count.load(Ordering::Acquire) == 1
    }

    /// True where both point to one value.
    #[inline]
    pub fn same(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// The address of the value: its identity.
    #[inline]
    pub fn address(&self) -> usize {
        self.0.as_ptr() as usize
    }

    /// Gives up the pointer; [`Self::from_raw`] takes it up again.
    #[inline]
    pub fn into_raw(self) -> *mut () {
        let raw = self.0.as_ptr().cast();
        std::mem::forget(self);
        raw
    }

    /// Takes up a pointer given up by [`Self::into_raw`].
    ///
    /// # Safety
    /// `raw` came from `into_raw` of the same type, and is taken up once.
    #[inline]
    pub unsafe fn from_raw(raw: NonNull<()>) -> Self {
        Shared(raw.cast())
    }

    /// Looks at a value whose pointer was given up.
    ///
    /// # Safety
    /// `raw` came from `into_raw` of the same type, and is not taken up while the reference lives.
    #[inline]
    pub unsafe fn borrow_raw<'a>(raw: NonNull<()>) -> &'a T {
        // SAFETY: the caller keeps the value alive.
        unsafe { &raw.cast::<Counted<T>>().as_ref().value }
    }
}

impl<T> Clone for Shared<T> {
    #[inline]
    fn clone(&self) -> Self {
        self.counted().count.fetch_add(1, Ordering::Relaxed);
        Shared(self.0)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.counted().value
    }
}

impl<T> Drop for Shared<T> {
    #[inline]
    fn drop(&mut self) {
        if self.counted().count.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        fence(Ordering::Acquire);
        // SAFETY: the last pointer is going; nobody else can reach the value.
        unsafe {
            self.0.drop_in_place();
            pool::free(self.0.cast(), size_of::<Counted<T>>());
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn the_last_pointer_drops_the_value() {
        struct Count<'a>(&'a AtomicU32);
        impl Drop for Count<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let drops = AtomicU32::new(0);
        let a = Shared::new(Count(&drops));
        let b = a.clone();
        assert!(a.same(&b) && !a.is_unique());
        drop(a);
        assert_eq!(drops.load(Ordering::Relaxed), 0);
        drop(b);
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    }
}
