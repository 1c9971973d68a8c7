//! `ferrograd.Tensor`.

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple};

use super::arguments::{take_bool, take_int, take_tensor};
use super::convert::{self, ok};
use super::dtype::{self, PyDType};
use super::error::{guarded, of_argument};
pub use super::object::{PyTensor, wrap, wrap_result};
use crate::graph::mode::is_grad_enabled;
use crate::ops::{compare, view};
use crate::tensor::Tensor;
use crate::tensor::scalar::Scalar;

/// A tuple of sizes as `ferrograd.Size`.
fn size_object<'py>(py: Python<'py>, shape: &[usize]) -> PyResult<Bound<'py, PyAny>> {
    /// `tuple.__new__`, which knows nothing to check about sizes, unlike that of the class.
    static NEW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let new = NEW.get_or_try_init(py, || Ok::<_, PyErr>(py.get_type::<PyTuple>().getattr("__new__")?.unbind()))?;
    new.bind(py).call1((convert::size_class(py)?, PyTuple::new(py, shape)?))
}

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
        let py = slf.py();
        let rows = ok(guarded("iter", || view::unbind(t, 0)))?;
        let all = convert::list(py, rows.into_iter().map(|t| wrap(py, t)))?;
        Ok(all.bind(py).try_iter()?.into_any().unbind())
    }

    fn __contains__(&self, element: &Bound<'_, PyAny>) -> PyResult<bool> {
        let element_of = |equal: crate::Result<Tensor>| Ok(equal?.to_scalars()?.into_iter().any(Scalar::as_bool));
        let x = self.get();
        match convert::other(element).map_err(|e| of_argument("__contains__", e))? {
            Some(other) => ok(guarded("eq", || element_of(compare::eq(x, other.as_operand())))),
            None => {
                let given = element.get_type();
                Err(PyRuntimeError::new_err(format!(
                    "Tensor.__contains__ only supports Tensor or scalar, but you passed in a {given}."
                )))
            }
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        convert::text(py, &ok(guarded("repr", || crate::tensor::print::repr(self.get())))?)
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
        wrap(py, ok(guarded("T", || view::permute(t, &order)))?)
    }

    /// The last two dimensions swapped. RuntimeError for tensors of fewer than two dimensions.
    ///
    /// >>> ferrograd.zeros(4, 2, 3).mT.shape
    /// torch.Size([4, 3, 2])
    #[getter(mT)]
    fn matrix_transposed(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        wrap(py, ok(guarded("mT", || view::matrix_transpose("mT", self.get())))?)
    }

    /// The last two dimensions swapped: for real numbers the same as `mT`. RuntimeError for tensors of fewer than two dimensions.
    ///
    /// >>> ferrograd.zeros(4, 2, 3).mH.shape
    /// torch.Size([4, 3, 2])
    #[getter(mH)]
    fn matrix_adjoint(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        wrap(py, ok(guarded("mH", || view::matrix_transpose("mH", self.get())))?)
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
        wrap(py, ok(guarded("H", || view::matrix_transpose("H", t)))?)
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
        // What is made in inference mode is tracked by nobody.
        self.get().base().is_some() && !self.get().is_inference()
    }

    /// The tensor that this is a view of, or None. Raises nothing.
    ///
    /// >>> x = ferrograd.zeros(2)
    /// >>> x[0]._base is x
    /// True
    #[getter]
    fn _base(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let base = self.get().base().filter(|_| !self.get().is_inference());
        base.map(|b| wrap(py, b.clone())).transpose()
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
        if !force && self.get().requires_grad() && is_grad_enabled() {
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
}
