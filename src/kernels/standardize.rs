//! Rows less their mean, over their deviation, and the derivative of that: a row stays in the cache from the first to the
//! last of its passes.

use super::dispatch::{tier, tiered};
use super::parallel::{self, Apart};
use super::reduce::kinds::Accumulator;
use super::softmax::{LANES, lanes};

/// Elements from which threads share the work.
const GRAIN: usize = 1 << 13;

/// What the rows of an array were standardised by, a number for each row.
pub struct Moments<'a, T> {
    /// `1 / sqrt(variance + eps)`
    pub inverse: &'a mut [T],
    /// The mean.
    pub mean: &'a mut [f64],
    /// The variance, over the number of elements.
    pub variance: &'a mut [f64],
}

/// The mean and the variance of a row. The mean is that of the distances from the first element, so that equal elements have
/// the variance 0.
///
/// # Safety
/// `x` has `n` readable elements, at least one.
#[inline(always)]
unsafe fn moments<T: Accumulator>(x: *const T, n: usize) -> (f64, f64) {
    // SAFETY: the caller gives `n` elements, at least one.
    unsafe {
        let first = (*x).to_f64();
        let mean = first + lanes!(n, 0.0, |i| (*x.add(i)).to_f64() - first, f64::plus) / n as f64;
        let squares = lanes!(
            n,
            0.0,
            |i| {
                let distance = (*x.add(i)).to_f64() - mean;
                distance * distance
            },
            f64::plus
        );
        (mean, squares / n as f64)
    }
}

/// What the places of a row are scaled and shifted by.
#[derive(Clone, Copy, Default)]
pub struct Affine<'a, T> {
    /// The factors.
    pub weight: Option<&'a [T]>,
    /// The terms.
    pub bias: Option<&'a [T]>,
}

/// Writes a row's `(x - m) r`, scaled and shifted, and `r`, `m` and the variance.
///
/// # Safety
/// `x` has `n` readable elements, at least one, and so have the factors and terms that there are; `y` has `n` writable ones.
#[inline(always)]
unsafe fn forward_row<T: Accumulator>(
    x: *const T,
    y: *mut T,
    n: usize,
    eps: f64,
    affine: Affine<T>,
    found: &mut (T, f64, f64),
) {
    // SAFETY: the caller gives `n` elements of both.
    unsafe {
        let (mean, variance) = moments(x, n);
        // Roots and quotients of float32 in float64 are those of float32 when they are rounded.
        let root = T::from_f64(T::from_f64(variance + eps).to_f64().sqrt());
        let inverse = T::from_f64(1.0 / root.to_f64());
        let centre = T::from_f64(mean);
        let value = |i: usize| (*x.add(i)).minus(centre).times(inverse);
        match (affine.weight.map(<[T]>::as_ptr), affine.bias.map(<[T]>::as_ptr)) {
            (None, None) => (0..n).for_each(|i| *y.add(i) = value(i)),
            (Some(w), None) => (0..n).for_each(|i| *y.add(i) = value(i).times(*w.add(i))),
            (None, Some(b)) => (0..n).for_each(|i| *y.add(i) = value(i).plus(*b.add(i))),
            (Some(w), Some(b)) => (0..n).for_each(|i| *y.add(i) = value(i).times(*w.add(i)).plus(*b.add(i))),
        }
        *found = (inverse, mean, variance);
    }
}

/// Writes a row's `r (g - mean(g) - y mean(g y))`.
///
/// # Safety
/// `y` and `g` have `n` readable elements, and `dx` `n` writable ones.
#[inline(always)]
unsafe fn backward_row<T: Accumulator>(y: *const T, g: *const T, dx: *mut T, n: usize, inverse: T) {
    // SAFETY: the caller gives `n` elements of each.
    unsafe {
        let mean = T::from_f64(lanes!(n, 0.0, |i| (*g.add(i)).to_f64(), f64::plus) / n as f64);
        let along = lanes!(n, 0.0, |i| (*g.add(i)).times(*y.add(i)).to_f64(), f64::plus) / n as f64;
        let along = T::from_f64(along);
        for i in 0..n {
            *dx.add(i) = inverse.times((*g.add(i)).minus(mean).minus((*y.add(i)).times(along)));
        }
    }
}

