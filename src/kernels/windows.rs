//! The greatest elements of windows in up to three dimensions, and where they are.

use super::dispatch::{tier, tiered};
use super::element::{Element, is_nan};
use super::parallel::{self, Apart};
use crate::memory::scratch;

/// The places of a window along one dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first.
    pub start: usize,
    /// How many.
    pub count: usize,
    /// From each to the next.
    pub step: usize,
}

/// Windows along one dimension: as many for each plane, those of the first, the second and so on, which then come again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// How many there are in a plane.
    pub count: usize,
    /// One plane's behind the other's.
    pub all: Vec<Window>,
}

impl Windows {
    /// The same windows for all planes.
    pub fn of_all(all: Vec<Window>) -> Windows {
        Windows { count: all.len(), all }
    }

    /// One window of one element.
    pub fn one() -> Windows {
        Windows::of_all(vec![Window { start: 0, count: 1, step: 1 }])
    }

    fn of_plane(&self, plane: usize) -> &[Window] {
        match self.all.len() {
            0 => &[],
            all => &self.all[plane * self.count % all..][..self.count],
        }
    }

    /// True where every window is the element of its number.
    fn are_elements(&self) -> bool {
        self.all.iter().enumerate().all(|(n, w)| w.start == n % self.count && w.count == 1)
    }

    /// True where all planes have the same.
    pub fn are_shared(&self) -> bool {
        self.all.len() == self.count
    }
}

/// Elements that a piece of work looks at.
const GRAIN: usize = 1 << 14;
/// Elements of a run from which its greatest is looked for by vectors.
const LONG: usize = 16;

/// For every window of every plane of `x` the first greatest element and, where asked for, its place in the plane; the last
/// NaN, where there are any.
pub fn greatest<T: Element>(
    x: &[T],
    size: [usize; 3],
    windows: &[Windows; 3],
    y: &mut [T],
    places: Option<&mut [i64]>,
) {
    let (plane, results) = (size.iter().product::<usize>(), windows.iter().map(|w| w.count).product::<usize>());
    if results == 0 || y.is_empty() {
        return;
    }
    let (planes, y, places) = (y.len() / results, Apart(y.as_mut_ptr()), places.map(|p| Apart(p.as_mut_ptr())));
    let is_copy = results == plane && windows.iter().all(Windows::are_elements);
    let run = plane_kernel::<T>(tier());
    parallel::for_each_range(planes, GRAIN / plane.max(results) + 1, |start, end| {
        // Where nobody asks for places.
        let mut room = scratch(0, if places.is_none() && !is_copy { results } else { 0 });
        for p in start..end {
            let x = &x[p * plane..(p + 1) * plane];
            // SAFETY: planes have elements of their own.
            let (y, places) =
                unsafe { (y.part(p * results, results), places.as_ref().map(|all| all.part(p * results, results))) };
            if is_copy {
                y.copy_from_slice(x);
                places.into_iter().flatten().enumerate().for_each(|(n, place)| *place = n as i64);
                continue;
            }
            let places = places.unwrap_or(&mut room);
            let [a, b, c] = windows;
            // SAFETY: the processor has the tier's instructions.
            unsafe { run(x, size, [a.of_plane(p), b.of_plane(p), c.of_plane(p)], y, places) };
        }
    });
}

tiered! {
    fn plane_kernel<T: Element>(x: &[T], size: [usize; 3], windows: [&[Window]; 3], y: &mut [T], places: &mut [i64]) = in_plane::<T>;
}

/// # Safety
/// None of its own: it is called through a pointer to the code for an instruction set, which the processor must have.
#[inline(always)]
unsafe fn in_plane<T: Element>(x: &[T], size: [usize; 3], windows: [&[Window]; 3], y: &mut [T], places: &mut [i64]) {
    let mut results = y.iter_mut().zip(places);
    for a in windows[0] {
        for b in windows[1] {
            for c in windows[2] {
                let Some((value, place)) = results.next() else { return };
                let (found, at) = in_window(x, size, [a, b, c]);
                (*value, *place) = (found, at as i64);
            }
        }
    }
}

