//! Arguments of a call matched with an operation's signatures.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyList, PyTuple};
use smallvec::SmallVec;

use super::convert;
use super::device;
use super::dtype::PyDType;
use super::random::PyGenerator;
use super::signature::{Default, Entry, Kind, Parameter, Signature};
use super::tensor::PyTensor;
use crate::ops::{Arguments, Value};
use crate::tensor::dtype::DType;
use crate::tensor::scalar::Scalar;

/// The arguments of a call as CPython hands them over.
pub struct Given<'a, 'py> {
    /// The tensor that the method was called on.
    pub receiver: Option<Borrowed<'a, 'py, PyAny>>,
    /// By position.
    pub positional: &'a [Borrowed<'a, 'py, PyAny>],
    /// By name.
    pub named: &'a [(String, Borrowed<'a, 'py, PyAny>)],
}

/// The values of a matched call.
pub type Values = SmallVec<[Value; 6]>;

/// Tries the signatures in order; gives the number of the one that takes the arguments, and their values.
///
/// # Errors
/// `TypeError` that shows what was given and the signatures, where none does.
pub fn bind(entry: &Entry, given: &Given) -> PyResult<(usize, Values)> {
    let mut reason = None;
    for (n, signature) in entry.signatures.iter().enumerate() {
        match matched(signature, given)? {
            Ok(values) => return Ok((n, values)),
            Err(why) => reason = Some(why),
        }
    }
    Err(mismatch(entry, given, reason))
}

fn mismatch(entry: &Entry, given: &Given, reason: Option<String>) -> PyErr {
    let name = entry.operation.name;
    if let (1, Some(reason)) = (entry.signatures.len(), &reason) {
        return PyTypeError::new_err(format!("{name}(): {reason}"));
    }
    let type_name = |o: &Borrowed<PyAny>| o.get_type().name().map_or("?".into(), |n| n.to_string());
    let mut shown: Vec<String> = given.positional.iter().map(type_name).collect();
    shown.extend(given.named.iter().map(|(n, o)| format!("{n}={}", type_name(o))));
    let expected = entry.operation.signatures.join(" or ");
    PyTypeError::new_err(format!(
        "{name}() received an invalid combination of arguments - got ({}), but expected {expected}",
        shown.join(", ")
    ))
}

/// The values for one signature, or why it does not take the arguments.
fn matched(signature: &Signature, given: &Given) -> PyResult<Result<Values, String>> {
    let mut values = Values::new();
    let mut positional = given.receiver.iter().chain(given.positional).peekable();
    let mut used = 0;
    for parameter in &signature.parameters {
        let by_name = given.named.iter().find(|(name, _)| names(parameter, name));
        let value = if parameter.kind == Kind::ManyTensors {
            let mut tensors = Vec::new();
            while let Some(Ok(t)) = positional.peek().map(|o| o.cast::<PyTensor>()) {
                tensors.push(t.get().get().clone());
                positional.next();
            }
            Ok(Value::Tensors(tensors))
        } else if parameter.keyword_only || positional.peek().is_none() {
            match by_name {
                Some((_, object)) => {
                    used += 1;
                    value(parameter, object)?
                }
                None => default(parameter),
            }
        } else if by_name.is_some() {
            return Ok(Err(format!("got multiple values for argument '{}'", parameter.name)));
        } else if parameter.is_variadic() && positional.peek().is_some_and(|o| is_size(o)) {
            let mut ints = SmallVec::new();
            while let Some(i) = positional.peek().and_then(|o| convert::integer(o)) {
                ints.push(i);
                positional.next();
            }
            Ok(Value::Ints(ints))
        } else if parameter.is_variadic_tensors() && positional.peek().is_some_and(|o| tensor(o).is_some()) {
            let mut all = Vec::new();
            while let Some(Value::Tensor(t)) = positional.peek().and_then(|o| tensor(o)) {
                all.push(t);
                positional.next();
            }
            Ok(Value::Tensors(all))
        } else if let Some(object) = positional.next() {
            value(parameter, object)?
        } else {
            default(parameter)
        };
        match value {
            Ok(value) => values.push(value),
            Err(why) => return Ok(Err(why)),
        }
    }
    if positional.peek().is_some() {
        let count = signature.parameters.iter().filter(|p| !p.keyword_only).count();
        return Ok(Err(format!("takes {count} positional arguments but {} were given", given.positional.len())));
    }
    if used != given.named.len() {
        let known = |name: &String| signature.parameters.iter().any(|p| names(p, name));
        let unknown = given.named.iter().find(|(n, _)| !known(n)).map_or("", |(n, _)| n.as_str());
        return Ok(Err(format!("got an unexpected keyword argument '{unknown}'")));
    }
    Ok(Ok(values))
}

