//! Functions between layers that are made of straight pieces.

use smallvec::smallvec;

use super::activation::of_reals;
use crate::error::{Error, Result};
use crate::kernels::lane::Real;
use crate::ops::formula::{Binary, Domain, Form, OPERANDS, Operand, Pointwise, Rule, Ternary, Unary};
use crate::ops::pointwise::{Chosen, arguments};
use crate::ops::registry::{Arguments, operation};
use crate::ops::{unary, view};
use crate::tensor::Tensor;
use crate::tensor::dtype::{Category, DType};
use crate::tensor::scalar::Scalar;

/// The operands of a call whose numbers are of the tensor's kind: those of integers are cut off.
fn of_numbers<'a>(spec: &'static Pointwise, a: &'a Arguments) -> Result<Chosen<'a>> {
    let (_, mut operands) = arguments(spec, a)?;
    if a.tensor(0)?.dtype().category() == Category::Integer {
        for operand in &mut operands[1..] {
            if let Operand::Number(n) = operand {
                *n = n.cut(a.op, a.tensor(0)?.dtype())?;
            }
        }
    }
    Ok((spec, operands))
}

operation! {
    /// Rectifier, element by element: `ferrograd.relu`.
    ///
    /// >>> ferrograd.nn.functional.relu(ferrograd.tensor([-1.0, 2.0]))
    /// tensor([0., 2.])
    chooses Same(Numbers -> Kept), ["nn.relu(Tensor self, bool inplace=False)"], |_, a| Ok((unary::Relu::spec(), smallvec![a.operand(0)?]))
}

operation! {
    /// `y = x` between bounds and the bounds outside of them, element by element. The gradient is zero outside of the bounds
    /// and at them.
    ///
    /// Dtypes: any but bool, kept; neither bound of uint8 is negative.
    /// Raises: ValueError where the lower bound is above the upper.
    ///
    /// >>> ferrograd.nn.functional.hardtanh(ferrograd.tensor([-2.0, 0.5, 3.0]), 0, 2)
    /// tensor([0.0000, 0.5000, 2.0000])
    ternary Hardtanh, hardtanh, "HardtanhBackward0", Rule::Number,
        ["nn.hardtanh(Tensor self, Number min_val=-1.0, Number max_val=1.0, bool inplace=False)"], |_, a| {
            if a.float(1)? > a.float(2)? {
                let rule = "cannot be greater than max_val";
                return Err(Error::Argument { op: a.op, argument: "min_val", rule, given: a.float(1)?.to_string() });
            }
            check_bounds(a.op, a.tensor(0)?.dtype(), a.number(1)?)?;
            of_numbers(Hardtanh::spec(), a)
        }
}
impl Ternary for Hardtanh {
    const STEPS: Option<&'static str> = Some("HardtanhBackwardBackward0");
    const DOMAIN: [Domain; 3] = [Domain::ALL, Domain { low: -2.0, high: -0.5 }, Domain { low: 0.5, high: 2.0 }];
    const FORMS: &'static [Form] = &[Form::new(0b110, "HardtanhBackward0", 0b001)];
    const EXACT: u8 = 0b110;
    #[inline(always)]
    fn forward<L: Real>(x: L, low: L, high: L) -> L {
        x.maximum(low).minimum(high)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, low: L, high: L, _y: L) -> [L; 3] {
        let zero = L::constant(0.0);
        [
            L::select(x.gt(low) & x.lt(high), g, zero),
            L::select(x.le(low) & low.lt(high), g, zero),
            L::select(x.ge(high) | high.le(low), g, zero),
        ]
    }
}

/// An error for truth values, and for bounds that the dtype does not have.
fn check_bounds(op: &'static str, dtype: DType, low: Scalar) -> Result<()> {
    let rule = match dtype {
        DType::Bool => "Bool inputs not supported for hardtanh",
        DType::U8 if low.as_i64() < 0 => "cannot do hardtanh on an unsigned type with negative limits",
        _ => return Ok(()),
    };
    Err(Error::DTypeInvalid { op, dtype, rule })
}

