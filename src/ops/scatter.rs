//! A list written into a tensor along a dimension, each element at the place of its index.

use super::formula::Operand;
use super::gather::along;
use super::reduction::{self, Reduce};
use super::registry::{Arguments, Output, operation};
use super::select::{self, Deed, Indices, Selection};
use super::view;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// A list for a tensor, and where it goes.
struct Scatter {
    selection: Selection,
    indices: Indices,
    list: Tensor,
}

impl Scatter {
    fn new(op: &'static str, x: &Tensor, dim: isize, index: &Tensor, list: &Tensor) -> Result<Scatter> {
        if list.dtype() != x.dtype() {
            return Err(Error::DTypeMismatch { op, left: x.dtype(), right: list.dtype() });
        }
        let (selection, indices) = along(op, x, dim, index, Some(list))?;
        let list = fitting(list, &indices[0])?;
        Ok(Scatter { selection, indices, list })
    }

    /// The same number at all indices.
    fn of_number(op: &'static str, x: &Tensor, dim: isize, index: &Tensor, value: crate::Scalar) -> Result<Scatter> {
        value.check_fits(op, x.dtype())?;
        let (selection, indices) = along(op, x, dim, index, None)?;
        let number = Tensor::scalar(value, x.dtype())?;
        Ok(Scatter { list: view::expand(&number, &view::signed(indices[0].shape()))?, selection, indices })
    }

    /// What the first four arguments of a call ask for, and torch's name of the node.
    fn called(a: &Arguments) -> Result<(Scatter, &'static str)> {
        let (op, x, dim, index) = (a.op, a.tensor(0)?, a.int(1)?, a.tensor(2)?);
        Ok(match a.operand(3)? {
            Operand::Tensor(list) => (Scatter::new(op, x, dim, index, list)?, "ScatterBackward0"),
            Operand::Number(value) => (Scatter::of_number(op, x, dim, index, value)?, "ScatterBackward1"),
        })
    }
}

/// The part of a list that an index stands beside.
fn fitting(list: &Tensor, index: &Tensor) -> Result<Tensor> {
    let sizes = index.shape();
    if index.numel() == 0 || list.rank() != sizes.len() {
        // Nothing, or a single element with a dimension or without.
        return view::reshape(
            &view::slice(&view::reshape(list, &[-1])?, 0, 0, index.numel(), 1)?,
            &view::signed(sizes),
        );
    }
    (0..sizes.len())
        .filter(|&d| list.shape()[d] > sizes[d])
        .try_fold(list.clone(), |list, d| view::slice(&list, d, 0, sizes[d], 1))
}

/// The reduction that the last argument of a call of `scatter` names.
fn reduction_of(a: &Arguments) -> Result<Reduce> {
    match a.text(4)? {
        Some("add") => Ok(Reduce::Sum),
        Some("multiply") => Ok(Reduce::Product),
        given => {
            let what = format!("reduce argument must be either add or multiply, got {}", given.unwrap_or("None"));
            Err(Error::Invalid { op: a.op, what })
        }
    }
}

operation! {
    /// A copy with the elements of `src`, or one number, written along `dim` at the places that the index says:
    /// `y[index[i][j]][j] = src[i][j]` for `dim = 0`. Where an index comes several times the last element stays, and the
    /// gradient is not that of differences. With `reduce` 'add' or 'multiply' the elements are added to those there, or
    /// multiplied with them.
    ///
    /// The index (int64 or int32) has as many dimensions as the input, and is no larger than `src`, nor than the input but in
    /// `dim`.
    ///
    /// Shapes: `self` any, kept; `index` is nowhere larger than `src`, nor than `self` but along `dim`.
    ///
    /// >>> ferrograd.scatter(ferrograd.zeros(2, 2), 1, ferrograd.tensor([[1], [0]]), 5.0)
    /// tensor([[0., 5.],
    ///         [5., 0.]])
    function Noted(Any -> Shared), [
        "scatter(Tensor self, int dim, Tensor index, Tensor src)",
        "scatter(Tensor self, int dim, Tensor index, Number value)",
        "scatter(Tensor self, int dim, Tensor index, Tensor src, *, str reduce)",
        "scatter(Tensor self, int dim, Tensor index, Number value, *, str reduce)"
    ],
    in_place |n, a| {
        let (s, node) = Scatter::called(a)?;
        let x = a.tensor(0)?;
        Ok(if n < 2 {
            select::join(&s.selection, x, &s.list, s.indices, Deed::Put, node, None)?
        } else {
            reduction::reduce_in_place(&s.selection, x, &s.list, &s.indices, reduction_of(a)?, true)?
        }.into())
    },
    |n, a| {
        let (s, node) = Scatter::called(a)?;
        let x = a.tensor(0)?;
        Ok(if n < 2 {
            select::joined_as(&s.selection, x, &s.list, s.indices, Deed::Put, node, None)?
        } else {
            reduction::reduced(&s.selection, x, &s.list, &s.indices, reduction_of(a)?, true)?
        }.into())
    }
}

