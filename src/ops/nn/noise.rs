//! Activations with noise: torch's numbers for the same seed.

use smallvec::smallvec;

use super::rectifier::MeanSlope;
use crate::error::{Error, Result};
use crate::graph::forward;
use crate::graph::mode::no_grad;
use crate::kernels::element::{Element, dispatch};
use crate::ops::fillers::check;
use crate::ops::random::{drawn, for_each_example};
use crate::ops::recorded::{Keep, Settings, record};
use crate::ops::registry::operation;
use crate::ops::{arithmetic, batch, copy, inplace, pointwise, scatter, softmax, sort, unary};
use crate::random::distribution::Exponential;
use crate::random::{self, Generator};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::storage::Access;

/// What is drawn from, and the bounds of the slopes.
struct Slopes<'a> {
    op: &'static str,
    lower: f64,
    upper: f64,
    /// None where the mean is taken.
    from: Option<&'a Generator>,
}

operation! {
    /// `x` where it is positive, else `a x` with a slope `a` that is evenly drawn from `[lower, upper)` for each element where
    /// `training`, else their mean: torch's for the same seed.
    ///
    /// Raises: RuntimeError where `lower` is greater than `upper` or either is not finite; NotImplementedError for
    /// integers.
    ///
    /// >>> ferrograd.rrelu(ferrograd.tensor([-1.0, 2.0]), 0.1, 0.3)
    /// tensor([-0.2000,  2.0000])
    function Same(Floats -> Kept), ["rrelu(Tensor input, Number lower=0.125, Number upper=0.3333333333333333, bool training=False, Generator? generator=None)"], |_, a| {
        let from = if a.bool(3)? { Some(a.generator(4)?) } else { None };
        Ok(Slopes { op: a.op, lower: a.float(1)?, upper: a.float(2)?, from }.rrelu(a.tensor(0)?)?.into())
    }
}

operation! {
    /// `rrelu` in place.
    ///
    /// >>> x = ferrograd.tensor([-1.0, 2.0])
    /// >>> _ = ferrograd.rrelu_(x, 0.1, 0.3)
    /// >>> x
    /// tensor([-0.2000,  2.0000])
    function Same(Floats -> Kept), ["rrelu_(Tensor input, Number lower=0.125, Number upper=0.3333333333333333, bool training=False, Generator? generator=None)"], |_, a| {
        let from = if a.bool(3)? { Some(a.generator(4)?) } else { None };
        Ok(Slopes { op: a.op, lower: a.float(1)?, upper: a.float(2)?, from }.rrelu_(a.tensor(0)?)?.into())
    }
}

operation! {
    /// `x` where it is positive, else `a x` with a slope `a` that is evenly drawn from `[lower, upper)` for each element while
    /// `training`, else their mean: torch's for the same seed.
    ///
    /// Raises: RuntimeError where `lower` is greater than `upper` or either is not finite; NotImplementedError for
    /// integers.
    ///
    /// >>> from ferrograd.nn import functional as F
    /// >>> F.rrelu(ferrograd.tensor([-1.0, 2.0]), 0.1, 0.3)
    /// tensor([-0.2000,  2.0000])
    function Same(Floats -> Kept), ["nn.rrelu(Tensor input, Number lower=0.125, Number upper=0.3333333333333333, bool training=False, bool inplace=False)"], |_, a| {
        let from = if a.bool(3)? { Some(random::default()) } else { None };
        let slopes = Slopes { op: a.op, lower: a.float(1)?, upper: a.float(2)?, from };
        Ok(if a.bool(4)? { slopes.rrelu_(a.tensor(0)?)? } else { slopes.rrelu(a.tensor(0)?)? }.into())
    }
}

operation! {
    /// `rrelu` in place.
    ///
    /// >>> x = ferrograd.tensor([-1.0, 2.0])
    /// >>> _ = ferrograd.nn.functional.rrelu_(x, 0.1, 0.3)
    /// >>> x
    /// tensor([-0.2000,  2.0000])
    function Same(Floats -> Kept), ["nn.rrelu_(Tensor input, Number lower=0.125, Number upper=0.3333333333333333, bool training=False)"], |_, a| {
        let from = if a.bool(3)? { Some(random::default()) } else { None };
        Ok(Slopes { op: a.op, lower: a.float(1)?, upper: a.float(2)?, from }.rrelu_(a.tensor(0)?)?.into())
    }
}

