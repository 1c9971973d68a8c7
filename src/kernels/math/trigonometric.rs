//! `sin` and `cos`: the argument less the nearest multiple of pi/2, and two series.

use super::{V, all, magnitude, nearest, polynomial, select};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::vector::{Vector, VectorMask};

/// pi/2 in three parts (Cody and Waite), each the rounding of what the ones before left.
const HALF_PI: [f64; 3] = [std::f64::consts::FRAC_PI_2, 6.123233995736766e-17, -1.4973849048591698e-33];
/// Arguments beyond this many quarter turns are reduced by [`far`].
const NEAR: f64 = 1e8;

/// `(-1)^n / (2n+1)!` from `n = 1`.
const SINE: [f64; 8] = [
    -1.0 / 6.0,
    1.0 / 120.0,
    -1.0 / 5040.0,
    1.0 / 362880.0,
    -1.0 / 39916800.0,
    1.0 / 6227020800.0,
    -1.0 / 1307674368000.0,
    1.0 / 355687428096000.0,
];
/// `(-1)^n / (2n)!` from `n = 2`.
const COSINE: [f64; 7] = [
    1.0 / 24.0,
    -1.0 / 720.0,
    1.0 / 40320.0,
    -1.0 / 3628800.0,
    1.0 / 479001600.0,
    -1.0 / 87178291200.0,
    1.0 / 20922789888000.0,
];
/// Terms for an error below `2^-31` on `|r| <= pi/4`: `0.62^5 / 11! < 2^-28` of `r`, `0.62^6 / 12! < 2^-32`.
const SINGLE_TERMS: usize = 5;

/// `x = n pi/2 + r + low`; gives `(n, r, low)`. `n` is right in its two lowest bits.
#[inline(always)]
fn reduced<const N: usize>(x: V<N>) -> (Vector<u64, N>, V<N>, V<N>) {
    let (n, bits) = nearest(x * all(std::f64::consts::FRAC_2_PI));
    // Exact: `x` and `n HALF_PI[0]` are multiples of 2^-53, and their difference is below 1.
    let first = (-n).mul_add(all(HALF_PI[0]), x);
    let r = (-n).mul_add(all(HALF_PI[1]), first);
    let low = (-n).mul_add(all(HALF_PI[1]), first - r);
    let low = (-n).mul_add(all(HALF_PI[2]), low);
    let too_far = magnitude(x).gt(all(NEAR));
    if too_far.0.iter().any(|&b| b) { far_lanes(x, too_far, (bits, r, low)) } else { (bits, r, low) }
}

#[cold]
fn far_lanes<const N: usize>(
    x: V<N>,
    lanes: VectorMask<N>,
    (mut n, mut r, mut low): (Vector<u64, N>, V<N>, V<N>),
) -> (Vector<u64, N>, V<N>, V<N>) {
    for i in (0..N).filter(|&i| lanes.0[i]) {
        (n.0[i], r.0[i], low.0[i]) = far(x.0[i]);
    }
    (n, r, low)
}

/// The first 1280 bits of 2/pi, 64 a word.
const TWO_OVER_PI: [u64; 20] = [
    0xa2f9836e4e441529,
    0xfc2757d1f534ddc0,
    0xdb6295993c439041,
    0xfe5163abdebbc561,
    0xb7246e3a424dd2e0,
    0x06492eea09d1921c,
    0xfe1deb1cb129a73e,
    0xe88235f52ebb4484,
    0xe99c7026b45f7e41,
    0x3991d639835339f4,
    0x9c845f8bbdf9283b,
    0x1ff897ffde05980f,
    0xef2f118b5a0a6d1f,
    0x6d367ecf27cb09b7,
    0x4f463f669e5fea2d,
    0x7527bac7ebe5f17b,
    0x3d0739f78a5292ea,
    0x6bfb5fb11f8d5d08,
    0x56033046fc7b6bab,
    0xf0cfbc209af4361d,
];

