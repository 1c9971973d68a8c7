//! What the operations are: each a block of name, documentation, formula and derivative in one place. The table
//! [`operations`] is made of the blocks; Python's functions, methods and stubs, the reference and the tests read it.

pub mod arithmetic;
pub mod batch;
pub mod bitwise;
pub mod cast;
pub mod compare;
pub mod contract;
pub mod copy;
pub mod creation;
pub mod extremum;
pub mod formula;
pub mod index;
pub mod inplace;
pub mod join;
pub mod operators;
pub mod pointwise;
pub mod recorded;
pub mod registry;
pub mod replay;
pub mod scaled;
mod shared;
pub mod statistics;
pub mod sum;
pub mod unary;
pub mod view;
pub mod window;

pub use registry::{Arguments, Operation, Output, Value, operations};
