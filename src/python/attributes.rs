//! What tensors answer about themselves beside their numbers: device, layout, sizes in bytes, Python's protocols.
#![allow(unsafe_op_in_unsafe_fn, reason = "what PyO3 makes of methods in a macro")]

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyComplex, PyInt, PyTuple};

use super::arguments::{shown_type, take_tensor};
use super::convert::{self, ok};
use super::data;
use super::device::{self, PyDevice};
use super::dtype::{self, PyDType};
use super::error::guarded;
use super::tensor::{PyTensor, wrap};
use crate::ops::{copy, view};
use crate::tensor::dtype::DType;
use crate::tensor::scalar::Scalar;
use crate::tensor::{Tensor, default_dtype};

#[pymethods]
impl PyTensor {
    /// Where the elements are.
    ///
    /// >>> ferrograd.ones(1).device
    /// device(type='cpu')
    #[getter(device)]
    fn where_it_is(&self) -> PyDevice {
        PyDevice::CPU
    }

    /// False: there are no tensors on a graphics card.
    ///
    /// >>> ferrograd.ones(1).is_cuda
    /// False
    #[getter]
    fn is_cuda(&self) -> bool {
        false
    }

    /// True: all tensors are on the CPU.
    ///
    /// >>> ferrograd.ones(1).is_cpu
    /// True
    #[getter]
    fn is_cpu(&self) -> bool {
        true
    }

    /// The elements and their history as a tensor of a class that is one of Tensor's, in the same memory.
    ///
    /// Raises: TypeError for other classes.
    ///
    /// >>> class Weight(ferrograd.Tensor):
    /// ...     pass
    /// >>> type(ferrograd.ones(2).as_subclass(Weight)).__name__
    /// 'Weight'
    fn as_subclass<'py>(slf: &Bound<'py, Self>, cls: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let of_class = slf.get_type().getattr("_make_subclass")?;
        let made = of_class.call1((cls, slf.call_method0("detach")?))?;
        PyTensor::replace(made.cast()?, ok(view::alias(slf.get().get()))?);
        Ok(made)
    }

    /// The tensor itself: it is on the CPU already.
    ///
    /// >>> x = ferrograd.ones(1)
    /// >>> x.cpu() is x
    /// True
    fn cpu(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// An error: there is no graphics card here.
    ///
    /// >>> ferrograd.ones(1).cuda()
    /// Traceback (most recent call last):
    /// ...
    /// AssertionError: ferrograd computes on the CPU only, got device cuda
    #[pyo3(signature = (*_args, **_kwargs))]
    fn cuda(&self, _args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        Err(device::absent("cuda", "cuda"))
    }

    /// The number of the device: -1, as the CPU has none.
    ///
    /// >>> ferrograd.ones(1).get_device()
    /// -1
    fn get_device(&self) -> i64 {
        -1
    }

    /// How the elements lie in memory.
    ///
    /// >>> ferrograd.ones(1).layout
    /// torch.strided
    #[getter]
    fn layout<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        device::strided(py)
    }

    /// False: elements that are zero take memory too.
    ///
    /// >>> ferrograd.ones(1).is_sparse
    /// False
    #[getter]
    fn is_sparse(&self) -> bool {
        false
    }

    /// Bytes an element takes.
    ///
    /// >>> ferrograd.ones(1).itemsize
    /// 4
    #[getter]
    fn itemsize(&self) -> usize {
        self.get().dtype().size()
    }

    /// Bytes the elements take.
    ///
    /// >>> ferrograd.ones(3).nbytes
    /// 12
    #[getter]
    fn nbytes(&self) -> usize {
        self.get().numel() * self.get().dtype().size()
    }

    /// The number of dimensions.
    ///
    /// >>> ferrograd.zeros(2, 3).ndimension()
    /// 2
    fn ndimension(&self) -> usize {
        self.get().rank()
    }

    /// True for complex dtypes.
    ///
    /// >>> ferrograd.ones(1).is_complex()
    /// False
    fn is_complex(&self) -> bool {
        self.get().dtype().category() == crate::tensor::dtype::Category::Complex
    }

    /// True for dtypes that hold negative numbers.
    ///
    /// >>> ferrograd.ones(1, dtype=ferrograd.uint8).is_signed()
    /// False
    fn is_signed(&self) -> bool {
        self.get().dtype().is_signed()
    }

    /// True where both have the same sizes.
    ///
    /// Raises TypeError for what is no tensor.
    ///
    /// >>> ferrograd.zeros(2, 3).is_same_size(ferrograd.zeros(3, 2))
    /// False
    fn is_same_size(&self, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let other = take_tensor("is_same_size", "other", other)?;
        Ok(self.get().shape() == other.get().get().shape())
    }

    /// The elements in reverse order along the first dimension, copied. OutOfMemoryError where there is no memory.
    ///
    /// >>> reversed(ferrograd.tensor([1, 2, 3]))
    /// tensor([3, 2, 1])
    fn __reversed__(slf: Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let t = slf.get().get();
        if t.rank() == 0 {
            return Ok(slf.into_any().unbind());
        }
        wrap(slf.py(), ok(guarded("flip", || crate::ops::arrange::flip(t, &[0])))?)
    }

    /// The only element as a complex number. ValueError for tensors of more elements or none.
    ///
    /// >>> complex(ferrograd.tensor([1.5]))
    /// (1.5+0j)
    fn __complex__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyComplex>> {
        Ok(PyComplex::from_doubles(py, convert::single(self.get())?.as_f64(), 0.0))
    }
}

