//! The same elements under another shape.

use smallvec::{SmallVec, smallvec};

use super::batch;
use super::recorded::{Settings, is_linked, link, link_all, record};
use super::registry::{Output, operation};
use super::window::{self, Window};
use crate::error::{Error, Result};
use crate::graph::arena::NodeRef;
use crate::graph::mode::is_grad_enabled;
use crate::graph::node::{Backward, Derivative, Edge, Gradients};
use crate::tensor::Tensor;
use crate::tensor::layout::{Layout, Shape, wrap_dim, wrap_existing_dim};

/// How the gradient of a view becomes one of its input.
#[derive(Clone)]
enum Back {
    /// The input's sizes.
    Reshape(Shape),
    /// The inverse order of dimensions.
    Permute(SmallVec<[u8; 8]>),
    /// The engine sums over what was expanded.
    Expand,
    /// Zeros around it.
    Embed(Box<Window>),
}

#[derive(Clone)]
struct ViewDerivative {
    name: &'static str,
    back: Back,
}

impl Derivative for ViewDerivative {
    fn name(&self) -> &'static str {
        self.name
    }

    fn backward(&self, call: &Backward) -> Result<Gradients> {
        let g = call.gradient()?;
        let found = match &self.back {
            Back::Reshape(shape) => reshape(&g, &signed(shape))?,
            Back::Permute(dims) => permute(&g, &dims.iter().map(|&d| d as isize).collect::<Vec<_>>())?,
            Back::Expand => g,
            Back::Embed(window) => window::embed(&g, window)?,
        };
        Ok(smallvec![Some(found)])
    }

    fn take(&mut self, _keep: bool) -> Self {
        self.clone()
    }
}

/// Sizes as the functions below take them.
pub(crate) fn signed(shape: &[usize]) -> SmallVec<[isize; 4]> {
    shape.iter().map(|&s| s as isize).collect()
}

/// A view with its history.
fn recorded(x: &Tensor, layout: Layout, name: &'static str, back: impl FnOnce(&Layout) -> Back) -> Result<Tensor> {
    let y = x.alias(layout, is_grad_enabled());
    if is_linked(&[x], &y) {
        link(ViewDerivative { name, back: back(y.layout()) }, &[x], &y)?;
    }
    Ok(y)
}

/// The gradient of a window on `x`: as if `x` were row-major, since only its shape matters to a gradient.
fn embedding(x: &Tensor, window: impl Fn(&Layout) -> Layout) -> Back {
    let outer = Layout::contiguous(x.shape());
    let inner = window(&outer);
    Back::Embed(Box::new(Window { outer, inner }))
}

/// The node of a view whose base was changed in place since the view was made.
pub(crate) fn window_node(base: &Tensor, base_edge: Edge, layout: &Layout) -> NodeRef {
    window::extract_node(base.layout(), layout, base_edge, base.dtype())
}

/// Sizes with one -1 filled in.
fn inferred(op: &'static str, shape: &[isize], numel: usize) -> Result<Shape> {
    let invalid = || Error::ReshapeSize { op, shape: shape.to_vec(), numel };
    if shape.iter().any(|&s| s < -1) || shape.iter().filter(|&&s| s == -1).count() > 1 {
        return Err(invalid());
    }
    let known = shape.iter().filter(|&&s| s >= 0).try_fold(1usize, |n, &s| n.checked_mul(s as usize));
    let known = known.ok_or_else(invalid)?;
    let unknown = match shape.contains(&-1) {
        true if known == 0 => return Err(Error::ReshapeAmbiguous { op, shape: shape.to_vec() }),
        true => numel / known,
        false => 1,
    };
    if known * unknown != numel {
        return Err(invalid());
    }
    Ok(shape.iter().map(|&s| if s == -1 { unknown } else { s as usize }).collect())
}

operation! {
    /// The same elements, in row-major order, under another shape: a view where the strides allow, else a copy. One size
    /// may be -1.
    ///
    /// >>> ferrograd.arange(6).reshape(2, -1)
    /// tensor([[0, 1, 2],
    ///         [3, 4, 5]])
    function ["reshape(Tensor self, int[] shape)"], |_, a| Ok(reshape(a.tensor(0)?, a.ints(1)?)?.into())
}

