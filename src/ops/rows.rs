//! Whole slices along a dimension, chosen by a vector of indices, and the way back.

use smallvec::smallvec;

use super::compare::where_;
use super::formula::Operand;
use super::gather::{not_whole, whole};
use super::reduction::{self, Reduce};
use super::registry::{Arguments, operation};
use super::select::{self, Deed, Family, Indices, Kind, Selection};
use super::{batch, inplace, view};
use crate::error::{Error, Result};
use crate::graph::forward;
use crate::tensor::Tensor;
use crate::tensor::dtype::{Category, DType};
use crate::tensor::layout::wrap_dim;
use crate::tensor::scalar::Scalar;

const NODES: [&str; 3] = ["IndexSelectBackward0", "IndexCopyBackward0", "IndexAddBackward0"];

/// `index_select`, `index_copy` and `index_reduce`.
static ROWS: Family = Family {
    nodes: NODES,
    gradient: "IndexAddBackward0",
    wraps: false,
    in_order: false,
    out_of_range: |op, index, dim, size| Error::IndexRange { op, index, dim, size },
};
/// `index_add`.
static ADDED: Family = Family {
    nodes: NODES,
    gradient: "IndexAddBackward0",
    wraps: false,
    in_order: false,
    out_of_range: |op, index, dim, size| Error::GatherRange { op, index, dim, size },
};
/// `index_fill`.
static FILLED: Family = Family {
    nodes: ["IndexSelectBackward0", "IndexFillBackward0", "IndexAddBackward0"],
    gradient: "IndexAddBackward0",
    wraps: true,
    in_order: true,
    out_of_range: |op, index, dim, size| Error::IndexRange { op, index, dim, size },
};

/// The selection of a vector of indices of a dimension.
fn rows(
    op: &'static str,
    family: &'static Family,
    x: &Tensor,
    dim: isize,
    index: &Tensor,
) -> Result<(Selection, Indices)> {
    let dim = wrap_dim(op, dim, x.rank())?;
    if std::ptr::eq(family, &FILLED) && index.dtype() != DType::I64 {
        return Err(Error::IndexDType { op, dtype: index.dtype() });
    }
    if index.rank() > 1 {
        let (what, expected, given) = ("the index must be a vector", vec![index.numel()], index.shape().to_vec());
        return Err(if std::ptr::eq(family, &FILLED) {
            Error::Shape { op, what, expected, given }
        } else {
            Error::IndexShape { op, what, expected, given }
        });
    }
    if index.dtype().is_floating_point() {
        return Err(not_whole(op, index.dtype()));
    }
    let index = whole(op, index)?;
    let table = x.layout().shape.clone();
    if x.rank() == 0 {
        // A tensor without dimensions counts as one of a single element.
        if index.numel() != 1 {
            let what = format!("an index to a tensor without dimensions can have only 1 value, got {}", index.numel());
            return Err(Error::Invalid { op, what });
        }
        return Ok((Selection { op, family, kind: Kind::Along(0), table }, smallvec![view::reshape(&index, &[])?]));
    }
    let index = if index.rank() == 0 { view::unsqueeze(&index, 0)? } else { index };
    Ok((Selection { op, family, kind: Kind::Rows { dims: smallvec![dim], place: dim }, table }, smallvec![index]))
}

operation! {
    /// The slices of a dimension that a vector of indices names, in its order. The gradient adds up where one was taken
    /// several times.
    ///
    /// Shapes: any; `n` along `dim` for `index` of `(n,)`.
    ///
    /// >>> ferrograd.index_select(ferrograd.tensor([[1, 2], [3, 4]]), 1, ferrograd.tensor([1, 1, 0]))
    /// tensor([[2, 2, 1],
    ///         [4, 4, 3]])
    function Noted(Any -> Kept), ["index_select(Tensor self, int dim, Tensor index)"], |_, a| {
        Ok(index_select(a.tensor(0)?, a.int(1)?, a.tensor(2)?)?.into())
    }
}

/// The slices of a dimension that a vector of indices names.
///
/// # Errors
/// For a dimension or indices out of range, and indices that are no vector of int64 or int32.
pub fn index_select(x: &Tensor, dim: isize, index: &Tensor) -> Result<Tensor> {
    const OP: &str = "index_select";
    let (selection, indices) = rows(OP, &ROWS, x, dim, index)?;
    if x.numel() == 0 && batch::level([x, index]).is_none() {
        // Nothing is read, and nothing would find out an index that is out of range.
        let dim = wrap_dim(OP, dim, x.rank())?;
        let size = x.shape()[dim];
        if let Some(bad) = indices[0].to_vec::<i64>()?.into_iter().find(|i| !(0..size as i64).contains(i)) {
            return Err((ROWS.out_of_range)(OP, bad, dim, size));
        }
    }
    select::take(&selection, x, indices)
}

/// Zeros of a shape with rows added at the places of a vector of indices, in the order of the indices.
pub(super) fn added(shape: &[usize], index: &Tensor, list: &Tensor) -> Result<Tensor> {
    let zeros = Tensor::expanded_zero(shape, list.dtype())?;
    let (selection, indices) = rows("index_add", &ADDED, &zeros, 0, index)?;
    select::joined(&selection, &zeros, list, indices, Deed::Add)
}

