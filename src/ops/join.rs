//! Several tensors as one.

use smallvec::SmallVec;

use super::recorded::{Settings, record};
use super::registry::operation;
use super::{batch, cast, copy, view};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::tensor::Tensor;
use crate::tensor::dtype::Promotion;
use crate::tensor::layout::{Shape, wrap_dim};

operation! {
    /// Tensors one after another along a dimension; all other sizes agree. dtypes promote. The gradient is cut again.
    ///
    /// >>> ferrograd.cat([ferrograd.tensor([1, 2]), ferrograd.tensor([3])])
    /// tensor([1, 2, 3])
    function ["cat(Tensor[] tensors, int dim=0)"], |_, a| Ok(cat(a.tensors(0)?, a.int(1)?)?.into())
}

/// Tensors one after another along a dimension.
///
/// # Errors
/// For an empty list, sizes that differ, and a dimension out of range.
pub fn cat(tensors: &[Tensor], dim: isize) -> Result<Tensor> {
    const OP: &str = "cat";
    if tensors.is_empty() {
        return Err(Error::EmptyList { op: OP });
    }
    if let Some(moved) = batch::together(tensors) {
        let (moved, level) = moved?;
        let dim = wrap_dim(OP, dim, tensors[0].rank())? as isize + 1;
        return cat(&moved, dim).map(|y| Tensor::batched(&y, level));
    }
    let mut promotion = Promotion::default();
    tensors.iter().for_each(|t| promotion.tensor(t.dtype(), t.rank().max(1)));
    let dtype = promotion.result();
    // Vectors of no elements fit anywhere: what an empty list was before it had a shape.
    let fits_anywhere = |t: &&Tensor| t.shape() != [0];
    let first = tensors.iter().find(fits_anywhere).unwrap_or(&tensors[0]);
    if first.rank() == 0 {
        return Err(Error::Rank { op: OP, expected: "tensors of at least one dimension", shape: vec![] });
    }
    let dim = wrap_dim(OP, dim, first.rank())?;
    let mut shape = Shape::from_slice(first.shape());
    shape[dim] = 0;
    for t in tensors.iter().filter(fits_anywhere) {
        let agrees = t.rank() == shape.len() && (0..shape.len()).all(|d| d == dim || t.shape()[d] == shape[d]);
        if !agrees {
            return Err(Error::Shape {
                op: OP,
                what: "sizes must match except in the concatenated dimension",
                expected: first.shape().to_vec(),
                given: t.shape().to_vec(),
            });
        }
        shape[dim] += t.shape()[dim];
    }
    let y = Tensor::uninitialized(OP, &shape, dtype)?;
    let mut start = 0;
    let mut sizes: SmallVec<[isize; 4]> = SmallVec::new();
    for t in tensors {
        let size = if fits_anywhere(&t) { t.shape()[dim] } else { 0 };
        if t.numel() > 0 {
            copy::write(&y.alias(y.layout().slice(dim, start, size, 1), false), t)?;
        }
        start += size;
        sizes.push(size as isize);
    }
    let cast: Vec<Tensor> = tensors.iter().map(|t| cast::to(t, dtype)).collect::<Result<_>>()?;
    let inputs: Vec<&Tensor> = cast.iter().collect();
    let settings = || Settings { dims: sizes, number: dim as f64, ..Settings::default() };
    record("CatBackward0", &y, &inputs, &[], settings, |call| {
        // Each input gets its stretch of g.
        let dim = call.settings.number as isize;
        let mut start = 0;
        let stretch = |(i, &size): (usize, &isize)| {
            let found = if call.needs[i] { Some(view::narrow(&call.g, dim, start, size)) } else { None };
            start += size;
            found.transpose()
        };
        call.settings.dims.iter().enumerate().map(stretch).collect()
    })?;
    Ok(y)
}

operation! {
    /// Tensors of one shape along a new dimension.
    ///
    /// >>> ferrograd.stack([ferrograd.tensor([1, 2]), ferrograd.tensor([3, 4])])
    /// tensor([[1, 2],
    ///         [3, 4]])
    function ["stack(Tensor[] tensors, int dim=0)"], |_, a| Ok(stack(a.tensors(0)?, a.int(1)?)?.into())
}

/// Tensors of one shape along a new dimension.
///
/// # Errors
/// For an empty list, shapes that differ, and a dimension out of range.
pub fn stack(tensors: &[Tensor], dim: isize) -> Result<Tensor> {
    const OP: &str = "stack";
    let Some(first) = tensors.first() else { return Err(Error::EmptyList { op: OP }) };
    let dim = wrap_dim(OP, dim, first.rank() + 1)? as isize;
    if let Some(other) = tensors.iter().find(|t| t.shape() != first.shape()) {
        return Err(Error::Shape {
            op: OP,
            what: "each tensor must have the same size",
            expected: first.shape().to_vec(),
            given: other.shape().to_vec(),
        });
    }
    if let Some(moved) = batch::together(tensors) {
        let (moved, level) = moved?;
        return stack(&moved, dim + 1).map(|y| Tensor::batched(&y, level));
    }
    let parts: Vec<Tensor> = unrecorded(|| tensors.iter().map(|t| view::unsqueeze(t, dim)).collect::<Result<_>>())?;
    let y = unrecorded(|| cat(&parts, dim))?;
    let cast: Vec<Tensor> = tensors.iter().map(|t| cast::to(t, y.dtype())).collect::<Result<_>>()?;
    let inputs: Vec<&Tensor> = cast.iter().collect();
    record(
        "StackBackward0",
        &y,
        &inputs,
        &[],
        || Settings { number: dim as f64, ..Settings::default() },
        |call| {
            // Each input gets its index of g.
            let dim = call.settings.number as isize;
            let one = |(i, &needed): (usize, &bool)| {
                if needed { view::select(&call.g, dim, i as isize).map(Some) } else { Ok(None) }
            };
            call.needs.iter().enumerate().map(one).collect()
        },
    )?;
    Ok(y)
}
