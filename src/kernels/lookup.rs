//! Elements of a table, found by indices, beside the elements of a list.

use std::array::from_fn;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use smallvec::SmallVec;

use super::dispatch::{tier, tiered};
use super::element::{Element, is_nan};
use super::gather::Walk;
use super::parallel::{self, Apart};

/// Elements that a piece of work has.
const GRAIN: usize = 1 << 15;
/// Elements of a line of the cache, or more.
const LINE: usize = 16;

/// Where the elements of a table and of a list meet: every index stands beside one element of the list and finds one of
/// the table.
pub struct Lookup {
    /// Index, list and table, the last as if every index were 0.
    walk: Walk,
    /// How far apart in the table neighbouring indices are.
    step: isize,
    /// Indices lie below this.
    size: i64,
    /// What indices below zero count from the end by, or 0.
    back: i64,
}

const INDEX: usize = 0;
const LIST: usize = 1;
const TABLE: usize = 2;

/// How a value of the list joins the one that is in the table.
pub trait Join {
    /// The value that stays in the table.
    fn join<T: Element>(old: T, new: T) -> T;
}

/// The new value stays.
pub struct Put;
/// The sum.
pub struct Add;
/// The product.
pub struct Multiply;
/// The lesser value; NaN is less than everything.
pub struct Least;
/// The greater value; NaN is greater than everything.
pub struct Greatest;

impl Join for Put {
    #[inline(always)]
    fn join<T: Element>(_old: T, new: T) -> T {
        new
    }
}

impl Join for Add {
    #[inline(always)]
    fn join<T: Element>(old: T, new: T) -> T {
        computed(old, new, |a, b| a + b, |a, b| a + b, i64::wrapping_add)
    }
}

impl Join for Multiply {
    #[inline(always)]
    fn join<T: Element>(old: T, new: T) -> T {
        computed(old, new, |a, b| a * b, |a, b| a * b, i64::wrapping_mul)
    }
}

impl Join for Least {
    #[inline(always)]
    fn join<T: Element>(old: T, new: T) -> T {
        if new < old || is_nan(new) { new } else { old }
    }
}

impl Join for Greatest {
    #[inline(always)]
    fn join<T: Element>(old: T, new: T) -> T {
        if new > old || is_nan(new) { new } else { old }
    }
}

/// Arithmetic on two elements: floats of up to 32 bits in float32, others in float64, integers in int64.
#[inline(always)]
fn computed<T: Element>(
    a: T,
    b: T,
    single: impl Fn(f32, f32) -> f32,
    double: impl Fn(f64, f64) -> f64,
    whole: impl Fn(i64, i64) -> i64,
) -> T {
    if !T::DTYPE.is_floating_point() {
        T::from_i64(whole(a.to_i64(), b.to_i64()))
    } else if size_of::<T>() <= 4 {
        T::from_f64(single(a.to_f64() as f32, b.to_f64() as f32) as f64)
    } else {
        T::from_f64(double(a.to_f64(), b.to_f64()))
    }
}

tiered! { fn within_kernel<>(index: &[i64], size: i64, back: i64) -> bool = within; }
tiered! { fn taken_kernel<T: Copy>(index: &[i64], table: *const T, size: i64, list: &mut [T], back: i64) -> bool = taken::<T>; }
tiered! { fn run_kernel<T: Copy>(lookup: &Lookup, index: *const i64, table: *const T, list: *mut T, n: usize) -> bool = Lookup::take_run::<T>; }

/// An index counted from the start, where those below zero count `back`.
#[inline(always)]
fn wrapped(index: i64, back: i64) -> i64 {
    if index < 0 { index + back } else { index }
}

/// True where all indices lie below the size; those below zero count `back`.
///
/// # Safety
/// None of its own: it is called through a pointer to the code for an instruction set, which the processor must have.
#[inline(always)]
unsafe fn within(index: &[i64], size: i64, back: i64) -> bool {
    let is_bad = |&index: &i64| wrapped(index, back) as u64 >= size as u64;
    !index.iter().fold(false, |any, i| any | is_bad(i))
}

