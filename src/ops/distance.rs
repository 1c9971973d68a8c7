//! Distances between rows: of two matrices, and of one.

use smallvec::smallvec;

use super::arithmetic::{div, mul, sub};
use super::recorded::{Call, Keep, Settings, is_plain, record};
use super::reduce::wide_float;
use super::registry::operation;
use super::{batch, cast, compare, contract, copy, index, norm, sum, unary, view};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::graph::node::Gradients;
use crate::kernels::distance::{self as kernel, Of, Rows, metric};
use crate::memory::listed;
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::{Shape, broadcast};
use crate::tensor::storage::Access;

operation! {
    /// Distances of order `p` of each row of `x1` from each row of `x2`: `(..., P, M)` and `(..., R, M)` give
    /// `(..., P, R)`, leading dimensions broadcast. For `p = 2` and more than 25 rows, from the rows' products, unless
    /// `compute_mode` is `'donot_use_mm_for_euclid_dist'`.
    ///
    /// Shapes: `(..., n, k), (..., m, k) -> (..., n, m)`; the first dimensions broadcast.
    ///
    /// >>> ferrograd.cdist(ferrograd.tensor([[0.0, 0.0]]), ferrograd.tensor([[3.0, 4.0], [0.0, 1.0]]))
    /// tensor([[5., 1.]])
    function Noted(Wide -> Promoted), ["cdist(Tensor x1, Tensor x2, Number p=2.0, str? compute_mode='use_mm_for_euclid_dist_if_necessary')"], |_, a| {
        let necessary = match a.text(3)? {
            None | Some("use_mm_for_euclid_dist_if_necessary") => None,
            Some("use_mm_for_euclid_dist") => Some(true),
            Some("donot_use_mm_for_euclid_dist") => Some(false),
            Some(other) => return Err(Error::Argument {
                op: "cdist", argument: "compute_mode", rule: "must be one of torch's three words", given: other.into(),
            }),
        };
        Ok(cdist(a.tensor(0)?, a.tensor(1)?, a.float(2)?, necessary)?.into())
    }
}

/// Rows from which Euclidean distances are computed from products.
const MANY: usize = 25;

/// An error for elements that have no distances.
fn require_floats(op: &'static str, x: &Tensor) -> Result<()> {
    if !x.dtype().is_floating_point() {
        return Err(Error::DTypeInvalid { op, dtype: x.dtype(), rule: "only floating-point dtypes have distances" });
    }
    x.dtype().require_wide(op)
}

/// An error for what is no order of a norm.
fn require_order(op: &'static str, p: f64) -> Result<()> {
    if p.is_nan() || p < 0.0 {
        return Err(Error::Invalid { op, what: format!("only supports non-negative p values, got {p}") });
    }
    Ok(())
}

/// Distances of an order of the rows of two matrices, or batches of them; by products always, never, or where there are
/// many.
///
/// # Errors
/// For fewer than two dimensions, rows of different lengths, leading dimensions that do not broadcast, integers, and
/// negative orders.
pub fn cdist(x1: &Tensor, x2: &Tensor, p: f64, by_products: Option<bool>) -> Result<Tensor> {
    const OP: &str = "cdist";
    for x in [x1, x2] {
        if x.rank() < 2 {
            return Err(Error::Rank { op: OP, expected: "at least two dimensions", shape: x.shape().to_vec() });
        }
        require_floats(OP, x)?;
    }
    if x1.shape().last() != x2.shape().last() {
        let (left, right) = (x1.shape().to_vec(), x2.shape().to_vec());
        return Err(Error::InnerSizes { op: OP, left, right });
    }
    require_order(OP, p)?;
    if let Some(both) = batch::aligned(&[x1, x2]) {
        let (both, level) = both?;
        return cdist(&both[0], &both[1], p, by_products).map(|y| Tensor::batched(&y, level));
    }
    let rows = |x: &Tensor| x.shape()[x.rank() - 2];
    let many = by_products.unwrap_or(rows(x1) > MANY || rows(x2) > MANY);
    if p == 2.0 && many { euclidean(x1, x2) } else { direct(x1, x2, p) }
}

