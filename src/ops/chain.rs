//! Products of vectors and matrices made of others: outer and cross products, powers, chains.

use smallvec::{SmallVec, smallvec};

use super::arithmetic::{mul, sub};
use super::recorded::{Keep, Settings, record};
use super::reduce::wide_float;
use super::registry::operation;
use super::{batch, contract, copy, creation, inplace, join, sum, view};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::kernels::cross::{Vectors, products};
use crate::kernels::reduce::kinds::Accumulator;
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::{Strides, broadcast, wrap_dim};
use crate::tensor::storage::Access;

fn refused<T>(op: &'static str, what: String) -> Result<T> {
    Err(Error::Invalid { op, what })
}

operation! {
    /// The product of every element of one vector with every element of another.
    ///
    /// Shapes: `(n,), (m,) -> (n, m)`.
    ///
    /// >>> ferrograd.outer(ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([3.0, 4.0]))
    /// tensor([[3., 4.],
    ///         [6., 8.]])
    function Noted(Any -> Promoted), ["outer(Tensor self, Tensor vec2)"; also "ger"], |_, a| {
        let (x, y) = (a.tensor(0)?, a.tensor(1)?);
        for t in [x, y] {
            if t.rank() != 1 {
                return refused("outer", format!("expected 1-D arguments, got shape {:?}", t.shape()));
            }
        }
        Ok(mul(&view::reshape(x, &[-1, 1])?, y)?.into())
    }
}

operation! {
    /// The product of every element of one tensor with the other tensor, in blocks.
    ///
    /// Shapes: any; the sizes multiply.
    ///
    /// >>> ferrograd.kron(ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([1.0, 10.0]))
    /// tensor([ 1., 10.,  2., 20.])
    function Noted(Any -> Promoted), ["kron(Tensor self, Tensor other)"], |_, a| Ok(kron(a.tensor(0)?, a.tensor(1)?)?.into())
}

/// The Kronecker product.
///
/// # Errors
/// Where there is no memory.
pub fn kron(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let rank = a.rank().max(b.rank());
    let size = |t: &Tensor, d: usize| (d + t.rank()).checked_sub(rank).map_or(1, |d| t.shape()[d]) as isize;
    let pairs = |t: &Tensor, first: bool| -> Vec<isize> {
        (0..rank).flat_map(|d| if first { [size(t, d), 1] } else { [1, size(t, d)] }).collect()
    };
    let y = mul(&view::reshape(a, &pairs(a, true))?, &view::reshape(b, &pairs(b, false))?)?;
    view::reshape(&y, &(0..rank).map(|d| size(a, d) * size(b, d)).collect::<Vec<_>>())
}

operation! {
    /// Sum of the products of two vectors' elements, the first conjugated.
    ///
    /// Shapes: `(n,), (n,) -> ()`.
    ///
    /// >>> ferrograd.vdot(ferrograd.tensor([1.0, 2.0]), ferrograd.tensor([3.0, 4.0]))
    /// tensor(11.)
    function Noted(Numbers -> Shared), ["vdot(Tensor self, Tensor other)"], |_, a| Ok(contract::vdot(a.tensor(0)?, a.tensor(1)?)?.into())
}

operation! {
    /// Sums of products along a dimension of two tensors, which broadcast.
    ///
    /// Shapes: the operands broadcast; the result is without `dim`.
    ///
    /// >>> ferrograd.linalg.vecdot(ferrograd.tensor([[1.0, 2.0], [3.0, 4.0]]), ferrograd.tensor([1.0, 1.0]))
    /// tensor([3., 7.])
    function Noted(Floats -> Promoted), ["linalg.vecdot(Tensor x, Tensor y, *, int dim=-1)"], |_, a| {
        let (x, y) = (a.tensor(0)?, a.tensor(1)?);
        if let Some(t) = [x, y].into_iter().find(|t| !t.dtype().is_floating_point()) {
            let rule = "expected a floating point or complex tensor as input";
            return Err(Error::DTypeInvalid { op: "linalg.vecdot", dtype: t.dtype(), rule });
        }
        if x.rank() == 1 && x.shape() == y.shape() && x.dtype() == y.dtype() {
            wrap_dim(a.op, a.int(2)?, 1)?;
            return Ok(contract::vdot(x, y)?.into());
        }
        let y = mul(x, y)?;
        Ok(sum::sum(&y, &[a.int(2)?], false, Some(y.dtype()))?.into())
    }
}

