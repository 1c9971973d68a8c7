//! Losses that compare a prediction with a target, element by element.

use smallvec::{SmallVec, smallvec};

use super::formulas::{CrossEntropy, Huber, Logits, PositiveLogits, Smooth, SoftMargin, Square, WeightedCrossEntropy};
use super::reduction::{Reduction, reduced, warn};
use crate::error::{Error, Result};
use crate::ops::arithmetic::{add, div, mul, sub};
use crate::ops::compare::{le, where_};
use crate::ops::formula::Operand;
use crate::ops::operands::promoted;
use crate::ops::pointwise::apply;
use crate::ops::registry::{Arguments, operation};
use crate::ops::{exponential, extremum, sum, unary, view};
use crate::tensor::Tensor;
use crate::tensor::layout::broadcast;

pub(super) fn invalid<T>(op: &'static str, what: String) -> Result<T> {
    Err(Error::Invalid { op, what })
}

/// An error of values, as torch raises it where Python checks the arguments.
pub(super) fn refused<T>(op: &'static str, what: String) -> Result<T> {
    Err(Error::Data { op, what })
}

/// A prediction and its target; a warning where their shapes differ: they broadcast, which is rarely meant.
fn compared<'a>(a: &'a Arguments) -> Result<(&'a Tensor, &'a Tensor)> {
    let (x, target) = (a.tensor(0)?, a.tensor(1)?);
    if x.shape() != target.shape() {
        warn(&format!(
            "Using a target size (torch.Size({:?})) that is different to the input size (torch.Size({:?})). This will \
             likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
            target.shape(),
            x.shape()
        ))?;
    }
    broadcast(a.op, x.shape(), target.shape())?;
    Ok((x, target))
}

/// An error for weights of another shape.
fn check_weight(op: &'static str, losses: &Tensor, weight: &Tensor) -> Result<()> {
    if weight.shape() == losses.shape() {
        return Ok(());
    }
    let (given, expected) = (weight.shape(), losses.shape());
    refused(op, format!("Weights and input must have the same size, got {given:?} and {expected:?}"))
}

/// The losses of single elements times weights, reduced: the mean is that of the weights' parts.
fn weighted(op: &'static str, losses: &Tensor, weight: &Tensor, reduction: Reduction) -> Result<Tensor> {
    check_weight(op, losses, weight)?;
    let losses = mul(losses, weight)?;
    match reduction {
        Reduction::Mean => div(&sum::sum(&losses, &[], false, None)?, &sum::sum(weight, &[], false, None)?),
        other => other.apply(&losses),
    }
}

operation! {
    /// `(x - t)^2`, element by element, and the mean or sum of it; with a weight for each element the weighted mean.
    ///
    /// `reduction` is `'none'`, `'mean'` or `'sum'`; `size_average` and `reduce` are its old names. Shapes
    /// that differ broadcast, with a warning.
    ///
    /// >>> ferrograd.nn.functional.mse_loss(ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([1.0, 4.0]))
    /// tensor(2.)
    function Loss(Floats -> Promoted), ["nn.mse_loss(Tensor input, Tensor target, bool? size_average=None, bool? reduce=None, str reduction='mean', Tensor? weight=None)"],
    |_, a| {
        let (reduction, (x, t)) = (Reduction::of(a, 2)?, compared(a)?);
        floats(a, x, t)?;
        let operands = [x.into(), t.into()];
        Ok(match a.maybe_tensor(5)? {
            Some(weight) => weighted(a.op, &apply(Square::spec(), &operands)?, weight, reduction)?,
            None => reduced(Square::spec(), &operands, reduction)?,
        }.into())
    }
}

/// An error for a prediction and a target of which neither is of floating-point numbers.
fn floats(a: &Arguments, x: &Tensor, t: &Tensor) -> Result<()> {
    let dtype = promoted(&[x.into(), t.into()]);
    if dtype.is_floating_point() {
        return Ok(());
    }
    Err(Error::NotImplemented { op: a.op, what: format!("a loss of {dtype}: it takes floating-point numbers; this") })
}

