//! One row of elements side by side in lanes, and many such rows one after another: a row waits for nothing that the one before
//! it does, so that its lanes fold while the next is read.

use std::mem::MaybeUninit;

use super::{LANES, ROWS, Reduction, halve};
use crate::kernels::dispatch::tiered;

/// Lanes of rows up to [`LONG`], and what more lanes fold into.
const FEW: usize = 8;
/// Rows from this length on have more lanes, so that no lane takes many elements one after another.
const LONG: usize = ROWS * LANES;
/// Rows whose lanes fold together.
const MANY: usize = 32;

/// Two arrays lane by lane.
#[inline(always)]
fn both<R: Reduction, const WIDTH: usize>(mut a: [R::Out; WIDTH], b: [R::Out; WIDTH]) -> [R::Out; WIDTH] {
    for l in 0..WIDTH {
        a[l] = R::combine(a[l], b[l]);
    }
    a
}

/// As many elements as there are lanes.
///
/// # Safety
/// `data` has `WIDTH` readable elements.
#[inline(always)]
unsafe fn read<R: Reduction, const WIDTH: usize>(data: *const R::In, centre: R::Out) -> [R::Out; WIDTH] {
    // SAFETY: the caller's.
    let row = unsafe { data.cast::<[R::In; WIDTH]>().read_unaligned() };
    let mut all = [R::IDENTITY; WIDTH];
    for l in 0..WIDTH {
        all[l] = R::map(row[l], centre);
    }
    all
}

/// Four times as many, pairwise.
///
/// # Safety
/// `data` has `4 * WIDTH` readable elements.
#[inline(always)]
unsafe fn four<R: Reduction, const WIDTH: usize>(data: *const R::In, centre: R::Out) -> [R::Out; WIDTH] {
    // SAFETY: the caller's.
    unsafe {
        let row = |r: usize| read::<R, WIDTH>(data.add(r * WIDTH), centre);
        both::<R, WIDTH>(both::<R, WIDTH>(row(0), row(1)), both::<R, WIDTH>(row(2), row(3)))
    }
}

/// Each lane takes every `WIDTH`-th element, [`ROWS`] of them pairwise and then one after another, as long as there is one for
/// every lane; gives where that ends.
///
/// # Safety
/// `data` has `n` readable elements.
#[inline(always)]
unsafe fn whole<R: Reduction, const WIDTH: usize>(
    data: *const R::In,
    (mut i, n): (usize, usize),
    centre: R::Out,
) -> ([R::Out; WIDTH], usize) {
    // From the identity on, as the sum of nothing but -0 is 0.
    let mut lanes = [R::IDENTITY; WIDTH];
    // SAFETY: the caller gives `n` elements.
    unsafe {
        while i + ROWS * WIDTH <= n {
            let (first, second) = (data.add(i), data.add(i + ROWS / 2 * WIDTH));
            let all = both::<R, WIDTH>(four::<R, WIDTH>(first, centre), four::<R, WIDTH>(second, centre));
            lanes = both::<R, WIDTH>(lanes, all);
            i += ROWS * WIDTH;
        }
        if i + ROWS / 2 * WIDTH <= n {
            lanes = both::<R, WIDTH>(lanes, four::<R, WIDTH>(data.add(i), centre));
            i += ROWS / 2 * WIDTH;
        }
        while i + WIDTH <= n {
            lanes = both::<R, WIDTH>(lanes, read::<R, WIDTH>(data.add(i), centre));
            i += WIDTH;
        }
    }
    (lanes, i)
}

/// From place `k` on, marks for the lanes of a row of which the last `k` are new.
static NEW: [u32; 2 * FEW] = {
    let mut marks = [0; 2 * FEW];
    let mut l = FEW;
    while l < 2 * FEW {
        marks[l] = 1;
        l += 1;
    }
    marks
};

/// The marks, of which the compiler must not know what they are: it would make single comparisons of them.
#[inline(always)]
fn marks() -> *const u32 {
    std::hint::black_box(NEW.as_ptr())
}

/// The elements `start..n` in [`FEW`] lanes.
///
/// # Safety
/// `data` has `n` readable elements, at least [`FEW`]; `marks` are [`marks`].
#[inline(always)]
unsafe fn few<R: Reduction>(
    data: *const R::In,
    (start, n): (usize, usize),
    centre: R::Out,
    marks: *const u32,
) -> [R::Out; FEW] {
    // SAFETY: the caller gives `n` elements.
    unsafe {
        let (mut lanes, i) = whole::<R, FEW>(data, (start, n), centre);
        if i < n {
            // The last elements of all lanes, of which the first were taken before.
            let mut last = read::<R, FEW>(data.add(n - FEW), centre);
            if !R::AGAIN {
                let is_new = marks.add(n - i).cast::<[u32; FEW]>().read_unaligned();
                for l in 0..FEW {
                    last[l] = if is_new[l] != 0 { last[l] } else { R::IDENTITY };
                }
            }
            lanes = both::<R, FEW>(lanes, last);
        }
        lanes
    }
}

