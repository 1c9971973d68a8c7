//! Images in other sizes.

use std::sync::Arc;

use smallvec::SmallVec;

use super::average::adaptive_mean;
use super::map::{Map, apply};
use crate::error::{Error, Result};
use crate::graph::node::Setting;
use crate::kernels::mix::Matrix;
use crate::ops::recorded::Told;
use crate::ops::registry::{Arguments, operation};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::scalar::Scalar;

/// How elements between others are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Nearest,
    NearestExact,
    Linear,
    Cubic,
    Area,
}

impl Mode {
    /// The mode of a name, which torch has for some numbers of dimensions.
    fn named(op: &'static str, name: &str, spatial: usize) -> Result<Mode> {
        let (mode, dims) = match name {
            "nearest" => (Mode::Nearest, 1..=3),
            "nearest-exact" => (Mode::NearestExact, 1..=3),
            "linear" => (Mode::Linear, 1..=1),
            "bilinear" => (Mode::Linear, 2..=2),
            "trilinear" => (Mode::Linear, 3..=3),
            "bicubic" => (Mode::Cubic, 2..=2),
            "area" => (Mode::Area, 1..=3),
            other => {
                let what = format!(
                    "the mode {other:?} (known are nearest, nearest-exact, linear, bilinear, trilinear, bicubic and area)"
                );
                return Err(Error::NotImplemented { op, what });
            }
        };
        if dims.contains(&spatial) {
            return Ok(mode);
        }
        Err(Error::NotImplemented { op, what: format!("the mode {name} for {}D input", spatial + 2) })
    }

    /// torch's names of the node and its derivative's.
    fn nodes(self, spatial: usize, antialias: bool) -> [&'static str; 2] {
        let all: [[&str; 2]; 3] = match self {
            Mode::Linear if antialias => {
                [["UpsampleBilinear2DAaBackward0", "UpsampleBilinear2DAaBackwardBackward0"]; 3]
            }
            Mode::Cubic if antialias => [["UpsampleBicubic2DAaBackward0", "UpsampleBicubic2DAaBackwardBackward0"]; 3],
            Mode::Cubic => [["UpsampleBicubic2DBackward0", "UpsampleBicubic2DBackwardBackward0"]; 3],
            Mode::Linear => [
                ["UpsampleLinear1DBackward0", "UpsampleLinear1DBackwardBackward0"],
                ["UpsampleBilinear2DBackward0", "UpsampleBilinear2DBackwardBackward0"],
                ["UpsampleTrilinear3DBackward0", "UpsampleTrilinear3DBackwardBackward0"],
            ],
            Mode::NearestExact => [
                ["UpsampleNearestExact1DBackward0", "UpsampleNearestExact1DBackwardBackward0"],
                ["UpsampleNearestExact2DBackward0", "UpsampleNearestExact2DBackwardBackward0"],
                ["UpsampleNearestExact3DBackward0", "UpsampleNearestExact3DBackwardBackward0"],
            ],
            _ => [
                ["UpsampleNearest1DBackward0", "UpsampleNearest1DBackwardBackward0"],
                ["UpsampleNearest2DBackward0", "UpsampleNearest2DBackwardBackward0"],
                ["UpsampleNearest3DBackward0", "UpsampleNearest3DBackwardBackward0"],
            ],
        };
        all[spatial - 1]
    }
}

/// One dimension in another size.
#[derive(Clone, Copy)]
struct Resize {
    from: usize,
    to: usize,
    /// What the size was multiplied by, if that is to count rather than the sizes.
    factor: Option<f64>,
    /// Whether the first and the last elements stay where they are, rather than the outer edges.
    corners: bool,
    /// Whether places are computed in float32, as those of narrow elements are.
    single: bool,
    /// Whether the results are bytes.
    bytes: bool,
}

impl Resize {
    fn rounded(&self, x: f64) -> f64 {
        if self.single { x as f32 as f64 } else { x }
    }

    /// Elements of the input from one of the result to the next.
    fn scale(&self) -> f64 {
        let (from, to) = (self.from as f64, self.to as f64);
        self.rounded(match self.factor {
            _ if self.corners && self.to <= 1 => 0.0,
            _ if self.corners => (from - 1.0) / (to - 1.0),
            Some(factor) if factor > 0.0 => 1.0 / factor,
            _ => from / to,
        })
    }

    /// Where in the input an element of the result lies.
    fn place(&self, i: usize) -> f64 {
        if self.corners {
            return self.rounded(self.scale() * i as f64);
        }
        self.rounded(self.rounded(self.scale() * (i as f64 + 0.5)) - 0.5)
    }

