//! The loss of sequences whose labels are not aligned with their steps.

use smallvec::smallvec;

use super::loss::{invalid, refused};
use super::reduction::Reduction;
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::graph::node::Gradients;
use crate::kernels::ctc::{self as kernel, NOTHING, Spelling};
use crate::kernels::reduce::kinds::Exponential;
use crate::memory::{listed, scratch};
use crate::ops::arithmetic::{add, div, mul, neg, sub};
use crate::ops::compare::{clamp_min, gt, where_};
use crate::ops::recorded::{Call, Keep, Settings, is_linked, is_plain, record};
use crate::ops::reduce::wide_float;
use crate::ops::registry::{Arguments, operation};
use crate::ops::softmax::logsumexp;
use crate::ops::{batch, cast, copy, gather, index, join, sum, unary, view};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::storage::Access;

operation! {
    /// The negative logarithm of the probability that a sequence of steps spells its labels: of all ways to repeat labels and
    /// to put blanks between them. Logarithms of probabilities are `(T, N, C)` or `(T, C)`; labels `(N, S)`, or all in one
    /// vector; the lengths give the steps and labels of each example.
    ///
    /// `'mean'` is that of the losses over their numbers of labels. A sequence too short for its labels has an infinite loss,
    /// or with `zero_infinity` none.
    ///
    /// Shapes: `(T, N, C), (N, S), (N,), (N,) -> ()` or `(T, C), (S,), (), () -> ()`; that of the lengths where
    /// `reduction='none'`.
    /// Raises: RuntimeError or ValueError for other shapes, and for lengths that do not fit.
    ///
    /// >>> F = ferrograd.nn.functional
    /// >>> steps = ferrograd.tensor([[0.5, 0.5], [0.5, 0.5]]).log()
    /// >>> F.ctc_loss(steps, ferrograd.tensor([1]), (2,), (1,))
    /// tensor(0.2877)
    function Noted(Wide -> Kept), [
        "nn.ctc_loss(Tensor log_probs, Tensor targets, Tensor input_lengths, Tensor target_lengths, int blank=0, str reduction='mean', bool zero_infinity=False)",
        "nn.ctc_loss(Tensor log_probs, Tensor targets, int[] input_lengths, int[] target_lengths, int blank=0, str reduction='mean', bool zero_infinity=False)"
    ],
    |n, a| {
        let lengths = |at: usize, name: &str| -> Result<Vec<i64>> {
            if n > 0 {
                return Ok(listed(a.ints(at)?.len(), a.ints(at)?.iter().map(|&i| i as i64)));
            }
            let given = a.tensor(at)?;
            if given.dtype() == DType::Bool || given.dtype().is_floating_point() {
                return invalid(a.op, format!("{name} must be integral, got {}", given.dtype()));
            }
            given.to_vec()
        };
        let (steps, labels) = (lengths(2, "input_lengths")?, lengths(3, "target_lengths")?);
        Ok(ctc_loss(a, &steps, &labels)?.into())
    }
}

fn ctc_loss(a: &Arguments, steps: &[i64], lengths: &[i64]) -> Result<Tensor> {
    let (op, logs, targets, reduction) = (a.op, a.tensor(0)?, a.tensor(1)?, Reduction::word(a, 5)?);
    if !matches!(logs.dtype(), DType::F32 | DType::F64) {
        return Err(Error::NotImplemented { op, what: format!("steps of {}: this", logs.dtype()) });
    }
    if batch::level([targets]).is_some() {
        return Err(Error::NotImplemented { op, what: "a map over targets".into() });
    }
    if !matches!(logs.rank(), 2 | 3) {
        return invalid(op, format!("log_probs must be (T, N, C) or (T, C), got shape {:?}", logs.shape()));
    }
    let is_single = logs.rank() == 2;
    let logs = if is_single { view::unsqueeze(logs, 1)? } else { logs.clone() };
    let labels = Labels::new(op, &logs, targets, steps, lengths, a.int(4)? as i64)?;
    let losses = labels.losses(&logs, steps)?;
    let beyond = if a.bool(6)? { 0.0 } else { f64::INFINITY };
    let losses = where_(&is_infinite(&losses)?, beyond, &losses)?;
    match reduction {
        Reduction::Mean => {
            let counts: Vec<f64> = listed(lengths.len(), lengths.iter().map(|&n| n.max(1) as f64));
            let counts = cast::to(&Tensor::from_slice(&counts), losses.dtype())?;
            Reduction::Mean.apply(&div(&losses, &counts)?)
        }
        Reduction::None if is_single => view::squeeze(&losses, Some(&[0])),
        other => other.apply(&losses),
    }
}

