//! Functions of float64 numbers to some 95 bits, for tests: slow, and written another way than those under test.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// `high + low`, where `low` is what the rounding of the sum to float64 loses (Dekker 1971).
#[derive(Clone, Copy, Debug)]
pub struct Exact {
    pub high: f64,
    pub low: f64,
}

const ONE: Exact = Exact { high: 1.0, low: 0.0 };
const TWO: Exact = Exact { high: 2.0, low: 0.0 };
const LN2: Exact = Exact { high: std::f64::consts::LN_2, low: 2.3190468138462996e-17 };
/// `pi / 2` in three parts.
const HALF_PI: [f64; 3] = [std::f64::consts::FRAC_PI_2, 6.123233995736766e-17, -1.4973849048591698e-33];

fn two_sum(a: f64, b: f64) -> Exact {
    let high = a + b;
    let of_b = high - a;
    Exact { high, low: (a - (high - of_b)) + (b - of_b) }
}

fn two_product(a: f64, b: f64) -> Exact {
    let high = a * b;
    Exact { high, low: a.mul_add(b, -high) }
}

impl From<f64> for Exact {
    fn from(high: f64) -> Self {
        Exact { high, low: 0.0 }
    }
}

impl Add for Exact {
    type Output = Exact;
    fn add(self, other: Exact) -> Exact {
        let (s, t) = (two_sum(self.high, other.high), two_sum(self.low, other.low));
        let s = two_sum(s.high, s.low + t.high);
        two_sum(s.high, s.low + t.low)
    }
}

impl Neg for Exact {
    type Output = Exact;
    fn neg(self) -> Exact {
        Exact { high: -self.high, low: -self.low }
    }
}

impl Sub for Exact {
    type Output = Exact;
    fn sub(self, other: Exact) -> Exact {
        self + -other
    }
}

impl Mul for Exact {
    type Output = Exact;
    fn mul(self, other: Exact) -> Exact {
        let p = two_product(self.high, other.high);
        two_sum(p.high, p.low + (self.high * other.low + self.low * other.high))
    }
}

impl Div for Exact {
    type Output = Exact;
    fn div(self, other: Exact) -> Exact {
        let first = self.high / other.high;
        let rest = self - other * first.into();
        let second = rest.high / other.high;
        let third = (rest - other * second.into()).high / other.high;
        two_sum(first, second) + third.into()
    }
}

impl Exact {
    /// Times a power of two.
    fn scaled(self, power: f64) -> Exact {
        Exact { high: self.high * power, low: self.low * power }
    }

    /// How far a number is from this one, in units in its last place.
    pub fn ulps(self, found: f64) -> f64 {
        let size = self.high.abs();
        ((found - self.high) - self.low).abs() / (size.next_up() - size)
    }
}

/// `x + x^2/2! + ...` for `|x| < 0.36`: the series of `x / 2^8`, then `e^2x - 1 = t (t + 2)` eight times.
fn small_expm1(x: Exact) -> Exact {
    let x = x.scaled(1.0 / 256.0);
    let series = (1..=12).rev().fold(ONE, |sum, n| ONE + x * sum / f64::from(n + 1).into());
    (0..8).fold(x * series, |t, _| t * (t + TWO))
}

fn exp_of(x: Exact) -> Exact {
    let k = (x.high / LN2.high).round();
    let y = ONE + small_expm1(x - LN2 * k.into());
    // In two steps, as 2^k alone may leave the range.
    let half = (k / 2.0).trunc();
    y.scaled(half.exp2()).scaled((k - half).exp2())
}

pub fn exp(x: f64) -> Exact {
    exp_of(x.into())
}

fn expm1_of(x: Exact) -> Exact {
    if x.high.abs() < 0.34 { small_expm1(x) } else { exp_of(x) - ONE }
}

/// Below this size a function with slope 1 at zero is its argument, to more digits than are asked; its square would
/// leave the range.
const TINY: f64 = 1e-150;

pub fn expm1(x: f64) -> Exact {
    if x.abs() < TINY { x.into() } else { expm1_of(x.into()) }
}

/// `log(1 + f)`, for small `f` by `2 artanh(f / (2 + f))`, else by a step of Newton's method from the system's logarithm.
fn log_of_sum(f: Exact) -> Exact {
    if f.high.abs() < 0.1 {
        let s = f / (TWO + f);
        let z = s * s;
        let series = (0..20).rev().fold(Exact::from(0.0), |sum, n| sum * z + ONE / f64::from(2 * n + 1).into());
        return TWO * s * series;
    }
    let x = ONE + f;
    let near = x.high.ln();
    let off = x * exp_of((-near).into()) - ONE;
    Exact::from(near) + (off - (off * off).scaled(0.5))
}

pub fn log(x: f64) -> Exact {
    log_of_sum(two_sum(x, -1.0))
}

/// `x^y` for positive `x`.
pub fn pow(x: f64, y: f64) -> Exact {
    exp_of(log(x) * y.into())
}

pub fn log1p(x: f64) -> Exact {
    if x.abs() < TINY { x.into() } else { log_of_sum(x.into()) }
}

/// `sin(x + quarter pi/2)` for `|x| < 2^20`.
fn turned_sine(x: f64, quarter: i64) -> Exact {
    let k = (x / HALF_PI[0]).round();
    let r = HALF_PI.iter().fold(Exact::from(x), |r, &part| r - two_product(k, part));
    let z = -(r * r);
    let turn = (k as i64 + quarter).rem_euclid(4);
    let first = if turn % 2 == 0 { 1 } else { 0 };
    // 1 - r^2/2! ... or r - r^3/3! ...
    let series = (1..=15).rev().fold(ONE, |sum, n| {
        let n = f64::from(2 * n + first);
        ONE + z * sum / (n * (n - 1.0)).into()
    });
    let y = if turn % 2 == 0 { r * series } else { series };
    if turn < 2 { y } else { -y }
}

pub fn sin(x: f64) -> Exact {
    if x.abs() < TINY { x.into() } else { turned_sine(x, 0) }
}

pub fn cos(x: f64) -> Exact {
    turned_sine(x, 1)
}

pub fn tanh(x: f64) -> Exact {
    if x.abs() < TINY {
        return x.into();
    }
    let e = expm1_of(two_sum(x, x));
    e / (e + TWO)
}

pub fn sigmoid(x: f64) -> Exact {
    if x < 0.0 {
        let e = exp(x);
        return e / (ONE + e);
    }
    ONE / (ONE + exp(-x))
}

#[test]
fn the_functions_fit_together() {
    let ln2 = log(2.0);
    assert!(((ln2.high - LN2.high) + (ln2.low - LN2.low)).abs() < 1e-31);
    // The identities hold to far more digits than float64 has.
    for x in [0.01, 0.3, 0.7, 1.9, 13.0, 77.7] {
        let one = sin(x) * sin(x) + cos(x) * cos(x);
        assert!(((one.high - 1.0) + one.low).abs() < 1e-29);
        let back = log_of_sum(expm1(x));
        assert!(((back.high - x) + back.low).abs() < 1e-28);
        let both = sigmoid(x) + sigmoid(-x);
        assert!(((both.high - 1.0) + both.low).abs() < 1e-29);
    }
}