operation! {
    /// The product of a chain of matrices in the cheapest order.
    ///
    /// Shapes: `(n, k), (k, l), (l, m) -> (n, m)`, so for any number of matrices.
    ///
    /// >>> ferrograd.chain_matmul(ferrograd.ones(1, 2), ferrograd.ones(2, 3), ferrograd.ones(3, 1))
    /// tensor([[6.]])
    function Noted(Numbers -> Shared), ["chain_matmul(Tensor[] matrices)"], |_, a| {
        let all = a.tensors(0)?;
        if all.is_empty() {
            return refused(a.op, "expected one or more matrices".into());
        }
        if let Some(other) = all.iter().find(|t| t.rank() != 2) {
            return refused(a.op, format!("expected matrices, got shape {:?}", other.shape()));
        }
        Ok(if all.len() == 1 { all[0].clone() } else { multi_dot(a.op, all)? }.into())
    }
}

operation! {
    /// The product of a chain of matrices in the cheapest order; the first and the last may be vectors.
    ///
    /// Shapes: `(n, k), (k, l), (l, m) -> (n, m)`, so for two matrices and more; the first may be a row, `(k,), (k,
    /// l), (l, m), (m, n) -> (n,)`, and the last a column.
    ///
    /// >>> ferrograd.linalg.multi_dot([ferrograd.ones(2), ferrograd.ones(2, 3), ferrograd.ones(3)])
    /// tensor(6.)
    function Noted(Numbers -> Shared), ["linalg.multi_dot(Tensor[] tensors)"], |_, a| {
        let all = a.tensors(0)?;
        if all.len() < 2 {
            return refused("linalg.multi_dot", format!("expected at least 2 tensors but got {}", all.len()));
        }
        Ok(multi_dot("linalg.multi_dot", all)?.into())
    }
}

fn multi_dot(op: &'static str, tensors: &[Tensor]) -> Result<Tensor> {
    let last = tensors.len() - 1;
    for (i, t) in tensors.iter().enumerate() {
        let ends = i == 0 || i == last;
        if t.rank() != 2 && !(ends && t.rank() == 1) {
            let what = "the first and the last tensor must be 1D or 2D and all others 2D";
            return refused(op, format!("{what}, got shape {:?} at {i}", t.shape()));
        }
    }
    if let Some(other) = tensors.iter().find(|t| t.dtype() != tensors[0].dtype()) {
        return Err(Error::DTypeMismatch { op, left: tensors[0].dtype(), right: other.dtype() });
    }
    let mut list: Vec<Tensor> = tensors.to_vec();
    if list[0].rank() == 1 {
        list[0] = view::unsqueeze(&list[0], 0)?;
    }
    if list[last].rank() == 1 {
        list[last] = view::unsqueeze(&list[last], 1)?;
    }
    for pair in list.windows(2) {
        if pair[0].shape()[1] != pair[1].shape()[0] {
            let (left, right) = (pair[0].shape().to_vec(), pair[1].shape().to_vec());
            return Err(Error::InnerSizes { op, left, right });
        }
    }
    let sizes: Vec<f64> = list.iter().map(|t| t.shape()[0]).chain([list[last].shape()[1]]).map(|n| n as f64).collect();
    let cuts = cuts(&sizes);
    // Stretches of the chain, each before its two parts, whose products stand in the place of their first matrices.
    let mut stretches = vec![(0, list.len())];
    let mut at = 0;
    while let Some(&(from, to)) = stretches.get(at) {
        if to - from > 1 {
            let cut = cuts[from][to];
            stretches.extend([(from, cut), (cut, to)]);
        }
        at += 1;
    }
    for &(from, to) in stretches.iter().rev().filter(|(from, to)| to - from > 1) {
        list[from] = contract::matmul(&list[from], &list[cuts[from][to]])?;
    }
    let mut shape: SmallVec<[isize; 2]> = smallvec![];
    let y = &list[0];
    if tensors[0].rank() == 2 {
        shape.push(y.shape()[0] as isize);
    }
    if tensors[last].rank() == 2 {
        shape.push(y.shape()[1] as isize);
    }
    view::reshape(y, &shape)
}

