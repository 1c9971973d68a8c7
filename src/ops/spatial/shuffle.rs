//! Channels that become parts of images, and the way back.

use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::graph::node::Setting;
use crate::ops::recorded::{link_arranged, link_linear};
use crate::ops::registry::operation;
use crate::ops::{batch, copy, view};
use crate::tensor::Tensor;

/// The sizes before the last three, and those.
fn split(x: &Tensor) -> (SmallVec<[isize; 8]>, [usize; 3]) {
    let (lead, last) = x.shape().split_at(x.rank() - 3);
    (lead.iter().map(|&s| s as isize).collect(), [last[0], last[1], last[2]])
}

/// The elements in row-major order in memory of their own, under the sizes before the last three and others.
fn copied(x: &Tensor, mut sizes: SmallVec<[isize; 8]>, last: [usize; 3]) -> Result<Tensor> {
    sizes.extend(last.map(|s| s as isize));
    Ok(view::reshape(&copy::contiguous_copy(x)?, &sizes)?.detach())
}

/// Every group of `r` by `r` channels becomes one, with squares of elements.
fn to_space(x: &Tensor, r: usize) -> Result<Tensor> {
    if let Some(y) = batch::unary(x, |x| to_space(x, r)) {
        return y;
    }
    let y = unrecorded(|| {
        let (lead, [c, h, w]) = split(x);
        let mut sizes = lead.clone();
        sizes.extend([c / (r * r), r, r, h, w].map(|s| s as isize));
        // Channel, row and column of the square, row, column: each row next to that of the square.
        let y = view::movedims(&view::reshape(x, &sizes)?, &[-4, -3], &[-3, -1])?;
        copied(&y, lead, [c / (r * r), h * r, w * r])
    })?;
    let told = || vec![("upscale_factor", Setting::Int(r as i64))];
    link_arranged("PixelShuffleBackward0", x, &y, told, move |g| to_channels(g, r))?;
    Ok(y)
}

/// The inverse of [`to_space`].
fn to_channels(x: &Tensor, r: usize) -> Result<Tensor> {
    if let Some(y) = batch::unary(x, |x| to_channels(x, r)) {
        return y;
    }
    let y = unrecorded(|| {
        let (lead, [c, h, w]) = split(x);
        let mut sizes = lead.clone();
        sizes.extend([c, h / r, r, w / r, r].map(|s| s as isize));
        let y = view::movedims(&view::reshape(x, &sizes)?, &[-3, -1], &[-4, -3])?;
        copied(&y, lead, [c * r * r, h / r, w / r])
    })?;
    let told = || vec![("downscale_factor", Setting::Int(r as i64))];
    link_arranged("PixelUnshuffleBackward0", x, &y, told, move |g| to_space(g, r))?;
    Ok(y)
}

/// A factor of at least 1, for at least three dimensions.
fn checked(op: &'static str, x: &Tensor, factor: isize) -> Result<usize> {
    if x.rank() < 3 {
        return Err(Error::Rank { op, expected: "at least 3 dimensions", shape: x.shape().to_vec() });
    }
    if factor <= 0 {
        return Err(Error::Invalid { op, what: format!("expected a positive factor, but got {factor}") });
    }
    Ok(factor as usize)
}

operation! {
    /// Images with `r = upscale_factor` times the rows and columns, from channels: `(..., C r^2, H, W)` gives
    /// `(..., C, H r, W r)`.
    ///
    /// Shapes: `(..., C * upscale_factor ** 2, H, W) -> (..., C, H * upscale_factor, W * upscale_factor)`.
    ///
    /// >>> ferrograd.pixel_shuffle(ferrograd.arange(4.0).reshape(4, 1, 1), 2)
    /// tensor([[[0., 1.],
    ///          [2., 3.]]])
    function Noted(Any -> Kept), ["nn.pixel_shuffle(Tensor self, int upscale_factor)"; also "package.pixel_shuffle"], |_, a| {
        let x = a.tensor(0)?;
        let r = checked(a.op, x, a.int(1)?)?;
        let channels = x.shape()[x.rank() - 3];
        if r.checked_mul(r).is_none_or(|square| channels % square != 0) {
            let what = format!("expected the channels to be divisible by the square of upscale_factor, but {channels} are not by that of {r}");
            return Err(Error::Invalid { op: a.op, what });
        }
        Ok(to_space(x, r)?.into())
    }
}

