//! `ferrograd.Tensor`.

use std::ffi::CStr;

use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyTypeError, PyUserWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyEllipsis, PyFloat, PyInt, PyList, PySequence, PySlice, PyString, PyTuple};

use super::arguments::{take_bool, take_int, take_tensor, type_name};
use super::convert::{self, Other, ok};
use super::data;
use super::dtype::{self, PyDType};
use super::error::{guarded, too_large};
use super::node;
pub use super::object::{PyTensor, wrap};
use super::profiler::seen;
use crate::engine::Options;
use crate::ops::index::{self, Index};
use crate::ops::{cast, compare, view};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::scalar::Scalar;

/// One part of an index.
fn part(object: &Bound<'_, PyAny>) -> PyResult<Index> {
    if object.is_none() {
        return Ok(Index::NewAxis);
    }
    if object.is_instance_of::<PyEllipsis>() {
        return Ok(Index::Ellipsis);
    }
    if let Ok(slice) = object.cast::<PySlice>() {
        let bound = |name: &str| -> PyResult<Option<isize>> {
            let value = slice.getattr(name)?;
            if value.is_none() { Ok(None) } else { Ok(Some(clamped(&value)?)) }
        };
        return Ok(Index::Slice { start: bound("start")?, stop: bound("stop")?, step: bound("step")?.unwrap_or(1) });
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
        None => Err(PyTypeError::new_err("slice indices must be integers or None or have an __index__ method")),
    }
}

fn parts(object: &Bound<'_, PyAny>) -> PyResult<Vec<Index>> {
    if let Ok(tuple) = object.cast::<PyTuple>() {
        return tuple.iter().map(|o| part(&o)).collect();
    }
    match object.cast::<PyList>() {
        Ok(list) if stands_for_a_tuple(list) => list.iter().map(|o| part(&o)).collect(),
        _ => Ok(vec![part(object)?]),
    }
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

/// An argument for which None is not the default.
enum Asked<'py> {
    Default,
    Given(Bound<'py, PyAny>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Asked<'py> {
    type Error = PyErr;
    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        Ok(Asked::Given(object.to_owned()))
    }
}

/// A tuple of sizes as `ferrograd.Size`.
fn size_object<'py>(py: Python<'py>, shape: &[usize]) -> PyResult<Bound<'py, PyAny>> {
    static MAKE: pyo3::sync::PyOnceLock<Py<PyAny>> = pyo3::sync::PyOnceLock::new();
    let make = MAKE.get_or_try_init(py, || Ok::<_, PyErr>(py.import("ferrograd._size")?.getattr("_size")?.unbind()))?;
    make.bind(py).call1((PyTuple::new(py, shape)?,))
}

/// The warning for asking a result of an operation for its gradient.
const NOT_A_LEAF: &CStr = c"The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't be populated during autograd.backward(). If you indeed want the .grad field to be populated for a non-leaf Tensor, use .retain_grad() on the non-leaf Tensor.";

#[pymethods]
impl PyTensor {
    #[new]
    #[pyo3(signature = (*arguments, device=None))]
    fn new(arguments: &Bound<'_, PyTuple>, device: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        device.map(super::device::check).transpose()?;
        Ok(PyTensor::of(super::attributes::construct(arguments, None)?))
    }

    /// The object is known from here on to be the tensor's.
    #[pyo3(signature = (*_arguments, **_named))]
    fn __init__(slf: &Bound<'_, Self>, _arguments: &Bound<'_, PyTuple>, _named: Option<&Bound<'_, PyAny>>) {
        let t = slf.get().get();
        if t.host().is_null() {
            t.set_host(slf.as_ptr().cast());
        }
    }

    #[classattr]
    fn __array_priority__() -> i32 {
        1000
    }

    fn __hash__(slf: &Bound<'_, Self>) -> usize {
        slf.as_ptr() as usize
    }

    fn __bool__(&self) -> PyResult<bool> {
        ok(guarded("bool", || self.get().truth()))
    }

    fn __float__(&self) -> PyResult<f64> {
        Ok(convert::single(self.get())?.as_f64())
    }

