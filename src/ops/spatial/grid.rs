//! Images read at places of a grid.

use super::sample::{OP, sampled};
use crate::error::{Error, Result};
use crate::kernels::grid::{Manner, Mode, Padding};
use crate::ops::arithmetic::mul;
use crate::ops::registry::{Arguments, operation};
use crate::ops::{cast, contract, creation, join, view};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::scalar::Scalar;

fn check(x: &Tensor, grid: &Tensor, mode: Mode) -> Result<()> {
    let refused = |what: String| Err(Error::Invalid { op: OP, what });
    if x.dtype() != grid.dtype() {
        return Err(Error::DTypeMismatch { op: OP, left: x.dtype(), right: grid.dtype() });
    }
    if !(4..=5).contains(&x.rank()) || x.rank() != grid.rank() {
        return refused(format!(
            "expected 4D or 5D input and grid with the same number of dimensions, but got {:?} and {:?}",
            x.shape(),
            grid.shape()
        ));
    }
    if x.shape()[0] != grid.shape()[0] {
        return refused(format!(
            "expected grid and input to have the same batch size, but got {:?} and {:?}",
            x.shape(),
            grid.shape()
        ));
    }
    if grid.shape()[grid.rank() - 1] != x.rank() - 2 {
        return refused(format!(
            "expected grid to have size {} in its last dimension, but got {:?}",
            x.rank() - 2,
            grid.shape()
        ));
    }
    if x.shape()[2..].contains(&0) {
        return refused(format!("expected input to have non-empty spatial dimensions, but got {:?}", x.shape()));
    }
    if mode == Mode::Cubic && x.rank() == 5 {
        return refused("bicubic interpolation only supports 4D input".into());
    }
    if !x.dtype().is_floating_point() {
        return Err(Error::NotImplemented {
            op: OP,
            what: format!("{}: convert to a float dtype first; this", x.dtype()),
        });
    }
    Ok(())
}

/// In float32 where the elements are narrower, and rounded once.
fn grid_sample(x: &Tensor, grid: &Tensor, manner: Manner) -> Result<Tensor> {
    check(x, grid, manner.mode)?;
    let wide = x.dtype().computed_in();
    let y = sampled(&cast::to(x, wide)?, &cast::to(grid, wide)?, manner)?;
    cast::to(&y, x.dtype())
}

operation! {
    /// The values of images at the places of a grid: `input` `(N, C, H, W)` and `grid` `(N, P, Q, 2)` give `(N, C, P, Q)`,
    /// or `(N, C, D, H, W)` and `(N, P, Q, R, 3)` give `(N, C, P, Q, R)`. A place is a column, a row and, of volumes, a depth,
    /// from -1 to 1: the outer edges of the image, or with `align_corners` its outermost elements.
    ///
    /// `mode` is 'bilinear', from the neighbours in each dimension; 'nearest'; or 'bicubic', for images. `padding_mode` says
    /// what stands outside: 'zeros'; 'border', the outermost elements; or 'reflection', the image in mirrors at its edges.
    ///
    /// Shapes: `(N, C, H, W), (N, P, Q, 2) -> (N, C, P, Q)` or `(N, C, D, H, W), (N, O, P, Q, 3) -> (N, C, O, P, Q)`.
    /// Raises: ValueError for other modes; RuntimeError for other dtypes and other shapes.
    ///
    /// >>> x, grid = ferrograd.tensor([[[[1.0, 3.0]]]]), ferrograd.tensor([[[[0.0, 0.0], [0.5, 0.0]]]])
    /// >>> ferrograd.nn.functional.grid_sample(x, grid, align_corners=True)
    /// tensor([[[[2.0000, 2.5000]]]])
    function Noted(Floats -> Shared), ["nn.grid_sample(Tensor input, Tensor grid, str mode='bilinear', str padding_mode='zeros', bool? align_corners=None)"], |_, a| {
        let mode = match a.text(2)? {
            Some("bilinear") => Mode::Linear,
            Some("nearest") => Mode::Nearest,
            Some("bicubic") => Mode::Cubic,
            other => return unknown(a, "mode", "must be 'bilinear', 'nearest' or 'bicubic'", other),
        };
        let padding = match a.text(3)? {
            Some("zeros") => Padding::Zeros,
            Some("border") => Padding::Border,
            Some("reflection") => Padding::Reflection,
            other => return unknown(a, "padding_mode", "must be 'zeros', 'border' or 'reflection'", other),
        };
        let corners = a.maybe_number(4)?.is_some_and(Scalar::as_bool);
        Ok(grid_sample(a.tensor(0)?, a.tensor(1)?, Manner { mode, padding, corners })?.into())
    }
}

fn unknown<T>(a: &Arguments, argument: &'static str, rule: &'static str, given: Option<&str>) -> Result<T> {
    Err(Error::Argument { op: a.op, argument, rule, given: format!("{given:?}") })
}

