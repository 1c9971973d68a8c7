//! Indexing: integers, slices, None and Ellipsis as views; integer tensors and masks as copies.

mod batched;

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::copy::{self, Shared};
use super::inplace::{self, Origin};
use super::recorded::link;
use super::{batch, cast, compare, view};
use crate::error::{Error, Result};
use crate::graph::forward::{self, unrecorded};
use crate::graph::mode::is_grad_enabled;
use crate::graph::node::{Backward, Derivative, Gradients};
use crate::kernels::element::{Element, dispatch};
use crate::kernels::parallel;
use crate::tensor::Tensor;
use crate::tensor::dtype::{Category, DType};
use crate::tensor::layout::{Layout, Shape, broadcast, wrap_dim};
use crate::tensor::scalar::Scalar;
use crate::tensor::storage::Access;

const OP: &str = "index";

/// One part of an index, as between the commas of `x[...]`.
#[derive(Clone, Debug)]
pub enum Index {
    /// One index; its dimension goes away.
    Int(isize),
    /// `start:stop:step`
    Slice {
        /// The first, from either end.
        start: Option<isize>,
        /// One past the last, from either end.
        stop: Option<isize>,
        /// How far to the next; positive.
        step: isize,
    },
    /// A new dimension of size 1.
    NewAxis,
    /// As many whole dimensions as are left.
    Ellipsis,
    /// Indices, or a mask of bool or uint8.
    Tensor(Tensor),
}

/// A view by the basic parts of an index, and where in it indices by tensors stand.
struct Parsed {
    view: Tensor,
    /// The dimension of the view and its indices, in order.
    advanced: Vec<(usize, Tensor)>,
    /// True where tensors stand side by side, so that their result stands in their place.
    adjacent: bool,
}

/// Applies the basic parts of an index.
fn parse(x: &Tensor, parts: &[Index]) -> Result<Parsed> {
    let consumed: usize = parts.iter().map(consumes).sum();
    if consumed > 0 && x.rank() == 0 {
        return Err(Error::IndexScalar);
    }
    if consumed > x.rank() {
        return Err(Error::TooManyIndices { rank: x.rank(), given: consumed });
    }
    let mut parsed = Parsed { view: x.clone(), advanced: Vec::new(), adjacent: true };
    let (mut dim, mut after_gap, mut left) = (0, false, x.rank() - consumed);
    for part in parts {
        let is_advanced = matches!(part, Index::Tensor(_));
        if is_advanced {
            parsed.adjacent &= parsed.advanced.is_empty() || !after_gap;
            after_gap = false;
        } else {
            // Integers count as tensors of one index where tensors stand beside them.
            after_gap |= !parsed.advanced.is_empty() && !matches!(part, Index::Int(_));
        }
        match part {
            Index::Int(i) => parsed.view = select(&parsed.view, dim, *i)?,
            Index::Slice { start, stop, step } => {
                let sliced = slice(&parsed.view, dim, *start, *stop, *step)?;
                // Whole dimensions stay as they are.
                if *step != 1 || sliced.shape() != parsed.view.shape() {
                    parsed.view = sliced;
                }
                dim += 1;
            }
            Index::NewAxis => {
                parsed.view = view::unsqueeze(&parsed.view, dim as isize)?;
                dim += 1;
            }
            // As in torch a second ellipsis has nothing left to stand for.
            Index::Ellipsis => dim += std::mem::take(&mut left),
            Index::Tensor(t) if is_mask(t) && t.rank() == 0 => {
                // A truth value is a mask of a new dimension of size 1.
                parsed.view = view::unsqueeze(&parsed.view, dim as isize)?;
                let chosen: &[i64] = if t.truth()? { &[0] } else { &[] };
                parsed.advanced.push((dim, Tensor::from_shape(chosen, &[chosen.len()])?));
                dim += 1;
            }
            Index::Tensor(t) if is_mask(t) => {
                let positions = mask_positions(&parsed.view, dim, t)?;
                for p in positions {
                    parsed.advanced.push((dim, p));
                    dim += 1;
                }
            }
            Index::Tensor(t) => {
                parsed.advanced.push((dim, t.clone()));
                dim += 1;
            }
        }
    }
    Ok(parsed)
}

