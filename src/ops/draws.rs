//! Random numbers with parameters in tensors. What is drawn does not move with its parameters: their gradients are zero.

use smallvec::SmallVec;

use super::creation::{check_asked, finish, sizes};
use super::fillers::{bernoulli, check};
use super::formula::Operand;
use super::random::{
    check_float, check_room, draw, drawn, each_in_memory, fill, for_each_example, same_numbers, separate_maps,
    with_rank,
};
use super::recorded::{link_simple, record_refusal};
use super::reduce::wide_float;
use super::registry::operation;
use super::{arithmetic, batch, cast, copy, inplace, sort};
use crate::error::{Error, Result};
use crate::graph::forward;
use crate::graph::mode::no_grad;
use crate::kernels::element::{Element, dispatch};
use crate::random::Generator;
use crate::random::distribution::{Exponential, Normal, bernoulli_each};
use crate::random::generator::Stream;
use crate::random::{choice, count};
use crate::tensor::dtype::DType;
use crate::tensor::layout::{Shape, broadcast};
use crate::tensor::storage::Access;
use crate::tensor::{Tensor, default_dtype};

/// Leaves a node behind `y` whose gradients are zero.
fn link_zeros(name: &'static str, inputs: &[&Tensor], y: &Tensor) -> Result<()> {
    let looks: SmallVec<[(Shape, DType); 2]> = inputs.iter().map(|x| (x.shape().into(), x.dtype())).collect();
    link_simple(name, inputs, y, move |call| {
        let zeros = |n: usize, (shape, dtype): &(Shape, DType)| {
            if call.needs[n] { Tensor::zeros(shape, *dtype).map(Some) } else { Ok(None) }
        };
        looks.iter().enumerate().map(|(n, look)| zeros(n, look)).collect()
    })
}

operation! {
    /// One with the probability that the element of `input` says, else zero; with `p` all with that probability, in the
    /// shape and dtype of `input`. The gradient is zero, that with `p` is not implemented, as in torch. torch's numbers for the same seed.
    ///
    /// Raises: RuntimeError for what is no probability, and for probabilities in other dtypes than floats.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.bernoulli(ferrograd.tensor([0.5, 0.5, 1.0, 0.0]))
    /// tensor([1., 0., 1., 0.])
    function Same(Floats -> Like), [
        "bernoulli(Tensor self, *, Generator? generator=None)",
        "bernoulli(Tensor self, Number p, *, Generator? generator=None)"
    ],
    |n, a| {
        let (op, from) = (a.op, a.generator(n + 1)?);
        let given = if n == 1 { Some(bernoulli(op, a.float(1)?)?) } else { None };
        let y = for_each_example(op, &[a.tensor(0)?], |x| {
            let x = &x[0];
            let y = Tensor::uninitialized(op, x.shape(), x.dtype())?;
            match &given {
                Some(numbers) => draw(op, &y, from, numbers)?,
                None => {
                    check_probabilities(op, x)?;
                    draw_each(op, &y, x, from)?;
                }
            }
            match given {
                Some(_) => record_refusal(op, "NotImplemented", &[x], &y)?,
                None => link_zeros("BernoulliBackward0", &[x], &y)?,
            }
            Ok(y)
        })?;
        Ok(y.into())
    }
}

operation! {
    /// Writes one with the probability `p`, which may be a tensor that broadcasts, else zero into every element: torch's
    /// numbers for the same seed. For all dtypes; the gradients are zero.
    ///
    /// Raises: RuntimeError for what is no probability, and for probabilities in other dtypes than floats.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.zeros(4).bernoulli_(0.7)
    /// tensor([0., 0., 1., 0.])
    function Same(Any -> Kept), ["Tensor.bernoulli_(Tensor self, Operand p=0.5, *, Generator? generator=None)"], |_, a| {
        let (op, target, from) = (a.op, a.tensor(0)?, a.generator(2)?);
        Ok(match a.operand(1)? {
            Operand::Number(p) => {
                let numbers = bernoulli(op, p.as_f64())?;
                fill(op, "BernoulliBackward2", target, |t| draw(op, t, from, &numbers))?
            }
            Operand::Tensor(p) => bernoulli_by(op, target, p, from)?,
        }.into())
    }
}