    fn matrix(&self, mode: Mode, antialias: bool) -> Matrix {
        let row = |i: usize| match mode {
            _ if antialias => self.filtered(i, mode),
            Mode::Linear => self.linear(i),
            Mode::Cubic => self.cubic(i),
            exact => self.nearest(i, exact == Mode::NearestExact),
        };
        Matrix::new(self.from, (0..self.to).map(|i| if self.bytes { merged(row(i)) } else { row(i) }))
    }

    fn nearest(&self, i: usize, exact: bool) -> Vec<(usize, f64)> {
        let i = if exact { i as f64 + 0.5 } else { i as f64 };
        let at = self.rounded(i * self.scale()).floor() as usize;
        vec![(at.min(self.from - 1), 1.0)]
    }

    fn linear(&self, i: usize) -> Vec<(usize, f64)> {
        if self.from == self.to {
            return vec![(i, 1.0)];
        }
        let place = self.place(i).max(0.0);
        let low = (place as usize).min(self.from - 1);
        let part = (place - low as f64).clamp(0.0, 1.0);
        vec![(low, 1.0 - part), ((low + 1).min(self.from - 1), part)]
    }

    fn cubic(&self, i: usize) -> Vec<(usize, f64)> {
        let place = self.place(i);
        let low = place.floor();
        let part = (place - low).clamp(0.0, 1.0);
        let last = self.from as isize - 1;
        let tap = |n: isize| ((low as isize + n).clamp(0, last) as usize, cubic(part - n as f64, -0.75));
        (-1..=2).map(tap).collect()
    }

    /// A filter as wide as an element of the result, so that no element of the input is left out.
    fn filtered(&self, i: usize, mode: Mode) -> Vec<(usize, f64)> {
        let scale = self.scale();
        let reach = if mode == Mode::Cubic { 2.0 } else { 1.0 } * scale.max(1.0);
        let center = scale * (i as f64 + 0.5);
        let start = ((center - reach + 0.5) as isize).max(0) as usize;
        let end = ((center + reach + 0.5) as isize).clamp(start as isize, self.from as isize) as usize;
        let weight = |at: usize| {
            let apart = (at as f64 - center + 0.5) / scale.max(1.0);
            if mode == Mode::Cubic { cubic(apart, -0.5) } else { (1.0 - apart.abs()).max(0.0) }
        };
        let total: f64 = (start..end).map(weight).sum();
        let share = |at: usize| if total == 0.0 { weight(at) } else { weight(at) / total };
        (start..end).map(|at| (at, share(at))).collect()
    }
}

/// A row with one entry for each element: weights are rounded once.
fn merged(row: Vec<(usize, f64)>) -> Vec<(usize, f64)> {
    let mut all: Vec<(usize, f64)> = Vec::with_capacity(row.len());
    for (at, weight) in row {
        match all.last_mut() {
            Some((last, sum)) if *last == at => *sum += weight,
            _ => all.push((at, weight)),
        }
    }
    all
}

/// The cubic convolution kernel.
fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * a
    } else {
        0.0
    }
}

fn wrong<T>(op: &'static str, argument: &'static str, rule: &'static str, given: String) -> Result<T> {
    Err(Error::Argument { op, argument, rule, given })
}

/// What a call asks for.
struct Wanted<'a> {
    mode: &'a str,
    corners: Option<bool>,
    recompute: Option<bool>,
    antialias: bool,
}

/// The sizes of the result, and what those of the input were multiplied by where that counts.
type Sizes = (SmallVec<[isize; 3]>, SmallVec<[Option<f64>; 3]>);

fn sizes(a: &Arguments, x: &Tensor, recompute: Option<bool>) -> Result<Sizes> {
    let spatial = x.rank() - 2;
    let one_each = "must be one number or as many as there are dimensions beside images and channels";
    match (a.maybe_ints(1)?, a.numbers(2)?) {
        (Some(_), [_, ..]) => wrong(a.op, "size", "and scale_factor cannot both be given", format!("{:?}", a.ints(1)?)),
        (None, []) => wrong(a.op, "size", "or scale_factor must be given", "neither".into()),
        (Some(_), []) if recompute == Some(true) => {
            wrong(a.op, "recompute_scale_factor", "is not meaningful with an explicit size", "True".into())
        }
        (Some([one]), []) => Ok((SmallVec::from_elem(*one, spatial), SmallVec::from_elem(None, spatial))),
        (Some(all), []) if all.len() == spatial => Ok((all.into(), SmallVec::from_elem(None, spatial))),
        (Some(all), []) => wrong(a.op, "size", one_each, format!("{all:?}")),
        (None, factors) => {
            if factors.len() != 1 && factors.len() != spatial {
                return wrong(a.op, "scale_factor", one_each, format!("{factors:?}"));
            }
            let factor = |d: usize| factors[if factors.len() == 1 { 0 } else { d }].as_f64();
            let size = |d: usize| (x.shape()[2 + d] as f64 * factor(d)).floor() as isize;
            let counts = recompute != Some(true);
            let all = (0..spatial).map(|d| Some(factor(d)).filter(|_| counts)).collect();
            Ok(((0..spatial).map(size).collect(), all))
        }
    }
}

