//! Exact comparisons: factors are small integers, so that every order of every sum gives the same float.

use super::*;
use crate::kernels::dispatch::{Tier, tier};

/// A product on buffers of its own: how big, and where the elements are.
#[derive(Clone, Copy, Debug)]
struct Case {
    m: usize,
    k: usize,
    n: usize,
    a: Layout,
    b: Layout,
    c: Layout,
}

/// How a matrix lies in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    Rows,
    Columns,
    /// Rows with gaps between them and between their elements.
    Gaps,
    /// Both directions backwards.
    Backwards,
    /// One row for all.
    SameRow,
    /// One column for all.
    SameColumn,
    /// One element for all.
    Same,
}
use Layout::*;

const READABLE: [Layout; 7] = [Rows, Columns, Gaps, Backwards, SameRow, SameColumn, Same];
const WRITABLE: [Layout; 4] = [Rows, Columns, Gaps, Backwards];

impl Layout {
    /// The strides of a matrix, where its first element is, and how many elements its memory has.
    fn of(self, rows: usize, cols: usize) -> (isize, isize, usize, usize) {
        let (r, c) = (rows as isize, cols as isize);
        let size = rows * cols;
        match self {
            Rows => (c, 1, 0, size),
            Columns => (1, r, 0, size),
            Gaps => (3 * c + 5, 3, 2, rows * (3 * cols + 5) + 2),
            Backwards => (-c, -1, size.max(1) - 1, size),
            SameRow => (0, 1, 0, cols),
            SameColumn => (1, 0, 0, rows),
            Same => (0, 0, 0, 1),
        }
    }
}

/// Element types, and how a test makes and reads them.
trait Number: Product + PartialEq + std::fmt::Debug {
    fn number(value: i64) -> Self;
    fn bits(self) -> u64;
    fn times_plus(self, factor: Self, term: Self) -> Self;
}
macro_rules! number {
    ($($t:ty: $bits:expr, $times:expr;)*) => {$(
        impl Number for $t {
            fn number(value: i64) -> Self { value as $t }
            fn bits(self) -> u64 { $bits(self) }
            fn times_plus(self, factor: Self, term: Self) -> Self { $times(self, factor).plus(term) }
        }
    )*};
}
number! {
    f32: |x: f32| x.to_bits() as u64, |x, y| x * y;
    f64: f64::to_bits, |x, y| x * y;
    i64: |x| x as u64, i64::wrapping_mul;
    i32: |x| x as u64, i32::wrapping_mul;
    u8: |x| x as u64, u8::wrapping_mul;
}

/// Repeatable numbers below `below`.
fn noise(seed: u64, below: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % below
    }
}

fn integers<T: Number>(seed: u64, count: usize) -> Vec<T> {
    let mut next = noise(seed, 7);
    (0..count).map(|_| T::number(next() as i64 - 3)).collect()
}

fn reals(seed: u64, count: usize) -> Vec<f32> {
    let mut next = noise(seed, 1 << 24);
    (0..count).map(|_| next() as f32 / (1 << 23) as f32 - 1.0).collect()
}

fn view<T>(data: &[T], layout: Layout, rows: usize, cols: usize) -> View<T> {
    let (row_stride, col_stride, first, _) = layout.of(rows, cols);
    View { ptr: data.as_ptr().wrapping_add(first), rows, cols, row_stride, col_stride }
}

fn view_mut<T>(data: &mut [T], layout: Layout, rows: usize, cols: usize) -> ViewMut<T> {
    let (row_stride, col_stride, first, _) = layout.of(rows, cols);
    ViewMut { ptr: data.as_mut_ptr().wrapping_add(first), rows, cols, row_stride, col_stride }
}

fn value<T: Copy>(matrix: View<T>, i: usize, j: usize) -> T {
    // SAFETY: the tests ask for elements of live matrices only.
    unsafe { *matrix.at(i, j) }
}

/// The memory of `c` after the product, on `threads` threads.
fn multiplied<T: Number>(case: Case, a: &[T], b: &[T], c: &[T], accumulate: bool, threads: usize) -> Vec<T> {
    let Case { m, k, n, .. } = case;
    let mut c = c.to_vec();
    let (a, b, out) = (view(a, case.a, m, k), view(b, case.b, k, n), view_mut(&mut c, case.c, m, n));
    // SAFETY: the views are those of the buffers.
    unsafe { product(a, b, out, accumulate, threads) };
    c
}

