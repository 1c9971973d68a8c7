//! What an element-wise operation makes of its operands before it computes an element: the dtypes, the shape, the order in
//! memory, and the errors that these have.

use smallvec::SmallVec;

use super::formula::{OPERANDS, Operand, Pointwise, Rule};
use super::{cast, extremum};
use crate::error::{Error, Result};
use crate::kernels::element::{Element, dispatch, number};
use crate::tensor::Tensor;
use crate::tensor::dtype::{Category, DType, Promotion};
use crate::tensor::layout::{self, Layout, Shape, Strides};
use crate::tensor::scalar::Scalar;

/// How a result lies in memory, where that is not in row-major order: as torch has it, in the order of the first operand
/// that has one.
pub(super) fn layout(operands: &[Operand], shape: &[usize]) -> Option<Layout> {
    let tensors = || operands.iter().filter_map(|o| o.tensor());
    // Strides of dimensions of size 1 count only beside tensors of other shapes.
    let is_plain = |t: &Tensor| t.is_contiguous() && (t.shape() == shape || t.layout().is_row_major());
    if tensors().all(is_plain) {
        return None;
    }
    let first = tensors().next()?.layout();
    let strides = if tensors().all(|t| t.shape() == shape && t.strides() == &first.strides[..]) && first.is_dense() {
        first.strides.clone()
    } else {
        let strides: SmallVec<[Strides; OPERANDS]> =
            tensors().map(|t| t.layout().broadcast_to(shape).strides).collect();
        let strides: SmallVec<[&[isize]; OPERANDS]> = strides.iter().map(|s| &s[..]).collect();
        layout::strides_in(shape, &layout::memory_order(shape, &strides))
    };
    let found = Layout { shape: Shape::from_slice(shape), strides, offset: 0 };
    (!found.is_row_major()).then_some(found)
}

/// Errors that depend on the numbers: integers have no quotient by zero and no negative powers.
pub(super) fn refuse(spec: &Pointwise, compute: DType, operands: &[Operand]) -> Result<()> {
    let is_empty = |o: &Operand| o.tensor().is_some_and(|t| t.numel() == 0);
    if let (Rule::Power, Some(Operand::Number(power))) = (spec.rule, operands.get(1)) {
        if !compute.is_floating_point() && power.as_f64() < 0.0 {
            return Err(Error::NegativeIntegerPower { op: spec.name, given: power.to_string() });
        }
        if is_short(compute) {
            power.check_fits(spec.name, compute)?;
        }
    }
    if compute.is_floating_point() || operands.iter().any(is_empty) {
        return Ok(());
    }
    match (spec.rule, operands.get(1)) {
        // A divisor is zero as the numbers computed with hold it: 256 is, beside uint8.
        (Rule::Quotient, Some(divisor)) => {
            let has_zero = match divisor {
                Operand::Number(s) => dispatch!(spec.name, compute, T => !number::<T>(*s).to_bool()),
                Operand::Tensor(t) => !extremum::all_true(spec.name, &cast::to(t, compute)?)?,
            };
            if has_zero { Err(Error::IntegerDivisionByZero { op: spec.name }) } else { Ok(()) }
        }
        // Numbers wrap to the dtype elsewhere; torch makes tensors of these first.
        (Rule::Power, Some(Operand::Number(s))) => s.check_fits(spec.name, compute),
        _ => Ok(()),
    }
}

