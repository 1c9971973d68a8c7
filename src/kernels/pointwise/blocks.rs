//! The blocks of a range, and where the inputs that are read in place have their elements.

use super::{Input, Plan};
use crate::kernels::instructions::Run;

impl<T: Run> Plan<'_, T> {
    /// Calls `run(slots, start, end, target)` for the blocks of a range, each of at most so many elements, with the addresses in
    /// `slots` where the inputs that are read in place have the first of them, and that of the first output.
    #[inline]
    pub(super) fn each_block(
        &self,
        slots: &mut [*mut T],
        (start, end): (usize, usize),
        longest: usize,
        mut run: impl FnMut(&mut [*mut T], usize, usize, *mut T),
    ) {
        let mut at = start;
        if !self.by_rows {
            while at < end {
                let stop = (at + longest).min(end);
                let target = self.find(slots, |_| at as isize);
                run(slots, at, stop, target);
                at = stop;
            }
            return;
        }
        let inner = self.walk.inner();
        let mut within = start % inner;
        while at < end {
            let n = (inner - within).min(longest).min(end - at);
            let target = self.find(slots, |operand| self.walk.offset(operand, at));
            run(slots, at, at + n, target);
            at += n;
            within = if within + n == inner { 0 } else { within + n };
            // Whole rows go from one to the next by a step, as long as their dimension lasts.
            if within == 0 && inner <= longest {
                at = self.each_row(slots, (at, end), &mut run);
            }
        }
    }

    /// [`Self::each_block`] for whole rows from the beginning of one on, until a dimension or the range ends; gives where.
    #[inline]
    fn each_row(
        &self,
        slots: &mut [*mut T],
        (start, end): (usize, usize),
        run: &mut impl FnMut(&mut [*mut T], usize, usize, *mut T),
    ) -> usize {
        let (inner, rank) = (self.walk.inner(), self.walk.shape.len());
        if rank < 2 || end - start < inner {
            return start;
        }
        let left = self.walk.shape[rank - 2] - start / inner % self.walk.shape[rank - 2];
        let rows = left.min((end - start) / inner);
        let step = |operand: usize| self.walk.strides[operand][rank - 2];
        let mut target = self.find(slots, |operand| self.walk.offset(operand, start));
        for row in 0..rows {
            run(slots, start + row * inner, start + (row + 1) * inner, target);
            if row + 1 < rows {
                for &input in &self.directs {
                    let slot = &mut slots[input as usize];
                    *slot = slot.wrapping_offset(step(self.operand[input as usize]));
                }
                target = target.wrapping_offset(step(0));
            }
        }
        start + rows * inner
    }

    /// Finds where the inputs that are read in place have an element, and gives that of the first output; `offset` tells its
    /// place in an operand.
    #[inline]
    pub(super) fn find(&self, slots: &mut [*mut T], offset: impl Fn(usize) -> isize) -> *mut T {
        for &input in &self.directs {
            if let Input::Array { data, .. } = self.inputs[input as usize] {
                let first = data.cast::<T>().wrapping_offset(offset(self.operand[input as usize]));
                slots[input as usize] = first.cast_mut();
            }
        }
        if self.is_direct { self.targets[0].data.cast::<T>().wrapping_offset(offset(0)) } else { std::ptr::null_mut() }
    }
}
