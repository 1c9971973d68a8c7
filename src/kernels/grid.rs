//! Images read at places of a grid, and the gradients of both. A few places side by side are taken together: first where and
//! with which weights they read, which is the same in all channels, then the channels one after another.
#![allow(clippy::needless_range_loop, reason = "lanes of several arrays go side by side")]

use std::ops::{Add, Div, Mul, Rem, Sub};

use smallvec::SmallVec;

use super::dispatch::{tier, tiered};
use super::parallel::{self, Apart};
use super::reduce::kinds::Accumulator;

/// Elements read from which threads share the work.
const GRAIN: usize = 1 << 14;
/// Places that are taken together.
const WIDTH: usize = 16;
/// Where nothing is read.
const OUTSIDE: i32 = -1;

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

/// A type that places are computed in.
pub trait Number:
    Accumulator + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Rem<Output = Self>
{
    /// The greatest integer that is not greater.
    fn floor(self) -> Self;
    /// The nearest integer, of two the even one.
    fn round(self) -> Self;
    /// An integer.
    ///
    /// # Safety
    /// It is one, and one that is an index.
    unsafe fn index(self) -> i32;
}

macro_rules! numbers {
    ($($t:ident),*) => {$(
        impl Number for $t {
            #[inline(always)]
            fn floor(self) -> $t { $t::floor(self) }
            #[inline(always)]
            fn round(self) -> $t { $t::round_ties_even(self) }
            #[inline(always)]
            unsafe fn index(self) -> i32 {
                // SAFETY: the caller's.
                unsafe { self.to_int_unchecked() }
            }
        }
    )*};
}
numbers!(f32, f64);

/// One dimension of an image.
#[derive(Clone, Copy)]
struct Axis<T> {
    size: T,
    last: T,
    step: i32,
    manner: Manner,
}

/// Numbers for places side by side.
type Lanes<T> = [T; WIDTH];

/// What is read along one dimension: up to four elements, their weights, and the derivatives of these by the grid's number.
struct Along<T> {
    count: usize,
    at: [Lanes<i32>; 4],
    weight: [Lanes<T>; 4],
    slope: [Lanes<T>; 4],
}

impl<T: Number> Axis<T> {
    fn new((size, step): (usize, usize), manner: Manner) -> Axis<T> {
        let size = T::from_i64(size as i64);
        Axis { size, last: size - T::ONE, step: step as i32, manner }
    }

    /// The offset of an element in whole steps, if it is one.
    #[inline(always)]
    fn offset(&self, place: T) -> i32 {
        let inside = place >= T::ZERO && place <= self.last;
        // SAFETY: zero, or an integer below the size.
        let at = unsafe { (if inside { place } else { T::ZERO }).index() };
        if inside { at * self.step } else { OUTSIDE }
    }

    /// Moves places into the image, by the padding, and turns their slopes.
    #[inline(always)]
    fn within(&self, place: &mut Lanes<T>, slope: &mut Lanes<T>) {
        let (zero, one, two) = (T::ZERO, T::ONE, T::ONE + T::ONE);
        if self.manner.padding == Padding::Reflection {
            let half = one / two;
            let (low, span) = if self.manner.corners { (zero, self.last) } else { (zero - half, self.size) };
            for (place, slope) in place.iter_mut().zip(slope.iter_mut()) {
                let apart = (*place - low).magnitude();
                let rest = if apart < span { apart } else { apart % span };
                let flips = (apart / span).floor();
                let even = flips - two * (flips / two).floor() == zero;
                let turns = even == (*place < low);
                *place = low + if even { rest } else { span - rest };
                *slope = if turns { zero - *slope } else { *slope };
            }
        }
        if self.manner.padding != Padding::Zeros {
            for (place, slope) in place.iter_mut().zip(slope.iter_mut()) {
                // What is no number is moved to the first element.
                let inside = *place > zero && *place < self.last;
                let end = if *place >= self.last { self.last } else { zero };
                *place = if inside { *place } else { end };
                *slope = if inside { *slope } else { zero };
            }
        }
    }

