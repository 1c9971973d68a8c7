//! The extension module `ferrograd._ferrograd`.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arguments::{take_bool, take_dtype};
use super::convert::ok;
use super::dtype::{PyDType, object};
use super::error::{guarded, out_of_memory, silence_errors};
use super::function::PyContext;
use super::hooks::{self, PyHandle};
use super::host::install_host;
use super::node::PyNode;
use super::signature::entries;
use super::tensor::{PyTensor, wrap};
use super::{
    apply, autograd, batch, data, device, forward, functions, modes, node, numpy, profiler, random, saved, transform,
    watch,
};
use crate::memory;
use crate::ops::registry::Home;
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;

/// A tensor of a number, nested sequences of numbers, or an array; the data is copied.
/// Numbers with a point become the default dtype, integers int64, truth values bool, and arrays keep theirs, if no `dtype`
/// says otherwise. ValueError for sequences of several lengths, TypeError for text and RuntimeError for other things that
/// hold no numbers, RuntimeError for devices other than the CPU (AssertionError for those by CUDA, as torch without it).
///
/// >>> ferrograd.tensor([[1.0, 2.0], [3.0, 4.0]]).shape
/// torch.Size([2, 2])
/// >>> ferrograd.tensor([1, 2], dtype=ferrograd.float64, requires_grad=True)
/// tensor([1., 2.], dtype=torch.float64, requires_grad=True)
#[pyfunction]
#[pyo3(
    signature = (data, *, dtype=None, device=None, requires_grad=None, pin_memory=None),
    text_signature = "(data, *, dtype=None, device=None, requires_grad=False, pin_memory=False)"
)]
fn tensor(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    dtype: Option<&Bound<'_, PyAny>>,
    device: Option<&Bound<'_, PyAny>>,
    requires_grad: Option<&Bound<'_, PyAny>>,
    pin_memory: Option<&Bound<'_, PyAny>>,
) -> PyResult<Py<PyAny>> {
    let flag = |name, given: Option<&Bound<'_, PyAny>>| given.map_or(Ok(false), |g| take_bool("tensor", name, g));
    let (requires_grad, pin_memory) = (flag("requires_grad", requires_grad)?, flag("pin_memory", pin_memory)?);
    if pin_memory {
        return Err(crate::Error::PinMemory { op: "tensor" }.into());
    }
    device.map_or(Ok(()), |d| device::take("tensor", d))?;
    let t = data::tensor(data, asked("tensor", dtype)?)?;
    ok(t.set_requires_grad(requires_grad))?;
    wrap(py, t)
}

/// A dtype where one is given, also by Python's own types.
fn asked(op: &str, dtype: Option<&Bound<'_, PyAny>>) -> PyResult<Option<DType>> {
    dtype.filter(|d| !d.is_none()).map(|d| take_dtype(op, "dtype", d)).transpose()
}

/// An error for devices other than the CPU: of constructors of one dtype, where `made_for_cpu`.
#[pyfunction]
#[pyo3(signature = (op, device, made_for_cpu=false))]
fn _check_device(op: &str, device: &Bound<'_, PyAny>, made_for_cpu: bool) -> PyResult<()> {
    if made_for_cpu { device::take_cpu(op, device) } else { device::take(op, device) }
}

/// The data as a tensor, shared where it can be.
/// Tensors and arrays are shared where the dtype stays; Errors are those of `tensor`.
///
/// >>> x = ferrograd.ones(2)
/// >>> ferrograd.as_tensor(x) is x
/// True
#[pyfunction]
#[pyo3(signature = (data, dtype=None, device=None))]
fn as_tensor(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    dtype: Option<&Bound<'_, PyAny>>,
    device: Option<&Bound<'_, PyAny>>,
) -> PyResult<Py<PyAny>> {
    device.map_or(Ok(()), |d| device::take("as_tensor", d))?;
    let dtype = asked("as_tensor", dtype)?;
    let t: Tensor = match data.cast::<PyTensor>() {
        Ok(t) => t.get().get().clone(),
        Err(_) if numpy::is_array(data) => numpy::from_array(data, true)?,
        Err(_) => data::tensor(data, dtype)?,
    };
    wrap(py, ok(guarded("as_tensor", || crate::ops::cast::to(&t, dtype.unwrap_or(t.dtype()))))?)
}

/// A tensor on the memory of a NumPy array.
/// What is written into one is seen in the other. TypeError for what is no array and for dtypes that tensors do not have,
/// ValueError for negative strides.
///
/// >>> import numpy
/// >>> array = numpy.zeros(2)
/// >>> ferrograd.from_numpy(array)[0] = 1.0
/// >>> array
/// array([1., 0.])
#[pyfunction]
fn from_numpy(py: Python<'_>, ndarray: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    if !numpy::is_ndarray(ndarray)? {
        let given = ndarray.get_type().fully_qualified_name()?;
        return Err(pyo3::exceptions::PyTypeError::new_err(format!("expected np.ndarray (got {given})")));
    }
    wrap(py, numpy::from_array(ndarray, false)?)
}