fn is_mask(t: &Tensor) -> bool {
    matches!(t.dtype(), DType::Bool | DType::U8)
}

/// How many dimensions of the indexed tensor a part uses up.
fn consumes(part: &Index) -> usize {
    match part {
        Index::Int(_) | Index::Slice { .. } => 1,
        Index::Tensor(t) if is_mask(t) => t.rank(),
        Index::Tensor(_) => 1,
        Index::NewAxis | Index::Ellipsis => 0,
    }
}

fn select(x: &Tensor, dim: usize, index: isize) -> Result<Tensor> {
    let size = x.shape()[dim];
    if index < -(size as isize) || index >= size as isize {
        return Err(Error::IndexRange { op: OP, index: index as i64, dim, size });
    }
    view::select(x, dim as isize, index)
}

/// Python's slice semantics: bounds count from either end and are clamped.
fn slice(x: &Tensor, dim: usize, start: Option<isize>, stop: Option<isize>, step: isize) -> Result<Tensor> {
    if step <= 0 {
        return Err(Error::Argument {
            op: OP,
            argument: "step",
            rule: "must be greater than zero",
            given: step.to_string(),
        });
    }
    let (size, stride) = (x.shape()[dim] as isize, x.strides()[dim]);
    // Far beyond every size, and the product of both must be a stride.
    if stride.checked_mul(step).is_none_or(|s| s.checked_mul(16).is_none()) {
        return Err(Error::Argument { op: OP, argument: "step", rule: "is too large", given: step.to_string() });
    }
    let clamp = |i: isize| if i < 0 { (i + size).max(0) } else { i.min(size) };
    let (start, stop) = (clamp(start.unwrap_or(0)), clamp(stop.unwrap_or(size)));
    let count = (stop - start).max(0).unsigned_abs().div_ceil(step.unsigned_abs());
    view::slice(x, dim, start.unsigned_abs(), count, step.unsigned_abs())
}

/// The indices, one tensor a dimension, of the elements that a mask marks.
fn mask_positions(x: &Tensor, dim: usize, mask: &Tensor) -> Result<Vec<Tensor>> {
    let covered = &x.shape()[dim..(dim + mask.rank()).min(x.rank())];
    if covered != mask.shape() {
        return Err(Error::MaskShape { mask: mask.shape().to_vec(), shape: x.shape().to_vec(), dim });
    }
    nonzero(mask)
}

/// The indices, one tensor a dimension, of the elements that are not zero.
pub(crate) fn nonzero(x: &Tensor) -> Result<Vec<Tensor>> {
    let truth = compare::ne(&x.detach(), 0)?.to_vec::<u8>()?;
    let strides = Layout::contiguous(x.shape()).strides;
    let hits: Vec<usize> = (0..truth.len()).filter(|&i| truth[i] != 0).collect();
    (0..x.rank())
        .map(|d| {
            let index = |&i: &usize| (i / strides[d] as usize % x.shape()[d]) as i64;
            Tensor::from_shape(&hits.iter().map(index).collect::<Vec<_>>(), &[hits.len()])
        })
        .collect()
}

/// An advanced index made ready: the indexed dimensions in front as rows of a matrix, and the row of each result.
struct Rows {
    /// The sizes of the indexed tensor, and the order that puts the indexed dimensions first.
    shape: Shape,
    order: SmallVec<[isize; 4]>,
    /// How many rows those dimensions make, and how many elements each has.
    count: usize,
    width: usize,
    /// The row of each element of the broadcast indices, which have so many dimensions.
    rows: Arc<[usize]>,
    rank: usize,
    /// The shape of the result with the indices in front, and the order that puts them in their place.
    front: SmallVec<[isize; 4]>,
    place: SmallVec<[isize; 4]>,
}

