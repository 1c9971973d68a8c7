//! Runs of items that are alike: where each begins, and which one an item belongs to.

use super::parallel::{self, Apart};
use crate::memory::scratch;

/// Items from which threads share the work.
const GRAIN: usize = 1 << 15;

/// The runs of a list of items.
pub struct Runs {
    total: usize,
    /// How many runs begin before each piece of the list, and in all.
    before: Vec<usize>,
}

impl Runs {
    /// The runs of `total` items, of which each but the first is like the one before, or not.
    pub fn new(total: usize, is_new: impl Fn(usize) -> bool + Sync) -> Runs {
        let pieces = total.div_ceil(GRAIN);
        let mut before = scratch(0, pieces + 1);
        let counts = Apart(before.as_mut_ptr());
        parallel::for_each(pieces, |piece| {
            let (start, end) = (piece * GRAIN, total.min((piece + 1) * GRAIN));
            let first = usize::from(start == 0);
            let count = first + (start + first..end).map(|n| usize::from(is_new(n))).sum::<usize>();
            // SAFETY: each piece has a place of its own.
            unsafe { *counts.get().add(piece + 1) = count };
        });
        (0..pieces).for_each(|piece| before[piece + 1] += before[piece]);
        Runs { total, before }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.before[self.before.len() - 1]
    }

    /// Calls `visit(item, run, begins)` for each item; the pieces of the list on several threads.
    pub fn each(&self, is_new: impl Fn(usize) -> bool + Sync, visit: impl Fn(usize, usize, bool) + Sync) {
        parallel::for_each(self.before.len() - 1, |piece| {
            let mut next = self.before[piece];
            for n in piece * GRAIN..self.total.min((piece + 1) * GRAIN) {
                let begins = n == 0 || is_new(n);
                next += usize::from(begins);
                visit(n, next - 1, begins);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    #[test]
    fn runs_are_counted_over_pieces() {
        let items: Vec<usize> = (0..100_000).map(|i| i / 7).collect();
        let is_new = |n: usize| items[n] != items[n - 1];
        let runs = Runs::new(items.len(), is_new);
        assert_eq!(runs.count(), 100_000usize.div_ceil(7));
        let begun = AtomicUsize::new(0);
        runs.each(is_new, |n, run, begins| {
            assert!(run == items[n] && begins == (n % 7 == 0));
            begun.fetch_add(usize::from(begins), Relaxed);
        });
        assert_eq!(begun.into_inner(), runs.count());
        assert_eq!(Runs::new(0, is_new).count(), 0);
    }
}
