//! Norms of vectors and matrices, and what is made of them.

use smallvec::{SmallVec, smallvec};

use super::arithmetic::{div, mul, sub};
use super::recorded::{Call, Keep, Settings, record, restored};
use super::reduce::{Plan, wide};
use super::registry::{Arguments, Value, operation};
use super::{arithmetic, batch, cast, compare, extremum, sum, unary};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::graph::node::Gradients;
use crate::kernels::element::Element;
use crate::kernels::reduce::kinds::{Count, GreatestMagnitude, LeastMagnitude, Magnitudes, Squares};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::wrap_dim;
use crate::tensor::scalar::Scalar;

const OP: &str = "linalg.vector_norm";

/// An order as a call gives it: a number or a word.
enum Order<'a> {
    Number(Scalar),
    Word(&'a str),
}

fn order<'a>(a: &'a Arguments, n: usize) -> Result<Option<Order<'a>>> {
    Ok(match a.values.get(n) {
        Some(Value::Text(word)) => Some(Order::Word(word)),
        _ => a.maybe_number(n)?.map(Order::Number),
    })
}

fn refused<T>(op: &'static str, what: String) -> Result<T> {
    Err(Error::Invalid { op, what })
}

operation! {
    /// The norm of order `ord` of all elements, or over dimensions: `(sum |x|^ord)^(1/ord)`; for 0 the number of elements
    /// that are not zero, for infinity the greatest absolute value, for minus infinity the least. Where the norm is zero, so
    /// is its gradient. Computed in `dtype` where it is given.
    ///
    /// >>> ferrograd.linalg.vector_norm(ferrograd.tensor([3.0, -4.0]))
    /// tensor(5.)
    function Reduced(Floats -> Kept), ["linalg.vector_norm(Tensor input, Number ord=2, int[]? dim=None, bool keepdim=False, *, DType? dtype=None)"], |_, a| {
        Ok(vector_norm(a.tensor(0)?, a.number(1)?, a.ints(2)?, a.bool(3)?, a.dtype(4)?)?.into())
    }
}

/// The norm of an order over dimensions; none given means all.
///
/// # Errors
/// For integers, dimensions out of range or named twice, and over nothing where that has no norm.
pub fn vector_norm(
    x: &Tensor,
    order: impl Into<Scalar>,
    dims: &[isize],
    keepdim: bool,
    dtype: Option<DType>,
) -> Result<Tensor> {
    let order = order.into();
    let p = order.as_f64();
    if !x.dtype().is_floating_point() {
        let rule = "expected a floating point or complex tensor as input";
        return Err(Error::DTypeInvalid { op: OP, dtype: x.dtype(), rule });
    }
    if let Some(dtype) = dtype {
        if !dtype.is_floating_point() || dtype.promote(x.dtype()) != dtype {
            return refused(OP, format!("the dtype {dtype} cannot hold norms of {} without narrowing", x.dtype()));
        }
        return vector_norm(&cast::to(x, dtype)?, order, dims, keepdim, None);
    }
    let rule = |x: &Tensor, dims: &[isize], keepdim| vector_norm(x, order, dims, keepdim, None);
    if let Some(y) = batch::reduced(OP, x, dims, keepdim, rule) {
        return y;
    }
    let plan = Plan::new(OP, x, dims, keepdim)?;
    if (p < 0.0 || p == f64::INFINITY) && plan.length() == 0 {
        let what =
            format!("cannot compute the {p} norm on an empty tensor because the operation does not have an identity");
        return refused(OP, what);
    }
    let y = unrecorded(|| value(&plan, x, p))?;
    let keep = [Keep::Input(x), Keep::Output];
    record(
        "LinalgVectorNormBackward0",
        &y,
        &[x],
        &keep,
        || Settings { told: Box::new([("ord", order.into())]), ..plan.settings(p) },
        |call| {
            // How many elements are not zero does not change with them.
            let counts = call.settings.number == 0.0;
            let dx = || gradient(&call.g, &call.saved[0], &call.saved[1], call.settings);
            Ok(smallvec![if counts { None } else { Some(dx()?) }])
        },
    )?;
    Ok(y)
}

