//! Memory shared with other libraries by DLPack: capsules that hold a tensor's address, sizes and type, and who frees it.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use pyo3::exceptions::{PyBufferError, PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;

use super::convert::ok;
use super::object::{PyTensor, wrap};
use crate::tensor::Tensor;
use crate::tensor::dtype::{Category, DType};
use crate::tensor::layout::{Layout, Shape, Strides, contiguous_strides};
use crate::tensor::storage::{Buffer, Storage, Versioning};

/// The kind of device that ordinary memory is.
const CPU: i32 = 1;
/// Set in the flags of memory that may not be written to.
const READ_ONLY: u64 = 1;

const PLAIN: &CStr = c"dltensor";
const VERSIONED: &CStr = c"dltensor_versioned";

#[repr(C)]
#[derive(Clone, Copy)]
struct Device {
    kind: i32,
    number: i32,
}

#[repr(C)]
#[derive(Clone, Copy, PartialEq)]
struct Type {
    code: u8,
    bits: u8,
    lanes: u16,
}

#[repr(C)]
struct View {
    data: *mut c_void,
    device: Device,
    rank: i32,
    dtype: Type,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

/// What a capsule holds, without a version.
#[repr(C)]
struct Plain {
    view: View,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Plain)>,
}

/// What a capsule holds since DLPack 1.0.
#[repr(C)]
struct Versioned {
    version: [u32; 2],
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Versioned)>,
    flags: u64,
    view: View,
}

/// The two forms, of which a capsule has one.
trait Managed: Sized + 'static {
    const NAME: &'static CStr;
    const USED: &'static CStr;
    fn new(view: View, context: *mut c_void, read_only: bool) -> Self;
    fn view(&self) -> &View;
    fn context(&self) -> *mut c_void;
    fn is_read_only(&self) -> bool;
    /// Lets go of what the owner keeps.
    ///
    /// # Safety
    /// `this` is alive and nobody uses it afterwards.
    unsafe fn delete(this: *mut Self);
}

impl Managed for Plain {
    const NAME: &'static CStr = PLAIN;
    const USED: &'static CStr = c"used_dltensor";
    fn new(view: View, context: *mut c_void, _read_only: bool) -> Self {
        Plain { view, context, deleter: Some(free::<Plain>) }
    }
    fn view(&self) -> &View {
        &self.view
    }
    fn context(&self) -> *mut c_void {
        self.context
    }
    fn is_read_only(&self) -> bool {
        false
    }
    unsafe fn delete(this: *mut Self) {
        // SAFETY: the caller's.
        unsafe { (*this).deleter.into_iter().for_each(|delete| delete(this)) }
    }
}

impl Managed for Versioned {
    const NAME: &'static CStr = VERSIONED;
    const USED: &'static CStr = c"used_dltensor_versioned";
    fn new(view: View, context: *mut c_void, read_only: bool) -> Self {
        let flags = if read_only { READ_ONLY } else { 0 };
        Versioned { version: [1, 0], context, deleter: Some(free::<Versioned>), flags, view }
    }
    fn view(&self) -> &View {
        &self.view
    }
    fn context(&self) -> *mut c_void {
        self.context
    }
    fn is_read_only(&self) -> bool {
        self.flags & READ_ONLY != 0
    }
    unsafe fn delete(this: *mut Self) {
        // SAFETY: the caller's.
        unsafe { (*this).deleter.into_iter().for_each(|delete| delete(this)) }
    }
}

/// What a capsule of ours keeps alive.
struct Kept {
    _storage: Storage,
    shape: Vec<i64>,
    strides: Vec<i64>,
}

/// The deleter of what [`export`] made.
///
/// # Safety
/// `managed` was made by [`export`], and nobody uses it afterwards.
unsafe extern "C" fn free<M: Managed>(managed: *mut M) {
    // SAFETY: both are boxes given up by `export`, and the deleter is called once.
    unsafe {
        drop(Box::from_raw((*managed).context().cast::<Kept>()));
        drop(Box::from_raw(managed));
    }
}

/// What frees a capsule that nobody consumed.
///
/// # Safety
/// `capsule` is an object of Python, and the interpreter is attached.
unsafe extern "C" fn unused<M: Managed>(capsule: *mut ffi::PyObject) {
    // SAFETY: a consumed capsule has another name; of any other, what it holds is alive.
    unsafe {
        if ffi::PyCapsule_IsValid(capsule, M::NAME.as_ptr()) == 1 {
            M::delete(ffi::PyCapsule_GetPointer(capsule, M::NAME.as_ptr()).cast());
        }
    }
}

fn type_of(dtype: DType) -> Type {
    let code = match dtype {
        DType::BF16 => 4,
        _ => match dtype.category() {
            Category::Bool => 6,
            Category::Integer if dtype.is_signed() => 0,
            Category::Integer => 1,
            Category::Float => 2,
            Category::Complex => 5,
        },
    };
    Type { code, bits: 8 * dtype.size() as u8, lanes: 1 }
}

/// A capsule of a tensor's memory, in the form of DLPack 1.0 where `versioned`.
#[pyfunction]
pub fn _to_dlpack<'py>(tensor: &Bound<'py, PyTensor>, versioned: bool) -> PyResult<Bound<'py, PyAny>> {
    let t = tensor.get().get();
    ok(t.readable("sharing the memory of a Tensor"))?;
    if t.requires_grad() {
        return Err(PyBufferError::new_err("Can't export tensors that require gradient, use tensor.detach()"));
    }
    if versioned { export::<Versioned>(tensor.py(), t) } else { export::<Plain>(tensor.py(), t) }
}

