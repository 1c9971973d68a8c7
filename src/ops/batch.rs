//! Batched tensors: what `vmap` computes with. One hides a dimension, the batch, from the operations: they see the shape
//! of a single example. Each kind of operation has one rule here that turns it into the same operation on the value
//! behind, whose first dimension is the batch. Histories belong to the values behind.
//!
//! Batches nest: each `vmap` has a level, and the value behind a batched tensor may be batched at a lower one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::{SmallVec, smallvec};

use super::formula::Operand;
use super::random::separate_maps;
use super::{join, shared, view};
use crate::error::{Error, Result};
use crate::graph::forward;
use crate::graph::hooks::TensorHook;
use crate::graph::mode::{self, Randomness};
use crate::tensor::Tensor;
use crate::tensor::layout::{dim_mask, wrap_dim};

/// The level of the innermost batch among tensors, if any is batched.
#[inline]
pub(crate) fn level<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Option<u32> {
    tensors.into_iter().filter_map(|t| t.batch().map(|b| b.level)).max()
}

/// Refuses an example of a map that has ended. Tangents may be such: they are examples of maps around.
///
/// # Errors
/// For such an example.
#[inline]
pub fn refuse_escaped(op: &'static str, t: &Tensor) -> Result<()> {
    match t.batch() {
        Some(batch) if !mode::is_mapping(batch.level) && !forward::is_active() => Err(Error::Escaped { op }),
        _ => Ok(()),
    }
}

/// The number of examples in the batch of a level.
pub(super) fn size<'a>(level: u32, tensors: impl IntoIterator<Item = &'a Tensor>) -> usize {
    let at = |t: &Tensor| t.batch().filter(|b| b.level == level).map(|b| b.value.shape()[0]);
    tensors.into_iter().find_map(at).unwrap_or(1)
}

/// Runs a function on every example of some tensors at once: the first dimension of each is the batch, and so is the
/// result's.
///
/// ```
/// use ferrograd::{Tensor, ops};
/// let x = Tensor::from_shape(&[1.0f32, 2.0, 3.0, 4.0], &[2, 2])?;
/// let y = ops::batch::vmap(|x| ops::contract::dot(&x[0], &x[0]), &[x])?;
/// assert_eq!(y.to_vec::<f32>()?, [5.0, 25.0]);
/// # Ok::<(), ferrograd::Error>(())
/// ```
///
/// # Errors
/// What the function raises, and for tensors without dimensions or of different first sizes.
pub fn vmap(f: impl FnOnce(&[Tensor]) -> Result<Tensor>, inputs: &[Tensor]) -> Result<Tensor> {
    let first = |t: &Tensor| t.shape().first().copied();
    let Some(size) = inputs.first().and_then(first) else {
        return Err(Error::Rank { op: "vmap", expected: "tensors with a dimension to map over", shape: vec![] });
    };
    if let Some(other) = inputs.iter().find(|t| first(t) != Some(size)) {
        let (expected, given) = (vec![size], other.shape().to_vec());
        return Err(Error::Shape { op: "vmap", what: "the first sizes must agree", expected, given });
    }
    struct Exit;
    impl Drop for Exit {
        fn drop(&mut self) {
            mode::exit_mapping();
        }
    }
    let level = mode::enter_mapping(size, Randomness::Error);
    let _exit = Exit;
    let examples: Vec<Tensor> = inputs.iter().map(|t| argument(t, level, 0)).collect::<Result<_>>()?;
    unwrapped(&f(&examples)?, level, size)
}

/// The value of a tensor at a level with the batch in front, repeated where the tensor does not depend on it.
pub(crate) fn unwrapped(t: &Tensor, level: u32, size: usize) -> Result<Tensor> {
    match t.batch() {
        Some(batch) if batch.level == level => Ok(batch.value.clone()),
        Some(batch) if batch.level > level => {
            let inner = unwrapped(&batch.value, level, size)?;
            Ok(Tensor::batched(&view::transpose(&inner, 0, 1)?, batch.level))
        }
        _ => shared::repeated(t, level, size),
    }
}

