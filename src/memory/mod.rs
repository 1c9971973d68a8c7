//! Memory that is given back to be used again: a steady training loop takes nothing from the system.

pub mod pool;
pub mod shared;
pub(crate) mod slab;
pub mod spin;
