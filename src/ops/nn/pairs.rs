//! Distances and angles between pairs of vectors, and losses of them.

use super::loss::{invalid, passed_on};
use super::reduction::Reduction;
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::ops::arithmetic::{add, div, minimum, mul, neg, rsub, sub};
use crate::ops::compare::{clamp_min, eq, ne, where_};
use crate::ops::norm::vector_norm;
use crate::ops::operands::promoted;
use crate::ops::registry::operation;
use crate::ops::{batch, cast, sum, unary, view};
use crate::tensor::Tensor;
use crate::tensor::layout::{broadcast, wrap_dim};
use crate::tensor::scalar::Scalar;

operation! {
    /// A tensor over its norm of order `p` along `dim`, one or several: `x / max(|x|_p, eps)`.
    ///
    /// >>> ferrograd.nn.functional.normalize(ferrograd.tensor([[3.0, 4.0]]))
    /// tensor([[0.6000, 0.8000]])
    function Same(Floats -> Like), ["nn.normalize(Tensor input, Number p=2.0, int[] dim=(1,), Number eps=1e-12)"], |_, a| {
        let dims = if a.is_none(2) { &[1][..] } else { a.ints(2)? };
        Ok(normalize(a.tensor(0)?, a.float(1)?, dims, a.float(3)?)?.into())
    }
}

/// A tensor over its norm.
///
/// # Errors
/// For integers, and dimensions out of range or named twice.
pub fn normalize(x: &Tensor, p: f64, dims: &[isize], eps: f64) -> Result<Tensor> {
    let bounded = clamp_min(&vector_norm(x, p, dims, true, None)?, eps)?;
    div(x, &view::expand(&bounded, &view::signed(x.shape()))?)
}

operation! {
    /// The cosine of the angle between vectors along `dim`: `x1 . x2 / (max(|x1|, eps) max(|x2|, eps))`. Shapes broadcast.
    ///
    /// Shapes: the operands broadcast; the result is without `dim`.
    ///
    /// >>> ferrograd.cosine_similarity(ferrograd.tensor([[1.0, 0.0]]), ferrograd.tensor([[1.0, 1.0]]))
    /// tensor([0.7071])
    function Noted(Floats -> Promoted), ["nn.cosine_similarity(Tensor x1, Tensor x2, int dim=1, Number eps=1e-08)"; also "package.cosine_similarity"],
    |_, a| Ok(cosine_similarity(a.tensor(0)?, a.tensor(1)?, a.int(2)?, a.float(3)?)?.into())
}

/// The cosine of the angle between vectors along a dimension.
///
/// # Errors
/// For integers, a dimension out of range, and shapes that do not broadcast.
pub fn cosine_similarity(x1: &Tensor, x2: &Tensor, dim: isize, eps: f64) -> Result<Tensor> {
    const OP: &str = "cosine_similarity";
    let shape = broadcast(OP, x1.shape(), x2.shape())?;
    let dtype = promoted(&[x1.into(), x2.into()]);
    if !dtype.is_floating_point() {
        let rule = "expected common dtype to be floating point, yet common dtype is not";
        return Err(Error::DTypeInvalid { op: OP, dtype, rule });
    }
    let dim = wrap_dim(OP, dim, shape.len())? as isize;
    let unit = |x: &Tensor| -> Result<Tensor> {
        let x = cast::to(&view::expand(x, &view::signed(&shape))?, dtype)?;
        let norm = vector_norm(&x, 2.0, &[dim], true, None)?;
        div(&x, &passed_on(&norm, &|n| clamp_min(n, eps))?)
    };
    sum::sum(&mul(&unit(x1)?, &unit(x2)?)?, &[dim], false, None)
}

operation! {
    /// The norm of order `p` of `x1 - x2 + eps` along the last dimension. Shapes broadcast.
    ///
    /// Shapes: the operands broadcast; the result is without the last dimension, which `keepdim` keeps with size 1.
    ///
    /// >>> ferrograd.pairwise_distance(ferrograd.tensor([[0.0, 0.0]]), ferrograd.tensor([[3.0, 4.0]]))
    /// tensor([5.0000])
    function Noted(Numbers -> Float), ["nn.pairwise_distance(Tensor x1, Tensor x2, Number p=2.0, Number eps=1e-06, bool keepdim=False)"; also "package.pairwise_distance"],
    |_, a| Ok(pairwise_distance(a.tensor(0)?, a.tensor(1)?, a.float(2)?, a.float(3)?, a.bool(4)?)?.into())
}

