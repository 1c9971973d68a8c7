//! Elements of a tensor, the table, found by indices: the one way of taking them as a list, and of joining a list to them.
//! `gather` and `scatter`, `index_select` and its kin, `take` and `put`, and indexing by tensors differ in what an index is
//! beside; taking and adding are each other's derivatives for all of them.

use smallvec::{SmallVec, smallvec};

use super::copy;
use super::inplace;
use super::recorded::link;
use super::{arithmetic, batch, cast, view};
use crate::error::{Error, Result};
use crate::graph::node::{Backward, Derivative, Gradients, Label, Node, Setting};
use crate::graph::saved::Saved;
use crate::kernels::element::dispatch;
use crate::kernels::lookup::{self, Join, Lookup};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::{Layout, Shape, Strides, memory_order, strides_in};
use crate::tensor::scalar::Scalar;
use crate::tensor::storage::Access;

/// The indices of a selection, all of one shape and int64: one for each indexed dimension.
pub(super) type Indices = SmallVec<[Tensor; 1]>;

/// What operations of one kind have in common.
pub(super) struct Family {
    /// torch's names of the nodes: of taking, of replacing, and of adding.
    pub nodes: [&'static str; 3],
    /// torch's name of the node that the gradient of taking has.
    pub gradient: &'static str,
    /// Whether negative indices count from the end.
    pub wraps: bool,
    /// Whether what is taken, and copies of tables, lie in the order of the table; else in row-major order.
    pub in_order: bool,
    /// The error for an index out of range: operation, index, dimension, size.
    pub out_of_range: fn(&'static str, i64, usize, usize) -> Error,
}

/// What stands where in a table and in the list beside the indices.
#[derive(Clone)]
pub(super) enum Kind {
    /// The list and the indices have the dimensions of the table, and an index replaces that of one dimension.
    Along(usize),
    /// Indices of some dimensions go with all indices of the others; their own dimensions stand at `place` in the list.
    Rows { dims: SmallVec<[usize; 2]>, place: usize },
    /// The indices count the elements of the table in row-major order.
    Flat,
}

/// Which elements of a table a list has, but for the indices themselves.
#[derive(Clone)]
pub(super) struct Selection {
    pub op: &'static str,
    pub family: &'static Family,
    pub kind: Kind,
    /// The sizes of the table.
    pub table: Shape,
}

impl Selection {
    /// The sizes of the list.
    pub fn list_shape(&self, indices: &[Tensor]) -> Shape {
        match &self.kind {
            Kind::Along(_) | Kind::Flat => indices[0].layout().shape.clone(),
            Kind::Rows { dims, place } => {
                let mut shape: Shape = self.others(dims).map(|d| self.table[d]).collect();
                shape.insert_many(*place, indices[0].shape().iter().copied());
                shape
            }
        }
    }

    /// The dimensions of the table without indices.
    fn others<'a>(&'a self, dims: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
        (0..self.table.len()).filter(|d| !dims.contains(d))
    }

    /// The same elements of every example of a batch, which is in front of table and list.
    fn on_batch(&self, size: usize) -> Selection {
        let mut table = self.table.clone();
        table.insert(0, size);
        let kind = match &self.kind {
            Kind::Along(dim) => Kind::Along(dim + 1),
            Kind::Rows { dims, place } => Kind::Rows { dims: dims.iter().map(|d| d + 1).collect(), place: place + 1 },
            Kind::Flat => {
                table = smallvec![size, self.table.iter().product()];
                Kind::Rows { dims: smallvec![1], place: 1 }
            }
        };
        Selection { kind, table, ..self.clone() }
    }

    /// As [`Selection::on_batch`], with the indices of single examples.
    fn batched(&self, size: usize, indices: &[Tensor]) -> Result<(Selection, Indices)> {
        let mut indices: Indices = indices.into();
        if matches!(self.kind, Kind::Along(_)) {
            let mut sizes = view::signed(indices[0].shape());
            sizes.insert(0, size as isize);
            indices[0] = view::expand(&indices[0], &sizes)?;
        }
        Ok((self.on_batch(size), indices))
    }

    /// As [`Selection::on_batch`] with indices that differ from example to example, the batch in front: an index that counts
    /// the examples stands before them. Gives also the order of the list's dimensions that puts them in their place.
    fn with_examples(&self, size: usize, moved: &[Tensor]) -> Result<(Selection, Indices, SmallVec<[isize; 8]>)> {
        let whole = self.on_batch(size);
        let rank = moved[0].rank();
        let Kind::Rows { dims, place } = &whole.kind else {
            return Ok((whole, moved.into(), (0..rank as isize).collect()));
        };
        let mut column: SmallVec<[isize; 4]> = smallvec![1; rank];
        column[0] = size as isize;
        let count = Tensor::from_shape(&(0..size as i64).collect::<Vec<_>>(), &[size])?;
        let examples = view::expand(&view::reshape(&count, &column)?, &view::signed(moved[0].shape()))?;
        let indices = std::iter::once(examples).chain(moved.iter().cloned()).collect();
        let all: SmallVec<[usize; 2]> = std::iter::once(0).chain(dims.iter().copied()).collect();
        // Now batch, indices, others; wanted are batch, others up to the place, indices, others.
        let (own, before) = (rank as isize, rank as isize + *place as isize - 1);
        let end = own + (whole.table.len() - all.len()) as isize;
        let order = std::iter::once(0).chain(own..before).chain(1..own).chain(before..end).collect();
        Ok((Selection { kind: Kind::Rows { dims: all, place: 0 }, ..whole }, indices, order))
    }

    /// What the kernels need to know for a table and a list of these layouts, and the indices that they read.
    fn lookup(&self, table: &Layout, list: &[isize], indices: &[Tensor]) -> Result<(Lookup, Tensor)> {
        let index = &indices[0];
        let size = |d: usize| table.shape.get(d).copied().unwrap_or(1);
        let step = |d: usize| table.strides.get(d).copied().unwrap_or(1);
        match &self.kind {
            Kind::Along(dim) => {
                // An index without elements may have more dimensions than the table.
                let still = |d: usize| if d == *dim { 0 } else { table.strides.get(d).copied().unwrap_or(0) };
                let still: Strides = (0..index.rank()).map(still).collect();
                let strides = [index.strides(), list, &still[..]];
                Ok((Lookup::new(index.shape(), strides, step(*dim), size(*dim), self.family.wraps), index.clone()))
            }
            Kind::Rows { dims, place } => {
                let (index, step, size, wraps) = match &dims[..] {
                    [dim] => (index.clone(), step(*dim), size(*dim), self.family.wraps),
                    _ => (self.offsets(table, dims, indices)?, 1, isize::MAX as usize, false),
                };
                let mut own: Strides = self.others(dims).map(|_| 0).collect();
                own.insert_many(*place, index.strides().iter().copied());
                let mut still: Strides = self.others(dims).map(|d| table.strides[d]).collect();
                still.insert_many(*place, std::iter::repeat_n(0, index.rank()));
                Ok((Lookup::new(&self.list_shape(indices), [&own, list, &still], step, size, wraps), index))
            }
            Kind::Flat => {
                let still: Strides = smallvec![0; index.rank()];
                let (index, size, wraps) = if table.is_contiguous() {
                    (index.clone(), table.numel(), self.family.wraps)
                } else {
                    (self.flat_offsets(table, index)?, isize::MAX as usize, false)
                };
                Ok((Lookup::new(index.shape(), [index.strides(), list, &still], 1, size, wraps), index.clone()))
            }
        }
    }

    /// The offsets in a table that the indices of several dimensions make together.
    fn offsets(&self, table: &Layout, dims: &[usize], indices: &[Tensor]) -> Result<Tensor> {
        let sums = Tensor::zeros(indices[0].shape(), DType::I64)?;
        for (&d, index) in dims.iter().zip(indices) {
            let _access = Access::lock([(&**index.storage(), false)]);
            let (from, to) = (index.data_ptr().cast(), sums.data_ptr().cast());
            let dimension = (table.shape[d], table.strides[d]);
            // SAFETY: the index is int64 and locked; the sums are new and of its shape.
            let bad = unsafe { lookup::add_offsets(index.shape(), index.strides(), from, dimension, to) };
            if let Some(bad) = bad {
                return Err((self.family.out_of_range)(self.op, bad, d, table.shape[d]));
            }
        }
        Ok(sums)
    }

    /// The offsets in a table that is not contiguous of elements counted in row-major order.
    fn flat_offsets(&self, table: &Layout, index: &Tensor) -> Result<Tensor> {
        let index = copy::to_contiguous(index)?;
        let offsets = Tensor::uninitialized(self.op, index.shape(), DType::I64)?;
        let _access = Access::lock([(&**index.storage(), false)]);
        // SAFETY: both are contiguous and int64; the offsets are new.
        let (from, to) = unsafe { (index.elements::<i64>(), offsets.elements_mut::<i64>()) };
        match lookup::element_offsets(&table.shape, &table.strides, self.family.wraps, from, to) {
            Some(bad) => Err((self.family.out_of_range)(self.op, bad, 0, table.numel())),
            None => Ok(offsets),
        }
    }

    /// The error for a bad index that a kernel found.
    fn refuse(&self, bad: i64) -> Error {
        let dim = match &self.kind {
            Kind::Along(dim) => *dim,
            Kind::Rows { dims, .. } => dims[0],
            Kind::Flat => return (self.family.out_of_range)(self.op, bad, 0, self.table.iter().product()),
        };
        (self.family.out_of_range)(self.op, bad, dim, self.table.get(dim).copied().unwrap_or(1))
    }

    /// The strides of the list in the order of the table and of the indices, where that is another than row-major order.
    fn order(&self, x: &Tensor, indices: &[Tensor]) -> Option<Strides> {
        let Kind::Rows { dims, place } = &self.kind else { return None };
        if !self.family.in_order || indices.iter().chain([x]).all(|t| t.layout().is_row_major()) {
            return None;
        }
        let shape = self.list_shape(indices);
        let mut still: Strides = self.others(dims).map(|d| x.strides()[d]).collect();
        still.insert_many(*place, std::iter::repeat_n(0, indices[0].rank()));
        let own = |index: &Tensor| -> Strides {
            let mut own: Strides = smallvec![0; still.len()];
            own[*place..*place + index.rank()].copy_from_slice(index.strides());
            own
        };
        let all: SmallVec<[Strides; 4]> = std::iter::once(still.clone()).chain(indices.iter().map(own)).collect();
        let all: SmallVec<[&[isize]; 4]> = all.iter().map(|s| &s[..]).collect();
        Some(strides_in(&shape, &memory_order(&shape, &all)))
    }

    /// The elements of the list, without history.
    fn taken(&self, x: &Tensor, indices: &[Tensor]) -> Result<Tensor> {
        let mut y = Tensor::uninitialized(self.op, &self.list_shape(indices), x.dtype())?;
        if let Some(strides) = self.order(x, indices) {
            let layout = Layout { strides, ..y.layout().clone() };
            y = Tensor::new(y.storage().clone(), layout, y.dtype(), y.versioning());
        }
        let (lookup, index) = self.lookup(x.layout(), y.strides(), indices)?;
        let _access = Access::lock([(&**x.storage(), false), (&**index.storage(), false)]);
        let bad = dispatch!(self.op, x.dtype(), T => {
            // SAFETY: the lookup was made for these tensors, which are locked; `y` is new.
            unsafe { lookup.take::<T>(index.data_ptr().cast(), x.data_ptr().cast(), y.data_ptr().cast()) }
        });
        bad.map_or(Ok(y), |bad| Err(self.refuse(bad)))
    }

    /// Joins `list`, broadcast, to the elements of `table`, in its memory and without history.
    pub fn write<J: Join>(&self, table: &Tensor, list: &Tensor, indices: &[Tensor]) -> Result<()> {
        let list = cast::to(&list.detach(), table.dtype())?;
        let spread = list.layout().broadcast_to(&self.list_shape(indices)).strides;
        let (lookup, index) = self.lookup(table.layout(), &spread, indices)?;
        let _access =
            Access::lock([(&**table.storage(), true), (&**list.storage(), false), (&**index.storage(), false)]);
        let bad = dispatch!(self.op, table.dtype(), T => {
            // SAFETY: as in `taken`; the callers see to it that the table does not overlap itself, the list or the index.
            unsafe { lookup.put::<T, J>(index.data_ptr().cast(), list.data_ptr().cast(), table.data_ptr().cast()) }
        });
        bad.map_or(Ok(()), |bad| Err(self.refuse(bad)))
    }
}

/// What is done with the elements of a selection.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Deed {
    /// `y = x[indices]`
    Take,
    /// `y = x`, `y[indices] = list`
    Put,
    /// `y = x`, `y[indices] += scale list`
    Add,
}

