//! Covariances, correlations, and integrals of sampled functions.

use super::arithmetic::{add, div, div_within, mul, mul_within, sub};
use super::registry::operation;
use super::{cast, compare, contract, index, scan, sum, unary, view};
use crate::error::{Error, Result};
use crate::memory::listed;
use crate::tensor::Tensor;
use crate::tensor::dtype::{Category, DType};
use crate::tensor::layout::wrap_dim;

fn refused<T>(op: &'static str, what: String) -> Result<T> {
    Err(Error::Invalid { op, what })
}

operation! {
    /// Covariances of the rows, which are variables, over the columns, which are observations: `fweights` say how often each
    /// was made, `aweights` how much it counts.
    ///
    /// Shapes: `(n, k), (k,), (k,) -> (n, n)`; a vector gives no dimensions.
    ///
    /// >>> ferrograd.tensor([[0.0, 2.0], [1.0, 5.0]]).cov()
    /// tensor([[2., 4.],
    ///         [4., 8.]])
    function Noted(Numbers -> Float), ["cov(Tensor self, *, int correction=1, Tensor? fweights=None, Tensor? aweights=None)"], |_, a| {
        Ok(cov(a.tensor(0)?, a.int(1)?, a.maybe_tensor(2)?, a.maybe_tensor(3)?)?.into())
    }
}

/// Covariances of the rows over the columns.
///
/// # Errors
/// For more than two dimensions, bool, and weights that do not fit.
pub fn cov(x: &Tensor, correction: isize, fweights: Option<&Tensor>, aweights: Option<&Tensor>) -> Result<Tensor> {
    const OP: &str = "cov";
    if x.rank() > 2 {
        let what = format!("expected input to have two or fewer dimensions but got an input with {}", x.rank());
        return refused(OP, what);
    }
    if x.dtype() == DType::Bool {
        return refused(OP, "bool dtype is not supported for input".into());
    }
    let x = if x.rank() < 2 { view::reshape(x, &[1, -1])? } else { x.clone() };
    let n = x.shape()[1];
    check_weights(OP, "fweights", fweights, n, Category::Integer)?;
    check_weights(OP, "aweights", aweights, n, Category::Float)?;
    let weights = match (fweights, aweights) {
        (Some(f), Some(a)) => Some(mul(f, a)?),
        (f, a) => f.or(a).cloned(),
    };
    let total = match &weights {
        Some(w) => {
            let total = sum::sum(w, &[], false, None)?;
            if total.item()?.as_f64() == 0.0 {
                return refused(OP, "weights sum to zero, can't be normalized".into());
            }
            total
        }
        None => Tensor::scalar(n as i64, DType::I64)?,
    };
    let weighted = |x: &Tensor| weights.as_ref().map_or_else(|| Ok(x.clone()), |w| mul(x, w));
    let average = div(&sum::sum(&weighted(&x)?, &[1], false, None)?, &total)?;
    let factor = match (&weights, aweights) {
        (Some(w), Some(a)) if correction != 0 => {
            let squares = sum::sum(&mul(w, a)?, &[], false, None)?;
            sub(&total, &div(&mul(&squares, correction as i64)?, &total)?)?
        }
        _ => sub(&total, correction as i64)?,
    };
    let factor = compare::where_(&compare::le(&factor, 0)?, 0, &factor)?;
    let centred = sub(&x, &view::unsqueeze(&average, 1)?)?;
    let other = cast::to(&view::t(&weighted(&centred)?)?, centred.dtype())?;
    view::squeeze(&div(&contract::mm(&centred, &other)?, &factor)?, None)
}

fn check_weights(op: &'static str, name: &str, weights: Option<&Tensor>, n: usize, category: Category) -> Result<()> {
    let Some(w) = weights else { return Ok(()) };
    if w.rank() > 1 {
        return refused(op, format!("expected {name} to have one or fewer dimensions but got {}", w.rank()));
    }
    if w.dtype().category() != category {
        let kind = if category == Category::Integer { "integral" } else { "floating point" };
        return refused(op, format!("expected {name} to have {kind} dtype but got {}", w.dtype()));
    }
    if w.numel() != n {
        return refused(
            op,
            format!("expected {name} to have the same numel as there are observations: {} and {n}", w.numel()),
        );
    }
    let least = super::extremum::amin(&w.detach(), &[], false);
    if least.is_ok_and(|l| l.item().is_ok_and(|l| l.as_f64() < 0.0)) {
        return refused(op, format!("{name} cannot be negative"));
    }
    Ok(())
}

operation! {
    /// Pearson's correlation coefficients of the rows, which are variables, over the columns.
    ///
    /// Shapes: `(n, k) -> (n, n)`; a vector gives no dimensions.
    ///
    /// >>> ferrograd.tensor([[0.0, 1.0], [1.0, 3.0]]).corrcoef()
    /// tensor([[1., 1.],
    ///         [1., 1.]])
    function Noted(Numbers -> Float), ["corrcoef(Tensor self)"], |_, a| Ok(corrcoef(a.tensor(0)?)?.into())
}

