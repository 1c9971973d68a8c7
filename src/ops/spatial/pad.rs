//! Elements around a tensor: one number, or its own again.

use std::sync::Arc;

use smallvec::SmallVec;

use super::check_room;
use super::map::{Map, apply};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::graph::node::Setting;
use crate::kernels::mix::Matrix;
use crate::ops::copy::Format;
use crate::ops::recorded::link_arranged;
use crate::ops::registry::operation;
use crate::ops::{batch, copy, creation};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::Shape;
use crate::tensor::scalar::Scalar;

operation! {
    /// Elements before and after a tensor. `pad` is a pair for each dimension, the last dimension's first: how many come
    /// before and how many after; negative ones leave elements out. `mode` says which they are:
    ///
    /// - 'constant': `value`, or 0; for any number of dimensions;
    /// - 'reflect': its own, as in a mirror on the first and last element; fewer than there are;
    /// - 'replicate': the first and the last;
    /// - 'circular': its own from the other end; no more than there are.
    ///
    /// All but the first are for the last 1, 2 or 3 dimensions of tensors with one or two more, which are not empty.
    ///
    /// Shapes: any; `pad` adds to its sizes.
    /// Raises: RuntimeError for sizes that do not fit; NotImplementedError for other modes and numbers of dimensions.
    ///
    /// >>> ferrograd.nn.functional.pad(ferrograd.tensor([[1, 2, 3]]), (2, 1), mode="reflect")
    /// tensor([[3, 2, 1, 2, 3, 2]])
    /// >>> ferrograd.nn.functional.pad(ferrograd.tensor([[1, 2, 3]]), (-1, 1, 1, 0), value=9)
    /// tensor([[9, 9, 9],
    ///         [2, 3, 9]])
    function Noted(Any -> Kept), ["nn.pad(Tensor input, int[] pad, str mode='constant', float? value=None)"], |_, a| {
        let (x, pads, value) = (a.tensor(0)?, a.ints(1)?, a.maybe_number(3)?);
        let mode = a.text(2)?.unwrap_or("constant");
        if mode == "constant" {
            return Ok(constant(x, pads, value.unwrap_or(Scalar::Int(0)))?.into());
        }
        let Some(mode) = Mode::named(mode) else {
            return Err(Error::NotImplemented { op: a.op, what: format!("the padding mode {mode}") });
        };
        if value.is_some_and(|v| v.as_f64() != 0.0) {
            return Err(Error::Invalid { op: a.op, what: format!("padding mode {mode:?} doesn't take in value argument") });
        }
        Ok(repeated(x, pads, mode)?.into())
    }
}

operation! {
    /// A number around a tensor: a pair for each dimension, the last dimension's first; negative ones leave elements out.
    ///
    /// Shapes: any; `pad` adds to its sizes.
    ///
    /// >>> ferrograd.constant_pad_nd(ferrograd.tensor([1, 2]), (1, 2), 7)
    /// tensor([7, 1, 2, 7, 7])
    function Noted(Any -> Kept), ["constant_pad_nd(Tensor self, int[] pad, Number value=0)"], |_, a| {
        Ok(constant(a.tensor(0)?, a.ints(1)?, a.number(2)?)?.into())
    }
}

const OP: &str = "pad";

/// An error unless there are pairs, and no more than dimensions.
fn check_pairs(x: &Tensor, pads: &[isize]) -> Result<()> {
    if !pads.len().is_multiple_of(2) {
        return Err(Error::Invalid { op: OP, what: format!("padding length must be divisible by 2, got {pads:?}") });
    }
    if pads.len() / 2 > x.rank() {
        let what = format!("padding length too large: {pads:?} for a tensor of {} dimensions", x.rank());
        return Err(Error::Invalid { op: OP, what });
    }
    Ok(())
}

/// The sizes with elements before and after, a pair for each dimension, the last dimension's first. Where `cuts`, what is
/// left out must be there.
fn sizes(x: &Tensor, pads: &[isize], cuts: bool) -> Result<Shape> {
    let mut shape = x.layout().shape.clone();
    for (pair, size) in pads.chunks(2).zip(shape.iter_mut().rev()) {
        let sum = |parts: [isize; 2]| parts.iter().try_fold(*size as isize, |n, &p| n.checked_add(p));
        let is_left = !cuts || sum([pair[0].min(0), pair[1].min(0)]).is_some_and(|n| n >= 0);
        let found = sum([pair[0], pair[1]]).filter(|&n| n >= 0 && is_left);
        *size = found.ok_or_else(|| Error::Invalid {
            op: OP,
            what: format!("a dimension of size {size} with {} before and {} after has no size", pair[0], pair[1]),
        })? as usize;
    }
    Ok(shape)
}

/// A number around a tensor.
///
/// # Errors
/// For sizes that become negative, and more pairs than dimensions.
pub fn constant(x: &Tensor, pads: &[isize], value: Scalar) -> Result<Tensor> {
    check_pairs(x, pads)?;
    let shape = sizes(x, pads, true)?;
    if let Some(y) = batch::unary(x, |x| constant(x, pads, value)) {
        return y;
    }
    let y = unrecorded(|| {
        let format =
            if x.layout().suggests_channels_last() { Format::ChannelsLast(x.rank()) } else { Format::Contiguous };
        let y = format.applied(OP, creation::full(&shape, value, x.dtype())?, None)?;
        let (mut from, mut to) = (x.layout().clone(), y.layout().clone());
        for (i, pair) in pads.chunks(2).enumerate() {
            let d = x.rank() - 1 - i;
            let (before, after) = (pair[0], pair[1]);
            let out = |n: isize| n.min(0).unsigned_abs();
            let kept = x.shape()[d].saturating_sub(out(before) + out(after));
            from = from.slice(d, out(before).min(x.shape()[d]), kept, 1);
            to = to.slice(d, (before.max(0) as usize).min(shape[d]), kept.min(shape[d]), 1);
        }
        if to.numel() > 0 && from.numel() > 0 {
            copy::write(&y.alias(to, false), &x.alias(from, false))?;
        }
        Ok(y)
    })?;
    let back: SmallVec<[isize; 6]> = pads.iter().map(|p| -p).collect();
    let told = || vec![("pad", Setting::ints(pads))];
    link_arranged("ConstantPadNdBackward0", x, &y, told, move |g| constant(g, &back, Scalar::Int(0)))?;
    Ok(y)
}

