//! The objects that stand for tensors in Python: one for a tensor, made when Python first sees it.

use std::cell::UnsafeCell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

use pyo3::ffi;
use pyo3::prelude::*;

use crate::graph::meta::Keeper;
use crate::memory::{NAMELESS, reserve};
use crate::tensor::Tensor;

/// An n-dimensional array with a place in the graph.
/// Made by `tensor`, by functions such as `zeros`, and by operations; `Tensor(...)` makes zeros of the sizes given, or a
/// copy of a sequence, in the default dtype.
///
/// >>> ferrograd.Tensor([1, 2])
/// tensor([1., 2.])
#[pyclass(name = "Tensor", module = "ferrograd", subclass, frozen, weakref, dict)]
pub struct PyTensor {
    tensor: UnsafeCell<Tensor>,
    /// Who keeps the tensor as a gradient, as far as Python saw it there.
    keeper: UnsafeCell<Option<Keeper>>,
}

// SAFETY: the cells are written only by `replace`, `swap` and `kept_by`, which hold the interpreter's lock, and references handed out
// by `get` are not kept while Python code runs.
unsafe impl Sync for PyTensor {}

impl PyTensor {
    /// An object that is about to be made.
    pub fn of(tensor: Tensor) -> Self {
        PyTensor { tensor: UnsafeCell::new(tensor), keeper: UnsafeCell::new(None) }
    }

    /// The tensor.
    #[inline]
    pub fn get(&self) -> &Tensor {
        // SAFETY: see the impl of `Sync`.
        unsafe { &*self.tensor.get() }
    }

    /// Notes that the tensor is kept as the gradient of another.
    pub fn kept_by(slf: &Bound<'_, Self>, keeper: Option<Keeper>) {
        // SAFETY: see the impl of `Sync`.
        drop(unsafe { std::mem::replace(&mut *slf.get().keeper.get(), keeper) });
    }

    /// Lets the object stand for another tensor, also where the one before is kept as a gradient.
    pub fn replace(slf: &Bound<'_, Self>, tensor: Tensor) {
        let this = slf.get();
        if this.get().is_same(&tensor) {
            return;
        }
        tensor.set_host(slf.as_ptr().cast());
        this.get().set_host(null_mut());
        // SAFETY: the interpreter's lock is held and no reference to the old tensor is in use; see the impl of `Sync`.
        let (old, keeper) = unsafe { (std::mem::replace(&mut *this.tensor.get(), tensor), &*this.keeper.get()) };
        if let Some(keeper) = keeper {
            keeper.exchange(&old, this.get());
        }
        drop(old);
    }

    /// Lets two objects stand for each other's tensors.
    pub fn swap(a: &Bound<'_, Self>, b: &Bound<'_, Self>) {
        let (first, second) = (a.get(), b.get());
        first.get().set_host(b.as_ptr().cast());
        second.get().set_host(a.as_ptr().cast());
        // SAFETY: as in `replace`; what a cell of one object holds is moved to that of the other, which may be the same.
        unsafe {
            std::ptr::swap(first.tensor.get(), second.tensor.get());
            std::ptr::swap(first.keeper.get(), second.keeper.get());
        }
    }
}

impl Drop for PyTensor {
    #[inline]
    fn drop(&mut self) {
        // The object is going: the tensor, which may live on in a graph, will be given a new one.
        self.get().set_host(null_mut());
    }
}

/// The class, and where within its objects the tensor lies.
static CLASS: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(null_mut());
static PLACE: AtomicUsize = AtomicUsize::new(0);

/// Looks at an object, so that others can be made without PyO3's general way, which on Python 3.11 and 3.12 makes a
/// dictionary for each.
pub fn install(py: Python<'_>) -> PyResult<()> {
    let sample = Py::new(py, PyTensor::of(Tensor::from_slice(&[0.0f32])))?;
    PLACE.store(std::ptr::from_ref(sample.get()).addr() - sample.as_ptr().addr(), Relaxed);
    CLASS.store(py.get_type::<PyTensor>().as_type_ptr(), Relaxed);
    Ok(())
}

/// A new object for a tensor that has none. What was a view of an intermediate that is gone is none to Python.
#[inline]
fn make(py: Python<'_>, tensor: Tensor) -> PyResult<Py<PyAny>> {
    reserve::check(NAMELESS)?;
    let tensor = tensor.without_hidden_base();
    // SAFETY: the class is one that `install` saw an object of. What PyO3 keeps beside the value, the pointers to a
    // dictionary and to weak references, are null at first, as the zeroed memory has them.
    unsafe {
        let object = ffi::PyType_GenericAlloc(CLASS.load(Relaxed), 0);
        if object.is_null() {
            return Err(PyErr::fetch(py));
        }
        tensor.set_host(object.cast());
        object.byte_add(PLACE.load(Relaxed)).cast::<PyTensor>().write(PyTensor::of(tensor));
        Ok(Bound::from_owned_ptr(py, object).unbind())
    }
}

/// As [`wrap`], for the result of an operation, which an error names.
#[inline]
pub fn wrap_result(py: Python<'_>, op: &'static str, tensor: Tensor) -> PyResult<Py<PyAny>> {
    reserve::check(op)?;
    wrap(py, tensor)
}

/// The object that stands for a tensor: the one it has, or a new one.
#[inline]
pub fn wrap(py: Python<'_>, tensor: Tensor) -> PyResult<Py<PyAny>> {
    let host = tensor.host();
    if host.is_null() {
        return make(py, tensor);
    }
    // SAFETY: an object clears this note before it goes, under the interpreter's lock.
    Ok(unsafe { Bound::from_borrowed_ptr(py, host.cast()) }.unbind())
}