/// Hides the first dimension as the batch of a level; the inverse of [`unwrapped`].
pub(crate) fn wrapped(t: &Tensor, level: u32) -> Result<Tensor> {
    match t.batch() {
        Some(batch) if batch.level > level => {
            let inner = wrapped(&view::transpose(&batch.value, 0, 1)?, level)?;
            Ok(Tensor::batched(&inner, batch.level))
        }
        _ => Ok(Tensor::batched(t, level)),
    }
}

/// A tensor with a dimension elsewhere; where a batch around lay stays known.
///
/// # Errors
/// For a dimension out of range.
pub(crate) fn lay(t: &Tensor, from: isize, to: isize) -> Result<Tensor> {
    if from == to {
        return Ok(t.clone());
    }
    let y = view::movedim(t, from, to)?;
    y.lie_as(t);
    Ok(y)
}

/// As [`wrapped`], for what a map is given: `dim` is where the examples lay.
///
/// # Errors
/// Where there is no memory.
pub(crate) fn argument(t: &Tensor, level: u32, dim: usize) -> Result<Tensor> {
    let example = wrapped(t, level)?;
    if let Some(batch) = example.batch() {
        batch.is_argument.store(true, Ordering::Relaxed);
        if batch.level == level {
            batch.place.store(dim, Ordering::Relaxed);
        }
    }
    Ok(example)
}

/// True for what a map was given.
pub(crate) fn is_argument(t: &Tensor) -> bool {
    t.batch().is_some_and(|batch| batch.is_argument.load(Ordering::Relaxed))
}

/// The levels that a tensor is batched at, the innermost first, each with its number of examples.
pub(crate) fn levels(t: &Tensor) -> SmallVec<[(u32, usize); 2]> {
    let mut all = SmallVec::new();
    let mut t = t;
    while let Some(batch) = t.batch() {
        all.push((batch.level, batch.value.shape()[0]));
        t = &batch.value;
    }
    all
}

/// A value at the bottom as an example of the batches that its first dimensions are.
pub(super) fn batched(value: Tensor, levels: &[(u32, usize)]) -> Tensor {
    levels.iter().rev().fold(value, |y, &(level, _)| Tensor::batched(&y, level))
}

/// A tensor with all of these batches in front, as the value at the bottom has them.
pub(crate) fn peeled(t: &Tensor, levels: &[(u32, usize)]) -> Result<Tensor> {
    levels.iter().try_fold(t.clone(), |t, &(level, size)| unwrapped(&t, level, size))
}

/// The inverse of [`peeled`].
pub(crate) fn dressed(t: &Tensor, levels: &[(u32, usize)]) -> Result<Tensor> {
    levels.iter().rev().try_fold(t.clone(), |t, &(level, _)| wrapped(&t, level))
}

/// A hook on a batched tensor as a hook on the value at the bottom, whose gradient has all examples: while the maps run,
/// the hook sees the gradient of a single example.
pub(crate) fn hook(t: &Tensor, hook: Arc<TensorHook>) -> Arc<TensorHook> {
    let levels = levels(t);
    let numbers: SmallVec<[Option<u64>; 2]> = levels.iter().map(|l| mode::mapping_number(l.0)).collect();
    Arc::new(move |gradient: Option<&Tensor>| {
        let runs = |(level, number): (&(u32, usize), &Option<u64>)| mode::mapping_number(level.0) == *number;
        if !levels.iter().zip(&numbers).all(runs) {
            return hook(gradient);
        }
        let gradient = gradient.map(|g| dressed(g, &levels)).transpose()?;
        hook(gradient.as_ref())?.map(|given| peeled(&given, &levels)).transpose()
    })
}

/// The rule of operations on one tensor; `None` where it is not batched.
#[inline]
pub(super) fn unary(x: &Tensor, run: impl FnOnce(&Tensor) -> Result<Tensor>) -> Option<Result<Tensor>> {
    let batch = x.batch()?;
    Some(run(&batch.value).map(|y| Tensor::batched(&y, batch.level)))
}

