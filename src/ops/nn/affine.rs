//! A normalisation with its scale and shift, as one node: elements less their mean, over their deviation, times a factor,
//! plus a term.

use smallvec::{SmallVec, smallvec};

use super::standard::{Affine, Standardized, again, by_rows, of_value, ordered, row_length, standardized};
use crate::error::Result;
use crate::graph::forward::unrecorded;
use crate::graph::node::{Gradients, Setting};
use crate::kernels::channels;
use crate::kernels::reduce::kinds::Accumulator;
use crate::kernels::standardize as rows;
use crate::ops::arithmetic::{add, div, mul, sub};
use crate::ops::recorded::{Call, Keep, Settings, is_linked, is_plain, record_all};
use crate::ops::reduce::{Plan, wide_float};
use crate::ops::statistics::moments;
use crate::ops::{batch, cast, copy, exponential, sum, view};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::Shape;
use crate::tensor::storage::Access;

/// A normalisation.
pub(super) struct Norm<'a> {
    /// The name of its node.
    pub node: &'static str,
    /// The shape in which the elements are normalised: their own, or that of groups.
    pub shape: SmallVec<[isize; 4]>,
    /// The dimensions of that over which they are, counted from the front.
    pub dims: SmallVec<[isize; 8]>,
    /// The factors: one for each place of the last dimensions, or for each channel.
    pub weight: Option<&'a Tensor>,
    /// The terms, likewise.
    pub bias: Option<&'a Tensor>,
    /// Whether factors and terms are of channels, the second dimension.
    pub by_channel: bool,
    /// What is added to the variance.
    pub eps: f64,
    /// The mean and the variance to normalise by, where they are not those of the elements.
    pub given: Option<[&'a Tensor; 2]>,
    /// What the node tells of the call.
    pub told: fn(&Norm, &Tensor) -> Vec<(&'static str, Setting)>,
}

/// What a normalisation gives.
pub(super) struct Normalized {
    pub value: Tensor,
    /// The mean that was subtracted, and the inverse deviation, with their history.
    pub mean: Tensor,
    pub inverse: Tensor,
    /// The mean and the variance of the elements in float64, where they are what was normalised by.
    pub moments: Option<[Tensor; 2]>,
}

impl Normalized {
    /// The mean and the inverse deviation `1 / sqrt(v + eps)` in a dtype, without history.
    pub fn statistics(&self, eps: f64, dtype: DType) -> Result<Option<[Tensor; 2]>> {
        let Some([mean, variance]) = &self.moments else { return Ok(None) };
        unrecorded(|| {
            let inverse = exponential::rsqrt(&add(variance, eps)?)?;
            Ok(Some([cast::to(&mean.detach(), dtype)?, cast::to(&inverse, dtype)?]))
        })
    }
}

/// One number for each channel, with dimensions of size 1 for the others of `x`.
fn of_channels(t: &Tensor, x: &Tensor) -> Result<Tensor> {
    let mut shape: SmallVec<[isize; 8]> = smallvec![1; x.rank()];
    shape[1] = -1;
    view::reshape(t, &shape)
}

/// Factors or terms in the shape and the type in which they meet the elements.
fn spread(t: &Tensor, x: &Tensor, by_channel: bool) -> Result<Tensor> {
    let t = cast::to(t, x.dtype().computed_in())?;
    if by_channel { of_channels(&t, x) } else { Ok(t) }
}

impl Norm<'_> {
    /// `(x - m) r w + b`
    pub fn of(&self, x: &Tensor) -> Result<Normalized> {
        let all: SmallVec<[&Tensor; 3]> = std::iter::once(x).chain(self.weight).chain(self.bias).collect();
        // The kernels know no derivative by a mean and a variance that are given.
        let given_is_linked = self.given.is_some_and(|given| is_linked(&given, x));
        if given_is_linked || batch::level(all.iter().copied().chain(self.given.into_iter().flatten())).is_some() {
            return self.composed(x);
        }
        let found = unrecorded(|| self.computed(x))?;
        self.note(x, &found)?;
        Ok(found)
    }

    /// Leaves the node behind what was found.
    fn note(&self, x: &Tensor, found: &Normalized) -> Result<()> {
        let Normalized { value, mean, inverse, .. } = found;
        let mut keep: SmallVec<[Keep; 4]> = smallvec![Keep::Input(x)];
        keep.extend(self.weight.map(Keep::Input));
        let results: &[&Tensor] = match self.given {
            Some(_) => {
                keep.extend([Keep::Input(mean), Keep::Input(inverse)]);
                &[value]
            }
            None => {
                keep.extend([Keep::Result(1, mean), Keep::Result(2, inverse)]);
                &[value, mean, inverse]
            }
        };
        let settings = || Settings {
            shape: self.shape.iter().map(|&size| size as usize).collect(),
            dims: self.dims.iter().copied().collect(),
            told: (self.told)(self, x).into(),
            ..Settings::default()
        };
        let formula = match (self.by_channel, self.given) {
            (false, _) => of_places,
            (true, None) => of_channels_of_batch,
            (true, Some(_)) => of_channels_by_given,
        };
        // In the place of a factor or term that is not there stands a tensor that no gradient goes to.
        let inputs = [x, self.weight.unwrap_or(value), self.bias.unwrap_or(value)];
        record_all(self.node, results, &inputs, &keep, settings, formula)
    }

    /// The elements in the shape and the type in which they are normalised.
    fn grouped(&self, x: &Tensor) -> Result<Tensor> {
        view::reshape(&cast::to(x, x.dtype().computed_in())?, &self.shape)
    }

    /// The result, scaled and shifted, in the shape and the type of the input.
    fn scaled(&self, y: &Tensor, x: &Tensor) -> Result<Tensor> {
        let mut y = view::reshape(y, &view::signed(x.shape()))?;
        if let Some(weight) = self.weight {
            y = mul(&y, &spread(weight, x, self.by_channel)?)?;
        }
        if let Some(bias) = self.bias {
            y = add(&y, &spread(bias, x, self.by_channel)?)?;
        }
        cast::to(&y, x.dtype())
    }

    /// The mean and the inverse deviation that are given, with dimensions of size 1 for those over which they are.
    fn by_given(&self, [mean, variance]: [&Tensor; 2], x: &Tensor) -> Result<[Tensor; 2]> {
        // The running ones will move: these are the values of now.
        let mean = of_channels(&cast::to(&copy::clone(mean)?, x.dtype())?, x)?;
        let variance = of_channels(&cast::to(variance, x.dtype())?, x)?;
        Ok([mean, exponential::rsqrt(&add(&variance, self.eps)?)?])
    }

    /// The same of operations that have batching rules.
    fn composed(&self, x: &Tensor) -> Result<Normalized> {
        let wide = self.grouped(x)?;
        if let Some(given) = self.given {
            let [mean, inverse] = self.by_given(given, &wide)?;
            let value = self.scaled(&mul(&sub(&wide, &mean)?, &inverse)?, x)?;
            return Ok(Normalized { value, mean, inverse, moments: None });
        }
        let found = standardized(self.node, &wide, &self.dims, self.eps)?;
        let value = self.scaled(&found.value, x)?;
        let Standardized { inverse, mean, variance, .. } = found;
        Ok(Normalized { value, inverse, mean: cast::to(&mean, wide.dtype())?, moments: Some([mean, variance]) })
    }

    /// The elements of a channel, where whole channels are normalised together.
    fn stretch(&self, x: &Tensor) -> Option<usize> {
        let length = x.shape().get(2..)?.iter().product();
        let takes = self.by_channel && self.given.is_none() && self.dims[0] != 0 && length >= Pieces::SHORTEST;
        takes.then_some(length)
    }

    /// The values, without history.
    fn computed(&self, x: &Tensor) -> Result<Normalized> {
        let wide = self.grouped(x)?;
        let plan = Plan::new("normalisation", &wide, &self.dims, true)?;
        let affine = Affine { weight: self.weight, bias: self.bias, stretch: self.stretch(x) };
        let fits = |t: &Tensor| t.dtype() == wide.dtype() && t.is_contiguous();
        let is_of_rows = !self.by_channel || affine.stretch.is_some();
        if is_of_rows
            && self.weight.into_iter().chain(self.bias).all(fits)
            && let Some(Standardized { value, inverse, mean, variance, .. }) = by_rows(&plan, &wide, self.eps, affine)?
        {
            let value = cast::to(&view::reshape(&value, &view::signed(x.shape()))?, x.dtype())?;
            let narrow = cast::to(&mean, wide.dtype())?;
            return Ok(Normalized { value, mean: narrow, inverse, moments: Some([mean, variance]) });
        }
        let ([mean, inverse], moments) = match self.given {
            Some(given) => (self.by_given(given, &wide)?, None),
            None => {
                let [variance, mean] = moments(&plan, &wide, 0.0)?;
                let inverse = exponential::rsqrt(&cast::to(&add(&variance, self.eps)?, wide.dtype())?)?;
                ([cast::to(&mean, wide.dtype())?, inverse], Some([mean, variance]))
            }
        };
        let pieces = if self.by_channel { Pieces::of(x, &wide, &self.dims) } else { None };
        let value = match pieces {
            Some(pieces) => cast::to(&self.in_pieces(&pieces, &wide, &mean, &inverse)?, x.dtype())?,
            None => self.scaled(&mul(&sub(&ordered(&wide, &self.dims)?, &mean)?, &inverse)?, x)?,
        };
        Ok(Normalized { value, mean, inverse, moments })
    }

    /// The values by the kernel of pieces, in the shape of the input.
    fn in_pieces(&self, pieces: &Pieces, x: &Tensor, mean: &Tensor, inverse: &Tensor) -> Result<Tensor> {
        let y = Tensor::uninitialized("normalisation", &pieces.shape, x.dtype())?;
        let flat = |t: &Tensor| copy::to_contiguous(&cast::to(t, x.dtype())?);
        let [weight, bias] = [self.weight.map(flat).transpose()?, self.bias.map(flat).transpose()?];
        let (mean, inverse) = (flat(mean)?, flat(inverse)?);
        let read = [Some(x), Some(&mean), Some(&inverse), weight.as_ref(), bias.as_ref()];
        let _access = Access::lock(read.into_iter().flatten().map(|t| (&**t.storage(), false)));
        wide_float!(x.dtype(), A => {
            // SAFETY: all are contiguous tensors of this type; `y` is new.
            let (to, mean, inverse) = unsafe { (y.elements_mut::<A>(), mean.elements::<A>(), inverse.elements::<A>()) };
            // SAFETY: as above.
            let each = |t: &Option<Tensor>, c: usize, none: A| t.as_ref().map_or(none, |t| unsafe { t.elements::<A>()[c] });
            // SAFETY: as above.
            channels::scale(unsafe { x.elements::<A>() }, to, pieces.length, |p| {
                let (row, c) = (pieces.row(p), p % pieces.channels);
                [mean[row], inverse[row] * each(&weight, c, 1.0), each(&bias, c, 0.0)]
            });
        });
        Ok(y)
    }
}

