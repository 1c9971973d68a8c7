//! Indexing: integers, slices, None and Ellipsis as views; integer tensors and masks as copies.

mod batched;

use smallvec::{SmallVec, smallvec};

use super::formula::{Form, Formula, OPERANDS, Pointwise, Rule};
use super::registry::{Arguments, operation};
use super::select::{self, Deed, Family, Indices, Kind, Selection};
use super::{batch, cast, inplace, mask, pointwise, view};
use crate::error::{Error, Result};
use crate::graph::forward;
use crate::graph::meta::is_recorded;
use crate::graph::mode::is_grad_enabled;
use crate::kernels::lane::Real;
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::{Shape, broadcast, wrap_dim};
use crate::tensor::scalar::Scalar;

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
    /// A mask of a new dimension of size 1.
    Truth(bool),
}

/// A view by the basic parts of an index, and where in it indices by tensors stand.
struct Parsed {
    view: Tensor,
    /// The dimension of the view and its indices, in order.
    advanced: Vec<(usize, Tensor)>,
    /// True where tensors stand side by side, so that their result stands in their place.
    adjacent: bool,
}

/// An index that is being applied, part by part.
struct Parser {
    parsed: Parsed,
    /// The dimension of the view that comes next.
    dim: usize,
    /// Dimensions that are gone from the view, and count where an error names one.
    gone: usize,
    /// How many dimensions an ellipsis stands for.
    left: usize,
    /// True behind a part that keeps tensors from standing side by side.
    after_gap: bool,
    /// What is wrong with a mask, which comes after what is wrong with integers and slices.
    wrong_mask: Option<Error>,
}

impl Parser {
    fn advance(&mut self, part: &Index) -> Result<()> {
        if matches!(part, Index::Tensor(_) | Index::Truth(_)) {
            self.parsed.adjacent &= self.parsed.advanced.is_empty() || !self.after_gap;
            self.after_gap = false;
        } else {
            // Integers count as tensors of one index where tensors stand beside them.
            self.after_gap |= !self.parsed.advanced.is_empty() && !matches!(part, Index::Int(_));
        }
        let (view, dim) = (&self.parsed.view, self.dim);
        // As in torch every ellipsis stands for all that is left, and behind a second one there is no dimension: what asks for
        // nothing of one is let through.
        if dim + consumes(part) > view.rank() && !is_whole(part) {
            return Err(Error::DimRange { op: OP, dim: dim as isize, rank: view.rank() });
        }
        match part {
            Index::Int(i) => {
                self.parsed.view = select(view, dim, *i, dim + self.gone)?;
                self.gone += 1;
            }
            Index::Slice { start, stop, step } => {
                if dim < view.rank() {
                    let sliced = slice(view, dim, *start, *stop, *step)?;
                    // Whole dimensions stay as they are; as in torch not those whose first index counts from the end.
                    if *step != 1 || start.unwrap_or(0) != 0 || sliced.shape() != view.shape() {
                        self.parsed.view = sliced;
                    }
                }
                self.dim += 1;
            }
            Index::NewAxis => {
                self.parsed.view = view::unsqueeze(view, dim as isize)?;
                self.dim += 1;
            }
            Index::Ellipsis => self.dim += self.left,
            Index::Truth(truth) => self.mask_new(*truth)?,
            Index::Tensor(t) if is_mask(t) && t.rank() == 0 => self.mask_new(t.truth()?)?,
            Index::Tensor(t) if is_mask(t) => self.mask(t)?,
            Index::Tensor(t) => {
                self.parsed.advanced.push((dim, t.clone()));
                self.dim += 1;
            }
        }
        Ok(())
    }

    /// A mask of a new dimension of size 1.
    fn mask_new(&mut self, truth: bool) -> Result<()> {
        self.parsed.view = view::unsqueeze(&self.parsed.view, self.dim as isize)?;
        let chosen: &[i64] = if truth { &[0] } else { &[] };
        self.parsed.advanced.push((self.dim, Tensor::from_shape(chosen, &[chosen.len()])?));
        self.dim += 1;
        Ok(())
    }

