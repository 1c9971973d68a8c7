//! `autograd.Function`: operations whose forward and derivative are written in Python.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use pyo3::exceptions::{PyAttributeError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};
use smallvec::SmallVec;

use super::convert::ok;
use super::hooks::{PyHandle, attached, metadata, register_hook, register_prehook};
use super::node;
use super::tensor::{PyTensor, wrap};
use crate::error::Result;
use crate::graph::forward::{self, unrecorded};
use crate::graph::mode::is_grad_enabled;
use crate::graph::node::{Backward, Derivative, Edges};
use crate::graph::saved::Saved;
use crate::graph::{Edge, Gradients, NodeId, NodeRef};
use crate::ops::{inplace, view};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;

/// The context that forward and backward of one call share, and the node of the call as Python sees it.
#[pyclass(name = "_FunctionNode", module = "ferrograd._ferrograd", subclass, frozen, weakref)]
pub struct PyContext {
    state: Mutex<State>,
    node: OnceLock<NodeId>,
}

struct State {
    /// What forward asked to keep, until the call ends.
    to_save: Option<Py<PyTuple>>,
    to_save_forward: Option<Py<PyTuple>>,
    dirty: Option<Py<PyTuple>>,
    non_differentiable: Option<Py<PyTuple>>,
    materialize: bool,
    needs_input_grad: Option<Py<PyTuple>>,
    /// The kept values of the backward passes that are running, the innermost last.
    running: Vec<(NodeRef, Vec<Kept>)>,
}

/// A kept value; `None` where None was saved.
type Kept = Option<Saved>;

impl PyContext {
    fn kept(&self) -> PyResult<Option<(NodeRef, Vec<Kept>)>> {
        if let Some(last) = self.state.lock().running.last() {
            return Ok(Some(last.clone()));
        }
        let Some(node) = self.node.get().and_then(|id| id.upgrade()) else { return Ok(None) };
        let saved = node.saved().into_iter().map(|s| (s.source != NOTHING).then_some(s)).collect();
        Ok(Some((node, saved)))
    }

    /// The node that the call left.
    pub fn node(&self) -> PyResult<NodeRef> {
        self.node.get().and_then(|id| id.upgrade()).ok_or_else(|| {
            PyRuntimeError::new_err(
                "this context has no node of the graph: forward has not ended, nothing required a gradient, or the graph is gone",
            )
        })
    }
}

#[pymethods]
impl PyContext {
    #[new]
    #[pyo3(signature = (*_args))]
    fn new(_args: &Bound<'_, PyTuple>) -> PyContext {
        let state = State {
            to_save: None,
            to_save_forward: None,
            dirty: None,
            non_differentiable: None,
            materialize: true,
            needs_input_grad: None,
            running: Vec::new(),
        };
        PyContext { state: Mutex::new(state), node: OnceLock::new() }
    }

    /// Keeps tensors for backward; `saved_tensors` gives them back, checked to be unchanged. None is kept as None.
    #[pyo3(signature = (*tensors))]
    fn save_for_backward(&self, tensors: Py<PyTuple>) {
        self.state.lock().to_save = Some(tensors);
    }

    /// Keeps tensors for `jvp`.
    #[pyo3(signature = (*tensors))]
    fn save_for_forward(&self, tensors: Py<PyTuple>) {
        self.state.lock().to_save_forward = Some(tensors);
    }

    /// Says which inputs forward changed in place.
    #[pyo3(signature = (*args))]
    fn mark_dirty(&self, args: Py<PyTuple>) {
        self.state.lock().dirty = Some(args);
    }

    /// Says which outputs have no gradient.
    #[pyo3(signature = (*args))]
    fn mark_non_differentiable(&self, args: Py<PyTuple>) {
        self.state.lock().non_differentiable = Some(args);
    }

    /// Whether backward gets tensors of zeros in place of None.
    fn set_materialize_grads(&self, value: bool) {
        self.state.lock().materialize = value;
    }

    /// For every argument of forward, whether its gradient is wanted.
    #[getter]
    fn needs_input_grad(&self, py: Python<'_>) -> PyResult<Py<PyTuple>> {
        let state = self.state.lock();
        let missing = || PyAttributeError::new_err("needs_input_grad is known within apply() only");
        state.needs_input_grad.as_ref().map(|t| t.clone_ref(py)).ok_or_else(missing)
    }