/// An array of images as pieces of one channel of one example each.
struct Pieces {
    shape: Shape,
    channels: usize,
    /// The elements of a piece.
    length: usize,
    /// How many pieces, one after another, have one mean; `None` where the pieces of a channel have.
    in_row: Option<usize>,
}

impl Pieces {
    /// The shortest pieces for which the kernel is called.
    const SHORTEST: usize = 8;

    /// The pieces of `x`, which is normalised over `dims` of `grouped`, where its elements lie in them.
    fn of(x: &Tensor, grouped: &Tensor, dims: &[isize]) -> Option<Pieces> {
        let takes = x.rank() > 2 && matches!(grouped.dtype(), DType::F32 | DType::F64);
        let length: usize = x.shape().get(2..)?.iter().product();
        if !takes || length < Pieces::SHORTEST || x.numel() == 0 || !grouped.is_contiguous() {
            return None;
        }
        let groups = grouped.shape()[1];
        let in_row = (dims[0] != 0).then(|| x.shape()[1] / groups);
        Some(Pieces { shape: x.shape().into(), channels: x.shape()[1], length, in_row })
    }

    /// Of which mean a piece is.
    fn row(&self, piece: usize) -> usize {
        self.in_row.map_or(piece % self.channels, |n| piece / n)
    }
}