/// Each element with a probability of its own, which broadcasts.
fn bernoulli_by(op: &'static str, target: &Tensor, p: &Tensor, from: &Generator) -> Result<Tensor> {
    let shape = broadcast(op, target.shape(), p.shape())?;
    if shape[..] != *target.shape() {
        return Err(Error::InPlaceShape { op, target: target.shape().to_vec(), result: shape.to_vec() });
    }
    check_probabilities(op, p)?;
    if target.batch().is_none() && p.batch().is_none() {
        check_room(op, &separate_maps(op)?, &[])?;
        inplace::check(op, target)?;
        let record = |y: &Tensor| link_zeros("BernoulliBackward1", &[target, p], y);
        inplace::update(target, record, || draw_each(op, target, p, from))?;
        return Ok(target.clone());
    }
    let levels = batch::levels(target);
    let is_known = |level: &(u32, usize)| levels.contains(level);
    if !batch::levels(p).iter().all(is_known) {
        return Err(Error::BatchedInPlace { op });
    }
    let value = if p.batch().is_some() { batch::peeled(p, &levels)? } else { p.clone() };
    let value = if p.batch().is_some() { with_rank(&value, levels.len(), target.rank())? } else { value };
    fill(op, "BernoulliBackward1", target, |t| {
        if broadcast(op, t.shape(), value.shape())?[..] != *t.shape() {
            return Err(same_numbers(op));
        }
        draw_each(op, t, &value, from)
    })
}

/// An error where an element is no probability, or the dtype no float.
fn check_probabilities(op: &'static str, p: &Tensor) -> Result<()> {
    check_float(op, p.dtype())?;
    match first_outside(p, |x| (0.0..=1.0).contains(&x))? {
        None => Ok(()),
        Some(x) => check(op, false, "probabilities in [0, 1]", x),
    }
}

/// The first element of a tensor of floats that does not fulfil a condition.
fn first_outside(x: &Tensor, holds: impl Fn(f64) -> bool) -> Result<Option<f64>> {
    let x = copy::to_contiguous(forward::bottom(x))?;
    let _access = Access::lock([(&**x.storage(), false)]);
    dispatch!("min", x.dtype(), T => {
        // SAFETY: the tensor is contiguous and of this type, and its storage is locked.
        let elements = unsafe { x.elements::<T>() };
        Ok(elements.iter().map(|x| x.to_f64()).find(|&x| !holds(x)))
    })
}

/// Draws ones and zeros with probabilities that broadcast, in the order in which the target lies in memory.
fn draw_each(op: &'static str, target: &Tensor, p: &Tensor, from: &Generator) -> Result<()> {
    let mut order = target.layout().memory_order();
    order.reverse();
    let wide = p.layout().broadcast_to(target.shape());
    let ordered = p.alias(wide.permute(&order), false);
    // Floats of 16 bits are compared in float32.
    let p = copy::contiguous_copy(&cast::to(&ordered.detach(), p.dtype().computed_in())?)?;
    each_in_memory(op, target, |block| {
        let _access = Access::lock([(&**block.storage(), true), (&**p.storage(), false)]);
        dispatch!(op, block.dtype(), T => {
            // SAFETY: the elements are of these types and without gaps, and their storages are locked.
            unsafe {
                let out = std::slice::from_raw_parts_mut(block.data_ptr().cast::<T>(), block.numel());
                wide_float!(p.dtype(), A => bernoulli_each(from, out, p.elements::<A>()));
            }
        });
        Ok(())
    })
}

