//! Functions of neural networks: what Python finds in `ferrograd.nn.functional`.

pub mod activation;
mod affine;
pub mod attention;
pub mod classes;
pub mod ctc;
pub mod dropout;
pub mod embedding;
mod formulas;
pub mod loss;
pub mod margins;
pub mod noise;
pub mod normalize;
pub mod pairs;
pub mod rectifier;
pub mod reduction;
pub mod softmax;
mod standard;