/// The matrices with their leading dimensions broadcast, in float32 or float64.
fn broadcasted(x1: &Tensor, x2: &Tensor) -> Result<[Tensor; 2]> {
    let lead = broadcast("cdist", &x1.shape()[..x1.rank() - 2], &x2.shape()[..x2.rank() - 2])?;
    let one = |x: &Tensor| {
        let shape: Shape = lead.iter().chain(&x.shape()[x.rank() - 2..]).copied().collect();
        view::expand(x, &view::signed(&shape))
    };
    Ok([one(x1)?, one(x2)?])
}

fn direct(x1: &Tensor, x2: &Tensor, p: f64) -> Result<Tensor> {
    let [a, b] = broadcasted(x1, x2)?;
    let y = unrecorded(|| distances(&a, &b, p))?;
    let settings = || Settings { number: p, ..Settings::default() };
    record("CdistBackward0", &y, &[&a, &b], &[Keep::Input(&a), Keep::Input(&b), Keep::Output], settings, |call| {
        let (a, b, y) = (&call.saved[0], &call.saved[1], &call.saved[2]);
        let p = call.settings.number;
        let da = if call.needs[0] { Some(of_rows(&call.g, a, b, y, p)?) } else { None };
        let turned = |t: &Tensor| view::transpose(t, -1, -2);
        let db = if call.needs[1] { Some(of_rows(&turned(&call.g)?, b, a, &turned(y)?, p)?) } else { None };
        Ok(smallvec![da, db])
    })?;
    Ok(y)
}

/// Contiguous tensors in the type that distances of `x` are computed in.
fn ready(x: &Tensor) -> Result<Tensor> {
    let wide = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    copy::to_contiguous(&cast::to(x, wide)?)
}

/// The distances, without history, of matrices of the same leading dimensions.
fn distances(a: &Tensor, b: &Tensor, p: f64) -> Result<Tensor> {
    let dtype = a.dtype().promote(b.dtype());
    let (a, b) = (ready(&cast::to(a, dtype)?)?, ready(&cast::to(b, dtype)?)?);
    let rank = a.rank();
    let (p_rows, r_rows, width) = (a.shape()[rank - 2], b.shape()[rank - 2], a.shape()[rank - 1]);
    let mut shape = a.layout().shape.clone();
    shape[rank - 1] = r_rows;
    let y = Tensor::uninitialized("cdist", &shape, a.dtype())?;
    let access = Access::lock([(&**a.storage(), false), (&**b.storage(), false)]);
    let matrices: usize = shape[..rank - 2].iter().product();
    macro_rules! run {
        ($t:ty) => {
            metric!(p, M => {
                // SAFETY: all are contiguous tensors of this type; `y` is new.
                let (a, b, y) = unsafe { (a.elements::<$t>(), b.elements::<$t>(), y.elements_mut::<$t>()) };
                for i in 0..matrices {
                    let rows = Rows {
                        a: &a[i * p_rows * width..(i + 1) * p_rows * width],
                        b: &b[i * r_rows * width..(i + 1) * r_rows * width],
                        width,
                        count: r_rows,
                    };
                    kernel::all::<Of<$t, M>>(rows, p, &mut y[i * p_rows * r_rows..(i + 1) * p_rows * r_rows]);
                }
            })
        };
    }
    wide_float!(a.dtype(), A => run!(A));
    drop(access);
    cast::to(&y, dtype)
}

