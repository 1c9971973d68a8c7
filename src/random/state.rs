//! The state of a generator as bytes, in the order that torch keeps it in: seed, place, words, the spare normal number.

use super::generator::{Engine, Stream};
use super::mersenne::{Mersenne, N};
use super::philox::Philox;
use crate::error::{Error, Result};

/// How many bytes the state of the twister has.
const STATE_BYTES: usize = 5056;
/// How many bytes the state of Philox has: seed, stream, offset, the spare normal number and whether there is one.
const PHILOX_BYTES: usize = 40;

/// Offsets of the parts.
const SEED: usize = 0;
const LEFT: usize = 8;
const SEEDED: usize = 12;
const NEXT: usize = 16;
const WORDS: usize = 24;
const SPARE: usize = WORDS + 8 * N + 8;
const HAS_SPARE: usize = SPARE + 16;

impl Stream {
    /// All that later numbers depend on.
    pub fn state(&self) -> Vec<u8> {
        match &self.engine {
            Engine::Mersenne(m) => self.mersenne_state(m),
            Engine::Philox(p) => {
                let spare = self.spare_normal.map_or(0, f64::to_bits);
                let has_spare = u64::from(self.spare_normal.is_some());
                [p.key, p.stream, p.offset, spare, has_spare].iter().flat_map(|word| word.to_le_bytes()).collect()
            }
        }
    }

    fn mersenne_state(&self, twister: &Mersenne) -> Vec<u8> {
        let mut bytes = vec![0; STATE_BYTES];
        let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
        put(SEED, &self.seed.to_le_bytes());
        // Words that are left, the one before the next mixing counted.
        put(LEFT, &((N - twister.next + 1) as u32).to_le_bytes());
        put(SEEDED, &1u32.to_le_bytes());
        let next = if twister.fresh { 0 } else { twister.next as u64 };
        put(NEXT, &next.to_le_bytes());
        for (n, word) in twister.state.iter().enumerate() {
            put(WORDS + 8 * n, &u64::from(*word).to_le_bytes());
        }
        if let Some(spare) = self.spare_normal {
            put(SPARE, &spare.to_le_bytes());
            put(HAS_SPARE, &1u32.to_le_bytes());
        }
        bytes
    }

    /// The stream of a state of the same engine.
    ///
    /// # Errors
    /// For bytes that are no state of it.
    pub fn restored(&self, bytes: &[u8]) -> Result<Stream> {
        match self.engine {
            Engine::Mersenne(_) => Stream::of_mersenne(bytes),
            Engine::Philox(_) => Stream::of_philox(bytes),
        }
    }

    fn of_philox(bytes: &[u8]) -> Result<Stream> {
        check_size(bytes, PHILOX_BYTES)?;
        let [key, stream, offset, spare, has_spare] = [0, 1, 2, 3, 4].map(|n| u64::from_le_bytes(part(bytes, 8 * n)));
        let spare_normal = (has_spare != 0).then_some(f64::from_bits(spare));
        Ok(Stream { engine: Engine::Philox(Philox { key, stream, offset }), seed: key, spare_normal })
    }

    fn of_mersenne(bytes: &[u8]) -> Result<Stream> {
        check_size(bytes, STATE_BYTES)?;
        let left = u32::from_le_bytes(part(bytes, LEFT)) as usize;
        if !(1..=N).contains(&left) || u32::from_le_bytes(part(bytes, SEEDED)) != 1 {
            let given = format!("one with {left} numbers left");
            return Err(Error::RandomState { op: OP, rule: "must be one that get_state gave".into(), given });
        }
        let mut state = [0; N];
        for (n, word) in state.iter_mut().enumerate() {
            *word = u64::from_le_bytes(part(bytes, WORDS + 8 * n)) as u32;
        }
        let has_spare = u32::from_le_bytes(part(bytes, HAS_SPARE)) != 0;
        let spare_normal = has_spare.then(|| f64::from_le_bytes(part(bytes, SPARE)));
        let fresh = left == 1 && u64::from_le_bytes(part(bytes, NEXT)) == 0;
        let engine = Engine::Mersenne(Box::new(Mersenne { state, next: N + 1 - left, fresh }));
        Ok(Stream { engine, seed: u64::from_le_bytes(part(bytes, SEED)), spare_normal })
    }
}

const OP: &str = "set_state";

fn check_size(bytes: &[u8], expected: usize) -> Result<()> {
    if bytes.len() == expected {
        return Ok(());
    }
    let given = format!("{} bytes", bytes.len());
    Err(Error::RandomState { op: OP, rule: format!("must have {expected} bytes"), given })
}

fn part<const L: usize>(bytes: &[u8], at: usize) -> [u8; L] {
    let mut part = [0; L];
    part.copy_from_slice(&bytes[at..at + L]);
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normals(stream: &mut Stream, count: usize) -> Vec<f64> {
        (0..count).map(|_| stream.normal()).collect()
    }

    #[test]
    fn a_restored_state_goes_on_as_the_first_did() {
        for (start, drawn) in
            [0, 1, 5, 623, 624, 625, 1300].into_iter().flat_map(|n| [(Stream::new(7), n), (Stream::philox(7, 2), n)])
        {
            let mut first = start;
            (0..drawn).for_each(|_| _ = first.word::<u32>());
            normals(&mut first, 3);
            let mut second = first.restored(&first.state()).unwrap();
            assert_eq!(second.initial_seed(), 7);
            assert_eq!(normals(&mut first, 21), normals(&mut second, 21));
            assert!((0..700).all(|_| first.word::<u32>() == second.word::<u32>()));
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        let twister = Stream::new(0);
        assert!(twister.restored(&[0; 7]).is_err());
        assert!(twister.restored(&[0; STATE_BYTES]).is_err());
        assert!(twister.restored(&[255; STATE_BYTES]).is_err());
        assert!(twister.restored(&Stream::philox(0, 0).state()).is_err());
        assert!(Stream::philox(0, 0).restored(&twister.state()).is_err());
    }
}