/// Fills a list from a table, whose first element stands for those out of range; indices below zero count `back`. False where some
/// are out of range.
///
/// # Safety
/// The table has a first element, and one for each index below the size.
#[inline(always)]
unsafe fn taken<T: Copy>(index: &[i64], table: *const T, size: i64, list: &mut [T], back: i64) -> bool {
    let mut good = true;
    for (to, &index) in list.iter_mut().zip(index) {
        let at = wrapped(index, back);
        let is_good = (at as u64) < size as u64;
        good &= is_good;
        // SAFETY: the caller vouches for the table.
        *to = unsafe { *table.add(if is_good { at as usize } else { 0 }) };
    }
    good
}

/// Part of a lookup: a stretch of one of its dimensions, and of the indices.
#[derive(Clone, Copy)]
struct Part {
    dim: usize,
    start: usize,
    end: usize,
    low: i64,
    high: i64,
}

impl Lookup {
    /// The lookup of a shape, with the strides of index, list and table, the distance in the table of neighbouring indices,
    /// and how many there are.
    pub fn new(shape: &[usize], strides: [&[isize]; 3], step: isize, size: usize, wraps: bool) -> Lookup {
        let size = size as i64;
        Lookup { walk: Walk::new(shape, &strides), step, size, back: if wraps { size } else { 0 } }
    }

    fn numel(&self) -> usize {
        self.walk.shape.iter().product()
    }

    /// An index counted from the start; one out of range is no number below the size.
    #[inline(always)]
    fn wrapped(&self, index: i64) -> i64 {
        wrapped(index, self.back)
    }

    /// The first index out of range.
    ///
    /// # Safety
    /// As [`Lookup::take`].
    unsafe fn first_bad(&self, index: *const i64) -> Option<i64> {
        // Dimensions along which the same indices come again are walked once.
        let seen = |(&size, &stride): (&usize, &isize)| if stride == 0 { size.min(1) } else { size };
        let strides = &self.walk.strides[INDEX];
        let shape: SmallVec<[usize; 4]> = self.walk.shape.iter().zip(strides).map(seen).collect();
        let walk = Walk::new(&shape, &[strides]);
        let (total, step) = (walk.shape.iter().product(), walk.inner_stride(INDEX));
        let is_good = |found: i64| (self.wrapped(found) as u64) < self.size as u64;
        let are_within = within_kernel(tier());
        let indices = Apart(index.cast_mut());
        let failed = AtomicBool::new(false);
        parallel::for_each_range(total, GRAIN, |start, end| {
            walk.each([INDEX], start, end, |[at], n| {
                let index = indices.get().wrapping_offset(at).cast_const();
                // SAFETY: the caller vouches for the walk.
                let has_bad = unsafe {
                    match step {
                        1 => !are_within(std::slice::from_raw_parts(index, n), self.size, self.back),
                        _ => (0..n as isize).fold(false, |bad, i| bad | !is_good(*index.offset(i * step))),
                    }
                };
                if has_bad {
                    failed.store(true, Relaxed);
                }
            });
        });
        let mut bad = None;
        walk.each([INDEX], 0, if failed.into_inner() { total } else { 0 }, |[at], n| {
            // SAFETY: as above.
            let found = (0..n as isize).map(|i| unsafe { *index.offset(at + i * step) }).find(|&i| !is_good(i));
            bad = bad.or(found);
        });
        bad
    }

    /// Fills the list from the table. Gives the first index that is out of range, if any is; its element of the list is
    /// anything then.
    ///
    /// # Safety
    /// Index and list lie under the walk, and the table under it for all indices below the size.
    pub unsafe fn take<T: Copy>(&self, index: *const i64, table: *const T, list: *mut T) -> Option<i64> {
        let failed = AtomicBool::new(false);
        let (indices, table, list) = (Apart(index.cast_mut()), Apart(table.cast_mut()), Apart(list));
        let take_run = run_kernel::<T>(tier());
        parallel::for_each_range(self.numel(), GRAIN, |start, end| {
            self.walk.each([INDEX, LIST, TABLE], start, end, |[i, l, t], n| {
                // SAFETY: the caller vouches for the walk; ranges of the list are disjoint.
                let good =
                    unsafe { take_run(self, indices.get().offset(i), table.get().offset(t), list.get().offset(l), n) };
                if !good {
                    failed.store(true, Relaxed);
                }
            });
        });
        // SAFETY: as above.
        if failed.into_inner() { unsafe { self.first_bad(index) } } else { None }
    }

