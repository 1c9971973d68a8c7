//! Normalised exponentials as the functions of neural networks have them: the dimension may be left out.

use crate::error::Result;
use crate::host;
use crate::ops::arithmetic::neg;
use crate::ops::registry::{Arguments, operation};
use crate::ops::softmax::{log_softmax, softmax};

/// The dimension, the second argument; where none is given the one that depends on the rank, with a warning.
fn dimension(a: &Arguments) -> Result<isize> {
    if let Some(dim) = a.maybe_int(1)? {
        return Ok(dim);
    }
    if let Some(host) = host::host() {
        let op = a.op;
        (host.warn)(&format!(
            "Implicit dimension choice for {op} has been deprecated. Change the call to include dim=X as an argument."
        ))?;
    }
    Ok(if matches!(a.tensor(0)?.rank(), 0 | 1 | 3) { 0 } else { 1 })
}

operation! {
    /// `exp(x) / sum(exp(x))` along a dimension, computed in `dtype` where it is given.
    ///
    /// >>> ferrograd.nn.functional.softmax(ferrograd.tensor([0.0, 0.0]), dim=0)
    /// tensor([0.5000, 0.5000])
    function Same(Floats -> Kept), ["nn.softmax(Tensor input, int? dim=None, int _stacklevel=3, DType? dtype=None)"], |_, a| {
        Ok(softmax(a.tensor(0)?, dimension(a)?, a.dtype(3)?)?.into())
    }
}

operation! {
    /// `exp(-x) / sum(exp(-x))` along a dimension, computed in `dtype` where it is given.
    ///
    /// >>> ferrograd.nn.functional.softmin(ferrograd.tensor([0.0, 1.0]), dim=0)
    /// tensor([0.7311, 0.2689])
    function Same(Floats -> Kept), ["nn.softmin(Tensor input, int? dim=None, int _stacklevel=3, DType? dtype=None)"], |_, a| {
        let dim = dimension(a)?;
        Ok(softmax(&neg(a.tensor(0)?)?, dim, a.dtype(3)?)?.into())
    }
}

operation! {
    /// `x - log(sum(exp(x)))` along a dimension, computed in `dtype` where it is given.
    ///
    /// >>> ferrograd.nn.functional.log_softmax(ferrograd.tensor([0.0, 0.0]), dim=0)
    /// tensor([-0.6931, -0.6931])
    function Same(Floats -> Kept), ["nn.log_softmax(Tensor input, int? dim=None, int _stacklevel=3, DType? dtype=None)"], |_, a| {
        Ok(log_softmax(a.tensor(0)?, dimension(a)?, a.dtype(3)?)?.into())
    }
}