/// The derivatives: `dx[indices] += g` of taking; `dx = g` with zeros at the indices, `dlist = g[indices]` of replacing;
/// `dx = g`, `dlist = scale g[indices]` of adding.
#[derive(Clone)]
struct Selected {
    name: &'static str,
    deed: Deed,
    selection: Box<Selection>,
    scale: Option<Scalar>,
    indices: SmallVec<[Saved; 1]>,
}

impl Derivative for Selected {
    fn name(&self) -> &'static str {
        self.name
    }

    fn backward(&mut self, call: &Backward) -> Result<Gradients> {
        let indices: Indices = self.indices.iter().map(|i| i.unpack(call.node)).collect::<Result<_>>()?;
        let (s, g) = (&*self.selection, call.gradient()?);
        if self.deed == Deed::Take {
            let zeros = Tensor::expanded_zero(&s.table, g.dtype())?;
            return Ok(smallvec![Some(joined_as(s, &zeros, &g, indices, Deed::Add, s.family.gradient, None)?)]);
        }
        let dx = match self.deed {
            _ if !call.needs(0) => None,
            Deed::Put => Some(joined(s, &g, &Tensor::scalar(0i64, g.dtype())?, indices.clone(), Deed::Put)?),
            _ => Some(g.clone()),
        };
        if !call.needs(1) {
            return Ok(smallvec![dx]);
        }
        let taken = take(s, &g, indices)?;
        let scaled = self.scale.map_or(Ok(taken.clone()), |scale| arithmetic::mul(&taken, scale))?;
        Ok(smallvec![dx, Some(scaled)])
    }

    fn take(&mut self, keep: bool) -> Self {
        Selected {
            indices: self.indices.iter_mut().map(|i| i.take(keep)).collect(),
            selection: self.selection.clone(),
            ..*self
        }
    }

    fn visit(&mut self, f: &mut dyn FnMut(&mut Saved)) {
        self.indices.iter_mut().for_each(f);
    }

    fn labelled(&self) -> Vec<(Label, Saved)> {
        self.indices.iter().enumerate().map(|(n, saved)| (Label::Other(n), saved.clone())).collect()
    }

    fn settings(&self, _node: &Node) -> Vec<(&'static str, Setting)> {
        let mut all = match &self.selection.kind {
            Kind::Along(dim) => vec![("dim", Setting::Int(*dim as i64))],
            Kind::Rows { dims, .. } if self.name.starts_with("IndexBackward") || self.name.starts_with("IndexPut") => {
                let last = dims.iter().max().map_or(0, |d| d + 1);
                vec![("indices", Setting::Places((0..last).map(|d| dims.iter().position(|&of| of == d)).collect()))]
            }
            Kind::Rows { dims, .. } => dims.iter().map(|&dim| ("dim", Setting::Int(dim as i64))).collect(),
            Kind::Flat => Vec::new(),
        };
        if self.deed == Deed::Take && matches!(self.selection.kind, Kind::Rows { .. }) {
            all.push(("self_sym_sizes", Setting::ints(&self.selection.table)));
        }
        all
    }
}