/// An error for a prediction that is not of floating-point numbers.
fn check_float(op: &'static str, x: &Tensor) -> Result<()> {
    if x.dtype().is_floating_point() {
        return Ok(());
    }
    Err(Error::DTypeInvalid { op, dtype: x.dtype(), rule: "expected floating-point numbers" })
}

operation! {
    /// `|x - t|`, element by element, and the mean or sum of it; with a weight for each element the weighted mean. The
    /// arguments are those of `mse_loss`.
    ///
    /// >>> ferrograd.nn.functional.l1_loss(ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([1.0, 4.0]))
    /// tensor(1.)
    function Loss(Floats -> Promoted), ["nn.l1_loss(Tensor input, Tensor target, bool? size_average=None, bool? reduce=None, str reduction='mean', Tensor? weight=None)"],
    |_, a| {
        let (reduction, (x, t)) = (Reduction::of(a, 2)?, compared(a)?);
        let losses = unary::abs(&sub(x, t)?)?;
        Ok(match a.maybe_tensor(5)? {
            Some(weight) => weighted(a.op, &losses, weight, reduction)?,
            None => reduction.apply(&losses)?,
        }.into())
    }
}

operation! {
    /// `d^2 / (2 beta)` where `|d| < beta`, else `|d| - beta / 2`, element by element with `d = x - t`, and the mean or sum of
    /// it. The other arguments are those of `mse_loss`.
    ///
    /// Raises: RuntimeError for a negative `beta`.
    ///
    /// >>> ferrograd.nn.functional.smooth_l1_loss(ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([1.5, 5.0]), reduction='none')
    /// tensor([0.1250, 2.5000])
    function Loss(Floats -> Promoted), ["nn.smooth_l1_loss(Tensor input, Tensor target, bool? size_average=None, bool? reduce=None, str reduction='mean', Number beta=1.0)"],
    |_, a| {
        let (reduction, (x, t), beta) = (Reduction::of(a, 2)?, compared(a)?, a.float(5)?);
        if beta == 0.0 {
            return Ok(reduction.apply(&unary::abs(&sub(x, t)?)?)?.into());
        }
        if beta < 0.0 {
            return invalid(a.op, format!("smooth_l1_loss does not support negative values for beta, got {beta}"));
        }
        floats(a, x, t)?;
        Ok(reduced(Smooth::spec(), &[x.into(), t.into(), beta.into()], reduction)?.into())
    }
}

operation! {
    /// `d^2 / 2` where `|d| <= delta`, else `delta (|d| - delta / 2)`, element by element with `d = x - t`, and the mean or sum
    /// of it; with a weight for each element that of the weighted losses.
    ///
    /// Raises: RuntimeError where `delta` is not positive.
    ///
    /// >>> ferrograd.nn.functional.huber_loss(ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([1.5, 5.0]), reduction='none')
    /// tensor([0.1250, 2.5000])
    function Loss(Floats -> Promoted), ["nn.huber_loss(Tensor input, Tensor target, str reduction='mean', Number delta=1.0, Tensor? weight=None)"],
    |_, a| {
        let (reduction, (x, t), delta) = (Reduction::word(a, 2)?, compared(a)?, a.float(3)?);
        if delta <= 0.0 {
            return invalid(a.op, format!("huber_loss does not support non-positive values for delta, got {delta}"));
        }
        floats(a, x, t)?;
        let operands = [x.into(), t.into(), delta.into()];
        Ok(match a.maybe_tensor(4)? {
            Some(weight) => {
                check_weight(a.op, x, weight)?;
                reduction.apply(&mul(&apply(Huber::spec(), &operands)?, weight)?)?
            }
            None => reduced(Huber::spec(), &operands, reduction)?,
        }.into())
    }
}