    /// # Safety
    /// As [`Lookup::take`], for a run of the innermost dimension.
    #[inline(always)]
    unsafe fn take_run<T: Copy>(&self, index: *const i64, table: *const T, list: *mut T, n: usize) -> bool {
        let [i_step, l_step, t_step] = [INDEX, LIST, TABLE].map(|o| self.walk.inner_stride(o));
        // SAFETY: the caller vouches for the run.
        unsafe {
            if i_step == 0 {
                let at = self.wrapped(*index);
                if !(0..self.size).contains(&at) {
                    return false;
                }
                let from = table.offset(at as isize * self.step);
                if l_step == 1 && t_step == 1 {
                    std::ptr::copy_nonoverlapping(from, list, n);
                } else {
                    (0..n as isize).for_each(|j| *list.offset(j * l_step) = *from.offset(j * t_step));
                }
                return true;
            }
            // Steps that are known make a faster loop.
            match (i_step, l_step, t_step, self.step) {
                (1, 1, 0, 1) if self.size > 0 => {
                    let (index, list) = (std::slice::from_raw_parts(index, n), std::slice::from_raw_parts_mut(list, n));
                    // By a call, behind which the compiler knows that what is written is nothing that is read.
                    taken_kernel::<T>(tier())(index, table, self.size, list, self.back)
                }
                (1, 1, 1, _) => self.take_each(index, table, list, n, [1, 1, 1]),
                _ => self.take_each(index, table, list, n, [i_step, l_step, t_step]),
            }
        }
    }

    /// # Safety
    /// As [`Lookup::take_run`], with the steps of index, list and table.
    #[inline(always)]
    unsafe fn take_each<T: Copy>(
        &self,
        index: *const i64,
        table: *const T,
        list: *mut T,
        n: usize,
        [i_step, l_step, t_step]: [isize; 3],
    ) -> bool {
        let (size, back, step) = (self.size, self.back, self.step);
        let mut good = true;
        for j in 0..n as isize {
            // SAFETY: the caller vouches for the run.
            unsafe {
                let at = wrapped(*index.offset(j * i_step), back);
                if (at as u64) < size as u64 {
                    *list.offset(j * l_step) = *table.offset(j * t_step + at as isize * step);
                } else {
                    good = false;
                }
            }
        }
        good
    }

    /// Joins the elements of the list to those of the table, each of the table in the order of the list, whatever the
    /// number of threads. Gives the first index that is out of range, if any is; nothing is written then.
    ///
    /// # Safety
    /// As [`Lookup::take`], and different elements of the table have different addresses.
    pub unsafe fn put<T: Element, J: Join>(&self, index: *const i64, list: *const T, table: *mut T) -> Option<i64> {
        // SAFETY: as the caller says.
        if let Some(bad) = unsafe { self.first_bad(index) } {
            return Some(bad);
        }
        let (indices, list, table) = (Apart(index.cast_mut()), Apart(list.cast_mut()), Apart(table));
        let parts = self.parts();
        parallel::for_each(parts.len(), |n| {
            // SAFETY: the caller vouches for the walk; parts reach different elements of the table.
            unsafe { self.put_part::<T, J>(&parts[n], indices.get(), list.get(), table.get()) };
        });
        None
    }

    /// Parts that meet in no element of the table: stretches of a dimension along which the table moves on, else of the
    /// indices of whole rows. Single elements found by indices alone are one part: threads that pass over those of others
    /// guess half of their branches wrong, which costs more than the elements.
    fn parts(&self) -> Vec<Part> {
        let whole = Part { dim: 0, start: 0, end: self.walk.shape[0], low: i64::MIN, high: i64::MAX };
        let wanted = parallel::num_threads().min(self.numel() / GRAIN);
        if wanted <= 1 {
            return vec![whole];
        }
        let inner = self.walk.shape.len() - 1;
        let has_rows = self.walk.strides[INDEX][inner] == 0;
        // Stretches of the innermost dimension must be long enough to be worth a run.
        let unit = |d: usize| if d < inner { 1 } else { LINE * if has_rows { 4 } else { 1 } };
        let pieces = |d: usize| match self.walk.strides[TABLE][d] {
            0 => 1,
            _ => (self.walk.shape[d] / unit(d)).min(wanted),
        };
        let dim = (0..=inner).rev().max_by_key(|&d| pieces(d)).unwrap_or(0);
        if has_rows && pieces(dim) < wanted {
            let bound = |n: usize| (self.size as i128 * n as i128 / wanted as i128) as i64;
            let is_long = self.walk.shape[inner] >= 2 * LINE;
            let part = |n| Part { low: bound(n), high: bound(n + 1), ..whole };
            return if is_long { (0..wanted).map(part).collect() } else { vec![whole] };
        }
        let (size, pieces, unit) = (self.walk.shape[dim], pieces(dim), unit(dim));
        let cut = |n: usize| if n == pieces { size } else { size / unit * n / pieces * unit };
        (0..pieces).map(|n| Part { dim, start: cut(n), end: cut(n + 1), ..whole }).collect()
    }

