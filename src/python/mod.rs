//! The Python bindings: arguments in, errors and objects out. No mathematics.
#![allow(clippy::doc_lazy_continuation, reason = "`>>>` begins an example of Python's and no quotation")]

/// The module's own: what it and the crates it builds on allocate.
#[global_allocator]
static ALLOCATOR: crate::memory::reserve::WithReserve = crate::memory::reserve::WithReserve;

mod apply;
mod arguments;
mod attributes;
mod autograd;
mod batch;
mod convert;
mod data;
mod derivative;
mod device;
mod dlpack;
mod dtype;
mod error;
mod forward;
mod function;
mod functions;
mod gc;
mod history;
mod hooks;
mod host;
mod index;
mod interrupt;
mod memory;
mod modes;
mod module;
mod node;
mod numpy;
mod object;
mod old_forms;
mod operators;
mod out;
mod profiler;
mod random;
mod saved;
mod signature;
mod tensor;
mod transform;
mod watch;