#[inline(always)]
fn in_window<T: Element>(x: &[T], size: [usize; 3], [a, b, c]: [&Window; 3]) -> (T, usize) {
    let mut at = (a.start * size[1] + b.start) * size[2] + c.start;
    let mut found = x[at];
    // Whole rows that follow each other are one run, and so are whole layers.
    let (mut layers, mut rows, mut run) = (a.count, b.count, c.count);
    if run == size[2] && c.step == 1 && b.step == 1 {
        (rows, run) = (1, rows * run);
        if run == size[1] * size[2] && a.step == 1 {
            (layers, run) = (1, layers * run);
        }
    }
    for i in 0..layers {
        for j in 0..rows {
            let row = ((a.start + i * a.step) * size[1] + b.start + j * b.step) * size[2] + c.start;
            if c.step == 1 && run >= LONG {
                let x = &x[row..row + run];
                let best = top(x);
                if best > found || is_nan(best) {
                    let last_nan = || x.iter().rposition(|&x| is_nan(x));
                    let place = if is_nan(best) { last_nan() } else { x.iter().position(|&x| x == best) };
                    at = row + place.unwrap_or(0);
                    found = x[at - row];
                }
                continue;
            }
            for k in 0..run {
                let value = x[row + k * c.step];
                if value > found || is_nan(value) {
                    (found, at) = (value, row + k * c.step);
                }
            }
        }
    }
    (found, at)
}

/// Elements that are compared side by side.
const LANES: usize = 32;

/// The greatest element, or one that is not a number.
#[inline(always)]
fn top<T: Element>(x: &[T]) -> T {
    let (mut best, mut nans) = ([x[0]; LANES], [0u32; LANES]);
    let mut rows = x.chunks_exact(LANES);
    for row in &mut rows {
        for l in 0..LANES {
            best[l] = if row[l] > best[l] { row[l] } else { best[l] };
            nans[l] |= u32::from(is_nan(row[l]));
        }
    }
    let rest = rows.remainder();
    if nans.iter().any(|&n| n > 0) || is_nan(x[0]) || rest.iter().any(|&x| is_nan(x)) {
        return x.iter().copied().find(|&x| is_nan(x)).unwrap_or(x[0]);
    }
    best.iter().chain(rest).fold(x[0], |best, &x| if x > best { x } else { best })
}

/// As [`greatest`] for images whose channels lie side by side, and so do those of the results.
pub fn greatest_of_channels<T: Element>(
    x: &[T],
    size: [usize; 3],
    windows: &[Windows; 3],
    (y, places): (&mut [T], Option<&mut [i64]>),
    channels: usize,
) {
    let (plane, results) = (size.iter().product::<usize>(), windows.iter().map(|w| w.count).product::<usize>());
    if results == 0 || y.is_empty() {
        return;
    }
    let (rows, y, places) = (y.len() / channels, Apart(y.as_mut_ptr()), places.map(|p| Apart(p.as_mut_ptr())));
    let run = row_kernel::<T>(tier());
    let read = (plane / results).max(1) * channels;
    parallel::for_each_range(rows, GRAIN / read + 1, |start, end| {
        let mut room = scratch(0, if places.is_none() { channels } else { 0 });
        for row in start..end {
            let x = &x[row / results * plane * channels..][..plane * channels];
            let (n, [a, b, c]) = (row % results, windows);
            let window = [&a.all[n / c.count / b.count], &b.all[n / c.count % b.count], &c.all[n % c.count]];
            // SAFETY: rows have elements of their own; the processor has the tier's instructions.
            unsafe {
                let places = places.as_ref().map_or(&mut room[..], |all| all.part(row * channels, channels));
                run(x, size, window, y.part(row * channels, channels), places);
            }
        }
    });
}