/// Where a loss is that of labels which the steps cannot spell.
fn is_infinite(losses: &Tensor) -> Result<Tensor> {
    gt(losses, -NOTHING / 10.0)
}

/// A truth value for each example, by its number of steps: `(N, 1)`.
fn mask(steps: &[i64], holds: impl Fn(i64) -> bool) -> Result<Tensor> {
    let all: Vec<u8> = listed(steps.len(), steps.iter().map(|&n| u8::from(holds(n))));
    cast::to(&Tensor::from_shape(&all, &[steps.len(), 1])?, DType::Bool)
}

/// `exp(x)` at the steps that the examples have, and zeros behind these.
fn probabilities(logs: &Tensor, running: &Tensor) -> Result<Tensor> {
    where_(running, &unary::exp(logs)?, 0.0)
}

/// The steps that the examples have, `(T, N, 1)`.
fn running(time: usize, steps: &[i64]) -> Result<Tensor> {
    let runs = (0..time as i64).flat_map(|t| steps.iter().map(move |&n| u8::from(t < n)));
    let running: Vec<u8> = listed(time * steps.len(), runs);
    cast::to(&Tensor::from_shape(&running, &[time, steps.len(), 1])?, DType::Bool)
}

/// Nothing, with the gradient of `sum(exp(x)) - 1` over the steps of each example: what the logarithms lack to be those of
/// probabilities, as torch counts it. Where they come from `log_softmax` it goes away.
fn unnormalized(logs: &Tensor, steps: &[i64]) -> Result<Tensor> {
    let total = sum::sum(&probabilities(logs, &running(logs.shape()[0], steps)?)?, &[0, 2], false, None)?;
    sub(&total, &total.detach())
}

/// The gradient of the logarithms, `g (exp(x) - p)`: by the kernel, and in tensors where its own derivative is asked for.
fn of_losses(call: &Call) -> Result<Gradients> {
    let [logs, losses, reached, classes, skips, steps, lengths] = &call.saved[..] else {
        unreachable!("as many values as were kept")
    };
    let (g, steps, lengths) = (&call.g, steps.to_vec::<i64>()?, lengths.to_vec::<i64>()?);
    let lengths = listed(lengths.len(), lengths.iter().map(|&n| n as usize));
    let labels = Labels { places: classes.shape()[1], lengths, classes: classes.clone(), skips: skips.clone() };
    let dx = match is_plain([g, logs]) {
        true => wide_float!(logs.dtype(), A => labels.directly_back::<A>(g, logs, (losses, reached), &steps)?),
        false => labels.gradient(g, logs, &steps)?,
    };
    Ok(smallvec![Some(dx)])
}

/// The labels of each example with blanks around them: `2 S + 1` places.
struct Labels {
    places: usize,
    lengths: Vec<usize>,
    /// The class of each place, `(N, places)`.
    classes: Tensor,
    /// Where a place may be reached from the label before the blank before it.
    skips: Tensor,
}

