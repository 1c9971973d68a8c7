//! Indexing: integers, slices, None and Ellipsis as views; integer tensors and masks as copies.

use smallvec::{SmallVec, smallvec};

use super::copy::{self, Shared};
use super::recorded::{Keep, Settings, record};
use super::{batch, cast, compare, inplace, view};
use crate::error::{Error, Result};
use crate::graph::forward;
use crate::graph::mode::is_grad_enabled;
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
    let ellipses = parts.iter().filter(|p| matches!(p, Index::Ellipsis)).count();
    if ellipses > 1 {
        return Err(Error::InvalidIndex { op: OP, what: "an index can only have a single ellipsis ('...')" });
    }
    if consumed > x.rank() {
        return Err(Error::TooManyIndices { rank: x.rank(), given: consumed });
    }
    let mut parsed = Parsed { view: x.clone(), advanced: Vec::new(), adjacent: true };
    let (mut dim, mut after_gap) = (0, false);
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
                parsed.view = slice(&parsed.view, dim, *start, *stop, *step)?;
                dim += 1;
            }
            Index::NewAxis => {
                parsed.view = view::unsqueeze(&parsed.view, dim as isize)?;
                dim += 1;
            }
            Index::Ellipsis => dim += x.rank() - consumed,
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
    let size = x.shape()[dim] as isize;
    let clamp = |i: isize| if i < 0 { (i + size).max(0) } else { i.min(size) };
    let (start, stop) = (clamp(start.unwrap_or(0)), clamp(stop.unwrap_or(size)));
    let count = (stop - start).max(0).unsigned_abs().div_ceil(step.unsigned_abs());
    if count as isize == size && step == 1 {
        return Ok(x.clone());
    }
    view::slice(x, dim, start.unsigned_abs(), count, step.unsigned_abs())
}