    /// What the numbers of a grid read.
    #[inline(always)]
    fn along(&self, grid: &Lanes<T>, found: &mut Along<T>) {
        let (one, two) = (T::ONE, T::ONE + T::ONE);
        let mut place = *grid;
        let mut slope = [if self.manner.corners { self.last } else { self.size } / two; WIDTH];
        for place in &mut place {
            let up = *place + one;
            *place = if self.manner.corners { up / two * self.last } else { (up * self.size - one) / two };
        }
        match self.manner.mode {
            Mode::Nearest => {
                self.within(&mut place, &mut slope);
                found.count = 1;
                for l in 0..WIDTH {
                    found.at[0][l] = self.offset(place[l].round());
                    found.weight[0][l] = one;
                }
            }
            Mode::Linear => {
                self.within(&mut place, &mut slope);
                found.count = 2;
                for l in 0..WIDTH {
                    let low = place[l].floor();
                    let part = place[l] - low;
                    (found.at[0][l], found.at[1][l]) = (self.offset(low), self.offset(low + one));
                    (found.weight[0][l], found.weight[1][l]) = (one - part, part);
                    (found.slope[0][l], found.slope[1][l]) = (T::ZERO - slope[l], slope[l]);
                }
            }
            Mode::Cubic => {
                found.count = 4;
                for k in 0..4 {
                    let shift = T::from_f64(k as f64 - 1.0);
                    let mut read = [T::ZERO; WIDTH];
                    for l in 0..WIDTH {
                        let low = place[l].floor();
                        let (weight, change) = cubic(place[l] - low - shift, k == 0 || k == 3);
                        (read[l], found.weight[k][l], found.slope[k][l]) = (low + shift, weight, change * slope[l]);
                    }
                    self.within(&mut read, &mut [T::ZERO; WIDTH]);
                    for l in 0..WIDTH {
                        found.at[k][l] = self.offset(read[l]);
                    }
                }
            }
        }
    }
}

/// The cubic convolution kernel with a = -0.75, within a distance of 1 or beyond it, and its derivative.
#[inline(always)]
fn cubic<T: Number>(apart: T, far: bool) -> (T, T) {
    let (x, n) = (apart.magnitude(), T::from_f64);
    let a = n(-0.75);
    let (value, change) = if far {
        // a x^3 - 5a x^2 + 8a x - 4a
        let y = (a * x - n(5.0) * a) * x + n(8.0) * a;
        (y * x - n(4.0) * a, (n(3.0) * a * x - n(10.0) * a) * x + n(8.0) * a)
    } else {
        // (a + 2) x^3 - (a + 3) x^2 + 1
        let (p, q) = (a + n(2.0), a + n(3.0));
        ((p * x - q) * x * x + n(1.0), (n(3.0) * p * x - n(2.0) * q) * x)
    };
    (value, if apart < T::ZERO { T::ZERO - change } else { change })
}

/// What places side by side read: offsets and weights, and the derivatives of these by the grid's numbers, in the order of
/// the dimensions.
struct Taps<T, const TAPS: usize> {
    at: [Lanes<i32>; TAPS],
    weight: [Lanes<T>; TAPS],
    slopes: [[Lanes<T>; TAPS]; 3],
}

impl<T: Number, const TAPS: usize> Taps<T, TAPS> {
    #[inline(always)]
    fn new() -> Self {
        let none = [[T::ZERO; WIDTH]; TAPS];
        Taps { at: [[OUTSIDE; WIDTH]; TAPS], weight: none, slopes: [none; 3] }
    }

    /// Reads `n` places of the grid; those beyond are the middle.
    ///
    /// # Safety
    /// There are `n` places, and as many taps as the manner has.
    #[inline(always)]
    unsafe fn fill(&mut self, images: &Images, manner: Manner, grid: *const T, n: usize, with_slopes: bool) {
        let rank = images.axes.len();
        let none = [[T::ZERO; WIDTH]; 4];
        let mut along = Along { count: 0, at: [[OUTSIDE; WIDTH]; 4], weight: none, slope: none };
        let mut count = 1;
        for (d, &axis) in images.axes.iter().enumerate() {
            let mut numbers = [T::ZERO; WIDTH];
            // The last number of a place is that of the first dimension.
            // SAFETY: the caller's places.
            let number = |l: usize| unsafe { *grid.add(l * rank + rank - 1 - d) };
            match n {
                // A count that is known needs no way through memory.
                WIDTH => (0..WIDTH).for_each(|l| numbers[l] = number(l)),
                _ => (0..n).for_each(|l| numbers[l] = number(l)),
            }
            Axis::new(axis, manner).along(&numbers, &mut along);
            // From the last on, as those before are still read.
            for (k, j) in (0..count).rev().flat_map(|k| (0..along.count).rev().map(move |j| (k, j))) {
                self.join(d, k, k * along.count + j, (&along.at[j], &along.weight[j], &along.slope[j]), with_slopes);
            }
            count *= along.count;
        }
    }