/// An integer that is no truth value.
fn is_size(object: &Bound<'_, PyAny>) -> bool {
    !object.is_instance_of::<PyBool>() && convert::integer(object).is_some()
}

/// torch takes NumPy's names for some parameters, and `input` for the tensor of a function.
fn names(parameter: &Parameter, given: &str) -> bool {
    parameter.name == given
        || matches!(
            (parameter.name, given),
            ("self", "input") | ("dim", "axis") | ("keepdim", "keepdims") | ("split_size", "split_size_or_sections")
        )
}

fn default(parameter: &Parameter) -> Result<Value, String> {
    match parameter.default {
        Default::Required => Err(format!("missing required argument '{}'", parameter.name)),
        Default::None => Ok(Value::None),
        Default::Int(i) => Ok(Value::Number(Scalar::Int(i))),
        Default::Float(x) => Ok(Value::Number(Scalar::Float(x))),
        Default::Text(word) => Ok(Value::Text(word.into())),
        Default::Bool(b) => Ok(Value::Number(Scalar::Bool(b))),
    }
}

/// An argument as the parameter takes it, or why it does not.
fn value(parameter: &Parameter, object: &Bound<'_, PyAny>) -> PyResult<Result<Value, String>> {
    if object.is_none() && (parameter.optional || parameter.default == Default::None) {
        return Ok(Ok(Value::None));
    }
    let found = match parameter.kind {
        Kind::Tensor => tensor(object),
        Kind::Operand => match convert::other(object)? {
            Some(convert::Other::Tensor(t)) => Some(Value::Tensor(t.get().get().clone())),
            Some(convert::Other::Made(t)) => Some(Value::Tensor(t)),
            Some(convert::Other::Number(n)) => Some(Value::Number(n)),
            None => None,
        },
        Kind::Tensors => tensors(object)?,
        Kind::ManyTensors => None,
        Kind::Number => match convert::number(object)? {
            Some(n) => Some(Value::Number(n)),
            None => match object.cast::<PyTensor>() {
                Ok(t) if t.get().get().numel() == 1 && !t.get().get().requires_grad() => {
                    Some(Value::Number(t.get().get().item()?))
                }
                _ => None,
            },
        },
        Kind::Int if object.is_instance_of::<PyBool>() => None,
        Kind::Int => match convert::integer(object) {
            None if object.is_instance_of::<PyInt>() => {
                return Err(PyValueError::new_err(format!("Overflow when unpacking long long: {object}")));
            }
            i => i.map(|i| Value::Number(Scalar::Int(i as i64))),
        },
        Kind::Ints => ints(object)?,
        Kind::Size => {
            if convert::integer(object).is_some() {
                None
            } else {
                ints(object)?
            }
        }
        Kind::MaybeInts => maybe_ints(object)?,
        Kind::Lists => lists(object)?,
        Kind::Order => match object.extract::<String>() {
            Ok(word) => Some(Value::Text(word)),
            Err(_) => convert::number(object)?.map(Value::Number),
        },
        Kind::Numbers => numbers(object)?,
        Kind::Bool => match convert::number(object)? {
            Some(Scalar::Bool(b)) => Some(Value::Number(Scalar::Bool(b))),
            _ => None,
        },
        Kind::DType => dtype(object).map(Value::DType),
        Kind::Text => object.extract::<String>().ok().map(Value::Text),
        Kind::Device => device::check(object)?.then_some(Value::None),
        Kind::Layout => device::check_layout(object)?.then_some(Value::None),
        Kind::MemoryFormat => device::memory_format(object)?.map(|name| Value::Text(name.into())),
        Kind::Generator => object.cast::<PyGenerator>().ok().map(|g| Value::Generator(g.get().0.clone())),
    };
    Ok(found.ok_or_else(|| {
        let given = object.get_type().name().map_or("?".into(), |n| n.to_string());
        format!("argument '{}' must be {}, not {given}", parameter.name, expected(parameter.kind))
    }))
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Tensor => "Tensor",
        Kind::Operand => "Tensor or Number",
        Kind::Tensors | Kind::ManyTensors => "tuple of Tensors",
        Kind::Number => "Number",
        Kind::Int => "int",
        Kind::Ints | Kind::Size => "tuple of ints",
        Kind::MaybeInts => "tuple of ints or None",
        Kind::Lists => "tuple of tuples of ints",
        Kind::Order => "Number or str",
        Kind::Numbers => "tuple of Numbers",
        Kind::Bool => "bool",
        Kind::DType => "torch.dtype",
        Kind::Text => "str",
        Kind::Device => "torch.device",
        Kind::Layout => "torch.layout",
        Kind::MemoryFormat => "torch.memory_format",
        Kind::Generator => "torch.Generator",
    }
}

