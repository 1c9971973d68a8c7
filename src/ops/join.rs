//! Several tensors as one.

use smallvec::{SmallVec, smallvec};

use super::copy::Format;
use super::recorded::{Settings, link_simple, record};
use super::registry::{Arguments, Output, operation};
use super::{batch, cast, copy, view};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::memory::{filled, gathered, listed, reserved};
use crate::tensor::Tensor;
use crate::tensor::dtype::{DType, Promotion};
use crate::tensor::layout::{Shape, wrap_dim};

operation! {
    /// Tensors one after another along a dimension; all other sizes agree. dtypes promote. The gradient is cut again.
    ///
    /// Shapes: the same but along `dim`, where they add up; `(0,)` counts as nothing.
    ///
    /// >>> ferrograd.cat([ferrograd.tensor([1, 2]), ferrograd.tensor([3])])
    /// tensor([1, 2, 3])
    function Noted(Any -> Promoted), ["cat(Tensor[] tensors, int dim=0)"], |_, a| Ok(cat(a.tensors(0)?, a.int(1)?)?.into())
}

operation! {
    /// Tensors one after another along a dimension: the same as `cat`.
    ///
    /// Shapes: the same but along `dim`, where they add up; `(0,)` counts as nothing.
    ///
    /// >>> ferrograd.concat([ferrograd.tensor([1, 2]), ferrograd.tensor([3])])
    /// tensor([1, 2, 3])
    function Noted(Any -> Promoted), ["concat(Tensor[] tensors, int dim=0)"], |_, a| Ok(cat(a.tensors(0)?, a.int(1)?)?.into())
}

operation! {
    /// Tensors one after another along a dimension: `cat` under NumPy's name.
    ///
    /// Shapes: the same but along `dim`, where they add up; `(0,)` counts as nothing.
    ///
    /// >>> ferrograd.concatenate([ferrograd.tensor([1, 2]), ferrograd.tensor([3])])
    /// tensor([1, 2, 3])
    function Noted(Any -> Promoted), ["concatenate(Tensor[] tensors, int dim=0)"], |_, a| Ok(cat(a.tensors(0)?, a.int(1)?)?.into())
}

/// Tensors one after another along a dimension.
///
/// # Errors
/// For an empty list, sizes that differ, and a dimension out of range.
pub fn cat(tensors: &[Tensor], dim: isize) -> Result<Tensor> {
    let all = !tensors.is_empty() && are_channels_last(tensors);
    joined(tensors, dim, if all { Format::ChannelsLast(tensors[0].rank()) } else { Format::Contiguous })
}

/// The size of a vector of no elements between tensors of more dimensions: it has no stretch.
const NONE: usize = usize::MAX;

fn are_channels_last(tensors: &[Tensor]) -> bool {
    tensors.iter().all(|t| t.layout().suggests_channels_last())
}

/// Vectors of no elements fit anywhere: what an empty list was before it had a shape.
fn fits_anywhere(t: &Tensor) -> bool {
    t.shape() == [0]
}

