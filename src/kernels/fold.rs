//! Windows of images as the columns of a matrix, and the sums of what they share.

use super::element::Element;
use super::parallel::{self, Apart};
use super::reduce::kinds::Accumulator;

/// Elements from which threads share the work.
const GRAIN: usize = 1 << 14;

/// The windows along one dimension of an image.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    /// The size of the image.
    pub size: usize,
    /// Elements of a window.
    pub kernel: usize,
    /// How many windows there are.
    pub count: usize,
    /// How far windows are apart.
    pub stride: usize,
    /// Places around the image.
    pub padding: usize,
    /// How far the elements of a window are apart.
    pub dilation: usize,
}

impl Side {
    /// The windows whose given element lies within the image, and where it lies in the first of them.
    fn within(&self, element: usize) -> (usize, usize, usize) {
        let before = self.padding.saturating_sub(element * self.dilation);
        let start = before.div_ceil(self.stride);
        // The last place within the image, as the padding counts.
        let reach = (self.size + self.padding).saturating_sub(element * self.dilation);
        let end = reach.div_ceil(self.stride).min(self.count);
        if start >= end {
            return (0, 0, 0);
        }
        (start, end, start * self.stride + element * self.dilation - self.padding)
    }
}

/// The rows and columns of images.
pub type Sides = [Side; 2];

/// Elements of an image, and of its columns.
fn sizes(sides: &Sides) -> (usize, usize) {
    let [rows, columns] = sides;
    (rows.size * columns.size, rows.kernel * columns.kernel * rows.count * columns.count)
}

/// Writes for each element of the kernel, row by row, what it meets in each window, and zeros beyond the image: images one
/// after another in `x`.
///
/// # Panics
/// Where the slices are not of the sizes given.
pub fn columns<T: Element>(sides: &Sides, x: &[T], y: &mut [T]) {
    let ((size, all), [rows, columns]) = (sizes(sides), sides);
    let (elements, windows) = (rows.kernel * columns.kernel, rows.count * columns.count);
    assert!(all > 0 && y.len().is_multiple_of(all) && x.len() == y.len() / all * size);
    let target = Apart(y.as_mut_ptr());
    parallel::for_each_range(y.len() / windows, (GRAIN / windows).max(1), |start, end| {
        for line in start..end {
            let (image, element) = (line / elements, line % elements);
            let x = &x[image * size..(image + 1) * size];
            // SAFETY: lines are apart.
            let y = unsafe { target.part(line * windows, windows) };
            let (first, last, row) = rows.within(element / columns.kernel);
            let (left, right, column) = columns.within(element % columns.kernel);
            y[..first * columns.count].fill(T::default());
            y[last * columns.count..].fill(T::default());
            for (n, y) in y[first * columns.count..last * columns.count].chunks_exact_mut(columns.count).enumerate() {
                let x = &x[(row + n * rows.stride) * columns.size..][..columns.size];
                y[..left].fill(T::default());
                y[right..].fill(T::default());
                if columns.stride == 1 {
                    y[left..right].copy_from_slice(&x[column..column + right - left]);
                } else {
                    let x = x[column.min(x.len())..].iter().step_by(columns.stride);
                    y[left..right].iter_mut().zip(x).for_each(|(y, &x)| *y = x);
                }
            }
        }
    });
}

/// Writes the sums of what the windows set into each place of the images, in the order of the kernel's elements: the way
/// back of [`columns`].
///
/// # Panics
/// As [`columns`].
pub fn images<T: Accumulator>(sides: &Sides, x: &[T], y: &mut [T]) {
    let ((size, all), [rows, columns]) = (sizes(sides), sides);
    let (elements, windows) = (rows.kernel * columns.kernel, rows.count * columns.count);
    assert!(size > 0 && y.len().is_multiple_of(size) && x.len() == y.len() / size * all);
    let target = Apart(y.as_mut_ptr());
    parallel::for_each_range(y.len() / size, (GRAIN / all.max(size)).max(1), |start, end| {
        for image in start..end {
            let x = &x[image * all..(image + 1) * all];
            // SAFETY: images are apart.
            let y = unsafe { target.part(image * size, size) };
            y.fill(T::ZERO);
            for element in 0..elements {
                let x = &x[element * windows..(element + 1) * windows];
                let (first, last, row) = rows.within(element / columns.kernel);
                let (left, right, column) = columns.within(element % columns.kernel);
                for (n, x) in (0..last - first).zip(x[first * columns.count..].chunks_exact(columns.count)) {
                    let (x, at) = (&x[left..right], (row + n * rows.stride) * columns.size + column);
                    let y = &mut y[at.min(size)..];
                    if columns.stride == 1 {
                        y.iter_mut().zip(x).for_each(|(y, &x)| *y = y.plus(x));
                    } else {
                        y.iter_mut().step_by(columns.stride).zip(x).for_each(|(y, &x)| *y = y.plus(x));
                    }
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(size: usize, kernel: usize, stride: usize, padding: usize, dilation: usize) -> Side {
        let count = (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
        Side { size, kernel, count, stride, padding, dilation }
    }

    #[test]
    fn every_window_meets_its_elements() {
        for (rows, kernel, stride, padding, dilation) in
            [(5, 2, 1, 0, 1), (7, 3, 2, 1, 1), (6, 2, 3, 4, 2), (1, 1, 1, 3, 1), (9, 3, 2, 2, 3)]
        {
            let sides =
                [side(rows, kernel, stride, padding, dilation), side(rows + 1, kernel, stride, padding, dilation)];
            let (size, all) = sizes(&sides);
            let x: Vec<f64> = (0..2 * size).map(|i| i as f64 + 1.0).collect();
            let (mut y, mut back) = (vec![-1.0; 2 * all], vec![-1.0; 2 * size]);
            columns(&sides, &x, &mut y);
            images(&sides, &y, &mut back);
            let mut expected = vec![0.0; 2 * size];
            for (n, &value) in y.iter().enumerate() {
                let windows = sides[0].count * sides[1].count;
                let (image, element, window) = (n / all, n % all / windows, n % windows);
                let at = |d: usize, element: usize, window: usize| {
                    let at = (window * stride + element * dilation).wrapping_sub(padding);
                    (at < sides[d].size).then_some(at)
                };
                let (row, column) = (
                    at(0, element / kernel, window / sides[1].count),
                    at(1, element % kernel, window % sides[1].count),
                );
                match row.zip(column) {
                    Some((row, column)) => {
                        let place = image * size + row * sides[1].size + column;
                        assert_eq!(value, x[place]);
                        expected[place] += value;
                    }
                    None => assert_eq!(value, 0.0),
                }
            }
            assert_eq!(back, expected);
        }
    }
}
