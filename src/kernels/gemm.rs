//! Matrix products of strided matrices: `c = a b` or `c += a b`.
//!
//! Large products go block by block through the `gemm` crates; what those are slow at (vectors, thin and small
//! products, operands that must be turned first) has kernels of its own here. Which kernel runs depends on sizes and
//! strides only, and the order of every sum on the depth and the kernel: the same bits at any number of threads, and
//! on AVX2, AVX-512 and NEON alike.
//!
//! ```
//! use ferrograd::kernels::gemm::{Matrix, MatrixMut, matmul};
//! let (a, b, mut c) = ([1.0_f32, 2.0, 3.0, 4.0], [5.0_f32, 6.0], [0.0_f32; 2]);
//! let left = Matrix { data: a.as_ptr(), row_stride: 2, column_stride: 1 };
//! let right = Matrix { data: b.as_ptr(), row_stride: 1, column_stride: 1 };
//! let out = MatrixMut { data: c.as_mut_ptr(), row_stride: 1, column_stride: 1 };
//! // SAFETY: a 2 x 2 matrix times a 2 x 1 matrix, with the strides of the arrays above.
//! unsafe { matmul((2, 1, 2), left, right, out, false, 1) };
//! assert_eq!(c, [17.0, 39.0]);
//! ```

mod axpy;
mod blocks;
mod dot;
mod element;
mod library;
mod pack;
mod strips;
#[cfg(test)]
mod tests;
mod tile;
mod view;

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::parallel;
pub use dot::inner_product;
pub use element::{Float, Product};
pub(super) use pack::with_room;
use view::{View, ViewMut};

/// A matrix in memory: its first element and its steps, which may be zero or negative.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<T> {
    /// The first element.
    pub data: *const T,
    /// Elements from one row to the next.
    pub row_stride: isize,
    /// Elements from one column to the next.
    pub column_stride: isize,
}

/// A matrix in memory to be written.
#[derive(Clone, Copy, Debug)]
pub struct MatrixMut<T> {
    /// The first element.
    pub data: *mut T,
    /// Elements from one row to the next.
    pub row_stride: isize,
    /// Elements from one column to the next.
    pub column_stride: isize,
}

/// Deeper products are sums of products of about this depth, added in order: it bounds what a kernel packs, and fixes
/// the order of the sum. The `gemm` crates cut no product of this depth further.
const DEPTH: usize = 512;

/// `c = a b`, or `c += a b` where `accumulate`, for the sizes `(m, n, k)`: `a` is `m x k`, `b` is `k x n` and `c` is
/// `m x n`. At most `threads` threads share the work. A product of depth 0 is all zeros; NaN and infinities go the way
/// of IEEE 754. Without `accumulate`, `c` need not be initialised.
///
/// # Safety
/// Every element of `a` and `b` is readable, every element of `c` writable, and nobody else writes or reads them
/// meanwhile; the elements of `c` overlap neither each other nor `a` or `b`.
pub unsafe fn matmul<T: Product>(
    (m, n, k): (usize, usize, usize),
    a: Matrix<T>,
    b: Matrix<T>,
    c: MatrixMut<T>,
    accumulate: bool,
    threads: usize,
) {
    // SAFETY: the caller's contract.
    unsafe { product(View::new(a, m, k), View::new(b, k, n), ViewMut::new(c, m, n), accumulate, threads) }
}

/// Many products of the same sizes: the one numbered `i` starts `a_offsets[i]`, `b_offsets[i]` and `c_offsets[i]`
/// elements after the first elements of `a`, `b` and `c`. A factor that all products share has the same offset
/// everywhere.
///
/// # Safety
/// As [`matmul`] for every product; the products do not overlap, and there are as many offsets of each kind.
pub unsafe fn matmul_batched<T: Product>(
    (m, n, k): (usize, usize, usize),
    (a, a_offsets): (Matrix<T>, &[isize]),
    (b, b_offsets): (Matrix<T>, &[isize]),
    (c, c_offsets): (MatrixMut<T>, &[isize]),
    accumulate: bool,
    threads: usize,
) {
    let (a, b, c) = (View::new(a, m, k), View::new(b, k, n), ViewMut::new(c, m, n));
    let operands = |i: usize| (a.moved(a_offsets[i]), b.moved(b_offsets[i]), c.moved(c_offsets[i]));
    // SAFETY: the caller's contract.
    unsafe { products(c_offsets.len(), (m, n, k), operands, accumulate, threads) }
}