impl Slopes<'_> {
    fn rrelu(&self, x: &Tensor) -> Result<Tensor> {
        self.check(x)?;
        match self.from {
            Some(_) => for_each_example(self.op, &[x], |x| self.applied("RreluWithNoiseBackward0", &x[0])),
            None => pointwise::apply(MeanSlope::spec(), &[x.into(), ((self.lower + self.upper) / 2.0).into()]),
        }
    }

    fn rrelu_(&self, x: &Tensor) -> Result<Tensor> {
        self.check(x)?;
        let applied = |x: &Tensor| self.applied("RreluWithNoiseBackward1", x);
        inplace::apply(self.op, x, &[], &|x| match self.from {
            Some(_) => for_each_example(self.op, &[x], |x| applied(&x[0])),
            None => applied(x),
        })
    }

    fn check(&self, x: &Tensor) -> Result<()> {
        let Slopes { op, lower, upper, from } = *self;
        for (name, bound) in [("lower", lower), ("upper", upper)] {
            check(op, bound.is_finite(), &format!("a finite {name} bound"), bound)?;
        }
        check(op, lower <= upper, "the lower bound to be less than or equal to the upper bound", lower)?;
        let is_drawn_half = from.is_some() && x.dtype() == DType::F16;
        if !x.dtype().is_floating_point() || is_drawn_half {
            let hint = "use float32 or float64";
            return Err(Error::DTypeUnsupported { op, dtype: x.dtype(), hint });
        }
        Ok(())
    }

    fn applied(&self, node: &'static str, x: &Tensor) -> Result<Tensor> {
        scaled_by(node, x, &self.of(x)?)
    }

    /// The slope of each element: 1 where it is positive or NaN, else drawn or the mean.
    fn of(&self, x: &Tensor) -> Result<Tensor> {
        let value = forward::bottom(x);
        let elements = copy::to_contiguous(&value.detach())?;
        let noise = Tensor::uninitialized(self.op, value.shape(), x.dtype())?;
        let access = Access::lock([(&**noise.storage(), true), (&**elements.storage(), false)]);
        dispatch!(self.op, x.dtype(), T => {
            // SAFETY: both are contiguous and of this type, and their storages are locked.
            let (out, elements) = unsafe { (noise.elements_mut::<T>(), elements.elements::<T>()) };
            let mut stream = self.from.map(Generator::lock);
            let mut slope = || match &mut stream {
                Some(stream) => stream.unit().mul_add(self.upper - self.lower, self.lower),
                None => (self.lower + self.upper) / 2.0,
            };
            for (slot, x) in out.iter_mut().zip(elements) {
                *slot = T::from_f64(if x.to_f64() <= 0.0 { slope() } else { 1.0 });
            }
        });
        drop(access);
        Ok(batch::batched(noise, &batch::levels(x)))
    }
}

fn scaled_by(node: &'static str, x: &Tensor, noise: &Tensor) -> Result<Tensor> {
    if let Some(aligned) = batch::aligned(&[x, noise]) {
        let (both, level) = aligned?;
        return Ok(Tensor::batched(&scaled_by(node, &both[0], &both[1])?, level));
    }
    // As in torch in row-major order, which the noise has.
    let y = no_grad(|| arithmetic::mul(noise, x))?;
    record(node, &y, &[x], &[Keep::Input(noise)], Settings::default, |call| {
        Ok(smallvec![Some(arithmetic::mul(&call.g, &call.saved[0])?)])
    })?;
    Ok(y)
}

operation! {
    /// Samples of the Gumbel-softmax distribution: `softmax((logits + g) / tau)` along a dimension, with noise `g = -log(e)`
    /// of waiting times `e`; with `hard` the one-hot vector of the greatest, whose gradient is that of the sample. torch's for
    /// the same seed.
    ///
    /// `eps` has no effect.
    ///
    /// >>> from ferrograd.nn import functional as F
    /// >>> F.gumbel_softmax(ferrograd.zeros(2, 3), hard=True).sum(1)
    /// tensor([1., 1.])
    function Same(Floats -> Kept), ["nn.gumbel_softmax(Tensor logits, Number tau=1, bool hard=False, Number eps=1e-10, int dim=-1)"], |_, a| {
        let (op, logits, tau, dim) = (a.op, a.tensor(0)?, a.number(1)?, a.int(4)?);
        if !logits.dtype().is_floating_point() {
            let rule = "a continuous distribution needs a floating point dtype";
            return Err(Error::DTypeInvalid { op, dtype: logits.dtype(), rule });
        }
        let waits = Exponential { rate: 1.0 };
        let times = drawn(op, logits.shape(), logits.dtype(), random::default(), &waits)?;
        let noise = unary::log(&times)?;
        let soft = softmax::softmax(&arithmetic::div(&arithmetic::sub(logits, &noise)?, tau)?, dim, None)?;
        Ok(if a.bool(2)? { straight_through(&soft, dim)? } else { soft }.into())
    }
}

/// The one-hot vector of the greatest along a dimension, with the gradient of what it was made of.
fn straight_through(soft: &Tensor, dim: isize) -> Result<Tensor> {
    let plain = soft.detach();
    let [greatest, place] = sort::topk(&plain, 1, dim, true)?;
    let zeros = arithmetic::sub(&plain, &plain)?;
    let hard = scatter::scatter_add(&zeros, dim, &place, &arithmetic::div(&greatest, &greatest)?)?;
    arithmetic::add(&arithmetic::sub(&hard, &plain)?, soft)
}
