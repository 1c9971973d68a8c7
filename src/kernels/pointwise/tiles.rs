//! Operands that lie across: read by tiles, whose rows then lie along.

use smallvec::SmallVec;

use crate::kernels::element::{Element, convert};
use crate::kernels::gather::Walk;
use crate::kernels::transpose::squares;

/// Elements that one line of the cache holds, of most types.
pub(super) const LINE: usize = 16;
/// Rows of a tile: some lines that follow each other, which memory gives faster than single ones.
pub(super) const TILE: usize = 4 * LINE;
/// Columns of a tile, which as a whole stays in the second-level cache.
pub(super) const COLUMNS: usize = 256;
/// Elements from one row of a tile to the next; a power of two would put all rows into the same places of the cache.
pub(super) const PITCH: usize = COLUMNS + LINE;

/// Reads `rows` elements side by side for each of `columns` far apart, and writes them as columns.
///
/// # Safety
/// The elements are readable, and there is room for a tile at `to`.
pub(super) unsafe fn turn<S: Element, T: Element>(
    data: *const u8,
    offset: isize,
    step: isize,
    to: *mut T,
    rows: usize,
    columns: usize,
) {
    let data = data.cast::<S>();
    // SAFETY: the caller's; elements of the same type need no conversion.
    unsafe {
        let first = data.offset(offset);
        let (down, across) =
            if S::DTYPE == T::DTYPE { squares((first.cast(), step), (to, PITCH), (rows, columns)) } else { (0, 0) };
        for column in 0..columns {
            let from = first.wrapping_offset(step * column as isize);
            let mut row = if column < across { down } else { 0 };
            while row + LINE <= rows {
                let line = from.add(row).cast::<[S; LINE]>().read_unaligned();
                (0..LINE).for_each(|r| *to.add((row + r) * PITCH + column) = convert(line[r]));
                row += LINE;
            }
            (row..rows).for_each(|row| *to.add(row * PITCH + column) = convert(*from.add(row)));
        }
    }
}

/// A shape cut into tiles of a block's columns and some rows, which are those of any other dimension.
pub(super) struct Tiles {
    /// Sizes and row-major steps of all dimensions but the innermost and that of the rows.
    others: SmallVec<[(usize, usize); 4]>,
    columns: usize,
    rows: usize,
    /// Elements from one row to the next, in row-major order.
    pub pitch: usize,
}

impl Tiles {
    pub fn new(walk: &Walk, across: usize) -> Tiles {
        let last = walk.shape.len() - 1;
        let step = |d: usize| walk.shape[d + 1..].iter().product::<usize>();
        let others = (0..last).filter(|&d| d != across).map(|d| (walk.shape[d], step(d))).collect();
        Tiles { others, columns: walk.shape[last], rows: walk.shape[across], pitch: step(across) }
    }

    pub fn count(&self) -> usize {
        let others: usize = self.others.iter().map(|o| o.0).product();
        others * self.columns.div_ceil(COLUMNS) * self.rows.div_ceil(TILE)
    }

    /// The first element of a tile, its rows and its columns. Tiles that follow each other share their columns.
    pub fn at(&self, number: usize) -> (usize, usize, usize) {
        let (down, rest) = (self.rows.div_ceil(TILE), self.columns.div_ceil(COLUMNS));
        let (row, column) = (number % down * TILE, number / down % rest * COLUMNS);
        let mut left = number / down / rest;
        let mut first = row * self.pitch + column;
        for &(size, step) in self.others.iter().rev() {
            first += left % size * step;
            left /= size;
        }
        (first, TILE.min(self.rows - row), COLUMNS.min(self.columns - column))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_a_shape_once() {
        let walk = Walk::new(&[3, 21, 5, 600], &[&[63000, 3000, 600, 1], &[1, 3, 100_000, 63]]);
        let tiles = Tiles::new(&walk, 1);
        let mut hits = vec![0; 3 * 21 * 5 * 600];
        for n in 0..tiles.count() {
            let (first, rows, columns) = tiles.at(n);
            for row in 0..rows {
                hits[first + row * tiles.pitch..][..columns].iter_mut().for_each(|h| *h += 1);
            }
        }
        assert!(hits.iter().all(|&h| h == 1));
    }
}
