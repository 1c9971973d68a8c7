//! Running sums, products and extremes along the middle dimension of a row-major array seen as `[outer, length, inner]`,
//! from either end.

use super::dispatch::{tier, tiered};
use super::element::{Element, convert, is_nan};
use super::parallel::{self, Apart};
use super::reduce::kinds::Accumulator;
use crate::memory::scratch;

/// Elements from which threads share the work.
const GRAIN: usize = 1 << 14;
/// Lines side by side that are worked on together.
const WIDTH: usize = 256;
/// Elements that one thread runs over, of a line that several share.
const BLOCK: usize = 1 << 14;

/// What a scan makes of the result so far and the next element.
pub trait Step<A>: 'static {
    /// The result of nothing.
    const START: A;
    /// The next result.
    fn next(so_far: A, x: A) -> A;
}

/// Running sum.
pub struct Add;
/// Running product.
pub struct Times;
impl<A: Accumulator> Step<A> for Add {
    const START: A = A::ZERO;
    #[inline(always)]
    fn next(so_far: A, x: A) -> A {
        so_far.plus(x)
    }
}

impl<A: Accumulator> Step<A> for Times {
    const START: A = A::ONE;
    #[inline(always)]
    fn next(so_far: A, x: A) -> A {
        so_far.times(x)
    }
}

/// The element types of a scan and its step, as tiers take one bound a parameter.
pub trait Scan: 'static {
    /// What the elements are.
    type T: Element;
    /// What is computed in.
    type A: Accumulator;
    /// What is computed.
    type S: Step<Self::A>;
}

/// A scan of elements `T` in `A`.
pub struct Of<T, A, S>(std::marker::PhantomData<(T, A, S)>);
impl<T: Element, A: Accumulator, S: Step<A>> Scan for Of<T, A, S> {
    type T = T;
    type A = A;
    type S = S;
}

/// Scans `n` elements, `step` apart, from a first result on; gives the last.
///
/// # Safety
/// `x` has `n` readable elements, `step` apart, and `y` as many writable ones.
#[inline(always)]
unsafe fn line_body<K: Scan>(x: *const K::T, y: *mut K::T, n: usize, step: isize, from: K::A) -> K::A {
    let mut so_far = from;
    // SAFETY: the caller gives `n` elements of both.
    unsafe {
        let mut i = 0;
        while i < n as isize {
            so_far = K::S::next(so_far, convert(*x.offset(i * step)));
            *y.offset(i * step) = convert(so_far);
            i += 1;
        }
    }
    so_far
}

/// Lines that are scanned by turns: a step waits for the one before it, but not for those of other lines.
const TURNS: usize = 4;

/// As [`line_body`] from the start, for [`TURNS`] lines that begin `apart` elements from each other.
///
/// # Safety
/// As [`line_body`] for every line.
#[inline(always)]
unsafe fn turns_body<K: Scan>(x: *const K::T, y: *mut K::T, n: usize, step: isize, apart: usize) {
    let mut so_far = [K::S::START; TURNS];
    // SAFETY: the caller gives `n` elements of each line.
    unsafe {
        for i in 0..n as isize {
            let (from, to) = (x.offset(i * step), y.offset(i * step));
            for (l, so_far) in so_far.iter_mut().enumerate() {
                *so_far = K::S::next(*so_far, convert(*from.add(l * apart)));
                *to.add(l * apart) = convert(*so_far);
            }
        }
    }
}

/// Scans `n` lines side by side, of `length` elements `step` apart.
///
/// # Safety
/// `x` has `length` rows of `n` readable elements, `step` apart, and `y` as many writable ones.
#[inline(always)]
unsafe fn tile_body<K: Scan>(x: *const K::T, y: *mut K::T, length: usize, step: isize, n: usize) {
    let mut so_far = [K::S::START; WIDTH];
    // SAFETY: the caller gives `length` rows of `n` elements of both.
    unsafe {
        let mut row = 0;
        while row < length as isize {
            let (from, to) = (x.offset(row * step), y.offset(row * step));
            for (i, so_far) in so_far.iter_mut().enumerate().take(n) {
                *so_far = K::S::next(*so_far, convert(*from.add(i)));
                *to.add(i) = convert(*so_far);
            }
            row += 1;
        }
    }
}

/// As [`line_body`]; gives the last of the results that start with nothing.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn twin_body<K: Scan>(x: *const K::T, y: *mut K::T, n: usize, step: isize, from: K::A) -> K::A {
    let (mut own, mut so_far) = (K::S::START, from);
    // SAFETY: the caller gives `n` elements of both.
    unsafe {
        let mut i = 0;
        while i < n as isize {
            let value = convert(*x.offset(i * step));
            own = K::S::next(own, value);
            so_far = K::S::next(so_far, value);
            *y.offset(i * step) = convert(so_far);
            i += 1;
        }
    }
    own
}