/// Distances of an order between vectors along the last dimension.
///
/// # Errors
/// For integers and shapes that do not broadcast.
pub fn pairwise_distance(x1: &Tensor, x2: &Tensor, p: f64, eps: f64, keepdim: bool) -> Result<Tensor> {
    vector_norm(&add(&sub(x1, x2)?, eps)?, p, &[-1], keepdim, None)
}

operation! {
    /// `1 - cos(x1, x2)` where the target is 1, `max(0, cos(x1, x2) - margin)` where it is -1, for vectors `(D)` and one
    /// target, or `(N, D)` and `(N)`; and the mean or sum of it.
    ///
    /// Raises: RuntimeError for other shapes.
    ///
    /// Shapes: `(N, D), (N, D), (N,) -> ()` or `(D,), (D,), () -> ()`; with `reduction='none'` `(N, D), (N, D), (N,)
    /// -> (N,)`.
    ///
    /// >>> F = ferrograd.nn.functional
    /// >>> F.cosine_embedding_loss(ferrograd.tensor([[1.0, 0.0]]), ferrograd.tensor([[0.0, 1.0]]), ferrograd.tensor([1]))
    /// tensor(1.)
    function Noted(Any -> Float), ["nn.cosine_embedding_loss(Tensor input1, Tensor input2, Tensor target, Number margin=0, bool? size_average=None, bool? reduce=None, str reduction='mean')"; also "package.cosine_embedding_loss"],
    |_, a| {
        let (x1, x2, target, reduction) = (a.tensor(0)?, a.tensor(1)?, a.tensor(2)?, Reduction::of(a, 4)?);
        let rank = target.rank();
        if rank > 1 || x1.rank() != rank + 1 || x2.rank() != rank + 1 {
            let shapes = [x1.shape(), x2.shape(), target.shape()];
            let what = format!("{}D target tensor expects {}D input tensors, got inputs and target of shapes {shapes:?}", rank, rank + 1);
            return invalid(a.op, what);
        }
        let dim = rank as isize;
        let inner = |x: &Tensor, y: &Tensor| sum::sum(&mul(x, y)?, &[dim], false, None);
        let square = |x: &Tensor| add(&inner(x, x)?, 1e-12);
        let cosine = div(&inner(x1, x2)?, &unary::sqrt(&mul(&square(x1)?, &square(x2)?)?)?)?;
        let apart = clamp_min(&sub(&cosine, a.float(3)?)?, 0.0)?;
        let losses = add(
            &where_(&eq(target, 1)?, &rsub(&cosine, 1)?, 0.0)?,
            &where_(&eq(target, -1)?, &apart, 0.0)?,
        )?;
        Ok(reduction.apply(&losses)?.into())
    }
}

operation! {
    /// `x` where the target is 1, `max(0, margin - x)` where it is -1, element by element, and the mean or sum of it.
    ///
    /// >>> F = ferrograd.nn.functional
    /// >>> F.hinge_embedding_loss(ferrograd.tensor([0.5, 0.25]), ferrograd.tensor([1, -1]))
    /// tensor(0.6250)
    function Loss(Floats -> Promoted), ["nn.hinge_embedding_loss(Tensor input, Tensor target, Number margin=1.0, bool? size_average=None, bool? reduce=None, str reduction='mean')"; also "package.hinge_embedding_loss"],
    |_, a| {
        let (x, target, reduction) = (a.tensor(0)?, a.tensor(1)?, Reduction::of(a, 3)?);
        // Of integers the margin is one too.
        let is_whole = !x.dtype().is_floating_point();
        let margin = if is_whole { Scalar::Int(a.int(2)? as i64) } else { a.number(2)? };
        let apart = clamp_min(&rsub(x, margin)?, 0)?;
        let losses = add(&where_(&ne(target, 1)?, &apart, 0)?, &where_(&ne(target, -1)?, x, 0)?)?;
        Ok(reduction.apply(&losses)?.into())
    }
}

