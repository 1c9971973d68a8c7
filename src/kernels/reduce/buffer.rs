//! Room for a block of elements.

use crate::memory::{NAMELESS, known, reserved};

/// A vector's worth of bytes, as vectors are aligned: stores that cross lines of the cache take twice the time.
#[repr(align(64))]
struct Line(#[allow(dead_code, reason = "memory only")] [u8; 64]);

/// Memory that blocks are read into, one after another.
#[derive(Default)]
pub(super) struct Buffer(Vec<Line>);

impl Buffer {
    /// Room for so many elements; what was there before may be lost.
    ///
    /// # Panics
    /// As [`known`], where there is no memory.
    pub fn room<T>(&mut self, elements: usize) -> *mut T {
        let lines = (elements * size_of::<T>()).div_ceil(size_of::<Line>());
        if lines > self.0.capacity() {
            self.0 = known(reserved(NAMELESS, lines));
        }
        self.0.as_mut_ptr().cast()
    }
}
