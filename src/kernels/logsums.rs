//! Running `log(sum(exp(x)))` along the middle dimension of a row-major array seen as `[outer, length, inner]`, in float64: the
//! greatest element so far, and the sum of the exponentials of the distances from it. What waits for the element before is
//! then a product and a sum, and the exponentials and logarithms are taken side by side.

use super::dispatch::{tier, tiered};
use super::element::Element;
use super::parallel::{self, Apart};
use super::reduce::kinds::Exponential;

/// Elements from which threads share the work.
const GRAIN: usize = 1 << 11;
/// Elements of a line, or lines side by side, that are worked on together.
const WIDTH: usize = 64;

/// The greater of the greatest so far and an element; from the first that is no number on, none.
#[inline(always)]
fn later(top: f64, x: f64) -> f64 {
    if x > top || x.is_nan() { x } else { top }
}

/// `exp(x - top)`; equal infinities have no distance.
#[inline(always)]
fn share(x: f64, top: f64) -> f64 {
    if x == top { 1.0 } else { Exponential::exp(x - top) }
}

#[inline(always)]
unsafe fn line_body<T: Element>(x: *const T, y: *mut T, n: usize) {
    let (mut tops, mut values) = ([f64::NEG_INFINITY; WIDTH + 1], [0.0; WIDTH]);
    let (mut kept, mut terms, mut sum) = ([0.0; WIDTH], [0.0; WIDTH], 0.0);
    let mut start = 0;
    while start < n {
        let count = WIDTH.min(n - start);
        // SAFETY: the caller gives `n` elements of both.
        unsafe {
            for i in 0..count {
                values[i] = (*x.add(start + i)).to_f64();
                tops[i + 1] = later(tops[i], values[i]);
            }
            for i in 0..WIDTH {
                (kept[i], terms[i]) = (share(tops[i], tops[i + 1]), share(values[i], tops[i + 1]));
            }
            for i in 0..count {
                sum = sum * kept[i] + terms[i];
                values[i] = sum;
            }
            for i in 0..WIDTH {
                values[i] = tops[i + 1] + Exponential::log(values[i]);
            }
            for (i, &value) in values.iter().enumerate().take(count) {
                *y.add(start + i) = T::from_f64(value);
            }
        }
        tops[0] = tops[count];
        start += count;
    }
}

#[inline(always)]
unsafe fn tile_body<T: Element>(x: *const T, y: *mut T, length: usize, step: usize, n: usize) {
    let (mut tops, mut sums) = ([f64::NEG_INFINITY; WIDTH], [0.0; WIDTH]);
    let mut row = 0;
    while row < length {
        // SAFETY: the caller gives `length` rows of `n` elements of both, at most `WIDTH`.
        unsafe {
            let (from, to) = (x.add(row * step), y.add(row * step));
            for i in 0..n {
                let value = (*from.add(i)).to_f64();
                let top = later(tops[i], value);
                sums[i] = sums[i] * share(tops[i], top) + share(value, top);
                tops[i] = top;
                *to.add(i) = T::from_f64(top + Exponential::log(sums[i]));
            }
        }
        row += 1;
    }
}

tiered! { fn line_kernel<T: Element>(x: *const T, y: *mut T, n: usize) = line_body::<T>; }
tiered! { fn tile_kernel<T: Element>(x: *const T, y: *mut T, length: usize, step: usize, n: usize) = tile_body::<T>; }

/// Writes the running logarithms of the sums of exponentials of `x` into `y`.
///
/// # Panics
/// Where the slices are not of one length.
pub fn running<T: Element>(x: &[T], y: &mut [T], length: usize, inner: usize) {
    assert!(x.len() == y.len());
    if y.is_empty() {
        return;
    }
    let outer = x.len() / (length * inner);
    let target = Apart(y.as_mut_ptr());
    if inner == 1 {
        let kernel = line_kernel::<T>(tier());
        return parallel::for_each_range(outer, (GRAIN / length).max(1), |start, end| {
            for at in (start..end).map(|line| line * length) {
                // SAFETY: the line lies in both slices, and lines are apart.
                unsafe { kernel(x.as_ptr().add(at), target.get().add(at), length) };
            }
        });
    }
    let kernel = tile_kernel::<T>(tier());
    let across = inner.div_ceil(WIDTH);
    parallel::for_each_range(outer * across, (GRAIN / (length * WIDTH.min(inner))).max(1), |start, end| {
        for piece in start..end {
            let column = piece % across * WIDTH;
            let at = piece / across * length * inner + column;
            // SAFETY: as above, for stretches of lines.
            unsafe { kernel(x.as_ptr().add(at), target.get().add(at), length, inner, WIDTH.min(inner - column)) };
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinities_stay() {
        let x = [f64::NEG_INFINITY, 0.0, 0.0, f64::INFINITY, 1.0, f64::INFINITY];
        let mut y = [0.0; 6];
        running(&x, &mut y, 6, 1);
        assert_eq!(y[..2], [f64::NEG_INFINITY, 0.0]);
        assert!((y[2] - 2f64.ln()).abs() < 1e-15 && y[3..].iter().all(|&y| y == f64::INFINITY));
    }

    #[test]
    fn lines_in_both_directions_are_the_same() {
        let x: Vec<f32> = (0..6000).map(|i| ((i * 37) % 101) as f32 - 50.0).collect();
        let across: Vec<f32> = (0..6000).map(|i| x[i % 30 * 200 + i / 30]).collect();
        let (mut y, mut other) = (vec![0.0; 6000], vec![0.0; 6000]);
        running(&x, &mut y, 200, 1);
        running(&across, &mut other, 200, 30);
        for i in 0..6000 {
            assert_eq!(y[i % 30 * 200 + i / 30], other[i]);
        }
        let total = x[..200].iter().map(|&x| f64::from(x).exp()).sum::<f64>().ln();
        assert!((f64::from(y[199]) - total).abs() < 1e-5);
    }
}
