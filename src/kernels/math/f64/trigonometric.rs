//! `sin`, `cos` and `tan`: the argument less the nearest multiple of pi/2, and polynomials.

use super::{ROUNDER, V, all};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::{fast_two_sum, patched, polynomial, two_product};
use crate::kernels::vector::Vector;

/// pi/2 in three parts (Cody and Waite), each the rounding of what the ones before left.
const HALF_PI: [f64; 3] = [std::f64::consts::FRAC_PI_2, 6.123233995736766e-17, -1.4973849048591698e-33];

/// Arguments beyond this are reduced one by one, by [`far`].
const FAR: f64 = 1e8;

/// `(sin(r)/r - 1) / z` with `z = r^2`, for `|r| <= pi/4`; the error of the sine is below `2^-57` of it (minimax).
const SINE: [f64; 6] = [
    -0.16666666666666632,
    0.00833333333332248,
    -0.00019841269829837282,
    2.7557313696570794e-06,
    -2.505075819770086e-08,
    1.589677103387736e-10,
];

/// `(cos(r) - 1 + z/2) / z^2` with `z = r^2`, for `|r| <= pi/4`; the error of the cosine is below `2^-59` (minimax).
const COSINE: [f64; 6] = [
    0.041666666666666616,
    -0.0013888888888875996,
    2.4801587290492972e-05,
    -2.755731461042796e-07,
    2.0875754784372346e-09,
    -1.1361131064285104e-11,
];

/// `(tan(r)/r - 1) / z` with `z = r^2`, for `|r| <= pi/4`; the error of the tangent is below `2^-59` of it (minimax).
const TANGENT: [f64; 15] = [
    0.33333333333333376,
    0.13333333333326092,
    0.05396825397252933,
    0.021869488409001603,
    0.008863237771384275,
    0.0035921024178449264,
    0.0014560348308454104,
    0.0005889172822366398,
    0.00024356551991674207,
    8.402879617856435e-05,
    6.637322301531455e-05,
    -2.456729379813289e-05,
    4.775022284358934e-05,
    -2.3837039714262236e-05,
    9.702145081010644e-06,
];

/// The sine of `n` quarter turns and `r + low`: the two polynomials are chosen by the quadrant.
#[inline(always)]
fn of_parts(n: u64, r: V<1>, low: V<1>) -> V<1> {
    let z = r * r;
    // sin(r + low) = sin r + low cos r
    let half = all::<1>(0.5) * z;
    let w = all(1.0) - half;
    let sin = r + (z * r).mul_add(polynomial(z, &SINE), low * w);
    // cos(r + low) = cos r - low sin r, with the rounding of 1 - z/2 carried along
    let tail = (z * z).mul_add(polynomial(z, &COSINE), -(r * low));
    let cos = w + (((all(1.0) - w) - half) + tail);
    let value = if n & 1 == 0 { sin.0[0] } else { cos.0[0] };
    Vector([f64::from_bits(value.to_bits() ^ ((n & 2) << 62))])
}

/// The tangent of `n` quarter turns and `r + low`: for odd `n`, `-1 / tan(r + low)`, with one step of correction.
#[inline(always)]
fn tangent_of_parts(n: u64, r: V<1>, low: V<1>) -> V<1> {
    let z = r * r;
    // tan(r + low) = tan r + low (1 + tan^2 r), for which few digits will do.
    let slope = z.mul_add(z.mul_add(all(2.0 / 3.0), all(1.0)), all(1.0));
    let (t, t_low) = fast_two_sum(r, (z * r).mul_add(polynomial(z, &TANGENT), low * slope));
    let q = all::<1>(-1.0) / t;
    let rest = q.mul_add(t_low, q.mul_add(t, all(1.0)));
    let inverse = q.mul_add(rest, q);
    let odd = (n & 1).wrapping_neg();
    Vector([f64::from_bits(inverse.0[0].to_bits() & odd | t.0[0].to_bits() & !odd)])
}

/// `x` as quarter turns, whose number stands in the low bits of the first part of the result, and a rest in two parts, for
/// `|x| <= FAR`.
#[inline(always)]
fn reduced(x: V<1>) -> (u64, V<1>, V<1>) {
    let shifted = x.mul_add(all(std::f64::consts::FRAC_2_PI), all(ROUNDER));
    let n = shifted - all(ROUNDER);
    // Exact: both terms are multiples of 2^-54, and their difference is below 1.
    let first = (-n).mul_add(all(HALF_PI[0]), x);
    // The second part of the multiple has bits only below those of the first: r + lost is exact even if little is left.
    let (second, second_low) = two_product(-n, all(HALF_PI[1]));
    let (r, lost) = fast_two_sum(first, second);
    let low = (-n).mul_add(all(HALF_PI[2]), lost + second_low);
    (shifted.0[0].to_bits(), r, low)
}

/// The sine of `x` turned by `turn` quarter turns, for `|x| <= FAR`.
#[inline(always)]
fn near(x: V<1>, turn: u64) -> V<1> {
    let (n, r, low) = reduced(x);
    of_parts(n.wrapping_add(turn), r, low)
}

/// [`near`] on every lane, and [`far`] where it is needed. A loop over lanes: the compiler makes better vectors of it
/// than of loops over vectors one step at a time.
#[inline(always)]
fn sine<const N: usize>(x: V<N>, turn: u64) -> V<N> {
    let mut y = x;
    let mut largest = 0;
    for i in 0..N {
        y.0[i] = near(Vector([x.0[i]]), turn).0[0];
        largest = largest.max(x.0[i].abs().to_bits());
    }
    let of_far = |x: f64| {
        let (n, r, low) = far(x);
        of_parts(n.wrapping_add(turn), Vector([r]), Vector([low])).0[0]
    };
    if largest > FAR.to_bits() { patched(x, y, |x| x.abs() > FAR, of_far) } else { y }
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

/// True beyond [`FAR`], and for what is not a number.
#[inline(always)]
pub fn is_far(x: f64) -> bool {
    x.abs().to_bits() > FAR.to_bits()
}

/// The sine of `x` turned by `turn` quarter turns, of an argument that is not far.
#[inline(always)]
pub fn near_sine(x: f64, turn: u32) -> f64 {
    let value = near(Vector([x]), turn.into()).0[0];
    // Keeps the sign of zero, which the reduction loses.
    if turn == 0 && x == 0.0 { x } else { value }
}

/// The tangent of an argument that is not far.
#[inline(always)]
pub fn near_tangent(x: f64) -> f64 {
    let (n, r, low) = reduced(Vector([x]));
    let value = tangent_of_parts(n, r, low).0[0];
    // Keeps the sign of zero, which the reduction loses.
    if x == 0.0 { x } else { value }
}

/// Sine of an angle in radians.
#[inline(always)]
pub fn sin<const N: usize>(x: V<N>) -> V<N> {
    // Keeps the sign of zero, which the reduction loses.
    Vector::blend(x.eq(all(0.0)), x, sine(x, 0))
}

/// Cosine of an angle in radians: the sine a quarter turn on.
#[inline(always)]
pub fn cos<const N: usize>(x: V<N>) -> V<N> {
    sine(x, 1)
}

/// Tangent of an angle in radians.
#[inline(always)]
pub fn tan<const N: usize>(x: V<N>) -> V<N> {
    let y = x.map(near_tangent);
    let of_far = |x: f64| {
        let (n, r, low) = far(x);
        tangent_of_parts(n, Vector([r]), Vector([low])).0[0]
    };
    let has_far = x.0.iter().any(|&x| is_far(x));
    if has_far { patched(x, y, is_far, of_far) } else { y }
}