/// The same elements under another shape.
///
/// # Errors
/// Where the sizes do not hold the elements there are.
pub fn reshape(x: &Tensor, shape: &[isize]) -> Result<Tensor> {
    let sizes = inferred("reshape", shape, x.numel())?;
    if let Some(y) = batch::unary(x, |x| reshape(x, &batch::sized(x, &sizes))) {
        return y;
    }
    if sizes[..] == *x.shape() && x.is_contiguous() {
        return view_as(x, sizes, "ViewBackward0");
    }
    match x.layout().view_strides(&sizes) {
        Some(_) => view_as(x, sizes, "ViewBackward0"),
        None => view_as(&super::copy::clone_contiguous(x)?, sizes, "UnsafeViewBackward0"),
    }
}

fn view_as(x: &Tensor, shape: Shape, name: &'static str) -> Result<Tensor> {
    let Some(strides) = x.layout().view_strides(&shape) else {
        return Err(Error::ViewNeedsCopy {
            op: "view",
            shape: shape.to_vec(),
            size: x.shape().to_vec(),
            strides: x.strides().to_vec(),
        });
    };
    let layout = Layout { shape, strides, offset: x.layout().offset };
    recorded(x, layout, name, |_| Back::Reshape(x.layout().shape.clone()))
}

operation! {
    /// The same elements under another shape, never copied. One size may be -1.
    ///
    /// >>> ferrograd.arange(6).view(3, 2)
    /// tensor([[0, 1],
    ///         [2, 3],
    ///         [4, 5]])
    function ["Tensor.view(Tensor self, int[] shape)"], |_, a| Ok(view(a.tensor(0)?, a.ints(1)?)?.into())
}

/// The same elements under another shape, never copied.
///
/// # Errors
/// Where the sizes do not hold the elements, or the strides would need a copy.
pub fn view(x: &Tensor, shape: &[isize]) -> Result<Tensor> {
    let sizes = inferred("view", shape, x.numel())?;
    match batch::unary(x, |x| view(x, &batch::sized(x, &sizes))) {
        Some(y) => y,
        None => view_as(x, sizes, "ViewBackward0"),
    }
}

operation! {
    /// Dimensions `start_dim` to `end_dim` as one, in row-major order.
    ///
    /// >>> ferrograd.zeros(2, 3, 4).flatten(1).shape
    /// torch.Size([2, 12])
    function ["flatten(Tensor self, int start_dim=0, int end_dim=-1)"], |_, a| {
        Ok(flatten(a.tensor(0)?, a.int(1)?, a.int(2)?)?.into())
    }
}

/// Dimensions `start` to `end` as one.
///
/// # Errors
/// For dimensions out of range or in the wrong order.
pub fn flatten(x: &Tensor, start: isize, end: isize) -> Result<Tensor> {
    let (start, end) = (wrap_dim("flatten", start, x.rank())?, wrap_dim("flatten", end, x.rank())?);
    if start > end {
        return Err(Error::Rank {
            op: "flatten",
            expected: "start_dim not to come after end_dim",
            shape: x.shape().to_vec(),
        });
    }
    if x.rank() == 0 {
        return reshape(x, &[1]);
    }
    if start == end {
        return Ok(x.clone());
    }
    let merged: usize = x.shape()[start..=end].iter().product();
    let sizes = x.shape()[..start].iter().copied().chain([merged]).chain(x.shape()[end + 1..].iter().copied());
    reshape(x, &sizes.map(|s| s as isize).collect::<Vec<_>>())
}

operation! {
    /// Dimensions in another order, as a view.
    ///
    /// >>> ferrograd.zeros(2, 3, 4).permute(2, 0, 1).shape
    /// torch.Size([4, 2, 3])
    function ["permute(Tensor self, int[] dims)"], |_, a| Ok(permute(a.tensor(0)?, a.ints(1)?)?.into())
}