operation! {
    /// `-t log x - (1 - t) log(1 - x)` times a weight, element by element, with logarithms no less than -100, and the mean or
    /// sum of it. The arguments are those of `mse_loss`; `weight` broadcasts to the target.
    ///
    /// Raises: ValueError where the shapes differ; RuntimeError where `input` is not between 0 and 1.
    ///
    /// >>> ferrograd.nn.functional.binary_cross_entropy(ferrograd.tensor([0.5, 0.25]), ferrograd.tensor([1.0, 0.0]))
    /// tensor(0.4904)
    function Loss(Floats -> Shared), ["nn.binary_cross_entropy(Tensor input, Tensor target, Tensor? weight=None, bool? size_average=None, bool? reduce=None, str reduction='mean')"],
    |_, a| {
        let reduction = Reduction::of(a, 3)?;
        Ok(binary_cross_entropy(a.tensor(0)?, a.tensor(1)?, a.maybe_tensor(2)?, reduction)?.into())
    }
}

/// The cross entropy of probabilities and their targets.
///
/// # Errors
/// For shapes or dtypes that differ and numbers that are no probabilities.
pub fn binary_cross_entropy(x: &Tensor, t: &Tensor, weight: Option<&Tensor>, reduction: Reduction) -> Result<Tensor> {
    const OP: &str = "binary_cross_entropy";
    if x.shape() != t.shape() {
        let (target, input) = (t.shape(), x.shape());
        let what = format!(
            "Using a target size ({target:?}) that is different to the input size ({input:?}) is deprecated. Please ensure they have the same size."
        );
        return refused(OP, what);
    }
    if x.dtype() != t.dtype() {
        return invalid(OP, format!("Found dtype {} but expected {}", t.dtype(), x.dtype()));
    }
    if !x.dtype().is_floating_point() {
        return Err(Error::NotImplemented { op: OP, what: format!("probabilities of {}: this", x.dtype()) });
    }
    if x.batch().is_none() && x.numel() > 0 {
        let [least, greatest] = extremum::aminmax(&x.detach(), None, false)?.map(|t| t.item());
        let (least, greatest) = (least?.as_f64(), greatest?.as_f64());
        if !(least >= 0.0 && greatest <= 1.0) {
            return invalid(OP, format!("all elements of input should be between 0 and 1, got {least} to {greatest}"));
        }
    }
    match weight {
        None => reduced(CrossEntropy::spec(), &[x.into(), t.into()], reduction),
        Some(weight) => {
            let weight = view::expand(weight, &view::signed(t.shape()))?;
            reduced(WeightedCrossEntropy::spec(), &[x.into(), t.into(), (&weight).into()], reduction)
        }
    }
}

operation! {
    /// The cross entropy of `sigmoid(x)` and targets, without overflow: `(1 - t) x + (1 + (p - 1) t) log(1 + e^-x)` times a
    /// weight, where `p`, the weight of positive examples, broadcasts as the weight does; and the mean or sum of it. The other
    /// arguments are those of `mse_loss`.
    ///
    /// Raises: ValueError where the shapes of input and target differ.
    ///
    /// >>> ferrograd.nn.functional.binary_cross_entropy_with_logits(ferrograd.tensor([0.0, 2.0]), ferrograd.tensor([1.0, 0.0]))
    /// tensor(1.4100)
    function Loss(Floats -> Promoted), ["nn.binary_cross_entropy_with_logits(Tensor input, Tensor target, Tensor? weight=None, bool? size_average=None, bool? reduce=None, str reduction='mean', Tensor? pos_weight=None)"; also "package.binary_cross_entropy_with_logits"],
    |_, a| {
        let (reduction, x, t) = (Reduction::of(a, 3)?, a.tensor(0)?, a.tensor(1)?);
        if x.shape() != t.shape() {
            let (target, input) = (t.shape(), x.shape());
            return refused(a.op, format!("Target size ({target:?}) must be the same as input size ({input:?})"));
        }
        crate::ops::operands::real(a.op, x)?;
        let (spec, mut operands): (_, SmallVec<[Operand; 3]>) = (Logits::spec(), smallvec![x.into(), t.into()]);
        let spec = match a.maybe_tensor(6)? {
            None => spec,
            Some(positive) => {
                operands.push(positive.into());
                PositiveLogits::spec()
            }
        };
        Ok(match a.maybe_tensor(2)? {
            None => reduced(spec, &operands, reduction)?,
            Some(weight) => reduction.apply(&mul(&apply(spec, &operands)?, weight)?)?,
        }.into())
    }
}