    /// Writes the tap `to` of the first dimensions up to `d`: the tap `k` of those before, and one along `d`.
    #[inline(always)]
    fn join(
        &mut self,
        d: usize,
        k: usize,
        to: usize,
        (at, weight, slope): (&Lanes<i32>, &Lanes<T>, &Lanes<T>),
        with_slopes: bool,
    ) {
        if d == 0 {
            (self.at[to], self.weight[to], self.slopes[0][to]) = (*at, *weight, *slope);
            return;
        }
        if with_slopes {
            for l in 0..WIDTH {
                self.slopes[d][to][l] = self.weight[k][l] * slope[l];
            }
            for before in &mut self.slopes[..d] {
                for l in 0..WIDTH {
                    before[to][l] = before[k][l] * weight[l];
                }
            }
        }
        for l in 0..WIDTH {
            let (first, second) = (self.at[k][l], at[l]);
            self.at[to][l] = if first < 0 || second < 0 { OUTSIDE } else { first + second };
            self.weight[to][l] = self.weight[k][l] * weight[l];
        }
    }
}

/// The elements that taps read, zeros outside. First come all loads, so that what is done with them is done by vectors.
///
/// # Safety
/// The offsets are of a channel at `x`, which has a first element.
#[inline(always)]
unsafe fn read<T: Number>(x: *const T, at: &Lanes<i32>) -> Lanes<T> {
    let mut values = [T::ZERO; WIDTH];
    for l in 0..WIDTH {
        // SAFETY: the caller's offset, or the first element.
        values[l] = unsafe { *x.offset(at[l].max(0) as isize) };
    }
    for l in 0..WIDTH {
        values[l] = if at[l] < 0 { T::ZERO } else { values[l] };
    }
    values
}

/// What a kernel works on: images, how they are read, and a stretch of the places of one of them.
#[derive(Clone, Copy)]
struct Work<'a> {
    images: &'a Images,
    manner: Manner,
    first: usize,
    n: usize,
}

#[inline(always)]
unsafe fn forward_body<T: Number, const TAPS: usize>(work: Work, x: *const T, grid: *const T, y: *mut T) {
    let Work { images, manner, first, n } = work;
    let mut taps = Taps::<T, TAPS>::new();
    // SAFETY: the caller gives an image, its places, and its results, from the first place of the work on.
    unsafe {
        taps.fill(images, manner, grid, n, false);
        for channel in 0..images.channels {
            let from = x.add(channel * images.steps[1]);
            let mut sums = [T::ZERO; WIDTH];
            for k in 0..TAPS {
                let values = read(from, &taps.at[k]);
                for l in 0..WIDTH {
                    let term = values[l] * taps.weight[k][l];
                    sums[l] = if k == 0 { term } else { sums[l] + term };
                }
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
    let Work { images, manner, first, n } = work;
    let mut taps = Taps::<T, TAPS>::new();
    let mut totals = [[T::ZERO; WIDTH]; TAPS];
    let rank = images.axes.len();
    // SAFETY: as in `forward_body`; the gradients of places lie as these do.
    unsafe {
        taps.fill(images, manner, grid, n, true);
        for channel in 0..images.channels {
            let from = x.add(channel * images.steps[1]);
            let mut gradient = [T::ZERO; WIDTH];
            gradient.as_mut_ptr().copy_from_nonoverlapping(g.add(channel * images.places + first), n);
            for k in 0..TAPS {
                let values = read(from, &taps.at[k]);
                for l in 0..WIDTH {
                    totals[k][l] = totals[k][l] + gradient[l] * values[l];
                }
            }
        }
        for (d, slopes) in taps.slopes.iter().enumerate().take(rank) {
            let mut sums = [T::ZERO; WIDTH];
            for k in 0..TAPS {
                for l in 0..WIDTH {
                    sums[l] = sums[l] + totals[k][l] * slopes[k][l];
                }
            }
            for (l, &sum) in sums.iter().enumerate().take(n) {
                *dgrid.add(l * rank + rank - 1 - d) = sum;
            }
        }
    }
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
    let Work { images, manner, n, .. } = work;
    let mut taps = Taps::<T, TAPS>::new();
    // SAFETY: the caller gives the places of an image, and these channels of its gradients.
    unsafe {
        for first in (0..n).step_by(WIDTH) {
            let n = WIDTH.min(n - first);
            taps.fill(images, manner, grid.add(first * images.axes.len()), n, false);
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
        let cost = WIDTH * self.taps(manner.mode) * (self.channels + 1);
        parallel::for_each_range(self.count * pieces, (GRAIN / cost).max(1), |start, end| {
            for piece in start..end {
                let first = piece % pieces * WIDTH;
                run(piece / pieces, Work { images: self, manner, first, n: WIDTH.min(self.places - first) });
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
    let run = |piece: usize| {
        let (image, part) = (piece / parts, piece % parts);
        let (start, end) = (images.channels * part / parts, images.channels * (part + 1) / parts);
        let work = Work { images, manner, first: 0, n: images.places };
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
}
