//! The direct way of few elements of one floating-point type: the formula itself, element by element. No program, no
//! blocks, and no locks for what is read.

use smallvec::SmallVec;

use super::formula::{Float, OPERANDS, Operand, Pointwise, Rule};
use super::pointwise::SOURCES;
use crate::error::Result;
use crate::kernels::element::number;
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::{Layout, Shape};
use crate::tensor::pending;
use crate::tensor::scalar::Scalar;
use crate::tensor::storage::{Access, Buffer, Versioning};

/// Up to this many elements, making a program ready costs more than what its vectors save.
const FEW: usize = 16;

/// True for so many elements, where they do not wait to be computed with others.
#[inline]
fn is_few(n: usize) -> bool {
    n == 1 || n != 0 && n <= FEW && n < pending::threshold()
}

/// What a formula reads for each element of its result.
#[derive(Clone, Copy)]
enum Source<'a, T> {
    /// An element, and how far the next is from it.
    Elements(&'a Buffer, usize, usize),
    /// The same number.
    Number(T),
}

impl<'a, T: Float> Source<'a, T> {
    /// `None` for tensors that do not lie side by side with the result's elements.
    #[inline]
    fn of(operand: &Operand<'a>, shape: &[usize]) -> Option<Self> {
        Some(match operand {
            Operand::Tensor(t) => Source::Elements(t.storage(), t.layout().offset, step(t, shape)?),
            Operand::Number(s) => Source::Number(number(*s)),
        })
    }

    #[inline]
    fn at(&self, i: usize) -> T {
        match self {
            // SAFETY: the element lies in the storage, aligned for its type, which has four or eight bytes.
            Source::Elements(buffer, first, step) => unsafe { buffer.read_element(first + i * step) },
            Source::Number(x) => *x,
        }
    }
}

/// The value of an operand with a single element.
#[inline]
fn element<T: Float>(operand: &Operand) -> T {
    match operand {
        Operand::Tensor(t) => peek(t),
        Operand::Number(s) => number(*s),
    }
}

/// How far apart a tensor's elements lie for a result of a shape: next to each other, or one for all.
#[inline]
fn step(t: &Tensor, shape: &[usize]) -> Option<usize> {
    match () {
        () if t.numel() == 1 => Some(0),
        () if t.shape() != shape => None,
        // Strides of dimensions of size 1 count beside tensors of other shapes.
        () if t.is_contiguous() && (t.rank() < 2 || t.layout().is_row_major()) => Some(1),
        () => t.strides().iter().all(|&s| s == 0).then_some(0),
    }
}

/// The tensor that has the shape and the type of the result of an operation on few elements.
#[inline]
fn leading<'a>(spec: &Pointwise, operands: &[Operand<'a>]) -> Option<&'a Tensor> {
    if matches!(spec.rule, Rule::Logical | Rule::Where | Rule::Bits | Rule::Integer) {
        return None;
    }
    let mut leading: Option<&Tensor> = None;
    for operand in operands {
        let t = match operand {
            Operand::Tensor(t) => t,
            // Arithmetic with truth values has rules of its own.
            Operand::Number(Scalar::Bool(_)) => return None,
            // Bounds that do not fit are errors; what is one at all of float32 is rare enough to go the long way.
            Operand::Number(n) if spec.rule == Rule::Bounds && n.check_fits(spec.name, DType::F32).is_err() => {
                return None;
            }
            Operand::Number(_) => continue,
        };
        let n = t.numel();
        let Some(l) = leading else {
            if !is_few(n) {
                return None;
            }
            leading = Some(t);
            continue;
        };
        if !is_few(n) || l.dtype() != t.dtype() {
            return None;
        }
        if n > 1 && l.numel() > 1 {
            if l.shape() != t.shape() {
                return None;
            }
        } else if t.rank() > l.rank() || n > 1 {
            // Where one of two has a single element, the other has the shape only if it has the dimensions too.
            if t.rank() < l.rank() || l.numel() > 1 {
                return None;
            }
            leading = Some(t);
        }
    }
    leading
}

/// A tensor of the values that `f` gives.
#[inline]
fn tensor<T: Float>(shape: &[usize], n: usize, f: impl Fn(usize) -> T) -> Result<Tensor> {
    tensor_of(T::DTYPE, shape, n, f)
}

/// As [`tensor`], of elements of a dtype.
#[inline]
fn tensor_of<E>(dtype: DType, shape: &[usize], n: usize, f: impl Fn(usize) -> E) -> Result<Tensor> {
    debug_assert_eq!(dtype.size(), size_of::<E>());
    let storage = Buffer::allocate("tensor", n * size_of::<E>())?;
    let elements = storage.as_ptr().cast::<E>();
    for i in 0..n {
        // SAFETY: the storage is new and holds `n` elements.
        unsafe { elements.add(i).write(f(i)) };
    }
    let layout = if n == 1 {
        Layout { shape: Shape::from_slice(shape), strides: SmallVec::from_elem(1, shape.len()), offset: 0 }
    } else {
        Layout::contiguous(shape)
    };
    Ok(Tensor::new(storage, layout, dtype, Versioning::fresh()))
}

/// Calls a function for the floating-point type of a tensor.
macro_rules! for_float {
    ($dtype:expr, $function:ident($($argument:expr),*)) => {
        match $dtype {
            DType::F32 => $function::<f32>($($argument),*),
            DType::F64 => $function::<f64>($($argument),*),
            _ => None,
        }
    };
}