/// Where to cut each stretch of a chain of matrices in two, so that its product takes the fewest multiplications. Matrix `i`
/// has `sizes[i]` rows and `sizes[i + 1]` columns.
fn cuts(sizes: &[f64]) -> Vec<Vec<usize>> {
    let count = sizes.len() - 1;
    let mut costs = vec![vec![0.0; count + 1]; count + 1];
    let mut cuts = vec![vec![0; count + 1]; count + 1];
    for length in 2..=count {
        for from in 0..=count - length {
            let to = from + length;
            let cost = |&cut: &usize| costs[from][cut] + costs[cut][to] + sizes[from] * sizes[cut] * sizes[to];
            let best = (from + 1..to).min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap_or(from + 1);
            costs[from][to] = cost(&best);
            cuts[from][to] = best;
        }
    }
    cuts
}

operation! {
    /// The cross product of vectors in a dimension of size 3; without `dim`, the first such.
    ///
    /// Shapes: the operands broadcast, with three elements along `dim`.
    ///
    /// >>> ferrograd.cross(ferrograd.tensor([1.0, 0.0, 0.0]), ferrograd.tensor([0.0, 1.0, 0.0]), dim=0)
    /// tensor([0., 0., 1.])
    function Noted(Numbers -> Promoted), ["cross(Tensor self, Tensor other, int? dim=None)"], |_, a| {
        let (x, y) = (a.tensor(0)?, a.tensor(1)?);
        let shape = broadcast("cross", x.shape(), y.shape())?;
        let dim = match a.maybe_int(2)? {
            Some(dim) => dim,
            None => match shape.iter().position(|&s| s == 3) {
                Some(d) => d as isize,
                None => return refused("cross", format!("no dimension of size 3 in input, got {shape:?}")),
            },
        };
        Ok(cross(x, y, dim)?.into())
    }
}

operation! {
    /// The cross product of vectors in a dimension of size 3; the others broadcast.
    ///
    /// Shapes: the operands broadcast, with three elements along `dim`.
    ///
    /// >>> ferrograd.linalg.cross(ferrograd.tensor([1.0, 0.0, 0.0]), ferrograd.tensor([0.0, 1.0, 0.0]))
    /// tensor([0., 0., 1.])
    function Noted(Numbers -> Promoted), ["linalg.cross(Tensor input, Tensor other, *, int dim=-1)"], |_, a| {
        Ok(cross(a.tensor(0)?, a.tensor(1)?, a.int(2)?)?.into())
    }
}

/// The cross product of vectors in a dimension of size 3.
///
/// # Errors
/// For another size, tensors of different ranks, and sizes that do not broadcast.
pub fn cross(a: &Tensor, b: &Tensor, dim: isize) -> Result<Tensor> {
    const OP: &str = "linalg.cross";
    if a.rank() != b.rank() {
        return refused(
            OP,
            format!("inputs must have the same number of dimensions, got {} and {}", a.rank(), b.rank()),
        );
    }
    if a.dtype() == DType::Bool && b.dtype() == DType::Bool {
        return Err(Error::NotImplemented { op: OP, what: "bool: convert to a number type first; this".into() });
    }
    let d = wrap_dim(OP, dim, a.rank())?;
    let at = |t: &Tensor| t.shape().get(d).copied().unwrap_or(1);
    if at(a) != 3 || at(b) != 3 {
        return refused(OP, format!("inputs dimension {dim} must have length 3. Got {} and {}", at(a), at(b)));
    }
    if let Some(both) = batch::together(&[a.clone(), b.clone()]) {
        let (both, level) = both?;
        return cross(&both[0], &both[1], d as isize + 1).map(|y| Tensor::batched(&y, level));
    }
    let shape = broadcast(OP, a.shape(), b.shape())?;
    let y = unrecorded(|| {
        if a.dtype() == b.dtype() && matches!(a.dtype(), DType::F32 | DType::F64) {
            let y = Tensor::uninitialized(OP, &shape, a.dtype())?;
            wide_float!(a.dtype(), A => crossed::<A>(a, b, &y, d));
            return Ok(y);
        }
        // The vector from its element `n` on, around.
        let around = |t: &Tensor, n: isize| {
            let parts = [view::narrow(t, d as isize, n, 3 - n)?, view::narrow(t, d as isize, 0, n)?];
            join::cat(&parts, d as isize)
        };
        sub(&mul(&around(a, 1)?, &around(b, 2)?)?, &mul(&around(a, 2)?, &around(b, 1)?)?)
    })?;
    let settings = || Settings { dims: smallvec![d as isize], ..contract::of_factors(a, b) };
    record("LinalgCrossBackward0", &y, &[a, b], &[Keep::Input(a), Keep::Input(b)], settings, |call| {
        // da = b x g, db = g x a
        let (g, a, b, dim) = (&call.g, &call.saved[0], &call.saved[1], call.settings.dims[0]);
        let da = if call.needs[0] { Some(cross(b, g, dim)?) } else { None };
        let db = if call.needs[1] { Some(cross(g, a, dim)?) } else { None };
        Ok(smallvec![da, db])
    })?;
    Ok(y)
}