/// A tensor of elements as [`super::attributes`] writes them.
#[pyfunction]
fn _from_bytes(py: Python<'_>, bytes: &[u8], shape: Vec<usize>, dtype: &Bound<'_, PyDType>) -> PyResult<Py<PyAny>> {
    wrap(py, ok(Tensor::from_bytes(bytes, &shape, dtype.get().0))?)
}

/// The type that floating-point numbers without a type become.
///
/// >>> ferrograd.get_default_dtype()
/// torch.float32
#[pyfunction]
fn get_default_dtype(py: Python<'_>) -> PyResult<Py<PyDType>> {
    object(py, crate::tensor::default_dtype())
}

/// Sets the type that floating-point numbers without a type become: float32 or float64. TypeError for other types.
///
/// >>> ferrograd.set_default_dtype(ferrograd.float32)
#[pyfunction]
fn set_default_dtype(d: &Bound<'_, PyAny>) -> PyResult<()> {
    ok(crate::tensor::set_default_dtype(take_dtype("set_default_dtype", "d", d)?))
}

/// Sets how tensors are printed; what is not named stays.
#[pyfunction]
fn _set_printoptions(named: std::collections::HashMap<String, usize>, sci_mode: Option<bool>) {
    let mut options = crate::tensor::print::options();
    for (name, value) in named {
        match name.as_str() {
            "precision" => options.precision = value,
            "threshold" => options.threshold = value,
            "edgeitems" => options.edgeitems = value,
            _ => options.linewidth = value,
        }
    }
    options.sci_mode = sci_mode;
    crate::tensor::print::set_options(options);
}

/// How tensors are printed.
#[pyfunction]
fn _get_printoptions(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let options = crate::tensor::print::options();
    let named = PyDict::new(py);
    named.set_item("precision", options.precision)?;
    named.set_item("threshold", options.threshold)?;
    named.set_item("edgeitems", options.edgeitems)?;
    named.set_item("linewidth", options.linewidth)?;
    named.set_item("sci_mode", options.sci_mode)?;
    Ok(named)
}

/// The number of threads that kernels and backward use.
///
/// >>> ferrograd.get_num_threads() > 0
/// True
#[pyfunction]
fn get_num_threads() -> usize {
    crate::kernels::parallel::num_threads()
}

/// Sets the number of threads that kernels and backward use. RuntimeError where the number is not positive.
///
/// >>> ferrograd.set_num_threads(ferrograd.get_num_threads())
#[pyfunction]
fn set_num_threads(threads: &Bound<'_, PyAny>) -> PyResult<()> {
    let Some(number) = super::convert::integer(threads) else {
        let given = super::arguments::type_name(threads);
        return Err(PyRuntimeError::new_err(format!("set_num_threads expects an int, but got {given}")));
    };
    if number < 1 {
        return Err(PyRuntimeError::new_err(format!("set_num_threads expects a positive integer, got {number}")));
    }
    crate::kernels::parallel::set_num_threads(number as usize);
    Ok(())
}

/// The table of operations, for stubs, documents and tests.
#[pyfunction]
fn _operations(py: Python<'_>) -> PyResult<Vec<Py<PyDict>>> {
    entries()
        .iter()
        .map(|entry| {
            let row = PyDict::new(py);
            // Functions of linear algebra have names that others have too.
            let home = entry.operation.home();
            let prefix = match home {
                Home::Linalg => "linalg.",
                Home::Nn => "nn.",
                _ => "",
            };
            row.set_item("name", format!("{prefix}{}", entry.operation.name))?;
            row.set_item("doc", entry.operation.doc)?;
            row.set_item("signatures", entry.operation.signatures)?;
            row.set_item("aliases", entry.operation.aliases)?;
            row.set_item("home", format!("{:?}", entry.operation.home()))?;
            row.set_item("method", entry.operation.is_method())?;
            row.set_item("function", entry.operation.is_function())?;
            let terms = entry.operation.terms();
            row.set_item("shapes", format!("{:?}", terms.shapes))?;
            row.set_item("takes", format!("{:?}", terms.takes))?;
            row.set_item("gives", format!("{:?}", terms.gives))?;
            let in_place = entry.operation.name.ends_with('_');
            if let (crate::ops::registry::Kind::Pointwise(spec), false) = (entry.operation.kind, in_place) {
                let spec = spec();
                let domain: Vec<(f64, f64)> = spec.domain[..spec.arity].iter().map(|d| (d.low, d.high)).collect();
                row.set_item("arity", spec.arity)?;
                row.set_item("domain", domain)?;
                row.set_item("differentiable", spec.is_differentiable())?;
                row.set_item("node", spec.node)?;
                row.set_item("rule", format!("{:?}", spec.rule))?;
            }
            Ok(row.unbind())
        })
        .collect()
}