impl Labels {
    fn new(
        op: &'static str,
        logs: &Tensor,
        targets: &Tensor,
        steps: &[i64],
        lengths: &[i64],
        blank: i64,
    ) -> Result<Labels> {
        let [time, examples, count] = [0, 1, 2].map(|d| logs.shape()[d]);
        if !matches!(targets.dtype(), DType::I64 | DType::I32) {
            return invalid(
                op,
                format!("Expected tensor to have scalar type int64 or int32 for targets, got {}", targets.dtype()),
            );
        }
        if !(0..count as i64).contains(&blank) {
            return invalid(op, format!("blank must be in label range, got {blank} of {count}"));
        }
        if steps.len() != examples || lengths.len() != examples {
            let (given, other) = (steps.len(), lengths.len());
            return invalid(
                op,
                format!(
                    "input_lengths and target_lengths must be of size batch_size {examples}, got {given} and {other}"
                ),
            );
        }
        if let Some(n) = steps.iter().find(|&&n| n < 0 || n > time as i64) {
            return invalid(
                op,
                format!("Expected input_lengths to have value at most {time} and none below 0, but got value {n}"),
            );
        }
        if let Some(n) = lengths.iter().find(|&&n| n < 0) {
            return invalid(op, format!("Expected target_lengths to have value at least 0, but got value {n}"));
        }
        let lengths: Vec<usize> = listed(lengths.len(), lengths.iter().map(|&n| n as usize));
        let values = targets.to_vec::<i64>()?;
        let begins = begins(op, targets, &lengths)?;
        let places = 2 * lengths.iter().copied().max().unwrap_or(0) + 1;
        let (mut classes, mut skips) = (scratch(blank, places * examples), scratch(0u8, places * examples));
        for (n, (&begin, &length)) in begins.iter().zip(&lengths).enumerate() {
            let row = &values[begin..begin + length];
            for (s, &label) in row.iter().enumerate() {
                if !(0..count as i64).contains(&label) {
                    return invalid(op, format!("labels must be classes below {count}, got {label}"));
                }
                classes[n * places + 2 * s + 1] = label;
                skips[n * places + 2 * s + 1] = u8::from(s > 0 && row[s - 1] != label);
            }
        }
        let shape = [examples, places];
        let skips = cast::to(&Tensor::from_shape(&skips, &shape)?, DType::Bool)?;
        Ok(Labels { places, lengths, classes: Tensor::from_shape(&classes, &shape)?, skips })
    }

    /// The losses of the examples.
    fn losses(&self, logs: &Tensor, steps: &[i64]) -> Result<Tensor> {
        if batch::level([logs]).is_some() {
            let (_, reached) = self.reached(logs, steps)?;
            let losses = self.ends(&reached[reached.len() - 1], steps)?;
            return if is_linked(&[logs], logs) { add(&losses, &unnormalized(logs, steps)?) } else { Ok(losses) };
        }
        let with_places = is_linked(&[logs], logs);
        let (losses, reached) =
            unrecorded(|| wide_float!(logs.dtype(), A => self.directly::<A>(logs, steps, with_places)))?;
        if let Some(reached) = reached {
            let lengths: Vec<i64> = listed(self.lengths.len(), self.lengths.iter().map(|&n| n as i64));
            let (steps, lengths) = (Tensor::from_slice(steps), Tensor::from_slice(&lengths));
            let others = [&reached, &self.classes, &self.skips, &steps, &lengths].map(Keep::Input);
            let [places, classes, skips, steps, lengths] = others;
            let keep = [Keep::Input(logs), Keep::Output, places, classes, skips, steps, lengths];
            record("CtcLossBackward0", &losses, &[logs], &keep, Settings::default, of_losses)?;
        }
        Ok(losses)
    }

    /// Runs a kernel on the labels.
    fn spelled<R>(&self, logs: &Tensor, steps: &[i64], run: impl FnOnce(Spelling) -> R) -> R {
        let _access = Access::lock([(&**self.classes.storage(), false), (&**self.skips.storage(), false)]);
        // SAFETY: both were made contiguous, of these types, and are locked.
        let (classes, skips) = unsafe { (self.classes.elements(), self.skips.elements()) };
        let sizes = [0, 1, 2].map(|d| logs.shape()[d]);
        run(Spelling { sizes, places: self.places, classes, skips, steps, lengths: &self.lengths })
    }

    /// The losses by the kernel, and where they are asked for the logarithms of the probabilities of having reached each place
    /// after each step, `(N, T, places)`.
    fn directly<T: Exponential>(
        &self,
        logs: &Tensor,
        steps: &[i64],
        with_places: bool,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let (logs, time, examples) = (copy::to_contiguous(logs)?, logs.shape()[0], steps.len());
        let new = |shape: &[usize]| Tensor::uninitialized("ctc_loss", shape, T::DTYPE);
        let losses = new(&[examples])?;
        let reached = with_places.then(|| new(&[examples, time, self.places])).transpose()?;
        let _access = Access::lock([(&**logs.storage(), false)]);
        self.spelled(&logs, steps, |spelling| {
            // SAFETY: all are contiguous tensors of this type, locked or new.
            unsafe {
                let reached = reached.as_ref().map(|reached| reached.elements_mut());
                kernel::forward::<T>(spelling, logs.elements(), losses.elements_mut(), reached);
            }
        });
        Ok((losses, reached))
    }

