//! What nodes keep, as Python sees it.

use std::any::Any;
use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyTuple};

use super::convert::{ok, text, to_python};
use super::modes::PythonHooks;
use super::tensor::{PyTensor, wrap};
use crate::graph::NodeRef;
use crate::graph::node::Setting;
use crate::graph::saved::Saved;
use crate::ops::names;
use crate::tensor::scalar::Scalar;

/// A value that a node keeps: `grad_fn._raw_saved_self`. Programs make none: a RuntimeError.
///
/// >>> x = ferrograd.tensor([2.0], requires_grad=True)
/// >>> isinstance((x * x).grad_fn._raw_saved_self, ferrograd.autograd.SavedTensor)
/// True
#[pyclass(name = "SavedTensor", module = "ferrograd.autograd", frozen)]
pub struct PySaved {
    node: NodeRef,
    /// Which of the node's values.
    place: usize,
}

impl PySaved {
    /// The `place`th value of a node.
    pub fn new(node: &NodeRef, place: usize) -> PySaved {
        PySaved { node: node.clone(), place }
    }

    fn saved(&self) -> Saved {
        self.node.saved().into_iter().nth(self.place).unwrap_or(Saved::nothing())
    }
}

#[pymethods]
impl PySaved {
    #[new]
    #[pyo3(signature = (*_arguments))]
    fn made(_arguments: &Bound<'_, PyAny>) -> PyResult<PySaved> {
        Err(PyRuntimeError::new_err("Trying to create a SavedTensor object from Python is forbidden."))
    }

    /// Lets `pack_hook` take the value; backward and who looks at the value get what `unpack_hook` makes of that.
    /// TypeError for what are no two functions; RuntimeError where hooks have taken the value, where it was freed, and
    /// where there is none.
    ///
    /// >>> x = ferrograd.tensor([2.0], requires_grad=True)
    /// >>> y = x * x
    /// >>> y.grad_fn._raw_saved_self.register_hooks(lambda t: t.tolist(), ferrograd.tensor)
    /// >>> y.backward()
    /// >>> x.grad
    /// tensor([4.])
    #[pyo3(signature = (*hooks), text_signature = "($self, pack_hook, unpack_hook)")]
    fn register_hooks(&self, hooks: &Bound<'_, PyTuple>) -> PyResult<()> {
        let both = hooks.len() == 2 && hooks.iter().all(|hook| hook.is_callable());
        if !both {
            return Err(PyTypeError::new_err(format!(
                "register_hooks(): incompatible function arguments: expected two functions (pack_hook, unpack_hook), got {hooks}"
            )));
        }
        let (pack, unpack) = (hooks.get_item(0)?.unbind(), hooks.get_item(1)?.unbind());
        let hooks = PythonHooks::new(hooks.py(), "register_hooks", pack, unpack)?;
        ok(self.node.hook_saved(self.place, Arc::new(hooks)))
    }

    /// The value. RuntimeError where it was freed, and where it was changed in place.
    ///
    /// >>> x = ferrograd.tensor([2.0], requires_grad=True)
    /// >>> (x * x).grad_fn._raw_saved_self.unpack() is x
    /// True
    fn unpack(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        shown(py, &self.node, &self.saved())
    }

    /// The value, or what `pack_hook` made of it.
    ///
    /// >>> x = ferrograd.tensor([2.0], requires_grad=True)
    /// >>> with ferrograd.autograd.graph.saved_tensors_hooks(lambda t: t.tolist(), ferrograd.tensor):
    /// ...     y = x.sin()
    /// >>> y.grad_fn._raw_saved_self.data
    /// [2.0]
    #[getter]
    fn data(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let saved = self.saved();
        match saved.packed() {
            Some((_, pack)) => Ok(pack.downcast_ref::<Py<PyAny>>().map_or_else(|| py.None(), |p| p.clone_ref(py))),
            None => shown(py, &self.node, &saved),
        }
    }

    /// The hook that gives the value back, or None.
    ///
    /// >>> x = ferrograd.tensor([2.0], requires_grad=True)
    /// >>> (x * x).grad_fn._raw_saved_self.unpack_hook is None
    /// True
    #[getter]
    fn unpack_hook(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let saved = self.saved();
        let hooks: &dyn Any = &**saved.packed()?.0;
        Some(hooks.downcast_ref::<PythonHooks>()?.unpack.clone_ref(py))
    }
}

