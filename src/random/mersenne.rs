//! The Mersenne twister MT19937 (Matsumoto and Nishimura 1998).

/// How many words the state has.
pub(super) const N: usize = 624;
const M: usize = 397;

/// The twister: what torch draws from.
#[derive(Clone)]
pub(super) struct Mersenne {
    pub state: [u32; N],
    pub next: usize,
    /// Whether no word was drawn since the seed.
    pub fresh: bool,
}

/// The word that follows from two neighbours and the one `M` places on.
#[inline(always)]
fn twisted(upper: u32, lower: u32, far: u32) -> u32 {
    let mixed = (upper & 0x8000_0000) | (lower & 0x7fff_ffff);
    far ^ (mixed >> 1) ^ ((lower & 1).wrapping_neg() & 0x9908_b0df)
}

#[inline(always)]
fn tempered(word: u32) -> u32 {
    let mut y = word;
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c_5680;
    y ^= (y << 15) & 0xefc6_0000;
    y ^ (y >> 18)
}

impl Mersenne {
    pub fn new(seed: u32) -> Self {
        let mut state = [0u32; N];
        state[0] = seed;
        for i in 1..N {
            let last = state[i - 1];
            state[i] = 1812433253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(i as u32);
        }
        Mersenne { state, next: N, fresh: true }
    }

    fn refill(&mut self) {
        // In stretches whose words do not depend on each other, so that they become vectors.
        let s = &mut self.state;
        let (head, tail) = s.split_at_mut(M);
        for i in 0..N - M {
            head[i] = twisted(head[i], head[i + 1], tail[i]);
        }
        for start in (N - M..N - 1).step_by(N - M) {
            let end = (start + N - M).min(N - 1);
            let (before, from) = s.split_at_mut(start);
            let far = &before[start + M - N..];
            for i in 0..end - start {
                from[i] = twisted(from[i], from[i + 1], far[i]);
            }
        }
        s[N - 1] = twisted(s[N - 1], s[0], s[M - 1]);
        (self.next, self.fresh) = (0, false);
    }

    /// The next word.
    #[inline]
    pub fn word(&mut self) -> u32 {
        if self.next >= N {
            self.refill();
        }
        self.next += 1;
        tempered(self.state[self.next - 1])
    }

    /// Fills with the next words.
    pub fn fill(&mut self, mut out: &mut [u32]) {
        while !out.is_empty() {
            if self.next == N {
                self.refill();
            }
            let count = out.len().min(N - self.next);
            let (now, rest) = out.split_at_mut(count);
            let words = &self.state[self.next..self.next + count];
            now.iter_mut().zip(words).for_each(|(slot, &word)| *slot = tempered(word));
            self.next += count;
            out = rest;
        }
    }
}
