//! Sequences of numbers and their powers.

use super::creation::{bound, finish, inconsistent};
use super::registry::operation;
use super::{arithmetic, arrange, cast, join, scan, view};
use crate::error::{Error, Result};
use crate::kernels::element::{dispatch, number};
use crate::kernels::parallel;
use crate::tensor::dtype::DType;
use crate::tensor::scalar::Scalar;
use crate::tensor::{Tensor, default_dtype};

/// Numbers from which threads share the work.
const GRAIN: usize = 1 << 14;

operation! {
    /// Numbers from `start` to `end` by `step`, the end included: the default float where no dtype is given. `arange` leaves
    /// the end out, as Python's ranges do.
    ///
    /// Shapes: `(n,)` with `n = floor((end - start) / step) + 1`.
    ///
    /// >>> ferrograd.range(1, 3)
    /// tensor([1., 2., 3.])
    function Noted(Numbers -> Asked), ["range(Number start, Number end, Number step=1, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"], |_, a| {
        let (first, last, by) = (a.number(0)?, a.number(1)?, a.number(2)?);
        let (start, end, step) = (first.as_f64(), last.as_f64(), by.as_f64());
        let dtype = a.dtype(3)?.unwrap_or_else(default_dtype);
        let wrong = |argument, rule, given| Err(Error::Range { op: "range", argument, rule, given });
        if step == 0.0 || step.is_nan() {
            return wrong("step", "must be nonzero", step);
        }
        if !start.is_finite() || !end.is_finite() {
            return wrong("start and end", "must be finite", if start.is_finite() { end } else { start });
        }
        if (end - start) * step < 0.0 {
            return Err(inconsistent("range", first, last, by));
        }
        // A range of integers is one between integers.
        let (start, end, step) = if dtype.is_floating_point() {
            (start, end, step)
        } else {
            [first, last, by].iter().try_for_each(|n| n.check_fits("range", DType::I64))?;
            (start.trunc(), end.trunc(), step.trunc())
        };
        if step == 0.0 {
            return Err(Error::Argument {
                op: "range",
                argument: "step",
                rule: "must be nonzero as an integer",
                given: by.as_f64().to_string(),
            });
        }
        let count = ((end - start) / step).floor() + 1.0;
        if count > isize::MAX as f64 / 8.0 {
            return Err(Error::SizeOverflow { op: "range", shape: vec![isize::MAX] });
        }
        dtype.require_numbers("range")?;
        let y = Tensor::uninitialized("range", &[count as usize], dtype)?;
        dispatch!("range", dtype, T => {
            // SAFETY: the tensor is new, contiguous and of this type.
            parallel::for_each_slice(unsafe { y.elements_mut::<T>() }, GRAIN, |first, part| {
                for (n, part) in part.chunks_mut(GRAIN).enumerate() {
                    // Small integers become floats by vectors.
                    let at = |i: usize| (first + n * GRAIN) as f64 + f64::from(i as i32);
                    part.iter_mut().enumerate().for_each(|(i, to)| *to = number(Scalar::Float(start + at(i) * step)));
                }
            });
        });
        finish(y, a, 3)
    }
}

operation! {
    /// `base` to the powers of `steps` numbers evenly spaced from `start` to `end`, both ends included.
    ///
    /// Shapes: `(steps,)`.
    ///
    /// >>> ferrograd.logspace(0, 2, 3)
    /// tensor([  1.,  10., 100.])
    function Noted(Numbers -> Asked), ["logspace(Operand start, Operand end, int steps, Number base=10.0, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"], |_, a| {
        let dtype = a.dtype(4)?.unwrap_or_else(default_dtype);
        let (start, end) = (bound(a, 0)?.wrapped("logspace", dtype)?, bound(a, 1)?.wrapped("logspace", dtype)?);
        finish(logspace(start.as_f64(), end.as_f64(), a.int(2)?, a.float(3)?, dtype)?, a, 4)
    }
}

