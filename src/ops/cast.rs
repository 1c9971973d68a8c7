//! From one dtype to another.

use smallvec::smallvec;

use super::copy::Format;
use super::recorded::link;
use super::registry::operation;
use super::{batch, copy};
use crate::error::{Error, Result};
use crate::graph::node::{Backward, Derivative, Gradients};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;

operation! {
    /// The tensor in another dtype, or itself where it has that already. Floats become integers by cutting towards
    /// zero; everything but zero is true. The gradient is cast back.
    ///
    /// Dtypes: any; the result has `dtype`.
    ///
    /// >>> ferrograd.tensor([1.7, -1.7]).to(ferrograd.int64)
    /// tensor([ 1, -1])
    function Same(Noted -> Noted), ["Tensor.to(Tensor self, DType dtype, bool copy=False, MemoryFormat? memory_format=None)"], |_, a| {
        let x = a.tensor(0)?;
        let dtype = a.dtype(1)?.unwrap_or(x.dtype());
        let format = Format::named(a, 3)?.unwrap_or(Format::Preserve);
        let stays = dtype == x.dtype() && !a.bool(2)? && format.is_suggested_by(x);
        Ok(if stays { x.clone() } else { copied(x, dtype, format)? }.into())
    }
}

/// The tensor in another dtype.
///
/// # Errors
/// For dtypes without kernels.
pub fn to(x: &Tensor, dtype: DType) -> Result<Tensor> {
    if x.dtype() == dtype {
        return Ok(x.clone());
    }
    copied(x, dtype, Format::Contiguous)
}

/// The elements in new memory, in the order of a format.
fn copied(x: &Tensor, dtype: DType, format: Format) -> Result<Tensor> {
    if let Some(y) = batch::unary(x, |x| copied(x, dtype, format)) {
        return y;
    }
    let y = format.applied("to", Tensor::uninitialized("to", x.shape(), dtype)?, Some(x))?;
    copy::write(&y, x)?;
    link(Cast { from: x.dtype() }, &[x], &y)?;
    Ok(y)
}

#[derive(Clone)]
struct Cast {
    from: DType,
}

impl Derivative for Cast {
    fn name(&self) -> &'static str {
        "ToCopyBackward0"
    }

    fn backward(&mut self, call: &Backward) -> Result<Gradients> {
        let g = call.gradient()?;
        Ok(smallvec![Some(if g.dtype() == self.from { g } else { copied(&g, self.from, Format::Preserve)? })])
    }

    fn take(&mut self, _keep: bool) -> Self {
        self.clone()
    }
}

/// An error where a result of one dtype cannot be stored in a tensor of another: floats not in integers, integers not
/// in bool.
///
/// # Errors
/// [`Error::ResultCast`].
pub fn check_result(op: &'static str, result: DType, target: DType) -> Result<()> {
    if result.can_cast(target) { Ok(()) } else { Err(Error::ResultCast { op, result, target }) }
}
