//! Arguments of a call matched with an operation's signatures.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyList, PyTuple};
use smallvec::SmallVec;

use super::convert;
use super::device;
use super::dtype::PyDType;
use super::error::of_argument;
use super::old_forms;
use super::random::PyGenerator;
use super::signature::{Default, Entry, Kind, Parameter, Signature};
use super::tensor::PyTensor;
use crate::error::Error;
use crate::memory::{NAMELESS, ask, grow};
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

impl Given<'_, '_> {
    /// True where one of the arguments is a tensor that requires a gradient.
    fn requires_grad(&self) -> bool {
        let named = self.named.iter().map(|(_, object)| object);
        let mut all = self.receiver.iter().chain(self.positional).chain(named);
        all.any(|o| o.cast::<PyTensor>().is_ok_and(|t| t.get().get().requires_grad()))
    }
}

/// The values of a matched call.
pub type Values = SmallVec<[Value; 6]>;

/// Why a signature does not take the arguments of a call.
pub(super) enum Refusal {
    /// There are too many, too few, or some of unknown names: what follows the operation's name in the message.
    Count(String),
    /// One is of another type.
    Type(String),
    /// One is of the right type, and has a value that no signature takes.
    Value(PyErr),
}

impl From<PyErr> for Refusal {
    fn from(error: PyErr) -> Self {
        Refusal::Value(error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Value(error.into())
    }
}

/// Tries the signatures in order; gives the number of the one that takes the arguments, and writes their values.
///
/// # Errors
/// `TypeError` that shows what was given and the signatures, where none does.
pub fn bind(entry: &Entry, given: &Given, values: &mut Values) -> PyResult<usize> {
    let mut refusals = SmallVec::<[Refusal; 2]>::new();
    for (n, signature) in entry.signatures.iter().enumerate() {
        match matched(signature, given, values) {
            Ok(()) => return Ok(n),
            Err(why) => refusals.push(why),
        }
    }
    old_forms::of_old_form(entry, given, values)?.ok_or_else(|| mismatch(entry, given, refusals))
}

/// The error where no signature takes the arguments: the reason of the only one that it can have been, or those of all.
#[cold]
fn mismatch(entry: &Entry, given: &Given, refusals: SmallVec<[Refusal; 2]>) -> PyErr {
    let name = entry.operation.name;
    let (mut reasons, mut types) = (Vec::new(), 0);
    for refusal in refusals {
        match refusal {
            Refusal::Value(error) => return of_argument(name, error),
            Refusal::Type(why) => {
                types += 1;
                reasons.push((true, why));
            }
            Refusal::Count(why) => reasons.push((false, why)),
        }
    }
    let only = reasons.iter().find(|(is_type, _)| reasons.len() == 1 || types == 1 && *is_type);
    if let Some((is_type, why)) = only {
        let colon = if *is_type { ":" } else { "" };
        return PyTypeError::new_err(format!("{name}(){colon} {why}"));
    }
    let mut shown: Vec<String> = given.positional.iter().map(|o| type_name(o)).collect();
    shown.extend(given.named.iter().map(|(n, o)| format!("{n}={}", type_name(o))));
    let is_method = given.receiver.is_some();
    let one =
        |(signature, (_, why)): (&Signature, &(bool, String))| format!("\n * {}: {why}", signature.shown(is_method));
    let expected: String = entry.signatures.iter().zip(&reasons).map(one).collect();
    PyTypeError::new_err(format!(
        "{name}() received an invalid combination of arguments - got ({}), but expected one of:{expected}",
        shown.join(", ")
    ))
}

/// The name of an object's class.
pub fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or("?".into(), |n| n.to_string())
}

/// Where an argument stands, for messages: the tensor of a method is not counted.
#[derive(Clone, Copy)]
struct Place<'a> {
    parameter: &'a Parameter,
    /// Its number from 1, where it is not given by name.
    position: Option<usize>,
}

impl Place<'_> {
    fn is_not(self, found: impl std::fmt::Display) -> Refusal {
        let at = self.position.map_or(String::new(), |n| format!(" (position {n})"));
        let expected = expected(self.parameter.kind);
        Refusal::Type(format!("argument '{}'{at} must be {expected}, {found}", self.parameter.shown_name()))
    }

    /// An item of a sequence is of another type.
    fn holds(self, item: &Bound<'_, PyAny>, n: usize) -> Refusal {
        self.is_not(format_args!("but found element of type {} at pos {n}", shown_type(item)))
    }
}

