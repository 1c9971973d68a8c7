//! A tensor's place in the graph: whether it requires gradients, the node that made it, the gradient it gathered.

mod hooked;
mod keeper;
mod leaf;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

pub use keeper::Keeper;
use smallvec::smallvec;

use super::arena::{NodeId, NodeRef};
use super::cycles::{self, Object};
use super::forward::{self, Tangents};
use super::hooks::{Hooks, LeafHook, TensorHook};
use super::mode;
use super::node::Edge;
use super::outdated::Outdated;
use crate::error::{Error, Result};
use crate::memory::spin::{Spin, SpinGuard};
use crate::tensor::dtype::DType;
use crate::tensor::layout::Layout;
use crate::tensor::{Bond, Tensor};

/// The autograd state of a tensor, shared by the tensors that are one variable.
#[derive(Default)]
pub struct Meta {
    /// Set for leaves that ask for gradients and for results of recorded operations.
    requires_grad: AtomicBool,
    /// [`CLOSED`] and [`DETACHED`].
    marks: AtomicU8,
    retains_grad: AtomicBool,
    accumulating: Spin<()>,
    /// For views: the version of the memory that the edge belongs to.
    version: AtomicU32,
    state: Spin<State>,
}

/// The mark of leaves of a transform that has run its function: nobody outside of it differentiates by them.
const CLOSED: u8 = 1;
/// The mark of results that were detached in place.
const DETACHED: u8 = 2;

/// With its count it takes a cache line.
const _: () = assert!(size_of::<Meta>() <= 56);

#[derive(Default)]
struct State {
    origin: Origin,
    grad: Option<Tensor>,
    rare: Option<Box<Rare>>,
}

/// Where a tensor comes from.
#[derive(Default)]
enum Origin {
    /// It is a leaf.
    #[default]
    Leaf,
    /// A leaf that had this node in some graph.
    Accumulated(NodeId),
    /// A recorded operation made it.
    Made(Edge),
}

impl Origin {
    #[inline]
    fn edge(&self) -> Option<&Edge> {
        match self {
            Origin::Made(edge) => Some(edge),
            _ => None,
        }
    }
}

/// What few tensors have.
#[derive(Default)]
struct Rare {
    hooks: LeafHooks,
    tangents: Tangents,
    /// How many more changes than its memory's the tensor shows: it had other memory before.
    shift: u32,
    /// Where the layout of the tensor was changed in place: the layout, and the address of the memory that it is one of.
    layout: Option<(usize, Layout)>,
    /// What the tensor was when it was last detached in place: the node, and which of its outputs.
    detached: Option<(NodeId, u32)>,
    /// Where the gradient is gathered in another dtype than the tensor's.
    grad_dtype: Option<GradDType>,
}

/// A dtype of gradients that is not the leaf's.
#[derive(Clone, Copy)]
pub(super) enum GradDType {
    /// Whichever a gradient comes in.
    Any,
    /// This one.
    Only(DType),
}

/// The hooks of a leaf: they stay when the graph goes.
#[derive(Default)]
struct LeafHooks {
    tensor: Hooks<TensorHook>,
    accumulated: Hooks<LeafHook>,
}

impl Meta {
    /// The state of a recorded operation's result.
    #[inline]
    pub fn recorded(node: NodeRef, output: u32) -> Meta {
        let origin = Origin::Made(Edge { node, output });
        Meta {
            requires_grad: AtomicBool::new(true),
            marks: AtomicU8::new(0),
            retains_grad: AtomicBool::new(false),
            accumulating: Spin::new(()),
            version: AtomicU32::new(0),
            state: Spin::new(State { origin, grad: None, rare: None }),
        }
    }

    #[inline]
    fn requires_grad(&self) -> bool {
        self.requires_grad.load(Ordering::Relaxed)
    }

    /// True for the leaves of a transform that has run its function.
    pub(super) fn is_closed(&self) -> bool {
        self.marks.load(Ordering::Relaxed) & CLOSED != 0
    }

    /// Marks the leaf of a transform that has run its function.
    pub(super) fn close(&self) {
        self.marks.fetch_or(CLOSED, Ordering::Relaxed);
    }