fn value(plan: &Plan, x: &Tensor, p: f64) -> Result<Tensor> {
    if p == 0.0 {
        return cast::to(&plan.run::<Count>(x, None)?, x.dtype());
    }
    let y = wide!(x.dtype(), A => if p == 2.0 {
        unary::sqrt(&plan.run::<Squares<A, A>>(x, None)?)
    } else if p == 1.0 {
        plan.run::<Magnitudes<A, A>>(x, None)
    } else if p == f64::INFINITY {
        plan.run::<GreatestMagnitude<A, A>>(x, None)
    } else if p == f64::NEG_INFINITY {
        plan.run::<LeastMagnitude<A, A>>(x, None)
    } else {
        // Floats of 16 bits have no room for powers.
        let powers = arithmetic::pow(&unary::abs(&cast::to(x, A::DTYPE)?)?, p)?;
        arithmetic::pow(&plan.run::<Magnitudes<A, A>>(&powers, None)?, 1.0 / p)
    });
    cast::to(&y?, x.dtype())
}

/// The gradient of a norm `y` of `x`.
pub(super) fn gradient(g: &Tensor, x: &Tensor, y: &Tensor, s: &Settings) -> Result<Tensor> {
    let (p, g, y) = (s.number, restored(g, s)?, restored(y, s)?);
    let zero_where = |mask: &Tensor, x: &Tensor| compare::where_(&compare::eq(mask, 0.0)?, 0.0, x);
    if p == 0.0 {
        return Tensor::zeros(x.shape(), x.dtype());
    }
    if p == 1.0 {
        return mul(&unary::sign_of(x)?, &g);
    }
    if p == 2.0 {
        return mul(&g, &zero_where(&y, &div(x, &y)?)?);
    }
    if p.is_infinite() {
        // The elements that are the norm share its gradient.
        let both_nan = compare::logical_and(&compare::ne(x, x)?, &compare::ne(&y, &y)?)?;
        let found = compare::logical_or(&compare::eq(&unary::abs(x)?, &y)?, &both_nan)?;
        let found = cast::to(&found, g.dtype())?;
        let count = if s.dims.is_empty() { found.clone() } else { sum::sum(&found, &s.dims, true, None)? };
        return mul(&unary::sign_of(x)?, &mul(&div(&g, &count)?, &found)?);
    }
    if p < 1.0 {
        let powers = mul(&unary::sign_of(x)?, &zero_where(x, &arithmetic::pow(&unary::abs(x)?, p - 1.0)?)?)?;
        return mul(&mul(&powers, &g)?, &arithmetic::pow(&y, 1.0 - p)?);
    }
    // Divided by 1 where the norm is zero, so that derivatives of this are numbers there too.
    let safe = compare::where_(&compare::eq(&y, 0.0)?, 1.0, &y)?;
    let scale = zero_where(&y, &div(&g, &arithmetic::pow(&safe, p - 1.0)?)?)?;
    let powers = if p < 2.0 {
        mul(&unary::sign_of(x)?, &arithmetic::pow(&unary::abs(x)?, p - 1.0)?)?
    } else {
        mul(x, &arithmetic::pow(&unary::abs(x)?, p - 2.0)?)?
    };
    mul(&powers, &scale)
}

operation! {
    /// A norm of matrices in two dimensions: `'fro'` as of a vector; 1 and -1 the greatest and least sum of a column's
    /// absolute values, infinity and minus infinity those of a row. Norms by singular values (2, -2, `'nuc'`) are not
    /// implemented.
    ///
    /// Shapes: any of at least two dimensions; without the two of `dim`, which `keepdim` keeps with size 1.
    ///
    /// >>> ferrograd.linalg.matrix_norm(ferrograd.tensor([[1.0, -2.0], [3.0, 4.0]]), 1)
    /// tensor(6.)
    function Noted(Floats -> Kept), ["linalg.matrix_norm(Tensor input, Order ord='fro', int[] dim=(-2,-1), bool keepdim=False, *, DType? dtype=None)"], |_, a| {
        let dims = if a.is_none(2) { &[-2, -1][..] } else { a.ints(2)? };
        let order = order(a, 1)?.unwrap_or(Order::Word("fro"));
        Ok(matrix_norm(a.tensor(0)?, &order, dims, a.bool(3)?, a.dtype(4)?)?.into())
    }
}

