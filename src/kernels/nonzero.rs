//! Where the elements are that are not zero.

use super::element::Element;
use super::parallel::{self, Apart};
use crate::memory::scratch;

/// Elements whose places are found together.
const BLOCK: usize = 512;
/// Blocks that a piece of work has.
const PIECE: usize = 64;

/// How many elements of each piece are not zero.
pub fn counts<T: Element>(x: &[T]) -> Vec<usize> {
    let piece = BLOCK * PIECE;
    let mut all = scratch(0, x.len().div_ceil(piece));
    let slots = Apart(all.as_mut_ptr());
    parallel::for_each(all.len(), |n| {
        let part = &x[n * piece..((n + 1) * piece).min(x.len())];
        // Counted in 32 bits, so that the vectors are wide.
        let count: u32 = part.iter().map(|v| u32::from(v.to_bool())).sum();
        // SAFETY: every piece has a slot of its own.
        unsafe { *slots.get().add(n) = count as usize };
    });
    all
}

/// Writes the indices of the elements that are not zero, in row-major order: those of dimension `d` from `total d` on.
/// `counts` are those of [`counts`], and `total` their sum.
///
/// # Safety
/// `x` has the elements of the shape, and `indices` room for `total` numbers for each dimension.
pub unsafe fn places<T: Element>(x: &[T], shape: &[usize], counts: &[usize], total: usize, indices: *mut i64) {
    let starts: Vec<usize> = counts.iter().scan(0, |sum, &n| Some(std::mem::replace(sum, *sum + n))).collect();
    let indices = Apart(indices);
    let piece = BLOCK * PIECE;
    parallel::for_each(counts.len(), |n| {
        let (mut at, mut found) = (starts[n], [0u32; BLOCK + 1]);
        for start in (n * piece..((n + 1) * piece).min(x.len())).step_by(BLOCK) {
            let mut count = 0;
            for (i, v) in x[start..(start + BLOCK).min(x.len())].iter().enumerate() {
                // Written in any case and kept where it counts: no branch to be guessed wrong.
                found[count] = i as u32;
                count += usize::from(v.to_bool());
            }
            for (i, &place) in found[..count].iter().enumerate() {
                let mut rest = start + place as usize;
                for d in (0..shape.len()).rev() {
                    let index = if d == 0 { rest } else { rest % shape[d] };
                    rest /= shape[d].max(1);
                    // SAFETY: the counts say how many places there are, and each piece writes its own.
                    unsafe { *indices.get().add(d * total + at + i) = index as i64 };
                }
            }
            at += count;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_row_major_order() {
        let x: Vec<i32> = (0..100_000).map(|i| i32::from(i % 7 == 3)).collect();
        let counts = counts(&x);
        let total = counts.iter().sum();
        let mut found = vec![0i64; 2 * total];
        // SAFETY: two dimensions, and room for as many indices of each.
        unsafe { places(&x, &[100, 1000], &counts, total, found.as_mut_ptr()) };
        let wanted: Vec<i64> = (0..100_000).filter(|i| i % 7 == 3).collect();
        assert!((0..total).all(|i| found[i] * 1000 + found[total + i] == wanted[i]));
    }
}
