//! The Python bindings: arguments in, errors and objects out. No mathematics.

mod apply;
mod arguments;
mod attributes;
mod autograd;
mod batch;
mod convert;
mod data;
mod device;
mod dtype;
mod error;
mod forward;
mod function;
mod functions;
mod hooks;
mod host;
mod modes;
mod module;
mod node;
mod numpy;
mod object;
mod operators;
mod out;
mod random;
mod signature;
mod tensor;
mod transform;