fn rows(parsed: &Parsed) -> Result<Rows> {
    let x = &parsed.view;
    let dims: SmallVec<[usize; 4]> = parsed.advanced.iter().map(|(d, _)| *d).collect();
    let rest_dims: SmallVec<[usize; 4]> = (0..x.rank()).filter(|d| !dims.contains(d)).collect();
    let index_shape =
        parsed.advanced.iter().try_fold(Shape::new(), |s, (_, t)| broadcast(OP, &s, t.shape())).map_err(|_| {
            Error::IndexShapes { shapes: parsed.advanced.iter().map(|(_, t)| t.shape().to_vec()).collect() }
        })?;
    let total = index_shape.iter().product();
    let mut rows = vec![0usize; total];
    for (d, index) in &parsed.advanced {
        if index.dtype().category() != Category::Integer {
            return Err(Error::IndexDType { dtype: index.dtype() });
        }
        let size = x.shape()[*d];
        let expanded = index.detach().alias(index.layout().broadcast_to(&index_shape), false);
        for (row, i) in rows.iter_mut().zip(expanded.to_vec::<i64>()?) {
            let wrapped = if i < 0 { i + size as i64 } else { i };
            if wrapped < 0 || wrapped >= size as i64 {
                return Err(Error::IndexRange { op: OP, index: i, dim: *d, size });
            }
            *row = *row * size + wrapped as usize;
        }
    }
    let rest: Shape = rest_dims.iter().map(|&d| x.shape()[d]).collect();
    let (n, first) = (index_shape.len(), if parsed.adjacent { dims.first().copied().unwrap_or(0) } else { 0 });
    let from = |i: usize| match i {
        i if i < first => n + i,
        i if i < first + n => i - first,
        i => i,
    };
    Ok(Rows {
        shape: x.layout().shape.clone(),
        order: dims.iter().chain(&rest_dims).map(|&d| d as isize).collect(),
        count: dims.iter().map(|&d| x.shape()[d]).product(),
        width: rest.iter().product(),
        rows: rows.into(),
        rank: n,
        front: view::signed(&index_shape).into_iter().chain(view::signed(&rest)).collect(),
        place: (0..n + rest.len()).map(|i| from(i) as isize).collect(),
    })
}

/// The order that undoes another.
fn inverse(order: &[isize]) -> SmallVec<[isize; 4]> {
    let mut inverse = SmallVec::from_elem(0, order.len());
    order.iter().enumerate().for_each(|(i, &d)| inverse[d as usize] = i as isize);
    inverse
}

impl Rows {
    /// The same rows of every example of a batch, the batch in front of the tensor's and the result's dimensions.
    fn batched(&self, size: usize) -> Arc<Rows> {
        let rest = self.front.len() - self.rank;
        let indexed = self.order.len() - rest;
        let (mut shape, mut order, mut front) = (self.shape.clone(), self.order.clone(), self.front.clone());
        shape.insert(0, size);
        order.iter_mut().for_each(|d| *d += 1);
        order.insert(indexed, 0);
        front.insert(self.rank, size as isize);
        let behind = |&d: &isize| if d < self.rank as isize { d } else { d + 1 };
        let place = std::iter::once(self.rank as isize).chain(self.place.iter().map(behind)).collect();
        let (count, width) = (self.count, self.width * size);
        Arc::new(Rows { shape, order, count, width, rows: self.rows.clone(), rank: self.rank, front, place })
    }

    /// The indexed tensor as a matrix of rows.
    fn matrix(&self, x: &Tensor) -> Result<Tensor> {
        view::reshape(&view::permute(x, &self.order)?, &[self.count as isize, self.width as isize])
    }

    /// A matrix of rows as the indexed tensor.
    fn tensor(&self, matrix: &Tensor) -> Result<Tensor> {
        let moved: SmallVec<[isize; 4]> = self.order.iter().map(|&d| self.shape[d as usize] as isize).collect();
        view::permute(&view::reshape(matrix, &moved)?, &inverse(&self.order))
    }

    /// The sizes of the result.
    fn result_shape(&self) -> SmallVec<[isize; 4]> {
        self.place.iter().map(|&d| self.front[d as usize]).collect()
    }

