//! `ferrograd.device`, `layout` and `memory_format`: what calls written for torch name. There is one device, one layout and
//! orders in memory by name.

use pyo3::exceptions::{PyAssertionError, PyNotImplementedError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyTuple};

use super::arguments::unlike;
use super::error::of_argument;
use crate::tensor::Tensor;

/// The kinds of device that torch knows by name.
const KINDS: [&str; 20] = [
    "cpu",
    "cuda",
    "ipu",
    "xpu",
    "mkldnn",
    "opengl",
    "opencl",
    "ideep",
    "hip",
    "ve",
    "fpga",
    "maia",
    "xla",
    "lazy",
    "vulkan",
    "mps",
    "meta",
    "hpu",
    "mtia",
    "privateuseone",
];

/// A device by kind and number. Tensors are on the CPU; asking for another device is an error where it is asked.
///
/// >>> ferrograd.device("cpu")
/// device(type='cpu')
#[pyclass(name = "device", module = "ferrograd", frozen, eq, hash)]
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PyDevice {
    kind: &'static str,
    index: Option<u8>,
}

impl PyDevice {
    /// Where all tensors are.
    pub const CPU: PyDevice = PyDevice { kind: "cpu", index: None };

    fn parse(text: &str) -> PyResult<PyDevice> {
        let (kind, index) = text.split_once(':').map_or((text, None), |(k, i)| (k, Some(i)));
        let Some(kind) = KINDS.into_iter().find(|k| *k == kind) else {
            let kinds = KINDS.join(", ");
            return Err(PyRuntimeError::new_err(format!(
                "Expected one of {kinds} device type at start of device string: {text}"
            )));
        };
        let index = index.map(str::parse).transpose();
        let index = index.map_err(|_| PyRuntimeError::new_err(format!("Invalid device string: '{text}'")))?;
        Ok(PyDevice { kind, index })
    }
}

#[pymethods]
impl PyDevice {
    #[new]
    #[pyo3(signature = (r#type, index=None))]
    fn new(r#type: &Bound<'_, PyAny>, index: Option<u8>) -> PyResult<PyDevice> {
        if let Ok(device) = r#type.cast::<PyDevice>() {
            return Ok(device.get().clone());
        }
        let Ok(text) = r#type.extract::<String>() else {
            let given = r#type.get_type().name()?;
            return Err(PyTypeError::new_err(format!("device(): argument 'type' must be str, not {given}")));
        };
        let device = PyDevice::parse(&text)?;
        match (device.index, index) {
            (Some(_), Some(_)) => Err(PyRuntimeError::new_err(format!(
                "type (string) must not include an index because index was passed explicitly: {text}"
            ))),
            (own, given) => Ok(PyDevice { index: own.or(given), ..device }),
        }
    }

    /// The kind of device: `cpu`.
    ///
    /// >>> ferrograd.device("cpu", 0).type
    /// 'cpu'
    #[getter]
    fn r#type(&self) -> &'static str {
        self.kind
    }

    /// Which of several devices of a kind, or None.
    ///
    /// >>> ferrograd.device("cpu:0").index
    /// 0
    #[getter]
    fn index(&self) -> Option<u8> {
        self.index
    }

    fn __repr__(&self) -> String {
        match self.index {
            Some(i) => format!("device(type='{}', index={i})", self.kind),
            None => format!("device(type='{}')", self.kind),
        }
    }

    fn __str__(&self) -> String {
        self.index.map_or_else(|| self.kind.to_string(), |i| format!("{}:{i}", self.kind))
    }

    /// Begins a block whose tensors are made on this device, as all are; an error for other devices.
    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        check(slf.as_any())?;
        Ok(slf.clone())
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&self, _error: &Bound<'_, PyTuple>) {}

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        Ok((slf.get_type().into_any(), (slf.get().__str__(),)))
    }
}

/// The device that an object names, if it names one.
fn named(object: &Bound<'_, PyAny>) -> PyResult<Option<PyDevice>> {
    match (object.cast::<PyDevice>(), object.extract::<String>()) {
        (Ok(device), _) => Ok(Some(device.get().clone())),
        (_, Ok(text)) => PyDevice::parse(&text).map(Some),
        // A number is one of the devices that compute beside the CPU.
        _ if object.is_instance_of::<PyInt>() && !object.is_instance_of::<PyBool>() => {
            Err(absent("", &object.to_string()))
        }
        _ => Ok(None),
    }
}

