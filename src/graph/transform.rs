//! What transforms of functions need of the graph: inputs to differentiate by, and results that show nothing of how they
//! came about.
//!
//! A transform differentiates by tensors of its own. They share memory and tangents with those it was given, and lead to
//! their history where these have one, so that transforms within transforms make one graph. Once the function has run,
//! leaves that were made for it are closed: a history that leads to closed leaves alone is nobody's.
//!
//! A function that is differentiated may change its arguments and what it made itself. A change of anything else would
//! outlive the transform, whose derivatives are then about values that are no longer there: it is refused.

use std::cell::RefCell;

use super::{forward, mode};
use crate::engine::plan::Plan;
use crate::error::Result;
use crate::graph::mode::enable_grad;
use crate::memory;
use crate::ops::view;
use crate::tensor::Tensor;
use crate::tensor::storage::{self, Storage};

thread_local! {
    /// The transforms that run, the innermost last.
    static GUARDS: RefCell<Vec<Guard>> = const { RefCell::new(Vec::new()) };
}

/// What a transform's function may change: what is not older than the transform, and its arguments.
struct Guard {
    since: u64,
    /// With their versions when the transform began.
    arguments: Vec<(Tensor, u32)>,
    /// Whether inference mode was on: within a transform it is off, as what is differentiated is recorded.
    inference: bool,
}

/// Refuses from now on that what was there before is changed, other than the arguments of a transform's function.
pub fn guard(arguments: &[Tensor]) {
    let bottom = |t| {
        let t = forward::bottom(t);
        (t.clone(), t.version())
    };
    let arguments = arguments.iter().map(bottom).collect();
    let guard = Guard { since: storage::tick(), arguments, inference: mode::set_inference(false) };
    GUARDS.with_borrow_mut(|all| all.push(guard));
    mode::set_guarded(true);
}

/// Ends the innermost [`guard`]. Arguments that were changed keep nothing of how, as results of [`released`].
pub fn unguard() {
    let (ended, left) = GUARDS.with_borrow_mut(|all| (all.pop(), !all.is_empty()));
    mode::set_guarded(left);
    mode::set_inference(ended.as_ref().is_some_and(|guard| guard.inference));
    for (t, version) in ended.into_iter().flat_map(|guard| guard.arguments) {
        if t.version() != version && !t.is_leaf() && !has_open_leaves(&t) {
            // A view is left with the history of its base, which is another tensor's affair.
            if t.base().is_none() {
                // Tangents are those of transforms around, which go on.
                let tangents = forward::tangents(&t);
                t.forget_history();
                tangents.into_iter().for_each(|(level, tangent)| t.set_tangent(level, Some(tangent)));
            }
        }
    }
}

/// A result whose history is asked for after the transform, which [`unguard`] takes from arguments that were changed.
///
/// # Errors
/// Where there is no memory.
pub fn kept(y: &Tensor) -> Result<Tensor> {
    let memory = forward::bottom(y).storage();
    let is_changed = |(t, version): &(Tensor, u32)| t.version() != *version && t.storage().same(memory);
    let is_argument = GUARDS.with_borrow(|all| all.last().is_some_and(|guard| guard.arguments.iter().any(is_changed)));
    if is_argument && y.requires_grad() { enable_grad(|| view::alias(y)) } else { Ok(y.clone()) }
}

/// A tensor that was made in inference mode as one that may be kept for backward.
///
/// # Errors
/// Where there is no memory.
pub fn counted(x: &Tensor) -> Result<Tensor> {
    if x.is_inference() && !x.is_connected() { with_tangents(x.counted(), x) } else { Ok(x.clone()) }
}

/// True where a transform that still runs, or somebody outside of all, differentiates by what this tensor came from.
pub(super) fn has_open_leaves(y: &Tensor) -> bool {
    y.gradient_edge().is_some_and(|edge| memory::known(Plan::new(std::iter::once(&edge), None)).has_open_leaves())
}

/// True where a change of this memory is refused, because the function of a transform has it from outside.
#[inline]
pub(crate) fn is_captured(memory: &Storage) -> bool {
    mode::is_guarded() && is_kept_by_guard(memory)
}

#[cold]
fn is_kept_by_guard(memory: &Storage) -> bool {
    let kept =
        |guard: &Guard| memory.is_older(guard.since) && !guard.arguments.iter().any(|(a, _)| a.storage().same(memory));
    GUARDS.with_borrow(|all| all.last().is_some_and(kept))
}

/// A tensor to differentiate by in place of `x`.
///
/// # Errors
/// For dtypes without gradients.
pub fn fresh(x: &Tensor) -> Result<Tensor> {
    let y = if x.is_connected() {
        enable_grad(|| view::alias(x))?
    } else {
        // What was made in inference mode is differentiated by as everything else.
        let y = if x.is_inference() { x.counted() } else { x.detach() };
        with_tangents(y, x)?.requiring_grad()?
    };
    y.lie_as(x);
    Ok(y)
}

/// The same elements with their tangents and without history.
///
/// # Errors
/// Where there is no memory.
pub fn bare(x: &Tensor) -> Result<Tensor> {
    with_tangents(x.detach(), x)
}

/// A tensor of the same elements as another, with the tangents of that.
fn with_tangents(y: Tensor, x: &Tensor) -> Result<Tensor> {
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
    if !y.requires_grad() || (recorded && has_open_leaves(y)) { Ok(y.clone()) } else { bare(y) }
}

/// What the graph of a tensor is like to those who plan passes over it: the number of elements of its largest output,
/// and whether a pass may call functions of the host language.
pub fn graph_info(y: &Tensor) -> (usize, bool) {
    let Some(edge) = y.gradient_edge() else { return (0, false) };
    let plan = memory::known(Plan::new(std::iter::once(&edge), None));
    (plan.elements(), plan.calls_host())
}