/// The name of an object's class; an integer that is too large is shown.
pub fn shown_type(object: &Bound<'_, PyAny>) -> String {
    if is_large(object) { format!("int ({object} does not fit int64)") } else { type_name(object) }
}

/// Writes the values for one signature, or says why it does not take the arguments.
pub(super) fn matched(signature: &Signature, given: &Given, values: &mut Values) -> Result<(), Refusal> {
    values.clear();
    let mut positional = given.receiver.iter().chain(given.positional).peekable();
    let receivers = usize::from(given.receiver.is_some());
    let (mut taken, mut used) = (0_usize, 0);
    // A value that does not do is told of where all types do.
    let mut failed = None;
    let mut typed = |found| match found {
        Err(Refusal::Value(error)) => {
            failed.get_or_insert(error);
            Ok(Value::None)
        }
        found => found,
    };
    for parameter in &signature.parameters {
        let by_name = given.named.iter().find(|(name, _)| names(parameter, name));
        let mut place = Place { parameter, position: Some((taken + 1).saturating_sub(receivers)) };
        let value = if parameter.kind == Kind::ManyTensors {
            let mut tensors = Vec::new();
            for object in positional.by_ref() {
                taken += 1;
                match object.cast::<PyTensor>() {
                    Ok(t) => tensors.push(t.get().get().clone()),
                    Err(_) => return Err(place.holds(object, taken)),
                }
            }
            Value::Tensors(tensors)
        } else if parameter.keyword_only || positional.peek().is_none() {
            place.position = None;
            match by_name {
                Some((_, object)) => {
                    used += 1;
                    if parameter.is_variadic() && parameter.default == Default::Required && is_size(object) {
                        return Err(place.is_not(format_args!("not int")));
                    }
                    typed(argument(place, object, given))?
                }
                None => default(signature, parameter, given)?,
            }
        } else if by_name.is_some() {
            return Err(Refusal::Count(format!("got multiple values for argument '{}'", parameter.shown_name())));
        } else if let Some((value, count)) = spread(place, signature, given, positional.clone())? {
            positional.by_ref().take(count).for_each(drop);
            taken += count;
            value
        } else if let Some(object) = positional.next() {
            taken += 1;
            typed(argument(place, object, given))?
        } else {
            default(signature, parameter, given)?
        };
        values.push(value);
    }
    if positional.peek().is_some() || used != given.named.len() {
        return Err(left_over(signature, given, positional.peek().is_some()));
    }
    failed.map_or(Ok(()), |error| Err(Refusal::Value(error)))
}

/// Sizes or tensors that are given as so many arguments, and how many, where the parameter and the next argument are so.
fn spread<'a, 'py: 'a>(
    place: Place,
    signature: &Signature,
    given: &Given,
    mut next: impl Iterator<Item = &'a Borrowed<'a, 'py, PyAny>> + Clone,
) -> Result<Option<(Value, usize)>, Refusal> {
    let parameter = place.parameter;
    // As in torch, integers that are all that a method takes need no brackets.
    let is_alone = given.receiver.is_some() && signature.parameters.len() == 2 && parameter.kind == Kind::Ints;
    let is_last = signature.is_last(parameter);
    let (of_ints, of_tensors) = (parameter.is_variadic() || is_alone, parameter.is_variadic_tensors());
    let Some(first) = next.clone().next().filter(|_| of_ints || of_tensors) else { return Ok(None) };
    if of_ints && is_size(first) {
        let mut ints = SmallVec::new();
        for object in next {
            match convert::integer(object) {
                Some(i) => ints.push(i),
                None if is_last => return Err(place.holds(object, ints.len() + 1)),
                None => break,
            }
        }
        let count = ints.len();
        return Ok(Some((Value::Ints(ints), count)));
    }
    if of_tensors && tensor(first).is_some() {
        let mut all = Vec::new();
        while let Some(Value::Tensor(t)) = next.next().and_then(|o| tensor(o)) {
            all.push(t);
        }
        let count = all.len();
        return Ok(Some((Value::Tensors(all), count)));
    }
    Ok(None)
}

