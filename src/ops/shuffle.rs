//! Channels of images in another order, and in the place of pixels.

use smallvec::SmallVec;

use super::recorded::link_linear;
use super::registry::operation;
use super::{batch, copy, view};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::tensor::Tensor;

/// A copy whose elements are those of `x` seen under `split` sizes with the dimensions in another order.
fn arranged(x: &Tensor, split: &[isize], order: &[isize], shape: &[isize]) -> Result<Tensor> {
    unrecorded(|| {
        let moved = view::permute(&view::reshape(x, split)?, order)?;
        let copy = copy::contiguous_copy(&moved)?;
        view::reshape(&copy, shape)
    })
    .map(|y| y.detach())
}

/// The order that keeps the leading dimensions and moves those behind them.
fn behind(leading: usize, order: &[isize]) -> SmallVec<[isize; 8]> {
    (0..leading as isize).chain(order.iter().map(|&d| leading as isize + d)).collect()
}

/// The sizes in front of an image's, and the image's: channels, height and width.
fn image(op: &'static str, x: &Tensor, factor: isize) -> Result<(SmallVec<[isize; 8]>, [isize; 3])> {
    let [leading @ .., c, h, w] = x.shape() else {
        return Err(Error::Rank { op, expected: "at least 3 dimensions", shape: x.shape().to_vec() });
    };
    if factor <= 0 {
        return Err(Error::Invalid { op, what: format!("expected a positive factor, got {factor}") });
    }
    Ok((leading.iter().map(|&s| s as isize).collect(), [*c as isize, *h as isize, *w as isize]))
}

fn sizes(leading: &[isize], own: &[isize]) -> SmallVec<[isize; 8]> {
    leading.iter().chain(own).copied().collect()
}

operation! {
    /// Groups of `upscale_factor^2` channels as squares of pixels: shape `(*, C r^2, H, W)` becomes `(*, C, H r, W r)`.
    ///
    /// >>> ferrograd.pixel_shuffle(ferrograd.arange(4).reshape(4, 1, 1), 2)
    /// tensor([[[0, 1],
    ///          [2, 3]]])
    function ["pixel_shuffle(Tensor input, int upscale_factor)"], |_, a| {
        Ok(pixel_shuffle(a.tensor(0)?, a.int(1)?)?.into())
    }
}

/// Groups of channels as squares of pixels.
///
/// # Errors
/// For fewer than three dimensions, a factor below 1, and channels that do not make whole squares.
pub fn pixel_shuffle(x: &Tensor, factor: isize) -> Result<Tensor> {
    const OP: &str = "pixel_shuffle";
    let (leading, [c, h, w]) = image(OP, x, factor)?;
    if factor.checked_mul(factor).is_none_or(|square| c % square != 0) {
        let what = format!("the channels must be divisible by the square of upscale_factor {factor}, got {c}");
        return Err(Error::Invalid { op: OP, what });
    }
    if let Some(y) = batch::unary(x, |x| pixel_shuffle(x, factor)) {
        return y;
    }
    let (c, r) = (c / (factor * factor), factor);
    let (split, shape) = (sizes(&leading, &[c, r, r, h, w]), sizes(&leading, &[c, h * r, w * r]));
    let y = arranged(x, &split, &behind(leading.len(), &[0, 3, 1, 4, 2]), &shape)?;
    link_linear("PixelShuffleBackward0", x, &y, move |g| pixel_unshuffle(g, factor))?;
    Ok(y)
}

operation! {
    /// Squares of `downscale_factor^2` pixels as channels: shape `(*, C, H r, W r)` becomes `(*, C r^2, H, W)`.
    ///
    /// >>> ferrograd.pixel_unshuffle(ferrograd.arange(4).reshape(1, 2, 2), 2).flatten()
    /// tensor([0, 1, 2, 3])
    function ["pixel_unshuffle(Tensor input, int downscale_factor)"], |_, a| {
        Ok(pixel_unshuffle(a.tensor(0)?, a.int(1)?)?.into())
    }
}

/// Squares of pixels as channels.
///
/// # Errors
/// For fewer than three dimensions, a factor below 1, and sides that are not multiples of it.
pub fn pixel_unshuffle(x: &Tensor, factor: isize) -> Result<Tensor> {
    const OP: &str = "pixel_unshuffle";
    let (leading, [c, h, w]) = image(OP, x, factor)?;
    if h % factor != 0 || w % factor != 0 {
        let what = format!("height and width must be divisible by downscale_factor {factor}, got {h} and {w}");
        return Err(Error::Invalid { op: OP, what });
    }
    if let Some(y) = batch::unary(x, |x| pixel_unshuffle(x, factor)) {
        return y;
    }
    let (h, w, r) = (h / factor, w / factor, factor);
    let (split, shape) = (sizes(&leading, &[c, h, r, w, r]), sizes(&leading, &[c * r * r, h, w]));
    let y = arranged(x, &split, &behind(leading.len(), &[0, 2, 4, 1, 3]), &shape)?;
    link_linear("PixelUnshuffleBackward0", x, &y, move |g| pixel_shuffle(g, factor))?;
    Ok(y)
}

operation! {
    /// The channels of `groups` groups one of each in turn: channel `j` of group `i` of `g` groups becomes channel
    /// `j g + i`. The channels are the second dimension of at least three.
    ///
    /// >>> ferrograd.channel_shuffle(ferrograd.arange(4).reshape(1, 4, 1), 2).flatten()
    /// tensor([0, 2, 1, 3])
    function ["channel_shuffle(Tensor input, int groups)"], |_, a| {
        Ok(channel_shuffle(a.tensor(0)?, a.int(1)?)?.into())
    }
}

/// The channels of groups in turn.
///
/// # Errors
/// For fewer than three dimensions, and groups that do not divide the channels.
pub fn channel_shuffle(x: &Tensor, groups: isize) -> Result<Tensor> {
    const OP: &str = "channel_shuffle";
    let &[_, c, _, ..] = x.shape() else {
        return Err(Error::Rank { op: OP, expected: "at least 3 dimensions", shape: x.shape().to_vec() });
    };
    if groups <= 0 || c as isize % groups != 0 {
        let what = format!("the groups must be positive and divide the channels, got {groups} groups of {c} channels");
        return Err(Error::Invalid { op: OP, what });
    }
    shuffled(x, groups, c as isize / groups)
}

/// As [`channel_shuffle`], for so many groups of so many channels.
fn shuffled(x: &Tensor, groups: isize, each: isize) -> Result<Tensor> {
    let rule = |value: &Tensor| {
        let joined = view::signed(&value.shape()[1..]);
        let examples = value.shape()[0] as isize * joined[0];
        let merged = sizes(&[examples], &joined[1..]);
        view::reshape(&shuffled(&view::reshape(value, &merged)?, groups, each)?, &view::signed(value.shape()))
    };
    if let Some(y) = batch::unary(x, rule) {
        return y;
    }
    let shape = view::signed(x.shape());
    let split = sizes(&[shape[0], groups, each], &shape[2..]);
    let order: SmallVec<[isize; 8]> = [0, 2, 1].into_iter().chain(3..split.len() as isize).collect();
    let y = arranged(x, &split, &order, &shape)?;
    link_linear("ChannelShuffleBackward0", x, &y, move |g| shuffled(g, each, groups))?;
    Ok(y)
}
