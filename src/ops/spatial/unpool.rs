//! Elements set back where `max_pool` found them.

use smallvec::SmallVec;

use super::{Pooling, check_images};
use crate::error::{Error, Result};
use crate::graph::forward::{self, unrecorded};
use crate::ops::recorded::link_simple;
use crate::ops::registry::{Arguments, operation};
use crate::ops::select::{self, Deed};
use crate::ops::{batch, gather, view};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::Shape;

/// The last dimensions as one.
fn flat(x: &Tensor, spatial: usize) -> Result<Tensor> {
    view::flatten(x, -(spatial as isize), -1)
}

/// Zeros of these sizes in the last dimensions, with elements at places among them.
fn unpooled(op: &'static str, node: &'static str, x: &Tensor, places: &Tensor, sizes: &[usize]) -> Result<Tensor> {
    let spatial = sizes.len();
    let mut shape: Shape = x.shape()[..x.rank() - spatial].into();
    shape.extend_from_slice(sizes);
    let set = || {
        let zeros = flat(&Tensor::zeros(&shape, x.dtype())?, spatial)?;
        let (list, places) = (flat(x, spatial)?, flat(places, spatial)?);
        let (selection, indices) = gather::along(op, &zeros, -1, &places, Some(&list))?;
        view::reshape(&select::joined(&selection, &zeros, &list, indices, Deed::Put)?, &view::signed(&shape))
    };
    if batch::level([x, places]).is_some() {
        return set();
    }
    let y = unrecorded(set)?.detach();
    let from = places.clone();
    link_simple(node, &[x], &y, move |call| {
        let g = gather::gather(&flat(&call.gradient()?, spatial)?, -1, &flat(&from, spatial)?)?;
        Ok(smallvec::smallvec![Some(view::reshape(&g, &view::signed(from.shape()))?)])
    })?;
    // The derivative adds up what goes to one place; of tangents too the last one stays.
    for level in forward::levels([x]) {
        if let Some(tangent) = x.tangent(level)? {
            let seen = forward::outside(level, || unpooled(op, node, &tangent, places, sizes))?;
            y.set_tangent(level, Some(seen));
        }
    }
    Ok(y)
}

/// The sizes of the result: those asked for, which are within a stride of what the pooling would have come from.
fn sizes(a: &Arguments, x: &Tensor, pooling: &Pooling) -> Result<SmallVec<[usize; 3]>> {
    let spatial = pooling.kernel.len();
    let given = a.maybe_ints(5)?;
    let asked = match given {
        Some(all) if all.len() == spatial => Some(all),
        Some(all) if all.len() == spatial + 2 => Some(&all[2..]),
        Some(all) => {
            let rule = "should have one size for each dimension, or those of images and channels before";
            return Err(Error::Argument { op: a.op, argument: "output_size", rule, given: format!("{all:?}") });
        }
        None => None,
    };
    let mut found = SmallVec::new();
    for d in 0..spatial {
        let size = x.shape()[x.rank() - spatial + d] as isize;
        let stride = pooling.stride[d];
        let usual = (size - 1)
            .checked_mul(stride)
            .and_then(|s| s.checked_add(pooling.kernel[d]))
            .and_then(|s| s.checked_sub(pooling.padding[d].checked_mul(2)?))
            .ok_or_else(|| Error::SizeOverflow { op: a.op, shape: vec![size, stride, pooling.kernel[d]] })?;
        let wanted = asked.map_or(usual, |s| s[d]);
        if asked.is_some() && (wanted <= usual.saturating_sub(stride) || wanted >= usual.saturating_add(stride)) {
            let rule = "must be less than a stride from the size that the windows span";
            return Err(Error::Argument { op: a.op, argument: "output_size", rule, given: format!("{given:?}") });
        }
        if wanted < 0 {
            return Err(Error::Invalid {
                op: a.op,
                what: format!("the size {wanted} of dimension {d} of the result is negative"),
            });
        }
        found.push(wanted as usize);
    }
    Ok(found)
}

