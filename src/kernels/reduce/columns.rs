//! Reductions whose nearest elements go into results side by side: rows are combined with each other.

use smallvec::SmallVec;

use super::space::{self, Axis, Space};
use super::{Apart, GRAIN, ROWS, Reduction, pairwise};
use crate::kernels::dispatch::{tier, tiered};
use crate::kernels::element::Element;
use crate::kernels::parallel;
use crate::kernels::source::Source;
use crate::memory::scratch;

/// Results that one piece of work has.
const WIDTH: usize = 512;
/// Rows whose result is combined with that of others, pairwise.
const STRETCH: usize = 32;

/// `results[i] = combine(results[i], rows[r][i])` for rows `step` elements apart, [`ROWS`] of them pairwise and then one
/// after another.
///
/// # Safety
/// `results` has `n` elements that can be read and written, `rows` `count` rows of `n`, `step` elements apart, and `centre`
/// is null or has `n`.
#[inline(always)]
unsafe fn rows_body<R: Reduction>(
    results: *mut R::Out,
    rows: *const R::In,
    step: isize,
    count: usize,
    n: usize,
    centre: *const R::Out,
) {
    // SAFETY: the caller gives `n` results, as many centres or none, and `count` rows.
    unsafe {
        let whole = count - count % ROWS;
        for first in (0..whole).step_by(ROWS) {
            let at = |r: usize| rows.offset((first + r) as isize * step);
            if centre.is_null() {
                for i in 0..n {
                    let row = |r: usize| R::map(*at(r).add(i), R::IDENTITY);
                    *results.add(i) = R::combine(*results.add(i), pairwise::<R>(row));
                }
            } else {
                for i in 0..n {
                    let row = |r: usize| R::map(*at(r).add(i), *centre.add(i));
                    *results.add(i) = R::combine(*results.add(i), pairwise::<R>(row));
                }
            }
        }
        for r in whole..count {
            let row = rows.offset(r as isize * step);
            if centre.is_null() {
                for i in 0..n {
                    *results.add(i) = R::combine(*results.add(i), R::map(*row.add(i), R::IDENTITY));
                }
            } else {
                for i in 0..n {
                    *results.add(i) = R::combine(*results.add(i), R::map(*row.add(i), *centre.add(i)));
                }
            }
        }
    }
}

/// # Safety
/// `a` has `n` elements that can be read and written, and `b` `n` readable ones, apart from them.
#[inline(always)]
unsafe fn join_body<R: Reduction>(a: *mut R::Out, b: *const R::Out, n: usize) {
    // SAFETY: the caller gives `n` elements of both.
    unsafe {
        for i in 0..n {
            *a.add(i) = R::combine(*a.add(i), *b.add(i));
        }
    }
}

tiered! { fn rows_kernel<R: Reduction>(results: *mut R::Out, rows: *const R::In, step: isize, count: usize, n: usize, centre: *const R::Out) = rows_body::<R>, avx512 if R::IS_FLOAT; }
tiered! { fn join_kernel<R: Reduction>(a: *mut R::Out, b: *const R::Out, n: usize) = join_body::<R>; }

/// The pieces of the work: stretches of columns by stretches of rows, for each outer index.
struct Pieces<'a> {
    outer: &'a [Axis],
    inner: Axis,
    /// Columns of a piece, pieces across, rows of a piece, pieces down.
    width: usize,
    across: usize,
    height: usize,
    down: usize,
}

impl<'a> Pieces<'a> {
    fn new(space: &'a Space) -> Pieces<'a> {
        let (outer, inner) = match space.kept.split_last() {
            Some((inner, outer)) => (outer, *inner),
            None => (&[][..], Axis { size: 1, step: 1, out: 1 }),
        };
        let width = inner.size.min(WIDTH);
        let height = STRETCH * (GRAIN / (STRETCH * width)).max(1);
        let (across, down) = (inner.size.div_ceil(width), space.length().div_ceil(height));
        Pieces { outer, inner, width, across, height, down }
    }
}

/// Where a piece lies: the first elements of its outer index, its first column, its columns.
struct Part {
    from: isize,
    to: isize,
    column: usize,
    n: usize,
}

impl Pieces<'_> {
    fn part(&self, outer: usize, across: usize) -> Part {
        let (from, to) = space::offset(self.outer, outer);
        let column = across * self.width;
        let n = self.width.min(self.inner.size - column);
        let at = column as isize;
        Part { from: from + at * self.inner.step, to: to + at * self.inner.out, column, n }
    }
}

/// Combines rows in stretches; pieces of rows are shared between threads and then combined in order.
///
/// # Safety
/// As [`super::reduce`].
pub(super) unsafe fn reduce<R: Reduction>(
    source: Source<R::In>,
    space: &Space,
    out: Apart<R::Out>,
    centre: Option<Apart<R::Out>>,
) {
    let pieces = Pieces::new(space);
    let length = space.length();
    let outer = space::count(pieces.outer);
    let total = outer * pieces.across * pieces.down;
    let grain = (GRAIN / (pieces.height.min(length) * pieces.width)).max(1);
    let mut parts =
        if pieces.down > 1 { scratch(R::IDENTITY, pieces.down * outer * pieces.inner.size) } else { Vec::new() };
    let target = Apart(parts.as_mut_ptr());
    parallel::for_each_range(total, grain, |start, end| {
        let mut room = Room::<R>::default();
        for piece in start..end {
            let (down, rest) = (piece % pieces.down, piece / pieces.down);
            let part = pieces.part(rest / pieces.across, rest % pieces.across);
            let rows = (down * pieces.height, length.min((down + 1) * pieces.height));
            // SAFETY: the caller's; pieces write to results, or partial results, of their own.
            unsafe {
                room.run(&source, space, &pieces, &part, rows, centre);
                if pieces.down == 1 {
                    scatter(&room.results, part.n, out.get().offset(part.to), pieces.inner.out);
                } else {
                    let at = (down * outer + rest / pieces.across) * pieces.inner.size + part.column;
                    std::ptr::copy_nonoverlapping(room.results.as_ptr(), target.get().add(at), part.n);
                }
            }
        }
    });
    if pieces.down > 1 {
        // SAFETY: the caller's; there is a partial result for each piece.
        unsafe { join::<R>(&mut parts, &pieces, outer, out) };
    }
}

