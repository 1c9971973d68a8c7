//! What the operations are: each a block of name, documentation, formula and derivative in one place. The table
//! [`operations`] is made of the blocks; Python's functions, methods and stubs, the reference and the tests read it.

pub mod arithmetic;
pub mod arrange;
pub mod batch;
pub mod bitwise;
pub mod cast;
pub mod compare;
pub mod contract;
pub mod copy;
pub mod creation;
pub mod diagonal;
pub mod extremum;
pub mod flat;
pub mod formula;
pub mod gather;
pub mod index;
pub mod inplace;
pub mod join;
pub mod mask;
pub mod new;
pub mod operators;
pub mod pointwise;
pub mod ranges;
pub mod recorded;
pub mod reduction;
pub mod registry;
pub mod replay;
pub mod resize;
pub mod rows;
pub mod scaled;
pub mod scatter;
pub mod select;
mod shared;
pub mod splice;
pub mod statistics;
pub mod sum;
pub mod unary;
pub mod view;
pub mod window;

pub use registry::{Arguments, Operation, Output, Value, operations};