operation! {
    /// `nn.functional.grid_sample` with numbers for the modes: 0, 1, 2 for 'bilinear', 'nearest', 'bicubic', and 0, 1, 2 for
    /// 'zeros', 'border', 'reflection'.
    ///
    /// Shapes: `(N, C, H, W), (N, P, Q, 2) -> (N, C, P, Q)` or `(N, C, D, H, W), (N, O, P, Q, 3) -> (N, C, O, P, Q)`.
    ///
    /// >>> x, grid = ferrograd.tensor([[[[1.0, 3.0]]]]), ferrograd.zeros(1, 1, 1, 2)
    /// >>> ferrograd.grid_sampler(x, grid, 0, 0, True)
    /// tensor([[[[2.]]]])
    function Noted(Floats -> Shared), ["grid_sampler(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, bool align_corners)"; also "grid_sampler_2d", "grid_sampler_3d"], |_, a| {
        let mode = match a.int(2)? {
            0 => Mode::Linear,
            1 => Mode::Nearest,
            2 => Mode::Cubic,
            other => return Err(Error::Invalid { op: a.op, what: format!("interpolation_mode must be 0, 1 or 2, got {other}") }),
        };
        let padding = match a.int(3)? {
            0 => Padding::Zeros,
            1 => Padding::Border,
            2 => Padding::Reflection,
            other => return Err(Error::Invalid { op: a.op, what: format!("padding_mode must be 0, 1 or 2, got {other}") }),
        };
        Ok(grid_sample(a.tensor(0)?, a.tensor(1)?, Manner { mode, padding, corners: a.bool(4)? })?.into())
    }
}

/// The places along a dimension of a grid, from -1 to 1.
fn line(size: usize, corners: bool, dtype: DType) -> Result<Tensor> {
    if size <= 1 {
        return Tensor::zeros(&[size], dtype);
    }
    let ends = creation::linspace(-1.0, 1.0, size as isize, dtype)?;
    if corners { Ok(ends) } else { mul(&ends, (size as f64 - 1.0) / size as f64) }
}

/// The grid of affine maps: `(N, 2, 3)` or `(N, 3, 4)` for images or volumes of these sizes.
fn affine(a: &Arguments, theta: &Tensor, size: &[isize], corners: bool) -> Result<Tensor> {
    let wrong = |argument, rule, given: String| Err(Error::Argument { op: a.op, argument, rule, given });
    if !theta.dtype().is_floating_point() {
        return wrong("theta", "must have a floating point dtype", theta.dtype().to_string());
    }
    if !(4..=5).contains(&size.len()) {
        let what = format!("a size of {} numbers: 4 or 5 are expected; this", size.len());
        return Err(Error::NotImplemented { op: a.op, what });
    }
    let spatial = size.len() - 2;
    if theta.rank() != 3 || theta.shape()[1..] != [spatial, spatial + 1] {
        return wrong(
            "theta",
            "must be a batch of 2x3 matrices for images, or of 3x4 for volumes",
            format!("{:?}", theta.shape()),
        );
    }
    if size.iter().any(|&s| s <= 0) {
        return wrong("size", "must be all positive", format!("{size:?}"));
    }
    let sizes: Vec<isize> = size[2..].to_vec();
    let axes = (0..spatial).rev().map(|d| {
        let mut shape = vec![1; spatial];
        shape[d] = sizes[d];
        view::expand(&view::reshape(&line(sizes[d] as usize, corners, theta.dtype())?, &shape)?, &sizes)
    });
    let mut axes = axes.collect::<Result<Vec<_>>>()?;
    axes.push(Tensor::ones(&sizes.iter().map(|&s| s as usize).collect::<Vec<_>>(), theta.dtype())?);
    let base = view::reshape(&join::stack(&axes, -1)?, &[-1, spatial as isize + 1])?;
    let y = contract::matmul(&base, &view::transpose(theta, -1, -2)?)?;
    let mut shape = vec![theta.shape()[0] as isize];
    shape.extend(sizes);
    shape.push(spatial as isize);
    view::reshape(&y, &shape)
}

operation! {
    /// Grids for `grid_sample` from affine maps: the places of the elements of images of `size` `(N, C, H, W)`, mapped by
    /// the matrices `theta` `(N, 2, 3)`, as `(N, H, W, 2)`; or of volumes of `(N, C, D, H, W)` by `(N, 3, 4)`.
    ///
    /// Shapes: `(N, 2, 3) -> (N, H, W, 2)` for `size` of `(N, C, H, W)`, or `(N, 3, 4) -> (N, D, H, W, 3)` for `size` of
    /// `(N, C, D, H, W)`.
    /// Raises: ValueError for other dtypes and shapes.
    ///
    /// >>> theta = ferrograd.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    /// >>> ferrograd.nn.functional.affine_grid(theta, (1, 1, 1, 2))
    /// tensor([[[[-0.5000,  0.0000],
    ///           [ 0.5000,  0.0000]]]])
    function Noted(Floats -> Kept), ["nn.affine_grid(Tensor theta, int[] size, bool? align_corners=None)"; also "package.affine_grid_generator"], |_, a| {
        Ok(affine(a, a.tensor(0)?, a.ints(1)?, a.maybe_number(2)?.is_some_and(Scalar::as_bool))?.into())
    }
}
