//! Loops over slices and numbers. Nothing here knows a tensor, a graph or Python.

pub mod convert;
pub mod convolve;
pub mod dispatch;
pub mod distance;
pub mod element;
pub mod expr;
pub mod function;
pub mod gather;
pub mod gemm;
pub mod half;
pub mod instructions;
pub mod lane;
pub mod lookup;
pub mod math;
pub mod nonzero;
pub mod parallel;
pub mod pointwise;
pub mod reduce;
pub mod scan;
pub mod search;
pub mod single;
pub mod softmax;
pub mod sort;
pub mod source;
pub mod tally;
pub mod vector;
