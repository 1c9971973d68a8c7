//! Products of operands that are both contiguous in depth: inner products of rows, two rows by two at a time.

use super::element::Float;
use super::pack::copy_short;
use super::{Matrix, View, ViewMut};
use crate::kernels::dispatch::{tier, tiered};
use crate::kernels::parallel;
use crate::kernels::reduce::fold;
use crate::memory::scratch;

/// Whether inner products beat the other kernels, which turn `b` first: for vectors, where `a` is too thin to make up
/// for that, and where `c` is small.
pub(super) fn suits<T>(a: View<T>, b: View<T>) -> bool {
    let (rows, depth, cols) = (a.rows, a.cols, b.cols);
    let aligned = b.row_stride == 1 && b.col_stride != 1;
    let thin = rows <= (4 + depth / 64).min(12) || (rows <= 32 && cols <= 16);
    (rows == 1 && cols == 1) || (aligned && depth >= 32 && thin)
}

/// `c = a b`. Every element is a sum of as many chains as two vectors have lanes, added in a fixed tree.
///
/// # Safety
/// As [`super::matmul`]; `a.col_stride`, `b.row_stride` and `c.col_stride` are 1.
pub(super) unsafe fn product<T: Float>(a: View<T>, b: View<T>, c: ViewMut<T>) {
    // SAFETY: the caller's.
    unsafe { kernel::<T>(tier())(a, b, c) }
}

/// Elements of a block of long vectors, whose inner products are added up pairwise.
const BLOCK: usize = 4096;
/// Blocks from which threads share the work.
const BLOCKS: usize = 8;

/// The inner product of two vectors of one length.
///
/// # Panics
/// Where their lengths differ.
pub fn inner_product<T: Float>(x: &[T], y: &[T]) -> T {
    assert_eq!(x.len(), y.len());
    let run = block_kernel::<T>(tier());
    let mut parts = scratch(T::ZERO, x.len().div_ceil(BLOCK));
    parallel::for_each_slice(&mut parts, BLOCKS, |first, parts| {
        for (n, part) in parts.iter_mut().enumerate() {
            let start = (first + n) * BLOCK;
            let end = x.len().min(start + BLOCK);
            // SAFETY: both have the block's elements.
            *part = unsafe { run(&x[start..end], &y[start..end]) };
        }
    });
    fold(&mut parts, T::plus).unwrap_or(T::ZERO)
}

tiered! {
    fn block_kernel<T: Float>(x: &[T], y: &[T]) -> T = block::<T>;
}

/// The inner product of a block, as [`product`] would give it.
///
/// # Safety
/// Both have as many elements, at least one.
#[inline(always)]
unsafe fn block<T: Float>(x: &[T], y: &[T]) -> T {
    let row = Matrix { data: x.as_ptr(), row_stride: 1, column_stride: 1 };
    let column = Matrix { data: y.as_ptr(), row_stride: 1, column_stride: 1 };
    let mut chains = [T::ZERO.splat()];
    // SAFETY: the caller's, a row and a column.
    unsafe { inner::<T, 1, 1>(View::new(row, 1, x.len()), View::new(column, y.len(), 1), &mut chains, 1) };
    let [mut chain] = chains;
    macro_rules! fold {
        ($($width:literal)*) => {$(
            if T::LANES >= $width {
                chain = T::fold::<$width>(chain, chain);
            }
        )*};
    }
    fold!(16 8 4 2);
    // SAFETY: the first lane is a number of this type.
    unsafe { *(&raw const chain).cast::<T>() }
}

tiered! {
    pub(super) fn kernel<T: Float>(a: View<T>, b: View<T>, c: ViewMut<T>) = bands::<T>;
}

/// # Safety
/// `a`, `b` and `c` have the elements that their sizes say, which are those of a product; rows of `a` and columns of `b`
/// are contiguous, and rows of `c`.
#[inline(always)]
unsafe fn bands<T: Float>(a: View<T>, b: View<T>, c: ViewMut<T>) {
    let mut chains = [T::ZERO.splat(); ELEMENTS];
    for j in (0..c.cols).step_by(COLS) {
        let width = COLS.min(c.cols - j);
        let (b, c) = (b.columns(j, width), c.columns(j, width));
        let pairs = if a.cols < 2 * T::LANES { 0 } else { a.rows / 2 * 2 };
        // SAFETY: all rows and columns named exist.
        unsafe {
            for i in (0..pairs).step_by(2) {
                band::<T, 2>(a.rows(i, 2), b, c.rows(i, 2), &mut chains);
            }
            for i in pairs..a.rows {
                band::<T, 1>(a.rows(i, 1), b, c.rows(i, 1), &mut chains);
            }
        }
    }
}

/// Columns at a time: they stay in the second-level cache while all rows meet them.
const COLS: usize = 16;
/// The elements whose chains are kept before they are added up.
const ELEMENTS: usize = 2 * COLS;