/// Why a signature does not take a call with arguments left over, by position or by name.
fn left_over(signature: &Signature, given: &Given, by_position: bool) -> Refusal {
    if by_position {
        let places = signature.parameters.iter().filter(|p| !p.keyword_only).count();
        let count = places.saturating_sub(usize::from(given.receiver.is_some()));
        let arguments = if count == 1 { "argument" } else { "arguments" };
        let given = given.positional.len();
        let were = if given == 1 { "was" } else { "were" };
        return Refusal::Count(format!("takes {count} positional {arguments} but {given} {were} given"));
    }
    let known = |name: &String| signature.parameters.iter().any(|p| names(p, name));
    let unknown = given.named.iter().find(|(n, _)| !known(n)).map_or("", |(n, _)| n.as_str());
    Refusal::Count(format!("got an unexpected keyword argument '{unknown}'"))
}

/// An integer that is no truth value.
fn is_size(object: &Bound<'_, PyAny>) -> bool {
    !object.is_instance_of::<PyBool>() && convert::integer(object).is_some()
}

/// A tensor that is one of a list of numbers, not a number.
fn has_dimensions(object: &Bound<'_, PyAny>) -> bool {
    object.cast::<PyTensor>().is_ok_and(|t| t.get().get().rank() > 0)
}

/// An integer beyond int64.
fn is_large(object: &Bound<'_, PyAny>) -> bool {
    object.is_instance_of::<PyInt>() && convert::integer(object).is_none()
}

/// torch takes NumPy's names for some parameters.
fn names(parameter: &Parameter, given: &str) -> bool {
    parameter.shown_name() == given
        || matches!(
            (parameter.shown_name(), given),
            ("input", "x" | "a" | "x1")
                | ("other", "x2")
                | ("dim", "axis")
                | ("keepdim", "keepdims")
                | ("split_size", "split_size_or_sections")
        )
}

/// What a parameter is where it is not given; where it must be, all that miss are named.
fn default(signature: &Signature, parameter: &Parameter, given: &Given) -> Result<Value, Refusal> {
    Ok(match parameter.default {
        Default::Required => {
            let named = |p: &Parameter| given.named.iter().any(|(name, _)| names(p, name));
            let from = signature.parameters.iter().skip_while(|p| p.name != parameter.name);
            let missing = from.filter(|p| p.default == Default::Required && !named(p));
            let all: Vec<String> = missing.map(|p| format!("\"{}\"", p.shown_name())).collect();
            let (count, all) = (all.len(), all.join(", "));
            return Err(Refusal::Count(format!("missing {count} required positional arguments: {all}")));
        }
        Default::None => Value::None,
        Default::Int(i) => Value::Number(Scalar::Int(i)),
        Default::Float(x) => Value::Number(Scalar::Float(x)),
        Default::Text(word) => Value::Text(word.into()),
        Default::Bool(b) => Value::Number(Scalar::Bool(b)),
    })
}

/// An argument of a call: arrays among operands are copied where one beside them requires a gradient.
fn argument(place: Place, object: &Bound<'_, PyAny>, given: &Given) -> Result<Value, Refusal> {
    match value(place, object)? {
        Value::Tensor(t) if place.parameter.kind == Kind::Operand && object.cast::<PyTensor>().is_err() => {
            Ok(Value::Tensor(convert::operand(t, || given.requires_grad())?))
        }
        found => Ok(found),
    }
}

/// A number, or a tensor of one that nobody differentiates.
fn argument_number(object: &Bound<'_, PyAny>) -> Result<Option<Scalar>, Refusal> {
    if let Some(n) = convert::number(object)? {
        return Ok(Some(n));
    }
    let tensor = object.cast::<PyTensor>().ok().map(|t| t.get().get()).filter(|t| t.rank() == 0 && !t.requires_grad());
    Ok(tensor.map(crate::tensor::Tensor::item).transpose()?)
}

