//! Stretches of a dimension: made into one element each, and of several tensors side by side.

use smallvec::SmallVec;

use super::arithmetic::{add, div, mul};
use super::reduction::{self, Reduce};
use super::registry::{Arguments, operation};
use super::spatial::pad;
use super::{cast, compare, copy, gather, join, view};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::wrap_dim;
use crate::tensor::scalar::Scalar;

operation! {
    /// The elements of each of several stretches of a dimension made into one: their 'sum', 'mean', 'prod', 'max' or 'min',
    /// together with `initial` where it is given. The stretches follow one another with these `lengths`, or begin where
    /// `offsets` say and end where the next begins; those of the first of several dimensions have a row for each index of the
    /// dimensions before `axis`. Of no elements the sum is 0, the mean NaN, the product 1, the maximum minus infinity.
    ///
    /// Shapes: `data` any of at least one dimension; `lengths` has those up to `axis`, and the result as many elements there
    /// as there are lengths.
    /// Raises: RuntimeError for lengths below zero, for lengths that are not those of the whole dimension, unless `unsafe`, and
    /// for other reductions.
    ///
    /// >>> x = ferrograd.tensor([1.0, 2.0, 3.0, 4.0])
    /// >>> ferrograd.segment_reduce(x, "sum", lengths=ferrograd.tensor([1, 0, 3]))
    /// tensor([1., 0., 9.])
    /// >>> ferrograd.segment_reduce(x, "max", offsets=ferrograd.tensor([0, 2, 4]))
    /// tensor([2., 4.])
    function Noted(Floats -> First), ["segment_reduce(Tensor data, str reduce, *, Tensor? lengths=None, Tensor? indices=None, Tensor? offsets=None, int axis=0, bool unsafe=False, Number? initial=None)"; also "_segment_reduce"],
    |_, a| Ok(called(a)?.into())
}

fn invalid<T>(op: &'static str, what: impl Into<String>) -> Result<T> {
    Err(Error::Invalid { op, what: what.into() })
}

/// Where the stretches of each row of the leading dimensions are.
struct Stretches {
    /// The dimensions before, and the number of stretches.
    shape: SmallVec<[usize; 4]>,
    /// For each element of the dimension the number of its stretch; that of none is one beyond the last.
    owners: Vec<i64>,
    /// The lengths.
    lengths: Vec<i64>,
}

impl Stretches {
    /// Those of a call on `x`, whose dimension `axis` they are of.
    fn called(a: &Arguments, x: &Tensor, axis: usize) -> Result<Stretches> {
        let (op, n) = (a.op, x.shape()[axis]);
        let (given, are_offsets) = match (a.maybe_tensor(2)?, a.maybe_tensor(4)?) {
            (Some(lengths), _) => (lengths, false),
            (None, Some(offsets)) => (offsets, true),
            (None, None) => return invalid(op, "either lengths or offsets must be given"),
        };
        if !matches!(given.dtype(), DType::I64 | DType::I32) {
            return Err(Error::NotImplemented { op, what: format!("lengths of {}: this", given.dtype()) });
        }
        if given.rank() != axis + 1 || given.shape()[..axis] != x.shape()[..axis] {
            let what = format!(
                "the last dimension of lengths must be the axis, {axis}, and those before must be those of data"
            );
            return invalid(op, format!("{what}, got {:?} beside {:?}", given.shape(), x.shape()));
        }
        let width = given.shape()[axis];
        if are_offsets && width == 0 {
            return invalid(op, "offsets must have at least one element");
        }
        let count = width - usize::from(are_offsets);
        let all: Vec<i64> = cast::to(given, DType::I64)?.to_vec()?;
        let (mut owners, mut lengths) = (Vec::new(), Vec::new());
        for row in 0..x.shape()[..axis].iter().product() {
            let row = &all[row * width..(row + 1) * width];
            let from = owners.len();
            owners.resize(from + n, count as i64);
            let mut end = if are_offsets { row[0] } else { 0 };
            for (j, &number) in row[usize::from(are_offsets)..].iter().enumerate() {
                let (start, length) = (end, if are_offsets { number.saturating_sub(end) } else { number });
                end = start.saturating_add(length);
                if length < 0 || start < 0 || end > n as i64 {
                    let what = format!("a stretch of {length} elements from {start} on is not within {n} elements");
                    return invalid(op, what);
                }
                owners[from + start as usize..from + end as usize].fill(j as i64);
                lengths.push(length);
            }
            if !are_offsets && end != n as i64 && !a.bool(6)? {
                return invalid(op, format!("lengths must add up to the size of the axis, {n}, got {end}"));
            }
        }
        let shape = x.shape()[..axis].iter().copied().chain([count]).collect();
        Ok(Stretches { shape, owners, lengths })
    }

    /// Numbers with a row for each index of the dimensions before, and dimensions of size 1 for those behind.
    fn tensor(&self, numbers: &[i64], width: usize, rank: usize) -> Result<Tensor> {
        let mut shape: SmallVec<[usize; 4]> = self.shape.clone();
        let axis = shape.len() - 1;
        shape[axis] = width;
        shape.resize(rank, 1);
        Tensor::from_shape(numbers, &shape)
    }
}

