//! PyTorch's tensors and autograd without PyTorch.
//!
//! ```
//! use ferrograd::Tensor;
//! let x = Tensor::from_slice(&[2.0f32]).requiring_grad()?;
//! let y = (&x * &x)?;
//! let z = (&(&y * 3.0)? + 1.0)?;
//! z.backward()?;
//! assert_eq!(x.grad().unwrap().to_vec::<f32>()?, [12.0]);
//! # Ok::<(), ferrograd::Error>(())
//! ```
//!
//! The way of the data: an operation ([`ops`]) runs a kernel ([`kernels`]) and, where a gradient is wanted, leaves a node
//! in the [`graph`]; [`engine`] runs the derivatives of the nodes backwards.

pub mod engine;
pub mod error;
mod fork;
pub mod graph;
pub mod host;
pub mod kernels;
pub mod memory;
pub mod ops;
pub mod profiler;
#[cfg(feature = "python")]
mod python;
pub mod random;
pub mod tensor;
pub mod testing;

pub use error::{Error, Result};
pub use graph::mode::{enable_grad, no_grad};
pub use tensor::Tensor;
pub use tensor::dtype::DType;
pub use tensor::scalar::Scalar;