fn export<'py, M: Managed>(py: Python<'py>, t: &Tensor) -> PyResult<Bound<'py, PyAny>> {
    let data = ok(t.expose())?;
    let shape = t.shape().iter().map(|&n| n as i64).collect();
    let strides = t.strides().iter().map(|&s| s as i64).collect();
    let mut kept = Box::new(Kept { _storage: t.storage().clone(), shape, strides });
    let view = View {
        data: data.cast(),
        device: Device { kind: CPU, number: 0 },
        rank: t.rank() as i32,
        dtype: type_of(t.dtype()),
        shape: kept.shape.as_mut_ptr(),
        strides: kept.strides.as_mut_ptr(),
        byte_offset: 0,
    };
    let context = Box::into_raw(kept).cast();
    let managed = Box::into_raw(Box::new(M::new(view, context, t.storage().is_read_only())));
    // SAFETY: the capsule takes what is given up here, and frees it by `unused` unless somebody consumes it.
    unsafe {
        let capsule = ffi::PyCapsule_New(managed.cast(), M::NAME.as_ptr(), Some(unused::<M>));
        if capsule.is_null() {
            free(managed);
        }
        Bound::from_owned_ptr_or_err(py, capsule)
    }
}

/// Somebody else's memory: frees what a consumed capsule held.
struct Taken<M: Managed>(NonNull<M>);

// SAFETY: the deleters of DLPack may be called from any thread, and nothing else is done with the pointer.
unsafe impl<M: Managed> Send for Taken<M> {}
// SAFETY: as above.
unsafe impl<M: Managed> Sync for Taken<M> {}

impl<M: Managed> Drop for Taken<M> {
    fn drop(&mut self) {
        // SAFETY: whoever made the capsule left it to its consumer to call the deleter, once.
        unsafe { M::delete(self.0.as_ptr()) }
    }
}

/// A tensor on the memory that a capsule holds, which is consumed.
#[pyfunction]
pub fn _from_dlpack(capsule: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    let t = match (consume::<Versioned>(capsule)?, consume::<Plain>(capsule)?) {
        (Some(t), _) | (None, Some(t)) => t,
        _ => {
            return Err(PyRuntimeError::new_err(
                "from_dlpack received an invalid capsule. Note that DLTensor capsules can be consumed only once, so you might have already constructed a tensor from it once.",
            ));
        }
    };
    wrap(capsule.py(), t)
}

/// None for what is no capsule of this form.
fn consume<M: Managed>(capsule: &Bound<'_, PyAny>) -> PyResult<Option<Tensor>> {
    // SAFETY: what has the name of an unused capsule holds what DLPack says, until it is renamed here.
    unsafe {
        if ffi::PyCapsule_IsValid(capsule.as_ptr(), M::NAME.as_ptr()) != 1 {
            return Ok(None);
        }
        let pointer = ffi::PyCapsule_GetPointer(capsule.as_ptr(), M::NAME.as_ptr()).cast::<M>();
        let Some(managed) = NonNull::new(pointer) else { return Err(PyErr::fetch(capsule.py())) };
        let read = read(managed.as_ref().view())?;
        if ffi::PyCapsule_SetName(capsule.as_ptr(), M::USED.as_ptr()) != 0 {
            return Err(PyErr::fetch(capsule.py()));
        }
        let (data, layout, dtype) = read;
        let read_only = managed.as_ref().is_read_only();
        let bytes = layout.end() * dtype.size();
        let storage = Buffer::external(data, bytes, Box::new(Taken(managed)), read_only);
        Ok(Some(Tensor::new(storage, layout, dtype, Versioning::fresh())))
    }
}

/// The address, layout and dtype that a capsule names, where tensors can have them.
///
/// # Safety
/// The view is as DLPack says.
unsafe fn read(view: &View) -> PyResult<(NonNull<u8>, Layout, DType)> {
    if view.device.kind != CPU {
        let what = format!("from_dlpack: expected memory of the CPU (device 1), got device {}", view.device.kind);
        return Err(PyRuntimeError::new_err(what));
    }
    let Type { code, bits, lanes } = view.dtype;
    let dtype = DType::supported().find(|&d| type_of(d) == view.dtype).ok_or_else(|| {
        PyTypeError::new_err(format!("from_dlpack: no dtype has code {code} with {bits} bits and {lanes} lanes"))
    })?;
    let numbers = |from: *const i64| match view.rank {
        0 => &[][..],
        // SAFETY: the caller's: there is one number a dimension.
        n => unsafe { std::slice::from_raw_parts(from, n as usize) },
    };
    let shape: Shape = numbers(view.shape).iter().map(|&n| n as usize).collect();
    let strides: Strides = if view.strides.is_null() {
        contiguous_strides(&shape)
    } else {
        numbers(view.strides).iter().map(|&s| s as isize).collect()
    };
    if strides.iter().any(|&s| s < 0) {
        return Err(PyRuntimeError::new_err("from_dlpack: expected steps that are not negative; copy the array first"));
    }
    let data = view.data.cast::<u8>().wrapping_add(view.byte_offset as usize);
    if !data.addr().is_multiple_of(dtype.size()) && shape.iter().all(|&n| n > 0) {
        return Err(PyRuntimeError::new_err("from_dlpack: the memory is not aligned to its elements; copy it first"));
    }
    Ok((NonNull::new(data).unwrap_or(NonNull::dangling()), Layout { shape, strides, offset: 0 }, dtype))
}