    /// True where the tensor was detached in place.
    #[inline]
    pub(super) fn was_detached(&self) -> bool {
        self.marks.load(Ordering::Relaxed) & DETACHED != 0
    }

    /// True where the tensor was one of the node's inputs, as the result of an operation that it was detached from since.
    #[cold]
    pub(super) fn was_detached_from(&self, node: &NodeRef) -> bool {
        let Some((id, output)) = self.state.lock().rare.as_ref().and_then(|rare| rare.detached) else { return false };
        node.edges().iter().flatten().any(|edge| edge.node.id() == id && edge.output == output)
    }

    /// Held while a gradient is added to, so that no addition is lost between two backward passes.
    pub(crate) fn accumulating(&self) -> SpinGuard<'_, ()> {
        self.accumulating.lock()
    }

    /// The tangent of a level by its number, with the version it belongs to.
    pub(super) fn tangent(&self, number: u64) -> Option<(u32, Tensor)> {
        let state = self.state.lock();
        let rare = state.rare.as_ref()?;
        rare.tangents.iter().find(|t| t.0 == number).map(|(_, version, t)| (*version, t.clone()))
    }

    /// Removes all tangents and gives them.
    pub(super) fn take_tangents(&self) -> Tangents {
        self.state.lock().rare.as_mut().map(|rare| std::mem::take(&mut rare.tangents)).unwrap_or_default()
    }

    /// Sets or removes a tangent.
    pub(super) fn set_tangent(&self, number: u64, version: u32, tangent: Option<Tensor>) {
        let mut state = self.state.lock();
        let all = &mut state.rare.get_or_insert_default().tangents;
        let old = all.iter().position(|t| t.0 == number).map(|at| all.remove(at));
        all.extend(tangent.map(|t| (number, version, t)));
        drop(state);
        drop(old);
    }

    /// The layout of the tensor in the memory at an address, where it was changed in place.
    pub(crate) fn layout(&self, memory: usize) -> Option<Layout> {
        let state = self.state.lock();
        let (of, layout) = state.rare.as_ref()?.layout.as_ref()?;
        (*of == memory).then(|| layout.clone())
    }

    /// Notes the layout that the tensor has from now on in the memory at an address, or that it is that of the tensor itself.
    pub(crate) fn lay_out(&self, layout: Option<(usize, Layout)>) {
        let mut state = self.state.lock();
        if layout.is_some() || state.rare.is_some() {
            state.rare.get_or_insert_default().layout = layout;
        }
    }

    /// Where the gradient is gathered in another dtype than the tensor's: in which.
    pub(super) fn gathered_in(&self) -> Option<GradDType> {
        self.state.lock().rare.as_ref()?.grad_dtype
    }

    /// Says in which dtype the gradient is gathered.
    pub(super) fn gather_in(&self, dtype: Option<GradDType>) {
        self.state.lock().rare.get_or_insert_default().grad_dtype = dtype;
        self.part();
    }

    /// For a leaf: what is recorded from now on has a node of its own.
    pub(crate) fn part(&self) {
        let mut state = self.state.lock();
        if state.origin.edge().is_none() {
            state.origin = Origin::Leaf;
        }
    }

    /// Replaces what the tensor comes from.
    fn replace_origin(&self, origin: Origin) {
        let before = std::mem::replace(&mut self.state.lock().origin, origin);
        drop(before);
    }

    /// Adds what the state refers to.
    pub(super) fn links(&self, to: &mut Vec<Object>) {
        let state = self.state.lock();
        to.extend(state.grad.clone().map(Object::Tensor));
        to.extend(state.origin.edge().map(|edge| Object::Node(edge.node.clone())));
        if let Some(rare) = &state.rare {
            rare.hooks.tensor.links(to);
            rare.hooks.accumulated.links(to);
            to.extend(rare.tangents.iter().map(|(_, _, t)| Object::Tensor(t.clone())));
        }
    }

    /// Cuts all references, where nobody has the tensor.
    pub(super) fn clear(&self) {
        let mut state = self.state.lock();
        let cut = (state.grad.take(), state.rare.take(), std::mem::take(&mut state.origin));
        drop(state);
        drop(cut);
    }

    /// The edge of a result that keeps its gradient: the gradient is with the node.
    fn retained_edge(&self) -> Option<Edge> {
        if !self.retains_grad.load(Ordering::Relaxed) {
            return None;
        }
        self.state.lock().origin.edge().cloned()
    }

    /// Takes the gradient gathered so far from where it is; the node of a result keeps none from now on.
    fn take_grad(&self) -> Option<Tensor> {
        let kept = self.retained_edge().and_then(|edge| edge.node.extras()?.release(edge.output));
        let here = self.replace_grad(None);
        kept.or(here)
    }

    /// The gradient taken away, to be dropped by the caller outside of the lock.
    fn replace_grad(&self, grad: Option<Tensor>) -> Option<Tensor> {
        std::mem::replace(&mut self.state.lock().grad, grad)
    }
}

