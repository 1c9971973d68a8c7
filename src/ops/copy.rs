//! Elements from one tensor into another.

use smallvec::{SmallVec, smallvec};

use super::recorded::link;
use super::registry::{Arguments, operation};
use super::{batch, inplace};
use crate::error::{Error, Result};
use crate::graph::node::{Backward, Derivative, Gradients};
use crate::kernels::convert::{converter, rows_mover};
use crate::kernels::gather::Walk;
use crate::kernels::parallel::{self, Apart};
use crate::kernels::transpose;
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::{Layout, Strides, channels_last, strides_in};
use crate::tensor::pending;
use crate::tensor::storage::Access;

operation! {
    /// A copy with memory of its own and the history of a function: the gradient passes through.
    ///
    /// >>> ferrograd.clone(ferrograd.tensor([1.0, 2.0]))
    /// tensor([1., 2.])
    function Same(Any -> Kept), ["clone(Tensor self, *, MemoryFormat? memory_format=None)"], |_, a| {
        Ok(clone_in(a.tensor(0)?, Format::named(a, 1)?)?.into())
    }
}

operation! {
    /// The tensor itself where its elements lie without gaps in row-major order, or in the order that is asked for, else a
    /// copy in which they do.
    ///
    /// >>> ferrograd.zeros(2, 3).t().contiguous().stride()
    /// (2, 1)
    function Same(Any -> Kept), ["Tensor.contiguous(Tensor self, *, MemoryFormat? memory_format=None)"], |_, a| {
        if a.text(1)? == Some("preserve_format") && !a.tensor(0)?.is_contiguous() {
            return Err(Error::Invalid { op: a.op, what: "preserve memory format is unsupported by the contiguous operator".into() });
        }
        Ok(in_format(a.tensor(0)?, Format::named(a, 1)?)?.into())
    }
}

/// The order of elements that a call asks for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Format {
    /// As they are.
    Preserve,
    /// Row-major.
    Contiguous,
    /// With the channels last: of images, with four dimensions, or volumes, with five.
    ChannelsLast(usize),
}

impl Format {
    /// The one that argument `n` names.
    pub fn named(a: &Arguments, n: usize) -> Result<Option<Format>> {
        Ok(match a.text(n)? {
            None => None,
            Some("contiguous_format") => Some(Format::Contiguous),
            Some("channels_last") => Some(Format::ChannelsLast(4)),
            Some("channels_last_3d") => Some(Format::ChannelsLast(5)),
            Some(_) => Some(Format::Preserve),
        })
    }

    /// A new contiguous tensor with its elements in this order, where they are preserved that of `like`, of the same shape.
    pub fn applied(self, op: &'static str, new: Tensor, like: Option<&Tensor>) -> Result<Tensor> {
        let Some(strides) = self.strides(op, new.shape())? else {
            return Ok(like.filter(|_| self == Format::Preserve).map_or(new.clone(), |like| laid_out_as(like, new)));
        };
        let layout = Layout { shape: new.layout().shape.clone(), strides, offset: 0 };
        Ok(Tensor::new(new.storage().clone(), layout, new.dtype(), new.versioning()))
    }

    /// The strides that a shape has with the channels last.
    ///
    /// # Errors
    /// For another number of dimensions.
    pub fn strides(self, op: &'static str, shape: &[usize]) -> Result<Option<Strides>> {
        let Format::ChannelsLast(rank) = self else { return Ok(None) };
        let Some(order) = channels_last(rank).filter(|_| shape.len() == rank) else {
            let name = if rank == 4 { "channels_last" } else { "channels_last_3d" };
            let what = format!("required rank {rank} tensor to use {name} format, got {shape:?}");
            return Err(Error::Invalid { op, what });
        };
        let innermost: SmallVec<[usize; 5]> = order.iter().rev().copied().collect();
        Ok(Some(strides_in(shape, &innermost)))
    }

