//! The regularized incomplete gamma functions of numbers side by side, in float64 to the digits that float32 asks for.

use super::V;
use super::gamma::of_positive;
use super::wide::{Wide, exp2, log2, wide};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::incomplete;
use crate::kernels::vector::{Vector, VectorMask};

/// What a step may change at the last, of what it changes.
const CLOSE: f64 = 1e-12;
/// Steps after which a series or a fraction of the numbers near has settled.
const STEPS: usize = 500;

/// True for the numbers that logarithms and powers to the digits of float32 are enough for.
#[inline(always)]
fn is_near(a: f32, x: f32) -> bool {
    (0.03125..64.0).contains(&a) && x > 0.0 && x < 256.0
}

#[inline(always)]
fn any<const N: usize>(mask: VectorMask<N>) -> bool {
    mask.0.iter().fold(false, |any, &holds| any | holds)
}

/// The sum of `x^n / ((a + 1) ... (a + n))`, where it is asked for: each element's ends when it has settled, so that those
/// beside it change nothing.
#[inline(always)]
fn series<const N: usize>(a: Wide<N>, x: Wide<N>, asked: VectorMask<N>) -> Wide<N> {
    let (mut term, mut sum, mut n, mut moves) = (wide(1.0), wide(1.0), a, asked);
    for _ in 0..STEPS {
        if !any(moves) {
            break;
        }
        n = n + wide(1.0);
        term = term * (x / n);
        sum = Vector::blend(moves, sum + term, sum);
        moves = moves & (sum * wide(CLOSE)).lt(term);
    }
    sum
}

/// Legendre's continued fraction by Lentz's method, where it is asked for, as above.
#[inline(always)]
fn fraction<const N: usize>(a: Wide<N>, x: Wide<N>, asked: VectorMask<N>) -> Wide<N> {
    let one = wide(1.0);
    let mut b = x + one - a;
    let (mut c, mut d) = (wide(f64::INFINITY), one / b);
    let (mut value, mut moves) = (d, asked);
    for step in 1..STEPS {
        if !any(moves) {
            break;
        }
        let n = wide(step as f64);
        let factor = n * (a - n);
        b = b + wide(2.0);
        d = one / factor.mul_add(d, b);
        c = b + factor / c;
        let change = c * d;
        value = Vector::blend(moves, value * change, value);
        moves = moves & wide(CLOSE).lt((change - one).abs());
    }
    value
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
    let head = exp2(wide_a.mul_add(log2(wide_x), -(gamma * wide(std::f64::consts::LOG2_E))));
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
