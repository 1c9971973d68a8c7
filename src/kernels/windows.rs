//! The greatest elements of windows in up to three dimensions, and where they are.

use super::element::Element;
use super::parallel::{self, Apart};

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

/// Windows along one dimension: those of the first plane, the second and so on, which then come again.
pub type Windows = Vec<Vec<Window>>;

/// Elements that a piece of work looks at.
const GRAIN: usize = 1 << 14;

/// For every window of every plane of `x` the first greatest element and its place in the plane; the last NaN, where there
/// are any.
pub fn greatest<T: Element>(x: &[T], size: [usize; 3], windows: &[Windows; 3], y: &mut [T], places: &mut [i64]) {
    let (plane, results) = (size.iter().product::<usize>(), windows.iter().map(|w| w[0].len()).product::<usize>());
    if results == 0 || y.is_empty() {
        return;
    }
    let (planes, y, places) = (y.len() / results, Apart(y.as_mut_ptr()), Apart(places.as_mut_ptr()));
    let is_each = |w: &Windows| w.iter().all(|w| w.iter().enumerate().all(|(n, w)| w.start == n && w.count == 1));
    // Windows of one element each.
    let is_copy = results == plane && windows.iter().all(is_each);
    parallel::for_each_range(planes, GRAIN / plane.max(results) + 1, |start, end| {
        for p in start..end {
            if is_copy {
                // SAFETY: planes have elements of their own.
                let (y, places) = unsafe { (y.part(p * plane, plane), places.part(p * plane, plane)) };
                y.copy_from_slice(&x[p * plane..(p + 1) * plane]);
                places.iter_mut().enumerate().for_each(|(n, place)| *place = n as i64);
                continue;
            }
            let of = |d: usize| &windows[d][p % windows[d].len()][..];
            // SAFETY: planes have elements of their own.
            let (y, places) = unsafe { (y.part(p * results, results), places.part(p * results, results)) };
            in_plane(&x[p * plane..(p + 1) * plane], size, [of(0), of(1), of(2)], y, places);
        }
    });
}

fn in_plane<T: Element>(x: &[T], size: [usize; 3], windows: [&[Window]; 3], y: &mut [T], places: &mut [i64]) {
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
#[allow(clippy::eq_op, reason = "only NaN differs from itself")]
fn in_window<T: Element>(x: &[T], size: [usize; 3], [a, b, c]: [&Window; 3]) -> (T, usize) {
    let mut at = (a.start * size[1] + b.start) * size[2] + c.start;
    let mut found = x[at];
    for i in 0..a.count {
        for j in 0..b.count {
            let row = ((a.start + i * a.step) * size[1] + b.start + j * b.step) * size[2] + c.start;
            for k in 0..c.count {
                let value = x[row + k * c.step];
                if value > found || value != value {
                    (found, at) = (value, row + k * c.step);
                }
            }
        }
    }
    (found, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greatest_and_their_places() {
        let w = |start, count, step| Window { start, count, step };
        let one = vec![vec![w(0, 1, 1)]];
        let (mut y, mut places) = ([0.0f32; 2], [0; 2]);
        let windows = [one.clone(), one, vec![vec![w(0, 2, 2), w(1, 3, 1)]]];
        greatest(&[3.0, 1.0, 5.0, 5.0], [1, 1, 4], &windows, &mut y, &mut places);
        assert_eq!((y, places), ([5.0, 5.0], [2, 2]));
        let each = [vec![vec![w(0, 1, 1)]], vec![vec![w(0, 1, 1)]], vec![vec![w(0, 1, 1), w(1, 1, 1)]]];
        greatest(&[4.0, f32::INFINITY], [1, 1, 2], &each, &mut y, &mut places);
        assert_eq!((y, places), ([4.0, f32::INFINITY], [0, 1]));
        greatest(&[3.0, f32::NAN, f32::NAN, 5.0], [1, 1, 4], &windows, &mut y, &mut places);
        assert!(y.iter().all(|y| y.is_nan()) && places == [2, 2]);
    }
}