    /// A mask of dimensions that there are.
    fn mask(&mut self, mask: &Tensor) -> Result<()> {
        match mask_positions(&self.parsed.view, self.dim, mask) {
            Ok(positions) => self.parsed.advanced.extend((self.dim..).zip(positions)),
            Err(error @ Error::MaskShape { .. }) => self.wrong_mask = self.wrong_mask.take().or(Some(error)),
            Err(error) => return Err(error),
        }
        self.dim += mask.rank();
        Ok(())
    }
}

/// Applies the basic parts of an index.
fn parse(x: &Tensor, parts: &[Index]) -> Result<Parsed> {
    if let [Index::Slice { start, stop, step }] = parts {
        // What is wrong about the slice itself comes before that there is nothing to slice.
        view::bounded(OP, 0, *start, *stop, *step)?;
    }
    let consumed: usize = parts.iter().map(consumes).sum();
    if consumed > 0 && x.rank() == 0 {
        return Err(Error::IndexScalar { op: OP });
    }
    if consumed > x.rank() {
        return Err(Error::TooManyIndices { op: OP, rank: x.rank(), given: consumed });
    }
    let parsed = Parsed { view: x.clone(), advanced: Vec::new(), adjacent: true };
    let left = x.rank() - consumed;
    let mut parser = Parser { parsed, dim: 0, gone: 0, left, after_gap: false, wrong_mask: None };
    parts.iter().try_for_each(|part| parser.advance(part))?;
    parser.wrong_mask.map_or(Ok(parser.parsed), Err)
}

/// True for `:`, whatever the size.
fn is_whole(part: &Index) -> bool {
    matches!(part, Index::Slice { start: None | Some(0), stop: None, step: 1 })
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
        Index::NewAxis | Index::Ellipsis | Index::Truth(_) => 0,
    }
}

/// One index of a dimension, which counts as dimension `named` where it is out of range.
fn select(x: &Tensor, dim: usize, index: isize, named: usize) -> Result<Tensor> {
    view::select(x, dim as isize, counted(index, named, x.shape()[dim])? as isize)
}

/// An index counted from the front of a dimension.
fn counted(index: isize, dim: usize, size: usize) -> Result<usize> {
    let counted = if index < 0 { index + size as isize } else { index };
    if counted < 0 || counted >= size as isize {
        return Err(Error::IndexRange { op: OP, index: index as i64, dim, size });
    }
    Ok(counted as usize)
}

/// Integers that are the index of each of the first dimensions, as many as there are at most, counted from the front.
fn place(x: &Tensor, integers: &[isize]) -> Result<SmallVec<[usize; 4]>> {
    integers.iter().zip(x.shape()).enumerate().map(|(dim, (&i, &size))| counted(i, dim, size)).collect()
}

/// Python's slice semantics: bounds count from either end and are clamped.
fn slice(x: &Tensor, dim: usize, start: Option<isize>, stop: Option<isize>, step: isize) -> Result<Tensor> {
    if step > 0 && x.strides()[dim].checked_mul(step).is_none_or(|s| s.checked_mul(16).is_none()) {
        // Far beyond every size, and the product of both must be a stride.
        return Err(Error::Argument { op: OP, argument: "step", rule: "is too large", given: step.to_string() });
    }
    let (start, count) = view::bounded(OP, x.shape()[dim], start, stop, step)?;
    view::slice(x, dim, start, count, step.unsigned_abs())
}

/// The indices, one tensor a dimension, of the elements that a mask marks.
fn mask_positions(x: &Tensor, dim: usize, mask: &Tensor) -> Result<Vec<Tensor>> {
    let covered = &x.shape()[dim..(dim + mask.rank()).min(x.rank())];
    if covered != mask.shape() {
        return Err(Error::MaskShape { op: OP, mask: mask.shape().to_vec(), shape: x.shape().to_vec(), dim });
    }
    mask::nonzero(mask)
}

/// Indexing by tensors.
static ADVANCED: Family = Family {
    nodes: ["IndexBackward0", "IndexPutBackward0", "IndexPutBackward0"],
    gradient: "IndexPutImplBackward0",
    wraps: true,
    in_order: true,
    out_of_range: |op, index, dim, size| Error::IndexRange { op, index, dim, size },
};

