//! Numbers at even steps.

use super::dispatch::{tier, tiered};
use super::element::Element;
use super::parallel;

/// Numbers from which threads share the work.
const GRAIN: usize = 1 << 15;

/// A type that multiplies and adds in one.
pub trait Fused: Element {
    /// `self * factor + term`, rounded once.
    fn fused(self, factor: Self, term: Self) -> Self;
}

macro_rules! fused {
    ($($t:ty)*) => {$(
        impl Fused for $t {
            #[inline(always)]
            fn fused(self, factor: $t, term: $t) -> $t {
                self.mul_add(factor, term)
            }
        }
    )*};
}
fused! { f32 f64 }

#[inline(always)]
fn between<T: Fused>(out: &mut [T], start: usize, count: usize, (first, last, step): (T, T, T)) {
    let back = T::from_f64(-step.to_f64());
    let half = if count == 1 { 1 } else { count / 2 };
    let (up, down) = out.split_at_mut(half.saturating_sub(start).min(out.len()));
    let first_down = start + up.len();
    for (i, slot) in up.iter_mut().enumerate() {
        *slot = step.fused(T::from_i64((start + i) as i64), first);
    }
    for (i, slot) in down.iter_mut().enumerate() {
        *slot = back.fused(T::from_i64((count - 1 - first_down - i) as i64), last);
    }
}

#[inline(always)]
fn from_floats<T: Element>(out: &mut [T], at: usize, start: f64, step: f64) {
    for (i, slot) in out.iter_mut().enumerate() {
        *slot = T::from_f64(start + step * (at + i) as f64);
    }
}

#[inline(always)]
fn from_whole<T: Element>(out: &mut [T], at: usize, start: i64, step: i64) {
    for (i, slot) in out.iter_mut().enumerate() {
        *slot = T::from_i64(start.wrapping_add(step.wrapping_mul((at + i) as i64)));
    }
}

tiered! { fn between_of<T: Fused>(out: &mut [T], start: usize, count: usize, ends: (T, T, T)) = between::<T>; }
tiered! { fn floats_of<T: Element>(out: &mut [T], at: usize, start: f64, step: f64) = from_floats::<T>; }
tiered! { fn whole_of<T: Element>(out: &mut [T], at: usize, start: i64, step: i64) = from_whole::<T>; }

/// Fills a slice with numbers `step` apart from `first` to `last`: each from the end that is nearer, so that both are exact.
pub fn linspace<T: Fused>(out: &mut [T], first: T, last: T, step: T) {
    let (count, run) = (out.len(), between_of::<T>(tier()));
    // SAFETY: the tier is one that the machine has.
    parallel::for_each_slice(out, GRAIN, |start, part| unsafe { run(part, start, count, (first, last, step)) });
}

/// Fills a slice with `start + step i`, computed in float64.
pub fn floats<T: Element>(out: &mut [T], start: f64, step: f64) {
    let run = floats_of::<T>(tier());
    // SAFETY: as above.
    parallel::for_each_slice(out, GRAIN, |at, part| unsafe { run(part, at, start, step) });
}

/// Fills a slice with `start + step i`, computed in int64, wrapping.
pub fn whole<T: Element>(out: &mut [T], start: i64, step: i64) {
    let run = whole_of::<T>(tier());
    // SAFETY: as above.
    parallel::for_each_slice(out, GRAIN, |at, part| unsafe { run(part, at, start, step) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_exact_and_pieces_meet() {
        for count in [1, 2, 3, 7, 100_001] {
            let mut x = vec![0.0f32; count];
            let step = 0.7 / (count.max(2) - 1) as f32;
            linspace(&mut x, 0.1, 0.8, step);
            assert_eq!((x[0], x[count - 1]), (0.1, if count == 1 { 0.1 } else { 0.8 }));
            assert!(x.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }

    #[test]
    fn ranges_count() {
        let (mut x, mut y) = (vec![0.0f64; 70_000], vec![0u8; 300]);
        floats(&mut x, 1.0, 0.5);
        assert!(x.iter().enumerate().all(|(i, &v)| v == 1.0 + 0.5 * i as f64));
        whole(&mut y, 3, 1);
        assert!(y.iter().enumerate().all(|(i, &v)| v == (3 + i) as u8));
    }
}