operation! {
    /// `y = min(max(x, 0), 6)`, element by element.
    ///
    /// >>> ferrograd.nn.functional.relu6(ferrograd.tensor([-2.0, 0.5, 7.0]))
    /// tensor([0.0000, 0.5000, 6.0000])
    chooses Same(Numbers -> Kept), ["nn.relu6(Tensor self, bool inplace=False)"], |_, a| {
        let x = a.tensor(0)?;
        check_bounds(a.op, x.dtype(), Scalar::Int(0))?;
        Ok((Hardtanh::spec(), smallvec![x.into(), 0.into(), 6.into()]))
    }
}

operation! {
    /// `y = x` where `x > 0`, else `slope x`, element by element.
    ///
    /// >>> ferrograd.nn.functional.leaky_relu(ferrograd.tensor([-1.0, 2.0]), 0.1)
    /// tensor([-0.1000,  2.0000])
    binary LeakyRelu, leaky_relu, "LeakyReluBackward0", Rule::Real,
        ["nn.leaky_relu(Tensor self, Number negative_slope=0.01, bool inplace=False)"],
        |_, a| of_reals(LeakyRelu::spec(), a)
}
impl Binary for LeakyRelu {
    const STEPS: Option<&'static str> = Some("LeakyReluBackwardBackward0");
    const FORMS: &'static [Form] = &[Form::new(0b10, "LeakyReluBackward0", 0b01)];
    const EXACT: u8 = 0b10;
    #[inline(always)]
    fn forward<L: Real>(x: L, slope: L) -> L {
        L::select(x.gt(L::constant(0.0)), x, x * slope)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, slope: L, _y: L) -> [L; 2] {
        let zero = L::constant(0.0);
        let above = x.gt(zero);
        [L::select(above, g, g * slope), L::select(above, zero, g * x)]
    }
}

/// [`LeakyRelu`] under the name that its node has where the slope may be random.
pub(super) struct MeanSlope;
impl MeanSlope {
    pub(super) fn spec() -> &'static Pointwise {
        static SPEC: Pointwise = Pointwise::new::<MeanSlope>("rrelu", "RreluWithNoiseBackward0", Rule::Real);
        &SPEC
    }
}
impl crate::ops::formula::Formula for MeanSlope {
    const ARITY: usize = 2;
    const FORMS: &'static [Form] = &[Form::new(0b10, "RreluWithNoiseBackward0", 0b01)];
    const EXACT: u8 = 0b10;
    #[inline(always)]
    fn forward<L: Real>([x, slope, ..]: [L; OPERANDS]) -> L {
        <LeakyRelu as Binary>::forward(x, slope)
    }
    #[inline(always)]
    fn derivative<L: Real>(n: usize, g: L, [x, slope, ..]: [L; OPERANDS], y: L) -> L {
        <LeakyRelu as Binary>::derivative(g, x, slope, y)[n.min(1)]
    }
}

operation! {
    /// [`prelu`] of two tensors that broadcast.
    ///
    /// >>> ferrograd._prelu_kernel(ferrograd.tensor([-1.0, 2.0]), ferrograd.tensor([0.1, 0.1]))
    /// tensor([-0.1000,  2.0000])
    binary PreluKernel, prelu_kernel, "PreluKernelBackward0", Rule::Real, ["_prelu_kernel(Tensor input, Tensor weight)"]
}
impl Binary for PreluKernel {
    const STEPS: Option<&'static str> = Some("PreluKernelBackwardBackward0");
    const IN_PLACE: bool = false;
    #[inline(always)]
    fn forward<L: Real>(x: L, slope: L) -> L {
        LeakyRelu::forward(x, slope)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, slope: L, y: L) -> [L; 2] {
        LeakyRelu::derivative(g, x, slope, y)
    }
}

operation! {
    /// `y = x` where `x > 0`, else `weight x`, element by element, with one weight or one for each channel: the size of the
    /// second dimension.
    ///
    /// Raises: RuntimeError where there is another number of weights, or their dtype is another.
    ///
    /// Shapes: any; `weight` has one element, or as many as the second dimension; kept.
    ///
    /// >>> ferrograd.prelu(ferrograd.tensor([-1.0, 2.0]), ferrograd.tensor(0.25))
    /// tensor([-0.2500,  2.0000])
    function Noted(Floats -> Shared), ["prelu(Tensor self, Tensor weight)"; also "nn.prelu"], |_, a| Ok(prelu(a.tensor(0)?, a.tensor(1)?)?.into())
}