impl Selected {
    fn new(s: &Selection, indices: &[Tensor], deed: Deed) -> Selected {
        let name = s.family.nodes[deed as usize];
        let indices = indices.iter().map(Saved::input).collect();
        Selected { name, deed, selection: Box::new(s.clone()), scale: None, indices }
    }
}

/// The indices of a batch with the batch in front, where they have one at its level.
fn unwrapped(indices: &[Tensor], level: u32, size: usize) -> Result<Option<Indices>> {
    if batch::level(indices) != Some(level) {
        return Ok(None);
    }
    indices.iter().map(|t| batch::unwrapped(t, level, size)).collect::<Result<_>>().map(Some)
}

/// The elements of the list.
pub(super) fn take(s: &Selection, x: &Tensor, indices: Indices) -> Result<Tensor> {
    if let Some(level) = batch::level(indices.iter().chain([x])) {
        let size = batch::size(level, indices.iter().chain([x]));
        let value = batch::unwrapped(x, level, size)?;
        let flat = matches!(s.kind, Kind::Flat);
        let value = if flat { view::reshape(&value, &[size as isize, -1])? } else { value };
        let y = match unwrapped(&indices, level, size)? {
            None => {
                let (s, indices) = s.batched(size, &indices)?;
                take(&s, &value, indices)?
            }
            Some(moved) => {
                let (s, indices, order) = s.with_examples(size, &moved)?;
                view::permute(&take(&s, &value, indices)?, &order)?
            }
        };
        return Ok(Tensor::batched(&y, level));
    }
    let y = s.taken(x, &indices)?;
    link(Selected::new(s, &indices, Deed::Take), &[x], &y)?;
    Ok(y)
}

