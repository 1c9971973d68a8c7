//! Several views of one tensor, side by side along a dimension.

use smallvec::smallvec;

use super::slice;
use crate::error::{Error, Result};
use crate::graph::mode::is_grad_enabled;
use crate::graph::node::{Backward, Derivative, Gradients, Node, Setting};
use crate::memory::{filled, reserved};
use crate::ops::join;
use crate::ops::recorded::link_all;
use crate::ops::registry::{Arguments, Output, operation};
use crate::tensor::dtype::DType;
use crate::tensor::layout::{Layout, wrap_dim, wrap_existing_dim};
use crate::tensor::storage::Versioning;
use crate::tensor::{Bond, Tensor};

/// How several views lie in a tensor, and what the node behind them is called.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) name: &'static str,
    dim: usize,
    /// False where the views are without the dimension, one for each index of it.
    keeps: bool,
    /// False where the results count as tensors of their own, though they share memory.
    are_views: bool,
}

impl Parts {
    /// The views of the given lengths, one after another.
    fn of<S>(self, x: &Tensor, sizes: S) -> Result<Vec<Tensor>>
    where
        S: IntoIterator<Item = usize, IntoIter: ExactSizeIterator>,
    {
        if let Some(batch) = x.batch() {
            let parts = Parts { dim: self.dim + 1, ..self }.of(&batch.value, sizes)?;
            return Ok(parts.iter().map(|part| Tensor::batched(part, batch.level)).collect());
        }
        // One of several views that a node made has no history of its own to rewrite; nor, as in torch, has one that would have
        // a node beside others if the base required a gradient.
        let bond = if is_grad_enabled() { Bond::Follows } else { Bond::unrecorded() };
        let mut start = 0;
        let part = |size: usize| {
            let layout = x.layout().slice(self.dim, start, size, 1);
            let layout = if self.keeps { layout } else { x.layout().select(self.dim, start) };
            start += size;
            self.shared(x, layout, bond)
        };
        let sizes = sizes.into_iter();
        let mut parts = reserved(self.name, sizes.len())?;
        parts.extend(sizes.map(part));
        link_all(self, &[x], &parts.iter().collect::<Vec<_>>())?;
        Ok(parts)
    }

    fn shared(&self, x: &Tensor, layout: Layout, bond: Bond) -> Tensor {
        if self.are_views {
            return x.alias_with(layout, bond);
        }
        let versioning = if x.is_inference() { Versioning::Inference } else { x.storage().part() };
        Tensor::new(x.storage().clone(), layout, x.dtype(), versioning)
    }
}

impl Derivative for Parts {
    fn name(&self) -> &'static str {
        self.name
    }
    /// The gradients side by side again, zeros where there is none.
    fn backward(&mut self, call: &Backward) -> Result<Gradients> {
        let part = |(n, g): (usize, &Option<Tensor>)| match g {
            Some(g) => Ok(g.clone()),
            None => {
                let (shape, dtype) = call.node.output(n);
                Tensor::zeros(&shape, dtype)
            }
        };
        let parts: Vec<Tensor> = call.gradients.iter().enumerate().map(part).collect::<Result<_>>()?;
        let dim = self.dim as isize;
        Ok(smallvec![Some(if self.keeps { join::cat(&parts, dim)? } else { join::stack(&parts, dim)? })])
    }
    fn take(&mut self, _keep: bool) -> Self {
        self.clone()
    }
    fn settings(&self, node: &Node) -> Vec<(&'static str, Setting)> {
        let mut all = vec![("dim", Setting::Int(self.dim as i64))];
        if self.keeps {
            let sizes: Vec<usize> = (0..node.output_count()).map(|n| node.output(n).0[self.dim]).collect();
            all.push(match self.name.trim_end_matches("_copy") {
                "SplitWithSizesBackward0" | "UnsafeSplitWithSizesBackward0" => ("split_sizes", Setting::ints(&sizes)),
                _ => ("split_size", Setting::Int(sizes.first().map_or(0, |&size| size as i64))),
            });
            all.extend(node.input_sizes(0).map(|sizes| ("self_sym_sizes", Setting::ints(&sizes))));
        }
        all
    }
}