/// Of what factors and terms are, and by what the elements were normalised.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Of the places of the last dimensions.
    Places,
    /// Of channels.
    Channels,
    /// Of channels, by a mean and a deviation that were given.
    Given,
}

fn of_places(call: &Call) -> Result<Gradients> {
    gradients(call, Kind::Places)
}

fn of_channels_of_batch(call: &Call) -> Result<Gradients> {
    gradients(call, Kind::Channels)
}

fn of_channels_by_given(call: &Call) -> Result<Gradients> {
    gradients(call, Kind::Given)
}

/// `dx = r (h - mean(h) - y mean(h y)) + dm / n - dr r^2 y / n` for `h = g w`, and `dw = sum(g y)`, `db = sum(g)`; `dx = r h` where
/// mean and deviation were given.
fn gradients(call: &Call, kind: Kind) -> Result<Gradients> {
    let (is_given, by_channel) = (kind == Kind::Given, kind != Kind::Places);
    let (s, x) = (call.settings, &call.saved[0]);
    let [mean, inverse] = [2, 1].map(|n| &call.saved[call.saved.len() - n]);
    let weight = (call.saved.len() == 4).then(|| &call.saved[1]);
    let g = cast::to(&call.g, x.dtype().computed_in())?;
    let only_value = call.gradients[1..].iter().all(Option::is_none);
    if only_value
        && is_plain([x, &g, mean, inverse])
        && weight.is_none_or(|w| is_plain([w]))
        && let Some(found) = directly(call, &g, weight, [mean, inverse], kind)?
    {
        return Ok(found);
    }
    let (shape, own) = (view::signed(&s.shape), view::signed(x.shape()));
    let wide_x = view::reshape(&cast::to(x, g.dtype())?, &shape)?;
    let [y, r] = if is_given {
        [mul(&sub(&wide_x, mean)?, inverse)?, inverse.clone()]
    } else {
        again(&wide_x, mean, inverse, &s.dims)?
    };
    let dx = if call.needs[0] {
        let h = if let Some(w) = weight { mul(&g, &spread(w, x, by_channel)?)? } else { g.clone() };
        let h = view::reshape(&h, &shape)?;
        let mut dx = if is_given { mul(&h, &r)? } else { of_value(&h, &y, &r, &s.dims)? };
        let n = s.dims.iter().map(|&d| s.shape[d as usize]).product::<usize>() as f64;
        if let Some(dm) = call.gradients.get(1).and_then(Option::as_ref) {
            dx = add(&dx, &div(dm, n)?)?;
        }
        if let Some(dr) = call.gradients.get(2).and_then(Option::as_ref) {
            dx = sub(&dx, &mul(&mul(dr, 1.0 / n)?, &mul(&mul(&r, &r)?, &y)?)?)?;
        }
        Some(view::reshape(&dx, &own)?)
    } else {
        None
    };
    let over = |t: &Tensor| others(t, s.dims.len(), by_channel);
    let dw = if call.needs[1] { Some(over(&mul(&g, &view::reshape(&y, &own)?)?)?) } else { None };
    let db = if call.needs[2] { Some(over(&g)?) } else { None };
    Ok(smallvec![dx, dw, db])
}