/// A copy of `x` with the list joined to it, which broadcasts.
pub(super) fn joined(s: &Selection, x: &Tensor, list: &Tensor, indices: Indices, deed: Deed) -> Result<Tensor> {
    joined_as(s, x, list, indices, deed, s.family.nodes[deed as usize], None)
}

/// As [`joined`], recorded under another name and with a scale.
pub(super) fn joined_as(
    s: &Selection,
    x: &Tensor,
    list: &Tensor,
    indices: Indices,
    deed: Deed,
    name: &'static str,
    scale: Option<Scalar>,
) -> Result<Tensor> {
    let again = |s: &Selection, x: &Tensor, list: &Tensor, indices| joined_as(s, x, list, indices, deed, name, scale);
    if let Some(y) = on_examples(s, x, list, &indices, again) {
        return y;
    }
    let y = if s.family.in_order { copy::clone_as(x, x)? } else { copy::contiguous_copy(x)? };
    write(s, &y, list, &indices, deed, scale)?;
    link(Selected { name, scale, ..Selected::new(s, &indices, deed) }, &[x, list], &y)?;
    Ok(y)
}

/// The rule of operations that join a list to a copy of `x`: the same on all examples at once. `None` where nothing is
/// batched.
pub(super) fn on_examples(
    s: &Selection,
    x: &Tensor,
    list: &Tensor,
    indices: &[Tensor],
    run: impl FnOnce(&Selection, &Tensor, &Tensor, Indices) -> Result<Tensor>,
) -> Option<Result<Tensor>> {
    let all = || indices.iter().chain([x, list]);
    let level = batch::level(all())?;
    let joined = || {
        let size = batch::size(level, all());
        let moved = moved(s, list, indices, level, size)?;
        let value = batch::unwrapped(x, level, size)?;
        let value = if matches!(s.kind, Kind::Flat) { view::reshape(&value, &[size as isize, -1])? } else { value };
        let y = run(&moved.selection, &value, &moved.list, moved.indices)?;
        let mut sizes = view::signed(x.shape());
        sizes.insert(0, size as isize);
        Ok(Tensor::batched(&view::reshape(&y, &sizes)?, level))
    };
    Some(joined())
}