/// Dimensions in another order.
///
/// # Errors
/// Where `dims` is not a permutation of the dimensions.
pub fn permute(x: &Tensor, dims: &[isize]) -> Result<Tensor> {
    permuted(x, dims, "PermuteBackward0")
}

fn permuted(x: &Tensor, dims: &[isize], name: &'static str) -> Result<Tensor> {
    if dims.len() != x.rank() {
        return Err(Error::PermuteRank { op: "permute", rank: x.rank(), given: dims.len() });
    }
    let order: SmallVec<[usize; 8]> = dims.iter().map(|&d| wrap_dim("permute", d, x.rank())).collect::<Result<_>>()?;
    let wrapped: SmallVec<[isize; 8]> = order.iter().map(|&d| d as isize).collect();
    let mut inverse: SmallVec<[u8; 8]> = smallvec![u8::MAX; order.len()];
    for (i, &d) in order.iter().enumerate() {
        if std::mem::replace(&mut inverse[d], i as u8) != u8::MAX {
            return Err(Error::DimRepeated { op: "permute", dim: d });
        }
    }
    if let Some(y) = batch::unary(x, |x| permuted(x, &batch::moved(&wrapped), name)) {
        return y;
    }
    recorded(x, x.layout().permute(&order), name, |_| Back::Permute(inverse))
}

operation! {
    /// Two dimensions swapped, as a view.
    ///
    /// >>> ferrograd.zeros(2, 3).transpose(0, 1).shape
    /// torch.Size([3, 2])
    function ["transpose(Tensor self, int dim0, int dim1)"], |_, a| {
        Ok(transpose(a.tensor(0)?, a.int(1)?, a.int(2)?)?.into())
    }
}

/// Two dimensions swapped.
///
/// # Errors
/// For dimensions out of range.
pub fn transpose(x: &Tensor, a: isize, b: isize) -> Result<Tensor> {
    swapped(x, a, b, "TransposeBackward0")
}

fn swapped(x: &Tensor, a: isize, b: isize, name: &'static str) -> Result<Tensor> {
    let (a, b) = (wrap_dim("transpose", a, x.rank())?, wrap_dim("transpose", b, x.rank())?);
    let mut order: SmallVec<[isize; 8]> = (0..x.rank() as isize).collect();
    if x.rank() > 0 {
        order.swap(a, b);
    }
    permuted(x, &order, name)
}

/// A dimension moved to another place.
///
/// # Errors
/// For dimensions out of range.
pub fn movedim(x: &Tensor, from: isize, to: isize) -> Result<Tensor> {
    let (from, to) = (wrap_dim("movedim", from, x.rank())?, wrap_dim("movedim", to, x.rank())?);
    let mut order: SmallVec<[isize; 8]> = (0..x.rank() as isize).collect();
    let moved = order.remove(from);
    order.insert(to, moved);
    permute(x, &order)
}

operation! {
    /// A matrix transposed, as a view; tensors of fewer dimensions stay as they are.
    ///
    /// >>> ferrograd.tensor([[1, 2], [3, 4]]).t()
    /// tensor([[1, 3],
    ///         [2, 4]])
    function ["t(Tensor self)"], |_, a| Ok(t(a.tensor(0)?)?.into())
}

/// A matrix transposed.
///
/// # Errors
/// For more than two dimensions.
pub fn t(x: &Tensor) -> Result<Tensor> {
    match x.rank() {
        0 | 1 if x.batch().is_some() => Ok(x.clone()),
        0 | 1 => recorded(x, x.layout().clone(), "TBackward0", |_| Back::Expand),
        2 => swapped(x, 0, 1, "TBackward0"),
        _ => Err(Error::Rank { op: "t", expected: "a tensor of at most 2 dimensions", shape: x.shape().to_vec() }),
    }
}

