//! `apply`: the call of a function that is written in Python, from its forward to the node behind its outputs.

use std::ffi::CStr;
use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyUserWarning};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};
use smallvec::SmallVec;

use super::convert::ok;
use super::derivative::{Call, PythonFunction, SOMETHING, Values, interned};
use super::function::PyContext;
use super::tensor::{PyTensor, wrap};
use crate::graph::cycles;
use crate::graph::forward::{self, unrecorded};
use crate::graph::mode::is_grad_enabled;
use crate::graph::node::Edges;
use crate::graph::saved::Saved;
use crate::graph::{Edge, NodeRef};
use crate::ops::{cast, copy, inplace, view};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;

fn tensor_of(object: &Bound<'_, PyAny>) -> Option<Tensor> {
    object.cast::<PyTensor>().ok().map(|t| t.get().get().clone())
}

/// The name of a class, or of the class of an object.
fn type_name(object: &Bound<'_, PyAny>) -> String {
    let class = object.cast::<PyType>().cloned().unwrap_or_else(|_| object.get_type());
    class.name().map_or_else(|_| "?".into(), |name| name.to_string())
}

/// A tangent that `jvp` gave for output `n`.
fn checked_tangent(n: usize, y: &Tensor, tangent: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    let Some(t) = tensor_of(tangent) else {
        let given = type_name(tangent);
        return Err(PyRuntimeError::new_err(format!("expected Variable or None (got {given}) for grad output {n}.")));
    };
    if t.shape() != y.shape() {
        return Err(PyRuntimeError::new_err(format!(
            "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not supported. Tensor is of size {:?} while the given forward gradient is of size {:?}.",
            y.shape(),
            t.shape()
        )));
    }
    if !t.dtype().is_floating_point() {
        let dtype = t.dtype();
        return Err(PyRuntimeError::new_err(format!(
            "Function's jvp returned a forward gradient of dtype {dtype} at position {n}: a tangent is of floating-point numbers."
        )));
    }
    ok(cast::to(&t, y.dtype()))
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
    let tangents = if forward::is_active() { ok(tangents(&inputs))? } else { Vec::new() };
    let raw = unrecorded(|| run_forward(function, &context, arguments))?;
    let call = Finishing { function, context: &ctx, inputs: &inputs, edges, tangents, recorded };
    call.finish(raw)
}

/// For every level of forward mode that an input has a tangent of, the tangents of all inputs.
type Tangents = Vec<(usize, Vec<Option<Tensor>>)>;

fn tangents(inputs: &[Option<Tensor>]) -> crate::Result<Tangents> {
    let at = |level| -> crate::Result<_> {
        let tangent = |x: &Option<Tensor>| Ok(x.as_ref().map(|x| x.tangent(level)).transpose()?.flatten());
        Ok((level, inputs.iter().map(tangent).collect::<crate::Result<_>>()?))
    };
    forward::levels(inputs.iter().flatten()).into_iter().map(at).collect()
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

/// What is wrong with the memory of the tangent of an output that lies in an input's memory, if anything is.
fn wrong_memory(dirty: bool, is_changed: bool, of_input: &Tensor, tangent: &Tensor) -> Option<&'static str> {
    let shares = of_input.storage().as_ptr() == tangent.storage().as_ptr();
    match () {
        () if dirty && !(shares && is_changed) => Some(
            "An inplace custom Function is not modifying the forward mode gradients inplace. If the forward is modifying an input inplace, then the jvp function must modify the corresponding gradient inplace.",
        ),
        () if dirty => None,
        () if tangent.view_of().is_none() || tangent.is_same(of_input) => Some(
            "A custom Function's forward is returning a view (or an input as-is) but the jvp is not returning a view.",
        ),
        () if shares => None,
        () => Some(
            "A custom Function is returning a view but the jvp is not returning a view of the given grad input (where that is a view: the jvp is not returning a view of the same base as the given grad input).",
        ),
    }
}

/// A call whose forward has run.
struct Finishing<'a, 'py> {
    function: &'a Bound<'py, PyType>,
    context: &'a Bound<'py, PyContext>,
    inputs: &'a [Option<Tensor>],
    edges: Vec<Option<Option<Edge>>>,
    /// Those of the inputs before forward, which may change inputs in place.
    tangents: Tangents,
    recorded: bool,
}

/// A tensor that forward returned, as it will be handed out.
struct Returned {
    tensor: Tensor,
    dirty: bool,
    differentiable: bool,
    /// False for what forward marked as without gradient, and for what has no derivatives.
    may_move: bool,
}

