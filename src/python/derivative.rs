//! Derivatives that are written in Python: what a node of an `autograd.Function` runs.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use smallvec::SmallVec;

use super::convert::ok;
use super::function::PyContext;
use super::hooks::attached;
use super::tensor::{PyTensor, wrap};
use crate::error::{Error, Result};
use crate::graph::cycles::{Holder, Object};
use crate::graph::node::{Backward, Derivative};
use crate::graph::saved::Saved;
use crate::graph::{Gradients, NodeRef};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;

/// The mark of a place where None was saved.
pub const NOTHING: u8 = 255;
pub const SOMETHING: u8 = 0;

/// What does not change from pass to pass.
pub struct Call {
    pub context: Py<PyAny>,
    pub name: &'static str,
    /// For every argument of forward, which edge it is; `None` for arguments that are not tensors.
    pub arguments: Vec<Option<usize>>,
    /// Shape and dtype of every output; `None` for those that are not tensors.
    pub outputs: Vec<Option<(Vec<usize>, DType)>>,
    pub materialize: bool,
}

impl Holder for Call {
    fn links(&self, to: &mut Vec<Object>) {
        to.push(Object::Host(self.context.as_ptr() as usize));
    }
}

/// What forward asked to keep. The node and the context hold it, so that a context which outlives the graph still has it.
pub struct Values(pub Mutex<SmallVec<[Saved; 2]>>);

impl Values {
    pub fn new(all: impl IntoIterator<Item = Saved>) -> Arc<Values> {
        Arc::new(Values(Mutex::new(all.into_iter().collect())))
    }
}

impl Holder for Values {
    fn links(&self, to: &mut Vec<Object>) {
        self.0.lock().iter().for_each(|saved| saved.links(to));
    }
}

/// The derivative that a class of Python defines.
pub struct PythonFunction {
    pub call: Arc<Call>,
    pub saved: Arc<Values>,
}

impl Clone for PythonFunction {
    fn clone(&self) -> Self {
        PythonFunction { call: self.call.clone(), saved: Values::new(self.saved.0.lock().iter().cloned()) }
    }
}

impl Derivative for PythonFunction {
    fn name(&self) -> &'static str {
        self.call.name
    }

    fn backward(&mut self, call: &Backward) -> Result<Gradients> {
        attached(|py| self.run(py, call))
    }

    fn take(&mut self, keep: bool) -> Self {
        PythonFunction {
            call: self.call.clone(),
            saved: Values::new(self.saved.0.lock().iter_mut().map(|s| s.take(keep))),
        }
    }

    fn visit(&mut self, f: &mut dyn FnMut(&mut Saved)) {
        self.saved.0.lock().iter_mut().for_each(f);
    }

    fn links(&mut self, to: &mut Vec<Object>) {
        to.extend([Object::Holder(self.call.clone()), Object::Holder(self.saved.clone())]);
    }

    const CALLS_HOST: bool = true;
    const TAKES_UNDEFINED: bool = true;
}

impl PythonFunction {
    fn run(&self, py: Python<'_>, call: &Backward) -> PyResult<Gradients> {
        let context = self.call.context.bind(py).cast::<PyContext>()?.get();
        let reads_once = context.state.lock().reads_once;
        let mut saved = self.saved.0.lock();
        let own = if reads_once { std::mem::take(&mut *saved) } else { saved.clone() };
        drop(saved);
        let kept = own.into_iter().map(|s| (s.source != NOTHING).then_some(s)).collect();
        {
            let mut state = context.state.lock();
            state.read_once = false;
            state.running.push((call.node.clone(), kept));
        }
        let found = self.gradients(py, call);
        let done = context.state.lock().running.pop();
        drop(done);
        found
    }

    fn gradients(&self, py: Python<'_>, call: &Backward) -> PyResult<Gradients> {
        let mut arguments = Vec::with_capacity(call.gradients.len());
        for (gradient, output) in call.gradients.iter().zip(&self.call.outputs) {
            arguments.push(match (gradient, output) {
                (Some(g), _) => wrap(py, g.clone())?,
                (None, Some((shape, dtype))) if self.call.materialize => wrap(py, ok(Tensor::zeros(shape, *dtype))?)?,
                _ => py.None(),
            });
        }
        let found = self.call.context.bind(py).call_method1("apply", PyTuple::new(py, arguments)?)?;
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
                        "function {name} returned a gradient different than None at position {}, but the corresponding forward input was not a Variable",
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

/// Stands for a node that is gone: it has its name, and no derivative.
#[derive(Clone)]
pub struct Gone(pub &'static str);

impl Derivative for Gone {
    fn name(&self) -> &'static str {
        self.0
    }
    fn backward(&mut self, _call: &Backward) -> Result<Gradients> {
        Err(Error::GraphFreed { node: self.0 })
    }
    fn take(&mut self, _keep: bool) -> Self {
        self.clone()
    }
}

/// The name for the lifetime of the process; there are as many as classes.
pub fn interned(name: String) -> &'static str {
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

/// The context of a node whose derivative is written in Python; from now on it holds the node.
pub fn context(py: Python<'_>, node: &NodeRef) -> Option<Py<PyAny>> {
    let call = node.with_derivative(|f: &PythonFunction| f.call.clone())?;
    let context = call.context.clone_ref(py);
    if let Ok(this) = context.bind(py).cast::<PyContext>() {
        this.get().state.lock().held.get_or_insert_with(|| (node.clone(), call));
    }
    Some(context)
}