/// The rule of operations that take one example after another.
pub(super) fn each(x: &Tensor, run: impl Fn(&Tensor) -> Result<Tensor>) -> Option<Result<Tensor>> {
    each_of(&[x], |examples| run(&examples[0]))
}

/// As [`each`], for functions of several tensors.
pub(super) fn each_of(tensors: &[&Tensor], run: impl Fn(&[Tensor]) -> Result<Tensor>) -> Option<Result<Tensor>> {
    let level = level(tensors.iter().copied())?;
    let size = size(level, tensors.iter().copied());
    let one = |n: isize| {
        let example = |t: &&Tensor| view::select(&unwrapped(t, level, size)?, 0, n);
        let examples: SmallVec<[Tensor; 2]> = tensors.iter().map(example).collect::<Result<_>>()?;
        run(&examples)
    };
    let all = (0..size as isize).map(one).collect::<Result<Vec<Tensor>>>();
    Some(all.and_then(|all| Ok(Tensor::batched(&join::stack(&all, 0)?, level))))
}

/// Refuses an example where the numbers say how many elements the result has.
///
/// # Errors
/// For a batched tensor.
pub(super) fn check_sized(op: &'static str, x: &Tensor) -> Result<()> {
    if x.batch().is_some() { Err(Error::BatchedSize { op }) } else { Ok(()) }
}

/// The rule of reductions: their dimensions move by one, and none means all but the batch.
pub(super) fn reduction<R>(
    op: &'static str,
    x: &Tensor,
    dims: &[isize],
    keepdim: bool,
    run: impl FnOnce(&Tensor, &[isize], bool) -> Result<R>,
) -> Option<Result<(R, u32)>> {
    let batch = x.batch()?;
    let reduce = || {
        if x.rank() == 0 {
            dim_mask(op, dims, 0)?;
            return run(&view::unsqueeze(&batch.value, 1)?, &[1], false);
        }
        let mask = dim_mask(op, dims, x.rank())?;
        let moved: SmallVec<[isize; 4]> = (0..x.rank()).filter(|&d| mask[d]).map(|d| d as isize + 1).collect();
        run(&batch.value, &moved, keepdim)
    };
    Some(reduce().map(|found| (found, batch.level)))
}

/// As [`reduction`], for those of one result.
pub(super) fn reduced(
    op: &'static str,
    x: &Tensor,
    dims: &[isize],
    keepdim: bool,
    run: impl FnOnce(&Tensor, &[isize], bool) -> Result<Tensor>,
) -> Option<Result<Tensor>> {
    reduction(op, x, dims, keepdim, run).map(|found| found.map(|(y, level)| Tensor::batched(&y, level)))
}

/// The rule of operations along one dimension.
pub(super) fn along(
    op: &'static str,
    x: &Tensor,
    dim: isize,
    run: impl FnOnce(&Tensor, isize) -> Result<Tensor>,
) -> Option<Result<Tensor>> {
    unary(x, |value| {
        if x.rank() == 0 {
            wrap_dim(op, dim, 0)?;
            return view::squeeze(&run(&view::unsqueeze(value, 1)?, 1)?, Some(&[1]));
        }
        run(value, wrap_dim(op, dim, x.rank())? as isize + 1)
    })
}

/// As [`along`] for operations of two results.
pub(super) fn along_both(
    op: &'static str,
    x: &Tensor,
    dim: isize,
    run: impl FnOnce(&Tensor, isize) -> Result<[Tensor; 2]>,
) -> Option<Result<[Tensor; 2]>> {
    let batch = x.batch()?;
    let both = || {
        if x.rank() == 0 {
            wrap_dim(op, dim, 0)?;
            let [a, b] = run(&view::unsqueeze(&batch.value, 1)?, 1)?;
            return Ok([view::squeeze(&a, Some(&[1]))?, view::squeeze(&b, Some(&[1]))?]);
        }
        run(&batch.value, wrap_dim(op, dim, x.rank())? as isize + 1)
    };
    Some(both().map(|both| both.map(|y| Tensor::batched(&y, batch.level))))
}

