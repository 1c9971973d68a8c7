//! Derivatives checked against differences.

use crate::engine::{self, Options};
use crate::error::{Error, Result};
use crate::graph::mode::no_grad;
use crate::tensor::Tensor;
use crate::tensor::dtype::DType;

/// How closely derivatives must agree.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// The step of the central difference.
    pub eps: f64,
    /// Absolute tolerance.
    pub atol: f64,
    /// Relative tolerance.
    pub rtol: f64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Tolerance { eps: 1e-6, atol: 1e-5, rtol: 1e-3 }
    }
}

/// Checks the derivatives of `f` at `inputs` against central differences, `(f(x + eps) - f(x - eps)) / (2 eps)`.
///
/// ```
/// use ferrograd::{Tensor, testing};
/// let x = Tensor::from_slice(&[0.5f64, -1.0]).requiring_grad()?;
/// testing::gradcheck(|x| Ok(vec![ferrograd::ops::unary::tanh(&x[0])?]), &[x], Default::default())?;
/// # Ok::<(), ferrograd::Error>(())
/// ```
///
/// # Errors
/// [`Error::GradCheck`] with both Jacobians where they differ, and what `f` raises.
pub fn gradcheck(
    mut f: impl FnMut(&[Tensor]) -> Result<Vec<Tensor>>,
    inputs: &[Tensor],
    tolerance: Tolerance,
) -> Result<()> {
    let wanted: Vec<usize> = (0..inputs.len()).filter(|&i| inputs[i].requires_grad()).collect();
    if wanted.is_empty() {
        return Err(Error::Argument {
            op: "gradcheck",
            argument: "inputs",
            rule: "must contain a tensor that requires grad",
            given: "none".into(),
        });
    }
    let outputs = f(inputs)?;
    for (o, output) in outputs.iter().enumerate().filter(|(_, y)| y.dtype().is_floating_point()) {
        for &i in &wanted {
            let numerical = numerical(&mut f, inputs, i, o, tolerance.eps)?;
            let analytical = analytical(output, &inputs[i])?;
            compare(&numerical, &analytical, (o, i), tolerance)?;
        }
    }
    Ok(())
}

/// One row for each element of the input, one column for each of the output.
type Jacobian = Vec<Vec<f64>>;

fn numerical(
    f: &mut impl FnMut(&[Tensor]) -> Result<Vec<Tensor>>,
    inputs: &[Tensor],
    input: usize,
    output: usize,
    eps: f64,
) -> Result<Jacobian> {
    let x = &inputs[input];
    let values = x.to_vec::<f64>()?;
    let mut at = |element: usize, value: f64| -> Result<Vec<f64>> {
        let mut moved = values.clone();
        moved[element] = value;
        let moved = crate::ops::cast::to(&Tensor::from_shape(&moved, x.shape())?, x.dtype())?;
        let mut inputs = inputs.to_vec();
        inputs[input] = moved.requiring_grad()?;
        f(&inputs)?[output].to_vec::<f64>()
    };
    (0..values.len())
        .map(|e| {
            let (up, down) = (at(e, values[e] + eps)?, at(e, values[e] - eps)?);
            Ok(up.iter().zip(down).map(|(u, d)| (u - d) / (2.0 * eps)).collect())
        })
        .collect()
}

fn analytical(output: &Tensor, input: &Tensor) -> Result<Jacobian> {
    let (rows, columns) = (input.numel(), output.numel());
    let mut jacobian = vec![vec![0.0; columns]; rows];
    if !output.requires_grad() {
        return Ok(jacobian);
    }
    let options = Options { retain_graph: true, allow_unused: true, ..Options::default() };
    for column in 0..columns {
        let mut seed = vec![0.0f64; columns];
        seed[column] = 1.0;
        let seed = crate::ops::cast::to(&Tensor::from_shape(&seed, output.shape())?, output.dtype())?;
        let found = engine::grad(std::slice::from_ref(output), std::slice::from_ref(input), &[Some(seed)], options)?;
        if let Some(g) = &found[0] {
            g.to_vec::<f64>()?.into_iter().enumerate().for_each(|(row, v)| jacobian[row][column] = v);
        }
    }
    Ok(jacobian)
}

fn compare(numerical: &Jacobian, analytical: &Jacobian, (output, input): (usize, usize), t: Tolerance) -> Result<()> {
    let close = |n: f64, a: f64| (n.is_nan() && a.is_nan()) || n == a || (n - a).abs() <= t.atol + t.rtol * n.abs();
    let agrees = numerical.iter().flatten().zip(analytical.iter().flatten()).all(|(&n, &a)| close(n, a));
    if agrees {
        return Ok(());
    }
    Err(Error::GradCheck(format!(
        "Jacobian mismatch for output {output} with respect to input {input},\nnumerical:{numerical:?}\nanalytical:{analytical:?}"
    )))
}

/// Checks second derivatives: [`gradcheck`] of the gradients of `f`, for gradients that are not all ones.
///
/// # Errors
/// As [`gradcheck`].
pub fn gradgradcheck(
    mut f: impl FnMut(&[Tensor]) -> Result<Vec<Tensor>>,
    inputs: &[Tensor],
    tolerance: Tolerance,
) -> Result<()> {
    let outputs = no_grad(|| f(inputs))?;
    let mut all: Vec<Tensor> = inputs.to_vec();
    let mut seed = 0.0f64;
    for y in outputs.iter().filter(|y| y.dtype().is_floating_point()) {
        let mut next = || {
            seed += 0.7;
            seed.sin() + 1.5
        };
        let values: Vec<f64> = (0..y.numel()).map(|_| next()).collect();
        let g = crate::ops::cast::to(&Tensor::from_shape(&values, y.shape())?, y.dtype())?;
        all.push(g.requiring_grad()?);
    }
    let count = inputs.len();
    let first_derivatives = |all: &[Tensor]| -> Result<Vec<Tensor>> {
        let outputs: Vec<Tensor> = f(&all[..count])?;
        let (ys, gs): (Vec<Tensor>, Vec<Option<Tensor>>) = outputs
            .into_iter()
            .filter(|y| y.dtype().is_floating_point())
            .zip(all[count..].iter().cloned().map(Some))
            .filter(|(y, _)| y.requires_grad())
            .unzip();
        let wanted: Vec<Tensor> = all[..count].iter().filter(|x| x.requires_grad()).cloned().collect();
        let options = Options { create_graph: true, allow_unused: true, ..Options::default() };
        let found = engine::grad(&ys, &wanted, &gs, options)?;
        found
            .into_iter()
            .zip(&wanted)
            .map(|(g, x)| g.map_or_else(|| Tensor::zeros(x.shape(), DType::F64), Ok))
            .collect()
    };
    gradcheck(first_derivatives, &all, tolerance)
}
