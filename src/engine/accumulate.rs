//! The only place where gradients are added, summed back over broadcast dimensions, and cast.

use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::graph::arena::NodeRef;
use crate::graph::extras::Extras;
use crate::graph::mode::{is_grad_enabled, is_layout_enforced, records_nothing};
use crate::ops;
use crate::tensor::dtype::DType;
use crate::tensor::{Tensor, pending};

/// Blocks of memory that a sum which waits may keep from being used again: more of them are the gradients and operands of uses
/// that lie far apart, and a sum that is computed lets them go.
const HELD: usize = 4;

/// A gradient as output `n` of a node has it: summed over the dimensions that broadcasting added, cast to its dtype.
#[inline(always)]
pub fn conform(gradient: Tensor, node: &NodeRef, n: u32, from: &NodeRef, index: usize) -> Result<Tensor> {
    if node.output_is(n as usize, gradient.shape(), gradient.dtype()) {
        return Ok(gradient);
    }
    refit(gradient, node, n, from, index)
}

#[inline(never)]
fn refit(gradient: Tensor, node: &NodeRef, n: u32, from: &NodeRef, index: usize) -> Result<Tensor> {
    let (shape, dtype) = node.output(n as usize);
    // A leaf may take gradients in whichever dtype they come.
    let is_any = node.is_accumulator() && node.leaf().is_some_and(|leaf| leaf.gathered_in().is_none());
    let dtype = if is_any { gradient.dtype() } else { dtype };
    fitted(gradient, &shape, dtype, from, index)
}

/// A gradient summed to a shape and cast to a dtype.
pub fn fitted(gradient: Tensor, shape: &[usize], dtype: DType, from: &NodeRef, index: usize) -> Result<Tensor> {
    let summed = if gradient.shape() == shape { gradient } else { sum_to(gradient, shape, from, index)? };
    ops::cast::to(&summed, dtype)
}

/// Sums over leading dimensions that `shape` lacks and over those where it has 1.
fn sum_to(gradient: Tensor, shape: &[usize], from: &NodeRef, index: usize) -> Result<Tensor> {
    let given = gradient.shape();
    let lead = given.len().checked_sub(shape.len());
    let fits = lead.is_some_and(|lead| given[lead..].iter().zip(shape).all(|(&g, &s)| g == s || s == 1));
    let (Some(lead), true) = (lead, fits) else {
        return Err(Error::InvalidGradient {
            node: from.name(),
            index,
            given: given.to_vec(),
            expected: shape.to_vec(),
        });
    };
    if shape.is_empty() {
        return ops::sum::sum(&gradient, &[], false, None);
    }
    let dims: SmallVec<[isize; 8]> =
        (0..given.len()).filter(|&d| d < lead || (shape[d - lead] == 1 && given[d] != 1)).map(|d| d as isize).collect();
    let summed = if dims.is_empty() { gradient } else { ops::sum::sum(&gradient, &dims, true, None)? };
    if lead == 0 { Ok(summed) } else { ops::view::reshape(&summed, &ops::view::signed(shape)) }
}

/// The sum of two gradients of one output, into the first where nobody else has it, in whichever order its elements lie: what
/// arrives can go then. What waits is not written into, and counts as changed all the same.
#[inline]
pub fn add(sum: Tensor, gradient: &Tensor) -> Result<Tensor> {
    let is_free = records_nothing() && sum.is_last() && sum.layout().is_dense() && gradient.batch().is_none();
    if !is_free {
        return ops::arithmetic::add(&sum, gradient);
    }
    if !sum.is_pending() && !gradient.is_pending() {
        ops::pointwise::add_into(&sum, gradient)?;
        return Ok(sum);
    }
    let sum = ops::arithmetic::add(&sum, gradient)?;
    sum.storage().bump(sum.versioning());
    if pending::held(&sum)? > HELD {
        sum.settle()?;
    }
    Ok(sum)
}

/// Adds a gradient to a leaf's. The first is taken as it is where nobody else has it; with a history it is copied, as torch
/// does it.
pub fn into_leaf(leaf: &Tensor, gradient: Tensor) -> Result<()> {
    let meta = leaf.meta_or_new();
    let _alone = meta.accumulating();
    if !is_grad_enabled() {
        // The sum is whole: nothing would be gained by waiting, and what it reads can go.
        gradient.settle()?;
    }
    let gradient = match leaf.casts_to() {
        Some(dtype) if dtype != gradient.dtype() && gradient.batch().is_none() => ops::cast::to(&gradient, dtype)?,
        _ => gradient,
    };
    match leaf.grad() {
        None => leaf.store_grad(Some(first(leaf, gradient)?)),
        Some(sum) if !records_nothing() => leaf.store_grad(Some(ops::arithmetic::add(&sum, &gradient)?)),
        Some(sum) if sum.storage().is_read_only() => return Err(Error::ReadOnly { op: "AccumulateGrad" }),
        Some(sum) => {
            ops::inplace::check_apart("AccumulateGrad", &sum)?;
            ops::pointwise::add_into(&sum, &gradient)?;
        }
    }
    Ok(())
}

/// The first gradient of a leaf, as the leaf keeps it.
fn first(leaf: &Tensor, gradient: Tensor) -> Result<Tensor> {
    let recorded = !records_nothing();
    let is_laid_out = gradient.strides() == leaf.strides();
    let is_taken = is_laid_out && gradient.owners() == 1;
    let fits = is_laid_out || !is_layout_enforced() && gradient.layout().is_non_overlapping();
    // An address that somebody has asked for is no reason to copy, as in torch; memory of an array is.
    let is_free = gradient.is_sole() && !gradient.storage().is_external();
    if gradient.batch().is_some() || !recorded && fits && is_free {
        return Ok(gradient);
    }
    // The leaf may have been given data of another shape since: the gradient is spread over it where its order is another.
    let is_spread = !is_laid_out && gradient.shape() != leaf.shape();
    let gradient = if is_spread { ops::view::expand(&gradient, &ops::view::signed(leaf.shape()))? } else { gradient };
    let like = if gradient.shape() == leaf.shape() { leaf } else { &gradient };
    if recorded {
        return ops::copy::recorded_as(&gradient, like);
    }
    let copy = ops::copy::clone_as(&gradient, like)?;
    if !is_taken {
        // As in torch, which copies what somebody else has, and takes what only shares its memory: a copy was written once.
        copy.storage().bump(copy.versioning());
    }
    Ok(copy)
}

/// Adds a gradient to the one that is kept of a result: into new memory, as torch does it. The first is copied.
pub fn into_retained(extras: &Extras, output: u32, gradient: &Tensor) -> Result<()> {
    loop {
        let sum = extras.retained(output);
        let kept = match &sum {
            None => ops::copy::clone_contiguous(gradient)?,
            Some(sum) => ops::arithmetic::add(sum, gradient)?,
        };
        if !is_grad_enabled() {
            kept.settle()?;
        }
        // Another pass may have added to it meanwhile.
        if extras.exchange_retained(output, sum.as_ref(), kept) {
            return Ok(());
        }
    }
}