/// Writes the cross products of tensors of type `T`, broadcast, into a new one.
fn crossed<T: Accumulator>(a: &Tensor, b: &Tensor, y: &Tensor, dim: usize) {
    let without = |strides: &[isize]| -> Strides {
        strides.iter().enumerate().filter(|&(d, _)| d != dim).map(|(_, &stride)| stride).collect()
    };
    let layouts = [a, b].map(|t| t.layout().broadcast_to(y.shape()).strides);
    let [p, q, r] = [&layouts[0], &layouts[1], &y.layout().strides].map(|strides| without(strides));
    let mut shape = y.layout().shape.clone();
    shape.remove(dim);
    let _access = Access::lock([(&**a.storage(), false), (&**b.storage(), false)]);
    // SAFETY: all are of this type, under their strides, and locked or new.
    unsafe {
        let a = Vectors { first: a.data_ptr().cast::<T>().cast_const(), step: layouts[0][dim], strides: &p };
        let b = Vectors { first: b.data_ptr().cast::<T>().cast_const(), step: layouts[1][dim], strides: &q };
        let y = Vectors { first: y.data_ptr().cast::<T>(), step: y.strides()[dim], strides: &r };
        products(&shape, a, b, y);
    }
}

operation! {
    /// A matrix, or each of a batch, multiplied `n` times with itself, by squaring. Negative powers, which need an
    /// inverse, are not implemented.
    ///
    /// Shapes: `(..., m, m) -> (..., m, m)`.
    ///
    /// >>> ferrograd.matrix_power(ferrograd.tensor([[1.0, 1.0], [0.0, 1.0]]), 5)
    /// tensor([[1., 5.],
    ///         [0., 1.]])
    function Noted(Numbers -> Like), ["matrix_power(Tensor self, int n)"], |_, a| Ok(matrix_power(a.tensor(0)?, a.int(1)?)?.into())
}

operation! {
    /// As `ferrograd.matrix_power`.
    ///
    /// Shapes: `(..., m, m) -> (..., m, m)`.
    ///
    /// >>> ferrograd.linalg.matrix_power(ferrograd.tensor([[2.0, 0.0], [0.0, 1.0]]), 3)
    /// tensor([[8., 0.],
    ///         [0., 1.]])
    function Noted(Numbers -> Like), ["linalg.matrix_power(Tensor input, int n)"], |_, a| Ok(matrix_power(a.tensor(0)?, a.int(1)?)?.into())
}

/// A matrix, or each of a batch, multiplied with itself.
///
/// # Errors
/// For what is no square matrix, and negative powers.
pub fn matrix_power(x: &Tensor, n: isize) -> Result<Tensor> {
    const OP: &str = "linalg.matrix_power";
    let rank = x.rank();
    if rank < 2 || x.shape()[rank - 1] != x.shape()[rank - 2] {
        return refused(OP, format!("A must be batches of square matrices, but they are {:?}", x.shape()));
    }
    if n < 0 {
        return Err(Error::NotImplemented { op: OP, what: "negative powers, which need an inverse: this".into() });
    }
    if n == 0 {
        let n = x.shape()[rank - 1];
        return inplace::copy_(&copy::clone(x)?, &creation::diagonal_ones(n, n, x.dtype())?);
    }
    let mut power = n as usize;
    let (mut square, mut found) = (x.clone(), None::<Tensor>);
    if power == 3 {
        return contract::matmul(&contract::matmul(x, x)?, x);
    }
    while power > 0 {
        if power & 1 == 1 {
            found = Some(found.map_or_else(|| Ok(square.clone()), |f| contract::matmul(&f, &square))?);
        }
        power >>= 1;
        if power > 0 {
            square = contract::matmul(&square, &square)?;
        }
    }
    match found {
        Some(y) if n > 1 => Ok(y),
        _ => copy::clone(x),
    }
}