/// An argument as the parameter takes it, or why it does not.
fn value(place: Place, object: &Bound<'_, PyAny>) -> Result<Value, Refusal> {
    let parameter = place.parameter;
    if object.is_none() && (parameter.optional || parameter.default == Default::None) {
        // A truth value that may be None means its default then.
        return Ok(match parameter.default {
            Default::Bool(b) => Value::Number(Scalar::Bool(b)),
            _ => Value::None,
        });
    }
    let found = match parameter.kind {
        Kind::Tensor => tensor(object),
        Kind::Operand => match convert::other(object)? {
            Some(convert::Other::Tensor(t)) => Some(Value::Tensor(t.get().get().clone())),
            Some(convert::Other::Made(t)) => Some(Value::Tensor(t)),
            Some(convert::Other::Number(n)) => Some(Value::Number(n)),
            None => None,
        },
        Kind::Tensors => tensors(place, object)?,
        Kind::ManyTensors => None,
        Kind::Number => argument_number(object)?.map(Value::Number),
        Kind::Float if object.is_instance_of::<PyInt>() && !object.is_instance_of::<PyBool>() => {
            Some(Value::Number(Scalar::Float(object.extract()?)))
        }
        Kind::Float => argument_number(object)?.map(|n| Value::Number(Scalar::Float(n.as_f64()))),
        Kind::Int if object.is_instance_of::<PyBool>() || has_dimensions(object) => None,
        Kind::Int => whole(object)?.map(|i| Value::Number(Scalar::Int(i as i64))),
        Kind::Ints if parameter.is_variadic() && is_large(object) => return Err(place.holds(object, 1)),
        Kind::Ints => ints(place, object)?,
        Kind::Size if convert::integer(object).is_some() || is_large(object) => None,
        Kind::Size => ints(place, object)?,
        Kind::MaybeInts => maybe_ints(place, object)?,
        Kind::Lists => lists(place, object)?,
        Kind::Order => match object.extract::<String>() {
            Ok(word) => Some(Value::Text(word)),
            Err(_) => convert::number(object)?.map(Value::Number),
        },
        Kind::Numbers => numbers(place, object)?,
        Kind::Bool => convert::truth(object)?.map(|b| Value::Number(Scalar::Bool(b))),
        Kind::DType => dtype(object).map(Value::DType),
        Kind::Text => object.extract::<String>().ok().map(Value::Text),
        Kind::Device => device::check(object)?.then_some(Value::None),
        Kind::Layout => device::check_layout(object)?.then_some(Value::None),
        Kind::MemoryFormat => device::memory_format(object).map(|name| Value::Text(name.into())),
        Kind::Generator => object.cast::<PyGenerator>().ok().map(|g| Value::Generator(g.get().0.clone())),
    };
    found.ok_or_else(|| place.is_not(format_args!("not {}", type_name(object))))
}

/// What messages call the values of a kind.
pub fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Tensor => "Tensor",
        Kind::Operand => "Tensor or Number",
        Kind::Tensors | Kind::ManyTensors => "tuple of Tensors",
        Kind::Number => "Number",
        Kind::Float => "float",
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

/// A list that says where there is no memory for another item.
trait Growing<T>: std::default::Default + Extend<T> {
    fn room(&mut self) -> crate::Result<()>;
}

impl<T> Growing<T> for Vec<T> {
    fn room(&mut self) -> crate::Result<()> {
        grow(NAMELESS, self, 1)
    }
}

impl<T> Growing<T> for SmallVec<[T; 4]> {
    fn room(&mut self) -> crate::Result<()> {
        let bytes = (self.len() + 1) * size_of::<T>();
        if self.len() < self.capacity() { Ok(()) } else { ask(NAMELESS, bytes, || self.try_reserve(1)) }
    }
}