/// Slices for a dimension of a tensor, and where they go.
struct Slices {
    selection: Selection,
    indices: Indices,
    list: Tensor,
}

impl Slices {
    fn new(family: &'static Family, a: &Arguments, x: &Tensor, list: &Tensor) -> Result<Slices> {
        let (op, index) = (a.op, a.tensor(2)?);
        let (selection, indices) = rows(op, family, x, a.int(1)?, index)?;
        if list.dtype() != x.dtype() {
            return Err(Error::DTypeMismatch { op, left: x.dtype(), right: list.dtype() });
        }
        let list = if list.rank() == 0 && x.rank() > 0 { view::unsqueeze(list, 0)? } else { list.clone() };
        let list = if x.rank() == 0 && list.numel() == 1 { view::reshape(&list, &[])? } else { list };
        let expected = selection.list_shape(&indices);
        if list.shape() != &expected[..] {
            let what = "the source must have the shape of the input, with the number of indices in the dimension";
            let (expected, given) = (expected.to_vec(), list.shape().to_vec());
            return Err(if std::ptr::eq(family, &ADDED) {
                Error::Shape { op, what, expected, given }
            } else {
                Error::IndexShape { op, what, expected, given }
            });
        }
        Ok(Slices { selection, indices, list })
    }
}

operation! {
    /// A copy with slices, times `alpha`, added along a dimension at the places of a vector of indices, in the order of the
    /// indices, whatever the number of threads.
    ///
    /// Shapes: `self` any, kept; `index` is `(n,)`, `source` that of `self` with `n` along `dim`.
    ///
    /// >>> ferrograd.index_add(ferrograd.zeros(3), 0, ferrograd.tensor([0, 2, 0]), ferrograd.tensor([1.0, 2.0, 3.0]))
    /// tensor([4., 0., 2.])
    function Noted(Any -> Shared), ["index_add(Tensor self, int dim, Tensor index, Tensor source, *, Number alpha=1)"],
    in_place |_, a| {
        let x = a.tensor(0)?;
        let s = Slices::new(&ADDED, a, x, a.tensor(3)?)?;
        Ok(select::join(&s.selection, x, &s.list, s.indices, Deed::Add, "IndexAddBackward0", alpha(a, x)?)?.into())
    },
    |_, a| {
        let x = a.tensor(0)?;
        let s = Slices::new(&ADDED, a, x, a.tensor(3)?)?;
        Ok(select::joined_as(&s.selection, x, &s.list, s.indices, Deed::Add, "IndexAddBackward0", alpha(a, x)?)?.into())
    }
}

/// The scale of a call of `index_add`, unless it is 1.
fn alpha(a: &Arguments, x: &Tensor) -> Result<Option<Scalar>> {
    let alpha = a.number(4)?;
    let alpha = match x.dtype() {
        DType::Bool => Scalar::Int(i64::from(alpha.as_f64() != 0.0)),
        dtype if dtype.category() == Category::Integer => alpha.cut(a.op, dtype)?,
        _ => alpha,
    };
    Ok(Some(alpha).filter(|n| n.as_f64() != 1.0))
}

operation! {
    /// A copy with slices written along a dimension at the places of a vector of indices; where an index comes several times
    /// the last one stays, and the gradient is not that of differences.
    ///
    /// Shapes: `self` any, kept; `index` is `(n,)`, `source` that of `self` with `n` along `dim`.
    ///
    /// >>> ferrograd.index_copy(ferrograd.zeros(3), 0, ferrograd.tensor([0, 2]), ferrograd.tensor([1.0, 2.0]))
    /// tensor([1., 0., 2.])
    function Noted(Any -> Shared), ["index_copy(Tensor self, int dim, Tensor index, Tensor source)"],
    in_place |_, a| {
        let x = a.tensor(0)?;
        let s = Slices::new(&ROWS, a, x, a.tensor(3)?)?;
        Ok(select::join(&s.selection, x, &s.list, s.indices, Deed::Put, "IndexCopyBackward0", None)?.into())
    },
    |_, a| {
        let x = a.tensor(0)?;
        let s = Slices::new(&ROWS, a, x, a.tensor(3)?)?;
        Ok(select::joined(&s.selection, x, &s.list, s.indices, Deed::Put)?.into())
    }
}

/// True where somebody asks for the derivative by a tensor, backward or forward.
fn is_differentiated(t: &Tensor) -> bool {
    t.requires_grad() || !forward::levels([t]).is_empty()
}