/// Elements of a dimension that a reduction chose.
static CHOSEN: Family = Family { nodes: ["GatherBackward0", "ScatterBackward0", "ScatterBackward0"], ..ADVANCED };

/// The indices of an advanced index, broadcast, and what they select of the view.
fn selection(parsed: &Parsed) -> Result<(Selection, Indices)> {
    let dims: SmallVec<[usize; 2]> = parsed.advanced.iter().map(|(d, _)| *d).collect();
    let shape = parsed.advanced.iter().try_fold(Shape::new(), |s, (_, t)| broadcast(OP, &s, t.shape()));
    let shape = shape.map_err(|_| {
        let shapes = parsed.advanced.iter().map(|(_, t)| t.shape().to_vec()).collect();
        Error::IndexShapes { op: OP, shapes }
    })?;
    let size = |dim: usize| parsed.view.shape()[dim];
    if let Some((dim, _)) = parsed.advanced.iter().find(|(d, _)| size(*d) == 0 && !shape.contains(&0)) {
        // Nothing is read or written where another size is zero too, and nothing would find this out.
        return Err(Error::NothingToIndex { op: OP, dim: *dim });
    }
    let spread = |(_, index): &(usize, Tensor)| match index.dtype() {
        DType::I64 | DType::I32 => view::expand(&cast::to(index, DType::I64)?, &view::signed(&shape)),
        dtype => Err(Error::IndexDType { op: OP, dtype }),
    };
    let indices = parsed.advanced.iter().map(spread).collect::<Result<_>>()?;
    let place = if parsed.adjacent { dims.first().copied().unwrap_or(0) } else { 0 };
    let table = parsed.view.layout().shape.clone();
    Ok((Selection { op: OP, family: &ADVANCED, kind: Kind::Rows { dims, place }, table }, indices))
}

/// The only part of an index, where that is a mask of the whole tensor.
fn whole_mask<'a>(x: &Tensor, parts: &'a [Index]) -> Option<&'a Tensor> {
    match parts {
        [Index::Tensor(t)] if is_mask(t) && t.rank() > 0 && t.shape() == x.shape() => Some(t),
        _ => None,
    }
}

/// As [`selection`], for a mask of the whole tensor.
fn masked(x: &Tensor, mask: &Tensor) -> Result<(Selection, Indices)> {
    let table = x.layout().shape.clone();
    Ok((Selection { op: OP, family: &ADVANCED, kind: Kind::Flat, table }, smallvec![mask::marked(mask)?]))
}

/// `x[index]`
///
/// # Errors
/// For indices out of range, too many of them, and forms that are none.
pub fn get(x: &Tensor, parts: &[Index]) -> Result<Tensor> {
    if let Some(level) = batch::level(indices(parts).chain([x])) {
        return batched::get(x, parts, level);
    }
    match (parts, x.rank()) {
        ([Index::Int(i)], 1..) => return select(x, 0, *i, 0),
        ([Index::Slice { start, stop, step }], 1..) => return slice(x, 0, *start, *stop, *step),
        _ => {}
    }
    if let Some(mask) = whole_mask(x, parts) {
        let (selection, indices) = masked(x, mask)?;
        return select::take(&selection, x, indices);
    }
    let parsed = parse(x, parts)?;
    if parsed.advanced.is_empty() {
        // A fresh view, so that `x[...]` is not `x` itself.
        return if parsed.view.is_same(x) { view::alias(x) } else { Ok(parsed.view) };
    }
    let (selection, indices) = selection(&parsed)?;
    select::take(&selection, &parsed.view, indices)
}

/// `x[i, j, ...]` of integers alone, at least one.
///
/// # Errors
/// As [`get`].
pub fn at(x: &Tensor, integers: &[isize]) -> Result<Tensor> {
    if integers.len() > x.rank() || x.batch().is_some() || is_recorded([x]) || forward::is_active() {
        // Each index is a view, which may leave a node.
        let parts: SmallVec<[Index; 4]> = integers.iter().map(|&i| Index::Int(i)).collect();
        return get(x, &parts);
    }
    Ok(x.alias(x.layout().at(&place(x, integers)?), is_grad_enabled()))
}