operation! {
    /// `max(0, -t (x1 - x2) + margin)`, element by element, and the mean or sum of it: a target of 1 wants `x1` the greater, -1
    /// the smaller.
    ///
    /// Raises: RuntimeError for tensors of different ranks.
    ///
    /// >>> F = ferrograd.nn.functional
    /// >>> F.margin_ranking_loss(ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([3.0, 1.0]), ferrograd.tensor([1, 1]))
    /// tensor(1.)
    function Loss(Numbers -> Float), ["nn.margin_ranking_loss(Tensor input1, Tensor input2, Tensor target, Number margin=0, bool? size_average=None, bool? reduce=None, str reduction='mean')"; also "package.margin_ranking_loss"],
    |_, a| {
        let (x1, x2, target, reduction) = (a.tensor(0)?, a.tensor(1)?, a.tensor(2)?, Reduction::of(a, 4)?);
        if x1.rank() != x2.rank() || x1.rank() != target.rank() {
            let shapes = [x1.shape(), x2.shape(), target.shape()];
            return invalid(a.op, format!("All input tensors should have same dimension but got sizes: {shapes:?}"));
        }
        let losses = clamp_min(&add(&mul(&neg(target)?, &sub(x1, x2)?)?, a.float(3)?)?, 0)?;
        Ok(reduction.apply(&losses)?.into())
    }
}

operation! {
    /// `max(0, margin + d(a, p) - d(a, n))` for vectors along the last dimension, the anchor `a`, a positive `p` and a negative
    /// `n`, where `d` is `pairwise_distance` of order `p`; and the mean or sum of it. With `swap` the distance of the negative
    /// is the lesser of those from the anchor and from the positive.
    ///
    /// Raises: RuntimeError for tensors of different ranks; ValueError for a margin that is not positive.
    ///
    /// Shapes: the operands broadcast; the result is `()`, or that without the last dimension where `reduction='none'`.
    ///
    /// >>> F, t = ferrograd.nn.functional, ferrograd.tensor
    /// >>> F.triplet_margin_loss(t([[0.0, 0.0]]), t([[0.0, 2.0]]), t([[0.0, 1.5]]))
    /// tensor(1.5000)
    function Noted(Numbers -> Float), ["nn.triplet_margin_loss(Tensor anchor, Tensor positive, Tensor negative, Number margin=1.0, Number p=2, Number eps=1e-06, bool swap=False, bool? size_average=None, bool? reduce=None, str reduction='mean')"],
    |_, a| {
        let (anchor, positive, negative) = (a.tensor(0)?, a.tensor(1)?, a.tensor(2)?);
        let (margin, p, eps, reduction) = (a.float(3)?, a.float(4)?, a.float(5)?, Reduction::of(a, 7)?);
        if margin <= 0.0 {
            return Err(Error::Data { op: a.op, what: format!("margin must be greater than 0, got {margin}") });
        }
        if anchor.rank() != positive.rank() || anchor.rank() != negative.rank() {
            let ranks = [anchor.rank(), positive.rank(), negative.rank()];
            return invalid(a.op, format!("The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: {ranks:?}"));
        }
        let near = pairwise_distance(anchor, positive, p, eps, false)?;
        let mut far = pairwise_distance(anchor, negative, p, eps, false)?;
        if a.bool(6)? {
            far = minimum(&far, &pairwise_distance(positive, negative, p, eps, false)?)?;
        }
        Ok(reduction.apply(&clamp_min(&sub(&add(&near, margin)?, &far)?, 0)?)?.into())
    }
}

operation! {
    /// `x W^T + b` along the last dimension: `(..., in)` and weights `(out, in)` give `(..., out)`; weights `(in)` give `(...)`.
    ///
    /// Raises: RuntimeError for sizes or dtypes that do not fit.
    ///
    /// Shapes: `(..., n), (m, n), (m,) -> (..., m)`.
    ///
    /// >>> F = ferrograd.nn.functional
    /// >>> F.linear(ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([[1.0, 1.0], [0.0, 3.0]]), ferrograd.tensor([0.5, 0.0]))
    /// tensor([3.5000, 6.0000])
    function Noted(Numbers -> Shared), ["nn.linear(Tensor input, Tensor weight, Tensor? bias=None)"], |_, a| {
        Ok(linear(a.tensor(0)?, a.tensor(1)?, a.maybe_tensor(2)?)?.into())
    }
}