operation! {
    /// Dimensions of size 1 and new leading ones repeated to the given sizes, as a view; -1 keeps a size.
    ///
    /// >>> ferrograd.tensor([[1], [2]]).expand(2, 3)
    /// tensor([[1, 1, 1],
    ///         [2, 2, 2]])
    function ["Tensor.expand(Tensor self, int[] size)"], |_, a| {
        let x = a.tensor(0)?;
        let y = expand(x, a.ints(1)?)?;
        // A view of its own even where nothing is repeated.
        Ok(if y.is_same(x) { recorded(x, x.layout().clone(), "ExpandBackward0", |_| Back::Expand)? } else { y }.into())
    }
}

/// Repeated to the given sizes without a copy.
///
/// # Errors
/// For sizes that are neither those of the tensor nor stand where it has 1.
pub fn expand(x: &Tensor, sizes: &[isize]) -> Result<Tensor> {
    let rank = x.rank();
    if sizes.len() < rank {
        return Err(Error::ExpandRank { op: "expand", given: sizes.len(), rank });
    }
    let lead = sizes.len() - rank;
    let mut shape = Shape::new();
    for (i, &size) in sizes.iter().enumerate() {
        let old = i.checked_sub(lead).map(|j| x.shape()[j]);
        shape.push(match (old, size) {
            (Some(old), -1) => old,
            (Some(old), s) if s == old as isize || (old == 1 && s >= 0) => s as usize,
            (None, s) if s >= 0 => s as usize,
            (old, expanded) => {
                return Err(Error::Expand {
                    op: "expand",
                    expanded,
                    size: old.unwrap_or(0),
                    dim: i,
                    target: sizes.to_vec(),
                    shape: x.shape().to_vec(),
                });
            }
        });
    }
    if shape[..] == *x.shape() {
        return Ok(x.clone());
    }
    crate::tensor::layout::checked_numel("expand", &shape, x.dtype().size())?;
    let rule = |value: &Tensor| {
        let value = (0..lead).try_fold(value.clone(), |value, _| unsqueeze(&value, 1))?;
        expand(&value, &batch::sized(&value, &shape))
    };
    if let Some(y) = batch::unary(x, rule) {
        return y;
    }
    recorded(x, x.layout().broadcast_to(&shape), "ExpandBackward0", |_| Back::Expand)
}

operation! {
    /// Without dimensions of size 1: all of them, or those named.
    ///
    /// >>> ferrograd.zeros(1, 3, 1).squeeze().shape
    /// torch.Size([3])
    function ["squeeze(Tensor self)", "squeeze(Tensor self, int dim)", "squeeze(Tensor self, int[] dim)"], |n, a| {
        let x = a.tensor(0)?;
        Ok(match n {
            0 => squeeze(x, None)?,
            1 => squeezed(x, Some(&[a.int(1)?]), "SqueezeBackward1")?,
            _ => squeeze(x, Some(a.ints(1)?))?,
        }.into())
    }
}

/// Without dimensions of size 1.
///
/// # Errors
/// For dimensions out of range or named twice.
pub fn squeeze(x: &Tensor, dims: Option<&[isize]>) -> Result<Tensor> {
    squeezed(x, dims, if dims.is_none() { "SqueezeBackward0" } else { "SqueezeBackward2" })
}

/// As [`squeeze`], recorded under another name.
pub(super) fn squeezed(x: &Tensor, dims: Option<&[isize]>, name: &'static str) -> Result<Tensor> {
    let rule = |value: &Tensor| {
        let mask = match dims {
            Some([]) => return Ok(value.clone()),
            dims => crate::tensor::layout::dim_mask("squeeze", dims.unwrap_or_default(), x.rank())?,
        };
        let moved: SmallVec<[isize; 4]> = (0..x.rank()).filter(|&d| mask[d]).map(|d| d as isize + 1).collect();
        squeezed(value, Some(&moved), name)
    };
    if let Some(y) = batch::unary(x, rule) {
        return y;
    }
    let layout = match dims {
        None => x.layout().squeeze(|_| true),
        Some([]) => x.layout().clone(),
        Some(dims) => {
            let mask = crate::tensor::layout::dim_mask("squeeze", dims, x.rank())?;
            x.layout().squeeze(|d| mask[d])
        }
    };
    recorded(x, layout, name, |_| Back::Reshape(x.layout().shape.clone()))
}

