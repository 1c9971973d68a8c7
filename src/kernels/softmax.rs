//! Softmax, its logarithm, and their derivatives, along the middle dimension of a row-major array seen as
//! `[outer, length, inner]`: each line, or stretch of lines side by side, stays in the cache from the first to the last
//! of its passes. Short lines are turned, so that they lie side by side.

use super::dispatch::{tier, tiered};
use super::gemm::with_room;
use super::parallel::{self, Apart};
use super::pointwise::Values;
use super::reduce::kinds::Exponential;
use super::transpose::transpose;

/// Elements from which threads share the work.
const GRAIN: usize = 1 << 13;
/// Elements that are computed before they are normalised: they stay in the nearest caches.
const STRETCH: usize = 1 << 12;
/// Lines side by side that are worked on together.
const WIDTH: usize = 64;
/// Partial sums that a line is summed in.
pub(super) const LANES: usize = 32;
/// The longest lines that are turned: they would leave most lanes without work.
const SHORT: usize = LANES;

/// What is computed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `exp(x) / sum(exp(x))`
    Softmax,
    /// `x - log(sum(exp(x)))`
    LogSoftmax,
    /// `log(sum(exp(x)))`, one number for each line.
    LogSum,
}

impl Kind {
    /// The length of a line of results.
    fn results(self, length: usize) -> usize {
        if self == Kind::LogSum { 1 } else { length }
    }
}

/// One array in, one out; the second is that of the gradients in derivatives.
type Line<T> = unsafe fn(*const T, *const T, *mut T, usize);
/// As [`Line`] for `n` lines side by side, `step` elements from one row to the next.
type Tile<T> = unsafe fn(*const T, *const T, *mut T, usize, usize, usize);

/// Combines an expression's values for each index below `n`, in lanes. A macro, as closures need not be inlined into the
/// instruction set of their caller.
macro_rules! lanes {
    ($n:expr, $first:expr, |$i:ident| $term:expr, $combine:path) => {{
        let n: usize = $n;
        let mut all = [$first; LANES];
        let whole = n - n % LANES;
        let mut start = 0;
        while start < whole {
            for l in 0..LANES {
                let $i = start + l;
                all[l] = $combine(all[l], $term);
            }
            start += LANES;
        }
        for l in 0..n - whole {
            let $i = whole + l;
            all[l] = $combine(all[l], $term);
        }
        $crate::kernels::reduce::halve!(all, LANES, $combine);
        all[0]
    }};
}

/// The sum of an expression's values for each index below `n`, in float64: four at a time pairwise in each of eight lanes, so
/// that short rows have few lanes to fold, and long ones no longer chains than with more lanes.
macro_rules! sums {
    ($n:expr, |$i:ident| $term:expr) => {{
        const WIDTH: usize = 8;
        let n: usize = $n;
        let (mut all, mut start) = ([0.0f64; WIDTH], 0);
        while start + 4 * WIDTH <= n {
            for l in 0..WIDTH {
                let term = |row: usize| {
                    let $i = start + row * WIDTH + l;
                    $term
                };
                all[l] += (term(0) + term(1)) + (term(2) + term(3));
            }
            start += 4 * WIDTH;
        }
        while start + WIDTH <= n {
            for l in 0..WIDTH {
                let $i = start + l;
                all[l] += $term;
            }
            start += WIDTH;
        }
        for l in 0..n - start {
            let $i = start + l;
            all[l] += $term;
        }
        $crate::kernels::reduce::halve!(all, WIDTH, f64::plus);
        all[0]
    }};
}

pub(super) use {lanes, sums};

/// Runs a statement for every element of a tile: `at` is its place, `i` its column.
macro_rules! each {
    (($length:expr, $step:expr, $n:expr), |$at:ident, $i:ident| $body:expr) => {
        for row in 0..$length {
            for $i in 0..$n {
                let $at = row * $step + $i;
                $body;
            }
        }
    };
}

#[inline(always)]
fn greater<T: Exponential>(a: T, b: T) -> T {
    if a > b || a.is_nan() { a } else { b }
}

