//! Convolutions: three maps, each linear in both of its operands, that are each other's derivatives.
//!
//! With `y` the convolution of `x` and `w`, the gradient of `x` is made of those of `y` and of `w`, the transposed
//! convolution, and the gradient of `w` of those of `y` and of `x`. The derivatives of these two are of the three again.

mod functions;
mod geometry;

use smallvec::{SmallVec, smallvec};

use super::recorded::link;
use super::{arithmetic, batch, cast, copy, sum, view};
use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::graph::node::{Backward, Derivative, Gradients, Label, Node, Setting};
use crate::graph::saved::Saved;
use crate::kernels::convolve::{self, NoMemory};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::storage::Access;
pub use functions::{conv_transpose, convolution};
use geometry::Geometry;

/// Which of the three is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// `y` from `x` and `w`.
    Forward,
    /// `x` from `y` and `w`.
    Transposed,
    /// `w` from `y` and `x`.
    Weight,
}

const OP: &str = "convolution";

/// One of the maps of two tensors, with a bias for each channel of the result where one is given, recorded.
pub(super) fn apply(
    role: Role,
    name: &'static str,
    geometry: &Geometry,
    a: &Tensor,
    b: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    if batch::level([a, b].into_iter().chain(bias)).is_some() {
        return batched(role, name, geometry, [a, b], bias);
    }
    let y = unrecorded(|| computed(role, geometry, a, b, bias))?;
    let inputs: SmallVec<[&Tensor; 3]> = [a, b].into_iter().chain(bias).collect();
    let operands = [Saved::input(a), Saved::input(b)];
    link(Convolved { role, name, geometry: geometry.clone(), operands }, &inputs, &y)?;
    Ok(y)
}

/// The rule of batches: examples of one operand are more images, and those of both more groups.
fn batched(
    role: Role,
    name: &'static str,
    geometry: &Geometry,
    operands: [&Tensor; 2],
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    if let Some(bias) = bias {
        let y = apply(role, name, geometry, operands[0], operands[1], None)?;
        let mut shape: SmallVec<[isize; 4]> = smallvec![1; geometry.spatial + 2];
        shape[1] = -1;
        return arithmetic::add(&y, &view::reshape(bias, &shape)?);
    }
    let Some(level) = batch::level(operands) else {
        return apply(role, name, geometry, operands[0], operands[1], None);
    };
    let size = batch::size(level, operands);
    let found = if role != Role::Weight && batch::examples(operands[1], level, size)?.is_none() {
        let a = batch::unwrapped(operands[0], level, size)?;
        let geometry = Geometry { images: geometry.images * size, ..geometry.clone() };
        let y = apply(role, name, &geometry, &view::flatten(&a, 0, 1)?, operands[1], None)?;
        split(&y, 0, size)?
    } else {
        let geometry = Geometry { groups: geometry.groups * size, ..geometry.clone() };
        // Channels are the second dimension of images and, of groups, the first of weights.
        let joined = |t: &Tensor, is_weight: bool| {
            let t = batch::unwrapped(t, level, size)?;
            if is_weight { view::flatten(&t, 0, 1) } else { view::flatten(&view::transpose(&t, 0, 1)?, 1, 2) }
        };
        let (a, b) = (joined(operands[0], false)?, joined(operands[1], role != Role::Weight)?);
        let y = apply(role, name, &geometry, &a, &b, None)?;
        if role == Role::Weight { split(&y, 0, size)? } else { view::transpose(&split(&y, 1, size)?, 0, 1)? }
    };
    Ok(Tensor::batched(&found, level))
}

/// A dimension as two, the first of a size.
fn split(x: &Tensor, dim: usize, size: usize) -> Result<Tensor> {
    let mut shape = view::signed(x.shape());
    shape[dim] /= size as isize;
    shape.insert(dim, size as isize);
    view::reshape(x, &shape)
}

/// The numbers, without history.
fn computed(role: Role, geometry: &Geometry, a: &Tensor, b: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let dtype = a.dtype();
    let wide = match dtype.computed_in() {
        // Integers wrap to the same numbers.
        integer if !integer.is_floating_point() => DType::I64,
        float => float,
    };
    let ready = |t: &Tensor| copy::to_contiguous(&cast::to(t, wide)?);
    let (a, b, bias) = (ready(a)?, ready(b)?, bias.map(ready).transpose()?);
    let y = Tensor::uninitialized(OP, &geometry.shape(role), wide)?;
    let access = Access::lock([&a, &b].into_iter().chain(&bias).map(|t| (&**t.storage(), false)));
    let found = match wide {
        DType::F32 => run::<f32>(role, geometry, [&a, &b], bias.as_ref(), &y),
        DType::F64 => run::<f64>(role, geometry, [&a, &b], bias.as_ref(), &y),
        _ => whole(role, geometry, [&a, &b], bias.as_ref(), &y),
    };
    drop(access);
    found.map_err(|NoMemory(bytes)| Error::OutOfMemory { op: OP, bytes })?;
    cast::to(&y, dtype)
}

