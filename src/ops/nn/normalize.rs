//! Normalisation: elements less their mean, over their deviation, scaled and shifted.

use smallvec::{SmallVec, smallvec};

use super::affine::{Norm, Normalized};
use super::loss::{invalid, refused};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::graph::node::Setting;
use crate::ops::arithmetic::{add, div, mul, pow};
use crate::ops::inplace::Origin;
use crate::ops::registry::operation;
use crate::ops::{cast, copy, exponential, inplace, join, scaled, spatial, sum, view};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;

fn check_float(op: &'static str, x: &Tensor) -> Result<()> {
    if x.dtype().is_floating_point() {
        return Ok(());
    }
    Err(Error::NotImplemented { op, what: format!("a normalisation of {}: this", x.dtype()) })
}

/// The last dimensions, which must have the sizes given, and so must scales and shifts.
fn last_dims(
    op: &'static str,
    x: &Tensor,
    sizes: &[isize],
    parameters: &[(&str, Option<&Tensor>)],
) -> Result<SmallVec<[isize; 8]>> {
    if sizes.is_empty() {
        return invalid(
            op,
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element".into(),
        );
    }
    for (name, parameter) in parameters {
        if let Some(p) = parameter.filter(|p| view::signed(p.shape())[..] != *sizes) {
            return invalid(
                op,
                format!(
                    "Expected {name} to be of same shape as normalized_shape, but got {name} of shape {:?} and normalized_shape = {sizes:?}",
                    p.shape()
                ),
            );
        }
    }
    let shape = view::signed(x.shape());
    if !shape.ends_with(sizes) {
        return invalid(
            op,
            format!(
                "Given normalized_shape={sizes:?}, expected input with shape [*, {sizes:?}], but got input of size {:?}",
                x.shape()
            ),
        );
    }
    check_float(op, x)?;
    Ok((x.rank() - sizes.len()..x.rank()).map(|d| d as isize).collect())
}

operation! {
    /// `(x - m) / sqrt(v + eps) * weight + bias` with the mean `m` and the variance `v` over the last dimensions, whose sizes
    /// are `normalized_shape`; scale and shift are of that shape.
    ///
    /// Shapes: any, kept; `weight` and `bias` have `normalized_shape`.
    /// Raises: RuntimeError for sizes that do not fit.
    ///
    /// >>> ferrograd.nn.functional.layer_norm(ferrograd.tensor([[1.0, 2.0, 3.0]]), (3,))
    /// tensor([[-1.2247,  0.0000,  1.2247]])
    function Same(Floats -> First), ["nn.layer_norm(Tensor input, int[] normalized_shape, Tensor? weight=None, Tensor? bias=None, Number eps=1e-05)"; also "package.layer_norm"],
    |_, a| {
        let (x, weight, bias) = (a.tensor(0)?, a.maybe_tensor(2)?, a.maybe_tensor(3)?);
        Ok(layer_norm(x, a.ints(1)?, weight, bias, a.float(4)?)?.into())
    }
}