impl Drop for Meta {
    /// Gradients may have gradients, and so on: they are freed one after another, not one inside the other.
    #[inline]
    fn drop(&mut self) {
        let mut next = self.state.get_mut().grad.take();
        while let Some(grad) = next {
            next = grad.last_meta().and_then(|m| m.replace_grad(None));
        }
    }
}

impl Tensor {
    /// True where gradients flow to this tensor.
    #[inline]
    pub fn requires_grad(&self) -> bool {
        if let Some(batch) = self.batch() {
            return batch.value.requires_grad();
        }
        self.meta().is_some_and(Meta::requires_grad)
            // Views of a base that asks for gradients since do too; those reach the base once it was changed in place.
            // What was made in inference mode has no views that gradients could flow through.
            || self.view_of().is_some_and(|v| v.base.meta().is_some_and(Meta::requires_grad) && !v.base.is_inference())
    }

    /// Asks for gradients, or no longer; only leaves can.
    ///
    /// # Errors
    /// For dtypes that cannot have gradients, and for turning off what was recorded.
    pub fn set_requires_grad(&self, requires: bool) -> Result<()> {
        if requires && !self.dtype().is_floating_point() {
            return Err(Error::GradDType { dtype: self.dtype() });
        }
        if requires && self.is_inference() && !mode::is_inference_mode_enabled() {
            return Err(Error::InferenceGrad);
        }
        if !self.is_leaf() {
            return if requires { Ok(()) } else { Err(Error::NotLeaf) };
        }
        if requires || self.meta().is_some() {
            self.meta_or_new().requires_grad.store(requires, Ordering::Relaxed);
        }
        Ok(())
    }

    /// This tensor, asking for gradients.
    ///
    /// # Errors
    /// As [`Tensor::set_requires_grad`].
    pub fn requiring_grad(self) -> Result<Tensor> {
        self.set_requires_grad(true)?;
        Ok(self)
    }

    /// True where no recorded operation made this tensor.
    pub fn is_leaf(&self) -> bool {
        !self.requires_grad() || self.grad_fn().is_none()
    }

    /// The gradient gathered so far.
    pub fn grad(&self) -> Option<Tensor> {
        if let Some(batch) = self.batch() {
            return batch.value.grad().map(|g| Tensor::batched(&g, batch.level));
        }
        let meta = self.meta()?;
        match meta.retained_edge() {
            Some(edge) => edge.node.extras()?.retained(edge.output),
            None => meta.state.lock().grad.clone(),
        }
    }

    /// Replaces the gradient.
    ///
    /// # Errors
    /// Where shape or dtype are not the tensor's.
    pub fn set_grad(&self, grad: Option<Tensor>) -> Result<()> {
        let wrong = |property, given: String, expected: String| {
            Err(Error::Assignment { what: "grad", property, given, expected })
        };
        match &grad {
            Some(g) if g.shape() != self.shape() => {
                return wrong("shape", format!("{:?}", g.shape()), format!("{:?}", self.shape()));
            }
            Some(g) => match self.is_leaf().then(|| self.gathered_in()) {
                Some(expected) if expected.is_none_or(|dtype| dtype == g.dtype()) => {}
                Some(Some(expected)) if expected != self.dtype() => {
                    return Err(Error::GradDTypeMismatch { given: g.dtype(), expected });
                }
                _ if g.dtype() != self.dtype() => {
                    return wrong("dtype", g.dtype().to_string(), self.dtype().to_string());
                }
                _ => {}
            },
            _ => {}
        }
        self.store_grad(grad);
        Ok(())
    }

