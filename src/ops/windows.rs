//! Window functions: weights for the numbers of a stretch, which fall off to both ends.

use std::f64::consts::PI;

use super::copy;
use super::creation::finish;
use super::registry::{Arguments, Output, operation};
use crate::error::{Error, Result};
use crate::kernels::expr::{Expr, Program};
use crate::kernels::lane::{Lane, Real};
use crate::kernels::math::f64 as double;
use crate::kernels::pointwise::{self, Input, Numbers};
use crate::kernels::ramp;
use crate::kernels::vector::Vector;
use crate::tensor::dtype::DType;
use crate::tensor::{Tensor, default_dtype};

/// A window by the formula for the weights of places from 0 to 1, which are the same from both ends. Arguments 0 and 1 are the
/// length and whether the window is the beginning of a period; `n` is the dtype's. The formula reads `params`.
fn window<const P: usize>(
    a: &Arguments,
    n: usize,
    params: [f64; P],
    weight: impl Fn(Expr, [Expr; P]) -> Expr,
) -> Result<Output> {
    let dtype = a.dtype(n)?.unwrap_or_else(default_dtype);
    if !dtype.is_floating_point() {
        let rule = "windows have floating point dtypes";
        return Err(Error::DTypeInvalid { op: a.op, dtype, rule });
    }
    let Ok(count) = usize::try_from(a.int(0)?) else {
        let what = format!("requires non-negative window_length, got window_length={}", a.int(0)?);
        return Err(Error::Invalid { op: a.op, what });
    };
    if count <= 1 {
        return finish(Tensor::filled(a.op, &[count], 1.0.into(), dtype)?, a, n);
    }
    let last = if a.bool(1)? { count } else { count - 1 };
    let y = Tensor::uninitialized(a.op, &[count], dtype)?;
    // The second half comes out of the first.
    let half = last / 2 + 1;
    let places = Tensor::uninitialized(a.op, &[half], DType::F64)?;
    // SAFETY: the tensor is new and contiguous.
    ramp::whole(unsafe { places.elements_mut::<f64>() }, 0, 1);
    let program = Program::record(&|| {
        let place = Expr::input(0) / Expr::param(P);
        vec![weight(place, std::array::from_fn(Expr::param))]
    });
    let params: Vec<f64> = params.into_iter().chain([last as f64]).collect();
    let input = Input::Array { data: places.data_ptr(), dtype: DType::F64, strides: &[1] };
    let output = pointwise::Output { data: y.data_ptr(), dtype, strides: &[1] };
    let numbers = Numbers { dtype: DType::F64, exact: 0 };
    // SAFETY: both are new, contiguous, and have at least `half` elements.
    unsafe { pointwise::run(a.op, &program, numbers, &[input], &params, &[output], &[half])? };
    let rest = y.layout().slice(0, half, count - half, 1);
    let mut mirrored = rest.clone();
    (mirrored.offset, mirrored.strides[0]) = (last - half, -1);
    copy::write(&y.alias(rest, false), &y.alias(mirrored, false))?;
    finish(y, a, n)
}

/// The cosine of so many turns.
fn turns(x: Expr) -> Expr {
    (number(2.0 * PI) * x).cos()
}

fn number(value: f64) -> Expr {
    Expr::constant(value)
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
    function Noted(Floats -> Asked), ["hann_window(int window_length, bool periodic=True, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"], |_, a| window(a, 2, [], |x, []| number(0.5) - number(0.5) * turns(x))
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
        window(a, 4, [a.float(2)?, a.float(3)?], |x, [alpha, beta]| alpha - beta * turns(x))
    }
}

operation! {
    /// Blackman's window: `0.42 - 0.5 cos(2 pi n / N) + 0.08 cos(4 pi n / N)`, with `n` and `N` as in [`hann_window`].
    ///
    /// Shapes: `(window_length,)`.
    /// Raises: RuntimeError for a negative length.
    ///
    /// >>> ferrograd.blackman_window(5, periodic=False).round(decimals=4)
    /// tensor([-0.0000, 0.3400, 1.0000, 0.3400, -0.0000])
    function Noted(Floats -> Asked), ["blackman_window(int window_length, bool periodic=True, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"], |_, a| window(a, 2, [], |x, []| {
        number(0.42) - number(0.5) * turns(x) + number(0.08) * turns(number(2.0) * x)
    })
}

operation! {
    /// Bartlett's window, a triangle: `1 - |2 n / N - 1|`, with `n` and `N` as in [`hann_window`].
    ///
    /// Shapes: `(window_length,)`.
    /// Raises: RuntimeError for a negative length.
    ///
    /// >>> ferrograd.bartlett_window(4)
    /// tensor([0.0000, 0.5000, 1.0000, 0.5000])
    function Noted(Floats -> Asked), ["bartlett_window(int window_length, bool periodic=True, *, DType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=False, bool? requires_grad=False)"], |_, a| window(a, 2, [], |x, []| number(1.0) - (number(2.0) * x - number(1.0)).abs())
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
        window(a, 3, [beta, top], |x, [beta, top]| {
            let side = number(2.0) * x - number(1.0);
            let at = beta * (number(1.0) - side * side).maximum(number(0.0)).sqrt();
            at.i0e() / top * (at - beta).exp()
        })
    }
}