fn matrix_norm(x: &Tensor, order: &Order, dims: &[isize], keepdim: bool, dtype: Option<DType>) -> Result<Tensor> {
    const OP: &str = "linalg.matrix_norm";
    if x.rank() < 2 {
        return refused(OP, format!("the input tensor A must have at least 2 dimensions, got {:?}", x.shape()));
    }
    let &[row, column] = dims else {
        return refused(OP, format!("dim must be a 2-tuple, got {dims:?}"));
    };
    let (row, column) = (wrap_dim(OP, row, x.rank())?, wrap_dim(OP, column, x.rank())?);
    if row == column {
        return refused(OP, format!("dims must be different, got {dims:?}"));
    }
    let p = match order {
        Order::Word("fro") => return vector_norm(x, 2, dims, keepdim, dtype),
        Order::Number(p) if p.as_f64().abs() == 1.0 || p.as_f64().is_infinite() => p.as_f64(),
        Order::Word("nuc") => return by_singular_values(OP, "'nuc'"),
        Order::Number(p) if p.as_f64() == 2.0 => return by_singular_values(OP, "2"),
        Order::Number(p) if p.as_f64() == -2.0 => return by_singular_values(OP, "-2"),
        Order::Word(word) => return refused(OP, format!("Order {word} not supported.")),
        Order::Number(p) => return refused(OP, format!("Order {p} not supported.")),
    };
    let (first, second) = if p.abs() == 1.0 { (row, column) } else { (column, row) };
    let sums = vector_norm(x, 1.0, &[first as isize], keepdim, dtype)?;
    let second = if !keepdim && first < second { second - 1 } else { second } as isize;
    if p > 0.0 { extremum::amax(&sums, &[second], keepdim) } else { extremum::amin(&sums, &[second], keepdim) }
}

fn by_singular_values<T>(op: &'static str, order: &str) -> Result<T> {
    Err(Error::NotImplemented { op, what: format!("the norm of order {order}, which needs singular values") })
}

operation! {
    /// A norm of vectors or matrices: without `ord` and `dim` the norm of all elements; with one dimension, or of a vector,
    /// as `vector_norm`; with two dimensions, or of a matrix, as `matrix_norm`.
    ///
    /// >>> ferrograd.linalg.norm(ferrograd.tensor([[3.0, 0.0], [0.0, 4.0]]))
    /// tensor(5.)
    function Reduced(Floats -> Kept), ["linalg.norm(Tensor input, Order? ord=None, int[]? dim=None, bool keepdim=False, *, DType? dtype=None)"], |_, a| {
        Ok(norm(a.tensor(0)?, order(a, 1)?, a.maybe_ints(2)?, a.bool(3)?, a.dtype(4)?)?.into())
    }
}

fn norm(
    x: &Tensor,
    order: Option<Order>,
    dims: Option<&[isize]>,
    keepdim: bool,
    dtype: Option<DType>,
) -> Result<Tensor> {
    const OP: &str = "linalg.norm";
    if let Some(dims) = dims
        && !matches!(dims.len(), 1 | 2)
        && !dims.is_empty()
    {
        return refused(OP, format!("If dim is specified, it must be of length 1 or 2. Got {dims:?}"));
    }
    let dims = dims.filter(|d| !d.is_empty());
    let Some(order) = order else { return vector_norm(x, 2, dims.unwrap_or_default(), keepdim, dtype) };
    let count = dims.map_or(x.rank(), <[isize]>::len);
    if dims.is_none() && !matches!(count, 1 | 2) {
        let what = format!("If dim is not specified but ord is, the input must be 1D or 2D. Got {count}D.");
        return refused(OP, what);
    }
    match order {
        order if count == 2 => matrix_norm(x, &order, dims.unwrap_or(&[-2, -1]), keepdim, dtype),
        Order::Number(p) => vector_norm(x, p, dims.unwrap_or_default(), keepdim, dtype),
        Order::Word(word) => refused(OP, format!("Order {word} needs two dimensions")),
    }
}