/// A linear map of vectors along the last dimension.
///
/// # Errors
/// For sizes or dtypes that do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    if weight.rank() > 2 {
        return Err(Error::Rank {
            op: "linear",
            expected: "weights of one or two dimensions",
            shape: weight.shape().to_vec(),
        });
    }
    let turned = if weight.rank() == 2 { view::t(weight)? } else { weight.clone() };
    let Some(bias) = bias else { return crate::ops::contract::matmul(x, &turned) };
    if x.rank() == 2 && weight.rank() == 2 {
        return crate::ops::combined::addmm(bias, x, &turned);
    }
    // As in torch, where the rows lie side by side.
    let has_rows = x.rank() > 0 && x.is_contiguous();
    if has_rows && weight.rank() == 2 && bias.rank() == 1 && batch::level([x, weight, bias]).is_none() {
        return crate::ops::combined::addmm_of_rows(bias, x, &turned);
    }
    if x.rank() == 2 {
        return Err(Error::Rank {
            op: "linear",
            expected: "a matrix of weights beside a bias",
            shape: weight.shape().to_vec(),
        });
    }
    crate::ops::contract::same_dtype("linear", x, bias)?;
    let product = crate::ops::contract::matmul(x, &turned)?;
    if bias.rank() <= product.rank() {
        crate::ops::combined::check_first("linear", bias, product.shape())?;
    }
    add(&product, bias)
}

operation! {
    /// Vectors that are 1 at the place of a class and 0 elsewhere, in a new last dimension: `num_classes` long, or one more than
    /// the greatest class.
    ///
    /// Raises: RuntimeError for other dtypes than int64, negative classes and those not below `num_classes`.
    ///
    /// Shapes: `(...) -> (..., C)`.
    /// Dtypes: int64, kept.
    ///
    /// >>> ferrograd.nn.functional.one_hot(ferrograd.tensor([0, 2]))
    /// tensor([[1, 0, 0],
    ///         [0, 0, 1]])
    function Noted(Noted -> Noted), ["nn.one_hot(Tensor input, int num_classes=-1)"], |_, a| Ok(one_hot(a.tensor(0)?, a.int(1)?)?.into())
}

/// Vectors that are 1 at the place of a class.
///
/// # Errors
/// For other dtypes than int64, and classes that there are not.
pub fn one_hot(classes: &Tensor, count: isize) -> Result<Tensor> {
    const OP: &str = "one_hot";
    if classes.dtype() != crate::tensor::dtype::DType::I64 {
        return invalid(
            OP,
            format!("one_hot is only applicable to index tensor of type LongTensor, got {}", classes.dtype()),
        );
    }
    let mut count = count;
    let values = if classes.batch().is_none() { Some(classes.to_vec::<i64>()?) } else { None };
    if let Some(values) = &values {
        let greatest = values.iter().copied().max();
        match greatest {
            None if count <= 0 => {
                return invalid(OP, "Can not infer total number of classes from empty tensor.".into());
            }
            None => {}
            Some(_) if values.iter().any(|&class| class < 0) => {
                return invalid(OP, "Class values must be non-negative.".into());
            }
            Some(greatest) if count == -1 => count = greatest as isize + 1,
            Some(_) if count < 1 => return invalid(OP, format!("num_classes should be positive, got {count}")),
            Some(greatest) if greatest >= count as i64 => {
                return invalid(
                    OP,
                    format!("Class values must be smaller than num_classes, got {greatest} and {count}"),
                );
            }
            Some(_) => {}
        }
    } else if count < 1 {
        return invalid(
            OP,
            "the number of classes cannot be found from the examples of a map: give num_classes".into(),
        );
    }
    if let Some(values) = values {
        let shape: Vec<usize> = classes.shape().iter().copied().chain([count as usize]).collect();
        let y = Tensor::zeros(&shape, classes.dtype())?;
        // SAFETY: the tensor is new, contiguous and of this type.
        let rows = unsafe { y.elements_mut::<i64>() }.chunks_mut(count.max(1) as usize);
        rows.zip(values).for_each(|(row, class)| row[class as usize] = 1);
        return Ok(y);
    }
    let all = crate::ops::creation::arange(0.into(), (count as i64).into(), 1.into(), None)?;
    unrecorded(|| cast::to(&eq(&view::unsqueeze(classes, -1)?, &all)?, classes.dtype()))
}