    /// The chosen rows as the result, contiguous.
    fn result(&self, chosen: &Tensor) -> Result<Tensor> {
        copy::to_contiguous(&view::permute(&view::reshape(chosen, &self.front)?, &self.place)?)
    }

    /// The result, or what broadcasts to it, as the chosen rows.
    fn chosen(&self, result: &Tensor) -> Result<Tensor> {
        let moved = view::permute(&view::expand(result, &self.result_shape())?, &inverse(&self.place))?;
        view::reshape(&moved, &[self.rows.len() as isize, self.width as isize])
    }
}

/// `x[index]`
///
/// # Errors
/// For indices out of range, too many of them, and forms that are none.
pub fn get(x: &Tensor, parts: &[Index]) -> Result<Tensor> {
    if let Some(level) = batch::level(indices(parts).chain([x])) {
        return batched::get(x, parts, level);
    }
    if let ([Index::Slice { start, stop, step }], true) = (parts, x.rank() > 0) {
        return slice(x, 0, *start, *stop, *step);
    }
    let parsed = parse(x, parts)?;
    if parsed.advanced.is_empty() {
        // A fresh view, so that `x[...]` is not `x` itself.
        return if parsed.view.is_same(x) { view::alias(x) } else { Ok(parsed.view) };
    }
    gather(&parsed.view, &Arc::new(rows(&parsed)?))
}

/// `x[index] = value`
///
/// # Errors
/// As [`get`], for values that do not broadcast to what is indexed, and as changes in place.
pub fn set(x: &Tensor, parts: &[Index], value: &Tensor) -> Result<()> {
    if let Some(level) = batch::level(indices(parts).chain([x, value])) {
        return batched::set(x, parts, value, level);
    }
    inplace::check("index_put_", x)?;
    if indices(parts).next().is_some() && value.dtype() != x.dtype() {
        return Err(Error::DTypeMismatch { op: "index_put_", left: x.dtype(), right: value.dtype() });
    }
    let parsed = parse(x, parts)?;
    if parsed.advanced.is_empty() {
        if value.rank() == 0 {
            return inplace::fill_with(&parsed.view, value).map(drop);
        }
        return inplace::copy_(&parsed.view, &squeezed(value, parsed.view.rank())?).map(drop);
    }
    let rows = Arc::new(rows(&parsed)?);
    let value = squeezed(value, rows.front.len())?;
    let keeps = is_grad_enabled() || forward::is_active();
    let before = if keeps { inplace::snapshot(&parsed.view)? } else { parsed.view.clone() };
    inplace::assign(&parsed.view, &put(&before, &value, &rows)?, Origin::Target)
}

/// The tensors among the parts of an index.
fn indices(parts: &[Index]) -> impl Iterator<Item = &Tensor> {
    parts.iter().filter_map(|p| match p {
        Index::Tensor(t) => Some(t),
        _ => None,
    })
}

/// Without leading dimensions of size 1 beyond `rank`, as NumPy lets values have.
fn squeezed(value: &Tensor, rank: usize) -> Result<Tensor> {
    let extra = value.rank().saturating_sub(rank);
    if extra == 0 || value.shape()[..extra].iter().any(|&s| s != 1) {
        return Ok(value.clone());
    }
    view::reshape(value, &view::signed(&value.shape()[extra..]))
}

/// What indexing does to gradients: the indices, and which of the three operations below it is.
#[derive(Clone)]
struct Indexing {
    rows: Arc<Rows>,
    name: &'static str,
    back: fn(&Arc<Rows>, &Tensor, &[bool]) -> Result<Gradients>,
}

impl Derivative for Indexing {
    fn name(&self) -> &'static str {
        self.name
    }
    fn backward(&self, call: &Backward) -> Result<Gradients> {
        (self.back)(&self.rows, &call.gradient()?, call.needs)
    }
    fn take(&mut self, _keep: bool) -> Self {
        self.clone()
    }
}