/// The rectifier with a tensor of slopes below zero: one, or one for each channel.
///
/// # Errors
/// For integers, weights of another dtype, of more than one dimension, or of another number than there are channels.
pub fn prelu(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    const OP: &str = "prelu";
    let refused = |what: String| Err(Error::Invalid { op: OP, what });
    if x.dtype() != weight.dtype() {
        return refused(format!("Type promoting not supported. Got {} and {}", x.dtype(), weight.dtype()));
    }
    if weight.rank() > 1 {
        return refused(format!("Expected `weight` to be a scalar or 1D tensor, but got ndim = {}", weight.rank()));
    }
    let (count, channels) = (weight.numel(), x.shape().get(1).copied().unwrap_or(1));
    if count != 1 && count != channels {
        let sizes = "Mismatch of parameter numbers and input channel size";
        return refused(format!("{sizes}. Found parameter numbers = {count} and channel size = {channels}."));
    }
    if count == 1 && x.rank() == 0 {
        return prelu_kernel(x, &view::reshape(weight, &[])?);
    }
    let mut shape: smallvec::SmallVec<[isize; 4]> = smallvec![1; x.rank()];
    let place = usize::from(x.rank() > 1);
    shape[place] = count as isize;
    prelu_kernel(x, &if weight.shape().len() == x.rank() { weight.clone() } else { view::reshape(weight, &shape)? })
}

operation! {
    /// `y = x` where `x > threshold`, else `value`, element by element.
    ///
    /// >>> ferrograd.threshold(ferrograd.tensor([0.5, 2.0]), 1, 9)
    /// tensor([9., 2.])
    ternary Threshold, threshold, "ThresholdBackward0", Rule::Number,
        ["nn.threshold(Tensor self, Number threshold, Number value, bool inplace=False)"; also "package.threshold"],
        |_, a| {
            if a.tensor(0)?.dtype() == DType::Bool {
                return Err(Error::NotImplemented { op: a.op, what: "a threshold of truth values".into() });
            }
            of_numbers(Threshold::spec(), a)
        }
}
impl Ternary for Threshold {
    const STEPS: Option<&'static str> = Some("ThresholdBackwardBackward0");
    const FORMS: &'static [Form] = &[Form::new(0b110, "ThresholdBackward0", 0b001)];
    const EXACT: u8 = 0b110;
    #[inline(always)]
    fn forward<L: Real>(x: L, threshold: L, value: L) -> L {
        L::select(x.le(threshold), value, x)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, threshold: L, _value: L, _y: L) -> [L; 3] {
        let (zero, below) = (L::constant(0.0), x.le(threshold));
        [L::select(below, zero, g), zero, L::select(below, g, zero)]
    }
}

operation! {
    /// `y = x` where `|x| > lambd`, else 0, element by element.
    ///
    /// >>> ferrograd.hardshrink(ferrograd.tensor([-1.0, 0.3, 2.0]))
    /// tensor([-1.,  0.,  2.])
    binary Hardshrink, hardshrink, "HardshrinkBackward0", Rule::Real, ["hardshrink(Tensor self, Number lambd=0.5)"; also "nn.hardshrink"],
        |_, a| of_reals(Hardshrink::spec(), a)
}
impl Binary for Hardshrink {
    const STEPS: Option<&'static str> = Some("HardshrinkBackwardBackward0");
    const IN_PLACE: bool = false;
    const DOMAIN: [Domain; 2] = [Domain::ALL, Domain::POSITIVE];
    const FORMS: &'static [Form] = &[Form::new(0b10, "HardshrinkBackward0", 0b01)];
    #[inline(always)]
    fn forward<L: Real>(x: L, bound: L) -> L {
        L::select(x.ge(-bound) & x.le(bound), L::constant(0.0), x)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, bound: L, _y: L) -> [L; 2] {
        let zero = L::constant(0.0);
        [L::select(x.lt(-bound) | x.gt(bound), g, zero), zero]
    }
}