/// The elements of a long row in `WIDTH` lanes, folded into [`FEW`], as long as there is one for every lane; gives where that
/// ends.
///
/// # Safety
/// `data` has `n` readable elements.
#[inline(always)]
unsafe fn many<R: Reduction, const WIDTH: usize>(
    data: *const R::In,
    n: usize,
    centre: R::Out,
) -> ([R::Out; FEW], usize) {
    // SAFETY: the caller's.
    let (mut lanes, i) = unsafe { whole::<R, WIDTH>(data, (0, n), centre) };
    halve!(lanes, WIDTH, R::combine; 32 16 8);
    let mut folded = [R::IDENTITY; FEW];
    folded.copy_from_slice(&lanes[..FEW]);
    (folded, i)
}

/// One row, reduced to [`FEW`] lanes.
///
/// # Safety
/// `data` has `n` readable elements, at least [`FEW`]; `marks` are [`marks`].
#[inline(always)]
unsafe fn row<R: Reduction>(data: *const R::In, n: usize, centre: R::Out, marks: *const u32) -> [R::Out; FEW] {
    // SAFETY: the caller's.
    unsafe {
        let (lanes, i) = if n < LONG {
            ([R::IDENTITY; FEW], 0)
        } else if size_of::<R::Out>() <= 4 {
            many::<R, { 2 * LANES }>(data, n, centre)
        } else {
            many::<R, LANES>(data, n, centre)
        };
        if i == n {
            return lanes;
        }
        let rest = few::<R>(data, (i, n), centre, marks);
        if i == 0 { rest } else { both::<R, FEW>(lanes, rest) }
    }
}

/// All lanes in one, by halves.
#[inline(always)]
fn folded<R: Reduction>(lanes: &[R::Out; FEW]) -> R::Out {
    let pair = |l: usize| R::combine(lanes[l], lanes[l + 4]);
    R::combine(R::combine(pair(0), pair(2)), R::combine(pair(1), pair(3)))
}

/// Less than [`FEW`] elements, one after another.
///
/// # Safety
/// `data` has `n` readable elements.
#[inline(always)]
unsafe fn single<R: Reduction>(data: *const R::In, n: usize, centre: R::Out) -> R::Out {
    let mut found = R::IDENTITY;
    for i in 0..n {
        // SAFETY: the caller's.
        found = R::combine(found, R::map(unsafe { *data.add(i) }, centre));
    }
    found
}

/// Rows of `n` elements that are all as far apart, their results and, where there are any, their centres, which are as far apart
/// as the results.
pub(super) struct Rows<R: Reduction> {
    pub data: *const R::In,
    pub apart: isize,
    pub n: usize,
    pub out: *mut R::Out,
    pub step: isize,
    /// Null, or the first.
    pub centre: *const R::Out,
}

impl<R: Reduction> Rows<R> {
    /// # Safety
    /// The row is there.
    #[inline(always)]
    unsafe fn centre(&self, row: usize) -> R::Out {
        // SAFETY: where there is one, there is one for each row.
        if self.centre.is_null() { R::IDENTITY } else { unsafe { *self.centre.offset(row as isize * self.step) } }
    }

    /// # Safety
    /// The row is there.
    #[inline(always)]
    unsafe fn row(&self, row: usize) -> *const R::In {
        // SAFETY: the caller's.
        unsafe { self.data.offset(row as isize * self.apart) }
    }

    /// # Safety
    /// The row is there.
    #[inline(always)]
    unsafe fn write(&self, row: usize, found: R::Out) {
        // SAFETY: the caller's.
        unsafe { *self.out.offset(row as isize * self.step) = found }
    }
}

/// Reduces so many rows.
///
/// # Safety
/// Each row has `n` readable elements and a result to write, and a centre where there are any.
#[inline(always)]
unsafe fn rows_body<R: Reduction>(rows: Rows<R>, count: usize) {
    let n = rows.n;
    // SAFETY: the caller's.
    unsafe {
        if n < FEW {
            (0..count).for_each(|r| rows.write(r, single::<R>(rows.row(r), n, rows.centre(r))));
            return;
        }
        // The compiler makes vectors of comparisons in loops only: the lanes of some rows fold together.
        let marks = marks();
        let mut tile = [const { MaybeUninit::<[R::Out; FEW]>::uninit() }; MANY];
        for first in (0..count).step_by(MANY) {
            let some = MANY.min(count - first);
            for (r, lanes) in tile[..some].iter_mut().enumerate() {
                lanes.write(row::<R>(rows.row(first + r), n, rows.centre(first + r), marks));
            }
            for (r, lanes) in tile[..some].iter().enumerate() {
                rows.write(first + r, folded::<R>(lanes.assume_init_ref()));
            }
        }
    }
}

tiered! { pub(super) fn rows_kernel<R: Reduction>(rows: Rows<R>, count: usize) = rows_body::<R>, avx512 if R::IS_FLOAT; }

/// One row alone, by [`rows_kernel`].
///
/// # Safety
/// `data` has `n` readable elements.
#[inline]
pub(super) unsafe fn one_row<R: Reduction>(
    kernel: unsafe fn(Rows<R>, usize),
    data: *const R::In,
    n: usize,
    centre: R::Out,
) -> R::Out {
    let mut found = R::IDENTITY;
    // SAFETY: the caller's; there is one result, and one centre.
    unsafe { kernel(Rows { data, apart: 0, n, out: &mut found, step: 0, centre: &centre }, 1) };
    found
}
