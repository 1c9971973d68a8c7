//! Rows less their mean, over their deviation, and the derivative of that: a row stays in the cache from the first to the
//! last of its passes.

use super::channels::scale_piece;
use super::dispatch::{tier, tiered};
use super::parallel::{self, Apart};
use super::reduce::kinds::Accumulator;
use super::softmax::sums;

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
        let mean = first + sums!(n, |i| (*x.add(i)).to_f64() - first) / n as f64;
        let squares = sums!(n, |i| {
            let distance = (*x.add(i)).to_f64() - mean;
            distance * distance
        });
        (mean, squares / n as f64)
    }
}

/// What rows are scaled and shifted by.
#[derive(Clone, Copy)]
pub struct Affine<'a, T> {
    /// The factors.
    pub weight: Option<&'a [T]>,
    /// The terms.
    pub bias: Option<&'a [T]>,
    /// Elements side by side that share them, of a row some whole stretches: those of the next row go on where the last ended, and
    /// begin anew behind the last. `None` where every place of a row has its own.
    pub stretch: Option<usize>,
}

impl<T> Default for Affine<'_, T> {
    fn default() -> Self {
        Affine { weight: None, bias: None, stretch: None }
    }
}

impl<T: Copy> Affine<'_, T> {
    /// How many factors or terms there are for rows of `n` elements, unless for any multiple of what a row takes.
    fn fits(&self, n: usize) -> bool {
        let mut all = [self.weight, self.bias].into_iter().flatten();
        match self.stretch {
            None => all.all(|each| each.len() == n),
            Some(length) => {
                let of_row = n / length.max(1);
                length > 0
                    && n.is_multiple_of(length)
                    && all.all(|each| !each.is_empty() && each.len().is_multiple_of(of_row))
            }
        }
    }

    /// Those of a row of `n` elements.
    fn of_row(self, row: usize, n: usize) -> Self {
        let Some(length) = self.stretch else { return self };
        let of_row = n / length;
        let part = |all: &'_ [T]| row * of_row % all.len();
        let cut = |all: Option<_>| all.map(|all: &[T]| &all[part(all)..part(all) + of_row]);
        Affine { weight: cut(self.weight), bias: cut(self.bias), ..self }
    }
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
        if let Some(length) = affine.stretch {
            for (part, start) in (0..n).step_by(length).enumerate() {
                let factor = affine.weight.map_or(inverse, |w| inverse.times(w[part]));
                let term = affine.bias.map_or(T::ZERO, |b| b[part]);
                scale_piece(x.add(start), y.add(start), length, [centre, factor, term]);
            }
        } else {
            match (affine.weight.map(<[T]>::as_ptr), affine.bias.map(<[T]>::as_ptr)) {
                (None, None) => (0..n).for_each(|i| *y.add(i) = value(i)),
                (Some(w), None) => (0..n).for_each(|i| *y.add(i) = value(i).times(*w.add(i))),
                (None, Some(b)) => (0..n).for_each(|i| *y.add(i) = value(i).plus(*b.add(i))),
                (Some(w), Some(b)) => (0..n).for_each(|i| *y.add(i) = value(i).times(*w.add(i)).plus(*b.add(i))),
            }
        }
        *found = (inverse, mean, variance);
    }
}

/// What the derivative of rows reads: elements, gradients of what they became, and the factors.
#[derive(Clone, Copy)]
struct Rows<T> {
    x: *const T,
    g: *const T,
    weight: Option<*const T>,
    n: usize,
}

/// Where the derivative of rows is written: the gradient of the elements, and those of factors and terms, to which it is added.
#[derive(Clone, Copy)]
struct Found<T> {
    dx: *mut T,
    weight: Option<*mut T>,
    bias: Option<*mut T>,
}

