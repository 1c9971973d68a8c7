//! Philox 4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", 2011): word `n` of a
//! stream is a function of `n` alone, so that any thread can compute any part.

const ROUNDS: usize = 10;
const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
/// What the key grows by from round to round: the golden ratio and the square root of 3 less 1.
const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];

/// One of 2^64 streams of a seed, of 2^66 words each.
#[derive(Clone, Copy)]
pub(super) struct Philox {
    pub key: u64,
    /// Which of the streams of the key.
    pub stream: u64,
    /// How many words were drawn.
    pub offset: u64,
}

impl Philox {
    /// Four words: those of a block of the stream.
    fn block(&self, block: u64) -> [u32; 4] {
        let mut c = [block as u32, (block >> 32) as u32, self.stream as u32, (self.stream >> 32) as u32];
        let mut key = [self.key as u32, (self.key >> 32) as u32];
        for _ in 0..ROUNDS {
            let a = u64::from(MULTIPLIERS[0]) * u64::from(c[0]);
            let b = u64::from(MULTIPLIERS[1]) * u64::from(c[2]);
            c = [(b >> 32) as u32 ^ c[1] ^ key[0], b as u32, (a >> 32) as u32 ^ c[3] ^ key[1], a as u32];
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        c
    }

    /// The words from `offset` on.
    pub fn at(&self, offset: u64, out: &mut [u32]) {
        let (mut block, first) = (offset / 4, (offset % 4) as usize);
        let head = out.len().min((4 - first) % 4);
        let (start, rest) = out.split_at_mut(head);
        if first > 0 {
            start.copy_from_slice(&self.block(block)[first..first + head]);
            block = block.wrapping_add(1);
        }
        for four in rest.chunks_mut(4) {
            four.copy_from_slice(&self.block(block)[..four.len()]);
            block = block.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_those_of_the_paper() {
        let zero = Philox { key: 0, stream: 0, offset: 0 };
        assert_eq!(zero.block(0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = Philox { key: u64::MAX, stream: u64::MAX, offset: 0 };
        assert_eq!(ones.block(u64::MAX), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = Philox { key: 0x299f_31d0_a409_3822, stream: 0x0370_7344_1319_8a2e, offset: 0 };
        assert_eq!(pi.block(0x85a3_08d3_243f_6a88), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn any_part_can_be_had_alone() {
        let stream = Philox { key: 7, stream: 3, offset: 0 };
        let mut all = [0; 40];
        stream.at(0, &mut all);
        for start in 0..20 {
            for length in 0..20 {
                let mut part = vec![0; length];
                stream.at(start as u64, &mut part);
                assert_eq!(part, all[start..start + length]);
            }
        }
    }
}
