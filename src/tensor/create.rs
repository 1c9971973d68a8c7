//! Tensors from numbers.

use super::Tensor;
use super::dtype::DType;
use super::scalar::Scalar;
use crate::error::{Error, Result};
use crate::kernels::convert::converter;
use crate::kernels::element::{Element, dispatch, number};
use crate::kernels::parallel;
use crate::memory::{known, listed, reserved};

/// Bytes from which threads share the filling of memory.
const FILLED: usize = 1 << 17;

impl Tensor {
    /// A one-dimensional tensor of the numbers of a slice.
    ///
    /// # Panics
    /// Where there is no memory for them, as `Vec` does.
    pub fn from_slice<T: Element>(values: &[T]) -> Tensor {
        known(Tensor::from_shape(values, &[values.len()]))
    }

    /// A tensor of the given shape with the numbers of a slice in row-major order.
    ///
    /// # Errors
    /// Where the shape has another number of elements, or there is no memory.
    pub fn from_shape<T: Element>(values: &[T], shape: &[usize]) -> Result<Tensor> {
        let tensor = Tensor::uninitialized("tensor", shape, T::DTYPE)?;
        if tensor.numel() != values.len() {
            let shape = shape.iter().map(|&s| s as isize).collect();
            return Err(Error::ReshapeSize { op: "tensor", shape, numel: values.len() });
        }
        // SAFETY: the tensor is new, contiguous and of `values.len()` elements of this type.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), tensor.data_ptr().cast(), values.len()) };
        Ok(tensor)
    }

    /// A tensor of the given shape from the bytes of its elements in row-major order.
    ///
    /// # Errors
    /// Where the shape has another number of bytes, the dtype has no kernels, or there is no memory.
    pub fn from_bytes(bytes: &[u8], shape: &[usize], dtype: DType) -> Result<Tensor> {
        let tensor = Tensor::full(shape, Scalar::Int(0), dtype)?;
        if tensor.numel() * dtype.size() != bytes.len() {
            let shape = shape.iter().map(|&s| s as isize).collect();
            return Err(Error::ReshapeSize { op: "tensor", shape, numel: bytes.len() / dtype.size() });
        }
        // SAFETY: the tensor is new, contiguous and of as many bytes; every byte pattern is a value of these types.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), tensor.data_ptr(), bytes.len()) };
        Ok(tensor)
    }

    /// The bytes of the elements in row-major order.
    ///
    /// # Errors
    /// Where there is no memory.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let copy = crate::ops::copy::contiguous_copy(self)?;
        let count = copy.numel() * copy.dtype().size();
        let mut bytes = reserved("tensor", count)?;
        // SAFETY: the copy is contiguous and nobody else has it.
        bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(copy.data_ptr(), count) });
        Ok(bytes)
    }

    /// A tensor of numbers in row-major order, converted to a dtype.
    ///
    /// # Errors
    /// Where the shape has another number of elements, the dtype has no kernels, or there is no memory.
    pub fn from_scalars(values: &[Scalar], shape: &[usize], dtype: DType) -> Result<Tensor> {
        dispatch!("tensor", dtype, T => {
            let numbers: Vec<T> = listed(values.len(), values.iter().map(|&v| number::<T>(v)));
            Tensor::from_shape(&numbers, shape)
        })
    }

    /// A tensor with the same number everywhere.
    ///
    /// # Errors
    /// For shapes too large, dtypes without kernels, and where there is no memory.
    pub fn full(shape: &[usize], value: impl Into<Scalar>, dtype: DType) -> Result<Tensor> {
        Tensor::filled("full", shape, value.into(), dtype)
    }

    /// [`Tensor::full`] for the operation of a name.
    pub(crate) fn filled(op: &'static str, shape: &[usize], value: Scalar, dtype: DType) -> Result<Tensor> {
        let tensor = Tensor::uninitialized(op, shape, dtype)?;
        dispatch!(op, dtype, T => {
            // SAFETY: the tensor is new and contiguous, and every byte pattern is a value of these types.
            let elements = unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast::<T>(), tensor.numel()) };
            let (value, copy) = (number::<T>(value), converter(op, dtype, dtype)?);
            parallel::for_each_slice(elements, FILLED / size_of::<T>(), |_, part| {
                // SAFETY: one element is read again and again, and the part is written.
                unsafe { copy((&raw const value).cast(), 0, part.as_mut_ptr().cast(), 1, part.len()) }
            });
        });
        Ok(tensor)
    }

    /// A tensor without dimensions.
    ///
    /// # Errors
    /// For dtypes without kernels.
    pub fn scalar(value: impl Into<Scalar>, dtype: DType) -> Result<Tensor> {
        Tensor::full(&[], value, dtype)
    }

    /// Zeros.
    ///
    /// # Errors
    /// As [`Tensor::full`].
    pub fn zeros(shape: &[usize], dtype: DType) -> Result<Tensor> {
        Tensor::filled("zeros", shape, Scalar::Int(0), dtype)
    }

    /// One zero that is seen at every index: what copies of zeros are made of in one pass.
    ///
    /// # Errors
    /// As [`Tensor::full`].
    pub(crate) fn expanded_zero(shape: &[usize], dtype: DType) -> Result<Tensor> {
        let zero = Tensor::scalar(0i64, dtype)?;
        Ok(zero.alias(zero.layout().broadcast_to(shape), false))
    }

    /// Ones.
    ///
    /// # Errors
    /// As [`Tensor::full`].
    pub fn ones(shape: &[usize], dtype: DType) -> Result<Tensor> {
        Tensor::filled("ones", shape, Scalar::Int(1), dtype)
    }
}