operation! {
    /// A new dimension of size 1 at `dim`.
    ///
    /// >>> ferrograd.zeros(3).unsqueeze(-1).shape
    /// torch.Size([3, 1])
    function ["unsqueeze(Tensor self, int dim)"], |_, a| Ok(unsqueeze(a.tensor(0)?, a.int(1)?)?.into())
}

/// A new dimension of size 1.
///
/// # Errors
/// For a dimension out of range.
pub fn unsqueeze(x: &Tensor, dim: isize) -> Result<Tensor> {
    let dim = wrap_dim("unsqueeze", dim, x.rank() + 1)?;
    if let Some(y) = batch::unary(x, |x| unsqueeze(x, dim as isize + 1)) {
        return y;
    }
    let layout = x.layout().unsqueeze(dim);
    recorded(x, layout, "UnsqueezeBackward0", |_| Back::Reshape(x.layout().shape.clone()))
}

operation! {
    /// One index of one dimension, as a view without that dimension.
    ///
    /// >>> ferrograd.tensor([[1, 2], [3, 4]]).select(1, 0)
    /// tensor([1, 3])
    function ["select(Tensor self, int dim, int index)"], |_, a| {
        Ok(select(a.tensor(0)?, a.int(1)?, a.int(2)?)?.into())
    }
}

/// One index of one dimension.
///
/// # Errors
/// For a dimension or an index out of range.
pub fn select(x: &Tensor, dim: isize, index: isize) -> Result<Tensor> {
    let dim = wrap_existing_dim("select", dim, x.rank())?;
    let size = x.shape()[dim];
    let wrapped = if index < 0 { index + size as isize } else { index };
    if wrapped < 0 || wrapped >= size as isize {
        return Err(Error::IndexRange { op: "select", index: index as i64, dim, size });
    }
    let at = wrapped as usize;
    if let Some(y) = batch::unary(x, |x| select(x, dim as isize + 1, wrapped)) {
        return y;
    }
    recorded(x, x.layout().select(dim, at), "SelectBackward0", |_| embedding(x, |l| l.select(dim, at)))
}

/// The same elements as a view of their own.
pub(crate) fn alias(x: &Tensor) -> Result<Tensor> {
    if let Some(batch) = x.batch() {
        return Ok(Tensor::batched(&alias(&batch.value)?, batch.level));
    }
    recorded(x, x.layout().clone(), "AliasBackward0", |_| Back::Expand)
}

/// `count` elements of a dimension from `start`, every `step`-th. The caller has bounded them.
pub(crate) fn slice(x: &Tensor, dim: usize, start: usize, count: usize, step: usize) -> Result<Tensor> {
    if let Some(batch) = x.batch() {
        return Ok(Tensor::batched(&slice(&batch.value, dim + 1, start, count, step)?, batch.level));
    }
    let layout = x.layout().slice(dim, start, count, step);
    recorded(x, layout, "SliceBackward0", |_| embedding(x, |l| l.slice(dim, start, count, step)))
}

operation! {
    /// `length` elements of a dimension from `start`, as a view.
    ///
    /// >>> ferrograd.arange(5).narrow(0, 1, 3)
    /// tensor([1, 2, 3])
    function ["narrow(Tensor self, int dim, int start, int length)"], |_, a| {
        Ok(narrow(a.tensor(0)?, a.int(1)?, a.int(2)?, a.int(3)?)?.into())
    }
}

/// A stretch of a dimension.
///
/// # Errors
/// For a dimension or a stretch out of range.
pub fn narrow(x: &Tensor, dim: isize, start: isize, length: isize) -> Result<Tensor> {
    if x.rank() == 0 {
        return Err(Error::Rank { op: "narrow", expected: "at least one dimension", shape: vec![] });
    }
    let dim = wrap_dim("narrow", dim, x.rank())?;
    let size = x.shape()[dim] as isize;
    if start < -size || start > size {
        return Err(Error::IndexRange { op: "narrow", index: start as i64, dim, size: size as usize });
    }
    let wrapped = if start < 0 { start + size } else { start };
    if length < 0 || length > size - wrapped {
        return Err(Error::Stretch { op: "narrow", start, length, size: size as usize });
    }
    slice(x, dim, wrapped as usize, length as usize, 1)
}