/// `x[i, j, ...] = value` of a number and integers alone. False, and nothing is written, where they are not the index of one
/// element or something other than memory has to follow.
///
/// # Errors
/// As [`set`]; the number must fit.
pub fn put(x: &Tensor, integers: &[isize], value: Scalar) -> Result<bool> {
    if integers.len() != x.rank() || x.batch().is_some() || is_recorded([x]) || forward::is_active() {
        return Ok(false);
    }
    let place = place(x, integers)?;
    inplace::check_writable("index_put_", x)?;
    inplace::counted(x, || x.put(&place, value))?;
    Ok(true)
}

/// `x[index] = value`
///
/// # Errors
/// As [`get`], for values that do not broadcast to what is indexed, and as changes in place.
pub fn set(x: &Tensor, parts: &[Index], value: &Tensor) -> Result<()> {
    if let Some(level) = batch::level(indices(parts).chain([x, value])) {
        return batched::set(x, parts, value, level);
    }
    if let Some(mask) = whole_mask(x, parts) {
        inplace::check_writable("index_put_", x)?;
        inplace::check_apart("index_put_", x)?;
        if value.numel() == 1 {
            let value = mask::fitted("index_put_", &view::reshape(value, &[])?, x.dtype())?;
            let operands = [x.into(), mask.into(), (&value).into()];
            return pointwise::apply_in_place(MaskedPut::spec(), "index_put_", &operands).map(drop);
        }
        let (selection, indices) = masked(x, mask)?;
        return write(&selection, x, value, indices);
    }
    // What the index itself is wrong about comes first.
    let parsed = match parse(x, parts) {
        // Masks are looked at after the tensor.
        Err(error @ Error::MaskShape { .. }) => return inplace::check_writable("index_put_", x).and(Err(error)),
        parsed => parsed?,
    };
    if let [Index::Truth(false)] = parts {
        // As in torch, a number that is false counts as no change, and nobody is asked whether it may be one.
        return Ok(());
    }
    inplace::check_writable("index_put_", x)?;
    match truth(parts, x, value)? {
        Some(true) => {
            let whole = view::unsqueeze(x, 0)?;
            return match parts {
                [Index::Truth(_)] => copy_to(&whole, value),
                _ => inplace::copy_(&whole, &without_leading_ones(value)?).map(drop),
            };
        }
        // As in torch, a tensor that is false counts as a change.
        Some(false) => return write_nothing(x, &squeezed(value, x.rank() + 1)?),
        None => {}
    }
    if parsed.advanced.is_empty() {
        if is_itself(&parsed.view, value) {
            return inplace::written_already(&parsed.view, value);
        }
        return copy_to(&parsed.view, value);
    }
    inplace::check_apart("index_put_", &parsed.view)?;
    let (selection, indices) = selection(&parsed)?;
    let mut tensors = parts.iter().filter(|part| matches!(part, Index::Tensor(_)));
    let is_one_mask = matches!((tensors.next(), tensors.next()), (Some(Index::Tensor(t)), None) if is_mask(t));
    if is_one_mask && value.numel() == 1 {
        return write(&selection, &parsed.view, &mask::fitted("index_put_", value, x.dtype())?, indices);
    }
    write(&selection, &parsed.view, value, indices)
}

/// The truth value that an index is, of all of the tensor or of nothing. As a tensor it takes values of the same dtype only.
fn truth(parts: &[Index], x: &Tensor, value: &Tensor) -> Result<Option<bool>> {
    match parts {
        [Index::Truth(truth)] => Ok(Some(*truth)),
        [Index::Tensor(t)] if t.dtype() == DType::Bool && t.rank() == 0 => {
            same_dtype(x, value)?;
            t.truth().map(Some)
        }
        _ => Ok(None),
    }
}

/// Writes a value into no copy of the tensor, which is counted and recorded as every write.
fn write_nothing(x: &Tensor, value: &Tensor) -> Result<()> {
    let none = view::slice(&view::unsqueeze(x, 0)?, 0, 0, 0, 1)?;
    check_spreads("index_put_", value, none.shape())?;
    inplace::copy_(&none, value).map(drop)
}