tiered! { fn forward_of<T: Accumulator>(x: *const T, y: *mut T, n: usize, eps: f64, affine: Affine<'_, T>, found: &mut (T, f64, f64)) = forward_row::<T>; }
tiered! { fn backward_of<T: Accumulator>(y: *const T, g: *const T, dx: *mut T, n: usize, inverse: T) = backward_row::<T>; }

/// Writes `(x - m) r` for rows of `n` elements with mean `m` and `r = 1 / sqrt(variance + eps)`, scaled and shifted, and these
/// numbers.
///
/// # Panics
/// Where the slices are not of the sizes given.
pub fn forward<T: Accumulator>(x: &[T], y: &mut [T], n: usize, eps: f64, affine: Affine<T>, found: Moments<T>) {
    let Moments { inverse, mean, variance } = found;
    let rows = inverse.len();
    assert!(n > 0 && x.len() == rows * n && y.len() == x.len() && mean.len() == rows && variance.len() == rows);
    assert!([affine.weight, affine.bias].iter().flatten().all(|each| each.len() == n));
    let row = forward_of::<T>(tier());
    let (y, inverse) = (Apart(y.as_mut_ptr()), Apart(inverse.as_mut_ptr()));
    let (mean, variance) = (Apart(mean.as_mut_ptr()), Apart(variance.as_mut_ptr()));
    parallel::for_each_range(rows, (GRAIN / n).max(1), |start, end| {
        for i in start..end {
            let mut found = (T::ZERO, 0.0, 0.0);
            // SAFETY: row `i` lies in all slices, and rows are apart.
            unsafe {
                row(x.as_ptr().add(i * n), y.get().add(i * n), n, eps, affine, &mut found);
                *inverse.get().add(i) = found.0;
                *mean.get().add(i) = found.1;
                *variance.get().add(i) = found.2;
            }
        }
    });
}

/// Writes the gradient of `x` into `dx`, from [`forward`]'s `y` and `r` and the gradient `g` of `y`.
///
/// # Panics
/// Where the slices are not of the sizes given.
pub fn backward<T: Accumulator>(y: &[T], g: &[T], dx: &mut [T], inverse: &[T], n: usize) {
    assert!(n > 0 && y.len() == inverse.len() * n && g.len() == y.len() && dx.len() == y.len());
    let row = backward_of::<T>(tier());
    let dx = Apart(dx.as_mut_ptr());
    parallel::for_each_range(inverse.len(), (GRAIN / n).max(1), |start, end| {
        for (i, &inverse) in (start..end).zip(&inverse[start..end]) {
            // SAFETY: row `i` lies in all slices, and rows are apart.
            unsafe { row(y.as_ptr().add(i * n), g.as_ptr().add(i * n), dx.get().add(i * n), n, inverse) };
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_mean_zero_and_deviation_one() {
        let (rows, n) = (7, 45);
        let x: Vec<f32> = (0..rows * n).map(|i| ((i * 37) % 101) as f32 * 0.1 + 100.0).collect();
        let (mut y, mut dx) = (vec![0.0f32; rows * n], vec![0.0f32; rows * n]);
        let (mut inverse, mut mean, mut variance) = (vec![0.0f32; rows], vec![0.0; rows], vec![0.0; rows]);
        let found = Moments { inverse: &mut inverse, mean: &mut mean, variance: &mut variance };
        forward(&x, &mut y, n, 0.0, Affine::default(), found);
        let total = |row: &[f32], f: fn(f64) -> f64| row.iter().map(|&v| f(f64::from(v))).sum::<f64>() / n as f64;
        for row in y.chunks(n) {
            assert!(total(row, |v| v).abs() < 1e-5 && (total(row, |v| v * v) - 1.0).abs() < 1e-5);
        }
        // A gradient that is the result itself changes nothing: the deviation is one whatever it was.
        backward(&y, &y, &mut dx, &inverse, n);
        assert!(dx.iter().all(|v| v.abs() < 1e-5));
    }

    #[test]
    fn equal_elements_have_no_variance() {
        let x = [0.1f64; 9];
        let (mut y, mut inverse, mut mean, mut variance) = ([1.0; 9], [0.0], [0.0], [1.0]);
        let found = Moments { inverse: &mut inverse, mean: &mut mean, variance: &mut variance };
        forward(&x, &mut y, 9, 1.0, Affine::default(), found);
        assert_eq!((y, inverse, mean, variance), ([0.0; 9], [1.0], [0.1], [0.0]));
        let found = Moments { inverse: &mut inverse, mean: &mut mean, variance: &mut variance };
        forward(&x, &mut y, 9, 1.0, Affine { weight: Some(&[2.0; 9]), bias: Some(&[3.0; 9]) }, found);
        assert_eq!(y, [3.0; 9]);
    }
}
