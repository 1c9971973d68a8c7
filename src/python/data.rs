//! Tensors of what Python calls data: numbers, nested sequences of them, arrays and tensors.

use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFloat, PyList, PyString, PyTuple};

use super::convert::{number, ok};
use super::error::guarded;
use super::numpy;
use super::tensor::PyTensor;
use crate::error::Error;
use crate::memory::grow;
use crate::ops::{cast, copy};
use crate::tensor::Tensor;
use crate::tensor::dtype::{Category, DType};
use crate::tensor::scalar::Scalar;

/// The operation that messages name.
const OP: &str = "tensor";

/// Nesting that no tensor has; a list that holds itself reaches it.
const DEEPEST: usize = 128;

/// The numbers of nested sequences and their shape.
struct Data {
    numbers: Vec<Scalar>,
    shape: Vec<usize>,
    /// The dtype that the call names.
    asked: Option<DType>,
    /// The dtype that holds what was found so far.
    found: Option<DType>,
    /// An integer beyond int64.
    large: Option<Large>,
}

/// An integer that is no number of int64, and perhaps none of float64.
struct Large {
    shown: String,
    is_float: bool,
}

/// A tensor of data, copied: a number, nested sequences of numbers and tensors, an array, or a tensor.
///
/// # Errors
/// For ragged sequences, for what is not a number, and for numbers that the dtype cannot hold.
pub fn tensor(object: &Bound<'_, PyAny>, dtype: Option<DType>) -> PyResult<Tensor> {
    if let Ok(t) = object.cast::<PyTensor>() {
        let t = t.get().get().detach();
        return ok(guarded(OP, || cast::to(&copy::clone(&t)?, dtype.unwrap_or(t.dtype()))));
    }
    if numpy::is_array(object) && !matches!(number(object), Ok(Some(_))) {
        let shared = numpy::from_array(object, true)?;
        return ok(guarded(OP, || cast::to(&copy::contiguous_copy(&shared)?, dtype.unwrap_or(shared.dtype()))));
    }
    if object.is_instance_of::<PyString>() || object.is_instance_of::<PyBytes>() {
        let name = object.get_type().name()?;
        return Err(PyTypeError::new_err(format!("new(): invalid data type '{name}': expected numbers or sequences")));
    }
    let mut data = Data { numbers: Vec::new(), shape: Vec::new(), asked: dtype, found: None, large: None };
    data.collect(object, 0)?;
    let dtype = dtype.or(data.found).unwrap_or_else(crate::tensor::default_dtype);
    data.check_large(dtype)?;
    if !dtype.is_floating_point() {
        data.numbers.iter().try_for_each(|n| n.check_fits(OP, dtype))?;
    }
    ok(guarded(OP, || Tensor::from_scalars(&data.numbers, &data.shape, dtype)))
}

impl Data {
    /// Adds an object, which stands `depth` sequences deep.
    fn collect(&mut self, object: &Bound<'_, PyAny>, depth: usize) -> PyResult<()> {
        if let Some((n, dtype)) = self.number(object)? {
            return self.leaf(n, dtype, depth);
        }
        if let Ok(t) = object.cast::<PyTensor>() {
            let t = t.get().get();
            // A tensor of a single number stands for that number where one can stand.
            if t.numel() == 1 && (t.rank() == 0 || depth == self.shape.len()) {
                self.whole(object, t.dtype())?;
                return self.leaf(ok(guarded(OP, || t.item()))?, t.dtype(), depth);
            }
            return self.tensor(t, depth);
        }
        if !object.is_instance_of::<PyString>() && numpy::is_array(object) {
            return self.tensor(&numpy::from_array(object, true)?, depth);
        }
        self.open(self.length(object, depth)?, depth)?;
        if let Ok(list) = object.cast::<PyList>() {
            return list.iter().try_for_each(|item| self.collect(&item, depth + 1));
        }
        if let Ok(tuple) = object.cast::<PyTuple>() {
            return tuple.iter().try_for_each(|item| self.collect(&item, depth + 1));
        }
        (0..object.len()?).try_for_each(|i| self.collect(&object.get_item(i)?, depth + 1))
    }

    /// A Python number and its dtype, if the object is one. Integers beyond int64 are read as floats, and noted.
    fn number(&mut self, object: &Bound<'_, PyAny>) -> PyResult<Option<(Scalar, DType)>> {
        match number(object) {
            Ok(Some(Scalar::Unsigned(_))) => {}
            Err(e) if e.is_instance_of::<PyOverflowError>(object.py()) => {}
            found => {
                let Some(n) = found? else { return Ok(None) };
                if !object.is_instance_of::<PyFloat>() {
                    self.whole(object, n.dtype())?;
                }
                return Ok(Some((n, numpy::scalar_dtype(object).unwrap_or(n.dtype()))));
            }
        }
        let float: PyResult<f64> = object.extract();
        // The one that no float holds is the worse.
        if self.large.is_none() || float.is_err() {
            self.large = Some(Large { shown: object.to_string(), is_float: float.is_ok() });
        }
        Ok(Some((Scalar::Float(float.unwrap_or(f64::INFINITY)), DType::I64)))
    }