/// The gradient of the rows of `a` from the distances `y` and their gradients: by a kernel, and where the gradient's own
/// gradient is wanted by the differences of all rows.
fn of_rows(g: &Tensor, a: &Tensor, b: &Tensor, y: &Tensor, p: f64) -> Result<Tensor> {
    if !is_plain([g, a, b, y]) {
        let apart = sub(&view::unsqueeze(a, -2)?, &view::unsqueeze(b, -3)?)?;
        let last = Settings { dims: smallvec![apart.rank() as isize - 1], number: p, ..Settings::default() };
        // Equal rows have no slope: what stands for their differences has no part in the result.
        let zero = compare::eq(&view::unsqueeze(y, -1)?, 0.0)?;
        let apart = compare::where_(&zero, 1.0, &apart)?;
        let y = compare::where_(&compare::eq(y, 0.0)?, 1.0, y)?;
        let slopes = norm::gradient(g, &apart, &y, &last)?;
        return sum::sum(&compare::where_(&zero, 0.0, &slopes)?, &[-2], false, None);
    }
    let dtype = a.dtype();
    let (a, b, y, g) = (ready(a)?, ready(b)?, ready(y)?, ready(g)?);
    let rank = a.rank();
    let (p_rows, r_rows, width) = (a.shape()[rank - 2], b.shape()[rank - 2], a.shape()[rank - 1]);
    let da = Tensor::zeros(a.shape(), a.dtype())?;
    let access = Access::lock([&a, &b, &y, &g].map(|t| (&**t.storage(), false)));
    let matrices: usize = a.shape()[..rank - 2].iter().product();
    macro_rules! run {
        ($t:ty) => {
            metric!(p, M => {
                // SAFETY: all are contiguous tensors of this type; `da` is new.
                let (a, b, y, g, da) = unsafe {
                    (a.elements::<$t>(), b.elements::<$t>(), y.elements::<$t>(), g.elements::<$t>(), da.elements_mut::<$t>())
                };
                for i in 0..matrices {
                    let (first, second) = (i * p_rows * width..(i + 1) * p_rows * width, i * r_rows * width..(i + 1) * r_rows * width);
                    let pairs = i * p_rows * r_rows..(i + 1) * p_rows * r_rows;
                    let rows = Rows { a: &a[first.clone()], b: &b[second], width, count: r_rows };
                    kernel::gradient::<Of<$t, M>>(rows, p, &y[pairs.clone()], &g[pairs], &mut da[first]);
                }
            })
        };
    }
    wide_float!(a.dtype(), A => run!(A));
    drop(access);
    cast::to(&da, dtype)
}

/// Euclidean distances from the rows' products: `|a - b|^2 = |a|^2 + |b|^2 - 2 a b`.
fn euclidean(x1: &Tensor, x2: &Tensor) -> Result<Tensor> {
    let [a, b] = broadcasted(x1, x2)?;
    let y = unrecorded(|| {
        let squares = |x: &Tensor| sum::sum(&mul(x, x)?, &[-1], true, None);
        let products = contract::matmul(&mul(&a, -2.0)?, &view::transpose(&b, -1, -2)?)?;
        let both = super::arithmetic::add(&squares(&a)?, &view::transpose(&squares(&b)?, -1, -2)?)?;
        unary::sqrt(&super::arithmetic::maximum(&super::arithmetic::add(&products, &both)?, 0.0)?)
    })?;
    let keep = [Keep::Input(&a), Keep::Input(&b), Keep::Output];
    record("EuclideanDistBackward0", &y, &[&a, &b], &keep, Settings::default, |call: &Call| -> Result<Gradients> {
        // With r = g / y: da = a sum(r) - r b, db = b sum(r)^T - r^T a.
        let (a, b, y) = (&call.saved[0], &call.saved[1], &call.saved[2]);
        let r = compare::where_(&compare::eq(y, 0.0)?, 0.0, &div(&call.g, y)?)?;
        let one = |r: &Tensor, a: &Tensor, b: &Tensor| {
            sub(&mul(a, &sum::sum(r, &[-1], true, None)?)?, &contract::matmul(r, b)?)
        };
        let da = if call.needs[0] { Some(one(&r, a, b)?) } else { None };
        let db = if call.needs[1] { Some(one(&view::transpose(&r, -1, -2)?, b, a)?) } else { None };
        Ok(smallvec![da, db])
    })?;
    Ok(y)
}

operation! {
    /// Distances of order `p` between all pairs of rows of a matrix, in the order of the upper triangle.
    ///
    /// Shapes: `(n, k) -> (n * (n - 1) // 2,)`.
    ///
    /// >>> ferrograd.pdist(ferrograd.tensor([[0.0], [1.0], [3.0]]))
    /// tensor([1., 3., 2.])
    function Noted(Wide -> Kept), ["pdist(Tensor input, Number p=2)"; also "nn.pdist"], |_, a| Ok(pdist(a.tensor(0)?, a.float(1)?)?.into())
}

