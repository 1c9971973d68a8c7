//! Parts of a tensor left out at random: torch's numbers for the same seed.

use smallvec::{SmallVec, smallvec};

use super::fillers::{bernoulli, check};
use super::random::{drawn, drawn_as};
use super::recorded::{Keep, Settings, record};
use super::registry::{Arguments, Output, operation};
use super::{arithmetic, batch, cast, inplace};
use crate::error::{Error, Result};
use crate::graph::forward;
use crate::graph::mode::no_grad;
use crate::random;
use crate::tensor::dtype::DType;
use crate::tensor::{Tensor, default_dtype};

/// What is left out, and what comes in its place.
#[derive(Clone, Copy)]
pub(super) struct Dropout {
    /// Whole channels, the first two dimensions, instead of elements.
    channels: bool,
    /// The least value of `selu` instead of zero, with mean and variance kept.
    alpha: bool,
}

pub(super) const ELEMENTS: Dropout = Dropout { channels: false, alpha: false };
pub(super) const CHANNELS: Dropout = Dropout { channels: true, alpha: false };
pub(super) const ALPHA: Dropout = Dropout { channels: false, alpha: true };
pub(super) const ALPHA_CHANNELS: Dropout = Dropout { channels: true, alpha: true };

impl Dropout {
    /// Runs on the arguments `input, p, train`.
    fn run(self, a: &Arguments, in_place: bool) -> Result<Output> {
        Ok(self.apply(a.op, a.tensor(0)?, a.float(1)?, a.bool(2)?, in_place)?.into())
    }

    /// The tensor with parts left out, or itself where there are none.
    ///
    /// # Errors
    /// For what is no probability, too few dimensions, and integers, which do not hold what is left.
    pub fn apply(self, op: &'static str, x: &Tensor, p: f64, train: bool, in_place: bool) -> Result<Tensor> {
        check(op, (0.0..=1.0).contains(&p), "the dropout probability to be between 0 and 1", p)?;
        if p == 0.0 || !train || x.numel() == 0 {
            return Ok(x.clone());
        }
        if in_place {
            inplace::check(op, forward::bottom(x))?;
        }
        let multiplied = |x: &Tensor, by: &Tensor| {
            if in_place { inplace::apply(op, x, &[by], &|x| arithmetic::mul(x, by)) } else { arithmetic::mul(x, by) }
        };
        if p == 1.0 {
            return multiplied(x, &Tensor::scalar(0i64, x.dtype())?);
        }
        let noise = self.noise(op, x, 1.0 - p)?;
        if !self.alpha {
            return multiplied(x, &arithmetic::div(&noise, 1.0 - p)?);
        }
        /// What `selu` goes to, but for its sign.
        const LEAST: f64 = 1.758_099_340_847_376_6;
        let scale = 1.0 / ((LEAST * LEAST * p + 1.0) * (1.0 - p)).sqrt();
        let less = arithmetic::mul(&arithmetic::add(&noise, -1i64)?, LEAST * scale)?;
        let shift = arithmetic::add(&less, LEAST * scale * p)?;
        let kept = multiplied(x, &arithmetic::mul(&noise, scale)?)?;
        if in_place {
            return inplace::apply(op, &kept, &[&shift], &|kept| arithmetic::add(kept, &shift));
        }
        arithmetic::add(&kept, &shift)
    }

    /// Ones with the probability `keep`, else zeros, that broadcast over `x`.
    fn noise(self, op: &'static str, x: &Tensor, keep: f64) -> Result<Tensor> {
        if !x.dtype().is_floating_point() {
            return Err(Error::ResultCast { op, result: default_dtype(), target: x.dtype() });
        }
        let (from, numbers) = (random::default(), bernoulli(op, keep)?);
        if !self.channels {
            return drawn_as(op, x, x.dtype(), from, &numbers);
        }
        if x.rank() < 2 {
            let what =
                format!("Feature dropout requires at least 2 dimensions in the input, got shape {:?}", x.shape());
            return Err(Error::Invalid { op, what });
        }
        let mut shape: SmallVec<[usize; 8]> = smallvec![1; x.rank()];
        shape[..2].copy_from_slice(&x.shape()[..2]);
        drawn(op, &shape, x.dtype(), from, &numbers)
    }
}

