//! The default stream of random numbers: its seed and its state.

use std::borrow::Cow;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::convert::ok;
use crate::random::{self, Generator};

/// Seeds the default generator.
#[pyfunction]
pub fn _manual_seed(seed: i128) -> PyResult<()> {
    let wraps = |s: i128| (-(1i128 << 63)..(1i128 << 64)).contains(&s).then_some(s as u64);
    match wraps(seed) {
        Some(seed) => {
            random::manual_seed(seed);
            Ok(())
        }
        None => Err(PyValueError::new_err("Overflow when unpacking long long: the seed must fit 64 bits")),
    }
}

/// The seed that the default generator started from.
#[pyfunction]
pub fn _initial_seed() -> u64 {
    random::with_default(|g| g.initial_seed())
}

/// The state of the default generator.
#[pyfunction]
pub fn _get_rng_state() -> Cow<'static, [u8]> {
    random::with_default(|g| g.state()).into()
}

/// Puts the default generator into a state.
#[pyfunction]
pub fn _set_rng_state(state: &[u8]) -> PyResult<()> {
    let generator = ok(Generator::from_state(state))?;
    random::with_default(|g| *g = generator);
    Ok(())
}