/// Functions that make tensors and tell what holds for all.
fn add_functions_of_tensors(module: &Bound<'_, PyModule>) -> PyResult<()> {
    for function in [
        wrap_pyfunction!(tensor, module)?,
        wrap_pyfunction!(as_tensor, module)?,
        wrap_pyfunction!(from_numpy, module)?,
        wrap_pyfunction!(_check_device, module)?,
        wrap_pyfunction!(_from_bytes, module)?,
        wrap_pyfunction!(super::dtype::result_type, module)?,
        wrap_pyfunction!(super::dtype::promote_types, module)?,
        wrap_pyfunction!(super::dtype::can_cast, module)?,
        wrap_pyfunction!(super::dlpack::_to_dlpack, module)?,
        wrap_pyfunction!(super::dlpack::_from_dlpack, module)?,
        wrap_pyfunction!(super::attributes::_legacy, module)?,
        wrap_pyfunction!(super::attributes::_use_count, module)?,
        wrap_pyfunction!(super::attributes::_swap_tensor_impl, module)?,
        wrap_pyfunction!(super::host::_set_warn_always, module)?,
        wrap_pyfunction!(super::host::_is_warn_always_enabled, module)?,
        wrap_pyfunction!(get_default_dtype, module)?,
        wrap_pyfunction!(set_default_dtype, module)?,
        wrap_pyfunction!(get_num_threads, module)?,
        wrap_pyfunction!(set_num_threads, module)?,
        wrap_pyfunction!(super::memory::memory_stats, module)?,
        wrap_pyfunction!(super::memory::memory_trim, module)?,
        wrap_pyfunction!(super::memory::_storage_bytes, module)?,
        wrap_pyfunction!(_set_printoptions, module)?,
        wrap_pyfunction!(_get_printoptions, module)?,
        wrap_pyfunction!(_operations, module)?,
    ] {
        module.add_function(function)?;
    }
    Ok(())
}

/// Functions that record, look at and run graphs, and measure what is run.
fn add_functions_of_graphs(module: &Bound<'_, PyModule>) -> PyResult<()> {
    for function in [
        wrap_pyfunction!(apply::_apply_function, module)?,
        wrap_pyfunction!(autograd::_backward, module)?,
        wrap_pyfunction!(autograd::_grad, module)?,
        wrap_pyfunction!(saved::_saved_values, module)?,
        wrap_pyfunction!(watch::_set_watch, module)?,
        wrap_pyfunction!(watch::_node_name, module)?,
        wrap_pyfunction!(watch::_given, module)?,
        wrap_pyfunction!(hooks::_tensor_hooks, module)?,
        wrap_pyfunction!(profiler::_profiler_start, module)?,
        wrap_pyfunction!(profiler::_profiler_stop, module)?,
        wrap_pyfunction!(profiler::_profiler_enabled, module)?,
        wrap_pyfunction!(profiler::_profiler_now, module)?,
        wrap_pyfunction!(profiler::_profiler_mark, module)?,
        wrap_pyfunction!(node::_node_outputs, module)?,
        wrap_pyfunction!(node::_node_keeps, module)?,
        wrap_pyfunction!(node::_set_version, module)?,
    ] {
        module.add_function(function)?;
    }
    Ok(())
}