/// `input, indices, kernel_size, stride, padding, output_size`.
fn called(a: &Arguments, spatial: usize) -> Result<Tensor> {
    let (x, places) = (a.tensor(0)?, a.tensor(1)?);
    let pooling = Pooling::called(a, 2, spatial)?;
    check_images(a.op, x, spatial)?;
    if pooling.stride.iter().any(|&s| s <= 0) {
        return Err(Error::Invalid {
            op: a.op,
            what: format!("strides should be greater than zero, but got {:?}", pooling.stride),
        });
    }
    if places.dtype() != DType::I64 {
        return Err(Error::Invalid {
            op: a.op,
            what: format!("elements in indices should be type int64 but got {}", places.dtype()),
        });
    }
    if places.shape() != x.shape() {
        let (expected, given) = (x.shape().to_vec(), places.shape().to_vec());
        return Err(Error::Shape { op: a.op, what: "indices must have the shape of input", expected, given });
    }
    if !x.dtype().is_floating_point() {
        return Err(Error::NotImplemented {
            op: a.op,
            what: format!("{}: convert to a float dtype first; this", x.dtype()),
        });
    }
    let sizes = sizes(a, x, &pooling)?;
    match spatial {
        1 => {
            let (x, places) = (view::unsqueeze(x, -2)?, view::unsqueeze(places, -2)?);
            let y = unpooled(a.op, "MaxUnpool2DBackward0", &x, &places, &[1, sizes[0]])?;
            view::squeezed(&y, Some(&[-2]), "SqueezeBackward1")
        }
        2 => unpooled(a.op, "MaxUnpool2DBackward0", x, places, &sizes),
        _ => unpooled(a.op, "MaxUnpool3DBackward0", x, places, &sizes),
    }
}

macro_rules! unpoolings {
    ($($(#[doc = $doc:literal])* $spatial:literal $call:literal;)*) => {$(
        operation! {
            $(#[doc = $doc])*
            function Noted(Floats -> Kept), [$call], |_, a| Ok(called(a, $spatial)?.into())
        }
    )*};
}

unpoolings! {
    /// Zeros with the elements of `input` at the places that `max_pool1d` found them at: `(N, C, L)` or `(C, L)` gives
    /// `(L - 1) stride - 2 padding + kernel_size` elements in the last dimension, or `output_size`, within a stride of that.
    ///
    /// `indices` are int64. Where a place comes several times the last element stays, and the gradient is not that of
    /// differences.
    ///
    /// Shapes: `([N,] C, L), ([N,] C, L) -> ([N,] C, K)`.
    /// Raises: RuntimeError for other dtypes, other shapes, and places out of range.
    ///
    /// >>> ferrograd.nn.functional.max_unpool1d(ferrograd.tensor([[5.0, 7.0]]), ferrograd.tensor([[1, 2]]), 2)
    /// tensor([[0., 5., 7., 0.]])
    1 "nn.max_unpool1d(Tensor input, Tensor indices, int[] kernel_size, int[]? stride=None, int[] padding=0, int[]? output_size=None)";

    /// Zeros with elements where `max_pool2d` found them, as `max_unpool1d` in two dimensions. Where a place comes
    /// several times the last element stays, and the gradient is not that of differences.
    ///
    /// Shapes: `([N,] C, H, W), ([N,] C, H, W) -> ([N,] C, P, Q)`.
    ///
    /// >>> ferrograd.nn.functional.max_unpool2d(ferrograd.tensor([[[7.0]]]), ferrograd.tensor([[[2]]]), 2)
    /// tensor([[[0., 0.],
    ///          [7., 0.]]])
    2 "nn.max_unpool2d(Tensor input, Tensor indices, int[] kernel_size, int[]? stride=None, int[] padding=0, int[]? output_size=None)";

    /// Zeros with elements where `max_pool3d` found them, as `max_unpool1d` in three dimensions. Where a place comes
    /// several times the last element stays, and the gradient is not that of differences.
    ///
    /// Shapes: `([N,] C, D, H, W), ([N,] C, D, H, W) -> ([N,] C, O, P, Q)`.
    ///
    /// >>> x, places = ferrograd.full((1, 1, 1, 1), 7.0), ferrograd.full((1, 1, 1, 1), 3)
    /// >>> ferrograd.nn.functional.max_unpool3d(x, places, 2).flatten()
    /// tensor([0., 0., 0., 7., 0., 0., 0., 0.])
    3 "nn.max_unpool3d(Tensor input, Tensor indices, int[] kernel_size, int[]? stride=None, int[] padding=0, int[]? output_size=None)";
}
