//! The node of a view whose history nobody knows any more.

use super::node::{Backward, Derivative, Gradients};
use crate::error::{Error, Result};

/// Stands behind a view that a function of the user's made of a tensor that was then changed in place. The function
/// said what the derivative of the view was; of what it is now, nobody did.
#[derive(Clone)]
pub(super) struct Outdated {
    /// Which output of the function's node the view was.
    pub output: usize,
    /// The name of that node.
    pub of: &'static str,
    /// The mode that the view was made in, where no function made it.
    pub mode: Option<&'static str>,
}

impl Derivative for Outdated {
    fn name(&self) -> &'static str {
        self.of
    }
    fn backward(&mut self, _call: &Backward) -> Result<Gradients> {
        Err(match self.mode {
            Some(mode) => Error::StrayView { mode },
            None => Error::OutdatedView { output: self.output, node: self.of },
        })
    }
    fn take(&mut self, _keep: bool) -> Self {
        self.clone()
    }
}
