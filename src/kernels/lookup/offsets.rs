//! Where in a table the elements are that indices of several dimensions name, or counts in row-major order.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::{GRAIN, wrapped};
use crate::kernels::gather::Walk;
use crate::kernels::parallel;

/// Adds to offsets in a table what the indices of one of its dimensions of `size` elements make of them, `step` apart;
/// negative indices count from the end. `index` has the strides given under the shape, the offsets are row-major. Gives the
/// first index out of range.
///
/// # Safety
/// Both lie under the shape.
pub unsafe fn add_offsets(
    shape: &[usize],
    strides: &[isize],
    index: *const i64,
    (size, step): (usize, isize),
    offsets: *mut i64,
) -> Option<i64> {
    let row_major = crate::tensor::layout::contiguous_strides(shape);
    let walk = Walk::new(shape, &[strides, &row_major]);
    let size = size as i64;
    let mut bad = None;
    walk.each([0, 1], 0, walk.shape.iter().product(), |[from, to], n| {
        let (from_step, to_step) = (walk.inner_stride(0), walk.inner_stride(1));
        for j in 0..n as isize {
            // SAFETY: the caller vouches for the walk.
            let (found, offset) =
                unsafe { (*index.offset(from + j * from_step), &mut *offsets.offset(to + j * to_step)) };
            let at = if found < 0 { found + size } else { found };
            if (0..size).contains(&at) {
                *offset += at * step as i64;
            } else {
                bad = bad.or(Some(found));
            }
        }
    });
    bad
}

/// Writes the offsets in a table of elements that are counted in row-major order; negative counts are from the end where that
/// `wraps`. Gives the first that is out of range.
///
/// # Panics
/// Where the slices are not of one length.
pub fn element_offsets(
    shape: &[usize],
    strides: &[isize],
    wraps: bool,
    index: &[i64],
    offsets: &mut [i64],
) -> Option<i64> {
    assert!(index.len() == offsets.len());
    let walk = Walk::new(shape, &[strides]);
    let total = walk.shape.iter().product::<usize>() as i64;
    let back = if wraps { total } else { 0 };
    let is_short = u32::try_from(total).is_ok();
    let failed = AtomicBool::new(false);
    parallel::for_each_slice(offsets, GRAIN / 4, |start, to| {
        for (&i, to) in index[start..].iter().zip(to) {
            let at = wrapped(i, back);
            if !(0..total).contains(&at) {
                failed.store(true, Relaxed);
                continue;
            }
            let (mut offset, mut rest) = (0, at);
            // The outermost dimension holds what is left.
            for (&size, &stride) in walk.shape.iter().zip(&walk.strides[0]).skip(1).rev() {
                // Divisions of 32 bits take half the time.
                let next = if is_short { i64::from(rest as u32 / size as u32) } else { rest / size as i64 };
                offset += (rest - next * size as i64) as isize * stride;
                rest = next;
            }
            offset += rest as isize * walk.strides[0][0];
            *to = offset as i64;
        }
    });
    if failed.into_inner() { index.iter().copied().find(|&i| !(0..total).contains(&wrapped(i, back))) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_counted_row_by_row() {
        let mut offsets = [0; 3];
        assert_eq!(element_offsets(&[2, 3], &[1, 2], true, &[0, 2, -2], &mut offsets), None);
        assert_eq!(offsets, [0, 4, 3]);
        assert_eq!(element_offsets(&[2, 3], &[1, 2], true, &[0, 6, -7], &mut offsets), Some(6));
    }
}
