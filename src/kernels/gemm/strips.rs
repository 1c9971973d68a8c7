//! Vectors times matrices and other thin products: cut into strips of columns, or in depth where there are few columns.
//!
//! How deep a kernel goes at once fixes the order of its sums, and nothing else does.

use std::ops::Range;

use crate::kernels::parallel;
use crate::memory::scratch;

use super::element::Float;
use super::pack::with_room;
use super::{DEPTH, View, ViewMut, axpy, dot, for_each_part, pieces, useful_threads};

/// A kernel for thin products.
struct Thin<T> {
    /// `c = a b` for `c` with contiguous rows.
    kernel: unsafe fn(a: View<T>, b: View<T>, c: ViewMut<T>),
    /// How many rows of `a` the kernel takes at once.
    rows: usize,
    /// Deeper products are sums of products of about this depth.
    depth: usize,
}

/// Inner products sum in many chains at once, so they may be deeper than other products and stay as exact.
const DOT_DEPTH: usize = 8192;
/// The multiply-adds that keep a thread busy longer than it takes to wake it: some microseconds of reading.
const GRAIN: usize = if cfg!(test) { 1 << 10 } else { 1 << 18 };
/// Columns of a strip: few enough that the sums stay in the first cache.
const STRIP: usize = 2048;

/// `c = a b` or `c += a b`, if one of the kernels for thin products suits; says whether.
///
/// # Safety
/// As [`super::matmul`]; no size is zero.
pub(super) unsafe fn product<T: Float>(
    a: View<T>,
    b: View<T>,
    c: ViewMut<T>,
    accumulate: bool,
    threads: usize,
) -> bool {
    // SAFETY: the caller's contract, and what the kernels want is seen to.
    unsafe {
        if dot::suits(a, b) {
            let (mut a_copy, mut b_copy) = (Vec::new(), Vec::new());
            let a = with_contiguous_rows(a, &mut a_copy);
            let b = with_contiguous_rows(b.transposed(), &mut b_copy).transposed();
            let thin = Thin { kernel: dot::product::<T>, rows: c.rows, depth: DOT_DEPTH };
            thin.product(a, b, c, accumulate, threads);
        } else if axpy::suits(a, b) {
            Thin { kernel: axpy::product::<T>, rows: 16, depth: DEPTH }.product(a, b, c, accumulate, threads);
        } else {
            return false;
        }
    }
    true
}

/// The matrix itself where its rows are contiguous, else a copy of it.
///
/// # Safety
/// `a` has the elements that its sizes say. The result is valid while `a` is and `copy` is not changed.
unsafe fn with_contiguous_rows<T: Copy>(a: View<T>, copy: &mut Vec<T>) -> View<T> {
    if a.col_stride == 1 {
        return a;
    }
    // SAFETY: the elements of `a` are readable.
    copy.extend((0..a.rows * a.cols).map(|i| unsafe { *a.at(i / a.cols, i % a.cols) }));
    View { ptr: copy.as_ptr(), row_stride: a.cols as isize, col_stride: 1, ..a }
}

impl<T: Float> Thin<T> {
    /// The product, strip by strip.
    ///
    /// # Safety
    /// As [`super::matmul`], and what the kernel wants of `a` and `b`.
    unsafe fn product(&self, a: View<T>, b: View<T>, c: ViewMut<T>, accumulate: bool, threads: usize) {
        let threads = useful_threads(threads, GRAIN, c.rows, c.cols, a.cols);
        let width = c.cols.div_ceil(threads).next_multiple_of(64).min(STRIP);
        let (bands, strips) = (c.rows.div_ceil(self.rows), c.cols.div_ceil(width));
        // SAFETY: bands and strips cover `c` without overlap.
        unsafe {
            if bands * strips < threads && a.cols > self.depth {
                return self.deep(a, b, c, accumulate, threads);
            }
            for_each_part(bands * strips, threads, |part| {
                for unit in part {
                    parallel::glance();
                    let (i, j) = (unit / strips * self.rows, unit % strips * width);
                    let (rows, cols) = (self.rows.min(c.rows - i), width.min(c.cols - j));
                    self.strip(a.rows(i, rows), b.columns(j, cols), c.rows(i, rows).columns(j, cols), accumulate);
                }
            });
        }
    }

    /// One strip, through its whole depth.
    ///
    /// # Safety
    /// `a`, `b` and `c` are as the kernel asks for, `c` with at most its rows, and nobody else writes to `c`.
    unsafe fn strip(&self, a: View<T>, b: View<T>, c: ViewMut<T>, accumulate: bool) {
        for Range { start, end } in pieces(a.cols, self.depth) {
            let (a, b) = (a.columns(start, end - start), b.rows(start, end - start));
            // SAFETY: the room holds the strip.
            unsafe {
                if c.col_stride == 1 && !accumulate && start == 0 {
                    (self.kernel)(a, b, c);
                } else {
                    with_room(c.rows * c.cols, |room| {
                        let sums = contiguous(room, c);
                        (self.kernel)(a, b, sums);
                        write(c, sums, accumulate || start > 0);
                    });
                }
            }
        }
    }

    /// Few columns: pieces in depth side by side, their products added in order.
    ///
    /// # Safety
    /// As `strip`, with any number of rows.
    unsafe fn deep(&self, a: View<T>, b: View<T>, c: ViewMut<T>, accumulate: bool, threads: usize) {
        let pieces: Vec<_> = pieces(a.cols, self.depth).collect();
        let size = c.rows * c.cols;
        let mut sums = scratch(T::ZERO, pieces.len() * size);
        let sums = contiguous(sums.as_mut_ptr(), c);
        for_each_part(pieces.len(), threads, |part| {
            for p in part {
                let Range { start, end } = pieces[p].clone();
                let (a, b) = (a.columns(start, end - start), b.rows(start, end - start));
                for i in (0..c.rows).step_by(self.rows) {
                    let rows = self.rows.min(c.rows - i);
                    // SAFETY: every piece has its own sums.
                    unsafe { (self.kernel)(a.rows(i, rows), b, sums.moved((p * size) as isize).rows(i, rows)) };
                }
            }
        });
        for p in 0..pieces.len() {
            // SAFETY: as above.
            unsafe { write(c, sums.moved((p * size) as isize), accumulate || p > 0) };
        }
    }
}

/// A matrix of the shape of `c` at `ptr`, row by row.
fn contiguous<T>(ptr: *mut T, c: ViewMut<T>) -> ViewMut<T> {
    ViewMut { ptr, row_stride: c.cols as isize, col_stride: 1, ..c }
}

/// Writes or adds sums to `c`.
///
/// # Safety
/// `c` and `sums` have the elements that the sizes of `c` say; rows of `sums` are contiguous.
unsafe fn write<T: Float>(c: ViewMut<T>, sums: ViewMut<T>, accumulate: bool) {
    for i in 0..c.rows {
        // SAFETY: both have the same shape; `sums` has contiguous rows.
        unsafe {
            let row = std::slice::from_raw_parts(sums.at(i, 0), c.cols);
            for (j, &sum) in row.iter().enumerate() {
                let c = c.at(i, j);
                *c = if accumulate { (*c).plus(sum) } else { sum };
            }
        }
    }
}
