//! Convolutions under torch's names.

use super::geometry::{Options, each};
use super::{Geometry, Role, apply};
use crate::error::{Error, Result};
use crate::ops::registry::{Arguments, operation};
use crate::ops::view;
use crate::tensor::Tensor;

const NODE: &str = "ConvolutionBackward0";

/// The convolution that the options say, of an input with images.
fn convolved(op: &'static str, x: &Tensor, w: &Tensor, bias: Option<&Tensor>, options: &Options) -> Result<Tensor> {
    let geometry = Geometry::new(op, x, w, bias, options)?;
    let role = if options.transposed { Role::Transposed } else { Role::Forward };
    apply(role, NODE, &geometry, x, w, bias)
}

/// As [`convolved`], for an input of which the images may be left out.
fn unbatched(op: &'static str, x: &Tensor, w: &Tensor, bias: Option<&Tensor>, options: &Options) -> Result<Tensor> {
    let spatial = options.stride.len();
    if x.rank() == spatial + 2 {
        return convolved(op, x, w, bias, options);
    }
    if x.rank() != spatial + 1 {
        let (one, many, shape) = (spatial + 1, spatial + 2, x.shape());
        let what = format!("expected {one}D (unbatched) or {many}D (batched) input, but got input of size: {shape:?}");
        return Err(Error::Invalid { op, what });
    }
    let y = convolved(op, &view::unsqueeze(x, 0)?, w, bias, options)?;
    view::squeezed(&y, Some(&[0]), "SqueezeBackward1")
}

/// What a call of `conv1d` and its kin asks for: `input, weight, bias, stride, padding, dilation, groups`.
fn called(a: &Arguments, spatial: usize, padding_is_named: bool) -> Result<Tensor> {
    let list = |n: usize, what: &str| each(a.op, what, &a.sizes(n)?, spatial);
    let (stride, dilation, groups) = (list(3, "stride")?, list(5, "dilation")?, a.int(6)?);
    let mut options =
        Options { stride, dilation, groups, padding: each(a.op, "padding", &[0], spatial)?, ..Options::default() };
    if !padding_is_named {
        options.padding = list(4, "padding")?;
    } else {
        match a.text(4)? {
            Some("valid") => {}
            Some("same") if options.stride.iter().all(|&s| s == 1) => options.same = true,
            Some("same") => {
                let what = "padding='same' is not supported for strided convolutions".into();
                return Err(Error::Invalid { op: a.op, what });
            }
            other => {
                let what = format!("invalid padding string: {other:?}, expected 'same' or 'valid'");
                return Err(Error::Invalid { op: a.op, what });
            }
        }
    }
    unbatched(a.op, a.tensor(0)?, a.tensor(1)?, a.maybe_tensor(2)?, &options)
}

/// What a call of `conv_transpose1d` and its kin asks for:
/// `input, weight, bias, stride, padding, output_padding, groups, dilation`.
fn called_transposed(a: &Arguments, spatial: usize) -> Result<Tensor> {
    let list = |n: usize, what: &str| each(a.op, what, &a.sizes(n)?, spatial);
    let options = Options {
        stride: list(3, "stride")?,
        padding: list(4, "padding")?,
        output_padding: list(5, "output_padding")?,
        groups: a.int(6)?,
        dilation: list(7, "dilation")?,
        transposed: true,
        same: false,
    };
    unbatched(a.op, a.tensor(0)?, a.tensor(1)?, a.maybe_tensor(2)?, &options)
}

