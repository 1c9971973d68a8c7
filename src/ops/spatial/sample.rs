//! The values of images at places of a grid, and their derivative: a kernel each, and the derivative once more in tensors,
//! where its own derivative is asked for.

use smallvec::{SmallVec, smallvec};

use crate::error::{Error, Result};
use crate::graph::forward::unrecorded;
use crate::graph::node::{Gradients, Setting};
use crate::kernels::grid::{self as kernel, Images, Manner, Mode, Number, Padding};
use crate::ops::arithmetic::{add, mul, sub};
use crate::ops::recorded::{Call, Keep, Settings, is_plain, record};
use crate::ops::reduce::wide_float;
use crate::ops::{arithmetic, batch, cast, compare, copy, gather, index, join, rounding, sum, unary, view};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::storage::Access;

pub(super) const OP: &str = "grid_sample";

/// The values at the places of a grid: `(N, C, ...)` and `(N, ..., n)`, float32 or float64, give `(N, C, ...)`.
pub(super) fn sampled(x: &Tensor, grid: &Tensor, manner: Manner) -> Result<Tensor> {
    if let Some(y) = batch::folded(&[x, grid], |both| sampled(&both[0], &both[1], manner)) {
        return y;
    }
    let spatial = x.rank() - 2;
    let mut shape = SmallVec::<[usize; 5]>::from_slice(&x.shape()[..2]);
    shape.extend_from_slice(&grid.shape()[1..=spatial]);
    let y = unrecorded(|| {
        let y = Tensor::uninitialized(OP, &shape, x.dtype())?;
        wide_float!(x.dtype(), A => read::<A>(x, grid, &y, manner)?);
        Ok(y)
    })?;
    let name = if spatial == 2 { "GridSampler2DBackward0" } else { "GridSampler3DBackward0" };
    let settings = || Settings {
        dims: smallvec![manner.mode as isize, manner.padding as isize],
        keepdim: manner.corners,
        told: Box::new([
            ("align_corners", Setting::Bool(manner.corners)),
            ("interpolation_mode", Setting::Int(manner.mode as i64)),
            ("padding_mode", Setting::Int(manner.padding as i64)),
        ]),
        ..Settings::default()
    };
    record(name, &y, &[x, grid], &[Keep::Input(x), Keep::Input(grid)], settings, of_sampled)?;
    Ok(y)
}

/// The manner that the settings of a call were made of.
fn manner_of(s: &Settings) -> Manner {
    let mode = [Mode::Linear, Mode::Nearest, Mode::Cubic].into_iter().find(|&m| m as isize == s.dims[0]);
    let padding = [Padding::Zeros, Padding::Border].into_iter().find(|&p| p as isize == s.dims[1]);
    Manner { mode: mode.unwrap_or(Mode::Linear), padding: padding.unwrap_or(Padding::Reflection), corners: s.keepdim }
}

/// Where the elements of images lie that are read at so many places each.
fn images(x: &Tensor, grid: &Tensor) -> Images {
    let step = |d: usize| x.strides()[d] as usize;
    Images {
        count: x.shape()[0],
        channels: x.shape()[1],
        steps: [step(0), step(1)],
        axes: (2..x.rank()).map(|d| (x.shape()[d], step(d))).collect(),
        places: grid.shape()[1..grid.rank() - 1].iter().product(),
    }
}

/// The images as the kernels read them: in whatever order, but forwards.
fn readable(x: &Tensor) -> Result<Tensor> {
    if x.strides().iter().all(|&s| s >= 0) { Ok(x.clone()) } else { copy::to_contiguous(x) }
}

/// Writes the values of type `T` into a new tensor.
fn read<T: Number>(x: &Tensor, grid: &Tensor, y: &Tensor, manner: Manner) -> Result<()> {
    let (x, grid) = (readable(x)?, copy::to_contiguous(grid)?);
    let images = images(&x, &grid);
    if !images.is_near() {
        return Err(Error::NotImplemented { op: OP, what: "an image of more than 2^31 elements: this".into() });
    }
    let _access = Access::lock([(&**x.storage(), false), (&**grid.storage(), false)]);
    // SAFETY: all are tensors of this type, locked or new; the images are where the strides say.
    unsafe { kernel::forward::<T>(&images, manner, x.data_ptr().cast(), grid.elements(), y.elements_mut()) };
    Ok(())
}