fn run<T: convolve::Number>(
    role: Role,
    geometry: &Geometry,
    [a, b]: [&Tensor; 2],
    bias: Option<&Tensor>,
    y: &Tensor,
) -> std::result::Result<(), NoMemory> {
    let shape = geometry.kernel();
    let (a, b, to) = (a.data_ptr().cast::<T>(), b.data_ptr().cast::<T>(), y.data_ptr().cast::<T>());
    let bias = bias.map(|t| t.data_ptr().cast::<T>().cast_const());
    // SAFETY: all are contiguous tensors of this type and of the sizes of the geometry, locked; `y` is new.
    unsafe {
        match role {
            Role::Forward => convolve::correlate(&shape, a, b, bias, to),
            Role::Transposed => convolve::spread(&shape, a, b, bias, to),
            Role::Weight => convolve::weigh(&shape, a, b, to),
        }
    }
}

/// As [`run`] for integers, which have no gradients.
fn whole(
    role: Role,
    geometry: &Geometry,
    [a, b]: [&Tensor; 2],
    bias: Option<&Tensor>,
    y: &Tensor,
) -> std::result::Result<(), NoMemory> {
    let shape = geometry.kernel();
    let (a, b, to) = (a.data_ptr().cast::<i64>(), b.data_ptr().cast::<i64>(), y.data_ptr().cast::<i64>());
    let bias = bias.map(|t| t.data_ptr().cast::<i64>().cast_const());
    // SAFETY: as in `run`.
    unsafe {
        match role {
            Role::Transposed => convolve::spread(&shape, a, b, bias, to),
            _ => convolve::correlate(&shape, a, b, bias, to),
        }
    }
}

/// The node of a convolution or of one of its gradients.
#[derive(Clone)]
struct Convolved {
    role: Role,
    name: &'static str,
    geometry: Geometry,
    operands: [Saved; 2],
}

impl Derivative for Convolved {
    fn name(&self) -> &'static str {
        self.name
    }

    fn backward(&mut self, call: &Backward) -> Result<Gradients> {
        let g = call.gradient()?;
        let node = match self.name {
            "ConvolutionBackward0" => "ConvolutionBackwardBackward0",
            other => other,
        };
        let apply = |role, a: &Tensor, b: &Tensor| apply(role, node, &self.geometry, a, b, None).map(Some);
        let saved = |n: usize| self.operands[n].unpack(call.node);
        let first = match self.role {
            _ if !call.needs(0) => None,
            Role::Forward => apply(Role::Transposed, &g, &saved(1)?)?,
            Role::Transposed => apply(Role::Forward, &g, &saved(1)?)?,
            Role::Weight => apply(Role::Forward, &saved(1)?, &g)?,
        };
        let second = match self.role {
            _ if !call.needs(1) => None,
            Role::Forward => apply(Role::Weight, &g, &saved(0)?)?,
            Role::Transposed => apply(Role::Weight, &saved(0)?, &g)?,
            Role::Weight => apply(Role::Transposed, &saved(0)?, &g)?,
        };
        let mut found: Gradients = smallvec![first, second];
        if call.needs(2) {
            let others: SmallVec<[isize; 4]> = (0..g.rank() as isize).filter(|&d| d != 1).collect();
            found.push(Some(sum::sum(&g, &others, false, None)?));
        }
        Ok(found)
    }

    fn take(&mut self, keep: bool) -> Self {
        let operands = self.operands.each_mut().map(|s| s.take(keep));
        Convolved { geometry: self.geometry.clone(), operands, ..*self }
    }

    fn visit(&mut self, f: &mut dyn FnMut(&mut Saved)) {
        self.operands.iter_mut().for_each(f);
    }

    fn labelled(&self) -> Vec<(Label, Saved)> {
        self.operands.iter().enumerate().map(|(n, saved)| (Label::Operand(n), saved.clone())).collect()
    }

    fn settings(&self, node: &Node) -> Vec<(&'static str, Setting)> {
        let mut all = self.geometry.settings(self.role);
        // Without a bias, as in torch, its sizes are none of a dimension.
        let channels = if node.edges().len() > 2 { node.output(0).0[1] } else { 0 };
        all.push(("bias_sym_sizes_opt", Setting::ints(&[channels])));
        all
    }
}
