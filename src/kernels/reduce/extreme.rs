//! The greatest or least elements with their places: of equals the first, and what is not a number before all others.

use std::marker::PhantomData;

use super::buffer::Buffer;
use super::kinds::{Accumulator, Greatest, Least};
use super::lanes::{one_row, rows_kernel};
use super::rows::gather;
use super::space::{self, Space};
use super::{Apart, BLOCK, GRAIN, Reduction};
use crate::kernels::dispatch::{tier, tiered};
use crate::kernels::parallel;
use crate::kernels::source::Source;
use crate::memory::scratch;

/// An end of the order.
pub trait End<A: Accumulator>: Reduction<In = A, Out = A> {
    /// True where `b` lies farther towards the end than `a`.
    fn is_beyond(b: A, a: A) -> bool;
}

impl<A: Accumulator> End<A> for Greatest<A, A> {
    #[inline(always)]
    fn is_beyond(b: A, a: A) -> bool {
        b > a || (b.is_nan() && !a.is_nan())
    }
}

impl<A: Accumulator> End<A> for Least<A, A> {
    #[inline(always)]
    fn is_beyond(b: A, a: A) -> bool {
        b < a || (b.is_nan() && !a.is_nan())
    }
}

/// Elements of a row of columns that one piece of work has.
const WIDTH: usize = 256;
/// Rows of such a piece: their numbers fit 32 bits.
const HEIGHT: usize = 1 << 12;

/// A value and where it was found.
#[derive(Clone, Copy, Default)]
struct Found<A> {
    value: A,
    at: usize,
}

/// The first element that is not below `value`, the extreme of the block.
///
/// # Safety
/// `data` has `n` readable elements.
#[inline(always)]
unsafe fn search_body<A: Accumulator>(data: *const A, n: usize, value: A) -> usize {
    const STEP: usize = 32;
    let is_nan = value.is_nan();
    // SAFETY: the caller gives `n` readable elements.
    unsafe {
        let mut i = 0;
        while i + STEP <= n {
            let mut any = false;
            for l in 0..STEP {
                let x = *data.add(i + l);
                any |= (x == value) | (is_nan & x.is_nan());
            }
            if any {
                break;
            }
            i += STEP;
        }
        while i < n {
            let x = *data.add(i);
            if x == value || (is_nan && x.is_nan()) {
                return i;
            }
            i += 1;
        }
        0
    }
}

tiered! { fn search_kernel<A: Accumulator>(data: *const A, n: usize, value: A) -> usize = search_body::<A>; }

/// `best[i]` and its row number, where the row has better.
///
/// # Safety
/// `best` and `at` have `n` elements that can be read and written, and `row` has `n` readable ones.
#[inline(always)]
unsafe fn better_body<A: Accumulator, E: End<A>>(best: *mut A, at: *mut i32, row: *const A, number: i32, n: usize) {
    // SAFETY: the caller gives `n` elements of each.
    unsafe {
        for i in 0..n {
            let (a, b) = (*best.add(i), *row.add(i));
            let beyond = E::is_beyond(b, a);
            *best.add(i) = if beyond { b } else { a };
            *at.add(i) = if beyond { number } else { *at.add(i) };
        }
    }
}

/// A tier's function takes one bound a parameter; this names the pair.
trait Pair {
    type A: Accumulator;
    type E: End<Self::A>;
}
struct Of<A, E>(PhantomData<(A, E)>);
impl<A: Accumulator, E: End<A>> Pair for Of<A, E> {
    type A = A;
    type E = E;
}

tiered! { fn better_kernel<P: Pair>(best: *mut P::A, at: *mut i32, row: *const P::A, number: i32, n: usize) = better_body::<P::A, P::E>; }

/// Writes the extreme of each result's elements and its place among them, in the order of the reduced axes.
///
/// # Safety
/// As [`super::reduce`], and nothing is reduced over nothing. `values` may be null; the reduced axes are at most one, or
/// all, in row-major order.
pub unsafe fn extremes<A: Accumulator, E: End<A>>(source: Source<A>, space: &Space, values: *mut A, places: *mut i64) {
    if space.results() == 0 {
        return;
    }
    let (values, places) = (Apart(values), Apart(places));
    let write = |to: isize, found: Found<A>| {
        // SAFETY: the caller's; each result is written once.
        unsafe {
            if !values.get().is_null() {
                *values.get().offset(to) = found.value;
            }
            *places.get().offset(to) = found.at as i64;
        }
    };
    // SAFETY: the caller's.
    unsafe {
        if space.is_by_columns() {
            by_columns::<A, E>(&source, space, write);
        } else {
            by_rows::<A, E>(&source, space, write);
        }
    }
}