tiered! { fn twin_kernel<K: Scan>(x: *const K::T, y: *mut K::T, n: usize, step: isize, from: K::A) -> K::A = twin_body::<K>; }
tiered! { fn line_kernel<K: Scan>(x: *const K::T, y: *mut K::T, n: usize, step: isize, from: K::A) -> K::A = line_body::<K>; }
tiered! { fn turns_kernel<K: Scan>(x: *const K::T, y: *mut K::T, n: usize, step: isize, apart: usize) = turns_body::<K>; }
tiered! { fn tile_kernel<K: Scan>(x: *const K::T, y: *mut K::T, length: usize, step: isize, n: usize) = tile_body::<K>; }

/// So many lines are shared between threads as they are; fewer in blocks, whatever the number of threads: the bits depend on it.
const LINES: usize = 8;

/// Writes the running result of `x` into `y`, from the last element where `reverse`. A long line of sums is made of blocks, which
/// threads share: the sums of blocks first.
///
/// # Panics
/// Where the slices are not of one length.
pub fn scan<K: Scan>(x: &[K::T], y: &mut [K::T], length: usize, inner: usize, reverse: bool, splits: bool) {
    assert!(x.len() == y.len());
    if y.is_empty() {
        return;
    }
    let outer = x.len() / (length * inner);
    let target = Apart(y.as_mut_ptr());
    let (first, way) = if reverse { ((length - 1) * inner, -(inner as isize)) } else { (0, inner as isize) };
    if inner == 1 {
        if splits && length > 2 * BLOCK && outer < LINES {
            let lines = x.chunks_exact(length).zip(y.chunks_exact_mut(length));
            return lines.for_each(|(x, y)| blocks::<K>(x, y, reverse));
        }
        let (one, several) = (line_kernel::<K>(tier()), turns_kernel::<K>(tier()));
        return parallel::for_each_range(outer, (GRAIN / length).max(TURNS), |start, end| {
            let whole = end - (end - start) % TURNS;
            let at = |line: usize| (x.as_ptr().wrapping_add(line * length + first), line * length + first);
            // SAFETY: the lines lie in both slices, and are apart.
            unsafe {
                for (from, at) in (start..whole).step_by(TURNS).map(at) {
                    several(from, target.get().add(at), length, way, length);
                }
                for (from, at) in (whole..end).map(at) {
                    one(from, target.get().add(at), length, way, K::S::START);
                }
            }
        });
    }
    let kernel = tile_kernel::<K>(tier());
    let across = inner.div_ceil(WIDTH);
    parallel::for_each_range(outer * across, (GRAIN / (length * WIDTH.min(inner))).max(1), |start, end| {
        for piece in start..end {
            let column = piece % across * WIDTH;
            let at = piece / across * length * inner + first + column;
            // SAFETY: as above, for stretches of lines.
            unsafe { kernel(x.as_ptr().add(at), target.get().add(at), length, way, WIDTH.min(inner - column)) };
        }
    });
}

/// One line of sums in blocks, each from the sum of those before it; one after another where a block's sum is not finite.
fn blocks<K: Scan>(x: &[K::T], y: &mut [K::T], reverse: bool) {
    let (kernel, twins) = (line_kernel::<K>(tier()), twin_kernel::<K>(tier()));
    let (n, target) = (x.len(), Apart(y.as_mut_ptr()));
    let count = n.div_ceil(BLOCK);
    let run_by = |kernel: unsafe fn(_, _, _, _, _) -> _, block: usize, from: K::A| -> K::A {
        let (start, end) = (block * BLOCK, n.min((block + 1) * BLOCK));
        let at = if reverse { end - 1 } else { start };
        // SAFETY: blocks lie in both slices and are apart.
        unsafe { kernel(x.as_ptr().add(at), target.get().add(at), end - start, if reverse { -1 } else { 1 }, from) }
    };
    let run = |block, from| run_by(kernel, block, from);
    let is_finite = |sum: K::A| sum.minus(sum) == K::A::ZERO;
    let order = |i: usize| if reverse { count - 1 - i } else { i };
    if parallel::num_threads() == 1 {
        // The same sums in one pass.
        let (mut so_far, mut finite) = (K::S::START, true);
        for i in 0..count {
            let own = run_by(twins, order(i), so_far);
            finite &= is_finite(own);
            so_far = K::S::next(so_far, own);
        }
        if !finite {
            (0..count).fold(K::S::START, |so_far, i| run(order(i), so_far));
        }
        return;
    }
    let mut sums = scratch(K::S::START, count);
    let all = Apart(sums.as_mut_ptr());
    // SAFETY: each block has a sum of its own.
    parallel::for_each(count, |block| unsafe { *all.get().add(block) = run(block, K::S::START) });
    let mut so_far = K::S::START;
    if !sums.iter().all(|&sum| is_finite(sum)) {
        return (0..count).for_each(|i| so_far = run(order(i), so_far));
    }
    for i in 0..count {
        let next = K::S::next(so_far, sums[order(i)]);
        sums[order(i)] = so_far;
        so_far = next;
    }
    let first = order(0);
    parallel::for_each(count, |block| {
        if block != first {
            run(block, sums[block]);
        }
    });
}

