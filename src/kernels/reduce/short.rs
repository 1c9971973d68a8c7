//! Short rows side by side, some at a time: while one waits for its lanes to fold, others go on.

use std::ops::Range;

use super::rows::block_kernel;
use super::space::Space;
use super::{Apart, GRAIN, LANES, ROWS, Reduction, halve};
use crate::kernels::dispatch::{tier, tiered};
use crate::kernels::parallel;
use crate::kernels::source::Source;

/// Rows that are reduced together.
const MANY: usize = 4;
/// The lengths of rows that are reduced so: others are combined by several elements of each lane.
const LENGTHS: Range<usize> = 2..ROWS * LANES;
/// Rows from this length on have all [`LANES`]: to fold as many takes longer than shorter ones take to read.
pub(super) const FULL: usize = 128;
/// Lanes of shorter rows.
const FEW: usize = 8;

/// `COUNT` rows of less than [`FULL`] elements: in [`FEW`] lanes, and less than these one after another.
///
/// # Safety
/// Each row has `n` readable elements.
#[inline(always)]
pub(super) unsafe fn rows_body<R: Reduction, const COUNT: usize>(
    data: *const R::In,
    apart: isize,
    n: usize,
    centres: [R::Out; COUNT],
) -> [R::Out; COUNT] {
    let row = |m: usize| data.wrapping_offset(m as isize * apart);
    // From the identity on, as the sum of nothing but -0 is 0.
    let mut found = [R::IDENTITY; COUNT];
    if n < FEW {
        for i in 0..n {
            for (m, found) in found.iter_mut().enumerate() {
                // SAFETY: the caller gives `n` elements of each row.
                *found = R::combine(*found, R::map(unsafe { *row(m).add(i) }, centres[m]));
            }
        }
        return found;
    }
    let mut all = [[R::IDENTITY; FEW]; COUNT];
    let whole = n - n % FEW;
    for i in (0..whole).step_by(FEW) {
        for (m, lanes) in all.iter_mut().enumerate() {
            // SAFETY: as above.
            let read = unsafe { row(m).add(i).cast::<[R::In; FEW]>().read_unaligned() };
            for l in 0..FEW {
                lanes[l] = R::combine(lanes[l], R::map(read[l], centres[m]));
            }
        }
    }
    if whole < n {
        // The last elements of all lanes, of which the first were taken before.
        let is_new: [bool; FEW] = std::array::from_fn(|l| l >= FEW - (n - whole));
        for (m, lanes) in all.iter_mut().enumerate() {
            // SAFETY: as above; there are at least as many elements.
            let read = unsafe { row(m).add(n - FEW).cast::<[R::In; FEW]>().read_unaligned() };
            for l in 0..FEW {
                let last = R::map(read[l], centres[m]);
                lanes[l] = R::combine(lanes[l], if is_new[l] { last } else { R::IDENTITY });
            }
        }
    }
    for (found, mut lanes) in found.iter_mut().zip(all) {
        halve!(lanes, FEW, R::combine);
        *found = lanes[0];
    }
    found
}

/// As the kernel of one block, for rows that begin `apart` elements from each other.
///
/// # Safety
/// Each row has `n` readable elements.
#[inline(always)]
unsafe fn short_body<R: Reduction>(
    data: *const R::In,
    apart: isize,
    n: usize,
    centres: [R::Out; MANY],
) -> [R::Out; MANY] {
    if n < FULL {
        // SAFETY: the caller's.
        return unsafe { rows_body::<R, MANY>(data, apart, n, centres) };
    }
    let mut all = [[R::IDENTITY; LANES]; MANY];
    let whole = n - n % LANES;
    // SAFETY: the caller gives `n` elements of each row.
    unsafe {
        for i in (0..whole).step_by(LANES) {
            for (m, lanes) in all.iter_mut().enumerate() {
                let row = data.offset(m as isize * apart).add(i).cast::<[R::In; LANES]>().read_unaligned();
                for l in 0..LANES {
                    lanes[l] = R::combine(lanes[l], R::map(row[l], centres[m]));
                }
            }
        }
        for l in 0..n - whole {
            for (m, lanes) in all.iter_mut().enumerate() {
                lanes[l] = R::combine(lanes[l], R::map(*data.offset(m as isize * apart).add(whole + l), centres[m]));
            }
        }
    }
    let mut found = [R::IDENTITY; MANY];
    for (found, mut lanes) in found.iter_mut().zip(all) {
        halve!(lanes, LANES, R::combine);
        *found = lanes[0];
    }
    found
}

tiered! { fn short_kernel<R: Reduction>(data: *const R::In, apart: isize, n: usize, centres: [R::Out; MANY]) -> [R::Out; MANY] = short_body::<R>; }

/// Reduces rows of elements side by side that are all as far apart, if these are what there is; says whether.
///
/// # Safety
/// As [`super::reduce`].
pub(super) unsafe fn reduce<R: Reduction>(
    source: &Source<R::In>,
    space: &Space,
    out: &Apart<R::Out>,
    centre: Option<&Apart<R::Out>>,
) -> bool {
    let ([kept], [reduced]) = (&space.kept[..], &space.reduced[..]) else { return false };
    let n = reduced.size;
    if !source.is_direct() || reduced.step != 1 || !LENGTHS.contains(&n) || kept.size < MANY {
        return false;
    }
    let (several, one) = (short_kernel::<R>(tier()), block_kernel::<R>(tier()));
    parallel::for_each_range(kept.size, (GRAIN / n).max(MANY), |start, end| {
        let whole = end - (end - start) % MANY;
        let data = |row: usize| source.at(row as isize * kept.step);
        let to = |row: usize| row as isize * kept.out;
        // SAFETY: the caller's; ranges of rows are disjoint.
        unsafe {
            let middle = |row: usize| centre.map_or(R::IDENTITY, |c| *c.get().offset(to(row)));
            for row in (start..whole).step_by(MANY) {
                let found = several(data(row), kept.step, n, std::array::from_fn(|m| middle(row + m)));
                found.into_iter().enumerate().for_each(|(m, found)| *out.get().offset(to(row + m)) = found);
            }
            for row in whole..end {
                *out.get().offset(to(row)) = one(data(row), n, middle(row));
            }
        }
    });
    true
}
