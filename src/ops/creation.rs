//! Tensors from sizes and ranges.

use super::batch;
use super::copy::Format;
use super::formula::Operand;
use super::registry::{Arguments, Output, operation};
use crate::error::{Error, Result};
use crate::graph::forward;
use crate::kernels::element::dispatch;
use crate::kernels::ramp;
use crate::memory::reserved;
use crate::tensor::dtype::{Category, DType};
use crate::tensor::layout::Layout;
use crate::tensor::scalar::Scalar;
use crate::tensor::{Tensor, default_dtype};

/// Sizes as they are, none of them negative.
pub(super) fn sizes(op: &'static str, shape: &[isize]) -> Result<Vec<usize>> {
    let size = |&s: &isize| usize::try_from(s).map_err(|_| Error::SizeOverflow { op, shape: shape.to_vec() });
    shape.iter().map(size).collect()
}

/// The result of a creation, asked for gradients where the call says so. Its last arguments from the dtype, argument `n`,
/// on are those of all creations: layout and device, of which there is one each, pinning, and gradients.
pub(super) fn finish(tensor: Tensor, a: &Arguments, n: usize) -> Result<Output> {
    check_asked(a, n, tensor.dtype())?;
    tensor.set_requires_grad(a.bool(n + 4)?)?;
    Ok(tensor.into())
}

/// What [`finish`] would find wrong with a result of a dtype.
pub(super) fn check_asked(a: &Arguments, n: usize, dtype: DType) -> Result<()> {
    if !a.is_none(n + 3) && a.bool(n + 3)? {
        return Err(Error::PinMemory { op: a.op });
    }
    if a.bool(n + 4)? && !dtype.is_floating_point() { Err(Error::GradDType { dtype }) } else { Ok(()) }
}

/// Creates what is like another tensor: its elements are in the same order in memory, unless the last argument asks for
/// another. Where the other is an example of a batch, there is one for each example.
fn alike(x: &Tensor, a: &Arguments, n: usize, make: impl FnOnce(&[usize]) -> Result<Tensor>) -> Result<Output> {
    let value = forward::bottom(x);
    let y = in_order_of(value, make(value.shape())?, a, n)?;
    finish(batch::batched(y, &batch::levels(x)), a, n)
}

fn in_order_of(like: &Tensor, new: Tensor, a: &Arguments, n: usize) -> Result<Tensor> {
    Format::named(a, n + 5)?.unwrap_or(Format::Preserve).applied(a.op, new, Some(like))
}

/// What was created in row-major order, in the order that argument `n` asks for where there is one.
fn arranged(new: Tensor, a: &Arguments, n: usize) -> Result<Tensor> {
    match Format::named(a, n)? {
        None => Ok(new),
        Some(Format::Preserve) => {
            let what = "'torch.preserve_format' memory format is only supported when there is another tensor";
            Err(Error::Invalid { op: a.op, what: what.into() })
        }
        Some(format) => format.applied(a.op, new, None),
    }
}

/// A tensor with the same number everywhere, which must fit the dtype.
pub(super) fn full(shape: &[usize], value: Scalar, dtype: DType) -> Result<Tensor> {
    value.check_fits("full", dtype)?;
    Tensor::full(shape, value, dtype)
}

