//! Reductions whose nearest elements go into one result.

use super::buffer::Buffer;
use super::lanes::{Rows, one_row, rows_kernel};
use super::space::{self, Axis, Space};
use super::{Apart, BLOCK, GRAIN, Reduction, fold};
use crate::kernels::dispatch::tier;
use crate::kernels::parallel;
use crate::kernels::source::Source;
use crate::memory::scratch;

/// The elements `start..end` of one result that begins at `base`, as one block: where they lie, or in `buffer`.
///
/// # Safety
/// The source has the elements `start..end` of the axes from `base` on. What is given is valid while the source is and the
/// buffer is not used again.
#[inline]
pub(super) unsafe fn gather<T: crate::kernels::element::Element>(
    source: &Source<T>,
    axes: &[Axis],
    base: isize,
    (start, end): (usize, usize),
    buffer: &mut Buffer,
) -> *const T {
    let n = end - start;
    if let [axis] = axes {
        let offset = base + start as isize * axis.step;
        if source.is_direct() && axis.step == 1 {
            return source.at(offset);
        }
        // SAFETY: the caller's; the buffer has room.
        return unsafe { source.block(offset, axis.step, buffer.room(n), n) };
    }
    let first = buffer.room(n);
    let mut to = first;
    space::runs(axes, start, end, |offset, step, count| {
        // SAFETY: as above; the stretches are `n` elements together.
        unsafe {
            source.fill(base + offset, step, to, count);
            to = to.add(count);
        }
    });
    first
}

/// Reduces rows of elements side by side that are all as far apart, if these are what there is; says whether. Elements that have
/// to be converted are so for as many rows as fill a block.
///
/// # Safety
/// As [`super::reduce`]; the rows are no longer than a block.
unsafe fn even<R: Reduction>(
    source: &Source<R::In>,
    space: &Space,
    out: &Apart<R::Out>,
    centre: Option<&Apart<R::Out>>,
) -> bool {
    let ([kept], [reduced]) = (&space.kept[..], &space.reduced[..]) else { return false };
    let n = reduced.size;
    let is_dense = kept.step == n as isize;
    if reduced.step != 1 || !(source.is_direct() || is_dense) {
        return false;
    }
    let kernel = rows_kernel::<R>(tier());
    parallel::for_each_range(kept.size, (GRAIN / n).max(1), |start, end| {
        // SAFETY: the caller's; ranges of rows are disjoint.
        unsafe {
            let run = |data: *const R::In, first: usize, count: usize| {
                let to = first as isize * kept.out;
                let centre = centre.map_or(std::ptr::null(), |c| c.get().cast_const().offset(to));
                let out = out.get().offset(to);
                kernel(Rows { data, apart: kept.step, n, out, step: kept.out, centre }, count);
            };
            let at = |row: usize| row as isize * kept.step;
            if source.is_direct() {
                return run(source.at(at(start)), start, end - start);
            }
            let mut buffer = Buffer::default();
            let several = BLOCK / n;
            for first in (start..end).step_by(several) {
                let count = several.min(end - first);
                let room = buffer.room(several * n);
                source.fill(at(first), 1, room, count * n);
                run(room, first, count);
            }
        }
    });
    true
}

/// Reduces each result's elements in blocks; the blocks of long ones are shared between threads.
///
/// # Safety
/// As [`super::reduce`].
pub(super) unsafe fn reduce<R: Reduction>(
    source: Source<R::In>,
    space: &Space,
    out: Apart<R::Out>,
    centre: Option<Apart<R::Out>>,
) {
    let kernel = rows_kernel::<R>(tier());
    let (length, results) = (space.length(), space.results());
    let blocks = length.div_ceil(BLOCK);
    let block = |result: usize, b: usize, buffer: &mut Buffer| {
        let (base, to) = space::offset(&space.kept, result);
        let range = (b * BLOCK, length.min((b + 1) * BLOCK));
        // SAFETY: the caller's; the block's elements are readable.
        unsafe {
            let middle = centre.map_or(R::IDENTITY, |c| *c.get().offset(to));
            let data = gather(&source, &space.reduced, base, range, buffer);
            (to, one_row(kernel, data, range.1 - range.0, middle))
        }
    };
    if blocks == 1 {
        // SAFETY: the caller's.
        if unsafe { even::<R>(&source, space, &out, centre.as_ref()) } {
            return;
        }
        return parallel::for_each_range(results, (GRAIN / length).max(1), |start, end| {
            let mut buffer = Buffer::default();
            for result in start..end {
                let (to, value) = block(result, 0, &mut buffer);
                // SAFETY: ranges of results are disjoint.
                unsafe { *out.get().offset(to) = value };
            }
        });
    }
    let mut parts = scratch(R::IDENTITY, blocks * results);
    let target = Apart(parts.as_mut_ptr());
    parallel::for_each_range(blocks * results, GRAIN / BLOCK, |start, end| {
        let mut buffer = Buffer::default();
        for piece in start..end {
            // SAFETY: ranges of pieces are disjoint.
            unsafe { *target.get().add(piece) = block(piece / blocks, piece % blocks, &mut buffer).1 };
        }
    });
    for (result, parts) in parts.chunks_exact_mut(blocks).enumerate() {
        let value = fold(parts, R::combine).unwrap_or(R::IDENTITY);
        // SAFETY: the caller's.
        unsafe { *out.get().offset(space::offset(&space.kept, result).1) = value };
    }
}
