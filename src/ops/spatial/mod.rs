//! Functions of images: what goes along their last dimensions. Images of one dimension are lines, those of three volumes.

mod average;
mod fold;
mod grid;
mod interpolate;
mod map;
mod maximum;
pub mod pad;
mod sample;
mod shuffle;
mod unpool;

use smallvec::SmallVec;

pub(in crate::ops) use average::mean_of_channels;

use crate::error::{Error, Result};
use crate::ops::registry::Arguments;
use crate::tensor::Tensor;

/// A size beyond which nothing is listed element by element: there is no memory for the list.
const MOST: usize = 1 << 27;

/// An error for sizes beyond [`MOST`].
fn check_room(op: &'static str, sizes: &[usize]) -> Result<()> {
    match sizes.iter().find(|&&s| s > MOST) {
        Some(&size) => Err(Error::OutOfMemory { op, bytes: size.saturating_mul(size_of::<usize>()) }),
        None => Ok(()),
    }
}

/// One number for each of the last dimensions; a single one counts for all.
fn each(op: &'static str, name: &'static str, given: &[isize], spatial: usize) -> Result<SmallVec<[isize; 3]>> {
    match given {
        [one] => Ok(SmallVec::from_elem(*one, spatial)),
        all if all.len() == spatial => Ok(all.into()),
        all => Err(Error::Invalid {
            op,
            what: format!("{name} must be a single int or a tuple of {spatial}, got {all:?}"),
        }),
    }
}

/// As [`each`], for an argument; none where it is not given or an empty tuple.
fn listed(a: &Arguments, n: usize, name: &'static str, spatial: usize) -> Result<Option<SmallVec<[isize; 3]>>> {
    let given = a.sizes(n)?;
    if given.is_empty() { Ok(None) } else { each(a.op, name, &given, spatial).map(Some) }
}

/// An error unless there are one or two dimensions beside the last, and only the first of two is empty.
fn check_images(op: &'static str, x: &Tensor, spatial: usize) -> Result<()> {
    let is_empty = x.rank() > spatial && x.shape()[x.rank() - spatial - 1..].contains(&0);
    if !(spatial + 1..=spatial + 2).contains(&x.rank()) || is_empty {
        let (one, two) = (spatial + 1, spatial + 2);
        let what = format!(
            "expected a {one}D or {two}D (batch mode) tensor, without empty dimensions apart from the batch, got {:?}",
            x.shape()
        );
        return Err(Error::Invalid { op, what });
    }
    Ok(())
}

/// What a window of a pooling is in each dimension.
struct Pooling {
    kernel: SmallVec<[isize; 3]>,
    stride: SmallVec<[isize; 3]>,
    padding: SmallVec<[isize; 3]>,
    dilation: SmallVec<[isize; 3]>,
    /// Whether windows may begin within the tensor and end beyond it.
    ceil: bool,
}

impl Pooling {
    /// From the arguments `n`, the kernel, to `n + 2`: stride and padding.
    fn called(a: &Arguments, n: usize, spatial: usize) -> Result<Pooling> {
        let wanted = |list: Option<SmallVec<[isize; 3]>>| {
            let what = format!("kernel_size must be a single int or a tuple of {spatial}");
            list.ok_or(Error::Invalid { op: a.op, what })
        };
        let kernel = wanted(listed(a, n, "kernel_size", spatial)?)?;
        let stride = listed(a, n + 1, "stride", spatial)?.unwrap_or_else(|| kernel.clone());
        let padding = listed(a, n + 2, "padding", spatial)?.unwrap_or_else(|| SmallVec::from_elem(0, spatial));
        let dilation = SmallVec::from_elem(1, spatial);
        Ok(Pooling { kernel, stride, padding, dilation, ceil: false })
    }

    /// How many windows there are in a dimension of a size, which is that of `d`.
    fn count(&self, op: &'static str, d: usize, size: usize) -> Result<usize> {
        let (kernel, stride, padding, dilation) = (self.kernel[d], self.stride[d], self.padding[d], self.dilation[d]);
        let refused = |what: String| Err(Error::Invalid { op, what });
        if kernel <= 0 {
            return refused(format!("kernel size should be greater than zero, but got {kernel}"));
        }
        if stride <= 0 {
            return refused(format!("stride should be greater than zero, but got {stride}"));
        }
        if dilation <= 0 {
            return refused(format!("dilation should be greater than zero, but got {dilation}"));
        }
        if padding < 0 {
            return refused(format!("pad must be non-negative, but got pad: {padding}"));
        }
        let reach = (kernel - 1).checked_mul(dilation).filter(|&r| r < isize::MAX / 4);
        let Some(reach) = reach.filter(|_| stride < isize::MAX / 4) else {
            return Err(Error::SizeOverflow { op, shape: vec![kernel, dilation, stride] });
        };
        if padding > (reach + 1) / 2 {
            return refused(format!(
                "pad should be at most half of effective kernel size, but got pad={padding}, kernel_size={kernel} and dilation={dilation}"
            ));
        }
        let size = size as isize;
        let room = size + 2 * padding - reach - 1;
        let mut count = (room + if self.ceil { stride - 1 } else { 0 }).div_euclid(stride) + 1;
        // The last window begins within the tensor or before it.
        if self.ceil && (count - 1) * stride >= size + padding {
            count -= 1;
        }
        if count < 1 {
            return refused(format!(
                "given input size {size}, calculated output size {count}. Output size is too small"
            ));
        }
        Ok(count as usize)
    }
}

/// The bounds of the windows of an adaptive pooling: `count` that cover a size.
fn adaptive(size: usize, count: usize) -> impl Iterator<Item = std::ops::Range<usize>> + Clone {
    (0..count).map(move |i| {
        let (i, size, count) = (i as u128, size as u128, count as u128);
        (i * size / count) as usize..((i + 1) * size).div_ceil(count) as usize
    })
}

/// As [`check_images`], for windows by the number of them: a size for each dimension that there is leaves none for the
/// channels, which is an error of another type.
fn check_adaptive(a: &Arguments, x: &Tensor, spatial: usize) -> Result<()> {
    let sizes = if spatial > 1 { a.sizes(1)?.len() } else { 1 };
    if sizes > 1 && x.rank() <= sizes {
        let (argument, given) = ("the number of dimensions of the input", x.rank().to_string());
        let rule = "must be greater than that of the sizes";
        return Err(Error::Argument { op: a.op, argument, rule, given });
    }
    check_images(a.op, x, spatial)
}

/// The sizes that an adaptive pooling is to give; those that are None stay.
fn adaptive_sizes(a: &Arguments, x: &Tensor, spatial: usize) -> Result<SmallVec<[usize; 3]>> {
    let Some(given) = listed(a, 1, "output_size", spatial)? else {
        return Err(Error::Invalid {
            op: a.op,
            what: format!("output_size must be a single int or a tuple of {spatial}"),
        });
    };
    let own = &x.shape()[x.rank().saturating_sub(spatial)..];
    let size = |(&wanted, &own): (&isize, &usize)| match wanted {
        Arguments::SAME => Ok(own),
        wanted if wanted < 0 => Err(Error::Invalid {
            op: a.op,
            what: format!("elements of output_size must be greater than or equal to 0 but received {given:?}"),
        }),
        wanted => Ok(wanted as usize),
    };
    let sizes: SmallVec<[usize; 3]> = given.iter().zip(own).map(size).collect::<Result<_>>()?;
    check_room(a.op, &sizes)?;
    Ok(sizes)
}