/// The indices, one tensor a dimension, of the elements that a mask marks.
fn mask_positions(x: &Tensor, dim: usize, mask: &Tensor) -> Result<Vec<Tensor>> {
    let covered = &x.shape()[dim..(dim + mask.rank()).min(x.rank())];
    if covered != mask.shape() {
        return Err(Error::Shape {
            op: OP,
            what: "the shape of the mask must match the indexed tensor",
            expected: covered.to_vec(),
            given: mask.shape().to_vec(),
        });
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

/// An advanced index made ready: the view with the indexed dimensions in front as rows, and the row of each result.
struct Rows {
    /// The view with the indexed dimensions first.
    moved: Tensor,
    /// How many rows those dimensions make, and how many elements each has.
    count: usize,
    width: usize,
    /// The row of each element of the broadcast indices.
    rows: Vec<usize>,
    /// The shape of the indices, and the sizes behind them.
    index_shape: Shape,
    rest: Shape,
    /// Where the indices' dimensions go in the result.
    place: usize,
}

fn rows(parsed: &Parsed) -> Result<Rows> {
    let x = &parsed.view;
    let dims: SmallVec<[usize; 4]> = parsed.advanced.iter().map(|(d, _)| *d).collect();
    let rest_dims: SmallVec<[usize; 4]> = (0..x.rank()).filter(|d| !dims.contains(d)).collect();
    let order: Vec<isize> = dims.iter().chain(&rest_dims).map(|&d| d as isize).collect();
    let moved =
        if order.iter().enumerate().all(|(i, &d)| i as isize == d) { x.clone() } else { view::permute(x, &order)? };
    let index_shape = parsed.advanced.iter().try_fold(Shape::new(), |s, (_, t)| broadcast(OP, &s, t.shape()))?;
    let total = index_shape.iter().product();
    let mut rows = vec![0usize; total];
    for (d, index) in &parsed.advanced {
        if index.dtype().category() != Category::Integer {
            return Err(Error::InvalidIndex {
                op: OP,
                what: "tensors used as indices must be long, int, byte or bool tensors",
            });
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
    let count = dims.iter().map(|&d| x.shape()[d]).product();
    let place = if parsed.adjacent { dims.first().copied().unwrap_or(0) } else { 0 };
    Ok(Rows { moved, count, width: rest.iter().product(), rows, index_shape, rest, place })
}

impl Rows {
    /// The view as a matrix of rows.
    fn matrix(&self) -> Result<Tensor> {
        view::reshape(&self.moved, &[self.count as isize, self.width as isize])
    }

    /// The shape of the result with the indices in front, and the order that puts them in their place.
    fn result(&self) -> (SmallVec<[isize; 4]>, Vec<isize>) {
        let shape = view::signed(&self.index_shape).into_iter().chain(view::signed(&self.rest)).collect();
        let (n, place) = (self.index_shape.len(), self.place);
        let from = |i: usize| match i {
            i if i < place => n + i,
            i if i < place + n => i - place,
            i => i,
        };
        (shape, (0..n + self.rest.len()).map(|i| from(i) as isize).collect())
    }
}

/// `x[index]`
///
/// # Errors
/// For indices out of range, too many of them, and forms that are none.
pub fn get(x: &Tensor, parts: &[Index]) -> Result<Tensor> {
    if let Some(level) = batch::level(indices(parts).chain([x])) {
        return batched_get(x, parts, level);
    }
    let parsed = parse(x, parts)?;
    if parsed.advanced.is_empty() {
        // A fresh view, so that `x[...]` and `x[:]` are not `x` itself.
        return Ok(if parsed.view.is_same(x) { view::alias(x)? } else { parsed.view });
    }
    let rows = rows(&parsed)?;
    let taken = take_rows(&rows.matrix()?, &rows.rows)?;
    let (shape, order) = rows.result();
    let y = view::reshape(&taken, &shape)?;
    if rows.place == 0 { Ok(y) } else { view::permute(&y, &order) }
}

/// `x[index] = value`
///
/// # Errors
/// As [`get`], for values that do not broadcast to what is indexed, and as changes in place.
pub fn set(x: &Tensor, parts: &[Index], value: &Tensor) -> Result<()> {
    if let Some(level) = batch::level(indices(parts).chain([x, value])) {
        return batched_set(x, parts, value, level);
    }
    inplace::check("index_put_", x)?;
    let parsed = parse(x, parts)?;
    if parsed.advanced.is_empty() {
        return inplace::copy_(&parsed.view, &squeezed(value, parsed.view.rank())?).map(drop);
    }
    let rows = rows(&parsed)?;
    let (shape, order) = rows.result();
    // The value in the shape of the result, then with the indices' dimensions in front.
    let result: SmallVec<[isize; 4]> = order.iter().map(|&d| shape[d as usize]).collect();
    let value = view::expand(&squeezed(&cast::to(value, x.dtype())?, result.len())?, &result)?;
    let mut inverse = vec![0; order.len()];
    order.iter().enumerate().for_each(|(i, &d)| inverse[d as usize] = i as isize);
    let value = view::reshape(&view::permute(&value, &inverse)?, &[rows.rows.len() as isize, rows.width as isize])?;
    let matrix = crate::no_grad(|| rows.matrix())?;
    let base = if is_grad_enabled() || forward::is_active() { inplace::snapshot(&rows.moved)? } else { matrix };
    let base = view::reshape(&base, &[rows.count as isize, rows.width as isize])?;
    let put = put_rows(&base, &rows.rows, &value)?;
    inplace::assign(&rows.moved, &view::reshape(&put, &view::signed(rows.moved.shape()))?, None)
}

/// The tensors among the parts of an index.
fn indices(parts: &[Index]) -> impl Iterator<Item = &Tensor> {
    parts.iter().filter_map(|p| match p {
        Index::Tensor(t) => Some(t),
        _ => None,
    })
}

const WHOLE: Index = Index::Slice { start: None, stop: None, step: 1 };

/// [`get`] on every example of a batch: behind a whole first dimension, or, where the indices are batched themselves,
/// behind an index that counts the examples.
fn batched_get(x: &Tensor, parts: &[Index], level: u32) -> Result<Tensor> {
    if let Some(mask) = indices(parts).find(|t| is_mask(t)) {
        mask.readable("indexing with a mask: how many elements it takes depends on their values")?;
    }
    let size = batch::size(level, indices(parts).chain([x]));
    let value = batch::unwrapped(x, level, size)?;
    let count = indices(parts).map(Tensor::rank).max().unwrap_or(0);
    let plain = batch::level(indices(parts)) != Some(level);
    let moved = if plain {
        std::iter::once(WHOLE).chain(parts.iter().cloned()).collect()
    } else {
        with_examples(parts, level, size, count)?
    };
    let found = get(&value, &moved)?;
    let (place, adjacent) = place(x.rank(), parts);
    // Where the indices' dimensions stand now and where they belong, the batch counted as the first dimension.
    let found = match (plain, adjacent) {
        _ if count == 0 || indices(parts).next().is_none() => found,
        (true, true) | (false, false) => found,
        (true, false) => view::movedim(&found, count as isize, 0)?,
        (false, true) => (0..count).try_fold(found, |y, _| view::movedim(&y, 1, (place + count) as isize))?,
    };
    Ok(Tensor::batched(&found, level))
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

/// Where the dimensions of advanced indices stand in the result, and whether the indices stand side by side.
fn place(rank: usize, parts: &[Index]) -> (usize, bool) {
    let consumed: usize = parts.iter().map(consumes).sum();
    let (mut dim, mut first, mut gap, mut adjacent) = (0, None, false, true);
    for part in parts {
        match part {
            Index::Tensor(_) => {
                adjacent &= first.is_none() || !gap;
                first.get_or_insert(dim);
                gap = false;
            }
            Index::Int(_) => {}
            Index::Ellipsis => {
                gap = true;
                dim += rank.saturating_sub(consumed);
            }
            Index::Slice { .. } | Index::NewAxis => {
                gap = true;
                dim += 1;
            }
        }
    }
    (first.unwrap_or(0), adjacent)
}

/// [`set`] on every example of a batch.
fn batched_set(x: &Tensor, parts: &[Index], value: &Tensor, level: u32) -> Result<()> {
    let Some(target) = x.batch().filter(|b| b.level == level) else {
        return Err(Error::BatchedInPlace { op: "index_put_" });
    };
    if indices(parts).next().is_some() {
        return Err(Error::NotImplemented {
            op: "index_put_",
            what: "vmap over assignment to tensors as indices".into(),
        });
    }
    let moved: Vec<Index> = std::iter::once(WHOLE).chain(parts.iter().cloned()).collect();
    let view = get(&target.value, &moved)?;
    let size = target.value.shape()[0];
    let value = batch::padded(&batch::unwrapped(value, level, size)?, view.rank())?;
    inplace::copy_(&view, &value).map(drop)
}

/// Without leading dimensions of size 1 beyond `rank`, as NumPy lets values have.
fn squeezed(value: &Tensor, rank: usize) -> Result<Tensor> {
    let extra = value.rank().saturating_sub(rank);
    if extra == 0 || value.shape()[..extra].iter().any(|&s| s != 1) {
        return Ok(value.clone());
    }
    view::reshape(value, &view::signed(&value.shape()[extra..]))
}

/// Indices kept for backward, as a tensor.
fn kept(rows: &[usize]) -> Result<Tensor> {
    Tensor::from_shape(&rows.iter().map(|&r| r as i64).collect::<Vec<_>>(), &[rows.len()])
}

fn restored(rows: &Tensor) -> Result<Vec<usize>> {
    Ok(rows.to_vec::<i64>()?.into_iter().map(|r| r as usize).collect())
}

/// A batch of matrices as one matrix: each row holds that row of every example.
fn as_rows(x: &Tensor) -> Result<Tensor> {
    let (size, count, width) = (x.shape()[0], x.shape()[1], x.shape()[2]);
    view::reshape(&view::transpose(x, 0, 1)?, &[count as isize, (size * width) as isize])
}

/// A function of a matrix's rows on a batch of matrices.
fn of_examples(x: &Tensor, run: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let (size, width) = (x.shape()[0] as isize, x.shape()[2] as isize);
    let y = run(&as_rows(x)?)?;
    let rows = y.shape()[0] as isize;
    view::transpose(&view::reshape(&y, &[rows, size, width])?, 0, 1)
}

/// The given rows of a matrix: `y[i] = x[rows[i]]`.
fn take_rows(x: &Tensor, rows: &[usize]) -> Result<Tensor> {
    if let Some(y) = batch::unary(x, |x| of_examples(x, |x| take_rows(x, rows))) {
        return y;
    }
    let (count, width) = (x.shape()[0], x.shape()[1]);
    let y = Tensor::uninitialized(OP, &[rows.len(), width], x.dtype())?;
    let source = copy::to_contiguous(x)?;
    {
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
    }
    let indices = kept(rows)?;
    let settings = || Settings { shape: smallvec![count], ..Settings::default() };
    record("IndexBackward0", &y, &[x], &[Keep::Input(&indices)], settings, |call| {
        // dx[rows[i]] += g[i]
        Ok(smallvec![Some(add_rows(&call.g, &restored(&call.saved[0])?, call.settings.shape[0])?)])
    })?;
    Ok(y)
}

/// Rows added into zeros: `y[rows[i]] += x[i]`, in the order of `i`.
fn add_rows(x: &Tensor, rows: &[usize], count: usize) -> Result<Tensor> {
    if let Some(y) = batch::unary(x, |x| of_examples(x, |x| add_rows(x, rows, count))) {
        return y;
    }
    let width = x.shape()[1];
    let y = Tensor::zeros(&[count, width], x.dtype())?;
    let source = copy::to_contiguous(x)?;
    {
        let _access = Access::lock([(&**source.storage(), false)]);
        match x.dtype() {
            DType::F32 => add_rows_as::<f32>(&source, rows, &y, |a, b| a + b),
            DType::F64 => add_rows_as::<f64>(&source, rows, &y, |a, b| a + b),
            DType::I64 => add_rows_as::<i64>(&source, rows, &y, i64::wrapping_add),
            other => {
                return Err(Error::DTypeUnsupported { op: OP, dtype: other, hint: "use float32, float64 or int64" });
            }
        }
    }
    let indices = kept(rows)?;
    record("IndexPutBackward0", &y, &[x], &[Keep::Input(&indices)], Settings::default, |call| {
        // dx[i] = g[rows[i]]
        Ok(smallvec![Some(take_rows(&call.g, &restored(&call.saved[0])?)?)])
    })?;
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
    if let Some(both) = batch::together(&[x.clone(), value.clone()]) {
        let (both, level) = both?;
        let value = as_rows(&both[1])?;
        return of_examples(&both[0], |x| put_rows(x, rows, &value)).map(|y| Tensor::batched(&y, level));
    }
    let y = copy::contiguous_copy(x)?;
    let width = x.shape()[1];
    let source = copy::to_contiguous(value)?;
    {
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
    }
    let indices = kept(rows)?;
    record("IndexPutBackward0", &y, &[x, value], &[Keep::Input(&indices)], Settings::default, |call| {
        // dx = g with the rows cleared, dvalue = g[rows]
        let rows = restored(&call.saved[0])?;
        let zeros = || Tensor::full(&[rows.len(), call.g.shape()[1]], Scalar::Int(0), call.g.dtype());
        let dx = if call.needs[0] { Some(put_rows(&call.g, &rows, &zeros()?)?) } else { None };
        let dvalue = if call.needs[1] { Some(take_rows(&call.g, &rows)?) } else { None };
        Ok(smallvec![dx, dvalue])
    })?;
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
    let at: Vec<usize> = still
        .offsets()
        .zip(indices.to_vec::<i64>()?)
        .map(|(offset, i)| offset + i as usize * strides[dim] as usize)
        .collect();
    let flat = add_rows(&view::reshape(x, &[-1, 1])?, &at, shape.iter().product())?;
    view::reshape(&flat, &view::signed(shape))
}