/// True where a value is the very view that it is assigned to: what `x[i] += 1` ends with.
fn is_itself(view: &Tensor, value: &Tensor) -> bool {
    let base = |t: &Tensor| t.view_of().filter(|v| v.is_writable()).map(|v| v.base.clone());
    view.has_elements_of(value) && matches!((base(view), base(value)), (Some(a), Some(b)) if a.is_same(&b))
}

/// An error for a value of another dtype than what it is written to.
fn same_dtype(x: &Tensor, value: &Tensor) -> Result<()> {
    let (left, right) = (x.dtype(), value.dtype());
    if left == right { Ok(()) } else { Err(Error::DTypeMismatch { op: "index_put_", left, right }) }
}

/// An error unless a value broadcasts to what is selected.
fn check_spreads(op: &'static str, value: &Tensor, result: &[usize]) -> Result<()> {
    if broadcast(op, result, value.shape()).is_ok_and(|both| both[..] == *result) {
        return Ok(());
    }
    Err(Error::IndexedShape { op, value: value.shape().to_vec(), result: result.to_vec() })
}

/// Writes a value that broadcasts into what is selected.
fn write(selection: &Selection, x: &Tensor, value: &Tensor, indices: Indices) -> Result<()> {
    same_dtype(x, value)?;
    let shape = selection.list_shape(&indices);
    let value = without_leading_ones(value)?;
    check_spreads("index_put_", &value, &shape)?;
    select::join(selection, x, &value, indices, Deed::Put, "IndexPutBackward0", None).map(drop)
}

operation! {
    /// A copy with values written at indices, one tensor for each of the first dimensions: what `y[indices] = values` makes
    /// of a copy `y`. With `accumulate` values are added to those there, each as often as its index comes; without, the last
    /// one stays where an index comes several times, and the gradient is not that of differences.
    ///
    /// Shapes: `self` any, kept; `values` broadcasts to that of `self[indices]`.
    ///
    /// >>> i = ferrograd.tensor([0, 0, 2])
    /// >>> ferrograd.index_put(ferrograd.zeros(3), (i,), ferrograd.ones(3), accumulate=True)
    /// tensor([2., 0., 1.])
    function Noted(Any -> Shared), ["index_put(Tensor self, Tensor[] indices, Tensor values, bool accumulate=False)"],
    in_place |_, a| {
        let (x, s, indices, deed) = putting(a)?;
        let name = "IndexPutBackward0";
        select::join(&s, &x, &squeezed(a.tensor(2)?, s.list_shape(&indices).len())?, indices, deed, name, None)?;
        Ok(a.tensor(0)?.clone().into())
    },
    |_, a| {
        let (x, s, indices, deed) = putting(a)?;
        Ok(select::joined(&s, &x, &squeezed(a.tensor(2)?, s.list_shape(&indices).len())?, indices, deed)?.into())
    }
}

/// What the indices of a call of `index_put` select, and what is done there.
fn putting(a: &Arguments) -> Result<(Tensor, Selection, Indices, Deed)> {
    let (x, values) = (a.tensor(0)?, a.tensor(2)?);
    if values.dtype() != x.dtype() {
        return Err(Error::DTypeMismatch { op: a.op, left: x.dtype(), right: values.dtype() });
    }
    let parts: Vec<Index> = a.tensors(1)?.iter().cloned().map(Index::Tensor).collect();
    if parts.is_empty() {
        return Err(Error::Invalid { op: a.op, what: "at least one tensor of indices is needed".into() });
    }
    let deed = if a.bool(3)? { Deed::Add } else { Deed::Put };
    let (x, (selection, indices)) = match whole_mask(x, &parts) {
        Some(mask) => (x.clone(), masked(x, mask)?),
        None => {
            let parsed = parse(x, &parts)?;
            (parsed.view.clone(), selection(&parsed)?)
        }
    };
    check_spreads(a.op, values, &selection.list_shape(&indices))?;
    Ok((x, selection, indices, deed))
}