/// A dimension of a tensor that has some.
fn dimension(op: &'static str, x: &Tensor, dim: isize) -> Result<usize> {
    if x.rank() == 0 {
        return Err(Error::Rank { op, expected: "at least a 1-dimensional tensor", shape: vec![] });
    }
    wrap_dim(op, dim, x.rank())
}

operation! {
    /// The tensors along a dimension, as views without it.
    ///
    /// Shapes: any of at least one dimension; the parts are without `dim`.
    ///
    /// >>> ferrograd.tensor([[1, 2], [3, 4]]).unbind()
    /// (tensor([1, 2]), tensor([3, 4]))
    function View(Any -> Kept), ["unbind(Tensor self, int dim=0)"], |_, a| Ok(Output::Tensors(unbind(a.tensor(0)?, a.int(1)?)?))
}

/// The tensors along a dimension.
///
/// # Errors
/// For a tensor without dimensions and a dimension out of range.
pub fn unbind(x: &Tensor, dim: isize) -> Result<Vec<Tensor>> {
    let dim = wrap_existing_dim("unbind", dim, x.rank())?;
    Parts { name: "UnbindBackward0", dim, keeps: false, are_views: true }.of(x, std::iter::repeat_n(1, x.shape()[dim]))
}

operation! {
    /// Stretches of a dimension as views: of `split_size` elements each, the last shorter where need be, or of the sizes
    /// that a sequence gives.
    ///
    /// Shapes: any of at least one dimension; the parts have the sizes but along `dim`.
    ///
    /// >>> ferrograd.arange(5).split(2)
    /// (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    /// >>> ferrograd.arange(5).split([1, 4])
    /// (tensor([0]), tensor([1, 2, 3, 4]))
    function View(Any -> Kept), ["split(Tensor self, int split_size, int dim=0)", "split(Tensor self, int[] split_size, int dim=0)"],
    |n, a| Ok(Output::Tensors(match n {
        0 => split(a.tensor(0)?, a.int(1)?, a.int(2)?)?,
        _ => split_with_sizes(a.tensor(0)?, a.ints(1)?, a.int(2)?)?,
    }))
}

operation! {
    /// Stretches of a dimension as views, of the given sizes.
    ///
    /// Shapes: any of at least one dimension; the parts have the sizes but along `dim`.
    ///
    /// >>> ferrograd.split_with_sizes(ferrograd.arange(5), [1, 4])
    /// (tensor([0]), tensor([1, 2, 3, 4]))
    function View(Any -> Kept), ["split_with_sizes(Tensor self, int[] split_sizes, int dim=0)"], |_, a| {
        Ok(Output::Tensors(split_with_sizes(a.tensor(0)?, a.ints(1)?, a.int(2)?)?))
    }
}

operation! {
    /// As `split`, where the results count as tensors of their own: what is written into one is not seen by gradients of
    /// the others.
    ///
    /// Shapes: any of at least one dimension; the parts have the sizes but along `dim`.
    ///
    /// >>> ferrograd.unsafe_split(ferrograd.arange(3), 2)
    /// (tensor([0, 1]), tensor([2]))
    function Noted(Any -> Kept), ["unsafe_split(Tensor self, int split_size, int dim=0)"], |_, a| {
        let (x, dim) = (a.tensor(0)?, a.int(2)?);
        let (dim, sizes) = pieces("split", x, a.int(1)?, dim)?;
        Ok(Output::Tensors(Parts { name: "UnsafeSplitBackward0", dim, keeps: true, are_views: false }.of(x, sizes)?))
    }
}

operation! {
    /// As `split_with_sizes`, where the results count as tensors of their own.
    ///
    /// Shapes: any of at least one dimension; the parts have the sizes but along `dim`.
    ///
    /// >>> ferrograd.unsafe_split_with_sizes(ferrograd.arange(3), [2, 1])
    /// (tensor([0, 1]), tensor([2]))
    function Noted(Any -> Kept), ["unsafe_split_with_sizes(Tensor self, int[] split_sizes, int dim=0)"], |_, a| {
        let x = a.tensor(0)?;
        let (dim, sizes) = given(x, a.ints(1)?, a.int(2)?)?;
        let name = "UnsafeSplitWithSizesBackward0";
        Ok(Output::Tensors(Parts { name, dim, keeps: true, are_views: false }.of(x, sizes)?))
    }
}

