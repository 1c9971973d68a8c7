//! Quantiles: between which elements in ascending order a fraction of a line lies, and what stands there.

use super::formula::Operand;
use super::registry::{Arguments, Output, operation};
use super::{arithmetic, cast, compare, index, sort, sum, unary, view};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::wrap_dim;

/// What stands between two elements.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    Linear,
    Lower,
    Higher,
    Midpoint,
    Nearest,
}

operation! {
    /// The elements below which fractions `q` of a dimension, or of all elements, lie. Between two elements:
    /// `'linear'`, `'lower'`, `'higher'`, `'midpoint'` or `'nearest'`. Several fractions give a first dimension. Not a
    /// number where any element is none.
    ///
    /// >>> ferrograd.quantile(ferrograd.tensor([1.0, 2.0, 3.0, 4.0]), 0.4)
    /// tensor(2.2000)
    function Reduced(Wide -> Kept), ["quantile(Tensor self, Operand q, int? dim=None, bool keepdim=False, *, str interpolation='linear')"], |_, a| called(a, false)
}

operation! {
    /// As `quantile`, of the elements that are a number.
    ///
    /// >>> ferrograd.nanquantile(ferrograd.tensor([1.0, float("nan"), 3.0]), 0.5)
    /// tensor(2.)
    function Reduced(Wide -> Shared), ["nanquantile(Tensor self, Operand q, int? dim=None, bool keepdim=False, *, str interpolation='linear')"], |_, a| called(a, true)
}

fn refused<T>(op: &'static str, what: String) -> Result<T> {
    Err(Error::Invalid { op, what })
}

fn called(a: &Arguments, skip: bool) -> Result<Output> {
    let x = a.tensor(0)?;
    let between = match a.text(4)?.unwrap_or("linear") {
        "linear" => Between::Linear,
        "lower" => Between::Lower,
        "higher" => Between::Higher,
        "midpoint" => Between::Midpoint,
        "nearest" => Between::Nearest,
        other => {
            let rule = "interpolation must be one of linear, lower, higher, midpoint or nearest, but got";
            return refused(a.op, format!("{rule} {other}"));
        }
    };
    if !matches!(x.dtype(), DType::F32 | DType::F64) {
        return refused(a.op, format!("input tensor must be either float or double dtype, got {}", x.dtype()));
    }
    let q = match a.operand(1)? {
        Operand::Tensor(q) => q.clone(),
        Operand::Number(q) => {
            let q = q.as_f64();
            if !(0.0..=1.0).contains(&q) {
                return refused(a.op, format!("q must be in the range [0, 1] but got {q}"));
            }
            Tensor::scalar(q, x.dtype())?
        }
    };
    if q.rank() > 1 {
        return refused(a.op, format!("q must be a scalar or 1D tensor, got {} dimensions", q.rank()));
    }
    if q.dtype() != x.dtype() {
        return refused(
            a.op,
            format!("q tensor must be same dtype as the input tensor, got {} and {}", q.dtype(), x.dtype()),
        );
    }
    if let Ok(all) = q.detach().to_vec::<f64>()
        && all.iter().any(|q| !(0.0..=1.0).contains(q))
    {
        return refused(a.op, format!("q values must be in the range [0, 1], got {all:?}"));
    }
    Ok(quantile(a.op, x, &q, a.maybe_int(2)?, a.bool(3)?, between, skip)?.into())
}

