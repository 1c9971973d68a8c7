//! Counts that follow a distribution with parameters of their own for each, drawn one after another.

use super::generator::Stream;
use crate::kernels::element::Element;

/// A number of the Poisson distribution of a rate: how many events happen in a time in which so many are expected.
pub fn poisson(stream: &mut Stream, rate: f64) -> f64 {
    if rate == 0.0 {
        return 0.0;
    }
    if rate < 10.0 {
        // Events until a product of even numbers falls below exp(-rate).
        let least = (-rate).exp();
        let (mut product, mut count) = (stream.unit(), 0.0);
        while product > least {
            product *= stream.unit();
            count += 1.0;
        }
        return count;
    }
    poisson_by_rejection(stream, rate)
}

/// Transformed rejection with squeeze, algorithm PTRS of Hörmann, "The transformed rejection method for generating Poisson
/// random variables" (1993).
fn poisson_by_rejection(stream: &mut Stream, rate: f64) -> f64 {
    if rate.is_infinite() {
        return f64::INFINITY;
    }
    let b = 0.931 + 2.53 * rate.sqrt();
    let a = -0.059 + 0.02483 * b;
    let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
    let squeeze = 0.9277 - 3.6224 / (b - 2.0);
    loop {
        let (u, v) = (stream.unit() - 0.5, stream.unit());
        let distance = 0.5 - u.abs();
        let k = floor((2.0 * a / distance + b) * u + rate + 0.43);
        if distance >= 0.07 && v <= squeeze {
            return k;
        }
        if k < 0.0 || distance < 0.013 && v > distance {
            continue;
        }
        let proposed = v.ln() + inverse_alpha.ln() - (a / (distance * distance) + b).ln();
        if proposed <= k * rate.ln() - rate - libm::lgamma(k + 1.0) {
            return k;
        }
    }
}

/// A number of the binomial distribution: how many of `count` trials of a probability succeed. The parameters are of type
/// `T`, and so is what is made of them alone.
pub fn binomial<T: Element>(stream: &mut Stream, count: f64, probability: f64) -> f64 {
    if count.is_nan() || probability.is_nan() {
        return f64::NAN;
    }
    if count <= 0.0 || probability <= 0.0 {
        return 0.0;
    }
    if probability >= 1.0 || count.is_infinite() {
        return count;
    }
    let rarer = if probability <= 0.5 { probability } else { rounded::<T>(1.0 - probability) };
    let successes = if rounded::<T>(count * rarer) >= 10.0 {
        by_rejection::<T>(stream, count, rarer)
    } else {
        by_waiting::<T>(stream, count, rarer)
    };
    if probability > 0.5 { count - successes } else { successes }
}

/// The greatest integer that is not greater, by instructions that every machine has, where the function of that name is a call.
#[inline]
fn floor(x: f64) -> f64 {
    /// From here on all numbers are integers.
    const WHOLE: f64 = (1u64 << 52) as f64;
    let cut = x as i64 as f64;
    if x.abs() < WHOLE { cut - f64::from(u8::from(cut > x)) } else { x }
}

fn rounded<T: Element>(x: f64) -> f64 {
    T::from_f64(x).to_f64()
}

/// Successes until the waiting times between them sum to more than there are trials.
fn by_waiting<T: Element>(stream: &mut Stream, count: f64, probability: f64) -> f64 {
    let scale = rounded::<T>((-probability).ln_1p());
    let (mut trials, mut successes) = (0.0, 0.0);
    loop {
        trials += -floor(-(stream.unit().ln() / scale));
        if trials > count {
            return successes;
        }
        successes += 1.0;
    }
}

/// Transformed rejection with squeeze, algorithm BTRS of Hörmann, "The generation of binomial random variates" (1993).
fn by_rejection<T: Element>(stream: &mut Stream, count: f64, probability: f64) -> f64 {
    let r = rounded::<T>;
    let expected = r(count * probability);
    let deviation = r(r(expected * r(1.0 - probability)).sqrt());
    let b = 1.15 + 2.53 * deviation;
    let a = -0.0873 + 0.0248 * b + 0.01 * probability;
    let squeeze = 0.92 - 4.2 / b;
    let odds = r(probability / r(1.0 - probability));
    let alpha = (2.83 + 5.1 / b) * deviation;
    let mode = r(r(count + 1.0) * probability).floor();
    let tails = |k: f64| stirling_tail(k) + stirling_tail(count - k);
    loop {
        let (u, v) = (stream.unit() - 0.5, stream.unit());
        let distance = 0.5 - u.abs();
        let k = r(floor((2.0 * a / distance + b) * u + expected + 0.5));
        if k < 0.0 || k > count {
            continue;
        }
        if distance >= 0.07 && v <= squeeze {
            return k;
        }
        let proposed = (v * alpha / (a / (distance * distance) + b)).ln();
        let bound = (mode + 0.5) * ((mode + 1.0) / (odds * (count - mode + 1.0))).ln()
            + (count + 1.0) * ((count - mode + 1.0) / (count - k + 1.0)).ln()
            + (k + 0.5) * (odds * (count - k + 1.0) / (k + 1.0)).ln()
            + tails(mode)
            - tails(k);
        if proposed <= bound {
            return k;
        }
    }
}

/// What Stirling's formula leaves of `log(k!)`: `log(k!) - (k + 1/2) log(k + 1) + k + 1 - log(2 pi) / 2`.
fn stirling_tail(k: f64) -> f64 {
    if k <= 9.0 {
        // The series is not exact enough here.
        let half_log = 0.5 * (2.0 * std::f64::consts::PI).ln();
        return libm::lgamma(k + 1.0) - (k + 0.5) * (k + 1.0).ln() + k + 1.0 - half_log;
    }
    let square = (k + 1.0) * (k + 1.0);
    (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / 1260.0 / square) / square) / (k + 1.0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_floor_is_the_greatest_integer_below() {
        for x in
            [0.0, 0.5, 1.0, -0.5, -1.0, -1.5, 4.0e15 + 0.5, -(4.0e15 + 0.5), 1e300, f64::INFINITY, f64::NEG_INFINITY]
        {
            assert_eq!(super::floor(x), x.floor(), "{x}");
        }
        assert!(super::floor(f64::NAN).is_nan());
    }
}
