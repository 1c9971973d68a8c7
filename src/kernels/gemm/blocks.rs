//! Ordinary products: a grid of blocks of `c`, each a product of its own on one thread.

use std::ops::Range;

use crate::kernels::parallel;

use super::pack::{pack, packed_len, with_room};
use super::{DEPTH, Product, View, ViewMut, for_each_part, library, pieces, tile, useful_threads, work};

/// The multiply-adds that keep a thread busy longer than it takes to wake it: some microseconds.
pub(super) const GRAIN: usize = if cfg!(test) { 1 << 10 } else { 200_000 };
/// The multiply-adds of a block that is worth cutting smaller for the sake of threads that are held up.
const LARGE: usize = if cfg!(test) { 1 << 12 } else { 1 << 22 };
/// The multiply-adds after which a block may be ended: some tenths of a second.
const LONG: usize = 1 << 30;
/// Blocks are multiples of these many rows and columns, the tiles of the library.
const ROWS: usize = 8;
const COLS: usize = 64;
/// The columns packed at once: with [`DEPTH`] rows they fill about a second-level cache.
const PACKED: usize = 512;

/// `c = a b` or `c += a b`; every element is the same sum whatever the block it is in.
///
/// # Safety
/// As [`super::matmul`].
pub(super) unsafe fn product<T: Product>(a: View<T>, b: View<T>, c: ViewMut<T>, accumulate: bool, threads: usize) {
    let threads = useful_threads(threads, GRAIN, c.rows, c.cols, a.cols);
    if threads == 1 || !library::agrees_with_tiles() {
        // SAFETY: the caller's.
        return unsafe { block(a, b, c, accumulate) };
    }
    let each = (work(c.rows, c.cols, a.cols) / threads / LARGE).clamp(1, 4);
    let cells = cells(c.rows, c.cols, each * threads);
    for_each_part(cells.len(), threads, |part| {
        for (rows, cols) in &cells[part] {
            let c = c.rows(rows.start, rows.len()).columns(cols.start, cols.len());
            // SAFETY: cells do not overlap.
            unsafe { block(a.rows(rows.start, rows.len()), b.columns(cols.start, cols.len()), c, accumulate) };
        }
    });
}

/// One thread's block.
///
/// # Safety
/// As [`product`], and nobody else writes to `c`.
unsafe fn block<T: Product>(a: View<T>, b: View<T>, c: ViewMut<T>, accumulate: bool) {
    for Range { start, end } in pieces(a.cols, DEPTH) {
        let (a, b) = (a.columns(start, end - start), b.rows(start, end - start));
        let accumulate = accumulate || start > 0;
        let is_straight = b.col_stride == 1;
        // SAFETY: the caller's.
        unsafe {
            if tile::suits(c.rows, c.cols, a.cols) {
                tile::product(a, b, c, accumulate);
                continue;
            }
            let most = if is_straight { (LONG / work(c.rows, 1, a.cols)).max(PACKED) } else { PACKED };
            for j in (0..c.cols).step_by(most) {
                parallel::glance();
                let width = most.min(c.cols - j);
                let (b, c) = (b.columns(j, width), c.columns(j, width));
                if is_straight {
                    T::block(a, b, c, accumulate);
                } else {
                    with_room(packed_len(b), |room| T::block(a, pack(b, room), c, accumulate));
                }
            }
        }
    }
}

/// Cuts `c` into at most `threads` blocks of rows and columns, such that the largest costs least: its multiply-adds, and
/// the packing of its sides, which costs as much as some two dozen of them for each element.
pub(super) fn cells(rows: usize, cols: usize, threads: usize) -> Vec<(Range<usize>, Range<usize>)> {
    let cut = |across: usize| {
        let height = rows.div_ceil(ROWS).div_ceil(threads / across) * ROWS;
        let width = cols.div_ceil(COLS).div_ceil(across) * COLS;
        (height.min(rows), width.min(cols))
    };
    let cost = |(height, width): &(usize, usize)| (height + 24) * (width + 24);
    let (height, width) = (1..=threads).map(cut).min_by_key(cost).unwrap_or((rows, cols));
    let down = (0..rows).step_by(height).map(|i| i..(i + height).min(rows));
    down.flat_map(|i| (0..cols).step_by(width).map(move |j| (i.clone(), j..(j + width).min(cols)))).collect()
}