/// A selection on all examples of a batch, and what is joined to it.
struct Moved {
    selection: Selection,
    indices: Indices,
    list: Tensor,
}

fn moved(s: &Selection, list: &Tensor, indices: &[Tensor], level: u32, size: usize) -> Result<Moved> {
    let shape = s.list_shape(indices);
    let list = batch::padded(&batch::unwrapped(list, level, size)?, shape.len() + 1)?;
    match unwrapped(indices, level, size)? {
        None => {
            let (selection, indices) = s.batched(size, indices)?;
            Ok(Moved { selection, indices, list })
        }
        Some(indices) => {
            let (selection, indices, order) = s.with_examples(size, &indices)?;
            let mut sizes = view::signed(&shape);
            sizes.insert(0, size as isize);
            let mut back: SmallVec<[isize; 8]> = smallvec![0; order.len()];
            order.iter().enumerate().for_each(|(i, &d)| back[d as usize] = i as isize);
            let list = view::permute(&view::expand(&list, &sizes)?, &back)?;
            Ok(Moved { selection, indices, list })
        }
    }
}

/// Joins the list to `target` in place.
pub(super) fn join(
    s: &Selection,
    target: &Tensor,
    list: &Tensor,
    indices: Indices,
    deed: Deed,
    name: &'static str,
    scale: Option<Scalar>,
) -> Result<Tensor> {
    if let Some(level) = batch::level(indices.iter().chain([target, list])) {
        let Some(own) = target.batch().filter(|b| b.level == level) else {
            return Err(Error::BatchedInPlace { op: s.op });
        };
        let size = own.value.shape()[0];
        let moved = moved(s, list, &indices, level, size)?;
        let flat = matches!(s.kind, Kind::Flat);
        let value = if flat { view::view(&own.value, &[size as isize, -1])? } else { own.value.clone() };
        join(&moved.selection, &value, &moved.list, moved.indices, deed, name, scale)?;
        return Ok(target.clone());
    }
    inplace::check(s.op, target)?;
    let safe = inplace::apart(s.op, target, list)?;
    let indices: Indices = indices.iter().map(|i| inplace::apart(s.op, target, i)).collect::<Result<_>>()?;
    let derivative = Selected { name, scale, ..Selected::new(s, &indices, deed) };
    inplace::update(
        target,
        |y| link(derivative, &[target, list], y),
        || write(s, target, &safe, &indices, deed, scale),
    )?;
    Ok(target.clone())
}

fn write(
    s: &Selection,
    y: &Tensor,
    list: &Tensor,
    indices: &[Tensor],
    deed: Deed,
    scale: Option<Scalar>,
) -> Result<()> {
    let scaled = match scale {
        Some(scale) => &crate::graph::forward::unrecorded(|| arithmetic::mul(list, scale))?,
        None => list,
    };
    if deed == Deed::Add {
        s.write::<lookup::Add>(y, scaled, indices)
    } else {
        s.write::<lookup::Put>(y, scaled, indices)
    }
}
