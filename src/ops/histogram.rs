//! Where numbers fall: counts, histograms, and places among boundaries.

use smallvec::SmallVec;

use super::formula::Operand;
use super::reduce::wide;
use super::registry::operation;
use super::{batch, cast, copy, creation, extremum, view};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::kernels::element::{Element, convert, dispatch};
use crate::kernels::{search, tally};
use crate::tensor::Tensor;
use crate::tensor::dtype::{Category, DType, Promotion};
use crate::tensor::scalar::Scalar;
use crate::tensor::storage::Access;

fn refused<T>(op: &'static str, what: String) -> Result<T> {
    Err(Error::Invalid { op, what })
}

operation! {
    /// How often each integer from 0 on occurs, at least `minlength` of them; with `weights`, the sums of these.
    ///
    /// Shapes: `(n,) -> (k,)`, `k` the greatest number and one, at least `minlength`.
    /// Dtypes: integers; the result is int64, of `weights` float32 or float64.
    ///
    /// >>> ferrograd.bincount(ferrograd.tensor([1, 3, 1]))
    /// tensor([0, 2, 0, 1])
    function Noted(Noted -> Noted), ["bincount(Tensor self, Tensor? weights=None, int minlength=0)"], |_, a| {
        Ok(bincount(a.tensor(0)?, a.maybe_tensor(1)?, a.int(2)?)?.into())
    }
}

/// How often each integer from 0 on occurs, or the sums of weights.
///
/// # Errors
/// For other than a vector of integers that are not negative, and weights of another length.
pub fn bincount(x: &Tensor, weights: Option<&Tensor>, least: isize) -> Result<Tensor> {
    const OP: &str = "bincount";
    let tensors: SmallVec<[&Tensor; 2]> = std::iter::once(x).chain(weights).collect();
    if let Some(y) = batch::each_of(&tensors, |t| bincount(&t[0], t.get(1), least)) {
        return y;
    }
    if x.dtype().category() != Category::Integer {
        return Err(Error::NotImplemented { op: OP, what: format!("{}: it takes integers only; this", x.dtype()) });
    }
    let Ok(least) = usize::try_from(least) else {
        return refused(OP, format!("minlength should be >= 0, got {least}"));
    };
    let wrong = || refused(OP, format!("only supports 1-d non-negative integral inputs, got {} dimensions", x.rank()));
    if x.rank() != 1 {
        return wrong();
    }
    let places = unrecorded(|| copy::to_contiguous(&cast::to(x, DType::I64)?))?;
    let (least_place, greatest) = extremes::<i64>(&places)?.unwrap_or((0, -1));
    if least_place < 0 {
        return wrong();
    }
    if let Some(w) = weights.filter(|w| w.shape() != x.shape()) {
        return refused(OP, format!("weights should be 1-d and have the same length as input, got {:?}", w.shape()));
    }
    let (n, count) = (x.numel(), (greatest as usize).wrapping_add(1).max(least));
    if n == 0 {
        return Tensor::zeros(&[count], DType::I64);
    }
    let Some(weights) = weights else {
        let _access = Access::lock([(&**places.storage(), false)]);
        // SAFETY: a contiguous tensor of this type, locked.
        let at = unsafe { places.elements::<i64>() };
        return Ok(Tensor::from_slice(&tally::sums(OP, n, count, |i| Some((at[i] as usize, 1i64)))?));
    };
    let weighing = unrecorded(|| copy::to_contiguous(&cast::to(&weights.detach(), DType::F64)?))?;
    let access = Access::lock([(&**places.storage(), false), (&**weighing.storage(), false)]);
    // SAFETY: contiguous tensors of these types, locked.
    let (at, w) = unsafe { (places.elements::<i64>(), weighing.elements::<f64>()) };
    let sums = tally::sums(OP, n, count, |i| Some((at[i] as usize, w[i])))?;
    drop(access);
    let dtype = if weights.dtype() == DType::F32 { DType::F32 } else { DType::F64 };
    unrecorded(|| cast::to(&Tensor::from_slice(&sums), dtype))
}