/// A batch of products `c[i] = a[i] b[i]`, `a[i]` starting at element `a_offsets[i]`, `b[i]` likewise, `c` row-major
/// one after another, on all threads there are.
///
/// # Safety
/// As [`matmul_batched`].
pub unsafe fn batched<T: Product>(
    (m, n, k): (usize, usize, usize),
    a: Matrix<T>,
    a_offsets: &[isize],
    b: Matrix<T>,
    b_offsets: &[isize],
    c: *mut T,
) {
    let c = MatrixMut { data: c, row_stride: n as isize, column_stride: 1 };
    let (a, b, c) = (View::new(a, m, k), View::new(b, k, n), ViewMut::new(c, m, n));
    let operands = |i: usize| (a.moved(a_offsets[i]), b.moved(b_offsets[i]), c.moved((i * m * n) as isize));
    // SAFETY: the caller's contract.
    unsafe { products(a_offsets.len(), (m, n, k), operands, false, parallel::num_threads()) }
}

/// Many products: side by side where there are enough of them, else each on all threads.
///
/// # Safety
/// The operands of each product are as in [`matmul`], and no two results overlap.
unsafe fn products<T: Product>(
    count: usize,
    (m, n, k): (usize, usize, usize),
    operands: impl Fn(usize) -> (View<T>, View<T>, ViewMut<T>) + Sync,
    accumulate: bool,
    threads: usize,
) {
    let one = |i: usize, threads: usize| {
        let (a, b, c) = operands(i);
        // SAFETY: the caller's contract.
        unsafe { product(a, b, c, accumulate, threads) };
    };
    let useful = useful_threads(threads, blocks::GRAIN, count.saturating_mul(m), n, k);
    if count >= useful {
        for_each_part(count, useful, |part| part.for_each(|i| one(i, 1)));
    } else {
        (0..count).for_each(|i| one(i, threads));
    }
}

/// One product, by the kernel that suits it.
///
/// # Safety
/// As [`matmul`], for one product.
unsafe fn product<T: Product>(a: View<T>, b: View<T>, c: ViewMut<T>, accumulate: bool, threads: usize) {
    if c.rows == 0 || c.cols == 0 {
        return;
    }
    // A column is the transpose of a row, and a matrix of contiguous columns that of one of contiguous rows.
    let turned = c.rows > 1 && (c.cols == 1 || (c.col_stride != 1 && c.row_stride == 1));
    let (a, b, c) = if turned { (b.transposed(), a.transposed(), c.transposed()) } else { (a, b, c) };
    // SAFETY: the caller's contract.
    unsafe {
        if a.cols == 0 {
            if !accumulate {
                (0..c.rows * c.cols).for_each(|i| *c.at(i / c.cols, i % c.cols) = T::ZERO);
            }
        } else if !T::thin(a, b, c, accumulate, threads) {
            blocks::product(a, b, c, accumulate, threads);
        }
    }
}

/// The multiply-adds of a product.
fn work(rows: usize, cols: usize, depth: usize) -> usize {
    rows.saturating_mul(cols).saturating_mul(depth)
}

/// How many threads a product of these sizes keeps busy with at least `grain` multiply-adds each.
fn useful_threads(threads: usize, grain: usize, rows: usize, cols: usize, depth: usize) -> usize {
    threads.min(work(rows, cols, depth) / grain).max(1)
}

/// Runs `body` on ranges that together are `0..count`, on at most `threads` threads. There are more ranges than threads,
/// so that a thread that is held up leaves work to the others.
fn for_each_part(count: usize, threads: usize, body: impl Fn(Range<usize>) + Sync) {
    let (threads, parts) = (threads.min(count), (4 * threads).min(count));
    if threads <= 1 {
        return body(0..count);
    }
    let next = AtomicUsize::new(0);
    parallel::for_each(threads, |_| {
        loop {
            let p = next.fetch_add(1, Relaxed);
            if p >= parts {
                break;
            }
            parallel::glance();
            body(count * p / parts..count * (p + 1) / parts);
        }
    });
}

/// `0..depth` in pieces of nearly the same length, at most `most`.
fn pieces(depth: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let count = depth.div_ceil(most);
    (0..count).map(move |p| depth * p / count..depth * (p + 1) / count)
}
