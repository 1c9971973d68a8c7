//! Recording of operations whose derivative is a formula of tensors: what it keeps, and the formula.

use smallvec::{SmallVec, smallvec};

use super::names;
use crate::error::{Error, Result};
use crate::graph::arena::NodeRef;
use crate::graph::forward;
use crate::graph::meta::is_recorded;
use crate::graph::mode::records_nothing;
use crate::graph::node::{Backward, Derivative, Edge, Edges, Gradients, Label, Node, Setting};
use crate::graph::saved::Saved;
use crate::memory::ask;
use crate::ops::batch;
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;
use crate::tensor::layout::Shape;

/// What a formula is given beside the gradient.
pub(super) struct Call<'a> {
    /// The gradient of the result, or of the first of several.
    pub g: Tensor,
    /// The gradients of all results; `None` where nothing depends on one.
    pub gradients: &'a [Option<Tensor>],
    /// The values that were kept, in order.
    pub saved: SmallVec<[Tensor; 2]>,
    /// The settings of the forward call.
    pub settings: &'a Settings,
    /// Which inputs' gradients are wanted.
    pub needs: &'a [bool],
}

impl Call<'_> {
    /// True where the gradient's memory may take a result: nobody but the pass has it, and the pass is done with it.
    pub fn has_spare_gradient(&self) -> bool {
        let g = &self.g;
        let of_pass = self.gradients.iter().flatten().filter(|other| other.is_same(g)).count();
        let is_alone = g.owners() == 1 + of_pass && g.storage().is_unique() && !g.storage().is_exposed();
        records_nothing() && is_alone && g.is_contiguous() && !g.is_pending()
    }
}

/// True where nobody asks for the derivative of what is made of these tensors, and none stands for many examples: a kernel
/// may make it.
pub(super) fn is_plain<const N: usize>(tensors: [&Tensor; N]) -> bool {
    records_nothing() && batch::level(tensors).is_none()
}

/// An error where a recorded operation would give integers, which have no gradient.
pub(super) fn refuse_integers(op: &'static str, x: &Tensor, result: DType) -> Result<()> {
    if result.is_floating_point() || !is_recorded([x]) {
        return Ok(());
    }
    Err(Error::Invalid {
        op,
        what: format!("a tensor that requires a gradient has none through a result of dtype {result}"),
    })
}

/// The settings of a call that its derivative needs.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    /// The sizes of the input.
    pub shape: Shape,
    /// Dimensions, counted from the front.
    pub dims: SmallVec<[isize; 4]>,
    /// Whether reduced dimensions stay, with size 1.
    pub keepdim: bool,
    /// A number.
    pub number: f64,
    /// True where no dimension was named.
    pub whole: bool,
    /// Where the last two inputs are the factors of a product: the values of each are for the gradient of the other alone,
    /// and kept where that is wanted.
    pub factors: Option<Factors>,
    /// Other settings, which the node shows.
    pub told: Box<[(&'static str, Setting)]>,
}

/// What gradients of products need of the factors beside the values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factors {
    /// How many dimensions they have.
    pub ranks: [u8; 2],
    /// Whether each is a matrix whose columns lie one after another.
    pub in_columns: [bool; 2],
    /// The number that the tensor is scaled by which the product is added to.
    pub beta: f64,
}

/// The gradients of the inputs.
pub(super) type TensorFormula = fn(&Call) -> Result<Gradients>;