/// A tensor on a copy of its memory, the one that `memo` has where another tensor on that memory was copied before.
fn copied(py: Python<'_>, t: &Tensor, memo: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    if t.batch().is_some() {
        return ok(guarded("deepcopy", || copy::clone(&t.detach())));
    }
    let key = ("memory of tensors", t.storage().address());
    let known = memo.call_method1("get", (key,))?;
    if !known.is_none() {
        let (_, whole): (Bound<'_, PyAny>, Bound<'_, PyTensor>) = known.extract()?;
        return Ok(whole.get().get().with_layout_of(t));
    }
    let whole = ok(guarded("deepcopy", || copy::memory("deepcopy", t)))?;
    // The address stays that of this memory as long as somebody has it.
    memo.set_item(key, (wrap(py, t.detach())?, wrap(py, whole.clone())?))?;
    Ok(whole.with_layout_of(t))
}

/// A tensor with the Python attributes that another has.
fn with_attributes<'py>(made: Bound<'py, PyAny>, attributes: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    made.getattr("__dict__")?.call_method1("update", (attributes,))?;
    Ok(made)
}

#[pymethods]
impl PyTensor {
    /// A leaf on the same memory, with the same attributes: what `copy.copy` gives. Raises nothing.
    ///
    /// >>> import copy
    /// >>> x = ferrograd.zeros(2)
    /// >>> copy.copy(x).data_ptr() == x.data_ptr()
    /// True
    fn __copy__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let t = slf.get().get();
        let copy = t.detach();
        ok(copy.set_requires_grad(t.requires_grad()))?;
        with_attributes(wrap(slf.py(), copy)?.into_bound(slf.py()), &slf.getattr("__dict__")?)
    }

    /// A leaf on memory of its own, with copies of the gradient and of the attributes: what `copy.deepcopy` gives. Tensors
    /// that share memory share the copy of it.
    ///
    /// Raises: RuntimeError for tensors with a history; OutOfMemoryError where there is no memory.
    ///
    /// >>> import copy
    /// >>> x = ferrograd.zeros(2)
    /// >>> copy.deepcopy(x).data_ptr() == x.data_ptr()
    /// False
    fn __deepcopy__<'py>(slf: &Bound<'py, Self>, memo: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let t = slf.get().get();
        if !t.is_leaf() {
            return Err(PyRuntimeError::new_err(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment; detach() it first",
            ));
        }
        let key = slf.as_ptr() as usize;
        let known = memo.call_method1("get", (key,))?;
        if !known.is_none() {
            return Ok(known);
        }
        let copy = copied(py, t, memo)?;
        ok(copy.set_requires_grad(t.requires_grad()))?;
        if let Some(g) = t.grad() {
            ok(copy.set_grad(Some(copied(py, &g, memo)?)))?;
        }
        let copy = wrap(py, copy)?.into_bound(py);
        memo.set_item(key, &copy)?;
        let attributes = py.import("copy")?.getattr("deepcopy")?.call1((slf.getattr("__dict__")?, memo))?;
        with_attributes(copy, &attributes)
    }

    /// The bytes of the elements in the order they have in memory, for pickling. What is read back is a leaf without hooks,
    /// of which a warning tells. RuntimeError within `vmap`, OutOfMemoryError where there is no memory.
    ///
    /// >>> import pickle
    /// >>> pickle.loads(pickle.dumps(ferrograd.tensor([1, 2])))
    /// tensor([1, 2])
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        py.import("ferrograd.utils.hooks")?.call_method1("warn_if_has_hooks", (slf,))?;
        let t = slf.get().get();
        let mut order: Vec<isize> = (0..t.rank() as isize).collect();
        if !t.is_contiguous() {
            order.sort_by_key(|&d| std::cmp::Reverse(t.strides()[d as usize]));
        }
        let straight = ok(view::permute(&t.detach(), &order))?;
        let rebuild = py.import("ferrograd._size")?.getattr("_rebuild")?;
        let bytes = convert::bytes(py, &ok(guarded("reduce", || straight.to_bytes()))?)?;
        let shape = PyTuple::new(py, straight.shape())?;
        let arguments = (bytes, shape, order, dtype::object(py, t.dtype())?, t.requires_grad());
        let attributes = slf.getattr("__dict__")?;
        let state = if attributes.is_truthy()? { Some(attributes) } else { None };
        Ok((rebuild, arguments, state).into_pyobject(py)?.into_any())
    }
}