/// Up to so many results side by side are worked on without memory of the system.
const NARROW: usize = 256;

/// What a thread works in.
struct Room<R: Reduction> {
    /// The results of all stretches, of which the first becomes that of the piece.
    results: SmallVec<[R::Out; NARROW]>,
    centre: Vec<R::Out>,
    /// Rows that had to be computed or converted.
    rows: Vec<R::In>,
}

impl<R: Reduction> Default for Room<R> {
    fn default() -> Self {
        Room { results: SmallVec::new(), centre: Vec::new(), rows: Vec::new() }
    }
}

impl<R: Reduction> Room<R> {
    /// Leaves in `results` the reduction of some rows of a part.
    ///
    /// # Safety
    /// The source has the part's elements in these rows, and the centre, where there is one, has one for each result.
    unsafe fn run(
        &mut self,
        source: &Source<R::In>,
        space: &Space,
        pieces: &Pieces,
        part: &Part,
        rows: (usize, usize),
        centre: Option<Apart<R::Out>>,
    ) {
        let (kernel, join) = (rows_kernel::<R>(tier()), join_kernel::<R>(tier()));
        let n = part.n;
        let stretches = (rows.1 - rows.0).div_ceil(STRETCH);
        self.results.clear();
        self.results.resize(stretches * n, R::IDENTITY);
        let middle = match centre {
            // SAFETY: there is a centre for each result.
            Some(c) => unsafe {
                self.centre.clear();
                self.centre.extend((0..n as isize).map(|i| *c.get().offset(part.to + i * pieces.inner.out)));
                self.centre.as_ptr()
            },
            None => std::ptr::null(),
        };
        let direct = source.is_direct() && (pieces.inner.step == 1 || n == 1);
        let many = if n < NARROW { STRETCH } else { ROWS };
        if !direct {
            self.rows.resize(many * n, R::In::default());
        }
        let row = self.rows.as_mut_ptr();
        for (stretch, into) in self.results.chunks_exact_mut(n).enumerate() {
            let (at, into) = (rows.0 + stretch * STRETCH, into.as_mut_ptr());
            let stop = rows.1.min(at + STRETCH);
            space::runs(&space.reduced, at, stop, |offset, step, count| {
                // SAFETY: the caller's; all rooms hold `n` elements.
                unsafe {
                    if direct {
                        return kernel(into, source.at(part.from + offset), step, count, n, middle);
                    }
                    let is_dense = step == n as isize && pieces.inner.step == 1;
                    for first in (0..count).step_by(many) {
                        let several = many.min(count - first);
                        let from = |r: usize| part.from + offset + (first + r) as isize * step;
                        if is_dense {
                            source.fill(from(0), 1, row, several * n);
                        } else {
                            (0..several).for_each(|r| source.fill(from(r), pieces.inner.step, row.add(r * n), n));
                        }
                        kernel(into, row, n as isize, several, n, middle);
                    }
                }
            });
        }
        let (results, mut left) = (self.results.as_mut_ptr(), stretches);
        while left > 1 {
            let half = left.div_ceil(2);
            for i in 0..left / 2 {
                // SAFETY: the rooms of two stretches, which hold `n` elements each.
                unsafe { join(results.add(i * n), results.add((i + half) * n), n) };
            }
            left = half;
        }
    }
}

/// # Safety
/// There is room for `n` elements, `step` apart, from `to` on; `values` has as many.
unsafe fn scatter<T: Element>(values: &[T], n: usize, to: *mut T, step: isize) {
    // SAFETY: the caller gives room for `n` elements.
    unsafe {
        if step == 1 {
            std::ptr::copy_nonoverlapping(values.as_ptr(), to, n);
        } else {
            (0..n).for_each(|i| *to.offset(i as isize * step) = values[i]);
        }
    }
}

/// Combines the partial results of all pieces of rows, pairwise.
///
/// # Safety
/// `out` has a place for each result, which nobody else writes; `parts` has the results of all pieces.
unsafe fn join<R: Reduction>(parts: &mut [R::Out], pieces: &Pieces, outer: usize, out: Apart<R::Out>) {
    let n = outer * pieces.inner.size;
    let (all, kernel) = (Apart(parts.as_mut_ptr()), join_kernel::<R>(tier()));
    let mut left = pieces.down;
    while left > 1 {
        let half = left.div_ceil(2);
        parallel::for_each_range(left / 2, (GRAIN / n).max(1), |start, end| {
            for i in start..end {
                // SAFETY: each pair is combined by one thread.
                unsafe { kernel(all.get().add(i * n), all.get().add((i + half) * n), n) };
            }
        });
        left = half;
    }
    for (i, row) in parts[..n].chunks_exact(pieces.inner.size).enumerate() {
        let (_, to) = space::offset(pieces.outer, i);
        // SAFETY: the caller's.
        unsafe { scatter(row, row.len(), out.get().offset(to), pieces.inner.out) };
    }
}