fn buffers<T>(case: Case, mut make: impl FnMut(u64, usize) -> Vec<T>) -> (Vec<T>, Vec<T>, Vec<T>) {
    let Case { m, k, n, .. } = case;
    (make(1, case.a.of(m, k).3), make(2, case.b.of(k, n).3), make(3, case.c.of(m, n).3))
}

/// Compares with the definition, element by element, and looks at the memory between the elements too.
fn check<T: Number>(case: Case) {
    let Case { m, k, n, .. } = case;
    let (a, b, c) = buffers(case, integers::<T>);
    for accumulate in [false, true] {
        let mut wanted = c.clone();
        let (a_view, b_view, out) =
            (view(&a, case.a, m, k), view(&b, case.b, k, n), view_mut(&mut wanted, case.c, m, n));
        for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
            let start = if accumulate { value(view(&c, case.c, m, n), i, j) } else { T::ZERO };
            let sum = (0..k).fold(start, |sum, p| value(a_view, i, p).times_plus(value(b_view, p, j), sum));
            // SAFETY: an element of `wanted`.
            unsafe { *out.at(i, j) = sum };
        }
        let got = multiplied(case, &a, &b, &c, accumulate, 1);
        assert!(got == wanted, "{case:?}, accumulate: {accumulate}, {}", std::any::type_name::<T>());
    }
}

const SIZES: [usize; 9] = [0, 1, 2, 3, 7, 16, 17, 33, 70];

#[test]
fn all_small_shapes() {
    for m in SIZES {
        for k in SIZES {
            for n in SIZES {
                for (a, b) in [(Rows, Rows), (Rows, Columns), (Columns, Rows), (Columns, Columns)] {
                    check::<f32>(Case { m, k, n, a, b, c: Rows });
                }
            }
        }
    }
}

#[test]
fn all_layouts() {
    for (m, k, n) in
        [(5, 9, 6), (1, 40, 21), (21, 40, 1), (1, 50, 1), (8, 600, 20), (40, 33, 50), (30, 1, 300), (70, 2, 9)]
    {
        for a in READABLE {
            for b in READABLE {
                for c in WRITABLE {
                    check::<f32>(Case { m, k, n, a, b, c });
                    check::<f64>(Case { m, k, n, a, b, c });
                }
            }
        }
    }
}

#[test]
fn integers_wrap() {
    for (m, k, n) in [(5, 9, 6), (1, 40, 21), (1, 100, 1), (60, 600, 70), (3, 70, 200)] {
        for (a, b) in [(Rows, Rows), (Rows, Columns), (Columns, Gaps)] {
            check::<i64>(Case { m, k, n, a, b, c: Rows });
            check::<i32>(Case { m, k, n, a, b, c: Columns });
            check::<u8>(Case { m, k, n, a, b, c: Gaps });
        }
    }
    let case = Case { m: 1, k: 2, n: 1, a: Rows, b: Rows, c: Rows };
    assert_eq!(multiplied(case, &[200_u8, 100], &[2, 1], &[0], false, 1), [244]);
    assert_eq!(multiplied(case, &[i64::MAX, 1], &[2, 1], &[0], false, 1), [-1]);
}

#[test]
fn large_products() {
    for (m, k, n) in [(60, 1100, 70), (140, 100, 330), (20, 70, 700), (700, 70, 20), (2, 20_000, 3), (1, 9000, 300)] {
        for (a, b) in [(Rows, Rows), (Rows, Columns), (Columns, Columns)] {
            check::<f32>(Case { m, k, n, a, b, c: Rows });
        }
    }
}

/// Sizes on both sides of every border between kernels. (Products of tests are cut among threads however small.)
const CUT: [(usize, usize, usize); 18] = [
    (70, 600, 130),
    (57, 29, 201),
    (100, 100, 100),
    (24, 24, 24),
    (64, 4, 500),
    (500, 64, 10),
    (9, 100, 700),
    (24, 513, 90),
    (16, 300, 64),
    (3, 9000, 9),
    (1, 1000, 150),
    (150, 1000, 1),
    (1, 40_000, 1),
    (1, 20_000, 5),
    (5, 20_000, 1),
    (70, 1, 300),
    (300, 2, 70),
    (2, 20_000, 2),
];