/// Normalisation over the last dimensions.
///
/// # Errors
/// For sizes that do not fit, and integers.
pub fn layer_norm(
    x: &Tensor,
    sizes: &[isize],
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<Tensor> {
    by_layer("layer_norm", x, sizes, weight, bias, eps).map(|found| found.value)
}

/// [`layer_norm`], and what was normalised by.
fn by_layer(
    op: &'static str,
    x: &Tensor,
    sizes: &[isize],
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<Normalized> {
    let dims = last_dims(op, x, sizes, &[("weight", weight), ("bias", bias)])?;
    let told =
        |norm: &Norm, _: &Tensor| vec![("normalized_shape", Setting::ints(&norm.shape[norm.dims[0] as usize..]))];
    let node = "NativeLayerNormBackward0";
    Norm { node, shape: view::signed(x.shape()), dims, weight, bias, by_channel: false, eps, given: None, told }.of(x)
}

operation! {
    /// [`layer_norm`], and the mean and the inverse deviation `1 / sqrt(v + eps)` that it normalised by, without history.
    ///
    /// Shapes: the first is that of the input; the others have size 1 in the last dimensions.
    /// Raises: RuntimeError for sizes that do not fit.
    ///
    /// >>> ferrograd.native_layer_norm(ferrograd.tensor([[1.0, 2.0, 3.0]]), (3,), None, None, 1e-5)[1]
    /// tensor([[2.]])
    function Noted(Floats -> First), ["native_layer_norm(Tensor input, int[] normalized_shape, Tensor? weight, Tensor? bias, Number eps) -> (Tensor, Tensor, Tensor)"],
    |_, a| {
        let (x, weight, bias) = (a.tensor(0)?, a.maybe_tensor(2)?, a.maybe_tensor(3)?);
        let eps = a.float(4)?;
        let found = by_layer(a.op, x, a.ints(1)?, weight, bias, eps)?;
        let [mean, inverse] = found.statistics(eps, x.dtype())?.unwrap_or([found.mean, found.inverse]);
        Ok([found.value, mean, inverse].into())
    }
}

operation! {
    /// `x / sqrt(mean(x^2) + eps) * weight` with the mean over the last dimensions, whose sizes are `normalized_shape`. `eps` is
    /// the dtype's own where it is not given.
    ///
    /// Shapes: any, kept; `weight` has `normalized_shape`.
    /// Raises: RuntimeError for sizes that do not fit.
    ///
    /// >>> ferrograd.nn.functional.rms_norm(ferrograd.tensor([[3.0, 4.0]]), (2,))
    /// tensor([[0.8485, 1.1314]])
    function Same(Floats -> First), ["nn.rms_norm(Tensor input, int[] normalized_shape, Tensor? weight=None, Number? eps=None)"; also "package.rms_norm"],
    |_, a| {
        let (x, weight) = (a.tensor(0)?, a.maybe_tensor(2)?);
        let dims = last_dims(a.op, x, a.ints(1)?, &[("weight", weight)])?;
        let wide = cast::to(x, x.dtype().computed_in())?;
        let own = if wide.dtype() == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
        let eps = a.maybe_number(3)?.map_or(own, |n| n.as_f64());
        let square = sum::mean(&mul(&wide, &wide)?, &dims, true, None)?;
        let y = mul(&wide, &exponential::rsqrt(&add(&square, eps)?)?)?;
        let scaled = if let Some(weight) = weight { mul(&y, &cast::to(weight, y.dtype())?)? } else { y };
        Ok(cast::to(&scaled, x.dtype())?.into())
    }
}

operation! {
    /// [`layer_norm`] over the channels of each group and all that lies behind them: the channels, the second dimension, are cut
    /// into `num_groups`. Scale and shift have a number for each channel.
    ///
    /// Raises: RuntimeError for sizes that do not fit; ValueError where a group has one element.
    ///
    /// Shapes: `(N, C, ...), (C,), (C,) -> (N, C, ...)`.
    ///
    /// >>> ferrograd.nn.functional.group_norm(ferrograd.tensor([[1.0, 3.0, 10.0, 30.0]]), 2)
    /// tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])
    function Noted(Floats -> First), ["nn.group_norm(Tensor input, int num_groups, Tensor? weight=None, Tensor? bias=None, Number eps=1e-05)"; also "package.group_norm"],
    |_, a| {
        let (x, groups, weight, bias) = (a.tensor(0)?, a.int(1)?, a.maybe_tensor(2)?, a.maybe_tensor(3)?);
        if x.rank() < 2 {
            return invalid(a.op, format!("Expected at least 2 dimensions for input tensor but received {}", x.rank()));
        }
        let channels = x.shape()[1];
        let elements = x.numel() / (channels.max(1));
        if groups > 0 && x.numel() > 0 && elements * channels == groups as usize {
            return refused(a.op, format!("Expected more than 1 value per channel when training, got input size {:?}", x.shape()));
        }
        Ok(by_group(a.op, x, groups, weight, bias, a.float(4)?)?.value.into())
    }
}

/// Normalisation over the channels of each group, and what was normalised by.
fn by_group(
    op: &'static str,
    x: &Tensor,
    groups: isize,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<Normalized> {
    let channels = x.shape()[1];
    if groups <= 0 || !channels.is_multiple_of(groups as usize) {
        return invalid(
            op,
            format!(
                "Expected number of channels in input to be divisible by num_groups, but got input of shape {:?} and num_groups={groups}",
                x.shape()
            ),
        );
    }
    check_channels(op, channels, &[("weight", weight), ("bias", bias)])?;
    check_float(op, x)?;
    let length = channels / groups as usize * x.shape()[2..].iter().product::<usize>();
    let told = |norm: &Norm, x: &Tensor| {
        let size = |n: usize| Setting::Int(n as i64);
        let inner = size(x.shape()[2..].iter().product());
        let sizes = [
            ("C", size(x.shape()[1])),
            ("HxW", inner),
            ("N", size(x.shape()[0])),
            ("group", size(norm.shape[1] as usize)),
        ];
        sizes.into_iter().chain([("eps", Setting::Float(norm.eps))]).collect()
    };
    let node = "NativeGroupNormBackward0";
    let shape = smallvec![x.shape()[0] as isize, groups, length as isize];
    Norm { node, shape, dims: smallvec![2], weight, bias, by_channel: true, eps, given: None, told }.of(x)
}

operation! {
    /// [`group_norm`] of an input of `N` examples, `C` channels and `HxW` elements in each, and the mean and the inverse deviation
    /// `1 / sqrt(v + eps)` of each group.
    ///
    /// Shapes: `(N, C, ...), (C,), (C,) -> (N, C, ...), (N, G), (N, G)`.
    /// Raises: RuntimeError for sizes that do not fit.
    ///
    /// >>> x = ferrograd.tensor([[1.0, 3.0, 10.0, 30.0]])
    /// >>> ferrograd.native_group_norm(x, None, None, 1, 4, 1, 2, 1e-5)[1]
    /// tensor([[ 2., 20.]])
    function Noted(Floats -> First), ["native_group_norm(Tensor input, Tensor? weight, Tensor? bias, int N, int C, int HxW, int group, Number eps) -> (Tensor, Tensor, Tensor)"],
    |_, a| {
        let (x, weight, bias, groups) = (a.tensor(0)?, a.maybe_tensor(1)?, a.maybe_tensor(2)?, a.int(6)?);
        let (n, channels) = (a.int(3)?, a.int(4)?);
        let sizes = [n, channels, a.int(5)?];
        let count = sizes.iter().try_fold(1isize, |n, &size| n.checked_mul(size));
        let fits = x.rank() >= 2 && view::signed(x.shape())[..2] == sizes[..2] && count == Some(x.numel() as isize);
        if !fits {
            return invalid(a.op, format!("Expected an input of N={n}, C={channels} and HxW={}, but got shape {:?}", sizes[2], x.shape()));
        }
        let found = by_group(a.op, x, groups, weight, bias, a.float(7)?)?;
        let each = |t: &Tensor| view::reshape(&cast::to(t, x.dtype())?, &[n, groups]);
        Ok([found.value.clone(), each(&found.mean)?, each(&found.inverse)?].into())
    }
}

/// One number for each channel.
fn check_channels(op: &'static str, channels: usize, all: &[(&str, Option<&Tensor>)]) -> Result<()> {
    for (name, t) in all {
        if let Some(t) = t.filter(|t| t.shape() != [channels]) {
            return invalid(
                op,
                format!(
                    "Expected {name} to be a vector of size equal to the number of channels in input, {channels}, but got {name} of shape {:?}",
                    t.shape()
                ),
            );
        }
    }
    Ok(())
}

/// Running statistics that a training step moves, and by how much.
struct Running<'a> {
    mean: Option<&'a Tensor>,
    variance: Option<&'a Tensor>,
    momentum: f64,
}

impl Running<'_> {
    /// Moves the statistics towards those of a batch of `n` elements a channel, given as `(channels)`.
    fn update(&self, moments: &[Tensor; 2], n: f64, by_channel: &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<()> {
        let moved = |old: &Tensor, new: &Tensor| -> Result<Tensor> {
            let kept = mul(old, 1.0 - self.momentum)?;
            cast::to(&add(&kept, &mul(&by_channel(new)?, self.momentum)?)?, old.dtype())
        };
        unrecorded(|| {
            let mean = self.mean.map(|old| Ok((old, moved(old, &moments[0])?))).transpose()?;
            let spread = |old| Ok((old, moved(old, &mul(&moments[1], n / (n - 1.0))?)?));
            let both: SmallVec<[(&Tensor, Tensor); 2]> =
                mean.into_iter().chain(self.variance.map(spread).transpose()?).collect();
            // Neither moves where one may not be written.
            both.iter().try_for_each(|(old, new)| inplace::check_statistics("batch_norm", old, new))?;
            both.iter().try_for_each(|(old, new)| match old.batch() {
                Some(_) => inplace::copy_(old, new).map(drop),
                None => inplace::assign(old, new, Origin::Tensor("CopyBackwards")),
            })
        })
    }
}

/// All dimensions but that of the channels.
fn beside_channels(x: &Tensor) -> SmallVec<[isize; 8]> {
    (0..x.rank()).filter(|&d| d != 1).map(|d| d as isize).collect()
}

/// What the node of a normalisation by channel tells of its call.
fn of_call(norm: &Norm, _: &Tensor) -> Vec<(&'static str, Setting)> {
    vec![("eps", Setting::Float(norm.eps)), ("training", Setting::Bool(norm.given.is_none()))]
}

operation! {
    /// `(x - m) / sqrt(v + eps) * weight + bias` for each channel, the second dimension: with `training` the mean and the
    /// variance of the batch, which move the running ones by `momentum`; else the running ones.
    ///
    /// The running variance moves to that with one element less in the divisor.
    ///
    /// Shapes: `(N, C, ...), (C,), (C,), (C,), (C,) -> (N, C, ...)`.
    /// Raises: ValueError where a channel has one element in training; RuntimeError where there are no running
    /// statistics otherwise, and for sizes that do not fit.
    ///
    /// >>> F = ferrograd.nn.functional
    /// >>> F.batch_norm(ferrograd.tensor([[1.0, 10.0], [3.0, 30.0]]), None, None, training=True)
    /// tensor([[-1.0000, -1.0000],
    ///         [ 1.0000,  1.0000]])
    function Same(Floats -> First), ["nn.batch_norm(Tensor input, Tensor? running_mean, Tensor? running_var, Tensor? weight=None, Tensor? bias=None, bool training=False, Number momentum=0.1, Number eps=1e-05)"],
    |_, a| {
        let x = a.tensor(0)?;
        let [mean, variance, weight, bias] = [1, 2, 3, 4].map(|n| a.maybe_tensor(n));
        let running = Running { mean: mean?, variance: variance?, momentum: a.float(6)? };
        Ok(batch_norm(a.op, x, &running, weight?, bias?, a.bool(5)?, a.float(7)?)?.value.into())
    }
}

operation! {
    /// [`batch_norm`], and the mean and the inverse deviation `1 / sqrt(v + eps)` of each channel of the batch, without history;
    /// without `training` these are empty.
    ///
    /// Shapes: `(N, C, ...), (C,), (C,), (C,), (C,) -> (N, C, ...), (C,), (C,)`.
    /// Raises: RuntimeError for sizes that do not fit; ValueError where a channel has one element.
    ///
    /// >>> x = ferrograd.tensor([[1.0, 10.0], [3.0, 30.0]])
    /// >>> ferrograd.native_batch_norm(x, None, None, None, None, True, 0.1, 1e-5)[1]
    /// tensor([ 2., 20.])
    function Noted(Floats -> First), ["native_batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool training, Number momentum, Number eps) -> (Tensor, Tensor, Tensor)"],
    |_, a| {
        let x = a.tensor(0)?;
        let [weight, bias, mean, variance] = [1, 2, 3, 4].map(|n| a.maybe_tensor(n));
        let running = Running { mean: mean?, variance: variance?, momentum: a.float(6)? };
        let eps = a.float(7)?;
        let found = batch_norm(a.op, x, &running, weight?, bias?, a.bool(5)?, eps)?;
        let Some([mean, inverse]) = found.statistics(eps, x.dtype())? else {
            return Ok([found.value, Tensor::zeros(&[0], x.dtype())?, Tensor::zeros(&[0], x.dtype())?].into());
        };
        Ok([found.value, view::reshape(&mean, &[-1])?, view::reshape(&inverse, &[-1])?].into())
    }
}

/// The result, and what it was normalised by where that are statistics of the batch.
fn batch_norm(
    op: &'static str,
    x: &Tensor,
    running: &Running,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    training: bool,
    eps: f64,
) -> Result<Normalized> {
    if x.rank() == 1 && x.numel() == 0 {
        return Ok(Normalized { value: copy::clone(x)?, mean: x.detach(), inverse: x.detach(), moments: None });
    }
    if x.rank() < 2 {
        return Err(Error::Rank { op, expected: "at least two dimensions", shape: x.shape().to_vec() });
    }
    let channels = x.shape()[1];
    let n = x.numel() / channels.max(1);
    if training && n == 1 {
        return refused(
            op,
            format!("Expected more than 1 value per channel when training, got input size {:?}", x.shape()),
        );
    }
    let all = [("running_mean", running.mean), ("running_var", running.variance), ("weight", weight), ("bias", bias)];
    check_channels(op, channels, &all)?;
    check_float(op, x)?;
    let given = match (training, running.mean, running.variance) {
        (true, ..) => None,
        (false, Some(mean), Some(variance)) => Some([mean, variance]),
        _ => return invalid(op, "Expected running_mean and running_var to be defined when training=False".into()),
    };
    let (shape, dims) = (view::signed(x.shape()), beside_channels(x));
    let node = "NativeBatchNormBackward0";
    let norm = Norm { node, shape, dims, weight, bias, by_channel: true, eps, given, told: of_call };
    let found = norm.of(x)?;
    if let Some(moments) = &found.moments {
        running.update(moments, n as f64, &|t| view::reshape(t, &[channels as isize]))?;
    }
    Ok(found)
}

operation! {
    /// [`batch_norm`] of each example by itself: mean and variance over all dimensions but the first two. The running
    /// statistics, where they are given, move to the mean over the examples; without `use_input_stats` they are what is
    /// normalised by.
    ///
    /// Raises: ValueError where a channel of an example has one element.
    ///
    /// Shapes: `([N,] C, ...), (C,), (C,), (C,), (C,) -> ([N,] C, ...)`.
    ///
    /// >>> ferrograd.nn.functional.instance_norm(ferrograd.tensor([[[1.0, 3.0], [10.0, 30.0]]]))
    /// tensor([[[-1.0000,  1.0000],
    ///          [-1.0000,  1.0000]]])
    function Noted(Floats -> First), ["nn.instance_norm(Tensor input, Tensor? running_mean=None, Tensor? running_var=None, Tensor? weight=None, Tensor? bias=None, bool use_input_stats=True, Number momentum=0.1, Number eps=1e-05)"],
    |_, a| {
        let x = a.tensor(0)?;
        let [mean, variance, weight, bias] = [1, 2, 3, 4].map(|n| a.maybe_tensor(n));
        let running = Running { mean: mean?, variance: variance?, momentum: a.float(6)? };
        let (weight, bias, eps) = (weight?, bias?, a.float(7)?);
        if !a.bool(5)? {
            return Ok(batch_norm(a.op, x, &running, weight, bias, false, eps)?.value.into());
        }
        if x.rank() < 2 {
            return Err(Error::Rank { op: a.op, expected: "at least two dimensions", shape: x.shape().to_vec() });
        }
        let n: usize = x.shape()[2..].iter().product();
        if n == 1 {
            return refused(a.op, format!("Expected more than 1 spatial element when training, got input size {:?}", x.shape()));
        }
        let channels = x.shape()[1];
        let all = [("running_mean", running.mean), ("running_var", running.variance), ("weight", weight), ("bias", bias)];
        check_channels(a.op, channels, &all)?;
        check_float(a.op, x)?;
        let (shape, dims) = (view::signed(x.shape()), (2..x.rank() as isize).collect());
        let node = "NativeBatchNormBackward0";
        let norm = Norm { node, shape, dims, weight, bias, by_channel: true, eps, given: None, told: of_call };
        let found = norm.of(x)?;
        if let Some(moments) = &found.moments {
            running.update(moments, n as f64, &|t| {
                let flat = view::reshape(t, &[x.shape()[0] as isize, channels as isize])?;
                sum::mean(&flat, &[0], false, None)
            })?;
        }
        Ok(found.value.into())
    }
}

operation! {
    /// `x / (k + alpha mean(x^2))^beta`, where the mean is over `size` neighbouring channels, the second dimension, with zeros
    /// beyond the ends. Means of integers are rounded towards zero.
    ///
    /// Raises: ValueError for fewer than three dimensions.
    ///
    /// Shapes: `(N, C, ...) -> (N, C, ...)`.
    ///
    /// >>> ferrograd.nn.functional.local_response_norm(ferrograd.ones(1, 2, 2), 2, alpha=1.0)
    /// tensor([[[0.7378, 0.7378],
    ///          [0.5946, 0.5946]]])
    function Noted(Averaged -> Float), ["nn.local_response_norm(Tensor input, int size, Number alpha=0.0001, Number beta=0.75, Number k=1.0)"],
    |_, a| {
        let (x, size) = (a.tensor(0)?, a.int(1)?);
        if x.rank() < 3 {
            return refused(a.op, format!("Expected 3D or higher dimensionality input (got {} dimensions)", x.rank()));
        }
        if x.dtype() != DType::I64 {
            check_float(a.op, x)?;
        }
        if size < 1 {
            return invalid(a.op, format!("size must be positive, got {size}"));
        }
        if x.numel() == 0 {
            return Ok(x.clone().into());
        }
        let square = mul(x, x)?;
        // Means of integers are integers, as those that windows are pooled by.
        let mean = match x.dtype() {
            DType::I64 => {
                let zeros = |count: isize| {
                    let mut shape = x.layout().shape.clone();
                    shape[1] = count as usize;
                    Tensor::zeros(&shape, x.dtype())
                };
                let padded = join::cat(&[zeros(size / 2)?, square, zeros((size - 1) / 2)?], 1)?;
                let windows = view::unfold(&padded, 1, size, 1)?;
                scaled::cut_quotient((&sum::sum(&windows, &[-1], false, None)?).into(), (size as i64).into())?
            }
            _ => spatial::mean_of_channels(a.op, &square, size as usize)?,
        };
        let divisor = pow(&add(&mul(&mean, a.float(2)?)?, a.float(4)?)?, a.float(3)?)?;
        Ok(div(x, &divisor)?.into())
    }
}
