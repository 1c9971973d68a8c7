//! Indices of tensors: what stands in brackets, read and assigned.
#![allow(unsafe_op_in_unsafe_fn, reason = "what PyO3 makes of methods in a macro")]

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyEllipsis, PyFloat, PyInt, PyList, PySequence, PySlice, PyString, PyTuple};
use smallvec::{SmallVec, smallvec};

use super::convert::{self, Other, ok};
use super::data;
use super::error::guarded;
use super::profiler::seen;
use super::tensor::{PyTensor, wrap, wrap_result};
use crate::error::Error;
use crate::ops::cast;
use crate::ops::index::{self, Index};
use crate::profiler;
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::scalar::Scalar;

/// The integers that an index consists of, at least one; none where it has anything else.
fn integers(index: &Bound<'_, PyAny>) -> Option<SmallVec<[isize; 4]>> {
    let integer = |o: &Bound<'_, PyAny>| o.is_exact_instance_of::<PyInt>().then(|| o.extract::<isize>().ok()).flatten();
    match index.cast_exact::<PyTuple>() {
        Ok(tuple) if tuple.is_empty() => None,
        Ok(tuple) => tuple.iter().map(|o| integer(&o)).collect(),
        Err(_) => Some(smallvec![integer(index)?]),
    }
}

/// One part of an index.
fn part(object: &Bound<'_, PyAny>) -> PyResult<Index> {
    if object.is_none() {
        return Ok(Index::NewAxis);
    }
    if object.is_instance_of::<PyEllipsis>() {
        return Ok(Index::Ellipsis);
    }
    if let Ok(slice) = object.cast::<PySlice>() {
        let bound = |name| -> PyResult<Option<isize>> {
            let value = slice.getattr(name)?;
            if value.is_none() { Ok(None) } else { Ok(Some(clamped(&value)?)) }
        };
        let py = slice.py();
        let (start, stop) = (bound(intern!(py, "start"))?, bound(intern!(py, "stop"))?);
        return Ok(Index::Slice { start, stop, step: bound(intern!(py, "step"))?.unwrap_or(1) });
    }
    if let Ok(t) = object.cast::<PyTensor>() {
        let t = t.get().get();
        let is_int = t.rank() == 0 && !t.dtype().is_floating_point() && !matches!(t.dtype(), DType::Bool | DType::U8);
        return Ok(if is_int && !t.requires_grad() && t.batch().is_none() {
            Index::Int(ok(guarded("item", || t.item()))?.as_i64() as isize)
        } else {
            Index::Tensor(t.clone())
        });
    }
    if object.is_instance_of::<PyBool>() {
        return Ok(Index::Truth(object.is_truthy()?));
    }
    if super::numpy::is_ndarray(object)? {
        let t = data::tensor(object, None)?;
        return if t.rank() == 0 { part(wrap(object.py(), t)?.bind(object.py())) } else { Ok(of_sequence(t)?) };
    }
    if let Some(i) = convert::integer(object) {
        return Ok(Index::Int(i));
    }
    if object.is_instance_of::<pyo3::types::PyInt>() {
        return Err(PyValueError::new_err(format!(
            "__getitem__: Overflow when unpacking long long: the index {object} does not fit int64"
        )));
    }
    if object.cast::<PySequence>().is_ok() || super::numpy::is_array(object) {
        return of_sequence(data::tensor(object, None)?);
    }
    let name = object.get_type().name()?;
    Err(pyo3::exceptions::PyIndexError::new_err(format!(
        "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got {name})"
    )))
}

/// Indices that were written as a sequence: an empty one has floats.
fn of_sequence(t: Tensor) -> PyResult<Index> {
    Ok(Index::Tensor(if t.numel() == 0 { ok(cast::to(&t, DType::I64))? } else { t }))
}

/// What is assigned to an index, if it can be. An integer must fit int64, as one that is an index.
fn assigned<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Other<'py>>> {
    let large =
        || PyValueError::new_err(format!("__setitem__: Overflow when unpacking long long: {value} does not fit int64"));
    match convert::other(value) {
        Ok(Some(Other::Number(Scalar::Unsigned(_)))) => Err(large()),
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => Err(large()),
        found => found,
    }
}

/// A slice's bound; those beyond any size count as the farthest.
fn clamped(value: &Bound<'_, PyAny>) -> PyResult<isize> {
    match convert::integer(value) {
        Some(i) => Ok(i),
        None if value.is_instance_of::<pyo3::types::PyInt>() => {
            Ok(if value.lt(0)? { isize::MIN / 2 } else { isize::MAX / 2 })
        }
        None => {
            // What `__index__` raises is the program's own.
            if value.hasattr("__index__")? {
                value.call_method0("__index__")?;
            }
            Err(PyTypeError::new_err("slice indices must be integers or None or have an __index__ method"))
        }
    }
}