    #[setter]
    fn set_needs_input_grad(&self, value: Py<PyTuple>) {
        self.state.lock().needs_input_grad = Some(value);
    }

    /// What `save_for_backward` kept.
    #[getter]
    fn saved_tensors<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let for_forward = {
            let state = self.state.lock();
            if state.running.is_empty() { state.to_save_forward.as_ref().map(|t| t.clone_ref(py)) } else { None }
        };
        if let Some(saved) = for_forward {
            return Ok(saved.into_bound(py));
        }
        let Some((node, kept)) = self.kept()? else {
            let state = self.state.lock();
            let saved = state.to_save.as_ref();
            return Ok(saved.map_or_else(|| PyTuple::empty(py), |t| t.bind(py).clone()));
        };
        let unpacked = kept.iter().map(|saved| match saved {
            Some(saved) => wrap(py, ok(saved.unpack_with_history(&node))?),
            None => Ok(py.None()),
        });
        PyTuple::new(py, unpacked.collect::<PyResult<Vec<_>>>()?)
    }

    /// The name of the function with `Backward` at its end.
    fn name(slf: &Bound<'_, Self>) -> PyResult<String> {
        Ok(slf.get_type().name()?.to_string())
    }

    /// The nodes of the tensors among the arguments, and which of their outputs each is.
    #[getter]
    fn next_functions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        node::next_functions(py, &self.node()?)
    }

    /// Calls `hook(grad_inputs, grad_outputs)` after backward ran.
    fn register_hook(&self, hook: Bound<'_, PyAny>) -> PyResult<PyHandle> {
        register_hook(&self.node()?, hook)
    }

    /// Calls `hook(grad_outputs)` before backward runs.
    fn register_prehook(&self, hook: Bound<'_, PyAny>) -> PyResult<PyHandle> {
        register_prehook(&self.node()?, hook)
    }

    /// A dictionary that stays with the node.
    #[getter]
    fn metadata(&self, py: Python<'_>) -> PyResult<Py<PyDict>> {
        Ok(metadata(py, &self.node()?))
    }

    /// The node's place in the order of recording.
    fn _sequence_nr(&self) -> PyResult<u64> {
        Ok(self.node()?.sequence())
    }
}

/// The mark of a place where None was saved.
const NOTHING: u8 = 255;
const SOMETHING: u8 = 0;

/// What does not change from pass to pass.
struct Call {
    context: Py<PyAny>,
    function: Py<PyAny>,
    name: &'static str,
    /// For every argument of forward, which edge it is; `None` for arguments that are not tensors.
    arguments: Vec<Option<usize>>,
    outputs: Vec<(Vec<usize>, DType)>,
    materialize: bool,
}

#[derive(Clone)]
struct PythonFunction {
    call: Arc<Call>,
    saved: SmallVec<[Saved; 2]>,
}

impl Derivative for PythonFunction {
    fn name(&self) -> &'static str {
        self.call.name
    }

    fn backward(&self, call: &Backward) -> Result<Gradients> {
        attached(|py| self.run(py, call))
    }

    fn take(&mut self, keep: bool) -> Self {
        PythonFunction { call: self.call.clone(), saved: self.saved.iter_mut().map(|s| s.take(keep)).collect() }
    }

    fn visit(&mut self, f: &mut dyn FnMut(&mut Saved)) {
        self.saved.iter_mut().for_each(f);
    }

    const CALLS_HOST: bool = true;
    const TAKES_UNDEFINED: bool = true;
}

impl PythonFunction {
    fn run(&self, py: Python<'_>, call: &Backward) -> PyResult<Gradients> {
        let context = self.call.context.bind(py).cast::<PyContext>()?;
        let kept = self.saved.iter().map(|s| (s.source != NOTHING).then(|| s.clone())).collect();
        context.get().state.lock().running.push((call.node.clone(), kept));
        let found = self.gradients(py, call);
        let done = context.get().state.lock().running.pop();
        drop(done);
        found
    }

    fn gradients(&self, py: Python<'_>, call: &Backward) -> PyResult<Gradients> {
        let mut arguments = vec![self.call.context.clone_ref(py)];
        for (gradient, (shape, dtype)) in call.gradients.iter().zip(&self.call.outputs) {
            arguments.push(match gradient {
                Some(g) => wrap(py, g.clone())?,
                None if self.call.materialize => wrap(py, ok(Tensor::zeros(shape, *dtype))?)?,
                None => py.None(),
            });
        }
        let found = self.call.function.bind(py).call_method1("backward", PyTuple::new(py, arguments)?)?;
        self.collected(&found)
    }