/// The gradients of images and grid: `dx` adds `g w` to each element that was read with a weight `w`, and `dgrid` is the sum of
/// `g x dw`.
fn of_sampled(call: &Call) -> Result<Gradients> {
    let (g, x, grid) = (&call.g, &call.saved[0], &call.saved[1]);
    let manner = manner_of(call.settings);
    if is_plain([g, x, grid]) {
        return wide_float!(x.dtype(), A => directly::<A>(call, manner));
    }
    let (spatial, channels) = (x.rank() - 2, x.shape()[1] as isize);
    let taps = all_taps(x, grid, manner)?;
    let (flat, g) = (view::flatten(x, 2, -1)?, view::flatten(g, 2, -1)?);
    let mut dx: Option<Tensor> = None;
    let mut dgrid: SmallVec<[Option<Tensor>; 3]> = smallvec![None; spatial];
    let zero = mul(&view::flatten(&view::select(grid, -1, 0)?, 1, -1)?.detach(), 0.0)?;
    for tap in &taps {
        let sizes = [g.shape()[0] as isize, channels, g.shape()[2] as isize];
        let place = view::expand(&view::unsqueeze(&tap.index, 1)?, &sizes)?;
        let inside = view::unsqueeze(&tap.inside, 1)?;
        if call.needs[0] {
            let term = compare::where_(&inside, &mul(&g, &view::unsqueeze(&tap.weight, 1)?)?, 0.0)?;
            dx = Some(total(dx, index::scatter_zeros(flat.shape(), 2, &place, &term)?)?);
        }
        if call.needs[1] && manner.mode != Mode::Nearest {
            let value = compare::where_(&inside, &gather::gather(&flat, -1, &place)?, 0.0)?;
            let along = sum::sum(&mul(&g, &value)?, &[1], false, None)?;
            for (dgrid, slope) in dgrid.iter_mut().zip(&tap.slopes) {
                *dgrid = Some(total(dgrid.take(), mul(&along, slope)?)?);
            }
        }
    }
    let dx = dx.map(|dx| view::reshape(&dx, &view::signed(x.shape()))).transpose()?;
    // The last number of a place is that of the first dimension.
    let parts: Vec<Tensor> = dgrid.into_iter().rev().map(|part| part.unwrap_or_else(|| zero.clone())).collect();
    let dgrid = match call.needs[1] {
        true => Some(view::reshape(&join::stack(&parts, -1)?, &view::signed(grid.shape()))?),
        false => None,
    };
    Ok(smallvec![dx, dgrid])
}

fn total(sum: Option<Tensor>, term: Tensor) -> Result<Tensor> {
    sum.map_or(Ok(term.clone()), |sum| add(&sum, &term))
}

/// The gradients by the kernels.
fn directly<T: Number>(call: &Call, manner: Manner) -> Result<Gradients> {
    let (x, grid) = (readable(&call.saved[0])?, copy::to_contiguous(&call.saved[1])?);
    let g = copy::to_contiguous(&cast::to(&call.g, T::DTYPE)?)?;
    let dx = if call.needs[0] { Some(Tensor::zeros(x.shape(), T::DTYPE)?) } else { None };
    let is_constant = manner.mode == Mode::Nearest;
    let dgrid = match call.needs[1] {
        true if is_constant => Some(Tensor::zeros(grid.shape(), T::DTYPE)?),
        true => Some(Tensor::uninitialized(OP, grid.shape(), T::DTYPE)?),
        false => None,
    };
    let images = images(&x, &grid);
    let _access = Access::lock([&x, &grid, &g].map(|t| (&**t.storage(), false)));
    // SAFETY: all are tensors of this type, locked or new; the images are where the strides say.
    unsafe {
        if let Some(dx) = &dx {
            kernel::of_images::<T>(&images, manner, grid.elements(), g.elements(), dx.elements_mut());
        }
        if let Some(dgrid) = dgrid.as_ref().filter(|_| !is_constant) {
            let x = x.data_ptr().cast();
            kernel::of_grid::<T>(&images, manner, x, grid.elements(), g.elements(), dgrid.elements_mut());
        }
    }
    Ok(smallvec![dx, dgrid])
}