/// Whether the object names a device; one that is not the CPU is an error.
pub fn check(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    match named(object)? {
        Some(device) if device.kind != "cpu" => Err(absent(device.kind, &device.__str__())),
        found => Ok(found.is_some()),
    }
}

/// The error for a device that is not the CPU, of the class that torch without it raises.
pub fn absent(kind: &str, device: &str) -> PyErr {
    let message = format!("ferrograd computes on the CPU only, got device {device}");
    match kind {
        "cuda" | "xpu" => PyAssertionError::new_err(message),
        _ => PyRuntimeError::new_err(message),
    }
}

/// The argument `device` of a function that stands outside the table.
///
/// # Errors
/// For what names no device, and for devices other than the CPU.
pub fn take(op: &str, object: &Bound<'_, PyAny>) -> PyResult<()> {
    if object.is_none() || check(object).map_err(|e| of_argument(op, e))? {
        Ok(())
    } else {
        Err(unlike(op, "device", "torch.device", object))
    }
}

/// As [`take`], for what is made for the CPU, of which torch says so by a `RuntimeError`.
pub fn take_cpu(op: &str, object: &Bound<'_, PyAny>) -> PyResult<()> {
    match named(object) {
        Ok(Some(device)) if device.kind != "cpu" => Err(of_argument(op, absent("", &device.__str__()))),
        _ => take(op, object),
    }
}

/// How elements lie in memory.
///
/// >>> ferrograd.strided
/// torch.strided
#[pyclass(name = "layout", module = "ferrograd", frozen, eq, hash)]
#[derive(PartialEq, Eq, Hash)]
pub struct PyLayout(&'static str);

#[pymethods]
impl PyLayout {
    fn __repr__(&self) -> String {
        format!("torch.{}", self.0)
    }

    fn __reduce__(&self) -> &'static str {
        self.0
    }
}

/// The order of elements in memory.
///
/// >>> ferrograd.channels_last
/// torch.channels_last
#[pyclass(name = "memory_format", module = "ferrograd", frozen, eq, hash)]
#[derive(PartialEq, Eq, Hash)]
pub struct PyMemoryFormat(&'static str);

#[pymethods]
impl PyMemoryFormat {
    fn __repr__(&self) -> String {
        format!("torch.{}", self.0)
    }

    fn __reduce__(&self) -> &'static str {
        self.0
    }
}

/// Whether the object is a layout; others than strides are not implemented.
pub fn check_layout(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    match object.cast::<PyLayout>() {
        Ok(l) if l.get().0 == "strided" => Ok(true),
        Ok(l) => Err(PyNotImplementedError::new_err(format!("the layout {} is not implemented", l.get().0))),
        Err(_) => Ok(false),
    }
}

/// The name of a memory format, if the object is one.
pub fn memory_format(object: &Bound<'_, PyAny>) -> Option<&'static str> {
    object.cast::<PyMemoryFormat>().ok().map(|f| f.get().0)
}

/// Whether a tensor's elements are without gaps in the order of a memory format: channels last in those for images and
/// volumes.
pub fn is_contiguous(t: &Tensor, format: &Bound<'_, PyAny>) -> PyResult<bool> {
    let Ok(format) = format.cast::<PyMemoryFormat>() else {
        return Err(unlike("is_contiguous", "memory_format", "torch.memory_format", format));
    };
    match (format.get().0, t.rank()) {
        ("contiguous_format", _) => Ok(t.is_contiguous()),
        ("channels_last", 4) | ("channels_last_3d", 5) => Ok(t.layout().is_channels_last()),
        ("preserve_format", _) => {
            Err(PyRuntimeError::new_err("preserve memory format is unsupported by is_contiguous"))
        }
        _ => Ok(false),
    }
}

/// Adds the classes and their objects to the module.
pub fn install(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyDevice>()?;
    module.add_class::<PyLayout>()?;
    module.add_class::<PyMemoryFormat>()?;
    for name in ["strided", "sparse_coo"] {
        module.add(name, PyLayout(name))?;
    }
    for name in ["contiguous_format", "preserve_format", "channels_last", "channels_last_3d"] {
        module.add(name, PyMemoryFormat(name))?;
    }
    Ok(())
}

/// The one layout of tensors.
pub fn strided(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    py.import("ferrograd._ferrograd")?.getattr("strided")
}
