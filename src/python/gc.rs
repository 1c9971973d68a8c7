//! Python's objects as the search for circles of references sees them.

use std::any::Any;
use std::ffi::{c_int, c_void};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule, PyType};

use super::function::PyContext;
use super::node::PyNode;
use super::tensor::PyTensor;
use crate::graph::cycles::{self, Object};

fn pointer(object: usize) -> *mut ffi::PyObject {
    object as *mut ffi::PyObject
}

/// How many references there are to an object.
pub fn owners(object: usize) -> usize {
    // SAFETY: the search reaches objects that live, and holds the interpreter's lock.
    unsafe { ffi::Py_REFCNT(pointer(object)) as usize }
}

/// Keeps an object.
pub fn keep(object: usize) -> Box<dyn Any> {
    // SAFETY: as in `owners`.
    Box::new(Python::attach(|py| unsafe { Bound::from_borrowed_ptr(py, pointer(object)) }.unbind()))
}

/// Adds what an object refers to: the graph behind tensors, nodes and contexts, and what CPython's collector sees.
/// Classes, modules and their dictionaries are taken to be in use.
pub fn links(object: usize, to: &mut Vec<Object>) {
    Python::attach(|py| {
        // SAFETY: as in `owners`.
        let object = unsafe { Borrowed::from_ptr(py, pointer(object)) };
        if object.is_instance_of::<PyType>() || object.is_instance_of::<PyModule>() || is_of_module(&object) {
            return;
        }
        if let Ok(tensor) = object.cast::<PyTensor>() {
            to.push(Object::Tensor(tensor.get().get().clone()));
        } else if let Ok(node) = object.cast::<PyNode>() {
            to.push(Object::Node(node.get().node().clone()));
        } else if let Ok(context) = object.cast::<PyContext>() {
            context.get().links(to);
        }
        // SAFETY: the object is one that CPython's collector traverses, which calls `meet` with `to`.
        unsafe {
            if ffi::PyObject_GC_IsTracked(object.as_ptr()) != 0 {
                let slot = ffi::PyType_GetSlot(ffi::Py_TYPE(object.as_ptr()), ffi::Py_tp_traverse);
                let traverse: Option<ffi::traverseproc> = std::mem::transmute(slot);
                if let Some(traverse) = traverse {
                    traverse(object.as_ptr(), meet, std::ptr::from_mut(to).cast());
                }
            }
        }
    });
}

/// Adds an object that another refers to.
///
/// # Safety
/// `object` is an object of Python, and `to` points to a list of objects that nobody else uses.
unsafe extern "C" fn meet(object: *mut ffi::PyObject, to: *mut c_void) -> c_int {
    // SAFETY: `links` hands over its list.
    unsafe { (*to.cast::<Vec<Object>>()).push(Object::Host(object as usize)) };
    0
}

/// True for the dictionary of a module.
fn is_of_module(object: &Bound<'_, PyAny>) -> bool {
    object.cast_exact::<PyDict>().is_ok_and(|dict| dict.contains("__builtins__").unwrap_or(false))
}

/// Cuts the references of an object to the graph.
pub fn clear(object: usize) {
    Python::attach(|py| {
        // SAFETY: the search keeps the object until all is cut.
        let object = unsafe { Borrowed::from_ptr(py, pointer(object)) };
        if let Ok(context) = object.cast::<PyContext>() {
            context.get().clear();
        } else if let Ok(dict) = object.cast::<PyDict>() {
            dict.clear();
        }
    });
}

/// Frees circles of references that lead through the graph: called before CPython's collector looks at all objects, which
/// then finds those that lead through Python's alone.
#[pyfunction]
pub fn _collect_cycles(phase: &str, info: &Bound<'_, PyDict>) -> PyResult<()> {
    let generation = info.get_item("generation")?.map_or(Ok(0), |g| g.extract::<u32>())?;
    if phase == "start" && generation == 2 {
        cycles::collect();
    }
    Ok(())
}