/// The levels of maps, of transforms and of tangents.
fn add_functions_of_transforms(module: &Bound<'_, PyModule>) -> PyResult<()> {
    for function in [
        wrap_pyfunction!(batch::_vmap_enter, module)?,
        wrap_pyfunction!(batch::_vmap_exit, module)?,
        wrap_pyfunction!(batch::_add_batch_dim, module)?,
        wrap_pyfunction!(batch::_remove_batch_dim, module)?,
        wrap_pyfunction!(batch::_is_batched, module)?,
        wrap_pyfunction!(batch::_batch_place, module)?,
        wrap_pyfunction!(batch::_lay_examples, module)?,
        wrap_pyfunction!(batch::_batch_level, module)?,
        wrap_pyfunction!(batch::_map_info, module)?,
        wrap_pyfunction!(batch::_examples, module)?,
        wrap_pyfunction!(batch::_is_differentiated, module)?,
        wrap_pyfunction!(batch::_outside_map, module)?,
        wrap_pyfunction!(batch::_batched_value, module)?,
        wrap_pyfunction!(batch::_random_state, module)?,
        wrap_pyfunction!(batch::_set_random_state, module)?,
        wrap_pyfunction!(transform::_guard, module)?,
        wrap_pyfunction!(transform::_unguard, module)?,
        wrap_pyfunction!(transform::_enter_transform, module)?,
        wrap_pyfunction!(transform::_exit_transform, module)?,
        wrap_pyfunction!(transform::_fresh, module)?,
        wrap_pyfunction!(transform::_close, module)?,
        wrap_pyfunction!(transform::_kept, module)?,
        wrap_pyfunction!(transform::_counted, module)?,
        wrap_pyfunction!(transform::_released, module)?,
        wrap_pyfunction!(transform::_transform_grad, module)?,
        wrap_pyfunction!(transform::_graph_info, module)?,
        wrap_pyfunction!(forward::_enter_dual_level, module)?,
        wrap_pyfunction!(forward::_exit_dual_level, module)?,
        wrap_pyfunction!(forward::_current_dual_level, module)?,
        wrap_pyfunction!(forward::_set_fwd_grad_enabled, module)?,
        wrap_pyfunction!(forward::_is_fwd_grad_enabled, module)?,
        wrap_pyfunction!(forward::_make_dual, module)?,
        wrap_pyfunction!(forward::_unpack_dual, module)?,
    ] {
        module.add_function(function)?;
    }
    Ok(())
}

/// How operations are recorded, kept and put off.
fn add_modes(module: &Bound<'_, PyModule>) -> PyResult<()> {
    for function in [
        wrap_pyfunction!(modes::is_grad_enabled, module)?,
        wrap_pyfunction!(modes::_set_grad_enabled, module)?,
        wrap_pyfunction!(modes::is_inference_mode_enabled, module)?,
        wrap_pyfunction!(modes::_set_inference_mode, module)?,
        wrap_pyfunction!(modes::_restore_inference_mode, module)?,
        wrap_pyfunction!(modes::_set_layout_enforced, module)?,
        wrap_pyfunction!(modes::is_anomaly_enabled, module)?,
        wrap_pyfunction!(modes::is_anomaly_check_nan_enabled, module)?,
        wrap_pyfunction!(modes::_set_anomaly_enabled, module)?,
        wrap_pyfunction!(modes::_push_saved_tensors_hooks, module)?,
        wrap_pyfunction!(modes::_pop_saved_tensors_hooks, module)?,
        wrap_pyfunction!(modes::_disable_saved_tensors_hooks, module)?,
        wrap_pyfunction!(modes::_set_multithreading_enabled, module)?,
        wrap_pyfunction!(modes::_current_pass, module)?,
        wrap_pyfunction!(modes::_queue_callback, module)?,
        wrap_pyfunction!(modes::_pass_reaches, module)?,
        wrap_pyfunction!(modes::_is_multithreading_enabled, module)?,
        wrap_pyfunction!(modes::_pass_is_limited, module)?,
        wrap_pyfunction!(modes::_gradient_edge, module)?,
        wrap_pyfunction!(modes::_increment_version, module)?,
        wrap_pyfunction!(modes::_fusion_elements, module)?,
        wrap_pyfunction!(modes::_set_fusion, module)?,
        wrap_pyfunction!(modes::_is_pending, module)?,
    ] {
        module.add_function(function)?;
    }
    Ok(())
}

/// Objects for tensors are found and replaced under the interpreter's lock: a free-threaded interpreter is asked to keep it.
#[pymodule(gil_used = true)]
fn _ferrograd(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    silence_errors();
    memory::reserve::set_aside();
    module.add("OutOfMemoryError", out_of_memory(py)?)?;
    module.add_class::<PyTensor>()?;
    module.add_class::<PyDType>()?;
    module.add_class::<PyNode>()?;
    module.add("_SavedTensor", py.get_type::<super::saved::PySaved>())?;
    module.add_class::<PyHandle>()?;
    module.add_class::<PyContext>()?;
    super::object::install(py)?;
    install_host();
    super::interrupt::listen();
    for dtype in DType::all() {
        for name in std::iter::once(dtype.name()).chain(dtype.aliases().iter().copied()) {
            module.add(name, object(py, dtype)?)?;
        }
    }
    device::install(module)?;
    random::install(module)?;
    functions::install(module, &py.get_type::<PyTensor>())?;
    add_functions_of_tensors(module)?;
    add_functions_of_graphs(module)?;
    add_functions_of_transforms(module)?;
    add_modes(module)?;
    py.import("gc")?
        .getattr("callbacks")?
        .call_method1("append", (wrap_pyfunction!(super::gc::_collect_cycles, module)?,))?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}