/// The least and the greatest element, if there are any.
fn extremes<T: Element>(x: &Tensor) -> Result<Option<(T, T)>> {
    if x.numel() == 0 {
        return Ok(None);
    }
    let [least, greatest] = unrecorded(|| extremum::aminmax(&x.detach(), None, false))?;
    Ok(Some((least.to_vec::<T>()?[0], greatest.to_vec::<T>()?[0])))
}

operation! {
    /// How many elements fall into each of `bins` equal intervals between `min` and `max`; where these are equal, between the
    /// least and the greatest element. What lies outside does not count.
    ///
    /// Shapes: `(...) -> (bins,)`.
    ///
    /// >>> ferrograd.histc(ferrograd.tensor([1.0, 2.0, 1.0]), 4, 0, 3)
    /// tensor([0., 2., 1., 0.])
    function Noted(Floats -> Kept), ["histc(Tensor self, int bins=100, Number min=0, Number max=0)"], |_, a| {
        Ok(histc(a.tensor(0)?, a.int(1)?, a.float(2)?, a.float(3)?)?.into())
    }
}

fn float(op: &'static str, x: &Tensor) -> Result<()> {
    if x.dtype().is_floating_point() {
        return Ok(());
    }
    Err(Error::NotImplemented { op, what: format!("{}: it takes floats only; this", x.dtype()) })
}

fn histc(x: &Tensor, bins: isize, least: f64, greatest: f64) -> Result<Tensor> {
    const OP: &str = "histc";
    if let Some(y) = batch::each(x, |x| histc(x, bins, least, greatest)) {
        return y;
    }
    float(OP, x)?;
    if bins <= 0 {
        return refused(OP, format!("bins must be > 0, but got {bins}"));
    }
    let (low, high) = if least == greatest { bounds(OP, x, None, 1.0)? } else { (least, greatest) };
    if !low.is_finite() || !high.is_finite() {
        return refused(OP, format!("range of [{low}, {high}] is not finite"));
    }
    if low > high {
        return refused(OP, format!("max must be larger than min, got [{low}, {high}]"));
    }
    let bins = bins as usize;
    let values = numbers(x)?;
    let access = Access::lock([(&**values.storage(), false)]);
    // The interval of equal ones that a number falls into; the last holds its upper bound. Computed in the numbers' type,
    // as rounding decides on the bounds.
    let counts = wide!(values.dtype(), A => {
        // SAFETY: a contiguous tensor of this type, locked.
        let values = unsafe { values.elements::<A>() };
        let (low, high) = (low as A, high as A);
        tally::sums(OP, values.len(), bins, |i| {
            let v = values[i];
            let place = (v - low) * bins as A / (high - low);
            (v >= low && v <= high).then_some(((place as usize).min(bins - 1), 1i64))
        })?
    });
    drop(access);
    unrecorded(|| cast::to(&Tensor::from_slice(&counts), x.dtype()))
}

/// The elements in row-major order, in the type that they are computed in.
fn numbers(x: &Tensor) -> Result<Tensor> {
    let dtype = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    unrecorded(|| copy::to_contiguous(&cast::to(&x.detach(), dtype)?))
}

/// The bounds of a histogram: as asked for, else of the numbers, or 0 and 1 where there are none; equal ones are moved apart
/// by `room` each.
fn bounds(op: &'static str, x: &Tensor, asked: Option<(f64, f64)>, room: f64) -> Result<(f64, f64)> {
    let (low, high) = match asked {
        Some(bounds) => bounds,
        None => extremes::<f64>(x)?.unwrap_or((0.0, 1.0)),
    };
    if !low.is_finite() || !high.is_finite() {
        return refused(op, format!("range of [{low}, {high}] is not finite"));
    }
    if low > high {
        return refused(op, format!("min should not exceed max, but got min {low} max {high}"));
    }
    Ok(if low == high { (low - room, high + room) } else { (low, high) })
}