/// The value of an operation; `None` for other operands than few elements of one floating-point type.
#[inline]
pub(super) fn forward(spec: &'static Pointwise, operands: &[Operand]) -> Option<Result<Tensor>> {
    let like = leading(spec, operands)?;
    for_float!(like.dtype(), forward_as(spec, operands, like))
}

#[inline]
fn forward_as<T: Float>(spec: &'static Pointwise, operands: &[Operand], like: &Tensor) -> Option<Result<Tensor>> {
    let one = T::one(spec);
    if like.numel() == 1 {
        // Then all operands have.
        let mut x = [T::from_i64(1); OPERANDS];
        x.iter_mut().zip(operands).for_each(|(x, operand)| *x = element(operand));
        return Some(result_of(spec, like.shape(), 1, |_| one(x)));
    }
    let sources = sources::<T, { OPERANDS }>(operands, like.shape())?;
    Some(result_of(spec, like.shape(), like.numel(), |i| one(sources.each_ref().map(|s| s.at(i)))))
}

/// The result of an operation from its values: those of comparisons are truth values.
#[inline]
fn result_of<T: Float>(spec: &Pointwise, shape: &[usize], n: usize, f: impl Fn(usize) -> T) -> Result<Tensor> {
    match spec.rule {
        Rule::Compare => tensor_of(DType::Bool, shape, n, |i| f(i) != T::from_i64(0)),
        _ => tensor(shape, n, f),
    }
}

#[inline]
fn sources<'a, T: Float, const N: usize>(operands: &[Operand<'a>], shape: &[usize]) -> Option<[Source<'a, T>; N]> {
    let mut sources = [Source::Number(T::from_i64(1)); N];
    for (source, operand) in sources.iter_mut().zip(operands) {
        *source = Source::of(operand, shape)?;
    }
    Some(sources)
}

/// The gradient of operand `n`, as [`forward`].
#[inline]
pub(super) fn derivative(
    spec: &Pointwise,
    n: usize,
    g: &Tensor,
    operands: &[Operand; SOURCES],
) -> Option<Result<Tensor>> {
    let fits = |o: &Operand| o.tensor().is_none_or(|t| t.dtype() == g.dtype());
    if !is_few(g.numel()) || !operands.iter().all(fits) {
        return None;
    }
    for_float!(g.dtype(), derivative_as(spec, n, g, operands))
}

#[inline]
fn derivative_as<T: Float>(
    spec: &Pointwise,
    n: usize,
    g: &Tensor,
    operands: &[Operand; SOURCES],
) -> Option<Result<Tensor>> {
    let sources = sources::<T, { SOURCES }>(operands, g.shape())?;
    let derivative = T::derivative(spec, n);
    Some(tensor(g.shape(), g.numel(), |i| {
        let [gradient, a, b, c, d, y] = sources.each_ref().map(|s| s.at(i));
        derivative(gradient, [a, b, c, d], y)
    }))
}

/// The gradient of an operand with a single element, as all operands have one, whose values are known already. Where `spent`,
/// that of the result is not read again: it becomes the operand's, if nobody else has it.
#[inline]
pub(super) fn derivative_of<T: Float>(
    spec: &Pointwise,
    n: usize,
    g: &Tensor,
    values: [T; SOURCES - 1],
    spent: bool,
) -> Result<Tensor> {
    let [a, b, c, d, y] = values;
    let found = T::derivative(spec, n)(peek(g), [a, b, c, d], y);
    if spent && g.is_last() && g.strides().iter().all(|&stride| stride == 1) {
        poke(g, found);
        return Ok(g.clone());
    }
    tensor(g.shape(), 1, |_| found)
}

/// Writes the value of an operation into its first operand; false where that is not to be done here.
#[inline]
pub(super) fn overwrite(spec: &'static Pointwise, operands: &[Operand], target: &Tensor) -> bool {
    let Some(like) = leading(spec, operands) else { return false };
    let alike = like.shape() == target.shape()
        && like.dtype() == target.dtype()
        && (target.numel() == 1 || target.is_contiguous());
    alike && for_float!(target.dtype(), overwrite_as(spec, operands, target)).is_some()
}

#[inline]
fn overwrite_as<T: Float>(spec: &'static Pointwise, operands: &[Operand], target: &Tensor) -> Option<()> {
    let sources = sources::<T, { OPERANDS }>(operands, target.shape())?;
    let one = T::one(spec);
    let mut values = [T::from_i64(0); FEW];
    let values = &mut values[..target.numel()];
    for (i, value) in values.iter_mut().enumerate() {
        *value = one(sources.each_ref().map(|s| s.at(i)));
    }
    let _access = Access::lock([(&**target.storage(), true)]);
    for (i, value) in values.iter().enumerate() {
        // SAFETY: the elements lie in the storage, aligned for their type, next to each other.
        unsafe { target.storage().write_element(target.layout().offset + i, *value) };
    }
    Some(())
}

/// The only element of a tensor of type `T`.
#[inline]
pub(super) fn peek<T: Float>(t: &Tensor) -> T {
    // SAFETY: the element lies in the storage, aligned for its type, which has four or eight bytes.
    unsafe { t.storage().read_element(t.layout().offset) }
}

/// Writes the only element of a tensor of type `T`.
#[inline]
pub(super) fn poke<T: Float>(t: &Tensor, value: T) {
    // SAFETY: as in `peek`.
    unsafe { t.storage().write_element(t.layout().offset, value) }
}