/// What `Tensor(...)` makes of its arguments: zeros of the sizes given one by one or as a `Size`, the numbers of a sequence,
/// or another tensor's elements. `FloatTensor(...)` and its kin say of which dtype, which a tensor must have then.
pub fn construct(arguments: &Bound<'_, PyTuple>, asked: Option<DType>) -> PyResult<Tensor> {
    let dtype = asked.unwrap_or_else(default_dtype);
    let sizes: Option<Vec<isize>> =
        arguments.iter().map(|a| if a.is_instance_of::<PyBool>() { None } else { convert::integer(&a) }).collect();
    let is_tensor = arguments.len() == 1 && arguments.get_item(0)?.is_instance_of::<PyTensor>();
    if let (Some(sizes), false) = (sizes, is_tensor) {
        return zeros(if sizes.is_empty() { &[0] } else { &sizes }, dtype);
    }
    let (1, Ok(data)) = (arguments.len(), arguments.get_item(0)) else {
        return Err(not_sizes(arguments));
    };
    if let Ok(t) = data.cast::<PyTensor>() {
        let t = t.get().get();
        if asked.is_some_and(|d| d != t.dtype()) {
            return Err(PyTypeError::new_err(format!("new(): expected a tensor of {dtype}, got {}", t.dtype())));
        }
        return ok(view::alias(t));
    }
    if convert::is_size(&data)? {
        return zeros(&data.extract::<Vec<isize>>()?, dtype);
    }
    if data.is_instance_of::<PyInt>() && !data.is_instance_of::<PyBool>() {
        return Err(not_sizes(arguments));
    }
    if convert::number(&data)?.is_some() || data.is_none() || data.is_instance_of::<PyDType>() {
        let given = data.get_type().name()?;
        return Err(PyTypeError::new_err(format!("new(): data must be a sequence (got {given})")));
    }
    data::tensor(&data, Some(dtype))
}

/// The error for arguments that are no sizes: of the first that is none.
fn not_sizes(arguments: &Bound<'_, PyTuple>) -> PyErr {
    let wrong = arguments.iter().enumerate().find(|(_, a)| convert::integer(a).is_none());
    let what = wrong
        .map_or_else(String::new, |(n, a)| format!(", but found element of type {} at pos {}", shown_type(&a), n + 1));
    PyTypeError::new_err(format!("new(): argument 'size' must be tuple of ints{what}"))
}

/// How many have a tensor: its object, the node that accumulates its gradient, who keeps it as a gradient, its views.
#[pyfunction]
pub fn _use_count(tensor: &Bound<'_, PyTensor>) -> usize {
    tensor.get().get().owners()
}

/// Lets two objects stand for each other's tensors.
#[pyfunction]
pub fn _swap_tensor_impl(a: &Bound<'_, PyTensor>, b: &Bound<'_, PyTensor>) {
    PyTensor::swap(a, b);
}

/// What `FloatTensor(...)` and its kin make of their arguments.
#[pyfunction]
pub fn _legacy(py: Python<'_>, dtype: &Bound<'_, PyDType>, arguments: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    wrap(py, construct(arguments, Some(dtype.get().0))?)
}

fn zeros(sizes: &[isize], dtype: DType) -> PyResult<Tensor> {
    let size =
        |&s: &isize| usize::try_from(s).map_err(|_| crate::Error::SizeOverflow { op: "new", shape: sizes.to_vec() });
    let sizes: Vec<usize> = ok(sizes.iter().map(size).collect())?;
    ok(Tensor::filled("new", &sizes, Scalar::Int(0), dtype))
}
