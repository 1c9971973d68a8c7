//! The memory behind tensors: shared by views, counted, locked while kernels use it, and versioned.

use std::any::Any;
use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::pending::Pending;
use crate::error::{Error, Result};
use crate::graph::{anomaly, mode};
use crate::memory::lock::Lock;
use crate::memory::shared::Shared;
use crate::memory::{boxed_or_new, pool};

/// Memory that tensors share.
pub type Storage = Shared<Buffer>;

/// Which of a storage's version counters a tensor moves: `x.data` writes without telling `x`'s graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    /// The counter that saved values are checked against.
    Tracked,
    /// The counter of tensors made by `.data`.
    Untracked,
    /// A counter of one tensor that shares memory with others and counts as none of them: see [`Buffer::part`].
    Part(u8),
    /// None that anybody looks at: tensors made in inference mode are never saved.
    Inference,
}

impl Versioning {
    /// That of a new tensor in the present mode.
    #[inline]
    pub fn fresh() -> Versioning {
        if mode::is_inference_mode_enabled() { Versioning::Inference } else { Versioning::Tracked }
    }
}

/// Counts what has to be told from memory that is older: see [`tick`].
static NOW: AtomicU64 = AtomicU64::new(0);

/// A moment: memory of before it is older than it, by [`Buffer::is_older`], and memory of afterwards is not.
pub fn tick() -> u64 {
    NOW.fetch_add(1, Relaxed) + 1
}

/// Who gave the memory, where it is not the pool.
enum Owner {
    /// Somebody outside, who frees it when this drops.
    External { _keep: Box<dyn Any + Send + Sync>, read_only: bool },
    /// A value that is computed when somebody looks.
    Waiting(Arc<Pending>),
}

/// What few buffers have.
#[derive(Default)]
struct Rest {
    owner: Option<Owner>,
    /// Set where somebody outside can write to the memory.
    exposed: AtomicBool,
    /// Who must compute before the memory changes.
    readers: Mutex<Vec<Weak<Pending>>>,
    /// The counters of [`Versioning::Part`].
    parts: Mutex<Vec<u32>>,
}

/// Up to this many bytes lie before the buffer itself, aligned as all others are.
const INLINE: usize = 456;

/// A block of memory with its lock and versions.
pub struct Buffer {
    data: NonNull<u8>,
    bytes: usize,
    lock: Lock,
    versions: [AtomicU32; 2],
    made: u64,
    /// A `Box<Rest>` given up, or null as long as there is nothing in it.
    rest: AtomicPtr<Rest>,
}

/// One cache line with the count and an element.
const _: () = assert!(size_of::<Buffer>() <= 48);

