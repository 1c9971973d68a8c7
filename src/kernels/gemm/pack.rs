//! Copies of operands in the order in which kernels read them, and the memory for them.

use std::cell::Cell;
use std::mem::MaybeUninit;

use super::{Product, View};
use crate::kernels::transpose::squares;

/// One cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line {
    _bytes: [MaybeUninit<u8>; 64],
}

/// Copies up to this many bytes live on the stack.
const ON_STACK: usize = 8192;
/// Larger ones live in memory that the thread keeps, up to this size: freed each time, it would go back to the system
/// and cost a page fault for every page.
const KEPT: usize = 4 << 20;

/// Gives `body` uninitialised room for `len` elements, aligned to cache lines.
pub(in crate::kernels) fn with_room<T: Copy, R>(len: usize, body: impl FnOnce(*mut T) -> R) -> R {
    thread_local!(static ROOM: Cell<Vec<Line>> = const { Cell::new(Vec::new()) });
    let bytes = len * size_of::<T>();
    if bytes <= ON_STACK {
        let mut room = [const { MaybeUninit::<Line>::uninit() }; ON_STACK / size_of::<Line>()];
        return body(room.as_mut_ptr().cast());
    }
    // A thread that is about to end has nowhere to keep it.
    let mut room = ROOM.try_with(Cell::take).unwrap_or_default();
    room.reserve(bytes.div_ceil(size_of::<Line>()));
    let result = body(room.as_mut_ptr().cast());
    if room.capacity() * size_of::<Line>() <= KEPT {
        let _ = ROOM.try_with(|kept| kept.set(room));
    }
    result
}

/// The distance between rows of a packed copy: whole vectors, and not a multiple of 512 bytes, which would send all
/// rows to a few sets of the cache.
fn packed_stride<T: Product>(cols: usize) -> usize {
    let stride = cols.next_multiple_of(T::LANES);
    if stride.is_multiple_of(8 * T::LANES) { stride + T::LANES } else { stride }
}

/// The number of elements in a packed copy.
pub(super) fn packed_len<T: Product>(b: View<T>) -> usize {
    b.rows * packed_stride::<T>(b.cols)
}

/// Copies `b` into `room`, its rows contiguous and padded with zeros to whole vectors.
///
/// # Safety
/// `b` is readable, and `room` is writable for [`packed_len`] elements.
pub(super) unsafe fn pack<T: Product>(b: View<T>, room: *mut T) -> View<T> {
    let stride = packed_stride::<T>(b.cols);
    let padding = b.cols.next_multiple_of(T::LANES) - b.cols;
    // SAFETY: all rows lie inside of `b` and of the room.
    unsafe {
        let (rows, cols) = match b.row_stride {
            1 => squares((b.at(0, 0), b.col_stride), (room, stride), (b.rows, b.cols)),
            _ => (0, 0),
        };
        for k in 0..b.rows {
            let (row, done) = (room.add(k * stride), if k < rows { cols } else { 0 });
            if padding > 0 {
                row.add(b.cols + padding - T::LANES).cast::<T::Lanes>().write(T::ZERO.splat());
            }
            if b.col_stride == 1 && b.cols < T::LANES {
                copy_short(b.at(k, 0), row, b.cols);
            } else if b.col_stride == 1 {
                row.copy_from_nonoverlapping(b.at(k, 0), b.cols);
            } else {
                (done..b.cols).for_each(|j| *row.add(j) = *b.at(k, j));
            }
        }
    }
    View { ptr: room, row_stride: stride as isize, col_stride: 1, ..b }
}

/// Copies fewer than 64 elements in pieces of fixed sizes, which costs less than a call to `memcpy`.
///
/// # Safety
/// `len` elements are readable and writable.
#[inline(always)]
pub(super) unsafe fn copy_short<T: Copy>(from: *const T, to: *mut T, len: usize) {
    macro_rules! pieces {
        ($($piece:literal)*) => {$(
            if len & $piece != 0 {
                let at = len & !(2 * $piece - 1);
                // SAFETY: the pieces up to this one cover no more than `len`.
                unsafe { to.add(at).cast::<[T; $piece]>().write(from.add(at).cast::<[T; $piece]>().read()) };
            }
        )*};
    }
    pieces!(32 16 8 4 2 1);
}