/// Powers with evenly spaced exponents.
///
/// # Errors
/// For a negative number of steps.
pub fn logspace(start: f64, end: f64, steps: isize, base: f64, dtype: DType) -> Result<Tensor> {
    let Ok(count) = usize::try_from(steps) else {
        let (argument, rule) = ("number of steps", "must be non-negative");
        return Err(Error::Range { op: "logspace", argument, rule, given: steps as f64 });
    };
    dtype.require_numbers("logspace")?;
    let gaps = count.saturating_sub(1).max(1);
    // The exponents are numbers of the dtype where that is a float of 32 bits.
    let rounded = |x: f64| if dtype == DType::F32 { f64::from(x as f32) } else { x };
    let (start, end) =
        if dtype.is_floating_point() { (rounded(start), rounded(end)) } else { (start.trunc(), end.trunc()) };
    let step = rounded((end - start) / gaps as f64);
    let exponent = |i: usize| {
        if i < count / 2 || count == 1 {
            rounded(start + rounded(step * i as f64))
        } else {
            rounded(end - rounded(step * (count - 1 - i) as f64))
        }
    };
    let exponents = Tensor::uninitialized("logspace", &[count], DType::F64)?;
    // SAFETY: the tensor is new and contiguous.
    let all = unsafe { exponents.elements_mut::<f64>() };
    parallel::for_each_slice(all, GRAIN, |start, part| {
        part.iter_mut().enumerate().for_each(|(i, to)| *to = exponent(start + i));
    });
    cast::to(&arithmetic::pow(Scalar::Float(base), &exponents)?, dtype)
}

operation! {
    /// The powers of a vector's elements as the columns of a matrix, from power `N - 1` down to 0, or up to it with
    /// `increasing`; as many as there are elements where `N` is not given.
    ///
    /// Shapes: `(n,) -> (n, N)`.
    ///
    /// >>> ferrograd.vander(ferrograd.tensor([2, 3]), 3)
    /// tensor([[4, 2, 1],
    ///         [9, 3, 1]])
    function Noted(Any -> Sum), ["vander(Tensor x, int? N=None, bool increasing=False)"], |_, a| {
        Ok(vander(a.tensor(0)?, a.maybe_int(1)?, a.bool(2)?)?.into())
    }
}

operation! {
    /// The powers 0, 1, ... `N - 1` of the elements of vectors as the columns of matrices; as many as there are elements where
    /// `N` is not given.
    ///
    /// Shapes: `(..., n) -> (..., n, N)`.
    /// Raises: RuntimeError for `N` below 2, which a tensor without dimensions needs.
    ///
    /// >>> ferrograd.linalg.vander(ferrograd.tensor([2, 3]))
    /// tensor([[1, 2],
    ///         [1, 3]])
    function Noted(Any -> Sum), ["linalg.vander(Tensor x, *, int? N=None)"], |_, a| {
        // A tensor without dimensions counts as a vector.
        let x = a.tensor(0)?;
        let x = &if x.rank() == 0 { view::unsqueeze(x, 0)? } else { x.clone() };
        let count = a.maybe_int(1)?.unwrap_or(x.shape()[x.rank() - 1] as isize);
        if count < 2 {
            return Err(Error::Invalid { op: a.op, what: format!("N must be greater than 1, but got {count}") });
        }
        let x = view::unsqueeze(&cast::to(x, x.dtype().promote(DType::I64))?, -1)?;
        let mut shape = view::signed(x.shape());
        let last = shape.len() - 1;
        shape[last] = count - 1;
        let first = Tensor::ones(x.shape(), x.dtype())?;
        Ok(join::cat(&[first, scan::cumprod(&view::expand(&x, &shape)?, -1, None)?], -1)?.into())
    }
}

/// The powers of a vector's elements as columns.
///
/// # Errors
/// For another tensor than a vector, and a negative number of columns.
pub fn vander(x: &Tensor, columns: Option<isize>, increasing: bool) -> Result<Tensor> {
    const OP: &str = "vander";
    if x.rank() != 1 {
        return Err(Error::Rank { op: OP, expected: "a one-dimensional tensor", shape: x.shape().to_vec() });
    }
    let columns = columns.unwrap_or(x.numel() as isize);
    let Ok(columns) = usize::try_from(columns) else {
        return Err(Error::Invalid { op: OP, what: format!("N must be non-negative, got {columns}") });
    };
    let dtype = x.dtype().promote(DType::I64);
    if columns == 0 {
        return Tensor::zeros(&[x.numel(), 0], dtype);
    }
    let x = cast::to(x, dtype)?;
    let first = Tensor::ones(&[x.numel(), 1], dtype)?;
    let factors = view::expand(&view::unsqueeze(&x, 1)?, &[x.numel() as isize, columns as isize - 1])?;
    let powers = join::cat(&[first, scan::cumprod(&factors, 1, None)?], 1)?;
    if increasing { Ok(powers) } else { arrange::flip(&powers, &[1]) }
}
