//! The inner loops: tiles of sums that stay in registers. Every sum is one chain, or as many as a vector has lanes, in an
//! order that no tile changes, so that tiles may be as large as the machine's registers allow.

use super::super::dispatch::{Tier, tier, tiered};
use super::super::gemm::{Float, Product};

/// A tile's rows of sums along runs of a source: `sums[r][p] = sum over k of weights[k][r] source[offsets[k] + p]`.
pub(super) struct Strip<T> {
    /// The first of the run's elements, less the offset.
    pub source: *const T,
    pub offsets: *const usize,
    /// How many offsets there are.
    pub depth: usize,
    /// Those of all rows for one offset after another.
    pub weights: *const T,
    /// As many as a tile of [`tiles`] has.
    pub rows: usize,
    /// Row by row.
    pub sums: *mut T,
    /// Sums in a row: whole vectors.
    pub width: usize,
    /// Whether to add to the sums there are.
    pub adds: bool,
}

/// Rows of a tile at the most.
pub(super) const ROWS: usize = 6;

/// Rows in tiles: the first of each and how many.
pub(super) fn tiles(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let size = match rows - at {
            0 => return None,
            1 => 1,
            2 | 3 => 2,
            4 | 5 => 4,
            _ => ROWS,
        };
        at += size;
        Some((at - size, size))
    })
}

/// # Safety
/// Everything that the strip names is there, and the source for whole vectors behind every offset.
pub(super) unsafe fn strip<T: Product>(strip: &Strip<T>) {
    let kernel = if tier() == Tier::Avx512 { strips::<T, 4>(tier()) } else { strips::<T, 1>(tier()) };
    // SAFETY: the caller's.
    unsafe { kernel(strip) }
}

tiered! {
    fn strips<T: Product; const V: usize>(strip: &Strip<T>) = rows::<T, V>;
}

/// # Safety
/// As [`strip`].
#[inline(always)]
unsafe fn rows<T: Product, const V: usize>(s: &Strip<T>) {
    // SAFETY: the caller's.
    unsafe {
        match s.rows {
            6 => columns::<T, 6, V>(s),
            4 => columns::<T, 4, V>(s),
            2 => columns::<T, 2, V>(s),
            _ => columns::<T, 1, V>(s),
        }
    }
}

/// # Safety
/// As [`strip`], which has `R` rows.
#[inline(always)]
unsafe fn columns<T: Product, const R: usize, const V: usize>(s: &Strip<T>) {
    let mut at = 0;
    // SAFETY: the caller's.
    unsafe {
        // Few rows have few chains, which wait for each other.
        while V >= 4 && R <= 2 && at + 8 * T::LANES <= s.width {
            tile::<T, R, 8>(s, at);
            at += 8 * T::LANES;
        }
        while V >= 4 && at + 4 * T::LANES <= s.width {
            tile::<T, R, 4>(s, at);
            at += 4 * T::LANES;
        }
        while V >= 2 && at + 2 * T::LANES <= s.width {
            tile::<T, R, 2>(s, at);
            at += 2 * T::LANES;
        }
        while at < s.width {
            tile::<T, R, 1>(s, at);
            at += T::LANES;
        }
    }
}

/// # Safety
/// As [`strip`], which has `R` rows and `V` vectors of sums from `at` on.
#[inline(always)]
unsafe fn tile<T: Product, const R: usize, const V: usize>(s: &Strip<T>, at: usize) {
    let mut chains = [[T::ZERO.splat(); V]; R];
    // SAFETY: the caller's.
    unsafe {
        let source = s.source.add(at);
        for k in 0..s.depth {
            let run = source.add(*s.offsets.add(k));
            let mut lanes = [T::ZERO.splat(); V];
            for (v, lanes) in lanes.iter_mut().enumerate() {
                *lanes = run.add(v * T::LANES).cast::<T::Lanes>().read_unaligned();
            }
            for (r, chains) in chains.iter_mut().enumerate() {
                let weight = (*s.weights.add(k * R + r)).splat();
                for (chain, &lanes) in chains.iter_mut().zip(&lanes) {
                    *chain = T::fused(weight, lanes, *chain);
                }
            }
        }
        for (r, chains) in chains.iter().enumerate() {
            for (v, &chain) in chains.iter().enumerate() {
                let to = s.sums.add(r * s.width + at + v * T::LANES).cast::<T::Lanes>();
                to.write_unaligned(if s.adds { T::add(to.read_unaligned(), chain) } else { chain });
            }
        }
    }
}

