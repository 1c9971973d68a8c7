//! Means of windows.

use std::sync::Arc;

use smallvec::SmallVec;

use super::map::{Divisor, Map, apply};
use super::{Pooling, adaptive, adaptive_sizes, check_adaptive, check_images};
use crate::error::{Error, Result};
use crate::kernels::mix::Matrix;
use crate::ops::registry::{Arguments, operation};
use crate::ops::{arithmetic, sum, unary, view};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::scalar::Scalar;

/// Floats have means, and in windows of equal sizes, as in torch, int64: cut towards zero.
fn check_dtype(op: &'static str, x: &Tensor, is_adaptive: bool) -> Result<()> {
    if x.dtype().is_floating_point() || !is_adaptive && x.dtype() == DType::I64 {
        return Ok(());
    }
    Err(Error::NotImplemented { op, what: format!("{}: convert to a float dtype first; this", x.dtype()) })
}

/// Sums over windows of the last dimensions, with how many elements count in each.
struct Sums {
    map: Map,
    /// The elements that count, one list a dimension, the last dimension's first.
    counts: Vec<Vec<usize>>,
}

impl Sums {
    fn new() -> Sums {
        Sums { map: Map::default(), counts: vec![] }
    }

    /// Windows along the dimension before those there are: their bounds, and how many elements count in each.
    fn push(&mut self, size: usize, windows: impl Iterator<Item = (std::ops::Range<usize>, usize)> + Clone) {
        self.counts.push(windows.clone().map(|(_, count)| count).collect());
        let rows = windows.map(|(range, _)| range.map(|at| (at, 1.0)));
        self.map.parts.push((self.counts.len(), Matrix::new(size, rows)));
    }

    /// Divides every sum by the number of its elements.
    fn divided(mut self) -> Result<Map> {
        let first: Vec<usize> = self.counts.iter().map(|c| c.first().copied().unwrap_or(1)).collect();
        if self.counts.iter().zip(&first).all(|(c, f)| c.iter().all(|n| n == f)) {
            let all: usize = first.iter().product();
            self.map.after = Some(Divisor::All(all.max(1) as i64));
            return Ok(self.map);
        }
        let shape: SmallVec<[usize; 4]> = self.counts.iter().rev().map(Vec::len).collect();
        let mut all = vec![1.0f64];
        for counts in self.counts.iter().rev() {
            // No sum of nothing is divided by zero.
            all = all.iter().flat_map(|n| counts.iter().map(move |&c| n * c.max(1) as f64)).collect();
        }
        self.map.after = Some(Divisor::Each(Tensor::from_shape(&all, &shape)?));
        Ok(self.map)
    }
}

/// What a call of `avg_pool2d` or its kin asks for: `input, kernel_size, stride, padding, ceil_mode, count_include_pad` and,
/// but in one dimension, `divisor_override`.
fn called(a: &Arguments, spatial: usize) -> Result<Tensor> {
    let x = a.tensor(0)?;
    let mut pooling = Pooling::called(a, 1, spatial)?;
    pooling.ceil = a.bool(4)?;
    let divisor = if spatial == 1 { None } else { a.maybe_int(6)? };
    if divisor == Some(0) {
        return Err(Error::Invalid { op: a.op, what: "divisor must be not zero".into() });
    }
    check_images(a.op, x, spatial)?;
    check_dtype(a.op, x, false)?;
    averaged(a.op, x, &pooling, a.bool(5)?, divisor)
}

