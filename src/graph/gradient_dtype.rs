//! The dtype that the gradient of a leaf is gathered in, where it is another than the leaf's.

use super::meta::GradDType;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;

impl Tensor {
    /// The dtype that gradients of this leaf are cast to: its own, where nothing else was said; `None` for whichever they come in.
    ///
    /// # Errors
    /// For results, whose gradients have their dtype.
    pub fn grad_dtype(&self) -> Result<Option<DType>> {
        if !self.is_leaf() {
            return Err(Error::GradDTypeOfResult { verb: "accessed" });
        }
        Ok(self.gathered_in())
    }

    /// Says in which dtype the gradient of this leaf is gathered; `None`: in whichever it comes.
    ///
    /// # Errors
    /// For results, and where a gradient of another dtype is there.
    pub fn set_grad_dtype(&self, dtype: Option<DType>) -> Result<()> {
        if !self.is_leaf() {
            return Err(Error::GradDTypeOfResult { verb: "set" });
        }
        if let (Some(asked), Some(grad)) = (dtype, self.grad())
            && grad.dtype() != asked
        {
            return Err(Error::GradDTypeTaken { asked, there: grad.dtype() });
        }
        let is_own = dtype == Some(self.dtype());
        if is_own && self.meta().is_none() {
            return Ok(());
        }
        self.meta_or_new().gather_in(match dtype {
            _ if is_own => None,
            Some(dtype) => Some(GradDType::Only(dtype)),
            None => Some(GradDType::Any),
        });
        Ok(())
    }

    /// The dtype that a gradient on its way here is cast to, where one was asked for: that of the gradient that is there, else
    /// the one that was named.
    pub(crate) fn casts_to(&self) -> Option<DType> {
        let asked = self.meta()?.gathered_in()?;
        let named = if let GradDType::Only(dtype) = asked { Some(dtype) } else { None };
        self.grad().map_or(named, |there| Some(there.dtype()))
    }

    /// As [`Tensor::grad_dtype`], unchecked.
    pub(crate) fn gathered_in(&self) -> Option<DType> {
        match self.meta().and_then(|meta| meta.gathered_in()) {
            None => Some(self.dtype()),
            Some(GradDType::Only(dtype)) => Some(dtype),
            Some(GradDType::Any) => None,
        }
    }
}