/// The sum over all dimensions that factors and terms do not have: those of channels have the second, others the last `rank`.
fn others(t: &Tensor, rank: usize, by_channel: bool) -> Result<Tensor> {
    let is_other = |&d: &usize| if by_channel { d != 1 } else { d < t.rank() - rank };
    let dims: SmallVec<[isize; 8]> = (0..t.rank()).filter(is_other).map(|d| d as isize).collect();
    if dims.is_empty() { Ok(t.clone()) } else { sum::sum(t, &dims, false, None) }
}

/// The gradients by a kernel, where nobody asks for theirs and one takes the elements.
fn directly(
    call: &Call,
    g: &Tensor,
    weight: Option<&Tensor>,
    by: [&Tensor; 2],
    kind: Kind,
) -> Result<Option<Gradients>> {
    let (s, x) = (call.settings, &call.saved[0]);
    let x = cast::to(x, g.dtype())?;
    let flat = |t: &Tensor| copy::to_contiguous(&cast::to(t, g.dtype())?);
    let weight = weight.map(flat).transpose()?;
    let [mean, inverse] = [flat(by[0])?, flat(by[1])?];
    if kind != Kind::Places {
        let grouped = view::reshape(&x, &view::signed(&s.shape))?;
        let Some(pieces) = Pieces::of(&x, &grouped, &s.dims) else { return Ok(None) };
        let (x, g) = (copy::to_contiguous(&x)?, copy::to_contiguous(g)?);
        let parts = Parts { x: &x, g: &g, weight: weight.as_ref(), mean: &mean, inverse: &inverse };
        // SAFETY: all are contiguous tensors of this type.
        return Ok(Some(unsafe { wide_float!(g.dtype(), A => of_pieces::<A>(call, kind, &pieces, &parts)?) }));
    }
    let Some(n) = row_length(&x, &s.dims) else { return Ok(None) };
    let (x, g) = (copy::to_contiguous(&x)?, copy::to_contiguous(g)?);
    let parts = Parts { x: &x, g: &g, weight: weight.as_ref(), mean: &mean, inverse: &inverse };
    // SAFETY: all are contiguous tensors of this type, in rows of `n` elements.
    Ok(Some(unsafe { wide_float!(g.dtype(), A => of_rows::<A>(call, n, &parts)?) }))
}