    /// Replaces the gradient, unchecked.
    pub(crate) fn store_grad(&self, grad: Option<Tensor>) {
        if grad.is_none() && self.meta().is_none() {
            return;
        }
        let meta = self.meta_or_new();
        if let Some(edge) = meta.retained_edge() {
            // Later passes add to it.
            return edge.node.extras_or_new().store_retained(edge.output, grad);
        }
        if let Some(grad) = grad.as_ref().filter(|g| g.requires_grad()) {
            cycles::note_gradient(grad);
        }
        drop(meta.replace_grad(grad));
    }

    /// Takes over the gradient of the tensor whose place this one takes, and keeps later ones where that did.
    pub(crate) fn take_gradient_of(&self, before: &Tensor) {
        let Some(old) = before.meta().filter(|_| !self.is_same(before)) else { return };
        if let Some(grad) = old.replace_grad(None) {
            self.store_grad(Some(grad));
        }
        if !old.retains_grad.load(Ordering::Relaxed) {
            return;
        }
        let kept = before.grad();
        self.meta_or_new().retains_grad.store(true, Ordering::Relaxed);
        if let Some(edge) = self.grad_fn() {
            edge.node.extras_or_new().retain(edge.output, kept);
        }
    }

    /// Gives a result this history, or a new one after a change in place.
    pub(crate) fn set_history(&self, edge: Edge) {
        let meta = self.meta_or_new();
        meta.requires_grad.store(true, Ordering::Relaxed);
        meta.version.store(self.version(), Ordering::Relaxed);
        if meta.retains_grad.load(Ordering::Relaxed) {
            // The gradient that is kept is that of the tensor as it is now, added to what was gathered before.
            edge.node.extras_or_new().retain(edge.output, meta.take_grad());
        }
        meta.replace_origin(Origin::Made(edge));
    }

    /// Keeps as its own the history that a view has from its base: it will be a tensor of its own.
    pub(crate) fn own_history(&self) {
        let Some(edge) = self.view_of().and_then(|_| self.grad_fn()) else { return };
        let is_own = |meta: &Meta| meta.state.lock().origin.edge().is_some_and(|own| own.node.same(&edge.node));
        if !self.meta().is_some_and(is_own) {
            self.set_history(edge);
        }
    }

    /// Goes on with the history and the tangents of a view that shows all of the tensor in its new layout.
    pub(crate) fn take_history_of(&self, view: &Tensor) {
        let Some(meta) = view.meta() else { return };
        let edge = meta.state.lock().origin.edge().cloned();
        if let Some(edge) = edge {
            self.set_history(edge);
        }
        forward::give(self, meta.take_tangents());
    }