/// An operation and its in-place form.
macro_rules! dropouts {
    ($($(#[doc = $doc:literal])* $plain:literal, $(#[doc = $changed:literal])* $in_place:literal => $kind:expr;)*) => {$(
        operation! {
            $(#[doc = $doc])*
            function Same(Floats -> Kept), [$plain], |_, a| $kind.run(a, false)
        }
        operation! {
            $(#[doc = $changed])*
            function Same(Floats -> Kept), [$in_place], |_, a| $kind.run(a, true)
        }
    )*};
}

dropouts! {
    /// Leaves out elements: `y = x m / (1 - p)`, where `m` is 0 with the probability `p` and else 1. The input itself where
    /// not `train`. torch's for the same seed.
    ///
    /// Raises: RuntimeError where `p` is not between 0 and 1, and for integers.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.dropout(ferrograd.ones(4), 0.5, True)
    /// tensor([0., 0., 2., 0.])
    "dropout(Tensor input, Number p, bool train)",
    /// `dropout` in place.
    ///
    /// >>> x = ferrograd.ones(4); _ = ferrograd.manual_seed(0); _ = ferrograd.dropout_(x, 0.5, True)
    /// >>> x
    /// tensor([0., 0., 2., 0.])
    "dropout_(Tensor input, Number p, bool train)" => ELEMENTS;

    /// As `dropout`, for whole channels: all elements with the same first two indices stay or are left out.
    ///
    /// Raises: RuntimeError for less than two dimensions.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.feature_dropout(ferrograd.ones(1, 3, 2), 0.5, True)
    /// tensor([[[0., 0.],
    ///          [0., 0.],
    ///          [2., 2.]]])
    "feature_dropout(Tensor input, Number p, bool train)",
    /// `feature_dropout` in place.
    ///
    /// >>> x = ferrograd.ones(1, 3, 2); _ = ferrograd.manual_seed(0); _ = ferrograd.feature_dropout_(x, 0.5, True)
    /// >>> x
    /// tensor([[[0., 0.],
    ///          [0., 0.],
    ///          [2., 2.]]])
    "feature_dropout_(Tensor input, Number p, bool train)" => CHANNELS;

    /// As `dropout`, with the least value of `selu` in the place of what is left out, scaled and shifted so that a mean of
    /// 0 and a variance of 1 stay.
    ///
    /// Raises: RuntimeError where `p` is not between 0 and 1, and for integers.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.alpha_dropout(ferrograd.ones(4), 0.5, True)
    /// tensor([-0.7792, -0.7792,  1.6656, -0.7792])
    "alpha_dropout(Tensor input, Number p, bool train)",
    /// `alpha_dropout` in place.
    ///
    /// >>> x = ferrograd.ones(4); _ = ferrograd.manual_seed(0); _ = ferrograd.alpha_dropout_(x, 0.5, True)
    /// >>> x
    /// tensor([-0.7792, -0.7792,  1.6656, -0.7792])
    "alpha_dropout_(Tensor input, Number p, bool train)" => ALPHA;

    /// As `alpha_dropout`, for whole channels.
    ///
    /// Raises: RuntimeError for less than two dimensions.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.feature_alpha_dropout(ferrograd.ones(1, 3, 1), 0.5, True)
    /// tensor([[[-0.7792],
    ///          [-0.7792],
    ///          [ 1.6656]]])
    "feature_alpha_dropout(Tensor input, Number p, bool train)",
    /// `feature_alpha_dropout` in place.
    ///
    /// >>> x = ferrograd.ones(1, 3, 1); _ = ferrograd.manual_seed(0); _ = ferrograd.feature_alpha_dropout_(x, 0.5, True)
    /// >>> x
    /// tensor([[[-0.7792],
    ///          [-0.7792],
    ///          [ 1.6656]]])
    "feature_alpha_dropout_(Tensor input, Number p, bool train)" => ALPHA_CHANNELS;
}

operation! {
    /// As `dropout`, with the mask of what stays; one of ones where `train` is False.
    ///
    /// Dtypes: floating-point, kept; what is kept is marked in bool.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.native_dropout(ferrograd.ones(4), 0.5, True)[1]
    /// tensor([False, False,  True, False])
    function Same(Noted -> Noted), ["native_dropout(Tensor input, Number p, bool? train) -> (Tensor, Tensor)"], |_, a| {
        let (op, x, p) = (a.op, a.tensor(0)?, a.float(1)?);
        if x.numel() == 0 {
            return Ok([x.clone(), Tensor::uninitialized(op, x.shape(), x.dtype())?].into());
        }
        let train = a.is_none(2) || a.bool(2)?;
        let keep = if train { 1.0 - p } else { 1.0 };
        let numbers = bernoulli(op, keep)?;
        if train && !x.dtype().is_floating_point() {
            return Err(Error::ResultCast { op, result: default_dtype(), target: x.dtype() });
        }
        let mask = if train {
            drawn_as(op, x, DType::Bool, random::default(), &numbers)?
        } else {
            Tensor::ones(x.shape(), DType::Bool)?
        };
        let scale = if keep == 0.0 { 0.0 } else { 1.0 / keep };
        Ok([masked("NativeDropoutBackward0", x, &mask, scale)?, mask].into())
    }
}

/// `x mask scale`, whose gradient goes the same way.
fn masked(node: &'static str, x: &Tensor, mask: &Tensor, scale: f64) -> Result<Tensor> {
    if let Some(aligned) = batch::aligned(&[x, mask]) {
        let (both, level) = aligned?;
        return Ok(Tensor::batched(&masked(node, &both[0], &both[1], scale)?, level));
    }
    let times = || arithmetic::mul(&arithmetic::mul(x, mask)?, scale);
    let y = cast::to(&no_grad(times)?, x.dtype())?;
    let settings = || Settings { number: scale, ..Settings::default() };
    record(node, &y, &[x], &[Keep::Input(mask)], settings, |call| {
        let g = arithmetic::mul(&arithmetic::mul(&call.g, &call.saved[0])?, call.settings.number)?;
        Ok(smallvec![Some(g)])
    })?;
    Ok(y)
}
