//! Small and narrow products: four rows by one vector of columns at a time, with nothing to set up.

use super::pack::{copy_short, pack, packed_len, with_room};
use super::{Product, View, ViewMut, work};
use crate::kernels::dispatch::{tier, tiered};

/// The rows of one tile. Four chains of fused multiply-adds hide their latency, and leave AVX2 registers to spare.
const ROWS: usize = 4;
/// What stays in the first cache beside other things.
const NEAR: usize = 16384;

/// Whether tiles beat the library: where its preparations outweigh the work, and where `c` is too narrow for it.
pub(super) fn suits(rows: usize, cols: usize, depth: usize) -> bool {
    cols <= 16 || depth <= 2 || work(rows, cols, depth) < 1 << 15
}

/// `c = a b` or `c += a b` on one thread; every element is one chain in the order of the depth.
///
/// # Safety
/// As [`super::matmul`].
pub(super) unsafe fn product<T: Product>(a: View<T>, b: View<T>, c: ViewMut<T>, accumulate: bool) {
    let whole = if b.col_stride == 1 { b.cols / T::LANES * T::LANES } else { 0 };
    let (left, right) = (b.columns(0, whole), b.columns(whole, b.cols - whole));
    let kernel = kernel::<T>(tier());
    // SAFETY: the caller's operands; the packed copy is padded to whole vectors.
    unsafe {
        kernel(a, left, c.columns(0, whole), accumulate);
        if right.cols > 0 {
            with_room(packed_len(right), |room| {
                kernel(a, pack(right, room), c.columns(whole, right.cols), accumulate);
            });
        }
    }
}

tiered! {
    pub(super) fn kernel<T: Product>(a: View<T>, b: View<T>, c: ViewMut<T>, accumulate: bool) = panels::<T>;
}

/// Rows of `b` are contiguous and readable for whole vectors. Where all of `b` stays in the first cache, `c` is written
/// row by row, else the columns of `b` are read one panel after the other.
///
/// # Safety
/// `a`, `b` and `c` have the elements that their sizes say, which are those of a product; rows of `b` are contiguous, with
/// whole vectors readable.
#[inline(always)]
unsafe fn panels<T: Product>(a: View<T>, b: View<T>, c: ViewMut<T>, accumulate: bool) {
    // SAFETY: every tile overlaps `c`.
    unsafe {
        if b.rows * c.cols * size_of::<T>() <= NEAR {
            for i in (0..c.rows).step_by(ROWS) {
                let four = four(a, i);
                for j in (0..c.cols).step_by(T::LANES) {
                    tile(four, a, b, c, (i, j), accumulate);
                }
            }
        } else {
            for j in (0..c.cols).step_by(T::LANES) {
                for i in (0..c.rows).step_by(ROWS) {
                    tile(four(a, i), a, b, c, (i, j), accumulate);
                }
            }
        }
    }
}

/// Where the four rows of `a` from `i` on start. Rows past the last are the last once more: they are read, not stored.
#[inline(always)]
fn four<T>(a: View<T>, i: usize) -> [*const T; ROWS] {
    std::array::from_fn(|r| a.at((i + r).min(a.rows - 1), 0))
}

/// Four rows by one vector of columns, or what `c` has of them.
///
/// # Safety
/// As [`panels`]; `four` points to the rows of `a` from `i` on, and `(i, j)` lies in `c`.
#[inline(always)]
unsafe fn tile<T: Product>(
    four: [*const T; ROWS],
    a: View<T>,
    b: View<T>,
    c: ViewMut<T>,
    (i, j): (usize, usize),
    accumulate: bool,
) {
    let (rows, cols) = (ROWS.min(c.rows - i), T::LANES.min(c.cols - j));
    // SAFETY: all reads are inside of `a` and `b`, and what is written inside of `c`.
    unsafe {
        let sums = chains::<T>(four, a.col_stride, a.cols, b.at(0, j), b.row_stride);
        if rows == ROWS && cols == T::LANES && c.col_stride == 1 && !accumulate {
            let [s0, s1, s2, s3] = sums;
            c.at(i, j).cast::<T::Lanes>().write_unaligned(s0);
            c.at(i + 1, j).cast::<T::Lanes>().write_unaligned(s1);
            c.at(i + 2, j).cast::<T::Lanes>().write_unaligned(s2);
            c.at(i + 3, j).cast::<T::Lanes>().write_unaligned(s3);
            return;
        }
        for (r, sum) in sums.into_iter().enumerate().take(rows) {
            store::<T>(sum, c.at(i + r, j), c.col_stride, cols, accumulate);
        }
    }
}

/// The inner loop. Rows are spelt out: left as a loop, the compiler would make vectors across them.
///
/// # Safety
/// At each of `a` `depth` elements are readable, `a_stride` apart, and at `b` `depth` whole vectors, `b_stride` apart.
#[inline(always)]
unsafe fn chains<T: Product>(
    a: [*const T; ROWS],
    a_stride: isize,
    depth: usize,
    b: *const T,
    b_stride: isize,
) -> [T::Lanes; ROWS] {
    let mut sums = [T::ZERO.splat(); ROWS];
    let (mut at, mut b) = (0, b);
    for _ in 0..depth {
        // SAFETY: `at` walks the columns of `a` and `b` its rows, as many as `depth`; after the last they are not read.
        unsafe {
            let lanes = b.cast::<T::Lanes>().read_unaligned();
            sums[0] = T::fused((*a[0].offset(at)).splat(), lanes, sums[0]);
            sums[1] = T::fused((*a[1].offset(at)).splat(), lanes, sums[1]);
            sums[2] = T::fused((*a[2].offset(at)).splat(), lanes, sums[2]);
            sums[3] = T::fused((*a[3].offset(at)).splat(), lanes, sums[3]);
        }
        at += a_stride;
        b = b.wrapping_offset(b_stride);
    }
    sums
}

/// Writes or adds the first `width` lanes to a row of `c`.
///
/// # Safety
/// `c` has `width` elements, `stride` apart, that can be read and written; `width` is at most a vector's.
#[inline(always)]
unsafe fn store<T: Product>(sum: T::Lanes, c: *mut T, stride: isize, width: usize, accumulate: bool) {
    let vector = c.cast::<T::Lanes>();
    // SAFETY: `c` has `width` elements `stride` apart; whole vectors are written only where that is what there is.
    unsafe {
        if stride == 1 && width == T::LANES {
            let sum = if accumulate { T::add(vector.read_unaligned(), sum) } else { sum };
            vector.write_unaligned(sum);
            return;
        }
        let sums = (&raw const sum).cast::<T>();
        if stride == 1 && !accumulate {
            return copy_short(sums, c, width);
        }
        for j in 0..width {
            let (c, sum) = (c.offset(j as isize * stride), *sums.add(j));
            *c = if accumulate { (*c).plus(sum) } else { sum };
        }
    }
}
