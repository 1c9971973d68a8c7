//! Adding up what falls into one place.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use super::dispatch::{tier, tiered};
use super::parallel::{self, Apart};
use crate::error::Result;
use crate::memory::filled;

/// Elements of a part at the least: what is worth a thread.
const PART: usize = 1 << 15;
/// Parts at the most.
const PARTS: usize = 64;
/// Places that the first-level caches do not hold: to find them takes longer than to pass over elements.
const MANY: usize = 1 << 16;

/// For each of `places` the sum of the terms, as [`add`] has them.
///
/// # Errors
/// Where memory for the places cannot be had.
pub fn sums<A: Copy + Default + AddAssign + Send>(
    op: &'static str,
    n: usize,
    places: usize,
    term: impl Fn(usize) -> Option<(usize, A)> + Sync,
) -> Result<Vec<A>> {
    let mut all = filled(op, A::default(), places)?;
    add(op, n, &mut all, term)?;
    Ok(all)
}

/// Adds to each of the places the terms that `term` gives it for the elements below `n`, in parts that depend on both sizes
/// alone and are added in order.
///
/// # Errors
/// Where memory for more parts cannot be had.
pub fn add<A: Copy + Default + AddAssign + Send>(
    op: &'static str,
    n: usize,
    sums: &mut [A],
    term: impl Fn(usize) -> Option<(usize, A)> + Sync,
) -> Result<()> {
    let places = sums.len();
    // A part costs its places too.
    let parts = n.div_ceil(PART.max(places)).clamp(1, PARTS);
    if parts == 1 && places >= MANY && n >= PART {
        add_to_stretches(n, sums, term);
        return Ok(());
    }
    let length = n.div_ceil(parts);
    let mut others = filled(op, A::default(), (parts - 1).saturating_mul(places))?;
    let [first, rest] = [sums.as_mut_ptr(), others.as_mut_ptr()].map(Apart);
    parallel::for_each(parts, |part| {
        // SAFETY: each part has places of its own.
        let own = unsafe {
            match part {
                0 => first.part(0, places),
                _ => rest.part((part - 1) * places, places),
            }
        };
        for (place, value) in (part * length..n.min((part + 1) * length)).filter_map(&term) {
            own[place] += value;
        }
    });
    for part in others.chunks_exact(places.max(1)) {
        sums.iter_mut().zip(part).for_each(|(sum, &value)| *sum += value);
    }
    Ok(())
}

tiered! { fn ends_kernel<>(x: &[i64]) -> (i64, i64) = ends_of; }

#[inline(always)]
fn ends_of(x: &[i64]) -> (i64, i64) {
    x.iter().fold((i64::MAX, i64::MIN), |(least, greatest), &value| (least.min(value), greatest.max(value)))
}

/// The least and the greatest of integers, if there are any.
pub fn ends(x: &[i64]) -> Option<(i64, i64)> {
    let (least, greatest) = (AtomicI64::new(i64::MAX), AtomicI64::new(i64::MIN));
    let ends_of = ends_kernel(tier());
    parallel::for_each_range(x.len(), PART, |start, end| {
        // SAFETY: the machine has the tier.
        let (low, high) = unsafe { ends_of(&x[start..end]) };
        least.fetch_min(low, Relaxed);
        greatest.fetch_max(high, Relaxed);
    });
    (!x.is_empty()).then(|| (least.into_inner(), greatest.into_inner()))
}

/// As [`add`], where each thread has a stretch of the places and passes over all elements.
fn add_to_stretches<A: Copy + Default + AddAssign + Send>(
    n: usize,
    sums: &mut [A],
    term: impl Fn(usize) -> Option<(usize, A)> + Sync,
) {
    let stretch = sums.len().div_ceil(parallel::num_threads());
    parallel::for_each_slice(sums, stretch, |start, own| {
        let mut nowhere = A::default();
        for (place, value) in (0..n).filter_map(&term) {
            // Terms of others are added to what is thrown away, so that no branch has to be guessed.
            let at = place.wrapping_sub(start);
            let to = own.as_mut_ptr().wrapping_add(at);
            // SAFETY: a place of the stretch, or the one that is nowhere.
            unsafe { *std::hint::select_unpredictable(at < own.len(), to, &raw mut nowhere) += value };
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_term_is_added_once() {
        let place = |i: usize| (i % 5 != 4).then_some((i % 5, 1i64));
        assert_eq!(sums("bincount", 500_003, 5, place).unwrap(), [100_001, 100_001, 100_001, 100_000, 0]);
        assert_eq!(sums("bincount", 0, 3, |_| Some((0, 1.0))).unwrap(), [0.0; 3]);
        let (places, n) = (MANY + 3, PART + 1);
        let many = sums("bincount", n, places, |i| (i > 2).then_some((i * 7919 % places, i as f64))).unwrap();
        let mut expected = vec![0.0; places];
        (3..n).for_each(|i| expected[i * 7919 % places] += i as f64);
        assert!(many == expected);
        let x: Vec<i64> = (0..3 * PART as i64 + 5).map(|i| i * 7919 % 1009 - 11).collect();
        assert_eq!((ends(&x), ends(&x[..1]), ends(&[])), (Some((-11, 997)), Some((-11, -11)), None));
        assert!(sums("bincount", 0, 0, |_| Some((0, 1i64))).unwrap().is_empty());
    }
}