/// The result of an unrecorded function of tensors, with a derivative of its own.
fn recorded(y: Result<Tensor>, inputs: &[&Tensor], derivative: Indexing) -> Result<Tensor> {
    // Views on the way are no views of an input.
    let y = y?.detach();
    link(derivative, inputs, &y)?;
    Ok(y)
}

/// The indexed elements: `y = x[rows]`, `dx = 0`, `dx[rows] += g`.
fn gather(x: &Tensor, rows: &Arc<Rows>) -> Result<Tensor> {
    if let Some(y) = batch::unary(x, |x| gather(x, &rows.batched(x.shape()[0]))) {
        return y;
    }
    let y = unrecorded(|| rows.result(&take_rows(&rows.matrix(x)?, &rows.rows)?));
    let back = |rows: &Arc<Rows>, g: &Tensor, _: &[bool]| Ok(smallvec![Some(scatter(g, rows)?)]);
    recorded(y, &[x], Indexing { rows: rows.clone(), name: "IndexBackward0", back })
}

/// Elements added into zeros: `y = 0`, `y[rows] += x`, `dx = g[rows]`.
fn scatter(x: &Tensor, rows: &Arc<Rows>) -> Result<Tensor> {
    if let Some(y) = batch::unary(x, |x| scatter(x, &rows.batched(x.shape()[0]))) {
        return y;
    }
    let y = unrecorded(|| rows.tensor(&add_rows(&rows.chosen(x)?, &rows.rows, rows.count)?));
    let back = |rows: &Arc<Rows>, g: &Tensor, _: &[bool]| Ok(smallvec![Some(gather(g, rows)?)]);
    recorded(y, &[x], Indexing { rows: rows.clone(), name: "IndexPutBackward0", back })
}

/// Elements replaced: `y = x`, `y[rows] = value`, `dx = g` with zeros at the rows, `dvalue = g[rows]`.
fn put(x: &Tensor, value: &Tensor, rows: &Arc<Rows>) -> Result<Tensor> {
    if let Some(both) = batch::together(&[x.clone(), value.clone()]) {
        let (both, level) = both?;
        let value = batch::padded(&both[1], rows.front.len() + 1)?;
        return put(&both[0], &value, &rows.batched(both[0].shape()[0])).map(|y| Tensor::batched(&y, level));
    }
    let y = unrecorded(|| {
        let chosen = rows.chosen(&cast::to(value, x.dtype())?)?;
        rows.tensor(&put_rows(&rows.matrix(x)?, &rows.rows, &chosen)?)
    });
    let back = |rows: &Arc<Rows>, g: &Tensor, needs: &[bool]| {
        let zero = Tensor::scalar(Scalar::Int(0), g.dtype())?;
        let dx = if needs[0] { Some(put(g, &zero, rows)?) } else { None };
        let dvalue = if needs[1] { Some(gather(g, rows)?) } else { None };
        Ok(smallvec![dx, dvalue])
    };
    recorded(y, &[x, value], Indexing { rows: rows.clone(), name: "IndexPutBackward0", back })
}

/// The given rows of a matrix: `y[i] = x[rows[i]]`.
fn take_rows(x: &Tensor, rows: &[usize]) -> Result<Tensor> {
    let width = x.shape()[1];
    let y = Tensor::uninitialized(OP, &[rows.len(), width], x.dtype())?;
    let source = copy::to_contiguous(x)?;
    let _access = Access::lock([(&**source.storage(), false)]);
    dispatch!(OP, x.dtype(), T => {
        let (from, to) = (Shared(source.data_ptr()), Shared(y.data_ptr()));
        parallel::for_each_range(rows.len(), (1 << 16) / width.max(1) + 1, |start, end| {
            for (i, &row) in rows[start..end].iter().enumerate() {
                // SAFETY: rows lie in the matrix; ranges of results are disjoint.
                unsafe {
                    let (f, t) = (from.get().cast::<T>().add(row * width), to.get().cast::<T>().add((start + i) * width));
                    std::ptr::copy_nonoverlapping(f, t, width);
                }
            }
        });
    });
    Ok(y)
}