operation! {
    /// As `chunk`, where the results count as tensors of their own.
    ///
    /// Shapes: any of at least one dimension; the parts have the sizes but along `dim`.
    ///
    /// >>> ferrograd.unsafe_chunk(ferrograd.arange(3), 2)
    /// (tensor([0, 1]), tensor([2]))
    function Noted(Any -> Kept), ["unsafe_chunk(Tensor self, int chunks, int dim=0)"], |_, a| {
        let x = a.tensor(0)?;
        let (dim, sizes) = chunks(x, a.int(1)?, a.int(2)?)?;
        Ok(Output::Tensors(Parts { name: "UnsafeSplitBackward0", dim, keeps: true, are_views: false }.of(x, sizes)?))
    }
}

operation! {
    /// At most so many stretches of a dimension as views, all of one size but the last, which may be shorter.
    ///
    /// Shapes: any of at least one dimension; the parts have the sizes but along `dim`.
    ///
    /// >>> ferrograd.arange(5).chunk(2)
    /// (tensor([0, 1, 2]), tensor([3, 4]))
    function View(Any -> Kept), ["chunk(Tensor self, int chunks, int dim=0)"], |_, a| {
        Ok(Output::Tensors(chunk(a.tensor(0)?, a.int(1)?, a.int(2)?)?))
    }
}

/// Stretches of a dimension of `size` elements, the last shorter where need be.
///
/// # Errors
/// For a tensor without dimensions, a dimension out of range, and sizes below 1.
pub fn split(x: &Tensor, size: isize, dim: isize) -> Result<Vec<Tensor>> {
    let (dim, sizes) = pieces("split", x, size, dim)?;
    Parts { name: "SplitBackward0", dim, keeps: true, are_views: true }.of(x, sizes)
}

/// The dimension and the lengths of stretches of one size.
fn pieces(op: &'static str, x: &Tensor, size: isize, dim: isize) -> Result<(usize, Vec<usize>)> {
    let dim = dimension(op, x, dim)?;
    let total = x.shape()[dim];
    let Ok(size) = usize::try_from(size) else {
        return Err(Error::Invalid { op, what: format!("split_size must be non-negative, got {size}") });
    };
    if size == 0 && total > 0 {
        return Err(Error::Invalid {
            op,
            what: format!("split_size can only be 0 if dimension size is 0, but got dimension size of {total}"),
        });
    }
    let count = if size == 0 { 1 } else { total.div_ceil(size).max(1) };
    let mut sizes = reserved(op, count)?;
    sizes.extend((0..count).map(|i| size.min(total - i * size)));
    Ok((dim, sizes))
}

/// Stretches of a dimension of the given sizes.
///
/// # Errors
/// For a tensor without dimensions, a dimension out of range, and sizes that do not make up the dimension's.
pub fn split_with_sizes(x: &Tensor, sizes: &[isize], dim: isize) -> Result<Vec<Tensor>> {
    let (dim, sizes) = given(x, sizes, dim)?;
    Parts { name: "SplitWithSizesBackward0", dim, keeps: true, are_views: true }.of(x, sizes)
}

fn given(x: &Tensor, sizes: &[isize], dim: isize) -> Result<(usize, Vec<usize>)> {
    const OP: &str = "split_with_sizes";
    let dim = dimension(OP, x, dim)?;
    let total = x.shape()[dim];
    if sizes.iter().any(|&s| s < 0) {
        let what = format!("split_sizes must have only non-negative entries, got {sizes:?}");
        return Err(Error::Invalid { op: OP, what });
    }
    if sizes.iter().try_fold(0isize, |sum, &s| sum.checked_add(s)) != Some(total as isize) {
        let what = format!(
            "split_sizes must sum exactly to {total} (the input tensor's size at dimension {dim}), but got {sizes:?}"
        );
        return Err(Error::Invalid { op: OP, what });
    }
    Ok((dim, sizes.iter().map(|&s| s as usize).collect()))
}