fn called(a: &Arguments) -> Result<Tensor> {
    let (op, x) = (a.op, a.tensor(0)?);
    let reduce = match a.text(1)? {
        Some("max") => Reduce::Greatest,
        Some("min") => Reduce::Least,
        _ => Reduce::named(a, 1)?,
    };
    if !x.dtype().is_floating_point() {
        return Err(Error::NotImplemented { op, what: format!("segments of {}: this", x.dtype()) });
    }
    if !a.is_none(3) {
        return invalid(op, "a reduction by indices is not supported");
    }
    let axis = wrap_dim(op, a.int(5)?, x.rank())?;
    if x.rank() == 0 {
        return Err(Error::Rank { op, expected: "at least one dimension", shape: vec![] });
    }
    let stretches = Stretches::called(a, x, axis)?;
    let total = reduced(op, x, axis, reduce, &stretches)?;
    let initial = a.maybe_number(7)?;
    let of_none = if initial.is_some() { Scalar::Int(1) } else { Scalar::Float(f64::NAN) };
    match (reduce, initial) {
        (Reduce::Mean, _) => {
            let total = if let Some(initial) = initial { add(&total, initial)? } else { total };
            let lengths = stretches.tensor(&stretches.lengths, stretches.shape[axis], x.rank())?;
            let divisor = compare::where_(&compare::eq(&lengths, 0i64)?, of_none, &cast::to(&lengths, x.dtype())?)?;
            div(&total, &cast::to(&divisor, x.dtype())?)
        }
        (_, None) => Ok(total),
        (Reduce::Sum, Some(initial)) => add(&total, initial),
        (Reduce::Product, Some(initial)) => mul(&total, initial),
        (Reduce::Greatest, Some(initial)) => compare::clamp(&total, Some(initial.into()), None),
        (Reduce::Least, Some(initial)) => compare::clamp(&total, None, Some(initial.into())),
    }
}

/// The sums, products or extremes of stretches of a dimension.
fn reduced(op: &'static str, x: &Tensor, axis: usize, reduce: Reduce, stretches: &Stretches) -> Result<Tensor> {
    let count = stretches.shape[axis];
    let (nothing, reduce) = match reduce {
        Reduce::Sum | Reduce::Mean => (0.0, Reduce::Sum),
        Reduce::Product => (1.0, reduce),
        Reduce::Greatest => (f64::NEG_INFINITY, reduce),
        Reduce::Least => (f64::INFINITY, reduce),
    };
    // What is of no stretch goes to a place that is left out again.
    let leaves_out = stretches.owners.contains(&(count as i64));
    let mut shape = x.layout().shape.clone();
    shape[axis] = count + usize::from(leaves_out);
    let places = Tensor::full(&shape, Scalar::Float(nothing), x.dtype())?;
    if x.numel() == 0 || count == 0 {
        shape[axis] = count;
        return Tensor::full(&shape, Scalar::Float(nothing), x.dtype());
    }
    let index = stretches.tensor(&stretches.owners, x.shape()[axis], x.rank())?;
    let index = view::expand(&index, &view::signed(x.shape()))?;
    let (selection, indices) = gather::along(op, &places, axis as isize, &index, Some(x))?;
    let y = reduction::reduced(&selection, &places, x, &indices, reduce, false)?;
    if leaves_out { copy::clone_contiguous(&view::slice(&y, axis, 0, count, 1)?) } else { Ok(y) }
}

operation! {
    /// Each tensor cut along `dim` into `num_chunks` stretches of one length, the last filled up with zeros, and the stretches
    /// of all tensors side by side, each in row-major order.
    ///
    /// Shapes: any of at least one dimension, the same before `dim`; the result has those, `num_chunks`, and one more dimension.
    /// Raises: RuntimeError for other sizes, for tensors without elements, and for several dtypes.
    ///
    /// >>> ferrograd._chunk_cat([ferrograd.arange(3.0), ferrograd.arange(4.0)], 0, 2)
    /// tensor([[0., 1., 0., 1.],
    ///         [2., 0., 2., 3.]])
    function Noted(Any -> Shared), ["_chunk_cat(Tensor[] tensors, int dim, int num_chunks)"], |_, a| {
        Ok(chunk_cat(a.op, a.tensors(0)?, a.int(1)?, a.int(2)?)?.into())
    }
}

fn chunk_cat(op: &'static str, tensors: &[Tensor], dim: isize, count: isize) -> Result<Tensor> {
    let Some(first) = tensors.first() else { return invalid(op, "expected a non-empty list of tensors") };
    if count <= 0 {
        return invalid(op, format!("expected a positive num_chunks, got {count}"));
    }
    let dim = wrap_dim(op, dim, first.rank())?;
    let part = |t: &Tensor| {
        if t.numel() == 0 || dim >= t.rank() || t.dtype() != first.dtype() || t.shape()[..dim] != first.shape()[..dim] {
            let what = "expected tensors with elements, of one dtype and the same sizes before the dimension";
            let (one, other) = (first.shape(), t.shape());
            return invalid(op, format!("{what}, got {one:?} of {} and {other:?} of {}", first.dtype(), t.dtype()));
        }
        let length = t.shape()[dim].div_ceil(count.unsigned_abs());
        let missing = length * count.unsigned_abs() - t.shape()[dim];
        let mut pads: SmallVec<[isize; 8]> = smallvec::smallvec![0; 2 * (t.rank() - dim)];
        if let Some(last) = pads.last_mut() {
            *last = missing as isize;
        }
        let filled = if missing == 0 { t.clone() } else { pad::constant(t, &pads, Scalar::Int(0))? };
        let mut sizes = view::signed(&first.shape()[..dim]);
        sizes.extend([count, -1]);
        view::reshape(&filled, &sizes)
    };
    join::cat(&tensors.iter().map(part).collect::<Result<Vec<_>>>()?, dim as isize + 1)
}