/// `R` rows by at most [`COLS`] columns.
///
/// # Safety
/// As [`bands`], with `R` rows and at most [`COLS`] columns.
#[inline(always)]
unsafe fn band<T: Float, const R: usize>(a: View<T>, b: View<T>, c: ViewMut<T>, chains: &mut [T::Lanes; ELEMENTS]) {
    let mut j = 0;
    // SAFETY: `chains` has a vector for each of `R * b.cols` elements, and half as much room is enough from then on.
    unsafe {
        while R == 1 && a.cols >= 2 * T::LANES && j + 4 <= b.cols {
            inner::<T, R, 4>(a, b.columns(j, 4), &mut chains[j..], b.cols);
            j += 4;
        }
        while R == 2 && j + 2 <= b.cols {
            inner::<T, R, 2>(a, b.columns(j, 2), &mut chains[j..], b.cols);
            j += 2;
        }
        while j < b.cols {
            inner::<T, R, 1>(a, b.columns(j, 1), &mut chains[j..], b.cols);
            j += 1;
        }
        total::<T>(chains, R * b.cols);
        for r in 0..R {
            copy_short(chains.as_ptr().cast::<T>().add(r * b.cols), c.at(r, 0), b.cols);
        }
    }
}

/// The chains of `R` rows with `C` columns, folded to one vector each.
///
/// # Safety
/// `a` has `R` contiguous rows and `b` `C` contiguous columns of `a.cols` elements.
#[inline(always)]
unsafe fn inner<T: Float, const R: usize, const C: usize>(
    a: View<T>,
    b: View<T>,
    chains: &mut [T::Lanes],
    stride: usize,
) {
    let mut sums = [[[T::ZERO.splat(); 2]; C]; R];
    let step = 2 * T::LANES;
    let whole = a.cols / step * step;
    // Written out, because the compiler would make vectors across a loop over rows.
    macro_rules! pairs {
        ($x:expr, $y:expr) => { pairs!($x, $y, (0 0) (0 1) (0 2) (0 3) (1 0) (1 1)) };
        ($x:expr, $y:expr, $(($r:literal $c:literal))*) => {$(
            if $r < R && $c < C {
                let ([x0, x1], [y0, y1]): ([T::Lanes; 2], [T::Lanes; 2]) = ($x($r), $y($c));
                let [low, high] = sums[$r][$c];
                sums[$r][$c] = [T::fused(x0, y0, low), T::fused(x1, y1, high)];
            }
        )*};
    }
    for k in (0..whole).step_by(step) {
        // SAFETY: two whole vectors are left.
        pairs!(|r| unsafe { two::<T>(a.at(r, k)) }, |c| unsafe { two::<T>(b.at(k, c)) });
    }
    let rest = a.cols - whole;
    if R * C == 1 && whole == 0 {
        // SAFETY: less than two vectors are there.
        pairs!(|r| unsafe { short::<T>(a.at(r, 0), rest) }, |c| unsafe { short::<T>(b.at(0, c), rest) });
    } else if rest > 0 {
        let mask = mask::<T>(rest);
        // SAFETY: `bands` sees to it that there are two vectors before the ends of all rows.
        pairs!(|r| unsafe { last::<T>(a.at(r, a.cols), mask) }, |c| unsafe { last::<T>(b.at(a.cols, c), mask) });
    }
    for (r, row) in sums.into_iter().enumerate() {
        for (c, [low, high]) in row.into_iter().enumerate() {
            chains[r * stride + c] = T::add(low, high);
        }
    }
}

/// # Safety
/// Two vectors of elements are readable at `from`.
#[inline(always)]
unsafe fn two<T: Float>(from: *const T) -> [T::Lanes; 2] {
    // SAFETY: the caller vouches for two vectors.
    unsafe { from.cast::<[T::Lanes; 2]>().read_unaligned() }
}

/// Bits that keep the last `count` elements of two vectors.
#[inline(always)]
fn mask<T: Float>(count: usize) -> [T::Lanes; 2] {
    static BITS: [[u8; 128]; 2] = [[0; 128], [255; 128]];
    let zeros = 2 * size_of::<T::Lanes>() - count * size_of::<T>();
    // SAFETY: two vectors are 128 bytes, the first `zeros` of them from the first half.
    unsafe { BITS.as_ptr().cast::<u8>().add(128 - zeros).cast::<[T::Lanes; 2]>().read_unaligned() }
}

/// The two vectors before `end`, masked.
///
/// # Safety
/// Two vectors of elements are readable before `end`.
#[inline(always)]
unsafe fn last<T: Float>(end: *const T, mask: [T::Lanes; 2]) -> [T::Lanes; 2] {
    // SAFETY: the caller vouches for two vectors before `end`.
    let [low, high] = unsafe { two::<T>(end.sub(2 * T::LANES)) };
    [T::and(low, mask[0]), T::and(high, mask[1])]
}

/// Two vectors of which the first `count` elements are at `from` and the others zero.
///
/// # Safety
/// `count` elements are readable at `from`, fewer than two vectors have.
#[inline(always)]
unsafe fn short<T: Float>(from: *const T, count: usize) -> [T::Lanes; 2] {
    let mut lanes = [T::ZERO.splat(); 2];
    // SAFETY: `count` is less than two vectors.
    unsafe { copy_short(from, (&raw mut lanes).cast(), count) };
    lanes
}

/// Adds up every one of the first `count` vectors, upper half to lower half; the sums end up side by side.
#[inline(always)]
fn total<T: Float>(chains: &mut [T::Lanes; ELEMENTS], count: usize) {
    let mut count = count;
    macro_rules! fold {
        ($($width:literal)*) => {$(
            if T::LANES >= $width {
                count = count.div_ceil(2);
                for i in 0..count {
                    chains[i] = T::fold::<$width>(chains[2 * i], chains[2 * i + 1]);
                }
            }
        )*};
    }
    fold!(16 8 4 2);
}
