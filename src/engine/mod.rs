//! The backward pass: a plan of the nodes that are reached, run in the order of recording from the last to the first.

pub mod accumulate;
mod anomaly;
mod hooks;
mod piecewise;
pub mod plan;
pub mod run;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::graph::forward;
use crate::graph::mode::{self, GradMode};
use crate::graph::node::Edge;
use crate::graph::transform::bare;
use crate::graph::{NodeRef, cycles};
use crate::host::host;
use crate::kernels::parallel;
use crate::memory;
use crate::ops::batch;
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::Shape;
use plan::Plan;

/// What a backward pass may be asked beside what it starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// Keeps the saved values for another pass.
    pub retain_graph: bool,
    /// Records the pass itself, for derivatives of derivatives.
    pub create_graph: bool,
    /// Gives `None` for inputs that the outputs do not depend on, in place of an error.
    pub allow_unused: bool,
}

/// Raises what the host language has to raise, such as an interrupt from the keyboard.
fn interrupted() -> Result<()> {
    host().map_or(Ok(()), |host| (host.interrupted)())
}

/// What a pass starts from or leads to: a tensor, or the place in the graph where a tensor's gradient goes.
#[derive(Clone)]
pub enum Place {
    /// A tensor.
    Tensor(Tensor),
    /// An output of a node.
    Edge(Edge),
}

impl Place {
    fn edge(&self) -> Option<Edge> {
        match self {
            Place::Tensor(t) => t.gradient_edge(),
            Place::Edge(edge) => Some(edge.clone()),
        }
    }

    /// As [`Self::edge`] for an input. A view that requires a gradient only because its base does has a node of its own, which
    /// nothing leads to.
    fn capture(&self) -> Option<Edge> {
        let stray = || match self {
            Place::Tensor(t) if t.requires_grad() => Some(Edge { node: t.accumulator(), output: 0 }),
            _ => None,
        };
        self.edge().or_else(stray)
    }

    fn levels(&self) -> Levels {
        match self {
            Place::Tensor(t) => batch::levels(t),
            Place::Edge(_) => Levels::new(),
        }
    }

    /// Shape and dtype.
    pub fn look(&self) -> (Shape, DType) {
        match self {
            Place::Tensor(t) => (t.layout().shape.clone(), t.dtype()),
            Place::Edge(edge) => edge.node.output(edge.output as usize),
        }
    }
}

impl From<&Tensor> for Place {
    fn from(tensor: &Tensor) -> Place {
        Place::Tensor(tensor.clone())
    }
}

/// A backward pass, checked and planned.
pub struct Pass {
    plan: Plan,
    roots: Roots,
    /// For every input, the batches it is in.
    levels: SmallVec<[Levels; 2]>,
    options: Options,
    /// Whether the pass was limited to what leads to some inputs.
    is_limited: bool,
}

/// Where a pass starts, and with what gradients.
type Roots = SmallVec<[(Edge, Tensor); 1]>;

/// An empty list with room for what a caller gives.
///
/// # Errors
/// Where there is no memory.
fn room<A: smallvec::Array>(count: usize) -> Result<SmallVec<A>> {
    let mut all = SmallVec::new();
    memory::ask("backward", count.saturating_mul(size_of::<A::Item>()), || all.try_reserve_exact(count))?;
    Ok(all)
}

/// The batches that a tensor is in.
type Levels = SmallVec<[(u32, usize); 2]>;