operation! {
    /// `t (log t - x)` for the logarithm `x` of a prediction, element by element: the divergence of the target's distribution.
    /// With `log_target` the target is a logarithm too. `reduction='batchmean'` is the sum over the first size. The other
    /// arguments are those of `mse_loss`.
    ///
    /// >>> F = ferrograd.nn.functional
    /// >>> F.kl_div(ferrograd.tensor([[0.5, 0.5]]).log(), ferrograd.tensor([[0.25, 0.75]]), reduction='batchmean')
    /// tensor(0.1308)
    function Loss(Floats -> Promoted), ["nn.kl_div(Tensor input, Tensor target, bool? size_average=None, bool? reduce=None, str reduction='mean', bool log_target=False)"],
    |_, a| {
        let (reduction, x, t) = (Reduction::named(a, [2, 3, 4], Some("batchmean"))?, a.tensor(0)?, a.tensor(1)?);
        check_float(a.op, x)?;
        if reduction == Some(Reduction::Mean) {
            warn("reduction: 'mean' divides the total loss by both the batch size and the support size.'batchmean' divides only by the batch size, and aligns with the KL div math definition.'mean' will be changed to behave the same as 'batchmean' in the next major release.")?;
        }
        let losses = if a.bool(5)? {
            mul(&unary::exp(t)?, &sub(t, x)?)?
        } else {
            sub(&exponential::xlogy(t, t)?, &mul(t, x)?)?
        };
        Ok(match reduction {
            Some(reduction) => reduction.apply(&losses)?,
            None if x.rank() == 0 => Reduction::Sum.apply(&losses)?,
            None => div(&Reduction::Sum.apply(&losses)?, x.shape()[0] as f64)?,
        }.into())
    }
}

operation! {
    /// `log(1 + e^(-t x))` for targets 1 and -1, element by element, and the mean or sum of it. The arguments are those of
    /// `mse_loss`.
    ///
    /// >>> ferrograd.nn.functional.soft_margin_loss(ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([1.0, -1.0]))
    /// tensor(1.2201)
    function Loss(Floats -> Promoted), ["nn.soft_margin_loss(Tensor input, Tensor target, bool? size_average=None, bool? reduce=None, str reduction='mean')"],
    |_, a| {
        let (reduction, x, t) = (Reduction::of(a, 2)?, a.tensor(0)?, a.tensor(1)?);
        broadcast(a.op, x.shape(), t.shape())?;
        check_float(a.op, x)?;
        Ok(reduced(SoftMargin::spec(), &[x.into(), t.into()], reduction)?.into())
    }
}

operation! {
    /// The negative logarithm of Poisson's distribution: `e^x - t x` for the logarithm `x` of the rate, or with
    /// `log_input=False` `x - t log(x + eps)`, element by element; with `full` Stirling's formula for `log t!` is added where
    /// `t > 1`. The other arguments are those of `mse_loss`.
    ///
    /// >>> ferrograd.nn.functional.poisson_nll_loss(ferrograd.tensor([0.0, 1.0]), ferrograd.tensor([2.0, 1.0]))
    /// tensor(1.3591)
    function Loss(Numbers -> Float), ["nn.poisson_nll_loss(Tensor input, Tensor target, bool log_input=True, bool full=False, bool? size_average=None, Number eps=1e-08, bool? reduce=None, str reduction='mean')"],
    |_, a| {
        let reduction = Reduction::named(a, [4, 6, 7], None)?.unwrap_or(Reduction::Mean);
        let (x, t) = (a.tensor(0)?, a.tensor(1)?);
        let mut losses = if a.bool(2)? {
            sub(&unary::exp(x)?, &mul(t, x)?)?
        } else {
            sub(x, &mul(t, &unary::log(&add(x, a.float(5)?)?)?)?)?
        };
        if a.bool(3)? {
            losses = add(&losses, &stirling(t)?)?;
        }
        Ok(reduction.apply(&losses)?.into())
    }
}

