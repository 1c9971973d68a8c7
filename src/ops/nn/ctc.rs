//! The loss of sequences whose labels are not aligned with their steps.

use super::loss::{invalid, refused};
use super::reduction::Reduction;
use crate::error::{Error, Result};
use crate::memory::{listed, scratch};
use crate::ops::arithmetic::{add, div, neg, sub};
use crate::ops::compare::{clamp_min, gt, where_};
use crate::ops::recorded::is_linked;
use crate::ops::registry::{Arguments, operation};
use crate::ops::softmax::logsumexp;
use crate::ops::{batch, cast, gather, join, sum, unary, view};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;

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

/// What stands for the logarithm of nothing: finite, so that no difference of two is without a value.
const NOTHING: f64 = -1e30;

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
    let mut losses = labels.losses(&logs, steps)?;
    if is_linked(&[&logs], &logs) {
        losses = add(&losses, &unnormalized(&logs, steps)?)?;
    }
    let beyond = if a.bool(6)? { 0.0 } else { f64::INFINITY };
    let losses = where_(&gt(&losses, -NOTHING / 10.0)?, beyond, &losses)?;
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

/// Nothing, with the gradient of `sum(exp(x)) - 1` over the steps of each example: what the logarithms lack to be those of
/// probabilities, as torch counts it. Where they come from `log_softmax` it goes away.
fn unnormalized(logs: &Tensor, steps: &[i64]) -> Result<Tensor> {
    let time = logs.shape()[0];
    let runs = (0..time as i64).flat_map(|t| steps.iter().map(move |&n| u8::from(t < n)));
    let running: Vec<u8> = listed(time * steps.len(), runs);
    let running = cast::to(&Tensor::from_shape(&running, &[time, steps.len(), 1])?, DType::Bool)?;
    let total = sum::sum(&where_(&running, &unary::exp(logs)?, 0.0)?, &[0, 2], false, None)?;
    sub(&total, &total.detach())
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

    /// The losses of the examples, by the probabilities of having reached each place after each step.
    fn losses(&self, logs: &Tensor, steps: &[i64]) -> Result<Tensor> {
        let (examples, dtype) = (self.lengths.len(), logs.dtype());
        let nothing = |width: usize| Tensor::full(&[examples, width], NOTHING, dtype);
        // Before the first step all stand before the first place: the first two can be reached from there.
        let mut start: Vec<f64> = scratch(NOTHING, examples * self.places);
        for (n, &length) in self.lengths.iter().enumerate() {
            start[n * self.places] = 0.0;
            if length > 0 {
                start[n * self.places + 1] = 0.0;
            }
        }
        let start = cast::to(&Tensor::from_shape(&start, &[examples, self.places])?, dtype)?;
        let mut reached = start.clone();
        // The logarithms of all places at once, far fewer than those of all classes.
        let sizes = [logs.shape()[0], examples, self.places].map(|size| size as isize);
        let all = clamp_min(&gather::gather(logs, 2, &view::expand(&self.classes, &sizes)?)?, NOTHING)?;
        for t in 0..logs.shape()[0] {
            let here = view::select(&all, 0, t as isize)?;
            let before = if t == 0 { start.clone() } else { self.moved(&reached, &nothing)? };
            let next = add(&before, &here)?;
            let running: Vec<u8> = listed(steps.len(), steps.iter().map(|&n| u8::from((t as i64) < n)));
            reached = if running.iter().all(|&r| r == 1) {
                next
            } else {
                let running = cast::to(&Tensor::from_shape(&running, &[examples, 1])?, DType::Bool)?;
                where_(&running, &next, &reached)?
            };
        }
        self.ends(&reached, steps)
    }

    /// The probabilities before the next step: from the place itself, from the one before, or from the label before that.
    fn moved(&self, reached: &Tensor, nothing: &dyn Fn(usize) -> Result<Tensor>) -> Result<Tensor> {
        if self.places == 1 {
            return Ok(reached.clone());
        }
        let width = self.places as isize;
        let shifted = |by: isize| join::cat(&[nothing(by as usize)?, view::narrow(reached, 1, 0, width - by)?], 1);
        let skipped = where_(&self.skips, &shifted(2)?, NOTHING)?;
        logsumexp(&join::stack(&[reached.clone(), shifted(1)?, skipped], 0)?, &[0], false)
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