/// At most `count` stretches of one size.
///
/// # Errors
/// For a tensor without dimensions, a dimension out of range, and counts below 1.
pub fn chunk(x: &Tensor, count: isize, dim: isize) -> Result<Vec<Tensor>> {
    let (dim, sizes) = chunks(x, count, dim)?;
    let name = if x.shape()[dim] == 0 { "SplitWithSizesBackward0" } else { "SplitBackward0" };
    Parts { name, dim, keeps: true, are_views: true }.of(x, sizes)
}

fn chunks(x: &Tensor, count: isize, dim: isize) -> Result<(usize, Vec<usize>)> {
    const OP: &str = "chunk";
    let wrapped = dimension(OP, x, dim)?;
    if count <= 0 {
        return Err(Error::Invalid { op: OP, what: format!("expects `chunks` to be greater than 0, got {count}") });
    }
    match x.shape()[wrapped] {
        0 => Ok((wrapped, filled(OP, 0, count as usize)?)),
        total => pieces(OP, x, total.div_ceil(count as usize) as isize, dim),
    }
}

operation! {
    /// Stretches of a dimension as views: so many, of sizes that differ by at most 1, or cut at the given indices.
    ///
    /// Shapes: any of at least one dimension; the parts have the sizes but along `dim`.
    ///
    /// >>> ferrograd.arange(5).tensor_split(2)
    /// (tensor([0, 1, 2]), tensor([3, 4]))
    /// >>> ferrograd.arange(5).tensor_split((1, 3))
    /// (tensor([0]), tensor([1, 2]), tensor([3, 4]))
    function View(Any -> Kept), [
        "tensor_split(Tensor self, Tensor tensor_indices_or_sections, int dim=0)",
        "tensor_split(Tensor self, int sections, int dim=0)",
        "tensor_split(Tensor self, int[] indices, int dim=0)"
    ], |n, a| {
        let (x, dim) = (a.tensor(0)?, a.int(2)?);
        Ok(Output::Tensors(match n {
            0 => split_by_tensor(x, a.tensor(1)?, dim)?,
            1 => tensor_split(x, a.int(1)?, dim)?,
            _ => cut("tensor_split", x, a.ints(1)?, dim)?,
        }))
    }
}

fn split_by_tensor(x: &Tensor, at: &Tensor, dim: isize) -> Result<Vec<Tensor>> {
    const OP: &str = "tensor_split";
    if at.dtype() != DType::I64 {
        return Err(Error::DTypeInvalid { op: OP, dtype: at.dtype(), rule: "indices or sections must be int64" });
    }
    let numbers: Vec<isize> = at.to_vec::<i64>()?.into_iter().map(|i| i as isize).collect();
    match at.rank() {
        0 => tensor_split(x, numbers[0], dim),
        1 => cut(OP, x, &numbers, dim),
        _ => Err(Error::Rank {
            op: OP,
            expected: "a tensor of 0 or 1 dimensions as indices or sections",
            shape: at.shape().to_vec(),
        }),
    }
}

/// So many stretches of sizes that differ by at most 1.
///
/// # Errors
/// For a tensor without dimensions, a dimension out of range, and counts below 1.
pub fn tensor_split(x: &Tensor, sections: isize, dim: isize) -> Result<Vec<Tensor>> {
    const OP: &str = "tensor_split";
    let wrapped = dimension(OP, x, dim)?;
    if sections <= 0 {
        return Err(Error::Invalid {
            op: OP,
            what: format!("number of sections must be larger than 0, got {sections}"),
        });
    }
    let size = x.shape()[wrapped] as isize;
    let mut ends: Vec<isize> = reserved(OP, sections as usize)?;
    ends.extend((1..sections).map(|i| i * (size / sections) + i.min(size % sections)));
    cut(OP, x, &ends, dim)
}

