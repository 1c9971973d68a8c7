//! Matrices with their sizes, and parts of them.

use super::{Matrix, MatrixMut};

/// A matrix to read.
#[derive(Clone, Copy, Debug)]
pub struct View<T> {
    pub(super) ptr: *const T,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) row_stride: isize,
    pub(super) col_stride: isize,
}

/// A matrix to write.
#[derive(Clone, Copy, Debug)]
pub struct ViewMut<T> {
    pub(super) ptr: *mut T,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) row_stride: isize,
    pub(super) col_stride: isize,
}

// SAFETY: these are numbers; every read or write through them is an unsafe call whose caller vouches for it.
unsafe impl<T: Sync> Send for View<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for View<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for ViewMut<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for ViewMut<T> {}

macro_rules! view {
    ($view:ident of $matrix:ident, $pointer:ty) => {
        impl<T> $view<T> {
            #[inline]
            pub(super) fn new(matrix: $matrix<T>, rows: usize, cols: usize) -> Self {
                Self { ptr: matrix.data, rows, cols, row_stride: matrix.row_stride, col_stride: matrix.column_stride }
            }

            /// The element in row `i` and column `j`, which need not exist.
            #[inline(always)]
            pub(super) fn at(&self, i: usize, j: usize) -> $pointer {
                self.ptr.wrapping_offset(i as isize * self.row_stride).wrapping_offset(j as isize * self.col_stride)
            }

            /// The matrix of the same shape that starts `by` elements further on.
            #[inline(always)]
            pub(super) fn moved(self, by: isize) -> Self {
                Self { ptr: self.ptr.wrapping_offset(by), ..self }
            }

            #[inline(always)]
            pub(super) fn rows(self, from: usize, count: usize) -> Self {
                Self { ptr: self.at(from, 0), rows: count, ..self }
            }

            #[inline(always)]
            pub(super) fn columns(self, from: usize, count: usize) -> Self {
                Self { ptr: self.at(0, from), cols: count, ..self }
            }

            #[inline(always)]
            pub(super) fn transposed(self) -> Self {
                Self {
                    ptr: self.ptr,
                    rows: self.cols,
                    cols: self.rows,
                    row_stride: self.col_stride,
                    col_stride: self.row_stride,
                }
            }
        }
    };
}
view!(View of Matrix, *const T);
view!(ViewMut of MatrixMut, *mut T);
