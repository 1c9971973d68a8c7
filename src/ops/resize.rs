//! Tensors given another size or other memory in place: the tensor that takes the place of the old one.

use super::copy::Format;
use super::registry::{Arguments, Output, operation};
use super::{creation, inplace, view};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::tensor::layout::{Layout, checked_numel};
use crate::tensor::storage::{Access, Buffer};

operation! {
    /// Gives the tensor other sizes, row-major from its first element on; the elements that there were stay, new ones are
    /// anything. Memory that other tensors share cannot grow, and a tensor that requires grad cannot be resized.
    ///
    /// Shapes: `size`.
    ///
    /// >>> ferrograd.arange(4).resize_(2, 2)
    /// tensor([[0, 1],
    ///         [2, 3]])
    function Noted(Any -> Kept), ["Tensor.resize_(Tensor self, int[] size, *, MemoryFormat? memory_format=None)"], |_, a| {
        resized(a.op, a.tensor(0)?, &creation::sizes(a.op, a.ints(1)?)?, Format::named(a, 2)?)
    }
}

operation! {
    /// `resize_` to the sizes of another tensor.
    ///
    /// Shapes: that of `the_template`.
    ///
    /// >>> ferrograd.arange(4).resize_as_(ferrograd.zeros(2, 2))
    /// tensor([[0, 1],
    ///         [2, 3]])
    function Noted(Any -> Kept), ["resize_as_(Tensor self, Tensor the_template, *, MemoryFormat? memory_format=None)"], |_, a| {
        let like = a.tensor(1)?;
        let format = match Format::named(a, 2)? {
            Some(Format::Preserve) if like.layout().suggests_channels_last() => Some(Format::ChannelsLast(like.rank())),
            Some(Format::Preserve) => Some(Format::Contiguous),
            format => format,
        };
        resized(a.op, a.tensor(0)?, like.shape(), format)
    }
}

fn resized(op: &'static str, x: &Tensor, shape: &[usize], format: Option<Format>) -> Result<Output> {
    if x.requires_grad() && !crate::graph::mode::is_inference_mode_enabled() {
        return Err(Error::Invalid { op, what: "cannot resize variables that require grad".into() });
    }
    inplace::check_inference(op, x)?;
    if x.batch().is_some() {
        return Err(Error::NotImplemented { op, what: "vmap over a change of size in place".into() });
    }
    if format == Some(Format::Preserve) {
        return Err(Error::Invalid { op, what: "Unsupported memory format preserve_format".into() });
    }
    if shape == x.shape() && format.is_none() {
        return Ok(Output::Instead(x.clone()));
    }
    let numel = checked_numel(op, shape, x.dtype().size())?;
    let mut layout = Layout { offset: x.layout().offset, ..Layout::contiguous(shape) };
    if let Some(strides) = format.map(|format| format.strides(op, shape)).transpose()?.flatten() {
        layout.strides = strides;
    }
    let bytes = layout.offset.saturating_add(numel).saturating_mul(x.dtype().size());
    if bytes <= x.storage().bytes() || numel == 0 {
        x.storage().bump(x.versioning());
        return Ok(Output::Instead(x.relaid(&x.alias(layout, false))));
    }
    if x.storage().bytes() > 0 && !x.storage().is_unique() {
        return Err(Error::NotImplemented { op, what: "growing memory that several tensors share".into() });
    }
    let larger = Buffer::allocate(op, bytes)?;
    let _access = Access::lock([(&**x.storage(), false)]);
    // SAFETY: the new block is the larger one, nobody else has it, and the old one is locked.
    unsafe { std::ptr::copy_nonoverlapping(x.storage().as_ptr(), larger.as_ptr(), x.storage().bytes()) };
    x.storage().bump(x.versioning());
    larger.count_on(x.storage());
    Ok(Output::Instead(Tensor::new(larger, layout, x.dtype(), x.versioning())))
}

operation! {
    /// Gives the tensor the memory of another of the same dtype, under its sizes and strides or those given; without arguments
    /// none. Elements written through one are seen by the other.
    ///
    /// Shapes: `size`, else that of `source`, else `(0,)`.
    ///
    /// >>> x = ferrograd.arange(4)
    /// >>> ferrograd.tensor([0]).set_(x, 1, (2,))
    /// tensor([1, 2])
    function Noted(Any -> Shared), [
        "Tensor.set_(Tensor self)",
        "Tensor.set_(Tensor self, Tensor source)",
        "Tensor.set_(Tensor self, Tensor source, int storage_offset, int[] size, int[] stride=())"
    ], |n, a| set(n, a)
}

fn set(n: usize, a: &Arguments) -> Result<Output> {
    let (op, x) = (a.op, a.tensor(0)?);
    inplace::check_inference(op, x)?;
    inplace::check_history(op, x)?;
    if crate::graph::mode::is_grad_enabled() && x.requires_grad() {
        return Err(Error::NotImplemented {
            op,
            what: "the derivative of other memory for a tensor with a history".into(),
        });
    }
    let source = match n {
        0 => Tensor::uninitialized(op, &[0], x.dtype())?,
        _ => a.tensor(1)?.clone(),
    };
    if source.batch().is_some() || x.batch().is_some() {
        return Err(Error::NotImplemented { op, what: "vmap over a change of memory".into() });
    }
    if source.dtype() != x.dtype() {
        return Err(Error::DTypeMismatch { op, left: x.dtype(), right: source.dtype() });
    }
    let changes = x.changes().wrapping_add(1);
    let given = |source: &Tensor| {
        let tensor = x.with_data(source)?;
        tensor.count_from(changes);
        // Graphs that are there are about the memory from before.
        tensor.meta().into_iter().for_each(|meta| meta.part());
        Ok(Output::Instead(tensor))
    };
    if n < 2 {
        return given(&source);
    }
    let size = a.ints(3)?;
    let row_major: Vec<isize> = crate::tensor::layout::contiguous_strides(&creation::sizes(op, size)?).to_vec();
    let stride = if a.ints(4)?.is_empty() { &row_major } else { a.ints(4)? };
    let layout = view::strided_layout(op, &source, size, stride, Some(a.int(2)?))?;
    given(&source.alias(layout, false))
}