operation! {
    /// How many elements, or the sums of their weights, fall between the edges of `bins`: so many equal intervals over
    /// `range`, or over all elements, or a tensor of edges. As a density where asked for, whose integral is 1.
    ///
    /// Shapes: `(...) -> (bins,), (bins + 1,)`.
    ///
    /// >>> ferrograd.histogram(ferrograd.tensor([1.0, 2.0, 1.0]), bins=4, range=(0.0, 3.0)).hist
    /// tensor([0., 2., 1., 0.])
    function Noted(Wide -> Shared), [
        "histogram(Tensor self, Tensor bins, *, Tensor? weight=None, bool density=False) -> (Tensor hist, Tensor bin_edges)",
        "histogram(Tensor self, int bins=100, *, Number[]? range=None, Tensor? weight=None, bool density=False) -> (Tensor hist, Tensor bin_edges)"
    ], |n, a| {
        let x = a.tensor(0)?;
        let bins = if n == 0 { Bins::Edges(a.tensor(1)?) } else { Bins::Equal(a.int(1)?, a.numbers(2)?) };
        Ok(histogram(x, bins, a.maybe_tensor(n + 2)?, a.bool(n + 3)?)?.into())
    }
}

/// The intervals of a histogram.
enum Bins<'a> {
    Edges(&'a Tensor),
    Equal(isize, &'a [Scalar]),
}

fn histogram(x: &Tensor, bins: Bins, weight: Option<&Tensor>, density: bool) -> Result<[Tensor; 2]> {
    const OP: &str = "histogram";
    if let Some(found) = histograms(x, &bins, weight, density) {
        return found;
    }
    float(OP, x)?;
    x.dtype().require_wide(OP)?;
    if let Some(w) = weight.filter(|w| w.shape() != x.shape()) {
        let (expected, given) = (x.shape().to_vec(), w.shape().to_vec());
        return Err(Error::Shape { op: OP, what: "weight must have the shape of the input", expected, given });
    }
    if let Some(w) = weight.filter(|w| w.dtype() != x.dtype()) {
        return Err(Error::DTypeMismatch { op: OP, left: x.dtype(), right: w.dtype() });
    }
    let edges = match bins {
        Bins::Edges(t) if t.dtype() != x.dtype() => {
            return Err(Error::DTypeMismatch { op: OP, left: x.dtype(), right: t.dtype() });
        }
        Bins::Edges(t) if t.rank() != 1 || t.numel() == 0 => {
            return refused(OP, format!("bins tensor should have one dimension and elements, got {:?}", t.shape()));
        }
        Bins::Edges(t) if t.numel() == 1 => return refused(OP, "bins must be > 0, but got 0 for dimension 0".into()),
        Bins::Edges(t) => copy::contiguous_copy(&t.detach())?,
        Bins::Equal(count, _) if count <= 0 => return refused(OP, format!("bins must be > 0, but got {count}")),
        Bins::Equal(count, range) => {
            let asked = match range {
                [low, high] => Some((low.as_f64(), high.as_f64())),
                [] => None,
                _ => return refused(OP, format!("range should have 2 elements, got {}", range.len())),
            };
            let (low, high) = bounds(OP, x, asked, 0.5)?;
            creation::linspace(low, high, count + 1, x.dtype())?
        }
    };
    let steps = edges.to_vec::<f64>()?;
    let mut sums = between(&numbers(x)?, &steps, weight)?;
    if density {
        let total: f64 = sums.iter().sum();
        sums.iter_mut().enumerate().for_each(|(i, s)| *s /= total * (steps[i + 1] - steps[i]));
    }
    Ok([unrecorded(|| cast::to(&Tensor::from_slice(&sums), x.dtype()))?, edges])
}

/// The batching rule: one example after another.
fn histograms(x: &Tensor, bins: &Bins, weight: Option<&Tensor>, density: bool) -> Option<Result<[Tensor; 2]>> {
    let edges = if let Bins::Edges(t) = bins { Some(*t) } else { None };
    let all: SmallVec<[&Tensor; 3]> = std::iter::once(x).chain(edges).chain(weight).collect();
    let part = |part: usize| {
        batch::each_of(&all, |one| {
            let bins = match bins {
                Bins::Edges(_) => Bins::Edges(&one[1]),
                Bins::Equal(count, range) => Bins::Equal(*count, range),
            };
            Ok(histogram(&one[0], bins, weight.and(one.last()), density)?[part].clone())
        })
    };
    let (sums, edges) = (part(0)?, part(1)?);
    Some(sums.and_then(|sums| Ok([sums, edges?])))
}

/// The sums of the weights, or of ones, of the numbers between each two edges; the last interval holds its upper bound. Edges
/// in no order cut as the search among them ends, which finds no place before the first edge for what is not below it.
fn between(values: &Tensor, edges: &[f64], weight: Option<&Tensor>) -> Result<Vec<f64>> {
    let count = edges.len() - 1;
    let weight = weight.map(|w| unrecorded(|| copy::to_contiguous(&cast::to(&w.detach(), DType::F64)?))).transpose()?;
    let storages = std::iter::once(values).chain(&weight).map(|t| (&**t.storage(), false));
    let _access = Access::lock(storages);
    // SAFETY: a contiguous tensor of this type, locked.
    let weights = weight.as_ref().map(|w| unsafe { w.elements::<f64>() });
    Ok(wide!(values.dtype(), A => {
        // SAFETY: as above.
        let values = unsafe { values.elements::<A>() };
        tally::sums("histogram", values.len(), count, |i| {
            let v: f64 = convert(values[i]);
            let is_within = v >= edges[0] && v <= edges[count];
            let interval = || (search::place(count + 1, v, true, |n| edges[n]) - 1).min(count - 1);
            is_within.then(|| (interval(), weights.map_or(1.0, |w| w[i])))
        })?
    }))
}

operation! {
    /// Where in a sorted sequence, or in the rows of sequences, values would have to be put in: before those that are equal,
    /// or behind them where `right`, or `side='right'`. `sorter` has the indices that sort the sequence.
    ///
    /// Shapes: `(n,), (...) -> (...)` or `(..., n), (..., k) -> (..., k)`.
    ///
    /// >>> ferrograd.searchsorted(ferrograd.tensor([1, 3, 5]), ferrograd.tensor([3, 6]))
    /// tensor([1, 3])
    function Noted(Numbers -> Index), ["searchsorted(Tensor sorted_sequence, Operand input, *, bool out_int32=False, bool right=False, str? side=None, Tensor? sorter=None)"], |_, a| {
        let right = match (a.text(4)?, a.bool(3)?) {
            (None, right) => right,
            (Some("right"), _) => true,
            (Some("left"), false) => false,
            (Some("left"), true) => return refused(a.op, "side and right can't be set to opposites, got side of left while right was True".into()),
            (Some(other), _) => return refused(a.op, format!("side can only be 'left' or 'right' but got {other}")),
        };
        Ok(searched(a.op, a.tensor(0)?, &as_tensor(a.operand(1)?)?, a.maybe_tensor(5)?, right, a.bool(2)?)?.into())
    }
}

operation! {
    /// Between which boundaries, a sorted vector, values lie: after the last that is below, or not above where `right`.
    ///
    /// Shapes: `(...), (n,) -> (...)`.
    ///
    /// >>> ferrograd.bucketize(ferrograd.tensor([3, 6]), ferrograd.tensor([1, 3, 5]))
    /// tensor([1, 3])
    function Noted(Numbers -> Index), ["bucketize(Operand input, Tensor boundaries, *, bool out_int32=False, bool right=False)"], |_, a| {
        let boundaries = a.tensor(1)?;
        if boundaries.rank() != 1 {
            return refused(a.op, format!("boundaries tensor must be 1 dimension, but got dim({})", boundaries.rank()));
        }
        Ok(searched(a.op, boundaries, &as_tensor(a.operand(0)?)?, None, a.bool(3)?, a.bool(2)?)?.into())
    }
}

/// A number as a tensor without dimensions.
fn as_tensor(operand: Operand) -> Result<Tensor> {
    match operand {
        Operand::Tensor(t) => Ok(t.detach()),
        Operand::Number(n) => Tensor::scalar(n, n.dtype()),
    }
}

pub(super) fn searched(
    op: &'static str,
    sequence: &Tensor,
    values: &Tensor,
    sorter: Option<&Tensor>,
    right: bool,
    narrow: bool,
) -> Result<Tensor> {
    let lead = |t: &Tensor| t.shape()[..t.rank().saturating_sub(1)].to_vec();
    if sequence.rank() == 0 {
        return refused(op, "boundaries tensor should have positive dimension, got a scalar".into());
    }
    if sequence.rank() > 1 && (values.rank() != sequence.rank() || lead(sequence) != lead(values)) {
        let (first, second) = (sequence.shape(), values.shape());
        let rule = "boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and input value tensor must match";
        return refused(
            op,
            format!("{rule}, but we got boundaries tensor {first:?} and input value tensor {second:?}"),
        );
    }
    if let Some(sorter) = sorter {
        if sorter.shape() != sequence.shape() {
            let (first, second) = (sequence.shape(), sorter.shape());
            return refused(
                op,
                format!("boundary and sorter must have the same size, but got {first:?} and {second:?}"),
            );
        }
        if sorter.dtype() != DType::I64 {
            return refused(op, format!("sorter must be a tensor of long dtype but got dtype {}", sorter.dtype()));
        }
    }
    if let Some(found) = searched_in_batch(op, sequence, values, sorter, right, narrow) {
        return found;
    }
    let mut promotion = Promotion::default();
    promotion.tensor(sequence.dtype(), sequence.rank());
    promotion.tensor(values.dtype(), values.rank());
    let common = if sequence.dtype() == values.dtype() { values.dtype() } else { promotion.result() };
    let (sequence, values) = unrecorded(|| {
        let ready = |t: &Tensor| copy::to_contiguous(&cast::to(&t.detach(), common)?);
        Ok((ready(sequence)?, ready(values)?))
    })?;
    common.require_numbers(op)?;
    let length = sequence.shape()[sequence.rank() - 1];
    let sorter = sorter.map(|s| s.to_vec::<i64>()).transpose()?;
    if let Some(bad) = sorter.iter().flatten().find(|&&i| i < 0 || i as usize >= length) {
        return refused(op, format!("sorter index out of range: {bad} of {length}"));
    }
    let y = Tensor::uninitialized(op, values.shape(), DType::I64)?;
    let per_row = if sequence.rank() > 1 { values.shape()[values.rank() - 1] } else { values.numel() };
    let access = Access::lock([(&**sequence.storage(), false), (&**values.storage(), false)]);
    dispatch!(op, common, T => {
        // SAFETY: all are contiguous tensors of these types; `y` is new.
        let (sequence, values, out) = unsafe { (sequence.elements::<T>(), values.elements::<T>(), y.elements_mut::<i64>()) };
        search::sorted(sequence, length, values, per_row, sorter.as_deref(), right, out);
    });
    drop(access);
    if narrow { cast::to(&y, DType::I32) } else { Ok(y) }
}

/// The search where any tensor is batched. Values that are batched alone are so many more values; else each example has a
/// row of the sequences.
fn searched_in_batch(
    op: &'static str,
    sequence: &Tensor,
    values: &Tensor,
    sorter: Option<&Tensor>,
    right: bool,
    narrow: bool,
) -> Option<Result<Tensor>> {
    let given: Vec<Tensor> = [sequence, values].into_iter().chain(sorter).cloned().collect();
    if sequence.rank() == 1
        && let Some(batch) = values.batch()
        && sequence.batch().is_none()
        && sorter.is_none_or(|s| s.batch().is_none())
    {
        let found = searched(op, sequence, &batch.value, sorter, right, narrow);
        return Some(found.map(|y| Tensor::batched(&y, batch.level)));
    }
    let flat = sequence.rank() == 1;
    batch::together(&given).map(|all| {
        let (all, level) = all?;
        let shape = view::signed(all[1].shape());
        let count = all[1].shape()[1..].iter().product::<usize>() as isize;
        let values = if flat { view::reshape(&all[1], &[shape[0], count])? } else { all[1].clone() };
        let y = searched(op, &all[0], &values, all.get(2), right, narrow)?;
        Ok(Tensor::batched(&view::reshape(&y, &shape)?, level))
    })
}