#[test]
fn same_bits_on_any_number_of_threads() {
    for (m, k, n) in CUT {
        for (a, b) in [(Rows, Rows), (Rows, Columns), (Columns, Rows), (Columns, Columns), (Gaps, Gaps)] {
            for (c, accumulate) in [(Rows, false), (Gaps, true)] {
                let case = Case { m, k, n, a, b, c };
                let (a, b, c) = buffers(case, reals);
                let alone = multiplied(case, &a, &b, &c, accumulate, 1);
                for threads in [2, 3, 4, 8] {
                    let together = multiplied(case, &a, &b, &c, accumulate, threads);
                    assert!(same(&alone, &together), "{case:?} on {threads} threads");
                }
            }
        }
    }
}

fn same<T: Number>(a: &[T], b: &[T]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.bits() == b.bits())
}

/// Every kernel of ours, on all that this machine has.
#[test]
fn same_bits_on_any_vectors() {
    let tiers: &[Tier] = match tier() {
        Tier::Avx512 => &[Tier::Avx512, Tier::Avx2, Tier::Baseline],
        Tier::Avx2 => &[Tier::Avx2, Tier::Baseline],
        Tier::Baseline => &[Tier::Baseline],
    };
    let (m, k, n) = (5, 123, 48);
    let (a, b) = (reals(1, m * k), reals(2, k * n));
    let (a, rows, columns) = (view(&a, Rows, m, k), view(&b, Rows, k, n), view(&b, Columns, k, n));
    let run = |tier: Tier| {
        let mut sums = vec![0.0_f32; 3 * m * n];
        let c = view_mut(&mut sums, Rows, m, n);
        // SAFETY: the machine has the tier, and each kernel has a third of `sums`.
        unsafe {
            tile::kernel::<f32>(tier)(a, rows, c, false);
            axpy::kernel::<f32>(tier)(a, rows, c.moved((m * n) as isize));
            dot::kernel::<f32>(tier)(a, columns, c.moved((2 * m * n) as isize));
        }
        sums
    };
    let first = run(tiers[0]);
    assert!(tiers.iter().all(|&tier| same(&first, &run(tier))));
    assert!(same(&first[..m * n], &first[m * n..2 * m * n]), "tiles and rows are the same chains");
}

/// What the choice between the two by size, and the cut among threads, rest on.
#[test]
fn library_and_tiles_agree_to_the_bit() {
    if !library::agrees_with_tiles() {
        return;
    }
    for (m, k, n) in [(2, 3, 2), (5, 512, 3), (64, 100, 64), (100, 511, 70), (33, 17, 200), (150, 130, 170)] {
        for (a, b) in [(Rows, Rows), (Columns, Rows), (Rows, Columns), (Gaps, Gaps)] {
            for accumulate in [false, true] {
                let case = Case { m, k, n, a, b, c: Rows };
                let (a, b, c) = buffers(case, reals);
                let (mut left, mut right) = (c.clone(), c);
                let (a, b) = (view(&a, case.a, m, k), view(&b, case.b, k, n));
                // SAFETY: the views are those of the buffers.
                unsafe {
                    library::f32(a, b, view_mut(&mut left, Rows, m, n), accumulate);
                    tile::product(a, b, view_mut(&mut right, Rows, m, n), accumulate);
                }
                assert!(same(&left, &right), "{case:?}");
            }
        }
    }
}