/// Rows added into zeros: `y[rows[i]] += x[i]`, in the order of `i`.
fn add_rows(x: &Tensor, rows: &[usize], count: usize) -> Result<Tensor> {
    let y = Tensor::zeros(&[count, x.shape()[1]], x.dtype())?;
    let source = copy::to_contiguous(x)?;
    let _access = Access::lock([(&**source.storage(), false)]);
    match x.dtype() {
        DType::F32 => add_rows_as::<f32>(&source, rows, &y, |a, b| a + b),
        DType::F64 => add_rows_as::<f64>(&source, rows, &y, |a, b| a + b),
        DType::I64 => add_rows_as::<i64>(&source, rows, &y, i64::wrapping_add),
        other => {
            return Err(Error::DTypeUnsupported { op: OP, dtype: other, hint: "use float32, float64 or int64" });
        }
    }
    Ok(y)
}

fn add_rows_as<T: Element>(source: &Tensor, rows: &[usize], y: &Tensor, add: impl Fn(T, T) -> T) {
    let width = source.shape()[1];
    // SAFETY: both are contiguous of this type, `y` is new, and rows lie in it.
    let (from, to) = unsafe {
        (
            std::slice::from_raw_parts(source.data_ptr().cast::<T>(), source.numel()),
            std::slice::from_raw_parts_mut(y.data_ptr().cast::<T>(), y.numel()),
        )
    };
    for (i, &row) in rows.iter().enumerate() {
        let target = &mut to[row * width..(row + 1) * width];
        target.iter_mut().zip(&from[i * width..(i + 1) * width]).for_each(|(t, &f)| *t = add(*t, f));
    }
}

/// A matrix with rows replaced: `y = x`, `y[rows[i]] = value[i]`, the last of equal rows staying.
fn put_rows(x: &Tensor, rows: &[usize], value: &Tensor) -> Result<Tensor> {
    let y = copy::contiguous_copy(x)?;
    let width = x.shape()[1];
    let source = copy::to_contiguous(value)?;
    let _access = Access::lock([(&**source.storage(), false)]);
    dispatch!("index_put_", x.dtype(), T => {
        for (i, &row) in rows.iter().enumerate() {
            // SAFETY: rows lie in the matrix, which is new.
            unsafe {
                let from = source.data_ptr().cast::<T>().add(i * width);
                std::ptr::copy_nonoverlapping(from, y.data_ptr().cast::<T>().add(row * width), width);
            }
        }
    });
    Ok(y)
}

/// Zeros of the given shape with `x` at the given indices of a dimension: where a reduction chose its elements.
pub(super) fn scatter_zeros(shape: &[usize], dim: isize, indices: &Tensor, x: &Tensor) -> Result<Tensor> {
    if shape.is_empty() {
        return Ok(x.clone());
    }
    let dim = wrap_dim(OP, dim, shape.len())?;
    if let Some(both) = batch::together(&[indices.clone(), x.clone()]) {
        let (both, level) = both?;
        let full: Shape = both[0].shape().iter().take(1).chain(shape).copied().collect();
        return scatter_zeros(&full, dim as isize + 1, &both[0], &both[1]).map(|y| Tensor::batched(&y, level));
    }
    let strides = Layout::contiguous(shape).strides;
    // The elements of a layout that stands still along `dim`, moved by the index.
    let mut still = Layout::contiguous(shape);
    still.shape[dim] = indices.shape()[dim];
    still.strides[dim] = 0;
    let at = still
        .offsets()
        .zip(indices.to_vec::<i64>()?)
        .map(|(offset, i)| offset + i as usize * strides[dim] as usize)
        .collect::<Vec<_>>();
    let (total, chosen) = (shape.iter().product(), at.len() as isize);
    let flat = Rows {
        shape: smallvec![total],
        order: smallvec![0],
        count: total,
        width: 1,
        rows: at.into(),
        rank: 1,
        front: smallvec![chosen],
        place: smallvec![0],
    };
    view::reshape(&scatter(&view::reshape(x, &[-1])?, &Arc::new(flat))?, &view::signed(shape))
}