    /// True where the elements lie in this order without gaps.
    fn holds(self, x: &Tensor) -> bool {
        match self {
            Format::Preserve => true,
            Format::Contiguous => x.is_contiguous(),
            Format::ChannelsLast(rank) => x.rank() == rank && x.layout().is_channels_last(),
        }
    }

    /// True where torch would name this order for the tensor, gaps or not.
    pub fn is_suggested_by(self, x: &Tensor) -> bool {
        match self {
            Format::Preserve => true,
            Format::Contiguous => !x.layout().suggests_channels_last(),
            Format::ChannelsLast(rank) => x.rank() == rank && x.layout().suggests_channels_last(),
        }
    }
}

/// The tensor itself where it is contiguous in a format, else a copy that is.
pub(super) fn in_format(x: &Tensor, format: Option<Format>) -> Result<Tensor> {
    let format = format.unwrap_or(Format::Contiguous);
    if format.holds(x) { Ok(x.clone()) } else { clone_in(x, Some(format)) }
}

/// A copy in a format, recorded.
fn clone_in(x: &Tensor, format: Option<Format>) -> Result<Tensor> {
    let format = format.unwrap_or(Format::Preserve);
    if format == Format::Contiguous {
        return clone_contiguous(x);
    }
    if matches!(format, Format::ChannelsLast(_)) && x.batch().is_some() {
        let what = "NYI: Tensor.clone(memory_format) inside vmap is only supported with memory_format torch.preserve_format or torch.contiguous_format (got ChannelsLast)";
        return Err(Error::Invalid { op: "clone", what: what.into() });
    }
    if let Some(y) = batch::unary(x, |x| clone_in(x, Some(format))) {
        return y;
    }
    let copy = format.applied("clone", Tensor::uninitialized("clone", x.shape(), x.dtype())?, Some(x))?;
    write(&copy, x)?;
    link(CloneDerivative, &[x], &copy)?;
    Ok(copy)
}

/// The tensor itself where it is contiguous, else a copy that is.
///
/// # Errors
/// Where there is no memory.
pub fn contiguous(x: &Tensor) -> Result<Tensor> {
    if x.is_contiguous() { Ok(x.clone()) } else { clone_contiguous(x) }
}

/// A copy in row-major order, recorded.
pub(crate) fn clone_contiguous(x: &Tensor) -> Result<Tensor> {
    if let Some(y) = batch::unary(x, clone_contiguous) {
        return y;
    }
    let copy = contiguous_copy(x)?;
    link(CloneDerivative, &[x], &copy)?;
    Ok(copy)
}

/// A copy with memory of its own, in the order of the original where that has no gaps.
///
/// # Errors
/// Where there is no memory.
pub fn clone(x: &Tensor) -> Result<Tensor> {
    clone_in(x, None)
}

#[derive(Clone)]
struct CloneDerivative;

impl Derivative for CloneDerivative {
    fn name(&self) -> &'static str {
        "CloneBackward0"
    }

    fn backward(&mut self, call: &Backward) -> Result<Gradients> {
        Ok(smallvec![Some(call.gradient()?)])
    }

    fn take(&mut self, _keep: bool) -> Self {
        CloneDerivative
    }

    const IS_LIGHT: bool = true;
}

/// The elements in row-major order in new memory, without history.
pub(crate) fn contiguous_copy(x: &Tensor) -> Result<Tensor> {
    let copy = Tensor::uninitialized("clone", x.shape(), x.dtype())?;
    write(&copy, x)?;
    Ok(copy)
}

/// The elements in new memory in the order that those of `like`, of the same shape, have in memory, without history.
pub(crate) fn clone_as(x: &Tensor, like: &Tensor) -> Result<Tensor> {
    if like.shape() != x.shape() {
        return contiguous_copy(x);
    }
    let copy = laid_out_as(like, Tensor::uninitialized("clone", x.shape(), x.dtype())?);
    write(&copy, x)?;
    Ok(copy)
}