/// What a kernel reads.
struct Parts<'a> {
    x: &'a Tensor,
    g: &'a Tensor,
    weight: Option<&'a Tensor>,
    mean: &'a Tensor,
    inverse: &'a Tensor,
}

impl Parts<'_> {
    fn access(&self) -> Access<'_> {
        let all = [Some(self.x), Some(self.g), self.weight, Some(self.mean), Some(self.inverse)];
        Access::lock(all.into_iter().flatten().map(|t| (&**t.storage(), false)))
    }
}

/// The gradients of rows of `n` elements with factors for their places.
///
/// # Safety
/// The parts are contiguous tensors of type `T`, `x` and `g` in rows of `n` elements.
unsafe fn of_rows<T: Accumulator>(call: &Call, n: usize, parts: &Parts) -> Result<Gradients> {
    let count = parts.inverse.numel();
    let blocks = count.div_ceil(rows::block(count));
    let dx = Tensor::uninitialized("normalisation", parts.x.shape(), T::DTYPE)?;
    let part = |n_th: usize| call.needs[n_th].then(|| Tensor::zeros(&[blocks, n], T::DTYPE)).transpose();
    let [weights, biases] = [part(1)?, part(2)?];
    {
        let _access = parts.access();
        // SAFETY: the caller's for what is read; the others are new.
        unsafe {
            let of = rows::Derivative {
                x: parts.x.elements(),
                g: parts.g.elements(),
                weight: parts.weight.map(|w| w.elements()),
                mean: parts.mean.elements(),
                inverse: parts.inverse.elements(),
                dx: dx.elements_mut(),
                weights: weights.as_ref().map(|t| t.elements_mut()),
                biases: biases.as_ref().map(|t| t.elements_mut()),
            };
            rows::backward::<T>(of, n);
        }
    }
    let places: SmallVec<[isize; 4]> =
        call.settings.dims.iter().map(|&d| call.settings.shape[d as usize] as isize).collect();
    let whole = |t: Option<Tensor>| t.map(|t| view::reshape(&sum::sum(&t, &[0], false, None)?, &places)).transpose();
    Ok(smallvec![Some(dx), whole(weights)?, whole(biases)?])
}

