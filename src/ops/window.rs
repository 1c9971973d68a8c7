//! A window on memory laid out as another tensor: cutting it out, setting it into zeros, replacing it. The first two are
//! linear and each other's derivative; the third is what a change in place of a view is to its base.

use smallvec::smallvec;

use super::recorded::{is_plain, link};
use super::{batch, copy, view};
use crate::error::{Error, Result};
use crate::graph::arena::NodeRef;
use crate::graph::cycles::Object;
use crate::graph::node::{Backward, Derivative, Edge, Edges, Gradients};
use crate::memory::{listed, scratch};
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::Layout;
use crate::tensor::scalar::Scalar;
use crate::tensor::storage::Versioning;

/// A window within a tensor's layout, both in elements of one memory.
#[derive(Clone)]
pub(crate) struct Window {
    pub outer: Layout,
    pub inner: Layout,
}

impl Window {
    /// The window that `inner` is on a tensor of layout `outer`.
    pub fn new(outer: &Layout, inner: &Layout) -> Window {
        // Both relative to where the outer starts.
        let origin = outer.offset.min(inner.offset);
        let shift = |l: &Layout| Layout { offset: l.offset - origin, ..l.clone() };
        Window { outer: shift(outer), inner: shift(inner) }
    }

    /// The window that a function of layouts makes on a tensor, as if that were row-major.
    pub fn of(shape: &[usize], window: impl Fn(&Layout) -> Layout) -> Window {
        let outer = Layout::contiguous(shape);
        let inner = window(&outer);
        Window { outer, inner }
    }

    /// True where the window shows all elements, in their order.
    fn is_whole(&self) -> bool {
        let straight = |l: &Layout| l.is_contiguous() && l.offset == 0;
        straight(&self.inner) && straight(&self.outer) && self.inner.numel() == self.outer.numel()
    }

    /// The same window on every example of a batch.
    fn batched(&self, size: usize) -> Window {
        let stride = self.outer.end().max(self.inner.end());
        let repeated = |l: &Layout| {
            let (mut shape, mut strides) = (l.shape.clone(), l.strides.clone());
            shape.insert(0, size);
            strides.insert(0, stride as isize);
            Layout { shape, strides, offset: l.offset }
        };
        Window { outer: repeated(&self.outer), inner: repeated(&self.inner) }
    }

    /// New memory for the outer layout, zeroed; gives the outer tensor and the window in it.
    fn zeros(&self, dtype: DType) -> Result<(Tensor, Tensor)> {
        let elements = self.outer.end().max(self.inner.end());
        let block = Tensor::full(&[elements], Scalar::Int(0), dtype)?;
        let part = |l: &Layout| Tensor::new(block.storage().clone(), l.clone(), dtype, Versioning::fresh());
        Ok((part(&self.outer), part(&self.inner)))
    }

    /// `outer` with `value` in the window, the rest from `rest`.
    fn filled(&self, rest: Option<&Tensor>, value: Option<&Tensor>, dtype: DType) -> Result<Tensor> {
        let (outer, inner) = self.zeros(dtype)?;
        if let Some(rest) = rest {
            copy::write(&outer, rest)?;
        }
        match value {
            Some(value) => copy::write(&inner, value)?,
            None if rest.is_some() => copy::write(&inner, &Tensor::scalar(Scalar::Int(0), dtype)?)?,
            None => {}
        }
        Ok(outer)
    }

    /// What the window shows of a tensor of the outer shape; where several of its elements are one in memory, their sum.
    fn cut_out(&self, x: &Tensor) -> Result<Tensor> {
        let starts_within = self.inner.offset >= self.outer.offset && self.inner.end() <= self.outer.end();
        if x.is_contiguous() && self.outer.is_contiguous() && starts_within {
            let offset = self.inner.offset - self.outer.offset + x.layout().offset;
            let layout = Layout { offset, ..self.inner.clone() };
            return Ok(Tensor::new(x.storage().clone(), layout, x.dtype(), x.versioning()));
        }
        if !self.outer.is_non_overlapping() {
            let reversed = Window { outer: self.inner.clone(), inner: self.outer.clone() };
            return copy::contiguous_copy(&accumulate(x, &reversed)?);
        }
        let (outer, inner) = self.zeros(x.dtype())?;
        copy::write(&outer, x)?;
        copy::contiguous_copy(&inner)
    }
}

