//! Runs of items that are alike: where each begins, and which one an item belongs to.

use super::dispatch::{tier, tiered};
use super::element::Element;
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
        Runs::counted(total, |piece| {
            let items = (piece * GRAIN).max(1)..total.min((piece + 1) * GRAIN);
            items.map(|n| usize::from(is_new(n))).sum()
        })
    }

    /// The runs of equal elements.
    pub fn of<T: Element>(x: &[T]) -> Runs {
        let changes = changes_kernel::<T>(tier());
        // SAFETY: the machine has the tier.
        Runs::counted(x.len(), |piece| unsafe { changes(with_last(x, piece)) })
    }

    /// The runs of which so many begin in each piece, behind the first item of all.
    fn counted(total: usize, count: impl Fn(usize) -> usize + Sync) -> Runs {
        let pieces = total.div_ceil(GRAIN);
        let mut before = scratch(0, pieces + 1);
        let counts = Apart(before.as_mut_ptr());
        parallel::for_each(pieces, |piece| {
            // SAFETY: each piece has a place of its own.
            unsafe { *counts.get().add(piece + 1) = usize::from(piece == 0) + count(piece) };
        });
        (0..pieces).for_each(|piece| before[piece + 1] += before[piece]);
        Runs { total, before }
    }

    /// Writes the first element of each of the runs that [`Runs::of`] found.
    ///
    /// # Panics
    /// Where `y` has not as many elements as there are runs.
    pub fn firsts<T: Element>(&self, x: &[T], y: &mut [T]) {
        assert!(x.len() == self.total && y.len() == self.count());
        let target = Apart(y.as_mut_ptr());
        parallel::for_each(self.before.len() - 1, |piece| {
            // SAFETY: pieces have runs of their own.
            let to = unsafe { target.part(self.before[piece], self.before[piece + 1] - self.before[piece]) };
            let mut next = 0;
            if piece == 0 {
                to[0] = x[0];
                next = 1;
            }
            let x = with_last(x, piece);
            for (last, &value) in x.iter().zip(&x[1..]) {
                // Behind the last run, or what another program's thread has changed since.
                let Some(to) = to.get_mut(next) else { break };
                // What is no first is written over: no branch has to be guessed.
                *to = value;
                next += usize::from(*last != value);
            }
        });
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

/// The elements of a piece behind the one before it, or the first of all.
fn with_last<T>(x: &[T], piece: usize) -> &[T] {
    let start = (piece * GRAIN).max(1);
    &x[start - 1..x.len().min((piece + 1) * GRAIN)]
}

tiered! { fn changes_kernel<T: Element>(x: &[T]) -> usize = changes::<T>; }

/// How many elements are others than the one before.
#[inline(always)]
fn changes<T: Element>(x: &[T]) -> usize {
    x.iter().zip(&x[1..]).map(|(last, value)| usize::from(last != value)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    #[test]
    fn runs_are_counted_over_pieces() {
        let items: Vec<i64> = (0..100_000).map(|i| i / 7).collect();
        let is_new = |n: usize| items[n] != items[n - 1];
        let runs = Runs::new(items.len(), is_new);
        assert_eq!(runs.count(), 100_000usize.div_ceil(7));
        let begun = AtomicUsize::new(0);
        runs.each(is_new, |n, run, begins| {
            assert!(run as i64 == items[n] && begins == (n % 7 == 0));
            begun.fetch_add(usize::from(begins), Relaxed);
        });
        assert_eq!(begun.into_inner(), runs.count());
        let (equal, mut firsts) = (Runs::of(&items), vec![0; runs.count()]);
        equal.firsts(&items, &mut firsts);
        assert!(equal.count() == runs.count() && firsts.iter().enumerate().all(|(n, &first)| n as i64 == first));
        assert_eq!(Runs::new(0, is_new).count(), 0);
    }
}
