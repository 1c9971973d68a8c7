//! The same elements under another shape: views, which share the memory of what they show.

mod copies;
mod expand;
mod flatten;
mod part;
mod permute;
mod split;

use smallvec::{SmallVec, smallvec};

pub(in crate::ops) use copies::copied;
pub use expand::{broadcast_tensors, expand};
pub use flatten::{flatten, unflatten};
pub use part::{as_strided, diagonal, narrow, select, unfold};
pub(crate) use part::{bounded, slice};
pub(in crate::ops) use part::{diagonal_dims, strided_layout};
pub use permute::{matrix_transpose, movedim, movedims, permute, t, transpose};
pub use split::{chunk, split, split_with_sizes, tensor_split, unbind};

use super::arithmetic::mul;
use super::batch;
use super::recorded::{is_linked, link};
use super::registry::{Arguments, Output, operation};
use super::window::{self, Window};
use crate::error::{Error, Result};
use crate::graph::arena::NodeRef;
use crate::graph::forward;
use crate::graph::mode::is_grad_enabled;
use crate::graph::node::{Backward, Derivative, Edge, Gradients, Node, Setting};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::{Layout, Shape, wrap_dim};

/// How the gradient of a view becomes one of its input.
#[derive(Clone)]
enum Back {
    /// The input's sizes.
    Reshape(Shape),
    /// A dimension of size 1 that goes away again.
    Squeeze(u8),
    /// Dimensions of size 1 that come back, in order.
    Unsqueeze(SmallVec<[u8; 8]>),
    /// The inverse order of dimensions, and the name that its node has.
    Permute(SmallVec<[u8; 8]>, &'static str),
    /// The engine sums over what was expanded.
    Expand,
    /// Zeros around it, and the name that their node has.
    Embed(Box<Cut>, &'static str),
    /// The same where the input has elements that are one in memory: they share its gradient.
    Share(Box<Cut>),
}

/// A window on the input, and the numbers that the call asked for it with.
#[derive(Clone)]
struct Cut {
    window: Window,
    numbers: [isize; 4],
}

impl Cut {
    /// The numbers by the names that they have to the node.
    fn settings(&self, node: &str) -> Vec<(&'static str, Setting)> {
        let names: &[&str] = match node {
            "SelectBackward0" => &["dim", "index"],
            "SliceBackward0" => &["dim", "start", "end", "step"],
            "DiagonalBackward0" => &["offset", "dim1", "dim2"],
            "UnfoldBackward0" => &["dimension", "size", "step"],
            // One of any strides tells all by itself; -1 stands for an offset that was not given.
            "AsStridedBackward0" => {
                let (inner, offset) = (&self.window.inner, self.numbers[0]);
                let given = if offset >= 0 { Setting::Int(offset as i64) } else { Setting::Nothing };
                let sizes = [("size", Setting::ints(&inner.shape)), ("stride", Setting::ints(&inner.strides))];
                return sizes.into_iter().chain([("storage_offset", given)]).collect();
            }
            _ => &[],
        };
        names.iter().zip(self.numbers).map(|(&name, n)| (name, Setting::Int(n as i64))).collect()
    }
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

    fn backward(&mut self, call: &Backward) -> Result<Gradients> {
        let g = call.gradient()?;
        let found = match &self.back {
            Back::Reshape(shape) => reshape(&g, &signed(shape))?,
            Back::Squeeze(dim) => squeezed(&g, Some(&[*dim as isize]), "SqueezeBackward1")?,
            Back::Unsqueeze(dims) => dims.iter().try_fold(g, |g, &dim| unsqueeze(&g, dim as isize))?,
            Back::Permute(dims, name) => permute::ordered(&g, dims, name)?,
            Back::Expand => g,
            Back::Embed(cut, name) => window::embed_as(name, &g, &cut.window)?,
            Back::Share(cut) => mul(&window::embed(&g, &cut.window)?, &window::parts(&cut.window, g.dtype())?)?,
        };
        Ok(smallvec![Some(found)])
    }

    fn take(&mut self, _keep: bool) -> Self {
        self.clone()
    }

    fn settings(&self, node: &Node) -> Vec<(&'static str, Setting)> {
        let name = self.name.trim_end_matches("_copy");
        let mut all = match &self.back {
            Back::Reshape(_) | Back::Expand => Vec::new(),
            Back::Squeeze(dim) => return vec![("dim", Setting::Int((*dim).into()))],
            Back::Unsqueeze(_) if name == "SqueezeBackward0" => Vec::new(),
            Back::Unsqueeze(dims) if name == "SqueezeBackward1" => {
                dims.iter().map(|&dim| ("dim", Setting::Int(dim.into()))).collect()
            }
            Back::Unsqueeze(dims) => vec![("dim", Setting::ints(dims))],
            Back::Permute(dims, _) => return permute::settings(name, dims),
            Back::Embed(cut, _) | Back::Share(cut) => cut.settings(name),
        };
        if name != "AsStridedBackward0" {
            all.extend(node.input_sizes(0).map(|sizes| ("self_sym_sizes", Setting::ints(&sizes))));
        }
        all
    }

    const IS_LIGHT: bool = true;
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
fn embedding(x: &Tensor, name: &'static str, numbers: [isize; 4], window: impl Fn(&Layout) -> Layout) -> Back {
    Back::Embed(Box::new(Cut { window: Window::of(x.shape(), window), numbers }), name)
}

/// The node of a view whose base was changed in place since the view was made.
pub(crate) fn window_node(base: &Tensor, edge: Option<Edge>, layout: &Layout) -> NodeRef {
    window::extract_node(base.layout(), layout, edge, base.dtype())
}

/// Sizes with one -1 filled in.
fn inferred(op: &'static str, shape: &[isize], numel: usize) -> Result<Shape> {
    let invalid = || Error::ReshapeSize { op, shape: shape.to_vec(), numel };
    if let Some(dim) = shape.iter().position(|&s| s < -1) {
        let what = format!("invalid shape dimension {} at index {dim} of shape {shape:?}", shape[dim]);
        return Err(Error::Invalid { op, what });
    }
    if shape.iter().filter(|&&s| s == -1).count() > 1 {
        let what = format!("only one dimension can be inferred, got -1 several times in shape {shape:?}");
        return Err(Error::Invalid { op, what });
    }
    let known = shape.iter().filter(|&&s| s >= 0).try_fold(1usize, |n, &s| n.checked_mul(s as usize));
    let known = known.ok_or_else(invalid)?;
    let unknown = match shape.contains(&-1) {
        true if known == 0 && numel == 0 => return Err(Error::ReshapeAmbiguous { op, shape: shape.to_vec() }),
        true if known == 0 => return Err(invalid()),
        true => numel / known,
        false => 1,
    };
    if known * unknown != numel {
        return Err(invalid());
    }
    Ok(shape.iter().map(|&s| if s == -1 { unknown } else { s as usize }).collect())
}

/// The same elements as a view of their own.
pub(crate) fn alias(x: &Tensor) -> Result<Tensor> {
    if let Some(batch) = x.batch() {
        return Ok(Tensor::batched(&alias(&batch.value)?, batch.level));
    }
    recorded(x, x.layout().clone(), "AliasBackward0", |_| Back::Expand)
}

operation! {
    /// The same elements, in row-major order, under another shape: a view where the strides allow, else a copy. One size
    /// may be -1.
    ///
    /// Shapes: any of as many elements as `shape`, which the result has.
    ///
    /// >>> ferrograd.arange(6).reshape(2, -1)
    /// tensor([[0, 1, 2],
    ///         [3, 4, 5]])
    function Noted(Any -> Kept), ["reshape(Tensor self, int[] shape)"], |_, a| Ok(reshape(a.tensor(0)?, a.ints(1)?)?.into())
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
    match x.layout().view_strides(&sizes) {
        Some(_) => view_as(x, sizes, if x.is_contiguous() { "ViewBackward0" } else { "ReshapeAliasBackward0" }),
        None => {
            let copy = super::copy::clone_contiguous(x)?;
            // Nobody else has the copy, so that this is no view of it.
            let y = seen_as(&copy, &sizes);
            link_reshaped("UnsafeViewBackward0", &copy, &y)?;
            Ok(y)
        }
    }
}

/// A new tensor on the memory of a contiguous one, without history: what an operation made on its way, which nobody has.
pub(super) fn seen_as(x: &Tensor, shape: &[usize]) -> Tensor {
    Tensor::new(x.storage().clone(), Layout::contiguous(shape), x.dtype(), x.versioning())
}

/// Records `y` as `x`, which nobody else has, under another shape.
pub(super) fn link_reshaped(name: &'static str, x: &Tensor, y: &Tensor) -> Result<()> {
    link(ViewDerivative { name, back: Back::Reshape(x.layout().shape.clone()) }, &[x], y)
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
    /// The same elements under another shape, never copied; one size may be -1. With a dtype, the same bytes read as
    /// other numbers: the last dimension grows or shrinks with the size of an element.
    ///
    /// Shapes: any of as many elements as `size`, which the result has.
    ///
    /// >>> ferrograd.arange(6).view((3, 2))
    /// tensor([[0, 1],
    ///         [2, 3],
    ///         [4, 5]])
    /// >>> ferrograd.tensor([1.0]).view(ferrograd.int32)
    /// tensor([1065353216], dtype=torch.int32)
    function View(Any -> Kept), ["Tensor.view(Tensor self, DType dtype)", "Tensor.view(Tensor self, int[] size)"], |n, a| Ok(match n {
        0 => view_dtype(a.tensor(0)?, a.dtype(1)?.unwrap_or(a.tensor(0)?.dtype()))?,
        _ => view(a.tensor(0)?, a.ints(1)?)?,
    }.into())
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

/// The same bytes as elements of another dtype, without history where the dtypes differ.
///
/// # Errors
/// Where the last dimension does not hold whole elements of the new size side by side.
pub fn view_dtype(x: &Tensor, dtype: DType) -> Result<Tensor> {
    const OP: &str = "view";
    if dtype == x.dtype() {
        return alias(x);
    }
    if let Some(y) = batch::unary(x, |x| view_dtype(x, dtype)) {
        return y;
    }
    dtype.require(OP)?;
    let (from, to) = (x.dtype().size(), dtype.size());
    let mut layout = x.layout().clone();
    if from != to {
        let wrong = |what: String| Error::Invalid { op: OP, what };
        let (Some(&size), Some(&step)) = (x.shape().last(), x.strides().last()) else {
            return Err(wrong(format!(
                "a tensor without dimensions cannot be read as {dtype}, of another size than {}",
                x.dtype()
            )));
        };
        if step != 1 {
            return Err(wrong(format!("the last stride must be 1 to read {} as {dtype}, got {step}", x.dtype())));
        }
        let whole = |n: usize| {
            let bytes = n as u128 * from as u128;
            bytes.is_multiple_of(to as u128).then(|| usize::try_from(bytes / to as u128).ok()).flatten()
        };
        let last = layout.shape.len() - 1;
        let parts = || {
            let strides = layout.strides[..last].iter().map(|&s| whole(s as usize).map(|s| s as isize));
            Some((whole(size)?, whole(layout.offset)?, strides.chain([Some(1)]).collect::<Option<_>>()?))
        };
        let Some((size, offset, strides)) = parts() else {
            return Err(wrong(format!(
                "the last size, the strides and the offset must be multiples of whole elements to read {} as {dtype}, got \
                 size {size}, strides {:?} and offset {}",
                x.dtype(),
                x.strides(),
                layout.offset
            )));
        };
        layout.shape[last] = size;
        (layout.strides, layout.offset) = (strides, offset);
    }
    Ok(Tensor::new(x.storage().clone(), layout, dtype, x.versioning()))
}

operation! {
    /// The same elements under the sizes of another tensor, never copied.
    ///
    /// Shapes: any of as many elements as `other`, whose shape the result has.
    ///
    /// >>> ferrograd.arange(4).view_as(ferrograd.zeros(2, 2))
    /// tensor([[0, 1],
    ///         [2, 3]])
    function View(Any -> Kept), ["Tensor.view_as(Tensor self, Tensor other)"], |_, a| {
        Ok(view(a.tensor(0)?, &signed(a.tensor(1)?.shape()))?.into())
    }
}

operation! {
    /// The same elements under the sizes of another tensor, copied where the strides ask for it.
    ///
    /// Shapes: any of as many elements as `other`, whose shape the result has.
    ///
    /// >>> ferrograd.arange(4).reshape_as(ferrograd.zeros(2, 2))
    /// tensor([[0, 1],
    ///         [2, 3]])
    function Noted(Any -> Kept), ["Tensor.reshape_as(Tensor self, Tensor other)"], |_, a| {
        Ok(reshape(a.tensor(0)?, &signed(a.tensor(1)?.shape()))?.into())
    }
}

operation! {
    /// Without dimensions of size 1: all of them, or those named.
    ///
    /// Shapes: any; sizes of 1 go, all or those of `dim`.
    ///
    /// >>> ferrograd.zeros(1, 3, 1).squeeze().shape
    /// torch.Size([3])
    function View(Any -> Kept), ["squeeze(Tensor self)", "squeeze(Tensor self, int dim)", "squeeze(Tensor self, int[] dim)"],
    in_place |n, a| instead(a, |x| called_squeeze(n, a, x, ["SqueezeBackward3", "SqueezeBackward4", "SqueezeBackward5"])),
    |n, a| Ok(called_squeeze(n, a, a.tensor(0)?, ["SqueezeBackward0", "SqueezeBackward1", "SqueezeBackward2"])?.into())
}

fn called_squeeze(n: usize, a: &Arguments, x: &Tensor, names: [&'static str; 3]) -> Result<Tensor> {
    match n {
        0 => squeezed(x, None, names[0]),
        1 => squeezed(x, Some(&[a.int(1)?]), names[1]),
        _ => squeezed(x, Some(a.ints(1)?), names[2]),
    }
}

/// What an operation that changes the layout of its first operand in place gives: the view that takes its place.
fn instead(a: &Arguments, view: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Output> {
    let x = a.tensor(0)?;
    let bottom = forward::bottom(x);
    super::inplace::check_writable(a.op, bottom)?;
    // What fails must fail before the change, and the view is one of the changed tensor.
    view(&x.detach())?;
    bottom.storage().bump(bottom.versioning());
    let view = view(x)?;
    // An example of a map lies in memory of all of them, whose layout is not this function's: it becomes the view.
    Ok(Output::Instead(if x.batch().is_some() { view } else { x.relaid(&view) }))
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
    let mask = match dims {
        None => None,
        Some([]) => Some(SmallVec::from_elem(false, x.rank())),
        Some(dims) => Some(crate::tensor::layout::dim_mask("squeeze", dims, x.rank())?),
    };
    let goes = |d: usize| x.shape()[d] == 1 && mask.as_ref().is_none_or(|mask| mask[d]);
    recorded(x, x.layout().squeeze(goes), name, |_| {
        Back::Unsqueeze((0..x.rank()).filter(|&d| goes(d)).map(|d| d as u8).collect())
    })
}

operation! {
    /// A new dimension of size 1 at `dim`.
    ///
    /// Shapes: any; a size of 1 more at `dim`.
    ///
    /// >>> ferrograd.zeros(3).unsqueeze(-1).shape
    /// torch.Size([3, 1])
    function View(Any -> Kept), ["unsqueeze(Tensor self, int dim)"], in_place |_, a| instead(a, |x| unsqueezed(x, a.int(1)?, "UnsqueezeBackward1")),
    |_, a| Ok(unsqueeze(a.tensor(0)?, a.int(1)?)?.into())
}

/// A new dimension of size 1.
///
/// # Errors
/// For a dimension out of range.
pub fn unsqueeze(x: &Tensor, dim: isize) -> Result<Tensor> {
    unsqueezed(x, dim, "UnsqueezeBackward0")
}

fn unsqueezed(x: &Tensor, dim: isize, name: &'static str) -> Result<Tensor> {
    let dim = wrap_dim("unsqueeze", dim, x.rank() + 1)?;
    if let Some(y) = batch::unary(x, |x| unsqueezed(x, dim as isize + 1, name)) {
        return y;
    }
    recorded(x, x.layout().unsqueeze(dim), name, |_| Back::Squeeze(dim as u8))
}