/// Correlation coefficients of the rows.
///
/// # Errors
/// As [`cov`].
pub fn corrcoef(x: &Tensor) -> Result<Tensor> {
    if x.rank() > 2 {
        let what = format!("expected input to have two or fewer dimensions but got an input with {}", x.rank());
        return refused("corrcoef", what);
    }
    let c = cov(x, 1, None, None)?;
    if c.rank() == 0 {
        return div(&c, &c);
    }
    let n = c.shape()[0] as i64;
    let diagonal = Tensor::from_slice(&listed(n as usize, (0..n).map(|i| i * (n + 1))));
    let deviation = unary::sqrt(&index::take_along(&view::reshape(&c, &[-1])?, 0, &diagonal)?)?;
    let c = div(&div(&c, &view::reshape(&deviation, &[-1, 1])?)?, &view::reshape(&deviation, &[1, -1])?)?;
    compare::clamp(&c, Some((-1.0).into()), Some(1.0.into()))
}

operation! {
    /// The integral of a sampled function by the trapezoidal rule, along a dimension: samples at `x`, or `dx` apart.
    ///
    /// Shapes: any of at least one dimension; without `dim`.
    ///
    /// >>> ferrograd.trapezoid(ferrograd.tensor([1.0, 2.0, 3.0]))
    /// tensor(4.)
    function Noted(Numbers -> Float), ["trapezoid(Tensor y, Tensor x, *, int dim=-1)", "trapezoid(Tensor y, *, Number dx=1, int dim=-1)"; also "trapz"], |n, a| {
        Ok(match n {
            0 => integral("trapezoid", a.tensor(0)?, Some(a.tensor(1)?), 1.0, a.int(2)?, false)?,
            _ => integral("trapezoid", a.tensor(0)?, None, a.float(1)?, a.int(2)?, false)?,
        }.into())
    }
}

operation! {
    /// The running integral of a sampled function by the trapezoidal rule, along a dimension.
    ///
    /// Shapes: any of at least one dimension; one element less along `dim`.
    ///
    /// >>> ferrograd.cumulative_trapezoid(ferrograd.tensor([1.0, 2.0, 3.0]))
    /// tensor([1.5000, 4.0000])
    function Noted(Numbers -> Float), ["cumulative_trapezoid(Tensor y, Tensor x, *, int dim=-1)", "cumulative_trapezoid(Tensor y, *, Number dx=1, int dim=-1)"], |n, a| {
        Ok(match n {
            0 => integral("cumulative_trapezoid", a.tensor(0)?, Some(a.tensor(1)?), 1.0, a.int(2)?, true)?,
            _ => integral("cumulative_trapezoid", a.tensor(0)?, None, a.float(1)?, a.int(2)?, true)?,
        }.into())
    }
}

/// The integral of samples `y` at `x`, or `dx` apart; running where asked for.
fn integral(op: &'static str, y: &Tensor, x: Option<&Tensor>, dx: f64, dim: isize, running: bool) -> Result<Tensor> {
    if y.rank() == 0 {
        return Err(Error::NoDimensions { op, dim });
    }
    let d = wrap_dim(op, dim, y.rank())?;
    let n = y.shape().get(d).copied().unwrap_or(1) as isize;
    if y.dtype() == DType::Bool || x.is_some_and(|x| x.dtype() == DType::Bool) {
        return refused(op, "received a bool input for `x` or `y`, but bool is not supported".into());
    }
    if n == 0 && running {
        return mul(y, 1.0);
    }
    if n == 0 {
        let shape: Vec<usize> = y.shape().iter().enumerate().filter(|(i, _)| *i != d).map(|(_, &s)| s).collect();
        return Tensor::zeros(&shape, y.dtype());
    }
    let halves = |t: &Tensor, dim: isize| -> Result<[Tensor; 2]> {
        let n = t.shape()[wrap_dim(op, dim, t.rank())?] as isize;
        Ok([view::narrow(t, dim, 0, n - 1)?, view::narrow(t, dim, 1, n - 1)?])
    };
    let Some(x) = x else {
        if running {
            let [left, right] = halves(y, dim)?;
            return scan::cumsum(&mul_within(&add(&left, &right)?, dx / 2.0)?, dim, None);
        }
        // dx (sum(y) - (first + last) / 2)
        let ends = mul_within(&add(&view::select(y, dim, 0)?, &view::select(y, dim, -1)?)?, 0.5)?;
        return mul_within(&sub(&sum::sum(y, &[dim], false, None)?, &ends)?, dx);
    };
    if x.rank() == 0 {
        return refused(op, "expected x to have at least one dimension".into());
    }
    let samples = x.shape()[if x.rank() == 1 { 0 } else { wrap_dim(op, dim, x.rank())? }];
    if samples as isize != n {
        return refused(op, format!("there must be one `x` value for each sample point, got {samples} and {n}"));
    }
    let steps = if x.rank() == 1 {
        let [left, right] = halves(x, 0)?;
        let mut shape = vec![1isize; y.rank()];
        shape[d] = n - 1;
        view::reshape(&sub(&right, &left)?, &shape)?
    } else {
        let [left, right] = halves(x, dim)?;
        sub(&right, &left)?
    };
    let [left, right] = halves(y, dim)?;
    let areas = mul(&add(&left, &right)?, &steps)?;
    if running {
        return div_within(&scan::cumsum(&areas, dim, None)?, 2.0);
    }
    div_within(&sum::sum(&areas, &[dim], false, None)?, 2.0)
}