operation! {
    /// As `scatter`, adding up: `y[index[i][j]][j] += src[i][j]` for `dim = 0`, in the order of the index, whatever the
    /// number of threads.
    ///
    /// Shapes: `self` any, kept; `index` is nowhere larger than `src`, nor than `self` but along `dim`.
    ///
    /// >>> ferrograd.scatter_add(ferrograd.zeros(3), 0, ferrograd.tensor([0, 2, 0]), ferrograd.tensor([1.0, 2.0, 3.0]))
    /// tensor([4., 0., 2.])
    function Noted(Any -> Shared), ["scatter_add(Tensor self, int dim, Tensor index, Tensor src)"],
    in_place |_, a| {
        let s = Scatter::new(a.op, a.tensor(0)?, a.int(1)?, a.tensor(2)?, a.tensor(3)?)?;
        Ok(select::join(&s.selection, a.tensor(0)?, &s.list, s.indices, Deed::Add, "ScatterAddBackward0", None)?.into())
    },
    |_, a| Ok(scatter_add(a.tensor(0)?, a.int(1)?, a.tensor(2)?, a.tensor(3)?)?.into())
}

/// A copy of `x` with a list added along a dimension at the places of an index.
///
/// # Errors
/// For a dimension or indices out of range, shapes that do not fit, and different dtypes.
pub fn scatter_add(x: &Tensor, dim: isize, index: &Tensor, list: &Tensor) -> Result<Tensor> {
    let s = Scatter::new("scatter_add", x, dim, index, list)?;
    select::joined(&s.selection, x, &s.list, s.indices, Deed::Add)
}

operation! {
    /// As `scatter`, all elements for one place becoming one: their 'sum', 'prod', 'mean' (not of bool), 'amax' or 'amin',
    /// with the one there already unless `include_self` is false.
    ///
    /// Shapes: `self` any, kept; `index` is nowhere larger than `src`, nor than `self` but along `dim`.
    ///
    /// >>> x, index = ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([0, 0])
    /// >>> ferrograd.scatter_reduce(x, 0, index, ferrograd.tensor([5.0, 3.0]), "mean")
    /// tensor([3., 2.])
    function Noted(Any -> Shared), ["scatter_reduce(Tensor self, int dim, Tensor index, Tensor src, str reduce, *, bool include_self=True)"],
    in_place |_, a| {
        let s = Scatter::new(a.op, a.tensor(0)?, a.int(1)?, a.tensor(2)?, a.tensor(3)?)?;
        let (reduce, include) = (Reduce::named(a, 4)?, a.bool(5)?);
        Ok(reduction::reduce_in_place(&s.selection, a.tensor(0)?, &s.list, &s.indices, reduce, include)?.into())
    },
    |_, a| {
        let s = Scatter::new(a.op, a.tensor(0)?, a.int(1)?, a.tensor(2)?, a.tensor(3)?)?;
        let (reduce, include) = (Reduce::named(a, 4)?, a.bool(5)?);
        Ok(Output::from(reduction::reduced(&s.selection, a.tensor(0)?, &s.list, &s.indices, reduce, include)?))
    }
}