/// Writes the running extreme of `x` into `values` and where it was last found into `places`: greatest where `beyond` is
/// `>=`, and not a number from the first that is none on.
///
/// # Panics
/// Where the slices are not of one length.
pub fn extremes<T: Element>(
    x: &[T],
    values: &mut [T],
    places: &mut [i64],
    (length, inner): (usize, usize),
    beyond: impl Fn(T, T) -> bool + Sync,
) {
    assert!(x.len() == values.len() && x.len() == places.len());
    if x.is_empty() {
        return;
    }
    let (values, places) = (Apart(values.as_mut_ptr()), Apart(places.as_mut_ptr()));
    parallel::for_each_range(x.len() / length, (GRAIN / length).max(1), |start, end| {
        for line in start..end {
            let base = line / inner * length * inner + line % inner;
            let (mut best, mut place) = (x[base], 0);
            for i in 0..length {
                let at = base + i * inner;
                let candidate = x[at];
                if is_nan(candidate) || (!is_nan(best) && beyond(candidate, best)) {
                    (best, place) = (candidate, i as i64);
                }
                // SAFETY: lines are apart.
                unsafe {
                    *values.get().add(at) = best;
                    *places.get().add(at) = place;
                }
            }
        }
    });
}

/// Writes `y = x + a y'` with the result `y'` before, or behind where `reverse`: the first has none.
///
/// # Panics
/// Where the slices are not of one length.
pub fn recurrence<A: Accumulator>(a: &[A], x: &[A], y: &mut [A], (length, inner): (usize, usize), reverse: bool) {
    assert!(x.len() == a.len() && x.len() == y.len());
    if x.is_empty() {
        return;
    }
    let target = Apart(y.as_mut_ptr());
    parallel::for_each_range(x.len() / length, (GRAIN / length).max(1), |start, end| {
        for line in start..end {
            let base = line / inner * length * inner + line % inner;
            let mut last = None;
            for i in 0..length {
                let at = base + if reverse { length - 1 - i } else { i } * inner;
                let value = last.map_or(x[at], |last| x[at].plus(a[at].times(last)));
                // SAFETY: lines are apart.
                unsafe { *target.get().add(at) = value };
                last = Some(value);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    type Sums = Of<f32, f64, Add>;

    #[test]
    fn sums_that_round_have_the_same_bits_at_any_number_of_threads() {
        let mut x: Vec<f64> = (0..200_000).map(|i| f64::from((i * 31) % 17) * 0.1 - 0.8).collect();
        let scanned = |x: &[f64], threads, reverse| {
            let mut y = vec![0.0; x.len()];
            parallel::set_num_threads(threads);
            scan::<Of<f64, f64, Add>>(x, &mut y, 100_000, 1, reverse, true);
            y.into_iter().map(f64::to_bits).collect::<Vec<_>>()
        };
        for special in [0.1, f64::INFINITY, f64::NAN] {
            x[70_000] = special;
            for reverse in [false, true] {
                let one = scanned(&x, 1, reverse);
                assert!([2, 3, 8].into_iter().all(|threads| scanned(&x, threads, reverse) == one));
            }
        }
    }

    #[test]
    fn sums_run_in_both_directions_at_any_number_of_threads() {
        let all: Vec<f32> = (0..200_000).map(|i| ((i * 31) % 17) as f32 - 8.0).collect();
        for (length, inner) in [(200_000, 1), (66_666, 1), (1000, 1), (7, 1), (100, 200), (4, 5)] {
            let x = &all[..all.len() / (length * inner) * length * inner];
            for reverse in [false, true] {
                let (mut one, mut four) = (vec![0.0; x.len()], vec![0.0; x.len()]);
                parallel::set_num_threads(1);
                scan::<Sums>(x, &mut one, length, inner, reverse, true);
                parallel::set_num_threads(4);
                scan::<Sums>(x, &mut four, length, inner, reverse, true);
                assert_eq!(one, four);
                for line in 0..x.len() / length {
                    let (base, mut so_far) = (line / inner * length * inner + line % inner, 0.0);
                    for i in 0..length {
                        let i = if reverse { length - 1 - i } else { i };
                        so_far += x[base + i * inner];
                        assert_eq!(one[base + i * inner], so_far);
                    }
                }
            }
        }
        parallel::set_num_threads(2);
    }

    #[test]
    fn recurrences_run_in_both_directions() {
        let (a, x) = ([2.0, 3.0, 4.0], [1.0, 10.0, 100.0]);
        let mut y = [0.0; 3];
        recurrence(&a, &x, &mut y, (3, 1), false);
        assert_eq!(y, [1.0, 13.0, 152.0]);
        recurrence(&a, &x, &mut y, (3, 1), true);
        assert_eq!(y, [621.0, 310.0, 100.0]);
    }
}
