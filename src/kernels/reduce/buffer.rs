//! Room for a block of elements.

use crate::memory::{NAMELESS, give_up, reserved};

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
    /// As [`give_up`], where there is no memory.
    pub fn room<T>(&mut self, elements: usize) -> *mut T {
        let lines = (elements * size_of::<T>()).div_ceil(size_of::<Line>());
        if lines > self.0.capacity() {
            self.0 = reserved(NAMELESS, lines).unwrap_or_else(|error| give_up(error));
        }
        self.0.as_mut_ptr().cast()
    }
}