fn averaged(
    op: &'static str,
    x: &Tensor,
    pooling: &Pooling,
    counts_padding: bool,
    divisor: Option<isize>,
) -> Result<Tensor> {
    let spatial = pooling.kernel.len();
    let mut sums = Sums::new();
    for d in (0..spatial).rev() {
        let size = x.shape()[x.rank() - spatial + d];
        let count = pooling.count(op, d, size)?;
        let (kernel, stride, padding) = (pooling.kernel[d], pooling.stride[d], pooling.padding[d]);
        let window = move |i: usize| {
            let start = i as isize * stride - padding;
            let end = (start + kernel).min(size as isize + padding);
            let inside = start.clamp(0, size as isize) as usize..end.clamp(0, size as isize) as usize;
            let counted = if counts_padding { (end - start).max(0) as usize } else { inside.len() };
            (inside, counted)
        };
        sums.push(size, (0..count).map(window));
    }
    let map = match divisor {
        Some(by) => Map { after: Some(Divisor::All(by as i64)), ..sums.map },
        None => sums.divided()?,
    };
    pooled(op, ["AvgPool2DBackward0", "AvgPool3DBackward0"], map, x, spatial)
}

/// A map in one to three dimensions; in one dimension torch has nodes of that in two.
fn pooled(op: &'static str, nodes: [&'static str; 2], map: Map, x: &Tensor, spatial: usize) -> Result<Tensor> {
    let names = match (spatial, nodes) {
        (3, [_, "AvgPool3DBackward0"]) => ["AvgPool3DBackward0", "AvgPool3DBackwardBackward0"],
        (3, _) => ["AdaptiveAvgPool3DBackward0", "AdaptiveAvgPool3DBackwardBackward0"],
        (_, ["AvgPool2DBackward0", _]) => ["AvgPool2DBackward0", "AvgPool2DBackwardBackward0"],
        _ => ["AdaptiveAvgPool2DBackward0", "AdaptiveAvgPool2DBackwardBackward0"],
    };
    if spatial > 1 {
        return apply(op, names, &Arc::new(map), x);
    }
    let y = apply(op, names, &Arc::new(map), &view::unsqueeze(x, -2)?)?;
    view::squeezed(&y, Some(&[-2]), "SqueezeBackward1")
}