/// # Safety
/// `x` has `n` readable elements and `y` `n` that can be read and written.
#[inline(always)]
unsafe fn forward_line<T: Exponential>(x: *const T, y: *mut T, n: usize, log: bool) {
    // SAFETY: the caller gives `n` elements of both.
    unsafe {
        let top = lanes!(n, T::LEAST, |i| *x.add(i), greater);
        if log {
            let total = lanes!(n, T::ZERO, |i| (*x.add(i)).minus(top).exp(), T::plus).log();
            each!((1, 0, n), |at, i| *y.add(at) = (*x.add(i)).minus(top).minus(total));
        } else {
            each!((1, 0, n), |at, i| *y.add(at) = (*x.add(i)).minus(top).exp());
            let scale = lanes!(n, T::ZERO, |i| *y.add(i), T::plus).inverse();
            each!((1, 0, n), |at, i| *y.add(at) = (*y.add(i)).times(scale));
        }
    }
}

/// What is taken from every element before its exponential: the greatest, where that is finite.
#[inline(always)]
fn shift<T: Exponential>(top: T) -> T {
    if top > T::LEAST && top < T::GREATEST { top } else { T::ZERO }
}

/// # Safety
/// `x` has `n` readable elements, and `y` one that can be written.
#[inline(always)]
unsafe fn total_line<T: Exponential>(x: *const T, y: *mut T, n: usize) {
    // SAFETY: the caller gives `n` elements of `x`, and one of `y`.
    unsafe {
        let shift = shift(lanes!(n, T::LEAST, |i| *x.add(i), greater));
        *y = lanes!(n, T::ZERO, |i| (*x.add(i)).minus(shift).exp(), T::plus).log().plus(shift);
    }
}

/// # Safety
/// `x` has `length` rows of `n` readable elements, `step` apart, and `y` one row of writable ones; `n` is at most
/// [`WIDTH`].
#[inline(always)]
unsafe fn total_tile<T: Exponential>(x: *const T, y: *mut T, length: usize, step: usize, n: usize) {
    let (mut top, mut total) = ([T::LEAST; WIDTH], [T::ZERO; WIDTH]);
    // SAFETY: the caller gives `length` rows of `n` elements of `x`, at most `WIDTH`, and one row of `y`.
    unsafe {
        each!((length, step, n), |at, i| top[i] = greater(top[i], *x.add(at)));
        each!((1, 0, n), |at, i| top[at] = shift(top[i]));
        each!((length, step, n), |at, i| total[i] = total[i].plus((*x.add(at)).minus(top[i]).exp()));
        each!((1, 0, n), |at, i| *y.add(at) = total[i].log().plus(top[i]));
    }
}

/// `y (g - sum(g y))`, or `g - exp(y) sum(g)`
///
/// # Safety
/// `y` and `g` have `n` readable elements, and `dx` `n` writable ones.
#[inline(always)]
unsafe fn backward_line<T: Exponential>(y: *const T, g: *const T, dx: *mut T, n: usize, log: bool) {
    // SAFETY: the caller gives `n` elements of each.
    unsafe {
        if log {
            let total = lanes!(n, T::ZERO, |i| *g.add(i), T::plus);
            each!((1, 0, n), |at, i| *dx.add(at) = (*g.add(i)).minus((*y.add(i)).exp().times(total)));
        } else {
            let total = lanes!(n, T::ZERO, |i| (*g.add(i)).times(*y.add(i)), T::plus);
            each!((1, 0, n), |at, i| *dx.add(at) = (*y.add(i)).times((*g.add(i)).minus(total)));
        }
    }
}

/// # Safety
/// `x` has `length` rows of `n` readable elements, `step` apart, and `y` as many that can be read and written; `n` is at
/// most [`WIDTH`].
#[inline(always)]
unsafe fn forward_tile<T: Exponential>(x: *const T, y: *mut T, length: usize, step: usize, n: usize, log: bool) {
    let (mut top, mut total) = ([T::LEAST; WIDTH], [T::ZERO; WIDTH]);
    // SAFETY: the caller gives `length` rows of `n` elements of both, at most `WIDTH`.
    unsafe {
        each!((length, step, n), |at, i| top[i] = greater(top[i], *x.add(at)));
        if log {
            each!((length, step, n), |at, i| total[i] = total[i].plus((*x.add(at)).minus(top[i]).exp()));
            each!((1, 0, n), |at, i| total[at] = total[i].log());
            each!((length, step, n), |at, i| *y.add(at) = (*x.add(at)).minus(top[i]).minus(total[i]));
        } else {
            each!((length, step, n), |at, i| {
                let e = (*x.add(at)).minus(top[i]).exp();
                *y.add(at) = e;
                total[i] = total[i].plus(e);
            });
            each!((1, 0, n), |at, i| total[at] = total[i].inverse());
            each!((length, step, n), |at, i| *y.add(at) = (*y.add(at)).times(total[i]));
        }
    }
}