/// The number that a call of `index_fill` writes, and torch's name of the node. The gradient of a tensor is that of each
/// place once: its index names none twice.
fn filling(a: &Arguments, x: &Tensor, indices: &mut Indices) -> Result<(Tensor, &'static str)> {
    match a.operand(3)? {
        Operand::Tensor(t) if t.rank() == 0 => {
            if is_differentiated(t) && indices[0].batch().is_none() && indices[0].rank() == 1 {
                let size = x.shape()[wrap_dim(a.op, a.int(1)?, x.rank())?] as i64;
                let mut all = indices[0].to_vec::<i64>()?;
                all.iter_mut().filter(|i| **i < 0).for_each(|i| *i += size);
                all.sort_unstable();
                all.dedup();
                indices[0] = Tensor::from_shape(&all, &[all.len()])?;
            }
            Ok((t.clone(), "IndexFillBackward1"))
        }
        Operand::Tensor(t) => {
            let expected = "a number or a tensor without dimensions as value";
            Err(Error::Rank { op: a.op, expected, shape: t.shape().to_vec() })
        }
        Operand::Number(value) => {
            value.check_fits(a.op, x.dtype())?;
            Ok((Tensor::scalar(value, x.dtype())?, "IndexFillBackward0"))
        }
    }
}

/// True where `index_fill` writes a tensor that somebody differentiates by at places of examples, each of which may name a place
/// twice.
fn fills_by_mask(a: &Arguments) -> Result<bool> {
    let Operand::Tensor(value) = a.operand(3)? else { return Ok(false) };
    Ok(is_differentiated(value) && value.rank() == 0 && a.tensor(2)?.batch().is_some())
}

/// The same by a mask of the places.
fn filled_by_mask(a: &Arguments, x: &Tensor) -> Result<Tensor> {
    let (selection, indices) = rows(a.op, &FILLED, x, a.int(1)?, a.tensor(2)?)?;
    let [none, all] = [false, true].map(|holds| Tensor::scalar(holds, DType::Bool));
    let none = view::expand(&none?, &view::signed(x.shape()))?;
    let mask = select::joined_as(&selection, &none, &all?, indices, Deed::Put, "IndexFillBackward0", None)?;
    where_(&mask, a.operand(3)?, x)
}

operation! {
    /// A copy with one number written along a dimension at the places of a vector of indices. Negative indices count from the
    /// end.
    ///
    /// Shapes: `self` any, kept; `index` is `(n,)`, `value` is `()`.
    ///
    /// >>> ferrograd.index_fill(ferrograd.zeros(2, 3), 1, ferrograd.tensor([0, -1]), 5)
    /// tensor([[5., 0., 5.],
    ///         [5., 0., 5.]])
    function Noted(Any -> First), ["index_fill(Tensor self, int dim, Tensor index, Operand value)"],
    in_place |_, a| {
        let x = a.tensor(0)?;
        if fills_by_mask(a)? {
            return Ok(inplace::apply(a.op, x, &[], &|x| filled_by_mask(a, x))?.into());
        }
        let (selection, mut indices) = rows(a.op, &FILLED, x, a.int(1)?, a.tensor(2)?)?;
        let (value, node) = filling(a, x, &mut indices)?;
        Ok(select::join(&selection, x, &value, indices, Deed::Put, node, None)?.into())
    },
    |_, a| {
        let x = a.tensor(0)?;
        if fills_by_mask(a)? {
            return Ok(filled_by_mask(a, x)?.into());
        }
        let (selection, mut indices) = rows(a.op, &FILLED, x, a.int(1)?, a.tensor(2)?)?;
        let (value, node) = filling(a, x, &mut indices)?;
        Ok(select::joined_as(&selection, x, &value, indices, Deed::Put, node, None)?.into())
    }
}

operation! {
    /// A copy in which all slices for one index of a dimension become one: their 'prod', 'mean' (not of bool), 'amax' or
    /// 'amin', with the one there already unless `include_self` is false.
    ///
    /// Shapes: `self` any, kept; `index` is `(n,)`, `source` that of `self` with `n` along `dim`.
    ///
    /// >>> x, index = ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([0, 0])
    /// >>> ferrograd.index_reduce(x, 0, index, ferrograd.tensor([5.0, 3.0]), "mean")
    /// tensor([3., 2.])
    function Noted(Any -> Shared), ["index_reduce(Tensor self, int dim, Tensor index, Tensor source, str reduce, *, bool include_self=True)"],
    in_place |_, a| {
        let x = a.tensor(0)?;
        let s = Slices::new(&ROWS, a, x, a.tensor(3)?)?;
        Ok(reduction::reduce_in_place(&s.selection, x, &s.list, &s.indices, reduce(a)?, a.bool(5)?)?.into())
    },
    |_, a| {
        let x = a.tensor(0)?;
        let s = Slices::new(&ROWS, a, x, a.tensor(3)?)?;
        Ok(reduction::reduced(&s.selection, x, &s.list, &s.indices, reduce(a)?, a.bool(5)?)?.into())
    }
}

/// The reduction of a call of `index_reduce`, which has no sum: that is `index_add`.
fn reduce(a: &Arguments) -> Result<Reduce> {
    if a.text(4)? == Some("sum") {
        let what = "expected reduce to be one of prod, mean, amax or amin but got sum".into();
        return Err(Error::Invalid { op: a.op, what });
    }
    Reduce::named(a, 4)
}
