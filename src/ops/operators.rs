//! Rust's operators on tensors. Like the functions they stand for they can fail, so they give a `Result`.

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::arithmetic;
use super::formula::Operand;
use crate::error::Result;
use crate::tensor::Tensor;

macro_rules! operators {
    ($($trait:ident $method:ident $f:path;)*) => {$(
        impl<'a, T: Into<Operand<'a>>> $trait<T> for &'a Tensor {
            type Output = Result<Tensor>;
            fn $method(self, other: T) -> Result<Tensor> {
                $f(self, other)
            }
        }
    )*};
}

operators! {
    Add add arithmetic::add;
    Sub sub arithmetic::sub;
    Mul mul arithmetic::mul;
    Div div arithmetic::div;
}

impl Neg for &Tensor {
    type Output = Result<Tensor>;
    fn neg(self) -> Result<Tensor> {
        arithmetic::neg(self)
    }
}
