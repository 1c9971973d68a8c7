//! Taking numbers out of tensors, and putting one in. All reads of elements, here and in kernels, go through [`Reader`] or `ops::run`, so
//! that there is one place where a tensor's numbers come into being.

use super::Tensor;
use super::dtype::Category;
use super::scalar::Scalar;
use super::storage::Access;
use crate::error::{Error, Result};
use crate::kernels::element::{Element, convert, dispatch, number};
use crate::memory::reserved;

/// A tensor's elements, locked for reading.
pub struct Reader<'a> {
    tensor: &'a Tensor,
    /// Reads the element at an address.
    read: unsafe fn(*const u8) -> Scalar,
    _access: Access<'a>,
}

/// # Safety
/// At the address there is an element of this type, aligned for it.
unsafe fn read<T: Element>(address: *const u8) -> Scalar {
    // SAFETY: the caller gives the address of an element of this type.
    scalar(unsafe { address.cast::<T>().read() })
}

#[inline(always)]
fn scalar<T: Element>(value: T) -> Scalar {
    match T::DTYPE.category() {
        Category::Bool => Scalar::Bool(value.to_bool()),
        Category::Integer => Scalar::Int(value.to_i64()),
        _ => Scalar::Float(value.to_f64()),
    }
}

impl<'a> Reader<'a> {
    /// Locks the tensor's memory.
    ///
    /// # Errors
    /// For dtypes without kernels, and where there is no memory for elements that wait.
    pub fn new(tensor: &'a Tensor) -> Result<Self> {
        tensor.settle()?;
        let read = dispatch!("item", tensor.dtype(), T => read::<T> as unsafe fn(*const u8) -> Scalar);
        Ok(Reader { tensor, read, _access: Access::lock([(&**tensor.storage(), false)]) })
    }

    /// The element at an offset in the storage.
    fn at(&self, offset: usize) -> Scalar {
        let data = self.tensor.storage().as_ptr();
        // SAFETY: offsets come from the tensor's layout, which lies in its storage.
        unsafe { (self.read)(data.add(offset * self.tensor.dtype().size())) }
    }

    /// The element at an index; every part of it lies within its size.
    pub fn get(&self, index: &[usize]) -> Scalar {
        self.at(self.tensor.layout().offset_of(index))
    }
}

impl Tensor {
    /// Writes a number to the element at an index; every part of it lies within its size. Neither history nor version is
    /// changed.
    ///
    /// # Errors
    /// For dtypes without kernels, and where there is no memory for elements that wait.
    pub(crate) fn put(&self, index: &[usize], value: Scalar) -> Result<()> {
        self.settle()?;
        let _access = Access::lock([(&**self.storage(), true)]);
        dispatch!("put", self.dtype(), T => {
            // SAFETY: the index lies within the layout, which lies in the storage, and that is locked.
            unsafe { self.storage().as_ptr().cast::<T>().add(self.layout().offset_of(index)).write(number::<T>(value)) }
        });
        Ok(())
    }

    /// The only element.
    ///
    /// # Errors
    /// Where there are none or several.
    pub fn item(&self) -> Result<Scalar> {
        self.readable("calling .item() on a Tensor")?;
        if self.numel() != 1 {
            return Err(Error::NotScalar { op: "item", numel: self.numel() });
        }
        Ok(Reader::new(self)?.at(self.layout().offset))
    }

    /// The truth of the only element.
    ///
    /// # Errors
    /// Where there are none or several.
    pub fn truth(&self) -> Result<bool> {
        self.readable("attempting to use a Tensor in some data-dependent control flow")?;
        match self.numel() {
            1 => Ok(self.item()?.as_bool()),
            n => {
                let what = if n == 0 { "no values" } else { "more than one value" };
                Err(Error::AmbiguousTruth { op: "bool", what, shape: self.shape().to_vec() })
            }
        }
    }

    /// The elements in row-major order, converted.
    ///
    /// # Errors
    /// For dtypes that have no kernels.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        self.readable("reading the elements of a Tensor")?;
        self.settle()?;
        let _access = Access::lock([(&**self.storage(), false)]);
        dispatch!("to_vec", self.dtype(), S => {
            let data = self.storage().as_ptr().cast::<S>();
            // SAFETY: offsets come from the layout, which lies in the storage.
            let number = |o| convert::<S, T>(unsafe { data.add(o).read() });
            let mut all = reserved("to_vec", self.numel())?;
            all.extend(self.layout().offsets().map(number));
            Ok(all)
        })
    }

    /// The elements in row-major order as numbers.
    ///
    /// # Errors
    /// For a batched tensor.
    pub fn to_scalars(&self) -> Result<Vec<Scalar>> {
        self.readable("reading the elements of a Tensor")?;
        let reader = Reader::new(self)?;
        let mut all = reserved("tolist", self.numel())?;
        if self.is_contiguous() {
            dispatch!("tolist", self.dtype(), T => {
                // SAFETY: a contiguous tensor has so many elements of this type side by side, and the reader locks them.
                all.extend(unsafe { self.elements::<T>() }.iter().map(|&value| scalar(value)));
            });
        } else {
            all.extend(self.layout().offsets().map(|o| reader.at(o)));
        }
        Ok(all)
    }

    /// An error for a batched tensor: it has no numbers of its own.
    pub(crate) fn readable(&self, what: &'static str) -> Result<()> {
        if self.batch().is_some() { Err(Error::BatchedRead { what }) } else { Ok(()) }
    }
}
