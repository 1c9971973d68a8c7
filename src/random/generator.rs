//! A stream of random numbers that many can hold: its words, and elements made of them.

use std::fmt;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::mersenne::Mersenne;
use super::philox::Philox;
use crate::kernels::parallel;

/// Where words come from.
#[derive(Clone)]
pub(super) enum Engine {
    Mersenne(Box<Mersenne>),
    Philox(Philox),
}

/// A stream of random words: where it stands, and all that later numbers depend on.
#[derive(Clone)]
pub struct Stream {
    pub(super) engine: Engine,
    pub(super) seed: u64,
    /// The second number of a pair of normals that is still to be given, as float64.
    pub(super) spare_normal: Option<f64>,
}

/// A random word of 32 or 64 bits.
pub trait Word: Copy + Send {
    /// How many words of 32 bits it is made of.
    const WORDS: usize;
    /// The word of so many words of 32 bits, the first in the upper half.
    fn of(words: &[u32]) -> Self;
}

impl Word for u32 {
    const WORDS: usize = 1;
    #[inline(always)]
    fn of(words: &[u32]) -> u32 {
        words[0]
    }
}

impl Word for u64 {
    const WORDS: usize = 2;
    #[inline(always)]
    fn of(words: &[u32]) -> u64 {
        u64::from(words[0]) << 32 | u64::from(words[1])
    }
}

/// A number in `[0, 1)` with 24 random bits.
#[inline(always)]
pub fn unit_f32(word: u32) -> f32 {
    (word & ((1 << 24) - 1)) as f32 / (1u32 << 24) as f32
}

/// A number in `[0, 1)` with 53 random bits.
#[inline(always)]
pub fn unit_f64(word: u64) -> f64 {
    (word & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64
}

/// Words that are drawn at once.
const CHUNK: usize = 2048;

impl Stream {
    /// The Mersenne twister of a seed, torch's generator on the CPU, which uses the lower 32 bits.
    pub fn new(seed: u64) -> Self {
        Stream { engine: Engine::Mersenne(Box::new(Mersenne::new(seed as u32))), seed, spare_normal: None }
    }

    /// Philox 4x32-10 of a seed, at the beginning of one of its streams.
    pub fn philox(seed: u64, stream: u64) -> Self {
        Stream { engine: Engine::Philox(Philox { key: seed, stream, offset: 0 }), seed, spare_normal: None }
    }

    /// The beginning of the stream of another seed, by the same engine.
    pub fn reseeded(&self, seed: u64) -> Self {
        match &self.engine {
            Engine::Mersenne(_) => Stream::new(seed),
            Engine::Philox(p) => Stream::philox(seed, p.stream),
        }
    }

    /// The seed that the stream started from.
    pub fn initial_seed(&self) -> u64 {
        self.seed
    }

    /// The number of the stream and how many words were drawn from it; `None` for the twister, which does not count.
    pub fn position(&self) -> Option<(u64, u64)> {
        match &self.engine {
            Engine::Mersenne(_) => None,
            Engine::Philox(p) => Some((p.stream, p.offset)),
        }
    }

    /// Goes to a place of a stream; false for the twister, which cannot.
    pub fn go_to(&mut self, stream: u64, offset: u64) -> bool {
        let Engine::Philox(p) = &mut self.engine else { return false };
        (p.stream, p.offset) = (stream, offset);
        self.spare_normal = None;
        true
    }

    /// The next words.
    pub(super) fn words(&mut self, out: &mut [u32]) {
        match &mut self.engine {
            Engine::Mersenne(m) => m.fill(out),
            Engine::Philox(p) => {
                p.at(p.offset, out);
                p.offset = p.offset.wrapping_add(out.len() as u64);
            }
        }
    }

    /// A random word.
    #[inline]
    pub fn word<W: Word>(&mut self) -> W {
        let mut words = [0; 2];
        match &mut self.engine {
            Engine::Mersenne(m) => words[..W::WORDS].iter_mut().for_each(|word| *word = m.word()),
            Engine::Philox(_) => self.words(&mut words[..W::WORDS]),
        }
        W::of(&words)
    }

    /// A number in `[0, 1)` with 53 random bits.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        unit_f64(self.word())
    }

    /// A standard normal number (Box and Muller 1958): of each pair the cosine first, then the sine.
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare_normal.take() {
            return spare;
        }
        let (u1, u2) = (self.unit(), self.unit());
        let radius = (-2.0 * (-u2).ln_1p()).sqrt();
        let angle = 2.0 * std::f64::consts::PI * u1;
        self.spare_normal = Some(radius * angle.sin());
        radius * angle.cos()
    }
}