/// True for floats of 16 bits.
pub(super) fn is_short(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// The type that operands promote to.
pub(super) fn promoted(operands: &[Operand]) -> DType {
    let mut promotion = Promotion::default();
    for operand in operands {
        match operand {
            Operand::Tensor(t) => promotion.tensor(t.dtype(), t.rank()),
            Operand::Number(s) => promotion.number(s.dtype()),
        }
    }
    promotion.result()
}

/// The type to compute in and the type of the result.
pub(super) fn dtypes(spec: &Pointwise, operands: &[Operand]) -> Result<(DType, DType)> {
    let skip = usize::from(spec.rule == Rule::Where);
    let promoted = promoted(&operands[skip..]);
    refuse_beyond(spec.name, promoted, &operands[skip..])?;
    refuse_kinds(spec, operands)?;
    promoted.require(spec.name)?;
    ruled(spec, operands, promoted)
}

/// What a rule refuses among the operands, whatever they promote to.
fn refuse_kinds(spec: &Pointwise, operands: &[Operand]) -> Result<()> {
    let is_bool = |o: &Operand| match o {
        Operand::Tensor(t) => t.dtype() == DType::Bool,
        Operand::Number(n) => matches!(n, Scalar::Bool(_)),
    };
    if spec.rule == Rule::Subtract && operands.iter().any(is_bool) {
        let rule = "subtraction with a bool is not supported; use logical_xor, or ~ to invert a mask";
        return Err(Error::DTypeInvalid { op: spec.name, dtype: DType::Bool, rule });
    }
    if let (Rule::Where, Some(Operand::Tensor(condition))) = (spec.rule, operands.first())
        && !matches!(condition.dtype(), DType::Bool | DType::U8)
    {
        let rule = "expected condition to be a boolean tensor";
        return Err(Error::DTypeInvalid { op: spec.name, dtype: condition.dtype(), rule });
    }
    Ok(())
}

/// As [`dtypes`], for operands that promote to a type.
fn ruled(spec: &Pointwise, operands: &[Operand], promoted: DType) -> Result<(DType, DType)> {
    let unsupported = |hint| Err(Error::DTypeUnsupported { op: spec.name, dtype: promoted, hint });
    match spec.rule {
        Rule::Bits if promoted.is_floating_point() => {
            let what = format!("a bitwise operation on {promoted}: it takes bool and integers only; this");
            Err(Error::NotImplemented { op: spec.name, what })
        }
        Rule::Bits => Ok((promoted, promoted)),
        Rule::Integer if promoted.category() != Category::Integer => {
            let what = format!("\"{}\" for {promoted}: it takes integers only; this", spec.name);
            Err(Error::NotImplemented { op: spec.name, what })
        }
        Rule::Real if !promoted.is_floating_point() => Err(not_real(spec.name, promoted)),
        Rule::Real | Rule::Integer => Ok((promoted, promoted)),
        // Truth values to the power of one are what they are, and true to that of none.
        Rule::Power if promoted == DType::Bool && matches!(operands.get(1), Some(Operand::Number(_))) => {
            Ok((promoted, promoted))
        }
        // One bound that is a tensor makes it the larger or the smaller of two truth values.
        Rule::Bounds
            if promoted == DType::Bool && operands[1..].iter().filter(|o| o.tensor().is_some()).count() == 1 =>
        {
            Ok((promoted, promoted))
        }
        Rule::Number | Rule::Bounds | Rule::Quotient | Rule::Power if promoted == DType::Bool => {
            unsupported("truth values have no such arithmetic; convert with .to(...), or use logical_not and its kin")
        }
        // Numbers beyond floats of 16 bits are infinite beside them, and no bounds of them.
        Rule::Where if is_short(promoted) => Ok((promoted, promoted)),
        Rule::Where | Rule::Bounds => {
            let skip = usize::from(spec.rule == Rule::Where);
            let mut numbers =
                operands[skip..].iter().filter_map(|o| if let Operand::Number(n) = o { Some(n) } else { None });
            numbers.try_for_each(|n| n.check_fits(spec.name, promoted))?;
            Ok((promoted, promoted))
        }
        Rule::Promote | Rule::Subtract => Ok((promoted, promoted)),
        Rule::Signed if promoted == DType::Bool => {
            let rule = "truth values have no sign; use logical_not, or ~ to invert a mask";
            Err(Error::DTypeInvalid { op: spec.name, dtype: DType::Bool, rule })
        }
        Rule::Number | Rule::Signed | Rule::Quotient | Rule::Power => Ok((promoted, promoted)),
        Rule::Float if promoted.category() <= Category::Integer => {
            let float = crate::tensor::default_dtype();
            Ok((float, float))
        }
        Rule::Float => Ok((promoted, promoted)),
        Rule::Compare | Rule::Logical => Ok((promoted, DType::Bool)),
    }
}

/// An integer beyond int64 wraps as those of tensors do, and so needs one of integers or floats beside it.
fn refuse_beyond(op: &'static str, promoted: DType, operands: &[Operand]) -> Result<()> {
    let is_number = |o: &Operand| o.tensor().is_some_and(|t| t.dtype() > DType::Bool);
    match operands.iter().find(|o| matches!(o, Operand::Number(Scalar::Unsigned(_)))) {
        Some(Operand::Number(n)) if !operands.iter().any(is_number) => n.check_fits(op, promoted),
        _ => Ok(()),
    }
}

fn not_real(op: &'static str, dtype: DType) -> Error {
    Error::NotImplemented { op, what: format!("\"{op}\" for {dtype}: it takes floating-point numbers only; this") }
}

/// Whether a tensor is of floating-point numbers itself, whatever the numbers that it is combined with.
///
/// # Errors
/// For all others.
pub(super) fn real(op: &'static str, x: &Tensor) -> Result<()> {
    if x.dtype().is_floating_point() { Ok(()) } else { Err(not_real(op, x.dtype())) }
}

/// The shape that all operands broadcast to.
pub(super) fn shape(op: &'static str, operands: &[Operand]) -> Result<Shape> {
    let mut tensors = operands.iter().filter_map(|o| o.tensor());
    let first = tensors.next().map_or_else(Shape::new, |t| t.layout().shape.clone());
    tensors.try_fold(first, |shape, t| layout::broadcast(op, &shape, t.shape()))
}