operation! {
    /// `y = x - lambd` where `x > lambd`, `x + lambd` where `x < -lambd`, else 0, element by element.
    ///
    /// Raises: RuntimeError where `lambd` is negative.
    ///
    /// >>> ferrograd.nn.functional.softshrink(ferrograd.tensor([-1.0, 0.3, 2.0]))
    /// tensor([-0.5000,  0.0000,  1.5000])
    binary Softshrink, softshrink, "SoftshrinkBackward0", Rule::Real, ["nn.softshrink(Tensor self, Number lambd=0.5)"],
        |_, a| {
            if a.float(1)?.is_nan() || a.float(1)? < 0.0 {
                let (what, op) = (format!("lambda must not be negative, but found to be {}", a.float(1)?), a.op);
                return Err(Error::Invalid { op, what });
            }
            of_reals(Softshrink::spec(), a)
        }
}
impl Binary for Softshrink {
    const STEPS: Option<&'static str> = Some("SoftshrinkBackwardBackward0");
    const IN_PLACE: bool = false;
    const DOMAIN: [Domain; 2] = [Domain::ALL, Domain::POSITIVE];
    const FORMS: &'static [Form] = &[Form::new(0b10, "SoftshrinkBackward0", 0b01)];
    const EXACT: u8 = 0b10;
    #[inline(always)]
    fn forward<L: Real>(x: L, bound: L) -> L {
        // What is neither above nor below is nothing, or no number.
        let nothing = x * L::constant(0.0);
        L::select(x.gt(bound), x - bound, L::select(x.lt(-bound), x + bound, nothing))
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, bound: L, _y: L) -> [L; 2] {
        let (zero, above, below) = (L::constant(0.0), x.gt(bound), x.lt(-bound));
        [L::select(above | below, g, zero), L::select(above, -g, L::select(below, g, zero))]
    }
}

/// `min(max(x + 3, 0), 6)`
#[inline(always)]
fn ramp<L: Real>(x: L) -> L {
    (x + L::constant(3.0)).maximum(L::constant(0.0)).minimum(L::constant(6.0))
}

operation! {
    /// `y = min(max(x + 3, 0), 6) / 6`, element by element: `dy/dx = 1/6` where `-3 < x < 3`, else 0.
    ///
    /// >>> ferrograd.nn.functional.hardsigmoid(ferrograd.tensor([-4.0, 0.0, 1.5]))
    /// tensor([0.0000, 0.5000, 0.7500])
    unary Hardsigmoid, hardsigmoid, "HardsigmoidBackward0", Rule::Real,
        ["nn.hardsigmoid(Tensor self, bool inplace=False)"]
}
impl Unary for Hardsigmoid {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        ramp(x) / L::constant(6.0)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        let three = L::constant(3.0);
        L::select(x.gt(-three) & x.lt(three), g / L::constant(6.0), L::constant(0.0))
    }
}

operation! {
    /// `y = x min(max(x + 3, 0), 6) / 6`, element by element: `dy/dx = 0` where `x <= -3`, 1 where `x >= 3`, else
    /// `x / 3 + 1/2`.
    ///
    /// >>> ferrograd.nn.functional.hardswish(ferrograd.tensor([-4.0, 1.5, 5.0]))
    /// tensor([-0.0000, 1.1250, 5.0000])
    unary Hardswish, hardswish, "HardswishBackward0", Rule::Real, ["nn.hardswish(Tensor self, bool inplace=False)"]
}
impl Unary for Hardswish {
    #[inline(always)]
    fn forward<L: Real>(x: L) -> L {
        x * ramp(x) / L::constant(6.0)
    }
    #[inline(always)]
    fn derivative<L: Real>(g: L, x: L, _y: L) -> L {
        let three = L::constant(3.0);
        let slope = g * (x / three + L::constant(0.5));
        L::select(x.le(-three), L::constant(0.0), L::select(x.ge(three), g, slope))
    }
}
