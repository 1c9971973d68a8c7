//! Tensors made in the image of another, and of given strides.

use smallvec::{SmallVec, smallvec};

use super::creation::{finish, full, sizes};
use super::formula::Operand;
use super::recorded::link_simple;
use super::registry::{Arguments, operation};
use super::{batch, cast, copy, inplace, view};
use crate::error::{Error, Result};
use crate::tensor::dtype::DType;
use crate::tensor::layout::{Layout, Strides, broadcast, checked_numel, dim_mask};
use crate::tensor::storage::Versioning;
use crate::tensor::{Tensor, default_dtype};

/// A new tensor of the sizes that the call asks for; where its own tensor is an example of a batch, one for each example.
fn for_examples(a: &Arguments, make: impl FnOnce(&[usize]) -> Result<Tensor>) -> Result<Tensor> {
    let levels = batch::levels(a.tensor(0)?);
    let mut shape: Vec<usize> = levels.iter().rev().map(|l| l.1).collect();
    shape.extend(sizes(a.op, a.ints(1)?)?);
    Ok(batch::batched(make(&shape)?, &levels))
}

operation! {
    /// Zeros of the given sizes, in the dtype of this tensor where none is given.
    ///
    /// >>> ferrograd.tensor([1, 2]).new_zeros(3)
    /// tensor([0, 0, 0])
    function Size(Any -> AskedLike), ["Tensor.new_zeros(Tensor self, int[] size, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"], |_, a| {
        let dtype = a.dtype(2)?.unwrap_or(a.tensor(0)?.dtype());
        finish(for_examples(a, |shape| Tensor::zeros(shape, dtype))?, a, 2)
    }
}

operation! {
    /// Ones of the given sizes, in the dtype of this tensor where none is given.
    ///
    /// >>> ferrograd.tensor([1, 2]).new_ones(3)
    /// tensor([1, 1, 1])
    function Size(Any -> AskedLike), ["Tensor.new_ones(Tensor self, int[] size, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"], |_, a| {
        let dtype = a.dtype(2)?.unwrap_or(a.tensor(0)?.dtype());
        finish(for_examples(a, |shape| Tensor::ones(shape, dtype))?, a, 2)
    }
}

operation! {
    /// A tensor of the given sizes whose elements are anything, in the dtype of this tensor where none is given.
    ///
    /// >>> ferrograd.tensor([1, 2]).new_empty(3).dtype
    /// torch.int64
    function Size(Any -> AskedLike), ["Tensor.new_empty(Tensor self, int[] size, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"], |_, a| {
        let dtype = a.dtype(2)?.unwrap_or(a.tensor(0)?.dtype()).require(a.op)?;
        finish(for_examples(a, |shape| Tensor::uninitialized(a.op, shape, dtype))?, a, 2)
    }
}

operation! {
    /// A tensor of the given sizes with one number everywhere, in the dtype of this tensor where none is given.
    ///
    /// >>> ferrograd.tensor([1, 2]).new_full((2,), 7)
    /// tensor([7, 7])
    function Size(Any -> AskedLike), ["Tensor.new_full(Tensor self, Size size, Number fill_value, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"], |_, a| {
        let dtype = a.dtype(3)?.unwrap_or(a.tensor(0)?.dtype());
        finish(for_examples(a, |shape| full(shape, a.number(2)?, dtype))?, a, 3)
    }
}

operation! {
    /// As `empty_strided`, in the dtype of this tensor where none is given.
    ///
    /// Shapes: `size`.
    ///
    /// >>> ferrograd.tensor([1, 2]).new_empty_strided((2, 3), (1, 2)).stride()
    /// (1, 2)
    function Noted(Any -> AskedLike), ["Tensor.new_empty_strided(Tensor self, Size size, Size stride, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"], |_, a| {
        let dtype = a.dtype(3)?.unwrap_or(a.tensor(0)?.dtype());
        finish(strided(a.op, a.ints(1)?, a.ints(2)?, dtype)?, a, 3)
    }
}

operation! {
    /// A tensor of the given sizes and strides whose elements are anything.
    ///
    /// Shapes: `size`.
    ///
    /// >>> ferrograd.empty_strided((2, 3), (1, 2)).stride()
    /// (1, 2)
    function Noted(Any -> Asked), ["empty_strided(Size size, Size stride, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"], |_, a| {
        finish(strided(a.op, a.ints(0)?, a.ints(1)?, a.dtype(2)?.unwrap_or_else(default_dtype))?, a, 2)
    }
}