impl Pass {
    /// Plans a pass from `outputs` with their starting gradients; `inputs` limits it to what leads there.
    ///
    /// # Errors
    /// For outputs without history, gradients that do not fit, and inputs that require no gradient.
    pub fn new(
        outputs: &[Place],
        gradients: &[Option<Tensor>],
        inputs: Option<&[Place]>,
        options: Options,
    ) -> Result<Pass> {
        cycles::collect_where_due();
        if !gradients.is_empty() && gradients.len() != outputs.len() {
            return Err(Error::GradientCount { outputs: outputs.len(), grads: gradients.len() });
        }
        let mut roots: Roots = room(outputs.len())?;
        for (index, output) in outputs.iter().enumerate() {
            let edge = output.edge().ok_or(Error::NoGradient { index })?;
            let given = gradients.get(index).and_then(Option::as_ref);
            let gradient = starting_gradient(index, output, given, options.create_graph)?;
            roots.push((edge, batch::peeled(&gradient, &output.levels())?));
        }
        let mut captures: SmallVec<[Edge; 2]> = room(inputs.unwrap_or_default().len())?;
        for (index, input) in inputs.unwrap_or_default().iter().enumerate() {
            captures.push(input.capture().ok_or(Error::InputWithoutGrad { index })?);
        }
        let plan = Plan::new(roots.iter().map(|r| &r.0), inputs.map(|_| &captures[..]))?;
        let mut levels: SmallVec<[Levels; 2]> = room(inputs.unwrap_or_default().len())?;
        levels.extend(inputs.unwrap_or_default().iter().map(Place::levels));
        Ok(Pass { plan, roots, levels, options, is_limited: inputs.is_some() })
    }

    /// Plans a pass that accumulates: into all leaves, or into `inputs` alone. Results among these keep their gradients from now
    /// on, as if [`Tensor::retain_grad`] had been called. The pass gives nothing.
    ///
    /// # Errors
    /// As [`Pass::new`].
    pub fn accumulating(
        outputs: &[Place],
        gradients: &[Option<Tensor>],
        inputs: Option<&[Place]>,
        options: Options,
    ) -> Result<Pass> {
        let mut pass = Pass::new(outputs, gradients, inputs, options)?;
        for input in inputs.unwrap_or_default() {
            if let Place::Tensor(result) = input {
                result.retain_grad()?;
            }
        }
        pass.plan.captures = None;
        pass.levels.clear();
        Ok(pass)
    }

    /// True where the pass is long enough to let other threads of a host language run meanwhile.
    pub fn is_long(&self) -> bool {
        self.plan.len() > 256 || self.plan.elements() > 1 << 15 || self.plan.is_wide() || DEPTH.get() > 0
    }

    /// Runs the pass; gives the gradients of the inputs it was limited to, in their order.
    ///
    /// # Errors
    /// What derivatives raise. Gradients that were accumulated until then stay.
    pub fn run(self) -> Result<Vec<Option<Tensor>>> {
        let _mode = GradMode::set(self.options.create_graph);
        let _hooks = mode::HooksKept::note();
        let depth = DEPTH.get();
        if depth < DEEPEST {
            return self.run_at(depth + 1);
        }
        // A pass within a pass within a pass: the next goes on with the stack of a new thread.
        let (mode, watch) = (mode::Snapshot::take(), parallel::Watch::take());
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK);
            let run = thread.spawn_scoped(scope, || watch.run(|| mode.run(|| self.run_at(1))));
            match run.map(|handle| handle.join()) {
                Ok(Ok(found)) => found,
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::OutOfMemory { op: "backward", bytes: STACK }),
            }
        })
    }

    fn run_at(self, depth: u32) -> Result<Vec<Option<Tensor>>> {
        struct Restore(u32, u32, bool);
        impl Drop for Restore {
            fn drop(&mut self) {
                DEPTH.set(self.0);
                PASS.set(self.1);
                LIMITED.set(self.2);
            }
        }
        let limited = LIMITED.replace(self.is_limited);
        let _restore = Restore(DEPTH.replace(depth), PASS.replace(self.plan.number()), limited);
        let outer = CALLBACKS.take();
        let found = run::run(self.plan, self.roots, self.options).and_then(|found| call_back().map(|()| found));
        CALLBACKS.set(outer);
        let found = found?;
        if self.levels.iter().all(SmallVec::is_empty) {
            return Ok(found);
        }
        let dressed = |(g, levels): (Option<Tensor>, &Levels)| g.map(|g| batch::dressed(&g, levels)).transpose();
        memory::gathered("backward", self.levels.len(), found.into_iter().zip(&self.levels).map(dressed))
    }
}

/// The number of the pass that this thread is in, for its hooks; 0 outside of any.
pub fn current_pass() -> u32 {
    PASS.get()
}

