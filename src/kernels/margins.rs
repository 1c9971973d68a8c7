//! By how much the scores of wrong classes come too near to those of right ones, and the derivatives of that.

use super::dispatch::{tier, tiered};
use super::parallel::{self, Apart};
use super::reduce::kinds::Accumulator;
use super::softmax::{LANES, lanes};
use crate::memory::scratch;

/// Elements from which threads share the work.
const GRAIN: usize = 1 << 13;

/// How rows of scores are compared.
#[derive(Clone, Copy, Debug)]
pub struct Margin<T> {
    /// How far scores are to be apart.
    pub margin: T,
    /// Whether what is missing is squared.
    pub is_squared: bool,
}

/// What a score adds that lies `gap` beyond the margin.
#[inline(always)]
fn term<T: Accumulator>(gap: T, counts: bool, is_squared: bool) -> T {
    let kept = if gap > T::ZERO && counts { gap } else { T::ZERO };
    if is_squared { kept.times(kept) } else { kept }
}

/// The derivative of [`term`].
#[inline(always)]
fn slope<T: Accumulator>(gap: T, counts: bool, is_squared: bool) -> T {
    let slope = if is_squared { gap.plus(gap) } else { T::ONE };
    if gap > T::ZERO && counts { slope } else { T::ZERO }
}

/// The sum of what all scores but the right one add.
#[inline(always)]
unsafe fn one_row<T: Accumulator>(x: *const T, n: usize, right: usize, m: Margin<T>) -> T {
    // SAFETY: the caller gives `n` scores, the right one among them.
    unsafe {
        let base = m.margin.minus(*x.add(right));
        lanes!(n, T::ZERO, |i| term((*x.add(i)).plus(base), i != right, m.is_squared), T::plus)
    }
}

/// Writes `g` times the derivative of [`one_row`].
#[inline(always)]
unsafe fn one_slopes<T: Accumulator>(x: *const T, dx: *mut T, n: usize, right: usize, g: T, m: Margin<T>) {
    // SAFETY: as above, and `n` gradients.
    unsafe {
        let base = m.margin.minus(*x.add(right));
        for i in 0..n {
            *dx.add(i) = slope((*x.add(i)).plus(base), i != right, m.is_squared).times(g);
        }
        let total = lanes!(n, T::ZERO, |i| *dx.add(i), T::plus);
        *dx.add(right) = T::ZERO.minus(total);
    }
}

/// As [`one_row`] with a margin of one, for the scores that are open.
#[inline(always)]
unsafe fn open_row<T: Accumulator>(x: *const T, is_open: *const bool, n: usize, right: usize) -> T {
    // SAFETY: the caller gives `n` of both, the right one among them.
    unsafe {
        let base = T::ONE.minus(*x.add(right));
        lanes!(n, T::ZERO, |i| term((*x.add(i)).plus(base), *is_open.add(i), false), T::plus)
    }
}

/// Adds the derivative of [`open_row`].
#[inline(always)]
unsafe fn open_slopes<T: Accumulator>(x: *const T, is_open: *const bool, dx: *mut T, n: usize, right: usize) {
    // SAFETY: as above, and `n` gradients.
    unsafe {
        let base = T::ONE.minus(*x.add(right));
        let total = lanes!(n, T::ZERO, |i| slope((*x.add(i)).plus(base), *is_open.add(i), false), T::plus);
        for i in 0..n {
            *dx.add(i) = (*dx.add(i)).plus(slope((*x.add(i)).plus(base), *is_open.add(i), false));
        }
        *dx.add(right) = (*dx.add(right)).minus(total);
    }
}

tiered! { fn row_of<T: Accumulator>(x: *const T, n: usize, right: usize, m: Margin<T>) -> T = one_row::<T>; }
tiered! { fn slopes_of<T: Accumulator>(x: *const T, dx: *mut T, n: usize, right: usize, g: T, m: Margin<T>) = one_slopes::<T>; }
tiered! { fn open_row_of<T: Accumulator>(x: *const T, is_open: *const bool, n: usize, right: usize) -> T = open_row::<T>; }
tiered! { fn open_slopes_of<T: Accumulator>(x: *const T, is_open: *const bool, dx: *mut T, n: usize, right: usize) = open_slopes::<T>; }

/// Writes the loss of each row of `n` scores from its right class: the sum over the others of what comes too near, over `n`.
///
/// # Panics
/// Where the slices are not of the sizes given, and for classes that there are not.
pub fn single<T: Accumulator>(x: &[T], right: &[i64], y: &mut [T], n: usize, m: Margin<T>) {
    assert!(n > 0 && x.len() == right.len() * n && y.len() == right.len());
    let kernel = row_of::<T>(tier());
    parallel::for_each_slice(y, (GRAIN / n).max(1), |start, y| {
        for (row, y) in (start..).zip(y) {
            let right = right[row] as usize;
            assert!(right < n);
            // SAFETY: the row is there, and has the class.
            *y = T::from_f64(unsafe { kernel(x.as_ptr().add(row * n), n, right, m) }.to_f64() / n as f64);
        }
    });
}

