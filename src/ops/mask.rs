//! Elements that a mask marks, and where the elements that are not zero are.

use smallvec::smallvec;

use super::formula::{Form, Operand, Replay, Rule, Ternary};
use super::registry::{Arguments, Output, operation};
use super::select::{self, Deed, Family, Kind, Selection};
use super::{batch, cast, copy, pointwise, view};
use crate::error::{Error, Result};
use crate::kernels::element::dispatch;
use crate::kernels::lane::Real;
use crate::kernels::nonzero as kernel;
use crate::tensor::Tensor;
use crate::tensor::dtype::{Category, DType};
use crate::tensor::layout::{Layout, broadcast};
use crate::tensor::scalar::Scalar;
use crate::tensor::storage::{Access, Versioning};

operation! {
    /// A copy with one number where the mask (bool) is true; the gradient passes where it is false. The mask broadcasts.
    ///
    /// Dtypes: any; the result has the first one's.
    ///
    /// >>> ferrograd.masked_fill(ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([True, False]), 0)
    /// tensor([0., 2.])
    ternary MaskedFill, masked_fill, "MaskedFillBackward1", Rule::Promote,
        ["masked_fill(Tensor self, Tensor mask, Operand value)"],
    run |_, a| {
        let value = filling(a)?;
        Ok(masked_fill(a.tensor(0)?, a.tensor(1)?, value.operand())?.into())
    },
    Some(|_, a| {
        let (x, mask, value) = (a.tensor(0)?, a.tensor(1)?, filling(a)?);
        let operands = [x.into(), mask.into(), value.operand()];
        Ok(pointwise::apply_in_place(MaskedFill::spec(), a.op, &operands)?.into())
    })
}
impl Ternary for MaskedFill {
    const ROW_MAJOR: bool = true;
    const REPLAY: Option<Replay> = Some(|n, sources| match n {
        0 => masked_fill(sources[0], sources[2], 0.0).map(Some),
        _ => Ok(None),
    });
    // The mask has no edge.
    const FORMS: &'static [Form] =
        &[Form::new(0b000, "MaskedFillBackward1", 0b101), Form::new(0b100, "MaskedFillBackward0", 0b001)];
    #[inline(always)]
    fn forward<L: Real>(x: L, mask: L, value: L) -> L {
        L::select(mask.ne(L::constant(0.0)), value, x)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, _x: L, mask: L, _value: L, _y: L) -> [L; 3] {
        let (zero, marked) = (L::constant(0.0), mask.ne(L::constant(0.0)));
        [L::select(marked, zero, g), zero, L::select(marked, g, zero)]
    }
}

/// The value of a call of `masked_fill`, in the dtype of the input.
enum Filling {
    Number(Scalar),
    Tensor(Tensor),
}

impl Filling {
    fn operand(&self) -> Operand<'_> {
        match self {
            Filling::Number(n) => Operand::Number(*n),
            Filling::Tensor(t) => Operand::Tensor(t),
        }
    }
}

fn filling(a: &Arguments) -> Result<Filling> {
    let (x, mask) = (a.tensor(0)?, a.tensor(1)?);
    check_mask(a.op, mask)?;
    match a.operand(2)? {
        Operand::Number(value) => {
            value.check_fits(a.op, x.dtype())?;
            Ok(Filling::Number(match x.dtype().category() {
                Category::Bool => Scalar::Bool(value.as_bool()),
                Category::Integer => value.cut(a.op, x.dtype())?,
                _ => value,
            }))
        }
        // Beside one with dimensions it is computed with in the input's dtype, and the engine casts its gradient.
        Operand::Tensor(t) if t.rank() == 0 && x.rank() > 0 && both_float(x, t) => Ok(Filling::Tensor(t.clone())),
        Operand::Tensor(t) if t.rank() == 0 => Ok(Filling::Tensor(fitted(a.op, t, x.dtype())?)),
        Operand::Tensor(t) => {
            let expected = "a number or a tensor without dimensions as value";
            Err(Error::Rank { op: a.op, expected, shape: t.shape().to_vec() })
        }
    }
}

fn both_float(x: &Tensor, value: &Tensor) -> bool {
    x.dtype().is_floating_point() && value.dtype().is_floating_point()
}

/// A tensor of one number as one of another dtype, which can hold it.
pub(super) fn fitted(op: &'static str, t: &Tensor, dtype: DType) -> Result<Tensor> {
    if !t.dtype().can_cast(dtype) || t.dtype().size() > dtype.size() {
        batch::level([t]).map_or_else(|| t.item()?.check_fits(op, dtype), |_| Ok(()))?;
    }
    cast::to(t, dtype)
}