    fn __int__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let value = convert::to_python(py, convert::single(self.get())?)?;
        py.get_type::<pyo3::types::PyInt>().call1((value,))
    }

    fn __index__(&self) -> PyResult<i64> {
        let t = self.get();
        if t.dtype().is_floating_point() || t.numel() != 1 {
            return Err(PyTypeError::new_err("only integer tensors of a single element can be converted to an index"));
        }
        Ok(ok(guarded("item", || t.item()))?.as_i64())
    }

    fn __delitem__(&self, _index: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(PyTypeError::new_err("Tensor does not support deleting items"))
    }

    fn __len__(&self) -> PyResult<usize> {
        self.get().shape().first().copied().ok_or_else(|| PyTypeError::new_err("len() of a 0-d tensor"))
    }

    fn __iter__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let t = slf.get().get();
        if t.rank() == 0 {
            return Err(PyTypeError::new_err("iteration over a 0-d tensor"));
        }
        let all = ok(view::unbind(t, 0))?;
        let all = all.into_iter().map(|t| wrap(slf.py(), t)).collect::<PyResult<Vec<_>>>()?;
        Ok(PyList::new(slf.py(), all)?.try_iter()?.into_any().unbind())
    }

    fn __contains__(&self, element: &Bound<'_, PyAny>) -> PyResult<bool> {
        let element_of = |equal: crate::Result<Tensor>| Ok(equal?.to_scalars()?.into_iter().any(Scalar::as_bool));
        let x = self.get();
        match convert::other(element).map_err(|e| too_large("__contains__", e))? {
            Some(Other::Tensor(t)) => ok(guarded("eq", || element_of(compare::eq(x, t.get().get())))),
            Some(Other::Made(t)) => ok(guarded("eq", || element_of(compare::eq(x, &t)))),
            Some(Other::Number(n)) => ok(guarded("eq", || element_of(compare::eq(x, n)))),
            None => {
                let given = element.get_type();
                Err(PyRuntimeError::new_err(format!(
                    "Tensor.__contains__ only supports Tensor or scalar, but you passed in a {given}."
                )))
            }
        }
    }

    fn __getitem__(slf: &Bound<'_, Self>, index: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let t = slf.get().get().clone();
        let parts = parts(index)?;
        wrap(slf.py(), ok(seen("__getitem__", &[(&t).into()], || index::get(&t, &parts)))?)
    }

    fn __setitem__(&self, index: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let t = self.get().clone();
        let value = match assigned(value)? {
            Some(Other::Tensor(v)) => v.get().get().clone(),
            Some(Other::Made(v)) => ok(cast::to(&v, t.dtype()))?,
            Some(Other::Number(n)) => {
                ok(n.check_fits("__setitem__", t.dtype()))?;
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
        let parts = parts(index)?;
        let set = || index::set(&t, &parts, &value).map(|()| t.clone());
        ok(seen("__setitem__", &[(&t).into(), (&value).into()], set)).map(drop)
    }

    fn __repr__(&self) -> PyResult<String> {
        ok(guarded("repr", || crate::tensor::print::repr(self.get())))
    }

    /// The only element in a format, of tensors without dimensions; of others the text of `str`.
    ///
    /// Raises: TypeError for a format of tensors with dimensions, ValueError for one that the number does not have.
    ///
    /// >>> f'{ferrograd.tensor(1.0 / 3.0):.2f}'
    /// '0.33'
    fn __format__<'py>(slf: &Bound<'py, Self>, spec: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        let t = slf.get().get();
        if t.rank() == 0 && t.batch().is_none() {
            let value = convert::to_python(slf.py(), ok(guarded("format", || t.item()))?)?;
            return value.bind(slf.py()).call_method1("__format__", (spec,));
        }
        if spec.len()? > 0 {
            return Err(PyTypeError::new_err(format!(
                "unsupported format string passed to Tensor.__format__: only tensors without dimensions take one, got shape {:?}",
                t.shape()
            )));
        }
        slf.str().map(Bound::into_any)
    }

    /// Sizes of the dimensions.
    ///
    /// >>> ferrograd.zeros(2, 3).shape
    /// torch.Size([2, 3])
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        size_object(py, self.get().shape())
    }

    /// Sizes of the dimensions, or of one. IndexError where there is no such dimension.
    ///
    /// >>> ferrograd.zeros(2, 3).size(1)
    /// 3
    #[pyo3(signature = (dim=None))]
    fn size<'py>(&self, py: Python<'py>, dim: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let t = self.get();
        match dim.filter(|d| !d.is_none()) {
            None => size_object(py, t.shape()),
            Some(d) => {
                let d = take_int("size", "dim", d)?;
                let d = ok(crate::tensor::layout::wrap_existing_dim("size", d, t.rank()))?;
                Ok(t.shape()[d].into_pyobject(py)?.into_any())
            }
        }
    }

    /// Steps between neighbours, in elements: of all dimensions, or of one.
    /// IndexError where there is no such dimension.
    ///
    /// >>> ferrograd.zeros(2, 3).stride()
    /// (3, 1)
    #[pyo3(signature = (dim=None))]
    fn stride<'py>(&self, py: Python<'py>, dim: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let t = self.get();
        match dim.filter(|d| !d.is_none()) {
            None => Ok(PyTuple::new(py, t.strides())?.into_any()),
            Some(d) => {
                let d = take_int("stride", "dim", d)?;
                let d = ok(crate::tensor::layout::wrap_existing_dim("stride", d, t.rank()))?;
                Ok(t.strides()[d].into_pyobject(py)?.into_any())
            }
        }
    }

    /// The type of the elements.
    ///
    /// >>> ferrograd.tensor([1]).dtype
    /// torch.int64
    #[getter]
    fn dtype(&self, py: Python<'_>) -> PyResult<Py<PyDType>> {
        dtype::object(py, self.get().dtype())
    }

    /// The number of dimensions.
    ///
    /// >>> ferrograd.zeros(2, 3).ndim
    /// 2
    #[getter]
    fn ndim(&self) -> usize {
        self.get().rank()
    }

    /// The number of dimensions: 0 for one number, 1 for a list of them, 2 for a matrix. Raises nothing.
    ///
    /// >>> ferrograd.zeros(2, 3).dim()
    /// 2
    fn dim(&self) -> usize {
        self.get().rank()
    }

    /// The number of elements.
    ///
    /// >>> ferrograd.zeros(2, 3).numel()
    /// 6
    fn numel(&self) -> usize {
        self.get().numel()
    }

    /// The number of elements.
    ///
    /// >>> ferrograd.zeros(2, 3).nelement()
    /// 6
    fn nelement(&self) -> usize {
        self.get().numel()
    }

    /// Bytes an element takes.
    ///
    /// >>> ferrograd.zeros(2, 3).element_size()
    /// 4
    fn element_size(&self) -> usize {
        self.get().dtype().size()
    }

    /// The first element's place in the memory, in elements.
    ///
    /// >>> ferrograd.zeros(4)[1:].storage_offset()
    /// 1
    fn storage_offset(&self) -> usize {
        self.get().layout().offset
    }

    /// The address of the first element. RuntimeError within `vmap`, OutOfMemoryError where there is no memory for a value that
    /// waits to be computed.
    ///
    /// >>> x = ferrograd.zeros(2)
    /// >>> x[1].data_ptr() - x.data_ptr()
    /// 4
    fn data_ptr(&self) -> PyResult<usize> {
        ok(self.get().readable("reading the memory of a Tensor"))?;
        Ok(ok(guarded("data_ptr", || self.get().expose()))? as usize)
    }

    /// True for elements without gaps in the order of a memory format: row-major where none is given.
    ///
    /// >>> ferrograd.zeros(2, 3).t().is_contiguous()
    /// False
    #[pyo3(signature = (*, memory_format=None))]
    fn is_contiguous(&self, memory_format: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let t = self.get();
        match memory_format {
            Some(format) => super::device::is_contiguous(t, format),
            None => Ok(t.is_contiguous()),
        }
    }

    /// True where both show the same memory under the same sizes, strides and offset.
    ///
    /// >>> x = ferrograd.zeros(2)
    /// >>> x.is_set_to(x[:])
    /// True
    fn is_set_to(&self, tensor: &Bound<'_, PyAny>) -> PyResult<bool> {
        let (a, b) = (self.get(), take_tensor("is_set_to", "tensor", tensor)?.get().get());
        Ok(a.storage().same(b.storage()) && a.layout() == b.layout())
    }

    /// True for dtypes that can carry gradients.
    ///
    /// >>> ferrograd.tensor([1]).is_floating_point()
    /// False
    fn is_floating_point(&self) -> bool {
        self.get().dtype().is_floating_point()
    }

    /// The transpose: dimensions in reverse order.
    ///
    /// >>> ferrograd.zeros(2, 3).T.shape
    /// torch.Size([3, 2])
    #[getter(T)]
    fn transposed(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let t = self.get();
        let order: Vec<isize> = (0..t.rank() as isize).rev().collect();
        wrap(py, ok(view::permute(t, &order))?)
    }

    /// The last two dimensions swapped. RuntimeError for tensors of fewer than two dimensions.
    ///
    /// >>> ferrograd.zeros(4, 2, 3).mT.shape
    /// torch.Size([4, 3, 2])
    #[getter(mT)]
    fn matrix_transposed(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        wrap(py, ok(view::matrix_transpose("mT", self.get()))?)
    }

    /// The last two dimensions swapped: for real numbers the same as `mT`. RuntimeError for tensors of fewer than two dimensions.
    ///
    /// >>> ferrograd.zeros(4, 2, 3).mH.shape
    /// torch.Size([4, 3, 2])
    #[getter(mH)]
    fn matrix_adjoint(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        wrap(py, ok(view::matrix_transpose("mH", self.get()))?)
    }

    /// A matrix transposed. RuntimeError for what is no matrix.
    ///
    /// >>> ferrograd.zeros(2, 3).H.shape
    /// torch.Size([3, 2])
    #[getter(H)]
    fn adjoint_of_matrix(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let t = self.get();
        if t.rank() > 2 {
            let (expected, shape) = ("a matrix (2-D tensor); use mH for batches of matrices", t.shape().to_vec());
            return Err(crate::Error::Rank { op: "H", expected, shape }.into());
        }
        wrap(py, ok(view::matrix_transpose("H", t))?)
    }

    /// How often the tensor was changed in place. RuntimeError for tensors made in inference mode.
    ///
    /// >>> x = ferrograd.zeros(2)
    /// >>> _ = x.add_(1)
    /// >>> x._version
    /// 1
    #[getter]
    fn _version(&self) -> PyResult<u32> {
        let t = self.get();
        if t.is_inference() {
            return Err(PyRuntimeError::new_err("Inference tensors do not track version counter."));
        }
        Ok(t.changes())
    }

    /// True for tensors made in inference mode.
    ///
    /// >>> with ferrograd.inference_mode():
    /// ...     x = ferrograd.ones(1)
    /// >>> x.is_inference()
    /// True
    fn is_inference(&self) -> bool {
        self.get().is_inference()
    }

    /// Which output of its node the tensor is.
    ///
    /// >>> ferrograd.ones(2, requires_grad=True).unbind()[1].output_nr
    /// 1
    #[getter]
    fn output_nr(&self) -> u32 {
        self.get().grad_fn().map_or(0, |e| e.output)
    }

    /// True where the memory is that of another tensor. Raises nothing.
    ///
    /// >>> ferrograd.zeros(2)[0]._is_view()
    /// True
    fn _is_view(&self) -> bool {
        self.get().base().is_some()
    }

    /// The tensor that this is a view of, or None. Raises nothing.
    ///
    /// >>> x = ferrograd.zeros(2)
    /// >>> x[0]._base is x
    /// True
    #[getter]
    fn _base(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.get().base().map(|b| wrap(py, b.clone())).transpose()
    }

    /// The only element as a Python number: a bool, an int, or a float of 64 bits.
    ///
    /// Shapes: any of one element.
    /// Dtypes: any.
    /// Raises: RuntimeError for tensors of more elements or none, and within `vmap`, where there are as many as examples.
    ///
    /// >>> ferrograd.tensor([1.5]).item()
    /// 1.5
    fn item(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        convert::to_python(py, ok(guarded("item", || self.get().item()))?)
    }

    /// The elements as nested lists of Python's numbers, as deep as there are dimensions; without dimensions a number.
    ///
    /// Shapes: any.
    /// Dtypes: any.
    /// Raises: RuntimeError within `vmap`; OutOfMemoryError where there is no memory for the numbers.
    ///
    /// >>> ferrograd.tensor([[1, 2], [3, 4]]).tolist()
    /// [[1, 2], [3, 4]]
    fn tolist(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        convert::to_list(py, self.get())
    }

    /// A NumPy array on the same memory: what is written to one is seen in the other. With `force`, also of tensors that require
    /// a gradient.
    ///
    /// Shapes: any, kept.
    /// Dtypes: any but bfloat16, kept.
    /// Raises: RuntimeError for tensors that require a gradient without `force`, and within `vmap`; TypeError for bfloat16,
    /// which NumPy does not have, and where `force` is no bool.
    ///
    /// >>> ferrograd.ones(2).numpy()
    /// array([1., 1.], dtype=float32)
    #[pyo3(signature = (*, force=None), text_signature = "($self, *, force=False)")]
    fn numpy<'py>(&self, py: Python<'py>, force: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let force = force.map_or(Ok(false), |f| take_bool("numpy", "force", f))?;
        if !force && self.get().requires_grad() {
            return Err(crate::Error::NumpyRequiresGrad.into());
        }
        ok(self.get().readable("reading the memory of a Tensor"))?;
        super::numpy::to_array(py, self.get())
    }

    /// What NumPy makes an array of, `numpy.asarray(x)`: on the same memory, or converted to `dtype`. With `copy`, always new.
    ///
    /// Shapes: any, kept.
    /// Raises: RuntimeError and TypeError as `numpy`; ValueError where `copy` is False and `dtype` needs one.
    ///
    /// >>> import numpy
    /// >>> numpy.asarray(ferrograd.tensor([1, 2]), dtype=numpy.float64)
    /// array([1., 2.])
    #[pyo3(signature = (dtype=None, copy=None))]
    fn __array__<'py>(
        &self,
        py: Python<'py>,
        dtype: Option<&Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let array = self.numpy(py, None)?;
        let dtype = match dtype.filter(|d| !d.is_none()) {
            Some(d) => py.import("numpy")?.getattr("dtype")?.call1((d,))?,
            None => array.getattr("dtype")?,
        };
        match copy {
            Some(true) => array.call_method1("astype", (dtype,)),
            Some(false) if !dtype.eq(array.getattr("dtype")?)? => Err(PyValueError::new_err(format!(
                "Unable to avoid copy while creating an array of {dtype} from a tensor of {}",
                self.get().dtype()
            ))),
            _ => array.call_method1("astype", (dtype, "K", "unsafe", true, false)),
        }
    }

    /// The result of a function of NumPy's as a tensor, on the memory of the result.
    ///
    /// Raises: TypeError for elements that no tensor has.
    ///
    /// >>> import numpy
    /// >>> numpy.sqrt(ferrograd.tensor([4.0, 9.0]))
    /// tensor([2., 3.])
    #[pyo3(signature = (array, _context=None, _return_scalar=false))]
    fn __array_wrap__(
        &self,
        array: &Bound<'_, PyAny>,
        _context: Option<&Bound<'_, PyAny>>,
        _return_scalar: bool,
    ) -> PyResult<Py<PyAny>> {
        wrap(array.py(), super::numpy::from_array(array, true)?)
    }

    /// Whether gradients flow to this tensor.
    /// Only leaves of floating-point numbers can be told to; others are a RuntimeError.
    ///
    /// >>> x = ferrograd.ones(1, requires_grad=True)
    /// >>> (x * 2).requires_grad
    /// True
    #[getter]
    fn requires_grad(&self) -> bool {
        self.get().requires_grad()
    }

    #[setter]
    fn set_requires_grad(&self, requires: &Bound<'_, PyAny>) -> PyResult<()> {
        let Ok(requires) = requires.cast::<PyBool>() else {
            let given = type_name(requires);
            return Err(PyRuntimeError::new_err(format!("requires_grad must be a bool, not {given}")));
        };
        if !self.get().is_leaf() {
            return ok(Err(crate::Error::NotLeaf));
        }
        ok(self.get().set_requires_grad(requires.is_true()))
    }

    /// Asks for gradients, or no longer.
    /// RuntimeError for tensors that are no floating-point numbers, and for results that are no leaves.
    ///
    /// >>> ferrograd.ones(1).requires_grad_()
    /// tensor([1.], requires_grad=True)
    #[pyo3(signature = (requires_grad=Asked::Default), text_signature = "($self, requires_grad=True)")]
    fn requires_grad_<'py>(slf: Bound<'py, Self>, requires_grad: Asked<'py>) -> PyResult<Bound<'py, Self>> {
        let requires_grad = match requires_grad {
            Asked::Default => true,
            Asked::Given(truth) => take_bool("requires_grad_", "requires_grad", &truth)?,
        };
        super::transform::check_requires_grad(requires_grad)?;
        ok(slf.get().get().set_requires_grad(requires_grad))?;
        Ok(slf)
    }

    /// True where no recorded operation made this tensor: gradients of leaves are gathered in `grad`. All tensors that require
    /// no gradient are leaves. Raises nothing.
    ///
    /// >>> x = ferrograd.ones(1, requires_grad=True)
    /// >>> x.is_leaf, (x * 2).is_leaf
    /// (True, False)
    #[getter]
    fn is_leaf(&self) -> bool {
        self.get().is_leaf()
    }

    /// The gradient gathered so far by all passes that led here, or None.
    /// Results of operations gather none unless `retain_grad` asks for it: a UserWarning says so.
    ///
    /// Shapes: that of the tensor.
    /// Dtypes: that of the tensor.
    /// Raises, where it is assigned: TypeError for what is neither a tensor nor None, and for another dtype; RuntimeError for
    /// another shape, and for the tensor itself.
    ///
    /// >>> x = ferrograd.tensor([3.0], requires_grad=True)
    /// >>> (x * x).backward()
    /// >>> x.grad
    /// tensor([6.])
    #[getter]
    fn grad(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let t = self.get();
        let Some(g) = t.grad() else {
            if !t.is_leaf() && !t.retains_grad() {
                let category = py.get_type::<PyUserWarning>();
                PyErr::warn(py, &category, NOT_A_LEAF, 1)?;
            }
            return Ok(None);
        };
        wrap(py, g).map(Some)
    }

    #[setter]
    fn set_grad(slf: &Bound<'_, Self>, grad: &Bound<'_, PyAny>) -> PyResult<()> {
        if grad.is_none() {
            return ok(slf.get().get().set_grad(None));
        }
        match grad.cast::<PyTensor>() {
            Ok(g) if g.is(slf) => Err(PyRuntimeError::new_err("can't assign Variable as its own grad")),
            Ok(g) => ok(slf.get().get().set_grad(Some(g.get().get().clone()))),
            Err(_) => {
                let given = grad.get_type().name()?;
                Err(PyTypeError::new_err(format!(
                    "assigned grad expected to be a Tensor or None but got grad of type {given}"
                )))
            }
        }
    }

    #[deleter]
    fn delete_grad(&self) -> PyResult<()> {
        ok(self.get().set_grad(None))
    }

    /// The node of the graph that made this tensor: a `Node`, whose `next_functions` lead on to the leaves. None for leaves.
    /// Raises nothing.
    ///
    /// >>> x = ferrograd.ones(1, requires_grad=True)
    /// >>> (x * 2).grad_fn.name()
    /// 'MulBackward0'
    #[getter]
    fn grad_fn(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let t = self.get();
        let edge = if t.requires_grad() { t.grad_fn() } else { None };
        // A value that hooks kept for a node may lead to a leaf at once.
        edge.filter(|e| e.node.leaf().is_none()).map(|e| node::wrap(py, e.node)).transpose()
    }

    /// The same elements without history and without version checks: what is written is not seen by the graph.
    /// What is assigned becomes what the tensor shows, in its own shape.
    ///
    /// Shapes: any, kept.
    /// Dtypes: any, kept.
    /// Raises, where it is assigned: TypeError for what is no tensor; RuntimeError for integers where a gradient is asked for.
    ///
    /// >>> w = ferrograd.tensor([1.0], requires_grad=True)
    /// >>> w.data -= 0.5
    /// >>> w
    /// tensor([0.5000], requires_grad=True)
    #[getter]
    fn data(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        wrap(py, self.get().data())
    }

    #[setter]
    fn set_data(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let Ok(data) = data.cast::<PyTensor>() else {
            let given = data.get_type().name()?;
            return Err(PyTypeError::new_err(format!("Variable data has to be a tensor, but got {given}")));
        };
        PyTensor::replace(slf, ok(slf.get().get().with_data(data.get().get()))?);
        Ok(())
    }

    /// The same elements without history: a leaf that requires no gradient, on the same memory. A change in place of one is seen
    /// in the other and by the graph, which checks the versions of what it keeps. Raises nothing.
    ///
    /// Shapes: any, kept.
    /// Dtypes: any, kept.
    ///
    /// >>> x = ferrograd.ones(1, requires_grad=True)
    /// >>> (x * 2).detach()
    /// tensor([2.])
    fn detach(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        wrap(py, self.get().detach())
    }

    /// Cuts this tensor off from its history.
    /// RuntimeError for views, whose history is that of what they show.
    ///
    /// >>> y = ferrograd.ones(1, requires_grad=True) * 2
    /// >>> y.detach_()
    /// tensor([2.])
    fn detach_(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        ok(slf.get().get().detach_())?;
        Ok(slf)
    }

    /// Keeps the gradient of a result, as leaves do. RuntimeError for tensors that require no gradient.
    ///
    /// >>> x = ferrograd.tensor([3.0], requires_grad=True)
    /// >>> y = x * 2
    /// >>> y.retain_grad()
    /// >>> (y * y).backward()
    /// >>> y.grad
    /// tensor([12.])
    fn retain_grad(&self) -> PyResult<()> {
        ok(self.get().retain_grad())
    }

    /// True after `retain_grad` on a result.
    ///
    /// >>> y = ferrograd.ones(1, requires_grad=True) * 2
    /// >>> y.retain_grad()
    /// >>> y.retains_grad
    /// True
    #[getter]
    fn retains_grad(&self) -> bool {
        self.get().retains_grad()
    }

    /// Accumulates the gradient of this tensor into the leaves of its graph, or into `inputs`.
    /// `gradient` is that of what the tensor leads to, and may be left out for one element. The graph is freed unless
    /// `retain_graph` keeps it; with `create_graph` the gradients have graphs of their own. RuntimeError where the tensor has
    /// no graph, where the graph was freed, and where a value that it keeps was changed in place.
    ///
    /// >>> x = ferrograd.tensor([2.0, 3.0], requires_grad=True)
    /// >>> (x ** 2).backward(ferrograd.tensor([1.0, 10.0]))
    /// >>> x.grad
    /// tensor([ 4., 60.])
    #[pyo3(signature = (gradient=None, retain_graph=None, create_graph=false, inputs=None))]
    fn backward(
        &self,
        py: Python<'_>,
        gradient: Option<Bound<'_, PyAny>>,
        retain_graph: Option<bool>,
        create_graph: bool,
        inputs: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let options = Options { retain_graph: retain_graph.unwrap_or(create_graph), create_graph, allow_unused: true };
        let inputs = inputs.map(super::autograd::inputs).transpose()?;
        let gradient = gradient.as_ref().map(super::autograd::gradient).transpose()?.flatten();
        super::autograd::backward(py, &[self.get().into()], &[gradient], inputs.as_deref(), options)
    }
}