/// The reduction of Payne and Hanek (1983), for any finite `x` of at least 2^26: of the product of the 53-bit whole
/// number `m`, where `x = m 2^e`, with 2/pi, only bits that weigh less than 4 quarter turns matter.
fn far(x: f64) -> (u64, f64, f64) {
    if !x.is_finite() {
        return (0, f64::NAN, 0.0);
    }
    let bits = x.to_bits();
    let m = (bits & ((1 << 52) - 1)) | (1 << 52);
    let e = ((bits >> 52) & 2047) as i32 - 1075;
    // 192 bits of 2/pi from bit `skip`: those before weigh multiples of 4.
    let skip = (e - 2).max(0) as usize;
    let word = |i: usize| TWO_OVER_PI.get(i).copied().unwrap_or(0);
    let window = |i: usize| match skip % 64 {
        0 => word(skip / 64 + i),
        s => word(skip / 64 + i) << s | word(skip / 64 + i + 1) >> (64 - s),
    };
    // m * window in four words, highest first.
    let low = m as u128 * window(2) as u128;
    let middle = m as u128 * window(1) as u128 + (low >> 64);
    let high = m as u128 * window(0) as u128 + (middle >> 64);
    let words = [(high >> 64) as u64, high as u64, middle as u64, low as u64];
    // The binary point stands `whole` bits from the top.
    let whole = 64 + e - skip as i32;
    let shifted = |at: i32| {
        let (i, s) = (at.div_euclid(64), at.rem_euclid(64));
        let get = |i: i32| usize::try_from(i).ok().and_then(|i| words.get(i)).copied().unwrap_or(0);
        if s == 0 { get(i) } else { get(i) << s | get(i + 1) >> (64 - s) }
    };
    let fraction = ((shifted(whole) as u128) << 64 | shifted(whole + 64) as u128) as i128;
    let quadrant = shifted(whole - 64).wrapping_add((fraction < 0) as u64);
    // The signed fraction of a quarter turn, in two parts, times pi/2.
    const UNIT: f64 = 1.0 / (1u128 << 127) as f64 / 2.0;
    let top = fraction as f64;
    let rest = (fraction - top as i128) as f64;
    let (top, rest) = (top * UNIT, rest * UNIT);
    let r = top * HALF_PI[0];
    let low = top.mul_add(HALF_PI[0], -r) + top.mul_add(HALF_PI[1], rest * HALF_PI[0]);
    if x < 0.0 { (quadrant.wrapping_neg(), -r, -low) } else { (quadrant, r, low) }
}

/// The sine of `x` turned by `turn` quarter turns: the two series are chosen by the quadrant.
#[inline(always)]
fn sine<const N: usize, const SINGLE: bool>(x: V<N>, turn: u64) -> V<N> {
    let (n, r, low) = reduced(x);
    let n = n.map(|n| n.wrapping_add(turn));
    let z = r * r;
    let (sin, cos) = if SINGLE {
        let sin = (z * r).mul_add(polynomial(z, &SINE[..SINGLE_TERMS]), r);
        let cos = (z * z).mul_add(polynomial(z, &COSINE[..SINGLE_TERMS]), all(1.0) - all(0.5) * z);
        (sin, cos)
    } else {
        // sin(r + low) = sin r + low cos r
        let half = all(0.5) * z;
        let sin = r + (z * r).mul_add(polynomial(z, &SINE), low * (all(1.0) - half));
        // cos(r + low) = cos r - low sin r, with the rounding of 1 - z/2 carried along
        let w = all(1.0) - half;
        let tail = (z * z).mul_add(polynomial(z, &COSINE), -(r * low));
        (sin, w + (((all(1.0) - w) - half) + tail))
    };
    let even = n.map(|n| n & 1).compare(Vector::splat(0), |a, b| a == b);
    let value = select(even, sin, cos);
    value.zip(n, |v, n| f64::from_bits(v.to_bits() ^ ((n & 2) << 62)))
}

/// Sine of an angle in radians.
#[inline(always)]
pub fn sin<const N: usize, const SINGLE: bool>(x: V<N>) -> V<N> {
    // Keeps the sign of zero, which the sum of the series' terms loses.
    let y = sine::<N, SINGLE>(x, 0);
    select(x.eq(all(0.0)), x, y)
}

/// Cosine of an angle in radians: the sine a quarter turn on.
#[inline(always)]
pub fn cos<const N: usize, const SINGLE: bool>(x: V<N>) -> V<N> {
    sine::<N, SINGLE>(x, 1)
}
