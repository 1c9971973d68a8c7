//! The sizes of a convolution, from what a call says.

use smallvec::SmallVec;

use super::Role;
use crate::error::{Error, Result};
use crate::graph::node::Setting;
use crate::kernels::convolve::{self, Axis};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::Shape;

/// What a call says beside its tensors, one number for each spatial dimension.
#[derive(Clone, Debug, Default)]
pub(in crate::ops) struct Options {
    /// From one place of the kernel to the next.
    pub stride: SmallVec<[isize; 3]>,
    /// Zeros before and after the input.
    pub padding: SmallVec<[isize; 3]>,
    /// From one element of the kernel to the next.
    pub dilation: SmallVec<[isize; 3]>,
    /// Of a transposed convolution, what is added to one side of its result.
    pub output_padding: SmallVec<[isize; 3]>,
    /// Whether it is a transposed convolution.
    pub transposed: bool,
    /// Groups of channels.
    pub groups: isize,
    /// As much padding as makes the result as large as the input; what is odd goes behind.
    pub same: bool,
}

/// A convolution of `x` with `w` to `y`, in one to three dimensions.
#[derive(Clone, Debug)]
pub(in crate::ops) struct Geometry {
    /// How many dimensions.
    pub spatial: usize,
    /// The last of them are the spatial ones, those before have size 1.
    pub axes: [Axis; 3],
    /// How many images.
    pub images: usize,
    /// Groups of channels.
    pub groups: usize,
    /// Channels of `x` in a group.
    pub inputs: usize,
    /// Channels of `y` in a group.
    pub outputs: usize,
}

fn refused<T>(op: &'static str, what: String) -> Result<T> {
    Err(Error::Invalid { op, what })
}

/// One number for each dimension: a single one counts for all.
pub(super) fn each(op: &'static str, what: &str, given: &[isize], spatial: usize) -> Result<SmallVec<[isize; 3]>> {
    match given {
        [one] => Ok(SmallVec::from_elem(*one, spatial)),
        all if all.len() == spatial => Ok(all.into()),
        all => refused(
            op,
            format!(
                "expected {what} to be a single integer value or a list of {spatial} values to match the convolution dimensions, but got {what}={all:?}"
            ),
        ),
    }
}

impl Options {
    fn check(&self, op: &'static str) -> Result<()> {
        let bad = |all: &[isize], least: isize| all.iter().any(|&n| n < least);
        if bad(&self.padding, 0) {
            return refused(op, "negative padding is not supported".into());
        }
        if bad(&self.output_padding, 0) {
            return refused(op, "negative output_padding is not supported".into());
        }
        if bad(&self.stride, 1) {
            return refused(op, "non-positive stride is not supported".into());
        }
        if bad(&self.dilation, 1) {
            return refused(op, "non-positive dilation is not supported".into());
        }
        if self.groups <= 0 {
            return refused(op, "non-positive groups is not supported".into());
        }
        Ok(())
    }
}

/// An error unless the channels of all operands fit.
fn check_channels(op: &'static str, x: &Tensor, w: &Tensor, bias: Option<&Tensor>, options: &Options) -> Result<()> {
    let groups = options.groups as usize;
    let (weight, input) = (w.shape(), x.shape());
    if weight[0] < groups {
        let least = "expected weight to be at least";
        return refused(
            op,
            format!("given groups={groups}, {least} {groups} at dimension 0, but got weight of size {weight:?}"),
        );
    }
    if weight[0] % groups != 0 {
        let rule = "expected weight to be divisible by";
        return refused(
            op,
            format!("given groups={groups}, {rule} {groups} at dimension 0, but got weight of size {weight:?}"),
        );
    }
    let (channels, results) =
        if options.transposed { (weight[0], weight[1] * groups) } else { (weight[1] * groups, weight[0]) };
    if input[1] != channels {
        return refused(
            op,
            format!(
                "given groups={groups}, transposed={}, weight of size {weight:?}, expected input{input:?} to have {channels} channels, but got {} channels instead",
                options.transposed, input[1]
            ),
        );
    }
    match bias {
        Some(b) if b.shape() != [results] => refused(
            op,
            format!(
                "given weight of size {weight:?}, expected bias to be 1-dimensional with {results} elements, but got bias of size {:?} instead",
                b.shape()
            ),
        ),
        _ => Ok(()),
    }
}

/// An error for elements that have no convolutions.
fn check_dtypes(op: &'static str, x: &Tensor, w: &Tensor, bias: Option<&Tensor>, transposed: bool) -> Result<()> {
    for other in [Some(w), bias].into_iter().flatten() {
        if other.dtype() != x.dtype() {
            return Err(Error::DTypeMismatch { op, left: x.dtype(), right: other.dtype() });
        }
    }
    x.dtype().require(op)?;
    let narrow = !x.dtype().is_floating_point() && x.dtype() != DType::I64;
    if x.dtype() == DType::Bool || transposed && narrow {
        return Err(Error::NotImplemented { op, what: format!("{}: convert to another dtype first; this", x.dtype()) });
    }
    Ok(())
}

