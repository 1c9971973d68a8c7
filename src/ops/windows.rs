//! Window functions: weights for the numbers of a stretch, which fall off to both ends.

use std::f64::consts::PI;

use super::creation::finish;
use super::registry::{Arguments, Output, operation};
use crate::error::{Error, Result};
use crate::kernels::math::f64 as double;
use crate::kernels::vector::Vector;
use crate::memory::reserved;
use crate::tensor::scalar::Scalar;
use crate::tensor::{Tensor, default_dtype};

/// A window by the weights of places from 0 to 1. Arguments 0 and 1 are the length and whether the window is the beginning of
/// a period; `n` is the dtype's.
fn window(a: &Arguments, n: usize, weight: impl Fn(f64) -> f64) -> Result<Output> {
    let dtype = a.dtype(n)?.unwrap_or_else(default_dtype);
    if !dtype.is_floating_point() {
        let rule = "windows have floating point dtypes";
        return Err(Error::DTypeInvalid { op: a.op, dtype, rule });
    }
    let Ok(count) = usize::try_from(a.int(0)?) else {
        let what = format!("requires non-negative window_length, got window_length={}", a.int(0)?);
        return Err(Error::Invalid { op: a.op, what });
    };
    let last = if a.bool(1)? { count } else { count.saturating_sub(1) } as f64;
    let mut all: Vec<Scalar> = reserved(a.op, count)?;
    all.extend((0..count).map(|i| Scalar::Float(if count == 1 { 1.0 } else { weight(i as f64 / last) })));
    finish(Tensor::from_scalars(&all, &[count], dtype)?, a, n)
}

/// The cosine of so many turns.
fn turns(x: f64) -> f64 {
    libm::cos(2.0 * PI * x)
}

operation! {
    /// Hann's window: `(1 - cos(2 pi n / N)) / 2` for `n = 0, 1, ...`, where `N` is `window_length`, or with `periodic=False`, for
    /// a symmetric window, one less. A window of one number is 1.
    ///
    /// Shapes: `(window_length,)`.
    /// Raises: RuntimeError for a negative length.
    ///
    /// >>> ferrograd.hann_window(4)
    /// tensor([0.0000, 0.5000, 1.0000, 0.5000])
    function Noted(Floats -> Asked), ["hann_window(int window_length, bool periodic=True, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"], |_, a| window(a, 2, |x| 0.5 - 0.5 * turns(x))
}

operation! {
    /// Hamming's window: `alpha - beta cos(2 pi n / N)`, with `n` and `N` as in [`hann_window`].
    ///
    /// Shapes: `(window_length,)`.
    /// Raises: RuntimeError for a negative length.
    ///
    /// >>> ferrograd.hamming_window(4)
    /// tensor([0.0800, 0.5400, 1.0000, 0.5400])
    function Noted(Floats -> Asked), ["hamming_window(int window_length, bool periodic=True, Number alpha=0.54, Number beta=0.46, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"], |_, a| {
        let (alpha, beta) = (a.float(2)?, a.float(3)?);
        window(a, 4, |x| alpha - beta * turns(x))
    }
}

operation! {
    /// Blackman's window: `0.42 - 0.5 cos(2 pi n / N) + 0.08 cos(4 pi n / N)`, with `n` and `N` as in [`hann_window`].
    ///
    /// Shapes: `(window_length,)`.
    /// Raises: RuntimeError for a negative length.
    ///
    /// >>> ferrograd.blackman_window(5, periodic=False).round(decimals=4)
    /// tensor([-0.0000,  0.3400,  1.0000,  0.3400, -0.0000])
    function Noted(Floats -> Asked), ["blackman_window(int window_length, bool periodic=True, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"], |_, a| window(a, 2, |x| 0.42 - 0.5 * turns(x) + 0.08 * turns(2.0 * x))
}

operation! {
    /// Bartlett's window, a triangle: `1 - |2 n / N - 1|`, with `n` and `N` as in [`hann_window`].
    ///
    /// Shapes: `(window_length,)`.
    /// Raises: RuntimeError for a negative length.
    ///
    /// >>> ferrograd.bartlett_window(4)
    /// tensor([0.0000, 0.5000, 1.0000, 0.5000])
    function Noted(Floats -> Asked), ["bartlett_window(int window_length, bool periodic=True, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"], |_, a| window(a, 2, |x| 1.0 - (2.0 * x - 1.0).abs())
}

operation! {
    /// Kaiser's window: `I0(beta sqrt(1 - (2 n / N - 1)^2)) / I0(beta)` with the modified Bessel function [`i0`], and `n` and `N`
    /// as in [`hann_window`].
    ///
    /// Shapes: `(window_length,)`.
    /// Raises: RuntimeError for a negative length.
    ///
    /// >>> ferrograd.kaiser_window(4, beta=2.0)
    /// tensor([0.4387, 0.8348, 1.0000, 0.8348])
    function Noted(Floats -> Asked), ["kaiser_window(int window_length, bool periodic=True, Number beta=12.0, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"], |_, a| {
        let beta = a.float(2)?.abs();
        let top = double::i0e(Vector([beta])).0[0];
        window(a, 3, |x| {
            let at = beta * (1.0 - (2.0 * x - 1.0) * (2.0 * x - 1.0)).max(0.0).sqrt();
            double::i0e(Vector([at])).0[0] / top * libm::exp(at - beta)
        })
    }
}