#[test]
fn errors_stay_small() {
    for (m, k, n) in [(40, 2000, 50), (1, 2000, 50), (4, 30_000, 4), (1, 300_000, 1)] {
        for b in [Rows, Columns] {
            let case = Case { m, k, n, a: Rows, b, c: Rows };
            let (a, b, c) = buffers(case, reals);
            let got = multiplied(case, &a, &b, &c, false, 1);
            let (a, b) = (view(&a, case.a, m, k), view(&b, case.b, k, n));
            for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                let terms = (0..k).map(|p| value(a, i, p) as f64 * value(b, p, j) as f64);
                let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()));
                // A chain of 512 roundings, then a few hundred more, would at worst be off by all of them together.
                let bound = (DEPTH + k / DEPTH) as f64 * f32::EPSILON as f64 / 2.0 * size;
                assert!((got[i * n + j] as f64 - sum).abs() <= bound, "{case:?} at {i}, {j}");
            }
        }
    }
}

#[test]
fn not_a_number_and_infinity_go_through() {
    for (m, k, n) in [(4, 5, 6), (1, 40, 40), (40, 40, 1), (1, 40, 1), (40, 40, 40), (30, 2, 300)] {
        for b in [Rows, Columns] {
            let case = Case { m, k, n, a: Rows, b, c: Rows };
            let (mut a, b, mut c) = buffers(case, integers::<f32>);
            c.fill(f32::NAN);
            let at = (m - 1) * k + k / 2;
            for (special, times_zero) in [(f32::INFINITY, true), (f32::NAN, true), (1.0, false)] {
                a[at] = special;
                let b: Vec<f32> = if times_zero { vec![0.0; b.len()] } else { b.clone() };
                let got = multiplied(case, &a, &b, &c, false, 1);
                let (clean, last) = got.split_at((m - 1) * n);
                assert!(clean.iter().all(|x| !x.is_nan()), "{case:?}: nothing of the old values or of other rows");
                assert!(last.iter().all(|x| x.is_nan() == times_zero), "{case:?} with {special}");
            }
        }
    }
}

#[test]
fn batches_are_products_one_by_one() {
    let sizes = [(3, 5, 4, 7), (64, 64, 64, 9), (1, 200, 300, 5), (200, 100, 300, 2), (4, 4, 0, 3), (0, 3, 3, 3)];
    for (m, n, k, count) in sizes {
        let (a, b) = (reals(1, count * m * k), reals(2, k * n));
        let a = Matrix { data: a.as_ptr(), row_stride: k as isize, column_stride: 1 };
        let b = Matrix { data: b.as_ptr(), row_stride: 1, column_stride: k as isize };
        let offsets = |step: usize| (0..count).map(|i| (i * step) as isize).collect::<Vec<_>>();
        let (a_offsets, b_offsets, c_offsets) = (offsets(m * k), vec![0; count], offsets(m * n));
        let mut results = vec![f32::NAN; 3 * count * m * n];
        let (single, others) = results.split_at_mut(count * m * n);
        let (batch, all) = others.split_at_mut(count * m * n);
        let rows = |data: *mut f32| MatrixMut { data, row_stride: n as isize, column_stride: 1 };
        // SAFETY: the matrices and offsets are those of the buffers.
        unsafe {
            for i in 0..count {
                let (a, c) = (a.data.offset(a_offsets[i]), single.as_mut_ptr().offset(c_offsets[i]));
                matmul((m, n, k), Matrix { data: a, row_stride: k as isize, column_stride: 1 }, b, rows(c), false, 1);
            }
            let c = (rows(batch.as_mut_ptr()), &c_offsets[..]);
            matmul_batched((m, n, k), (a, &a_offsets), (b, &b_offsets), c, false, 4);
            batched((m, n, k), a, &a_offsets, b, &b_offsets, all.as_mut_ptr());
        }
        assert!(same(single, batch) && same(single, all), "{count} times {m} x {k} x {n}");
        assert!(all.iter().all(|x| x.is_finite()));
    }
}

#[test]
fn grids_cover_everything_once() {
    for (rows, cols) in [(1, 1), (9, 700), (700, 9), (65, 129), (1000, 1000)] {
        for threads in 1..20 {
            let mut hits = vec![0; rows * cols];
            let cells = blocks::cells(rows, cols, threads);
            assert!(cells.len() <= threads);
            for (down, across) in cells {
                down.flat_map(|i| across.clone().map(move |j| (i, j))).for_each(|(i, j)| hits[i * cols + j] += 1);
            }
            assert!(hits.iter().all(|&h| h == 1), "{rows} x {cols} on {threads}");
        }
    }
}