fn check_mask(op: &'static str, mask: &Tensor) -> Result<()> {
    if mask.dtype() == DType::Bool {
        return Ok(());
    }
    Err(Error::Invalid { op, what: format!("expected a mask of dtype bool, got {}", mask.dtype()) })
}

/// The shape of two tensors broadcast, and both as views of it.
fn together(op: &'static str, x: &Tensor, mask: &Tensor) -> Result<(Tensor, Tensor)> {
    let shape = view::signed(&broadcast(op, x.shape(), mask.shape())?);
    Ok((view::expand(x, &shape)?, view::expand(mask, &shape)?))
}

static MASKED: Family = Family {
    nodes: ["MaskedSelectBackward0", "MaskedScatterBackward0", "MaskedScatterBackward0"],
    gradient: "MaskedScatterBackward0",
    wraps: false,
    in_order: false,
    out_of_range: |op, index, dim, size| Error::IndexRange { op, index, dim, size },
};

operation! {
    /// The elements where the mask (bool) is true, in row-major order. Input and mask broadcast.
    ///
    /// Shapes: the operands broadcast; `(k,)`.
    ///
    /// >>> ferrograd.masked_select(ferrograd.tensor([1, 2, 3]), ferrograd.tensor([True, False, True]))
    /// tensor([1, 3])
    function Noted(Any -> Kept), ["masked_select(Tensor self, Tensor mask)"], |_, a| {
        let (op, mask) = (a.op, a.tensor(1)?);
        check_mask(op, mask)?;
        let (x, mask) = together(op, a.tensor(0)?, mask)?;
        let selection = Selection { op, family: &MASKED, kind: Kind::Flat, table: x.layout().shape.clone() };
        Ok(select::take(&selection, &x, smallvec![marked(&mask)?])?.into())
    }
}

operation! {
    /// A copy with elements of `source`, in row-major order, written where the mask (bool) is true. The mask broadcasts;
    /// `source` has at least as many elements as are marked.
    ///
    /// Shapes: `mask` broadcasts to that of `self`, which is kept; `source` has as many elements as are true.
    ///
    /// >>> ferrograd.zeros(3).masked_scatter(ferrograd.tensor([True, False, True]), ferrograd.tensor([1.0, 2.0]))
    /// tensor([1., 0., 2.])
    function Noted(Any -> Shared), ["masked_scatter(Tensor self, Tensor mask, Tensor source)"],
    in_place |_, a| {
        let x = a.tensor(0)?;
        let mask = view::expand(a.tensor(1)?, &view::signed(x.shape()))?;
        let (selection, index, list) = marked_list(a, x, &mask)?;
        Ok(select::join(&selection, x, &list, smallvec![index], Deed::Put, "MaskedScatterBackward0", None)?.into())
    },
    |_, a| {
        let (x, mask) = together(a.op, a.tensor(0)?, a.tensor(1)?)?;
        let (selection, index, list) = marked_list(a, &x, &mask)?;
        Ok(select::joined(&selection, &x, &list, smallvec![index], Deed::Put)?.into())
    }
}

/// The marked places of `x`, and the elements that go there.
fn marked_list(a: &Arguments, x: &Tensor, mask: &Tensor) -> Result<(Selection, Tensor, Tensor)> {
    let (op, source) = (a.op, a.tensor(2)?);
    check_mask(op, mask)?;
    if source.dtype() != x.dtype() {
        return Err(Error::DTypeMismatch { op, left: x.dtype(), right: source.dtype() });
    }
    let index = marked(mask)?;
    if source.numel() < index.numel() {
        let what =
            format!("the source has fewer elements ({}) than the mask marks ({})", source.numel(), index.numel());
        return Err(Error::Invalid { op, what });
    }
    let list = view::slice(&view::reshape(source, &[-1])?, 0, 0, index.numel(), 1)?;
    let selection = Selection { op, family: &MASKED, kind: Kind::Flat, table: x.layout().shape.clone() };
    Ok((selection, index, list))
}

/// The numbers in row-major order of the elements that are not zero.
pub(super) fn marked(mask: &Tensor) -> Result<Tensor> {
    found(mask, &[mask.numel()]).map(|columns| columns.detach())
}

