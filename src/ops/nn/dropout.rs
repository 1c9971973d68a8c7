//! Parts left out at random, as networks call for them: while they are trained.

use crate::error::{Error, Result};
use crate::host::host;
use crate::ops::dropout::{ALPHA, ALPHA_CHANNELS, CHANNELS, Dropout, ELEMENTS};
use crate::ops::registry::{Arguments, Output, operation};
use crate::ops::view;
use crate::tensor::Tensor;

/// Runs on the arguments `input, p, training, inplace`, with a dimension put in front of the input where it `lacks` one.
fn run(kind: Dropout, a: &Arguments, lacks: bool) -> Result<Output> {
    let (op, x, p, train, in_place) = (a.op, a.tensor(0)?, a.float(1)?, a.bool(2)?, a.bool(3)?);
    if !(0.0..=1.0).contains(&p) && !p.is_nan() {
        let (argument, rule) = ("dropout probability", "has to be between 0 and 1");
        return Err(Error::Argument { op, argument, rule, given: p.to_string() });
    }
    if !lacks {
        return Ok(kind.apply(op, x, p, train, in_place)?.into());
    }
    let y = kind.apply(op, &view::unsqueeze(x, 0)?, p, train, in_place)?;
    Ok(if in_place { x.clone() } else { view::squeezed(&y, Some(&[0]), "SqueezeBackward1")? }.into())
}

/// A warning for inputs of other ranks than a function is made for.
fn warn(x: &Tensor, op: &str, ranks: [usize; 2]) -> Result<()> {
    match host() {
        Some(host) if !ranks.contains(&x.rank()) => {
            let [low, high] = ranks;
            (host.warn)(&format!(
                "{op}: Received a {}-D input, which is deprecated: {op} is for inputs of {low} or {high} dimensions; use \
                 dropout instead",
                x.rank()
            ))
        }
        _ => Ok(()),
    }
}

operation! {
    /// Leaves out elements while `training`: `y = x m / (1 - p)`, where `m` is 0 with the probability `p` and else 1. torch's
    /// for the same seed.
    ///
    /// Raises: ValueError where `p` is not between 0 and 1.
    ///
    /// >>> from ferrograd.nn import functional as F
    /// >>> _ = ferrograd.manual_seed(0); F.dropout(ferrograd.ones(4))
    /// tensor([0., 0., 2., 0.])
    function Same(Floats -> Kept), ["nn.dropout(Tensor input, Number p=0.5, bool training=True, bool inplace=False)"], |_, a| run(ELEMENTS, a, false)
}

operation! {
    /// Leaves out elements while `training`, with the least value of `selu` in their place, scaled and shifted so that a mean
    /// of 0 and a variance of 1 stay.
    ///
    /// Raises: ValueError where `p` is not between 0 and 1.
    ///
    /// >>> from ferrograd.nn import functional as F
    /// >>> _ = ferrograd.manual_seed(0); F.alpha_dropout(ferrograd.ones(4), training=True)
    /// tensor([-0.7792, -0.7792,  1.6656, -0.7792])
    function Same(Floats -> Kept), ["nn.alpha_dropout(Tensor input, Number p=0.5, bool training=False, bool inplace=False)"], |_, a| run(ALPHA, a, false)
}

operation! {
    /// As `alpha_dropout`, for whole channels: all elements with the same first two indices stay or are left out.
    ///
    /// Raises: ValueError where `p` is not between 0 and 1; RuntimeError for less than two dimensions.
    ///
    /// Shapes: `(N, C, ...) -> (N, C, ...)`.
    ///
    /// >>> from ferrograd.nn import functional as F
    /// >>> _ = ferrograd.manual_seed(0); F.feature_alpha_dropout(ferrograd.ones(1, 2, 1), training=True)
    /// tensor([[[-0.7792],
    ///          [-0.7792]]])
    function Noted(Floats -> Kept), ["nn.feature_alpha_dropout(Tensor input, Number p=0.5, bool training=False, bool inplace=False)"], |_, a| {
        run(ALPHA_CHANNELS, a, false)
    }
}

operation! {
    /// Leaves out whole channels of shape (L) while `training`, of inputs of shape (C, L) or (N, C, L).
    ///
    /// Raises: ValueError where `p` is not between 0 and 1; RuntimeError for other numbers of dimensions.
    ///
    /// Shapes: `([N,] C, L) -> ([N,] C, L)`.
    ///
    /// >>> from ferrograd.nn import functional as F
    /// >>> _ = ferrograd.manual_seed(0); F.dropout1d(ferrograd.ones(3, 2))
    /// tensor([[0., 0.],
    ///         [0., 0.],
    ///         [2., 2.]])
    function Noted(Floats -> Kept), ["nn.dropout1d(Tensor input, Number p=0.5, bool training=True, bool inplace=False)"], |_, a| {
        let x = a.tensor(0)?;
        if !(2..=3).contains(&x.rank()) {
            return Err(Error::Rank { op: a.op, expected: "2D or 3D input", shape: x.shape().to_vec() });
        }
        run(CHANNELS, a, x.rank() == 2)
    }
}

operation! {
    /// Leaves out whole channels of shape (H, W) while `training`, of inputs of shape (N, C, H, W). As in torch, an input of
    /// three dimensions is taken as (N, C, L).
    ///
    /// Raises: ValueError where `p` is not between 0 and 1; RuntimeError for less than two dimensions, a warning for
    /// those of another number than 3 or 4.
    ///
    /// Shapes: `(N, C, ...) -> (N, C, ...)`.
    ///
    /// >>> from ferrograd.nn import functional as F
    /// >>> _ = ferrograd.manual_seed(0); F.dropout2d(ferrograd.ones(1, 2, 1, 3))
    /// tensor([[[[0., 0., 0.]],
    /// <BLANKLINE>
    ///          [[0., 0., 0.]]]])
    function Noted(Floats -> Kept), ["nn.dropout2d(Tensor input, Number p=0.5, bool training=True, bool inplace=False)"], |_, a| {
        warn(a.tensor(0)?, "dropout2d", [3, 4])?;
        run(CHANNELS, a, false)
    }
}

operation! {
    /// Leaves out whole channels of shape (D, H, W) while `training`, of inputs of shape (C, D, H, W) or (N, C, D, H, W).
    ///
    /// Raises: ValueError where `p` is not between 0 and 1, a warning for inputs of another number of dimensions than
    /// 4 or 5.
    ///
    /// Shapes: `(...) -> (...)`.
    ///
    /// >>> from ferrograd.nn import functional as F
    /// >>> _ = ferrograd.manual_seed(0); F.dropout3d(ferrograd.ones(2, 1, 1, 3))
    /// tensor([[[[0., 0., 0.]]],
    /// <BLANKLINE>
    /// <BLANKLINE>
    ///         [[[0., 0., 0.]]]])
    function Noted(Floats -> Kept), ["nn.dropout3d(Tensor input, Number p=0.5, bool training=True, bool inplace=False)"], |_, a| {
        let x = a.tensor(0)?;
        warn(x, "dropout3d", [4, 5])?;
        run(CHANNELS, a, x.rank() != 5)
    }
}
