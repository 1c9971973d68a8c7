//! The regularized incomplete gamma functions: a power series below `a + 1`, a continued fraction above, and for great `a`, for
//! which both take many steps, an expansion about the error function.

use std::f64::consts::PI;

/// `P(a, x)`, the part of the integral of `t^(a - 1) e^-t` below `x`.
pub fn lower(a: f64, x: f64) -> f64 {
    at_ends(a, x).unwrap_or_else(|| match a {
        GREAT.. => uniform(a, x, -1.0),
        _ if x < a + 1.0 => series(a, x),
        _ => 1.0 - fraction(a, x),
    })
}

/// `Q(a, x)`, the part above `x`.
pub fn upper(a: f64, x: f64) -> f64 {
    at_ends(a, x).map(|below| 1.0 - below).unwrap_or_else(|| match a {
        GREAT.. => uniform(a, x, 1.0),
        _ if x < a + 1.0 => 1.0 - series(a, x),
        _ => fraction(a, x),
    })
}

/// `P` where it is 0, 1, or nothing.
fn at_ends(a: f64, x: f64) -> Option<f64> {
    let is_nothing = a.is_nan() || x.is_nan() || a < 0.0 || x < 0.0;
    if is_nothing || a == 0.0 && x == 0.0 || a.is_infinite() && x.is_infinite() {
        return Some(f64::NAN);
    }
    if a == 0.0 || x.is_infinite() {
        return Some(1.0);
    }
    (x == 0.0 || a.is_infinite()).then_some(0.0)
}

/// `x^a e^-x / gamma(a + 1)`
fn head(a: f64, x: f64) -> f64 {
    if a < 10.0 {
        if x > 1000.0 {
            return 0.0;
        }
        let half = libm::exp(-x / 2.0);
        return libm::pow(x, a) * half * half / libm::tgamma(a + 1.0);
    }
    /// `B_2n / (2n (2n - 1))`
    const STIRLING: [f64; 7] =
        [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0, -691.0 / 360360.0, 1.0 / 156.0];
    let rest = STIRLING.iter().rev().fold(0.0, |sum, c| sum / (a * a) + c) / a;
    libm::exp(a * log_less((x - a) / a) - rest) / (2.0 * PI * a).sqrt()
}

/// `log(1 + m) - m`, exact for small `m`.
fn log_less(m: f64) -> f64 {
    if !(-0.5..=1.0).contains(&m) {
        return libm::log1p(m) - m;
    }
    // log(1 + m) = 2 (r + r^3 / 3 + r^5 / 5 + ...) with r = m / (2 + m), and 2 r - m = -m r
    let r = m / (2.0 + m);
    let series = (1..=18).rev().fold(0.0, |sum, n| sum * r * r + 1.0 / f64::from(2 * n + 1));
    2.0 * r * r * r * series - m * r
}

/// From here on [`uniform`] is exact.
const GREAT: f64 = 1e5;

/// `Q` where `side` is 1, `P` where it is -1, for great `a`: `erfc(side eta sqrt(a / 2)) / 2` and a rest of the order of
/// `1 / sqrt(a)`, where `eta^2 / 2 = m - log(1 + m)` with `m = (x - a) / a`, and `eta` has the sign of `m` (Temme 1979; DLMF
/// 8.12.3 to 8.12.12).
fn uniform(a: f64, x: f64, side: f64) -> f64 {
    /// The coefficients of `1 / a^k` in the rest, as series in `eta`. The rest is nothing where `eta` is not small.
    const REST: [&[f64]; 3] = [
        &[
            -1.0 / 3.0,
            1.0 / 12.0,
            -2.0 / 135.0,
            1.0 / 864.0,
            1.0 / 2835.0,
            -0.0001787551440329218,
            3.919263178522438e-5,
            -2.185448510679992e-6,
            -1.85406221071516e-6,
            8.296711340953086e-7,
            -1.7665952736826079e-7,
        ],
        &[-1.0 / 540.0, -1.0 / 288.0, 1.0 / 378.0, -77.0 / 77760.0],
        &[25.0 / 6048.0, -139.0 / 51840.0],
    ];
    let m = (x - a) / a;
    let half_square = -log_less(m);
    let eta = (2.0 * half_square).sqrt().copysign(m);
    let tail = libm::erfc(side * eta * (a / 2.0).sqrt()) / 2.0;
    let near = eta.clamp(-0.2, 0.2);
    let series = |c: &&[f64]| c.iter().rev().fold(0.0, |sum, c| sum * near + c);
    let rest = REST.iter().rev().fold(0.0, |sum, c| sum / a + series(c));
    tail + side * libm::exp(-a * half_square) / (2.0 * PI * a).sqrt() * rest
}

/// Steps that a series or a fraction is given to settle.
const STEPS: usize = 20_000;

/// `P` for `x < a + 1`.
fn series(a: f64, x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (1.0, 1.0, a);
    for _ in 0..STEPS {
        n += 1.0;
        term *= x / n;
        sum += term;
        if term <= sum * 1e-17 {
            break;
        }
    }
    head(a, x) * sum
}

/// `Q` for `x >= a + 1`: Legendre's continued fraction by Lentz's method.
fn fraction(a: f64, x: f64) -> f64 {
    let front = head(a, x) * a;
    if front == 0.0 {
        return 0.0;
    }
    let mut b = x + 1.0 - a;
    let mut c = f64::INFINITY;
    let mut d = 1.0 / b;
    let mut value = d;
    for n in 1..STEPS {
        let n = n as f64;
        let factor = -n * (n - a);
        b += 2.0;
        d = 1.0 / (factor * d + b);
        c = b + factor / c;
        value *= c * d;
        if (c * d - 1.0).abs() < 1e-16 {
            break;
        }
    }
    front * value
}