/// Writes the gradient of the scores from that of the losses of [`single`].
///
/// # Panics
/// As [`single`].
pub fn of_single<T: Accumulator>(x: &[T], right: &[i64], g: &[T], dx: &mut [T], n: usize, m: Margin<T>) {
    assert!(n > 0 && x.len() == right.len() * n && g.len() == right.len() && dx.len() == x.len());
    let kernel = slopes_of::<T>(tier());
    let target = Apart(dx.as_mut_ptr());
    parallel::for_each_range(g.len(), (GRAIN / n).max(1), |start, end| {
        for row in start..end {
            let right = right[row] as usize;
            assert!(right < n);
            let g = T::from_f64(g[row].to_f64() / n as f64);
            // SAFETY: the row is there, and has the class; rows are apart.
            unsafe { kernel(x.as_ptr().add(row * n), target.get().add(row * n), n, right, g, m) };
        }
    });
}

/// The right classes of a row: up to the first negative number.
fn named(right: &[i64]) -> impl Iterator<Item = usize> + '_ {
    right.iter().take_while(|&&class| class >= 0).map(|&class| class as usize)
}

/// The first class that there is not, among the right ones of rows of `n` classes.
pub fn first_bad(right: &[i64], n: usize) -> Option<i64> {
    right.chunks_exact(n.max(1)).flat_map(named).find(|&class| class >= n).map(|class| class as i64)
}

/// Runs a closure on stretches of the rows, with room for which classes of a row are open: those that are not right.
fn open_rows(right: &[i64], n: usize, run: impl Fn(usize, &[i64], &[bool]) + Sync) {
    // Each right class is compared with all others.
    parallel::for_each_range(right.len() / n, (GRAIN / n / 8).max(1), |start, end| {
        let mut is_open = scratch(true, n);
        for row in start..end {
            let right = &right[row * n..(row + 1) * n];
            named(right).for_each(|class| is_open[class] = false);
            run(row, right, &is_open);
            named(right).for_each(|class| is_open[class] = true);
        }
    });
}

/// Writes the loss of each row of `n` scores from its right classes: the sum over these and the others of what comes nearer
/// than 1, over `n`.
///
/// # Panics
/// As [`single`].
pub fn several<T: Accumulator>(x: &[T], right: &[i64], y: &mut [T], n: usize) {
    assert!(n > 0 && x.len() == right.len() && y.len() * n == x.len());
    let (kernel, target) = (open_row_of::<T>(tier()), Apart(y.as_mut_ptr()));
    open_rows(right, n, |row, right, is_open| {
        let x = x[row * n..(row + 1) * n].as_ptr();
        // SAFETY: the row is there and `is_open` has its classes, by whose numbers it was written.
        let total = named(right).fold(T::ZERO, |sum, class| sum.plus(unsafe { kernel(x, is_open.as_ptr(), n, class) }));
        // SAFETY: rows have results of their own.
        unsafe { *target.get().add(row) = T::from_f64(total.to_f64() / n as f64) };
    });
}

/// Writes the derivatives of the losses of [`several`] by the scores.
///
/// # Panics
/// As [`single`].
pub fn slopes_of_several<T: Accumulator>(x: &[T], right: &[i64], dx: &mut [T], n: usize) {
    assert!(n > 0 && x.len() == right.len() && dx.len() == x.len());
    let (kernel, target) = (open_slopes_of::<T>(tier()), Apart(dx.as_mut_ptr()));
    let share = T::from_f64(1.0 / n as f64);
    open_rows(right, n, |row, right, is_open| {
        let x = x[row * n..(row + 1) * n].as_ptr();
        // SAFETY: rows are apart.
        let dx = unsafe { target.part(row * n, n) };
        dx.fill(T::ZERO);
        // SAFETY: as in `several`.
        named(right).for_each(|class| unsafe { kernel(x, is_open.as_ptr(), dx.as_mut_ptr(), n, class) });
        dx.iter_mut().for_each(|dx| *dx = dx.times(share));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_that_come_too_near() {
        let x = [0.0f64, 1.0, 0.5, 2.0, 0.0, 0.0];
        let (mut y, mut dx) = ([0.0; 2], [0.0; 6]);
        let m = Margin { margin: 1.0, is_squared: true };
        single(&x, &[1, 0], &mut y, 3, m);
        assert_eq!(y, [0.25 / 3.0, 0.0]);
        of_single(&x, &[1, 0], &[3.0, 1.0], &mut dx, 3, m);
        assert_eq!(dx, [0.0, -1.0, 1.0, 0.0, 0.0, 0.0]);
        let right = [2, 1, -1, -1, 0, 0];
        several(&x, &right, &mut y, 3);
        assert_eq!(y, [0.5 / 3.0, 0.0]);
        slopes_of_several(&x, &right, &mut dx, 3);
        assert_eq!(dx.map(|dx| (dx * 3.0).round()), [1.0, 0.0, -1.0, 0.0, 0.0, 0.0]);
        assert_eq!((first_bad(&right, 3), first_bad(&[3, 0, -1], 3)), (None, Some(3)));
    }
}