/// `input` in another size; arguments 1 and 2 are `size` and `scale_factor`.
fn interpolate(a: &Arguments, wanted: &Wanted) -> Result<Tensor> {
    let (op, x) = (a.op, a.tensor(0)?);
    if !(3..=5).contains(&x.rank()) {
        let what = format!("input of shape {:?}: 3 to 5 dimensions are expected; this", x.shape());
        return Err(Error::NotImplemented { op, what });
    }
    let spatial = x.rank() - 2;
    let takes_corners = ["linear", "bilinear", "bicubic", "trilinear"].contains(&wanted.mode);
    if wanted.corners.is_some() && !takes_corners {
        let rule = "can only be given with the interpolating modes: linear, bilinear, bicubic and trilinear";
        return wrong(op, "align_corners", rule, format!("mode {}", wanted.mode));
    }
    let (sizes, factors) = sizes(a, x, wanted.recompute)?;
    if wanted.antialias && (spatial != 2 || !["bilinear", "bicubic"].contains(&wanted.mode)) {
        return wrong(op, "antialias", "is for the modes bilinear and bicubic of 4D input", wanted.mode.into());
    }
    let mode = Mode::named(op, wanted.mode, spatial)?;
    let is_empty = x.shape()[1..].contains(&0);
    if mode != Mode::Area && (is_empty || sizes.iter().any(|&s| s <= 0)) {
        let what =
            format!("input and output sizes should be greater than 0, but got {:?} and {sizes:?}", &x.shape()[2..]);
        return Err(Error::Invalid { op, what });
    }
    let takes_bytes = matches!(mode, Mode::Nearest | Mode::NearestExact) || spatial == 2 && mode != Mode::Area;
    let takes = x.dtype().is_floating_point() || x.dtype() == DType::U8 && takes_bytes;
    if !takes {
        return Err(Error::NotImplemented { op, what: format!("{}: convert to a float dtype first; this", x.dtype()) });
    }
    if mode == Mode::Area {
        super::check_images(op, x, spatial)?;
        if sizes.iter().any(|&s| s < 0) {
            return Err(Error::Invalid { op, what: format!("sizes may not be negative, got {sizes:?}") });
        }
        let sizes: SmallVec<[usize; 3]> = sizes.iter().map(|&s| s as usize).collect();
        super::check_room(op, &sizes)?;
        return adaptive_mean(op, x, &sizes);
    }
    super::check_room(op, &sizes.iter().map(|&s| s as usize).collect::<SmallVec<[usize; 3]>>())?;
    let mut map = Map { told: told(mode, x, wanted.corners, &sizes, &factors), ..Map::default() };
    let bytes = x.dtype() == DType::U8 && matches!(mode, Mode::Linear | Mode::Cubic);
    for d in 0..spatial {
        let resize = Resize {
            from: x.shape()[2 + d],
            to: sizes[d] as usize,
            factor: factors[d],
            corners: wanted.corners == Some(true),
            single: x.dtype() != DType::F64 && !bytes,
            bytes,
        };
        map.parts.push((spatial - d, resize.matrix(mode, wanted.antialias)));
    }
    apply(op, mode.nodes(spatial, wanted.antialias), &Arc::new(map), x)
}

/// What the node shows of a call.
fn told(mode: Mode, x: &Tensor, corners: Option<bool>, sizes: &[isize], factors: &[Option<f64>]) -> Told {
    let names =
        if sizes.len() == 1 { &["scales"][..] } else { &["scales_d", "scales_h", "scales_w"][3 - sizes.len()..] };
    let scale = |factor: &Option<f64>| factor.map_or(Setting::Nothing, Setting::Float);
    let mut all = vec![("output_size", Setting::ints(sizes)), ("self_sym_sizes", Setting::ints(x.shape()))];
    all.extend(names.iter().copied().zip(factors.iter().map(scale)));
    if matches!(mode, Mode::Linear | Mode::Cubic) {
        all.push(("align_corners", Setting::Bool(corners == Some(true))));
    }
    all
}

fn flag(a: &Arguments, n: usize) -> Result<Option<bool>> {
    Ok(a.maybe_number(n)?.map(Scalar::as_bool))
}