impl<'py> Finishing<'_, 'py> {
    fn finish(self, raw: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = raw.py();
        let is_tuple = raw.is_instance_of::<PyTuple>();
        let given: Vec<Bound<'py, PyAny>> =
            if is_tuple { raw.cast::<PyTuple>()?.iter().collect() } else { vec![raw.clone()] };
        let (dirty, constant) = self.marked(py)?;
        self.check_dirty(&dirty, &given)?;
        let outputs: Vec<Option<Returned>> = given
            .iter()
            .map(|o| tensor_of(o).map(|t| self.returned(t, &dirty, &constant)).transpose())
            .collect::<PyResult<_>>()?;
        dirty.iter().for_each(|d| d.storage().bump(d.versioning()));
        let node = if self.recorded { Some(self.linked(py, &outputs)?) } else { None };
        let saved = self.context.get().state.lock().to_save.take();
        drop(saved);
        for (level, tangents) in &self.tangents {
            self.carry_tangents(py, *level, tangents, &outputs, node.as_ref())?;
        }
        let done = self.context.get().state.lock().to_save_forward.take();
        drop(done);
        let wrapped = |(o, y): (&Bound<'py, PyAny>, Option<Returned>)| match y {
            Some(y) => wrap(py, y.tensor),
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

    /// The node of the call, set behind the outputs.
    fn linked(&self, py: Python<'py>, outputs: &[Option<Returned>]) -> PyResult<NodeRef> {
        let node = self.node(py, outputs)?;
        cycles::note(&node);
        let _ = self.context.get().node.set(node.id());
        for (n, output) in outputs.iter().enumerate() {
            if let Some(y) = output.as_ref().filter(|y| y.differentiable) {
                let edge = Edge { node: node.clone(), output: n as u32 };
                if y.dirty { inplace::rebase(&y.tensor, edge) } else { y.tensor.set_history(edge) }
            }
        }
        Ok(node)
    }

    /// The tangents of the outputs at a level, as the class's `jvp` gives them.
    fn carry_tangents(
        &self,
        py: Python<'py>,
        level: usize,
        tangents: &[Option<Tensor>],
        outputs: &[Option<Returned>],
        node: Option<&NodeRef>,
    ) -> PyResult<()> {
        let tangents = &self.own_tangents(level, tangents, outputs)?[..];
        let mut given = vec![self.context.clone().into_any().unbind()];
        let materialize = {
            let mut state = self.context.get().state.lock();
            state.within_jvp = true;
            state.materialize
        };
        for (tangent, input) in tangents.iter().zip(self.inputs) {
            given.push(match (tangent, input) {
                (Some(t), _) => wrap(py, t.clone())?,
                (None, Some(x)) if materialize && x.dtype().is_floating_point() => {
                    wrap(py, ok(Tensor::zeros(x.shape(), x.dtype()))?)?
                }
                _ => py.None(),
            });
        }
        let versions: Vec<Option<u32>> = tangents.iter().map(|t| t.as_ref().map(Tensor::version)).collect();
        let found = forward::outside(level, || self.function.call_method1("jvp", PyTuple::new(py, given)?));
        self.context.get().state.lock().within_jvp = false;
        let found = found?;
        let found = match found.cast::<PyTuple>() {
            Ok(all) => all.clone(),
            _ => PyTuple::new(py, [found])?,
        };
        if found.len() != outputs.len() {
            let (expected, given) = (outputs.len(), found.len());
            return Err(PyRuntimeError::new_err(format!(
                "Function's jvp returned an invalid number of forward gradients (expected {expected} but got {given})"
            )));
        }
        for (n, (output, tangent)) in outputs.iter().zip(found.iter()).enumerate() {
            if let Some(y) = output
                && !tangent.is_none()
            {
                if !y.may_move {
                    return Err(PyRuntimeError::new_err(format!(
                        "Function's jvp returned a gradient at position {n}, but the corresponding forward output is not a differentiable Tensor. You should return None at that position instead."
                    )));
                }
                let tangent = checked_tangent(n, &y.tensor, &tangent)?;
                self.check_memory(y, tangents, &versions, &tangent)?;
                match node {
                    // Backward may read the output, and its derivative then has the tangent too.
                    Some(node) => forward::carry(node, n, &y.tensor, level, tangent),
                    None => y.tensor.set_tangent(level, Some(tangent)),
                }
            }
        }
        Ok(())
    }

    /// The tangents, with copies of those of inputs that forward has changed in place: `jvp` changes these in place too, and
    /// other tensors may have the same tangent.
    fn own_tangents(
        &self,
        level: usize,
        tangents: &[Option<Tensor>],
        outputs: &[Option<Returned>],
    ) -> PyResult<Vec<Option<Tensor>>> {
        let is_changed = |x: &Tensor| outputs.iter().flatten().any(|y| y.dirty && y.tensor.is_same(x));
        let own = |(t, x): (&Option<Tensor>, &Option<Tensor>)| match (t, x) {
            (Some(t), Some(x)) if is_changed(x) => forward::outside(level, || copy::clone(t)).map(Some),
            (t, _) => Ok(t.clone()),
        };
        ok(tangents.iter().zip(self.inputs).map(own).collect())
    }

    /// An output in the memory of an input has its tangent in the memory of the input's: changes in place of the one
    /// are changes of the other.
    fn check_memory(
        &self,
        y: &Returned,
        tangents: &[Option<Tensor>],
        versions: &[Option<u32>],
        tangent: &Tensor,
    ) -> PyResult<()> {
        let shares = |a: &Tensor, b: &Tensor| a.storage().as_ptr() == b.storage().as_ptr();
        let of_input = self.inputs.iter().zip(tangents).zip(versions).find_map(|((x, t), version)| match (x, t) {
            (Some(x), Some(t)) if shares(x, &y.tensor) => Some((t, *version != Some(t.version()))),
            _ => None,
        });
        match of_input {
            Some((t, is_changed)) if y.tensor.numel() > 0 && (y.dirty || y.tensor.view_of().is_some()) => {
                wrong_memory(y.dirty, is_changed, t, tangent)
                    .map_or(Ok(()), |message| Err(PyRuntimeError::new_err(message)))
            }
            _ => Ok(()),
        }
    }

    /// The tensors that forward marked as changed in place and as without gradient.
    fn marked(&self, py: Python<'py>) -> PyResult<(Vec<Tensor>, Vec<Tensor>)> {
        let mut state = self.context.get().state.lock();
        let (dirty, constant) = (state.dirty.take(), state.non_differentiable.take());
        drop(state);
        let tensors = |marked: Option<Py<PyTuple>>, what: &str| -> PyResult<Vec<Tensor>> {
            let Some(marked) = marked else { return Ok(Vec::new()) };
            let one = |(n, o): (usize, Bound<'_, PyAny>)| {
                tensor_of(&o).ok_or_else(|| {
                    let given = type_name(&o);
                    PyRuntimeError::new_err(format!("{what} only accepts tensors, but argument {n} is of type {given}"))
                })
            };
            marked.bind(py).iter().enumerate().map(one).collect()
        };
        Ok((tensors(dirty, "mark_dirty")?, tensors(constant, "mark_non_differentiable")?))
    }

    fn check_dirty(&self, dirty: &[Tensor], given: &[Bound<'py, PyAny>]) -> PyResult<()> {
        let is_input = |d: &Tensor| self.inputs.iter().flatten().any(|x| x.is_same(d));
        let is_output = |d: &Tensor| given.iter().filter_map(tensor_of).any(|y| y.is_same(d));
        for d in dirty {
            if self.recorded && d.requires_grad() && d.is_leaf() && d.view_of().is_none() {
                return Err(PyRuntimeError::new_err(
                    "a leaf Variable that requires grad has been used in an in-place operation.",
                ));
            }
            if !is_input(d) {
                self.warn_not_input(d)?;
            } else if self.recorded {
                let name = interned(type_name(self.function.as_any()));
                ok(inplace::check(name, d).and_then(|()| inplace::check_recorded(name, d)))?;
            }
            if !is_output(d) {
                let which = if is_input(d) { "inputs" } else { "tensors" };
                return Err(PyRuntimeError::new_err(format!(
                    "Some elements marked as dirty during the forward method were not returned as output. The {which} that are modified inplace must all be outputs of the Function."
                )));
            }
            if self.recorded && d.view_of().is_some() && given.iter().filter(|y| tensor_of(y).is_some()).count() > 1 {
                return Err(PyRuntimeError::new_err(
                    "If your Function modifies inplace an input that is a view of another Tensor, your Function cannot return more than one Tensor. This is not supported by the current autograd engine: make a copy with .clone() of the view first, or return the other tensors from another Function.",
                ));
            }
        }
        Ok(())
    }

    /// What `mark_dirty` is told of a tensor that is no input: a warning, and an error for a view, whose base would have
    /// to be told.
    fn warn_not_input(&self, dirty: &Tensor) -> PyResult<()> {
        const NOT_INPUT: &CStr = c"ctx.mark_dirty() received a tensor that was not an input. Only input Tensors that have been mutated should be passed to ctx.mark_dirty().";
        if dirty.view_of().is_some() {
            return Err(PyRuntimeError::new_err(NOT_INPUT.to_string_lossy().into_owned()));
        }
        let py = self.function.py();
        PyErr::warn(py, &py.get_type::<PyUserWarning>(), NOT_INPUT, 1)
    }

    /// An output as a tensor of its own: forward may return an input as it is, or a tensor with another history.
    fn returned(&self, y: Tensor, dirty: &[Tensor], constant: &[Tensor]) -> PyResult<Returned> {
        let among = |all: &[Tensor]| all.iter().any(|t| t.is_same(&y));
        let (dirty, constant) = (among(dirty), among(constant));
        let may_move = y.dtype().is_floating_point();
        let differentiable = self.recorded && !constant && may_move;
        let is_input = self.inputs.iter().flatten().any(|x| x.is_same(&y));
        let tensor = match () {
            // Whatever history it had is not this function's.
            () if !is_grad_enabled() && !constant && !is_input && y.view_of().is_some() => y,
            () if !differentiable && y.requires_grad() => y.detach(),
            () if dirty => y,
            () if is_input => ok(unrecorded(|| view::alias(&y)))?,
            () if y.is_connected() => y.detach(),
            () => y,
        };
        Ok(Returned { tensor, dirty, differentiable, may_move: !constant && may_move })
    }

    fn node(&self, py: Python<'py>, outputs: &[Option<Returned>]) -> PyResult<NodeRef> {
        let mut edges = Edges::new();
        let mut arguments = Vec::new();
        for edge in &self.edges {
            arguments.push(edge.as_ref().map(|_| edges.len()));
            edges.extend(edge.iter().cloned());
        }
        let look = |y: &Returned| (y.tensor.shape().to_vec(), y.tensor.dtype());
        let looks: Vec<Option<(Vec<usize>, DType)>> = outputs.iter().map(|y| y.as_ref().map(look)).collect();
        let reads_once = self.function.getattr("clear_saved_tensors_on_access")?.is_truthy()?;
        let (constants, materialize) = {
            let mut state = self.context.get().state.lock();
            state.reads_once = reads_once;
            (state.materialize_constant, state.materialize)
        };
        let is_moved = |y: &Option<Returned>| y.as_ref().is_some_and(|y| y.differentiable);
        let call = Call {
            context: self.context.clone().into_any().unbind(),
            name: interned(type_name(self.context.as_any())),
            arguments,
            outputs: looks
                .iter()
                .zip(outputs)
                .map(|(look, y)| look.clone().filter(|_| constants || is_moved(y)))
                .collect(),
            materialize,
        };
        let saved = Values::new(self.saved(py, outputs)?);
        self.context.get().state.lock().values = Some(saved.clone());
        let derivative = PythonFunction { call: Arc::new(call), saved };
        let looks: Vec<(&[usize], DType)> =
            looks.iter().map(|look| look.as_ref().map_or((&[][..], DType::F32), |(s, d)| (&s[..], *d))).collect();
        ok(NodeRef::keeping(derivative, edges, &looks))
    }

    /// What forward asked to keep: inputs with their history, outputs without.
    fn saved(&self, py: Python<'py>, outputs: &[Option<Returned>]) -> PyResult<SmallVec<[Saved; 2]>> {
        let Some(to_save) = self.context.get().state.lock().to_save.take() else { return Ok(SmallVec::new()) };
        let one = |(n, o): (usize, Bound<'py, PyAny>)| -> PyResult<Saved> {
            if o.is_none() {
                return Ok(Saved::nothing());
            }
            let t = tensor_of(&o).ok_or_else(|| {
                let given = type_name(&o);
                PyTypeError::new_err(format!(
                    "save_for_backward can only save variables, but argument {n} is of type {given}"
                ))
            })?;
            // An output without gradient has no history to give back: it is kept as it is.
            let is_kept = |y: &Returned| y.differentiable && y.tensor.is_same(&t);
            let output = outputs.iter().position(|y| y.as_ref().is_some_and(is_kept));
            let mut saved = match output {
                Some(n) => Saved::nth_output(&t, n as u16),
                None => Saved::input(&t),
            };
            saved.source = SOMETHING;
            Ok(saved)
        };
        to_save.bind(py).iter().enumerate().map(one).collect()
    }
}