    /// The part's share of [`Lookup::put`]. The indices were all in range; one that another program's thread has changed
    /// since is passed over.
    ///
    /// # Safety
    /// As [`Lookup::put`].
    unsafe fn put_part<T: Element, J: Join>(&self, part: &Part, index: *const i64, list: *const T, table: *mut T) {
        let mut walk = self.walk.clone();
        walk.shape[part.dim] = part.end - part.start;
        let start = |o: usize| self.walk.strides[o][part.dim] * part.start as isize;
        let (index, list, table) = (
            index.wrapping_offset(start(INDEX)),
            list.wrapping_offset(start(LIST)),
            table.wrapping_offset(start(TABLE)),
        );
        let ((columns, column), (rows, row)) = (walk.pop(), walk.pop());
        let (low, high) = (part.low.max(0), part.high.min(self.size));
        let span = high.saturating_sub(low).max(0) as u64;
        let grid = Grid { rows, row, columns, column, step: self.step, low, span, back: self.back };
        let run = grid_kernel::<T, J>(tier());
        walk.each([INDEX, LIST, TABLE], 0, walk.shape.iter().product(), |at, n| {
            for k in 0..n as isize {
                let [i, l, t] = [INDEX, LIST, TABLE].map(|o| at[o] + k * walk.inner_stride(o));
                // SAFETY: the caller vouches for the walk, of which the part is one.
                unsafe { run(&grid, index.offset(i), list.offset(l), table.offset(t)) };
            }
        });
    }
}

/// The two innermost dimensions of a part of a lookup.
#[derive(Clone, Copy)]
struct Grid {
    /// Sizes, and steps of index, list and table.
    rows: usize,
    row: [isize; 3],
    columns: usize,
    column: [isize; 3],
    /// How far apart in the table neighbouring indices are.
    step: isize,
    /// The part's first index, and how many it has.
    low: i64,
    span: u64,
    /// What indices below zero count from the end by, or 0.
    back: i64,
}

impl Grid {
    /// Where an index of the part is in the table.
    #[inline(always)]
    fn find(&self, index: i64) -> Option<isize> {
        let at = wrapped(index, self.back);
        let is_own = (at.wrapping_sub(self.low) as u64) < self.span;
        is_own.then(|| (at as isize).wrapping_mul(self.step))
    }
}

tiered! { fn grid_kernel<T: Element, J: Join>(grid: &Grid, index: *const i64, list: *const T, table: *mut T) = put_grid::<T, J>; }

/// Joins the elements of a list that lie on a grid to those of a table.
///
/// # Safety
/// Index and list lie on the grid, and the table under it for all indices of the part.
#[inline(always)]
unsafe fn put_grid<T: Element, J: Join>(grid: &Grid, index: *const i64, list: *const T, table: *mut T) {
    // A copy of its own stays in registers, whatever is written to the table.
    let grid = *grid;
    let [i_step, l_step, t_step] = grid.column;
    for row in 0..grid.rows as isize {
        // SAFETY: the caller vouches for the grid.
        unsafe {
            let at = |o: usize| row * grid.row[o];
            let (index, list, table) = (index.offset(at(INDEX)), list.offset(at(LIST)), table.offset(at(TABLE)));
            // Steps that are known make a faster loop.
            match (i_step, l_step, t_step, grid.step) {
                (0, 1, 1, _) => put_row::<T, J>(&grid, index, list, 1, table),
                (0, 0, 1, _) => put_row::<T, J>(&grid, index, list, 0, table),
                (1, 1, 0, 1) => put_each::<T, J>(&Grid { step: 1, ..grid }, index, list, table, [1, 1, 0]),
                (1, 1, 1, _) => put_each::<T, J>(&grid, index, list, table, [1, 1, 1]),
                _ => put_each::<T, J>(&grid, index, list, table, grid.column),
            }
        }
    }
}

