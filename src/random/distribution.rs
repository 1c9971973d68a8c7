//! Distributions: what elements become of random words, as torch draws them.

use super::generator::{Generator, Stream, unit_f32, unit_f64};
use super::normal;
use crate::kernels::element::{Element, convert};
use crate::tensor::dtype::DType;

/// A distribution that fills memory.
pub trait Distribution {
    /// Fills `out`, the elements of a tensor as they lie in memory; `row_major` says whether that is the order of its
    /// indices.
    fn fill<T: Element>(&self, from: &Generator, out: &mut [T], row_major: bool);
}

/// Even numbers in `[low, high)`.
pub struct Uniform {
    /// The least of them.
    pub low: f64,
    /// Where they end.
    pub high: f64,
}

impl Distribution for Uniform {
    fn fill<T: Element>(&self, from: &Generator, out: &mut [T], _row_major: bool) {
        let (low, high) = (self.low as f32, self.high as f32);
        let width = high - low;
        let (first, end) = (T::from_f64(self.low), T::from_f64(self.high));
        match T::DTYPE {
            DType::F64 => {
                let width = self.high - self.low;
                from.fill(out, |_, word| T::from_f64(unit_f64(word).mul_add(width, self.low)));
            }
            DType::F32 if (low, high) == (0.0, 1.0) => from.fill(out, |_, word| T::from_f64(unit_f32(word).into())),
            DType::F32 => from.fill(out, |_, word| T::from_f64(unit_f32(word).mul_add(width, low).into())),
            // What is rounded up to the end begins anew.
            _ => from.fill(out, |_, word| {
                let x = T::from_f64(unit_f32(word).mul_add(width, low).into());
                if x >= end { first } else { x }
            }),
        }
    }
}

/// One with the probability `p`, else zero.
pub struct Bernoulli {
    /// The probability.
    pub p: f64,
}

impl Distribution for Bernoulli {
    fn fill<T: Element>(&self, from: &Generator, out: &mut [T], _row_major: bool) {
        from.fill(out, |_, word| T::from_i64((unit_f64(word) < self.p) as i64));
    }
}

/// As [`Bernoulli`], each element with a probability of its own.
pub fn bernoulli_each<T: Element, P: Element>(from: &Generator, out: &mut [T], p: &[P]) {
    if P::DTYPE == DType::F64 {
        from.fill(out, |n, word| T::from_i64((unit_f64(word) < p[n].to_f64()) as i64));
    } else {
        from.fill(out, |n, word| T::from_i64((f64::from(unit_f32(word)) < p[n].to_f64()) as i64));
    }
}

/// Waiting times between events that come at a rate: `-log(1 - u) / rate`.
pub struct Exponential {
    /// How many events a unit of time has.
    pub rate: f64,
}

impl Distribution for Exponential {
    fn fill<T: Element>(&self, from: &Generator, out: &mut [T], _row_major: bool) {
        let scale = -1.0 / self.rate;
        from.fill(out, |_, word| T::from_f64(scale * (-unit_f64(word)).ln_1p()));
    }
}

/// How many trials of probability `p` until the first success: `ceil(log(u) / log(1 - p))`.
pub struct Geometric {
    /// The probability.
    pub p: f64,
}

impl Distribution for Geometric {
    fn fill<T: Element>(&self, from: &Generator, out: &mut [T], _row_major: bool) {
        let scale = (-self.p).ln_1p();
        from.fill(out, |_, word| convert((unit_f64(word).ln() / scale).ceil()));
    }
}

/// `median + sigma tan(pi (u - 1/2))`.
pub struct Cauchy {
    /// The number that half of them are below.
    pub median: f64,
    /// The distance from the median within which half of them are.
    pub sigma: f64,
}

impl Distribution for Cauchy {
    fn fill<T: Element>(&self, from: &Generator, out: &mut [T], _row_major: bool) {
        let at = |u: f64| (std::f64::consts::PI * (u - 0.5)).tan().mul_add(self.sigma, self.median);
        from.fill(out, |_, word| T::from_f64(at(unit_f64(word))));
    }
}

/// Normal numbers: by pairs in blocks of 16 where the order in memory is that of the indices, else one after another.
pub struct Normal {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub std: f64,
}

impl Distribution for Normal {
    fn fill<T: Element>(&self, from: &Generator, out: &mut [T], row_major: bool) {
        if row_major && out.len() >= normal::BLOCK {
            return normal::fill_blocks(from, out, self.mean, self.std);
        }
        one_by_one(from, out, |stream| stream.normal().mul_add(self.std, self.mean));
    }
}

/// `exp` of normal numbers.
pub struct LogNormal {
    /// The mean of the logarithms.
    pub mean: f64,
    /// Their standard deviation.
    pub std: f64,
}

impl Distribution for LogNormal {
    fn fill<T: Element>(&self, from: &Generator, out: &mut [T], _row_major: bool) {
        one_by_one(from, out, |stream| stream.normal().mul_add(self.std, self.mean).exp());
    }
}

fn one_by_one<T: Element>(from: &Generator, out: &mut [T], next: impl Fn(&mut Stream) -> f64) {
    let mut stream = from.lock();
    out.iter_mut().for_each(|x| *x = T::from_f64(next(&mut stream)));
}

/// Integers from `base` on, `range` of them; 0 stands for all 2^64.
pub struct Integers {
    /// The first.
    pub base: i64,
    /// How many.
    pub range: u64,
}

impl Distribution for Integers {
    fn fill<T: Element>(&self, from: &Generator, out: &mut [T], _row_major: bool) {
        let Integers { base, range } = *self;
        let at = |n: u64| T::from_i64((n as i64).wrapping_add(base));
        match range {
            0 => from.fill(out, |_, word: u64| at(word)),
            // So that the remainder is even enough.
            _ if range >= 1 << 28 => from.fill(out, |_, word: u64| at(word % range)),
            _ => from.fill(out, |_, word: u32| at(u64::from(word % range as u32))),
        }
    }
}

/// Integers from zero to the greatest; for floats to the last up to which all integers are floats.
pub struct AnyInteger;

impl Distribution for AnyInteger {
    fn fill<T: Element>(&self, from: &Generator, out: &mut [T], _row_major: bool) {
        let below: u64 = match T::DTYPE {
            DType::Bool => 2,
            DType::F16 | DType::BF16 | DType::F32 | DType::F64 => (1 << mantissa(T::DTYPE)) + 1,
            DType::U8 => 1 << 8,
            other => 1 << (8 * other.size() - 1),
        };
        if T::DTYPE.size() == 8 {
            from.fill(out, |_, word: u64| T::from_i64((word % below) as i64));
        } else {
            from.fill(out, |_, word: u32| T::from_i64(i64::from(word) % below as i64));
        }
    }
}

/// The bits of a float's mantissa, the hidden one counted: up to two to this power every integer is a float.
pub fn mantissa(dtype: DType) -> u32 {
    match dtype {
        DType::F16 => 11,
        DType::BF16 => 8,
        DType::F32 => f32::MANTISSA_DIGITS,
        _ => f64::MANTISSA_DIGITS,
    }
}