/// Writes a row's `r (h - mean(h) - y mean(h y))` where `h = g w` and `y = (x - m) r`, and adds `g y` and `g` to the gradients of
/// factors and terms.
///
/// # Safety
/// `from` has `n` readable elements of each, and `to` `n` writable ones.
#[inline(always)]
unsafe fn backward_row<T: Accumulator>(from: Rows<T>, to: Found<T>, mean: T, inverse: T) {
    let Rows { x, g, weight, n } = from;
    // SAFETY: the caller gives `n` elements of each.
    unsafe {
        let h = |i: usize| weight.map_or(*g.add(i), |w| (*g.add(i)).times(*w.add(i)));
        let y = |i: usize| (*x.add(i)).minus(mean).times(inverse);
        let level = T::from_f64(sums!(n, |i| h(i).to_f64()) / n as f64);
        let along = T::from_f64(sums!(n, |i| h(i).times(y(i)).to_f64()) / n as f64);
        (0..n).for_each(|i| *to.dx.add(i) = inverse.times(h(i).minus(level).minus(y(i).times(along))));
        if let Some(to) = to.weight {
            (0..n).for_each(|i| *to.add(i) = (*to.add(i)).plus((*g.add(i)).times(y(i))));
        }
        if let Some(to) = to.bias {
            (0..n).for_each(|i| *to.add(i) = (*to.add(i)).plus(*g.add(i)));
        }
    }
}

