//! The graph that recorded operations leave behind: nodes in an arena, edges to the nodes of their inputs, and the
//! values kept for backward.

pub mod accumulator;
pub mod anomaly;
pub mod arena;
pub mod cycles;
pub mod extras;
pub mod forward;
mod gradient_dtype;
pub mod hooks;
pub mod meta;
pub mod mode;
pub mod node;
mod outdated;
pub mod saved;
pub mod transform;

pub use arena::{NodeId, NodeRef};
pub use node::{Derivative, Edge, Gradients};
