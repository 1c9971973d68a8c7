//! Looking for the node that made a gradient which is not a number.

use crate::error::{Error, Result};
use crate::graph::anomaly;
use crate::graph::arena::NodeRef;
use crate::graph::forward;
use crate::graph::mode::no_grad;
use crate::graph::node::Gradients;
use crate::host::host;
use crate::ops::compare;
use crate::tensor::Tensor;

/// What a node's derivative gave, looked at where the mode asks for it. An error is preceded by a warning that shows
/// the line which recorded the node.
pub(super) fn inspected(node: &NodeRef, derive: impl FnOnce() -> Result<Gradients>) -> Result<Gradients> {
    let origin = node.extras().and_then(|e| e.origin.get());
    let found = anomaly::caused_by(node.name(), origin.cloned(), derive);
    let checked = found.and_then(|found| if anomaly::checks_nan() { numbers(node, found) } else { Ok(found) });
    if checked.is_err()
        && let Some(host) = host()
    {
        let name = node.name();
        // Where warnings are errors, the error that was found is the one to raise.
        let show = |text: &str| (host.warn)(text).unwrap_or_else(|_| (host.report)(text));
        show(&match origin {
            Some(origin) => {
                format!(
                    "Error detected in {name}. Traceback of forward call that caused the error:\n{}",
                    origin.lines()
                )
            }
            None => format!(
                "Error detected in {name}. No forward pass information available. Enable detect anomaly during forward pass for more information."
            ),
        });
        let mut cause = origin.and_then(anomaly::Origin::cause);
        while let Some((node, origin)) = cause {
            show(&anomaly::induced(node, origin));
            cause = origin.cause();
        }
    }
    checked
}

/// # Errors
/// Where a gradient has an element that is not a number; the first is named.
fn numbers(node: &NodeRef, found: Gradients) -> Result<Gradients> {
    for (index, gradient) in found.iter().enumerate() {
        if let Some(gradient) = gradient
            && let Some(at) = no_grad(|| first_nan(forward::bottom(gradient)))?
        {
            return Err(Error::NanGradient { node: node.name(), index, at });
        }
    }
    Ok(found)
}

/// The index of the first element that is not a number, of all examples where there is a batch.
fn first_nan(t: &Tensor) -> Result<Option<Vec<usize>>> {
    let is_nan = compare::ne(t, t)?;
    let Some(mut flat) = is_nan.to_scalars()?.iter().position(|s| s.as_bool()) else { return Ok(None) };
    let mut at = vec![0; t.rank()];
    for (place, &size) in at.iter_mut().zip(t.shape()).rev() {
        *place = flat % size;
        flat /= size;
    }
    Ok(Some(at))
}