operation! {
    /// The tensors along a dimension, as views without it.
    ///
    /// >>> ferrograd.tensor([[1, 2], [3, 4]]).unbind()
    /// (tensor([1, 2]), tensor([3, 4]))
    function ["unbind(Tensor self, int dim=0)"], |_, a| Ok(Output::Tensors(unbind(a.tensor(0)?, a.int(1)?)?))
}

/// The tensors along a dimension.
///
/// # Errors
/// For a tensor without dimensions and a dimension out of range.
pub fn unbind(x: &Tensor, dim: isize) -> Result<Vec<Tensor>> {
    let d = wrap_existing_dim("unbind", dim, x.rank())?;
    if let Some(batch) = x.batch() {
        let parts = unbind(&batch.value, d as isize + 1)?;
        return Ok(parts.iter().map(|part| Tensor::batched(part, batch.level)).collect());
    }
    // One of several views that a node made has no history of its own to rewrite.
    let writable = is_grad_enabled() && !is_linked(&[x], x);
    let parts: Vec<Tensor> = (0..x.shape()[d]).map(|i| x.alias(x.layout().select(d, i), writable)).collect();
    link_all(Unbind { dim: d }, &[x], &parts.iter().collect::<Vec<_>>())?;
    Ok(parts)
}

/// The derivative of [`unbind`]: the gradients stacked.
#[derive(Clone)]
struct Unbind {
    dim: usize,
}

impl Derivative for Unbind {
    fn name(&self) -> &'static str {
        "UnbindBackward0"
    }
    fn backward(&self, call: &Backward) -> Result<Gradients> {
        let (shape, dtype) = call.node.output(0);
        let part = |g: &Option<Tensor>| g.clone().map_or_else(|| Tensor::zeros(&shape, dtype), Ok);
        let parts: Vec<Tensor> = call.gradients.iter().map(part).collect::<Result<_>>()?;
        Ok(smallvec![Some(super::join::stack(&parts, self.dim as isize)?)])
    }
    fn take(&mut self, _keep: bool) -> Self {
        self.clone()
    }
}

operation! {
    /// The elements in reverse order along dimensions, as a copy. The gradient is reversed back.
    ///
    /// >>> ferrograd.tensor([1, 2, 3]).flip(0)
    /// tensor([3, 2, 1])
    function ["flip(Tensor self, int[] dims)"], |_, a| Ok(flip(a.tensor(0)?, a.ints(1)?)?.into())
}

/// The elements in reverse order along dimensions.
///
/// # Errors
/// For dimensions out of range or named twice.
pub fn flip(x: &Tensor, dims: &[isize]) -> Result<Tensor> {
    let mask = crate::tensor::layout::dim_mask("flip", dims, x.rank())?;
    let flipped = |d: &usize| mask[*d] && !dims.is_empty();
    if let Some(y) =
        batch::unary(x, |value| flip(value, &(0..x.rank()).filter(flipped).map(|d| d as isize + 1).collect::<Vec<_>>()))
    {
        return y;
    }
    let mut layout = x.layout().clone();
    for d in (0..x.rank()).filter(|d| flipped(d) && x.shape()[*d] > 0) {
        let last = layout.strides[d] * (layout.shape[d] as isize - 1);
        layout.offset = layout.offset.wrapping_add_signed(last);
        layout.strides[d] = -layout.strides[d];
    }
    let y = super::copy::contiguous_copy(&x.alias(layout, false))?;
    let settings = || Settings { dims: dims.into(), ..Settings::default() };
    record("FlipBackward0", &y, &[x], &[], settings, |call| Ok(smallvec![Some(flip(&call.g, &call.settings.dims)?)]))?;
    Ok(y)
}
