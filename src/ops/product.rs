//! Products over dimensions.

use smallvec::smallvec;

use super::recorded::{Call, Keep, Settings, record, refuse_integers, restored};
use super::reduce::{Plan, readable_as, total_dtype, wide};
use super::registry::operation;
use super::sum::sum;
use super::{arithmetic, arrange, batch, cast, compare, join, scan, view};
use crate::error::Result;
use crate::graph::forward::unrecorded;
use crate::graph::mode::is_grad_enabled;
use crate::graph::node::Gradients;
use crate::kernels::reduce::kinds::Product;
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;

operation! {
    /// Product over one dimension, or of all elements: `dy/dx_i` is the product of the others.
    ///
    /// >>> ferrograd.tensor([2.0, 3.0, 4.0]).prod()
    /// tensor(24.)
    function Reduced(Any -> Sum), ["prod(Tensor self, *, DType? dtype=None)", "prod(Tensor self, int dim, bool keepdim=False, *, DType? dtype=None)"],
    |n, a| Ok(match n {
        0 => prod(a.tensor(0)?, None, false, a.dtype(1)?)?,
        _ => prod(a.tensor(0)?, Some(a.int(1)?), a.bool(2)?, a.dtype(3)?)?,
    }.into())
}

/// Product over a dimension, or of all elements.
///
/// # Errors
/// For a dimension out of range.
pub fn prod(x: &Tensor, dim: Option<isize>, keepdim: bool, dtype: Option<DType>) -> Result<Tensor> {
    if x.batch().is_some() {
        let (x, dim) = if dim.is_none() { (view::reshape(x, &[-1])?, 0) } else { (x.clone(), dim.unwrap_or(0)) };
        let along = batch::reduced("prod", &x, &[dim], keepdim, |x, d, k| prod(x, d.first().copied(), k, dtype));
        return along.unwrap_or_else(|| Ok(x));
    }
    let plan = Plan::new("prod", x, dim.as_slice(), keepdim)?;
    let target = total_dtype(x.dtype(), dtype);
    refuse_integers("prod", x, target)?;
    let y = unrecorded(|| {
        let read = readable_as(x, target)?;
        cast::to(&wide!(target, A => plan.run::<Product<A, A>>(&read, None))?, target)
    })?;
    let name = if dim.is_none() { "ProdBackward0" } else { "ProdBackward1" };
    let keep = [Keep::Input(x), Keep::Output];
    let settings = || plan.settings(1.0);
    match dim {
        None => record(name, &y, &[x], &keep, settings, |call| others(call, true))?,
        Some(_) => record(name, &y, &[x], &keep, settings, |call| others(call, false))?,
    }
    Ok(y)
}

/// dx_i = g prod_{j != i} x_j: by division where no factor is zero; of the product of `all` elements zero where several
/// are; else from the products of the elements before and behind.
fn others(call: &Call, all: bool) -> Result<Gradients> {
    let (x, s) = (&cast::to(&call.saved[0], call.g.dtype())?, call.settings);
    let g = restored(&call.g, s)?;
    let y = restored(&call.saved[1], s)?;
    if x.rank() == 0 {
        return Ok(smallvec![Some(g)]);
    }
    if batch::level([&g, x, &y]).is_none() {
        let zeros = sum(&compare::eq(&x.detach(), 0.0)?, &[], false, None)?.item()?.as_i64();
        if zeros == 0 {
            return Ok(smallvec![Some(arithmetic::mul(&g, &arithmetic::div(&y, x)?)?)]);
        }
        if zeros > 1 && all && !is_grad_enabled() {
            return Ok(smallvec![Some(Tensor::zeros(x.shape(), x.dtype())?)]);
        }
    }
    Ok(smallvec![Some(arithmetic::mul(&g, &products_of_others(x, s)?)?)])
}

/// The product of all other elements, by running products from both ends: exact and differentiable at zeros.
fn products_of_others(x: &Tensor, s: &Settings) -> Result<Tensor> {
    let all = s.dims.len() == x.rank() && x.rank() != 1;
    let line = if all { view::reshape(x, &[-1])? } else { x.clone() };
    let dim = if all { 0 } else { s.dims.first().copied().unwrap_or(0) };
    if line.rank() == 0 {
        return Tensor::ones(x.shape(), x.dtype());
    }
    let before = |x: &Tensor| -> Result<Tensor> {
        let one = Tensor::ones(view::narrow(x, dim, 0, 1)?.shape(), x.dtype())?;
        let n = x.shape()[dim as usize] as isize;
        scan::cumprod(&join::cat(&[one, view::narrow(x, dim, 0, n - 1)?], dim)?, dim, None)
    };
    if line.shape()[dim as usize] == 0 {
        return Ok(x.clone());
    }
    let after = arrange::flip(&before(&arrange::flip(&line, &[dim])?)?, &[dim])?;
    view::reshape(&arithmetic::mul(&before(&line)?, &after)?, &view::signed(x.shape()))
}