/// Creations from sizes and their `_like` forms, which take shape and dtype of another tensor.
macro_rules! creations {
    ($($(#[doc = $doc:literal])* $sized:literal, $(#[doc = $like_doc:literal])* $like:literal => $make:expr;)*) => {$(
        operation! {
            $(#[doc = $doc])*
            function Size(Any -> Asked), [$sized], |_, a| {
                let make: fn(&'static str, &[usize], DType) -> Result<Tensor> = $make;
                let new = make(a.op, &sizes(a.op, a.ints(0)?)?, a.dtype(1)?.unwrap_or_else(default_dtype))?;
                finish(arranged(new, a, 6)?, a, 1)
            }
        }
        operation! {
            $(#[doc = $like_doc])*
            function Same(Any -> AskedLike), [$like], |_, a| {
                let make: fn(&'static str, &[usize], DType) -> Result<Tensor> = $make;
                let x = a.tensor(0)?;
                let dtype = a.dtype(1)?.unwrap_or(x.dtype());
                alike(x, a, 1, |shape| make(a.op, shape, dtype))
            }
        }
    )*};
}

operation! {
    /// A tensor without dimensions that holds a number, of the default float dtype where none is given.
    ///
    /// Shapes: `()`.
    ///
    /// >>> ferrograd.scalar_tensor(3)
    /// tensor(3.)
    function Noted(Any -> Asked), ["scalar_tensor(Number s, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"], |_, a| {
        finish(full(&[], a.number(0)?, a.dtype(1)?.unwrap_or_else(default_dtype))?, a, 1)
    }
}

creations! {
    /// Zeros of the given sizes; the default float where no dtype is given.
    ///
    /// >>> ferrograd.zeros(2, 2)
    /// tensor([[0., 0.],
    ///         [0., 0.]])
    "zeros(int[] size, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)",
    /// Zeros in the shape and dtype of another tensor.
    ///
    /// >>> ferrograd.zeros_like(ferrograd.tensor([1, 2]))
    /// tensor([0, 0])
    "zeros_like(Tensor input, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False, MemoryFormat? memory_format=None)"
    => |op, shape, dtype| Tensor::filled(op, shape, Scalar::Int(0), dtype);

    /// Ones of the given sizes; the default float where no dtype is given.
    ///
    /// >>> ferrograd.ones(3)
    /// tensor([1., 1., 1.])
    "ones(int[] size, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)",
    /// Ones in the shape and dtype of another tensor.
    ///
    /// >>> ferrograd.ones_like(ferrograd.tensor([1, 2]))
    /// tensor([1, 1])
    "ones_like(Tensor input, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False, MemoryFormat? memory_format=None)"
    => |op, shape, dtype| Tensor::filled(op, shape, Scalar::Int(1), dtype);

    /// A tensor of the given sizes whose elements are anything.
    ///
    /// >>> ferrograd.empty(2, 3).shape
    /// torch.Size([2, 3])
    "empty(int[] size, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False, MemoryFormat? memory_format=None)",
    /// A tensor in the shape and dtype of another whose elements are anything.
    ///
    /// >>> ferrograd.empty_like(ferrograd.tensor([1, 2])).shape
    /// torch.Size([2])
    "empty_like(Tensor input, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False, MemoryFormat? memory_format=None)"
    => |op, shape, dtype| Tensor::uninitialized(op, shape, dtype.require(op)?);
}

/// The dtype that a number alone gives a tensor.
fn inferred(value: Scalar) -> DType {
    value.dtype()
}

operation! {
    /// A tensor of the given sizes with one number everywhere, whose dtype it takes.
    ///
    /// Dtypes: any; `dtype`, else that of the number: bool, int64 or the default float.
    ///
    /// >>> ferrograd.full((2, 2), 7)
    /// tensor([[7, 7],
    ///         [7, 7]])
    function Size(Noted -> Noted), ["full(Size size, Number fill_value, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"], |_, a| {
        let value = a.number(1)?;
        let dtype = a.dtype(2)?.unwrap_or_else(|| inferred(value));
        finish(full(&sizes("full", a.ints(0)?)?, value, dtype)?, a, 2)
    }
}

operation! {
    /// One number everywhere, in the shape and dtype of another tensor.
    ///
    /// >>> ferrograd.full_like(ferrograd.zeros(2), 7)
    /// tensor([7., 7.])
    function Same(Any -> AskedLike), ["full_like(Tensor input, Number fill_value, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False, MemoryFormat? memory_format=None)"], |_, a| {
        let x = a.tensor(0)?;
        let (value, dtype) = (a.number(1)?, a.dtype(2)?.unwrap_or(x.dtype()));
        alike(x, a, 2, |shape| full(shape, value, dtype))
    }
}

operation! {
    /// Numbers from `start` to below `end` by `step`: int64 where all three are integers.
    ///
    /// Shapes: `(n,)` with `n = ceil((end - start) / step)`.
    /// Dtypes: any but bool; `dtype`, else int64 for integers and the default float for others.
    ///
    /// >>> ferrograd.arange(1, 7, 2)
    /// tensor([1, 3, 5])
    function Noted(Noted -> Noted), [
        "arange(Number end, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)",
        "arange(Number start, Number end, Number step=1, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"
    ], |n, a| {
        let (start, end, step, rest) = match n {
            0 => (Scalar::Int(0), a.number(0)?, Scalar::Int(1), 1),
            _ => (a.number(0)?, a.number(1)?, a.number(2)?, 3),
        };
        finish(arange(start, end, step, a.dtype(rest)?)?, a, rest)
    }
}

/// The error for a step that leads away from the end.
pub(super) fn inconsistent(op: &'static str, start: Scalar, end: Scalar, step: Scalar) -> Error {
    let what = format!("upper bound and lower bound inconsistent with step sign: from {start} to {end} by {step}");
    Error::Invalid { op, what }
}

/// Numbers from `start` to below `end` by `step`.
///
/// # Errors
/// For a step of zero or away from the end, and for numbers that are not finite.
pub fn arange(start: Scalar, end: Scalar, step: Scalar, dtype: Option<DType>) -> Result<Tensor> {
    let whole = [start, end, step].iter().all(|n| n.dtype().category() <= Category::Integer);
    let dtype = dtype.unwrap_or(if whole { DType::I64 } else { default_dtype() });
    let wrong = |argument, rule, given| Err(Error::Range { op: "arange", argument, rule, given });
    let (s, e, d) = (start.as_f64(), end.as_f64(), step.as_f64());
    if !s.is_finite() || !e.is_finite() {
        return wrong("start and end", "must be finite", if s.is_finite() { e } else { s });
    }
    if !dtype.is_floating_point() {
        [start, end, step].iter().try_for_each(|n| n.check_fits("arange", DType::I64))?;
    }
    if !dtype.is_floating_point() && d.trunc() == 0.0 && d != 0.0 {
        let (argument, rule, given) = ("step", "must be nonzero as an integer", step.as_f64().to_string());
        return Err(Error::Argument { op: "arange", argument, rule, given });
    }
    if d == 0.0 || d.is_nan() {
        return wrong("step", "must be nonzero", d);
    }
    if (e - s) * d < 0.0 {
        return Err(inconsistent("arange", start, end, step));
    }
    dtype.require_numbers("arange")?;
    // As in torch, only a range of int64 is one between integers; others have as many numbers as a range of floats.
    let count = if dtype.is_floating_point() || dtype != DType::I64 && !whole {
        ((e - s) / d).ceil()
    } else {
        // Exact, where floats would round.
        let exact = |n: Scalar| i128::from(n.as_i64());
        let (span, step) = (exact(end) - exact(start), exact(step));
        ((span + step - step.signum()) / step) as f64
    };
    if count > isize::MAX as f64 {
        return Err(Error::SizeOverflow { op: "arange", shape: vec![isize::MAX] });
    }
    let y = Tensor::uninitialized("arange", &[count as usize], dtype)?;
    dispatch!("arange", dtype, T => {
        // SAFETY: the tensor is new, contiguous and of this type.
        let out = unsafe { std::slice::from_raw_parts_mut(y.data_ptr().cast::<T>(), y.numel()) };
        if dtype.is_floating_point() {
            ramp::floats(out, s, d);
        } else {
            ramp::whole(out, start.as_i64(), step.as_i64());
        }
    });
    Ok(y)
}

operation! {
    /// `steps` numbers from `start` to `end`, evenly spaced, both ends included: from each end to the middle, so that
    /// both are exact.
    ///
    /// Shapes: `(steps,)`.
    ///
    /// >>> ferrograd.linspace(0, 1, 5)
    /// tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    function Noted(Numbers -> Asked), ["linspace(Operand start, Operand end, int steps, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"], |_, a| {
        let dtype = a.dtype(3)?.unwrap_or_else(default_dtype);
        let (start, end) = (bound(a, 0)?.wrapped("linspace", dtype)?, bound(a, 1)?.wrapped("linspace", dtype)?);
        finish(linspace(start.as_f64(), end.as_f64(), a.int(2)?, dtype)?, a, 3)
    }
}

/// The number at one end of a space, which may be that of a tensor without dimensions.
pub(super) fn bound(a: &Arguments, n: usize) -> Result<Scalar> {
    match a.operand(n)? {
        Operand::Number(number) => Ok(number),
        Operand::Tensor(t) if t.rank() == 0 => t.item(),
        Operand::Tensor(t) => {
            let expected = "tensors without dimensions as start and end";
            Err(Error::Rank { op: a.op, expected, shape: t.shape().to_vec() })
        }
    }
}

/// `steps` evenly spaced numbers.
///
/// # Errors
/// For a negative number of steps.
pub fn linspace(start: f64, end: f64, steps: isize, dtype: DType) -> Result<Tensor> {
    let Ok(count) = usize::try_from(steps) else {
        return Err(Error::Range {
            op: "linspace",
            argument: "number of steps",
            rule: "must be non-negative",
            given: steps as f64,
        });
    };
    dtype.require_numbers("linspace")?;
    if !dtype.is_floating_point() {
        [start, end].into_iter().try_for_each(|bound| Scalar::Float(bound).check_fits("linspace", dtype))?;
    }
    let y = Tensor::uninitialized("linspace", &[count], dtype)?;
    let gaps = count.saturating_sub(1).max(1);
    macro_rules! fill {
        ($t:ty) => {{
            let (first, last) = (start as $t, end as $t);
            let step = (last - first) / gaps as $t;
            // SAFETY: the tensor is new, contiguous and of this type.
            let out = unsafe { std::slice::from_raw_parts_mut(y.data_ptr().cast::<$t>(), count) };
            ramp::linspace(out, first, last, step);
        }};
    }
    match dtype {
        DType::F32 => fill!(f32),
        DType::F64 => fill!(f64),
        DType::F16 | DType::BF16 => return super::cast::to(&linspace(start, end, steps, DType::F32)?, dtype),
        _ => {
            let (start, end) = (start.trunc(), end.trunc());
            let step = (end - start) / gaps as f64;
            let value = |i: usize| {
                let first_half = i < count / 2 || count == 1;
                if first_half { start + step * i as f64 } else { end - step * (count - 1 - i) as f64 }
            };
            let mut values: Vec<Scalar> = reserved("linspace", count)?;
            values.extend((0..count).map(|i| Scalar::Int(value(i) as i64)));
            return Tensor::from_scalars(&values, &[count], dtype);
        }
    }
    Ok(y)
}

operation! {
    /// A matrix with ones on the diagonal and zeros elsewhere.
    ///
    /// Shapes: `(n, m)`, `(n, n)` where `m` is not given.
    ///
    /// >>> ferrograd.eye(2)
    /// tensor([[1., 0.],
    ///         [0., 1.]])
    function Noted(Any -> Asked), [
        "eye(int n, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)",
        "eye(int n, int m, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"
    ], |n, a| {
        let columns = if n == 0 { a.int(0)? } else { a.int(1)? };
        let shape = sizes("eye", &[a.int(0)?, columns])?;
        let y = diagonal_ones(shape[0], shape[1], a.dtype(n + 1)?.unwrap_or_else(default_dtype))?;
        finish(y, a, n + 1)
    }
}

/// Ones on the diagonal and zeros elsewhere.
pub(super) fn diagonal_ones(rows: usize, columns: usize, dtype: DType) -> Result<Tensor> {
    let y = Tensor::zeros(&[rows, columns], dtype)?;
    let diagonal = Layout {
        shape: smallvec::smallvec![rows.min(columns)],
        // So many columns as have no next number have no rows.
        strides: smallvec::smallvec![(columns as isize).saturating_add(1)],
        offset: 0,
    };
    super::copy::write(&y.alias(diagonal, false), &Tensor::scalar(1i64, dtype)?)?;
    Ok(y)
}