/// Elements of words, chunk by chunk.
fn elements<W: Word, T>(mut words: impl FnMut(&mut [u32]), first: usize, out: &mut [T], make: impl Fn(usize, W) -> T) {
    let mut chunk = [0u32; CHUNK];
    for (n, part) in out.chunks_mut(CHUNK / W::WORDS).enumerate() {
        let chunk = &mut chunk[..part.len() * W::WORDS];
        words(chunk);
        let first = first + n * (CHUNK / W::WORDS);
        for (n, (slot, word)) in part.iter_mut().zip(chunk.chunks_exact(W::WORDS)).enumerate() {
            *slot = make(first + n, W::of(word));
        }
    }
}

/// A stream of random numbers. Clones are the same stream.
#[derive(Clone)]
pub struct Generator(Arc<Mutex<Stream>>);

impl fmt::Debug for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Generator(seed {})", self.lock().seed)
    }
}

impl From<Stream> for Generator {
    fn from(stream: Stream) -> Self {
        Generator(Arc::new(Mutex::new(stream)))
    }
}

impl Generator {
    /// The stream, for numbers one after another. Nothing that waits for other threads may run meanwhile.
    pub fn lock(&self) -> MutexGuard<'_, Stream> {
        self.0.lock()
    }

    /// Fills with an element for each word drawn, made of its number and the word: the same whatever the number of threads.
    pub fn fill<W: Word, T: Send>(&self, out: &mut [T], make: impl Fn(usize, W) -> T + Sync) {
        let mut stream = self.lock();
        let start = match &mut stream.engine {
            Engine::Mersenne(m) => return elements(|words| m.fill(words), 0, out, make),
            Engine::Philox(p) => {
                let start = *p;
                p.offset = p.offset.wrapping_add((out.len() * W::WORDS) as u64);
                start
            }
        };
        drop(stream);
        parallel::for_each_slice(out, CHUNK, |first, part| {
            let mut offset = start.offset.wrapping_add((first * W::WORDS) as u64);
            let words = |words: &mut [u32]| {
                start.at(offset, words);
                offset = offset.wrapping_add(words.len() as u64);
            };
            elements(words, first, part, &make);
        });
    }

    /// Holds the stream while the process forks.
    pub(super) fn hold(&self) {
        std::mem::forget(self.lock());
    }

    /// Gives back what [`Self::hold`] took.
    ///
    /// # Safety
    /// `hold` was called once before.
    pub(super) unsafe fn let_go(&self) {
        // SAFETY: as the caller says.
        unsafe { self.0.force_unlock() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_streams_are_torchs() {
        let g = Generator::from(Stream::new(0));
        let mut drawn = [0.0f32; 3];
        g.fill(&mut drawn, |_, word| unit_f32(word));
        assert_eq!(drawn, [0.496_256_6, 0.768_221_8, 0.088_477_43]);
        let g = Generator::from(Stream::new(0));
        let normals = [(); 3].map(|()| g.lock().normal() as f32);
        assert_eq!(normals, [1.5409961, -0.2934289, -2.1787894]);
    }

    #[test]
    fn the_twister_is_that_of_the_paper() {
        let mut stream = Stream::new(5489);
        let mut words = vec![0; 10_000];
        stream.words(&mut words);
        assert_eq!((words[0], words[9999]), (3499211612, 4123659995));
    }

    #[test]
    fn numbers_do_not_depend_on_how_they_are_cut() {
        for stream in [Stream::new(3), Stream::philox(3, 1)] {
            let (whole, parts) = (Generator::from(stream.clone()), Generator::from(stream));
            let mut all = vec![0u64; 9000];
            whole.fill(&mut all, |_, w: u64| w);
            let mut pieces = vec![0u64; 9000];
            pieces.chunks_mut(1234).for_each(|piece| parts.fill(piece, |_, w: u64| w));
            assert_eq!(all, pieces);
            assert_eq!(whole.lock().word::<u32>(), parts.lock().word::<u32>());
        }
    }
}