/// All bytes of the tensor's memory in new memory, also those that it does not show.
///
/// # Errors
/// Where there is no memory.
pub fn memory(op: &'static str, x: &Tensor) -> Result<Tensor> {
    let bytes = x.storage().bytes();
    let copy = Tensor::uninitialized(op, &[bytes], DType::U8)?;
    let _access = Access::lock([(&**x.storage(), false)]);
    // SAFETY: both blocks have so many bytes, nobody else has the new one, and the old one is locked.
    unsafe { std::ptr::copy_nonoverlapping(x.storage().as_ptr(), copy.storage().as_ptr(), bytes) };
    Ok(copy)
}

/// The elements under the same strides from an offset on, with what lies between them in memory, without history; where
/// strides overlap as [`clone_as`]. The offset is not behind the first element.
pub(super) fn clone_with_gaps(x: &Tensor, offset: usize) -> Result<Tensor> {
    let layout = x.layout();
    if x.numel() == 0 || !layout.is_non_overlapping() {
        return clone_as(x, x);
    }
    let span = Layout { shape: smallvec![layout.end() - offset], strides: smallvec![1], offset };
    let memory = contiguous_copy(&x.alias(span, false))?;
    let layout = Layout { offset: layout.offset - offset, ..layout.clone() };
    Ok(Tensor::new(memory.storage().clone(), layout, x.dtype(), memory.versioning()))
}

/// As [`clone_as`], recorded as a copy into new memory.
pub(crate) fn recorded_as(x: &Tensor, like: &Tensor) -> Result<Tensor> {
    let copy = laid_out_as(like, Tensor::uninitialized("copy_", x.shape(), x.dtype())?);
    inplace::copy_(&copy, x)
}

/// A new contiguous tensor with its elements in the order that those of `like`, of the same shape, have in memory.
pub(crate) fn laid_out_as(like: &Tensor, new: Tensor) -> Tensor {
    if like.layout().is_row_major() {
        return new;
    }
    let from = like.layout();
    let strides = if from.is_dense() { from.strides.clone() } else { from.dense_strides() };
    let layout = Layout { shape: from.shape.clone(), strides, offset: 0 };
    Tensor::new(new.storage().clone(), layout, new.dtype(), new.versioning())
}

/// The tensor, or a copy in row-major order, without history.
pub(crate) fn to_contiguous(x: &Tensor) -> Result<Tensor> {
    if x.is_contiguous() { Ok(x.clone()) } else { contiguous_copy(x) }
}

/// Steps between neighbours of the source from which a copy goes by tiles, where those of the target are smaller.
const FAR: usize = 16;

/// As [`write`], for a source that is probably of no use afterwards: where it waits, it is computed into `target` and kept
/// nowhere else.
pub(crate) fn move_into(target: &Tensor, source: &Tensor) -> Result<()> {
    if pending::write_into(target, source)? { Ok(()) } else { write(target, source) }
}

/// Elements a piece of a parallel copy has.
const GRAIN: usize = 1 << 16;