/// Sums over runs of two sources: `sums[r][k] += sum over runs, and p in them, of left[r][p] right[offsets[k] + p]`.
pub(super) struct Meeting<'a, T> {
    /// The first of each row of the left source.
    pub left: *const T,
    /// From one row of the left source to the next.
    pub stride: usize,
    pub rows: usize,
    pub right: *const T,
    pub offsets: &'a [usize],
    /// Where runs begin in both sources.
    pub runs: &'a [(usize, usize)],
    /// Their length. The left source has whole vectors, with zeros behind; the right may have anything behind.
    pub length: usize,
    /// Row by row, as many in each as there are offsets.
    pub sums: *mut T,
    /// From one row of sums to the next.
    pub pitch: usize,
}

/// # Safety
/// Everything that the meeting names is there, both sources for whole vectors.
pub(super) unsafe fn meet<T: Float>(meeting: &Meeting<T>) {
    let kernel = if tier() == Tier::Avx512 { meetings::<T, 6>(tier()) } else { meetings::<T, 3>(tier()) };
    // SAFETY: the caller's.
    unsafe { kernel(meeting) }
}

tiered! {
    fn meetings<T: Float; const C: usize>(meeting: &Meeting<T>) = pairs::<T, C>;
}

/// # Safety
/// As [`meet`].
#[inline(always)]
unsafe fn pairs<T: Float, const C: usize>(m: &Meeting<T>) {
    let mut row = 0;
    // SAFETY: the caller's.
    unsafe {
        while row < m.rows {
            let left = m.rows - row;
            let size = if C > 3 && left >= 4 { 4 } else { left.min(2) };
            for k in (0..m.offsets.len()).step_by(C) {
                match size {
                    4 => pair::<T, 4, C>(m, row, k),
                    2 => pair::<T, 2, C>(m, row, k),
                    _ => pair::<T, 1, C>(m, row, k),
                }
            }
            row += size;
        }
    }
}

/// Bits that keep the first `count` lanes.
#[inline(always)]
fn mask<T: Float>(count: usize) -> T::Lanes {
    static BITS: [[u8; 64]; 2] = [[255; 64], [0; 64]];
    // SAFETY: a vector is 64 bytes, the first `count` elements of it from the first half.
    unsafe { BITS.as_ptr().cast::<u8>().add(64 - count * size_of::<T>()).cast::<T::Lanes>().read_unaligned() }
}

/// `R` rows by `C` offsets; offsets past the last are the last once more, and are not stored.
///
/// # Safety
/// As [`meet`], which has `R` rows from `row` on and at least one offset from `k` on.
#[inline(always)]
unsafe fn pair<T: Float, const R: usize, const C: usize>(m: &Meeting<T>, row: usize, k: usize) {
    let mut chains = [[T::ZERO.splat(); C]; R];
    let offsets: [usize; C] = std::array::from_fn(|c| m.offsets[(k + c).min(m.offsets.len() - 1)]);
    let whole = m.length / T::LANES * T::LANES;
    let rest = mask::<T>(m.length - whole);
    // SAFETY: the caller's.
    unsafe {
        for &(a, b) in m.runs {
            let (a, b) = (m.left.add(row * m.stride + a), m.right.add(b));
            let mut at = 0;
            while at < m.length {
                let mut lanes = [T::ZERO.splat(); R];
                for (r, lanes) in lanes.iter_mut().enumerate() {
                    *lanes = a.add(r * m.stride + at).cast::<T::Lanes>().read_unaligned();
                }
                for c in 0..C {
                    let mut other = b.add(offsets[c] + at).cast::<T::Lanes>().read_unaligned();
                    if at == whole {
                        other = T::and(other, rest);
                    }
                    for r in 0..R {
                        chains[r][c] = T::fused(lanes[r], other, chains[r][c]);
                    }
                }
                at += T::LANES;
            }
        }
        for (r, chains) in chains.iter().enumerate() {
            for (c, &chain) in chains.iter().enumerate().take(m.offsets.len() - k) {
                let sum = m.sums.add((row + r) * m.pitch + k + c);
                *sum = (*sum).plus(total::<T>(chain));
            }
        }
    }
}

/// The lanes of a vector, added upper half to lower half.
#[inline(always)]
fn total<T: Float>(lanes: T::Lanes) -> T {
    let mut half = T::LANES;
    let mut all = [T::ZERO; 16];
    // SAFETY: a vector is an array of its lanes, of which there are at most 16.
    unsafe { std::ptr::copy_nonoverlapping((&raw const lanes).cast(), all.as_mut_ptr(), T::LANES) };
    while half > 1 {
        half /= 2;
        (0..half).for_each(|i| all[i] = all[i].plus(all[i + half]));
    }
    all[0]
}
