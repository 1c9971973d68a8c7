//! Functions of neural networks: what Python finds in `ferrograd.nn.functional`.

pub mod activation;
mod formulas;
pub mod loss;
pub mod rectifier;
pub mod reduction;
pub mod softmax;