    /// The gradients of the tensors among the arguments, from what backward returned.
    fn collected(&self, found: &Bound<'_, PyAny>) -> PyResult<Gradients> {
        let single = PyTuple::new(found.py(), [found])?;
        let all = found.cast::<PyTuple>().unwrap_or(&single);
        let (expected, name) = (self.call.arguments.len(), self.call.name);
        if all.len() < expected || all.iter().skip(expected).any(|extra| !extra.is_none()) {
            return Err(PyRuntimeError::new_err(format!(
                "function {name} returned an incorrect number of gradients (expected {expected}, got {})",
                all.len()
            )));
        }
        let edges = self.call.arguments.iter().flatten().count();
        let mut gradients: Gradients = std::iter::repeat_with(|| None).take(edges).collect();
        for (position, (gradient, edge)) in all.iter().zip(&self.call.arguments).enumerate() {
            match (edge, gradient.cast::<PyTensor>()) {
                _ if gradient.is_none() => {}
                (Some(edge), Ok(g)) => gradients[*edge] = Some(g.get().get().clone()),
                (None, _) => {
                    return Err(PyRuntimeError::new_err(format!(
                        "function {name} returned a gradient different from None at position {}, but the corresponding forward input was not a Variable",
                        position + 1
                    )));
                }
                (Some(_), Err(_)) => {
                    let given = gradient.get_type().name()?;
                    return Err(PyRuntimeError::new_err(format!(
                        "function {name}: expected Variable or None (got {given}) at position {}",
                        position + 1
                    )));
                }
            }
        }
        Ok(gradients)
    }
}

/// The name for the lifetime of the process; there are as many as classes.
fn interned(name: String) -> &'static str {
    static NAMES: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let mut names = NAMES.lock();
    let names = names.get_or_insert_default();
    match names.get(name.as_str()) {
        Some(known) => known,
        None => {
            let name: &'static str = name.leak();
            names.insert(name);
            name
        }
    }
}

/// The context of a node made by [`apply`].
pub fn context(py: Python<'_>, node: &NodeRef) -> Option<Py<PyAny>> {
    node.with_derivative(|f: &PythonFunction| f.call.context.clone_ref(py))
}

fn tensor_of(object: &Bound<'_, PyAny>) -> Option<Tensor> {
    object.cast::<PyTensor>().ok().map(|t| t.get().get().clone())
}

/// Runs a function: forward without recording, then its node behind the outputs.
#[pyfunction]
#[pyo3(signature = (function, *arguments))]
pub fn _apply_function<'py>(
    function: &Bound<'py, PyType>,
    arguments: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = function.py();
    let inputs: Vec<Option<Tensor>> = arguments.iter().map(|a| tensor_of(&a)).collect();
    if inputs.iter().flatten().any(|t| t.batch().is_some()) {
        return py.import("ferrograd.autograd._mapped")?.call_method1("apply", (function, arguments));
    }
    let context = function.getattr("_backward_cls")?.call0()?;
    let needs: Vec<bool> = inputs.iter().map(|t| t.as_ref().is_some_and(Tensor::requires_grad)).collect();
    let recorded = is_grad_enabled() && needs.contains(&true);
    // Before forward, which may change inputs in place.
    let edges: Vec<Option<Option<Edge>>> =
        inputs.iter().map(|t| t.as_ref().map(|t| if recorded { t.gradient_edge() } else { None })).collect();
    let ctx = context.cast::<PyContext>()?.clone();
    ctx.get().state.lock().needs_input_grad = Some(PyTuple::new(py, &needs)?.unbind());
    let raw = unrecorded(|| run_forward(function, &context, arguments))?;
    let call = Finishing { function, context: &ctx, inputs: &inputs, edges, recorded };
    call.finish(raw)
}

/// Calls forward in the form that the class has.
fn run_forward<'py>(
    function: &Bound<'py, PyType>,
    context: &Bound<'py, PyAny>,
    arguments: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = function.py();
    if function.getattr("_separate_context")?.is_truthy()? {
        let output = function.call_method1("forward", arguments)?;
        function.call_method1("setup_context", (context, arguments, &output))?;
        return Ok(output);
    }
    let all: Vec<Bound<'_, PyAny>> = std::iter::once(context.clone()).chain(arguments.iter()).collect();
    function.call_method1("forward", PyTuple::new(py, all)?)
}

