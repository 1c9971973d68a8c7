//! Sums of the rows of a table that each of several bags names.

use super::dispatch::{tier, tiered};
use super::parallel::{self, Apart};
use super::reduce::kinds::Accumulator;

/// Elements read from which threads share the work.
const GRAIN: usize = 1 << 14;
/// Columns that are summed together.
const WIDTH: usize = 256;
/// Rows whose sum is one term of the whole, which is added up in float64: the error grows with their number alone.
const ROWS: usize = 32;

/// A table of rows, `step` elements apart.
#[derive(Clone, Copy)]
pub struct Table<T> {
    /// The first element.
    pub rows: *const T,
    /// How far rows are apart.
    pub step: isize,
    /// Elements of a row.
    pub width: usize,
}

/// Writes the sums of `n` columns of the rows named, times `share`.
#[inline(always)]
unsafe fn sum_body<T: Accumulator>(rows: *const T, step: isize, named: &[i64], y: *mut T, n: usize, share: f64) {
    let mut total = [0.0; WIDTH];
    for some in named.chunks(ROWS) {
        let mut part = [T::ZERO; WIDTH];
        for &row in some {
            // SAFETY: the caller gives rows of `n` columns, at most `WIDTH`.
            unsafe {
                let row = rows.offset(row as isize * step);
                for (i, part) in part.iter_mut().enumerate().take(n) {
                    *part = part.plus(*row.add(i));
                }
            }
        }
        for (total, part) in total.iter_mut().zip(part) {
            *total += part.to_f64();
        }
    }
    for (i, total) in total.iter().enumerate().take(n) {
        // SAFETY: the caller's columns of the result.
        unsafe { *y.add(i) = T::from_f64(total * share) };
    }
}

tiered! { fn sum_of<T: Accumulator>(rows: *const T, step: isize, named: &[i64], y: *mut T, n: usize, share: f64) = sum_body::<T>; }

/// Writes the sum of the rows that each bag names, or their mean; zeros for a bag of none. A bag ends where the next begins:
/// `ends` are theirs.
///
/// # Safety
/// The table has all rows that are named.
///
/// # Panics
/// Where the slices are not of the sizes given.
pub unsafe fn sums<T: Accumulator>(table: Table<T>, named: &[i64], ends: &[usize], mean: bool, y: &mut [T]) {
    let Table { rows, step, width } = table;
    assert!(y.len() == ends.len() * width && ends.iter().all(|&end| end <= named.len()));
    let (kernel, across) = (sum_of::<T>(tier()), width.div_ceil(WIDTH));
    let (rows, target) = (Apart(rows.cast_mut()), Apart(y.as_mut_ptr()));
    let cost = WIDTH.min(width) * (named.len() / ends.len().max(1)).max(1);
    parallel::for_each_range(ends.len() * across, (GRAIN / cost.max(1)).max(1), |start, end| {
        for piece in start..end {
            let (bag, first) = (piece / across, piece % across * WIDTH);
            let named = &named[if bag == 0 { 0 } else { ends[bag - 1] }..ends[bag]];
            let share = if mean { 1.0 / named.len().max(1) as f64 } else { 1.0 };
            // SAFETY: the caller's rows; pieces have different results.
            unsafe {
                let (rows, y) = (rows.get().add(first), target.get().add(bag * width + first));
                kernel(rows, step, named, y, WIDTH.min(width - first), share);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bags_of_several_lengths() {
        let all: Vec<f64> = (0..3 * 300).map(f64::from).collect();
        let table = Table { rows: all.as_ptr(), step: 300, width: 300 };
        let mut y = vec![9.0; 3 * 300];
        // SAFETY: there are three rows.
        unsafe { sums(table, &[0, 2, 2, 1], &[3, 3, 4], true, &mut y) };
        for i in 0..300 {
            assert!((y[i] - (i as f64 + 400.0)).abs() < 1e-9);
            assert_eq!((y[300 + i], y[600 + i]), (0.0, 300.0 + i as f64));
        }
    }
}