    /// The gradient of the logarithms by the kernel, from that of the losses, these, and what was reached.
    fn directly_back<T: Exponential>(
        &self,
        g: &Tensor,
        logs: &Tensor,
        (losses, reached): (&Tensor, &Tensor),
        steps: &[i64],
    ) -> Result<Tensor> {
        let (g, logs) = (copy::to_contiguous(g)?, copy::to_contiguous(logs)?);
        let dx = Tensor::uninitialized("ctc_loss", logs.shape(), T::DTYPE)?;
        let _access = Access::lock([&g, &logs, losses, reached].map(|t| (&**t.storage(), false)));
        self.spelled(&logs, steps, |spelling| {
            // SAFETY: all are contiguous tensors of this type, locked or new.
            unsafe {
                let reached =
                    kernel::Reached { g: g.elements(), losses: losses.elements(), places: reached.elements() };
                kernel::backward::<T>(spelling, logs.elements(), reached, dx.elements_mut());
            }
        });
        Ok(dx)
    }

    /// The gradient of the logarithms in tensors.
    fn gradient(&self, g: &Tensor, logs: &Tensor, steps: &[i64]) -> Result<Tensor> {
        let time = logs.shape()[0];
        if time == 0 {
            return Ok(logs.clone());
        }
        let each = |t: &Tensor| view::unsqueeze(&view::unsqueeze(t, 0)?, 2);
        let (all, reached) = self.reached(logs, steps)?;
        let ways = add(&join::stack(&reached[1..], 0)?, &join::stack(&self.behind(&all, steps)?, 0)?)?;
        // Those kept have the gradient of logarithms that are none of probabilities. What cannot be spelled has none.
        let losses = self.ends(&reached[time], steps)?;
        let losses = where_(&is_infinite(&losses)?, 0.0, &losses)?;
        let running = running(time, steps)?;
        let shares = probabilities(&add(&ways, &each(&losses)?)?, &running)?;
        let sizes = [time, self.lengths.len(), self.places].map(|size| size as isize);
        let shares = index::scatter_zeros(logs.shape(), 2, &view::expand(&self.classes, &sizes)?, &shares)?;
        mul(&each(g)?, &sub(&probabilities(logs, &running)?, &shares)?)
    }

    /// A number for each place of each example: zero at the places given, and else nothing.
    fn zeros_at(&self, places: impl Fn(usize) -> [usize; 2], dtype: DType) -> Result<Tensor> {
        let mut all: Vec<f64> = scratch(NOTHING, self.lengths.len() * self.places);
        for (n, &length) in self.lengths.iter().enumerate() {
            places(length).into_iter().for_each(|place| all[n * self.places + place] = 0.0);
        }
        cast::to(&Tensor::from_shape(&all, &[self.lengths.len(), self.places])?, dtype)
    }

    /// The logarithms of all places at each step, and of the probabilities of having reached each place before the first step
    /// and after each.
    fn reached(&self, logs: &Tensor, steps: &[i64]) -> Result<(Tensor, Vec<Tensor>)> {
        // Before the first step all stand before the first place: the first two can be reached from there.
        let start = self.zeros_at(|length| [0, length.min(1)], logs.dtype())?;
        // The logarithms of all places at once, far fewer than those of all classes.
        let sizes = [logs.shape()[0], self.lengths.len(), self.places].map(|size| size as isize);
        let all = clamp_min(&gather::gather(logs, 2, &view::expand(&self.classes, &sizes)?)?, NOTHING)?;
        let mut found = listed(1 + logs.shape()[0], std::iter::once(start));
        for t in 0..logs.shape()[0] {
            let (here, last) = (view::select(&all, 0, t as isize)?, &found[t]);
            let next = add(&if t == 0 { last.clone() } else { self.moved(last)? }, &here)?;
            let is_over = |&n: &i64| n <= t as i64;
            found.push(match steps.iter().any(is_over) {
                true => where_(&mask(steps, |n| !is_over(&n))?, &next, last)?,
                false => next,
            });
        }
        Ok((all, found))
    }