operation! {
    /// Normal numbers of the given means and standard deviations, which broadcast where both are tensors: torch's for the
    /// same seed. The gradients of means and deviations are zero.
    ///
    /// Of the dtype of `mean`, else of `std`, and with two numbers of the default float where no dtype is given.
    ///
    /// Raises: RuntimeError where a deviation is negative, for other dtypes and shapes that do not broadcast.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.normal(ferrograd.tensor([0.0, 10.0]), 0.5)
    /// tensor([0.7705, 9.8533])
    /// >>> ferrograd.normal(1.0, 2.0, (2,)).shape
    /// torch.Size([2])
    function Broadcast(Floats -> First), [
        "normal(Tensor mean, Tensor std, *, Generator? generator=None)",
        "normal(Tensor mean, Number std=1, *, Generator? generator=None)",
        "normal(Number mean, Tensor std, *, Generator? generator=None)",
        "normal(Number mean, Number std, Size size, *, Generator? generator=None, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"
    ], |n, a| {
        let op = a.op;
        if n == 3 {
            let (mean, std) = (a.float(0)?, a.float(1)?);
            let (shape, dtype) = (sizes(op, a.ints(2)?)?, a.dtype(4)?.unwrap_or_else(default_dtype));
            check(op, std >= 0.0, "std >= 0.0", std)?;
            check_float(op, dtype)?;
            check_asked(a, 4, dtype)?;
            return finish(drawn(op, &shape, dtype, a.generator(3)?, &Normal { mean, std })?, a, 4);
        }
        Ok(normal(op, a.operand(0)?, a.operand(1)?, a.generator(2)?)?.into())
    }
}

/// Normal numbers whose mean or deviation is a tensor.
fn normal(op: &'static str, mean: Operand, std: Operand, from: &Generator) -> Result<Tensor> {
    let negative = match std {
        Operand::Number(std) => Some(std.as_f64()).filter(|s| s.is_nan() || *s < 0.0),
        Operand::Tensor(std) => first_outside(std, |s| s >= 0.0)?,
    };
    check(op, negative.is_none(), "all elements of std >= 0.0", negative.unwrap_or(0.0))?;
    let given: SmallVec<[&Tensor; 2]> = [mean, std].iter().filter_map(|o| o.tensor()).collect();
    check_float(op, given[0].dtype())?;
    let node = match (mean, std) {
        (_, Operand::Number(_)) => "NormalBackward1",
        (Operand::Number(_), _) => "NormalBackward2",
        _ => "NormalBackward3",
    };
    for_each_example(op, &given, |x| {
        let last = &x[x.len() - 1];
        let shape = broadcast(op, x[0].shape(), last.shape())?;
        let y = Tensor::uninitialized(op, &shape, x[0].dtype())?;
        let spread = if let Operand::Number(std) = std { std.as_f64() } else { 1.0 };
        draw(op, &y, from, &Normal { mean: 0.0, std: spread })?;
        let scaled = match std {
            Operand::Number(_) => y,
            Operand::Tensor(_) => cast::to(&no_grad(|| arithmetic::mul(&y, last))?, y.dtype())?,
        };
        let moved = match mean {
            Operand::Number(mean) => arithmetic::add(&scaled, mean)?,
            Operand::Tensor(_) => no_grad(|| arithmetic::add(&scaled, &x[0]))?,
        };
        let inputs: SmallVec<[&Tensor; 2]> = x.iter().collect();
        link_zeros(node, &inputs, &moved)?;
        Ok(moved)
    })
}

operation! {
    /// How many events happen in a time in which so many are expected: numbers of the Poisson distribution of the rates in
    /// `input`, in its dtype, a float. torch's for the same seed; the gradient is zero.
    ///
    /// Raises: RuntimeError where a rate is negative.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.poisson(ferrograd.tensor([1.0, 10.0, 0.0]))
    /// tensor([ 2., 15.,  0.])
    function Same(Floats -> Kept), ["poisson(Tensor input, Generator? generator=None)"], |_, a| {
        let (op, rates, from) = (a.op, a.tensor(0)?, a.generator(1)?);
        check_float(op, rates.dtype())?;
        let negative = first_outside(rates, |rate| rate >= 0.0)?;
        check(op, negative.is_none(), "rates to be non-negative", negative.unwrap_or(0.0))?;
        let y = for_each_example(op, &[rates], |x| {
            let y = counted(op, &[&x[0]], from, |stream, [rate, _]| count::poisson(stream, rate))?;
            link_zeros("PoissonBackward0", &[&x[0]], &y)?;
            Ok(y)
        })?;
        Ok(y.into())
    }
}