/// How many passes run on this thread, one within the other.
fn depth() -> u32 {
    DEPTH.get()
}

/// How many of them rest.
fn resting() -> u32 {
    RESTING.get()
}

/// True where a pass of this thread moves.
pub(crate) fn is_moving_here() -> bool {
    depth() > resting()
}

/// A call of the host language in the middle of a pass. The passes of this thread rest meanwhile: nothing that they have is
/// moved, so that others may look at it. Made before the lock of the host language is taken, dropped before it is given back.
pub struct Rest {
    before: u32,
    passes: u32,
}

impl Rest {
    /// Lets the passes of this thread rest that do not yet.
    pub fn begin() -> Rest {
        let before = RESTING.replace(depth());
        let passes = depth() - before;
        if passes > 0 {
            plan::rest(passes);
        }
        Rest { before, passes }
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        if self.passes > 0 {
            plan::go_on(self.passes);
        }
        RESTING.set(self.before);
    }
}

/// What a pass calls at its end.
pub type Callback = Box<dyn FnOnce() -> Result<()>>;

/// Has the pass that this thread is in call a function at its end, after those that were queued before.
///
/// # Errors
/// Outside of a pass.
pub fn queue_callback(callback: Callback) -> Result<()> {
    if depth() == 0 {
        return Err(Error::CallbackOutsidePass);
    }
    CALLBACKS.with_borrow_mut(|all| all.push_back(callback));
    Ok(())
}

/// Calls what was queued, and what is queued meanwhile.
fn call_back() -> Result<()> {
    while let Some(callback) = CALLBACKS.with_borrow_mut(VecDeque::pop_front) {
        callback()?;
    }
    Ok(())
}

/// True where the pass that this thread is in was limited to some inputs: it does not accumulate into all leaves.
pub fn current_pass_is_limited() -> bool {
    LIMITED.get()
}

/// True where the pass that this thread is in runs this node.
pub fn current_pass_reaches(node: &NodeRef) -> bool {
    (node.slot().mark.load(std::sync::atomic::Ordering::Relaxed) >> 32) as u32 == PASS.get()
}

thread_local! {
    /// How many passes this thread is in: hooks and custom functions may start others.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// How many of them, counted from the first, rest.
    static RESTING: Cell<u32> = const { Cell::new(0) };
    static PASS: Cell<u32> = const { Cell::new(0) };
    static CALLBACKS: RefCell<VecDeque<Callback>> = const { RefCell::new(VecDeque::new()) };
    static LIMITED: Cell<bool> = const { Cell::new(false) };
}
/// Passes within each other on one thread's stack.
const DEEPEST: u32 = 32;
/// Bytes of the stack of a thread for deeper ones.
const STACK: usize = 16 << 20;

/// The gradient that a pass starts from: the one given, or 1 for an output of one element.
fn starting_gradient(index: usize, output: &Place, given: Option<&Tensor>, create_graph: bool) -> Result<Tensor> {
    let (shape, dtype) = output.look();
    match given {
        Some(g) if *g.shape() == shape[..] => {
            // Without history where none is recorded, so that the pass may not keep another graph alive.
            if create_graph { Ok(g.clone()) } else { bare(g) }
        }
        Some(g) => {
            let (grad, output) = (g.shape().to_vec(), shape.to_vec());
            Err(Error::GradientShape { index, grad, output })
        }
        None if shape.iter().product::<usize>() == 1 => Tensor::ones(&shape, dtype),
        None => Err(Error::ImplicitGradient { shape: shape.to_vec() }),
    }
}

/// Accumulates the gradients of `outputs` into the leaves, or into `inputs` where given, as `torch.autograd.backward`.
///
/// # Errors
/// As [`Pass::new`] and [`Pass::run`].
pub fn backward(
    outputs: &[Tensor],
    gradients: &[Option<Tensor>],
    inputs: Option<&[Tensor]>,
    options: Options,
) -> Result<()> {
    let inputs = inputs.map(places);
    Pass::accumulating(&places(outputs), gradients, inputs.as_deref(), options)?.run().map(drop)
}