tiered! {
    fn row_kernel<T: Element>(x: &[T], size: [usize; 3], window: [&Window; 3], y: &mut [T], places: &mut [i64]) = in_row::<T>;
}

/// # Safety
/// None of its own: as [`in_plane`].
#[inline(always)]
unsafe fn in_row<T: Element>(x: &[T], size: [usize; 3], [a, b, c]: [&Window; 3], y: &mut [T], places: &mut [i64]) {
    let channels = y.len();
    let place = |i: usize, j: usize, k: usize| {
        ((a.start + i * a.step) * size[1] + b.start + j * b.step) * size[2] + c.start + k * c.step
    };
    y.copy_from_slice(&x[place(0, 0, 0) * channels..][..channels]);
    places.fill(place(0, 0, 0) as i64);
    for i in 0..a.count {
        for j in 0..b.count {
            for k in 0..c.count {
                let at = place(i, j, k);
                let x = &x[at * channels..][..channels];
                for ((y, place), &value) in y.iter_mut().zip(places.iter_mut()).zip(x) {
                    let is_better = value > *y || is_nan(value);
                    *y = if is_better { value } else { *y };
                    *place = if is_better { at as i64 } else { *place };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greatest_and_their_places() {
        let w = |start, count, step| Window { start, count, step };
        let (mut y, mut places) = ([0.0f32; 2], [0; 2]);
        let windows = [Windows::one(), Windows::one(), Windows::of_all(vec![w(0, 2, 2), w(1, 3, 1)])];
        greatest(&[3.0, 1.0, 5.0, 5.0], [1, 1, 4], &windows, &mut y, Some(&mut places));
        assert_eq!((y, places), ([5.0, 5.0], [2, 2]));
        greatest(&[3.0, f32::NAN, f32::NAN, 5.0], [1, 1, 4], &windows, &mut y, Some(&mut places));
        assert!(y.iter().all(|y| y.is_nan()) && places == [2, 2]);
        let each = [Windows::one(), Windows::one(), Windows::of_all(vec![w(0, 1, 1), w(1, 1, 1)])];
        greatest(&[4.0, f32::INFINITY], [1, 1, 2], &each, &mut y, Some(&mut places));
        assert_eq!((y, places), ([4.0, f32::INFINITY], [0, 1]));
        // Windows of their own for each plane.
        let own = [Windows::one(), Windows::one(), Windows { count: 1, all: vec![w(0, 1, 1), w(1, 1, 1)] }];
        greatest(&[1.0, 2.0, 3.0, 4.0], [1, 1, 2], &own, &mut y, Some(&mut places));
        assert_eq!((y, places), ([1.0, 4.0], [0, 1]));
    }

    #[test]
    fn long_runs_and_channels_agree_with_elements() {
        let (size, channels) = ([2, 9, 40], 3);
        let count: usize = size.iter().product();
        let whole = |size| Windows::of_all(vec![Window { start: 0, count: size, step: 1 }]);
        for special in [f32::NAN, 50.0, -0.0] {
            let mut x: Vec<f32> = (0..count * channels).map(|i| ((i * 7919) % 101) as f32 - 60.0).collect();
            (x[77], x[count + 300], x[count + 333]) = (special, special, special);
            let half = Windows::of_all(vec![Window { start: 1, count: 35, step: 1 }]);
            for windows in [[whole(2), whole(9), whole(40)], [whole(2), whole(9), half.clone()]] {
                let (mut y, mut places) = (vec![0.0; channels], vec![0; channels]);
                greatest(&x, size, &windows, &mut y, Some(&mut places));
                let side: Vec<f32> = (0..count * channels).map(|i| x[i % channels * count + i / channels]).collect();
                let (mut z, mut others) = (vec![0.0; channels], vec![0; channels]);
                greatest_of_channels(&side, size, &windows, (&mut z, Some(&mut others)), channels);
                assert_eq!(places, others);
                assert!(y.iter().zip(&z).all(|(y, z)| y.to_bits() == z.to_bits()));
            }
        }
    }
}