/// [`mask::MaskedFill`] as what assignment to a mask leaves behind.
struct MaskedPut;

impl MaskedPut {
    fn spec() -> &'static Pointwise {
        static SPEC: Pointwise = Pointwise::new::<MaskedPut>("index_put_", "IndexPutBackward0", Rule::Promote);
        &SPEC
    }
}

impl Formula for MaskedPut {
    const ARITY: usize = 3;
    const FORMS: &'static [Form] = &[Form::new(0b000, "IndexPutBackward0", 0b101)];
    #[inline(always)]
    fn forward<L: Real>(x: [L; OPERANDS]) -> L {
        <mask::MaskedFill as Formula>::forward(x)
    }
    #[inline(always)]
    fn derivative<L: Real>(n: usize, g: L, x: [L; OPERANDS], y: L) -> L {
        <mask::MaskedFill as Formula>::derivative(n, g, x, y)
    }
}

/// The tensors among the parts of an index.
fn indices(parts: &[Index]) -> impl Iterator<Item = &Tensor> {
    parts.iter().filter_map(|p| match p {
        Index::Tensor(t) => Some(t),
        _ => None,
    })
}

/// The order that undoes another.
fn inverse(order: &[isize]) -> SmallVec<[isize; 4]> {
    let mut inverse = SmallVec::from_elem(0, order.len());
    order.iter().enumerate().for_each(|(i, &d)| inverse[d as usize] = i as isize);
    inverse
}

/// Without leading dimensions of size 1 beyond `rank`, as NumPy lets values have.
fn squeezed(value: &Tensor, rank: usize) -> Result<Tensor> {
    let extra = value.rank().saturating_sub(rank);
    if extra == 0 || value.shape()[..extra].iter().any(|&s| s != 1) {
        return Ok(value.clone());
    }
    view::reshape(value, &view::signed(&value.shape()[extra..]))
}

/// Writes a value that broadcasts into a view: as torch does it, without leading dimensions of size 1, and expanded.
fn copy_to(target: &Tensor, value: &Tensor) -> Result<()> {
    if target.shape() == value.shape() {
        return inplace::copy_(target, value).map(drop);
    }
    if value.rank() == 0 {
        return inplace::fill_with(target, value).map(drop);
    }
    let value = without_leading_ones(value)?;
    let spreads = broadcast("copy_", target.shape(), value.shape()).is_ok_and(|both| both[..] == *target.shape());
    let value = if spreads { view::expand(&value, &view::signed(target.shape()))? } else { value };
    inplace::copy_(target, &value).map(drop)
}

/// Without dimensions of size 1 in front of the others.
fn without_leading_ones(value: &Tensor) -> Result<Tensor> {
    let ones = value.shape().iter().take_while(|&&size| size == 1).count();
    if ones == 0 { Ok(value.clone()) } else { view::view(value, &view::signed(&value.shape()[ones..])) }
}

/// Zeros of the given shape with `x` at the given indices of a dimension: where a reduction chose its elements.
pub(super) fn scatter_zeros(shape: &[usize], dim: isize, indices: &Tensor, x: &Tensor) -> Result<Tensor> {
    if shape.is_empty() {
        return Ok(x.clone());
    }
    let kind = Kind::Along(wrap_dim(OP, dim, shape.len())?);
    let selection = Selection { op: OP, family: &CHOSEN, kind, table: shape.into() };
    select::joined(&selection, &Tensor::expanded_zero(shape, x.dtype())?, x, smallvec![indices.clone()], Deed::Add)
}

/// The elements of `x` at the given indices of a dimension; the other sizes are those of `x`.
pub(super) fn take_along(x: &Tensor, dim: isize, indices: &Tensor) -> Result<Tensor> {
    if x.rank() == 0 {
        return view::reshape(&view::expand(x, &[indices.numel() as isize])?, &view::signed(indices.shape()));
    }
    let kind = Kind::Along(wrap_dim(OP, dim, x.rank())?);
    let selection = Selection { op: OP, family: &ADVANCED, kind, table: x.layout().shape.clone() };
    select::take(&selection, x, smallvec![indices.clone()])
}