    /// Cuts the tensor off from its history, in place.
    ///
    /// # Errors
    /// For views, whose history belongs to their base.
    pub fn detach_(&self) -> Result<()> {
        // Views of what was made in inference mode are nobody's, and in that mode all are.
        if self.base().is_some() && !self.is_inference() && !mode::is_inference_mode_enabled() {
            return Err(Error::Invalid {
                op: "detach_",
                what: "Can't detach views in-place. Use detach() instead.".into(),
            });
        }
        let Some(meta) = self.meta() else { return Ok(()) };
        let edge = meta.state.lock().origin.edge().cloned();
        self.forget_history();
        if let Some(edge) = edge {
            // What was saved of it lost its history too: whoever needs it is told so.
            meta.state.lock().rare.get_or_insert_default().detached = Some((edge.node.id(), edge.output));
            meta.marks.fetch_or(DETACHED, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Cuts the tensor off from its history, which nobody differentiates by any more.
    pub(super) fn forget_history(&self) {
        let Some(meta) = self.meta() else { return };
        let tangents = meta.take_tangents();
        drop(tangents);
        let grad = meta.take_grad();
        meta.requires_grad.store(false, Ordering::Relaxed);
        // A leaf stays one, with its node.
        if meta.state.lock().origin.edge().is_some() {
            meta.replace_origin(Origin::Leaf);
        }
        meta.replace_grad(grad);
    }

    /// How often the tensor was changed in place, as torch's `_version`: that it was given other memory does not set it back.
    pub fn changes(&self) -> u32 {
        let shift = |meta: &Meta| meta.state.lock().rare.as_ref().map_or(0, |rare| rare.shift);
        self.version().wrapping_add(self.meta().map_or(0, shift))
    }

    /// Lets [`Tensor::changes`] go on from a number.
    pub(crate) fn count_from(&self, changes: u32) {
        let shift = changes.wrapping_sub(self.version());
        let meta = self.meta_or_new();
        let mut state = meta.state.lock();
        if shift != 0 || state.rare.is_some() {
            state.rare.get_or_insert_default().shift = shift;
        }
    }

    /// The node that made this tensor and which output it is. A view whose base was changed in place since is given
    /// the history of the change.
    pub fn grad_fn(&self) -> Option<Edge> {
        if let Some(batch) = self.batch() {
            return batch.value.grad_fn();
        }
        let own = self.meta().and_then(|m| {
            let edge = m.state.lock().origin.edge().cloned();
            edge.map(|e| (e, m.version.load(Ordering::Relaxed)))
        });
        let Some(view) = self.view_of() else { return own.map(|(e, _)| e) };
        match own {
            Some((edge, version)) if version == self.version() => Some(edge),
            Some((edge, _)) if view.bond.is_apart() => Some(self.outdated(edge)),
            None if view.bond.is_apart() => self.strayed().map(|mode| self.stray(mode)),
            None if !view.base.requires_grad() => None,
            None if view.base.is_leaf() && !self.is_changed_view() => None,
            own => self.refreshed(&view.base.as_laid_out(), own.map(|(e, _)| e)),
        }
    }

    /// For a view that was made where nothing is recorded, the mode that it was made in, where its base requires a gradient and
    /// the memory was changed since: nobody knows the history of the view.
    pub fn strayed(&self) -> Option<&'static str> {
        let view = self.view_of().filter(|v| v.bond.is_apart() && self.is_changed_view())?;
        let recorded = self.meta().is_some_and(|m| m.state.lock().origin.edge().is_some());
        let is_lost = !recorded && view.base.requires_grad();
        is_lost.then_some(if view.bond == Bond::Inference { "inference" } else { "no_grad" })
    }

    /// The node behind a view that has strayed: differentiating it is an error.
    fn stray(&self, mode: &'static str) -> Edge {
        let outdated = Outdated { output: 0, of: "Invalid", mode: Some(mode) };
        let edges = smallvec![self.view_of().and_then(|view| view.base.gradient_edge())];
        Edge { node: NodeRef::new(outdated, edges, self.shape(), self.dtype()), output: 0 }
    }

    /// The history of a view that cannot follow its base, which was changed in place: differentiating it is an error.
    fn outdated(&self, own: Edge) -> Edge {
        let outdated = Outdated { output: own.output as usize, of: own.node.name(), mode: None };
        let node = NodeRef::new(outdated, smallvec![Some(own)], self.shape(), self.dtype());
        self.set_history(Edge { node: node.clone(), output: 0 });
        Edge { node, output: 0 }
    }

    /// The history of a view as a window on its base as it is now.
    fn refreshed(&self, base: &Tensor, own: Option<Edge>) -> Option<Edge> {
        let edge = base.gradient_edge();
        if edge.is_none() && own.is_none() {
            return None;
        }
        // What a base shows that was cut off from its history and changed since, nobody differentiates by.
        let node = crate::ops::view::window_node(base, edge, self.layout());
        self.set_history(Edge { node, output: 0 });
        self.meta()?.state.lock().origin.edge().cloned()
    }
}

/// True where an operation on these tensors is recorded.
#[inline]
pub(crate) fn is_recorded<'a>(inputs: impl IntoIterator<Item = &'a Tensor>) -> bool {
    mode::is_grad_enabled() && inputs.into_iter().any(Tensor::requires_grad)
}