/// Stretches of a dimension between indices, which count from either end as those of a slice.
fn cut(op: &'static str, x: &Tensor, ends: &[isize], dim: isize) -> Result<Vec<Tensor>> {
    let dim = dimension(op, x, dim)?;
    let size = x.shape()[dim] as isize;
    let wrapped = |i: isize| (if i < 0 { (i + size).max(0) } else { i.min(size) }) as usize;
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let stretch = |(start, end): (isize, isize)| {
        let (start, end) = (wrapped(start), wrapped(end));
        slice(x, dim, start, end.saturating_sub(start), 1)
    };
    starts.zip(ends.iter().copied().chain([size])).map(stretch).collect()
}

/// Where `hsplit` and its kind cut.
enum Cuts<'a> {
    /// Into so many stretches of one size.
    Sections(isize),
    /// At these indices.
    At(&'a [isize]),
}

impl<'a> Cuts<'a> {
    /// The argument of signature `n`, sections or indices.
    fn given(n: usize, a: &'a Arguments) -> Result<Cuts<'a>> {
        if n == 0 { a.int(1).map(Cuts::Sections) } else { a.ints(1).map(Cuts::At) }
    }
}

/// `hsplit` and its kind: along a dimension that depends on the rank, which sections must divide.
fn split_along(op: &'static str, x: &Tensor, least: usize, dim: usize, cuts: Cuts) -> Result<Vec<Tensor>> {
    if x.rank() < least {
        let what =
            format!("requires a tensor with at least {least} dimension, but got a tensor with {} dimensions", x.rank());
        return Err(Error::Invalid { op, what });
    }
    match cuts {
        Cuts::At(indices) => cut(op, x, indices, dim as isize),
        Cuts::Sections(sections) if sections <= 0 || !x.shape()[dim].is_multiple_of(sections as usize) => {
            Err(Error::Invalid {
                op,
                what: format!(
                    "attempted to split along dimension {dim}, but the size of the dimension {} is not divisible by the \
                 split_size {sections}",
                    x.shape()[dim]
                ),
            })
        }
        Cuts::Sections(sections) => tensor_split(x, sections, dim as isize),
    }
}

operation! {
    /// Stretches of the columns as views, of the elements of a vector: so many of one size, or cut at indices.
    ///
    /// Shapes: of at least one dimension; the parts have the sizes but along the second, of vectors the first.
    ///
    /// >>> ferrograd.tensor([[1, 2], [3, 4]]).hsplit(2)
    /// (tensor([[1],
    ///         [3]]), tensor([[2],
    ///         [4]]))
    function View(Any -> Kept), ["hsplit(Tensor self, int sections)", "hsplit(Tensor self, int[] indices)"], |n, a| {
        let x = a.tensor(0)?;
        Ok(Output::Tensors(split_along(a.op, x, 1, usize::from(x.rank() != 1), Cuts::given(n, a)?)?))
    }
}

operation! {
    /// Stretches of the rows as views: so many of one size, or cut at indices.
    ///
    /// Shapes: of at least two dimensions; the parts have the sizes but along the first.
    ///
    /// >>> ferrograd.tensor([[1, 2], [3, 4]]).vsplit(2)
    /// (tensor([[1, 2]]), tensor([[3, 4]]))
    function View(Any -> Kept), ["vsplit(Tensor self, int sections)", "vsplit(Tensor self, int[] indices)"], |n, a| {
        Ok(Output::Tensors(split_along(a.op, a.tensor(0)?, 2, 0, Cuts::given(n, a)?)?))
    }
}

operation! {
    /// Stretches of the third dimension as views: so many of one size, or cut at indices.
    ///
    /// Shapes: of at least three dimensions; the parts have the sizes but along the third.
    ///
    /// >>> [t.shape for t in ferrograd.zeros(1, 2, 4).dsplit(2)]
    /// [torch.Size([1, 2, 2]), torch.Size([1, 2, 2])]
    function View(Any -> Kept), ["dsplit(Tensor self, int sections)", "dsplit(Tensor self, int[] indices)"], |n, a| {
        Ok(Output::Tensors(split_along(a.op, a.tensor(0)?, 3, 2, Cuts::given(n, a)?)?))
    }
}
