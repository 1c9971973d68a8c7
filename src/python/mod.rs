//! The Python bindings: arguments in, errors and objects out. No mathematics.

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
mod signature;
mod tensor;
mod transform;