/// # Safety
/// `y` and `g` have `length` rows of `n` readable elements, `step` apart, and `dx` as many writable ones; `n` is at most
/// [`WIDTH`].
#[inline(always)]
unsafe fn backward_tile<T: Exponential>(
    y: *const T,
    g: *const T,
    dx: *mut T,
    (length, step, n): (usize, usize, usize),
    log: bool,
) {
    let mut total = [T::ZERO; WIDTH];
    // SAFETY: as in `forward_tile`.
    unsafe {
        if log {
            each!((length, step, n), |at, i| total[i] = total[i].plus(*g.add(at)));
            each!((length, step, n), |at, i| *dx.add(at) = (*g.add(at)).minus((*y.add(at)).exp().times(total[i])));
        } else {
            each!((length, step, n), |at, i| total[i] = total[i].plus((*g.add(at)).times(*y.add(at))));
            each!((length, step, n), |at, i| *dx.add(at) = (*y.add(at)).times((*g.add(at)).minus(total[i])));
        }
    }
}

/// A function for each kind, which tiers can name.
macro_rules! bodies {
    ($($line:ident $tile:ident $line_body:ident $tile_body:ident: |$x:ident, $g:ident, $y:ident| $one:expr, |$length:ident, $step:ident, $n:ident| $many:expr;)*) => {$(
        #[inline(always)]
        #[allow(unused_variables, reason = "forward passes have no gradient")]
        unsafe fn $line_body<T: Exponential>($x: *const T, $g: *const T, $y: *mut T, $n: usize) {
            // SAFETY: the caller's.
            unsafe { $one }
        }
        #[inline(always)]
        #[allow(unused_variables, reason = "as above")]
        unsafe fn $tile_body<T: Exponential>($x: *const T, $g: *const T, $y: *mut T, $length: usize, $step: usize, $n: usize) {
            // SAFETY: the caller's.
            unsafe { $many }
        }
        tiered! { fn $line<T: Exponential>(x: *const T, g: *const T, y: *mut T, n: usize) = $line_body::<T>; }
        tiered! { fn $tile<T: Exponential>(x: *const T, g: *const T, y: *mut T, length: usize, step: usize, n: usize) = $tile_body::<T>; }
    )*};
}

/// A call with the second of two addresses for both where they are the same: loops over arrays that are one, or apart, become
/// vectors, and those over arrays that may lie anyhow run element by element where they meet.
macro_rules! alike {
    ($x:ident, $y:ident, $call:expr) => {
        if $x == $y.cast_const() {
            let $x = $y.cast_const();
            $call
        } else {
            $call
        }
    };
}

bodies! {
    soft_line soft_tile soft_line_body soft_tile_body:
        |x, g, y| alike!(x, y, forward_line(x, y, n, false)),
        |length, step, n| alike!(x, y, forward_tile(x, y, length, step, n, false));
    log_line log_tile log_line_body log_tile_body:
        |x, g, y| alike!(x, y, forward_line(x, y, n, true)),
        |length, step, n| alike!(x, y, forward_tile(x, y, length, step, n, true));
    total_of_line total_of_tile total_line_body total_tile_body:
        |x, g, y| total_line(x, y, n), |length, step, n| total_tile(x, y, length, step, n);
    soft_back soft_back_tile soft_back_body soft_back_tile_body:
        |x, g, y| alike!(g, y, backward_line(x, g, y, n, false)),
        |length, step, n| alike!(g, y, backward_tile(x, g, y, (length, step, n), false));
    log_back log_back_tile log_back_body log_back_tile_body:
        |x, g, y| alike!(g, y, backward_line(x, g, y, n, true)),
        |length, step, n| alike!(g, y, backward_tile(x, g, y, (length, step, n), true));
}

/// Lines and tiles of what is asked for.
fn forward_kernels<T: Exponential>(kind: Kind) -> (Line<T>, Tile<T>) {
    match kind {
        Kind::Softmax => (soft_line::<T>(tier()), soft_tile::<T>(tier())),
        Kind::LogSoftmax => (log_line::<T>(tier()), log_tile::<T>(tier())),
        Kind::LogSum => (total_of_line::<T>(tier()), total_of_tile::<T>(tier())),
    }
}