operation! {
    /// The norm of order `p` of all elements, or over dimensions: `'fro'` is 2; `'nuc'` is not implemented.
    ///
    /// >>> ferrograd.norm(ferrograd.tensor([3.0, -4.0]))
    /// tensor(5.)
    function Reduced(Floats -> Kept), ["norm(Tensor self, Order? p='fro', int[]? dim=None, bool keepdim=False, DType? dtype=None)"], |_, a| {
        let (x, dims) = (a.tensor(0)?, a.ints(2)?);
        Ok(match order(a, 1)? {
            None => vector_norm(x, 2, dims, a.bool(3)?, a.dtype(4)?)?,
            Some(Order::Number(p)) => vector_norm(x, p, dims, a.bool(3)?, a.dtype(4)?)?,
            Some(Order::Word("fro")) if dims.len() <= 2 => vector_norm(x, 2, dims, a.bool(3)?, a.dtype(4)?)?,
            Some(word) => {
                let all: SmallVec<[isize; 4]> = if dims.is_empty() { (0..x.rank() as isize).collect() } else { dims.into() };
                matrix_norm(x, &word, &all, a.bool(3)?, a.dtype(4)?)?
            }
        }.into())
    }
}

operation! {
    /// The norm of order `p` of the difference of two tensors, which broadcast.
    ///
    /// Shapes: the operands broadcast; `()`.
    ///
    /// >>> ferrograd.dist(ferrograd.tensor([1.0, 1.0]), ferrograd.tensor([4.0, 5.0]))
    /// tensor(5.)
    function Noted(Floats -> Promoted), ["dist(Tensor self, Tensor other, Number p=2)"], |_, a| {
        Ok(dist(a.tensor(0)?, a.tensor(1)?, a.number(2)?)?.into())
    }
}

/// The norm of an order of the difference of two tensors.
///
/// # Errors
/// For integers and shapes that do not broadcast.
pub fn dist(x: &Tensor, other: &Tensor, order: impl Into<Scalar>) -> Result<Tensor> {
    let p = order.into();
    let apart = unrecorded(|| sub(x, other))?;
    if let Some(batch) = apart.batch() {
        // The difference has history of its own then: the batch hides that from here.
        let _ = batch;
        return vector_norm(&sub(x, other)?, p, &[], false, None);
    }
    let y = unrecorded(|| vector_norm(&apart, p, &[], false, None))?;
    let dims = (0..apart.rank() as isize).collect();
    let settings = || Settings { number: p.as_f64(), dims, told: Box::new([("p", p.into())]), ..Settings::default() };
    let keep = [Keep::Input(x), Keep::Input(other), Keep::Output];
    record("DistBackward0", &y, &[x, other], &keep, settings, |call| {
        let apart = sub(&call.saved[0], &call.saved[1])?;
        let found = gradient(&call.g, &apart, &call.saved[2], call.settings)?;
        let negative = if call.needs[1] { Some(arithmetic::neg(&found)?) } else { None };
        Ok(smallvec![Some(found), negative])
    })?;
    Ok(y)
}

operation! {
    /// Slices along `dim`, scaled so that the norm of order `p` of none is greater than `maxnorm`.
    ///
    /// >>> ferrograd.renorm(ferrograd.tensor([[1.0, 2.0], [3.0, 4.0]]), 1, 0, 3.5)
    /// tensor([[1.0000, 2.0000],
    ///         [1.5000, 2.0000]])
    function Same(Floats -> Kept), ["renorm(Tensor self, Number p, int dim, Number maxnorm)"],
    in_place |_, a| {
        let (p, dim, greatest) = (a.float(1)?, a.int(2)?, a.float(3)?);
        Ok(super::inplace::apply("renorm_", a.tensor(0)?, &[], &|x| renorm(x, p, dim, greatest))?.into())
    },
    |_, a| Ok(renorm(a.tensor(0)?, a.float(1)?, a.int(2)?, a.float(3)?)?.into())
}

