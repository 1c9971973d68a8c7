//! Images read at places of a grid, and the gradients of both. A few places side by side are taken together: first where and
//! with which weights they read, which is the same in all channels, then the channels one after another.
#![allow(clippy::needless_range_loop, reason = "lanes of several arrays go side by side")]

mod taps;

use smallvec::SmallVec;
pub use taps::Number;
use taps::{Lanes, Order, Taps};

use super::dispatch::{tier, tiered};
use super::parallel::{self, Apart};

/// Elements read from which threads share the work.
const GRAIN: usize = 1 << 14;
/// Places that are taken together.
const WIDTH: usize = 16;

/// How the elements around a place make its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The neighbours in each dimension, weighted by their distance.
    Linear,
    /// The nearest.
    Nearest,
    /// Four in each of two dimensions, weighted by cubic convolution.
    Cubic,
}

/// What stands outside of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Zeros.
    Zeros,
    /// The outermost elements.
    Border,
    /// The image in mirrors at its edges.
    Reflection,
}

/// How places are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// What makes a value.
    pub mode: Mode,
    /// What stands outside.
    pub padding: Padding,
    /// Whether -1 and 1 are the outermost elements, and not the outer edges.
    pub corners: bool,
}

/// Images and where their elements lie: two or three dimensions beside those of images and channels.
#[derive(Clone, Debug)]
pub struct Images {
    /// The number of images.
    pub count: usize,
    /// The channels of an image.
    pub channels: usize,
    /// How far apart images and channels are.
    pub steps: [usize; 2],
    /// The size of each other dimension, and how far apart its elements are.
    pub axes: SmallVec<[(usize, usize); 3]>,
    /// The places read in each image.
    pub places: usize,
}

/// What a kernel works on: images, how they are read, and a stretch of the places of one of them.
#[derive(Clone, Copy)]
struct Work<'a> {
    images: &'a Images,
    manner: Manner,
    order: Order,
    first: usize,
    n: usize,
}

#[inline(always)]
unsafe fn forward_body<T: Number, const TAPS: usize>(work: Work, x: *const T, grid: *const T, y: *mut T) {
    let mut taps = Taps::<T, TAPS>::new();
    // SAFETY: the caller gives an image, its places, and its results, from the first place of the work on.
    unsafe {
        taps.fill(work, grid, work.n, false);
        match work.order.paired {
            true => read_channels::<T, TAPS, true>(work, &taps, x, y),
            false => read_channels::<T, TAPS, false>(work, &taps, x, y),
        }
    }
}

/// Writes what the taps read in each channel.
///
/// # Safety
/// As [`forward_body`] and [`Taps::read`].
#[inline(always)]
unsafe fn read_channels<T: Number, const TAPS: usize, const PAIRED: bool>(
    Work { images, first, n, .. }: Work,
    taps: &Taps<T, TAPS>,
    x: *const T,
    y: *mut T,
) {
    for channel in 0..images.channels {
        // SAFETY: the caller's.
        unsafe {
            let values = taps.read::<PAIRED>(x.add(channel * images.steps[1]));
            let mut sums = [T::ZERO; WIDTH];
            for l in 0..WIDTH {
                let term = |k: usize| taps.seen(&values, k, l) * taps.weight[k][l];
                sums[l] = (1..TAPS).fold(term(0), |sum, k| sum + term(k));
            }
            let to = y.add(channel * images.places + first);
            match n {
                // A whole vector needs no call.
                WIDTH => to.cast::<Lanes<T>>().write_unaligned(sums),
                _ => to.copy_from_nonoverlapping(sums.as_ptr(), n),
            }
        }
    }
}

#[inline(always)]
unsafe fn grid_body<T: Number, const TAPS: usize>(work: Work, x: *const T, grid: *const T, g: *const T, dgrid: *mut T) {
    let Work { images, order, n, .. } = work;
    let mut taps = Taps::<T, TAPS>::new();
    let rank = images.axes.len();
    // SAFETY: as in `forward_body`; the gradients of places lie as these do.
    unsafe {
        taps.fill(work, grid, n, true);
        let totals = match order.paired {
            true => totals::<T, TAPS, true>(work, &taps, x, g),
            false => totals::<T, TAPS, false>(work, &taps, x, g),
        };
        for (slopes, &d) in taps.slopes.iter().zip(&order.dimensions[..rank]) {
            let mut sums = [T::ZERO; WIDTH];
            for l in 0..WIDTH {
                sums[l] = (0..TAPS).fold(T::ZERO, |sum, k| sum + totals[k][l] * slopes[k][l]);
            }
            for (l, &sum) in sums.iter().enumerate().take(n) {
                *dgrid.add(l * rank + rank - 1 - d) = sum;
            }
        }
    }
}