/// Tensors at the innermost level with the batch in front, so that they broadcast as single examples do: batched ones
/// have dimensions of size 1 put in behind the batch. `None` where none is batched.
pub(super) fn aligned(tensors: &[&Tensor]) -> Option<Result<(SmallVec<[Tensor; 3]>, u32)>> {
    let level = level(tensors.iter().copied())?;
    let rank = tensors.iter().map(|t| t.rank()).max().unwrap_or(0);
    let size = size(level, tensors.iter().copied());
    let one = |t: &&Tensor| match examples(t, level, size)? {
        Some(value) => padded(&value, rank + 1),
        None => Ok((*t).clone()),
    };
    Some(tensors.iter().map(one).collect::<Result<_>>().map(|all| (all, level)))
}

/// The value of a tensor at a level with the batch in front; `None` where it may stay as it is and broadcast.
pub(crate) fn examples(t: &Tensor, level: u32, size: usize) -> Result<Option<Tensor>> {
    match t.batch() {
        Some(batch) if batch.level == level => Ok(Some(batch.value.clone())),
        _ if shared::is_marked(t, level) => shared::repeated(t, level, size).map(Some),
        _ => Ok(None),
    }
}

/// With dimensions of size 1 behind the first, up to a rank.
pub(super) fn padded(value: &Tensor, rank: usize) -> Result<Tensor> {
    let missing = rank.saturating_sub(value.rank());
    if missing == 0 {
        return Ok(value.clone());
    }
    let mut shape = view::signed(value.shape());
    (0..missing).for_each(|_| shape.insert(1, 1));
    view::reshape(value, &shape)
}

/// The rule of element-wise operations on tensors and numbers.
pub(super) fn pointwise<'a>(
    operands: &[Operand<'a>],
    run: impl FnOnce(&[Operand]) -> Result<Tensor>,
) -> Option<Result<Tensor>> {
    let tensors: SmallVec<[&Tensor; 5]> = operands.iter().filter_map(|o| o.tensor()).collect();
    let aligned = aligned(&tensors)?;
    let apply = || {
        let (values, level) = aligned?;
        let mut values = values.iter();
        let moved: SmallVec<[Operand; 5]> = operands
            .iter()
            .map(|o| match (o, o.tensor().and_then(|_| values.next())) {
                (_, Some(value)) => Operand::Tensor(value),
                (number, None) => *number,
            })
            .collect();
        run(&moved).map(|y| Tensor::batched(&y, level))
    };
    Some(apply())
}

/// Tensors at the innermost level, all with the batch in front.
pub(super) fn together(tensors: &[Tensor]) -> Option<Result<(Vec<Tensor>, u32)>> {
    let level = level(tensors)?;
    let size = size(level, tensors);
    Some(tensors.iter().map(|t| unwrapped(t, level, size)).collect::<Result<_>>().map(|all| (all, level)))
}

/// The rule of what takes a batch already, along the first dimension of all tensors and of the result: a batch of batches is a
/// longer one.
pub(super) fn folded(tensors: &[&Tensor], run: impl FnOnce(&[Tensor]) -> Result<Tensor>) -> Option<Result<Tensor>> {
    let owned: SmallVec<[Tensor; 2]> = tensors.iter().map(|&t| t.clone()).collect();
    let joined = |(all, level): (Vec<Tensor>, u32)| {
        let sizes = [all[0].shape()[0] as isize, all[0].shape()[1] as isize];
        let longer: SmallVec<[Tensor; 2]> = all.iter().map(|t| view::flatten(t, 0, 1)).collect::<Result<_>>()?;
        Ok(Tensor::batched(&view::unflatten(&run(&longer)?, 0, &sizes)?, level))
    };
    together(&owned).map(|both| both.and_then(joined))
}