/// A value to keep.
#[derive(Clone, Copy)]
pub(super) enum Keep<'a> {
    /// An input, with its history.
    Input(&'a Tensor),
    /// The operand of this place, which is no input: it has no gradient.
    Beside(u8, &'a Tensor),
    /// Nothing of the input of this place: no gradient needs it.
    Nothing(u8),
    /// The result.
    Output,
    /// One of several results.
    Result(u16, &'a Tensor),
}

#[derive(Clone)]
struct Recorded {
    name: &'static str,
    saved: SmallVec<[Saved; 2]>,
    settings: Settings,
    formula: TensorFormula,
}

/// Bytes of a factor from which it goes before its gradient comes.
const LARGE: usize = 1 << 18;

impl Recorded {
    /// The gradients of the inputs that are wanted. Of what `is_spent` nothing is read any more.
    fn gradients(&self, call: &Backward, needs: &[bool], is_spent: bool) -> Result<Gradients> {
        let unpack = |(n, saved): (usize, &Saved)| {
            // The values of a factor whose partner nobody differentiates by are not looked at: the gradient takes their place.
            let is_idle = self.settings.factors.is_some() && !needs[needs.len() - 1 - n];
            if (is_idle || saved.is_nothing()) && (is_spent || !saved.is_freed()) {
                call.gradient()
            } else {
                saved.unpack(call.node)
            }
        };
        let saved = self.saved.iter().enumerate().map(unpack).collect::<Result<_>>()?;
        let (g, gradients) = (call.gradient()?, call.gradients);
        (self.formula)(&Call { g, gradients, saved, settings: &self.settings, needs })
    }

    /// True where the gradients of both factors are wanted, and the memory of the first can be that of its gradient.
    fn has_spare(&self, needs: &[bool]) -> bool {
        let is_product = self.settings.factors.is_some() && matches!(needs, [.., true, true]);
        is_product && self.saved[0].last_bytes() >= LARGE && records_nothing()
    }

    /// The gradient of the second factor, for which alone the first is read, and then the others.
    fn in_turn(&mut self, call: &Backward) -> Result<Gradients> {
        let second = call.needs.len() - 1;
        let mut needs: SmallVec<[bool; 4]> = smallvec![false; second + 1];
        needs[second] = true;
        let of_second = self.gradients(call, &needs, false)?.pop().flatten();
        self.saved[0].release();
        needs.copy_from_slice(call.needs);
        needs[second] = false;
        let mut all = self.gradients(call, &needs, true)?;
        if let Some(last) = all.last_mut() {
            *last = of_second;
        }
        Ok(all)
    }
}

impl Derivative for Recorded {
    fn name(&self) -> &'static str {
        self.name
    }

    fn backward(&mut self, call: &Backward) -> Result<Gradients> {
        if self.settings.factors.is_some() {
            // Products read their factors from memory.
            call.settle_alone()?;
        }
        if self.has_spare(call.needs) { self.in_turn(call) } else { self.gradients(call, call.needs, false) }
    }

    fn take(&mut self, keep: bool) -> Self {
        Recorded {
            saved: self.saved.iter_mut().map(|s| s.take(keep)).collect(),
            settings: self.settings.clone(),
            ..*self
        }
    }

    fn visit(&mut self, f: &mut dyn FnMut(&mut Saved)) {
        self.saved.iter_mut().for_each(f);
    }

    fn labelled(&self) -> Vec<(Label, Saved)> {
        let mut others = 0..;
        let label = |saved: &Saved| match (saved.as_output(), saved.source) {
            (Some(n), _) => Label::Result(n),
            (None, u8::MAX) => Label::Other(others.next().unwrap_or(0)),
            (None, n) => Label::Operand(n.into()),
        };
        let labels: Vec<Label> = self.saved.iter().map(label).collect();
        labels.into_iter().zip(self.saved.iter().cloned()).collect()
    }

    fn settings(&self, node: &Node) -> Vec<(&'static str, Setting)> {
        let mut all = names::settings(self.name, &self.settings, self.saved.iter().any(|s| s.source == 0));
        if self.settings.factors.is_some() {
            let has_gradient = |n: usize| node.edges().get(n).is_some_and(Option::is_some);
            all.extend(names::of_factors(self.name, &self.settings, has_gradient));
        }
        all
    }
}

/// Leaves a node behind `y` where an input requires a gradient; `keep` and `settings` are asked only then.
pub(super) fn record(
    name: &'static str,
    y: &Tensor,
    inputs: &[&Tensor],
    keep: &[Keep],
    settings: impl FnOnce() -> Settings,
    formula: TensorFormula,
) -> Result<()> {
    record_all(name, &[y], inputs, keep, settings, formula)
}

/// As [`record`] for an operation of several results.
pub(super) fn record_all(
    name: &'static str,
    results: &[&Tensor],
    inputs: &[&Tensor],
    keep: &[Keep],
    settings: impl FnOnce() -> Settings,
    formula: TensorFormula,
) -> Result<()> {
    let y = results[0];
    if y.batch().is_some() {
        return Err(Error::NotImplemented { op: name, what: "a batching rule of this operation".into() });
    }
    if !is_linked(inputs, y) {
        return Ok(());
    }
    let settings = settings();
    let is_idle =
        |n: usize| settings.factors.is_some() && !forward::is_active() && !is_recorded([inputs[inputs.len() - 1 - n]]);
    let saved = keep
        .iter()
        .enumerate()
        .map(|(n, k)| match k {
            Keep::Input(x) => {
                let mut saved = if is_idle(n) { Saved::nothing() } else { Saved::input(x) };
                saved.source = match inputs.iter().position(|input| input.is_same(x)) {
                    // Both factors of a square are one tensor.
                    Some(_) if settings.factors.is_some() => (inputs.len() - keep.len() + n) as u8,
                    place => place.map_or(u8::MAX, |n| n as u8),
                };
                saved
            }
            Keep::Beside(n, x) => {
                let mut saved = Saved::input(x);
                saved.source = *n;
                saved
            }
            Keep::Nothing(n) => {
                let mut saved = Saved::nothing();
                saved.source = *n;
                saved
            }
            Keep::Output => Saved::output(y),
            Keep::Result(n, y) => Saved::nth_output(y, *n),
        })
        .collect();
    let derivative = Recorded { name, saved, settings, formula };
    link_all(derivative, inputs, results)
}

/// True where an operation leaves a node or carries tangents.
#[inline]
pub(super) fn is_linked(inputs: &[&Tensor], y: &Tensor) -> bool {
    y.dtype().is_floating_point()
        && (is_recorded(inputs.iter().copied())
            || forward::is_active() && !forward::levels(inputs.iter().copied()).is_empty())
}

/// Puts a derivative between the inputs and the result of an operation: as a node where a gradient is wanted, and to
/// carry tangents where there are any.
pub(super) fn link(derivative: impl Derivative, inputs: &[&Tensor], y: &Tensor) -> Result<()> {
    link_all(derivative, inputs, &[y])
}

/// As [`link`] for an operation of several results.
pub(super) fn link_all(derivative: impl Derivative, inputs: &[&Tensor], results: &[&Tensor]) -> Result<()> {
    if !results.first().is_some_and(|y| is_linked(inputs, y)) {
        return Ok(());
    }
    let recorded = is_recorded(inputs.iter().copied());
    let mut edges = Edges::new();
    if inputs.len() > edges.capacity() {
        let bytes = inputs.len() * size_of::<Option<Edge>>();
        ask(derivative.name(), bytes, || edges.try_reserve(inputs.len()))?;
    }
    edges.extend(inputs.iter().map(|x| if recorded { x.gradient_edge() } else { None }));
    let looks: SmallVec<[_; 1]> = results.iter().map(|y| (y.shape(), y.dtype())).collect();
    let node = NodeRef::keeping(derivative, edges, &looks)?;
    if recorded {
        for (n, y) in results.iter().enumerate() {
            y.set_history(Edge { node: node.clone(), output: n as u32 });
        }
    }
    if forward::is_active() { forward::through(&node, inputs, results) } else { Ok(()) }
}

/// A derivative that keeps no tensor: what it needs to know is in the function.
#[derive(Clone)]
struct Simple<F> {
    name: &'static str,
    back: F,
}

impl<F: Fn(&Backward) -> Result<Gradients> + Clone + Send + Sync + 'static> Derivative for Simple<F> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn backward(&mut self, call: &Backward) -> Result<Gradients> {
        (self.back)(call)
    }
    fn take(&mut self, _keep: bool) -> Self {
        self.clone()
    }
}