/// `t log t - t + log(2 pi t) / 2`, Stirling's formula for `log t!`, where `t > 1`, else 0.
fn stirling(t: &Tensor) -> Result<Tensor> {
    let half = mul(&unary::log(&mul(t, 2.0 * std::f64::consts::PI)?)?, 0.5)?;
    let value = add(&sub(&mul(t, &unary::log(t)?)?, t)?, &half)?;
    where_(&le(t, 1)?, 0, &value)
}

operation! {
    /// The negative logarithm of a normal distribution with mean `input` and variance `var`, element by element:
    /// `(log v + (x - t)^2 / v) / 2` with `v = max(var, eps)`, and `log(2 pi) / 2` more with `full`; and the mean or sum of it.
    /// The bound does not stop the gradient of the variance. `var` is a number, a tensor of the input's shape, or one without
    /// the last dimension, or with size 1 there.
    ///
    /// Raises: ValueError for a `var` of another shape or with negative variances, and for another reduction;
    /// RuntimeError for shapes that do not broadcast.
    ///
    /// Shapes: the operands broadcast; `var` may lack the last dimension; the result is `()`, or that where
    /// `reduction='none'`.
    ///
    /// >>> F = ferrograd.nn.functional
    /// >>> F.gaussian_nll_loss(ferrograd.tensor([0.0, 1.0]), ferrograd.tensor([1.0, 1.0]), ferrograd.tensor([1.0, 2.0]))
    /// tensor(0.4233)
    function Noted(Floats -> Promoted), ["nn.gaussian_nll_loss(Tensor input, Tensor target, Operand var, bool full=False, Number eps=1e-06, str reduction='mean')"],
    |_, a| {
        let (x, t, eps) = (a.tensor(0)?, a.tensor(1)?, a.float(4)?);
        check_float(a.op, x)?;
        let var = variance(a.op, x, a.operand(2)?)?;
        let reduction = Reduction::word(a, 5)?;
        let bounded = passed_on(&var, &|v| crate::ops::compare::clamp(v, Some(eps.into()), None))?;
        let apart = sub(x, t)?;
        let mut losses = mul(&add(&unary::log(&bounded)?, &div(&mul(&apart, &apart)?, &bounded)?)?, 0.5)?;
        if a.bool(3)? {
            losses = add(&losses, 0.5 * (2.0 * std::f64::consts::PI).ln())?;
        }
        Ok(reduction.apply(&losses)?.into())
    }
}

/// The variances of a call as a tensor that broadcasts with the input.
fn variance(op: &'static str, x: &Tensor, var: Operand) -> Result<Tensor> {
    let var = match var {
        Operand::Number(n) => {
            if n.as_f64() < 0.0 {
                return refused(op, "var has negative entry/entries".into());
            }
            Tensor::full(x.shape(), n, x.dtype())?
        }
        Operand::Tensor(t) => t.clone(),
    };
    let shape = x.shape();
    let fits = match shape.split_last() {
        _ if var.shape() == shape => Some(var.clone()),
        Some((_, front)) if front == var.shape() => Some(view::unsqueeze(&var, -1)?),
        Some((_, front)) if var.rank() == shape.len() && var.shape().split_last() == Some((&1, front)) => {
            Some(var.clone())
        }
        _ => None,
    };
    let Some(fits) = fits else {
        return refused(op, format!("var is of incorrect size: expected one like {shape:?}, got {:?}", var.shape()));
    };
    if var.batch().is_none() && var.numel() > 0 && extremum::amin(&var.detach(), &[], false)?.item()?.as_f64() < 0.0 {
        return refused(op, "var has negative entry/entries".into());
    }
    Ok(fits)
}

/// A function of a tensor whose gradient is the tensor's own: the function does not stand in the graph.
pub(super) fn passed_on(x: &Tensor, f: &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    if let Some(y) = crate::ops::batch::unary(x, |x| passed_on(x, f)) {
        return y;
    }
    let y = crate::graph::forward::unrecorded(|| f(x))?;
    crate::ops::recorded::link_linear("CloneBackward0", x, &y, |g| Ok(g.clone()))?;
    Ok(y)
}