/// The gradients of the weights: the sums of what the taps read times the gradient there, over the channels.
///
/// # Safety
/// As [`grid_body`] and [`Taps::read`].
#[inline(always)]
unsafe fn totals<T: Number, const TAPS: usize, const PAIRED: bool>(
    Work { images, first, n, .. }: Work,
    taps: &Taps<T, TAPS>,
    x: *const T,
    g: *const T,
) -> [Lanes<T>; TAPS] {
    let mut totals = [[T::ZERO; WIDTH]; TAPS];
    for channel in 0..images.channels {
        // SAFETY: the caller's.
        unsafe {
            let values = taps.read::<PAIRED>(x.add(channel * images.steps[1]));
            let from = g.add(channel * images.places + first);
            let mut few = [T::ZERO; WIDTH];
            if n < WIDTH {
                few.as_mut_ptr().copy_from_nonoverlapping(from, n);
            }
            let gradient = (if n < WIDTH { few.as_ptr() } else { from }).cast::<Lanes<T>>().read_unaligned();
            for l in 0..WIDTH {
                for k in 0..TAPS {
                    totals[k][l] = totals[k][l] + gradient[l] * taps.seen(&values, k, l);
                }
            }
        }
    }
    totals
}

/// Adds to the gradients of `channels` channels, from the first on.
#[inline(always)]
unsafe fn image_body<T: Number, const TAPS: usize>(
    work: Work,
    grid: *const T,
    g: *const T,
    dx: *mut T,
    channels: usize,
) {
    let Work { images, n, .. } = work;
    let mut taps = Taps::<T, TAPS>::new();
    // SAFETY: the caller gives the places of an image, and these channels of its gradients.
    unsafe {
        for first in (0..n).step_by(WIDTH) {
            let n = WIDTH.min(n - first);
            taps.fill(work, grid.add(first * images.axes.len()), n, false);
            for channel in 0..channels {
                let (g, dx) = (g.add(channel * images.places + first), dx.add(channel * images.steps[1]));
                for l in 0..n {
                    let g = *g.add(l);
                    for k in 0..TAPS {
                        if taps.at[k][l] >= 0 {
                            let to = dx.offset(taps.at[k][l] as isize);
                            *to = *to + g * taps.weight[k][l];
                        }
                    }
                }
            }
        }
    }
}

