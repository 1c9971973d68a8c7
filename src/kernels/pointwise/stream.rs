//! Results of programs that go around the caches: where these cannot hold a result, nothing of it would be found there
//! again, and a store that does not read its line first saves a third of the traffic.

use super::{Input, Plan};
use crate::kernels::instructions::Run;

/// Bytes of a result that goes around the caches: what last-level caches of ordinary machines hold.
const LARGE: usize = 32 << 20;

impl<T: Run> Plan<'_, T> {
    /// True where the result goes straight to memory without gaps that nothing has read, in whole lines of the cache, and the
    /// caches cannot hold it.
    pub(super) fn may_stream(&self) -> bool {
        let bytes = self.walk.shape.iter().product::<usize>() * size_of::<T>();
        let is_target = |input: &Input| matches!(*input, Input::Array { data, .. } if data == self.targets[0].data);
        let is_whole = !self.by_rows || (self.walk.inner() * size_of::<T>()).is_multiple_of(64);
        cfg!(target_arch = "x86_64")
            && is_whole
            && bytes >= LARGE
            && self.is_direct
            && self.walk.is_row_major(0)
            && !self.inputs.iter().any(is_target)
    }
}

/// Copies `n` elements, around the caches where the target is aligned for it. [`fence`] ends a run of such copies.
///
/// # Safety
/// Both have `n` elements, which do not overlap.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn copy<T>(from: *const T, to: *mut T, n: usize) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};
    const WIDTH: usize = size_of::<__m128i>();
    let bytes = n * size_of::<T>();
    let (from, to) = (from.cast::<u8>(), to.cast::<u8>());
    let whole = if to.addr().is_multiple_of(WIDTH) { bytes - bytes % WIDTH } else { 0 };
    // SAFETY: the caller's; the target is aligned for whole vectors.
    unsafe {
        for at in (0..whole).step_by(WIDTH) {
            _mm_stream_si128(to.add(at).cast(), _mm_loadu_si128(from.add(at).cast()));
        }
        std::ptr::copy_nonoverlapping(from.add(whole), to.add(whole), bytes - whole);
    }
}

/// As on x86-64, through the caches.
///
/// # Safety
/// As there.
#[cfg(not(target_arch = "x86_64"))]
pub(super) unsafe fn copy<T>(from: *const T, to: *mut T, n: usize) {
    // SAFETY: the caller's.
    unsafe { std::ptr::copy_nonoverlapping(from, to, n) }
}

/// Makes what was copied around the caches visible to other threads before what is written next.
pub(super) fn fence() {
    // SAFETY: every x86-64 processor has it.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}