fn places(tensors: &[Tensor]) -> SmallVec<[Place; 2]> {
    tensors.iter().map(Place::from).collect()
}

/// The gradients of `outputs` with respect to `inputs`, as `torch.autograd.grad`.
///
/// ```
/// use ferrograd::{Tensor, engine};
/// let x = Tensor::from_slice(&[3.0f64]).requiring_grad()?;
/// let y = (&x * &x)?;
/// let options = engine::Options { create_graph: true, ..Default::default() };
/// let first = engine::grad(&[y], &[x.clone()], &[], options)?;
/// let second = engine::grad(&[first[0].clone().unwrap()], &[x], &[], options)?;
/// assert_eq!(second[0].as_ref().unwrap().to_vec::<f64>()?, [2.0]);
/// # Ok::<(), ferrograd::Error>(())
/// ```
///
/// # Errors
/// As [`Pass::new`] and [`Pass::run`], and for inputs that the outputs do not depend on unless `allow_unused`.
pub fn grad(
    outputs: &[Tensor],
    inputs: &[Tensor],
    gradients: &[Option<Tensor>],
    options: Options,
) -> Result<Vec<Option<Tensor>>> {
    let (outputs, inputs) = (places(outputs), places(inputs));
    check_shared(&outputs, &inputs)?;
    let pass = Pass::new(&outputs, gradients, Some(&inputs), options)?;
    check_used(pass.run()?, options)
}

/// The gradients as a transform of functions wants them: with a history where `recorded` and somebody outside of the
/// transforms could differentiate by something they depend on; `None` for inputs that the outputs do not depend on.
///
/// # Errors
/// As [`Pass::new`] and [`Pass::run`].
pub fn transform(
    outputs: &[Tensor],
    inputs: &[Tensor],
    gradients: &[Option<Tensor>],
    recorded: bool,
    retain_graph: bool,
) -> Result<Pass> {
    let options = Options { create_graph: recorded, retain_graph, allow_unused: true };
    let mut pass = Pass::new(&places(outputs), gradients, Some(&places(inputs)), options)?;
    let given = || gradients.iter().flatten().any(Tensor::requires_grad);
    // What is differentiated may be the tangents alone.
    let all = || outputs.iter().chain(inputs).chain(gradients.iter().flatten());
    pass.options.create_graph =
        recorded && (given() || pass.plan.has_open_leaves() || forward::has_open_tangents(all())?);
    Ok(pass)
}

/// An error where an input is the same for all examples of a map of which the outputs have different ones, or what a map was
/// given, as a place in the graph that all its examples share.
///
/// # Errors
/// [`Error::SharedInput`] and [`Error::ExampleInput`].
pub fn check_shared(outputs: &[Place], inputs: &[Place]) -> Result<()> {
    let is_argument = |input: &Place| matches!(input, Place::Tensor(t) if batch::is_argument(t));
    if let Some(index) = inputs.iter().position(is_argument) {
        return Err(Error::ExampleInput { index });
    }
    let own = |level: u32, input: &Place| input.levels().iter().any(|l| l.0 == level);
    for (level, _) in outputs.iter().flat_map(Place::levels).filter(|l| !mode::is_differentiated(l.0)) {
        if let Some(index) = inputs.iter().position(|input| !own(level, input)) {
            return Err(Error::SharedInput { index });
        }
    }
    Ok(())
}

/// An error where an input was not reached and that is not allowed.
///
/// # Errors
/// [`Error::UnusedInput`].
pub fn check_used(found: Vec<Option<Tensor>>, options: Options) -> Result<Vec<Option<Tensor>>> {
    match found.iter().position(Option::is_none) {
        Some(index) if !options.allow_unused => Err(Error::UnusedInput { index }),
        _ => Ok(found),
    }
}

impl Tensor {
    /// Accumulates the gradient of this one-element tensor into the leaves of its graph.
    ///
    /// # Errors
    /// As [`backward`].
    pub fn backward(&self) -> Result<()> {
        backward(std::slice::from_ref(self), &[], None, Options::default())
    }
}