    /// An error for floats among integers: Python's own are cut, and no others.
    fn whole(&self, object: &Bound<'_, PyAny>, dtype: DType) -> PyResult<()> {
        let cuts = self.asked.is_some_and(|asked| asked.category() == Category::Integer) && dtype.is_floating_point();
        if !cuts {
            return Ok(());
        }
        let name = object.get_type().name()?;
        Err(PyTypeError::new_err(format!("{OP}: '{name}' object cannot be interpreted as an integer: {object}")))
    }

    /// Integers beyond int64 are numbers of floats, and true; an error where the tensor is of other numbers.
    fn check_large(&self, dtype: DType) -> PyResult<()> {
        match &self.large {
            Some(n) if dtype.is_floating_point() && !n.is_float => {
                Err(PyOverflowError::new_err(format!("{OP}: int too large to convert to float: {}", n.shown)))
            }
            Some(n) if !dtype.is_floating_point() && dtype != DType::Bool => {
                let shown = &n.shown;
                Err(PyValueError::new_err(format!(
                    "{OP}: Overflow when unpacking long long: {shown} does not fit int64"
                )))
            }
            _ => Ok(()),
        }
    }

    /// An error where numbers do not stand so many sequences deep.
    fn deepest(&self, depth: usize) -> PyResult<()> {
        let Some(expected) = self.shape.get(depth) else { return Ok(()) };
        let what = format!("expected sequence of length {expected} at dim {depth} (got a number)");
        Err(PyTypeError::new_err(Error::Data { op: OP, what }.to_string()))
    }

    /// Adds one number.
    fn leaf(&mut self, n: Scalar, dtype: DType, depth: usize) -> PyResult<()> {
        self.deepest(depth)?;
        self.holds(dtype);
        ok(grow(OP, &mut self.numbers, 1))?;
        self.numbers.push(n);
        Ok(())
    }

    /// Adds the numbers of a tensor or an array, as a sequence of sequences.
    fn tensor(&mut self, t: &Tensor, depth: usize) -> PyResult<()> {
        let open: Vec<usize> = t.shape().iter().scan(true, |more, &n| more.then(|| (*more = n > 0, n).1)).collect();
        open.iter().enumerate().try_for_each(|(i, &size)| self.open(size, depth + i))?;
        if t.numel() > 0 {
            self.deepest(depth + t.rank())?;
        }
        self.holds(t.dtype());
        let numbers = ok(guarded(OP, || t.to_scalars()))?;
        ok(grow(OP, &mut self.numbers, numbers.len()))?;
        self.numbers.extend(numbers);
        Ok(())
    }

    /// A sequence of so many items begins.
    fn open(&mut self, length: usize, depth: usize) -> PyResult<()> {
        match self.shape.get(depth) {
            Some(&expected) if expected != length => {
                let what = format!("expected sequence of length {expected} at dim {depth} (got {length})");
                Err(Error::Data { op: OP, what }.into())
            }
            Some(_) => Ok(()),
            None if self.numbers.is_empty() => {
                self.shape.push(length);
                Ok(())
            }
            None => {
                let what = format!("expected a number at dim {depth}, got a sequence");
                Err(PyTypeError::new_err(Error::Data { op: OP, what }.to_string()))
            }
        }
    }

    /// The length of a sequence; an error for what is none, also for text, of another class where it stands beside numbers.
    fn length(&self, object: &Bound<'_, PyAny>, depth: usize) -> PyResult<usize> {
        let name = object.get_type().name()?;
        if object.is_instance_of::<PyString>() || object.is_instance_of::<PyBytes>() {
            return Err(if !self.numbers.is_empty() || object.is_instance_of::<PyBytes>() {
                PyTypeError::new_err(format!("new(): invalid data type '{name}': expected a number"))
            } else {
                PyValueError::new_err(format!("tensor: too many dimensions '{name}': expected numbers"))
            });
        }
        // SAFETY: the object is alive.
        let is_sequence = unsafe { ffi::PySequence_Check(object.as_ptr()) } == 1;
        if !is_sequence {
            let expected = "expected a number, a sequence of numbers, an array or a tensor";
            return Err(match self.asked {
                Some(dtype) => PyTypeError::new_err(format!("{OP}: {name} is no number of {dtype}: {expected}")),
                None => PyRuntimeError::new_err(format!("{OP}: Could not infer dtype of {name}: {expected}")),
            });
        }
        if depth >= DEEPEST {
            return Err(PyValueError::new_err(format!(
                "tensor: too many dimensions '{name}': the data is nested deeper than {DEEPEST} levels"
            )));
        }
        object.len()
    }

    fn holds(&mut self, dtype: DType) {
        self.found = Some(self.found.map_or(dtype, |d| d.promote(dtype)));
    }
}