/// The indices of the elements that are not zero, under a shape of as many elements: one row for each dimension.
fn found(x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    batch::check_sized("nonzero", x)?;
    let x = copy::to_contiguous(x)?;
    let _access = Access::lock([(&**x.storage(), false)]);
    dispatch!("nonzero", x.dtype(), T => {
        // SAFETY: the tensor is contiguous, of this type, and locked.
        let elements = unsafe { std::slice::from_raw_parts(x.data_ptr().cast::<T>(), x.numel()) };
        let counts = kernel::counts(elements);
        let total = counts.iter().sum();
        let y = match shape {
            [_] => Tensor::uninitialized("nonzero", &[total], DType::I64)?,
            _ => Tensor::uninitialized("nonzero", &[shape.len(), total], DType::I64)?,
        };
        // SAFETY: the result is new and has room for the indices of each dimension.
        unsafe { kernel::places(elements, shape, &counts, total, y.data_ptr().cast()) };
        Ok(y)
    })
}

/// The indices of the elements that are not zero, one tensor a dimension.
///
/// # Errors
/// For a batched tensor, and where there is no memory.
pub fn nonzero(x: &Tensor) -> Result<Vec<Tensor>> {
    if x.rank() == 1 {
        return Ok(vec![view::alias(&found(x, x.shape())?)?]);
    }
    view::unbind(&found(x, x.shape())?, 0)
}

/// The indices of the elements that are not zero, as the rows of a matrix.
fn nonzero_matrix(x: &Tensor) -> Result<Tensor> {
    let rows = match x.rank() {
        1 => view::reshape(&found(x, x.shape())?, &[1, -1])?,
        _ => found(x, x.shape())?,
    };
    let layout = match x.rank() {
        0 => Layout::contiguous(&[usize::from(x.truth()?), 0]),
        _ => rows.layout().transpose(0, 1),
    };
    Ok(Tensor::new(rows.storage().clone(), layout, DType::I64, Versioning::fresh()))
}

/// As [`nonzero`], a tensor without dimensions counting as one of a single element.
pub(super) fn nonzero_tuple(x: &Tensor) -> Result<Output> {
    let x = if x.rank() == 0 { view::view(x, &[1])? } else { x.clone() };
    nonzero(&x).map(Output::Tensors)
}

operation! {
    /// The indices of the elements that are not zero, in row-major order: as the rows of a matrix, or, with `as_tuple`, one
    /// tensor a dimension, as indexing takes them.
    ///
    /// Shapes: `(...) -> (k, r)`: `k` elements, `r` dimensions.
    ///
    /// >>> ferrograd.nonzero(ferrograd.tensor([[0, 1], [2, 0]]))
    /// tensor([[0, 1],
    ///         [1, 0]])
    /// >>> ferrograd.nonzero(ferrograd.tensor([0, 3, 4]), as_tuple=True)
    /// (tensor([1, 2]),)
    function Noted(Any -> Index), ["nonzero(Tensor self, *, bool as_tuple=False)"], |_, a| {
        let x = a.tensor(0)?;
        if a.bool(1)? { nonzero_tuple(x) } else { Ok(nonzero_matrix(x)?.into()) }
    }
}

operation! {
    /// The indices of the elements that are not zero, as the rows of a matrix: `nonzero` under NumPy's name.
    ///
    /// Shapes: `(...) -> (k, r)`: `k` elements, `r` dimensions.
    ///
    /// >>> ferrograd.argwhere(ferrograd.tensor([0, 3, 4]))
    /// tensor([[1],
    ///         [2]])
    function Noted(Any -> Index), ["argwhere(Tensor self)"], |_, a| Ok(argwhere(a.tensor(0)?)?.into())
}

fn argwhere(x: &Tensor) -> Result<Tensor> {
    batch::each(x, argwhere).unwrap_or_else(|| nonzero_matrix(x))
}

operation! {
    /// As `nonzero`, of a number of rows that is known before: the first `size` rows, or all and rows of `fill_value`.
    ///
    /// Shapes: `(...) -> (size, r)`: `r` dimensions.
    ///
    /// >>> ferrograd.nonzero_static(ferrograd.tensor([0, 3, 4]), size=3)
    /// tensor([[ 1],
    ///         [ 2],
    ///         [-1]])
    function Noted(Any -> Index), ["nonzero_static(Tensor self, *, int size, int fill_value=-1)"], |_, a| {
        let (x, size) = (a.tensor(0)?, a.int(1)?);
        let Ok(rows) = usize::try_from(size) else {
            return Err(Error::Invalid { op: a.op, what: format!("size must be non-negative, got {size}") });
        };
        let found = nonzero_matrix(x)?;
        let y = Tensor::full(&[rows, x.rank()], a.number(2)?, DType::I64)?;
        let count = rows.min(found.shape()[0]);
        copy::write(&view::slice(&y, 0, 0, count, 1)?, &view::slice(&found, 0, 0, count, 1)?)?;
        Ok(y.into())
    }
}
