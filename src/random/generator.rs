//! The Mersenne twister MT19937 (Matsumoto and Nishimura 1998) and the transformations that torch draws with.

/// How many words the state has.
pub(super) const N: usize = 624;
const M: usize = 397;

/// A stream of random numbers.
#[derive(Clone)]
pub struct Generator {
    pub(super) state: [u32; N],
    pub(super) next: usize,
    pub(super) seed: u64,
    /// The second number of a pair of normals that is still to be given, as float64.
    pub(super) spare_normal: Option<f64>,
}

impl Generator {
    /// The stream of a seed; torch uses its lower 32 bits.
    pub fn new(seed: u64) -> Self {
        let mut state = [0u32; N];
        state[0] = seed as u32;
        for i in 1..N {
            let last = state[i - 1];
            state[i] = 1812433253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(i as u32);
        }
        Generator { state, next: N, seed, spare_normal: None }
    }

    /// The seed that the stream started from.
    pub fn initial_seed(&self) -> u64 {
        self.seed
    }

    fn refill(&mut self) {
        let twist = |upper: u32, lower: u32| {
            let mixed = (upper & 0x8000_0000) | (lower & 0x7fff_ffff);
            (mixed >> 1) ^ if lower & 1 == 1 { 0x9908_b0df } else { 0 }
        };
        for i in 0..N {
            self.state[i] = self.state[(i + M) % N] ^ twist(self.state[i], self.state[(i + 1) % N]);
        }
        self.next = 0;
    }

    /// 32 random bits.
    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        if self.next == N {
            self.refill();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// 64 random bits, the first draw in the upper half.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let high = self.next_u32() as u64;
        high << 32 | self.next_u32() as u64
    }

    /// A number in `[0, 1)` with 24 random bits.
    #[inline]
    pub fn uniform_f32(&mut self) -> f32 {
        (self.next_u32() & ((1 << 24) - 1)) as f32 / (1u32 << 24) as f32
    }

    /// A number in `[0, 1)` with 53 random bits.
    #[inline]
    pub fn uniform_f64(&mut self) -> f64 {
        (self.next_u64() & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64
    }

    /// A standard normal number (Box and Muller 1958): of each pair the cosine first, then the sine.
    fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare_normal.take() {
            return spare;
        }
        let (u1, u2) = (self.uniform_f64(), self.uniform_f64());
        let radius = (-2.0 * (-u2).ln_1p()).sqrt();
        let angle = 2.0 * std::f64::consts::PI * u1;
        self.spare_normal = Some(radius * angle.sin());
        radius * angle.cos()
    }

    /// Fills with standard normal numbers as torch fills a float32 tensor.
    pub fn fill_normal_f32(&mut self, out: &mut [f32]) {
        if out.len() < 16 {
            return out.iter_mut().for_each(|x| *x = self.normal() as f32);
        }
        out.iter_mut().for_each(|x| *x = self.uniform_f32());
        let transform = |block: &mut [f32]| {
            for i in 0..8 {
                let radius = (-2.0 * (1.0 - block[i]).ln()).sqrt();
                let angle = 2.0 * std::f32::consts::PI * block[i + 8];
                (block[i], block[i + 8]) = (radius * angle.cos(), radius * angle.sin());
            }
        };
        out.chunks_exact_mut(16).for_each(transform);
        let tail = out.len() - 16;
        if !out.len().is_multiple_of(16) {
            out[tail..].iter_mut().for_each(|x| *x = self.uniform_f32());
            transform(&mut out[tail..]);
        }
    }

    /// Fills with standard normal numbers as torch fills a float64 tensor.
    pub fn fill_normal_f64(&mut self, out: &mut [f64]) {
        if out.len() < 16 {
            return out.iter_mut().for_each(|x| *x = self.normal());
        }
        out.iter_mut().for_each(|x| *x = self.uniform_f64());
        let transform = |block: &mut [f64]| {
            for i in 0..8 {
                let radius = (-2.0 * (1.0 - block[i]).ln()).sqrt();
                let angle = 2.0 * std::f64::consts::PI * block[i + 8];
                (block[i], block[i + 8]) = (radius * angle.cos(), radius * angle.sin());
            }
        };
        out.chunks_exact_mut(16).for_each(transform);
        let tail = out.len() - 16;
        if !out.len().is_multiple_of(16) {
            out[tail..].iter_mut().for_each(|x| *x = self.uniform_f64());
            transform(&mut out[tail..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Generator;

    #[test]
    fn the_streams_are_torchs() {
        let mut g = Generator::new(0);
        let drawn: Vec<f32> = (0..3).map(|_| g.uniform_f32()).collect();
        assert_eq!(drawn, [0.496_256_6, 0.768_221_8, 0.088_477_43]);
        let mut g = Generator::new(0);
        let mut normals = [0.0f32; 3];
        g.fill_normal_f32(&mut normals);
        assert_eq!(normals, [1.5409961, -0.2934289, -2.1787894]);
    }
}