/// A tensor of the given sizes and strides in memory that just holds it.
fn strided(op: &'static str, size: &[isize], stride: &[isize], dtype: DType) -> Result<Tensor> {
    if size.len() != stride.len() {
        let what =
            format!("dimensionality of sizes ({}) must match dimensionality of strides ({})", size.len(), stride.len());
        return Err(Error::Invalid { op, what });
    }
    if stride.iter().any(|&s| s < 0) {
        return Err(Error::SizeOverflow { op, shape: stride.to_vec() });
    }
    let shape = sizes(op, size)?;
    checked_numel(op, &shape, dtype.size())?;
    let layout = Layout { shape: shape.as_slice().into(), strides: stride.into(), offset: 0 };
    let reach = shape
        .iter()
        .zip(stride)
        .try_fold(1usize, |sum, (&n, &s)| sum.checked_add(n.saturating_sub(1).checked_mul(s as usize)?));
    let Some(reach) = reach.filter(|_| layout.numel() > 0).or((layout.numel() == 0).then_some(0)) else {
        return Err(Error::SizeOverflow { op, shape: size.to_vec() });
    };
    let block = Tensor::uninitialized(op, &[reach], dtype.require(op)?)?;
    Ok(Tensor::new(block.storage().clone(), layout, dtype, Versioning::fresh()))
}

operation! {
    /// A tensor of the given sizes whose elements are anything, without gaps, the dimensions in the given order from the
    /// outermost to the innermost.
    ///
    /// Shapes: `size`.
    ///
    /// >>> ferrograd.empty_permuted((2, 3, 4), (1, 0, 2)).stride()
    /// (4, 8, 1)
    function Noted(Any -> Asked), ["empty_permuted(Size size, Size physical_layout, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"], |_, a| {
        let (op, size, order) = (a.op, a.ints(0)?, a.ints(1)?);
        if size.len() != order.len() {
            return Err(Error::PermuteRank { op, rank: size.len(), given: order.len() });
        }
        if let Some(d) = order.iter().find(|d| !(0..size.len() as isize).contains(d)) {
            let what = format!("expected dimensions between 0 and {}, got {d}", size.len() as isize - 1);
            return Err(Error::Invalid { op, what });
        }
        if !order.is_empty() {
            dim_mask(op, order, size.len())?;
        }
        let shape = sizes(op, size)?;
        let (mut strides, mut step): (Strides, usize) = (SmallVec::from_elem(1, size.len()), 1);
        for &d in order.iter().rev() {
            let d = d as usize;
            strides[d] = step as isize;
            step = step.saturating_mul(shape[d].max(1));
        }
        finish(strided(op, size, &strides, a.dtype(2)?.unwrap_or_else(default_dtype))?, a, 2)
    }
}

operation! {
    /// A tensor like this one with one number everywhere, also that of a tensor without dimensions.
    ///
    /// >>> ferrograd.fill(ferrograd.zeros(2), 7)
    /// tensor([7., 7.])
    function Same(Any -> Kept), ["fill(Tensor self, Operand value)"],
    in_place |_, a| {
        let x = a.tensor(0)?;
        Ok(match a.operand(1)? {
            Operand::Number(value) => inplace::fill_(x, value)?,
            Operand::Tensor(t) => inplace::fill_with(x, checked(t)?)?,
        }.into())
    },
    |_, a| {
        let x = a.tensor(0)?;
        Ok(match a.operand(1)? {
            Operand::Number(value) => {
                value.check_fits(a.op, x.dtype())?;
                filled("FillBackward0", x, &Tensor::scalar(value, x.dtype())?)?
            }
            Operand::Tensor(t) => filled("FillBackward1", x, checked(t)?)?,
        }.into())
    }
}

/// The value everywhere: the gradient of `x` is zero, and the engine sums that of the value.
fn filled(name: &'static str, x: &Tensor, value: &Tensor) -> Result<Tensor> {
    if let Some(aligned) = batch::aligned(&[x, value]) {
        let (both, level) = aligned?;
        let shape = broadcast("fill", both[0].shape(), both[1].shape())?;
        let value = view::expand(&cast::to(&both[1], x.dtype())?, &view::signed(&shape))?;
        return Ok(Tensor::batched(&copy::clone_contiguous(&value)?, level));
    }
    let y = copy::laid_out_as(x, Tensor::uninitialized("fill", x.shape(), x.dtype())?);
    copy::write(&y, value)?;
    link_simple(name, &[x, value], &y, |call| {
        let g = call.gradient()?;
        let before = if call.needs(0) { Some(Tensor::zeros(g.shape(), g.dtype())?) } else { None };
        Ok(smallvec![before, Some(g)])
    })?;
    Ok(y)
}

/// A tensor without dimensions.
fn checked(value: &Tensor) -> Result<&Tensor> {
    if value.rank() == 0 {
        return Ok(value);
    }
    Err(Error::Rank { op: "fill", expected: "a number or a tensor without dimensions", shape: value.shape().to_vec() })
}
