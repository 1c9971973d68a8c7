//! The state of a generator as bytes, in the order that torch keeps it in: seed, place, words, the spare normal number.

use super::generator::{Generator, N};
use crate::error::{Error, Result};

/// How many bytes a state has.
pub const STATE_BYTES: usize = 5056;

/// Offsets of the parts.
const SEED: usize = 0;
const LEFT: usize = 8;
const SEEDED: usize = 12;
const NEXT: usize = 16;
const WORDS: usize = 24;
const SPARE: usize = WORDS + 8 * N + 8;
const HAS_SPARE: usize = SPARE + 16;

impl Generator {
    /// All that later numbers depend on.
    pub fn state(&self) -> Vec<u8> {
        let mut bytes = vec![0; STATE_BYTES];
        let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
        put(SEED, &self.seed.to_le_bytes());
        // Words that are left, the one before the next mixing counted.
        put(LEFT, &((N - self.next + 1) as u32).to_le_bytes());
        put(SEEDED, &1u32.to_le_bytes());
        put(NEXT, &(self.next as u64).to_le_bytes());
        for (n, word) in self.state.iter().enumerate() {
            put(WORDS + 8 * n, &u64::from(*word).to_le_bytes());
        }
        if let Some(spare) = self.spare_normal {
            put(SPARE, &spare.to_le_bytes());
            put(HAS_SPARE, &1u32.to_le_bytes());
        }
        bytes
    }

    /// The generator of a state.
    ///
    /// # Errors
    /// For bytes that are no state.
    pub fn from_state(bytes: &[u8]) -> Result<Generator> {
        const OP: &str = "set_rng_state";
        if bytes.len() != STATE_BYTES {
            let given = format!("{} bytes", bytes.len());
            return Err(Error::RandomState { op: OP, rule: "must have 5056 bytes", given });
        }
        let left = u32::from_le_bytes(part(bytes, LEFT)) as usize;
        if !(1..=N).contains(&left) || u32::from_le_bytes(part(bytes, SEEDED)) != 1 {
            let given = format!("one with {left} numbers left");
            return Err(Error::RandomState { op: OP, rule: "must be one that get_rng_state gave", given });
        }
        let mut state = [0; N];
        for (n, word) in state.iter_mut().enumerate() {
            *word = u64::from_le_bytes(part(bytes, WORDS + 8 * n)) as u32;
        }
        let has_spare = u32::from_le_bytes(part(bytes, HAS_SPARE)) != 0;
        let spare_normal = has_spare.then(|| f64::from_le_bytes(part(bytes, SPARE)));
        Ok(Generator { state, next: N + 1 - left, seed: u64::from_le_bytes(part(bytes, SEED)), spare_normal })
    }
}

fn part<const L: usize>(bytes: &[u8], at: usize) -> [u8; L] {
    let mut part = [0; L];
    part.copy_from_slice(&bytes[at..at + L]);
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_state_goes_on_as_the_first_did() {
        for drawn in [0, 1, 5, 623, 624, 625, 1300] {
            let mut first = Generator::new(7);
            let mut few = [0.0f64; 3];
            (0..drawn).for_each(|_| _ = first.next_u32());
            first.fill_normal_f64(&mut few);
            let mut second = Generator::from_state(&first.state()).unwrap();
            assert_eq!(second.initial_seed(), 7);
            let (mut a, mut b) = ([0.0; 21], [0.0; 21]);
            first.fill_normal_f64(&mut a[..3]);
            second.fill_normal_f64(&mut b[..3]);
            first.fill_normal_f64(&mut a[3..]);
            second.fill_normal_f64(&mut b[3..]);
            assert_eq!(a, b);
            assert!((0..700).all(|_| first.next_u32() == second.next_u32()));
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        assert!(Generator::from_state(&[0; 7]).is_err());
        assert!(Generator::from_state(&[0; STATE_BYTES]).is_err());
        assert!(Generator::from_state(&[255; STATE_BYTES]).is_err());
    }
}