/// One dimension of the images.
#[derive(Clone, Copy)]
struct Axis {
    size: usize,
    manner: Manner,
}

/// A place in one dimension, and its slope: the derivative by the grid's number, which is constant from place to place.
struct Place {
    at: Tensor,
    slope: Tensor,
}

impl Axis {
    fn last(&self) -> f64 {
        self.size as f64 - 1.0
    }

    /// From -1 to 1, which are the outer edges or the outermost elements, to places of elements.
    fn place(&self, g: &Tensor) -> Result<Place> {
        let up = add(g, 1.0)?;
        let (at, slope) = if self.manner.corners {
            (mul(&arithmetic::div(&up, 2.0)?, self.last())?, self.last())
        } else {
            (arithmetic::div(&sub(&mul(&up, self.size as f64)?, 1.0)?, 2.0)?, self.size as f64)
        };
        let slope = Tensor::full(g.shape(), slope / 2.0, g.dtype())?;
        Ok(Place { at, slope })
    }

    /// Places within the image, by the padding; with zeros they stay where they are.
    fn within(&self, place: Place) -> Result<Place> {
        match self.manner.padding {
            Padding::Zeros => Ok(place),
            Padding::Border => self.clipped(place),
            Padding::Reflection => self.clipped(self.reflected(place)?),
        }
    }

    /// Places beyond the outermost elements moved there, where they no longer depend on the grid; what is no number is
    /// moved to the first.
    fn clipped(&self, Place { at, slope }: Place) -> Result<Place> {
        let inside = compare::logical_and(&compare::gt(&at, 0.0)?, &compare::lt(&at, self.last())?)?;
        let end = mul(&cast::to(&compare::ge(&at.detach(), self.last())?, at.dtype())?, self.last())?;
        Ok(Place { at: compare::where_(&inside, &at, &end)?, slope: compare::where_(&inside, &slope, 0.0)? })
    }

    /// Places seen in mirrors at both ends: on the outermost elements, or on the edges.
    fn reflected(&self, Place { at, slope }: Place) -> Result<Place> {
        let (low, span) = if self.manner.corners { (0.0, self.last()) } else { (-0.5, self.size as f64) };
        if span == 0.0 {
            return Ok(Place { at: mul(&at, 0.0)?, slope: mul(&slope, 0.0)? });
        }
        let beyond = sub(&at, low)?;
        let apart = unary::abs(&beyond)?;
        let rest = rounding::fmod(&apart, span)?;
        let flips = unary::floor(&arithmetic::div(&apart.detach(), span)?)?;
        let even = compare::eq(&arithmetic::remainder(&flips, 2.0)?, 0.0)?;
        let turned = compare::where_(&compare::lt(&beyond, 0.0)?, &mul(&slope, -1.0)?, &slope)?;
        Ok(Place {
            at: add(&compare::where_(&even, &rest, &sub(span, &rest)?)?, low)?,
            slope: compare::where_(&even, &turned, &mul(&turned, -1.0)?)?,
        })
    }

    /// Whole places as indices, and which of them lie within the image: the others become 0.
    fn index(&self, at: &Tensor) -> Result<(Tensor, Tensor)> {
        let at = at.detach();
        let inside = compare::logical_and(&compare::ge(&at, 0.0)?, &compare::le(&at, self.last())?)?;
        Ok((cast::to(&compare::where_(&inside, &at, 0.0)?, DType::I64)?, inside))
    }

    /// An element at whole places.
    fn tap(&self, at: &Tensor, weight: Tensor, slope: Tensor) -> Result<Tap> {
        let (index, inside) = self.index(at)?;
        Ok(Tap { index, inside, weight, slopes: smallvec![slope] })
    }

