//! The regularized incomplete gamma functions of numbers side by side, in float64 to the digits that float32 asks for.

use super::V;
use super::gamma::of_positive;
use super::wide::{Wide, exp2, log2, wide};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::incomplete;
use crate::kernels::vector::{Vector, VectorMask};

/// What a step may change at the last, of what it changes.
const CLOSE: f64 = 1e-11;
/// Pairs of steps after which a series or a fraction of the numbers near has settled.
const PAIRS: usize = 100;

/// True for the numbers that logarithms and powers to the digits of float32 are enough for.
#[inline(always)]
fn is_near(a: f32, x: f32) -> bool {
    (0.03125..64.0).contains(&a) && x > 0.0 && x < 256.0
}

#[inline(always)]
fn any<const N: usize>(mask: VectorMask<N>) -> bool {
    mask.0.iter().fold(false, |any, &holds| any | holds)
}

/// The sum of `x^n / ((a + 1) ... (a + n))`, where it is asked for, over one denominator, as divisions take longest: each
/// element's ends when it has settled, so that those beside it change nothing.
#[inline(always)]
fn series<const N: usize>(a: Wide<N>, x: Wide<N>, asked: VectorMask<N>) -> Wide<N> {
    let one = wide(1.0);
    let (mut sum, mut product, mut power, mut n) = (one, one, Vector::blend(asked, one, wide(0.0)), a);
    for _ in 0..PAIRS {
        let moves = (sum * wide(CLOSE)).lt(power);
        if !any(moves) {
            break;
        }
        let (first, second) = (n + one, n + wide(2.0));
        let once = power * x;
        let twice = once * x;
        let further = sum.mul_add(first, once).mul_add(second, twice);
        sum = Vector::blend(moves, further, sum);
        product = Vector::blend(moves, product * (first * second), product);
        power = Vector::blend(moves, twice, power);
        n = second;
    }
    sum / product
}

/// Legendre's continued fraction, where it is asked for, as above: the numerators and denominators of its convergents.
#[inline(always)]
fn fraction<const N: usize>(a: Wide<N>, x: Wide<N>, asked: VectorMask<N>) -> Wide<N> {
    let (zero, one, two) = (wide(0.0), wide(1.0), wide(2.0));
    let mut b = x + one - a;
    // The last convergent and the one before it. They are the same where nothing is asked for.
    let mut before = [Vector::blend(asked, zero, one), one];
    let mut last = [one, Vector::blend(asked, b, one)];
    for pair in 0..PAIRS {
        let (here, there) = (last[0] * before[1], before[0] * last[1]);
        let moves = (here.abs() * wide(CLOSE)).lt((here - there).abs());
        if !any(moves) {
            break;
        }
        let n = wide((2 * pair + 1) as f64);
        let factors = [n * (a - n), (n + one) * (a - n - one)];
        let bs = [b + two, b + wide(4.0)];
        for side in 0..2 {
            let once = factors[0].mul_add(before[side], bs[0] * last[side]);
            let twice = factors[1].mul_add(last[side], bs[1] * once);
            before[side] = Vector::blend(moves, once, before[side]);
            last[side] = Vector::blend(moves, twice, last[side]);
        }
        b = bs[1];
    }
    last[0] / last[1]
}

/// `P(a, x)`, or `Q(a, x)` for `UPPER`.
#[inline(always)]
fn part<const N: usize, const UPPER: bool>(a: V<N>, x: V<N>) -> V<N> {
    let near = a.compare(x, is_near);
    // Numbers that are not near have a way of their own; here stand others for them.
    let of_near = |v: V<N>| Vector::blend(near, v, Vector::splat(1.0)).map(f64::from);
    let (wide_a, wide_x) = (of_near(a), of_near(x));
    let is_below = wide_x.lt(wide_a + wide(1.0));
    // x^a e^-x / gamma(a + 1)
    let gamma = of_positive(wide_a + wide(1.0)) + wide_x;
    // Far below all numbers of the result's type the exponential's own bound is near.
    let power = wide_a.mul_add(log2(wide_x), -(gamma * wide(std::f64::consts::LOG2_E)));
    let head = exp2(Vector::blend(power.lt(wide(-900.0)), wide(-900.0), power));
    let lower = head * series(wide_a, wide_x, is_below);
    let upper = head * wide_a * fraction(wide_a, wide_x, !is_below);
    let y = match UPPER {
        false => Vector::blend(is_below, lower, wide(1.0) - upper),
        true => Vector::blend(is_below, wide(1.0) - lower, upper),
    };
    let far = if UPPER { incomplete::upper } else { incomplete::lower };
    let mut y = y.map(|y| y as f32);
    for i in 0..N {
        if !near.0[i] {
            y.0[i] = far(a.0[i].into(), x.0[i].into()) as f32;
        }
    }
    y
}

/// Lower regularized incomplete gamma function of `x` and `other`.
#[inline(always)]
pub fn igamma<const N: usize>(x: V<N>, other: V<N>) -> V<N> {
    part::<N, false>(x, other)
}

/// Upper regularized incomplete gamma function of `x` and `other`.
#[inline(always)]
pub fn igammac<const N: usize>(x: V<N>, other: V<N>) -> V<N> {
    part::<N, true>(x, other)
}
