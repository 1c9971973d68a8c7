//! What transforms of functions need of the graph: inputs to differentiate by, and results that show nothing of how they
//! came about.
//!
//! A transform differentiates by tensors of its own. They share memory and tangents with those it was given, and lead to
//! their history where these have one, so that transforms within transforms make one graph. Once the function has run,
//! leaves that were made for it are closed: a history that leads to closed leaves alone is nobody's.

use super::forward;
use crate::engine::plan::Plan;
use crate::error::Result;
use crate::graph::mode::enable_grad;
use crate::ops::view;
use crate::tensor::Tensor;

/// A tensor to differentiate by in place of `x`.
///
/// # Errors
/// For dtypes without gradients.
pub fn fresh(x: &Tensor) -> Result<Tensor> {
    if x.requires_grad() {
        return enable_grad(|| view::alias(x));
    }
    bare(x)?.requiring_grad()
}

/// The same elements with their tangents and without history.
///
/// # Errors
/// Where there is no memory.
pub fn bare(x: &Tensor) -> Result<Tensor> {
    let y = x.detach();
    if forward::is_active() {
        forward::bottom(&y).copy_tangents(forward::bottom(x))?;
    }
    Ok(y)
}

/// Marks a tensor of [`fresh`] whose function has run.
pub fn close(x: &Tensor) {
    if x.is_leaf()
        && let Some(meta) = x.meta()
    {
        meta.close();
    }
}

/// True for leaves that [`close`] has marked.
pub fn is_closed(leaf: &Tensor) -> bool {
    leaf.meta().is_some_and(|m| m.is_closed())
}

/// A result as those outside of the transform see it: with its history only where `recorded` and where that leads to a
/// leaf that is not closed.
///
/// # Errors
/// Where there is no memory.
pub fn released(y: &Tensor, recorded: bool) -> Result<Tensor> {
    let Some(edge) = y.gradient_edge() else { return Ok(y.clone()) };
    let open = recorded && Plan::new(std::iter::once(&edge), None).has_open_leaves();
    if open { Ok(y.clone()) } else { bare(y) }
}

/// What the graph of a tensor is like to those who plan passes over it: the number of elements of its largest output,
/// and whether a pass may call functions of the host language.
pub fn graph_info(y: &Tensor) -> (usize, bool) {
    let Some(edge) = y.gradient_edge() else { return (0, false) };
    let plan = Plan::new(std::iter::once(&edge), None);
    (plan.elements(), plan.calls_host())
}