/// The derivative of a function that is linear in its one input and has settings.
#[derive(Clone)]
struct Arranged<F> {
    name: &'static str,
    told: Told,
    back: F,
}

/// Settings of a call, with the names that its node has for them.
pub(super) type Told = Vec<(&'static str, Setting)>;

impl<F: Fn(&Tensor) -> Result<Tensor> + Clone + Send + Sync + 'static> Derivative for Arranged<F> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn backward(&mut self, call: &Backward) -> Result<Gradients> {
        Ok(smallvec![Some((self.back)(&call.gradient()?)?)])
    }
    fn take(&mut self, _keep: bool) -> Self {
        self.clone()
    }
    fn settings(&self, _node: &Node) -> Vec<(&'static str, Setting)> {
        self.told.clone()
    }
}

/// As [`link_linear`], for a function with settings: the node shows them.
pub(super) fn link_arranged(
    name: &'static str,
    x: &Tensor,
    y: &Tensor,
    told: impl FnOnce() -> Told,
    back: impl Fn(&Tensor) -> Result<Tensor> + Clone + Send + Sync + 'static,
) -> Result<()> {
    if !is_linked(&[x], y) {
        return Ok(());
    }
    link(Arranged { name, told: told(), back }, &[x], y)
}

/// As [`link`], for a derivative that is a function of the call and keeps no tensor.
pub(super) fn link_simple(
    name: &'static str,
    inputs: &[&Tensor],
    y: &Tensor,
    back: impl Fn(&Backward) -> Result<Gradients> + Clone + Send + Sync + 'static,
) -> Result<()> {
    link(Simple { name, back }, inputs, y)
}