tiered! { fn forward_of<T: Accumulator>(x: *const T, y: *mut T, n: usize, eps: f64, affine: Affine<'_, T>, found: &mut (T, f64, f64)) = forward_row::<T>; }
tiered! { fn backward_of<T: Accumulator>(from: Rows<T>, to: Found<T>, mean: T, inverse: T) = backward_row::<T>; }

/// Writes `(x - m) r` for rows of `n` elements with mean `m` and `r = 1 / sqrt(variance + eps)`, scaled and shifted, and these
/// numbers.
///
/// # Panics
/// Where the slices are not of the sizes given.
pub fn forward<T: Accumulator>(x: &[T], y: &mut [T], n: usize, eps: f64, affine: Affine<T>, found: Moments<T>) {
    let Moments { inverse, mean, variance } = found;
    let rows = inverse.len();
    assert!(n > 0 && x.len() == rows * n && y.len() == x.len() && mean.len() == rows && variance.len() == rows);
    assert!(affine.fits(n));
    let row = forward_of::<T>(tier());
    let (y, inverse) = (Apart(y.as_mut_ptr()), Apart(inverse.as_mut_ptr()));
    let (mean, variance) = (Apart(mean.as_mut_ptr()), Apart(variance.as_mut_ptr()));
    parallel::for_each_range(rows, (GRAIN / n).max(1), |start, end| {
        for i in start..end {
            let mut found = (T::ZERO, 0.0, 0.0);
            // SAFETY: row `i` lies in all slices, and rows are apart.
            unsafe {
                row(x.as_ptr().add(i * n), y.get().add(i * n), n, eps, affine.of_row(i, n), &mut found);
                *inverse.get().add(i) = found.0;
                *mean.get().add(i) = found.1;
                *variance.get().add(i) = found.2;
            }
        }
    });
}

/// How many rows add their gradients of factors and terms into one place: their number alone tells, so that sums are the same
/// at any number of threads.
pub fn block(rows: usize) -> usize {
    rows.div_ceil(64).max(16)
}

/// What [`backward`] reads, and where it writes.
pub struct Derivative<'a, T> {
    /// The elements.
    pub x: &'a [T],
    /// The gradient of what they became.
    pub g: &'a [T],
    /// The factors.
    pub weight: Option<&'a [T]>,
    /// The mean of each row.
    pub mean: &'a [T],
    /// The inverse deviation of each row.
    pub inverse: &'a [T],
    /// The gradient of the elements.
    pub dx: &'a mut [T],
    /// For each [`block`] of rows, a part of the gradient of the factors, zeros before.
    pub weights: Option<&'a mut [T]>,
    /// The same of the terms.
    pub biases: Option<&'a mut [T]>,
}

/// Writes the derivative of rows of `n` elements that were scaled and shifted by [`forward`].
///
/// # Panics
/// Where the slices are not of the sizes given.
pub fn backward<T: Accumulator>(of: Derivative<T>, n: usize) {
    let Derivative { x, g, weight, mean, inverse, dx, mut weights, mut biases } = of;
    let rows = inverse.len();
    let (size, all) = (block(rows), rows.div_ceil(block(rows)));
    assert!(n > 0 && x.len() == rows * n && g.len() == x.len() && dx.len() == x.len() && mean.len() == rows);
    assert!(weight.is_none_or(|w| w.len() == n));
    assert!([&weights, &biases].into_iter().flatten().all(|part| part.len() == all * n));
    let row = backward_of::<T>(tier());
    let dx = Apart(dx.as_mut_ptr());
    let [weights, biases] = [&mut weights, &mut biases].map(|part| part.as_mut().map(|part| Apart(part.as_mut_ptr())));
    parallel::for_each_range(all, (GRAIN / n / size).max(1), |start, end| {
        for b in start..end {
            // SAFETY: each block has a part of its own.
            let part = |all: Option<Apart<T>>| all.map(|all| unsafe { all.get().add(b * n) });
            let (weights, biases) = (part(weights), part(biases));
            for i in b * size..((b + 1) * size).min(rows) {
                // SAFETY: row `i` lies in all slices, and rows are apart.
                unsafe {
                    let from = Rows {
                        x: x.as_ptr().add(i * n),
                        g: g.as_ptr().add(i * n),
                        weight: weight.map(<[T]>::as_ptr),
                        n,
                    };
                    row(from, Found { dx: dx.get().add(i * n), weight: weights, bias: biases }, mean[i], inverse[i]);
                }
            }
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
        let (mut weights, mut biases) = (vec![0.0f32; n], vec![0.0f32; n]);
        let found = Moments { inverse: &mut inverse, mean: &mut mean, variance: &mut variance };
        forward(&x, &mut y, n, 0.0, Affine::default(), found);
        let total = |row: &[f32], f: fn(f64) -> f64| row.iter().map(|&v| f(f64::from(v))).sum::<f64>() / n as f64;
        for row in y.chunks(n) {
            assert!(total(row, |v| v).abs() < 1e-5 && (total(row, |v| v * v) - 1.0).abs() < 1e-5);
        }
        // A gradient that is the result itself changes nothing: the deviation is one whatever it was.
        let mean: Vec<f32> = mean.iter().map(|&m| m as f32).collect();
        let (weights_to, biases_to) = (Some(&mut weights[..]), Some(&mut biases[..]));
        let of = Derivative {
            x: &x,
            g: &y,
            weight: None,
            mean: &mean,
            inverse: &inverse,
            dx: &mut dx,
            weights: weights_to,
            biases: biases_to,
        };
        backward(of, n);
        assert!(dx.iter().all(|v| v.abs() < 1e-5));
        for i in 0..n {
            let of = |f: fn(f32) -> f32| (0..rows).map(|row| f(y[row * n + i])).sum::<f32>();
            assert!((weights[i] - of(|v| v * v)).abs() < 1e-3 && (biases[i] - of(|v| v)).abs() < 1e-5);
        }
    }

    #[test]
    fn equal_elements_have_no_variance() {
        let x = [0.1f64; 9];
        let (mut y, mut inverse, mut mean, mut variance) = ([1.0; 9], [0.0], [0.0], [1.0]);
        let found = Moments { inverse: &mut inverse, mean: &mut mean, variance: &mut variance };
        forward(&x, &mut y, 9, 1.0, Affine::default(), found);
        assert_eq!((y, inverse, mean, variance), ([0.0; 9], [1.0], [0.1], [0.0]));
        let found = Moments { inverse: &mut inverse, mean: &mut mean, variance: &mut variance };
        forward(&x, &mut y, 9, 1.0, Affine { weight: Some(&[2.0; 9]), bias: Some(&[3.0; 9]), stretch: None }, found);
        assert_eq!(y, [3.0; 9]);
    }

    #[test]
    fn stretches_of_rows_share_factors_and_terms() {
        let x: Vec<f64> = (0..24).map(|i| f64::from((i * 7) % 11)).collect();
        let (mut y, mut plain) = ([0.0; 24], [0.0; 24]);
        let run = |y: &mut [f64], affine| {
            let (mut inverse, mut mean, mut variance) = ([0.0; 4], [0.0; 4], [0.0; 4]);
            let found = Moments { inverse: &mut inverse, mean: &mut mean, variance: &mut variance };
            forward(&x, y, 6, 1e-5, affine, found);
        };
        // Two groups of two channels, of three elements each.
        let (weight, bias) = ([1.0, 2.0, 4.0, 8.0], [0.5, 0.25, 0.0, -1.0]);
        run(&mut plain, Affine::default());
        run(&mut y, Affine { weight: Some(&weight), bias: Some(&bias), stretch: Some(3) });
        for (i, (y, plain)) in y.iter().zip(plain).enumerate() {
            assert_eq!(*y, plain * weight[i / 3 % 4] + bias[i / 3 % 4]);
        }
    }
}
