//! Random numbers into a tensor that is there: each changes all elements, in the order in which they lie in memory, so that
//! the gradient of what was there is zero.

use super::random::{check_float, draw, fill, integers};
use super::registry::{Arguments, Output, operation};
use crate::error::{Error, Result};
use crate::random::distribution::{
    AnyInteger, Bernoulli, Cauchy, Distribution, Exponential, Geometric, LogNormal, Normal, Uniform,
};
use crate::tensor::dtype::DType;

/// Fills the first argument from the generator, argument `n`.
fn filled(a: &Arguments, node: &'static str, n: usize, numbers: &impl Distribution) -> Result<Output> {
    let (target, from) = (a.tensor(0)?, a.generator(n)?);
    Ok(fill(a.op, node, target, |t| draw(a.op, t, from, numbers))?.into())
}

/// An error where a parameter of a distribution is out of its range; NaN is in none.
pub(super) fn check(op: &'static str, holds: bool, expected: &str, given: f64) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Invalid { op, what: format!("expects {expected}, but found {given}") }) }
}

/// As [`check_float`], with the class of error that torch raises for continuous distributions.
fn check_continuous(op: &'static str, dtype: DType) -> Result<()> {
    let rule = "a continuous distribution needs a floating point dtype";
    if dtype.is_floating_point() { Ok(()) } else { Err(Error::DTypeInvalid { op, dtype, rule }) }
}

operation! {
    /// Even random numbers in `[from, to)`: torch's for the same seed. For floats.
    ///
    /// Raises: RuntimeError where `from` is greater than `to`, and where the dtype does not hold them or their
    /// distance.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.zeros(3).uniform_(-1, 1)
    /// tensor([-0.0075,  0.5364, -0.8230])
    function Same(Floats -> Kept), ["Tensor.uniform_(Tensor self, Number from=0, Number to=1, *, Generator? generator=None)"], |_, a| {
        let (low, high) = (a.float(1)?, a.float(2)?);
        let dtype = a.tensor(0)?.dtype();
        check_float(a.op, dtype)?;
        let greatest = match dtype {
            DType::F16 => 65504.0,
            DType::BF16 => f64::from(f32::from_bits(0x7f7f_0000)),
            DType::F32 => f64::from(f32::MAX),
            _ => f64::MAX,
        };
        for bound in [low, high] {
            check(a.op, bound.abs() <= greatest, &format!("bounds that {dtype} holds"), bound)?;
        }
        check(a.op, low <= high, &format!("from={low} to be at most to"), high)?;
        check(a.op, high - low <= greatest, &format!("to - from to be a {dtype}"), high - low)?;
        filled(a, "UniformBackward0", 3, &Uniform { low, high })
    }
}

operation! {
    /// Random numbers of the normal distribution: torch's for the same seed. For floats.
    ///
    /// Raises: RuntimeError where `std` is negative.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.zeros(3).normal_(5, 2)
    /// tensor([8.0820, 4.4131, 0.6424])
    function Same(Floats -> Kept), ["Tensor.normal_(Tensor self, Number mean=0, Number std=1, *, Generator? generator=None)"], |_, a| {
        let (mean, std) = (a.float(1)?, a.float(2)?);
        check(a.op, std >= 0.0, "std >= 0.0", std)?;
        check_float(a.op, a.tensor(0)?.dtype())?;
        filled(a, "NormalBackward0", 3, &Normal { mean, std })
    }
}

operation! {
    /// Waiting times `-log(1 - u) / lambd` between events that come at the rate `lambd`: torch's for the same seed. For
    /// floats.
    ///
    /// Raises: RuntimeError where the rate is not positive.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.zeros(3).exponential_(2)
    /// tensor([1.7542, 0.6152, 0.3075])
    function Same(Floats -> Kept), ["Tensor.exponential_(Tensor self, Number lambd=1, *, Generator? generator=None)"], |_, a| {
        let rate = a.float(1)?;
        check(a.op, rate > 0.0, "lambda > 0.0", rate)?;
        check_continuous(a.op, a.tensor(0)?.dtype())?;
        filled(a, "ExponentialBackward0", 2, &Exponential { rate })
    }
}

