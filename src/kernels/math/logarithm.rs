//! `log` and `log1p`: the series of `2 artanh`.

use super::{V, all, magnitude, polynomial, select, two_product, two_sum, whole};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::vector::Vector;

/// The upper 32 bits of `ln 2`: its product with an exponent is exact.
const LN2_HIGH: f64 = 0.6931471803691238;
/// `ln 2 - LN2_HIGH`
const LN2_LOW: f64 = 1.9082149292705877e-10;

/// `2/(2n+1)` from `n = 1`: `log((1+s)/(1-s)) = 2s + s z (2/3 + 2/5 z + ...)`, `z = s^2 <= 0.0295`.
const SERIES: [f64; 11] = [
    2.0 / 3.0,
    2.0 / 5.0,
    2.0 / 7.0,
    2.0 / 9.0,
    2.0 / 11.0,
    2.0 / 13.0,
    2.0 / 15.0,
    2.0 / 17.0,
    2.0 / 19.0,
    2.0 / 21.0,
    2.0 / 23.0,
];

/// Terms for an error below `2^-31` of the result: `0.0295^6 / 13 < 2^-33`.
const SINGLE_TERMS: usize = 5;

/// `x = 2^k m` with `m` between `sqrt(1/2)` and `sqrt(2)`, for positive normal `x`; gives `(k as bits, m)`.
#[inline(always)]
fn split<const N: usize>(x: V<N>) -> (Vector<u64, N>, V<N>) {
    const ONE: u64 = 1023 << 52;
    let offset = ONE - std::f64::consts::FRAC_1_SQRT_2.to_bits();
    let biased = x.map(|x| x.to_bits().wrapping_add(offset) >> 52);
    let m = x.zip(biased, |x, b| f64::from_bits(x.to_bits().wrapping_sub(b << 52).wrapping_add(ONE)));
    (biased.map(|b| b.wrapping_sub(1023)), m)
}

/// `k ln 2 + log(1 + f) + correction` for `1 + f` between `sqrt(1/2)` and `sqrt(2)`.
///
/// With `s = f / (2 + f)` and `h = f^2 / 2`, `log(1 + f) = f - (h - s (h + R))`, where `R` is the series: the large
/// terms are exact or carry their rounding into small ones.
#[inline(always)]
fn sum<const N: usize, const SINGLE: bool>(k: V<N>, f: V<N>, correction: V<N>) -> V<N> {
    let s = f / (f + all(2.0));
    let z = s * s;
    let terms = if SINGLE { SINGLE_TERMS } else { SERIES.len() };
    let series = z * polynomial(z, &SERIES[..terms]);
    let h = all(0.5) * f * f;
    let small = s.mul_add(h + series, k.mul_add(all(LN2_LOW), correction));
    k.mul_add(all(LN2_HIGH), f - (h - small))
}

/// `x` made normal, and the exponent that was taken away for it.
#[inline(always)]
fn normal<const N: usize>(x: V<N>) -> (V<N>, V<N>) {
    let tiny = x.lt(all(f64::MIN_POSITIVE));
    (select(tiny, x * all(18_014_398_509_481_984.0), x), select(tiny, all(54.0), all(0.0)))
}

/// Natural logarithm: `-inf` at zero, NaN below.
#[inline(always)]
pub fn log<const N: usize, const SINGLE: bool>(x: V<N>) -> V<N> {
    let (scaled, shift) = normal(x);
    let (k, m) = split(scaled);
    let y = sum::<N, SINGLE>(whole(k) - shift, m - all(1.0), all(0.0));
    edges(x, x, y)
}

/// `log(1 + x)`: the logarithm of the rounded `u = 1 + x`, corrected by what the rounding lost, `(x - (u - 1)) / u`.
#[inline(always)]
pub fn log1p<const N: usize, const SINGLE: bool>(x: V<N>) -> V<N> {
    let u = x + all(1.0);
    let (k, m) = split(u);
    let near = whole(k).eq(all(0.0));
    let lost = select(x.lt(all(1.0)), x - (u - all(1.0)), all(1.0) - (u - x));
    // Near 1 the argument itself is exact.
    let f = select(near, x, m - all(1.0));
    let y = sum::<N, SINGLE>(whole(k), f, select(near, all(0.0), lost / u));
    select(x.eq(all(0.0)), x, edges(u, x, y))
}

/// `y` within the domain, and the limits of `log(u)` outside of it; `x` is the argument as it was given.
#[inline(always)]
fn edges<const N: usize>(u: V<N>, x: V<N>, y: V<N>) -> V<N> {
    let y = select(u.eq(all(0.0)), all(f64::NEG_INFINITY), y);
    let y = select(u.lt(all(0.0)), all(f64::NAN), y);
    select(u.lt(all(f64::INFINITY)), y, x)
}

/// `log x` as an unevaluated sum with some 68 right bits, for positive finite `x`.
#[inline(always)]
pub(super) fn log_double<const N: usize>(x: V<N>) -> (V<N>, V<N>) {
    const LN2: (f64, f64) = (std::f64::consts::LN_2, 2.3190468138462996e-17);
    const THIRD: (f64, f64) = (1.0 / 3.0, 1.850371707708594e-17);
    let (scaled, shift) = normal(x);
    let (bits, m) = split(scaled);
    let k = whole(bits) - shift;
    // s = f / (2 + f) with the rest of the division; f and 2 + f are exact or nearly so.
    let f = m - all(1.0);
    let (d, d_low) = two_sum(all(2.0), f);
    let s = f / d;
    let s_low = ((-s).mul_add(d, f) - s * d_low) / d;
    // z = s^2, then 1 + z/3 + z^2 (1/5 + z/7 + ...), the first two terms in full.
    let (z, z_low) = two_product(s, s);
    let z_low = (s + s).mul_add(s_low, z_low);
    let (t, t_low) = two_product(z, all(THIRD.0));
    let t_low = t_low + z_low.mul_add(all(THIRD.0), z * all(THIRD.1));
    let tail = z * z * (all(0.5) * polynomial(z, &SERIES[1..]));
    let (t, t_lost) = two_sum(t, tail);
    let t_low = t_low + t_lost;
    // 2s (1 + t)
    let (two_s, two_s_low) = (s + s, s_low + s_low);
    let (p, p_low) = two_product(two_s, t);
    let p_low = p_low + two_s.mul_add(t_low, two_s_low * t);
    let (y, y_low) = two_sum(two_s, p);
    let y_low = y_low + (p_low + two_s_low);
    // k ln 2
    let (e, e_low) = two_product(k, all(LN2.0));
    let e_low = k.mul_add(all(LN2.1), e_low);
    let (high, low) = two_sum(e, y);
    two_sum(high, low + (e_low + y_low))
}

/// True where a number is zero or not finite: where a sum in two parts would give NaN.
#[inline(always)]
pub(super) fn is_degenerate<const N: usize>(x: V<N>) -> crate::kernels::vector::VectorMask<N> {
    x.eq(all(0.0)) | !magnitude(x).lt(all(f64::INFINITY))
}
