//! Calling the hooks of tensors and nodes, and checking what they give.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::graph::arena::NodeRef;
use crate::graph::extras::Extras;
use crate::graph::hooks::TensorHook;
use crate::graph::node::Gradients;
use crate::tensor::Tensor;

type Incoming = SmallVec<[Option<Tensor>; 1]>;

/// Runs the hooks on a node's outputs, each on the gradient that has arrived there: output by output, in the order in which
/// these got their first hooks.
pub(super) fn at_outputs(node: &NodeRef, extras: &Extras, incoming: &mut Incoming) -> Result<()> {
    for output in extras.hooked_outputs() {
        if let Some(slot) = incoming.get_mut(output as usize) {
            *slot = on_tensor(node, &extras.tensor_hooks(output), slot.take())?;
        }
    }
    Ok(())
}

/// Runs hooks on one gradient; each sees what the one before gave.
pub(super) fn on_tensor(node: &NodeRef, hooks: &[Arc<TensorHook>], gradient: Option<Tensor>) -> Result<Option<Tensor>> {
    hooks.iter().try_fold(gradient, |gradient, hook| match hook(gradient.as_ref())? {
        Some(given) => checked(node, gradient.as_ref(), Some(given)),
        None => Ok(gradient),
    })
}

/// Runs the hooks before a node's derivative.
pub(super) fn before(node: &NodeRef, extras: &Extras, incoming: &[Option<Tensor>]) -> Result<Incoming> {
    extras.pre_hooks.all().iter().try_fold(incoming.into(), |now: Incoming, hook| match hook(&now)? {
        Some(given) => replaced(node, &now, given).map(Incoming::from_vec),
        None => Ok(now),
    })
}

/// Runs the hooks after a node's derivative.
pub(super) fn after(
    node: &NodeRef,
    extras: &Extras,
    found: Gradients,
    incoming: &[Option<Tensor>],
) -> Result<Gradients> {
    extras.post_hooks.all().iter().try_fold(found, |now, hook| match hook(&now, incoming)? {
        Some(given) => replaced(node, &now, given).map(Gradients::from_vec),
        None => Ok(now),
    })
}

fn replaced(node: &NodeRef, now: &[Option<Tensor>], given: Vec<Option<Tensor>>) -> Result<Vec<Option<Tensor>>> {
    if given.len() != now.len() {
        return Err(Error::HookCount { node: node.name(), expected: now.len(), given: given.len() });
    }
    now.iter().zip(given).map(|(now, given)| checked(node, now.as_ref(), given)).collect()
}

/// What a hook gave, if it looks like what it was given.
fn checked(node: &NodeRef, now: Option<&Tensor>, given: Option<Tensor>) -> Result<Option<Tensor>> {
    let Some(given) = given else { return Ok(None) };
    let Some(now) = now else { return Err(Error::HookOnUndefined { node: node.name() }) };
    let wrong = |property, expected: String, given: String| {
        Err(Error::HookValue { node: node.name(), property, expected, given })
    };
    if now.shape() != given.shape() {
        return wrong("size", format!("{:?}", now.shape()), format!("{:?}", given.shape()));
    }
    if now.dtype() != given.dtype() {
        return wrong("type", now.dtype().to_string(), given.dtype().to_string());
    }
    Ok(Some(given))
}
