//! The blocks of a range, and where the inputs that are read in place have their elements.

use smallvec::SmallVec;

use super::{Input, Plan, Planned};
use crate::kernels::convert::rows_mover;
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
        let (inner, mut at) = (self.walk.inner(), start);
        let has_rows = self.by_rows && inner <= longest && self.walk.shape.len() > 1;
        while at < end {
            let within = if self.by_rows { at % inner } else { 0 };
            if has_rows && within == 0 && end - at >= inner {
                at = self.each_row(slots, (at, end), &mut run);
                continue;
            }
            let stop = (at + longest).min(end);
            let stop = if self.by_rows { stop.min(at - within + inner) } else { stop };
            let target = self.find(slots, at);
            run(slots, at, stop, target);
            at = stop;
        }
    }

    /// The elements of a row from `at` on, and how many such rows there are until their dimension or the range ends: one, where it is
    /// a part of a row.
    #[inline]
    fn rows(&self, at: usize, end: usize) -> (usize, usize) {
        let (inner, outer) = (self.walk.inner(), self.walk.shape.len().checked_sub(2));
        let n = (inner - at % inner).min(end - at);
        let left = outer.map_or(1, |d| self.walk.shape[d] - at / inner % self.walk.shape[d]);
        (n, if n == inner { left.min((end - at) / inner) } else { 1 })
    }

    /// The step of an operand from one row to the next.
    #[inline]
    fn down(&self, operand: usize) -> isize {
        self.walk.shape.len().checked_sub(2).map_or(0, |outer| self.walk.strides[operand][outer])
    }

    /// [`Self::each_block`] for whole rows from the beginning of one on, until their dimension or the range ends; gives where. They
    /// go from one to the next by a step.
    #[inline]
    fn each_row(
        &self,
        slots: &mut [*mut T],
        (start, end): (usize, usize),
        run: &mut impl FnMut(&mut [*mut T], usize, usize, *mut T),
    ) -> usize {
        let (inner, count) = self.rows(start, end);
        let stop = start + count * inner;
        let place = |&input: &u8| (usize::from(input), self.down(self.operand[usize::from(input)]));
        let (down, steps) = (self.down(0), self.directs.iter().map(place).collect::<SmallVec<[_; 6]>>());
        let mut target = self.find(slots, start);
        for at in (start..stop).step_by(inner) {
            run(slots, at, at + inner, target);
            for &(slot, step) in &steps {
                slots[slot] = slots[slot].wrapping_offset(step);
            }
            target = target.wrapping_offset(down);
        }
        stop
    }

    /// Runs a plan of one step from memory to memory on a range: nothing but the step's loop, from row to row.
    ///
    /// # Safety
    /// As [`super::run`]; `slots` are the plan's.
    pub(super) unsafe fn rows_of_step(&self, slots: &mut [*mut T], (start, end): (usize, usize)) {
        let [Planned::Apply { run, args, .. }] = self.steps[..] else { return };
        // What is no input lies in a register, where it stays.
        let steps = args.map(|slot| self.operand.get(usize::from(slot)).map_or(0, |&operand| self.down(operand)));
        let (down, mut at) = (self.down(0), start);
        while at < end {
            let (n, count) = self.rows(at, end);
            let mut target = self.find(slots, at);
            let mut places = args.map(|slot| slots[usize::from(slot)]);
            for _ in 0..count {
                let [a, b, c, d] = places;
                // SAFETY: the caller's; the row lies in the shape.
                unsafe { run(target, a, b, c, d, n) };
                target = target.wrapping_offset(down);
                places = std::array::from_fn(|i| places[i].wrapping_offset(steps[i]));
            }
            at += count * n;
        }
    }

    /// Gathers elements of an operand that lies in short rows: whole ones together, until their dimension ends.
    ///
    /// # Safety
    /// `to` has room for the elements `start..end` of the shape, which the operand has from `data` on.
    pub(super) unsafe fn load_short_rows(
        &self,
        operand: usize,
        data: *const T,
        mut to: *mut T,
        (start, end): (usize, usize),
    ) {
        let run = rows_mover(T::DTYPE.size());
        let (step, down) = (self.walk.inner_stride(operand), self.down(operand));
        let mut at = start;
        while at < end {
            let (n, count) = self.rows(at, end);
            // SAFETY: the caller's; the rows lie in the shape.
            unsafe {
                run(data.offset(self.walk.offset(operand, at)).cast(), step, to.cast(), [down, n as isize], count, n)
            };
            to = to.wrapping_add(count * n);
            at += count * n;
        }
    }

    /// Finds where the inputs that are read in place have element `at`, and gives that of the first output.
    #[inline]
    pub(super) fn find(&self, slots: &mut [*mut T], at: usize) -> *mut T {
        let offset = |operand| if self.by_rows { self.walk.offset(operand, at) } else { at as isize };
        for &input in &self.directs {
            if let Input::Array { data, .. } = self.inputs[input as usize] {
                let first = data.cast::<T>().wrapping_offset(offset(self.operand[input as usize]));
                slots[input as usize] = first.cast_mut();
            }
        }
        if self.is_direct { self.targets[0].data.cast::<T>().wrapping_offset(offset(0)) } else { std::ptr::null_mut() }
    }
}