    /// The logarithms of the probabilities of getting from each place after each step to the end of the labels.
    fn behind(&self, all: &Tensor, steps: &[i64]) -> Result<Vec<Tensor>> {
        let time = all.shape()[0];
        let ends = self.zeros_at(|length| [2 * length, (2 * length).saturating_sub(1)], all.dtype())?;
        let mut found: Vec<Tensor> = listed(time, std::iter::empty());
        for t in (0..time).rev() {
            let next = match found.last() {
                Some(after) => self.moved_back(&add(after, &view::select(all, 0, t as isize + 1)?)?)?,
                None => ends.clone(),
            };
            let is_within = mask(steps, |n| n > t as i64 + 1)?;
            let is_last = mask(steps, |n| n == t as i64 + 1)?;
            found.push(where_(&is_within, &next, &where_(&is_last, &ends, NOTHING)?)?);
        }
        found.reverse();
        Ok(found)
    }

    /// Nothing at some places of each example.
    fn nothing(&self, width: isize, dtype: DType) -> Result<Tensor> {
        Tensor::full(&[self.lengths.len(), width as usize], NOTHING, dtype)
    }

    /// The probabilities before the next step: from the place itself, from the one before, or from the label before that.
    fn moved(&self, reached: &Tensor) -> Result<Tensor> {
        if self.places == 1 {
            return Ok(reached.clone());
        }
        let width = self.places as isize;
        let shifted =
            |by: isize| join::cat(&[self.nothing(by, reached.dtype())?, view::narrow(reached, 1, 0, width - by)?], 1);
        let skipped = where_(&self.skips, &shifted(2)?, NOTHING)?;
        logsumexp(&join::stack(&[reached.clone(), shifted(1)?, skipped], 0)?, &[0], false)
    }

    /// The probabilities behind the step before: to the place itself, to the next one, or to the label behind that.
    fn moved_back(&self, behind: &Tensor) -> Result<Tensor> {
        if self.places == 1 {
            return Ok(behind.clone());
        }
        let width = self.places as isize;
        let shifted =
            |x: &Tensor, by: isize| join::cat(&[view::narrow(x, 1, by, width - by)?, self.nothing(by, x.dtype())?], 1);
        let skipped = where_(&self.skips, behind, NOTHING)?;
        logsumexp(&join::stack(&[behind.clone(), shifted(behind, 1)?, shifted(&skipped, 2)?], 0)?, &[0], false)
    }

    /// The losses: the last label or the blank behind it was reached. Without a step only an empty sequence is spelled.
    fn ends(&self, reached: &Tensor, steps: &[i64]) -> Result<Tensor> {
        let lasts = self.lengths.iter().flat_map(|&n| [2 * n as i64, (2 * n as i64 - 1).max(0)]);
        let last: Vec<i64> = listed(2 * self.lengths.len(), lasts);
        let pairs = self.lengths.iter().zip(steps);
        let counts = pairs.flat_map(|(&n, &t)| [u8::from(t > 0 || n == 0), u8::from(t > 0 && n > 0)]);
        let counts: Vec<u8> = listed(2 * self.lengths.len(), counts);
        let shape = [self.lengths.len(), 2];
        let ends = gather::gather(reached, 1, &Tensor::from_shape(&last, &shape)?)?;
        let counts = cast::to(&Tensor::from_shape(&counts, &shape)?, DType::Bool)?;
        neg(&logsumexp(&where_(&counts, &ends, NOTHING)?, &[1], false)?)
    }
}

/// Where the labels of each example begin, in a row each or in one vector.
fn begins(op: &'static str, targets: &Tensor, lengths: &[usize]) -> Result<Vec<usize>> {
    match targets.rank() {
        1 => {
            let total: usize = lengths.iter().sum();
            if total != targets.numel() {
                let given = targets.numel();
                return invalid(
                    op,
                    format!("Expected as many targets as the target_lengths add up to, {total}, but got {given}"),
                );
            }
            let begin = |next: &mut usize, &n: &usize| {
                *next += n;
                Some(*next - n)
            };
            Ok(listed(lengths.len(), lengths.iter().scan(0, begin)))
        }
        2 if targets.shape()[0] == lengths.len() => {
            let width = targets.shape()[1];
            match lengths.iter().find(|&&n| n > width) {
                Some(&n) => invalid(
                    op,
                    format!(
                        "Expected targets to have size at least {n} at dimension 1, but got size {:?}",
                        targets.shape()
                    ),
                ),
                None => Ok(listed(lengths.len(), (0..lengths.len()).map(|n| n * width))),
            }
        }
        _ => refused(op, format!("targets must be (N, S) or a vector, got shape {:?}", targets.shape())),
    }
}