/// The items of a list or tuple, each as `read` takes it.
fn sequence<T, All: Growing<T>>(
    place: Place,
    object: &Bound<'_, PyAny>,
    mut read: impl FnMut(&Bound<'_, PyAny>) -> Result<Option<T>, Refusal>,
) -> Result<Option<All>, Refusal> {
    if !object.is_instance_of::<PyList>() && !object.is_instance_of::<PyTuple>() {
        return Ok(None);
    }
    let mut all = All::default();
    for (n, item) in object.try_iter()?.enumerate() {
        let item = item?;
        let item = read(&item)?.ok_or_else(|| place.holds(&item, n + 1))?;
        all.room()?;
        all.extend([item]);
    }
    Ok(Some(all))
}

fn tensors(place: Place, object: &Bound<'_, PyAny>) -> Result<Option<Value>, Refusal> {
    let one = |item: &Bound<'_, PyAny>| Ok(item.cast::<PyTensor>().ok().map(|t| t.get().get().clone()));
    Ok(sequence(place, object, one)?.map(Value::Tensors))
}

/// An integer, which must fit int64.
fn whole(object: &Bound<'_, PyAny>) -> PyResult<Option<isize>> {
    match convert::integer(object) {
        None if is_large(object) => {
            Err(PyValueError::new_err(format!("Overflow when unpacking long long: {object} does not fit int64")))
        }
        found => Ok(found),
    }
}

/// One integer, or a sequence of them, which begins with no truth value.
fn integers(place: Place, object: &Bound<'_, PyAny>) -> Result<Option<SmallVec<[isize; 4]>>, Refusal> {
    if object.is_instance_of::<PyBool>() {
        return Ok(None);
    }
    if let Some(i) = whole(object)? {
        return Ok(Some(smallvec::smallvec![i]));
    }
    let mut is_first = true;
    sequence(place, object, |item| {
        let is_truth = std::mem::take(&mut is_first) && item.is_instance_of::<PyBool>();
        Ok(if is_truth { None } else { convert::integer(item) })
    })
}

fn ints(place: Place, object: &Bound<'_, PyAny>) -> Result<Option<Value>, Refusal> {
    Ok(integers(place, object)?.map(Value::Ints))
}

/// As [`ints`], with [`Arguments::SAME`] for None.
fn maybe_ints(place: Place, object: &Bound<'_, PyAny>) -> Result<Option<Value>, Refusal> {
    if !object.is_instance_of::<PyList>() && !object.is_instance_of::<PyTuple>() {
        return ints(place, object);
    }
    let one = |item: &Bound<'_, PyAny>| Ok(if item.is_none() { Some(Arguments::SAME) } else { convert::integer(item) });
    Ok(sequence(place, object, one)?.map(Value::Ints))
}

fn lists(place: Place, object: &Bound<'_, PyAny>) -> Result<Option<Value>, Refusal> {
    Ok(sequence(place, object, |item| integers(place, item))?.map(Value::Lists))
}

fn numbers(place: Place, object: &Bound<'_, PyAny>) -> Result<Option<Value>, Refusal> {
    if let Some(n) = convert::number(object)? {
        return Ok(Some(Value::Numbers(vec![n])));
    }
    Ok(sequence(place, object, |item| Ok(convert::number(item)?))?.map(Value::Numbers))
}

/// An argument of a function that stands outside the table, which must be an integer.
///
/// # Errors
/// `TypeError` for what is none, `ValueError` for one that does not fit int64.
pub fn take_int(op: &str, name: &str, object: &Bound<'_, PyAny>) -> PyResult<isize> {
    let found = if object.is_instance_of::<PyBool>() { None } else { whole(object).map_err(|e| of_argument(op, e))? };
    found.ok_or_else(|| unlike(op, name, "int", object))
}

/// An argument of a function that stands outside the table, which must be a truth value.
///
/// # Errors
/// `TypeError` for what is none.
pub fn take_bool(op: &str, name: &str, object: &Bound<'_, PyAny>) -> PyResult<bool> {
    convert::truth(object)?.ok_or_else(|| unlike(op, name, "bool", object))
}

/// An argument of a function that stands outside the table, which must be a tensor.
///
/// # Errors
/// `TypeError` for what is none.
pub fn take_tensor<'a, 'py>(op: &str, name: &str, object: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyTensor>> {
    object.cast().map_err(|_| unlike(op, name, "Tensor", object))
}

/// An argument of a function that stands outside the table, which must be an element type.
///
/// # Errors
/// `TypeError` for what is none.
pub fn take_dtype(op: &str, name: &str, object: &Bound<'_, PyAny>) -> PyResult<DType> {
    dtype(object).ok_or_else(|| unlike(op, name, "torch.dtype", object))
}

/// The error for an argument of another type.
#[cold]
pub fn unlike(op: &str, name: &str, expected: &str, object: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!("{op}(): argument '{name}' must be {expected}, not {}", type_name(object)))
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