/// Which of its own elements a tensor is continued by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As in a mirror on the first and last.
    Reflect,
    /// The first and the last.
    Replicate,
    /// From the other end.
    Circular,
}

impl Mode {
    fn named(name: &str) -> Option<Mode> {
        Some(match name {
            "reflect" => Mode::Reflect,
            "replicate" => Mode::Replicate,
            "circular" => Mode::Circular,
            _ => return None,
        })
    }

    /// torch's names of the node, and of its derivative's, by the number of dimensions.
    fn nodes(self, spatial: usize) -> [&'static str; 2] {
        let all: [[&str; 2]; 3] = match self {
            Mode::Reflect => [
                ["ReflectionPad1DBackward0", "ReflectionPad1DBackwardBackward0"],
                ["ReflectionPad2DBackward0", "ReflectionPad2DBackwardBackward0"],
                ["ReflectionPad3DBackward0", "ReflectionPad3DBackwardBackward0"],
            ],
            Mode::Replicate => [
                ["ReplicationPad1DBackward0", "ReplicationPad1DBackwardBackward0"],
                ["ReplicationPad2DBackward0", "ReplicationPad2DBackwardBackward0"],
                ["ReplicationPad3DBackward0", "ReplicationPad3DBackwardBackward0"],
            ],
            Mode::Circular => [["CopySlices"; 2]; 3],
        };
        all[spatial - 1]
    }

    /// The element that stands at a place before, in or behind `size` elements, of which some may be left out at the ends.
    fn element(self, at: isize, size: isize, pair: &[isize]) -> isize {
        match self {
            Mode::Reflect if at < 0 => -at,
            Mode::Reflect if at >= size => 2 * (size - 1) - at,
            Mode::Reflect => at,
            Mode::Replicate => at.clamp(0, size - 1),
            Mode::Circular => {
                let (start, end) = (-pair[0].min(0), size + pair[1].min(0));
                start + (at - start).rem_euclid((end - start).max(1))
            }
        }
    }

    fn check(self, x: &Tensor, pads: &[isize]) -> Result<()> {
        for (pair, size) in pads.chunks(2).zip(x.shape().iter().rev()) {
            let most = if self == Mode::Reflect { *size as isize - 1 } else { *size as isize };
            if self != Mode::Replicate && pair.iter().any(|&p| p > most) {
                let what =
                    format!("the {self:?} padding {pair:?} of a dimension of size {size} may be no more than {most}");
                return Err(Error::Invalid { op: OP, what });
            }
            let is_left = pair.iter().map(|p| p.min(&0)).sum::<isize>() > -(*size as isize);
            if self == Mode::Circular && !is_left && pair.iter().sum::<isize>() > -(*size as isize) {
                let what = format!("the padding {pair:?} leaves nothing of a dimension of size {size} to go on with");
                return Err(Error::Invalid { op: OP, what });
            }
        }
        Ok(())
    }
}

/// A tensor continued by its own elements in its last dimensions.
///
/// # Errors
/// For other than 1 to 3 dimensions beside one or two more, and paddings that do not fit.
pub fn repeated(x: &Tensor, pads: &[isize], mode: Mode) -> Result<Tensor> {
    check_pairs(x, pads)?;
    let spatial = pads.len() / 2;
    if !(1..=3).contains(&spatial) || !(spatial + 1..=spatial + 2).contains(&x.rank()) {
        let (count, rank) = (pads.len(), x.rank());
        let what = format!("padding of size {count} of a tensor of {rank} dimensions by mode {mode:?}");
        return Err(Error::NotImplemented { op: OP, what });
    }
    let shape = sizes(x, pads, mode == Mode::Circular)?;
    if x.dtype() == DType::Bool && mode != Mode::Circular {
        return Err(Error::NotImplemented { op: OP, what: "bool: convert to another dtype first; this".into() });
    }
    let first = if mode == Mode::Circular { x.rank() - spatial } else { x.rank() - spatial - 1 };
    if x.shape()[first..].contains(&0) {
        let what = format!("expected a tensor without empty dimensions apart from the batch, got {:?}", x.shape());
        return Err(Error::Invalid { op: OP, what });
    }
    mode.check(x, pads)?;
    if mode != Mode::Circular && shape[x.rank() - spatial..].iter().all(|&size| size == 0) {
        let what = format!("the padding {pads:?} leaves nothing of a tensor of shape {:?}", x.shape());
        return Err(Error::Invalid { op: OP, what });
    }
    check_room(OP, &shape)?;
    let mut map = Map::default();
    for (i, pair) in pads.chunks(2).enumerate() {
        let d = x.rank() - 1 - i;
        let size = x.shape()[d] as isize;
        let rows = (0..shape[d] as isize).map(|j| [(mode.element(j - pair[0], size, pair) as usize, 1.0)]);
        map.parts.push((i + 1, Matrix::new(size as usize, rows)));
    }
    apply(OP, mode.nodes(spatial), &Arc::new(map), x)
}