// SAFETY: the memory belongs to the buffer (or to its external owner, who is `Send + Sync`), and kernels reach it only
// through `read` and `write` guards or, for one element, through atomics.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Memory from the pool, its contents anything.
    #[inline]
    pub fn allocate(op: &'static str, bytes: usize) -> Result<Storage> {
        let none = || Error::OutOfMemory { op, bytes };
        if bytes <= INLINE {
            return Shared::with_lead(bytes, |data| Buffer::new(data, bytes, None)).ok_or_else(none);
        }
        let data = pool::allocate_aligned(bytes).ok_or_else(none)?;
        Ok(Shared::new(Buffer::new(data, bytes, None)))
    }

    /// Memory for a value that is computed when somebody looks.
    pub(super) fn waiting(pending: Arc<Pending>) -> Storage {
        let bytes = pending.bytes();
        Shared::new(Buffer::new(NonNull::dangling(), bytes, Some(Owner::Waiting(pending))))
    }

    #[inline]
    fn new(data: NonNull<u8>, bytes: usize, owner: Option<Owner>) -> Buffer {
        let rest = owner.map(|owner| Box::into_raw(Box::new(Rest { owner: Some(owner), ..Rest::default() })));
        Buffer {
            data,
            bytes,
            lock: Lock::new(),
            versions: [AtomicU32::new(0), AtomicU32::new(0)],
            made: NOW.load(Relaxed),
            rest: AtomicPtr::new(rest.unwrap_or_default()),
        }
    }

    /// Memory of somebody else, kept alive by `keep`.
    ///
    /// # Safety
    /// `data` is valid for reads (and for writes unless `read_only`) of `bytes` bytes until `keep` drops.
    pub unsafe fn external(
        data: NonNull<u8>,
        bytes: usize,
        keep: Box<dyn Any + Send + Sync>,
        read_only: bool,
    ) -> Storage {
        Shared::new(Buffer::new(data, bytes, Some(Owner::External { _keep: keep, read_only })))
    }

    /// The first byte; what waits to be computed is.
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        match self.owner() {
            Some(Owner::Waiting(pending)) => pending.elements(),
            _ => self.data.as_ptr(),
        }
    }

    /// The value that waits, or waited, to be computed into this memory.
    #[inline]
    pub(super) fn pending(&self) -> Option<&Pending> {
        match self.owner() {
            Some(Owner::Waiting(pending)) => Some(pending),
            _ => None,
        }
    }

    /// True as long as the elements are not computed.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.pending().is_some_and(Pending::is_waiting)
    }

    /// True where somebody outside can write to the memory.
    pub(crate) fn is_exposed(&self) -> bool {
        self.is_external() || self.rest().is_some_and(|r| r.exposed.load(Relaxed))
    }

    /// Notes that somebody outside can write to the memory from now on.
    pub(super) fn expose(&self) {
        self.rest_or_new().exposed.store(true, Relaxed);
        self.settle_readers();
    }

    /// Notes a value that must be computed before the memory changes.
    pub(super) fn note_reader(&self, reader: &Arc<Pending>) {
        let mut list = self.rest_or_new().readers.lock();
        if list.len() == list.capacity() {
            list.retain(|r| r.strong_count() > 0);
        }
        list.push(Arc::downgrade(reader));
    }

    /// Forgets who reads the memory: for the only reader, that will write it itself.
    pub(super) fn forget_readers(&self) {
        if let Some(rest) = self.rest() {
            rest.readers.lock().clear();
        }
    }

    #[inline]
    fn rest(&self) -> Option<&Rest> {
        // SAFETY: once set, the rest stays until the buffer drops.
        unsafe { self.rest.load(Acquire).as_ref() }
    }

    #[inline]
    fn owner(&self) -> Option<&Owner> {
        self.rest()?.owner.as_ref()
    }

    fn rest_or_new(&self) -> &Rest {
        // SAFETY: the rest comes from a box, and once set stays until the buffer drops.
        unsafe { boxed_or_new(&self.rest) }
    }

    /// Computes all that waits and reads this memory.
    #[cold]
    fn settle_readers(&self) {
        let Some(rest) = self.rest() else { return };
        let waiting: SmallVec<[Arc<Pending>; 8]> = rest.readers.lock().iter().filter_map(Weak::upgrade).collect();
        if waiting.is_empty() {
            return;
        }
        for reader in &waiting {
            reader.elements();
        }
        // Not before all are computed: where there is no memory for one, the next write asks for it again.
        rest.readers.lock().retain(|reader| reader.upgrade().is_some_and(|r| r.is_waiting()));
    }

    /// Computes what waits in this memory, and before it is written what reads it.
    #[inline]
    fn prepare(&self, write: bool) {
        let Some(rest) = self.rest() else { return };
        if let Some(Owner::Waiting(pending)) = &rest.owner {
            pending.elements();
        }
        if write {
            self.settle_readers();
        }
    }

    /// An element, read as an atomic, so that no lock is needed.
    ///
    /// # Safety
    /// Element `at` of type `T`, of four or eight bytes, lies in the memory.
    #[inline]
    pub(crate) unsafe fn read_element<T: Copy>(&self, at: usize) -> T {
        // SAFETY: as the caller says; the memory is aligned for its elements, and atomics of their size read the same
        // bytes.
        unsafe {
            let place = self.as_ptr().add(at * size_of::<T>());
            if size_of::<T>() == 4 {
                std::mem::transmute_copy(&AtomicU32::from_ptr(place.cast()).load(Relaxed))
            } else {
                std::mem::transmute_copy(&AtomicU64::from_ptr(place.cast()).load(Relaxed))
            }
        }
    }

    /// Writes an element as [`Buffer::read_element`] reads it.
    ///
    /// # Safety
    /// As [`Buffer::read_element`].
    #[inline]
    pub(crate) unsafe fn write_element<T: Copy>(&self, at: usize, value: T) {
        // SAFETY: as in `read_element`.
        unsafe {
            let place = self.as_ptr().add(at * size_of::<T>());
            if size_of::<T>() == 4 {
                AtomicU32::from_ptr(place.cast()).store(std::mem::transmute_copy(&value), Relaxed);
            } else {
                AtomicU64::from_ptr(place.cast()).store(std::mem::transmute_copy(&value), Relaxed);
            }
        }
    }

    /// True where the memory was there before a moment of [`tick`].
    #[inline]
    pub fn is_older(&self, moment: u64) -> bool {
        self.made < moment
    }

    /// How many bytes there are.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// True where the memory belongs to somebody outside.
    #[inline]
    pub fn is_external(&self) -> bool {
        matches!(self.owner(), Some(Owner::External { .. }))
    }

    /// True where writing is refused.
    #[inline]
    pub fn is_read_only(&self) -> bool {
        matches!(self.owner(), Some(Owner::External { read_only: true, .. }))
    }

    /// How often the memory was changed in place.
    #[inline]
    pub fn version(&self, counter: Versioning) -> u32 {
        self.versions.get(self.counter(counter)).map_or_else(|| self.part_versions(counter, 0), |v| v.load(Relaxed))
    }

    /// The place of a counter among those that all buffers have.
    #[inline]
    fn counter(&self, counter: Versioning) -> usize {
        match counter {
            Versioning::Tracked | Versioning::Inference => 0,
            Versioning::Untracked => 1,
            Versioning::Part(_) => usize::MAX,
        }
    }

    /// Adds to the counter of a part, and gives it.
    #[cold]
    fn part_versions(&self, counter: Versioning, changes: u32) -> u32 {
        let (Versioning::Part(n), Some(rest)) = (counter, self.rest()) else { return 0 };
        let mut all = rest.parts.lock();
        let Some(count) = all.get_mut(usize::from(n)) else { return 0 };
        *count = count.wrapping_add(changes);
        *count
    }

    /// A counter of its own for a tensor that is to count as no other that has this memory. The last of 256 is shared.
    pub fn part(&self) -> Versioning {
        let mut all = self.rest_or_new().parts.lock();
        if all.len() <= usize::from(u8::MAX) {
            all.push(0);
        }
        Versioning::Part((all.len() - 1) as u8)
    }

    /// Goes on with the counts of the memory whose place this one takes.
    pub fn count_on(&self, before: &Buffer) {
        for (now, before) in self.versions.iter().zip(&before.versions) {
            now.store(before.load(Relaxed), Relaxed);
        }
    }

    /// Adds to a counter; what wraps takes changes back.
    #[inline]
    pub fn add_changes(&self, counter: Versioning, changes: u32) {
        match self.versions.get(self.counter(counter)) {
            Some(count) => count.fetch_add(changes, Relaxed),
            None => self.part_versions(counter, changes),
        };
    }

    /// Counts a change in place.
    #[inline]
    pub fn bump(&self, counter: Versioning) {
        self.add_changes(counter, 1);
        if anomaly::is_enabled() {
            anomaly::note_change(self.as_ptr() as usize);
        }
    }
}