/// # Safety
/// The source has the elements of the space.
unsafe fn by_rows<A: Accumulator, E: End<A>>(
    source: &Source<A>,
    space: &Space,
    write: impl Fn(isize, Found<A>) + Sync,
) {
    let (extreme, search) = (rows_kernel::<E>(tier()), search_kernel::<A>(tier()));
    let (length, results) = (space.length(), space.results());
    let blocks = length.div_ceil(BLOCK);
    let range = |b: usize| (b * BLOCK, length.min((b + 1) * BLOCK));
    // SAFETY: the caller's; the block's elements are readable.
    let value = |result: usize, b: usize, buffer: &mut Buffer| unsafe {
        let (base, _) = space::offset(&space.kept, result);
        let data = gather(source, &space.reduced, base, range(b), buffer);
        (data, one_row(extreme, data, range(b).1 - range(b).0, A::ZERO))
    };
    // SAFETY: as above.
    let place = |data: *const A, b: usize, value: A| unsafe {
        let (start, end) = range(b);
        let at = search(data, end - start, value);
        Found { value: *data.add(at), at: start + at }
    };
    let to = |result: usize| space::offset(&space.kept, result).1;
    if blocks == 1 {
        return parallel::for_each_range(results, (GRAIN / length).max(1), |start, end| {
            let mut buffer = Buffer::default();
            for result in start..end {
                let (data, extreme) = value(result, 0, &mut buffer);
                write(to(result), place(data, 0, extreme));
            }
        });
    }
    let mut parts = scratch(A::ZERO, blocks * results);
    let target = Apart(parts.as_mut_ptr());
    parallel::for_each_range(blocks * results, GRAIN / BLOCK, |start, end| {
        let mut buffer = Buffer::default();
        for piece in start..end {
            // SAFETY: ranges of pieces are disjoint.
            unsafe { *target.get().add(piece) = value(piece / blocks, piece % blocks, &mut buffer).1 };
        }
    });
    let mut buffer = Buffer::default();
    for (result, parts) in parts.chunks_exact(blocks).enumerate() {
        let first = (1..blocks).fold(0, |best, b| if E::is_beyond(parts[b], parts[best]) { b } else { best });
        let (data, extreme) = value(result, first, &mut buffer);
        write(to(result), place(data, first, extreme));
    }
}

/// # Safety
/// The source has the elements of the space.
unsafe fn by_columns<A: Accumulator, E: End<A>>(
    source: &Source<A>,
    space: &Space,
    write: impl Fn(isize, Found<A>) + Sync,
) {
    let kernel = better_kernel::<Of<A, E>>(tier());
    let Some((inner, outer)) = space.kept.split_last() else { return };
    let width = inner.size.min(WIDTH);
    let across = inner.size.div_ceil(width);
    let length = space.length();
    let grain = (GRAIN / (length * width)).max(1);
    let direct = source.is_direct() && (inner.step == 1 || inner.size == 1);
    parallel::for_each_range(space::count(outer) * across, grain, |start, end| {
        let (mut best, mut at, mut row) = (vec![A::ZERO; width], vec![0i32; width], vec![A::ZERO; width]);
        let mut found = vec![Found { value: A::ZERO, at: 0 }; width];
        for piece in start..end {
            let (from, to) = space::offset(outer, piece / across);
            let first = piece % across * width;
            let n = width.min(inner.size - first);
            let from = from + first as isize * inner.step;
            let mut top = 0;
            while top < length {
                let stop = length.min(top + HEIGHT);
                let mut number = 0;
                space::runs(&space.reduced, top, stop, |offset, step, count| {
                    for r in 0..count as isize {
                        let offset = from + offset + r * step;
                        // SAFETY: the caller's; all rooms hold `n` elements.
                        unsafe {
                            let data = if direct {
                                source.at(offset)
                            } else {
                                source.fill(offset, inner.step, row.as_mut_ptr(), n);
                                row.as_ptr()
                            };
                            if number == 0 {
                                std::ptr::copy_nonoverlapping(data, best.as_mut_ptr(), n);
                                at.fill(0);
                            } else {
                                kernel(best.as_mut_ptr(), at.as_mut_ptr(), data, number, n);
                            }
                        }
                        number += 1;
                    }
                });
                for i in 0..n {
                    if top == 0 || E::is_beyond(best[i], found[i].value) {
                        found[i] = Found { value: best[i], at: top + at[i] as usize };
                    }
                }
                top = stop;
            }
            (0..n).for_each(|i| write(to + (first + i) as isize * inner.out, found[i]));
        }
    });
}