macro_rules! convolutions {
    ($($(#[doc = $doc:literal])* $spatial:literal $plain:literal $named:literal also $alias:literal;)*) => {$(
        operation! {
            $(#[doc = $doc])*
            function Noted(Numbers -> Shared), [$plain, $named; also $alias], |n, a| Ok(called(a, $spatial, n == 1)?.into())
        }
    )*};
}

convolutions! {
    /// Convolution in one dimension:
    /// `y[n, o, p] = bias[o] + sum over i and k of weight[o, i, k] input[n, i, stride p + dilation k - padding]`, where what
    /// lies outside of the input is zero.
    ///
    /// `input` is `(N, C, L)` or `(C, L)`, `weight` `(O, C / groups, K)` and `bias` `(O)`, all of one dtype, bool apart;
    /// the result is `(N, O, P)` with `P = (L + 2 padding - dilation (K - 1) - 1) // stride + 1`. `padding` may be 'valid',
    /// none, or 'same', as much as makes `P = L`, for a stride of 1. With `groups`, each group of results sees its own
    /// group of channels.
    ///
    /// Shapes: `([N,] C, L), (O, C / groups, K), (O,) -> ([N,] O, M)`.
    ///
    /// >>> x, w = ferrograd.tensor([[[1.0, 2.0, 3.0, 4.0]]]), ferrograd.tensor([[[1.0, 1.0]]])
    /// >>> ferrograd.conv1d(x, w)
    /// tensor([[[3., 5., 7.]]])
    1 "nn.conv1d(Tensor input, Tensor weight, Tensor? bias=None, int[] stride=1, int[] padding=0, int[] dilation=1, int groups=1)"
    "nn.conv1d(Tensor input, Tensor weight, Tensor? bias=None, int[] stride=1, str padding='valid', int[] dilation=1, int groups=1)"
    also "package.conv1d";

    /// Convolution in two dimensions, as `conv1d` in each: `input` is `(N, C, H, W)` or `(C, H, W)`, `weight`
    /// `(O, C / groups, K, L)`. Options are one number, or one for each dimension.
    ///
    /// Shapes: `([N,] C, H, W), (O, C / groups, K, L), (O,) -> ([N,] O, P, Q)`.
    ///
    /// >>> x, w = ferrograd.arange(9.0).reshape(1, 1, 3, 3), ferrograd.ones(1, 1, 2, 2)
    /// >>> ferrograd.conv2d(x, w)
    /// tensor([[[[ 8., 12.],
    ///           [20., 24.]]]])
    2 "nn.conv2d(Tensor input, Tensor weight, Tensor? bias=None, int[] stride=1, int[] padding=0, int[] dilation=1, int groups=1)"
    "nn.conv2d(Tensor input, Tensor weight, Tensor? bias=None, int[] stride=1, str padding='valid', int[] dilation=1, int groups=1)"
    also "package.conv2d";

    /// Convolution in three dimensions, as `conv1d` in each: `input` is `(N, C, D, H, W)` or `(C, D, H, W)`, `weight`
    /// `(O, C / groups, K, L, M)`.
    ///
    /// Shapes: `([N,] C, D, H, W), (O, C / groups, J, K, L), (O,) -> ([N,] O, M, P, Q)`.
    ///
    /// >>> ferrograd.conv3d(ferrograd.ones(1, 1, 3, 3, 3), ferrograd.ones(1, 1, 3, 3, 3)).flatten()
    /// tensor([27.])
    3 "nn.conv3d(Tensor input, Tensor weight, Tensor? bias=None, int[] stride=1, int[] padding=0, int[] dilation=1, int groups=1)"
    "nn.conv3d(Tensor input, Tensor weight, Tensor? bias=None, int[] stride=1, str padding='valid', int[] dilation=1, int groups=1)"
    also "package.conv3d";
}

macro_rules! transposed {
    ($($(#[doc = $doc:literal])* $spatial:literal $plain:literal also $alias:literal;)*) => {$(
        operation! {
            $(#[doc = $doc])*
            function Noted(Averaged -> Shared), [$plain; also $alias], |_, a| Ok(called_transposed(a, $spatial)?.into())
        }
    )*};
}

transposed! {
    /// The transpose of `conv1d`, the gradient of its input: every element of the input adds itself times the weight to
    /// the result, `y[n, o, stride p + dilation k - padding] += input[n, i, p] weight[i, o, k]`.
    ///
    /// `input` is `(N, C, L)` or `(C, L)`, `weight` `(C, O / groups, K)` and `bias` `(O)`, of one dtype; the result is
    /// `(N, O, P)` with `P = (L - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1`. `output_padding` is less
    /// than the stride or the dilation.
    ///
    /// Shapes: `([N,] C, L), (C, O / groups, K), (O,) -> ([N,] O, M)`.
    ///
    /// >>> x, w = ferrograd.tensor([[[1.0, 2.0]]]), ferrograd.tensor([[[1.0, 10.0]]])
    /// >>> ferrograd.conv_transpose1d(x, w)
    /// tensor([[[ 1., 12., 20.]]])
    1 "nn.conv_transpose1d(Tensor input, Tensor weight, Tensor? bias=None, int[] stride=1, int[] padding=0, int[] output_padding=0, int groups=1, int[] dilation=1)"
    also "package.conv_transpose1d";

    /// The transpose of `conv2d`, as `conv_transpose1d` in each dimension: `weight` is `(C, O / groups, K, L)`.
    ///
    /// Shapes: `([N,] C, H, W), (C, O / groups, K, L), (O,) -> ([N,] O, P, Q)`.
    ///
    /// >>> ferrograd.conv_transpose2d(ferrograd.ones(1, 1, 1, 2), ferrograd.ones(1, 1, 2, 2), stride=2)
    /// tensor([[[[1., 1., 1., 1.],
    ///           [1., 1., 1., 1.]]]])
    2 "nn.conv_transpose2d(Tensor input, Tensor weight, Tensor? bias=None, int[] stride=1, int[] padding=0, int[] output_padding=0, int groups=1, int[] dilation=1)"
    also "package.conv_transpose2d";

    /// The transpose of `conv3d`, as `conv_transpose1d` in each dimension: `weight` is `(C, O / groups, K, L, M)`.
    ///
    /// Shapes: `([N,] C, D, H, W), (C, O / groups, J, K, L), (O,) -> ([N,] O, M, P, Q)`.
    ///
    /// >>> ferrograd.conv_transpose3d(ferrograd.ones(1, 1, 1, 1, 1), ferrograd.ones(1, 1, 2, 1, 1)).flatten()
    /// tensor([1., 1.])
    3 "nn.conv_transpose3d(Tensor input, Tensor weight, Tensor? bias=None, int[] stride=1, int[] padding=0, int[] output_padding=0, int groups=1, int[] dilation=1)"
    also "package.conv_transpose3d";
}

operation! {
    /// A convolution in as many dimensions as the input has beside images and channels, or the transpose of one: what
    /// `conv1d`, `conv_transpose1d` and their kin are.
    ///
    /// Shapes: `([N,] C, ...), (O, C / groups, ...), (O,) -> ([N,] O, ...)`, with `transposed` the first two of the
    /// weight the other way.
    ///
    /// >>> x, w = ferrograd.ones(1, 1, 3), ferrograd.ones(1, 1, 2)
    /// >>> ferrograd.convolution(x, w, None, [1], [0], [1], False, [0], 1)
    /// tensor([[[2., 2.]]])
    function Noted(Numbers -> Shared), ["convolution(Tensor input, Tensor weight, Tensor? bias, int[] stride, int[] padding, int[] dilation, bool transposed, int[] output_padding, int groups)"], |_, a| {
        let x = a.tensor(0)?;
        let spatial = x.rank().saturating_sub(2);
        if !(1..=3).contains(&spatial) {
            return Err(Error::Rank { op: a.op, expected: "an input of 3 to 5 dimensions", shape: x.shape().to_vec() });
        }
        let list = |n: usize, what: &str| each(a.op, what, a.ints(n)?, spatial);
        let options = Options {
            stride: list(3, "stride")?,
            padding: list(4, "padding")?,
            dilation: list(5, "dilation")?,
            transposed: a.bool(6)?,
            output_padding: list(7, "output_padding")?,
            groups: a.int(8)?,
            same: false,
        };
        Ok(convolved(a.op, x, a.tensor(1)?, a.maybe_tensor(2)?, &options)?.into())
    }
}

operation! {
    /// Convolution in one dimension with time first: `input` is `(L, N, C)`, `weight` `(K, C, O)`, `bias` `(O)` and the
    /// result `(P, N, O)`, `pad` zeros at both ends.
    ///
    /// Shapes: `(T, B, C), (K, C, O), (O,) -> (S, B, O)`.
    ///
    /// >>> x, w = ferrograd.ones(3, 1, 1), ferrograd.ones(2, 1, 1)
    /// >>> ferrograd.conv_tbc(x, w, ferrograd.zeros(1)).flatten()
    /// tensor([2., 2.])
    function Noted(Numbers -> Shared), ["nn.conv_tbc(Tensor self, Tensor weight, Tensor bias, int pad=0)"; also "package.conv_tbc"], |_, a| {
        let (x, w, bias) = (a.tensor(0)?, a.tensor(1)?, a.tensor(2)?);
        for (t, rank) in [(x, 3), (w, 3), (bias, 1)] {
            if t.rank() != rank {
                let expected = "input and weight to have 3 dimensions, and bias 1";
                return Err(Error::Rank { op: a.op, expected, shape: t.shape().to_vec() });
            }
        }
        let (x, w) = (view::permute(x, &[1, 2, 0])?, view::permute(w, &[2, 1, 0])?);
        let one = |n: isize| each(a.op, "pad", &[n], 1);
        let options = Options { stride: one(1)?, padding: one(a.int(3)?)?, dilation: one(1)?, groups: 1, ..Options::default() };
        let y = convolved(a.op, &x, &w, Some(bias), &options)?;
        Ok(view::permute(&y, &[2, 0, 1])?.into())
    }
}

/// A convolution in one to three dimensions, each option one number a dimension.
///
/// ```
/// use ferrograd::{Tensor, ops};
/// let x = Tensor::from_shape(&[1.0f32, 2.0, 3.0], &[1, 1, 3])?;
/// let w = Tensor::from_shape(&[1.0f32, 1.0], &[1, 1, 2])?;
/// let y = ops::convolution::convolution(&x, &w, None, &[1], &[0], &[1], 1)?;
/// assert_eq!(y.to_vec::<f32>()?, [3.0, 5.0]);
/// # Ok::<(), ferrograd::Error>(())
/// ```
///
/// # Errors
/// For sizes and dtypes that do not fit.
pub fn convolution(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    stride: &[isize],
    padding: &[isize],
    dilation: &[isize],
    groups: isize,
) -> Result<Tensor> {
    let options = Options {
        stride: stride.into(),
        padding: each("convolution", "padding", padding, stride.len())?,
        dilation: each("convolution", "dilation", dilation, stride.len())?,
        groups,
        ..Options::default()
    };
    unbatched("convolution", x, w, bias, &options)
}

/// The transpose of [`convolution`].
///
/// # Errors
/// As [`convolution`], and for an output padding that is neither less than the stride nor than the dilation.
#[allow(clippy::too_many_arguments, reason = "they are torch's")]
pub fn conv_transpose(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    stride: &[isize],
    padding: &[isize],
    output_padding: &[isize],
    dilation: &[isize],
    groups: isize,
) -> Result<Tensor> {
    const OP: &str = "conv_transpose";
    let options = Options {
        stride: stride.into(),
        padding: each(OP, "padding", padding, stride.len())?,
        output_padding: each(OP, "output_padding", output_padding, stride.len())?,
        dilation: each(OP, "dilation", dilation, stride.len())?,
        groups,
        transposed: true,
        same: false,
    };
    unbatched(OP, x, w, bias, &options)
}