macro_rules! averages {
    ($($(#[doc = $doc:literal])* $spatial:literal $call:literal $(also $alias:literal)?;)*) => {$(
        operation! {
            $(#[doc = $doc])*
            function Noted(Averaged -> Kept), [$call $(; also $alias)?], |_, a| Ok(called(a, $spatial)?.into())
        }
    )*};
}

averages! {
    /// Means of windows along the last dimension of `(N, C, L)` or `(C, L)`: `kernel_size` elements, `stride` from one
    /// window to the next (the kernel's size where not given), with `padding` zeros at both ends, at most half of the
    /// kernel, that count where `count_include_pad`. With `ceil_mode` the last window may reach beyond the end.
    ///
    /// Means of int64 are cut towards zero.
    ///
    /// Shapes: `([N,] C, L) -> ([N,] C, K)`.
    ///
    /// >>> ferrograd.nn.functional.avg_pool1d(ferrograd.tensor([[1.0, 3.0, 5.0, 9.0]]), 2)
    /// tensor([[2., 7.]])
    1 "nn.avg_pool1d(Tensor self, int[] kernel_size, int[]? stride=None, int[] padding=0, bool ceil_mode=False, bool count_include_pad=True)"
    also "package.avg_pool1d";

    /// Means of windows of the last two dimensions of `(N, C, H, W)` or `(C, H, W)`, as `avg_pool1d` in each; the sum is
    /// divided by `divisor_override` where that is given.
    ///
    /// Shapes: `([N,] C, H, W) -> ([N,] C, P, Q)`.
    ///
    /// >>> ferrograd.nn.functional.avg_pool2d(ferrograd.arange(16.0).reshape(1, 4, 4), 2)
    /// tensor([[[ 2.5000,  4.5000],
    ///          [10.5000, 12.5000]]])
    2 "nn.avg_pool2d(Tensor self, int[] kernel_size, int[]? stride=None, int[] padding=0, bool ceil_mode=False, bool count_include_pad=True, int? divisor_override=None)";

    /// Means of windows of the last three dimensions of `(N, C, D, H, W)` or `(C, D, H, W)`, as `avg_pool2d` in two.
    ///
    /// Shapes: `([N,] C, D, H, W) -> ([N,] C, O, P, Q)`.
    ///
    /// >>> ferrograd.nn.functional.avg_pool3d(ferrograd.arange(8.0).reshape(1, 2, 2, 2), 2).flatten()
    /// tensor([3.5000])
    3 "nn.avg_pool3d(Tensor self, int[] kernel_size, int[]? stride=None, int[] padding=0, bool ceil_mode=False, bool count_include_pad=True, int? divisor_override=None)";
}

fn adaptively(a: &Arguments, spatial: usize) -> Result<Tensor> {
    let x = a.tensor(0)?;
    check_adaptive(a, x, spatial)?;
    let sizes = adaptive_sizes(a, x, spatial)?;
    check_dtype(a.op, x, true)?;
    adaptive_mean(a.op, x, &sizes)
}

/// Means of as many windows as asked for, which cover the last dimensions.
pub(super) fn adaptive_mean(op: &'static str, x: &Tensor, sizes: &[usize]) -> Result<Tensor> {
    let spatial = sizes.len();
    if sizes.iter().all(|&s| s == 1) {
        // The mean of all.
        let x = if spatial == 1 { view::unsqueeze(x, -2)? } else { x.clone() };
        let dims: &[isize] = if spatial == 3 { &[-1, -2, -3] } else { &[-1, -2] };
        let y = sum::mean(&x, dims, true, None)?;
        return if spatial == 1 { view::squeezed(&y, Some(&[-2]), "SqueezeBackward1") } else { Ok(y) };
    }
    let mut sums = Sums::new();
    for (d, &count) in sizes.iter().enumerate().rev() {
        let size = x.shape()[x.rank() - spatial + d];
        sums.push(size, adaptive(size, count).map(|r| (r.clone(), r.len())));
    }
    let nodes = ["AdaptiveAvgPool2DBackward0", "AdaptiveAvgPool3DBackward0"];
    pooled(op, nodes, sums.divided()?, x, spatial)
}

/// Means of `size` neighbouring channels, the second dimension, with zeros beyond the ends.
pub(in crate::ops) fn mean_of_channels(op: &'static str, x: &Tensor, size: usize) -> Result<Tensor> {
    let (channels, before) = (x.shape()[1], size / 2);
    let near = |c: usize| c.saturating_sub(before)..(c + size - before).min(channels);
    let matrix = Matrix::new(channels, (0..channels).map(|c| near(c).map(|at| (at, 1.0))));
    let map = Map {
        parts: vec![(x.rank() - 1, matrix)],
        before: None,
        after: Some(Divisor::All(size as i64)),
        ..Map::default()
    };
    apply(op, ["AvgPool3DBackward0", "AvgPool3DBackwardBackward0"], &Arc::new(map), x)
}

operation! {
    /// Means of `output_size` windows that cover the last dimension of `(N, C, L)` or `(C, L)`: window `i` goes from
    /// `floor(i L / output_size)` to `ceil((i + 1) L / output_size)`.
    ///
    /// Shapes: `([N,] C, L) -> ([N,] C, K)`.
    ///
    /// >>> ferrograd.nn.functional.adaptive_avg_pool1d(ferrograd.tensor([[1.0, 2.0, 3.0]]), 2)
    /// tensor([[1.5000, 2.5000]])
    function Noted(Floats -> Kept), ["nn.adaptive_avg_pool1d(Tensor self, int[] output_size)"; also "package.adaptive_avg_pool1d"], |_, a| {
        Ok(adaptively(a, 1)?.into())
    }
}

operation! {
    /// Means of windows that cover the last two dimensions, as `adaptive_avg_pool1d` in each; sizes that are None stay as
    /// they are.
    ///
    /// Shapes: `([N,] C, H, W) -> ([N,] C, P, Q)`.
    ///
    /// Raises: ValueError where there are no more dimensions than sizes.
    ///
    /// >>> ferrograd.nn.functional.adaptive_avg_pool2d(ferrograd.arange(6.0).reshape(1, 2, 3), (1, None))
    /// tensor([[[1.5000, 2.5000, 3.5000]]])
    function Noted(Floats -> Kept), ["nn.adaptive_avg_pool2d(Tensor input, int?[] output_size)"], |_, a| Ok(adaptively(a, 2)?.into())
}

operation! {
    /// Means of windows that cover the last three dimensions, as `adaptive_avg_pool1d` in each; sizes that are None stay as
    /// they are.
    ///
    /// Shapes: `([N,] C, D, H, W) -> ([N,] C, O, P, Q)`.
    ///
    /// Raises: ValueError where there are no more dimensions than sizes.
    ///
    /// >>> ferrograd.nn.functional.adaptive_avg_pool3d(ferrograd.arange(8.0).reshape(1, 2, 2, 2), 1).flatten()
    /// tensor([3.5000])
    function Noted(Floats -> Kept), ["nn.adaptive_avg_pool3d(Tensor input, int?[] output_size)"], |_, a| Ok(adaptively(a, 3)?.into())
}

macro_rules! norms {
    ($($(#[doc = $doc:literal])* $spatial:literal $call:literal;)*) => {$(
        operation! {
            $(#[doc = $doc])*
            function Noted(Floats -> Kept), [$call], |_, a| Ok(normed(a, $spatial)?.into())
        }
    )*};
}

/// `input, norm_type, kernel_size, stride, ceil_mode`.
fn normed(a: &Arguments, spatial: usize) -> Result<Tensor> {
    let (x, p) = (a.tensor(0)?, a.number(1)?);
    let mut pooling =
        Pooling::called(&Arguments { op: a.op, values: &[a.values[2].clone(), a.values[3].clone()] }, 0, spatial)?;
    pooling.ceil = a.bool(4)?;
    check_images(a.op, x, spatial)?;
    check_dtype(a.op, x, false)?;
    let means = averaged(a.op, &arithmetic::pow(x, p)?, &pooling, true, None)?;
    let count: isize = pooling.kernel.iter().product();
    let signed = arithmetic::mul(&unary::sign_of(&means)?, &unary::relu(&unary::abs(&means)?)?)?;
    arithmetic::pow(&arithmetic::mul(&signed, Scalar::Int(count as i64))?, 1.0 / p.as_f64())
}

norms! {
    /// `(sum of x^p)^(1/p)` over windows of the last dimension, with `p = norm_type` and windows as of `avg_pool1d`.
    ///
    /// Shapes: `([N,] C, L) -> ([N,] C, K)`.
    /// Dtypes: floating-point and int64, kept; int64 gives the default float.
    ///
    /// >>> ferrograd.nn.functional.lp_pool1d(ferrograd.tensor([[3.0, 4.0]]), 2, 2)
    /// tensor([[5.]])
    1 "nn.lp_pool1d(Tensor input, Number norm_type, int[] kernel_size, int[]? stride=None, bool ceil_mode=False)";

    /// `(sum of x^p)^(1/p)` over windows of the last two dimensions, as `lp_pool1d`.
    ///
    /// Shapes: `([N,] C, H, W) -> ([N,] C, P, Q)`.
    /// Dtypes: floating-point and int64, kept; int64 gives the default float.
    ///
    /// >>> ferrograd.nn.functional.lp_pool2d(ferrograd.ones(1, 2, 2), 2, 2)
    /// tensor([[[2.]]])
    2 "nn.lp_pool2d(Tensor input, Number norm_type, int[] kernel_size, int[]? stride=None, bool ceil_mode=False)";

    /// `(sum of x^p)^(1/p)` over windows of the last three dimensions, as `lp_pool1d`.
    ///
    /// Shapes: `([N,] C, D, H, W) -> ([N,] C, O, P, Q)`.
    /// Dtypes: floating-point and int64, kept; int64 gives the default float.
    ///
    /// >>> ferrograd.nn.functional.lp_pool3d(ferrograd.ones(1, 2, 2, 2), 1, 2).flatten()
    /// tensor([8.])
    3 "nn.lp_pool3d(Tensor input, Number norm_type, int[] kernel_size, int[]? stride=None, bool ceil_mode=False)";
}