operation! {
    /// How many of `count` trials with the probability `prob` succeed: numbers of the binomial distribution, torch's for
    /// the same seed. The arguments broadcast; both are of float32 or of float64.
    ///
    /// None succeed with a probability below 0, all with one above 1.
    ///
    /// Raises: ValueError for other dtypes; RuntimeError for shapes that do not broadcast.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.binomial(ferrograd.tensor([10.0, 100.0]), ferrograd.tensor([0.5, 0.9]))
    /// tensor([ 7., 89.])
    function Broadcast(Wide -> Shared), ["binomial(Tensor count, Tensor prob, Generator? generator=None)"], |_, a| {
        let (op, trials, p, from) = (a.op, a.tensor(0)?, a.tensor(1)?, a.generator(2)?);
        if !trials.dtype().is_floating_point() {
            let (argument, rule) = ("count", "must be of a floating-point dtype");
            return Err(Error::Argument { op, argument, rule, given: trials.dtype().to_string() });
        }
        if trials.dtype() != p.dtype() {
            return Err(Error::DTypeMismatch { op, left: trials.dtype(), right: p.dtype() });
        }
        trials.dtype().require_wide(op)?;
        let y = for_each_example(op, &[trials, p], |x| {
            let sample = if x[0].dtype() == DType::F32 { count::binomial::<f32> } else { count::binomial::<f64> };
            let y = counted(op, &[&x[0], &x[1]], from, |stream, [trials, p]| sample(stream, trials, p))?;
            record_refusal(op, "NotImplemented", &[&x[0], &x[1]], &y)?;
            Ok(y)
        })?;
        Ok(y.into())
    }
}

/// A number for each element of tensors of floats that broadcast, drawn one after another.
fn counted(
    op: &'static str,
    parameters: &[&Tensor],
    from: &Generator,
    sample: impl Fn(&mut Stream, [f64; 2]) -> f64,
) -> Result<Tensor> {
    let last = parameters[parameters.len() - 1];
    let shape = broadcast(op, parameters[0].shape(), last.shape())?;
    let y = Tensor::uninitialized(op, &shape, parameters[0].dtype())?;
    let wide = |x: &Tensor| copy::to_contiguous(&x.alias(x.layout().broadcast_to(&shape), false));
    let (first, last) = (wide(parameters[0])?, wide(last)?);
    let access = Access::lock([(&**y.storage(), true), (&**first.storage(), false), (&**last.storage(), false)]);
    dispatch!(op, y.dtype(), T => {
        // SAFETY: the tensors are contiguous and of this type, and their storages are locked.
        let (out, first, last) = unsafe { (y.elements_mut::<T>(), first.elements::<T>(), last.elements::<T>()) };
        let mut stream = from.lock();
        for (slot, (a, b)) in out.iter_mut().zip(first.iter().zip(last)) {
            *slot = T::from_f64(sample(&mut stream, [a.to_f64(), b.to_f64()]));
        }
    });
    drop(access);
    Ok(y)
}

operation! {
    /// Places of a line of weights, or of each line of a matrix, drawn as often as their weights say: `num_samples` of them,
    /// without `replacement` all different. The weights need not sum to 1. torch's numbers for the same seed, as int64.
    ///
    /// Raises: RuntimeError for weights that are negative, infinite, NaN or all zero, for other dtypes than floats,
    /// and where there are fewer places than are to be drawn without replacement.
    ///
    /// Shapes: `([N,] C) -> ([N,] num_samples)`.
    ///
    /// >>> _ = ferrograd.manual_seed(0); ferrograd.multinomial(ferrograd.tensor([0.1, 0.6, 0.3]), 2)
    /// tensor([2, 1])
    function Noted(Floats -> Index), ["multinomial(Tensor self, int num_samples, bool replacement=False, *, Generator? generator=None)"], |_, a| {
        let (op, x, samples, with_replacement) = (a.op, a.tensor(0)?, a.int(1)?, a.bool(2)?);
        let wrong = |what: String| Err(Error::Invalid { op, what });
        if !(1..=2).contains(&x.rank()) {
            return wrong(format!("prob_dist must be 1 or 2 dim, got shape {:?}", x.shape()));
        }
        if !x.dtype().is_floating_point() {
            return Err(Error::DTypeInvalid { op, dtype: x.dtype(), rule: "the weights must be floats" });
        }
        let places = x.shape()[x.rank() - 1];
        if samples <= 0 {
            return wrong(format!("cannot sample n_sample <= 0 samples, got {samples}"));
        }
        if !with_replacement && samples as usize > places {
            return wrong(format!(
                "cannot sample n_sample > prob_dist.size(-1) samples without replacement, got {samples} of {places}"
            ));
        }
        if places > 1 << 24 {
            return wrong(format!("number of categories cannot exceed 2^24, got {places}"));
        }
        let from = a.generator(3)?;
        let y = for_each_example(op, &[x], |x| multinomial(op, &x[0].detach(), samples as usize, with_replacement, from))?;
        Ok(y.into())
    }
}

