//! A reference-counted pointer whose memory comes from the pool.

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use super::pool;

/// Shared ownership of a `T`, as `std::sync::Arc` without weak references, in pooled memory.
pub struct Shared<T>(NonNull<Counted<T>>);

#[repr(C)]
struct Counted<T> {
    count: AtomicU32,
    /// The class of the block.
    class: u16,
    /// How far behind the block's beginning this lies, in units of its alignment.
    lead: u16,
    value: T,
}

/// More pointers than this to one value are a defect.
const MOST: u32 = i32::MAX as u32;

// SAFETY: as for `Arc`: the value is reached through shared references from any thread and dropped by one.
unsafe impl<T: Send + Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Moves a value into pooled memory.
    ///
    /// # Panics
    /// Where not even these few bytes can be had.
    #[inline]
    pub fn new(value: T) -> Self {
        match Shared::with_lead(0, |_| value) {
            Some(shared) => shared,
            None => super::exhausted(size_of::<Counted<T>>()),
        }
    }

    /// Makes a value in pooled memory with `bytes` bytes before it, at most a page of them, aligned to
    /// [`pool::ALIGN`], whose address it is told and whose contents are anything; `None` where there is no memory.
    #[inline]
    pub fn with_lead(bytes: usize, make: impl FnOnce(NonNull<u8>) -> T) -> Option<Self> {
        const { assert!(align_of::<Counted<T>>() <= pool::LEAST_ALIGN) };
        let lead = bytes.div_ceil(align_of::<Counted<T>>());
        let before = lead * align_of::<Counted<T>>();
        let size = before + size_of::<Counted<T>>();
        let class = if lead == 0 { pool::class_of(size) } else { pool::aligned_class_of(size) };
        let block = pool::allocate_class(class)?;
        let header = Counted { count: AtomicU32::new(1), class: class as u16, lead: lead as u16, value: make(block) };
        // SAFETY: the block has room for the bytes and the counted value behind them, is aligned enough, and ours.
        unsafe {
            let at = block.add(before).cast::<Counted<T>>();
            at.write(header);
            Some(Shared(at))
        }
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

    /// How many pointers there are to the value.
    #[inline]
    pub fn count(&self) -> u32 {
        self.counted().count.load(Ordering::Acquire)
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

    /// How many pointers there are to a value, the one that was given up among them.
    ///
    /// # Safety
    /// As [`Self::borrow_raw`].
    #[inline]
    pub unsafe fn count_raw(raw: NonNull<()>) -> u32 {
        // SAFETY: the caller keeps the value alive.
        unsafe { raw.cast::<Counted<T>>().as_ref().count.load(Ordering::Acquire) }
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
        if self.counted().count.fetch_add(1, Ordering::Relaxed) > MOST {
            std::process::abort();
        }
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
        let count = &self.counted().count;
        // Where this is the only pointer nobody can make another one meanwhile.
        if count.load(Ordering::Acquire) != 1 && count.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let (class, lead) = (self.counted().class as usize, self.counted().lead as usize);
        // SAFETY: the last pointer is going, nobody else can reach the value; the block begins so far before it.
        unsafe {
            self.0.drop_in_place();
            pool::free_class(self.0.cast::<u8>().sub(lead * align_of::<Counted<T>>()), class);
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

    #[test]
    fn a_lead_is_aligned_memory_before_the_value() {
        for bytes in 1..500 {
            let mut address = None;
            let shared = Shared::with_lead(bytes, |lead| {
                // SAFETY: the lead has so many bytes.
                unsafe { lead.write_bytes(7, bytes) };
                address = Some(lead);
                5u64
            });
            assert_eq!(shared.as_deref(), Some(&5));
            assert!(address.is_some_and(|a| a.addr().get().is_multiple_of(pool::ALIGN)));
            // SAFETY: the value keeps the lead.
            assert_eq!(address.map(|a| unsafe { a.add(bytes - 1).read() }), Some(7));
        }
    }

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