/// A call whose forward has run.
struct Finishing<'a, 'py> {
    function: &'a Bound<'py, PyType>,
    context: &'a Bound<'py, PyContext>,
    inputs: &'a [Option<Tensor>],
    edges: Vec<Option<Option<Edge>>>,
    recorded: bool,
}

impl<'py> Finishing<'_, 'py> {
    fn finish(self, raw: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = raw.py();
        let is_tuple = raw.is_instance_of::<PyTuple>();
        let given: Vec<Bound<'py, PyAny>> =
            if is_tuple { raw.cast::<PyTuple>()?.iter().collect() } else { vec![raw.clone()] };
        let (dirty, constant) = self.marked(py)?;
        self.check_dirty(&dirty, &given)?;
        let outputs: Vec<Option<Tensor>> = given
            .iter()
            .map(|o| tensor_of(o).map(|t| self.distinct(t, &dirty)).transpose())
            .collect::<PyResult<_>>()?;
        dirty.iter().for_each(|d| d.storage().bump(d.versioning()));
        let node = if self.recorded { Some(self.node(py, &outputs)?) } else { None };
        if let Some(node) = &node {
            let _ = self.context.get().node.set(node.id());
            for (n, output) in outputs.iter().enumerate() {
                if let Some(y) = output
                    && y.dtype().is_floating_point()
                    && !constant.iter().any(|c| c.is_same(y))
                {
                    let edge = Edge { node: node.clone(), output: n as u32 };
                    if dirty.iter().any(|d| d.is_same(y)) { inplace::rebase(y, edge) } else { y.set_history(edge) }
                }
            }
        }
        self.context.get().state.lock().to_save = None;
        if forward::is_active() {
            self.carry_tangents(py, &outputs, is_tuple)?;
        }
        let done = self.context.get().state.lock().to_save_forward.take();
        drop(done);
        let wrapped = |(o, t): (&Bound<'py, PyAny>, Option<Tensor>)| match t {
            Some(t) => wrap(py, t),
            None => Ok(o.clone().unbind()),
        };
        let mut all = given.iter().zip(outputs).map(wrapped).collect::<PyResult<Vec<_>>>()?;
        match all.pop() {
            Some(only) if !is_tuple => Ok(only.into_bound(py)),
            Some(last) => {
                all.push(last);
                Ok(PyTuple::new(py, all)?.into_any())
            }
            None => Ok(PyTuple::empty(py).into_any()),
        }
    }

    /// The tangents of the outputs, as the class's `jvp` gives them.
    fn carry_tangents(&self, py: Python<'py>, outputs: &[Option<Tensor>], is_tuple: bool) -> PyResult<()> {
        for level in forward::levels(self.inputs.iter().flatten()) {
            let mut given = vec![self.context.clone().into_any().unbind()];
            let materialize = self.context.get().state.lock().materialize;
            for input in self.inputs {
                let tangent = input.as_ref().map(|x| ok(x.tangent(level))).transpose()?.flatten();
                given.push(match (tangent, input) {
                    (Some(t), _) => wrap(py, t)?,
                    (None, Some(x)) if materialize && x.dtype().is_floating_point() => {
                        wrap(py, ok(Tensor::zeros(x.shape(), x.dtype()))?)?
                    }
                    _ => py.None(),
                });
            }
            let found = forward::outside(level, || self.function.call_method1("jvp", PyTuple::new(py, given)?))?;
            let found = if is_tuple { found.cast_into::<PyTuple>()? } else { PyTuple::new(py, [found])? };
            for (y, tangent) in outputs.iter().zip(found.iter()) {
                if let (Some(y), Some(tangent)) = (y, tensor_of(&tangent)) {
                    y.set_tangent(level, Some(tangent));
                }
            }
        }
        Ok(())
    }

    /// The tensors that forward marked as changed in place and as without gradient.
    fn marked(&self, py: Python<'py>) -> PyResult<(Vec<Tensor>, Vec<Tensor>)> {
        let mut state = self.context.get().state.lock();
        let (dirty, constant) = (state.dirty.take(), state.non_differentiable.take());
        drop(state);
        let tensors = |marked: Option<Py<PyTuple>>, what: &str| -> PyResult<Vec<Tensor>> {
            let Some(marked) = marked else { return Ok(Vec::new()) };
            let one = |o: Bound<'_, PyAny>| {
                let given = o.get_type().name().map_or("?".into(), |n| n.to_string());
                tensor_of(&o).ok_or_else(|| {
                    PyTypeError::new_err(format!("{what} can only be given tensors, got an argument of type {given}"))
                })
            };
            marked.bind(py).iter().map(one).collect()
        };
        Ok((tensors(dirty, "mark_dirty")?, tensors(constant, "mark_non_differentiable")?))
    }

    fn check_dirty(&self, dirty: &[Tensor], given: &[Bound<'py, PyAny>]) -> PyResult<()> {
        let is_input = |d: &Tensor| self.inputs.iter().flatten().any(|x| x.is_same(d));
        let is_output = |d: &Tensor| given.iter().filter_map(tensor_of).any(|y| y.is_same(d));
        for d in dirty {
            if self.recorded && d.requires_grad() && d.is_leaf() {
                return Err(PyRuntimeError::new_err(
                    "a leaf Variable that requires grad has been used in an in-place operation.",
                ));
            }
            if !is_output(d) {
                let which = if is_input(d) { "inputs" } else { "tensors" };
                return Err(PyRuntimeError::new_err(format!(
                    "Some elements marked as dirty during the forward method were not returned as output. The {which} that are modified inplace must all be outputs of the Function."
                )));
            }
        }
        Ok(())
    }

    /// An output as a tensor of its own: forward may return an input as it is, or a tensor with another history.
    fn distinct(&self, y: Tensor, dirty: &[Tensor]) -> PyResult<Tensor> {
        if dirty.iter().any(|d| d.is_same(&y)) {
            return Ok(y);
        }
        let is_input = self.inputs.iter().flatten().any(|x| x.is_same(&y));
        match () {
            () if is_input => ok(unrecorded(|| view::alias(&y))),
            () if self.recorded && y.requires_grad() => Ok(y.detach()),
            () => Ok(y),
        }
    }

    fn node(&self, py: Python<'py>, outputs: &[Option<Tensor>]) -> PyResult<NodeRef> {
        let mut edges = Edges::new();
        let mut arguments = Vec::new();
        for edge in &self.edges {
            arguments.push(edge.as_ref().map(|_| edges.len()));
            edges.extend(edge.iter().cloned());
        }
        let looks: Vec<(Vec<usize>, DType)> = outputs
            .iter()
            .map(|y| y.as_ref().map_or((Vec::new(), DType::F32), |y| (y.shape().to_vec(), y.dtype())))
            .collect();
        let call = Call {
            context: self.context.clone().into_any().unbind(),
            function: self.function.clone().into_any().unbind(),
            name: interned(self.context.get_type().name()?.to_string()),
            arguments,
            outputs: looks.clone(),
            materialize: self.context.get().state.lock().materialize,
        };
        let derivative = PythonFunction { call: Arc::new(call), saved: self.saved(py, outputs)? };
        let looks: Vec<(&[usize], DType)> = looks.iter().map(|(s, d)| (&s[..], *d)).collect();
        ok(NodeRef::keeping(derivative, edges, &looks))
    }

    /// What forward asked to keep: inputs with their history, outputs without.
    fn saved(&self, py: Python<'py>, outputs: &[Option<Tensor>]) -> PyResult<SmallVec<[Saved; 2]>> {
        let Some(to_save) = self.context.get().state.lock().to_save.take() else { return Ok(SmallVec::new()) };
        let one = |o: Bound<'py, PyAny>| -> PyResult<Saved> {
            if o.is_none() {
                return Ok(Saved::nothing());
            }
            let t = tensor_of(&o).ok_or_else(|| {
                let given = o.get_type().name().map_or("?".into(), |n| n.to_string());
                PyTypeError::new_err(format!(
                    "save_for_backward can only save variables, but argument is of type {given}"
                ))
            })?;
            let output = outputs.iter().position(|y| y.as_ref().is_some_and(|y| y.is_same(&t)));
            let mut saved = match output {
                Some(n) => Saved::nth_output(&t, n as u16),
                None => Saved::input(&t),
            };
            saved.source = SOMETHING;
            Ok(saved)
        };
        to_save.bind(py).iter().map(one).collect()
    }
}
