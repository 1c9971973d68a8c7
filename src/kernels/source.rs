//! Strided elements of any dtype, read in blocks of the type that a kernel computes in.

use std::marker::PhantomData;

use super::convert::{Converter, converter, mover};
use super::element::Element;
use super::pointwise::Values;
use crate::error::Result;
use crate::tensor::dtype::DType;

/// Memory that a kernel reads as elements of type `T`, or what is computed as it is read.
#[derive(Clone, Copy)]
pub struct Source<'a, T> {
    data: *const u8,
    size: isize,
    direct: bool,
    load: Converter,
    values: Option<&'a dyn Values>,
    of: PhantomData<T>,
}

// SAFETY: whoever reads through a source vouches for its memory, which threads read together.
unsafe impl<T> Sync for Source<'_, T> {}
// SAFETY: as above.
unsafe impl<T> Send for Source<'_, T> {}

impl<'a, T: Element> Source<'a, T> {
    /// The memory at `data`, whose elements are of `dtype`.
    ///
    /// # Errors
    /// For dtypes without kernels.
    pub fn new(op: &'static str, data: *const u8, dtype: DType) -> Result<Self> {
        let load = converter(op, dtype, T::DTYPE)?;
        Ok(Source { data, size: dtype.size() as isize, direct: dtype == T::DTYPE, load, values: None, of: PhantomData })
    }

    /// Elements of this type that are computed when they are read, always some side by side.
    pub(crate) fn computed(values: &'a dyn Values) -> Self {
        debug_assert_eq!(values.dtype(), T::DTYPE);
        let values = Some(values);
        Source {
            data: std::ptr::null(),
            size: size_of::<T>() as isize,
            direct: false,
            load: mover(size_of::<T>()),
            values,
            of: PhantomData,
        }
    }

    /// True where elements side by side need no conversion.
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// The element at an offset, where no conversion is needed.
    #[inline]
    pub fn at(&self, offset: isize) -> *const T {
        self.data.wrapping_offset(offset * self.size).cast()
    }

    /// Writes `n` elements from `offset` on, `step` apart, to `to`.
    ///
    /// # Safety
    /// The elements are readable, and there is room for them at `to`.
    #[inline]
    pub unsafe fn fill(&self, offset: isize, step: isize, to: *mut T, n: usize) {
        // SAFETY: the caller's.
        unsafe {
            match self.values {
                Some(values) => values.write(offset as usize, to.cast(), n),
                None => (self.load)(self.data.wrapping_offset(offset * self.size), step, to.cast(), 1, n),
            }
        }
    }

    /// `n` elements from `offset` on, `step` apart: where they lie if they can be read there, else in `buffer`.
    ///
    /// # Safety
    /// As [`Self::fill`].
    #[inline]
    pub unsafe fn block(&self, offset: isize, step: isize, buffer: *mut T, n: usize) -> *const T {
        if self.direct && (step == 1 || n == 1) {
            return self.at(offset);
        }
        // SAFETY: the caller's.
        unsafe { self.fill(offset, step, buffer, n) };
        buffer
    }
}
