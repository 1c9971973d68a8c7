//! Copies of operands in the order in which kernels read them, and the memory for them.

use std::cell::Cell;
use std::mem::MaybeUninit;

use super::{Product, View};

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
        let (rows, cols) = if b.row_stride == 1 { squares(b, room, stride) } else { (0, 0) };
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

/// Turns the columns of `b`, contiguous, into rows by squares in registers, and says how many rows and columns that
/// were.
#[cfg(target_arch = "x86_64")]
unsafe fn squares<T: Product>(b: View<T>, room: *mut T, stride: usize) -> (usize, usize) {
    use crate::kernels::dispatch::{Tier, tier};
    // SAFETY: both tiers above the baseline have AVX; the sizes are those of the elements moved.
    unsafe {
        match size_of::<T>() {
            4 if tier() != Tier::Baseline => turn::fours(b, room, stride),
            8 if tier() != Tier::Baseline => turn::eights(b, room, stride),
            _ => (0, 0),
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
unsafe fn squares<T: Product>(_b: View<T>, _room: *mut T, _stride: usize) -> (usize, usize) {
    (0, 0)
}

/// The compiler takes a transposition written with arrays apart into single elements, hence intrinsics.
#[cfg(target_arch = "x86_64")]
mod turn {
    use std::arch::x86_64::*;
    use std::array::from_fn;

    use super::super::View;

    macro_rules! turn {
        ($(#[$meta:meta])* $name:ident, $side:literal, $square:ident) => {
            $(#[$meta])*
            #[target_feature(enable = "avx")]
            pub(super) unsafe fn $name<T>(b: View<T>, room: *mut T, stride: usize) -> (usize, usize) {
                // Full cache lines are written: 64 bytes of every row.
                const LINE: usize = 2 * $side;
                let (rows, cols) = (b.rows / $side * $side, b.cols / LINE * LINE);
                for j in (0..cols).step_by(LINE) {
                    for k in (0..rows).step_by($side) {
                        for half in [0, $side] {
                            let to = room.wrapping_add(k * stride + j + half);
                            // SAFETY: the square lies inside of `b` and of the room.
                            unsafe { $square(b.at(k, j + half).cast(), b.col_stride, to.cast(), stride) };
                        }
                    }
                }
                (rows, cols)
            }
        };
    }
    turn!(
        /// Elements of four bytes, in squares of eight.
        fours, 8, square_of_fours
    );
    turn!(
        /// Elements of eight bytes, in squares of four.
        eights, 4, square_of_eights
    );

    #[inline]
    #[target_feature(enable = "avx")]
    unsafe fn square_of_fours(from: *const f32, from_stride: isize, to: *mut f32, to_stride: usize) {
        // SAFETY: the caller's square. A vector takes half a row from each of rows j and j + 4.
        unsafe {
            let half = |j: usize, at: isize| _mm_loadu_ps(from.offset(j as isize * from_stride + at));
            let rows: [__m256; 8] = from_fn(|i| {
                _mm256_insertf128_ps::<1>(
                    _mm256_castps128_ps256(half(i % 4, 4 * (i / 4) as isize)),
                    half(i % 4 + 4, 4 * (i / 4) as isize),
                )
            });
            for (side, r) in
                [[rows[0], rows[1], rows[2], rows[3]], [rows[4], rows[5], rows[6], rows[7]]].into_iter().enumerate()
            {
                let (a, b) = (_mm256_unpacklo_ps(r[0], r[1]), _mm256_unpackhi_ps(r[0], r[1]));
                let (c, d) = (_mm256_unpacklo_ps(r[2], r[3]), _mm256_unpackhi_ps(r[2], r[3]));
                let to = to.add(4 * side * to_stride);
                _mm256_storeu_ps(to, _mm256_shuffle_ps::<0x44>(a, c));
                _mm256_storeu_ps(to.add(to_stride), _mm256_shuffle_ps::<0xee>(a, c));
                _mm256_storeu_ps(to.add(2 * to_stride), _mm256_shuffle_ps::<0x44>(b, d));
                _mm256_storeu_ps(to.add(3 * to_stride), _mm256_shuffle_ps::<0xee>(b, d));
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx")]
    unsafe fn square_of_eights(from: *const f64, from_stride: isize, to: *mut f64, to_stride: usize) {
        // SAFETY: the caller's square. A vector takes half a row from each of rows j and j + 2.
        unsafe {
            let half = |j: usize, at: isize| _mm_loadu_pd(from.offset(j as isize * from_stride + at));
            for side in 0..2 {
                let both =
                    |j| _mm256_insertf128_pd::<1>(_mm256_castpd128_pd256(half(j, 2 * side)), half(j + 2, 2 * side));
                let (x, y) = (both(0), both(1));
                let to = to.add(2 * side as usize * to_stride);
                _mm256_storeu_pd(to, _mm256_unpacklo_pd(x, y));
                _mm256_storeu_pd(to.add(to_stride), _mm256_unpackhi_pd(x, y));
            }
        }
    }
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