/// Writes the elements of `source`, broadcast and converted, into `target`'s memory, without history. The two do not
/// overlap.
pub(crate) fn write(target: &Tensor, source: &Tensor) -> Result<()> {
    let convert = converter("copy_", source.dtype(), target.dtype())?;
    let strides = source.layout().broadcast_to(target.shape()).strides;
    let walk = Walk::of_copy(target.shape(), target.strides(), &strides);
    let (to_step, from_step) = (walk.inner_stride(0), walk.inner_stride(1));
    let (to_size, from_size) = (target.dtype().size() as isize, source.dtype().size() as isize);
    let _access = Access::lock([(&**target.storage(), true), (&**source.storage(), false)]);
    if from_step.unsigned_abs() >= FAR
        && target.dtype() == source.dtype()
        && let Some(across) = transpose::across(&walk)
    {
        // SAFETY: the walk stays within both tensors, whose storages are locked.
        unsafe { turn(&walk, across, source.data_ptr(), target.data_ptr(), target.dtype().size()) };
        return Ok(());
    }
    if (to_step, from_step) == (1, 1) && target.dtype() == source.dtype() && is_of_rows(&walk) {
        // SAFETY: as above.
        unsafe { move_rows(walk, source.data_ptr(), target.data_ptr(), target.dtype().size()) };
        return Ok(());
    }
    let (to, from) = (Apart(target.data_ptr()), Apart(source.data_ptr()));
    parallel::for_each_range(target.numel(), GRAIN, |start, end| {
        walk.each([0, 1], start, end, |[to_offset, from_offset], length| {
            // SAFETY: the walk stays within both tensors, whose storages are locked; ranges are disjoint.
            unsafe {
                let (to, from) = (to.get().offset(to_offset * to_size), from.get().offset(from_offset * from_size));
                convert(from, from_step, to, to_step, length);
            }
        });
    });
    Ok(())
}

/// Elements of a row from which calls for each row cost nothing beside it.
const LONG: usize = 1 << 10;

/// Rows of a tile of rows, in both directions.
const SIDE: usize = 8;

/// True for several rows that are short.
fn is_of_rows(walk: &Walk) -> bool {
    walk.shape.len() > 1 && walk.inner() < LONG
}

/// Copies elements of a size that lie side by side along the innermost dimension on both sides.
///
/// # Safety
/// The elements of the walk are readable at `from` and writable at `to`; the two do not overlap.
unsafe fn move_rows(mut walk: Walk, from: *const u8, to: *mut u8, size: usize) {
    let (length, [_, _]) = walk.pop();
    let pitches = [walk.inner_stride(1), walk.inner_stride(0)];
    let (run, size) = (rows_mover(size), size as isize);
    let (from, to) = (Apart(from.cast_mut()), Apart(to));
    let grain = GRAIN.div_ceil(length.max(1));
    // Where the source's rows lie side by side along another dimension, tiles of rows read and write more at a time than a row.
    let is_beside = |&d: &usize| walk.strides[1][d] == length as isize && walk.shape[d] >= SIDE;
    if let Some(beside) = (0..walk.shape.len() - 1).find(is_beside) {
        let steps = [0, 1].map(|o| walk.strides[o][beside]);
        transpose::each_tile(&walk, beside, (SIDE, grain.div_ceil(SIDE * SIDE)), |at, (down, along)| {
            for row in 0..down as isize {
                let [to_offset, from_offset] = [0, 1].map(|o| (at[o] + row * steps[o]) * size);
                // SAFETY: the caller's; tiles are apart.
                unsafe { run(from.get().offset(from_offset), 1, to.get().offset(to_offset), pitches, along, length) };
            }
        });
        return;
    }
    parallel::for_each_range(walk.shape.iter().product(), grain, |start, end| {
        walk.each([0, 1], start, end, |[to_offset, from_offset], rows| {
            // SAFETY: the caller's; ranges are disjoint.
            unsafe {
                let (to, from) = (to.get().offset(to_offset * size), from.get().offset(from_offset * size));
                run(from, 1, to, pitches, rows, length);
            }
        });
    });
}

/// Copies elements of a size by tiles.
///
/// # Safety
/// As [`transpose::copy`].
unsafe fn turn(walk: &Walk, across: usize, from: *const u8, to: *mut u8, size: usize) {
    // SAFETY: the caller's.
    unsafe {
        match size {
            1 => transpose::copy::<u8>(walk, across, from, to),
            2 => transpose::copy::<u16>(walk, across, from.cast(), to.cast()),
            4 => transpose::copy::<u32>(walk, across, from.cast(), to.cast()),
            8 => transpose::copy::<u64>(walk, across, from.cast(), to.cast()),
            _ => transpose::copy::<u128>(walk, across, from.cast(), to.cast()),
        }
    }
}