/// What keeps norms from dividing by zero.
const ROOM: f64 = 1e-7;

/// Slices along a dimension, scaled so that no norm is greater than a bound.
///
/// # Errors
/// For fewer than two dimensions, orders that are not positive, negative bounds, and a dimension out of range.
pub fn renorm(x: &Tensor, p: f64, dim: isize, greatest: f64) -> Result<Tensor> {
    const OP: &str = "renorm";
    if p.is_nan() || p <= 0.0 {
        return refused(OP, format!("non-positive-norm not supported, got {p}"));
    }
    if greatest.is_nan() || greatest < 0.0 {
        return refused(OP, format!("expected maxnorm to be >= 0 but got {greatest}"));
    }
    if x.rank() < 2 {
        return refused(OP, format!("input needs at least 2 dimensions, got {} dimensions", x.rank()));
    }
    if !x.dtype().is_floating_point() {
        return Err(Error::DTypeInvalid { op: OP, dtype: x.dtype(), rule: "only floating point dtypes have norms" });
    }
    if let Some(y) = batch::along(OP, x, dim, |x, dim| scaled(x, p, &others(x, dim as usize, 1), greatest)) {
        return y;
    }
    let dim = wrap_dim(OP, dim, x.rank())?;
    scaled(x, p, &others(x, dim, 0), greatest)
}

/// All dimensions but one, from a first on.
fn others(x: &Tensor, dim: usize, first: usize) -> SmallVec<[isize; 4]> {
    (first..x.rank()).filter(|&d| d != dim).map(|d| d as isize).collect()
}

fn scaled(x: &Tensor, p: f64, dims: &[isize], greatest: f64) -> Result<Tensor> {
    if let Some(batch) = x.batch() {
        let dims: SmallVec<[isize; 4]> = dims.iter().map(|d| d + 1).collect();
        return scaled(&batch.value, p, &dims, greatest).map(|y| Tensor::batched(&y, batch.level));
    }
    let y = unrecorded(|| {
        let norm = vector_norm(x, p, dims, true, None)?;
        let factor = arithmetic::div(greatest, &arithmetic::add(&norm, ROOM)?)?;
        let factor = compare::where_(&compare::gt(&norm, greatest)?, &factor, 1.0)?;
        mul(&super::copy::to_contiguous(x)?, &cast::to(&factor, x.dtype())?)
    })?;
    // The bound stands beside the order in the shape of the settings.
    let settings = || Settings {
        shape: smallvec![greatest.to_bits() as usize],
        dims: dims.into(),
        keepdim: true,
        number: p,
        ..Settings::default()
    };
    record("RenormBackward0", &y, &[x], &[Keep::Input(x)], settings, of_scaled)?;
    Ok(y)
}

/// Where a slice was scaled: `dx = m / n' (g - dn / n')` with `n' = n + 1e-7` and the gradient `dn` of its norm `n` for
/// the upstream gradient `sum(x g)`.
fn of_scaled(call: &Call) -> Result<Gradients> {
    let (g, x, s) = (&call.g, &call.saved[0], call.settings);
    let greatest = f64::from_bits(s.shape[0] as u64);
    let norm = vector_norm(x, s.number, &s.dims, true, None)?;
    let inner = sum::sum(&mul(x, g)?, &s.dims, true, None)?;
    let full = Settings { shape: x.layout().shape.clone(), ..s.clone() };
    let of_norm = gradient(&inner, x, &norm, &full)?;
    let inverse = unary::reciprocal(&arithmetic::add(&norm, ROOM)?)?;
    let moved = mul(&mul(&inverse, greatest)?, &sub(g, &mul(&inverse, &of_norm)?)?)?;
    Ok(smallvec![Some(compare::where_(&compare::gt(&norm, greatest)?, &moved, g)?)])
}
