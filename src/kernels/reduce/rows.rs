//! Reductions whose nearest elements go into one result.

use super::buffer::Buffer;
use super::short;
use super::space::{self, Axis, Space};
use super::{Apart, BLOCK, GRAIN, LANES, ROWS, Reduction, fold, halve};
use crate::kernels::dispatch::{tier, tiered};
use crate::kernels::parallel;
use crate::kernels::source::Source;
use crate::memory::scratch;

/// One block, in as many lanes as hide how long one addition takes.
///
/// # Safety
/// `data` has `n` readable elements.
#[inline(always)]
unsafe fn block_body<R: Reduction>(data: *const R::In, n: usize, centre: R::Out) -> R::Out {
    // SAFETY: the caller gives `n` readable elements.
    unsafe {
        if n < short::FULL {
            return short::rows_body::<R, 1>(data, 0, n, [centre])[0];
        }
        if size_of::<R::Out>() <= 4 && n >= 8 * LANES {
            lanes_body::<R, { 2 * LANES }>(data, n, centre)
        } else {
            lanes_body::<R, LANES>(data, n, centre)
        }
    }
}

/// Two arrays lane by lane.
#[inline(always)]
fn both<R: Reduction, const WIDTH: usize>(mut a: [R::Out; WIDTH], b: [R::Out; WIDTH]) -> [R::Out; WIDTH] {
    for l in 0..WIDTH {
        a[l] = R::combine(a[l], b[l]);
    }
    a
}

/// Two rows of `WIDTH` elements lane by lane.
///
/// # Safety
/// `rows` has two rows of `WIDTH` readable elements, one behind the other.
#[inline(always)]
unsafe fn pair<R: Reduction, const WIDTH: usize>(rows: *const R::In, centre: R::Out) -> [R::Out; WIDTH] {
    let mut all = [R::IDENTITY; WIDTH];
    for (l, lane) in all.iter_mut().enumerate() {
        // SAFETY: the caller gives two rows.
        *lane = unsafe { R::combine(R::map(*rows.add(l), centre), R::map(*rows.add(WIDTH + l), centre)) };
    }
    all
}

/// Each lane takes every `WIDTH`-th element, [`ROWS`] of them pairwise and then one after another; in the end the lanes fold
/// in halves.
///
/// # Safety
/// `data` has `n` readable elements.
#[inline(always)]
unsafe fn lanes_body<R: Reduction, const WIDTH: usize>(data: *const R::In, n: usize, centre: R::Out) -> R::Out {
    // SAFETY: as in `block_body`.
    unsafe {
        let mut lanes = [R::IDENTITY; WIDTH];
        let whole = n - n % WIDTH;
        let mut i = 0;
        while i + ROWS * WIDTH <= n {
            // Row after row, as memory is read ahead: the tree of [`super::pairwise`] for all lanes at once.
            let at = data.add(i);
            let first = both::<R, WIDTH>(pair::<R, WIDTH>(at, centre), pair::<R, WIDTH>(at.add(2 * WIDTH), centre));
            let second = both::<R, WIDTH>(
                pair::<R, WIDTH>(at.add(4 * WIDTH), centre),
                pair::<R, WIDTH>(at.add(6 * WIDTH), centre),
            );
            lanes = both::<R, WIDTH>(lanes, both::<R, WIDTH>(first, second));
            i += ROWS * WIDTH;
        }
        while i < whole {
            let row = data.add(i).cast::<[R::In; WIDTH]>().read_unaligned();
            for l in 0..WIDTH {
                lanes[l] = R::combine(lanes[l], R::map(row[l], centre));
            }
            i += WIDTH;
        }
        for (l, lane) in lanes.iter_mut().enumerate().take(n - whole) {
            *lane = R::combine(*lane, R::map(*data.add(whole + l), centre));
        }
        halve!(lanes, WIDTH, R::combine);
        lanes[0]
    }
}

tiered! { pub(super) fn block_kernel<R: Reduction>(data: *const R::In, n: usize, centre: R::Out) -> R::Out = block_body::<R>; }

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
    let kernel = block_kernel::<R>(tier());
    let (length, results) = (space.length(), space.results());
    let blocks = length.div_ceil(BLOCK);
    let block = |result: usize, b: usize, buffer: &mut Buffer| {
        let (base, to) = space::offset(&space.kept, result);
        let range = (b * BLOCK, length.min((b + 1) * BLOCK));
        // SAFETY: the caller's; the block's elements are readable.
        unsafe {
            let middle = centre.map_or(R::IDENTITY, |c| *c.get().offset(to));
            let data = gather(&source, &space.reduced, base, range, buffer);
            (to, kernel(data, range.1 - range.0, middle))
        }
    };
    if blocks == 1 {
        // SAFETY: the caller's.
        if unsafe { short::reduce::<R>(&source, space, &out, centre.as_ref()) } {
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