operation! {
    /// Images in another size: `(N, C, L)`, `(N, C, H, W)` or `(N, C, D, H, W)` to `size`, or to `floor(scale_factor size)`;
    /// one number counts for all dimensions. `mode` says how elements are found:
    ///
    /// - 'nearest': the element at `floor(i s)`, with the step `s` from one element to the next; 'nearest-exact': at
    ///   `floor((i + 1/2) s)`;
    /// - 'linear', 'bilinear', 'trilinear' (for one, two, three dimensions): from the two neighbours in each dimension;
    /// - 'bicubic' (for two): from four, by the cubic convolution kernel with a = -0.75;
    /// - 'area': means, as `adaptive_avg_pool2d`.
    ///
    /// Elements are thought of as areas; with `align_corners` as points, of which the outermost stay where they are. The
    /// step is 1 / `scale_factor` where that is given, unless `recompute_scale_factor`, and else the quotient of the sizes.
    /// `antialias` widens the filters of 'bilinear' and 'bicubic' where the result is smaller. Images of uint8 are rounded
    /// to uint8 after each dimension.
    ///
    /// Shapes: `(N, C, L) -> (N, C, K)`, `(N, C, H, W) -> (N, C, P, Q)` or `(N, C, D, H, W) -> (N, C, O, P, Q)`.
    /// Dtypes: floating-point, kept; uint8 too for the modes of nearest elements and for images.
    /// Raises: ValueError for arguments that do not go together; NotImplementedError for other dtypes and numbers of
    /// dimensions; RuntimeError for sizes that are not positive.
    ///
    /// >>> x = ferrograd.tensor([[[1.0, 2.0]]])
    /// >>> ferrograd.nn.functional.interpolate(x, scale_factor=2)
    /// tensor([[[1., 1., 2., 2.]]])
    /// >>> ferrograd.nn.functional.interpolate(x, size=3, mode="linear", align_corners=True)
    /// tensor([[[1.0000, 1.5000, 2.0000]]])
    function Noted(Noted -> Noted), ["nn.interpolate(Tensor input, int[]? size=None, Number[]? scale_factor=None, str mode='nearest', bool? align_corners=None, bool? recompute_scale_factor=None, bool antialias=False)"], |_, a| {
        let (corners, recompute) = (flag(a, 4)?, flag(a, 5)?);
        let wanted = Wanted { mode: a.text(3)?.unwrap_or("nearest"), corners, recompute, antialias: a.bool(6)? };
        Ok(interpolate(a, &wanted)?.into())
    }
}

operation! {
    /// `interpolate` under its older name.
    ///
    /// Shapes: `(N, C, L) -> (N, C, K)`, `(N, C, H, W) -> (N, C, P, Q)` or `(N, C, D, H, W) -> (N, C, O, P, Q)`.
    /// Dtypes: floating-point, kept; uint8 too for the modes of nearest elements and for images.
    ///
    /// >>> ferrograd.nn.functional.upsample(ferrograd.tensor([[[1.0, 2.0]]]), scale_factor=2)
    /// tensor([[[1., 1., 2., 2.]]])
    function Noted(Noted -> Noted), ["nn.upsample(Tensor input, int[]? size=None, Number[]? scale_factor=None, str mode='nearest', bool? align_corners=None)"], |_, a| {
        let wanted = Wanted { mode: a.text(3)?.unwrap_or("nearest"), corners: flag(a, 4)?, recompute: None, antialias: false };
        Ok(interpolate(a, &wanted)?.into())
    }
}

operation! {
    /// `interpolate` with the nearest elements.
    ///
    /// Shapes: `(N, C, L) -> (N, C, K)`, `(N, C, H, W) -> (N, C, P, Q)` or `(N, C, D, H, W) -> (N, C, O, P, Q)`.
    /// Dtypes: floating-point and uint8, kept.
    ///
    /// >>> ferrograd.nn.functional.upsample_nearest(ferrograd.tensor([[[1.0, 2.0]]]), 4)
    /// tensor([[[1., 1., 2., 2.]]])
    function Noted(Noted -> Noted), ["nn.upsample_nearest(Tensor input, int[]? size=None, Number[]? scale_factor=None)"], |_, a| {
        Ok(interpolate(a, &Wanted { mode: "nearest", corners: None, recompute: None, antialias: false })?.into())
    }
}

operation! {
    /// `interpolate` with mode 'bilinear' and `align_corners`.
    ///
    /// Shapes: `(N, C, H, W) -> (N, C, P, Q)`.
    /// Dtypes: floating-point and uint8, kept.
    ///
    /// >>> ferrograd.nn.functional.upsample_bilinear(ferrograd.tensor([[[[1.0, 2.0]]]]), (1, 3))
    /// tensor([[[[1.0000, 1.5000, 2.0000]]]])
    function Noted(Noted -> Noted), ["nn.upsample_bilinear(Tensor input, int[]? size=None, Number[]? scale_factor=None)"], |_, a| {
        Ok(interpolate(a, &Wanted { mode: "bilinear", corners: Some(true), recompute: None, antialias: false })?.into())
    }
}