/// `x` set into zeros of the outer layout: the derivative of [`extract`].
pub(crate) fn embed(x: &Tensor, window: &Window) -> Result<Tensor> {
    embed_as("AsStridedScatterBackward0", x, window)
}

/// As [`embed`], recorded under a name.
pub(super) fn embed_as(name: &'static str, x: &Tensor, window: &Window) -> Result<Tensor> {
    if let Some(y) = batch::unary(x, |x| embed_as(name, x, &window.batched(x.shape()[0]))) {
        return y;
    }
    if window.is_whole() && is_plain([x]) {
        return view::reshape(x, &view::signed(&window.outer.shape));
    }
    let y = if window.inner.is_non_overlapping() {
        window.filled(None, Some(x), x.dtype())?
    } else {
        accumulate(x, window)?
    };
    link(Embed { name, window: window.clone() }, &[x], &y)?;
    Ok(y)
}

/// As [`embed`] for windows that show elements more than once: their gradients add up.
fn accumulate(x: &Tensor, window: &Window) -> Result<Tensor> {
    let (outer, inner) = window.zeros(x.dtype())?;
    let values = x.to_vec::<f64>()?;
    let mut sums = scratch(0.0f64, outer.layout().end().max(inner.layout().end()));
    inner.layout().offsets().zip(values).for_each(|(o, v)| sums[o] += v);
    let elements = listed(sums.len(), sums.iter().map(|&v| Scalar::Float(v)));
    let block = Tensor::from_scalars(&elements, &[sums.len()], x.dtype())?;
    Ok(Tensor::new(block.storage().clone(), outer.layout().clone(), x.dtype(), Versioning::fresh()))
}

/// What part of the gradient of an element in memory falls to each place of the outer layout that shows it.
pub(crate) fn parts(window: &Window, dtype: DType) -> Result<Tensor> {
    let outer = &window.outer;
    let mut counts = vec![0.0f64; outer.end()];
    outer.offsets().for_each(|o| counts[o] += 1.0);
    let elements = outer.offsets().map(|o| Scalar::Float(1.0 / counts[o])).collect::<Vec<_>>();
    Tensor::from_scalars(&elements, &outer.shape, dtype)
}

/// The window of `x`, a tensor of the outer shape: the derivative of [`embed`].
pub(crate) fn extract(x: &Tensor, window: &Window) -> Result<Tensor> {
    if let Some(y) = batch::unary(x, |x| extract(x, &window.batched(x.shape()[0]))) {
        return y;
    }
    let y = window.cut_out(x)?;
    link(Extract { window: window.clone() }, &[x], &y)?;
    Ok(y)
}

#[derive(Clone)]
struct Embed {
    name: &'static str,
    window: Window,
}

impl Derivative for Embed {
    fn name(&self) -> &'static str {
        self.name
    }
    fn backward(&mut self, call: &Backward) -> Result<Gradients> {
        Ok(smallvec![Some(extract(&call.gradient()?, &self.window)?)])
    }
    fn take(&mut self, _keep: bool) -> Self {
        self.clone()
    }
}

#[derive(Clone)]
struct Extract {
    window: Window,
}

impl Derivative for Extract {
    fn name(&self) -> &'static str {
        "AsStridedBackward0"
    }
    fn backward(&mut self, call: &Backward) -> Result<Gradients> {
        Ok(smallvec![Some(embed(&call.gradient()?, &self.window)?)])
    }
    fn take(&mut self, _keep: bool) -> Self {
        self.clone()
    }
}

/// The node of a window on a base, for a view whose base was changed in place.
pub(super) fn extract_node(outer: &Layout, inner: &Layout, edge: Option<Edge>, dtype: DType) -> NodeRef {
    let derivative = Extract { window: Window::new(outer, inner) };
    NodeRef::new(derivative, smallvec![edge], &inner.shape, dtype)
}

