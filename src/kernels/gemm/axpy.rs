//! A row times a matrix with contiguous rows: the rows, each times its factor, added up. Bound by memory, so it reads
//! eight rows at once, each from its start to its end.

use super::element::Float;
use super::pack::{pack, packed_len, with_room};
use super::{View, ViewMut};
use crate::kernels::dispatch::{tier, tiered};

/// The columns packed at once: with the deepest pieces they fill half of a second-level cache.
const PACKED: usize = 256;

/// Whether adding up rows beats the other kernels: for a single row, and where only one or two are added up.
pub(super) fn suits<T>(a: View<T>, b: View<T>) -> bool {
    let least = if a.cols == 1 { 32 } else { 256 };
    a.rows == 1 || (a.cols <= 2 && b.cols >= least && b.col_stride == 1)
}

/// `c = a b`, row by row; every element is one chain in the order of the depth.
///
/// # Safety
/// As [`super::matmul`]; `c.col_stride` is 1.
pub(super) unsafe fn product<T: Float>(a: View<T>, b: View<T>, c: ViewMut<T>) {
    let kernel = kernel::<T>(tier());
    if b.col_stride == 1 {
        // SAFETY: the caller's.
        return unsafe { kernel(a, b, c) };
    }
    for j in (0..c.cols).step_by(PACKED) {
        let width = PACKED.min(c.cols - j);
        let (b, c) = (b.columns(j, width), c.columns(j, width));
        // SAFETY: as above, with rows of `b` made contiguous.
        with_room(packed_len(b), |room| unsafe { kernel(a, pack(b, room), c) });
    }
}

tiered! {
    pub(super) fn kernel<T: Float>(a: View<T>, b: View<T>, c: ViewMut<T>) = rows::<T>;
}

/// # Safety
/// `a`, `b` and `c` have the elements that their sizes say, which are those of a product; the rows of `b` and `c` are
/// contiguous.
#[inline(always)]
unsafe fn rows<T: Float>(a: View<T>, b: View<T>, c: ViewMut<T>) {
    let whole = b.cols / T::LANES * T::LANES;
    for i in 0..c.rows {
        let (a, c) = (a.rows(i, 1), c.at(i, 0));
        // SAFETY: the vectors below `whole` and the pieces after it lie inside of `b` and `c`.
        unsafe {
            if whole > 0 {
                let mut k = sweep::<T, 8>(a, b, 0, whole, c);
                k = sweep::<T, 4>(a, b, k, whole, c);
                k = sweep::<T, 2>(a, b, k, whole, c);
                sweep::<T, 1>(a, b, k, whole, c);
            }
            if whole < b.cols {
                let mut j = whole;
                j = piece::<T, 16>(a, b, j, c);
                j = piece::<T, 8>(a, b, j, c);
                j = piece::<T, 4>(a, b, j, c);
                j = piece::<T, 2>(a, b, j, c);
                piece::<T, 1>(a, b, j, c);
            }
        }
    }
}

/// Adds rows from `k` on, `ROWS` at a time, to the first `whole` columns of `c`; gives the first row left over.
///
/// # Safety
/// `a` has one row and a column for each row of `b`; `b` and `c` have `whole` contiguous columns, a multiple of a vector.
/// What `k > 0` adds to was written.
#[inline(always)]
unsafe fn sweep<T: Float, const ROWS: usize>(a: View<T>, b: View<T>, k: usize, whole: usize, c: *mut T) -> usize {
    let mut k = k;
    while k + ROWS <= b.rows {
        // SAFETY: the rows from `k` to `k + ROWS` and `whole` columns exist.
        unsafe {
            let factors: [T; ROWS] = std::array::from_fn(|r| *a.at(0, k + r));
            for j in (0..whole).step_by(T::LANES) {
                let sums = c.add(j).cast::<T::Lanes>();
                let mut sum = if k == 0 { T::ZERO.splat() } else { sums.read_unaligned() };
                // Written out, because the compiler would make vectors across a loop over rows.
                macro_rules! rows {
                    ($($r:literal)*) => {$(
                        if $r < ROWS {
                            let row = b.at(k + $r, j).cast::<T::Lanes>().read_unaligned();
                            sum = T::fused(factors[$r].splat(), row, sum);
                        }
                    )*};
                }
                rows!(0 1 2 3 4 5 6 7);
                sums.write_unaligned(sum);
            }
        }
        k += ROWS;
    }
    k
}

/// The next `N` columns in a small vector through the whole depth, if that many are left; gives the first column left
/// over.
///
/// # Safety
/// `a` has one row and a column for each row of `b`; the columns of `b` and of the row `c` are contiguous, and `j` is at
/// most their number.
#[inline(always)]
unsafe fn piece<T: Float, const N: usize>(a: View<T>, b: View<T>, j: usize, c: *mut T) -> usize {
    if b.cols - j < N {
        return j;
    }
    let mut sums = [T::ZERO; N];
    for k in 0..b.rows {
        // SAFETY: `N` columns from `j` on exist.
        unsafe {
            let (factor, row) = (*a.at(0, k), b.at(k, j).cast::<[T; N]>().read());
            sums = std::array::from_fn(|i| factor.mul_add(row[i], sums[i]));
        }
    }
    // SAFETY: as above.
    unsafe { c.add(j).cast::<[T; N]>().write(sums) };
    j + N
}
