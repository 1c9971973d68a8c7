//! Indexing of every example of a batch at once.

use smallvec::{SmallVec, smallvec};

use super::super::{batch, inplace, view};
use super::{Index, indices, inverse, is_mask};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;

const WHOLE: Index = Index::Slice { start: None, stop: None, step: 1 };

/// An index of single examples as one of all examples.
struct Moved {
    parts: Vec<Index>,
    /// The order that puts the dimensions of what is indexed into those of single examples, behind the batch.
    order: SmallVec<[isize; 4]>,
}

/// `x[parts]` for every example.
///
/// # Errors
/// For masks that are batched, and as [`super::get`].
pub(super) fn get(x: &Tensor, parts: &[Index], level: u32) -> Result<Tensor> {
    let parts = &masks(parts)?;
    let size = batch::size(level, indices(parts).chain([x]));
    let moved = moved(x.rank(), parts, level, size)?;
    let found = super::get(&batch::unwrapped(x, level, size)?, &moved.parts)?;
    let found = if is_sorted(&moved.order) { found } else { view::permute(&found, &moved.order)? };
    Ok(Tensor::batched(&found, level))
}

/// `x[parts] = value` for every example.
///
/// # Errors
/// Where the target is the same for all examples, for masks that are batched, and as [`super::set`].
pub(super) fn set(x: &Tensor, parts: &[Index], value: &Tensor, level: u32) -> Result<()> {
    let Some(target) = x.batch().filter(|b| b.level == level) else {
        return Err(Error::BatchedInPlace { op: "index_put_" });
    };
    let parts = &masks(parts)?;
    let size = target.value.shape()[0];
    let moved = moved(x.rank(), parts, level, size)?;
    let rank = moved.order.len();
    if value.rank() >= rank {
        let value = super::squeezed(value, rank - 1)?;
        if value.rank() >= rank {
            return Err(Error::ExpandRank { op: "expand", given: rank - 1, rank: value.rank() });
        }
        return set(x, parts, &value, level);
    }
    let value = batch::padded(&batch::unwrapped(value, level, size)?, rank)?;
    if indices(parts).next().is_none() {
        return inplace::copy_(&super::get(&target.value, &moved.parts)?, &value).map(drop);
    }
    super::set(&target.value, &moved.parts, &view::permute(&value, &inverse(&moved.order))?)
}

/// Parts with truth values as masks without dimensions.
fn masks(parts: &[Index]) -> Result<Vec<Index>> {
    let one = |part: &Index| match part {
        Index::Truth(truth) => Tensor::scalar(*truth, DType::Bool).map(Index::Tensor),
        other => Ok(other.clone()),
    };
    parts.iter().map(one).collect()
}

fn is_sorted(order: &[isize]) -> bool {
    order.iter().enumerate().all(|(n, &d)| n as isize == d)
}

/// The index of all examples: behind a whole first dimension, or, where the indices are batched themselves, behind an
/// index that counts the examples.
fn moved(rank: usize, parts: &[Index], level: u32, size: usize) -> Result<Moved> {
    if indices(parts).any(|t| is_mask(t) && t.batch().is_some()) {
        return Err(Error::BatchedMask);
    }
    let place = Place::new(rank, parts);
    let plain = batch::level(indices(parts)) != Some(level);
    let all = if plain {
        std::iter::once(WHOLE).chain(parts.iter().cloned()).collect()
    } else {
        with_examples(parts, level, size, place.count)?
    };
    Ok(Moved { parts: all, order: place.order(plain) })
}

/// The parts of an index behind one that counts the examples.
fn with_examples(parts: &[Index], level: u32, size: usize, count: usize) -> Result<Vec<Index>> {
    let examples = Tensor::from_shape(&(0..size as i64).collect::<Vec<_>>(), &[size])?;
    let mut column: SmallVec<[isize; 4]> = smallvec![1; count + 1];
    column[0] = size as isize;
    let one = |part: &Index| match part {
        Index::Tensor(t) if t.batch().is_some_and(|b| b.level == level) => {
            let aligned = batch::padded(&batch::unwrapped(t, level, size)?, count + 1)?;
            Ok(Index::Tensor(aligned))
        }
        other => Ok(other.clone()),
    };
    std::iter::once(Ok(Index::Tensor(view::reshape(&examples, &column)?))).chain(parts.iter().map(one)).collect()
}

/// Where the dimensions of advanced indices stand in the result of a single example.
struct Place {
    /// The first of them.
    first: usize,
    /// How many there are.
    count: usize,
    /// Whether the indices stand side by side, and so their dimensions in their place; else they stand in front.
    adjacent: bool,
    /// How many dimensions the result has.
    rank: usize,
}

impl Place {
    fn new(rank: usize, parts: &[Index]) -> Place {
        let consumed: usize = parts.iter().map(super::consumes).sum();
        let left = rank.saturating_sub(consumed);
        // A mask is one index, whatever it covers.
        let count = indices(parts).map(|t| if is_mask(t) { 1 } else { t.rank() }).max().unwrap_or(0);
        let (mut dim, mut first, mut gap, mut adjacent, mut ellipsis) = (0, None, false, true, false);
        for part in parts {
            match part {
                Index::Tensor(_) | Index::Truth(_) => {
                    adjacent &= first.is_none() || !gap;
                    first.get_or_insert(dim);
                    gap = false;
                }
                Index::Int(_) => {}
                Index::Ellipsis => {
                    gap = true;
                    dim += if std::mem::replace(&mut ellipsis, true) { 0 } else { left };
                }
                Index::Slice { .. } | Index::NewAxis => {
                    gap = true;
                    dim += 1;
                }
            }
        }
        let rest = if ellipsis { 0 } else { left };
        Place { first: first.unwrap_or(0), count, adjacent, rank: dim + rest + count }
    }

    /// For every dimension of the result of single examples behind the batch, its place in the result of all examples.
    fn order(&self, plain: bool) -> SmallVec<[isize; 4]> {
        let (first, count) = (self.first, self.count);
        let mut order: SmallVec<[isize; 4]> = (0..=self.rank as isize).collect();
        match (plain, self.adjacent) {
            // The indices' dimensions stand where they do for single examples.
            (true, true) | (false, false) => {}
            // They went in front of the batch.
            (true, false) => order[..=count].rotate_right(1),
            // They went to the front, right behind the batch, from behind `first` others.
            (false, true) => order[1..1 + first + count].rotate_left(count),
        }
        order
    }
}