/// The values that the node behind a tensor keeps. They hold the node.
#[pyfunction]
pub fn _saved_values(tensor: &Bound<'_, PyTensor>) -> Vec<PySaved> {
    let node = tensor.get().get().grad_fn().map(|edge| edge.node);
    node.map_or_else(Vec::new, |node| (0..node.saved().len()).map(|n| PySaved::new(&node, n)).collect())
}

/// A kept value as Python has it: a tensor, a number, or None where there is none.
fn shown(py: Python<'_>, node: &NodeRef, saved: &Saved) -> PyResult<Py<PyAny>> {
    match saved.as_scalar() {
        Some(number) => to_python(py, number),
        None if saved.is_nothing() => Ok(py.None()),
        None => wrap(py, ok(saved.unpack_with_history(node))?),
    }
}

/// The attribute `_saved_...` or `_raw_saved_...` of a node, where it has such a value.
pub fn attribute(py: Python<'_>, node: &NodeRef, attribute: &str) -> PyResult<Option<Py<PyAny>>> {
    let (raw, plain) = (attribute.strip_prefix("_raw_saved_"), attribute.strip_prefix("_saved_"));
    let Some(name) = raw.or(plain) else { return Ok(None) };
    match node.settings().into_iter().find(|(n, _)| *n == name) {
        Some((_, Setting::Places(places))) => return indices(py, node, &places, raw.is_some()).map(Some),
        Some((_, setting)) if raw.is_none() => return value(py, &setting).map(Some),
        _ => {}
    }
    let all = names::saved(node);
    let Some(place) = all.iter().position(|(n, saved)| n == name && (raw.is_none() || saved.as_number().is_none()))
    else {
        return Ok(None);
    };
    match raw {
        Some(_) => Ok(Some(Py::new(py, PySaved::new(node, place))?.into_any())),
        None => shown(py, node, &all[place].1).map(Some),
    }
}

/// A setting as Python has it.
fn value(py: Python<'_>, setting: &Setting) -> PyResult<Py<PyAny>> {
    match setting {
        Setting::Bool(holds) => Ok(PyBool::new(py, *holds).to_owned().into_any().unbind()),
        Setting::Int(n) => to_python(py, Scalar::Int(*n)),
        Setting::Float(n) => to_python(py, Scalar::Float(*n)),
        Setting::Text(word) => text(py, word),
        Setting::Ints(all) => Ok(PyTuple::new(py, all)?.into_any().unbind()),
        Setting::Nothing | Setting::Places(_) => Ok(py.None()),
    }
}

/// The indices of a node, one for each dimension up to the last that has one: None for those between that have none.
fn indices(py: Python<'_>, node: &NodeRef, places: &[Option<usize>], raw: bool) -> PyResult<Py<PyAny>> {
    let saved = node.saved();
    let one = |place: &Option<usize>| match place {
        _ if raw => Ok(Py::new(py, PySaved::new(node, place.unwrap_or(usize::MAX)))?.into_any()),
        Some(n) => saved.get(*n).map_or_else(|| Ok(py.None()), |saved| shown(py, node, saved)),
        None => Ok(py.None()),
    };
    let all: Vec<_> = places.iter().map(one).collect::<PyResult<_>>()?;
    Ok(PyTuple::new(py, all)?.into_any().unbind())
}

/// The names of all such attributes.
pub fn attributes(node: &NodeRef) -> Vec<String> {
    let settings = node.settings();
    let taken = |name: &str| settings.iter().any(|(n, _)| *n == name);
    let all: Vec<_> = names::saved(node).into_iter().filter(|(name, _)| !taken(name)).collect();
    let is_several = |setting: &Setting| matches!(setting, Setting::Places(_));
    let raw = all.iter().filter(|(_, saved)| saved.as_number().is_none()).map(|(name, _)| format!("_raw_saved_{name}"));
    let several = settings.iter().filter(|(_, s)| is_several(s)).map(|(name, _)| format!("_raw_saved_{name}"));
    let plain = all.iter().map(|(name, _)| &**name).chain(settings.iter().map(|(name, _)| *name));
    raw.chain(several).chain(plain.map(|name| format!("_saved_{name}"))).collect()
}