/// Distances of an order between all pairs of rows of a matrix.
///
/// # Errors
/// For other than two dimensions, integers, and negative orders.
pub fn pdist(x: &Tensor, p: f64) -> Result<Tensor> {
    const OP: &str = "pdist";
    if x.rank() != 2 {
        return Err(Error::Invalid { op: OP, what: format!("only supports 2D tensors, got: {}D", x.rank()) });
    }
    require_floats(OP, x)?;
    require_order(OP, p)?;
    if let Some(y) = batch::unary(x, |value| {
        let n = value.shape()[1];
        let all = cdist(value, value, p, Some(false))?;
        let flat = view::reshape(&all, &[value.shape()[0] as isize, (n * n) as isize])?;
        let above = above(n);
        index::take_along(&flat, 1, &view::expand(&above, &[value.shape()[0] as isize, above.numel() as isize])?)
    }) {
        return y;
    }
    let y = unrecorded(|| {
        let (from, n) = (ready(x)?, x.shape()[0]);
        let pairs = n.saturating_mul(n.saturating_sub(1)) / 2;
        let y = Tensor::uninitialized(OP, &[pairs], from.dtype())?;
        let access = Access::lock([(&**from.storage(), false)]);
        metric!(p, M => {
            // SAFETY: both are contiguous tensors of this type; `y` is new.
            unsafe {
                wide_float!(from.dtype(), A => {
                    kernel::pairs::<Of<A, M>>(from.elements(), x.shape()[1], n, p, y.elements_mut());
                });
            }
        });
        drop(access);
        cast::to(&y, x.dtype())
    })?;
    let settings = || Settings { number: p, ..Settings::default() };
    record("PdistBackward0", &y, &[x], &[Keep::Input(x), Keep::Output], settings, |call| {
        let (g, x, y, p) = (&call.g, &call.saved[0], &call.saved[1], call.settings.number);
        if is_plain([g, x, y]) {
            return Ok(smallvec![Some(of_pairs(g, x, y, p)?)]);
        }
        // The triangle's distances and gradients, set into symmetric matrices.
        let n = x.shape()[0];
        let above = above(n);
        let symmetric = |t: &Tensor| {
            let flat = index::scatter_zeros(&[n * n], 0, &above, t)?;
            let upper = view::reshape(&flat, &[n as isize, n as isize])?;
            super::arithmetic::add(&upper, &view::t(&upper)?)
        };
        Ok(smallvec![Some(of_rows(&symmetric(g)?, x, x, &symmetric(y)?, p)?)])
    })?;
    Ok(y)
}

/// The places of the upper triangle of an `n` by `n` matrix, row by row.
fn above(n: usize) -> Tensor {
    let pairs = n.saturating_mul(n.saturating_sub(1)) / 2;
    Tensor::from_slice(&listed(pairs, (0..n).flat_map(|i| (i + 1..n).map(move |j| (i * n + j) as i64))))
}

/// The gradient of the rows from the distances of all pairs and their gradients, by the kernel.
fn of_pairs(g: &Tensor, x: &Tensor, y: &Tensor, p: f64) -> Result<Tensor> {
    let dtype = x.dtype();
    let (g, x, y) = (ready(g)?, ready(x)?, ready(y)?);
    let (n, width) = (x.shape()[0], x.shape()[1]);
    let dx = Tensor::zeros(x.shape(), x.dtype())?;
    let access = Access::lock([&g, &x, &y].map(|t| (&**t.storage(), false)));
    metric!(p, M => {
        // SAFETY: all are contiguous tensors of this type; `dx` is new.
        unsafe {
            wide_float!(x.dtype(), A => {
                let matrix = (x.elements(), width, n);
                kernel::of_pairs::<Of<A, M>>(matrix, p, y.elements(), g.elements(), dx.elements_mut());
            });
        }
    });
    drop(access);
    cast::to(&dx, dtype)
}