/// The node of a base whose window was replaced by a value: its edges are to the base and, unless that is a number, to the
/// value.
pub(super) fn splice_node(outer: &Layout, inner: &Layout, edges: Edges, dtype: DType) -> NodeRef {
    let derivative = Splice { window: Window::new(outer, inner), source: Source::Value };
    NodeRef::new(derivative, edges, &outer.shape, dtype)
}

/// The node of a base on whose window an operation was done in place: it has the operation's edges, but for the first,
/// which is to the base in place of the window.
pub(super) fn applied_node(base: &Tensor, inner: &Layout, operation: &Edge) -> NodeRef {
    let mut edges: Edges = operation.node.edges().into();
    edges[0] = base.gradient_edge();
    let window = Window::new(base.layout(), inner);
    let derivative = Splice { window, source: Source::Operation(operation.node.clone()) };
    NodeRef::new(derivative, edges, base.shape(), base.dtype())
}

/// A base with a window replaced: its gradient goes to the value within the window and to the base outside of it.
#[derive(Clone)]
struct Splice {
    window: Window,
    source: Source,
}

/// What a window was replaced by.
#[derive(Clone)]
enum Source {
    /// Another value, which has the node's second edge.
    Value,
    /// An operation on the window, whose gradient takes the window's place.
    Operation(NodeRef),
    /// Such an operation, freed after a backward pass.
    Freed,
}

impl Splice {
    fn applied(&self, operation: &NodeRef, g: &Tensor, call: &Backward) -> Result<Gradients> {
        let inner = [Some(extract(g, &self.window)?)];
        let inner = Backward { gradients: &inner, needs: call.needs, node: operation };
        // The operation can also be part of the graph of a derivative: its values stay with it.
        let mut found = operation.run(true, &inner)?;
        if let (true, Some(slot)) = (call.needs(0), found.first_mut()) {
            let outside = cleared(g, &self.window)?;
            *slot = Some(match slot.take() {
                Some(inside) => super::arithmetic::add(&outside, &embed(&inside, &self.window)?)?,
                None => outside,
            });
        }
        Ok(found)
    }
}

impl Derivative for Splice {
    fn name(&self) -> &'static str {
        "CopySlices"
    }
    fn backward(&mut self, call: &Backward) -> Result<Gradients> {
        let g = call.gradient()?;
        match &self.source {
            Source::Operation(operation) => self.applied(operation, &g, call),
            Source::Freed => Err(Error::GraphFreed { node: self.name() }),
            Source::Value => {
                let base = if call.needs(0) { Some(cleared(&g, &self.window)?) } else { None };
                let value = if call.needs(1) { Some(extract(&g, &self.window)?) } else { None };
                Ok(smallvec![base, value])
            }
        }
    }
    fn take(&mut self, keep: bool) -> Self {
        let source = match &self.source {
            Source::Operation(_) if !keep => std::mem::replace(&mut self.source, Source::Freed),
            other => other.clone(),
        };
        Splice { window: self.window.clone(), source }
    }
    fn links(&mut self, to: &mut Vec<Object>) {
        if let Source::Operation(operation) = &self.source {
            to.push(Object::Node(operation.clone()));
        }
    }
}

/// `x` with zeros in the window.
pub(crate) fn cleared(x: &Tensor, window: &Window) -> Result<Tensor> {
    if let Some(y) = batch::unary(x, |x| cleared(x, &window.batched(x.shape()[0]))) {
        return y;
    }
    let y = window.filled(Some(x), None, x.dtype())?;
    link(Splice { window: window.clone(), source: Source::Value }, &[x], &y)?;
    Ok(y)
}

/// A tensor whose elements were all replaced: the gradient goes to the value, and zero to what was there before.
#[derive(Clone)]
pub(super) struct Overwrite {
    pub name: &'static str,
}

impl Derivative for Overwrite {
    fn name(&self) -> &'static str {
        self.name
    }
    fn backward(&mut self, call: &Backward) -> Result<Gradients> {
        let g = call.gradient()?;
        let before = if call.needs(0) { Some(Tensor::zeros(g.shape(), g.dtype())?) } else { None };
        Ok(smallvec![before, call.needs(1).then_some(g)])
    }
    fn take(&mut self, _keep: bool) -> Self {
        self.clone()
    }
}
