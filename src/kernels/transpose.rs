//! Transposition in registers: columns whose elements lie side by side become rows.

use super::gather::Walk;
use super::parallel::{self, Apart};

/// Rows and columns of a tile, which stays in the first-level cache on both sides.
const TILE: usize = 64;
/// Tiles from which threads share the work.
const TILES: usize = 8;
/// Elements side by side from which tiles pay.
const LEAST: usize = 8;

/// The dimension of the walk of a copy, its target's before its source's, along which the source's elements lie side by side
/// while they lie across the target's rows.
pub fn across(walk: &Walk) -> Option<usize> {
    let last = walk.shape.len() - 1;
    let fits = |&d: &usize| walk.strides[1][d] == 1 && walk.strides[0][d] >= 0 && walk.shape[d] >= LEAST;
    (0..last).rev().find(fits).filter(|_| walk.inner_stride(0) == 1)
}

/// Copies the elements of a walk by tiles of its last dimension and the one [`across`].
///
/// # Safety
/// The elements of the walk are readable at `from` and writable at `to`; the two do not overlap.
pub unsafe fn copy<T: Copy>(walk: &Walk, across: usize, from: *const T, to: *mut T) {
    let (step, pitch) = (walk.inner_stride(1), walk.strides[0][across] as usize);
    let (from, to) = (Apart(from.cast_mut()), Apart(to));
    each_tile(walk, across, (TILE, TILES), |at, sizes| {
        // SAFETY: the caller's elements; tiles are apart.
        unsafe { transpose((from.get().offset(at[1]).cast_const(), step), (to.get().offset(at[0]), pitch), sizes) };
    });
}

/// Calls `body` with the offsets of both operands of a copy at each tile of its last dimension and another, and how far it
/// reaches along the other and the last. Tiles have the given side; threads share pieces of so many.
pub fn each_tile(
    walk: &Walk,
    across: usize,
    (side, grain): (usize, usize),
    body: impl Fn([isize; 2], (usize, usize)) + Sync,
) {
    let last = walk.shape.len() - 1;
    let (rows, cols) = (walk.shape[across], walk.shape[last]);
    let (down, along) = (rows.div_ceil(side), cols.div_ceil(side));
    let others: usize = (0..last).filter(|&d| d != across).map(|d| walk.shape[d]).product();
    parallel::for_each_range(others * down * along, grain, |start, end| {
        for n in start..end {
            let (row, col, mut rest) = (n % down * side, n / down % along * side, n / down / along);
            let mut at = [0, 1].map(|o| walk.strides[o][across] * row as isize + walk.strides[o][last] * col as isize);
            for d in (0..last).rev().filter(|&d| d != across) {
                let index = (rest % walk.shape[d]) as isize;
                rest /= walk.shape[d];
                at.iter_mut().zip(&walk.strides).for_each(|(at, strides)| *at += strides[d] * index);
            }
            body(at, (side.min(rows - row), side.min(cols - col)));
        }
    });
}

/// Writes a matrix of contiguous columns, of the given rows and columns, as one of contiguous rows. Each side is its first
/// element, and the elements from one column, or row, to the next.
///
/// # Safety
/// The elements are readable and writable on their sides.
pub(super) unsafe fn transpose<T: Copy>(from: (*const T, isize), to: (*mut T, usize), (rows, cols): (usize, usize)) {
    // SAFETY: the caller's.
    unsafe {
        let (down, across) = squares(from, to, (rows, cols));
        for col in 0..cols {
            let from = from.0.wrapping_offset(from.1 * col as isize);
            let first = if col < across { down } else { 0 };
            (first..rows).for_each(|row| *to.0.add(row * to.1 + col) = *from.add(row));
        }
    }
}

/// Writes what it can of a matrix of contiguous columns as one of contiguous rows, and says how many rows and columns that
/// was: whole squares, of elements of four and eight bytes.
///
/// # Safety
/// As [`transpose`].
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn squares<T>(from: (*const T, isize), to: (*mut T, usize), sizes: (usize, usize)) -> (usize, usize) {
    use super::dispatch::{Tier, tier};
    // SAFETY: both tiers above the baseline have AVX; the sizes are those of the elements moved.
    unsafe {
        match size_of::<T>() {
            4 if tier() != Tier::Baseline => turn::fours(from, to, sizes),
            8 if tier() != Tier::Baseline => turn::eights(from, to, sizes),
            _ => (0, 0),
        }
    }
}

/// As above, where there are no squares.
///
/// # Safety
/// None.
#[cfg(not(target_arch = "x86_64"))]
pub(super) unsafe fn squares<T>(_: (*const T, isize), _: (*mut T, usize), _: (usize, usize)) -> (usize, usize) {
    (0, 0)
}

/// The compiler takes a transposition written with arrays apart into single elements, hence intrinsics.
#[cfg(target_arch = "x86_64")]
mod turn {
    use std::arch::x86_64::*;
    use std::array::from_fn;

    macro_rules! turn {
        ($(#[$meta:meta])* $name:ident, $side:literal, $square:ident) => {
            $(#[$meta])*
            #[target_feature(enable = "avx")]
            pub(super) unsafe fn $name<T>(
                (from, from_stride): (*const T, isize),
                (to, to_stride): (*mut T, usize),
                (rows, cols): (usize, usize),
            ) -> (usize, usize) {
                // Full cache lines are written: 64 bytes of every row.
                const LINE: usize = 2 * $side;
                let (rows, cols) = (rows / $side * $side, cols / LINE * LINE);
                for j in (0..cols).step_by(LINE) {
                    for k in (0..rows).step_by($side) {
                        for j in [j, j + $side] {
                            let from = from.wrapping_offset(from_stride * j as isize).wrapping_add(k);
                            let to = to.wrapping_add(k * to_stride + j);
                            // SAFETY: the square lies inside of both sides.
                            unsafe { $square(from.cast(), from_stride, to.cast(), to_stride) };
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

    /// # Safety
    /// The processor has AVX. There are eight rows of eight elements to read and to write under the strides.
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

    /// # Safety
    /// The processor has AVX. There are four rows of four elements to read and to write under the strides.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_are_turned() {
        fn check<T: Copy + PartialEq + std::fmt::Debug + Default>(value: impl Fn(usize) -> T) {
            let (rows, cols, high, wide) = (21, 37, 23, 40);
            let from: Vec<T> = (0..cols * high).map(value).collect();
            let mut to = vec![T::default(); rows * wide];
            // SAFETY: both are as large as their strides say.
            let (down, across) =
                unsafe { squares((from.as_ptr(), high as isize), (to.as_mut_ptr(), wide), (rows, cols)) };
            for (at, &value) in to.iter().enumerate() {
                let (row, col) = (at / wide, at % wide);
                let is_turned = row < down && col < across;
                assert_eq!(value, if is_turned { from[col * high + row] } else { T::default() });
            }
        }
        check(|i| i as f32);
        check(|i| i as f64);
        check(|i| i as u8);
    }
}