/// The dimension along which tensors are joined, and the sizes of the result.
fn joined_shape(tensors: &[Tensor], dim: isize) -> Result<(usize, Shape)> {
    const OP: &str = "cat";
    if let Some(position) = tensors.iter().position(|t| t.rank() == 0) {
        let what = format!("zero-dimensional tensor (at position {position}) cannot be concatenated");
        return Err(Error::Invalid { op: OP, what });
    }
    let mut others = tensors.iter().filter(|t| !fits_anywhere(t)).peekable();
    // Of nothing but such vectors the dimension does not matter.
    let Some(&first) = others.peek() else { return Ok((0, Shape::from_slice(&[0]))) };
    let dim = wrap_dim(OP, dim, first.rank())?;
    let mut shape = Shape::from_slice(first.shape());
    shape[dim] = 0;
    for t in others {
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
    Ok((dim, shape))
}

/// As [`cat`] of tensors that are batched. What fits anywhere as an example does not with its batch, and is left out.
fn joined_examples(tensors: &[Tensor], dim: isize) -> Result<Tensor> {
    const OP: &str = "cat";
    let dtype = promoted(tensors);
    let some = || tensors.iter().filter(|t| !fits_anywhere(t));
    let kept = gathered(OP, some().count(), some().map(|t| cast::to(t, dtype)))?;
    let Some(moved) = batch::together(&kept) else { return cat(&kept, dim) };
    let (moved, level) = moved?;
    let dim = wrap_dim(OP, dim, kept[0].rank())? as isize + 1;
    cat(&moved, dim).map(|y| Tensor::batched(&y, level))
}

/// As [`cat`], in an order of elements.
fn joined(tensors: &[Tensor], dim: isize, format: Format) -> Result<Tensor> {
    const OP: &str = "cat";
    if tensors.is_empty() {
        return Err(Error::NothingToJoin { op: OP });
    }
    if batch::level(tensors).is_some() && tensors.iter().any(|t| !fits_anywhere(t)) {
        return joined_examples(tensors, dim);
    }
    let dtype = promoted(tensors);
    let (dim, shape) = joined_shape(tensors, dim)?;
    let y = format.applied(OP, Tensor::uninitialized(OP, &shape, dtype)?, None)?;
    let mut start = 0;
    let mut sizes: Shape = SmallVec::from_vec(reserved(OP, tensors.len())?);
    for t in tensors {
        let size = if fits_anywhere(t) { 0 } else { t.shape()[dim] };
        if t.numel() > 0 {
            copy::move_into(&y.alias(y.layout().slice(dim, start, size, 1), false), t)?;
        }
        start += size;
        sizes.push(if t.rank() == shape.len() { size } else { NONE });
    }
    let cast = gathered(OP, tensors.len(), tensors.iter().map(|t| cast::to(t, dtype)))?;
    let inputs: Vec<&Tensor> = listed(cast.len(), cast.iter());
    let settings = || Settings { shape: sizes, dims: smallvec![dim as isize], ..Settings::default() };
    record("CatBackward0", &y, &inputs, &[], settings, |call| {
        // Each input gets its stretch of g.
        let dim = call.settings.dims[0];
        let mut start = 0;
        let stretch = |(i, &size): (usize, &usize)| {
            let from = start;
            start += if size == NONE { 0 } else { size as isize };
            match size {
                _ if !call.needs[i] => Ok(None),
                NONE => Tensor::zeros(&[0], call.g.dtype()).map(Some),
                _ => view::narrow(&call.g, dim, from, size as isize).map(Some),
            }
        };
        call.settings.shape.iter().enumerate().map(stretch).collect()
    })?;
    Ok(y)
}

operation! {
    /// Tensors of one shape along a new dimension.
    ///
    /// Shapes: all the same; the result has their number as a new size at `dim`.
    ///
    /// >>> ferrograd.stack([ferrograd.tensor([1, 2]), ferrograd.tensor([3, 4])])
    /// tensor([[1, 2],
    ///         [3, 4]])
    function Noted(Any -> Promoted), ["stack(Tensor[] tensors, int dim=0)"], |_, a| Ok(stack(a.tensors(0)?, a.int(1)?)?.into())
}

/// The value of a stack of tensors of one shape.
fn stacked(tensors: &[Tensor], dim: isize) -> Result<Tensor> {
    let (d, own) = (dim as usize, tensors[0].shape());
    if d == own.len() || !are_channels_last(tensors) {
        let parts = gathered("stack", tensors.len(), tensors.iter().map(|t| view::unsqueeze(t, dim)))?;
        return joined(&parts, dim, Format::Contiguous);
    }
    // Channels that lie last stay where they are: one tensor behind the other along the dimension that is cut then.
    let y = cat(tensors, dim)?;
    let mut layout = y.layout().clone();
    layout.shape[d] = own[d];
    layout.shape.insert(d, tensors.len());
    layout.strides.insert(d, layout.strides[d] * own[d] as isize);
    Ok(Tensor::new(y.storage().clone(), layout, y.dtype(), y.versioning()))
}

/// Tensors of one shape along a new dimension.
///
/// # Errors
/// For an empty list, shapes that differ, and a dimension out of range.
pub fn stack(tensors: &[Tensor], dim: isize) -> Result<Tensor> {
    const OP: &str = "stack";
    let Some(first) = tensors.first() else { return Err(expected_some(OP)) };
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
    let y = unrecorded(|| stacked(tensors, dim))?;
    let cast = gathered(OP, tensors.len(), tensors.iter().map(|t| cast::to(t, y.dtype())))?;
    let inputs: Vec<&Tensor> = listed(cast.len(), cast.iter());
    record(
        "StackBackward0",
        &y,
        &inputs,
        &[],
        || Settings { dims: smallvec![dim as isize], ..Settings::default() },
        |call| {
            // Each input gets its index of g.
            let dim = call.settings.dims[0];
            let one = |(i, &needed): (usize, &bool)| {
                if needed { view::select(&call.g, dim, i as isize).map(Some) } else { Ok(None) }
            };
            call.needs.iter().enumerate().map(one).collect()
        },
    )?;
    Ok(y)
}

fn expected_some(op: &'static str) -> Error {
    Error::EmptyList { op }
}

operation! {
    /// Tensors side by side: vectors and numbers one after another, all others along the second dimension.
    ///
    /// Shapes: of one size but along the second dimension, of vectors the first, where they add up.
    ///
    /// >>> ferrograd.hstack([ferrograd.tensor([[1], [2]]), ferrograd.tensor([[3], [4]])])
    /// tensor([[1, 3],
    ///         [2, 4]])
    function Noted(Any -> Promoted), ["hstack(Tensor[] tensors)"], |_, a| {
        let all = at_least(a, 1)?;
        Ok(cat(&all, isize::from(all[0].rank() > 1))?.into())
    }
}

operation! {
    /// Tensors one below the other: vectors as rows, all others along the first dimension.
    ///
    /// Shapes: of one size but along the first dimension, where they add up; vectors are rows.
    ///
    /// >>> ferrograd.vstack([ferrograd.tensor([1, 2]), ferrograd.tensor([3, 4])])
    /// tensor([[1, 2],
    ///         [3, 4]])
    function Noted(Any -> Promoted), ["vstack(Tensor[] tensors)"], |_, a| Ok(cat(&at_least(a, 2)?, 0)?.into())
}

operation! {
    /// Tensors one below the other: the same as `vstack`.
    ///
    /// Shapes: of one size but along the first dimension, where they add up; vectors are rows.
    ///
    /// >>> ferrograd.row_stack([ferrograd.tensor([1, 2]), ferrograd.tensor([3, 4])])
    /// tensor([[1, 2],
    ///         [3, 4]])
    function Noted(Any -> Promoted), ["row_stack(Tensor[] tensors)"], |_, a| Ok(cat(&at_least(a, 2)?, 0)?.into())
}

operation! {
    /// Tensors one behind the other, along the third dimension.
    ///
    /// Shapes: of one size but along the third dimension, where they add up.
    ///
    /// >>> ferrograd.dstack([ferrograd.tensor([1, 2]), ferrograd.tensor([3, 4])])
    /// tensor([[[1, 3],
    ///          [2, 4]]])
    function Noted(Any -> Promoted), ["dstack(Tensor[] tensors)"], |_, a| Ok(cat(&at_least(a, 3)?, 2)?.into())
}

operation! {
    /// Tensors side by side, vectors as columns.
    ///
    /// Shapes: matrices of equal height, and vectors as their columns.
    ///
    /// >>> ferrograd.column_stack([ferrograd.tensor([1, 2]), ferrograd.tensor([3, 4])])
    /// tensor([[1, 3],
    ///         [2, 4]])
    function Noted(Any -> Promoted), ["column_stack(Tensor[] tensors)"], |_, a| {
        let column = |t: &Tensor| if t.rank() <= 1 { view::reshape(t, &[t.numel() as isize, 1]) } else { Ok(t.clone()) };
        let all = gathered(a.op, a.tensors(0)?.len(), a.tensors(0)?.iter().map(column))?;
        if all.is_empty() { Err(expected_some(a.op)) } else { Ok(cat(&all, 1)?.into()) }
    }
}

/// The tensors of a call, all of at least so many dimensions.
fn at_least(a: &Arguments, rank: usize) -> Result<Vec<Tensor>> {
    let all = gathered(a.op, a.tensors(0)?.len(), a.tensors(0)?.iter().map(|t| raised(t, rank)))?;
    if all.is_empty() { Err(expected_some(a.op)) } else { Ok(all) }
}

/// With dimensions of size 1 up to a rank of at most 3: vectors become rows, and matrices get one behind.
fn raised(x: &Tensor, rank: usize) -> Result<Tensor> {
    match (x.rank(), rank) {
        (0, 1..) => view::reshape(x, &[1, 1, 1][..rank]),
        (1, 2) => view::unsqueeze(x, 0),
        (1, 3) => view::unsqueeze(&view::unsqueeze(x, 0)?, -1),
        (2, 3) => view::unsqueeze(x, -1),
        _ => Ok(x.clone()),
    }
}

/// `atleast_1d` and its kind: one tensor for one, a tuple for several or for a sequence.
fn called(n: usize, a: &Arguments, rank: usize) -> Result<Output> {
    match n {
        0 => Ok(raised(a.tensor(0)?, rank)?.into()),
        _ => gathered(a.op, a.tensors(0)?.len(), a.tensors(0)?.iter().map(|t| raised(t, rank))).map(Output::Tensors),
    }
}

operation! {
    /// Tensors with at least one dimension, as views: several give a tuple.
    ///
    /// Shapes: any; those of at least one dimension are kept.
    ///
    /// >>> ferrograd.atleast_1d(ferrograd.tensor(1))
    /// tensor([1])
    function Noted(Any -> Kept), ["atleast_1d(Tensor input)", "atleast_1d(Tensor[] tensors)", "atleast_1d(Tensor... tensors)"], |n, a| called(n, a, 1)
}

operation! {
    /// Tensors with at least two dimensions, as views: vectors become rows; several tensors give a tuple.
    ///
    /// Shapes: any; those of at least two dimensions are kept.
    ///
    /// >>> ferrograd.atleast_2d(ferrograd.tensor([1, 2]))
    /// tensor([[1, 2]])
    function Noted(Any -> Kept), ["atleast_2d(Tensor input)", "atleast_2d(Tensor[] tensors)", "atleast_2d(Tensor... tensors)"], |n, a| called(n, a, 2)
}

operation! {
    /// Tensors with at least three dimensions, as views: matrices get one behind, vectors one on either side; several
    /// tensors give a tuple.
    ///
    /// Shapes: any; those of at least three dimensions are kept.
    ///
    /// >>> ferrograd.atleast_3d(ferrograd.tensor([1, 2])).shape
    /// torch.Size([1, 2, 1])
    function Noted(Any -> Kept), ["atleast_3d(Tensor input)", "atleast_3d(Tensor[] tensors)", "atleast_3d(Tensor... tensors)"], |n, a| called(n, a, 3)
}

operation! {
    /// The grid that vectors span: for each of them a view that repeats it along the dimensions of the others. With the
    /// indexing 'xy' the first two dimensions are swapped.
    ///
    /// Shapes: `(n,), (m,) -> (n, m), (n, m)`, so for any number of vectors; with `indexing='xy'` the first two the
    /// other way.
    ///
    /// >>> ferrograd.meshgrid(ferrograd.tensor([1, 2]), ferrograd.tensor([3, 4]), indexing="ij")
    /// (tensor([[1, 1],
    ///         [2, 2]]), tensor([[3, 4],
    ///         [3, 4]]))
    function Noted(Any -> Shared), ["meshgrid(Tensor[] tensors, *, str? indexing=None)", "meshgrid(Tensor... tensors, *, str? indexing=None)"], |_, a| {
        Ok(Output::Tensors(meshgrid(a.tensors(0)?, a.text(1)?.unwrap_or("ij"))?))
    }
}

/// The grid that vectors span.
///
/// # Errors
/// For no tensors, tensors of more than one dimension or of different dtypes, and another indexing than "ij" and "xy".
pub fn meshgrid(tensors: &[Tensor], indexing: &str) -> Result<Vec<Tensor>> {
    const OP: &str = "meshgrid";
    let Some(first) = tensors.first() else { return Err(expected_some(OP)) };
    for t in tensors {
        if t.dtype() != first.dtype() {
            return Err(Error::DTypeMismatch { op: OP, left: first.dtype(), right: t.dtype() });
        }
        if t.rank() > 1 {
            return Err(Error::Rank {
                op: OP,
                expected: "tensors of at most one dimension",
                shape: t.shape().to_vec(),
            });
        }
    }
    let swaps = match indexing {
        "ij" => false,
        "xy" => tensors.len() > 1,
        other => {
            let what = format!("indexing must be one of \"xy\" or \"ij\", but received: {other}");
            return Err(Error::Invalid { op: OP, what });
        }
    };
    let mut order: SmallVec<[usize; 4]> = (0..tensors.len()).collect();
    if swaps {
        order.swap(0, 1);
    }
    let sizes: SmallVec<[isize; 4]> = order.iter().map(|&n| tensors[n].numel() as isize).collect();
    let one = |(n, t): (usize, &Tensor)| {
        let mut own: SmallVec<[isize; 4]> = SmallVec::from_elem(1, tensors.len());
        own[order.iter().position(|&o| o == n).unwrap_or(n)] = t.numel() as isize;
        view::expand(&view::reshape(t, &own)?, &sizes)
    };
    tensors.iter().enumerate().map(one).collect()
}

operation! {
    /// All combinations of one element of each vector, as rows.
    ///
    /// Shapes: `(n,), (m,) -> (n * m, 2)`, so for any number of vectors; one stays as it is.
    ///
    /// >>> ferrograd.cartesian_prod(ferrograd.tensor([1, 2]), ferrograd.tensor([3, 4]))
    /// tensor([[1, 3],
    ///         [1, 4],
    ///         [2, 3],
    ///         [2, 4]])
    function Noted(Any -> Shared), ["cartesian_prod(Tensor... tensors)"], |_, a| Ok(cartesian_prod(a.tensors(0)?)?.into())
}

/// All combinations of one element of each vector; of a single vector the vector itself.
///
/// # Errors
/// For no tensors, and others than vectors.
pub fn cartesian_prod(tensors: &[Tensor]) -> Result<Tensor> {
    const OP: &str = "cartesian_prod";
    if let Some(t) = tensors.iter().find(|t| t.rank() != 1) {
        return Err(Error::Rank { op: OP, expected: "1D vectors", shape: t.shape().to_vec() });
    }
    match tensors {
        [] => Err(expected_some(OP)),
        [only] => Ok(only.clone()),
        _ => {
            let flat: Vec<Tensor> =
                meshgrid(tensors, "ij")?.iter().map(|t| view::reshape(t, &[-1])).collect::<Result<_>>()?;
            stack(&flat, 1)
        }
    }
}

operation! {
    /// All choices of `r` elements of a vector in their order, as rows; with replacement, elements can be chosen again.
    ///
    /// Shapes: `(n,) -> (k, r)`.
    ///
    /// >>> ferrograd.combinations(ferrograd.tensor([1, 2, 3]))
    /// tensor([[1, 2],
    ///         [1, 3],
    ///         [2, 3]])
    function Noted(Any -> Kept), ["combinations(Tensor self, int r=2, bool with_replacement=False)"], |_, a| {
        Ok(combinations(a.tensor(0)?, a.int(1)?, a.bool(2)?)?.into())
    }
}

/// All choices of `r` elements of a vector.
///
/// # Errors
/// For another tensor than a vector, and a negative `r`.
pub fn combinations(x: &Tensor, r: isize, with_replacement: bool) -> Result<Tensor> {
    const OP: &str = "combinations";
    if x.rank() != 1 {
        return Err(Error::Rank { op: OP, expected: "a 1D vector", shape: x.shape().to_vec() });
    }
    let Ok(r) = usize::try_from(r) else {
        return Err(Error::Invalid { op: OP, what: format!("expected a non-negative number, got {r}") });
    };
    if r == 0 {
        return Tensor::uninitialized(OP, &[0], x.dtype());
    }
    let (n, step) = (x.numel(), usize::from(!with_replacement));
    let many = choices(n + if with_replacement { r - 1 } else { 0 }, r);
    let mut chosen: Vec<Vec<i64>> = filled(OP, Vec::new(), r)?;
    for column in &mut chosen {
        *column = reserved(OP, many)?;
    }
    // The present choice, which moves on as a number with `r` digits does.
    let mut digits: Vec<usize> = (0..r).map(|i| i * step).collect();
    while digits[r - 1] < n {
        chosen.iter_mut().zip(&digits).for_each(|(all, &d)| all.push(d as i64));
        let last = |i: usize| if with_replacement { n - 1 } else { n - r + i };
        match (0..r).rev().find(|&i| digits[i] < last(i)) {
            Some(i) => {
                let next = digits[i] + 1;
                (i..r).for_each(|j| digits[j] = next + (j - i) * step);
            }
            None => break,
        }
    }
    let column = |all: &Vec<i64>| super::rows::index_select(x, 0, &Tensor::from_shape(all, &[all.len()])?);
    stack(&chosen.iter().map(column).collect::<Result<Vec<_>>>()?, 1)
}

/// How many ways there are to choose `r` of `n`, or the greatest number where there are more.
fn choices(n: usize, r: usize) -> usize {
    let step = |ways: u128, i: usize| Some(ways.checked_mul((n - i) as u128)? / (i as u128 + 1));
    let ways = if r > n { Some(0) } else { (0..r.min(n - r)).try_fold(1, step) };
    ways.and_then(|w| usize::try_from(w).ok()).unwrap_or(usize::MAX)
}

operation! {
    /// Matrices as blocks along the diagonal of one, zeros elsewhere; vectors and numbers count as rows. dtypes promote.
    ///
    /// Shapes: of at most two dimensions; the result is a matrix.
    ///
    /// >>> ferrograd.block_diag(ferrograd.tensor([[1, 2]]), ferrograd.tensor([[3], [4]]))
    /// tensor([[1, 2, 0],
    ///         [0, 0, 3],
    ///         [0, 0, 4]])
    function Noted(Any -> Promoted), ["block_diag(Tensor... tensors)"], |_, a| Ok(block_diag(a.tensors(0)?)?.into())
}

/// Matrices along the diagonal of one.
///
/// # Errors
/// For tensors of more than two dimensions.
pub fn block_diag(tensors: &[Tensor]) -> Result<Tensor> {
    const OP: &str = "block_diag";
    if let Some(t) = tensors.iter().find(|t| t.rank() > 2) {
        return Err(Error::Rank { op: OP, expected: "tensors of 2 or fewer dimensions", shape: t.shape().to_vec() });
    }
    if tensors.is_empty() {
        return Tensor::zeros(&[1, 0], crate::tensor::default_dtype());
    }
    let dtype = promoted(tensors);
    let parts: Vec<Tensor> = tensors.iter().map(|t| raised(&cast::to(t, dtype)?, 2)).collect::<Result<_>>()?;
    if batch::level(&parts).is_some() {
        return zeros_around(&parts);
    }
    let sizes: Vec<(usize, usize)> = parts.iter().map(|p| (p.shape()[0], p.shape()[1])).collect();
    let total = sizes.iter().fold((0, 0), |sum, s| (sum.0 + s.0, sum.1 + s.1));
    let y = Tensor::zeros(&[total.0, total.1], dtype)?;
    let corners: Vec<(usize, usize)> =
        sizes.iter().scan((0, 0), |at, s| Some(std::mem::replace(at, (at.0 + s.0, at.1 + s.1)))).collect();
    for ((part, &(row, column)), &(m, n)) in parts.iter().zip(&corners).zip(&sizes) {
        copy::write(&y.alias(y.layout().slice(0, row, m, 1).slice(1, column, n, 1), false), part)?;
    }
    let inputs: Vec<&Tensor> = parts.iter().collect();
    link_simple("BlockDiagBackward0", &inputs, &y, move |call| {
        let g = call.gradient()?;
        let block = |n: usize| {
            let ((row, column), (m, n)) = (corners[n], sizes[n]);
            view::slice(&view::slice(&g, 0, row, m, 1)?, 1, column, n, 1)
        };
        (0..corners.len()).map(|n| if call.needs(n) { block(n).map(Some) } else { Ok(None) }).collect()
    })?;
    Ok(y)
}

/// [`block_diag`] as rows of blocks, for batches.
fn zeros_around(parts: &[Tensor]) -> Result<Tensor> {
    let row = |(n, part): (usize, &Tensor)| {
        let zeros = |p: &Tensor| Tensor::zeros(&[part.shape()[0], p.shape()[1]], part.dtype());
        let blocks = parts.iter().enumerate().map(|(i, p)| if i == n { Ok(p.clone()) } else { zeros(p) });
        cat(&blocks.collect::<Result<Vec<_>>>()?, 1)
    };
    cat(&parts.iter().enumerate().map(row).collect::<Result<Vec<_>>>()?, 0)
}

/// The dtype that several tensors have together, those without dimensions counting as much as others.
fn promoted(tensors: &[Tensor]) -> DType {
    let mut promotion = Promotion::default();
    tensors.iter().for_each(|t| promotion.tensor(t.dtype(), t.rank().max(1)));
    promotion.result()
}