/// The parts of an index of a tensor. As in torch, more of them than there are dimensions are an error before any is read.
fn parts(op: &'static str, x: &Tensor, object: &Bound<'_, PyAny>) -> PyResult<Vec<Index>> {
    let all: Vec<Bound<'_, PyAny>> = match (object.cast::<PyTuple>(), object.cast::<PyList>()) {
        (Ok(tuple), _) => tuple.iter().collect(),
        (_, Ok(list)) if stands_for_a_tuple(list) => list.iter().collect(),
        _ if object.is_instance_of::<PySlice>() || object.is_instance_of::<PyInt>() => return Ok(vec![part(object)?]),
        _ => vec![object.clone()],
    };
    let given = all.iter().map(dimensions).sum::<usize>();
    if given > x.rank() {
        return Err(Error::TooManyIndices { op, rank: x.rank(), given }.into());
    }
    let mut parts: Vec<Index> = Vec::with_capacity(all.len());
    for object in &all {
        match part(object) {
            Ok(part) => parts.push(part),
            Err(error) => {
                // The parts before are applied before this one is read.
                let is_basic = |part: &Index| !matches!(part, Index::Tensor(_) | Index::Truth(_));
                if parts.iter().all(is_basic) && x.batch().is_none() {
                    ok(index::get(&x.detach(), &parts).map_err(|error| error.of(op)))?;
                }
                return Err(error);
            }
        }
    }
    if object.is_instance_of::<PyTuple>() {
        match parts[..] {
            // A slice alone is a slice also where it has all; in a tuple it is left out then.
            [Index::Slice { .. }] => parts.push(Index::Ellipsis),
            // A truth value alone takes whatever broadcasts; in a tuple it is a mask.
            [Index::Truth(truth)] => parts[0] = Index::Tensor(ok(Tensor::scalar(truth, DType::Bool))?),
            _ => {}
        }
    }
    Ok(parts)
}

/// How many dimensions a part uses up, as far as its class tells.
fn dimensions(object: &Bound<'_, PyAny>) -> usize {
    if let Ok(t) = object.cast::<PyTensor>() {
        let t = t.get().get();
        return if matches!(t.dtype(), DType::Bool | DType::U8) { t.rank() } else { 1 };
    }
    let is_none = object.is_none() || object.is_instance_of::<PyEllipsis>() || object.is_instance_of::<PyBool>();
    // Arrays of truth values count when they are read.
    let is_number = || super::numpy::scalar_dtype(object).is_some_and(|dtype| dtype != DType::Bool);
    usize::from(!is_none && (!super::numpy::is_array(object) || is_number()))
}

/// As in torch, a short list that holds anything but numbers is a tuple of indices: `x[[[0, 1], [1, 0]]]` is
/// `x[[0, 1], [1, 0]]`.
fn stands_for_a_tuple(list: &Bound<'_, PyList>) -> bool {
    let is_sequence = |o: &Bound<'_, PyAny>| o.cast::<PySequence>().is_ok() && !o.is_instance_of::<PyString>();
    let is_part = |o: Bound<'_, PyAny>| {
        let is_plain = o.is_instance_of::<PyInt>() || o.is_instance_of::<PyFloat>();
        !is_plain
            && (o.is_none()
                || o.is_instance_of::<PyTensor>()
                || o.is_instance_of::<PySlice>()
                || o.is_instance_of::<PyEllipsis>()
                || is_sequence(&o)
                || super::numpy::is_ndarray(&o).unwrap_or(false))
    };
    list.len() < 32 && list.iter().any(is_part)
}

#[pymethods]
impl PyTensor {
    fn __getitem__(slf: &Bound<'_, Self>, index: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        const OP: &str = "__getitem__";
        let t = slf.get().get().clone();
        if let Some(integers) = integers(index).filter(|all| all.len() <= t.rank()) {
            return wrap_result(slf.py(), OP, ok(seen(OP, &[(&t).into()], || index::at(&t, &integers)))?);
        }
        let parts = parts(OP, &t, index)?;
        wrap_result(slf.py(), OP, ok(seen(OP, &[(&t).into()], || index::get(&t, &parts)))?)
    }

    fn __setitem__(&self, index: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        const OP: &str = "__setitem__";
        let t = self.get().clone();
        let value = match assigned(value)? {
            Some(Other::Tensor(v)) => v.get().get().clone(),
            Some(Other::Made(v)) => ok(cast::to(&v, t.dtype()))?,
            Some(Other::Number(n)) => {
                // Floats of 16 bits hold larger ones as infinite.
                if !matches!(t.dtype(), DType::F16 | DType::BF16) {
                    ok(n.check_fits(OP, t.dtype()))?;
                }
                if let Some(integers) = integers(index)
                    && !profiler::is_on()
                    && ok(guarded(OP, || index::put(&t, &integers, n)))?
                {
                    return Ok(());
                }
                ok(Tensor::scalar(n, t.dtype()))?
            }
            None if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() => {
                data::tensor(value, Some(t.dtype()))?
            }
            None => {
                let name = value.get_type().name()?;
                return Err(PyTypeError::new_err(format!("can't assign a {name} to a tensor of {}", t.dtype())));
            }
        };
        let parts = parts(OP, &t, index)?;
        let set = || index::set(&t, &parts, &value).map(|()| t.clone());
        ok(seen(OP, &[(&t).into(), (&value).into()], set)).map(drop)
    }
}
