//! What an operation says of its derivative: how gradients pass, and what is kept for that.

use smallvec::SmallVec;

use super::Node;
use crate::error::Result;
use crate::graph::arena::NodeRef;
use crate::graph::cycles::Object;
use crate::graph::saved::Saved;
use crate::tensor::scalar::Scalar;
use crate::tensor::{Tensor, pending};

/// The gradients of an operation's inputs, in the order of its edges. `None`: not asked for, or zero everywhere.
pub type Gradients = SmallVec<[Option<Tensor>; 2]>;

/// What a derivative is given.
pub struct Backward<'a> {
    /// The gradients of the outputs; `None` where nothing depends on an output.
    pub gradients: &'a [Option<Tensor>],
    /// Which inputs' gradients are wanted, by edge.
    pub needs: &'a [bool],
    /// The node itself.
    pub node: &'a NodeRef,
}

impl Backward<'_> {
    /// The gradient of the first output.
    ///
    /// The engine calls derivatives with at least one gradient, so operations with one output have this one.
    pub fn gradient(&self) -> Result<Tensor> {
        match self.gradients.first() {
            Some(Some(g)) => Ok(g.clone()),
            _ => {
                let (shape, dtype) = self.node.output(0);
                Tensor::zeros(&shape, dtype)
            }
        }
    }

    /// Computes the gradient of the first output where it waits; what nobody but the pass has, in the memory of what it reads.
    ///
    /// # Errors
    /// Where there is no memory.
    pub fn settle_alone(&self) -> Result<()> {
        match self.gradients.first() {
            Some(Some(g)) if g.is_last() => pending::settle_within(g),
            _ => Ok(()),
        }
    }

    /// True where the gradient of input `n` is wanted.
    #[inline]
    pub fn needs(&self, n: usize) -> bool {
        self.needs.get(n).copied().unwrap_or(false)
    }
}

/// How an operation passes gradients from its outputs to its inputs: it returns them and leaves adding, summing over
/// broadcast dimensions and casting to the engine.
pub trait Derivative: Clone + Send + Sync + 'static {
    /// torch's name of the node: `TanhBackward0`.
    fn name(&self) -> &'static str;

    /// The gradients of the inputs. Kept values that no other gradient needs may go on the way, where nothing can fail any more.
    ///
    /// # Errors
    /// What its operations raise, and saved values that were freed or changed.
    fn backward(&mut self, call: &Backward) -> Result<Gradients>;

    /// A copy to run backward with. Where `keep` is false the saved values move into it, and the node is left freed.
    fn take(&mut self, keep: bool) -> Self;

    /// The tensor that this node accumulates into, for the nodes at the leaves.
    fn leaf(&self) -> Option<Tensor> {
        None
    }

    /// Calls `f` with every value that is kept, in a fixed order.
    fn visit(&mut self, _f: &mut dyn FnMut(&mut Saved)) {}

    /// Adds what the derivative refers to, for a search for circles of references.
    fn links(&mut self, to: &mut Vec<Object>) {
        self.visit(&mut |saved| saved.links(to));
    }

    /// The values that are kept, in the order of [`Derivative::visit`], and then those that are not kept here but by other
    /// nodes of the operation, and numbers: each with what it is to the operation.
    fn labelled(&self) -> Vec<(Label, Saved)> {
        Vec::new()
    }

    /// The settings of the call by torch's names, for those who look at the node.
    fn settings(&self, _node: &Node) -> Vec<(&'static str, Setting)> {
        Vec::new()
    }

    /// True for derivatives that call the host language: they run on the thread that the pass was started on.
    const CALLS_HOST: bool = false;
    /// True for derivatives that run even where no output has a gradient.
    const TAKES_UNDEFINED: bool = false;
    /// True for the one at a leaf.
    const IS_ACCUMULATOR: bool = false;
    /// True for derivatives that only say what is to be computed, or where: no thread is woken for them.
    const IS_LIGHT: bool = false;
}

/// What a value that is kept is to its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// An operand, by its place.
    Operand(usize),
    /// A result, by its place.
    Result(usize),
    /// Another tensor that the call was given or found, by its place among them.
    Other(usize),
}

/// A setting of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// Nothing was given.
    Nothing,
    /// Whether something holds.
    Bool(bool),
    /// A count or a dimension.
    Int(i64),
    /// A number.
    Float(f64),
    /// The name of a way to do something.
    Text(&'static str),
    /// Sizes or dimensions.
    Ints(Vec<i64>),
    /// For each dimension that has an index, which of the tensors that are kept it is.
    Places(Vec<Option<usize>>),
}

impl From<Scalar> for Setting {
    /// A number as it was given.
    fn from(number: Scalar) -> Setting {
        match number {
            Scalar::Bool(holds) => Setting::Bool(holds),
            Scalar::Float(x) => Setting::Float(x),
            whole => Setting::Int(whole.as_i64()),
        }
    }
}

impl Setting {
    /// Sizes or dimensions.
    pub fn ints<T: Copy + TryInto<i64>>(all: &[T]) -> Setting {
        Setting::Ints(all.iter().filter_map(|&n| n.try_into().ok()).collect())
    }
}