impl Drop for Buffer {
    #[inline]
    fn drop(&mut self) {
        if self.owner().is_none() && self.bytes > INLINE {
            // SAFETY: the block came from `pool::allocate_aligned` with this size, and the last owner is going.
            unsafe { pool::free_aligned(self.data, self.bytes) };
        }
        if let Some(rest) = NonNull::new(*self.rest.get_mut()) {
            // SAFETY: the pointer came from a box, and the last owner is going.
            drop(unsafe { Box::from_raw(rest.as_ptr()) });
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.bytes)
    }
}

/// Locks on all the storages that one kernel uses. Taken in the order of addresses, so that two kernels that need the
/// same storages in another order cannot wait for each other, and once a storage, so that `x += x` does not wait for
/// itself.
pub struct Access<'a> {
    held: SmallVec<[(&'a Buffer, bool); 4]>,
}

impl<'a> Access<'a> {
    /// Locks `used`: each storage with whether it is written. Entries may repeat.
    pub fn lock(used: impl IntoIterator<Item = (&'a Buffer, bool)>) -> Self {
        let mut held: SmallVec<[(&Buffer, bool); 4]> = used.into_iter().collect();
        // A writer sorts before the readers of the same storage, so that the entry which stays is the stronger.
        held.sort_unstable_by_key(|&(buffer, write)| (std::ptr::from_ref(buffer).addr(), !write));
        held.dedup_by_key(|&mut (buffer, _)| std::ptr::from_ref(buffer));
        held.iter().for_each(|(buffer, write)| buffer.prepare(*write));
        for &(buffer, write) in &held {
            if write { buffer.lock.lock_exclusive() } else { buffer.lock.lock_shared() }
        }
        Access { held }
    }
}

impl Drop for Access<'_> {
    fn drop(&mut self) {
        for &(buffer, write) in &self.held {
            // SAFETY: `lock` took exactly these locks, and only this value releases them.
            unsafe { if write { buffer.lock.unlock_exclusive() } else { buffer.lock.unlock_shared() } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storage_may_be_read_and_written_by_one_kernel() {
        let a = Buffer::allocate("test", 64).unwrap();
        let b = Buffer::allocate("test", 64).unwrap();
        for _ in 0..2 {
            let _access = Access::lock([(&*a, false), (&*b, false), (&*a, true)]);
            assert!(!a.lock.try_lock_shared());
        }
        let _one = Access::lock([(&*a, false)]);
        let _two = Access::lock([(&*a, false), (&*b, true)]);
    }

    #[test]
    fn versions_are_separate() {
        let a = Buffer::allocate("test", 8).unwrap();
        a.bump(Versioning::Untracked);
        assert_eq!((a.version(Versioning::Tracked), a.version(Versioning::Untracked)), (0, 1));
    }
}