tiered! { fn forward_of<T: Number; const TAPS: usize>(work: Work<'_>, x: *const T, grid: *const T, y: *mut T) = forward_body::<T, TAPS>; }
tiered! { fn grid_of<T: Number; const TAPS: usize>(work: Work<'_>, x: *const T, grid: *const T, g: *const T, dgrid: *mut T) = grid_body::<T, TAPS>; }
tiered! { fn image_of<T: Number; const TAPS: usize>(work: Work<'_>, grid: *const T, g: *const T, dx: *mut T, channels: usize) = image_body::<T, TAPS>; }

/// The kernel for the number of elements that a place reads.
macro_rules! kernel {
    ($name:ident, $T:ident, $taps:expr) => {
        match $taps {
            1 => $name::<$T, 1>(tier()),
            4 => $name::<$T, 4>(tier()),
            8 => $name::<$T, 8>(tier()),
            _ => $name::<$T, 16>(tier()),
        }
    };
}

impl Images {
    /// The elements that a place reads.
    fn taps(&self, mode: Mode) -> usize {
        match mode {
            Mode::Nearest => 1,
            Mode::Linear => 1 << self.axes.len(),
            Mode::Cubic => 16,
        }
    }

    /// Whether the elements of a channel are counted by 32 bits, as the kernels do.
    pub fn is_near(&self) -> bool {
        let reach = |sum: usize, &(size, step): &(usize, usize)| sum.checked_add((size - 1).checked_mul(step)?);
        let elements = self.axes.iter().try_fold(1usize, |product, axis| product.checked_mul(axis.0));
        let most = elements.zip(self.axes.iter().try_fold(0, reach)).map(|(elements, reach)| elements.max(reach));
        most.is_some_and(|most| i32::try_from(most).is_ok())
    }

    /// As many images of these sizes, which lie row by row.
    fn row_major(&self) -> Images {
        let mut step = 1;
        let mut axes = self.axes.clone();
        for (size, stride) in axes.iter_mut().rev() {
            *stride = step;
            step *= *size;
        }
        Images { axes, steps: [step * self.channels, step], ..*self }
    }

    fn check(&self, grid: usize, results: usize, mode: Mode) {
        assert!(matches!(self.axes.len(), 2 | 3) && (mode != Mode::Cubic || self.axes.len() == 2));
        assert!(self.axes.iter().all(|&(size, _)| size > 0) && self.is_near());
        assert!(grid == self.count * self.places * self.axes.len());
        assert!(results == self.count * self.channels * self.places);
    }

    /// Runs a closure for stretches of the places of each image: on the image, and the work.
    fn each(&self, manner: Manner, run: impl Fn(usize, Work) + Sync) {
        let pieces = self.places.div_ceil(WIDTH);
        let order = Order::new(self, manner.mode);
        let cost = WIDTH * self.taps(manner.mode) * (self.channels + 1);
        parallel::for_each_range(self.count * pieces, (GRAIN / cost).max(1), |start, end| {
            for piece in start..end {
                let first = piece % pieces * WIDTH;
                run(piece / pieces, Work { images: self, manner, order, first, n: WIDTH.min(self.places - first) });
            }
        });
    }
}

/// Writes the values of images at the places of a grid: `(count, places, rank)` numbers give `(count, channels, places)`.
///
/// # Safety
/// The images lie at `x`.
///
/// # Panics
/// Where the slices are not of the sizes given.
pub unsafe fn forward<T: Number>(images: &Images, manner: Manner, x: *const T, grid: &[T], y: &mut [T]) {
    images.check(grid.len(), y.len(), manner.mode);
    let kernel = kernel!(forward_of, T, images.taps(manner.mode));
    let (x, y) = (Apart(x.cast_mut()), Apart(y.as_mut_ptr()));
    images.each(manner, |image, work| {
        // SAFETY: the image and its places are there; works have different results.
        unsafe {
            let grid = grid.as_ptr().add((image * images.places + work.first) * images.axes.len());
            let (x, y) = (x.get().add(image * images.steps[0]), y.get().add(image * images.channels * images.places));
            kernel(work, x, grid, y);
        }
    });
}

/// Writes the gradient of the grid from that of the values.
///
/// # Safety
/// As [`forward`].
///
/// # Panics
/// As [`forward`].
pub unsafe fn of_grid<T: Number>(images: &Images, manner: Manner, x: *const T, grid: &[T], g: &[T], dgrid: &mut [T]) {
    images.check(grid.len(), g.len(), manner.mode);
    assert!(dgrid.len() == grid.len());
    let kernel = kernel!(grid_of, T, images.taps(manner.mode));
    let (x, to) = (Apart(x.cast_mut()), Apart(dgrid.as_mut_ptr()));
    images.each(manner, |image, work| {
        let at = (image * images.places + work.first) * images.axes.len();
        // SAFETY: as in `forward`.
        unsafe {
            let g = g.as_ptr().add(image * images.channels * images.places);
            kernel(work, x.get().add(image * images.steps[0]), grid.as_ptr().add(at), g, to.get().add(at));
        }
    });
}

/// Adds the gradient of the images to `dx`, in which they lie row by row: to each element in the order of the places.
///
/// # Panics
/// As [`forward`].
pub fn of_images<T: Number>(images: &Images, manner: Manner, grid: &[T], g: &[T], dx: &mut [T]) {
    images.check(grid.len(), g.len(), manner.mode);
    let images = &images.row_major();
    let size = images.steps[1];
    assert!(dx.len() == images.count * images.steps[0]);
    let taps = images.taps(manner.mode);
    let kernel = kernel!(image_of, T, taps);
    let small = dx.len().max(g.len() * taps) < GRAIN;
    // Channels that are apart compute the weights once more.
    let parts =
        if small { 1 } else { (4 * parallel::num_threads()).div_ceil(images.count).min(images.channels.max(1)) };
    let dx = Apart(dx.as_mut_ptr());
    let order = Order { paired: false, ..Order::new(images, manner.mode) };
    let run = |piece: usize| {
        let (image, part) = (piece / parts, piece % parts);
        let (start, end) = (images.channels * part / parts, images.channels * (part + 1) / parts);
        let work = Work { images, manner, order, first: 0, n: images.places };
        // SAFETY: the sizes are those of the slices; pieces have different channels.
        unsafe {
            let grid = grid.as_ptr().add(image * images.places * images.axes.len());
            let channel = image * images.channels + start;
            let (g, dx) = (g.as_ptr().add(channel * images.places), dx.get().add(channel * size));
            kernel(work, grid, g, dx, end - start);
        }
    };
    match small {
        true => (0..images.count).for_each(run),
        false => parallel::for_each(images.count * parts, run),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANNER: Manner = Manner { mode: Mode::Linear, padding: Padding::Zeros, corners: true };

    #[test]
    fn a_row_is_read_between_its_elements_and_beyond() {
        let images =
            Images { count: 1, channels: 1, steps: [2, 2], axes: SmallVec::from_slice(&[(1, 2), (2, 1)]), places: 3 };
        let (x, grid) = ([1.0f64, 3.0], [0.0, 0.0, 0.5, 0.0, 4.0, 0.0]);
        let (mut y, mut dgrid, mut dx) = ([0.0; 3], [9.0; 6], [0.0; 2]);
        // SAFETY: the images are these two elements.
        unsafe {
            forward(&images, MANNER, x.as_ptr(), &grid, &mut y);
            of_grid(&images, MANNER, x.as_ptr(), &grid, &[1.0; 3], &mut dgrid);
        }
        of_images(&images, MANNER, &grid, &[1.0; 3], &mut dx);
        assert_eq!((y, dx), ([2.0, 2.5, 0.0], [0.75, 1.25]));
        assert_eq!((dgrid[0], dgrid[2], dgrid[4]), (1.0, 1.0, 0.0));
        let manner = Manner { padding: Padding::Reflection, ..MANNER };
        // SAFETY: as above.
        unsafe { forward(&images, manner, x.as_ptr(), &grid, &mut y) };
        assert_eq!(y, [2.0, 2.5, 2.0]);
    }

    /// The values and the gradient of the grid of images whose elements are `gap` apart along each dimension, the dimension
    /// `first` side by side but for that.
    fn read_with<T: Number>(sizes: &[usize], manner: Manner, first: usize, gap: usize) -> [Vec<T>; 2] {
        let (rank, places) = (sizes.len(), 37);
        let mut order: Vec<usize> = (0..rank).filter(|&d| d != first).collect();
        order.push(first);
        let (mut axes, mut step) = (SmallVec::from_elem((0, 0), rank), gap);
        for &d in order.iter().rev() {
            axes[d] = (sizes[d], step);
            step *= sizes[d];
        }
        let images = Images { count: 2, channels: 3, steps: [3 * step, step], axes, places };
        let mut x = vec![T::from_f64(f64::NAN); 6 * step];
        for n in 0..6 * sizes.iter().product::<usize>() {
            let (mut rest, mut at) = (n, 0);
            for d in (0..rank).rev() {
                at += rest % sizes[d] * images.axes[d].1;
                rest /= sizes[d];
            }
            x[at + rest * step] = T::from_f64((n * 7919 % 31) as f64 / 8.0 - 1.0);
        }
        let number = |i: usize| T::from_f64((i * 7919 % 101) as f64 / 32.0 - 1.6);
        let grid: Vec<T> = (0..2 * places * rank).map(number).collect();
        let g: Vec<T> = (0..6 * places).map(|i| T::from_f64((i * 7919 % 13) as f64 / 4.0 - 1.5)).collect();
        let (mut y, mut dgrid) = (vec![T::ZERO; 6 * places], vec![T::ZERO; grid.len()]);
        // SAFETY: the images lie in `x`.
        unsafe {
            forward(&images, manner, x.as_ptr(), &grid, &mut y);
            of_grid(&images, manner, x.as_ptr(), &grid, &g, &mut dgrid);
        }
        [y, dgrid]
    }

    fn pairs_change_nothing<T: Number>(rounding: f64) {
        for (sizes, corners) in [(&[5, 7][..], true), (&[5, 2], false), (&[4, 1], true), (&[3, 4, 5], false)] {
            for padding in [Padding::Zeros, Padding::Border, Padding::Reflection] {
                let manner = Manner { mode: Mode::Linear, padding, corners };
                let expected = read_with::<T>(sizes, manner, sizes.len() - 1, 2);
                assert!(!Order::new(&test_images(sizes, 2), Mode::Linear).paired);
                for first in 0..sizes.len() {
                    let found = read_with::<T>(sizes, manner, first, 1);
                    for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                        let (found, expected) = (found.to_f64(), expected.to_f64());
                        assert!((found - expected).abs() <= rounding * expected.abs().max(1.0), "{sizes:?} {manner:?}");
                    }
                }
            }
        }
    }

    fn test_images(sizes: &[usize], step: usize) -> Images {
        let axes = sizes.iter().map(|&size| (size, step)).collect();
        Images { count: 1, channels: 1, steps: [1, 1], axes, places: 1 }
    }

    #[test]
    fn elements_side_by_side_are_read_in_pairs() {
        assert!(Order::new(&test_images(&[5, 7], 1), Mode::Linear).paired);
        pairs_change_nothing::<f32>(2e-5);
        pairs_change_nothing::<f64>(1e-13);
    }
}