/// As [`forward_kernels`], of the gradients of [`Kind::LogSoftmax`] and [`Kind::Softmax`].
fn backward_kernels<T: Exponential>(kind: Kind) -> (Line<T>, Tile<T>) {
    match kind {
        Kind::Softmax => (soft_back::<T>(tier()), soft_back_tile::<T>(tier())),
        _ => (log_back::<T>(tier()), log_back_tile::<T>(tier())),
    }
}

/// Writes the softmax of `x`, or what else is asked for, into `y`.
///
/// # Panics
/// Where the slices are not of the sizes given.
pub fn forward<T: Exponential>(kind: Kind, x: &[T], y: &mut [T], length: usize, inner: usize) {
    assert!(x.len() * kind.results(length) == y.len() * length);
    let arrays = Arrays { x: x.as_ptr(), g: None, y: y.as_mut_ptr(), elements: x.len() };
    // SAFETY: the slices have the sizes that were just checked.
    unsafe { run(forward_kernels(kind), arrays, (length, kind.results(length)), inner) };
}

/// Writes the softmax of values along lines, or its logarithm, into `y`, each stretch of lines as soon as it is computed.
///
/// # Panics
/// Where `y` is not whole lines.
///
/// # Safety
/// There are as many values as places in `y`, of its type.
pub(crate) unsafe fn forward_computed<T: Exponential>(kind: Kind, values: &dyn Values, y: &mut [T], length: usize) {
    assert!(y.len().is_multiple_of(length) && kind != Kind::LogSum);
    let (target, outer, kernels) = (Apart(y.as_mut_ptr()), y.len() / length, forward_kernels::<T>(kind));
    let lines = (STRETCH / length).clamp(1, outer);
    parallel::for_each_range(outer.div_ceil(lines), (GRAIN / (length * lines)).max(1), |start, end| {
        for first in (start..end).map(|stretch| stretch * lines) {
            let elements = lines.min(outer - first) * length;
            // SAFETY: the lines lie in `y`, and stretches are apart; a line is read before it is written.
            unsafe {
                let y = target.get().add(first * length);
                values.write(first * length, y.cast(), elements);
                parallel::serially(|| run(kernels, Arrays { x: y, g: None, y, elements }, (length, length), 1));
            }
        }
    });
}

/// Writes the gradient of the input into `dx`, from the result `y` and its gradient `g`; for [`Kind::LogSoftmax`] or
/// [`Kind::Softmax`].
///
/// # Panics
/// As [`forward`].
pub fn backward<T: Exponential>(kind: Kind, y: &[T], g: &[T], dx: &mut [T], length: usize, inner: usize) {
    assert!(y.len() == dx.len() && g.len() == dx.len() && kind != Kind::LogSum);
    let arrays = Arrays { x: y.as_ptr(), g: Some(g.as_ptr()), y: dx.as_mut_ptr(), elements: y.len() };
    // SAFETY: the slices have the sizes that were just checked.
    unsafe { run(backward_kernels(kind), arrays, (length, length), inner) };
}

/// As [`backward`], into the memory of the gradient.
///
/// # Panics
/// As [`forward`].
pub fn backward_in_place<T: Exponential>(kind: Kind, y: &[T], g: &mut [T], length: usize, inner: usize) {
    assert!(y.len() == g.len() && kind != Kind::LogSum);
    let arrays = Arrays { x: y.as_ptr(), g: Some(g.as_ptr()), y: g.as_mut_ptr(), elements: y.len() };
    // SAFETY: the slices have the sizes that were just checked; the kernels read each element before they write it.
    unsafe { run(backward_kernels(kind), arrays, (length, length), inner) };
}

/// What kernels read and write: `y` may be `x` or `g`.
struct Arrays<T> {
    x: *const T,
    g: Option<*const T>,
    y: *mut T,
    /// Those of `x`, and of `g` if it is there.
    elements: usize,
}