operation! {
    /// The inverse of `pixel_shuffle`: `(..., C, H r, W r)` gives `(..., C r^2, H, W)`, `r = downscale_factor`.
    ///
    /// Shapes: `(..., C, H * downscale_factor, W * downscale_factor) -> (..., C * downscale_factor ** 2, H, W)`.
    ///
    /// >>> ferrograd.pixel_unshuffle(ferrograd.arange(4.0).reshape(1, 2, 2), 2).flatten(1)
    /// tensor([[0.],
    ///         [1.],
    ///         [2.],
    ///         [3.]])
    function Noted(Any -> Kept), ["nn.pixel_unshuffle(Tensor self, int downscale_factor)"; also "package.pixel_unshuffle"], |_, a| {
        let x = a.tensor(0)?;
        let r = checked(a.op, x, a.int(1)?)?;
        let size = &x.shape()[x.rank() - 2..];
        if size.iter().any(|s| s % r != 0) {
            let what = format!("expected height and width to be divisible by downscale_factor, but {size:?} are not by {r}");
            return Err(Error::Invalid { op: a.op, what });
        }
        Ok(to_channels(x, r)?.into())
    }
}

/// The channels of one group after those of another, taken by turns.
fn mixed(x: &Tensor, groups: usize) -> Result<Tensor> {
    if let Some(y) = batch::unary(x, |x| {
        let flat = mixed(&view::flatten(x, 0, 1)?, groups)?;
        view::reshape(&flat, &view::signed(x.shape()))
    }) {
        return y;
    }
    let y = unrecorded(|| {
        let mut sizes: SmallVec<[isize; 8]> = view::signed(x.shape()).into_iter().collect();
        sizes[1] /= groups as isize;
        sizes.insert(1, groups as isize);
        let y = view::transpose(&view::reshape(x, &sizes)?, 1, 2)?;
        Ok(view::reshape(&copy::contiguous_copy(&y)?, &view::signed(x.shape()))?.detach())
    })?;
    link_linear("ChannelShuffleBackward0", x, &y, move |g| mixed(g, g.shape()[1] / groups))?;
    Ok(y)
}

operation! {
    /// Channels in another order: of `groups` of them the first of each, then the second of each, and so on.
    ///
    /// Shapes: `(N, C * groups, L, ...) -> (N, C * groups, L, ...)`.
    ///
    /// >>> ferrograd.channel_shuffle(ferrograd.arange(4.0).reshape(1, 4, 1), 2).flatten()
    /// tensor([0., 2., 1., 3.])
    function Noted(Any -> Kept), ["nn.channel_shuffle(Tensor self, int groups)"; also "package.channel_shuffle", "native_channel_shuffle", "package.native_channel_shuffle"], |_, a| {
        let (x, groups) = (a.tensor(0)?, a.int(1)?);
        if x.rank() < 3 {
            return Err(Error::Rank { op: a.op, expected: "more than 2 dimensions", shape: x.shape().to_vec() });
        }
        if groups <= 0 || x.shape()[1] % groups as usize != 0 {
            let what = format!("expected a positive number of groups that divides the channels, got {groups} and {}", x.shape()[1]);
            return Err(Error::Invalid { op: a.op, what });
        }
        if x.numel() == 0 {
            return Ok(view::alias(x)?.into());
        }
        Ok(mixed(x, groups as usize)?.into())
    }
}
