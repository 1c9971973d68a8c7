//! Adding up what falls into one place.

use std::ops::AddAssign;

use super::parallel::{self, Apart};
use crate::error::Result;
use crate::memory::filled;

/// Elements of a part at the least: what is worth a thread.
const PART: usize = 1 << 15;
/// Parts at the most.
const PARTS: usize = 64;

/// For each of `places` the sum of the terms that `term` gives for the elements below `n`, in parts that depend on both
/// sizes alone and are added in order.
///
/// # Errors
/// Where memory for the places cannot be had.
pub fn sums<A: Copy + Default + AddAssign + Send>(
    op: &'static str,
    n: usize,
    places: usize,
    term: impl Fn(usize) -> Option<(usize, A)> + Sync,
) -> Result<Vec<A>> {
    // A part costs its places too.
    let parts = n.div_ceil(PART.max(places)).clamp(1, PARTS);
    let length = n.div_ceil(parts);
    let mut all = filled(op, A::default(), parts.saturating_mul(places))?;
    let target = Apart(all.as_mut_ptr());
    parallel::for_each(parts, |part| {
        // SAFETY: each part has places of its own.
        let own = unsafe { target.part(part * places, places) };
        for (place, value) in (part * length..n.min((part + 1) * length)).filter_map(&term) {
            own[place] += value;
        }
    });
    let (first, others) = all.split_at_mut(places);
    for part in others.chunks_exact(places.max(1)) {
        first.iter_mut().zip(part).for_each(|(sum, &value)| *sum += value);
    }
    all.truncate(places);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_term_is_added_once() {
        let place = |i: usize| (i % 5 != 4).then_some((i % 5, 1i64));
        assert_eq!(sums("bincount", 500_003, 5, place).unwrap(), [100_001, 100_001, 100_001, 100_000, 0]);
        assert_eq!(sums("bincount", 0, 3, |_| Some((0, 1.0))).unwrap(), [0.0; 3]);
        assert!(sums("bincount", 0, 0, |_| Some((0, 1i64))).unwrap().is_empty());
    }
}