    /// The elements that the numbers of a grid read.
    fn taps(&self, g: &Tensor) -> Result<Vec<Tap>> {
        let place = self.place(g)?;
        if self.manner.mode == Mode::Cubic {
            let low = unary::floor(&place.at.detach())?;
            let part = sub(&place.at, &low)?;
            let one = |n: f64| {
                let (weight, change) = cubic(&sub(&part, n)?, !(0.0..=1.0).contains(&n))?;
                let at = self.within(Place { at: add(&low, n)?, slope: place.slope.clone() })?.at;
                self.tap(&at, weight, mul(&change, &place.slope)?)
            };
            return [-1.0, 0.0, 1.0, 2.0].into_iter().map(one).collect();
        }
        let Place { at, slope } = self.within(place)?;
        if self.manner.mode == Mode::Nearest {
            let (one, none) = (Tensor::ones(g.shape(), g.dtype())?, Tensor::zeros(g.shape(), g.dtype())?);
            return Ok(vec![self.tap(&rounding::round(&at.detach())?, one, none)?]);
        }
        let low = unary::floor(&at.detach())?;
        let part = sub(&at, &low)?;
        let first = self.tap(&low, sub(1.0, &part)?, mul(&slope, -1.0)?)?;
        Ok(vec![first, self.tap(&add(&low, 1.0)?, part, slope)?])
    }
}

/// The cubic convolution kernel with a = -0.75, within a distance of 1 or beyond it, and its derivative.
fn cubic(apart: &Tensor, far: bool) -> Result<(Tensor, Tensor)> {
    let a = -0.75;
    let x = unary::abs(apart)?;
    let (value, change) = if far {
        // a x^3 - 5a x^2 + 8a x - 4a
        let y = add(&mul(&sub(&mul(&x, a)?, 5.0 * a)?, &x)?, 8.0 * a)?;
        let change = add(&mul(&sub(&mul(&x, 3.0 * a)?, 10.0 * a)?, &x)?, 8.0 * a)?;
        (sub(&mul(&y, &x)?, 4.0 * a)?, change)
    } else {
        // (a + 2) x^3 - (a + 3) x^2 + 1
        let y = mul(&mul(&sub(&mul(&x, a + 2.0)?, a + 3.0)?, &x)?, &x)?;
        (add(&y, 1.0)?, mul(&sub(&mul(&x, 3.0 * (a + 2.0))?, 2.0 * (a + 3.0))?, &x)?)
    };
    Ok((value, compare::where_(&compare::lt(apart, 0.0)?, &mul(&change, -1.0)?, &change)?))
}

/// An element that goes into a result: its index in row-major order, whether there is one, its weight, and the derivatives
/// of that by the grid's numbers, in the order of the dimensions.
struct Tap {
    index: Tensor,
    inside: Tensor,
    weight: Tensor,
    slopes: SmallVec<[Tensor; 3]>,
}

impl Tap {
    /// The element of a row of the dimensions so far and of another of a size.
    fn beside(&self, other: &Tap, size: usize) -> Result<Tap> {
        let mut slopes =
            self.slopes.iter().map(|s| mul(s, &other.weight)).collect::<Result<SmallVec<[Tensor; 3]>>>()?;
        slopes.push(mul(&self.weight, &other.slopes[0])?);
        Ok(Tap {
            index: add(&mul(&self.index, crate::tensor::scalar::Scalar::Int(size as i64))?, &other.index)?,
            inside: compare::logical_and(&self.inside, &other.inside)?,
            weight: mul(&self.weight, &other.weight)?,
            slopes,
        })
    }
}

/// All elements that the places of a grid read, each `(N, places)`.
fn all_taps(x: &Tensor, grid: &Tensor, manner: Manner) -> Result<Vec<Tap>> {
    let spatial = x.rank() - 2;
    let mut all: Vec<Tap> = vec![];
    for (d, &size) in x.shape()[2..].iter().enumerate() {
        let along = view::select(grid, -1, (spatial - 1 - d) as isize)?;
        let taps = Axis { size, manner }.taps(&view::flatten(&along, 1, -1)?)?;
        all = match all.is_empty() {
            true => taps,
            false => all.iter().flat_map(|a| taps.iter().map(|b| a.beside(b, size))).collect::<Result<_>>()?,
        };
    }
    Ok(all)
}
