//! Places drawn with given weights.

use super::generator::Stream;
use crate::kernels::element::Element;

/// Draws places of `weights`, each as often as its weight says, into `out`; `sums` is room for as many numbers as there
/// are weights. The sums are rounded as the elements are.
///
/// False where the weights sum to zero.
pub fn weighted<T: Element>(stream: &mut Stream, weights: &[T], sums: &mut [T], out: &mut [i64]) -> bool {
    let mut sum = T::default();
    for (slot, &weight) in sums.iter_mut().zip(weights) {
        sum = T::from_f64(sum.to_f64() + weight.to_f64());
        *slot = sum;
    }
    if sum.to_f64() <= 0.0 {
        return false;
    }
    sums.iter_mut().for_each(|x| *x = T::from_f64(x.to_f64() / sum.to_f64()));
    if let Some(last) = sums.last_mut() {
        *last = T::from_f64(1.0);
    }
    for place in out {
        let at = stream.unit();
        *place = sums.partition_point(|x| x.to_f64() < at) as i64;
    }
    true
}

/// The numbers below `out.len()` in a random order.
pub fn shuffled<T: Element>(stream: &mut Stream, out: &mut [T]) {
    /// From so many on one word of 32 bits would not be even enough.
    const MANY: usize = u32::MAX as usize / 20;
    /// Words that are drawn at once.
    const WORDS: usize = 1024;
    out.iter_mut().enumerate().for_each(|(n, slot)| *slot = T::from_i64(n as i64));
    let count = out.len();
    let swaps = count.saturating_sub(1);
    if count >= MANY {
        for n in 0..swaps {
            out.swap(n, n + (stream.word::<u64>() % (count - n) as u64) as usize);
        }
        return;
    }
    let mut words = [0; WORDS];
    for start in (0..swaps).step_by(WORDS) {
        let words = &mut words[..WORDS.min(swaps - start)];
        stream.words(words);
        // Divisions of 32 bits take half the time.
        for (n, &word) in (start..).zip(&*words) {
            out.swap(n, n + (word % (count - n) as u32) as usize);
        }
    }
}