/// The rule of changes in place: the target has the batch already, and what comes in broadcasts over it.
///
/// # Errors
/// Where an operand is batched and the target is not: it has no room for all examples.
pub(super) fn in_place(
    op: &'static str,
    target: &Tensor,
    operands: &[&Tensor],
) -> Option<Result<SmallVec<[Tensor; 3]>>> {
    let level = level(operands.iter().copied().chain([target]))?;
    let Some(batch) = target.batch().filter(|b| b.level == level) else {
        return Some(Err(Error::BatchedInPlace { op }));
    };
    let (rank, size) = (batch.value.rank(), batch.value.shape()[0]);
    let one = |t: &&Tensor| match examples(t, level, size)? {
        Some(value) => padded(&value, rank),
        None => Ok((*t).clone()),
    };
    let all: Result<SmallVec<[Tensor; 3]>> =
        std::iter::once(Ok(batch.value.clone())).chain(operands.iter().map(one)).collect();
    Some(all)
}

/// The rule of matrix products: vectors become matrices of one row or column, the batch one more batch of matrices.
pub(super) fn matmul(
    a: &Tensor,
    b: &Tensor,
    run: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Option<Result<Tensor>> {
    let level = level([a, b])?;
    let size = size(level, [a, b]);
    let product = || {
        let y = match (examples(a, level, size)?, examples(b, level, size)?) {
            // One matrix by many vectors is one product of matrices.
            (None, Some(v)) if a.rank() == 2 && b.rank() == 1 => run(&v, &view::transpose(a, 0, 1)?)?,
            (Some(v), None) if a.rank() == 1 && b.rank() <= 2 => run(&v, b)?,
            (Some(v), None) if a.rank() >= 2 && b.rank() <= 2 => run(&v, b)?,
            (va, vb) => {
                let rank = a.rank().max(b.rank()).max(2);
                let left = matrix(va.as_ref().unwrap_or(a), va.is_some(), a.rank(), rank, -2)?;
                let right = matrix(vb.as_ref().unwrap_or(b), vb.is_some(), b.rank(), rank, -1)?;
                let y = run(&left, &right)?;
                let y = if b.rank() == 1 { view::squeeze(&y, Some(&[-1]))? } else { y };
                let row: isize = if b.rank() == 1 { -1 } else { -2 };
                if a.rank() == 1 { view::squeeze(&y, Some(&[row]))? } else { y }
            }
        };
        Ok(Tensor::batched(&y, level))
    };
    Some(product())
}

/// An operand of a product as matrices: a vector with a dimension put in, and a batch in front of all others.
fn matrix(t: &Tensor, is_batched: bool, rank: usize, full: usize, dim: isize) -> Result<Tensor> {
    let t = if rank == 1 { view::unsqueeze(t, dim)? } else { t.clone() };
    if is_batched { padded(&t, full + 1) } else { Ok(t) }
}

/// A tensor of random numbers as the maps that run want it: one for all examples, or each example its own.
///
/// # Errors
/// Where a map was not told which.
pub(super) fn random(
    op: &'static str,
    shape: &[usize],
    run: impl FnOnce(&[usize]) -> Result<Tensor>,
) -> Result<Tensor> {
    let levels = separate_maps(op)?;
    let full: SmallVec<[usize; 6]> = levels.iter().rev().map(|l| l.1).chain(shape.iter().copied()).collect();
    dressed(&run(&full)?, &levels)
}

/// Dimensions of an argument that counts from the front, moved behind the batch.
pub(super) fn moved(dims: &[isize]) -> SmallVec<[isize; 8]> {
    let mut all: SmallVec<[isize; 8]> = smallvec![0];
    all.extend(dims.iter().map(|&d| if d < 0 { d } else { d + 1 }));
    all
}

/// Sizes behind that of the batch.
pub(super) fn sized(value: &Tensor, sizes: &[usize]) -> SmallVec<[isize; 8]> {
    std::iter::once(value.shape()[0]).chain(sizes.iter().copied()).map(|s| s as isize).collect()
}
