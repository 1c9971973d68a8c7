//! The context of an `autograd.Function`, an operation whose forward and derivative are written in Python.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyTuple};

use super::convert::ok;
use super::derivative::{Call, Gone, NOTHING, Values, interned};
use super::hooks::{PyHandle, metadata, register_hook, register_prehook};
use super::node;
use super::saved::PySaved;
use super::tensor::wrap;
use crate::graph::cycles::Object;
use crate::graph::node::Edges;
use crate::graph::saved::Saved;
use crate::graph::{NodeId, NodeRef};
use crate::tensor::dtype::DType;

/// The context that forward and backward of one call share, and the node of the call as Python sees it.
#[pyclass(name = "_FunctionNode", module = "ferrograd._ferrograd", subclass, frozen, weakref)]
pub struct PyContext {
    pub(super) state: Mutex<State>,
    pub(super) node: OnceLock<NodeId>,
}

pub(super) struct State {
    /// What forward asked to keep, until the call ends.
    pub to_save: Option<Py<PyTuple>>,
    pub to_save_forward: Option<Py<PyTuple>>,
    pub dirty: Option<Py<PyTuple>>,
    pub non_differentiable: Option<Py<PyTuple>>,
    pub materialize: bool,
    /// Whether backward gets zeros for outputs that were marked as without gradient.
    pub materialize_constant: bool,
    pub needs_input_grad: Option<Py<PyTuple>>,
    /// True while `jvp` runs, which sees what was saved for it alone.
    pub within_jvp: bool,
    /// Whether the values that a pass takes are let go of once backward has read them.
    pub reads_once: bool,
    /// True once they were.
    pub read_once: bool,
    /// The kept values of the backward passes that are running, the innermost last.
    pub running: Vec<(NodeRef, Vec<Kept>)>,
    /// What forward asked to keep, once it has ended.
    pub values: Option<Arc<Values>>,
    /// The node and what it holds, from when Python was given this object as the node: who has it has the graph.
    pub held: Option<(NodeRef, Arc<Call>)>,
}

/// A kept value; `None` where None was saved.
type Kept = Option<Saved>;

impl PyContext {
    /// The kept values and their node, once forward has ended.
    fn kept(&self, name: impl FnOnce() -> PyResult<&'static str>) -> PyResult<Option<(NodeRef, Vec<Kept>)>> {
        if let Some(last) = self.state.lock().running.last() {
            return Ok(Some(last.clone()));
        }
        let Some(values) = self.state.lock().values.clone() else { return Ok(None) };
        let listed = |all: &[Saved]| all.iter().map(|s| (s.source != NOTHING).then(|| s.clone())).collect();
        if let Some(node) = self.node.get().and_then(|id| id.upgrade()) {
            let saved = listed(&node.saved());
            return Ok(Some((node, saved)));
        }
        let (name, saved): (_, Vec<Kept>) = (name()?, listed(&values.0.lock()));
        // An output has its shape from the node.
        if saved.iter().flatten().any(|s| s.as_output().is_some()) {
            return ok(Err(crate::Error::GraphFreed { node: name }));
        }
        Ok(Some((NodeRef::new(Gone(name), Edges::new(), &[], DType::F32), saved)))
    }

    /// Lets go of the kept values, as far as they are this pass's.
    fn let_go(&self) {
        let mut state = self.state.lock();
        state.read_once = true;
        let kept = state.running.last_mut().map(|(_, kept)| std::mem::take(kept));
        drop(state);
        drop(kept);
    }

    /// Adds the node and what it holds, where this object keeps them.
    pub fn links(&self, to: &mut Vec<Object>) {
        let Some(state) = self.state.try_lock() else { return };
        to.extend(state.values.clone().map(|values| Object::Holder(values)));
        if let Some((node, call)) = &state.held {
            to.push(Object::Node(node.clone()));
            to.push(Object::Holder(call.clone()));
        }
    }

