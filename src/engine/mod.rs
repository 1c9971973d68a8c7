//! The backward pass: a plan of the nodes that are reached, run in the order of recording from the last to the first.

pub mod accumulate;
pub mod plan;
pub mod run;

use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::graph::mode::GradMode;
use crate::graph::node::Edge;
use crate::tensor::Tensor;
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

/// A backward pass, checked and planned.
pub struct Pass {
    plan: Plan,
    roots: SmallVec<[(Edge, Tensor); 1]>,
    options: Options,
}

impl Pass {
    /// Plans a pass from `outputs` with their starting gradients; `inputs` limits it to what leads there.
    ///
    /// # Errors
    /// For outputs without history, gradients that do not fit, and inputs that require no gradient.
    pub fn new(
        outputs: &[Tensor],
        gradients: &[Option<Tensor>],
        inputs: Option<&[Tensor]>,
        options: Options,
    ) -> Result<Pass> {
        if !gradients.is_empty() && gradients.len() != outputs.len() {
            return Err(Error::GradientCount { outputs: outputs.len(), grads: gradients.len() });
        }
        let mut roots: SmallVec<[(Edge, Tensor); 1]> = SmallVec::new();
        for (index, output) in outputs.iter().enumerate() {
            let edge = output.gradient_edge().ok_or(Error::NoGradient { index })?;
            let given = gradients.get(index).and_then(Option::as_ref);
            roots.push((edge, starting_gradient(index, output, given, options.create_graph)?));
        }
        let mut captures: SmallVec<[Edge; 2]> = SmallVec::new();
        for (index, input) in inputs.unwrap_or_default().iter().enumerate() {
            captures.push(input.gradient_edge().ok_or(Error::InputWithoutGrad { index })?);
        }
        let plan = Plan::new(roots.iter().map(|r| &r.0), inputs.map(|_| &captures[..]));
        Ok(Pass { plan, roots, options })
    }

    /// True where the pass is long enough to let other threads of a host language run meanwhile.
    pub fn is_long(&self) -> bool {
        self.plan.len() > 256 || self.plan.elements() > 1 << 15
    }

    /// Runs the pass; gives the gradients of the inputs it was limited to, in their order.
    ///
    /// # Errors
    /// What derivatives raise. Gradients that were accumulated until then stay.
    pub fn run(self) -> Result<Vec<Option<Tensor>>> {
        let _mode = GradMode::set(self.options.create_graph);
        run::run(self.plan, self.roots, self.options)
    }
}

/// The gradient that a pass starts from: the one given, or 1 for an output of one element.
fn starting_gradient(index: usize, output: &Tensor, given: Option<&Tensor>, create_graph: bool) -> Result<Tensor> {
    match given {
        Some(g) if g.shape() == output.shape() => {
            // Without history where none is recorded, so that the pass may not keep another graph alive.
            Ok(if create_graph { g.clone() } else { g.detach() })
        }
        Some(g) => {
            let (grad, output) = (g.shape().to_vec(), output.shape().to_vec());
            Err(Error::GradientShape { index, grad, output })
        }
        None if output.numel() == 1 => Tensor::ones(output.shape(), output.dtype()),
        None => Err(Error::ImplicitGradient { shape: output.shape().to_vec() }),
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
    let pass = Pass::new(outputs, gradients, inputs, options)?;
    finish_backward(inputs, pass.run()?, options)
}

/// Accumulates what a pass limited to `inputs` found into them.
///
/// # Errors
/// What adding raises.
pub fn finish_backward(inputs: Option<&[Tensor]>, found: Vec<Option<Tensor>>, options: Options) -> Result<()> {
    let _mode = GradMode::set(options.create_graph);
    for (input, gradient) in inputs.unwrap_or_default().iter().zip(found) {
        if let Some(gradient) = gradient {
            accumulate::into_leaf(input, gradient)?;
        }
    }
    Ok(())
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
    let pass = Pass::new(outputs, gradients, Some(inputs), options)?;
    check_used(pass.run()?, options)
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
