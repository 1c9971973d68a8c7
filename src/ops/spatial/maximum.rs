//! Greatest elements of windows.

use crate::memory::reserved;
use smallvec::{SmallVec, smallvec};

use super::{Pooling, adaptive, adaptive_sizes, check_adaptive, check_images, each};
use crate::error::{Error, Result};
use crate::graph::node::{Gradients, Setting};
use crate::kernels::element::dispatch;
use crate::kernels::windows::{self as kernel, Window, Windows};
use crate::ops::copy::{self, Format};
use crate::ops::random::drawn;
use crate::ops::recorded::{Call, Keep, Settings, is_linked, record};
use crate::ops::registry::{Arguments, Output, operation};
use crate::ops::{index, view};
use crate::random::{self, distribution::Uniform};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::{Shape, channels_last};
use crate::tensor::storage::Access;

/// What a node tells of the call.
type Told = Vec<(&'static str, Setting)>;

/// Values, and where they are asked for their places.
type Found = (Tensor, Option<Tensor>);

/// The greatest elements of windows in the last dimensions, one list of windows a dimension, and where asked for their places
/// among the elements of these dimensions.
fn greatest(
    op: &'static str,
    node: &'static str,
    x: &Tensor,
    windows: &[Windows],
    with_places: bool,
    told: &dyn Fn() -> Told,
) -> Result<Found> {
    if let Some(b) = x.batch() {
        let (y, places) = greatest(op, node, &b.value, windows, with_places, told)?;
        return Ok((Tensor::batched(&y, b.level), places.map(|places| Tensor::batched(&places, b.level))));
    }
    x.dtype().require(op)?;
    if x.dtype() == DType::Bool {
        return Err(Error::NotImplemented { op, what: "bool: convert to another dtype first; this".into() });
    }
    let spatial = windows.len();
    let lead = x.rank() - spatial;
    let all: [Windows; 3] =
        std::array::from_fn(|d| (d + spatial).checked_sub(3).map_or_else(Windows::one, |d| windows[d].clone()));
    let size = std::array::from_fn(|d| (d + spatial).checked_sub(3).map_or(1, |d| x.shape()[lead + d]));
    let mut shape: Shape = x.shape()[..lead].into();
    shape.extend(windows.iter().map(|w| w.count));
    // Channels that lie side by side stay so; without a batch the first dimension is that of the channels.
    let by_channels = lead == 2 && all.iter().all(Windows::are_shared) && x.layout().suggests_channels_last();
    let format = if by_channels { Format::ChannelsLast(x.rank()) } else { Format::Contiguous };
    let source = copy::in_format(&x.detach(), Some(format))?;
    let y = format.applied(op, Tensor::uninitialized(op, &shape, x.dtype())?, None)?;
    // The derivative asks for them too.
    let places = (with_places || is_linked(&[x], x))
        .then(|| format.applied(op, Tensor::uninitialized(op, &shape, DType::I64)?, None))
        .transpose()?;
    // Row-major, as they lie in memory.
    let in_memory = |t: &Tensor| match channels_last(x.rank()) {
        Some(order) if by_channels => t.alias(t.layout().permute(order), false),
        _ => t.clone(),
    };
    let (source, to, places_to) = (in_memory(&source), in_memory(&y), places.as_ref().map(in_memory));
    let access = Access::lock([(&**source.storage(), false)]);
    dispatch!(op, x.dtype(), T => {
        // SAFETY: all are contiguous tensors of these types; the results are new.
        let (x, y) = unsafe { (source.elements::<T>(), to.elements_mut::<T>()) };
        // SAFETY: as above.
        let places = places_to.as_ref().map(|places| unsafe { places.elements_mut::<i64>() });
        if by_channels {
            kernel::greatest_of_channels(x, size, &all, (y, places), shape[1]);
        } else {
            kernel::greatest(x, size, &all, y, places);
        }
    });
    drop(access);
    let settings = || Settings {
        shape: x.layout().shape.clone(),
        dims: smallvec![spatial as isize],
        told: told().into(),
        ..Settings::default()
    };
    if let Some(places) = &places {
        record(node, &y, &[x], &[Keep::Input(places)], settings, to_places)?;
    }
    Ok((y, places.filter(|_| with_places)))
}

/// The gradient goes to the places; where windows share one, it adds up.
fn to_places(call: &Call) -> Result<Gradients> {
    let (shape, spatial) = (&call.settings.shape, call.settings.dims[0] as usize);
    let (lead, elements) = (shape.len() - spatial, shape[shape.len() - spatial..].iter().product::<usize>());
    let places = &call.saved[0];
    // As the places lie, so lie the zeros that the gradient goes to: channels side by side, or line by line.
    let last: SmallVec<[isize; 5]> = (0..shape.len() as isize).filter(|&d| d != 1).chain([1]).collect();
    let by_channels = lead == 2 && !places.is_contiguous() && view::permute(places, &last)?.is_contiguous();
    let flat = |t: &Tensor| {
        let count = t.shape()[lead..].iter().product::<usize>() as isize;
        if by_channels {
            return view::reshape(&view::permute(t, &last)?, &[t.shape()[0] as isize, count, t.shape()[1] as isize]);
        }
        let mut sizes = view::signed(&t.shape()[..lead]);
        sizes.push(count);
        view::reshape(&copy::contiguous(t)?, &sizes)
    };
    let mut sizes: Shape = shape[..lead].into();
    sizes.insert(if by_channels { 1 } else { lead }, elements);
    let dim = if by_channels { 1 } else { lead as isize };
    let dx = index::scatter_zeros(&sizes, dim, &flat(places)?, &flat(&call.g)?)?;
    let dx = if by_channels { view::transpose(&dx, 1, 2)? } else { dx };
    Ok(smallvec![Some(view::reshape(&dx, &view::signed(shape))?)])
}

fn output((y, places): Found) -> Output {
    match places {
        Some(places) => [y, places].into(),
        None => y.into(),
    }
}

/// What is done in two dimensions, done in one: with a dimension of size 1 put in.
fn in_line(x: &Tensor, run: impl FnOnce(&Tensor) -> Result<Found>) -> Result<Found> {
    let (y, places) = run(&view::unsqueeze(x, -2)?)?;
    let places = places.map(|places| view::squeeze(&places, Some(&[-2]))).transpose()?;
    Ok((view::squeezed(&y, Some(&[-2]), "SqueezeBackward1")?, places))
}

/// The windows of a pooling in dimension `d`, of a size.
fn windows(op: &'static str, pooling: &Pooling, d: usize, size: usize) -> Result<Windows> {
    let count = pooling.count(op, d, size)?;
    let step = pooling.dilation[d];
    let window = |i: usize| {
        let first = i as isize * pooling.stride[d] - pooling.padding[d];
        let end = (first + (pooling.kernel[d] - 1) * step + 1).min(size as isize);
        let skipped = (-first).max(0).unsigned_abs().div_ceil(step as usize) as isize;
        let start = first + skipped * step;
        if start >= end {
            let what = format!("window {i} lies between the elements of a dimension of size {size}");
            return Err(Error::Invalid { op, what });
        }
        let count = (end - start).unsigned_abs().div_ceil(step as usize);
        Ok(Window { start: start as usize, count, step: step as usize })
    };
    let mut all = reserved(op, count)?;
    (0..count).try_for_each(|i| window(i).map(|w| all.push(w)))?;
    Ok(Windows::of_all(all))
}

/// What a call of `max_pool2d` or its kin asks for: `input, kernel_size, stride, padding, dilation, ceil_mode`.
fn called(a: &Arguments, spatial: usize, with_places: bool) -> Result<Found> {
    let x = a.tensor(0)?;
    let mut pooling = Pooling::called(a, 1, spatial)?;
    pooling.dilation = each(a.op, "dilation", &a.sizes(4)?, spatial)?;
    pooling.ceil = a.bool(5)?;
    check_images(a.op, x, spatial)?;
    let all = (0..spatial)
        .map(|d| windows(a.op, &pooling, d, x.shape()[x.rank() - spatial + d]))
        .collect::<Result<Vec<_>>>()?;
    let has_stride = !a.sizes(2)?.is_empty();
    pooled(a.op, ["MaxPool2DWithIndicesBackward0", "MaxPool3DWithIndicesBackward0"], x, all, with_places, &|| {
        // A line is an image of one row.
        let both = |own: &[isize], one: isize| match own {
            [only] => Setting::ints(&[one, *only]),
            all => Setting::ints(all),
        };
        let stride = if has_stride { both(&pooling.stride, 1) } else { Setting::Ints(Vec::new()) };
        vec![
            ("ceil_mode", Setting::Bool(pooling.ceil)),
            ("dilation", both(&pooling.dilation, 1)),
            ("kernel_size", both(&pooling.kernel, 1)),
            ("padding", both(&pooling.padding, 0)),
            ("stride", stride),
        ]
    })
}

fn pooled(
    op: &'static str,
    nodes: [&'static str; 2],
    x: &Tensor,
    mut all: Vec<Windows>,
    with_places: bool,
    told: &dyn Fn() -> Told,
) -> Result<Found> {
    match all.len() {
        1 => in_line(x, |x| {
            all.insert(0, Windows::one());
            greatest(op, nodes[0], x, &all, with_places, told)
        }),
        2 => greatest(op, nodes[0], x, &all, with_places, told),
        _ => greatest(op, nodes[1], x, &all, with_places, told),
    }
}

macro_rules! maxima {
    ($($(#[doc = $doc:literal])* $spatial:literal $call:literal $(also $alias:literal)?, $with_places:expr;)*) => {$(
        operation! {
            $(#[doc = $doc])*
            function Noted(Numbers -> Indexed), [$call $(; also $alias)?], |_, a| {
                let with_places: fn(&Arguments) -> Result<bool> = $with_places;
                Ok(output(called(a, $spatial, with_places(a)?)?))
            }
        }
    )*};
}

maxima! {
    /// Greatest elements of windows along the last dimension of `(N, C, L)` or `(C, L)`: `kernel_size` elements, `dilation`
    /// apart, `stride` from one window to the next (the kernel's size where not given), `padding` places at both ends, at
    /// most half of the kernel, that never win. With `ceil_mode` the last window may reach beyond the end. NaN is greater
    /// than all. With `return_indices` also the places of the elements found, the first of equal ones; the gradient goes
    /// to them.
    ///
    /// Shapes: `([N,] C, L) -> ([N,] C, K)`.
    ///
    /// >>> ferrograd.nn.functional.max_pool1d(ferrograd.tensor([[1.0, 3.0, 5.0, 2.0]]), 2)
    /// tensor([[3., 5.]])
    1 "nn.max_pool1d(Tensor input, int[] kernel_size, int[]? stride=None, int[] padding=0, int[] dilation=1, bool ceil_mode=False, bool return_indices=False)"
    also "package.max_pool1d", |a| a.bool(6);

    /// Greatest elements of windows of the last two dimensions of `(N, C, H, W)` or `(C, H, W)`, as `max_pool1d` in each.
    /// Places count through the rows of an image.
    ///
    /// Shapes: `([N,] C, H, W) -> ([N,] C, P, Q)`.
    ///
    /// >>> x = ferrograd.tensor([[[1.0, 7.0], [3.0, 5.0]]])
    /// >>> ferrograd.nn.functional.max_pool2d(x, 2, return_indices=True)
    /// (tensor([[[7.]]]), tensor([[[1]]]))
    2 "nn.max_pool2d(Tensor input, int[] kernel_size, int[]? stride=None, int[] padding=0, int[] dilation=1, bool ceil_mode=False, bool return_indices=False)"
    also "package.max_pool2d", |a| a.bool(6);

    /// Greatest elements of windows of the last three dimensions of `(N, C, D, H, W)` or `(C, D, H, W)`, as `max_pool2d` in
    /// two.
    ///
    /// Shapes: `([N,] C, D, H, W) -> ([N,] C, O, P, Q)`.
    ///
    /// >>> ferrograd.nn.functional.max_pool3d(ferrograd.arange(8.0).reshape(1, 2, 2, 2), 2).flatten()
    /// tensor([7.])
    3 "nn.max_pool3d(Tensor input, int[] kernel_size, int[]? stride=None, int[] padding=0, int[] dilation=1, bool ceil_mode=False, bool return_indices=False)"
    also "package.max_pool3d", |a| a.bool(6);

    /// `max_pool1d` with the places of the elements found.
    ///
    /// Shapes: `([N,] C, L) -> ([N,] C, K), ([N,] C, K)`.
    ///
    /// >>> ferrograd.nn.functional.max_pool1d_with_indices(ferrograd.tensor([[1.0, 3.0]]), 2)
    /// (tensor([[3.]]), tensor([[1]]))
    1 "nn.max_pool1d_with_indices(Tensor input, int[] kernel_size, int[]? stride=None, int[] padding=0, int[] dilation=1, bool ceil_mode=False, bool return_indices=False)"
    also "package.max_pool1d_with_indices", |_| Ok(true);

    /// `max_pool2d` with the places of the elements found.
    ///
    /// Shapes: `([N,] C, H, W) -> ([N,] C, P, Q), ([N,] C, P, Q)`.
    ///
    /// >>> ferrograd.nn.functional.max_pool2d_with_indices(ferrograd.ones(1, 2, 2), 2)
    /// (tensor([[[1.]]]), tensor([[[0]]]))
    2 "nn.max_pool2d_with_indices(Tensor input, int[] kernel_size, int[]? stride=None, int[] padding=0, int[] dilation=1, bool ceil_mode=False, bool return_indices=False)",
    |_| Ok(true);

    /// `max_pool3d` with the places of the elements found.
    ///
    /// Shapes: `([N,] C, D, H, W) -> ([N,] C, O, P, Q), ([N,] C, O, P, Q)`.
    ///
    /// >>> ferrograd.nn.functional.max_pool3d_with_indices(ferrograd.ones(1, 2, 2, 2), 2)[1].flatten()
    /// tensor([0])
    3 "nn.max_pool3d_with_indices(Tensor input, int[] kernel_size, int[]? stride=None, int[] padding=0, int[] dilation=1, bool ceil_mode=False, bool return_indices=False)",
    |_| Ok(true);
}

/// An error for elements that only windows of equal sizes have maxima of, as in torch.
fn require_floats(op: &'static str, x: &Tensor) -> Result<()> {
    if x.dtype().is_floating_point() {
        return Ok(());
    }
    Err(Error::NotImplemented { op, what: format!("{}: convert to a float dtype first; this", x.dtype()) })
}

/// What a call of `adaptive_max_pool2d` or its kin asks for: `input, output_size`.
fn adaptively(a: &Arguments, spatial: usize, with_places: bool) -> Result<Found> {
    let x = a.tensor(0)?;
    check_adaptive(a, x, spatial)?;
    let sizes = adaptive_sizes(a, x, spatial)?;
    require_floats(a.op, x)?;
    let window = |r: std::ops::Range<usize>| Window { start: r.start, count: r.len(), step: 1 };
    let all = sizes
        .iter()
        .enumerate()
        .map(|(d, &count)| Windows::of_all(adaptive(x.shape()[x.rank() - spatial + d], count).map(window).collect()));
    let nodes = ["AdaptiveMaxPool2DBackward0", "AdaptiveMaxPool3DBackward0"];
    pooled(a.op, nodes, x, all.collect(), with_places, &Vec::new)
}

macro_rules! adaptive_maxima {
    ($($(#[doc = $doc:literal])* $spatial:literal $call:literal, $with_places:expr;)*) => {$(
        operation! {
            $(#[doc = $doc])*
            function Noted(Floats -> Indexed), [$call], |_, a| {
                let with_places: fn(&Arguments) -> Result<bool> = $with_places;
                Ok(output(adaptively(a, $spatial, with_places(a)?)?))
            }
        }
    )*};
}

adaptive_maxima! {
    /// Greatest elements of `output_size` windows that cover the last dimension of `(N, C, L)` or `(C, L)`: window `i` goes
    /// from `floor(i L / output_size)` to `ceil((i + 1) L / output_size)`. With `return_indices` also their places.
    ///
    /// Shapes: `([N,] C, L) -> ([N,] C, K)`.
    ///
    /// >>> ferrograd.nn.functional.adaptive_max_pool1d(ferrograd.tensor([[1.0, 4.0, 3.0]]), 2)
    /// tensor([[4., 4.]])
    1 "nn.adaptive_max_pool1d(Tensor input, int[] output_size, bool return_indices=False)", |a| a.bool(2);

    /// Greatest elements of windows that cover the last two dimensions, as `adaptive_max_pool1d` in each; sizes that are
    /// None stay as they are.
    ///
    /// Shapes: `([N,] C, H, W) -> ([N,] C, P, Q)`.
    ///
    /// Raises: ValueError where there are no more dimensions than sizes.
    ///
    /// >>> ferrograd.nn.functional.adaptive_max_pool2d(ferrograd.arange(6.0).reshape(1, 2, 3), (1, None))
    /// tensor([[[3., 4., 5.]]])
    2 "nn.adaptive_max_pool2d(Tensor input, int?[] output_size, bool return_indices=False)", |a| a.bool(2);

    /// Greatest elements of windows that cover the last three dimensions, as `adaptive_max_pool1d` in each; sizes that are
    /// None stay as they are.
    ///
    /// Shapes: `([N,] C, D, H, W) -> ([N,] C, O, P, Q)`.
    ///
    /// Raises: ValueError where there are no more dimensions than sizes.
    ///
    /// >>> ferrograd.nn.functional.adaptive_max_pool3d(ferrograd.arange(8.0).reshape(1, 2, 2, 2), 1).flatten()
    /// tensor([7.])
    3 "nn.adaptive_max_pool3d(Tensor input, int?[] output_size, bool return_indices=False)", |a| a.bool(2);

    /// `adaptive_max_pool1d` with the places of the elements found.
    ///
    /// Shapes: `([N,] C, L) -> ([N,] C, K), ([N,] C, K)`.
    ///
    /// >>> ferrograd.nn.functional.adaptive_max_pool1d_with_indices(ferrograd.tensor([[1.0, 4.0]]), 1)
    /// (tensor([[4.]]), tensor([[1]]))
    1 "nn.adaptive_max_pool1d_with_indices(Tensor input, int[] output_size, bool return_indices=False)", |_| Ok(true);

    /// `adaptive_max_pool2d` with the places of the elements found.
    ///
    /// Shapes: `([N,] C, H, W) -> ([N,] C, P, Q), ([N,] C, P, Q)`.
    ///
    /// Raises: ValueError where there are no more dimensions than sizes.
    ///
    /// >>> ferrograd.nn.functional.adaptive_max_pool2d_with_indices(ferrograd.ones(1, 2, 2), 1)
    /// (tensor([[[1.]]]), tensor([[[0]]]))
    2 "nn.adaptive_max_pool2d_with_indices(Tensor input, int?[] output_size, bool return_indices=False)", |_| Ok(true);

    /// `adaptive_max_pool3d` with the places of the elements found.
    ///
    /// Shapes: `([N,] C, D, H, W) -> ([N,] C, O, P, Q), ([N,] C, O, P, Q)`.
    ///
    /// Raises: ValueError where there are no more dimensions than sizes.
    ///
    /// >>> ferrograd.nn.functional.adaptive_max_pool3d_with_indices(ferrograd.ones(1, 2, 2, 2), 1)[1].flatten()
    /// tensor([0])
    3 "nn.adaptive_max_pool3d_with_indices(Tensor input, int?[] output_size, bool return_indices=False)", |_| Ok(true);
}

operation! {
    /// `adaptive_max_pool1d` with the places of the elements found, under the name that the package has.
    ///
    /// Shapes: `([N,] C, L) -> ([N,] C, K), ([N,] C, K)`.
    ///
    /// >>> ferrograd.adaptive_max_pool1d(ferrograd.tensor([[1.0, 4.0, 3.0]]), 1)
    /// (tensor([[4.]]), tensor([[1]]))
    function Noted(Floats -> Indexed), ["adaptive_max_pool1d(Tensor self, int[] output_size)"], |_, a| Ok(output(adaptively(a, 1, true)?))
}

/// The starts of windows that cover a size at random: `sample`, below 1, says where.
fn starts(sample: f64, size: usize, count: usize, kernel: usize, single: bool) -> impl Iterator<Item = usize> {
    let rounded = move |x: f64| if single { x as f32 as f64 } else { x };
    let alpha = rounded((size - kernel) as f64 / (count - 1).max(1) as f64);
    // Samples may be negative: what is cut off is the fraction, on either side of zero.
    let at = move |i: usize| rounded(rounded(i as f64 + sample) * alpha) as isize;
    let start = move |i: usize| (at(i) - at(0)).clamp(0, (size - kernel) as isize) as usize;
    (0..count - 1).map(start).chain([size - kernel])
}

/// What a call of `fractional_max_pool2d` or its kin asks for:
/// `input, kernel_size, output_size, output_ratio, return_indices, samples`.
fn fractionally(a: &Arguments, spatial: usize, with_places: bool) -> Result<Found> {
    let x = a.tensor(0)?;
    check_images(a.op, x, spatial)?;
    require_floats(a.op, x)?;
    let own: SmallVec<[usize; 3]> = x.shape()[x.rank() - spatial..].into();
    let [kernel, wanted] = fractions(a, spatial, &own)?;
    let lead: SmallVec<[usize; 4]> = match x.rank() - spatial {
        1 => smallvec![1, x.shape()[0]],
        _ => x.shape()[..2].into(),
    };
    let numbers = fraction_samples(a, x, &lead, spatial)?.to_vec::<f64>()?;
    let single = x.dtype() != DType::F64;
    let planes = lead[0] * lead[1];
    let all = (0..spatial).map(|d| {
        // torch takes the samples of an image in the order of columns and rows, and of a volume as they come.
        let from = if spatial == 2 { 1 - d } else { d };
        let of = |p: usize| {
            // Without images the windows of one are made, from no sample.
            let sample = numbers.get(p * spatial + from).copied().unwrap_or_default();
            let window = |start| Window { start, count: kernel[d] as usize, step: 1 };
            starts(sample, own[d], wanted[d] as usize, kernel[d] as usize, single).map(window)
        };
        Windows { count: wanted[d] as usize, all: (0..planes.max(1)).flat_map(of).collect() }
    });
    let told = || vec![("kernel_size", Setting::ints(&kernel)), ("output_size", Setting::ints(&wanted))];
    pooled(a.op, ["FractionalMaxPool2DBackward0", "FractionalMaxPool3DBackward0"], x, all.collect(), with_places, &told)
}

/// The sizes of the windows of such a call, and how many there are along each dimension of the size `own`.
fn fractions(a: &Arguments, spatial: usize, own: &[usize]) -> Result<[SmallVec<[isize; 3]>; 2]> {
    let kernel = each(a.op, "kernel_size", &a.sizes(1)?, spatial)?;
    let wanted: SmallVec<[isize; 3]> = match (a.maybe_ints(2)?, a.numbers(3)?) {
        (Some(sizes), _) => each(a.op, "output_size", sizes, spatial)?,
        (None, ratios) if ratios.len() == spatial => {
            own.iter().zip(ratios).map(|(&s, r)| (s as f64 * r.as_f64()) as isize).collect()
        }
        _ => {
            let rule = "is to be given, for each dimension, unless output_size is";
            return Err(Error::Argument { op: a.op, argument: "output_ratio", rule, given: "None".into() });
        }
    };
    for d in 0..spatial {
        // torch wants an element more in volumes than in images.
        let size = own[d] as isize - isize::from(spatial == 3);
        let fits = kernel[d] >= 1 && wanted[d] >= 1 && wanted[d].saturating_add(kernel[d] - 1) <= size;
        if !fits {
            let what =
                format!("pool size {} is too large for {} windows of a size of {}", kernel[d], wanted[d], own[d]);
            return Err(Error::Invalid { op: a.op, what });
        }
    }
    Ok([kernel, wanted])
}

/// The numbers that say where the windows of each channel lie: given, or drawn.
fn fraction_samples(a: &Arguments, x: &Tensor, lead: &[usize], spatial: usize) -> Result<Tensor> {
    let samples = match a.maybe_tensor(5)? {
        Some(samples) => samples.clone(),
        None => {
            let shape: Vec<usize> = lead.iter().copied().chain([spatial]).collect();
            drawn(a.op, &shape, x.dtype(), random::default(), &Uniform { low: 0.0, high: 1.0 })?
        }
    };
    if samples.requires_grad() {
        return Err(Error::Invalid { op: a.op, what: "_random_samples have no gradient: detach() them".into() });
    }
    if samples.dtype() != x.dtype() {
        return Err(Error::DTypeMismatch { op: a.op, left: x.dtype(), right: samples.dtype() });
    }
    if samples.rank() != 3
        || samples.shape()[0] < lead[0]
        || samples.shape()[1] != lead[1]
        || samples.shape()[2] != spatial
    {
        let (expected, given) = (vec![lead[0], lead[1], spatial], samples.shape().to_vec());
        return Err(Error::Shape {
            op: a.op,
            what: "_random_samples must have a number for each dimension of every channel",
            expected,
            given,
        });
    }
    Ok(samples)
}

macro_rules! fractional {
    ($($(#[doc = $doc:literal])* $spatial:literal $call:literal, $with_places:expr;)*) => {$(
        operation! {
            $(#[doc = $doc])*
            function Noted(Floats -> Indexed), [$call], |_, a| {
                let with_places: fn(&Arguments) -> Result<bool> = $with_places;
                Ok(output(fractionally(a, $spatial, with_places(a)?)?))
            }
        }
    )*};
}

fractional! {
    /// Greatest elements of windows of `kernel_size` whose starts are spread at random over the last two dimensions of
    /// `(N, C, H, W)` or `(C, H, W)`: `output_size` of them, or `output_ratio` times the size. `_random_samples`, of shape
    /// `(N, C, 2)` and the input's dtype, below 1, say where; where not given they are drawn.
    ///
    /// Shapes: `([N,] C, H, W) -> ([N,] C, P, Q)`.
    ///
    /// >>> samples = ferrograd.tensor([[[0.3, 0.6]]])
    /// >>> x = ferrograd.arange(16.0).reshape(1, 4, 4)
    /// >>> ferrograd.nn.functional.fractional_max_pool2d(x, 2, output_size=2, _random_samples=samples)
    /// tensor([[[ 5.,  7.],
    ///          [13., 15.]]])
    2 "nn.fractional_max_pool2d(Tensor input, int[] kernel_size, int[]? output_size=None, Number[]? output_ratio=None, bool return_indices=False, Tensor? _random_samples=None)", |a| a.bool(4);

    /// As `fractional_max_pool2d`, in the last three dimensions.
    ///
    /// Shapes: `([N,] C, D, H, W) -> ([N,] C, O, P, Q)`.
    ///
    /// >>> samples = ferrograd.full((1, 1, 3), 0.5)
    /// >>> x = ferrograd.arange(27.0).reshape(1, 3, 3, 3)
    /// >>> ferrograd.nn.functional.fractional_max_pool3d(x, 2, output_size=1, _random_samples=samples).flatten()
    /// tensor([26.])
    3 "nn.fractional_max_pool3d(Tensor input, int[] kernel_size, int[]? output_size=None, Number[]? output_ratio=None, bool return_indices=False, Tensor? _random_samples=None)", |a| a.bool(4);

    /// `fractional_max_pool2d` with the places of the elements found.
    ///
    /// Shapes: `([N,] C, H, W) -> ([N,] C, P, Q), ([N,] C, P, Q)`.
    ///
    /// >>> samples = ferrograd.zeros(1, 1, 2)
    /// >>> ferrograd.nn.functional.fractional_max_pool2d_with_indices(ferrograd.ones(1, 2, 2), 2, 1, _random_samples=samples)
    /// (tensor([[[1.]]]), tensor([[[0]]]))
    2 "nn.fractional_max_pool2d_with_indices(Tensor input, int[] kernel_size, int[]? output_size=None, Number[]? output_ratio=None, bool return_indices=False, Tensor? _random_samples=None)", |_| Ok(true);

    /// `fractional_max_pool3d` with the places of the elements found.
    ///
    /// Shapes: `([N,] C, D, H, W) -> ([N,] C, O, P, Q), ([N,] C, O, P, Q)`.
    ///
    /// >>> samples, x = ferrograd.zeros(1, 1, 3), -ferrograd.arange(27.0).reshape(1, 3, 3, 3)
    /// >>> ferrograd.nn.functional.fractional_max_pool3d_with_indices(x, 2, 1, _random_samples=samples)[1].flatten()
    /// tensor([13])
    3 "nn.fractional_max_pool3d_with_indices(Tensor input, int[] kernel_size, int[]? output_size=None, Number[]? output_ratio=None, bool return_indices=False, Tensor? _random_samples=None)", |_| Ok(true);
}