    /// Lets go of the node and of what was kept.
    pub fn clear(&self) {
        let held = self.state.try_lock().map(|mut state| (state.held.take(), state.values.take()));
        drop(held);
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
            materialize_constant: true,
            needs_input_grad: None,
            within_jvp: false,
            reads_once: false,
            read_once: false,
            running: Vec::new(),
            values: None,
            held: None,
        };
        PyContext { state: Mutex::new(state), node: OnceLock::new() }
    }

    /// Keeps tensors for backward; `saved_tensors` gives them back, checked to be unchanged. None is kept as None.
    ///
    /// >>> class Square(ferrograd.autograd.Function):
    /// ...     @staticmethod
    /// ...     def forward(ctx, x):
    /// ...         ctx.save_for_backward(x)
    /// ...         return x * x
    /// ...     @staticmethod
    /// ...     def backward(ctx, grad):
    /// ...         return 2 * ctx.saved_tensors[0] * grad
    /// >>> x = ferrograd.tensor([3.0], requires_grad=True)
    /// >>> Square.apply(x).backward()
    /// >>> x.grad
    /// tensor([6.])
    #[pyo3(signature = (*tensors))]
    fn save_for_backward(&self, tensors: Py<PyTuple>) {
        self.state.lock().to_save = Some(tensors);
    }

    /// Keeps tensors for `jvp`.
    ///
    /// >>> class Scale(ferrograd.autograd.Function):
    /// ...     @staticmethod
    /// ...     def forward(ctx, x, y):
    /// ...         ctx.save_for_forward(y)
    /// ...         return x * y
    /// ...     @staticmethod
    /// ...     def jvp(ctx, tangent, _):
    /// ...         return tangent * ctx.saved_tensors[0]
    /// >>> ferrograd.func.jvp(lambda x: Scale.apply(x, ferrograd.tensor([3.0])), (ferrograd.ones(1),), (ferrograd.ones(1),))
    /// (tensor([3.]), tensor([3.]))
    #[pyo3(signature = (*tensors))]
    fn save_for_forward(&self, tensors: Py<PyTuple>) {
        self.state.lock().to_save_forward = Some(tensors);
    }

    /// Says which inputs forward changed in place.
    ///
    /// >>> class Zero(ferrograd.autograd.Function):
    /// ...     @staticmethod
    /// ...     def forward(ctx, x):
    /// ...         ctx.mark_dirty(x)
    /// ...         return x.zero_()
    /// ...     @staticmethod
    /// ...     def backward(ctx, grad):
    /// ...         return grad * 0
    /// >>> x = ferrograd.ones(2)
    /// >>> Zero.apply(x) is x
    /// True
    #[pyo3(signature = (*args))]
    fn mark_dirty(&self, args: Py<PyTuple>) {
        self.state.lock().dirty = Some(args);
    }

    /// Says which outputs have no gradient.
    ///
    /// >>> class Sorted(ferrograd.autograd.Function):
    /// ...     @staticmethod
    /// ...     def forward(ctx, x):
    /// ...         values, places = x.sort()
    /// ...         ctx.mark_non_differentiable(places)
    /// ...         return values, places
    /// >>> Sorted.apply(ferrograd.ones(2, requires_grad=True))[1].requires_grad
    /// False
    #[pyo3(signature = (*args))]
    fn mark_non_differentiable(&self, args: Py<PyTuple>) {
        self.state.lock().non_differentiable = Some(args);
    }

    /// Whether backward gets tensors of zeros in place of None.
    ///
    /// >>> class Twice(ferrograd.autograd.Function):
    /// ...     @staticmethod
    /// ...     def forward(ctx, x):
    /// ...         ctx.set_materialize_grads(False)
    /// ...         return x * 1, x * 2
    /// ...     @staticmethod
    /// ...     def backward(ctx, first, second):
    /// ...         print(first)
    /// ...         return second * 2
    /// >>> x = ferrograd.ones(1, requires_grad=True)
    /// >>> Twice.apply(x)[1].backward()
    /// None
    fn set_materialize_grads(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let Ok(value) = value.cast::<PyBool>() else {
            let given = value.get_type().name()?;
            return Err(PyTypeError::new_err(format!("set_materialize_grads: expected a bool, got {given}")));
        };
        self.state.lock().materialize = value.is_true();
        Ok(())
    }

    /// For every argument of forward, whether its gradient is wanted; None outside of `apply()`.
    ///
    /// >>> class Product(ferrograd.autograd.Function):
    /// ...     @staticmethod
    /// ...     def forward(ctx, x, y):
    /// ...         print(ctx.needs_input_grad)
    /// ...         return x * y
    /// >>> _ = Product.apply(ferrograd.ones(1, requires_grad=True), ferrograd.ones(1))
    /// (True, False)
    #[getter]
    fn needs_input_grad(&self, py: Python<'_>) -> Option<Py<PyTuple>> {
        self.state.lock().needs_input_grad.as_ref().map(|t| t.clone_ref(py))
    }

    #[setter]
    fn set_needs_input_grad(&self, value: Py<PyTuple>) {
        self.state.lock().needs_input_grad = Some(value);
    }

    /// What `save_for_backward` kept.
    /// RuntimeError once the graph is freed, and where a tensor was changed in place meanwhile.
    ///
    /// >>> class Square(ferrograd.autograd.Function):
    /// ...     @staticmethod
    /// ...     def forward(ctx, x):
    /// ...         ctx.save_for_backward(x)
    /// ...         return x * x
    /// >>> y = Square.apply(ferrograd.tensor([3.0], requires_grad=True))
    /// >>> y.grad_fn.saved_tensors
    /// (tensor([3.], requires_grad=True),)
    #[getter]
    fn saved_tensors<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let (py, this) = (slf.py(), slf.get());
        let shown =
            |saved: &Option<Py<PyTuple>>| saved.as_ref().map_or_else(|| PyTuple::empty(py), |t| t.bind(py).clone());
        let for_forward = {
            let state = this.state.lock();
            state.within_jvp.then(|| shown(&state.to_save_forward))
        };
        if let Some(saved) = for_forward {
            return Ok(saved);
        }
        if this.state.lock().read_once {
            return Err(PyRuntimeError::new_err(
                "saved_tensors can only be accessed once when clear_saved_tensors_on_access=True is set on the autograd.Function: access it once, or set clear_saved_tensors_on_access=False",
            ));
        }
        let Some((node, kept)) = this.kept(|| Ok(interned(Self::name(slf)?)))? else {
            return Ok(shown(&this.state.lock().to_save));
        };
        let unpacked = kept.iter().map(|saved| match saved {
            Some(saved) => wrap(py, ok(saved.unpack_with_history(&node))?),
            None => Ok(py.None()),
        });
        let unpacked = PyTuple::new(py, unpacked.collect::<PyResult<Vec<_>>>()?)?;
        if this.state.lock().reads_once {
            this.let_go();
        }
        Ok(unpacked)
    }

    /// The tensors that forward asked to keep, until the call ends; None before and after.
    ///
    /// >>> class Named(ferrograd.autograd.Function):
    /// ...     @staticmethod
    /// ...     def forward(ctx, x):
    /// ...         ctx.save_for_backward(x)
    /// ...         print(ctx.to_save)
    /// ...         return x * 1
    /// >>> _ = Named.apply(ferrograd.ones(1))
    /// (tensor([1.]),)
    #[getter]
    fn to_save(&self, py: Python<'_>) -> Option<Py<PyTuple>> {
        self.state.lock().to_save.as_ref().map(|t| t.clone_ref(py))
    }

    #[setter]
    fn set_to_save(&self, tensors: Option<Py<PyTuple>>) {
        self.state.lock().to_save = tensors;
    }

    /// The tensors that forward asked to keep for `jvp`, until the call ends; None before and after.
    ///
    /// >>> class Named(ferrograd.autograd.Function):
    /// ...     @staticmethod
    /// ...     def forward(ctx, x):
    /// ...         ctx.save_for_forward(x)
    /// ...         print(ctx.saved_for_forward)
    /// ...         return x * 1
    /// >>> _ = Named.apply(ferrograd.ones(1))
    /// (tensor([1.]),)
    #[getter]
    fn saved_for_forward(&self, py: Python<'_>) -> Option<Py<PyTuple>> {
        self.state.lock().to_save_forward.as_ref().map(|t| t.clone_ref(py))
    }

    #[setter]
    fn set_saved_for_forward(&self, tensors: Option<Py<PyTuple>>) {
        self.state.lock().to_save_forward = tensors;
    }

    /// The inputs that forward said it changed, until the call ends; None before and after.
    ///
    /// >>> class Named(ferrograd.autograd.Function):
    /// ...     @staticmethod
    /// ...     def forward(ctx, x):
    /// ...         print(ctx.dirty_tensors)
    /// ...         return x * 1
    /// >>> _ = Named.apply(ferrograd.ones(1))
    /// None
    #[getter]
    fn dirty_tensors(&self, py: Python<'_>) -> Option<Py<PyTuple>> {
        self.state.lock().dirty.as_ref().map(|t| t.clone_ref(py))
    }

    #[setter]
    fn set_dirty_tensors(&self, tensors: Option<Py<PyTuple>>) {
        self.state.lock().dirty = tensors;
    }

    /// The outputs that forward said have no gradient, until the call ends; None before and after.
    ///
    /// >>> class Named(ferrograd.autograd.Function):
    /// ...     @staticmethod
    /// ...     def forward(ctx, x):
    /// ...         print(ctx.non_differentiable)
    /// ...         return x * 1
    /// >>> _ = Named.apply(ferrograd.ones(1))
    /// None
    #[getter]
    fn non_differentiable(&self, py: Python<'_>) -> Option<Py<PyTuple>> {
        self.state.lock().non_differentiable.as_ref().map(|t| t.clone_ref(py))
    }

    #[setter]
    fn set_non_differentiable(&self, tensors: Option<Py<PyTuple>>) {
        self.state.lock().non_differentiable = tensors;
    }

    /// As what `set_materialize_grads` was last told.
    ///
    /// >>> class Named(ferrograd.autograd.Function):
    /// ...     @staticmethod
    /// ...     def forward(ctx, x):
    /// ...         print(ctx.materialize_grads)
    /// ...         return x * 1
    /// >>> _ = Named.apply(ferrograd.ones(1))
    /// True
    #[getter]
    fn materialize_grads(&self) -> bool {
        self.state.lock().materialize
    }

    #[setter(materialize_grads)]
    fn set_materialize_grads_attribute(&self, value: bool) {
        self.state.lock().materialize = value;
    }

    #[getter]
    fn _materialize_non_diff_grads(&self) -> bool {
        self.state.lock().materialize_constant
    }

    #[setter(_materialize_non_diff_grads)]
    fn set_materialize_non_diff_grads(&self, value: bool) {
        self.state.lock().materialize_constant = value;
    }

    /// True: what requires no gradient leaves no node.
    ///
    /// >>> class Same(ferrograd.autograd.Function):
    /// ...     @staticmethod
    /// ...     def forward(ctx, x):
    /// ...         return x * 1
    /// >>> Same.apply(ferrograd.ones(1, requires_grad=True)).grad_fn.requires_grad
    /// True
    #[getter]
    fn requires_grad(&self) -> bool {
        true
    }

    /// What `save_for_backward` kept, to let hooks take it.
    #[getter]
    fn _raw_saved_tensors<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let node = self.node()?;
        if node.saved().iter().any(Saved::is_freed) {
            return ok(Err(crate::Error::GraphFreed { node: node.name() }));
        }
        let count = node.saved().len();
        PyTuple::new(py, (0..count).map(|n| Py::new(py, PySaved::new(&node, n))).collect::<PyResult<Vec<_>>>()?)
    }

    /// The name of the function with `Backward` at its end.
    ///
    /// >>> class Same(ferrograd.autograd.Function):
    /// ...     @staticmethod
    /// ...     def forward(ctx, x):
    /// ...         return x.clone()
    /// >>> Same.apply(ferrograd.ones(1, requires_grad=True)).grad_fn.name()
    /// 'SameBackward'
    fn name(slf: &Bound<'_, Self>) -> PyResult<String> {
        Ok(slf.get_type().name()?.to_string())
    }

    /// The nodes of the tensors among the arguments, and which of their outputs each is.
    ///
    /// >>> class Same(ferrograd.autograd.Function):
    /// ...     @staticmethod
    /// ...     def forward(ctx, x):
    /// ...         return x.clone()
    /// >>> x = ferrograd.ones(1, requires_grad=True)
    /// >>> Same.apply(x).grad_fn.next_functions[0][0].variable is x
    /// True
    #[getter]
    fn next_functions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        node::next_functions(py, &self.node()?)
    }

    /// Calls `hook(grad_inputs, grad_outputs)` after backward ran.
    ///
    /// >>> class Same(ferrograd.autograd.Function):
    /// ...     @staticmethod
    /// ...     def forward(ctx, x):
    /// ...         return x.clone()
    /// ...     @staticmethod
    /// ...     def backward(ctx, grad):
    /// ...         return grad
    /// >>> y = Same.apply(ferrograd.ones(1, requires_grad=True))
    /// >>> handle = y.grad_fn.register_hook(lambda grad_inputs, grad_outputs: print(grad_outputs))
    /// >>> y.backward()
    /// (tensor([1.]),)
    fn register_hook(&self, hook: Bound<'_, PyAny>) -> PyResult<PyHandle> {
        register_hook(&self.node()?, hook)
    }

    /// Calls `hook(grad_outputs)` before backward runs.
    ///
    /// >>> class Same(ferrograd.autograd.Function):
    /// ...     @staticmethod
    /// ...     def forward(ctx, x):
    /// ...         return x.clone()
    /// ...     @staticmethod
    /// ...     def backward(ctx, grad):
    /// ...         return grad
    /// >>> x = ferrograd.ones(1, requires_grad=True)
    /// >>> y = Same.apply(x)
    /// >>> handle = y.grad_fn.register_prehook(lambda grad_outputs: (grad_outputs[0] * 5,))
    /// >>> y.backward()
    /// >>> x.grad
    /// tensor([5.])
    fn register_prehook(&self, hook: Bound<'_, PyAny>) -> PyResult<PyHandle> {
        register_prehook(&self.node()?, hook)
    }

    /// A dictionary that stays with the node.
    ///
    /// >>> class Same(ferrograd.autograd.Function):
    /// ...     @staticmethod
    /// ...     def forward(ctx, x):
    /// ...         return x.clone()
    /// >>> node = Same.apply(ferrograd.ones(1, requires_grad=True)).grad_fn
    /// >>> node.metadata["note"] = "a copy"
    /// >>> node.metadata
    /// {'note': 'a copy'}
    #[getter]
    fn metadata(&self, py: Python<'_>) -> PyResult<Py<PyDict>> {
        metadata(py, &self.node()?)
    }

    /// The node's place in the order of recording.
    fn _sequence_nr(&self) -> PyResult<u64> {
        Ok(self.node()?.sequence())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> std::result::Result<(), PyTraverseError> {
        let Some(state) = self.state.try_lock() else { return Ok(()) };
        let kept =
            [&state.to_save, &state.to_save_forward, &state.dirty, &state.non_differentiable, &state.needs_input_grad];
        kept.into_iter().try_for_each(|tuple| visit.call(tuple))
    }

    fn __clear__(&self) {
        let mut state = self.state.lock();
        let kept = (state.to_save.take(), state.to_save_forward.take(), state.dirty.take());
        let rest = (state.non_differentiable.take(), state.needs_input_grad.take(), state.held.take());
        drop(state);
        drop((kept, rest));
    }
}
