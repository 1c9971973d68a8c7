//! Arrays of pieces that share a centre and a factor, as the channels of images do: each element less the centre of its
//! piece, times a factor, plus a term, and the sums that the derivative of that needs.

use super::dispatch::{tier, tiered};
use super::parallel::{self, Apart};
use super::reduce::kinds::Accumulator;
use super::softmax::sums;

/// Elements from which threads share the work.
const GRAIN: usize = 1 << 13;

/// Writes `(x - centre) factor + term`.
///
/// # Safety
/// `x` has `n` readable elements, and `y` `n` writable ones.
#[inline(always)]
pub(super) unsafe fn scale_piece<T: Accumulator>(x: *const T, y: *mut T, n: usize, [centre, factor, term]: [T; 3]) {
    for i in 0..n {
        // SAFETY: the caller gives `n` elements of both.
        unsafe { *y.add(i) = (*x.add(i)).minus(centre).times(factor).plus(term) };
    }
}

/// The sums of `g` and of `g (x - centre)`.
///
/// # Safety
/// `g` and `x` have `n` readable elements.
#[inline(always)]
unsafe fn sums_of_piece<T: Accumulator>(g: *const T, x: *const T, n: usize, centre: T) -> [f64; 2] {
    // SAFETY: the caller gives `n` elements of both.
    unsafe {
        let along = sums!(n, |i| (*g.add(i)).times((*x.add(i)).minus(centre)).to_f64());
        [sums!(n, |i| (*g.add(i)).to_f64()), along]
    }
}

/// Writes `a g + b (x - centre) + c`.
///
/// # Safety
/// `g` and `x` have `n` readable elements, and `dx` `n` writable ones.
#[inline(always)]
unsafe fn blend_piece<T: Accumulator>(g: *const T, x: *const T, dx: *mut T, n: usize, [centre, a, b, c]: [T; 4]) {
    for i in 0..n {
        // SAFETY: the caller gives `n` elements of each.
        unsafe { *dx.add(i) = a.times(*g.add(i)).plus(b.times((*x.add(i)).minus(centre))).plus(c) };
    }
}

tiered! { fn scale_of<T: Accumulator>(x: *const T, y: *mut T, n: usize, by: [T; 3]) = scale_piece::<T>; }
tiered! { fn sums_of<T: Accumulator>(g: *const T, x: *const T, n: usize, centre: T) -> [f64; 2] = sums_of_piece::<T>; }
tiered! { fn blend_of<T: Accumulator>(g: *const T, x: *const T, dx: *mut T, n: usize, by: [T; 4]) = blend_piece::<T>; }

/// Runs a body for every piece of `n` elements.
fn for_each_piece(pieces: usize, n: usize, body: impl Fn(usize) + Sync) {
    parallel::for_each_range(pieces, (GRAIN / n).max(1), |start, end| (start..end).for_each(&body));
}

/// Writes `(x - centre) factor + term`, where `by` tells the three of a piece of `n` elements.
///
/// # Panics
/// Where the slices are not of one size, or not of whole pieces.
pub fn scale<T: Accumulator>(x: &[T], y: &mut [T], n: usize, by: impl Fn(usize) -> [T; 3] + Sync) {
    assert!(n > 0 && x.len().is_multiple_of(n) && y.len() == x.len());
    let (piece, y) = (scale_of::<T>(tier()), Apart(y.as_mut_ptr()));
    // SAFETY: piece `p` lies in both slices, and pieces are apart.
    for_each_piece(x.len() / n, n, |p| unsafe { piece(x.as_ptr().add(p * n), y.get().add(p * n), n, by(p)) });
}

/// The sums of `g` and of `g (x - centre)` over every piece of `n` elements, where `centre` tells that of a piece.
///
/// # Panics
/// Where the slices are not of one size, or not of whole pieces.
pub fn sums<T: Accumulator>(g: &[T], x: &[T], n: usize, centre: impl Fn(usize) -> T + Sync, found: &mut [[f64; 2]]) {
    assert!(n > 0 && x.len() == found.len() * n && g.len() == x.len());
    let (piece, to) = (sums_of::<T>(tier()), Apart(found.as_mut_ptr()));
    // SAFETY: piece `p` lies in both slices, and each has a place of its own.
    for_each_piece(found.len(), n, |p| unsafe {
        *to.get().add(p) = piece(g.as_ptr().add(p * n), x.as_ptr().add(p * n), n, centre(p));
    });
}

/// Writes `a g + b (x - centre) + c`, where `by` tells the centre, `a`, `b` and `c` of a piece of `n` elements.
///
/// # Panics
/// Where the slices are not of one size, or not of whole pieces.
pub fn blend<T: Accumulator>(g: &[T], x: &[T], dx: &mut [T], n: usize, by: impl Fn(usize) -> [T; 4] + Sync) {
    assert!(n > 0 && x.len().is_multiple_of(n) && g.len() == x.len() && dx.len() == x.len());
    let (piece, dx) = (blend_of::<T>(tier()), Apart(dx.as_mut_ptr()));
    // SAFETY: piece `p` lies in all slices, and pieces are apart.
    for_each_piece(x.len() / n, n, |p| unsafe {
        piece(g.as_ptr().add(p * n), x.as_ptr().add(p * n), dx.get().add(p * n), n, by(p));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_have_numbers_of_their_own() {
        let (pieces, n) = (5, 37);
        let x: Vec<f32> = (0..pieces * n).map(|i| i as f32).collect();
        let g: Vec<f32> = x.iter().map(|v| v % 3.0).collect();
        let (mut y, mut dx, mut found) = (vec![0.0; x.len()], vec![0.0; x.len()], vec![[0.0; 2]; pieces]);
        scale(&x, &mut y, n, |p| [p as f32, 2.0, 1.0]);
        sums(&g, &x, n, |p| p as f32, &mut found);
        blend(&g, &x, &mut dx, n, |p| [p as f32, 2.0, 3.0, p as f32]);
        for (i, (&x, &g)) in x.iter().zip(&g).enumerate() {
            let p = (i / n) as f32;
            assert_eq!((y[i], dx[i]), ((x - p) * 2.0 + 1.0, 2.0 * g + 3.0 * (x - p) + p));
        }
        for (p, sums) in found.iter().enumerate() {
            let of = |f: fn(f32, f32, f32) -> f32| {
                (p * n..(p + 1) * n).map(|i| f64::from(f(g[i], x[i], p as f32))).sum::<f64>()
            };
            assert_eq!(*sums, [of(|g, _, _| g), of(|g, x, m| g * (x - m))]);
        }
    }
}