/// Runs a kernel on all lines: those of `x` and `g` have `length` elements, and those of `y` as many results.
///
/// # Safety
/// The arrays are there, of these sizes, and nobody else writes to them.
unsafe fn run<T: Exponential>(
    (line, tile): (Line<T>, Tile<T>),
    arrays: Arrays<T>,
    (length, results): (usize, usize),
    inner: usize,
) {
    if arrays.elements == 0 {
        return;
    }
    let is_given = arrays.g.is_some();
    let [x, g] = [arrays.x, arrays.g.unwrap_or(arrays.x)].map(|array| Apart(array.cast_mut()));
    let target = Apart(arrays.y);
    let outer = arrays.elements / (length * inner);
    // SAFETY: the users of the addresses stay within the arrays.
    let at = |outer: usize, first: usize| unsafe {
        let (from, to) = (outer * length * inner + first, outer * results * inner + first);
        (x.get().add(from).cast_const(), g.get().add(from).cast_const(), target.get().add(to))
    };
    let grain = |lines: usize| (GRAIN / (length * lines)).max(1);
    if inner == 1 && length <= SHORT {
        return parallel::for_each_range(outer.div_ceil(WIDTH), grain(WIDTH), |start, end| {
            for first in (start..end).map(|piece| piece * WIDTH) {
                // SAFETY: the lines lie in all arrays, and lines are apart.
                unsafe { turned(tile, at(first, 0), is_given, (length, results), WIDTH.min(outer - first)) };
            }
        });
    }
    if inner == 1 {
        return parallel::for_each_range(outer, grain(1), |start, end| {
            for (x, g, y) in (start..end).map(|i| at(i, 0)) {
                // SAFETY: as above.
                unsafe { line(x, g, y, length) };
            }
        });
    }
    let across = inner.div_ceil(WIDTH);
    parallel::for_each_range(outer * across, grain(WIDTH.min(inner)), |start, end| {
        for piece in start..end {
            let first = piece % across * WIDTH;
            let (x, g, y) = at(piece / across, first);
            // SAFETY: as above, for stretches of lines.
            unsafe { tile(x, g, y, length, inner, WIDTH.min(inner - first)) };
        }
    });
}

/// Runs a kernel for lines side by side on `n` short lines that follow each other.
///
/// # Safety
/// The lines are there; `g` is where it `is_given`.
unsafe fn turned<T: Exponential>(
    tile: Tile<T>,
    (x, g, y): (*const T, *const T, *mut T),
    is_given: bool,
    (length, results): (usize, usize),
    n: usize,
) {
    let size = length * WIDTH;
    with_room(3 * size, |room: *mut T| {
        let (from, to) = (room, room.wrapping_add(size));
        let gradients = if is_given { room.wrapping_add(2 * size) } else { from };
        // SAFETY: the caller's lines; each part of the room has the size of a tile.
        unsafe {
            transpose((x, length as isize), (from, WIDTH), (length, n));
            if is_given {
                transpose((g, length as isize), (gradients, WIDTH), (length, n));
            }
            tile(from, gradients, to, length, WIDTH, n);
            transpose((to, WIDTH as isize), (y, results), (n, results));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_sum_to_one_in_every_direction() {
        let x: Vec<f64> = (0..600).map(|i| ((i * 37) % 101) as f64 * 0.1 - 5.0).collect();
        for (length, inner) in [(600, 1), (100, 1), (20, 1), (3, 1), (6, 100), (2, 3), (1, 6)] {
            let (mut y, mut log, mut total) = (vec![0.0; 600], vec![0.0; 600], vec![0.0; 600 / length]);
            forward(Kind::Softmax, &x, &mut y, length, inner);
            forward(Kind::LogSoftmax, &x, &mut log, length, inner);
            forward(Kind::LogSum, &x, &mut total, length, inner);
            let (mut dx, mut g) = (vec![0.0; 600], x.clone());
            backward(Kind::Softmax, &y, &x, &mut dx, length, inner);
            backward_in_place(Kind::Softmax, &y, &mut g, length, inner);
            assert_eq!(dx, g);
            let of_line = |i: usize| i / (length * inner) * inner + i % inner;
            assert!((0..600).all(|i| (x[i] - log[i] - total[of_line(i)]).abs() < 1e-13));
            assert!(y.iter().zip(&log).all(|(y, l)| (y - l.exp()).abs() < 1e-14));
            for line in 0..600 / length {
                let at = line / inner * length * inner + line % inner;
                let total: f64 = (0..length).map(|i| y[at + i * inner]).sum();
                assert!((total - 1.0).abs() < 1e-14);
            }
        }
    }
}