operation! {
    /// How many trials of probability `p` it takes until the first success, 1 at the least: torch's for the same seed.
    /// For all dtypes but bool; what an integer dtype does not hold wraps.
    ///
    /// Raises: RuntimeError where `p` is not between 0 and 1.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.zeros(3).geometric_(0.3)
    /// tensor([1., 1., 3.])
    function Same(Numbers -> Kept), ["Tensor.geometric_(Tensor self, Number p, *, Generator? generator=None)"], |_, a| {
        let p = a.float(1)?;
        check(a.op, 0.0 < p && p < 1.0, "p to be in (0, 1)", p)?;
        a.tensor(0)?.dtype().require_numbers(a.op)?;
        filled(a, "GeometricBackward0", 2, &Geometric { p })
    }
}

operation! {
    /// Random numbers `median + sigma tan(pi (u - 1/2))` of the Cauchy distribution: torch's for the same seed. For floats.
    ///
    /// Raises: RuntimeError where `sigma` is not positive.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.zeros(3).cauchy_()
    /// tensor([10.5977,  0.7648, -0.1283])
    function Same(Floats -> Kept), ["Tensor.cauchy_(Tensor self, Number median=0, Number sigma=1, *, Generator? generator=None)"], |_, a| {
        let (median, sigma) = (a.float(1)?, a.float(2)?);
        check(a.op, sigma > 0.0, "sigma > 0.0", sigma)?;
        check_continuous(a.op, a.tensor(0)?.dtype())?;
        filled(a, "CauchyBackward0", 3, &Cauchy { median, sigma })
    }
}

operation! {
    /// `exp(z)` of normal numbers `z` of the given mean and deviation: torch's for the same seed. For floats.
    ///
    /// Raises: RuntimeError where `std` is not positive.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.zeros(3).log_normal_(0, 0.5)
    /// tensor([2.1608, 0.8635, 0.3364])
    function Same(Floats -> Kept), ["Tensor.log_normal_(Tensor self, Number mean=1, Number std=2, *, Generator? generator=None)"], |_, a| {
        let (mean, std) = (a.float(1)?, a.float(2)?);
        check(a.op, std > 0.0, "std > 0.0", std)?;
        check_float(a.op, a.tensor(0)?.dtype())?;
        filled(a, "LogNormalBackward0", 3, &LogNormal { mean, std })
    }
}

operation! {
    /// Random integers from `from` to below `to`, all alike: torch's for the same seed. Without `to` up to the greatest
    /// number of an integer dtype, and up to the last from which on not all integers are floats.
    ///
    /// Raises: RuntimeError where there is none to draw, and where the dtype does not hold them.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.zeros(3).random_(10)
    /// tensor([4., 9., 3.])
    function Same(Numbers -> Kept), [
        "Tensor.random_(Tensor self, *, Generator? generator=None)",
        "Tensor.random_(Tensor self, int from, int? to, *, Generator? generator=None)",
        "Tensor.random_(Tensor self, int to, *, Generator? generator=None)"
    ], |n, a| {
        let dtype = a.tensor(0)?.dtype();
        match n {
            0 => filled(a, "RandomBackward2", 1, &AnyInteger),
            1 => {
                let to = a.maybe_int(2)?.map(|to| to as i64);
                filled(a, "RandomBackward0", 3, &integers(a.op, a.int(1)? as i64, to, dtype)?)
            }
            _ => filled(a, "RandomBackward1", 2, &integers(a.op, 0, Some(a.int(1)? as i64), dtype)?),
        }
    }
}

/// The distribution of one with the probability `p`.
///
/// # Errors
/// For what is no probability.
pub(super) fn bernoulli(op: &'static str, p: f64) -> Result<Bernoulli> {
    check(op, (0.0..=1.0).contains(&p), "p to be in [0, 1]", p)?;
    Ok(Bernoulli { p })
}
