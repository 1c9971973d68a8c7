//! Errors that Rust programs alone can meet, and what every error promises.

use ferrograd::{Error, Tensor, testing};

#[test]
fn derivatives_that_are_wrong_are_told() {
    let x = Tensor::from_slice(&[0.5f64, -1.0]).requiring_grad().unwrap();
    // The detached half changes the value and hides from the derivative.
    let found = testing::gradcheck(|x| Ok(vec![(&x[0] + &x[0].detach())?]), &[x], Default::default());
    let Err(error @ Error::GradCheck(_)) = found else { panic!("{found:?}") };
    assert!(error.to_string().contains("numerical"), "{error}");
}

#[test]
fn errors_are_values() {
    let error = (&Tensor::from_slice(&[1.0f32, 2.0]) + &Tensor::from_slice(&[1.0f32, 2.0, 3.0])).unwrap_err();
    assert_eq!(error.clone(), error);
    assert_eq!(error.kind(), ferrograd::error::Kind::Runtime);
    assert!(error.to_string().starts_with("add: the shapes [2] and [3]"), "{error}");
}