fn tensor(object: &Bound<'_, PyAny>) -> Option<Value> {
    object.cast::<PyTensor>().ok().map(|t| Value::Tensor(t.get().get().clone()))
}

fn tensors(object: &Bound<'_, PyAny>) -> PyResult<Option<Value>> {
    if !object.is_instance_of::<PyList>() && !object.is_instance_of::<PyTuple>() {
        return Ok(None);
    }
    let mut all = Vec::new();
    for item in object.try_iter()? {
        match item?.cast::<PyTensor>() {
            Ok(t) => all.push(t.get().get().clone()),
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(Value::Tensors(all)))
}

fn ints(object: &Bound<'_, PyAny>) -> PyResult<Option<Value>> {
    if object.is_instance_of::<PyBool>() {
        return Ok(None);
    }
    if let Some(i) = convert::integer(object) {
        return Ok(Some(Value::Ints(smallvec::smallvec![i])));
    }
    if !object.is_instance_of::<PyList>() && !object.is_instance_of::<PyTuple>() {
        return Ok(None);
    }
    let mut all = SmallVec::new();
    for item in object.try_iter()? {
        match convert::integer(&item?) {
            Some(i) => all.push(i),
            None => return Ok(None),
        }
    }
    Ok(Some(Value::Ints(all)))
}

/// As [`ints`], with [`Arguments::SAME`] for None.
fn maybe_ints(object: &Bound<'_, PyAny>) -> PyResult<Option<Value>> {
    if !object.is_instance_of::<PyList>() && !object.is_instance_of::<PyTuple>() {
        return ints(object);
    }
    let mut all = SmallVec::new();
    for item in object.try_iter()? {
        let item = item?;
        match convert::integer(&item) {
            Some(i) => all.push(i),
            None if item.is_none() => all.push(Arguments::SAME),
            None => return Ok(None),
        }
    }
    Ok(Some(Value::Ints(all)))
}

fn lists(object: &Bound<'_, PyAny>) -> PyResult<Option<Value>> {
    if !object.is_instance_of::<PyList>() && !object.is_instance_of::<PyTuple>() {
        return Ok(None);
    }
    let mut all = Vec::new();
    for item in object.try_iter()? {
        match ints(&item?)? {
            Some(Value::Ints(list)) => all.push(list),
            _ => return Ok(None),
        }
    }
    Ok(Some(Value::Lists(all)))
}

fn numbers(object: &Bound<'_, PyAny>) -> PyResult<Option<Value>> {
    if let Some(n) = convert::number(object)? {
        return Ok(Some(Value::Numbers(vec![n])));
    }
    if !object.is_instance_of::<PyList>() && !object.is_instance_of::<PyTuple>() {
        return Ok(None);
    }
    let mut all = Vec::new();
    for item in object.try_iter()? {
        match convert::number(&item?)? {
            Some(n) => all.push(n),
            None => return Ok(None),
        }
    }
    Ok(Some(Value::Numbers(all)))
}

/// A dtype, also by Python's own types.
pub fn dtype(object: &Bound<'_, PyAny>) -> Option<DType> {
    if let Ok(d) = object.cast::<PyDType>() {
        return Some(d.get().0);
    }
    let object = object.as_ptr();
    let classes = [
        (&raw mut ffi::PyBool_Type, DType::Bool),
        (&raw mut ffi::PyLong_Type, DType::I64),
        (&raw mut ffi::PyFloat_Type, DType::F64),
    ];
    classes.into_iter().find(|(class, _)| object == class.cast()).map(|(_, dtype)| dtype)
}