/// A row of a grid whose elements each have an index, with the steps of index, list and table.
///
/// # Safety
/// As [`put_grid`].
#[inline(always)]
unsafe fn put_each<T: Element, J: Join>(
    grid: &Grid,
    index: *const i64,
    list: *const T,
    table: *mut T,
    [i_step, l_step, t_step]: [isize; 3],
) {
    for j in 0..grid.columns as isize {
        // SAFETY: the caller vouches for the row.
        unsafe {
            if let Some(at) = grid.find(*index.offset(j * i_step)) {
                let to = table.offset(j * t_step + at);
                *to = J::join(*to, *list.offset(j * l_step));
            }
        }
    }
}

/// Elements that are joined together: written so, the compiler need not know that list and table are apart.
const TOGETHER: usize = 8;

/// A row of a grid with one index, whose elements lie side by side in the table, and in the list or are one there.
///
/// # Safety
/// As [`put_grid`].
#[inline(always)]
unsafe fn put_row<T: Element, J: Join>(grid: &Grid, index: *const i64, list: *const T, l_step: usize, table: *mut T) {
    // SAFETY: the caller vouches for the row.
    unsafe {
        let Some(at) = grid.find(*index) else { return };
        let table = table.offset(at);
        let whole = grid.columns - grid.columns % TOGETHER;
        for j in (0..whole).step_by(TOGETHER) {
            let new = match l_step {
                0 => [*list; TOGETHER],
                _ => list.add(j).cast::<[T; TOGETHER]>().read(),
            };
            let to = table.add(j).cast::<[T; TOGETHER]>();
            let old = to.read();
            to.write(from_fn(|k| J::join(old[k], new[k])));
        }
        for j in whole..grid.columns {
            let to = table.add(j);
            *to = J::join(*to, *list.add(j * l_step));
        }
    }
}

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
    fn rows_are_taken_and_added() {
        let table = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0];
        let index = [2i64, 0, 2];
        let rows = Lookup::new(&[3, 2], [&[1, 0], &[2, 1], &[0, 1]], 2, 3, false);
        let mut list = [0.0f32; 6];
        // SAFETY: three rows of two elements each.
        assert_eq!(unsafe { rows.take(index.as_ptr(), table.as_ptr(), list.as_mut_ptr()) }, None);
        assert_eq!(list, [5.0, 6.0, 1.0, 2.0, 5.0, 6.0]);
        let mut sums = [0.0f32; 6];
        // SAFETY: as above.
        assert_eq!(unsafe { rows.put::<f32, Add>(index.as_ptr(), list.as_ptr(), sums.as_mut_ptr()) }, None);
        assert_eq!(sums, [1.0, 2.0, 0.0, 0.0, 10.0, 12.0]);
    }

    #[test]
    fn an_index_out_of_range_is_given_back() {
        let lookup = Lookup::new(&[3], [&[1], &[1], &[0]], 1, 2, true);
        let (index, table, mut list) = ([-1i64, -3, 5], [7u8, 8], [0u8; 3]);
        // SAFETY: two elements, three indices.
        assert_eq!(unsafe { lookup.take(index.as_ptr(), table.as_ptr(), list.as_mut_ptr()) }, Some(-3));
        assert_eq!(list[0], 8);
    }

    #[test]
    fn elements_are_counted_row_by_row() {
        let mut offsets = [0; 3];
        assert_eq!(element_offsets(&[2, 3], &[1, 2], true, &[0, 2, -2], &mut offsets), None);
        assert_eq!(offsets, [0, 4, 3]);
        assert_eq!(element_offsets(&[2, 3], &[1, 2], true, &[0, 6, -7], &mut offsets), Some(6));
    }

    #[test]
    fn nan_stays() {
        assert!(Least::join(f32::NAN, 1.0).is_nan() && Greatest::join(1.0f64, f64::NAN).is_nan());
        assert_eq!(Multiply::join(3u8, 100), 44);
    }
}