impl Geometry {
    /// The geometry of a call; `x` has images, channels and as many spatial dimensions as the options.
    pub fn new(op: &'static str, x: &Tensor, w: &Tensor, bias: Option<&Tensor>, options: &Options) -> Result<Geometry> {
        let spatial = options.stride.len();
        options.check(op)?;
        if w.rank() != spatial + 2 {
            let what = format!(
                "expected {}-dimensional weight for {}-dimensional input {:?}, but got weight of size {:?} instead",
                spatial + 2,
                x.rank(),
                x.shape(),
                w.shape()
            );
            return refused(op, what);
        }
        check_channels(op, x, w, bias, options)?;
        check_dtypes(op, x, w, bias, options.transposed)?;
        let one = Axis { x: 1, kernel: 1, y: 1, stride: 1, padding: 0, dilation: 1 };
        let mut axes = [one; 3];
        for d in 0..spatial {
            axes[3 - spatial + d] = axis(op, x.shape()[2 + d], w.shape()[2 + d], d, options)?;
        }
        let groups = options.groups as usize;
        let (first, second) = (w.shape()[0] / groups, w.shape()[1]);
        let geometry = Geometry { spatial, axes, images: x.shape()[0], groups, inputs: second, outputs: first };
        geometry.check_sizes(op, x)?;
        Ok(geometry)
    }

    fn check_sizes(&self, op: &'static str, x: &Tensor) -> Result<()> {
        let some = self.images * self.groups * self.inputs * self.outputs > 0;
        if some && x.shape()[2..].contains(&0) {
            let shape = x.shape();
            return refused(
                op,
                format!("only zero batch or zero channel inputs are supported, but got input shape: {shape:?}"),
            );
        }
        Ok(())
    }

    /// What the call asked for, by the names that its node has for it.
    pub fn settings(&self, role: Role) -> Vec<(&'static str, Setting)> {
        let axes = &self.axes[3 - self.spatial..];
        let each = |of: fn(&Axis) -> usize| Setting::Ints(axes.iter().map(|a| of(a) as i64).collect());
        let transposed = role == Role::Transposed;
        let added = |a: &Axis| a.x + 2 * a.padding - ((a.y - 1) * a.stride + a.dilation * (a.kernel - 1) + 1);
        vec![
            ("stride", each(|a| a.stride)),
            ("padding", each(|a| a.padding)),
            ("dilation", each(|a| a.dilation)),
            ("transposed", Setting::Bool(transposed)),
            ("output_padding", if transposed { each(added) } else { each(|_| 0) }),
            ("groups", Setting::Int(self.groups as i64)),
        ]
    }

    /// The sizes of the result of a role.
    pub fn shape(&self, role: Role) -> Shape {
        let mut shape = match role {
            Role::Forward => Shape::from_slice(&[self.images, self.groups * self.outputs]),
            Role::Transposed => Shape::from_slice(&[self.images, self.groups * self.inputs]),
            Role::Weight => Shape::from_slice(&[self.groups * self.outputs, self.inputs]),
        };
        shape.extend(self.axes[3 - self.spatial..].iter().map(|a| match role {
            Role::Forward => a.y,
            Role::Transposed => a.x,
            Role::Weight => a.kernel,
        }));
        shape
    }

    /// As kernels take it.
    pub fn kernel(&self) -> convolve::Shape {
        let Geometry { axes, images, groups, inputs, outputs, .. } = *self;
        convolve::Shape { axes, images, groups, inputs, outputs }
    }
}

/// One spatial dimension of a call, from the sizes of the input and of the weight.
fn axis(op: &'static str, size: usize, kernel: usize, d: usize, options: &Options) -> Result<Axis> {
    let at = |all: &[isize]| all.get(d).copied().unwrap_or(0);
    let (stride, padding, dilation) = (at(&options.stride), at(&options.padding), at(&options.dilation));
    let overflow = || Error::SizeOverflow { op, shape: vec![size as isize, padding, dilation, stride] };
    let (size, kernel) = (size as isize, kernel as isize);
    if kernel == 0 {
        return refused(op, "the kernel must have elements in every dimension".into());
    }
    let reach = dilation.checked_mul(kernel - 1).ok_or_else(overflow)?;
    let both = padding.checked_mul(2).ok_or_else(overflow)?;
    // Sizes that fit into half of the range leave room for all sums of them.
    let fits = |n: isize| if n.unsigned_abs() < isize::MAX as usize / 8 { Ok(n) } else { Err(overflow()) };
    let (reach, both) = (fits(reach)?, fits(both)?);
    let numbers = |x: isize, y: isize| Axis {
        x: x as usize,
        kernel: kernel as usize,
        y: y as usize,
        stride: stride as usize,
        padding: padding as usize,
        dilation: dilation as usize,
    };
    fits(stride)?;
    if options.same {
        return Ok(Axis { padding: reach as usize / 2, ..numbers(size, size) });
    }
    if !options.transposed {
        let padded = fits(size)? + both;
        if padded < reach + 1 {
            return refused(
                op,
                format!(
                    "calculated padded input size per channel: {padded}. Kernel size: {}. Kernel size can't be greater than actual input size",
                    reach + 1
                ),
            );
        }
        return Ok(numbers(size, (padded - reach - 1) / stride + 1));
    }
    let extra = at(&options.output_padding);
    if extra >= stride && extra >= dilation {
        return refused(
            op,
            format!(
                "output padding must be smaller than either stride or dilation, but got output_padding: {extra}, stride: {stride}, dilation: {dilation}"
            ),
        );
    }
    let span = (size - 1).checked_mul(stride).ok_or_else(overflow)?;
    let result = fits(span)? - both + reach + extra + 1;
    if result < 0 {
        return refused(
            op,
            format!(
                "given input size per channel: {size}, calculated output size per channel: {result}. Output size is too small"
            ),
        );
    }
    Ok(numbers(result, size))
}
