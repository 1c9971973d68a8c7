//! The memory behind tensors: shared by views, counted, locked while kernels use it, and versioned.

use std::any::Any;
use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use parking_lot::RawRwLock;
use parking_lot::lock_api::RawRwLock as _;
use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::graph::{anomaly, mode};
use crate::memory::pool;
use crate::memory::shared::Shared;

/// Memory that tensors share.
pub type Storage = Shared<Buffer>;

/// Which of a storage's version counters a tensor moves: `x.data` writes without telling `x`'s graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    /// The counter that saved values are checked against.
    Tracked,
    /// The counter of tensors made by `.data`.
    Untracked,
    /// None that anybody looks at: tensors made in inference mode are never saved.
    Inference,
}

impl Versioning {
    /// That of a new tensor in the present mode.
    #[inline]
    pub fn fresh() -> Versioning {
        if mode::is_inference_mode_enabled() { Versioning::Inference } else { Versioning::Tracked }
    }

    #[inline]
    fn counter(self) -> usize {
        usize::from(self == Versioning::Untracked)
    }
}

/// Who gave the memory.
enum Owner {
    Pool,
    /// Somebody outside, who frees it when this drops.
    External {
        _keep: Box<dyn Any + Send + Sync>,
        read_only: bool,
    },
}

/// A block of memory with its lock and versions.
pub struct Buffer {
    data: NonNull<u8>,
    bytes: usize,
    lock: RawRwLock,
    versions: [AtomicU32; 2],
    owner: Owner,
}

// SAFETY: the memory belongs to the buffer (or to its external owner, who is `Send + Sync`), and kernels reach it only
// through `read` and `write` guards or, for one element, through atomics.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Memory from the pool, its contents anything.
    #[inline]
    pub fn allocate(op: &'static str, bytes: usize) -> Result<Storage> {
        let data = pool::allocate(bytes).ok_or(Error::OutOfMemory { op, bytes })?;
        Ok(Shared::new(Buffer {
            data,
            bytes,
            lock: RawRwLock::INIT,
            versions: [AtomicU32::new(0), AtomicU32::new(0)],
            owner: Owner::Pool,
        }))
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
        Shared::new(Buffer {
            data,
            bytes,
            lock: RawRwLock::INIT,
            versions: [AtomicU32::new(0), AtomicU32::new(0)],
            owner: Owner::External { _keep: keep, read_only },
        })
    }

    /// The first byte.
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        self.data.as_ptr()
    }

    /// How many bytes there are.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// True where writing is refused.
    #[inline]
    pub fn is_read_only(&self) -> bool {
        matches!(self.owner, Owner::External { read_only: true, .. })
    }

    /// How often the memory was changed in place.
    #[inline]
    pub fn version(&self, counter: Versioning) -> u32 {
        self.versions[counter.counter()].load(Relaxed)
    }

    /// Counts a change in place.
    #[inline]
    pub fn bump(&self, counter: Versioning) {
        self.versions[counter.counter()].fetch_add(1, Relaxed);
        if anomaly::is_enabled() {
            anomaly::note_change(self.data.as_ptr() as usize);
        }
    }
}

impl Drop for Buffer {
    #[inline]
    fn drop(&mut self) {
        if let Owner::Pool = self.owner {
            // SAFETY: the block came from `pool::allocate` with this size, and the last owner is going.
            unsafe { pool::free(self.data, self.bytes) };
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