/// As [`link`], for a function that is linear in its one input: `back` makes the gradient of the input.
pub(super) fn link_linear(
    name: &'static str,
    x: &Tensor,
    y: &Tensor,
    back: impl Fn(&Tensor) -> Result<Tensor> + Clone + Send + Sync + 'static,
) -> Result<()> {
    link_simple(name, &[x], y, move |call| Ok(smallvec![Some(back(&call.gradient()?)?)]))
}

/// A reduced gradient with its reduced dimensions back, so that it broadcasts over the input.
pub(super) fn restored(x: &Tensor, settings: &Settings) -> Result<Tensor> {
    if settings.keepdim || settings.dims.is_empty() {
        return Ok(x.clone());
    }
    let mut dims = settings.dims.clone();
    dims.sort_unstable();
    dims.iter().try_fold(x.clone(), |x, &d| super::view::unsqueeze(&x, d))
}

/// The derivative of an operation that torch records and cannot differentiate.
#[derive(Clone)]
struct Refusing {
    name: &'static str,
    op: &'static str,
}

impl Derivative for Refusing {
    fn name(&self) -> &'static str {
        self.name
    }
    fn backward(&mut self, _call: &Backward) -> Result<Gradients> {
        Err(Error::NoDerivative { op: self.op })
    }
    fn take(&mut self, _keep: bool) -> Self {
        self.clone()
    }
}

/// Leaves a node behind results that have no derivative: asking for one is an error.
pub(super) fn record_refusal(op: &'static str, name: &'static str, inputs: &[&Tensor], y: &Tensor) -> Result<()> {
    if !y.dtype().is_floating_point() || !is_recorded(inputs.iter().copied()) {
        return Ok(());
    }
    let edges = inputs.iter().map(|x| x.gradient_edge()).collect();
    let node = NodeRef::new(Refusing { name, op }, edges, y.shape(), y.dtype());
    y.set_history(Edge { node, output: 0 });
    Ok(())
}
