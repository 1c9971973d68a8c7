//! Views with the dimensions in another order.

use smallvec::{SmallVec, smallvec};

use super::{Back, instead, recorded};
use crate::error::{Error, Result};
use crate::graph::node::Setting;
use crate::ops::batch;
use crate::ops::registry::operation;
use crate::tensor::Tensor;
use crate::tensor::layout::wrap_dim;

const TRANSPOSE: &str = "TransposeBackward0";

operation! {
    /// Dimensions in another order, as a view.
    ///
    /// Shapes: any; the same sizes in the order of `dims`.
    /// Raises: IndexError for dimensions that there are not; RuntimeError for another number of them.
    ///
    /// >>> ferrograd.zeros(2, 3, 4).permute((2, 0, 1)).shape
    /// torch.Size([4, 2, 3])
    function View(Any -> Kept), ["permute(Tensor self, int[] dims)"], |_, a| Ok(permute(a.tensor(0)?, a.ints(1)?)?.into())
}

/// Dimensions in another order.
///
/// # Errors
/// Where `dims` is not a permutation of the dimensions.
pub fn permute(x: &Tensor, dims: &[isize]) -> Result<Tensor> {
    permuted(x, dims, ["PermuteBackward0"; 2])
}

/// Dimensions in an order that is known to be one, under the name of its node.
pub(super) fn ordered(x: &Tensor, dims: &[u8], name: &'static str) -> Result<Tensor> {
    permuted(x, &dims.iter().map(|&d| d as isize).collect::<SmallVec<[isize; 8]>>(), [name; 2])
}

/// What the call behind a node asked for, from the inverse of the order.
pub(super) fn settings(node: &str, inverse: &[u8]) -> Vec<(&'static str, Setting)> {
    let mut order = vec![0i64; inverse.len()];
    inverse.iter().enumerate().for_each(|(n, &d)| order[usize::from(d)] = n as i64);
    if node != TRANSPOSE {
        let is_free = node == "PermuteBackward0";
        return is_free.then_some(("dims", Setting::Ints(order))).into_iter().collect();
    }
    let moved = || (0..order.len()).filter(|&d| order[d] != d as i64);
    let (first, last) = (moved().min().unwrap_or(0), moved().max().unwrap_or(0));
    vec![("dim0", Setting::Int(first as i64)), ("dim1", Setting::Int(last as i64))]
}