/// The quantiles `q` along a dimension or of all elements; without what is not a number where `skip`.
fn quantile(
    op: &'static str,
    x: &Tensor,
    q: &Tensor,
    dim: Option<isize>,
    keepdim: bool,
    between: Between,
    skip: bool,
) -> Result<Tensor> {
    if x.numel() == 0 && (dim.is_none() || x.shape().iter().product::<usize>() == 0) {
        return refused(op, "input tensor must be non-empty".into());
    }
    // The only dimension that a number can be asked for is that of all elements.
    let wrapped = dim.map(|d| wrap_dim(op, d, x.rank())).transpose()?.filter(|_| x.rank() > 0);
    let lines = match wrapped {
        None => view::reshape(x, &[-1])?,
        Some(d) if d + 1 == x.rank() => x.clone(),
        Some(d) => view::transpose(&view::unsqueeze(x, -1)?, d as isize, -1)?,
    };
    let [sorted, _] = sort::sort(&lines, -1, false)?;
    let found = at_ranks(&sorted, q, between, skip)?;
    // The last dimension is that of the fractions: it goes to the front, or away. What stands for the dimension that was
    // reduced has size 1.
    let one_dim = wrapped.is_some_and(|d| d + 1 != x.rank());
    let found = if keepdim && !one_dim && x.rank() > 0 {
        match wrapped {
            None => {
                let mut shape = vec![1; x.rank()];
                shape.push(-1);
                view::reshape(&found, &shape)?
            }
            Some(_) => view::unsqueeze(&found, -2)?,
        }
    } else {
        found
    };
    let found = if q.rank() == 0 {
        view::squeezed(&found, Some(&[-1]), "SqueezeBackward4")?
    } else {
        view::movedim(&found, -1, 0)?
    };
    match wrapped {
        Some(d) if one_dim && !keepdim => {
            let d = d as isize + isize::from(q.rank() > 0);
            view::squeezed(&found, Some(&[d]), "SqueezeBackward4")
        }
        _ => Ok(found),
    }
}

/// What stands in sorted lines at fractions of their lengths: the last dimension becomes that of the fractions.
fn at_ranks(sorted: &Tensor, q: &Tensor, between: Between, skip: bool) -> Result<Tensor> {
    let last = sorted.shape()[sorted.rank() - 1] as f64 - 1.0;
    let plain = sorted.detach();
    let q = if q.rank() == 0 { view::reshape(q, &[1])? } else { q.clone() };
    let nan = compare::ne(&plain, &plain)?;
    let ranks = if skip {
        let numbers = sum::sum(&compare::logical_not(&nan)?, &[-1], true, None)?;
        let lasts = cast::to(&arithmetic::sub(&numbers, 1)?, plain.dtype())?;
        let ranks = arithmetic::mul(&q, &lasts)?;
        compare::where_(&compare::lt(&ranks, 0.0)?, 0.0, &ranks)?
    } else {
        let any = compare::gt(&sum::sum(&nan, &[-1], true, None)?, 0)?;
        compare::where_(&any, last, &arithmetic::mul(&q, last)?)?
    };
    let ranks = match between {
        Between::Lower => unary::floor(&ranks)?,
        Between::Higher => ceiling(&ranks)?,
        Between::Nearest => nearest(&ranks)?,
        _ => ranks,
    };
    let below = unary::floor(&ranks.detach())?;
    let at = |ranks: &Tensor| index::take_along(sorted, -1, &cast::to(ranks, DType::I64)?);
    let lower = at(&below)?;
    if matches!(between, Between::Lower | Between::Higher | Between::Nearest) {
        return Ok(lower);
    }
    let upper = at(&ceiling(&ranks.detach())?)?;
    let weight = if between == Between::Midpoint {
        Tensor::full(lower.shape(), 0.5, lower.dtype())?
    } else {
        arithmetic::sub(&ranks, &below)?
    };
    lerp(&lower, &upper, &weight)
}

/// The least whole number that is not below.
fn ceiling(x: &Tensor) -> Result<Tensor> {
    unrecorded(|| arithmetic::neg(&unary::floor(&arithmetic::neg(x)?)?))
}

/// The nearest whole number, of two the even one.
fn nearest(x: &Tensor) -> Result<Tensor> {
    unrecorded(|| {
        let below = unary::floor(x)?;
        let rest = arithmetic::sub(x, &below)?;
        let odd = compare::ne(&arithmetic::remainder(&below, 2.0)?, 0.0)?;
        let half = compare::logical_and(&compare::eq(&rest, 0.5)?, &odd)?;
        let up = compare::logical_or(&compare::gt(&rest, 0.5)?, &half)?;
        arithmetic::add(&below, &cast::to(&up, x.dtype())?)
    })
}

/// `a + w (b - a)`, from the nearer end.
fn lerp(a: &Tensor, b: &Tensor, w: &Tensor) -> Result<Tensor> {
    let apart = arithmetic::sub(b, a)?;
    let from_a = arithmetic::add(a, &arithmetic::mul(w, &apart)?)?;
    let from_b = arithmetic::sub(b, &arithmetic::mul(&apart, &arithmetic::sub(1.0, w)?)?)?;
    compare::where_(&compare::lt(w, 0.5)?, &from_a, &from_b)
}