/// Places in the last dimension of weights, of which there may be more than one line.
fn multinomial(
    op: &'static str,
    x: &Tensor,
    samples: usize,
    with_replacement: bool,
    from: &Generator,
) -> Result<Tensor> {
    let places = x.shape()[x.rank() - 1];
    let mut shape: SmallVec<[usize; 6]> = x.shape().into();
    shape.pop();
    shape.push(samples);
    if shape.contains(&0) {
        return Tensor::uninitialized(op, &shape, DType::I64);
    }
    if places == 0 {
        return Err(Error::Invalid { op, what: "there is no place to draw".into() });
    }
    if let Some(weight) = first_outside(x, |w| w >= 0.0 && w.is_finite())? {
        let what = format!("probability tensor contains either `inf`, `nan` or element < 0: {weight}");
        return Err(Error::Invalid { op, what });
    }
    let lines = copy::to_contiguous(&cast::to(x, x.dtype().computed_in())?)?;
    if has_empty_line(op, &lines, places)? {
        let what = "invalid multinomial distribution (sum of probabilities <= 0)".into();
        return Err(Error::Invalid { op, what });
    }
    // One sample is the same with replacement and without, and cheaper so.
    if with_replacement && samples != 1 {
        return with_replaced(op, &lines, &shape, from);
    }
    // The greatest of weights by waiting times, which is the first event of those that come at the rates of the weights.
    let times = copy::laid_out_as(x, Tensor::uninitialized(op, x.shape(), x.dtype())?);
    draw(op, &times, from, &Exponential { rate: 1.0 })?;
    let [_, order] = sort::topk(&arithmetic::div(x, &times)?, samples as isize, -1, true)?;
    Ok(order)
}

/// Whether a line of weights is zero everywhere.
fn has_empty_line(op: &'static str, lines: &Tensor, places: usize) -> Result<bool> {
    let _access = Access::lock([(&**lines.storage(), false)]);
    dispatch!(op, lines.dtype(), T => {
        // SAFETY: the tensor is contiguous and of this type, and its storage is locked.
        let all = unsafe { lines.elements::<T>() };
        Ok(all.chunks(places).any(|line| line.iter().all(|w| w.to_f64() == 0.0)))
    })
}

fn with_replaced(op: &'static str, lines: &Tensor, shape: &[usize], from: &Generator) -> Result<Tensor> {
    let places = lines.shape()[lines.rank() - 1];
    let y = Tensor::uninitialized(op, shape, DType::I64)?;
    let samples = shape[shape.len() - 1];
    let access = Access::lock([(&**y.storage(), true), (&**lines.storage(), false)]);
    dispatch!(op, lines.dtype(), T => {
        let mut sums = crate::memory::filled(op, T::default(), places)?;
        // SAFETY: the tensors are contiguous and of these types, and their storages are locked.
        let (out, all) = unsafe { (y.elements_mut::<i64>(), lines.elements::<T>()) };
        let mut stream = from.lock();
        for (places, weights) in out.chunks_mut(samples).zip(all.chunks(places)) {
            choice::weighted(&mut stream, weights, &mut sums, places);
        }
    });
    drop(access);
    Ok(y)
}