/// The gradients of pieces that have a factor each.
///
/// # Safety
/// The parts are contiguous tensors of type `T`, `x` and `g` in these pieces.
unsafe fn of_pieces<T: Accumulator>(call: &Call, kind: Kind, pieces: &Pieces, parts: &Parts) -> Result<Gradients> {
    let n = pieces.length;
    let count = parts.x.numel() / n;
    let dx = Tensor::uninitialized("normalisation", parts.x.shape(), T::DTYPE)?;
    let new = || Tensor::uninitialized("normalisation", &[pieces.channels], T::DTYPE);
    let (dw, db) = (new()?, new()?);
    let _access = parts.access();
    // SAFETY: the caller's for what is read; the others are new.
    let (x, g, mean, inverse, weight) = unsafe {
        let Parts { x, g, weight, mean, inverse } = parts;
        (
            x.elements::<T>(),
            g.elements::<T>(),
            mean.elements::<T>(),
            inverse.elements::<T>(),
            weight.map(|w| w.elements::<T>()),
        )
    };
    let factor = |p: usize| weight.map_or(1.0, |w| w[p % pieces.channels].to_f64());
    // Of each piece the sums of `g` and `g (x - m)`, of each channel those of `g y` and `g`, of each mean those of `h y` and `h`.
    let pairs = |length: usize| Tensor::zeros(&[length, 2], DType::F64);
    let (found, of_channels, of_rows) = (pairs(count)?, pairs(pieces.channels)?, pairs(inverse.len())?);
    // SAFETY: these are new.
    let [found, of_channels, of_rows] =
        unsafe { [&found, &of_channels, &of_rows].map(|t| t.elements_mut::<f64>().as_chunks_mut().0) };
    channels::sums(g, x, n, |p| mean[pieces.row(p)], found);
    for (p, &[level, along]) in found.iter().enumerate() {
        let along = along * inverse[pieces.row(p)].to_f64();
        for (to, by) in [(&mut of_channels[p % pieces.channels], 1.0), (&mut of_rows[pieces.row(p)], factor(p))] {
            *to = [to[0] + by * along, to[1] + by * level];
        }
    }
    // A mean that was given does not depend on the elements.
    let length = if kind == Kind::Given { f64::INFINITY } else { (parts.x.numel() / inverse.len()) as f64 };
    // SAFETY: these are new.
    let (dx_to, dw_to, db_to) = unsafe { (dx.elements_mut::<T>(), dw.elements_mut::<T>(), db.elements_mut::<T>()) };
    channels::blend(g, x, dx_to, n, |p| {
        let row = pieces.row(p);
        let (r, [along, level]) = (inverse[row].to_f64(), of_rows[row]);
        [mean[row], T::from_f64(r * factor(p)), T::from_f64(-r * r * along / length), T::from_f64(-r * level / length)]
    });
    for (c, &[along, level]) in of_channels.iter().enumerate() {
        (dw_to[c], db_to[c]) = (T::from_f64(along), T::from_f64(level));
    }
    Ok(smallvec![Some(dx), call.needs[1].then_some(dw), call.needs[2].then_some(db)])
}