/// Dimensions in another order, with the names of the node and of its gradient's.
fn permuted(x: &Tensor, dims: &[isize], names: [&'static str; 2]) -> Result<Tensor> {
    if dims.len() != x.rank() {
        return Err(Error::PermuteRank { op: "permute", rank: x.rank(), given: dims.len() });
    }
    let mut order: SmallVec<[usize; 8]> = SmallVec::new();
    let mut inverse: SmallVec<[u8; 8]> = smallvec![u8::MAX; dims.len()];
    for (i, &d) in dims.iter().enumerate() {
        let d = wrap_dim("permute", d, x.rank())?;
        if std::mem::replace(&mut inverse[d], i as u8) != u8::MAX {
            return Err(Error::DimRepeated { op: "permute", dim: d });
        }
        order.push(d);
    }
    let wrapped: SmallVec<[isize; 8]> = order.iter().map(|&d| d as isize).collect();
    if let Some(y) = batch::unary(x, |x| permuted(x, &batch::moved(&wrapped), names)) {
        return y;
    }
    recorded(x, x.layout().permute(&order), names[0], |_| Back::Permute(inverse, names[1]))
}

operation! {
    /// Two dimensions swapped, as a view.
    ///
    /// Shapes: any; two sizes change places.
    ///
    /// >>> ferrograd.zeros(2, 3).transpose(0, 1).shape
    /// torch.Size([3, 2])
    function View(Any -> Kept), ["transpose(Tensor self, int dim0, int dim1)"],
    in_place |_, a| instead(a, |x| swapped(x, a.int(1)?, a.int(2)?, ["TransposeBackward1", TRANSPOSE])),
    |_, a| Ok(transpose(a.tensor(0)?, a.int(1)?, a.int(2)?)?.into())
}

operation! {
    /// Two dimensions swapped, as a view: `transpose` under NumPy's name.
    ///
    /// Shapes: any; two sizes change places.
    ///
    /// >>> ferrograd.zeros(2, 3).swapaxes(0, 1).shape
    /// torch.Size([3, 2])
    function View(Any -> Kept), ["swapaxes(Tensor self, int axis0, int axis1)"],
    in_place |_, a| instead(a, |x| swapped(x, a.int(1)?, a.int(2)?, ["TransposeBackward1", TRANSPOSE])),
    |_, a| Ok(transpose(a.tensor(0)?, a.int(1)?, a.int(2)?)?.into())
}

operation! {
    /// Two dimensions swapped, as a view: the same as `transpose`.
    ///
    /// Shapes: any; two sizes change places.
    ///
    /// >>> ferrograd.zeros(2, 3).swapdims(0, 1).shape
    /// torch.Size([3, 2])
    function View(Any -> Kept), ["swapdims(Tensor self, int dim0, int dim1)"],
    in_place |_, a| instead(a, |x| swapped(x, a.int(1)?, a.int(2)?, ["TransposeBackward1", TRANSPOSE])),
    |_, a| Ok(transpose(a.tensor(0)?, a.int(1)?, a.int(2)?)?.into())
}

/// Two dimensions swapped.
///
/// # Errors
/// For dimensions out of range.
pub fn transpose(x: &Tensor, a: isize, b: isize) -> Result<Tensor> {
    swapped(x, a, b, [TRANSPOSE; 2])
}

fn swapped(x: &Tensor, a: isize, b: isize, names: [&'static str; 2]) -> Result<Tensor> {
    let (a, b) = (wrap_dim("transpose", a, x.rank())?, wrap_dim("transpose", b, x.rank())?);
    let mut order: SmallVec<[isize; 8]> = (0..x.rank() as isize).collect();
    if x.rank() > 0 {
        order.swap(a, b);
    }
    permuted(x, &order, names)
}

operation! {
    /// Matrices in the last two dimensions transposed, as a view; for real numbers the same as `mT`.
    ///
    /// Shapes: `(..., n, m) -> (..., m, n)`.
    ///
    /// >>> ferrograd.tensor([[1, 2], [3, 4]]).adjoint()
    /// tensor([[1, 3],
    ///         [2, 4]])
    function View(Any -> Kept), ["adjoint(Tensor self)"], |_, a| Ok(matrix_transpose("adjoint", a.tensor(0)?)?.into())
}

/// The last two dimensions swapped; a tensor without dimensions stays as it is.
///
/// # Errors
/// For vectors.
pub fn matrix_transpose(op: &'static str, x: &Tensor) -> Result<Tensor> {
    match x.rank() {
        0 => Ok(x.clone()),
        1 => Err(Error::Rank { op, expected: "a matrix or matrices", shape: x.shape().to_vec() }),
        _ => transpose(x, -2, -1),
    }
}

operation! {
    /// Dimensions moved to other places, the others in their order between them. A view.
    ///
    /// Shapes: any; the same sizes in another order.
    ///
    /// >>> ferrograd.zeros(2, 3, 4).movedim(0, -1).shape
    /// torch.Size([3, 4, 2])
    /// >>> ferrograd.zeros(2, 3, 4).movedim((0, 1), (1, 2)).shape
    /// torch.Size([4, 2, 3])
    function View(Any -> Kept), ["movedim(Tensor self, int source, int destination)", "movedim(Tensor self, int[] source, int[] destination)"],
    |n, a| Ok(match n {
        0 => movedim(a.tensor(0)?, a.int(1)?, a.int(2)?)?,
        _ => movedims(a.tensor(0)?, a.ints(1)?, a.ints(2)?)?,
    }.into())
}

operation! {
    /// Dimensions moved to other places, as a view: `movedim` under NumPy's name.
    ///
    /// Shapes: any; the same sizes in another order.
    ///
    /// >>> ferrograd.zeros(2, 3, 4).moveaxis(0, -1).shape
    /// torch.Size([3, 4, 2])
    function View(Any -> Kept), ["moveaxis(Tensor self, int source, int destination)", "moveaxis(Tensor self, int[] source, int[] destination)"],
    |n, a| Ok(match n {
        0 => movedim(a.tensor(0)?, a.int(1)?, a.int(2)?)?,
        _ => movedims(a.tensor(0)?, a.ints(1)?, a.ints(2)?)?,
    }.into())
}

/// A dimension moved to another place.
///
/// # Errors
/// For dimensions out of range.
pub fn movedim(x: &Tensor, from: isize, to: isize) -> Result<Tensor> {
    movedims(x, &[from], &[to])
}

/// Dimensions moved to other places.
///
/// # Errors
/// For dimensions out of range, named twice, and lists of different lengths.
pub fn movedims(x: &Tensor, from: &[isize], to: &[isize]) -> Result<Tensor> {
    const OP: &str = "movedim";
    let rank = x.rank();
    if from.len() != to.len() {
        let what = format!(
            "invalid source or destination dims: source {from:?} should contain the same number of dims as destination {to:?}"
        );
        return Err(Error::Invalid { op: OP, what });
    }
    let places = |dims: &[isize], which: &str| -> Result<SmallVec<[usize; 8]>> {
        let all: SmallVec<[usize; 8]> = dims.iter().map(|&d| wrap_dim(OP, d, rank)).collect::<Result<_>>()?;
        if (1..all.len()).any(|i| all[..i].contains(&all[i])) {
            return Err(Error::Invalid { op: OP, what: format!("repeated dim in `{which}` ({dims:?})") });
        }
        Ok(all)
    };
    let (from, to) = (places(from, "source")?, places(to, "destination")?);
    if rank == 0 {
        return super::alias(x);
    }
    let mut others = (0..rank).filter(|d| !from.contains(d));
    let source = |place: usize| match to.iter().position(|&t| t == place) {
        Some(n) => from[n],
        None => others.next().unwrap_or(0),
    };
    let order: SmallVec<[isize; 8]> = (0..rank).map(source).map(|d| d as isize).collect();
    permute(x, &order)
}

operation! {
    /// A matrix transposed, as a view; tensors of fewer dimensions stay as they are.
    ///
    /// Shapes: `(n, m) -> (m, n)`; less than two dimensions are kept.
    ///
    /// >>> ferrograd.tensor([[1, 2], [3, 4]]).t()
    /// tensor([[1, 3],
    ///         [2, 4]])
    function View(Any -> Kept), ["t(Tensor self)"], in_place |_, a| instead(a, |x| flipped(x, ["TBackward1", "TBackward0"])),
    |_, a| Ok(t(a.tensor(0)?)?.into())
}

/// A matrix transposed.
///
/// # Errors
/// For more than two dimensions.
pub fn t(x: &Tensor) -> Result<Tensor> {
    flipped(x, ["TBackward0"; 2])
}

fn flipped(x: &Tensor, names: [&'static str; 2]) -> Result<Tensor> {
    match x.rank() {
        0 | 1 if x.batch().is_some() => Ok(x.clone()),
        0 | 1 => recorded(x, x.layout().clone(), names[0], |_| Back::Expand),
        2 => swapped(x, 0, 1, names),
        _ => Err(Error::Rank { op: "t", expected: "a tensor of at most 2 dimensions", shape: x.shape().to_vec() }),
    }
}
